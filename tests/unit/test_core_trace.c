/* The rules of queues and topics, one short script each: what is asked, and the trace of what the broker
 * did. */
#include "tests/lib/unit.h"
#include "script.h"

enum { HOUR_MS = 3600 * 1000 };

/* A script with one queue, "jobs", whose messages come back after 100 ms. */
static struct script *jobs(void)
{
    struct script *s = script_new(NULL);

    script_queue(s, "jobs", 100);
    return s;
}

/* ---- waiting ---- */

TEST(long_polls_are_served_in_turn)
{
    struct script *s = jobs();

    script_receive(s, 1, "jobs", 1, 1000);
    script_receive(s, 2, "jobs", 1, 1000);
    script_receive(s, 3, "jobs", 1, 1000);
    script_send(s, 0, "jobs", "a b");
    script_send(s, 0, "jobs", "c");
    EXPECT_TRACE(s, "  0 deliver jobs: a to 1\n"
                    "  0 deliver jobs: b to 2\n"
                    "  0 deliver jobs: c to 3\n");
    script_free(s);
}

TEST(long_poll_ends_at_its_time_and_not_before)
{
    struct script *s = jobs();

    script_receive(s, 1, "jobs", 1, 50);
    assert_true(core_next_ms(s->sim->core) <= s->sim->now_ms + 50);
    script_advance_ms(s, 49);
    EXPECT_TRACE(s, "");
    script_advance_ms(s, 1);
    EXPECT_TRACE(s, " 50 empty to 1\n");
    script_send(s, 0, "jobs", "a");
    EXPECT_TRACE(s, "");
    script_free(s);
}

/* The shell may be late: what came back while it slept still reaches those whose time was over
 * meanwhile. */
TEST(message_of_the_last_turn_reaches_a_long_poll)
{
    struct script *s = jobs();

    script_send(s, 0, "jobs", "a");
    script_receive(s, 1, "jobs", 1, 0);
    script_receive(s, 2, "jobs", 1, 100);
    script_advance_ms(s, 150);
    EXPECT_TRACE(s, "  0 deliver jobs: a to 1\n"
                    "150 deliver jobs: a*2 to 2\n");
    script_free(s);
}

TEST(long_poll_ends_with_its_connection)
{
    struct script *s = jobs();

    script_receive(s, 1, "jobs", 1, 1000);
    script_receive(s, 2, "jobs", 1, 1000);
    script_disconnect(s, 1);
    script_send(s, 0, "jobs", "a");
    script_advance_ms(s, 1000);
    EXPECT_TRACE(s, "  0 deliver jobs: a to 2\n");
    script_free(s);
}

/* The number of a connection is used again at once: the new one gets nothing of the old one's. */
TEST(answers_of_an_ended_connection_are_dropped)
{
    struct sim_options options = sim_options_default(1);
    struct script *s;

    options.sync_delay_turns_max = 3;
    s = script_new(&options);
    script_queue(s, "jobs", 100);
    s->show_answers = true;
    script_begin(s);
    script_send(s, 1, "jobs", "a");
    script_disconnect(s, 1);
    script_end(s);
    for (int i = 0; i < 5; i++)
        script_advance_ms(s, 0);
    EXPECT_TRACE(s, "");
    script_count(s, "jobs");
    EXPECT_TRACE(s, "  0 jobs: 1 visible, 0 in flight, 0 delayed\n");
    script_free(s);
}

TEST(wait_over_several_queues_ends_with_the_first)
{
    struct script *s = jobs();

    script_queue(s, "mail", 100);
    script_receive(s, 1, "jobs mail", 10, 1000);
    script_receive(s, 2, "jobs", 10, 1000);
    script_send(s, 0, "mail", "m");
    script_send(s, 0, "jobs", "a");
    script_advance_ms(s, 1000);
    EXPECT_TRACE(s, "  0 deliver mail: m to 1\n"
                    "  0 deliver jobs: a to 2\n");
    script_free(s);
}

TEST(queue_named_twice_counts_once)
{
    struct script *s = jobs();

    script_receive(s, 1, "jobs jobs jobs", 1, 1000);
    script_receive(s, 2, "jobs", 1, 1000);
    script_send(s, 0, "jobs", "a b");
    EXPECT_TRACE(s, "  0 deliver jobs: a to 1\n"
                    "  0 deliver jobs: b to 2\n");
    script_free(s);
}

TEST(receive_without_wait_sees_the_same_turn)
{
    struct script *s = jobs();

    script_begin(s);
    script_receive(s, 1, "jobs", 10, 0);
    script_send(s, 0, "jobs", "a");
    script_end(s);
    script_receive(s, 1, "jobs", 10, 0);
    EXPECT_TRACE(s, "  0 deliver jobs: a to 1\n"
                    "  0 empty to 1\n");
    script_free(s);
}

/* A socket that is full gets nothing, and holds nobody up. When it is writable again it stands behind
 * the others. */
