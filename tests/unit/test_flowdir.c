/* A flow as a directory: which files there are, and each file's content against what was put into
 * the flow, written out by hand. JSON is parsed by jansson, not by what wrote it. */
#include "support.h"

#include "flowdir.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

struct fixture {
    struct test_file file;
    struct capture *capture;
    struct flowdir directory;
};

/* Opens the one flow that `text` is, and frees the text. */
static struct fixture open_limited(struct buffer *text, uint64_t limit)
{
    struct fixture fixture;
    struct flow_error error = {0};
    struct capture_flow loaded;
    struct capture_extent extent = {0, text->size};
    struct capture_extent none = {0, 0};
    test_file_open(&fixture.file, buffer_bytes(text));
    buffer_free(text);
    fixture.capture = capture_open(fixture.file.path, &error);
    assert_non_null(fixture.capture);
    if (!capture_load(fixture.capture, extent, none, &loaded, &error) ||
        !flowdir_open(&fixture.directory, &loaded, fixture.capture, "test.mitm", 7, limit, &error))
        fail_msg("%s at %" PRIu64, error.message, error.offset);
    return fixture;
}

static struct fixture open_flow(struct buffer *text)
{
    return open_limited(text, 1 << 20);
}

static void close_flow(struct fixture *fixture)
{
    flowdir_close(&fixture->directory);
    flowdir_close(&fixture->directory); /* harmless */
    capture_close(fixture->capture);
    test_file_close(&fixture->file);
}

static struct buffer render(struct fixture *fixture, enum flowdir_file file)
{
    struct buffer out = BUFFER_INIT;
    struct flow_error error = {0};
    assert_true(flowdir_has(&fixture->directory, file));
    if (!flowdir_render(&fixture->directory, file, &out, &error))
        fail_msg("%s: %s", flowdir_file_name(file), error.message);
    return out;
}

static void assert_file(struct fixture *fixture, enum flowdir_file file, struct bytes expected)
{
    struct buffer out = render(fixture, file);
    assert_spans(buffer_bytes(&out), expected);
    buffer_free(&out);
}

static json_t *parse(struct fixture *fixture, enum flowdir_file file)
{
    json_error_t error;
    struct buffer out = render(fixture, file);
    json_t *json = json_loadb((const char *)out.data, out.size, JSON_REJECT_DUPLICATES, &error);
    if (!json)
        fail_msg("%s: %s in line %d:\n%.*s", flowdir_file_name(file), error.text, error.line,
                 (int)out.size, (const char *)out.data);
    assert_int_equal(out.data[out.size - 1], '\n');
    buffer_free(&out);
    return json;
}

static void assert_json(struct fixture *fixture, enum flowdir_file file, const char *expected)
{
    json_error_t error;
    json_t *found = parse(fixture, file);
    /* What packing must know beside: test_flowdir_pack.c. */
    if (file == FLOWDIR_FLOW)
        json_object_del(found, "flowfs");
    json_t *wanted = json_loads(expected, 0, &error);
    if (!wanted)
        fail_msg("the test's own JSON: %s, line %d", error.text, error.line);
    if (!json_equal(found, wanted)) {
        char *text = json_dumps(found, JSON_INDENT(1));
        print_error("found %s\nexpected %s\n", text, expected);
        free(text);
        fail();
    }
    json_decref(found);
    json_decref(wanted);
}

/* The files that are there, one letter each in the order of enum flowdir_file, `-` for those that
 * are not: s f, q b w t for the request's, Q B W T for the response's, e, d D. */
static void assert_files(struct fixture *fixture, const char *expected)
{
    static const char letters[] = "sfqbwtQBWTedD";
    char found[FLOWDIR_FILES + 1] = {0};
    for (int file = 0; file < FLOWDIR_FILES; file++)
        found[file] =
            flowdir_has(&fixture->directory, (enum flowdir_file)file) ? letters[file] : '-';
    assert_string_equal(found, expected);
    uint16_t files = flowdir_files(&fixture->directory.loaded.flow);
    for (int file = 0; file < FLOWDIR_FILES; file++)
        assert_int_equal(files >> file & 1, found[file] != '-');
}

