#include "har_message.h"

#include "body.h"
#include "charset.h"
#include "url.h"

#include <errno.h>
#include <stdlib.h>

bool har_wrong(struct har_reader *reader, const char *key, const json_t *found,
               const char *expected)
{
    flow_error_set(reader->error, EBADMSG, reader->offset, "found %s; expected %s",
                   har_json_kind(found), expected);
    flow_error_prepend_key(reader->error, key);
    return false;
}

struct bytes har_string(struct har_reader *reader, const json_t *string)
{
    struct bytes text = har_json_string(&reader->json, string, reader->arena);
    if (text.data)
        return text;
    reader->no_memory = true;
    return bytes_make("", 0);
}

struct bytes har_keep(struct har_reader *reader, struct buffer *buffer)
{
    struct bytes kept = buffer_bytes(buffer);
    if (buffer->failed) {
        buffer_free(buffer);
        reader->no_memory = true;
    } else if (kept.data && arena_adopt(reader->arena, buffer->data)) {
        return kept;
    } else if (kept.data) {
        reader->no_memory = true;
    }
    return bytes_make("", 0);
}

/* A member of a header field, which should be a string. False with EBADMSG. */
static bool read_part(struct har_reader *reader, const char *key, const json_t *part,
                      struct bytes *text)
{
    *text = bytes_make("", 0);
    if (json_is_string(part)) {
        *text = har_string(reader, part);
    } else if (json_is_number(part) || json_is_boolean(part)) {
        char *written = json_dumps(part, JSON_ENCODE_ANY);
        if (written)
            *text = arena_copy(reader->arena, bytes_of(written));
        reader->no_memory = reader->no_memory || !written || !text->data;
        free(written);
    } else if (part && !json_is_null(part)) {
        return har_wrong(reader, key, part, "a string");
    }
    return true;
}

static bool read_field(struct har_reader *reader, const json_t *item, struct har_field *field)
{
    bool pair = json_is_array(item) && json_array_size(item) >= 2;
    if (!pair && !json_is_object(item)) {
        flow_error_set(reader->error, EBADMSG, reader->offset,
                       "found %s; expected a header as {\"name\": ..., \"value\": ...} or "
                       "[name, value]",
                       json_is_array(item) ? "an array of less than two" : har_json_kind(item));
        return false;
    }
    const json_t *name = pair ? json_array_get(item, 0) : json_object_get(item, "name");
    const json_t *value = pair ? json_array_get(item, 1) : json_object_get(item, "value");
    if (!json_is_string(name))
        return har_wrong(reader, "name", name, "a string");
    return read_part(reader, "name", name, &field->name) &&
           read_part(reader, "value", value, &field->value);
}

bool har_fields_read(struct har_reader *reader, const json_t *list, struct har_fields *fields)
{
    /* Two more than there are: set_field appends content-type and content-length. */
    size_t count = json_array_size(list);
    *fields = (struct har_fields){NULL, 0};
    if (list && !json_is_array(list) && !json_is_null(list)) {
        flow_error_set(reader->error, EBADMSG, reader->offset,
                       "found %s; expected an array of headers", har_json_kind(list));
        return false;
    }
    if (count <= SIZE_MAX / sizeof *fields->items - 2)
        fields->items = arena_alloc(reader->arena, (count + 2) * sizeof *fields->items);
    if (!fields->items)
        return flow_error_memory(reader->error);
    for (; fields->count < count; fields->count++) {
        struct har_field *field = &fields->items[fields->count];
        if (!read_field(reader, json_array_get(list, fields->count), field)) {
            flow_error_prepend_index(reader->error, fields->count);
            return false;
        }
    }
    return true;
}

struct value *har_fields_value(struct har_reader *reader, const struct har_fields *fields)
{
    struct value *list = value_list(reader->arena);
    for (size_t i = 0; i < fields->count; i++) {
        struct value *pair = value_list(reader->arena);
        bool done = value_append(pair, value_bytes(reader->arena, fields->items[i].name)) &&
                    value_append(pair, value_bytes(reader->arena, fields->items[i].value)) &&
                    value_append(list, pair);
        reader->no_memory = reader->no_memory || !done;
    }
    return list;
}

