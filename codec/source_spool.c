#include "source_spool.h"

#include "spool.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
/* zlib's input pointers are const only when asked for. */
#define ZLIB_CONST
#include <zlib.h>

#define CHUNK_SIZE ((size_t)64 * 1024)

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

static bool open_spool(struct writer *writer, struct flow_error *error)
{
    char what[PATH_MAX + 32];
    snprintf(what, sizeof what, "the unpacked bytes of %s", writer->name);
    writer->descriptor = spool_open(what, error);
    return writer->descriptor >= 0;
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
static bool unpack_layer(struct reader *reader, bool stay, struct source_spool *result,
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
static bool unpack_inner(struct reader *outer, struct source_spool *result,
                         struct flow_error *error)
{
    struct reader reader = {.descriptor = result->descriptor,
                            .name = outer->name,
                            .positioned = true,
                            .inner = true,
                            .data = outer->data};
    struct source_spool inner = {.damage = result->damage};
    if (!unpack_layer(&reader, true, &inner, error))
        return false;
    if (inner.descriptor >= 0) {
        close(result->descriptor);
        inner.packing = result->packing;
        *result = inner;
    }
    return true;
}

bool source_spool_unpack(int descriptor, const char *name, bool stay, struct source_spool *result,
                         struct flow_error *error)
{
    struct reader reader = {.descriptor = descriptor, .name = name, .positioned = stay};
    *result = (struct source_spool){.descriptor = -1};
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
