#include "har_read.h"

#include "har_message.h"
#include "http_status.h"
#include "url.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct entry {
    const json_t *root, *request, *response; /* response: NULL if there is none */
    struct url url;
    double start; /* seconds since the epoch */
    double end;
    bool has_end;
    struct bytes text; /* the entry as written */
};

static void put(struct har_reader *reader, struct value *dict, const char *key,
                struct value *member)
{
    if (!value_append_member(dict, value_text(reader->arena, bytes_of(key)), member))
        reader->no_memory = true;
}

static void put_null(struct har_reader *reader, struct value *dict, const char *key)
{
    put(reader, dict, key, value_null(reader->arena));
}

static void put_text(struct har_reader *reader, struct value *dict, const char *key,
                     struct bytes text)
{
    put(reader, dict, key, value_text(reader->arena, text));
}

static void put_bytes(struct har_reader *reader, struct value *dict, const char *key,
                      struct bytes bytes)
{
    put(reader, dict, key, value_bytes(reader->arena, bytes));
}

static void put_end(struct har_reader *reader, struct value *dict, const struct entry *entry)
{
    put(reader, dict, "timestamp_end",
        entry->has_end ? value_float(reader->arena, entry->end) : value_null(reader->arena));
}

/* Text of a flow is UTF-8: a byte that is not becomes `?`. */
static struct bytes clean_text(struct har_reader *reader, struct bytes text)
{
    if (bytes_are_utf8(text))
        return text;
    uint8_t *clean = arena_alloc(reader->arena, text.size);
    reader->no_memory = reader->no_memory || !clean;
    for (size_t i = 0; clean && i < text.size;) {
        size_t length = bytes_utf8_length(bytes_make(text.data + i, text.size - i));
        memcpy(clean + i, length ? (const char *)text.data + i : "?", length ? length : 1);
        i += length ? length : 1;
    }
    return clean ? bytes_make(clean, text.size) : bytes_make("", 0);
}

/* The string member of that name; empty if there is none. */
static struct bytes get_text(struct har_reader *reader, const json_t *object, const char *key)
{
    return clean_text(reader, har_string(reader, json_object_get(object, key)));
}

/* `count` digits at *at; -1 if there are less. */
static int take_digits(struct bytes *text, size_t count)
{
    int number = 0;
    if (text->size < count)
        return -1;
    for (size_t i = 0; i < count; i++) {
        if (text->data[i] < '0' || text->data[i] > '9')
            return -1;
        number = number * 10 + (text->data[i] - '0');
    }
    *text = bytes_make(text->data + count, text->size - count);
    return number;
}

static bool take_byte(struct bytes *text, const char *of)
{
    if (!text->size || !text->data[0] || !strchr(of, text->data[0]))
        return false;
    *text = bytes_make(text->data + 1, text->size - 1);
    return true;
}

/* Z, ±HH, ±HHMM, ±HH:MM or ±HH:MM:SS; nothing is UTC. */
static bool take_offset(struct bytes *text, int64_t *seconds)
{
    *seconds = 0;
    if (!text->size || take_byte(text, "Zz"))
        return text->size == 0;
    bool west = text->data[0] == '-';
    if (!take_byte(text, "+-"))
        return false;
    for (int64_t unit = 3600; text->size && unit; unit /= 60) {
        if (unit < 3600)
            take_byte(text, ":");
        int part = take_digits(text, 2);
        if (part < 0 || part > (unit == 3600 ? 23 : 59))
            return false;
        *seconds += part * unit;
    }
    if (west)
        *seconds = -*seconds;
    return text->size == 0;
}

