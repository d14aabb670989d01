#include "tree.h"

#include "timestamp.h"
#include "tree_node.h"

#include <errno.h>

#define BLOCK_SIZE 4096

static bool fail(struct flow_error *error, int code, const char *message)
{
    flow_error_set(error, code, FLOW_ERROR_NO_OFFSET, "%s", message);
    return false;
}

bool tree_no_such_node(struct flow_error *error)
{
    return fail(error, ENOENT, "no such file or directory");
}

static const struct index *index_of(const struct tree *tree)
{
    return collection_index(tree->collection);
}

static bool has_messages(const struct tree *tree, uint32_t flow)
{
    return index_flow(index_of(tree), flow)->files & FLOWDIR_MESSAGES_BIT;
}

bool tree_node_exists(const struct tree *tree, const struct inode *inode)
{
    switch (inode->kind) {
    case INODE_NONE:
        return false;
    case INODE_ROOT:
        return true;
    case INODE_HOST:
        return inode->number < index_host_count(index_of(tree));
    case INODE_FLOW:
        return inode->number < index_flow_count(index_of(tree));
    case INODE_FILE:
        return inode->number < index_flow_count(index_of(tree)) &&
               index_flow(index_of(tree), inode->number)->files & flowdir_bit(inode->file);
    case INODE_MESSAGES:
    case INODE_MESSAGE:
        return inode->number < index_flow_count(index_of(tree)) &&
               has_messages(tree, inode->number);
    case INODE_CONTROL:
    case INODE_CONTROL_FILE:
        return tree_control_exists(tree, inode);
    case INODE_VIEW:
        return tree_view_exists(tree, inode);
    case INODE_LINK:
        return inode->number < index_flow_count(index_of(tree));
    }
    return false;
}

static void set_times(struct stat *status, int64_t nanoseconds)
{
    int64_t fraction = (nanoseconds % 1000000000 + 1000000000) % 1000000000;
    struct timespec time = {
        .tv_sec = (time_t)((nanoseconds - fraction) / 1000000000),
        .tv_nsec = (long)fraction,
    };
    status->st_atim = status->st_mtim = status->st_ctim = time;
}

void tree_set_directory(const struct tree *tree, uint64_t number, nlink_t directories, int64_t time,
                        struct stat *status)
{
    *status = (struct stat){
        .st_ino = number,
        .st_mode = S_IFDIR | (0777 & ~tree->umask),
        .st_nlink = 2 + directories,
        .st_uid = tree->owner,
        .st_gid = tree->group,
        .st_blksize = BLOCK_SIZE,
    };
    set_times(status, time);
}

void tree_set_file(const struct tree *tree, uint64_t number, uint64_t size, int64_t time,
                   struct stat *status)
{
    *status = (struct stat){
        .st_ino = number,
        .st_mode = S_IFREG | (0666 & ~tree->umask),
        .st_nlink = 1,
        .st_uid = tree->owner,
        .st_gid = tree->group,
        .st_size = (off_t)size,
        .st_blocks = (blkcnt_t)((size + BLOCK_SIZE - 1) / BLOCK_SIZE * (BLOCK_SIZE / 512)),
        .st_blksize = BLOCK_SIZE,
    };
    set_times(status, time);
}

static void set_root(const struct tree *tree, struct stat *status)
{
    int64_t newest = index_newest(index_of(tree));
    tree_set_directory(tree, INODE_ROOT_NUMBER,
                       index_host_count(index_of(tree)) + TREE_VIEW_ROOTS + tree->has_staging,
                       newest == INT64_MIN ? 0 : newest, status);
}

static void set_host(const struct tree *tree, uint32_t number, struct stat *status)
{
    const struct index_host *host = index_host(index_of(tree), number);
    tree_set_directory(tree, inode_of_host(number), atomic_load(&host->count),
                       atomic_load(&host->newest), status);
}

static void set_flow(const struct tree *tree, uint32_t flow, struct stat *status)
{
    tree_set_directory(tree, inode_of_flow(flow), has_messages(tree, flow),
                       index_flow(index_of(tree), flow)->start, status);
}

static void set_messages(const struct tree *tree, uint32_t flow, struct stat *status)
{
    tree_set_directory(tree, inode_of_messages(flow), 0, index_flow(index_of(tree), flow)->start,
                       status);
}

