/* Regular expressions against Python's answers, errors at their place, and searches that would
 * never end. */
#include "support.h"

#include "filter_regex.h"
#include "filter_regex_table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

static const struct filter_regex_flags text_flags = {.text = true};

static struct filter_regex *compile(struct bytes pattern, struct filter_regex_flags flags)
{
    struct flow_error error = {0};
    struct filter_regex *regex = filter_regex_compile(pattern, flags, &error);
    if (!regex)
        fail_msg("%.*s: %s", (int)pattern.size, (const char *)pattern.data, error.message);
    return regex;
}

/* What differs from Python's answers, printed; `what` are they. */
static size_t compare(struct bytes pattern, unsigned mode, const char *what,
                      struct filter_regex_scratch *scratch)
{
    struct flow_error error = {0};
    struct filter_regex_flags flags = {mode & TEXT, mode & FOLD, mode & MULTILINE, mode & DOT_ALL};
    struct filter_regex *regex = filter_regex_compile(pattern, flags, &error);
    size_t wrong = !regex != !what;
    if (wrong)
        print_error("%.*s, mode %u: %s\n", (int)pattern.size, (const char *)pattern.data, mode,
                    what ? error.message : "expected to be refused");
    if (!regex) {
        assert_int_equal(error.code, EINVAL);
        assert_true(error.offset <= pattern.size);
    }
    for (size_t i = 0; regex && what && what[i]; i++) {
        bool found;
        if (!filter_regex_search(regex, scratch, regex_subjects[i], &found, &error))
            fail_msg("%s", error.message);
        if (found != (what[i] == 'y')) {
            print_error("%.*s, mode %u, subject %zu: %d\n", (int)pattern.size,
                        (const char *)pattern.data, mode, i, found);
            wrong++;
        }
    }
    filter_regex_free(regex);
    return wrong;
}

/* These are refused, and Python takes them; filter_regex.h says so. */
static bool is_left_out(struct bytes pattern)
{
    return bytes_equal_text(pattern, "\\N{DIGIT ONE}");
}

static void test_python(void **state)
{
    (void)state;
    size_t wrong = 0;
    struct filter_regex_scratch *scratch = filter_regex_scratch_new();
    assert_non_null(scratch);
    for (size_t i = 0; i < sizeof regex_table / sizeof *regex_table; i++)
        if (!is_left_out(regex_table[i].pattern))
            wrong += compare(regex_table[i].pattern, regex_table[i].mode, regex_table[i].answers,
                             scratch);
    filter_regex_scratch_free(scratch);
    assert_int_equal(wrong, 0);
}

