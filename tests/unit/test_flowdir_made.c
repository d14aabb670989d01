/* Flows made by hand, from nothing, and what is told of each mistake. */
#include "pack_support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static void set_time(const struct folder *folder, const char *name, time_t seconds)
{
    const struct timespec times[2] = {{seconds, 500000000}, {seconds, 500000000}};
    assert_int_equal(utimensat(folder->descriptor, name, times, 0), 0);
}

static void test_one_line(void **state)
{
    (void)state;
    struct folder folder, other;
    folder_open(&folder);
    folder_open(&other);
    folder_write(&folder, "request.headers", SPAN("GET http://example.com/ HTTP/1.1\n"));
    folder_write(&other, "request.headers", SPAN("GET http://example.com/ HTTP/1.1\n"));
    set_time(&folder, "request.headers", 1700000000);
    assert_member(&folder, "version", "21");
    assert_member(&folder, "type", "http");
    assert_member(&folder, "request.method", "GET");
    assert_member(&folder, "request.scheme", "http");
    assert_member(&folder, "request.host", "example.com");
    assert_member(&folder, "request.port", "80");
    assert_member(&folder, "request.path", "/");
    assert_member(&folder, "request.authority", "");
    assert_member(&folder, "request.content", "");
    assert_member(&folder, "request.trailers", NULL);
    assert_member(&folder, "request.timestamp_start", "1700000000.5");
    assert_member(&folder, "timestamp_created", "1700000000.5");
    assert_member(&folder, "client_conn.timestamp_start", "1700000000.5");
    assert_member(&folder, "client_conn.proxy_mode", "regular");
    assert_member(&folder, "server_conn.address", NULL);
    assert_member(&folder, "response", NULL);
    assert_member(&folder, "error", NULL);
    assert_fields(&folder, "request.headers", "Host=example.com\n");
    /* The same at each packing; another where the same is asked for once more. */
    struct packed first = packed_open(&folder), again = packed_open(&folder);
    struct packed second = packed_open(&other);
    struct bytes id = packed_get(&first, "id")->bytes;
    assert_int_equal(id.size, 36);
    assert_spans(packed_get(&again, "id")->bytes, id);
    assert_false(bytes_equal(packed_get(&second, "id")->bytes, id));
    assert_false(bytes_equal(packed_get(&first, "client_conn.id")->bytes, id));
    assert_false(bytes_equal(packed_get(&first, "client_conn.id")->bytes,
                             packed_get(&first, "server_conn.id")->bytes));
    packed_close(&first);
    packed_close(&again);
    packed_close(&second);
    folder_close(&folder);
    folder_close(&other);
}

static void test_more(void **state)
{
    (void)state;
    struct folder folder;
    folder_open(&folder);
    folder_write(&folder, "request.headers",
                 SPAN("POST /a HTTP/1.1\nHost: a.test:443\nContent-Type: text/plain\n"));
    folder_write(&folder, "request.body", SPAN("upload"));
    folder_write(&folder, "response.headers", SPAN("HTTP/1.1 204\n"));
    folder_write(&folder, "flow.json",
                 SPAN("{\"comment\": \"made\", \"client_conn\": {\"tls\": true}, \"own\": 1}"));
    assert_member(&folder, "request.host", "a.test");
    assert_member(&folder, "request.port", "443");
    assert_member(&folder, "request.scheme", "https");
    assert_fields(&folder, "request.headers",
                  "Host=a.test:443\nContent-Type=text/plain\nContent-Length=6\n");
    assert_member(&folder, "response.reason", "No Content");
    assert_fields(&folder, "response.headers", "");
    assert_member(&folder, "comment", "made");
    assert_member(&folder, "own", "1");
    assert_member(&folder, "client_conn.proxy_mode", "regular");
    struct packed packed = packed_open(&folder);
    assert_true(packed_get(&packed, "client_conn.tls")->boolean);
    packed_close(&packed);
    folder_edit(&folder, "request.headers", "POST /a HTTP/1.1", "POST https://b.test/ HTTP/2.0");
    folder_edit(&folder, "request.headers", "Host: a.test:443\n", "");
    assert_member(&folder, "request.authority", "b.test");
    assert_fields(&folder, "request.headers", "Content-Type=text/plain\n");
    folder_close(&folder);
}

