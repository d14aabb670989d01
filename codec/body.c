#include "body.h"

#include "body_codings.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define CHANNEL_SIZE ((size_t)64 * 1024)

/* Channel 0 holds the encoded content, stage i decodes from channel i to channel i + 1, and the
 * last one holds what body_decoder_read hands out. That one is not the caller's own memory so that
 * what is decoded, and what fails, never depends on the sizes that a caller asks for. */
struct body_decoder {
    struct body_input input;
    uint64_t limit; /* bytes that any one coding may give */
    size_t count;
    struct body_stage *stages[BODY_CODING_LIMIT];
    bool finished[BODY_CODING_LIMIT];
    struct body_channel channels[BODY_CODING_LIMIT + 1];
    struct flow_error failure; /* stays, and is told at every later read */
};

/* The next element of a comma list (RFC 9110, 5.6.1), which may be empty; false at the end. */
static bool next_element(struct bytes *list, struct bytes *element)
{
    if (!list->data)
        return false;
    const uint8_t *comma = list->size ? memchr(list->data, ',', list->size) : NULL;
    size_t size = comma ? (size_t)(comma - list->data) : list->size;
    *element = bytes_trim(bytes_make(list->data, size));
    *list = comma ? bytes_make(comma + 1, list->size - size - 1) : bytes_make(NULL, 0);
    return true;
}

static bool is_identity(struct bytes name)
{
    return name.size == 0 || bytes_equal_ignoring_case(name, "identity") ||
           bytes_equal_ignoring_case(name, "none");
}

static bool find_coding(struct bytes name, enum body_coding *coding)
{
    static const struct {
        const char *name;
        enum body_coding coding;
    } known[] = {
        {"gzip", BODY_GZIP},          {"x-gzip", BODY_GZIP}, {"deflate", BODY_DEFLATE},
        {"deflateraw", BODY_DEFLATE}, {"br", BODY_BROTLI},   {"zstd", BODY_ZSTD},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (bytes_equal_ignoring_case(name, known[i].name)) {
            *coding = known[i].coding;
            return true;
        }
    }
    return false;
}

static void refuse_coding(struct bytes name, struct flow_error *error)
{
    /* The name comes from the traffic: what is no printable ASCII must not reach a terminal. */
    char text[41];
    size_t size = name.size < sizeof text - 1 ? name.size : sizeof text - 1;
    for (size_t i = 0; i < size; i++)
        text[i] = name.data[i] >= 0x20 && name.data[i] < 0x7F ? (char)name.data[i] : '?';
    text[size] = '\0';
    flow_error_set(error, ENOTSUP, FLOW_ERROR_NO_OFFSET,
                   "content-encoding \"%s\" is unknown; expected gzip, deflate, br, zstd or "
                   "identity; use the content undecoded",
                   text);
}

bool body_codings_parse(struct bytes content_encoding, struct body_coding_list *list,
                        struct flow_error *error)
{
    struct bytes name;
    list->count = 0;
    while (next_element(&content_encoding, &name)) {
        enum body_coding coding;
        if (is_identity(name))
            continue;
        if (!find_coding(name, &coding)) {
            refuse_coding(name, error);
            return false;
        }
        if (list->count == BODY_CODING_LIMIT) {
            flow_error_set(error, ENOTSUP, FLOW_ERROR_NO_OFFSET,
                           "content-encoding names more than %d codings; use the content undecoded",
                           BODY_CODING_LIMIT);
            return false;
        }
        list->codings[list->count++] = coding;
    }
    return true;
}

bool body_is_encoded(struct bytes content_encoding)
{
    struct bytes name;
    while (next_element(&content_encoding, &name))
        if (!is_identity(name))
            return true;
    return false;
}

bool body_encoding_is_known(struct bytes content_encoding)
{
    struct body_coding_list list;
    return body_codings_parse(content_encoding, &list, NULL);
}

