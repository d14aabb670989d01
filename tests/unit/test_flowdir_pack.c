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
    if (getenv("SHOW") && memmem(json.data, json.size, "\"flowfs\"", 8)) {
        char *at = memmem(json.data, json.size, "\"flowfs\"", 8);
        printf("%s %.*s\n", what, (int)(json.size - (size_t)(at - (char *)json.data)), at);
    }
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_captures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
