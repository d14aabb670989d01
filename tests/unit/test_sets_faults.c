/* A set is committed while the machine fails it: the process ends before, in the middle of or
 * behind any of its system calls, or the call says that the disk is full. NAME.mitm on disk is the
 * old file or the new one, what a user wrote is there, nothing is left behind, and work goes on. */
#include "sets_support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum fault { NO_FAULT, END_BEFORE, END_WITHIN, END_BEHIND, DISK_FULL, DISK_STAYS_FULL };

/* What copy_file_range says where it cannot copy; 0: it can. With it go renameat2 without its flags
 * and a kernel without openat2. */
static int simple;

/* Which call it is that meets it. */
static enum fault fault;
static _Atomic unsigned calls;
static unsigned fault_at;

ssize_t __real_pwrite64(int descriptor, const void *data, size_t size, off_t offset);
ssize_t __wrap_pwrite64(int descriptor, const void *data, size_t size, off_t offset);
ssize_t __real_copy_file_range(int in, off_t *from, int out, off_t *to, size_t size,
                               unsigned flags);
ssize_t __wrap_copy_file_range(int in, off_t *from, int out, off_t *to, size_t size,
                               unsigned flags);
int __real_fsync(int descriptor);
int __wrap_fsync(int descriptor);
int __real_fdatasync(int descriptor);
int __wrap_fdatasync(int descriptor);
int __real_renameat(int old_folder, const char *old, int new_folder, const char *new);
int __wrap_renameat(int old_folder, const char *old, int new_folder, const char *new);
int __real_renameat2(int old_folder, const char *old, int new_folder, const char *new,
                     unsigned flags);
int __wrap_renameat2(int old_folder, const char *old, int new_folder, const char *new,
                     unsigned flags);
int __real_fstatat64(int folder, const char *name, struct stat64 *status, int flags);
int __wrap_fstatat64(int folder, const char *name, struct stat64 *status, int flags);
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
int __real_unlinkat(int folder, const char *name, int flags);
int __wrap_unlinkat(int folder, const char *name, int flags);

/* Whether this call meets the fault; the process may end here. */
static bool meets(bool can_fail)
{
    if (fault == NO_FAULT)
        return false;
    unsigned number = ++calls;
    if (fault == END_BEFORE && number == fault_at)
        _exit(7);
    bool full = (fault == DISK_FULL && number == fault_at) ||
                (fault == DISK_STAYS_FULL && number >= fault_at);
    if (full && can_fail)
        errno = ENOSPC;
    return full && can_fail;
}

static void end_behind(void)
{
    if ((fault == END_BEHIND || fault == END_WITHIN) && calls == fault_at)
        _exit(7);
}

static bool ends_within(void)
{
    return fault == END_WITHIN && calls == fault_at;
}

ssize_t __wrap_pwrite64(int descriptor, const void *data, size_t size, off_t offset)
{
    if (meets(true))
        return -1;
    ssize_t written = __real_pwrite64(descriptor, data, ends_within() ? size / 2 : size, offset);
    end_behind();
    return written;
}

ssize_t __wrap_copy_file_range(int in, off_t *from, int out, off_t *to, size_t size, unsigned flags)
{
    if (simple) {
        errno = simple;
        return -1;
    }
    if (meets(true))
        return -1;
    ssize_t copied =
        __real_copy_file_range(in, from, out, to, ends_within() ? size / 2 : size, flags);
    end_behind();
    return copied;
}

int __wrap_fsync(int descriptor)
{
    int result = meets(true) ? -1 : __real_fsync(descriptor);
    end_behind();
    return result;
}

int __wrap_fdatasync(int descriptor)
{
    int result = meets(true) ? -1 : __real_fdatasync(descriptor);
    end_behind();
    return result;
}

int __wrap_renameat(int old_folder, const char *old, int new_folder, const char *new)
{
    int result = meets(true) ? -1 : __real_renameat(old_folder, old, new_folder, new);
    end_behind();
    return result;
}

int __wrap_renameat2(int old_folder, const char *old, int new_folder, const char *new,
                     unsigned flags)
{
    if (simple) {
        errno = EINVAL;
        return -1;
    }
    int result = meets(true) ? -1 : __real_renameat2(old_folder, old, new_folder, new, flags);
    end_behind();
    return result;
}

/* The clock of file times ticks every ten milliseconds. */
static bool ticking;

