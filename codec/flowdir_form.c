#include "flowdir_form.h"

#include "json_text.h"

#include <inttypes.h>
#include <stdio.h>

bool flowdir_holds_in_line(struct bytes text)
{
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] == '\n' || text.data[i] == '\r' || text.data[i] == '\0')
            return false;
    return true;
}

bool flowdir_is_token(struct bytes text)
{
    return text.size && flowdir_holds_in_line(text) && !memchr(text.data, ' ', text.size);
}

static bool is_bytes(const struct value *value)
{
    return value_is(value, VALUE_BYTES) && value->bytes.data;
}

bool flowdir_is_line_field(const struct value *item)
{
    struct bytes name, value;
    if (!flow_field(item, &name, &value) || !is_bytes(item->first) || !is_bytes(item->last))
        return false;
    /* HTTP/2's pseudo header fields start with a colon, which ends no name. */
    return flowdir_is_token(name) && flowdir_holds_in_line(value) &&
           !memchr(name.data + 1, ':', name.size - 1);
}

void flowdir_append_in_line(struct buffer *out, struct bytes text)
{
    size_t start = out->size;
    buffer_append_bytes(out, text);
    for (size_t i = start; !out->failed && i < out->size; i++)
        if (out->data[i] == '\n' || out->data[i] == '\r' || out->data[i] == '\0')
            out->data[i] = '?';
}

void flowdir_append_field(struct buffer *out, struct bytes name, struct bytes value)
{
    flowdir_append_in_line(out, name);
    buffer_append_text(out, ": ");
    flowdir_append_in_line(out, value);
    buffer_append_byte(out, '\n');
}

bool flowdir_shows_url(const struct flow_target *target)
{
    return flow_target_form(target) != FLOW_TARGET_AUTHORITY && target->scheme.size &&
           target->host.size && target->path.size && target->path.data[0] == '/';
}

void flowdir_append_request_line(struct buffer *out, const struct flow_target *target)
{
    struct buffer url = BUFFER_INIT;
    flowdir_append_in_line(out, target->method);
    buffer_append_byte(out, ' ');
    if (flowdir_shows_url(target)) {
        flow_target_url(target, &url);
        flowdir_append_in_line(out, buffer_bytes(&url));
    } else if (flow_target_form(target) == FLOW_TARGET_AUTHORITY) {
        flowdir_append_in_line(out, target->authority);
    } else {
        flowdir_append_in_line(out, target->path);
    }
    out->failed |= url.failed;
    buffer_free(&url);
    buffer_append_byte(out, ' ');
    flowdir_append_in_line(out, target->http_version);
    buffer_append_byte(out, '\n');
}

void flowdir_append_status_line(struct buffer *out, struct bytes http_version, int64_t status_code,
                                struct bytes reason)
{
    flowdir_append_in_line(out, http_version);
    buffer_printf(out, " %" PRId64 " ", status_code);
    flowdir_append_in_line(out, reason);
    buffer_append_byte(out, '\n');
}

static void mark_fields(struct value *fields)
{
    if (!value_is(fields, VALUE_LIST))
        return;
    for (const struct value *item = fields->first; item; item = item->next)
        if (!flowdir_is_line_field(item))
            return;
    fields->elsewhere = true;
}

static void mark_message(const struct flow_message *message)
{
    struct value *trailers = value_get(message->state, "trailers");
    struct value *content = value_get(message->state, "content");
    mark_fields(value_get(message->state, "headers"));
    /* Without trailers there is no file that could say so. */
    if (value_is(trailers, VALUE_LIST) && trailers->count)
        mark_fields(trailers);
    /* Content of no bytes has no file. */
    if (value_is(content, VALUE_BYTES) && content->bytes.size)
        content->elsewhere = true;
}

static bool is_version(struct bytes http_version)
{
    return flowdir_is_token(http_version) && http_version.size > 5 &&
           memcmp(http_version.data, "HTTP/", 5) == 0;
}

