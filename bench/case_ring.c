/* How fast items go from one thread to another: through the broker's ring, beside a queue with a mutex and conditions, as one
 * would write it without one.
 *
 * Both have the same slots and items of the same length, about those of a job for the log thread. Who finds the ring full or
 * empty gives way; who finds the queue so waits on its condition. */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "base/ring.h"
#include "cases.h"
#include "link.h"
#include "proto/fanq_error.h"
#include "report.h"

enum { SLOTS = 1024, ITEMS = 1000000, ITEM_WORDS = 5 };

struct item {
    uint64_t words[ITEM_WORDS];
};

/* ---- the queue ---- */

struct locked_queue {
    pthread_mutex_t mutex;
    pthread_cond_t not_full, not_empty;
    struct item items[SLOTS];
    size_t head, count;
};

static void locked_push(struct locked_queue *q, const struct item *item)
{
    pthread_mutex_lock(&q->mutex);
    while (q->count == SLOTS)
        pthread_cond_wait(&q->not_full, &q->mutex);
    q->items[(q->head + q->count++) % SLOTS] = *item;
    pthread_cond_signal(&q->not_empty);
    pthread_mutex_unlock(&q->mutex);
}

static void locked_pop(struct locked_queue *q, struct item *ret_item)
{
    pthread_mutex_lock(&q->mutex);
    while (q->count == 0)
        pthread_cond_wait(&q->not_empty, &q->mutex);
    *ret_item = q->items[q->head++ % SLOTS];
    q->count--;
    pthread_cond_signal(&q->not_full);
    pthread_mutex_unlock(&q->mutex);
}

/* ---- a run ---- */

struct ring_case {
    struct ring *ring;
    struct locked_queue locked;
};

static void *push_all(void *context)
{
    struct ring_case *c = context;

    for (uint64_t i = 0; i < ITEMS; i++)
        while (!ring_push(c->ring, &(struct item){{i, ~i}}))
            sched_yield();
    return NULL;
}

static void *push_all_locked(void *context)
{
    struct ring_case *c = context;

    for (uint64_t i = 0; i < ITEMS; i++)
        locked_push(&c->locked, &(struct item){{i, ~i}});
    return NULL;
}

/* Pops the items that `push` pushes on a thread of its own. */
static int run(struct ring_case *c, void *(*push)(void *context), struct bench_error *error,
               double *ret_items_per_s)
{
    uint64_t begin_ns = clock_ns(), wrong = 0;
    struct item item;
    pthread_t pusher;

    if (pthread_create(&pusher, NULL, push, c) != 0)
        return bench_fail(error, FANQ_ERR_NOMEM, "cannot start a thread");
    for (uint64_t i = 0; i < ITEMS; i++) {
        if (push == push_all_locked)
            locked_pop(&c->locked, &item);
        else
            while (!ring_pop(c->ring, &item))
                sched_yield();
        wrong += item.words[0] != i || item.words[1] != ~i;
    }
    *ret_items_per_s = ITEMS * 1e9 / (double)(clock_ns() - begin_ns);
    (void)pthread_join(pusher, NULL); /* it has pushed its last item */
    return wrong == 0
               ? 0
               : bench_fail(error, FANQ_ERR_IO, "%llu items were lost or swapped", (unsigned long long)wrong);
}

/* Round 0 warms up and is overwritten. */
static int rounds(struct ring_case *c, const struct case_options *options, struct bench_error *error)
{
    double ring_per_s[ROUNDS_MAX], locked_per_s[ROUNDS_MAX], ratio[ROUNDS_MAX];
    uint32_t n = options->round_count;
    int err = 0;

    for (uint32_t round = 0; round <= n && err == 0; round++) {
        uint32_t i = round == 0 ? 0 : round - 1;

        report_progress("ring: round %u of %u", i + 1, n);
        err = run(c, push_all, error, &ring_per_s[i]);
        if (err == 0)
            err = run(c, push_all_locked, error, &locked_per_s[i]);
        if (err == 0)
            ratio[i] = ring_per_s[i] / locked_per_s[i];
    }
    if (err != 0)
        return err;

    const struct figure row[] = {
        {"case", "case", FIGURE_TEXT, .text = "ring"},
        {"bytes", "bytes", FIGURE_COUNT, .value = sizeof(struct item)},
        {"ring_per_s", "ring/s", FIGURE_RATE, .value = median(ring_per_s, n)},
        {"locked_per_s", "mutex/s", FIGURE_RATE, .value = median(locked_per_s, n)},
        {"ratio", "ratio", FIGURE_RATIO, .value = median(ratio, n)},
        {"rounds", NULL, FIGURE_COUNT, .value = n},
    };
    report_row(row, sizeof row / sizeof row[0]);
    return 0;
}

int case_ring(const struct case_options *options, struct bench_error *error)
{
    static struct ring_case c = {.locked = {.mutex = PTHREAD_MUTEX_INITIALIZER,
                                            .not_full = PTHREAD_COND_INITIALIZER,
                                            .not_empty = PTHREAD_COND_INITIALIZER}};
    int err;

    c.ring = ring_new(sizeof(struct item), SLOTS);
    if (c.ring == NULL)
        return bench_fail(error, FANQ_ERR_NOMEM, "no memory for a ring");
    err = rounds(&c, options, error);
    ring_free(c.ring);
    return err;
}
