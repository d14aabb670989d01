#include "flow_shape.h"

#include "flow.h"

#include <stdio.h>
#include <string.h>

enum form {
    TEXT,
    DATA,
    TRUTH,
    WHOLE,
    NUMBER,
    OBJECT,
    TEXTS,
    DATAS,
    FIELDS,
    PEER,
    ADDRESS,
    VIA,
    PROTOCOL,
    TLS_VERSION,
    REPLAY,
    STREAM,
    FRAMES,
    QUESTIONS,
    RECORDS,
    ERROR,
    CLIENT,
    SERVER,
    REQUEST,
    RESPONSE,
    WEBSOCKET,
    DNS,
};

#define OR_NULL 0x100u

struct member {
    const char *name; /* NULL ends a list of members */
    unsigned form;    /* enum form, maybe OR_NULL */
};

static enum form form_of(const struct member *member)
{
    return (enum form)(member->form & ~OR_NULL);
}

static const struct member error_members[] = {{"msg", TEXT}, {"timestamp", NUMBER}, {NULL, 0}};

#define CONNECTION                                                                                 \
    {"id", TEXT}, {"transport_protocol", PROTOCOL}, {"error", TEXT | OR_NULL}, {"tls", TRUTH},     \
        {"certificate_list", DATAS}, {"alpn", DATA | OR_NULL}, {"alpn_offers", DATAS},             \
        {"cipher", TEXT | OR_NULL}, {"cipher_list", TEXTS},                                        \
        {"tls_version", TLS_VERSION | OR_NULL}, {"sni", TEXT | OR_NULL},                           \
        {"timestamp_end", NUMBER | OR_NULL},                                                       \
    {                                                                                              \
        "timestamp_tls_setup", NUMBER | OR_NULL                                                    \
    }

static const struct member client_members[] = {
    {"peername", PEER},           {"sockname", PEER},   CONNECTION, {"timestamp_start", NUMBER},
    {"mitmcert", DATA | OR_NULL}, {"proxy_mode", TEXT}, {NULL, 0}};

static const struct member server_members[] = {{"peername", PEER | OR_NULL},
                                               {"sockname", PEER | OR_NULL},
                                               CONNECTION,
                                               {"timestamp_start", NUMBER | OR_NULL},
                                               {"address", ADDRESS | OR_NULL},
                                               {"timestamp_tcp_setup", NUMBER | OR_NULL},
                                               {"via", VIA | OR_NULL},
                                               {NULL, 0}};

#define MESSAGE                                                                                    \
    {"http_version", DATA}, {"headers", FIELDS}, {"content", DATA | OR_NULL},                      \
        {"trailers", FIELDS | OR_NULL}, {"timestamp_start", NUMBER},                               \
    {                                                                                              \
        "timestamp_end", NUMBER | OR_NULL                                                          \
    }

static const struct member request_members[] = {
    MESSAGE,          {"host", TEXT},      {"port", WHOLE}, {"method", DATA},
    {"scheme", DATA}, {"authority", DATA}, {"path", DATA},  {NULL, 0}};

static const struct member response_members[] = {
    MESSAGE, {"status_code", WHOLE}, {"reason", DATA}, {NULL, 0}};

static const struct member websocket_members[] = {{"messages", FRAMES},
                                                  {"closed_by_client", TRUTH | OR_NULL},
                                                  {"close_code", WHOLE | OR_NULL},
                                                  {"close_reason", TEXT | OR_NULL},
                                                  {"timestamp_end", NUMBER | OR_NULL},
                                                  {NULL, 0}};

static const struct member question_members[] = {
    {"name", TEXT}, {"type", WHOLE}, {"class_", WHOLE}, {NULL, 0}};

static const struct member record_members[] = {{"name", TEXT}, {"type", WHOLE}, {"class_", WHOLE},
                                               {"ttl", WHOLE}, {"data", DATA},  {NULL, 0}};