static int64_t days_in_month(int64_t year, int64_t month)
{
    static const int8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

/* Days from 1970-01-01, in the Gregorian calendar carried on in both directions. */
static int64_t days_from_epoch(int64_t year, int64_t month, int64_t day)
{
    /* The year that begins in March has its leap day at its end. */
    int64_t shifted = month > 2 ? year : year - 1;
    int64_t since_march = (month + 9) % 12;
    int64_t leaps = shifted / 4 - shifted / 100 + shifted / 400;
    return shifted * 365 + leaps + (153 * since_march + 2) / 5 + day - 719469;
}

/* ISO 8601, basic or extended, to seconds since the epoch; microseconds count, what is behind them
 * is cut. */
static bool parse_time(struct bytes text, double *seconds)
{
    int64_t offset, micros = 0;
    int hour = 0, minute = 0, second = 0;
    int year = take_digits(&text, 4);
    bool dashed = take_byte(&text, "-");
    int month = take_digits(&text, 2);
    if (dashed && !take_byte(&text, "-"))
        return false;
    int day = take_digits(&text, 2);
    if (take_byte(&text, "Tt ")) {
        hour = take_digits(&text, 2);
        bool colon = take_byte(&text, ":");
        minute = take_digits(&text, 2);
        if (colon ? take_byte(&text, ":") : text.size && text.data[0] <= '9' && text.data[0] >= '0')
            second = take_digits(&text, 2);
        if (take_byte(&text, ".,")) {
            int64_t unit = 100000;
            int digit = take_digits(&text, 1);
            if (digit < 0)
                return false;
            for (; digit >= 0; digit = take_digits(&text, 1), unit /= 10)
                micros += digit * unit;
        }
    }
    /* A leap second is the first of the next minute. */
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) ||
        hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60 ||
        !take_offset(&text, &offset))
        return false;
    int64_t whole = days_from_epoch(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    *seconds = (double)((whole - offset) * 1000000 + micros) / 1e6;
    return true;
}

/* What the spec says time is: the sum of the timings that apply; ssl is part of connect. */
static bool sum_of_timings(const json_t *timings, double *milliseconds)
{
    static const char *const phases[] = {"blocked", "dns", "connect", "send", "wait", "receive"};
    bool any = false;
    *milliseconds = 0;
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++) {
        const json_t *phase = json_object_get(timings, phases[i]);
        if (!json_is_number(phase) || json_number_value(phase) < 0)
            continue;
        *milliseconds += json_number_value(phase);
        any = true;
    }
    return any;
}

static bool read_times(struct har_reader *reader, struct entry *entry)
{
    const json_t *started = json_object_get(entry->root, "startedDateTime");
    const json_t *time = json_object_get(entry->root, "time");
    double milliseconds = json_number_value(time);
    if (!json_is_string(started))
        return har_wrong(reader, "startedDateTime", started, "a string with an ISO 8601 time");
    struct bytes text = har_string(reader, started);
    if (!parse_time(text, &entry->start)) {
        flow_error_set(reader->error, EBADMSG, reader->offset,
                       "found \"%.*s\"; expected an ISO 8601 time, as in "
                       "2023-03-30T00:00:54.250Z",
                       (int)(text.size < 60 ? text.size : 60), (const char *)text.data);
        flow_error_prepend_key(reader->error, "startedDateTime");
        return false;
    }
    if (time && !json_is_number(time) && !json_is_null(time))
        return har_wrong(reader, "time", time, "a number of milliseconds");
    entry->has_end = json_is_number(time) ||
                     sum_of_timings(json_object_get(entry->root, "timings"), &milliseconds);
    entry->end = entry->start + milliseconds / 1000.0;
    return true;
}

static bool read_url(struct har_reader *reader, struct entry *entry)
{
    static const char *const web_sockets[][2] = {{"ws", "http"}, {"wss", "https"}};
    const json_t *url = json_object_get(entry->request, "url");
    if (!json_is_string(url))
        return har_wrong(reader, "request.url", url, "a string with a URL");
    struct flow_error error = {0};
    if (!url_parse(har_string(reader, url), reader->arena, &entry->url, &error)) {
        flow_error_set(reader->error, error.code, reader->offset, "%s", error.message);
        flow_error_prepend_key(reader->error, "request.url");
        return false;
    }
    entry->url.host = clean_text(reader, entry->url.host);
    for (size_t i = 0; i < 2; i++)
        if (bytes_equal_text(entry->url.scheme, web_sockets[i][0]))
            entry->url.scheme = bytes_of(web_sockets[i][1]);
    return true;
}

