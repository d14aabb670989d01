#include "source.h"

#include "source_spool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

_Static_assert(sizeof(off_t) == 8, "captures above 2 GB need -D_FILE_OFFSET_BITS=64");

struct source {
    char *path;        /* as given */
    char *lookup_path; /* from the root, since a daemon changes its directory; NULL: none to ask */
    int descriptor;
    struct bytes memory;
    bool followed;         /* a plain regular file, which may change */
    _Atomic uint64_t size; /* read by all threads while one refreshes */
    atomic_bool cut_short; /* bytes that were there are gone, even if it grows again */
    enum source_packing packing;
    struct stat stat;
    struct flow_error damage;
};

static bool is_standard_input(const struct source *source)
{
    return strcmp(source->path, "-") == 0;
}

/* For messages. */
static const char *name_of(const struct source *source)
{
    return is_standard_input(source) ? "standard input" : source->path;
}

static char *join(const char *first, const char *second, const char *third)
{
    size_t size = strlen(first) + strlen(second) + strlen(third) + 1;
    char *joined = malloc(size);
    if (joined)
        snprintf(joined, size, "%s%s%s", first, second, third);
    return joined;
}

static char *make_lookup_path(const char *path)
{
    char directory[PATH_MAX];
    if (path[0] == '/' || !getcwd(directory, sizeof directory))
        return join("", "", path);
    return join(directory, "/", path);
}

static struct source *make_source(const char *path, struct flow_error *error)
{
    struct source *source = calloc(1, sizeof *source);
    if (!source) {
        flow_error_memory(error);
        return NULL;
    }
    source->descriptor = -1;
    source->path = join("", "", path);
    bool named = *path && source->path && !is_standard_input(source);
    if (named)
        source->lookup_path = make_lookup_path(path);
    if (!source->path || (named && !source->lookup_path)) {
        flow_error_memory(error);
        source_close(source);
        return NULL;
    }
    return source;
}

