/* Filter expressions against mitmproxy's own answers (the corpus), and what they promise besides:
 * errors at the right place, facts that never contradict the flow, nothing that hangs. Regular
 * expressions have test_filter_regex.c. */
#include "support.h"

#include "filter.h"
#include "filter_table.h"

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
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct flow_error error = {0};
        assert_null(filter_parse(bytes_of(cases[i].expression), FILTER_CASE_FOLDED, &error));
        assert_int_equal(error.code, EINVAL);
        if (error.offset != cases[i].offset || !strstr(error.message, cases[i].says))
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
static const char *const by_facts[] = {
    "~all",
    "~http",
    "~tcp",
    "~udp",
    "~dns",
    "~websocket",
    "~q",
    "~s",
    "~e",
    "~c 200",
    "~c 0",
    "~c 404",
    "~m GET",
    "~m p",
    "~m ^$",
    "~q | ~s",
    "!~q & !~s",
    "!~e",
    "~m GET & ~s",
    "!(~c 200 | ~m POST)",
    "~http ~q",
    "~c 101 | ~tcp",
    "!~m GET",
    "!!~websocket",
    "(~e & ~q ) | (~c 200 & ~m post)",
};

static const char *const by_flow[] = {
    "a",
    "~u .",
    "~d .",
    "~b .",
    "~b \"\"",
    "~bq \"\"",
    "~bs \"\"",
    "~bq .",
    "~bs a",
    "~h .",
    "~hq .",
    "~hs .",
    "~hs \"\"",
    "~t .",
    "~tq .",
    "~ts .",
    "~a",
    "~src .",
    "~dst .",
    "~meta \"\"",
    "~meta .",
    "~marked",
    "~marker .",
    "~comment .",
    "~replay",
    "~replayq",
    "~replays",
    "!~b a",
    "!~hs a",
    "~b a | ~c 200",
    "~b a & ~e",
    "!(~u a & ~m GET)",
    "~d a | ~q",
    "!~marked | ~tcp",
    "~a | ~websocket",
    "~b . & ~q",
    "~u \"(a|b)+$\"",
};

struct facts_count {
    size_t flows, decided;
};

/* Every part of the facts: what they decide is what reading the flow decides. */
static void compare_facts(const char *expression, bool always, struct flows *flows,
                          struct facts_count *count)
{
    struct filter *filter = parse(expression);
    struct filter_matcher *matcher = matcher_of(filter);
    for (size_t i = 0; i < flows->count; i++) {
        struct filter_facts facts = flows->facts[i];
        bool found = matches(matcher, &flows->directories[i]);
        for (unsigned known = 0; known < 16; known++) {
            facts.known = known;
            enum filter_verdict verdict = filter_match_facts(matcher, &facts);
            if (verdict != FILTER_UNKNOWN && (verdict == FILTER_YES) != found)
                fail_msg("%s, flow %zu, facts %u: %d, but the flow: %d", expression, i, known,
                         verdict, found);
            if (verdict == FILTER_UNKNOWN && always && known == 15)
                fail_msg("%s, flow %zu: not decided", expression, i);
            count->decided += verdict != FILTER_UNKNOWN;
        }
        count->flows++;
    }
    filter_matcher_free(matcher);
    filter_free(filter);
}

static void visit_facts(const char *path, void *context)
{
    struct flows flows = open_flows(path);
    for (size_t i = 0; i < sizeof by_facts / sizeof *by_facts; i++)
        compare_facts(by_facts[i], true, &flows, context);
    for (size_t i = 0; i < sizeof by_flow / sizeof *by_flow; i++)
        compare_facts(by_flow[i], false, &flows, context);
    close_flows(&flows);
}

static void test_facts(void **state)
{
    (void)state;
    struct facts_count count = {0, 0};
    assert_true(test_captures(visit_facts, &count) > 0);
    print_message("# %zu flows and expressions, %zu of 16 times as many decided by facts\n",
                  count.flows, count.decided);
    assert_true(count.flows > 500);
    assert_true(count.decided > count.flows * 3);
}