static bool open_stages(struct body_decoder *decoder, const struct body_coding_list *list,
                        struct flow_error *error)
{
    int window_log = list->count > 1 ? BODY_WINDOW_LOG_LIST : BODY_WINDOW_LOG_ALONE;
    decoder->count = list->count;
    for (size_t i = 0; i <= list->count; i++) {
        struct body_channel *channel = &decoder->channels[i];
        channel->data = malloc(CHANNEL_SIZE);
        channel->capacity = CHANNEL_SIZE;
        if (!channel->data)
            return flow_error_memory(error);
    }
    for (size_t i = 0; i < list->count; i++) {
        decoder->stages[i] = body_stage_open(list->codings[list->count - 1 - i], window_log, error);
        if (!decoder->stages[i])
            return false;
    }
    return true;
}

struct body_decoder *body_decoder_open(struct bytes content_encoding, struct body_input input,
                                       struct flow_error *error)
{
    struct body_coding_list list;
    if (!body_codings_parse(content_encoding, &list, error))
        return NULL;
    struct body_decoder *decoder = calloc(1, sizeof *decoder);
    if (!decoder) {
        flow_error_memory(error);
        return NULL;
    }
    decoder->input = input;
    decoder->limit = UINT64_MAX;
    if (!open_stages(decoder, &list, error)) {
        body_decoder_close(decoder);
        return NULL;
    }
    return decoder;
}

void body_decoder_close(struct body_decoder *decoder)
{
    if (!decoder)
        return;
    for (size_t i = 0; i < decoder->count; i++)
        body_stage_close(decoder->stages[i]);
    for (size_t i = 0; i <= decoder->count; i++)
        free(decoder->channels[i].data);
    free(decoder);
}

uint64_t body_decoder_position(const struct body_decoder *decoder)
{
    const struct body_channel *last = &decoder->channels[decoder->count];
    return last->base + last->start;
}

/* Moves what is not used yet to the front. */
static void make_room(struct body_channel *channel)
{
    memmove(channel->data, channel->data + channel->start, channel->end - channel->start);
    channel->base += channel->start;
    channel->end -= channel->start;
    channel->start = 0;
}

static bool check_limit(const struct body_decoder *decoder, const struct body_channel *output,
                        struct flow_error *error)
{
    if (output->base + output->end <= decoder->limit)
        return true;
    flow_error_set(error, EFBIG, decoder->channels[0].base + decoder->channels[0].start,
                   "the content decodes to more than the limit of %" PRIu64
                   " bytes; raise the limit or use it undecoded",
                   decoder->limit);
    return false;
}

static bool fill_from_input(struct body_decoder *decoder, struct flow_error *error)
{
    struct body_channel *channel = &decoder->channels[0];
    size_t got = 0;
    if (!decoder->input.read(decoder->input.context, channel->base + channel->end,
                             channel->data + channel->end, channel->capacity - channel->end, &got,
                             error))
        return false;
    channel->end += got;
    channel->ended = got == 0;
    return decoder->count > 0 || check_limit(decoder, channel, error);
}

/* One step of stage `index`; afterwards either its output has changed, or `*starved` is true and
 * its input has room and must be filled. */
static bool step(struct body_decoder *decoder, size_t index, bool *starved,
                 struct flow_error *error)
{
    struct body_channel *input = &decoder->channels[index];
    struct body_channel *output = &decoder->channels[index + 1];
    enum body_step result = BODY_STEP_END;
    if (!decoder->finished[index])
        result = body_stage_step(decoder->stages[index], input, output, error);
    if (result == BODY_STEP_FAILED) {
        /* An offset in what another coding gave helps nobody: say how far the content was read. */
        if (error->code != ENOMEM)
            error->offset = decoder->channels[0].base + decoder->channels[0].start;
        return false;
    }
    if (!check_limit(decoder, output, error))
        return false;
    if (result == BODY_STEP_END) {
        /* Behind the end, an earlier coding is still read on, for its checks; the content is not.
         */
        decoder->finished[index] = true;
        if (index > 0)
            input->start = input->end;
        output->ended = index == 0 || input->ended;
    }
    *starved = result == BODY_STEP_STARVE || (result == BODY_STEP_END && !output->ended);
    if (*starved)
        make_room(input);
    return true;
}

