/* The mount's answers to the kernel: libfuse's low-level interface over the tree.
 *
 * Each handler fetches its mount, asks the tree and replies once. OPEN and OPENDIR are answered
 * with ENOSYS, after which the kernel sends neither: every request goes by inode number, and the
 * kernel keeps pages and listings until it is told otherwise. */
#ifndef FLOWFS_FS_LL_H
#define FLOWFS_FS_LL_H

/* The interface of libfuse 3.12 and newer: fuse_session_loop_mt with a config object. */
#define FUSE_USE_VERSION 312
#include "tree.h"

#include <fuse_lowlevel.h>

/* How long the kernel may keep what cannot change, in seconds. */
#define LL_FOREVER 86400.0

struct ll_mount {
    struct tree tree;
    struct fuse_session *session;
    /* Called once the kernel and we agree on the protocol: from then on the mount can be used. */
    void (*ready)(void *context);
    void *ready_context;
    /* Told of what goes wrong while a request is answered. */
    void (*report)(void *context, uint64_t inode, const struct flow_error *error);
    void *report_context;
};

/* The handlers; user data of the session is a struct ll_mount. */
extern const struct fuse_lowlevel_ops ll_operations;

/* The errno that a request is answered with: the error's own where a program can understand it, EIO
 * where the capture is broken. */
int ll_errno(const struct flow_error *error);

/* Parts of ll_operations, by file. */
void ll_readdir(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
                struct fuse_file_info *info);
void ll_readdirplus(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
                    struct fuse_file_info *info);

#endif
