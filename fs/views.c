#include "views_inside.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

/* What `@by` has in it, from VIEW_TIME on. */
static const char *const view_names[] = {"time", "method", "status", "type", "capture"};
#define VIEW_NAMES (sizeof view_names / sizeof *view_names)

_Static_assert(VIEW_TIME + VIEW_NAMES == VIEW_CAPTURE + 1, "the views of @by are in that order");

struct views *views_open(const struct collection *collection, views_note *note, void *context,
                         struct flow_error *error)
{
    struct views *views = calloc(1, sizeof *views);
    if (!views) {
        flow_error_memory(error);
        return NULL;
    }
    views->collection = collection;
    views->note = note;
    views->context = context;
    views->flows_at_start = index_flow_count(collection_index(collection));
    atomic_init(&views->flows_known, views->flows_at_start);
    pthread_mutex_init(&views->lock, NULL);
    return views;
}

void views_close(struct views *views)
{
    if (!views)
        return;
    for (int i = 0; i < VIEWS; i++)
        view_groups_close(&views->groupings[i]);
    pthread_mutex_destroy(&views->lock);
    free(views->mistake);
    free(views);
}

static bool fail(struct flow_error *error)
{
    flow_error_set(error, ENOENT, FLOW_ERROR_NO_OFFSET, "no such file or directory");
    return false;
}

/* Where the directories in it are: a group of VIEW_TYPE has those of VIEW_SUBTYPE. */
static enum view inner_view(struct view_place place)
{
    return place.view == VIEW_TYPE && place.group ? VIEW_SUBTYPE : place.view;
}

bool views_has_links(struct view_place place)
{
    return place.group && place.view != VIEW_TYPE;
}

/* The group, which never goes away. NULL if there is none. */
static struct view_group *find_group(struct views *views, struct view_place place)
{
    struct view_group *group = NULL;
    const struct view_grouping *grouping = &views->groupings[place.view];
    pthread_mutex_lock(&views->lock);
    if (place.group && place.group <= grouping->count)
        group = grouping->groups[place.group - 1];
    pthread_mutex_unlock(&views->lock);
    return group;
}

bool views_exists(struct views *views, struct view_place place)
{
    if (place.view >= VIEWS || (place.view == VIEW_SUBTYPE && !place.group))
        return false;
    if (!place.group)
        return true;
    return place.view != VIEW_BY && find_group(views, place);
}

int64_t views_directories(struct views *views, struct view_place place)
{
    struct flow_error ignored = {0};
    int64_t count = 0;
    if (place.view == VIEW_BY)
        return VIEW_NAMES;
    if (views_has_links(place))
        return 0;
    if (place.view == VIEW_QUERY || (place.view == VIEW_TYPE && !place.group))
        return -1;
    /* Its group of types exists, so its types are known. */
    const struct view_group *group = place.group ? find_group(views, place) : NULL;
    pthread_mutex_lock(&views->lock);
    if (group)
        count = group->children;
    else if (view_groups_update(views, place.view, &ignored))
        count = views->groupings[place.view].count;
    pthread_mutex_unlock(&views->lock);
    return count;
}

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

int64_t views_time(struct views *views, struct view_place place)
{
    const struct index *index = collection_index(views->collection);
    uint32_t count = index_flow_count(index);
    if (atomic_exchange(&views->flows_known, count) != count)
        atomic_store(&views->grown, now());
    int64_t newest = index_newest(index);
    int64_t grown = atomic_load(&views->grown);
    int64_t queried = place.view == VIEW_QUERY && !place.group ? atomic_load(&views->queried) : 0;
    if (grown || queried)
        return grown > queried ? grown : queried;
    return newest == INT64_MIN ? 0 : newest;
}

struct view_place views_parent(struct views *views, struct view_place place)
{
    if (place.view == VIEW_SUBTYPE && place.group) {
        const struct view_group *group = find_group(views, place);
        return (struct view_place){VIEW_TYPE, group ? group->parent : 0};
    }
    if (place.group || place.view == VIEW_QUERY)
        return (struct view_place){place.view, 0};
    return (struct view_place){VIEW_BY, 0};
}

static bool find_view(struct bytes name, struct view_place *found, struct flow_error *error)
{
    for (size_t i = 0; i < VIEW_NAMES; i++) {
        if (!bytes_equal_text(name, view_names[i]))
            continue;
        *found = (struct view_place){(enum view)(VIEW_TIME + i), 0};
        return true;
    }
    return fail(error);
}

bool views_find(struct views *views, struct view_place place, struct bytes name,
                struct view_place *found, struct flow_error *error)
{
    if (place.view == VIEW_BY)
        return find_view(name, found, error);
    if (views_has_links(place))
        return fail(error);
    *found = (struct view_place){inner_view(place), 0};
    if (place.view == VIEW_QUERY) {
        found->group = view_query_find(views, name, error);
        return found->group;
    }
    pthread_mutex_lock(&views->lock);
    bool done = view_groups_update(views, found->view, error);
    if (done)
        found->group = view_groups_find(views, found->view, place.group, name);
    pthread_mutex_unlock(&views->lock);
    return done && (found->group || fail(error));
}

