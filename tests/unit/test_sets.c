/* Sets packed: what is in the pack and in which order, what an edit costs, mistakes, versions. */
#include "sets_support.h"

#include "flowcat_dirs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define BODY(text)                                                                                 \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }

/* Three flows whose order by path is not that by time. */
static const struct test_flow flows[] = {
    {.id = "late", .start = "1700000300.5", .response_body = BODY("late")},
    {.id = "early", .start = "1700000100.5", .response_body = BODY("early")},
    {.id = "middle", .start = "1700000200.5", .response_body = BODY("middle")},
};

static struct buffer in_order(const size_t *order, size_t count)
{
    struct buffer text = BUFFER_INIT;
    for (size_t i = 0; i < count; i++)
        put_flow(&text, &flows[order[i]]);
    return text;
}

static void open_three(struct folder *staging, struct sets **sets)
{
    folder_open(staging);
    staging_add(staging, "fix/example.com/1", &flows[0]);
    staging_add(staging, "fix/example.com/2", &flows[1]);
    staging_add(staging, "fix/a/b/c", &flows[2]);
    staging_settle();
    *sets = staging_open(staging);
}

static void assert_order(struct sets *sets, size_t first, size_t second, size_t third)
{
    struct buffer expected = in_order((size_t[]){first, second, third}, 3);
    assert_pack(sets, "fix", buffer_bytes(&expected));
    buffer_free(&expected);
}

static void test_order(void **state)
{
    (void)state;
    struct folder staging;
    struct sets *sets;
    open_three(&staging, &sets);
    assert_int_equal(staging_state(sets, "fix"), SETS_PACKED);
    assert_order(sets, 1, 2, 0);
    struct buffer pack = staging_pack(sets, "fix"), file = folder_read(&staging, "fix.mitm");
    assert_spans(buffer_bytes(&file), buffer_bytes(&pack));
    buffer_free(&pack);
    buffer_free(&file);
    assert_int_equal(staging_count(&staging, ".flowfs"), 1);
    staging_close(sets);
    folder_close(&staging);
}

static void no_mistake(void *context, const char *what)
{
    (void)context;
    fail_msg("%s", what);
}

/* The same flows by flowcat's own way. */
static struct buffer pack_by_flowcat(const struct folder *staging, const char *set)
{
    char path[512];
    char *paths[] = {path};
    uint64_t mistakes = 0;
    struct flow_error error = {0};
    struct selection_options options = {0};
    struct buffer packed = BUFFER_INIT;
    snprintf(path, sizeof path, "%s/%s", staging->path, set);
    int spool = flowcat_pack(paths, 1, no_mistake, NULL, &mistakes, &error);
    struct selection *selection = selection_open(&options, &error);
    if (spool < 0 || !selection || !selection_add_descriptor(selection, spool, "x", &error))
        fail_msg("%s", error.message);
    selection_sort(selection);
    snprintf(path, sizeof path, "/proc/self/fd/%d", spool);
    struct buffer content = test_read_file(path);
    for (size_t i = 0; i < selection_count(selection); i++) {
        struct capture_extent extent = selection_flow(selection, i)->extent;
        buffer_append(&packed, content.data + extent.offset, (size_t)extent.size);
    }
    buffer_free(&content);
    selection_close(selection);
    close(spool);
    return packed;
}

static void test_like_flowcat(void **state)
{
    (void)state;
    struct folder staging;
    struct sets *sets;
    open_three(&staging, &sets);
    /* Paths are compared name by name: `a-` stands behind `a/`. Those that start at the same time
     * are in that order. */
    staging_add(&staging, "fix/a-/x", &flows[2]);
    staging_add(&staging, "fix/a/b/B", &flows[2]);
    staging_make(&staging, "fix/hand/1");
    folder_write(&staging, "fix/hand/1/request.headers", SPAN("GET http://a.test/ HTTP/1.1\n"));
    staging_make(&staging, "fix/dns");
    folder_write(&staging, "fix/dns/query.json",
                 SPAN("{\"id\": 1, \"timestamp\": 1600000000.5, \"questions\": []}"));
    staging_make(&staging, "fix/.git/x");
    folder_write(&staging, "fix/.git/x/request.headers", SPAN("broken"));
    staging_make(&staging, "fix/hand/1/inner");
    folder_write(&staging, "fix/hand/1/inner/request.headers", SPAN("broken"));
    assert_int_equal(symlinkat("a", openat(staging.descriptor, "fix", O_DIRECTORY), "link"), 0);
    sets_touch(sets);
    struct buffer expected = pack_by_flowcat(&staging, "fix");
    assert_non_null(memmem(expected.data, expected.size, "4:type;3:dns;", 13));
    assert_pack(sets, "fix", buffer_bytes(&expected));
    buffer_free(&expected);
    staging_close(sets);
    folder_close(&staging);
}

