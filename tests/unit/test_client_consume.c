/* Deliveries, acks and credit of the client, against a broker that follows a script. */
#include "tests/lib/unit.h"

#include <string.h>

#include "tests/lib/fake_broker.h"

struct told {
    int count;
    int code;
    struct fanq_batch *batch; /* the last one, kept */
};

static void on_received(struct fanq *client, const struct fanq_error *error, struct fanq_batch *batch,
                        void *user)
{
    struct told *told = user;

    (void)client;
    fanq_batch_unref(told->batch);
    told->batch = batch != NULL ? fanq_batch_ref(batch) : NULL;
    told->code = error->code;
    told->count++;
}

static void on_done(struct fanq *client, const struct fanq_error *error, void *user)
{
    struct told *told = user;

    (void)client;
    told->code = error->code;
    told->count++;
}

static struct fanq *open_greeted(struct fake_broker *broker)
{
    struct fanq_options options = FANQ_OPTIONS_INIT;
    struct fanq *client;

    options.reconnect_ms_max = options.reconnect_ms_min = 1;
    fake_broker_open(broker);
    assert_int_equal(fanq_open(broker->url, &options, &client), 0);
    fake_broker_greet(broker, client);
    return client;
}

static void finish(struct fake_broker *broker, struct fanq *client)
{
    fanq_free(client);
    fake_broker_close(broker);
}

/* Receives `count` messages as batch 11, from seq 100 on. */
static void receive(struct fake_broker *broker, struct fanq *client, struct told *told, uint32_t count)
{
    int before = told->count;

    assert_int_equal(fanq_receive(client, "q", NULL, on_received, told), 0);
    struct fanq_request request = fake_broker_take(broker, client);
    assert_int_equal(request.op, FANQ_OP_RECEIVE);
    fake_broker_deliver(broker, client, request.id, 11, 100, count);
    drive_until(client, &told->count, before + 1);
    assert_int_equal(told->code, 0);
}

static void expect_ranges(struct fanq_request request, enum fanq_op op, const uint64_t (*ranges)[2],
                          uint32_t count)
{
    struct fanq_range range;

    assert_int_equal(request.op, op);
    assert_int_equal(request.change.queue_id, 5);
    assert_int_equal(request.change.batch, 11);
    assert_int_equal(request.change.ranges.count, count);
    for (uint32_t i = 0; i < count; i++) {
        assert_true(fanq_range_next(&request.change.ranges, &range));
        assert_int_equal(range.stream, 7);
        assert_int_equal(range.first, ranges[i][0]);
        assert_int_equal(range.count, ranges[i][1]);
    }
}

/* ---- messages ---- */

TEST(a_batch_shows_its_messages_both_ways)
{
    struct fake_broker broker;
    struct fanq *client = open_greeted(&broker);
    struct told told = {0};
    struct fanq_view view = {0};
    size_t bytes;
    char id[52];

    receive(&broker, client, &told, 3);
    assert_int_equal(fanq_batch_count(told.batch), 3);
    assert_int_equal(fanq_batch_queue_id(told.batch), 5);
    for (size_t i = 0; i < 3; i++) {
        struct fanq_message *message = fanq_batch_message(told.batch, i);
        assert_int_equal(*(const char *)fanq_message_body(message, &bytes), 'a' + (int)i);
        assert_int_equal(bytes, 1);
        assert_int_equal(fanq_message_seq(message), 100 + i);
        assert_int_equal(fanq_message_deliveries(message), 1);
        assert_null(fanq_message_subject(message, &bytes));
        assert_true(fanq_batch_next(told.batch, &view));
        assert_int_equal(*(const char *)view.body, 'a' + (int)i);
        assert_int_equal(view.seq, 100 + i);
    }
    assert_false(fanq_batch_next(told.batch, &view));
    assert_null(fanq_batch_message(told.batch, 3));
    assert_int_equal(fanq_message_id(fanq_batch_message(told.batch, 1), id, sizeof(id)), strlen("7.1-65"));
    assert_string_equal(id, "7.1-65");
    /* A message outlives the client, but cannot be acknowledged any more. */
    fanq_free(client);
    assert_int_equal(*(const char *)fanq_message_body(fanq_batch_message(told.batch, 2), &bytes), 'c');
    assert_int_equal(fanq_ack_batch(told.batch, NULL, NULL), FANQ_ERR_CLOSED);
    assert_int_equal(fanq_ack_batch_sync(told.batch, 10, NULL), FANQ_ERR_CLOSED);
    fanq_batch_unref(told.batch);
    fake_broker_close(&broker);
}

