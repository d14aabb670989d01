#include "collection.h"

#include "capture_folder.h"
#include "migrate.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct collection {
    struct index *index;
    struct collection_capture *captures;
    uint32_t count;
    uint32_t capacity;
    uint64_t decode_limit;
    collection_report *report;
    void *context;
    struct filter_matcher *matcher; /* NULL: all flows */
};

struct collection *collection_open(uint64_t decode_limit, collection_report *report, void *context,
                                   struct flow_error *error)
{
    struct collection *collection = calloc(1, sizeof *collection);
    if (!collection) {
        flow_error_memory(error);
        return NULL;
    }
    collection->decode_limit = decode_limit;
    collection->report = report;
    collection->context = context;
    collection->index = index_open(error);
    if (collection->index)
        return collection;
    collection_close(collection);
    return NULL;
}

void collection_close(struct collection *collection)
{
    if (!collection)
        return;
    for (uint32_t i = 0; i < collection->count; i++) {
        capture_close(collection->captures[i].capture);
        free(collection->captures[i].name);
    }
    free(collection->captures);
    filter_matcher_free(collection->matcher);
    index_close(collection->index);
    free(collection);
}

bool collection_set_filter(struct collection *collection, const struct filter *filter,
                           struct flow_error *error)
{
    collection->matcher = filter_matcher_new(filter, error);
    return collection->matcher != NULL;
}

const struct index *collection_index(const struct collection *collection)
{
    return collection->index;
}

uint32_t collection_capture_count(const struct collection *collection)
{
    return collection->count;
}

const struct collection_capture *collection_capture(const struct collection *collection,
                                                    uint32_t number)
{
    return &collection->captures[number];
}

static const struct capture_extent no_gap;

static void report(struct collection *collection, const struct collection_capture *capture,
                   const struct flow_error *problem, struct capture_extent gap)
{
    if (collection->report)
        collection->report(collection->context, capture->name, problem, gap);
}

static bool read_and_match(struct collection *collection, const struct collection_capture *capture,
                           const struct capture_item *item, bool *matches, struct flow_error *error)
{
    struct capture_flow loaded;
    struct flowdir directory;
    if (!capture_load(capture->capture, item->extent, item->handshake, &loaded, error) ||
        !flowdir_open(&directory, &loaded, capture->capture, capture->name, capture->flows,
                      collection->decode_limit, error))
        return false;
    bool done = filter_match(collection->matcher, &directory, matches, error);
    flowdir_close(&directory);
    return done;
}

/* Whether the filter lets the flow in. */
static bool is_wanted(struct collection *collection, const struct collection_capture *capture,
                      const struct capture_item *item)
{
    bool matches = false;
    struct flow_error problem = {0};
    if (!collection->matcher)
        return true;
    struct filter_facts facts = filter_facts_of_glance(&item->glance);
    enum filter_verdict verdict = filter_match_facts(collection->matcher, &facts);
    if (verdict != FILTER_UNKNOWN)
        return verdict == FILTER_YES;
    if (!read_and_match(collection, capture, item, &matches, &problem))
        report(collection, capture, &problem, item->extent);
    return matches;
}

/* The flow that holds the handshake of an old WebSocket flow. If the filter left it out, it is let
 * in after all: the other cannot be read without it. */
static bool find_handshake(struct collection *collection, uint32_t number,
                           const struct capture_item *item, uint32_t *handshake,
                           struct flow_error *error)
{
    struct capture_flow loaded;
    struct flow_glance glance = {0};
    const struct collection_capture *capture = &collection->captures[number];
    *handshake = item->handshake.size
                     ? index_find_offset(collection->index, number, item->handshake.offset)
                     : INDEX_NONE;
    if (!item->handshake.size || *handshake != INDEX_NONE || !collection->matcher)
        return true;
    if (!capture_load(capture->capture, item->handshake, (struct capture_extent){0, 0}, &loaded,
                      error))
        return false;
    struct index_place place = {number, capture->flows, item->handshake.offset,
                                item->handshake.size, INDEX_NONE};
    flow_glance_of_flow(&loaded.flow, &glance);
    *handshake = index_flow_count(collection->index);
    bool added = index_add(collection->index, &glance, &place, error);
    capture_flow_close(&loaded);
    return added;
}

static bool add_flow(struct collection *collection, struct collection_capture *capture,
                     const struct capture_item *item, struct flow_error *error)
{
    uint32_t number = (uint32_t)(capture - collection->captures);
    capture->flows++;
    if (!is_wanted(collection, capture, item))
        return true;
    struct index_place place = {
        .capture = number,
        .number = capture->flows,
        .offset = item->extent.offset,
        .size = item->extent.size,
        .handshake = INDEX_NONE,
    };
    if (!find_handshake(collection, number, item, &place.handshake, error))
        return false;
    if (item->glance.version > MIGRATE_VERSION_NEWEST) {
        struct flow_error newer = {0};
        flow_error_set(&newer, ENOTSUP, item->extent.offset,
                       "format version %" PRId64 " is newer than %d, the newest known: read as %d",
                       item->glance.version, MIGRATE_VERSION_NEWEST, MIGRATE_VERSION_NEWEST);
        report(collection, capture, &newer, no_gap);
    }
    return index_add(collection->index, &item->glance, &place, error);
}

