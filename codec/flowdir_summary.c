/* summary.json: see flowdir.h. Derived from the rest, so it may leave out and round. */
#include "flowdir.h"
#include "json_object.h"
#include "timestamp.h"

#include <arpa/inet.h>
#include <inttypes.h>

static void add_time(struct json_object *object, double seconds)
{
    int64_t micros = timestamp_microseconds(seconds);
    int64_t fraction = (micros % 1000000 + 1000000) % 1000000;
    json_add_key(object, "start");
    buffer_append_byte(object->out, '"');
    timestamp_append(object->out, seconds);
    buffer_append_byte(object->out, '"');
    json_add_integer(object, "start_epoch", (micros - fraction) / 1000000);
    buffer_append_byte(object->out, '.');
    timestamp_append_padded(object->out, (uint64_t)fraction, 6);
}

static void add_address(struct json_object *object, const char *key, const struct value *connection,
                        const char *member)
{
    struct bytes host;
    int64_t port;
    json_add_key(object, key);
    if (!flow_address(value_get(connection, member), &host, &port) || !host.size || port < 0) {
        buffer_append_text(object->out, "null");
        return;
    }
    bool bracket = memchr(host.data, ':', host.size) != NULL;
    buffer_append_text(object->out, bracket ? "\"[" : "\"");
    json_append_escaped(object->out, host);
    buffer_append_text(object->out, bracket ? "]:" : ":");
    buffer_append_unsigned(object->out, (uint64_t)port);
    buffer_append_byte(object->out, '"');
}

static void add_duration(struct json_object *object, const struct flow *flow)
{
    int64_t micros;
    json_add_key(object, "duration_ms");
    if (!flow_duration(flow, &micros)) {
        buffer_append_text(object->out, "null");
        return;
    }
    timestamp_append_milliseconds(object->out, micros);
}

static bool add_side(struct json_object *parent, const char *key, struct flowdir *directory,
                     const struct flow_message *message, struct flowdir_body *body,
                     struct flow_error *error)
{
    json_add_key(parent, key);
    if (!message->state) {
        buffer_append_text(parent->out, "null");
        return true;
    }
    struct json_object side = json_object_open(parent->out, parent->indent + 1);
    struct bytes type;
    if (!flow_fields_get(message->headers, "content-type", directory->loaded.arena, &type))
        return flow_error_memory(error);
    json_add_string_or_null(&side, "content_type", type);
    if (body->content) {
        if (!flowdir_measure(directory, body, error))
            return false;
        json_add_size(&side, "size", body->decoded_size);
        json_add_size(&side, "size_on_wire", body->content->bytes.size);
    } else {
        json_add_string_or_null(&side, "size", (struct bytes){NULL, 0});
        json_add_string_or_null(&side, "size_on_wire", (struct bytes){NULL, 0});
    }
    json_add_string_or_null(&side, "encoding", body->encoding);
    json_add_key(&side, "decoded");
    buffer_append_text(side.out, !body->content ? "null" : body->decodes ? "true" : "false");
    if (body->content && !body->decodes)
        json_add_string(&side, "decode_error", bytes_of(body->why_not.message));
    json_object_close(&side);
    return true;
}

static bool add_http(struct json_object *object, struct flowdir *directory,
                     struct flow_error *error)
{
    const struct flow *flow = &directory->loaded.flow;
    const struct flow_target *target = &flow->target;
    struct buffer url = BUFFER_INIT;
    flow_target_pretty_url(target, &url);
    json_add_string(object, "method", target->method);
    json_add_string(object, "url", buffer_bytes(&url));
    json_add_string(object, "host", flow_target_pretty_host(target));
    json_add_integer(object, "port", flow_target_pretty_port(target));
    json_add_string(object, "scheme", target->scheme);
    json_add_string(object, "path", target->path);
    json_add_key(object, "status");
    json_append_integer_or_null(object->out, flow->response.state != NULL, flow->status_code);
    json_add_string_or_null(object, "reason", flow->reason);
    json_add_string(object, "http_version", target->http_version);
    object->out->failed |= url.failed;
    buffer_free(&url);
    return add_side(object, "request", directory, &flow->request, &directory->request, error) &&
           add_side(object, "response", directory, &flow->response, &directory->response, error);
}

/* RFC 1035, 3.2.2, and RFC 3596, 9460: the types that captures are full of. */
static const char *dns_type_name(int64_t type)
{
    static const struct {
        int64_t type;
        const char *name;
    } names[] = {{1, "A"},    {2, "NS"},    {5, "CNAME"}, {6, "SOA"},    {12, "PTR"}, {15, "MX"},
                 {16, "TXT"}, {28, "AAAA"}, {33, "SRV"},  {65, "HTTPS"}, {255, "ANY"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].type == type)
            return names[i].name;
    return NULL;
}

static void append_dns_type(struct buffer *out, int64_t type)
{
    const char *name = dns_type_name(type);
    if (name)
        buffer_printf(out, "\"%s\"", name);
    else
        buffer_printf(out, "\"TYPE%" PRId64 "\"", type);
}

