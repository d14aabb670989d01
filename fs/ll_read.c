#include "ll.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/statvfs.h>

/* The request that the thread works on, or has answered. */
static _Thread_local fuse_req_t current;

bool ll_is_abandoned(void *context)
{
    const struct ll_mount *mount = context;
    return current && (fuse_session_exited(mount->session) || fuse_req_interrupted(current));
}

struct ll_mount *ll_begin(fuse_req_t request, size_t size)
{
    struct ll_mount *mount = fuse_req_userdata(request);
    current = request;
    placement_note(&mount->placement, fuse_req_ctx(request)->pid, size);
    return mount;
}

/* A name or node that is not there is a question well answered, and nothing to report. */
static void reply_error(fuse_req_t request, fuse_ino_t inode, const struct flow_error *error)
{
    const struct ll_mount *mount = fuse_req_userdata(request);
    if (error->code != ENOENT && error->code != ENODATA && error->code != EISDIR &&
        error->code != ENOTDIR && error->code != EINTR)
        mount->report(mount->report_context, inode, error);
    fuse_reply_err(request, ll_errno(error));
}

void ll_init(void *user_data, struct fuse_conn_info *connection)
{
    struct ll_mount *mount = user_data;
    /* Listings with attributes always, not only where the kernel guesses they pay: without them
     * each file costs a LOOKUP. */
    connection->want &= ~(unsigned)FUSE_CAP_READDIRPLUS_AUTO;
    connection->want |= connection->capable &
                        (FUSE_CAP_READDIRPLUS | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ASYNC_READ |
                         FUSE_CAP_SPLICE_WRITE | FUSE_CAP_CACHE_SYMLINKS);
    /* Splicing requests in costs two more system calls each, and ours carry no data. */
    connection->want &= ~(unsigned)FUSE_CAP_SPLICE_READ;
    /* What a file holds never changes by itself, so no read need look whether its time did. Only
     * staged files that others may change do. */
    connection->want &= ~(unsigned)FUSE_CAP_AUTO_INVAL_DATA;
    if (mount->stage && stage_is_shared(mount->stage))
        connection->want |= connection->capable & FUSE_CAP_AUTO_INVAL_DATA;
    /* Without OPEN nobody would tell us of O_TRUNC: the kernel is to ask for the size of 0. It also
     * is to take the set-user-ID bit from what is written to. */
    connection->want &= ~(unsigned)(FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_HANDLE_KILLPRIV);
    connection->max_readahead = 1u << 20;
    connection->max_background = 64;
    connection->congestion_threshold = 48;
    if (mount->ready)
        mount->ready(mount->ready_context);
}

double ll_entry_timeout(fuse_ino_t number)
{
    struct inode inode = inode_parse(number);
    bool versioned = inode.kind == INODE_CONTROL_FILE && inode.control == CONTROL_ERRORS;
    bool query = inode.kind == INODE_VIEW && inode.view == VIEW_QUERY && inode.number;
    return versioned || query ? 0 : LL_FOREVER;
}

double ll_attribute_timeout(fuse_ino_t number)
{
    struct inode inode = inode_parse(number);
    bool queries = inode.kind == INODE_VIEW && inode.view == VIEW_QUERY && !inode.number;
    return queries ? 0 : LL_FOREVER;
}

void ll_lookup(fuse_req_t request, fuse_ino_t parent, const char *name)
{
    struct ll_mount *mount = ll_begin(request, 0);
    struct flow_error error = {0};
    struct fuse_entry_param entry = {.entry_timeout = LL_FOREVER};
    enum inode_kind kind = inode_parse(parent).kind;
    if (kind == INODE_FLOW || kind == INODE_VIEW)
        ll_demand_raise(&mount->demand);
    if (ll_query_is_parent(parent) && ll_query_denies(request, mount, name))
        fuse_reply_err(request, ENOENT);
    else if (tree_lookup(&mount->tree, parent, bytes_of(name), &entry.attr, &error)) {
        entry.ino = entry.attr.st_ino;
        entry.attr_timeout = ll_attribute_timeout(entry.ino);
        entry.entry_timeout = ll_entry_timeout(entry.ino);
        fuse_reply_entry(request, &entry);
    } else if (error.code == ENOENT && kind != INODE_VIEW) {
        /* Inode 0: the kernel remembers that there is no such name. rg asks each directory for four
         * names that are never there. */
        fuse_reply_entry(request, &entry);
    } else {
        reply_error(request, parent, &error);
    }
}

