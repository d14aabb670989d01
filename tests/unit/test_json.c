/* JSON read back: what json_text wrote gives the same value, and what no value could have been
 * written as is refused, with the place. */
#include "support.h"

#include "json_parse.h"
#include "json_text.h"
#include "tnet.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* As a tnetstring, written by hand in the rows below. */
static void assert_value(const char *json, struct bytes expected)
{
    struct flow_error error = {0};
    struct arena *arena = arena_new();
    struct buffer found = BUFFER_INIT;
    struct value *value = json_parse(bytes_of(json), arena, &error);
    if (!value)
        fail_msg("%s: %s", json, error.message);
    assert_true(tnet_write(value, &found, &error));
    assert_spans(buffer_bytes(&found), expected);
    buffer_free(&found);
    arena_free(arena);
}

static void test_values(void **state)
{
    (void)state;
    static const struct {
        const char *json, *expected;
    } rows[] = {
        {"null", "0:~"},
        {" true\n", "4:true!"},
        {"false", "5:false!"},
        {"\xEF\xBB\xBF"
         "0",
         "1:0#"},
        {"-0", "2:-0#"},
        {"12345678901234567890", "20:12345678901234567890#"},
        {"1.50", "4:1.50^"},
        {"-1e5", "4:-1e5^"},
        {"1E+05", "5:1E+05^"},
        {"\"\"", "0:;"},
        {"\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20AC\\uD83D\\uDE00b\"",
         "20:a\"\\/\b\f\n\r\tA\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"
         "b;"},
        {"[]", "0:]"},
        {"[1, [2],\t\"x\"]", "15:1:1#4:1:2#]1:x;]"},
        {"{}", "0:}"},
        {"{\"b\": 1, \"a\": 2}", "16:1:a;1:2#1:b;1:1#}"},
        {"{\"bytes\": \"\xC3\xA9\\u0000\"}", NULL},
        {"{\"base64\": \"AAE=\"}", NULL},
        {"{\"text_base64\": \"YQ==\"}", "1:a;"},
        {"{\"base64\": \"\"}", "0:,"},
        {"{\"int\": \"+007\"}", "4:+007#"},
        {"{\"float\": \"nan\"}", "3:nan^"},
        {"{\"float\": \"-Infinity\"}", "9:-Infinity^"},
        {"{\"dict\": []}", "0:}"},
        {"{\"dict\": [[{\"bytes\": \"k\"}, 1], [\"k\", 2], [\"k\", {\"int\": \"3\"}]]}",
         "24:1:k;1:3#1:k;1:2#1:k,1:1#}"},
        {"{\"dict\": [[\"base64\", \"AAAA\"]]}", "16:6:base64;4:AAAA;}"},
        {"{\"bytes\": 1, \"x\": 2}", "20:1:x;1:2#5:bytes;1:1#}"},
        {"{\"dict\": 1, \"base64\": 2}", "24:6:base64;1:2#4:dict;1:1#}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].expected)
            assert_value(rows[i].json, bytes_of(rows[i].expected));
    assert_value("{\"bytes\": \"\xC3\xA9\\u0000\"}", SPAN("3:\xC3\xA9\0,"));
    assert_value("{\"base64\": \"AAE=\"}", SPAN("2:\0\1,"));
}

static void assert_refused(struct bytes json, int code, size_t line, size_t column,
                           const char *message)
{
    size_t at_line, at_column;
    struct flow_error error = {0};
    struct arena *arena = arena_new();
    assert_null(json_parse(json, arena, &error));
    assert_string_equal(error.message, message);
    assert_int_equal(error.code, code);
    json_parse_place(json, error.offset, &at_line, &at_column);
    assert_int_equal(at_line, line);
    assert_int_equal(at_column, column);
    arena_free(arena);
}

#define VALUE                                                                                      \
    "a value: a string, number, object, list, true, false or null (bytes are {\"bytes\": "         \
    "\"...\"})"

static void test_mistakes(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        size_t line, column;
        const char *message;
    } rows[] = {
        {"", 1, 1, "found the end of the file, expected " VALUE},
        {"\n nul", 2, 2, "found `n`, expected " VALUE},
        {"[1,]", 1, 4, "found `]`, expected " VALUE},
        {"[1 2]", 1, 4, "found `2`, expected `,` or `]`"},
        {"[1", 1, 3, "found the end of the file, expected `,` or `]`"},
        {"{\"a\": 1,\n}", 2, 1, "found `}`, expected a member's name in quotes"},
        {"{\"a\" 1}", 1, 6, "found `1`, expected `:` behind a member's name"},
        {"{\"a\": 1, \"a\": 2}", 1, 10,
         "found a member for the second time, expected each once (else {\"dict\": [[key, value], "
         "...]})"},
        {"{\"a\": 1", 1, 8, "found the end of the file, expected `,` or `}`"},
        {"01", 1, 2,
         "found `1`, expected no digits behind a leading 0 (an integer written so is {\"int\": "
         "\"...\"})"},
        {"-", 1, 2, "found the end of the file, expected a digit"},
        {"1.\n", 1, 3, "found the end of the line, expected a digit"},
        {"1e+x", 1, 4, "found `x`, expected a digit"},
        {"+1", 1, 1, "found `+`, expected " VALUE},
        {"NaN", 1, 1, "found `N`, expected " VALUE},
        {"1 1", 1, 3, "found `1`, expected nothing more: the value ends before it"},
        {"\"a", 1, 3, "found the end of the file, expected `\"` at the end of the string"},
        {"\"a\nb\"", 1, 3,
         "found the end of the line, expected `\"` (control characters are written \\u00XX)"},
        {"\"\xFF\"", 1, 2,
         "found the byte 0xFF, expected UTF-8 (bytes that are none are {\"base64\": \"...\"})"},
        {"\"\\x\"", 1, 3, "found `x`, expected one of \" \\ / b f n r t u behind a backslash"},
        {"\"\\", 1, 3,
         "found the end of the file, expected one of \" \\ / b f n r t u behind a backslash"},
        {"\"\\u00g0\"", 1, 6, "found `g`, expected four hexadecimal digits behind \\u"},
        {"\"\\uDC80\"", 1, 2,
         "found half a surrogate pair, expected both (text that is no Unicode is "
         "{\"text_base64\": \"...\"})"},
        {"\"\\uD800\\u0041\"", 1, 2,
         "found half a surrogate pair, expected both (text that is no Unicode is "
         "{\"text_base64\": \"...\"})"},
        {"{\"int\": \"1.5\"}", 1, 9, "found another value, expected a sign and digits for \"int\""},
        {"{\"float\": \"x\"}", 1, 11,
         "found another value, expected a decimal number, inf or nan for \"float\""},
        {"{\"bytes\": 1}", 1, 11, "found another value, expected a string for \"bytes\""},
        {"{\"base64\": \"?\"}", 1, 12,
         "found another value, expected base64 (RFC 4648) for \"base64\""},
        {"{\"dict\": [[1]]}", 1, 10,
         "found another value, expected a list of [key, value] for \"dict\""},
        {"{\"dict\": {}}", 1, 10,
         "found another value, expected a list of [key, value] for \"dict\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_refused(bytes_of(rows[i].json), EBADMSG, rows[i].line, rows[i].column,
                       rows[i].message);
    assert_refused(SPAN("\"\0\""), EBADMSG, 1, 2,
                   "found the byte 0x00, expected `\"` (control characters are written \\u00XX)");
}

/* As deep as a flow file may be, and one more; far deeper, the stack holds. */
static void test_depth(void **state)
{
    (void)state;
    static char text[100000];
    struct arena *arena = arena_new();
    struct flow_error error = {0};
    memset(text, '[', TNET_DEPTH_LIMIT);
    memset(text + TNET_DEPTH_LIMIT, ']', TNET_DEPTH_LIMIT);
    assert_non_null(json_parse(bytes_make(text, 2 * TNET_DEPTH_LIMIT), arena, &error));
    arena_free(arena);
    memset(text, '[', TNET_DEPTH_LIMIT + 1);
    memset(text + TNET_DEPTH_LIMIT + 1, ']', TNET_DEPTH_LIMIT + 1);
    assert_refused(bytes_make(text, 2 * TNET_DEPTH_LIMIT + 2), EFBIG, 1, TNET_DEPTH_LIMIT + 1,
                   "found values nested deeper than 64");
    memset(text, '[', sizeof text);
    assert_refused(bytes_make(text, sizeof text), EFBIG, 1, 3 * TNET_DEPTH_LIMIT + 1,
                   "found values nested deeper than 64");
}

/* A value that looks random, with everything JSON has no form for. */
static struct value *make_random(struct arena *arena, uint64_t *seed, unsigned depth)
{
    static const char *const texts[] = {"",     "a",      "base64", "dict",        "\xFF\x00z",
                                        "\x7F", "\"\\\n", "int",    "\xE2\x82\xAC"};
    static const char *const integers[] = {"0", "-7", "007", "+1", "-0", "1234567890123456789012"};
    static const char *const floats[] = {"1.5", "0.1", "1e16", "1e+16", "nan", "-inf", "5", ".5"};
    struct bytes text = bytes_of(texts[test_random(seed) % 9]);
    struct value *value = NULL;
    switch (test_random(seed) % (depth > 4 ? 6 : 9)) {
    case 0:
        return value_null(arena);
    case 1:
        return value_bool(arena, test_random(seed) % 2);
    case 2:
        value = value_text(arena, bytes_of(integers[test_random(seed) % 6]));
        value->kind = VALUE_INT;
        return value;
    case 3:
        value = value_text(arena, bytes_of(floats[test_random(seed) % 8]));
        value->kind = VALUE_FLOAT;
        return value;
    case 4:
        return value_bytes(arena, text);
    case 5:
        return value_text(arena, text);
    case 6:
        value = value_list(arena);
        for (uint32_t i = test_random(seed) % 12; i > 0; i--)
            value_append(value, make_random(arena, seed, depth + 1));
        return value;
    default:
        value = value_dict(arena);
        for (uint32_t i = test_random(seed) % 4; i > 0; i--)
            value_append_member(value,
                                test_random(seed) % 8
                                    ? value_text(arena, bytes_of(texts[test_random(seed) % 9]))
                                    : make_random(arena, seed, 5),
                                make_random(arena, seed, depth + 1));
        return value;
    }
}

static void test_random_values(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (int i = 0; i < 3000; i++) {
        struct flow_error error = {0};
        struct arena *arena = arena_new();
        struct buffer json = BUFFER_INIT, before = BUFFER_INIT, after = BUFFER_INIT;
        struct value *value = make_random(arena, &seed, 0);
        json_append_value(&json, value, 0);
        struct value *again = json_parse(buffer_bytes(&json), arena, &error);
        if (!again)
            fail_msg("%s\n%.*s", error.message, (int)json.size, (const char *)json.data);
        assert_true(tnet_write(value, &before, &error) && tnet_write(again, &after, &error));
        assert_spans(buffer_bytes(&after), buffer_bytes(&before));
        buffer_free(&json);
        buffer_free(&before);
        buffer_free(&after);
        arena_free(arena);
    }
}

/* Any bytes: an answer or an error, and no byte read beyond the end. */
static void test_damaged(void **state)
{
    (void)state;
    static const char whole[] =
        "{\"a\": [1, -2.5e3, {\"bytes\": \"\\u00e9\\n\"}], \"b\": {\"dict\": [[\"k\", null]]}}";
    uint64_t seed = 7;
    for (int i = 0; i < 20000; i++) {
        struct flow_error error = {0};
        struct arena *arena = arena_new();
        size_t size = test_random(&seed) % sizeof whole;
        uint8_t *text = malloc(size ? size : 1);
        memcpy(text, whole, size);
        for (uint32_t j = test_random(&seed) % 3; size && j > 0; j--)
            text[test_random(&seed) % size] = (uint8_t)test_random(&seed);
        if (!json_parse(bytes_make(text, size), arena, &error))
            assert_int_equal(error.code, EBADMSG);
        free(text);
        arena_free(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),  cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_depth),   cmocka_unit_test(test_random_values),
        cmocka_unit_test(test_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
