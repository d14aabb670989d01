/* Filter expressions against mitmproxy's own answers (the corpus), and what they promise besides:
 * errors at the right place, facts that never contradict the flow, nothing that hangs. Regular
 * expressions have test_filter_regex.c. */
#include "support.h"

#include "filter.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
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

static struct filter *parse_case(const char *expression, enum filter_case letters)
{
    struct flow_error error = {0};
    struct filter *filter = filter_parse(bytes_of(expression), letters, &error);
    if (!filter)
        fail_msg("%s: %s at %" PRIu64, expression, error.message, error.offset);
    assert_int_equal(error.code, 0);
    return filter;
}

static struct filter *parse(const char *expression)
{
    return parse_case(expression, FILTER_CASE_FOLDED);
}

static struct filter_matcher *matcher_of(const struct filter *filter)
{
    struct flow_error error = {0};
    struct filter_matcher *matcher = filter_matcher_new(filter, &error);
    assert_non_null(matcher);
    return matcher;
}

/* A capture with all of its flows open. */
struct flows {
    struct capture *capture;
    struct flowdir *directories;
    struct filter_facts *facts;
    size_t count;
};

/* Facts that stay when the glance is gone. */
static struct filter_facts keep_facts(const struct flow_glance *glance)
{
    struct filter_facts facts = filter_facts_of_glance(glance);
    uint8_t *method = malloc(facts.method.size + 1);
    assert_non_null(method);
    if (facts.method.size)
        memcpy(method, facts.method.data, facts.method.size);
    facts.method.data = method;
    return facts;
}

static void open_item(struct flows *flows, const struct capture_item *item, uint64_t decode_limit)
{
    struct flow_error error = {0};
    struct capture_flow loaded;
    size_t count = flows->count + 1;
    flows->directories = realloc(flows->directories, count * sizeof *flows->directories);
    flows->facts = realloc(flows->facts, count * sizeof *flows->facts);
    assert_non_null(flows->directories);
    assert_non_null(flows->facts);
    flows->facts[flows->count] = keep_facts(&item->glance);
    if (!capture_load(flows->capture, item->extent, item->handshake, &loaded, &error) ||
        !flowdir_open(&flows->directories[flows->count], &loaded, flows->capture, "test", count,
                      decode_limit, &error))
        fail_msg("%s", error.message);
    flows->count = count;
}

static struct flows open_limited(const char *path, uint64_t decode_limit)
{
    struct flow_error error = {0};
    struct capture_item item = {.kind = CAPTURE_END};
    struct flows flows = {.capture = capture_open(path, &error)};
    if (!flows.capture)
        fail_msg("%s: %s", path, error.message);
    struct capture_scan *scan = capture_scan_open(flows.capture, 0, &error);
    assert_non_null(scan);
    while (capture_scan_next(scan, &item, &error) && item.kind <= CAPTURE_GAP)
        if (item.kind == CAPTURE_FLOW)
            open_item(&flows, &item, decode_limit);
    assert_int_equal(error.code, 0);
    capture_scan_close(scan);
    return flows;
}

static struct flows open_flows(const char *path)
{
    return open_limited(path, FLOWDIR_DECODE_LIMIT);
}

static void close_flows(struct flows *flows)
{
    for (size_t i = 0; i < flows->count; i++) {
        flowdir_close(&flows->directories[i]);
        free((void *)(uintptr_t)flows->facts[i].method.data);
    }
    free(flows->directories);
    free(flows->facts);
    capture_close(flows->capture);
}

static bool matches(struct filter_matcher *matcher, struct flowdir *directory)
{
    bool found = false;
    struct flow_error error = {0};
    if (!filter_match(matcher, directory, &found, &error))
        fail_msg("flow %" PRIu64 ": %s: %s", directory->number, error.key_path, error.message);
    return found;
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

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_corpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
