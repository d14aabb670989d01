#include "selection.h"

#include "capture_folder.h"
#include "migrate.h"
#include "parallel_scan.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* Flows that a thread takes at once: enough to be no bother, few enough to end together. */
#define PIECE 64

struct entry {
    struct selection_flow flow;
    uint32_t order; /* in which it was added */
    enum filter_verdict verdict;
};

/* Flows that the filter does not refuse by what is seen in passing. */
struct entries {
    struct entry *items;
    size_t count, capacity;
};

struct selection {
    struct selection_options options;
    struct filter_matcher *matchers[PARALLEL_MOST]; /* of the workers, if there is a filter */
    struct selection_capture *captures;
    uint32_t capture_count, capture_capacity;
    struct entries flows;
};

struct selection *selection_open(const struct selection_options *options, struct flow_error *error)
{
    struct selection *selection = calloc(1, sizeof *selection);
    if (!selection) {
        flow_error_memory(error);
        return NULL;
    }
    selection->options = *options;
    bool done = true;
    for (unsigned i = 0; options->filter && done && i < parallel_workers(); i++) {
        selection->matchers[i] = filter_matcher_new(options->filter, error);
        done = selection->matchers[i] != NULL;
    }
    if (done)
        return selection;
    selection_close(selection);
    return NULL;
}

void selection_close(struct selection *selection)
{
    if (!selection)
        return;
    for (uint32_t i = 0; i < selection->capture_count; i++) {
        capture_close(selection->captures[i].capture);
        free(selection->captures[i].name);
    }
    for (unsigned i = 0; i < PARALLEL_MOST; i++)
        filter_matcher_free(selection->matchers[i]);
    free(selection->captures);
    free(selection->flows.items);
    free(selection);
}

static void report(const struct selection *selection, const char *capture,
                   const struct flow_error *problem, struct capture_extent gap)
{
    if (selection->options.report)
        selection->options.report(selection->options.context, capture, problem, gap);
}

static const struct capture_extent no_gap;

/* Makes room for `more` entries. */
static bool grow_entries(struct entries *entries, size_t more, struct flow_error *error)
{
    size_t capacity = entries->capacity ? entries->capacity : 1024;
    if (more <= entries->capacity - entries->count)
        return true;
    while (capacity - entries->count < more)
        capacity *= 2;
    struct entry *items = reallocarray(entries->items, capacity, sizeof *items);
    if (!items)
        return flow_error_memory(error);
    entries->items = items;
    entries->capacity = capacity;
    return true;
}

/* Once a capture: there may be many. */
static void tell_newer(const struct selection *selection, struct selection_capture *capture,
                       const struct capture_item *item)
{
    struct flow_error newer = {0};
    flow_error_set(&newer, ENOTSUP, item->extent.offset,
                   "format version %" PRId64 " is newer than %d, the newest known: read as %d",
                   item->glance.version, MIGRATE_VERSION_NEWEST, MIGRATE_VERSION_NEWEST);
    report(selection, capture->name, &newer, no_gap);
    capture->told_newer = true;
}

/* Adds a flow, the `number`th of its capture, unless the filter refuses it. */
static bool add_entry(struct entries *entries, struct filter_matcher *matcher, uint32_t capture,
                      uint64_t number, const struct capture_item *item, struct flow_error *error)
{
    enum filter_verdict verdict = FILTER_YES;
    double start = item->glance.timestamp_start;
    if (matcher) {
        struct filter_facts facts = filter_facts_of_glance(&item->glance);
        verdict = filter_match_facts(matcher, &facts);
    }
    if (verdict == FILTER_NO)
        return true;
    if (entries->count == UINT32_MAX || number > UINT32_MAX) {
        flow_error_set(error, EOVERFLOW, item->extent.offset, "more than %u flows", UINT32_MAX);
        return false;
    }
    if (!grow_entries(entries, 1, error))
        return false;
    entries->items[entries->count] = (struct entry){
        /* What is no number would have no place in an order. */
        .flow = {item->extent, item->handshake, isnan(start) ? 0 : start, capture,
                 (uint32_t)number},
        .order = (uint32_t)entries->count,
        .verdict = verdict,
    };
    entries->count++;
    return true;
}

