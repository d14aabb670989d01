/* HAR: the scanner against files whose entries' places are known because the test put them there,
 * and the reader on everything it treats in its own way. That it agrees with mitmproxy on whole
 * captures is the corpus test's business. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "har_read.h"
#include "har_scan.h"
#include "url.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MOST 16

struct place {
    enum har_item_kind kind;
    uint64_t offset, size;
};

/* What a scan gave, END left out. */
struct places {
    struct place items[MOST];
    size_t count;
    int gap_code; /* of the last gap */
    char gap_message[256];
    int code; /* of har_scan_next itself */
};

static struct places scan(struct bytes text, size_t window)
{
    struct places places = {.count = 0};
    struct flow_error error = {0};
    struct har_item item = {.kind = HAR_ITEM_GAP};
    uint64_t reached = 0;
    struct source *source = source_open_memory(text, &error);
    assert_non_null(source);
    struct har_scanner *scanner = har_scan_open(source, window, &error);
    assert_non_null(scanner);
    while (har_scan_next(scanner, &item, &error) && item.kind != HAR_ITEM_END) {
        assert_true(places.count < MOST);
        assert_true(item.offset >= reached && item.size <= text.size - item.offset);
        reached = item.offset + item.size;
        places.items[places.count++] = (struct place){item.kind, item.offset, item.size};
        assert_true((item.kind == HAR_ITEM_GAP) == (item.error.code != 0));
        if (item.kind == HAR_ITEM_GAP) {
            places.gap_code = item.error.code;
            memcpy(places.gap_message, item.error.message, sizeof places.gap_message);
        }
    }
    places.code = error.code;
    /* The end stays, and what was told once isn't told again. */
    error = (struct flow_error){0};
    assert_true(har_scan_next(scanner, &item, &error));
    assert_int_equal(item.kind, HAR_ITEM_END);
    har_scan_close(scanner);
    source_close(source);
    return places;
}

/* A text in which <...> marks an entry and ^...$ a gap: the marks are taken out, and what they
 * enclosed must be what any scan gives, in any window. */
static void check_marked(const char *marked)
{
    static const size_t windows[] = {1, 2, 3, 5, 16, 61, HAR_SCAN_WINDOW};
    struct places expected = {.count = 0};
    struct buffer text = BUFFER_INIT;
    for (const char *at = marked; *at; at++) {
        struct place *place = &expected.items[expected.count];
        if (*at == '<' || *at == '^')
            *place = (struct place){*at == '<' ? HAR_ITEM_ENTRY : HAR_ITEM_GAP, text.size, 0};
        else if (*at == '>' || *at == '$')
            expected.items[expected.count++].size = text.size - place->offset;
        else
            buffer_append_byte(&text, (uint8_t)*at);
    }
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
        struct places got = scan(buffer_bytes(&text), windows[i]);
        assert_int_equal(got.code, 0);
        if (got.count != expected.count)
            print_error("window %zu: %zu items, last gap: %s\n", windows[i], got.count,
                        got.gap_message);
        assert_int_equal(got.count, expected.count);
        for (size_t k = 0; k < got.count; k++) {
            assert_int_equal(got.items[k].kind, expected.items[k].kind);
            assert_int_equal(got.items[k].offset, expected.items[k].offset);
            assert_int_equal(got.items[k].size, expected.items[k].size);
        }
    }
    buffer_free(&text);
}

static void test_scan_whole_files(void **state)
{
    (void)state;
    check_marked("{\"log\":{\"entries\":[]}}");
    check_marked(" \r\n\t{ \"log\" : { \"entries\" : [ ] } } \n");
    check_marked("{\"log\":{\"entries\":[<{}>,<{\"a\":1}>]}}");
    check_marked("\xEF\xBB\xBF{\"log\":{\"entries\":[ <{\"a\":[]}>\n, <{\"b\":{}}> ]}}");
    check_marked("{\"a\":{\"entries\":[{}]},\"entries\":[{}],\"log\":{\"x\":{\"entries\":[{}]},"
                 "\"pages\":[{\"entries\":[{}]}],\"entries\":[<{\"entries\":[{}]}>],"
                 "\"version\":\"1.2\",\"z\":[[[1]]]},\"log2\":{\"entries\":[{}]}}");
    check_marked("{\"log\":{\"entries\":[<{\"t\":\"\\\"}],{\\\\\"}>,<{\"\\\\\\\"]\":\"]}\"}>]}}");
    check_marked("{\"log\":{\"entries\":[<{\"n\":[-1.5e+3,true,false,null,\"\"]}>]}}");
    check_marked("{\"log\":{\"entries\":[<{\"a\":1}> <{\"b\":2}>]}}"); /* a comma forgotten */
}

static void test_scan_other_elements(void **state)
{
    (void)state;
    check_marked("{\"log\":{\"entries\":[<{}>,^12$,^\"{}\"$,^[{}]$,<{\"a\":null}>]}}");
}

#define GOOD(name) "<{\"request\":{\"url\":\"" name "\"},\"response\":{\"x\":[1,{}]}}>"

