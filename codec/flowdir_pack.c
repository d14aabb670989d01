#include "flowdir_pack.h"

#include "json_parse.h"
#include "migrate.h"
#include "packing.h"

#include <errno.h>
#include <stdio.h>

static const char *type_of(const struct packing *packing, char type[32])
{
    struct bytes name = value_string(value_get(packing->state, "type"));
    snprintf(type, 32, "%.*s", (int)(name.size < 31 ? name.size : 31),
             name.size ? (const char *)name.data : "");
    return type;
}

/* Takes the notes out of what flow.json holds. A flow whose members are told in pairs has them
 * beside the pairs. */
static bool take_notes(struct packing *packing)
{
    struct value *pairs = value_get(packing->state, "dict");
    struct value *notes = value_pop(packing->state, FLOWDIR_NOTES);
    if (notes && notes->kind != VALUE_DICT)
        return packing_json_mistake(packing, notes,
                                    "found another value, expected the object \"%s\" as it was "
                                    "unpacked",
                                    FLOWDIR_NOTES);
    packing->notes = notes;
    if (!notes || !pairs || packing->state->count != 1 || pairs->kind != VALUE_LIST)
        return true;
    packing->state = json_parse_pairs(pairs, packing->arena, packing->error);
    return packing->state != NULL;
}

static bool check_version(struct packing *packing)
{
    int64_t number;
    const struct value *version = value_get(packing->state, "version");
    packing->by_hand = !version;
    if (!version)
        return true;
    if (version->kind != VALUE_INT || !value_to_int64(version, &number))
        return packing_json_mistake(packing, version, "found another value, expected version %d",
                                    MIGRATE_VERSION_NEWEST);
    return number >= MIGRATE_VERSION_NEWEST ||
           packing_json_mistake(packing, version, "found version %lld, expected %d",
                                (long long)number, MIGRATE_VERSION_NEWEST);
}

static bool check_type(const struct packing *packing)
{
    const struct value *type = value_get(packing->state, "type");
    if (packing->by_hand && !type)
        return true;
    return value_is_string(type) ||
           packing_json_mistake(packing, type ? type : packing->state,
                                "found no type, expected \"type\": \"http\", \"tcp\", \"udp\" or "
                                "\"dns\"");
}

static bool read_flow_json(struct packing *packing)
{
    if (!packing_has(packing, FLOWDIR_FLOW)) {
        packing->state = value_dict(packing->arena);
        packing->by_hand = true;
        return packing->state || flow_error_memory(packing->error);
    }
    packing->state = packing_read_json(packing, FLOWDIR_FLOW, &packing->json);
    if (!packing->state)
        return false;
    if (packing->state->kind != VALUE_DICT)
        return packing_json_mistake(packing, packing->state,
                                    "found another value, expected an object");
    return take_notes(packing) && check_version(packing) && check_type(packing);
}

/* A flow made by hand: its type follows from its files. */
static bool fill_defaults(struct packing *packing)
{
    char type[32];
    type_of(packing, type);
    if (!*type && packing_has(packing, FLOWDIR_REQUEST_HEADERS))
        snprintf(type, sizeof type, "http");
    else if (!*type && packing_has(packing, FLOWDIR_QUERY))
        snprintf(type, sizeof type, "dns");
    else if (!*type)
        return packing_mistake(
            packing, "request.headers", 0,
            "found no such file, expected it (`GET http://example.com/ HTTP/1.1` "
            "is enough), or query.json, or flow.json with a type");
    if (flow_type_of_name(bytes_of(type)) == FLOW_OTHER)
        return packing_json_mistake(packing, value_get(packing->state, "type"),
                                    "found the type \"%s\", expected http, tcp, udp or dns", type);
    return packing_defaults(packing, type);
}

/* Puts the flow's own member of that name back. */
static bool put_own(const struct packing *packing)
{
    const struct value *own = packing_note(packing, "member");
    return !own || packing_put(packing, packing->state, FLOWDIR_STATE, FLOWDIR_NOTES,
                               value_copy(packing->arena, own));
}

