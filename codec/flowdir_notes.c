#include "flowdir_notes.h"

#include "flow_shape.h"

#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#define PIECE_SIZE ((size_t)64 * 1024)

void flowdir_note_add(struct flowdir_note_sum *sum, struct bytes bytes)
{
    sum->size += bytes.size;
    if (bytes.size)
        sum->crc32 = (uint32_t)crc32_z(sum->crc32, bytes.data, bytes.size);
}

static void print_crc(struct flowdir_note_sum sum, char text[12])
{
    snprintf(text, 12, "%08x", (unsigned)sum.crc32);
}

struct value *flowdir_note(struct arena *arena, struct flowdir_note_sum sum)
{
    char text[12];
    print_crc(sum, text);
    struct bytes digits = arena_copy(arena, bytes_of(text));
    struct value *note = value_dict(arena);
    bool done = digits.data &&
                value_set(arena, note, "size", value_int(arena, (int64_t)sum.size)) &&
                value_set(arena, note, "crc32", value_text(arena, digits));
    return done ? note : NULL;
}

bool flowdir_note_matches_sum(const struct value *note, struct flowdir_note_sum sum)
{
    int64_t size;
    char text[12];
    print_crc(sum, text);
    return value_is(note, VALUE_DICT) && value_to_int64(value_get(note, "size"), &size) &&
           size >= 0 && (uint64_t)size == sum.size &&
           bytes_equal_text(value_string(value_get(note, "crc32")), text);
}

bool flowdir_note_matches(const struct value *note, struct bytes bytes)
{
    struct flowdir_note_sum sum = FLOWDIR_NOTE_SUM_INIT;
    if (!note)
        return false;
    flowdir_note_add(&sum, bytes);
    return flowdir_note_matches_sum(note, sum);
}

const char *flowdir_dict_name(enum flowdir_dict which)
{
    static const char *const names[] = {"state", "request", "response", "error"};
    return names[which];
}

struct maker {
    struct flowdir *directory;
    struct arena *arena;
    struct value *notes;
    struct flow_error *error;
};

static bool put(const struct maker *maker, const char *key, struct value *note)
{
    return value_set(maker->arena, maker->notes, key, note) || flow_error_memory(maker->error);
}

static bool note_stream(const struct maker *maker, const char *key, const struct value *content)
{
    struct flowdir_content stored = {content, maker->directory->source};
    struct body_input input = flowdir_content_input(&stored);
    struct flowdir_note_sum sum = FLOWDIR_NOTE_SUM_INIT;
    size_t got = 1;
    void *piece = malloc(PIECE_SIZE);
    if (!piece)
        return flow_error_memory(maker->error);
    bool done = true;
    while (done && got > 0) {
        done = input.read(input.context, sum.size, piece, PIECE_SIZE, &got, maker->error);
        if (done)
            flowdir_note_add(&sum, bytes_make(piece, got));
    }
    free(piece);
    return done && put(maker, key, flowdir_note(maker->arena, sum));
}

static bool note_content(const struct maker *maker, enum flowdir_dict which,
                         const struct flow_message *message, const struct flowdir_body *body)
{
    bool is_request = which == FLOWDIR_REQUEST;
    if (!message->content)
        return true;
    uint64_t size = message->content->bytes.size;
    bool noted = size && (!message->content->elsewhere || body->encoding.size);
    if (!noted &&
        flowdir_length_is_usual(message->headers, is_request, message->http_version, size))
        return true;
    return note_stream(maker, is_request ? "request.content" : "response.content",
                       message->content);
}

/* A file whose content flow.json holds, too. */
static bool note_file(const struct maker *maker, enum flowdir_file file, bool line, bool fields)
{
    struct buffer text = BUFFER_INIT;
    struct arena *arena = maker->arena;
    if (!flowdir_render(maker->directory, file, &text, maker->error)) {
        buffer_free(&text);
        return false;
    }
    struct flowdir_note_sum sum = FLOWDIR_NOTE_SUM_INIT;
    flowdir_note_add(&sum, buffer_bytes(&text));
    struct value *note = flowdir_note(arena, sum);
    struct value *exact = value_list(arena);
    buffer_free(&text);
    bool done = (!line || value_append(exact, value_text(arena, bytes_of("start line")))) &&
                (!fields || value_append(exact, value_text(arena, bytes_of("fields")))) &&
                value_set(arena, note, "exact", exact);
    return done ? put(maker, flowdir_file_name(file), note) : flow_error_memory(maker->error);
}

static bool is_elsewhere(const struct value *dict, const char *key)
{
    const struct value *member = value_get(dict, key);
    return member && member->elsewhere;
}