static bool open_descriptor(struct source *source, struct flow_error *error)
{
    source->descriptor = is_standard_input(source)
                             ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
                             : open(source->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (source->descriptor < 0 || fstat(source->descriptor, &source->stat) < 0) {
        int code = errno;
        flow_error_set(error, code, FLOW_ERROR_NO_OFFSET, "%s cannot be opened: %s",
                       name_of(source), strerror(code));
        return false;
    }
    if (S_ISDIR(source->stat.st_mode)) {
        flow_error_set(error, EISDIR, FLOW_ERROR_NO_OFFSET,
                       "%s is a folder, expected a capture; name the files in it", name_of(source));
        return false;
    }
    return true;
}

/* Whether the bytes can be served from where they are, as long as they are not packed. Standard
 * input may be a file that somebody has read the start of; and some files of size 0 have content
 * all the same, as those in /proc. */
static bool can_stay(const struct source *source)
{
    struct stat now;
    char byte;
    if (!S_ISREG(source->stat.st_mode))
        return false;
    if (!source->lookup_path && lseek(source->descriptor, 0, SEEK_CUR) != 0)
        return false;
    if (source->stat.st_size > 0)
        return true;
    /* Asked again behind the read: a capture may have begun to grow just now. */
    ssize_t got = pread(source->descriptor, &byte, 1, 0);
    return got == 0 || (fstat(source->descriptor, &now) == 0 && now.st_size > 0);
}

static void keep_spool(struct source *source, int spool, uint64_t size)
{
    close(source->descriptor);
    source->descriptor = spool;
    atomic_store(&source->size, size);
}

static bool unpack(struct source *source, bool stay, struct flow_error *error)
{
    struct source_spool result;
    if (!source_spool_unpack(source->descriptor, name_of(source), stay, &result, error))
        return false;
    source->packing = result.packing;
    source->damage = result.damage;
    if (result.descriptor >= 0)
        keep_spool(source, result.descriptor, result.size);
    source->followed = result.descriptor < 0;
    return true;
}

struct source *source_open(const char *path, struct flow_error *error)
{
    struct source *source = make_source(path, error);
    if (!source)
        return NULL;
    if (!open_descriptor(source, error)) {
        source_close(source);
        return NULL;
    }
    bool stay = can_stay(source);
    atomic_store(&source->size, stay ? (uint64_t)source->stat.st_size : 0);
    if (!S_ISREG(source->stat.st_mode))
        source->stat = (struct stat){0};
    if (!unpack(source, stay, error)) {
        source_close(source);
        return NULL;
    }
    return source;
}

struct source *source_open_memory(struct bytes content, struct flow_error *error)
{
    struct source *source = make_source("", error);
    if (!source)
        return NULL;
    source->memory = content;
    atomic_store(&source->size, content.size);
    return source;
}

bool source_read(const struct source *source, uint64_t offset, void *buffer, size_t size,
                 size_t *got, struct flow_error *error)
{
    *got = 0;
    if (source->descriptor < 0) {
        uint64_t left = offset < source->memory.size ? source->memory.size - offset : 0;
        *got = left < size ? (size_t)left : size;
        if (*got)
            memcpy(buffer, source->memory.data + offset, *got);
        return true;
    }
    while (*got < size) {
        uint64_t at;
        /* No file reaches beyond what off_t can say, and pread refuses to try. */
        if (__builtin_add_overflow(offset, *got, &at) || at >= INT64_MAX)
            return true;
        size_t count = size - *got;
        if (count > INT64_MAX - at)
            count = (size_t)(INT64_MAX - at);
        ssize_t part = pread(source->descriptor, (uint8_t *)buffer + *got, count, (off_t)at);
        if (part == 0)
            return true;
        if (part > 0) {
            *got += (size_t)part;
        } else if (errno != EINTR) {
            int code = errno;
            flow_error_set(error, code, at, "%s cannot be read: %s", name_of(source),
                           strerror(code));
            return false;
        }
    }
    return true;
}

uint64_t source_size(const struct source *source)
{
    return atomic_load(&source->size);
}

/* Whether the path still names the file that is open. */
static bool check_identity(const struct source *source, struct flow_error *error)
{
    struct stat named;
    if (!source->lookup_path)
        return true;
    if (stat(source->lookup_path, &named) < 0) {
        int code = errno;
        flow_error_set(error, code == ENOENT || code == ENOTDIR ? ESTALE : code,
                       FLOW_ERROR_NO_OFFSET, "%s is no longer there: %s; open it again when it is",
                       name_of(source), strerror(code));
        return false;
    }
    if (named.st_dev != source->stat.st_dev || named.st_ino != source->stat.st_ino) {
        flow_error_set(error, ESTALE, FLOW_ERROR_NO_OFFSET,
                       "%s was replaced by another file; open it again", source->path);
        return false;
    }
    return true;
}

bool source_can_grow(const struct source *source)
{
    return source->followed;
}

bool source_refresh(struct source *source, struct flow_error *error)
{
    struct stat now;
    if (!source->followed)
        return true;
    if (fstat(source->descriptor, &now) < 0) {
        int code = errno;
        flow_error_set(error, code, FLOW_ERROR_NO_OFFSET, "%s cannot be looked at: %s",
                       name_of(source), strerror(code));
        return false;
    }
    uint64_t size = (uint64_t)now.st_size;
    uint64_t before = atomic_load(&source->size);
    if (size < before)
        atomic_store(&source->cut_short, true);
    if (atomic_load(&source->cut_short)) {
        flow_error_set(error, ESTALE, size < before ? size : before,
                       "%s was cut short: %" PRIu64 " bytes were there, %" PRIu64
                       " are; open it again",
                       name_of(source), before, size);
        return false;
    }
    if (!check_identity(source, error))
        return false;
    atomic_store(&source->size, size);
    return true;
}

int source_descriptor(const struct source *source)
{
    return source->descriptor;
}

enum source_packing source_packing(const struct source *source)
{
    return source->packing;
}

const char *source_path(const struct source *source)
{
    return source->path;
}

const struct stat *source_stat(const struct source *source)
{
    return &source->stat;
}

const struct flow_error *source_damage(const struct source *source)
{
    return &source->damage;
}

void source_close(struct source *source)
{
    if (!source)
        return;
    if (source->descriptor >= 0)
        close(source->descriptor);
    free(source->lookup_path);
    free(source->path);
    free(source);
}
