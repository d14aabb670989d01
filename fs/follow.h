/* Follows captures that are still being written: new flows appear in the open mount.
 *
 * One thread of its own waits for the kernel to say that a file changed (inotify), or looks once a
 * second where that cannot be had, and indexes what is new. Flow files are followed; HAR files are
 * written in one go, and pipes and packed captures have been read to their end before. */
#ifndef FLOWFS_FS_FOLLOW_H
#define FLOWFS_FS_FOLLOW_H

#include "collection.h"

struct follow;

struct follow_events {
    /* The flows from `first` up to the index's count are new, and so are the hosts from
     * `first_host`. */
    void (*added)(void *context, uint32_t first, uint32_t first_host);
    void *context;
};

/* Starts following. NULL with what the system gave (EAGAIN, ENOMEM, EMFILE…). No other thread may
 * add to the collection until follow_stop. */
struct follow *follow_start(struct collection *collection, struct follow_events events,
                            struct flow_error *error);

/* Ends the thread and waits for it; harmless on NULL. */
void follow_stop(struct follow *follow);

#endif
