/* One flow's directory as the record that a flow file has of it. */
#ifndef FLOWFS_FS_SET_RECORD_H
#define FLOWFS_FS_SET_RECORD_H

#include "bytes.h"
#include "downgrade.h"

/* Packs the directory behind the descriptor (flowdir_pack.h) and appends the record in the version
 * asked for, 17 to 21: the same bytes as `flowcat --pack --format-version`. *start is the flow's
 * place in an order by time. loss (may be NULL) is told what the version cannot hold.
 *
 * False with EBADMSG (a mistake in the directory), ENOTSUP (the version has no such flows), ENOMEM,
 * or what reading gave. */
bool set_record_make(int directory, int64_t version, struct buffer *record, double *start,
                     downgrade_report *loss, void *context, struct flow_error *error);

#endif
