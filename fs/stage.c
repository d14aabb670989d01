#include "stage_inside.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* Descriptors of nodes that may be open, where the system allows as many. */
#define MOST_OPEN 16384u
#define FEWEST_OPEN 64u

#define LIST_BUFFER_SIZE 32768

#define NUMBER_BIT ((uint64_t)1 << 63)

bool stage_fail(struct flow_error *error, const char *what)
{
    int code = errno;
    flow_error_set(error, code, FLOW_ERROR_NO_OFFSET, "%s: %s", what, strerror(code));
    return false;
}

/* Half of what the process may have open, after asking for as much as it can get. */
static unsigned most_open(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return FEWEST_OPEN;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        getrlimit(RLIMIT_NOFILE, &limit);
    rlim_t half = limit.rlim_cur / 2;
    return half < FEWEST_OPEN ? FEWEST_OPEN : half > MOST_OPEN ? MOST_OPEN : (unsigned)half;
}

struct stage *stage_open(const struct stage_options *options, struct flow_error *error)
{
    struct stage *stage = calloc(1, sizeof *stage);
    if (!stage) {
        flow_error_memory(error);
        return NULL;
    }
    stage->options = *options;
    stage->owner = geteuid();
    stage->group = getegid();
    stage->umask = umask(0);
    umask(stage->umask);
    stage->nodes = stage_nodes_open(options->folder, most_open(), error);
    if (stage->nodes)
        stage->sets = sets_open(options->folder, options->format_version, options->report,
                                options->report_context, error);
    if (stage->sets)
        return stage;
    stage_nodes_close(stage->nodes);
    free(stage);
    return NULL;
}

bool stage_close(struct stage *stage, struct flow_error *error)
{
    if (!stage)
        return true;
    /* First, since packing needs descriptors. */
    stage_nodes_close(stage->nodes);
    bool done = sets_close(stage->sets, error);
    free(stage);
    return done;
}

struct stage_nodes *stage_nodes_of(struct stage *stage)
{
    return stage->nodes;
}

bool stage_is_shared(const struct stage *stage)
{
    return stage->options.shared;
}

void stage_touch(struct stage *stage)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t time = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    int64_t before = atomic_load(&stage->touched);
    while (
        !atomic_compare_exchange_weak(&stage->touched, &before, time > before ? time : before + 1))
        ;
    atomic_fetch_add(&stage->generation, 1);
    sets_touch(stage->sets);
    if (atomic_exchange(&stage->shown, false))
        stage->options.changed(stage->options.changed_context);
}

void stage_look(struct stage *stage)
{
    if (stage->options.shared)
        stage_touch(stage);
}

bool stage_is_set(struct stage *stage, const struct stage_node *node, char name[256])
{
    if (stage_node_parent(stage->nodes, node) != stage_nodes_top(stage->nodes))
        return false;
    stage_node_name(stage->nodes, node, name);
    return sets_is_name(name);
}

bool stage_is_writable(const struct stage_node *node, struct flow_error *error)
{
    if (!stage_node_is_derived(node))
        return true;
    flow_error_set(error, EROFS, FLOW_ERROR_NO_OFFSET,
                   "the file is derived of a set: change the flows in the set");
    return false;
}

bool stage_may_change(struct stage *stage, const struct stage_node *parent, const char *name,
                      struct flow_error *error)
{
    enum sets_derived derived = SETS_NONE;
    if (!stage_is_writable(parent, error))
        return false;
    if (parent == stage_nodes_top(stage->nodes))
        derived = sets_derived(stage->sets, name, NULL);
    if (derived == SETS_HIDDEN) {
        flow_error_set(error, EPERM, FLOW_ERROR_NO_OFFSET, "%s: names like this are reserved",
                       name);
        return false;
    }
    if (derived == SETS_NONE && strcmp(name, STAGE_CONTROL_NAME) != 0)
        return true;
    flow_error_set(error, EROFS, FLOW_ERROR_NO_OFFSET, "%s is derived of a set", name);
    return false;
}

void stage_show_status(const struct stage_node *node, struct stat *status)
{
    status->st_ino |= NUMBER_BIT;
    if (stage_node_is_derived(node))
        status->st_mode &= ~(mode_t)0222;
}

/* What is derived changes as soon as anything in a set does, so its folder does, too: a kernel that
 * keeps a listing takes it anew if the time of the folder is another one. */
static void show_top(struct stage *stage, struct stat *status)
{
    int64_t touched = atomic_load(&stage->touched);
    int64_t changed = (int64_t)status->st_mtim.tv_sec * 1000000000 + status->st_mtim.tv_nsec;
    if (touched > changed) {
        status->st_mtim.tv_sec = (time_t)(touched / 1000000000);
        status->st_mtim.tv_nsec = (long)(touched % 1000000000);
        status->st_ctim = status->st_mtim;
    }
    status->st_ino = STAGE_TOP_NUMBER;
}

