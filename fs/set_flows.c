#include "set_flows.h"

#include "flowdir.h"
#include "flowdir_walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* A file that changes twice within a tick of the kernel's clock has the same times; so what was
 * changed shortly before it was looked at is looked at again. */
#define TICK 20000000 /* nanoseconds */

struct walking {
    struct set_flows *flows;
    const struct set_flows *former;
    size_t next; /* in former: all before it are behind us */
    struct timespec settled;
};

/* Of one flow's directory. */
struct looking {
    uint64_t hash, weight;
    struct timespec newest;
    bool vanished; /* a file was gone when it was to be looked at */
};

static bool is_later(struct timespec a, struct timespec b)
{
    return a.tv_sec != b.tv_sec ? a.tv_sec > b.tv_sec : a.tv_nsec > b.tv_nsec;
}

static bool look_at(struct looking *looking, int directory, const char *name, bool *is_directory)
{
    struct stat status;
    if (fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) != 0)
        return false;
    *is_directory = S_ISDIR(status.st_mode);
    uint64_t facts[] = {
        status.st_ino,
        /* A directory's own size and times tell of its entries, which are looked at. */
        *is_directory ? 0 : (uint64_t)status.st_size,
        status.st_mode,
        *is_directory ? 0 : (uint64_t)status.st_mtim.tv_sec,
        *is_directory ? 0 : (uint64_t)status.st_mtim.tv_nsec,
        *is_directory ? 0 : (uint64_t)status.st_ctim.tv_sec,
        *is_directory ? 0 : (uint64_t)status.st_ctim.tv_nsec,
    };
    looking->hash = bytes_hash(bytes_of(name), looking->hash);
    looking->hash = bytes_hash(bytes_make(facts, sizeof facts), looking->hash);
    looking->weight += facts[1];
    if (is_later(status.st_ctim, looking->newest))
        looking->newest = status.st_ctim;
    if (is_later(status.st_mtim, looking->newest))
        looking->newest = status.st_mtim;
    return true;
}

/* The names of a directory's entries, put together: they may come in another order each time. */
static bool look_into(struct looking *looking, int parent, const char *name)
{
    bool is_directory;
    uint64_t sum = 0, outer = looking->hash;
    int descriptor =
        openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    DIR *listing = descriptor >= 0 ? fdopendir(descriptor) : NULL;
    if (!listing) {
        int code = errno;
        if (descriptor >= 0)
            close(descriptor);
        return code != ENOENT && code != ENOMEM && code != EMFILE && code != ENFILE;
    }
    bool whole = true;
    const struct dirent *entry = NULL;
    errno = 0;
    while ((entry = readdir(listing))) {
        looking->hash = 0;
        if (entry->d_name[0] != '.')
            whole = look_at(looking, descriptor, entry->d_name, &is_directory) && whole;
        sum += looking->hash;
        errno = 0;
    }
    whole = whole && errno == 0;
    closedir(listing);
    looking->hash = bytes_hash(bytes_make(&sum, sizeof sum), outer);
    return whole;
}

static void look_at_flow(struct looking *looking, const struct flowdir_walk_flow *flow)
{
    for (size_t i = 0; i < flow->count; i++) {
        bool is_directory = false;
        const char *name = flow->entries[i].name;
        bool there = look_at(looking, flow->directory, name, &is_directory);
        if (there && is_directory && strcmp(name, FLOWDIR_MESSAGES_NAME) == 0)
            there = look_into(looking, flow->directory, name);
        looking->vanished = looking->vanished || !there;
    }
    /* Made-up ids are made of it. */
    looking->hash = bytes_hash(bytes_make(&flow->inode, sizeof flow->inode), looking->hash);
}

/* As the walk orders paths: name by name. */
static int compare_paths(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    int first = *a == '/' ? 1 : *a ? (unsigned char)*a + 1 : 0;
    int second = *b == '/' ? 1 : *b ? (unsigned char)*b + 1 : 0;
    return first - second;
}

static const struct set_flow *find_former(struct walking *walking, const char *path)
{
    const struct set_flows *former = walking->former;
    int compared = -1;
    while (walking->next < former->count &&
           (compared = compare_paths(former->items[walking->next].path, path)) < 0)
        walking->next++;
    return walking->next < former->count && compared == 0 ? &former->items[walking->next] : NULL;
}

static const char *copy_text(struct arena *arena, const char *text)
{
    return (const char *)arena_copy(arena, bytes_make(text, strlen(text) + 1)).data;
}

/* What is known of the flow from before: all of it if its files are the same, else where it stood.
 */
static bool take_former(struct set_flow *flow, const struct set_flow *former, struct arena *arena)
{
    flow->offset = former->offset;
    flow->size = former->size;
    flow->start = former->start;
    flow->losses = former->losses;
    flow->packed = former->packed && former->settled && former->fingerprint == flow->fingerprint;
    if (flow->packed && former->mistake)
        flow->mistake = copy_text(arena, former->mistake);
    return !flow->packed || !former->mistake || flow->mistake;
}

static bool add_flow(void *context, const struct flowdir_walk_flow *found, struct flow_error *error)
{
    struct walking *walking = context;
    struct set_flows *flows = walking->flows;
    struct looking looking = {0};
    if (flows->count == flows->capacity) {
        size_t capacity = flows->capacity ? flows->capacity * 2 : 64;
        struct set_flow *grown = reallocarray(flows->items, capacity, sizeof *grown);
        if (!grown)
            return flow_error_memory(error);
        flows->items = grown;
        flows->capacity = capacity;
    }
    look_at_flow(&looking, found);
    struct set_flow flow = {
        .path = copy_text(flows->arena, found->path),
        .fingerprint = looking.hash,
        .weight = looking.weight,
        .settled = !looking.vanished && is_later(walking->settled, looking.newest),
    };
    const struct set_flow *former = find_former(walking, found->path);
    if (!flow.path || (former && !take_former(&flow, former, flows->arena)))
        return flow_error_memory(error);
    flows->items[flows->count++] = flow;
    return true;
}

bool set_flows_walk(struct set_flows *flows, int folder, const struct set_flows *former,
                    struct flow_error *error)
{
    struct walking walking = {.flows = flows, .former = former};
    flows->arena = arena_new();
    if (!flows->arena)
        return flow_error_memory(error);
    /* The clock that file systems take their times from. */
    clock_gettime(CLOCK_REALTIME_COARSE, &walking.settled);
    walking.settled.tv_nsec -= TICK;
    if (walking.settled.tv_nsec < 0) {
        walking.settled.tv_nsec += 1000000000;
        walking.settled.tv_sec--;
    }
    return flowdir_walk(folder, add_flow, &walking, error);
}

void set_flows_free(struct set_flows *flows)
{
    arena_free(flows->arena);
    free(flows->items);
    *flows = (struct set_flows){0};
}

int set_flow_open(int folder, const struct set_flow *flow)
{
    struct open_how how = {
        .flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
    };
    const char *path = *flow->path ? flow->path : ".";
    long descriptor = syscall(SYS_openat2, folder, path, &how, sizeof how);
    /* Kernels before 5.6, and sandboxes. */
    if (descriptor < 0 && (errno == ENOSYS || errno == EPERM))
        return openat(folder, path, (int)how.flags);
    return (int)descriptor;
}