static bool set_flow_file(const struct tree *tree, struct cached_flow *cached, uint32_t flow,
                          enum flowdir_file file, struct stat *status, struct flow_error *error)
{
    uint64_t size;
    const struct flowdir *directory = cached_flow_directory(cached);
    if (!flowdir_has(directory, file))
        return tree_no_such_node(error);
    if (!cached_flow_size(cached, file, &size, error))
        return false;
    tree_set_file(tree, inode_of_file(flow, file), size,
                  timestamp_microseconds(flowdir_time(directory, file)) * 1000, status);
    return true;
}

static bool set_message(const struct tree *tree, const struct flowdir *directory, uint32_t flow,
                        size_t number, struct stat *status, struct flow_error *error)
{
    if (number == 0 || number > directory->message_count)
        return tree_no_such_node(error);
    struct flow_stream_message message = flowdir_message(directory, number);
    double time =
        message.timestamp > 0 ? message.timestamp : directory->loaded.flow.timestamp_start;
    tree_set_file(tree, inode_of_message(flow, number), message.content->bytes.size,
                  timestamp_microseconds(time) * 1000, status);
    return true;
}

bool tree_attributes(const struct tree *tree, uint64_t number, struct stat *status,
                     struct flow_error *error)
{
    struct inode inode = inode_parse(number);
    struct cached_flow *cached;
    bool done = false;
    if (!tree_node_exists(tree, &inode))
        return tree_no_such_node(error);
    switch (inode.kind) {
    case INODE_NONE:
        return tree_no_such_node(error);
    case INODE_ROOT:
        set_root(tree, status);
        return true;
    case INODE_HOST:
        set_host(tree, inode.number, status);
        return true;
    case INODE_FLOW:
        set_flow(tree, inode.number, status);
        return true;
    case INODE_MESSAGES:
        set_messages(tree, inode.number, status);
        return true;
    case INODE_FILE:
    case INODE_MESSAGE:
        cached = flow_cache_get(tree->cache, inode.number, error);
        if (!cached)
            return false;
        done = inode.kind == INODE_FILE
                   ? set_flow_file(tree, cached, inode.number, inode.file, status, error)
                   : set_message(tree, cached_flow_directory(cached), inode.number, inode.message,
                                 status, error);
        flow_cache_release(tree->cache, cached);
        break;
    case INODE_CONTROL:
    case INODE_CONTROL_FILE:
        return tree_control_attributes(tree, &inode, status, error);
    case INODE_VIEW:
        tree_view_attributes(tree, inode_place(&inode), status);
        return true;
    case INODE_LINK:
        return tree_link_attributes(tree, &inode, status, error);
    }
    return done;
}

static bool lookup_in_flow(const struct tree *tree, uint32_t flow, struct bytes name,
                           struct stat *status, struct flow_error *error)
{
    enum flowdir_file file = flowdir_file_of_name(name);
    if (file != FLOWDIR_FILES)
        return tree_attributes(tree, inode_of_file(flow, file), status, error);
    if (!bytes_equal_text(name, FLOWDIR_MESSAGES_NAME) || !has_messages(tree, flow))
        return tree_no_such_node(error);
    set_messages(tree, flow, status);
    return true;
}

static bool lookup_message(const struct tree *tree, uint32_t flow, struct bytes name,
                           struct stat *status, struct flow_error *error)
{
    char real_name[FLOWDIR_MESSAGE_NAME_SIZE];
    size_t number = flowdir_message_of_name(name);
    struct cached_flow *cached = number ? flow_cache_get(tree->cache, flow, error) : NULL;
    if (!cached)
        return error->code ? false : tree_no_such_node(error);
    const struct flowdir *directory = cached_flow_directory(cached);
    bool found = number <= directory->message_count;
    if (found) {
        flowdir_message_name(directory, number, real_name);
        found = bytes_equal_text(name, real_name) &&
                set_message(tree, directory, flow, number, status, error);
    }
    flow_cache_release(tree->cache, cached);
    return found || tree_no_such_node(error);
}

static bool lookup_in_root(const struct tree *tree, struct bytes name, struct stat *status,
                           struct flow_error *error)
{
    struct view_place place;
    uint32_t host = index_find_host(index_of(tree), name);
    if (host != INDEX_NONE) {
        set_host(tree, host, status);
        return true;
    }
    for (size_t i = 0; i < TREE_VIEW_ROOTS; i++)
        if (bytes_equal_text(name, tree_view_root(i, &place))) {
            tree_view_attributes(tree, place, status);
            return true;
        }
    return tree_no_such_node(error);
}

