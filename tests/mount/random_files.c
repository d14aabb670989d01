/* The operations on open files: data, sizes, holes, mappings, locks. */
#include "random_operations.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/xattr.h>
#include <unistd.h>

#define PAGE ((off_t)4096)

static int handle_of(const struct operation *operation, const struct side *side)
{
    return side->handles[operation->handle];
}

static void run_close(const struct operation *operation, struct side *side, struct outcome *outcome)
{
    int *handle = &side->handles[operation->handle];
    outcome->result = call_result(close(*handle));
    *handle = -1;
}

static void note_data(struct outcome *outcome, ssize_t size)
{
    outcome->result = call_result(size);
    outcome->size = size > 0 ? (size_t)size : 0;
}

static void run_pread(const struct operation *operation, struct side *side, struct outcome *outcome)
{
    note_data(outcome,
              pread(handle_of(operation, side), outcome->data, operation->size, operation->offset));
}

static void run_read(const struct operation *operation, struct side *side, struct outcome *outcome)
{
    note_data(outcome, read(handle_of(operation, side), outcome->data, operation->size));
}

static void run_pwrite(const struct operation *operation, struct side *side,
                       struct outcome *outcome)
{
    fill_data(outcome->data, operation->size, operation->fill);
    outcome->result = call_result(
        pwrite(handle_of(operation, side), outcome->data, operation->size, operation->offset));
}

static void run_write(const struct operation *operation, struct side *side, struct outcome *outcome)
{
    fill_data(outcome->data, operation->size, operation->fill);
    outcome->result =
        call_result(write(handle_of(operation, side), outcome->data, operation->size));
}

static void run_seek(const struct operation *operation, struct side *side, struct outcome *outcome)
{
    int handle = handle_of(operation, side);
    struct stat status;
    /* Places in a directory are the file system's own. */
    if (fstat(handle, &status) == 0 && S_ISDIR(status.st_mode))
        return;
    outcome->result =
        call_result(lseek(handle, operation->offset - PAGE * 8, operation->choice->value));
}

static void run_ftruncate(const struct operation *operation, struct side *side,
                          struct outcome *outcome)
{
    outcome->result = call_result(ftruncate(handle_of(operation, side), operation->offset));
}

static void run_fallocate(const struct operation *operation, struct side *side,
                          struct outcome *outcome)
{
    outcome->result = call_result(fallocate(handle_of(operation, side), operation->choice->value,
                                            operation->offset, (off_t)operation->size));
}

static void run_sync(const struct operation *operation, struct side *side, struct outcome *outcome)
{
    int handle = handle_of(operation, side);
    outcome->result = call_result(operation->choice->value ? fdatasync(handle) : fsync(handle));
}

/* What is read next comes from the file system again. */
static void run_forget_pages(const struct operation *operation, struct side *side,
                             struct outcome *outcome)
{
    int handle = handle_of(operation, side);
    outcome->result = call_result(fdatasync(handle));
    if (outcome->result == 0)
        outcome->result = -posix_fadvise(handle, 0, 0, POSIX_FADV_DONTNEED);
}

static void run_fchmod(const struct operation *operation, struct side *side,
                       struct outcome *outcome)
{
    outcome->result = call_result(fchmod(handle_of(operation, side), operation->mode));
}

static void run_futimens(const struct operation *operation, struct side *side,
                         struct outcome *outcome)
{
    const struct timespec times[2] = {
        {(time_t)(operation->fill % LATEST_SET_TIME), (long)(operation->fill % 1000000000)},
        {(time_t)(operation->fill / 2 % LATEST_SET_TIME), (long)(operation->fill % 999999999)}};
    outcome->result = call_result(futimens(handle_of(operation, side), times));
}

static void run_fsetxattr(const struct operation *operation, struct side *side,
                          struct outcome *outcome)
{
    size_t size = operation->size % 100;
    fill_data(outcome->data, size, operation->fill);
    outcome->result =
        call_result(fsetxattr(handle_of(operation, side), "user.a", outcome->data, size, 0));
}

/* Maps what of the range the file has; NULL if that is nothing, with *result saying why. */
static uint8_t *map_range(const struct operation *operation, const struct side *side,
                          int protection, size_t *size, int64_t *result)
{
    int handle = handle_of(operation, side);
    struct stat status;
    off_t start = operation->offset / PAGE * PAGE;
    *result = call_result(fstat(handle, &status));
    if (*result < 0 || !S_ISREG(status.st_mode) || start < 0 || start >= status.st_size)
        return NULL;
    *size = operation->size;
    if ((off_t)*size > status.st_size - start)
        *size = (size_t)(status.st_size - start);
    if (*size == 0)
        return NULL;
    void *mapped = mmap(NULL, *size, protection, MAP_SHARED, handle, start);
    *result = mapped == MAP_FAILED ? -errno : (int64_t)*size;
    return mapped == MAP_FAILED ? NULL : mapped;
}