static bool refuse(const struct packing *packing, enum flowdir_file file, const char *why)
{
    return !packing_has(packing, file) ||
           packing_mistake(packing, flowdir_file_name(file), 0, "found it, but %s; remove it", why);
}

static bool refuse_side(const struct packing *packing, enum flowdir_file first, const char *why)
{
    for (int file = (int)first; file < (int)first + 4; file++)
        if (!refuse(packing, (enum flowdir_file)file, why))
            return false;
    return true;
}

static bool pack_message(const struct packing *packing, const struct packing_side *side)
{
    return packing_headers(packing, side) && packing_content(packing, side) &&
           packing_trailers(packing, side);
}

/* port 0: that of the scheme, which is the one that was captured. */
static bool put_address(const struct packing *packing, struct value *request, struct bytes host,
                        uint16_t port)
{
    struct arena *arena = packing->arena;
    bool captured_tls = value_is_true(value_get(value_get(packing->state, "server_conn"), "tls"));
    bool tls = port ? port == 443 : captured_tls;
    struct bytes scheme = bytes_of(tls ? "https" : "http");
    return packing_put(packing, request, FLOWDIR_REQUEST, "scheme", value_bytes(arena, scheme)) &&
           packing_put(packing, request, FLOWDIR_REQUEST, "host", value_text(arena, host)) &&
           packing_put(packing, request, FLOWDIR_REQUEST, "port",
                       value_int(arena, port  ? port
                                        : tls ? 443
                                              : 80));
}

/* HTTP/1.1 asks for a Host field. */
static bool add_host(const struct packing *packing, struct value *request)
{
    struct value *fields = value_get(request, "headers");
    struct flow_target target = {.scheme = value_string(value_get(request, "scheme")),
                                 .host = value_string(value_get(request, "host"))};
    struct buffer site = BUFFER_INIT;
    value_to_int64(value_get(request, "port"), &target.port);
    flow_target_site(&target, &site);
    struct bytes kept = {0};
    if (!site.failed)
        kept = arena_copy(packing->arena, buffer_bytes(&site));
    buffer_free(&site);
    struct value *item = value_list(packing->arena);
    struct value *with_host = value_list(packing->arena);
    bool done = kept.data && value_append(item, value_bytes(packing->arena, bytes_of("Host"))) &&
                value_append(item, value_bytes(packing->arena, kept)) &&
                value_append(with_host, item);
    /* In front, as RFC 9110, 7.2 asks. */
    for (const struct value *field = fields ? fields->first : NULL; done && field;
         field = field->next)
        done = value_append(with_host, value_copy(packing->arena, field));
    return done ? packing_put(packing, request, FLOWDIR_REQUEST, "headers", with_host)
                : flow_error_memory(packing->error);
}

/* A request line without host leaves it to the Host field, and the other way round. */
static bool finish_request(const struct packing *packing, struct value *request)
{
    struct bytes host, field;
    uint16_t port;
    bool has_host = value_get(request, "host");
    if (!packing->by_hand && (has_host || !packing_had(packing, FLOWDIR_REQUEST, "host")))
        return true;
    if (!flow_fields_get(value_get(request, "headers"), "host", packing->arena, &field))
        return flow_error_memory(packing->error);
    if (has_host)
        return field.data || value_string(value_get(request, "authority")).size ||
               add_host(packing, request);
    if (field.size && flow_target_split_authority(field, &host, &port))
        return put_address(packing, request, host, port);
    return packing_mistake(packing, "request.headers", 1,
                           "found no host, expected a target as http://example.com/ or a Host "
                           "field");
}

static bool pack_request(const struct packing *packing)
{
    struct packing_side side = {
        .dict = value_get(packing->state, "request"),
        .which = FLOWDIR_REQUEST,
        .headers = FLOWDIR_REQUEST_HEADERS,
        .body = FLOWDIR_REQUEST_BODY,
        .raw = FLOWDIR_REQUEST_BODY_RAW,
        .trailers = FLOWDIR_REQUEST_TRAILERS,
        .content_note = "request.content",
    };
    if (!value_is(side.dict, VALUE_DICT))
        return packing_json_mistake(packing, side.dict ? side.dict : packing->state,
                                    "found no request, expected an object \"request\"");
    if (!packing_has(packing, FLOWDIR_REQUEST_HEADERS))
        return packing_mistake(packing, "request.headers", 0,
                               "found no such file, expected the request line and header fields");
    return pack_message(packing, &side) && finish_request(packing, side.dict);
}

