/* Steps 4 to 20: versions of the format alone. */
#include "migrate_steps.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

/* mitmproxy makes up a random id for each connection; this one is made from what tells connections
 * apart there, so that it is the same at every reading. */
static struct value *make_connection_id(struct migration *migration, const struct value *start,
                                        const struct value *address)
{
    char text[40];
    struct buffer key = BUFFER_INIT;
    /* A string that was left in the capture counts as empty. */
    if (start)
        buffer_append_bytes(&key, value_is_string(start) ? value_string(start) : start->bytes);
    for (const struct value *part = value_is(address, VALUE_LIST) ? address->first : NULL; part;
         part = part->next) {
        buffer_append_byte(&key, ' ');
        buffer_append_bytes(&key, value_is_string(part) ? value_string(part) : part->bytes);
    }
    uint64_t high = bytes_hash(buffer_bytes(&key), 1);
    uint64_t low = bytes_hash(buffer_bytes(&key), 2);
    bool failed = key.failed;
    buffer_free(&key);
    /* Version 8 of RFC 9562: made by rules of one's own. */
    snprintf(text, sizeof text,
             "%08" PRIx64 "-%04" PRIx64 "-8%03" PRIx64 "-%04" PRIx64 "-%012" PRIx64, high >> 32,
             high >> 16 & 0xFFFF, high & 0xFFF, (low >> 48 & 0x3FFF) | 0x8000,
             low & 0xFFFFFFFFFFFFu);
    struct bytes kept = arena_copy(migration->arena, bytes_of(text));
    return failed || !kept.data ? NULL : value_text(migration->arena, kept);
}

static bool add_server_id(struct migration *migration, struct value *server)
{
    return migrate_set(migration, server, "id",
                       make_connection_id(migration, value_get(server, "timestamp_start"),
                                          value_get(server, "source_address")));
}

static bool from_4(struct migration *migration)
{
    struct value *client = migrate_need_dict(migration, migration->flow, "client_conn");
    return client &&
           migrate_set(migration, client, "id",
                       make_connection_id(migration, value_get(client, "timestamp_start"),
                                          value_get(client, "address"))) &&
           migrate_servers(migration, add_server_id) && migrate_set_version(migration, 5);
}

static bool rename_ssl(struct migration *migration, struct value *connection)
{
    return migrate_rename(migration, connection, "ssl_established", "tls_established") &&
           migrate_rename(migration, connection, "timestamp_ssl_setup", "timestamp_tls_setup");
}

static bool from_5(struct migration *migration)
{
    return migrate_connections(migration, rename_ssl) && migrate_set_version(migration, 6);
}

static bool from_6(struct migration *migration)
{
    struct value *client = migrate_need_dict(migration, migration->flow, "client_conn");
    return client && migrate_set_null(migration, client, "tls_extensions") &&
           migrate_set_version(migration, 7);
}

static struct value *message_of(const struct migration *migration, const char *key)
{
    struct value *message = value_get(migration->flow, key);
    return value_is(message, VALUE_DICT) ? message : NULL;
}

static bool from_7(struct migration *migration)
{
    struct value *request = message_of(migration, "request");
    struct value *response = message_of(migration, "response");
    return (!request || migrate_set_null(migration, request, "trailers")) &&
           (!response || migrate_set_null(migration, response, "trailers")) &&
           migrate_set_version(migration, 8);
}

static bool from_8(struct migration *migration)
{
    struct value *request = message_of(migration, "request");
    struct value *response = message_of(migration, "response");
    bool request_replay = value_is_true(value_pop(request, "is_replay"));
    bool response_replay = value_is_true(value_pop(response, "is_replay"));
    value_pop(request, "first_line_format");
    if (request &&
        !migrate_set(migration, request, "authority", value_bytes(migration->arena, bytes_of(""))))
        return false;
    struct value *replay =
        request_replay || response_replay
            ? value_text(migration->arena, bytes_of(request_replay ? "request" : "response"))
            : value_null(migration->arena);
    return migrate_set(migration, migration->flow, "is_replay", replay) &&
           migrate_set_version(migration, 9);
}

/* A list of the one value that older versions had, or `otherwise` if that was nothing. */
static struct value *list_of(struct migration *migration, const struct value *item,
                             struct value *otherwise)
{
    if (!value_is_true(item))
        return otherwise;
    struct value *list = value_list(migration->arena);
    return value_append(list, value_copy(migration->arena, item)) ? list : NULL;
}

