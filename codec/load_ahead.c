#include "load_ahead.h"

#include "parallel_order.h"

#include <stdlib.h>

/* A thread takes so many flows at once, as long as their records are not longer than this together.
 */
#define PIECE_FLOWS 8
#define PIECE_BYTES ((uint64_t)256 << 10)

/* Pieces that are held at once, for each worker: few, so that their memory is used again while it
 * is in the processor's cache. */
#define PIECES_A_WORKER 3
#define MOST_PIECES (PIECES_A_WORKER * PARALLEL_MOST)

struct loaded {
    struct flowdir directory;
    size_t made; /* where what was made of it ends in the piece's text */
    struct flow_error error;
};

struct piece {
    struct loaded flows[PIECE_FLOWS];
    struct buffer text; /* what was made of its flows, one behind the other */
};

struct load_ahead {
    const struct selection *selection;
    load_ahead_make *make;
    const void *context;
    struct parallel_order *order;
    size_t *starts; /* the first flow of each piece, and behind the last */
    size_t count;   /* of pieces */
    size_t current; /* the piece that is lent, counted from 1 */
    size_t held;    /* pieces at once */
    struct piece pieces[MOST_PIECES];
};

/* Shares the flows out. */
static bool make_pieces(struct load_ahead *ahead)
{
    size_t flows = selection_count(ahead->selection);
    uint64_t size = 0;
    ahead->starts = malloc((flows + 1) * sizeof *ahead->starts);
    if (!ahead->starts)
        return false;
    for (size_t i = 0; i < flows; i++) {
        size += selection_flow(ahead->selection, i)->extent.size;
        if (i == 0 || i - ahead->starts[ahead->count - 1] == PIECE_FLOWS || size > PIECE_BYTES) {
            ahead->starts[ahead->count++] = i;
            size = selection_flow(ahead->selection, i)->extent.size;
        }
    }
    ahead->starts[ahead->count] = flows;
    return true;
}

static struct piece *piece_at(struct load_ahead *ahead, size_t number)
{
    return &ahead->pieces[number % ahead->held];
}

static void forget(struct piece *piece)
{
    for (size_t i = 0; i < PIECE_FLOWS; i++)
        flowdir_close(&piece->flows[i].directory);
}

static void make_from(const struct load_ahead *ahead, struct piece *piece, struct loaded *loaded)
{
    size_t before = piece->text.size;
    if (!ahead->make(ahead->context, &loaded->directory, &piece->text, &loaded->error))
        piece->text.size = before;
    flowdir_close(&loaded->directory);
}

static void load(void *context, unsigned worker, size_t number)
{
    struct load_ahead *ahead = context;
    struct piece *piece = piece_at(ahead, number);
    (void)worker;
    piece->text.size = 0;
    for (size_t i = ahead->starts[number]; i < ahead->starts[number + 1]; i++) {
        struct loaded *loaded = &piece->flows[i - ahead->starts[number]];
        loaded->error = (struct flow_error){0};
        if (selection_load(ahead->selection, i, &loaded->directory, &loaded->error) && ahead->make)
            make_from(ahead, piece, loaded);
        loaded->made = piece->text.size;
    }
}

struct load_ahead *load_ahead_open(const struct selection *selection, load_ahead_make *make,
                                   const void *context, struct flow_error *error)
{
    struct load_ahead *ahead = calloc(1, sizeof *ahead);
    if (!ahead) {
        flow_error_memory(error);
        return NULL;
    }
    ahead->selection = selection;
    ahead->make = make;
    ahead->context = context;
    ahead->held = PIECES_A_WORKER * (size_t)parallel_workers();
    if (!make_pieces(ahead)) {
        flow_error_memory(error);
        load_ahead_close(ahead);
        return NULL;
    }
    const struct parallel_order_task task = {ahead->count, ahead->held, load, ahead};
    ahead->order = parallel_order_open(&task, error);
    if (ahead->order)
        return ahead;
    load_ahead_close(ahead);
    return NULL;
}

bool load_ahead_get(struct load_ahead *ahead, size_t number, struct load_ahead_flow *flow,
                    struct flow_error *error)
{
    if (number == ahead->starts[ahead->current]) {
        if (ahead->current)
            forget(piece_at(ahead, ahead->current - 1));
        parallel_order_take(ahead->order, ahead->current++);
    }
    struct piece *piece = piece_at(ahead, ahead->current - 1);
    size_t i = number - ahead->starts[ahead->current - 1];
    struct loaded *loaded = &piece->flows[i];
    size_t start = i ? loaded[-1].made : 0;
    struct bytes made = {0};
    if (loaded->made > start) /* else there may be no text at all */
        made = bytes_make(piece->text.data + start, loaded->made - start);
    *flow = (struct load_ahead_flow){ahead->make ? NULL : &loaded->directory, made};
    if (loaded->error.code)
        *error = loaded->error;
    return !loaded->error.code;
}

void load_ahead_close(struct load_ahead *ahead)
{
    if (!ahead)
        return;
    parallel_order_close(ahead->order);
    for (size_t i = 0; i < ahead->held; i++) {
        forget(&ahead->pieces[i]);
        buffer_free(&ahead->pieces[i].text);
    }
    free(ahead->starts);
    free(ahead);
}
