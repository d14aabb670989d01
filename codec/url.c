#include "url.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

static bool is_letter(uint8_t byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

static uint8_t lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte + 32) : byte;
}

static struct bytes rest(struct bytes text, size_t from)
{
    return bytes_make(text.data + from, text.size - from);
}

/* The index of `byte` in text, or text.size. */
static size_t find(struct bytes text, uint8_t byte)
{
    const uint8_t *found = text.size ? memchr(text.data, byte, text.size) : NULL;
    return found ? (size_t)(found - text.data) : text.size;
}

static bool is_one_of(struct bytes text, const char *const *names)
{
    for (; *names; names++)
        if (bytes_equal_text(text, *names))
            return true;
    return false;
}

/* A copy in `arena` of what `buffer` holds; the buffer is freed. */
static bool keep(struct arena *arena, struct buffer *buffer, struct bytes *kept)
{
    bool done = !buffer->failed;
    *kept = bytes_make("", 0);
    if (done && buffer->size) {
        *kept = arena_copy(arena, buffer_bytes(buffer));
        done = kept->data != NULL;
    }
    buffer_free(buffer);
    return done;
}

/* Leading control characters and spaces go, tabs and line ends go everywhere (the WHATWG rule that
 * urllib.parse follows). */
static void append_clean(struct buffer *clean, struct bytes text)
{
    while (text.size && text.data[0] <= ' ')
        text = rest(text, 1);
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] != '\t' && text.data[i] != '\r' && text.data[i] != '\n')
            buffer_append_byte(clean, text.data[i]);
}

/* The length of the scheme at the start of text, 0 if there is none. */
static size_t scheme_length(struct bytes text)
{
    size_t colon = find(text, ':');
    if (colon == text.size || colon == 0 || !is_letter(text.data[0]))
        return 0;
    for (size_t i = 0; i < colon; i++) {
        uint8_t byte = text.data[i];
        if (!is_letter(byte) && !is_digit(byte) && byte != '+' && byte != '-' && byte != '.')
            return 0;
    }
    return colon;
}

static uint32_t punycode_digit(uint8_t byte)
{
    return is_digit(byte)    ? (uint32_t)(byte - '0' + 26)
           : is_letter(byte) ? (uint32_t)(lower(byte) - 'a')
                             : 36;
}

/* RFC 3492, 6.1. */
static uint32_t punycode_adapt(uint32_t delta, uint32_t points, bool first)
{
    uint32_t k = 0;
    delta = first ? delta / 700 : delta / 2;
    delta += delta / points;
    for (; delta > 455; k += 36)
        delta /= 35;
    return k + 36 * delta / (delta + 38);
}

static void append_utf8(struct buffer *text, uint32_t point)
{
    if (point < 0x80) {
        buffer_append_byte(text, (uint8_t)point);
    } else if (point < 0x800) {
        buffer_append_byte(text, (uint8_t)(0xC0 | point >> 6));
        buffer_append_byte(text, (uint8_t)(0x80 | (point & 63)));
    } else {
        if (point < 0x10000) {
            buffer_append_byte(text, (uint8_t)(0xE0 | point >> 12));
        } else {
            buffer_append_byte(text, (uint8_t)(0xF0 | point >> 18));
            buffer_append_byte(text, (uint8_t)(0x80 | (point >> 12 & 63)));
        }
        buffer_append_byte(text, (uint8_t)(0x80 | (point >> 6 & 63)));
        buffer_append_byte(text, (uint8_t)(0x80 | (point & 63)));
    }
}

#define LABEL_LIMIT 63 /* RFC 1035, 2.3.4 */

/* Decodes what follows `xn--` (RFC 3492, 6.2); the number of code points, 0 if it is no Punycode.
 */
