#include "flow.h"

#include "url.h"

#include <errno.h>
#include <math.h>

enum flow_type flow_type_of_name(struct bytes name)
{
    static const struct {
        const char *name;
        enum flow_type type;
    } types[] = {{"http", FLOW_HTTP}, {"tcp", FLOW_TCP}, {"udp", FLOW_UDP}, {"dns", FLOW_DNS}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (bytes_equal_text(name, types[i].name))
            return types[i].type;
    return FLOW_OTHER;
}

static double get_time(const struct value *dict, const char *key)
{
    double seconds;
    return value_to_double(value_get(dict, key), &seconds) ? seconds : 0;
}

static struct value *get_dict(const struct value *dict, const char *key)
{
    struct value *member = value_get(dict, key);
    return value_is(member, VALUE_DICT) ? member : NULL;
}

static struct value *get_list(const struct value *dict, const char *key)
{
    struct value *member = value_get(dict, key);
    return value_is(member, VALUE_LIST) ? member : NULL;
}

static void view_message(struct flow_message *message, const struct value *state, const char *key)
{
    message->state = get_dict(state, key);
    if (!message->state)
        return;
    const struct value *content = value_get(message->state, "content");
    message->http_version = value_string(value_get(message->state, "http_version"));
    message->headers = get_list(message->state, "headers");
    message->content = value_is_string(content) ? content : NULL;
    message->trailers = get_list(message->state, "trailers");
    message->timestamp_start = get_time(message->state, "timestamp_start");
    message->timestamp_end = get_time(message->state, "timestamp_end");
}

/* mitmproxy decodes the authority wherever it shows it, but not a Host field. */
static bool decode_authority(struct flow_target *target, struct arena *arena)
{
    struct buffer host = BUFFER_INIT;
    target->shown_authority = target->authority;
    if (!flow_target_is_idna(target->authority))
        return true;
    url_append_host(&host, target->authority);
    target->shown_authority = arena_copy(arena, buffer_bytes(&host));
    bool done = !host.failed && target->shown_authority.data;
    buffer_free(&host);
    return done;
}

static bool view_http(struct flow *flow, struct arena *arena, struct flow_error *error)
{
    view_message(&flow->request, flow->state, "request");
    view_message(&flow->response, flow->state, "response");
    const struct value *request = flow->request.state;
    if (!request) {
        flow_error_set(error, EBADMSG, flow->state->offset,
                       "an HTTP flow without a request, expected a dict");
        flow_error_prepend_key(error, "request");
        return false;
    }
    struct bytes host_field;
    if (!flow_fields_get(flow->request.headers, "host", arena, &host_field))
        return flow_error_memory(error);
    flow->target = (struct flow_target){
        .method = value_string(value_get(request, "method")),
        .scheme = value_string(value_get(request, "scheme")),
        .authority = value_string(value_get(request, "authority")),
        .host = value_string(value_get(request, "host")),
        .path = value_string(value_get(request, "path")),
        .http_version = flow->request.http_version,
        .host_field = host_field,
        .has_host_field = host_field.data != NULL,
    };
    if (!decode_authority(&flow->target, arena))
        return flow_error_memory(error);
    value_to_int64(value_get(request, "port"), &flow->target.port);
    value_to_int64(value_get(flow->response.state, "status_code"), &flow->status_code);
    flow->reason = value_string(value_get(flow->response.state, "reason"));
    flow->websocket = get_dict(flow->state, "websocket");
    flow->messages = get_list(flow->websocket, "messages");
    if (flow->request.timestamp_start > 0)
        flow->timestamp_start = flow->request.timestamp_start;
    return true;
}

bool flow_view(struct flow *flow, struct value *state, struct arena *arena,
               struct flow_error *error)
{
    const struct value *type = value_get(state, "type");
    *flow = (struct flow){.state = state};
    if (!value_is_string(type)) {
        flow_error_set(error, EBADMSG, state->offset,
                       value_is(state, VALUE_DICT) ? "a flow without a type"
                                                   : "not a flow: expected a dict");
        return false;
    }
    flow->type_name = value_string(type);
    flow->type = flow_type_of_name(flow->type_name);
    flow->id = value_string(value_get(state, "id"));
    flow->client_connection = get_dict(state, "client_conn");
    flow->server_connection = get_dict(state, "server_conn");
    flow->error = get_dict(state, "error");
    flow->timestamp_start = get_time(flow->client_connection, "timestamp_start");
    if (flow->timestamp_start <= 0)
        flow->timestamp_start = get_time(state, "timestamp_created");
    switch (flow->type) {
    case FLOW_HTTP:
        return view_http(flow, arena, error);
    case FLOW_TCP:
    case FLOW_UDP:
        flow->messages = get_list(state, "messages");
        break;
    case FLOW_DNS:
        flow->dns_request = get_dict(state, "request");
        flow->dns_response = get_dict(state, "response");
        if (get_time(flow->dns_request, "timestamp") > 0)
            flow->timestamp_start = get_time(flow->dns_request, "timestamp");
        break;
    case FLOW_OTHER:
        break;
    }
    return true;
}

bool flow_field(const struct value *item, struct bytes *name, struct bytes *value)
{
    if (!value_is(item, VALUE_LIST) || item->count != 2 || !value_is_string(item->first) ||
        !value_is_string(item->last))
        return false;
    *name = value_string(item->first);
    *value = value_string(item->last);
    return true;
}

/* Finds the next field of that name from `item` on, and moves *item behind it. */
static bool next_field(const struct value **item, const char *name, struct bytes *value)
{
    struct bytes field_name;
    while (*item) {
        const struct value *field = *item;
        *item = field->next;
        if (flow_field(field, &field_name, value) && bytes_equal_ignoring_case(field_name, name))
            return true;
    }
    return false;
}

bool flow_fields_get(const struct value *fields, const char *name, struct arena *arena,
                     struct bytes *found)
{
    size_t count = 0;
    size_t size = 0;
    struct bytes value;
    *found = (struct bytes){NULL, 0};
    for (const struct value *item = fields ? fields->first : NULL; next_field(&item, name, &value);
         count++) {
        *found = value;
        size += value.size + 2;
    }
    if (count < 2)
        return true;
    /* At once: one after the other, many fields would take the square of their size. */
    uint8_t *joined = arena_alloc(arena, size);
    size_t at = 0;
    if (!joined)
        return false;
    for (const struct value *item = fields->first; next_field(&item, name, &value);) {
        memcpy(joined + at, value.data, value.size);
        memcpy(joined + at + value.size, ", ", 2);
        at += value.size + 2;
    }
    *found = bytes_make(joined, size - 2);
    return true;
}

bool flow_content_encoding(const struct flow_message *message, struct arena *arena,
                           struct bytes *encoding)
{
    if (!flow_fields_get(message->headers, "content-encoding", arena, encoding))
        return false;
    if (!encoding->data)
        *encoding = bytes_make("", 0);
    return true;
}

static double end_of(const struct flow *flow)
{
    double end = 0;
    if (flow->type == FLOW_HTTP && flow->response.timestamp_end > 0)
        return flow->response.timestamp_end;
    if (flow->type == FLOW_HTTP && flow->response.state)
        return flow->response.timestamp_start;
    if (flow->type == FLOW_DNS) {
        value_to_double(value_get(flow->dns_response, "timestamp"), &end);
        return end;
    }
    if (flow->error)
        value_to_double(value_get(flow->error, "timestamp"), &end);
    if (end <= 0 && flow->type != FLOW_HTTP)
        value_to_double(value_get(flow->server_connection, "timestamp_end"), &end);
    return end;
}

bool flow_duration(const struct flow *flow, int64_t *microseconds)
{
    double end = end_of(flow);
    double duration = (end - flow->timestamp_start) * 1e6;
    if (end <= 0 || flow->timestamp_start <= 0 || !(fabs(duration) < 1e18))
        return false;
    *microseconds = (int64_t)floor(duration + 0.5);
    return true;
}

bool flow_stream_message(const struct flow *flow, const struct value *item,
                         struct flow_stream_message *message)
{
    *message = (struct flow_stream_message){0};
    if (!value_is(item, VALUE_LIST) || item->count < 3)
        return false;
    bool websocket = flow->type == FLOW_HTTP;
    const struct value *from_client = websocket ? item->first->next : item->first;
    const struct value *content = from_client->next;
    const struct value *timestamp = content ? content->next : NULL;
    if (!value_is_string(content))
        return false;
    message->content = content;
    message->from_client = value_is_true(from_client);
    value_to_double(timestamp, &message->timestamp);
    if (!websocket) {
        message->is_text = content->bytes.data && bytes_are_utf8(content->bytes) &&
                           !memchr(content->bytes.data, 0, content->bytes.size);
        return true;
    }
    value_to_int64(item->first, &message->opcode);
    message->is_text = message->opcode == 1;
    message->dropped = timestamp && value_is_true(timestamp->next);
    message->injected = timestamp && timestamp->next && value_is_true(timestamp->next->next);
    return true;
}

bool flow_address(const struct value *address, struct bytes *host, int64_t *port)
{
    int64_t number;
    if (!value_is(address, VALUE_LIST) || address->count < 2 || !value_is_string(address->first) ||
        !value_to_int64(address->first->next, &number))
        return false;
    *host = value_string(address->first);
    *port = number;
    return true;
}
