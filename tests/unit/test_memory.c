/* No memory: each allocation of a whole pass over captures fails in turn, alone or with all that
 * follow. The answer is ENOMEM, or the same as with memory; nothing leaks, nothing crashes. */
#include "failing_memory.h"
#include "support.h"

#include "flowdir.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

/* What a pass has seen, as one number. */
struct pass {
    struct capture *capture;
    uint64_t seen;
    struct flow_error error;
};

static void see(struct pass *pass, struct bytes bytes)
{
    pass->seen = bytes_hash(bytes, pass->seen);
}

static bool see_file(struct pass *pass, struct flowdir *directory, enum flowdir_file file)
{
    struct buffer out = BUFFER_INIT;
    bool raw;
    struct flowdir_body *body = flowdir_body(directory, file, &raw);
    bool done;
    if (body) {
        done = flowdir_measure(directory, body, &pass->error);
        see(pass, bytes_make(&body->decoded_size, sizeof body->decoded_size));
        see(pass, bytes_of(body->decodes ? "decodes" : "does not"));
    } else {
        done = flowdir_render(directory, file, &out, &pass->error);
        see(pass, buffer_bytes(&out));
    }
    buffer_free(&out);
    return done;
}

static bool see_flow(struct pass *pass, const struct capture_item *item)
{
    struct capture_flow loaded;
    struct flowdir directory;
    if (!capture_load(pass->capture, item->extent, item->handshake, &loaded, &pass->error) ||
        !flowdir_open(&directory, &loaded, pass->capture, "memory.mitm", 1, 1 << 20, &pass->error))
        return false;
    bool done = true;
    for (int file = 0; done && file < FLOWDIR_FILES; file++)
        done = !flowdir_has(&directory, (enum flowdir_file)file) ||
               see_file(pass, &directory, (enum flowdir_file)file);
    for (size_t i = 1; done && i <= directory.message_count; i++)
        see(pass, value_string(flowdir_message(&directory, i).content));
    flowdir_close(&directory);
    return done;
}

static bool see_item(struct pass *pass, const struct capture_item *item)
{
    struct buffer site = BUFFER_INIT;
    see(pass, bytes_make(&item->kind, sizeof item->kind));
    see(pass, bytes_make(&item->extent, sizeof item->extent));
    if (item->kind != CAPTURE_FLOW)
        return true;
    see(pass, item->glance.id);
    flow_glance_site(&item->glance, &site);
    if (!site.failed)
        see(pass, buffer_bytes(&site));
    bool done = !site.failed || flow_error_memory(&pass->error);
    buffer_free(&site);
    return done && see_flow(pass, item);
}

static bool run(struct pass *pass, const char *path)
{
    struct capture_item item = {.kind = CAPTURE_GAP};
    *pass = (struct pass){.seen = 1};
    pass->capture = capture_open(path, &pass->error);
    struct capture_scan *scan =
        pass->capture ? capture_scan_open(pass->capture, 0, &pass->error) : NULL;
    bool done = scan != NULL;
    while (done && item.kind != CAPTURE_END)
        done = capture_scan_next(scan, &item, &pass->error) && see_item(pass, &item);
    capture_scan_close(scan);
    capture_close(pass->capture);
    return done;
}

static void run_with_failures(const char *what, struct bytes content)
{
    struct test_file file;
    struct pass normal, pass;
    test_file_open(&file, content);
    allocations = fail_at = 0;
    int before = live;
    if (!run(&normal, file.path))
        fail_msg("%s: %s", what, normal.error.message);
    assert_int_equal(live, before);
    size_t needed = allocations;
    print_message("# %s: %zu allocations\n", what, needed);
    for (int all = 0; all < 2; all++)
        for (size_t number = 1; number <= needed; number++) {
            allocations = 0;
            fail_at = number;
            fail_all = all;
            bool done = run(&pass, file.path);
            fail_at = 0;
            if (live != before)
                fail_msg("%s, allocation %zu fails%s: %d pieces of memory leak", what, number,
                         all ? " and all after it" : "", live - before);
            if (done && pass.seen != normal.seen)
                fail_msg("%s, allocation %zu fails%s: no error, and another answer", what, number,
                         all ? " and all after it" : "");
            if (!done && pass.error.code != ENOMEM)
                fail_msg("%s, allocation %zu fails%s: code %d, %s", what, number,
                         all ? " and all after it" : "", pass.error.code, pass.error.message);
        }
    test_file_close(&file);
}

