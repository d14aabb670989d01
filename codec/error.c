#include "error.h"

#include "bytes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* What was found is quoted, and it may be anything: `?` stands for what would make another line of
 * the message or move a terminal's cursor, and for what is no UTF-8 or was cut in two. */
static void make_plain(char *message)
{
    struct bytes rest = bytes_of(message);
    while (rest.size) {
        size_t length = bytes_utf8_length(rest);
        bool control = rest.data[0] < 0x20 || rest.data[0] == 0x7F ||
                       (length == 2 && rest.data[0] == 0xC2 && rest.data[1] < 0xA0);
        size_t taken = length ? length : 1;
        if (!length || control)
            memset(message, '?', taken);
        message += taken;
        rest = bytes_make(message, rest.size - taken);
    }
}

void flow_error_set(struct flow_error *error, int code, uint64_t offset, const char *format, ...)
{
    if (!error || error->code)
        return;
    error->code = code;
    error->offset = offset;
    error->key_path[0] = '\0';
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    make_plain(error->message);
}

static void prepend(struct flow_error *error, const char *text, size_t length)
{
    /* A path too long for its place keeps its outermost keys, which say which part of the flow. */
    size_t room = sizeof error->key_path - 1;
    if (length > room)
        length = room;
    size_t kept = strlen(error->key_path);
    bool dot = kept && error->key_path[0] != '[';
    if (dot && length < room)
        length++;
    if (kept > room - length)
        kept = room - length;
    memmove(error->key_path + length, error->key_path, kept);
    memcpy(error->key_path, text, dot ? length - 1 : length);
    if (dot && length)
        error->key_path[length - 1] = '.';
    error->key_path[length + kept] = '\0';
}

void flow_error_prepend_key(struct flow_error *error, const char *key)
{
    if (error && error->code)
        prepend(error, key, strlen(key));
}

void flow_error_prepend_index(struct flow_error *error, uint64_t index)
{
    if (!error || !error->code)
        return;
    char text[24];
    int length = snprintf(text, sizeof text, "[%" PRIu64 "]", index);
    prepend(error, text, (size_t)length);
}

bool flow_error_memory(struct flow_error *error)
{
    flow_error_set(error, ENOMEM, FLOW_ERROR_NO_OFFSET, "out of memory");
    return false;
}
