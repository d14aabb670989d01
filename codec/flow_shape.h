/* Which members a flow's state has at version 21, and of which types: what mitmproxy demands of a
 * flow that it reads (the get_state() and from_state() of its classes; `_process` in
 * mitmproxy/coretypes/serializable.py, `check_option_type` in mitmproxy/utils/typecheck.py).
 *
 * A capture may hold something else, and what was captured is packed again as it was. So each odd
 * member is noted when a flow is unpacked (`odd` in flowdir_notes.h) and may be of any type then;
 * an odd member without a note is a mistake of whoever edited the flow. */
#ifndef FLOWFS_CODEC_FLOW_SHAPE_H
#define FLOWFS_CODEC_FLOW_SHAPE_H

#include "value.h"

/* A member that is missing or of another type. Borrowed until the visitor returns. */
struct flow_shape_oddity {
    const char *path;           /* "client_conn.peername"; of an item of a list, the list's */
    const struct value *holder; /* the dict that has the member, or should */
    const struct value *value;  /* what is wrong, maybe inside the member; NULL: it is missing */
    const char *expected;       /* for people: "text or null" */
};

/* False ends the check. */
typedef bool flow_shape_visit(void *context, const struct flow_shape_oddity *oddity);

/* Visits all oddities of a flow of a known type, in the order of the classes; members that are not
 * known are none. Looks at types, not at long strings, which may have been left in the capture.
 * False if the visitor was. */
bool flow_shape_check(const struct value *state, flow_shape_visit *visit, void *context);

/* The same of one DNS message alone; name: "request" or "response", as in paths. */
bool flow_shape_check_dns(const struct value *message, const char *name, flow_shape_visit *visit,
                          void *context);

/* What a value is, for people: "text", "a number". */
const char *flow_shape_found(const struct value *value);

#endif
