/* Reason phrases. */
#ifndef FLOWFS_CODEC_HTTP_STATUS_H
#define FLOWFS_CODEC_HTTP_STATUS_H

#include <stdint.h>

/* The reason phrase mitmproxy has for a status code (mitmproxy/net/http/status_codes.py: the IANA
 * registry with the older phrases of RFC 2616, and nginx's 444 and 499); "" for others. Never NULL;
 * static. */
const char *http_status_reason(int64_t status_code);

#endif
