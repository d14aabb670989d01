#include "downgrade.h"

#include "migrate.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

struct downgrading {
    struct value *state;
    struct value *client, *server; /* its connections */
    struct arena *arena;
    downgrade_report *report;
    void *context;
    struct flow_error *error;
};

static bool set(struct downgrading *downgrading, struct value *dict, const char *key,
                struct value *member)
{
    return (member && value_set(downgrading->arena, dict, key, member)) ||
           flow_error_memory(downgrading->error);
}

/* The member goes under its old name; a missing one becomes null. */
static bool rename_member(struct downgrading *downgrading, struct value *dict, const char *name,
                          const char *old_name)
{
    struct value *member = value_pop(dict, name);
    return set(downgrading, dict, old_name, member ? member : value_null(downgrading->arena));
}

static void tell(const struct downgrading *downgrading, const char *what)
{
    if (downgrading->report)
        downgrading->report(downgrading->context, what);
}

static bool name_quic(struct downgrading *downgrading, struct value *connection)
{
    struct bytes version = value_string(value_get(connection, "tls_version"));
    return !bytes_equal_text(version, "QUICv1") ||
           set(downgrading, connection, "tls_version",
               value_text(downgrading->arena, bytes_of("QUIC")));
}

static bool to_20(struct downgrading *downgrading)
{
    return name_quic(downgrading, downgrading->client) &&
           name_quic(downgrading, downgrading->server);
}

/* 0 is a connection that is closed, as it is when it is read from a file. */
static bool to_19(struct downgrading *downgrading)
{
    return set(downgrading, downgrading->client, "state", value_int(downgrading->arena, 0)) &&
           set(downgrading, downgrading->server, "state", value_int(downgrading->arena, 0));
}

static bool revert_connection(struct downgrading *downgrading, struct value *connection)
{
    bool established = !value_is_null(value_get(connection, "timestamp_tls_setup"));
    return rename_member(downgrading, connection, "cipher", "cipher_name") &&
           set(downgrading, connection, "tls_established",
               value_bool(downgrading->arena, established));
}

static bool to_18(struct downgrading *downgrading)
{
    struct value *client = downgrading->client;
    struct value *server = downgrading->server;
    /* Null members were left out then. */
    if (value_is_null(value_get(downgrading->state, "backup")))
        value_pop(downgrading->state, "backup");
    return revert_connection(downgrading, client) && revert_connection(downgrading, server) &&
           rename_member(downgrading, client, "peername", "address") &&
           set(downgrading, client, "tls_extensions", value_list(downgrading->arena)) &&
           rename_member(downgrading, server, "peername", "ip_address") &&
           rename_member(downgrading, server, "sockname", "source_address") &&
           rename_member(downgrading, server, "via", "via2") &&
           set(downgrading, server, "via", value_null(downgrading->arena));
}

static bool drop_transport(const struct downgrading *downgrading, struct value *connection)
{
    const struct value *transport = value_pop(connection, "transport_protocol");
    return !transport || bytes_equal_text(value_string(transport), "tcp") ||
           (tell(downgrading, "that its connection is not TCP cannot be told in version 17"), true);
}

/* mitmproxy 8.1.1, which stops at version 17, refuses a whole file for a member that it does not
 * know: these are all that it knows (Flow._stateobject_attributes and those of its classes). */
