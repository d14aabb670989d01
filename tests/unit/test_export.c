/* Exports against mitmproxy's own (the corpus), and by hand where the corpus has no such flow or
 * mitmproxy gives up. That a shell sends the request is for tests/flowcat/test_curl.py. */
#include "support.h"

#include "export.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

/* As SPAN, for what is static. */
#define CONSTANT(literal)                                                                          \
    {                                                                                              \
        (const uint8_t *)(literal), sizeof(literal) - 1                                            \
    }

void *__real_malloc(size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_realloc(void *old, size_t size);

/* How many allocations succeed until one is refused; negative: all. */
static int allowed = -1;
static bool refused, refuse_all;

static bool is_refused(void)
{
    bool now = (refused && refuse_all) || allowed == 0;
    refused |= now;
    if (allowed >= 0)
        allowed--;
    return now;
}

void *__wrap_malloc(size_t size)
{
    return is_refused() ? NULL : __real_malloc(size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return is_refused() ? NULL : __real_realloc(old, size);
}

static void open_directory(struct flowdir *directory, const struct capture *capture,
                           const struct capture_item *item)
{
    struct flow_error error = {0};
    struct capture_flow loaded;
    if (!capture_load(capture, item->extent, item->handshake, &loaded, &error) ||
        !flowdir_open(directory, &loaded, capture, "test", 1, FLOWDIR_DECODE_LIMIT, &error))
        fail_msg("%s", error.message);
}

static const struct known {
    const char *capture;
    size_t flow;
    const char *format;
} better[] = {
    /* mitmproxy sends the gzip-encoded Protocol Buffers as text in UTF-8, through a printf that
     * must know \x. */
    {"diff_data.mitm", 3, "curl"},
    {"diff_data.mitm", 3, "httpie"},
    /* It cannot join the text messages of its own old files. */
    {"dumpfile-7-websocket.mitm", 1, "raw"},
    {"dumpfile-7-websocket.mitm", 4, "raw"},
};

static size_t compared, differing;

static bool is_better(const char *capture, size_t flow, const char *format)
{
    for (size_t i = 0; i < sizeof better / sizeof *better; i++)
        if (strcmp(better[i].capture, capture) == 0 && better[i].flow == flow &&
            strcmp(better[i].format, format) == 0)
            return true;
    return false;
}

/* The golden's bytes; false where mitmproxy gives up. */
static bool golden_bytes(const json_t *golden, struct buffer *out)
{
    const json_t *bytes = json_object_get(golden, "bytes");
    if (json_is_string(golden))
        buffer_append(out, json_string_value(golden), json_string_length(golden));
    else if (bytes)
        assert_true(buffer_append_base64_decoded(out, bytes_of(json_string_value(bytes))));
    return json_is_string(golden) || bytes;
}

static void compare_export(struct flowdir *directory, const json_t *exports, const char *capture,
                           size_t number, enum export_format format)
{
    struct buffer found = BUFFER_INIT;
    struct buffer wanted = BUFFER_INIT;
    struct flow_error error = {0};
    const char *name = export_format_name(format);
    bool expected = golden_bytes(json_object_get(exports, name), &wanted);
    bool exported = export_flow(directory, format, &found, &error);
    bool same = exported == expected && bytes_equal(buffer_bytes(&found), buffer_bytes(&wanted));
    assert_int_equal(export_applies(&directory->loaded.flow, format), exported);
    assert_int_equal(error.code, exported ? 0 : ENOTSUP);
    if (is_better(capture, number, name)) {
        assert_true(exported);
        assert_false(same);
        differing++;
    } else if (!same) {
        fail_msg("%s, flow %zu, %s: %s\n%.*s\nexpected\n%.*s", capture, number, name, error.message,
                 (int)found.size, (const char *)found.data, (int)wanted.size,
                 (const char *)wanted.data);
    }
    compared++;
    buffer_free(&found);
    buffer_free(&wanted);
}

static void compare_capture(const char *path, void *context)
{
    char expected[4200];
    json_error_t json_error;
    struct flow_error error = {0};
    struct capture_item item;
    size_t number = 0;
    (void)context;
    snprintf(expected, sizeof expected, "%s.expected.json", path);
    if (access(expected, R_OK) != 0)
        return;
    json_t *golden = json_load_file(expected, JSON_ALLOW_NUL, &json_error);
    if (!golden)
        fail_msg("%s: %s", expected, json_error.text);
    const json_t *flows = json_object_get(golden, "flows");
    struct capture *capture = capture_open(path, &error);
    assert_non_null(capture);
    struct capture_scan *scan = capture_scan_open(capture, 0, &error);
    while (capture_scan_next(scan, &item, &error) && item.kind <= CAPTURE_GAP) {
        struct flowdir directory;
        if (item.kind != CAPTURE_FLOW)
            continue;
        const json_t *exports = json_object_get(json_array_get(flows, number), "exports");
        open_directory(&directory, capture, &item);
        for (int format = 0; format < EXPORT_FORMATS; format++)
            compare_export(&directory, exports, strrchr(path, '/') + 1, number,
                           (enum export_format)format);
        flowdir_close(&directory);
        number++;
    }
    assert_int_equal(number, json_array_size(flows));
    capture_scan_close(scan);
    capture_close(capture);
    json_decref(golden);
}

static void test_goldens(void **state)
{
    (void)state;
    test_captures(compare_capture, NULL);
    if (!compared) {
        print_message("# left out: no capture has exports of mitmproxy beside it\n");
        skip();
    }
    assert_int_equal(differing, sizeof better / sizeof *better);
}

/* A message of an HTTP flow. What is NULL takes a default: GET, /, no fields; content: not
 * captured. */
struct message {
    const char *method, *path, *authority, *version, *host;
    struct bytes content;
    struct bytes fields[8]; /* name, value, ... */
    struct bytes trailer[2];
};

static void put_fields(struct buffer *dict, const char *key, const struct bytes *fields,
                       size_t count)
{
    struct buffer list = BUFFER_INIT;
    for (size_t i = 0; i + 1 < count && fields[i].data; i += 2)
        put_field(&list, fields[i], fields[i + 1]);
    member_container(dict, key, ']', &list);
}

static void put_message(struct buffer *flow, const char *key, const struct message *message)
{
    struct buffer dict = BUFFER_INIT;
    if (strcmp(key, "request") == 0) {
        member_text(&dict, "host", message->host ? message->host : "h");
        member_number(&dict, "port", 80);
        member_bytes(&dict, "method", bytes_of(message->method ? message->method : "GET"));
        member_bytes(&dict, "scheme", bytes_of("http"));
        member_bytes(&dict, "authority", bytes_of(message->authority ? message->authority : ""));
        member_bytes(&dict, "path", bytes_of(message->path ? message->path : "/"));
    } else {
        member_number(&dict, "status_code", 200);
        member_bytes(&dict, "reason", bytes_of("OK"));
    }
    member_bytes(&dict, "http_version", bytes_of(message->version ? message->version : "HTTP/1.1"));
    put_fields(&dict, "headers", message->fields, 8);
    if (message->content.data)
        member_bytes(&dict, "content", message->content);
    else
        member_null(&dict, "content");
    if (message->trailer[0].data)
        put_fields(&dict, "trailers", message->trailer, 2);
    else
        member_null(&dict, "trailers");
    member_time(&dict, "timestamp_start", "1700000000.25");
    member_time(&dict, "timestamp_end", "1700000000.5");
    member_container(flow, key, '}', &dict);
}

struct fixture {
    struct test_file file;
    struct capture *capture;
    struct flowdir directory;
};

/* response: NULL if there is none. */
static struct fixture open_flow(const struct message *request, const struct message *response)
{
    struct fixture fixture;
    struct flow_error error = {0};
    struct buffer dict = BUFFER_INIT;
    struct buffer text = BUFFER_INIT;
    put_message(&dict, "request", request);
    if (response)
        put_message(&dict, "response", response);
    else
        member_null(&dict, "response");
    member_null(&dict, "error");
    member_null(&dict, "websocket");
    member_text(&dict, "type", "http");
    member_text(&dict, "id", "id");
    member_number(&dict, "version", 21);
    put_container(&text, '}', &dict);
    test_file_open(&fixture.file, buffer_bytes(&text));
    fixture.capture = capture_open(fixture.file.path, &error);
    assert_non_null(fixture.capture);
    const struct capture_item item = {.kind = CAPTURE_FLOW, .extent = {0, text.size}};
    open_directory(&fixture.directory, fixture.capture, &item);
    buffer_free(&text);
    return fixture;
}

static void close_flow(struct fixture *fixture)
{
    flowdir_close(&fixture->directory);
    capture_close(fixture->capture);
    test_file_close(&fixture->file);
}

static void assert_export(struct fixture *fixture, enum export_format format, struct bytes expected)
{
    struct buffer out = BUFFER_INIT;
    struct flow_error error = {0};
    buffer_append_text(&out, "before ");
    assert_true(export_applies(&fixture->directory.loaded.flow, format));
    if (!export_flow(&fixture->directory, format, &out, &error))
        fail_msg("%.*s: %s", (int)expected.size, (const char *)expected.data, error.message);
    assert_spans(bytes_make(out.data, 7), SPAN("before "));
    assert_spans(bytes_make(out.data + 7, out.size - 7), expected);
    buffer_free(&out);
}

static void assert_refused(struct fixture *fixture, enum export_format format, int code,
                           const char *part)
{
    struct buffer out = BUFFER_INIT;
    struct flow_error error = {0};
    buffer_append_text(&out, "before");
    assert_false(export_flow(&fixture->directory, format, &out, &error));
    assert_bytes(buffer_bytes(&out), "before");
    assert_int_equal(error.code, code);
    if (!strstr(error.message, part))
        fail_msg("%s: nothing of %s", error.message, part);
    buffer_free(&out);
}

#define LATIN_1 "caf\xE9"

/* Where mitmproxy has no command, or one that does something else. */
static const struct {
    struct message request;
    const char *curl, *httpie;
} commands[] = {
    {{.content = CONSTANT("")}, "curl http://h/", "http GET http://h/"},
    {{.method = "POST", .content = CONSTANT("it's $x")},
     "curl -X POST http://h/ -d 'it'\"'\"'s $x'",
     "http POST http://h/ <<< 'it'\"'\"'s $x'"},
    {{.method = "POST", .content = CONSTANT("")},
     "curl -H 'content-length: 0' -X POST http://h/",
     "http POST http://h/"},
    {{.method = "POST", .content = CONSTANT("@file")},
     "curl -X POST http://h/ --data-raw @file",
     "http POST http://h/ <<< @file"},
    {{.content = CONSTANT("-\n%\\'\0-\x7F")},
     "printf '\\055\\012%%\\\\\\047\\000-\\177' | "
     "curl -H content-type: -X GET http://h/ --data-binary @-",
     "printf '\\055\\012%%\\\\\\047\\000-\\177' | http GET http://h/ content-type:"},
    {{.method = "PUT",
      .content = CONSTANT(LATIN_1),
      .fields = {CONSTANT("Content-Type"), CONSTANT("text/plain; charset=latin-1")}},
     "printf 'caf\\351' | curl -H 'Content-Type: text/plain; charset=latin-1' -X PUT http://h/ "
     "--data-binary @-",
     "printf 'caf\\351' | http PUT http://h/ 'Content-Type: text/plain; charset=latin-1'"},
    {{.method = "PUT",
      .content = CONSTANT("as it is"),
      .fields = {CONSTANT("Content-Encoding"), CONSTANT("gzip"), CONSTANT("Content-Length"),
                 CONSTANT("8")}},
     "curl -H 'Content-Encoding: gzip' -X PUT http://h/ -d 'as it is'",
     "http PUT http://h/ 'Content-Encoding: gzip' <<< 'as it is'"},
    {{.fields = {CONSTANT("X-Raw"), CONSTANT("\xE9'\x01"), CONSTANT("x-empty"), CONSTANT(""),
                 CONSTANT("x-blank"), CONSTANT(" \t"), CONSTANT("Accept-Encoding"),
                 CONSTANT("br")}},
     "curl -H 'X-Raw: \xE9'\"'\"'\x01' -H 'x-empty;' -H 'x-blank;' --compressed http://h/",
     "http GET http://h/ 'X-Raw: \xE9'\"'\"'\x01' 'x-empty;' 'x-blank;' 'Accept-Encoding: br'"},
    {{.method = "HEAD", .content = CONSTANT("")}, "curl --head http://h/", "http HEAD http://h/"},
    {{.method = "HEAD", .content = CONSTANT("x")},
     "curl -X HEAD http://h/ -d x",
     "http HEAD http://h/ <<< x"},
    {{.method = "get"}, "curl -H 'content-length: 0' -X get http://h/", "http get http://h/"},
    {{.path = "/a[1]/{b}?c=/../"},
     "curl --globoff 'http://h/a[1]/{b}?c=/../'",
     "http GET 'http://h/a[1]/{b}?c=/../'"},
    {{.path = "/a/../b"},
     "curl --path-as-is http://h/a/../b",
     "http --path-as-is GET http://h/a/../b"},
    {{.path = "/a/."}, "curl --path-as-is http://h/a/.", "http --path-as-is GET http://h/a/."},
    {{.path = "/a b#c"}, "curl --request-target '/a b#c' http://h/", "http GET 'http://h/a b#c'"},
    {{.path = "/\xC3\xBC"},
     "curl --request-target '/\xC3\xBC' http://h/",
     "http GET 'http://h/\xC3\xBC'"},
    {{.method = "OPTIONS", .path = "*", .content = CONSTANT("x")},
     "curl -X OPTIONS http://h -d x",
     "http OPTIONS http://h <<< x"},
    {{.fields = {CONSTANT("Host"), CONSTANT("[::1]:8080")}, .path = "/x", .host = "::1"},
     "curl -H 'Host: [::1]:8080' 'http://[::1]:8080/x'",
     "http GET 'http://[::1]:8080/x' 'Host: [::1]:8080'"},
    {{.fields = {CONSTANT("Host"), CONSTANT("h")}, .path = "/x"},
     "curl http://h/x",
     "http GET http://h/x"},
    {{.version = "HTTP/2.0",
      .authority = "h2.example:81",
      .path = "/x",
      .fields = {CONSTANT("cookie"), CONSTANT("a"), CONSTANT("cookie"), CONSTANT("b")}},
     "curl -H 'cookie: a' -H 'cookie: b' http://h2.example:81/x",
     "http GET http://h2.example:81/x 'cookie: a' 'cookie: b'"},
    {{.method = "POST",
      .fields = {CONSTANT("Transfer-Encoding"), CONSTANT("gzip, Chunked")},
      .content = CONSTANT("x")},
     "curl -H 'Transfer-Encoding: gzip, Chunked' -X POST http://h/ -d x",
     "http --chunked POST http://h/ <<< x"},
    {{.fields = {CONSTANT("Transfer-Encoding"), CONSTANT("chunked")}, .content = CONSTANT("")},
     "curl -H 'Transfer-Encoding: chunked' -H content-type: -X GET http://h/ -d ''",
     "http GET http://h/"},
};

static void test_commands(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        struct fixture fixture = open_flow(&commands[i].request, NULL);
        assert_export(&fixture, EXPORT_CURL, bytes_of(commands[i].curl));
        assert_export(&fixture, EXPORT_HTTPIE, bytes_of(commands[i].httpie));
        close_flow(&fixture);
    }
}

/* No word and no printf is longer than a system without a built-in printf takes. */
static void test_long_content(void **state)
{
    (void)state;
    static uint8_t text[(1 << 20) + 1];
    static const size_t sizes[] = {1 << 16, (1 << 16) + 1, 1 << 20, (1 << 20) + 1};
    memset(text, '-', sizeof text);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct message request = {.method = "PUT", .content = bytes_make(text, sizes[i])};
        struct fixture fixture = open_flow(&request, NULL);
        struct buffer out = BUFFER_INIT;
        struct flow_error error = {0};
        assert_true(export_flow(&fixture.directory, EXPORT_CURL, &out, &error));
        buffer_append_byte(&out, '\0');
        assert_int_equal(strncmp((const char *)out.data, "{ printf '\\055-", 15) == 0, i > 0);
        assert_int_equal(strstr((const char *)out.data, " -H expect: ") != NULL, i == 3);
        for (size_t at = 0, start = 0; i > 0 && at < out.size; at++)
            if (out.data[at] == '\'' || at + 1 == out.size) {
                assert_true(at - start < 128 << 10);
                start = at;
            }
        buffer_free(&out);
        close_flow(&fixture);
    }
}

