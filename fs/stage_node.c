#include "stage_node_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NODE_BIT ((uint64_t)1 << 63)
#define FIRST_BUCKETS 256u

static bool fail(struct flow_error *error, int code, const char *what)
{
    flow_error_set(error, code, FLOW_ERROR_NO_OFFSET, "%s: %s", what, strerror(code));
    return false;
}

static size_t bucket_of(const struct stage_nodes *nodes, dev_t device, ino_t inode)
{
    uint64_t mixed = ((uint64_t)inode ^ (uint64_t)device << 48) * UINT64_C(0x9E3779B97F4A7C15);
    return (size_t)(mixed >> 32) & (nodes->bucket_count - 1);
}

static void enter_ring(struct stage_nodes *nodes, struct stage_node *node)
{
    struct stage_node *hand = nodes->hand ? nodes->hand : node;
    node->after = nodes->hand ? hand : node;
    node->before = nodes->hand ? hand->before : node;
    node->after->before = node;
    node->before->after = node;
    nodes->hand = hand;
    nodes->count++;
}

static void leave_ring(struct stage_nodes *nodes, struct stage_node *node)
{
    node->before->after = node->after;
    node->after->before = node->before;
    if (nodes->hand == node)
        nodes->hand = node->after == node ? NULL : node->after;
    nodes->count--;
}

static struct stage_node *new_node(enum stage_kind kind, struct flow_error *error)
{
    struct stage_node *node = calloc(1, sizeof *node);
    if (!node) {
        flow_error_memory(error);
        return NULL;
    }
    node->number = NODE_BIT | (uint64_t)(uintptr_t)node;
    node->kind = kind;
    for (int use = 0; use < STAGE_USES; use++)
        atomic_init(&node->descriptors[use], -1);
    return node;
}

struct stage_nodes *stage_nodes_open(int folder, unsigned most_open, struct flow_error *error)
{
    struct stat status;
    struct stage_nodes *nodes = calloc(1, sizeof *nodes);
    struct stage_node *top = nodes ? new_node(STAGE_FILE, error) : NULL;
    struct stage_node **buckets = calloc(FIRST_BUCKETS, sizeof *buckets);
    int descriptor = -1;
    bool done = (top && buckets) || flow_error_memory(error);
    if (done && fstat(folder, &status) != 0)
        done = fail(error, errno, "the staging folder");
    if (done) {
        descriptor = fcntl(folder, F_DUPFD_CLOEXEC, 0);
        done = descriptor >= 0 || fail(error, errno, "the staging folder");
    }
    if (!done) {
        free(buckets);
        free(top);
        free(nodes);
        return NULL;
    }
    pthread_mutex_init(&nodes->lock, NULL);
    nodes->buckets = buckets;
    nodes->bucket_count = FIRST_BUCKETS;
    nodes->most_open = most_open;
    nodes->top = top;
    top->device = status.st_dev;
    top->inode = status.st_ino;
    top->number = STAGE_TOP_NUMBER;
    top->lookups = 1;
    stage_node_put_descriptor(nodes, top, STAGE_PATH, descriptor);
    enter_ring(nodes, top);
    return nodes;
}

static void free_node(struct stage_nodes *nodes, struct stage_node *node)
{
    leave_ring(nodes, node);
    stage_node_close_descriptors(nodes, node);
    free(node->name);
    free(node);
}

void stage_nodes_close(struct stage_nodes *nodes)
{
    if (!nodes)
        return;
    while (nodes->hand)
        free_node(nodes, nodes->hand);
    pthread_mutex_destroy(&nodes->lock);
    free(nodes->buckets);
    free(nodes);
}

struct stage_node *stage_nodes_top(struct stage_nodes *nodes)
{
    return nodes->top;
}

bool stage_is_node(uint64_t number)
{
    return number & NODE_BIT || number == STAGE_TOP_NUMBER;
}

struct stage_node *stage_node_of(struct stage_nodes *nodes, uint64_t number)
{
    return number == STAGE_TOP_NUMBER ? nodes->top
                                      : (struct stage_node *)(uintptr_t)(number & ~NODE_BIT);
}

uint64_t stage_node_number(const struct stage_node *node)
{
    return node->number;
}

enum stage_kind stage_node_kind(const struct stage_node *node)
{
    return node->kind;
}

void stage_node_name(struct stage_nodes *nodes, const struct stage_node *node, char name[256])
{
    pthread_mutex_lock(&nodes->lock);
    snprintf(name, 256, "%s", node->name ? node->name : "");
    pthread_mutex_unlock(&nodes->lock);
}

struct stage_node *stage_node_parent(struct stage_nodes *nodes, const struct stage_node *node)
{
    pthread_mutex_lock(&nodes->lock);
    struct stage_node *parent = node->parent;
    pthread_mutex_unlock(&nodes->lock);
    return parent;
}

bool stage_node_is_derived(const struct stage_node *node)
{
    return atomic_load_explicit(&node->derived, memory_order_relaxed);
}