TEST(properties_are_read_and_lying_ones_are_absent)
{
    struct fake_broker broker;
    struct fanq *client = open_greeted(&broker);
    struct told told = {0};
    static const struct fanq_attribute attributes[] = {
        {{(const uint8_t *)"n", 1}, {(const uint8_t *)"Number", 6}, {(const uint8_t *)"12", 2}},
        {{(const uint8_t *)"bin", 3}, {(const uint8_t *)"Binary", 6}, {(const uint8_t *)"\0\1", 2}}};
    struct fanq_record_parts parts = {.body = FANQ_BYTES("body"),
                                      .subject = FANQ_BYTES("sub"),
                                      .trace = FANQ_BYTES("00-1"),
                                      .attributes = attributes,
                                      .attribute_count = 2};
    static const uint8_t lying[] = {0xc6, 0, 0, 0, 3, 1, 0xdf, 0xff}; /* a map that is not there */
    uint8_t records[256];
    struct fanq_writer w = fanq_writer_over(records, sizeof(records));
    struct fanq_message_attribute attribute;
    size_t bytes, place = 0;

    assert_int_equal(fanq_record_write(&w, &parts), 0);
    fanq_write_raw(&w, lying, sizeof(lying));
    struct fanq_slice slice = {.stream = 1, .first_seq = 1, .records = {records, fanq_writer_length(&w), 2}};
    assert_int_equal(fanq_receive(client, "q", NULL, on_received, &told), 0);
    fake_broker_reply(
        &broker, client,
        &(struct fanq_reply){.op = FANQ_REPLY_DELIVER,
                             .id = fake_broker_take(&broker, client).id,
                             .deliver = {.queue_id = 5, .batch = 11, .slices = &slice, .slice_count = 1}});
    drive_until(client, &told.count, 1);
    struct fanq_message *message = fanq_batch_message(told.batch, 0);
    assert_memory_equal(fanq_message_subject(message, &bytes), "sub", 3);
    assert_memory_equal(fanq_message_trace(message, &bytes), "00-1", 4);
    assert_memory_equal(fanq_message_body(message, &bytes), "body", 4);
    assert_true(fanq_message_attribute_next(message, &place, &attribute));
    assert_memory_equal(attribute.name, "n", 1);
    assert_true(fanq_message_attribute_next(message, &place, &attribute));
    assert_int_equal(attribute.value_bytes, 2);
    assert_false(fanq_message_attribute_next(message, &place, &attribute));
    assert_true(fanq_message_attribute(message, "bin", &attribute));
    assert_false(fanq_message_attribute(message, "none", &attribute));
    message = fanq_batch_message(told.batch, 1);
    (void)fanq_message_body(message, &bytes);
    assert_int_equal(bytes, 0);
    assert_null(fanq_message_subject(message, &bytes));
    assert_false(fanq_message_attribute(message, "n", &attribute));
    fanq_batch_unref(told.batch);
    finish(&broker, client);
}