TEST(blocked_connection_steps_aside)
{
    struct script *s = jobs();

    script_receive(s, 1, "jobs", 1, 1000);
    script_receive(s, 2, "jobs", 1, 1000);
    script_block(s, 1);
    script_send(s, 0, "jobs", "a");
    script_receive(s, 2, "jobs", 1, 1000);
    script_unblock(s, 1);
    script_send(s, 0, "jobs", "b c");
    EXPECT_TRACE(s, "  0 deliver jobs: a to 2\n"
                    "  0 deliver jobs: b to 2\n"
                    "  0 deliver jobs: c to 1\n");
    script_free(s);
}

TEST(unblocking_wakes)
{
    struct script *s = jobs();

    script_receive(s, 1, "jobs", 1, 1000);
    script_block(s, 1);
    script_send(s, 0, "jobs", "a");
    EXPECT_TRACE(s, "");
    script_unblock(s, 1);
    EXPECT_TRACE(s, "  0 deliver jobs: a to 1\n");
    script_free(s);
}

/* ---- holding ---- */

TEST(message_comes_back_after_its_timeout)
{
    struct script *s = jobs();

    script_send(s, 0, "jobs", "a b c");
    script_receive(s, 1, "jobs", 3, 0);
    script_ack(s, 1, "jobs", "b");
    script_receive(s, 2, "jobs", 3, 500);
    script_advance_ms(s, 99);
    EXPECT_TRACE(s, "  0 deliver jobs: a b c to 1\n");
    script_advance_ms(s, 1);
    EXPECT_TRACE(s, "100 deliver jobs: a*2 c*2 to 2\n");
    script_free(s);
}

/* What a receive took stays in flight when its connection ends: the work may be going on elsewhere. */
TEST(received_messages_outlive_their_connection)
{
    struct script *s = jobs();

    script_send(s, 0, "jobs", "a");
    script_receive(s, 1, "jobs", 1, 0);
    script_disconnect(s, 1);
    script_receive(s, 2, "jobs", 1, 500);
    script_advance_ms(s, 50);
    EXPECT_TRACE(s, "  0 deliver jobs: a to 1\n");
    script_advance_ms(s, 50);
    EXPECT_TRACE(s, "100 deliver jobs: a*2 to 2\n");
    script_free(s);
}

TEST(redelivery_comes_before_new_messages)
{
    struct script *s = jobs();

    script_send(s, 0, "jobs", "a b c d");
    script_receive(s, 1, "jobs", 2, 0);
    script_nack(s, 1, "jobs", "b", 0);
    script_nack(s, 1, "jobs", "a", 0);
    script_receive(s, 1, "jobs", 10, 0);
    EXPECT_TRACE(s, "  0 deliver jobs: a b to 1\n"
                    "  0 changed 1\n"
                    "  0 changed 1\n"
                    "  0 deliver jobs: b*2 a*2 c d to 1\n");
    script_free(s);
}

/* Nothing new overtakes a message that comes again and is too large for what is left of a delivery. */
TEST(large_redelivery_is_not_overtaken)
{
    struct script *s = jobs();

    script_send(s, 0, "jobs", "a 0123456789 c");
    script_receive(s, 1, "jobs", 2, 0);
    script_nack(s, 1, "jobs", "a", 0);
    script_nack(s, 1, "jobs", "0123456789", 0);
    EXPECT_TRACE(s, "  0 deliver jobs: a 0123456789 to 1\n"
                    "  0 changed 1\n"
                    "  0 changed 1\n");
    script_receive_bytes(s, 1, "jobs", 10, 14);
    script_receive_bytes(s, 1, "jobs", 10, 14);
    script_receive_bytes(s, 1, "jobs", 10, 14);
    EXPECT_TRACE(s, "  0 deliver jobs: a*2 to 1\n"
                    "  0 deliver jobs: 0123456789*2 to 1\n"
                    "  0 deliver jobs: c to 1\n");
    script_free(s);
}

TEST(nack_delays)
{
    struct script *s = jobs();

    script_send(s, 0, "jobs", "a b");
    script_receive(s, 1, "jobs", 2, 0);
    script_nack(s, 1, "jobs", "a", 250);
    script_count(s, "jobs");
    script_receive(s, 2, "jobs", 2, HOUR_MS);
    script_advance_ms(s, 249);
    script_receive(s, 3, "jobs", 2, HOUR_MS);
    script_advance_ms(s, 1);
    EXPECT_TRACE(s, "  0 deliver jobs: a b to 1\n"
                    "  0 changed 1\n"
                    "  0 jobs: 0 visible, 1 in flight, 1 delayed\n"
                    "249 deliver jobs: b*2 to 2\n"
                    "250 deliver jobs: a*2 to 3\n");
    script_free(s);
}

TEST(extend_moves_the_deadline_of_just_these)
{
    struct script *s = jobs();

    script_send(s, 0, "jobs", "a b c");
    script_receive(s, 1, "jobs", 3, 0);
    script_extend(s, 1, "jobs", "b", 300);
    script_extend(s, 1, "jobs", "c", 0);
    script_receive(s, 2, "jobs", 3, HOUR_MS);
    script_receive(s, 3, "jobs", 3, HOUR_MS);
    script_advance_ms(s, 100);
    EXPECT_TRACE(s, "  0 deliver jobs: a b c to 1\n"
                    "  0 changed 1\n"
                    "  0 changed 1\n"
                    "  0 deliver jobs: c*2 to 2\n"
                    "100 deliver jobs: a*2 c*3 to 3\n");
    script_receive(s, 3, "jobs", 3, HOUR_MS);
    script_ack(s, 3, "jobs", "a c");
    script_advance_ms(s, 200);
    EXPECT_TRACE(s, "300 deliver jobs: b*2 to 3\n");
    script_free(s);
}

