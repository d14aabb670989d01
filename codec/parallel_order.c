#include "parallel_order.h"

#include <pthread.h>
#include <stdlib.h>

struct worker {
    pthread_t thread;
    struct parallel_order *order;
    unsigned number;
};

struct parallel_order {
    struct parallel_order_task task;
    pthread_mutex_t lock;
    pthread_cond_t room;   /* some worker waits for pieces to be let go */
    pthread_cond_t worked; /* the thread that takes waits for its piece */
    size_t next;           /* piece that nobody has begun */
    size_t taken;          /* the pieces before it are let go */
    size_t *done;          /* a slot: the piece that was worked on there last, counted from 1 */
    size_t wanted;         /* piece that the thread that takes waits for, counted from 1 */
    unsigned waiting;      /* workers that do */
    bool stopped;
    unsigned started;
    struct worker workers[PARALLEL_MOST];
};

static bool may_begin(const struct parallel_order *order)
{
    return order->next < order->task.count && order->next - order->taken < order->task.ahead;
}

/* Works on the next piece; with the lock held, which is let go meanwhile. */
static void work_on_next(struct parallel_order *order, unsigned worker)
{
    size_t piece = order->next++;
    pthread_mutex_unlock(&order->lock);
    order->task.work(order->task.context, worker, piece);
    pthread_mutex_lock(&order->lock);
    order->done[piece % order->task.ahead] = piece + 1;
    if (order->wanted == piece + 1)
        pthread_cond_signal(&order->worked);
}

static void *work(void *context)
{
    const struct worker *worker = context;
    struct parallel_order *order = worker->order;
    pthread_mutex_lock(&order->lock);
    while (!order->stopped && order->next < order->task.count) {
        if (may_begin(order)) {
            work_on_next(order, worker->number);
            continue;
        }
        order->waiting++;
        pthread_cond_wait(&order->room, &order->lock);
        order->waiting--;
    }
    pthread_mutex_unlock(&order->lock);
    return NULL;
}

struct parallel_order *parallel_order_open(const struct parallel_order_task *task,
                                           struct flow_error *error)
{
    struct parallel_order *order = calloc(1, sizeof *order);
    if (order)
        order->done = calloc(task->ahead, sizeof *order->done);
    if (!order || !order->done) {
        free(order);
        flow_error_memory(error);
        return NULL;
    }
    order->task = *task;
    pthread_mutex_init(&order->lock, NULL);
    pthread_cond_init(&order->room, NULL);
    pthread_cond_init(&order->worked, NULL);
    /* One piece or two are done before a thread has begun. */
    for (unsigned i = 1; i < parallel_workers() && i < task->count; i++) {
        order->workers[i] = (struct worker){.order = order, .number = i};
        if (pthread_create(&order->workers[i].thread, NULL, work, &order->workers[i]) != 0)
            break;
        order->started = i;
    }
    return order;
}

void parallel_order_take(struct parallel_order *order, size_t piece)
{
    size_t ahead = order->task.ahead;
    pthread_mutex_lock(&order->lock);
    order->taken = piece;
    /* To be woken for each piece would cost more than the piece. */
    if (order->waiting && (order->next - order->taken) * 2 <= ahead)
        pthread_cond_broadcast(&order->room);
    while (order->done[piece % ahead] != piece + 1) {
        if (may_begin(order)) {
            work_on_next(order, 0);
            continue;
        }
        order->wanted = piece + 1;
        pthread_cond_wait(&order->worked, &order->lock);
        order->wanted = 0;
    }
    pthread_mutex_unlock(&order->lock);
}

void parallel_order_close(struct parallel_order *order)
{
    if (!order)
        return;
    pthread_mutex_lock(&order->lock);
    order->stopped = true;
    pthread_cond_broadcast(&order->room);
    pthread_mutex_unlock(&order->lock);
    for (unsigned i = 1; i <= order->started; i++)
        pthread_join(order->workers[i].thread, NULL);
    pthread_cond_destroy(&order->worked);
    pthread_cond_destroy(&order->room);
    pthread_mutex_destroy(&order->lock);
    free(order->done);
    free(order);
}
