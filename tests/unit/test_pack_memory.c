/* No memory: each allocation of packing fails in turn, alone or with all that follow. The answer is
 * ENOMEM, or the same as with memory; nothing leaks, nothing crashes. */
#include "failing_memory.h"
#include "pack_support.h"

#include "tnet.h"

#include <errno.h>
#include <stdio.h>

void *__real_arena_alloc(struct arena *arena, size_t size);
struct bytes __real_arena_copy(struct arena *arena, struct bytes text);
void *__wrap_arena_alloc(struct arena *arena, size_t size);
struct bytes __wrap_arena_copy(struct arena *arena, struct bytes text);

/* An arena seldom asks for memory: what it gives may fail each time, too. */
void *__wrap_arena_alloc(struct arena *arena, size_t size)
{
    return fails() ? NULL : __real_arena_alloc(arena, size);
}

struct bytes __wrap_arena_copy(struct arena *arena, struct bytes text)
{
    return fails() ? bytes_make(NULL, text.size) : __real_arena_copy(arena, text);
}

static bool pack(const struct folder *folder, struct buffer *record, struct flow_error *error)
{
    struct value *state;
    struct arena *arena = arena_new();
    *error = (struct flow_error){0};
    *record = (struct buffer)BUFFER_INIT;
    if (!arena)
        return flow_error_memory(error);
    bool done =
        flowdir_pack(folder->descriptor, arena, &state, error) && tnet_write(state, record, error);
    arena_free(arena);
    return done;
}

static void pack_with_failures(const char *what, const struct folder *folder)
{
    struct flow_error error;
    struct buffer normal, record;
    allocations = fail_at = 0;
    int before = live;
    if (!pack(folder, &normal, &error))
        fail_msg("%s: %s", what, error.message);
    size_t needed = allocations;
    assert_int_equal(live, before + 1);
    print_message("# %s: %zu allocations\n", what, needed);
    for (int all = 0; all < 2; all++)
        for (size_t number = 1; number <= needed; number++) {
            allocations = 0;
            fail_at = number;
            fail_all = all;
            bool done = pack(folder, &record, &error);
            fail_at = 0;
            if (!done && error.code != ENOMEM)
                fail_msg("%s, allocation %zu fails: %d, %s", what, number, error.code,
                         error.message);
            if (done && !bytes_equal(buffer_bytes(&record), buffer_bytes(&normal)))
                fail_msg("%s, allocation %zu fails: no error, and another record", what, number);
            buffer_free(&record);
            if (live != before + 1)
                fail_msg("%s, allocation %zu fails: %d pieces of memory leak", what, number,
                         live - before - 1);
        }
    buffer_free(&normal);
}

static char long_text[20000];

/* An odd flow, edited, so that nearly every way through packing is taken. */
static void test_edited(void **state)
{
    (void)state;
    struct folder folder;
    struct buffer text = BUFFER_INIT, request = BUFFER_INIT, response = BUFFER_INIT;
    memset(long_text, 'x', sizeof long_text);
    put_field(&request, SPAN("Host"), SPAN("example.com"));
    put_field(&request, SPAN("x"), SPAN("a\nb"));
    put_field(&request, SPAN("y"), bytes_make(long_text, sizeof long_text));
    put_field(&response, SPAN("Content-Encoding"), SPAN("deflate, br, gzip"));
    put_field(&response, SPAN("Content-Encoding"), SPAN("identity"));
    put_field(&response, SPAN("Content-Length"), SPAN("3"));
    struct test_flow flow = {.id = "edited",
                             .path = "/\n",
                             .headers = &request,
                             .response_headers = &response,
                             .response_body = SPAN("abc")};
    put_flow(&text, &flow);
    folder_unpack(&folder, &text);
    pack_with_failures("an untouched flow", &folder);
    folder_edit(&folder, "request.headers", "Host: example.com", "Host: b.test");
    folder_write(&folder, "response.body", bytes_make(long_text, sizeof long_text));
    folder_write(&folder, "error", SPAN("reset\n"));
    folder_edit(&folder, "flow.json", "\"websocket\": null",
                "\"websocket\": {\"messages\": [[1, true, 1.5, true, false]], \"n\": {\"base64\": "
                "\"AAAA\"}, \"t\": \"\\u00e9\\n\", \"d\": {\"dict\": [[{\"bytes\": \"k\"}, 2]]}}");
    folder_write(&folder, "messages/0001-server.bin", SPAN("one"));
    folder_write(&folder, "messages/0002-client.txt", SPAN("two"));
    pack_with_failures("an edited flow", &folder);
    folder_close(&folder);
}

