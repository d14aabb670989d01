#include "sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define BLOCK ((size_t)256 * 1024)
#define GZIP_WINDOW (15 + 16)

struct sink {
    int descriptor;
    bool owned;
    bool zipping;
    uint64_t position;
    size_t filled; /* of block */
    uint8_t *block;
    uint8_t *packed; /* gzip only: BLOCK bytes */
    z_stream stream;
    char *path;      /* of the file that is replaced; NULL: none is */
    char *temporary; /* its name until then */
    bool named;      /* it has that name */
};

static bool fail(struct flow_error *error, int code, const char *what, const char *path)
{
    flow_error_set(error, code, FLOW_ERROR_NO_OFFSET, "%s%s%s: %s", what, path ? " " : "",
                   path ? path : "", strerror(code));
    return false;
}

static struct sink *new_sink(bool gzip, struct flow_error *error)
{
    struct sink *sink = calloc(1, sizeof *sink);
    if (!sink) {
        flow_error_memory(error);
        return NULL;
    }
    sink->descriptor = -1;
    sink->block = malloc(BLOCK);
    if (gzip) {
        sink->packed = malloc(BLOCK);
        sink->zipping = deflateInit2(&sink->stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_WINDOW,
                                     8, Z_DEFAULT_STRATEGY) == Z_OK;
    }
    if (sink->block && (!gzip || (sink->packed && sink->zipping)))
        return sink;
    flow_error_memory(error);
    sink_close(sink);
    return NULL;
}

struct sink *sink_open_descriptor(int descriptor, bool gzip, struct flow_error *error)
{
    struct sink *sink = new_sink(gzip, error);
    if (sink)
        sink->descriptor = descriptor;
    return sink;
}

/* The file that the path leads to, so that a symlink stays one and its target is replaced. */
static char *target_of(const char *path)
{
    char *target = realpath(path, NULL);
    return target ? target : strdup(path);
}

/* The directory that the file is in; freed by the caller. */
static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return strdup(".");
    return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

/* A file without a name, so that nothing is left of it whatever ends us; where the file system has
 * no such files, one with a name of its own. */
