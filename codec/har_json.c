#include "har_json.h"

#include <errno.h>
#include <stdlib.h>

#define PARSE_FLAGS (JSON_ALLOW_NUL)

/* The code unit of the escape `\uXXXX` at `text`, -1 if there is none. */
static long escaped_unit(const uint8_t *text, size_t size)
{
    long unit = 0;
    if (size < 6 || text[0] != '\\' || text[1] != 'u')
        return -1;
    for (size_t i = 2; i < 6; i++) {
        uint8_t byte = text[i];
        int digit = byte >= '0' && byte <= '9'   ? byte - '0'
                    : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10
                    : byte >= 'A' && byte <= 'F' ? byte - 'A' + 10
                                                 : -1;
        if (digit < 0)
            return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

static bool is_surrogate(long unit)
{
    return unit >= 0xD800 && unit <= 0xDFFF;
}

static void write_escape(uint8_t *text, unsigned unit)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < 4; i++)
        text[2 + i] = (uint8_t)digits[unit >> (12 - 4 * i) & 15];
}

/* A page of the private use area (U+E000 to U+F8FF) none of whose upper halves appears in the text,
 * written out or escaped; 0 if there is none. */
static unsigned free_page(const uint8_t *text, size_t size)
{
    bool used[256] = {false};
    for (size_t i = 0; i + 2 < size; i++) {
        if (text[i] == '\\') {
            long unit = escaped_unit(text + i, size - i);
            if (unit >= 0)
                used[unit >> 8] = true;
        } else if (text[i] == 0xEE || text[i] == 0xEF) {
            used[(text[i] << 4 | (text[i + 1] >> 2 & 15)) & 255] = true;
        }
    }
    for (unsigned page = 0xE0; page <= 0xF8; page++)
        if (!used[page])
            return page;
    return 0;
}

struct mender {
    uint8_t *text;
    size_t size;
    unsigned page; /* 0 until a raw byte is met */
    bool no_page;
};

/* Mends the escape at `at`; returns its length. */
static size_t mend_escape(struct mender *mender, size_t at)
{
    uint8_t *text = mender->text + at;
    size_t left = mender->size - at;
    long unit = escaped_unit(text, left);
    if (!is_surrogate(unit))
        return unit >= 0 ? 6 : left < 2 ? left : 2;
    long second = left > 6 ? escaped_unit(text + 6, left - 6) : -1;
    if (unit < 0xDC00 && second >= 0xDC00 && second <= 0xDFFF)
        return 12;
    if (unit >= 0xDC80 && unit <= 0xDCFF && !mender->page && !mender->no_page) {
        mender->page = free_page(mender->text, mender->size);
        mender->no_page = !mender->page;
    }
    bool raw = unit >= 0xDC80 && unit <= 0xDCFF && mender->page;
    write_escape(text, raw ? mender->page << 8 | (unsigned)(unit & 0xFF) : 0xFFFD);
    return 6;
}

/* jansson refuses NUL in names, which end before a colon. */
static void mend_name(uint8_t *text, size_t start, size_t end, size_t size)
{
    size_t after = end + 1;
    while (after < size && strchr(" \t\r\n", text[after] ? text[after] : 'x'))
        after++;
    if (after >= size || text[after] != ':')
        return;
    for (size_t i = start; i < end; i += text[i] == '\\' ? 2 : 1)
        if (escaped_unit(text + i, end - i) == 0)
            write_escape(text + i, 0xFFFD);
}

/* Mends the string whose opening quote is at `start`; returns the index after its closing one. */
static size_t mend_string(struct mender *mender, size_t start)
{
    size_t at = start + 1;
    while (at < mender->size && mender->text[at] != '"') {
        uint8_t byte = mender->text[at];
        if (byte == '\\') {
            at += mend_escape(mender, at);
        } else if (byte < 0x20) {
            mender->text[at++] = ' ';
        } else {
            size_t length = bytes_utf8_length(bytes_make(mender->text + at, mender->size - at));
            if (!length)
                mender->text[at] = '?';
            at += length ? length : 1;
        }
    }
    if (at < mender->size)
        mend_name(mender->text, start + 1, at, mender->size);
    return at + 1;
}

