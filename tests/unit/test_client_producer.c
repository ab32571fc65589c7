/* Publishes that are sent again when the connection ends, against a broker that remembers them or does not. */
#include "tests/lib/unit.h"

#include <string.h>

#include "tests/lib/fake_broker.h"
#include "tests/lib/random.h"

struct told {
    int count;
    int codes[4096];
    bool has_id;
    uint64_t seq;
};

static void on_sent(struct fanq *client, const struct fanq_sent *sent, void *user)
{
    struct told *told = user;

    (void)client;
    told->has_id = sent->has_id;
    told->seq = sent->seq;
    told->codes[told->count++] = sent->error.code;
}

static void on_batch_sent(struct fanq *client, const struct fanq_batch_sent *sent, void *user)
{
    struct told *told = user;

    (void)client;
    told->has_id = sent->has_id;
    told->codes[told->count++] = sent->error.code;
}

/* A client of a broker that keeps producers, which has greeted it. */
static struct fanq *open_greeted(struct fake_broker *broker, struct fanq_options options)
{
    struct fanq *client;

    options.reconnect_ms_min = options.reconnect_ms_max = 1;
    fake_broker_open(broker);
    broker->keeps_producers = true;
    assert_int_equal(fanq_open(broker->url, &options, &client), 0);
    fake_broker_greet(broker, client);
    return client;
}

static struct fanq *open_default(struct fake_broker *broker)
{
    return open_greeted(broker, (struct fanq_options)FANQ_OPTIONS_INIT);
}

static void finish(struct fake_broker *broker, struct fanq *client)
{
    fanq_free(client);
    fake_broker_close(broker);
}

static void send_text(struct fanq *client, const char *text, struct told *told)
{
    struct fanq_content content = fanq_text(text);

    assert_int_equal(fanq_send(client, "q", &content, on_sent, told), 0);
}

static void expect_send(struct fake_broker *broker, struct fanq *client, uint64_t id, const char *text)
{
    struct fanq_request request = fake_broker_take(broker, client);
    const uint8_t *body = request.publish.records.data + FANQ_RECORD_PLAIN_BYTES;

    assert_int_equal(request.op, FANQ_OP_SEND);
    assert_int_equal(request.id, id);
    assert_int_equal(request.publish.records.length, FANQ_RECORD_PLAIN_BYTES + strlen(text));
    assert_memory_equal(body, text, strlen(text));
}

TEST(what_was_not_answered_is_sent_again_before_anything_new)
{
    struct fake_broker broker;
    struct told told = {0};
    struct fanq *client = open_default(&broker);
    uint8_t producer[FANQ_PRODUCER_BYTES];

    memcpy(producer, broker.producer, sizeof(producer));
    send_text(client, "one", &told);
    expect_send(&broker, client, 1, "one");
    send_text(client, "two", &told);
    expect_send(&broker, client, 2, "two");
    send_text(client, "three", &told);
    expect_send(&broker, client, 3, "three");
    fake_broker_ok(&broker, client, 1);
    drive_until(client, &told.count, 1);
    fake_broker_hang_up(&broker);
    drive_some(client);
    send_text(client, "four", &told);
    assert_int_equal(told.count, 1);

    broker.knows_producer = true;
    fake_broker_greet(&broker, client);
    assert_memory_equal(broker.producer, producer, sizeof(producer));
    expect_send(&broker, client, 2, "two");
    expect_send(&broker, client, 3, "three");
    expect_send(&broker, client, 4, "four");
    fake_broker_refuse(&broker, client, 2, FANQ_ERR_NO_ROOM); /* as it was the first time */
    fake_broker_reply(&broker, client,
                      &(struct fanq_reply){.op = FANQ_REPLY_OK_RANGE, .id = 3, .ok_range = {2}});
    drive_until(client, &told.count, 4);
    assert_int_equal(told.codes[1], FANQ_ERR_NO_ROOM);
    assert_int_equal(told.codes[2], 0);
    assert_int_equal(told.codes[3], 0);
    finish(&broker, client);
}

TEST(two_clients_are_two_producers)
{
    static const uint8_t zeroes[FANQ_PRODUCER_BYTES];
    struct fake_broker one, other;
    struct fanq *client = open_default(&one), *second = open_default(&other);

    assert_memory_not_equal(one.producer, other.producer, FANQ_PRODUCER_BYTES);
    assert_memory_not_equal(one.producer, zeroes, FANQ_PRODUCER_BYTES);
    finish(&one, client);
    finish(&other, second);
}

