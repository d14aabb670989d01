/* Names of files from hostile bytes: allowed in every file system and shell listing, never the same
 * for two things, the same at every run. */
#include "support.h"

#include "name.h"

#include <stdio.h>
#include <stdlib.h>

static void assert_name(struct bytes raw, uint32_t copy, const char *expected)
{
    struct name name;
    name_make(&name, raw, copy);
    assert_bytes(name_bytes(&name), expected);
    assert_int_equal(name.text[name.size], '\0');
}

/* By hand, from the rules in name.h. */
static void test_rules(void **state)
{
    (void)state;
    assert_name(SPAN("example.com"), 1, "example.com");
    assert_name(SPAN("example.com:8080"), 1, "example.com:8080");
    assert_name(SPAN("[::1]:443"), 1, "[::1]:443");
    assert_name(SPAN(""), 1, "unknown");
    assert_name(SPAN(""), 2, "unknown~2");
    assert_name(SPAN("."), 1, "%2E");
    assert_name(SPAN(".."), 1, "%2E.");
    assert_name(SPAN("../../etc/passwd"), 1, "%2E.%2F..%2Fetc%2Fpasswd");
    assert_name(SPAN("a.."), 1, "a..");
    assert_name(SPAN("/"), 1, "%2F");
    assert_name(SPAN(".flowfs"), 1, "%2Eflowfs");
    assert_name(SPAN("@staging"), 1, "%40staging");
    assert_name(SPAN("a@b"), 1, "a@b");
    assert_name(SPAN("100%"), 1, "100%25");
    assert_name(SPAN("%2E"), 1, "%252E");
    assert_name(SPAN("a\0b"), 1, "a%00b");
    assert_name(SPAN("\x1B[31mred\x1B[0m"), 1, "%1B[31mred%1B[0m");
    assert_name(SPAN("\x7F\t\n"), 1, "%7F%09%0A");
    assert_name(SPAN("\xC2\x80\xC2\x9F\xC2\xA0"), 1, "%C2%80%C2%9F\xC2\xA0");
    assert_name(SPAN("m\xC3\xBCnchen.de"), 1, "m\xC3\xBCnchen.de");
    assert_name(SPAN("\xFF\xFE"), 1, "%FF%FE");
    assert_name(SPAN("\xC3"), 1, "%C3");
    assert_name(SPAN("\xED\xA0\x80"), 1, "%ED%A0%80"); /* a surrogate */
    assert_name(SPAN("\xC0\xAF"), 1, "%C0%AF");        /* '/', overlong */
    assert_name(SPAN("\xF0\x9F\x98\x80"), 1, "\xF0\x9F\x98\x80");
    assert_name(SPAN("abc"), 2, "abc~2");
    assert_name(SPAN("abc"), 4294967295u, "abc~4294967295");
    assert_name(SPAN("abc~2"), 1, "abc%7E2");
    assert_name(SPAN("abc~2"), 2, "abc%7E2~2");
    assert_name(SPAN("abc~2~3"), 1, "abc~2%7E3");
    assert_name(SPAN("abc~"), 1, "abc~");
    assert_name(SPAN("abc~x"), 1, "abc~x");
    assert_name(SPAN("~1"), 1, "%7E1");
    assert_name(SPAN(" a "), 1, " a ");
}

/* Python's answer: ("x" * 300), FNV-1a is not asked of it, so only the shape is known. */
static void test_long_names(void **state)
{
    (void)state;
    char raw[300];
    struct name name, other;
    memset(raw, 'x', sizeof raw);
    name_make(&name, bytes_make(raw, 255), 1);
    assert_int_equal(name.size, 255);
    assert_memory_equal(name.text, raw, 255);
    for (size_t size = 256; size <= sizeof raw; size++) {
        name_make(&name, bytes_make(raw, size), 1);
        assert_int_equal(name.size, 255);
        assert_memory_equal(name.text, raw, 255 - 18);
        assert_memory_equal(name.text + 255 - 18, "%~", 2);
        assert_int_equal(strspn(name.text + 255 - 16, "0123456789abcdef"), 16);
        raw[size - 1] = 'y';
        name_make(&other, bytes_make(raw, size), 1);
        assert_string_not_equal(name.text, other.text);
        raw[size - 1] = 'x';
    }
    name_make(&other, bytes_make(raw, sizeof raw), 12);
    assert_int_equal(other.size, 255);
    assert_memory_equal(other.text + 255 - 3, "~12", 3);
    assert_memory_equal(other.text + 255 - 3 - 16, name.text + 255 - 16, 16);
    /* 254 fit, and with a copy's number they do not. */
    name_make(&name, bytes_make(raw, 254), 2);
    assert_int_equal(name.size, 255);
    assert_memory_equal(name.text + 255 - 2, "~2", 2);
    /* No character is cut in two: 85 of three bytes are 255. */
    char wide[3 * 86];
    for (size_t i = 0; i < 86; i++)
        memcpy(wide + 3 * i, "\xE2\x82\xAC", 3);
    name_make(&name, bytes_make(wide, 255), 1);
    assert_int_equal(name.size, 255);
    name_make(&name, bytes_make(wide, sizeof wide), 1);
    assert_true(bytes_are_utf8(name_bytes(&name)));
    assert_int_equal(name.size, 79 * 3 + 18);
}