int __wrap_fstatat64(int folder, const char *name, struct stat64 *status, int flags)
{
    int result = __real_fstatat64(folder, name, status, flags);
    if (result == 0 && ticking) {
        status->st_mtim.tv_nsec -= status->st_mtim.tv_nsec % 10000000;
        status->st_ctim.tv_nsec -= status->st_ctim.tv_nsec % 10000000;
    }
    return result;
}

/* The four arguments of openat2. */
long __wrap_syscall(long number, ...)
{
    va_list arguments;
    va_start(arguments, number);
    long folder = va_arg(arguments, int);
    void *path = va_arg(arguments, void *), *how = va_arg(arguments, void *);
    size_t size = va_arg(arguments, size_t);
    va_end(arguments);
    if (!simple)
        return __real_syscall(number, folder, path, how, size);
    errno = ENOSYS;
    return -1;
}

/* Removing needs no space. */
int __wrap_unlinkat(int folder, const char *name, int flags)
{
    meets(false);
    int result = __real_unlinkat(folder, name, flags);
    end_behind();
    return result;
}

static const struct test_flow first = {.id = "first", .start = "1700000100.5"};
static const struct test_flow second = {.id = "second", .start = "1700000200.5"};
static const struct test_flow third = {.id = "third", .start = "1700000300.5"};

/* A set of two flows, committed; then the third one is added. */
static void open_two(struct folder *staging)
{
    folder_open(staging);
    staging_add(staging, "fix/1", &first);
    staging_add(staging, "fix/2", &third);
    staging_settle();
    staging_close(staging_open(staging));
}

static struct buffer text_of(bool all)
{
    struct buffer text = BUFFER_INIT;
    put_flow(&text, &first);
    if (all)
        put_flow(&text, &second);
    put_flow(&text, &third);
    return text;
}

static void assert_old_or_new(const struct folder *staging)
{
    struct buffer file = folder_read(staging, "fix.mitm");
    struct buffer old = text_of(false), new = text_of(true);
    if (!bytes_equal(buffer_bytes(&file), buffer_bytes(&old)))
        assert_spans(buffer_bytes(&file), buffer_bytes(&new));
    buffer_free(&file);
    buffer_free(&old);
    buffer_free(&new);
}

/* All that a staging folder holds after all is well. */
static void assert_clean(const struct folder *staging)
{
    struct buffer new = text_of(true), file = folder_read(staging, "fix.mitm");
    assert_spans(buffer_bytes(&file), buffer_bytes(&new));
    buffer_free(&file);
    buffer_free(&new);
    assert_int_equal(staging_count(staging, ".flowfs"), 1);
    assert_int_equal(staging_count(staging, "fix"), 2);
}

static void edit_and_commit(const struct folder *staging, enum fault what, unsigned at)
{
    struct flow_error error = {0};
    struct sets *sets = staging_open(staging);
    staging_inode(sets, "fix");
    staging_add(staging, "fix/3", &second);
    sets_touch(sets);
    fault_at = at;
    fault = what;
    bool done = sets_commit(sets, "fix", &error);
    fault = NO_FAULT;
    _exit(done ? 0 : 8);
}

/* Returns false when the call's number was beyond the last one. */
static bool end_at(enum fault what, unsigned at)
{
    struct folder staging;
    int status;
    open_two(&staging);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        edit_and_commit(&staging, what, at);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_true(WEXITSTATUS(status) == 7 || WEXITSTATUS(status) == 0);
    assert_old_or_new(&staging);
    struct sets *sets = staging_open(&staging);
    assert_int_equal(staging_state(sets, "fix"), SETS_PACKED);
    struct buffer new = text_of(true);
    assert_pack(sets, "fix", buffer_bytes(&new));
    buffer_free(&new);
    staging_close(sets);
    assert_clean(&staging);
    folder_close(&staging);
    return WEXITSTATUS(status) == 7;
}

static void test_ends(void **state)
{
    (void)state;
    static const enum fault faults[] = {END_BEFORE, END_WITHIN, END_BEHIND};
    for (size_t i = 0; i < 3; i++) {
        unsigned at = 1;
        while (end_at(faults[i], at))
            at++;
        print_message("# %u calls\n", at - 1);
        assert_true(at > 7);
    }
}

