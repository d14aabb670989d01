#include "convert_rows.h"

#include "timestamp.h"

#include <inttypes.h>
#include <stdio.h>

/* Bytes that each side sent: bodies and messages, as on the wire. */
struct sizes {
    uint64_t request, response;
};

static struct sizes sizes_of(const struct flowdir *directory)
{
    struct sizes sizes = {0, 0};
    if (directory->request.content)
        sizes.request = directory->request.content->bytes.size;
    if (directory->response.content)
        sizes.response = directory->response.content->bytes.size;
    for (size_t i = 1; i <= directory->message_count; i++) {
        struct flow_stream_message message = flowdir_message(directory, i);
        *(message.from_client ? &sizes.request : &sizes.response) += message.content->bytes.size;
    }
    return sizes;
}

static void append_site(const struct flow *flow, struct buffer *out)
{
    struct flow_glance glance = {0};
    flow_glance_of_flow(flow, &glance);
    flow_glance_site(&glance, out);
}

void convert_append_url(const struct flow *flow, struct buffer *out)
{
    if (flow->type == FLOW_HTTP)
        flow_target_pretty_url(&flow->target, out);
    else
        append_site(flow, out);
}

/* Line breaks and the indent behind them stand only between the parts of what we render: in a
 * string they are escaped. */
static void append_on_one_line(struct buffer *out, struct bytes json)
{
    const uint8_t *at = json.data;
    const uint8_t *end = json.data + json.size;
    while (at < end) {
        const uint8_t *stop = memchr(at, '\n', (size_t)(end - at));
        size_t size = (size_t)((stop ? stop : end) - at);
        buffer_append(out, at, size);
        if (!stop)
            break;
        bool between = size && at[size - 1] == ',';
        for (at = stop; at < end && (*at == '\n' || *at == ' ');)
            at++;
        if (between)
            buffer_append_byte(out, ' ');
    }
    buffer_append_byte(out, '\n');
}

bool convert_append_jsonl(struct flowdir *directory, struct buffer *out, struct flow_error *error)
{
    struct buffer summary = BUFFER_INIT;
    bool done = flowdir_render_summary(directory, &summary, error);
    if (done)
        append_on_one_line(out, buffer_bytes(&summary));
    buffer_free(&summary);
    return done && (!out->failed || flow_error_memory(error));
}

void convert_append_csv_head(struct buffer *out)
{
    buffer_append_text(out, "timestamp,method,url,host,status_code,request_size,response_size,"
                            "response_time,error\r\n");
}

/* A field in quotes where it needs them, with its separator. */
static void append_field(struct buffer *out, struct bytes text)
{
    bool quoted = false;
    for (size_t i = 0; i < text.size && !quoted; i++)
        quoted = memchr(",\"\r\n", text.data[i], 4) != NULL;
    if (!quoted) {
        buffer_append_bytes(out, text);
    } else {
        buffer_append_byte(out, '"');
        for (size_t i = 0; i < text.size; i++) {
            if (text.data[i] == '"')
                buffer_append_byte(out, '"');
            buffer_append_byte(out, text.data[i]);
        }
        buffer_append_byte(out, '"');
    }
    buffer_append_byte(out, ',');
}

bool convert_append_csv(struct flowdir *directory, struct buffer *out, struct flow_error *error)
{
    const struct flow *flow = &directory->loaded.flow;
    struct sizes sizes = sizes_of(directory);
    struct buffer url = BUFFER_INIT;
    struct buffer host = BUFFER_INIT;
    int64_t duration;
    convert_append_url(flow, &url);
    append_site(flow, &host);
    if (flow->timestamp_start > 0)
        timestamp_append(out, flow->timestamp_start);
    buffer_append_byte(out, ',');
    append_field(out, flow->type == FLOW_HTTP ? flow->target.method : bytes_make("", 0));
    append_field(out, buffer_bytes(&url));
    append_field(out, buffer_bytes(&host));
    if (flow->type == FLOW_HTTP && flow->response.state)
        buffer_printf(out, "%" PRId64, flow->status_code);
    buffer_printf(out, ",%" PRIu64 ",%" PRIu64 ",", sizes.request, sizes.response);
    if (flow_duration(flow, &duration))
        timestamp_append_milliseconds(out, duration);
    buffer_append_byte(out, ',');
    append_field(out,
                 flow->error ? value_string(value_get(flow->error, "msg")) : bytes_make("", 0));
    if (!out->failed)
        out->size--; /* the separator behind the last field */
    buffer_append_text(out, "\r\n");
    out->failed |= url.failed || host.failed;
    buffer_free(&url);
    buffer_free(&host);
    return !out->failed || flow_error_memory(error);
}

/* The quotient, rounded to the nearest; of two that are as near, the even one. */
static uint64_t divide(uint64_t number, uint64_t divisor)
{
    uint64_t quotient = number / divisor;
    uint64_t rest = number % divisor;
    return quotient + (2 * rest > divisor || (2 * rest == divisor && quotient % 2));
}

