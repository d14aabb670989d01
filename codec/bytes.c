#include "bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static uint8_t ascii_lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte + 32) : byte;
}

bool bytes_equal_ignoring_case(struct bytes a, const char *text)
{
    for (size_t i = 0; i < a.size; i++)
        if (!text[i] || ascii_lower(a.data[i]) != ascii_lower((uint8_t)text[i]))
            return false;
    return text[a.size] == '\0';
}

struct bytes bytes_trim(struct bytes text)
{
    while (text.size && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text.data++;
        text.size--;
    }
    while (text.size && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t'))
        text.size--;
    return text;
}

size_t bytes_utf8_length(struct bytes text)
{
    if (!text.size)
        return 0;
    uint8_t lead = text.data[0];
    if (lead < 0x80)
        return 1;
    size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4 || text.size < length)
        return 0;
    /* RFC 3629, section 4: four lead bytes narrow what may follow. */
    uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (text.data[1] < low || text.data[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((text.data[i] & 0xC0) != 0x80)
            return 0;
    return length;
}

bool bytes_are_utf8(struct bytes text)
{
    while (text.size) {
        size_t ascii = 0;
        while (ascii < text.size && text.data[ascii] < 0x80)
            ascii++;
        text = bytes_make(text.data + ascii, text.size - ascii);
        if (!text.size)
            break;
        size_t length = bytes_utf8_length(text);
        if (!length)
            return false;
        text.data += length;
        text.size -= length;
    }
    return true;
}

uint64_t bytes_hash(struct bytes text, uint64_t seed)
{
    uint64_t hash = 0xcbf29ce484222325u ^ seed;
    for (size_t i = 0; i < text.size; i++)
        hash = (hash ^ text.data[i]) * 0x100000001b3u;
    hash ^= hash >> 32;
    hash *= 0xd6e8feb86659fd93u;
    return hash ^ (hash >> 29);
}

bool buffer_reserve(struct buffer *buffer, size_t more)
{
    if (buffer->failed)
        return false;
    if (more <= buffer->capacity - buffer->size)
        return true;
    size_t capacity = buffer->capacity ? buffer->capacity : 256;
    while (capacity - buffer->size < more) {
        if (capacity > SIZE_MAX / 2) {
            buffer->failed = true;
            return false;
        }
        capacity *= 2;
    }
    uint8_t *data = realloc(buffer->data, capacity);
    if (!data) {
        buffer->failed = true;
        return false;
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

void buffer_append_slow(struct buffer *buffer, const void *data, size_t size)
{
    if (!buffer_reserve(buffer, size))
        return;
    memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
}

void buffer_append_unsigned(struct buffer *buffer, uint64_t number)
{
    char text[20];
    size_t start = sizeof text;
    do {
        text[--start] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    buffer_append(buffer, text + start, sizeof text - start);
}

void buffer_printf(struct buffer *buffer, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length < 0) {
        buffer->failed = true;
    } else if ((size_t)length < sizeof text) {
        buffer_append(buffer, text, (size_t)length);
    } else if (buffer_reserve(buffer, (size_t)length + 1)) {
        va_start(arguments, format);
        vsnprintf((char *)buffer->data + buffer->size, (size_t)length + 1, format, arguments);
        va_end(arguments);
        buffer->size += (size_t)length;
    }
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer)BUFFER_INIT;
}

static const char base64_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void buffer_append_base64(struct buffer *buffer, struct bytes data)
{
    if (data.size / 3 > SIZE_MAX / 8 || !buffer_reserve(buffer, (data.size + 2) / 3 * 4)) {
        buffer->failed = true;
        return;
    }
    for (size_t i = 0; i < data.size; i += 3) {
        size_t left = data.size - i;
        uint32_t group = (uint32_t)data.data[i] << 16;
        if (left > 1)
            group |= (uint32_t)data.data[i + 1] << 8;
        if (left > 2)
            group |= data.data[i + 2];
        char text[4] = {
            base64_alphabet[group >> 18],
            base64_alphabet[group >> 12 & 63],
            left > 1 ? base64_alphabet[group >> 6 & 63] : '=',
            left > 2 ? base64_alphabet[group & 63] : '=',
        };
        buffer_append(buffer, text, sizeof text);
    }
}

static int base64_digit(uint8_t byte)
{
    if (byte >= 'A' && byte <= 'Z')
        return byte - 'A';
    if (byte >= 'a' && byte <= 'z')
        return byte - 'a' + 26;
    if (byte >= '0' && byte <= '9')
        return byte - '0' + 52;
    return byte == '+' ? 62 : byte == '/' ? 63 : -1;
}

bool buffer_append_base64_decoded(struct buffer *buffer, struct bytes text)
{
    uint32_t group = 0;
    unsigned bits = 0;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = text.data[i];
        if (byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t' || byte == '=')
            continue;
        int digit = base64_digit(byte);
        if (digit < 0)
            return false;
        group = group << 6 | (uint32_t)digit;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            buffer_append_byte(buffer, (uint8_t)(group >> bits));
        }
    }
    return true;
}
