/* Whom a request is for: host, port and URL as mitmproxy displays them.
 *
 * These rules need seven short strings and no flow, so the index can apply them to what it sees in
 * passing. They follow Request.host_header, pretty_host, url and pretty_url of mitmproxy/http.py
 * and parse_authority of mitmproxy/net/http/url.py. */
#ifndef FLOWFS_CODEC_FLOW_TARGET_H
#define FLOWFS_CODEC_FLOW_TARGET_H

#include "bytes.h"

#include <stdbool.h>
#include <stdint.h>

/* All borrowed; empty where the flow has none. */
struct flow_target {
    struct bytes method;
    struct bytes scheme;
    struct bytes authority;       /* of CONNECT, absolute-form, or HTTP/2's `:authority` */
    struct bytes shown_authority; /* the same with IDNA's labels decoded, as mitmproxy shows it */
    struct bytes host;            /* the address the request was sent to */
    struct bytes path;
    struct bytes http_version;
    struct bytes host_field; /* the Host header field's value; several are joined by ", " */
    bool has_host_field;
    int64_t port;
};

/* Whether an authority has labels in IDNA's ASCII form, so that shown_authority differs. */
bool flow_target_is_idna(struct bytes authority);

enum flow_target_form {
    FLOW_TARGET_RELATIVE,  /* `GET /path`: RFC 9112's origin-form and asterisk-form */
    FLOW_TARGET_ABSOLUTE,  /* `GET http://host/path` */
    FLOW_TARGET_AUTHORITY, /* `CONNECT host:port` */
};

enum flow_target_form flow_target_form(const struct flow_target *target);

/* What the client calls the host: `:authority` in HTTP/2 and 3, else the Host field. Empty: none.
 */
struct bytes flow_target_host_header(const struct flow_target *target);

/* Splits `authority` into host (without brackets) and port. *port is 0 where it has none. If it is
 * no valid authority, host is all of it and port is 0; returns whether it was valid. */
bool flow_target_split_authority(struct bytes authority, struct bytes *host, uint16_t *port);

/* 80 for http, 443 for https, 0 for others. */
uint16_t flow_target_default_port(struct bytes scheme);

/* The host without port, as displayed; borrowed from target. */
struct bytes flow_target_pretty_host(const struct flow_target *target);

/* The port that goes with it: of what names the host, else the scheme's, else 443. */
int64_t flow_target_pretty_port(const struct flow_target *target);

/* Append the URL by address; by displayed host. */
void flow_target_url(const struct flow_target *target, struct buffer *url);
void flow_target_pretty_url(const struct flow_target *target, struct buffer *url);

/* Appends the host under which the flow is filed: host[:port] as in a URL, ASCII lower case, IPv6
 * in brackets, the scheme's own port left out. Nothing is appended where there is no host at all.
 */
void flow_target_site(const struct flow_target *target, struct buffer *site);

/* The same for an address without HTTP: host[:port]. */
void flow_target_address_site(struct bytes host, int64_t port, struct buffer *site);

#endif