static void test_made(void **state)
{
    (void)state;
    struct folder folder;
    folder_open(&folder);
    folder_write(&folder, "request.headers", SPAN("POST http://example.com:81?q HTTP/1.1\n"));
    folder_write(&folder, "request.body", SPAN("upload"));
    folder_write(&folder, "response.headers", SPAN("HTTP/1.1 404\nContent-Encoding: gzip\n"));
    folder_write(&folder, "response.body", SPAN("hello"));
    folder_write(&folder, "messages/0001-client.txt", SPAN("one"));
    pack_with_failures("a flow made by hand", &folder);
    folder_close(&folder);
}

static void test_made_of_pairs(void **state)
{
    (void)state;
    struct folder folder;
    folder_open(&folder);
    folder_write(&folder, "flow.json",
                 SPAN("{\"dict\": [[\"type\", \"udp\"], [\"own\", [1, {\"dict\": [[\"k\", 2]]}]], "
                      "[\"metadata\", {\"m\": 1}]], \"flowfs\": {\"member\": {\"x\": [1]}}}"));
    folder_write(&folder, "messages/1-client.bin", SPAN("one"));
    folder_write(&folder, "messages/1.5-server.txt", SPAN("two"));
    pack_with_failures("a UDP flow told in pairs", &folder);
    folder_close(&folder);
}

static void test_dns(void **state)
{
    (void)state;
    struct folder folder;
    folder_open(&folder);
    folder_write(
        &folder, "query.json",
        SPAN("{\"id\": 1, \"query\": true, \"op_code\": 0, \"authoritative_answer\": false, "
             "\"truncation\": false, \"recursion_desired\": true, "
             "\"recursion_available\": false, \"reserved\": 0, \"response_code\": 0, "
             "\"questions\": [{\"name\": \"a.test\", \"type\": 1, \"class_\": 1}], "
             "\"answers\": [], \"authorities\": [], \"additionals\": [], "
             "\"timestamp\": 1.5}"));
    folder_write(&folder, "error", SPAN("no answer\n"));
    pack_with_failures("a DNS flow", &folder);
    folder_close(&folder);
}

/* Messages that flow.json holds, since one is odd, and files that were edited all the same. */
static void test_odd_messages(void **state)
{
    (void)state;
    struct folder folder;
    struct buffer text = BUFFER_INIT;
    static const char flow[] =
        "{\"type\": \"tcp\", \"error\": {\"msg\": \"a\\rb\", \"timestamp\": 1}, \"messages\": "
        "[[true, {\"bytes\": \"ping\"}, 1.5], \"none\", [false, \"text\", 2.5]], \"flowfs\": "
        "{\"messages\": {\"size\": 1, \"crc32\": \"00000000\"}, \"odd\": [\"messages\"]}}";
    buffer_append_text(&text, flow);
    folder_open(&folder);
    folder_write(&folder, "flow.json", buffer_bytes(&text));
    folder_write(&folder, "messages/0001-server.txt", SPAN("pong"));
    folder_write(&folder, "messages/0002-server.txt", SPAN("text"));
    folder_write(&folder, "error", SPAN("other\n"));
    buffer_free(&text);
    folder_edit(&folder, "flow.json", "\"msg\": \"a\\rb\", ", "");
    pack_with_failures("odd messages, edited", &folder);
    folder_close(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edited),        cmocka_unit_test(test_made),
        cmocka_unit_test(test_made_of_pairs), cmocka_unit_test(test_dns),
        cmocka_unit_test(test_odd_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
