/* What links are called and what type a body is; names that are equal are told apart. */
#include "support.h"

#include "leaf.h"
#include "link_name.h"
#include "media_type.h"

#include <stdio.h>

static void assert_type(const char *value, const char *type, const char *subtype,
                        const char *extension)
{
    struct bytes found_type, found_subtype;
    media_type_split(bytes_of(value), &found_type, &found_subtype);
    assert_bytes(found_type, type);
    assert_bytes(found_subtype, subtype);
    assert_string_equal(media_type_extension(found_type, found_subtype), extension);
}

static void test_media_types(void **state)
{
    (void)state;
    assert_type("image/png", "image", "png", ".png");
    assert_type(" text/html ; charset=utf-8", "text", "html", ".html");
    assert_type("application/problem+json", "application", "problem+json", ".json");
    assert_type("application/atom+xml;type=entry", "application", "atom+xml", ".xml");
    assert_type("application/x.a+b+zip", "application", "x.a+b+zip", ".zip");
    assert_type("image/svg+xml", "image", "svg+xml", ".svg");
    assert_type("text/javascript", "text", "javascript", ".js");
    assert_type("chemical/x-pdb", "chemical", "x-pdb", "");
    assert_type("plain", "plain", "", "");
    assert_type("/", "", "", "");
    assert_type("a/b/c", "a", "b/c", "");
    assert_type("", "", "", "");
    assert_type("; q=1", "", "", "");
}

static void assert_entry(const struct leaf *leaf, uint32_t entry, uint32_t flow, const char *name)
{
    assert_int_equal(leaf_flow(leaf, entry), flow);
    assert_string_equal(leaf_name(leaf, entry), name);
    assert_int_equal(leaf_find(leaf, bytes_of(name)), entry);
}

static void test_leaf(void **state)
{
    (void)state;
    struct leaf *leaf = leaf_open();
    char longest[300];
    memset(longest, 'x', sizeof longest);
    assert_non_null(leaf);
    assert_true(leaf_add(leaf, 7, bytes_of("a"), ".png"));
    assert_true(leaf_add(leaf, 8, bytes_of("a"), ".png"));
    assert_true(leaf_add(leaf, 9, bytes_of("a~2"), ".png"));
    assert_true(leaf_add(leaf, 1, bytes_of("a"), ".png"));
    assert_true(leaf_add(leaf, 2, bytes_of("../b"), ""));
    assert_true(leaf_add(leaf, 3, bytes_make(longest, sizeof longest), ".png"));
    assert_int_equal(leaf_count(leaf), 6);
    assert_entry(leaf, 0, 7, "a.png");
    assert_entry(leaf, 1, 8, "a~2.png");
    assert_entry(leaf, 2, 9, "a%7E2.png");
    assert_entry(leaf, 3, 1, "a~3.png");
    assert_entry(leaf, 4, 2, "%2E.%2Fb");
    assert_int_equal(strlen(leaf_name(leaf, 5)), NAME_LONGEST);
    assert_int_equal(leaf_find(leaf, bytes_of("a~4.png")), HASH_TABLE_NONE);
    leaf_close(leaf);
    leaf_close(NULL);
}

static void test_many(void **state)
{
    (void)state;
    struct leaf *leaf = leaf_open();
    char text[16];
    assert_non_null(leaf);
    for (uint32_t i = 0; i < 10000; i++) {
        snprintf(text, sizeof text, "%u", i / 2);
        assert_true(leaf_add(leaf, i, bytes_of(text), ""));
    }
    for (uint32_t i = 0; i < 10000; i++) {
        snprintf(text, sizeof text, i % 2 ? "%u~2" : "%u", i / 2);
        assert_int_equal(leaf_flow(leaf, leaf_find(leaf, bytes_of(text))), i);
    }
    assert_true(leaf_footprint(leaf) > 10000 * 12);
    leaf_close(leaf);
}

static void assert_day(int64_t start, const char *day)
{
    struct buffer text = BUFFER_INIT;
    link_name_append_day(start, &text);
    assert_bytes(buffer_bytes(&text), day);
    buffer_free(&text);
}

/* The days are those that date(1) gives. */
static void test_days(void **state)
{
    (void)state;
    assert_day(0, "1970-01-01");
    assert_day(-1, "1969-12-31");
    assert_day(INT64_C(1738318925123456789), "2025-01-31");
    assert_day(INT64_C(86400000000000) - 1, "1970-01-01");
    assert_day(INT64_C(86400000000000), "1970-01-02");
    assert_day(INT64_C(951782400000000000), "2000-02-29");
    assert_day(INT64_MAX, "2262-04-11");
    assert_day(INT64_MIN, "1677-09-21");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_media_types),
        cmocka_unit_test(test_leaf),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_days),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
