/* Values: numbers as Python writes them, dicts that keep their order, answers about what is not
 * there. */
#include "support.h"

#include "float_table.h"
#include "value.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

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

static void test_floats_as_python_writes_them(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof float_table / sizeof *float_table; i++) {
        char text[32];
        double number, again;
        memcpy(&number, &float_table[i].bits, sizeof number);
        size_t length = value_format_float(number, text);
        assert_bytes(bytes_make(text, length), float_table[i].repr);
        assert_int_equal(text[length], '\0');
        struct value *value = value_float(arena, number);
        assert_bytes(value->bytes, float_table[i].repr);
        assert_true(value_to_double(value, &again));
        assert_true(isnan(number) ? isnan(again) : memcmp(&again, &number, sizeof number) == 0);
    }
}

/* The keys of a dict, each with a comma behind it, walked forward and backward. */
static void assert_keys(const struct value *dict, const char *expected)
{
    char forward[200] = "";
    char backward[200] = "";
    size_t count = 0;
    for (const struct value *member = dict->first; member; member = member->next, count++)
        snprintf(forward + strlen(forward), sizeof forward - strlen(forward), "%.*s,",
                 (int)member->key->bytes.size, (const char *)member->key->bytes.data);
    for (const struct value *member = dict->last; member; member = member->previous) {
        char rest[200];
        memcpy(rest, backward, sizeof rest);
        snprintf(backward, sizeof backward, "%.*s,%.100s", (int)member->key->bytes.size,
                 (const char *)member->key->bytes.data, rest);
    }
    assert_string_equal(forward, expected);
    assert_string_equal(backward, expected);
    assert_int_equal(dict->count, count);
}

static void test_dict_order(void **state)
{
    (void)state;
    struct value *dict = value_dict(arena);
    assert_true(value_set(arena, dict, "a", value_int(arena, 1)));
    assert_true(value_set(arena, dict, "b", value_int(arena, 2)));
    assert_true(value_set(arena, dict, "c", value_int(arena, 3)));
    assert_keys(dict, "a,b,c,");
    assert_true(value_set(arena, dict, "b", value_text(arena, bytes_of("new"))));
    assert_keys(dict, "a,b,c,");
    assert_bytes(value_string(value_get(dict, "b")), "new");
    assert_true(value_set(arena, dict, "a", value_null(arena)));
    assert_true(value_set(arena, dict, "c", value_null(arena)));
    assert_keys(dict, "a,b,c,");
    assert_true(value_set(arena, dict, "b", value_get(dict, "b")));
    assert_keys(dict, "a,b,c,");
    struct value *popped = value_pop(dict, "a");
    assert_true(value_is_null(popped) && popped->next == NULL && popped->previous == NULL);
    assert_keys(dict, "b,c,");
    assert_null(value_pop(dict, "a"));
    assert_true(value_set(arena, dict, "a", popped));
    assert_keys(dict, "b,c,a,");
    assert_true(value_prepend_member(dict, value_bytes(arena, bytes_of("z")), value_null(arena)));
    assert_keys(dict, "z,b,c,a,");
    assert_non_null(value_get(dict, "z"));
    while (dict->last) {
        char key[2] = {(char)dict->last->key->bytes.data[0], '\0'};
        assert_non_null(value_pop(dict, key));
    }
    assert_keys(dict, "");
    assert_null(dict->first);
}

static void test_what_is_not_there(void **state)
{
    (void)state;
    int64_t number;
    double real;
    struct value *text = value_text(arena, bytes_of("x"));
    assert_null(value_get(NULL, "a"));
    assert_null(value_get(text, "a"));
    assert_null(value_item(NULL, 0));
    assert_null(value_item(value_list(arena), 0));
    assert_null(value_pop(NULL, "a"));
    assert_null(value_copy(arena, NULL));
    assert_false(value_set(arena, NULL, "a", text));
    assert_false(value_set(arena, value_dict(arena), "a", NULL));
    assert_false(value_append(text, text));
    assert_false(value_append(value_list(arena), NULL));
    assert_false(value_append_member(value_dict(arena), NULL, text));
    assert_false(value_prepend_member(value_dict(arena), text, NULL));
    assert_true(value_is_null(NULL));
    assert_false(value_is_true(NULL));
    assert_false(value_is_string(NULL));
    assert_int_equal(value_string(NULL).size, 0);
    assert_int_equal(value_string(value_int(arena, 5)).size, 0);
    assert_false(value_to_int64(NULL, &number));
    assert_false(value_to_int64(text, &number));
    assert_false(value_to_double(NULL, &real));
    assert_false(value_to_double(text, &real));
}

