/* tnetstrings: what mitmproxy writes is read as what it meant and written back byte for byte; what
 * is no tnetstring is told with its place. */
#include "support.h"

#include "capture.h"
#include "tnet.h"

#include "tnet_table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static struct arena *arena;

static int make_arena(void **state)
{
    (void)state;
    arena = arena_new();
    return arena ? 0 : -1;
}

static int drop_arena(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static void describe_string(struct buffer *out, char mark, struct bytes bytes)
{
    buffer_printf(out, "%c'", mark);
    for (size_t i = 0; i < bytes.size; i++)
        buffer_printf(out, "%02x", bytes.data[i]);
    buffer_append_text(out, "'");
}

/* As describe() in make_tables.py; FLOAT and INT show the digits that were kept. */
static void describe(struct buffer *out, const struct value *value)
{
    switch (value->kind) {
    case VALUE_NULL:
        buffer_append_text(out, "null");
        break;
    case VALUE_BOOL:
        buffer_append_text(out, value->boolean ? "true" : "false");
        break;
    case VALUE_INT:
    case VALUE_FLOAT:
        buffer_printf(out, "%s(%.*s)", value->kind == VALUE_INT ? "int" : "float",
                      (int)value->bytes.size, (const char *)value->bytes.data);
        break;
    case VALUE_BYTES:
    case VALUE_TEXT:
        describe_string(out, value->kind == VALUE_BYTES ? 'b' : 't', value->bytes);
        break;
    case VALUE_LIST:
    case VALUE_DICT:
        buffer_append_text(out, value->kind == VALUE_LIST ? "[" : "{");
        for (const struct value *child = value->first; child; child = child->next) {
            if (value->kind == VALUE_DICT) {
                describe(out, child->key);
                buffer_append_text(out, ":");
            }
            describe(out, child);
            if (child->next)
                buffer_append_text(out, ",");
        }
        buffer_append_text(out, value->kind == VALUE_LIST ? "]" : "}");
        break;
    }
}

static void assert_round_trip(struct bytes encoded, struct value *value)
{
    struct flow_error error = {0};
    struct buffer again = BUFFER_INIT;
    assert_true(tnet_write(value, &again, &error));
    assert_spans(buffer_bytes(&again), encoded);
    buffer_free(&again);
}

static void test_as_mitmproxy(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof tnet_table / sizeof *tnet_table; i++) {
        struct flow_error error = {0};
        struct buffer holds = BUFFER_INIT;
        struct value *value = tnet_read(tnet_table[i].encoded, 1000, NULL, arena, &error);
        if (!value)
            fail_msg("row %zu: %s", i, error.message);
        describe(&holds, value);
        assert_bytes(buffer_bytes(&holds), tnet_table[i].holds);
        buffer_free(&holds);
        assert_round_trip(tnet_table[i].encoded, value);
    }
}

static void test_kept_as_written(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "3:1e5^",      "2:.5^",
        "2:5.^",       "3:1E5^",
        "4:+inf^",     "8:Infinity^",
        "3:NaN^",      "3:007#",
        "2:+7#",       "5:1e+05^",
        "2:-0#",       "14:1:a;0:~1:a;0:~}",
        "8:1:a,1:b,]", "14:1:a,1:1#0:,0:~}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct flow_error error = {0};
        struct value *value = tnet_read(bytes_of(texts[i]), 0, NULL, arena, &error);
        if (!value)
            fail_msg("%s: %s", texts[i], error.message);
        assert_round_trip(bytes_of(texts[i]), value);
    }
}