static bool field_is(const struct har_field *field, const char *name)
{
    return bytes_equal_ignoring_case(field->name, name);
}

static bool has_field(const struct har_fields *fields, const char *name)
{
    for (size_t i = 0; i < fields->count; i++)
        if (field_is(&fields->items[i], name))
            return true;
    return false;
}

/* The values of that name joined by ", "; empty if there are none. */
static struct bytes get_field(struct har_reader *reader, const struct har_fields *fields,
                              const char *name)
{
    struct buffer joined = BUFFER_INIT;
    const struct har_field *only = NULL;
    for (size_t i = 0; i < fields->count; i++) {
        if (!field_is(&fields->items[i], name))
            continue;
        if (only && !joined.size)
            buffer_append_bytes(&joined, only->value);
        if (only) {
            buffer_append_text(&joined, ", ");
            buffer_append_bytes(&joined, fields->items[i].value);
        }
        only = &fields->items[i];
    }
    if (joined.data || joined.failed)
        return har_keep(reader, &joined);
    return only ? only->value : bytes_make("", 0);
}

static void remove_fields(struct har_fields *fields, const char *name, size_t from)
{
    size_t kept = from;
    for (size_t i = from; i < fields->count; i++)
        if (!field_is(&fields->items[i], name))
            fields->items[kept++] = fields->items[i];
    fields->count = kept;
}

/* The first field of that name takes the value and the others go; without any, one is appended. */
static void set_field(struct har_fields *fields, const char *name, struct bytes value)
{
    size_t at = 0;
    while (at < fields->count && !field_is(&fields->items[at], name))
        at++;
    if (at == fields->count)
        fields->items[fields->count++].name = bytes_of(name);
    fields->items[at].value = value;
    remove_fields(fields, name, at + 1);
}

static void set_content_length(struct har_reader *reader, struct har_fields *fields, size_t size)
{
    struct buffer digits = BUFFER_INIT;
    if (has_field(fields, "transfer-encoding"))
        return;
    buffer_printf(&digits, "%zu", size);
    set_field(fields, "content-length", har_keep(reader, &digits));
}

/* Python's b64decode skips what is not of the alphabet. */
static struct bytes decode_base64(struct har_reader *reader, struct bytes text)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    struct buffer decoded = BUFFER_INIT, clean = BUFFER_INIT;
    if (!buffer_reserve(&decoded, text.size / 4 * 3 + 3) ||
        buffer_append_base64_decoded(&decoded, text))
        return har_keep(reader, &decoded);
    decoded.size = 0;
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] && strchr(alphabet, text.data[i]))
            buffer_append_byte(&clean, text.data[i]);
    if (clean.failed)
        reader->no_memory = true;
    else
        buffer_append_base64_decoded(&decoded, buffer_bytes(&clean));
    buffer_free(&clean);
    return har_keep(reader, &decoded);
}

static bool is_base64(const json_t *encoding)
{
    return json_is_string(encoding) &&
           bytes_equal_ignoring_case(bytes_of(json_string_value(encoding)), "base64");
}

/* Whether `value`, a Content-Encoding, is one or a list of codings that change the content. */
static bool is_coding(struct bytes value)
{
    return body_is_encoded(value) && body_encoding_is_known(value);
}

/* `type/subtype; ...` with the charset set, as mitmproxy puts it together: type and subtype in
 * lower case, parameters trimmed. */
