/* The arena of the fuzzers, linked in place of codec/arena.c: each piece is one of malloc's, so
 * that AddressSanitizer sees who goes beyond it, and none is zero, so that who reads what was never
 * written gets something odd. */
#include "arena.h"

#include <stdlib.h>

struct piece {
    struct piece *next;
    void *memory;
};

struct arena {
    struct piece *pieces;
    size_t footprint;
};

struct arena *arena_new(void)
{
    return calloc(1, sizeof(struct arena));
}

bool arena_adopt(struct arena *arena, void *memory)
{
    struct piece *piece = malloc(sizeof *piece);
    if (!piece) {
        free(memory);
        return false;
    }
    *piece = (struct piece){arena->pieces, memory};
    arena->pieces = piece;
    return true;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    void *memory = malloc(size ? size : 1);
    if (!memory || !arena_adopt(arena, memory))
        return NULL;
    memset(memory, 0xA5, size);
    arena->footprint += size;
    return memory;
}

struct bytes arena_copy(struct arena *arena, struct bytes text)
{
    void *copy = arena_alloc(arena, text.size);
    if (copy && text.size)
        memcpy(copy, text.data, text.size);
    return bytes_make(copy, text.size);
}

size_t arena_footprint(const struct arena *arena)
{
    return arena->footprint;
}

void arena_free(struct arena *arena)
{
    if (!arena)
        return;
    for (struct piece *piece = arena->pieces; piece;) {
        struct piece *next = piece->next;
        free(piece->memory);
        free(piece);
        piece = next;
    }
    free(arena);
}