static void test_folder_is_flow(void **state)
{
    (void)state;
    struct folder staging;
    struct flow_error error = {0};
    folder_open(&staging);
    staging_make(&staging, "one");
    struct sets *sets = staging_open(&staging);
    /* A folder that never had a flow has no flow file; one that has none any more has an empty one.
     */
    assert_int_equal(staging_state(sets, "one"), SETS_EMPTY);
    assert_int_equal(sets_open_pack(sets, "one", NULL, &error), -1);
    assert_int_equal(error.code, ENOENT);
    assert_true(sets_commit(sets, "one", &error));
    assert_false(folder_has(&staging, "one.mitm"));
    folder_write(&staging, "one/request.headers", SPAN("GET http://a.test/ HTTP/1.1\n"));
    sets_touch(sets);
    struct buffer expected = pack_by_flowcat(&staging, "one");
    assert_pack(sets, "one", buffer_bytes(&expected));
    buffer_free(&expected);
    folder_remove(&staging, "one/request.headers");
    sets_touch(sets);
    assert_pack(sets, "one", bytes_of(""));
    assert_int_equal(staging_state(sets, "none"), SETS_MISSING);
    staging_close(sets);
    folder_close(&staging);
}

static void test_edit(void **state)
{
    (void)state;
    struct folder staging;
    struct sets *sets;
    open_three(&staging, &sets);
    uint64_t first = staging_inode(sets, "fix"), version = sets_version(sets, "fix");
    assert_true(version > 0);
    struct flow_error error = {0};
    int old = sets_open_pack(sets, "fix", NULL, &error);
    /* Nothing changed, or nothing that counts: the same file. */
    sets_touch(sets);
    assert_int_equal(staging_inode(sets, "fix"), first);
    assert_int_equal(utimensat(staging.descriptor, "fix/example.com/2/request.headers", NULL, 0),
                     0);
    folder_write(&staging, "fix/example.com/2/.request.headers.swp", SPAN("swap"));
    sets_touch(sets);
    assert_int_equal(staging_inode(sets, "fix"), first);
    assert_int_equal(sets_version(sets, "fix"), version);
    /* Without a touch nobody looks. */
    folder_edit(&staging, "fix/example.com/2/response.body", "early", "EARLY");
    assert_int_equal(staging_inode(sets, "fix"), first);
    sets_touch(sets);
    assert_true(staging_inode(sets, "fix") != first);
    assert_true(sets_version(sets, "fix") > version);
    struct buffer expected = pack_by_flowcat(&staging, "fix");
    assert_pack(sets, "fix", buffer_bytes(&expected));
    assert_non_null(memmem(expected.data, expected.size, "EARLY", 5));
    buffer_free(&expected);
    /* Who had the old one open has it still. */
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", old);
    struct buffer before = test_read_file(path), text = in_order((size_t[]){1, 2, 0}, 3);
    assert_spans(buffer_bytes(&before), buffer_bytes(&text));
    buffer_free(&before);
    buffer_free(&text);
    close(old);
    staging_close(sets);
    folder_close(&staging);
}