static void test_scan_goes_on_behind_a_break(void **state)
{
    static const char *const broken[] = {
        "{\"request\":{\"url\":\"b\",\"response\":{}},",           /* a brace too few */
        "{\"request\":{\"headers\":[{},{},\"url\":\"b\"}},",       /* a bracket too few */
        "{\"request\":{\"headers\":[[{}],\"url\":\"b\"}},",        /* a bracket too many */
        "{\"request\":{\"url\":\"b,\"more\":\"{\\\"\"}},",         /* a closing quote too few */
        "{\"request\":{\"url\":b\",\"more\":\"c\"}},",             /* an opening quote too few */
        "{\"request\":{\"url\":,\"more\":\"c\"}},",                /* a value missing */
        "{\"request\" {\"url\":\"b\"}},",                          /* a colon missing */
        "{\"request\":{\"url\":\"b\" \"more\":\"c\"}},",           /* a comma missing */
        "{\"request\":{\"t\":\"{\\\"request\\\":{}}\",\"b\":?}},", /* JSON in a string */
    };
    (void)state;
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        struct buffer text = BUFFER_INIT;
        buffer_append_text(&text, "{\"log\":{\"entries\":[" GOOD("a") ",^");
        buffer_append_text(&text, broken[i]);
        buffer_append_text(&text, "$" GOOD("c") "," GOOD("d") "]}}");
        buffer_append_byte(&text, '\0');
        print_message("%s\n", broken[i]);
        check_marked((const char *)text.data);
        buffer_free(&text);
    }
    /* Broken before the entries begin, and in the last one. */
    check_marked("{\"log\":{^\"pages\":[{\"startedDateTime\":\"x\",\"id\":}],\"entries\":[$" GOOD(
        "a") "," GOOD("b") "]}}");
    check_marked("{\"log\":{^\"a\":},\"pages\":[{\"startedDateTime\":\"x\"}],\"entries\":[$" GOOD(
        "a") "]}}");
    check_marked("{\"log\":{\"entries\":[" GOOD("a") ",^{\"request\":{]}]}}$");
    check_marked("{\"log\":{\"entries\":[" GOOD("a") "]}} \n^tail$");
    /* Two files joined into one. */
    check_marked(
        "{\"log\":{\"entries\":[" GOOD("a") "]}}^{\"log\":{\"entries\":[$" GOOD("b") "]}}");
}

static void test_scan_truncated(void **state)
{
    static const char whole[] =
        "\xEF\xBB\xBF{\"log\":{\"version\":\"1.2\",\"entries\":[{\"request\":"
        "{\"t\":\"\\\"a\"},\"x\":1},{\"request\":{}},{\"request\":[1.5]}],"
        "\"comment\":\"\"}}";
    struct places all = scan(bytes_of(whole), HAR_SCAN_WINDOW);
    (void)state;
    assert_int_equal(all.count, 3);
    for (size_t size = 0; size < sizeof whole - 1; size++) {
        /* A copy of its own size, so that a read behind it is noticed. */
        uint8_t *copy = malloc(size ? size : 1);
        assert_non_null(copy);
        memcpy(copy, whole, size);
        for (size_t window = 1; window < 9; window += 7) {
            struct places got = scan(bytes_make(copy, size), window);
            size_t entries = 0;
            while (entries < got.count && got.items[entries].kind == HAR_ITEM_ENTRY) {
                assert_memory_equal(&got.items[entries], &all.items[entries], sizeof *all.items);
                entries++;
            }
            /* Every whole entry before the end is there, then one gap up to the end. */
            for (size_t i = 0; i < 3; i++)
                assert_int_equal(i < entries, all.items[i].offset + all.items[i].size <= size);
            assert_int_equal(got.count, entries + 1);
            assert_int_equal(got.items[entries].kind, HAR_ITEM_GAP);
            assert_int_equal(got.items[entries].offset + got.items[entries].size, size);
            assert_non_null(strstr(got.gap_message, "breaks off"));
        }
        free(copy);
    }
}

static void test_scan_not_har(void **state)
{
    static const char *const others[] = {"{}", "{\"log\":{}}", "{\"log\":[]}", "{\"entries\":[{}]}",
                                         "{\"log\":{\"entries\":{}}}"};
    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct places got = scan(bytes_of(others[i]), HAR_SCAN_WINDOW);
        assert_int_equal(got.count, 0);
        assert_int_equal(got.code, EBADMSG);
    }
    assert_true(har_scan_looks_like_har(bytes_of("\xEF\xBB\xBF\n {")));
    assert_true(har_scan_looks_like_har(bytes_of("{\"log\"")));
    assert_false(har_scan_looks_like_har(bytes_of("12:4:host")));
    assert_false(har_scan_looks_like_har(bytes_of("")));
}

static void append_times(struct buffer *text, const char *part, size_t times)
{
    while (times--)
        buffer_append_text(text, part);
}

