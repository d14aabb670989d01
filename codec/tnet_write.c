#include "tnet.h"

#include <errno.h>

static size_t decimal_digits(size_t number)
{
    size_t digits = 1;
    while (number >= 10) {
        number /= 10;
        digits++;
    }
    return digits;
}

/* The size of the content, without prefix and tag. Each container's is kept for the second walk,
 * which would otherwise measure the inner ones once more at every level. */
static size_t measure(struct value *value);

static size_t measure_element(struct value *value)
{
    size_t size = measure(value);
    return decimal_digits(size) + 1 + size + 1;
}

static size_t measure(struct value *value)
{
    size_t size = 0;
    switch (value->kind) {
    case VALUE_NULL:
        break;
    case VALUE_BOOL:
        size = value->boolean ? 4 : 5;
        break;
    case VALUE_INT:
    case VALUE_FLOAT:
    case VALUE_BYTES:
    case VALUE_TEXT:
        size = value->bytes.size;
        break;
    case VALUE_LIST:
    case VALUE_DICT:
        for (struct value *child = value->first; child; child = child->next)
            size += measure_element(child) +
                    (value->kind == VALUE_DICT ? measure_element(child->key) : 0);
        break;
    }
    value->encoded_size = size;
    return size;
}

static const char tags[] = {
    [VALUE_NULL] = '~',  [VALUE_BOOL] = '!', [VALUE_INT] = '#',  [VALUE_FLOAT] = '^',
    [VALUE_BYTES] = ',', [VALUE_TEXT] = ';', [VALUE_LIST] = ']', [VALUE_DICT] = '}',
};

static bool write_element(struct value *value, struct buffer *out, struct flow_error *error)
{
    buffer_printf(out, "%zu:", value->encoded_size);
    if (value->bytes.size && !value->bytes.data) {
        flow_error_set(error, EINVAL, value->offset, "a long string was not read from the capture");
        return false;
    }
    if (value->kind == VALUE_BOOL)
        buffer_append_text(out, value->boolean ? "true" : "false");
    else
        buffer_append_bytes(out, value->bytes);
    for (struct value *item = value->kind == VALUE_LIST ? value->first : NULL; item;
         item = item->next)
        if (!write_element(item, out, error))
            return false;
    /* mitmproxy builds its output from the end, so a dict's last member comes first. */
    for (struct value *member = value->kind == VALUE_DICT ? value->last : NULL; member;
         member = member->previous)
        if (!write_element(member->key, out, error) || !write_element(member, out, error))
            return false;
    buffer_append_byte(out, (uint8_t)tags[value->kind]);
    return true;
}

bool tnet_write(struct value *value, struct buffer *out, struct flow_error *error)
{
    buffer_reserve(out, measure_element(value));
    if (!write_element(value, out, error))
        return false;
    return !out->failed || flow_error_memory(error);
}
