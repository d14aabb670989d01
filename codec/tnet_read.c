#include "tnet.h"

#include <errno.h>
#include <inttypes.h>

/* Values that are taken from the arena at once. */
#define VALUES_AT_ONCE 32

struct reader {
    struct bytes text;
    uint64_t offset;
    const struct tnet_need *need;
    struct arena *arena;
    struct flow_error *error;
    struct value *spare; /* values that are not used yet */
    size_t spare_count;
};

bool tnet_prefix(struct bytes text, uint64_t offset, struct tnet_element *element,
                 struct flow_error *error)
{
    uint64_t size = 0;
    size_t digits = 0;
    while (digits < text.size && text.data[digits] >= '0' && text.data[digits] <= '9') {
        if (digits == TNET_LENGTH_DIGITS) {
            flow_error_set(error, EBADMSG, offset,
                           "length prefix of more than %d digits, expected a tnetstring",
                           TNET_LENGTH_DIGITS);
            return false;
        }
        size = size * 10 + (uint64_t)(text.data[digits] - '0');
        digits++;
    }
    if (digits == text.size) {
        flow_error_set(error, EAGAIN, offset + digits, "the text ends inside a length prefix");
        return false;
    }
    if (digits == 0 || text.data[digits] != ':') {
        uint8_t found = text.data[digits];
        flow_error_set(error, EBADMSG, offset + digits,
                       found >= 0x20 && found < 0x7F
                           ? "found '%c', expected a length such as \"12:\""
                           : "found byte 0x%02x, expected a length such as \"12:\"",
                       found);
        return false;
    }
    element->content = digits + 1;
    element->size = size;
    return true;
}

static bool need_bytes(const struct tnet_need *need, size_t from, size_t size,
                       struct flow_error *error)
{
    return !need || need->need(need->context, from, size, error);
}

bool tnet_element(struct bytes text, size_t from, size_t end, uint64_t offset,
                  const struct tnet_need *need, struct tnet_element *element,
                  struct flow_error *error)
{
    size_t room = end - from;
    size_t prefix = room < TNET_LENGTH_DIGITS + 1 ? room : TNET_LENGTH_DIGITS + 1;
    if (!need_bytes(need, from, prefix, error))
        return false;
    struct flow_error prefix_error = {0};
    if (!tnet_prefix(bytes_make(text.data + from, prefix), offset + from, element, &prefix_error)) {
        /* Inside a container the end is known, so a prefix that meets it is broken. */
        flow_error_set(error, EBADMSG, prefix_error.offset, "%s", prefix_error.message);
        return false;
    }
    if (element->size >= room - element->content) {
        flow_error_set(error, EBADMSG, offset + from,
                       "length %" PRIu64 " but only %zu bytes are left in what holds it",
                       element->size, room - element->content);
        return false;
    }
    size_t tag = from + element->content + (size_t)element->size;
    if (!need_bytes(need, tag, 1, error))
        return false;
    element->type = (char)text.data[tag];
    return true;
}

bool tnet_is_integer(struct bytes text)
{
    size_t i = text.size && (text.data[0] == '-' || text.data[0] == '+');
    if (i == text.size)
        return false;
    for (; i < text.size; i++)
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
    return true;
}

/* What Python's float() takes and repr() writes: decimal notation, inf and nan. */
bool tnet_is_float(struct bytes text)
{
    size_t start = 0;
    while (start < text.size && text.data[start] >= '0' && text.data[start] <= '9')
        start++;
    if (start && start < text.size && text.data[start] == '.')
        while (++start < text.size && text.data[start] >= '0' && text.data[start] <= '9')
            ;
    if (start && start == text.size)
        return true; /* as nearly all are */
    size_t i = text.size && (text.data[0] == '-' || text.data[0] == '+');
    struct bytes rest = bytes_make(text.data + i, text.size - i);
    if (bytes_equal_ignoring_case(rest, "inf") || bytes_equal_ignoring_case(rest, "nan") ||
        bytes_equal_ignoring_case(rest, "infinity"))
        return true;
    size_t digits = 0;
    bool point = false;
    for (; i < text.size && (text.data[i] == '.' || (text.data[i] >= '0' && text.data[i] <= '9'));
         i++) {
        if (text.data[i] == '.' && point)
            return false;
        point |= text.data[i] == '.';
        digits += text.data[i] != '.';
    }
    if (!digits || i == text.size)
        return digits > 0;
    if (text.data[i] != 'e' && text.data[i] != 'E')
        return false;
    return tnet_is_integer(bytes_make(text.data + i + 1, text.size - i - 1));
}

