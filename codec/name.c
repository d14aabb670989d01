#include "name.h"

#include <inttypes.h>
#include <stdio.h>

#define HASH_MARK_SIZE 18 /* "%~" and 16 hexadecimal digits */

static bool ends_like_a_copy(struct bytes raw, size_t tilde)
{
    size_t i = tilde + 1;
    while (i < raw.size && raw.data[i] >= '0' && raw.data[i] <= '9')
        i++;
    return i == raw.size && i > tilde + 1;
}

/* How many bytes from `at` on can stand as they are: one character, or 0 if it is to be escaped. */
static size_t literal_length(struct bytes raw, size_t at)
{
    uint8_t byte = raw.data[at];
    size_t length = bytes_utf8_length(bytes_make(raw.data + at, raw.size - at));
    bool c1_control = length == 2 && byte == 0xC2 && raw.data[at + 1] < 0xA0;
    if (byte < 0x20 || byte == 0x7F || byte == '/' || byte == '%' || c1_control)
        return 0;
    if (at == 0 && (byte == '.' || byte == '@'))
        return 0;
    if (byte == '~' && ends_like_a_copy(raw, at))
        return 0;
    return length;
}

/* Writes the escaped form until `limit` bytes are reached; returns whether all of it fitted. */
static bool escape(struct name *name, struct bytes raw, size_t limit)
{
    name->size = 0;
    for (size_t at = 0; at < raw.size;) {
        size_t length = literal_length(raw, at);
        size_t needed = length ? length : 3;
        if (name->size + needed > limit)
            return false;
        if (length)
            memcpy(name->text + name->size, raw.data + at, length);
        else
            snprintf(name->text + name->size, 4, "%%%02X", raw.data[at]);
        name->size = (uint16_t)(name->size + needed);
        at += length ? length : 1;
    }
    return true;
}

static size_t make_suffix(char suffix[16], uint32_t copy)
{
    suffix[0] = '\0';
    return copy > 1 ? (size_t)snprintf(suffix, 16, "~%" PRIu32, copy) : 0;
}

static void append(struct name *name, const char *text, size_t size)
{
    memcpy(name->text + name->size, text, size);
    name->size = (uint16_t)(name->size + size);
    name->text[name->size] = '\0';
}

void name_make(struct name *name, struct bytes raw, uint32_t copy)
{
    char suffix[16];
    size_t suffix_size = make_suffix(suffix, copy);
    if (raw.size == 0)
        raw = bytes_of("unknown");
    if (!escape(name, raw, NAME_LONGEST - suffix_size)) {
        char mark[HASH_MARK_SIZE + 1];
        escape(name, raw, NAME_LONGEST - suffix_size - HASH_MARK_SIZE);
        snprintf(mark, sizeof mark, "%%~%016" PRIx64, bytes_hash(raw, 0));
        append(name, mark, HASH_MARK_SIZE);
    }
    append(name, suffix, suffix_size);
}

void name_make_plain(struct name *name, struct bytes raw, uint32_t copy)
{
    char suffix[16];
    size_t suffix_size = make_suffix(suffix, copy);
    name->size = 0;
    append(name, (const char *)raw.data, raw.size);
    append(name, suffix, suffix_size);
}
