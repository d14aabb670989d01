#include "flowdir_notes.h"

#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#define PIECE_SIZE ((size_t)64 * 1024)

struct value *flowdir_note(struct arena *arena, uint64_t size, uint32_t crc)
{
    char text[12];
    snprintf(text, sizeof text, "%08x", (unsigned)crc);
    struct bytes digits = arena_copy(arena, bytes_of(text));
    struct value *note = value_dict(arena);
    bool done = digits.data && value_set(arena, note, "size", value_int(arena, (int64_t)size)) &&
                value_set(arena, note, "crc32", value_text(arena, digits));
    return done ? note : NULL;
}

bool flowdir_note_matches(const struct value *note, struct bytes bytes)
{
    int64_t size;
    char text[12];
    if (!value_is(note, VALUE_DICT) || !value_to_int64(value_get(note, "size"), &size) ||
        size < 0 || (uint64_t)size != bytes.size)
        return false;
    snprintf(text, sizeof text, "%08x",
             (unsigned)crc32_z(crc32_z(0, NULL, 0), bytes.data, bytes.size));
    return bytes_equal_text(value_string(value_get(note, "crc32")), text);
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
    uLong crc = crc32_z(0, NULL, 0);
    uint64_t offset = 0;
    size_t got = 1;
    void *piece = malloc(PIECE_SIZE);
    if (!piece)
        return flow_error_memory(maker->error);
    bool done = true;
    while (done && got > 0) {
        done = input.read(input.context, offset, piece, PIECE_SIZE, &got, maker->error);
        if (done)
            crc = crc32_z(crc, piece, got);
        offset += got;
    }
    free(piece);
    return done && put(maker, key, flowdir_note(maker->arena, content->bytes.size, (uint32_t)crc));
}

static bool note_content(const struct maker *maker, enum flowdir_dict which,
                         const struct flow_message *message, const struct flowdir_body *body)
{
    bool is_request = which == FLOWDIR_REQUEST;
    if (!message->content ||
        (message->content->elsewhere && !body->encoding.size &&
         flowdir_length_is_usual(message->headers, is_request, message->http_version,
                                 message->content->bytes.size)))
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
    uint32_t crc = (uint32_t)crc32_z(crc32_z(0, NULL, 0), text.data, text.size);
    struct value *note = flowdir_note(arena, text.size, crc);
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
    bool exact =
        messages && messages->first &&
        !(flow_stream_message(flow, messages->first, &message) && message.content->elsewhere);
    return !exact || put(maker, FLOWDIR_MESSAGES_NAME, value_text(maker->arena, bytes_of("exact")));
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
                note_rest(&maker) && note_orders(&maker) && note_own(&maker);
    if (!maker.notes->count)
        *notes = NULL;
    return done;
}
