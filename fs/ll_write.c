/* Requests that change staged nodes, and the answers to those that would change anything else. */
#include "ll.h"

#include <errno.h>
#include <fcntl.h>

static void reply_done(fuse_req_t request, bool done, const struct flow_error *error)
{
    fuse_reply_err(request, done ? 0 : error->code);
}

static bool is_asked(int to_set, int flag)
{
    return to_set & flag;
}

static struct timespec time_asked(int to_set, int flag, int now, struct timespec time)
{
    if (is_asked(to_set, now))
        return (struct timespec){.tv_nsec = UTIME_NOW};
    return is_asked(to_set, flag) ? time : (struct timespec){.tv_nsec = UTIME_OMIT};
}

static bool set_attributes(struct stage *stage, struct stage_node *node, const struct stat *status,
                           int to_set, struct flow_error *error)
{
    const int owners = FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID;
    const int times = FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW |
                      FUSE_SET_ATTR_MTIME_NOW;
    uid_t owner = is_asked(to_set, FUSE_SET_ATTR_UID) ? status->st_uid : (uid_t)-1;
    gid_t group = is_asked(to_set, FUSE_SET_ATTR_GID) ? status->st_gid : (gid_t)-1;
    const struct timespec both[2] = {
        time_asked(to_set, FUSE_SET_ATTR_ATIME, FUSE_SET_ATTR_ATIME_NOW, status->st_atim),
        time_asked(to_set, FUSE_SET_ATTR_MTIME, FUSE_SET_ATTR_MTIME_NOW, status->st_mtim),
    };
    /* The mode behind the owner, which takes the set-user-ID bit away. */
    return stage_is_writable(node, error) &&
           (!is_asked(to_set, owners) || stage_set_owner(stage, node, owner, group, error)) &&
           (!is_asked(to_set, FUSE_SET_ATTR_MODE) ||
            stage_set_mode(stage, node, status->st_mode, error)) &&
           (!is_asked(to_set, FUSE_SET_ATTR_SIZE) ||
            stage_set_size(stage, node, (uint64_t)status->st_size, error)) &&
           (!is_asked(to_set, times) || stage_set_times(stage, node, both, error));
}

void ll_setattr(fuse_req_t request, fuse_ino_t inode, struct stat *status, int to_set,
                struct fuse_file_info *info)
{
    (void)info;
    struct ll_mount *mount = ll_begin(request, 0);
    struct flow_error error = {0};
    if (!stage_is_node(inode))
        fuse_reply_err(request, EROFS);
    else if (set_attributes(mount->stage, ll_stage_node(mount, inode), status, to_set, &error))
        ll_stage_reply_attributes(request, mount, inode);
    else
        fuse_reply_err(request, error.code);
}

static void make(fuse_req_t request, fuse_ino_t parent, const char *name,
                 const struct stage_making *making)
{
    struct ll_mount *mount = ll_begin(request, 0);
    struct flow_error error = {0};
    struct stage_entry entry;
    if (!stage_is_node(parent))
        fuse_reply_err(request, EROFS);
    else if (stage_make(mount->stage, ll_stage_node(mount, parent), name, making, &entry, &error))
        ll_stage_reply_entry(request, mount, &entry);
    else
        fuse_reply_err(request, error.code);
}

static struct stage_making making_of(fuse_req_t request, mode_t mode)
{
    const struct fuse_ctx *context = fuse_req_ctx(request);
    return (struct stage_making){.mode = mode, .owner = context->uid, .group = context->gid};
}

void ll_mknod(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode, dev_t device)
{
    struct stage_making making = making_of(request, mode);
    making.device = device;
    make(request, parent, name, &making);
}

void ll_mkdir(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode)
{
    struct stage_making making = making_of(request, (mode & 07777) | S_IFDIR);
    if (ll_query_is_parent(parent))
        ll_query_mkdir(request, ll_begin(request, 0), name);
    else
        make(request, parent, name, &making);
}

void ll_symlink(fuse_req_t request, const char *target, fuse_ino_t parent, const char *name)
{
    struct stage_making making = making_of(request, S_IFLNK | 0777);
    making.target = target;
    make(request, parent, name, &making);
}

void ll_link(fuse_req_t request, fuse_ino_t inode, fuse_ino_t parent, const char *name)
{
    struct ll_mount *mount = ll_begin(request, 0);
    struct flow_error error = {0};
    struct stage_entry entry;
    if (!stage_is_node(parent))
        fuse_reply_err(request, EROFS);
    else if (!stage_is_node(inode))
        fuse_reply_err(request, EXDEV);
    else if (stage_link(mount->stage, ll_stage_node(mount, inode), ll_stage_node(mount, parent),
                        name, &entry, &error))
        ll_stage_reply_entry(request, mount, &entry);
    else
        fuse_reply_err(request, error.code);
}

static void do_remove(fuse_req_t request, fuse_ino_t parent, const char *name, bool folder)
{
    struct ll_mount *mount = ll_begin(request, 0);
    struct flow_error error = {0};
    if (stage_is_node(parent))
        reply_done(request,
                   stage_remove(mount->stage, ll_stage_node(mount, parent), name, folder, &error),
                   &error);
    else
        fuse_reply_err(request, EROFS);
}