static bool add_flow(struct selection *selection, uint32_t number, const struct capture_item *item,
                     struct flow_error *error)
{
    struct selection_capture *capture = &selection->captures[number];
    capture->flows++;
    if (item->glance.version > MIGRATE_VERSION_NEWEST && !capture->told_newer)
        tell_newer(selection, capture, item);
    return add_entry(&selection->flows, selection->matchers[0], number, capture->flows, item,
                     error);
}

/* A large capture, whose parts are looked at at once. */
struct scanning {
    struct selection *selection;
    uint32_t number;
    struct seen {
        struct entries entries; /* numbered from the part's first flow */
        uint64_t flows;
    } parts[PARALLEL_SCAN_SLOTS];
};

static bool see_flow(void *context, unsigned worker, unsigned slot, const struct capture_item *item)
{
    struct flow_error ignored = {0}; /* met again by the scan that looks at the part instead */
    struct scanning *scanning = context;
    struct seen *seen = &scanning->parts[slot];
    seen->flows++;
    return (item->glance.version <= MIGRATE_VERSION_NEWEST ||
            scanning->selection->captures[scanning->number].told_newer) &&
           add_entry(&seen->entries, scanning->selection->matchers[worker], scanning->number,
                     seen->flows, item, &ignored);
}

static bool take_part(void *context, unsigned slot, uint64_t end, struct flow_error *error)
{
    struct scanning *scanning = context;
    struct selection *selection = scanning->selection;
    struct selection_capture *capture = &selection->captures[scanning->number];
    struct entries *flows = &selection->flows;
    const struct seen *seen = &scanning->parts[slot];
    if (flows->count + seen->entries.count > UINT32_MAX ||
        capture->flows + seen->flows > UINT32_MAX) {
        flow_error_set(error, EOVERFLOW, end, "more than %u flows", UINT32_MAX);
        return false;
    }
    if (!grow_entries(flows, seen->entries.count, error))
        return false;
    for (size_t i = 0; i < seen->entries.count; i++) {
        struct entry *entry = &flows->items[flows->count];
        *entry = seen->entries.items[i];
        entry->flow.number += (uint32_t)capture->flows;
        entry->order = (uint32_t)flows->count++;
    }
    capture->flows += seen->flows;
    if (selection->options.progress)
        selection->options.progress(selection->options.context, end,
                                    source_size(capture_source(capture->capture)));
    return true;
}

static void drop_part(void *context, unsigned slot)
{
    struct scanning *scanning = context;
    scanning->parts[slot].entries.count = 0;
    scanning->parts[slot].flows = 0;
}

/* Adds the flows from *position on, and moves it behind them. */
static bool scan_parts(struct selection *selection, uint32_t number, uint64_t *position,
                       struct flow_error *error)
{
    struct scanning *scanning = calloc(1, sizeof *scanning);
    const struct parallel_scan parallel = {see_flow, take_part, drop_part, scanning};
    if (!scanning)
        return flow_error_memory(error);
    scanning->selection = selection;
    scanning->number = number;
    bool done = parallel_scan_run(&parallel, selection->captures[number].capture, position, error);
    for (size_t i = 0; i < PARALLEL_SCAN_SLOTS; i++)
        free(scanning->parts[i].entries.items);
    free(scanning);
    return done;
}

/* Adds the flows that stand where the scan is, one after the other, up to behind what keeps them
 * from being looked at in parts: a gap, or the first flow of a newer version. True in *done: there
 * are no more. */
static bool scan_to_gap(struct selection *selection, uint32_t number, struct capture_scan *scan,
                        uint64_t *position, bool *done, struct flow_error *error)
{
    struct capture_item item = {0};
    struct selection_capture *capture = &selection->captures[number];
    uint64_t all = source_size(capture_source(capture->capture));
    for (unsigned i = 0; capture_scan_next(scan, &item, error); i++) {
        *done = item.kind == CAPTURE_END || item.kind == CAPTURE_PARTIAL;
        *position = item.extent.offset + item.extent.size;
        if (item.kind == CAPTURE_GAP || item.kind == CAPTURE_PARTIAL) {
            capture->gaps++;
            report(selection, capture->name, &item.error, item.extent);
        }
        if (item.kind != CAPTURE_FLOW)
            return true;
        bool told = capture->told_newer;
        if (!add_flow(selection, number, &item, error))
            return false;
        if (capture->told_newer != told)
            return true;
        if (i % 256 == 0 && selection->options.progress)
            selection->options.progress(selection->options.context, item.extent.offset, all);
    }
    return false;
}