/* mitmproxy's export has this where a flow has no response. */
static bool is_placeholder(const json_t *response)
{
    const json_t *content = json_object_get(response, "content");
    const char *type = json_string_value(json_object_get(content, "mimeType"));
    bool empty =
        json_object_size(content) == 0 || (type && !*type && !json_object_get(content, "text"));
    return json_number_value(json_object_get(response, "status")) == 0 && json_is_object(content) &&
           empty;
}

static bool read_parts(struct har_reader *reader, struct entry *entry)
{
    entry->root = reader->json.root;
    if (!json_is_object(entry->root)) {
        flow_error_set(reader->error, EBADMSG, reader->offset, "found %s; expected a HAR entry",
                       har_json_kind(entry->root));
        return false;
    }
    entry->request = json_object_get(entry->root, "request");
    if (!json_is_object(entry->request))
        return har_wrong(reader, "request", entry->request, "an object");
    const json_t *response = json_object_get(entry->root, "response");
    if (response && !json_is_object(response) && !json_is_null(response))
        return har_wrong(reader, "response", response, "an object");
    if (json_is_object(response) && !is_placeholder(response))
        entry->response = response;
    return read_url(reader, entry) && read_times(reader, entry);
}

/* A UUID of version 8 that is the same for the same bytes. */
static struct bytes make_id(struct har_reader *reader, struct bytes of, uint64_t seed)
{
    uint64_t high = bytes_hash(of, seed), low = bytes_hash(of, ~seed);
    struct buffer id = BUFFER_INIT;
    buffer_printf(&id, "%08" PRIx64 "-%04" PRIx64 "-8%03" PRIx64 "-%04" PRIx64 "-%012" PRIx64,
                  high >> 32, high >> 16 & 0xFFFF, high & 0xFFF, (low >> 48 & 0x3FFF) | 0x8000,
                  low & 0xFFFFFFFFFFFF);
    return har_keep(reader, &id);
}

/* What tells one connection from another. */
static struct bytes connection_key(struct har_reader *reader, const struct entry *entry)
{
    const json_t *connection = json_object_get(entry->root, "connection");
    struct buffer key = BUFFER_INIT;
    if (json_is_string(connection) && json_string_length(connection))
        buffer_append_bytes(&key, har_string(reader, connection));
    else if (json_is_number(connection))
        buffer_printf(&key, "%.17g", json_number_value(connection));
    else
        return entry->text;
    buffer_append_byte(&key, ' ');
    buffer_append_bytes(&key, get_text(reader, entry->root, "serverIPAddress"));
    buffer_printf(&key, " %u", entry->url.port);
    return har_keep(reader, &key);
}

static struct value *make_address(struct har_reader *reader, struct bytes host, int64_t port)
{
    struct value *address = value_list(reader->arena);
    if (!value_append(address, value_text(reader->arena, host)) ||
        !value_append(address, value_int(reader->arena, port)))
        reader->no_memory = true;
    return address;
}

/* The members that client_conn and server_conn have in common, from id to sni. */
static void put_connection(struct har_reader *reader, struct value *dict, struct bytes id)
{
    put_text(reader, dict, "id", id);
    put_text(reader, dict, "transport_protocol", bytes_of("tcp"));
    put_null(reader, dict, "error");
    put(reader, dict, "tls", value_bool(reader->arena, false));
    put(reader, dict, "certificate_list", value_list(reader->arena));
    put_null(reader, dict, "alpn");
    put(reader, dict, "alpn_offers", value_list(reader->arena));
    put_null(reader, dict, "cipher");
    put(reader, dict, "cipher_list", value_list(reader->arena));
    put_null(reader, dict, "tls_version");
    put_null(reader, dict, "sni");
}

