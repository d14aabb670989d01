#include "stage_node_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* In place of the number of holds, while the descriptors are being closed. */
#define CLOSING (-1)

/* A name that changes under us while we look the file up by it is tried again this often. */
#define TRIES 3

static bool fail(struct flow_error *error, int code, const char *what)
{
    flow_error_set(error, code, FLOW_ERROR_NO_OFFSET, "%s: %s", what, strerror(code));
    return false;
}

static void close_from(struct stage_nodes *nodes, struct stage_node *node, enum stage_use first)
{
    for (int use = (int)first; use < STAGE_USES; use++) {
        int descriptor = atomic_exchange(&node->descriptors[use], -1);
        if (descriptor < 0)
            continue;
        close(descriptor);
        atomic_fetch_sub(&nodes->open, 1);
    }
}

void stage_node_close_descriptors(struct stage_nodes *nodes, struct stage_node *node)
{
    close_from(nodes, node, STAGE_PATH);
}

int stage_node_put_descriptor(struct stage_nodes *nodes, struct stage_node *node,
                              enum stage_use use, int descriptor)
{
    int none = -1;
    if (atomic_compare_exchange_strong(&node->descriptors[use], &none, descriptor)) {
        atomic_fetch_add(&nodes->open, 1);
        return descriptor;
    }
    close(descriptor);
    return none;
}

/* With the lock. */
static void close_if_idle(struct stage_nodes *nodes, struct stage_node *node, bool also_shut)
{
    int nobody = 0;
    if (node->keep_open || (node->shut && !also_shut) ||
        (!node->parent && atomic_load(&node->descriptors[STAGE_PATH]) < 0))
        return;
    if (!atomic_compare_exchange_strong(&node->holds, &nobody, CLOSING))
        return;
    /* What has no name is opened again by the descriptor that it is known by. */
    close_from(nodes, node, node->parent ? STAGE_PATH : STAGE_READ);
    atomic_store(&node->holds, 0);
}

/* Closes descriptors of nodes that nobody holds, the ones looked at longest ago first, if there are
 * too many for another one. Those that could not be opened again are the last to go: whoever still
 * writes to such a file loses by it, but else nobody could open anything. */
static void make_room(struct stage_nodes *nodes)
{
    if (atomic_load(&nodes->open) < nodes->most_open)
        return;
    pthread_mutex_lock(&nodes->lock);
    unsigned wanted = nodes->most_open - nodes->most_open / 4;
    for (size_t i = 0; i < 2 * nodes->count && atomic_load(&nodes->open) > wanted; i++) {
        struct stage_node *node = nodes->hand;
        nodes->hand = node->after;
        close_if_idle(nodes, node, i >= nodes->count);
    }
    pthread_mutex_unlock(&nodes->lock);
}

/* The folder that the node is in, with a reference, and its name in it; NULL if it has none. */
static struct stage_node *place_of(struct stage_nodes *nodes, struct stage_node *node,
                                   char name[256])
{
    pthread_mutex_lock(&nodes->lock);
    struct stage_node *parent = node->parent;
    if (parent)
        parent->references++;
    snprintf(name, 256, "%s", node->name ? node->name : "");
    pthread_mutex_unlock(&nodes->lock);
    return parent;
}

static bool is_same(const struct stage_node *node, int descriptor)
{
    struct stat status;
    return fstatat(descriptor, "", &status, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) == 0 &&
           status.st_ino == node->inode && status.st_dev == node->device;
}

/* The file by its name, if that still is this file; -1 if not. */
static int open_path_once(struct stage_nodes *nodes, struct stage_node *node,
                          struct flow_error *error)
{
    char name[256];
    struct stage_node *parent = place_of(nodes, node, name);
    int folder = parent ? stage_node_hold(nodes, parent, STAGE_PATH, error) : -1;
    int descriptor = -1;
    if (folder >= 0) {
        descriptor = openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (descriptor < 0 && errno != ENOENT)
            fail(error, errno, name);
        stage_node_release(parent);
    }
    if (parent)
        stage_node_drop_reference(nodes, parent);
    if (descriptor < 0 || is_same(node, descriptor))
        return descriptor;
    close(descriptor);
    return -1;
}

/* Who renames or removes the file has given it its descriptor before: if its name is another one
 * meanwhile, that is there. */
static int open_path(struct stage_nodes *nodes, struct stage_node *node, struct flow_error *error)
{
    int descriptor = -1;
    for (int i = 0; i < TRIES && descriptor < 0 && !error->code; i++) {
        descriptor = open_path_once(nodes, node, error);
        if (descriptor >= 0)
            return stage_node_put_descriptor(nodes, node, STAGE_PATH, descriptor);
        descriptor = atomic_load(&node->descriptors[STAGE_PATH]);
    }
    if (descriptor < 0)
        fail(error, ESTALE, "the file has been removed or replaced behind the mount");
    return descriptor;
}