static void test_scan_hostile(void **state)
{
    static const char *const parts[] = {
        "{\"a\":", "[", "{\"request\":",   "{\"startedDateTime\":[", "{\"request\":}", "\"", "\\\"",
        "}",       "{", "{\"request\":{},"};
    (void)state;
    /* Some of these would take hours if the search for the next entry were not linear. */
    alarm(120);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        struct buffer text = BUFFER_INIT;
        buffer_append_text(&text, "{\"log\":{\"entries\":[");
        append_times(&text, parts[i], 500000);
        buffer_append_text(&text, ","
                                  "{\"request\":{}}]}}");
        struct flow_error error = {0};
        struct har_item item = {.kind = HAR_ITEM_GAP};
        struct source *source = source_open_memory(buffer_bytes(&text), &error);
        assert_non_null(source);
        struct har_scanner *scanner = har_scan_open(source, HAR_SCAN_WINDOW, &error);
        assert_non_null(scanner);
        uint64_t reached = 0;
        while (har_scan_next(scanner, &item, &error) && item.kind != HAR_ITEM_END) {
            assert_true(item.offset >= reached);
            reached = item.offset + item.size;
        }
        har_scan_close(scanner);
        source_close(source);
        buffer_free(&text);
    }
    alarm(0);
    struct buffer deep = BUFFER_INIT;
    buffer_append_text(&deep, "{\"log\":{\"entries\":[{\"a\":");
    append_times(&deep, "[", HAR_SCAN_DEPTH_LIMIT);
    append_times(&deep, "]", HAR_SCAN_DEPTH_LIMIT);
    buffer_append_text(&deep, "},{\"request\":1}]}}");
    struct places got = scan(buffer_bytes(&deep), HAR_SCAN_WINDOW);
    assert_int_equal(got.count, 2);
    assert_int_equal(got.gap_code, EFBIG);
    assert_int_equal(got.items[1].kind, HAR_ITEM_ENTRY);
    buffer_free(&deep);
}

/* The state of an entry; NULL with *error. The text is freed before the state is looked at. */
static struct value *read_text(const char *json, struct arena *arena, struct flow_error *error)
{
    size_t size = strlen(json);
    uint8_t *copy = malloc(size);
    assert_non_null(copy);
    memcpy(copy, json, size);
    struct value *state = har_read_entry(bytes_make(copy, size), 1000, arena, error);
    free(copy);
    return state;
}

/* The value at a path like `request.headers.0.1`. */
static const struct value *at(const struct value *value, const char *path)
{
    char step[64];
    while (value && *path) {
        size_t length = strcspn(path, ".");
        memcpy(step, path, length);
        step[length] = '\0';
        value = value->kind == VALUE_LIST ? value_item(value, (size_t)atoi(step))
                                          : value_get(value, step);
        path += length + (path[length] == '.');
    }
    if (!value)
        print_error("nothing at %s\n", path);
    assert_non_null(value);
    return value;
}

static void assert_string(const struct value *state, const char *path, const char *expected)
{
    struct bytes got = value_string(at(state, path));
    if (!bytes_equal_text(got, expected))
        print_error("%s: %.*s\n", path, (int)got.size, (const char *)got.data);
    assert_true(value_is_string(at(state, path)));
    assert_true(bytes_equal_text(got, expected));
}

static void assert_number(const struct value *state, const char *path, const char *digits)
{
    struct bytes got = at(state, path)->bytes;
    if (!bytes_equal_text(got, digits))
        print_error("%s: %.*s\n", path, (int)got.size, (const char *)got.data);
    assert_true(bytes_equal_text(got, digits));
}

/* Headers as one text, `name: value|name: value`. */
static void assert_headers(const struct value *state, const char *path, const char *expected)
{
    struct buffer text = BUFFER_INIT;
    for (const struct value *item = at(state, path)->first; item; item = item->next) {
        if (text.size)
            buffer_append_byte(&text, '|');
        buffer_append_bytes(&text, value_string(value_item(item, 0)));
        buffer_append_text(&text, ": ");
        buffer_append_bytes(&text, value_string(value_item(item, 1)));
    }
    if (!bytes_equal_text(buffer_bytes(&text), expected))
        print_error("%s: %.*s\n", path, (int)text.size, (const char *)text.data);
    assert_true(bytes_equal_text(buffer_bytes(&text), expected));
    buffer_free(&text);
}

#define START "\"startedDateTime\":\"2023-03-30T00:00:54.250Z\""
#define REQUEST "\"request\":{\"method\":\"GET\",\"url\":\"http://h.x/p\"}"
#define RESPONSE "\"response\":{\"status\":200,\"content\":{}}"
#define REQUEST_WITH(more)                                                                         \
    "{" START ",\"request\":{\"method\":\"POST\",\"url\":\"http://h.x/p\"," more "}}"
#define RESPONSE_WITH(more) "{" START "," REQUEST ",\"response\":{\"status\":200," more "}}"
#define ENTRY_WITH(more) "{" START "," REQUEST "," more "}"

struct fixture {
    struct arena *arena;
    struct value *state;
};

static void open_entry(struct fixture *fixture, const char *json)
{
    struct flow_error error = {0};
    fixture->arena = arena_new();
    assert_non_null(fixture->arena);
    fixture->state = read_text(json, fixture->arena, &error);
    if (!fixture->state)
        print_error("%s\n%s: %s\n", json, error.key_path, error.message);
    assert_non_null(fixture->state);
    assert_int_equal(error.code, 0);
}

static void close_entry(struct fixture *fixture)
{
    arena_free(fixture->arena);
}

static void test_read_smallest(void **state)
{
    struct fixture f;
    (void)state;
    open_entry(&f, "{" START "," REQUEST "}");
    assert_number(f.state, "version", "21");
    assert_string(f.state, "type", "http");
    assert_true(value_is_null(at(f.state, "response")));
    assert_true(value_is_null(at(f.state, "error")));
    assert_true(value_is_null(at(f.state, "websocket")));
    assert_true(value_is_null(at(f.state, "server_conn.address")));
    assert_headers(f.state, "request.headers", "content-length: 0");
    assert_string(f.state, "request.http_version", "HTTP/1.1");
    assert_number(f.state, "request.timestamp_start", "1680134454.25");
    assert_true(value_is_null(at(f.state, "request.timestamp_end")));
    assert_number(f.state, "timestamp_created", "1680134454.25");
    assert_string(f.state, "request.host", "h.x");
    assert_number(f.state, "request.port", "80");
    assert_string(f.state, "request.path", "/p");
    close_entry(&f);
}