static bool convert_connection_9(struct migration *migration, struct value *connection)
{
    struct arena *arena = migration->arena;
    const struct value *established = value_get(connection, "tls_established");
    const struct value *alpn = value_get(connection, "alpn_proto_negotiated");
    const struct value *cipher = value_get(connection, "cipher_name");
    return migrate_set(migration, connection, "state", value_int(arena, 0)) &&
           migrate_set_null(migration, connection, "error") &&
           migrate_set(migration, connection, "tls",
                       established ? value_copy(arena, established) : value_bool(arena, false)) &&
           migrate_set(migration, connection, "alpn_offers",
                       list_of(migration, alpn, value_null(arena))) &&
           migrate_set(migration, connection, "cipher_list",
                       list_of(migration, cipher, value_null(arena)));
}

static bool convert_server_9(struct migration *migration, struct value *server)
{
    struct value *certificate = value_pop(server, "cert");
    return migrate_set(migration, server, "certificate_list",
                       list_of(migration, certificate, value_list(migration->arena))) &&
           migrate_set_null(migration, server, "cipher_name") &&
           migrate_set_null(migration, server, "via2") && convert_connection_9(migration, server);
}

static bool from_9(struct migration *migration)
{
    struct arena *arena = migration->arena;
    struct value *client = migrate_need_dict(migration, migration->flow, "client_conn");
    struct value *address = value_list(arena);
    if (!client)
        return false;
    if (!value_append(address, value_text(arena, bytes_of(""))) ||
        !value_append(address, value_int(arena, 0)))
        return flow_error_memory(migration->error);
    struct value *certificate = value_pop(client, "clientcert");
    return migrate_set(migration, client, "sockname", address) &&
           migrate_set(migration, client, "certificate_list",
                       list_of(migration, certificate, value_list(arena))) &&
           convert_connection_9(migration, client) &&
           migrate_servers(migration, convert_server_9) && migrate_set_version(migration, 10);
}

static bool set_list_if_null(struct migration *migration, struct value *dict, const char *key)
{
    return value_is_true(value_get(dict, key)) ||
           migrate_set(migration, dict, key, value_list(migration->arena));
}

static bool convert_connection_10(struct migration *migration, struct value *connection)
{
    struct value *sni = value_get(connection, "sni");
    return (sni || migrate_set_null(migration, connection, "sni")) &&
           migrate_decode(migration, sni, true) &&
           migrate_rename(migration, connection, "alpn_proto_negotiated", "alpn") &&
           set_list_if_null(migration, connection, "alpn_offers") &&
           set_list_if_null(migration, connection, "cipher_list");
}

static bool from_10(struct migration *migration)
{
    return migrate_connections(migration, convert_connection_10) &&
           migrate_set_version(migration, 11);
}

static bool copy_member(struct migration *migration, struct value *flow, const char *key)
{
    const struct value *member = value_get(migration->flow, key);
    return value_set(migration->arena, flow, key,
                     member ? value_copy(migration->arena, member) : value_null(migration->arena));
}

/* The handshake that mitmproxy makes up where it is missing. */
static struct value *make_handshake(struct migration *migration)
{
    static const char *const kept[] = {"client_conn", "error",     "id",
                                       "intercepted", "is_replay", "marked"};
    struct arena *arena = migration->arena;
    struct value *flow = value_dict(arena);
    struct value *request = value_dict(arena);
    bool done = true;
    for (size_t i = 0; done && i < sizeof kept / sizeof *kept; i++)
        done = copy_member(migration, flow, kept[i]);
    const struct {
        const char *key;
        struct value *member;
    } members[] = {
        {"authority", value_bytes(arena, bytes_of(""))},
        {"content", value_null(arena)},
        {"headers", value_list(arena)},
        {"host", value_bytes(arena, bytes_of("unknown"))},
        {"http_version", value_bytes(arena, bytes_of("HTTP/1.1"))},
        {"method", value_bytes(arena, bytes_of("GET"))},
        {"path", value_bytes(arena, bytes_of("/"))},
        {"port", value_int(arena, 80)},
        {"scheme", value_bytes(arena, bytes_of("http"))},
        {"timestamp_end", value_int(arena, 0)},
        {"timestamp_start", value_int(arena, 0)},
        {"trailers", value_null(arena)},
    };
    for (size_t i = 0; done && i < sizeof members / sizeof *members; i++)
        done = value_set(arena, request, members[i].key, members[i].member);
    done = done && value_set(arena, flow, "metadata", value_dict(arena)) &&
           value_set(arena, flow, "mode", value_text(arena, bytes_of("transparent"))) &&
           value_set(arena, flow, "request", request) &&
           value_set(arena, flow, "response", value_null(arena)) &&
           copy_member(migration, flow, "server_conn") &&
           value_set(arena, flow, "type", value_text(arena, bytes_of("http"))) &&
           value_set(arena, flow, "version", value_int(arena, 12));
    return done ? flow : NULL;
}

