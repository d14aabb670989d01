/* Edits of the messages of WebSocket and TCP flows, and of DNS flows. */
#include "pack_support.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static void put_message(struct buffer *list, int opcode, bool from_client, struct bytes content,
                        const char *time)
{
    struct buffer item = BUFFER_INIT;
    if (opcode)
        put_number(&item, opcode);
    put_element(&item, '!', bytes_of(from_client ? "true" : "false"));
    put_bytes(&item, content);
    put_element(&item, '^', bytes_of(time));
    if (opcode) {
        put_element(&item, '!', bytes_of("true"));
        put_element(&item, '!', bytes_of("false"));
    }
    put_container(list, ']', &item);
}

static void open_state(struct folder *folder, struct buffer *dict, const char *type)
{
    struct buffer text = BUFFER_INIT;
    member_text(dict, "type", type);
    member_text(dict, "id", "an-id");
    member_number(dict, "version", 21);
    put_container(&text, '}', dict);
    folder_unpack(folder, &text);
}

static void open_tcp(struct folder *folder)
{
    struct buffer dict = BUFFER_INIT, messages = BUFFER_INIT;
    put_message(&messages, 0, true, SPAN("one"), "1.5");
    put_message(&messages, 0, false, SPAN("\0two"), "2.5");
    put_message(&messages, 0, true, SPAN("three"), "3.5");
    member_container(&dict, "messages", ']', &messages);
    member_null(&dict, "error");
    open_state(folder, &dict, "tcp");
}

/* The messages, one a line: what there is of each, separated by spaces. */
static void check_messages(const struct folder *folder, const char *path, const char *expected,
                           int line)
{
    struct buffer shown = BUFFER_INIT;
    struct packed packed = packed_open(folder);
    const struct value *list = packed_get(&packed, path);
    for (const struct value *item = list->first; item; item = item->next) {
        for (const struct value *part = item->first; part; part = part->next) {
            if (part->kind == VALUE_BOOL)
                buffer_append_text(&shown, part->boolean ? "yes" : "no");
            else
                buffer_append_bytes(&shown, part->bytes);
            buffer_append_text(&shown, part->next ? " " : "\n");
        }
        if (item->kind != VALUE_LIST)
            buffer_append_text(&shown, "odd\n");
    }
    support_assert_bytes(buffer_bytes(&shown), bytes_of(expected), __FILE__, line);
    buffer_free(&shown);
    packed_close(&packed);
}

static void test_tcp(void **state)
{
    (void)state;
    struct folder folder;
    open_tcp(&folder);
    folder_write(&folder, "messages/0001-client.txt", SPAN("edited"));
    folder_write(&folder, "messages/0002-server.bin", SPAN(""));
    check_messages(&folder, "messages", "yes edited 1.5\nno  2.5\nyes three 3.5\n", __LINE__);
    folder_close(&folder);
}

static void test_tcp_files(void **state)
{
    (void)state;
    struct folder folder;
    open_tcp(&folder);
    folder_write(&folder, "messages/0002-server.bin", SPAN("two"));
    folder_write(&folder, "messages/0002.5-server.txt", SPAN("between"));
    folder_write(&folder, "messages/0007-client.bin", SPAN("last"));
    folder_write(&folder, "messages/.0007-client.bin.swp", SPAN("?"));
    check_messages(&folder, "messages",
                   "yes one 1.5\nno two 2.5\nno between 2.5\nyes three 3.5\nyes last 3.5\n",
                   __LINE__);
    folder_remove(&folder, "messages/0001-client.txt");
    folder_rename(&folder, "messages/0003-client.txt", "messages/0003-server.txt");
    check_messages(&folder, "messages", "no two 2.5\nno between 2.5\nno three 3.5\nyes last 3.5\n",
                   __LINE__);
    folder_write(&folder, "messages/0003-client.bin", SPAN(""));
    assert_mistake(&folder, "messages: found 0003-client.bin and 0003-server.txt, expected each "
                            "number once");
    folder_rename(&folder, "messages/0003-client.bin", "messages/third.txt");
    assert_mistake(&folder, "messages: found \"third.txt\", expected names as 0001-client.txt: "
                            "number, client or server, .txt or .bin");
    folder_close(&folder);
}

static void test_no_messages(void **state)
{
    (void)state;
    static const char *const names[] = {"0001-client.txt", "0002-server.bin", "0003-client.txt"};
    struct folder folder;
    open_tcp(&folder);
    for (size_t i = 0; i < 3; i++) {
        char path[64];
        snprintf(path, sizeof path, "messages/%s", names[i]);
        folder_remove(&folder, path);
    }
    check_messages(&folder, "messages", "", __LINE__);
    assert_int_equal(unlinkat(folder.descriptor, "messages", AT_REMOVEDIR), 0);
    check_messages(&folder, "messages", "", __LINE__);
    folder_close(&folder);
}

