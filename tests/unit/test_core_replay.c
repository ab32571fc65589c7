/* What facts make of a core, and how they are read. (sim/crash.c has the long histories.) */
#include <stdlib.h>
#include <string.h>

#include "core/core.h"
#include "core/fact.h"
#include "tests/lib/guard.h"
#include "tests/lib/unit.h"

enum { TOPIC = 1, QUEUE = 3, EPOCH_MESSAGES = 20, START_MS = 1000, WALL_MS = 5000 };

static bool every_block(void *context, uint64_t stream, uint64_t seq, struct block *ret_block)
{
    uint64_t epoch = 1 + seq / EPOCH_MESSAGES;

    *ret_block = (struct block){.first_seq = seq, .count = 1, .arrival = (epoch << BLOCK_EPOCH_SHIFT) + seq};
    return true; /* stored, and not in memory */
}

static void put(struct facts *facts, struct fact fact)
{
    assert_int_equal(facts_reserve(facts, 1), 0);
    fact.name_length = fact.name != NULL ? strlen(fact.name) : 0;
    facts_add(facts, &fact);
}

/* A queue and a topic. */
static struct facts catalogue(void)
{
    struct facts facts = {0};

    put(&facts, (struct fact){.kind = FACT_QUEUE, .queue_id = QUEUE, .name = "000000000000:us-east-1:a"});
    put(&facts, (struct fact){.kind = FACT_TOPIC, .stream = TOPIC, .name = "000000000000:us-east-1:t"});
    return facts;
}

static struct fact of(enum fact_kind kind, uint64_t first, uint64_t end)
{
    return (struct fact){
        .kind = kind, .stream = TOPIC, .queue_id = QUEUE, .first = first, .end = end, .seq = first};
}

static struct fact held(uint64_t first, uint64_t end, uint64_t deliveries, uint64_t due_ms)
{
    struct fact fact = of(FACT_HELD, first, end);

    fact.deliveries = deliveries;
    fact.due_ms = due_ms;
    return fact;
}

static void request(struct core *core, const struct fanq_request *r, struct effects *effects)
{
    effects_clear(effects);
    assert_int_equal(core_step(core, &(struct event){.kind = EVENT_REQUEST, .request = {0, r}}, effects), 0);
}

/* The batch of an earlier run, or 0, deletes all that the topic ever had. */
static void delete_all(struct core *core, uint64_t batch, struct effects *effects)
{
    uint8_t bytes[32];
    struct fanq_writer w = fanq_writer_over(bytes, sizeof(bytes));
    struct fanq_request r = {.op = FANQ_OP_ACK, .change = {.queue_id = QUEUE, .batch = batch}};

    fanq_write_uint(&w, TOPIC);
    fanq_write_uint(&w, 0);
    fanq_write_uint(&w, INT64_MAX);
    r.change.ranges = fanq_ranges_over((struct fanq_bytes){bytes, fanq_writer_length(&w)}, 1);
    if (batch != 0)
        request(core, &r, effects);
    core_check(core);
}

/* The queue's figures in a core that is told these facts, and then that the topic has reached `seq`; after a while. */
static struct fanq_queue_reply told_and_deleted_later(const struct facts *facts, uint64_t seq, uint64_t batch,
                                                      uint64_t later_ms)
{
    struct core_options options = {.view = {NULL, every_block},
                                   .epoch = 9,
                                   .account = "000000000000",
                                   .region = "us-east-1",
                                   .durable = true,
                                   .connections_max = 1};
    struct fanq_request r = {.op = FANQ_OP_QUEUE_GET, .name = {(const uint8_t *)"a", 1}};
    struct fanq_queue_reply reply;
    struct effects effects;
    struct core *core;

    effects_init(&effects);
    assert_int_equal(core_new(&options, &core), 0);
    assert_int_equal(
        core_step(core, &(struct event){.kind = EVENT_TURN, .turn = {START_MS, WALL_MS, 0}}, &effects), 0);
    assert_int_equal(core_replay(core, facts->data, facts->length), 0);
    assert_int_equal(core_replay_block(core, TOPIC, 0, seq), 0);
    assert_int_equal(core_replay_end(core, 1), 0);
    core_check(core);
    delete_all(core, batch, &effects);
    effects_clear(&effects);
    assert_int_equal(
        core_step(core,
                  &(struct event){.kind = EVENT_TURN, .turn = {START_MS + later_ms, WALL_MS + later_ms, 0}},
                  &effects),
        0);
    request(core, &r, &effects);
    assert_int_equal(effects.items[0].reply.op, FANQ_REPLY_QUEUE);
    reply = effects.items[0].reply.queue;
    core_free(core);
    effects_close(&effects);
    return reply;
}

