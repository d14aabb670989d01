#include "filter_regex_translate.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Groups within one another; PCRE2 has a limit of 250. */
#define DEEPEST 200

/* PCRE2's limit for a count. */
#define MOST_REPEATS 65535u

bool regex_refuse(struct regex_translator *translator, size_t at, const char *format, ...)
{
    char text[200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    flow_error_set(translator->error, EINVAL, at, "regular expression: %s", text);
    return false;
}

bool regex_read_character(struct regex_translator *translator, uint32_t *character)
{
    const uint8_t *data = translator->pattern.data + translator->at;
    size_t left = translator->pattern.size - translator->at;
    size_t size = !translator->text || data[0] < 0x80 ? 1
                  : data[0] >= 0xF0                   ? 4
                  : data[0] >= 0xE0                   ? 3
                                                      : 2;
    if (size > 1 && bytes_utf8_length(bytes_make(data, left)) != size)
        return regex_refuse(translator, translator->at, "a byte that is no UTF-8");
    *character = size == 1 ? data[0] : data[0] & (0x7Fu >> size);
    for (size_t i = 1; i < size; i++)
        *character = *character << 6 | (data[i] & 0x3Fu);
    translator->at += size;
    return true;
}

bool regex_read_if(struct regex_translator *translator, char byte)
{
    if (translator->at == translator->pattern.size ||
        translator->pattern.data[translator->at] != (uint8_t)byte)
        return false;
    translator->at++;
    return true;
}

/* The next byte, or -1 at the end. */
int regex_peek(const struct regex_translator *translator)
{
    return translator->at < translator->pattern.size ? translator->pattern.data[translator->at]
                                                     : -1;
}

/* Steps over one of Python's tokens: a backslash goes with what follows. */
void regex_skip_token(struct regex_translator *translator)
{
    size_t left = translator->pattern.size - translator->at;
    translator->at += translator->pattern.data[translator->at] == '\\' && left > 1 ? 2 : 1;
}

static uint64_t add_widths(uint64_t a, uint64_t b)
{
    /* Far above all that counts, so that nothing overflows. */
    const uint64_t most = (uint64_t)1 << 48;
    return a + b < most ? a + b : most;
}

static void add_item(struct regex_width *total, const struct regex_item *item)
{
    total->low = add_widths(total->low, item->width.low);
    total->high = add_widths(total->high, item->width.high);
}

/* Reads a number; false if there is none. Numbers too large stay above MOST_REPEATS. */
static bool read_count(struct regex_translator *translator, uint64_t *number)
{
    size_t start = translator->at;
    for (*number = 0; isdigit(regex_peek(translator)); translator->at++)
        if (*number <= MOST_REPEATS)
            *number = *number * 10 + (uint64_t)(regex_peek(translator) - '0');
    return translator->at > start;
}

/* Reads a quantifier. False, and nothing is read, if there is none: a brace that counts nothing
 * stands for itself. */
static bool read_quantifier(struct regex_translator *translator, uint64_t *low, uint64_t *high)
{
    size_t start = translator->at;
    *low = regex_read_if(translator, '+') ? 1 : 0;
    *high = REGEX_ENDLESS;
    if (*low || regex_read_if(translator, '*'))
        return true;
    if (regex_read_if(translator, '?')) {
        *high = 1;
        return true;
    }
    if (regex_read_if(translator, '{') && regex_peek(translator) != '}') {
        bool has_low = read_count(translator, low);
        if (regex_read_if(translator, ',')) {
            if (!read_count(translator, high))
                *high = REGEX_ENDLESS;
        } else if (has_low) {
            *high = *low;
        }
        if (regex_read_if(translator, '}'))
            return true;
    }
    translator->at = start;
    return false;
}

static bool repeat_item(struct regex_translator *translator, size_t at, uint64_t low, uint64_t high,
                        struct regex_item *item)
{
    struct buffer *out = translator->out;
    if (item->kind == REGEX_ITEM_NONE || item->kind == REGEX_ITEM_PLACE)
        return regex_refuse(translator, at,
                            "nothing to repeat, expected what is repeated before it");
    if (item->kind == REGEX_ITEM_REPEAT)
        return regex_refuse(translator, at,
                            "a repetition of a repetition, expected one in a group");
    if (low > MOST_REPEATS || (high > MOST_REPEATS && high != REGEX_ENDLESS))
        return regex_refuse(translator, at, "a count above %u", MOST_REPEATS);
    if (low > high)
        return regex_refuse(translator, at, "counts from more to less");
    size_t start = out->size;
    if (high == REGEX_ENDLESS)
        buffer_printf(out, "{%" PRIu64 ",}", low);
    else
        buffer_printf(out, "{%" PRIu64 ",%" PRIu64 "}", low, high);
    if (regex_read_if(translator, '?'))
        buffer_append_byte(out, '?');
    else if (regex_read_if(translator, '+')) {
        buffer_append_byte(out, '+');
        translator->atomic = true;
    }
    /* To look several times is to look once; PCRE2 has doubts in a look-behind. */
    if (item->kind == REGEX_ITEM_LOOK && low > 0 && !out->failed)
        out->size = start;
    item->kind = REGEX_ITEM_REPEAT;
    item->width.low *= low;
    item->width.high *= high;
    if (item->width.low > (uint64_t)1 << 48)
        item->width.low = (uint64_t)1 << 48;
    if (item->width.high > (uint64_t)1 << 48)
        item->width.high = (uint64_t)1 << 48;
    translator->repeats |= low != high;
    translator->unlike_start |= high == 0;
    return true;
}

/* White space and comments of (?x). */
static bool skip_blank(struct regex_translator *translator)
{
    int byte = regex_peek(translator);
    if (byte == '#') {
        while (regex_peek(translator) >= 0 && regex_peek(translator) != '\n')
            regex_skip_token(translator);
        return true;
    }
    if (byte != ' ' && (byte < '\t' || byte > '\r'))
        return false;
    translator->at++;
    return true;
}

static bool translate_item(struct regex_translator *translator, struct regex_scope *scope,
                           bool first, struct regex_item *item)
{
    uint32_t character;
    switch (regex_peek(translator)) {
    case '\\':
        return regex_translate_escape(translator, scope, item);
    case '[':
        return regex_translate_set(translator, scope, item);
    case '(':
        return regex_translate_group(translator, scope, first, item);
    case '^':
    case '$':
        item->kind = REGEX_ITEM_PLACE;
        buffer_append_byte(translator->out, translator->pattern.data[translator->at++]);
        return true;
    case '.':
        translator->at++;
        buffer_append_byte(translator->out, '.');
        break;
    default:
        if (!regex_read_character(translator, &character))
            return false;
        regex_write_literal(translator, scope, character);
        break;
    }
    *item = (struct regex_item){REGEX_ITEM_OTHER, {1, 1}};
    return true;
}

bool regex_translate_sequence(struct regex_translator *translator, struct regex_scope *scope,
                              bool first, struct regex_width *width)
{
    struct regex_item item = {.kind = REGEX_ITEM_NONE};
    *width = (struct regex_width){0, 0};
    while (regex_peek(translator) >= 0 && regex_peek(translator) != '|' &&
           regex_peek(translator) != ')') {
        uint64_t low, high;
        size_t at = translator->at;
        if (scope->verbose && skip_blank(translator))
            continue;
        if (read_quantifier(translator, &low, &high)) {
            if (!repeat_item(translator, at, low, high, &item))
                return false;
            continue;
        }
        struct regex_item next = {.kind = REGEX_ITEM_NONE};
        if (!translate_item(translator, scope, first && item.kind == REGEX_ITEM_NONE, &next))
            return false;
        if (next.kind == REGEX_ITEM_NONE) /* a comment, flags */
            continue;
        add_item(width, &item);
        item = next;
    }
    add_item(width, &item);
    width->low = width->low < REGEX_ENDLESS - 1 ? width->low : REGEX_ENDLESS - 1;
    width->high = width->high < REGEX_ENDLESS ? width->high : REGEX_ENDLESS;
    return true;
}

bool regex_translate_alternatives(struct regex_translator *translator, struct regex_scope *scope,
                                  bool outermost, struct regex_width *width)
{
    struct regex_width one;
    *width = (struct regex_width){REGEX_ENDLESS - 1, 0};
    if (++translator->depth > DEEPEST)
        return regex_refuse(translator, translator->at,
                            "groups nested too deep, expected at most %d", DEEPEST);
    for (bool first = true; first || regex_read_if(translator, '|'); first = false) {
        if (!first)
            buffer_append_byte(translator->out, '|');
        if (!regex_translate_sequence(translator, scope, outermost && first, &one))
            return false;
        width->low = one.low < width->low ? one.low : width->low;
        width->high = one.high > width->high ? one.high : width->high;
    }
    translator->depth--;
    return true;
}

/* Python reads a backslash together with what follows, wherever it stands. */
static bool check_last_backslash(struct regex_translator *translator)
{
    size_t size = translator->pattern.size;
    size_t count = 0;
    while (count < size && translator->pattern.data[size - 1 - count] == '\\')
        count++;
    return count % 2 == 0 ||
           regex_refuse(translator, size - 1, "a backslash at the end, expected what it escapes");
}

static bool check_end(struct regex_translator *translator)
{
    if (translator->at < translator->pattern.size)
        return regex_refuse(translator, translator->at,
                            "a closing parenthesis that nothing opened");
    if (translator->condition >= translator->group_count)
        return regex_refuse(translator, translator->condition_at,
                            "a condition on group %zu, there are %zu", translator->condition,
                            translator->group_count - 1);
    return true;
}

bool filter_regex_from_python(struct bytes pattern, struct filter_regex_flags flags,
                              struct filter_regex_python *translated, struct flow_error *error)
{
    struct regex_scope scope = {flags.ignore_case, flags.multiline, flags.dot_all, false, false};
    struct regex_width width;
    *translated = (struct filter_regex_python){.pattern = BUFFER_INIT};
    struct regex_translator translator = {
        .pattern = pattern,
        .out = &translated->pattern,
        .text = flags.text,
        .error = error,
    };
    bool done =
        check_last_backslash(&translator) && regex_new_group(&translator, bytes_make(NULL, 0)) &&
        regex_translate_alternatives(&translator, &scope, true, &width) && check_end(&translator);
    free(translator.groups);
    if (done && translated->pattern.failed)
        return flow_error_memory(error);
    translated->flags = (struct filter_regex_flags){
        .text = flags.text,
        .ignore_case = scope.ignore_case && !(flags.text && scope.ascii),
        .multiline = scope.multiline,
        .dot_all = scope.dot_all,
    };
    translated->repeats = translator.repeats;
    translated->atomic = translator.atomic;
    translated->unlike_start = translator.unlike_start;
    return done;
}
