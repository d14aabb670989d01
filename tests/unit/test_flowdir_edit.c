/* What packing makes of edits of an unpacked flow: each test unpacks a flow, changes files as an
 * editor would, and looks at what is packed. */
#include "pack_support.h"

#include <brotli/decode.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

/* A GET with a few fields and a plain response. */
static void open_plain(struct folder *folder)
{
    struct buffer text = BUFFER_INIT, request = BUFFER_INIT, response = BUFFER_INIT;
    put_field(&request, SPAN("Host"), SPAN("example.com"));
    put_field(&request, SPAN("x-Two"), SPAN("1"));
    put_field(&request, SPAN("X-two"), SPAN("\xE9"));
    put_field(&response, SPAN("Content-Length"), SPAN("5"));
    put_field(&response, SPAN("Content-Type"), SPAN("text/plain"));
    struct test_flow flow = {.id = "plain",
                             .headers = &request,
                             .response_headers = &response,
                             .response_body = SPAN("hello")};
    put_flow(&text, &flow);
    folder_unpack(folder, &text);
}

static void test_request_line(void **state)
{
    (void)state;
    struct folder folder;
    open_plain(&folder);
    folder_edit(&folder, "request.headers", "GET http://example.com/ HTTP/1.1",
                "POST http://example.com/a b?c HTTP/1.0");
    assert_member(&folder, "request.method", "POST");
    assert_member(&folder, "request.path", "/a b?c");
    assert_member(&folder, "request.http_version", "HTTP/1.0");
    assert_member(&folder, "request.host", "example.com");
    assert_member(&folder, "request.port", "80");
    folder_edit(&folder, "request.headers", "http://example.com/a b?c",
                "https://xn--mnchen-3ya.de:8443?q");
    assert_member(&folder, "request.scheme", "https");
    assert_member(&folder, "request.host", "xn--mnchen-3ya.de");
    assert_member(&folder, "request.port", "8443");
    assert_member(&folder, "request.path", "/?q");
    assert_member(&folder, "request.authority", "");
    folder_edit(&folder, "request.headers", "https://xn--mnchen-3ya.de:8443?q", "http://[::1]/");
    assert_member(&folder, "request.host", "::1");
    assert_member(&folder, "request.port", "80");
    folder_edit(&folder, "request.headers", "http://[::1]/", "/only");
    assert_member(&folder, "request.host", "example.com");
    assert_member(&folder, "request.path", "/only");
    folder_edit(&folder, "request.headers", "POST /only", "CONNECT proxy.test:8080");
    assert_member(&folder, "request.authority", "proxy.test:8080");
    assert_member(&folder, "request.host", "proxy.test");
    assert_member(&folder, "request.port", "8080");
    assert_member(&folder, "request.path", "");
    folder_close(&folder);
}

/* A path that is in flow.json does not stay there when the tunnel becomes a GET. */
static void test_no_tunnel(void **state)
{
    (void)state;
    struct folder folder;
    open_plain(&folder);
    folder_edit(&folder, "request.headers", "GET http://example.com/", "CONNECT a.test:1");
    folder_edit(&folder, "flow.json", "\"authority\": {\"bytes\": \"\"}",
                "\"authority\": {\"bytes\": \"a.test:1\"}, \"path\": {\"bytes\": \"\"}, "
                "\"host\": \"a.test\", \"port\": 1, \"scheme\": {\"bytes\": \"\"}");
    assert_member(&folder, "request.path", "");
    folder_edit(&folder, "request.headers", "CONNECT a.test:1", "GET http://b.test/x");
    assert_member(&folder, "request.path", "/x");
    assert_member(&folder, "request.host", "b.test");
    assert_member(&folder, "request.authority", "");
    folder_close(&folder);
}

static void test_fields(void **state)
{
    (void)state;
    struct folder folder;
    open_plain(&folder);
    assert_fields(&folder, "request.headers", "Host=example.com\nx-Two=1\nX-two=\xE9\n");
    /* Order, a duplicate, case, no space, two spaces, nothing at all, CRLF, blank lines at the end.
     */
    folder_write(&folder, "request.headers",
                 SPAN("GET http://example.com/ HTTP/1.1\r\nX-two: \xE9\r\n:odd: 1\r\nhost:a\r\n"
                      "Host:  b \r\nempty:\r\n\r\n\n"));
    assert_fields(&folder, "request.headers", "X-two=\xE9\n:odd=1\nhost=a\nHost= b \nempty=\n");
    assert_member(&folder, "request.http_version", "HTTP/1.1");
    folder_write(&folder, "request.headers", SPAN("GET http://example.com/ HTTP/1.1"));
    assert_fields(&folder, "request.headers", "");
    folder_close(&folder);
}

static void test_status_line(void **state)
{
    (void)state;
    struct folder folder;
    open_plain(&folder);
    folder_edit(&folder, "response.headers", "HTTP/1.1 200 OK", "HTTP/2.0 404 Not here");
    assert_member(&folder, "response.status_code", "404");
    assert_member(&folder, "response.reason", "Not here");
    assert_member(&folder, "response.http_version", "HTTP/2.0");
    folder_edit(&folder, "response.headers", "404 Not here", "500");
    assert_member(&folder, "response.status_code", "500");
    assert_member(&folder, "response.reason", "");
    folder_close(&folder);
}