static bool scan(struct selection *selection, uint32_t number, struct flow_error *error)
{
    uint64_t position = 0;
    bool all = false;
    bool done = true;
    struct capture_scan *scan =
        capture_scan_open(selection->captures[number].capture, position, error);
    if (!scan)
        return false;
    for (unsigned gaps = 0; done && !all; gaps++) {
        if (gaps <= PARALLEL_SCAN_GAPS) {
            done = scan_parts(selection, number, &position, error);
            capture_scan_move(scan, position, UINT64_MAX);
        }
        done = done && scan_to_gap(selection, number, scan, &position, &all, error);
    }
    capture_scan_close(scan);
    return done;
}

static bool grow_captures(struct selection *selection, struct flow_error *error)
{
    if (selection->capture_count < selection->capture_capacity)
        return true;
    uint32_t capacity = selection->capture_capacity ? selection->capture_capacity * 2 : 8;
    struct selection_capture *captures =
        reallocarray(selection->captures, capacity, sizeof *captures);
    if (!captures)
        return flow_error_memory(error);
    selection->captures = captures;
    selection->capture_capacity = capacity;
    return true;
}

static bool add_file(void *context, const char *path, const char *name, struct flow_error *error)
{
    struct selection *selection = context;
    if (!grow_captures(selection, error))
        return false;
    struct selection_capture *capture = &selection->captures[selection->capture_count];
    *capture = (struct selection_capture){.name = strdup(name)};
    if (!capture->name)
        return flow_error_memory(error);
    capture->capture = capture_open(path, error);
    if (!capture->capture) {
        free(capture->name);
        return false;
    }
    uint32_t number = selection->capture_count++;
    const struct flow_error *damage = source_damage(capture_source(capture->capture));
    if (damage->code) {
        capture->gaps++;
        report(selection, capture->name, damage, no_gap);
    }
    return scan(selection, number, error);
}

bool selection_add(struct selection *selection, const char *path, struct flow_error *error)
{
    uint32_t before = selection->capture_count;
    if (capture_folder_is(path)) {
        if (!capture_folder_walk(path, add_file, selection, error))
            return false;
        if (selection->capture_count > before)
            return true;
        flow_error_set(error, ENOENT, FLOW_ERROR_NO_OFFSET, "there is no capture in this folder");
        return false;
    }
    const char *slash = strrchr(path, '/');
    if (!add_file(selection, path, slash && slash[1] ? slash + 1 : path, error))
        return false;
    const struct selection_capture *capture = &selection->captures[before];
    if (capture->flows || source_size(capture_source(capture->capture)) == 0)
        return true;
    flow_error_set(error, EBADMSG, 0,
                   "no flow was found in it: it is neither a mitmproxy flow file nor HAR");
    return false;
}

bool selection_add_descriptor(struct selection *selection, int descriptor, const char *name,
                              struct flow_error *error)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    return add_file(selection, path, name, error);
}

/* A matching under way. */
struct matching {
    struct selection *selection;
    pthread_mutex_t lock; /* of what follows, and of reports */
    uint64_t done, all, failed;
};

static bool load(const struct selection *selection, const struct selection_flow *flow,
                 struct flowdir *directory, struct flow_error *error)
{
    const struct selection_capture *capture = &selection->captures[flow->capture];
    struct capture_flow loaded;
    return capture_load(capture->capture, flow->extent, flow->handshake, &loaded, error) &&
           flowdir_open(directory, &loaded, capture->capture, capture->name, flow->number,
                        selection->options.decode_limit, error);
}

