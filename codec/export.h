/* One flow as a command that sends its request again, or as bytes on the wire.
 *
 * The forms are those of mitmproxy/addons/export.py, byte for byte, but for what follows. There,
 * mitmproxy refuses or its command sends something else than the flow has:
 *
 * - A body that is not UTF-8, has control characters, or is longer than a word of a command may be,
 *   is made by any POSIX shell's printf and piped. mitmproxy transcodes it and needs a printf that
 *   knows `\x`, or refuses.
 * - The body is sent as it was sent, with its Content-Encoding; mitmproxy decodes it. (In the raw
 *   forms it is decoded here, too.)
 * - curl's own readings are kept off: a body that starts with `@`, header fields without a value,
 *   `[]{}` and dot segments in a path, paths that no URL can have, HEAD, empty chunked bodies.
 * - IPv6 addresses of a Host field are in brackets.
 * - Methods are as they were sent, not in upper case.
 * - Text messages of a WebSocket in an old file are shown.
 *
 * What a command sends otherwise than the flow, as mitmproxy's does: curl names the codings that it
 * knows in Accept-Encoding (--compressed), adds its own User-Agent and Accept where the flow has
 * none, and its own Content-Type to a body that fits a word; GET with such a body becomes POST.
 * httpie's commands give such a body in a here-string, which bash knows and ends with a line end.
 */
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