static void append_dns_data(struct buffer *out, int64_t type, struct bytes data)
{
    char text[INET6_ADDRSTRLEN];
    if (type == 1 && data.size == 4 && inet_ntop(AF_INET, data.data, text, sizeof text)) {
        json_append_string(out, bytes_of(text));
    } else if (type == 28 && data.size == 16 && inet_ntop(AF_INET6, data.data, text, sizeof text)) {
        json_append_string(out, bytes_of(text));
    } else if (type == 16 && bytes_are_utf8(data)) {
        json_append_string(out, data);
    } else {
        buffer_append_text(out, "\"0x");
        for (size_t i = 0; i < data.size; i++)
            buffer_printf(out, "%02x", data.data[i]);
        buffer_append_byte(out, '"');
    }
}

static void add_dns(struct json_object *object, const struct flow *flow)
{
    int64_t number = 0;
    const struct value *question = value_item(value_get(flow->dns_request, "questions"), 0);
    const struct value *answers = value_get(flow->dns_response, "answers");
    json_add_string(object, "host", value_string(value_get(question, "name")));
    value_to_int64(value_get(question, "type"), &number);
    json_add_key(object, "query_type");
    append_dns_type(object->out, number);
    json_add_key(object, "response_code");
    json_append_integer_or_null(
        object->out, value_to_int64(value_get(flow->dns_response, "response_code"), &number),
        number);
    json_add_key(object, "answers");
    buffer_append_byte(object->out, '[');
    for (const struct value *answer = value_is(answers, VALUE_LIST) ? answers->first : NULL; answer;
         answer = answer->next) {
        number = 0;
        value_to_int64(value_get(answer, "type"), &number);
        append_dns_data(object->out, number, value_string(value_get(answer, "data")));
        if (answer->next)
            buffer_append_text(object->out, ", ");
    }
    buffer_append_byte(object->out, ']');
}

static void add_stream(struct json_object *object, const struct flow *flow)
{
    struct bytes host = {NULL, 0};
    int64_t port = 0;
    flow_address(value_get(flow->server_connection, "address"), &host, &port);
    json_add_string_or_null(object, "host", host);
    json_add_integer(object, "port", port);
}

static void add_messages(struct json_object *object, const struct flowdir *directory)
{
    uint64_t counts[2] = {0, 0};
    uint64_t sizes[2] = {0, 0};
    for (size_t i = 1; i <= directory->message_count; i++) {
        struct flow_stream_message message = flowdir_message(directory, i);
        counts[message.from_client]++;
        sizes[message.from_client] += message.content->bytes.size;
    }
    json_add_key(object, "messages");
    struct json_object messages = json_object_open(object->out, object->indent + 1);
    json_add_size(&messages, "from_client", counts[1]);
    json_add_size(&messages, "from_server", counts[0]);
    json_add_size(&messages, "size_from_client", sizes[1]);
    json_add_size(&messages, "size_from_server", sizes[0]);
    json_object_close(&messages);
}

static void add_connection(struct json_object *object, const struct flow *flow)
{
    const struct value *client = flow->client_connection;
    const struct value *server = flow->server_connection;
    add_address(object, "client_address", client, "peername");
    add_address(object, "server_address", server,
                value_is_null(value_get(server, "peername")) ? "address" : "peername");
    bool tls = value_is_true(value_get(client, "tls")) || value_is_true(value_get(server, "tls"));
    const struct value *secured = value_is_true(value_get(client, "tls")) ? client : server;
    struct bytes none = {NULL, 0};
    json_add_string_or_null(object, "tls_version",
                            tls ? value_string(value_get(secured, "tls_version")) : none);
    json_add_string_or_null(object, "sni", value_string(value_get(client, "sni")));
    json_add_string_or_null(object, "alpn", value_string(value_get(client, "alpn")));
}

static void add_remarks(struct json_object *object, const struct flow *flow)
{
    json_add_key(object, "error");
    if (flow->error)
        json_append_string(object->out, value_string(value_get(flow->error, "msg")));
    else
        buffer_append_text(object->out, "null");
    json_add_string(object, "marked", value_string(value_get(flow->state, "marked")));
    json_add_string(object, "comment", value_string(value_get(flow->state, "comment")));
    json_add_string_or_null(object, "replay", value_string(value_get(flow->state, "is_replay")));
}

bool flowdir_render_summary(struct flowdir *directory, struct buffer *out, struct flow_error *error)
{
    const struct flow *flow = &directory->loaded.flow;
    struct json_object object = json_object_open(out, 0);
    json_add_string(&object, "id", flow->id);
    json_add_string(&object, "type", flow->websocket ? bytes_of("websocket") : flow->type_name);
    json_add_string(&object, "capture", bytes_of(directory->capture_name));
    json_add_size(&object, "number", directory->number);
    if (flow->type == FLOW_HTTP) {
        if (!add_http(&object, directory, error))
            return false;
    } else if (flow->type == FLOW_DNS) {
        add_dns(&object, flow);
    } else {
        add_stream(&object, flow);
    }
    add_time(&object, flow->timestamp_start);
    add_duration(&object, flow);
    add_connection(&object, flow);
    add_remarks(&object, flow);
    if (flow->messages)
        add_messages(&object, directory);
    json_object_close(&object);
    buffer_append_byte(out, '\n');
    return !out->failed || flow_error_memory(error);
}