static void test_names(void **state)
{
    (void)state;
    static const char *const names[] = {
        "summary.json",
        "flow.json",
        "request.headers",
        "request.body",
        "request.body.raw",
        "request.trailers",
        "response.headers",
        "response.body",
        "response.body.raw",
        "response.trailers",
        "error",
        "query.json",
        "answer.json",
    };
    assert_int_equal(sizeof names / sizeof *names, FLOWDIR_FILES);
    for (int file = 0; file < FLOWDIR_FILES; file++) {
        assert_string_equal(flowdir_file_name((enum flowdir_file)file), names[file]);
        assert_int_equal(flowdir_file_of_name(bytes_of(names[file])), file);
    }
    static const char *const absent[] = {"",      "summary", "summary.jsonx",
                                         "Error", "request", "messages"};
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
        assert_int_equal(flowdir_file_of_name(bytes_of(absent[i])), FLOWDIR_FILES);
}

static void test_simple(void **state)
{
    (void)state;
    struct buffer text = BUFFER_INIT;
    struct buffer response = BUFFER_INIT;
    put_field(&response, SPAN("Content-Type"), SPAN("text/plain"));
    put_field(&response, SPAN("x-Two"), SPAN(""));
    put_field(&response, SPAN("x-Two"), SPAN("a: b \xFF"));
    struct test_flow flow = {
        .id = "simple",
        .path = "/a b?c",
        .body = SPAN("upload"),
        .response_headers = &response,
        .response_body = SPAN("hello\0world"),
    };
    put_flow(&text, &flow);
    buffer_free(&response);
    struct fixture fixture = open_flow(&text);
    assert_files(&fixture, "sfqb--QB-----");
    assert_file(&fixture, FLOWDIR_REQUEST_HEADERS,
                SPAN("GET http://example.com/a b?c HTTP/1.1\nHost: example.com\n"));
    assert_file(&fixture, FLOWDIR_RESPONSE_HEADERS,
                SPAN("HTTP/1.1 200 OK\nContent-Type: text/plain\nx-Two: \nx-Two: a: b \xFF\n"));
    /* What the other files hold is not here: start lines, headers, contents. */
    assert_json(&fixture, FLOWDIR_FLOW,
                "{\"request\": {\"authority\": {\"bytes\": \"\"}, \"trailers\": null, "
                "\"timestamp_start\": 1700000000.25, \"timestamp_end\": 1700000000.5}, "
                "\"response\": {\"trailers\": null, \"timestamp_start\": 1700000001.5, "
                "\"timestamp_end\": 1700000002.0}, \"error\": null, \"websocket\": null, "
                "\"type\": \"http\", \"id\": \"simple\", \"version\": 21}");
    assert_json(
        &fixture, FLOWDIR_SUMMARY,
        "{\"id\": \"simple\", \"type\": \"http\", \"capture\": \"test.mitm\", \"number\": 7, "
        "\"method\": \"GET\", \"url\": \"http://example.com/a b?c\", \"host\": \"example.com\", "
        "\"port\": 80, \"scheme\": \"http\", \"path\": \"/a b?c\", \"status\": 200, \"reason\": "
        "\"OK\", \"http_version\": \"HTTP/1.1\", \"request\": {\"content_type\": null, \"size\": "
        "6, "
        "\"size_on_wire\": 6, \"encoding\": null, \"decoded\": true}, \"response\": "
        "{\"content_type\": \"text/plain\", \"size\": 11, \"size_on_wire\": 11, \"encoding\": "
        "null, \"decoded\": true}, \"start\": \"2023-11-14T22:13:20.250000Z\", \"start_epoch\": "
        "1700000000.25, \"duration_ms\": 1750.0, \"client_address\": null, \"server_address\": "
        "null, \"tls_version\": null, \"sni\": null, \"alpn\": null, \"error\": null, \"marked\": "
        "\"\", \"comment\": \"\", \"replay\": null}");
    assert_true(flowdir_time(&fixture.directory, FLOWDIR_REQUEST_BODY) == 1700000000.5);
    assert_true(flowdir_time(&fixture.directory, FLOWDIR_RESPONSE_HEADERS) == 1700000002.0);
    assert_true(flowdir_time(&fixture.directory, FLOWDIR_FLOW) == 1700000000.25);
    close_flow(&fixture);
}

