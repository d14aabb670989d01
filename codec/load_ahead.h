/* The flows of a selection, one after the other, read by all processors shortly before they are
 * wanted. */
#ifndef FLOWFS_CODEC_LOAD_AHEAD_H
#define FLOWFS_CODEC_LOAD_AHEAD_H

#include "selection.h"

struct load_ahead;

/* Makes what is wanted of a flow, which is then not kept; called by several threads at once. False
 * with the error set. */
typedef bool load_ahead_make(const void *context, struct flowdir *directory, struct buffer *out,
                             struct flow_error *error);

/* make: NULL if the flows themselves are wanted. NULL with ENOMEM. The selection must outlive it
 * and not change. */
struct load_ahead *load_ahead_open(const struct selection *selection, load_ahead_make *make,
                                   const void *context, struct flow_error *error);

struct load_ahead_flow {
    struct flowdir *directory; /* NULL if `make` made something of it */
    struct bytes made;
};

/* The flow `number`, which must be 0 at first and then one more each time; lent until the next
 * call. False with the errors of selection_load, or of `make`. */
bool load_ahead_get(struct load_ahead *ahead, size_t number, struct load_ahead_flow *flow,
                    struct flow_error *error);

/* Harmless on NULL. */
void load_ahead_close(struct load_ahead *ahead);

#endif
