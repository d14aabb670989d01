/* Media types as header fields state them (RFC 9110, 8.3.1), for naming files. */
#ifndef FLOWFS_FS_MEDIA_TYPE_H
#define FLOWFS_FS_MEDIA_TYPE_H

#include "flow.h"

/* The Content-Type of a message as it stands there; empty if it has none. Borrowed. */
struct bytes media_type_of_message(const struct flow_message *message);

/* Splits `image/PNG; a=b` into `image` and `PNG`, borrowed; each is empty where it is missing. */
void media_type_split(struct bytes value, struct bytes *type, struct bytes *subtype);

/* The extension by which programs know files of that type, with its point; "" if none is known.
 * Both in lower case. */
const char *media_type_extension(struct bytes type, struct bytes subtype);

#endif
