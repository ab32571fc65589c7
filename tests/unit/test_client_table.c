/* The table of requests by id. */
#include "tests/lib/unit.h"

#include <stdlib.h>

#include "clients/c/client.h"

static void *allocate(void *user, void *memory, size_t bytes)
{
    (void)user;
    if (bytes > 0)
        return realloc(memory, bytes);
    free(memory);
    return NULL;
}

static const struct memory heap = {allocate, NULL};

static void put(struct table *table, struct request *request, uint64_t id)
{
    request->id = id;
    assert_int_equal(fanq_table_reserve(&heap, table), 0);
    fanq_table_put(table, request);
}

TEST(ids_are_found_until_removed)
{
    static struct request requests[1000];
    struct table table = {0};

    assert_null(fanq_table_find(&table, 1));
    for (uint64_t i = 0; i < 1000; i++)
        put(&table, &requests[i], i + 1);
    for (uint64_t i = 0; i < 1000; i++)
        assert_ptr_equal(fanq_table_find(&table, i + 1), &requests[i]);
    assert_null(fanq_table_find(&table, 1001));
    for (uint64_t i = 0; i < 1000; i += 2)
        fanq_table_remove(&table, i + 1);
    for (uint64_t i = 0; i < 1000; i++)
        assert_ptr_equal(fanq_table_find(&table, i + 1), i % 2 == 0 ? NULL : &requests[i]);
    fanq_table_remove(&table, 1); /* again: nothing happens */
    assert_int_equal(table.count, 500);
    free(table.slots);
}

/* Old requests stay in the way of new ones whose ids have the same low bits, and are found all the same. */
TEST(old_requests_stay_found_while_new_ones_pass_by)
{
    static struct request old[8], passing[16];
    struct table table = {0};

    for (uint64_t i = 0; i < 8; i++)
        put(&table, &old[i], i + 1);
    for (uint64_t id = 9; id < 100000; id++) {
        put(&table, &passing[id % 16], id);
        if (id >= 9 + 8)
            fanq_table_remove(&table, id - 8);
        assert_ptr_equal(fanq_table_find(&table, id), &passing[id % 16]);
        assert_ptr_equal(fanq_table_find(&table, id % 8 + 1), &old[id % 8]);
    }
    assert_int_equal(table.count, 16);
    assert_true(table.mask < 128);
    free(table.slots);
}

/* Against a plain array, in random order. */
TEST(random_puts_and_removes_agree_with_an_array)
{
    enum { IDS = 512 };
    static struct request requests[IDS];
    struct table table = {0};
    bool present[IDS] = {false};

    srand(1);
    for (int step = 0; step < 200000; step++) {
        int i = rand() % IDS;

        if (present[i])
            fanq_table_remove(&table, (uint64_t)i * 64 + 1); /* few low bits differ */
        else if (table.count < 200)
            put(&table, &requests[i], (uint64_t)i * 64 + 1);
        else
            continue;
        present[i] = !present[i];
        int other = rand() % IDS;
        assert_ptr_equal(fanq_table_find(&table, (uint64_t)other * 64 + 1),
                         present[other] ? &requests[other] : NULL);
    }
    free(table.slots);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_found_until_removed),
        cmocka_unit_test(old_requests_stay_found_while_new_ones_pass_by),
        cmocka_unit_test(random_puts_and_removes_agree_with_an_array),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