static void test_start_moves(void **state)
{
    (void)state;
    struct folder staging;
    struct sets *sets;
    open_three(&staging, &sets);
    assert_order(sets, 1, 2, 0);
    folder_edit(&staging, "fix/example.com/2/flow.json", "1700000100.5", "1700000900.5");
    sets_touch(sets);
    struct buffer expected = pack_by_flowcat(&staging, "fix"), pack = staging_pack(sets, "fix");
    assert_spans(buffer_bytes(&pack), buffer_bytes(&expected));
    const uint8_t *early = memmem(pack.data, pack.size, "5:early", 7);
    const uint8_t *late = memmem(pack.data, pack.size, "4:late", 6);
    assert_true(early && late && early > late);
    buffer_free(&pack);
    buffer_free(&expected);
    staging_remove(&staging, "fix/example.com/2");
    sets_touch(sets);
    expected = in_order((size_t[]){2, 0}, 2);
    assert_pack(sets, "fix", buffer_bytes(&expected));
    buffer_free(&expected);
    staging_close(sets);
    folder_close(&staging);
}

static void test_mistake(void **state)
{
    (void)state;
    struct folder staging;
    struct sets *sets;
    open_three(&staging, &sets);
    assert_order(sets, 1, 2, 0);
    uint64_t good = staging_inode(sets, "fix");
    folder_edit(&staging, "fix/example.com/2/request.headers", "GET ", "");
    folder_edit(&staging, "fix/a/b/c/request.headers", "Host:", "Host");
    sets_touch(sets);
    assert_int_equal(staging_state(sets, "fix"), SETS_BROKEN);
    assert_int_equal(sets_state_now(sets, "fix"), SETS_BROKEN);
    struct flow_error error = {0};
    assert_int_equal(sets_open_pack(sets, "fix", NULL, &error), -1);
    assert_int_equal(error.code, EBADMSG);
    assert_non_null(strstr(error.message, "fix has 2 mistakes, see fix.errors: a/b/c/request."
                                          "headers:2: found"));
    struct buffer told = folder_read(&staging, "fix.errors");
    assert_int_equal(strncmp((const char *)told.data, "a/b/c/request.headers:2: found", 30), 0);
    const char *second = memmem(told.data, told.size, "\nexample.com/2/request.headers:1: ", 34);
    assert_non_null(second);
    assert_int_equal(told.data[told.size - 1], '\n');
    buffer_free(&told);
    struct buffer last = folder_read(&staging, "fix.mitm"), text = in_order((size_t[]){1, 2, 0}, 3);
    assert_spans(buffer_bytes(&last), buffer_bytes(&text));
    error = (struct flow_error){0};
    assert_true(sets_commit(sets, "fix", &error));
    /* One is put right, the other still wrong; then both as they were. */
    folder_edit(&staging, "fix/a/b/c/request.headers", "Host", "Host:");
    sets_touch(sets);
    assert_int_equal(staging_state(sets, "fix"), SETS_BROKEN);
    folder_edit(&staging, "fix/example.com/2/request.headers", "http://", "GET http://");
    sets_touch(sets);
    assert_int_equal(staging_state(sets, "fix"), SETS_PACKED);
    assert_int_equal(staging_inode(sets, "fix"), good);
    assert_false(folder_has(&staging, "fix.errors"));
    assert_pack(sets, "fix", buffer_bytes(&text));
    buffer_free(&last);
    buffer_free(&text);
    staging_close(sets);
    folder_close(&staging);
}

/* More flows than are packed at once: what was packed beside the mistakes is of use later. */
static void test_many_mistakes(void **state)
{
    (void)state;
    struct folder staging;
    folder_open(&staging);
    for (int i = 0; i < 1300; i++) {
        char name[64], line[96];
        snprintf(name, sizeof name, "fix/%04d", i);
        staging_make(&staging, name);
        snprintf(name, sizeof name, "fix/%04d/request.headers", i);
        snprintf(line, sizeof line, "%s http://a.test/%d HTTP/1.1\n", i == 700 ? "" : "GET", i);
        folder_write(&staging, name, bytes_of(line));
    }
    staging_settle();
    struct sets *sets = staging_open(&staging);
    assert_int_equal(staging_state(sets, "fix"), SETS_BROKEN);
    assert_false(folder_has(&staging, "fix.mitm"));
    assert_int_equal(staging_count(&staging, ".flowfs"), 1);
    /* All that is good stands in the file without a name, and is the pack without the mistake. */
    staging_remove(&staging, "fix/0700");
    sets_touch(sets);
    assert_int_equal(staging_state(sets, "fix"), SETS_PACKED);
    struct buffer expected = pack_by_flowcat(&staging, "fix");
    assert_pack(sets, "fix", buffer_bytes(&expected));
    buffer_free(&expected);
    assert_true(folder_has(&staging, "fix.mitm"));
    /* A few mistakes in a set that was good. */
    folder_write(&staging, "fix/0000/request.headers", SPAN("GET"));
    folder_write(&staging, "fix/1299/response.headers", SPAN("?"));
    sets_touch(sets);
    assert_int_equal(staging_state(sets, "fix"), SETS_BROKEN);
    staging_remove(&staging, "fix/0000");
    staging_remove(&staging, "fix/1299");
    sets_touch(sets);
    expected = pack_by_flowcat(&staging, "fix");
    assert_pack(sets, "fix", buffer_bytes(&expected));
    buffer_free(&expected);
    staging_close(sets);
    folder_close(&staging);
}