/* Fills the last channel to its capacity, or to the end of the content. Walks up where bytes are
 * missing and down where they are there. */
static bool pump(struct body_decoder *decoder, struct flow_error *error)
{
    size_t at = decoder->count;
    make_room(&decoder->channels[at]);
    for (;;) {
        const struct body_channel *channel = &decoder->channels[at];
        bool starved = false;
        if (channel->ended || channel->end == channel->capacity) {
            if (at == decoder->count)
                return true;
            at++;
        } else if (at == 0) {
            if (!fill_from_input(decoder, error))
                return false;
        } else {
            if (!step(decoder, at - 1, &starved, error))
                return false;
            at -= starved;
        }
    }
}

bool body_decoder_read(struct body_decoder *decoder, void *data, size_t size, size_t *got,
                       struct flow_error *error)
{
    struct body_channel *last = &decoder->channels[decoder->count];
    *got = 0;
    for (;;) {
        size_t part = last->end - last->start;
        if (part > size - *got)
            part = size - *got;
        if (data && part)
            memcpy((uint8_t *)data + *got, last->data + last->start, part);
        last->start += part;
        *got += part;
        if (*got == size)
            return true;
        if (decoder->failure.code) {
            if (error && !error->code)
                *error = decoder->failure;
            return false;
        }
        if (last->ended)
            return true;
        if (!pump(decoder, &decoder->failure) && !decoder->failure.code)
            flow_error_set(&decoder->failure, EIO, FLOW_ERROR_NO_OFFSET,
                           "the content cannot be read");
    }
}

/* Decodes everything; the decoded bytes go to `decoded`, or nowhere if it is NULL. */
static bool drain(struct body_decoder *decoder, struct buffer *decoded, struct flow_error *error)
{
    size_t wanted = CHANNEL_SIZE;
    size_t got = wanted;
    while (got == wanted) {
        uint8_t *data = NULL;
        if (decoded) {
            if (!buffer_reserve(decoded, wanted))
                return flow_error_memory(error);
            data = decoded->data + decoded->size;
        }
        if (!body_decoder_read(decoder, data, wanted, &got, error))
            return false;
        if (decoded)
            decoded->size += got;
    }
    return true;
}

bool body_decoded_size(struct bytes content_encoding, struct body_input input, uint64_t limit,
                       uint64_t *size, struct flow_error *error)
{
    struct body_decoder *decoder = body_decoder_open(content_encoding, input, error);
    if (!decoder)
        return false;
    decoder->limit = limit;
    bool done = drain(decoder, NULL, error);
    *size = body_decoder_position(decoder);
    body_decoder_close(decoder);
    return done;
}

static bool read_memory(void *context, uint64_t offset, void *data, size_t size, size_t *got,
                        struct flow_error *error)
{
    const struct bytes *content = context;
    (void)error;
    uint64_t left = offset < content->size ? content->size - offset : 0;
    *got = left < size ? (size_t)left : size;
    if (*got)
        memcpy(data, content->data + offset, *got);
    return true;
}

bool body_decode(struct bytes content_encoding, struct bytes content, uint64_t limit,
                 struct buffer *decoded, struct flow_error *error)
{
    struct body_input input = {read_memory, &content};
    size_t before = decoded->size;
    struct body_decoder *decoder = body_decoder_open(content_encoding, input, error);
    if (!decoder)
        return false;
    decoder->limit = limit;
    bool done = drain(decoder, decoded, error);
    if (!done)
        decoded->size = before;
    body_decoder_close(decoder);
    return done;
}
