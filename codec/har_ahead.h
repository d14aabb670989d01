/* The entries of a HAR file, one after the other, read by all processors shortly before they are
 * wanted: to find where they stand is fast, to read one is not. */
#ifndef FLOWFS_CODEC_HAR_AHEAD_H
#define FLOWFS_CODEC_HAR_AHEAD_H

#include "capture.h"

struct har_ahead;

/* From the start of the capture, which must outlive it. NULL with ENOMEM. Freed by har_ahead_close.
 */
struct har_ahead *har_ahead_open(const struct capture *capture, struct flow_error *error);

/* As capture_scan_next. An entry that cannot be read is a gap. */
bool har_ahead_next(struct har_ahead *ahead, struct capture_item *item, struct flow_error *error);

/* Harmless on NULL. */
void har_ahead_close(struct har_ahead *ahead);

#endif
