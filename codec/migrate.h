/* Brings flows of older format versions to the newest one.
 *
 * The steps are those of mitmproxy/io/compat.py, one function each in a table; FORMAT.md tells what
 * each version changed. Where mitmproxy fails on what its own older versions wrote (a flow without
 * response before (0, 14), say) the step does what was meant. */
#ifndef FLOWFS_CODEC_MIGRATE_H
#define FLOWFS_CODEC_MIGRATE_H

#include "error.h"
#include "value.h"

#include <stdbool.h>

#define MIGRATE_VERSION_NEWEST 21

/* The id of the handshake flow that a WebSocket record of version 11 or older must be joined with,
 * or NULL if `flow` is no such record. */
const struct value *migrate_handshake_id(const struct value *flow);

/* Whether `flow` is of version 11 or older and a later WebSocket record may name it. */
bool migrate_is_handshake(const struct value *flow);

/* Migrates `flow`, in place.
 *
 * handshake: of a WebSocket record, the record of its handshake, read into the same arena and not
 * migrated, or NULL if it is missing: then one is made up. A handshake is also a flow of its own,
 * from a reading of its own.
 *
 * Returns the migrated flow, which for a joined one is another value than `flow`; or NULL with
 * ENOTSUP (a version older than (0, 11), or none), EBADMSG (a member is missing that a flow of that
 * version has; the key path names it) or ENOMEM. A version above MIGRATE_VERSION_NEWEST is left as
 * it is: the format describes itself. */
struct value *migrate(struct value *flow, struct value *handshake, struct arena *arena,
                      struct flow_error *error);

#endif
