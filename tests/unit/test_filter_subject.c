/* The texts that filters search, against what mitmproxy's classes print for the same values. */
#include "support.h"

#include "filter_subject.h"

static struct value *text(struct arena *arena, const char *string)
{
    return value_text(arena, bytes_of(string));
}

static void test_fields(void **state)
{
    (void)state;
    struct arena *arena = arena_new();
    struct buffer out = BUFFER_INIT;
    struct value *fields = value_list(arena);
    static const char *const pairs[][2] = {{"Host", "a"}, {"x-Empty", ""}, {"X-Two", "b\xFF"}};
    filter_append_fields(&out, NULL);
    filter_append_fields(&out, fields);
    assert_bytes(buffer_bytes(&out), "");
    for (size_t i = 0; i < 3; i++) {
        struct value *pair = value_list(arena);
        value_append(pair, value_bytes(arena, bytes_of(pairs[i][0])));
        value_append(pair, value_bytes(arena, bytes_of(pairs[i][1])));
        assert_true(value_append(fields, pair));
    }
    filter_append_fields(&out, fields);
    assert_bytes(buffer_bytes(&out), "Host: a\r\nx-Empty: \r\nX-Two: b\xFF\r\n");
    buffer_free(&out);
    arena_free(arena);
}

static void test_metadata(void **state)
{
    (void)state;
    struct arena *arena = arena_new();
    struct buffer out = BUFFER_INIT;
    struct value *metadata = value_dict(arena);
    struct value *list = value_list(arena);
    struct value *dict = value_dict(arena);
    value_append(list, text(arena, "it's"));
    value_append(list, text(arena, "it's \"\n"));
    value_append(list, value_bytes(arena, SPAN("\x00'\xFF\\")));
    value_append(list, text(arena, "é\xC2\x80\xE2\x80\xA8😀"));
    value_set(arena, dict, "a", value_null(arena));
    value_set(arena, dict, "b", value_list(arena));
    value_set(arena, metadata, "text", text(arena, "a 'b'"));
    value_set(arena, metadata, "int", value_int(arena, -5));
    value_set(arena, metadata, "float", value_float(arena, 0.5));
    value_set(arena, metadata, "bool", value_bool(arena, true));
    value_set(arena, metadata, "none", value_null(arena));
    value_set(arena, metadata, "bytes", value_bytes(arena, SPAN("\tz")));
    value_set(arena, metadata, "list", list);
    assert_true(value_set(arena, metadata, "dict", dict));
    filter_append_metadata(&out, NULL);
    assert_bytes(buffer_bytes(&out), "");
    filter_append_metadata(&out, metadata);
    assert_bytes(buffer_bytes(&out),
                 "text: a 'b'\nint: -5\nfloat: 0.5\nbool: True\nnone: None\nbytes: b'\\tz'\n"
                 "list: [\"it's\", 'it\\'s \"\\n', b\"\\x00'\\xff\\\\\", 'é\\x80\\u2028😀']\n"
                 "dict: {'a': None, 'b': []}");
    buffer_free(&out);
    arena_free(arena);
}

static void test_address(void **state)
{
    (void)state;
    struct arena *arena = arena_new();
    struct buffer out = BUFFER_INIT;
    struct value *address = value_list(arena);
    assert_false(filter_append_address(&out, NULL));
    value_append(address, text(arena, "::1"));
    assert_false(filter_append_address(&out, address));
    value_append(address, value_int(arena, 443));
    value_append(address, value_int(arena, 7));
    assert_true(filter_append_address(&out, address));
    assert_bytes(buffer_bytes(&out), "::1:443");
    buffer_free(&out);
    arena_free(arena);
}

