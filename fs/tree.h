/* The mounted tree, without FUSE: what is in a directory, what a node is, what a file holds.
 *
 *   /HOST/FLOW/summary.json, flow.json, request.*, response.*, error, messages/, …
 *   @by/, @query/           see views.h
 *   .flowfs/ in all that stands for flows: see control.h; there, but not listed
 *
 * Everything goes by inode number (inode.h); any thread may call anything. */
#ifndef FLOWFS_FS_TREE_H
#define FLOWFS_FS_TREE_H

#include "collection.h"
#include "control.h"
#include "flow_cache.h"
#include "inode.h"
#include "views.h"

#include <sys/stat.h>

#define TREE_STAGING_NAME "@staging"
#define TREE_STAGING_NUMBER ((uint64_t)3)

struct tree {
    const struct collection *collection;
    struct flow_cache *cache;
    struct control *control;
    struct views *views;
    bool show_control; /* `.flowfs` is listed */
    bool has_staging;  /* and so is `@staging`, of which nothing is known here (stage.h) */
    uid_t owner;
    gid_t group;
    mode_t umask; /* taken from what nodes would allow */
};

/* All functions return false with `error` set: ENOENT no such node; ENOTDIR, EISDIR; or what
 * reading the flow gave (collection_load). */

/* Finds `name` in the directory `parent`. */
bool tree_lookup(const struct tree *tree, uint64_t parent, struct bytes name, struct stat *status,
                 struct flow_error *error);

/* The node's attributes; sizes are exact. Times are those of the flow. */
bool tree_attributes(const struct tree *tree, uint64_t number, struct stat *status,
                     struct flow_error *error);

/* One entry of a listing. status: st_ino and st_mode are always set, all else only if `complete`.
 * next: where a listing goes on behind this entry. Returns false to stop. */
struct tree_entry {
    const char *name;
    struct stat status;
    bool complete;
    uint64_t next;
};
typedef bool tree_emit(void *context, const struct tree_entry *entry);

/* Lists a directory, `.` and `..` included, from `from` (0, or `next` of an entry). attributes:
 * whether entries are to be complete; in a flow's directory that takes rendering its files and
 * decoding its bodies, for their sizes. */
bool tree_list(const struct tree *tree, uint64_t number, uint64_t from, bool attributes,
               tree_emit *emit, void *context, struct flow_error *error);

/* Appends what a link leads to. EINVAL if the node is none. */
bool tree_link_target(const struct tree *tree, uint64_t number, struct buffer *target,
                      struct flow_error *error);

/* A piece of a file; tree_read_done gives back what it holds. */
struct tree_piece {
    struct cached_piece piece;
    struct cached_flow *flow;
    const struct control_content *content;
};

/* Up to `size` bytes at `offset`; fewer only at the end of the file. `scratch` has room for `size`
 * bytes. */
bool tree_read(const struct tree *tree, uint64_t number, uint64_t offset, size_t size,
               void *scratch, struct tree_piece *piece, struct flow_error *error);
void tree_read_done(const struct tree *tree, struct tree_piece *piece);

/* Extended attributes of bodies, under the freedesktop names: the media type as the message states
 * it, and the URL. The value is appended. ENODATA if the node has no such attribute. */
bool tree_extended_attribute(const struct tree *tree, uint64_t number, struct bytes name,
                             struct buffer *value, struct flow_error *error);

/* Appends the names of the attributes the node has, each with its NUL. */
bool tree_extended_attribute_names(const struct tree *tree, uint64_t number, struct buffer *names,
                                   struct flow_error *error);

#endif