/* Extended messages still belong to their batch: it can be spoken of by the same number again. */
TEST(extended_messages_stay_in_their_batch)
{
    struct script *s = jobs();

    script_send(s, 0, "jobs", "a b");
    script_receive(s, 1, "jobs", 2, 0);
    script_extend(s, 1, "jobs", "a", 500);
    script_extend(s, 1, "jobs", "a", 900);
    script_nack(s, 1, "jobs", "a b", 0);
    EXPECT_TRACE(s, "  0 deliver jobs: a b to 1\n"
                    "  0 changed 1\n"
                    "  0 changed 1\n"
                    "  0 changed 2\n");
    script_free(s);
}

TEST(late_nack_and_extend_do_not_touch_the_next_holder)
{
    struct script *s = jobs();

    script_send(s, 0, "jobs", "a");
    script_receive(s, 1, "jobs", 1, 0);
    script_advance_ms(s, 100);
    script_nack(s, 1, "jobs", "a", 0);
    script_extend(s, 1, "jobs", "a", 10);
    EXPECT_TRACE(s, "  0 deliver jobs: a to 1\n"
                    "100 changed 0\n"
                    "100 changed 0\n");
    script_free(s);
}

/* ---- deleting ---- */

TEST(ack_of_a_deleted_message_succeeds)
{
    struct script *s = jobs();

    script_send(s, 0, "jobs", "a b c");
    script_receive(s, 1, "jobs", 3, 0);
    script_ack(s, 1, "jobs", "b");
    script_ack(s, 1, "jobs", "b a");
    script_ack(s, 2, "jobs", "a b");
    script_count(s, "jobs");
    EXPECT_TRACE(s, "  0 deliver jobs: a b c to 1\n"
                    "  0 jobs: 0 visible, 1 in flight, 0 delayed\n");
    script_free(s);
}

/* On a standard queue a delete is a delete, whoever holds the message by now. */
TEST(late_ack_deletes_behind_the_next_holder)
{
    struct script *s = jobs();

    script_send(s, 0, "jobs", "a b");
    script_receive(s, 1, "jobs", 2, 0);
    script_advance_ms(s, 100);
    script_ack(s, 1, "jobs", "a");
    script_receive(s, 2, "jobs", 2, 0);
    script_ack(s, 1, "jobs", "b");
    script_advance_ms(s, 100);
    script_count(s, "jobs");
    EXPECT_TRACE(s, "  0 deliver jobs: a b to 1\n"
                    "100 deliver jobs: b*2 to 2\n"
                    "200 jobs: 0 visible, 0 in flight, 0 delayed\n");
    script_free(s);
}

TEST(new_queue_of_the_same_name_takes_no_late_acks)
{
    struct script *s = jobs();

    script_send(s, 0, "jobs", "a");
    script_receive(s, 1, "jobs", 1, 0);
    script_queue_delete(s, "jobs");
    script_ack(s, 1, "jobs", "a");
    script_queue(s, "jobs", 100);
    script_send(s, 0, "jobs", "b");
    script_receive(s, 2, "jobs", 1, 0);
    script_ack(s, 1, "jobs", "a");
    script_count(s, "jobs");
    EXPECT_TRACE(s, "  0 deliver jobs: a to 1\n"
                    "  0 refuse ACK by 1: QUEUE_NOT_FOUND\n"
                    "  0 deliver jobs: b to 2\n"
                    "  0 refuse ACK by 1: QUEUE_NOT_FOUND\n"
                    "  0 jobs: 0 visible, 1 in flight, 0 delayed\n");
    script_free(s);
}

TEST(deleting_a_queue_ends_what_waits_for_it)
{
    struct script *s = jobs();

    script_queue(s, "mail", 100);
    script_receive(s, 1, "jobs", 1, 1000);
    script_receive(s, 2, "mail jobs", 1, 1000);
    script_push(s, 3, "jobs", FANQ_PUSH_ACK, 10);
    script_queue_delete(s, "jobs");
    script_send(s, 0, "jobs", "a");
    script_send(s, 0, "mail", "m");
    EXPECT_TRACE(s, "  0 refuse RECEIVE by 1: QUEUE_NOT_FOUND\n"
                    "  0 refuse RECEIVE by 2: QUEUE_NOT_FOUND\n"
                    "  0 end push of 3: QUEUE_NOT_FOUND\n"
                    "  0 refuse SEND by 0: QUEUE_NOT_FOUND\n");
    script_free(s);
}

TEST(purge_deletes_everything)
{
    struct script *s = jobs();

    script_send(s, 0, "jobs", "a b c d");
    script_receive(s, 1, "jobs", 3, 0);
    script_nack(s, 1, "jobs", "a", 50);
    script_nack(s, 1, "jobs", "b", 0);
    script_purge(s, "jobs");
    script_count(s, "jobs");
    script_ack(s, 1, "jobs", "c");
    script_advance_ms(s, 500);
    script_receive(s, 1, "jobs", 10, 0);
    script_send(s, 0, "jobs", "e");
    script_receive(s, 1, "jobs", 10, 0);
    EXPECT_TRACE(s, "  0 deliver jobs: a b c to 1\n"
                    "  0 changed 1\n"
                    "  0 changed 1\n"
                    "  0 jobs: 0 visible, 0 in flight, 0 delayed\n"
                    "500 empty to 1\n"
                    "500 deliver jobs: e to 1\n");
    script_free(s);
}