static void test_read_request_body(void **state)
{
    static const struct {
        const char *json, *content, *headers;
    } cases[] = {
        {REQUEST_WITH("\"postData\":null"), "", "content-length: 0"},
        {REQUEST_WITH("\"postData\":{\"mimeType\":\"x\"}"), "", "content-length: 0"},
        {REQUEST_WITH("\"postData\":{\"text\":null,\"params\":[]}"), "", "content-length: 0"},
        {REQUEST_WITH("\"postData\":{\"text\":\"a\",\"params\":[{\"name\":\"b\"}]}"), "a",
         "content-length: 1"},
        {REQUEST_WITH("\"postData\":{\"params\":[{\"name\":\"a b\",\"value\":\"\\u00e9&~\"},"
                      "{\"name\":\"c\"}]}"),
         "a+b=%C3%A9%26~&c=", "content-length: 17"},
        {REQUEST_WITH("\"headers\":[{\"name\":\"Content-Type\",\"value\":\"multipart/form-data; "
                      "boundary=\\\"B\\\"\"},{\"name\":\"Content-Length\",\"value\":1},"
                      "{\"name\":\"content-length\",\"value\":null}],"
                      "\"postData\":{\"params\":[{\"name\":\"n\",\"value\":\"v\"},{\"name\":\"f\","
                      "\"value\":\"x\",\"fileName\":\"a.txt\",\"contentType\":\"text/plain\"}]}"),
         "--B\r\nContent-Disposition: form-data; "
         "name=\"n\"\r\n\r\nv\r\n--B\r\nContent-Disposition: "
         "form-data; name=\"f\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\nx\r\n--B--"
         "\r\n",
         "Content-Type: multipart/form-data; boundary=\"B\"|Content-Length: 155"},
        {REQUEST_WITH("\"postData\":{\"text\":\"4pi6\",\"encoding\":\"base64\"}"), "\xE2\x98\xBA",
         "content-length: 3"},
        /* Latin-1 is the charset where none is said; what it can't write makes it UTF-8. */
        {REQUEST_WITH("\"postData\":{\"text\":\"\\u00e9\"}"), "\xE9", "content-length: 1"},
        {REQUEST_WITH("\"postData\":{\"text\":\"\\u20ac\"}"), "\xE2\x82\xAC",
         "content-type: text/plain; charset=utf-8|content-length: 3"},
        {REQUEST_WITH("\"headers\":[[\"CONTENT-TYPE\",\"Text/X; a = b;charset=Latin-1\"],"
                      "[\"transfer-encoding\",\"chunked\"],[\"Content-Encoding\",\"gzip\"]],"
                      "\"postData\":{\"text\":\"\\u20ac\"}"),
         "\xE2\x82\xAC", "CONTENT-TYPE: text/x; a=b; charset=utf-8|transfer-encoding: chunked"},
        {REQUEST_WITH("\"headers\":[[\"content-encoding\",\"gzip\"]]"), "", "content-length: 0"},
        {REQUEST_WITH("\"headers\":[[\"content-encoding\",\"none\"]]"), "",
         "content-encoding: none|content-length: 0"},
        /* A body that isn't there has no charset. */
        {REQUEST_WITH("\"headers\":[[\"content-type\",\"text/plain; charset=utf-16\"]]"), "",
         "content-type: text/plain; charset=utf-16|content-length: 0"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        open_entry(&f, cases[i].json);
        assert_string(f.state, "request.content", cases[i].content);
        assert_headers(f.state, "request.headers", cases[i].headers);
        close_entry(&f);
    }
}

#define TYPED(type, text)                                                                          \
    RESPONSE_WITH("\"headers\":[{\"name\":\"Content-Type\",\"value\":\"" type                      \
                  "\"}],\"content\":{\"text\":\"" text "\"}")
#define CODED(coding, text)                                                                        \
    RESPONSE_WITH("\"headers\":[{\"name\":\"Content-Encoding\",\"value\":\"" coding                \
                  "\"},{\"name\":\"X\",\"value\":\"y\"}],\"content\":{\"text\":\"" text "\"}")

static void test_read_response_body(void **state)
{
    static const struct {
        const char *json, *content, *headers;
    } cases[] = {
        {RESPONSE_WITH("\"content\":{\"size\":0}"), "", ""},
        {RESPONSE_WITH("\"headers\":null,\"content\":{\"text\":\"a\"}"), "a", "content-length: 1"},
        {RESPONSE_WITH("\"content\":{\"text\":\"4p\\ni6\",\"encoding\":\"base64\"}"),
         "\xE2\x98\xBA", "content-length: 3"},
        {RESPONSE_WITH("\"content\":{\"text\":\"_*4pi6\\u00e9\",\"encoding\":\"base64\"}"),
         "\xE2\x98\xBA", "content-length: 3"},
        {TYPED("text/plain", "\\u00e9"), "\xE9", "Content-Type: text/plain|content-length: 1"},
        {TYPED("text/html", "\\u00e9"), "\xC3\xA9", "Content-Type: text/html|content-length: 2"},
        {TYPED("text/x;charset=windows-1252", "\\u20ac"), "\x80",
         "Content-Type: text/x;charset=windows-1252|content-length: 1"},
        {TYPED("text/x; charset=ISO_8859-15", "\\u20ac"), "\xA4",
         "Content-Type: text/x; charset=ISO_8859-15|content-length: 1"},
        {TYPED("text/x; charset=gb2312", "\\u20ac\\u4e2d"), "\xA2\xE3\xD6\xD0",
         "Content-Type: text/x; charset=gb2312|content-length: 4"},
        {TYPED("text/x; charset=Shift_JIS", "\\u3042~"), "\x82\xA0~",
         "Content-Type: text/x; charset=Shift_JIS|content-length: 3"},
        {TYPED("text/x; charset=cp1252", "\\u4e2d"), "\xE4\xB8\xAD",
         "Content-Type: text/x; charset=cp1252|content-length: 3"},
        {TYPED("text/x; charset=ascii", "\\u00e9"), "\xC3\xA9",
         "Content-Type: text/x; charset=ascii|content-length: 2"},
        {TYPED("text/x; charset=windows-1252//TRANSLIT", "\\u4e2d"), "\xE4\xB8\xAD",
         "Content-Type: text/x; charset=windows-1252//TRANSLIT|content-length: 3"},
        {TYPED("text/x; charset=utf-16", "a"),
         "\xFF\xFE"
         "a",
         NULL},
        {CODED("gzip", "a"), "a", "X: y|content-length: 1"},
        {CODED("BR", ""), "", "X: y|content-length: 0"},
        {CODED("gzip, br", "a"), "a", "X: y|content-length: 1"},
        {CODED("identity", "a"), "a", "X: y|content-length: 1"},
        {CODED("identity", ""), "", "Content-Encoding: identity|X: y"},
        {CODED("aws-chunked", "a"), "a", "Content-Encoding: aws-chunked|X: y"},
        {CODED("utf-8", "a"), "a", "Content-Encoding: utf-8|X: y"},
    };
    struct fixture f;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        open_entry(&f, cases[i].json);
        if (cases[i].headers) {
            assert_string(f.state, "response.content", cases[i].content);
            assert_headers(f.state, "response.headers", cases[i].headers);
        } else {
            struct bytes got = value_string(at(f.state, "response.content"));
            assert_true(bytes_equal(got, bytes_make("\xFF\xFE"
                                                    "a\0",
                                                    4)));
        }
        close_entry(&f);
    }
    open_entry(&f, RESPONSE_WITH("\"content\":{\"text\":null}"));
    assert_true(value_is_null(at(f.state, "response.content")));
    close_entry(&f);
    open_entry(&f, RESPONSE_WITH("\"statusText\":\"Fine\""));
    assert_true(value_is_null(at(f.state, "response.content")));
    assert_string(f.state, "response.reason", "OK");
    close_entry(&f);
}

