/* Which room answers a request: that of the captured tree (ll_read.c, ll_list.c) or that of staging
 * (ll_stage.c). What changes something is ll_write.c's, whatever it is about. */
#include "ll.h"

#include <errno.h>

static const struct ll_mount *mount_of(fuse_req_t request)
{
    return fuse_req_userdata(request);
}

static void route_lookup(fuse_req_t request, fuse_ino_t parent, const char *name)
{
    if (stage_is_node(parent))
        ll_stage_lookup(request, parent, name);
    else if (parent == INODE_ROOT_NUMBER && mount_of(request)->stage &&
             bytes_equal_text(bytes_of(name), TREE_STAGING_NAME))
        ll_stage_lookup_top(request);
    else
        ll_lookup(request, parent, name);
}

static void forget_one(const struct ll_mount *mount, fuse_ino_t inode, uint64_t count)
{
    if (stage_is_node(inode))
        ll_stage_forget(mount, inode, count);
}

static void route_forget(fuse_req_t request, fuse_ino_t inode, uint64_t count)
{
    forget_one(mount_of(request), inode, count);
    fuse_reply_none(request);
}

static void route_forget_multi(fuse_req_t request, size_t count, struct fuse_forget_data *forgets)
{
    for (size_t i = 0; i < count; i++)
        forget_one(mount_of(request), forgets[i].ino, forgets[i].nlookup);
    fuse_reply_none(request);
}

static void route_getattr(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
    (void)info;
    stage_is_node(inode) ? ll_stage_getattr(request, inode) : ll_getattr(request, inode);
}

static void route_readlink(fuse_req_t request, fuse_ino_t inode)
{
    stage_is_node(inode) ? ll_stage_readlink(request, inode) : ll_readlink(request, inode);
}

/* Answered once: see ll.h. */
static void route_open(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
    (void)inode, (void)info;
    fuse_reply_err(request, ENOSYS);
}

static void route_read(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
                       struct fuse_file_info *info)
{
    (void)info;
    stage_is_node(inode) ? ll_stage_read(request, inode, size, offset)
                         : ll_read(request, inode, size, offset);
}

static void route_list(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, bool plus)
{
    stage_is_node(inode) ? ll_stage_list(request, inode, size, offset, plus)
                         : ll_list(request, inode, size, offset, plus);
}

static void route_readdir(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
                          struct fuse_file_info *info)
{
    (void)info;
    route_list(request, inode, size, offset, false);
}

static void route_readdirplus(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
                              struct fuse_file_info *info)
{
    (void)info;
    route_list(request, inode, size, offset, true);
}

static void route_getxattr(fuse_req_t request, fuse_ino_t inode, const char *name, size_t size)
{
    stage_is_node(inode) ? ll_stage_getxattr(request, inode, name, size)
                         : ll_getxattr(request, inode, name, size);
}

static void route_listxattr(fuse_req_t request, fuse_ino_t inode, size_t size)
{
    stage_is_node(inode) ? ll_stage_listxattr(request, inode, size)
                         : ll_listxattr(request, inode, size);
}

static void route_statfs(fuse_req_t request, fuse_ino_t inode)
{
    stage_is_node(inode) ? ll_stage_statfs(request) : ll_statfs(request);
}

const struct fuse_lowlevel_ops ll_operations = {
    .init = ll_init,
    .lookup = route_lookup,
    .forget = route_forget,
    .forget_multi = route_forget_multi,
    .getattr = route_getattr,
    .readlink = route_readlink,
    .open = route_open,
    .opendir = route_open,
    .read = route_read,
    .readdir = route_readdir,
    .readdirplus = route_readdirplus,
    .getxattr = route_getxattr,
    .listxattr = route_listxattr,
    .statfs = route_statfs,
    .setattr = ll_setattr,
    .mknod = ll_mknod,
    .mkdir = ll_mkdir,
    .symlink = ll_symlink,
    .link = ll_link,
    .unlink = ll_unlink,
    .rmdir = ll_rmdir,
    .rename = ll_rename,
    .write = ll_write,
    .fallocate = ll_fallocate,
    .copy_file_range = ll_copy_file_range,
    .fsync = ll_fsync,
    .fsyncdir = ll_fsync,
    .setxattr = ll_setxattr,
    .removexattr = ll_removexattr,
};