/* Whether flow.json holds the header fields, because no text could. */
static bool flow_has_headers(const struct bytes *fields, size_t count, const char *shown)
{
    struct buffer text = BUFFER_INIT;
    struct buffer headers = BUFFER_INIT;
    for (size_t i = 0; i < count; i++)
        put_field(&headers, fields[2 * i], fields[2 * i + 1]);
    struct test_flow flow = {.id = "h", .headers = &headers};
    put_flow(&text, &flow);
    buffer_free(&headers);
    struct fixture fixture = open_flow(&text);
    struct buffer expected = BUFFER_INIT;
    buffer_append_text(&expected, "GET http://example.com/ HTTP/1.1\n");
    buffer_append_text(&expected, shown);
    assert_file(&fixture, FLOWDIR_REQUEST_HEADERS, buffer_bytes(&expected));
    buffer_free(&expected);
    json_t *json = parse(&fixture, FLOWDIR_FLOW);
    bool has = json_object_get(json_object_get(json, "request"), "headers") != NULL;
    json_decref(json);
    close_flow(&fixture);
    return has;
}

static void test_lines(void **state)
{
    (void)state;
    const struct bytes safe[] = {SPAN("a"), SPAN("b"), SPAN(":path"),
                                 SPAN("/"), SPAN("x"), SPAN(" \xFF:")};
    assert_false(flow_has_headers(safe, 3, "a: b\n:path: /\nx:  \xFF:\n"));
    assert_false(flow_has_headers(safe, 0, ""));
    const struct {
        struct bytes field[2];
        const char *shown;
    } unsafe[] = {
        {{SPAN("a"), SPAN("b\nc: d")}, "a: b?c: d\n"}, {{SPAN("a"), SPAN("b\rc")}, "a: b?c\n"},
        {{SPAN("a"), SPAN("\0")}, "a: ?\n"},           {{SPAN("a:b"), SPAN("c")}, "a:b: c\n"},
        {{SPAN("a\n"), SPAN("c")}, "a?: c\n"},         {{SPAN(""), SPAN("c")}, ": c\n"},
        {{SPAN("a b"), SPAN("c")}, "a b: c\n"},
    };
    for (size_t i = 0; i < sizeof unsafe / sizeof *unsafe; i++)
        assert_true(flow_has_headers(unsafe[i].field, 1, unsafe[i].shown));
}

/* A start line that no line can hold is in flow.json, with the headers still in their file. */
static void test_start_line(void **state)
{
    (void)state;
    struct buffer text = BUFFER_INIT;
    struct test_flow flow = {.id = "s", .path = "/a\r\nb"};
    put_flow(&text, &flow);
    struct fixture fixture = open_flow(&text);
    assert_file(&fixture, FLOWDIR_REQUEST_HEADERS,
                SPAN("GET http://example.com/a??b HTTP/1.1\nHost: example.com\n"));
    json_t *json = parse(&fixture, FLOWDIR_FLOW);
    const json_t *request = json_object_get(json, "request");
    const char *path =
        json_string_value(json_object_get(json_object_get(request, "path"), "bytes"));
    assert_non_null(path);
    assert_string_equal(path, "/a\r\nb");
    assert_non_null(json_object_get(request, "method"));
    assert_non_null(json_object_get(request, "http_version"));
    assert_null(json_object_get(request, "headers"));
    json_decref(json);
    close_flow(&fixture);
}

static struct buffer zlib_of(const uint8_t *data, size_t size)
{
    struct buffer out = BUFFER_INIT;
    uLongf length = compressBound(size);
    assert_true(buffer_reserve(&out, length));
    assert_int_equal(compress(out.data, &length, data, size), Z_OK);
    out.size = length;
    return out;
}

/* A response with this Content-Encoding and content. */
static struct fixture encoded_response(struct bytes encoding, struct bytes content, uint64_t limit)
{
    struct buffer text = BUFFER_INIT;
    struct buffer headers = BUFFER_INIT;
    put_field(&headers, SPAN("content-encoding"), encoding);
    struct test_flow flow = {.id = "e", .response_headers = &headers, .response_body = content};
    put_flow(&text, &flow);
    buffer_free(&headers);
    return open_limited(&text, limit);
}

