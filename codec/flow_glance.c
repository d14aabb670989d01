#include "flow_glance.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

/* The members of the top level, of messages and of connections that are looked at. */
enum key {
    KEY_OTHER,
    KEY_ADDRESS,
    KEY_AUTHORITY,
    KEY_CLIENT_CONNECTION,
    KEY_CONTENT,
    KEY_ERROR,
    KEY_HEADERS,
    KEY_HOST,
    KEY_HTTP_VERSION,
    KEY_ID,
    KEY_MESSAGES,
    KEY_METHOD,
    KEY_NAME,
    KEY_PATH,
    KEY_PEERNAME,
    KEY_PORT,
    KEY_QUESTIONS,
    KEY_REQUEST,
    KEY_RESPONSE,
    KEY_SCHEME,
    KEY_SERVER_CONNECTION,
    KEY_STATUS_CODE,
    KEY_TIMESTAMP,
    KEY_TIMESTAMP_CREATED,
    KEY_TIMESTAMP_START,
    KEY_TRAILERS,
    KEY_TYPE,
    KEY_VERSION,
    KEY_WEBSOCKET,
};

/* The names by length: most of a record's members are told apart by that alone. */
static enum key key_of(const uint8_t *name, size_t size)
{
#define KEY(text, value)                                                                           \
    if (memcmp(name, text, sizeof(text) - 1) == 0)                                                 \
        return value;
    switch (size) {
    case 2:
        KEY("id", KEY_ID)
        break;
    case 4:
        KEY("host", KEY_HOST)
        KEY("path", KEY_PATH)
        KEY("port", KEY_PORT)
        KEY("type", KEY_TYPE)
        KEY("name", KEY_NAME)
        break;
    case 5:
        KEY("error", KEY_ERROR)
        break;
    case 6:
        KEY("method", KEY_METHOD)
        KEY("scheme", KEY_SCHEME)
        break;
    case 7:
        KEY("headers", KEY_HEADERS)
        KEY("request", KEY_REQUEST)
        KEY("version", KEY_VERSION)
        KEY("address", KEY_ADDRESS)
        KEY("content", KEY_CONTENT)
        break;
    case 8:
        KEY("response", KEY_RESPONSE)
        KEY("peername", KEY_PEERNAME)
        KEY("trailers", KEY_TRAILERS)
        KEY("messages", KEY_MESSAGES)
        break;
    case 9:
        KEY("authority", KEY_AUTHORITY)
        KEY("websocket", KEY_WEBSOCKET)
        KEY("questions", KEY_QUESTIONS)
        KEY("timestamp", KEY_TIMESTAMP)
        break;
    case 11:
        KEY("client_conn", KEY_CLIENT_CONNECTION)
        KEY("server_conn", KEY_SERVER_CONNECTION)
        KEY("status_code", KEY_STATUS_CODE)
        break;
    case 12:
        KEY("http_version", KEY_HTTP_VERSION)
        break;
    case 15:
        KEY("timestamp_start", KEY_TIMESTAMP_START)
        break;
    case 17:
        KEY("timestamp_created", KEY_TIMESTAMP_CREATED)
        break;
    default:
        break;
    }
#undef KEY
    return KEY_OTHER;
}

/* A piece of the record: where its content starts and how long it is. size 0 at 0: none. */
struct piece {
    size_t at, size;
    char type;
};

/* What one message has, for the set of its files. */
struct side {
    bool is_there, content, encoded, trailers;
};

/* Times and parts that depend on the flow's type, which may stand behind them in the record. */
struct facts {
    struct flow_glance *glance;
    struct record *record;
    const struct tnet_need *need;
    struct tnet_need need_storage;
    struct flow_error *error;
    struct side request, response;
    bool has_error, has_messages, has_stream;
    struct piece client, server; /* looked at only if the rest leaves a question open */
    double client_start, created, message_start, message_time;
    struct bytes address, peername, question;
    int64_t address_port, peername_port;
    bool has_type, has_version;
    bool unusual;
};

/* Steps to the element at *from inside a container that ends at `end`. This runs a hundred times a
 * flow: what is sound and in memory takes the short way, all else is tnet_element's to judge. */