static void test_places(void **state)
{
    (void)state;
    static const struct {
        const char *pattern;
        size_t offset;
        const char *says; /* part of the message */
    } cases[] = {
        {"ab(c", 2, "expected )"},
        {"abc)", 3, "nothing opened"},
        {"a[bc", 1, "expected ]"},
        {"é[z-a]", 3, "ends before it starts"},
        {"ab**", 3, "a repetition of a repetition"},
        {"*a", 0, "nothing to repeat"},
        {"a{5,2}", 1, "from more to less"},
        {"a{70000}", 1, "above 65535"},
        {"abc\\", 3, "backslash at the end"},
        {"ab\\q", 2, "unknown escape \\q"},
        {"\\x4", 0, "2 hexadecimal digits"},
        {"\\u12", 0, "4 hexadecimal digits"},
        {"a\\U00110000", 1, "U+10FFFF"},
        {"\\400", 0, "above \\377"},
        {"(a)\\2", 3, "group 2, there are 1"},
        {"(a\\1)", 2, "still open"},
        {"(?P<a>x)(?P<a>y)", 12, "second group of the name a"},
        {"(?P=x)", 4, "not there: x"},
        {"(?P<1>x)", 4, "letters, digits"},
        {"(?P<a", 4, "expected >"},
        {"(?Px)", 0, "unknown group"},
        {"(?<a>x)", 0, "unknown kind of group"},
        {"a(?i)", 1, "at its start"},
        {"(?iz)", 3, "unknown flag"},
        {"(?L)", 2, "flag L is not allowed"},
        {"x(?<=a*)", 1, "varying width"},
        {"(?<=(a)\\1)b", 7, "same look-behind"},
        {"(a)?(?(1)b|c|d)", 12, "third branch"},
        {"(?(2)a)()", 3, "there are 1"},
        {"(?#a", 0, "comment without end"},
        {"\\N{DIGIT ONE}", 0, "not supported"},
        {"a\xFFz", 1, "no UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct flow_error error = {0};
        assert_null(filter_regex_compile(bytes_of(cases[i].pattern), text_flags, &error));
        assert_int_equal(error.code, EINVAL);
        if (error.offset != cases[i].offset || !strstr(error.message, cases[i].says))
            fail_msg("%s: %s at %" PRIu64, cases[i].pattern, error.message, error.offset);
    }
}

/* Python takes these, PCRE2 cannot hold them: refused, not crashed over. */
static void test_too_large(void **state)
{
    (void)state;
    struct buffer deep = BUFFER_INIT;
    struct flow_error error = {0};
    assert_null(filter_regex_compile(bytes_of("(?:(?:abc){1000}){1000}"), text_flags, &error));
    assert_int_equal(error.code, EINVAL);
    assert_non_null(strstr(error.message, "PCRE2 cannot compile it"));
    for (size_t i = 0; i < 100000; i++)
        buffer_append_text(&deep, "(?:");
    error = (struct flow_error){0};
    assert_null(filter_regex_compile(buffer_bytes(&deep), text_flags, &error));
    assert_int_equal(error.code, EINVAL);
    assert_non_null(strstr(error.message, "nested too deep"));
    buffer_free(&deep);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Searches in `size` letters a and says what came of it. */
static int search_letters(const char *pattern, size_t size, struct flow_error *error)
{
    bool found = false;
    uint8_t *letters = malloc(size);
    assert_non_null(letters);
    memset(letters, 'a', size);
    struct filter_regex *regex =
        compile(bytes_of(pattern), (struct filter_regex_flags){.dot_all = true});
    struct filter_regex_scratch *scratch = filter_regex_scratch_new();
    assert_non_null(scratch);
    bool done = filter_regex_search(regex, scratch, bytes_make(letters, size), &found, error);
    filter_regex_scratch_free(scratch);
    filter_regex_free(regex);
    free(letters);
    return done ? found : -1;
}

static void test_explosions(void **state)
{
    (void)state;
    static const char *const patterns[] = {"(a+)+$b",          "(a|a)*b",     "(a*)*b",
                                           "(?:a?){30}a{30}b", ".*.*.*.*.*b", "(a|aa)+b"};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        struct flow_error error = {0};
        double start = seconds();
        int result = search_letters(patterns[i], 3000, &error);
        if (seconds() - start > 30)
            fail_msg("%s took %g s", patterns[i], seconds() - start);
        if (result < 0) {
            assert_int_equal(error.code, ETIMEDOUT);
            assert_non_null(strstr(error.message, "was stopped in 3000 bytes"));
        }
        assert_true(result <= 0);
    }
    struct flow_error error = {0};
    assert_int_equal(search_letters("(a+)+[b-c]", 5000, &error), -1);
}

/* Each place costs little, all places cost the square of the size: the clock stops it. */
static void test_clock(void **state)
{
    (void)state;
    struct flow_error error = {0};
    double start = seconds();
    assert_int_equal(search_letters("a[^b]*[b-c]", 4000000, &error), -1);
    assert_int_equal(error.code, ETIMEDOUT);
    assert_non_null(strstr(error.message, "takes too long"));
    assert_true(seconds() - start > 5);
    assert_true(seconds() - start < 60);
}

/* What is long but honest is not stopped. */
static void test_large_subjects(void **state)
{
    (void)state;
    const size_t size = 30000000;
    struct flow_error error = {0};
    assert_int_equal(search_letters("b", size, &error), 0);
    assert_int_equal(search_letters(".*b", size, &error), 0);
    assert_int_equal(search_letters("(?:aaa)+$", size / 10, &error), 1);
    assert_int_equal(search_letters("^(?:a|b)*$", size / 30, &error), 1);
    assert_int_equal(search_letters("a{60000}", size, &error), 1);
    assert_int_equal(error.code, 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_python),         cmocka_unit_test(test_places),
        cmocka_unit_test(test_too_large),      cmocka_unit_test(test_explosions),
        cmocka_unit_test(test_large_subjects), cmocka_unit_test(test_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