bool flowdir_split_url(struct bytes url, struct flow_target *target)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (int i = 0; i < 2; i++) {
        size_t start = strlen(schemes[i]);
        if (url.size < start || memcmp(url.data, schemes[i], start) != 0)
            continue;
        size_t end = start;
        while (end < url.size && !memchr("/?#", url.data[end], 3))
            end++;
        size_t colon = end;
        while (colon > start && url.data[colon - 1] >= '0' && url.data[colon - 1] <= '9')
            colon--;
        bool has_port = colon > start && colon < end && url.data[colon - 1] == ':';
        target->scheme = bytes_make(url.data, start - 3);
        target->authority = bytes_make(url.data + start, end - start);
        target->host = bytes_make(url.data + start, (has_port ? colon - 1 : end) - start);
        target->path = bytes_make(url.data + end, url.size - end);
        target->port = has_port ? 0 : flow_target_default_port(target->scheme);
        for (size_t at = colon; has_port && at < end && target->port <= UINT16_MAX; at++)
            target->port = target->port * 10 + url.data[at] - '0';
        return target->host.size && target->port <= UINT16_MAX;
    }
    return false;
}

/* Whether flowdir_split_url gets out of the URL that is shown what was put into it. */
static bool is_url_exact(const struct flow *flow)
{
    char digits[8];
    const struct flow_target *target = &flow->target;
    const struct value *port = value_get(flow->request.state, "port");
    if (!is_bytes(value_get(flow->request.state, "scheme")) ||
        !value_is(value_get(flow->request.state, "host"), VALUE_TEXT) ||
        !value_is(port, VALUE_INT) || !flow_target_default_port(target->scheme) ||
        target->host.data[0] == '[' || !bytes_are_utf8(target->host))
        return false;
    for (size_t i = 0; i < target->host.size; i++)
        if (memchr("/?#:@", target->host.data[i], 5))
            return false;
    snprintf(digits, sizeof digits, "%u", (unsigned)(target->port & UINT16_MAX));
    return bytes_equal_text(port->bytes, digits);
}

/* Whether the authority is what stands between scheme and path of the URL that is shown. */
static bool is_in_url(const struct flow_target *target)
{
    char port[24] = "";
    size_t host = target->host.size;
    if (target->port != flow_target_default_port(target->scheme))
        snprintf(port, sizeof port, ":%" PRId64, target->port);
    return target->authority.size == host + strlen(port) &&
           memcmp(target->authority.data, target->host.data, host) == 0 &&
           memcmp(target->authority.data + host, port, strlen(port)) == 0;
}

/* The start line is told in one place, so that an edit of it is no riddle. */
static void mark_request(const struct flow *flow)
{
    const struct flow_target *target = &flow->target;
    const struct value *request = flow->request.state;
    bool tunnel = flow_target_form(target) == FLOW_TARGET_AUTHORITY;
    bool url = flowdir_shows_url(target);
    struct value *method = value_get(request, "method");
    struct value *version = value_get(request, "http_version");
    struct value *path = value_get(request, "path");
    bool holds = is_bytes(method) && is_bytes(version) && flowdir_is_token(target->method) &&
                 is_version(target->http_version) && flowdir_holds_in_line(target->path) &&
                 flowdir_holds_in_line(target->host) && flowdir_holds_in_line(target->authority);
    /* A tunnel's line says again what these hold. */
    if (tunnel)
        holds = holds && path && is_bytes(value_get(request, "authority")) &&
                value_get(request, "host");
    /* With another start a path could be taken for a URL. */
    else
        holds = holds && is_bytes(path) && target->path.size &&
                (target->path.data[0] == '/' || bytes_equal_text(target->path, "*"));
    if (!holds || (url && !is_url_exact(flow)))
        return;
    method->elsewhere = version->elsewhere = true;
    if (!tunnel)
        path->elsewhere = true;
    if (!url)
        return;
    value_get(request, "scheme")->elsewhere = value_get(request, "host")->elsewhere =
        value_get(request, "port")->elsewhere = true;
    /* An edit of the URL then takes it along: HTTP/2's `:authority` is shown nowhere else. */
    struct value *authority = value_get(request, "authority");
    if (is_bytes(authority) && is_in_url(target))
        authority->elsewhere = true;
}

