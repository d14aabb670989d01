/* Requests that look at staged nodes. What changes them is in ll_write.c. */
#include "ll.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/statvfs.h>

/* Where nobody but us can change it the kernel may keep what it was told. */
static double attribute_timeout(const struct ll_mount *mount)
{
    return stage_is_shared(mount->stage) ? 0 : LL_FOREVER;
}

struct stage_node *ll_stage_node(const struct ll_mount *mount, fuse_ino_t inode)
{
    return stage_node_of(stage_nodes_of(mount->stage), inode);
}

static struct fuse_entry_param parameters_of(const struct ll_mount *mount,
                                             const struct stage_entry *entry)
{
    return (struct fuse_entry_param){
        .ino = entry->node ? stage_node_number(entry->node) : 0,
        .attr = entry->status,
        .attr_timeout = attribute_timeout(mount),
        .entry_timeout = entry->fleeting ? 0 : LL_FOREVER,
    };
}

void ll_stage_reply_entry(fuse_req_t request, const struct ll_mount *mount,
                          const struct stage_entry *entry)
{
    struct fuse_entry_param parameters = parameters_of(mount, entry);
    /* A request that was interrupted leaves the kernel without the node. */
    if (fuse_reply_entry(request, &parameters) == -ENOENT)
        stage_node_forget(stage_nodes_of(mount->stage), entry->node, 1);
}

/* The kernel remembers what is not there where nothing can come without its knowing. */
static void reply_missing(fuse_req_t request, const struct ll_mount *mount,
                          const struct stage_node *parent, const char *name)
{
    bool fleeting = stage_is_fleeting(mount->stage, parent, name) ||
                    parent == stage_nodes_top(stage_nodes_of(mount->stage));
    struct fuse_entry_param nothing = {.entry_timeout = LL_FOREVER};
    if (fleeting)
        fuse_reply_err(request, ENOENT);
    else
        fuse_reply_entry(request, &nothing);
}

void ll_stage_lookup(fuse_req_t request, fuse_ino_t parent, const char *name)
{
    struct ll_mount *mount = ll_begin(request, 0);
    struct stage_node *folder = ll_stage_node(mount, parent);
    struct flow_error error = {0};
    struct stage_entry entry;
    if (stage_lookup(mount->stage, folder, name, &entry, &error))
        ll_stage_reply_entry(request, mount, &entry);
    else if (error.code == ENOENT)
        reply_missing(request, mount, folder, name);
    else
        fuse_reply_err(request, error.code);
}

void ll_stage_lookup_top(fuse_req_t request)
{
    struct ll_mount *mount = ll_begin(request, 0);
    struct flow_error error = {0};
    struct fuse_entry_param entry = {
        .ino = STAGE_TOP_NUMBER,
        .attr_timeout = attribute_timeout(mount),
        .entry_timeout = LL_FOREVER,
    };
    struct stage_node *top = stage_nodes_top(stage_nodes_of(mount->stage));
    if (stage_attributes(mount->stage, top, &entry.attr, &error))
        fuse_reply_entry(request, &entry);
    else
        fuse_reply_err(request, error.code);
}

void ll_stage_forget(const struct ll_mount *mount, fuse_ino_t inode, uint64_t count)
{
    stage_node_forget(stage_nodes_of(mount->stage), ll_stage_node(mount, inode), count);
}

void ll_stage_reply_attributes(fuse_req_t request, struct ll_mount *mount, fuse_ino_t inode)
{
    struct flow_error error = {0};
    struct stat status;
    if (stage_attributes(mount->stage, ll_stage_node(mount, inode), &status, &error))
        fuse_reply_attr(request, &status, attribute_timeout(mount));
    else
        fuse_reply_err(request, error.code);
}

void ll_stage_getattr(fuse_req_t request, fuse_ino_t inode)
{
    ll_stage_reply_attributes(request, ll_begin(request, 0), inode);
}

