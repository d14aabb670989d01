#include "export_message.h"

#include <inttypes.h>
#include <stdio.h>

static bool has_field(const struct flow_message *message, const char *wanted)
{
    struct bytes name, value;
    const struct value *item = message->headers ? message->headers->first : NULL;
    for (; item; item = item->next)
        if (flow_field(item, &name, &value) && bytes_equal_ignoring_case(name, wanted))
            return true;
    return false;
}

static bool contains_chunked(struct bytes coding)
{
    for (size_t i = 0; i + 7 <= coding.size; i++)
        if (bytes_equal_ignoring_case(bytes_make(coding.data + i, 7), "chunked"))
            return true;
    return false;
}

bool export_message_open(struct export_message *exported, struct flowdir *directory, bool request,
                         struct flow_error *error)
{
    const struct flow *flow = &directory->loaded.flow;
    struct flowdir_body *body = request ? &directory->request : &directory->response;
    struct bytes coding;
    *exported = (struct export_message){
        .message = request ? &flow->request : &flow->response,
    };
    if (!flow_fields_get(exported->message->headers, "transfer-encoding", directory->loaded.arena,
                         &coding))
        return flow_error_memory(error);
    exported->chunked = contains_chunked(coding);
    exported->keeps_length = !body->content || !body->content->bytes.size ||
                             has_field(exported->message, "transfer-encoding");
    if (flowdir_read_body(directory, body, false, EXPORT_LONGEST_BODY, &exported->content, error))
        return true;
    export_message_close(exported);
    return false;
}

void export_message_fields(const struct export_message *exported, export_field *field,
                           void *context)
{
    bool told = exported->keeps_length;
    bool decoded = exported->content.size > 0 || !exported->keeps_length;
    struct bytes name, value;
    char length[24];
    snprintf(length, sizeof length, "%zu", exported->content.size);
    const struct value *headers = exported->message->headers;
    for (const struct value *item = headers ? headers->first : NULL; item; item = item->next) {
        if (!flow_field(item, &name, &value) ||
            (decoded && bytes_equal_ignoring_case(name, "content-encoding")))
            continue;
        if (!exported->keeps_length && bytes_equal_ignoring_case(name, "content-length")) {
            if (!told)
                field(context, name, bytes_of(length));
            told = true;
            continue;
        }
        field(context, name, value);
    }
    if (!told)
        field(context, bytes_of("content-length"), bytes_of(length));
}

void export_message_close(struct export_message *exported)
{
    buffer_free(&exported->content);
}
