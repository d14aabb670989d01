#include "collection.h"

#include "capture_folder.h"
#include "collection_parts.h"
#include "migrate.h"
#include "parallel_scan.h"

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
    struct filter_matcher *matchers[PARALLEL_MOST]; /* of the workers; NULL: all flows */
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
    for (unsigned i = 0; i < PARALLEL_MOST; i++)
        filter_matcher_free(collection->matchers[i]);
    index_close(collection->index);
    free(collection);
}

bool collection_set_filter(struct collection *collection, const struct filter *filter,
                           struct flow_error *error)
{
    for (unsigned i = 0; i < parallel_workers(); i++) {
        collection->matchers[i] = filter_matcher_new(filter, error);
        if (!collection->matchers[i])
            return false;
    }
    return true;
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

static bool read_and_match(struct collection *collection, unsigned worker,
                           const struct collection_capture *capture, struct capture_extent extent,
                           struct capture_extent handshake, bool *matches, struct flow_error *error)
{
    struct capture_flow loaded;
    struct flowdir directory;
    if (!capture_load(capture->capture, extent, handshake, &loaded, error) ||
        !flowdir_open(&directory, &loaded, capture->capture, capture->name, capture->flows,
                      collection->decode_limit, error))
        return false;
    bool done = filter_match(collection->matchers[worker], &directory, matches, error);
    flowdir_close(&directory);
    return done;
}

/* Whether the filter lets in a flow of which a glance does not tell that. */
static bool is_wanted_when_read(struct collection *collection,
                                const struct collection_capture *capture,
                                struct capture_extent extent, struct capture_extent handshake)
{
    bool matches = false;
    struct flow_error problem = {0};
    if (!read_and_match(collection, 0, capture, extent, handshake, &matches, &problem))
        report(collection, capture, &problem, extent);
    return matches;
}

/* Whether the filter lets the flow in. */
static bool is_wanted(struct collection *collection, const struct collection_capture *capture,
                      const struct capture_item *item)
{
    if (!collection->matchers[0])
        return true;
    struct filter_facts facts = filter_facts_of_glance(&item->glance);
    enum filter_verdict verdict = filter_match_facts(collection->matchers[0], &facts);
    if (verdict != FILTER_UNKNOWN)
        return verdict == FILTER_YES;
    return is_wanted_when_read(collection, capture, item->extent, item->handshake);
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
    if (!item->handshake.size || *handshake != INDEX_NONE || !collection->matchers[0])
        return true;
    if (!capture_load(capture->capture, item->handshake, (struct capture_extent){0, 0}, &loaded,
                      error))
        return false;
    struct index_place place = {
        number, capture->flows, item->handshake.offset, item->handshake.size, INDEX_NONE, 0};
    flow_glance_of_flow(&loaded.flow, &glance);
    *handshake = index_flow_count(collection->index);
    bool added = index_add(collection->index, &glance, &place, error);
    capture_flow_close(&loaded);
    return added;
}

/* Once a capture: there may be many. */
static void tell_newer(struct collection *collection, struct collection_capture *capture,
                       const struct capture_item *item)
{
    struct flow_error newer = {0};
    if (item->glance.version <= MIGRATE_VERSION_NEWEST || capture->told_newer)
        return;
    flow_error_set(&newer, ENOTSUP, item->extent.offset,
                   "format version %" PRId64 " is newer than %d, the newest known: read as %d",
                   item->glance.version, MIGRATE_VERSION_NEWEST, MIGRATE_VERSION_NEWEST);
    report(collection, capture, &newer, no_gap);
    capture->told_newer = true;
}

static bool add_flow(struct collection *collection, struct collection_capture *capture,
                     const struct capture_item *item, struct flow_error *error)
{
    uint32_t number = (uint32_t)(capture - collection->captures);
    capture->flows++;
    tell_newer(collection, capture, item);
    if (!is_wanted(collection, capture, item))
        return true;
    struct index_place place = {
        .capture = number,
        .number = capture->flows,
        .offset = item->extent.offset,
        .size = item->extent.size,
        .handshake = INDEX_NONE,
        .version = item->version,
    };
    if (!find_handshake(collection, number, item, &place.handshake, error))
        return false;
    return index_add(collection->index, &item->glance, &place, error);
}

/* A scan of a large capture, in parts. */
struct adding {
    struct collection *collection;
    struct collection_capture *capture;
};

static enum filter_verdict judge(void *context, unsigned worker, const struct capture_item *item)
{
    const struct adding *adding = context;
    struct flow_error ignored = {0}; /* met again by add_seen, and told there */
    bool matches = false;
    struct filter_facts facts = filter_facts_of_glance(&item->glance);
    enum filter_verdict verdict = filter_match_facts(adding->collection->matchers[worker], &facts);
    if (verdict != FILTER_UNKNOWN)
        return verdict;
    if (!read_and_match(adding->collection, worker, adding->capture, item->extent, no_gap, &matches,
                        &ignored))
        return FILTER_UNKNOWN;
    return matches ? FILTER_YES : FILTER_NO;
}

static void skip_seen(void *context, uint32_t skipped)
{
    const struct adding *adding = context;
    adding->capture->flows += skipped;
}

static bool add_seen(void *context, const struct collection_seen *seen, struct flow_error *error)
{
    const struct adding *adding = context;
    struct collection_capture *capture = adding->capture;
    capture->flows += seen->skipped + 1;
    if (seen->verdict == FILTER_UNKNOWN &&
        !is_wanted_when_read(adding->collection, capture, seen->extent, no_gap))
        return true;
    struct index_place place = {
        .capture = (uint32_t)(capture - adding->collection->captures),
        .number = capture->flows,
        .offset = seen->extent.offset,
        .size = seen->extent.size,
        .handshake = INDEX_NONE,
        .version = seen->version,
    };
    return index_add_facts(adding->collection->index, &seen->facts, &place, error);
}

static bool scan_parts(struct collection *collection, struct collection_capture *capture,
                       struct flow_error *error)
{
    struct adding adding = {collection, capture};
    const struct collection_parts parts = {
        .capture = capture->capture,
        .newer = capture->told_newer,
        .judge = collection->matchers[0] ? judge : NULL,
        .add = add_seen,
        .skip = skip_seen,
        .context = &adding,
    };
    return collection_parts_scan(&parts, &capture->position, error);
}

/* Adds the flows from where the scan stands up to behind what keeps them from being looked at in
 * parts: a gap, or the first flow of a newer version; or the end: then *done. */
static bool scan_to_gap(struct collection *collection, struct collection_capture *capture,
                        struct capture_scan *scan, struct capture_item *item, bool *done,
                        struct flow_error *error)
{
    while (capture_scan_next(scan, item, error)) {
        *done = item->kind == CAPTURE_END || item->kind == CAPTURE_PARTIAL;
        capture->position = item->extent.offset;
        if (*done)
            return true;
        capture->position += item->extent.size;
        if (item->kind == CAPTURE_GAP) {
            capture->gaps++;
            report(collection, capture, &item->error, item->extent);
            return true;
        }
        bool told = capture->told_newer;
        if (!add_flow(collection, capture, item, error))
            return false;
        if (capture->told_newer != told)
            return true;
    }
    return false;
}

/* Indexes what stands behind capture->position. first: a flow that is cut off is told of; later it
 * is only not yet written. */
static bool scan_capture(struct collection *collection, struct collection_capture *capture,
                         bool first, struct flow_error *error)
{
    capture->seen = source_size(capture_source(capture->capture));
    struct capture_item item = {0};
    bool all = false;
    bool done = true;
    struct capture_scan *scan = capture_scan_open(capture->capture, capture->position, error);
    if (!scan)
        return false;
    for (unsigned gaps = 0; done && !all; gaps++) {
        if (gaps <= PARALLEL_SCAN_GAPS) {
            done = scan_parts(collection, capture, error);
            capture_scan_move(scan, capture->position, UINT64_MAX);
        }
        done = done && scan_to_gap(collection, capture, scan, &item, &all, error);
    }
    if (done && item.kind == CAPTURE_PARTIAL && first)
        report(collection, capture, &item.error, no_gap);
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
