/* The writable tree, `@staging`, without FUSE: real files of a backing folder, and what is derived
 * of them.
 *
 *   NAME/            a set: a folder like any other
 *   NAME.mitm        the flow file made of it, always current; NAME.errors while that is impossible
 *   NAME/.flowfs/, NAME/…/FLOW/.flowfs/     its flows in other forms; never listed, since who
 *                    copies or removes all that is listed would fail at them
 *
 * Nothing is kept from the backing folder's own file system that it could say itself: names,
 * contents, attributes and errors are its own. What is derived (sets.h) is read-only: EROFS.
 *
 * Any thread may call anything, for nodes that the kernel has looked up. Functions return false or
 * -1 with `error` set: what the system call gave, whose code is the one to answer with. */
#ifndef FLOWFS_FS_STAGE_H
#define FLOWFS_FS_STAGE_H

#include "sets.h"
#include "stage_node.h"

#include <sys/statvfs.h>

struct stage;

struct stage_options {
    int folder;             /* the backing folder; stays the caller's and must outlive the stage */
    bool shared;            /* others may change it without going through the mount */
    int64_t format_version; /* of flow files: 17 to 21 */
    sets_report *report;    /* see sets_open */
    void *report_context;
    /* The top has another time and may have another listing than when it was last looked at: what a
     * kernel keeps of it is no longer true. Called before whoever changed something is answered. */
    void (*changed)(void *context);
    void *changed_context;
};

/* NULL with the errors of sets_open. */
struct stage *stage_open(const struct stage_options *options, struct flow_error *error);

/* Brings all flow files up to date on disk. False with the first error that this gave; all is freed
 * in any case. No request may be left. Harmless on NULL. */
bool stage_close(struct stage *stage, struct flow_error *error);

struct stage_nodes *stage_nodes_of(struct stage *stage);
bool stage_is_shared(const struct stage *stage);

/* A node and what it is: as stat tells it, with an inode number that nothing else in the mount has.
 */
struct stage_entry {
    struct stage_node *node; /* the kernel has one lookup more */
    struct stat status;
    bool fleeting; /* the name may stand for another file the next time */
};

/* stage.c */

bool stage_lookup(struct stage *stage, struct stage_node *parent, const char *name,
                  struct stage_entry *entry, struct flow_error *error);
bool stage_attributes(struct stage *stage, struct stage_node *node, struct stat *status,
                      struct flow_error *error);

/* Whether a name in that folder may come and go without a request that says so. */
bool stage_is_fleeting(const struct stage *stage, const struct stage_node *parent,
                       const char *name);

/* Lists a folder from `from` (0, or `next` of an entry), `.` and `..` included. plus: entries have
 * nodes, which the kernel then has looked up, but if `emit` returns false: that also ends it. */
struct stage_listed {
    const char *name;
    struct stage_entry entry; /* node NULL: status has the number and the type alone */
    uint64_t next;
};
typedef bool stage_emit(void *context, const struct stage_listed *listed);
bool stage_list(struct stage *stage, struct stage_node *folder, uint64_t from, bool plus,
                stage_emit *emit, void *context, struct flow_error *error);

/* Appends nothing: the target of a link, NUL-terminated. */
bool stage_link_target(struct stage *stage, struct stage_node *node, char target[4096],
                       struct flow_error *error);
bool stage_statistics(struct stage *stage, struct statvfs *statistics, struct flow_error *error);

/* stage_change.c: names */

/* Who asks, and what a new file is to be. */
struct stage_making {
    mode_t mode;        /* with the type: a file, folder, FIFO, socket or device */
    dev_t device;       /* of a device */
    const char *target; /* S_IFLNK */
    uid_t owner;
    gid_t group;
};

bool stage_make(struct stage *stage, struct stage_node *parent, const char *name,
                const struct stage_making *making, struct stage_entry *entry,
                struct flow_error *error);
bool stage_link(struct stage *stage, struct stage_node *node, struct stage_node *parent,
                const char *name, struct stage_entry *entry, struct flow_error *error);
bool stage_remove(struct stage *stage, struct stage_node *parent, const char *name, bool folder,
                  struct flow_error *error);

/* flags: those of renameat2(2). */
bool stage_rename(struct stage *stage, struct stage_node *parent, const char *name,
                  struct stage_node *new_parent, const char *new_name, unsigned flags,
                  struct flow_error *error);

/* stage_file.c: attributes and content */

/* Fails with EROFS if the node is derived. */
bool stage_is_writable(const struct stage_node *node, struct flow_error *error);

bool stage_set_mode(struct stage *stage, struct stage_node *node, mode_t mode,
                    struct flow_error *error);
/* (uid_t)-1, (gid_t)-1: as it is. */
bool stage_set_owner(struct stage *stage, struct stage_node *node, uid_t owner, gid_t group,
                     struct flow_error *error);
bool stage_set_size(struct stage *stage, struct stage_node *node, uint64_t size,
                    struct flow_error *error);
/* As utimensat(2) takes them. */
bool stage_set_times(struct stage *stage, struct stage_node *node, const struct timespec times[2],
                     struct flow_error *error);

/* A descriptor to read the file by, until stage_read_done. The node is there until then as well:
 * the kernel may forget it as soon as it has been answered. */
int stage_read(struct stage *stage, struct stage_node *node, struct flow_error *error);
void stage_read_done(struct stage *stage, struct stage_node *node);

/* What was written of a long file can be sent on its way to the disk: it will have to go there, and
 * who waits for that in the end then waits less. That may take a while, and nobody need wait for
 * it: so it is done when the write has been answered. */
struct stage_early {
    int descriptor; /* -1: nothing to do; else closed by stage_write_early */
    uint64_t offset, size;
};
void stage_write_early(const struct stage_early *early);

/* Returns the bytes written, fewer than `size` only if there is no room for more. */
int64_t stage_write(struct stage *stage, struct stage_node *node, const void *data, size_t size,
                    uint64_t offset, struct stage_early *early, struct flow_error *error);
/* mode: that of fallocate(2). */
bool stage_allocate(struct stage *stage, struct stage_node *node, int mode, uint64_t offset,
                    uint64_t size, struct flow_error *error);
int64_t stage_copy(struct stage *stage, struct stage_node *from, uint64_t from_offset,
                   struct stage_node *to, uint64_t to_offset, size_t size,
                   struct flow_error *error);

/* What was written is durable when it returns. The flow file follows: at once if `node` is the flow
 * file, its set or the top; else soon. data_only: as fdatasync(2). */
bool stage_sync(struct stage *stage, struct stage_node *node, bool data_only,
                struct flow_error *error);

/* Extended attributes, as the system calls of these names have it: the sizes of values, the errors.
 */
int64_t stage_get_extended(struct stage *stage, struct stage_node *node, const char *name,
                           void *value, size_t size, struct flow_error *error);
int64_t stage_list_extended(struct stage *stage, struct stage_node *node, char *names, size_t size,
                            struct flow_error *error);
bool stage_set_extended(struct stage *stage, struct stage_node *node, const char *name,
                        const void *value, size_t size, int flags, struct flow_error *error);
bool stage_remove_extended(struct stage *stage, struct stage_node *node, const char *name,
                           struct flow_error *error);

#endif
