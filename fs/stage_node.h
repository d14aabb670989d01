/* Nodes of the writable tree: the files and folders of `@staging` that the kernel knows.
 *
 * A node is one file of the backing folder, found by device and inode number, so that hard links
 * are one node. It stays as long as the kernel may name it (lookups, until it forgets them), or a
 * node below it does. Its number in requests is its address, with the highest bit set, so that no
 * request has to search for it.
 *
 * A node's descriptors are opened when they are needed and may be closed while nobody holds the
 * node: there may be more nodes than a process may have files open. It is then found again by its
 * name, and must still be the same file. What has no name any more (removed while in use) is
 * pinned: its descriptors stay. Whoever removes or renames a file holds its node meanwhile.
 *
 * Any thread may call anything for a node that the kernel, or a hold, keeps. */
#ifndef FLOWFS_FS_STAGE_NODE_H
#define FLOWFS_FS_STAGE_NODE_H

#include "error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct stage_nodes;
struct stage_node;

/* The number of the top, `@staging` itself, which is always there: one that inode.h leaves free. */
#define STAGE_TOP_NUMBER ((uint64_t)3)

enum stage_kind {
    STAGE_FILE,         /* anything that is in the backing folder */
    STAGE_CONTROL,      /* a `.flowfs`, which is in no backing folder */
    STAGE_CONTROL_FILE, /* a file in it: content without a name */
};

/* What a descriptor is for. */
enum stage_use {
    STAGE_PATH, /* O_PATH: attributes, and names in a folder */
    STAGE_READ,
    STAGE_WRITE, /* and reading */
    STAGE_USES,  /* their number */
};

/* folder: the backing folder, which stays the caller's. most_open: so many descriptors may be open
 * before those of nodes that nobody holds are closed. NULL with ENOMEM or what fstat gave. Closed
 * by stage_nodes_close, when no request is left; harmless on NULL. */
struct stage_nodes *stage_nodes_open(int folder, unsigned most_open, struct flow_error *error);
void stage_nodes_close(struct stage_nodes *nodes);

struct stage_node *stage_nodes_top(struct stage_nodes *nodes);

/* Whether a number of the kernel's is that of a staged node, and which. */
bool stage_is_node(uint64_t number);
struct stage_node *stage_node_of(struct stage_nodes *nodes, uint64_t number);
uint64_t stage_node_number(const struct stage_node *node);

enum stage_kind stage_node_kind(const struct stage_node *node);

/* A copy of the name it was last found by, since that may change; "" if it has none. */
void stage_node_name(struct stage_nodes *nodes, const struct stage_node *node, char name[256]);

/* The folder it was last found in; NULL of the top and of what has no name. */
struct stage_node *stage_node_parent(struct stage_nodes *nodes, const struct stage_node *node);

/* Whether it is made by us, and so not to be written. */
bool stage_node_is_derived(const struct stage_node *node);

/* Finds `name` in the folder `parent`; NULL with what fstatat gave, ENOMEM, or EXDEV if another
 * file system is mounted there. status: as the file has it. The kernel gets one lookup of it. */
struct stage_node *stage_node_find(struct stage_nodes *nodes, struct stage_node *parent,
                                   const char *name, struct stat *status, struct flow_error *error);

/* The node of an open file that has no name, which it stays to be known by; it is derived. Takes
 * over the descriptor, also on failure. One lookup, as above. */
struct stage_node *stage_node_of_descriptor(struct stage_nodes *nodes, int descriptor,
                                            struct stat *status, struct flow_error *error);

/* Nodes that are in no backing folder: what is called `key` in `parent`, in that version. Found
 * again as long as the kernel knows it, else made; descriptor: its content, or -1; taken over, also
 * on failure. One lookup, as above. NULL: there is none yet; NULL with ENOMEM. */
struct stage_node *stage_node_find_made(struct stage_nodes *nodes, struct stage_node *parent,
                                        unsigned key, uint64_t version);
struct stage_node *stage_node_make(struct stage_nodes *nodes, struct stage_node *parent,
                                   enum stage_kind kind, unsigned key, uint64_t version,
                                   int descriptor, struct flow_error *error);

/* The key that it was made with. */
unsigned stage_node_key(const struct stage_node *node);

/* Gives a node the descriptor by which its file was made, for writing; takes it over. */
void stage_node_keep_open(struct stage_nodes *nodes, struct stage_node *node, int descriptor);

/* The file's mode forbids to open it again: what is open stays so as long as it can. */
void stage_node_set_shut(struct stage_nodes *nodes, struct stage_node *node);

/* The kernel has one lookup more, or `count` less. A node without any is gone. */
void stage_node_remember(struct stage_nodes *nodes, struct stage_node *node);
void stage_node_forget(struct stage_nodes *nodes, struct stage_node *node, uint64_t count);

/* Keeps the node's descriptors until stage_node_release; -1 with ESTALE if the file is no longer
 * where it was, or what opening it gave. The descriptor is the node's. */
int stage_node_hold(struct stage_nodes *nodes, struct stage_node *node, enum stage_use use,
                    struct flow_error *error);
void stage_node_release(struct stage_node *node);

/* The same, and the node is there until stage_node_drop: for what goes on when the request has been
 * answered, and the kernel may forget the node. */
int stage_node_hold_on(struct stage_nodes *nodes, struct stage_node *node, enum stage_use use,
                       struct flow_error *error);

/* The node of `name` in the folder, held, if the kernel knows it; *found is NULL if not (or if
 * there is no such name). It is there until stage_node_drop. False with what opening it gave:
 * without a descriptor it could not be told from others once its name is gone. */
bool stage_node_hold_named(struct stage_nodes *nodes, struct stage_node *parent, const char *name,
                           struct stage_node **found, struct flow_error *error);
void stage_node_drop(struct stage_nodes *nodes, struct stage_node *node);

/* The file has been removed by that name, or has got another one (if there is no memory for it, or
 * the folder was below it when last seen, the node is as without a name). The node is held. */
void stage_node_unlinked(struct stage_nodes *nodes, struct stage_node *node,
                         struct stage_node *parent, const char *name);
void stage_node_renamed(struct stage_nodes *nodes, struct stage_node *node,
                        struct stage_node *parent, const char *name);

#endif
