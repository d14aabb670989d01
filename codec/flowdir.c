#include "flowdir.h"

#include "flowdir_form.h"
#include "flowdir_notes.h"
#include "json_text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* A string that belongs into flow.json and is longer is no string that a flow has. */
#define LONGEST_SHOWN ((size_t)64 << 20)

static bool load_strings(struct flowdir *directory, struct value *value, struct flow_error *error)
{
    if (!value->elsewhere && value->bytes.size && !value->bytes.data) {
        size_t got;
        if (value->bytes.size > LONGEST_SHOWN) {
            flow_error_set(error, EFBIG, value->offset,
                           "a string of %zu bytes that is no body; at most %zu are shown",
                           value->bytes.size, LONGEST_SHOWN);
            return false;
        }
        uint8_t *data = arena_alloc(directory->loaded.arena, value->bytes.size);
        if (!data)
            return flow_error_memory(error);
        if (!source_read(directory->source, value->offset, data, value->bytes.size, &got, error))
            return false;
        if (got < value->bytes.size) {
            flow_error_set(error, EIO, value->offset, "the capture was cut short");
            return false;
        }
        value->bytes.data = data;
    }
    for (struct value *child = value->elsewhere ? NULL : value->first; child; child = child->next)
        if (!load_strings(directory, child, error) ||
            (child->key && !load_strings(directory, child->key, error)))
            return false;
    return true;
}

/* Marks what is not in flow.json, which only that file asks for. Of long records all strings but
 * those in files of their own are loaded in between: what is rendered from memory is marked last.
 */
static bool mark(struct flowdir *directory, bool load, struct flow_error *error)
{
    const struct flow *flow = &directory->loaded.flow;
    if (directory->marked)
        return true;
    if (flow->type == FLOW_HTTP)
        flowdir_mark_http(flow);
    flowdir_mark_messages(flow);
    if (load && !load_strings(directory, flow->state, error))
        return false;
    flowdir_mark_rendered(flow);
    directory->marked = true;
    return true;
}

static bool load_long_strings(struct flowdir *directory, struct flow_error *error)
{
    const struct capture_flow *loaded = &directory->loaded;
    bool is_long = loaded->record.filled || loaded->handshake.filled;
    return !is_long || mark(directory, true, error);
}

static bool open_body(struct flowdir *directory, struct flowdir_body *body,
                      const struct flow_message *message, struct flow_error *error)
{
    struct bytes encoding;
    *body = (struct flowdir_body){.content = message->content, .encoding = bytes_make("", 0)};
    if (!body->content)
        return true;
    if (!flow_content_encoding(message, directory->loaded.arena, &encoding))
        return flow_error_memory(error);
    if (flowdir_has_raw(encoding)) {
        body->encoding = encoding;
    } else {
        body->measured = body->decodes = true;
        body->decoded_size = body->content->bytes.size;
    }
    return true;
}

static bool list_messages(struct flowdir *directory, struct flow_error *error)
{
    const struct flow *flow = &directory->loaded.flow;
    struct flow_stream_message message;
    if (!flow->messages || !flow->messages->count)
        return true;
    directory->messages =
        arena_alloc(directory->loaded.arena, flow->messages->count * sizeof *directory->messages);
    if (!directory->messages)
        return flow_error_memory(error);
    for (const struct value *item = flow->messages->first; item; item = item->next)
        if (flow_stream_message(flow, item, &message))
            directory->messages[directory->message_count++] = item;
    return true;
}

bool flowdir_open(struct flowdir *directory, struct capture_flow *loaded,
                  const struct capture *capture, const char *capture_name, uint64_t number,
                  uint64_t decode_limit, struct flow_error *error)
{
    *directory = (struct flowdir){
        .loaded = *loaded,
        .source = capture_source(capture),
        .capture_name = capture_name,
        .number = number,
        .decode_limit = decode_limit,
        .files = flowdir_files(&loaded->flow),
    };
    const struct flow *flow = &directory->loaded.flow;
    *loaded = (struct capture_flow){0};
    if (open_body(directory, &directory->request, &flow->request, error) &&
        open_body(directory, &directory->response, &flow->response, error) &&
        list_messages(directory, error) && load_long_strings(directory, error))
        return true;
    flowdir_close(directory);
    return false;
}

void flowdir_close(struct flowdir *directory)
{
    capture_flow_close(&directory->loaded);
    *directory = (struct flowdir){0};
}