bool stage_attributes(struct stage *stage, struct stage_node *node, struct stat *status,
                      struct flow_error *error)
{
    if (stage_node_kind(node) != STAGE_FILE)
        return stage_control_attributes(stage, node, status, error);
    bool is_top = node == stage_nodes_top(stage->nodes);
    int descriptor = stage_node_hold(stage->nodes, node, STAGE_PATH, error);
    if (descriptor < 0)
        return false;
    /* Told before it is looked at: who changes it meanwhile says that it has. */
    if (is_top) {
        stage_look(stage);
        atomic_store(&stage->shown, true);
    }
    bool done = fstatat(descriptor, "", status, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) == 0 ||
                stage_fail(error, "the staged file");
    stage_node_release(node);
    if (done)
        is_top ? show_top(stage, status) : stage_show_status(node, status);
    return done;
}

static bool ends_in(const char *name, const char *ending)
{
    size_t size = strlen(name), length = strlen(ending);
    return size >= length && strcmp(name + size - length, ending) == 0;
}

bool stage_is_fleeting(const struct stage *stage, const struct stage_node *parent, const char *name)
{
    return stage->options.shared || strcmp(name, STAGE_CONTROL_NAME) == 0 ||
           stage_node_kind(parent) != STAGE_FILE ||
           (parent == stage_nodes_top(stage->nodes) &&
            (ends_in(name, ".mitm") || ends_in(name, ".errors")));
}

static bool no_such_file(struct flow_error *error)
{
    flow_error_set(error, ENOENT, FLOW_ERROR_NO_OFFSET, "no such file or directory");
    return false;
}

static bool find(struct stage *stage, struct stage_node *parent, const char *name,
                 struct stage_entry *entry, struct flow_error *error)
{
    entry->node = stage_node_find(stage->nodes, parent, name, &entry->status, error);
    return entry->node != NULL;
}

/* A derived file is replaced without anybody holding its node, and then its inode number may be
 * given to another file. So it is known by a descriptor, which keeps the number. */
static bool find_derived(struct stage *stage, int descriptor, struct stage_entry *entry,
                         struct flow_error *error)
{
    entry->node = stage_node_of_descriptor(stage->nodes, descriptor, &entry->status, error);
    return entry->node != NULL;
}

static bool find_pack(struct stage *stage, const char *set, struct stage_entry *entry,
                      struct flow_error *error)
{
    int descriptor = sets_open_pack(stage->sets, set, NULL, error);
    return descriptor >= 0 && find_derived(stage, descriptor, entry, error);
}