static struct bytes with_charset_utf8(struct har_reader *reader, struct bytes content_type)
{
    struct buffer out = BUFFER_INIT;
    const uint8_t *end = content_type.data + content_type.size, *at = content_type.data;
    const uint8_t *semicolon = content_type.size ? memchr(at, ';', content_type.size) : NULL;
    const uint8_t *type_end = semicolon ? semicolon : end;
    bool placed = false;
    if (at == type_end || !memchr(at, '/', (size_t)(type_end - at))) {
        at = type_end = end;
        semicolon = NULL;
        buffer_append_text(&out, "text/plain");
    }
    for (; at < type_end; at++)
        buffer_append_byte(&out, *at >= 'A' && *at <= 'Z' ? (uint8_t)(*at | 0x20) : *at);
    while (semicolon) {
        const uint8_t *start = semicolon + 1;
        semicolon = memchr(start, ';', (size_t)(end - start));
        struct bytes clause = bytes_make(start, (size_t)((semicolon ? semicolon : end) - start));
        const uint8_t *equals = clause.size ? memchr(start, '=', clause.size) : NULL;
        if (!equals)
            continue;
        struct bytes name = bytes_trim(bytes_make(start, (size_t)(equals - start)));
        size_t skipped = (size_t)(equals - start) + 1;
        struct bytes value = bytes_trim(bytes_make(equals + 1, clause.size - skipped));
        bool charset = bytes_equal_text(name, "charset");
        if (charset && placed)
            continue;
        placed = placed || charset;
        buffer_append_text(&out, "; ");
        buffer_append_bytes(&out, name);
        buffer_append_byte(&out, '=');
        buffer_append_bytes(&out, charset ? bytes_of("utf-8") : value);
    }
    if (!placed)
        buffer_append_text(&out, "; charset=utf-8");
    return har_keep(reader, &out);
}

static bool params_are_valid(struct har_reader *reader, const json_t *params)
{
    for (size_t i = 0; i < json_array_size(params); i++) {
        const json_t *item = json_array_get(params, i);
        const json_t *name = json_object_get(item, "name");
        const json_t *value = json_object_get(item, "value");
        if (json_is_string(name) && (!value || json_is_string(value) || json_is_null(value)))
            continue;
        flow_error_set(reader->error, EBADMSG, reader->offset,
                       "found %s; expected a parameter with a name and a value that are strings",
                       har_json_kind(item));
        flow_error_prepend_index(reader->error, i);
        flow_error_prepend_key(reader->error, "request.postData.params");
        return false;
    }
    return true;
}

/* The boundary parameter of a multipart/form-data type, without quotes; empty if there is none. */
static struct bytes multipart_boundary(struct bytes type)
{
    static const char multipart[] = "multipart/form-data", key[] = "boundary=";
    struct bytes start = bytes_make(type.data, sizeof multipart - 1);
    if (type.size < start.size || !bytes_equal_ignoring_case(start, multipart))
        return bytes_make("", 0);
    const uint8_t *found = memmem(type.data, type.size, key, sizeof key - 1);
    if (!found)
        return bytes_make("", 0);
    found += sizeof key - 1;
    size_t left = type.size - (size_t)(found - type.data);
    const uint8_t *semicolon = memchr(found, ';', left);
    struct bytes boundary = bytes_make(found, semicolon ? (size_t)(semicolon - found) : left);
    boundary = bytes_trim(boundary);
    if (boundary.size >= 2 && boundary.data[0] == '"')
        boundary = bytes_make(boundary.data + 1, boundary.size - 2);
    return boundary;
}

/* One part of multipart/form-data (RFC 7578). */
static void append_part(struct har_reader *reader, const json_t *param, struct bytes boundary,
                        struct buffer *out)
{
    const json_t *file = json_object_get(param, "fileName");
    const json_t *type = json_object_get(param, "contentType");
    buffer_append_text(out, "--");
    buffer_append_bytes(out, boundary);
    buffer_append_text(out, "\r\nContent-Disposition: form-data; name=\"");
    buffer_append_bytes(out, har_string(reader, json_object_get(param, "name")));
    if (json_is_string(file)) {
        buffer_append_text(out, "\"; filename=\"");
        buffer_append_bytes(out, har_string(reader, file));
    }
    buffer_append_text(out, "\"\r\n");
    if (json_string_length(type)) {
        buffer_append_text(out, "Content-Type: ");
        buffer_append_bytes(out, har_string(reader, type));
        buffer_append_text(out, "\r\n");
    }
    buffer_append_text(out, "\r\n");
    buffer_append_bytes(out, har_string(reader, json_object_get(param, "value")));
    buffer_append_text(out, "\r\n");
}