static void put_http(struct buffer *out)
{
    struct buffer request = BUFFER_INIT;
    struct buffer response = BUFFER_INIT;
    static char long_value[3000];
    memset(long_value, 'v', sizeof long_value);
    /* Two of a name are joined; a name in IDNA's form is decoded. */
    put_field(&request, SPAN("Host"), SPAN("xn--mnchen-3ya.de"));
    put_field(&request, SPAN("host"), SPAN("second"));
    put_field(&response, SPAN("Content-Type"), SPAN("text/plain"));
    for (int i = 0; i < 30; i++)
        put_field(&response, SPAN("Content-Type"), bytes_make(long_value, sizeof long_value));
    put_field(&response, SPAN("Content-Encoding"), SPAN("identity"));
    put_field(&response, SPAN("Content-Encoding"), SPAN("deflate"));
    struct test_flow flow = {
        .id = "http",
        .headers = &request,
        .response_headers = &response,
        .response_body = SPAN("\x78\x9c\x4b\x4c\x4a\x06\x00\x02\x4d\x01\x27"),
    };
    put_flow(out, &flow);
    buffer_free(&request);
    buffer_free(&response);
}

static void put_tcp(struct buffer *out)
{
    struct buffer dict = BUFFER_INIT;
    struct buffer messages = BUFFER_INIT;
    struct buffer item = BUFFER_INIT;
    put_element(&item, '!', SPAN("true"));
    put_bytes(&item, SPAN("message"));
    put_element(&item, '^', SPAN("1.5"));
    put_container(&messages, ']', &item);
    member_container(&dict, "messages", ']', &messages);
    member_text(&dict, "type", "tcp");
    member_text(&dict, "id", "tcp");
    member_number(&dict, "version", 21);
    put_container(out, '}', &dict);
}

static void test_flow_file(void **state)
{
    (void)state;
    struct buffer text = BUFFER_INIT;
    put_http(&text);
    buffer_append_text(&text, "gap");
    put_tcp(&text);
    put_simple_flow(&text, "simple");
    run_with_failures("a flow file", buffer_bytes(&text));
    buffer_free(&text);
}

/* A record above 1 MB is read in parts. */
static void test_long_record(void **state)
{
    (void)state;
    static uint8_t body[3 << 19];
    struct buffer text = BUFFER_INIT;
    struct test_flow flow = {.id = "long", .body = bytes_make(body, sizeof body)};
    put_flow(&text, &flow);
    run_with_failures("a long record", buffer_bytes(&text));
    buffer_free(&text);
}

static void test_har(void **state)
{
    (void)state;
    static const char har[] =
        "{\"log\": {\"entries\": [{\"startedDateTime\": \"2023-11-14T22:13:20Z\", \"time\": 5, "
        "\"request\": {\"method\": \"POST\", \"url\": \"https://xn--mnchen-3ya.de/\xC3\xA9?a=b\", "
        "\"httpVersion\": \"HTTP/2\", \"headers\": [{\"name\": \"a\", \"value\": \"b\"}], "
        "\"postData\": {\"mimeType\": \"text/plain; charset=latin-1\", \"text\": \"\xC3\xA9\"}}, "
        "\"response\": {\"status\": 200, \"statusText\": \"OK\", \"httpVersion\": \"h2\", "
        "\"headers\": [[\"content-type\", \"text/html; charset=utf-16\"]], \"content\": "
        "{\"text\": \"aGVsbG8=\", \"encoding\": \"base64\"}}}]}}";
    run_with_failures("a HAR file", SPAN(har));
}

static size_t old_ones;

/* Old versions are migrated: the corpus has them. */
static void pass_over_capture(const char *path, void *context)
{
    const char *name = strrchr(path, '/') + 1;
    (void)context;
    if (strcmp(name, "dumpfile-011.mitm") != 0 && strcmp(name, "dumpfile-10.mitm") != 0 &&
        strcmp(name, "dumpfile-7.mitm") != 0)
        return;
    struct buffer content = test_read_file(path);
    run_with_failures(name, buffer_bytes(&content));
    buffer_free(&content);
    old_ones++;
}

static void test_old_versions(void **state)
{
    (void)state;
    test_captures(pass_over_capture, NULL);
    if (!old_ones) {
        print_message("# left out: no flow files of old versions\n");
        skip();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flow_file),
        cmocka_unit_test(test_long_record),
        cmocka_unit_test(test_har),
        cmocka_unit_test(test_old_versions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
