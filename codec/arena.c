#include "arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>

/* Most flows need some 15 KB; twice that as the first block spares them the second. */
#define BLOCK_SIZE ((size_t)32 * 1024)

struct block {
    struct block *next;
    void *adopted;
    size_t used;
    size_t capacity;
    alignas(max_align_t) unsigned char data[];
};

struct arena {
    struct block *blocks; /* the newest first; only the first is filled */
    size_t footprint;
};

static struct block *add_block(struct arena *arena, size_t capacity)
{
    if (capacity > SIZE_MAX - sizeof(struct block))
        return NULL;
    struct block *block = malloc(sizeof *block + capacity);
    if (!block)
        return NULL;
    *block = (struct block){.next = arena->blocks, .capacity = capacity};
    arena->blocks = block;
    arena->footprint += sizeof *block + capacity;
    return block;
}

struct arena *arena_new(void)
{
    return calloc(1, sizeof(struct arena));
}

void *arena_alloc(struct arena *arena, size_t size)
{
    const size_t alignment = alignof(max_align_t);
    if (size > SIZE_MAX - alignment)
        return NULL;
    size = (size + alignment - 1) & ~(alignment - 1);
    struct block *block = arena->blocks;
    if (!block || size > block->capacity - block->used) {
        /* A large piece gets a block of its own, behind the one that is being filled. */
        if (block && size > BLOCK_SIZE / 4) {
            struct block *filling = block;
            block = add_block(arena, size);
            if (!block)
                return NULL;
            block->used = size;
            arena->blocks = filling;
            block->next = filling->next;
            filling->next = block;
            return block->data;
        }
        block = add_block(arena, size > BLOCK_SIZE ? size : BLOCK_SIZE);
        if (!block)
            return NULL;
    }
    void *memory = block->data + block->used;
    block->used += size;
    return memory;
}

struct bytes arena_copy(struct arena *arena, struct bytes text)
{
    uint8_t *copy = arena_alloc(arena, text.size ? text.size : 1);
    if (!copy)
        return (struct bytes){NULL, text.size};
    if (text.size)
        memcpy(copy, text.data, text.size);
    return (struct bytes){copy, text.size};
}

bool arena_adopt(struct arena *arena, void *memory)
{
    struct block *filling = arena->blocks;
    struct block *block = add_block(arena, 0);
    if (!block) {
        free(memory);
        return false;
    }
    block->adopted = memory;
    if (filling) {
        arena->blocks = filling;
        block->next = filling->next;
        filling->next = block;
    }
    return true;
}

size_t arena_footprint(const struct arena *arena)
{
    return arena->footprint;
}

void arena_free(struct arena *arena)
{
    if (!arena)
        return;
    for (struct block *block = arena->blocks; block;) {
        struct block *next = block->next;
        free(block->adopted);
        free(block);
        block = next;
    }
    free(arena);
}
