/* The flows of a set made into one flow file. What is packed already is copied from the store, the
 * rest is packed, on all processors. */
#ifndef FLOWFS_FS_SET_PACK_H
#define FLOWFS_FS_SET_PACK_H

#include "set_flows.h"
#include "set_writer.h"

/* Told what a flow loses in the version that is written; line: for people. */
typedef void set_pack_loss(void *context, const struct set_flow *flow, const char *what);

struct set_packing {
    int root;   /* the staging folder, in which the file is made */
    int folder; /* the set's */
    int64_t version;
    int store; /* a former file, in which the flows' records stand; -1: none */
    uint64_t store_size;
    set_pack_loss *loss;
    void *context;
};

struct set_packed {
    struct set_file file; /* what was written; none if the store is what it would be */
    size_t mistakes;      /* flows that have one */
};

/* Packs what is not packed yet, and writes all flows in the order of their start times, then of
 * their paths. The flows' records are then those of packed->file, if it is there, else of the
 * store. If there are mistakes, the file lacks their flows, or is not there at all; it is of use
 * as a store.
 *
 * False with ESTALE (files vanished meanwhile: look again), ENOSPC, ENOMEM or what else a system
 * call gave: then there is no file, and the flows are to be thrown away. */
bool set_pack(const struct set_packing *packing, struct set_flows *flows, struct set_packed *packed,
              struct flow_error *error);

#endif
