#include "json_text.h"

#include <math.h>
#include <stdlib.h>

static bool is_plain(uint8_t byte)
{
    return byte >= 0x20 && byte < 0x7F && byte != '"' && byte != '\\';
}

static void append_escape(struct buffer *out, uint8_t byte)
{
    static const char *const short_forms[] = {
        ['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n",  ['\f'] = "\\f",
        ['\r'] = "\\r", ['"'] = "\\\"", ['\\'] = "\\\\",
    };
    if (byte < sizeof short_forms / sizeof *short_forms && short_forms[byte])
        buffer_append_text(out, short_forms[byte]);
    else
        buffer_printf(out, "\\u%04x", byte);
}

void json_append_escaped(struct buffer *out, struct bytes text)
{
    for (size_t i = 0; i < text.size;) {
        size_t plain = i;
        while (plain < text.size && is_plain(text.data[plain]))
            plain++;
        buffer_append(out, text.data + i, plain - i);
        i = plain;
        if (i == text.size)
            break;
        size_t length = bytes_utf8_length(bytes_make(text.data + i, text.size - i));
        if (length > 1)
            buffer_append(out, text.data + i, length);
        else if (length == 1)
            append_escape(out, text.data[i]);
        else
            buffer_append_text(out, "\xEF\xBF\xBD");
        i += length ? length : 1;
    }
}

void json_append_string(struct buffer *out, struct bytes text)
{
    buffer_append_byte(out, '"');
    json_append_escaped(out, text);
    buffer_append_byte(out, '"');
}

void json_append_line(struct buffer *out, unsigned indent)
{
    static const char spaces[] = "\n                                ";
    unsigned first = indent < 16 ? indent : 16;
    buffer_append(out, spaces, 1 + 2 * (size_t)first);
    for (unsigned i = first; i < indent; i++)
        buffer_append(out, "  ", 2);
}

static void append_tagged(struct buffer *out, const char *tag, struct bytes text, bool base64)
{
    buffer_append_text(out, "{\"");
    buffer_append_text(out, tag);
    buffer_append_text(out, "\": ");
    if (base64) {
        buffer_append_byte(out, '"');
        buffer_append_base64(out, text);
        buffer_append_byte(out, '"');
    } else {
        json_append_string(out, text);
    }
    buffer_append_byte(out, '}');
}

/* UTF-8 without controls other than tab and line ends. */
static bool is_readable(struct bytes text)
{
    while (text.size) {
        size_t plain = 0;
        while (plain < text.size && text.data[plain] >= 0x20 && text.data[plain] < 0x7F)
            plain++;
        text = bytes_make(text.data + plain, text.size - plain);
        if (!text.size)
            break;
        uint8_t byte = text.data[0];
        size_t length = bytes_utf8_length(text);
        if (!length || byte == 0x7F ||
            (byte < 0x20 && byte != '\t' && byte != '\r' && byte != '\n'))
            return false;
        text = bytes_make(text.data + length, text.size - length);
    }
    return true;
}

/* JSON readers agree on integers of up to 18 digits, and mitmproxy writes no leading zeros. */
static bool is_canonical_integer(struct bytes digits)
{
    size_t sign = digits.size && digits.data[0] == '-';
    size_t count = digits.size - sign;
    if (count == 0 || count > 18 || digits.data[0] == '+')
        return false;
    return digits.data[sign] != '0' || digits.size == 1;
}

/* A decimal fraction as K / 10^decimals, if it is laid out as repr() lays out numbers of its size
 * and is short enough for the arithmetic below. */
static bool parse_fraction(struct bytes digits, uint64_t *k, unsigned *decimals)
{
    size_t at = digits.data[0] == '-';
    size_t start = at;
    *k = 0;
    for (; at < digits.size && digits.data[at] >= '0' && digits.data[at] <= '9'; at++)
        *k = *k * 10 + (uint64_t)(digits.data[at] - '0');
    if (at == start || at == digits.size || digits.data[at] != '.' || digits.data[start] == '0')
        return false;
    size_t point = at++;
    for (; at < digits.size && digits.data[at] >= '0' && digits.data[at] <= '9'; at++)
        *k = *k * 10 + (uint64_t)(digits.data[at] - '0');
    *decimals = (unsigned)(at - point - 1);
    return at == digits.size && *decimals >= 1 && *decimals <= 9;
}

__extension__ typedef __int128 wide;

static wide distance(wide a, wide b)
{
    return a > b ? a - b : b - a;
}

/* Whether repr() writes the double `number` as k / 10^decimals, in exact arithmetic: number is
 * mantissa / 2^shift, no shorter fraction lies within half a unit of the mantissa, and none of the
 * same length lies closer. Returns 1 yes, 0 no, -1 not told. A flow has a dozen timestamps, and
 * formatting each to compare would take longer than all else that is done for it. */
static int is_shortest(double number, uint64_t k, unsigned decimals)
{
    static const uint64_t powers[] = {1,      10,      100,      1000,      10000,
                                      100000, 1000000, 10000000, 100000000, 1000000000};
    int exponent;
    wide mantissa = (wide)ldexp(frexp(number, &exponent), 53);
    if (exponent < 1 || exponent > 52 || k >= 100000000000000000u)
        return -1;
    wide scale = (wide)1 << (53 - exponent);
    wide exact = mantissa * (wide)powers[decimals];
    if (decimals == 1 && k % 10 == 0)
        return (wide)k * scale == exact;
    if (k % 10 == 0)
        return 0;
    wide step = scale * 10;
    wide shorter = (exact + step / 2) / step * step;
    wide half_unit = (wide)powers[decimals];
    if (distance(shorter, exact) * 2 == half_unit || distance((wide)k * scale, exact) * 2 == scale)
        return -1;
    return distance(shorter, exact) * 2 > half_unit && distance((wide)k * scale, exact) * 2 < scale;
}

static bool is_canonical_float(struct bytes digits)
{
    char text[32], again[32];
    uint64_t k;
    unsigned decimals;
    if (digits.size >= sizeof text || !memchr("-0123456789", digits.data[0], 11) ||
        (digits.data[0] == '-' && (digits.size < 2 || digits.data[1] == 'i')))
        return false;
    memcpy(text, digits.data, digits.size);
    text[digits.size] = '\0';
    double number = strtod(text, NULL);
    int told = digits.size <= 19 && parse_fraction(digits, &k, &decimals)
                   ? is_shortest(fabs(number), k, decimals)
                   : -1;
    if (told >= 0)
        return told;
    size_t length = value_format_float(number, again);
    return length == digits.size && memcmp(text, again, length) == 0;
}

bool json_is_tag(struct bytes key)
{
    static const char *const tags[] = {"bytes", "base64", "text_base64", "int", "float", "dict"};
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        if (bytes_equal_text(key, tags[i]))
            return true;
    return false;
}

bool json_is_plain_dict(const struct value *dict)
{
    if (dict->count > JSON_PLAIN_MEMBERS)
        return false;
    for (const struct value *member = dict->first; member; member = member->next) {
        if (member->key->kind != VALUE_TEXT ||
            (member->key->bytes.size && !member->key->bytes.data) ||
            !bytes_are_utf8(member->key->bytes))
            return false;
        for (const struct value *earlier = dict->first; earlier != member; earlier = earlier->next)
            if (bytes_equal(earlier->key->bytes, member->key->bytes))
                return false;
    }
    return true;
}

/* Whether what is shown of the dict would be taken for a tagged object. */
static bool looks_tagged(const struct value *dict)
{
    const struct value *only = NULL;
    for (const struct value *member = dict->first; member; member = member->next) {
        if (member->elsewhere)
            continue;
        if (only)
            return false;
        only = member;
    }
    return only && json_is_tag(only->key->bytes);
}

static void append_pairs(struct buffer *out, const struct value *dict, unsigned indent)
{
    bool any = false;
    buffer_append_text(out, "{\"dict\": [");
    for (const struct value *member = dict->first; member; member = member->next) {
        if (member->elsewhere)
            continue;
        if (any)
            buffer_append_byte(out, ',');
        any = true;
        json_append_line(out, indent + 1);
        buffer_append_byte(out, '[');
        json_append_value(out, member->key, indent + 1);
        buffer_append_text(out, ", ");
        json_append_value(out, member, indent + 1);
        buffer_append_byte(out, ']');
    }
    buffer_append_text(out, "]}");
}

static void append_dict(struct buffer *out, const struct value *dict, unsigned indent)
{
    bool any = false;
    if (!json_is_plain_dict(dict) || looks_tagged(dict)) {
        append_pairs(out, dict, indent);
        return;
    }
    buffer_append_byte(out, '{');
    for (const struct value *member = dict->first; member; member = member->next) {
        if (member->elsewhere)
            continue;
        if (any)
            buffer_append_byte(out, ',');
        any = true;
        json_append_line(out, indent + 1);
        json_append_string(out, member->key->bytes);
        buffer_append_text(out, ": ");
        json_append_value(out, member, indent + 1);
    }
    if (any)
        json_append_line(out, indent);
    buffer_append_byte(out, '}');
}

/* A list of numbers, strings and the like stands on one line, as a header field does. */
static bool is_flat(const struct value *list)
{
    for (const struct value *item = list->first; item; item = item->next)
        if (item->kind >= VALUE_LIST || item->bytes.size > 120)
            return false;
    return list->count <= 8;
}

static void append_list(struct buffer *out, const struct value *list, unsigned indent)
{
    bool flat = is_flat(list);
    bool any = false;
    buffer_append_byte(out, '[');
    for (const struct value *item = list->first; item; item = item->next) {
        if (item->elsewhere)
            continue;
        if (any)
            buffer_append_text(out, flat ? ", " : ",");
        any = true;
        if (!flat)
            json_append_line(out, indent + 1);
        json_append_value(out, item, indent + 1);
    }
    if (any && !flat)
        json_append_line(out, indent);
    buffer_append_byte(out, ']');
}

void json_append_value(struct buffer *out, const struct value *value, unsigned indent)
{
    struct bytes bytes = value->bytes;
    switch (value->kind) {
    case VALUE_NULL:
        buffer_append_text(out, "null");
        break;
    case VALUE_BOOL:
        buffer_append_text(out, value->boolean ? "true" : "false");
        break;
    case VALUE_INT:
        if (is_canonical_integer(bytes))
            buffer_append_bytes(out, bytes);
        else
            append_tagged(out, "int", bytes, false);
        break;
    case VALUE_FLOAT:
        if (is_canonical_float(bytes))
            buffer_append_bytes(out, bytes);
        else
            append_tagged(out, "float", bytes, false);
        break;
    case VALUE_BYTES:
        if (is_readable(bytes))
            append_tagged(out, "bytes", bytes, false);
        else
            append_tagged(out, "base64", bytes, true);
        break;
    case VALUE_TEXT:
        if (bytes_are_utf8(bytes))
            json_append_string(out, bytes);
        else
            append_tagged(out, "text_base64", bytes, true);
        break;
    case VALUE_LIST:
        append_list(out, value, indent);
        break;
    case VALUE_DICT:
        append_dict(out, value, indent);
        break;
    }
}