TEST(long_deliveries_share_the_input_and_stay_as_they_are)
{
    enum { BODY_BYTES = 200 * 1000, BATCHES = 12 };
    static uint8_t body[BODY_BYTES], records[BODY_BYTES + 64];
    struct fake_broker broker;
    struct fanq *client = open_greeted(&broker);
    struct told told[BATCHES] = {0};
    size_t bytes;

    for (int i = 0; i < BATCHES; i++) {
        struct fanq_writer w = fanq_writer_over(records, sizeof(records));
        memset(body, 'a' + i, sizeof(body));
        assert_int_equal(fanq_record_write(&w, &(struct fanq_record_parts){.body = {body, BODY_BYTES}}), 0);
        struct fanq_slice slice = {
            .stream = 1, .first_seq = 1, .records = {records, fanq_writer_length(&w), 1}};
        assert_int_equal(fanq_receive(client, "q", NULL, on_received, &told[i]), 0);
        fake_broker_reply(&broker, client,
                          &(struct fanq_reply){
                              .op = FANQ_REPLY_DELIVER,
                              .id = fake_broker_take(&broker, client).id,
                              .deliver = {.queue_id = 5, .batch = 11, .slices = &slice, .slice_count = 1}});
        drive_until(client, &told[i].count, 1);
    }
    for (int i = 0; i < BATCHES; i++) {
        const uint8_t *seen = fanq_message_body(fanq_batch_message(told[i].batch, 0), &bytes);
        assert_int_equal(bytes, BODY_BYTES);
        assert_int_equal(seen[0], 'a' + i);
        assert_int_equal(seen[BODY_BYTES - 1], 'a' + i);
        fanq_batch_unref(told[i].batch);
    }
    finish(&broker, client);
}

/* ---- settling ---- */

TEST(acks_of_a_round_leave_as_ranges_in_one_frame)
{
    static const uint64_t first[][2] = {{100, 3}, {105, 2}}, rest[][2] = {{103, 2}, {107, 3}};
    struct fake_broker broker;
    struct fanq *client = open_greeted(&broker);
    struct told told = {0}, acked = {0};
    static const size_t order[] = {6, 0, 2, 1, 5};

    receive(&broker, client, &told, 10);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(fanq_ack(fanq_batch_message(told.batch, order[i]), on_done, &acked), 0);
    struct fanq_request request = fake_broker_take(&broker, client);
    expect_ranges(request, FANQ_OP_ACK, first, 2);
    assert_true(fake_broker_is_idle(&broker, client));
    fake_broker_ok(&broker, client, request.id);
    drive_until(client, &acked.count, 5);
    assert_int_equal(fanq_ack(fanq_batch_message(told.batch, 0), on_done, &acked), 0); /* again: no frame */
    drive_until(client, &acked.count, 6);
    assert_int_equal(fanq_ack_batch(told.batch, NULL, NULL), 0);
    expect_ranges(fake_broker_take(&broker, client), FANQ_OP_ACK, rest, 2);
    assert_int_equal(fanq_ack_batch(told.batch, on_done, &acked), 0);
    drive_until(client, &acked.count, 7);
    assert_int_equal(acked.code, 0);
    fanq_batch_unref(told.batch);
    finish(&broker, client);
}

TEST(nack_and_extend_speak_of_what_is_not_settled)
{
    static const uint64_t extended[][2] = {{101, 1}}, nacked[][2] = {{100, 1}}, rest[][2] = {{101, 2}};
    struct fake_broker broker;
    struct fanq *client = open_greeted(&broker);
    struct told told = {0}, changed = {0};

    receive(&broker, client, &told, 3);
    assert_int_equal(fanq_extend(fanq_batch_message(told.batch, 1), 60000, on_done, &changed), 0);
    struct fanq_request request = fake_broker_take(&broker, client);
    assert_int_equal(request.change.time_ms, 60000);
    expect_ranges(request, FANQ_OP_EXTEND, extended, 1);
    fake_broker_reply(&broker, client,
                      &(struct fanq_reply){.op = FANQ_REPLY_CHANGED, .id = request.id, .changed = 0});
    drive_until(client, &changed.count, 1);
    assert_int_equal(changed.code, FANQ_ERR_RECEIPT_EXPIRED);

    assert_int_equal(fanq_nack(fanq_batch_message(told.batch, 0), 500, on_done, &changed), 0);
    assert_int_equal(fanq_nack(fanq_batch_message(told.batch, 0), 500, on_done, &changed),
                     FANQ_ERR_RECEIPT_EXPIRED);
    request = fake_broker_take(&broker, client);
    assert_int_equal(request.change.time_ms, 500);
    expect_ranges(request, FANQ_OP_NACK, nacked, 1);
    fake_broker_reply(&broker, client,
                      &(struct fanq_reply){.op = FANQ_REPLY_CHANGED, .id = request.id, .changed = 1});
    drive_until(client, &changed.count, 2);
    assert_int_equal(changed.code, 0);

    assert_int_equal(fanq_extend_batch(told.batch, 1000, NULL, NULL), 0);
    expect_ranges(fake_broker_take(&broker, client), FANQ_OP_EXTEND, rest, 1);
    assert_int_equal(fanq_nack_batch(told.batch, 0, NULL, NULL), 0);
    expect_ranges(fake_broker_take(&broker, client), FANQ_OP_NACK, rest, 1);
    assert_int_equal(fanq_nack_batch(told.batch, 0, NULL, NULL), FANQ_ERR_RECEIPT_EXPIRED);
    assert_int_equal(fanq_extend_batch(told.batch, 1, NULL, NULL), FANQ_ERR_RECEIPT_EXPIRED);
    assert_int_equal(fanq_nack(fanq_batch_message(told.batch, 1), FANQ_DELAY_MS_MAX + 1ull, NULL, NULL),
                     FANQ_ERR_INVALID);
    fanq_batch_unref(told.batch);
    finish(&broker, client);
}

