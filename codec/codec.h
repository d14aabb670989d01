/* libflowcodec: captured HTTP traffic read, filtered, exported and written.
 *
 *     struct flowcodec_error error = {0};
 *     struct flowcodec_reader *reader = flowcodec_reader_open("session.mitm", &error);
 *     struct flowcodec_flow *flow;
 *     while (reader && flowcodec_reader_next(reader, &flow, &error) && flow) {
 *         printf("%s\n", flowcodec_flow_url(flow));
 *         flowcodec_flow_free(flow);
 *     }
 *     flowcodec_reader_close(reader);
 *     if (error.code)
 *         fprintf(stderr, "at byte %" PRIu64 ": %s\n", error.offset, error.message);
 *
 * Captures are mitmproxy flow files of every format version and HAR 1.2, plain or packed by gzip or
 * zlib. Every function that can fail takes a zeroed struct flowcodec_error and returns false or
 * NULL after filling it; what is set first stays. Texts end in NUL besides what their size says;
 * they are UTF-8 unless traffic was not. One object is for one thread at a time; several objects
 * may be used by several threads. The functions that free are harmless on NULL. */
#ifndef FLOWCODEC_CODEC_H
#define FLOWCODEC_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The library's version, as in "0.1.0". */
const char *flowcodec_version(void);

/* The offset of an error that belongs to no place in a file. */
#define FLOWCODEC_NO_OFFSET UINT64_MAX

/* What went wrong (mitmproxy's FlowReadException, with its place). */
struct flowcodec_error {
    int code;          /* an errno: EBADMSG malformed, ENOTSUP, EFBIG over a limit, ENOMEM, EINVAL a
                          wrong expression, or what a system call gave; 0: nothing */
    uint64_t offset;   /* bytes from the start of the unpacked capture, or of the expression */
    char place[96];    /* where in the flow, as in `request.headers[3]`; may be empty */
    char message[256]; /* what was found and what was expected: one line */
};

/* A flow. It stays usable when its reader is closed. */
struct flowcodec_flow;
void flowcodec_flow_free(struct flowcodec_flow *flow);

/* ---- Reading: mitmproxy's FlowReader and read_flows_from_paths ---- */

struct flowcodec_reader;

/* Opens a capture; "-" is standard input. NULL with what open gave (ENOENT, EACCES…), EBADMSG if it
 * is no capture, or ENOMEM. Packed captures and pipes are unpacked first, to their end, into a file
 * without a name in $TMPDIR (or /var/tmp). */
struct flowcodec_reader *flowcodec_reader_open(const char *path, struct flowcodec_error *error);

/* The same of a file or pipe that is open. The descriptor stays the caller's, and must stay open as
 * long as the reader. A file is read from its start, whatever the descriptor's position. */
struct flowcodec_reader *flowcodec_reader_open_descriptor(int descriptor,
                                                          struct flowcodec_error *error);

/* The same of bytes in memory, which are copied. */
struct flowcodec_reader *flowcodec_reader_open_memory(const void *data, size_t size,
                                                      struct flowcodec_error *error);

/* Reads several captures, one after the other; a folder stands for the captures in it, in the order
 * of their names. Each is opened when it is its turn, and what is wrong with one is told by
 * flowcodec_reader_next, which then goes on with the next one. NULL with ENOMEM, or what looking
 * into a folder gave. */
struct flowcodec_reader *flowcodec_reader_open_paths(const char *const *paths, size_t count,
                                                     struct flowcodec_error *error);

/* Told of bytes that are no flow and were passed over, or of a flow that ends early. */
typedef void flowcodec_gap(void *context, const char *capture, uint64_t offset, uint64_t size,
                           const struct flowcodec_error *why);
void flowcodec_reader_on_gap(struct flowcodec_reader *reader, flowcodec_gap *gap, void *context);

/* The next flow, in the order of the file; *flow is NULL behind the last one. Freed by
 * flowcodec_flow_free. A broken place is a gap, no error: reading goes on behind it. False with
 * ENOMEM, EIO, ESTALE if the file was changed under us, or what opening the next capture gave. */
bool flowcodec_reader_next(struct flowcodec_reader *reader, struct flowcodec_flow **flow,
                           struct flowcodec_error *error);

void flowcodec_reader_close(struct flowcodec_reader *reader);

/* ---- What a flow has ---- */

struct flowcodec_bytes {
    const char *data; /* NULL: there is none. Borrowed from the flow */
    size_t size;
};

enum flowcodec_side {
    FLOWCODEC_REQUEST,
    FLOWCODEC_RESPONSE,
};

/* "http", "tcp", "udp", "dns", or another type that a newer mitmproxy has. */
const char *flowcodec_flow_type(const struct flowcodec_flow *flow);
const char *flowcodec_flow_id(const struct flowcodec_flow *flow);
bool flowcodec_flow_is_websocket(const struct flowcodec_flow *flow);

/* Start of the flow, in seconds since the epoch; 0: not known. */
double flowcodec_flow_start(const struct flowcodec_flow *flow);

/* Of HTTP; "" where there is none. The URL and host are the displayed ones (Host field or
 * `:authority`, else the address). */
