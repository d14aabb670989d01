/* The mount's answers to the kernel: libfuse's low-level interface over the tree.
 *
 * Each handler fetches its mount, asks the tree and replies once. OPEN and OPENDIR are answered
 * with ENOSYS, after which the kernel sends neither: every request goes by inode number, and the
 * kernel keeps pages and listings until it is told otherwise. */
#ifndef FLOWFS_FS_LL_H
#define FLOWFS_FS_LL_H

/* The interface of libfuse 3.12 and newer: fuse_session_loop_mt with a config object. */
#define FUSE_USE_VERSION 312
#include "foresight.h"
#include "placement.h"
#include "stage.h"
#include "tree.h"

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>

/* How long the kernel may keep what cannot change, in seconds. */
#define LL_FOREVER 86400.0

/* Whether files of flows, or links to flows, are being used, and not only listed. Sizes in a
 * listing cost the reading of a flow, and the kernel a node for each file: `find -type f` wants
 * neither, while grep or du would ask for each file with a LOOKUP of its own. So the first listings
 * give names alone; once files are asked for, the next listings are complete, and after so many of
 * them we look again. */
struct ll_demand {
    _Atomic int listings; /* of flows that will be complete */
};

#define LL_DEMAND_LISTINGS 256

/* How many workers may tell the kernel something at a time, while they have a request to answer.
 *
 * The kernel can make such a worker wait: for the lock of a page, which a READ of that page holds
 * until it is answered, or for an inode that is being dropped, which waits for such a READ in turn.
 * So one worker must always be left that answers READs, and nothing that it waits for may be held
 * by those inside: they hold no lock, only a use of a cached flow. Then each wait ends, since each
 * READ is answered. With one worker nobody may enter.
 *
 * Each of these waits has its end: for a page that is truncated or invalidated (ll_notify_added, by
 * another thread) or written by a second store, that one's end; for an unmount, that the kernel has
 * aborted the requests in flight. When we end by ourselves the gate is closed before any worker
 * ends, so that none is inside who would wait for a READ that nobody takes any more. Only the
 * daemon's being killed (SIGKILL, a crash) while a worker waits inside cannot be provided for: then
 * `umount -f` has the kernel abort the READ. It takes that somebody reads a file that another has
 * listed anew, in that very moment. */
struct ll_gate {
    _Atomic int free;
    int places;
};

/* Files whose pages the kernel is to drop: see ll_refuse.c. */
struct ll_refusals {
    pthread_mutex_t lock;
    pthread_cond_t more;
    pthread_t thread; /* started by the first of them */
    bool has_thread, stop;
    uint64_t *inodes;
    size_t count, capacity;
};

struct ll_mount {
    struct tree tree;
    struct stage *stage; /* NULL: there is no `@staging` */
    struct fuse_session *session;
    bool read_only; /* to the kernel: then it takes no attributes as outdated after reading */
    struct ll_demand demand;
    struct foresight foresight;
    struct ll_gate gate;
    struct ll_refusals refusals;
    struct placement placement;
    /* Called once the kernel and we agree on the protocol: from then on the mount can be used. */
    void (*ready)(void *context);
    void *ready_context;
    /* Called at the end, while workers still answer: what tells the kernel something by itself must
     * be over then, since it may wait for an answer. */
    void (*ending)(void *context);
    void *ending_context;
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

/* Answers requests, with one thread or several, until the file system is unmounted or SIGINT,
 * SIGTERM or SIGHUP arrives. Returns 0, or a negative errno if the connection to the kernel broke
 * or threads cannot be had. */
int ll_loop(struct ll_mount *mount, bool single_threaded);

/* How long the kernel may keep a name, in seconds. Not at all if it may stand for another node the
 * next time (see inode.h), or if we want to know of each use: a query. */
double ll_entry_timeout(fuse_ino_t inode);

/* How long the kernel may keep a node's attributes, in seconds. It takes a directory's listing anew
 * if its time has changed; `@query` changes with each question, so it is asked about each time. */
double ll_attribute_timeout(fuse_ino_t inode);

/* Makes the kernel ask again for what flows from `first` and hosts from `first_host` on have
 * changed. To be called by no thread that answers requests. */
void ll_notify_added(struct ll_mount *mount, uint32_t first, uint32_t first_host);

/* A file of a flow was asked for, or something in a view. */
void ll_demand_raise(struct ll_demand *demand);

/* Whether listings are to be complete. */
bool ll_demand_is(const struct ll_demand *demand);

/* A flow is being listed. */
void ll_demand_lower(struct ll_demand *demand);

/* To be called once, when places + 1 workers are there; until then nobody enters. */
void ll_gate_open(struct ll_gate *gate, int places);

/* Returns once nobody is inside, and nobody will be. Workers must be there to answer meanwhile. */
void ll_gate_close(struct ll_gate *gate);

/* Files up to this size are given to the kernel before it asks. */
#define LL_STORE_LARGEST 32768

/* To be called by a worker once the kernel knows all that is in a directory, and before it is told
 * that the listing ends: gives it the content of the files, if they will be read. Then nobody asks
 * for them, and the kernel never takes their attributes as outdated, as it does once it has read
 * a file from us. */
void ll_store_files(struct ll_mount *mount, fuse_ino_t directory);

/* To be called by a worker at the start of each listing: has the kernel forget the listing of a
 * host, if the next one is to renew attributes. */
void ll_store_note_listing(struct ll_mount *mount, fuse_ino_t directory);

/* The errno that a request is answered with: the error's own where a program can understand it, EIO
 * where the capture is broken. */
int ll_errno(const struct flow_error *error);

/* Makes the kernel ask again for the time and the listing of `@staging`. Any thread may call it. */
void ll_notify_staging(struct ll_mount *mount);

/* Pages of a captured file that were written have been refused: the kernel is to drop them. */
void ll_refuse_pages(struct ll_mount *mount, fuse_ino_t inode);
void ll_refusals_init(struct ll_refusals *refusals);
/* Once the file system is unmounted, so that the kernel has nobody wait any more. */
void ll_refusals_end(struct ll_refusals *refusals);

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
