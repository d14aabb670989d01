/* One content coding each: a step takes encoded bytes from one channel and puts decoded bytes into
 * the next. body.c connects the steps; nothing else but body_encode.c uses this.
 *
 * A coding that ends early or is damaged is judged as mitmproxy/net/encoding.py judges it, so that
 * both decode the same contents:
 *   gzip     one member or zlib stream; what follows is ignored; if it breaks off, what there is
 *            counts as the whole; damage is an error
 *   deflate  one complete zlib stream, else one complete raw stream; what follows is ignored
 *   br       one complete stream and nothing behind it, windows up to 16 MB (RFC 7932)
 *   zstd     complete frames of RFC 8878 to the end of the content, no dictionaries */
#ifndef FLOWFS_CODEC_BODY_CODINGS_H
#define FLOWFS_CODEC_BODY_CODINGS_H

#include "bytes.h"
#include "error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum body_coding { BODY_GZIP, BODY_DEFLATE, BODY_BROTLI, BODY_ZSTD };

#define BODY_CODING_LIMIT 8

/* The codings of a Content-Encoding, in the order in which they were applied. */
struct body_coding_list {
    size_t count;
    enum body_coding codings[BODY_CODING_LIMIT];
};

/* False with ENOTSUP: a coding is unknown, or there are more than the limit. In body.c. */
bool body_codings_parse(struct bytes content_encoding, struct body_coding_list *list,
                        struct flow_error *error);

/* Windows of zstd, as powers of two: what mitmproxy accepts, and what RFC 9659 asks for, which is
 * enough where several codings share the memory. */
#define BODY_WINDOW_LOG_ALONE 27
#define BODY_WINDOW_LOG_LIST 23

/* The bytes between two steps: [start, end) of data is filled and not used yet. */
struct body_channel {
    uint8_t *data;
    size_t start, end, capacity;
    uint64_t base; /* of data[0], counted from the first byte that went through */
    bool ended;    /* nothing will come behind data[end] */
};

struct body_stage;

/* NULL with ENOMEM. Freed by body_stage_close. */
struct body_stage *body_stage_open(enum body_coding coding, int window_log,
                                   struct flow_error *error);

enum body_step {
    BODY_STEP_ON,     /* something was done; call again if there is room in the output */
    BODY_STEP_STARVE, /* more input is needed; `input` has not ended */
    BODY_STEP_END,    /* the decoded content is complete */
    BODY_STEP_FAILED,
};

/* Decodes as much as the two channels allow. A channel must have been filled to its capacity, or to
 * its end, before its reader is called: steps look a few bytes ahead, and deflate goes back to the
 * beginning while `input` and `output` still hold it.
 *
 * Errors: EBADMSG (offset: in `input`), EFBIG (a window above 1 << window_log), ENOMEM. */
enum body_step body_stage_step(struct body_stage *stage, struct body_channel *input,
                               struct body_channel *output, struct flow_error *error);

/* Harmless on NULL. */
void body_stage_close(struct body_stage *stage);

#endif
