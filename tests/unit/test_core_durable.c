/* A durable core: what waits for a commit to be synced, and what does not. Short scripts, as in test_core_trace.c; what
 * survives a crash is the matter of sim/crash.c. */
#include <string.h>

#include "tests/lib/unit.h"
#include "script.h"

/* One queue, "jobs", of a durable core, and a message in the hands of 1. From now on nothing is synced. */
static struct script *durable_jobs(void)
{
    struct sim_options options = sim_options_default(1);
    struct script *s;

    options.core.durable = true;
    s = script_new(&options);
    script_queue(s, "jobs", 100);
    script_send(s, 0, "jobs", "a");
    script_receive(s, 1, "jobs", 1, 0);
    EXPECT_TRACE(s, "  0 deliver jobs: a to 1\n");
    s->show_answers = s->show_trims = true;
    s->sim->sync_stopped = true;
    return s;
}

static void sync(struct script *s)
{
    s->sim->sync_stopped = false;
    script_advance_ms(s, 0);
}

TEST(changes_are_answered_when_they_are_synced)
{
    struct script *s = durable_jobs();

    script_ack(s, 1, "jobs", "a");
    script_topic(s, "news");
    script_subscribe(s, "news", "jobs");
    EXPECT_TRACE(s, "");
    sync(s);
    EXPECT_TRACE(s, "  0 ok 1 ACK by 1\n"
                    "  0 trim 1\n"
                    "  0 ok 1 TOPIC_CREATE by 0\n"
                    "  0 ok 1 SUBSCRIBE by 0\n");
    script_free(s);
}

/* That it was deleted by somebody else is no safer yet than if it were deleted now. */
TEST(ack_that_changes_nothing_waits_for_what_is_not_synced)
{
    struct script *s = durable_jobs();

    script_ack(s, 1, "jobs", "a");
    script_ack(s, 2, "jobs", "a");
    EXPECT_TRACE(s, "");
    sync(s);
    EXPECT_TRACE(s, "  0 ok 1 ACK by 1\n"
                    "  0 trim 1\n"
                    "  0 ok 1 ACK by 2\n");
    script_ack(s, 2, "jobs", "a");
    EXPECT_TRACE(s, "  0 ok 1 ACK by 2\n");
    script_free(s);
}

TEST(what_is_deleted_before_it_was_safely_made_is_told_so)
{
    struct script *s = durable_jobs();

    script_queue(s, "more", 100);
    script_queue_delete(s, "more");
    EXPECT_TRACE(s, "");
    sync(s);
    EXPECT_TRACE(s, "  0 refuse QUEUE_CREATE by 0: QUEUE_NOT_FOUND\n"
                    "  0 ok 1 QUEUE_DELETE by 0\n");
    script_free(s);
}

TEST(asking_and_receiving_wait_for_nothing)
{
    struct script *s = durable_jobs();

    script_nack(s, 1, "jobs", "a", 0);
    script_receive(s, 2, "jobs", 1, 0);
    script_count(s, "jobs");
    EXPECT_TRACE(s, "  0 deliver jobs: a*2 to 2\n"
                    "  0 jobs: 0 visible, 1 in flight, 0 delayed\n");
    sync(s);
    EXPECT_TRACE(s, "  0 changed 1\n");
    script_free(s);
}

/* ---- early delivery ---- */

/* Two queues of topic "news", of which "soon" is early. From now on nothing is synced. */
static struct script *durable_news(void)
{
    struct sim_options options = sim_options_default(1);
    struct script *s;

    options.core.durable = true;
    s = script_new(&options);
    script_topic(s, "news");
    script_queue(s, "soon", 100);
    script_queue(s, "safe", 100);
    script_queue_early(s, "soon", true);
    script_subscribe(s, "news", "soon");
    script_subscribe(s, "news", "safe");
    s->show_answers = s->show_trims = true;
    s->sim->sync_stopped = true;
    return s;
}

TEST(early_queue_gets_a_message_in_the_turn_of_its_commit)
{
    struct script *s = durable_news();

    script_receive(s, 1, "soon", 10, 1000);
    script_receive(s, 2, "safe", 10, 1000);
    EXPECT_TRACE(s, "");
    script_publish(s, 0, "news", "a b");
    EXPECT_TRACE(s, "  0 deliver soon: a b to 1\n");
    script_count(s, "soon");
    script_count(s, "safe");
    script_peek(s, "safe", 10);
    EXPECT_TRACE(s, "  0 soon: 0 visible, 2 in flight, 0 delayed\n"
                    "  0 safe: 0 visible, 0 in flight, 0 delayed\n"
                    "  0 peek:\n");
    sync(s);
    EXPECT_TRACE(s, "  0 published 0+2 by 0\n"
                    "  0 deliver safe: a b to 2\n");
    script_free(s);
}

