/* The flows of a large capture, found by all processors at once, each in another part of it.
 *
 * Records carry no mark, so where a part's first flow starts is a guess, until the part before it
 * has been followed to its end and ends just there. What does not fit is looked at again, so the
 * flows are those that capture_scan finds, in the same order. */
#ifndef FLOWFS_CODEC_PARALLEL_SCAN_H
#define FLOWFS_CODEC_PARALLEL_SCAN_H

#include "capture.h"
#include "parallel.h"

/* Parts that are looked at before any of them is taken. */
#define PARALLEL_SCAN_SLOTS (PARALLEL_MOST * 8)

/* Behind so many gaps of a capture it is worth to go on in parts: each ends some that were begun.
 */
#define PARALLEL_SCAN_GAPS 8

struct parallel_scan {
    /* A flow of the part in this slot. Slots are looked at by several threads at once, each slot by
     * one at a time. False: the part must not be taken. */
    bool (*see)(void *context, unsigned worker, unsigned slot, const struct capture_item *item);
    /* What was seen of the slot is true, and comes next; it ends at `end`. In the caller's thread.
     * False, with the error set, ends the scan. */
    bool (*take)(void *context, unsigned slot, uint64_t end, struct flow_error *error);
    /* What was seen of the slot is to be forgotten; called behind `take`, too, and when nothing
     * was. */
    void (*drop)(void *context, unsigned slot);
    void *context;
};

/* Finds the flows of a flow file from *position on, where one must start, and moves *position to
 * where a capture_scan goes on: the end; or where something stands that has no place here: a gap, a
 * flow of an old version. Small captures and HAR are left to it. False with the error of `take`, or
 * ENOMEM. */
bool parallel_scan_run(const struct parallel_scan *parallel, struct capture *capture,
                       uint64_t *position, struct flow_error *error);

#endif
