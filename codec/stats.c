#include "stats_facts.h"

#include <stdio.h>
#include <stdlib.h>

struct stats *stats_open(struct flow_error *error)
{
    struct stats *stats = calloc(1, sizeof *stats);
    if (stats)
        stats->arena = arena_new();
    if (stats && stats->arena)
        return stats;
    stats_close(stats);
    flow_error_memory(error);
    return NULL;
}

void stats_close(struct stats *stats)
{
    if (!stats)
        return;
    struct tally *tallies[] = {&stats->types, &stats->methods,       &stats->statuses,
                               &stats->hosts, &stats->content_types, &stats->error_messages};
    for (size_t i = 0; i < sizeof tallies / sizeof *tallies; i++)
        tally_close(tallies[i]);
    free(stats->durations);
    arena_free(stats->arena);
    free(stats);
}

static bool count(struct stats *stats, struct tally *tally, struct bytes name, uint64_t size)
{
    return tally_add(tally, stats->arena, name, size) != NULL;
}

static void add_time(struct stats *stats, double time)
{
    if (!(time > 0))
        return;
    if (!stats->flows || !(stats->first > 0) || time < stats->first)
        stats->first = time;
    if (time > stats->last)
        stats->last = time;
}

static bool add_duration(struct stats *stats, int64_t duration)
{
    if (stats->duration_count == stats->duration_capacity) {
        size_t capacity = stats->duration_capacity ? stats->duration_capacity * 2 : 1024;
        int64_t *durations = realloc(stats->durations, capacity * sizeof *durations);
        if (!durations)
            return false;
        stats->durations = durations;
        stats->duration_capacity = capacity;
    }
    stats->durations[stats->duration_count++] = duration;
    return true;
}

static bool add_extreme(struct stats *stats, struct stats_extremes *extremes, uint64_t measure,
                        const struct flow *flow, struct bytes url)
{
    size_t place = extremes->count;
    while (place > 0 && extremes->flows[place - 1].measure < measure)
        place--;
    if (place == STATS_EXTREMES)
        return true;
    struct stats_extreme extreme = {measure, arena_copy(stats->arena, flow->id),
                                    arena_copy(stats->arena, url)};
    if ((flow->id.size && !extreme.id.data) || (url.size && !extreme.url.data))
        return false;
    if (extremes->count < STATS_EXTREMES)
        extremes->count++;
    for (size_t i = extremes->count - 1; i > place; i--)
        extremes->flows[i] = extremes->flows[i - 1];
    extremes->flows[place] = extreme;
    return true;
}

/* The media type without parameters (RFC 9110, 8.3.1), in lower case. */
static bool count_content_type(struct stats *stats, struct flowdir *directory, uint64_t size)
{
    struct arena *arena = directory->loaded.arena;
    struct bytes type;
    if (!flow_fields_get(directory->loaded.flow.response.headers, "content-type", arena, &type))
        return false;
    const uint8_t *end = type.size ? memchr(type.data, ';', type.size) : NULL;
    if (end)
        type.size = (size_t)(end - type.data);
    type = bytes_trim(type);
    uint8_t *lower = arena_alloc(arena, type.size + 1);
    if (!lower)
        return false;
    for (size_t i = 0; i < type.size; i++)
        lower[i] = type.data[i] >= 'A' && type.data[i] <= 'Z' ? (uint8_t)(type.data[i] | 0x20)
                                                              : type.data[i];
    return count(stats, &stats->content_types,
                 type.size ? bytes_make(lower, type.size) : bytes_of("none"), size);
}

static bool add_body(struct flowdir *directory, struct flowdir_body *body,
                     struct stats_traffic *traffic, uint64_t *size, struct flow_error *error)
{
    *size = 0;
    if (!body->content)
        return true;
    if (!flowdir_measure(directory, body, error))
        return false;
    *size = body->decoded_size;
    traffic->wire += body->content->bytes.size;
    traffic->decoded += body->decoded_size;
    return true;
}

static bool add_http(struct stats *stats, struct flowdir *directory, uint64_t *size,
                     struct flow_error *error)
{
    const struct flow *flow = &directory->loaded.flow;
    uint64_t sent, received;
    char status[8];
    if (!add_body(directory, &directory->request, &stats->request, &sent, error) ||
        !add_body(directory, &directory->response, &stats->response, &received, error))
        return false;
    *size = sent + received;
    snprintf(status, sizeof status, "%03u", (unsigned)(flow->status_code & 0xFFFF));
    if (!count(stats, &stats->methods, flow->target.method, *size))
        return flow_error_memory(error);
    if (flow->response.state && (!count(stats, &stats->statuses, bytes_of(status), *size) ||
                                 !count_content_type(stats, directory, received)))
        return flow_error_memory(error);
    return true;
}

static uint64_t add_messages(struct stats *stats, const struct flowdir *directory)
{
    uint64_t size = 0;
    for (size_t i = 1; i <= directory->message_count; i++) {
        struct flow_stream_message message = flowdir_message(directory, i);
        uint64_t bytes = message.content->bytes.size;
        if (message.from_client) {
            stats->from_client.count++;
            stats->from_client.size += bytes;
        } else {
            stats->from_server.count++;
            stats->from_server.size += bytes;
        }
        size += bytes;
    }
    return size;
}

static bool add_extremes(struct stats *stats, const struct flow *flow, struct bytes url,
                         uint64_t size)
{
    int64_t duration;
    if (!add_extreme(stats, &stats->largest, size, flow, url))
        return false;
    if (!flow_duration(flow, &duration) || duration < 0)
        return true;
    return add_duration(stats, duration) &&
           add_extreme(stats, &stats->slowest, (uint64_t)duration, flow, url);
}

static bool add_flow(struct stats *stats, struct flowdir *directory, struct bytes site,
                     struct bytes url, struct flow_error *error)
{
    const struct flow *flow = &directory->loaded.flow;
    uint64_t size = 0;
    if (flow->type == FLOW_HTTP && !add_http(stats, directory, &size, error))
        return false;
    size += add_messages(stats, directory);
    struct bytes type = flow->websocket ? bytes_of("websocket") : flow->type_name;
    if (!count(stats, &stats->types, type, size) ||
        !count(stats, &stats->hosts, site.size ? site : bytes_of("unknown"), size) ||
        !add_extremes(stats, flow, url, size))
        return flow_error_memory(error);
    if (flow->error) {
        stats->errors++;
        struct bytes message = value_string(value_get(flow->error, "msg"));
        if (!count(stats, &stats->error_messages, message, 0))
            return flow_error_memory(error);
    }
    add_time(stats, flow->timestamp_start);
    stats->flows++;
    return true;
}

bool stats_add(struct stats *stats, struct flowdir *directory, struct flow_error *error)
{
    struct buffer site = BUFFER_INIT;
    struct buffer url = BUFFER_INIT;
    struct flow_glance glance = {0};
    const struct flow *flow = &directory->loaded.flow;
    flow_glance_of_flow(flow, &glance);
    flow_glance_site(&glance, &site);
    if (flow->type == FLOW_HTTP)
        flow_target_pretty_url(&flow->target, &url);
    else
        buffer_append_bytes(&url, buffer_bytes(&site));
    bool done = site.failed || url.failed
                    ? flow_error_memory(error)
                    : add_flow(stats, directory, buffer_bytes(&site), buffer_bytes(&url), error);
    buffer_free(&site);
    buffer_free(&url);
    return done;
}
