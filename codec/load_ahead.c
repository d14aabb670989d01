#include "load_ahead.h"

#include "parallel.h"

#include <stdlib.h>

/* Flows that are held at once, as long as their records are not longer than this together. */
#define FLOWS 128
#define BYTES ((uint64_t)4 << 20)

/* Flows that a thread takes at once. */
#define PIECE 8

struct load_ahead {
    const struct selection *selection;
    size_t first, count; /* the flows that are held */
    struct loaded {
        struct flowdir directory;
        struct flow_error error;
    } flows[FLOWS];
};

struct load_ahead *load_ahead_open(const struct selection *selection, struct flow_error *error)
{
    struct load_ahead *ahead = calloc(1, sizeof *ahead);
    if (!ahead) {
        flow_error_memory(error);
        return NULL;
    }
    ahead->selection = selection;
    return ahead;
}

static bool load_some(void *context, unsigned worker, size_t from, size_t to,
                      struct flow_error *error)
{
    struct load_ahead *ahead = context;
    (void)worker;
    (void)error;
    for (size_t i = from; i < to; i++) {
        struct loaded *loaded = &ahead->flows[i];
        loaded->error = (struct flow_error){0};
        loaded->directory = (struct flowdir){0};
        selection_load(ahead->selection, ahead->first + i, &loaded->directory, &loaded->error);
    }
    return true;
}

static void forget(struct load_ahead *ahead)
{
    for (size_t i = 0; i < ahead->count; i++)
        flowdir_close(&ahead->flows[i].directory);
    ahead->count = 0;
}

static void load(struct load_ahead *ahead, size_t first)
{
    size_t left = selection_count(ahead->selection) - first;
    uint64_t size = 0;
    forget(ahead);
    ahead->first = first;
    for (; ahead->count < left && ahead->count < FLOWS; ahead->count++) {
        size += selection_flow(ahead->selection, first + ahead->count)->extent.size;
        if (ahead->count && size > BYTES)
            break;
    }
    /* The task never fails: each flow keeps its own error. */
    parallel_run(ahead->count, PIECE, load_some, ahead, NULL);
}

struct flowdir *load_ahead_get(struct load_ahead *ahead, size_t number, struct flow_error *error)
{
    if (number >= ahead->first + ahead->count)
        load(ahead, number);
    struct loaded *loaded = &ahead->flows[number - ahead->first];
    if (!loaded->error.code)
        return &loaded->directory;
    *error = loaded->error;
    return NULL;
}

void load_ahead_close(struct load_ahead *ahead)
{
    if (!ahead)
        return;
    forget(ahead);
    free(ahead);
}
