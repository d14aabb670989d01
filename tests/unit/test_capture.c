/* A capture's flows and gaps: what was put into the file is found where it was put. */
#include "support.h"

#include "capture.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define MOST 64

/* What is expected at one place of the file. */
struct expected {
    enum capture_item_kind kind;
    uint64_t offset, size;
    const char *id; /* of a flow */
};

struct file {
    struct buffer text;
    struct expected items[MOST];
    size_t count;
};

static void add(struct file *file, enum capture_item_kind kind, const char *id, size_t from)
{
    assert_true(file->count < MOST);
    file->items[file->count++] = (struct expected){kind, from, file->text.size - from, id};
}

static void add_flow(struct file *file, const char *id)
{
    size_t from = file->text.size;
    put_simple_flow(&file->text, id);
    add(file, CAPTURE_FLOW, id, from);
}

static void add_gap(struct file *file, struct bytes garbage)
{
    size_t from = file->text.size;
    buffer_append_bytes(&file->text, garbage);
    add(file, CAPTURE_GAP, NULL, from);
}

static void fail_item(const struct capture_item *item, const struct expected *expected)
{
    fail_msg("found kind %d at %" PRIu64 "+%" PRIu64
             " id \"%.*s\" (%s), expected kind %d at %" PRIu64 "+%" PRIu64 " id \"%s\"",
             item->kind, item->extent.offset, item->extent.size, (int)item->glance.id.size,
             (const char *)item->glance.id.data, item->error.message, expected->kind,
             expected->offset, expected->size, expected->id ? expected->id : "");
}

static void assert_loads(struct capture *capture, const struct capture_item *item, const char *id)
{
    struct capture_flow loaded;
    struct flow_error error = {0};
    if (!capture_load(capture, item->extent, item->handshake, &loaded, &error))
        fail_msg("flow %s: %s", id, error.message);
    assert_bytes(loaded.flow.id, id);
    capture_flow_close(&loaded);
}

static void assert_item(struct capture *capture, struct capture_scan *scan,
                        const struct expected *expected)
{
    struct flow_error error = {0};
    struct capture_item item;
    if (!capture_scan_next(scan, &item, &error))
        fail_msg("scan failed: %s", error.message);
    if (item.kind != expected->kind || item.extent.offset != expected->offset ||
        item.extent.size != expected->size)
        fail_item(&item, expected);
    assert_int_equal(error.code, 0);
    if (item.kind == CAPTURE_FLOW) {
        if (!bytes_equal_text(item.glance.id, expected->id))
            fail_item(&item, expected);
        assert_loads(capture, &item, expected->id);
    } else if (item.kind != CAPTURE_END) {
        assert_true(item.error.code != 0 && item.error.message[0]);
    }
}

/* Scans a file with these bytes and compares with what is said to be in it; frees the text. */
static void assert_scan(struct file *file)
{
    struct test_file disk;
    struct flow_error error = {0};
    test_file_open(&disk, buffer_bytes(&file->text));
    struct capture *capture = capture_open(disk.path, &error);
    if (!capture)
        fail_msg("%s", error.message);
    struct capture_scan *scan = capture_scan_open(capture, 0, &error);
    assert_non_null(scan);
    for (size_t i = 0; i < file->count; i++)
        assert_item(capture, scan, &file->items[i]);
    struct expected end = {CAPTURE_END, file->text.size, 0, NULL};
    bool partial = file->count && file->items[file->count - 1].kind == CAPTURE_PARTIAL;
    for (int again = 0; again < 2; again++)
        assert_item(capture, scan, partial ? &file->items[file->count - 1] : &end);
    capture_scan_close(scan);
    capture_close(capture);
    test_file_close(&disk);
    buffer_free(&file->text);
}

static void test_good(void **state)
{
    (void)state;
    struct file file = {.count = 0};
    assert_scan(&file); /* an empty file is a capture without flows */
    file = (struct file){.count = 0};
    for (int i = 0; i < 10; i++)
        add_flow(&file, "same-id");
    assert_scan(&file);
}

