#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
/* zlib's input pointers are const only when asked for. */
#define ZLIB_CONST
#include <zlib.h>

#define CHUNK_SIZE ((size_t)64 * 1024)

_Static_assert(sizeof(off_t) == 8, "captures above 2 GB need -D_FILE_OFFSET_BITS=64");

/* The spool: an unlinked file that holds what a packed file or a pipe contains. */

/* What source_open's unpacking gives. */
struct spool_result {
    int descriptor; /* of the spool; -1: the bytes can stay where they are */
    uint64_t size;  /* of the spool in bytes */
    enum source_packing packing;
    struct flow_error damage; /* code 0: none */
};

/* A window on the packed bytes. */
struct reader {
    int descriptor;
    const char *name;
    bool positioned; /* pread leaves the descriptor's position alone */
    bool inner;      /* reads what another layer has unpacked */
    bool ended;
    uint8_t *data;
    size_t start, end;
    uint64_t base; /* of data[0] in the packed file */
};

struct writer {
    int descriptor;
    const char *name;
    uint64_t size;
};

static const char *spool_directory(void)
{
    const char *directory = secure_getenv("TMPDIR");
    return directory && *directory ? directory : "/var/tmp";
}

static bool open_named_spool(struct writer *writer, const char *directory)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s/flowfs.XXXXXX", directory);
    if (length < 0 || (size_t)length >= sizeof path) {
        errno = ENAMETOOLONG;
        return false;
    }
    writer->descriptor = mkostemp(path, O_CLOEXEC);
    int code = errno;
    if (writer->descriptor >= 0 && unlink(path) < 0) {
        code = errno;
        close(writer->descriptor);
        writer->descriptor = -1;
    }
    errno = code;
    return writer->descriptor >= 0;
}

static bool open_spool(struct writer *writer, struct flow_error *error)
{
    const char *directory = spool_directory();
    writer->descriptor = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    /* A file system without O_TMPFILE says EOPNOTSUPP, an old kernel one of the others. */
    bool unsupported = errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL;
    if (writer->descriptor < 0 && unsupported && open_named_spool(writer, directory))
        return true;
    if (writer->descriptor >= 0)
        return true;
    int code = errno;
    flow_error_set(error, code, FLOW_ERROR_NO_OFFSET,
                   "no file for the unpacked bytes of %s can be made in %s: %s; set TMPDIR to a "
                   "folder that can be written",
                   writer->name, directory, strerror(code));
    return false;
}

static bool write_all(struct writer *writer, const uint8_t *data, size_t size,
                      struct flow_error *error)
{
    while (size) {
        ssize_t part = write(writer->descriptor, data, size);
        if (part < 0 && errno == EINTR)
            continue;
        if (part <= 0) {
            int code = part < 0 ? errno : EIO;
            flow_error_set(error, code, FLOW_ERROR_NO_OFFSET,
                           "the unpacked bytes of %s cannot be stored in %s: %s; set TMPDIR to a "
                           "folder with more room",
                           writer->name, spool_directory(), strerror(code));
            return false;
        }
        data += part;
        size -= (size_t)part;
        writer->size += (uint64_t)part;
    }
    return true;
}

static ssize_t read_some(struct reader *reader, void *data, size_t size)
{
    for (;;) {
        ssize_t got = reader->positioned ? pread(reader->descriptor, data, size,
                                                 (off_t)(reader->base + reader->end))
                                         : read(reader->descriptor, data, size);
        if (got >= 0)
            return got;
        if (errno == EAGAIN) {
            /* Whoever shares the pipe with us has made it non-blocking. */
            struct pollfd wait = {.fd = reader->descriptor, .events = POLLIN};
            if (poll(&wait, 1, -1) < 0 && errno != EINTR)
                return -1;
        } else if (errno != EINTR) {
            return -1;
        }
    }
}