static void copy_name(const char *text, struct name *name)
{
    size_t size = strlen(text);
    memcpy(name->text, text, size + 1);
    name->size = (uint16_t)size;
}

/* In `@query` the position is a place among the recent ones, then one of the groups; what is looked
 * up meanwhile may be told twice. */
static uint32_t next_query(const struct views *views, uint64_t *position)
{
    const struct view_grouping *grouping = &views->groupings[VIEW_QUERY];
    while (*position < VIEWS_RECENT_QUERIES) {
        uint32_t recent = views->recent[(*position)++];
        if (recent)
            return recent;
    }
    while (*position - VIEWS_RECENT_QUERIES < grouping->count)
        if (grouping->groups[(*position)++ - VIEWS_RECENT_QUERIES]->kept)
            return (uint32_t)(*position - VIEWS_RECENT_QUERIES);
    return 0;
}

static uint32_t next_group(const struct views *views, struct view_place place, uint64_t *position)
{
    enum view view = inner_view(place);
    const struct view_grouping *grouping = &views->groupings[view];
    if (view == VIEW_QUERY)
        return next_query(views, position);
    while (*position < grouping->count)
        if (grouping->groups[(*position)++]->parent == place.group)
            return (uint32_t)*position;
    return 0;
}

bool views_next(struct views *views, struct view_place place, uint64_t *position,
                struct view_place *found, struct name *name)
{
    struct flow_error ignored = {0};
    if (place.view == VIEW_BY) {
        if (*position >= VIEW_NAMES)
            return false;
        copy_name(view_names[*position], name);
        *found = (struct view_place){(enum view)(VIEW_TIME + (*position)++), 0};
        return true;
    }
    if (views_has_links(place))
        return false;
    pthread_mutex_lock(&views->lock);
    *found = (struct view_place){inner_view(place), 0};
    if (view_groups_update(views, found->view, &ignored))
        found->group = next_group(views, place, position);
    if (found->group)
        copy_name(views->groupings[found->view].groups[found->group - 1]->name, name);
    pthread_mutex_unlock(&views->lock);
    return found->group;
}

/* Brings the group's flows up to date, with its lock. */
static bool update_flows(struct views *views, enum view view, struct view_group *group,
                         struct flow_error *error)
{
    if (view == VIEW_QUERY)
        return view_query_update(views, group, error);
    pthread_mutex_lock(&views->lock);
    bool done = view_groups_update(views, view, error);
    pthread_mutex_unlock(&views->lock);
    return done;
}

/* Locks the group once its links are up to date. NULL without a lock on failure. */
static struct view_group *lock_links(struct views *views, struct view_place place,
                                     struct flow_error *error)
{
    struct view_group *group = views_has_links(place) ? find_group(views, place) : NULL;
    if (!group) {
        fail(error);
        return NULL;
    }
    pthread_mutex_lock(&group->lock);
    if (update_flows(views, place.view, group, error) &&
        view_links_update(views, place.view, group, error))
        return group;
    pthread_mutex_unlock(&group->lock);
    return NULL;
}

bool views_list(struct views *views, struct view_place place, uint64_t from, views_emit *emit,
                void *context, struct flow_error *error)
{
    struct view_group *group = lock_links(views, place, error);
    if (!group)
        return false;
    for (uint64_t i = from; i < leaf_count(group->leaf); i++) {
        uint32_t entry = (uint32_t)i;
        if (!emit(context, entry, leaf_name(group->leaf, entry), leaf_flow(group->leaf, entry)))
            break;
    }
    pthread_mutex_unlock(&group->lock);
    return true;
}

bool views_find_link(struct views *views, struct view_place place, struct bytes name,
                     uint32_t *flow, struct flow_error *error)
{
    struct view_group *group = lock_links(views, place, error);
    if (!group)
        return false;
    uint32_t entry = leaf_find(group->leaf, name);
    if (entry != HASH_TABLE_NONE)
        *flow = leaf_flow(group->leaf, entry);
    pthread_mutex_unlock(&group->lock);
    return entry != HASH_TABLE_NONE || fail(error);
}

uint32_t *views_flows(struct views *views, struct view_place place, uint32_t *count,
                      struct flow_error *error)
{
    struct view_group *group = views_has_links(place) ? find_group(views, place) : NULL;
    uint32_t *flows = NULL;
    if (!group) {
        fail(error);
        return NULL;
    }
    pthread_mutex_lock(&group->lock);
    if (update_flows(views, place.view, group, error)) {
        pthread_mutex_lock(&views->lock);
        *count = group->count;
        flows = malloc(((size_t)group->count + 1) * sizeof *flows);
        if (flows && group->count)
            memcpy(flows, group->flows, group->count * sizeof *flows);
        else if (!flows)
            flow_error_memory(error);
        pthread_mutex_unlock(&views->lock);
    }
    pthread_mutex_unlock(&group->lock);
    return flows;
}
