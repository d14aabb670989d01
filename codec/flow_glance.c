#include "flow_glance.h"

#include "glance_keys.h"

#include <errno.h>

/* What one message has, for the set of its files. */
struct side {
    bool is_there, content, encoded, trailers;
};

/* Times and parts that depend on the flow's type, which may stand behind them in the record. */
struct facts {
    struct flow_glance *glance;
    struct glance_walk walk;
    struct flow_glance_memory *memory; /* or NULL */
    struct side request, response;
    bool has_error, has_messages, has_stream;
    struct glance_piece client, server; /* looked at only if the rest leaves a question open */
    double client_start, created, message_start, message_time;
    struct bytes address, peername, question;
    int64_t address_port, peername_port;
    bool has_type, has_version;
};

typedef bool member_handler(struct facts *facts, enum glance_key key,
                            const struct glance_piece *member);

/* last: what a dict of this kind held in the last record, or NULL. */
static inline bool walk(struct facts *facts, const struct glance_piece *dict,
                        struct glance_dict *last, member_handler *handle)
{
    enum glance_key key;
    size_t from = dict->at;
    size_t end = dict->at + dict->size;
    struct glance_seen *seen = last && facts->walk.text ? last->seen : NULL;
    if (dict->type != '}') {
        facts->walk.unusual |= dict->type != '~';
        return true;
    }
    while (from < end) {
        struct glance_piece member = glance_member(&facts->walk, seen, from, end, &key);
        if (!member.next || (key != KEY_OTHER && !handle(facts, key, &member)))
            return false;
        from = member.next;
        if (seen && ++seen == last->seen + GLANCE_MEMBERS)
            seen = NULL;
    }
    return true;
}

/* Looks at the value of a field whose name was of interest; it stands at `from`. */
static bool field_value(struct facts *facts, size_t from, size_t end, struct bytes *value)
{
    struct glance_piece piece = glance_step(&facts->walk, from, end);
    if (!piece.next)
        return false;
    *value = glance_string(&facts->walk, &piece);
    facts->walk.unusual |= piece.next != end;
    return !facts->walk.error->code;
}

/* Looks at a field; most names are not those looked for. */
static bool walk_field(struct facts *facts, const struct glance_piece *field, struct side *side)
{
    size_t end = field->at + field->size;
    struct flow_target *target = &facts->glance->target;
    struct glance_piece name = glance_step(&facts->walk, field->at, end);
    struct bytes value;
    if (!name.next)
        return false;
    if (name.size == 16 &&
        bytes_equal_ignoring_case(glance_string(&facts->walk, &name), "content-encoding")) {
        if (!field_value(facts, name.next, end, &value))
            return false;
        side->encoded |= flowdir_has_raw(value);
    } else if (name.size == 4 && side == &facts->request &&
               bytes_equal_ignoring_case(glance_string(&facts->walk, &name), "host")) {
        if (!field_value(facts, name.next, end, &value))
            return false;
        facts->walk.unusual |= target->has_host_field;
        target->host_field = value;
        target->has_host_field = true;
    }
    return true;
}

/* Whether a field's name can be one of those looked for, by its length prefix alone: most names are
 * not, and need not be stepped over. */
static inline bool name_is_of_interest(const struct facts *facts, const struct glance_piece *field)
{
    if (!facts->walk.text)
        return true;
    const uint8_t *prefix = facts->walk.text + field->at;
    return (prefix[0] == '4' && prefix[1] == ':') ||
           (prefix[0] == '1' && prefix[1] == '6' && prefix[2] == ':') || prefix[0] == '0';
}

static bool walk_headers(struct facts *facts, const struct glance_piece *headers, struct side *side)
{
    size_t from = headers->at;
    size_t end = headers->at + headers->size;
    if (headers->type != ']')
        return true;
    while (from < end) {
        struct glance_piece field = glance_step(&facts->walk, from, end);
        if (!field.next)
            return false;
        from = field.next;
        if (field.type != ']' || field.size == 0)
            facts->walk.unusual = true;
        else if (name_is_of_interest(facts, &field) && !walk_field(facts, &field, side))
            return false;
    }
    return true;
}

