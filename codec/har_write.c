#include "har_write.h"

#include "charset.h"
#include "har_cookie.h"
#include "json_object.h"
#include "tally.h"
#include "timestamp.h"
#include "version.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>

struct har_writer {
    struct arena *arena;
    struct tally servers; /* ids of connections that have been told of */
    bool any;
};

struct har_writer *har_writer_open(struct flow_error *error)
{
    struct har_writer *writer = calloc(1, sizeof *writer);
    if (writer)
        writer->arena = arena_new();
    if (writer && writer->arena)
        return writer;
    har_writer_close(writer);
    flow_error_memory(error);
    return NULL;
}

void har_writer_close(struct har_writer *writer)
{
    if (!writer)
        return;
    tally_close(&writer->servers);
    arena_free(writer->arena);
    free(writer);
}

bool har_writer_begin(struct har_writer *writer, struct buffer *out, struct flow_error *error)
{
    (void)writer;
    buffer_append_text(out, "{\n  \"log\": {\n    \"version\": \"1.2\",\n    \"creator\": "
                            "{\"name\": \"flowfs\", \"version\": \"" FLOWFS_VERSION
                            "\", \"comment\": \"\"},\n    \"pages\": [],\n    \"entries\": [");
    return !out->failed || flow_error_memory(error);
}

bool har_writer_end(struct har_writer *writer, struct buffer *out, struct flow_error *error)
{
    buffer_append_text(out, writer->any ? "\n    ]\n  }\n}\n" : "]\n  }\n}\n");
    return !out->failed || flow_error_memory(error);
}

static void add_number(struct json_object *object, const char *key, double number)
{
    char text[32];
    size_t length = value_format_float(isfinite(number) ? number : -1, text);
    json_add_key(object, key);
    buffer_append(object->out, text, length);
}

static void add_text(struct json_object *object, const char *key, struct bytes text)
{
    json_add_key(object, key);
    har_append_string(object->out, text);
}

static double time_of(const struct value *connection, const char *key)
{
    double time = 0;
    value_to_double(value_get(connection, key), &time);
    return time;
}

/* Milliseconds (HAR 1.2); -1: does not apply. */
struct timings {
    double connect, ssl, send, receive, wait;
};

/* The set-up of a connection belongs to the first entry that went over it. */
static bool time_connection(struct har_writer *writer, const struct value *server,
                            struct timings *timings)
{
    double start = time_of(server, "timestamp_start");
    double tcp = time_of(server, "timestamp_tcp_setup");
    double tls = time_of(server, "timestamp_tls_setup");
    struct bytes id = value_string(value_get(server, "id"));
    timings->connect = timings->ssl = -1;
    if (!(tcp > 0) || !(start > 0))
        return true;
    const struct tally_entry *entry = tally_add(&writer->servers, writer->arena, id, 0);
    if (!entry || entry->count > 1)
        return entry != NULL;
    timings->connect = 1000 * (tcp - start);
    if (tls > 0)
        timings->ssl = 1000 * (tls - tcp);
    return true;
}

static bool time_flow(struct har_writer *writer, const struct flow *flow, struct timings *timings)
{
    const struct flow_message *request = &flow->request;
    const struct flow_message *response = &flow->response;
    bool sent = request->timestamp_end > 0;
    timings->send = sent ? 1000 * (request->timestamp_end - request->timestamp_start) : 0;
    timings->wait =
        sent && response->state ? 1000 * (response->timestamp_start - request->timestamp_end) : 0;
    timings->receive = response->state && response->timestamp_end > 0
                           ? 1000 * (response->timestamp_end - response->timestamp_start)
                           : 0;
    /* A response that began before its request ended, as in what came from HAR: each moment counts
     * once, and no phase is below nothing. */
    if (timings->wait < 0) {
        timings->send = timings->send + timings->wait > 0 ? timings->send + timings->wait : 0;
        timings->wait = 0;
    }
    return time_connection(writer, flow->server_connection, timings);
}

static double total_of(const struct timings *timings)
{
    const double parts[] = {timings->connect, timings->ssl, timings->send, timings->receive,
                            timings->wait};
    double total = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        total += parts[i] >= 0 && isfinite(parts[i]) ? parts[i] : 0;
    return total;
}

static void add_timings(struct json_object *entry, const struct timings *timings)
{
    json_add_key(entry, "timings");
    struct json_object object = json_object_open(entry->out, entry->indent + 1);
    add_number(&object, "connect", timings->connect);
    add_number(&object, "ssl", timings->ssl);
    add_number(&object, "send", timings->send);
    add_number(&object, "receive", timings->receive);
    add_number(&object, "wait", timings->wait);
    json_object_close(&object);
}

