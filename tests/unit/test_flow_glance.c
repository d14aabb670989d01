/* The fast look at a record sees what a full reading sees. */
#include "support.h"

#include "capture.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct counts {
    size_t flows, glanced;
};

static void assert_target(const struct flow_target *fast, const struct flow_target *full)
{
    assert_spans(fast->method, full->method);
    assert_spans(fast->scheme, full->scheme);
    assert_spans(fast->authority, full->authority);
    assert_spans(fast->shown_authority, full->shown_authority);
    assert_spans(fast->host, full->host);
    assert_spans(fast->path, full->path);
    assert_spans(fast->http_version, full->http_version);
    assert_spans(fast->host_field, full->host_field);
    assert_int_equal(fast->has_host_field, full->has_host_field);
    assert_true(fast->port == full->port);
}

static void assert_glance(const struct flow_glance *fast, const struct flow_glance *full)
{
    assert_int_equal(fast->type, full->type);
    assert_spans(fast->id, full->id);
    assert_spans(fast->address_host, full->address_host);
    assert_true(fast->address_port == full->address_port);
    assert_true(fast->timestamp_start == full->timestamp_start);
    assert_true(fast->status_code == full->status_code);
    /* The glance has the file's version, the flow the one it was migrated to. */
    assert_true(full->version == (fast->version < 21 ? 21 : fast->version));
    assert_int_equal(fast->files, full->files);
    assert_int_equal(fast->is_websocket, full->is_websocket);
    assert_target(&fast->target, &full->target);
}

/* Reads the record at `extent` both ways; returns what the fast one said. What it remembers of one
 * record must not show in the next, whatever capture that is of. */
static enum flow_glance_result compare(const struct capture *capture, struct capture_extent extent)
{
    static struct flow_glance_memory memory;
    struct record record;
    struct flow_glance fast, full;
    struct flow_error error = {0};
    struct capture_flow loaded;
    struct capture_extent none = {0, 0};
    assert_true(
        record_open(&record, capture_source(capture), extent.offset, (size_t)extent.size, &error));
    enum flow_glance_result result = flow_glance(&record, &memory, &fast, &error);
    if (result == FLOW_GLANCE_DONE) {
        assert_int_equal(error.code, 0);
        if (!capture_load(capture, extent, none, &loaded, &error))
            fail_msg("glanced but not read: %s", error.message);
        flow_glance_of_flow(&loaded.flow, &full);
        assert_glance(&fast, &full);
        capture_flow_close(&loaded);
    }
    assert_true(result != FLOW_GLANCE_BROKEN || error.code);
    if (result == FLOW_GLANCE_BROKEN && capture_load(capture, extent, none, &loaded, &error))
        fail_msg("broken at a glance, but read: %s", error.message);
    record_close(&record);
    return result;
}

static void compare_capture(const char *path, void *context)
{
    struct counts *counts = context;
    struct flow_error error = {0};
    struct capture_item item;
    struct capture *capture = capture_open(path, &error);
    if (!capture)
        fail_msg("%s: %s", path, error.message);
    struct capture_scan *scan = capture_scan_open(capture, 0, &error);
    while (capture_format(capture) == CAPTURE_FLOW_FILE && capture_scan_next(scan, &item, &error) &&
           item.kind != CAPTURE_END) {
        if (item.kind != CAPTURE_FLOW)
            continue;
        counts->flows++;
        counts->glanced += compare(capture, item.extent) == FLOW_GLANCE_DONE;
    }
    assert_int_equal(error.code, 0);
    capture_scan_close(scan);
    capture_close(capture);
}

static void test_captures_agree(void **state)
{
    (void)state;
    struct counts counts = {0, 0};
    if (!test_captures(compare_capture, &counts))
        skip();
    print_message("# %zu flows, %zu of them by a glance\n", counts.flows, counts.glanced);
    assert_true(counts.glanced > 0);
}

static enum flow_glance_result compare_text(struct bytes text)
{
    struct test_file file;
    struct flow_error error = {0};
    test_file_open(&file, text);
    struct capture *capture = capture_open(file.path, &error);
    assert_non_null(capture);
    struct capture_extent extent = {0, text.size};
    enum flow_glance_result result = compare(capture, extent);
    capture_close(capture);
    test_file_close(&file);
    return result;
}

static void test_hand_made(void **state)
{
    (void)state;
    static uint8_t long_body[2 << 20];
    memset(long_body, 'x', sizeof long_body);
    static const size_t sizes[] = {0, 5, 400000, sizeof long_body};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int missing = 0; missing < 2; missing++) {
            struct buffer text = BUFFER_INIT;
            struct buffer headers = BUFFER_INIT;
            struct buffer response = BUFFER_INIT;
            put_field(&headers, SPAN("accept"), SPAN("*/*"));
            put_field(&headers, SPAN("HOST"), SPAN("Shop.example:8080"));
            put_field(&headers, SPAN("Content-Encoding"), SPAN("gzip"));
            put_field(&response, SPAN("content-encoding"), SPAN("identity"));
            struct test_flow flow = {
                .id = "hand",
                .headers = &headers,
                .body = bytes_make(long_body, sizes[i]),
                .response_headers = &response,
                .start = "1e9",
                .no_response = missing,
            };
            put_flow(&text, &flow);
            buffer_free(&headers);
            buffer_free(&response);
            assert_int_equal(compare_text(buffer_bytes(&text)), FLOW_GLANCE_DONE);
            buffer_free(&text);
        }
}

/* An address that is none, as only other writers make it, breaks no flow. */
static void test_odd_addresses(void **state)
{
    (void)state;
    static const char *const addresses[] = {"",        "0:~",      "1:a;",
                                            "1:a;0:~", "0:~2:80#", "1:a;2:80#3:0:~]"};
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        struct buffer text = BUFFER_INIT, dict = BUFFER_INIT, server = BUFFER_INIT;
        struct buffer address = BUFFER_INIT;
        buffer_append_text(&address, addresses[i]);
        member_container(&server, "peername", ']', &address);
        member_container(&dict, "server_conn", '}', &server);
        member_text(&dict, "type", "tcp");
        member_text(&dict, "id", "odd");
        member_number(&dict, "version", 21);
        put_container(&text, '}', &dict);
        assert_int_not_equal(compare_text(buffer_bytes(&text)), FLOW_GLANCE_BROKEN);
        buffer_free(&text);
    }
}

/* Every single byte of a flow is damaged in turn: no look goes astray, and errors are inside it. */
static void test_damaged(void **state)
{
    (void)state;
    static const char damage[] = "09:;,}]~#!^x";
    struct buffer text = BUFFER_INIT;
    put_simple_flow(&text, "damaged");
    size_t done = 0;
    for (size_t at = 0; at < text.size; at++)
        for (const char *to = damage; *to; to++) {
            uint8_t was = text.data[at];
            struct record record;
            struct flow_glance glance;
            struct flow_error error = {0};
            text.data[at] = (uint8_t)*to;
            record_borrow(&record, buffer_bytes(&text), 0);
            /* The scanner has seen to the outside of a record. */
            if (at > 4 && at + 1 < text.size &&
                flow_glance(&record, NULL, &glance, &error) == FLOW_GLANCE_DONE)
                done++;
            else if (error.code)
                assert_true(error.offset <= text.size);
            text.data[at] = was;
        }
    assert_true(done > 0);
    buffer_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_captures_agree),
        cmocka_unit_test(test_hand_made),
        cmocka_unit_test(test_odd_addresses),
        cmocka_unit_test(test_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
