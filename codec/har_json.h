/* One HAR entry's text parsed with jansson, which is stricter than those who write HAR files.
 *
 * What is not valid is mended first, byte for byte so that offsets stay true:
 * - a lone surrogate `\uDC80`..`\uDCFF` is a byte that was no UTF-8 (Python's surrogateescape, as
 *   mitmproxy exports bodies and headers): it becomes that byte again, see har_json_string;
 * - any other lone surrogate becomes U+FFFD;
 * - a byte that is no UTF-8 becomes `?`, a bare control character in a string a space;
 * - NUL in a member's name becomes U+FFFD; NaN, Infinity and -Infinity become -1, HAR's "does not
 *   apply". Integers beyond 64 bits are read as doubles. */
#ifndef FLOWFS_CODEC_HAR_JSON_H
#define FLOWFS_CODEC_HAR_JSON_H

#include "arena.h"
#include "bytes.h"
#include "error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct har_json {
    json_t *root;           /* an object or an array */
    unsigned raw_byte_page; /* U+PP80..U+PPFF stand for the bytes 80..FF; 0: none do */
};

/* Parses `text`. offset: where it stands in the capture, for errors. False with EBADMSG (no JSON,
 * or nested deeper than jansson's 2048; the message has jansson's reason, line and column of the
 * text) or ENOMEM. Freed by har_json_close. */
bool har_json_open(struct har_json *json, struct bytes text, uint64_t offset,
                   struct flow_error *error);

/* The bytes of a string, in `arena`: UTF-8 unless it holds raw bytes. data is NULL if there is no
 * memory. Empty if `string` is no string. */
struct bytes har_json_string(const struct har_json *json, const json_t *string,
                             struct arena *arena);

/* What a value is, for messages: "an object", "a string", ..., "nothing" for NULL. */
const char *har_json_kind(const json_t *value);

/* Harmless on a zeroed struct. */
void har_json_close(struct har_json *json);

#endif