const char *flowcodec_flow_method(const struct flowcodec_flow *flow);
const char *flowcodec_flow_url(const struct flowcodec_flow *flow);
const char *flowcodec_flow_host(const struct flowcodec_flow *flow);

/* 0: no response. */
int flowcodec_flow_status(const struct flowcodec_flow *flow);

/* The flow's error message; NULL: it has none. */
const char *flowcodec_flow_error(const struct flowcodec_flow *flow);

/* Header field `number` from 0, in wire order and case; false behind the last one. */
bool flowcodec_flow_header(const struct flowcodec_flow *flow, enum flowcodec_side side,
                           size_t number, struct flowcodec_bytes *name,
                           struct flowcodec_bytes *value);

/* The content of one side: decoded as Content-Encoding says (as it was sent where it does not
 * decode), or `raw`, as on the wire. *data is freed by free(); NULL where there is none. False with
 * EFBIG if it is longer than `limit` bytes, ENOMEM, or what reading gave. */
bool flowcodec_flow_content(struct flowcodec_flow *flow, enum flowcodec_side side, bool raw,
                            uint64_t limit, void **data, size_t *size,
                            struct flowcodec_error *error);

/* One of the files that a flow is shown as: `summary.json`, `flow.json` (all of the flow that the
 * others do not hold), `request.headers`, `response.headers`, `request.trailers`, `error`,
 * `query.json` and so on, but no bodies and messages. *text is freed by free(). False with ENOENT
 * if the flow has no such file, ENOMEM, or what reading gave. */
bool flowcodec_flow_file(struct flowcodec_flow *flow, const char *name, char **text, size_t *size,
                         struct flowcodec_error *error);

/* ---- Filters ---- */

/* An expression in mitmproxy's filter language. NULL with EINVAL if it is none (the offset is that
 * in the expression), or ENOMEM. */
struct flowcodec_filter;
struct flowcodec_filter *flowcodec_filter_parse(const char *expression,
                                                struct flowcodec_error *error);
void flowcodec_filter_free(struct flowcodec_filter *filter);

/* False with ETIMEDOUT if a regular expression takes too long, EFBIG for content of more than 1 GB,
 * ENOMEM, or what reading gave. */
bool flowcodec_filter_match(struct flowcodec_filter *filter, struct flowcodec_flow *flow,
                            bool *matches, struct flowcodec_error *error);

/* ---- Exports and output formats ---- */

struct flowcodec_format {
    const char *name;
    const char *description; /* one line for people */
};

/* The formats that a single flow can be exported in (flow_export_formats): curl, httpie, raw,
 * raw_request, raw_response. Ends with a NULL name. */
const struct flowcodec_format *flowcodec_export_formats(void);

/* One flow in one of these formats. *text is freed by free(). False with EINVAL for an unknown
 * format, ENOTSUP if the flow has no such thing (the message says why), EFBIG, ENOMEM or what
 * reading gave. */
bool flowcodec_flow_export(struct flowcodec_flow *flow, const char *format, char **text,
                           size_t *size, struct flowcodec_error *error);

/* The formats that a writer writes: mitm, har, jsonl, csv, stats and so on. Ends with a NULL name.
 */
const struct flowcodec_format *flowcodec_output_formats(void);

/* ---- Writing: mitmproxy's FlowWriter and FilteredFlowWriter ---- */

/* Where and how to write; what is zero has the default. */
struct flowcodec_output {
    const char *path; /* a file, which appears under its name once it is finished, whole; or NULL */
    int descriptor;   /* without a path: this one, which stays the caller's */
    const char *format; /* "mitm" */
    int version;        /* of a flow file: 17 to 21 (21) */
    bool gzip;          /* around it */
};

struct flowcodec_writer;

/* NULL with EINVAL for an unknown format, ENOTSUP for a version that cannot be written, ENOMEM, or
 * what open gave. */
struct flowcodec_writer *flowcodec_writer_open(const struct flowcodec_output *output,
                                               struct flowcodec_error *error);

/* From now on only flows that match, and for which `keep` returns true, are written. Either may be
 * NULL. The filter must outlive the writer. */
typedef bool flowcodec_keep(void *context, struct flowcodec_flow *flow);
void flowcodec_writer_set_filter(struct flowcodec_writer *writer, struct flowcodec_filter *filter,
                                 flowcodec_keep *keep, void *context);

/* Told of what a flow loses in the format, or why it was left out. */
typedef void flowcodec_loss(void *context, const char *flow, const char *what);
void flowcodec_writer_on_loss(struct flowcodec_writer *writer, flowcodec_loss *loss, void *context);

/* Adds a flow, which stays the caller's. A flow that is in a flow file of the version asked for is
 * copied byte for byte. False with what matching, reading or writing gave. */
bool flowcodec_writer_add(struct flowcodec_writer *writer, struct flowcodec_flow *flow,
                          struct flowcodec_error *error);

/* Writes what is left, and gives a file its name. To be called once, last. */
bool flowcodec_writer_finish(struct flowcodec_writer *writer, struct flowcodec_error *error);

/* A file that was not finished is removed. */
void flowcodec_writer_close(struct flowcodec_writer *writer);

#ifdef __cplusplus
}
#endif

#endif