static void set_derived(struct stage_node *node)
{
    atomic_store_explicit(&node->derived, true, memory_order_relaxed);
}

/* With the lock, from here on. */

struct stage_node *stage_node_search(const struct stage_nodes *nodes, const struct stat *status)
{
    struct stage_node *node = nodes->buckets[bucket_of(nodes, status->st_dev, status->st_ino)];
    while (node && (node->inode != status->st_ino || node->device != status->st_dev))
        node = node->next;
    return node;
}

static void grow(struct stage_nodes *nodes)
{
    size_t old_count = nodes->bucket_count;
    struct stage_node **old = nodes->buckets;
    struct stage_node **buckets = calloc(2 * old_count, sizeof *buckets);
    if (!buckets)
        return; /* a fuller table is slower, and right */
    nodes->buckets = buckets;
    nodes->bucket_count = 2 * old_count;
    for (size_t i = 0; i < old_count; i++)
        while (old[i]) {
            struct stage_node *node = old[i];
            struct stage_node **bucket = &buckets[bucket_of(nodes, node->device, node->inode)];
            old[i] = node->next;
            node->next = *bucket;
            *bucket = node;
        }
    free(old);
}

static void enter_table(struct stage_nodes *nodes, struct stage_node *node)
{
    if (nodes->found_count >= nodes->bucket_count)
        grow(nodes);
    struct stage_node **bucket = &nodes->buckets[bucket_of(nodes, node->device, node->inode)];
    node->next = *bucket;
    *bucket = node;
    nodes->found_count++;
}

static void leave_table(struct stage_nodes *nodes, struct stage_node *node)
{
    struct stage_node **link = &nodes->buckets[bucket_of(nodes, node->device, node->inode)];
    while (*link && *link != node)
        link = &(*link)->next;
    if (!*link)
        return; /* one that was not found by its inode */
    *link = node->next;
    nodes->found_count--;
}

void stage_node_free_unused(struct stage_nodes *nodes, struct stage_node *node)
{
    while (node && !node->lookups && !node->references) {
        struct stage_node *parent = node->parent;
        leave_table(nodes, node);
        free_node(nodes, node);
        if (parent)
            parent->references--;
        node = parent;
    }
}

/* name: from malloc, taken over. */
static void set_place(struct stage_nodes *nodes, struct stage_node *node, struct stage_node *parent,
                      char *name)
{
    struct stage_node *former = node->parent;
    if (parent)
        parent->references++;
    free(node->name);
    node->name = name;
    node->parent = parent;
    if (!former)
        return;
    former->references--;
    stage_node_free_unused(nodes, former);
}

/* Whether the folder is the node, or as far as we know below it. So it may look where folders have
 * changed places behind the mount: a way up must not become a circle. */
static bool is_below(const struct stage_node *folder, const struct stage_node *node)
{
    while (node->references && folder && folder != node)
        folder = folder->parent;
    return node->references && folder;
}

static bool stands_at(const struct stage_node *node, const struct stage_node *parent,
                      const char *name)
{
    return node->parent == parent && node->name && strcmp(node->name, name) == 0;
}

/* The node of the file with that status, which is `*fresh` (taken then) if it is not known yet. It
 * has one lookup more. */
static struct stage_node *look_up(struct stage_nodes *nodes, const struct stat *status,
                                  struct stage_node **fresh)
{
    struct stage_node *node = stage_node_search(nodes, status);
    if (!node) {
        node = *fresh;
        *fresh = NULL;
        node->device = status->st_dev;
        node->inode = status->st_ino;
        enter_table(nodes, node);
        enter_ring(nodes, node);
    }
    node->lookups++;
    return node;
}

/* Without the lock, from here on. */

void stage_node_drop_reference(struct stage_nodes *nodes, struct stage_node *node)
{
    pthread_mutex_lock(&nodes->lock);
    node->references--;
    stage_node_free_unused(nodes, node);
    pthread_mutex_unlock(&nodes->lock);
}

/* The node of a file that was found by that name, made if it is new; it has one lookup more. */
static struct stage_node *remember(struct stage_nodes *nodes, struct stage_node *parent,
                                   const char *name, const struct stat *status,
                                   struct flow_error *error)
{
    struct stage_node *fresh = new_node(STAGE_FILE, error);
    char *copy = strdup(name);
    if (!fresh || !copy) {
        free(fresh);
        free(copy);
        flow_error_memory(error);
        return NULL;
    }
    pthread_mutex_lock(&nodes->lock);
    struct stage_node *node = look_up(nodes, status, &fresh);
    if (!stands_at(node, parent, name) && node != nodes->top && !is_below(parent, node)) {
        set_place(nodes, node, parent, copy);
        copy = NULL;
    }
    pthread_mutex_unlock(&nodes->lock);
    free(fresh);
    free(copy);
    return node;
}

