#include "hash_table.h"

#include <stdlib.h>

#define SMALLEST_CAPACITY 256

/* A slot is 0 while it is empty, else the high half of the hash and the number plus one. */
struct hash_slots {
    struct hash_slots *outgrown; /* readers may still be in it */
    size_t capacity;             /* a power of two */
    size_t used;
    _Atomic uint64_t slot[];
};

static uint64_t make_slot(uint64_t hash, uint32_t number)
{
    return (hash & 0xFFFFFFFF00000000u) | (number + 1);
}

/* A slot keeps only half of its hash, so growing needs where it started: the low half of the hash
 * is the high half mixed, which find and add compute alike. */
static uint64_t spread(uint64_t hash)
{
    uint64_t high = hash >> 32;
    return (hash & 0xFFFFFFFF00000000u) | (high * 0x9E3779B1u & 0xFFFFFFFFu);
}

uint32_t hash_table_find(const struct hash_table *table, uint64_t hash, hash_table_equal *equal,
                         const void *context)
{
    const struct hash_slots *slots = atomic_load_explicit(&table->slots, memory_order_acquire);
    if (!slots)
        return HASH_TABLE_NONE;
    for (size_t i = spread(hash) & (slots->capacity - 1);; i = (i + 1) & (slots->capacity - 1)) {
        uint64_t slot = atomic_load_explicit(&slots->slot[i], memory_order_acquire);
        if (!slot)
            return HASH_TABLE_NONE;
        uint32_t number = (uint32_t)slot - 1;
        if ((slot ^ hash) >> 32 == 0 && equal(context, number))
            return number;
    }
}

static void put(struct hash_slots *slots, size_t start, uint64_t slot)
{
    size_t i = start & (slots->capacity - 1);
    while (atomic_load_explicit(&slots->slot[i], memory_order_relaxed))
        i = (i + 1) & (slots->capacity - 1);
    atomic_store_explicit(&slots->slot[i], slot, memory_order_release);
    slots->used++;
}

bool hash_table_reserve(struct hash_table *table)
{
    struct hash_slots *old = atomic_load_explicit(&table->slots, memory_order_relaxed);
    if (old && old->used < old->capacity / 4 * 3)
        return true;
    size_t capacity = old ? old->capacity * 2 : SMALLEST_CAPACITY;
    size_t size = sizeof(struct hash_slots) + capacity * sizeof(uint64_t);
    struct hash_slots *slots = calloc(1, size);
    if (!slots)
        return false;
    slots->capacity = capacity;
    slots->outgrown = old;
    for (size_t i = 0; old && i < old->capacity; i++) {
        uint64_t slot = atomic_load_explicit(&old->slot[i], memory_order_relaxed);
        if (slot)
            put(slots, spread(slot), slot);
    }
    table->footprint += size;
    atomic_store_explicit(&table->slots, slots, memory_order_release);
    return true;
}

void hash_table_add(struct hash_table *table, uint64_t hash, uint32_t number)
{
    struct hash_slots *slots = atomic_load_explicit(&table->slots, memory_order_relaxed);
    put(slots, spread(hash), make_slot(hash, number));
}

void hash_table_close(struct hash_table *table)
{
    struct hash_slots *slots = atomic_load_explicit(&table->slots, memory_order_relaxed);
    while (slots) {
        struct hash_slots *outgrown = slots->outgrown;
        free(slots);
        slots = outgrown;
    }
    atomic_store(&table->slots, NULL);
    table->footprint = 0;
}
