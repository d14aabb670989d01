#include "migrate_steps.h"

#include "flow_target.h"
#include "url.h"

#include <errno.h>
#include <inttypes.h>

/* More steps than there are versions would be a table that leads in a circle. */
#define MOST_STEPS 64

#define NO_VERSION (-1)

/* The version as one number, or NO_VERSION. Pairs may have a third part, which tells nothing. */
static int64_t version_of(const struct value *flow)
{
    int64_t major, minor, version;
    const struct value *value = value_get(flow, "version");
    if (value_is(value, VALUE_INT) && value_to_int64(value, &version) && version >= 0 &&
        version < 1000)
        return version;
    if (value_is(value, VALUE_INT))
        return value->bytes.size > 3 && value->bytes.data[0] != '-' ? INT64_MAX : NO_VERSION;
    if (value_is(value, VALUE_LIST) && value->count >= 2 && value_to_int64(value->first, &major) &&
        value_to_int64(value->first->next, &minor) && major >= 0 && major < 9 && minor >= 0 &&
        minor < 100)
        return MIGRATE_PAIR(major, minor);
    return NO_VERSION;
}

static bool is_before_12(const struct value *flow)
{
    int64_t version = version_of(flow);
    return (version >= 4 && version <= 11) ||
           (version >= MIGRATE_PAIR(0, 11) && version < MIGRATE_PAIR(9, 0));
}

const struct value *migrate_handshake_id(const struct value *flow)
{
    const struct value *id = value_get(value_get(flow, "metadata"), "websocket_handshake");
    return is_before_12(flow) && value_is_string(id) ? id : NULL;
}

bool migrate_is_handshake(const struct value *flow)
{
    return is_before_12(flow) && value_get(value_get(flow, "metadata"), "websocket") != NULL;
}

struct value *migrate_need_dict(struct migration *migration, const struct value *dict,
                                const char *key)
{
    struct value *member = value_get(dict, key);
    if (value_is(member, VALUE_DICT))
        return member;
    flow_error_set(migration->error, EBADMSG, migration->flow->offset, "%s, expected a dict",
                   member ? "of another kind" : "missing");
    flow_error_prepend_key(migration->error, key);
    return NULL;
}

bool migrate_set(struct migration *migration, struct value *dict, const char *key,
                 struct value *member)
{
    return value_set(migration->arena, dict, key, member) || flow_error_memory(migration->error);
}

bool migrate_set_null(struct migration *migration, struct value *dict, const char *key)
{
    return migrate_set(migration, dict, key, value_null(migration->arena));
}

bool migrate_rename(struct migration *migration, struct value *dict, const char *old_name,
                    const char *new_name)
{
    struct value *member = value_pop(dict, old_name);
    return migrate_set(migration, dict, new_name, member ? member : value_null(migration->arena));
}

bool migrate_decode(struct migration *migration, struct value *value, bool ascii)
{
    struct buffer text = BUFFER_INIT;
    struct bytes rest = value_string(value);
    if (!value_is(value, VALUE_BYTES) || rest.size != value->bytes.size)
        return true;
    while (rest.size) {
        size_t length = ascii ? rest.data[0] < 0x80 : bytes_utf8_length(rest);
        if (length)
            buffer_append(&text, rest.data, length);
        else
            buffer_printf(&text, "\\x%02x", rest.data[0]);
        length += !length;
        rest = bytes_make(rest.data + length, rest.size - length);
    }
    bool changed = text.size != value->bytes.size;
    struct bytes kept = changed ? arena_copy(migration->arena, buffer_bytes(&text)) : value->bytes;
    bool failed = text.failed || (changed && !kept.data);
    buffer_free(&text);
    if (failed)
        return flow_error_memory(migration->error);
    value->kind = VALUE_TEXT;
    value->bytes = kept;
    if (changed)
        value->offset = VALUE_NO_OFFSET;
    return true;
}

bool migrate_set_version(struct migration *migration, int64_t version)
{
    return migrate_set(migration, migration->flow, "version", value_int(migration->arena, version));
}