/* Records as mitmproxy/dns.py prints them (with Python 3.12's ipaddress). */
static const struct {
    int type;
    struct bytes data;
    const char *shown;
} records[] = {
#define DATA(literal)                                                                              \
    {                                                                                              \
        (const uint8_t *)(literal), sizeof(literal) - 1                                            \
    }
    {1, DATA("\x7f\x00\x00\x01"), "127.0.0.1"},
    {1, DATA("\x7f\x00\x00"), "0x7f0000 (invalid A data)"},
    {28, DATA("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), "::"},
    {28, DATA("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"), "::1"},
    {28, DATA("\x20\x01\x0d\xb8\0\0\0\1\0\0\0\0\0\0\0\0"), "2001:db8:0:1::"},
    {28, DATA("\x20\x01\x0d\xb8\0\0\0\1\0\0\0\1\0\0\0\1"), "2001:db8:0:1:0:1:0:1"},
    {28, DATA("\0\0\0\0\0\1\0\1\0\1\0\0\0\0\0\1"), "::1:1:1:0:0:1"},
    {28, DATA("\0\1\0\0\0\0\0\1\0\0\0\0\0\1\0\1"), "1::1:0:0:1:1"},
    {28, DATA("\0\0\0\0\0\0\0\0\0\0\xff\xff\1\2\3\4"), "::ffff:102:304"},
    {28, DATA("\0"), "0x00 (invalid AAAA data)"},
    {2, DATA("\2ns\7Example\3com\0"), "ns.Example.com"},
    {5, DATA("\0"), ""},
    {5, DATA("\15xn--bcher-kva\2de\0"), "bücher.de"},
    {12, DATA("\2ns"), "0x026e73 (invalid PTR data)"},
    {12, DATA("\2ns\0x"), "0x026e730078 (invalid PTR data)"},
    {5, DATA("\xc0\x0c"), "0xc00c (invalid CNAME data)"},
    {2, DATA("\1\xff\0"), "0x01ff00 (invalid NS data)"},
    {16, DATA("v=spf1 é"), "v=spf1 é"},
    {16, DATA("\xff"), "0xff (invalid TXT data)"},
    {15, DATA("\0\1"), "0x0001"},
    {99, DATA(""), "0x"},
    {65, DATA("\0\1\7example\3com\0\0\1\0\3\2h2\0\7\0\4a'\\\"\0\0\0\0"),
     "{'target_name': 'example.com', 'priority': 1, 'alpn': '\\\\x02h2', 7: 'a\\'\\\\\\\\\"', "
     "'mandatory': ''}"},
    {65, DATA("\xff\xff\0"), "{'target_name': '', 'priority': -1}"},
    {65, DATA("\0\1\0\0\1\0\3\2h"), "0x000100000100030268 (invalid HTTPS data)"},
    {65, DATA("\0"), "0x00 (invalid HTTPS data)"},
};

static struct value *make_record(struct arena *arena, int type, struct bytes data)
{
    struct value *record = value_dict(arena);
    value_set(arena, record, "name", text(arena, "unseen"));
    value_set(arena, record, "type", value_int(arena, type));
    assert_true(value_set(arena, record, "data", value_bytes(arena, data)));
    return record;
}

static void test_records(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof records / sizeof *records; i++) {
        struct arena *arena = arena_new();
        struct buffer out = BUFFER_INIT;
        struct value *message = value_dict(arena);
        struct value *list = value_list(arena);
        value_append(list, make_record(arena, records[i].type, records[i].data));
        assert_true(value_set(arena, message, "additionals", list));
        filter_append_dns(&out, message);
        assert_bytes(buffer_bytes(&out), records[i].shown);
        buffer_free(&out);
        arena_free(arena);
    }
}

static void test_sections(void **state)
{
    (void)state;
    static const char *const sections[] = {"additionals", "authorities", "answers"};
    struct arena *arena = arena_new();
    struct buffer out = BUFFER_INIT;
    struct bytes name;
    struct value *message = value_dict(arena);
    struct value *questions = value_list(arena);
    struct value *question = value_dict(arena);
    assert_false(filter_first_question(NULL, &name));
    value_set(arena, message, "questions", questions);
    assert_false(filter_first_question(message, &name));
    value_set(arena, question, "name", text(arena, "a.example"));
    value_append(questions, question);
    value_append(questions, value_copy(arena, question));
    for (size_t i = 0; i < 3; i++) {
        struct value *list = value_list(arena);
        value_append(list, make_record(arena, 16, bytes_of(sections[i])));
        assert_true(value_set(arena, message, sections[i], list));
    }
    assert_true(filter_first_question(message, &name));
    assert_bytes(name, "a.example");
    filter_append_dns(&out, message);
    assert_bytes(buffer_bytes(&out),
                 "a.example\r\na.example\r\nanswers\r\nauthorities\r\nadditionals");
    buffer_free(&out);
    arena_free(arena);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),   cmocka_unit_test(test_metadata),
        cmocka_unit_test(test_address),  cmocka_unit_test(test_records),
        cmocka_unit_test(test_sections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
