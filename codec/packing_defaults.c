/* A flow made by hand: what is missing is as in a flow that mitmproxy makes itself (Flow.__init__
 * in mitmproxy/flow.py, Client and Server in mitmproxy/connection.py, Request.make and
 * Response.make in mitmproxy/http.py). */
#include "packing.h"

#include "json_parse.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

/* Where 0.0 stands, the time of the request is put; where an id is empty, one is made. */
#define CONNECTION                                                                                 \
    "\"id\": \"\", \"transport_protocol\": \"tcp\", \"error\": null, \"tls\": false, "             \
    "\"certificate_list\": [], \"alpn\": null, \"alpn_offers\": [], \"cipher\": null, "            \
    "\"cipher_list\": [], \"tls_version\": null, \"sni\": null, "

static const char common[] =
    "{\"version\": 21, \"type\": \"\", \"id\": \"\", \"error\": null, "
    "\"client_conn\": {\"peername\": [\"127.0.0.1\", 0], \"sockname\": [\"127.0.0.1\", "
    "0], " CONNECTION
    "\"timestamp_start\": 0.0, \"timestamp_end\": null, \"timestamp_tls_setup\": null, "
    "\"mitmcert\": null, \"proxy_mode\": \"regular\"}, "
    "\"server_conn\": {\"peername\": null, \"sockname\": null, " CONNECTION
    "\"timestamp_start\": null, \"timestamp_end\": null, \"timestamp_tls_setup\": null, "
    "\"address\": null, \"timestamp_tcp_setup\": null, \"via\": null}, "
    "\"intercepted\": false, \"is_replay\": null, \"marked\": \"\", \"metadata\": {}, "
    "\"comment\": \"\", \"timestamp_created\": 0.0, \"backup\": null}";

/* What lines and files tell is not in these. */
static const char http[] =
    "{\"request\": {\"timestamp_start\": 0.0, \"timestamp_end\": 0.0}, \"response\": null, "
    "\"websocket\": null}";
static const char response[] = "{\"timestamp_start\": 0.0, \"timestamp_end\": 0.0}";
static const char websocket[] =
    "{\"messages\": [], \"closed_by_client\": null, \"close_code\": null, \"close_reason\": null, "
    "\"timestamp_end\": null}";
static const char dns_message[] =
    "{\"id\": 0, \"query\": true, \"op_code\": 0, \"authoritative_answer\": false, \"truncation\": "
    "false, \"recursion_desired\": true, \"recursion_available\": false, \"reserved\": 0, "
    "\"response_code\": 0, \"questions\": [], \"answers\": [], \"authorities\": [], "
    "\"additionals\": [], \"timestamp\": 0.0}";
static const char stream[] = "{\"messages\": []}";

/* Values parsed from a literal never fail but for memory. */
static struct value *parse(const struct packing *packing, const char *text)
{
    struct value *value = json_parse(bytes_of(text), packing->arena, NULL);
    if (!value)
        flow_error_memory(packing->error);
    return value;
}

static bool is_zero_time(const struct value *value)
{
    return value->kind == VALUE_FLOAT && bytes_equal_text(value->bytes, "0.0");
}

static bool set_times(const struct packing *packing, struct value *dict, double time)
{
    for (struct value *member = dict->first; member; member = member->next) {
        if (member->kind == VALUE_DICT && !set_times(packing, member, time))
            return false;
        if (!is_zero_time(member))
            continue;
        const struct value *now = value_float(packing->arena, time);
        if (!now)
            return flow_error_memory(packing->error);
        member->bytes = now->bytes;
    }
    return true;
}

/* The member of that name among the first `count`. */
static struct value *find_among(const struct value *dict, size_t count, struct bytes name)
{
    struct value *member = dict->first;
    for (size_t i = 0; i < count; i++, member = member->next)
        if (bytes_equal(member->key->bytes, name))
            return member;
    return NULL;
}

/* Puts the members of `told` into `dict`, in the place of those of the same name. Where both are
 * dicts, the same inside. */
static bool overlay(const struct packing *packing, struct value *dict, const struct value *told)
{
    size_t defaults = dict->count; /* what is told may be long, and has each name once */
    for (const struct value *member = told->first; member; member = member->next) {
        struct value *there = find_among(dict, defaults, value_string(member->key));
        if (value_is(there, VALUE_DICT) && member->kind == VALUE_DICT) {
            if (!overlay(packing, there, member))
                return false;
            continue;
        }
        struct value *copy = value_copy(packing->arena, member);
        if (there && copy) {
            copy->key = there->key;
            copy->next = there->next;
            copy->previous = there->previous;
            *(there->previous ? &there->previous->next : &dict->first) = copy;
            *(there->next ? &there->next->previous : &dict->last) = copy;
        } else if (!value_append_member(dict, value_copy(packing->arena, member->key), copy)) {
            return flow_error_memory(packing->error);
        }
    }
    return true;
}

/* The file that a flow made by hand is known by. */
static enum flowdir_file main_file(const struct packing *packing)
{
    static const enum flowdir_file files[] = {FLOWDIR_REQUEST_HEADERS, FLOWDIR_QUERY, FLOWDIR_FLOW};
    for (size_t i = 0; i < 2; i++)
        if (packing_has(packing, files[i]))
            return files[i];
    return FLOWDIR_FLOW;
}

