/* Cookies, query strings and forms as HAR lists them. */
#ifndef FLOWFS_CODEC_HAR_COOKIE_H
#define FLOWFS_CODEC_HAR_COOKIE_H

#include "flow.h"

/* Appends a JSON string; bytes that are no UTF-8 become lone surrogates (\udc80 to \udcff). */
void har_append_string(struct buffer *out, struct bytes text);

/* Each appends a JSON array on one line. */

/* Of the Cookie fields (RFC 6265, 4.2.1): name and value. */
void har_append_request_cookies(struct buffer *out, const struct value *headers);

/* Of the Set-Cookie fields (RFC 6265, 4.1.1): name, value, path, domain, expires, httpOnly, secure,
 * sameSite. */
void har_append_response_cookies(struct buffer *out, const struct value *headers);

/* Names and values of all fields. */
void har_append_fields(struct buffer *out, const struct value *headers);

/* Of application/x-www-form-urlencoded text: a query, or a form. */
void har_append_form(struct buffer *out, struct bytes text);

#endif
