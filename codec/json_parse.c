#include "json_parse.h"

#include "json_text.h"
#include "tnet.h"

#include <errno.h>
#include <stdio.h>

/* A dict told in pairs is an object that holds a list of lists: three levels for one. */
#define NESTING_LIMIT (3 * TNET_DEPTH_LIMIT)

/* A value takes some fifty times the memory of its shortest text: this many take less than a GB. A
 * million WebSocket messages have six millions. */
#define MOST_VALUES ((size_t)8 << 20)

struct parser {
    struct bytes text;
    size_t at;
    size_t values;
    unsigned depth;
    struct arena *arena;
    struct flow_error *error;
};

static struct value *parse_value(struct parser *parser);

/* What stands at `at`, fit to stand in a message. */
static const char *describe(const struct parser *parser, size_t at, char text[32])
{
    if (at >= parser->text.size)
        return "the end of the file";
    uint8_t byte = parser->text.data[at];
    if (byte == '\n' || byte == '\r')
        return "the end of the line";
    if (byte > 0x20 && byte < 0x7F)
        snprintf(text, 32, "`%c`", byte);
    else
        snprintf(text, 32, "the byte 0x%02X", byte);
    return text;
}

static bool fail_at(const struct parser *parser, size_t at, const char *expected)
{
    char found[32];
    flow_error_set(parser->error, EBADMSG, at, "found %s, expected %s", describe(parser, at, found),
                   expected);
    return false;
}

static struct value *made(const struct parser *parser, struct value *value, size_t at)
{
    if (value)
        value->offset = at;
    else
        flow_error_memory(parser->error);
    return value;
}

static bool at_end(const struct parser *parser)
{
    return parser->at == parser->text.size;
}

static bool is_next(const struct parser *parser, char byte)
{
    return !at_end(parser) && parser->text.data[parser->at] == (uint8_t)byte;
}

static bool take(struct parser *parser, char byte)
{
    bool found = is_next(parser, byte);
    parser->at += found;
    return found;
}

static void skip_space(struct parser *parser)
{
    while (is_next(parser, ' ') || is_next(parser, '\n') || is_next(parser, '\t') ||
           is_next(parser, '\r'))
        parser->at++;
}

static bool is_digit_next(const struct parser *parser)
{
    return !at_end(parser) && parser->text.data[parser->at] >= '0' &&
           parser->text.data[parser->at] <= '9';
}

static bool take_digits(struct parser *parser)
{
    if (!is_digit_next(parser))
        return fail_at(parser, parser->at, "a digit");
    while (is_digit_next(parser))
        parser->at++;
    return true;
}

static struct value *parse_number(struct parser *parser)
{
    size_t start = parser->at;
    enum value_kind kind = VALUE_INT;
    take(parser, '-');
    bool zero = take(parser, '0');
    if (!zero && !take_digits(parser))
        return NULL;
    if (zero && is_digit_next(parser)) {
        fail_at(parser, parser->at,
                "no digits behind a leading 0 (an integer written so is {\"int\": \"...\"})");
        return NULL;
    }
    if (take(parser, '.')) {
        kind = VALUE_FLOAT;
        if (!take_digits(parser))
            return NULL;
    }
    if (take(parser, 'e') || take(parser, 'E')) {
        kind = VALUE_FLOAT;
        if (!take(parser, '+'))
            take(parser, '-');
        if (!take_digits(parser))
            return NULL;
    }
    struct bytes digits = bytes_make(parser->text.data + start, parser->at - start);
    struct value *value = made(parser, value_text(parser->arena, digits), start);
    if (value)
        value->kind = kind;
    return value;
}

