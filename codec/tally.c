#include "tally.h"

#include <search.h>
#include <stdlib.h>

static int compare_bytes(struct bytes a, struct bytes b)
{
    size_t shorter = a.size < b.size ? a.size : b.size;
    int order = shorter ? memcmp(a.data, b.data, shorter) : 0;
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

static int compare_names(const void *a, const void *b)
{
    const struct tally_entry *first = a;
    const struct tally_entry *second = b;
    return compare_bytes(first->name, second->name);
}

static struct tally_entry *add_entry(struct tally *tally, struct arena *arena, struct bytes name)
{
    struct tally_entry *entry = arena_alloc(arena, sizeof *entry);
    if (!entry)
        return NULL;
    *entry = (struct tally_entry){.name = arena_copy(arena, name)};
    if (name.size && !entry->name.data)
        return NULL;
    if (tally->count == tally->capacity) {
        size_t capacity = tally->capacity ? tally->capacity * 2 : 32;
        struct tally_entry **entries = realloc(tally->entries, capacity * sizeof(void *));
        if (!entries)
            return NULL;
        tally->entries = entries;
        tally->capacity = capacity;
    }
    if (!tsearch(entry, &tally->root, compare_names))
        return NULL;
    return tally->entries[tally->count++] = entry;
}

const struct tally_entry *tally_add(struct tally *tally, struct arena *arena, struct bytes name,
                                    uint64_t size)
{
    struct tally_entry key = {.name = name};
    void *node = tfind(&key, &tally->root, compare_names);
    struct tally_entry *entry = node ? *(struct tally_entry **)node : add_entry(tally, arena, name);
    if (!entry)
        return NULL;
    entry->count++;
    entry->size += size;
    return entry;
}

static int compare_counts(const void *a, const void *b)
{
    const struct tally_entry *first = *(struct tally_entry *const *)a;
    const struct tally_entry *second = *(struct tally_entry *const *)b;
    if (first->count != second->count)
        return first->count < second->count ? 1 : -1;
    return compare_bytes(first->name, second->name);
}

void tally_sort(struct tally *tally)
{
    if (tally->count)
        qsort(tally->entries, tally->count, sizeof(void *), compare_counts);
}

static void keep(void *entry)
{
    (void)entry; /* the arena's */
}

void tally_close(struct tally *tally)
{
    tdestroy(tally->root, keep);
    free(tally->entries);
    *tally = (struct tally){0};
}
