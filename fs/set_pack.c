#include "set_pack.h"

#include "parallel.h"
#include "set_record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* What is packed at once stays in memory until it is written. */
#define BATCH_FLOWS 512
#define BATCH_WEIGHT ((uint64_t)32 << 20)

/* What packing one flow gave. */
struct result {
    uint32_t number; /* of the flow */
    bool left_out;   /* the version has no such flows */
    double start;
    struct buffer record;
    struct buffer losses; /* NUL-terminated lines */
    struct flow_error mistake;
};

struct run {
    const struct set_packing *packing;
    struct set_flows *flows;
    uint32_t *order;
    size_t from, to; /* in order: what the batch covers */
    struct result *results;
    size_t count; /* results of the batch */
    size_t mistakes;
    bool only; /* the batch has all that is to be packed */
    struct set_writer writer;
};

static void note_loss(void *context, const char *what)
{
    struct result *result = context;
    buffer_append(&result->losses, what, strlen(what) + 1);
}

/* What is neither the flow's own fault nor the machine's: somebody is at work in the set. */
static bool is_change(int code)
{
    return code == ENOENT || code == ENOTDIR || code == ESTALE || code == ELOOP || code == EAGAIN;
}

/* What is told as a mistake at its place, since another look gives the same again. */
static bool is_mistake(int code)
{
    return code == EBADMSG || code == EACCES || code == EPERM || code == EFBIG ||
           code == EOVERFLOW || code == ENAMETOOLONG;
}

static bool open_flow(const struct run *run, const struct set_flow *flow, int *directory,
                      struct flow_error *error)
{
    *directory = set_flow_open(run->packing->folder, flow);
    if (*directory >= 0)
        return true;
    flow_error_set(error, errno, FLOW_ERROR_NO_OFFSET, "the folder cannot be opened: %s",
                   strerror(errno));
    return false;
}

static bool pack_one(const struct run *run, struct result *result, struct flow_error *error)
{
    int directory;
    struct flow_error problem = {0};
    const struct set_flow *flow = &run->flows->items[result->number];
    bool done = open_flow(run, flow, &directory, &problem) &&
                set_record_make(directory, run->packing->version, &result->record, &result->start,
                                note_loss, result, &problem);
    if (directory >= 0)
        close(directory);
    if (result->losses.failed)
        return flow_error_memory(error);
    if (done)
        return true;
    buffer_free(&result->record);
    if (problem.code == ENOTSUP) {
        result->left_out = true;
        note_loss(result, problem.message);
        return !result->losses.failed || flow_error_memory(error);
    }
    if (is_mistake(problem.code)) {
        result->mistake = problem;
        return true;
    }
    flow_error_set(error, is_change(problem.code) ? ESTALE : problem.code, FLOW_ERROR_NO_OFFSET,
                   "%.120s%s%s", flow->path, *flow->path ? "/" : "", problem.message);
    return false;
}

static bool pack_some(void *context, unsigned worker, size_t from, size_t to,
                      struct flow_error *error)
{
    struct run *run = context;
    bool done = true;
    (void)worker;
    for (size_t i = from; done && i < to; i++)
        done = pack_one(run, &run->results[i], error);
    return done;
}

/* Finds the flows that are packed next: as many as memory may hold, in order. */
static void plan_batch(struct run *run)
{
    uint64_t weight = 0;
    run->count = 0;
    for (run->from = run->to; run->to < run->flows->count; run->to++) {
        uint32_t number = run->order[run->to];
        const struct set_flow *flow = &run->flows->items[number];
        if (flow->packed)
            continue;
        if (run->count == BATCH_FLOWS || (run->count && weight + flow->weight > BATCH_WEIGHT))
            break;
        weight += flow->weight;
        run->results[run->count++] = (struct result){.number = number};
    }
    run->only = run->from == 0 && run->to == run->flows->count;
}

