#include "har_cookie.h"

#include "json_text.h"
#include "timestamp.h"

#include <stdlib.h>
#include <time.h>

void har_append_string(struct buffer *out, struct bytes text)
{
    buffer_append_byte(out, '"');
    while (text.size) {
        size_t valid = 0;
        size_t length;
        while (valid < text.size &&
               (length = bytes_utf8_length(bytes_make(text.data + valid, text.size - valid))))
            valid += length;
        json_append_escaped(out, bytes_make(text.data, valid));
        text = bytes_make(text.data + valid, text.size - valid);
        if (text.size) {
            buffer_printf(out, "\\udc%02x", text.data[0]);
            text = bytes_make(text.data + 1, text.size - 1);
        }
    }
    buffer_append_byte(out, '"');
}

struct list {
    struct buffer *out;
    bool any;
};

static void list_next(struct list *list)
{
    buffer_append_text(list->out, list->any ? ", " : "");
    list->any = true;
}

static void append_pair(struct list *list, struct bytes name, struct bytes value)
{
    list_next(list);
    buffer_append_text(list->out, "{\"name\": ");
    har_append_string(list->out, name);
    buffer_append_text(list->out, ", \"value\": ");
    har_append_string(list->out, value);
    buffer_append_byte(list->out, '}');
}

void har_append_fields(struct buffer *out, const struct value *headers)
{
    struct list list = {out, false};
    struct bytes name, value;
    buffer_append_byte(out, '[');
    for (const struct value *item = headers ? headers->first : NULL; item; item = item->next)
        if (flow_field(item, &name, &value))
            append_pair(&list, name, value);
    buffer_append_byte(out, ']');
}

/* Takes what stands before the separator off the text. */
static struct bytes split(struct bytes *text, uint8_t separator)
{
    const uint8_t *at = text->size ? memchr(text->data, separator, text->size) : NULL;
    struct bytes part = bytes_make(text->data, at ? (size_t)(at - text->data) : text->size);
    size_t taken = part.size + (at != NULL);
    if (taken)
        *text = bytes_make(text->data + taken, text->size - taken);
    return part;
}

struct pair {
    struct bytes name, value;
};

/* `name=value`, with quotes around the value taken away. */
static struct pair split_pair(struct bytes text)
{
    struct pair pair;
    pair.value = text;
    pair.name = bytes_trim(split(&pair.value, '='));
    pair.value = bytes_trim(pair.value);
    if (pair.value.size > 1 && pair.value.data[0] == '"' &&
        pair.value.data[pair.value.size - 1] == '"')
        pair.value = bytes_make(pair.value.data + 1, pair.value.size - 2);
    return pair;
}

void har_append_request_cookies(struct buffer *out, const struct value *headers)
{
    struct list list = {out, false};
    struct bytes name, value;
    buffer_append_byte(out, '[');
    for (const struct value *item = headers ? headers->first : NULL; item; item = item->next) {
        if (!flow_field(item, &name, &value) || !bytes_equal_ignoring_case(name, "cookie"))
            continue;
        while (value.size) {
            struct pair pair = split_pair(split(&value, ';'));
            if (pair.name.size)
                append_pair(&list, pair.name, pair.value);
        }
    }
    buffer_append_byte(out, ']');
}

/* The date of `expires` in the forms that servers write (RFC 9110, 5.6.7, and Netscape's). */
static bool parse_date(struct bytes text, double *seconds)
{
    static const char *const forms[] = {"%a, %d %b %Y %H:%M:%S", "%a, %d-%b-%Y %H:%M:%S",
                                        "%A, %d-%b-%y %H:%M:%S", "%a %b %d %H:%M:%S %Y"};
    char date[64];
    if (text.size >= sizeof date)
        return false;
    memcpy(date, text.data, text.size);
    date[text.size] = '\0';
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct tm parts = {0};
        if (!strptime(date, forms[i], &parts))
            continue;
        *seconds = (double)timegm(&parts);
        return true;
    }
    return false;
}