void ll_getattr(fuse_req_t request, fuse_ino_t inode)
{
    struct ll_mount *mount = ll_begin(request, 0);
    struct flow_error error = {0};
    struct stat status;
    if (tree_attributes(&mount->tree, inode, &status, &error))
        fuse_reply_attr(request, &status, ll_attribute_timeout(inode));
    else
        reply_error(request, inode, &error);
}

static void reply_piece(fuse_req_t request, const struct cached_piece *piece)
{
    if (piece->descriptor < 0) {
        fuse_reply_buf(request, (const char *)piece->bytes.data, piece->size);
        return;
    }
    struct fuse_bufvec buffers = FUSE_BUFVEC_INIT(piece->size);
    buffers.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
    buffers.buf[0].fd = piece->descriptor;
    buffers.buf[0].pos = (off_t)piece->offset;
    fuse_reply_data(request, &buffers, FUSE_BUF_SPLICE_MOVE);
}

void ll_read(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset)
{
    struct ll_mount *mount = ll_begin(request, size);
    struct flow_error error = {0};
    struct tree_piece piece;
    void *scratch = malloc(size);
    ll_demand_raise(&mount->demand);
    if (offset == 0 && size <= LL_STORE_LARGEST)
        foresight_note_read(&mount->foresight, inode);
    if (!scratch) {
        fuse_reply_err(request, ENOMEM);
        return;
    }
    if (tree_read(&mount->tree, inode, (uint64_t)offset, size, scratch, &piece, &error)) {
        reply_piece(request, &piece.piece);
        tree_read_done(&mount->tree, &piece);
    } else {
        reply_error(request, inode, &error);
    }
    free(scratch);
}

void ll_readlink(fuse_req_t request, fuse_ino_t inode)
{
    struct ll_mount *mount = ll_begin(request, 0);
    struct flow_error error = {0};
    struct buffer target = BUFFER_INIT;
    bool done = tree_link_target(&mount->tree, inode, &target, &error);
    if (done) {
        buffer_append_byte(&target, '\0');
        done = !target.failed || flow_error_memory(&error);
    }
    if (done)
        fuse_reply_readlink(request, (const char *)target.data);
    else
        reply_error(request, inode, &error);
    buffer_free(&target);
}

static void reply_text(fuse_req_t request, const struct buffer *text, size_t size)
{
    if (size == 0)
        fuse_reply_xattr(request, text->size);
    else if (size < text->size)
        fuse_reply_err(request, ERANGE);
    else
        fuse_reply_buf(request, (const char *)text->data, text->size);
}

void ll_getxattr(fuse_req_t request, fuse_ino_t inode, const char *name, size_t size)
{
    struct ll_mount *mount = ll_begin(request, 0);
    struct flow_error error = {0};
    struct buffer value = BUFFER_INIT;
    if (tree_extended_attribute(&mount->tree, inode, bytes_of(name), &value, &error))
        reply_text(request, &value, size);
    else
        reply_error(request, inode, &error);
    buffer_free(&value);
}

void ll_listxattr(fuse_req_t request, fuse_ino_t inode, size_t size)
{
    struct ll_mount *mount = ll_begin(request, 0);
    struct flow_error error = {0};
    struct buffer names = BUFFER_INIT;
    if (tree_extended_attribute_names(&mount->tree, inode, &names, &error))
        reply_text(request, &names, size);
    else
        reply_error(request, inode, &error);
    buffer_free(&names);
}

static uint64_t captured_bytes(const struct collection *collection)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < collection_capture_count(collection); i++)
        bytes += source_size(capture_source(collection_capture(collection, i)->capture));
    return bytes;
}

/* As df sees it: a file system as large as its captures, and full. */
void ll_statfs(fuse_req_t request)
{
    struct ll_mount *mount = ll_begin(request, 0);
    const struct collection *collection = mount->tree.collection;
    struct statvfs status = {
        .f_bsize = 4096,
        .f_frsize = 4096,
        .f_blocks = (fsblkcnt_t)((captured_bytes(collection) + 4095) / 4096),
        .f_files = index_flow_count(collection_index(collection)),
        .f_namemax = NAME_LONGEST,
    };
    fuse_reply_statfs(request, &status);
}
