#include "parallel.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

struct run {
    size_t count, piece;
    parallel_task *task;
    void *context;
    _Atomic size_t next; /* item that nobody has taken */
    atomic_bool stopped;
};

struct worker {
    pthread_t thread;
    struct run *run;
    unsigned number;
    struct flow_error error;
};

unsigned parallel_workers(void)
{
    static atomic_uint known; /* once: who asked has made room for so many */
    unsigned workers = atomic_load(&known);
    if (workers)
        return workers;
    cpu_set_t set;
    /* Where there are more than a cpu_set_t holds, there are enough. */
    int processors = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : PARALLEL_MOST;
    workers = processors < 1               ? 1
              : processors > PARALLEL_MOST ? PARALLEL_MOST
                                           : (unsigned)processors;
    unsigned none = 0;
    return atomic_compare_exchange_strong(&known, &none, workers) ? workers : none;
}

static void *work(void *context)
{
    struct worker *worker = context;
    struct run *run = worker->run;
    while (!atomic_load(&run->stopped)) {
        size_t from = atomic_fetch_add(&run->next, run->piece);
        if (from >= run->count)
            break;
        size_t to = run->count - from < run->piece ? run->count : from + run->piece;
        if (!run->task(run->context, worker->number, from, to, &worker->error))
            atomic_store(&run->stopped, true);
    }
    return NULL;
}

bool parallel_run(size_t count, size_t piece, parallel_task *task, void *context,
                  struct flow_error *error)
{
    struct run run = {.count = count, .piece = piece, .task = task, .context = context};
    struct worker workers[PARALLEL_MOST] = {0};
    unsigned wanted = parallel_workers();
    unsigned started = 1;
    for (unsigned i = 0; i < wanted; i++) {
        workers[i].run = &run;
        workers[i].number = i;
    }
    /* The caller is the first worker; a thread that cannot be had is done without. */
    while (started < wanted && started * piece < count &&
           pthread_create(&workers[started].thread, NULL, work, &workers[started]) == 0)
        started++;
    work(&workers[0]);
    for (unsigned i = 1; i < started; i++)
        pthread_join(workers[i].thread, NULL);
    for (unsigned i = 0; i < started; i++)
        if (workers[i].error.code) {
            if (error && !error->code)
                *error = workers[i].error;
            return false;
        }
    return true;
}
