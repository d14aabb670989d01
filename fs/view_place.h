/* Which directory of `@by` or `@query` is meant. */
#ifndef FLOWFS_FS_VIEW_PLACE_H
#define FLOWFS_FS_VIEW_PLACE_H

#include <stdint.h>

enum view {
    VIEW_BY, /* has the views up to VIEW_CAPTURE in it */
    VIEW_TIME,
    VIEW_METHOD,
    VIEW_STATUS,
    VIEW_TYPE, /* its groups have those of VIEW_SUBTYPE in them, and no links */
    VIEW_CAPTURE,
    VIEW_SUBTYPE,
    VIEW_QUERY,
    VIEWS, /* their number */
};

/* The view itself, or one of its groups. */
struct view_place {
    enum view view;
    uint32_t group; /* from 1; 0: the view */
};

#endif