static inline bool step(struct facts *facts, size_t *from, size_t end, struct piece *piece)
{
    const uint8_t *text = facts->record->text.data;
    struct tnet_element element;
    if (!facts->need) {
        size_t at = *from;
        size_t size = 0;
        /* The record ends in a tag, so a run of digits ends inside it. */
        for (uint8_t digit; (digit = (uint8_t)(text[at] - '0')) < 10; at++)
            size = size * 10 + digit;
        size_t digits = at - *from;
        if (digits && digits <= TNET_LENGTH_DIGITS && text[at] == ':' && at < end &&
            size < end - at - 1) {
            *piece = (struct piece){at + 1, size, (char)text[at + 1 + size]};
            *from = at + 1 + size + 1;
            return true;
        }
    }
    if (!tnet_element(facts->record->text, *from, end, facts->record->offset, facts->need, &element,
                      facts->error))
        return false;
    *piece = (struct piece){*from + element.content, (size_t)element.size, element.type};
    *from = piece->at + piece->size + 1;
    return true;
}

/* The content of a short string or number; nothing if it is another kind or long. */
static struct bytes content(struct facts *facts, const struct piece *piece, char type,
                            char other_type)
{
    struct bytes text = {facts->record->text.data + piece->at, piece->size};
    if ((piece->type != type && piece->type != other_type) || piece->size > RECORD_LONG_STRING) {
        facts->unusual |= piece->type != '~';
        return bytes_make("", 0);
    }
    if (facts->need && !record_need(facts->record, piece->at, piece->size, facts->error))
        return bytes_make("", 0);
    return text;
}

static struct bytes string_of(struct facts *facts, const struct piece *piece)
{
    return content(facts, piece, ',', ';');
}

/* A plain decimal fraction whose digits are below 2^53: the quotient of two numbers that doubles
 * hold exactly is rounded once, as strtod rounds. NAN for all other texts. */
static double short_decimal(struct bytes digits)
{
    static const double powers[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};
    uint64_t number = 0;
    size_t point = digits.size;
    for (size_t i = 0; i < digits.size; i++) {
        uint8_t digit = (uint8_t)(digits.data[i] - '0');
        if (digit < 10)
            number = number * 10 + digit;
        else if (digits.data[i] == '.' && point == digits.size)
            point = i;
        else
            return NAN;
    }
    size_t decimals = point == digits.size ? 0 : digits.size - point - 1;
    if (digits.size > 18 || decimals > 9 || number >= (uint64_t)1 << 53)
        return NAN;
    return (double)number / powers[decimals];
}

static double time_of(struct facts *facts, const struct piece *piece)
{
    char text[40];
    char *end;
    struct bytes digits = content(facts, piece, '#', '^');
    if (!digits.size || digits.size >= sizeof text)
        return 0;
    double seconds = short_decimal(digits);
    if (!isnan(seconds))
        return seconds;
    memcpy(text, digits.data, digits.size);
    text[digits.size] = '\0';
    seconds = strtod(text, &end);
    return *end ? 0 : seconds;
}

static int64_t integer_of(struct facts *facts, const struct piece *piece)
{
    int64_t number = 0;
    struct bytes digits = content(facts, piece, '#', '#');
    for (size_t i = 0; i < digits.size; i++) {
        if (digits.data[i] < '0' || digits.data[i] > '9' || i == 18) {
            facts->unusual = true;
            return 0;
        }
        number = number * 10 + (digits.data[i] - '0');
    }
    return number;
}

/* Steps over a key and its member. */
static bool step_member(struct facts *facts, size_t *from, size_t end, enum key *key,
                        struct piece *member)
{
    struct piece name;
    if (!step(facts, from, end, &name) || !step(facts, from, end, member))
        return false;
    *key = KEY_OTHER;
    if ((name.type != ',' && name.type != ';') || name.size > 20)
        return true;
    struct bytes text = string_of(facts, &name);
    *key = key_of(text.data, text.size);
    return true;
}

typedef bool member_handler(struct facts *facts, enum key key, const struct piece *member);

static bool walk(struct facts *facts, const struct piece *dict, member_handler *handle)
{
    enum key key;
    struct piece member;
    size_t from = dict->at;
    size_t end = dict->at + dict->size;
    if (dict->type != '}') {
        facts->unusual |= dict->type != '~';
        return true;
    }
    while (from < end)
        if (!step_member(facts, &from, end, &key, &member) || !handle(facts, key, &member))
            return false;
    return true;
}

