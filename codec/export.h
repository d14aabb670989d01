/* One flow as a command that sends its request again, or as bytes on the wire.
 *
 * The forms are those of mitmproxy/addons/export.py, byte for byte wherever mitmproxy's command
 * sends what the flow has. Where it would send something else or mitmproxy refuses:
 *
 * - A body that is not UTF-8, has control characters, is encoded (Content-Encoding) or is longer
 *   than a word of a command may be: any POSIX shell's printf makes the very bytes that were sent
 *   and pipes them. mitmproxy refuses, transcodes, undoes the encoding, or needs a printf that
 * knows
 *   `\x`.
 * - curl's own reading is kept off: a body that starts with `@`, header fields without a value,
 *   `[]{}` and dot segments in a path, paths that no URL can have, HEAD, empty chunked bodies.
 * - IPv6 addresses of a Host field are in brackets.
 * - Methods are as they were sent, not in upper case.
 * - Text messages of a WebSocket in an old file are shown.
 *
 * As in mitmproxy, and unlike the flow: curl names the codings that it knows in Accept-Encoding
 * (--compressed) and adds its own User-Agent, Accept and Content-Type where the flow has none; GET
 * with a body that fits a word becomes POST. */
#ifndef FLOWFS_CODEC_EXPORT_H
#define FLOWFS_CODEC_EXPORT_H

#include "flowdir.h"

enum export_format {
    EXPORT_CURL,
    EXPORT_HTTPIE,
    EXPORT_RAW, /* request and response, as far as there are any; WebSocket messages */
    EXPORT_RAW_REQUEST,
    EXPORT_RAW_RESPONSE,
    EXPORT_FORMATS, /* their number */
};

/* A body beyond this is not exported. */
#define EXPORT_LONGEST_BODY ((uint64_t)256 << 20)

/* curl, httpie, raw, raw_request, raw_response. */
const char *export_format_name(enum export_format format);

/* One line for people, without a full stop. */
const char *export_format_description(enum export_format format);

/* Whether the flow has what the format shows: a request, a response, their content; and no trailers
 * where HTTP/1 has no place for them. Looks at no content. */
bool export_applies(const struct flow *flow, enum export_format format);

/* Appends the flow in that format; commands have no line end behind them. False, with nothing
 * appended, and ENOTSUP (the flow has no such thing, or no command can hold it: the message says
 * what), EFBIG (a body beyond EXPORT_LONGEST_BODY), ENOMEM or what reading gave. */
bool export_flow(struct flowdir *directory, enum export_format format, struct buffer *out,
                 struct flow_error *error);

#endif
