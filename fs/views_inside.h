/* What the rooms share that make up views.h: views.c, view_groups.c, view_links.c, view_query.c.
 *
 * Locks: a group's own is taken before that of the views, and held while its flows are read; that
 * of the views is held for moments only, but while flows are put into groups. */
#ifndef FLOWFS_FS_VIEWS_INSIDE_H
#define FLOWFS_FS_VIEWS_INSIDE_H

#include "hash_table.h"
#include "leaf.h"
#include "views.h"

#include <pthread.h>

struct view_group {
    char *name;        /* of the directory */
    uint32_t parent;   /* VIEW_SUBTYPE: the group of VIEW_TYPE that it is in */
    uint32_t children; /* VIEW_TYPE: how many are in it */
    bool kept;         /* VIEW_QUERY: always listed */
    bool forgotten;    /* VIEW_QUERY: found by its number only */

    /* under the lock of the views */
    uint32_t *flows;
    uint32_t count, capacity;
    struct view_group *newer, *older; /* among those that have links */
    size_t footprint;                 /* of the links, as it was counted */

    /* under the lock of the group */
    pthread_mutex_t lock;
    struct leaf *leaf;
    struct filter *filter; /* VIEW_QUERY: once it is needed */
    uint32_t seen;         /* VIEW_QUERY: so many flows have been matched */
};

struct view_grouping {
    struct view_group **groups;
    uint32_t count, capacity;
    struct hash_table table; /* by parent and name */
    uint32_t seen;           /* so many flows have been put into groups */
};

struct views {
    const struct collection *collection;
    views_note *note;
    void *context;
    uint32_t flows_at_start;
    _Atomic uint32_t flows_known;
    _Atomic int64_t grown, queried; /* when; 0: never */

    pthread_mutex_t lock;
    struct view_grouping groupings[VIEWS];
    struct view_group *newest, *oldest;    /* groups that have links, by last use */
    size_t footprint;                      /* of all links, in bytes */
    uint32_t recent[VIEWS_RECENT_QUERIES]; /* the latest first; 0: none */
    char *mistake;                         /* the expression that was wrong last */
};

/* view_groups.c; all with the lock of the views. */

/* Puts the flows that were added into groups. False with ENOMEM. */
bool view_groups_update(struct views *views, enum view view, struct flow_error *error);

/* The group's number; 0 if there is none. */
uint32_t view_groups_find(const struct views *views, enum view view, uint32_t parent,
                          struct bytes name);

/* Adds a group; 0 if there is no memory. */
uint32_t view_groups_add(struct views *views, enum view view, uint32_t parent, struct bytes name);

/* Adds a flow to a group. False if there is no memory. */
bool view_group_put(struct view_group *group, uint32_t flow);

void view_groups_close(struct view_grouping *grouping);

/* view_links.c; with the group's lock, and without that of the views. */

/* Gives links to the flows that have none. False with ENOMEM. */
bool view_links_update(struct views *views, enum view view, struct view_group *group,
                       struct flow_error *error);

/* With both locks: lets go of the links. */
void view_links_drop(struct views *views, struct view_group *group);

/* view_query.c */

/* Finds or makes the query of that name; the caller has no lock. 0 with ENOENT or ENOMEM. */
uint32_t view_query_find(struct views *views, struct bytes name, struct flow_error *error);

/* Matches the flows that were added; with the group's lock, and without that of the views. False
 * with ENOMEM. */
bool view_query_update(struct views *views, struct view_group *group, struct flow_error *error);

#endif
