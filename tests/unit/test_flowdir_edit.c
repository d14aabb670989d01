/* What packing makes of edits of an unpacked flow: each test unpacks a flow, changes files as an
 * editor would, and looks at what is packed. */
#include "pack_support.h"

#include <brotli/decode.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
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

/* HTTP/2's authority is shown in the URL alone where it is the same; edited, it goes along. */
static void test_authority(void **state)
{
    (void)state;
    struct folder made, folder;
    folder_open(&made);
    folder_write(&made, "request.headers", SPAN("GET https://example.com:8443/ HTTP/2.0\n"));
    struct buffer record = folder_pack(&made);
    folder_unpack(&folder, &record);
    assert_member(&folder, "request.authority", "example.com:8443");
    folder_edit(&folder, "request.headers", "https://example.com:8443/", "https://b.test/x");
    assert_member(&folder, "request.authority", "b.test");
    assert_member(&folder, "request.host", "b.test");
    assert_member(&folder, "request.port", "443");
    folder_edit(&folder, "flow.json", "\"trailers\": null",
                "\"trailers\": null, \"authority\": {\"bytes\": \"c.test\"}");
    assert_member(&folder, "request.authority", "c.test");
    assert_member(&folder, "request.host", "b.test");
    folder_close(&folder);
    folder_close(&made);
}

/* A host that no URL can have stays what it was. */
static void test_odd_host(void **state)
{
    (void)state;
    static const char *const hosts[] = {"::1", "a:b", "me@a", "a/b", "[::1]", "a b"};
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        struct folder folder;
        struct buffer text = BUFFER_INIT;
        struct test_flow flow = {.id = "odd", .host = hosts[i]};
        put_flow(&text, &flow);
        folder_unpack(&folder, &text);
        assert_member(&folder, "request.host", hosts[i]);
        folder_edit(&folder, "request.headers", "/ HTTP/1.1", "/other HTTP/1.1");
        assert_member(&folder, "request.host", hosts[i]);
        assert_member(&folder, "request.path", "/other");
        folder_close(&folder);
    }
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
    /* It comes when the request is over, whenever its files were copied. */
    assert_int_equal(utimensat(folder.descriptor, "request.headers", NULL, 0), 0);
    assert_member(&folder, "response.timestamp_start", "1700000000.5");
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

/* Encoders of this test's own; decoders are the libraries'. */
static struct buffer zlib_of(struct bytes data, int window)
{
    struct buffer out = BUFFER_INIT;
    z_stream zlib = {0};
    uint8_t text[1000];
    assert_int_equal(deflateInit2(&zlib, 9, Z_DEFLATED, window, 9, Z_DEFAULT_STRATEGY), Z_OK);
    zlib.next_in = (Bytef *)(uintptr_t)data.data;
    zlib.avail_in = (unsigned)data.size;
    zlib.next_out = text;
    zlib.avail_out = sizeof text;
    assert_int_equal(deflate(&zlib, Z_FINISH), Z_STREAM_END);
    buffer_append(&out, text, sizeof text - zlib.avail_out);
    deflateEnd(&zlib);
    return out;
}

static void inflate_to(struct bytes data, int window, struct buffer *out)
{
    uint8_t text[1000];
    z_stream zlib = {0};
    assert_int_equal(inflateInit2(&zlib, window), Z_OK);
    zlib.next_in = (Bytef *)(uintptr_t)data.data;
    zlib.avail_in = (unsigned)data.size;
    zlib.next_out = text;
    zlib.avail_out = sizeof text;
    assert_int_equal(inflate(&zlib, Z_FINISH), Z_STREAM_END);
    buffer_append(out, text, sizeof text - zlib.avail_out);
    inflateEnd(&zlib);
}

static void open_encoded(struct folder *folder, const char *encoding, struct bytes content)
{
    char length[16];
    struct buffer text = BUFFER_INIT, response = BUFFER_INIT;
    snprintf(length, sizeof length, "%zu", content.size);
    put_field(&response, SPAN("Content-Encoding"), bytes_of(encoding));
    put_field(&response, SPAN("Content-Length"), bytes_of(length));
    struct test_flow flow = {
        .id = "encoded", .response_headers = &response, .response_body = content};
    put_flow(&text, &flow);
    folder_unpack(folder, &text);
}