/* The handshake as it was at version 11, before the join. */
static struct value *bring_handshake(struct migration *migration)
{
    struct migration other = {migration->handshake, NULL, migration->arena, migration->error};
    if (other.flow)
        return migrate_to(&other, 11) ? other.flow : NULL;
    other.flow = make_handshake(migration);
    if (!other.flow)
        flow_error_memory(migration->error);
    return other.flow;
}

static struct value *take(struct migration *migration, const char *key)
{
    struct value *member = value_pop(migration->flow, key);
    return member ? member : value_null(migration->arena);
}

static bool join(struct migration *migration)
{
    static const char note[] = "This WebSocket flow has been migrated from an old file format "
                               "version and may appear duplicated.";
    struct arena *arena = migration->arena;
    struct value *flow = bring_handshake(migration);
    struct value *websocket = value_dict(arena);
    struct value *metadata = flow ? migrate_need_dict(migration, flow, "metadata") : NULL;
    if (!metadata)
        return false;
    const struct value *sender = value_get(migration->flow, "close_sender");
    const struct value *end = value_get(value_get(flow, "server_conn"), "timestamp_end");
    bool by_client = bytes_equal_text(value_string(sender), "client");
    bool done = value_set(arena, metadata, "duplicated", value_text(arena, bytes_of(note))) &&
                value_set(arena, websocket, "messages", take(migration, "messages")) &&
                value_set(arena, websocket, "closed_by_client", value_bool(arena, by_client)) &&
                value_set(arena, websocket, "close_code", take(migration, "close_code")) &&
                value_set(arena, websocket, "close_reason", take(migration, "close_reason")) &&
                value_set(arena, websocket, "timestamp_end",
                          end ? value_copy(arena, end) : value_null(arena)) &&
                value_set(arena, flow, "websocket", websocket);
    migration->flow = flow;
    return done || flow_error_memory(migration->error);
}

static bool from_11(struct migration *migration)
{
    const struct value *metadata = value_get(migration->flow, "metadata");
    bool done = value_get(metadata, "websocket_handshake")
                    ? join(migration)
                    : migrate_set_null(migration, migration->flow, "websocket");
    return done && migrate_set_version(migration, 12);
}

static bool from_12(struct migration *migration)
{
    bool marked = value_is_true(value_get(migration->flow, "marked"));
    return migrate_set(migration, migration->flow, "marked",
                       value_text(migration->arena, bytes_of(marked ? ":default:" : ""))) &&
           migrate_set_version(migration, 13);
}

/* number + 1, of the kind that it has. */
static struct value *add_one(struct migration *migration, const struct value *number)
{
    int64_t integer;
    double real;
    if (value_is(number, VALUE_INT) && value_to_int64(number, &integer) && integer < INT64_MAX)
        return value_int(migration->arena, integer + 1);
    if (value_to_double(number, &real))
        return value_float(migration->arena, real + 1);
    return value_null(migration->arena);
}

static bool from_13(struct migration *migration)
{
    struct value *response = message_of(migration, "response");
    const struct value *end = value_get(message_of(migration, "request"), "timestamp_end");
    bool unknown = response && value_is_null(value_get(response, "timestamp_start"));
    if (unknown &&
        (!migrate_set(migration, response, "timestamp_start",
                      end ? value_copy(migration->arena, end) : value_null(migration->arena)) ||
         !migrate_set(migration, response, "timestamp_end", add_one(migration, end))))
        return false;
    return migrate_set(migration, migration->flow, "comment",
                       value_text(migration->arena, bytes_of(""))) &&
           migrate_set_version(migration, 14);
}

/* Each WebSocket message gets "injected". */
static bool from_14(struct migration *migration)
{
    struct value *messages = value_get(value_get(migration->flow, "websocket"), "messages");
    for (struct value *item = value_is(messages, VALUE_LIST) ? messages->first : NULL; item;
         item = item->next)
        if (value_is(item, VALUE_LIST) && !value_append(item, value_bool(migration->arena, false)))
            return flow_error_memory(migration->error);
    return migrate_set_version(migration, 15);
}