/* In the turn itself nothing is to be seen before it is committed. */
TEST(early_queue_shows_what_is_committed)
{
    struct script *s = durable_news();

    script_begin(s);
    script_publish(s, 0, "news", "a b");
    script_count(s, "soon");
    script_end(s);
    script_count(s, "soon");
    script_peek(s, "soon", 10);
    EXPECT_TRACE(s, "  0 soon: 0 visible, 0 in flight, 0 delayed\n"
                    "  0 soon: 2 visible, 0 in flight, 0 delayed\n"
                    "  0 peek: a b\n");
    script_free(s);
}

/* The ack is a fact of a later commit than its message's: answered, and forgotten, after it. */
TEST(message_may_be_deleted_before_it_is_synced)
{
    struct script *s = durable_news();

    script_unsubscribe(s, "news", "safe");
    script_publish(s, 0, "news", "a b");
    script_receive(s, 1, "soon", 10, 0);
    script_ack(s, 1, "soon", "a b");
    script_ack(s, 1, "soon", "a b");
    script_count(s, "soon");
    EXPECT_TRACE(s, "  0 deliver soon: a b to 1\n"
                    "  0 soon: 0 visible, 0 in flight, 0 delayed\n");
    script_publish(s, 0, "news", "c");
    script_receive(s, 1, "soon", 10, 0);
    EXPECT_TRACE(s, "  0 deliver soon: c to 1\n");
    sync(s);
    EXPECT_TRACE(s, "  0 ok 1 UNSUBSCRIBE by 0\n"
                    "  0 published 0+2 by 0\n"
                    "  0 ok 2 ACK by 1\n"
                    "  0 trim 2\n"
                    "  0 published 2+1 by 0\n");
    script_free(s);
}

TEST(queue_that_becomes_early_gets_what_is_on_its_way)
{
    struct script *s = durable_news();

    script_publish(s, 0, "news", "a b");
    script_receive(s, 2, "safe", 10, 1000);
    EXPECT_TRACE(s, "");
    script_queue_early(s, "safe", true);
    EXPECT_TRACE(s, "  0 deliver safe: a b to 2\n");
    sync(s);
    EXPECT_TRACE(s, "  0 published 0+2 by 0\n");
    script_free(s);
}

/* What was given out stays so, and comes again when it must; what was not waits. */
TEST(queue_that_ceases_to_be_early_waits_again)
{
    struct script *s = durable_news();

    script_publish(s, 0, "news", "a b c");
    script_receive(s, 1, "soon", 2, 0);
    EXPECT_TRACE(s, "  0 deliver soon: a b to 1\n");
    script_queue_early(s, "soon", false);
    script_nack(s, 1, "soon", "a", 0);
    script_publish(s, 0, "news", "d");
    script_receive(s, 2, "soon", 10, 0);
    script_count(s, "soon");
    script_receive(s, 2, "soon", 10, 1000);
    EXPECT_TRACE(s, "  0 deliver soon: a*2 to 2\n"
                    "  0 soon: 0 visible, 2 in flight, 0 delayed\n");
    sync(s);
    EXPECT_TRACE(s, "  0 published 0+3 by 0\n"
                    "  0 changed 1\n"
                    "  0 published 3+1 by 0\n"
                    "  0 deliver soon: c d to 2\n");
    script_free(s);
}

enum { ROUNDS = 29, ROUND_MESSAGES = 4000 };

/* Extends every second message of the last batch, so that the others lie in runs of their own. */
static void extend_every_second(struct script *s, const struct script_word *last)
{
    size_t room = ROUND_MESSAGES / 2 * 27;
    struct fanq_writer w = fanq_writer_over(sim_request_bytes(s->sim, room), room);

    for (uint64_t i = 0; i < ROUND_MESSAGES; i += 2) {
        fanq_write_uint(&w, last->stream);
        fanq_write_uint(&w, last->seq - i);
        fanq_write_uint(&w, 1);
    }
    script_request(s, 1,
                   &(struct fanq_request){.op = FANQ_OP_EXTEND,
                                          .change = {.queue_id = last->queue_id,
                                                     .batch = last->batch,
                                                     .time_ms = 3600 * 1000,
                                                     .ranges = fanq_ranges_over(
                                                         (struct fanq_bytes){w.start, fanq_writer_length(&w)},
                                                         ROUND_MESSAGES / 2)}});
}

/* However much comes due at once: the facts of one turn have a bound, and the next turn comes at once. */
TEST(timeouts_of_one_turn_are_bounded)
{
    struct script *s = durable_jobs();
    char words[2 * ROUND_MESSAGES + 1] = "";

    s->sim->sync_stopped = s->show_answers = s->show_trims = false;
    script_queue(s, "push", 200);
    script_send(s, 0, "push", "y");
    script_push(s, 3, "push", FANQ_PUSH_ACK, 10);
    for (int i = 0; i < ROUND_MESSAGES; i++)
        memcpy(words + 2 * i, "x ", 3);
    for (int round = 0; round < ROUNDS; round++) {
        script_send(s, 0, "jobs", words);
        script_receive(s, 1, "jobs", ROUND_MESSAGES, 0);
        extend_every_second(s, &s->words[s->word_count - 1]);
        s->trace_length = 0;
        s->trace[0] = '\0';
    }
    sim_advance_ms(s->sim, 100);
    script_begin(s);
    assert_in_range(core_fact_bytes(s->sim->core), 1 << 20, (1 << 20) + ROUND_MESSAGES * 16);
    script_disconnect(s, 3); /* what its push holds comes back in the next turn, too */
    script_count(s, "push");
    script_end(s);
    assert_true(core_next_ms(s->sim->core) <= s->sim->now_ms);
    script_advance_ms(s, 0);
    script_count(s, "push");
    script_count(s, "jobs");
    EXPECT_TRACE(s, "100 push: 0 visible, 1 in flight, 0 delayed\n"
                    "100 push: 1 visible, 0 in flight, 0 delayed\n"
                    "100 jobs: 58001 visible, 58000 in flight, 0 delayed\n");
    script_free(s);
}