static const struct flow_message *side_of(const struct flowdir *directory, enum flowdir_file file)
{
    const struct flow *flow = &directory->loaded.flow;
    if (file >= FLOWDIR_REQUEST_HEADERS && file <= FLOWDIR_REQUEST_TRAILERS)
        return &flow->request;
    if (file >= FLOWDIR_RESPONSE_HEADERS && file <= FLOWDIR_RESPONSE_TRAILERS)
        return &flow->response;
    return NULL;
}

bool flowdir_has(const struct flowdir *directory, enum flowdir_file file)
{
    return directory->files & flowdir_bit(file);
}

double flowdir_time(const struct flowdir *directory, enum flowdir_file file)
{
    const struct flow *flow = &directory->loaded.flow;
    const struct flow_message *message = side_of(directory, file);
    if (message && message->timestamp_end > 0)
        return message->timestamp_end;
    if (message && message->timestamp_start > 0)
        return message->timestamp_start;
    return flow->timestamp_start;
}

struct flowdir_body *flowdir_body(struct flowdir *directory, enum flowdir_file file, bool *raw)
{
    *raw = file == FLOWDIR_REQUEST_BODY_RAW || file == FLOWDIR_RESPONSE_BODY_RAW;
    if (file == FLOWDIR_REQUEST_BODY || file == FLOWDIR_REQUEST_BODY_RAW)
        return &directory->request;
    if (file == FLOWDIR_RESPONSE_BODY || file == FLOWDIR_RESPONSE_BODY_RAW)
        return &directory->response;
    return NULL;
}

static bool read_content(void *context, uint64_t offset, void *data, size_t size, size_t *got,
                         struct flow_error *error)
{
    const struct flowdir_content *input = context;
    uint64_t whole = input->content->bytes.size;
    uint64_t left = offset < whole ? whole - offset : 0;
    *got = left < size ? (size_t)left : size;
    if (*got == 0)
        return true;
    if (input->content->bytes.data) {
        memcpy(data, input->content->bytes.data + offset, *got);
        return true;
    }
    uint64_t at = input->content->offset + offset;
    size_t wanted = *got;
    if (!source_read(input->source, at, data, wanted, got, error))
        return false;
    if (*got < wanted) {
        flow_error_set(error, EIO, at + *got, "%s ends inside a body: it was cut short",
                       source_path(input->source));
        return false;
    }
    return true;
}

struct body_input flowdir_content_input(struct flowdir_content *content)
{
    return (struct body_input){read_content, content};
}

bool flowdir_measure(struct flowdir *directory, struct flowdir_body *body, struct flow_error *error)
{
    struct flowdir_content content = {body->content, directory->source};
    if (body->measured)
        return true;
    body->why_not = (struct flow_error){0};
    body->decodes = body_decoded_size(body->encoding, flowdir_content_input(&content),
                                      directory->decode_limit, &body->decoded_size, &body->why_not);
    if (body->decodes || body->why_not.code == EBADMSG || body->why_not.code == ENOTSUP ||
        body->why_not.code == EFBIG) {
        body->measured = true;
        if (!body->decodes)
            body->decoded_size = body->content->bytes.size;
        return true;
    }
    *error = body->why_not;
    return false;
}

static bool read_whole(struct flowdir *directory, struct flowdir_body *body, bool raw,
                       uint64_t size, uint8_t *data, struct flow_error *error)
{
    struct flowdir_content content = {body->content, directory->source};
    struct body_input input = flowdir_content_input(&content);
    size_t got;
    if (raw || !body->decodes || body->encoding.size == 0)
        return input.read(input.context, 0, data, (size_t)size, &got, error);
    struct body_decoder *decoder = body_decoder_open(body->encoding, input, error);
    bool read = decoder && body_decoder_read(decoder, data, (size_t)size, &got, error);
    body_decoder_close(decoder);
    return read;
}

bool flowdir_read_body(struct flowdir *directory, struct flowdir_body *body, bool raw,
                       uint64_t limit, struct buffer *out, struct flow_error *error)
{
    if (!body->content)
        return true;
    if (!raw && !flowdir_measure(directory, body, error))
        return false;
    uint64_t size = raw ? body->content->bytes.size : body->decoded_size;
    if (size > limit || size > SIZE_MAX) {
        flow_error_set(error, EFBIG, FLOW_ERROR_NO_OFFSET,
                       "a body of %" PRIu64 " bytes, at most %" PRIu64 " can be taken at once",
                       size, limit);
        return false;
    }
    if (size == 0)
        return true;
    if (!buffer_reserve(out, (size_t)size))
        return flow_error_memory(error);
    if (!read_whole(directory, body, raw, size, out->data + out->size, error))
        return false;
    out->size += (size_t)size;
    return true;
}