/* What stands before a purge is gone, what stands behind it is not, also within a turn. */
TEST(purge_stands_in_the_order_of_requests)
{
    struct script *s = jobs();

    script_begin(s);
    script_send(s, 0, "jobs", "a b");
    script_purge(s, "jobs");
    script_send(s, 0, "jobs", "c");
    script_end(s);
    script_receive(s, 1, "jobs", 10, 0);
    EXPECT_TRACE(s, "  0 deliver jobs: c to 1\n");
    script_free(s);
}

/* ---- topics ---- */

/* A script with a topic, "news", and two queues, "a" and "b", that do not take from it yet. */
static struct script *news(void)
{
    struct script *s = script_new(NULL);

    script_topic(s, "news");
    script_queue(s, "a", 100);
    script_queue(s, "b", 100);
    return s;
}

TEST(each_subscriber_gets_each_message)
{
    struct script *s = news();

    script_subscribe(s, "news", "a");
    script_subscribe(s, "news", "b");
    script_subscribe(s, "news", "a");
    script_publish(s, 0, "news", "x y");
    script_receive(s, 1, "a", 10, 0);
    script_receive(s, 2, "b", 10, 0);
    script_ack(s, 1, "a", "x y");
    script_count(s, "a");
    script_count(s, "b");
    EXPECT_TRACE(s, "  0 deliver a: x y to 1\n"
                    "  0 deliver b: x y to 2\n"
                    "  0 a: 0 visible, 0 in flight, 0 delayed\n"
                    "  0 b: 0 visible, 2 in flight, 0 delayed\n");
    script_free(s);
}

TEST(subscriber_gets_what_is_published_after_it_came)
{
    struct script *s = news();

    script_publish(s, 0, "news", "before");
    script_begin(s);
    script_publish(s, 0, "news", "same");
    script_subscribe(s, "news", "a");
    script_publish(s, 0, "news", "after");
    script_end(s);
    script_receive(s, 1, "a", 10, 0);
    EXPECT_TRACE(s, "  0 deliver a: after to 1\n");
    script_free(s);
}

TEST(unsubscribing_keeps_what_was_published)
{
    struct script *s = news();

    script_subscribe(s, "news", "a");
    script_begin(s);
    script_publish(s, 0, "news", "x");
    script_unsubscribe(s, "news", "a");
    script_publish(s, 0, "news", "y");
    script_end(s);
    script_publish(s, 0, "news", "z");
    script_count(s, "a");
    script_receive(s, 1, "a", 10, 0);
    script_unsubscribe(s, "news", "a");
    EXPECT_TRACE(s, "  0 a: 1 visible, 0 in flight, 0 delayed\n"
                    "  0 deliver a: x to 1\n"
                    "  0 refuse UNSUBSCRIBE by 0: SUBSCRIPTION_NOT_FOUND\n");
    script_free(s);
}

TEST(subscribing_again_takes_only_new_messages)
{
    struct script *s = news();

    script_subscribe(s, "news", "a");
    script_subscribe(s, "news", "b");
    script_publish(s, 0, "news", "u v");
    script_unsubscribe(s, "news", "a");
    script_publish(s, 0, "news", "w");
    script_subscribe(s, "news", "a");
    script_publish(s, 0, "news", "x y");
    script_count(s, "a");
    script_receive(s, 1, "a", 3, 0);
    script_receive(s, 1, "a", 3, 0);
    script_receive(s, 2, "b", 10, 0);
    EXPECT_TRACE(s, "  0 a: 4 visible, 0 in flight, 0 delayed\n"
                    "  0 deliver a: u v x to 1\n"
                    "  0 deliver a: y to 1\n"
                    "  0 deliver b: u v w x y to 2\n");
    script_free(s);
}

TEST(deleting_a_topic_keeps_what_was_published)
{
    struct script *s = news();

    script_subscribe(s, "news", "a");
    script_publish(s, 0, "news", "x");
    script_topic_delete(s, "news");
    script_topic(s, "news");
    script_publish(s, 0, "news", "y");
    script_receive(s, 1, "a", 10, 0);
    s->show_trims = true;
    script_ack(s, 1, "a", "x");
    EXPECT_TRACE(s, "  0 deliver a: x to 1\n"
                    "  0 stream ends\n");
    script_free(s);
}

/* A queue that takes from several streams gives what came first, whichever stream it came by. */
TEST(streams_are_merged_by_arrival)
{
    struct script *s = news();

    script_topic(s, "more");
    script_subscribe(s, "news", "a");
    script_subscribe(s, "more", "a");
    script_publish(s, 0, "more", "1");
    script_send(s, 0, "a", "2");
    script_publish(s, 0, "news", "3");
    script_publish(s, 0, "more", "4");
    script_send(s, 0, "a", "5 6");
    script_receive(s, 1, "a", 4, 0);
    script_receive(s, 1, "a", 4, 0);
    EXPECT_TRACE(s, "  0 deliver a: 1 2 3 4 to 1\n"
                    "  0 deliver a: 5 6 to 1\n");
    script_free(s);
}