static bool fill_at(enum fault what, unsigned at, bool close)
{
    struct folder staging;
    struct flow_error error = {0};
    open_two(&staging);
    struct sets *sets = staging_open(&staging);
    staging_inode(sets, "fix");
    staging_add(&staging, "fix/3", &second);
    sets_touch(sets);
    calls = 0;
    fault_at = at;
    fault = what;
    bool done = sets_commit(sets, "fix", &error);
    bool met = calls >= at;
    assert_true(done || error.code == ENOSPC);
    assert_old_or_new(&staging);
    if (!done)
        assert_true(met);
    /* One file may wait for its name. */
    assert_true(staging_count(&staging, ".flowfs") <= 2);
    fault = NO_FAULT;
    error = (struct flow_error){0};
    if (!close && !sets_commit(sets, "fix", &error))
        fail_msg("%s", error.message);
    if (!close)
        assert_clean(&staging);
    staging_close(sets);
    assert_clean(&staging);
    folder_close(&staging);
    return met;
}

static void test_disk_full(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        unsigned at = 1;
        while (fill_at(kind & 1 ? DISK_FULL : DISK_STAYS_FULL, at, kind & 2))
            at++;
        assert_true(at > 7);
    }
}

/* The errors of a broken set find no room. */
static void test_no_room_for_errors(void **state)
{
    (void)state;
    struct folder staging;
    struct flow_error error = {0};
    enum sets_state found;
    open_two(&staging);
    struct sets *sets = staging_open(&staging);
    staging_inode(sets, "fix");
    folder_write(&staging, "fix/1/request.headers", SPAN("GET"));
    sets_touch(sets);
    for (unsigned at = 1; at <= 3; at++) {
        calls = 0;
        fault_at = at;
        fault = DISK_STAYS_FULL;
        error = (struct flow_error){0};
        assert_false(sets_update(sets, "fix", &found, &error));
        assert_int_equal(error.code, ENOSPC);
        fault = NO_FAULT;
        assert_false(folder_has(&staging, "fix.errors"));
        assert_int_equal(staging_count(&staging, ".flowfs"), 1);
        assert_int_equal(sets_state_now(sets, "fix"), SETS_BROKEN);
    }
    assert_int_equal(staging_state(sets, "fix"), SETS_BROKEN);
    assert_true(folder_has(&staging, "fix.errors"));
    struct buffer old = text_of(false), file = folder_read(&staging, "fix.mitm");
    assert_spans(buffer_bytes(&file), buffer_bytes(&old));
    buffer_free(&old);
    buffer_free(&file);
    staging_close(sets);
    folder_close(&staging);
}

/* An edit within the tick in which the set was packed changes no time, nor any size. */
static void test_edit_in_a_tick(void **state)
{
    (void)state;
    struct folder staging;
    open_two(&staging);
    struct sets *sets = staging_open(&staging);
    ticking = true;
    for (int i = 0; i < 50; i++) {
        char body[16];
        snprintf(body, sizeof body, "%05d", i);
        folder_write(&staging, "fix/1/response.body", bytes_of(body));
        sets_touch(sets);
        struct buffer pack = staging_pack(sets, "fix");
        assert_non_null(memmem(pack.data, pack.size, body, 5));
        buffer_free(&pack);
    }
    ticking = false;
    staging_close(sets);
    folder_close(&staging);
}

static void test_simple_systems(void **state)
{
    (void)state;
    static const int codes[] = {EXDEV, EINVAL, ENOSYS, EOPNOTSUPP};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        struct folder staging;
        struct flow_error error = {0};
        open_two(&staging);
        simple = codes[i];
        folder_write(&staging, "fix.mitm~", SPAN("older"));
        folder_write(&staging, "fix.mitm", SPAN("mine"));
        staging_add(&staging, "fix/3", &second);
        struct sets *sets = staging_open(&staging);
        assert_true(sets_commit(sets, "fix", &error));
        staging_close(sets);
        assert_file(&staging, "fix.mitm~", "older");
        assert_file(&staging, "fix.mitm~2~", "mine");
        folder_remove(&staging, "fix.mitm~");
        folder_remove(&staging, "fix.mitm~2~");
        assert_clean(&staging);
        folder_close(&staging);
    }
    simple = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_disk_full),
        cmocka_unit_test(test_no_room_for_errors),
        cmocka_unit_test(test_edit_in_a_tick),
        cmocka_unit_test(test_simple_systems),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