/* As mitmproxy guesses it (strutils.is_mostly_bin): by the first hundred bytes. */
static bool is_mostly_binary(struct bytes content)
{
    size_t looked_at = content.size < 100 ? content.size : 100;
    size_t odd = 0;
    for (size_t i = 0; i < looked_at; i++) {
        uint8_t byte = content.data[i];
        odd += byte < 9 || (byte > 13 && byte < 32) || byte > 126;
    }
    return looked_at && (double)odd / (double)looked_at > 0.3;
}

/* Latin-1 as UTF-8. */
static void append_latin_1(struct buffer *out, struct bytes content)
{
    for (size_t i = 0; i < content.size; i++) {
        uint8_t byte = content.data[i];
        if (byte >= 0x80)
            buffer_append_byte(out, (uint8_t)(0xC0 | byte >> 6));
        buffer_append_byte(out, byte < 0x80 ? byte : (uint8_t)(0x80 | (byte & 0x3F)));
    }
}

/* Whether a reader that encodes the text in the charset gets the content. */
static bool gives(struct bytes charset, struct bytes text, struct bytes content,
                  struct arena *arena)
{
    struct bytes encoded;
    return charset_encode(charset, text, arena, &encoded) == CHARSET_DONE &&
           bytes_equal(encoded, content);
}

/* Adds `text`, and `encoding` where the content is not to be had from any text. */
static void add_content(struct json_object *object, struct bytes content, struct bytes type,
                        struct arena *arena)
{
    struct bytes charset = charset_of_content_type(type);
    struct buffer text = BUFFER_INIT;
    bool binary = is_mostly_binary(content);
    if (!binary && gives(charset, content, content, arena)) {
        json_add_string(object, "text", content);
    } else if (!binary && (append_latin_1(&text, content), !text.failed) &&
               gives(charset, buffer_bytes(&text), content, arena)) {
        json_add_string(object, "text", buffer_bytes(&text));
    } else {
        json_add_key(object, "text");
        buffer_append_byte(object->out, '"');
        buffer_append_base64(object->out, content);
        buffer_append_byte(object->out, '"');
        json_add_string(object, "encoding", bytes_of("base64"));
    }
    object->out->failed |= text.failed;
    buffer_free(&text);
}

/* Start line and fields as on the wire, with the empty line behind them. */
static uint64_t headers_size(const struct flow *flow, const struct flow_message *message)
{
    struct bytes name, value;
    uint64_t size = 2;
    const struct value *item = message->headers ? message->headers->first : NULL;
    for (; item; item = item->next)
        if (flow_field(item, &name, &value))
            size += name.size + value.size + 4;
    if (message == &flow->request)
        return size + flow->target.method.size + flow->target.path.size +
               flow->target.http_version.size + 4;
    return size + flow->response.http_version.size + flow->reason.size + 7;
}

/* What both sides' bodies are written from. */
struct body {
    struct buffer content; /* decoded */
    struct bytes type;     /* Content-Type */
    uint64_t wire_size;
};

static bool read_body(struct flowdir *directory, bool request, struct body *body,
                      struct flow_error *error)
{
    struct flowdir_body *from = request ? &directory->request : &directory->response;
    const struct flow *flow = &directory->loaded.flow;
    const struct flow_message *message = request ? &flow->request : &flow->response;
    *body = (struct body){.wire_size = from->content ? from->content->bytes.size : 0};
    if (!flow_fields_get(message->headers, "content-type", directory->loaded.arena, &body->type))
        return flow_error_memory(error);
    return flowdir_read_body(directory, from, false, HAR_WRITE_LONGEST_BODY, &body->content, error);
}

static bool add_post_data(struct json_object *request, struct flowdir *directory,
                          const struct body *body)
{
    const struct flow *flow = &directory->loaded.flow;
    struct bytes content = buffer_bytes(&body->content);
    static const char *const methods[] = {"POST", "PUT", "PATCH"};
    bool wanted = content.size > 0;
    for (size_t i = 0; i < 3; i++)
        wanted |= bytes_equal_ignoring_case(flow->target.method, methods[i]);
    if (!wanted || !flow->request.content)
        return true;
    json_add_key(request, "postData");
    struct json_object object = json_object_open(request->out, request->indent + 1);
    add_text(&object, "mimeType", body->type);
    add_content(&object, content, body->type, directory->loaded.arena);
    json_add_key(&object, "params");
    bool form = memmem(body->type.data ? body->type.data : (const uint8_t *)"", body->type.size,
                       "application/x-www-form-urlencoded", 33) != NULL;
    har_append_form(object.out, form ? content : bytes_make("", 0));
    json_object_close(&object);
    return true;
}