static bool match_one(struct matching *matching, unsigned worker, struct entry *entry,
                      struct flow_error *error)
{
    struct flow_error problem = {0};
    struct flowdir directory = {0};
    bool matches = false;
    bool done = load(matching->selection, &entry->flow, &directory, &problem) &&
                filter_match(matching->selection->matchers[worker], &directory, &matches, &problem);
    flowdir_close(&directory);
    entry->verdict = done && matches ? FILTER_YES : FILTER_NO;
    if (done)
        return true;
    if (problem.code == ENOMEM)
        return flow_error_memory(error);
    pthread_mutex_lock(&matching->lock);
    matching->failed++;
    report(matching->selection, matching->selection->captures[entry->flow.capture].name, &problem,
           entry->flow.extent);
    pthread_mutex_unlock(&matching->lock);
    return true;
}

static bool match_some(void *context, unsigned worker, size_t from, size_t to,
                       struct flow_error *error)
{
    struct matching *matching = context;
    const struct selection_options *options = &matching->selection->options;
    uint64_t size = 0;
    for (size_t i = from; i < to; i++) {
        struct entry *entry = &matching->selection->flows.items[i];
        size += entry->flow.extent.size;
        if (entry->verdict == FILTER_UNKNOWN && !match_one(matching, worker, entry, error))
            return false;
    }
    if (options->progress) {
        pthread_mutex_lock(&matching->lock);
        matching->done += size;
        options->progress(options->context, matching->done, matching->all);
        pthread_mutex_unlock(&matching->lock);
    }
    return true;
}

static void drop_refused(struct selection *selection)
{
    size_t kept = 0;
    for (size_t i = 0; i < selection->flows.count; i++)
        if (selection->flows.items[i].verdict == FILTER_YES)
            selection->flows.items[kept++] = selection->flows.items[i];
    selection->flows.count = kept;
}

static bool is_open(const struct selection *selection, uint64_t *size)
{
    bool open = false;
    *size = 0;
    for (size_t i = 0; i < selection->flows.count; i++) {
        open |= selection->flows.items[i].verdict == FILTER_UNKNOWN;
        *size += selection->flows.items[i].flow.extent.size;
    }
    return open;
}

bool selection_match(struct selection *selection, uint64_t *failed, struct flow_error *error)
{
    struct matching matching = {.selection = selection, .lock = PTHREAD_MUTEX_INITIALIZER};
    *failed = 0;
    if (!is_open(selection, &matching.all))
        return true;
    bool done = parallel_run(selection->flows.count, PIECE, match_some, &matching, error);
    pthread_mutex_destroy(&matching.lock);
    *failed = matching.failed;
    if (done)
        drop_refused(selection);
    return done;
}

static int compare_starts(const void *a, const void *b)
{
    const struct entry *first = a;
    const struct entry *second = b;
    if (first->flow.start != second->flow.start)
        return first->flow.start < second->flow.start ? -1 : 1;
    return first->order < second->order ? -1 : 1;
}

void selection_sort(struct selection *selection)
{
    if (selection->flows.count)
        qsort(selection->flows.items, selection->flows.count, sizeof *selection->flows.items,
              compare_starts);
}

size_t selection_count(const struct selection *selection)
{
    return selection->flows.count;
}

const struct selection_flow *selection_flow(const struct selection *selection, size_t number)
{
    return &selection->flows.items[number].flow;
}

const struct selection_capture *selection_capture(const struct selection *selection,
                                                  uint32_t capture)
{
    return &selection->captures[capture];
}

uint64_t selection_gaps(const struct selection *selection)
{
    uint64_t gaps = 0;
    for (uint32_t i = 0; i < selection->capture_count; i++)
        gaps += selection->captures[i].gaps;
    return gaps;
}

bool selection_load(const struct selection *selection, size_t number, struct flowdir *directory,
                    struct flow_error *error)
{
    return load(selection, &selection->flows.items[number].flow, directory, error);
}

struct convert_flow selection_convert_flow(const struct selection *selection, size_t number)
{
    const struct selection_flow *flow = &selection->flows.items[number].flow;
    const struct selection_capture *capture = &selection->captures[flow->capture];
    return (struct convert_flow){capture->capture, flow->extent, flow->handshake,
                                 capture->name,    flow->number, selection->options.decode_limit};
}
