/* What the core remembers of producers, step by step. What comes of it under crashes and lost connections is the matter of
 * sim/retry.c. */
#include "tests/lib/unit.h"

#include <string.h>

#include "core/core.h"
#include "core/fact.h"
#include "proto/request.h"

enum { PRODUCERS_MAX = 2, PRODUCER_MS_MAX = 1000, CONNECTIONS = 2 };

static const uint8_t alice[FANQ_PRODUCER_BYTES] = "alice", bob[FANQ_PRODUCER_BYTES] = "bob",
                     carol[FANQ_PRODUCER_BYTES] = "carol";

struct broker {
    struct core *core;
    struct effects effects;
    uint64_t now_ms, room_bytes;
    bool durable;
    uint8_t facts[4096]; /* of all commits */
    size_t fact_bytes;
};

static bool no_block(void *context, uint64_t stream, uint64_t seq, struct block *ret_block)
{
    return false;
}

static void make_core(struct broker *b, uint64_t epoch)
{
    const struct core_options options = {.view = {NULL, no_block},
                                         .epoch = epoch,
                                         .hash_seed = 1,
                                         .account = "000000000000",
                                         .region = "us-east-1",
                                         .durable = b->durable,
                                         .connections_max = CONNECTIONS,
                                         .queues_max = 10,
                                         .topics_max = 10,
                                         .subscriptions_max = 10,
                                         .producers_max = PRODUCERS_MAX,
                                         .producer_ms_max = PRODUCER_MS_MAX};

    assert_int_equal(core_new(&options, &b->core), 0);
}

static void step(struct broker *b, const struct event *ev)
{
    assert_int_equal(core_step(b->core, ev, &b->effects), 0);
}

/* One turn ends, and another begins. Gives the core's effects since the last one up in exchange. */
static void turn(struct broker *b, uint64_t ms)
{
    size_t first = b->effects.count;

    b->now_ms += ms;
    step(b, &(struct event){.kind = EVENT_COMMIT});
    for (size_t i = first; i < b->effects.count; i++) {
        const struct commit *commit = &b->effects.items[i].commit;

        if (b->effects.items[i].kind != EFFECT_COMMIT)
            continue;
        assert_true(commit->fact_bytes <= sizeof(b->facts) - b->fact_bytes);
        if (commit->fact_bytes > 0)
            memcpy(b->facts + b->fact_bytes, commit->facts, commit->fact_bytes);
        b->fact_bytes += commit->fact_bytes;
        if (!b->durable)
            step(b, &(struct event){.kind = EVENT_SYNCED, .synced = commit->number});
    }
    effects_clear(&b->effects);
    step(b, &(struct event){.kind = EVENT_TURN, .turn = {b->now_ms, b->now_ms, b->room_bytes}});
}

static void open_broker(struct broker *b, bool durable)
{
    *b = (struct broker){.durable = durable, .now_ms = 1000, .room_bytes = UINT64_MAX};
    effects_init(&b->effects);
    make_core(b, 1);
    turn(b, 0);
}

static void close_broker(struct broker *b)
{
    core_check(b->core);
    core_free(b->core);
    effects_close(&b->effects);
}

static void hello(struct broker *b, uint32_t connection, const uint8_t *producer)
{
    step(b, &(struct event){.kind = EVENT_PRODUCER, .producer = {connection, producer}});
}

static void bye(struct broker *b, uint32_t connection)
{
    step(b, &(struct event){.kind = EVENT_DISCONNECT, .connection = connection});
}

static void publish_with(struct broker *b, uint32_t connection, uint64_t id, const char *topic,
                         uint32_t flags)
{
    static const uint8_t record[] = {0xc6, 0, 0, 0, 2, 0, 'x'};
    const struct fanq_request r = {.op = FANQ_OP_PUBLISH,
                                   .id = id,
                                   .publish = {.target = {(const uint8_t *)topic, strlen(topic)},
                                               .flags = flags,
                                               .records = {record, sizeof(record), 1}}};

    step(b, &(struct event){.kind = EVENT_REQUEST, .request = {connection, &r}});
}

static void publish(struct broker *b, uint32_t connection, uint64_t id)
{
    publish_with(b, connection, id, "t", 0);
}

static void make_topic(struct broker *b)
{
    const struct fanq_request r = {.op = FANQ_OP_TOPIC_CREATE, .id = 1, .name = {(const uint8_t *)"t", 1}};

    step(b, &(struct event){.kind = EVENT_REQUEST, .request = {0, &r}});
    turn(b, 0);
}

static uint64_t published_count(const struct broker *b)
{
    struct core_figures figures;

    core_figures(b->core, &figures);
    return figures.published;
}

/* The newest effect is an answer to that request. */
static const struct fanq_reply *answer(const struct broker *b, uint64_t id)
{
    const struct effect *e = &b->effects.items[b->effects.count - 1];

    assert_true(b->effects.count > 0);
    assert_int_equal(e->kind, EFFECT_REPLY);
    assert_int_equal(e->reply.id, id);
    return &e->reply;
}

