#include "link_name.h"

#include "timestamp.h"

static struct timestamp split(int64_t nanoseconds)
{
    return timestamp_split(nanoseconds / 1000 - (nanoseconds % 1000 < 0));
}

static void append_day(const struct timestamp *time, struct buffer *text)
{
    timestamp_append_padded(text, time->year, 4);
    buffer_append_byte(text, '-');
    timestamp_append_padded(text, time->month, 2);
    buffer_append_byte(text, '-');
    timestamp_append_padded(text, time->day, 2);
}

void link_name_append_day(int64_t start, struct buffer *text)
{
    struct timestamp time = split(start);
    append_day(&time, text);
}

/* With `-` for `:`, which Windows and make cannot have in a name. */
static void append_time(int64_t start, bool with_day, struct buffer *text)
{
    struct timestamp time = split(start);
    if (with_day) {
        append_day(&time, text);
        buffer_append_byte(text, 'T');
    }
    timestamp_append_padded(text, time.hour, 2);
    buffer_append_byte(text, '-');
    timestamp_append_padded(text, time.minute, 2);
    buffer_append_byte(text, '-');
    timestamp_append_padded(text, time.second, 2);
    buffer_append_byte(text, '.');
    timestamp_append_padded(text, time.microsecond / 1000, 3);
    buffer_append_byte(text, 'Z');
}

static struct bytes without_query(struct bytes path)
{
    size_t size = 0;
    while (size < path.size && path.data[size] != '?' && path.data[size] != '#')
        size++;
    while (size > 0 && path.data[size - 1] == '/')
        size--;
    return bytes_make(path.data, size);
}

static void append_path(const struct collection *collection, uint32_t flow, struct buffer *text)
{
    struct flow_error ignored = {0};
    struct capture_flow loaded;
    struct convert_flow found = collection_convert_flow(collection, flow);
    if (!capture_load(found.capture, found.extent, found.handshake, &loaded, &ignored))
        return;
    struct bytes path = without_query(loaded.flow.target.path);
    if (path.size && path.data[0] != '/')
        buffer_append_byte(text, '_');
    for (size_t i = 0; i < path.size; i++)
        buffer_append_byte(text, path.data[i] == '/' ? '_' : path.data[i]);
    capture_flow_close(&loaded);
}

static struct bytes kind_of(const struct index *index, const struct index_flow *flow)
{
    switch ((enum flow_type)flow->type) {
    case FLOW_HTTP:
        return index_string(index, flow->method);
    case FLOW_TCP:
        return bytes_of("TCP");
    case FLOW_UDP:
        return bytes_of("UDP");
    case FLOW_DNS:
        return bytes_of("DNS");
    case FLOW_OTHER:
        break;
    }
    return bytes_make("", 0);
}

void link_name_append(const struct collection *collection, uint32_t flow, bool with_day,
                      struct buffer *text)
{
    const struct index *index = collection_index(collection);
    const struct index_flow *record = index_flow(index, flow);
    struct bytes kind = kind_of(index, record);
    append_time(record->start, with_day, text);
    if (kind.size) {
        buffer_append_byte(text, '_');
        buffer_append_bytes(text, kind);
    }
    buffer_append_byte(text, '_');
    buffer_append_bytes(text, index_host(index, record->host)->name);
    if (record->type == FLOW_HTTP)
        append_path(collection, flow, text);
    if (record->status) {
        buffer_append_byte(text, '_');
        buffer_append_unsigned(text, record->status);
    }
}