/* Looks at the value of a field whose name was of interest; it stands at *from. */
static bool field_value(struct facts *facts, size_t from, size_t end, struct bytes *value)
{
    struct piece piece;
    if (!step(facts, &from, end, &piece))
        return false;
    *value = string_of(facts, &piece);
    facts->unusual |= from != end;
    return !facts->error->code;
}

/* Whether a field's name can be one of those looked for, by its length prefix alone: most names are
 * not, and need not be stepped over. */
static bool name_is_of_interest(const struct facts *facts, const struct piece *field)
{
    const uint8_t *prefix = facts->record->text.data + field->at;
    if (facts->need)
        return true;
    return (prefix[0] == '4' && prefix[1] == ':') ||
           (prefix[0] == '1' && prefix[1] == '6' && prefix[2] == ':') || prefix[0] == '0';
}

static bool walk_headers(struct facts *facts, const struct piece *headers, struct side *side)
{
    size_t from = headers->at;
    size_t end = headers->at + headers->size;
    struct flow_target *target = &facts->glance->target;
    struct piece field, name;
    struct bytes value;
    if (headers->type != ']')
        return true;
    while (from < end) {
        if (!step(facts, &from, end, &field))
            return false;
        size_t inside = field.at;
        size_t field_end = field.at + field.size;
        if (field.type != ']' || field.size == 0) {
            facts->unusual = true;
            continue;
        }
        if (!name_is_of_interest(facts, &field))
            continue;
        if (!step(facts, &inside, field_end, &name))
            return false;
        if (name.size == 16 &&
            bytes_equal_ignoring_case(string_of(facts, &name), "content-encoding")) {
            if (!field_value(facts, inside, field_end, &value))
                return false;
            side->encoded |= flowdir_has_raw(value);
        } else if (name.size == 4 && side == &facts->request &&
                   bytes_equal_ignoring_case(string_of(facts, &name), "host")) {
            if (!field_value(facts, inside, field_end, &value))
                return false;
            facts->unusual |= target->has_host_field;
            target->host_field = value;
            target->has_host_field = true;
        }
    }
    return true;
}