/* Indexes what stands behind capture->position. first: a flow that is cut off is told of; later it
 * is only not yet written. */
static bool scan_capture(struct collection *collection, struct collection_capture *capture,
                         bool first, struct flow_error *error)
{
    capture->seen = source_size(capture_source(capture->capture));
    struct capture_item item = {0};
    struct capture_scan *scan = capture_scan_open(capture->capture, capture->position, error);
    bool done = scan != NULL;
    while (done && (done = capture_scan_next(scan, &item, error))) {
        if (item.kind == CAPTURE_END || item.kind == CAPTURE_PARTIAL)
            break;
        if (item.kind == CAPTURE_FLOW) {
            done = add_flow(collection, capture, &item, error);
        } else {
            capture->gaps++;
            report(collection, capture, &item.error, item.extent);
        }
    }
    if (done && item.kind == CAPTURE_PARTIAL && first)
        report(collection, capture, &item.error, no_gap);
    capture->position = item.extent.offset;
    capture_scan_close(scan);
    return done;
}

static bool grow(struct collection *collection, struct flow_error *error)
{
    if (collection->count < collection->capacity)
        return true;
    uint32_t capacity = collection->capacity ? collection->capacity * 2 : 8;
    struct collection_capture *captures =
        realloc(collection->captures, capacity * sizeof *captures);
    if (!captures)
        return flow_error_memory(error);
    collection->captures = captures;
    collection->capacity = capacity;
    return true;
}

static bool add_file(struct collection *collection, const char *path, const char *name,
                     struct flow_error *error)
{
    if (!grow(collection, error))
        return false;
    struct collection_capture *capture = &collection->captures[collection->count];
    *capture = (struct collection_capture){.name = strdup(name)};
    if (!capture->name)
        return flow_error_memory(error);
    capture->capture = capture_open(path, error);
    if (!capture->capture) {
        free(capture->name);
        return false;
    }
    collection->count++;
    const struct flow_error *damage = source_damage(capture_source(capture->capture));
    if (damage->code)
        report(collection, capture, damage, no_gap);
    return scan_capture(collection, capture, true, error);
}

static bool visit_file(void *context, const char *path, const char *name, struct flow_error *error)
{
    return add_file(context, path, name, error);
}

bool collection_add(struct collection *collection, const char *path, struct flow_error *error)
{
    uint32_t before = collection->count;
    if (!capture_folder_is(path)) {
        const char *slash = strrchr(path, '/');
        if (!add_file(collection, path, slash && slash[1] ? slash + 1 : path, error))
            return false;
        const struct collection_capture *capture = &collection->captures[before];
        if (capture->flows || source_size(capture_source(capture->capture)) == 0)
            return true;
        flow_error_set(error, EBADMSG, 0,
                       "no flow was found in it: it is neither a mitmproxy flow "
                       "file nor HAR");
        return false;
    }
    if (!capture_folder_walk(path, visit_file, collection, error))
        return false;
    if (collection->count > before)
        return true;
    flow_error_set(error, ENOENT, FLOW_ERROR_NO_OFFSET, "there is no capture in this folder");
    return false;
}

static void grow_capture(struct collection *collection, struct collection_capture *capture)
{
    struct flow_error error = {0};
    struct source *source = capture_source(capture->capture);
    if (capture->lost || capture_format(capture->capture) != CAPTURE_FLOW_FILE)
        return;
    bool done = source_refresh(source, &error);
    if (done && source_size(source) != capture->seen)
        done = scan_capture(collection, capture, false, &error);
    if (done)
        return;
    capture->lost = true;
    report(collection, capture, &error, no_gap);
}

void collection_grow(struct collection *collection)
{
    for (uint32_t i = 0; i < collection->count; i++)
        grow_capture(collection, &collection->captures[i]);
}

struct convert_flow collection_convert_flow(const struct collection *collection, uint32_t flow)
{
    const struct index_flow *record = index_flow(collection->index, flow);
    const struct collection_capture *capture = &collection->captures[record->capture];
    struct convert_flow found = {
        .capture = capture->capture,
        .extent = {record->offset, record->size},
        .capture_name = capture->name,
        .number = record->number,
        .decode_limit = collection->decode_limit,
    };
    if (record->handshake != INDEX_NONE) {
        const struct index_flow *other = index_flow(collection->index, record->handshake);
        found.handshake = (struct capture_extent){other->offset, other->size};
    }
    return found;
}

bool collection_load(const struct collection *collection, uint32_t flow, struct flowdir *directory,
                     struct flow_error *error)
{
    struct capture_flow loaded;
    struct convert_flow found = collection_convert_flow(collection, flow);
    return capture_load(found.capture, found.extent, found.handshake, &loaded, error) &&
           flowdir_open(directory, &loaded, found.capture, found.capture_name, found.number,
                        found.decode_limit, error);
}
