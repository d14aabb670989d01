#include "flowdir_walk.h"

#include "bytes.h"
#include "flowdir_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What one directory holds; used again for the next one of the same depth. */
struct listing {
    struct buffer names; /* NUL-terminated, one behind the other */
    struct flowdir_walk_entry *entries;
    size_t count, capacity;
    uint64_t inode;
    bool is_flow;
};

struct walk {
    flowdir_walk_visit *visit;
    void *context;
    struct buffer path; /* NUL-terminated */
    size_t depth;
    struct listing levels[FLOWDIR_WALK_DEEPEST + 1];
    /* Of getdents64; aligned as its records are. */
    _Alignas(struct dirent64) char block[32 * 1024];
};

static bool fail(const struct walk *walk, struct flow_error *error)
{
    int code = errno;
    const char *path = walk->path.size ? (const char *)walk->path.data : "";
    flow_error_set(error, code, FLOW_ERROR_NO_OFFSET, "%.150s%scannot be read: %s", path,
                   *path ? ": " : "the folder ", strerror(code));
    return false;
}

static bool marks_flow(const char *name)
{
    enum flowdir_file file = flowdir_file_of_name(bytes_of(name));
    return file == FLOWDIR_REQUEST_HEADERS || file == FLOWDIR_FLOW || file == FLOWDIR_QUERY;
}

/* The entry's name is noted by its place, since the buffer moves. */
static bool add_entry(struct listing *listing, const struct dirent64 *entry,
                      struct flow_error *error)
{
    if (listing->count == listing->capacity) {
        size_t capacity = listing->capacity ? listing->capacity * 2 : 16;
        struct flowdir_walk_entry *grown =
            reallocarray(listing->entries, capacity, sizeof *listing->entries);
        if (!grown)
            return flow_error_memory(error);
        listing->entries = grown;
        listing->capacity = capacity;
    }
    listing->entries[listing->count++].type = entry->d_type;
    listing->is_flow = listing->is_flow || marks_flow(entry->d_name);
    buffer_append(&listing->names, entry->d_name, strlen(entry->d_name) + 1);
    return !listing->names.failed || flow_error_memory(error);
}

static bool add_block(struct walk *walk, struct listing *listing, size_t size,
                      struct flow_error *error)
{
    for (size_t at = 0; at < size;) {
        const struct dirent64 *entry = (const void *)(walk->block + at);
        at += entry->d_reclen;
        if (strcmp(entry->d_name, ".") == 0)
            listing->inode = entry->d_ino;
        if (entry->d_name[0] != '.' && !add_entry(listing, entry, error))
            return false;
    }
    return true;
}

static int compare_entries(const void *a, const void *b)
{
    const struct flowdir_walk_entry *first = a;
    const struct flowdir_walk_entry *second = b;
    return strcmp(first->name, second->name);
}

static bool list(struct walk *walk, struct listing *listing, int directory,
                 struct flow_error *error)
{
    listing->names.size = 0;
    listing->names.failed = false;
    listing->count = 0;
    listing->is_flow = false;
    for (;;) {
        ssize_t got = getdents64(directory, walk->block, sizeof walk->block);
        if (got < 0)
            return fail(walk, error);
        if (got == 0)
            break;
        if (!add_block(walk, listing, (size_t)got, error))
            return false;
    }
    const char *name = (const char *)listing->names.data;
    for (size_t i = 0; i < listing->count; i++) {
        listing->entries[i].name = name;
        name += strlen(name) + 1;
    }
    if (listing->count > 1)
        qsort(listing->entries, listing->count, sizeof *listing->entries, compare_entries);
    return true;
}

static bool enter(struct walk *walk, int directory, struct flow_error *error);

/* What is no directory, or is none any more, is passed over. */
static bool enter_entry(struct walk *walk, int parent, const struct flowdir_walk_entry *entry,
                        struct flow_error *error)
{
    size_t before = walk->path.size;
    if (entry->type != DT_DIR && entry->type != DT_UNKNOWN)
        return true;
    int directory =
        openat(parent, entry->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (directory < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
        return true;
    int code = errno;
    if (before)
        walk->path.data[before - 1] = '/';
    buffer_append(&walk->path, entry->name, strlen(entry->name) + 1);
    errno = code;
    bool done = walk->path.failed ? flow_error_memory(error)
                : directory < 0   ? fail(walk, error)
                                  : enter(walk, directory, error);
    if (directory >= 0)
        close(directory);
    walk->path.size = before;
    if (before)
        walk->path.data[before - 1] = '\0';
    return done;
}

static bool enter(struct walk *walk, int directory, struct flow_error *error)
{
    struct listing *listing = &walk->levels[walk->depth];
    if (!list(walk, listing, directory, error))
        return false;
    if (listing->is_flow) {
        struct flowdir_walk_flow flow = {
            .path = walk->path.size ? (const char *)walk->path.data : "",
            .directory = directory,
            .inode = listing->inode,
            .entries = listing->entries,
            .count = listing->count,
        };
        return walk->visit(walk->context, &flow, error);
    }
    bool done = true;
    if (walk->depth == FLOWDIR_WALK_DEEPEST) {
        flow_error_set(error, ELOOP, FLOW_ERROR_NO_OFFSET,
                       "%.150s: found folders nested deeper than %d, expected flows above that",
                       walk->path.size ? (const char *)walk->path.data : "", FLOWDIR_WALK_DEEPEST);
        return false;
    }
    walk->depth++;
    for (size_t i = 0; done && i < listing->count; i++)
        done = enter_entry(walk, directory, &listing->entries[i], error);
    walk->depth--;
    return done;
}

bool flowdir_walk(int folder, flowdir_walk_visit *visit, void *context, struct flow_error *error)
{
    struct walk *walk = calloc(1, sizeof *walk);
    if (!walk)
        return flow_error_memory(error);
    walk->visit = visit;
    walk->context = context;
    /* A description of its own: the caller's may be in the middle of a listing. */
    int directory = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool done = directory >= 0 ? enter(walk, directory, error) : fail(walk, error);
    if (directory >= 0)
        close(directory);
    for (size_t i = 0; i <= FLOWDIR_WALK_DEEPEST; i++) {
        buffer_free(&walk->levels[i].names);
        free(walk->levels[i].entries);
    }
    buffer_free(&walk->path);
    free(walk);
    return done;
}