/* Every string knows where it stands in the capture. */
static void test_offsets(void **state)
{
    (void)state;
    struct flow_error error = {0};
    static const char text[] = "28:1:b;1:2#1:a;3:xyz,1:c,3:1.5^}";
    struct value *dict = tnet_read(bytes_of(text), 500, NULL, arena, &error);
    assert_non_null(dict);
    assert_int_equal(value_get(dict, "a")->offset, 500 + (strstr(text, "xyz") - text));
    assert_int_equal(value_get(dict, "b")->offset, 500 + 9);
    assert_int_equal(value_get(dict, "c")->offset, 500 + (strstr(text, "1.5") - text));
}

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code;
        uint64_t offset; /* from where the text stands */
        const char *path;
        const char *says; /* part of the message */
    } rows[] = {
        {"", EBADMSG, 0, "", "found nothing"},
        {"x", EBADMSG, 0, "", "'x'"},
        {":", EBADMSG, 0, "", "':'"},
        {"12", EBADMSG, 2, "", "length prefix"},
        {"1x:a,", EBADMSG, 1, "", "'x'"},
        {"-1:a,", EBADMSG, 0, "", "'-'"},
        {"1:", EBADMSG, 0, "", "length 1"},
        {"1:a", EBADMSG, 0, "", "length 1"},
        {"5:abc,", EBADMSG, 0, "", "length 5"},
        {"1:a,x", EBADMSG, 4, "", "1 bytes behind"},
        {"1:a?", EBADMSG, 3, "", "type tag 0x3f"},
        {"1:x#", EBADMSG, 2, "", "integer"},
        {"0:#", EBADMSG, 2, "", "integer"},
        {"1:-#", EBADMSG, 2, "", "integer"},
        {"3:1_0#", EBADMSG, 2, "", "integer"},
        {"2: 1#", EBADMSG, 2, "", "integer"},
        {"3:\n\x1B[#", EBADMSG, 2, "", "found \"??[\""},
        {"9:2:k\n;1:x#}", EBADMSG, 9, "k?", "integer"},
        {"3:1.5#", EBADMSG, 2, "", "integer"},
        {"0:^", EBADMSG, 2, "", "float"},
        {"1:.^", EBADMSG, 2, "", "float"},
        {"2:1e^", EBADMSG, 2, "", "float"},
        {"3:1.2.3^", EBADMSG, 5, "", "type tag"},
        {"5:1.2.3^", EBADMSG, 2, "", "float"},
        {"3:0x1^", EBADMSG, 2, "", "float"},
        {"4:True!", EBADMSG, 2, "", "true or false"},
        {"0:!", EBADMSG, 2, "", "true or false"},
        {"1:x~", EBADMSG, 2, "", "nothing before '~'"},
        {"5:1:a?]", EBADMSG, 0, "", "length 5"},
        {"4:1:a?]", EBADMSG, 5, "[0]", "type tag"},
        {"8:1:a,1:x#]", EBADMSG, 8, "[1]", "integer"},
        {"4:1:a,}", EBADMSG, 6, "a", "length prefix"},
        {"7:1:1#0:~}", EBADMSG, 6, "", "key"},
        {"17:1:a;10:1:b;3:xxx#}}", EBADMSG, 7, "a", "length 10"},
        {"19:1:a;11:1:b;4:xxxx#}}", EBADMSG, 16, "a.b", "integer"},
        {"22:1:a;14:4:1:x,]4:1:x#]]}", EBADMSG, 21, "a[1][0]", "integer"},
        {"9:12345:ab,]", EBADMSG, 2, "[0]", "length 12345"},
        {"999999999999:a,", EBADMSG, 0, "", "length 999999999999"},
        {"1234567890123:a,", EBADMSG, 0, "", "12 digits"},
        {"0000000000001:a,", EBADMSG, 0, "", "12 digits"},
        {"16:1234567890123:a,]", EBADMSG, 3, "[0]", "12 digits"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct flow_error error = {0};
        struct value *value = tnet_read(bytes_of(rows[i].text), 7000, NULL, arena, &error);
        if (value || error.code != rows[i].code || error.offset != 7000 + rows[i].offset ||
            strcmp(error.key_path, rows[i].path) != 0 || !strstr(error.message, rows[i].says))
            fail_msg("%s: %s, code %d, offset 7000 + %" PRId64 ", path \"%s\": %s", rows[i].text,
                     value ? "read" : "refused", error.code, (int64_t)(error.offset - 7000),
                     error.key_path, error.message);
    }
}

static void test_every_cut_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof tnet_table / sizeof *tnet_table; i++) {
        struct bytes encoded = tnet_table[i].encoded;
        for (size_t size = 0; size < encoded.size; size++) {
            struct flow_error error = {0};
            uint8_t *cut = malloc(size + 1); /* of its own, so that ASan sees a byte too far */
            assert_non_null(cut);
            memcpy(cut, encoded.data, size);
            uint8_t *exact = realloc(cut, size ? size : 1);
            assert_null(tnet_read(bytes_make(exact, size), 0, NULL, arena, &error));
            assert_int_equal(error.code, EBADMSG);
            assert_true(error.offset <= size);
            free(exact);
        }
    }
}