struct attributes {
    struct bytes path, domain, same_site;
    double expires;
    bool has_path, has_expires, has_same_site, http_only, secure;
};

static struct attributes read_attributes(struct bytes text)
{
    struct attributes attributes = {.path = bytes_of("/"), .domain = bytes_make("", 0)};
    while (text.size) {
        struct pair pair = split_pair(split(&text, ';'));
        if (bytes_equal_ignoring_case(pair.name, "path") && !attributes.has_path) {
            attributes.path = pair.value;
            attributes.has_path = true;
        } else if (bytes_equal_ignoring_case(pair.name, "domain") && !attributes.domain.size) {
            attributes.domain = pair.value;
        } else if (bytes_equal_ignoring_case(pair.name, "expires")) {
            attributes.has_expires = parse_date(pair.value, &attributes.expires);
        } else if (bytes_equal_ignoring_case(pair.name, "samesite")) {
            attributes.same_site = pair.value;
            attributes.has_same_site = true;
        } else {
            attributes.http_only |= bytes_equal_ignoring_case(pair.name, "httponly");
            attributes.secure |= bytes_equal_ignoring_case(pair.name, "secure");
        }
    }
    return attributes;
}

static void append_cookie(struct list *list, struct bytes field)
{
    struct buffer *out = list->out;
    struct pair pair = split_pair(split(&field, ';'));
    struct attributes attributes = read_attributes(field);
    list_next(list);
    buffer_append_text(out, "{\"name\": ");
    har_append_string(out, pair.name);
    buffer_append_text(out, ", \"value\": ");
    har_append_string(out, pair.value);
    buffer_append_text(out, ", \"path\": ");
    har_append_string(out, attributes.path);
    buffer_append_text(out, ", \"domain\": ");
    har_append_string(out, attributes.domain);
    buffer_append_text(out,
                       attributes.http_only ? ", \"httpOnly\": true" : ", \"httpOnly\": false");
    buffer_append_text(out, attributes.secure ? ", \"secure\": true" : ", \"secure\": false");
    if (attributes.has_expires) {
        buffer_append_text(out, ", \"expires\": \"");
        timestamp_append(out, attributes.expires);
        buffer_append_byte(out, '"');
    }
    if (attributes.has_same_site) {
        buffer_append_text(out, ", \"sameSite\": ");
        har_append_string(out, attributes.same_site);
    }
    buffer_append_byte(out, '}');
}

void har_append_response_cookies(struct buffer *out, const struct value *headers)
{
    struct list list = {out, false};
    struct bytes name, value;
    buffer_append_byte(out, '[');
    for (const struct value *item = headers ? headers->first : NULL; item; item = item->next)
        if (flow_field(item, &name, &value) && bytes_equal_ignoring_case(name, "set-cookie"))
            append_cookie(&list, value);
    buffer_append_byte(out, ']');
}

static int hex_digit(uint8_t byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

static void append_decoded(struct buffer *out, struct bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        int high = text.data[i] == '%' && i + 2 < text.size ? hex_digit(text.data[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(text.data[i + 2]) : -1;
        if (low >= 0) {
            buffer_append_byte(out, (uint8_t)(high << 4 | low));
            i += 2;
        } else {
            buffer_append_byte(out, text.data[i] == '+' ? ' ' : text.data[i]);
        }
    }
}

void har_append_form(struct buffer *out, struct bytes text)
{
    struct list list = {out, false};
    buffer_append_byte(out, '[');
    while (text.size) {
        struct buffer name = BUFFER_INIT;
        struct buffer value = BUFFER_INIT;
        struct bytes rest = split(&text, '&');
        if (!rest.size)
            continue;
        append_decoded(&name, split(&rest, '='));
        append_decoded(&value, rest);
        append_pair(&list, buffer_bytes(&name), buffer_bytes(&value));
        out->failed |= name.failed || value.failed;
        buffer_free(&name);
        buffer_free(&value);
    }
    buffer_append_byte(out, ']');
}