static void run_mapped_write(const struct operation *operation, struct side *side,
                             struct outcome *outcome)
{
    size_t size = 0;
    uint8_t *mapped = map_range(operation, side, PROT_READ | PROT_WRITE, &size, &outcome->result);
    if (!mapped)
        return;
    fill_data(mapped + size / 4, size - size / 4, operation->fill);
    if (operation->choice->value && msync(mapped, size, operation->choice->value) < 0)
        outcome->result = -errno;
    munmap(mapped, size);
}

/* To the end of the last page: what is behind a file's end is zero. */
static void run_mapped_read(const struct operation *operation, struct side *side,
                            struct outcome *outcome)
{
    size_t size = 0;
    uint8_t *mapped = map_range(operation, side, PROT_READ, &size, &outcome->result);
    if (!mapped)
        return;
    outcome->size = (size + PAGE - 1) / PAGE * PAGE;
    memcpy(outcome->data, mapped, outcome->size);
    munmap(mapped, size);
}

/* Whether the file has nothing but zeros from one place to another. */
static bool is_zero(int handle, off_t from, off_t to, uint8_t *room)
{
    while (from < to) {
        size_t wanted = to - from < DATA_CAPACITY ? (size_t)(to - from) : DATA_CAPACITY;
        ssize_t size = pread(handle, room, wanted, from);
        if (size <= 0)
            return false;
        for (ssize_t i = 0; i < size; i++)
            if (room[i])
                return false;
        from += size;
    }
    return true;
}

/* Where holes are depends on when a file system writes; that they hold nothing does not. */
static int64_t check_holes(int handle, off_t end, uint8_t *room)
{
    off_t place = 0;
    while (place < end) {
        off_t data = lseek(handle, place, SEEK_DATA);
        if (data < 0 && errno != ENXIO)
            return -errno;
        off_t hole_end = data < 0 ? end : data;
        if (hole_end < place || !is_zero(handle, place, hole_end, room))
            return -EILSEQ;
        if (data < 0)
            break;
        place = lseek(handle, data, SEEK_HOLE);
        if (place <= data || place > end)
            return -EILSEQ;
    }
    return lseek(handle, end, SEEK_DATA) < 0 ? -errno : 0;
}

static void run_holes(const struct operation *operation, struct side *side, struct outcome *outcome)
{
    int handle = handle_of(operation, side);
    struct stat status;
    off_t place = lseek(handle, 0, SEEK_CUR);
    if (place < 0 || fstat(handle, &status) < 0 || !S_ISREG(status.st_mode) ||
        (fcntl(handle, F_GETFL) & O_ACCMODE) == O_WRONLY)
        return;
    outcome->result = check_holes(handle, status.st_size, outcome->data);
    lseek(handle, place, SEEK_SET);
}

static bool is_regular(int handle)
{
    struct stat status;
    return fstat(handle, &status) == 0 && S_ISREG(status.st_mode);
}

/* How much a call moves at once is its own affair: it is called until it moves no more. */
static void run_copy_range(const struct operation *operation, struct side *side,
                           struct outcome *outcome)
{
    off_t from = operation->offset;
    off_t to = operation->other_offset;
    size_t left = operation->size;
    ssize_t moved = 0;
    while (left > 0) {
        moved = copy_file_range(handle_of(operation, side), &from,
                                side->handles[operation->other_handle], &to, left, 0);
        if (moved <= 0)
            break;
        left -= (size_t)moved;
    }
    bool failed = moved < 0 && left == operation->size;
    outcome->result = failed ? -errno : (int64_t)(operation->size - left);
}

static void run_sendfile(const struct operation *operation, struct side *side,
                         struct outcome *outcome)
{
    int to = side->handles[operation->other_handle];
    off_t from = operation->offset;
    size_t left = operation->size;
    ssize_t moved = 0;
    /* How much a pipe takes depends on how the data lies in memory. */
    if (to >= 0 && !is_regular(to))
        return;
    while (left > 0) {
        moved = sendfile(to, handle_of(operation, side), &from, left);
        if (moved <= 0)
            break;
        left -= (size_t)moved;
    }
    bool failed = moved < 0 && left == operation->size;
    outcome->result = failed ? -errno : (int64_t)(operation->size - left);
}

