#include "stage_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#ifndef RWF_DONTCACHE
#define RWF_DONTCACHE 0x80 /* Linux 6.14 */
#endif

#define DESCRIPTOR_PATH_SIZE 40

/* A name of the file behind a descriptor, for calls that take no O_PATH descriptor. */
static void path_of(int descriptor, char path[DESCRIPTOR_PATH_SIZE])
{
    snprintf(path, DESCRIPTOR_PATH_SIZE, "/proc/self/fd/%d", descriptor);
}

/* Begins a change of the node: it is writable, and held. */
static int begin(struct stage *stage, struct stage_node *node, enum stage_use use,
                 struct flow_error *error)
{
    return stage_is_writable(node, error) ? stage_node_hold(stage->nodes, node, use, error) : -1;
}

/* Ends it. result: of the system call. */
static bool end(struct stage *stage, struct stage_node *node, int64_t result,
                struct flow_error *error)
{
    bool done = result >= 0 || stage_fail(error, "the staged file");
    stage_node_release(node);
    stage_touch(stage);
    return done;
}

/* Who has it open may go on writing after its mode no longer lets anybody open it. */
static void keep_writable(struct stage *stage, struct stage_node *node)
{
    struct flow_error ignored = {0};
    if (stage_node_hold(stage->nodes, node, STAGE_WRITE, &ignored) < 0)
        return;
    stage_node_set_shut(stage->nodes, node);
    stage_node_release(node);
}

bool stage_set_mode(struct stage *stage, struct stage_node *node, mode_t mode,
                    struct flow_error *error)
{
    char path[DESCRIPTOR_PATH_SIZE];
    int descriptor = begin(stage, node, STAGE_PATH, error);
    if (descriptor < 0)
        return false;
    if (stage_is_shut(stage, mode))
        keep_writable(stage, node);
    path_of(descriptor, path);
    return end(stage, node, fchmodat(AT_FDCWD, path, mode & 07777, 0), error);
}

bool stage_set_owner(struct stage *stage, struct stage_node *node, uid_t owner, gid_t group,
                     struct flow_error *error)
{
    int descriptor = begin(stage, node, STAGE_PATH, error);
    return descriptor >= 0 &&
           end(stage, node,
               fchownat(descriptor, "", owner, group, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW), error);
}

bool stage_set_size(struct stage *stage, struct stage_node *node, uint64_t size,
                    struct flow_error *error)
{
    int descriptor = begin(stage, node, STAGE_WRITE, error);
    return descriptor >= 0 && end(stage, node, ftruncate(descriptor, (off_t)size), error);
}

bool stage_set_times(struct stage *stage, struct stage_node *node, const struct timespec times[2],
                     struct flow_error *error)
{
    int descriptor = begin(stage, node, STAGE_PATH, error);
    return descriptor >= 0 &&
           end(stage, node, utimensat(descriptor, "", times, AT_EMPTY_PATH), error);
}

int stage_read(struct stage *stage, struct stage_node *node, struct flow_error *error)
{
    return stage_node_hold_on(stage->nodes, node, STAGE_READ, error);
}

void stage_read_done(struct stage *stage, struct stage_node *node)
{
    stage_node_drop(stage->nodes, node);
}

/* A long file is sent on its way to the disk in parts of this size. */
#define EARLY_PART ((uint64_t)8 << 20)

/* Notes the parts that were filled by writing from `from` to `to`. */
static void note_early(int descriptor, uint64_t from, uint64_t to, struct stage_early *early)
{
    uint64_t part = from / EARLY_PART * EARLY_PART;
    uint64_t end_part = to / EARLY_PART * EARLY_PART;
    *early = (struct stage_early){-1, part, end_part - part};
    if (end_part > part)
        early->descriptor = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
}

void stage_write_early(const struct stage_early *early)
{
    if (early->descriptor < 0)
        return;
    /* What is wrong with the disk is told by the write or sync that needs it. */
    sync_file_range(early->descriptor, (off_t)early->offset, (off_t)early->size,
                    SYNC_FILE_RANGE_WRITE);
    close(early->descriptor);
}

/* From this size on what is written need not stay in the pages of the backing file: it stands in
 * those of the mount, and twice would only take memory. The system then sends it to the disk as it
 * comes, too. */
#define LARGE_PIECE ((size_t)64 << 10)

static ssize_t write_piece(struct stage *stage, int descriptor, const char *data, size_t size,
                           uint64_t offset)
{
    const struct iovec piece = {(void *)(uintptr_t)data, size};
    bool large = size >= LARGE_PIECE && !atomic_load(&stage->keeps_pages);
    ssize_t written = -1;
    if (large)
        written = pwritev2(descriptor, &piece, 1, (off_t)offset, RWF_DONTCACHE);
    if (large && written < 0 && (errno == EOPNOTSUPP || errno == EINVAL))
        atomic_store(&stage->keeps_pages, true);
    else if (large)
        return written;
    return pwrite(descriptor, data, size, (off_t)offset);
}

