/* Content: which of the two files counts, and what follows from an edit. */
#include "packing.h"

#include "body.h"
#include "body_encode.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define PIECE_SIZE ((size_t)64 * 1024)

struct contents {
    struct bytes encoding;
    struct bytes body, raw;   /* of the files */
    const struct value *note; /* of the content as it was */
    struct bytes wire;        /* what is found */
    bool as_it_is;            /* nothing follows */
};

static bool read_memory(void *context, uint64_t offset, void *data, size_t size, size_t *got,
                        struct flow_error *error)
{
    const struct bytes *content = context;
    (void)error;
    size_t left = offset < content->size ? content->size - (size_t)offset : 0;
    *got = left < size ? left : size;
    if (*got)
        memcpy(data, content->data + offset, *got);
    return true;
}

/* Decodes up to where the two differ. */
static bool compare(struct body_decoder *decoder, struct bytes body, bool *same,
                    struct flow_error *error)
{
    uint8_t *piece = malloc(PIECE_SIZE);
    size_t at = 0, got = PIECE_SIZE;
    if (!piece)
        return flow_error_memory(error);
    bool done = true;
    *same = true;
    while (done && *same && got == PIECE_SIZE) {
        done = body_decoder_read(decoder, piece, PIECE_SIZE, &got, error);
        *same = done && got <= body.size - at && memcmp(piece, body.data + at, got) == 0;
        at += got;
    }
    *same = *same && at == body.size;
    free(piece);
    return done;
}

/* Whether the raw bytes say what the body says: decoded, or as they are where that fails. */
static bool agrees(const struct packing *packing, struct contents *contents, bool *same)
{
    struct flow_error found = {0};
    *same = bytes_equal(contents->body, contents->raw);
    if (*same)
        return true;
    struct body_input input = {read_memory, &contents->raw};
    struct body_decoder *decoder = body_decoder_open(contents->encoding, input, &found);
    bool done = decoder && compare(decoder, contents->body, same, &found);
    body_decoder_close(decoder);
    if (!done)
        *same = false;
    return done || found.code != ENOMEM || flow_error_memory(packing->error);
}

/* The body with its codings applied. One that is not known has not been undone either. */
static bool encode(const struct packing *packing, struct contents *contents)
{
    struct buffer encoded = BUFFER_INIT;
    contents->wire = contents->body;
    if (!body_is_encoded(contents->encoding) || !body_encoding_is_known(contents->encoding))
        return true;
    if (!body_encode(contents->encoding, contents->body, &encoded, packing->error)) {
        buffer_free(&encoded);
        return false;
    }
    contents->wire = encoded.size ? buffer_bytes(&encoded) : bytes_make("", 0);
    if (encoded.data && !arena_adopt(packing->arena, encoded.data))
        return flow_error_memory(packing->error);
    return true;
}

static bool choose(const struct packing *packing, const struct packing_side *side,
                   struct contents *contents)
{
    bool has_body = packing_has(packing, side->body), has_raw = packing_has(packing, side->raw);
    bool same = true;
    contents->body = contents->raw = contents->wire = bytes_make("", 0);
    if (has_body && !packing_read(packing, side->body, &contents->body))
        return false;
    if (has_raw && !packing_read(packing, side->raw, &contents->raw))
        return false;
    if (has_raw && has_body && !agrees(packing, contents, &same))
        return false;
    contents->as_it_is = has_raw && same;
    if (contents->as_it_is)
        contents->wire = contents->raw;
    if (has_raw && !same && !flowdir_note_matches(contents->note, contents->raw))
        return packing_mistake(
            packing, flowdir_file_name(side->raw), 0,
            "found bytes that decode to something else than %s, expected one of the two as it was "
            "unpacked; remove the one that shall not count",
            flowdir_file_name(side->body));
    /* Without its raw form, a body that was never decoded still is what it was. */
    if (has_body && !has_raw && flowdir_note_matches(contents->note, contents->body)) {
        contents->wire = contents->body;
        return true;
    }
    return contents->as_it_is || !has_body || encode(packing, contents);
}

static struct value *make_length(const struct packing *packing, uint64_t size)
{
    char text[24];
    int length = snprintf(text, sizeof text, "%" PRIu64, size);
    struct bytes kept = arena_copy(packing->arena, bytes_make(text, (size_t)length));
    return kept.data ? value_bytes(packing->arena, kept) : NULL;
}

static bool append_length(const struct packing *packing, struct value *fields, uint64_t size)
{
    struct value *field = value_list(packing->arena);
    return (value_append(field, value_bytes(packing->arena, bytes_of("Content-Length"))) &&
            value_append(field, make_length(packing, size)) && value_append(fields, field)) ||
           flow_error_memory(packing->error);
}

/* Every Content-Length tells the size; if there is none, but one is needed, it is added. */
static bool follow(const struct packing *packing, const struct packing_side *side, uint64_t size)
{
    struct bytes name, value, version = value_string(value_get(side->dict, "http_version"));
    struct value *fields = value_get(side->dict, "headers");
    bool is_request = side->which == FLOWDIR_REQUEST;
    bool framed = false;
    if (!value_is(fields, VALUE_LIST))
        return true;
    for (struct value *item = fields->first; item; item = item->next) {
        if (!flow_field(item, &name, &value))
            continue;
        bool is_length = bytes_equal_ignoring_case(name, "content-length");
        framed = framed || is_length || bytes_equal_ignoring_case(name, "transfer-encoding");
        if (!is_length)
            continue;
        struct value *length = make_length(packing, size);
        if (!length)
            return flow_error_memory(packing->error);
        item->last->kind = VALUE_BYTES;
        item->last->bytes = length->bytes;
    }
    bool needed = size && flowdir_is_http_1(version) && (is_request || side->made);
    return framed || !needed || append_length(packing, fields, size);
}

/* flow.json may hold the content too. */
static bool put_content(const struct packing *packing, const struct packing_side *side,
                        const struct contents *contents)
{
    const struct value *told = value_get(side->dict, "content");
    if (value_is_string(told)) {
        if (bytes_equal(value_string(told), contents->wire) ||
            flowdir_note_matches(contents->note, contents->wire))
            return true;
        if (!contents->note && told->bytes.size)
            return packing_json_mistake(packing, told,
                                        "found a content that is not that of %s, expected it there "
                                        "alone: remove it",
                                        flowdir_file_name(side->body));
    }
    return packing_put(packing, side->dict, side->which, "content",
                       value_bytes(packing->arena, contents->wire));
}

bool packing_content(const struct packing *packing, const struct packing_side *side)
{
    struct contents contents = {.note = packing_note(packing, side->content_note)};
    const struct value *told = value_get(side->dict, "content");
    bool any = packing_has(packing, side->body) || packing_has(packing, side->raw);
    const struct flow_message message = {.headers = value_get(side->dict, "headers")};
    /* Content that stands in flow.json alone: null, or written there by hand. */
    if (!any && told && !(contents.note && value_is_string(told)))
        return true;
    if (!any && !told && !packing_had(packing, side->which, "content"))
        return true;
    if (!flow_content_encoding(&message, packing->arena, &contents.encoding))
        return flow_error_memory(packing->error);
    if (!choose(packing, side, &contents) || !put_content(packing, side, &contents))
        return false;
    bool usual = flowdir_length_is_usual(message.headers, side->which == FLOWDIR_REQUEST,
                                         value_string(value_get(side->dict, "http_version")),
                                         contents.wire.size);
    return contents.as_it_is || flowdir_note_matches(contents.note, contents.wire) ||
           (usual && !side->made) || follow(packing, side, contents.wire.size);
}