/* It may have been applied by the broker that knew us, or not; what was never sent was not. */
TEST(a_broker_that_does_not_know_us_leaves_it_open)
{
    struct fake_broker broker;
    struct told told = {0};
    struct fanq *client = open_default(&broker);

    send_text(client, "one", &told);
    expect_send(&broker, client, 1, "one");
    fake_broker_hang_up(&broker);
    drive_some(client);
    send_text(client, "two", &told);
    assert_int_equal(told.count, 0);
    fake_broker_greet(&broker, client);
    drive_until(client, &told.count, 1);
    assert_int_equal(told.codes[0], FANQ_ERR_UNKNOWN);
    expect_send(&broker, client, 2, "two");
    fake_broker_ok(&broker, client, 2);
    drive_until(client, &told.count, 2);
    assert_int_equal(told.codes[1], 0);
    finish(&broker, client);
}

/* It came to be sent again, and was not; but it had been sent before. */
TEST(what_was_sent_once_stays_open_when_it_waits_to_be_sent_again)
{
    enum { BODY_BYTES = 1000 * 1000, MESSAGES = 6 };
    static uint8_t body[BODY_BYTES];
    struct fanq_content content = {.body = body, .body_bytes = BODY_BYTES};
    struct fake_broker broker;
    struct told told = {0};
    struct fanq *client = open_default(&broker);

    for (int i = 0; i < MESSAGES; i++)
        assert_int_equal(fanq_send(client, "q", &content, on_sent, &told), 0);
    for (int i = 0; i < MESSAGES; i++)
        assert_int_equal(fake_broker_take(&broker, client).id, i + 1);
    fake_broker_hang_up(&broker);
    broker.knows_producer = true;
    fake_broker_greet(&broker, client);
    drive_some(client);
    assert_true(fanq_pending_bytes(client) > 0); /* the socket took a part of it */
    fake_broker_hang_up(&broker);
    broker.knows_producer = false;
    fake_broker_greet(&broker, client);
    drive_until(client, &told.count, MESSAGES);
    for (int i = 0; i < MESSAGES; i++)
        assert_int_equal(told.codes[i], FANQ_ERR_UNKNOWN);
    finish(&broker, client);
}

TEST(what_is_freed_while_it_waits_to_be_sent_again_is_open)
{
    struct fake_broker broker;
    struct told told = {0};
    struct fanq *client = open_default(&broker);

    send_text(client, "one", &told);
    expect_send(&broker, client, 1, "one");
    fake_broker_hang_up(&broker);
    drive_some(client);
    send_text(client, "two", &told);
    drive_some(client);
    assert_int_equal(told.count, 0);
    finish(&broker, client);
    assert_int_equal(told.count, 2);
    assert_int_equal(told.codes[0], FANQ_ERR_UNKNOWN);
    assert_int_equal(told.codes[1], FANQ_ERR_CLOSED);
}

TEST(what_is_given_up_is_not_sent_again)
{
    struct fanq_options options = FANQ_OPTIONS_INIT;
    struct fake_broker broker;
    struct told told = {0}, later = {0};

    options.request_timeout_ms = 50;
    struct fanq *client = open_greeted(&broker, options);
    send_text(client, "one", &told);
    expect_send(&broker, client, 1, "one");
    fake_broker_hang_up(&broker);
    drive_until(client, &told.count, 1);
    assert_int_equal(told.codes[0], FANQ_ERR_TIMEOUT);
    broker.knows_producer = true;
    send_text(client, "two", &later);
    fake_broker_greet(&broker, client);
    expect_send(&broker, client, 2, "two");
    assert_int_equal(told.count, 1);
    finish(&broker, client);
}

TEST(ids_of_what_was_repeated_are_missing)
{
    struct fanq_content content = fanq_text("x");
    struct fanq_reply again = {.op = FANQ_REPLY_PUBLISHED, .published = {.epoch = 1, .count = 1}};
    struct fake_broker broker;
    struct told told = {0};
    struct fanq *client = open_default(&broker);

    content.want_id = true;
    assert_int_equal(fanq_send(client, "q", &content, on_sent, &told), 0);
    assert_int_equal(fake_broker_take(&broker, client).publish.flags, FANQ_PUBLISH_WANT_IDS);
    assert_int_equal(fanq_send_batch(client, "q", &content, 1, on_batch_sent, &told), 0);
    assert_int_equal(fake_broker_take(&broker, client).id, 2);
    for (uint64_t id = 1; id <= 2; id++) {
        again.id = id;
        told.has_id = true;
        fake_broker_reply(&broker, client, &again);
        drive_until(client, &told.count, (int)id);
        assert_int_equal(told.codes[id - 1], 0);
        assert_false(told.has_id);
        assert_int_equal(told.seq, 0);
    }
    finish(&broker, client);
}