static struct fanq_queue_reply told_and_deleted(const struct facts *facts, uint64_t seq, uint64_t batch)
{
    return told_and_deleted_later(facts, seq, batch, 0);
}

static struct fanq_queue_reply told(const struct facts *facts, uint64_t seq)
{
    return told_and_deleted(facts, seq, 0);
}

TEST(what_no_fact_deletes_is_there)
{
    struct facts facts = catalogue();

    put(&facts, of(FACT_SUBSCRIBED, 10, 0));
    put(&facts, of(FACT_GONE, 15, 20));
    put(&facts, held(30, 40, 2, 0));
    put(&facts, held(35, 37, 3, 6000));
    put(&facts, of(FACT_GONE, 39, 41));
    assert_int_equal(told(&facts, 100).visible, 90 - 5 - 2 - 2);
    assert_int_equal(told(&facts, 100).delayed, 2);
    free(facts.data);
}

/* A machine that starts with its clock at 1970, or had it in the next century once, hides nothing for so long. */
TEST(no_delay_is_longer_than_one_may_be_whatever_the_clock_says)
{
    struct facts facts = catalogue();

    put(&facts, of(FACT_SUBSCRIBED, 10, 0));
    put(&facts, held(10, 20, 1, WALL_MS + FANQ_DELAY_MS_MAX - 1));
    put(&facts, held(20, 40, 1, UINT64_C(1800000000000)));
    assert_int_equal(told_and_deleted_later(&facts, 40, 0, FANQ_DELAY_MS_MAX - 2).delayed, 30);
    assert_int_equal(told_and_deleted_later(&facts, 40, 0, FANQ_DELAY_MS_MAX - 1).delayed, 20);
    assert_int_equal(told_and_deleted_later(&facts, 40, 0, FANQ_DELAY_MS_MAX).visible, 30);
    free(facts.data);
}

TEST(facts_may_be_repeated)
{
    struct facts facts = catalogue();

    for (int round = 0; round < 3; round++) {
        put(&facts, of(FACT_SUBSCRIBED, 10, 0));
        put(&facts, of(FACT_GONE, 15, 20));
        put(&facts, held(30, 40, 2, 0));
        put(&facts, of(FACT_UNSUBSCRIBED, 60, 0));
        put(&facts, of(FACT_GONE, 50, 55));
        put(&facts, of(FACT_SUBSCRIBED, 70, 0));
    }
    assert_int_equal(told(&facts, 100).visible, (60 - 10) - 5 - 5 + 30);
    free(facts.data);
}

/* A queue's part of a checkpoint is later than the catalogue: it may speak of messages that the queue took by a
 * subscription of which only the log tells. */
TEST(checkpoint_may_speak_of_a_later_subscription)
{
    struct facts facts = catalogue();

    put(&facts, of(FACT_UNREAD, 290, 295));
    put(&facts, of(FACT_GONE, 0, 290));
    put(&facts, of(FACT_GONE, 295, 308));
    put(&facts, held(290, 295, 1, 0));
    put(&facts, held(308, 315, 1, 0));
    put(&facts, of(FACT_SUBSCRIBED, 308, 0));
    put(&facts, of(FACT_GONE, 310, 311));
    assert_int_equal(told(&facts, 320).visible, 5 + 12 - 1);
    free(facts.data);
}

