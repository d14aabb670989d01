/* The index: flows are found under the names that are listed, equal names are counted, and readers
 * need not wait for the writer. */
#include "support.h"

#include "index.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static struct index *open_index(void)
{
    struct flow_error error = {0};
    struct index *index = index_open(&error);
    assert_non_null(index);
    return index;
}

static uint32_t add_at(struct index *index, struct bytes id, struct bytes host, double start,
                       struct index_place place)
{
    struct flow_error error = {0};
    struct flow_glance glance = {
        .type = FLOW_TCP,
        .id = id,
        .address_host = host,
        .timestamp_start = start,
        .version = 21,
    };
    uint32_t number = index_flow_count(index);
    assert_true(index_add(index, &glance, &place, &error));
    assert_int_equal(index_flow_count(index), number + 1);
    return number;
}

static uint32_t add(struct index *index, struct bytes id, struct bytes host)
{
    struct index_place place = {
        0, index_flow_count(index) + 1, index_flow_count(index) * 100, 100, INDEX_NONE, 21};
    return add_at(index, id, host, 1.0, place);
}

static void assert_flow_name(const struct index *index, uint32_t flow, const char *expected)
{
    struct name name;
    index_flow_name(index, flow, &name);
    assert_bytes(name_bytes(&name), expected);
    uint32_t host = index_flow(index, flow)->host;
    assert_int_equal(index_find_flow(index, host, name_bytes(&name)), flow);
}

static void test_empty(void **state)
{
    (void)state;
    struct index *index = open_index();
    assert_int_equal(index_flow_count(index), 0);
    assert_int_equal(index_host_count(index), 0);
    assert_int_equal(index_find_host(index, SPAN("a")), INDEX_NONE);
    assert_int_equal(index_find_flow(index, 0, SPAN("a")), INDEX_NONE);
    assert_int_equal(index_find_offset(index, 0, 0), INDEX_NONE);
    index_close(index);
    index_close(NULL);
}

