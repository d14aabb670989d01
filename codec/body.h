/* Content codings (RFC 9110, 8.4): gzip, deflate (zlib or raw), br, zstd, identity, and comma lists
 * of them, decoded as a stream in bounded memory.
 *
 * What a coding is called and what each decoder accepts follows mitmproxy/net/encoding.py: names
 * are compared without case; `none` and `identity` change nothing; `gzip` takes zlib data too;
 * `deflate` and `deflateraw` take zlib or raw data; empty content decodes to empty content.
 * mitmproxy knows no lists; here a list is undone from its last coding to its first. */
#ifndef FLOWFS_CODEC_BODY_H
#define FLOWFS_CODEC_BODY_H

#include "bytes.h"
#include "error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where the encoded bytes come from: fills `data` with up to `size` bytes from `offset` of the
 * encoded content, `*got` 0 at its end. */
struct body_input {
    bool (*read)(void *context, uint64_t offset, void *data, size_t size, size_t *got,
                 struct flow_error *error);
    void *context;
};

/* Whether a Content-Encoding value asks for any decoding at all: false for empty, identity, none
 * (and lists of only those). */
bool body_is_encoded(struct bytes content_encoding);

/* Whether every coding that the value names is one that body_decoder_open knows. */
bool body_encoding_is_known(struct bytes content_encoding);

struct body_decoder;

/* A decoder at the start of the content. At most 8 codings in a list. content_encoding is read only
 * during the call. NULL with ENOTSUP (unknown coding, or too many: the message names it) or ENOMEM.
 * Freed by body_decoder_close. */
struct body_decoder *body_decoder_open(struct bytes content_encoding, struct body_input input,
                                       struct flow_error *error);

/* Decodes up to `size` bytes more into `data` (NULL: they are counted and thrown away); `*got` is
 * less than `size` only at the end of the content. False with EBADMSG if the content is not what
 * its coding says or ends too early (the offset is in the encoded content), or what the input gave.
 * `*got` counts what was decoded also then; a decoder that has failed keeps failing.
 * Memory: some 500 KB a coding plus its window: zstd up to 128 MB alone and 8 MB in a list (RFC
 * 9659; EFBIG above), br up to 16 MB. */
bool body_decoder_read(struct body_decoder *decoder, void *data, size_t size, size_t *got,
                       struct flow_error *error);

/* Decoded bytes produced so far. */
uint64_t body_decoder_position(const struct body_decoder *decoder);

void body_decoder_close(struct body_decoder *decoder);

/* The decoded size, by decoding everything once. False with EFBIG as soon as more than `limit`
 * bytes come out, or as body_decoder_read. */
bool body_decoded_size(struct bytes content_encoding, struct body_input input, uint64_t limit,
                       uint64_t *size, struct flow_error *error);

/* Everything decoded at once, appended to `decoded`; false as body_decoded_size, or ENOMEM. */
bool body_decode(struct bytes content_encoding, struct bytes content, uint64_t limit,
                 struct buffer *decoded, struct flow_error *error);

#endif