static void test_bodies(void **state)
{
    (void)state;
    static uint8_t plain[5000];
    memset(plain, 'z', sizeof plain);
    struct buffer packed = zlib_of(plain, sizeof plain);
    const struct {
        struct bytes encoding, content;
        uint64_t limit;
        bool raw_file, decodes;
        uint64_t size;
    } rows[] = {
        {SPAN("deflate"), buffer_bytes(&packed), 5000, true, true, 5000},
        {SPAN("deflate"), buffer_bytes(&packed), 4999, true, false, packed.size},
        {SPAN("deflate"), bytes_make(packed.data, packed.size - 5), 5000, true, false,
         packed.size - 5},
        {SPAN("deflate"), SPAN("nonsense"), 5000, true, false, 8},
        {SPAN("unheard-of"), SPAN("abc"), 5000, true, false, 3},
        {SPAN("identity"), SPAN("abc"), 5000, false, true, 3},
        {SPAN(""), SPAN("abc"), 5000, false, true, 3},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fixture fixture = encoded_response(rows[i].encoding, rows[i].content, rows[i].limit);
        struct flow_error error = {0};
        bool raw;
        assert_files(&fixture, rows[i].raw_file ? "sfq---QBW----" : "sfq---QB-----");
        assert_null(flowdir_body(&fixture.directory, FLOWDIR_FLOW, &raw));
        struct flowdir_body *body = flowdir_body(&fixture.directory, FLOWDIR_RESPONSE_BODY, &raw);
        assert_false(raw);
        assert_ptr_equal(flowdir_body(&fixture.directory, FLOWDIR_RESPONSE_BODY_RAW, &raw), body);
        assert_true(raw);
        assert_true(flowdir_measure(&fixture.directory, body, &error));
        if (body->decodes != rows[i].decodes || body->decoded_size != rows[i].size)
            fail_msg("row %zu: %s, %" PRIu64 " bytes: %s", i,
                     body->decodes ? "decodes" : "does not decode", body->decoded_size,
                     body->why_not.message);
        json_t *json = parse(&fixture, FLOWDIR_SUMMARY);
        const json_t *side = json_object_get(json, "response");
        assert_int_equal(json_is_true(json_object_get(side, "decoded")), rows[i].decodes);
        assert_int_equal(json_integer_value(json_object_get(side, "size")), rows[i].size);
        assert_int_equal(json_integer_value(json_object_get(side, "size_on_wire")),
                         rows[i].content.size);
        assert_int_equal(json_object_get(side, "decode_error") != NULL, !rows[i].decodes);
        json_decref(json);
        close_flow(&fixture);
    }
    buffer_free(&packed);
}

/* A flow made of the members in `dict`, which is freed. */
static struct fixture open_dict(struct buffer *dict, const char *type)
{
    struct buffer text = BUFFER_INIT;
    member_text(dict, "type", type);
    member_text(dict, "id", "an-id");
    member_number(dict, "version", 21);
    put_container(&text, '}', dict);
    return open_flow(&text);
}

static void put_stream_message(struct buffer *list, bool from_client, struct bytes content)
{
    struct buffer item = BUFFER_INIT;
    put_element(&item, '!', bytes_of(from_client ? "true" : "false"));
    put_bytes(&item, content);
    put_element(&item, '^', bytes_of("1700000000.5"));
    put_container(list, ']', &item);
}

static void assert_message(struct fixture *fixture, size_t number, const char *name,
                           struct bytes content)
{
    char found[FLOWDIR_MESSAGE_NAME_SIZE];
    flowdir_message_name(&fixture->directory, number, found);
    assert_string_equal(found, name);
    assert_int_equal(flowdir_message_of_name(bytes_of(name)), number);
    assert_spans(value_string(flowdir_message(&fixture->directory, number).content), content);
}