/* What a request and a response have in common. */
static bool side_member(struct facts *facts, enum glance_key key, const struct glance_piece *member,
                        struct side *side)
{
    if (key == KEY_HEADERS)
        return walk_headers(facts, member, side);
    if (key == KEY_CONTENT)
        side->content = (member->type == ',' || member->type == ';') && member->size;
    if (key == KEY_TRAILERS)
        side->trailers = member->type == ']' && member->size > 0;
    return true;
}

static bool walk_questions(struct facts *facts, const struct glance_piece *questions);

static bool request_member(struct facts *facts, enum glance_key key,
                           const struct glance_piece *member)
{
    struct flow_target *target = &facts->glance->target;
    switch (key) {
    case KEY_METHOD:
        target->method = glance_string(&facts->walk, member);
        break;
    case KEY_SCHEME:
        target->scheme = glance_string(&facts->walk, member);
        break;
    case KEY_AUTHORITY:
        target->authority = target->shown_authority = glance_string(&facts->walk, member);
        facts->walk.unusual |= flow_target_is_idna(target->authority);
        break;
    case KEY_HOST:
        target->host = glance_string(&facts->walk, member);
        break;
    case KEY_PATH:
        target->path = glance_string(&facts->walk, member);
        break;
    case KEY_HTTP_VERSION:
        target->http_version = glance_string(&facts->walk, member);
        break;
    case KEY_PORT:
        target->port = glance_integer(&facts->walk, member);
        break;
    case KEY_TIMESTAMP_START:
        facts->message_start = glance_time(&facts->walk, member);
        break;
    case KEY_TIMESTAMP:
        facts->message_time = glance_time(&facts->walk, member);
        break;
    case KEY_QUESTIONS:
        return walk_questions(facts, member);
    default:
        return side_member(facts, key, member, &facts->request);
    }
    return !facts->walk.error->code;
}

static bool question_member(struct facts *facts, enum glance_key key,
                            const struct glance_piece *member)
{
    if (key == KEY_NAME)
        facts->question = glance_string(&facts->walk, member);
    return !facts->walk.error->code;
}

static bool walk_questions(struct facts *facts, const struct glance_piece *questions)
{
    if (questions->type != ']' || questions->size == 0)
        return true;
    struct glance_piece first =
        glance_step(&facts->walk, questions->at, questions->at + questions->size);
    return first.next && walk(facts, &first, NULL, question_member);
}

static bool response_member(struct facts *facts, enum glance_key key,
                            const struct glance_piece *member)
{
    if (key != KEY_STATUS_CODE)
        return side_member(facts, key, member, &facts->response);
    facts->glance->status_code = glance_integer(&facts->walk, member);
    return !facts->walk.error->code;
}

static bool websocket_member(struct facts *facts, enum glance_key key,
                             const struct glance_piece *member)
{
    if (key == KEY_MESSAGES)
        facts->has_messages = member->type == ']' && member->size > 0;
    return true;
}

static bool client_member(struct facts *facts, enum glance_key key,
                          const struct glance_piece *member)
{
    if (key == KEY_TIMESTAMP_START)
        facts->client_start = glance_time(&facts->walk, member);
    return !facts->walk.error->code;
}

static bool read_address(struct facts *facts, const struct glance_piece *address,
                         struct bytes *host, int64_t *port)
{
    size_t end = address->at + address->size;
    if (address->type != ']' || address->size == 0)
        return true;
    struct glance_piece host_piece = glance_step(&facts->walk, address->at, end);
    if (!host_piece.next)
        return false;
    if (host_piece.next == end) /* no port: no address either */
        return true;
    struct glance_piece port_piece = glance_step(&facts->walk, host_piece.next, end);
    if (!port_piece.next)
        return false;
    facts->walk.unusual |= host_piece.type == '~' || port_piece.type == '~';
    *host = glance_string(&facts->walk, &host_piece);
    *port = glance_integer(&facts->walk, &port_piece);
    return !facts->walk.error->code;
}

