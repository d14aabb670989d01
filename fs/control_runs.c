#include "control_runs.h"

#include <errno.h>
#include <stdlib.h>

/* Records that stand behind one another in the capture, too. */
struct run {
    uint64_t end;    /* in the flow file, in bytes */
    uint64_t offset; /* of its first byte in the capture */
    uint32_t capture;
};

struct control_runs {
    const struct collection *collection;
    struct run *items;
    size_t count, capacity;
};

static bool grow(struct control_runs *runs)
{
    if (runs->count < runs->capacity)
        return true;
    size_t capacity = runs->capacity ? runs->capacity * 2 : 16;
    struct run *items = reallocarray(runs->items, capacity, sizeof *items);
    if (!items)
        return false;
    runs->items = items;
    runs->capacity = capacity;
    return true;
}

static uint64_t start_of(const struct control_runs *runs, size_t number)
{
    return number ? runs->items[number - 1].end : 0;
}

static bool append(struct control_runs *runs, const struct index_flow *flow)
{
    struct run *last = runs->count ? &runs->items[runs->count - 1] : NULL;
    if (last && last->capture == flow->capture &&
        last->offset + (last->end - start_of(runs, runs->count - 1)) == flow->offset) {
        last->end += flow->size;
        return true;
    }
    if (!grow(runs))
        return false;
    uint64_t end = start_of(runs, runs->count) + flow->size;
    runs->items[runs->count++] = (struct run){end, flow->offset, flow->capture};
    return true;
}

struct control_runs *control_runs_open(const struct collection *collection, const uint32_t *flows,
                                       uint32_t count, int64_t version, struct flow_error *error)
{
    const struct index *index = collection_index(collection);
    for (uint32_t i = 0; i < count; i++)
        if (index_flow(index, flows[i])->version != version)
            return NULL;
    struct control_runs *runs = calloc(1, sizeof *runs);
    bool done = runs != NULL;
    if (runs)
        runs->collection = collection;
    for (uint32_t i = 0; i < count && done; i++)
        done = append(runs, index_flow(index, flows[i]));
    if (done)
        return runs;
    control_runs_close(runs);
    flow_error_memory(error);
    return NULL;
}

uint64_t control_runs_size(const struct control_runs *runs)
{
    return start_of(runs, runs->count);
}

/* The run that has the byte at `offset`. */
static size_t find(const struct control_runs *runs, uint64_t offset)
{
    size_t from = 0;
    size_t to = runs->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (runs->items[middle].end > offset)
            to = middle;
        else
            from = middle + 1;
    }
    return from;
}

static const struct source *source_of(const struct control_runs *runs, const struct run *run)
{
    return capture_source(collection_capture(runs->collection, run->capture)->capture);
}

static bool read_piece(const struct source *source, uint64_t offset, uint8_t *to, size_t size,
                       struct flow_error *error)
{
    size_t got;
    if (!source_read(source, offset, to, size, &got, error))
        return false;
    if (got < size)
        flow_error_set(error, EIO, offset + got,
                       "%s ends here, expected %zu bytes more: it was cut short",
                       source_path(source), size - got);
    return got == size;
}

bool control_runs_read(const struct control_runs *runs, uint64_t offset, size_t size, void *scratch,
                       struct cached_piece *piece, struct flow_error *error)
{
    size_t number = find(runs, offset);
    size_t done = 0;
    while (done < size) {
        const struct run *run = &runs->items[number];
        uint64_t left = run->end - offset;
        uint64_t at = run->offset + (offset - start_of(runs, number));
        size_t part = left < size - done ? (size_t)left : size - done;
        if (!read_piece(source_of(runs, run), at, (uint8_t *)scratch + done, part, error))
            return false;
        done += part;
        offset += part;
        number++;
    }
    *piece =
        (struct cached_piece){.bytes = bytes_make(scratch, size), .descriptor = -1, .size = size};
    return true;
}

void control_runs_close(struct control_runs *runs)
{
    if (!runs)
        return;
    free(runs->items);
    free(runs);
}
