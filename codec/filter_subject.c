#include "filter_subject.h"

#include "flow.h"
#include "url.h"

void filter_append_fields(struct buffer *out, const struct value *fields)
{
    struct bytes name, value;
    for (const struct value *item = fields ? fields->first : NULL; item; item = item->next) {
        if (!flow_field(item, &name, &value))
            continue;
        buffer_append_bytes(out, name);
        buffer_append_text(out, ": ");
        buffer_append_bytes(out, value);
        buffer_append_text(out, "\r\n");
    }
}

/* str.isprintable() for the characters above ASCII that are met at all. */
static bool is_printable(uint32_t character)
{
    static const struct {
        uint32_t first, last;
    } unprintable[] = {
        {0x00, 0x1F},     {0x7F, 0xA0},          {0xAD, 0xAD},     {0x600, 0x605},
        {0x61C, 0x61C},   {0x6DD, 0x6DD},        {0x70F, 0x70F},   {0x1680, 0x1680},
        {0x180E, 0x180E}, {0x2000, 0x200F},      {0x2028, 0x202F}, {0x205F, 0x206F},
        {0x3000, 0x3000}, {0xD800, 0xF8FF},      {0xFEFF, 0xFEFF}, {0xFFF0, 0xFFFB},
        {0xFFFE, 0xFFFF}, {0xE0000, UINT32_MAX},
    };
    for (size_t i = 0; i < sizeof unprintable / sizeof *unprintable; i++)
        if (character >= unprintable[i].first && character <= unprintable[i].last)
            return false;
    return true;
}

static void append_escaped(struct buffer *out, uint32_t character)
{
    if (character == '\n' || character == '\r' || character == '\t')
        buffer_append_text(out, character == '\n' ? "\\n" : character == '\r' ? "\\r" : "\\t");
    else if (character < 0x100)
        buffer_printf(out, "\\x%02x", (unsigned)character);
    else
        buffer_printf(out, character < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)character);
}

/* Python's repr() of str, or of bytes without the b. */
static void append_repr(struct buffer *out, struct bytes text, bool is_text)
{
    bool single = text.size && memchr(text.data, '\'', text.size);
    bool twofold = text.size && memchr(text.data, '"', text.size);
    uint8_t quote = single && !twofold ? '"' : '\'';
    buffer_append_byte(out, quote);
    for (size_t i = 0, length; i < text.size; i += length) {
        const uint8_t *data = text.data + i;
        uint32_t character = data[0];
        length = is_text ? bytes_utf8_length(bytes_make(data, text.size - i)) : 1;
        if (length > 1) {
            character &= 0x7Fu >> length;
            for (size_t k = 1; k < length; k++)
                character = character << 6 | (data[k] & 0x3Fu);
        } else if (length == 0) {
            character += 0xDC00; /* as a surrogate, which surrogateescape makes of it */
            length = 1;
        }
        if (character == quote || character == '\\')
            buffer_printf(out, "\\%c", (int)character);
        else if (!is_printable(character) || (!is_text && character >= 0x7F))
            append_escaped(out, character);
        else
            buffer_append(out, data, length);
    }
    buffer_append_byte(out, quote);
}

/* Python's repr(), and str() for what is no string. */
static void append_value(struct buffer *out, const struct value *value)
{
    switch (value->kind) {
    case VALUE_NULL:
        buffer_append_text(out, "None");
        break;
    case VALUE_BOOL:
        buffer_append_text(out, value->boolean ? "True" : "False");
        break;
    case VALUE_INT:
    case VALUE_FLOAT:
        buffer_append_bytes(out, value->bytes);
        break;
    case VALUE_BYTES:
        buffer_append_byte(out, 'b');
        append_repr(out, value_string(value), false);
        break;
    case VALUE_TEXT:
        append_repr(out, value_string(value), true);
        break;
    case VALUE_LIST:
    case VALUE_DICT:
        buffer_append_byte(out, value->kind == VALUE_LIST ? '[' : '{');
        for (const struct value *item = value->first; item; item = item->next) {
            if (item != value->first)
                buffer_append_text(out, ", ");
            if (value->kind == VALUE_DICT && item->key) {
                append_value(out, item->key);
                buffer_append_text(out, ": ");
            }
            append_value(out, item);
        }
        buffer_append_byte(out, value->kind == VALUE_LIST ? ']' : '}');
        break;
    }
}

