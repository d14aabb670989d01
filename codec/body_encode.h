/* Content codings applied: the way back of body.h. The same content always gives the same bytes. */
#ifndef FLOWFS_CODEC_BODY_ENCODE_H
#define FLOWFS_CODEC_BODY_ENCODE_H

#include "bytes.h"
#include "error.h"

#include <stdbool.h>

/* Appends the content with the codings of a Content-Encoding value applied, the first one first
 * (RFC 9110, 8.4): gzip without time and name, deflate as zlib data, br, zstd. Empty content stays
 * empty, as body_decode has it. False with ENOTSUP (an unknown coding, or too many: the message
 * names it) or ENOMEM. */
bool body_encode(struct bytes content_encoding, struct bytes content, struct buffer *encoded,
                 struct flow_error *error);

#endif