bool tree_lookup(const struct tree *tree, uint64_t parent, struct bytes name, struct stat *status,
                 struct flow_error *error)
{
    uint32_t found;
    struct inode inode = inode_parse(parent);
    if (!tree_node_exists(tree, &inode))
        return tree_no_such_node(error);
    struct inode control = tree_control_of(&inode);
    if (control.kind && bytes_equal_text(name, CONTROL_DIRECTORY_NAME))
        return tree_control_attributes(tree, &control, status, error);
    switch (inode.kind) {
    case INODE_ROOT:
        return lookup_in_root(tree, name, status, error);
    case INODE_HOST:
        found = index_find_flow(index_of(tree), inode.number, name);
        if (found == INDEX_NONE)
            return tree_no_such_node(error);
        set_flow(tree, found, status);
        return true;
    case INODE_FLOW:
        return lookup_in_flow(tree, inode.number, name, status, error);
    case INODE_MESSAGES:
        return lookup_message(tree, inode.number, name, status, error);
    case INODE_CONTROL:
        return tree_control_lookup(tree, &inode, name, status, error);
    case INODE_VIEW:
        return tree_view_lookup(tree, inode_place(&inode), name, status, error);
    case INODE_NONE:
    case INODE_FILE:
    case INODE_MESSAGE:
    case INODE_CONTROL_FILE:
    case INODE_LINK:
        break;
    }
    return fail(error, ENOTDIR, "not a directory");
}

/* A listing in progress. Positions: 1 behind `.`, 2 behind `..`, 3 and more behind what follows. */
struct listing {
    const struct tree *tree;
    uint64_t from;
    tree_emit *emit;
    void *context;
};

static bool emit_node(const struct listing *listing, const char *name, const struct stat *status,
                      bool complete, uint64_t next)
{
    struct tree_entry entry = {name, *status, complete, next};
    return listing->emit(listing->context, &entry);
}

/* `.` and `..`; the kernel wants only their numbers. */
static bool emit_dots(const struct listing *listing, uint64_t self, uint64_t parent)
{
    struct stat status = {.st_ino = self, .st_mode = S_IFDIR};
    if (listing->from < 1 && !emit_node(listing, ".", &status, false, 1))
        return false;
    status.st_ino = parent;
    return listing->from >= 2 || emit_node(listing, "..", &status, false, 2);
}

/* Where views and `@staging` stand in the root, and a shown `.flowfs` in a listing: behind all
 * else.
 */
#define VIEWS_POSITION ((uint64_t)1 << 36)
#define STAGING_POSITION ((uint64_t)1 << 37)
#define CONTROL_POSITION ((uint64_t)1 << 40)

static void emit_control(const struct listing *listing, struct inode owner)
{
    struct stat status;
    struct flow_error ignored = {0};
    struct inode control = tree_control_of(&owner);
    if (listing->tree->show_control && listing->from < CONTROL_POSITION &&
        tree_control_attributes(listing->tree, &control, &status, &ignored))
        emit_node(listing, CONTROL_DIRECTORY_NAME, &status, true, CONTROL_POSITION);
}

static uint64_t owner_of(const struct inode *control)
{
    switch (control->owner) {
    case CONTROL_OF_HOST:
        return inode_of_host(control->number);
    case CONTROL_OF_FLOW:
        return inode_of_flow(control->number);
    case CONTROL_OF_VIEW:
        return inode_of_view(inode_place(control));
    case CONTROL_OF_ROOT:
        break;
    }
    return INODE_ROOT_NUMBER;
}

/* Names alone: to know their sizes, all files would have to be made. */
static void list_control(const struct listing *listing, const struct inode *directory)
{
    struct inode inode = *directory;
    if (!emit_dots(listing, inode_of_control(&inode), owner_of(&inode)))
        return;
    inode.kind = INODE_CONTROL_FILE;
    for (uint64_t i = listing->from > 2 ? listing->from - 2 : 0; i < CONTROL_FILES; i++) {
        inode.control = (enum control_file)i;
        if (!control_file_belongs(inode.control, inode.owner) ||
            !tree_control_exists(listing->tree, &inode))
            continue;
        struct stat status = {
            .st_ino = inode_of_control(&inode),
            .st_mode = S_IFREG,
        };
        if (!emit_node(listing, control_file_name(inode.control), &status, false, i + 3))
            return;
    }
}

