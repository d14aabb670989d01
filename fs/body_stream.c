#include "body_stream.h"

#include <stdlib.h>

/* Several times what the kernel reads ahead, so that its requests may arrive in any order. */
#define WINDOW_SIZE ((uint64_t)4 << 20)
#define STEP ((size_t)128 * 1024)

/* What a decoder with the usual window takes; only for the accounts of the cache. */
#define DECODER_FOOTPRINT ((size_t)1 << 20)

struct body_stream {
    struct flowdir_content content;
    struct bytes encoding;
    uint64_t decoded_size;
    struct body_decoder *decoder;
    uint64_t end;    /* decoded up to here */
    uint8_t *window; /* byte `n` of the content is at n % WINDOW_SIZE, for the last WINDOW_SIZE */
};

struct body_stream *body_stream_open(const struct value *content, const struct source *source,
                                     struct bytes encoding, uint64_t decoded_size,
                                     struct flow_error *error)
{
    struct body_stream *stream = calloc(1, sizeof *stream);
    if (!stream) {
        flow_error_memory(error);
        return NULL;
    }
    stream->content = (struct flowdir_content){content, source};
    stream->encoding = encoding;
    stream->decoded_size = decoded_size;
    stream->window = malloc(WINDOW_SIZE);
    if (stream->window)
        return stream;
    flow_error_memory(error);
    body_stream_close(stream);
    return NULL;
}

void body_stream_close(struct body_stream *stream)
{
    if (!stream)
        return;
    body_decoder_close(stream->decoder);
    free(stream->window);
    free(stream);
}

size_t body_stream_footprint(const struct body_stream *stream)
{
    return stream ? sizeof *stream + WINDOW_SIZE + DECODER_FOOTPRINT : 0;
}

static bool restart(struct body_stream *stream, struct flow_error *error)
{
    body_decoder_close(stream->decoder);
    stream->decoder =
        body_decoder_open(stream->encoding, flowdir_content_input(&stream->content), error);
    stream->end = 0;
    return stream->decoder != NULL;
}

/* Decodes one step more into the window. */
static bool advance(struct body_stream *stream, size_t *got, struct flow_error *error)
{
    size_t at = (size_t)(stream->end % WINDOW_SIZE);
    size_t room = WINDOW_SIZE - at < STEP ? (size_t)WINDOW_SIZE - at : STEP;
    if (!body_decoder_read(stream->decoder, stream->window + at, room, got, error))
        return false;
    stream->end += *got;
    return true;
}

static void copy_from_window(const struct body_stream *stream, uint64_t offset, uint8_t *data,
                             size_t size)
{
    size_t at = (size_t)(offset % WINDOW_SIZE);
    size_t first = WINDOW_SIZE - at < size ? (size_t)WINDOW_SIZE - at : size;
    memcpy(data, stream->window + at, first);
    memcpy(data + first, stream->window, size - first);
}

bool body_stream_read(struct body_stream *stream, uint64_t offset, void *data, size_t size,
                      size_t *got, struct flow_error *error)
{
    size_t step;
    uint64_t left = offset < stream->decoded_size ? stream->decoded_size - offset : 0;
    uint64_t start = stream->end > WINDOW_SIZE ? stream->end - WINDOW_SIZE : 0;
    if (size > left)
        size = (size_t)left;
    *got = 0;
    if (!size)
        return true;
    if ((!stream->decoder || offset < start) && !restart(stream, error))
        return false;
    /* In steps no larger than what fits the window: a piece is copied before it is overwritten. */
    while (*got < size) {
        uint64_t at = offset + *got;
        if (stream->end > at) {
            uint64_t ready = stream->end - at;
            size_t part = ready < size - *got ? (size_t)ready : size - *got;
            copy_from_window(stream, at, (uint8_t *)data + *got, part);
            *got += part;
        } else if (!advance(stream, &step, error)) {
            return false;
        } else if (!step) {
            break;
        }
    }
    return true;
}
