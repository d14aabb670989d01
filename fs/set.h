/* One set: brought up to date with its folder, committed, taken along when it gets another name.
 * sets.h tells what it is; sets.c keeps them all. */
#ifndef FLOWFS_FS_SET_H
#define FLOWFS_FS_SET_H

#include "set_flows.h"
#include "set_notes.h"
#include "set_writer.h"
#include "sets.h"

#include <pthread.h>
#include <stdatomic.h>

/* What all sets of a staging folder share. */
struct set_home {
    int root;
    int64_t version; /* of the format that is written */
    sets_report *report;
    void *context;
    struct set_notes *notes;
    _Atomic uint64_t generation; /* counts changes below the staging folder */
    _Atomic uint64_t versions;   /* of packs, so far */
};

struct set {
    char name[NAME_MAX + 1]; /* changes under both this set's and the table's lock */
    unsigned users;          /* under the table's lock; the table is one */
    _Atomic int state;       /* enum sets_state */
    _Atomic uint64_t version;

    pthread_mutex_t lock; /* of what follows */
    bool gone;            /* it is in the table no more */
    bool looked;          /* it has been brought up to date, as of `generation` */
    uint64_t generation;
    struct set_flows flows;
    struct set_file store; /* where their records are; may be the same file as the pack */
    struct set_file pack;  /* the last good one; hidden until it is committed */
    bool durable;          /* the pack has its name also after a power failure */
    size_t mistakes;
    char mistake[256]; /* the first one */
    uint64_t errors;   /* hash of what NAME.errors holds; 0: there is none */
    int problem;       /* the error that was told last; 0: all went well since */
};

/* NULL if there is no memory. */
struct set *set_new(const char *name);

/* Closes its files, and removes the hidden ones. Nobody uses it any more. */
void set_free(struct set *set, const struct set_home *home);

/* All of the following are called with the set's lock held. */

/* The gate of sets.h. A set whose folder is gone is SETS_MISSING. */
bool set_update(struct set *set, struct set_home *home, struct flow_error *error);

/* Makes the pack durable under its name, if there is one that is not. The set is up to date. */
bool set_commit(struct set *set, struct set_home *home, struct flow_error *error);

/* Names of files, in set_names.c. */

/* NAME.mitm, NAME.errors. */
#define SET_PACK_SUFFIX ".mitm"
#define SET_ERRORS_SUFFIX ".errors"
void set_derived_name(char name[NAME_MAX + 1], const char *set, const char *suffix);

/* Renames what stands in the way of a derived file and is not ours: to NAME~, NAME~2~ and so on;
 * moved (may be NULL) tells to what, "" if nothing did. False with what rename gave. */
bool set_clear_way(const struct set_home *home, const char *name, char moved[NAME_MAX + 1],
                   struct flow_error *error);

/* Gives a file its name on disk, over one of ours: the name is noted first. durable: also after a
 * power failure. False with what a system call gave; then the file's hidden name is still there,
 * unless it was only the folder that could not be synced. */
bool set_file_publish(const struct set_home *home, struct set_file *file, const char *name,
                      bool durable, struct flow_error *error);

bool set_sync_root(const struct set_home *home, const char *name, struct flow_error *error);

/* Gives a derived file the owner and the permissions of the set's folder, as far as we may. */
void set_follow_folder(int descriptor, const struct stat *folder);

/* Writes NAME.errors as a whole. */
bool set_write_errors(const struct set_home *home, const char *set, const struct stat *folder,
                      struct bytes text, struct flow_error *error);

/* Removes a derived file if it is ours. */
void set_remove_derived(const struct set_home *home, const char *set, const char *suffix);

/* Renames a derived file, if it is ours, over whatever of ours has the other name. */
bool set_rename_derived(const struct set_home *home, const char *from, const char *to,
                        const char *suffix, struct flow_error *error);

#endif