static void expect_refused(const struct broker *b, uint64_t id, int err)
{
    const struct fanq_reply *reply = answer(b, id);

    assert_int_equal(reply->op, FANQ_REPLY_ERROR);
    assert_int_equal(reply->error.err, err);
}

TEST(what_comes_again_is_answered_and_not_applied)
{
    struct broker b;

    open_broker(&b, false);
    make_topic(&b);
    hello(&b, 0, alice);
    publish(&b, 0, 5);
    turn(&b, 0);
    publish(&b, 0, 5);
    assert_int_equal(answer(&b, 5)->op, FANQ_REPLY_OK_RANGE);
    publish_with(&b, 0, 4, "t", FANQ_PUBLISH_WANT_IDS);
    assert_int_equal(answer(&b, 4)->op, FANQ_REPLY_PUBLISHED);
    assert_int_equal(answer(&b, 4)->published.stream, 0);
    assert_int_equal(answer(&b, 4)->published.count, 1);
    assert_int_equal(published_count(&b), 1);
    publish(&b, 0, 6);
    assert_int_equal(published_count(&b), 2);
    publish(&b, 0, 0);
    expect_refused(&b, 0, FANQ_ERR_INVALID);
    publish(&b, 1, 5); /* nobody's */
    publish(&b, 1, 5);
    assert_int_equal(published_count(&b), 4);
    close_broker(&b);
}

/* An answer that comes again is as true as the first one. */
TEST(what_comes_again_is_answered_when_it_is_synced)
{
    struct broker b;
    size_t count;

    open_broker(&b, true);
    make_topic(&b);
    hello(&b, 0, alice);
    publish(&b, 0, 1);
    turn(&b, 0);
    publish(&b, 0, 1);
    publish_with(&b, 0, 1, "t", FANQ_PUBLISH_WANT_IDS);
    assert_int_equal(b.effects.count, 0);
    step(&b, &(struct event){.kind = EVENT_SYNCED, .synced = UINT64_MAX});
    count = b.effects.count;
    assert_int_equal(answer(&b, 1)->op, FANQ_REPLY_PUBLISHED);
    publish(&b, 0, 1);
    assert_int_equal(b.effects.count, count + 1);
    close_broker(&b);
}

TEST(what_was_refused_does_not_pass_for_applied)
{
    struct broker b;

    open_broker(&b, false);
    make_topic(&b);
    hello(&b, 0, alice);
    publish(&b, 0, 1);
    publish_with(&b, 0, 2, "none", 0);
    expect_refused(&b, 2, FANQ_ERR_TOPIC_NOT_FOUND);
    publish_with(&b, 0, 4, "none", 0);
    publish_with(&b, 0, 7, "?", 0);
    publish(&b, 0, 9);
    hello(&b, 1, alice);
    publish(&b, 1, 1);
    assert_int_equal(answer(&b, 1)->op, FANQ_REPLY_OK_RANGE);
    publish(&b, 1, 2);
    expect_refused(&b, 2, FANQ_ERR_TOPIC_NOT_FOUND);
    publish(&b, 1, 4);
    expect_refused(&b, 4, FANQ_ERR_TOPIC_NOT_FOUND);
    publish(&b, 1, 7);
    expect_refused(&b, 7, FANQ_ERR_NAME_INVALID);
    publish(&b, 1, 9);
    assert_int_equal(answer(&b, 9)->op, FANQ_REPLY_OK_RANGE);
    assert_int_equal(published_count(&b), 2);
    close_broker(&b);
}

/* Nothing was applied behind it, so it is no secret what became of it; and there may be room now. */
TEST(what_was_refused_last_is_tried_again)
{
    struct broker b;

    open_broker(&b, false);
    make_topic(&b);
    hello(&b, 0, alice);
    publish_with(&b, 0, 3, "none", 0);
    publish_with(&b, 0, 4, "none", 0);
    hello(&b, 1, alice);
    publish(&b, 1, 3);
    publish(&b, 1, 4);
    assert_int_equal(published_count(&b), 2);
    publish(&b, 1, 3);
    assert_int_equal(answer(&b, 3)->op, FANQ_REPLY_OK_RANGE);
    close_broker(&b);
}

TEST(too_many_refusals_are_forgotten_but_not_denied)
{
    enum { RUNS = 30, REMEMBERED = 7 };
    struct broker b;

    open_broker(&b, false);
    make_topic(&b);
    hello(&b, 0, alice);
    for (uint64_t id = 1; id <= 2 * RUNS; id += 2) {
        publish_with(&b, 0, id, "none", 0);
        publish(&b, 0, id + 1);
        core_check(b.core);
    }
    for (uint64_t id = 1; id <= 2 * RUNS; id += 2) {
        publish(&b, 0, id);
        expect_refused(&b, id, id > 2 * (RUNS - REMEMBERED) ? FANQ_ERR_TOPIC_NOT_FOUND : FANQ_ERR_UNKNOWN);
    }
    assert_int_equal(published_count(&b), RUNS);
    close_broker(&b);
}