static struct buffer gzip_of(const void *data, size_t size)
{
    struct buffer out = BUFFER_INIT;
    z_stream stream = {.next_in = (z_const Bytef *)(uintptr_t)data, .avail_in = (uInt)size};
    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_true(buffer_reserve(&out, deflateBound(&stream, size)));
    stream.next_out = out.data;
    stream.avail_out = (uInt)out.capacity;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    out.size = stream.total_out;
    deflateEnd(&stream);
    return out;
}

static void test_raw(void **state)
{
    (void)state;
    struct buffer packed = gzip_of("hello", 5);
    struct buffer nothing = gzip_of("", 0);
    const struct bytes gzip[] = {SPAN("Content-Encoding"), SPAN("gzip")};
    const struct bytes length[] = {SPAN("Content-LENGTH"), SPAN("99")};
    const struct bytes chunked[] = {SPAN("transfer-encoding"), SPAN("Chunked")};
    const struct bytes trailer[] = {SPAN("x-t"), SPAN("1")};
    const struct bytes none[] = {{NULL, 0}, {NULL, 0}};
    const struct {
        struct bytes content;
        const struct bytes *first, *second, *trailer;
        const char *expected;
    } rows[] = {
        {SPAN("hello"), none, none, none, "content-length: 5\r\n\r\nhello"},
        {SPAN("hello"), length, length, none, "Content-LENGTH: 5\r\n\r\nhello"},
        {SPAN(""), gzip, length, none, "Content-Encoding: gzip\r\nContent-LENGTH: 99\r\n\r\n"},
        {buffer_bytes(&packed), length, gzip, none, "Content-LENGTH: 5\r\n\r\nhello"},
        {SPAN("broken"), gzip, length, none, "Content-LENGTH: 6\r\n\r\nbroken"},
        {buffer_bytes(&nothing), length, gzip, none, "Content-LENGTH: 0\r\n\r\n"},
        {buffer_bytes(&nothing), chunked, gzip, none,
         "transfer-encoding: Chunked\r\n\r\n0\r\n\r\n"},
        {buffer_bytes(&packed), chunked, gzip, trailer,
         "transfer-encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\nx-t: 1\r\n\r\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct message message = {
            .content = rows[i].content,
            .fields = {rows[i].first[0], rows[i].first[1], rows[i].second[0], rows[i].second[1]},
            .trailer = {rows[i].trailer[0], rows[i].trailer[1]},
        };
        const struct message uncaptured = {.path = "/"};
        struct buffer request = BUFFER_INIT;
        struct buffer both = BUFFER_INIT;
        struct fixture fixture = open_flow(&message, &message);
        buffer_printf(&request, "GET / HTTP/1.1\r\n%s", rows[i].expected);
        buffer_printf(&both, "%.*s\r\n\r\nHTTP/1.1 200 OK\r\n%s", (int)request.size,
                      (const char *)request.data, rows[i].expected);
        assert_export(&fixture, EXPORT_RAW_REQUEST, buffer_bytes(&request));
        assert_export(&fixture, EXPORT_RAW, buffer_bytes(&both));
        close_flow(&fixture);
        size_t start = request.size + 4;
        struct bytes response = bytes_make(both.data + start, both.size - start);
        fixture = open_flow(&uncaptured, &message);
        assert_export(&fixture, EXPORT_RAW_RESPONSE, response);
        assert_export(&fixture, EXPORT_RAW, response);
        close_flow(&fixture);
        buffer_free(&request);
        buffer_free(&both);
    }
    buffer_free(&packed);
    buffer_free(&nothing);
}

