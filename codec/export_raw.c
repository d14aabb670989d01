#include "export_raw.h"

#include <inttypes.h>
#include <stdio.h>

/* Whether a field of that name has a value with `part` in it, whatever the case. */
static bool has_field(const struct value *fields, const char *wanted, const char *part)
{
    struct bytes name, value;
    size_t length = strlen(part);
    for (const struct value *item = fields ? fields->first : NULL; item; item = item->next) {
        if (!flow_field(item, &name, &value) || !bytes_equal_ignoring_case(name, wanted))
            continue;
        for (size_t i = 0; i + length <= value.size; i++)
            if (bytes_equal_ignoring_case(bytes_make(value.data + i, length), part))
                return true;
    }
    return false;
}

static bool is_chunked(const struct flow_message *message)
{
    return has_field(message->headers, "transfer-encoding", "chunked");
}

bool export_raw_applies(const struct flow *flow, bool request, const char **problem)
{
    const struct flow_message *message = request ? &flow->request : &flow->response;
    const char *why = NULL;
    if (!message->state)
        why = request ? "the flow has no request" : "the flow has no response";
    else if (!message->content)
        why = request ? "the request's content was not captured"
                      : "the response's content was not captured";
    else if (message->trailers && message->trailers->count && !is_chunked(message))
        why = request ? "the request has trailers, which HTTP/1 has behind chunked content only"
                      : "the response has trailers, which HTTP/1 has behind chunked content only";
    if (problem && why)
        *problem = why;
    return !why;
}

static void append_request_line(const struct flow_target *target, struct buffer *out)
{
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

static void append_status_line(const struct flow *flow, struct buffer *out)
{
    buffer_append_bytes(out, flow->response.http_version);
    buffer_printf(out, " %" PRId64 " ", flow->status_code);
    buffer_append_bytes(out, flow->reason);
    buffer_append_text(out, "\r\n");
}

static void append_field(struct buffer *out, struct bytes name, struct bytes value)
{
    buffer_append_bytes(out, name);
    buffer_append_text(out, ": ");
    buffer_append_bytes(out, value);
    buffer_append_text(out, "\r\n");
}

/* The header fields as mitmproxy's Message.decode leaves them: no Content-Encoding, and
 * Content-Length tells the decoded length, unless Transfer-Encoding delimits the content. Empty
 * content has nothing to decode. */
static void append_header(const struct flow_message *message, size_t content_size,
                          struct buffer *out)
{
    bool decoded = message->content->bytes.size > 0;
    bool told = !decoded || has_field(message->headers, "transfer-encoding", "");
    bool keeps_length = told;
    struct bytes name, value;
    char length[24];
    snprintf(length, sizeof length, "%zu", content_size);
    const struct value *item = message->headers ? message->headers->first : NULL;
    for (; item; item = item->next) {
        if (!flow_field(item, &name, &value) ||
            (decoded && bytes_equal_ignoring_case(name, "content-encoding")))
            continue;
        if (keeps_length || !bytes_equal_ignoring_case(name, "content-length"))
            append_field(out, name, value);
        else if (!told)
            append_field(out, name, bytes_of(length));
        told = told || bytes_equal_ignoring_case(name, "content-length");
    }
    if (!told)
        append_field(out, bytes_of("content-length"), bytes_of(length));
    buffer_append_text(out, "\r\n");
}

static void append_content(const struct flow_message *message, struct bytes content,
                           struct buffer *out)
{
    struct bytes name, value;
    if (!is_chunked(message)) {
        buffer_append_bytes(out, content);
        return;
    }
    if (content.size) {
        buffer_printf(out, "%zx\r\n", content.size);
        buffer_append_bytes(out, content);
        buffer_append_text(out, "\r\n");
    }
    buffer_append_text(out, "0\r\n");
    const struct value *item = message->trailers ? message->trailers->first : NULL;
    for (; item; item = item->next)
        if (flow_field(item, &name, &value))
            append_field(out, name, value);
    buffer_append_text(out, "\r\n");
}

bool export_raw_message(struct flowdir *directory, bool request, struct buffer *out,
                        struct flow_error *error)
{
    const struct flow *flow = &directory->loaded.flow;
    const struct flow_message *message = request ? &flow->request : &flow->response;
    struct flowdir_body *body = request ? &directory->request : &directory->response;
    struct buffer content = BUFFER_INIT;
    bool done = flowdir_read_body(directory, body, false, EXPORT_LONGEST_BODY, &content, error);
    if (done) {
        if (request)
            append_request_line(&flow->target, out);
        else
            append_status_line(flow, out);
        append_header(message, content.size, out);
        append_content(message, buffer_bytes(&content), out);
    }
    buffer_free(&content);
    return done;
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

bool export_raw_both(struct flowdir *directory, struct buffer *out, struct flow_error *error)
{
    const struct flow *flow = &directory->loaded.flow;
    bool both = flow->request.content && flow->response.content;
    if (flow->request.content && !export_raw_message(directory, true, out, error))
        return false;
    if (both)
        buffer_append_text(out, "\r\n\r\n");
    if (flow->response.content && !export_raw_message(directory, false, out, error))
        return false;
    if (!both || !flow->websocket)
        return true;
    buffer_append_text(out, "\r\n\r\n");
    return append_messages(directory, out, error);
}
