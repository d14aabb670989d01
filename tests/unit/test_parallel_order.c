/* Pieces are worked on once, at most so many before the first of them is taken, and taken in order.
 */
#include "support.h"

#include "parallel_order.h"

#include <sched.h>
#include <stdatomic.h>

#define PIECES 3000u
#define AHEAD 5u

struct pieces {
    atomic_uint worked[PIECES];
    atomic_uint users[AHEAD]; /* of a slot: work that is under way, or not yet taken */
    atomic_uint busy[PARALLEL_MOST];
    atomic_uint wrong, next;
};

static void work(void *context, unsigned worker, size_t piece)
{
    struct pieces *pieces = context;
    atomic_fetch_add(&pieces->wrong, atomic_fetch_add(&pieces->users[piece % AHEAD], 1) != 0);
    atomic_fetch_add(&pieces->wrong, worker >= parallel_workers());
    atomic_fetch_add(&pieces->wrong, atomic_fetch_add(&pieces->busy[worker], 1) != 0);
    atomic_fetch_add(&pieces->wrong, piece >= atomic_load(&pieces->next) + AHEAD);
    for (unsigned i = 0; i < piece % 7; i++)
        sched_yield();
    atomic_fetch_add(&pieces->worked[piece], 1);
    atomic_fetch_sub(&pieces->busy[worker], 1);
}

/* Takes `taken` pieces of `count`, and leaves the others. */
static void run(size_t count, size_t taken)
{
    static struct pieces pieces;
    struct flow_error error = {0};
    memset(&pieces, 0, sizeof pieces);
    const struct parallel_order_task task = {count, AHEAD, work, &pieces};
    struct parallel_order *order = parallel_order_open(&task, &error);
    assert_non_null(order);
    for (size_t piece = 0; piece < taken; piece++) {
        atomic_store(&pieces.next, (unsigned)piece);
        if (piece)
            atomic_fetch_sub(&pieces.users[(piece - 1) % AHEAD], 1);
        parallel_order_take(order, piece);
        assert_int_equal(atomic_load(&pieces.worked[piece]), 1);
    }
    parallel_order_close(order);
    assert_int_equal(atomic_load(&pieces.wrong), 0);
    for (size_t piece = 0; piece < PIECES; piece++)
        assert_in_range(atomic_load(&pieces.worked[piece]), piece < taken,
                        piece < taken + AHEAD && piece < count);
}

static void test_in_order(void **state)
{
    (void)state;
    run(PIECES, PIECES);
    run(1, 1);
    run(2, 2);
    run(AHEAD, AHEAD);
}

static void test_left_in_between(void **state)
{
    (void)state;
    run(PIECES, 0);
    run(PIECES, 1);
    run(PIECES, 1000);
    run(0, 0);
    parallel_order_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_order),
        cmocka_unit_test(test_left_in_between),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