static void free_batch(struct run *run)
{
    for (size_t i = 0; i < run->count; i++) {
        buffer_free(&run->results[i].record);
        buffer_free(&run->results[i].losses);
    }
    run->count = 0;
}

static void tell_losses(const struct run *run, struct set_flow *flow, const struct result *result)
{
    uint64_t losses = result->losses.size ? bytes_hash(buffer_bytes(&result->losses), 1) | 1 : 0;
    const char *line = (const char *)result->losses.data;
    if (run->packing->loss && losses != flow->losses)
        for (size_t at = 0; at < result->losses.size; at += strlen(line + at) + 1)
            run->packing->loss(run->packing->context, flow, line + at);
    flow->losses = losses;
}

static bool take_mistake(struct run *run, struct set_flow *flow, const struct result *result,
                         struct flow_error *error)
{
    struct bytes text = bytes_of(result->mistake.message);
    text = arena_copy(run->flows->arena, bytes_make(text.data, text.size + 1));
    flow->mistake = (const char *)text.data;
    flow->packed = true;
    run->mistakes++;
    return text.data || flow_error_memory(error);
}

static bool take_mistakes(struct run *run, struct flow_error *error)
{
    bool done = true;
    for (size_t i = 0; done && i < run->count; i++) {
        const struct result *result = &run->results[i];
        if (result->mistake.code)
            done = take_mistake(run, &run->flows->items[result->number], result, error);
    }
    return done;
}

/* Writes a record, unless the store has the same in its place. */
static bool write_new(struct run *run, struct set_flow *flow, struct result *result,
                      struct flow_error *error)
{
    bool same = false;
    struct bytes record = buffer_bytes(&result->record);
    uint64_t position = run->writer.position;
    if (run->packing->store >= 0 && record.size && record.size == flow->size &&
        !set_file_holds(run->packing->store, flow->offset, record, &same, error))
        return false;
    if (!(same ? set_writer_copy(&run->writer, flow->offset, flow->size, error)
               : set_writer_append(&run->writer, record, error)))
        return false;
    tell_losses(run, flow, result);
    flow->offset = position;
    flow->size = record.size;
    flow->start = result->start;
    flow->packed = true;
    buffer_free(&result->record);
    return true;
}

static bool write_old(struct run *run, struct set_flow *flow, struct flow_error *error)
{
    uint64_t position = run->writer.position;
    if (flow->size && !set_writer_copy(&run->writer, flow->offset, flow->size, error))
        return false;
    flow->offset = position;
    return true;
}

/* Flows with mistakes have no place in the file, and what was their record is not in it. */
static bool write_batch(struct run *run, struct flow_error *error)
{
    bool done = true;
    struct result *next = run->results;
    for (size_t i = run->from; done && i < run->to; i++) {
        struct set_flow *flow = &run->flows->items[run->order[i]];
        bool is_new = next < run->results + run->count && next->number == run->order[i];
        struct result *result = is_new ? next++ : NULL;
        if (flow->mistake)
            flow->size = 0;
        else if (result && result->left_out) {
            tell_losses(run, flow, result);
            flow->size = 0;
            flow->packed = true;
        } else
            done = result ? write_new(run, flow, result, error) : write_old(run, flow, error);
    }
    return done;
}

/* A few flows are packed before a thread has started. */
static bool pack_batch(struct run *run, struct flow_error *error)
{
    if (run->count < 4)
        return pack_some(run, 0, 0, run->count, error);
    return parallel_run(run->count, run->count < 64 ? 1 : 8, pack_some, run, error);
}

static bool pack_batches(struct run *run, struct flow_error *error)
{
    bool done = true;
    while (done && run->to < run->flows->count) {
        plan_batch(run);
        done = pack_batch(run, error) && take_mistakes(run, error);
        /* The usual mistake is one among many flows that are packed: no file is worth writing. */
        if (done && !(run->only && run->mistakes))
            done = write_batch(run, error);
        free_batch(run);
    }
    return done;
}

struct place {
    double start;
    uint32_t number;
};