static void list_root(const struct listing *listing)
{
    const struct index *index = index_of(listing->tree);
    uint32_t count = index_host_count(index);
    struct stat status;
    char name[NAME_LONGEST + 1];
    if (!emit_dots(listing, INODE_ROOT_NUMBER, INODE_ROOT_NUMBER))
        return;
    for (uint64_t i = listing->from > 2 ? listing->from - 2 : 0; i < count; i++) {
        struct bytes host_name = index_host(index, (uint32_t)i)->name;
        memcpy(name, host_name.data, host_name.size);
        name[host_name.size] = '\0';
        set_host(listing->tree, (uint32_t)i, &status);
        if (!emit_node(listing, name, &status, true, i + 3))
            return;
    }
    for (size_t i = 0; i < TREE_VIEW_ROOTS; i++) {
        struct view_place place;
        const char *view = tree_view_root(i, &place);
        if (listing->from > VIEWS_POSITION + i)
            continue;
        tree_view_attributes(listing->tree, place, &status);
        if (!emit_node(listing, view, &status, true, VIEWS_POSITION + i + 1))
            return;
    }
    status = (struct stat){.st_ino = TREE_STAGING_NUMBER, .st_mode = S_IFDIR};
    if (listing->tree->has_staging && listing->from <= STAGING_POSITION &&
        !emit_node(listing, TREE_STAGING_NAME, &status, false, STAGING_POSITION + 1))
        return;
    emit_control(listing, (struct inode){.kind = INODE_ROOT});
}

/* A host's flows are a list: the position is 3 + the number of the flow before. */
static void list_host(const struct listing *listing, uint32_t host)
{
    const struct index *index = index_of(listing->tree);
    struct stat status;
    struct name name;
    uint32_t flow;
    if (!emit_dots(listing, inode_of_host(host), INODE_ROOT_NUMBER))
        return;
    if (listing->from <= 2)
        flow = atomic_load_explicit(&index_host(index, host)->first, memory_order_acquire);
    else if (listing->from - 3 < index_flow_count(index))
        flow = atomic_load_explicit(&index_flow(index, (uint32_t)(listing->from - 3))->next_in_host,
                                    memory_order_acquire);
    else
        flow = INDEX_NONE;
    while (flow != INDEX_NONE) {
        index_flow_name(index, flow, &name);
        set_flow(listing->tree, flow, &status);
        if (!emit_node(listing, name.text, &status, true, (uint64_t)flow + 3))
            return;
        flow = atomic_load_explicit(&index_flow(index, flow)->next_in_host, memory_order_acquire);
    }
    emit_control(listing, (struct inode){.kind = INODE_HOST, .number = host});
}

/* Which files there are is in the index; `cached` is NULL where that is all one wants to know. */
static void list_flow(const struct listing *listing, struct cached_flow *cached, uint32_t flow)
{
    const struct index_flow *record = index_flow(index_of(listing->tree), flow);
    uint64_t position = 2;
    struct stat status;
    if (!emit_dots(listing, inode_of_flow(flow), inode_of_host(record->host)))
        return;
    for (int i = 0; i < FLOWDIR_FILES; i++) {
        enum flowdir_file file = (enum flowdir_file)i;
        if (!(record->files & flowdir_bit(file)) || ++position <= listing->from)
            continue;
        /* A file that cannot be sized is listed all the same; who asks for it gets the error. */
        struct flow_error ignored = {0};
        bool complete =
            cached && set_flow_file(listing->tree, cached, flow, file, &status, &ignored);
        if (!complete)
            status = (struct stat){.st_ino = inode_of_file(flow, file), .st_mode = S_IFREG};
        if (!emit_node(listing, flowdir_file_name(file), &status, complete, position))
            return;
    }
    if (has_messages(listing->tree, flow) && ++position > listing->from) {
        set_messages(listing->tree, flow, &status);
        if (!emit_node(listing, FLOWDIR_MESSAGES_NAME, &status, true, position))
            return;
    }
    emit_control(listing, (struct inode){.kind = INODE_FLOW, .number = flow});
}

static bool list_messages(const struct listing *listing, const struct flowdir *directory,
                          uint32_t flow, struct flow_error *error)
{
    char name[FLOWDIR_MESSAGE_NAME_SIZE];
    struct stat status;
    if (!emit_dots(listing, inode_of_messages(flow), inode_of_flow(flow)))
        return true;
    size_t number = listing->from > 2 ? (size_t)listing->from - 1 : 1;
    for (; number <= directory->message_count; number++) {
        flowdir_message_name(directory, number, name);
        if (!set_message(listing->tree, directory, flow, number, &status, error))
            return false;
        if (!emit_node(listing, name, &status, true, number + 2))
            return true;
    }
    return true;
}