static bool server_member(struct facts *facts, enum glance_key key,
                          const struct glance_piece *member)
{
    if (key == KEY_ADDRESS)
        return read_address(facts, member, &facts->address, &facts->address_port);
    if (key == KEY_PEERNAME)
        return read_address(facts, member, &facts->peername, &facts->peername_port);
    return true;
}

static bool flow_member(struct facts *facts, enum glance_key key, const struct glance_piece *member)
{
    switch (key) {
    case KEY_TYPE:
        facts->glance->type = flow_type_of_name(glance_string(&facts->walk, member));
        facts->has_type = true;
        break;
    case KEY_ID:
        facts->glance->id = glance_string(&facts->walk, member);
        break;
    case KEY_VERSION:
        facts->glance->version = glance_integer(&facts->walk, member);
        facts->has_version = true;
        break;
    case KEY_TIMESTAMP_CREATED:
        facts->created = glance_time(&facts->walk, member);
        break;
    case KEY_ERROR:
        facts->has_error = member->type == '}';
        break;
    case KEY_MESSAGES:
        facts->has_stream = member->type == ']' && member->size > 0;
        break;
    case KEY_WEBSOCKET:
        facts->glance->is_websocket = member->type == '}';
        return walk(facts, member, NULL, websocket_member);
    case KEY_CLIENT_CONNECTION:
        facts->client = *member;
        break;
    case KEY_SERVER_CONNECTION:
        facts->server = *member;
        break;
    case KEY_REQUEST:
        facts->request.is_there = member->type == '}';
        return walk(facts, member, facts->memory ? &facts->memory->request : NULL, request_member);
    case KEY_RESPONSE:
        facts->response.is_there = member->type == '}';
        return walk(facts, member, facts->memory ? &facts->memory->response : NULL,
                    response_member);
    default:
        break;
    }
    return !facts->walk.error->code;
}

/* The connections, which are long, are looked at only for what nothing else tells. */
static bool walk_connections(struct facts *facts)
{
    bool http = facts->glance->type == FLOW_HTTP;
    bool dns = facts->glance->type == FLOW_DNS;
    bool timed = (http && facts->message_start > 0) || (dns && facts->message_time > 0);
    return (timed || !facts->client.at || walk(facts, &facts->client, NULL, client_member)) &&
           (http || dns || !facts->server.at || walk(facts, &facts->server, NULL, server_member));
}

static uint16_t side_files(const struct side *side, unsigned first)
{
    unsigned files = side->is_there | (unsigned)side->content << 1 |
                     (unsigned)(side->content && side->encoded) << 2 |
                     (unsigned)side->trailers << 3;
    return (uint16_t)(files << first);
}

_Static_assert(FLOWDIR_REQUEST_BODY == FLOWDIR_REQUEST_HEADERS + 1 &&
                   FLOWDIR_REQUEST_BODY_RAW == FLOWDIR_REQUEST_HEADERS + 2 &&
                   FLOWDIR_REQUEST_TRAILERS == FLOWDIR_REQUEST_HEADERS + 3,
               "side_files counts on this order");

/* The same answer as flowdir_files has for the flow when it is read. */
static uint16_t files_of(const struct facts *facts)
{
    unsigned files = flowdir_bit(FLOWDIR_SUMMARY) | flowdir_bit(FLOWDIR_FLOW);
    bool messages = facts->has_stream;
    if (facts->has_error)
        files |= flowdir_bit(FLOWDIR_ERROR);
    if (facts->glance->type == FLOW_HTTP) {
        files |= side_files(&facts->request, FLOWDIR_REQUEST_HEADERS);
        files |= side_files(&facts->response, FLOWDIR_RESPONSE_HEADERS);
        messages = facts->has_messages;
    } else if (facts->glance->type == FLOW_DNS) {
        files |= facts->request.is_there ? flowdir_bit(FLOWDIR_QUERY) : 0u;
        files |= facts->response.is_there ? flowdir_bit(FLOWDIR_ANSWER) : 0u;
        messages = false;
    } else if (facts->glance->type == FLOW_OTHER) {
        messages = false;
    }
    return (uint16_t)(files | (messages ? FLOWDIR_MESSAGES_BIT : 0u));
}