static void render_fields(const struct value *fields, struct buffer *out)
{
    struct bytes name, value;
    for (const struct value *item = fields ? fields->first : NULL; item; item = item->next)
        if (flow_field(item, &name, &value))
            flowdir_append_field(out, name, value);
}

static void render_value(const struct value *value, struct buffer *out)
{
    struct value shown = *value;
    shown.elsewhere = false;
    json_append_value(out, &shown, 0);
    buffer_append_byte(out, '\n');
}

/* The flow, and as its last member what packing must know (flowdir_notes.h). */
static bool render_state(struct flowdir *directory, struct buffer *out, struct flow_error *error)
{
    struct value *notes;
    struct arena *arena = arena_new();
    if (!arena)
        return flow_error_memory(error);
    bool done =
        mark(directory, false, error) && flowdir_notes_make(directory, arena, &notes, error);
    if (done) {
        json_append_value(out, directory->loaded.flow.state, 0);
        if (notes && !out->failed) {
            /* Inside the closing brace, which may stand on a line of its own. */
            out->size -= out->data[out->size - 2] == '\n' ? 2 : 1;
            buffer_append_byte(out, ',');
            json_append_line(out, 1);
            buffer_append_text(out, "\"" FLOWDIR_NOTES "\": ");
            json_append_value(out, notes, 1);
            buffer_append_text(out, "\n}");
        }
        buffer_append_byte(out, '\n');
    }
    arena_free(arena);
    return done;
}

bool flowdir_render(struct flowdir *directory, enum flowdir_file file, struct buffer *out,
                    struct flow_error *error)
{
    const struct flow *flow = &directory->loaded.flow;
    switch (file) {
    case FLOWDIR_SUMMARY:
        return flowdir_render_summary(directory, out, error);
    case FLOWDIR_FLOW:
        if (!render_state(directory, out, error))
            return false;
        break;
    case FLOWDIR_REQUEST_HEADERS:
        flowdir_append_request_line(out, &flow->target);
        render_fields(flow->request.headers, out);
        break;
    case FLOWDIR_RESPONSE_HEADERS:
        flowdir_append_status_line(out, flow->response.http_version, flow->status_code,
                                   flow->reason);
        render_fields(flow->response.headers, out);
        break;
    case FLOWDIR_REQUEST_TRAILERS:
        render_fields(flow->request.trailers, out);
        break;
    case FLOWDIR_RESPONSE_TRAILERS:
        render_fields(flow->response.trailers, out);
        break;
    case FLOWDIR_ERROR:
        buffer_append_bytes(out, value_string(value_get(flow->error, "msg")));
        buffer_append_byte(out, '\n');
        break;
    case FLOWDIR_QUERY:
        render_value(flow->dns_request, out);
        break;
    case FLOWDIR_ANSWER:
        render_value(flow->dns_response, out);
        break;
    case FLOWDIR_REQUEST_BODY:
    case FLOWDIR_REQUEST_BODY_RAW:
    case FLOWDIR_RESPONSE_BODY:
    case FLOWDIR_RESPONSE_BODY_RAW:
    case FLOWDIR_FILES:
        flow_error_set(error, EINVAL, FLOW_ERROR_NO_OFFSET, "a body is not rendered but read");
        return false;
    }
    return !out->failed || flow_error_memory(error);
}

struct flow_stream_message flowdir_message(const struct flowdir *directory, size_t number)
{
    struct flow_stream_message message;
    flow_stream_message(&directory->loaded.flow, directory->messages[number - 1], &message);
    return message;
}

void flowdir_message_name(const struct flowdir *directory, size_t number,
                          char name[FLOWDIR_MESSAGE_NAME_SIZE])
{
    struct flow_stream_message message = flowdir_message(directory, number);
    snprintf(name, FLOWDIR_MESSAGE_NAME_SIZE, "%04zu-%s.%s", number,
             message.from_client ? "client" : "server", message.is_text ? "txt" : "bin");
}

size_t flowdir_message_of_name(struct bytes name)
{
    size_t number = 0;
    size_t digits = 0;
    while (digits < name.size && digits < 15 && name.data[digits] >= '0' &&
           name.data[digits] <= '9')
        number = number * 10 + (size_t)(name.data[digits++] - '0');
    return digits >= 4 && digits < name.size && name.data[digits] == '-' ? number : 0;
}