static void test_read_status(void **state)
{
    struct fixture f;
    (void)state;
    open_entry(&f, ENTRY_WITH("\"response\":{\"status\":799,\"statusText\":\"Odd\"}"));
    assert_number(f.state, "response.status_code", "799");
    assert_string(f.state, "response.reason", "Odd");
    close_entry(&f);
    open_entry(&f, ENTRY_WITH("\"response\":{\"statusText\":null}"));
    assert_number(f.state, "response.status_code", "0");
    assert_string(f.state, "response.reason", "");
    close_entry(&f);
    /* Chrome's failed request, as mitmproxy has it. */
    open_entry(&f, ENTRY_WITH("\"response\":{\"status\":0,\"content\":{\"size\":0},"
                              "\"_error\":\"net::ERR_FAILED\"}"));
    assert_number(f.state, "response.status_code", "0");
    assert_true(value_is_null(at(f.state, "error")));
    close_entry(&f);
    /* mitmproxy's own export of a flow without response. */
    open_entry(&f, ENTRY_WITH("\"time\":1000,\"response\":{\"status\":0,\"content\":{},"
                              "\"_error\":\"refused\"}"));
    assert_true(value_is_null(at(f.state, "response")));
    assert_string(f.state, "error.msg", "refused");
    assert_number(f.state, "error.timestamp", "1680134455.25");
    close_entry(&f);
    open_entry(&f, ENTRY_WITH("\"response\":null,\"_error\":\"gone\""));
    assert_true(value_is_null(at(f.state, "response")));
    assert_string(f.state, "error.msg", "gone");
    close_entry(&f);
}

static void test_read_http_versions(void **state)
{
    static const char *const versions[][2] = {
        {"http/2.0", "HTTP/2"},   {"HTTP/2", "HTTP/2"},   {"h2", "HTTP/2"},
        {"HTTP/2.0", "HTTP/2.0"}, {"HTTP/3", "HTTP/3"},   {"h3", "HTTP/1.1"},
        {"h3-29", "HTTP/3"},      {"HTTP/3.0", "HTTP/3"}, {"HTTP/1.0", "HTTP/1.0"},
        {"http/1.0", "HTTP/1.0"}, {"", "HTTP/1.1"},       {"unknown", "HTTP/1.1"},
    };
    char json[512];
    struct fixture f;
    (void)state;
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        snprintf(json, sizeof json,
                 "{" START ",\"request\":{\"method\":\"GET\",\"url\":\"http://h/"
                 "\",\"httpVersion\":\"%s\"},\"response\":{\"httpVersion\":\"%s\"}}",
                 versions[i][0], versions[i][0]);
        open_entry(&f, json);
        assert_string(f.state, "request.http_version", versions[i][1]);
        assert_string(f.state, "response.http_version", versions[i][1]);
        close_entry(&f);
    }
}

