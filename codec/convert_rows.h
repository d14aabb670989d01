/* One flow as one line: JSON, CSV, and a list for people. */
#ifndef FLOWFS_CODEC_CONVERT_ROWS_H
#define FLOWFS_CODEC_CONVERT_ROWS_H

#include "flowdir.h"

/* summary.json on one line. False as flowdir_render_summary. */
bool convert_append_jsonl(struct flowdir *directory, struct buffer *out, struct flow_error *error);

/* The CSV's first line (RFC 4180: lines end in CR LF), and a flow's. timestamp: ISO 8601 in UTC;
 * sizes: bytes on the wire of the body or the messages; response_time: milliseconds. A field that
 * does not apply is empty. False with ENOMEM. */
void convert_append_csv_head(struct buffer *out);
bool convert_append_csv(struct flowdir *directory, struct buffer *out, struct flow_error *error);

/* Start, method, status, size on the wire, duration, URL: aligned, without controls, coloured for a
 * terminal if asked for. False with ENOMEM. */
bool convert_append_list(struct flowdir *directory, bool colour, struct buffer *out,
                         struct flow_error *error);

/* The name of what the flow is about: the URL, or host[:port]. */
void convert_append_url(const struct flow *flow, struct buffer *out);

#endif