void ll_stage_readlink(fuse_req_t request, fuse_ino_t inode)
{
    struct ll_mount *mount = ll_begin(request, 0);
    struct flow_error error = {0};
    char target[4096];
    if (stage_link_target(mount->stage, ll_stage_node(mount, inode), target, &error))
        fuse_reply_readlink(request, target);
    else
        fuse_reply_err(request, error.code);
}

void ll_stage_read(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset)
{
    struct ll_mount *mount = ll_begin(request, size);
    struct stage_node *node = ll_stage_node(mount, inode);
    struct flow_error error = {0};
    int descriptor = stage_read(mount->stage, node, &error);
    if (descriptor < 0) {
        fuse_reply_err(request, error.code);
        return;
    }
    struct fuse_bufvec buffers = FUSE_BUFVEC_INIT(size);
    buffers.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
    buffers.buf[0].fd = descriptor;
    buffers.buf[0].pos = offset;
    /* Copied, not moved: the pages stay those of the backing file. */
    fuse_reply_data(request, &buffers, 0);
    stage_read_done(mount->stage, node);
}

/* A reply that is being filled with entries. */
struct reply {
    fuse_req_t request;
    const struct ll_mount *mount;
    char *data;
    size_t size, capacity;
    bool plus;
};

static bool add_entry(void *context, const struct stage_listed *listed)
{
    struct reply *reply = context;
    char *place = reply->data + reply->size;
    size_t room = reply->capacity - reply->size;
    size_t needed;
    if (reply->plus) {
        struct fuse_entry_param parameters = parameters_of(reply->mount, &listed->entry);
        needed = fuse_add_direntry_plus(reply->request, place, room, listed->name, &parameters,
                                        (off_t)listed->next);
    } else {
        needed = fuse_add_direntry(reply->request, place, room, listed->name, &listed->entry.status,
                                   (off_t)listed->next);
    }
    if (needed > room)
        return false;
    reply->size += needed;
    return true;
}

void ll_stage_list(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, bool plus)
{
    struct ll_mount *mount = ll_begin(request, 0);
    struct flow_error error = {0};
    struct reply reply = {request, mount, malloc(size), 0, size, plus};
    if (!reply.data) {
        fuse_reply_err(request, ENOMEM);
        return;
    }
    if (stage_list(mount->stage, ll_stage_node(mount, inode), (uint64_t)offset, plus, add_entry,
                   &reply, &error))
        fuse_reply_buf(request, reply.data, reply.size);
    else
        fuse_reply_err(request, error.code);
    free(reply.data);
}

static void reply_extended(fuse_req_t request, const char *data, int64_t result, size_t size,
                           const struct flow_error *error)
{
    if (result < 0)
        fuse_reply_err(request, error->code);
    else if (size == 0)
        fuse_reply_xattr(request, (size_t)result);
    else
        fuse_reply_buf(request, data, (size_t)result);
}

void ll_stage_getxattr(fuse_req_t request, fuse_ino_t inode, const char *name, size_t size)
{
    struct ll_mount *mount = ll_begin(request, 0);
    struct flow_error error = {0};
    char *value = malloc(size + 1);
    int64_t result = -1;
    if (value)
        result = stage_get_extended(mount->stage, ll_stage_node(mount, inode), name, value, size,
                                    &error);
    else
        flow_error_memory(&error);
    reply_extended(request, value, result, size, &error);
    free(value);
}

void ll_stage_listxattr(fuse_req_t request, fuse_ino_t inode, size_t size)
{
    struct ll_mount *mount = ll_begin(request, 0);
    struct flow_error error = {0};
    char *names = malloc(size + 1);
    int64_t result = -1;
    if (names)
        result =
            stage_list_extended(mount->stage, ll_stage_node(mount, inode), names, size, &error);
    else
        flow_error_memory(&error);
    reply_extended(request, names, result, size, &error);
    free(names);
}

void ll_stage_statfs(fuse_req_t request)
{
    struct ll_mount *mount = ll_begin(request, 0);
    struct flow_error error = {0};
    struct statvfs statistics;
    if (stage_statistics(mount->stage, &statistics, &error))
        fuse_reply_statfs(request, &statistics);
    else
        fuse_reply_err(request, error.code);
}
