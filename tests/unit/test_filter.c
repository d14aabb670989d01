/* Filter expressions against mitmproxy's own answers: the corpus, and a table of what it takes for
 * an expression; errors at the right place, and nesting. What a filter promises when it matches is
 * in test_filter_match.c, regular expressions are in test_filter_regex.c. */
#include "filter_flows.h"
#include "filter_table.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

/* Remembers the folder of a capture if the corpus's expectations are beside it. */
static void find_corpus(const char *path, void *context)
{
    char *corpus = context;
    char expected[4096];
    int folder = (int)(strrchr(path, '/') - path);
    snprintf(expected, sizeof expected, "%.*s/filters.expected.json", folder, path);
    if (access(expected, R_OK) == 0)
        snprintf(corpus, 4096, "%.*s", folder, path);
}

/* Skips the test if there is no corpus. */
static json_t *load_expected(char corpus[4096])
{
    char path[4200];
    json_error_t error;
    corpus[0] = '\0';
    test_captures(find_corpus, corpus);
    if (!corpus[0]) {
        print_message("# left out: no corpus with filters.expected.json\n");
        skip();
    }
    snprintf(path, sizeof path, "%s/filters.expected.json", corpus);
    json_t *expected = json_load_file(path, JSON_ALLOW_NUL, &error);
    if (!expected)
        fail_msg("%s: %s", path, error.text);
    return expected;
}

/* One expression on one capture; returns whether it matches just the flows of those numbers. */
static bool agrees(const struct filter *filter, const char *name, struct flows *flows,
                   const json_t *wanted, const char *expression)
{
    struct filter_matcher *matcher = matcher_of(filter);
    bool same = true;
    for (size_t i = 0; i < flows->count; i++) {
        bool expected = false;
        size_t k;
        json_t *number;
        json_array_foreach(wanted, k, number) expected |= (size_t)json_integer_value(number) == i;
        bool found = matches(matcher, &flows->directories[i]);
        enum filter_verdict verdict = filter_match_facts(matcher, &flows->facts[i]);
        if (found != expected)
            print_error("%s: %s, flow %zu: %d, expected %d\n", expression, name, i, found,
                        expected);
        same = same && found == expected &&
               (verdict == FILTER_UNKNOWN || (verdict == FILTER_YES) == expected);
    }
    filter_matcher_free(matcher);
    return same;
}

static json_t *entry_of(json_t *expected, size_t index, const char **expression, bool *refused)
{
    json_t *entry = json_array_get(json_object_get(expected, "expressions"), index);
    *expression = json_string_value(json_object_get(entry, "expr"));
    *refused = !json_is_null(json_object_get(entry, "error"));
    return json_object_get(entry, "matches");
}

/* Compares all expressions on one capture of the corpus; returns how many differ. */
static size_t compare_capture(json_t *expected, const char *corpus, const char *name)
{
    char path[4352];
    size_t wrong = 0;
    snprintf(path, sizeof path, "%s/%s", corpus, name);
    struct flows flows = open_flows(path);
    size_t count = json_array_size(json_object_get(expected, "expressions"));
    for (size_t i = 0; i < count; i++) {
        const char *expression;
        bool refused;
        json_t *wanted = json_object_get(entry_of(expected, i, &expression, &refused), name);
        if (refused)
            continue;
        struct filter *filter = parse(expression);
        wrong += !agrees(filter, name, &flows, wanted, expression);
        filter_free(filter);
    }
    close_flows(&flows);
    return wrong;
}