static bool is_status(const struct value *status)
{
    if (!value_is(status, VALUE_INT) || status->bytes.size != 3)
        return false;
    for (size_t i = 0; i < 3; i++)
        if (status->bytes.data[i] < '0' || status->bytes.data[i] > '9')
            return false;
    return status->bytes.data[0] != '0';
}

static void mark_response(const struct flow *flow)
{
    struct value *version = value_get(flow->response.state, "http_version");
    struct value *status = value_get(flow->response.state, "status_code");
    struct value *reason = value_get(flow->response.state, "reason");
    if (is_bytes(version) && is_bytes(reason) && is_status(status) &&
        is_version(flow->response.http_version) && flowdir_holds_in_line(flow->reason))
        version->elsewhere = status->elsewhere = reason->elsewhere = true;
}

void flowdir_mark_http(const struct flow *flow)
{
    if (json_is_plain_dict(flow->request.state)) {
        mark_message(&flow->request);
        mark_request(flow);
    }
    if (flow->response.state && json_is_plain_dict(flow->response.state)) {
        mark_message(&flow->response);
        mark_response(flow);
    }
}

static struct value *content_of(const struct flow *flow, const struct value *item)
{
    return flow->type == FLOW_HTTP ? item->first->next->next : item->first->next;
}

void flowdir_mark_messages(const struct flow *flow)
{
    struct flow_stream_message message;
    struct value *first = flow->messages ? flow->messages->first : NULL;
    /* All or none: an odd item would be taken for a usual one without its content. What comes
     * behind the content, a time, tells the two apart. */
    for (struct value *item = first; item; item = item->next)
        if (!flow_stream_message(flow, item, &message) || message.content->kind != VALUE_BYTES ||
            !message.content->next || value_is_string(message.content->next))
            return;
    for (struct value *item = first; item; item = item->next)
        content_of(flow, item)->elsewhere = true;
}

void flowdir_mark_rendered(const struct flow *flow)
{
    struct value *message = value_get(flow->error, "msg");
    if (value_is(message, VALUE_TEXT) && json_is_plain_dict(flow->error) &&
        bytes_are_utf8(message->bytes))
        message->elsewhere = true;
    struct value *own = value_get(flow->state, "flowfs");
    if (!json_is_plain_dict(flow->state))
        return;
    if (own)
        own->elsewhere = true;
    if (flow->dns_request)
        flow->dns_request->elsewhere = true;
    if (flow->dns_response)
        flow->dns_response->elsewhere = true;
}

const char *const *flowdir_usual_order(enum flowdir_dict which)
{
    static const char *const state[] = {
        "version",     "type",      "id",       "error",     "client_conn", "server_conn",
        "intercepted", "is_replay", "marked",   "metadata",  "comment",     "timestamp_created",
        "backup",      "request",   "response", "websocket", "messages",    NULL,
    };
    static const char *const request[] = {
        "http_version",  "headers", "content", "trailers", "timestamp_start",
        "timestamp_end", "host",    "port",    "method",   "scheme",
        "authority",     "path",    NULL,
    };
    static const char *const response[] = {
        "http_version",  "headers",     "content", "trailers", "timestamp_start",
        "timestamp_end", "status_code", "reason",  NULL,
    };
    static const char *const error[] = {"msg", "timestamp", NULL};
    static const char *const *const orders[] = {
        [FLOWDIR_STATE] = state,
        [FLOWDIR_REQUEST] = request,
        [FLOWDIR_RESPONSE] = response,
        [FLOWDIR_ERROR_DICT] = error,
    };
    return orders[which];
}

static bool is_name(const struct value *key, struct bytes name)
{
    return value_is(key, VALUE_TEXT) && bytes_equal(key->bytes, name);
}

static struct value *find_member(const struct value *dict, struct bytes name)
{
    for (struct value *member = dict->first; member; member = member->next)
        if (is_name(member->key, name))
            return member;
    return NULL;
}

/* The member that `key` comes behind: NULL for the front. */
static struct value *place_of(const struct value *dict, const struct value *order, struct bytes key)
{
    struct value *place = NULL;
    for (const struct value *name = order->first; name; name = name->next) {
        if (bytes_equal(value_string(name), key))
            return place;
        struct value *member = find_member(dict, value_string(name));
        place = member ? member : place;
    }
    return dict->last;
}