static void assert_length(const struct folder *folder, size_t size)
{
    char digits[16];
    snprintf(digits, sizeof digits, "%zu", size);
    assert_member(folder, "response.headers.1.1", digits);
}

static void test_codings(void **state)
{
    (void)state;
    struct folder folder;
    struct buffer original = zlib_of(SPAN("hello"), 16 + MAX_WBITS);
    open_encoded(&folder, "gzip", buffer_bytes(&original));
    buffer_free(&original);
    for (int coding = 0; coding < 5; coding++) {
        static const char *const names[] = {"gzip", "deflate", "br", "zstd", "deflate, gzip"};
        struct buffer decoded = BUFFER_INIT;
        uint8_t text[100];
        size_t size = sizeof text;
        if (coding)
            folder_edit(&folder, "response.headers", names[coding - 1], names[coding]);
        folder_write(&folder, "response.body", SPAN("hello, hello, hello"));
        struct packed packed = packed_open(&folder);
        struct packed again = packed_open(&folder);
        struct bytes content = packed_get(&packed, "response.content")->bytes;
        assert_spans(packed_get(&again, "response.content")->bytes, content);
        switch (coding) {
        case 0:
        case 1:
            inflate_to(content, coding ? MAX_WBITS : 16 + MAX_WBITS, &decoded);
            break;
        case 2:
            assert_int_equal(BrotliDecoderDecompress(content.size, content.data, &size, text),
                             BROTLI_DECODER_RESULT_SUCCESS);
            buffer_append(&decoded, text, size);
            break;
        case 3:
            size = ZSTD_decompress(text, size, content.data, content.size);
            assert_false(ZSTD_isError(size));
            buffer_append(&decoded, text, size);
            break;
        default: {
            struct buffer half = BUFFER_INIT;
            inflate_to(content, 16 + MAX_WBITS, &half);
            inflate_to(buffer_bytes(&half), MAX_WBITS, &decoded);
            buffer_free(&half);
        }
        }
        assert_bytes(buffer_bytes(&decoded), "hello, hello, hello");
        assert_length(&folder, content.size);
        buffer_free(&decoded);
        packed_close(&packed);
        packed_close(&again);
    }
    /* Not encoded any more. */
    folder_edit(&folder, "response.headers", "deflate, gzip", "identity");
    assert_member(&folder, "response.content", "hello, hello, hello");
    assert_length(&folder, 19);
    folder_edit(&folder, "response.headers", "identity", "unheard-of");
    assert_member(&folder, "response.content", "hello, hello, hello");
    folder_write(&folder, "response.body", SPAN(""));
    assert_member(&folder, "response.content", "");
    folder_close(&folder);
}

/* Which of the body's two files counts. */
static void test_raw(void **state)
{
    (void)state;
    struct folder folder;
    struct buffer original = zlib_of(SPAN("hello"), 16 + MAX_WBITS);
    struct buffer other = zlib_of(SPAN("other"), 16 + MAX_WBITS);
    open_encoded(&folder, "gzip", buffer_bytes(&original));
    struct packed packed = packed_open(&folder);
    assert_spans(packed_get(&packed, "response.content")->bytes, buffer_bytes(&original));
    packed_close(&packed);
    /* Both edited, and they agree. */
    folder_write(&folder, "response.body.raw", buffer_bytes(&other));
    folder_write(&folder, "response.body", SPAN("other"));
    packed = packed_open(&folder);
    assert_spans(packed_get(&packed, "response.content")->bytes, buffer_bytes(&other));
    packed_close(&packed);
    folder_write(&folder, "response.body", SPAN("others"));
    assert_mistake(&folder, "response.body.raw: found bytes that decode to something else than "
                            "response.body, expected one of the two as it was unpacked; remove the "
                            "one that shall not count");
    folder_write(&folder, "response.body.raw", SPAN("garbage"));
    assert_mistake(&folder, "response.body.raw: found bytes that decode to something else than "
                            "response.body, expected one of the two as it was unpacked; remove the "
                            "one that shall not count");
    folder_remove(&folder, "response.body");
    assert_member(&folder, "response.content", "garbage");
    assert_length(&folder, original.size);
    folder_remove(&folder, "response.body.raw");
    assert_member(&folder, "response.content", "");
    assert_length(&folder, 0);
    buffer_free(&original);
    buffer_free(&other);
    folder_close(&folder);
}

