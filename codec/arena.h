/* One free a flow: all that belongs to a flow is allocated from its arena and goes with it. */
#ifndef FLOWFS_CODEC_ARENA_H
#define FLOWFS_CODEC_ARENA_H

#include "bytes.h"

#include <stddef.h>

struct arena;

/* A new, empty arena; NULL if there is no memory. Freed by arena_free. */
struct arena *arena_new(void);

/* `size` bytes aligned for any type, not zeroed; NULL if there is no memory. */
void *arena_alloc(struct arena *arena, size_t size);

/* A copy that lives as long as the arena; its data is NULL if there is no memory and size is not
 * 0. */
struct bytes arena_copy(struct arena *arena, struct bytes text);

/* Hands memory from malloc to the arena, which will free it; if that takes memory which is not
 * there, frees it at once and returns false. */
bool arena_adopt(struct arena *arena, void *memory);

/* The bytes the arena holds from the system, for the accounts of a cache. */
size_t arena_footprint(const struct arena *arena);

/* Frees the arena and all that came from it; harmless on NULL. */
void arena_free(struct arena *arena);

#endif
