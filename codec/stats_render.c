/* Statistics as JSON and as a page of text. */
#include "json_object.h"
#include "stats_facts.h"
#include "timestamp.h"

#include <inttypes.h>
#include <stdlib.h>

/* People want the head of a list, programs all of it. */
#define TEXT_LINES 20

static const struct {
    unsigned percent;
    const char *name;
} percentiles[] = {{50, "p50"}, {75, "p75"}, {90, "p90"}, {95, "p95"}, {99, "p99"}};

#define PERCENTILES (sizeof percentiles / sizeof *percentiles)

static int compare_durations(const void *a, const void *b)
{
    int64_t first = *(const int64_t *)a;
    int64_t second = *(const int64_t *)b;
    return (first > second) - (first < second);
}

static void sort(struct stats *stats)
{
    struct tally *tallies[] = {&stats->types, &stats->methods,       &stats->statuses,
                               &stats->hosts, &stats->content_types, &stats->error_messages};
    for (size_t i = 0; i < sizeof tallies / sizeof *tallies; i++)
        tally_sort(tallies[i]);
    if (stats->duration_count)
        qsort(stats->durations, stats->duration_count, sizeof *stats->durations, compare_durations);
}

/* The smallest duration that so many percent of the flows do not exceed (nearest rank). */
static int64_t percentile(const struct stats *stats, unsigned percent)
{
    uint64_t rank = ((uint64_t)stats->duration_count * percent + 99) / 100;
    return stats->durations[rank ? rank - 1 : 0];
}

static int64_t mean_duration(const struct stats *stats)
{
    double sum = 0;
    for (size_t i = 0; i < stats->duration_count; i++)
        sum += (double)stats->durations[i];
    return (int64_t)(sum / (double)stats->duration_count);
}

static void add_tally(struct json_object *parent, const char *key, const struct tally *tally)
{
    json_add_key(parent, key);
    struct json_object object = json_object_open(parent->out, parent->indent + 1);
    for (size_t i = 0; i < tally->count; i++) {
        json_add_escaped_key(&object, tally->entries[i]->name);
        buffer_printf(object.out, "{\"flows\": %" PRIu64 ", \"bytes\": %" PRIu64 "}",
                      tally->entries[i]->count, tally->entries[i]->size);
    }
    json_object_close(&object);
}

static void add_time(struct json_object *object, const char *key, double time)
{
    json_add_key(object, key);
    if (!(time > 0)) {
        buffer_append_text(object->out, "null");
        return;
    }
    buffer_append_byte(object->out, '"');
    timestamp_append(object->out, time);
    buffer_append_byte(object->out, '"');
}

static void add_traffic(struct json_object *parent, const struct stats *stats)
{
    json_add_key(parent, "bytes");
    struct json_object object = json_object_open(parent->out, parent->indent + 1);
    json_add_size(&object, "request_on_wire", stats->request.wire);
    json_add_size(&object, "request_decoded", stats->request.decoded);
    json_add_size(&object, "response_on_wire", stats->response.wire);
    json_add_size(&object, "response_decoded", stats->response.decoded);
    json_add_size(&object, "messages_from_client", stats->from_client.size);
    json_add_size(&object, "messages_from_server", stats->from_server.size);
    json_object_close(&object);
    json_add_key(parent, "messages");
    object = json_object_open(parent->out, parent->indent + 1);
    json_add_size(&object, "from_client", stats->from_client.count);
    json_add_size(&object, "from_server", stats->from_server.count);
    json_object_close(&object);
}

static void add_milliseconds(struct json_object *object, const char *key, int64_t microseconds)
{
    json_add_key(object, key);
    timestamp_append_milliseconds(object->out, microseconds);
}

static void add_durations(struct json_object *parent, const struct stats *stats)
{
    json_add_key(parent, "duration_ms");
    struct json_object object = json_object_open(parent->out, parent->indent + 1);
    json_add_size(&object, "flows", stats->duration_count);
    if (stats->duration_count) {
        add_milliseconds(&object, "min", stats->durations[0]);
        add_milliseconds(&object, "mean", mean_duration(stats));
        for (size_t i = 0; i < PERCENTILES; i++)
            add_milliseconds(&object, percentiles[i].name,
                             percentile(stats, percentiles[i].percent));
        add_milliseconds(&object, "max", stats->durations[stats->duration_count - 1]);
    }
    json_object_close(&object);
}

static void add_extremes(struct json_object *parent, const char *key, const char *measure,
                         bool is_time, const struct stats_extremes *extremes)
{
    json_add_key(parent, key);
    buffer_append_byte(parent->out, '[');
    for (size_t i = 0; i < extremes->count; i++) {
        const struct stats_extreme *flow = &extremes->flows[i];
        if (i)
            buffer_append_text(parent->out, ", ");
        struct json_object object = json_object_open(parent->out, parent->indent + 1);
        if (is_time)
            add_milliseconds(&object, measure, (int64_t)flow->measure);
        else
            json_add_size(&object, measure, flow->measure);
        json_add_string(&object, "id", flow->id);
        json_add_string(&object, "url", flow->url);
        json_object_close(&object);
    }
    buffer_append_byte(parent->out, ']');
}

bool stats_render_json(struct stats *stats, struct buffer *out, struct flow_error *error)
{
    sort(stats);
    struct json_object object = json_object_open(out, 0);
    json_add_size(&object, "flows", stats->flows);
    add_time(&object, "first", stats->first);
    add_time(&object, "last", stats->last);
    add_tally(&object, "types", &stats->types);
    add_tally(&object, "methods", &stats->methods);
    add_tally(&object, "statuses", &stats->statuses);
    add_tally(&object, "hosts", &stats->hosts);
    add_tally(&object, "content_types", &stats->content_types);
    add_traffic(&object, stats);
    json_add_size(&object, "errors", stats->errors);
    add_tally(&object, "error_messages", &stats->error_messages);
    add_durations(&object, stats);
    add_extremes(&object, "slowest", "duration_ms", true, &stats->slowest);
    add_extremes(&object, "largest", "bytes", false, &stats->largest);
    json_object_close(&object);
    buffer_append_byte(out, '\n');
    return !out->failed || flow_error_memory(error);
}

