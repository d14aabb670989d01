#include "progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define FIRST_AFTER 500
#define EVERY 200
#define BAR 24

static int64_t milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void progress_start(struct progress *progress, int descriptor, const char *task)
{
    *progress = (struct progress){
        .descriptor = isatty(descriptor) ? descriptor : -1,
        .task = task,
        .start = milliseconds(),
    };
    progress->shown = progress->start + FIRST_AFTER - EVERY;
}

static void show(struct progress *progress, double part, uint64_t done, int64_t took)
{
    char bar[BAR + 1];
    double rate = (double)done / (double)took * 1000;
    double left = rate > 0 && part > 0 ? (double)took / 1000 * (1 - part) / part : 0;
    for (int i = 0; i < BAR; i++)
        bar[i] = i < (int)(part * BAR) ? '#' : '.';
    bar[BAR] = '\0';
    dprintf(progress->descriptor, "\r%s [%s] %3.0f%%  %.1f MB  %.1f MB/s  %d:%02d left\x1b[K",
            progress->task, bar, part * 100, (double)done / 1e6, rate / 1e6, (int)left / 60,
            (int)left % 60);
    progress->visible = true;
}

void progress_update(struct progress *progress, uint64_t done, uint64_t all)
{
    if (progress->descriptor < 0 || !all)
        return;
    int64_t now = milliseconds();
    if (now - progress->shown < EVERY)
        return;
    progress->shown = now;
    show(progress, done < all ? (double)done / (double)all : 1, done, now - progress->start);
}

void progress_end(struct progress *progress)
{
    if (progress->visible)
        dprintf(progress->descriptor, "\r\x1b[K");
    progress->visible = false;
}
