#include "base/map.h"

#include <string.h>

#include "proto/fanq_error.h"
#include "tests/lib/failing_malloc.h"
#include "tests/lib/random.h"
#include "tests/lib/unit.h"

enum { KEYS = 300, STEPS = 30000, SEEDS = 5 };

static void put(struct map *m, const void *key, uint32_t length, void *value)
{
    assert_int_equal(map_reserve(m), 0);
    map_put(m, key, length, value);
}

/* Removal shifts entries back over the end of the slots too; with few slots and many steps this happens
 * often. */
static void run_against_model(uint64_t seed)
{
    static uint32_t keys[KEYS];
    bool present[KEYS] = {false};
    struct random r = {seed};
    struct map m;

    map_init(&m, seed);
    for (int step = 0; step < STEPS; step++) {
        uint32_t i = (uint32_t)random_below(&r, step < STEPS / 2 ? 12 : KEYS);
        keys[i] = i;
        assert_ptr_equal(map_get(&m, &i, sizeof i), present[i] ? &keys[i] : NULL);
        assert_ptr_equal(map_get_again(&m, &i, sizeof i), present[i] ? &keys[i] : NULL);
        if (present[i])
            map_remove(&m, &i, sizeof i);
        else
            put(&m, &keys[i], sizeof keys[i], &keys[i]);
        present[i] = !present[i];
        assert_ptr_equal(map_get_again(&m, &i, sizeof i), present[i] ? &keys[i] : NULL);
    }
    for (uint32_t i = 0; i < KEYS; i++)
        assert_ptr_equal(map_get(&m, &i, sizeof i), present[i] ? &keys[i] : NULL);
    map_close(&m);
}

TEST(a_map_gives_what_was_put_and_not_removed)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run_against_model(seed);
}

TEST(an_empty_map_answers)
{
    struct map m;

    map_init(&m, 0);
    assert_null(map_get(&m, "a", 1));
    map_remove(&m, "a", 1);
    assert_int_equal(m.count, 0);
    map_close(&m);
}

TEST(keys_differ_by_length_and_may_be_empty)
{
    struct map m;
    char one, two, empty;

    map_init(&m, 7);
    put(&m, "ab", 1, &one);
    put(&m, "ab", 2, &two);
    put(&m, "", 0, &empty);
    assert_ptr_equal(map_get(&m, "a", 1), &one);
    assert_ptr_equal(map_get(&m, "ab", 2), &two);
    assert_ptr_equal(map_get(&m, "x", 0), &empty);
    map_close(&m);
}

TEST(a_map_that_cannot_grow_stays_as_it_was)
{
    static uint32_t keys[1000];
    uint32_t count = 0;
    struct map m;

    failing_malloc_reset();
    map_init(&m, 1);
    failing_malloc_fail_at(4);
    for (; count < 1000 && map_reserve(&m) == 0; count++) {
        keys[count] = count;
        map_put(&m, &keys[count], sizeof keys[count], &keys[count]);
    }
    assert_true(failing_malloc_failed());
    assert_int_equal(m.count, count);
    for (uint32_t i = 0; i < count; i++)
        assert_ptr_equal(map_get(&m, &i, sizeof i), &keys[i]);
    assert_int_equal(map_reserve(&m), 0);
    map_close(&m);
    assert_int_equal(failing_malloc_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_map_gives_what_was_put_and_not_removed),
        cmocka_unit_test(an_empty_map_answers),
        cmocka_unit_test(keys_differ_by_length_and_may_be_empty),
        cmocka_unit_test(a_map_that_cannot_grow_stays_as_it_was),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