static void test_garbage_anywhere(void **state)
{
    (void)state;
    static const char *const garbage[] = {
        "garbage",
        "x",
        "\n",
        "12",
        "0:~",
        "1:a,",
        "0:}",
        "]}",
        "99999999999:",
        "1:a;1:b;",
        ":::::::",
        "5:hello;",
        "7:version",
        "1:a;0:~",
        "000000000000:1",
        "1234567890123:",
        "12:4:type;4:http;}",
        "{\"log\": 1}",
    };
    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++)
        for (int place = 0; place < 3; place++) {
            struct file file = {.count = 0};
            /* A file that starts like HAR is taken for HAR. */
            if (place == 0 && garbage[i][0] == '{')
                continue;
            if (place > 0)
                add_flow(&file, "one");
            add_gap(&file, bytes_of(garbage[i]));
            if (place < 2)
                add_flow(&file, "two");
            bool length_only = strspn(garbage[i], "0123456789") == strlen(garbage[i]);
            bool too_long =
                strcmp(garbage[i], "99999999999:") == 0 || strcmp(garbage[i], "7:version") == 0;
            /* In front of a flow, digits lengthen its prefix; nothing behind them, more may come.
             */
            if (length_only && place < 2) {
                buffer_free(&file.text);
                continue;
            }
            if (place == 2 && (length_only || too_long))
                file.items[file.count - 1].kind = CAPTURE_PARTIAL;
            assert_scan(&file);
        }
}

static void test_long_garbage(void **state)
{
    (void)state;
    struct file file = {.count = 0};
    uint64_t chance = 3;
    uint8_t *noise = malloc(700000);
    assert_non_null(noise);
    /* Digits and colons, so that lengths appear by chance; '}' never ends a dict with a type. */
    for (size_t i = 0; i < 700000; i++)
        noise[i] = (uint8_t) "0123456789:,;}"[test_random(&chance) % 14];
    noise[0] = 'x';
    noise[699999] = 'x';
    add_flow(&file, "before");
    add_gap(&file, bytes_make(noise, 700000));
    add_flow(&file, "after");
    for (size_t i = 0; i < 700000; i++)
        noise[i] = (uint8_t)test_random(&chance);
    noise[0] = noise[699999] = 'x';
    add_gap(&file, bytes_make(noise, 700000));
    add_flow(&file, "last");
    free(noise);
    assert_scan(&file);
}

/* Each digit of the middle flow's length, and each of its bytes in turn, is damaged: its neighbours
 * are found where they are, and what is between them is told. */
static void test_each_byte_damaged(void **state)
{
    (void)state;
    struct buffer middle = BUFFER_INIT;
    struct buffer outer = BUFFER_INIT;
    put_simple_flow(&middle, "middle");
    put_simple_flow(&outer, "outer");
    static const uint8_t damage[] = {'9', '1', '0', 'x', ':', '}', 0, 0xFF};
    for (size_t at = 0; at < middle.size; at++)
        for (size_t d = 0; d < sizeof damage; d++) {
            struct buffer text = BUFFER_INIT;
            struct test_file disk;
            struct flow_error error = {0};
            struct capture_item item;
            uint64_t reached = 0;
            int flows = 0;
            buffer_append_bytes(&text, buffer_bytes(&outer));
            buffer_append_bytes(&text, buffer_bytes(&middle));
            buffer_append_bytes(&text, buffer_bytes(&outer));
            text.data[outer.size + at] = damage[d];
            test_file_open(&disk, buffer_bytes(&text));
            struct capture *capture = capture_open(disk.path, &error);
            struct capture_scan *scan = capture_scan_open(capture, 0, &error);
            while (capture_scan_next(scan, &item, &error) && item.kind != CAPTURE_END) {
                /* Without holes and overlaps. */
                assert_int_equal(item.extent.offset, reached);
                reached += item.extent.size;
                assert_true(item.kind != CAPTURE_PARTIAL);
                if (item.kind == CAPTURE_FLOW && bytes_equal_text(item.glance.id, "outer")) {
                    flows++;
                    assert_true(item.extent.offset == 0 ||
                                item.extent.offset == outer.size + middle.size);
                    assert_int_equal(item.extent.size, outer.size);
                }
            }
            assert_int_equal(error.code, 0);
            assert_int_equal(reached, text.size);
            if (flows != 2)
                fail_msg("byte %zu of the middle flow set to 0x%02x: %d of 2 outer flows are found",
                         at, damage[d], flows);
            capture_scan_close(scan);
            capture_close(capture);
            test_file_close(&disk);
            buffer_free(&text);
        }
    buffer_free(&middle);
    buffer_free(&outer);
}

/* Whether the last flow is whole, is seen at every length of it. */
static void test_cut_anywhere(void **state)
{
    (void)state;
    struct buffer flow = BUFFER_INIT;
    put_simple_flow(&flow, "last");
    for (size_t size = 1; size < flow.size; size++) {
        struct file file = {.count = 0};
        add_flow(&file, "first");
        size_t from = file.text.size;
        buffer_append(&file.text, flow.data, size);
        add(&file, CAPTURE_PARTIAL, NULL, from);
        assert_scan(&file);
    }
    buffer_free(&flow);
}

