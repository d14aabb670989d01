/* URLs, taken apart as mitmproxy takes them apart.
 *
 * The rules are those of parse() in mitmproxy/net/http/url.py, which are Python's urllib.parse:
 * tabs and line ends vanish, credentials are dropped, the fragment stays in the path, an empty
 * query, fragment or parameter loses its mark (`/a?` is `/a`).
 *
 * Where mitmproxy refuses a whole file for one URL, this goes on:
 * - characters above ASCII in the path are percent-encoded as UTF-8 (RFC 3987, 3.1);
 * - a host need not be a valid DNS name: what was captured is shown;
 * - a URL without a host keeps what follows its scheme as the path (`data:,x`, `about:blank`), but
 *   for http, https, ws and wss, where that is no URL;
 * - an IPv6 address may lack its brackets, as in mitmproxy's own exports;
 * - a path that starts with two slashes keeps exactly two. */
#ifndef FLOWFS_CODEC_URL_H
#define FLOWFS_CODEC_URL_H

#include "arena.h"
#include "bytes.h"
#include "error.h"

#include <stdbool.h>
#include <stdint.h>

struct url {
    struct bytes scheme; /* lower case */
    struct bytes host;   /* UTF-8, lower case in ASCII, IDNA decoded, without brackets; may be "" */
    struct bytes path; /* with query and fragment; ASCII. Starts with a slash if there is a host */
    uint16_t port;     /* if none is said: 443 for https and wss, 80 for others, 0 without host */
};

/* Takes `text` (UTF-8) apart; all of `url` lives in `arena`. False with EBADMSG (no scheme, no host
 * where one is needed, a port that is no number from 0 to 65535, brackets that do not match; the
 * offset is not set) or ENOMEM. */
bool url_parse(struct bytes text, struct arena *arena, struct url *url, struct flow_error *error);

/* Appends the host as mitmproxy keeps it: lower case, IDNA's labels (`xn--`) decoded (RFC 3492). */
void url_append_host(struct buffer *buffer, struct bytes host);

/* Appends an application/x-www-form-urlencoded name or value: a space is `+`, all but letters,
 * digits and `_.-~` is percent-encoded (Python's quote_plus, as in mitmproxy's url.encode). */
void url_append_form_encoded(struct buffer *buffer, struct bytes text);

#endif