/* Python's str(). */
static void append_text(struct buffer *out, const struct value *value)
{
    if (value_is(value, VALUE_TEXT))
        buffer_append_bytes(out, value_string(value));
    else if (value)
        append_value(out, value);
}

void filter_append_metadata(struct buffer *out, const struct value *metadata)
{
    if (!value_is(metadata, VALUE_DICT))
        return;
    for (const struct value *item = metadata->first; item; item = item->next) {
        if (item != metadata->first)
            buffer_append_byte(out, '\n');
        append_text(out, item->key);
        buffer_append_text(out, ": ");
        append_text(out, item);
    }
}

bool filter_append_address(struct buffer *out, const struct value *address)
{
    if (!value_is(address, VALUE_LIST) || address->count < 2)
        return false;
    append_text(out, address->first);
    buffer_append_byte(out, ':');
    append_text(out, address->first->next);
    return true;
}

bool filter_first_question(const struct value *message, struct bytes *name)
{
    const struct value *question = value_item(value_get(message, "questions"), 0);
    if (!value_is(question, VALUE_DICT))
        return false;
    *name = value_string(value_get(question, "name"));
    return true;
}

enum dns_type {
    DNS_A = 1,
    DNS_NS = 2,
    DNS_CNAME = 5,
    DNS_PTR = 12,
    DNS_TXT = 16,
    DNS_AAAA = 28,
    DNS_HTTPS = 65,
};

/* A name without compression (RFC 1035, 3.1); moves *data behind it. False if it is none. */
static bool append_name(struct buffer *out, struct bytes *data)
{
    for (bool first = true;; first = false) {
        if (data->size == 0 || data->data[0] >= 64 || data->size <= data->data[0])
            return false;
        size_t size = data->data[0];
        struct bytes label = bytes_make(data->data + 1, size);
        *data = bytes_make(data->data + 1 + size, data->size - 1 - size);
        if (size == 0)
            return true;
        for (size_t i = 0; i < size; i++)
            if (label.data[i] >= 0x80)
                return false;
        if (!first)
            buffer_append_byte(out, '.');
        if (flow_target_is_idna(label))
            url_append_host(out, label);
        else
            buffer_append_bytes(out, label);
    }
}

/* RFC 5952 but for addresses that hold one of IPv4, which Python writes like all others. */
static void append_ipv6(struct buffer *out, const uint8_t address[16])
{
    unsigned groups[8];
    size_t best = 0, longest = 1;
    for (size_t i = 0; i < 8; i++)
        groups[i] = (unsigned)address[2 * i] << 8 | address[2 * i + 1];
    for (size_t i = 0; i < 8; i++) {
        size_t length = 0;
        while (i + length < 8 && groups[i + length] == 0)
            length++;
        if (length > longest) {
            longest = length;
            best = i;
        }
    }
    for (size_t i = 0; i < 8; i++) {
        if (longest > 1 && i == best) {
            buffer_append_text(out, "::");
            i += longest - 1;
            continue;
        }
        if (i && !(longest > 1 && i == best + longest))
            buffer_append_byte(out, ':');
        buffer_printf(out, "%x", groups[i]);
    }
}

static unsigned read_16(const uint8_t *data)
{
    return (unsigned)data[0] << 8 | data[1];
}

/* A parameter's value as mitmproxy shows bytes, and that as Python shows text. */
static void append_parameter(struct buffer *out, struct bytes value)
{
    struct buffer shown = BUFFER_INIT;
    for (size_t i = 0; i < value.size; i++) {
        uint32_t character = value.data[i];
        if (character == '\\')
            buffer_append_text(&shown, "\\\\");
        else if (character < ' ' || character >= 0x7F)
            append_escaped(&shown, character);
        else
            buffer_append_byte(&shown, (uint8_t)character);
    }
    append_repr(out, buffer_bytes(&shown), true);
    out->failed |= shown.failed;
    buffer_free(&shown);
}