/* More ranges than one request may hold go in several; who waits hears once. */
TEST(very_many_ranges_take_several_frames)
{
    enum { MESSAGES = 10000 };
    static uint8_t records[MESSAGES * (FANQ_RECORD_PLAIN_BYTES + 1)];
    struct fanq_writer w = fanq_writer_over(records, sizeof(records));
    struct fake_broker broker;
    struct fanq *client = open_greeted(&broker);
    struct told told = {0}, acked = {0};
    struct fanq_request request;

    for (int i = 0; i < MESSAGES; i++)
        assert_int_equal(fanq_record_write(&w, &(struct fanq_record_parts){.body = FANQ_BYTES("x")}), 0);
    struct fanq_slice slice = {
        .stream = 7, .first_seq = 1, .records = {records, fanq_writer_length(&w), MESSAGES}};
    assert_int_equal(fanq_receive(client, "q", NULL, on_received, &told), 0);
    fake_broker_reply(
        &broker, client,
        &(struct fanq_reply){.op = FANQ_REPLY_DELIVER,
                             .id = fake_broker_take(&broker, client).id,
                             .deliver = {.queue_id = 5, .batch = 11, .slices = &slice, .slice_count = 1}});
    drive_until(client, &told.count, 1);
    for (size_t i = 0; i < MESSAGES; i += 2)
        assert_int_equal(fanq_ack(fanq_batch_message(told.batch, i), i == 0 ? on_done : NULL, &acked), 0);
    request = fake_broker_take(&broker, client);
    assert_int_equal(request.change.ranges.count, FANQ_RANGES_MAX);
    fake_broker_ok(&broker, client, request.id);
    assert_int_equal(acked.count, 0);
    request = fake_broker_take(&broker, client);
    assert_int_equal(request.change.ranges.count, MESSAGES / 2 - FANQ_RANGES_MAX);
    fake_broker_ok(&broker, client, request.id);
    drive_until(client, &acked.count, 1);
    fanq_batch_unref(told.batch);
    finish(&broker, client);
}

