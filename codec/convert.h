/* Flows in, one of the output formats out: the one way in which flowcat and the mount's `.flowfs`
 * make files, so that both give the same bytes. One flow is in memory at a time. */
#ifndef FLOWFS_CODEC_CONVERT_H
#define FLOWFS_CODEC_CONVERT_H

#include "flowdir.h"
#include "sink.h"

enum convert_format {
    CONVERT_MITM,       /* a flow file: FORMAT.md */
    CONVERT_HAR,        /* HAR 1.2: har_write.h */
    CONVERT_JSONL,      /* one summary.json a line */
    CONVERT_CSV,        /* RFC 4180 */
    CONVERT_STATS,      /* counts and sums, for people */
    CONVERT_STATS_JSON, /* the same for programs */
    CONVERT_LIST,       /* a line a flow, for people */
    CONVERT_CURL,       /* from here on as in export.h, a line end behind each command */
    CONVERT_HTTPIE,
    CONVERT_RAW,
    CONVERT_RAW_REQUEST,
    CONVERT_RAW_RESPONSE,
    CONVERT_FORMATS, /* their number */
};

const char *convert_format_name(enum convert_format format);
/* One line for people, without a full stop. */
const char *convert_format_description(enum convert_format format);
/* CONVERT_FORMATS if there is none of that name. */
enum convert_format convert_format_of_name(struct bytes name);

/* Told of what a flow loses, or why it is left out; flow: its id. */
typedef void convert_report(void *context, struct bytes flow, const char *what);

struct convert_options {
    enum convert_format format;
    int64_t version;        /* CONVERT_MITM: 17 to 21 */
    bool colour;            /* CONVERT_LIST: for a terminal (ECMA-48) */
    convert_report *report; /* may be NULL */
    void *report_context;
};

/* A flow to be written. */
struct convert_flow {
    const struct capture *capture;
    struct capture_extent extent, handshake;
    const char *capture_name; /* borrowed; for summaries */
    uint64_t number;          /* of the flow in its capture, from 1 */
    uint64_t decode_limit;    /* see flowdir.h */
};

struct convert;

/* The sink is the caller's and must outlive the converter. NULL with ENOMEM, or ENOTSUP for a
 * version that cannot be written. Freed by convert_close. */
struct convert *convert_open(const struct convert_options *options, struct sink *sink,
                             struct flow_error *error);

/* Adds a flow. directory: the flow, if the caller has read it already, else NULL. A flow that the
 * format cannot hold is reported and left out. In a flow file of the version asked for, the
 * flow's own bytes are written as they are. False with what reading or writing gave. */
bool convert_add(struct convert *convert, const struct convert_flow *flow,
                 struct flowdir *directory, struct flow_error *error);

/* Whether the format is made of rows: what a flow gives is short, and depends on that flow alone.
 */
bool convert_has_rows(const struct convert *convert);

/* Appends a flow's row, which convert_add_row then takes: many threads may make them at once. False
 * with ENOMEM or what reading gave. */
bool convert_row(const struct convert *convert, struct flowdir *directory, struct buffer *out,
                 struct flow_error *error);
bool convert_add_row(struct convert *convert, struct bytes row, struct flow_error *error);

/* How many flows were left out, since the format cannot hold them. */
uint64_t convert_left_out(const struct convert *convert);

/* Writes what comes last. The sink is not finished by it. */
bool convert_end(struct convert *convert, struct flow_error *error);

/* Harmless on NULL. */
void convert_close(struct convert *convert);

#endif
