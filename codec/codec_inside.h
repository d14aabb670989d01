/* What codec_reader.c, codec_flow.c and codec_writer.c share: how the objects of codec.h stand upon
 * the rooms of the codec. */
#ifndef FLOWFS_CODEC_CODEC_INSIDE_H
#define FLOWFS_CODEC_CODEC_INSIDE_H

#include "codec.h"
#include "convert.h"
#include "filter.h"

#include <stdatomic.h>

/* What codec.h declares is exported, and nothing else (libflowcodec.map). */

/* A capture that its reader and its flows use. */
struct codec_capture {
    struct capture *capture;
    char *name;
    char *memory; /* NULL: it is no capture in memory */
    _Atomic unsigned users;
};

struct codec_capture *codec_capture_keep(struct codec_capture *capture);
void codec_capture_release(struct codec_capture *capture);

struct flowcodec_flow {
    struct codec_capture *capture;
    struct capture_extent extent, handshake;
    struct flowdir directory;
    /* NUL-terminated, in the flow's arena */
    const char *type, *id, *method, *url, *host, *error;
};

/* Reads the flow and takes it. NULL as capture_load. */
struct flowcodec_flow *codec_flow_load(struct codec_capture *capture,
                                       const struct capture_item *item, uint64_t number,
                                       struct flow_error *error);

struct flowcodec_filter {
    struct filter *filter;
    struct filter_matcher *matcher;
};

/* The codec's error told as the library's, unless that has one already. Always returns false. */
bool codec_tell(const struct flow_error *problem, struct flowcodec_error *error);

#endif
