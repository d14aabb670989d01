/* The flows of a large capture, looked at by all processors at once and added by one, in order. */
#ifndef FLOWFS_FS_COLLECTION_PARTS_H
#define FLOWFS_FS_COLLECTION_PARTS_H

#include "capture.h"
#include "filter.h"
#include "index.h"

/* A flow that was seen, and not refused. */
struct collection_seen {
    struct index_facts facts;
    struct capture_extent extent;
    int64_t version; /* as the record has it */
    enum filter_verdict verdict;
    uint32_t skipped; /* flows that were refused, since the one before */
};

struct collection_parts {
    struct capture *capture;
    bool newer; /* flows of a version newer than known may be added as others are */
    /* What the filter says of a flow; NULL: it lets all in. worker: as in parallel.h; called by
     * several threads at once. FILTER_UNKNOWN: `add` is to find out. */
    enum filter_verdict (*judge)(void *context, unsigned worker, const struct capture_item *item);
    /* Adds a flow, in the order of the capture and in the caller's thread. */
    bool (*add)(void *context, const struct collection_seen *seen, struct flow_error *error);
    /* The flows that were refused behind the last one that was added. */
    void (*skip)(void *context, uint32_t skipped);
    void *context;
};

/* As parallel_scan_run. */
bool collection_parts_scan(const struct collection_parts *parts, uint64_t *position,
                           struct flow_error *error);

#endif