int64_t stage_write(struct stage *stage, struct stage_node *node, const void *data, size_t size,
                    uint64_t offset, struct stage_early *early, struct flow_error *error)
{
    const char *bytes = data;
    size_t done = 0;
    ssize_t written = 0;
    int descriptor = begin(stage, node, STAGE_WRITE, error);
    early->descriptor = -1;
    if (descriptor < 0)
        return -1;
    while (done < size) {
        written = write_piece(stage, descriptor, bytes + done, size - done, offset + done);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            break;
        done += (size_t)written;
    }
    if (atomic_load(&stage->keeps_pages))
        note_early(descriptor, offset, offset + done, early);
    bool failed = !end(stage, node, done || size == 0 ? 0 : written, error);
    return failed ? -1 : (int64_t)done;
}

bool stage_allocate(struct stage *stage, struct stage_node *node, int mode, uint64_t offset,
                    uint64_t size, struct flow_error *error)
{
    int descriptor = begin(stage, node, STAGE_WRITE, error);
    return descriptor >= 0 &&
           end(stage, node, fallocate(descriptor, mode, (off_t)offset, (off_t)size), error);
}

int64_t stage_copy(struct stage *stage, struct stage_node *from, uint64_t from_offset,
                   struct stage_node *to, uint64_t to_offset, size_t size, struct flow_error *error)
{
    off_t source_offset = (off_t)from_offset, offset = (off_t)to_offset;
    int source = stage_read(stage, from, error);
    if (source < 0)
        return -1;
    int descriptor = begin(stage, to, STAGE_WRITE, error);
    int64_t copied = -1;
    if (descriptor >= 0) {
        copied = copy_file_range(source, &source_offset, descriptor, &offset, size, 0);
        if (!end(stage, to, copied, error))
            copied = -1;
    }
    stage_read_done(stage, from);
    return copied;
}

static bool sync_content(struct stage *stage, struct stage_node *node, bool data_only,
                         struct flow_error *error)
{
    int descriptor = stage_node_hold(stage->nodes, node, STAGE_READ, error);
    if (descriptor < 0)
        return false;
    bool done = (data_only ? fdatasync(descriptor) : fsync(descriptor)) == 0 ||
                stage_fail(error, "the staged file");
    stage_node_release(node);
    return done;
}

bool stage_sync(struct stage *stage, struct stage_node *node, bool data_only,
                struct flow_error *error)
{
    char set[256];
    if (stage_node_kind(node) != STAGE_FILE)
        return true; /* has no place on any disk */
    if (node == stage_nodes_top(stage->nodes))
        return (fsync(stage->options.folder) == 0 || stage_fail(error, "the staging folder")) &&
               sets_commit(stage->sets, NULL, error);
    /* Which set a flow file is of is not worth knowing: the others have little to do. */
    if (stage_node_is_derived(node))
        return sets_commit(stage->sets, NULL, error);
    if (!sync_content(stage, node, data_only, error))
        return false;
    if (stage_is_set(stage, node, set))
        return sets_commit(stage->sets, set, error);
    sets_hurry(stage->sets);
    return true;
}

int64_t stage_get_extended(struct stage *stage, struct stage_node *node, const char *name,
                           void *value, size_t size, struct flow_error *error)
{
    char path[DESCRIPTOR_PATH_SIZE];
    if (stage_node_kind(node) != STAGE_FILE) {
        errno = ENODATA;
        return stage_fail(error, name) ? 0 : -1;
    }
    int descriptor = stage_node_hold(stage->nodes, node, STAGE_PATH, error);
    if (descriptor < 0)
        return -1;
    path_of(descriptor, path);
    ssize_t result = getxattr(path, name, value, size);
    if (result < 0)
        stage_fail(error, name);
    stage_node_release(node);
    return result;
}

int64_t stage_list_extended(struct stage *stage, struct stage_node *node, char *names, size_t size,
                            struct flow_error *error)
{
    char path[DESCRIPTOR_PATH_SIZE];
    if (stage_node_kind(node) != STAGE_FILE)
        return 0;
    int descriptor = stage_node_hold(stage->nodes, node, STAGE_PATH, error);
    if (descriptor < 0)
        return -1;
    path_of(descriptor, path);
    ssize_t result = listxattr(path, names, size);
    if (result < 0)
        stage_fail(error, "the staged file");
    stage_node_release(node);
    return result;
}

/* Lists that would be kept but not kept to: on the mount permission is owner, group and others, and
 * of a file with a list the group's bits are no longer the group's. */
static bool is_access_list(const char *name)
{
    return strncmp(name, "system.posix_acl_", strlen("system.posix_acl_")) == 0;
}

bool stage_set_extended(struct stage *stage, struct stage_node *node, const char *name,
                        const void *value, size_t size, int flags, struct flow_error *error)
{
    char path[DESCRIPTOR_PATH_SIZE];
    if (is_access_list(name)) {
        errno = EOPNOTSUPP;
        return stage_fail(error, name);
    }
    int descriptor = begin(stage, node, STAGE_PATH, error);
    if (descriptor < 0)
        return false;
    path_of(descriptor, path);
    return end(stage, node, setxattr(path, name, value, size, flags), error);
}

bool stage_remove_extended(struct stage *stage, struct stage_node *node, const char *name,
                           struct flow_error *error)
{
    char path[DESCRIPTOR_PATH_SIZE];
    int descriptor = begin(stage, node, STAGE_PATH, error);
    if (descriptor < 0)
        return false;
    path_of(descriptor, path);
    return end(stage, node, removexattr(path, name), error);
}