static void test_corpus(void **state)
{
    (void)state;
    char corpus[4096];
    json_t *expected = load_expected(corpus);
    size_t wrong = 0, accepted = 0;
    const char *name, *expression;
    json_t *unused;
    bool refused;
    size_t count = json_array_size(json_object_get(expected, "expressions"));
    assert_true(count >= 140);
    for (size_t i = 0; i < count; i++) {
        struct flow_error error = {0};
        entry_of(expected, i, &expression, &refused);
        struct filter *filter = filter_parse(bytes_of(expression), FILTER_CASE_FOLDED, &error);
        if (refused != !filter) {
            print_error("%s: %s\n", expression, filter ? "expected an error" : error.message);
            wrong++;
        }
        if (!filter) {
            assert_int_equal(error.code, EINVAL);
            assert_true(error.offset <= strlen(expression));
        }
        accepted += filter != NULL;
        filter_free(filter);
    }
    assert_true(accepted > 100);
    assert_int_equal(wrong, 0);
    json_object_foreach(entry_of(expected, 0, &expression, &refused), name, unused) wrong +=
        compare_capture(expected, corpus, name);
    assert_int_equal(wrong, 0);
    json_decref(expected);
}

/* The flows of the grammar's table: each path with a response, then each without. */
static struct flows open_grammar_flows(struct test_file *file)
{
    struct buffer text = BUFFER_INIT;
    for (int without = 0; without < 2; without++)
        for (size_t i = 0; i < sizeof grammar_paths / sizeof *grammar_paths; i++) {
            struct test_flow flow = {
                .id = "1", .host = "0.0", .path = grammar_paths[i], .no_response = without == 1};
            put_flow(&text, &flow);
        }
    test_file_open(file, buffer_bytes(&text));
    buffer_free(&text);
    return open_flows(file->path);
}

static size_t compare_grammar(struct flows *flows, struct bytes expression, const char *answers)
{
    struct flow_error error = {0};
    struct filter *filter = filter_parse(expression, FILTER_CASE_FOLDED, &error);
    size_t wrong = !filter != !answers;
    if (!filter)
        assert_true(error.code == EINVAL && error.offset <= expression.size);
    if (wrong)
        print_error("%.*s: %s\n", (int)expression.size, (const char *)expression.data,
                    filter ? "expected an error" : error.message);
    if (!wrong && filter) {
        struct filter_matcher *matcher = matcher_of(filter);
        for (size_t i = 0; i < flows->count; i++)
            wrong |= matches(matcher, &flows->directories[i]) != (answers[i] == 'y');
        filter_matcher_free(matcher);
        if (wrong)
            print_error("%.*s: expected %s\n", (int)expression.size, (const char *)expression.data,
                        answers);
    }
    filter_free(filter);
    return wrong;
}

static void test_grammar(void **state)
{
    (void)state;
    size_t wrong = 0;
    struct test_file file;
    struct flows flows = open_grammar_flows(&file);
    assert_int_equal(flows.count, 2 * sizeof grammar_paths / sizeof *grammar_paths);
    for (size_t i = 0; i < sizeof grammar_table / sizeof *grammar_table; i++)
        wrong += compare_grammar(&flows, grammar_table[i].expression, grammar_table[i].answers);
    close_flows(&flows);
    test_file_close(&file);
    assert_int_equal(wrong, 0);
}