static void test_no_facts(void **state)
{
    (void)state;
    struct filter_facts nothing = {.known = 0};
    struct filter_facts type = {.known = FILTER_KNOWS_TYPE, .type = FLOW_DNS};
    static const struct {
        const char *expression;
        enum filter_verdict nothing, type;
    } cases[] = {
        {"~all", FILTER_YES, FILTER_YES},           {"!~all", FILTER_NO, FILTER_NO},
        {"~http", FILTER_UNKNOWN, FILTER_NO},       {"~dns", FILTER_UNKNOWN, FILTER_YES},
        {"~d a", FILTER_UNKNOWN, FILTER_NO},        {"~u a", FILTER_UNKNOWN, FILTER_UNKNOWN},
        {"!~d a", FILTER_UNKNOWN, FILTER_YES},      {"~all | ~b a", FILTER_YES, FILTER_YES},
        {"~tcp & ~b a", FILTER_UNKNOWN, FILTER_NO}, {"~b a & ~b b", FILTER_UNKNOWN, FILTER_UNKNOWN},
        {"~c 200", FILTER_UNKNOWN, FILTER_NO},      {"~q", FILTER_UNKNOWN, FILTER_UNKNOWN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct filter *filter = parse(cases[i].expression);
        struct filter_matcher *matcher = matcher_of(filter);
        assert_int_equal(filter_match_facts(matcher, &nothing), cases[i].nothing);
        assert_int_equal(filter_match_facts(matcher, &type), cases[i].type);
        filter_matcher_free(matcher);
        filter_free(filter);
    }
}
/* Whether the expression matches the one flow. */
static int match_one(const char *expression, struct flows *flows, struct flow_error *error)
{
    bool found = false;
    struct filter *filter = parse(expression);
    struct filter_matcher *matcher = matcher_of(filter);
    assert_int_equal(flows->count, 1);
    bool done = filter_match(matcher, &flows->directories[0], &found, error);
    filter_matcher_free(matcher);
    filter_free(filter);
    return done ? found : -1;
}

static void assert_matches(const char *expression, struct flows *flows, bool expected)
{
    struct flow_error error = {0};
    int found = match_one(expression, flows, &error);
    if (found != (int)expected)
        fail_msg("%s: %d, expected %d; %s", expression, found, expected, error.message);
}

static struct flows open_text(struct test_file *file, struct buffer *text, uint64_t decode_limit)
{
    test_file_open(file, buffer_bytes(text));
    buffer_free(text);
    return open_limited(file->path, decode_limit);
}

/* `echo hello world | gzip -n` */
#define GZIPPED                                                                                    \
    SPAN("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xcb\x48\xcd\xc9\xc9\x57\x28\xcf\x2f\xca\x49"    \
         "\xe1\x02\x00\x2d\x3b\x08\xaf\x0c\x00\x00\x00")

static void put_encoded(struct buffer *text, struct bytes body, const char *coding)
{
    struct buffer fields = BUFFER_INIT;
    put_field(&fields, SPAN("Content-Encoding"), bytes_of(coding));
    struct test_flow flow = {.id = "1", .headers = &fields, .body = body};
    put_flow(text, &flow);
}

static void test_coded_bodies(void **state)
{
    (void)state;
    static const struct {
        const char *coding;
        uint64_t limit; /* of what the tree shows decoded */
        bool decoded;
    } cases[] = {
        {"gzip", 1 << 20, true},           {"gzip", 12, true},     {"gzip", 11, false},
        {"identity, gzip", 1 << 20, true}, {"br", 1 << 20, false}, {"nosuch", 1 << 20, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buffer text = BUFFER_INIT;
        struct test_file file;
        put_encoded(&text, GZIPPED, cases[i].coding);
        struct flows flows = open_text(&file, &text, cases[i].limit);
        assert_matches("~bq ^hello.world.$", &flows, cases[i].decoded);
        assert_matches("~bq ^\\x1f\\x8b", &flows, !cases[i].decoded);
        assert_matches("~bs hello", &flows, false);
        close_flows(&flows);
        test_file_close(&file);
    }
}

/* A copy of the flow `text`, whose request's content is the one byte `@`, with `size` zeros in its
 * place that take no memory. */
static void open_sparse(struct test_file *file, struct bytes text, uint64_t size)
{
    char *whole = strndup((const char *)text.data, text.size);
    assert_non_null(whole);
    char *request = strstr(whole, "7:request;") + strlen("7:request;");
    char *content = strstr(whole, "7:content;1:@,") + strlen("7:content;");
    char *flow_end, *request_end;
    unsigned long flow_size = strtoul(whole, &flow_end, 10);
    unsigned long request_size = strtoul(request, &request_end, 10);
    char number[24];
    int digits = snprintf(number, sizeof number, "%" PRIu64, size);
    uint64_t request_grown = request_size + size - 1 + (uint64_t)digits - 1;
    struct buffer head = BUFFER_INIT, grown = BUFFER_INIT;
    buffer_append_unsigned(&grown, request_grown);
    size_t more = grown.size - (size_t)(request_end - request);
    buffer_append_unsigned(&head, flow_size + request_grown - request_size + more);
    buffer_append(&head, flow_end, (size_t)(request - flow_end));
    buffer_append_bytes(&head, buffer_bytes(&grown));
    buffer_append(&head, request_end, (size_t)(content - request_end));
    buffer_append_text(&head, number);
    buffer_append_byte(&head, ':');
    test_file_open(file, buffer_bytes(&head));
    assert_int_equal(lseek(file->descriptor, (off_t)(head.size + size), SEEK_SET),
                     (off_t)(head.size + size));
    test_file_append(file, bytes_of(content + 3));
    buffer_free(&grown);
    buffer_free(&head);
    free(whole);
}

static void test_long_bodies(void **state)
{
    (void)state;
    const uint64_t sizes[] = {20000000, FILTER_BODY_LIMIT + 1};
    for (size_t i = 0; i < 2; i++) {
        struct buffer text = BUFFER_INIT;
        struct test_file file;
        struct flow_error error = {0};
        put_flow(&text, &(struct test_flow){.id = "1", .body = SPAN("@")});
        open_sparse(&file, buffer_bytes(&text), sizes[i]);
        buffer_free(&text);
        struct flows flows = open_flows(file.path);
        assert_matches("~bs x | ~c 200", &flows, true);
        /* What decides comes first, wherever it stands. */
        assert_matches("~b x | ~c 200", &flows, true);
        assert_matches("~b x & ~c 404", &flows, false);
        if (i == 0) {
            assert_matches("~bq ^\\x00{60000}", &flows, true);
            assert_matches("~bq x", &flows, false);
        } else {
            assert_int_equal(match_one("~bq x", &flows, &error), -1);
            assert_int_equal(error.code, EFBIG);
            assert_string_equal(error.key_path, "~bq");
            assert_non_null(strstr(error.message, "content of 1073741825 bytes"));
        }
        close_flows(&flows);
        test_file_close(&file);
    }
}

static void test_explosion(void **state)
{
    (void)state;
    struct buffer text = BUFFER_INIT;
    struct test_file file;
    struct flow_error error = {0};
    put_flow(&text,
             &(struct test_flow){
                 .id = "1",
                 .path = "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"});
    struct flows flows = open_text(&file, &text, 1 << 20);
    assert_int_equal(match_one("~u \"(a+)+$\"", &flows, &error), -1);
    assert_int_equal(error.code, ETIMEDOUT);
    assert_string_equal(error.key_path, "~u");
    assert_matches("~u \"(a+)+$\" & ~c 404", &flows, false);
    close_flows(&flows);
    test_file_close(&file);
}

static void test_case(void **state)
{
    (void)state;
    static const char *const variable = "MITMPROXY_CASE_SENSITIVE_FILTERS";
    struct buffer text = BUFFER_INIT;
    struct test_file file;
    put_flow(&text, &(struct test_flow){.id = "1", .path = "/Path"});
    struct flows flows = open_text(&file, &text, 1 << 20);
    for (int sensitive = 0; sensitive < 2; sensitive++) {
        struct filter *filter = parse_case("~u path", (enum filter_case)sensitive);
        struct filter_matcher *matcher = matcher_of(filter);
        assert_int_equal(matches(matcher, &flows.directories[0]), !sensitive);
        filter_matcher_free(matcher);
        filter_free(filter);
    }
    close_flows(&flows);
    test_file_close(&file);
    unsetenv(variable);
    assert_int_equal(filter_case_of_environment(), FILTER_CASE_FOLDED);
    setenv(variable, "true", 1);
    assert_int_equal(filter_case_of_environment(), FILTER_CASE_FOLDED);
    setenv(variable, "1", 1);
    assert_int_equal(filter_case_of_environment(), FILTER_CASE_SENSITIVE);
    unsetenv(variable);
}

struct thread {
    pthread_t thread;
    const struct filter *filter;
    struct flows flows;
    size_t found;
};

static void *match_again(void *context)
{
    struct thread *thread = context;
    struct flow_error error = {0};
    struct filter_matcher *matcher = filter_matcher_new(thread->filter, &error);
    for (size_t i = 0; matcher && i < 300; i++)
        for (size_t k = 0; k < thread->flows.count; k++) {
            bool found = false;
            thread->found +=
                filter_match(matcher, &thread->flows.directories[k], &found, &error) && found;
        }
    filter_matcher_free(matcher);
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct thread threads[4];
    struct filter *filter = parse("~u \"/a(&|$)\" & (~b x | ~h \"host: 0\" )");
    struct test_file files[4];
    for (size_t i = 0; i < 4; i++) {
        threads[i] = (struct thread){.filter = filter, .flows = open_grammar_flows(&files[i])};
        assert_int_equal(pthread_create(&threads[i].thread, NULL, match_again, &threads[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i].thread, NULL);
        assert_int_equal(threads[i].found, 300 * 4);
        close_flows(&threads[i].flows);
        test_file_close(&files[i]);
    }
    filter_free(filter);
}
int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_corpus),       cmocka_unit_test(test_grammar),
        cmocka_unit_test(test_error_places), cmocka_unit_test(test_nesting),
        cmocka_unit_test(test_facts),        cmocka_unit_test(test_no_facts),
        cmocka_unit_test(test_coded_bodies), cmocka_unit_test(test_long_bodies),
        cmocka_unit_test(test_explosion),    cmocka_unit_test(test_case),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
