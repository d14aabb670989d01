#include "export.h"

#include "export_command.h"
#include "export_raw.h"

#include <errno.h>

static bool has_request(const struct flow *flow, const char **problem)
{
    *problem = "the flow is no HTTP flow, it has no request";
    return flow->type == FLOW_HTTP;
}

static bool has_raw_request(const struct flow *flow, const char **problem)
{
    return has_request(flow, problem) && export_raw_applies(flow, true, problem);
}

static bool has_raw_response(const struct flow *flow, const char **problem)
{
    *problem = "the flow is no HTTP flow, it has no response";
    return flow->type == FLOW_HTTP && export_raw_applies(flow, false, problem);
}

/* One message whose content was not captured is left out; one that HTTP/1 cannot have is not. */
static bool has_raw(const struct flow *flow, const char **problem)
{
    if (!has_request(flow, problem))
        return false;
    *problem = "neither the request's nor the response's content was captured";
    return (flow->request.content || flow->response.content) &&
           (!flow->request.content || export_raw_applies(flow, true, problem)) &&
           (!flow->response.content || export_raw_applies(flow, false, problem));
}

static bool append_raw_request(struct flowdir *directory, struct buffer *out,
                               struct flow_error *error)
{
    return export_raw_message(directory, true, out, error);
}

static bool append_raw_response(struct flowdir *directory, struct buffer *out,
                                struct flow_error *error)
{
    return export_raw_message(directory, false, out, error);
}

static const struct {
    const char *name;
    const char *description;
    bool (*applies)(const struct flow *flow, const char **problem);
    bool (*append)(struct flowdir *directory, struct buffer *out, struct flow_error *error);
} formats[EXPORT_FORMATS] = {
    [EXPORT_CURL] = {"curl", "a curl command that sends the request", has_request, export_curl},
    [EXPORT_HTTPIE] = {"httpie", "an httpie command that sends the request", has_request,
                       export_httpie},
    [EXPORT_RAW] = {"raw", "request and response as HTTP/1 has them", has_raw, export_raw_both},
    [EXPORT_RAW_REQUEST] = {"raw_request", "the request as HTTP/1 has it", has_raw_request,
                            append_raw_request},
    [EXPORT_RAW_RESPONSE] = {"raw_response", "the response as HTTP/1 has it", has_raw_response,
                             append_raw_response},
};

const char *export_format_name(enum export_format format)
{
    return formats[format].name;
}

const char *export_format_description(enum export_format format)
{
    return formats[format].description;
}

bool export_applies(const struct flow *flow, enum export_format format)
{
    const char *problem;
    return formats[format].applies(flow, &problem);
}

bool export_flow(struct flowdir *directory, enum export_format format, struct buffer *out,
                 struct flow_error *error)
{
    const char *problem;
    size_t before = out->size;
    if (!formats[format].applies(&directory->loaded.flow, &problem)) {
        flow_error_set(error, ENOTSUP, FLOW_ERROR_NO_OFFSET, "no %s: %s", formats[format].name,
                       problem);
        return false;
    }
    if (formats[format].append(directory, out, error) && (!out->failed || flow_error_memory(error)))
        return true;
    out->size = before;
    return false;
}
