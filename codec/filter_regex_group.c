#include "filter_regex_translate.h"

#include <ctype.h>
#include <stdlib.h>

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

bool regex_new_group(struct regex_translator *translator, struct bytes name)
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

/* Reads a name up to `end`, which is read too; *at is where it starts. */
static bool read_name(struct regex_translator *translator, char end, struct bytes *name, size_t *at)
{
    const struct bytes *pattern = &translator->pattern;
    *at = translator->at;
    const uint8_t *start = pattern->data + *at;
    const uint8_t *stop = pattern->size > *at ? memchr(start, end, pattern->size - *at) : NULL;
    if (!stop)
        return regex_refuse(translator, *at, "a group name without end, expected %c behind it",
                            end);
    *name = bytes_make(start, (size_t)(stop - start));
    translator->at += name->size + 1;
    return true;
}

static bool refuse_name(struct regex_translator *translator, size_t at)
{
    return regex_refuse(translator, at, "expected a group name of letters, digits and underscores");
}

static bool translate_named_reference(struct regex_translator *translator,
                                      const struct regex_scope *scope, struct regex_item *item)
{
    struct bytes name;
    size_t at;
    if (!read_name(translator, ')', &name, &at))
        return false;
    if (!is_identifier(name, translator->text))
        return refuse_name(translator, at);
    size_t group = group_of_name(translator, name);
    if (!group)
        return regex_refuse(translator, at, "a reference to a group that is not there: %.*s",
                            (int)(name.size < 60 ? name.size : 60), (const char *)name.data);
    return regex_write_reference(translator, scope, group, at, item);
}

/* What stands in a group that has been opened, and its end. `opening` is for the error. */
static bool translate_inside(struct regex_translator *translator, const struct regex_scope *scope,
                             size_t opening, struct regex_width *width)
{
    struct regex_scope inner = *scope;
    if (!regex_translate_alternatives(translator, &inner, false, width))
        return false;
    if (!regex_read_if(translator, ')'))
        return regex_refuse(translator, opening, "a group without end, expected ) behind it");
    buffer_append_byte(translator->out, ')');
    return true;
}

static bool translate_capture(struct regex_translator *translator, const struct regex_scope *scope,
                              size_t opening, struct bytes name, struct regex_item *item)
{
    size_t group = translator->group_count;
    if (!regex_new_group(translator, name))
        return false;
    buffer_append_byte(translator->out, '(');
    *item = (struct regex_item){.kind = REGEX_ITEM_OTHER};
    if (!translate_inside(translator, scope, opening, &item->width))
        return false;
    translator->groups[group].width = item->width;
    translator->groups[group].closed = true;
    return true;
}

static bool translate_named_group(struct regex_translator *translator,
                                  const struct regex_scope *scope, size_t opening,
                                  struct regex_item *item)
{
    struct bytes name;
    size_t at;
    if (regex_read_if(translator, '='))
        return translate_named_reference(translator, scope, item);
    if (!regex_read_if(translator, '<'))
        return regex_refuse(translator, opening,
                            "an unknown group, expected (?P<name>…) or (?P=name)");
    if (!read_name(translator, '>', &name, &at))
        return false;
    if (!is_identifier(name, translator->text))
        return refuse_name(translator, at);
    if (group_of_name(translator, name))
        return regex_refuse(translator, at, "a second group of the name %.*s",
                            (int)(name.size < 60 ? name.size : 60), (const char *)name.data);
    return translate_capture(translator, scope, opening, name, item);
}

static bool translate_look(struct regex_translator *translator, const struct regex_scope *scope,
                           size_t opening, bool behind, bool negated, struct regex_item *item)
{
    struct regex_width width;
    size_t outer_groups = translator->lookbehind_groups;
    translator->unlike_start |= !behind && !negated;
    if (behind && !outer_groups)
        translator->lookbehind_groups = translator->group_count;
    buffer_printf(translator->out, "(?%s%c", behind ? "<" : "", negated ? '!' : '=');
    if (!translate_inside(translator, scope, opening, &width))
        return false;
    translator->lookbehind_groups = outer_groups;
    if (behind && width.low != width.high)
        return regex_refuse(translator, opening,
                            "a look-behind of varying width, expected one fixed width");
    *item = (struct regex_item){REGEX_ITEM_LOOK, {0, 0}};
    return true;
}

/* The group that (?(…) asks for, by name or number; 0 after an error. */
static size_t read_condition(struct regex_translator *translator)
{
    struct bytes name;
    size_t at;
    size_t group = 0;
    if (!read_name(translator, ')', &name, &at))
        return 0;
    if (is_identifier(name, translator->text)) {
        group = group_of_name(translator, name);
        if (!group)
            regex_refuse(translator, at, "a condition on a group that is not there");
        return group;
    }
    for (size_t i = 0; i < name.size; i++) {
        if (!isdigit(name.data[i]))
            return refuse_name(translator, at);
        if (group <= UINT16_MAX)
            group = group * 10 + (size_t)(name.data[i] - '0');
    }
    if (!group)
        regex_refuse(translator, at, "expected the name or number of a group");
    if (group > translator->condition) {
        translator->condition = group;
        translator->condition_at = at;
    }
    return group;
}