/* A file that grows under the scan, by one byte at a time and by several flows. */
static void test_growing(void **state)
{
    (void)state;
    struct buffer flow = BUFFER_INIT;
    struct test_file disk;
    struct flow_error error = {0};
    put_simple_flow(&flow, "grown");
    test_file_open(&disk, bytes_of(""));
    test_file_append(&disk, buffer_bytes(&flow));
    struct capture *capture = capture_open(disk.path, &error);
    struct capture_scan *scan = capture_scan_open(capture, 0, &error);
    struct expected first = {CAPTURE_FLOW, 0, flow.size, "grown"};
    assert_item(capture, scan, &first);
    for (size_t size = 0; size < flow.size; size++) {
        struct expected waits = {size ? CAPTURE_PARTIAL : CAPTURE_END, flow.size, size, NULL};
        assert_item(capture, scan, &waits);
        test_file_append(&disk, bytes_make(flow.data + size, 1));
        assert_true(source_refresh(capture_source(capture), &error));
    }
    struct expected second = {CAPTURE_FLOW, flow.size, flow.size, "grown"};
    assert_item(capture, scan, &second);
    for (int i = 0; i < 3; i++)
        test_file_append(&disk, buffer_bytes(&flow));
    assert_true(source_refresh(capture_source(capture), &error));
    for (uint64_t i = 2; i < 5; i++) {
        struct expected next = {CAPTURE_FLOW, i * flow.size, flow.size, "grown"};
        assert_item(capture, scan, &next);
    }
    struct expected end = {CAPTURE_END, 5 * flow.size, 0, NULL};
    assert_item(capture, scan, &end);
    capture_scan_close(scan);
    /* A second scan goes on where the first one ended. */
    test_file_append(&disk, buffer_bytes(&flow));
    assert_true(source_refresh(capture_source(capture), &error));
    scan = capture_scan_open(capture, 5 * flow.size, &error);
    struct expected last = {CAPTURE_FLOW, 5 * flow.size, flow.size, "grown"};
    assert_item(capture, scan, &last);
    capture_scan_close(scan);
    capture_close(capture);
    test_file_close(&disk);
    buffer_free(&flow);
}

static struct bytes patterned(size_t size)
{
    uint8_t *data = malloc(size);
    assert_non_null(data);
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(i * 7 + (i >> 8) + (i >> 16));
    return bytes_make(data, size);
}

static void add_large_flow(struct file *file, const char *id, struct bytes body)
{
    size_t from = file->text.size;
    struct test_flow flow = {.id = id, .body = body, .response_body = body};
    put_flow(&file->text, &flow);
    add(file, CAPTURE_FLOW, id, from);
}

/* Around the sizes of the window (256 KB), of long strings and of records that are read whole. */
static void test_large_records(void **state)
{
    (void)state;
    static const size_t sizes[] = {100,           131000,        262144 / 2 - 400, 262144, 300000,
                                   (1 << 19) - 1, (1 << 20) / 2, (1 << 20) + 1,    3 << 20};
    struct bytes body = patterned(3 << 20);
    struct file file = {.count = 0};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        add_flow(&file, "small");
        add_large_flow(&file, "large", bytes_make(body.data, sizes[i]));
        add_gap(&file, bytes_of("gap"));
        add_large_flow(&file, "large", bytes_make(body.data, sizes[i]));
    }
    assert_scan(&file);
    free((void *)(uintptr_t)body.data);
}

/* The body of a flow above 1 MB stays in the file and is the same from there; one long string that
 * is no body is read all the same. */
static void test_sparse_body(void **state)
{
    (void)state;
    struct bytes body = patterned(2 << 20);
    struct buffer text = BUFFER_INIT;
    struct test_file disk;
    struct flow_error error = {0};
    struct capture_flow loaded;
    struct test_flow flow = {.id = "sparse", .body = body, .response_body = bytes_of("short")};
    buffer_append_text(&text, "some gap");
    put_flow(&text, &flow);
    test_file_open(&disk, buffer_bytes(&text));
    struct capture *capture = capture_open(disk.path, &error);
    struct capture_extent extent = {8, text.size - 8};
    struct capture_extent none = {0, 0};
    assert_true(capture_load(capture, extent, none, &loaded, &error));
    const struct value *content = loaded.flow.request.content;
    assert_int_equal(content->bytes.size, body.size);
    assert_null(content->bytes.data);
    assert_memory_equal(text.data + content->offset, body.data, body.size);
    assert_bytes(value_string(loaded.flow.response.content), "short");
    assert_bytes(loaded.flow.target.path, "/");
    capture_flow_close(&loaded);
    capture_flow_close(&loaded); /* harmless */
    extent.size++;
    assert_false(capture_load(capture, extent, none, &loaded, &error));
    assert_int_equal(error.code, EIO);
    capture_close(capture);
    test_file_close(&disk);
    buffer_free(&text);
    free((void *)(uintptr_t)body.data);
}