static struct value *make_client(struct har_reader *reader, const struct entry *entry,
                                 struct bytes key)
{
    struct value *client = value_dict(reader->arena);
    put(reader, client, "peername", make_address(reader, bytes_of("127.0.0.1"), 0));
    put(reader, client, "sockname", make_address(reader, bytes_of("127.0.0.1"), 0));
    put_connection(reader, client, make_id(reader, key, 2));
    put(reader, client, "timestamp_start", value_float(reader->arena, entry->start));
    put_end(reader, client, entry);
    put_null(reader, client, "timestamp_tls_setup");
    put_null(reader, client, "mitmcert");
    put_text(reader, client, "proxy_mode", bytes_of("regular"));
    return client;
}

static struct value *make_server(struct har_reader *reader, const struct entry *entry,
                                 struct bytes key)
{
    struct value *server = value_dict(reader->arena);
    struct bytes address = get_text(reader, entry->root, "serverIPAddress");
    put_null(reader, server, "peername");
    put_null(reader, server, "sockname");
    put_connection(reader, server, make_id(reader, key, 3));
    put_null(reader, server, "timestamp_start");
    put_null(reader, server, "timestamp_end");
    put_null(reader, server, "timestamp_tls_setup");
    put(reader, server, "address",
        address.size ? make_address(reader, address, entry->url.port) : value_null(reader->arena));
    put_null(reader, server, "timestamp_tcp_setup");
    put_null(reader, server, "via");
    return server;
}

/* mitmproxy's name of a version; see har_read.h. */
static struct bytes http_version(const json_t *message)
{
    static const char *const names[][2] = {
        {"http/0.9", "HTTP/0.9"}, {"http/1.0", "HTTP/1.0"}, {"http/2", "HTTP/2"},
        {"h2", "HTTP/2"},         {"h2c", "HTTP/2"},        {"http/3", "HTTP/3"},
        {"http/3.0", "HTTP/3"},
    };
    const char *text = json_string_value(json_object_get(message, "httpVersion"));
    struct bytes version = bytes_of(text ? text : "");
    if (bytes_equal_text(version, "HTTP/2.0"))
        return bytes_of("HTTP/2.0"); /* in capitals it is mitmproxy's own name of it */
    if (bytes_equal_ignoring_case(version, "http/2.0"))
        return bytes_of("HTTP/2");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (bytes_equal_ignoring_case(version, names[i][0]))
            return bytes_of(names[i][1]);
    struct bytes start = bytes_make(version.data, version.size < 3 ? version.size : 3);
    if (bytes_equal_ignoring_case(start, "h3-"))
        return bytes_of("HTTP/3");
    return bytes_of("HTTP/1.1");
}

static bool read_fields(struct har_reader *reader, const json_t *message, const char *key,
                        struct har_fields *fields)
{
    if (har_fields_read(reader, json_object_get(message, "headers"), fields))
        return true;
    flow_error_prepend_key(reader->error, "headers");
    flow_error_prepend_key(reader->error, key);
    return false;
}

static struct value *make_request(struct har_reader *reader, const struct entry *entry)
{
    struct har_fields fields;
    struct bytes content;
    const json_t *method = json_object_get(entry->request, "method");
    if (!json_is_string(method)) {
        har_wrong(reader, "request.method", method, "a string");
        return NULL;
    }
    if (!read_fields(reader, entry->request, "request", &fields) ||
        !har_request_body(reader, entry->request, &fields, &content))
        return NULL;
    struct value *request = value_dict(reader->arena);
    put_bytes(reader, request, "http_version", http_version(entry->request));
    put(reader, request, "headers", har_fields_value(reader, &fields));
    put_bytes(reader, request, "content", content);
    put_null(reader, request, "trailers");
    put(reader, request, "timestamp_start", value_float(reader->arena, entry->start));
    put_end(reader, request, entry);
    put_text(reader, request, "host", entry->url.host);
    put(reader, request, "port", value_int(reader->arena, entry->url.port));
    put_bytes(reader, request, "method", har_string(reader, method));
    put_bytes(reader, request, "scheme", entry->url.scheme);
    put_bytes(reader, request, "authority", bytes_make("", 0));
    put_bytes(reader, request, "path", entry->url.path);
    return request;
}

