/* Counts by name: how many flows have this host, that status, and how many bytes they move. */
#ifndef FLOWFS_CODEC_TALLY_H
#define FLOWFS_CODEC_TALLY_H

#include "arena.h"
#include "bytes.h"

struct tally_entry {
    struct bytes name;
    uint64_t count;
    uint64_t size; /* in bytes, or whatever the caller sums */
};

/* A zeroed tally is empty. */
struct tally {
    struct tally_entry **entries;
    size_t count, capacity;
    void *root; /* of a search tree over the entries */
};

/* Adds 1 and `size` to the entry of that name, which is copied into `arena` when it is new, and
 * returns it. NULL if there is no memory. */
const struct tally_entry *tally_add(struct tally *tally, struct arena *arena, struct bytes name,
                                    uint64_t size);

/* Sorts the entries: the highest count first, then by name. */
void tally_sort(struct tally *tally);

/* Frees what the tally holds, but for what is in the arena; harmless on a zeroed one. */
void tally_close(struct tally *tally);

#endif