TEST(an_ack_survives_a_lost_connection_but_not_a_forgetful_broker)
{
    struct fake_broker broker;
    struct fanq *client = open_greeted(&broker);
    struct told told = {0}, acked = {0};

    receive(&broker, client, &told, 2);
    assert_int_equal(fanq_ack(fanq_batch_message(told.batch, 0), on_done, &acked), 0);
    uint64_t id = fake_broker_take(&broker, client).id;
    fake_broker_hang_up(&broker);
    fake_broker_greet(&broker, client);
    struct fanq_request again = fake_broker_take(&broker, client);
    assert_int_equal(again.op, FANQ_OP_ACK);
    assert_int_equal(again.id, id);
    fake_broker_hang_up(&broker);

    broker.epoch = 2; /* another run, which kept nothing */
    fake_broker_greet(&broker, client);
    drive_until(client, &acked.count, 1);
    assert_int_equal(acked.code, FANQ_ERR_RECEIPT_EXPIRED);
    assert_true(fake_broker_is_idle(&broker, client));
    assert_int_equal(fanq_ack(fanq_batch_message(told.batch, 1), NULL, NULL), FANQ_ERR_RECEIPT_EXPIRED);
    assert_int_equal(fanq_nack_batch(told.batch, 0, NULL, NULL), FANQ_ERR_RECEIPT_EXPIRED);
    fanq_batch_unref(told.batch);
    finish(&broker, client);
}

TEST(auto_deleted_messages_need_no_ack_and_peeked_ones_take_none)
{
    struct fanq_receive_options how = FANQ_RECEIVE_OPTIONS_INIT;
    struct fanq_peek_options peek = FANQ_PEEK_OPTIONS_INIT;
    struct fake_broker broker;
    struct fanq *client = open_greeted(&broker);
    struct told told = {0}, done = {0};
    static const uint8_t record[] = {0xc6, 0, 0, 0, 2, 0, 'p'};
    static const struct fanq_peeked_slice slice = {
        .slice = {.stream = 7, .first_seq = 1, .records = {record, sizeof(record), 1}},
        .state = FANQ_STATE_DELAYED,
        .due_ms = 77};
    uint64_t stream, seq;

    how.auto_delete = true;
    how.wait_ms = 5;
    assert_int_equal(fanq_receive(client, "q", &how, on_received, &told), 0);
    struct fanq_request request = fake_broker_take(&broker, client);
    assert_int_equal(request.receive.flags, FANQ_RECEIVE_AUTO_DELETE);
    assert_int_equal(request.receive.wait_ms, 5);
    fake_broker_deliver(&broker, client, request.id, 0, 1, 2);
    drive_until(client, &told.count, 1);
    assert_int_equal(fanq_ack_batch(told.batch, on_done, &done), 0);
    drive_until(client, &done.count, 1);
    assert_int_equal(done.code, 0);
    assert_int_equal(fanq_nack_batch(told.batch, 0, NULL, NULL), FANQ_ERR_RECEIPT_EXPIRED);
    assert_true(fake_broker_is_idle(&broker, client));

    peek.after_valid = true;
    peek.after_stream = 6;
    assert_int_equal(fanq_peek(client, "q", &peek, on_received, &told), 0);
    request = fake_broker_take(&broker, client);
    assert_int_equal(request.peek.after_stream, 6);
    fake_broker_reply(
        &broker, client,
        &(struct fanq_reply){
            .op = FANQ_REPLY_PEEKED,
            .id = request.id,
            .peeked = {.more = true, .next_stream = 7, .next_seq = 2, .slices = &slice, .slice_count = 1}});
    drive_until(client, &told.count, 2);
    assert_int_equal(told.code, 0);
    struct fanq_message *message = fanq_batch_message(told.batch, 0);
    assert_int_equal(fanq_message_state(message), FANQ_MESSAGE_DELAYED);
    assert_int_equal(fanq_message_due_ms(message), 77);
    assert_true(fanq_batch_peek_cursor(told.batch, &stream, &seq));
    assert_int_equal(seq, 2);
    assert_int_equal(fanq_ack(message, NULL, NULL), FANQ_ERR_INVALID);
    fanq_batch_unref(told.batch);
    finish(&broker, client);
}

TEST(messages_that_come_too_late_are_given_back)
{
    static const uint64_t all[][2] = {{100, 3}};
    struct fake_broker broker;
    struct fanq *client = open_greeted(&broker);
    struct fanq_receive_options how = FANQ_RECEIVE_OPTIONS_INIT;
    struct fanq_batch *batch;
    struct fanq_error error;

    how.wait_ms = 1000;
    assert_int_equal(fanq_receive_sync(client, "q", &how, 40, &batch, &error), FANQ_ERR_TIMEOUT);
    struct fanq_request request = fake_broker_take(&broker, client);
    assert_int_equal(request.receive.wait_ms, 30); /* an empty answer still comes in time */
    fake_broker_deliver(&broker, client, request.id, 11, 100, 3);
    request = fake_broker_take(&broker, client);
    expect_ranges(request, FANQ_OP_NACK, all, 1);
    assert_int_equal(request.change.time_ms, 0);
    finish(&broker, client);
}