/* An HTTPS record (RFC 9460), as a Python dict. */
static bool append_https(struct buffer *out, struct bytes data)
{
    static const char *const keys[] = {"mandatory", "alpn", "no_default_alpn", "port",
                                       "ipv4hint",  "ech",  "ipv6hint"};
    if (data.size < 2)
        return false;
    int16_t priority = (int16_t)read_16(data.data);
    struct buffer name = BUFFER_INIT;
    data = bytes_make(data.data + 2, data.size - 2);
    bool valid = append_name(&name, &data);
    buffer_append_text(out, "{'target_name': ");
    append_repr(out, buffer_bytes(&name), true);
    buffer_printf(out, ", 'priority': %d", priority);
    out->failed |= name.failed;
    buffer_free(&name);
    while (valid && data.size) {
        if (data.size < 4 || data.size - 4 < read_16(data.data + 2))
            return false;
        unsigned key = read_16(data.data);
        size_t size = read_16(data.data + 2);
        if (key < sizeof keys / sizeof *keys)
            buffer_printf(out, ", '%s': ", keys[key]);
        else
            buffer_printf(out, ", %u: ", key);
        append_parameter(out, bytes_make(data.data + 4, size));
        data = bytes_make(data.data + 4 + size, data.size - 4 - size);
    }
    buffer_append_byte(out, '}');
    return valid;
}

static const char *dns_type_name(int64_t type)
{
    switch (type) {
    case DNS_A:
        return "A";
    case DNS_NS:
        return "NS";
    case DNS_CNAME:
        return "CNAME";
    case DNS_PTR:
        return "PTR";
    case DNS_TXT:
        return "TXT";
    case DNS_AAAA:
        return "AAAA";
    case DNS_HTTPS:
        return "HTTPS";
    default:
        return NULL;
    }
}

/* Data that its type makes readable; false if it is not what the type says. */
static bool append_typed_data(struct buffer *out, int64_t type, struct bytes data)
{
    switch (type) {
    case DNS_A:
        if (data.size == 4)
            buffer_printf(out, "%d.%d.%d.%d", data.data[0], data.data[1], data.data[2],
                          data.data[3]);
        return data.size == 4;
    case DNS_AAAA:
        if (data.size == 16)
            append_ipv6(out, data.data);
        return data.size == 16;
    case DNS_TXT:
        buffer_append_bytes(out, data);
        return bytes_are_utf8(data);
    case DNS_HTTPS:
        return append_https(out, data);
    default:
        return append_name(out, &data) && data.size == 0;
    }
}

static void append_record(struct buffer *out, const struct value *record)
{
    int64_t type = 0;
    struct bytes data = value_string(value_get(record, "data"));
    value_to_int64(value_get(record, "type"), &type);
    const char *name = dns_type_name(type);
    size_t start = out->size;
    if (name && append_typed_data(out, type, data))
        return;
    if (!out->failed)
        out->size = start;
    buffer_append_text(out, "0x");
    for (size_t i = 0; i < data.size; i++)
        buffer_printf(out, "%02x", data.data[i]);
    if (name)
        buffer_printf(out, " (invalid %s data)", name);
}

void filter_append_dns(struct buffer *out, const struct value *message)
{
    static const char *const sections[] = {"questions", "answers", "authorities", "additionals"};
    bool first = true;
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        const struct value *list = value_get(message, sections[i]);
        for (const struct value *item = list ? list->first : NULL; item; item = item->next) {
            if (!first)
                buffer_append_text(out, "\r\n");
            first = false;
            if (i == 0)
                buffer_append_bytes(out, value_string(value_get(item, "name")));
            else
                append_record(out, item);
        }
    }
}
