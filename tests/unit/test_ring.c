#include "base/ring.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/failing_malloc.h"
#include "tests/lib/unit.h"

enum { STRESS_ITEMS = 3000000 };

TEST(items_come_out_in_the_order_in_which_they_went_in)
{
    struct ring *r = ring_new(sizeof(uint32_t), 4);
    uint32_t pushed = 0, popped = 0, item;

    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < round % 5; i++, pushed++)
            assert_true(ring_push(r, &pushed));
        for (; popped < pushed; popped++) {
            assert_true(ring_any(r));
            assert_true(ring_pop(r, &item));
            assert_int_equal(item, popped);
        }
        assert_false(ring_any(r));
        assert_false(ring_pop(r, &item));
    }
    ring_free(r);
}

TEST(a_full_ring_refuses_and_keeps_what_it_has)
{
    for (size_t slots = 1; slots <= 64; slots *= 2) {
        struct ring *r = ring_new(sizeof(size_t), slots);
        size_t item;

        for (size_t i = 0; i < slots; i++)
            assert_true(ring_push(r, &i));
        item = 12345;
        assert_false(ring_push(r, &item));
        assert_true(ring_pop(r, &item));
        assert_int_equal(item, 0);
        item = slots;
        assert_true(ring_push(r, &item));
        assert_false(ring_push(r, &item));
        for (size_t i = 1; i <= slots; i++) {
            assert_true(ring_pop(r, &item));
            assert_int_equal(item, i);
        }
        assert_false(ring_pop(r, &item));
        ring_free(r);
    }
}

TEST(items_of_odd_lengths_lie_beside_each_other)
{
    uint8_t item[37], got[38];
    struct ring *r = ring_new(sizeof item, 8);

    for (int i = 0; i < 8; i++) {
        memset(item, i + 1, sizeof item);
        assert_true(ring_push(r, item));
    }
    got[37] = 99;
    for (int i = 0; i < 8; i++) {
        assert_true(ring_pop(r, got));
        for (size_t j = 0; j < sizeof item; j++)
            assert_int_equal(got[j], i + 1);
        assert_int_equal(got[37], 99);
    }
    ring_free(r);
}

TEST(without_memory_there_is_no_ring)
{
    failing_malloc_reset();
    failing_malloc_fail_at(1);
    assert_null(ring_new(8, 16));
    failing_malloc_fail_at(0);
    assert_null(ring_new(SIZE_MAX / 4, 16));
    ring_free(ring_new(8, 16));
    ring_free(NULL);
    assert_int_equal(failing_malloc_live(), 0);
}

/* ---- two threads ---- */

/* Says in each of its words which one it is, and points to memory that was written before the push. */
struct stress_item {
    uint64_t number, inverse;
    uint64_t *seen;
};

struct stress {
    struct ring *ring;
    uint64_t beside[256]; /* written before an item is pushed, and read after it was popped */
    uint32_t pause_mask;  /* the pusher gives way now and then, so that the ring is empty at times, too */
};

static void *stress_push(void *context)
{
    struct stress *s = context;

    for (uint64_t i = 0; i < STRESS_ITEMS; i++) {
        struct stress_item item = {i, ~i, &s->beside[i % 256]};

        if (i < 256) /* not written again: the popper may be reading */
            s->beside[i] = i;
        while (!ring_push(s->ring, &item))
            sched_yield();
        if ((i & s->pause_mask) == s->pause_mask)
            sched_yield();
    }
    return NULL;
}

/* The popper is this thread, where cmocka's assertions may fail. */
static void stress(size_t slots, uint32_t pause_mask)
{
    struct stress s = {.ring = ring_new(sizeof(struct stress_item), slots), .pause_mask = pause_mask};
    struct stress_item item;
    pthread_t pusher;
    uint64_t bad = 0;

    assert_int_equal(pthread_create(&pusher, NULL, stress_push, &s), 0);
    for (uint64_t i = 0; i < STRESS_ITEMS; i++) {
        while (!ring_pop(s.ring, &item))
            sched_yield();
        bad += item.number != i || item.inverse != ~i || *item.seen != i % 256;
    }
    assert_int_equal(pthread_join(pusher, NULL), 0);
    assert_int_equal(bad, 0);
    assert_false(ring_any(s.ring));
    ring_free(s.ring);
}

TEST(two_threads_with_a_tiny_ring)
{
    stress(2, 0xff);
}

TEST(two_threads_with_a_large_ring)
{
    stress(1024, 0x3ff);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_come_out_in_the_order_in_which_they_went_in),
        cmocka_unit_test(a_full_ring_refuses_and_keeps_what_it_has),
        cmocka_unit_test(items_of_odd_lengths_lie_beside_each_other),
        cmocka_unit_test(without_memory_there_is_no_ring),
        cmocka_unit_test(two_threads_with_a_tiny_ring),
        cmocka_unit_test(two_threads_with_a_large_ring),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
