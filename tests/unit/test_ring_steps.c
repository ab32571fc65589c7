/* Every interleaving of some pushes and pops, step by step: a step is a load or a store of an index, or a copy of an item.
 *
 * The ring's own code runs, with its access to shared memory redirected to a model. A thread's next step is found by running
 * it again from its beginning, with what it loaded before given to it once more, until it asks for something new: so a state
 * of both threads is what they have loaded so far, plus the model's memory, and can be copied and tried further in two ways.
 *
 * The model knows what is ordered. A release takes along how far its thread had come, an acquire learns it. Two copies of one
 * slot by different threads must be ordered so, or they could happen at once on some machine: that is how a missing release
 * is found even where the values would be right. */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "tests/lib/unit.h"

static size_t step_load(_Atomic size_t *index, memory_order order);
static void step_store(_Atomic size_t *index, size_t value, memory_order order);
static void step_copy(void *to, const void *from);

#define RING_LOAD(index, order) step_load(index, order)
#define RING_STORE(index, value, order) step_store(index, value, order)
#define RING_COPY(to, from, bytes) step_copy(to, from)

#include "broker/base/ring.c"

enum { SLOTS = 2, OPERATIONS = 4, STEPS_MAX = OPERATIONS * 4, PUSHER = 0, POPPER = 1 };

/* The shared words, and what a thread that acquires one learns. */
struct word {
    size_t value;
    int released[2]; /* how many steps of each thread came before the store */
};

struct slot {
    int item;
    int touched[2]; /* the step of each thread that copied last; 0: none */
};

struct thread {
    int steps;              /* taken */
    size_t seen[STEPS_MAX]; /* by each step: the value loaded, or the item copied */
    int known[2];           /* steps of each thread that came before what it does now */
    bool ended;
};

struct world {
    struct word tail, head;
    struct slot slots[SLOTS];
    struct thread threads[2];
    size_t first; /* the indexes at the beginning */
    int filled;
};

/* ---- one step ---- */

static struct world *world;
static struct ring *ring; /* of the thread that runs */
static int running;       /* PUSHER or POPPER */
static int step;          /* of the run, counted from 0 */
static bool stopped;      /* the new step is taken: what follows does not count */
static uint64_t problems, ends;

/* Whether this is the step to take. Those before it are repeated; what is behind it does not count. */
static bool is_new(int number)
{
    struct thread *t = &world->threads[running];

    if (stopped || number != t->steps)
        return false;
    stopped = true;
    t->known[running] = ++t->steps;
    return true;
}

static struct word *word_of(const _Atomic size_t *index)
{
    return index == &ring->tail ? &world->tail : &world->head;
}

/* Its own index a thread just knows: no step, nobody else writes it. */
static bool is_own(const _Atomic size_t *index)
{
    return (index == &ring->tail) == (running == PUSHER);
}

static size_t step_load(_Atomic size_t *index, memory_order order)
{
    struct thread *t = &world->threads[running];
    const struct word *w = word_of(index);
    int number;

    if (is_own(index))
        return *index;
    number = step++;
    if (is_new(number)) {
        t->seen[number] = w->value;
        for (int i = 0; i < 2 && order == memory_order_acquire; i++)
            t->known[i] = w->released[i] > t->known[i] ? w->released[i] : t->known[i];
    }
    return number < t->steps ? t->seen[number] : 0;
}

static void step_store(_Atomic size_t *index, size_t value, memory_order order)
{
    struct thread *t = &world->threads[running];
    struct word *w = word_of(index);

    problems += !is_own(index);
    *index = value;
    if (!is_new(step++))
        return;
    w->value = value;
    for (int i = 0; i < 2; i++)
        w->released[i] = order == memory_order_release ? t->known[i] : 0;
}

static void step_copy(void *to, const void *from)
{
    struct thread *t = &world->threads[running];
    const uint8_t *at = running == PUSHER ? to : from;
    struct slot *s = &world->slots[(size_t)(at - ring->slots) / ring->item_bytes];
    int number = step++, other = 1 - running;

    if (is_new(number)) {
        problems += s->touched[other] > t->known[other];
        s->touched[running] = t->steps;
        if (running == PUSHER)
            s->item = *(const int *)from;
        t->seen[number] = (size_t)s->item;
    }
    if (running == POPPER)
        *(int *)to = number < t->steps ? (int)t->seen[number] : 0;
}

/* ---- the two threads ---- */

/* Item n is n + 1. What was in the ring at the beginning counts. */
static void push_some(void)
{
    int next = world->filled;

    for (int i = 0; i < OPERATIONS && !stopped; i++) {
        int item = next + 1;

        if (ring_push(ring, &item))
            next++;
    }
}

static void pop_some(void)
{
    int next = 0, item;

    for (int i = 0; i < OPERATIONS && !stopped; i++) {
        bool any = ring_any(ring);

        item = -1;
        if (!ring_pop(ring, &item)) {
            problems += any && !stopped;
            continue;
        }
        next++;
        problems += !stopped && item != next;
    }
}

/* The thread takes one more step, or is found to have ended. */
static void take_step(struct world *w, int thread)
{
    world = w;
    running = thread;
    step = 0;
    stopped = false;
    *ring = (struct ring){
        .item_bytes = sizeof(int), .slot_count = SLOTS, .slots = ring->slots, .memory = ring->memory};
    /* Each begins with what it would have seen if it had done nothing for long. */
    ring->head = ring->head_seen = w->first;
    ring->tail = w->first + (size_t)w->filled;
    ring->tail_seen = w->first;
    if (thread == PUSHER)
        push_some();
    else
        pop_some();
    w->threads[thread].ended = !stopped;
}

/* ---- all ways ---- */

static void check_end(const struct world *w)
{
    size_t pushed = w->tail.value - w->first, popped = w->head.value - w->first;

    problems += pushed - popped > SLOTS;
    ends++;
}

static void try_all(const struct world *w)
{
    struct world next[2] = {*w, *w};

    if (w->threads[PUSHER].ended && w->threads[POPPER].ended) {
        check_end(w);
        return;
    }
    for (int thread = 0; thread < 2; thread++)
        if (!w->threads[thread].ended) {
            take_step(&next[thread], thread);
            if (next[thread].threads[thread].ended) { /* no step: it matters to nobody when */
                try_all(&next[thread]);
                return;
            }
        }
    for (int thread = 0; thread < 2 && problems == 0; thread++)
        if (!w->threads[thread].ended)
            try_all(&next[thread]);
}

static void begin(struct world *w, size_t first, int filled)
{
    *w = (struct world){.first = first, .filled = filled};
    w->tail.value = first + (size_t)filled;
    w->head.value = first;
    for (int i = 0; i < filled; i++)
        w->slots[(first + (size_t)i) % SLOTS].item = i + 1;
}

TEST(every_interleaving_keeps_items_whole_and_in_order)
{
    static const size_t firsts[] = {0, SIZE_MAX - 2};

    ring = ring_new(sizeof(int), SLOTS);
    for (int i = 0; i < 2; i++)
        for (int filled = 0; filled <= SLOTS; filled++) {
            struct world w;

            begin(&w, firsts[i], filled);
            try_all(&w);
            assert_int_equal(problems, 0);
        }
    assert_true(ends > 10000);
    print_message("%llu ways\n", (unsigned long long)ends);
    ring_free(ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_interleaving_keeps_items_whole_and_in_order)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