static size_t punycode_decode(struct bytes text, uint32_t points[LABEL_LIMIT])
{
    size_t count = 0, at = text.size;
    uint32_t point = 128, index = 0, bias = 72;
    if (text.size > LABEL_LIMIT)
        return 0;
    while (at && text.data[at - 1] != '-')
        at--;
    for (size_t i = 0; i + 1 < at; i++)
        points[count++] = lower(text.data[i]);
    while (at < text.size) {
        uint32_t old = index, weight = 1;
        for (uint32_t k = 36;; k += 36) {
            uint32_t digit = at < text.size ? punycode_digit(text.data[at++]) : 36;
            uint32_t threshold = k <= bias ? 1 : k >= bias + 26 ? 26 : k - bias;
            if (digit == 36 || digit > (UINT32_MAX - index) / weight)
                return 0;
            index += digit * weight;
            if (digit < threshold)
                break;
            if (weight > UINT32_MAX / (36 - threshold))
                return 0;
            weight *= 36 - threshold;
        }
        uint32_t length = (uint32_t)count + 1;
        bias = punycode_adapt(index - old, length, old == 0);
        if (index / length > 0x10FFFF - point)
            return 0;
        point += index / length;
        index %= length;
        if ((point >= 0xD800 && point <= 0xDFFF) || count == LABEL_LIMIT)
            return 0;
        memmove(points + index + 1, points + index, (count - index) * sizeof *points);
        points[index++] = point;
        count++;
    }
    return count;
}

/* Appends the host as mitmproxy keeps it: lower case (a zone after `%` excepted), labels in IDNA's
 * ASCII form decoded; a label that cannot be decoded stays. */
void url_append_host(struct buffer *out, struct bytes host)
{
    size_t zone = find(host, '%');
    for (size_t start = 0; start < host.size;) {
        struct bytes label = rest(host, start);
        label.size = find(label, '.');
        struct bytes prefix = bytes_make(label.data, label.size < 4 ? label.size : 4);
        uint32_t points[LABEL_LIMIT];
        size_t count = 0;
        if (bytes_equal_ignoring_case(prefix, "xn--"))
            count = punycode_decode(rest(label, 4), points);
        for (size_t i = 0; i < count; i++)
            append_utf8(out, points[i]);
        for (size_t i = 0; count == 0 && i < label.size; i++)
            buffer_append_byte(out, start + i < zone ? lower(label.data[i]) : label.data[i]);
        start += label.size;
        if (start < host.size)
            buffer_append_byte(out, host.data[start++]);
    }
}

/* An IPv6 address without brackets is no URL, but mitmproxy exports such: all of the text if that
 * is an address, else what stands before its last colon. False if neither is. */
static bool split_bare_ipv6(struct bytes authority, struct bytes *host, struct bytes *port)
{
    char text[INET6_ADDRSTRLEN + 8];
    struct in6_addr address;
    if (authority.size >= sizeof text)
        return false;
    memcpy(text, authority.data, authority.size);
    text[authority.size] = '\0';
    char *colon = strrchr(text, ':');
    *host = authority;
    *port = bytes_make("", 0);
    if (!colon || inet_pton(AF_INET6, text, &address) == 1)
        return colon != NULL;
    *colon = '\0';
    host->size = (size_t)(colon - text);
    *port = rest(authority, host->size + 1);
    return inet_pton(AF_INET6, text, &address) == 1;
}

/* Splits `user@host:port` or `user@[host]:port`. False if it can't be one. */
static bool split_authority(struct bytes authority, struct bytes *host, struct bytes *port)
{
    bool opened = find(authority, '[') < authority.size;
    if (opened != (find(authority, ']') < authority.size))
        return false;
    for (size_t at = find(authority, '@'); at < authority.size; at = find(authority, '@'))
        authority = rest(authority, at + 1);
    size_t bracket = find(authority, '[');
    size_t end = find(authority, bracket < authority.size ? ']' : ':');
    if (bracket < authority.size) {
        if (bracket > 0 || end == authority.size)
            return false;
        *host = bytes_make(authority.data + 1, end - 1);
        end++;
        if (end < authority.size && authority.data[end] != ':')
            return false;
    } else if (split_bare_ipv6(authority, host, port)) {
        return true;
    } else {
        *host = bytes_make(authority.data, end);
    }
    *port = end < authority.size ? rest(authority, end + 1) : bytes_make("", 0);
    return true;
}

/* 0 for no digits at all; false above 65535 or if another character is met. */
static bool parse_port(struct bytes digits, uint16_t *port)
{
    uint32_t number = 0;
    for (size_t i = 0; i < digits.size; i++) {
        if (!is_digit(digits.data[i]))
            return false;
        number = number * 10 + (uint32_t)(digits.data[i] - '0');
        if (number > UINT16_MAX)
            return false;
    }
    *port = (uint16_t)number;
    return true;
}

static void append_escaped(struct buffer *out, struct bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < 0x80)
            buffer_append_byte(out, text.data[i]);
        else
            buffer_printf(out, "%%%02X", text.data[i]);
    }
}