static void test_unreadable(void **state)
{
    (void)state;
    struct folder staging;
    struct sets *sets;
    open_three(&staging, &sets);
    assert_order(sets, 1, 2, 0);
    assert_int_equal(unlinkat(staging.descriptor, "fix/a/b/c/request.headers", 0), 0);
    assert_int_equal(symlinkat("/etc/passwd", staging.descriptor, "fix/a/b/c/request.headers"), 0);
    sets_touch(sets);
    assert_int_equal(staging_state(sets, "fix"), SETS_BROKEN);
    struct buffer told = folder_read(&staging, "fix.errors");
    assert_bytes(buffer_bytes(&told), "a/b/c/request.headers: found a symbolic link, expected a "
                                      "plain file\n");
    buffer_free(&told);
    char deep[512] = "fix";
    for (int i = 0; i < 101; i++)
        strcat(deep, "/d");
    staging_make(&staging, deep);
    staging_remove(&staging, "fix/a");
    sets_touch(sets);
    assert_int_equal(staging_state(sets, "fix"), SETS_BROKEN);
    told = folder_read(&staging, "fix.errors");
    assert_non_null(
        memmem(told.data, told.size, SPAN(": found folders nested deeper than 100, ").data, 40));
    buffer_free(&told);
    staging_remove(&staging, "fix/d");
    sets_touch(sets);
    assert_int_equal(staging_state(sets, "fix"), SETS_PACKED);
    staging_close(sets);
    folder_close(&staging);
}

static char lines[4096];

static void keep_line(void *context, const char *line)
{
    (void)context;
    strcat(lines, line);
    strcat(lines, "\n");
}

static void test_older_version(void **state)
{
    (void)state;
    struct folder staging;
    struct flow_error error = {0};
    folder_open(&staging);
    staging_make(&staging, "fix/a");
    folder_write(&staging, "fix/a/request.headers", SPAN("GET http://a.test/ HTTP/1.1\n"));
    staging_make(&staging, "fix/udp");
    folder_write(&staging, "fix/udp/flow.json", SPAN("{\"type\": \"udp\"}"));
    assert_null(sets_open(staging.descriptor, 16, keep_line, NULL, &error));
    assert_int_equal(error.code, ENOTSUP);
    error = (struct flow_error){0};
    struct sets *sets = sets_open(staging.descriptor, 17, keep_line, NULL, &error);
    assert_non_null(sets);
    struct buffer pack = staging_pack(sets, "fix");
    assert_non_null(memmem(pack.data, pack.size, "7:version;2:17#", 15));
    assert_null(memmem(pack.data, pack.size, "udp", 3));
    buffer_free(&pack);
    assert_non_null(strstr(lines, "fix.mitm: udp: "));
    size_t told = strlen(lines);
    folder_write(&staging, "fix/udp/comment", SPAN("ignored"));
    sets_touch(sets);
    assert_int_equal(staging_state(sets, "fix"), SETS_PACKED);
    assert_int_equal(strlen(lines), told);
    staging_close(sets);
    folder_close(&staging);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),          cmocka_unit_test(test_like_flowcat),
        cmocka_unit_test(test_folder_is_flow), cmocka_unit_test(test_edit),
        cmocka_unit_test(test_start_moves),    cmocka_unit_test(test_mistake),
        cmocka_unit_test(test_many_mistakes),  cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_older_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