static struct value *number_of(enum value_kind kind, const char *digits)
{
    struct value *value = value_text(arena, bytes_of(digits));
    value->kind = kind;
    return value;
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        enum value_kind kind;
        const char *digits;
        bool fits;
        int64_t number;
    } rows[] = {
        {VALUE_INT, "0", true, 0},
        {VALUE_INT, "-1", true, -1},
        {VALUE_INT, "+7", true, 7},
        {VALUE_INT, "007", true, 7},
        {VALUE_INT, "9223372036854775807", true, INT64_MAX},
        {VALUE_INT, "-9223372036854775808", true, INT64_MIN},
        {VALUE_INT, "9223372036854775808", false, 0},
        {VALUE_INT, "-9223372036854775809", false, 0},
        {VALUE_INT, "123456789012345678901234567890", false, 0},
        {VALUE_FLOAT, "12.0", true, 12},
        {VALUE_FLOAT, "-3e2", true, -300},
        {VALUE_FLOAT, "12.5", false, 0},
        {VALUE_FLOAT, "1e300", false, 0},
        {VALUE_FLOAT, "nan", false, 0},
        {VALUE_FLOAT, "inf", false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t number = 0;
        bool fits = value_to_int64(number_of(rows[i].kind, rows[i].digits), &number);
        if (fits != rows[i].fits || (fits && number != rows[i].number))
            fail_msg("%s: %s %" PRId64, rows[i].digits, fits ? "fits as" : "does not fit", number);
    }
    double real;
    assert_true(value_to_double(number_of(VALUE_INT, "1234567890123456789012"), &real));
    assert_true(real == 1234567890123456789012.0);
    assert_true(value_to_double(value_bool(arena, true), &real) && real == 1.0);
}

static void test_truth_as_in_python(void **state)
{
    (void)state;
    struct value *list = value_list(arena);
    struct value *dict = value_dict(arena);
    assert_false(value_is_true(value_null(arena)));
    assert_false(value_is_true(value_bool(arena, false)));
    assert_true(value_is_true(value_bool(arena, true)));
    assert_false(value_is_true(value_int(arena, 0)));
    assert_false(value_is_true(number_of(VALUE_INT, "-0")));
    assert_true(value_is_true(value_int(arena, -1)));
    assert_false(value_is_true(value_float(arena, -0.0)));
    assert_true(value_is_true(value_float(arena, (double)NAN)));
    assert_true(value_is_true(value_float(arena, 1e-300)));
    assert_false(value_is_true(value_text(arena, bytes_of(""))));
    assert_true(value_is_true(value_bytes(arena, bytes_of("0"))));
    assert_false(value_is_true(list) || value_is_true(dict));
    value_append(list, value_null(arena));
    value_set(arena, dict, "a", value_null(arena));
    assert_true(value_is_true(list) && value_is_true(dict));
}

static void test_copies_are_deep(void **state)
{
    (void)state;
    struct value *dict = value_dict(arena);
    struct value *list = value_list(arena);
    value_append(list, value_int(arena, 1));
    value_append(list, value_text(arena, bytes_of("two")));
    value_set(arena, dict, "list", list);
    value_set(arena, dict, "other", value_bool(arena, true));
    struct value *copy = value_copy(arena, dict);
    value_append(list, value_null(arena));
    value_set(arena, dict, "other", value_null(arena));
    assert_keys(copy, "list,other,");
    assert_int_equal(value_get(copy, "list")->count, 2);
    assert_bytes(value_string(value_item(value_get(copy, "list"), 1)), "two");
    assert_null(value_item(value_get(copy, "list"), 2));
    assert_true(value_is(value_get(copy, "other"), VALUE_BOOL));
    assert_true(value_is_true(value_get(copy, "other")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_floats_as_python_writes_them, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_dict_order, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_what_is_not_there, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_numbers, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_truth_as_in_python, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_copies_are_deep, make_arena, drop_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
