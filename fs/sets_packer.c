/* The thread that commits: when nothing has changed for a while, when changes have gone on for
 * long, or when somebody is in a hurry. */
#include "sets_inside.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* Milliseconds. */
#define PAUSE 1000    /* without a change: writing has paused */
#define LONGEST 10000 /* from the first change on */
#define STEP 250      /* between two looks at the clock */
#define RETRY 10000   /* after something has gone wrong */
#define REST 200      /* between two commits in a hurry, at least */

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

void sets_packer_wake(struct sets *sets)
{
    uint64_t one = 1;
    /* A full counter wakes as well. */
    ssize_t written = write(sets->alarm, &one, sizeof one);
    (void)written;
}

/* Waits for the alarm, at most that long (-1: for ever). */
static void wait_for_alarm(struct sets *sets, int64_t milliseconds)
{
    uint64_t count;
    struct pollfd alarm = {.fd = sets->alarm, .events = POLLIN};
    if (poll(&alarm, 1, (int)milliseconds) > 0) {
        ssize_t got = read(sets->alarm, &count, sizeof count);
        (void)got;
    }
}

/* Sleeps until something changes; `handled`: the generation that is on disk. */
static void wait_for_change(struct sets *sets, uint64_t handled)
{
    atomic_store(&sets->sleeping, true);
    while (!atomic_load(&sets->stop) && !atomic_load(&sets->hurry) &&
           atomic_load(&sets->home.generation) == handled)
        wait_for_alarm(sets, -1);
    atomic_store(&sets->sleeping, false);
}

static bool is_urgent(struct sets *sets)
{
    return atomic_load(&sets->hurry) || atomic_load(&sets->stop);
}

/* Waits until writing pauses, has gone on for long, or somebody is in a hurry. */
static void wait_for_pause(struct sets *sets)
{
    int64_t first = now(), last = first;
    uint64_t seen = atomic_load(&sets->home.generation);
    while (!is_urgent(sets) && now() - last < PAUSE && now() - first < LONGEST) {
        wait_for_alarm(sets, STEP);
        uint64_t generation = atomic_load(&sets->home.generation);
        if (generation != seen)
            last = now();
        seen = generation;
    }
}

/* Rests, at least for that long. After something has gone wrong, until something changes. */
static void rest(struct sets *sets, int64_t milliseconds, bool until_change)
{
    int64_t end = now() + milliseconds, latest = until_change ? now() + RETRY : end;
    uint64_t seen = atomic_load(&sets->home.generation);
    while (!atomic_load(&sets->stop) && now() < latest &&
           (now() < end || atomic_load(&sets->home.generation) == seen)) {
        int64_t time = now(), left = (time < end ? end : latest) - time;
        wait_for_alarm(sets, left < 0 ? 0 : left < STEP ? left : STEP);
    }
}

static void *run(void *context)
{
    struct sets *sets = context;
    uint64_t handled = 0;
    while (!atomic_load(&sets->stop)) {
        wait_for_change(sets, handled);
        wait_for_pause(sets);
        if (atomic_load(&sets->stop))
            break;
        struct flow_error error = {0};
        int64_t began = now();
        uint64_t generation = atomic_load(&sets->home.generation);
        atomic_store(&sets->hurry, false);
        bool done = sets_commit(sets, NULL, &error);
        int64_t taken = now() - began;
        if (done)
            handled = generation;
        /* Who syncs file after file is not to wait for commit after commit. */
        rest(sets, taken > REST ? taken : REST, !done);
    }
    return NULL;
}

bool sets_packer_start(struct sets *sets, struct flow_error *error)
{
    sigset_t all, before;
    sets->alarm = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (sets->alarm < 0) {
        flow_error_set(error, errno, FLOW_ERROR_NO_OFFSET, "cannot make an eventfd: %s",
                       strerror(errno));
        return false;
    }
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&sets->thread, NULL, run, sets);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    sets->has_thread = code == 0;
    if (code)
        flow_error_set(error, code, FLOW_ERROR_NO_OFFSET, "cannot start a thread: %s",
                       strerror(code));
    return sets->has_thread;
}

void sets_packer_stop(struct sets *sets)
{
    atomic_store(&sets->stop, true);
    if (sets->has_thread) {
        sets_packer_wake(sets);
        pthread_join(sets->thread, NULL);
    }
    if (sets->alarm >= 0)
        close(sets->alarm);
    sets->alarm = -1;
}
