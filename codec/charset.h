/* From text back to the bytes that were on the wire, in the charset that was declared.
 *
 * HAR has bodies as text; a flow has them as bytes. The rules are infer_content_encoding of
 * mitmproxy/net/http/headers.py and what Python's codecs do. */
#ifndef FLOWFS_CODEC_CHARSET_H
#define FLOWFS_CODEC_CHARSET_H

#include "arena.h"
#include "bytes.h"

#include <stdbool.h>

/* The charset that a Content-Type value implies for a body that has not been looked at: its
 * `charset` parameter, else utf-8 for JSON, HTML, XML, JavaScript and CSS, else latin-1; gb2312 and
 * gbk are widened to gb18030. Borrowed from content_type, or static. */
struct bytes charset_of_content_type(struct bytes content_type);

enum charset_result {
    CHARSET_DONE,
    CHARSET_UNFIT, /* the charset is unknown or has no bytes for some character of the text */
    CHARSET_NO_MEMORY,
};

/* Encodes `text` (UTF-8; anything else is unfit for every charset). `*encoded` is `text` itself
 * where nothing changes, otherwise it lives in `arena`.
 *
 * Charset names compare without case, quotes and punctuation, as in Python. Known are UTF-8, -16
 * and -32, ASCII, Latin-1 and, through iconv(3), the legacy charsets of the WHATWG Encoding
 * Standard; iconv's others are left out on purpose, since the name comes from the traffic and picks
 * which code is loaded. */
enum charset_result charset_encode(struct bytes charset, struct bytes text, struct arena *arena,
                                   struct bytes *encoded);

#endif