/* Messages of which one is odd are in flow.json, too; edited files count all the same. */
static void test_odd_messages(void **state)
{
    (void)state;
    struct folder folder;
    struct buffer dict = BUFFER_INIT, messages = BUFFER_INIT;
    put_message(&messages, 0, true, SPAN("one"), "1.5");
    put_text(&messages, "no message");
    put_message(&messages, 0, false, SPAN("two"), "2.5");
    member_container(&dict, "messages", ']', &messages);
    open_state(&folder, &dict, "udp");
    check_messages(&folder, "messages", "yes one 1.5\nodd\nno two 2.5\n", __LINE__);
    folder_edit(&folder, "flow.json", "\"one\"", "\"uno\"");
    check_messages(&folder, "messages", "yes uno 1.5\nodd\nno two 2.5\n", __LINE__);
    folder_write(&folder, "messages/0002-server.txt", SPAN("dos"));
    folder_write(&folder, "messages/0003-server.txt", SPAN("tres"));
    check_messages(&folder, "messages", "yes one 1.5\nodd\nno dos 2.5\nno tres 2.5\n", __LINE__);
    folder_close(&folder);
}

/* A message of the length that one without its content has. */
static void test_short_message(void **state)
{
    (void)state;
    struct folder folder;
    struct buffer dict = BUFFER_INIT, websocket = BUFFER_INIT, messages = BUFFER_INIT;
    struct buffer item = BUFFER_INIT, request = BUFFER_INIT;
    put_number(&item, 1);
    put_element(&item, '!', SPAN("true"));
    put_bytes(&item, SPAN("one"));
    put_container(&messages, ']', &item);
    member_container(&websocket, "messages", ']', &messages);
    member_container(&dict, "websocket", '}', &websocket);
    member_bytes(&request, "method", SPAN("GET"));
    member_container(&dict, "request", '}', &request);
    open_state(&folder, &dict, "http");
    check_messages(&folder, "websocket.messages", "1 yes one\n", __LINE__);
    folder_write(&folder, "messages/0001-client.txt", SPAN("uno"));
    check_messages(&folder, "websocket.messages", "1 yes uno\n", __LINE__);
    folder_close(&folder);
}

static void test_websocket(void **state)
{
    (void)state;
    struct folder folder;
    struct buffer text = BUFFER_INIT;
    struct test_flow flow = {.id = "ws"};
    put_flow(&text, &flow);
    folder_unpack(&folder, &text);
    folder_edit(&folder, "flow.json", "\"websocket\": null",
                "\"websocket\": {\"close_code\": 1000, \"messages\": [[1, true, 1.5, true, false], "
                "[9, false, 2.5, false, false]]}");
    folder_write(&folder, "messages/0001-client.txt", SPAN("one"));
    folder_write(&folder, "messages/0002-server.bin", SPAN("ping"));
    folder_write(&folder, "messages/0003-server.txt", SPAN("new"));
    check_messages(&folder, "websocket.messages",
                   "1 yes one 1.5 yes no\n9 no ping 2.5 no no\n1 no new 2.5 no no\n", __LINE__);
    folder_rename(&folder, "messages/0001-client.txt", "messages/0001-server.bin");
    folder_rename(&folder, "messages/0002-server.bin", "messages/0002-server.txt");
    check_messages(&folder, "websocket.messages",
                   "2 no one 1.5 yes no\n1 no ping 2.5 no no\n1 no new 2.5 no no\n", __LINE__);
    assert_member(&folder, "websocket.close_code", "1000");
    folder_edit(&folder, "flow.json", "\"websocket\": {", "\"websocket\": null, \"x\": {");
    folder_remove(&folder, "messages/0001-server.bin");
    folder_remove(&folder, "messages/0002-server.txt");
    struct packed packed = packed_open(&folder);
    assert_int_equal(packed_get(&packed, "websocket.messages")->count, 1);
    assert_bytes(packed_get(&packed, "websocket.messages.0.2")->bytes, "new");
    assert_int_equal(packed_get(&packed, "websocket.closed_by_client")->kind, VALUE_NULL);
    packed_close(&packed);
    folder_close(&folder);
}

static void test_dns(void **state)
{
    (void)state;
    struct folder folder;
    struct buffer dict = BUFFER_INIT, query = BUFFER_INIT;
    member_number(&query, "id", 7);
    member_time(&query, "timestamp", "1700000000.5");
    member_container(&dict, "request", '}', &query);
    member_null(&dict, "response");
    open_state(&folder, &dict, "dns");
    folder_edit(&folder, "query.json", "\"id\": 7", "\"id\": 8, \"new\": 1e3");
    assert_member(&folder, "request.id", "8");
    assert_member(&folder, "request.new", "1e3");
    folder_write(&folder, "answer.json", SPAN("{\"id\": 8}"));
    assert_member(&folder, "response.id", "8");
    folder_remove(&folder, "answer.json");
    assert_member(&folder, "response", NULL);
    folder_write(&folder, "query.json", SPAN("{\"id\": 8,\n  \"questions\": [}\n"));
    assert_mistake(&folder, "query.json:2:17: found `}`, expected a value: a string, number, "
                            "object, list, true, false or null (bytes are {\"bytes\": \"...\"})");
    folder_remove(&folder, "query.json");
    assert_mistake(&folder, "query.json: found no such file, expected the query");
    folder_close(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tcp),           cmocka_unit_test(test_tcp_files),
        cmocka_unit_test(test_no_messages),   cmocka_unit_test(test_odd_messages),
        cmocka_unit_test(test_websocket),     cmocka_unit_test(test_dns),
        cmocka_unit_test(test_short_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
