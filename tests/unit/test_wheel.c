#include "base/wheel.h"

#include "tests/lib/random.h"
#include "tests/lib/unit.h"

enum { TIMERS = 200, STEPS = 4000, SEEDS = 30 };

/* The wheel as one would describe it: of all timers that run, the least (due, order
 * of setting) comes first. */
struct model {
    struct timer timers[TIMERS];
    uint64_t set_at[TIMERS]; /* counts wheel_set() calls; 0: it does not run */
    uint64_t set_count;
};

static int model_least(const struct model *m)
{
    int least = -1;

    for (int i = 0; i < TIMERS; i++) {
        if (m->set_at[i] == 0)
            continue;
        if (least < 0 || m->timers[i].due_ms < m->timers[least].due_ms ||
            (m->timers[i].due_ms == m->timers[least].due_ms && m->set_at[i] < m->set_at[least]))
            least = i;
    }
    return least;
}

static void model_set(struct model *m, struct wheel *w, int i, uint64_t due_ms)
{
    wheel_set(w, &m->timers[i], due_ms);
    m->set_at[i] = ++m->set_count;
}

/* A distance of any order of magnitude, often a small one so that many timers share a millisecond. */
static uint64_t random_distance(struct random *r)
{
    uint64_t bits = random_below(r, 3) == 0 ? random_below(r, 40) : random_below(r, 5);

    return random_below(r, UINT64_C(1) << bits);
}

static uint64_t random_due(struct random *r, uint64_t now_ms)
{
    uint64_t distance = random_distance(r);

    if (random_below(r, 20) == 0)
        return now_ms - (distance < now_ms ? distance : now_ms); /* it has passed */
    return now_ms + distance;
}

/* One round, in which timers are set and stopped between the calls as an owner would. */
static void take_round(struct model *m, struct wheel *w, struct random *r, uint64_t now_ms)
{
    struct timer *t;

    while ((t = wheel_take(w, now_ms)) != NULL) {
        assert_ptr_equal(t, &m->timers[model_least(m)]);
        assert_true(t->due_ms <= now_ms);
        assert_false(timer_running(t));
        m->set_at[t - m->timers] = 0;
        if (random_below(r, 4) == 0)
            model_set(m, w, (int)(t - m->timers), random_due(r, now_ms) + random_below(r, 2));
        if (random_below(r, 8) == 0) {
            int i = (int)random_below(r, TIMERS);
            wheel_stop(w, &m->timers[i]);
            m->set_at[i] = 0;
        }
        if (random_below(r, 50) == 0)
            return; /* the owner has had enough for this turn */
    }
    int least = model_least(m);
    assert_true(least < 0 || m->timers[least].due_ms > now_ms);
}

static void check_next(const struct model *m, const struct wheel *w)
{
    int least = model_least(m);
    uint64_t next_ms = wheel_next_ms(w);

    if (least < 0) {
        assert_true(next_ms == WHEEL_NEVER);
        return;
    }
    uint64_t due_ms = m->timers[least].due_ms;
    if (due_ms <= w->now_ms) {
        assert_true(next_ms <= w->now_ms);
        return;
    }
    /* The beginning of the slot: the due time with all digits zero below the first that differs from now. */
    uint64_t slot_ms = 1;
    while (due_ms / slot_ms / WHEEL_SLOTS != w->now_ms / slot_ms / WHEEL_SLOTS)
        slot_ms *= WHEEL_SLOTS;
    assert_true(next_ms == due_ms / slot_ms * slot_ms);
}

static void run_against_model(uint64_t seed)
{
    static struct model m;
    struct random r = {seed};
    uint64_t now_ms = random_below(&r, UINT64_C(1) << random_below(&r, 44));
    struct wheel w;

    m = (struct model){0};
    wheel_init(&w, now_ms);
    for (int i = 0; i < TIMERS; i++)
        timer_init(&m.timers[i], i);
    for (int step = 0; step < STEPS; step++) {
        int i = (int)random_below(&r, TIMERS);
        switch (random_below(&r, 8)) {
        case 0:
            wheel_stop(&w, &m.timers[i]);
            m.set_at[i] = 0;
            break;
        case 1:
            now_ms += random_distance(&r) / (random_below(&r, 3) == 0 ? 1 : 16);
            take_round(&m, &w, &r, now_ms);
            break;
        default:
            model_set(&m, &w, i, random_due(&r, now_ms));
        }
        assert_int_equal(timer_running(&m.timers[i]), m.set_at[i] != 0);
        check_next(&m, &w);
    }
}