static const struct member dns_members[] = {{"id", WHOLE},
                                            {"query", TRUTH},
                                            {"op_code", WHOLE},
                                            {"authoritative_answer", TRUTH},
                                            {"truncation", TRUTH},
                                            {"recursion_desired", TRUTH},
                                            {"recursion_available", TRUTH},
                                            {"reserved", WHOLE},
                                            {"response_code", WHOLE},
                                            {"questions", QUESTIONS},
                                            {"answers", RECORDS},
                                            {"authorities", RECORDS},
                                            {"additionals", RECORDS},
                                            {"timestamp", NUMBER | OR_NULL},
                                            {NULL, 0}};

static const struct member common_members[] = {{"id", TEXT},
                                               {"error", ERROR | OR_NULL},
                                               {"client_conn", CLIENT},
                                               {"server_conn", SERVER},
                                               {"intercepted", TRUTH},
                                               {"is_replay", REPLAY | OR_NULL},
                                               {"marked", TEXT},
                                               {"metadata", OBJECT},
                                               {"comment", TEXT},
                                               {"timestamp_created", NUMBER},
                                               {NULL, 0}};

static const struct member http_members[] = {{"request", REQUEST},
                                             {"response", RESPONSE | OR_NULL},
                                             {"websocket", WEBSOCKET | OR_NULL},
                                             {NULL, 0}};

static const struct member stream_members[] = {{"messages", STREAM}, {NULL, 0}};

static const struct member dns_flow_members[] = {
    {"request", DNS}, {"response", DNS | OR_NULL}, {NULL, 0}};

/* Each of these finds what is wrong in a value: NULL if nothing is. */
typedef const struct value *find_wrong(const struct value *value);

static const struct value *unless(bool right, const struct value *value)
{
    return right ? NULL : value;
}

static const struct value *find_no_text(const struct value *value)
{
    return unless(value->kind == VALUE_TEXT, value);
}

static const struct value *find_no_data(const struct value *value)
{
    return unless(value->kind == VALUE_BYTES, value);
}

static const struct value *find_no_truth(const struct value *value)
{
    return unless(value->kind == VALUE_BOOL, value);
}

static const struct value *find_no_whole(const struct value *value)
{
    return unless(value->kind == VALUE_INT, value);
}

static const struct value *find_no_number(const struct value *value)
{
    return unless(value->kind == VALUE_INT || value->kind == VALUE_FLOAT, value);
}

static const struct value *find_no_object(const struct value *value)
{
    return unless(value->kind == VALUE_DICT, value);
}

static const struct value *find_in_list(const struct value *list, find_wrong *find)
{
    const struct value *wrong = unless(list->kind == VALUE_LIST, list);
    for (const struct value *item = wrong ? NULL : list->first; item && !wrong; item = item->next)
        wrong = find(item);
    return wrong;
}

static const struct value *find_no_texts(const struct value *value)
{
    return find_in_list(value, find_no_text);
}

static const struct value *find_no_datas(const struct value *value)
{
    return find_in_list(value, find_no_data);
}

/* A list of so many items, each as the finder of its place wants it. */
static const struct value *find_in_tuple(const struct value *tuple, size_t count,
                                         find_wrong *const finders[])
{
    if (tuple->kind != VALUE_LIST || tuple->count != count)
        return tuple;
    const struct value *wrong = NULL, *item = tuple->first;
    for (size_t i = 0; i < count && !wrong; i++, item = item->next)
        wrong = finders[i](item);
    return wrong;
}

static const struct value *find_no_field(const struct value *value)
{
    static find_wrong *const finders[] = {find_no_data, find_no_data};
    return find_in_tuple(value, 2, finders);
}

static const struct value *find_no_fields(const struct value *value)
{
    return find_in_list(value, find_no_field);
}

static const struct value *find_no_address(const struct value *value)
{
    static find_wrong *const finders[] = {find_no_text, find_no_whole};
    return find_in_tuple(value, 2, finders);
}

/* IPv6 has two numbers more. */
static const struct value *find_no_peer(const struct value *value)
{
    static find_wrong *const finders[] = {find_no_text, find_no_whole, find_no_whole,
                                          find_no_whole};
    size_t count = value->count;
    return find_in_tuple(value, count >= 2 && count <= 4 ? count : 2, finders);
}