/* The number, up to `digits` long, to the right of a column. */
static void append_right(struct buffer *out, uint64_t number, unsigned width)
{
    uint64_t limit = 10;
    for (unsigned digits = 1; digits < width; digits++, limit *= 10)
        if (number < limit)
            buffer_append_byte(out, ' ');
    buffer_append_unsigned(out, number);
}

/* Five characters: 999, 1.2k, 35M. */
static void append_short_size(struct buffer *out, uint64_t size)
{
    static const char units[] = " kMGTPE";
    uint64_t unit = 1;
    size_t number = 0;
    for (; size / unit >= 1000 || divide(size, unit) >= 1000; number++)
        unit *= 1000;
    if (!number) {
        append_right(out, size, 4);
    } else if (size < unit * 10 && divide(size, unit / 10) < 100) {
        append_right(out, divide(size, unit / 10) / 10, 2);
        buffer_append_byte(out, '.');
        buffer_append_unsigned(out, divide(size, unit / 10) % 10);
    } else {
        append_right(out, divide(size, unit), 4);
    }
    buffer_append_byte(out, (uint8_t)units[number]);
}

static void append_short_duration(struct buffer *out, const struct flow *flow)
{
    int64_t duration;
    char text[24] = "";
    bool known = flow_duration(flow, &duration);
    if (known && duration >= 0 && duration < 9999500) {
        append_right(out, divide((uint64_t)duration, 1000), 5);
        buffer_append_text(out, "ms");
        return;
    }
    if (known)
        snprintf(text, sizeof text, duration < 0 ? "%.0fms" : "%.0fs",
                 (double)duration / (duration < 0 ? 1e3 : 1e6));
    buffer_printf(out, "%7s", text);
}

/* 2025-01-31 10:22:05.123 */
static void append_short_time(struct buffer *out, double seconds)
{
    struct timestamp time = timestamp_split(timestamp_microseconds(seconds));
    const struct {
        unsigned number, digits;
        char end;
    } fields[] = {
        {time.year, 4, '-'},
        {time.month, 2, '-'},
        {time.day, 2, ' '},
        {time.hour, 2, ':'},
        {time.minute, 2, ':'},
        {time.second, 2, '.'},
        {time.microsecond / 1000, 3, ' '},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        timestamp_append_padded(out, fields[i].number, fields[i].digits);
        buffer_append_byte(out, (uint8_t)fields[i].end);
    }
}

/* What comes from a capture may hold orders to a terminal. */
static void append_printable(struct buffer *out, struct bytes text, size_t width)
{
    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = text.data[i];
        buffer_append_byte(out, byte < 0x20 || byte == 0x7F ? '?' : byte);
    }
    for (size_t i = text.size; i < width; i++)
        buffer_append_byte(out, ' ');
}

/* By class of status (RFC 9110, 15): green, cyan, yellow, red. */
static const char *colour_of(const struct flow *flow)
{
    if (flow->error || flow->status_code >= 500)
        return "\x1b[31m";
    if (flow->status_code >= 400)
        return "\x1b[33m";
    if (flow->status_code >= 300)
        return "\x1b[36m";
    return flow->status_code >= 200 ? "\x1b[32m" : "";
}

static void append_status(struct buffer *out, const struct flow *flow, bool colour)
{
    const char *start = colour ? colour_of(flow) : "";
    buffer_append_text(out, start);
    if (flow->type == FLOW_HTTP && flow->response.state)
        buffer_printf(out, "%3" PRId64, flow->status_code);
    else
        buffer_append_text(out, flow->error ? "err" : "  -");
    if (*start)
        buffer_append_text(out, "\x1b[0m");
}

bool convert_append_list(struct flowdir *directory, bool colour, struct buffer *out,
                         struct flow_error *error)
{
    const struct flow *flow = &directory->loaded.flow;
    struct sizes sizes = sizes_of(directory);
    struct buffer url = BUFFER_INIT;
    struct bytes kind = flow->type == FLOW_HTTP ? flow->target.method : flow->type_name;
    convert_append_url(flow, &url);
    append_short_time(out, flow->timestamp_start);
    buffer_append_byte(out, ' ');
    append_printable(out, kind, 7);
    buffer_append_byte(out, ' ');
    append_status(out, flow, colour);
    buffer_append_byte(out, ' ');
    append_short_size(out, sizes.request + sizes.response);
    append_short_duration(out, flow);
    buffer_append_text(out, "  ");
    append_printable(out, buffer_bytes(&url), 0);
    if (flow->error) {
        buffer_append_text(out, "  ");
        append_printable(out, value_string(value_get(flow->error, "msg")), 0);
    }
    buffer_append_byte(out, '\n');
    out->failed |= url.failed;
    buffer_free(&url);
    return !out->failed || flow_error_memory(error);
}
