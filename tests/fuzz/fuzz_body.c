/* Any bytes in any coding; the first byte picks which. However the content is read, it is the same,
 * and never more than the limit. */
#include "body.h"
#include "harness.h"

#include <errno.h>

#define LIMIT ((uint64_t)1 << 20)

struct input {
    struct bytes content;
    size_t step;
};

static bool read_some(void *context, uint64_t offset, void *data, size_t size, size_t *got,
                      struct flow_error *error)
{
    const struct input *input = context;
    (void)error;
    size_t left = offset < input->content.size ? input->content.size - (size_t)offset : 0;
    *got = left < size ? left : size;
    if (*got)
        memcpy(data, input->content.data + offset, *got);
    return true;
}

static void read_in_pieces(struct bytes encoding, struct bytes content, struct bytes expected,
                           size_t piece)
{
    struct flow_error error = {0};
    struct input input = {content, piece};
    struct body_decoder *decoder =
        body_decoder_open(encoding, (struct body_input){read_some, &input}, &error);
    HOLDS(decoder);
    uint8_t data[4096];
    size_t got;
    size_t at = 0;
    do {
        HOLDS(body_decoder_read(decoder, data, piece, &got, &error));
        HOLDS(got <= piece && got <= expected.size - at);
        HOLDS(got == 0 || memcmp(data, expected.data + at, got) == 0);
        at += got;
        HOLDS(body_decoder_position(decoder) == at);
    } while (got == piece);
    HOLDS(at == expected.size);
    body_decoder_close(decoder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const encodings[] = {
        "gzip",       "deflate",  "br",       "zstd",
        "gzip, gzip", "identity", "br, gzip", "deflate,zstd , gzip",
        "deflateraw", "x",        "",         "gzip,deflate,br,zstd,gzip,deflate,br,zstd,gzip",
    };
    if (!size)
        return 0;
    struct bytes encoding = bytes_of(encodings[data[0] % (sizeof encodings / sizeof *encodings)]);
    struct bytes content = guarded(data + 1, size - 1);
    struct flow_error error = {0};
    struct flow_error size_error = {0};
    struct buffer decoded = BUFFER_INIT;
    uint64_t decoded_size = 0;
    struct input input = {content, 1};
    bool decodes = body_decode(encoding, content, LIMIT, &decoded, &error);
    bool measured = body_decoded_size(encoding, (struct body_input){read_some, &input}, LIMIT,
                                      &decoded_size, &size_error);
    HOLDS(decodes == measured);
    if (decodes) {
        HOLDS(decoded_size == decoded.size && decoded.size <= LIMIT);
        read_in_pieces(encoding, content, buffer_bytes(&decoded), 4096);
        if (decoded.size < 20000)
            read_in_pieces(encoding, content, buffer_bytes(&decoded), 1 + data[0] % 64);
    } else {
        HOLDS(error.code == EBADMSG || error.code == EFBIG || error.code == ENOTSUP ||
              error.code == ENOMEM);
        HOLDS(size_error.code == error.code);
        HOLDS(error.message[0]);
    }
    buffer_free(&decoded);
    return 0;
}
