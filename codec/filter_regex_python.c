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

static bool translate_alternatives(struct regex_translator *translator, struct regex_scope *scope,
                                   bool outermost, struct regex_width *width);
static bool translate_sequence(struct regex_translator *translator, struct regex_scope *scope,
                               bool first, struct regex_width *width);

/* What stands in a group that has been opened, and its end. `opening` is for the error. */
static bool translate_inside(struct regex_translator *translator, const struct regex_scope *scope,
                             size_t opening, struct regex_width *width)
{
    struct regex_scope inner = *scope;
    if (!translate_alternatives(translator, &inner, false, width))
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
    if (!new_group(translator, name))
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
    if (!translate_sequence(translator, scope, false, &yes))
        return false;
    bool has_no = regex_read_if(translator, '|');
    if (has_no) {
        buffer_append_byte(translator->out, '|');
        if (!translate_sequence(translator, scope, false, &no))
            return false;
        if (peek(translator) == '|')
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
    for (*flags = 0; is_flag(peek(translator)); translator->at++) {
        char letter = (char)peek(translator);
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
    while (peek(translator) >= 0 && peek(translator) != ')')
        skip_token(translator);
    return regex_read_if(translator, ')') ||
           regex_refuse(translator, opening, "a comment without end, expected ) behind it");
}

static bool translate_group(struct regex_translator *translator, struct regex_scope *scope,
                            bool first, struct regex_item *item)
{
    size_t opening = translator->at++;
    if (!regex_read_if(translator, '?'))
        return translate_capture(translator, scope, opening, bytes_make(NULL, 0), item);
    int letter = peek(translator);
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
        letter = peek(translator);
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
    for (*number = 0; isdigit(peek(translator)); translator->at++)
        if (*number <= MOST_REPEATS)
            *number = *number * 10 + (uint64_t)(peek(translator) - '0');
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
    if (regex_read_if(translator, '{') && peek(translator) != '}') {
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
    int byte = peek(translator);
    if (byte == '#') {
        while (peek(translator) >= 0 && peek(translator) != '\n')
            skip_token(translator);
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
    switch (peek(translator)) {
    case '\\':
        return regex_translate_escape(translator, scope, item);
    case '[':
        return regex_translate_set(translator, scope, item);
    case '(':
        return translate_group(translator, scope, first, item);
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

static bool translate_sequence(struct regex_translator *translator, struct regex_scope *scope,
                               bool first, struct regex_width *width)
{
    struct regex_item item = {.kind = REGEX_ITEM_NONE};
    *width = (struct regex_width){0, 0};
    while (peek(translator) >= 0 && peek(translator) != '|' && peek(translator) != ')') {
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

static bool translate_alternatives(struct regex_translator *translator, struct regex_scope *scope,
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
        if (!translate_sequence(translator, scope, outermost && first, &one))
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
    bool done = check_last_backslash(&translator) && new_group(&translator, bytes_make(NULL, 0)) &&
                translate_alternatives(&translator, &scope, true, &width) && check_end(&translator);
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