static int compare_places(const void *a, const void *b)
{
    const struct place *first = a;
    const struct place *second = b;
    if (first->start != second->start)
        return first->start < second->start ? -1 : 1;
    return first->number < second->number ? -1 : first->number > second->number;
}

/* The flows' numbers by start time, as far as it is known; freed by the caller. */
static uint32_t *make_order(const struct set_flows *flows, struct flow_error *error)
{
    uint32_t *order = malloc((flows->count + 1) * sizeof *order);
    struct place *places = malloc((flows->count + 1) * sizeof *places);
    if (order && places) {
        for (uint32_t i = 0; i < flows->count; i++)
            places[i] = (struct place){flows->items[i].start, i};
        qsort(places, flows->count, sizeof *places, compare_places);
        for (uint32_t i = 0; i < flows->count; i++)
            order[i] = places[i].number;
    } else {
        flow_error_memory(error);
        free(order);
        order = NULL;
    }
    free(places);
    return order;
}

/* Writes the file again in the order that is known only now that all is packed. */
static bool put_in_order(struct run *run, struct set_file *file, struct flow_error *error)
{
    bool same = false, sorted = true;
    uint32_t *order = make_order(run->flows, error);
    if (!order)
        return false;
    for (size_t i = 0; sorted && i < run->flows->count; i++)
        sorted = order[i] == run->order[i];
    bool has_file = file->descriptor >= 0;
    struct set_writer writer = {.root = run->packing->root,
                                .store = has_file ? file->descriptor : run->packing->store,
                                .store_size = has_file ? file->size : run->packing->store_size,
                                .out = SET_FILE_NONE};
    bool done = true;
    for (size_t i = 0; !sorted && done && i < run->flows->count; i++) {
        struct set_flow *flow = &run->flows->items[order[i]];
        uint64_t position = writer.position;
        done = !flow->size || set_writer_copy(&writer, flow->offset, flow->size, error);
        flow->offset = position;
    }
    free(order);
    if (sorted)
        return true;
    done = done && set_writer_end(&writer, &same, error);
    if (done && !same) {
        set_file_drop(file, run->packing->root);
        *file = writer.out;
    } else {
        set_file_drop(&writer.out, run->packing->root);
    }
    return done;
}

static size_t count_mistakes(const struct set_flows *flows)
{
    size_t count = 0;
    for (size_t i = 0; i < flows->count; i++)
        count += flows->items[i].mistake != NULL;
    return count;
}

static bool write_all(struct run *run, struct set_packed *packed, struct flow_error *error)
{
    bool same = false;
    bool done = pack_batches(run, error);
    bool whole = done && !(run->only && run->mistakes);
    if (whole)
        done = set_writer_end(&run->writer, &same, error);
    packed->file = run->writer.out;
    if (done && whole)
        done = put_in_order(run, &packed->file, error);
    if (!done)
        set_file_drop(&packed->file, run->packing->root);
    return done;
}

bool set_pack(const struct set_packing *packing, struct set_flows *flows, struct set_packed *packed,
              struct flow_error *error)
{
    struct run run = {.packing = packing,
                      .flows = flows,
                      .mistakes = count_mistakes(flows),
                      .writer = {.root = packing->root,
                                 .store = packing->store,
                                 .store_size = packing->store_size,
                                 .out = SET_FILE_NONE}};
    *packed = (struct set_packed){.file = SET_FILE_NONE};
    if (flows->count > UINT32_MAX) {
        flow_error_set(error, EOVERFLOW, FLOW_ERROR_NO_OFFSET, "more than %u flows", UINT32_MAX);
        return false;
    }
    run.order = make_order(flows, error);
    run.results = malloc(BATCH_FLOWS * sizeof *run.results);
    bool done =
        run.order && (run.results || flow_error_memory(error)) && write_all(&run, packed, error);
    packed->mistakes = run.mistakes;
    free(run.results);
    free(run.order);
    return done;
}
