#include "filter_subject.h"
#include "filter_tree.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Scratch memory beyond this is not kept for the next flow. */
#define KEPT_SCRATCH ((size_t)16 << 20)

struct filter_matcher {
    const struct filter *filter;
    struct filter_regex_scratch *scratch;
    struct buffer text; /* what an operator searches */
    struct buffer wire; /* content before it is decoded */
};

struct filter_matcher *filter_matcher_new(const struct filter *filter, struct flow_error *error)
{
    struct filter_matcher *matcher = calloc(1, sizeof *matcher);
    if (matcher)
        matcher->scratch = filter_regex_scratch_new();
    if (!matcher || !matcher->scratch) {
        free(matcher);
        flow_error_memory(error);
        return NULL;
    }
    matcher->filter = filter;
    return matcher;
}

void filter_matcher_free(struct filter_matcher *matcher)
{
    if (!matcher)
        return;
    filter_regex_scratch_free(matcher->scratch);
    buffer_free(&matcher->text);
    buffer_free(&matcher->wire);
    free(matcher);
}

struct filter_facts filter_facts_of_glance(const struct flow_glance *glance)
{
    return (struct filter_facts){
        .known = FILTER_KNOWS_TYPE | FILTER_KNOWS_FILES | FILTER_KNOWS_STATUS | FILTER_KNOWS_METHOD,
        .type = glance->type,
        .is_websocket = glance->is_websocket,
        .files = glance->files,
        .status_code = glance->status_code,
        .method = glance->target.method,
    };
}

static enum filter_verdict verdict_of(bool matches)
{
    return matches ? FILTER_YES : FILTER_NO;
}

/* Whether one of these files is there. */
static enum filter_verdict has_files(const struct filter_facts *facts, unsigned files)
{
    return facts->known & FILTER_KNOWS_FILES ? verdict_of(facts->files & files) : FILTER_UNKNOWN;
}

/* NO where the operator needs one of these files and there is none. */
static enum filter_verdict needs_files(const struct filter_facts *facts, unsigned files)
{
    return has_files(facts, files) == FILTER_NO ? FILTER_NO : FILTER_UNKNOWN;
}

/* The flow types that an operator knows, as bits; it matches no other. */
static unsigned types_of(enum filter_operator kind)
{
    const unsigned http = 1u << FLOW_HTTP, tcp = 1u << FLOW_TCP, udp = 1u << FLOW_UDP,
                   dns = 1u << FLOW_DNS;
    switch (kind) {
    case FILTER_TCP:
        return tcp;
    case FILTER_UDP:
        return udp;
    case FILTER_DNS:
        return dns;
    case FILTER_NO_RESPONSE:
    case FILTER_RESPONSE:
    case FILTER_URL:
        return http | dns;
    case FILTER_BODY:
    case FILTER_BODY_REQUEST:
    case FILTER_BODY_RESPONSE:
        return http | tcp | udp | dns;
    case FILTER_ALL:
    case FILTER_ERROR:
    case FILTER_MARKED:
    case FILTER_REPLAY:
    case FILTER_REPLAY_REQUEST:
    case FILTER_REPLAY_RESPONSE:
    case FILTER_SOURCE:
    case FILTER_DESTINATION:
    case FILTER_META:
    case FILTER_MARKER:
    case FILTER_COMMENT:
        return http | tcp | udp | dns | 1u << FLOW_OTHER;
    default:
        return http;
    }
}

#define RESPONSE_FILES (1u << FLOWDIR_RESPONSE_HEADERS | 1u << FLOWDIR_ANSWER)

static enum filter_verdict code_by_facts(const struct filter_node *node,
                                         const struct filter_facts *facts)
{
    enum filter_verdict response = has_files(facts, RESPONSE_FILES);
    if (response == FILTER_NO)
        return FILTER_NO;
    if (!(facts->known & FILTER_KNOWS_STATUS))
        return FILTER_UNKNOWN;
    /* 0 may also mean that there is no response. */
    if (node->number == 0 && facts->status_code == 0)
        return response;
    return verdict_of(node->number == facts->status_code && node->number != INT64_MAX);
}

static enum filter_verdict method_by_facts(struct filter_matcher *matcher,
                                           const struct filter_node *node,
                                           const struct filter_facts *facts)
{
    bool found;
    struct flow_error error = {0};
    if (!(facts->known & FILTER_KNOWS_METHOD) ||
        !filter_regex_search(node->regex, matcher->scratch, facts->method, &found, &error))
        return FILTER_UNKNOWN;
    return verdict_of(found);
}

static enum filter_verdict negate(enum filter_verdict verdict)
{
    return verdict == FILTER_UNKNOWN ? verdict : verdict_of(verdict == FILTER_NO);
}

