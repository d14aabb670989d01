/* The flow directories in a folder, at any depth: what `flowcat --pack` and staging's sets are made
 * of.
 *
 * A directory is a flow's if request.headers, flow.json or query.json is in it. Directories whose
 * name begins with a dot are not entered (.git), nor are those in a flow's directory, and symbolic
 * links are not followed. Flows come in the order of their paths, compared name by name. */
#ifndef FLOWFS_CODEC_FLOWDIR_WALK_H
#define FLOWFS_CODEC_FLOWDIR_WALK_H

#include "error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Directories in directories, at most. */
#define FLOWDIR_WALK_DEEPEST 100

struct flowdir_walk_entry {
    const char *name;
    unsigned char type; /* DT_REG…, DT_UNKNOWN, as readdir gave it */
};

/* One flow's directory; all of it is borrowed until the visitor returns. */
struct flowdir_walk_flow {
    const char *path; /* from the folder; "" if the folder itself is a flow's directory */
    int directory;    /* its descriptor */
    uint64_t inode;   /* of the directory */
    const struct flowdir_walk_entry *entries; /* by name, without those with a leading dot */
    size_t count;
};

/* False ends the walk, with the error set. */
typedef bool flowdir_walk_visit(void *context, const struct flowdir_walk_flow *flow,
                                struct flow_error *error);

/* Visits all flows in the folder behind the descriptor, which stays the caller's. A directory that
 * is gone when it is to be entered is passed over. False with what a system call gave ("PATH:
 * cannot be read: …"), ELOOP (too deep), ENOMEM, or the visitor's error. */
bool flowdir_walk(int folder, flowdir_walk_visit *visit, void *context, struct flow_error *error);

#endif