static bool open_temporary(struct sink *sink, const char *path, mode_t mode,
                           struct flow_error *error)
{
    sink->path = target_of(path);
    char *directory = sink->path ? directory_of(sink->path) : NULL;
    if (!directory || asprintf(&sink->temporary, "%s.XXXXXX", sink->path) < 0) {
        free(directory);
        sink->temporary = NULL;
        return flow_error_memory(error);
    }
    sink->descriptor = open(directory, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    free(directory);
    if (sink->descriptor < 0) {
        sink->descriptor = mkstemp(sink->temporary);
        sink->named = sink->descriptor >= 0;
    }
    if (sink->descriptor < 0)
        return fail(error, errno, "cannot write beside", path);
    sink->owned = true;
    return fchmod(sink->descriptor, mode) == 0 ||
           fail(error, errno, "cannot set the mode of", path);
}

static mode_t default_mode(void)
{
    mode_t mask = umask(0);
    umask(mask);
    return 0666 & ~mask;
}

static bool open_path(struct sink *sink, const char *path, struct flow_error *error)
{
    struct stat status;
    bool exists = stat(path, &status) == 0;
    if (!exists && errno != ENOENT)
        return fail(error, errno, "cannot write", path);
    if (!exists || S_ISREG(status.st_mode))
        return open_temporary(sink, path, exists ? status.st_mode & 07777 : default_mode(), error);
    sink->descriptor = open(path, O_WRONLY | O_CLOEXEC);
    sink->owned = true;
    return sink->descriptor >= 0 || fail(error, errno, "cannot write", path);
}

struct sink *sink_open_file(const char *path, bool gzip, struct flow_error *error)
{
    struct sink *sink = new_sink(gzip, error);
    if (sink && open_path(sink, path, error))
        return sink;
    sink_close(sink);
    return NULL;
}

static bool write_out(struct sink *sink, const uint8_t *data, size_t size, struct flow_error *error)
{
    while (size > 0) {
        ssize_t written = write(sink->descriptor, data, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return fail(error, errno, "cannot write", sink->path);
        data += written;
        size -= (size_t)written;
    }
    return true;
}

static bool pack(struct sink *sink, const uint8_t *data, size_t size, int flush,
                 struct flow_error *error)
{
    z_stream *stream = &sink->stream;
    stream->next_in = (z_const Bytef *)(uintptr_t)data;
    stream->avail_in = (uInt)size;
    do {
        stream->next_out = sink->packed;
        stream->avail_out = (uInt)BLOCK;
        if (deflate(stream, flush) == Z_STREAM_ERROR)
            return fail(error, EINVAL, "gzip", sink->path);
        if (!write_out(sink, sink->packed, BLOCK - stream->avail_out, error))
            return false;
    } while (stream->avail_out == 0);
    return true;
}

static bool pass_on(struct sink *sink, const uint8_t *data, size_t size, struct flow_error *error)
{
    if (size == 0)
        return true;
    return sink->zipping ? pack(sink, data, size, Z_NO_FLUSH, error)
                         : write_out(sink, data, size, error);
}

static bool flush_block(struct sink *sink, struct flow_error *error)
{
    size_t size = sink->filled;
    sink->filled = 0;
    return pass_on(sink, sink->block, size, error);
}

bool sink_write(struct sink *sink, struct bytes data, struct flow_error *error)
{
    sink->position += data.size;
    if (data.size > BLOCK - sink->filled && !flush_block(sink, error))
        return false;
    /* zlib takes no more than 4 GB at once. */
    for (; data.size > BLOCK; data = bytes_make(data.data + BLOCK, data.size - BLOCK))
        if (!pass_on(sink, data.data, BLOCK, error))
            return false;
    if (data.size)
        memcpy(sink->block + sink->filled, data.data, data.size);
    sink->filled += data.size;
    return true;
}

bool sink_copy(struct sink *sink, const struct source *source, uint64_t offset, uint64_t size,
               struct flow_error *error)
{
    while (size > 0) {
        if (sink->filled == BLOCK && !flush_block(sink, error))
            return false;
        size_t room = BLOCK - sink->filled;
        size_t wanted = size < room ? (size_t)size : room;
        size_t got;
        if (!source_read(source, offset, sink->block + sink->filled, wanted, &got, error))
            return false;
        if (got < wanted) {
            flow_error_set(error, EIO, offset + got, "%s ends inside a flow: it was cut short",
                           source_path(source));
            return false;
        }
        sink->filled += got;
        sink->position += got;
        offset += got;
        size -= got;
    }
    return true;
}

uint64_t sink_position(const struct sink *sink)
{
    return sink->position;
}

/* The new name is kept over a power failure only if the directory is synced, too. */
static bool sync_directory(const char *path, struct flow_error *error)
{
    char *directory = directory_of(path);
    if (!directory)
        return flow_error_memory(error);
    int descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* Some file systems cannot sync a directory; then there is nothing to wait for. */
    bool synced = descriptor >= 0 && (fsync(descriptor) == 0 || errno == EINVAL);
    if (!synced)
        fail(error, errno, "cannot sync", directory);
    if (descriptor >= 0)
        close(descriptor);
    free(directory);
    return synced;
}

/* Gives a file without a name one of its own, for rename: linkat replaces nothing. */
static bool name_temporary(struct sink *sink, struct flow_error *error)
{
    char descriptor[32];
    snprintf(descriptor, sizeof descriptor, "/proc/self/fd/%d", sink->descriptor);
    for (unsigned attempt = 0; !sink->named && attempt < 100; attempt++) {
        sprintf(sink->temporary + strlen(sink->temporary) - 6, "%06u",
                ((unsigned)getpid() + attempt) % 1000000);
        sink->named =
            linkat(AT_FDCWD, descriptor, AT_FDCWD, sink->temporary, AT_SYMLINK_FOLLOW) == 0;
        if (!sink->named && errno != EEXIST)
            break;
    }
    return sink->named || fail(error, errno, "cannot name", sink->temporary);
}

static bool take_name(struct sink *sink, struct flow_error *error)
{
    if (fsync(sink->descriptor) != 0)
        return fail(error, errno, "cannot sync", sink->path);
    if (!name_temporary(sink, error))
        return false;
    if (rename(sink->temporary, sink->path) != 0)
        return fail(error, errno, "cannot replace", sink->path);
    sink->named = false;
    return sync_directory(sink->path, error);
}

bool sink_finish(struct sink *sink, struct flow_error *error)
{
    return flush_block(sink, error) && (!sink->zipping || pack(sink, NULL, 0, Z_FINISH, error)) &&
           (!sink->temporary || take_name(sink, error));
}

void sink_close(struct sink *sink)
{
    if (!sink)
        return;
    if (sink->named)
        unlink(sink->temporary);
    if (sink->owned && sink->descriptor >= 0)
        close(sink->descriptor);
    if (sink->zipping)
        deflateEnd(&sink->stream);
    free(sink->temporary);
    free(sink->path);
    free(sink->packed);
    free(sink->block);
    free(sink);
}
