#include "set_record.h"

#include "flow.h"
#include "flowdir_pack.h"
#include "tnet.h"

#include <math.h>

/* What is no number would have no place in an order. */
static double start_of(const struct flow *flow)
{
    return isnan(flow->timestamp_start) ? 0 : flow->timestamp_start;
}

bool set_record_make(int directory, int64_t version, struct buffer *record, double *start,
                     downgrade_report *loss, void *context, struct flow_error *error)
{
    int64_t packed = 0;
    struct flow flow;
    struct value *state;
    struct arena *arena = arena_new();
    bool done = (arena || flow_error_memory(error)) &&
                flowdir_pack(directory, arena, &state, error) &&
                flow_view(&flow, state, arena, error);
    if (done)
        *start = start_of(&flow);
    if (done && !(value_to_int64(value_get(state, "version"), &packed) && packed == version))
        done = downgrade(state, version, arena, loss, context, error);
    done = done && tnet_write(state, record, error);
    arena_free(arena);
    return done;
}
