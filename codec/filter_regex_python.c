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

/* UTF-8 with surrogates. */
bool regex_read_character(struct regex_translator *translator, uint32_t *character)
{
    const uint8_t *data = translator->pattern.data + translator->at;
    size_t left = translator->pattern.size - translator->at;
    size_t size = !translator->text || data[0] < 0x80 ? 1
                  : data[0] >= 0xF0                   ? 4
                  : data[0] >= 0xE0                   ? 3
                                                      : 2;
    bool surrogate = size == 3 && left >= 3 && data[0] == 0xED && data[1] >= 0xA0 &&
                     data[1] < 0xC0 && (data[2] & 0xC0) == 0x80;
    if (size > 1 && !surrogate && bytes_utf8_length(bytes_make(data, left)) != size)
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
static int peek(const struct regex_translator *translator)
{
    return translator->at < translator->pattern.size ? translator->pattern.data[translator->at]
                                                     : -1;
}

/* Steps over one of Python's tokens: a backslash goes with what follows. */
static void skip_token(struct regex_translator *translator)
{
    size_t left = translator->pattern.size - translator->at;
    translator->at += translator->pattern.data[translator->at] == '\\' && left > 1 ? 2 : 1;
}

static void write_flags(struct regex_translator *translator, const struct regex_scope *scope)
{
    bool ignore_case = scope->ignore_case && !(translator->text && scope->ascii);
    bool all = ignore_case && scope->multiline && scope->dot_all;
    buffer_printf(translator->out, "(?%s%s%s%s%s%s%s:", ignore_case ? "i" : "",
                  scope->multiline ? "m" : "", scope->dot_all ? "s" : "", all ? "" : "-",
                  ignore_case ? "" : "i", scope->multiline ? "" : "m", scope->dot_all ? "" : "s");
}

static bool group_is_closed(const struct regex_translator *translator, size_t group)
{
    return group < translator->group_count && translator->groups[group].closed;
}

bool regex_check_lookbehind(struct regex_translator *translator, size_t group, size_t at)
{
    if (!translator->lookbehind_groups)
        return true;
    if (!group_is_closed(translator, group))
        return regex_refuse(translator, at, "a reference to a group that is still open");
    if (group >= translator->lookbehind_groups)
        return regex_refuse(translator, at, "a reference to a group of the same look-behind");
    return true;
}

bool regex_write_reference(struct regex_translator *translator, const struct regex_scope *scope,
                           size_t group, size_t at, struct regex_item *item)
{
    if (group >= translator->group_count)
        return regex_refuse(translator, at, "a reference to group %zu, there are %zu so far", group,
                            translator->group_count - 1);
    if (!group_is_closed(translator, group))
        return regex_refuse(translator, at, "a reference to a group that is still open");
    if (!regex_check_lookbehind(translator, group, at))
        return false;
    *item = (struct regex_item){REGEX_ITEM_OTHER, translator->groups[group].width};
    bool fold = translator->text && scope->ascii && scope->ignore_case;
    buffer_printf(translator->out, fold ? "(?i:\\g{%zu})" : "\\g{%zu}", group);
    return true;
}

static bool new_group(struct regex_translator *translator, struct bytes name)
{
    if (translator->group_count == translator->group_capacity) {
        size_t capacity = translator->group_capacity ? translator->group_capacity * 2 : 16;
        struct regex_group *groups =
            realloc(translator->groups, capacity * sizeof *translator->groups);
        if (!groups)
            return flow_error_memory(translator->error);
        translator->groups = groups;
        translator->group_capacity = capacity;
    }
    translator->groups[translator->group_count++] = (struct regex_group){.name = name};
    return true;
}

/* 0: none. */
static size_t group_of_name(const struct regex_translator *translator, struct bytes name)
{
    for (size_t group = 1; group < translator->group_count; group++)
        if (name.size && bytes_equal(translator->groups[group].name, name))
            return group;
    return 0;
}

/* str.isidentifier(). Above ASCII the letters, marks and digits of all scripts are let through
 * without asking for their category. */
static bool is_identifier(struct bytes name, bool text)
{
    for (size_t i = 0; i < name.size; i++) {
        uint8_t byte = name.data[i];
        if (byte < 0x80 ? !isalpha(byte) && byte != '_' && (i == 0 || !isdigit(byte)) : !text)
            return false;
    }
    return name.size > 0;
}
