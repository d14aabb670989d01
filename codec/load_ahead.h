/* The flows of a selection, one after the other, read by all processors shortly before they are
 * wanted. */
#ifndef FLOWFS_CODEC_LOAD_AHEAD_H
#define FLOWFS_CODEC_LOAD_AHEAD_H

#include "selection.h"

struct load_ahead;

/* NULL with ENOMEM. The selection must outlive it and not change. */
struct load_ahead *load_ahead_open(const struct selection *selection, struct flow_error *error);

/* The flow `number`, which must be 0 at first and then one more each time. The directory is lent
 * until the next call. NULL with the errors of selection_load. */
struct flowdir *load_ahead_get(struct load_ahead *ahead, size_t number, struct flow_error *error);

/* Harmless on NULL. */
void load_ahead_close(struct load_ahead *ahead);

#endif
