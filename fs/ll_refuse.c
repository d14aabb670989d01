/* Pages that were written through a mapping of a file that cannot be written.
 *
 * Without OPEN the kernel does not ask whether a file may be mapped for writing. A program that may
 * write by the file's mode can so change its pages, and the kernel sends them when it likes. We
 * refuse, but the changed pages stay, for everybody to read, until the kernel is told to drop them.
 *
 * It then waits for those of them that are on their way to us. So a thread of its own tells it: a
 * worker that waited could be the one that had to answer. */
#include "ll.h"

#include <stdlib.h>

static bool add(struct ll_refusals *refusals, uint64_t inode)
{
    if (refusals->count == refusals->capacity) {
        size_t capacity = refusals->capacity ? 2 * refusals->capacity : 16;
        uint64_t *grown = reallocarray(refusals->inodes, capacity, sizeof *grown);
        if (!grown)
            return false;
        refusals->inodes = grown;
        refusals->capacity = capacity;
    }
    refusals->inodes[refusals->count++] = inode;
    return true;
}

static bool is_waiting(const struct ll_refusals *refusals, uint64_t inode)
{
    for (size_t i = 0; i < refusals->count; i++)
        if (refusals->inodes[i] == inode)
            return true;
    return false;
}

static void *drop_pages(void *argument)
{
    struct ll_mount *mount = argument;
    struct ll_refusals *refusals = &mount->refusals;
    pthread_mutex_lock(&refusals->lock);
    while (!refusals->stop) {
        if (refusals->count == 0) {
            pthread_cond_wait(&refusals->more, &refusals->lock);
            continue;
        }
        uint64_t inode = refusals->inodes[--refusals->count];
        pthread_mutex_unlock(&refusals->lock);
        fuse_lowlevel_notify_inval_inode(mount->session, inode, 0, 0);
        pthread_mutex_lock(&refusals->lock);
    }
    pthread_mutex_unlock(&refusals->lock);
    return NULL;
}

void ll_refusals_init(struct ll_refusals *refusals)
{
    pthread_mutex_init(&refusals->lock, NULL);
    pthread_cond_init(&refusals->more, NULL);
}

void ll_refuse_pages(struct ll_mount *mount, fuse_ino_t inode)
{
    struct ll_refusals *refusals = &mount->refusals;
    pthread_mutex_lock(&refusals->lock);
    if (!is_waiting(refusals, inode) && add(refusals, inode) && !refusals->has_thread)
        refusals->has_thread = pthread_create(&refusals->thread, NULL, drop_pages, mount) == 0;
    pthread_cond_signal(&refusals->more);
    pthread_mutex_unlock(&refusals->lock);
}

void ll_refusals_end(struct ll_refusals *refusals)
{
    pthread_mutex_lock(&refusals->lock);
    refusals->stop = true;
    pthread_cond_signal(&refusals->more);
    pthread_mutex_unlock(&refusals->lock);
    if (refusals->has_thread)
        pthread_join(refusals->thread, NULL);
    pthread_cond_destroy(&refusals->more);
    pthread_mutex_destroy(&refusals->lock);
    free(refusals->inodes);
}