/* The same for content: what is empty has no file, but an expression may find itself in it. */
static enum filter_verdict needs_content(struct filter_matcher *matcher,
                                         const struct filter_node *node,
                                         const struct filter_facts *facts, unsigned files)
{
    struct flow_error ignored = {0};
    bool found = false;
    if (needs_files(facts, files) == FILTER_UNKNOWN ||
        !filter_regex_search(node->regex, matcher->scratch, bytes_make("", 0), &found, &ignored) ||
        found)
        return FILTER_UNKNOWN;
    return FILTER_NO;
}

/* An operator on a flow whose type it knows. */
static enum filter_verdict operator_by_facts(struct filter_matcher *matcher,
                                             const struct filter_node *node,
                                             const struct filter_facts *facts)
{
    const unsigned messages = FLOWDIR_MESSAGES_BIT;
    const unsigned request = 1u << FLOWDIR_REQUEST_BODY | 1u << FLOWDIR_QUERY | messages;
    const unsigned response = 1u << FLOWDIR_RESPONSE_BODY | 1u << FLOWDIR_ANSWER | messages;
    switch (node->kind) {
    case FILTER_ALL:
    case FILTER_HTTP:
    case FILTER_TCP:
    case FILTER_UDP:
    case FILTER_DNS:
        return FILTER_YES;
    case FILTER_WEBSOCKET:
        return verdict_of(facts->is_websocket);
    case FILTER_ERROR:
        return has_files(facts, 1u << FLOWDIR_ERROR);
    case FILTER_RESPONSE:
        return has_files(facts, RESPONSE_FILES);
    case FILTER_NO_RESPONSE:
        return negate(has_files(facts, RESPONSE_FILES));
    case FILTER_CODE:
        return code_by_facts(node, facts);
    case FILTER_METHOD:
        return method_by_facts(matcher, node, facts);
    case FILTER_ASSET:
    case FILTER_TYPE_RESPONSE:
    case FILTER_HEADER_RESPONSE:
        return needs_files(facts, RESPONSE_FILES);
    case FILTER_BODY:
        return needs_content(matcher, node, facts, request | response);
    case FILTER_BODY_REQUEST:
        return needs_content(matcher, node, facts, request);
    case FILTER_BODY_RESPONSE:
        return needs_content(matcher, node, facts, response);
    default:
        return FILTER_UNKNOWN;
    }
}

static enum filter_verdict by_facts(struct filter_matcher *matcher, uint32_t at,
                                    const struct filter_facts *facts)
{
    const struct filter_node *nodes = matcher->filter->nodes;
    const struct filter_node *node = &nodes[at];
    if (node->kind == FILTER_NOT)
        return negate(by_facts(matcher, node->first, facts));
    if (node->kind == FILTER_AND || node->kind == FILTER_OR) {
        enum filter_verdict decisive = node->kind == FILTER_AND ? FILTER_NO : FILTER_YES;
        enum filter_verdict verdict = negate(decisive);
        for (uint32_t i = node->first; i != FILTER_NO_NODE; i = nodes[i].next) {
            enum filter_verdict one = by_facts(matcher, i, facts);
            if (one == decisive)
                return decisive;
            if (one == FILTER_UNKNOWN)
                verdict = FILTER_UNKNOWN;
        }
        return verdict;
    }
    unsigned types = types_of(node->kind);
    bool known = facts->known & FILTER_KNOWS_TYPE;
    if (known && !(types >> facts->type & 1))
        return FILTER_NO;
    if (!known && types != (1u << (FLOW_OTHER + 1)) - 1)
        return FILTER_UNKNOWN;
    return operator_by_facts(matcher, node, facts);
}

enum filter_verdict filter_match_facts(struct filter_matcher *matcher,
                                       const struct filter_facts *facts)
{
    return by_facts(matcher, matcher->filter->root, facts);
}

/* One flow that is being matched. */
struct subject {
    struct filter_matcher *matcher;
    struct flowdir *directory;
    const struct flow *flow;
    struct filter_facts facts;
    struct flow_error *error;
};

static bool search(struct subject *subject, const struct filter_node *node, struct bytes text,
                   bool *found)
{
    return filter_regex_search(node->regex, subject->matcher->scratch, text, found, subject->error);
}

/* Starts a text in the scratch memory. */
static struct buffer *begin_text(struct subject *subject)
{
    struct buffer *text = &subject->matcher->text;
    if (text->failed || text->capacity > KEPT_SCRATCH)
        buffer_free(text);
    text->size = 0;
    return text;
}

static bool search_text(struct subject *subject, const struct filter_node *node, bool *found)
{
    const struct buffer *text = &subject->matcher->text;
    if (text->failed)
        return flow_error_memory(subject->error);
    return search(subject, node, buffer_bytes(text), found);
}