/* The form that postData.params describes. */
static struct bytes form_of_params(struct har_reader *reader, const json_t *params,
                                   struct bytes type)
{
    struct buffer out = BUFFER_INIT;
    struct bytes boundary = multipart_boundary(type);
    for (size_t i = 0; i < json_array_size(params); i++) {
        const json_t *param = json_array_get(params, i);
        if (boundary.size) {
            append_part(reader, param, boundary, &out);
            continue;
        }
        if (i)
            buffer_append_byte(&out, '&');
        url_append_form_encoded(&out, har_string(reader, json_object_get(param, "name")));
        buffer_append_byte(&out, '=');
        url_append_form_encoded(&out, har_string(reader, json_object_get(param, "value")));
    }
    if (boundary.size && out.size) {
        buffer_append_text(&out, "--");
        buffer_append_bytes(&out, boundary);
        buffer_append_text(&out, "--\r\n");
    }
    return har_keep(reader, &out);
}

/* Text to bytes in the charset that the fields declare; false if they had to be UTF-8 instead. */
static bool encode_text(struct har_reader *reader, struct bytes charset, struct bytes *content)
{
    switch (charset_encode(charset, *content, reader->arena, content)) {
    case CHARSET_DONE:
        return true;
    case CHARSET_NO_MEMORY:
        reader->no_memory = true;
        return true;
    case CHARSET_UNFIT:
        break;
    }
    return false;
}

static bool read_post_data(struct har_reader *reader, const json_t *data, struct har_fields *fields,
                           struct bytes *content)
{
    const json_t *text = json_object_get(data, "text");
    const json_t *params = json_object_get(data, "params");
    struct bytes type = get_field(reader, fields, "content-type");
    if (text && !json_is_string(text) && !json_is_null(text))
        return har_wrong(reader, "request.postData.text", text, "a string");
    if (!json_is_string(text)) {
        if (!params_are_valid(reader, params))
            return false;
        if (!type.size)
            type = har_string(reader, json_object_get(data, "mimeType"));
        *content = form_of_params(reader, params, type);
        return true;
    }
    *content = har_string(reader, text);
    if (is_base64(json_object_get(data, "encoding"))) {
        *content = decode_base64(reader, *content);
        return true;
    }
    if (!encode_text(reader, charset_of_content_type(type), content))
        set_field(fields, "content-type", with_charset_utf8(reader, type));
    return true;
}

bool har_request_body(struct har_reader *reader, const json_t *request, struct har_fields *fields,
                      struct bytes *content)
{
    const json_t *data = json_object_get(request, "postData");
    *content = bytes_make("", 0);
    if (data && !json_is_object(data) && !json_is_null(data))
        return har_wrong(reader, "request.postData", data, "an object");
    if (json_is_object(data) && !read_post_data(reader, data, fields, content))
        return false;
    /* An encoding that does nothing stays with an empty body, since there is nothing to decode. */
    struct bytes coding = get_field(reader, fields, "content-encoding");
    if (content->size || is_coding(coding) || !body_encoding_is_known(coding))
        remove_fields(fields, "content-encoding", 0);
    set_content_length(reader, fields, content->size);
    return true;
}

bool har_response_body(struct har_reader *reader, const json_t *response, struct har_fields *fields,
                       struct bytes *content, bool *known)
{
    const json_t *data = json_object_get(response, "content");
    const json_t *text = json_object_get(data, "text");
    const json_t *encoding = json_object_get(data, "encoding");
    *content = bytes_make("", 0);
    *known = json_is_object(data) && !json_is_null(text);
    if (data && !json_is_object(data) && !json_is_null(data))
        return har_wrong(reader, "response.content", data, "an object");
    if (text && !json_is_string(text) && !json_is_null(text))
        return har_wrong(reader, "response.content.text", text, "a string");
    if (!*known)
        return true;
    *content = har_string(reader, text);
    if (is_base64(encoding)) {
        *content = decode_base64(reader, *content);
    } else {
        struct bytes charset =
            json_string_length(encoding)
                ? har_string(reader, encoding)
                : charset_of_content_type(get_field(reader, fields, "content-type"));
        (void)encode_text(reader, charset, content); /* as UTF-8 it stays */
    }
    struct bytes coding = get_field(reader, fields, "content-encoding");
    if (!body_encoding_is_known(coding) || (!content->size && !is_coding(coding)))
        return true;
    remove_fields(fields, "content-encoding", 0);
    set_content_length(reader, fields, content->size);
    return true;
}