/* Fills the window to its size, or to the end of the file. */
static bool fill(struct reader *reader, struct flow_error *error)
{
    size_t left = reader->end - reader->start;
    memmove(reader->data, reader->data + reader->start, left);
    reader->base += reader->start;
    reader->start = 0;
    reader->end = left;
    while (!reader->ended && reader->end < CHUNK_SIZE) {
        ssize_t got = read_some(reader, reader->data + reader->end, CHUNK_SIZE - reader->end);
        if (got < 0) {
            int code = errno;
            flow_error_set(error, code, reader->base + reader->end, "%s cannot be read: %s",
                           reader->name, strerror(code));
            return false;
        }
        reader->end += (size_t)got;
        reader->ended = got == 0;
    }
    return true;
}

static bool is_gzip(const struct reader *reader)
{
    return reader->end - reader->start >= 2 && reader->data[reader->start] == 0x1F &&
           reader->data[reader->start + 1] == 0x8B;
}

/* Deflate with a 32 KB window and no dictionary, as every writer of `.zhar` has it. Smaller windows
 * start with a digit, as a flow file does. */
static bool is_zlib(const struct reader *reader)
{
    if (reader->end - reader->start < 2 || reader->data[reader->start] != 0x78)
        return false;
    uint8_t flags = reader->data[reader->start + 1];
    return (0x78 * 256 + flags) % 31 == 0 && !(flags & 0x20);
}

static enum source_packing find_packing(const struct reader *reader)
{
    return is_gzip(reader) ? SOURCE_GZIP : is_zlib(reader) ? SOURCE_ZLIB : SOURCE_PLAIN;
}

static bool copy(struct reader *reader, struct writer *writer, struct flow_error *error)
{
    while (reader->end > reader->start) {
        if (!write_all(writer, reader->data + reader->start, reader->end - reader->start, error))
            return false;
        reader->start = reader->end;
        if (!fill(reader, error))
            return false;
    }
    return true;
}

static void set_damage(const struct reader *reader, enum source_packing packing, const char *reason,
                       struct flow_error *damage)
{
    flow_error_set(damage, EBADMSG, reader->base + reader->start,
                   "%s: the %s data%s %s; what came before is served", reader->name,
                   packing == SOURCE_GZIP ? "gzip" : "zlib",
                   reader->inner ? " inside its outer packing" : "", reason);
}

/* Goes on behind the end of a gzip member or a zlib stream: `*more` if another member starts there.
 * Zero bytes are padding, as gzip(1) has it. */
static bool go_on(struct reader *reader, enum source_packing packing, bool *more,
                  struct flow_error *damage, struct flow_error *error)
{
    *more = false;
    for (;;) {
        if (!fill(reader, error))
            return false;
        while (reader->start < reader->end && reader->data[reader->start] == 0)
            reader->start++;
        if (reader->start < reader->end)
            break;
        if (reader->ended)
            return true;
    }
    /* The magic may stand across the window's end. */
    if (!fill(reader, error))
        return false;
    *more = packing == SOURCE_GZIP && is_gzip(reader);
    if (!*more)
        set_damage(reader, packing, "are followed by bytes that are something else", damage);
    return true;
}

/* One call of inflate: moves both ends and writes what came out. */
static bool inflate_chunk(z_stream *zlib, struct reader *reader, struct writer *writer,
                          uint8_t *chunk, int *result, struct flow_error *error)
{
    zlib->next_in = reader->data + reader->start;
    zlib->avail_in = (unsigned)(reader->end - reader->start);
    zlib->next_out = chunk;
    zlib->avail_out = (unsigned)CHUNK_SIZE;
    *result = inflate(zlib, Z_NO_FLUSH);
    reader->start = reader->end - zlib->avail_in;
    return write_all(writer, chunk, CHUNK_SIZE - zlib->avail_out, error);
}

static bool inflate_all(z_stream *zlib, struct reader *reader, struct writer *writer,
                        uint8_t *chunk, enum source_packing packing, struct flow_error *damage,
                        struct flow_error *error)
{
    bool more = true;
    while (more) {
        int result;
        if (reader->start == reader->end && !fill(reader, error))
            return false;
        if (!inflate_chunk(zlib, reader, writer, chunk, &result, error))
            return false;
        if (result == Z_STREAM_END) {
            if (!go_on(reader, packing, &more, damage, error))
                return false;
            inflateReset(zlib);
        } else if (result == Z_MEM_ERROR) {
            return flow_error_memory(error);
        } else if (result != Z_OK && result != Z_BUF_ERROR) {
            char reason[128];
            snprintf(reason, sizeof reason, "are damaged (%s)",
                     zlib->msg ? zlib->msg : "zlib refuses them");
            set_damage(reader, packing, reason, damage);
            return true;
        } else if (zlib->avail_out && reader->start == reader->end && reader->ended) {
            set_damage(reader, packing, "end before they are complete", damage);
            return true;
        }
    }
    return true;
}

