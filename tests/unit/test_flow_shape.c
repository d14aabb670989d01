/* The types of what was edited: each wrong one is a mistake at its place; what was captured
 * otherwise is packed as it was. */
#include "pack_support.h"

#include <stdio.h>

/* Packs a flow made by hand and unpacks it: a captured one, in which nothing is missing. */
static void open_captured(struct folder *folder, const char *const files[][2])
{
    struct folder made;
    folder_open(&made);
    for (; (*files)[0]; files++)
        folder_write(&made, (*files)[0], bytes_of((*files)[1]));
    struct buffer text = folder_pack(&made);
    folder_close(&made);
    folder_unpack(folder, &text);
}

static const char *const http[][2] = {
    {"request.headers", "GET https://a.test/ HTTP/1.1\n"},
    {"response.headers", "HTTP/1.1 200 OK\n"},
    {"error", "reset\n"},
    {"messages/0001-client.txt", "hello"},
    {NULL, NULL},
};
static const char *const tcp[][2] = {
    {"flow.json", "{\"type\": \"tcp\"}"}, {"messages/0001-client.bin", "hello"}, {NULL, NULL}};
static const char *const dns[][2] = {
    {"query.json", "{\"questions\": [{\"name\": \"a.test\", \"type\": 1, \"class_\": 1}]}"},
    {"answer.json",
     "{\"answers\": [{\"name\": \"a.test\", \"type\": 1, \"class_\": 1, \"ttl\": 60, "
     "\"data\": {\"base64\": \"fwAAAQ==\"}}]}"},
    {NULL, NULL}};

struct edit {
    const char *file, *from, *to, *told;
};

static const struct edit http_edits[] = {
    {"flow.json", "\"marked\": \"\"", "\"marked\": 5", "marked: found a number, expected text"},
    {"flow.json", "\"comment\": \"\"", "\"comment\": null", "comment: found null, expected text"},
    {"flow.json", "\"intercepted\": false", "\"intercepted\": 0",
     "intercepted: found a number, expected true or false"},
    {"flow.json", "\"is_replay\": null", "\"is_replay\": \"both\"",
     "is_replay: found text, expected \"request\" or \"response\", or null"},
    {"flow.json", "\"metadata\": {}", "\"metadata\": []",
     "metadata: found a list, expected an object"},
    {"flow.json", "\"proxy_mode\": \"regular\"", "\"proxy_mode\": {\"bytes\": \"regular\"}",
     "client_conn.proxy_mode: found bytes, expected text"},
    {"flow.json", "\"address\": null", "\"address\": [\"a.test\", \"443\"]",
     "server_conn.address: found text, expected an address, as in [\"example.com\", 443], or null"},
    {"flow.json", "\"address\": null", "\"address\": [\"a.test\"]",
     "server_conn.address: found a list, expected an address, as in [\"example.com\", 443], or "
     "null"},
    {"flow.json", "\"via\": null", "\"via\": [\"ftp\", [\"a.test\", 1]]",
     "server_conn.via: found text, expected a proxy, as in [\"http\", [\"example.com\", 8080]], or "
     "null"},
    {"flow.json", "\"mitmcert\": null", "\"mitmcert\": \"PEM\"",
     "client_conn.mitmcert: found text, expected bytes, as in {\"bytes\": \"h2\"}, or null"},
    {"flow.json", "\"timestamp_tcp_setup\": null", "\"timestamp_tcp_setup\": \"x\"",
     "server_conn.timestamp_tcp_setup: found text, expected a number, or null"},
    {"flow.json", "\"backup\": null", "\"backup\": null, \"unknown\": [1]", NULL},
    {"flow.json", "    \"closed_by_client\": null,\n", "", NULL},
    {"flow.json", "\"close_code\": null", "\"close_code\": 1000.5",
     "websocket.close_code: found a number, expected a whole number, or null"},
    {"flow.json", ", false, false]", ", false, 0]",
     "websocket.messages: found a number, expected messages, each [opcode, from_client, timestamp, "
     "dropped, injected]"},
    {"flow.json", "  \"metadata\": {},\n", "", "metadata: found none, expected an object"},
    {"flow.json", "    \"proxy_mode\": \"regular\"", "    \"other\": \"regular\"",
     "client_conn.proxy_mode: found none, expected text"},
};

static const struct edit tcp_edits[] = {
    {"flow.json", "    [true, ", "    [\"true\", ",
     "messages: found text, expected messages, each [from_client, timestamp]"},
};

