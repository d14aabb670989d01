/* The target of a request line: where the request goes. flow.json holds scheme, authority, host and
 * port; the line says them again, and says so when it was edited. */
#include "packing.h"

#include "url.h"

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

static bool put_bytes(const struct packing *packing, const struct packing_side *side,
                      const char *key, struct bytes bytes)
{
    return put(packing, side, key, value_bytes(packing->arena, bytes));
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

/* flow.json may hold a path of its own: of a CONNECT that is none any more it is empty. */
static bool put_path(const struct packing *packing, const struct packing_side *side,
                     struct bytes path)
{
    const struct value *told = value_get(side->dict, "path");
    char here[PACKING_EXCERPT], there[PACKING_EXCERPT];
    if (!told || member_of(side, "path").size == 0)
        return put_bytes(packing, side, "path", path);
    if (told->kind == VALUE_BYTES && bytes_equal(told->bytes, path))
        return true;
    return packing_json_mistake(
        packing, told,
        "found path \"%s\", but %s:1 says \"%s\"; expected it there alone: remove it",
        packing_excerpt(value_string(told), here), flowdir_file_name(side->headers),
        packing_excerpt(path, there));
}

/* The host as mitmproxy keeps it, and the port. */
static bool put_address(const struct packing *packing, const struct packing_side *side,
                        struct bytes host, int64_t port)
{
    struct buffer text = BUFFER_INIT;
    url_append_host(&text, host);
    struct bytes kept = {0};
    if (!text.failed)
        kept = arena_copy(packing->arena, buffer_bytes(&text));
    buffer_free(&text);
    if (!kept.data)
        return flow_error_memory(packing->error);
    return put(packing, side, "host", value_text(packing->arena, kept)) &&
           put(packing, side, "port", value_int(packing->arena, port));
}

static bool set_tunnel(const struct packing *packing, const struct packing_side *side,
                       struct bytes target)
{
    struct bytes host;
    uint16_t port;
    bool same = bytes_equal(target, member_of(side, "authority"));
    if (!value_get(side->dict, "path") && packing_had(packing, side->which, "path") &&
        !put_bytes(packing, side, "path", bytes_make("", 0)))
        return false;
    if (same && target.size)
        return true;
    if (!flow_target_split_authority(target, &host, &port) || !port)
        return (same && !packing->by_hand) || fail(packing, side, target, "host:port for CONNECT");
    return put_bytes(packing, side, "authority", target) && put_address(packing, side, host, port);
}

/* Moves *target behind `scheme://authority`. */
static bool split_absolute(struct bytes *target, struct bytes *scheme, struct bytes *authority)
{
    size_t colon = 0;
    while (colon < target->size && target->data[colon] != ':')
        colon++;
    if (colon == 0 || target->size < colon + 3 || memcmp(target->data + colon, "://", 3) != 0)
        return false;
    size_t start = colon + 3;
    size_t end = start;
    while (end < target->size && !memchr("/?#", target->data[end], 3))
        end++;
    *scheme = bytes_make(target->data, colon);
    *authority = bytes_make(target->data + start, end - start);
    *target = bytes_make(target->data + end, target->size - end);
    return true;
}

static bool put_rooted_path(const struct packing *packing, const struct packing_side *side,
                            struct bytes path)
{
    if (path.size && path.data[0] == '/')
        return put_path(packing, side, path);
    uint8_t *rooted = arena_alloc(packing->arena, path.size + 1);
    if (!rooted)
        return flow_error_memory(packing->error);
    rooted[0] = '/';
    memcpy(rooted + 1, path.data, path.size);
    return put_path(packing, side, bytes_make(rooted, path.size + 1));
}

/* A URL by address, as no line here showed it: the request goes elsewhere. An authority (HTTP/2's
 * `:authority`, or of a request to a proxy) goes with it, as in mitmproxy; a Host field stands in
 * the same file for whoever edits it. */
static bool set_url(const struct packing *packing, const struct packing_side *side,
                    struct bytes target)
{
    struct bytes scheme, authority, host;
    struct bytes path = target;
    uint16_t port;
    if (!split_absolute(&path, &scheme, &authority) ||
        !flow_target_split_authority(authority, &host, &port) || !bytes_are_utf8(host))
        return fail(packing, side, target, "http://host[:port]/path, /path or *");
    int64_t standard = flow_target_default_port(scheme);
    if (!port && !standard)
        return fail(packing, side, target, "http, https or a port");
    bool multiplexed = !flowdir_is_http_1(member_of(side, "http_version"));
    if ((member_of(side, "authority").size || (packing->by_hand && multiplexed)) &&
        !put_bytes(packing, side, "authority", authority))
        return false;
    return put_bytes(packing, side, "scheme", scheme) &&
           put_address(packing, side, host, port ? port : standard) &&
           put_rooted_path(packing, side, path);
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
    if (bytes_equal_ignoring_case(member_of(side, "method"), "connect"))
        return set_tunnel(packing, side, target);
    if (!is_same_address(packing, side, target, &path, &same))
        return false;
    if (same)
        return put_path(packing, side, path);
    if ((target.size && target.data[0] == '/') || bytes_equal_text(target, "*"))
        return put_path(packing, side, target);
    return set_url(packing, side, target);
}