static void test_body(void **state)
{
    (void)state;
    struct folder folder;
    open_plain(&folder);
    folder_write(&folder, "response.body", SPAN("hello, world"));
    assert_member(&folder, "response.content", "hello, world");
    assert_fields(&folder, "response.headers", "Content-Length=12\nContent-Type=text/plain\n");
    folder_remove(&folder, "response.body");
    assert_member(&folder, "response.content", "");
    assert_fields(&folder, "response.headers", "Content-Length=0\nContent-Type=text/plain\n");
    /* On purpose: what is given raw is sent as it is, under the fields as they are. */
    folder_write(&folder, "response.body.raw", SPAN("lie"));
    assert_member(&folder, "response.content", "lie");
    assert_fields(&folder, "response.headers", "Content-Length=5\nContent-Type=text/plain\n");
    /* A request in HTTP/1 needs a length where it gets a body. */
    folder_write(&folder, "request.body", SPAN("upload"));
    assert_fields(&folder, "request.headers",
                  "Host=example.com\nx-Two=1\nX-two=\xE9\nContent-Length=6\n");
    folder_edit(&folder, "request.headers", "x-Two: 1", "Transfer-Encoding: chunked");
    assert_fields(&folder, "request.headers",
                  "Host=example.com\nTransfer-Encoding=chunked\nX-two=\xE9\n");
    folder_close(&folder);
}

/* A length that was wrong from the start is left alone until the body is edited. */
static void test_wrong_length(void **state)
{
    (void)state;
    struct folder folder;
    struct buffer text = BUFFER_INIT, response = BUFFER_INIT;
    put_field(&response, SPAN("content-length"), SPAN("5000"));
    struct test_flow flow = {.id = "head", .response_headers = &response};
    put_flow(&text, &flow);
    folder_unpack(&folder, &text);
    assert_fields(&folder, "response.headers", "content-length=5000\n");
    folder_edit(&folder, "response.headers", "5000", "6000");
    assert_fields(&folder, "response.headers", "content-length=6000\n");
    folder_write(&folder, "response.body", SPAN("now"));
    assert_fields(&folder, "response.headers", "content-length=3\n");
    folder_close(&folder);
}

static void test_response(void **state)
{
    (void)state;
    struct folder folder;
    open_plain(&folder);
    folder_remove(&folder, "response.headers");
    folder_remove(&folder, "response.body");
    assert_member(&folder, "response", NULL);
    /* And a new one. */
    folder_write(&folder, "response.headers", SPAN("HTTP/1.1 404\n"));
    folder_write(&folder, "response.body", SPAN("gone"));
    assert_member(&folder, "response.reason", "");
    folder_edit(&folder, "flow.json", "\"response\": {", "\"response\": null, \"ignored\": {");
    assert_member(&folder, "response.reason", "Not Found");
    assert_member(&folder, "response.content", "gone");
    assert_fields(&folder, "response.headers", "Content-Length=4\n");
    assert_member(&folder, "response.trailers", NULL);
    folder_close(&folder);
}

static void test_trailers(void **state)
{
    (void)state;
    struct folder folder;
    open_plain(&folder);
    folder_write(&folder, "response.trailers", SPAN("Digest: x\nDigest: y\n"));
    assert_fields(&folder, "response.trailers", "Digest=x\nDigest=y\n");
    folder_remove(&folder, "response.trailers");
    assert_member(&folder, "response.trailers", NULL);
    folder_close(&folder);
}

static void test_error(void **state)
{
    (void)state;
    struct folder folder;
    open_plain(&folder);
    folder_write(&folder, "error", SPAN("reset\nby peer\n"));
    assert_member(&folder, "error.msg", "reset\nby peer");
    folder_edit(&folder, "flow.json", "\"error\": null", "\"error\": {\"timestamp\": 1.5}");
    assert_member(&folder, "error.msg", "reset\nby peer");
    assert_member(&folder, "error.timestamp", "1.5");
    folder_remove(&folder, "error");
    assert_member(&folder, "error", NULL);
    folder_close(&folder);
}

static void test_flow_json(void **state)
{
    (void)state;
    struct folder folder;
    open_plain(&folder);
    folder_edit(&folder, "flow.json", "\"authority\": {\"bytes\": \"\"}",
                "\"authority\": {\"bytes\": \"x\"}, \"new\": [1, {\"bytes\": \"x\"}, {\"int\": "
                "\"007\"}]");
    folder_edit(&folder, "flow.json", "\"id\": \"plain\"",
                "\"id\": \"other\", \"comment\": \"\\u00e9\"");
    assert_member(&folder, "comment", "\xC3\xA9");
    assert_member(&folder, "id", "other");
    assert_member(&folder, "request.new.2", "007");
    assert_member(&folder, "request.authority", "x");
    folder_close(&folder);
}

/* What editors leave is no part of the flow, nor is what has nothing to do with it. */
static void test_ignored(void **state)
{
    (void)state;
    static const char *const names[] = {
        "request.headers~", ".request.headers.swp", "#request.body#", "response.body.orig",
        "flow.json.rej",    ".gitignore",           "4913",           "sedX1Y2Z3",
        "README",           "request.body.bak",
    };
    struct folder folder;
    open_plain(&folder);
    struct buffer before = folder_pack(&folder);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        folder_write(&folder, names[i], SPAN("?"));
    folder_remove(&folder, "summary.json");
    struct buffer after = folder_pack(&folder);
    assert_spans(buffer_bytes(&after), buffer_bytes(&before));
    buffer_free(&before);
    buffer_free(&after);
    folder_close(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_line), cmocka_unit_test(test_no_tunnel),
        cmocka_unit_test(test_fields),       cmocka_unit_test(test_status_line),
        cmocka_unit_test(test_body),         cmocka_unit_test(test_wrong_length),
        cmocka_unit_test(test_response),     cmocka_unit_test(test_trailers),
        cmocka_unit_test(test_error),        cmocka_unit_test(test_flow_json),
        cmocka_unit_test(test_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
