#include "codec_inside.h"
#include "version.h"

#include "export.h"

#include <errno.h>
#include <stdlib.h>

const char *flowcodec_version(void)
{
    return FLOWFS_VERSION;
}

/* The text in the flow's arena, with a NUL behind it. */
static bool keep_text(struct flowcodec_flow *flow, struct bytes text, const char **kept)
{
    char *copy = arena_alloc(flow->directory.loaded.arena, text.size + 1);
    if (!copy)
        return false;
    if (text.size)
        memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    *kept = copy;
    return true;
}

static bool keep_texts(struct flowcodec_flow *flow)
{
    const struct flow *view = &flow->directory.loaded.flow;
    bool http = view->type == FLOW_HTTP;
    struct buffer url = BUFFER_INIT;
    if (http)
        flow_target_pretty_url(&view->target, &url);
    struct bytes host = http ? flow_target_pretty_host(&view->target) : bytes_make("", 0);
    struct bytes method = http ? view->target.method : bytes_make("", 0);
    const struct value *message = view->error ? value_get(view->error, "msg") : NULL;
    bool done = !url.failed && keep_text(flow, view->type_name, &flow->type) &&
                keep_text(flow, view->id, &flow->id) && keep_text(flow, method, &flow->method) &&
                keep_text(flow, buffer_bytes(&url), &flow->url) &&
                keep_text(flow, host, &flow->host) &&
                (!message || keep_text(flow, value_string(message), &flow->error));
    buffer_free(&url);
    return done;
}

struct flowcodec_flow *codec_flow_load(struct codec_capture *capture,
                                       const struct capture_item *item, uint64_t number,
                                       struct flow_error *error)
{
    struct capture_flow loaded;
    struct flowcodec_flow *flow = calloc(1, sizeof *flow);
    if (!flow) {
        flow_error_memory(error);
        return NULL;
    }
    flow->capture = codec_capture_keep(capture);
    flow->extent = item->extent;
    flow->handshake = item->handshake;
    if (capture_load(capture->capture, item->extent, item->handshake, &loaded, error) &&
        flowdir_open(&flow->directory, &loaded, capture->capture, capture->name, number,
                     FLOWDIR_DECODE_LIMIT, error) &&
        (keep_texts(flow) || flow_error_memory(error)))
        return flow;
    flowcodec_flow_free(flow);
    return NULL;
}

void flowcodec_flow_free(struct flowcodec_flow *flow)
{
    if (!flow)
        return;
    flowdir_close(&flow->directory);
    codec_capture_release(flow->capture);
    free(flow);
}

const char *flowcodec_flow_type(const struct flowcodec_flow *flow)
{
    return flow->type;
}

const char *flowcodec_flow_id(const struct flowcodec_flow *flow)
{
    return flow->id;
}

bool flowcodec_flow_is_websocket(const struct flowcodec_flow *flow)
{
    return flow->directory.loaded.flow.websocket;
}

double flowcodec_flow_start(const struct flowcodec_flow *flow)
{
    return flow->directory.loaded.flow.timestamp_start;
}

const char *flowcodec_flow_method(const struct flowcodec_flow *flow)
{
    return flow->method;
}

const char *flowcodec_flow_url(const struct flowcodec_flow *flow)
{
    return flow->url;
}

const char *flowcodec_flow_host(const struct flowcodec_flow *flow)
{
    return flow->host;
}

int flowcodec_flow_status(const struct flowcodec_flow *flow)
{
    int64_t status = flow->directory.loaded.flow.status_code;
    return status > 0 && status <= INT32_MAX ? (int)status : 0;
}

const char *flowcodec_flow_error(const struct flowcodec_flow *flow)
{
    return flow->error;
}

bool flowcodec_flow_header(const struct flowcodec_flow *flow, enum flowcodec_side side,
                           size_t number, struct flowcodec_bytes *name,
                           struct flowcodec_bytes *value)
{
    const struct flow *view = &flow->directory.loaded.flow;
    const struct flow_message *message =
        side == FLOWCODEC_REQUEST ? &view->request : &view->response;
    struct bytes field_name, field_value;
    const struct value *item = message->headers ? value_item(message->headers, number) : NULL;
    if (!item || !flow_field(item, &field_name, &field_value))
        return false;
    *name = (struct flowcodec_bytes){(const char *)field_name.data, field_name.size};
    *value = (struct flowcodec_bytes){(const char *)field_value.data, field_value.size};
    return true;
}

