/* The operations on names: what a directory entry can be made, and what is told about it. */
#include "random_operations.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static void run_open(const struct operation *operation, struct side *side, struct outcome *outcome)
{
    int *handle = &side->handles[operation->handle];
    int flags = operation->choice->value | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;
    int file = open(operation->path, flags, operation->mode);
    outcome->result = file < 0 ? -errno : 0;
    if (file < 0)
        return;
    if (*handle >= 0)
        close(*handle);
    *handle = file;
}

static void run_truncate(const struct operation *operation, struct side *side,
                         struct outcome *outcome)
{
    (void)side;
    outcome->result = call_result(truncate(operation->path, operation->offset));
}

static void run_rename(const struct operation *operation, struct side *side,
                       struct outcome *outcome)
{
    (void)side;
    outcome->result =
        call_result(renameat2(AT_FDCWD, operation->path, AT_FDCWD, operation->other_path,
                              (unsigned)operation->choice->value));
}

static void run_link(const struct operation *operation, struct side *side, struct outcome *outcome)
{
    (void)side;
    outcome->result = call_result(linkat(AT_FDCWD, operation->path, AT_FDCWD, operation->other_path,
                                         operation->choice->value));
}

/* The target leads no further than one directory up: the folder around the side's belongs to it. */
static void run_symlink(const struct operation *operation, struct side *side,
                        struct outcome *outcome)
{
    (void)side;
    char target[PATH_CAPACITY + 3];
    snprintf(target, sizeof target, "%s%s", operation->choice->text, operation->path);
    outcome->result = call_result(symlink(target, operation->other_path));
}

static void run_readlink(const struct operation *operation, struct side *side,
                         struct outcome *outcome)
{
    (void)side;
    ssize_t size = readlink(operation->path, (char *)outcome->data, PATH_CAPACITY);
    outcome->result = call_result(size);
    outcome->size = size > 0 ? (size_t)size : 0;
}

static void run_unlink(const struct operation *operation, struct side *side,
                       struct outcome *outcome)
{
    (void)side;
    outcome->result = call_result(unlink(operation->path));
}

static void run_rmdir(const struct operation *operation, struct side *side, struct outcome *outcome)
{
    (void)side;
    outcome->result = call_result(rmdir(operation->path));
}

static void run_mkdir(const struct operation *operation, struct side *side, struct outcome *outcome)
{
    (void)side;
    outcome->result = call_result(mkdir(operation->path, operation->mode));
}

static void run_mknod(const struct operation *operation, struct side *side, struct outcome *outcome)
{
    (void)side;
    mode_t kind = (mode_t)operation->choice->value;
    outcome->result = call_result(mknod(operation->path, operation->mode | kind, 0));
}

static void run_chmod(const struct operation *operation, struct side *side, struct outcome *outcome)
{
    (void)side;
    outcome->result = call_result(chmod(operation->path, operation->mode));
}

static void run_chown(const struct operation *operation, struct side *side, struct outcome *outcome)
{
    (void)side;
    static const uid_t users[] = {0, 1000, 65534, (uid_t)-1};
    outcome->result =
        call_result(fchownat(AT_FDCWD, operation->path, users[operation->fill % 4],
                             users[operation->fill / 4 % 4], operation->choice->value));
}

static void run_utimens(const struct operation *operation, struct side *side,
                        struct outcome *outcome)
{
    (void)side;
    static const long special[] = {UTIME_NOW, UTIME_OMIT};
    struct timespec times[2];
    for (int i = 0; i < 2; i++) {
        uint64_t fill = operation->fill >> (i * 8);
        times[i].tv_sec = (time_t)(fill % LATEST_SET_TIME);
        times[i].tv_nsec = fill % 8 < 2 ? special[fill % 8] : (long)(fill % 1000000000);
    }
    outcome->result =
        call_result(utimensat(AT_FDCWD, operation->path, times, operation->choice->value));
}

