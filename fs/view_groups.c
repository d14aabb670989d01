/* Which group a flow is in. */
#include "link_name.h"
#include "media_type.h"
#include "parallel.h"
#include "views_inside.h"

#include <stdlib.h>

struct search {
    const struct view_grouping *grouping;
    uint32_t parent;
    struct bytes name;
};

static bool is_named(const void *context, uint32_t number)
{
    const struct search *search = context;
    const struct view_group *group = search->grouping->groups[number];
    return group->parent == search->parent && !group->forgotten &&
           bytes_equal_text(search->name, group->name);
}

uint32_t view_groups_find(const struct views *views, enum view view, uint32_t parent,
                          struct bytes name)
{
    struct search search = {&views->groupings[view], parent, name};
    uint32_t found =
        hash_table_find(&search.grouping->table, bytes_hash(name, parent), is_named, &search);
    return found == HASH_TABLE_NONE ? 0 : found + 1;
}

static bool reserve(struct view_grouping *grouping)
{
    if (!hash_table_reserve(&grouping->table))
        return false;
    if (grouping->count < grouping->capacity)
        return true;
    uint32_t capacity = grouping->capacity ? grouping->capacity * 2 : 16;
    struct view_group **groups =
        realloc((void *)grouping->groups, capacity * sizeof(struct view_group *));
    if (!groups)
        return false;
    grouping->groups = groups;
    grouping->capacity = capacity;
    return true;
}

uint32_t view_groups_add(struct views *views, enum view view, uint32_t parent, struct bytes name)
{
    struct view_grouping *grouping = &views->groupings[view];
    struct view_group *group = reserve(grouping) ? calloc(1, sizeof *group) : NULL;
    if (!group)
        return 0;
    group->name = strndup((const char *)name.data, name.size);
    if (!group->name) {
        free(group);
        return 0;
    }
    pthread_mutex_init(&group->lock, NULL);
    group->parent = parent;
    grouping->groups[grouping->count] = group;
    hash_table_add(&grouping->table, bytes_hash(name, parent), grouping->count);
    if (view == VIEW_SUBTYPE)
        views->groupings[VIEW_TYPE].groups[parent - 1]->children++;
    return ++grouping->count;
}

bool view_group_put(struct view_group *group, uint32_t flow)
{
    if (group->count == group->capacity) {
        uint32_t capacity = group->capacity ? group->capacity * 2 : 4;
        uint32_t *flows = realloc(group->flows, capacity * sizeof *flows);
        if (!flows)
            return false;
        group->flows = flows;
        group->capacity = capacity;
    }
    group->flows[group->count++] = flow;
    return true;
}

void view_groups_close(struct view_grouping *grouping)
{
    for (uint32_t i = 0; i < grouping->count; i++) {
        struct view_group *group = grouping->groups[i];
        leaf_close(group->leaf);
        filter_free(group->filter);
        pthread_mutex_destroy(&group->lock);
        free(group->flows);
        free(group->name);
        free(group);
    }
    hash_table_close(&grouping->table);
    free((void *)grouping->groups);
}

/* 0 if there is no memory. */
static uint32_t find_or_add(struct views *views, enum view view, uint32_t parent, struct bytes name)
{
    uint32_t found = view_groups_find(views, view, parent, name);
    return found ? found : view_groups_add(views, view, parent, name);
}

static bool put(struct views *views, enum view view, uint32_t parent, struct bytes name,
                uint32_t flow)
{
    uint32_t group = find_or_add(views, view, parent, name);
    return group && view_group_put(views->groupings[view].groups[group - 1], flow);
}

/* The text that tells the flow's group; false if the flow is in none. */
static bool append_key(const struct views *views, enum view view, const struct index_flow *flow,
                       struct buffer *key)
{
    const struct index *index = collection_index(views->collection);
    switch (view) {
    case VIEW_TIME:
        link_name_append_day(flow->start, key);
        return true;
    case VIEW_METHOD:
        buffer_append_bytes(key, index_string(index, flow->method));
        return flow->type == FLOW_HTTP;
    case VIEW_STATUS:
        if (flow->status)
            buffer_append_unsigned(key, flow->status);
        else
            buffer_append_text(key, "none");
        return flow->type == FLOW_HTTP;
    default:
        return false;
    }
}

static bool put_by_key(struct views *views, enum view view, uint32_t flow, struct buffer *key)
{
    struct name name;
    key->size = 0;
    if (!append_key(views, view, index_flow(collection_index(views->collection), flow), key))
        return true;
    name_make(&name, buffer_bytes(key), 1);
    return !key->failed && put(views, view, 0, name_bytes(&name), flow);
}