static bool translate_condition(struct regex_translator *translator, struct regex_scope *scope,
                                size_t opening, struct regex_item *item)
{
    struct regex_width yes, no = {0, 0};
    size_t at = translator->at;
    size_t group = read_condition(translator);
    if (!group || !regex_check_lookbehind(translator, group, at))
        return false;
    buffer_printf(translator->out, "(?(%zu)", group);
    if (!regex_translate_sequence(translator, scope, false, &yes))
        return false;
    bool has_no = regex_read_if(translator, '|');
    if (has_no) {
        buffer_append_byte(translator->out, '|');
        if (!regex_translate_sequence(translator, scope, false, &no))
            return false;
        if (regex_peek(translator) == '|')
            return regex_refuse(translator, translator->at,
                                "a third branch of a condition, expected at most two");
    }
    if (!regex_read_if(translator, ')'))
        return regex_refuse(translator, opening, "a condition without end, expected ) behind it");
    buffer_append_byte(translator->out, ')');
    item->kind = REGEX_ITEM_OTHER;
    item->width.low = yes.low < no.low ? yes.low : no.low;
    item->width.high = yes.high > no.high ? yes.high : no.high;
    return true;
}

#define FLAG_LETTERS "iLmsxau"
#define TYPE_FLAGS (1u << 1 | 1u << 5 | 1u << 6)

static bool is_flag(int letter)
{
    return letter > 0 && strchr(FLAG_LETTERS, letter);
}

/* Reads letters of flags until another character, which is left; which ones, as a set of bits in
 * the order of FLAG_LETTERS. */
static bool read_flags(struct regex_translator *translator, bool on, unsigned *flags)
{
    static const char types[] = "Lau";
    char type = 0;
    for (*flags = 0; is_flag(regex_peek(translator)); translator->at++) {
        char letter = (char)regex_peek(translator);
        if (strchr(types, letter)) {
            if (!on || letter == (translator->text ? 'L' : 'u') || (type && type != letter))
                return regex_refuse(translator, translator->at, "the flag %c is not allowed here",
                                    letter);
            type = letter;
        }
        *flags |= 1u << (strchr(FLAG_LETTERS, letter) - FLAG_LETTERS);
    }
    return true;
}

static void apply_flags(struct regex_scope *scope, unsigned on, unsigned off)
{
    bool *const members[] = {&scope->ignore_case, NULL, &scope->multiline, &scope->dot_all,
                             &scope->verbose};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        if (members[i] && on & 1u << i)
            *members[i] = true;
        if (members[i] && off & 1u << i)
            *members[i] = false;
    }
    if (on & 1u << 5)
        scope->ascii = true;
    if (on & 1u << 6)
        scope->ascii = false;
}

/* (?flags) or (?flags-flags:…); the question mark is read. */
static bool translate_flags(struct regex_translator *translator, struct regex_scope *scope,
                            size_t opening, bool first, struct regex_item *item)
{
    unsigned on, off = 0;
    size_t at = translator->at;
    if (!read_flags(translator, true, &on))
        return false;
    if (on && regex_read_if(translator, ')')) {
        if (!first)
            return regex_refuse(translator, opening,
                                "flags for all of the expression, expected them at its start");
        /* These exclude each other also if they stand in two groups. */
        translator->types |= on & TYPE_FLAGS;
        if (translator->types & (translator->types - 1))
            return regex_refuse(translator, at, "the flags a, L and u exclude each other");
        apply_flags(scope, on, 0);
        return true;
    }
    if (regex_read_if(translator, '-')) {
        if (!read_flags(translator, false, &off))
            return false;
        if (!off)
            return regex_refuse(translator, translator->at, "expected a flag behind -");
    }
    if (!regex_read_if(translator, ':'))
        return regex_refuse(
            translator, translator->at,
            "an unknown flag or group, expected flags (i, m, s, x, a, u) and : or )");
    if (on & off)
        return regex_refuse(translator, at, "a flag that is turned on and off");
    struct regex_scope inner = *scope;
    apply_flags(&inner, on, off);
    write_flags(translator, &inner);
    item->kind = REGEX_ITEM_OTHER;
    return translate_inside(translator, &inner, opening, &item->width);
}

static bool skip_comment(struct regex_translator *translator, size_t opening)
{
    while (regex_peek(translator) >= 0 && regex_peek(translator) != ')')
        regex_skip_token(translator);
    return regex_read_if(translator, ')') ||
           regex_refuse(translator, opening, "a comment without end, expected ) behind it");
}

bool regex_translate_group(struct regex_translator *translator, struct regex_scope *scope,
                           bool first, struct regex_item *item)
{
    size_t opening = translator->at++;
    if (!regex_read_if(translator, '?'))
        return translate_capture(translator, scope, opening, bytes_make(NULL, 0), item);
    int letter = regex_peek(translator);
    if (is_flag(letter) || letter == '-')
        return translate_flags(translator, scope, opening, first, item);
    if (letter >= 0)
        translator->at++;
    switch (letter) {
    case 'P':
        return translate_named_group(translator, scope, opening, item);
    case '#':
        return skip_comment(translator, opening);
    case '=':
    case '!':
        return translate_look(translator, scope, opening, false, letter == '!', item);
    case '(':
        return translate_condition(translator, scope, opening, item);
    case ':':
    case '>':
        buffer_printf(translator->out, "(?%c", letter);
        translator->atomic |= letter == '>';
        item->kind = REGEX_ITEM_OTHER;
        return translate_inside(translator, scope, opening, &item->width);
    case '<':
        letter = regex_peek(translator);
        if (letter != '=' && letter != '!')
            break;
        translator->at++;
        return translate_look(translator, scope, opening, true, letter == '!', item);
    default:
        break;
    }
    return regex_refuse(translator, opening,
                        "an unknown kind of group, expected (?:, (?=, (?!, (?<=, (?<!, (?>, (?P<");
}