static void test_other_types(void **state)
{
    (void)state;
    struct folder folder;
    folder_open(&folder);
    folder_write(&folder, "flow.json", SPAN("{\"type\": \"udp\"}"));
    folder_write(&folder, "messages/0001-client.txt", SPAN("one"));
    assert_member(&folder, "messages.0.1", "one");
    assert_member(&folder, "client_conn.transport_protocol", "udp");
    folder_write(&folder, "flow.json",
                 SPAN("{\"type\": \"tcp\", \"messages\": [[false, {\"bytes\": \"x\"}, 1.5]]}"));
    assert_mistake(&folder, "flow.json:1:38: found a content that is not that of "
                            "messages/0001-client.txt, expected it there alone: remove it");
    folder_remove(&folder, "messages/0001-client.txt");
    assert_int_equal(unlinkat(folder.descriptor, "messages", AT_REMOVEDIR), 0);
    assert_member(&folder, "messages.0.1", "x");
    assert_member(&folder, "client_conn.transport_protocol", "tcp");
    folder_remove(&folder, "flow.json");
    folder_write(&folder, "query.json", SPAN("{\"id\": 1}"));
    assert_member(&folder, "type", "dns");
    assert_member(&folder, "request.id", "1");
    assert_member(&folder, "response", NULL);
    folder_close(&folder);
}

/* What is packed of a flow made by hand is whole: unpacked again, it packs to the same. */
static void test_again(void **state)
{
    (void)state;
    struct folder folder, unpacked;
    folder_open(&folder);
    folder_write(&folder, "request.headers",
                 SPAN("GET http://example.com/?q HTTP/1.1\nAccept: *\n"));
    folder_write(&folder, "response.headers", SPAN("HTTP/1.1 200 OK\nContent-Encoding: br\n"));
    folder_write(&folder, "response.body", SPAN("body"));
    struct buffer record = folder_pack(&folder), copy = BUFFER_INIT;
    buffer_append_bytes(&copy, buffer_bytes(&record));
    folder_unpack(&unpacked, &copy);
    struct buffer again = folder_pack(&unpacked);
    assert_spans(buffer_bytes(&again), buffer_bytes(&record));
    struct buffer headers = folder_read(&unpacked, "request.headers");
    assert_bytes(buffer_bytes(&headers),
                 "GET http://example.com/?q HTTP/1.1\nHost: example.com\nAccept: *\n");
    struct buffer body = folder_read(&unpacked, "response.body");
    assert_bytes(buffer_bytes(&body), "body");
    assert_false(folder_has(&folder, "response.body.raw"));
    assert_true(folder_has(&unpacked, "response.body.raw"));
    buffer_free(&record);
    buffer_free(&again);
    buffer_free(&headers);
    buffer_free(&body);
    folder_close(&folder);
    folder_close(&unpacked);
}