static void test_tcp(void **state)
{
    (void)state;
    struct buffer dict = BUFFER_INIT;
    struct buffer messages = BUFFER_INIT;
    struct buffer error = BUFFER_INIT;
    put_stream_message(&messages, true, SPAN("hello"));
    put_stream_message(&messages, false, SPAN("\x00\x01"));
    put_stream_message(&messages, false, SPAN("\xFF"));
    put_text(&messages, "no message");
    put_stream_message(&messages, true, SPAN(""));
    member_container(&dict, "messages", ']', &messages);
    member_text(&error, "msg", "reset\nby peer");
    member_time(&error, "timestamp", "1700000003.5");
    member_container(&dict, "error", '}', &error);
    struct fixture fixture = open_dict(&dict, "tcp");
    assert_files(&fixture, "sf--------e--");
    assert_int_equal(fixture.directory.message_count, 4);
    assert_message(&fixture, 1, "0001-client.txt", SPAN("hello"));
    assert_message(&fixture, 2, "0002-server.bin", SPAN("\x00\x01"));
    assert_message(&fixture, 3, "0003-server.bin", SPAN("\xFF"));
    assert_message(&fixture, 4, "0004-client.txt", SPAN(""));
    assert_file(&fixture, FLOWDIR_ERROR, SPAN("reset\nby peer\n"));
    assert_json(
        &fixture, FLOWDIR_FLOW,
        "{\"messages\": [[true, {\"bytes\": \"hello\"}, 1700000000.5], "
        "[false, {\"base64\": \"AAE=\"}, 1700000000.5], [false, {\"base64\": \"/w==\"}, "
        "1700000000.5], \"no message\", [true, {\"bytes\": \"\"}, 1700000000.5]], \"error\": "
        "{\"timestamp\": 1700000003.5}, \"type\": \"tcp\", \"id\": \"an-id\", "
        "\"version\": 21}");
    json_t *json = parse(&fixture, FLOWDIR_SUMMARY);
    json_t *counts = json_object_get(json, "messages");
    assert_int_equal(json_integer_value(json_object_get(counts, "from_client")), 2);
    assert_int_equal(json_integer_value(json_object_get(counts, "from_server")), 2);
    assert_int_equal(json_integer_value(json_object_get(counts, "size_from_client")), 5);
    assert_int_equal(json_integer_value(json_object_get(counts, "size_from_server")), 3);
    assert_string_equal(json_string_value(json_object_get(json, "error")), "reset\nby peer");
    json_decref(json);
    close_flow(&fixture);
}

