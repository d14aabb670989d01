/* What a set of flows is made of: counts, sums, extremes. */
#ifndef FLOWFS_CODEC_STATS_H
#define FLOWFS_CODEC_STATS_H

#include "flowdir.h"

struct stats;

/* NULL with ENOMEM. Freed by stats_close. */
struct stats *stats_open(struct flow_error *error);

/* Counts a flow; its bodies are decoded for their sizes. False with what reading gave, or ENOMEM:
 * then the flow is not counted whole, and the statistics are of no more use. */
bool stats_add(struct stats *stats, struct flowdir *directory, struct flow_error *error);

/* Append everything, for programs (a JSON object of some 10 members) or for people (a page of
 * text). False with ENOMEM. */
bool stats_render_json(struct stats *stats, struct buffer *out, struct flow_error *error);
bool stats_render_text(struct stats *stats, struct buffer *out, struct flow_error *error);

/* Harmless on NULL. */
void stats_close(struct stats *stats);

#endif
