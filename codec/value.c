#include "value.h"

#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static struct value *make(struct arena *arena, enum value_kind kind)
{
    struct value *value = arena_alloc(arena, sizeof *value);
    if (value)
        *value = (struct value){.kind = kind, .offset = VALUE_NO_OFFSET};
    return value;
}

static struct value *make_string(struct arena *arena, enum value_kind kind, struct bytes bytes)
{
    struct value *value = make(arena, kind);
    if (value)
        value->bytes = bytes;
    return value;
}

struct value *value_null(struct arena *arena)
{
    return make(arena, VALUE_NULL);
}

struct value *value_bool(struct arena *arena, bool boolean)
{
    struct value *value = make(arena, VALUE_BOOL);
    if (value)
        value->boolean = boolean;
    return value;
}

struct value *value_int(struct arena *arena, int64_t number)
{
    char text[24];
    size_t at = sizeof text;
    uint64_t rest = number < 0 ? -(uint64_t)number : (uint64_t)number;
    do
        text[--at] = (char)('0' + rest % 10);
    while (rest /= 10);
    if (number < 0)
        text[--at] = '-';
    struct bytes digits = arena_copy(arena, bytes_make(text + at, sizeof text - at));
    return digits.data ? make_string(arena, VALUE_INT, digits) : NULL;
}

struct value *value_float(struct arena *arena, double number)
{
    char text[32];
    struct bytes digits = arena_copy(arena, bytes_make(text, value_format_float(number, text)));
    return digits.data ? make_string(arena, VALUE_FLOAT, digits) : NULL;
}

struct value *value_bytes(struct arena *arena, struct bytes bytes)
{
    return make_string(arena, VALUE_BYTES, bytes);
}

struct value *value_text(struct arena *arena, struct bytes text)
{
    return make_string(arena, VALUE_TEXT, text);
}

struct value *value_list(struct arena *arena)
{
    return make(arena, VALUE_LIST);
}

struct value *value_dict(struct arena *arena)
{
    return make(arena, VALUE_DICT);
}

struct value *value_get(const struct value *dict, const char *key)
{
    if (!value_is(dict, VALUE_DICT))
        return NULL;
    size_t length = strlen(key);
    for (struct value *member = dict->first; member; member = member->next) {
        const struct value *name = member->key;
        if (name->bytes.size == length && value_is_string(name) && name->bytes.data &&
            memcmp(name->bytes.data, key, length) == 0)
            return member;
    }
    return NULL;
}

struct value *value_item(const struct value *list, size_t index)
{
    if (!value_is(list, VALUE_LIST))
        return NULL;
    struct value *item = list->first;
    while (item && index--)
        item = item->next;
    return item;
}

void value_remove(struct value *parent, struct value *child)
{
    *(child->previous ? &child->previous->next : &parent->first) = child->next;
    *(child->next ? &child->next->previous : &parent->last) = child->previous;
    child->next = child->previous = NULL;
    parent->count--;
}

bool value_set(struct arena *arena, struct value *dict, const char *key, struct value *member)
{
    if (!value_is(dict, VALUE_DICT) || !member)
        return false;
    struct value *old = value_get(dict, key);
    if (!old) {
        struct value *name = value_text(arena, bytes_of(key));
        return name && value_append_member(dict, name, member);
    }
    if (old == member)
        return true;
    member->key = old->key;
    member->next = old->next;
    member->previous = old->previous;
    *(old->previous ? &old->previous->next : &dict->first) = member;
    *(old->next ? &old->next->previous : &dict->last) = member;
    old->next = old->previous = NULL;
    return true;
}

struct value *value_pop(struct value *dict, const char *key)
{
    struct value *member = value_get(dict, key);
    if (member)
        value_remove(dict, member);
    return member;
}

bool value_append(struct value *list, struct value *item)
{
    if (!value_is(list, VALUE_LIST) || !item)
        return false;
    value_link_last(list, item);
    return true;
}

bool value_append_member(struct value *dict, struct value *key, struct value *member)
{
    if (!value_is(dict, VALUE_DICT) || !key || !member)
        return false;
    member->key = key;
    value_link_last(dict, member);
    return true;
}

bool value_prepend_member(struct value *dict, struct value *key, struct value *member)
{
    if (!value_is(dict, VALUE_DICT) || !key || !member)
        return false;
    member->key = key;
    value_link_first(dict, member);
    return true;
}

struct value *value_copy(struct arena *arena, const struct value *value)
{
    if (!value)
        return NULL;
    struct value *copy = make(arena, value->kind);
    if (!copy)
        return NULL;
    copy->boolean = value->boolean;
    copy->bytes = value->bytes;
    copy->offset = value->offset;
    for (const struct value *child = value->first; child; child = child->next) {
        struct value *child_copy = value_copy(arena, child);
        bool linked = value->kind == VALUE_DICT
                          ? value_append_member(copy, value_copy(arena, child->key), child_copy)
                          : value_append(copy, child_copy);
        if (!linked)
            return NULL;
    }
    return copy;
}

bool value_is(const struct value *value, enum value_kind kind)
{
    return value && value->kind == kind;
}

bool value_is_null(const struct value *value)
{
    return !value || value->kind == VALUE_NULL;
}

bool value_is_true(const struct value *value)
{
    double number;
    if (!value)
        return false;
    switch (value->kind) {
    case VALUE_NULL:
        return false;
    case VALUE_BOOL:
        return value->boolean;
    case VALUE_INT:
    case VALUE_FLOAT:
        return !value_to_double(value, &number) || number != 0;
    case VALUE_BYTES:
    case VALUE_TEXT:
        return value->bytes.size > 0;
    case VALUE_LIST:
    case VALUE_DICT:
        return value->count > 0;
    }
    return false;
}

