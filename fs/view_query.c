/* Groups that a filter expression makes. */
#include "parallel.h"
#include "views_inside.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* `/` cannot stand in a name. */
static void append_expression(struct bytes name, struct buffer *expression)
{
    for (size_t i = 0; i < name.size; i++) {
        bool slash = i + 2 < name.size && name.data[i] == '%' && name.data[i + 1] == '2' &&
                     (name.data[i + 2] == 'F' || name.data[i + 2] == 'f');
        buffer_append_byte(expression, slash ? '/' : name.data[i]);
        i += slash ? 2 : 0;
    }
}

static struct filter *parse(struct bytes name, struct flow_error *error)
{
    struct buffer expression = BUFFER_INIT;
    struct filter *filter = NULL;
    append_expression(name, &expression);
    if (expression.failed)
        flow_error_memory(error);
    else
        filter = filter_parse(buffer_bytes(&expression), filter_case_of_environment(), error);
    buffer_free(&expression);
    return filter;
}

/* Programs ask several times for one name: a mistake is told once. */
static void note_mistake(struct views *views, struct bytes name, const struct flow_error *mistake)
{
    struct buffer line = BUFFER_INIT;
    pthread_mutex_lock(&views->lock);
    bool told = views->mistake && bytes_equal_text(name, views->mistake);
    if (!told) {
        free(views->mistake);
        views->mistake = strndup((const char *)name.data, name.size);
    }
    pthread_mutex_unlock(&views->lock);
    if (told)
        return;
    buffer_append_text(&line, "@query/");
    buffer_append_bytes(&line, name);
    if (mistake->offset != FLOW_ERROR_NO_OFFSET)
        buffer_printf(&line, ": at byte %" PRIu64, mistake->offset);
    buffer_printf(&line, ": %s", mistake->message);
    buffer_append_byte(&line, '\0');
    if (!line.failed)
        views->note(views->context, (const char *)line.data);
    buffer_free(&line);
}

/* The listing of `@query` has changed. */
static void touch(struct views *views)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    atomic_store(&views->queried, (int64_t)now.tv_sec * 1000000000 + now.tv_nsec);
}

static struct view_group *group_at(const struct views *views, uint32_t group)
{
    return views->groupings[VIEW_QUERY].groups[group - 1];
}

/* What the query found can be found again. With the lock. */
static void drop_results(struct views *views, struct view_group *group)
{
    if (pthread_mutex_trylock(&group->lock) != 0)
        return;
    view_links_drop(views, group);
    filter_free(group->filter);
    free(group->flows);
    group->filter = NULL;
    group->flows = NULL;
    group->count = group->capacity = group->seen = 0;
    pthread_mutex_unlock(&group->lock);
}

/* Its place among the recent ones; VIEWS_RECENT_QUERIES if it is none. With the lock. */
static size_t place_of(const struct views *views, uint32_t group)
{
    size_t place = 0;
    while (place < VIEWS_RECENT_QUERIES && views->recent[place] != group)
        place++;
    return place;
}

/* The query becomes the latest; the last of those that are listed may give way. With the lock. */
static void use(struct views *views, uint32_t group)
{
    if (group_at(views, group)->kept)
        return;
    size_t place = place_of(views, group);
    bool listed = place < VIEWS_RECENT_QUERIES;
    uint32_t gone = listed ? 0 : views->recent[VIEWS_RECENT_QUERIES - 1];
    place = listed ? place : VIEWS_RECENT_QUERIES - 1;
    memmove(views->recent + 1, views->recent, place * sizeof *views->recent);
    views->recent[0] = group;
    if (!listed)
        touch(views);
    if (gone)
        drop_results(views, group_at(views, gone));
}

/* The query is among the recent ones no more. With the lock. */
static void unuse(struct views *views, uint32_t group)
{
    size_t place = place_of(views, group);
    if (place == VIEWS_RECENT_QUERIES)
        return;
    memmove(views->recent + place, views->recent + place + 1,
            (VIEWS_RECENT_QUERIES - 1 - place) * sizeof *views->recent);
    views->recent[VIEWS_RECENT_QUERIES - 1] = 0;
}

/* rg, git and desktops look for `.ignore`, `.git` and the like in every directory. */
static bool is_hidden(struct bytes name)
{
    return name.size == 0 || name.data[0] == '.' || name.size > NAME_LONGEST;
}