static void mend(struct mender *mender)
{
    static const char *const constants[] = {"NaN", "Infinity", "-Infinity"};
    size_t at = 0;
    while (at < mender->size) {
        if (mender->text[at] == '"') {
            at = mend_string(mender, at);
            continue;
        }
        size_t step = 1;
        for (size_t i = 0; i < 3; i++) {
            size_t length = strlen(constants[i]);
            if (length <= mender->size - at &&
                memcmp(mender->text + at, constants[i], length) == 0) {
                memcpy(mender->text + at, "-1       ", length);
                step = length;
                break;
            }
        }
        at += step;
    }
}

/* Whether parsing failed for want of memory: jansson doesn't always say so. */
static bool is_memory(const json_error_t *reason)
{
    return errno == ENOMEM ||
           (reason->line < 0 && json_error_code(reason) != json_error_invalid_argument);
}

/* Parses a mended copy. */
static json_t *parse_mended(struct har_json *json, struct bytes text, json_error_t *reason)
{
    struct mender mender = {.text = malloc(text.size ? text.size : 1), .size = text.size};
    if (!mender.text)
        return NULL;
    memcpy(mender.text, text.data, text.size);
    mend(&mender);
    json_t *root = json_loadb((const char *)mender.text, text.size,
                              PARSE_FLAGS | JSON_DECODE_INT_AS_REAL, reason);
    json->raw_byte_page = mender.page;
    free(mender.text);
    return root;
}

bool har_json_open(struct har_json *json, struct bytes text, uint64_t offset,
                   struct flow_error *error)
{
    json_error_t reason;
    *json = (struct har_json){NULL, 0};
    errno = 0;
    json->root = json_loadb((const char *)text.data, text.size, PARSE_FLAGS, &reason);
    if (!json->root && !is_memory(&reason)) {
        errno = 0;
        json->root = parse_mended(json, text, &reason);
    }
    if (json->root)
        return true;
    if (is_memory(&reason))
        return flow_error_memory(error);
    uint64_t position = reason.position > 0 ? (uint64_t)reason.position : 0;
    flow_error_set(error, EBADMSG, offset + position,
                   "found no valid JSON at line %d, column %d of the entry (%s); expected a HAR "
                   "entry",
                   reason.line, reason.column, reason.text);
    return false;
}

struct bytes har_json_string(const struct har_json *json, const json_t *string, struct arena *arena)
{
    struct bytes text = bytes_make(json_string_value(string), json_string_length(string));
    if (!text.size)
        return bytes_make("", 0);
    if (!json->raw_byte_page)
        return arena_copy(arena, text);
    uint8_t *out = arena_alloc(arena, text.size);
    size_t size = 0;
    /* U+PP80 to U+PPFF in UTF-8, for PP from E0 to F8. */
    uint8_t lead = (uint8_t)(0xE0 | json->raw_byte_page >> 4);
    uint8_t middle = (uint8_t)(0x80 | (json->raw_byte_page & 15) << 2 | 2);
    for (size_t i = 0; out && i < text.size; i++) {
        const uint8_t *at = text.data + i;
        if (text.size - i >= 3 && at[0] == lead && (at[1] & 0xFE) == middle) {
            out[size++] = (uint8_t)((at[1] & 3) << 6 | (at[2] & 63));
            i += 2;
        } else {
            out[size++] = *at;
        }
    }
    return bytes_make(out, size);
}

const char *har_json_kind(const json_t *value)
{
    if (!value)
        return "nothing";
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    case JSON_NULL:
        return "null";
    }
    return "something else";
}

void har_json_close(struct har_json *json)
{
    json_decref(json->root);
    *json = (struct har_json){NULL, 0};
}