static bool is_known_in_17(struct bytes name)
{
    static const char *const known[] = {
        "backup",      "client_conn",       "comment",   "error",
        "id",          "intercepted",       "is_replay", "marked",
        "messages",    "metadata",          "request",   "response",
        "server_conn", "timestamp_created", "type",      "version",
        "websocket",
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (bytes_equal_text(name, known[i]))
            return true;
    return false;
}

/* Takes a member out and tells why. */
static void drop(const struct downgrading *downgrading, struct value *dict, struct value *member,
                 const char *why)
{
    char text[200], name[65];
    struct bytes key = value_string(member->key);
    snprintf(name, sizeof name, "%.*s", (int)(key.size < 64 ? key.size : 64),
             key.size ? (const char *)key.data : "");
    snprintf(text, sizeof text, "its member \"%s\" %s and is left out", name, why);
    value_remove(dict, member);
    tell(downgrading, text);
}

static void drop_unknown(const struct downgrading *downgrading)
{
    struct value *next;
    for (struct value *member = downgrading->state->first; member; member = next) {
        next = member->next;
        if (!is_known_in_17(value_string(member->key)))
            drop(downgrading, downgrading->state, member, "is unknown in version 17");
    }
}

static bool holds_bytes(const struct value *value)
{
    if (value_is(value, VALUE_BYTES) || value_is(value->key, VALUE_BYTES))
        return true;
    for (const struct value *child = value->first; child; child = child->next)
        if (holds_bytes(child))
            return true;
    return false;
}

/* Its reader also refuses a file for metadata that JSON could not hold (stateobject.py, _process).
 */
static void drop_bytes_of_metadata(const struct downgrading *downgrading)
{
    struct value *metadata = value_get(downgrading->state, "metadata");
    struct value *next;
    for (struct value *member = value_is(metadata, VALUE_DICT) ? metadata->first : NULL; member;
         member = next) {
        next = member->next;
        if (holds_bytes(member))
            drop(downgrading, metadata, member,
                 "has bytes in it, which metadata of version 17 has not");
    }
}

static bool to_17(struct downgrading *downgrading)
{
    drop_unknown(downgrading);
    drop_bytes_of_metadata(downgrading);
    const struct value *mode = value_pop(downgrading->client, "proxy_mode");
    if (bytes_equal_text(value_string(value_get(downgrading->state, "type")), "udp")) {
        flow_error_set(downgrading->error, ENOTSUP, FLOW_ERROR_NO_OFFSET,
                       "UDP flows cannot be written in format version 17; 18 can hold them");
        return false;
    }
    if (mode && !bytes_equal_text(value_string(mode), "regular"))
        tell(downgrading, "the proxy's mode cannot be told in version 17");
    return drop_transport(downgrading, downgrading->client) &&
           drop_transport(downgrading, downgrading->server);
}

/* The step to each version from the one above. */
static bool (*const steps[])(struct downgrading *downgrading) = {
    [17 - DOWNGRADE_VERSION_OLDEST] = to_17,
    [18 - DOWNGRADE_VERSION_OLDEST] = to_18,
    [19 - DOWNGRADE_VERSION_OLDEST] = to_19,
    [20 - DOWNGRADE_VERSION_OLDEST] = to_20,
};

static bool find_connections(struct downgrading *downgrading)
{
    downgrading->client = value_get(downgrading->state, "client_conn");
    downgrading->server = value_get(downgrading->state, "server_conn");
    if (value_is(downgrading->client, VALUE_DICT) && value_is(downgrading->server, VALUE_DICT))
        return true;
    flow_error_set(downgrading->error, EBADMSG, FLOW_ERROR_NO_OFFSET,
                   "the flow has no client_conn or server_conn that is a dict");
    return false;
}

static bool step_down(struct downgrading *downgrading, int64_t version)
{
    for (int64_t to = MIGRATE_VERSION_NEWEST - 1; to >= version; to--)
        if (!steps[to - DOWNGRADE_VERSION_OLDEST](downgrading))
            return false;
    return set(downgrading, downgrading->state, "version", value_int(downgrading->arena, version));
}

bool downgrade(struct value *state, int64_t version, struct arena *arena, downgrade_report *report,
               void *context, struct flow_error *error)
{
    struct downgrading downgrading = {
        .state = state, .arena = arena, .report = report, .context = context, .error = error};
    if (version < DOWNGRADE_VERSION_OLDEST || version > MIGRATE_VERSION_NEWEST) {
        flow_error_set(error, ENOTSUP, FLOW_ERROR_NO_OFFSET,
                       "flow files can be written in format version %d to %d, not %" PRId64,
                       DOWNGRADE_VERSION_OLDEST, MIGRATE_VERSION_NEWEST, version);
        return false;
    }
    if (!find_connections(&downgrading))
        return false;
    struct value *backup = value_get(state, "backup");
    if (value_is(backup, VALUE_DICT)) {
        struct downgrading inner = downgrading;
        inner.state = backup;
        if (!find_connections(&inner) || !step_down(&inner, version))
            return false;
    }
    return step_down(&downgrading, version);
}