static void test_ids(void **state)
{
    (void)state;
    static const struct {
        const char *id;
        const char *name;
    } rows[] = {
        {"0badc0de-0000-4000-8000-0123456789ab", "0badc0de-0000-4000-8000-0123456789ab"},
        {"0badc0de-0000-4000-8000-0123456789ab", "0badc0de-0000-4000-8000-0123456789ab~2"},
        {"0BADC0DE-0000-4000-8000-0123456789AB", "0BADC0DE-0000-4000-8000-0123456789AB"},
        {"0badc0de-0000-4000-8000-0123456789ab~2", "0badc0de-0000-4000-8000-0123456789ab%7E2"},
        {"0badc0de000040008000x0123456789ab-----", "0badc0de000040008000x0123456789ab-----"},
        {"abc", "abc"},
        {"abc", "abc~2"},
        {"abc~2", "abc%7E2"},
        {"abc", "abc~3"},
        {"abc~2", "abc%7E2~2"},
        {"abc%7E2", "abc%257E2"},
        {"", "unknown"},
        {"unknown", "unknown~2"},
        {"", "unknown~3"},
        {"../..", "%2E.%2F.."},
        {"/etc/passwd", "%2Fetc%2Fpasswd"},
        {"@staging", "%40staging"},
        {".flowfs", "%2Eflowfs"},
        {"\x1B[2J", "%1B[2J"},
        {"\xFF\xFE", "%FF%FE"},
        {"\xFF\xFE", "%FF%FE~2"},
    };
    struct index *index = open_index();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        add(index, bytes_of(rows[i].id), SPAN("host"));
    for (uint32_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_flow_name(index, i, rows[i].name);
    assert_int_equal(index_host_count(index), 1);
    static const char *const absent[] = {
        "abc~1", "abc~4", "abc~02",    "abc~",
        "",      "ABC",   "unknown~1", "0badc0de-0000-4000-8000-0123456789ab~1"};
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
        assert_int_equal(index_find_flow(index, 0, bytes_of(absent[i])), INDEX_NONE);
    assert_int_equal(index_find_flow(index, 1, SPAN("abc")), INDEX_NONE);
    index_close(index);
}

static void test_hosts(void **state)
{
    (void)state;
    char long_host[300], other_long_host[300];
    memset(long_host, 'h', sizeof long_host);
    memset(other_long_host, 'h', sizeof other_long_host);
    other_long_host[299] = 'i';
    const struct {
        struct bytes host;
        const char *name; /* NULL: only its shape is known */
    } rows[] = {
        {SPAN("example.com"), "example.com"},
        {SPAN("EXAMPLE.com"), "example.com"},
        {SPAN(""), "unknown"},
        {SPAN("unknown"), "unknown~2"},
        {SPAN(".."), "%2E."},
        {SPAN("."), "%2E"},
        {SPAN("%2E"), "%252e"},
        {SPAN("@staging"), "%40staging"},
        {SPAN("a/b"), "a%2Fb"},
        {SPAN("example.com~2"), "example.com%7E2"},
        {SPAN("\xFF"), "%FF"},
        {SPAN("\xFE"), "%FE"},
        {bytes_make(long_host, 300), NULL},
        {bytes_make(other_long_host, 300), NULL},
    };
    struct index *index = open_index();
    size_t count = sizeof rows / sizeof *rows;
    for (int again = 0; again < 2; again++)
        for (size_t i = 0; i < count; i++) {
            uint32_t flow = add(index, SPAN("id"), rows[i].host);
            const struct index_host *host = index_host(index, index_flow(index, flow)->host);
            if (rows[i].name)
                assert_bytes(host->name, rows[i].name);
            assert_true(host->name.size <= 255);
            assert_int_equal(index_find_host(index, host->name), index_flow(index, flow)->host);
        }
    assert_int_equal(index_host_count(index), count - 1);
    assert_int_equal(index_find_host(index, SPAN("example.org")), INDEX_NONE);
    assert_int_equal(index_find_host(index, SPAN("unknown~1")), INDEX_NONE);
    index_close(index);
}

/* Lists come in the order of adding; counts and times are those of the flows. */
static void test_lists(void **state)
{
    (void)state;
    struct index *index = open_index();
    static const char *const hosts[] = {"a", "b", "c"};
    enum { FLOWS = 10000 };
    for (uint32_t i = 0; i < FLOWS; i++) {
        char id[16];
        struct index_place place = {i / 4000, i % 4000 + 1, (i % 4000) * 50u, 50, INDEX_NONE, 21};
        snprintf(id, sizeof id, "id-%" PRIu32, i % 7000);
        add_at(index, bytes_of(id), bytes_of(hosts[i % 3]), 1000.0 + i * 0.5, place);
    }
    for (uint32_t h = 0; h < 3; h++) {
        const struct index_host *host =
            index_host(index, index_find_host(index, bytes_of(hosts[h])));
        uint32_t expected = h;
        uint32_t count = 0;
        for (uint32_t flow = host->first; flow != INDEX_NONE;
             flow = index_flow(index, flow)->next_in_host) {
            assert_int_equal(flow, expected);
            expected += 3;
            count++;
        }
        assert_int_equal(host->count, count);
        assert_int_equal(count, (FLOWS + 2 - h) / 3);
        assert_int_equal(host->last, expected - 3);
        assert_true(host->newest == (int64_t)(1000.0 + (expected - 3) * 0.5) * 1000000000 +
                                        ((expected - 3) % 2 ? 500000000 : 0));
    }
    assert_true(index_newest(index) == 5999500000000);
    for (uint32_t i = 0; i < FLOWS; i++) {
        struct name name;
        index_flow_name(index, i, &name);
        assert_int_equal(index_find_flow(index, index_flow(index, i)->host, name_bytes(&name)), i);
        assert_int_equal(index_find_offset(index, i / 4000, (i % 4000) * 50u), i);
        assert_int_equal(index_find_offset(index, i / 4000, (i % 4000) * 50u + 1), INDEX_NONE);
    }
    assert_int_equal(index_find_offset(index, 3, 0), INDEX_NONE);
    assert_true(index_footprint(index) / FLOWS < 400);
    index_close(index);
}

static void test_what_is_kept(void **state)
{
    (void)state;
    struct index *index = open_index();
    struct flow_error error = {0};
    char long_method[65];
    memset(long_method, 'M', sizeof long_method);
    struct flow_glance glance = {
        .type = FLOW_HTTP,
        .id = SPAN("x"),
        .target = {.method = SPAN("PATCH"),
                   .scheme = SPAN("https"),
                   .host = SPAN("h"),
                   .port = 444},
        .timestamp_start = 1700000000.123456,
        .status_code = 404,
        .is_websocket = true,
    };
    struct index_place place = {3, 7, 1000, 200, 0, 21};
    assert_true(index_add(index, &glance, &place, &error));
    const struct index_flow *flow = index_flow(index, 0);
    assert_int_equal(flow->offset, 1000);
    assert_int_equal(flow->size, 200);
    assert_int_equal(flow->capture, 3);
    assert_int_equal(flow->number, 7);
    assert_int_equal(flow->handshake, 0);
    assert_int_equal(flow->status, 404);
    assert_int_equal(flow->type, FLOW_HTTP);
    assert_int_equal(flow->version, 21);
    assert_true(flow->is_websocket);
    assert_true(flow->start == 1700000000123456000);
    assert_bytes(index_string(index, flow->method), "PATCH");
    assert_bytes(index_host(index, flow->host)->name, "h:444");
    static const struct {
        double time;
        int64_t start;
    } times[] = {{0, 0}, {-1.5, -1500000000}, {1e300, 0}, {(double)INFINITY, 0}, {(double)NAN, 0}};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        glance.timestamp_start = times[i].time;
        glance.target.method = bytes_make(long_method, i % 2 ? 64 : 65);
        glance.status_code = i % 2 ? 70000 : -1;
        place.version = i % 2 ? 256 + 21 : -1;
        assert_true(index_add(index, &glance, &place, &error));
        flow = index_flow(index, (uint32_t)i + 1);
        assert_true(flow->start == times[i].start);
        assert_int_equal(flow->status, 0);
        assert_int_equal(flow->version, 0);
        assert_int_equal(index_string(index, flow->method).size, i % 2 ? 64 : 0);
    }
    /* More methods than are kept: those that are, stay right. */
    for (int i = 0; i < 600; i++) {
        char method[16];
        snprintf(method, sizeof method, "M%d", i);
        glance.target.method = bytes_of(method);
        uint32_t number = index_flow_count(index);
        assert_true(index_add(index, &glance, &place, &error));
        struct bytes kept = index_string(index, index_flow(index, number)->method);
        if (i < 200 || kept.size)
            assert_bytes(kept, method);
    }
    index_close(index);
}

