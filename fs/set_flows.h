/* The flows of a set: where they are, what their files looked like when they were packed, and where
 * their records stand. */
#ifndef FLOWFS_FS_SET_FLOWS_H
#define FLOWFS_FS_SET_FLOWS_H

#include "arena.h"
#include "error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct set_flow {
    const char *path;      /* from the set's folder; "" if that is the flow's directory */
    uint64_t fingerprint;  /* of its files: their names, kinds, inodes, sizes, times */
    uint64_t weight;       /* bytes in its files */
    bool settled;          /* any later change gives another fingerprint */
    bool packed;           /* what follows is of these files */
    const char *mistake;   /* as flowdir_pack told it, or NULL */
    uint64_t offset, size; /* of its record in the store: the last good one; size 0: none */
    double start;          /* seconds since the epoch: its place in the order */
    uint64_t losses;       /* hash of what it loses in the version that is written; 0: nothing */
};

struct set_flows {
    struct arena *arena;
    struct set_flow *items; /* by path, as flowdir_walk gives them */
    size_t count, capacity;
};

/* Fills `flows`, which is zeroed, with those in the folder. What has the fingerprint that it had in
 * `former` is taken from there, strings included; nothing is borrowed. False as flowdir_walk; to be
 * freed by set_flows_free in any case. */
bool set_flows_walk(struct set_flows *flows, int folder, const struct set_flows *former,
                    struct flow_error *error);

/* Harmless on a zeroed struct, and leaves one. */
void set_flows_free(struct set_flows *flows);

/* The flow's directory, found without following a symbolic link anywhere; -1 with errno. */
int set_flow_open(int folder, const struct set_flow *flow);

#endif
