/* A line on a terminal that says how far long work has come: part, rate, time that is left. Nothing
 * is shown where there is no terminal, nor before half a second has passed. */
#ifndef FLOWFS_CODEC_PROGRESS_H
#define FLOWFS_CODEC_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    int descriptor; /* -1: nothing is shown */
    const char *task;
    int64_t start, shown; /* milliseconds of a clock that only goes forward */
    bool visible;
};

/* Starts a task. descriptor: where to show it, if that is a terminal. */
void progress_start(struct progress *progress, int descriptor, const char *task);

/* So many bytes of all are done. */
void progress_update(struct progress *progress, uint64_t done, uint64_t all);

/* Takes the line away. */
void progress_end(struct progress *progress);

#endif
