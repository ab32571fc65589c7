#include "base/worker.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/ring.h"
#include "proto/fanq_error.h"
#include "tests/lib/failing_malloc.h"
#include "tests/lib/unit.h"

enum { PATIENCE_S = 120 }; /* a wake-up that is lost would leave a test waiting for ever */

static void pause_us(long us)
{
    nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL);
}

/* ---- work that counts ---- */

struct counting {
    struct ring *ring;
    atomic_uint calls;
    atomic_uint sum; /* of what was popped */
};

static bool count_one(void *context)
{
    struct counting *c = context;
    uint32_t item;

    atomic_fetch_add(&c->calls, 1);
    if (!ring_pop(c->ring, &item))
        return false;
    atomic_fetch_add(&c->sum, item);
    return true;
}

static void counting_start(struct counting *c, uint32_t spin_us, struct worker **ret_worker)
{
    *c = (struct counting){.ring = ring_new(sizeof(uint32_t), 1024)};
    assert_int_equal(worker_start(
                         &(struct worker_options){
                             .name = "test-worker", .work = count_one, .context = c, .spin_us = spin_us},
                         ret_worker),
                     0);
}

static void push(struct counting *c, uint32_t item)
{
    while (!ring_push(c->ring, &item))
        sched_yield();
}

TEST(what_was_pushed_is_done_before_a_stop_ends)
{
    for (uint32_t round = 0; round < 200; round++) {
        struct counting c;
        struct worker *w;
        uint32_t count = round * 7 % 1000;

        counting_start(&c, round % 3 * 20, &w);
        if (round % 2 == 0)
            pause_us(100); /* it is asleep, more often than not */
        for (uint32_t i = 0; i < count; i++)
            push(&c, 1); /* without a wake */
        worker_stop(w);
        assert_int_equal(atomic_load(&c.sum), count);
        ring_free(c.ring);
    }
    worker_stop(NULL);
}

TEST(a_thread_without_work_sleeps_until_it_is_woken)
{
    struct counting c;
    struct worker *w;
    uint32_t calls, later;

    counting_start(&c, 10, &w);
    do {
        calls = atomic_load(&c.calls);
        pause_us(20000);
        later = atomic_load(&c.calls);
    } while (calls == 0 || calls != later);
    push(&c, 5);
    worker_wake(w);
    while (atomic_load(&c.sum) != 5)
        sched_yield();
    worker_stop(w);
    ring_free(c.ring);
}

static bool nothing(void *context)
{
    atomic_fetch_add((atomic_uint *)context, 1);
    return false;
}

static uint32_t five_ms(void *context)
{
    return 5;
}

TEST(a_thread_can_ask_to_wake_by_itself)
{
    atomic_uint calls = 0;
    struct worker *w;

    assert_int_equal(worker_start(
                         &(struct worker_options){
                             .name = "test-worker", .work = nothing, .context = &calls, .sleep_ms = five_ms},
                         &w),
                     0);
    while (atomic_load(&calls) < 20)
        pause_us(1000);
    worker_stop(w);
}

static bool look_at_signals(void *context)
{
    atomic_int *blocked = context;
    sigset_t set;

    pthread_sigmask(SIG_SETMASK, NULL, &set);
    atomic_store(blocked, sigismember(&set, SIGTERM) && sigismember(&set, SIGUSR2) ? 1 : -1);
    return false;
}

TEST(signals_are_left_to_the_loop)
{
    atomic_int blocked = 0;
    sigset_t before, after;
    struct worker *w;

    pthread_sigmask(SIG_SETMASK, NULL, &before);
    assert_int_equal(
        worker_start(
            &(struct worker_options){.name = "test-worker", .work = look_at_signals, .context = &blocked},
            &w),
        0);
    worker_stop(w);
    assert_int_equal(atomic_load(&blocked), 1);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    assert_int_equal(sigismember(&after, SIGTERM), sigismember(&before, SIGTERM));
}

