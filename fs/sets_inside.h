/* What the rooms of sets.h share. */
#ifndef FLOWFS_FS_SETS_INSIDE_H
#define FLOWFS_FS_SETS_INSIDE_H

#include "set.h"

struct sets {
    struct set_home home;
    pthread_mutex_t lock; /* of the table */
    struct set **items;   /* by name */
    size_t count, capacity;
    uint64_t listed; /* the generation at which the staging folder was last looked through */
    bool was_listed;

    pthread_t thread;
    bool has_thread;
    int alarm;            /* an eventfd that wakes the thread */
    atomic_bool sleeping; /* the thread waits for the alarm alone */
    atomic_bool hurry, stop;
};

/* The set of that name, found or added if there is such a folder; NULL with *error untouched if
 * there is none, or with ENOMEM. Given back by sets_put. */
struct set *sets_get(struct sets *sets, const char *name, struct flow_error *error);
void sets_put(struct sets *sets, struct set *set);

/* Takes the set of that name out of the table, for the caller to put; NULL if there is none. */
struct set *sets_take(struct sets *sets, const char *name);

/* Gives the set, whose lock is held, another name in the table. False if that is taken, or if the
 * set is in the table no more; then it is out of it. */
bool sets_rename(struct sets *sets, struct set *set, const char *name);

/* All sets, also those that are there without anybody having told; given back one by one, and the
 * array freed. NULL with an error. */
struct set **sets_get_all(struct sets *sets, size_t *count, struct flow_error *error);

/* One set, with its lock held: the gate, and commit. What goes wrong is told once. */
bool sets_look(struct sets *sets, struct set *set, bool commit, struct flow_error *error);

/* sets_packer.c: the thread that commits when writing pauses. */
bool sets_packer_start(struct sets *sets, struct flow_error *error);
void sets_packer_stop(struct sets *sets);
void sets_packer_wake(struct sets *sets);

#endif
