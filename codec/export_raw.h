/* Messages as HTTP/1 has them on the wire (RFC 9112), the content decoded: part of export.h. */
#ifndef FLOWFS_CODEC_EXPORT_RAW_H
#define FLOWFS_CODEC_EXPORT_RAW_H

#include "export.h"

/* Whether export_raw_message can write that message; if not, `problem` (may be NULL) says why. */
bool export_raw_applies(const struct flow *flow, bool request, const char **problem);

/* Append one message; both, with the messages of a WebSocket behind them. They must apply. Content
 * that does not decode is written as it is. False as export_flow. */
bool export_raw_message(struct flowdir *directory, bool request, struct buffer *out,
                        struct flow_error *error);
bool export_raw_both(struct flowdir *directory, struct buffer *out, struct flow_error *error);

#endif