/* A body that is a flow file itself is a body. */
static void test_nested_file(void **state)
{
    (void)state;
    struct file file = {.count = 0};
    struct buffer inner = BUFFER_INIT;
    for (int i = 0; i < 3; i++)
        put_simple_flow(&inner, "inner");
    add_flow(&file, "one");
    add_large_flow(&file, "outer", buffer_bytes(&inner));
    add_flow(&file, "two");
    assert_scan(&file);
    buffer_free(&inner);
}

static void test_wrong_records(void **state)
{
    (void)state;
    static const char *const records[] = {
        "0:}",                                             /* no flow: nothing in it */
        "13:4:type;3:tcp;}",                               /* misses a version (and a byte) */
        "26:7:version;1:9;4:type;4:http;}",                /* version is text */
        "30:7:version;1:1#4:type;4:http;0:;}",             /* odd */
        "43:7:version;2:21#4:type;4:http;7:request;1:x;}", /* request is text */
    };
    for (size_t i = 0; i < sizeof records / sizeof *records; i++) {
        struct file file = {.count = 0};
        add_flow(&file, "one");
        add_gap(&file, bytes_of(records[i]));
        add_flow(&file, "two");
        assert_scan(&file);
    }
}

/* Versions that are not known are read as the newest; types that are not known are flows. */
static void test_newer_version(void **state)
{
    (void)state;
    struct file file = {.count = 0};
    struct buffer dict = BUFFER_INIT;
    member_text(&dict, "type", "quic-datagram");
    member_text(&dict, "id", "future");
    member_number(&dict, "version", 99);
    put_container(&file.text, '}', &dict);
    add(&file, CAPTURE_FLOW, "future", 0);
    add_flow(&file, "now");
    assert_scan(&file);
}

static void test_cut_short_under_us(void **state)
{
    (void)state;
    struct buffer text = BUFFER_INIT;
    struct test_file disk;
    struct flow_error error = {0};
    struct capture_flow loaded;
    put_simple_flow(&text, "cut");
    struct capture_extent extent = {0, text.size};
    struct capture_extent none = {0, 0};
    test_file_open(&disk, buffer_bytes(&text));
    struct capture *capture = capture_open(disk.path, &error);
    assert_int_equal(ftruncate(disk.descriptor, (off_t)text.size / 2), 0);
    assert_false(capture_load(capture, extent, none, &loaded, &error));
    assert_true(error.code == EIO || error.code == ESTALE);
    error = (struct flow_error){0};
    assert_false(source_refresh(capture_source(capture), &error));
    assert_int_equal(error.code, ESTALE);
    capture_close(capture);
    test_file_close(&disk);
    buffer_free(&text);
}

/* Many places where a flow could start, each with all of the file in front of its end: looking at
 * them must not take the square of the file's size. */
static void test_hostile_candidates(void **state)
{
    (void)state;
    struct buffer text = BUFFER_INIT;
    struct test_file disk;
    struct flow_error error = {0};
    struct capture_item item = {.kind = CAPTURE_GAP};
    struct timespec start, end;
    size_t size = 4 << 20;
    /* "NNNNNN:1:a;1:}" again and again, each NNNNNN so that the record ends at a '}'. */
    while (text.size < size)
        buffer_append_text(&text, "x900006:1:a;1:}");
    test_file_open(&disk, buffer_bytes(&text));
    struct capture *capture = capture_open(disk.path, &error);
    struct capture_scan *scan = capture_scan_open(capture, 0, &error);
    clock_gettime(CLOCK_MONOTONIC, &start);
    while (capture_scan_next(scan, &item, &error) && item.kind == CAPTURE_GAP)
        ;
    clock_gettime(CLOCK_MONOTONIC, &end);
    double seconds =
        (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9;
    print_message("# %zu bytes of places that look like flows: %.1f s\n", text.size, seconds);
    assert_true(seconds < 20);
    capture_scan_close(scan);
    capture_close(capture);
    test_file_close(&disk);
    buffer_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_garbage_anywhere),
        cmocka_unit_test(test_long_garbage),
        cmocka_unit_test(test_each_byte_damaged),
        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_growing),
        cmocka_unit_test(test_large_records),
        cmocka_unit_test(test_sparse_body),
        cmocka_unit_test(test_nested_file),
        cmocka_unit_test(test_wrong_records),
        cmocka_unit_test(test_newer_version),
        cmocka_unit_test(test_cut_short_under_us),
        cmocka_unit_test(test_hostile_candidates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