TEST(a_newer_connection_ends_the_older_one)
{
    struct broker b;

    open_broker(&b, false);
    make_topic(&b);
    hello(&b, 0, alice);
    publish(&b, 0, 1);
    turn(&b, 0);
    hello(&b, 1, alice);
    assert_int_equal(b.effects.count, 1);
    assert_int_equal(b.effects.items[0].kind, EFFECT_CLOSE);
    assert_int_equal(b.effects.items[0].connection, 0);
    publish(&b, 0, 2); /* was under way */
    assert_int_equal(answer(&b, 2)->op, FANQ_REPLY_ERROR);
    assert_int_equal(published_count(&b), 1);
    publish(&b, 1, 2);
    bye(&b, 0);
    publish(&b, 1, 2);
    assert_int_equal(published_count(&b), 2);
    publish(&b, 0, 2); /* its number is another client's now */
    assert_int_equal(published_count(&b), 3);
    close_broker(&b);
}

TEST(producers_are_forgotten_after_a_time)
{
    struct broker b;

    open_broker(&b, false);
    hello(&b, 0, alice);
    hello(&b, 1, bob);
    turn(&b, 10 * PRODUCER_MS_MAX);
    bye(&b, 0);
    turn(&b, PRODUCER_MS_MAX - 1);
    assert_true(core_producer_known(b.core, alice));
    turn(&b, 1);
    assert_false(core_producer_known(b.core, alice));
    assert_true(core_producer_known(b.core, bob));
    close_broker(&b);
}

TEST(too_many_producers_are_forgotten_the_longest_unused_first)
{
    struct broker b;

    open_broker(&b, false);
    hello(&b, 0, alice);
    bye(&b, 0);
    hello(&b, 0, bob);
    bye(&b, 0);
    hello(&b, 0, alice);
    bye(&b, 0);
    hello(&b, 0, carol);
    turn(&b, 0);
    assert_true(core_producer_known(b.core, alice));
    assert_false(core_producer_known(b.core, bob));
    assert_true(core_producer_known(b.core, carol));
    close_broker(&b);
}

/* ---- after a restart ---- */

static void expect_outcomes(struct broker *b)
{
    turn(b, 0);
    assert_true(core_producer_known(b->core, alice));
    assert_true(core_producer_known(b->core, bob));
    hello(b, 0, alice);
    publish(b, 0, 1);
    expect_refused(b, 1, FANQ_ERR_TOPIC_NOT_FOUND);
    publish(b, 0, 2);
    assert_int_equal(answer(b, 2)->op, FANQ_REPLY_OK_RANGE);
    publish(b, 0, 3);
    expect_refused(b, 3, FANQ_ERR_NAME_INVALID);
    publish(b, 0, 4);
    assert_int_equal(answer(b, 4)->op, FANQ_REPLY_OK_RANGE);
    assert_int_equal(published_count(b), 0);
    publish(b, 0, 5);
    assert_int_equal(published_count(b), 1);
}

static void restart(struct broker *b, const uint8_t *facts, size_t bytes)
{
    core_free(b->core);
    effects_clear(&b->effects);
    make_core(b, 2);
    step(b, &(struct event){.kind = EVENT_TURN, .turn = {b->now_ms, b->now_ms, b->room_bytes}});
    assert_int_equal(core_replay(b->core, facts, bytes), 0);
    assert_int_equal(core_replay_end(b->core, 100), 0);
}

TEST(commits_and_checkpoints_say_what_was_applied)
{
    struct core_checkpoint checkpoint;
    struct broker b;
    bool ended;

    open_broker(&b, true);
    make_topic(&b);
    hello(&b, 0, alice);
    hello(&b, 1, bob);
    publish_with(&b, 0, 1, "none", 0);
    publish(&b, 0, 2);
    turn(&b, 0);
    publish_with(&b, 0, 3, "?", 0);
    turn(&b, 0);
    publish(&b, 0, 4);
    publish_with(&b, 0, 5, "none", 0); /* nothing behind it was applied: it is tried again */
    turn(&b, 0);
    assert_int_equal(core_checkpoint_begin(b.core, &checkpoint), 0);
    assert_int_equal(core_checkpoint_slice(b.core, &checkpoint, UINT64_MAX, &ended), 0);
    restart(&b, b.facts, b.fact_bytes);
    expect_outcomes(&b);
    restart(&b, checkpoint.facts, checkpoint.bytes);
    expect_outcomes(&b);
    core_checkpoint_free(&checkpoint);
    close_broker(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_again_is_answered_and_not_applied),
        cmocka_unit_test(what_comes_again_is_answered_when_it_is_synced),
        cmocka_unit_test(what_was_refused_does_not_pass_for_applied),
        cmocka_unit_test(what_was_refused_last_is_tried_again),
        cmocka_unit_test(too_many_refusals_are_forgotten_but_not_denied),
        cmocka_unit_test(a_newer_connection_ends_the_older_one),
        cmocka_unit_test(producers_are_forgotten_after_a_time),
        cmocka_unit_test(too_many_producers_are_forgotten_the_longest_unused_first),
        cmocka_unit_test(commits_and_checkpoints_say_what_was_applied),
    };
    return cmocka_run_group_tests_name("core producer", tests, NULL, NULL);
}
