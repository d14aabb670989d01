/* Packing gives back what was unpacked, byte for byte: of every flow of every capture, and of odd
 * flows made here. What it makes of edits is in test_flowdir_edit.c. */
#include "pack_support.h"

#include "capture.h"
#include "tnet.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static size_t flows_seen, notes_seen;

static void compare_flow(struct capture *capture, const struct capture_item *item, const char *what)
{
    struct capture_flow loaded;
    struct flowdir directory;
    struct folder folder;
    struct flow_error error = {0};
    struct buffer expected = BUFFER_INIT;
    if (!capture_load(capture, item->extent, item->handshake, &loaded, &error))
        return; /* whatever is wrong with it: there is no directory then */
    if (loaded.record.filled) {
        capture_flow_close(&loaded);
        return; /* contents are not in memory: test_large has them */
    }
    if (!tnet_write(loaded.flow.state, &expected, &error))
        fail_msg("%s: %s", what, error.message);
    if (!flowdir_open(&directory, &loaded, capture, "x", 1, 1 << 26, &error))
        fail_msg("%s: %s", what, error.message);
    folder_open(&folder);
    if (!flowdir_unpack(&directory, folder.descriptor, &error))
        fail_msg("%s: %s", what, error.message);
    struct buffer found = folder_pack(&folder);
    if (!bytes_equal(buffer_bytes(&found), buffer_bytes(&expected)))
        print_error("%s, flow at %" PRIu64 "\n", what, item->extent.offset);
    assert_spans(buffer_bytes(&found), buffer_bytes(&expected));
    struct buffer json = folder_read(&folder, "flow.json");
    notes_seen += memmem(json.data, json.size, "\"flowfs\"", 8) != NULL;
    buffer_free(&json);
    buffer_free(&expected);
    buffer_free(&found);
    folder_close(&folder);
    flowdir_close(&directory);
    flows_seen++;
}

static void compare_capture(const char *path, void *context)
{
    struct flow_error error = {0};
    struct capture *capture = capture_open(path, &error);
    struct capture_scan *scan = capture ? capture_scan_open(capture, 0, &error) : NULL;
    struct capture_item item = {.kind = CAPTURE_GAP};
    (void)context;
    while (scan && item.kind != CAPTURE_END && item.kind != CAPTURE_PARTIAL) {
        assert_true(capture_scan_next(scan, &item, &error));
        if (item.kind == CAPTURE_FLOW)
            compare_flow(capture, &item, path);
    }
    capture_scan_close(scan);
    capture_close(capture);
}

static void test_all_captures(void **state)
{
    (void)state;
    test_captures(compare_capture, NULL);
    print_message("# %zu flows, %zu with notes\n", flows_seen, notes_seen);
    assert_true(flows_seen > 20);
}

/* A body that stays in the capture: the record of the file is the expected answer. */
static void test_long_bodies(void **state)
{
    (void)state;
    static uint8_t body[3 << 20];
    static const char *const encodings[] = {"identity", "gzip"};
    uint64_t seed = 3;
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (uint8_t)test_random(&seed);
    for (int i = 0; i < 2; i++) {
        struct folder folder;
        struct buffer text = BUFFER_INIT, expected = BUFFER_INIT, response = BUFFER_INIT;
        put_field(&response, SPAN("Content-Encoding"), bytes_of(encodings[i]));
        put_field(&response, SPAN("Content-Length"), SPAN("3145728"));
        struct test_flow flow = {.id = "long",
                                 .response_headers = &response,
                                 .response_body = bytes_make(body, sizeof body)};
        put_flow(&text, &flow);
        buffer_append_bytes(&expected, buffer_bytes(&text));
        folder_unpack(&folder, &text);
        struct buffer found = folder_pack(&folder);
        assert_true(bytes_equal(buffer_bytes(&found), buffer_bytes(&expected)));
        buffer_free(&found);
        buffer_free(&expected);
        folder_close(&folder);
    }
}

/* What may stand anywhere in an odd flow. */
static struct value *make_odd(struct arena *arena, uint64_t *seed)
{
    static const char *const texts[] = {"",     "a",       "/x",  "a\nb",     "\xFF",
                                        "http", "CONNECT", "a b", "HTTP/1.1", "http://a/",
                                        "200",  "gzip",    "*",   "a:1"};
    struct bytes text = bytes_of(texts[test_random(seed) % 14]);
    struct value *value;
    switch (test_random(seed) % 10) {
    case 0:
        return value_null(arena);
    case 1:
        return value_bool(arena, test_random(seed) % 2);
    case 2:
        return value_int(arena, test_random(seed) % 1000);
    case 3:
        return value_float(arena, test_random(seed) % 100 / 4.0);
    case 4:
    case 5:
        return value_text(arena, text);
    case 6:
        value = value_list(arena);
        for (uint32_t i = test_random(seed) % 4; i > 0; i--)
            value_append(value, make_odd(arena, seed));
        return value;
    case 7:
        value = value_dict(arena);
        for (uint32_t i = test_random(seed) % 3; i > 0; i--)
            value_append_member(value, value_text(arena, bytes_of("bytes")), make_odd(arena, seed));
        return value;
    default:
        return value_bytes(arena, text);
    }
}