struct stage_node *stage_node_find(struct stage_nodes *nodes, struct stage_node *parent,
                                   const char *name, struct stat *status, struct flow_error *error)
{
    int folder = stage_node_hold(nodes, parent, STAGE_PATH, error);
    if (folder < 0)
        return NULL;
    int result = fstatat(folder, name, status, AT_SYMLINK_NOFOLLOW);
    if (result != 0)
        fail(error, errno, name);
    stage_node_release(parent);
    if (result != 0)
        return NULL;
    if (S_ISDIR(status->st_mode) && status->st_dev != nodes->top->device) {
        flow_error_set(error, EXDEV, FLOW_ERROR_NO_OFFSET,
                       "%s: another file system is mounted in the staging folder", name);
        return NULL;
    }
    return remember(nodes, parent, name, status, error);
}

struct stage_node *stage_node_of_descriptor(struct stage_nodes *nodes, int descriptor,
                                            struct stat *status, struct flow_error *error)
{
    struct stage_node *fresh = NULL;
    bool done = fstat(descriptor, status) == 0 || fail(error, errno, "the staged file");
    if (done)
        fresh = new_node(STAGE_FILE, error);
    if (!fresh) {
        close(descriptor);
        return NULL;
    }
    pthread_mutex_lock(&nodes->lock);
    struct stage_node *node = look_up(nodes, status, &fresh);
    /* Its name, if it has one, is not ours to know: it keeps its descriptors. */
    set_place(nodes, node, NULL, NULL);
    set_derived(node);
    pthread_mutex_unlock(&nodes->lock);
    free(fresh);
    int path = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
    if (path >= 0)
        stage_node_put_descriptor(nodes, node, STAGE_PATH, path);
    stage_node_put_descriptor(nodes, node, STAGE_READ, descriptor);
    return node;
}

/* What is in no folder is found by devices that there are none of. */
static struct stat made_status(const struct stage_node *parent, unsigned key)
{
    return (struct stat){.st_dev = (dev_t)-1 - key, .st_ino = (ino_t)(uintptr_t)parent};
}

unsigned stage_node_key(const struct stage_node *node)
{
    return (unsigned)((dev_t)-1 - node->device);
}

struct stage_node *stage_node_find_made(struct stage_nodes *nodes, struct stage_node *parent,
                                        unsigned key, uint64_t version)
{
    struct stat status = made_status(parent, key);
    pthread_mutex_lock(&nodes->lock);
    struct stage_node *node = stage_node_search(nodes, &status);
    if (node && node->version != version) {
        leave_table(nodes, node);
        node = NULL;
    }
    if (node)
        node->lookups++;
    pthread_mutex_unlock(&nodes->lock);
    return node;
}

struct stage_node *stage_node_make(struct stage_nodes *nodes, struct stage_node *parent,
                                   enum stage_kind kind, unsigned key, uint64_t version,
                                   int descriptor, struct flow_error *error)
{
    struct stat status = made_status(parent, key);
    struct stage_node *node = new_node(kind, error);
    if (!node) {
        if (descriptor >= 0)
            close(descriptor);
        return NULL;
    }
    node->device = status.st_dev;
    node->inode = status.st_ino;
    node->version = version;
    node->lookups = 1;
    node->keep_open = true;
    node->parent = parent;
    set_derived(node);
    pthread_mutex_lock(&nodes->lock);
    struct stage_node *former = stage_node_search(nodes, &status);
    if (former)
        leave_table(nodes, former);
    parent->references++;
    enter_table(nodes, node);
    enter_ring(nodes, node);
    pthread_mutex_unlock(&nodes->lock);
    if (descriptor >= 0)
        stage_node_put_descriptor(nodes, node, STAGE_READ, descriptor);
    return node;
}

void stage_node_remember(struct stage_nodes *nodes, struct stage_node *node)
{
    pthread_mutex_lock(&nodes->lock);
    node->lookups++;
    pthread_mutex_unlock(&nodes->lock);
}

void stage_node_forget(struct stage_nodes *nodes, struct stage_node *node, uint64_t count)
{
    pthread_mutex_lock(&nodes->lock);
    if (node != nodes->top) {
        node->lookups -= count < node->lookups ? count : node->lookups;
        stage_node_free_unused(nodes, node);
    }
    pthread_mutex_unlock(&nodes->lock);
}

void stage_node_unlinked(struct stage_nodes *nodes, struct stage_node *node,
                         struct stage_node *parent, const char *name)
{
    pthread_mutex_lock(&nodes->lock);
    if (stands_at(node, parent, name))
        set_place(nodes, node, NULL, NULL);
    pthread_mutex_unlock(&nodes->lock);
}

void stage_node_renamed(struct stage_nodes *nodes, struct stage_node *node,
                        struct stage_node *parent, const char *name)
{
    char *copy = strdup(name);
    pthread_mutex_lock(&nodes->lock);
    set_place(nodes, node, copy && !is_below(parent, node) ? parent : NULL, copy);
    pthread_mutex_unlock(&nodes->lock);
}
