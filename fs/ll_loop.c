/* The threads that take requests from the kernel. libfuse's own loop starts and ends threads as
 * load comes and goes; a mount is asked in bursts of tens of thousands of small requests, so these
 * stay, and each can keep to the CPU it was placed on. */
#include "ll.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define FEWEST_WORKERS 4
#define MOST_WORKERS 16

/* What a worker sends to the main thread when the file system has been unmounted. */
#define WORKER_ENDED SIGUSR1

struct worker {
    pthread_t thread;
    pthread_t main_thread;
    struct fuse_session *session;
    struct fuse_buf buffer; /* libfuse allocates it with the first request */
    int result;
};

static int receive(struct worker *worker)
{
    int state;
    int result;
    /* Only here does a worker wait, and only here may it be ended. */
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state);
    result = fuse_session_receive_buf(worker->session, &worker->buffer);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    return result;
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    int state;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    while (!fuse_session_exited(worker->session)) {
        int result = receive(worker);
        if (result == -EINTR || result == -EAGAIN)
            continue;
        if (result <= 0) {
            worker->result = result;
            break;
        }
        fuse_session_process_buf(worker->session, &worker->buffer);
    }
    pthread_kill(worker->main_thread, WORKER_ENDED);
    return NULL;
}

static size_t worker_count(bool single_threaded)
{
    if (single_threaded)
        return 1;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    long count = 2 * (processors > 0 ? processors : 1);
    return count < FEWEST_WORKERS ? FEWEST_WORKERS
           : count > MOST_WORKERS ? MOST_WORKERS
                                  : (size_t)count;
}

static void end_workers(struct worker *workers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        pthread_cancel(workers[i].thread);
    for (size_t i = 0; i < count; i++) {
        pthread_join(workers[i].thread, NULL);
        free(workers[i].buffer.mem);
    }
}

/* What the C library loads when a thread is cancelled: if it cannot, for want of a descriptor, it
 * ends the program. */
static void load_cancelling(void)
{
    dlopen("libgcc_s.so.1", RTLD_NOW);
}

int ll_loop(struct ll_mount *mount, bool single_threaded)
{
    struct fuse_session *session = mount->session;
    struct worker workers[MOST_WORKERS];
    size_t count = worker_count(single_threaded);
    sigset_t signals, before;
    size_t started = 0;
    int result = 0;
    int received;
    load_cancelling();
    sigemptyset(&signals);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, WORKER_ENDED);
    pthread_sigmask(SIG_BLOCK, &signals, &before);
    for (; started < count && !result; started += !result) {
        workers[started] = (struct worker){.main_thread = pthread_self(), .session = session};
        result = -pthread_create(&workers[started].thread, NULL, work, &workers[started]);
    }
    if (!result) {
        ll_gate_open(&mount->gate, (int)count - 1);
        sigwait(&signals, &received);
    }
    if (mount->ending)
        mount->ending(mount->ending_context);
    ll_gate_close(&mount->gate);
    fuse_session_exit(session);
    end_workers(workers, started);
    for (size_t i = 0; i < started && !result; i++)
        result = workers[i].result;
    /* Each worker has sent its signal, and one that is left pending would end the program now. */
    while (sigtimedwait(&signals, NULL, &(struct timespec){0}) > 0)
        ;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result;
}
