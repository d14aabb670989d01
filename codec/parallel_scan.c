#include "parallel_scan.h"

#include "parallel_order.h"

/* Large beside what is looked at twice, small enough that the processors end together. */
#define PART ((uint64_t)2 << 20)

/* Where no flow starts in so many bytes there is a long body; to step over it is faster than to
 * look through it. */
#define LOOK_AHEAD ((uint64_t)256 << 10)

/* Parts that may be looked at for nothing, and one more for each so many that were not. Where there
 * are more, guessing does not pay. */
#define WASTED_PARTS 8
#define PARTS_A_WASTED 4

struct part {
    uint64_t start, end; /* of the flows that were seen */
    bool found, seen;    /* where a flow starts; all from there to the next part */
};

struct scanning {
    const struct parallel_scan *parallel;
    struct capture *capture;
    uint64_t start; /* of the first part, where a flow is known to start */
    size_t ahead;
    struct part parts[PARALLEL_SCAN_SLOTS];
    struct capture_scan *scans[PARALLEL_MOST]; /* of the workers, when they have begun */
};

static uint64_t start_of(const struct scanning *scanning, size_t number)
{
    return scanning->start + number * PART;
}

/* Sees the flows from `start`, where one is taken to start, to the end of the part. */
static void see_flows(struct scanning *scanning, unsigned worker, size_t number, uint64_t start)
{
    struct capture_item item = {0};
    struct flow_error ignored = {0}; /* met again by the scan that goes on there */
    unsigned slot = (unsigned)(number % scanning->ahead);
    struct part *part = &scanning->parts[slot];
    const struct parallel_scan *parallel = scanning->parallel;
    struct capture_scan *scan = scanning->scans[worker];
    uint64_t limit = start_of(scanning, number + 1);
    *part = (struct part){start, start, true, false};
    capture_scan_move(scan, start, limit);
    while (part->end < limit) {
        if (!capture_scan_next(scan, &item, &ignored))
            return;
        if (item.kind == CAPTURE_END)
            break;
        if (item.kind != CAPTURE_FLOW || !item.plain ||
            !parallel->see(parallel->context, worker, slot, &item))
            return;
        part->end = item.extent.offset + item.extent.size;
    }
    part->seen = true;
}

/* The worker's scan; NULL if there is no memory for it. */
static struct capture_scan *scan_of(struct scanning *scanning, unsigned worker)
{
    struct flow_error ignored = {0}; /* met again by the scan that goes on there */
    if (!scanning->scans[worker])
        scanning->scans[worker] = capture_scan_open(scanning->capture, 0, &ignored);
    return scanning->scans[worker];
}

static void see_part(void *context, unsigned worker, size_t number)
{
    struct scanning *scanning = context;
    uint64_t start = start_of(scanning, number);
    struct capture_scan *scan = scan_of(scanning, worker);
    scanning->parts[number % scanning->ahead] = (struct part){0};
    if (!scan)
        return;
    capture_scan_move(scan, start, start_of(scanning, number + 1));
    if (number == 0 || capture_scan_find(scan, start + LOOK_AHEAD, &start))
        see_flows(scanning, worker, number, start);
}

/* Has the part's flows seen from `position`, where one is known to start. False if that fails. */
static bool see_again(struct scanning *scanning, size_t number, uint64_t position)
{
    const struct part *part = &scanning->parts[number % scanning->ahead];
    bool guessed = !part->found || part->start != position;
    if (guessed && scan_of(scanning, 0)) {
        scanning->parallel->drop(scanning->parallel->context, (unsigned)(number % scanning->ahead));
        see_flows(scanning, 0, number, position);
    }
    return part->seen && part->start == position;
}

/* Takes the parts that follow one another without a seam. */
static bool take_parts(struct scanning *scanning, struct parallel_order *order, size_t count,
                       uint64_t *position, struct flow_error *error)
{
    const struct parallel_scan *parallel = scanning->parallel;
    size_t wasted = 0;
    bool done = true;
    for (size_t number = 0; done && number < count; number++) {
        unsigned slot = (unsigned)(number % scanning->ahead);
        const struct part *part = &scanning->parts[slot];
        parallel_order_take(order, number);
        /* A flow from before may reach over the whole part. */
        if (*position < start_of(scanning, number + 1)) {
            wasted += part->start != *position;
            if (wasted > WASTED_PARTS + number / PARTS_A_WASTED ||
                !see_again(scanning, number, *position))
                break;
            done = parallel->take(parallel->context, slot, part->end, error);
            *position = part->end;
        }
        parallel->drop(parallel->context, slot);
    }
    return done;
}

bool parallel_scan_run(const struct parallel_scan *parallel, struct capture *capture,
                       uint64_t *position, struct flow_error *error)
{
    uint64_t size = source_size(capture_source(capture));
    struct scanning scanning = {.parallel = parallel, .capture = capture, .start = *position};
    scanning.ahead = parallel_workers() * (size_t)8;
    if (capture_format(capture) != CAPTURE_FLOW_FILE || parallel_workers() == 1 ||
        size < *position || size - *position <= PART)
        return true;
    struct parallel_order_task task = {
        .count = (size_t)((size - *position - 1) / PART + 1),
        .ahead = scanning.ahead,
        .work = see_part,
        .context = &scanning,
    };
    struct parallel_order *order = parallel_order_open(&task, error);
    bool done = order && take_parts(&scanning, order, task.count, position, error);
    parallel_order_close(order);
    for (unsigned i = 0; i < PARALLEL_MOST; i++)
        capture_scan_close(scanning.scans[i]);
    for (unsigned slot = 0; slot < scanning.ahead; slot++)
        parallel->drop(parallel->context, slot);
    return done;
}