static const struct {
    const char *file, *content, *message;
} mistakes[] = {
    {"request.headers", "",
     "request.headers:1: found an empty file, expected a request line, `GET "
     "http://example.com/ HTTP/1.1`"},
    {"request.headers", "GET http://example.com/\n",
     "request.headers:1: found \"GET http://example.com/\", expected a request line, `METHOD "
     "target HTTP/1.1`"},
    {"request.headers", "GET http://example.com/ HTTP/1.1 \n",
     "request.headers:1: found \"GET http://example.com/ HTTP/1.1 \", expected a request line, "
     "`METHOD target HTTP/1.1`"},
    {"request.headers", "GET example.com HTTP/1.1\n",
     "request.headers:1: found the target \"example.com\", expected http://host[:port]/path, "
     "the same with https, /path or *"},
    {"request.headers", "GET http://:80/ HTTP/1.1\n",
     "request.headers:1: found the target \"http://:80/\", expected http://host[:port]/path, "
     "the same with https, /path or *"},
    {"request.headers", "GET http://a:99999/ HTTP/1.1\n",
     "request.headers:1: found the target \"http://a:99999/\", expected "
     "http://host[:port]/path, the same with https, /path or *"},
    {"request.headers", "GET http://a:port/ HTTP/1.1\n",
     "request.headers:1: found the target \"http://a:port/\", expected a host, then digits behind "
     "a "
     "colon if a port is needed; IPv6 addresses stand in brackets"},
    {"request.headers", "GET http://::1/ HTTP/1.1\n",
     "request.headers:1: found the target \"http://::1/\", expected a host, then digits behind a "
     "colon if a port is needed; IPv6 addresses stand in brackets"},
    {"request.headers", "GET http://me@a/ HTTP/1.1\n",
     "request.headers:1: found the target \"http://me@a/\", expected a host, then digits behind a "
     "colon if a port is needed; IPv6 addresses stand in brackets"},
    {"request.headers", "CONNECT example.com HTTP/1.1\n",
     "request.headers:1: found the target \"example.com\", expected host:port for CONNECT"},
    {"request.headers", "GET / HTTP/1.1\n",
     "request.headers:1: found no host, expected a target as http://example.com/ or a Host "
     "field"},
    {"request.headers", "GET http://a/ HTTP/1.1\na: b\nno field\n",
     "request.headers:3: found \"no field\", expected a header field, `name: value`"},
    {"request.headers", "GET http://a/ HTTP/1.1\nna me: b\n",
     "request.headers:2: found a space in the name in \"na me: b\", expected a header field, "
     "`name: value`"},
    {"request.headers", "GET http://a/ HTTP/1.1\na: b\rc\n",
     "request.headers:2: found a control character in \"a: b?c\", expected a header field, "
     "`name: value`"},
    {"request.headers", "GET http://a/ HTTP/1.1\na: b\n\nbody\n",
     "request.headers:3: found an empty line between header fields, expected `name: value` "
     "(the "
     "content is in a file of its own)"},
    {"response.headers", "200 OK\n",
     "response.headers:1: found \"200 OK\", expected a status line, `HTTP/1.1 200 OK`"},
    {"response.headers", "HTTP/1.1 20 OK\n",
     "response.headers:1: found \"HTTP/1.1 20 OK\", expected a status line, `HTTP/1.1 200 OK`"},
    {"response.headers", "HTTP/1.1 2x0 OK\n",
     "response.headers:1: found \"HTTP/1.1 2x0 OK\", expected a status line, `HTTP/1.1 200 "
     "OK`"},
    {"response.body", "x", "response.body: found it, but no response.headers; remove it"},
    {"query.json", "{}", "query.json: found it, but the flow is of the type http; remove it"},
    {"error", "\xFF\n", "error:1: found bytes that are no UTF-8, expected text"},
    {"flow.json", "",
     "flow.json:1:1: found the end of the file, expected a value: a string, "
     "number, object, list, true, false or null (bytes are {\"bytes\": "
     "\"...\"})"},
    {"flow.json", "[]", "flow.json:1:1: found another value, expected an object"},
    {"flow.json", "{\n  \"comment\": \"a\"\n  \"id\": 1}",
     "flow.json:3:3: found `\"`, expected `,` or `}`"},
    {"flow.json", "{\"version\": 17}", "flow.json:1:13: found version 17, expected 21"},
    {"flow.json", "{\"version\": \"x\"}",
     "flow.json:1:13: found another value, expected version 21"},
    {"flow.json", "{\"version\": 21}",
     "flow.json:1:1: found no type, expected \"type\": \"http\", \"tcp\", \"udp\" or \"dns\""},
    {"flow.json", "{\"type\": \"quic\"}",
     "flow.json:1:10: found the type \"quic\", expected http, tcp, udp or dns"},
    {"flow.json", "{\"version\": 21, \"type\": \"htpp\"}",
     "flow.json:1:25: found the type \"htpp\" beside a request, a response, a query or an answer, "
     "expected http, tcp, udp or dns"},
    {"flow.json", "{\"version\": 21, \"type\": \"http\"}",
     "flow.json:1:1: found no request, expected an object \"request\""},
    {"flow.json", "{\"request\":\n {\"method\": {\"bytes\": \"PUT\"}}}",
     "flow.json:2:13: found method \"PUT\", but request.headers:1 says \"GET\"; expected it "
     "there alone: remove it"},
    {"flow.json", "{\"request\": {\"host\": \"b\"}}",
     "flow.json:1:22: found host \"b\", but request.headers:1 says \"example.com\"; expected "
     "it "
     "there alone: remove it"},
    {"flow.json", "{\"request\": {\"headers\": [[\"a\", \"b\"]]}}",
     "flow.json:1:25: found headers that are not those in request.headers, expected them there "
     "alone: remove them"},
    {"flow.json", "{\"response\": {}}",
     "flow.json:1:14: found a response, but no file response.headers; expected both or none"},
    {"flow.json", "{\"flowfs\": 1}",
     "flow.json:1:12: found another value, expected the object \"flowfs\" as it was unpacked"},
    {"request.bdoy", "x",
     "request.bdoy: found a file that is no part of a flow, expected request.headers, .body, "
     ".body.raw, .trailers, likewise response, or flow.json; rename or remove it"},
    {"respnse.headers", "x",
     "respnse.headers: found a file that is no part of a flow, expected request.headers, "
     ".body, .body.raw, .trailers, likewise response, or flow.json; rename or remove it"},
};

static void test_mistakes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        struct folder folder;
        folder_open(&folder);
        folder_write(&folder, "request.headers", SPAN("GET http://example.com/ HTTP/1.1\n"));
        folder_write(&folder, mistakes[i].file, bytes_of(mistakes[i].content));
        assert_mistake(&folder, mistakes[i].message);
        folder_close(&folder);
    }
}

