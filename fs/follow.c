#include "follow.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

/* After a change we wait a little: a writer mostly writes more, and one look does for all of it. */
#define SETTLE_MILLISECONDS 50

/* How often to look where the kernel does not tell. */
#define LOOK_MILLISECONDS 1000

struct follow {
    struct collection *collection;
    struct follow_events events;
    pthread_t thread;
    int stop;     /* an eventfd: readable once the thread is to end */
    int changes;  /* an inotify descriptor, or -1 */
    bool watched; /* each capture has a watch there */
};

static void add_watches(struct follow *follow)
{
    uint32_t count = collection_capture_count(follow->collection);
    follow->changes = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    follow->watched = follow->changes >= 0;
    for (uint32_t i = 0; i < count && follow->watched; i++) {
        const struct capture *capture = collection_capture(follow->collection, i)->capture;
        const char *path = source_path(capture_source(capture));
        if (source_can_grow(capture_source(capture)))
            follow->watched = inotify_add_watch(follow->changes, path,
                                                IN_MODIFY | IN_MOVE_SELF | IN_DELETE_SELF) >= 0;
    }
}

/* Waits up to `timeout` for a change, -1 for ever. False when the thread is to end. */
static bool wait_for_change(struct follow *follow, int timeout)
{
    char events[4096];
    struct pollfd descriptors[] = {{follow->stop, POLLIN, 0}, {follow->changes, POLLIN, 0}};
    int ready = poll(descriptors, follow->changes >= 0 ? 2 : 1, timeout);
    if (descriptors[0].revents || (ready < 0 && errno != EINTR))
        return false;
    /* Which file changed does not matter: looking at all of them costs a stat each. */
    while (follow->changes >= 0 && read(follow->changes, events, sizeof events) > 0)
        continue;
    return true;
}

static void *run(void *argument)
{
    struct follow *follow = argument;
    const struct index *index = collection_index(follow->collection);
    while (wait_for_change(follow, follow->watched ? -1 : LOOK_MILLISECONDS) &&
           wait_for_change(follow, SETTLE_MILLISECONDS)) {
        uint32_t flows = index_flow_count(index);
        uint32_t hosts = index_host_count(index);
        collection_grow(follow->collection);
        if (index_flow_count(index) > flows)
            follow->events.added(follow->events.context, flows, hosts);
    }
    return NULL;
}

static struct follow *fail(struct follow *follow, int code, struct flow_error *error)
{
    flow_error_set(error, code, FLOW_ERROR_NO_OFFSET, "cannot follow the captures: %s",
                   strerror(code));
    if (follow && follow->stop >= 0)
        close(follow->stop);
    if (follow && follow->changes >= 0)
        close(follow->changes);
    free(follow);
    return NULL;
}

struct follow *follow_start(struct collection *collection, struct follow_events events,
                            struct flow_error *error)
{
    struct follow *follow = calloc(1, sizeof *follow);
    if (!follow)
        return fail(NULL, ENOMEM, error);
    follow->collection = collection;
    follow->events = events;
    follow->changes = -1;
    follow->stop = eventfd(0, EFD_CLOEXEC);
    if (follow->stop < 0)
        return fail(follow, errno, error);
    add_watches(follow);
    int code = pthread_create(&follow->thread, NULL, run, follow);
    return code ? fail(follow, code, error) : follow;
}

void follow_stop(struct follow *follow)
{
    uint64_t one = 1;
    if (!follow)
        return;
    if (write(follow->stop, &one, sizeof one) == (ssize_t)sizeof one)
        pthread_join(follow->thread, NULL);
    close(follow->stop);
    if (follow->changes >= 0)
        close(follow->changes);
    free(follow);
}