static const struct value *find_none_of(const struct value *value, const char *const *names)
{
    for (; *names; names++)
        if (value->kind == VALUE_TEXT && bytes_equal_text(value->bytes, *names))
            return NULL;
    return value;
}

static const struct value *find_no_via_scheme(const struct value *value)
{
    static const char *const names[] = {"http", "https", "http3", "tls",  "dtls",
                                        "tcp",  "udp",   "dns",   "quic", NULL};
    return find_none_of(value, names);
}

static const struct value *find_no_via(const struct value *value)
{
    static find_wrong *const finders[] = {find_no_via_scheme, find_no_address};
    return find_in_tuple(value, 2, finders);
}

static const struct value *find_no_protocol(const struct value *value)
{
    static const char *const names[] = {"tcp", "udp", NULL};
    return find_none_of(value, names);
}

static const struct value *find_no_tls_version(const struct value *value)
{
    static const char *const names[] = {"SSLv3",    "TLSv1",  "TLSv1.1",  "TLSv1.2", "TLSv1.3",
                                        "DTLSv0.9", "DTLSv1", "DTLSv1.2", "QUICv1",  NULL};
    return find_none_of(value, names);
}

static const struct value *find_no_replay(const struct value *value)
{
    static const char *const names[] = {"request", "response", NULL};
    return find_none_of(value, names);
}

static const struct value *find_no_stream_message(const struct value *value)
{
    static find_wrong *const finders[] = {find_no_truth, find_no_data, find_no_number};
    return find_in_tuple(value, 3, finders);
}

static const struct value *find_no_stream(const struct value *value)
{
    return find_in_list(value, find_no_stream_message);
}

/* RFC 6455, 11.8. */
static const struct value *find_no_opcode(const struct value *value)
{
    int64_t code;
    bool known = value->kind == VALUE_INT && value_to_int64(value, &code) && code >= 0 &&
                 (code <= 2 || (code >= 8 && code <= 10));
    return unless(known, value);
}

static const struct value *find_no_frame(const struct value *value)
{
    static find_wrong *const finders[] = {find_no_opcode, find_no_truth, find_no_data,
                                          find_no_number, find_no_truth, find_no_truth};
    return find_in_tuple(value, 6, finders);
}

static const struct value *find_no_frames(const struct value *value)
{
    return find_in_list(value, find_no_frame);
}

static const struct value *find_in_members(const struct value *dict, const struct member *members);

static const struct value *find_no_question(const struct value *value)
{
    return find_in_members(value, question_members);
}

static const struct value *find_no_questions(const struct value *value)
{
    return find_in_list(value, find_no_question);
}

static const struct value *find_no_record(const struct value *value)
{
    return find_in_members(value, record_members);
}

static const struct value *find_no_records(const struct value *value)
{
    return find_in_list(value, find_no_record);
}

/* Members that are objects are gone into. */
static const struct {
    find_wrong *find;
    const char *expected;
    const struct member *members;
} forms[] = {
    [TEXT] = {find_no_text, "text", NULL},
    [DATA] = {find_no_data, "bytes, as in {\"bytes\": \"h2\"}", NULL},
    [TRUTH] = {find_no_truth, "true or false", NULL},
    [WHOLE] = {find_no_whole, "a whole number", NULL},
    [NUMBER] = {find_no_number, "a number", NULL},
    [OBJECT] = {find_no_object, "an object", NULL},
    [TEXTS] = {find_no_texts, "a list of text", NULL},
    [DATAS] = {find_no_datas, "a list of bytes, as in [{\"bytes\": \"h2\"}]", NULL},
    [FIELDS] = {find_no_fields, "a list of fields, each [{\"bytes\": ...}, {\"bytes\": ...}]",
                NULL},
    [PEER] = {find_no_peer, "an address, as in [\"127.0.0.1\", 8080]", NULL},
    [ADDRESS] = {find_no_address, "an address, as in [\"example.com\", 443]", NULL},
    [VIA] = {find_no_via, "a proxy, as in [\"http\", [\"example.com\", 8080]]", NULL},
    [PROTOCOL] = {find_no_protocol, "\"tcp\" or \"udp\"", NULL},
    [TLS_VERSION] = {find_no_tls_version, "a version, as in \"TLSv1.3\"", NULL},
    [REPLAY] = {find_no_replay, "\"request\" or \"response\"", NULL},
    [STREAM] = {find_no_stream, "messages, each [from_client, timestamp]", NULL},
    [FRAMES] = {find_no_frames,
                "messages, each [opcode, from_client, timestamp, dropped, injected]", NULL},
    [QUESTIONS] = {find_no_questions, "questions, each with name, type and class_", NULL},
    [RECORDS] = {find_no_records, "records, each with name, type, class_, ttl and data", NULL},
    [ERROR] = {find_no_object, "an object", error_members},
    [CLIENT] = {find_no_object, "an object", client_members},
    [SERVER] = {find_no_object, "an object", server_members},
    [REQUEST] = {find_no_object, "an object", request_members},
    [RESPONSE] = {find_no_object, "an object", response_members},
    [WEBSOCKET] = {find_no_object, "an object", websocket_members},
    [DNS] = {find_no_object, "an object", dns_members},
};