/* ---- cutting ---- */

TEST(delivery_is_cut_by_count)
{
    struct script *s = jobs();

    script_send(s, 0, "jobs", "a b c");
    script_send(s, 0, "jobs", "d e");
    script_receive(s, 1, "jobs", 4, 0);
    script_receive(s, 1, "jobs", 4, 0);
    EXPECT_TRACE(s, "  0 deliver jobs: a b c d to 1\n"
                    "  0 deliver jobs: e to 1\n");
    script_free(s);
}

/* Each record has 7 bytes. */
TEST(delivery_is_cut_by_bytes)
{
    struct script *s = jobs();

    script_send(s, 0, "jobs", "a b c d");
    script_send(s, 0, "jobs", "e f");
    script_receive_bytes(s, 1, "jobs", 10, 1);
    script_receive_bytes(s, 1, "jobs", 10, 13);
    script_receive_bytes(s, 1, "jobs", 10, 21);
    script_receive_bytes(s, 1, "jobs", 10, 100);
    EXPECT_TRACE(s, "  0 deliver jobs: a to 1\n"
                    "  0 deliver jobs: b to 1\n"
                    "  0 deliver jobs: c d e to 1\n"
                    "  0 deliver jobs: f to 1\n");
    script_free(s);
}

TEST(publish_without_room_is_refused_whole)
{
    struct script *s = jobs();

    script_advance_ms(s, 0);
    s->sim->room_bytes_max = 20;
    script_send(s, 1, "jobs", "a b c");
    script_begin(s);
    script_send(s, 1, "jobs", "d e");
    script_send(s, 1, "jobs", "f");
    script_end(s);
    s->sim->room_bytes_max = UINT64_MAX;
    script_send(s, 1, "jobs", "g");
    script_receive(s, 1, "jobs", 10, 0);
    EXPECT_TRACE(s, "  0 refuse SEND by 1: NO_ROOM\n"
                    "  0 refuse SEND by 1: NO_ROOM\n"
                    "  0 deliver jobs: d e g to 1\n");
    script_free(s);
}

/* Who subscribes in the middle of a turn gets what comes after it. What came before is stored for nobody,
 * and no room was asked for it. */
TEST(what_came_before_the_first_subscriber_is_not_stored)
{
    struct script *s = script_new(NULL);
    struct tail_figures figures;

    script_topic(s, "news");
    script_queue(s, "a", 100);
    s->sim->room_bytes_max = 20;
    script_begin(s);
    script_publish(s, 0, "news", "u v w x y z");
    script_subscribe(s, "news", "a");
    script_end(s);
    tail_figures(s->sim->tail, &figures);
    assert_true(figures.commit_bytes < 100); /* header and trailer */
    script_begin(s);
    script_unsubscribe(s, "news", "a");
    script_publish(s, 0, "news", "0 1 2 3 4 5 6 7 8 9");
    script_subscribe(s, "news", "a");
    script_publish(s, 0, "news", "b");
    script_publish(s, 0, "news", "c");
    script_end(s);
    script_receive(s, 1, "a", 10, 0);
    EXPECT_TRACE(s, "  0 deliver a: b c to 1\n");
    script_free(s);
}

TEST(in_flight_is_bounded)
{
    struct sim_options options = sim_options_default(1);
    struct script *s;

    options.core.in_flight_per_queue_max = 3;
    s = script_new(&options);
    script_queue(s, "jobs", 100);
    script_send(s, 0, "jobs", "a b c d e");
    script_receive(s, 1, "jobs", 2, 0);
    script_receive(s, 1, "jobs", 2, 0);
    script_receive(s, 2, "jobs", 2, HOUR_MS);
    EXPECT_TRACE(s, "  0 deliver jobs: a b to 1\n"
                    "  0 deliver jobs: c to 1\n");
    script_ack(s, 1, "jobs", "b");
    EXPECT_TRACE(s, "  0 deliver jobs: d to 2\n");
    script_free(s);
}

/* What was nacked with a delay takes room like what is in flight; who holds nothing is served past the limit. */
TEST(delayed_messages_count_as_in_flight)
{
    struct sim_options options = sim_options_default(1);
    struct script *s;

    options.core.in_flight_per_queue_max = 2;
    s = script_new(&options);
    script_queue(s, "jobs", 100);
    script_send(s, 0, "jobs", "a b c d");
    script_receive(s, 1, "jobs", 2, 0);
    script_nack(s, 1, "jobs", "a b", 50);
    script_receive(s, 2, "jobs", 2, HOUR_MS);
    script_push(s, 3, "jobs", FANQ_PUSH_AUTO, 1);
    EXPECT_TRACE(s, "  0 deliver jobs: a b to 1\n"
                    "  0 changed 2\n"
                    "  0 deliver jobs: c to 3\n");
    script_advance_ms(s, 50);
    EXPECT_TRACE(s, " 50 deliver jobs: a*2 b*2 to 2\n");
    script_free(s);
}

