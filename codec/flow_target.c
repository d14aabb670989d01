#include "flow_target.h"

#include <arpa/inet.h>
#include <inttypes.h>

static bool method_is_connect(struct bytes method)
{
    return bytes_equal_ignoring_case(method, "connect");
}

bool flow_target_is_idna(struct bytes authority)
{
    for (size_t i = 0; i + 4 <= authority.size; i++)
        if (bytes_equal_ignoring_case(bytes_make(authority.data + i, 4), "xn--"))
            return true;
    return false;
}

enum flow_target_form flow_target_form(const struct flow_target *target)
{
    if (method_is_connect(target->method))
        return FLOW_TARGET_AUTHORITY;
    return target->authority.size ? FLOW_TARGET_ABSOLUTE : FLOW_TARGET_RELATIVE;
}

struct bytes flow_target_host_header(const struct flow_target *target)
{
    bool multiplexed = bytes_equal_text(target->http_version, "HTTP/2.0") ||
                       bytes_equal_text(target->http_version, "HTTP/3");
    if (multiplexed && target->authority.size)
        return target->shown_authority;
    return target->has_host_field ? target->host_field : bytes_make("", 0);
}

static bool is_label_byte(uint8_t byte)
{
    /* Bytes above ASCII are taken for letters of an internationalized name. */
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || byte == '-' || byte == '_' || byte >= 0x80;
}

static bool is_host_name(struct bytes host)
{
    size_t label = 0;
    if (host.size && host.data[host.size - 1] == '.')
        host.size--;
    for (size_t i = 0; i < host.size; i++) {
        if (host.data[i] == '.' ? label == 0 : !is_label_byte(host.data[i]) || label == 63)
            return false;
        label = host.data[i] == '.' ? 0 : label + 1;
    }
    return label > 0 && host.size <= 255 && bytes_are_utf8(host);
}

static bool is_ipv6_address(struct bytes host)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;
    const uint8_t *scope = host.size ? memchr(host.data, '%', host.size) : NULL;
    size_t length = scope ? (size_t)(scope - host.data) : host.size;
    if (length >= sizeof text)
        return false;
    memcpy(text, host.data, length);
    text[length] = '\0';
    return inet_pton(AF_INET6, text, &address) == 1;
}

bool flow_target_split_authority(struct bytes authority, struct bytes *host, uint16_t *port)
{
    *host = authority;
    *port = 0;
    /* The port is what follows the last colon, if that colon is the only one or stands behind a
     * bracket. */
    size_t end = authority.size;
    while (end && authority.data[end - 1] >= '0' && authority.data[end - 1] <= '9')
        end--;
    bool has_port = end && end < authority.size && authority.data[end - 1] == ':';
    struct bytes name = bytes_make(authority.data, has_port ? end - 1 : authority.size);
    bool bracketed = name.size > 2 && name.data[0] == '[' && name.data[name.size - 1] == ']';
    if (!name.size || (!bracketed && memchr(name.data, ':', name.size)))
        return false;
    if (bracketed)
        name = bytes_make(name.data + 1, name.size - 2);
    uint32_t number = 0;
    for (size_t i = end; has_port && i < authority.size && number <= UINT16_MAX; i++)
        number = number * 10 + (uint32_t)(authority.data[i] - '0');
    if (number > UINT16_MAX || (!is_host_name(name) && !is_ipv6_address(name)))
        return false;
    *host = name;
    *port = (uint16_t)number;
    return true;
}

uint16_t flow_target_default_port(struct bytes scheme)
{
    return bytes_equal_text(scheme, "http") ? 80 : bytes_equal_text(scheme, "https") ? 443 : 0;
}

struct bytes flow_target_pretty_host(const struct flow_target *target)
{
    struct bytes host;
    uint16_t port;
    struct bytes header = flow_target_host_header(target);
    if (!header.size)
        return target->host;
    flow_target_split_authority(header, &host, &port);
    return host;
}

static void append_url(const struct flow_target *target, struct bytes host, int64_t port,
                       struct buffer *url)
{
    buffer_append_bytes(url, target->scheme);
    buffer_append_text(url, "://");
    buffer_append_bytes(url, host);
    if (port != flow_target_default_port(target->scheme))
        buffer_printf(url, ":%" PRId64, port);
    if (!bytes_equal_text(target->path, "*"))
        buffer_append_bytes(url, target->path);
}

void flow_target_url(const struct flow_target *target, struct buffer *url)
{
    if (flow_target_form(target) == FLOW_TARGET_AUTHORITY) {
        buffer_append_bytes(url, target->host);
        buffer_printf(url, ":%" PRId64, target->port);
        return;
    }
    append_url(target, target->host, target->port, url);
}

/* The port that belongs to the host header: its own, else the scheme's, else 443. */
static int64_t header_port(const struct flow_target *target, uint16_t port)
{
    uint16_t standard = flow_target_default_port(target->scheme);
    return port ? port : standard ? standard : 443;
}

int64_t flow_target_pretty_port(const struct flow_target *target)
{
    struct bytes host;
    uint16_t port = 0;
    bool tunnel = flow_target_form(target) == FLOW_TARGET_AUTHORITY;
    struct bytes name = tunnel ? target->shown_authority : flow_target_host_header(target);
    if (!name.size)
        return target->port;
    flow_target_split_authority(name, &host, &port);
    return tunnel && !port ? 443 : header_port(target, port);
}

void flow_target_pretty_url(const struct flow_target *target, struct buffer *url)
{
    struct bytes host;
    uint16_t port;
    struct bytes header = flow_target_host_header(target);
    if (flow_target_form(target) == FLOW_TARGET_AUTHORITY) {
        buffer_append_bytes(url, target->shown_authority);
        return;
    }
    if (!header.size) {
        flow_target_url(target, url);
        return;
    }
    flow_target_split_authority(header, &host, &port);
    append_url(target, host, header_port(target, port), url);
}

static void append_site(struct bytes host, int64_t port, int64_t standard_port, struct buffer *site)
{
    if (!host.size)
        return;
    bool bracket = is_ipv6_address(host);
    if (bracket)
        buffer_append_byte(site, '[');
    size_t start = site->size;
    buffer_append_bytes(site, host);
    for (size_t i = start; !site->failed && i < site->size; i++)
        if (site->data[i] >= 'A' && site->data[i] <= 'Z')
            site->data[i] = (uint8_t)(site->data[i] + 32);
    if (bracket)
        buffer_append_byte(site, ']');
    if (port != standard_port)
        buffer_printf(site, ":%" PRId64, port);
}

void flow_target_site(const struct flow_target *target, struct buffer *site)
{
    struct bytes host = target->host;
    uint16_t port = 0;
    int64_t standard = flow_target_default_port(target->scheme);
    struct bytes header = flow_target_host_header(target);
    if (flow_target_form(target) == FLOW_TARGET_AUTHORITY && target->authority.size) {
        /* A tunnel is filed with what goes through it, which is nearly always https. */
        flow_target_split_authority(target->shown_authority, &host, &port);
        append_site(host, port ? port : 443, 443, site);
    } else if (header.size && !(flow_target_form(target) == FLOW_TARGET_AUTHORITY)) {
        bool valid = flow_target_split_authority(header, &host, &port);
        int64_t shown = header_port(target, port);
        append_site(host, valid ? shown : standard, standard, site);
    } else {
        append_site(host, target->port ? target->port : standard, standard, site);
    }
}

void flow_target_address_site(struct bytes host, int64_t port, struct buffer *site)
{
    append_site(host, port, 0, site);
}
