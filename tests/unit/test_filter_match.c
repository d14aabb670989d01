/* What a filter promises when it matches: facts that never contradict the flow, bodies as the tree
 * shows them, limits, letters, threads. */
#include "filter_flows.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

/* Allocations that are still granted, and blocks that are held. Each thread has its own: only one
 * counts. */
static _Thread_local long granted = LONG_MAX, held;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void __real_free(void *memory);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void __wrap_free(void *memory);

static void *counted(void *memory)
{
    held += memory != NULL;
    return memory;
}

void *__wrap_malloc(size_t size)
{
    return granted-- > 0 ? counted(__real_malloc(size)) : NULL;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return granted-- > 0 ? counted(__real_calloc(count, size)) : NULL;
}

void *__wrap_realloc(void *memory, size_t size)
{
    if (granted-- <= 0)
        return NULL;
    return memory ? __real_realloc(memory, size) : counted(__real_realloc(NULL, size));
}

void __wrap_free(void *memory)
{
    held -= memory != NULL;
    __real_free(memory);
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
    assert_true(count.decided > count.flows * 2);
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

static void put_message(struct buffer *list, const char *from_client, const char *content)
{
    struct buffer message = BUFFER_INIT;
    put_element(&message, '!', bytes_of(from_client));
    put_bytes(&message, bytes_of(content));
    put_element(&message, '^', bytes_of("1700000000.5"));
    put_container(list, ']', &message);
}

static void test_messages(void **state)
{
    (void)state;
    struct buffer text = BUFFER_INIT, dict = BUFFER_INIT, messages = BUFFER_INIT;
    struct test_file file;
    put_message(&messages, "true", "ping pong");
    put_message(&messages, "false", "pong");
    put_message(&messages, "false", "");
    member_container(&dict, "messages", ']', &messages);
    member_text(&dict, "type", "tcp");
    member_text(&dict, "id", "1");
    member_number(&dict, "version", 21);
    put_container(&text, '}', &dict);
    struct flows flows = open_text(&file, &text, 1 << 20);
    static const struct {
        const char *expression;
        bool found;
    } cases[] = {
        {"~tcp", true},        {"~b ping", true},      {"~bq ping", true},   {"~bs ping", false},
        {"~b ^pong$", true},   {"~bq ^pong$", false},  {"~bs ^pong$", true}, {"~bs ^$", true},
        {"~bq ^$", false},     {"~b pingpong", false}, {"ping", false},      {"~s", false},
        {"~q", false},         {"~src .", false},      {"~dst .", false},    {"~marker ^$", true},
        {"~comment ^$", true}, {"~meta ^$", true},     {"~marked", false},   {"~replay", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_matches(cases[i].expression, &flows, cases[i].found);
    close_flows(&flows);
    test_file_close(&file);
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

/* Parses and matches; false with an error if memory ran out. */
static bool filter_once(const char *expression, struct flowdir *directory, struct flow_error *error)
{
    bool found, done = false;
    struct filter *filter = filter_parse(bytes_of(expression), FILTER_CASE_FOLDED, error);
    struct filter_matcher *matcher = filter ? filter_matcher_new(filter, error) : NULL;
    if (matcher)
        done = filter_match(matcher, directory, &found, error);
    filter_matcher_free(matcher);
    filter_free(filter);
    return done;
}

static void test_no_memory(void **state)
{
    (void)state;
    static const char *const expressions[] = {
        "~u \"(?P<x>a)(?:b|c)+[^d]\" | (~h \"\ta\" & !~b x ) | ~d i | ~meta x | a b",
        "~b x",
        "~src x | ~u [é-ü]\\b(?x:a#b",
    };
    struct buffer text = BUFFER_INIT;
    struct test_file file;
    put_encoded(&text, GZIPPED, "gzip");
    struct flows flows = open_text(&file, &text, 1 << 20);
    for (size_t i = 0; i < sizeof expressions / sizeof *expressions; i++) {
        bool done = false;
        long needed = 0;
        struct flow_error error;
        for (; needed < 1000 && !done; needed++) {
            long before = held;
            error = (struct flow_error){0};
            granted = needed;
            done =
                filter_once(expressions[i], &flows.directories[0], &error) || error.code != ENOMEM;
            granted = LONG_MAX;
            assert_int_equal(held, before);
        }
        assert_true(done && needed > 5);
        assert_int_equal(error.code, i == 2 ? EINVAL : 0);
    }
    close_flows(&flows);
    test_file_close(&file);
}

/* Flows of which three have a path that the expression below finds. */
static struct flows open_thread_flows(struct test_file *file)
{
    static const char *const paths[] = {"/a", "/b", "/ab", "/a&b", "/", "/A", "/c", "/d"};
    struct buffer text = BUFFER_INIT;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        put_flow(&text, &(struct test_flow){.id = "1", .host = "0.0", .path = paths[i]});
    return open_text(file, &text, 1 << 20);
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
        threads[i] = (struct thread){.filter = filter, .flows = open_thread_flows(&files[i])};
        assert_int_equal(pthread_create(&threads[i].thread, NULL, match_again, &threads[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i].thread, NULL);
        assert_int_equal(threads[i].found, 300 * 3);
        close_flows(&threads[i].flows);
        test_file_close(&files[i]);
    }
    filter_free(filter);
}
int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_facts),        cmocka_unit_test(test_no_facts),
        cmocka_unit_test(test_coded_bodies), cmocka_unit_test(test_long_bodies),
        cmocka_unit_test(test_messages),     cmocka_unit_test(test_explosion),
        cmocka_unit_test(test_case),         cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