static void test_nothing_may_follow(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof tnet_table / sizeof *tnet_table; i++) {
        struct flow_error error = {0};
        struct buffer longer = BUFFER_INIT;
        buffer_append_bytes(&longer, tnet_table[i].encoded);
        buffer_append_text(&longer, "0:~");
        assert_null(tnet_read(buffer_bytes(&longer), 10, NULL, arena, &error));
        assert_int_equal(error.code, EBADMSG);
        assert_int_equal(error.offset, 10 + tnet_table[i].encoded.size);
        buffer_free(&longer);
    }
}

/* Lists in lists, `depth` of them. */
static struct buffer nested(size_t depth, char tag)
{
    struct buffer text = BUFFER_INIT;
    for (size_t i = 0; i < depth; i++) {
        struct buffer outer = BUFFER_INIT;
        if (tag == '}' && i)
            put_text(&outer, "k");
        buffer_append_bytes(&outer, buffer_bytes(&text));
        buffer_free(&text);
        put_container(&text, tag, &outer);
    }
    return text;
}

static void test_depth(void **state)
{
    (void)state;
    for (int dict = 0; dict < 2; dict++) {
        struct flow_error error = {0};
        struct buffer deep = nested(TNET_DEPTH_LIMIT, dict ? '}' : ']');
        struct value *value = tnet_read(buffer_bytes(&deep), 0, NULL, arena, &error);
        assert_non_null(value);
        assert_round_trip(buffer_bytes(&deep), value);
        struct buffer deeper = nested(TNET_DEPTH_LIMIT + 1, dict ? '}' : ']');
        assert_null(tnet_read(buffer_bytes(&deeper), 0, NULL, arena, &error));
        assert_int_equal(error.code, EFBIG);
        struct buffer deepest = nested(5000, dict ? '}' : ']');
        error = (struct flow_error){0};
        assert_null(tnet_read(buffer_bytes(&deepest), 0, NULL, arena, &error));
        assert_int_equal(error.code, EFBIG);
        buffer_free(&deep);
        buffer_free(&deeper);
        buffer_free(&deepest);
    }
}

static void test_prefix(void **state)
{
    (void)state;
    struct tnet_element element;
    struct flow_error error = {0};
    assert_true(tnet_prefix(bytes_of("999999999999:"), 0, &element, &error));
    assert_int_equal(element.size, 999999999999u);
    assert_int_equal(element.content, 13);
    assert_false(tnet_prefix(bytes_of("999999999999"), 3, &element, &error));
    assert_int_equal(error.code, EAGAIN);
    assert_int_equal(error.offset, 15);
    error = (struct flow_error){0};
    assert_false(tnet_prefix(bytes_of("9999999999999"), 3, &element, &error));
    assert_int_equal(error.code, EBADMSG);
    error = (struct flow_error){0};
    assert_false(tnet_prefix(bytes_of(""), 3, &element, &error));
    assert_int_equal(error.code, EAGAIN);
}

struct fed {
    uint8_t have[4096]; /* 1 where the reader has asked for the byte */
    size_t size;
    bool refuse;
};

static bool feed(void *context, size_t from, size_t size, struct flow_error *error)
{
    struct fed *fed = context;
    assert_true(from <= fed->size && size <= fed->size - from);
    memset(fed->have + from, 1, size);
    if (fed->refuse)
        flow_error_set(error, EIO, from, "refused");
    return !fed->refuse;
}

