/* The files of a flow's directory: their names, and which of them a flow has. flowdir.h tells what
 * is in them. */
#ifndef FLOWFS_CODEC_FLOWDIR_FILE_H
#define FLOWFS_CODEC_FLOWDIR_FILE_H

#include "flow.h"

enum flowdir_file {
    FLOWDIR_SUMMARY,
    FLOWDIR_FLOW,
    FLOWDIR_REQUEST_HEADERS,
    FLOWDIR_REQUEST_BODY,
    FLOWDIR_REQUEST_BODY_RAW,
    FLOWDIR_REQUEST_TRAILERS,
    FLOWDIR_RESPONSE_HEADERS,
    FLOWDIR_RESPONSE_BODY,
    FLOWDIR_RESPONSE_BODY_RAW,
    FLOWDIR_RESPONSE_TRAILERS,
    FLOWDIR_ERROR,
    FLOWDIR_QUERY,
    FLOWDIR_ANSWER,
    FLOWDIR_FILES, /* their number */
};

/* Which files a flow has, as a set of bits: 1 << file, and this for messages/. */
#define FLOWDIR_MESSAGES_BIT ((uint16_t)1 << FLOWDIR_FILES)

_Static_assert(FLOWDIR_FILES < 16, "the set fits 16 bits");

static inline uint16_t flowdir_bit(enum flowdir_file file)
{
    return (uint16_t)(1u << file);
}

const char *flowdir_file_name(enum flowdir_file file);

/* FLOWDIR_FILES if no file has that name. */
enum flowdir_file flowdir_file_of_name(struct bytes name);

/* The files that the flow has. */
uint16_t flowdir_files(const struct flow *flow);

/* Whether a Content-Encoding gives the message a `.body.raw`. */
bool flowdir_has_raw(struct bytes content_encoding);

#endif
