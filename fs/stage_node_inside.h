/* What stage_node.c and stage_hold.c share; for them only. */
#ifndef FLOWFS_FS_STAGE_NODE_INSIDE_H
#define FLOWFS_FS_STAGE_NODE_INSIDE_H

#include "stage_node.h"

#include <pthread.h>
#include <stdatomic.h>

struct stage_node {
    uint64_t number;
    dev_t device;
    ino_t inode;
    enum stage_kind kind;
    uint64_t version; /* of one that was made */
    _Atomic bool derived;
    _Atomic int holds;
    _Atomic int descriptors[STAGE_USES]; /* -1: not open */

    /* under the lock of the nodes */
    uint64_t lookups;    /* of the kernel */
    uint64_t references; /* of nodes below it, and of stage_node_hold_named */
    struct stage_node *parent;
    char *name;
    bool keep_open;                    /* its content is nowhere else */
    bool shut;                         /* its mode forbids to open it again */
    struct stage_node *next;           /* in its bucket; found nodes only */
    struct stage_node *after, *before; /* of all nodes, in a ring */
};

struct stage_nodes {
    pthread_mutex_t lock;
    struct stage_node *top;
    struct stage_node **buckets;
    size_t bucket_count, found_count;
    struct stage_node *hand; /* whose descriptors are looked at next */
    size_t count;
    _Atomic unsigned open; /* descriptors */
    unsigned most_open;
};

/* stage_node.c; all but the last with the lock. */

struct stage_node *stage_node_search(const struct stage_nodes *nodes, const struct stat *status);

/* Frees the node if nobody needs it, and then perhaps those above it. */
void stage_node_free_unused(struct stage_nodes *nodes, struct stage_node *node);

/* Ends a reference; the caller has no lock. */
void stage_node_drop_reference(struct stage_nodes *nodes, struct stage_node *node);

/* stage_hold.c */

/* Gives the node its descriptor for a use, unless another thread was first; returns the one it has.
 * Takes it over. */
int stage_node_put_descriptor(struct stage_nodes *nodes, struct stage_node *node,
                              enum stage_use use, int descriptor);

/* Nobody may hold the node. */
void stage_node_close_descriptors(struct stage_nodes *nodes, struct stage_node *node);

#endif