bool flowdir_place(struct arena *arena, struct value *dict, const struct value *order,
                   const char *key, struct value *member)
{
    if (!member || value_get(dict, key))
        return value_set(arena, dict, key, member);
    struct value *name = value_text(arena, bytes_of(key));
    struct value *place = place_of(dict, order, bytes_of(key));
    if (!name)
        return false;
    if (!place)
        return value_prepend_member(dict, name, member);
    if (!place->next)
        return value_append_member(dict, name, member);
    member->key = name;
    member->previous = place;
    member->next = place->next;
    place->next->previous = member;
    place->next = member;
    dict->count++;
    return true;
}

/* Members in play when an order is tried out. */
#define TRIED_MEMBERS 32

struct trial {
    size_t count;
    const struct value *members[TRIED_MEMBERS];
};

static bool trial_has(const struct trial *trial, const char *name, size_t *at)
{
    for (*at = 0; *at < trial->count; ++*at)
        if (is_name(trial->members[*at]->key, bytes_of(name)))
            return true;
    return false;
}

/* As flowdir_place would. */
static void trial_place(struct trial *trial, const char *const *order, const char *const *key,
                        const struct value *member)
{
    size_t at = 0;
    size_t place = 0;
    for (const char *const *name = order; name < key; name++)
        if (trial_has(trial, *name, &at))
            place = at + 1;
    memmove(trial->members + place + 1, trial->members + place,
            (trial->count - place) * sizeof *trial->members);
    trial->members[place] = member;
    trial->count++;
}

/* What is in files, or made up when it is missing. */
static bool has_needed(const struct value *dict, enum flowdir_dict which)
{
    static const char *const address[] = {"scheme", "host", "port", "authority", "path"};
    for (size_t i = 0; which == FLOWDIR_REQUEST && i < sizeof address / sizeof *address; i++)
        if (!value_get(dict, address[i]))
            return false;
    if (which == FLOWDIR_REQUEST || which == FLOWDIR_RESPONSE)
        return value_get(dict, "content") && value_get(dict, "trailers");
    return which != FLOWDIR_STATE || (value_get(dict, "request") && value_get(dict, "response")) ||
           flow_type_of_name(value_string(value_get(dict, "type"))) != FLOW_DNS;
}

bool flowdir_order_is_usual(const struct value *dict, enum flowdir_dict which)
{
    struct trial trial = {0};
    const char *const *order = flowdir_usual_order(which);
    size_t at = 0;
    if (dict->count > TRIED_MEMBERS || !json_is_plain_dict(dict) || !has_needed(dict, which))
        return false;
    for (const struct value *member = dict->first; member; member = member->next)
        if (!member->elsewhere)
            trial.members[trial.count++] = member;
    for (const char *const *key = order; *key; key++) {
        const struct value *member = value_get(dict, *key);
        if (member && member->elsewhere)
            trial_place(&trial, order, key, member);
    }
    for (const struct value *member = dict->first; member; member = member->next, at++)
        if (at >= trial.count || trial.members[at] != member)
            return false;
    return true;
}

bool flowdir_is_http_1(struct bytes http_version)
{
    return bytes_equal_text(http_version, "HTTP/1.1") || bytes_equal_text(http_version, "HTTP/1.0");
}

bool flowdir_length_is_usual(const struct value *fields, bool is_request, struct bytes http_version,
                             uint64_t size)
{
    struct bytes name, value;
    char digits[24];
    bool framed = size == 0 || !is_request || !flowdir_is_http_1(http_version);
    snprintf(digits, sizeof digits, "%" PRIu64, size);
    for (const struct value *item = fields ? fields->first : NULL; item; item = item->next) {
        if (!flow_field(item, &name, &value))
            continue;
        bool is_length = bytes_equal_ignoring_case(name, "content-length");
        if (is_length && !bytes_equal_text(value, digits))
            return false;
        framed = framed || is_length || bytes_equal_ignoring_case(name, "transfer-encoding");
    }
    return framed;
}