static void run_flock(const struct operation *operation, struct side *side, struct outcome *outcome)
{
    outcome->result =
        call_result(flock(handle_of(operation, side), operation->choice->value | LOCK_NB));
}

static void run_lock_range(const struct operation *operation, struct side *side,
                           struct outcome *outcome)
{
    static const short types[] = {F_RDLCK, F_WRLCK, F_UNLCK};
    struct flock lock = {.l_type = types[operation->fill % 3],
                         .l_whence = SEEK_SET,
                         .l_start = operation->offset,
                         .l_len = (off_t)operation->size};
    outcome->result =
        call_result(fcntl(handle_of(operation, side), operation->choice->value, &lock));
    int64_t found[3] = {lock.l_type, lock.l_start, lock.l_len};
    memcpy(outcome->data, found, sizeof found);
    outcome->size = outcome->result < 0 ? 0 : sizeof found;
}

static const struct choice seek_choices[] = {
    {"SEEK_SET", SEEK_SET},
    {"SEEK_CUR", SEEK_CUR},
    {"SEEK_END", SEEK_END},
    {0},
};
static const struct choice fallocate_choices[] = {
    {"grow", 0},
    {"KEEP_SIZE", FALLOC_FL_KEEP_SIZE},
    {"PUNCH_HOLE", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE},
    {"ZERO_RANGE", FALLOC_FL_ZERO_RANGE},
    {"ZERO_RANGE|KEEP_SIZE", FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE},
    {0},
};
static const struct choice sync_choices[] = {{"fsync", 0}, {"fdatasync", 1}, {0}};
static const struct choice msync_choices[] = {
    {"no msync", 0},
    {"MS_SYNC", MS_SYNC},
    {"MS_ASYNC", MS_ASYNC},
    {0},
};
static const struct choice flock_choices[] = {
    {"LOCK_SH", LOCK_SH},
    {"LOCK_EX", LOCK_EX},
    {"LOCK_UN", LOCK_UN},
    {0},
};
static const struct choice range_lock_choices[] = {
    {"F_SETLK", F_SETLK},
    {"F_OFD_SETLK", F_OFD_SETLK},
    {"F_OFD_GETLK", F_OFD_GETLK},
    {0},
};

const struct operation_kind file_kinds[] = {
    {"close", 12, SHOWS_HANDLE, NULL, run_close},
    {"pread", 80, SHOWS_HANDLE | SHOWS_RANGE, NULL, run_pread},
    {"read", 60, SHOWS_HANDLE | SHOWS_RANGE, NULL, run_read},
    {"pwrite", 80, SHOWS_HANDLE | SHOWS_RANGE | SHOWS_FILL, NULL, run_pwrite},
    {"write", 80, SHOWS_HANDLE | SHOWS_RANGE | SHOWS_FILL, NULL, run_write},
    {"seek", 25, SHOWS_HANDLE | SHOWS_RANGE, seek_choices, run_seek},
    {"ftruncate", 25, SHOWS_HANDLE | SHOWS_RANGE, NULL, run_ftruncate},
    {"fallocate", 20, SHOWS_HANDLE | SHOWS_RANGE, fallocate_choices, run_fallocate},
    {"sync", 8, SHOWS_HANDLE, sync_choices, run_sync},
    {"forget pages", 12, SHOWS_HANDLE, NULL, run_forget_pages},
    {"fchmod", 8, SHOWS_HANDLE | SHOWS_MODE, NULL, run_fchmod},
    {"futimens", 10, SHOWS_HANDLE | SHOWS_FILL, NULL, run_futimens},
    {"fsetxattr", 6, SHOWS_HANDLE | SHOWS_RANGE | SHOWS_FILL, NULL, run_fsetxattr},
    {"mapped write", 25, SHOWS_HANDLE | SHOWS_RANGE | SHOWS_FILL, msync_choices, run_mapped_write},
    {"mapped read", 25, SHOWS_HANDLE | SHOWS_RANGE, NULL, run_mapped_read},
    {"holes", 12, SHOWS_HANDLE, NULL, run_holes},
    {"copy_file_range", 15, SHOWS_HANDLE | SHOWS_RANGE | SHOWS_OTHER_HANDLE | SHOWS_OTHER_OFFSET,
     NULL, run_copy_range},
    {"sendfile", 12, SHOWS_HANDLE | SHOWS_RANGE | SHOWS_OTHER_HANDLE, NULL, run_sendfile},
    {"flock", 12, SHOWS_HANDLE, flock_choices, run_flock},
    {"lock range", 15, SHOWS_HANDLE | SHOWS_RANGE | SHOWS_FILL, range_lock_choices, run_lock_range},
    {0},
};
