/* The target of a request line: where the request goes. A URL tells scheme, host, port and path;
 * else flow.json holds the first three. */
#include "packing.h"

static struct bytes member_of(const struct packing_side *side, const char *key)
{
    return value_string(value_get(side->dict, key));
}

static bool put(const struct packing *packing, const struct packing_side *side, const char *key,
                struct value *member)
{
    if (!member)
        return flow_error_memory(packing->error);
    return packing_put(packing, side->dict, side->which, key, member);
}

static bool starts_with(struct bytes text, struct bytes start)
{
    return text.size >= start.size && memcmp(text.data, start.data, start.size) == 0;
}

static bool fail(const struct packing *packing, const struct packing_side *side,
                 struct bytes target, const char *expected)
{
    char excerpt[PACKING_EXCERPT];
    return packing_mistake(packing, flowdir_file_name(side->headers), 1,
                           "found the target \"%s\", expected %s", packing_excerpt(target, excerpt),
                           expected);
}

/* Puts what the line says, unless flow.json says something else. It may hold what a tunnel that is
 * none any more has: an empty path, and where the tunnel led to. */
static bool put_told(const struct packing *packing, const struct packing_side *side,
                     const char *key, struct value *member, bool was_tunnel)
{
    const struct value *told = value_get(side->dict, key);
    char here[PACKING_EXCERPT], there[PACKING_EXCERPT];
    if (!member)
        return flow_error_memory(packing->error);
    if (!told || was_tunnel)
        return packing_put(packing, side->dict, side->which, key, member);
    if (told->kind == member->kind && bytes_equal(told->bytes, member->bytes))
        return true;
    return packing_json_mistake(
        packing, told, "found %s \"%s\", but %s:1 says \"%s\"; expected it there alone: remove it",
        key, packing_excerpt(told->kind < VALUE_LIST ? told->bytes : bytes_of("..."), here),
        flowdir_file_name(side->headers), packing_excerpt(member->bytes, there));
}

static bool put_path(const struct packing *packing, const struct packing_side *side,
                     struct bytes path, bool was_tunnel)
{
    return put_told(packing, side, "path", value_bytes(packing->arena, path), was_tunnel);
}

static bool set_tunnel(const struct packing *packing, const struct packing_side *side,
                       struct bytes target)
{
    struct bytes host;
    uint16_t port;
    struct arena *arena = packing->arena;
    bool had_host = value_get(side->dict, "host");
    if (!value_get(side->dict, "path") &&
        !put(packing, side, "path", value_bytes(arena, bytes_make("", 0))))
        return false;
    if (had_host && bytes_equal(target, member_of(side, "authority")))
        return true;
    if (!flow_target_split_authority(target, &host, &port) || !port)
        return fail(packing, side, target, "host:port for CONNECT");
    return put(packing, side, "scheme", value_bytes(arena, bytes_make("", 0))) &&
           put(packing, side, "authority", value_bytes(arena, target)) &&
           put(packing, side, "host", value_text(arena, host)) &&
           put(packing, side, "port", value_int(arena, port));
}

static bool put_rooted_path(const struct packing *packing, const struct packing_side *side,
                            struct bytes path, bool was_tunnel)
{
    if (path.size && path.data[0] == '/')
        return put_path(packing, side, path, was_tunnel);
    uint8_t *rooted = arena_alloc(packing->arena, path.size + 1);
    if (!rooted)
        return flow_error_memory(packing->error);
    rooted[0] = '/';
    memcpy(rooted + 1, path.data, path.size);
    return put_path(packing, side, bytes_make(rooted, path.size + 1), was_tunnel);
}

/* An authority that flow.json does not hold is the one in the URL. A request made by hand has one
 * only where a Host field is not enough: mitmproxy's proxy sends HTTP/1 on in origin form. */
static bool put_authority(const struct packing *packing, const struct packing_side *side,
                          struct bytes authority, bool was_tunnel)
{
    bool in_url = !packing->by_hand || !flowdir_is_http_1(member_of(side, "http_version"));
    bool told = value_get(side->dict, "authority");
    if ((told && !was_tunnel) || (!told && !packing_had(packing, side->which, "authority")))
        return true;
    if (was_tunnel || !in_url)
        authority = bytes_make("", 0);
    return put(packing, side, "authority", value_bytes(packing->arena, authority));
}

static bool set_url(const struct packing *packing, const struct packing_side *side,
                    struct bytes target, bool was_tunnel)
{
    struct flow_target url = {0};
    struct bytes host;
    uint16_t port;
    struct arena *arena = packing->arena;
    if (!flowdir_split_url(target, &url) || !bytes_are_utf8(url.host))
        return fail(packing, side, target,
                    "http://host[:port]/path, the same with https, /path or *");
    if (url.host.data[0] != '[' &&
        (memchr(url.host.data, ':', url.host.size) || memchr(url.host.data, '@', url.host.size)))
        return fail(packing, side, target,
                    "a host, then digits behind a colon if a port is needed; IPv6 addresses stand "
                    "in brackets");
    if (url.host.data[0] == '[') {
        if (!flow_target_split_authority(url.authority, &host, &port))
            return fail(packing, side, target, "an address in the brackets");
        url.host = host;
    }
    return put_told(packing, side, "scheme", value_bytes(arena, url.scheme), was_tunnel) &&
           put_told(packing, side, "host", value_text(arena, url.host), was_tunnel) &&
           put_told(packing, side, "port", value_int(arena, url.port), was_tunnel) &&
           put_authority(packing, side, url.authority, was_tunnel) &&
           put_rooted_path(packing, side, url.path, was_tunnel);
}

/* Whether the target is the URL that flow.json's address and the path behind it make. */
static bool is_same_address(const struct packing *packing, const struct packing_side *side,
                            struct bytes target, struct bytes *path, bool *same)
{
    struct buffer url = BUFFER_INIT;
    struct flow_target told = {
        .method = bytes_of("GET"),
        .scheme = member_of(side, "scheme"),
        .host = member_of(side, "host"),
        .path = bytes_of("/"),
    };
    *same = false;
    if (!flowdir_shows_url(&told))
        return true;
    value_to_int64(value_get(side->dict, "port"), &told.port);
    flow_target_url(&told, &url);
    *same = !url.failed && starts_with(target, buffer_bytes(&url));
    if (*same)
        *path = bytes_make(target.data + url.size - 1, target.size - url.size + 1);
    bool done = !url.failed;
    buffer_free(&url);
    return done || flow_error_memory(packing->error);
}

bool packing_target(const struct packing *packing, const struct packing_side *side,
                    struct bytes target)
{
    struct bytes path;
    bool same;
    const struct value *told = value_get(side->dict, "path");
    bool was_tunnel = value_is(told, VALUE_BYTES) && !told->bytes.size;
    if (bytes_equal_ignoring_case(member_of(side, "method"), "connect"))
        return set_tunnel(packing, side, target);
    if (!is_same_address(packing, side, target, &path, &same))
        return false;
    if (same)
        return put_path(packing, side, path, was_tunnel);
    if ((target.size && target.data[0] == '/') || bytes_equal_text(target, "*"))
        return put_path(packing, side, target, was_tunnel) &&
               put_authority(packing, side, bytes_make("", 0), was_tunnel);
    return set_url(packing, side, target, was_tunnel);
}