static void test_error_places(void **state)
{
    (void)state;
    static const struct {
        const char *expression;
        size_t offset;
        const char *says;
    } cases[] = {
        {"", 0, "empty"},
        {"   ", 3, "found the end, expected an operator"},
        {"a ~nosuch", 2, "found `~`, expected an operator: one of"},
        {"~", 0, "expected an operator: one of"},
        {"(~q)", 3, "found `)`, expected white space behind ~q"},
        {"~q&~s", 2, "found `&`, expected white space behind ~q"},
        {"~c200", 2, "found `2`, expected white space behind ~c"},
        {"~bqx", 3, "expected white space behind ~bq"},
        {"~c abc", 3, "found `a`, expected a status code"},
        {"~c -1", 3, "found `-`, expected a status code"},
        {"a & ~c", 6, "found the end, expected a status code"},
        {"~h", 2, "found the end, expected a regular expression for ~h"},
        {"~h ~q", 3, "found `~`, expected a regular expression for ~h"},
        {"~h (a)", 3, "found `(`, expected a regular expression for ~h"},
        {"~u \"abc", 3, "expected a closing \""},
        {"a 'b\nc'", 2, "expected a closing '"},
        {"()", 1, "found `)`, expected an operator"},
        {"(a b)", 3, "found `b`, expected `)`"},
        {"(a | é é)", 8, "found `é`, expected `)`"},
        {"(a", 2, "found the end, expected `)`"},
        {"a | (b & ", 9, "found the end, expected an operator"},
        {"a)", 1, "found `)`, expected an operator"},
        {"~u [", 3, "expected ]"},
        {"~u \"ab[\"", 6, "expected ]"},
        {"~u \"\\\\d\\n[\"", 9, "expected ]"},
        {"a\t~h \"\t[\"", 7, "expected ]"},
        {"é & ~b x[", 9, "expected ]"},
        {"a \xFF", 2, "no UTF-8, write \\xff for it"},
        /* Nothing that is quoted moves a terminal's cursor. */
        {"(a \x1B)", 3, "found `?`, expected `)`"},
        {"(a \xC2\x9B)", 3, "found `??`, expected `)`"},
        {"~u \"(?P=\x1B)\"", 8, "expected a group name"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct flow_error error = {0};
        assert_null(filter_parse(bytes_of(cases[i].expression), FILTER_CASE_FOLDED, &error));
        assert_int_equal(error.code, EINVAL);
        bool plain = !strchr(error.message, '\x1B') && !strstr(error.message, "\xC2\x9B");
        if (error.offset != cases[i].offset || !strstr(error.message, cases[i].says) || !plain)
            fail_msg("%s: %s at %" PRIu64, cases[i].expression, error.message, error.offset);
    }
}

/* `count` times the opening, then the middle, then `count` times the end. */
static struct filter *parse_nested(const char *opening, const char *middle, const char *end,
                                   size_t count, struct flow_error *error)
{
    struct buffer text = BUFFER_INIT;
    for (size_t i = 0; i < count; i++)
        buffer_append_text(&text, opening);
    buffer_append_text(&text, middle);
    for (size_t i = 0; i < count; i++)
        buffer_append_text(&text, end);
    struct filter *filter = filter_parse(buffer_bytes(&text), FILTER_CASE_FOLDED, error);
    buffer_free(&text);
    return filter;
}

static void test_nesting(void **state)
{
    (void)state;
    static const char *const openings[][2] = {{"(", ")"}, {"!", ""}, {"(a | ", ")"}, {"!(", ")"}};
    for (size_t i = 0; i < sizeof openings / sizeof *openings; i++) {
        const char *opening = openings[i][0], *end = openings[i][1];
        size_t deepest = opening[0] == '!' && opening[1] ? FILTER_DEEPEST / 2 : FILTER_DEEPEST;
        struct flow_error error = {0};
        struct filter *filter = parse_nested(opening, "b", end, deepest, &error);
        if (!filter)
            fail_msg("%s: %s", opening, error.message);
        filter_free(filter);
        assert_null(parse_nested(opening, "b", end, deepest + 1, &error));
        assert_int_equal(error.code, EINVAL);
        assert_int_equal(error.offset, deepest * strlen(opening));
        assert_non_null(strstr(error.message, "nested too deep"));
        error = (struct flow_error){0};
        assert_null(parse_nested(opening, "~", end, 100000, &error));
        assert_int_equal(error.code, EINVAL);
    }
    /* Side by side there may be any number. */
    struct flow_error error = {0};
    struct filter *wide = parse_nested("a | (b & !~q ) ", "b", " c", 2000, &error);
    assert_non_null(wide);
    filter_free(wide);
    assert_null(parse_nested("a ", "b", " c", 1000000, &error));
    assert_non_null(strstr(error.message, "expected at most 1048576"));
}
int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_corpus),
        cmocka_unit_test(test_grammar),
        cmocka_unit_test(test_error_places),
        cmocka_unit_test(test_nesting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