/* What a mount sets in its inode numbers, to tell them from those of the files behind them. */
#define INODE_OF_MOUNT ((uint64_t)1 << 63)

/* A UUID of version 8 (RFC 9562): the same as long as the directory and what the flow asks for are
 * the same, in @staging and in the folder behind it. Two flows that ask for the same in two
 * directories are two. */
static struct value *make_id(const struct packing *packing, uint64_t seed)
{
    char text[40];
    struct bytes content = {0};
    struct stat status = {0};
    if (!packing_read(packing, main_file(packing), &content))
        return NULL;
    if (fstat(packing->directory, &status) == 0) {
        uint64_t inode = status.st_ino & ~INODE_OF_MOUNT;
        seed = bytes_hash(bytes_make(&inode, sizeof inode), seed);
    }
    uint64_t high = bytes_hash(content, seed), low = bytes_hash(content, ~seed);
    snprintf(text, sizeof text,
             "%08" PRIx64 "-%04" PRIx64 "-8%03" PRIx64 "-%04" PRIx64 "-%012" PRIx64, high >> 32,
             high >> 16 & 0xFFFF, high & 0xFFF, (low >> 48 & 0x3FFF) | 0x8000,
             low & 0xFFFFFFFFFFFF);
    struct bytes kept = arena_copy(packing->arena, bytes_of(text));
    struct value *id = kept.data ? value_text(packing->arena, kept) : NULL;
    if (!id)
        flow_error_memory(packing->error);
    return id;
}

static bool set_id(const struct packing *packing, struct value *dict, uint64_t seed)
{
    const struct value *told = value_get(dict, "id");
    if (!value_is(dict, VALUE_DICT) || !value_is(told, VALUE_TEXT) || told->bytes.size)
        return true;
    struct value *id = make_id(packing, seed);
    return id && (value_set(packing->arena, dict, "id", id) || flow_error_memory(packing->error));
}

static double now_of(const struct packing *packing)
{
    return packing_time(packing, main_file(packing));
}

static struct value *make_dict(const struct packing *packing, const char *text, double time)
{
    struct value *dict = parse(packing, text);
    return dict && set_times(packing, dict, time) ? dict : NULL;
}

/* A response comes when the request is over. */
struct value *packing_default_response(const struct packing *packing)
{
    double time = 0;
    const struct value *request = value_get(packing->state, "request");
    if (!value_to_double(value_get(request, "timestamp_end"), &time) || !(time > 0))
        time = now_of(packing);
    return make_dict(packing, response, time);
}

struct value *packing_default_websocket(const struct packing *packing)
{
    return make_dict(packing, websocket, now_of(packing));
}

/* Adds what is missing of `usual`, unless it was captured like that. */
static bool fill(const struct packing *packing, struct value *dict, const char *name,
                 const struct value *usual)
{
    char path[64];
    const struct value *member = usual ? usual->first : NULL;
    for (; member; member = member->next) {
        struct bytes key = value_string(member->key);
        snprintf(path, sizeof path, "%s.%.*s", name, (int)key.size, (const char *)key.data);
        if (value_get(dict, path + strlen(name) + 1) || packing_may_be_odd(packing, path))
            continue;
        if (!value_append_member(dict, value_copy(packing->arena, member->key),
                                 value_copy(packing->arena, member)))
            return flow_error_memory(packing->error);
    }
    return usual != NULL;
}

bool packing_fill_websocket(const struct packing *packing)
{
    struct value *dict = value_get(packing->state, "websocket");
    return !value_is(dict, VALUE_DICT) ||
           fill(packing, dict, "websocket", packing_default_websocket(packing));
}

bool packing_fill_dns(const struct packing *packing, struct value *message, bool is_query)
{
    struct value *usual = make_dict(packing, dns_message, now_of(packing));
    struct value *query = value_get(usual, "query");
    if (query)
        query->boolean = is_query;
    return fill(packing, message, is_query ? "request" : "response", usual);
}

static bool set_transport(const struct packing *packing, struct value *connection)
{
    return value_set(packing->arena, connection, "transport_protocol",
                     value_text(packing->arena, bytes_of("udp"))) ||
           flow_error_memory(packing->error);
}

bool packing_defaults(struct packing *packing, const char *type)
{
    bool is_dns = strcmp(type, "dns") == 0;
    const char *own = strcmp(type, "http") == 0 ? http : is_dns ? "{\"response\": null}" : stream;
    double now = now_of(packing);
    struct value *state = make_dict(packing, common, now);
    const struct value *part = make_dict(packing, own, now);
    if (!state || !part)
        return false;
    struct value *client = value_get(state, "client_conn");
    struct value *server = value_get(state, "server_conn");
    struct bytes name = arena_copy(packing->arena, bytes_of(type));
    if (!name.data || !value_set(packing->arena, state, "type", value_text(packing->arena, name)))
        return flow_error_memory(packing->error);
    if ((is_dns || strcmp(type, "udp") == 0) &&
        (!set_transport(packing, client) || !set_transport(packing, server)))
        return false;
    if (!overlay(packing, state, part) || !overlay(packing, state, packing->state))
        return false;
    packing->state = state;
    return set_id(packing, state, 1) && set_id(packing, value_get(state, "client_conn"), 2) &&
           set_id(packing, value_get(state, "server_conn"), 3);
}
