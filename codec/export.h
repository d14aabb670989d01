/* One flow as a command or as bytes on the wire, as mitmproxy/addons/export.py makes them, but for
 * these, which mitmproxy refuses, or for which it writes a command that sends something else:
 *
 * - content that is no UTF-8 or has control characters: a line for any POSIX shell that pipes the
 *   exact bytes (mitmproxy transcodes, and needs a printf that knows \x and sees no %);
 * - content that starts with `@`, which curl would take for a file's name;
 * - text messages of a WebSocket in an old file. */
#ifndef FLOWFS_CODEC_EXPORT_H
#define FLOWFS_CODEC_EXPORT_H

#include "flowdir.h"

enum export_format {
    EXPORT_CURL,
    EXPORT_HTTPIE,
    EXPORT_RAW,
    EXPORT_RAW_REQUEST,
    EXPORT_RAW_RESPONSE,
    EXPORT_FORMATS, /* their number */
};

/* A body beyond this is not exported. */
#define EXPORT_LONGEST_BODY ((uint64_t)256 << 20)

/* curl, httpie, raw, raw_request, raw_response. */
const char *export_format_name(enum export_format format);

/* Whether the flow has what the format shows: a request, a response, their content. */
bool export_applies(const struct flow *flow, enum export_format format);

/* Appends the flow in that format; commands have no line end behind them. False with ENOTSUP (the
 * flow has no such thing; or has trailers, which the wire has for chunked content only), EFBIG,
 * ENOMEM or what reading gave. */
bool export_flow(struct flowdir *directory, enum export_format format, struct buffer *out,
                 struct flow_error *error);

#endif
