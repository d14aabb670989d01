#include "flowdir_file.h"

#include "body.h"

static const char *const file_names[FLOWDIR_FILES] = {
    [FLOWDIR_SUMMARY] = "summary.json",
    [FLOWDIR_FLOW] = "flow.json",
    [FLOWDIR_REQUEST_HEADERS] = "request.headers",
    [FLOWDIR_REQUEST_BODY] = "request.body",
    [FLOWDIR_REQUEST_BODY_RAW] = "request.body.raw",
    [FLOWDIR_REQUEST_TRAILERS] = "request.trailers",
    [FLOWDIR_RESPONSE_HEADERS] = "response.headers",
    [FLOWDIR_RESPONSE_BODY] = "response.body",
    [FLOWDIR_RESPONSE_BODY_RAW] = "response.body.raw",
    [FLOWDIR_RESPONSE_TRAILERS] = "response.trailers",
    [FLOWDIR_ERROR] = "error",
    [FLOWDIR_QUERY] = "query.json",
    [FLOWDIR_ANSWER] = "answer.json",
};

const char *flowdir_file_name(enum flowdir_file file)
{
    return file_names[file];
}

enum flowdir_file flowdir_file_of_name(struct bytes name)
{
    int file = 0;
    while (file < FLOWDIR_FILES && !bytes_equal_text(name, file_names[file]))
        file++;
    return (enum flowdir_file)file;
}

bool flowdir_has_raw(struct bytes content_encoding)
{
    return body_is_encoded(content_encoding);
}

static bool is_encoded(const struct flow_message *message)
{
    struct bytes name, value;
    const struct value *item = message->headers ? message->headers->first : NULL;
    for (; item; item = item->next)
        if (flow_field(item, &name, &value) &&
            bytes_equal_ignoring_case(name, "content-encoding") && flowdir_has_raw(value))
            return true;
    return false;
}

/* The set for one side, as if it were the request. */
static uint16_t message_files(const struct flow_message *message)
{
    uint16_t files = 0;
    if (message->state)
        files |= flowdir_bit(FLOWDIR_REQUEST_HEADERS);
    bool has_body = message->content && message->content->bytes.size;
    if (has_body)
        files |= flowdir_bit(FLOWDIR_REQUEST_BODY);
    if (has_body && is_encoded(message))
        files |= flowdir_bit(FLOWDIR_REQUEST_BODY_RAW);
    if (message->trailers && message->trailers->count)
        files |= flowdir_bit(FLOWDIR_REQUEST_TRAILERS);
    return files;
}

uint16_t flowdir_files(const struct flow *flow)
{
    const unsigned to_response = FLOWDIR_RESPONSE_HEADERS - FLOWDIR_REQUEST_HEADERS;
    unsigned files = flowdir_bit(FLOWDIR_SUMMARY) | flowdir_bit(FLOWDIR_FLOW) |
                     message_files(&flow->request) |
                     (unsigned)message_files(&flow->response) << to_response;
    if (flow->error)
        files |= flowdir_bit(FLOWDIR_ERROR);
    if (flow->dns_request)
        files |= flowdir_bit(FLOWDIR_QUERY);
    if (flow->dns_response)
        files |= flowdir_bit(FLOWDIR_ANSWER);
    if (flow->messages && flow->messages->count)
        files |= FLOWDIR_MESSAGES_BIT;
    return (uint16_t)files;
}