static void run_stat(const struct operation *operation, struct side *side, struct outcome *outcome)
{
    (void)side;
    struct stat status;
    outcome->result =
        call_result(fstatat(AT_FDCWD, operation->path, &status, operation->choice->value));
    if (outcome->result < 0)
        return;
    FILE *text = fmemopen(outcome->data, DATA_CAPACITY, "w");
    if (!text)
        return;
    describe_status(text, &status);
    outcome->size = (size_t)ftell(text);
    fclose(text);
}

/* A mount that runs nothing lets nobody execute a file, whatever its mode says. */
static void run_access(const struct operation *operation, struct side *side,
                       struct outcome *outcome)
{
    (void)side;
    struct stat status;
    int mode = operation->choice->value;
    if (mode == X_OK && stat(operation->path, &status) == 0 && !S_ISDIR(status.st_mode))
        return;
    outcome->result = call_result(faccessat(AT_FDCWD, operation->path, mode, AT_EACCESS));
}

static const char *attribute_name(const struct operation *operation)
{
    static const char *const names[] = {"user.a", "user.b", "user.mime_type", "nobody.a", "user."};
    uint64_t drawn = operation->fill % 16;
    return names[drawn < 5 ? drawn : drawn % 3];
}

static void run_setxattr(const struct operation *operation, struct side *side,
                         struct outcome *outcome)
{
    (void)side;
    size_t size = operation->size % (operation->fill % 32 ? 200 : 6000);
    fill_data(outcome->data, size, operation->fill);
    outcome->result = call_result(setxattr(operation->path, attribute_name(operation),
                                           outcome->data, size, operation->choice->value));
}

static void run_getxattr(const struct operation *operation, struct side *side,
                         struct outcome *outcome)
{
    (void)side;
    size_t room = (size_t)operation->choice->value;
    ssize_t size = getxattr(operation->path, attribute_name(operation), outcome->data, room);
    outcome->result = call_result(size);
    outcome->size = size > 0 && room ? (size_t)size : 0;
}

static void run_removexattr(const struct operation *operation, struct side *side,
                            struct outcome *outcome)
{
    (void)side;
    outcome->result = call_result(removexattr(operation->path, attribute_name(operation)));
}

/* What a listing holds and, from a place in its middle on, holds again. */
struct listing {
    struct dirent *entries;
    long *places; /* before each entry */
    size_t count;
};

enum { LISTING_CAPACITY = 2000 };

static bool read_listing(DIR *directory, struct listing *listing)
{
    for (;;) {
        long place = telldir(directory);
        errno = 0;
        const struct dirent *entry = readdir(directory);
        if (!entry || listing->count == LISTING_CAPACITY)
            return !entry && errno == 0;
        listing->places[listing->count] = place;
        listing->entries[listing->count].d_type = entry->d_type;
        listing->entries[listing->count].d_ino = entry->d_ino;
        memcpy(listing->entries[listing->count++].d_name, entry->d_name, sizeof entry->d_name);
    }
}

/* The rest of the listing, read anew from the entry's place: 0 if it is what it was. */
static int64_t read_again(DIR *directory, const struct listing *listing, size_t first)
{
    if (first >= listing->count)
        return 0;
    seekdir(directory, listing->places[first]);
    for (size_t i = first; i < listing->count; i++) {
        const struct dirent *entry = readdir(directory);
        if (!entry || strcmp(entry->d_name, listing->entries[i].d_name) != 0 ||
            entry->d_type != listing->entries[i].d_type)
            return -EILSEQ;
    }
    return readdir(directory) ? -EILSEQ : 0;
}

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const struct dirent *)a)->d_name, ((const struct dirent *)b)->d_name);
}