static struct bytes query_of(struct bytes path)
{
    const uint8_t *mark = path.size ? memchr(path.data, '?', path.size) : NULL;
    if (!mark)
        return bytes_make("", 0);
    struct bytes query = bytes_make(mark + 1, (size_t)(path.data + path.size - mark) - 1);
    const uint8_t *fragment = query.size ? memchr(query.data, '#', query.size) : NULL;
    if (fragment)
        query.size = (size_t)(fragment - query.data);
    return query;
}

static void add_url(struct json_object *request, const struct flow *flow)
{
    struct buffer url = BUFFER_INIT;
    bool connect = flow_target_form(&flow->target) == FLOW_TARGET_AUTHORITY;
    if (connect)
        buffer_append_text(&url, "https://");
    flow_target_pretty_url(&flow->target, &url);
    if (connect)
        buffer_append_byte(&url, '/');
    add_text(request, "url", buffer_bytes(&url));
    request->out->failed |= url.failed;
    buffer_free(&url);
}

static void add_upper(struct json_object *object, const char *key, struct bytes text)
{
    json_add_key(object, key);
    size_t start = object->out->size;
    har_append_string(object->out, text);
    for (size_t i = start; !object->out->failed && i < object->out->size; i++)
        if (object->out->data[i] >= 'a' && object->out->data[i] <= 'z' &&
            object->out->data[i - 1] != '\\')
            object->out->data[i] &= 0xDF;
}

static bool add_request(struct json_object *entry, struct flowdir *directory,
                        struct flow_error *error)
{
    const struct flow *flow = &directory->loaded.flow;
    struct body body;
    if (!read_body(directory, true, &body, error)) {
        buffer_free(&body.content);
        return false;
    }
    json_add_key(entry, "request");
    struct json_object object = json_object_open(entry->out, entry->indent + 1);
    add_upper(&object, "method", flow->target.method);
    add_url(&object, flow);
    add_text(&object, "httpVersion", flow->target.http_version);
    json_add_key(&object, "cookies");
    har_append_request_cookies(object.out, flow->request.headers);
    json_add_key(&object, "headers");
    har_append_fields(object.out, flow->request.headers);
    json_add_key(&object, "queryString");
    har_append_form(object.out, query_of(flow->target.path));
    json_add_size(&object, "headersSize", headers_size(flow, &flow->request));
    json_add_size(&object, "bodySize", body.wire_size);
    add_post_data(&object, directory, &body);
    json_object_close(&object);
    buffer_free(&body.content);
    return true;
}

static void add_response_content(struct json_object *response, struct flowdir *directory,
                                 const struct body *body)
{
    struct bytes content = buffer_bytes(&body->content);
    json_add_key(response, "content");
    struct json_object object = json_object_open(response->out, response->indent + 1);
    json_add_size(&object, "size", content.size);
    json_add_integer(&object, "compression", (int64_t)content.size - (int64_t)body->wire_size);
    add_text(&object, "mimeType", body->type);
    if (directory->response.content)
        add_content(&object, content, body->type, directory->loaded.arena);
    json_object_close(&object);
}

/* What stands for a response that never came. */
static void add_no_response(struct json_object *entry, const struct flow *flow)
{
    json_add_key(entry, "response");
    struct json_object object = json_object_open(entry->out, entry->indent + 1);
    json_add_integer(&object, "status", 0);
    json_add_string(&object, "statusText", bytes_of(""));
    json_add_string(&object, "httpVersion", bytes_of(""));
    json_add_key(&object, "headers");
    buffer_append_text(object.out, "[]");
    json_add_key(&object, "cookies");
    buffer_append_text(object.out, "[]");
    json_add_key(&object, "content");
    buffer_append_text(object.out, "{\"size\": 0, \"mimeType\": \"\"}");
    json_add_string(&object, "redirectURL", bytes_of(""));
    json_add_integer(&object, "headersSize", -1);
    json_add_integer(&object, "bodySize", -1);
    json_add_integer(&object, "_transferSize", 0);
    json_add_key(&object, "_error");
    if (flow->error)
        har_append_string(object.out, value_string(value_get(flow->error, "msg")));
    else
        buffer_append_text(object.out, "null");
    json_object_close(&object);
}