/* Hands the buffer's bytes to the caller, with a NUL behind them. */
static bool hand_over(struct buffer *buffer, bool done, char **text, size_t *size,
                      struct flow_error *problem, struct flowcodec_error *error)
{
    *text = NULL;
    *size = 0;
    if (done) {
        *size = buffer->size;
        buffer_append_byte(buffer, '\0');
        done = !buffer->failed || flow_error_memory(problem);
    }
    if (done)
        *text = (char *)buffer->data;
    else
        buffer_free(buffer);
    return done || codec_tell(problem, error);
}

bool flowcodec_flow_content(struct flowcodec_flow *flow, enum flowcodec_side side, bool raw,
                            uint64_t limit, void **data, size_t *size,
                            struct flowcodec_error *error)
{
    char *text;
    struct flow_error problem = {0};
    struct buffer content = BUFFER_INIT;
    struct flowdir *directory = &flow->directory;
    struct flowdir_body *body =
        side == FLOWCODEC_REQUEST ? &directory->request : &directory->response;
    *data = NULL;
    *size = 0;
    if (!body->content)
        return true;
    bool done = flowdir_read_body(directory, body, raw, limit, &content, &problem);
    done = hand_over(&content, done, &text, size, &problem, error);
    *data = text;
    return done;
}

static bool is_body(enum flowdir_file file)
{
    return file == FLOWDIR_REQUEST_BODY || file == FLOWDIR_REQUEST_BODY_RAW ||
           file == FLOWDIR_RESPONSE_BODY || file == FLOWDIR_RESPONSE_BODY_RAW;
}

bool flowcodec_flow_file(struct flowcodec_flow *flow, const char *name, char **text, size_t *size,
                         struct flowcodec_error *error)
{
    struct flow_error problem = {0};
    struct buffer content = BUFFER_INIT;
    enum flowdir_file file = flowdir_file_of_name(bytes_of(name));
    bool has = file != FLOWDIR_FILES && !is_body(file) && flowdir_has(&flow->directory, file);
    if (!has)
        flow_error_set(&problem, ENOENT, FLOW_ERROR_NO_OFFSET, "the flow has no file %.64s", name);
    bool done = has && flowdir_render(&flow->directory, file, &content, &problem);
    return hand_over(&content, done, text, size, &problem, error);
}

struct flowcodec_filter *flowcodec_filter_parse(const char *expression,
                                                struct flowcodec_error *error)
{
    struct flow_error problem = {0};
    struct flowcodec_filter *filter = calloc(1, sizeof *filter);
    if (filter)
        filter->filter = filter_parse(bytes_of(expression), filter_case_of_environment(), &problem);
    else
        flow_error_memory(&problem);
    if (filter && filter->filter)
        filter->matcher = filter_matcher_new(filter->filter, &problem);
    if (filter && filter->matcher)
        return filter;
    flowcodec_filter_free(filter);
    codec_tell(&problem, error);
    return NULL;
}

void flowcodec_filter_free(struct flowcodec_filter *filter)
{
    if (!filter)
        return;
    filter_matcher_free(filter->matcher);
    filter_free(filter->filter);
    free(filter);
}

bool flowcodec_filter_match(struct flowcodec_filter *filter, struct flowcodec_flow *flow,
                            bool *matches, struct flowcodec_error *error)
{
    struct flow_error problem = {0};
    *matches = false;
    return filter_match(filter->matcher, &flow->directory, matches, &problem) ||
           codec_tell(&problem, error);
}

bool flowcodec_flow_export(struct flowcodec_flow *flow, const char *format, char **text,
                           size_t *size, struct flowcodec_error *error)
{
    struct flow_error problem = {0};
    struct buffer out = BUFFER_INIT;
    int number = 0;
    while (number < EXPORT_FORMATS &&
           strcmp(format, export_format_name((enum export_format)number)) != 0)
        number++;
    if (number == EXPORT_FORMATS)
        flow_error_set(&problem, EINVAL, FLOW_ERROR_NO_OFFSET, "no export format %.64s", format);
    bool done = number < EXPORT_FORMATS &&
                export_flow(&flow->directory, (enum export_format)number, &out, &problem);
    return hand_over(&out, done, text, size, &problem, error);
}
