/* What of a stream is needed: exactly what is held and not deleted, or unread, by any queue. */
#include "tests/lib/unit.h"
#include "script.h"

enum { STREAM = 1, MESSAGES = 10 };

/* Shows messages 0 to 9 of the first stream: what is wanted as its number, the rest as a dot. */
static void expect_wanted(struct script *s, const char *expected)
{
    uint64_t bits[1] = {0}, first, end;
    char text[MESSAGES + 1] = "";

    core_mark_wanted(s->sim->core, STREAM, 0, MESSAGES, bits);
    for (int i = 0; i < MESSAGES; i++)
        text[i] = (bits[0] >> i & 1) != 0 ? (char)('0' + i) : '.';
    assert_string_equal(text, expected);
    assert_int_equal(bits[0] >> MESSAGES, 0);
    if (core_wanted(s->sim->core, STREAM, 0, MESSAGES, &first, &end)) {
        assert_int_equal(first, __builtin_ctzll(bits[0]));
        assert_true(end > first && (bits[0] >> (end - 1) & 1) != 0);
    } else {
        assert_int_equal(bits[0], 0);
    }
}

/* The first stream has messages 0 to 9, "a" to "j", and a queue "one" that takes them; "two" takes those from 5 on. */
static struct script *two_queues(void)
{
    struct script *s = script_new(NULL);

    script_topic(s, "news");
    script_queue(s, "one", 100000);
    script_queue(s, "two", 100000);
    script_subscribe(s, "news", "one");
    script_publish(s, 0, "news", "a b c d e");
    script_subscribe(s, "news", "two");
    script_publish(s, 0, "news", "f g h i j");
    return s;
}

TEST(what_is_unread_is_wanted_by_those_who_take_it)
{
    struct script *s = two_queues();

    expect_wanted(s, "0123456789");
    script_purge(s, "one");
    expect_wanted(s, ".....56789");
    script_unsubscribe(s, "news", "two");
    expect_wanted(s, ".....56789");
    script_queue_delete(s, "two");
    expect_wanted(s, "..........");
    script_free(s);
}

TEST(what_is_held_is_wanted_until_it_is_deleted)
{
    struct script *s = two_queues();

    script_purge(s, "two");
    script_receive(s, 1, "one", 8, 0);
    expect_wanted(s, "0123456789");
    script_ack(s, 1, "one", "d");
    script_ack(s, 1, "one", "b");
    expect_wanted(s, "0.2.456789");
    script_nack(s, 1, "one", "e", 1000);
    script_ack(s, 1, "one", "f g h");
    expect_wanted(s, "0.2.4...89");
    script_receive(s, 1, "one", 2, 0);
    script_ack(s, 1, "one", "i j");
    expect_wanted(s, "0.2.4.....");
    script_ack(s, 1, "one", "a c");
    expect_wanted(s, "....4.....");
    script_free(s);
}

TEST(one_of_two_queues_is_enough)
{
    struct script *s = two_queues();

    script_receive(s, 1, "two", 5, 0);
    script_ack(s, 1, "two", "f h j");
    script_purge(s, "one");
    expect_wanted(s, "......6.8.");
    script_ack(s, 1, "two", "g i");
    expect_wanted(s, "..........");
    script_publish(s, 0, "news", "k");
    expect_wanted(s, "..........");
    script_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_unread_is_wanted_by_those_who_take_it),
        cmocka_unit_test(what_is_held_is_wanted_until_it_is_deleted),
        cmocka_unit_test(one_of_two_queues_is_enough),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
