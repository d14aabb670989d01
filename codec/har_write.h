/* Flows as HAR 1.2 (http://www.softwareishard.com/blog/har-12-spec/), one entry at a time.
 *
 * Entries are those of mitmproxy/addons/savehar.py, member for member, with these differences:
 *
 * - content.size is the decoded size, as HAR has it; mitmproxy gives the size on the wire twice.
 * - headersSize is the size of start line and header fields on the wire; mitmproxy gives the length
 *   of their form in Python.
 * - A body is text only if reading the entry gives the same bytes again; otherwise it is base64,
 *   also in postData (`encoding`, as in content). mitmproxy's text may have other bytes.
 * - Content of a request of any method is kept; mitmproxy knows POST, PUT and PATCH.
 * - No phase of `timings` is negative, and `time` is their sum: where a response began before its
 *   request ended, as in what was read from HAR, mitmproxy counts that time twice.
 * - Cookies have `expires` where Set-Cookie has a date.
 * - `connection` names the server's connection, `comment` is the flow's.
 * - A response that never came has `size` and `mimeType` in its content, and serverIPAddress is
 * left out where it is no IP address, as the schema of HAR 1.2 demands.
 * - Bytes that are no UTF-8 are lone surrogates, as Python's surrogateescape has them, in ASCII
 *   escapes. */
#ifndef FLOWFS_CODEC_HAR_WRITE_H
#define FLOWFS_CODEC_HAR_WRITE_H

#include "flowdir.h"

/* A body beyond this is not written. */
#define HAR_WRITE_LONGEST_BODY ((uint64_t)512 << 20)

/* What is remembered from one entry to the next: which connections had their set-up told. */
struct har_writer;

/* NULL with ENOMEM. Freed by har_writer_close. */
struct har_writer *har_writer_open(struct flow_error *error);

/* Appends what stands before the first entry; false with ENOMEM. */
bool har_writer_begin(struct har_writer *writer, struct buffer *out, struct flow_error *error);

/* Appends an entry. False with ENOTSUP (no HTTP flow), EFBIG, ENOMEM or what reading gave; then
 * what has been appended is of no use. */
bool har_writer_add(struct har_writer *writer, struct flowdir *directory, struct buffer *out,
                    struct flow_error *error);

/* Appends what stands behind the last entry; false with ENOMEM. */
bool har_writer_end(struct har_writer *writer, struct buffer *out, struct flow_error *error);

/* Harmless on NULL. */
void har_writer_close(struct har_writer *writer);

#endif