uint32_t view_query_find(struct views *views, struct bytes name, struct flow_error *error)
{
    struct filter *filter = NULL;
    bool hidden = is_hidden(name);
    pthread_mutex_lock(&views->lock);
    uint32_t found = hidden ? 0 : view_groups_find(views, VIEW_QUERY, 0, name);
    if (found)
        use(views, found);
    pthread_mutex_unlock(&views->lock);
    if (found)
        return found;
    struct flow_error mistake = {0};
    if (!hidden)
        filter = parse(name, &mistake);
    if (!filter) {
        if (mistake.code == ENOMEM)
            return flow_error_memory(error);
        if (!hidden)
            note_mistake(views, name, &mistake);
        flow_error_set(error, ENOENT, FLOW_ERROR_NO_OFFSET, "no such query");
        return 0;
    }
    pthread_mutex_lock(&views->lock);
    found = view_groups_find(views, VIEW_QUERY, 0, name);
    if (!found && (found = view_groups_add(views, VIEW_QUERY, 0, name)) > 0) {
        views->groupings[VIEW_QUERY].groups[found - 1]->filter = filter;
        filter = NULL;
    }
    if (found)
        use(views, found);
    pthread_mutex_unlock(&views->lock);
    filter_free(filter);
    return found ? found : (uint32_t)flow_error_memory(error);
}

/* *saved: it was saved before. 0 if there is no memory. */
static uint32_t save(struct views *views, struct bytes name, bool *saved)
{
    pthread_mutex_lock(&views->lock);
    uint32_t found = view_groups_find(views, VIEW_QUERY, 0, name);
    if (!found)
        found = view_groups_add(views, VIEW_QUERY, 0, name);
    if (found) {
        *saved = group_at(views, found)->kept;
        group_at(views, found)->kept = true;
        unuse(views, found);
        touch(views);
    }
    pthread_mutex_unlock(&views->lock);
    return found;
}

bool views_keep_query(struct views *views, struct bytes expression, struct flow_error *error)
{
    struct buffer name = BUFFER_INIT;
    bool done = false;
    bool saved;
    for (size_t i = 0; i < expression.size; i++)
        if (expression.data[i] == '/')
            buffer_append_text(&name, "%2F");
        else
            buffer_append_byte(&name, expression.data[i]);
    struct filter *filter = filter_parse(expression, filter_case_of_environment(), error);
    if (filter && name.size > NAME_LONGEST)
        flow_error_set(error, ENAMETOOLONG, FLOW_ERROR_NO_OFFSET,
                       "found %zu bytes, expected at most %d, `/` counting three", name.size,
                       NAME_LONGEST);
    else if (filter)
        done =
            (!name.failed && save(views, buffer_bytes(&name), &saved)) || flow_error_memory(error);
    filter_free(filter);
    buffer_free(&name);
    return done;
}

bool views_save_query(struct views *views, struct bytes name, uint32_t *group,
                      struct flow_error *error)
{
    bool saved = false;
    struct filter *filter = NULL;
    if (is_hidden(name))
        flow_error_set(error, EINVAL, FLOW_ERROR_NO_OFFSET,
                       "found a name that begins with a point, expected a filter expression");
    else
        filter = parse(name, error);
    if (!filter) {
        if (error->code != ENOMEM)
            note_mistake(views, name, error);
        return false;
    }
    filter_free(filter);
    *group = save(views, name, &saved);
    if (!*group)
        return flow_error_memory(error);
    if (saved)
        flow_error_set(error, EEXIST, FLOW_ERROR_NO_OFFSET, "the query is saved already");
    return !saved;
}

bool views_forget_query(struct views *views, struct bytes name, struct flow_error *error)
{
    pthread_mutex_lock(&views->lock);
    uint32_t found = view_groups_find(views, VIEW_QUERY, 0, name);
    if (found) {
        struct view_group *group = group_at(views, found);
        unuse(views, found);
        group->kept = false;
        group->forgotten = true;
        drop_results(views, group);
        touch(views);
    }
    pthread_mutex_unlock(&views->lock);
    if (!found)
        flow_error_set(error, ENOENT, FLOW_ERROR_NO_OFFSET, "no such query");
    return found;
}

enum views_query_state views_query_state(struct views *views, struct bytes name)
{
    enum views_query_state state = VIEWS_QUERY_NONE;
    pthread_mutex_lock(&views->lock);
    uint32_t found = view_groups_find(views, VIEW_QUERY, 0, name);
    if (found && group_at(views, found)->kept)
        state = VIEWS_QUERY_SAVED;
    else if (found && place_of(views, found) < VIEWS_RECENT_QUERIES)
        state = VIEWS_QUERY_RECENT;
    pthread_mutex_unlock(&views->lock);
    return state;
}