/* Else it would delete messages that have the numbers of those that a crash took. */
TEST(old_ack_deletes_nothing_younger_than_its_batch)
{
    struct facts facts = catalogue();

    put(&facts, of(FACT_SUBSCRIBED, 10, 0));
    put(&facts, of(FACT_GONE, 10, 13));
    assert_int_equal(told_and_deleted(&facts, 100, 0).visible, 87);
    assert_int_equal(told_and_deleted(&facts, 100, 1ull << BLOCK_EPOCH_SHIFT).visible, 80);
    assert_int_equal(told_and_deleted(&facts, 100, (3ull << BLOCK_EPOCH_SHIFT) + 77).visible, 40);
    assert_int_equal(told_and_deleted(&facts, 50, (3ull << BLOCK_EPOCH_SHIFT) + 77).visible, 0);
    put(&facts, held(30, 90, 1, 0)); /* delivered in this run, or not */
    assert_int_equal(told_and_deleted(&facts, 100, (3ull << BLOCK_EPOCH_SHIFT) + 77).visible, 40);
    free(facts.data);
}

TEST(early_delivery_is_kept)
{
    struct facts facts = catalogue();

    assert_false(told(&facts, 0).attributes.early_delivery);
    put(&facts, of(FACT_SUBSCRIBED, 10, 0));
    put(&facts,
        (struct fact){
            .kind = FACT_QUEUE, .queue_id = QUEUE, .name = "000000000000:us-east-1:a", .early_delivery = 1});
    assert_true(told(&facts, 100).attributes.early_delivery);
    assert_int_equal(told(&facts, 100).visible, 90);
    free(facts.data);
}

TEST(deletes_of_every_second_message_are_remembered)
{
    enum { COUNT = 1000000 };
    struct facts facts = catalogue();

    put(&facts, of(FACT_SUBSCRIBED, 0, 0));
    for (uint64_t seq = 1; seq < COUNT; seq += 2)
        put(&facts, of(FACT_GONE, seq, seq + 1));
    assert_int_equal(told(&facts, COUNT).visible, COUNT / 2);
    free(facts.data);
}

TEST(neighbours_are_one_fact)
{
    struct facts facts = {0};

    put(&facts, of(FACT_GONE, 0, 5));
    put(&facts, of(FACT_GONE, 5, 9));
    assert_int_equal(facts.count, 1);
    put(&facts, of(FACT_GONE, 10, 11));
    put(&facts, held(11, 12, 1, 0));
    put(&facts, held(12, 13, 2, 0));
    assert_int_equal(facts.count, 4);
    free(facts.data);
}

/* Whatever is missing, or stands where it should not, is refused; and nothing behind the end is looked at. */
TEST(bytes_that_are_no_facts_are_refused)
{
    struct facts facts = catalogue();
    struct fact fact = {0};
    struct guard guard;

    guard_init(&guard, 4096);
    put(&facts, held(30, 40, 2, 60));
    for (size_t length = 0; length <= facts.length; length++) {
        struct fact_cursor c = fact_cursor_over(guard_put(&guard, facts.data, length), length);
        int found;

        while ((found = fact_next(&c, &fact)) == 1)
            continue;
        assert_true(found == FANQ_ERR_INVALID || c.at == c.end);
    }
    for (unsigned kind = FACT_KIND_END; kind < 257; kind++) {
        uint8_t bytes[16] = {(uint8_t)kind, 1, 1, 1, 1, 1, 1};
        struct fact_cursor c = fact_cursor_over(bytes, sizeof(bytes));

        assert_int_equal(fact_next(&c, &fact), FANQ_ERR_INVALID);
        assert_ptr_equal(c.at, bytes);
    }
    guard_close(&guard);
    free(facts.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_no_fact_deletes_is_there),
        cmocka_unit_test(no_delay_is_longer_than_one_may_be_whatever_the_clock_says),
        cmocka_unit_test(facts_may_be_repeated),
        cmocka_unit_test(checkpoint_may_speak_of_a_later_subscription),
        cmocka_unit_test(old_ack_deletes_nothing_younger_than_its_batch),
        cmocka_unit_test(early_delivery_is_kept),
        cmocka_unit_test(deletes_of_every_second_message_are_remembered),
        cmocka_unit_test(neighbours_are_one_fact),
        cmocka_unit_test(bytes_that_are_no_facts_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
