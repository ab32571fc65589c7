#include "base/slab.h"

#include <stdalign.h>
#include <string.h>

#include "proto/fanq_error.h"
#include "tests/lib/failing_malloc.h"
#include "tests/lib/unit.h"

enum { OBJECTS = 2000, OBJECT_BYTES = 41 };

static void expect_zeroed(const unsigned char *object)
{
    for (int i = 0; i < OBJECT_BYTES; i++)
        assert_int_equal(object[i], 0);
}

TEST(objects_come_zeroed_aligned_and_apart)
{
    static unsigned char *objects[OBJECTS];
    struct slab s;

    slab_init(&s, OBJECT_BYTES);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < OBJECTS; i++) {
            objects[i] = slab_take(&s);
            assert_non_null(objects[i]);
            assert_int_equal((uintptr_t)objects[i] % alignof(max_align_t), 0);
            expect_zeroed(objects[i]);
            memset(objects[i], i % 255 + 1, OBJECT_BYTES);
        }
        for (int i = 0; i < OBJECTS; i++) {
            assert_int_equal(objects[i][0], i % 255 + 1);
            assert_int_equal(objects[i][OBJECT_BYTES - 1], i % 255 + 1);
            slab_give(&s, objects[i]);
        }
        assert_int_equal(s.live_count, 0);
    }
    slab_close(&s);
}

TEST(the_object_given_last_is_taken_first)
{
    struct slab s;

    slab_init(&s, 8);
    void *first = slab_take(&s);
    void *second = slab_take(&s);
    slab_give(&s, first);
    slab_give(&s, second);
    assert_ptr_equal(slab_take(&s), second);
    assert_ptr_equal(slab_take(&s), first);
    slab_close(&s);
}

TEST(a_reservation_holds_when_memory_is_out)
{
    struct slab s;

    failing_malloc_reset();
    slab_init(&s, OBJECT_BYTES);
    assert_int_equal(slab_reserve(&s, OBJECTS), 0);
    size_t requests = failing_malloc_requests();
    for (int i = 0; i < OBJECTS; i++)
        assert_non_null(slab_take(&s));
    assert_int_equal(failing_malloc_requests(), requests);

    failing_malloc_fail_at(1);
    assert_int_equal(slab_reserve(&s, OBJECTS), FANQ_ERR_NOMEM);
    while (s.free_count > 0)
        assert_non_null(slab_take(&s));
    failing_malloc_fail_at(1);
    assert_null(slab_take(&s));
    slab_close(&s);
    assert_int_equal(failing_malloc_live(), 0);
}

TEST(large_objects_have_chunks_too)
{
    struct slab s;

    slab_init(&s, 1 << 20);
    char *object = slab_take(&s);
    assert_non_null(object);
    object[(1 << 20) - 1] = 1;
    slab_give(&s, object);
    slab_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_come_zeroed_aligned_and_apart),
        cmocka_unit_test(the_object_given_last_is_taken_first),
        cmocka_unit_test(a_reservation_holds_when_memory_is_out),
        cmocka_unit_test(large_objects_have_chunks_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