/* Another dict: members left out, twice, elsewhere in it, with other values, below another name. */
static struct value *disturb(struct arena *arena, uint64_t *seed, const struct value *dict)
{
    static const char *const names[] = {"flowfs", "dict", "msg", "content", "headers", "trailers"};
    struct value *made = value_dict(arena);
    uint32_t chance = 3 + test_random(seed) % 30;
    for (const struct value *member = dict->first; member; member = member->next) {
        struct value *key = value_copy(arena, member->key);
        struct value *copy = value_copy(arena, member);
        if (test_random(seed) % chance == 0)
            continue;
        if (test_random(seed) % chance == 0)
            key = value_text(arena, bytes_of(names[test_random(seed) % 6]));
        if (test_random(seed) % (4 * chance) == 0)
            key->kind = VALUE_BYTES;
        if (test_random(seed) % chance == 0)
            copy = make_odd(arena, seed);
        else if (copy->kind == VALUE_DICT && test_random(seed) % 2)
            copy = disturb(arena, seed, copy);
        if (test_random(seed) % chance == 0)
            value_append_member(made, value_copy(arena, key), make_odd(arena, seed));
        if (test_random(seed) % chance == 0)
            value_prepend_member(made, key, copy);
        else
            value_append_member(made, key, copy);
        for (struct value *item = copy->kind == VALUE_LIST ? copy->first : NULL; item;
             item = item->next)
            if (test_random(seed) % (4 * chance) == 0)
                value_append(item->kind == VALUE_LIST ? item : copy, make_odd(arena, seed));
    }
    return made;
}

static struct packed open_base(int kind)
{
    struct folder folder;
    folder_open(&folder);
    if (kind == 0) {
        folder_write(&folder, "request.headers",
                     SPAN("POST http://example.com:81/a HTTP/2.0\na: b\n"));
        folder_write(&folder, "request.body", SPAN("upload"));
        folder_write(&folder, "request.trailers", SPAN("t: u\n"));
        folder_write(&folder, "response.headers",
                     SPAN("HTTP/1.1 200 OK\nContent-Encoding: gzip\nContent-Length: 1\n"));
        folder_write(&folder, "response.body", SPAN("hello"));
        folder_write(&folder, "messages/0001-client.txt", SPAN("one"));
        folder_write(&folder, "messages/0002-server.bin", SPAN("two"));
        folder_write(&folder, "error", SPAN("broken\n"));
    } else if (kind == 1) {
        folder_write(&folder, "flow.json", SPAN("{\"type\": \"tcp\"}"));
        folder_write(&folder, "messages/0001-client.txt", SPAN("one"));
        folder_write(&folder, "messages/0002-server.bin", SPAN("two"));
    } else if (kind == 2) {
        folder_write(&folder, "query.json", SPAN("{\"id\": 1}"));
        folder_write(&folder, "answer.json", SPAN("{\"id\": 2}"));
    } else {
        folder_write(&folder, "request.headers", SPAN("CONNECT a:1 HTTP/1.1\n"));
    }
    struct packed packed = packed_open(&folder);
    folder_close(&folder);
    return packed;
}

static bool opens(struct bytes text, struct flowdir *directory, struct capture **capture,
                  struct test_file *file)
{
    struct flow_error error = {0};
    struct capture_flow loaded;
    test_file_open(file, text);
    *capture = capture_open(file->path, &error);
    if (*capture &&
        capture_load(*capture, (struct capture_extent){0, text.size}, (struct capture_extent){0, 0},
                     &loaded, &error) &&
        flowdir_open(directory, &loaded, *capture, "x", 1, 1 << 20, &error))
        return true;
    capture_close(*capture);
    test_file_close(file);
    return false;
}

/* Odd flows, whatever is odd about them, are packed to their own record. */
static void test_odd_flows(void **state)
{
    (void)state;
    size_t packed_flows = 0;
    struct packed bases[4];
    const char *rounds = getenv("FLOWFS_ROUNDS");
    uint64_t last = rounds ? strtoull(rounds, NULL, 10) : 2000;
    for (int i = 0; i < 4; i++)
        bases[i] = open_base(i);
    for (uint64_t round = 1; round <= last; round++) {
        uint64_t seed = round;
        struct flow_error error = {0};
        struct arena *arena = arena_new();
        struct buffer text = BUFFER_INIT;
        struct flowdir directory;
        struct capture *capture;
        struct test_file file;
        struct folder folder;
        struct value *flow = disturb(arena, &seed, bases[test_random(&seed) % 4].state);
        assert_true(tnet_write(flow, &text, &error));
        if (opens(buffer_bytes(&text), &directory, &capture, &file)) {
            folder_open(&folder);
            if (!flowdir_unpack(&directory, folder.descriptor, &error))
                fail_msg("round %" PRIu64 ": %s", round, error.message);
            struct value *again;
            struct buffer found = BUFFER_INIT;
            if (!flowdir_pack(folder.descriptor, arena, &again, &error) ||
                !tnet_write(again, &found, &error))
                fail_msg("round %" PRIu64 ", %s: %s", round, folder.path, error.message);
            if (!bytes_equal(buffer_bytes(&found), buffer_bytes(&text)))
                print_error("round %" PRIu64 ", %s\n", round, folder.path);
            assert_spans(buffer_bytes(&found), buffer_bytes(&text));
            buffer_free(&found);
            folder_close(&folder);
            flowdir_close(&directory);
            capture_close(capture);
            test_file_close(&file);
            packed_flows++;
        }
        buffer_free(&text);
        arena_free(arena);
    }
    for (int i = 0; i < 4; i++)
        packed_close(&bases[i]);
    print_message("# %zu odd flows\n", packed_flows);
    assert_true(packed_flows > last / 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_captures),
        cmocka_unit_test(test_long_bodies),
        cmocka_unit_test(test_odd_flows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