bool migrate_set_version_list(struct migration *migration, const int64_t *parts, size_t count)
{
    struct value *list = value_list(migration->arena);
    for (size_t i = 0; i < count; i++)
        if (!value_append(list, value_int(migration->arena, parts[i])))
            return flow_error_memory(migration->error);
    return migrate_set(migration, migration->flow, "version", list);
}

bool migrate_servers(struct migration *migration,
                     bool (*convert)(struct migration *migration, struct value *server))
{
    struct value *server = migrate_need_dict(migration, migration->flow, "server_conn");
    if (!server || !convert(migration, server))
        return false;
    struct value *via = value_get(server, "via");
    return !value_is(via, VALUE_DICT) || convert(migration, via);
}

bool migrate_connections(struct migration *migration,
                         bool (*convert)(struct migration *migration, struct value *connection))
{
    struct value *client = migrate_need_dict(migration, migration->flow, "client_conn");
    return client && convert(migration, client) && migrate_servers(migration, convert);
}

static migrate_step *find_step(int64_t version)
{
    const struct migrate_entry *entry =
        version >= MIGRATE_PAIR(0, 0) ? migrate_old_table : migrate_int_table;
    while (entry->step && entry->from != version)
        entry++;
    return entry->step;
}

static void refuse_version(const struct value *flow, int64_t version, struct flow_error *error)
{
    const char *expected = "expected (0, 11) to (3, 0), or 4 and newer";
    if (!value_is(flow, VALUE_DICT))
        flow_error_set(error, EBADMSG, flow->offset, "not a flow: expected a dict");
    else if (version == NO_VERSION)
        flow_error_set(error, ENOTSUP, flow->offset, "no flow format version, %s", expected);
    else if (version >= MIGRATE_PAIR(0, 0))
        flow_error_set(error, ENOTSUP, flow->offset,
                       "flow format version (%" PRId64 ", %" PRId64 ") cannot be read, %s",
                       (version - 1000) / 100, (version - 1000) % 100, expected);
    else
        flow_error_set(error, ENOTSUP, flow->offset,
                       "flow format version %" PRId64 " cannot be read, %s", version, expected);
}

bool migrate_to(struct migration *migration, int64_t target)
{
    for (int i = 0; i < MOST_STEPS; i++) {
        int64_t version = version_of(migration->flow);
        if ((version >= target && version < MIGRATE_PAIR(0, 0)) || version == INT64_MAX)
            return true;
        migrate_step *step = find_step(version);
        if (!step) {
            refuse_version(migration->flow, version, migration->error);
            return false;
        }
        if (!step(migration))
            return false;
    }
    refuse_version(migration->flow, NO_VERSION, migration->error);
    return false;
}

/* What mitmproxy's classes do when they take over a state that the steps have left so: the host of
 * a request becomes text, and a flow has a backup, be it null. */
static bool complete(struct migration *migration)
{
    struct value *host = value_get(value_get(migration->flow, "request"), "host");
    if (!value_get(migration->flow, "backup") &&
        !migrate_set_null(migration, migration->flow, "backup"))
        return false;
    if (!value_is(host, VALUE_BYTES))
        return true;
    if (!migrate_decode(migration, host, false))
        return false;
    if (!flow_target_is_idna(value_string(host)))
        return true;
    struct buffer text = BUFFER_INIT;
    url_append_host(&text, value_string(host));
    host->bytes = arena_copy(migration->arena, buffer_bytes(&text));
    host->offset = VALUE_NO_OFFSET;
    bool done = !text.failed && host->bytes.data;
    buffer_free(&text);
    return done || flow_error_memory(migration->error);
}

struct value *migrate(struct value *flow, struct value *handshake, struct arena *arena,
                      struct flow_error *error)
{
    struct migration migration = {flow, handshake, arena, error};
    int64_t version = version_of(flow);
    bool old = version < MIGRATE_VERSION_NEWEST ||
               (version >= MIGRATE_PAIR(0, 0) && version < MIGRATE_PAIR(9, 0));
    if (!migrate_to(&migration, MIGRATE_VERSION_NEWEST) || (old && !complete(&migration)))
        return NULL;
    return migration.flow;
}