static bool is_null_as_may_be(const struct value *value, const struct member *member)
{
    return value && value->kind == VALUE_NULL && (member->form & OR_NULL);
}

static const struct value *find_in_members(const struct value *dict, const struct member *members)
{
    const struct value *wrong = find_no_object(dict);
    for (; members->name && !wrong; members++) {
        const struct value *value = value_get(dict, members->name);
        wrong = value ? forms[form_of(members)].find(value) : dict;
    }
    return wrong;
}

struct check {
    flow_shape_visit *visit;
    void *context;
};

static bool check_members(const struct check *check, const struct value *dict, const char *prefix,
                          const struct member *members);

static bool check_member(const struct check *check, const struct value *dict, const char *prefix,
                         const struct member *member)
{
    char path[64], expected[128];
    enum form form = form_of(member);
    const struct value *value = value_get(dict, member->name);
    if (is_null_as_may_be(value, member))
        return true;
    const struct value *wrong = value ? forms[form].find(value) : NULL;
    snprintf(path, sizeof path, "%s%s%s", prefix, *prefix ? "." : "", member->name);
    if (value && !wrong)
        return !forms[form].members || check_members(check, value, path, forms[form].members);
    snprintf(expected, sizeof expected, "%s%s", forms[form].expected,
             member->form & OR_NULL ? ", or null" : "");
    struct flow_shape_oddity oddity = {path, dict, wrong, expected};
    return check->visit(check->context, &oddity);
}

static bool check_members(const struct check *check, const struct value *dict, const char *prefix,
                          const struct member *members)
{
    bool done = true;
    for (; done && members->name; members++)
        done = check_member(check, dict, prefix, members);
    return done;
}

bool flow_shape_check(const struct value *state, flow_shape_visit *visit, void *context)
{
    const struct member *own = NULL;
    const struct check check = {visit, context};
    switch (flow_type_of_name(value_string(value_get(state, "type")))) {
    case FLOW_HTTP:
        own = http_members;
        break;
    case FLOW_TCP:
    case FLOW_UDP:
        own = stream_members;
        break;
    case FLOW_DNS:
        own = dns_flow_members;
        break;
    case FLOW_OTHER:
        return true;
    }
    return check_members(&check, state, "", common_members) &&
           check_members(&check, state, "", own);
}

bool flow_shape_check_dns(const struct value *message, const char *name, flow_shape_visit *visit,
                          void *context)
{
    const struct check check = {visit, context};
    return check_members(&check, message, name, dns_members);
}

const char *flow_shape_found(const struct value *value)
{
    static const char *const names[] = {
        [VALUE_NULL] = "null",      [VALUE_BOOL] = "true or false", [VALUE_INT] = "a number",
        [VALUE_FLOAT] = "a number", [VALUE_BYTES] = "bytes",        [VALUE_TEXT] = "text",
        [VALUE_LIST] = "a list",    [VALUE_DICT] = "an object",
    };
    return names[value->kind];
}