/* What came from the capture, fit to stand in a message: it may hold line breaks, or orders to a
 * terminal. */
static const char *printable(struct bytes found, char text[48])
{
    size_t length = found.size < 40 ? found.size : 40;
    for (size_t i = 0; i < length; i++)
        text[i] = found.data[i] >= 0x20 && found.data[i] < 0x7F ? (char)found.data[i] : '?';
    text[length] = '\0';
    return text;
}

static struct value *bad_literal(struct reader *reader, size_t at, const char *expected,
                                 struct bytes found)
{
    char text[48];
    flow_error_set(reader->error, EBADMSG, reader->offset + at, "found \"%s\", expected %s",
                   printable(found, text), expected);
    return NULL;
}

static bool take_values(struct reader *reader)
{
    reader->spare = arena_alloc(reader->arena, VALUES_AT_ONCE * sizeof *reader->spare);
    reader->spare_count = reader->spare ? VALUES_AT_ONCE : 0;
    return reader->spare || flow_error_memory(reader->error);
}

static inline struct value *make(struct reader *reader, enum value_kind kind)
{
    if (reader->spare_count == 0 && !take_values(reader))
        return NULL;
    struct value *value = reader->spare++;
    reader->spare_count--;
    *value = (struct value){.kind = kind, .offset = VALUE_NO_OFFSET};
    return value;
}

static inline struct value *make_scalar(struct reader *reader, enum value_kind kind,
                                        struct bytes content, size_t at)
{
    struct value *value = make(reader, kind);
    if (value) {
        value->bytes = content;
        value->offset = reader->offset + at;
    }
    return value;
}

static inline struct value *read_string(struct reader *reader, enum value_kind kind, size_t at,
                                        size_t size)
{
    const struct tnet_need *need = reader->need;
    struct bytes content = bytes_make(reader->text.data + at, size);
    if (need && size > need->long_string)
        content.data = NULL;
    else if (!need_bytes(need, at, size, reader->error))
        return NULL;
    return make_scalar(reader, kind, content, at);
}

static struct value *read_number(struct reader *reader, enum value_kind kind, size_t at,
                                 size_t size)
{
    struct bytes content = bytes_make(reader->text.data + at, size);
    if (!need_bytes(reader->need, at, size, reader->error))
        return NULL;
    if (kind == VALUE_INT ? !tnet_is_integer(content) : !tnet_is_float(content))
        return bad_literal(reader, at, kind == VALUE_INT ? "an integer" : "a float", content);
    return make_scalar(reader, kind, content, at);
}

static struct value *read_constant(struct reader *reader, char type, size_t at, size_t size)
{
    struct bytes content = bytes_make(reader->text.data + at, size);
    struct value *value;
    if (!need_bytes(reader->need, at, size < 6 ? size : 6, reader->error))
        return NULL;
    bool is_true = type == '!' && bytes_equal_text(content, "true");
    if (type == '~' ? size != 0 : !is_true && !bytes_equal_text(content, "false"))
        return bad_literal(reader, at, type == '~' ? "nothing before '~'" : "true or false",
                           bytes_make(content.data, size < 6 ? size : 6));
    value = make(reader, type == '~' ? VALUE_NULL : VALUE_BOOL);
    if (value)
        value->boolean = is_true;
    return value;
}

/* As tnet_element. This runs hundreds of times a flow: what is sound and in memory takes the short
 * way, all else is tnet_element's to judge. */