/* ---- push ---- */

TEST(push_keeps_to_its_credit)
{
    struct script *s = jobs();
    uint64_t push = script_push(s, 1, "jobs", FANQ_PUSH_ACK, 2);

    script_send(s, 0, "jobs", "a b c d e");
    EXPECT_TRACE(s, "  0 deliver jobs: a b to 1\n");
    script_credit(s, 1, push, 1);
    script_credit(s, 1, push, 1);
    EXPECT_TRACE(s, "  0 deliver jobs: c to 1\n"
                    "  0 deliver jobs: d to 1\n");
    script_credit(s, 1, push, 10);
    script_send(s, 0, "jobs", "f");
    EXPECT_TRACE(s, "  0 deliver jobs: e to 1\n"
                    "  0 deliver jobs: f to 1\n");
    script_free(s);
}

TEST(push_in_auto_mode_deletes)
{
    struct script *s = jobs();

    script_push(s, 1, "jobs", FANQ_PUSH_AUTO, 100);
    script_send(s, 0, "jobs", "a b");
    script_disconnect(s, 1);
    script_count(s, "jobs");
    EXPECT_TRACE(s, "  0 deliver jobs: a b to 1\n"
                    "  0 jobs: 0 visible, 0 in flight, 0 delayed\n");
    script_free(s);
}

TEST(push_gives_back_at_once_what_it_holds)
{
    struct script *s = jobs();
    uint64_t push = script_push(s, 1, "jobs", FANQ_PUSH_ACK, 4);

    script_receive(s, 2, "jobs", 10, HOUR_MS);
    script_send(s, 0, "jobs", "a b c");
    EXPECT_TRACE(s, "  0 deliver jobs: a b c to 1\n");
    script_ack(s, 1, "jobs", "b");
    script_push_stop(s, 1, push);
    EXPECT_TRACE(s, "  0 deliver jobs: a*2 c*2 to 2\n");
    script_push(s, 1, "jobs", FANQ_PUSH_ACK, 4);
    script_send(s, 0, "jobs", "d");
    script_disconnect(s, 1);
    script_receive(s, 2, "jobs", 10, 0);
    EXPECT_TRACE(s, "  0 deliver jobs: d to 1\n"
                    "  0 deliver jobs: d*2 to 2\n");
    script_free(s);
}

/* Also what it had asked more time for. */
TEST(push_gives_back_what_it_extended)
{
    struct script *s = jobs();

    script_push(s, 1, "jobs", FANQ_PUSH_ACK, 4);
    script_send(s, 0, "jobs", "a b");
    script_extend(s, 1, "jobs", "a", HOUR_MS);
    script_disconnect(s, 1);
    script_receive(s, 2, "jobs", 10, 0);
    EXPECT_TRACE(s, "  0 deliver jobs: a b to 1\n"
                    "  0 changed 1\n"
                    "  0 deliver jobs: a*2 b*2 to 2\n");
    script_free(s);
}

/* What timed out and was given to somebody else is not the push's any more. */
TEST(push_gives_back_only_what_it_still_holds)
{
    struct script *s = jobs();

    script_push(s, 1, "jobs", FANQ_PUSH_ACK, 1);
    script_send(s, 0, "jobs", "a");
    script_advance_ms(s, 100);
    script_receive(s, 2, "jobs", 10, 0);
    script_disconnect(s, 1);
    script_receive(s, 3, "jobs", 10, 0);
    EXPECT_TRACE(s, "  0 deliver jobs: a to 1\n"
                    "100 deliver jobs: a*2 to 2\n"
                    "100 empty to 3\n");
    script_free(s);
}

/* Pushes take turns, and a push and a long poll stand in one line. */
TEST(pushes_take_turns)
{
    struct script *s = jobs();

    script_push(s, 1, "jobs", FANQ_PUSH_ACK, 100);
    script_push(s, 2, "jobs", FANQ_PUSH_ACK, 100);
    script_receive(s, 3, "jobs", 10, 1000);
    script_send(s, 0, "jobs", "a");
    script_send(s, 0, "jobs", "b");
    script_send(s, 0, "jobs", "c");
    script_send(s, 0, "jobs", "d");
    EXPECT_TRACE(s, "  0 deliver jobs: a to 1\n"
                    "  0 deliver jobs: b to 2\n"
                    "  0 deliver jobs: c to 3\n"
                    "  0 deliver jobs: d to 1\n");
    script_free(s);
}

TEST(push_on_a_topic_gets_what_comes_after_it)
{
    struct script *s = news();
    uint64_t push;

    script_publish(s, 0, "news", "before");
    push = script_push_topic(s, 1, "news", 100);
    script_publish(s, 0, "news", "x y");
    script_push_stop(s, 1, push);
    script_publish(s, 0, "news", "z");
    EXPECT_TRACE(s, "  0 deliver ?: x y to 1\n");
    script_push_topic(s, 1, "news", 100);
    s->show_trims = true;
    script_topic_delete(s, "news");
    EXPECT_TRACE(s, "  0 end push of 1: TOPIC_NOT_FOUND\n"
                    "  0 stream ends\n");
    script_free(s);
}