/* ---- pushes ---- */

struct pushed {
    int deliveries;
    int messages;
    int ends;
    int end_code;
    bool keeps;
    struct fanq_batch *kept[16];
};

static void on_delivered(struct fanq_consumer *consumer, struct fanq_batch *batch, void *user)
{
    struct pushed *pushed = user;

    (void)consumer;
    if (pushed->keeps)
        pushed->kept[pushed->deliveries] = fanq_batch_ref(batch);
    pushed->deliveries++;
    pushed->messages += (int)fanq_batch_count(batch);
}

static void on_end(struct fanq_consumer *consumer, const struct fanq_error *error, void *user)
{
    struct pushed *pushed = user;

    (void)consumer;
    pushed->ends++;
    pushed->end_code = error->code;
}

TEST(credit_comes_back_when_messages_are_released_or_settled)
{
    struct fanq_consume_options how = FANQ_CONSUME_OPTIONS_INIT;
    struct fake_broker broker;
    struct fanq *client = open_greeted(&broker);
    struct fanq_consumer *consumer;
    struct pushed pushed = {.keeps = true};

    how.messages = 10;
    assert_int_equal(fanq_consume(client, "q", &how, on_delivered, on_end, &pushed, &consumer), 0);
    struct fanq_request request = fake_broker_take(&broker, client);
    assert_int_equal(request.op, FANQ_OP_PUSH);
    assert_int_equal(request.push.messages, 10);
    assert_int_equal(request.push.mode, FANQ_PUSH_ACK);
    uint64_t id = request.id;
    fake_broker_ok(&broker, client, id);
    fake_broker_deliver(&broker, client, id, 11, 100, 4);
    fake_broker_deliver(&broker, client, id, 12, 104, 6);
    drive_until(client, &pushed.deliveries, 2);
    assert_int_equal(pushed.messages, 10);
    fanq_batch_unref(pushed.kept[0]); /* less than half the window: not worth a frame yet */
    assert_true(fake_broker_is_idle(&broker, client));
    assert_int_equal(fanq_ack(fanq_batch_message(pushed.kept[1], 0), NULL, NULL), 0);
    assert_int_equal(fake_broker_take(&broker, client).op, FANQ_OP_ACK);
    request = fake_broker_take(&broker, client);
    assert_int_equal(request.op, FANQ_OP_CREDIT);
    assert_int_equal(request.credit.push, id);
    assert_int_equal(request.credit.messages, 5);
    assert_int_equal(request.credit.bytes, 5 * (FANQ_RECORD_PLAIN_BYTES + 1));

    fake_broker_hang_up(&broker); /* five are held still */
    fake_broker_greet(&broker, client);
    assert_int_equal(fake_broker_take(&broker, client).op, FANQ_OP_PUSH);
    assert_int_equal(fake_broker_take(&broker, client).op, FANQ_OP_ACK); /* it was not answered */
    fanq_batch_unref(pushed.kept[1]);
    assert_int_equal(fanq_timeout_ms(client), 0); /* outside of a round, so it asks for one */
    request = fake_broker_take(&broker, client);
    assert_int_equal(request.credit.messages, 5);

    assert_int_equal(fanq_consumer_stop(consumer), 0);
    request = fake_broker_take(&broker, client);
    assert_int_equal(request.op, FANQ_OP_PUSH_STOP);
    assert_int_equal(request.push_stop, id);
    pushed.keeps = false;
    fake_broker_deliver(&broker, client, id, 13, 110, 1); /* under way */
    fake_broker_ok(&broker, client, request.id);
    drive_until(client, &pushed.ends, 1);
    assert_int_equal(pushed.end_code, 0);
    assert_int_equal(pushed.messages, 11);
    finish(&broker, client);
    assert_int_equal(pushed.ends, 1);
}