struct shared {
    struct index *index;
    _Atomic bool done;
    _Atomic uint32_t wrong;
};

static uint32_t walk_host(const struct index *index, uint32_t number)
{
    const struct index_host *host = index_host(index, number);
    uint32_t count = atomic_load(&host->count);
    uint32_t walked = 0;
    uint32_t wrong = host->name.size == 0;
    for (uint32_t flow = atomic_load(&host->first); flow != INDEX_NONE;
         flow = atomic_load(&index_flow(index, flow)->next_in_host)) {
        struct name name;
        index_flow_name(index, flow, &name);
        wrong += index_flow(index, flow)->host != number;
        wrong += index_string(index, index_flow(index, flow)->method).size == 0;
        wrong += index_find_flow(index, number, name_bytes(&name)) != flow;
        if (++walked == 300)
            break;
    }
    return wrong + (walked < 300 && walked < count);
}

static void *read_along(void *context)
{
    struct shared *shared = context;
    uint64_t chance = 4;
    bool last = false;
    do {
        last = atomic_load(&shared->done);
        /* In this order: each flow that is counted has a host that is. */
        uint32_t flows = index_flow_count(shared->index);
        uint32_t hosts = index_host_count(shared->index);
        if (!flows)
            continue;
        uint32_t host = test_random(&chance) % hosts;
        uint32_t flow = test_random(&chance) % flows;
        const struct index_flow *record = index_flow(shared->index, flow);
        uint32_t wrong = walk_host(shared->index, host);
        wrong += record->number != flow + 1;
        wrong += index_find_host(shared->index, index_host(shared->index, host)->name) != host;
        wrong += index_find_offset(shared->index, 0, record->offset) != flow;
        wrong += index_newest(shared->index) < record->start;
        if (wrong)
            atomic_fetch_add(&shared->wrong, wrong);
    } while (!last);
    return NULL;
}

static void test_readers_while_it_grows(void **state)
{
    (void)state;
    struct shared shared = {.index = open_index()};
    pthread_t readers[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, read_along, &shared), 0);
    for (uint32_t i = 0; i < 20000; i++) {
        struct flow_error error = {0};
        char id[40], host[40], method[8];
        snprintf(id, sizeof id, i % 2 ? "id-%" PRIu32 : "0badc0de-0000-4000-8000-%012" PRIu32,
                 i % 9000);
        snprintf(host, sizeof host, "host-%" PRIu32, i % 700);
        snprintf(method, sizeof method, "M%" PRIu32, i % 90);
        struct flow_glance glance = {
            .type = FLOW_HTTP,
            .id = bytes_of(id),
            .target = {.method = bytes_of(method), .host = bytes_of(host)},
            .timestamp_start = i,
        };
        struct index_place place = {0, i + 1, i * 10u, 10, INDEX_NONE, 21};
        assert_true(index_add(shared.index, &glance, &place, &error));
    }
    atomic_store(&shared.done, true);
    for (int i = 0; i < 4; i++)
        pthread_join(readers[i], NULL);
    assert_int_equal(atomic_load(&shared.wrong), 0);
    index_close(shared.index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_hosts),        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_what_is_kept), cmocka_unit_test(test_readers_while_it_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
