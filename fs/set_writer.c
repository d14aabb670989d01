#include "set_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK ((size_t)256 * 1024)
#define MOST_AT_ONCE ((size_t)1 << 30)

static bool fail(struct flow_error *error, const char *what)
{
    int code = errno;
    flow_error_set(error, code, FLOW_ERROR_NO_OFFSET, "%s: %s", what, strerror(code));
    return false;
}

bool set_file_make(struct set_file *file, int root, struct flow_error *error)
{
    static _Atomic unsigned next;
    do {
        snprintf(file->hidden, sizeof file->hidden, SET_HIDDEN "-pack-%u",
                 atomic_fetch_add(&next, 1));
        file->descriptor =
            openat(root, file->hidden, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    } while (file->descriptor < 0 && errno == EEXIST);
    file->size = 0;
    return file->descriptor >= 0 || fail(error, "a flow file cannot be made in the staging folder");
}

void set_file_drop(struct set_file *file, int root)
{
    if (file->hidden[0])
        unlinkat(root, file->hidden, 0);
    if (file->descriptor >= 0)
        close(file->descriptor);
    *file = (struct set_file)SET_FILE_NONE;
}

static bool cut_short(struct flow_error *error)
{
    flow_error_set(error, EIO, FLOW_ERROR_NO_OFFSET, "a flow file was cut short while it was read");
    return false;
}

static bool write_at(int to, const uint8_t *data, size_t size, uint64_t position,
                     struct flow_error *error)
{
    while (size > 0) {
        ssize_t written = pwrite(to, data, size, (off_t)position);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return fail(error, "the flow file cannot be written");
        data += written;
        size -= (size_t)written;
        position += (uint64_t)written;
    }
    return true;
}

/* Reads up to a block; 0 at the end of the file, -1 with errno. */
static ssize_t read_block(int from, uint64_t offset, uint8_t *block, uint64_t size)
{
    ssize_t got;
    do
        got = pread(from, block, size < BLOCK ? (size_t)size : BLOCK, (off_t)offset);
    while (got < 0 && errno == EINTR);
    return got;
}

static bool copy_through_memory(int from, uint64_t offset, int to, uint64_t position, uint64_t size,
                                struct flow_error *error)
{
    uint8_t *block = malloc(BLOCK);
    bool done = block || flow_error_memory(error);
    while (done && size > 0) {
        ssize_t got = read_block(from, offset, block, size);
        done = got > 0   ? write_at(to, block, (size_t)got, position, error)
               : got < 0 ? fail(error, "the flow file cannot be read")
                         : cut_short(error);
        if (done) {
            offset += (uint64_t)got;
            position += (uint64_t)got;
            size -= (uint64_t)got;
        }
    }
    free(block);
    return done;
}

bool set_file_copy(int from, uint64_t offset, int to, uint64_t position, uint64_t size,
                   struct flow_error *error)
{
    off_t in = (off_t)offset, out = (off_t)position;
    while (size > 0) {
        size_t wanted = size < MOST_AT_ONCE ? (size_t)size : MOST_AT_ONCE;
        ssize_t copied = copy_file_range(from, &in, to, &out, wanted, 0);
        if (copied < 0 && errno == EINTR)
            continue;
        if (copied < 0 && (errno == EXDEV || errno == EINVAL || errno == ENOSYS ||
                           errno == EOPNOTSUPP || errno == EPERM))
            return copy_through_memory(from, (uint64_t)in, to, (uint64_t)out, size, error);
        if (copied < 0)
            return fail(error, "the flow file cannot be written");
        if (copied == 0)
            return cut_short(error);
        size -= (uint64_t)copied;
    }
    return true;
}

bool set_file_holds(int descriptor, uint64_t offset, struct bytes bytes, bool *equal,
                    struct flow_error *error)
{
    size_t block_size = bytes.size < BLOCK ? bytes.size : BLOCK;
    uint8_t *block = malloc(block_size ? block_size : 1);
    bool done = block || flow_error_memory(error);
    *equal = true;
    while (done && *equal && bytes.size > 0) {
        ssize_t got = read_block(descriptor, offset, block, bytes.size);
        if (got < 0)
            done = fail(error, "the flow file cannot be read");
        *equal = got > 0 && memcmp(block, bytes.data, (size_t)got) == 0;
        if (*equal) {
            offset += (uint64_t)got;
            bytes = bytes_make(bytes.data + got, bytes.size - (size_t)got);
        }
    }
    free(block);
    return done;
}

static bool need_file(struct set_writer *writer, struct flow_error *error)
{
    return writer->out.descriptor >= 0 || set_file_make(&writer->out, writer->root, error);
}

static bool flush_run(struct set_writer *writer, struct flow_error *error)
{
    if (writer->run_size == 0)
        return true;
    if (!need_file(writer, error) ||
        !set_file_copy(writer->store, writer->run, writer->out.descriptor, writer->out.size,
                       writer->run_size, error))
        return false;
    writer->out.size += writer->run_size;
    writer->run_size = 0;
    return true;
}

bool set_writer_copy(struct set_writer *writer, uint64_t offset, uint64_t size,
                     struct flow_error *error)
{
    bool follows = writer->run_size > 0 && writer->run + writer->run_size == offset;
    if (!follows) {
        if (!flush_run(writer, error))
            return false;
        writer->run = offset;
    }
    writer->run_size += size;
    writer->position += size;
    return true;
}

bool set_writer_append(struct set_writer *writer, struct bytes record, struct flow_error *error)
{
    if (!flush_run(writer, error) || !need_file(writer, error) ||
        !write_at(writer->out.descriptor, record.data, record.size, writer->out.size, error))
        return false;
    writer->out.size += record.size;
    writer->position += record.size;
    return true;
}

bool set_writer_end(struct set_writer *writer, bool *same, struct flow_error *error)
{
    *same = writer->out.descriptor < 0 && writer->store >= 0 &&
            writer->position == writer->store_size && (writer->run == 0 || !writer->run_size);
    return *same || (flush_run(writer, error) && need_file(writer, error));
}
