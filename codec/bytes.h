/* Spans of bytes that belong to somebody else, and a buffer that grows.
 *
 * A span is passed by value and never freed. A buffer's failure is said once: after an allocation
 * has failed every further append does nothing, and `failed` tells it at the end. */
#ifndef FLOWFS_CODEC_BYTES_H
#define FLOWFS_CODEC_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    const uint8_t *data;
    size_t size;
};

/* The bytes of a C string, without its NUL. */
static inline struct bytes bytes_of(const char *text)
{
    return (struct bytes){(const uint8_t *)text, strlen(text)};
}

static inline struct bytes bytes_make(const void *data, size_t size)
{
    return (struct bytes){data, size};
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline bool bytes_equal_text(struct bytes a, const char *text)
{
    return bytes_equal(a, bytes_of(text));
}

/* ASCII letters compare without case (RFC 9110, 5.1: field names). */
bool bytes_equal_ignoring_case(struct bytes a, const char *text);

/* Without the spaces and tabs at both ends (RFC 9110, 5.6.3: optional white space). */
struct bytes bytes_trim(struct bytes text);

/* Whether the bytes are UTF-8 as RFC 3629 has it: no surrogates, no overlong forms. */
bool bytes_are_utf8(struct bytes text);

/* The length of the UTF-8 sequence that starts at text.data, or 0 if there is none. */
size_t bytes_utf8_length(struct bytes text);

/* FNV-1a with a final mix; for hash tables and made-up ids, not against an attacker. */
uint64_t bytes_hash(struct bytes text, uint64_t seed);

struct buffer {
    uint8_t *data;
    size_t size;
    size_t capacity;
    bool failed; /* an allocation failed; the content is not complete */
};

#define BUFFER_INIT                                                                                \
    {                                                                                              \
        NULL, 0, 0, false                                                                          \
    }

/* Makes room for `more` bytes; false (and `failed`) if there is no memory. */
bool buffer_reserve(struct buffer *buffer, size_t more);

void buffer_append_slow(struct buffer *buffer, const void *data, size_t size);

static inline void buffer_append(struct buffer *buffer, const void *data, size_t size)
{
    if (size && size <= buffer->capacity - buffer->size) {
        memcpy(buffer->data + buffer->size, data, size);
        buffer->size += size;
    } else if (size) {
        buffer_append_slow(buffer, data, size);
    }
}

static inline void buffer_append_byte(struct buffer *buffer, uint8_t byte)
{
    buffer_append(buffer, &byte, 1);
}

static inline void buffer_append_bytes(struct buffer *buffer, struct bytes text)
{
    buffer_append(buffer, text.data, text.size);
}

static inline void buffer_append_text(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, text, strlen(text));
}

/* Appends the number in decimal. */
void buffer_append_unsigned(struct buffer *buffer, uint64_t number);

void buffer_printf(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static inline struct bytes buffer_bytes(const struct buffer *buffer)
{
    return (struct bytes){buffer->data, buffer->size};
}

/* Frees the content and makes the buffer empty again; harmless on an empty one. */
void buffer_free(struct buffer *buffer);

/* Appends the base64 form (RFC 4648, section 4, padded). */
void buffer_append_base64(struct buffer *buffer, struct bytes data);

/* Appends what base64 text stands for. White space is skipped; padding may be missing. False if
 * another character is met (what came before it has been appended). */
bool buffer_append_base64_decoded(struct buffer *buffer, struct bytes text);

#endif
