#include "parallel_scan.h"

/* Large beside what is looked at twice, small enough that the processors end together. */
#define PART ((uint64_t)4 << 20)

/* Where no flow starts in so many bytes there is a long body; to step over it is faster than to
 * look through it. */
#define LOOK_AHEAD ((uint64_t)256 << 10)

/* Rounds in which some part was looked at for nothing. Where there are more, guessing does not pay.
 */
#define WASTED_ROUNDS 8

struct part {
    uint64_t start, end; /* of the flows that were seen */
    bool seen;
};

struct round {
    const struct parallel_scan *parallel;
    struct capture *capture;
    uint64_t start; /* where the first part's first flow is known to start */
    struct part parts[PARALLEL_SCAN_SLOTS];
    struct capture_scan *scans[PARALLEL_MOST]; /* of the workers, when they have begun */
};

/* Sees the flows from where the scan stands to behind `limit`. */
static bool see_flows(struct round *round, unsigned worker, unsigned slot,
                      struct capture_scan *scan, uint64_t limit)
{
    struct capture_item item = {0};
    struct flow_error ignored = {0}; /* met again by the scan that goes on there */
    struct part *part = &round->parts[slot];
    while (part->end < limit) {
        if (!capture_scan_next(scan, &item, &ignored))
            return false;
        if (item.kind == CAPTURE_END)
            return true;
        if (item.kind != CAPTURE_FLOW || !item.plain ||
            !round->parallel->see(round->parallel->context, worker, slot, &item))
            return false;
        part->end = item.extent.offset + item.extent.size;
    }
    return true;
}

static void see_part(struct round *round, unsigned worker, unsigned slot)
{
    struct flow_error ignored = {0};
    struct part *part = &round->parts[slot];
    uint64_t start = round->start + slot * PART;
    if (!round->scans[worker])
        round->scans[worker] = capture_scan_open(round->capture, 0, &ignored);
    struct capture_scan *scan = round->scans[worker];
    if (!scan)
        return;
    capture_scan_move(scan, start);
    if (slot == 0 || capture_scan_find(scan, start + LOOK_AHEAD, &start)) {
        part->start = part->end = start;
        part->seen = see_flows(round, worker, slot, scan, round->start + (slot + 1) * PART);
    }
}

static bool see_parts(void *context, unsigned worker, size_t from, size_t to,
                      struct flow_error *error)
{
    (void)error;
    for (size_t slot = from; slot < to; slot++)
        see_part(context, worker, (unsigned)slot);
    return true;
}

/* Takes the parts that follow one another without a seam; *taken counts them. */
static bool take_parts(struct round *round, size_t count, size_t *taken, struct flow_error *error)
{
    const struct parallel_scan *parallel = round->parallel;
    bool done = true;
    for (*taken = 0; done && *taken < count; ++*taken) {
        const struct part *part = &round->parts[*taken];
        if (!part->seen || part->start != round->start)
            break;
        done = parallel->take(parallel->context, (unsigned)*taken, part->end, error);
        round->start = part->end;
    }
    for (size_t slot = 0; slot < count; slot++)
        parallel->drop(parallel->context, (unsigned)slot);
    return done;
}

bool parallel_scan_run(const struct parallel_scan *parallel, struct capture *capture,
                       uint64_t *position, struct flow_error *error)
{
    uint64_t size = source_size(capture_source(capture));
    struct round round = {.parallel = parallel, .capture = capture};
    size_t slots = parallel_workers() > 1 ? parallel_workers() * 8 : 0;
    unsigned wasted = 0;
    bool done = true;
    *position = 0;
    if (capture_format(capture) != CAPTURE_FLOW_FILE)
        return true;
    while (done && slots && wasted < WASTED_ROUNDS && size - round.start > PART) {
        size_t left = (size_t)((size - round.start - 1) / PART + 1);
        size_t count = left < slots ? left : slots;
        size_t taken;
        memset(round.parts, 0, sizeof round.parts);
        /* The tasks never fail: what they do not see is left to others. */
        parallel_run(count, 1, see_parts, &round, NULL);
        done = take_parts(&round, count, &taken, error);
        *position = round.start;
        wasted += taken < count;
        if (taken == 0)
            break;
    }
    for (unsigned i = 0; i < PARALLEL_MOST; i++)
        capture_scan_close(round.scans[i]);
    return done;
}