static void *zlib_allocate(void *opaque, unsigned count, unsigned size)
{
    (void)opaque;
    return calloc(count, size);
}

static void zlib_release(void *opaque, void *memory)
{
    (void)opaque;
    free(memory);
}

static bool inflate_layer(struct reader *reader, struct writer *writer, enum source_packing packing,
                          struct flow_error *damage, struct flow_error *error)
{
    z_stream zlib = {.zalloc = zlib_allocate, .zfree = zlib_release};
    uint8_t *chunk = malloc(CHUNK_SIZE);
    if (!chunk)
        return flow_error_memory(error);
    bool done = false;
    /* 16 more than the window's size asks for gzip (inflateInit2). */
    int window = packing == SOURCE_GZIP ? 16 + MAX_WBITS : MAX_WBITS;
    if (inflateInit2(&zlib, window) == Z_OK) {
        done = inflate_all(&zlib, reader, writer, chunk, packing, damage, error);
        inflateEnd(&zlib);
    } else {
        flow_error_memory(error);
    }
    free(chunk);
    return done;
}

/* Unpacks one layer into a new spool. `result` is filled; its descriptor is -1 if none is needed.
 */
static bool unpack_layer(struct reader *reader, bool stay, struct spool_result *result,
                         struct flow_error *error)
{
    struct writer writer = {.descriptor = -1, .name = reader->name};
    if (!fill(reader, error))
        return false;
    result->descriptor = -1;
    result->packing = find_packing(reader);
    if (result->packing == SOURCE_PLAIN && stay)
        return true;
    if (!open_spool(&writer, error))
        return false;
    bool done = result->packing == SOURCE_PLAIN
                    ? copy(reader, &writer, error)
                    : inflate_layer(reader, &writer, result->packing, &result->damage, error);
    if (!done) {
        close(writer.descriptor);
        return false;
    }
    result->descriptor = writer.descriptor;
    result->size = writer.size;
    return true;
}

/* The second layer; replaces the spool if there is one. */
static bool unpack_inner(struct reader *outer, struct spool_result *result,
                         struct flow_error *error)
{
    struct reader reader = {.descriptor = result->descriptor,
                            .name = outer->name,
                            .positioned = true,
                            .inner = true,
                            .data = outer->data};
    struct spool_result inner = {.damage = result->damage};
    if (!unpack_layer(&reader, true, &inner, error))
        return false;
    if (inner.descriptor >= 0) {
        close(result->descriptor);
        inner.packing = result->packing;
        *result = inner;
    }
    return true;
}

/* Finds how the bytes of `descriptor` are packed and, if they are or if `stay` is false, writes
 * them unpacked to a new spool. Two layers are unpacked (gzip around a `.zhar`), `packing` is the
 * outer one; no more, because data exists that unpacks to itself for ever.
 *
 * stay: the descriptor takes pread and its plain bytes need no spool. It is read from its current
 * position otherwise. name: for messages. */
static bool spool_unpack(int descriptor, const char *name, bool stay, struct spool_result *result,
                         struct flow_error *error)
{
    struct reader reader = {.descriptor = descriptor, .name = name, .positioned = stay};
    *result = (struct spool_result){.descriptor = -1};
    reader.data = malloc(CHUNK_SIZE);
    if (!reader.data)
        return flow_error_memory(error);
    bool done = unpack_layer(&reader, stay, result, error);
    if (done && result->packing != SOURCE_PLAIN && !unpack_inner(&reader, result, error)) {
        close(result->descriptor);
        done = false;
    }
    free(reader.data);
    return done;
}

/* The source itself. */

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
    struct spool_result result;
    if (!spool_unpack(source->descriptor, name_of(source), stay, &result, error))
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
