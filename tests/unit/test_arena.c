#include "base/arena.h"

#include <stdalign.h>
#include <string.h>

#include "tests/lib/failing_malloc.h"
#include "tests/lib/random.h"
#include "tests/lib/unit.h"

enum { PIECES = 3000 };

/* Takes pieces of random sizes, fills each, and looks whether all are still whole. */
static void take_pieces(struct arena *a, uint64_t seed)
{
    static struct {
        unsigned char *data;
        size_t size;
    } pieces[PIECES];
    struct random r = {seed};

    for (int i = 0; i < PIECES; i++) {
        pieces[i].size = random_below(&r, random_below(&r, 100) == 0 ? 100000 : 200);
        pieces[i].data = arena_take(a, pieces[i].size);
        assert_non_null(pieces[i].data);
        assert_int_equal((uintptr_t)pieces[i].data % alignof(max_align_t), 0);
        memset(pieces[i].data, i % 256, pieces[i].size);
    }
    for (int i = 0; i < PIECES; i++) {
        for (size_t at = 0; at < pieces[i].size; at += 97)
            assert_int_equal(pieces[i].data[at], i % 256);
    }
}

TEST(pieces_do_not_overlap)
{
    struct arena a;

    arena_init(&a);
    for (uint64_t seed = 1; seed <= 5; seed++) {
        take_pieces(&a, seed);
        arena_reset(&a);
    }
    arena_close(&a);
}

TEST(an_equal_round_allocates_nothing)
{
    struct arena a;

    failing_malloc_reset();
    arena_init(&a);
    take_pieces(&a, 1);
    size_t requests = failing_malloc_requests();
    for (int round = 0; round < 3; round++) {
        arena_reset(&a);
        take_pieces(&a, 1);
    }
    assert_int_equal(failing_malloc_requests(), requests);
    arena_close(&a);
    assert_int_equal(failing_malloc_live(), 0);
}

TEST(a_burst_is_given_back)
{
    struct arena a;

    failing_malloc_reset();
    arena_init(&a);
    for (int i = 0; i < 64; i++)
        assert_non_null(arena_take(&a, 1000 * 1000));
    assert_true(failing_malloc_live() >= 60);
    arena_reset(&a);
    assert_int_equal(a.taken_bytes, 0);
    assert_non_null(arena_take(&a, 1));
    assert_int_equal(a.taken_bytes, alignof(max_align_t));
    arena_reset(&a);
    assert_true(failing_malloc_live() <= 8);
    arena_close(&a);
    assert_int_equal(failing_malloc_live(), 0);
}

TEST(a_large_piece_behind_small_ones_finds_its_chunk_again)
{
    struct arena a;

    failing_malloc_reset();
    arena_init(&a);
    assert_non_null(arena_take(&a, 100));
    assert_non_null(arena_take(&a, 100000));
    assert_non_null(arena_take(&a, 3000000));
    size_t requests = failing_malloc_requests();
    arena_reset(&a);
    assert_non_null(arena_take(&a, 3000000));
    assert_non_null(arena_take(&a, 100000));
    assert_int_equal(failing_malloc_requests(), requests);
    arena_close(&a);
}

TEST(without_memory_it_says_so_and_goes_on)
{
    struct arena a;

    failing_malloc_reset();
    arena_init(&a);
    failing_malloc_fail_at(1);
    assert_null(arena_take(&a, 1));
    assert_non_null(arena_take(&a, 1));
    failing_malloc_fail_at(1);
    assert_null(arena_take(&a, 1 << 20));
    assert_non_null(arena_take(&a, 1));
    assert_null(arena_take(&a, SIZE_MAX));
    arena_close(&a);
    assert_int_equal(failing_malloc_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_do_not_overlap),
        cmocka_unit_test(an_equal_round_allocates_nothing),
        cmocka_unit_test(a_burst_is_given_back),
        cmocka_unit_test(a_large_piece_behind_small_ones_finds_its_chunk_again),
        cmocka_unit_test(without_memory_it_says_so_and_goes_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
