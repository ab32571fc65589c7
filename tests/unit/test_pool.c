/* Buffers are reused, sized as asked, and go back to the system when too many are spare. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "net/pool.h"

static void capacity_is_the_next_power_of_two(void **state)
{
    static const size_t sizes[][2] = {
        {0, 256},     {1, 256},     {256, 256},         {257, 512},
        {4096, 4096}, {4097, 8192}, {8 << 20, 8 << 20}, {(8 << 20) + 1, (8 << 20) + 1}};
    struct pool p;

    (void)state;
    pool_init(&p);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t capacity;
        void *buffer = pool_take(&p, sizes[i][0], &capacity);
        assert_non_null(buffer);
        assert_int_equal(capacity, sizes[i][1]);
        assert_int_equal(p.lent_bytes, capacity);
        memset(buffer, 1, capacity);
        pool_give(&p, buffer, capacity);
    }
    assert_int_equal(p.lent_bytes, 0);
    pool_close(&p);
}

static void a_buffer_given_back_is_the_next_taken(void **state)
{
    struct pool p;
    size_t capacity;

    (void)state;
    pool_init(&p);
    void *first = pool_take(&p, 1000, &capacity);
    pool_give(&p, first, capacity);
    assert_int_equal(p.spare_bytes, 1024);
    assert_ptr_equal(pool_take(&p, 600, &capacity), first);
    assert_int_equal(p.spare_bytes, 0);
    pool_give(&p, first, capacity);
    pool_give(&p, NULL, 0);
    pool_close(&p);
}

static void spare_bytes_are_bounded(void **state)
{
    enum { COUNT = 1000, BYTES = 64 * 1024 };
    static void *buffers[COUNT];
    struct pool p;
    size_t capacity;

    (void)state;
    pool_init(&p);
    for (size_t i = 0; i < COUNT; i++)
        buffers[i] = pool_take(&p, BYTES, &capacity);
    assert_int_equal(p.lent_bytes, (size_t)COUNT * BYTES);
    for (size_t i = 0; i < COUNT; i++)
        pool_give(&p, buffers[i], capacity);
    assert_int_equal(p.lent_bytes, 0);
    assert_int_equal(p.spare_bytes, POOL_SPARE_BYTES_MAX);
    pool_close(&p);
    assert_int_equal(p.spare_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(capacity_is_the_next_power_of_two),
        cmocka_unit_test(a_buffer_given_back_is_the_next_taken),
        cmocka_unit_test(spare_bytes_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
