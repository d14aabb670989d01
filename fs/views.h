/* Flows in other orders than by host: `@by` and `@query`.
 *
 *   @by/time/2025-01-31/   @by/method/GET/   @by/status/404/   @by/type/image/png/
 *   @by/capture/session.mitm/   @query/~c 500/
 *
 * A view's directories are its groups; in each are links to the flows that are in it. Nothing is
 * worked out before somebody asks. Groups and links only come, as flows do, and keep their numbers
 * and names; those of `@query` come when a filter expression is looked up, and may be forgotten.
 * What a group's links are called takes reading its flows; so it is kept for the groups used last.
 *
 * Any thread may call anything. Functions return false with `error` set: ENOENT no such group or
 * link; ENOMEM. */
#ifndef FLOWFS_FS_VIEWS_H
#define FLOWFS_FS_VIEWS_H

#include "collection.h"
#include "view_place.h"

/* So many queries are listed: those looked up last, and all that are kept. */
#define VIEWS_RECENT_QUERIES 64

struct views;

/* Takes a line for people: what is wrong with an expression, or which flow it gave up at. */
typedef void views_note(void *context, const char *line);

/* NULL with ENOMEM. The collection must outlive it. Freed by views_close, harmless on NULL. */
struct views *views_open(const struct collection *collection, views_note *note, void *context,
                         struct flow_error *error);
void views_close(struct views *views);

/* Has `@query` always list a query. False with EINVAL as filter_parse says it, ENAMETOOLONG if the
 * expression is too long for a name, or ENOMEM. */
bool views_keep_query(struct views *views, struct bytes expression, struct flow_error *error);

/* The same by the name that the query has in `@query`. EEXIST if it is saved already; EINVAL too if
 * the name begins with a point, which no query's does. What is wrong is noted. */
bool views_save_query(struct views *views, struct bytes name, uint32_t *group,
                      struct flow_error *error);

/* Has `@query` list a query no more, whether it is saved or was looked up. ENOENT if it is not
 * listed. Who is in its directory may stay there; who looks it up gets another. */
bool views_forget_query(struct views *views, struct bytes name, struct flow_error *error);

enum views_query_state { VIEWS_QUERY_NONE, VIEWS_QUERY_RECENT, VIEWS_QUERY_SAVED };
enum views_query_state views_query_state(struct views *views, struct bytes name);

bool views_exists(struct views *views, struct view_place place);

/* Whether there are links in it, and not further directories. */
bool views_has_links(struct view_place place);

/* How many directories are in it; -1 if it would take reading flows to know, or changes with each
 * question. */
int64_t views_directories(struct views *views, struct view_place place);

/* When what is in it last changed, in nanoseconds since the epoch: that of the newest flow, until
 * flows or queries are added under the mount. */
int64_t views_time(struct views *views, struct view_place place);

/* The directory that it is in; {VIEW_BY, 0} and {VIEW_QUERY, 0} are in the root. */
struct view_place views_parent(struct views *views, struct view_place place);

/* Finds the directory of that name in it. In `@query` the name is an expression, with `%2F` for
 * `/`: ENOENT if it is none, or begins with a point; the mistake is noted. */
bool views_find(struct views *views, struct view_place place, struct bytes name,
                struct view_place *found, struct flow_error *error);

/* The directory behind the one at `position` (0: the first); false behind the last one. */
bool views_next(struct views *views, struct view_place place, uint64_t *position,
                struct view_place *found, struct name *name);

/* Calls `emit` for the links from entry `from` on, until it returns false. entry: from 0. */
typedef bool views_emit(void *context, uint32_t entry, const char *name, uint32_t flow);
bool views_list(struct views *views, struct view_place place, uint64_t from, views_emit *emit,
                void *context, struct flow_error *error);

/* The flow that the link of that name leads to. */
bool views_find_link(struct views *views, struct view_place place, struct bytes name,
                     uint32_t *flow, struct flow_error *error);

/* The flows in it, in capture order, freed by the caller. NULL with ENOMEM. */
uint32_t *views_flows(struct views *views, struct view_place place, uint32_t *count,
                      struct flow_error *error);

#endif