bool value_is_string(const struct value *value)
{
    return value && (value->kind == VALUE_BYTES || value->kind == VALUE_TEXT);
}

struct bytes value_string(const struct value *value)
{
    return value_is_string(value) && value->bytes.data ? value->bytes : bytes_make("", 0);
}

/* The digits as a C string; false if they are too many to be a number of use. */
static bool digits_text(const struct value *value, char text[400])
{
    if (value->bytes.size == 0 || value->bytes.size >= 400)
        return false;
    memcpy(text, value->bytes.data, value->bytes.size);
    text[value->bytes.size] = '\0';
    return true;
}

bool value_to_int64(const struct value *value, int64_t *number)
{
    char text[400];
    char *end;
    if (!value)
        return false;
    if (value->kind == VALUE_BOOL) {
        *number = value->boolean;
        return true;
    }
    if (value->kind == VALUE_INT && digits_text(value, text)) {
        errno = 0;
        long long result = strtoll(text, &end, 10);
        *number = result;
        return errno == 0 && *end == '\0';
    }
    double real;
    if (value->kind == VALUE_FLOAT && value_to_double(value, &real) && real >= -9.2e18 &&
        real <= 9.2e18 && real == trunc(real)) {
        *number = (int64_t)real;
        return true;
    }
    return false;
}

/* A plain decimal fraction whose digits are below 2^53: the quotient of two numbers that doubles
 * hold exactly is rounded once, as strtod rounds. False for all other texts. */
bool value_short_decimal(struct bytes digits, double *number)
{
    static const double powers[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};
    uint64_t whole = 0;
    size_t at = 0;
    size_t decimals = 0;
    uint8_t digit;
    if (digits.size == 0 || digits.size > 18)
        return false;
    for (; at < digits.size && (digit = (uint8_t)(digits.data[at] - '0')) < 10; at++)
        whole = whole * 10 + digit;
    if (at && at < digits.size && digits.data[at] == '.') {
        decimals = digits.size - at - 1;
        for (at++; at < digits.size && (digit = (uint8_t)(digits.data[at] - '0')) < 10; at++)
            whole = whole * 10 + digit;
    }
    if (at < digits.size || decimals > 9 || whole >= (uint64_t)1 << 53)
        return false;
    *number = (double)whole / powers[decimals];
    return true;
}

bool value_to_double(const struct value *value, double *number)
{
    char text[400];
    char *end;
    if (!value)
        return false;
    if (value->kind == VALUE_BOOL) {
        *number = value->boolean;
        return true;
    }
    if (value->kind != VALUE_INT && value->kind != VALUE_FLOAT)
        return false;
    if (value_short_decimal(value->bytes, number))
        return true;
    if (!digits_text(value, text))
        return false;
    *number = strtod(text, &end);
    return *end == '\0';
}

/* Raises the last digit by one; false if that carries, where fewer digits would have done. Above a
 * power of two doubles lie twice as far apart as below it, so there the nearest decimal of some
 * length may miss the double while the one above it reads back. */
static bool step_up(char *decimal)
{
    char *last = strchr(decimal, 'e') - 1;
    if (*last == '9')
        return false;
    ++*last;
    return true;
}

/* Takes the zeros at the end of a fraction away. */
static void strip_zeros(char digits[32])
{
    char *mark = strchr(digits, 'e');
    char *end = mark;
    if (!strchr(digits, '.'))
        return;
    while (end[-1] == '0')
        end--;
    end -= end[-1] == '.';
    memmove(end, mark, strlen(mark) + 1);
}

/* The shortest digits that are read as `number` again, in scientific notation. */
static void find_shortest(double number, char shortest[32])
{
    /* Up to 15 digits survive in a double, so where so few are enough, the first 15 are these and
     * zeros; unless it is subnormal, and has fewer bits. */
    int precision = fabs(number) >= DBL_MIN ? DBL_DIG - 1 : 0;
    for (; precision < 17; precision++) {
        snprintf(shortest, 32, "%.*e", precision, number);
        if (strtod(shortest, NULL) == number)
            break;
        if (step_up(shortest) && strtod(shortest, NULL) == number)
            break;
    }
    strip_zeros(shortest);
}

size_t value_format_float(double number, char text[32])
{
    if (isnan(number) || isinf(number)) {
        const char *name = isnan(number) ? "nan" : number > 0 ? "inf" : "-inf";
        return (size_t)snprintf(text, 32, "%s", name);
    }
    char shortest[32];
    find_shortest(number, shortest);
    /* The shortest digits and their exponent are known; Python lays them out plainly from 1e-4 to
     * 1e16 (Python/pystrtod.c, format code 'r'). */
    char *mark = strchr(shortest, 'e');
    int exponent = atoi(mark + 1);
    int digits = (int)(mark - shortest) - (shortest[0] == '-') - (strchr(shortest, '.') != NULL);
    if (exponent < -4 || exponent >= 16) {
        *mark = '\0';
        return (size_t)snprintf(text, 32, "%se%c%02d", shortest, exponent < 0 ? '-' : '+',
                                abs(exponent));
    }
    int decimals = digits - 1 - exponent;
    return (size_t)snprintf(text, 32, "%.*f", decimals > 1 ? decimals : 1, number);
}
