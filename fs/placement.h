/* Keeps the workers on the CPU of a lone caller.
 *
 * A program that walks a mount waits for each answer. A worker that is woken on another CPU, which
 * has gone to sleep meanwhile, answers two to three times later than one on the caller's own, where
 * the switch is all there is to do. The scheduler cannot know; we see who asks. So while small
 * requests come from one caller the workers follow it, and as soon as there are several callers, or
 * one that reads in large pieces and gains from a second CPU, they are free to run anywhere.
 *
 * Each worker moves only itself, at the request it is about to answer. */
#ifndef FLOWFS_FS_PLACEMENT_H
#define FLOWFS_FS_PLACEMENT_H

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct placement {
    cpu_set_t everywhere; /* where the process may run */
    bool enabled;
    _Atomic pid_t caller;    /* whose requests are being counted */
    _Atomic unsigned streak; /* small requests of the caller */
    _Atomic unsigned others; /* requests of others since the last look at the caller */
    _Atomic int cpu;         /* where workers are to be; -1: everywhere */
};

/* With one CPU there is nothing to choose, and it does nothing. */
void placement_init(struct placement *placement);

/* To be called by a worker at the start of each request. caller: the thread that asks. size: bytes
 * that it asks for. */
void placement_note(struct placement *placement, pid_t caller, size_t size);

#endif
