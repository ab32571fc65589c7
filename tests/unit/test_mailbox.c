#include "base/mailbox.h"

#include <pthread.h>
#include <sched.h>

#include "tests/lib/failing_malloc.h"
#include "tests/lib/unit.h"

enum { STRESS_ITEMS = 1000000 };

TEST(only_the_newest_is_taken_and_once)
{
    struct mailbox *m = mailbox_new(sizeof(int));
    int item = -1;

    assert_false(mailbox_take(m, &item));
    for (int i = 0; i < 100; i++) {
        for (int j = 0; j <= i % 4; j++)
            mailbox_put(m, &(int){i * 10 + j});
        assert_true(mailbox_take(m, &item));
        assert_int_equal(item, i * 10 + i % 4);
        assert_false(mailbox_take(m, &item));
    }
    mailbox_free(m);
}

TEST(without_memory_there_is_no_mailbox)
{
    failing_malloc_reset();
    failing_malloc_fail_at(1);
    assert_null(mailbox_new(8));
    failing_malloc_fail_at(0);
    mailbox_free(mailbox_new(8));
    mailbox_free(NULL);
    assert_int_equal(failing_malloc_live(), 0);
}

struct letter {
    uint64_t number;
    uint64_t copies[15]; /* of the number, so that a letter of two halves is seen */
};

static void *put_all(void *context)
{
    for (uint64_t i = 1; i <= STRESS_ITEMS; i++) {
        struct letter letter = {.number = i};

        for (int j = 0; j < 15; j++)
            letter.copies[j] = i;
        mailbox_put(context, &letter);
        if (i % 1024 == 0)
            sched_yield();
    }
    return NULL;
}

TEST(two_threads_and_every_letter_is_whole_and_newer)
{
    struct mailbox *m = mailbox_new(sizeof(struct letter));
    struct letter letter = {0};
    uint64_t last = 0, bad = 0;
    pthread_t putter;

    assert_int_equal(pthread_create(&putter, NULL, put_all, m), 0);
    while (last < STRESS_ITEMS) { /* the last one comes, whatever was missed */
        if (!mailbox_take(m, &letter))
            continue;
        bad += letter.number <= last;
        for (int j = 0; j < 15; j++)
            bad += letter.copies[j] != letter.number;
        last = letter.number;
    }
    assert_int_equal(pthread_join(putter, NULL), 0);
    assert_int_equal(bad, 0);
    assert_false(mailbox_take(m, &letter));
    mailbox_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_newest_is_taken_and_once),
        cmocka_unit_test(without_memory_there_is_no_mailbox),
        cmocka_unit_test(two_threads_and_every_letter_is_whole_and_newer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
