#include "collection_parts.h"

#include "migrate.h"
#include "parallel_scan.h"

#include <stdlib.h>

/* A flow that the filter does not refuse. */
struct seen {
    struct collection_seen flow; /* without the strings, but their sizes */
    size_t text;                 /* where they stand in the part's text: id, method, site */
};

struct part {
    struct seen *flows;
    size_t count, capacity;
    uint32_t skipped; /* behind the last */
    struct buffer text;
};

struct scanning {
    const struct collection_parts *parts;
    struct part slots[PARALLEL_SCAN_SLOTS];
};

static bool grow(struct part *part)
{
    size_t capacity = part->capacity ? part->capacity * 2 : 256;
    if (part->count < part->capacity)
        return true;
    struct seen *flows = reallocarray(part->flows, capacity, sizeof *flows);
    if (!flows)
        return false;
    part->flows = flows;
    part->capacity = capacity;
    return true;
}

static bool see(void *context, unsigned worker, unsigned slot, const struct capture_item *item)
{
    struct scanning *scanning = context;
    const struct collection_parts *parts = scanning->parts;
    struct part *part = &scanning->slots[slot];
    size_t start = part->text.size;
    /* To be told of, by the scan that goes on here. */
    if (item->glance.version > MIGRATE_VERSION_NEWEST && !parts->newer)
        return false;
    enum filter_verdict verdict =
        parts->judge ? parts->judge(parts->context, worker, item) : FILTER_YES;
    if (verdict == FILTER_NO) {
        part->skipped++;
        return true;
    }
    buffer_reserve(&part->text, 1); /* so that there is a place, even for empty strings */
    buffer_append_bytes(&part->text, item->glance.id);
    buffer_append_bytes(&part->text, item->glance.target.method);
    struct index_facts facts = index_facts_of_glance(&item->glance, &part->text);
    if (part->text.failed || !grow(part))
        return false;
    part->flows[part->count++] =
        (struct seen){{facts, item->extent, item->version, verdict, part->skipped}, start};
    part->skipped = 0;
    return true;
}

static bool take(void *context, unsigned slot, uint64_t end, struct flow_error *error)
{
    const struct scanning *scanning = context;
    const struct collection_parts *parts = scanning->parts;
    const struct part *part = &scanning->slots[slot];
    (void)end;
    for (size_t i = 0; i < part->count; i++) {
        struct collection_seen seen = part->flows[i].flow;
        struct index_facts *facts = &seen.facts;
        facts->id.data = part->text.data + part->flows[i].text;
        facts->method.data = facts->id.data + facts->id.size;
        facts->site.data = facts->method.data + facts->method.size;
        if (!parts->add(parts->context, &seen, error))
            return false;
    }
    parts->skip(parts->context, part->skipped);
    return true;
}

static void drop(void *context, unsigned slot)
{
    struct scanning *scanning = context;
    struct part *part = &scanning->slots[slot];
    part->count = 0;
    part->skipped = 0;
    part->text.size = 0;
}

bool collection_parts_scan(const struct collection_parts *parts, uint64_t *position,
                           struct flow_error *error)
{
    struct scanning *scanning = calloc(1, sizeof *scanning);
    const struct parallel_scan parallel = {see, take, drop, scanning};
    if (!scanning)
        return flow_error_memory(error);
    scanning->parts = parts;
    bool done = parallel_scan_run(&parallel, parts->capture, position, error);
    for (size_t i = 0; i < PARALLEL_SCAN_SLOTS; i++) {
        free(scanning->slots[i].flows);
        buffer_free(&scanning->slots[i].text);
    }
    free(scanning);
    return done;
}