static void run_list(const struct operation *operation, struct side *side, struct outcome *outcome)
{
    (void)side;
    DIR *directory = opendir(operation->path);
    if (!directory) {
        outcome->result = -errno;
        return;
    }
    struct listing listing = {malloc(LISTING_CAPACITY * sizeof(struct dirent)),
                              malloc(LISTING_CAPACITY * sizeof(long)), 0};
    FILE *text = fmemopen(outcome->data, DATA_CAPACITY, "w");
    if (!listing.entries || !listing.places || !text || !read_listing(directory, &listing))
        outcome->result = -EIO;
    else
        outcome->result = read_again(directory, &listing, operation->fill % (listing.count + 1));
    if (listing.entries && text) {
        qsort(listing.entries, listing.count, sizeof *listing.entries, compare_entries);
        for (size_t i = 0; i < listing.count; i++)
            fprintf(text, "%s %d\n", listing.entries[i].d_name, listing.entries[i].d_type);
        outcome->size = (size_t)ftell(text);
    }
    if (text)
        fclose(text);
    free(listing.entries);
    free(listing.places);
    closedir(directory);
}

static void run_sync_directory(const struct operation *operation, struct side *side,
                               struct outcome *outcome)
{
    (void)side;
    int directory = open(operation->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    outcome->result = directory < 0 ? -errno : call_result(fsync(directory));
    if (directory >= 0)
        close(directory);
}

/* What another process finds that asks for the locks of a file. */
static void ask_for_locks(const struct operation *operation, int64_t found[5])
{
    int file = open(operation->path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    found[0] = file < 0 ? -errno : 0;
    if (file < 0)
        return;
    struct flock lock = {.l_type = F_WRLCK,
                         .l_whence = SEEK_SET,
                         .l_start = operation->offset,
                         .l_len = (off_t)operation->size};
    struct flock held = lock;
    found[1] = call_result(fcntl(file, F_GETLK, &held));
    found[2] = held.l_type * 2 + (held.l_type != F_UNLCK && held.l_pid == getppid());
    found[3] = call_result(fcntl(file, F_SETLK, &lock));
    found[4] = call_result(flock(file, operation->choice->value | LOCK_NB));
}

static void run_peer_locks(const struct operation *operation, struct side *side,
                           struct outcome *outcome)
{
    (void)side;
    int ends[2];
    if (pipe(ends) < 0) {
        outcome->result = -errno;
        return;
    }
    pid_t peer = fork();
    if (peer == 0) {
        int64_t found[5] = {0};
        ask_for_locks(operation, found);
        _exit(write(ends[1], found, sizeof found) == sizeof found ? 0 : 1);
    }
    close(ends[1]);
    ssize_t size = read(ends[0], outcome->data, 5 * sizeof(int64_t));
    close(ends[0]);
    waitpid(peer, NULL, 0);
    outcome->size = size > 0 ? (size_t)size : 0;
    if (size == 5 * sizeof(int64_t))
        memcpy(&outcome->result, outcome->data, sizeof outcome->result);
    else
        outcome->result = -EPIPE;
}

static const struct choice open_choices[] = {
    {"O_RDONLY", O_RDONLY},
    {"O_RDWR", O_RDWR},
    {"O_RDWR|O_CREAT", O_RDWR | O_CREAT},
    {"O_RDWR|O_CREAT ", O_RDWR | O_CREAT},
    {"O_RDWR|O_CREAT  ", O_RDWR | O_CREAT},
    {"O_RDWR|O_CREAT|O_EXCL", O_RDWR | O_CREAT | O_EXCL},
    {"O_RDWR|O_CREAT|O_TRUNC", O_RDWR | O_CREAT | O_TRUNC},
    {"O_RDWR|O_TRUNC", O_RDWR | O_TRUNC},
    {"O_RDONLY|O_TRUNC", O_RDONLY | O_TRUNC},
    {"O_RDONLY|O_CREAT", O_RDONLY | O_CREAT},
    {"O_WRONLY|O_CREAT|O_APPEND", O_WRONLY | O_CREAT | O_APPEND},
    {"O_RDWR|O_CREAT|O_APPEND", O_RDWR | O_CREAT | O_APPEND},
    {"O_RDWR|O_CREAT|O_NOFOLLOW", O_RDWR | O_CREAT | O_NOFOLLOW},
    {"O_WRONLY|O_SYNC", O_WRONLY | O_SYNC},
    {"O_RDONLY|O_DIRECTORY", O_RDONLY | O_DIRECTORY},
    {"O_PATH", O_PATH},
    {0},
};
static const struct choice rename_choices[] = {
    {"plain", 0}, {"over", 0}, {"NOREPLACE", RENAME_NOREPLACE}, {"EXCHANGE", RENAME_EXCHANGE}, {0},
};
static const struct choice follow_choices[] = {
    {"the link itself", AT_SYMLINK_NOFOLLOW},
    {"what it leads to", 0},
    {0},
};
static const struct choice link_choices[] = {
    {"the link itself", 0},
    {"what it leads to", AT_SYMLINK_FOLLOW},
    {0},
};
static const struct choice target_choices[] = {{"", 0}, {"./", 0}, {"../", 0}, {0}};
static const struct choice node_choices[] = {
    {"S_IFREG", S_IFREG},
    {"S_IFIFO", S_IFIFO},
    {"S_IFSOCK", S_IFSOCK},
    {0},
};
static const struct choice access_choices[] = {
    {"F_OK", F_OK}, {"R_OK", R_OK}, {"W_OK", W_OK}, {"X_OK", X_OK}, {0},
};
static const struct choice attribute_choices[] = {
    {"any", 0},
    {"CREATE", XATTR_CREATE},
    {"REPLACE", XATTR_REPLACE},
    {0},
};
static const struct choice room_choices[] = {{"ask", 0}, {"some", 100}, {"all", 8192}, {0}};
static const struct choice lock_choices[] = {{"LOCK_EX", LOCK_EX}, {"LOCK_SH", LOCK_SH}, {0}};

const struct operation_kind name_kinds[] = {
    {"open", 120, SHOWS_PATH | SHOWS_HANDLE | SHOWS_MODE, open_choices, run_open},
    {"truncate", 12, SHOWS_PATH | SHOWS_RANGE, NULL, run_truncate},
    {"rename", 50, SHOWS_PATH | SHOWS_OTHER_PATH, rename_choices, run_rename},
    {"link", 25, SHOWS_PATH | SHOWS_OTHER_PATH, link_choices, run_link},
    {"symlink", 20, SHOWS_PATH | SHOWS_OTHER_PATH, target_choices, run_symlink},
    {"readlink", 20, SHOWS_PATH, NULL, run_readlink},
    {"unlink", 35, SHOWS_PATH, NULL, run_unlink},
    {"rmdir", 20, SHOWS_PATH, NULL, run_rmdir},
    {"mkdir", 60, SHOWS_PATH | SHOWS_MODE, NULL, run_mkdir},
    {"mknod", 15, SHOWS_PATH | SHOWS_MODE, node_choices, run_mknod},
    {"chmod", 20, SHOWS_PATH | SHOWS_MODE, NULL, run_chmod},
    {"chown", 10, SHOWS_PATH | SHOWS_FILL, follow_choices, run_chown},
    {"utimens", 20, SHOWS_PATH | SHOWS_FILL, follow_choices, run_utimens},
    {"stat", 30, SHOWS_PATH, follow_choices, run_stat},
    {"access", 10, SHOWS_PATH, access_choices, run_access},
    {"setxattr", 15, SHOWS_PATH | SHOWS_RANGE | SHOWS_FILL, attribute_choices, run_setxattr},
    {"getxattr", 30, SHOWS_PATH | SHOWS_FILL, room_choices, run_getxattr},
    {"removexattr", 20, SHOWS_PATH | SHOWS_FILL, NULL, run_removexattr},
    {"list", 25, SHOWS_PATH | SHOWS_FILL, NULL, run_list},
    {"sync directory", 4, SHOWS_PATH, NULL, run_sync_directory},
    {"another process' locks", 5, SHOWS_PATH | SHOWS_RANGE, lock_choices, run_peer_locks},
    {0},
};