TEST(ephemeral_backlog_drops_the_oldest)
{
    struct sim_options options = sim_options_default(1);
    struct script *s;
    uint64_t push;

    options.core.ephemeral_backlog_messages_max = 3;
    s = script_new(&options);
    script_topic(s, "news");
    push = script_push_topic(s, 1, "news", 1);
    script_publish(s, 0, "news", "a b");
    script_publish(s, 0, "news", "c d e");
    script_publish(s, 0, "news", "f");
    EXPECT_TRACE(s, "  0 deliver ?: a to 1\n");
    script_credit(s, 1, push, 2);
    script_credit(s, 1, push, 2);
    EXPECT_TRACE(s, "  0 deliver ?: d e (2 dropped) to 1\n"
                    "  0 deliver ?: f to 1\n");
    script_free(s);
}

/* A push that begins while messages are on their way to being synced has lost nothing when they are. */
TEST(ephemeral_push_begins_behind_what_is_not_synced)
{
    struct sim_options options = sim_options_default(1);
    struct script *s;

    options.core.ephemeral_backlog_messages_max = 3;
    options.sync_delay_turns_max = 2;
    s = script_new(&options);
    script_topic(s, "news");
    script_push_topic(s, 2, "news", 0);
    script_publish(s, 0, "news", "a b");
    script_push_topic(s, 1, "news", 100);
    for (int i = 0; i < 4; i++)
        script_advance_ms(s, 0);
    script_publish(s, 0, "news", "c");
    for (int i = 0; i < 4; i++)
        script_advance_ms(s, 0);
    EXPECT_TRACE(s, "  0 deliver ?: c to 1\n");
    script_free(s);
}

/* ---- looking ---- */

TEST(peek_shows_states_and_takes_nothing)
{
    struct script *s = jobs();

    script_send(s, 0, "jobs", "a b c d");
    script_receive(s, 1, "jobs", 3, 0);
    script_nack(s, 1, "jobs", "a", 0);
    script_nack(s, 1, "jobs", "b", 40);
    script_advance_ms(s, 10);
    script_peek(s, "jobs", 10);
    script_peek(s, "jobs", 2);
    script_count(s, "jobs");
    EXPECT_TRACE(s, "  0 deliver jobs: a b c to 1\n"
                    "  0 changed 1\n"
                    "  0 changed 1\n"
                    " 10 peek: a*1 b*1(delayed 30) c*1(held 90) d\n"
                    " 10 peek: a*1 b*1(delayed 30) more\n"
                    " 10 jobs: 2 visible, 1 in flight, 1 delayed\n");
    script_free(s);
}

/* A peek that waits for memory is answered, also when what it waited for is gone before it comes. */
TEST(peek_outlives_what_it_waits_for)
{
    struct sim_options options = sim_options_default(1);
    struct script *s;

    options.absent_percent = 100;
    s = script_new(&options);
    script_topic(s, "news");
    script_queue(s, "jobs", 100);
    script_subscribe(s, "news", "jobs");
    script_publish(s, 0, "news", "a");
    script_topic_delete(s, "news");
    s->show_trims = s->show_fetches = true;
    script_begin(s);
    script_peek(s, "jobs", 10);
    script_purge(s, "jobs");
    script_end(s);
    EXPECT_TRACE(s, "  0 fetch 0+1\n"
                    "  0 stream ends\n");
    script_advance_ms(s, 0);
    EXPECT_TRACE(s, "  0 peek:\n");
    script_free(s);
}

/* ---- memory ---- */

TEST(absent_messages_are_fetched_first)
{
    struct sim_options options = sim_options_default(1);
    struct script *s;

    options.absent_percent = 100;
    s = script_new(&options);
    script_queue(s, "jobs", 100);
    s->show_fetches = true;
    script_send(s, 0, "jobs", "a b");
    script_receive(s, 1, "jobs", 10, 0); /* waits for memory, though it asked for no wait */
    EXPECT_TRACE(s, "  0 fetch 0+2\n");
    script_advance_ms(s, 0);
    EXPECT_TRACE(s, "  0 deliver jobs: a b to 1\n");
    script_free(s);
}

TEST(what_nobody_needs_is_trimmed)
{
    struct script *s = news();

    s->show_trims = true;
    script_subscribe(s, "news", "a");
    script_subscribe(s, "news", "b");
    script_publish(s, 0, "news", "x y z");
    script_receive(s, 1, "a", 10, 0);
    script_receive(s, 2, "b", 10, 0);
    script_ack(s, 1, "a", "x y z");
    script_ack(s, 2, "b", "y");
    EXPECT_TRACE(s, "  0 deliver a: x y z to 1\n"
                    "  0 deliver b: x y z to 2\n");
    script_ack(s, 2, "b", "x");
    EXPECT_TRACE(s, "  0 trim 2\n");
    script_unsubscribe(s, "news", "b");
    script_ack(s, 2, "b", "z");
    EXPECT_TRACE(s, "  0 trim 3\n");
    script_free(s);
}

/* ---- answers ---- */