static inline bool find_element(const struct reader *reader, size_t from, size_t end,
                                struct tnet_element *element)
{
    const uint8_t *text = reader->text.data + from;
    size_t room = reader->need ? 0 : end - from;
    size_t size = 0;
    size_t at = 0;
    uint8_t digit;
    for (; at < room && (digit = (uint8_t)(text[at] - '0')) < 10; at++)
        size = size * 10 + digit;
    if (at - 1 < TNET_LENGTH_DIGITS && at < room && text[at] == ':' && size < room - at - 1) {
        *element = (struct tnet_element){
            .content = at + 1, .size = size, .type = (char)text[at + 1 + size]};
        return true;
    }
    return tnet_element(reader->text, from, end, reader->offset, reader->need, element,
                        reader->error);
}

static struct value *read_element(struct reader *reader, size_t *from, size_t end, unsigned depth);

static bool read_member(struct reader *reader, struct value *dict, size_t *at, size_t end,
                        unsigned depth)
{
    struct value *key = read_element(reader, at, end, depth);
    if (!key)
        return false;
    if (!value_is_string(key) || !key->bytes.data) {
        flow_error_set(reader->error, EBADMSG, reader->offset + *at,
                       "a dict's key is no short string");
        return false;
    }
    struct value *member = read_element(reader, at, end, depth);
    if (!member) {
        char name[48];
        flow_error_prepend_key(reader->error, printable(key->bytes, name));
        return false;
    }
    member->key = key;
    value_link_first(dict, member);
    return true;
}

static struct value *read_container(struct reader *reader, char type, size_t at, size_t end,
                                    unsigned depth)
{
    struct value *value = make(reader, type == ']' ? VALUE_LIST : VALUE_DICT);
    if (!value)
        return NULL;
    if (depth == TNET_DEPTH_LIMIT) {
        flow_error_set(reader->error, EFBIG, reader->offset + at, "nested deeper than %d levels",
                       TNET_DEPTH_LIMIT);
        return NULL;
    }
    while (at < end) {
        if (type == '}') {
            if (!read_member(reader, value, &at, end, depth + 1))
                return NULL;
            continue;
        }
        struct value *item = read_element(reader, &at, end, depth + 1);
        if (!item) {
            flow_error_prepend_index(reader->error, value->count);
            return NULL;
        }
        value_link_last(value, item);
    }
    return value;
}

/* Reads the element at *from and moves *from behind it. */
static struct value *read_element(struct reader *reader, size_t *from, size_t end, unsigned depth)
{
    struct tnet_element element;
    if (!find_element(reader, *from, end, &element))
        return NULL;
    size_t at = *from + element.content;
    size_t size = (size_t)element.size;
    *from = at + size + 1;
    switch (element.type) {
    case ',':
        return read_string(reader, VALUE_BYTES, at, size);
    case ';':
        return read_string(reader, VALUE_TEXT, at, size);
    case '#':
        return read_number(reader, VALUE_INT, at, size);
    case '^':
        return read_number(reader, VALUE_FLOAT, at, size);
    case '!':
    case '~':
        return read_constant(reader, element.type, at, size);
    case ']':
    case '}':
        return read_container(reader, element.type, at, at + size, depth);
    default:
        flow_error_set(reader->error, EBADMSG, reader->offset + at + size,
                       "type tag 0x%02x, expected one of , ; # ^ ! ~ ] }",
                       (unsigned)(uint8_t)element.type);
        return NULL;
    }
}

struct value *tnet_read(struct bytes text, uint64_t offset, const struct tnet_need *need,
                        struct arena *arena, struct flow_error *error)
{
    struct reader reader = {
        .text = text, .offset = offset, .need = need, .arena = arena, .error = error};
    size_t from = 0;
    if (text.size == 0) {
        flow_error_set(error, EBADMSG, offset, "found nothing, expected a tnetstring");
        return NULL;
    }
    struct value *value = read_element(&reader, &from, text.size, 0);
    if (value && from != text.size) {
        flow_error_set(error, EBADMSG, offset + from, "%zu bytes behind the tnetstring",
                       text.size - from);
        return NULL;
    }
    return value;
}