/* What a name stands for, found without knowing how it was made: by undoing %XX. Returns false for
 * a name that was cut. */
static bool undo(const struct name *name, struct buffer *raw, uint32_t *copy)
{
    size_t end = name->size;
    *copy = 1;
    while (end && name->text[end - 1] >= '0' && name->text[end - 1] <= '9')
        end--;
    if (end > 1 && end < name->size && name->text[end - 1] == '~' && name->text[end - 2] != '%') {
        *copy = (uint32_t)strtoul(name->text + end, NULL, 10);
        end--;
    } else {
        end = name->size;
    }
    for (size_t i = 0; i < end; i++) {
        char digits[3] = {0};
        if (name->text[i] != '%') {
            buffer_append_byte(raw, (uint8_t)name->text[i]);
            continue;
        }
        if (name->text[i + 1] == '~')
            return false;
        if (i + 2 >= end)
            fail_msg("a lone %% in %s", name->text);
        memcpy(digits, name->text + i + 1, 2);
        buffer_append_byte(raw, (uint8_t)strtoul(digits, NULL, 16));
        i += 2;
    }
    return true;
}

/* If every name can be undone, no two things have the same. */
static void assert_undone(struct bytes raw, uint32_t copy)
{
    struct name name, again;
    struct buffer undone = BUFFER_INIT;
    uint32_t undone_copy;
    name_make(&name, raw, copy);
    name_make(&again, raw, copy);
    assert_true(name.size > 0 && name.size <= 255);
    assert_int_equal(strlen(name.text), name.size);
    assert_string_equal(name.text, again.text);
    assert_null(strchr(name.text, '/'));
    assert_true(name.text[0] != '.' && name.text[0] != '@');
    assert_true(bytes_are_utf8(name_bytes(&name)));
    for (size_t i = 0; i < name.size; i++)
        assert_true((uint8_t)name.text[i] >= 0x20 && name.text[i] != 0x7F);
    if (undo(&name, &undone, &undone_copy)) {
        if (!(raw.size == 0 && strncmp(name.text, "unknown", 7) == 0))
            assert_spans(buffer_bytes(&undone), raw);
        assert_int_equal(undone_copy, copy);
    } else {
        assert_true(raw.size * 3 > 230);
    }
    buffer_free(&undone);
}

static void test_all_short_inputs(void **state)
{
    (void)state;
    static const uint32_t copies[] = {1, 2, 10};
    for (size_t c = 0; c < 3; c++) {
        assert_undone(bytes_make("", 0), copies[c]);
        for (unsigned a = 0; a < 256; a++) {
            uint8_t raw[2] = {(uint8_t)a, 0};
            assert_undone(bytes_make(raw, 1), copies[c]);
            for (unsigned b = 0; b < 256; b++) {
                raw[1] = (uint8_t)b;
                assert_undone(bytes_make(raw, 2), copies[c]);
            }
        }
    }
}

static void test_random_inputs(void **state)
{
    (void)state;
    static const char alphabet[] = "ab~~~0123456789%%..@/\xC3\xA9\xE2\x82\xAC\xFF \x01~2";
    uint64_t chance = 11;
    for (int i = 0; i < 60000; i++) {
        uint8_t raw[320];
        size_t size = test_random(&chance) % (i % 10 ? 12 : sizeof raw);
        for (size_t at = 0; at < size; at++)
            raw[at] = i % 3 ? (uint8_t)alphabet[test_random(&chance) % (sizeof alphabet - 1)]
                            : (uint8_t)test_random(&chance);
        assert_undone(bytes_make(raw, size), 1 + test_random(&chance) % 30);
    }
}

static void test_plain(void **state)
{
    (void)state;
    struct name name;
    name_make_plain(&name, SPAN("0badc0de-0000-4000-8000-000000000000"), 1);
    assert_bytes(name_bytes(&name), "0badc0de-0000-4000-8000-000000000000");
    name_make_plain(&name, SPAN("0badc0de-0000-4000-8000-000000000000"), 3);
    assert_bytes(name_bytes(&name), "0badc0de-0000-4000-8000-000000000000~3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_long_names),
        cmocka_unit_test(test_all_short_inputs),
        cmocka_unit_test(test_random_inputs),
        cmocka_unit_test(test_plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
