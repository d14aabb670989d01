/* The links of a group: what they are called. */
#include "link_name.h"
#include "media_type.h"
#include "parallel.h"
#include "views_inside.h"

#include <stdlib.h>

/* So many are named at once, by all processors. */
#define AT_ONCE 1024

/* Beyond so many bytes the links of the groups used longest ago are let go. */
#define FOOTPRINT ((size_t)64 << 20)

struct naming {
    const struct views *views;
    const uint32_t *flows;
    struct buffer *texts;
    bool with_day;
};

static bool name_some(void *context, unsigned worker, size_t from, size_t to,
                      struct flow_error *error)
{
    (void)worker;
    struct naming *naming = context;
    for (size_t i = from; i < to; i++) {
        struct buffer *text = &naming->texts[i];
        text->size = 0;
        link_name_append(naming->views->collection, naming->flows[i], naming->with_day, text);
        if (text->failed)
            return flow_error_memory(error);
    }
    return true;
}

/* Copies flows that have no link yet; their array may move as soon as the lock is gone. */
static uint32_t take_flows(struct views *views, const struct view_group *group, uint32_t *flows)
{
    uint32_t from = leaf_count(group->leaf);
    pthread_mutex_lock(&views->lock);
    uint32_t left = group->count > from ? group->count - from : 0;
    uint32_t count = left < AT_ONCE ? left : AT_ONCE;
    if (count)
        memcpy(flows, group->flows + from, count * sizeof *flows);
    pthread_mutex_unlock(&views->lock);
    return count;
}

static const char *extension_of(struct views *views, enum view view, const struct view_group *group)
{
    if (view != VIEW_SUBTYPE)
        return "";
    pthread_mutex_lock(&views->lock);
    const char *type = views->groupings[VIEW_TYPE].groups[group->parent - 1]->name;
    pthread_mutex_unlock(&views->lock);
    return media_type_extension(bytes_of(type), bytes_of(group->name));
}

static bool add_links(struct views *views, enum view view, struct view_group *group,
                      struct flow_error *error)
{
    struct buffer *texts = calloc(AT_ONCE, sizeof *texts);
    uint32_t *flows = malloc(AT_ONCE * sizeof *flows);
    const char *extension = extension_of(views, view, group);
    bool done = texts && flows ? true : flow_error_memory(error);
    uint32_t count;
    while (done && (count = take_flows(views, group, flows)) > 0) {
        struct naming naming = {views, flows, texts, view != VIEW_TIME};
        done = parallel_run(count, 32, name_some, &naming, error);
        for (uint32_t i = 0; done && i < count; i++)
            done = leaf_add(group->leaf, flows[i], buffer_bytes(&texts[i]), extension) ||
                   flow_error_memory(error);
    }
    for (size_t i = 0; texts && i < AT_ONCE; i++)
        buffer_free(&texts[i]);
    free(texts);
    free(flows);
    return done;
}

static void unlink_group(struct views *views, struct view_group *group)
{
    if (!group->footprint)
        return;
    *(group->newer ? &group->newer->older : &views->newest) = group->older;
    *(group->older ? &group->older->newer : &views->oldest) = group->newer;
    views->footprint -= group->footprint;
    group->footprint = 0;
}

void view_links_drop(struct views *views, struct view_group *group)
{
    unlink_group(views, group);
    leaf_close(group->leaf);
    group->leaf = NULL;
}

/* The group becomes the one used last; a group that somebody is using stays. */
static void account(struct views *views, struct view_group *group)
{
    pthread_mutex_lock(&views->lock);
    unlink_group(views, group);
    group->footprint = leaf_footprint(group->leaf);
    group->newer = NULL;
    group->older = views->newest;
    *(views->newest ? &views->newest->newer : &views->oldest) = group;
    views->newest = group;
    views->footprint += group->footprint;
    for (struct view_group *each = views->oldest; each != group && views->footprint > FOOTPRINT;) {
        struct view_group *newer = each->newer;
        if (pthread_mutex_trylock(&each->lock) == 0) {
            view_links_drop(views, each);
            pthread_mutex_unlock(&each->lock);
        }
        each = newer;
    }
    pthread_mutex_unlock(&views->lock);
}

bool view_links_update(struct views *views, enum view view, struct view_group *group,
                       struct flow_error *error)
{
    if (!group->leaf)
        group->leaf = leaf_open();
    bool done = group->leaf ? add_links(views, view, group, error) : flow_error_memory(error);
    if (done) {
        account(views, group);
    } else {
        pthread_mutex_lock(&views->lock);
        view_links_drop(views, group);
        pthread_mutex_unlock(&views->lock);
    }
    return done;
}