/* The types of content that ~a is for; their case counts. */
static bool is_asset(struct bytes type)
{
    static const char *const assets[] = {
        "text/javascript",
        "application/x-javascript",
        "application/javascript",
        "text/css",
        "image/",
        "font/",
        "application/font",
    };
    for (size_t i = 0; i < sizeof assets / sizeof *assets; i++)
        if (type.size && memmem(type.data, type.size, assets[i], strlen(assets[i])))
            return true;
    return false;
}

/* Each Content-Type field of a message: whether it is an asset's (no regex), or is found. */
static bool match_content_type(struct subject *subject, const struct filter_node *node,
                               const struct flow_message *message, bool *found)
{
    struct bytes name, value;
    const struct value *item = message->headers ? message->headers->first : NULL;
    for (; item && !*found; item = item->next) {
        if (!flow_field(item, &name, &value) || !bytes_equal_ignoring_case(name, "content-type"))
            continue;
        if (!node->regex)
            *found = is_asset(value);
        else if (!search(subject, node, value, found))
            return false;
    }
    return true;
}

static bool match_fields(struct subject *subject, const struct filter_node *node,
                         const struct flow_message *message, bool *found)
{
    if (*found || !message->state)
        return true;
    filter_append_fields(begin_text(subject), message->headers);
    return search_text(subject, node, found);
}

static bool match_host(struct subject *subject, const struct filter_node *node, bool *found)
{
    const struct flow_target *target = &subject->flow->target;
    return search(subject, node, target->host, found) &&
           (*found || search(subject, node, flow_target_pretty_host(target), found));
}

static bool match_url(struct subject *subject, const struct filter_node *node, bool *found)
{
    struct bytes name;
    if (subject->flow->type == FLOW_DNS)
        return !filter_first_question(subject->flow->dns_request, &name) ||
               search(subject, node, name, found);
    flow_target_pretty_url(&subject->flow->target, begin_text(subject));
    return search_text(subject, node, found);
}

static bool match_address(struct subject *subject, const struct filter_node *node,
                          const struct value *address, bool *found)
{
    return !filter_append_address(begin_text(subject), address) ||
           search_text(subject, node, found);
}

/* Content as it was on the wire; in the scratch memory if the capture holds it. */
static bool get_wire(struct subject *subject, const struct value *content, struct bytes *wire)
{
    struct buffer *buffer = &subject->matcher->wire;
    struct flowdir_content context = {content, subject->directory->source};
    struct body_input input = flowdir_content_input(&context);
    size_t size = content->bytes.size;
    size_t got;
    *wire = content->bytes;
    if (size > FILTER_BODY_LIMIT) {
        flow_error_set(subject->error, EFBIG, content->offset,
                       "content of %zu bytes, at most %" PRIu64 " can be searched", size,
                       FILTER_BODY_LIMIT);
        return false;
    }
    if (content->bytes.data || size == 0)
        return true;
    if (buffer->capacity > KEPT_SCRATCH)
        buffer_free(buffer);
    buffer->size = 0;
    if (!buffer_reserve(buffer, size)) {
        buffer_free(buffer);
        return flow_error_memory(subject->error);
    }
    if (!input.read(input.context, 0, buffer->data, size, &got, subject->error))
        return false;
    *wire = bytes_make(buffer->data, got);
    return true;
}

/* What request.body or response.body shows: content that does not decode is as on the wire. */
static bool get_content(struct subject *subject, const struct flowdir_body *body,
                        struct bytes *content)
{
    uint64_t shown = subject->directory->decode_limit;
    uint64_t limit = shown < FILTER_BODY_LIMIT ? shown : FILTER_BODY_LIMIT;
    struct flow_error why = {0};
    if (!get_wire(subject, body->content, content))
        return false;
    if (body->encoding.size == 0 || (body->measured && !body->decodes))
        return true;
    struct buffer *decoded = begin_text(subject);
    if (body_decode(body->encoding, *content, limit, decoded, &why)) {
        *content = buffer_bytes(decoded);
        return true;
    }
    if (why.code == EBADMSG || why.code == ENOTSUP || (why.code == EFBIG && shown <= limit))
        return true;
    *subject->error = why;
    return false;
}

static bool match_content(struct subject *subject, const struct filter_node *node,
                          const struct flowdir_body *body, bool *found)
{
    struct bytes content;
    return *found || !body->content ||
           (get_content(subject, body, &content) && search(subject, node, content, found));
}

static bool match_dns(struct subject *subject, const struct filter_node *node,
                      const struct value *message, bool *found)
{
    if (*found || !message)
        return true;
    filter_append_dns(begin_text(subject), message);
    return search_text(subject, node, found);
}

