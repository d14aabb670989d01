/* Takes a flow of the newest version back to an older one, for programs that read nothing newer:
 * Debian 12's mitmproxy 8.1.1 stops at 17. */
#ifndef FLOWFS_CODEC_DOWNGRADE_H
#define FLOWFS_CODEC_DOWNGRADE_H

#include "arena.h"
#include "error.h"
#include "value.h"

#include <stdbool.h>

#define DOWNGRADE_VERSION_OLDEST 17

/* Told of each thing that the older version cannot hold. */
typedef void downgrade_report(void *context, const char *what);

/* Changes a state of version 21, or one that was read as such, in place into one of `version`: the
 * steps of mitmproxy/io/compat.py backwards, and what Debian's own writer has at version 17. A flow
 * in `backup` goes with it. New values are made in `arena`. report may be NULL.
 *
 * False with ENOTSUP (a version that is not 17 to 21, or a type of flow that it does not know),
 * EBADMSG (a connection is missing) or ENOMEM. */
bool downgrade(struct value *state, int64_t version, struct arena *arena, downgrade_report *report,
               void *context, struct flow_error *error);

#endif