static bool from_15(struct migration *migration)
{
    const struct value *owner = value_get(migration->flow, "request");
    const struct value *start =
        value_get(value_is(owner, VALUE_DICT) ? owner : value_get(migration->flow, "client_conn"),
                  "timestamp_start");
    return migrate_set(migration, migration->flow, "timestamp_created",
                       start ? value_copy(migration->arena, start)
                             : value_null(migration->arena)) &&
           migrate_set_version(migration, 16);
}

static bool from_16(struct migration *migration)
{
    value_pop(migration->flow, "mode");
    return migrate_set_version(migration, 17);
}

static bool from_17(struct migration *migration)
{
    struct value *client = migrate_need_dict(migration, migration->flow, "client_conn");
    return client &&
           migrate_set(migration, client, "proxy_mode",
                       value_text(migration->arena, bytes_of("regular"))) &&
           migrate_set_version(migration, 18);
}

static bool convert_connection_18(struct migration *migration, struct value *connection)
{
    static const char *const addresses[] = {"peername", "sockname", "address"};
    value_pop(connection, "tls_established");
    if (!migrate_rename(migration, connection, "cipher_name", "cipher") ||
        (!value_get(connection, "transport_protocol") &&
         !migrate_set(migration, connection, "transport_protocol",
                      value_text(migration->arena, bytes_of("tcp")))))
        return false;
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        struct value *host = value_item(value_get(connection, addresses[i]), 0);
        if (!migrate_decode(migration, host, false))
            return false;
    }
    return true;
}

static bool convert_client_18(struct migration *migration, struct value *client)
{
    if (!migrate_rename(migration, client, "address", "peername"))
        return false;
    value_pop(client, "tls_extensions");
    return !value_is_null(value_get(client, "timestamp_start")) ||
           migrate_set(migration, client, "timestamp_start", value_float(migration->arena, 0));
}

static bool convert_server_18(struct migration *migration, struct value *server)
{
    return migrate_rename(migration, server, "ip_address", "peername") &&
           migrate_rename(migration, server, "source_address", "sockname") &&
           migrate_rename(migration, server, "via2", "via");
}

/* "sni: true" said that the server's name is that of its address. */
static bool name_sni(struct migration *migration, struct value *server)
{
    const struct value *sni = value_get(server, "sni");
    const struct value *host = value_item(value_get(server, "address"), 0);
    if (!value_is(sni, VALUE_BOOL) || !sni->boolean)
        return true;
    return migrate_set(migration, server, "sni",
                       host ? value_copy(migration->arena, host) : value_null(migration->arena));
}

static bool from_18(struct migration *migration)
{
    struct value *client = migrate_need_dict(migration, migration->flow, "client_conn");
    struct value *server = migrate_need_dict(migration, migration->flow, "server_conn");
    return client && server && convert_client_18(migration, client) &&
           convert_server_18(migration, server) && convert_connection_18(migration, client) &&
           convert_connection_18(migration, server) && name_sni(migration, server) &&
           migrate_set_version(migration, 19);
}

static bool from_19(struct migration *migration)
{
    struct value *client = migrate_need_dict(migration, migration->flow, "client_conn");
    struct value *server = migrate_need_dict(migration, migration->flow, "server_conn");
    value_pop(client, "state");
    value_pop(server, "state");
    return client && server && migrate_set_version(migration, 20);
}

static bool name_quic(struct migration *migration, const char *key)
{
    struct value *connection = migrate_need_dict(migration, migration->flow, key);
    if (!connection)
        return false;
    if (!bytes_equal_text(value_string(value_get(connection, "tls_version")), "QUIC"))
        return true;
    return migrate_set(migration, connection, "tls_version",
                       value_text(migration->arena, bytes_of("QUICv1")));
}

static bool from_20(struct migration *migration)
{
    return name_quic(migration, "client_conn") && name_quic(migration, "server_conn") &&
           migrate_set_version(migration, 21);
}

const struct migrate_entry migrate_int_table[] = {
    {4, from_4},   {5, from_5},   {6, from_6},   {7, from_7},   {8, from_8},   {9, from_9},
    {10, from_10}, {11, from_11}, {12, from_12}, {13, from_13}, {14, from_14}, {15, from_15},
    {16, from_16}, {17, from_17}, {18, from_18}, {19, from_19}, {20, from_20}, {0, NULL},
};
