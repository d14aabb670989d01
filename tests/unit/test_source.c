/* Captures as files, packed files and pipes. What is packed is packed by zlib, in gzip's format
 * too.
 */
#include "../../codec/source.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
/* cmocka wants some of the above first. */
#include <cmocka.h>
#include <zlib.h>

/* Allocation number `fail_at` fails (0: none), as --wrap at linking makes possible. */
static size_t allocations, fail_at;
static int live;
static bool no_tmpfile;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void __real_free(void *memory);
int __real_open(const char *path, int flags, mode_t mode);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void __wrap_free(void *memory);
int __wrap_open(const char *path, int flags, mode_t mode);
int __wrap_open64(const char *path, int flags, mode_t mode);

void *__wrap_malloc(size_t size)
{
    void *memory = ++allocations == fail_at ? NULL : __real_malloc(size);
    live += memory != NULL;
    return memory;
}

void *__wrap_calloc(size_t count, size_t size)
{
    void *memory = ++allocations == fail_at ? NULL : __real_calloc(count, size);
    live += memory != NULL;
    return memory;
}

void __wrap_free(void *memory)
{
    live -= memory != NULL;
    __real_free(memory);
}

/* Stands for a file system without O_TMPFILE. Called without a mode too: it is not used then. */
int __wrap_open(const char *path, int flags, mode_t mode)
{
    if (no_tmpfile && (flags & O_TMPFILE) == O_TMPFILE) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return __real_open(path, flags, mode);
}

int __wrap_open64(const char *path, int flags, mode_t mode)
{
    return __wrap_open(path, flags, mode);
}

static char folder[] = "/tmp/test_source.XXXXXX";
static struct bytes text;

