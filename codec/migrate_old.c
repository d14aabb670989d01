/* Steps (0, 11) to (3, 0): versions that were those of mitmproxy itself. */
#include "migrate_steps.h"

#include <errno.h>

static bool set_pair(struct migration *migration, int64_t minor)
{
    return migrate_set_version_list(migration, (int64_t[]){0, minor}, 2);
}

static bool from_0_11(struct migration *migration)
{
    return set_pair(migration, 12);
}

static bool from_0_12(struct migration *migration)
{
    return set_pair(migration, 13);
}

/* httpversion [1, 1] becomes http_version b"HTTP/1.1". */
static bool convert_http_version(struct migration *migration, struct value *message)
{
    struct buffer text = BUFFER_INIT;
    struct value *parts = value_pop(message, "httpversion");
    buffer_append_text(&text, "HTTP/");
    for (const struct value *part = value_is(parts, VALUE_LIST) ? parts->first : NULL; part;
         part = part->next) {
        if (part != parts->first)
            buffer_append_byte(&text, '.');
        buffer_append_bytes(&text, value_is_string(part) ? value_string(part) : part->bytes);
    }
    struct bytes kept = arena_copy(migration->arena, buffer_bytes(&text));
    bool done =
        !text.failed && kept.data &&
        migrate_set(migration, message, "http_version", value_bytes(migration->arena, kept));
    buffer_free(&text);
    return done || flow_error_memory(migration->error);
}

/* A flow that has no response yet has null there, which mitmproxy's own step forgets. */
static struct value *response_of(const struct migration *migration)
{
    struct value *response = value_get(migration->flow, "response");
    return value_is(response, VALUE_DICT) ? response : NULL;
}

static bool from_0_13(struct migration *migration)
{
    struct value *request = migrate_need_dict(migration, migration->flow, "request");
    struct value *server = migrate_need_dict(migration, migration->flow, "server_conn");
    struct value *response = response_of(migration);
    if (!request || !server ||
        !migrate_rename(migration, request, "form_in", "first_line_format") ||
        !convert_http_version(migration, request))
        return false;
    if (response && (!convert_http_version(migration, response) ||
                     !migrate_rename(migration, response, "code", "status_code") ||
                     !migrate_rename(migration, response, "content", "body")))
        return false;
    value_pop(server, "state");
    return migrate_set_null(migration, server, "via") && set_pair(migration, 14);
}

static bool from_0_14(struct migration *migration)
{
    return set_pair(migration, 15);
}

static bool rename_body(struct migration *migration, struct value *message)
{
    return !value_get(message, "body") || migrate_rename(migration, message, "body", "content");
}

static bool from_0_15(struct migration *migration)
{
    struct value *request = migrate_need_dict(migration, migration->flow, "request");
    struct value *response = response_of(migration);
    if (!request || !rename_body(migration, request))
        return false;
    if (response &&
        (!rename_body(migration, response) ||
         (value_get(response, "msg") && !migrate_rename(migration, response, "msg", "reason"))))
        return false;
    value_pop(request, "form_out");
    return set_pair(migration, 16);
}

static bool from_0_16(struct migration *migration)
{
    struct value *server = migrate_need_dict(migration, migration->flow, "server_conn");
    return server && migrate_set_null(migration, server, "peer_address") && set_pair(migration, 17);
}

/* Keys of dicts in dicts become text; those in lists stay, as mitmproxy leaves them. So does a key
 * that is no UTF-8, at which mitmproxy fails: text must be UTF-8. */
static void convert_keys(struct value *dict)
{
    for (struct value *member = dict->first; member; member = member->next) {
        if (member->key->kind == VALUE_BYTES && bytes_are_utf8(member->key->bytes))
            member->key->kind = VALUE_TEXT;
        if (member->kind == VALUE_DICT)
            convert_keys(member);
    }
}

/* What Python 2 wrote as bytes and Python 3 reads as text. */
static bool convert_unicode(struct migration *migration)
{
    struct value *flow = migration->flow;
    convert_keys(flow);
    return migrate_decode(migration, value_get(flow, "type"), false) &&
           migrate_decode(migration, value_get(flow, "id"), false) &&
           migrate_decode(migration, value_get(value_get(flow, "request"), "first_line_format"),
                          false) &&
           migrate_decode(migration, value_get(value_get(flow, "error"), "msg"), false);
}