static const struct edit dns_edits[] = {
    {"query.json", "\"query\": true", "\"query\": 1",
     "request.query: found a number, expected true or false"},
    {"query.json", "\"type\": 1", "\"type\": \"A\"",
     "request.questions: found text, expected questions, each with name, type and class_"},
    {"answer.json", "\"ttl\": 60,", "",
     "response.answers: found an object, expected records, each with name, type, class_, ttl and "
     "data"},
    {"answer.json", "\"op_code\": 0", "\"op_code\": {}",
     "response.op_code: found an object, expected a whole number"},
    {"answer.json", "\"op_code\": 0,", "", NULL},
};

/* The mistake is told at the line and column at which the edit begins to be wrong. */
static void check_edit(const char *const files[][2], const struct edit *edit)
{
    struct folder folder;
    struct flow_error error = {0};
    struct value *state;
    open_captured(&folder, files);
    folder_edit(&folder, edit->file, edit->from, edit->to);
    struct arena *arena = arena_new();
    bool packed = flowdir_pack(folder.descriptor, arena, &state, &error);
    if (!edit->told && !packed)
        fail_msg("%s: %s", edit->to, error.message);
    if (edit->told) {
        if (packed)
            fail_msg("%s is packed", edit->to);
        size_t line = 0, column = 0, length = strlen(edit->file);
        int behind = 0;
        assert_int_equal(strncmp(error.message, edit->file, length), 0);
        assert_int_equal(sscanf(error.message + length, ":%zu:%zu: %n", &line, &column, &behind),
                         2);
        assert_string_equal(error.message + length + behind, edit->told);
        assert_true(line >= 1 && column >= 1);
    }
    arena_free(arena);
    folder_close(&folder);
}

static void test_edits(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof http_edits / sizeof *http_edits; i++)
        check_edit(http, &http_edits[i]);
    for (size_t i = 0; i < sizeof tcp_edits / sizeof *tcp_edits; i++)
        check_edit(tcp, &tcp_edits[i]);
    for (size_t i = 0; i < sizeof dns_edits / sizeof *dns_edits; i++)
        check_edit(dns, &dns_edits[i]);
}

static void test_place(void **state)
{
    (void)state;
    struct folder folder;
    open_captured(&folder, http);
    folder_write(&folder, "flow.json", SPAN("{\n  \"client_conn\": {\n    \"sni\": 5\n  }\n}"));
    assert_mistake(&folder, "flow.json:3:12: client_conn.sni: found a number, expected text, or "
                            "null");
    folder_write(&folder, "flow.json", SPAN("{\"request\": {\"timestamp_start\": \"x\"}}"));
    assert_mistake(&folder,
                   "flow.json:1:33: request.timestamp_start: found text, expected a number");
    folder_write(&folder, "flow.json", SPAN("{\"server_conn\": 1}"));
    assert_mistake(&folder, "flow.json:1:17: server_conn: found a number, expected an object");
    folder_close(&folder);
}

/* What was captured without a member and with another type is no mistake, until somebody says that
 * it was not captured. */
static void test_captured(void **state)
{
    (void)state;
    struct folder folder, again;
    open_captured(&folder, http);
    folder_edit(&folder, "flow.json", "\"sni\": null,\n    \"timestamp_start\": null",
                "\"sni\": 5,\n    \"timestamp_start\": null");
    folder_edit(&folder, "flow.json", "  \"comment\": \"\",\n", "");
    folder_edit(&folder, "flow.json", "\"backup\": null",
                "\"backup\": null, \"flowfs\": {\"odd\": [\"server_conn.sni\", \"comment\"]}");
    struct buffer text = folder_pack(&folder), copy = BUFFER_INIT;
    buffer_append_bytes(&copy, buffer_bytes(&text));
    folder_unpack(&again, &copy);
    struct buffer json = folder_read(&again, "flow.json");
    assert_non_null(
        memmem(json.data, json.size, "\"odd\": [\"server_conn.sni\", \"comment\"]", 37));
    buffer_free(&json);
    struct buffer packed = folder_pack(&again);
    assert_spans(buffer_bytes(&packed), buffer_bytes(&text));
    folder_edit(&again, "flow.json", "\"marked\": \"\"", "\"marked\": \"yes\"");
    assert_member(&again, "marked", "yes");
    assert_member(&again, "server_conn.sni", "5");
    folder_edit(&again, "flow.json", "\"odd\"", "\"even\"");
    assert_mistake(&again, "flow.json:41:12: server_conn.sni: found a number, expected text, or "
                           "null");
    buffer_free(&packed);
    buffer_free(&text);
    folder_close(&folder);
    folder_close(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edits),
        cmocka_unit_test(test_place),
        cmocka_unit_test(test_captured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