static void test_message_names(void **state)
{
    (void)state;
    assert_int_equal(flowdir_message_of_name(SPAN("12345-client.txt")), 12345);
    static const char *const wrong[] = {"",
                                        "1",
                                        "0001",
                                        "001-client.txt",
                                        "x001-client.txt",
                                        "-0001-client.txt",
                                        "99999999999999999999-client.txt"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(flowdir_message_of_name(bytes_of(wrong[i])), 0);
}

static void put_dns_message(struct buffer *dict, const char *key, size_t long_name)
{
    struct buffer message = BUFFER_INIT;
    struct buffer questions = BUFFER_INIT;
    struct buffer question = BUFFER_INIT;
    char *name = calloc(1, long_name + 16);
    assert_non_null(name);
    memset(name, 'n', long_name);
    member_text(&question, "name", long_name ? name : "example.org");
    member_number(&question, "type", 1);
    member_number(&question, "class", 1);
    put_container(&questions, '}', &question);
    member_container(&message, "questions", ']', &questions);
    member_time(&message, "timestamp", "1700000000.0");
    member_container(dict, key, '}', &message);
    free(name);
}

static void test_dns(void **state)
{
    (void)state;
    struct buffer dict = BUFFER_INIT;
    put_dns_message(&dict, "request", 0);
    member_null(&dict, "response");
    struct fixture fixture = open_dict(&dict, "dns");
    assert_files(&fixture, "sf---------d-");
    assert_json(&fixture, FLOWDIR_QUERY,
                "{\"questions\": [{\"name\": \"example.org\", \"type\": 1, \"class\": 1}], "
                "\"timestamp\": 1700000000.0}");
    assert_json(&fixture, FLOWDIR_FLOW,
                "{\"response\": null, \"type\": \"dns\", \"id\": \"an-id\", \"version\": 21}");
    json_decref(parse(&fixture, FLOWDIR_SUMMARY));
    close_flow(&fixture);
}

/* In a flow above 1 MB strings above 256 KB are left in the capture: those that are no bodies are
 * fetched, wherever they are shown. */
static void test_long_strings(void **state)
{
    (void)state;
    static char long_text[(1 << 20) + 100];
    memset(long_text, 'e', sizeof long_text - 1);
    struct buffer dict = BUFFER_INIT;
    struct buffer error = BUFFER_INIT;
    put_dns_message(&dict, "request", 1 << 20);
    put_dns_message(&dict, "response", 300000);
    member_text(&error, "msg", long_text);
    member_container(&dict, "error", '}', &error);
    member_text(&dict, "comment", long_text);
    struct fixture fixture = open_dict(&dict, "dns");
    assert_files(&fixture, "sf--------edD");
    static const enum flowdir_file files[] = {FLOWDIR_QUERY, FLOWDIR_ANSWER};
    static const size_t sizes[] = {1 << 20, 300000};
    for (size_t i = 0; i < 2; i++) {
        json_t *json = parse(&fixture, files[i]);
        const json_t *question = json_array_get(json_object_get(json, "questions"), 0);
        assert_int_equal(json_string_length(json_object_get(question, "name")), sizes[i]);
        json_decref(json);
    }
    json_t *json = parse(&fixture, FLOWDIR_FLOW);
    assert_string_equal(json_string_value(json_object_get(json, "comment")), long_text);
    json_decref(json);
    json_decref(parse(&fixture, FLOWDIR_SUMMARY));
    struct buffer out = render(&fixture, FLOWDIR_ERROR);
    assert_int_equal(out.size, sizeof long_text);
    assert_memory_equal(out.data, long_text, sizeof long_text - 1);
    buffer_free(&out);
    close_flow(&fixture);
}

/* Members that no version has, and values that JSON has no form for, are in flow.json. */
static void test_unknown_members(void **state)
{
    (void)state;
    struct buffer dict = BUFFER_INIT;
    struct buffer tagged = BUFFER_INIT;
    struct buffer twice = BUFFER_INIT;
    member_bytes(&dict, "bytes", SPAN("\x00\xFF"));
    member_bytes(&dict, "readable", SPAN("tab\tline\n"));
    put_text(&dict, "large");
    put_element(&dict, '#', SPAN("123456789012345678901234567890"));
    put_text(&dict, "odd");
    put_element(&dict, '#', SPAN("007"));
    member_time(&dict, "nan", "nan");
    member_time(&dict, "exact", "0.1");
    member_time(&dict, "long", "0.10000000000000000555");
    put_text(&dict, "wrong_text");
    put_element(&dict, ';', SPAN("\xFF"));
    member_text(&tagged, "base64", "AAAA");
    member_container(&dict, "like_a_tag", '}', &tagged);
    member_text(&twice, "k", "1");
    member_text(&twice, "k", "2");
    member_container(&dict, "twice", '}', &twice);
    struct fixture fixture = open_dict(&dict, "quic-datagram");
    assert_files(&fixture, "sf-----------");
    assert_json(
        &fixture, FLOWDIR_FLOW,
        "{\"bytes\": {\"base64\": \"AP8=\"}, \"readable\": {\"bytes\": \"tab\\tline\\n\"}, "
        "\"large\": {\"int\": \"123456789012345678901234567890\"}, \"odd\": {\"int\": "
        "\"007\"}, \"nan\": {\"float\": \"nan\"}, \"exact\": 0.1, \"long\": {\"float\": "
        "\"0.10000000000000000555\"}, \"wrong_text\": {\"text_base64\": \"/w==\"}, "
        "\"like_a_tag\": {\"dict\": [[\"base64\", \"AAAA\"]]}, \"twice\": {\"dict\": [[\"k\", "
        "\"2\"], [\"k\", \"1\"]]}, \"type\": \"quic-datagram\", \"id\": \"an-id\", "
        "\"version\": 21}");
    json_decref(parse(&fixture, FLOWDIR_SUMMARY));
    close_flow(&fixture);
}

/* Times before 1970, which only damage makes, are told as they are. */
static void test_odd_times(void **state)
{
    (void)state;
    static const struct {
        const char *repr, *start;
        double epoch;
    } rows[] = {
        {"0.25", "1970-01-01T00:00:00.250000Z", 0.25},
        {"1700000000.9999999", "2023-11-14T22:13:21.000000Z", 1700000001.0},
        {"1e300", "1970-01-01T00:00:00.000000Z", 0},
        {"nan", "1970-01-01T00:00:00.000000Z", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buffer text = BUFFER_INIT;
        struct test_flow flow = {.id = "t", .start = rows[i].repr};
        put_flow(&text, &flow);
        struct fixture fixture = open_flow(&text);
        json_t *json = parse(&fixture, FLOWDIR_SUMMARY);
        assert_string_equal(json_string_value(json_object_get(json, "start")), rows[i].start);
        assert_true(json_number_value(json_object_get(json, "start_epoch")) == rows[i].epoch);
        json_decref(json);
        close_flow(&fixture);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),         cmocka_unit_test(test_simple),
        cmocka_unit_test(test_lines),         cmocka_unit_test(test_start_line),
        cmocka_unit_test(test_bodies),        cmocka_unit_test(test_tcp),
        cmocka_unit_test(test_message_names), cmocka_unit_test(test_dns),
        cmocka_unit_test(test_long_strings),  cmocka_unit_test(test_unknown_members),
        cmocka_unit_test(test_odd_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