/* What never was in the coding it claims is its own raw form, until it is edited. */
static void test_false_coding(void **state)
{
    (void)state;
    struct folder folder;
    open_encoded(&folder, "gzip", SPAN("plain all along"));
    assert_member(&folder, "response.content", "plain all along");
    folder_remove(&folder, "response.body.raw");
    assert_member(&folder, "response.content", "plain all along");
    folder_write(&folder, "response.body", SPAN("edited"));
    struct packed packed = packed_open(&folder);
    struct buffer decoded = BUFFER_INIT;
    inflate_to(packed_get(&packed, "response.content")->bytes, 16 + MAX_WBITS, &decoded);
    assert_bytes(buffer_bytes(&decoded), "edited");
    buffer_free(&decoded);
    packed_close(&packed);
    folder_close(&folder);
}

/* Fields that no line can hold: flow.json's count for lines that were not touched. */
static void test_exact_fields(void **state)
{
    (void)state;
    struct folder folder;
    struct buffer text = BUFFER_INIT, request = BUFFER_INIT;
    put_field(&request, SPAN("Host"), SPAN("example.com"));
    put_field(&request, SPAN("x"), SPAN("a\nb"));
    put_field(&request, SPAN("x"), SPAN("a\rb"));
    put_field(&request, SPAN("with space"), SPAN("1"));
    struct test_flow flow = {.id = "odd", .headers = &request};
    put_flow(&text, &flow);
    folder_unpack(&folder, &text);
    assert_fields(&folder, "request.headers", "Host=example.com\nx=a\nb\nx=a\rb\nwith space=1\n");
    folder_edit(&folder, "request.headers", "Host: example.com\n", "New: 1\n");
    assert_fields(&folder, "request.headers", "New=1\nx=a\nb\nx=a\rb\nwith space=1\n");
    folder_edit(&folder, "request.headers", "with space: 1\n", "x: a?b\nx: a?c\n");
    assert_fields(&folder, "request.headers", "New=1\nx=a\nb\nx=a\rb\nx=a?b\nx=a?c\n");
    folder_close(&folder);
}

/* A start line that no line can hold. */
static void test_exact_line(void **state)
{
    (void)state;
    struct folder folder;
    struct buffer text = BUFFER_INIT;
    struct test_flow flow = {.id = "odd", .path = "/a\r\nb"};
    put_flow(&text, &flow);
    folder_unpack(&folder, &text);
    assert_member(&folder, "request.path", "/a\r\nb");
    folder_edit(&folder, "flow.json", "/a\\r\\nb", "/c\\r\\nd");
    assert_member(&folder, "request.path", "/c\r\nd");
    folder_edit(&folder, "request.headers", "/a??b", "/plain");
    assert_member(&folder, "request.path", "/plain");
    assert_member(&folder, "request.host", "example.com");
    folder_close(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_line), cmocka_unit_test(test_no_tunnel),
        cmocka_unit_test(test_odd_host),     cmocka_unit_test(test_fields),
        cmocka_unit_test(test_status_line),  cmocka_unit_test(test_body),
        cmocka_unit_test(test_wrong_length), cmocka_unit_test(test_response),
        cmocka_unit_test(test_trailers),     cmocka_unit_test(test_error),
        cmocka_unit_test(test_flow_json),    cmocka_unit_test(test_authority),
        cmocka_unit_test(test_ignored),      cmocka_unit_test(test_codings),
        cmocka_unit_test(test_raw),          cmocka_unit_test(test_false_coding),
        cmocka_unit_test(test_exact_fields), cmocka_unit_test(test_exact_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