/* What is left in the capture is never asked for, and not written. */
static void test_long_strings_stay(void **state)
{
    (void)state;
    struct buffer list = BUFFER_INIT;
    struct buffer text = BUFFER_INIT;
    struct buffer out = BUFFER_INIT;
    struct flow_error error = {0};
    static const uint8_t body[1000];
    struct fed fed = {.size = 0};
    struct tnet_need need = {feed, &fed, 999};
    put_text(&list, "short");
    put_bytes(&list, bytes_make(body, 999));
    put_bytes(&list, bytes_make(body, 1000));
    put_number(&list, 12);
    put_container(&text, ']', &list);
    fed.size = text.size;
    struct value *value = tnet_read(buffer_bytes(&text), 100, &need, arena, &error);
    assert_non_null(value);
    assert_int_equal(value->count, 4);
    const struct value *left = value_item(value, 2);
    assert_null(left->bytes.data);
    assert_int_equal(left->bytes.size, 1000);
    assert_memory_equal(text.data + (left->offset - 100), body, 1000);
    assert_int_equal(text.data[left->offset - 100 - 1], ':');
    for (size_t i = 16; i < 1000; i++)
        assert_int_equal(fed.have[left->offset - 100 + i], 0);
    assert_non_null(value_item(value, 1)->bytes.data);
    assert_false(tnet_write(value, &out, &error));
    assert_int_equal(error.code, EINVAL);
    error = (struct flow_error){0};
    fed.refuse = true;
    assert_null(tnet_read(buffer_bytes(&text), 100, &need, arena, &error));
    assert_int_equal(error.code, EIO);
    buffer_free(&text);
    buffer_free(&out);
}

/* Random bytes: never a crash, and what is read is written back. */
static void test_damage(void **state)
{
    (void)state;
    uint64_t chance = 5;
    for (int round = 0; round < 40; round++)
        for (size_t i = 0; i < sizeof tnet_table / sizeof *tnet_table; i++) {
            struct bytes encoded = tnet_table[i].encoded;
            struct flow_error error = {0};
            struct arena *own = arena_new();
            uint8_t *damaged = malloc(encoded.size);
            assert_non_null(damaged);
            memcpy(damaged, encoded.data, encoded.size);
            size_t at = test_random(&chance) % encoded.size;
            damaged[at] = round % 2 ? (uint8_t)test_random(&chance)
                                    : encoded.data[test_random(&chance) % encoded.size];
            struct value *value =
                tnet_read(bytes_make(damaged, encoded.size), 0, NULL, own, &error);
            if (value) {
                struct buffer again = BUFFER_INIT;
                assert_true(tnet_write(value, &again, &error));
                /* Zeros in front of a length are read and not written. */
                if (again.size == encoded.size)
                    assert_memory_equal(again.data, damaged, encoded.size);
                buffer_free(&again);
            } else {
                assert_true(error.code == EBADMSG && error.offset <= encoded.size);
            }
            free(damaged);
            arena_free(own);
        }
}

static void round_trip_capture(const char *path, void *context)
{
    size_t *records = context;
    struct flow_error error = {0};
    struct capture_item item;
    struct capture *capture = capture_open(path, &error);
    if (!capture)
        fail_msg("%s: %s", path, error.message);
    if (capture_format(capture) != CAPTURE_FLOW_FILE) {
        capture_close(capture);
        return;
    }
    struct buffer content = BUFFER_INIT;
    uint64_t size = source_size(capture_source(capture));
    size_t got;
    assert_true(buffer_reserve(&content, (size_t)size));
    assert_true(source_read(capture_source(capture), 0, content.data, (size_t)size, &got, &error));
    struct capture_scan *scan = capture_scan_open(capture, 0, &error);
    while (capture_scan_next(scan, &item, &error) && item.kind != CAPTURE_END) {
        if (item.kind != CAPTURE_FLOW)
            continue;
        struct bytes record =
            bytes_make(content.data + item.extent.offset, (size_t)item.extent.size);
        struct arena *own = arena_new();
        struct value *value = tnet_read(record, item.extent.offset, NULL, own, &error);
        assert_non_null(value);
        assert_round_trip(record, value);
        arena_free(own);
        ++*records;
    }
    capture_scan_close(scan);
    buffer_free(&content);
    capture_close(capture);
}

static void test_captures_round_trip(void **state)
{
    (void)state;
    size_t records = 0;
    if (!test_captures(round_trip_capture, &records))
        skip();
    print_message("# %zu records are written as they were read\n", records);
    assert_true(records > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_as_mitmproxy, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_kept_as_written, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_offsets, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_errors, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_every_cut_is_refused, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_nothing_may_follow, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_depth, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_prefix, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_long_strings_stay, make_arena, drop_arena),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_captures_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