static void test_read_times(void **state)
{
    /* The seconds are GNU date's: date -d TIME +%s.%6N */
    static const char *const times[][2] = {
        {"2023-03-29T17:37:42.482-07:00", "1680136662.482"},
        {"2023-03-29T17:37:42-0700", "1680136662.0"},
        {"20230330T003742Z", "1680136662.0"},
        {"2023-03-30 06:07:42,5+05:30", "1680136662.5"},
        {"2023-03-30T00:37:42.123456789Z", "1680136662.123456"},
        {"2023-03-30T00:37:42", "1680136662.0"},
        {"2023-03-30T00:37", "1680136620.0"},
        {"2024-02-29T00:00:00z", "1709164800.0"},
        {"1999-12-31T23:00:00+00:00", "946681200.0"},
        {"1969-12-31T23:59:59Z", "-1.0"},
        {"2000-03-01", "951868800.0"},
    };
    static const char *const bad[] = {"",
                                      "yesterday",
                                      "2023-02-29T00:00:00Z",
                                      "2023-13-01",
                                      "2023-03-30T24:00Z",
                                      "2023-03-30T00:37:42.Z",
                                      "2023-03-30T00:37:42+1",
                                      "2023-03-30T00:37:42Zx",
                                      "1680136662"};
    char json[512];
    struct fixture f;
    (void)state;
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        snprintf(json, sizeof json, "{\"startedDateTime\":\"%s\"," REQUEST "}", times[i][0]);
        open_entry(&f, json);
        assert_number(f.state, "request.timestamp_start", times[i][1]);
        close_entry(&f);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct flow_error error = {0};
        struct arena *arena = arena_new();
        snprintf(json, sizeof json, "{\"startedDateTime\":\"%s\"," REQUEST "}", bad[i]);
        assert_null(read_text(json, arena, &error));
        assert_int_equal(error.code, EBADMSG);
        assert_string_equal(error.key_path, "startedDateTime");
        arena_free(arena);
    }
    open_entry(&f, ENTRY_WITH("\"time\":250"));
    assert_number(f.state, "request.timestamp_end", "1680134454.5");
    assert_number(f.state, "client_conn.timestamp_end", "1680134454.5");
    close_entry(&f);
    open_entry(&f, ENTRY_WITH("\"time\":null,\"timings\":{\"blocked\":-1,\"connect\":100,"
                              "\"ssl\":90,\"send\":0,\"wait\":149.5,\"receive\":0.5}"));
    assert_number(f.state, "request.timestamp_end", "1680134454.5");
    close_entry(&f);
}

static void test_read_connections(void **state)
{
#define VIA(connection, ip)                                                                        \
    ENTRY_WITH("\"connection\":" connection ",\"serverIPAddress\":\"" ip "\"")
    static const char *const entries[] = {
        VIA("\"7\"", "1.2.3.4"),
        VIA("\"7\"", "1.2.3.4") " ",
        VIA("7", "1.2.3.4"),
        VIA("\"8\"", "1.2.3.4"),
        VIA("\"7\"", "1.2.3.5"),
        ENTRY_WITH("\"serverIPAddress\":\"1.2.3.4\""),
        ENTRY_WITH("\"serverIPAddress\":\"1.2.3.4\",\"x\":1"),
        ENTRY_WITH("\"serverIPAddress\":\"1.2.3.4\",\"x\":1"),
    };
    static const int connections[] = {1, 1, 1, 2, 3, 4, 5, 5};
    static const int flows[] = {1, 2, 3, 4, 5, 6, 7, 7};
    struct fixture f[8];
    (void)state;
    for (size_t i = 0; i < 8; i++) {
        open_entry(&f[i], entries[i]);
        struct bytes id = value_string(at(f[i].state, "id"));
        assert_int_equal(id.size, 36);
        assert_int_equal(id.data[14], '8');
        assert_non_null(strchr("89ab", id.data[19]));
    }
    for (size_t i = 0; i < 8; i++)
        for (size_t k = 0; k < 8; k++) {
            assert_int_equal(bytes_equal(value_string(at(f[i].state, "server_conn.id")),
                                         value_string(at(f[k].state, "server_conn.id"))),
                             connections[i] == connections[k]);
            assert_int_equal(
                bytes_equal(value_string(at(f[i].state, "id")), value_string(at(f[k].state, "id"))),
                flows[i] == flows[k]);
        }
    assert_string(f[0].state, "server_conn.address.0", "1.2.3.4");
    assert_number(f[0].state, "server_conn.address.1", "80");
    for (size_t i = 0; i < 8; i++)
        close_entry(&f[i]);
    open_entry(&f[0], "{" START ",\"serverIPAddress\":\"::1\",\"request\":{\"method\":\"GET\","
                      "\"url\":\"https://h:8443/\"}}");
    assert_number(f[0].state, "server_conn.address.1", "8443");
    close_entry(&f[0]);
}

