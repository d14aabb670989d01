/* What goes into which file of a flow's directory, and what a line can hold: the rules that writing
 * a directory (flowdir.h) and reading it back (flowdir_pack.h) share. */
#ifndef FLOWFS_CODEC_FLOWDIR_FORM_H
#define FLOWFS_CODEC_FLOWDIR_FORM_H

#include "flow.h"
#include "value.h"

#include <stdbool.h>
#include <stddef.h>

/* No line break and no NUL: part of a line. */
bool flowdir_holds_in_line(struct bytes text);

/* That, not empty, and without a space: a word of a line. */
bool flowdir_is_token(struct bytes text);

/* Whether `name: value` in a line is read back as this header field, [name, value]. */
bool flowdir_is_line_field(const struct value *item);

/* Appends the text with `?` for each byte that no line holds. */
void flowdir_append_in_line(struct buffer *out, struct bytes text);

/* One field as a line, with its line break. */
void flowdir_append_field(struct buffer *out, struct bytes name, struct bytes value);

/* Whether the request line shows the URL by address; else it is the authority of CONNECT, or the
 * path of a target that makes no URL (`*`, or no host). */
bool flowdir_shows_url(const struct flow_target *target);

/* Takes such a URL apart: fills scheme, host, port, path, and authority with what stands between
 * scheme and path. The path may be empty. False if it is no URL of http or https with a host. */
bool flowdir_split_url(struct bytes url, struct flow_target *target);

/* The start lines, with their line breaks. */
void flowdir_append_request_line(struct buffer *out, const struct flow_target *target);
void flowdir_append_status_line(struct buffer *out, struct bytes http_version, int64_t status_code,
                                struct bytes reason);

/* Mark as `elsewhere` what other files than flow.json hold, so that flow.json holds the rest and
 * nothing twice. Start lines, fields, contents and messages first; then, when every string that is
 * not in one of those has been read, what is rendered from memory. */
void flowdir_mark_http(const struct flow *flow);
void flowdir_mark_messages(const struct flow *flow);
void flowdir_mark_rendered(const struct flow *flow);

/* The dicts that have members in other files. */
enum flowdir_dict { FLOWDIR_STATE, FLOWDIR_REQUEST, FLOWDIR_RESPONSE, FLOWDIR_ERROR_DICT };

/* The names of its members in mitmproxy's order (the get_state() of each class); ends in NULL. */
const char *const *flowdir_usual_order(enum flowdir_dict which);

/* Puts a member into a dict, in the place that `order` (a list of names) gives it: behind the
 * nearest of those before it in the list that are there. Replaces one of that name. A name that is
 * not in the list goes to the end. key: borrowed. False if there is no memory. */
bool flowdir_place(struct arena *arena, struct value *dict, const struct value *order,
                   const char *key, struct value *member);

/* Whether the members left out of flow.json, put back in the usual order, stand where they stood,
 * and none is missing that would be made up. */
bool flowdir_order_is_usual(const struct value *dict, enum flowdir_dict which);

/* Whether Content-Length tells the length of the content, so that it may follow an edit: each such
 * field is `size` in decimal; a request in HTTP/1 with content has one, or Transfer-Encoding (RFC
 * 9112, 6.3). */
bool flowdir_length_is_usual(const struct value *fields, bool is_request, struct bytes http_version,
                             uint64_t size);

/* Whether RFC 9112 frames the message: HTTP/1.0, HTTP/1.1. */
bool flowdir_is_http_1(struct bytes http_version);

#endif