/* A matching under way. */
struct matching {
    struct views *views;
    const struct view_group *group;
    struct filter_matcher *matchers[PARALLEL_MOST];
    uint8_t *verdicts; /* enum filter_verdict of each flow that is new */
};

static struct filter_facts facts_of(const struct index *index, const struct index_flow *flow)
{
    struct bytes method = index_string(index, flow->method);
    bool knows_method = flow->type != FLOW_HTTP || method.size;
    return (struct filter_facts){
        .known = FILTER_KNOWS_TYPE | FILTER_KNOWS_FILES | FILTER_KNOWS_STATUS |
                 (knows_method ? FILTER_KNOWS_METHOD : 0u),
        .type = (enum flow_type)flow->type,
        .is_websocket = flow->is_websocket,
        .files = flow->files,
        .status_code = flow->status,
        .method = method,
    };
}

static void note_failure(const struct matching *matching, uint32_t flow,
                         const struct flow_error *problem)
{
    struct name name;
    struct buffer line = BUFFER_INIT;
    const struct index *index = collection_index(matching->views->collection);
    index_flow_name(index, flow, &name);
    buffer_printf(&line, "@query/%s: flow %s left out: %s%s%s", matching->group->name, name.text,
                  problem->key_path, problem->key_path[0] ? ": " : "", problem->message);
    buffer_append_byte(&line, '\0');
    if (!line.failed)
        matching->views->note(matching->views->context, (const char *)line.data);
    buffer_free(&line);
}

static bool match_one(const struct matching *matching, unsigned worker, uint32_t flow,
                      uint8_t *verdict, struct flow_error *error)
{
    bool matches = false;
    struct flow_error problem = {0};
    struct flowdir directory = {0};
    bool done = collection_load(matching->views->collection, flow, &directory, &problem) &&
                filter_match(matching->matchers[worker], &directory, &matches, &problem);
    flowdir_close(&directory);
    *verdict = matches ? FILTER_YES : FILTER_NO;
    if (done)
        return true;
    if (problem.code == ENOMEM)
        return flow_error_memory(error);
    note_failure(matching, flow, &problem);
    return true;
}

static bool match_some(void *context, unsigned worker, size_t from, size_t to,
                       struct flow_error *error)
{
    struct matching *matching = context;
    const struct index *index = collection_index(matching->views->collection);
    for (size_t i = from; i < to; i++) {
        uint32_t flow = matching->group->seen + (uint32_t)i;
        struct filter_facts facts = facts_of(index, index_flow(index, flow));
        enum filter_verdict verdict = filter_match_facts(matching->matchers[worker], &facts);
        matching->verdicts[i] = (uint8_t)verdict;
        if (verdict == FILTER_UNKNOWN &&
            !match_one(matching, worker, flow, &matching->verdicts[i], error))
            return false;
    }
    return true;
}

static bool keep(struct views *views, struct view_group *group, const uint8_t *verdicts,
                 uint32_t count)
{
    bool done = true;
    pthread_mutex_lock(&views->lock);
    uint32_t before = group->count;
    for (uint32_t i = 0; i < count && done; i++)
        done = verdicts[i] != FILTER_YES || view_group_put(group, group->seen + i);
    if (done)
        group->seen += count;
    else
        group->count = before;
    pthread_mutex_unlock(&views->lock);
    return done;
}

bool view_query_update(struct views *views, struct view_group *group, struct flow_error *error)
{
    struct matching matching = {.views = views, .group = group};
    uint32_t all = index_flow_count(collection_index(views->collection));
    uint32_t count = all - group->seen;
    unsigned workers = parallel_workers();
    if (count == 0)
        return true;
    if (!group->filter)
        group->filter = parse(bytes_of(group->name), error);
    matching.verdicts = malloc(count);
    bool done = group->filter && (matching.verdicts || flow_error_memory(error));
    for (unsigned i = 0; i < workers && done; i++) {
        matching.matchers[i] = filter_matcher_new(group->filter, error);
        done = matching.matchers[i] != NULL;
    }
    done = done && parallel_run(count, 256, match_some, &matching, error) &&
           (keep(views, group, matching.verdicts, count) || flow_error_memory(error));
    for (unsigned i = 0; i < workers; i++)
        filter_matcher_free(matching.matchers[i]);
    free(matching.verdicts);
    return done;
}