static bool match_body(struct subject *subject, const struct filter_node *node, bool *found)
{
    struct flowdir *directory = subject->directory;
    bool sent = node->kind != FILTER_BODY_RESPONSE;
    bool received = node->kind != FILTER_BODY_REQUEST;
    if ((sent && !(match_content(subject, node, &directory->request, found) &&
                   match_dns(subject, node, subject->flow->dns_request, found))) ||
        (received && !(match_content(subject, node, &directory->response, found) &&
                       match_dns(subject, node, subject->flow->dns_response, found))))
        return false;
    for (size_t i = 1; i <= directory->message_count && !*found; i++) {
        struct flow_stream_message message = flowdir_message(directory, i);
        struct bytes content;
        if ((message.from_client ? sent : received) &&
            !(get_wire(subject, message.content, &content) &&
              search(subject, node, content, found)))
            return false;
    }
    return true;
}

static bool is_replay(const struct flow *flow, const char *what)
{
    const struct value *replay = value_get(flow->state, "is_replay");
    return what ? value_is_string(replay) && bytes_equal_text(value_string(replay), what)
                : !value_is_null(replay);
}

/* An operator that the facts do not answer. */
static bool match_operator(struct subject *subject, const struct filter_node *node, bool *found)
{
    const struct flow *flow = subject->flow;
    switch (node->kind) {
    case FILTER_MARKED:
        *found = value_is_true(value_get(flow->state, "marked"));
        return true;
    case FILTER_REPLAY:
        *found = is_replay(flow, NULL);
        return true;
    case FILTER_REPLAY_REQUEST:
        *found = is_replay(flow, "request");
        return true;
    case FILTER_REPLAY_RESPONSE:
        *found = is_replay(flow, "response");
        return true;
    case FILTER_METHOD:
        return search(subject, node, flow->target.method, found);
    case FILTER_DOMAIN:
        return match_host(subject, node, found);
    case FILTER_URL:
        return match_url(subject, node, found);
    case FILTER_SOURCE:
        return match_address(subject, node, value_get(flow->client_connection, "peername"), found);
    case FILTER_DESTINATION:
        return match_address(subject, node, value_get(flow->server_connection, "address"), found);
    case FILTER_MARKER:
        return search(subject, node, value_string(value_get(flow->state, "marked")), found);
    case FILTER_COMMENT:
        return search(subject, node, value_string(value_get(flow->state, "comment")), found);
    case FILTER_META:
        filter_append_metadata(begin_text(subject), value_get(flow->state, "metadata"));
        return search_text(subject, node, found);
    case FILTER_HEADER:
        return match_fields(subject, node, &flow->request, found) &&
               match_fields(subject, node, &flow->response, found);
    case FILTER_HEADER_REQUEST:
        return match_fields(subject, node, &flow->request, found);
    case FILTER_HEADER_RESPONSE:
        return match_fields(subject, node, &flow->response, found);
    case FILTER_TYPE:
        return match_content_type(subject, node, &flow->request, found) &&
               match_content_type(subject, node, &flow->response, found);
    case FILTER_TYPE_REQUEST:
        return match_content_type(subject, node, &flow->request, found);
    case FILTER_ASSET:
    case FILTER_TYPE_RESPONSE:
        return match_content_type(subject, node, &flow->response, found);
    default:
        return match_body(subject, node, found);
    }
}

static bool match_node(struct subject *subject, uint32_t at, bool *matches)
{
    const struct filter_node *nodes = subject->matcher->filter->nodes;
    const struct filter_node *node = &nodes[at];
    if (node->kind == FILTER_NOT) {
        bool matched = match_node(subject, node->first, matches);
        *matches = !*matches;
        return matched;
    }
    if (node->kind == FILTER_AND || node->kind == FILTER_OR) {
        bool decisive = node->kind == FILTER_OR;
        *matches = !decisive;
        for (uint32_t i = node->first; i != FILTER_NO_NODE && *matches != decisive;
             i = nodes[i].next)
            if (!match_node(subject, i, matches))
                return false;
        return true;
    }
    enum filter_verdict verdict = by_facts(subject->matcher, at, &subject->facts);
    *matches = verdict == FILTER_YES;
    if (verdict != FILTER_UNKNOWN || match_operator(subject, node, matches))
        return true;
    char key[16];
    snprintf(key, sizeof key, "~%s", filter_operator_info(node->kind)->code);
    flow_error_prepend_key(subject->error, key);
    return false;
}

bool filter_match(struct filter_matcher *matcher, struct flowdir *directory, bool *matches,
                  struct flow_error *error)
{
    struct flow_glance glance;
    struct subject subject = {
        .matcher = matcher,
        .directory = directory,
        .flow = &directory->loaded.flow,
        .error = error,
    };
    flow_glance_of_flow(subject.flow, &glance);
    subject.facts = filter_facts_of_glance(&glance);
    return match_node(&subject, matcher->filter->root, matches);
}
