/* The mount's answers to the kernel: libfuse's low-level interface over the tree.
 *
 * Each handler fetches its mount, asks the tree and replies once. OPEN and OPENDIR are answered
 * with ENOSYS, after which the kernel sends neither: every request goes by inode number, and the
 * kernel keeps pages and listings until it is told otherwise. */
#ifndef FLOWFS_FS_LL_H
#define FLOWFS_FS_LL_H

/* The interface of libfuse 3.12 and newer: fuse_session_loop_mt with a config object. */
#define FUSE_USE_VERSION 312
#include "placement.h"
#include "stage.h"
#include "tree.h"

#include <fuse_lowlevel.h>
#include <stdatomic.h>

/* How long the kernel may keep what cannot change, in seconds. */
#define LL_FOREVER 86400.0

/* Whether files of flows are being used, and not only listed. Sizes in a listing cost the reading
 * of a flow, and the kernel a node for each file: `find -type f` wants neither, while grep or du
 * would ask for each file with a LOOKUP of its own. So the first listings give names alone; once
 * files are asked for, the next listings are complete, and after so many of them we look again. */
struct ll_demand {
    _Atomic int listings; /* that will be complete */
};

#define LL_DEMAND_LISTINGS 256

struct ll_mount {
    struct tree tree;
    struct stage *stage; /* NULL: there is no `@staging` */
    struct fuse_session *session;
    struct ll_demand demand;
    struct placement placement;
    /* Called once the kernel and we agree on the protocol: from then on the mount can be used. */
    void (*ready)(void *context);
    void *ready_context;
    /* Told of what goes wrong while a request is answered. */
    void (*report)(void *context, uint64_t inode, const struct flow_error *error);
    void *report_context;
};

/* The handlers; user data of the session is a struct ll_mount. */
extern const struct fuse_lowlevel_ops ll_operations;

/* The mount that a request is for. To be called once, at the start of each handler; size: bytes
 * that the request asks for. */
struct ll_mount *ll_begin(fuse_req_t request, size_t size);

/* Whether the request that this thread works on is wanted no more: its caller was interrupted, or
 * the mount ends. context: the mount. */
bool ll_is_abandoned(void *context);

/* Answers requests with several threads until the file system is unmounted or SIGINT, SIGTERM or
 * SIGHUP arrives. Returns 0, or a negative errno if the connection to the kernel broke or threads
 * cannot be had. */
int ll_loop(struct fuse_session *session);

/* How long the kernel may keep a name, in seconds. Not at all if it may stand for another node the
 * next time (see inode.h), or if we want to know of each use: a query. */
double ll_entry_timeout(fuse_ino_t inode);

/* How long the kernel may keep a node's attributes, in seconds. Directories of views are asked
 * about each time they are opened: the kernel takes their listing anew if their time has changed.
 */
double ll_attribute_timeout(fuse_ino_t inode);

/* Makes the kernel ask again for what flows from `first` and hosts from `first_host` on have
 * changed. To be called by no thread that answers requests. */
void ll_notify_added(struct ll_mount *mount, uint32_t first, uint32_t first_host);

/* A file of a flow was asked for. */
void ll_demand_raise(struct ll_demand *demand);

/* Whether the listing that begins now is to be complete. */
bool ll_demand_take(struct ll_demand *demand);

/* The errno that a request is answered with: the error's own where a program can understand it, EIO
 * where the capture is broken. */
int ll_errno(const struct flow_error *error);

/* Makes the kernel ask again for the time of `@staging`. Any thread may call it. */
void ll_notify_staging(struct ll_mount *mount);

/* Parts of ll_operations, by file. */

/* ll_read.c and ll_list.c: nodes of the captured tree */
void ll_init(void *user_data, struct fuse_conn_info *connection);
void ll_lookup(fuse_req_t request, fuse_ino_t parent, const char *name);
void ll_getattr(fuse_req_t request, fuse_ino_t inode);
void ll_readlink(fuse_req_t request, fuse_ino_t inode);
void ll_read(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset);
void ll_list(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, bool plus);
void ll_getxattr(fuse_req_t request, fuse_ino_t inode, const char *name, size_t size);
void ll_listxattr(fuse_req_t request, fuse_ino_t inode, size_t size);
void ll_statfs(fuse_req_t request);

/* ll_stage.c: nodes of `@staging` */
void ll_stage_lookup(fuse_req_t request, fuse_ino_t parent, const char *name);
void ll_stage_lookup_top(fuse_req_t request);
void ll_stage_forget(const struct ll_mount *mount, fuse_ino_t inode, uint64_t count);
void ll_stage_getattr(fuse_req_t request, fuse_ino_t inode);
void ll_stage_readlink(fuse_req_t request, fuse_ino_t inode);
void ll_stage_read(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset);
void ll_stage_list(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, bool plus);
void ll_stage_getxattr(fuse_req_t request, fuse_ino_t inode, const char *name, size_t size);
void ll_stage_listxattr(fuse_req_t request, fuse_ino_t inode, size_t size);
void ll_stage_statfs(fuse_req_t request);

struct stage_node *ll_stage_node(const struct ll_mount *mount, fuse_ino_t inode);
void ll_stage_reply_entry(fuse_req_t request, const struct ll_mount *mount,
                          const struct stage_entry *entry);
void ll_stage_reply_attributes(fuse_req_t request, struct ll_mount *mount, fuse_ino_t inode);

/* ll_query.c: whether the node is `@query`; whether a name in it is to be not there for this
 * caller; saving and forgetting the query of that name */
bool ll_query_is_parent(fuse_ino_t inode);
bool ll_query_denies(fuse_req_t request, const struct ll_mount *mount, const char *name);
void ll_query_mkdir(fuse_req_t request, struct ll_mount *mount, const char *name);
void ll_query_rmdir(fuse_req_t request, struct ll_mount *mount, const char *name);

/* ll_write.c: what would change something; EROFS outside of `@staging`, but for queries */
void ll_setattr(fuse_req_t request, fuse_ino_t inode, struct stat *status, int to_set,
                struct fuse_file_info *info);
void ll_mknod(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode, dev_t device);
void ll_mkdir(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode);
void ll_symlink(fuse_req_t request, const char *target, fuse_ino_t parent, const char *name);
void ll_link(fuse_req_t request, fuse_ino_t inode, fuse_ino_t parent, const char *name);
void ll_unlink(fuse_req_t request, fuse_ino_t parent, const char *name);
void ll_rmdir(fuse_req_t request, fuse_ino_t parent, const char *name);
void ll_rename(fuse_req_t request, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
               const char *new_name, unsigned flags);
void ll_write(fuse_req_t request, fuse_ino_t inode, const char *data, size_t size, off_t offset,
              struct fuse_file_info *info);
void ll_fallocate(fuse_req_t request, fuse_ino_t inode, int mode, off_t offset, off_t length,
                  struct fuse_file_info *info);
void ll_copy_file_range(fuse_req_t request, fuse_ino_t from, off_t from_offset,
                        struct fuse_file_info *from_info, fuse_ino_t to, off_t to_offset,
                        struct fuse_file_info *to_info, size_t size, int flags);
void ll_fsync(fuse_req_t request, fuse_ino_t inode, int data_only, struct fuse_file_info *info);
void ll_setxattr(fuse_req_t request, fuse_ino_t inode, const char *name, const char *value,
                 size_t size, int flags);
void ll_removexattr(fuse_req_t request, fuse_ino_t inode, const char *name);

#endif