static void test_read_websocket(void **state)
{
    struct fixture f;
    (void)state;
    open_entry(&f, "{" START ",\"comment\":\"mine\",\"request\":{\"method\":\"GET\",\"url\":"
                   "\"wss://h.x/ws\"},\"_webSocketMessages\":["
                   "{\"type\":\"send\",\"time\":1700000000.25,\"opcode\":1,\"data\":\"h\\u00e9\"},"
                   "{\"type\":\"receive\",\"time\":1700000001,\"opcode\":2,\"data\":\"AAH/\"},"
                   "{\"type\":\"receive\",\"opcode\":2,\"data\":\"no base64!\"},"
                   "{\"type\":\"error\",\"time\":1700000002,\"opcode\":-1,\"data\":\"lost\"}]}");
    assert_int_equal(at(f.state, "websocket.messages")->count, 3);
    assert_number(f.state, "websocket.messages.0.0", "1");
    assert_true(at(f.state, "websocket.messages.0.1")->boolean);
    assert_string(f.state, "websocket.messages.0.2", "h\xC3\xA9");
    assert_number(f.state, "websocket.messages.0.3", "1700000000.25");
    assert_number(f.state, "websocket.messages.1.0", "2");
    assert_false(at(f.state, "websocket.messages.1.1")->boolean);
    assert_true(bytes_equal(value_string(at(f.state, "websocket.messages.1.2")),
                            bytes_make("\0\1\xFF", 3)));
    assert_string(f.state, "websocket.messages.2.2", "no base64!");
    assert_number(f.state, "websocket.messages.2.3", "1680134454.25");
    assert_true(value_is_null(at(f.state, "websocket.closed_by_client")));
    assert_string(f.state, "error.msg", "lost");
    assert_string(f.state, "request.scheme", "https");
    assert_number(f.state, "request.port", "443");
    assert_string(f.state, "comment", "mine");
    close_entry(&f);
}

static void test_read_what_jansson_refuses(void **state)
{
    struct fixture f;
    (void)state;
    /* Surrogates: a pair, a lone one, and bytes escaped as Python does, next to a real U+E080. */
    open_entry(&f, TYPED("text/html", "\\ud83d\\ude00 \\ud800 \\ue080"));
    assert_string(f.state, "response.content", "\xF0\x9F\x98\x80 \xEF\xBF\xBD \xEE\x82\x80");
    close_entry(&f);
    open_entry(&f, TYPED("text/html", "\\uDCFF\\udc80 \\ue080 \xEE\x82\x80 \\u00e9"));
    assert_string(f.state, "response.content", "\xFF\x80 \xEE\x82\x80 \xEE\x82\x80 \xC3\xA9");
    close_entry(&f);
    open_entry(&f, REQUEST_WITH("\"headers\":[{\"name\":\"a\",\"value\":\"\\udce9\"}]"));
    assert_headers(f.state, "request.headers", "a: \xE9|content-length: 0");
    close_entry(&f);
    /* Text of the state stays UTF-8. */
    open_entry(&f, ENTRY_WITH("\"comment\":\"a\\udcffb\""));
    assert_string(f.state, "comment", "a?b");
    close_entry(&f);
    open_entry(&f, TYPED("text/html", "a\xFF\tb\\u0000c"));
    assert_true(
        bytes_equal(value_string(at(f.state, "response.content")), bytes_make("a? b\0c", 6)));
    close_entry(&f);
    open_entry(&f, ENTRY_WITH("\"a\\u0000b\":[NaN,-Infinity,Infinity,123456789012345678901234]"));
    close_entry(&f);
}

static void test_read_errors(void **state)
{
    static const char *const cases[][3] = {
        {"{" START "}", "request", "found nothing"},
        {"{" START ",\"request\":[]}", "request", "found an array"},
        {"{" START ",\"request\":{\"method\":\"GET\"}}", "request.url", "found nothing"},
        {"{" START ",\"request\":{\"url\":\"http://h/\"}}", "request.method", "found nothing"},
        {"{" START ",\"request\":{\"method\":\"GET\",\"url\":\"http:///x\"}}", "request.url",
         "has no host"},
        {"{" REQUEST "}", "startedDateTime", "found nothing"},
        {ENTRY_WITH("\"time\":\"1\""), "time", "found a string"},
        {ENTRY_WITH("\"response\":7"), "response", "found a number"},
        {ENTRY_WITH("\"response\":{\"status\":\"200\"}"), "response.status", "found a string"},
        {ENTRY_WITH("\"response\":{\"status\":1.5}"), "response.status", "found a number"},
        {RESPONSE_WITH("\"headers\":{}"), "response.headers", "found an object"},
        {RESPONSE_WITH("\"headers\":[[\"a\",\"b\"],[\"c\"]]"), "response.headers[1]",
         "found an array"},
        {RESPONSE_WITH("\"headers\":[{\"value\":\"b\"}]"), "response.headers[0].name",
         "found nothing"},
        {RESPONSE_WITH("\"headers\":[[\"a\",{}]]"), "response.headers[0].value", "found an object"},
        {RESPONSE_WITH("\"content\":\"x\""), "response.content", "found a string"},
        {RESPONSE_WITH("\"content\":{\"text\":1}"), "response.content.text", "found a number"},
        {REQUEST_WITH("\"postData\":[]"), "request.postData", "found an array"},
        {REQUEST_WITH("\"postData\":{\"text\":{}}"), "request.postData.text", "found an object"},
        {REQUEST_WITH("\"postData\":{\"params\":[7]}"), "request.postData.params[0]",
         "found a number"},
        {ENTRY_WITH("\"_webSocketMessages\":{}"), "_webSocketMessages", "found an object"},
        {ENTRY_WITH("\"_webSocketMessages\":[{}]"), "_webSocketMessages[0].type", "found nothing"},
        {"[]", "", "found an array"},
    };
    struct flow_error error;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena *arena = arena_new();
        error = (struct flow_error){0};
        assert_null(read_text(cases[i][0], arena, &error));
        if (strcmp(error.key_path, cases[i][1]) != 0 || !strstr(error.message, cases[i][2]))
            print_error("%s\n%s: %s\n", cases[i][0], error.key_path, error.message);
        assert_int_equal(error.code, EBADMSG);
        assert_int_equal(error.offset, 1000);
        assert_string_equal(error.key_path, cases[i][1]);
        assert_non_null(strstr(error.message, cases[i][2]));
        arena_free(arena);
    }
    /* No JSON: the offset is of the byte that is wrong. */
    struct arena *arena = arena_new();
    error = (struct flow_error){0};
    assert_null(read_text("{\"a\": 1, ]}", arena, &error));
    assert_int_equal(error.code, EBADMSG);
    assert_in_range(error.offset, 1009, 1010);
    arena_free(arena);
}