/* A capture is a group even if it is empty; several of one name are told apart as flows are. */
static bool add_captures(struct views *views)
{
    struct name name;
    uint32_t count = collection_capture_count(views->collection);
    for (uint32_t i = views->groupings[VIEW_CAPTURE].count; i < count; i++) {
        uint32_t copy = 0;
        struct bytes text = bytes_of(collection_capture(views->collection, i)->name);
        do
            name_make(&name, text, ++copy);
        while (view_groups_find(views, VIEW_CAPTURE, 0, name_bytes(&name)));
        if (!view_groups_add(views, VIEW_CAPTURE, 0, name_bytes(&name)))
            return false;
    }
    return true;
}

static bool put_by_capture(struct views *views, uint32_t flow)
{
    uint32_t capture = index_flow(collection_index(views->collection), flow)->capture;
    return view_group_put(views->groupings[VIEW_CAPTURE].groups[capture], flow);
}

/* The types of some flows, which are read for it by all processors. */
struct types {
    const struct views *views;
    uint32_t first;
    struct name (*names)[2]; /* type and subtype; size 0: the flow has no content to show */
};

static void name_part(struct name *name, struct bytes text)
{
    uint8_t lower[NAME_LONGEST];
    struct bytes part = text;
    for (size_t i = 0; i < text.size && text.size <= sizeof lower; i++) {
        bool upper = text.data[i] >= 'A' && text.data[i] <= 'Z';
        lower[i] = (uint8_t)(upper ? text.data[i] | 0x20 : text.data[i]);
        part = bytes_make(lower, text.size);
    }
    name_make(name, part, 1);
}

static bool find_types(void *context, unsigned worker, size_t from, size_t to,
                       struct flow_error *error)
{
    (void)worker, (void)error;
    struct types *types = context;
    const struct collection *collection = types->views->collection;
    for (size_t i = from; i < to; i++) {
        uint32_t flow = types->first + (uint32_t)i;
        struct name *names = types->names[i];
        struct bytes type, subtype;
        struct capture_flow loaded;
        struct flow_error ignored = {0};
        names[0].size = 0;
        if (!(index_flow(collection_index(collection), flow)->files &
              flowdir_bit(FLOWDIR_RESPONSE_BODY)))
            continue;
        struct convert_flow found = collection_convert_flow(collection, flow);
        if (!capture_load(found.capture, found.extent, found.handshake, &loaded, &ignored))
            continue;
        media_type_split(media_type_of_message(&loaded.flow.response), &type, &subtype);
        name_part(&names[0], type);
        name_part(&names[1], subtype);
        capture_flow_close(&loaded);
    }
    return true;
}

static bool put_by_type(struct views *views, const struct types *types, uint32_t flow)
{
    const struct name *names = types->names[flow - types->first];
    if (!names[0].size)
        return true;
    uint32_t type = find_or_add(views, VIEW_TYPE, 0, name_bytes(&names[0]));
    return type && put(views, VIEW_SUBTYPE, type, name_bytes(&names[1]), flow);
}

/* So many flows have their types found at once: half a kilobyte each. */
#define TYPES_AT_ONCE 4096

static bool update_types(struct views *views, uint32_t count, struct flow_error *error)
{
    uint32_t *seen = &views->groupings[VIEW_TYPE].seen;
    struct types types = {views, 0, NULL};
    bool done = true;
    if (*seen == count)
        return true;
    types.names = malloc(sizeof *types.names * TYPES_AT_ONCE);
    if (!types.names)
        return flow_error_memory(error);
    while (done && *seen < count) {
        types.first = *seen;
        uint32_t size = count - *seen < TYPES_AT_ONCE ? count - *seen : TYPES_AT_ONCE;
        done = parallel_run(size, 64, find_types, &types, error);
        for (uint32_t i = 0; done && i < size; i++) {
            done = put_by_type(views, &types, *seen) || flow_error_memory(error);
            *seen += done;
        }
    }
    free(types.names);
    return done;
}

bool view_groups_update(struct views *views, enum view view, struct flow_error *error)
{
    uint32_t count = index_flow_count(collection_index(views->collection));
    uint32_t *seen = &views->groupings[view].seen;
    struct buffer key = BUFFER_INIT;
    bool done = true;
    if (view == VIEW_BY || view == VIEW_QUERY)
        return true;
    if (view == VIEW_TYPE || view == VIEW_SUBTYPE)
        return update_types(views, count, error);
    if (view == VIEW_CAPTURE)
        done = add_captures(views);
    for (; done && *seen < count; *seen += done)
        done = view == VIEW_CAPTURE ? put_by_capture(views, *seen)
                                    : put_by_key(views, view, *seen, &key);
    buffer_free(&key);
    return done || flow_error_memory(error);
}