TEST(a_push_outlives_a_draining_broker_but_not_a_deleted_queue)
{
    struct fake_broker broker;
    struct fanq *client = open_greeted(&broker);
    struct pushed pushed = {0};
    struct fanq_reply end = {
        .op = FANQ_REPLY_PUSH_END, .id = 1, .error = {FANQ_ERR_DRAINING, FANQ_BYTES("")}};

    assert_int_equal(fanq_consume(client, "q", NULL, on_delivered, on_end, &pushed, NULL), 0);
    assert_int_equal(fake_broker_take(&broker, client).op, FANQ_OP_PUSH);
    fake_broker_reply(&broker, client, &end);
    drive_some(client);
    fake_broker_hang_up(&broker);
    assert_int_equal(pushed.ends, 0);
    broker.epoch++;
    fake_broker_greet(&broker, client);
    struct fanq_request request = fake_broker_take(&broker, client);
    assert_int_equal(request.op, FANQ_OP_PUSH);
    assert_int_equal(request.push.messages, 1000);
    end.error.err = FANQ_ERR_QUEUE_NOT_FOUND;
    fake_broker_reply(&broker, client, &end);
    drive_until(client, &pushed.ends, 1);
    assert_int_equal(pushed.end_code, FANQ_ERR_QUEUE_NOT_FOUND);
    finish(&broker, client);
}

TEST(manual_credit_is_the_programs_own)
{
    struct fanq_consume_options how = FANQ_CONSUME_OPTIONS_INIT;
    struct fake_broker broker;
    struct fanq *client = open_greeted(&broker);
    struct fanq_consumer *consumer;
    struct pushed pushed = {0};

    how.manual_credit = true;
    how.mode = FANQ_CONSUME_AUTO;
    how.topic = true;
    how.messages = 2;
    assert_int_equal(fanq_consume(client, "t", &how, on_delivered, on_end, &pushed, &consumer), 0);
    struct fanq_request request = fake_broker_take(&broker, client);
    assert_int_equal(request.push.target_kind, FANQ_PUSH_TOPIC);
    fake_broker_deliver(&broker, client, request.id, 0, 1, 2);
    drive_until(client, &pushed.deliveries, 1);
    assert_true(fake_broker_is_idle(&broker, client));
    assert_int_equal(fanq_consumer_credit(consumer, 3, 300), 0);
    request = fake_broker_take(&broker, client);
    assert_int_equal(request.credit.messages, 3);
    assert_int_equal(request.credit.bytes, 300);
    how.mode = FANQ_CONSUME_ACK;
    assert_int_equal(fanq_consume(client, "t", &how, on_delivered, on_end, &pushed, NULL), FANQ_ERR_INVALID);
    finish(&broker, client);
    assert_int_equal(pushed.ends, 1);
    assert_int_equal(pushed.end_code, FANQ_ERR_CLOSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_shows_its_messages_both_ways),
        cmocka_unit_test(properties_are_read_and_lying_ones_are_absent),
        cmocka_unit_test(long_deliveries_share_the_input_and_stay_as_they_are),
        cmocka_unit_test(acks_of_a_round_leave_as_ranges_in_one_frame),
        cmocka_unit_test(nack_and_extend_speak_of_what_is_not_settled),
        cmocka_unit_test(very_many_ranges_take_several_frames),
        cmocka_unit_test(an_ack_survives_a_lost_connection_but_not_a_forgetful_broker),
        cmocka_unit_test(auto_deleted_messages_need_no_ack_and_peeked_ones_take_none),
        cmocka_unit_test(messages_that_come_too_late_are_given_back),
        cmocka_unit_test(credit_comes_back_when_messages_are_released_or_settled),
        cmocka_unit_test(a_push_outlives_a_draining_broker_but_not_a_deleted_queue),
        cmocka_unit_test(manual_credit_is_the_programs_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