static bool add_response(struct json_object *entry, struct flowdir *directory,
                         struct flow_error *error)
{
    const struct flow *flow = &directory->loaded.flow;
    struct bytes location;
    struct body body;
    if (!flow->response.state) {
        add_no_response(entry, flow);
        return true;
    }
    if (!read_body(directory, false, &body, error) ||
        !flow_fields_get(flow->response.headers, "location", directory->loaded.arena, &location)) {
        buffer_free(&body.content);
        return error->code ? false : flow_error_memory(error);
    }
    json_add_key(entry, "response");
    struct json_object object = json_object_open(entry->out, entry->indent + 1);
    json_add_integer(&object, "status", flow->status_code);
    json_add_key(&object, "statusText");
    buffer_append_byte(object.out, '"');
    struct buffer reason = BUFFER_INIT;
    append_latin_1(&reason, flow->reason);
    json_append_escaped(object.out, buffer_bytes(&reason));
    object.out->failed |= reason.failed;
    buffer_free(&reason);
    buffer_append_byte(object.out, '"');
    add_text(&object, "httpVersion", flow->response.http_version);
    json_add_key(&object, "cookies");
    har_append_response_cookies(object.out, flow->response.headers);
    json_add_key(&object, "headers");
    har_append_fields(object.out, flow->response.headers);
    add_response_content(&object, directory, &body);
    add_text(&object, "redirectURL", location);
    json_add_size(&object, "headersSize", headers_size(flow, &flow->response));
    json_add_size(&object, "bodySize", body.wire_size);
    json_object_close(&object);
    buffer_free(&body.content);
    return true;
}

static bool add_messages(struct json_object *entry, struct flowdir *directory,
                         struct flow_error *error)
{
    struct buffer *out = entry->out;
    json_add_string(entry, "_resourceType", bytes_of("websocket"));
    json_add_key(entry, "_webSocketMessages");
    buffer_append_byte(out, '[');
    for (size_t i = 1; i <= directory->message_count; i++) {
        struct flow_stream_message message = flowdir_message(directory, i);
        struct flowdir_body content = {.content = message.content};
        struct buffer text = BUFFER_INIT;
        char time[32];
        if (!flowdir_read_body(directory, &content, true, HAR_WRITE_LONGEST_BODY, &text, error)) {
            buffer_free(&text);
            return false;
        }
        size_t length = value_format_float(message.timestamp, time);
        buffer_append_text(out, i > 1 ? ", " : "");
        buffer_append_text(out, message.from_client ? "{\"type\": \"send\", \"time\": "
                                                    : "{\"type\": \"receive\", \"time\": ");
        buffer_append(out, time, length);
        buffer_append_text(out, ", \"opcode\": ");
        buffer_append_unsigned(out, (uint64_t)message.opcode);
        buffer_append_text(out, ", \"data\": ");
        if (message.is_text) {
            har_append_string(out, buffer_bytes(&text));
        } else {
            buffer_append_byte(out, '"');
            buffer_append_base64(out, buffer_bytes(&text));
            buffer_append_byte(out, '"');
        }
        buffer_append_byte(out, '}');
        out->failed |= text.failed;
        buffer_free(&text);
    }
    buffer_append_byte(out, ']');
    return true;
}

/* Old files have names there, which HAR has no place for. */
static bool is_ip_address(struct bytes address)
{
    char text[INET6_ADDRSTRLEN];
    uint8_t bytes[16];
    if (address.size >= sizeof text)
        return false;
    memcpy(text, address.data, address.size);
    text[address.size] = '\0';
    return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
}

static void add_remarks(struct json_object *entry, const struct flow *flow)
{
    struct bytes address;
    int64_t port;
    if (flow_address(value_get(flow->server_connection, "peername"), &address, &port) &&
        is_ip_address(address))
        add_text(entry, "serverIPAddress", address);
    struct bytes id = value_string(value_get(flow->server_connection, "id"));
    if (id.size)
        add_text(entry, "connection", id);
    struct bytes comment = value_string(value_get(flow->state, "comment"));
    if (comment.size)
        add_text(entry, "comment", comment);
}

static void add_start(struct json_object *entry, double start)
{
    json_add_key(entry, "startedDateTime");
    buffer_append_byte(entry->out, '"');
    timestamp_append(entry->out, start);
    buffer_append_byte(entry->out, '"');
}

bool har_writer_add(struct har_writer *writer, struct flowdir *directory, struct buffer *out,
                    struct flow_error *error)
{
    const struct flow *flow = &directory->loaded.flow;
    struct timings timings;
    if (flow->type != FLOW_HTTP) {
        flow_error_set(error, ENOTSUP, FLOW_ERROR_NO_OFFSET, "HAR holds HTTP flows alone");
        return false;
    }
    if (!time_flow(writer, flow, &timings))
        return flow_error_memory(error);
    buffer_append_text(out, writer->any ? ",\n      " : "\n      ");
    struct json_object entry = json_object_open(out, 3);
    add_start(&entry, flow->timestamp_start);
    add_number(&entry, "time", total_of(&timings));
    if (!add_request(&entry, directory, error) || !add_response(&entry, directory, error))
        return false;
    json_add_key(&entry, "cache");
    buffer_append_text(out, "{}");
    add_timings(&entry, &timings);
    add_remarks(&entry, flow);
    if (flow->websocket && !add_messages(&entry, directory, error))
        return false;
    json_object_close(&entry);
    writer->any = true;
    return !out->failed || flow_error_memory(error);
}