static void test_urls(void **state)
{
    /* As mitmproxy takes them apart, but for those marked. */
    static const struct {
        const char *text, *scheme, *host, *path;
        uint16_t port;
    } urls[] = {
        {"HTTPS://User:pw@Example.COM:8443/A?b#c", "https", "example.com", "/A?b#c", 8443},
        {"http://h", "http", "h", "/", 80},
        {"https://h?x=1", "https", "h", "/?x=1", 443},
        {"https://mitmproxy.org/?=", "https", "mitmproxy.org", "/?=", 443},
        {"http://h/a?", "http", "h", "/a", 80},
        {"http://h/a;?#", "http", "h", "/a", 80},
        {"http://h/a;b;?c#d#e", "http", "h", "/a;b;?c#d#e", 80},
        {"http://h:/a", "http", "h", "/a", 80},
        {"http://[2001:DB8::1]:81/", "http", "2001:db8::1", "/", 81},
        {"ftp://h/", "ftp", "h", "/", 80},
        {" \thttp://h/a\n b", "http", "h", "/a b", 80},
        {"http://xn--bcher-kva.example/", "http",
         "b\xC3\xBC"
         "cher.example",
         "/", 80},
        {"http://xn--fiqs8s.cn/", "http", "\xE4\xB8\xAD\xE5\x9B\xBD.cn", "/", 80},
        /* Refused by mitmproxy. */
        {"http://xn--99999999/", "http", "xn--99999999", "/", 80},
        {"http://h/\xC3\xA9", "http", "h", "/%C3%A9", 80},
        {"http://B\xC3\xBC"
         "cher/",
         "http",
         "b\xC3\xBC"
         "cher",
         "/", 80},
        {"http://a..b!/", "http", "a..b!", "/", 80},
        {"http://::1:22/path", "http", "::1:22", "/path", 80},
        {"http://2001:db8:1:2:3:4:5:6:22/path", "http", "2001:db8:1:2:3:4:5:6", "/path", 22},
        {"data:text/plain,x;", "data", "", "text/plain,x;", 0},
        {"about:blank", "about", "", "blank", 0},
        {"file:///etc/x", "file", "", "/etc/x", 0},
        /* Read wrongly by mitmproxy with a newer Python. */
        {"http://h//a", "http", "h", "//a", 80},
        {"wss://h/", "wss", "h", "/", 443},
    };
    static const char *const bad[] = {"",
                                      "/path",
                                      "h/path",
                                      "http:",
                                      "http://",
                                      "http://:80/",
                                      "http://h:x",
                                      "http://h:65536/",
                                      "http://[::1",
                                      "http://a[::1]/",
                                      "http://[::1]x/",
                                      "https:/h"};
    (void)state;
    struct arena *arena = arena_new();
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct flow_error error = {0};
        struct url url = {.port = 0};
        if (!url_parse(bytes_of(urls[i].text), arena, &url, &error))
            fail_msg("%s: %s", urls[i].text, error.message);
        if (!bytes_equal_text(url.host, urls[i].host) || !bytes_equal_text(url.path, urls[i].path))
            print_error("%s: host %.*s path %.*s\n", urls[i].text, (int)url.host.size,
                        (const char *)url.host.data, (int)url.path.size,
                        (const char *)url.path.data);
        assert_true(bytes_equal_text(url.scheme, urls[i].scheme));
        assert_true(bytes_equal_text(url.host, urls[i].host));
        assert_true(bytes_equal_text(url.path, urls[i].path));
        assert_int_equal(url.port, urls[i].port);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct flow_error error = {0};
        struct url url = {.port = 0};
        if (url_parse(bytes_of(bad[i]), arena, &url, &error))
            fail_msg("%s was taken", bad[i]);
        assert_int_equal(error.code, EBADMSG);
    }
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scan_whole_files),
        cmocka_unit_test(test_scan_other_elements),
        cmocka_unit_test(test_scan_goes_on_behind_a_break),
        cmocka_unit_test(test_scan_truncated),
        cmocka_unit_test(test_scan_not_har),
        cmocka_unit_test(test_scan_hostile),
        cmocka_unit_test(test_read_smallest),
        cmocka_unit_test(test_read_request_body),
        cmocka_unit_test(test_read_response_body),
        cmocka_unit_test(test_read_status),
        cmocka_unit_test(test_read_http_versions),
        cmocka_unit_test(test_read_times),
        cmocka_unit_test(test_read_connections),
        cmocka_unit_test(test_read_websocket),
        cmocka_unit_test(test_read_what_jansson_refuses),
        cmocka_unit_test(test_read_errors),
        cmocka_unit_test(test_urls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
