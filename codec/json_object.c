#include "json_object.h"

struct json_object json_object_open(struct buffer *out, unsigned indent)
{
    buffer_append_byte(out, '{');
    return (struct json_object){out, indent, false};
}

void json_object_close(struct json_object *object)
{
    if (object->any)
        json_append_line(object->out, object->indent);
    buffer_append_byte(object->out, '}');
}

static void start_member(struct json_object *object)
{
    if (object->any)
        buffer_append_byte(object->out, ',');
    object->any = true;
    json_append_line(object->out, object->indent + 1);
}

void json_add_key(struct json_object *object, const char *key)
{
    start_member(object);
    buffer_append_byte(object->out, '"');
    buffer_append_text(object->out, key);
    buffer_append_text(object->out, "\": ");
}

void json_add_escaped_key(struct json_object *object, struct bytes key)
{
    start_member(object);
    json_append_string(object->out, key);
    buffer_append_text(object->out, ": ");
}

void json_add_string(struct json_object *object, const char *key, struct bytes text)
{
    json_add_key(object, key);
    json_append_string(object->out, text);
}

void json_add_string_or_null(struct json_object *object, const char *key, struct bytes text)
{
    json_add_key(object, key);
    if (text.size)
        json_append_string(object->out, text);
    else
        buffer_append_text(object->out, "null");
}

void json_append_integer_or_null(struct buffer *out, bool known, int64_t number)
{
    if (!known) {
        buffer_append_text(out, "null");
        return;
    }
    if (number < 0)
        buffer_append_byte(out, '-');
    buffer_append_unsigned(out, number < 0 ? -(uint64_t)number : (uint64_t)number);
}

void json_add_integer(struct json_object *object, const char *key, int64_t number)
{
    json_add_key(object, key);
    json_append_integer_or_null(object->out, true, number);
}

void json_add_size(struct json_object *object, const char *key, uint64_t size)
{
    json_add_key(object, key);
    buffer_append_unsigned(object->out, size);
}