/* The one for the use, or another that will do. */
static int open_for(const struct stage_node *node, enum stage_use use)
{
    int descriptor = atomic_load(&node->descriptors[use]);
    if (descriptor < 0 && use == STAGE_PATH)
        descriptor = atomic_load(&node->descriptors[STAGE_READ]);
    if (descriptor < 0 && use != STAGE_WRITE)
        descriptor = atomic_load(&node->descriptors[STAGE_WRITE]);
    return descriptor;
}

static int open_content(struct stage_nodes *nodes, struct stage_node *node, enum stage_use use,
                        struct flow_error *error)
{
    char path[40];
    int base = open_for(node, STAGE_PATH);
    if (base < 0)
        base = open_path(nodes, node, error);
    if (base < 0)
        return -1;
    snprintf(path, sizeof path, "/proc/self/fd/%d", base);
    /* Never waits for the other end of a FIFO. */
    int descriptor = open(path, (use == STAGE_WRITE ? O_RDWR : O_RDONLY) | O_NONBLOCK | O_CLOEXEC);
    if (descriptor < 0) {
        fail(error, errno, "the staged file cannot be opened");
        return -1;
    }
    return stage_node_put_descriptor(nodes, node, use, descriptor);
}

static void begin_hold(struct stage_node *node)
{
    int holds = atomic_load(&node->holds);
    while (holds == CLOSING || !atomic_compare_exchange_weak(&node->holds, &holds, holds + 1)) {
        if (holds == CLOSING)
            sched_yield();
        holds = atomic_load(&node->holds);
    }
}

int stage_node_hold(struct stage_nodes *nodes, struct stage_node *node, enum stage_use use,
                    struct flow_error *error)
{
    begin_hold(node);
    int descriptor = open_for(node, use);
    if (descriptor >= 0)
        return descriptor;
    make_room(nodes);
    descriptor =
        use == STAGE_PATH ? open_path(nodes, node, error) : open_content(nodes, node, use, error);
    if (descriptor < 0)
        stage_node_release(node);
    return descriptor;
}

void stage_node_release(struct stage_node *node)
{
    atomic_fetch_sub(&node->holds, 1);
}

int stage_node_hold_on(struct stage_nodes *nodes, struct stage_node *node, enum stage_use use,
                       struct flow_error *error)
{
    pthread_mutex_lock(&nodes->lock);
    node->references++;
    pthread_mutex_unlock(&nodes->lock);
    int descriptor = stage_node_hold(nodes, node, use, error);
    if (descriptor < 0)
        stage_node_drop_reference(nodes, node);
    return descriptor;
}

void stage_node_keep_open(struct stage_nodes *nodes, struct stage_node *node, int descriptor)
{
    make_room(nodes);
    stage_node_put_descriptor(nodes, node, STAGE_WRITE, descriptor);
}

void stage_node_set_shut(struct stage_nodes *nodes, struct stage_node *node)
{
    pthread_mutex_lock(&nodes->lock);
    node->shut = true;
    pthread_mutex_unlock(&nodes->lock);
}

/* Gives a node that is held the descriptor that it is to be known by without that name. What is in
 * use without a name must not take the descriptors that all else needs. */
static bool pin(struct stage_nodes *nodes, struct stage_node *node, int folder, const char *name,
                struct flow_error *error)
{
    make_room(nodes);
    if (atomic_load(&nodes->open) >= nodes->most_open)
        return fail(error, EMFILE, "too many removed files are in use");
    if (atomic_load(&node->descriptors[STAGE_PATH]) >= 0)
        return true;
    int descriptor = openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (descriptor < 0)
        return errno == ENOENT || fail(error, errno, name);
    if (is_same(node, descriptor))
        stage_node_put_descriptor(nodes, node, STAGE_PATH, descriptor);
    else
        close(descriptor);
    return true;
}

bool stage_node_hold_named(struct stage_nodes *nodes, struct stage_node *parent, const char *name,
                           struct stage_node **found, struct flow_error *error)
{
    struct stat status;
    struct stage_node *node = NULL;
    *found = NULL;
    int folder = stage_node_hold(nodes, parent, STAGE_PATH, error);
    if (folder < 0)
        return false;
    if (fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) == 0) {
        pthread_mutex_lock(&nodes->lock);
        node = stage_node_search(nodes, &status);
        if (node)
            node->references++;
        pthread_mutex_unlock(&nodes->lock);
    }
    bool done = true;
    if (node) {
        begin_hold(node);
        done = pin(nodes, node, folder, name, error);
        if (!done)
            stage_node_drop(nodes, node);
    }
    *found = done ? node : NULL;
    stage_node_release(parent);
    return done;
}

void stage_node_drop(struct stage_nodes *nodes, struct stage_node *node)
{
    stage_node_release(node);
    stage_node_drop_reference(nodes, node);
}