void ll_unlink(fuse_req_t request, fuse_ino_t parent, const char *name)
{
    do_remove(request, parent, name, false);
}

void ll_rmdir(fuse_req_t request, fuse_ino_t parent, const char *name)
{
    if (ll_query_is_parent(parent))
        ll_query_rmdir(request, ll_begin(request, 0), name);
    else
        do_remove(request, parent, name, true);
}

void ll_rename(fuse_req_t request, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
               const char *new_name, unsigned flags)
{
    struct ll_mount *mount = ll_begin(request, 0);
    struct flow_error error = {0};
    if (stage_is_node(parent) && stage_is_node(new_parent))
        reply_done(request,
                   stage_rename(mount->stage, ll_stage_node(mount, parent), name,
                                ll_stage_node(mount, new_parent), new_name, flags, &error),
                   &error);
    else
        fuse_reply_err(request, EROFS);
}

/* mapped: the pages were written through a mapping, and the kernel still shows them to all. */
static void refuse_write(fuse_req_t request, struct ll_mount *mount, fuse_ino_t inode, bool mapped)
{
    fuse_reply_err(request, EROFS);
    if (mapped)
        ll_refuse_pages(mount, inode);
}

void ll_write(fuse_req_t request, fuse_ino_t inode, const char *data, size_t size, off_t offset,
              struct fuse_file_info *info)
{
    struct ll_mount *mount = ll_begin(request, size);
    struct flow_error error = {0};
    struct stage_early early = {.descriptor = -1};
    int64_t written = -1;
    if (stage_is_node(inode))
        written = stage_write(mount->stage, ll_stage_node(mount, inode), data, size,
                              (uint64_t)offset, &early, &error);
    if (written >= 0)
        fuse_reply_write(request, (size_t)written);
    else if (!stage_is_node(inode) || error.code == EROFS)
        refuse_write(request, mount, inode, info->writepage);
    else
        fuse_reply_err(request, error.code);
    stage_write_early(&early);
}

void ll_fallocate(fuse_req_t request, fuse_ino_t inode, int mode, off_t offset, off_t length,
                  struct fuse_file_info *info)
{
    (void)info;
    struct ll_mount *mount = ll_begin(request, 0);
    struct flow_error error = {0};
    if (stage_is_node(inode))
        reply_done(request,
                   stage_allocate(mount->stage, ll_stage_node(mount, inode), mode, (uint64_t)offset,
                                  (uint64_t)length, &error),
                   &error);
    else
        fuse_reply_err(request, EROFS);
}

/* Out of the captured tree the kernel copies by itself. */
void ll_copy_file_range(fuse_req_t request, fuse_ino_t from, off_t from_offset,
                        struct fuse_file_info *from_info, fuse_ino_t to, off_t to_offset,
                        struct fuse_file_info *to_info, size_t size, int flags)
{
    (void)from_info, (void)to_info, (void)flags;
    struct ll_mount *mount = ll_begin(request, size);
    struct flow_error error = {0};
    if (!stage_is_node(to)) {
        fuse_reply_err(request, EROFS);
        return;
    }
    if (!stage_is_node(from)) {
        fuse_reply_err(request, EOPNOTSUPP);
        return;
    }
    int64_t copied = stage_copy(mount->stage, ll_stage_node(mount, from), (uint64_t)from_offset,
                                ll_stage_node(mount, to), (uint64_t)to_offset, size, &error);
    if (copied >= 0)
        fuse_reply_write(request, (size_t)copied);
    else
        fuse_reply_err(request, error.code);
}

/* What was captured is on its disk, or is not ours to put there. */
void ll_fsync(fuse_req_t request, fuse_ino_t inode, int data_only, struct fuse_file_info *info)
{
    (void)info;
    struct ll_mount *mount = ll_begin(request, 0);
    struct flow_error error = {0};
    bool done = !stage_is_node(inode) ||
                stage_sync(mount->stage, ll_stage_node(mount, inode), data_only, &error);
    reply_done(request, done, &error);
}

void ll_setxattr(fuse_req_t request, fuse_ino_t inode, const char *name, const char *value,
                 size_t size, int flags)
{
    struct ll_mount *mount = ll_begin(request, 0);
    struct flow_error error = {0};
    if (stage_is_node(inode))
        reply_done(request,
                   stage_set_extended(mount->stage, ll_stage_node(mount, inode), name, value, size,
                                      flags, &error),
                   &error);
    else
        fuse_reply_err(request, EROFS);
}

void ll_removexattr(fuse_req_t request, fuse_ino_t inode, const char *name)
{
    struct ll_mount *mount = ll_begin(request, 0);
    struct flow_error error = {0};
    if (stage_is_node(inode))
        reply_done(request,
                   stage_remove_extended(mount->stage, ll_stage_node(mount, inode), name, &error),
                   &error);
    else
        fuse_reply_err(request, EROFS);
}
