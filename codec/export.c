#include "export.h"

#include "export_message.h"

#include <errno.h>

static const char *const names[EXPORT_FORMATS] = {
    [EXPORT_CURL] = "curl",
    [EXPORT_HTTPIE] = "httpie",
    [EXPORT_RAW] = "raw",
    [EXPORT_RAW_REQUEST] = "raw_request",
    [EXPORT_RAW_RESPONSE] = "raw_response",
};

const char *export_format_name(enum export_format format)
{
    return names[format];
}

bool export_applies(const struct flow *flow, enum export_format format)
{
    bool request = flow->type == FLOW_HTTP && flow->request.content;
    bool response = flow->type == FLOW_HTTP && flow->response.content;
    switch (format) {
    case EXPORT_CURL:
    case EXPORT_HTTPIE:
        return flow->type == FLOW_HTTP;
    case EXPORT_RAW:
        return request || response;
    case EXPORT_RAW_REQUEST:
        return request;
    case EXPORT_RAW_RESPONSE:
        return response;
    case EXPORT_FORMATS:
        break;
    }
    return false;
}

static bool refuse(const struct flow *flow, enum export_format format, struct flow_error *error)
{
    bool wants_request = format == EXPORT_RAW_REQUEST || format == EXPORT_RAW;
    flow_error_set(error, ENOTSUP, FLOW_ERROR_NO_OFFSET, "%s needs an HTTP %s%s", names[format],
                   wants_request || format != EXPORT_RAW_RESPONSE ? "request" : "response",
                   flow->type == FLOW_HTTP ? " whose content was captured" : "");
    return false;
}

static void append_start_line(const struct flow *flow, bool request, struct buffer *out)
{
    const struct flow_target *target = &flow->target;
    if (!request) {
        buffer_append_bytes(out, flow->response.http_version);
        buffer_append_byte(out, ' ');
        buffer_append_unsigned(out, (uint64_t)flow->status_code);
        buffer_append_byte(out, ' ');
        buffer_append_bytes(out, flow->reason);
        buffer_append_text(out, "\r\n");
        return;
    }
    enum flow_target_form form = flow_target_form(target);
    buffer_append_bytes(out, target->method);
    buffer_append_byte(out, ' ');
    if (form == FLOW_TARGET_ABSOLUTE) {
        buffer_append_bytes(out, target->scheme);
        buffer_append_text(out, "://");
    }
    if (form != FLOW_TARGET_RELATIVE)
        buffer_append_bytes(out, target->authority);
    if (form != FLOW_TARGET_AUTHORITY)
        buffer_append_bytes(out, target->path);
    buffer_append_byte(out, ' ');
    buffer_append_bytes(out, target->http_version);
    buffer_append_text(out, "\r\n");
}

static void append_field(void *context, struct bytes name, struct bytes value)
{
    struct buffer *out = context;
    buffer_append_bytes(out, name);
    buffer_append_text(out, ": ");
    buffer_append_bytes(out, value);
    buffer_append_text(out, "\r\n");
}

static void append_trailers(const struct value *trailers, struct buffer *out)
{
    struct bytes name, value;
    for (const struct value *item = trailers ? trailers->first : NULL; item; item = item->next)
        if (flow_field(item, &name, &value))
            append_field(out, name, value);
}

/* The message as HTTP/1.1 has it on the wire (RFC 9112). */
static bool append_message(struct flowdir *directory, bool request, struct buffer *out,
                           struct flow_error *error)
{
    const struct flow *flow = &directory->loaded.flow;
    const struct flow_message *message = request ? &flow->request : &flow->response;
    struct export_message decoded;
    if (!export_message_open(&decoded, directory, request, error))
        return false;
    bool chunked = decoded.chunked;
    bool trailers = message->trailers && message->trailers->count;
    append_start_line(flow, request, out);
    export_message_fields(&decoded, append_field, out);
    buffer_append_text(out, "\r\n");
    if (chunked && decoded.content.size)
        buffer_printf(out, "%zx\r\n", decoded.content.size);
    buffer_append_bytes(out, buffer_bytes(&decoded.content));
    if (chunked) {
        buffer_append_text(out, decoded.content.size ? "\r\n0\r\n" : "0\r\n");
        append_trailers(message->trailers, out);
        buffer_append_text(out, "\r\n");
    }
    export_message_close(&decoded);
    if (trailers && !chunked) {
        flow_error_set(error, ENOTSUP, FLOW_ERROR_NO_OFFSET,
                       "HTTP/1.1 has trailers behind chunked content only (RFC 9112, 7.1.2)");
        return false;
    }
    return !out->failed || flow_error_memory(error);
}

/* `[OUTGOING] text`, a message a line. */
static bool append_messages(struct flowdir *directory, struct buffer *out, struct flow_error *error)
{
    for (size_t i = 1; i <= directory->message_count; i++) {
        struct flow_stream_message message = flowdir_message(directory, i);
        struct flowdir_body content = {.content = message.content};
        if (i > 1)
            buffer_append_byte(out, '\n');
        buffer_append_text(out, message.from_client ? "[OUTGOING] " : "[INCOMING] ");
        if (!flowdir_read_body(directory, &content, true, EXPORT_LONGEST_BODY, out, error))
            return false;
    }
    return true;
}

static bool append_both(struct flowdir *directory, struct buffer *out, struct flow_error *error)
{
    const struct flow *flow = &directory->loaded.flow;
    bool request = export_applies(flow, EXPORT_RAW_REQUEST);
    bool response = export_applies(flow, EXPORT_RAW_RESPONSE);
    if (request && !append_message(directory, true, out, error))
        return false;
    if (request && response)
        buffer_append_text(out, "\r\n\r\n");
    if (response && !append_message(directory, false, out, error))
        return false;
    if (!request || !response || !flow->websocket)
        return true;
    buffer_append_text(out, "\r\n\r\n");
    return append_messages(directory, out, error);
}

bool export_flow(struct flowdir *directory, enum export_format format, struct buffer *out,
                 struct flow_error *error)
{
    const struct flow *flow = &directory->loaded.flow;
    if (!export_applies(flow, format))
        return refuse(flow, format, error);
    switch (format) {
    case EXPORT_CURL:
        return export_curl(directory, out, error);
    case EXPORT_HTTPIE:
        return export_httpie(directory, out, error);
    case EXPORT_RAW:
        return append_both(directory, out, error) && (!out->failed || flow_error_memory(error));
    case EXPORT_RAW_REQUEST:
        return append_message(directory, true, out, error);
    case EXPORT_RAW_RESPONSE:
        return append_message(directory, false, out, error);
    case EXPORT_FORMATS:
        break;
    }
    return false;
}