TEST(timers_come_in_order_of_due_time_and_of_setting)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run_against_model(seed);
}

TEST(timers_of_one_millisecond_keep_their_order_across_cascades)
{
    struct timer timers[5];
    struct wheel w;
    uint64_t due_ms = 5 * 64 * 64 * 64 + 3 * 64 * 64 + 2 * 64 + 1;
    const uint64_t set_at_ms[] = {0, 64 * 64, 5 * 64 * 64 * 64, due_ms - 70, due_ms - 1};

    wheel_init(&w, 0);
    for (int i = 0; i < 5; i++) {
        assert_null(wheel_take(&w, set_at_ms[i]));
        timer_init(&timers[i], i);
        wheel_set(&w, &timers[i], due_ms);
    }
    for (int i = 0; i < 5; i++)
        assert_ptr_equal(wheel_take(&w, due_ms + 1000), &timers[i]);
    assert_null(wheel_take(&w, due_ms + 1000));
}

TEST(sleeping_until_next_reaches_a_distant_timer_in_few_steps)
{
    struct timer t;
    struct wheel w;
    uint64_t due_ms = 1000 + (UINT64_C(1) << 47) + 12345;
    int steps = 0;

    timer_init(&t, 0);
    wheel_init(&w, 1000);
    wheel_set(&w, &t, due_ms);
    for (;; steps++) {
        uint64_t next_ms = wheel_next_ms(&w);
        assert_true(next_ms <= due_ms);
        if (wheel_take(&w, next_ms) == &t)
            break;
    }
    assert_int_equal(w.now_ms, due_ms);
    assert_true(steps < WHEEL_LEVELS);
    assert_true(wheel_next_ms(&w) == WHEEL_NEVER);
}

TEST(a_timer_set_while_taking_comes_out_in_the_same_round)
{
    struct timer a, b;
    struct wheel w;

    timer_init(&a, 1);
    timer_init(&b, 2);
    wheel_init(&w, 0);
    wheel_set(&w, &a, 5);
    wheel_set(&w, &b, 7);
    assert_ptr_equal(wheel_take(&w, 10), &a);
    wheel_set(&w, &a, 6);
    assert_ptr_equal(wheel_take(&w, 10), &a);
    wheel_set(&w, &a, 10);
    assert_ptr_equal(wheel_take(&w, 10), &b);
    assert_ptr_equal(wheel_take(&w, 10), &a);
    assert_null(wheel_take(&w, 10));
    wheel_set(&w, &a, 11);
    assert_null(wheel_take(&w, 10));
    assert_null(wheel_take(&w, 3)); /* time does not go back */
    assert_int_equal(w.now_ms, 10);
}

TEST(a_time_beyond_the_wheel_waits_at_its_end)
{
    struct timer t, u;
    struct wheel w;

    timer_init(&t, 0);
    timer_init(&u, 0);
    wheel_init(&w, 1);
    wheel_set(&w, &t, UINT64_MAX);
    wheel_set(&w, &u, UINT64_MAX - 1);
    assert_null(wheel_take(&w, UINT64_C(1) << 47));
    wheel_stop(&w, &t);
    wheel_stop(&w, &u);
    assert_true(wheel_next_ms(&w) == WHEEL_NEVER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_come_in_order_of_due_time_and_of_setting),
        cmocka_unit_test(timers_of_one_millisecond_keep_their_order_across_cascades),
        cmocka_unit_test(sleeping_until_next_reaches_a_distant_timer_in_few_steps),
        cmocka_unit_test(a_timer_set_while_taking_comes_out_in_the_same_round),
        cmocka_unit_test(a_time_beyond_the_wheel_waits_at_its_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