static void test_odd_files(void **state)
{
    (void)state;
    struct folder folder;
    folder_open(&folder);
    assert_mistake(&folder, "request.headers: found no such file, expected it (`GET "
                            "http://example.com/ HTTP/1.1` is enough), or query.json, or flow.json "
                            "with a type");
    folder_write(&folder, "elsewhere", SPAN("GET http://example.com/ HTTP/1.1\n"));
    assert_int_equal(symlinkat("elsewhere", folder.descriptor, "request.headers"), 0);
    assert_mistake(&folder, "request.headers: found a symbolic link, expected a plain file");
    folder_remove(&folder, "request.headers");
    assert_int_equal(mkdirat(folder.descriptor, "request.headers", 0777), 0);
    assert_mistake(&folder, "request.headers: found a directory, expected a plain file");
    assert_int_equal(unlinkat(folder.descriptor, "request.headers", AT_REMOVEDIR), 0);
    assert_int_equal(mkfifoat(folder.descriptor, "request.headers", 0666), 0);
    assert_mistake(&folder, "request.headers: found a special file, expected a plain file");
    folder_remove(&folder, "request.headers");
    folder_rename(&folder, "elsewhere", "request.headers");
    folder_write(&folder, "messages", SPAN("x"));
    assert_mistake(&folder, "messages: found something else, expected a directory");
    folder_remove(&folder, "messages");
    assert_int_equal(mkfifoat(folder.descriptor, "messages", 0666), 0);
    assert_mistake(&folder, "messages: found something else, expected a directory");
    folder_remove(&folder, "messages");
    assert_int_equal(symlinkat("/", folder.descriptor, "messages"), 0);
    assert_mistake(&folder, "messages: found something else, expected a directory");
    folder_remove(&folder, "messages");
    assert_int_equal(mkdirat(folder.descriptor, "messages", 0777), 0);
    assert_int_equal(mkfifoat(folder.descriptor, "messages/1-client.txt", 0666), 0);
    assert_mistake(&folder, "messages/1-client.txt: found a special file, expected a plain file");
    folder_close(&folder);
}

/* JSON has a form for what is no key in a flow file. */
static void test_keys(void **state)
{
    (void)state;
    struct folder folder;
    folder_open(&folder);
    folder_write(&folder, "request.headers", SPAN("GET http://example.com/ HTTP/1.1\n"));
    folder_write(&folder, "flow.json", SPAN("{\"metadata\": {\"a\": [{\"dict\": [[1, 2]]}]}}"));
    assert_mistake(&folder, "flow.json:1:32: found another key, expected text or bytes, at most "
                            "262144 long");
    folder_edit(&folder, "flow.json", "[1, 2]", "[{\"bytes\": \"1\"}, 2]");
    assert_member(&folder, "metadata.a.0.1", "2");
    folder_close(&folder);
}

/* A file that takes no room on the disk, and would take all memory. */
static void test_sparse(void **state)
{
    (void)state;
    struct folder folder;
    folder_open(&folder);
    folder_write(&folder, "request.headers", SPAN("GET http://example.com/ HTTP/1.1\n"));
    folder_write(&folder, "request.body", SPAN(""));
    int body = openat(folder.descriptor, "request.body", O_WRONLY);
    assert_int_equal(ftruncate(body, (off_t)1 << 40), 0);
    close(body);
    assert_mistake(&folder, "request.body: found 1099511627776 bytes, expected at most 4294967296");
    folder_close(&folder);
}

/* Members are not looked for among all that were told: it would take minutes. */
static void test_many_members(void **state)
{
    (void)state;
    struct folder folder;
    struct buffer text = BUFFER_INIT;
    folder_open(&folder);
    folder_write(&folder, "request.headers", SPAN("GET http://example.com/ HTTP/1.1\n"));
    buffer_append_text(&text, "{\"flowfs\": {}, \"dict\": [[\"marked\", \"x\"]");
    for (int i = 0; i < 300000; i++)
        buffer_printf(&text, ", [\"own%d\", 1]", i);
    buffer_append_text(&text, "]}");
    folder_write(&folder, "flow.json", buffer_bytes(&text));
    buffer_free(&text);
    assert_member(&folder, "marked", "x");
    folder_close(&folder);
}

/* A complete flow without its request line is no flow. */
static void test_no_request(void **state)
{
    (void)state;
    struct folder folder;
    struct buffer text = BUFFER_INIT;
    put_simple_flow(&text, "simple");
    folder_unpack(&folder, &text);
    folder_remove(&folder, "request.headers");
    assert_mistake(&folder,
                   "request.headers: found no such file, expected the request line and header "
                   "fields");
    folder_close(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_line),     cmocka_unit_test(test_more),
        cmocka_unit_test(test_other_types),  cmocka_unit_test(test_again),
        cmocka_unit_test(test_mistakes),     cmocka_unit_test(test_odd_files),
        cmocka_unit_test(test_sparse),       cmocka_unit_test(test_keys),
        cmocka_unit_test(test_many_members), cmocka_unit_test(test_no_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