static bool note_message(const struct maker *maker, enum flowdir_dict which,
                         const struct flow_message *message, const struct flowdir_body *body)
{
    bool is_request = which == FLOWDIR_REQUEST;
    if (!message->state)
        return true;
    bool line = !is_elsewhere(message->state, "http_version");
    bool fields = !is_elsewhere(message->state, "headers");
    bool trailers = message->trailers && message->trailers->count && !message->trailers->elsewhere;
    return note_content(maker, which, message, body) &&
           ((!line && !fields) ||
            note_file(maker, is_request ? FLOWDIR_REQUEST_HEADERS : FLOWDIR_RESPONSE_HEADERS, line,
                      fields)) &&
           (!trailers ||
            note_file(maker, is_request ? FLOWDIR_REQUEST_TRAILERS : FLOWDIR_RESPONSE_TRAILERS,
                      false, true));
}

static bool note_messages(const struct maker *maker)
{
    char name[FLOWDIR_MESSAGE_NAME_SIZE];
    struct flowdir_note_sum sum = FLOWDIR_NOTE_SUM_INIT;
    for (size_t number = 1; number <= maker->directory->message_count; number++) {
        struct flow_stream_message message = flowdir_message(maker->directory, number);
        flowdir_message_name(maker->directory, number, name);
        flowdir_note_add(&sum, bytes_of(name));
        flowdir_note_add(&sum, value_string(message.content));
    }
    return put(maker, FLOWDIR_MESSAGES_NAME, flowdir_note(maker->arena, sum));
}

static bool note_rest(const struct maker *maker)
{
    const struct flow *flow = &maker->directory->loaded.flow;
    const struct value *messages = flow->messages;
    struct flow_stream_message message;
    if (flow->error && !is_elsewhere(flow->error, "msg") &&
        !note_file(maker, FLOWDIR_ERROR, false, false))
        return false;
    if (flow->dns_request && !flow->dns_request->elsewhere &&
        !note_file(maker, FLOWDIR_QUERY, false, false))
        return false;
    if (flow->dns_response && !flow->dns_response->elsewhere &&
        !note_file(maker, FLOWDIR_ANSWER, false, false))
        return false;
    bool held =
        messages && messages->first &&
        !(flow_stream_message(flow, messages->first, &message) && message.content->elsewhere);
    return !held || note_messages(maker);
}

static bool note_order(const struct maker *maker, enum flowdir_dict which, const struct value *dict)
{
    struct value *orders = value_get(maker->notes, "order");
    struct value *order = value_list(maker->arena);
    for (const struct value *member = dict->first; member; member = member->next)
        if (!value_append(order, value_copy(maker->arena, member->key)))
            return flow_error_memory(maker->error);
    if (!orders) {
        orders = value_dict(maker->arena);
        if (!put(maker, "order", orders))
            return false;
    }
    return value_set(maker->arena, orders, flowdir_dict_name(which), order) ||
           flow_error_memory(maker->error);
}

static bool note_orders(const struct maker *maker)
{
    const struct flow *flow = &maker->directory->loaded.flow;
    const struct value *dicts[] = {
        [FLOWDIR_STATE] = flow->state,
        [FLOWDIR_REQUEST] = flow->request.state,
        [FLOWDIR_RESPONSE] = flow->response.state,
        [FLOWDIR_ERROR_DICT] = flow->error,
    };
    for (int i = 0; i <= FLOWDIR_ERROR_DICT; i++) {
        enum flowdir_dict which = (enum flowdir_dict)i;
        bool own = which == FLOWDIR_STATE && value_get(flow->state, FLOWDIR_NOTES);
        if (dicts[i] && (own || !flowdir_order_is_usual(dicts[i], which)) &&
            !note_order(maker, which, dicts[i]))
            return false;
    }
    return true;
}

/* The flow's own member of that name is left out of flow.json like what other files hold. */
static bool note_own(const struct maker *maker)
{
    struct value *own = value_get(maker->directory->loaded.flow.state, FLOWDIR_NOTES);
    return !own || !own->elsewhere || put(maker, "member", value_copy(maker->arena, own));
}

static bool note_oddity(void *context, const struct flow_shape_oddity *oddity)
{
    const struct maker *maker = context;
    struct value *odd = value_get(maker->notes, "odd");
    struct bytes path = arena_copy(maker->arena, bytes_of(oddity->path));
    if (!odd) {
        odd = value_list(maker->arena);
        if (!put(maker, "odd", odd))
            return false;
    }
    return (path.data && value_append(odd, value_text(maker->arena, path))) ||
           flow_error_memory(maker->error);
}

bool flowdir_notes_make(struct flowdir *directory, struct arena *arena, struct value **notes,
                        struct flow_error *error)
{
    struct maker maker = {directory, arena, value_dict(arena), error};
    const struct flow *flow = &directory->loaded.flow;
    *notes = maker.notes;
    if (!maker.notes)
        return flow_error_memory(error);
    bool done = note_message(&maker, FLOWDIR_REQUEST, &flow->request, &directory->request) &&
                note_message(&maker, FLOWDIR_RESPONSE, &flow->response, &directory->response) &&
                note_rest(&maker) && note_orders(&maker) && note_own(&maker) &&
                flow_shape_check(flow->state, note_oddity, &maker);
    if (!maker.notes->count)
        *notes = NULL;
    return done;
}
