/* What the tests of filters share: captures with all of their flows open, and filters made or the
 * test failed. */
#ifndef FLOWFS_TESTS_FILTER_FLOWS_H
#define FLOWFS_TESTS_FILTER_FLOWS_H

#include "support.h"

#include "filter.h"

#include <inttypes.h>
#include <stdlib.h>

static inline struct filter *parse_case(const char *expression, enum filter_case letters)
{
    struct flow_error error = {0};
    struct filter *filter = filter_parse(bytes_of(expression), letters, &error);
    if (!filter)
        fail_msg("%s: %s at %" PRIu64, expression, error.message, error.offset);
    assert_int_equal(error.code, 0);
    return filter;
}

static inline struct filter *parse(const char *expression)
{
    return parse_case(expression, FILTER_CASE_FOLDED);
}

static inline struct filter_matcher *matcher_of(const struct filter *filter)
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
static inline struct filter_facts keep_facts(const struct flow_glance *glance)
{
    struct filter_facts facts = filter_facts_of_glance(glance);
    uint8_t *method = malloc(facts.method.size + 1);
    assert_non_null(method);
    if (facts.method.size)
        memcpy(method, facts.method.data, facts.method.size);
    facts.method.data = method;
    return facts;
}

static inline void open_item(struct flows *flows, const struct capture_item *item,
                             uint64_t decode_limit)
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

static inline struct flows open_limited(const char *path, uint64_t decode_limit)
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

static inline struct flows open_flows(const char *path)
{
    return open_limited(path, FLOWDIR_DECODE_LIMIT);
}

static inline void close_flows(struct flows *flows)
{
    for (size_t i = 0; i < flows->count; i++) {
        flowdir_close(&flows->directories[i]);
        free((void *)(uintptr_t)flows->facts[i].method.data);
    }
    free(flows->directories);
    free(flows->facts);
    capture_close(flows->capture);
}

static inline bool matches(struct filter_matcher *matcher, struct flowdir *directory)
{
    bool found = false;
    struct flow_error error = {0};
    if (!filter_match(matcher, directory, &found, &error))
        fail_msg("flow %" PRIu64 ": %s: %s", directory->number, error.key_path, error.message);
    return found;
}

#endif