/* Without response.headers there is no response. */
static bool drop_response(const struct packing *packing, const struct value *told)
{
    if (!refuse_side(packing, FLOWDIR_RESPONSE_HEADERS, "no response.headers"))
        return false;
    if (!value_is(told, VALUE_DICT))
        return true;
    if (packing->by_hand)
        return packing_json_mistake(packing, told,
                                    "found a response, but no file response.headers; expected both "
                                    "or none");
    return packing_put(packing, packing->state, FLOWDIR_STATE, "response",
                       value_null(packing->arena));
}

static bool pack_response(const struct packing *packing)
{
    struct value *told = value_get(packing->state, "response");
    struct packing_side side = {
        .dict = told,
        .which = FLOWDIR_RESPONSE,
        .headers = FLOWDIR_RESPONSE_HEADERS,
        .body = FLOWDIR_RESPONSE_BODY,
        .raw = FLOWDIR_RESPONSE_BODY_RAW,
        .trailers = FLOWDIR_RESPONSE_TRAILERS,
        .content_note = "response.content",
    };
    if (!packing_has(packing, FLOWDIR_RESPONSE_HEADERS))
        return drop_response(packing, told);
    if (value_is_null(told)) {
        side.made = true;
        side.dict = packing_default_response(packing);
        if (!side.dict ||
            !packing_put(packing, packing->state, FLOWDIR_STATE, "response", side.dict))
            return false;
    }
    if (side.dict->kind != VALUE_DICT)
        return packing_json_mistake(packing, told,
                                    "found another value, expected an object or null");
    return pack_message(packing, &side);
}

/* One of DNS's two messages, which has a file to itself. */
static bool pack_dns_message(const struct packing *packing, enum flowdir_file file, const char *key)
{
    struct bytes text;
    const struct value *told = value_get(packing->state, key);
    const struct value *note = packing_note(packing, flowdir_file_name(file));
    if (!packing_has(packing, file)) {
        bool gone = note || (!told && packing_had(packing, FLOWDIR_STATE, key));
        if (gone && file == FLOWDIR_QUERY)
            return packing_mistake(packing, "query.json", 0,
                                   "found no such file, expected the query");
        return !gone ||
               packing_put(packing, packing->state, FLOWDIR_STATE, key, value_null(packing->arena));
    }
    struct value *message = packing_read_json(packing, file, &text);
    if (!message)
        return false;
    if (note && flowdir_note_matches(note, text))
        return true;
    if (!note && !value_is_null(told))
        return packing_json_mistake(packing, told, "found a %s, expected it in %s alone: remove it",
                                    key, flowdir_file_name(file));
    return packing_fill_dns(packing, message, file == FLOWDIR_QUERY) &&
           packing_check_dns(packing, file, message, text) &&
           packing_put(packing, packing->state, FLOWDIR_STATE, key, message);
}

static bool pack_dns(const struct packing *packing)
{
    return refuse_side(packing, FLOWDIR_REQUEST_HEADERS, "the flow is of the type dns") &&
           refuse_side(packing, FLOWDIR_RESPONSE_HEADERS, "the flow is of the type dns") &&
           pack_dns_message(packing, FLOWDIR_QUERY, "request") &&
           pack_dns_message(packing, FLOWDIR_ANSWER, "response");
}

static bool pack_http(const struct packing *packing)
{
    return refuse(packing, FLOWDIR_QUERY, "the flow is of the type http") &&
           refuse(packing, FLOWDIR_ANSWER, "the flow is of the type http") &&
           pack_request(packing) && pack_response(packing) && packing_fill_websocket(packing);
}

static bool has_any(const struct packing *packing, enum flowdir_file first, enum flowdir_file last)
{
    for (int file = (int)first; file <= (int)last; file++)
        if (packing_has(packing, (enum flowdir_file)file))
            return true;
    return false;
}