/* Neighbouring requests of a connection share an answer; other connections have their own. */
TEST(answers_come_in_ranges)
{
    struct script *s = jobs();

    script_begin(s);
    for (int i = 0; i < 3; i++)
        script_send(s, 1, "jobs", "a");
    script_send(s, 2, "jobs", "b");
    script_send(s, 2, "jobs", "c");
    s->show_answers = true;
    script_end(s);
    EXPECT_TRACE(s, "  0 ok 3 SEND by 1\n"
                    "  0 ok 2 SEND by 2\n");
    script_send(s, 1, "jobs", "d e");
    EXPECT_TRACE(s, "  0 published 5+2 by 1\n");
    script_free(s);
}

/* While a sync is running, a turn without publishes makes no commit. */
TEST(idle_turn_makes_no_commit)
{
    struct sim_options options = sim_options_default(1);
    struct script *s;

    options.sync_delay_turns_max = 6;
    s = script_new(&options);
    script_queue(s, "jobs", 100);
    script_send(s, 1, "jobs", "a");
    for (int i = 0; i < 10; i++)
        script_advance_ms(s, 0);
    assert_int_equal(s->sim->appended, 1);
    assert_int_equal(s->sim->synced, 1);
    script_free(s);
}

TEST(draining_ends_every_wait)
{
    struct script *s = jobs();

    script_receive(s, 1, "jobs", 1, 1000);
    script_push(s, 2, "jobs", FANQ_PUSH_ACK, 10);
    script_drain(s);
    script_receive(s, 1, "jobs", 1, 1000);
    script_send(s, 1, "jobs", "a");
    EXPECT_TRACE(s, "  0 empty to 1\n"
                    "  0 end push of 2: DRAINING\n"
                    "  0 refuse RECEIVE by 1: DRAINING\n"
                    "  0 refuse SEND by 1: DRAINING\n");
    script_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_polls_are_served_in_turn),
        cmocka_unit_test(long_poll_ends_at_its_time_and_not_before),
        cmocka_unit_test(message_of_the_last_turn_reaches_a_long_poll),
        cmocka_unit_test(long_poll_ends_with_its_connection),
        cmocka_unit_test(answers_of_an_ended_connection_are_dropped),
        cmocka_unit_test(wait_over_several_queues_ends_with_the_first),
        cmocka_unit_test(queue_named_twice_counts_once),
        cmocka_unit_test(receive_without_wait_sees_the_same_turn),
        cmocka_unit_test(blocked_connection_steps_aside),
        cmocka_unit_test(unblocking_wakes),
        cmocka_unit_test(message_comes_back_after_its_timeout),
        cmocka_unit_test(received_messages_outlive_their_connection),
        cmocka_unit_test(redelivery_comes_before_new_messages),
        cmocka_unit_test(large_redelivery_is_not_overtaken),
        cmocka_unit_test(nack_delays),
        cmocka_unit_test(extend_moves_the_deadline_of_just_these),
        cmocka_unit_test(extended_messages_stay_in_their_batch),
        cmocka_unit_test(late_nack_and_extend_do_not_touch_the_next_holder),
        cmocka_unit_test(ack_of_a_deleted_message_succeeds),
        cmocka_unit_test(late_ack_deletes_behind_the_next_holder),
        cmocka_unit_test(new_queue_of_the_same_name_takes_no_late_acks),
        cmocka_unit_test(deleting_a_queue_ends_what_waits_for_it),
        cmocka_unit_test(purge_deletes_everything),
        cmocka_unit_test(purge_stands_in_the_order_of_requests),
        cmocka_unit_test(each_subscriber_gets_each_message),
        cmocka_unit_test(subscriber_gets_what_is_published_after_it_came),
        cmocka_unit_test(unsubscribing_keeps_what_was_published),
        cmocka_unit_test(subscribing_again_takes_only_new_messages),
        cmocka_unit_test(deleting_a_topic_keeps_what_was_published),
        cmocka_unit_test(streams_are_merged_by_arrival),
        cmocka_unit_test(delivery_is_cut_by_count),
        cmocka_unit_test(delivery_is_cut_by_bytes),
        cmocka_unit_test(publish_without_room_is_refused_whole),
        cmocka_unit_test(what_came_before_the_first_subscriber_is_not_stored),
        cmocka_unit_test(in_flight_is_bounded),
        cmocka_unit_test(delayed_messages_count_as_in_flight),
        cmocka_unit_test(push_keeps_to_its_credit),
        cmocka_unit_test(push_in_auto_mode_deletes),
        cmocka_unit_test(push_gives_back_at_once_what_it_holds),
        cmocka_unit_test(push_gives_back_what_it_extended),
        cmocka_unit_test(push_gives_back_only_what_it_still_holds),
        cmocka_unit_test(pushes_take_turns),
        cmocka_unit_test(push_on_a_topic_gets_what_comes_after_it),
        cmocka_unit_test(ephemeral_backlog_drops_the_oldest),
        cmocka_unit_test(ephemeral_push_begins_behind_what_is_not_synced),
        cmocka_unit_test(peek_shows_states_and_takes_nothing),
        cmocka_unit_test(peek_outlives_what_it_waits_for),
        cmocka_unit_test(absent_messages_are_fetched_first),
        cmocka_unit_test(what_nobody_needs_is_trimmed),
        cmocka_unit_test(answers_come_in_ranges),
        cmocka_unit_test(idle_turn_makes_no_commit),
        cmocka_unit_test(draining_ends_every_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