static void conclude(struct facts *facts)
{
    struct flow_glance *glance = facts->glance;
    bool http = glance->type == FLOW_HTTP;
    glance->timestamp_start = facts->client_start > 0 ? facts->client_start : facts->created;
    if (http && facts->message_start > 0)
        glance->timestamp_start = facts->message_start;
    if (glance->type == FLOW_DNS && facts->message_time > 0)
        glance->timestamp_start = facts->message_time;
    if (glance->type == FLOW_DNS) {
        glance->address_host = facts->question;
    } else if (!http) {
        glance->address_host = facts->address.data ? facts->address : facts->peername;
        glance->address_port = facts->address.data ? facts->address_port : facts->peername_port;
    }
    glance->files = files_of(facts);
    if (!http) {
        glance->target = (struct flow_target){0};
        glance->status_code = 0;
        glance->is_websocket = false;
    }
    /* What the full reading refuses must not be let in here. */
    facts->walk.unusual |= !facts->has_type || !facts->has_version ||
                           (http && !facts->request.is_there) ||
                           glance->version < FLOW_GLANCE_OLDEST_VERSION;
}

enum flow_glance_result flow_glance(struct record *record, struct flow_glance_memory *memory,
                                    struct flow_glance *glance, struct flow_error *error)
{
    struct facts facts = {.glance = glance, .memory = memory};
    *glance = (struct flow_glance){0};
    glance_walk_init(&facts.walk, record, error);
    struct glance_piece flow = glance_step(&facts.walk, 0, record->text.size);
    if (!flow.next)
        return FLOW_GLANCE_BROKEN;
    if (flow.type != '}') {
        flow_error_set(error, EBADMSG, record->offset,
                       "a tnetstring of type '%c', expected a flow, which is a dict ('}')",
                       flow.type);
        return FLOW_GLANCE_BROKEN;
    }
    if (!walk(&facts, &flow, memory ? &memory->flow : NULL, flow_member) ||
        !walk_connections(&facts))
        return FLOW_GLANCE_BROKEN;
    conclude(&facts);
    return facts.walk.unusual ? FLOW_GLANCE_UNUSUAL : FLOW_GLANCE_DONE;
}

void flow_glance_of_flow(const struct flow *flow, struct flow_glance *glance)
{
    *glance = (struct flow_glance){
        .type = flow->type,
        .id = flow->id,
        .target = flow->target,
        .timestamp_start = flow->timestamp_start,
        .status_code = flow->status_code,
        .files = flowdir_files(flow),
        .is_websocket = flow->websocket != NULL,
    };
    value_to_int64(value_get(flow->state, "version"), &glance->version);
    if (flow->type == FLOW_DNS) {
        const struct value *questions = value_get(flow->dns_request, "questions");
        glance->address_host = value_string(value_get(value_item(questions, 0), "name"));
    } else if (flow->type != FLOW_HTTP &&
               !flow_address(value_get(flow->server_connection, "address"), &glance->address_host,
                             &glance->address_port)) {
        flow_address(value_get(flow->server_connection, "peername"), &glance->address_host,
                     &glance->address_port);
    }
}

void flow_glance_site(const struct flow_glance *glance, struct buffer *site)
{
    if (glance->type == FLOW_HTTP)
        flow_target_site(&glance->target, site);
    else
        flow_target_address_site(glance->address_host, glance->address_port, site);
}