/* TCP and UDP; or a type that nobody knows, of which flow.json is all that there is. */
static bool pack_other(const struct packing *packing, bool is_known)
{
    char type[32], why[64];
    if (!is_known && (has_any(packing, FLOWDIR_REQUEST_HEADERS, FLOWDIR_RESPONSE_TRAILERS) ||
                      has_any(packing, FLOWDIR_QUERY, FLOWDIR_ANSWER)))
        return packing_json_mistake(packing, value_get(packing->state, "type"),
                                    "found the type \"%s\" beside a request, a response, a query "
                                    "or an answer, expected http, tcp, udp or dns",
                                    type_of(packing, type));
    snprintf(why, sizeof why, "the flow is of the type %s", type_of(packing, type));
    return refuse(packing, FLOWDIR_QUERY, why) && refuse(packing, FLOWDIR_ANSWER, why) &&
           refuse_side(packing, FLOWDIR_REQUEST_HEADERS, why) &&
           refuse_side(packing, FLOWDIR_RESPONSE_HEADERS, why);
}

/* An error without the message, as flow.json has it; made where there was none. */
static struct value *error_dict(const struct packing *packing)
{
    struct value *told = value_get(packing->state, "error");
    if (!value_is_null(told))
        return told;
    struct value *made = value_dict(packing->arena);
    if (value_set(packing->arena, made, "timestamp",
                  value_float(packing->arena, packing_time(packing, FLOWDIR_ERROR))))
        return packing_put(packing, packing->state, FLOWDIR_STATE, "error", made) ? made : NULL;
    flow_error_memory(packing->error);
    return NULL;
}

static bool pack_error(const struct packing *packing)
{
    struct bytes text;
    struct value *told = value_get(packing->state, "error");
    const struct value *note = packing_note(packing, "error");
    if (!packing_has(packing, FLOWDIR_ERROR)) {
        bool keep = !value_is(told, VALUE_DICT) || (value_get(told, "msg") && !note);
        return keep || packing_put(packing, packing->state, FLOWDIR_STATE, "error",
                                   value_null(packing->arena));
    }
    if (!packing_read(packing, FLOWDIR_ERROR, &text))
        return false;
    if (flowdir_note_matches(note, text))
        return true;
    struct value *error = error_dict(packing);
    if (!error)
        return false;
    if (error->kind != VALUE_DICT)
        return packing_json_mistake(packing, error,
                                    "found another value, expected an object or null");
    if (text.size && text.data[text.size - 1] == '\n')
        text.size--;
    if (!bytes_are_utf8(text))
        return packing_mistake(packing, "error", 1, "found bytes that are no UTF-8, expected text");
    const struct value *message = value_get(error, "msg");
    if (!note && message && !bytes_equal(value_string(message), text))
        return packing_json_mistake(packing, message,
                                    "found a message that is not that of the file error, expected "
                                    "it there alone: remove it");
    return packing_put(packing, error, FLOWDIR_ERROR_DICT, "msg", value_text(packing->arena, text));
}

static bool pack_parts(const struct packing *packing)
{
    bool done = false;
    switch (flow_type_of_name(value_string(value_get(packing->state, "type")))) {
    case FLOW_HTTP:
        done = pack_http(packing);
        break;
    case FLOW_DNS:
        done = pack_dns(packing);
        break;
    case FLOW_TCP:
    case FLOW_UDP:
        done = pack_other(packing, true);
        break;
    case FLOW_OTHER:
        done = pack_other(packing, false);
        break;
    }
    return done && packing_messages(packing) && pack_error(packing) && packing_check(packing) &&
           put_own(packing);
}

bool flowdir_pack(int directory, struct arena *arena, struct value **state,
                  struct flow_error *error)
{
    struct flow_error found = {0};
    struct packing packing = {.directory = directory, .arena = arena, .error = &found};
    bool done = packing_list(&packing) && read_flow_json(&packing) &&
                (!packing.by_hand || fill_defaults(&packing)) && pack_parts(&packing);
    *state = done ? packing.state : NULL;
    if (!done && error && !error->code)
        *error = found;
    return done;
}