/* NULL with an error; a null value where there is no response. */
static struct value *make_response(struct har_reader *reader, const struct entry *entry)
{
    struct har_fields fields;
    struct bytes content;
    bool known;
    const json_t *status = json_object_get(entry->response, "status");
    double code = json_number_value(status);
    if (!entry->response)
        return value_null(reader->arena);
    if ((status && !json_is_number(status) && !json_is_null(status)) || code != trunc(code) ||
        fabs(code) > 1e9) {
        har_wrong(reader, "response.status", status, "a whole number, a status code");
        return NULL;
    }
    if (!read_fields(reader, entry->response, "response", &fields) ||
        !har_response_body(reader, entry->response, &fields, &content, &known))
        return NULL;
    struct bytes reason = bytes_of(http_status_reason((int64_t)code));
    if (!reason.size)
        reason = har_string(reader, json_object_get(entry->response, "statusText"));
    struct value *response = value_dict(reader->arena);
    put_bytes(reader, response, "http_version", http_version(entry->response));
    put(reader, response, "headers", har_fields_value(reader, &fields));
    put(reader, response, "content",
        known ? value_bytes(reader->arena, content) : value_null(reader->arena));
    put_null(reader, response, "trailers");
    put(reader, response, "timestamp_start", value_float(reader->arena, entry->start));
    put_end(reader, response, entry);
    put(reader, response, "status_code", value_int(reader->arena, (int64_t)code));
    put_bytes(reader, response, "reason", reason);
    return response;
}

static struct value *make_error_at(struct har_reader *reader, struct bytes message, double time)
{
    struct value *error = value_dict(reader->arena);
    put_text(reader, error, "msg", message);
    put(reader, error, "timestamp", value_float(reader->arena, time));
    return error;
}

/* The flow's error: why there is no response, or what broke the WebSocket (Chrome writes that as a
 * message of type "error"). */
static struct value *make_error(struct har_reader *reader, const struct entry *entry)
{
    double end = entry->has_end ? entry->end : entry->start;
    const json_t *messages = json_object_get(entry->root, "_webSocketMessages");
    const json_t *response = json_object_get(entry->root, "response");
    const json_t *reason = json_object_get(entry->root, "_error");
    if (!json_string_length(reason))
        reason = json_object_get(response, "_error");
    if (!entry->response && json_string_length(reason))
        return make_error_at(reader, clean_text(reader, har_string(reader, reason)), end);
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *message = json_array_get(messages, i);
        const char *type = json_string_value(json_object_get(message, "type"));
        const json_t *time = json_object_get(message, "time");
        if (type && strcmp(type, "error") == 0)
            return make_error_at(reader, get_text(reader, message, "data"),
                                 json_is_number(time) ? json_number_value(time) : end);
    }
    return value_null(reader->arena);
}

#define OPCODE_TEXT 1 /* RFC 6455, 5.2 */
#define OPCODE_BINARY 2

/* One message as mitmproxy has it: [opcode, from_client, content, timestamp, dropped, injected]. */
static bool append_message(struct har_reader *reader, const struct entry *entry,
                           const json_t *message, struct value *messages)
{
    const json_t *opcode = json_object_get(message, "opcode");
    const json_t *data = json_object_get(message, "data");
    const json_t *time = json_object_get(message, "time");
    const char *type = json_string_value(json_object_get(message, "type"));
    double number = json_is_number(opcode) ? json_number_value(opcode) : OPCODE_TEXT;
    bool sent = type && strcmp(type, "send") == 0;
    if (type && strcmp(type, "error") == 0)
        return true; /* see make_error */
    if (!sent && (!type || strcmp(type, "receive") != 0))
        return har_wrong(reader, "type", json_object_get(message, "type"),
                         "\"send\", \"receive\" or \"error\"");
    if (data && !json_is_string(data) && !json_is_null(data))
        return har_wrong(reader, "data", data, "a string");
    struct bytes content = har_string(reader, data);
    if (number == OPCODE_BINARY) {
        struct buffer decoded = BUFFER_INIT;
        bool valid = buffer_append_base64_decoded(&decoded, content);
        struct bytes binary = har_keep(reader, &decoded);
        content = valid ? binary : content;
    }
    /* mitmproxy knows these opcodes and refuses the others. */
    bool usual = number == 0 || number == 2 || number == 8 || number == 9 || number == 10;
    struct arena *arena = reader->arena;
    struct value *item = value_list(arena);
    double when = json_is_number(time) ? json_number_value(time) : entry->start;
    bool done = value_append(item, value_int(arena, usual ? (int64_t)number : OPCODE_TEXT)) &&
                value_append(item, value_bool(arena, sent)) &&
                value_append(item, value_bytes(arena, content)) &&
                value_append(item, value_float(arena, when)) &&
                value_append(item, value_bool(arena, false)) &&
                value_append(item, value_bool(arena, false)) && value_append(messages, item);
    reader->no_memory = reader->no_memory || !done;
    return true;
}