TEST(without_memory_no_thread_starts)
{
    struct worker *w = NULL;

    failing_malloc_reset();
    failing_malloc_fail_at(1);
    assert_int_equal(worker_start(&(struct worker_options){.name = "test-worker", .work = nothing}, &w),
                     FANQ_ERR_NOMEM);
    assert_null(w);
    assert_int_equal(failing_malloc_live(), 0);
    failing_malloc_fail_at(0);
}

/* ---- waking and sleeping, over and over ---- */

/* Two threads that pass one item to and fro, each of which sleeps as soon as it has passed it on: every pass is a wake-up
 * that races with falling asleep. If one is lost, both sleep for ever. */
struct player {
    struct ring *in, *out;
    _Atomic(struct worker *) other;
    atomic_uint passes;
    uint32_t passes_max;
};

static bool pass_on(void *context)
{
    struct player *p = context;
    uint32_t item;

    if (!ring_pop(p->in, &item))
        return false;
    if (atomic_load(&p->passes) < p->passes_max) {
        item++;
        ring_push(p->out, &item); /* has room: there is one item */
        worker_wake(atomic_load(&p->other));
    }
    atomic_fetch_add(&p->passes, 1);
    return true;
}

static void ping_pong(uint32_t spin_us, uint32_t passes)
{
    struct ring *there = ring_new(sizeof(uint32_t), 2), *back = ring_new(sizeof(uint32_t), 2);
    struct player players[2] = {{.in = there, .out = back, .passes_max = passes},
                                {.in = back, .out = there, .passes_max = passes}};
    struct worker *workers[2];
    uint32_t first = 0;

    for (int i = 0; i < 2; i++)
        assert_int_equal(worker_start(&(struct worker_options){.name = "test-player",
                                                               .work = pass_on,
                                                               .context = &players[i],
                                                               .spin_us = spin_us},
                                      &workers[i]),
                         0);
    atomic_store(&players[0].other, workers[1]);
    atomic_store(&players[1].other, workers[0]);
    assert_true(ring_push(there, &first)); /* this thread, once, before it begins */
    worker_wake(workers[0]);
    /* Both are done, the last wake of the other included: then they may be freed. */
    while (atomic_load(&players[0].passes) <= passes || atomic_load(&players[1].passes) < passes)
        pause_us(1000);
    worker_stop(workers[0]);
    worker_stop(workers[1]);
    assert_int_equal(atomic_load(&players[1].passes), passes);
    ring_free(there);
    ring_free(back);
}

TEST(no_wake_up_is_lost_between_threads_that_sleep_at_once)
{
    ping_pong(0, 100000);
}

TEST(no_wake_up_is_lost_at_the_end_of_a_spin)
{
    ping_pong(3, 50000); /* about as long as the other takes */
}

/* One item after the other, each of which must be done without another wake-up. */
TEST(each_item_is_done_after_its_own_wake_up)
{
    struct counting c;
    struct worker *w;

    counting_start(&c, 0, &w);
    for (uint32_t i = 1; i <= 50000; i++) {
        push(&c, 1);
        worker_wake(w);
        while (atomic_load(&c.sum) != i)
            if (i % 16 == 0)
                sched_yield();
    }
    worker_stop(w);
    ring_free(c.ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_pushed_is_done_before_a_stop_ends),
        cmocka_unit_test(a_thread_without_work_sleeps_until_it_is_woken),
        cmocka_unit_test(a_thread_can_ask_to_wake_by_itself),
        cmocka_unit_test(signals_are_left_to_the_loop),
        cmocka_unit_test(without_memory_no_thread_starts),
        cmocka_unit_test(no_wake_up_is_lost_between_threads_that_sleep_at_once),
        cmocka_unit_test(no_wake_up_is_lost_at_the_end_of_a_spin),
        cmocka_unit_test(each_item_is_done_after_its_own_wake_up),
    };

    alarm(PATIENCE_S);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