static size_t count_entries(const char *path)
{
    DIR *directory = opendir(path);
    size_t count = 0;
    assert_non_null(directory);
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

static size_t count_descriptors(void)
{
    return count_entries("/proc/self/fd");
}

static int set_up(void **state)
{
    (void)state;
    static uint8_t content[300000];
    uint32_t random = 1;
    for (size_t i = 0; i < sizeof content; i++) {
        random = random * 1664525 + 1013904223;
        content[i] = i / 1000 % 2 ? (uint8_t)(random >> 24) : (uint8_t)('0' + i % 10);
    }
    text = bytes_make(content, sizeof content);
    return mkdtemp(folder) && chdir(folder) == 0 && setenv("TMPDIR", folder, 1) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    /* Every test has removed its files, and spools have no names. */
    return chdir("/") == 0 && rmdir(folder) == 0 ? 0 : -1;
}

static void append(const char *path, struct bytes content)
{
    FILE *file = fopen(path, "ab");
    assert_non_null(file);
    if (content.size)
        assert_int_equal(fwrite(content.data, 1, content.size, file), content.size);
    assert_int_equal(fclose(file), 0);
}

/* window: 31 gzip, 15 zlib. Freed by buffer_free. */
static struct buffer pack(struct bytes content, int window)
{
    struct buffer packed = BUFFER_INIT;
    z_stream zlib = {0};
    assert_int_equal(deflateInit2(&zlib, 6, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_true(buffer_reserve(&packed, deflateBound(&zlib, content.size)));
    zlib.next_in = (z_const Bytef *)(uintptr_t)content.data;
    zlib.avail_in = (unsigned)content.size;
    zlib.next_out = packed.data;
    zlib.avail_out = (unsigned)packed.capacity;
    assert_int_equal(deflate(&zlib, Z_FINISH), Z_STREAM_END);
    packed.size = zlib.total_out;
    deflateEnd(&zlib);
    return packed;
}

static struct source *open_well(const char *path)
{
    struct flow_error error = {0};
    struct source *source = source_open(path, &error);
    if (!source)
        fail_msg("%s: %s", path, error.message);
    return source;
}

static void check_content(const struct source *source, struct bytes expected)
{
    static uint8_t data[700000];
    struct flow_error error = {0};
    size_t got;
    assert_int_equal(source_size(source), expected.size);
    assert_true(source_read(source, 0, data, sizeof data, &got, &error));
    assert_true(bytes_equal(bytes_make(data, got), expected));
    if (expected.size > 10) {
        assert_true(source_read(source, expected.size - 5, data, 10, &got, &error));
        assert_int_equal(got, 5);
        assert_memory_equal(data, expected.data + expected.size - 5, 5);
    }
    static const uint64_t beyond[] = {1u << 30, INT64_MAX - 5, INT64_MAX, (uint64_t)INT64_MAX + 1,
                                      UINT64_MAX};
    for (size_t i = 0; i < sizeof beyond / sizeof beyond[0]; i++) {
        assert_true(source_read(source, beyond[i], data, 10, &got, &error));
        assert_int_equal(got, 0);
    }
}

/* Writes `packed` to a file and expects `content` back, with or without damage. */
static void check_unpacked(struct bytes packed, enum source_packing packing, struct bytes content,
                           const char *damage)
{
    append("packed", packed);
    size_t before = count_descriptors();
    struct source *source = open_well("packed");
    assert_int_equal(count_descriptors(), before + 1);
    /* The spool has no name: only the file, `.` and `..` are there. */
    assert_int_equal(count_entries(folder), 3);
    check_content(source, content);
    assert_int_equal(source_packing(source), packing);
    assert_int_equal(source_damage(source)->code, damage ? EBADMSG : 0);
    if (damage && !strstr(source_damage(source)->message, damage))
        fail_msg("%s", source_damage(source)->message);
    assert_int_equal(source_stat(source)->st_size, packed.size);
    assert_true(source_refresh(source, NULL));
    source_close(source);
    unlink("packed");
}

static void test_plain(void **state)
{
    (void)state;
    append("plain", text);
    struct source *source = open_well("plain");
    check_content(source, text);
    assert_int_equal(source_packing(source), SOURCE_PLAIN);
    assert_string_equal(source_path(source), "plain");
    assert_int_equal(source_stat(source)->st_size, text.size);
    assert_int_equal(source_damage(source)->code, 0);
    uint8_t byte;
    assert_int_equal(pread(source_descriptor(source), &byte, 1, 1), 1);
    assert_int_equal(byte, text.data[1]);
    source_close(source);
    unlink("plain");
    append("plain", bytes_make(NULL, 0));
    source = open_well("plain");
    check_content(source, bytes_make(NULL, 0));
    source_close(source);
    unlink("plain");
    source_close(NULL);
}

static void test_memory(void **state)
{
    (void)state;
    struct source *source = source_open_memory(text, NULL);
    check_content(source, text);
    assert_int_equal(source_descriptor(source), -1);
    assert_string_equal(source_path(source), "");
    assert_int_equal(source_stat(source)->st_ino, 0);
    assert_true(source_refresh(source, NULL));
    source_close(source);
}

/* The path is found again even if the process changes its directory. */
static void test_refresh(void **state)
{
    (void)state;
    struct flow_error error = {0};
    append("growing", text);
    struct source *source = open_well("growing");
    assert_true(source_refresh(source, &error));
    append("growing", bytes_of("more"));
    assert_int_equal(source_size(source), text.size);
    assert_int_equal(chdir("/"), 0);
    assert_true(source_refresh(source, &error));
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(source_size(source), text.size + 4);

    assert_int_equal(rename("growing", "moved"), 0);
    assert_false(source_refresh(source, &error));
    assert_int_equal(error.code, ESTALE);
    append("growing", text);
    error = (struct flow_error){0};
    assert_false(source_refresh(source, &error));
    assert_int_equal(error.code, ESTALE);
    assert_int_equal(rename("moved", "growing"), 0);
    assert_true(source_refresh(source, NULL));

    assert_int_equal(truncate("growing", 1000), 0);
    error = (struct flow_error){0};
    assert_false(source_refresh(source, &error));
    assert_int_equal(error.code, ESTALE);
    assert_int_equal(error.offset, 1000);
    assert_int_equal(source_size(source), text.size + 4);
    uint8_t data[100];
    size_t got;
    assert_true(source_read(source, 950, data, 100, &got, NULL));
    assert_int_equal(got, 50);
    append("growing", text);
    append("growing", text);
    assert_false(source_refresh(source, NULL));
    source_close(source);
    unlink("growing");
}

static void test_packed(void **state)
{
    (void)state;
    struct buffer gzip = pack(text, 31), zlib = pack(text, 15);
    check_unpacked(buffer_bytes(&gzip), SOURCE_GZIP, text, NULL);
    check_unpacked(buffer_bytes(&zlib), SOURCE_ZLIB, text, NULL);
    struct buffer twice = pack(buffer_bytes(&zlib), 31);
    check_unpacked(buffer_bytes(&twice), SOURCE_GZIP, text, NULL);
    struct buffer thrice = pack(buffer_bytes(&twice), 31);
    check_unpacked(buffer_bytes(&thrice), SOURCE_GZIP, buffer_bytes(&zlib), NULL);
    struct buffer empty = pack(bytes_make(NULL, 0), 31);
    check_unpacked(buffer_bytes(&empty), SOURCE_GZIP, bytes_make(NULL, 0), NULL);
    /* Neither gzip nor zlib. */
    static const char *const plain[] = {"\x1f",  "x",     "8",        "\x1f\x8c",
                                        "x\x9d", "x\xbb", "85:hello,"};
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        check_unpacked(bytes_of(plain[i]), SOURCE_PLAIN, bytes_of(plain[i]), NULL);
    buffer_free(&gzip);
    buffer_free(&zlib);
    buffer_free(&twice);
    buffer_free(&thrice);
    buffer_free(&empty);
}

static void test_members(void **state)
{
    (void)state;
    struct buffer packed = pack(text, 31), hello = pack(bytes_of("hello"), 31);
    struct buffer both = BUFFER_INIT;
    buffer_append_bytes(&both, text);
    buffer_append_text(&both, "hello");
    /* Also so much that the next member starts at, and across, the end of the window that is read
     * at once. */
    size_t size = packed.size;
    static const size_t paddings[] = {0, 1, 2, 3, 9973, 65534, 65535, 65536, 70000};
    for (size_t i = 0; i < sizeof paddings / sizeof paddings[0]; i++) {
        static const uint8_t zeros[70000];
        packed.size = size;
        buffer_append(&packed, zeros, paddings[i]);
        check_unpacked(buffer_bytes(&packed), SOURCE_GZIP, text, NULL);
        buffer_append_bytes(&packed, buffer_bytes(&hello));
        check_unpacked(buffer_bytes(&packed), SOURCE_GZIP, buffer_bytes(&both), NULL);
    }
    packed.size = size;
    buffer_append_text(&packed, "junk");
    check_unpacked(buffer_bytes(&packed), SOURCE_GZIP, text, "followed by");
    packed.size = size;
    buffer_append_text(&packed, "\x1f");
    check_unpacked(buffer_bytes(&packed), SOURCE_GZIP, text, "followed by");
    buffer_free(&packed);
    packed = pack(text, 15);
    buffer_append_text(&packed, "junk");
    check_unpacked(buffer_bytes(&packed), SOURCE_ZLIB, text, "followed by");
    buffer_free(&packed);
    /* So many that members start at every place of the window. */
    both.size = 0;
    for (int i = 0; i < 6000; i++) {
        buffer_append_bytes(&packed, buffer_bytes(&hello));
        buffer_append_text(&both, "hello");
    }
    check_unpacked(buffer_bytes(&packed), SOURCE_GZIP, buffer_bytes(&both), NULL);
    buffer_free(&packed);
    buffer_free(&hello);
    buffer_free(&both);
}

static void test_broken_off(void **state)
{
    (void)state;
    struct bytes content = bytes_make(text.data + 900, 500);
    struct buffer packed = pack(content, 31);
    for (size_t size = 2; size < packed.size; size++) {
        append("packed", bytes_make(packed.data, size));
        struct source *source = open_well("packed");
        uint8_t data[600];
        size_t got;
        assert_true(source_read(source, 0, data, sizeof data, &got, NULL));
        assert_int_equal(got, source_size(source));
        assert_memory_equal(data, content.data, got);
        assert_int_equal(source_damage(source)->code, EBADMSG);
        assert_int_equal(source_damage(source)->offset, size);
        assert_non_null(strstr(source_damage(source)->message, "packed: the gzip data end before"));
        if (size + 8 >= packed.size)
            assert_int_equal(got, content.size);
        source_close(source);
        unlink("packed");
    }
    packed.data[packed.size - 6] ^= 1;
    check_unpacked(buffer_bytes(&packed), SOURCE_GZIP, content, "incorrect data check");
    packed.data[2] = 9;
    check_unpacked(buffer_bytes(&packed), SOURCE_GZIP, bytes_make(NULL, 0), "compression method");
    buffer_free(&packed);
    /* Damage of the inner layer. */
    packed = pack(content, 15);
    packed.size -= 4;
    struct buffer outer = pack(buffer_bytes(&packed), 31);
    check_unpacked(buffer_bytes(&outer), SOURCE_GZIP, content, "inside its outer packing");
    buffer_free(&packed);
    buffer_free(&outer);
}

struct pipe_writer {
    const char *path; /* a FIFO; NULL: the descriptor */
    int descriptor;
    struct bytes content;
};

/* Writes in pieces that do not fit the reader's window. */
static void *write_pipe(void *context)
{
    struct pipe_writer *writer = context;
    int descriptor = writer->path ? __real_open(writer->path, O_WRONLY, 0) : writer->descriptor;
    for (size_t at = 0; at < writer->content.size;) {
        size_t left = writer->content.size - at;
        ssize_t part = write(descriptor, writer->content.data + at, left < 999 ? left : 999);
        if (part < 0)
            break;
        at += (size_t)part;
    }
    close(descriptor);
    return NULL;
}

static void check_pipe(struct bytes written, struct bytes content, bool nonblocking, bool fifo)
{
    struct pipe_writer writer = {.path = fifo ? "fifo" : NULL, .content = written};
    int ends[2], saved = dup(STDIN_FILENO);
    pthread_t thread;
    if (fifo) {
        assert_int_equal(mkfifo("fifo", 0600), 0);
    } else {
        assert_int_equal(pipe(ends), 0);
        assert_int_equal(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
        close(ends[0]);
        writer.descriptor = ends[1];
        if (nonblocking)
            assert_int_equal(fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK), 0);
    }
    assert_int_equal(pthread_create(&thread, NULL, write_pipe, &writer), 0);
    struct source *source = open_well(fifo ? "fifo" : "-");
    pthread_join(thread, NULL);
    check_content(source, content);
    assert_int_equal(source_stat(source)->st_ino, 0);
    assert_true(source_refresh(source, NULL));
    source_close(source);
    dup2(saved, STDIN_FILENO);
    close(saved);
    unlink("fifo");
}

static void test_pipes(void **state)
{
    (void)state;
    struct buffer packed = pack(text, 31);
    for (int i = 0; i < 3; i++) {
        check_pipe(text, text, i == 1, i == 2);
        check_pipe(buffer_bytes(&packed), text, i == 1, i == 2);
        check_pipe(bytes_make(NULL, 0), bytes_make(NULL, 0), i == 1, i == 2);
        check_pipe(bytes_of("5"), bytes_of("5"), i == 1, i == 2);
    }
    buffer_free(&packed);
}

/* Standard input that is a file: from where it stands. */
static void test_standard_input_file(void **state)
{
    (void)state;
    int saved = dup(STDIN_FILENO);
    append("plain", text);
    int descriptor = __real_open("plain", O_RDONLY, 0);
    assert_int_equal(dup2(descriptor, STDIN_FILENO), STDIN_FILENO);
    close(descriptor);
    for (off_t start = 0; start < 200000; start += 123456) {
        assert_int_equal(lseek(STDIN_FILENO, start, SEEK_SET), start);
        struct source *source = open_well("-");
        check_content(source, bytes_make(text.data + start, text.size - (size_t)start));
        append("plain", bytes_of("more"));
        assert_true(source_refresh(source, NULL));
        /* Only the file itself is followed. */
        assert_int_equal(source_size(source), text.size - (size_t)start + (start ? 0 : 4));
        source_close(source);
        unlink("plain");
        append("plain", text);
        descriptor = __real_open("plain", O_RDONLY, 0);
        dup2(descriptor, STDIN_FILENO);
        close(descriptor);
    }
    dup2(saved, STDIN_FILENO);
    close(saved);
    unlink("plain");
}

static void check_refused(const char *path, int code, const char *message)
{
    struct flow_error error = {0};
    int before = live;
    size_t descriptors = count_descriptors();
    assert_null(source_open(path, &error));
    assert_int_equal(error.code, code);
    if (!strstr(error.message, message))
        fail_msg("%s", error.message);
    assert_int_equal(live, before);
    assert_int_equal(count_descriptors(), descriptors);
}

static void test_refused(void **state)
{
    (void)state;
    check_refused("missing", ENOENT, "missing cannot be opened: No such file");
    check_refused("", ENOENT, "cannot be opened");
    check_refused(".", EISDIR, "is a folder");
    check_refused("/dev/fd/999", ENOENT, "cannot be opened");
    struct buffer packed = pack(text, 31);
    append("packed", buffer_bytes(&packed));
    setenv("TMPDIR", "/nowhere", 1);
    check_refused("packed", ENOENT, "can be made in /nowhere");
    setenv("TMPDIR", folder, 1);
    /* As on a full disk. */
    struct rlimit before;
    getrlimit(RLIMIT_FSIZE, &before);
    struct rlimit small = {200000, before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    check_refused("packed", EFBIG, "cannot be stored");
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, SIG_DFL);
    unlink("packed");
    buffer_free(&packed);
}

static void test_special_file(void **state)
{
    (void)state;
    struct source *source = open_well("/proc/self/status");
    assert_true(source_size(source) > 100);
    uint8_t data[5];
    size_t got;
    assert_true(source_read(source, 0, data, 5, &got, NULL));
    assert_memory_equal(data, "Name:", 5);
    source_close(source);
}

static void test_without_tmpfile(void **state)
{
    no_tmpfile = true;
    test_packed(state);
    setenv("TMPDIR", "/nowhere", 1);
    append("packed", bytes_of("\x1f\x8b"));
    check_refused("packed", ENOENT, "can be made in /nowhere");
    setenv("TMPDIR", folder, 1);
    no_tmpfile = false;
    unlink("packed");
}

static void test_no_memory(void **state)
{
    (void)state;
    struct buffer inner = pack(text, 15);
    struct buffer packed = pack(buffer_bytes(&inner), 31);
    append("packed", buffer_bytes(&packed));
    int before = live;
    size_t descriptors = count_descriptors();
    size_t failures = 0;
    for (bool done = false; !done; failures++) {
        struct flow_error error = {0};
        allocations = 0;
        fail_at = failures + 1;
        struct source *source = source_open("packed", &error);
        fail_at = 0;
        done = source;
        if (source)
            check_content(source, text);
        else
            assert_int_equal(error.code, ENOMEM);
        source_close(source);
        assert_int_equal(live, before);
        assert_int_equal(count_descriptors(), descriptors);
    }
    assert_true(failures > 8);
    allocations = 0;
    fail_at = 1;
    struct flow_error error = {0};
    assert_null(source_open_memory(text, &error));
    assert_int_equal(error.code, ENOMEM);
    fail_at = 0;
    unlink("packed");
    buffer_free(&inner);
    buffer_free(&packed);
}

static void *watch_size(void *context)
{
    const struct source *source = context;
    uint64_t size = 0;
    while (size < 50 * 4) {
        uint64_t now = source_size(source);
        if (now < size)
            return context;
        size = now;
    }
    return NULL;
}

static void test_size_while_growing(void **state)
{
    (void)state;
    append("growing", bytes_make(NULL, 0));
    struct source *source = open_well("growing");
    pthread_t thread;
    void *failed;
    assert_int_equal(pthread_create(&thread, NULL, watch_size, source), 0);
    for (int i = 0; i < 50; i++) {
        append("growing", bytes_of("more"));
        assert_true(source_refresh(source, NULL));
    }
    pthread_join(thread, &failed);
    assert_null(failed);
    source_close(source);
    unlink("growing");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_refresh),
        cmocka_unit_test(test_packed),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_broken_off),
        cmocka_unit_test(test_pipes),
        cmocka_unit_test(test_standard_input_file),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_special_file),
        cmocka_unit_test(test_without_tmpfile),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_size_while_growing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