static void test_request_lines(void **state)
{
    (void)state;
    static const struct {
        const char *method, *authority, *path, *expected;
    } rows[] = {
        {"GET", "", "*", "GET * HTTP/1.0\r\n\r\n"},
        {"GET", "p:81", "/x", "GET http://p:81/x HTTP/1.0\r\n\r\n"},
        {"connect", "p:443", "/x", "connect p:443 HTTP/1.0\r\n\r\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct message request = {.method = rows[i].method,
                                        .authority = rows[i].authority,
                                        .path = rows[i].path,
                                        .version = "HTTP/1.0",
                                        .content = SPAN("")};
        struct fixture fixture = open_flow(&request, NULL);
        assert_export(&fixture, EXPORT_RAW_REQUEST, bytes_of(rows[i].expected));
        close_flow(&fixture);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct message nul = {.fields = {CONSTANT("a"), CONSTANT("b\0c")},
                                       .content = CONSTANT("")};
    static const struct message at = {.fields = {CONSTANT("@a"), CONSTANT("b")},
                                      .content = CONSTANT("\n")};
    static const struct message equals = {.fields = {CONSTANT("a=b"), CONSTANT("c")}};
    static const struct message trailers = {.content = CONSTANT("x"),
                                            .trailer = {CONSTANT("a"), CONSTANT("b")}};
    static const struct message uncaptured = {.path = "/"};
    struct fixture fixture = open_flow(&nul, NULL);
    assert_refused(&fixture, EXPORT_CURL, ENOTSUP, "NUL");
    assert_refused(&fixture, EXPORT_HTTPIE, ENOTSUP, "NUL");
    assert_refused(&fixture, EXPORT_RAW_RESPONSE, ENOTSUP, "no response");
    assert_export(&fixture, EXPORT_RAW, SPAN("GET / HTTP/1.1\r\na: b\0c\r\n\r\n"));
    close_flow(&fixture);
    fixture = open_flow(&at, NULL);
    assert_refused(&fixture, EXPORT_CURL, ENOTSUP, "@");
    assert_refused(&fixture, EXPORT_HTTPIE, ENOTSUP, "@");
    close_flow(&fixture);
    fixture = open_flow(&equals, NULL);
    assert_export(&fixture, EXPORT_CURL, SPAN("curl -H 'a=b: c' http://h/"));
    assert_refused(&fixture, EXPORT_HTTPIE, ENOTSUP, "=");
    close_flow(&fixture);
    fixture = open_flow(&at, &trailers);
    assert_refused(&fixture, EXPORT_RAW, ENOTSUP, "the response has trailers");
    assert_false(export_applies(&fixture.directory.loaded.flow, EXPORT_RAW));
    close_flow(&fixture);
    fixture = open_flow(&uncaptured, &uncaptured);
    assert_refused(&fixture, EXPORT_RAW, ENOTSUP, "neither");
    assert_refused(&fixture, EXPORT_RAW_REQUEST, ENOTSUP, "the request's content");
    assert_refused(&fixture, EXPORT_RAW_RESPONSE, ENOTSUP, "the response's content");
    assert_export(&fixture, EXPORT_CURL, SPAN("curl http://h/"));
    close_flow(&fixture);
}

/* Content that decodes to more than is exported at once. */
static void test_bomb(void **state)
{
    (void)state;
    const size_t size = EXPORT_LONGEST_BODY + 1;
    uint8_t *zeros = calloc(1, size);
    assert_non_null(zeros);
    struct buffer bomb = gzip_of(zeros, size);
    free(zeros);
    const struct message message = {.content = buffer_bytes(&bomb),
                                    .fields = {SPAN("content-encoding"), SPAN("gzip")}};
    struct fixture fixture = open_flow(&message, &message);
    assert_refused(&fixture, EXPORT_RAW_RESPONSE, EFBIG, "268435457");
    assert_refused(&fixture, EXPORT_RAW, EFBIG, "268435457");
    close_flow(&fixture);
    buffer_free(&bomb);
}

/* Exports while allocation number `count` fails; returns whether there are so many. */
static bool fails_without(const struct message *message, enum export_format format, int count)
{
    struct fixture fixture = open_flow(message, message);
    struct buffer out = BUFFER_INIT;
    struct flow_error error = {0};
    refused = false;
    allowed = count;
    bool exported = export_flow(&fixture.directory, format, &out, &error);
    bool failing = refused;
    allowed = -1;
    refused = false;
    assert_int_equal(exported, !failing);
    assert_int_equal(error.code, failing ? ENOMEM : 0);
    assert_int_equal(out.size > 0, exported);
    buffer_free(&out);
    close_flow(&fixture);
    return failing;
}

/* Each allocation fails in turn, alone or with all that follow: ENOMEM, and nothing is appended. */
static void test_memory(void **state)
{
    (void)state;
    static const struct message message = {
        .content = CONSTANT("a\0b"),
        .fields = {CONSTANT("Host"), CONSTANT("a"), CONSTANT("Host"), CONSTANT("[::1]"),
                   CONSTANT("x"), CONSTANT("1")},
    };
    static const struct message address = {.fields = {CONSTANT("Host"), CONSTANT("[::1]:1")},
                                           .content = CONSTANT("")};
    const struct message *const messages[] = {&message, &address};
    for (size_t i = 0; i < 4; i++)
        for (int format = 0; format < EXPORT_FORMATS; format++) {
            int count = 0;
            refuse_all = i & 1;
            while (fails_without(messages[i / 2], (enum export_format)format, count))
                count++;
            assert_in_range(count, 1, 100);
        }
}

static void test_names(void **state)
{
    (void)state;
    static const char *const names[] = {"curl", "httpie", "raw", "raw_request", "raw_response"};
    assert_int_equal(sizeof names / sizeof *names, EXPORT_FORMATS);
    for (int format = 0; format < EXPORT_FORMATS; format++) {
        assert_string_equal(export_format_name((enum export_format)format), names[format]);
        assert_true(strlen(export_format_description((enum export_format)format)) > 20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goldens),       cmocka_unit_test(test_commands),
        cmocka_unit_test(test_long_content),  cmocka_unit_test(test_raw),
        cmocka_unit_test(test_request_lines), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_bomb),          cmocka_unit_test(test_memory),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