/* What a request and a response have in common. */
static bool side_member(struct facts *facts, enum key key, const struct piece *member,
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

static bool walk_questions(struct facts *facts, const struct piece *questions);

static bool request_member(struct facts *facts, enum key key, const struct piece *member)
{
    struct flow_target *target = &facts->glance->target;
    switch (key) {
    case KEY_METHOD:
        target->method = string_of(facts, member);
        break;
    case KEY_SCHEME:
        target->scheme = string_of(facts, member);
        break;
    case KEY_AUTHORITY:
        target->authority = target->shown_authority = string_of(facts, member);
        facts->unusual |= flow_target_is_idna(target->authority);
        break;
    case KEY_HOST:
        target->host = string_of(facts, member);
        break;
    case KEY_PATH:
        target->path = string_of(facts, member);
        break;
    case KEY_HTTP_VERSION:
        target->http_version = string_of(facts, member);
        break;
    case KEY_PORT:
        target->port = integer_of(facts, member);
        break;
    case KEY_TIMESTAMP_START:
        facts->message_start = time_of(facts, member);
        break;
    case KEY_TIMESTAMP:
        facts->message_time = time_of(facts, member);
        break;
    case KEY_QUESTIONS:
        return walk_questions(facts, member);
    default:
        return side_member(facts, key, member, &facts->request);
    }
    return !facts->error->code;
}

static bool question_member(struct facts *facts, enum key key, const struct piece *member)
{
    if (key == KEY_NAME)
        facts->question = string_of(facts, member);
    return !facts->error->code;
}

static bool walk_questions(struct facts *facts, const struct piece *questions)
{
    struct piece first;
    size_t from = questions->at;
    if (questions->type != ']' || questions->size == 0)
        return true;
    return step(facts, &from, questions->at + questions->size, &first) &&
           walk(facts, &first, question_member);
}

static bool response_member(struct facts *facts, enum key key, const struct piece *member)
{
    if (key != KEY_STATUS_CODE)
        return side_member(facts, key, member, &facts->response);
    facts->glance->status_code = integer_of(facts, member);
    return !facts->error->code;
}

static bool websocket_member(struct facts *facts, enum key key, const struct piece *member)
{
    if (key == KEY_MESSAGES)
        facts->has_messages = member->type == ']' && member->size > 0;
    return true;
}

static bool client_member(struct facts *facts, enum key key, const struct piece *member)
{
    if (key == KEY_TIMESTAMP_START)
        facts->client_start = time_of(facts, member);
    return !facts->error->code;
}

static bool read_address(struct facts *facts, const struct piece *address, struct bytes *host,
                         int64_t *port)
{
    struct piece host_piece, port_piece;
    size_t from = address->at;
    size_t end = address->at + address->size;
    if (address->type != ']' || address->size == 0)
        return true;
    if (!step(facts, &from, end, &host_piece))
        return false;
    if (from == end) /* no port: no address either */
        return true;
    if (!step(facts, &from, end, &port_piece))
        return false;
    facts->unusual |= host_piece.type == '~' || port_piece.type == '~';
    *host = string_of(facts, &host_piece);
    *port = integer_of(facts, &port_piece);
    return !facts->error->code;
}

static bool server_member(struct facts *facts, enum key key, const struct piece *member)
{
    if (key == KEY_ADDRESS)
        return read_address(facts, member, &facts->address, &facts->address_port);
    if (key == KEY_PEERNAME)
        return read_address(facts, member, &facts->peername, &facts->peername_port);
    return true;
}

static bool flow_member(struct facts *facts, enum key key, const struct piece *member)
{
    switch (key) {
    case KEY_TYPE:
        facts->glance->type = flow_type_of_name(string_of(facts, member));
        facts->has_type = true;
        break;
    case KEY_ID:
        facts->glance->id = string_of(facts, member);
        break;
    case KEY_VERSION:
        facts->glance->version = integer_of(facts, member);
        facts->has_version = true;
        break;
    case KEY_TIMESTAMP_CREATED:
        facts->created = time_of(facts, member);
        break;
    case KEY_ERROR:
        facts->has_error = member->type == '}';
        break;
    case KEY_MESSAGES:
        facts->has_stream = member->type == ']' && member->size > 0;
        break;
    case KEY_WEBSOCKET:
        facts->glance->is_websocket = member->type == '}';
        return walk(facts, member, websocket_member);
    case KEY_CLIENT_CONNECTION:
        facts->client = *member;
        break;
    case KEY_SERVER_CONNECTION:
        facts->server = *member;
        break;
    case KEY_REQUEST:
        facts->request.is_there = member->type == '}';
        return walk(facts, member, request_member);
    case KEY_RESPONSE:
        facts->response.is_there = member->type == '}';
        return walk(facts, member, response_member);
    default:
        break;
    }
    return !facts->error->code;
}

/* The connections, which are long, are looked at only for what nothing else tells. */
static bool walk_connections(struct facts *facts)
{
    bool http = facts->glance->type == FLOW_HTTP;
    bool dns = facts->glance->type == FLOW_DNS;
    bool timed = (http && facts->message_start > 0) || (dns && facts->message_time > 0);
    return (timed || !facts->client.at || walk(facts, &facts->client, client_member)) &&
           (http || dns || !facts->server.at || walk(facts, &facts->server, server_member));
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
    facts->unusual |= !facts->has_type || !facts->has_version ||
                      (http && !facts->request.is_there) ||
                      glance->version < FLOW_GLANCE_OLDEST_VERSION;
}

enum flow_glance_result flow_glance(struct record *record, struct flow_glance *glance,
                                    struct flow_error *error)
{
    struct facts facts = {.glance = glance, .record = record, .error = error};
    struct piece flow;
    size_t from = 0;
    *glance = (struct flow_glance){0};
    facts.need = record_tnet_need(record, &facts.need_storage);
    if (!step(&facts, &from, record->text.size, &flow))
        return FLOW_GLANCE_BROKEN;
    if (flow.type != '}') {
        flow_error_set(error, EBADMSG, record->offset,
                       "a tnetstring of type '%c', expected a flow, which is a dict ('}')",
                       flow.type);
        return FLOW_GLANCE_BROKEN;
    }
    if (!walk(&facts, &flow, flow_member) || !walk_connections(&facts))
        return FLOW_GLANCE_BROKEN;
    conclude(&facts);
    return facts.unusual ? FLOW_GLANCE_UNUSUAL : FLOW_GLANCE_DONE;
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