/* 1.2 kB, 35 MB: powers of 1000 (ISO 80000-13). */
static void append_size(struct buffer *out, uint64_t size)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    double number = (double)size;
    size_t unit = 0;
    for (; number >= 999.5 && unit + 1 < sizeof units / sizeof *units; unit++)
        number /= 1000;
    buffer_printf(out, number < 9.95 && unit ? "%.1f %s" : "%.0f %s", number, units[unit]);
}

/* What comes from a capture may hold orders to a terminal. */
static void append_printable(struct buffer *out, struct bytes text)
{
    size_t shown = text.size < 100 ? text.size : 100;
    for (size_t i = 0; i < shown; i++)
        buffer_append_byte(out, text.data[i] < 0x20 || text.data[i] == 0x7F ? '?' : text.data[i]);
    if (shown < text.size)
        buffer_append_text(out, "...");
}

static void show_tally(struct buffer *out, const char *title, const struct tally *tally,
                       bool with_sizes)
{
    if (!tally->count)
        return;
    buffer_printf(out, "\n%s\n", title);
    for (size_t i = 0; i < tally->count && i < TEXT_LINES; i++) {
        buffer_printf(out, "%10" PRIu64 "  ", tally->entries[i]->count);
        if (with_sizes) {
            size_t start = out->size;
            append_size(out, tally->entries[i]->size);
            for (size_t width = out->size - start; width < 8; width++)
                buffer_append_byte(out, ' ');
            buffer_append_text(out, "  ");
        }
        append_printable(out, tally->entries[i]->name);
        buffer_append_byte(out, '\n');
    }
    if (tally->count > TEXT_LINES)
        buffer_printf(out, "%10s  and %zu more\n", "", tally->count - TEXT_LINES);
}

static void show_line(struct buffer *out, const char *name)
{
    buffer_printf(out, "%-24s", name);
}

static void show_traffic(struct buffer *out, const char *name, uint64_t wire, uint64_t decoded)
{
    show_line(out, name);
    append_size(out, wire);
    if (decoded != wire) {
        buffer_append_text(out, " (decoded ");
        append_size(out, decoded);
        buffer_append_byte(out, ')');
    }
    buffer_append_byte(out, '\n');
}

static void show_durations(struct buffer *out, const struct stats *stats)
{
    if (!stats->duration_count)
        return;
    buffer_append_text(out, "\nduration in ms\n");
    for (size_t i = 0; i < PERCENTILES; i++) {
        buffer_printf(out, "%9u%%  ", percentiles[i].percent);
        timestamp_append_milliseconds(out, percentile(stats, percentiles[i].percent));
        buffer_append_byte(out, '\n');
    }
    buffer_append_text(out, "      most  ");
    timestamp_append_milliseconds(out, stats->durations[stats->duration_count - 1]);
    buffer_append_byte(out, '\n');
}

static void show_extremes(struct buffer *out, const char *title, bool is_time,
                          const struct stats_extremes *extremes)
{
    if (!extremes->count)
        return;
    buffer_printf(out, "\n%s\n", title);
    for (size_t i = 0; i < extremes->count; i++) {
        const struct stats_extreme *flow = &extremes->flows[i];
        buffer_append_text(out, "  ");
        if (is_time) {
            timestamp_append_milliseconds(out, (int64_t)flow->measure);
            buffer_append_text(out, " ms");
        } else {
            append_size(out, flow->measure);
        }
        buffer_append_text(out, "  ");
        append_printable(out, flow->url);
        buffer_append_text(out, "  ");
        append_printable(out, flow->id);
        buffer_append_byte(out, '\n');
    }
}

bool stats_render_text(struct stats *stats, struct buffer *out, struct flow_error *error)
{
    sort(stats);
    show_line(out, "flows");
    buffer_printf(out, "%" PRIu64 "\n", stats->flows);
    if (stats->first > 0) {
        show_line(out, "first");
        timestamp_append(out, stats->first);
        buffer_append_byte(out, '\n');
        show_line(out, "last");
        timestamp_append(out, stats->last);
        buffer_append_byte(out, '\n');
    }
    show_traffic(out, "request bodies", stats->request.wire, stats->request.decoded);
    show_traffic(out, "response bodies", stats->response.wire, stats->response.decoded);
    if (stats->from_client.count || stats->from_server.count) {
        show_line(out, "messages");
        buffer_printf(out, "%" PRIu64 " from clients, ", stats->from_client.count);
        append_size(out, stats->from_client.size);
        buffer_printf(out, "; %" PRIu64 " from servers, ", stats->from_server.count);
        append_size(out, stats->from_server.size);
        buffer_append_byte(out, '\n');
    }
    show_line(out, "flows with an error");
    buffer_printf(out, "%" PRIu64 "\n", stats->errors);
    show_tally(out, "types", &stats->types, true);
    show_tally(out, "methods", &stats->methods, true);
    show_tally(out, "statuses", &stats->statuses, true);
    show_tally(out, "hosts", &stats->hosts, true);
    show_tally(out, "content types of responses", &stats->content_types, true);
    show_tally(out, "errors", &stats->error_messages, false);
    show_durations(out, stats);
    show_extremes(out, "slowest", true, &stats->slowest);
    show_extremes(out, "largest", false, &stats->largest);
    return !out->failed || flow_error_memory(error);
}
