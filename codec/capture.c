#include "capture.h"

#include "har_ahead.h"
#include "har_read.h"
#include "migrate.h"
#include "record_scan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/* A handshake and its WebSocket flow lie close together in real files. */
#define HANDSHAKES_KEPT 1024

struct capture {
    struct source *source;
    enum capture_format format;
};

/* An HTTP flow of an old version that a WebSocket flow behind it may belong to. */
struct handshake {
    uint64_t id_hash;
    struct capture_extent extent;
};

struct capture_scan {
    struct capture *capture;
    struct record_scan records;
    struct flow_glance_memory memory;
    struct har_ahead *entries;
    struct capture_flow current; /* of a flow that had to be read in full */
    struct handshake handshakes[HANDSHAKES_KEPT];
    size_t handshake_count;
};

static bool find_format(struct capture *capture, struct flow_error *error)
{
    uint8_t start[4096];
    size_t size;
    if (!source_read(capture->source, 0, start, sizeof start, &size, error))
        return false;
    size_t at = size >= 3 && memcmp(start, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    while (at < size && strchr(" \t\r\n", start[at]))
        at++;
    capture->format = at < size && start[at] == '{' ? CAPTURE_HAR : CAPTURE_FLOW_FILE;
    return true;
}

/* The source is taken over; NULL: opening it has failed. */
static struct capture *open_source(struct source *source, struct flow_error *error)
{
    struct capture *capture = source ? calloc(1, sizeof *capture) : NULL;
    if (!capture) {
        if (source)
            flow_error_memory(error);
        source_close(source);
        return NULL;
    }
    capture->source = source;
    if (find_format(capture, error))
        return capture;
    capture_close(capture);
    return NULL;
}

struct capture *capture_open(const char *path, struct flow_error *error)
{
    return open_source(source_open(path, error), error);
}

struct capture *capture_open_memory(struct bytes content, struct flow_error *error)
{
    return open_source(source_open_memory(content, error), error);
}

enum capture_format capture_format(const struct capture *capture)
{
    return capture->format;
}

struct source *capture_source(const struct capture *capture)
{
    return capture->source;
}

void capture_close(struct capture *capture)
{
    if (!capture)
        return;
    source_close(capture->source);
    free(capture);
}

static bool load_record(const struct capture *capture, struct capture_extent extent,
                        struct record *record, struct arena *arena, struct value **state,
                        struct flow_error *error)
{
    if (!record_open(record, capture->source, extent.offset, (size_t)extent.size, error))
        return false;
    *state = record_read(record, arena, error);
    return *state != NULL;
}

static bool load_state(const struct capture *capture, struct capture_extent extent,
                       struct capture_extent handshake, struct capture_flow *loaded,
                       struct value **state, struct flow_error *error)
{
    if (capture->format == CAPTURE_HAR) {
        if (!record_open(&loaded->record, capture->source, extent.offset, (size_t)extent.size,
                         error) ||
            !record_need(&loaded->record, 0, loaded->record.text.size, error))
            return false;
        *state = har_read_entry(loaded->record.text, extent.offset, loaded->arena, error);
        return *state != NULL;
    }
    struct value *handshake_state = NULL;
    if (!load_record(capture, extent, &loaded->record, loaded->arena, state, error))
        return false;
    if (handshake.size && !load_record(capture, handshake, &loaded->handshake, loaded->arena,
                                       &handshake_state, error))
        return false;
    *state = migrate(*state, handshake_state, loaded->arena, error);
    return *state != NULL;
}

bool capture_load(const struct capture *capture, struct capture_extent extent,
                  struct capture_extent handshake, struct capture_flow *loaded,
                  struct flow_error *error)
{
    struct value *state;
    *loaded = (struct capture_flow){.arena = arena_new()};
    if (!loaded->arena)
        return flow_error_memory(error);
    if (load_state(capture, extent, handshake, loaded, &state, error) &&
        flow_view(&loaded->flow, state, loaded->arena, error))
        return true;
    capture_flow_close(loaded);
    return false;
}

void capture_flow_close(struct capture_flow *loaded)
{
    record_close(&loaded->record);
    record_close(&loaded->handshake);
    arena_free(loaded->arena);
    *loaded = (struct capture_flow){0};
}

struct capture_scan *capture_scan_open(struct capture *capture, uint64_t offset,
                                       struct flow_error *error)
{
    struct capture_scan *scan = calloc(1, sizeof *scan);
    if (!scan) {
        flow_error_memory(error);
        return NULL;
    }
    scan->capture = capture;
    bool opened;
    if (capture->format == CAPTURE_HAR) {
        scan->entries = har_ahead_open(capture, error);
        opened = scan->entries != NULL;
    } else {
        opened = record_scan_init(&scan->records, capture->source, offset, error);
    }
    if (opened)
        return scan;
    capture_scan_close(scan);
    return NULL;
}

void capture_scan_close(struct capture_scan *scan)
{
    if (!scan)
        return;
    record_scan_close(&scan->records);
    har_ahead_close(scan->entries);
    capture_flow_close(&scan->current);
    free(scan);
}

static uint64_t id_hash(const struct value *id)
{
    return bytes_hash(value_string(id), 0);
}

/* Takes the handshake out, as mitmproxy does: a second flow that names it finds none. */
static struct capture_extent take_handshake(struct capture_scan *scan, const struct value *id)
{
    size_t kept = scan->handshake_count < HANDSHAKES_KEPT ? scan->handshake_count : HANDSHAKES_KEPT;
    for (size_t i = 0; id && i < kept; i++)
        if (scan->handshakes[i].id_hash == id_hash(id)) {
            struct capture_extent extent = scan->handshakes[i].extent;
            scan->handshakes[i] = (struct handshake){0};
            return extent;
        }
    return (struct capture_extent){0};
}

static void keep_handshake(struct capture_scan *scan, const struct value *state,
                           struct capture_extent extent)
{
    if (migrate_is_handshake(state))
        scan->handshakes[scan->handshake_count++ % HANDSHAKES_KEPT] =
            (struct handshake){id_hash(value_get(state, "id")), extent};
}

/* An old version's flow may be half of a WebSocket flow: this finds its other half. */
static bool pair_handshake(struct capture_scan *scan, struct record *record,
                           struct capture_item *item, struct flow_error *error)
{
    struct arena *arena = arena_new();
    if (!arena)
        return flow_error_memory(error);
    const struct value *state = record_read(record, arena, error);
    if (state) {
        item->handshake = take_handshake(scan, migrate_handshake_id(state));
        keep_handshake(scan, state, item->extent);
    }
    arena_free(arena);
    return state != NULL;
}

/* Reads the flow in full where a glance was not enough. */
static bool read_unusual(struct capture_scan *scan, struct record *record,
                         struct capture_item *item, struct flow_error *error)
{
    capture_flow_close(&scan->current);
    if (!pair_handshake(scan, record, item, error))
        return false;
    if (!capture_load(scan->capture, item->extent, item->handshake, &scan->current, error))
        return false;
    flow_glance_of_flow(&scan->current.flow, &item->glance);
    return true;
}

static bool glance_at(struct capture_scan *scan, struct capture_item *item,
                      struct flow_error *error)
{
    struct record *record = &scan->records.record;
    switch (flow_glance(record, &scan->memory, &item->glance, error)) {
    case FLOW_GLANCE_DONE:
        item->version = item->glance.version;
        item->plain = true;
        return true;
    case FLOW_GLANCE_UNUSUAL:
        item->version = item->glance.version;
        item->plain = item->glance.version >= FLOW_GLANCE_OLDEST_VERSION;
        return read_unusual(scan, record, item, error);
    case FLOW_GLANCE_BROKEN:
        break;
    }
    return false;
}

static bool accept_flow(void *context, struct record *record)
{
    struct capture_scan *scan = context;
    struct capture_item item = {.extent = {record->offset, record->text.size}};
    struct flow_error error = {0};
    switch (flow_glance(record, &scan->memory, &item.glance, &error)) {
    case FLOW_GLANCE_DONE:
        return true;
    case FLOW_GLANCE_UNUSUAL:
        capture_flow_close(&scan->current);
        return capture_load(scan->capture, item.extent, item.handshake, &scan->current, &error);
    case FLOW_GLANCE_BROKEN:
        break;
    }
    return false;
}

void capture_scan_move(struct capture_scan *scan, uint64_t offset, uint64_t end)
{
    scan->records.position = offset;
    scan->records.far = end;
}

bool capture_scan_find(struct capture_scan *scan, uint64_t limit, uint64_t *offset)
{
    struct flow_error ignored = {0};
    struct record_scan *records = &scan->records;
    bool found = record_scan_resync(records, records->position, limit, accept_flow, scan, &ignored);
    *offset = records->position;
    return found;
}

/* Whether what stands behind a broken record is the start of another, or the end. */
static bool next_is_sound(struct capture_scan *scan, uint64_t position)
{
    struct flow_error ignored = {0};
    uint64_t size;
    scan->records.position = position;
    enum record_scan_result result = record_scan_look(&scan->records, &size, &ignored);
    return result == RECORD_SCAN_RECORD || result == RECORD_SCAN_END;
}

/* Turns what is broken at the scan's position into a gap that ends where the next flow starts. A
 * file that ends inside a flow may still grow, unless flows follow. */
static bool skip_gap(struct capture_scan *scan, struct capture_item *item, uint64_t size,
                     bool partial, struct flow_error *error)
{
    struct record_scan *records = &scan->records;
    uint64_t start = records->position;
    uint64_t end = source_size(scan->capture->source);
    item->kind = CAPTURE_GAP;
    if (size && next_is_sound(scan, start + size)) {
        item->extent = (struct capture_extent){start, size};
        return true;
    }
    records->position = start;
    if (record_scan_resync(records, start + 1, UINT64_MAX, accept_flow, scan, error)) {
        item->extent = (struct capture_extent){start, records->position - start};
        return true;
    }
    item->extent = (struct capture_extent){start, end - start};
    if (partial)
        item->kind = CAPTURE_PARTIAL;
    else
        records->position = end;
    return error->code == 0;
}

static bool next_record(struct capture_scan *scan, struct capture_item *item,
                        struct flow_error *error)
{
    uint64_t size = 0;
    struct record_scan *records = &scan->records;
    switch (record_scan_look(records, &size, &item->error)) {
    case RECORD_SCAN_RECORD:
        item->kind = CAPTURE_FLOW;
        item->extent = (struct capture_extent){records->position, size};
        if (!glance_at(scan, item, &item->error)) {
            if (item->error.code == ENOMEM || item->error.code == EIO)
                break;
            return skip_gap(scan, item, size, false, error);
        }
        records->position += size;
        return true;
    case RECORD_SCAN_BROKEN:
        return skip_gap(scan, item, 0, false, error);
    case RECORD_SCAN_PARTIAL:
        return skip_gap(scan, item, 0, true, error);
    case RECORD_SCAN_END:
        item->kind = CAPTURE_END;
        item->extent = (struct capture_extent){records->position, 0};
        return true;
    case RECORD_SCAN_FAILED:
        break;
    }
    *error = item->error;
    return false;
}

bool capture_scan_next(struct capture_scan *scan, struct capture_item *item,
                       struct flow_error *error)
{
    *item = (struct capture_item){0};
    return scan->capture->format == CAPTURE_HAR ? har_ahead_next(scan->entries, item, error)
                                                : next_record(scan, item, error);
}