static bool from_0_17(struct migration *migration)
{
    if (!convert_unicode(migration))
        return false;
    struct value *server = migrate_need_dict(migration, migration->flow, "server_conn");
    return server && migrate_rename(migration, server, "peer_address", "ip_address") &&
           migrate_set(migration, migration->flow, "marked", value_bool(migration->arena, false)) &&
           set_pair(migration, 18);
}

static bool add_server_alpn(struct migration *migration, struct value *server)
{
    return migrate_set_null(migration, server, "alpn_proto_negotiated");
}

static bool from_0_18(struct migration *migration)
{
    static const char *const added[] = {"sni", "alpn_proto_negotiated", "cipher_name",
                                        "tls_version"};
    if (!convert_unicode(migration))
        return false;
    struct value *request = value_get(migration->flow, "request");
    struct value *client = migrate_need_dict(migration, migration->flow, "client_conn");
    value_pop(request, "stickyauth");
    value_pop(request, "stickycookie");
    if (!client)
        return false;
    for (size_t i = 0; i < sizeof added / sizeof *added; i++)
        if (!migrate_set_null(migration, client, added[i]))
            return false;
    return migrate_servers(migration, add_server_alpn) &&
           migrate_set(migration, migration->flow, "mode",
                       value_text(migration->arena, bytes_of("regular"))) &&
           migrate_set(migration, migration->flow, "metadata", value_dict(migration->arena)) &&
           set_pair(migration, 19);
}

static bool from_0_19(struct migration *migration)
{
    return convert_unicode(migration) &&
           migrate_set_version_list(migration, (int64_t[]){1, 0, 0}, 3);
}

/* {address: [host, port], use_ipv6: …} becomes [host, port]. */
static bool unwrap_address(struct migration *migration, struct value *connection, const char *key)
{
    struct value *address = value_get(connection, key);
    if (!value_is(address, VALUE_DICT))
        return true;
    struct value *inner = value_pop(address, "address");
    return migrate_set(migration, connection, key, inner ? inner : value_null(migration->arena));
}

static bool unwrap_server_addresses(struct migration *migration, struct value *server)
{
    return unwrap_address(migration, server, "address") &&
           unwrap_address(migration, server, "source_address") &&
           unwrap_address(migration, server, "ip_address");
}

static bool from_1_0(struct migration *migration)
{
    struct value *client = migrate_need_dict(migration, migration->flow, "client_conn");
    return client && unwrap_address(migration, client, "address") &&
           migrate_servers(migration, unwrap_server_addresses) &&
           migrate_set_version_list(migration, (int64_t[]){2, 0, 0}, 3);
}

static bool add_server_tls_version(struct migration *migration, struct value *server)
{
    return migrate_set_null(migration, server, "tls_version");
}

static bool from_2_0(struct migration *migration)
{
    struct value *client = migrate_need_dict(migration, migration->flow, "client_conn");
    return client && migrate_set_null(migration, client, "mitmcert") &&
           migrate_servers(migration, add_server_tls_version) &&
           migrate_set_version_list(migration, (int64_t[]){3, 0, 0}, 3);
}

static bool from_3_0(struct migration *migration)
{
    return migrate_set_version(migration, 4);
}

const struct migrate_entry migrate_old_table[] = {
    {MIGRATE_PAIR(0, 11), from_0_11},
    {MIGRATE_PAIR(0, 12), from_0_12},
    {MIGRATE_PAIR(0, 13), from_0_13},
    {MIGRATE_PAIR(0, 14), from_0_14},
    {MIGRATE_PAIR(0, 15), from_0_15},
    {MIGRATE_PAIR(0, 16), from_0_16},
    {MIGRATE_PAIR(0, 17), from_0_17},
    {MIGRATE_PAIR(0, 18), from_0_18},
    {MIGRATE_PAIR(0, 19), from_0_19},
    {MIGRATE_PAIR(1, 0), from_1_0},
    {MIGRATE_PAIR(2, 0), from_2_0},
    {MIGRATE_PAIR(3, 0), from_3_0},
    {0, NULL},
};
