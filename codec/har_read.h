/* One HAR entry as a flow's state at version 21.
 *
 * What comes out is what mitmproxy makes of the entry (mitmproxy/io/har.py and the parts of
 * mitmproxy/http.py it uses), field for field, with these differences. mitmproxy fails on the first
 * group, and one such entry loses it the whole file.
 *
 * - request.postData without text: the body is made of params (multipart/form-data with a boundary
 *   as that, anything else as application/x-www-form-urlencoded); without params it is empty.
 * - No headers: none. A header value of null: empty; a number or boolean: its JSON text.
 * - No response: none, and the flow's error is the entry's or response's `_error`. So too for the
 *   placeholder that mitmproxy's own export writes (status 0, content without any member), and for
 *   ours (with the members that HAR wants: no text, no type). Chrome's
 *   response of status 0 stays a response of status 0 and its `_error` is not kept, as in
 *   mitmproxy.
 * - No response.content: the body is not known (None). Content without text: empty.
 * - No time: the sum of timings that apply (HAR 1.2); no timings either: no end is known.
 * - No httpVersion: HTTP/1.1. No status: 0.
 * - startedDateTime with any ISO 8601 offset, basic or extended, or none (then UTC); digits beyond
 *   microseconds are cut, as Python does.
 * - A response with an unknown Content-Encoding, or a charset that is a Content-Encoding: content
 *   and headers stay as they are. A list of known codings is undone like one.
 * - base64 text that is not quite: foreign characters are skipped. postData.encoding counts, too.
 * - Bytes that are no UTF-8, lone surrogates: see har_json.h. URLs: see url.h.
 *
 * Here mitmproxy reads something plainly wrong:
 * - A request without postData has no body, whatever its charset: no byte-order mark is made, and
 *   an unknown charset stays in content-type.
 * - httpVersion: HTTP/1.0, HTTP/0.9 and HTTP/2.0 are kept, h2 is HTTP/2, and HTTP/3.0, h3-29 and
 *   other drafts are HTTP/3, without case. (`h3` alone is HTTP/1.1, as in mitmproxy.)
 * - A status without a phrase of its own takes statusText.
 * - ws and wss URLs have the scheme http and https, as WebSocket flows have, with their ports.
 * - server_conn.address has the URL's port, not always 80 or 443.
 * - `_webSocketMessages`, as Chrome and mitmproxy write them, become the flow's websocket.
 * - `comment` of the entry is the flow's.
 *
 * A HAR has no ids. The flow's is made of a hash of the entry's bytes; a connection's of the
 * entry's `connection`, serverIPAddress and port, or of the entry where it names no connection.
 * They look like UUIDs of version 8 (RFC 9562, 5.8) and are the same whenever the file is read.
 * timestamp_created is the start of the request. */
#ifndef FLOWFS_CODEC_HAR_READ_H
#define FLOWFS_CODEC_HAR_READ_H

#include "arena.h"
#include "bytes.h"
#include "error.h"
#include "value.h"

#include <stdint.h>

/* Reads the entry that is `json`, from `{` to `}` (see har_scan.h); offset: where it stands in the
 * capture. All of the state lives in `arena` and nothing borrows from `json`. Members are in the
 * order mitmproxy has.
 *
 * NULL with EBADMSG (no JSON, or a member that is missing or of the wrong kind: the key path names
 * it, and the message what was found and expected) or ENOMEM. */
struct value *har_read_entry(struct bytes json, uint64_t offset, struct arena *arena,
                             struct flow_error *error);

#endif