TEST(what_waits_for_its_answer_counts_as_pending_bytes)
{
    static char body[4000];
    struct fanq_options options = FANQ_OPTIONS_INIT;
    struct fanq_content content = {.body = body, .body_bytes = sizeof(body)};
    struct fake_broker broker;
    struct told told = {0};

    options.pending_bytes_max = 10000;
    struct fanq *client = open_greeted(&broker, options);
    for (uint64_t id = 1; id <= 2; id++) {
        assert_int_equal(fanq_send(client, "q", &content, on_sent, &told), 0);
        assert_int_equal(fake_broker_take(&broker, client).id, id);
    }
    assert_int_equal(fanq_pending_bytes(client), 0);
    assert_int_equal(fanq_send(client, "q", &content, on_sent, &told), FANQ_ERR_LIMIT);
    fake_broker_ok(&broker, client, 1);
    drive_until(client, &told.count, 1);
    assert_int_equal(fanq_send(client, "q", &content, on_sent, &told), 0);
    finish(&broker, client);
}

/* ---- at random ---- */

enum { MESSAGES = 4000 };

struct model {
    uint64_t applied; /* the last id */
    uint32_t next;    /* message */
    uint64_t answered[MESSAGES];
    uint32_t answer_count; /* ids to answer */
};

static void take(struct model *m, const struct fanq_request *request)
{
    const uint8_t *at = request->publish.records.data;

    if (request->op != FANQ_OP_SEND)
        return;
    m->answered[m->answer_count++] = request->id;
    if (request->id <= m->applied)
        return;
    m->applied = request->id;
    for (uint32_t i = 0; i < request->publish.records.count; i++, at += fanq_record_length(at)) {
        uint32_t message;

        memcpy(&message, at + FANQ_RECORD_PLAIN_BYTES, sizeof(message));
        assert_int_equal(message, m->next++);
    }
}

/* A part of what was taken, from its beginning. */
static void answer(struct model *m, struct fake_broker *broker, struct fanq *client, struct random *random)
{
    uint32_t count = (uint32_t)random_below(random, m->answer_count + 1);

    for (uint32_t i = 0; i < count; i++)
        fake_broker_ok(broker, client, m->answered[i]);
    m->answer_count -= count;
    memmove(m->answered, m->answered + count, m->answer_count * sizeof(m->answered[0]));
}

static void send_some(struct fanq *client, struct random *random, uint32_t *sent, struct told *told)
{
    static uint8_t body[3000];

    for (uint64_t n = random_below(random, 8); n > 0 && *sent < MESSAGES; n--) {
        struct fanq_content content = {.body = body, .body_bytes = 4 + random_below(random, 2000)};

        memcpy(body, sent, sizeof(*sent));
        assert_int_equal(fanq_send(client, "q", &content, on_sent, told), 0);
        ++*sent;
    }
}

static void cut(struct model *m, struct fake_broker *broker, struct fanq *client)
{
    fake_broker_hang_up(broker);
    m->answer_count = 0;
    while (fanq_state(client) == FANQ_CLIENT_READY)
        (void)fanq_process(client);
    fake_broker_greet(broker, client);
}

/* Whatever is cut, and whenever: everything is applied once and in order, and nothing is left open. */
TEST(every_message_is_applied_once_whatever_is_cut)
{
    static struct told told;
    static struct model model;
    struct fake_broker broker;
    struct fanq *client = open_default(&broker);
    struct random random = {7};
    uint32_t sent = 0;

    broker.knows_producer = true;
    for (int round = 0; told.count < MESSAGES; round++) {
        struct fanq_request request;

        assert_true(round < 100000);
        send_some(client, &random, &sent, &told);
        if (random_below(&random, 20) == 0)
            cut(&model, &broker, client);
        for (uint64_t n = random_below(&random, 5); n > 0 && fake_broker_poll(&broker, client, &request); n--)
            take(&model, &request);
        answer(&model, &broker, client, &random);
    }
    assert_int_equal(model.next, MESSAGES);
    for (int i = 0; i < told.count; i++)
        assert_int_equal(told.codes[i], 0);
    finish(&broker, client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_not_answered_is_sent_again_before_anything_new),
        cmocka_unit_test(two_clients_are_two_producers),
        cmocka_unit_test(a_broker_that_does_not_know_us_leaves_it_open),
        cmocka_unit_test(what_was_sent_once_stays_open_when_it_waits_to_be_sent_again),
        cmocka_unit_test(what_is_freed_while_it_waits_to_be_sent_again_is_open),
        cmocka_unit_test(what_is_given_up_is_not_sent_again),
        cmocka_unit_test(ids_of_what_was_repeated_are_missing),
        cmocka_unit_test(what_waits_for_its_answer_counts_as_pending_bytes),
        cmocka_unit_test(every_message_is_applied_once_whatever_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