static struct value *make_websocket(struct har_reader *reader, const struct entry *entry)
{
    const json_t *list = json_object_get(entry->root, "_webSocketMessages");
    if (!list || json_is_null(list))
        return value_null(reader->arena);
    if (!json_is_array(list)) {
        har_wrong(reader, "_webSocketMessages", list, "an array");
        return NULL;
    }
    struct value *websocket = value_dict(reader->arena), *messages = value_list(reader->arena);
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (append_message(reader, entry, json_array_get(list, i), messages))
            continue;
        flow_error_prepend_index(reader->error, i);
        flow_error_prepend_key(reader->error, "_webSocketMessages");
        return NULL;
    }
    put(reader, websocket, "messages", messages);
    put_null(reader, websocket, "closed_by_client");
    put_null(reader, websocket, "close_code");
    put_null(reader, websocket, "close_reason");
    put_null(reader, websocket, "timestamp_end");
    return websocket;
}

static struct value *make_state(struct har_reader *reader, const struct entry *entry)
{
    struct arena *arena = reader->arena;
    struct value *request = make_request(reader, entry);
    struct value *response = request ? make_response(reader, entry) : NULL;
    struct value *websocket = response ? make_websocket(reader, entry) : NULL;
    struct value *state = value_dict(arena);
    struct bytes key = connection_key(reader, entry);
    if (!request || !response || !websocket)
        return NULL;
    put(reader, state, "version", value_int(arena, 21));
    put_text(reader, state, "type", bytes_of("http"));
    put_text(reader, state, "id", make_id(reader, entry->text, 1));
    put(reader, state, "error", make_error(reader, entry));
    put(reader, state, "client_conn", make_client(reader, entry, key));
    put(reader, state, "server_conn", make_server(reader, entry, key));
    put(reader, state, "intercepted", value_bool(arena, false));
    put_null(reader, state, "is_replay");
    put_text(reader, state, "marked", bytes_make("", 0));
    put(reader, state, "metadata", value_dict(arena));
    put_text(reader, state, "comment", get_text(reader, entry->root, "comment"));
    put(reader, state, "timestamp_created", value_float(arena, entry->start));
    put_null(reader, state, "backup");
    put(reader, state, "request", request);
    put(reader, state, "response", response);
    put(reader, state, "websocket", websocket);
    return state;
}

struct value *har_read_entry(struct bytes json, uint64_t offset, struct arena *arena,
                             struct flow_error *error)
{
    struct flow_error found = {0};
    struct har_reader reader = {.arena = arena, .offset = offset, .error = &found};
    struct entry entry = {.text = json};
    struct value *state = NULL;
    if (har_json_open(&reader.json, json, offset, &found) && read_parts(&reader, &entry))
        state = make_state(&reader, &entry);
    har_json_close(&reader.json);
    /* Where memory ran out, anything else that seemed wrong may follow from it. */
    if (reader.no_memory || (!state && !found.code)) {
        flow_error_memory(error);
        return NULL;
    }
    if (!state && error && !error->code)
        *error = found;
    return state;
}
