/* core/gone.c against a plain array of bytes. */
#include "core/gone.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { SPAN = 5 * GONE_PAGE_SEQS };

struct fixture {
    struct gone_pool pool;
    struct gone gone;
    uint8_t model[SPAN];
    uint64_t base; /* seq of model[0] */
    uint64_t random;
};

static uint64_t roll(struct fixture *x, uint64_t bound)
{
    x->random ^= x->random << 13;
    x->random ^= x->random >> 7;
    x->random ^= x->random << 17;
    return x->random % bound;
}

static uint64_t mark(struct fixture *x, uint64_t first, uint64_t end)
{
    uint64_t added = 0;

    for (uint64_t i = first; i < end; i++) {
        added += x->model[i] == 0;
        x->model[i] = 1;
    }
    assert_int_equal(gone_reserve(&x->gone, &x->pool, x->base + first, x->base + end), 0);
    assert_int_equal(gone_set(&x->gone, &x->pool, x->base + first, x->base + end), added);
    return added;
}

static uint64_t model_next(const struct fixture *x, uint64_t seq, uint64_t end, uint8_t wanted)
{
    while (seq < end && x->model[seq] != wanted)
        seq++;
    return seq;
}

static void compare(struct fixture *x, uint64_t first, uint64_t end)
{
    uint64_t count = 0, last = end;

    for (uint64_t i = first; i < end; i++)
        count += x->model[i];
    while (last > first && x->model[last - 1])
        last--;
    assert_int_equal(gone_count(&x->gone, x->base + first, x->base + end), count);
    assert_int_equal(gone_next_live(&x->gone, x->base + first, x->base + end) - x->base,
                     model_next(x, first, end, 0));
    assert_int_equal(gone_next_gone(&x->gone, x->base + first, x->base + end) - x->base,
                     model_next(x, first, end, 1));
    assert_int_equal(gone_last_live_end(&x->gone, x->base + first, x->base + end) - x->base, last);
}

static void some_range(struct fixture *x, uint64_t low, uint64_t *ret_first, uint64_t *ret_end)
{
    uint64_t lengths[] = {1, 1, 3, 70, GONE_PAGE_SEQS, 2 * GONE_PAGE_SEQS};
    uint64_t length = 1 + roll(x, lengths[roll(x, 6)]);

    *ret_first = low + roll(x, SPAN - low);
    *ret_end = *ret_first + length < SPAN ? *ret_first + length : SPAN;
}

static void run_seed(uint64_t seed)
{
    struct fixture x = {.random = seed * 2654435761u + 1};
    uint64_t floor = 0, first, end;

    x.base = roll(&x, 3) * 1000003;
    gone_pool_init(&x.pool);
    gone_init(&x.gone);
    for (int step = 0; step < 600; step++) {
        some_range(&x, floor, &first, &end);
        mark(&x, first, end);
        for (int look = 0; look < 4; look++) {
            some_range(&x, floor, &first, &end);
            compare(&x, first, end);
        }
        if (roll(&x, 60) == 0 && floor + 3000 < SPAN) {
            floor += roll(&x, 3000);
            gone_trim(&x.gone, &x.pool, x.base + floor);
        }
    }
    gone_close(&x.gone, &x.pool);
    assert_int_equal(x.pool.lists.live_count, 0);
    assert_int_equal(x.pool.bitmaps.live_count, 0);
    gone_pool_close(&x.pool);
}

static void marks_agree_with_an_array(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++)
        run_seed(seed);
}

static void a_page_takes_memory_only_when_something_is_gone(void **state)
{
    struct gone_pool pool;
    struct gone g;

    (void)state;
    gone_pool_init(&pool);
    gone_init(&g);
    assert_int_equal(gone_reserve(&g, &pool, 10, 11), 0);
    assert_int_equal(gone_set(&g, &pool, 10, 11), 1);
    assert_int_equal(gone_reserve(&g, &pool, 100 * GONE_PAGE_SEQS, 100 * GONE_PAGE_SEQS + 1), 0);
    assert_int_equal(gone_set(&g, &pool, 100 * GONE_PAGE_SEQS, 100 * GONE_PAGE_SEQS + 1), 1);
    assert_int_equal(pool.lists.live_count, 2);
    assert_int_equal(pool.bitmaps.live_count, 0);
    gone_trim(&g, &pool, 50 * GONE_PAGE_SEQS);
    assert_int_equal(pool.lists.live_count, 1);
    gone_close(&g, &pool);
    gone_pool_close(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marks_agree_with_an_array),
        cmocka_unit_test(a_page_takes_memory_only_when_something_is_gone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