/* ---- facts that nobody waits for ---- */

/* One queue of a durable core whose messages are deleted as they go out, to connection 1. Trims are shown. */
static struct script *durable_auto_jobs(void)
{
    struct sim_options options = sim_options_default(1);
    struct script *s;

    options.core.durable = true;
    s = script_new(&options);
    script_queue(s, "jobs", 100);
    script_push(s, 1, "jobs", FANQ_PUSH_AUTO, 1000);
    script_advance_ms(s, 10);
    s->show_answers = s->show_trims = true;
    s->sim->options.core.durable = false; /* the simulation makes no commits of its own accord */
    return s;
}

/* Neither a commit alone, nor a turn at once; and what was deleted stays until the commit that says so is safe. */
TEST(deliveries_in_auto_mode_wait_a_little_for_their_commit)
{
    struct script *s = durable_auto_jobs();
    uint64_t appended;

    script_send(s, 0, "jobs", "a b");
    appended = s->sim->appended;
    assert_int_equal(core_next_ms(s->sim->core), s->sim->now_ms + 5);
    script_advance_ms(s, 4);
    EXPECT_TRACE(s, " 10 published 0+2 by 0\n"
                    " 10 deliver jobs: a b to 1\n");
    assert_int_equal(s->sim->appended, appended);
    script_advance_ms(s, 1);
    EXPECT_TRACE(s, " 15 trim 2\n");
    assert_int_equal(s->sim->appended, appended + 1);
    assert_true(core_next_ms(s->sim->core) > s->sim->now_ms + 1000);
    script_free(s);
}

TEST(they_go_with_the_next_commit)
{
    struct script *s = durable_auto_jobs();
    uint64_t appended;

    script_send(s, 0, "jobs", "a b");
    appended = s->sim->appended;
    script_send(s, 0, "jobs", "c");
    EXPECT_TRACE(s, " 10 published 0+2 by 0\n"
                    " 10 deliver jobs: a b to 1\n"
                    " 10 published 2+1 by 0\n"
                    " 10 trim 2\n"
                    " 10 deliver jobs: c to 1\n");
    assert_int_equal(s->sim->appended, appended + 1);
    script_free(s);
}

TEST(an_answer_that_depends_on_them_makes_their_commit)
{
    struct script *s = durable_auto_jobs();
    uint64_t appended;

    script_send(s, 0, "jobs", "a b");
    appended = s->sim->appended;
    script_topic(s, "news");
    assert_int_equal(s->sim->appended, appended + 1);
    assert_true(core_next_ms(s->sim->core) > s->sim->now_ms + 1000);
    script_free(s);
}

TEST(nothing_waits_when_the_broker_stops)
{
    struct script *s = durable_auto_jobs();
    uint64_t appended;

    script_send(s, 0, "jobs", "a b");
    appended = s->sim->appended;
    assert_true(core_fact_bytes(s->sim->core) > 0);
    script_begin(s);
    sim_drain(s->sim);
    script_end(s);
    assert_int_equal(core_fact_bytes(s->sim->core), 0);
    assert_int_equal(s->sim->appended, appended + 1);
    script_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changes_are_answered_when_they_are_synced),
        cmocka_unit_test(ack_that_changes_nothing_waits_for_what_is_not_synced),
        cmocka_unit_test(what_is_deleted_before_it_was_safely_made_is_told_so),
        cmocka_unit_test(asking_and_receiving_wait_for_nothing),
        cmocka_unit_test(early_queue_gets_a_message_in_the_turn_of_its_commit),
        cmocka_unit_test(early_queue_shows_what_is_committed),
        cmocka_unit_test(message_may_be_deleted_before_it_is_synced),
        cmocka_unit_test(queue_that_becomes_early_gets_what_is_on_its_way),
        cmocka_unit_test(queue_that_ceases_to_be_early_waits_again),
        cmocka_unit_test(timeouts_of_one_turn_are_bounded),
        cmocka_unit_test(deliveries_in_auto_mode_wait_a_little_for_their_commit),
        cmocka_unit_test(they_go_with_the_next_commit),
        cmocka_unit_test(an_answer_that_depends_on_them_makes_their_commit),
        cmocka_unit_test(nothing_waits_when_the_broker_stops),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