static int hex_digit(uint8_t byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* The four digits behind `\u`. */
static bool parse_unit(struct parser *parser, uint32_t *unit)
{
    *unit = 0;
    for (int i = 0; i < 4; i++) {
        int digit = at_end(parser) ? -1 : hex_digit(parser->text.data[parser->at]);
        if (digit < 0)
            return fail_at(parser, parser->at, "four hexadecimal digits behind \\u");
        *unit = *unit << 4 | (uint32_t)digit;
        parser->at++;
    }
    return true;
}

static bool fail_surrogate(const struct parser *parser, size_t at)
{
    flow_error_set(parser->error, EBADMSG, at,
                   "found half a surrogate pair, expected both (text that is no Unicode is "
                   "{\"text_base64\": \"...\"})");
    return false;
}

static size_t put_utf8(uint8_t *out, uint32_t point)
{
    if (point < 0x80) {
        out[0] = (uint8_t)point;
        return 1;
    }
    size_t more = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
    static const uint8_t heads[] = {0, 0xC0, 0xE0, 0xF0};
    out[0] = (uint8_t)(heads[more] | point >> 6 * more);
    for (size_t i = 1; i <= more; i++)
        out[i] = (uint8_t)(0x80 | (point >> 6 * (more - i) & 63));
    return more + 1;
}

/* Behind a backslash. What an escape stands for is never longer than the escape. */
static bool parse_escape(struct parser *parser, uint8_t *out, size_t *size)
{
    static const char letters[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    size_t start = parser->at - 1;
    uint32_t unit, low;
    const char *letter = at_end(parser) || is_next(parser, '\0')
                             ? NULL
                             : strchr(letters, parser->text.data[parser->at]);
    if (letter) {
        parser->at++;
        out[(*size)++] = (uint8_t)meanings[letter - letters];
        return true;
    }
    if (!take(parser, 'u'))
        return fail_at(parser, parser->at, "one of \" \\ / b f n r t u behind a backslash");
    if (!parse_unit(parser, &unit))
        return false;
    if (unit >= 0xDC00 && unit < 0xE000)
        return fail_surrogate(parser, start);
    if (unit >= 0xD800 && unit < 0xDC00) {
        if (!take(parser, '\\') || !take(parser, 'u'))
            return fail_surrogate(parser, start);
        if (!parse_unit(parser, &low))
            return false;
        if (low < 0xDC00 || low >= 0xE000)
            return fail_surrogate(parser, start);
        unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
    }
    *size += put_utf8(out + *size, unit);
    return true;
}

/* Moves behind the characters that stand for themselves. */
static bool skip_plain(struct parser *parser)
{
    while (!at_end(parser) && !is_next(parser, '"') && !is_next(parser, '\\')) {
        const uint8_t *next = parser->text.data + parser->at;
        size_t length = bytes_utf8_length(bytes_make(next, parser->text.size - parser->at));
        if (length == 0)
            return fail_at(parser, parser->at,
                           "UTF-8 (bytes that are none are {\"base64\": \"...\"})");
        if (*next < 0x20)
            return fail_at(parser, parser->at, "`\"` (control characters are written \\u00XX)");
        parser->at += length;
    }
    return !at_end(parser) || fail_at(parser, parser->at, "`\"` at the end of the string");
}

/* At the opening quote. */
static bool parse_string(struct parser *parser, struct bytes *string)
{
    size_t start = ++parser->at;
    if (!skip_plain(parser))
        return false;
    *string = bytes_make(parser->text.data + start, parser->at - start);
    if (take(parser, '"'))
        return true;
    /* Not longer than what is left of the text; found by looking for the closing quote. */
    size_t end = parser->at;
    while (end < parser->text.size && parser->text.data[end] != '"')
        end += parser->text.data[end] == '\\' ? 2 : 1;
    uint8_t *out = arena_alloc(parser->arena, end - start + 1);
    size_t size = string->size;
    if (!out)
        return flow_error_memory(parser->error);
    memcpy(out, string->data, size);
    while (!take(parser, '"')) {
        parser->at++;
        if (!parse_escape(parser, out, &size))
            return false;
        size_t plain = parser->at;
        if (!skip_plain(parser))
            return false;
        memcpy(out + size, parser->text.data + plain, parser->at - plain);
        size += parser->at - plain;
    }
    *string = bytes_make(out, size);
    return true;
}

static struct value *parse_text(struct parser *parser)
{
    struct bytes string;
    size_t start = parser->at;
    if (!parse_string(parser, &string))
        return NULL;
    return made(parser, value_text(parser->arena, string), start);
}

static struct value *parse_word(struct parser *parser)
{
    static const char *const words[] = {"null", "false", "true"};
    struct bytes left = bytes_make(parser->text.data + parser->at, parser->text.size - parser->at);
    for (int i = 0; i < 3; i++) {
        size_t length = strlen(words[i]);
        if (left.size < length || memcmp(left.data, words[i], length) != 0)
            continue;
        size_t start = parser->at;
        parser->at += length;
        return made(parser, i == 0 ? value_null(parser->arena) : value_bool(parser->arena, i == 2),
                    start);
    }
    fail_at(parser, parser->at,
            "a value: a string, number, object, list, true, false or null (bytes are {\"bytes\": "
            "\"...\"})");
    return NULL;
}

static struct value *parse_list(struct parser *parser)
{
    struct value *list = made(parser, value_list(parser->arena), parser->at);
    parser->at++;
    skip_space(parser);
    if (!list || take(parser, ']'))
        return list;
    for (;;) {
        struct value *item = parse_value(parser);
        if (!item)
            return NULL;
        value_append(list, item);
        skip_space(parser);
        if (take(parser, ']'))
            return list;
        if (!take(parser, ',')) {
            fail_at(parser, parser->at, "`,` or `]`");
            return NULL;
        }
    }
}

static bool is_new_key(const struct parser *parser, const struct value *dict,
                       const struct value *key)
{
    if (dict->count == JSON_PLAIN_MEMBERS) {
        flow_error_set(parser->error, EBADMSG, key->offset,
                       "found more than %d members, expected so many as {\"dict\": [[key, value], "
                       "...]}",
                       JSON_PLAIN_MEMBERS);
        return false;
    }
    for (const struct value *member = dict->first; member; member = member->next)
        if (bytes_equal(member->key->bytes, key->bytes)) {
            flow_error_set(parser->error, EBADMSG, key->offset,
                           "found a member for the second time, expected each once (else "
                           "{\"dict\": [[key, value], ...]})");
            return false;
        }
    return true;
}

static bool parse_member(struct parser *parser, struct value *dict)
{
    skip_space(parser);
    if (!is_next(parser, '"'))
        return fail_at(parser, parser->at, "a member's name in quotes");
    struct value *key = parse_text(parser);
    if (!key || !is_new_key(parser, dict, key))
        return false;
    skip_space(parser);
    if (!take(parser, ':'))
        return fail_at(parser, parser->at, "`:` behind a member's name");
    struct value *member = parse_value(parser);
    return member && value_append_member(dict, key, member);
}

static struct value *fail_tag(const struct value *tagged, const char *expected,
                              struct flow_error *error)
{
    const char *tag = (const char *)tagged->key->bytes.data;
    flow_error_set(error, EBADMSG, tagged->offset, "found another value, expected %s for \"%.*s\"",
                   expected, (int)tagged->key->bytes.size, tag);
    return NULL;
}

static struct value *decode_base64(struct parser *parser, struct value *string)
{
    struct buffer decoded = BUFFER_INIT;
    bool valid = buffer_append_base64_decoded(&decoded, string->bytes);
    bool kept = !decoded.failed;
    if (valid && kept) {
        string->bytes =
            decoded.size ? arena_copy(parser->arena, buffer_bytes(&decoded)) : bytes_make("", 0);
        kept = string->bytes.data != NULL;
    }
    buffer_free(&decoded);
    if (!kept)
        flow_error_memory(parser->error);
    else if (!valid)
        fail_tag(string, "base64 (RFC 4648)", parser->error);
    return valid && kept ? string : NULL;
}

/* What an object of one member stands for whose name is a tag. */
static struct value *untag(struct parser *parser, struct value *member)
{
    struct bytes tag = member->key->bytes;
    if (bytes_equal_text(tag, "dict"))
        return json_parse_pairs(member, parser->arena, parser->error);
    if (member->kind != VALUE_TEXT)
        return fail_tag(member, "a string", parser->error);
    if (bytes_equal_text(tag, "int")) {
        member->kind = VALUE_INT;
        return tnet_is_integer(member->bytes)
                   ? member
                   : fail_tag(member, "a sign and digits", parser->error);
    }
    if (bytes_equal_text(tag, "float")) {
        member->kind = VALUE_FLOAT;
        return tnet_is_float(member->bytes)
                   ? member
                   : fail_tag(member, "a decimal number, inf or nan", parser->error);
    }
    if (!bytes_equal_text(tag, "text_base64"))
        member->kind = VALUE_BYTES;
    return bytes_equal_text(tag, "bytes") ? member : decode_base64(parser, member);
}

static struct value *parse_object(struct parser *parser)
{
    size_t start = parser->at;
    struct value *dict = made(parser, value_dict(parser->arena), start);
    parser->at++;
    skip_space(parser);
    if (!dict || take(parser, '}'))
        return dict;
    for (;;) {
        if (!parse_member(parser, dict))
            return NULL;
        skip_space(parser);
        if (take(parser, '}'))
            break;
        if (!take(parser, ',')) {
            fail_at(parser, parser->at, "`,` or `}`");
            return NULL;
        }
    }
    if (dict->count > 1 || !json_is_tag(dict->first->key->bytes))
        return dict;
    struct value *untagged = untag(parser, dict->first);
    if (untagged) {
        untagged->key = untagged->next = untagged->previous = NULL;
        untagged->offset = start;
    }
    return untagged;
}

static struct value *parse_value(struct parser *parser)
{
    struct value *value;
    skip_space(parser);
    if (parser->depth == NESTING_LIMIT) {
        flow_error_set(parser->error, EFBIG, parser->at, "found values nested deeper than %d",
                       TNET_DEPTH_LIMIT);
        return NULL;
    }
    if (parser->values++ == MOST_VALUES) {
        flow_error_set(parser->error, EFBIG, parser->at, "found more than %zu values", MOST_VALUES);
        return NULL;
    }
    parser->depth++;
    if (is_next(parser, '{'))
        value = parse_object(parser);
    else if (is_next(parser, '['))
        value = parse_list(parser);
    else if (is_next(parser, '"'))
        value = parse_text(parser);
    else if (is_next(parser, '-') || is_digit_next(parser))
        value = parse_number(parser);
    else
        value = parse_word(parser);
    parser->depth--;
    return value;
}

struct value *json_parse_pairs(struct value *pairs, struct arena *arena, struct flow_error *error)
{
    struct value *dict = value_dict(arena);
    if (!dict) {
        flow_error_memory(error);
        return NULL;
    }
    dict->offset = pairs->offset;
    for (struct value *pair = value_is(pairs, VALUE_LIST) ? pairs->first : NULL; pair;
         pair = pair->next) {
        if (!value_is(pair, VALUE_LIST) || pair->count != 2)
            break;
        struct value *key = pair->first;
        struct value *member = pair->last;
        key->next = member->previous = NULL;
        value_append_member(dict, key, member);
    }
    if (!value_is(pairs, VALUE_LIST) || dict->count < pairs->count) {
        flow_error_set(error, EBADMSG, pairs->offset,
                       "found another value, expected a list of [key, value] for \"dict\"");
        return NULL;
    }
    return dict;
}

static const struct value *find_too_deep(const struct value *value, unsigned depth)
{
    if (value->kind < VALUE_LIST)
        return NULL;
    if (depth == TNET_DEPTH_LIMIT)
        return value;
    const struct value *found = NULL;
    for (const struct value *child = value->first; child && !found; child = child->next) {
        found = find_too_deep(child, depth + 1);
        if (!found && child->key)
            found = find_too_deep(child->key, depth + 1);
    }
    return found;
}

struct value *json_parse(struct bytes text, struct arena *arena, struct flow_error *error)
{
    struct parser parser = {.text = text, .arena = arena, .error = error};
    if (text.size >= 3 && memcmp(text.data, "\xEF\xBB\xBF", 3) == 0)
        parser.at = 3;
    struct value *value = parse_value(&parser);
    if (!value)
        return NULL;
    skip_space(&parser);
    if (!at_end(&parser)) {
        fail_at(&parser, parser.at, "nothing more: the value ends before it");
        return NULL;
    }
    const struct value *deep = find_too_deep(value, 0);
    if (deep) {
        flow_error_set(error, EFBIG, deep->offset, "found values nested deeper than %d",
                       TNET_DEPTH_LIMIT);
        return NULL;
    }
    return value;
}

void json_parse_place(struct bytes text, uint64_t offset, size_t *line, size_t *column)
{
    size_t end = offset < text.size ? (size_t)offset : text.size;
    *line = *column = 1;
    for (size_t i = 0; i < end; i++) {
        *column = text.data[i] == '\n' ? 1 : *column + 1;
        *line += text.data[i] == '\n';
    }
}