static bool list_view(const struct listing *listing, const struct inode *inode, bool attributes,
                      struct flow_error *error)
{
    struct view_place place = inode_place(inode);
    if (!emit_dots(listing, inode_of_view(place), tree_view_parent(listing->tree, place)))
        return true;
    if (listing->from < CONTROL_POSITION &&
        !tree_view_list(listing->tree, place, listing->from, attributes, listing->emit,
                        listing->context, error))
        return false;
    emit_control(listing, *inode);
    return true;
}

bool tree_list(const struct tree *tree, uint64_t number, uint64_t from, bool attributes,
               tree_emit *emit, void *context, struct flow_error *error)
{
    struct listing listing = {tree, from, emit, context};
    struct inode inode = inode_parse(number);
    struct flow_error ignored = {0};
    struct cached_flow *cached;
    bool done;
    if (!tree_node_exists(tree, &inode))
        return tree_no_such_node(error);
    switch (inode.kind) {
    case INODE_ROOT:
        list_root(&listing);
        return true;
    case INODE_HOST:
        list_host(&listing, inode.number);
        return true;
    case INODE_FLOW:
        /* A flow that cannot be read is listed all the same. */
        cached = attributes ? flow_cache_get(tree->cache, inode.number, &ignored) : NULL;
        list_flow(&listing, cached, inode.number);
        if (cached)
            flow_cache_release(tree->cache, cached);
        return true;
    case INODE_MESSAGES:
        cached = flow_cache_get(tree->cache, inode.number, error);
        if (!cached)
            return false;
        done = list_messages(&listing, cached_flow_directory(cached), inode.number, error);
        flow_cache_release(tree->cache, cached);
        return done;
    case INODE_CONTROL:
        list_control(&listing, &inode);
        return true;
    case INODE_VIEW:
        return list_view(&listing, &inode, attributes, error);
    case INODE_NONE:
    case INODE_FILE:
    case INODE_MESSAGE:
    case INODE_CONTROL_FILE:
    case INODE_LINK:
        break;
    }
    return fail(error, ENOTDIR, "not a directory");
}

bool tree_read(const struct tree *tree, uint64_t number, uint64_t offset, size_t size,
               void *scratch, struct tree_piece *piece, struct flow_error *error)
{
    struct inode inode = inode_parse(number);
    bool done = false;
    *piece = (struct tree_piece){.piece.descriptor = -1};
    if (!tree_node_exists(tree, &inode))
        return tree_no_such_node(error);
    if (inode.kind == INODE_CONTROL_FILE)
        return tree_control_read(tree, &inode, offset, size, scratch, piece, error);
    if (inode.kind == INODE_LINK)
        return fail(error, EINVAL, "is a symbolic link");
    if (inode.kind != INODE_FILE && inode.kind != INODE_MESSAGE)
        return fail(error, EISDIR, "is a directory");
    piece->flow = flow_cache_get(tree->cache, inode.number, error);
    if (!piece->flow)
        return false;
    const struct flowdir *directory = cached_flow_directory(piece->flow);
    if (inode.kind == INODE_FILE && flowdir_has(directory, inode.file))
        done =
            cached_flow_read(piece->flow, inode.file, offset, size, scratch, &piece->piece, error);
    else if (inode.kind == INODE_MESSAGE && inode.message <= directory->message_count)
        done = cached_flow_read_message(piece->flow, inode.message, offset, size, scratch,
                                        &piece->piece, error);
    else
        tree_no_such_node(error);
    if (!done)
        tree_read_done(tree, piece);
    return done;
}

bool tree_link_target(const struct tree *tree, uint64_t number, struct buffer *target,
                      struct flow_error *error)
{
    struct inode inode = inode_parse(number);
    if (!tree_node_exists(tree, &inode))
        return tree_no_such_node(error);
    if (inode.kind != INODE_LINK)
        return fail(error, EINVAL, "is no symbolic link");
    return tree_view_target(tree, &inode, target) || flow_error_memory(error);
}

void tree_read_done(const struct tree *tree, struct tree_piece *piece)
{
    if (piece->flow)
        flow_cache_release(tree->cache, piece->flow);
    if (piece->content)
        control_release(tree->control, piece->content);
    piece->flow = NULL;
    piece->content = NULL;
}