/* Path, query and fragment put together again, as urlunparse does: marks of empty parts go. */
static void append_path(struct buffer *out, struct bytes text, struct bytes scheme, bool has_host)
{
    static const char *const with_parameters[] = {"",    "ftp",  "hdl",  "prospero", "http",
                                                  "sip", "tel",  "rtsp", "rtspu",    "https",
                                                  "mms", "sips", "sftp", "shttp",    NULL};
    struct bytes fragment = rest(text, find(text, '#'));
    text.size -= fragment.size;
    struct bytes query = rest(text, find(text, '?'));
    text.size -= query.size;
    if (is_one_of(scheme, with_parameters) && text.size && text.data[text.size - 1] == ';') {
        size_t segment = text.size;
        while (segment && text.data[segment - 1] != '/')
            segment--;
        if (find(rest(text, segment), ';') == text.size - segment - 1)
            text.size--;
    }
    if (has_host && (!text.size || text.data[0] != '/'))
        buffer_append_byte(out, '/');
    append_escaped(out, text);
    if (query.size > 1)
        append_escaped(out, query);
    if (fragment.size > 1)
        append_escaped(out, fragment);
}

static bool refuse(struct flow_error *error, struct bytes text, const char *what)
{
    int shown = text.size < 100 ? (int)text.size : 100;
    flow_error_set(error, EBADMSG, FLOW_ERROR_NO_OFFSET,
                   "the URL \"%.*s\" %s; expected scheme://host[:port]/path", shown,
                   (const char *)text.data, what);
    return false;
}

/* Fills `url` from text that append_clean has been over. */
static bool parse_clean(struct bytes text, struct arena *arena, struct url *url,
                        struct flow_error *error)
{
    static const char *const needing_host[] = {"http", "https", "ws", "wss", NULL};
    struct buffer scheme = BUFFER_INIT, host = BUFFER_INIT, path = BUFFER_INIT;
    struct bytes name = bytes_make("", 0), port = name, tail = text;
    size_t length = scheme_length(text);
    for (size_t i = 0; i < length; i++)
        buffer_append_byte(&scheme, lower(text.data[i]));
    bool done = keep(arena, &scheme, &url->scheme);
    if (length)
        tail = rest(text, length + 1);
    if (tail.size >= 2 && tail.data[0] == '/' && tail.data[1] == '/') {
        size_t end = 2;
        while (end < tail.size && !strchr("/?#", tail.data[end] ? tail.data[end] : ' '))
            end++;
        if (!split_authority(bytes_make(tail.data + 2, end - 2), &name, &port))
            return refuse(error, text, "has brackets that enclose no host");
        tail = rest(tail, end);
    } else if (!length) {
        return refuse(error, text, "has no scheme and no host");
    }
    if (!name.size && (!length || is_one_of(url->scheme, needing_host)))
        return done ? refuse(error, text, "has no host") : flow_error_memory(error);
    if (!parse_port(port, &url->port))
        return refuse(error, text, "has a port that is no number from 0 to 65535");
    if (name.size && !url->port)
        url->port = bytes_equal_text(url->scheme, "https") || bytes_equal_text(url->scheme, "wss")
                        ? 443
                        : 80;
    url_append_host(&host, name);
    done = keep(arena, &host, &url->host) && done;
    append_path(&path, tail, url->scheme, name.size > 0);
    done = keep(arena, &path, &url->path) && done;
    return done || flow_error_memory(error);
}

bool url_parse(struct bytes text, struct arena *arena, struct url *url, struct flow_error *error)
{
    struct buffer clean = BUFFER_INIT;
    append_clean(&clean, text);
    bool done = clean.failed ? flow_error_memory(error)
                : clean.size ? parse_clean(buffer_bytes(&clean), arena, url, error)
                             : refuse(error, bytes_make("", 0), "is empty");
    buffer_free(&clean);
    return done;
}

void url_append_form_encoded(struct buffer *buffer, struct bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = text.data[i];
        if (is_letter(byte) || is_digit(byte) || byte == '_' || byte == '.' || byte == '-' ||
            byte == '~')
            buffer_append_byte(buffer, byte);
        else if (byte == ' ')
            buffer_append_byte(buffer, '+');
        else
            buffer_printf(buffer, "%%%02X", byte);
    }
}
