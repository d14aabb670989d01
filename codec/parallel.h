/* One task over many items, on all processors. */
#ifndef FLOWFS_CODEC_PARALLEL_H
#define FLOWFS_CODEC_PARALLEL_H

#include "error.h"

#include <stdbool.h>
#include <stddef.h>

/* The most threads there are at once. */
#define PARALLEL_MOST 16

/* Works on items `from` to below `to`. worker: 0 to parallel_workers() - 1; one call at a time for
 * each, so that it can own what the task needs. False stops all, with the error set. */
typedef bool parallel_task(void *context, unsigned worker, size_t from, size_t to,
                           struct flow_error *error);

/* How many workers parallel_run uses: a thread for each processor that the process may use
 * when this is first asked. */
unsigned parallel_workers(void);

/* Hands out `count` items in pieces of `piece`. False with the first error of a task. Where no
 * thread can be had, the caller does all. */
bool parallel_run(size_t count, size_t piece, parallel_task *task, void *context,
                  struct flow_error *error);

#endif
