/* Pieces that all processors work on at once, taken by one thread in their order.
 *
 * The thread that takes works too while it has to wait, and nobody waits for the others at the end
 * of a batch: there are none. */
#ifndef FLOWFS_CODEC_PARALLEL_ORDER_H
#define FLOWFS_CODEC_PARALLEL_ORDER_H

#include "parallel.h"

struct parallel_order_task {
    size_t count; /* of pieces */
    size_t ahead; /* pieces that may be worked on before the first of them is taken; at least 1 */
    /* worker: 0 to parallel_workers() - 1, one call at a time for each; 0 is the thread that takes.
     * A piece's slot is piece % ahead: no other piece that is not yet let go has it. */
    void (*work)(void *context, unsigned worker, size_t piece);
    void *context;
};

struct parallel_order;

/* Starts the threads; where none can be had, parallel_order_take does all. NULL with ENOMEM. */
struct parallel_order *parallel_order_open(const struct parallel_order_task *task,
                                           struct flow_error *error);

/* Returns when `piece` has been worked on. Pieces are taken in order, from 0; those before it are
 * let go, so that others may have their slots. */
void parallel_order_take(struct parallel_order *order, size_t piece);

/* Ends the threads: what nobody has begun is left. Harmless on NULL. */
void parallel_order_close(struct parallel_order *order);

#endif