static bool find_errors(struct stage *stage, const char *set, const char *name,
                        struct stage_entry *entry, struct flow_error *error)
{
    enum sets_state state;
    if (!sets_update(stage->sets, set, &state, error))
        return false;
    if (state != SETS_BROKEN)
        return no_such_file(error);
    int descriptor = openat(stage->options.folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    return descriptor >= 0 ? find_derived(stage, descriptor, entry, error)
                           : stage_fail(error, name);
}

static bool find_in_top(struct stage *stage, const char *name, struct stage_entry *entry,
                        struct flow_error *error)
{
    char set[NAME_MAX + 1];
    enum sets_derived derived = sets_derived(stage->sets, name, set);
    if (derived == SETS_PACK || derived == SETS_ERRORS)
        stage_look(stage);
    switch (derived) {
    case SETS_HIDDEN:
        return no_such_file(error);
    case SETS_PACK:
        return find_pack(stage, set, entry, error);
    case SETS_ERRORS:
        return find_errors(stage, set, name, entry, error);
    case SETS_NONE:
        break;
    }
    return find(stage, stage_nodes_top(stage->nodes), name, entry, error);
}

bool stage_lookup(struct stage *stage, struct stage_node *parent, const char *name,
                  struct stage_entry *entry, struct flow_error *error)
{
    *entry = (struct stage_entry){.fleeting = stage_is_fleeting(stage, parent, name)};
    if (stage_node_kind(parent) == STAGE_CONTROL)
        return stage_control_file_lookup(stage, parent, name, entry, error);
    if (strcmp(name, STAGE_CONTROL_NAME) == 0)
        return stage_control_lookup(stage, parent, entry, error);
    bool done = parent == stage_nodes_top(stage->nodes) ? find_in_top(stage, name, entry, error)
                                                        : find(stage, parent, name, entry, error);
    if (done)
        stage_show_status(entry->node, &entry->status);
    return done;
}

/* A listing in progress. */
struct listing {
    struct stage *stage;
    struct stage_node *folder;
    bool is_top, plus;
    stage_emit *emit;
    void *context;
};

/* Derived names are there as the state of their set has it; the gate has been passed. */
static bool is_shown(const struct listing *listing, const char *name, bool *derived)
{
    char set[NAME_MAX + 1];
    *derived = false;
    if (strcmp(name, STAGE_CONTROL_NAME) == 0)
        return false;
    if (!listing->is_top)
        return true;
    enum sets_derived kind = sets_derived(listing->stage->sets, name, set);
    *derived = kind == SETS_PACK || kind == SETS_ERRORS;
    switch (kind) {
    case SETS_PACK:
        return sets_state_now(listing->stage->sets, set) == SETS_PACKED;
    case SETS_ERRORS:
        return sets_state_now(listing->stage->sets, set) == SETS_BROKEN;
    case SETS_HIDDEN:
        return false;
    case SETS_NONE:
        break;
    }
    return true;
}

static bool list_entry(const struct listing *listing, const struct dirent64 *found)
{
    bool derived;
    struct flow_error ignored = {0};
    struct stage_listed listed = {.name = found->d_name, .next = (uint64_t)found->d_off};
    bool is_dots = strcmp(found->d_name, ".") == 0 || strcmp(found->d_name, "..") == 0;
    if (!is_shown(listing, found->d_name, &derived))
        return true;
    /* What is gone meanwhile is listed all the same; who asks for it learns of it. A derived file
     * is another one at each look, and so is looked up by whoever wants it. */
    if (listing->plus && !is_dots && !derived)
        stage_lookup(listing->stage, listing->folder, found->d_name, &listed.entry, &ignored);
    if (!listed.entry.node)
        listed.entry.status = (struct stat){.st_ino = found->d_ino | NUMBER_BIT,
                                            .st_mode = (mode_t)DTTOIF(found->d_type)};
    bool taken = listing->emit(listing->context, &listed);
    if (!taken && listed.entry.node)
        stage_node_forget(listing->stage->nodes, listed.entry.node, 1);
    return taken;
}

static bool list_descriptor(const struct listing *listing, int descriptor, struct flow_error *error)
{
    char *buffer = malloc(LIST_BUFFER_SIZE);
    bool going_on = buffer != NULL;
    ssize_t size = 0;
    if (!buffer)
        return flow_error_memory(error);
    while (going_on && (size = getdents64(descriptor, buffer, LIST_BUFFER_SIZE)) > 0)
        for (ssize_t at = 0; at < size && going_on;) {
            const struct dirent64 *found = (const void *)(buffer + at);
            going_on = list_entry(listing, found);
            at += found->d_reclen;
        }
    bool done = size >= 0 || stage_fail(error, "the staged folder");
    free(buffer);
    return done;
}

/* Not by its `.`, for which one would have to be allowed to search it. */
static int open_to_list(int folder, struct flow_error *error)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", folder);
    int descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0)
        stage_fail(error, "the staged folder");
    return descriptor;
}

bool stage_list(struct stage *stage, struct stage_node *folder, uint64_t from, bool plus,
                stage_emit *emit, void *context, struct flow_error *error)
{
    struct listing listing = {stage, folder, folder == stage_nodes_top(stage->nodes),
                              plus,  emit,   context};
    if (stage_node_kind(folder) == STAGE_CONTROL)
        return stage_control_list(stage, folder, from, emit, context, error);
    /* What cannot be brought up to date is reported by who looks at it. */
    struct flow_error ignored = {0};
    if (listing.is_top && from == 0) {
        stage_look(stage);
        atomic_store(&stage->shown, true);
        sets_update_all(stage->sets, &ignored);
    }
    int path = stage_node_hold(stage->nodes, folder, STAGE_PATH, error);
    if (path < 0)
        return false;
    int descriptor = open_to_list(path, error);
    bool done = descriptor >= 0;
    stage_node_release(folder);
    if (done && from && lseek(descriptor, (off_t)from, SEEK_SET) < 0)
        done = stage_fail(error, "the staged folder");
    done = done && list_descriptor(&listing, descriptor, error);
    if (descriptor >= 0)
        close(descriptor);
    return done;
}

bool stage_link_target(struct stage *stage, struct stage_node *node, char target[4096],
                       struct flow_error *error)
{
    int descriptor = stage_node_hold(stage->nodes, node, STAGE_PATH, error);
    if (descriptor < 0)
        return false;
    ssize_t size = readlinkat(descriptor, "", target, 4095);
    bool done = size >= 0 || stage_fail(error, "the staged link");
    stage_node_release(node);
    if (done)
        target[size] = '\0';
    return done;
}

bool stage_statistics(struct stage *stage, struct statvfs *statistics, struct flow_error *error)
{
    return fstatvfs(stage->options.folder, statistics) == 0 ||
           stage_fail(error, "the staging folder");
}
