#include "har_ahead.h"

#include "har_scan.h"
#include "parallel.h"

#include <errno.h>
#include <stdlib.h>

/* Entries that are held at once, as long as they are not longer than this together. */
#define ENTRIES 64
#define BYTES ((uint64_t)2 << 20)

struct entry {
    struct capture_item item;
    struct capture_flow flow;
};

struct har_ahead {
    const struct capture *capture;
    struct har_scanner *scanner;
    struct entry entries[ENTRIES];
    size_t count, next;
    struct flow_error failure; /* of the scanner, behind the entries */
};

struct har_ahead *har_ahead_open(const struct capture *capture, struct flow_error *error)
{
    struct har_ahead *ahead = calloc(1, sizeof *ahead);
    if (!ahead) {
        flow_error_memory(error);
        return NULL;
    }
    ahead->capture = capture;
    ahead->scanner = har_scan_open(capture_source(capture), HAR_SCAN_WINDOW, error);
    if (ahead->scanner)
        return ahead;
    har_ahead_close(ahead);
    return NULL;
}

static bool read_some(void *context, unsigned worker, size_t from, size_t to,
                      struct flow_error *error)
{
    struct har_ahead *ahead = context;
    const struct capture_extent none = {0, 0};
    (void)worker;
    (void)error; /* the task never fails: each entry keeps its own error */
    for (size_t i = from; i < to; i++) {
        struct entry *entry = &ahead->entries[i];
        if (entry->item.kind != CAPTURE_FLOW)
            continue;
        if (capture_load(ahead->capture, entry->item.extent, none, &entry->flow,
                         &entry->item.error))
            flow_glance_of_flow(&entry->flow.flow, &entry->item.glance);
        else
            entry->item.kind = CAPTURE_GAP;
    }
    return true;
}

static void forget(struct har_ahead *ahead)
{
    for (size_t i = 0; i < ahead->count; i++)
        capture_flow_close(&ahead->entries[i].flow);
    ahead->count = ahead->next = 0;
}

static void fill(struct har_ahead *ahead)
{
    uint64_t size = 0;
    struct har_item found;
    bool ended = false;
    forget(ahead);
    while (!ended && ahead->count < ENTRIES && size < BYTES &&
           har_scan_next(ahead->scanner, &found, &ahead->failure)) {
        ahead->entries[ahead->count++] =
            (struct entry){.item = {
                               .kind = found.kind == HAR_ITEM_ENTRY ? CAPTURE_FLOW
                                       : found.kind == HAR_ITEM_GAP ? CAPTURE_GAP
                                                                    : CAPTURE_END,
                               .extent = {found.offset, found.size},
                               .error = found.error,
                           }};
        size += found.size;
        ended = found.kind == HAR_ITEM_END;
    }
    parallel_run(ahead->count, 1, read_some, ahead, NULL);
}

bool har_ahead_next(struct har_ahead *ahead, struct capture_item *item, struct flow_error *error)
{
    if (ahead->next == ahead->count && !ahead->failure.code)
        fill(ahead);
    if (ahead->next == ahead->count) {
        *error = ahead->failure;
        ahead->failure = (struct flow_error){0};
        return false;
    }
    *item = ahead->entries[ahead->next++].item;
    if (item->error.code != ENOMEM && item->error.code != EIO)
        return true;
    *error = item->error;
    return false;
}

void har_ahead_close(struct har_ahead *ahead)
{
    if (!ahead)
        return;
    forget(ahead);
    har_scan_close(ahead->scanner);
    free(ahead);
}
