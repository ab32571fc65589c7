/* The client and a real fanqd. */
#include "tests/lib/unit.h"

#include <fanq.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "tests/lib/broker_process.h"

enum { TIMEOUT_MS = 20000 };

static struct broker_process broker;

static int start_broker(void **state)
{
    (void)state;
    broker_process_start(&broker, NULL);
    return 0;
}

static int stop_broker(void **state)
{
    (void)state;
    int code = broker.pid != 0 ? broker_process_stop(&broker) : 0;
    broker_process_close(&broker);
    return code;
}

static struct fanq *connect_client(void)
{
    struct fanq_options options = FANQ_OPTIONS_INIT;
    struct fanq_error error;
    struct fanq *client;

    options.reconnect_ms_max = options.reconnect_ms_min = 10;
    assert_int_equal(fanq_open(broker.url, &options, &client), 0);
    if (fanq_wait_ready(client, TIMEOUT_MS, &error) != 0)
        fail_msg("%s", error.text);
    return client;
}

static void send_text(struct fanq *client, const char *queue, const char *text)
{
    struct fanq_content content = fanq_text(text);
    struct fanq_error error;

    if (fanq_send_sync(client, queue, &content, TIMEOUT_MS, &error) != 0)
        fail_msg("%s", error.text);
}

/* Receives one message and compares it. */
static struct fanq_batch *receive_text(struct fanq *client, const char *queue, const char *text)
{
    struct fanq_receive_options how = FANQ_RECEIVE_OPTIONS_INIT;
    struct fanq_batch *batch;
    struct fanq_error error;
    size_t bytes;

    how.messages_max = 1;
    how.wait_ms = 10000;
    if (fanq_receive_sync(client, queue, &how, TIMEOUT_MS, &batch, &error) != 0)
        fail_msg("%s", error.text);
    assert_int_equal(fanq_batch_count(batch), 1);
    const char *body = fanq_message_body(fanq_batch_message(batch, 0), &bytes);
    assert_int_equal(bytes, strlen(text));
    assert_memory_equal(body, text, bytes);
    return batch;
}

static struct fanq_queue_info look(struct fanq *client, const char *queue)
{
    struct fanq_queue_info info;

    assert_int_equal(fanq_queue_get_sync(client, queue, TIMEOUT_MS, &info, NULL), 0);
    return info;
}

/* ---- the whole way ---- */

TEST(a_topic_fans_out_to_two_queues)
{
    struct fanq *client = connect_client();
    struct fanq_message_attribute attribute = {.name = "kind", .value = "test"}, seen;
    struct fanq_content content = fanq_text("news");
    static const char *const queues[] = {"fan-a", "fan-b"};
    struct fanq_name_list *list;
    struct fanq_topic_info topic;
    size_t bytes;

    content.subject = "subject";
    content.trace = "00-trace";
    content.attributes = &attribute;
    content.attribute_count = 1;
    assert_int_equal(fanq_topic_create_sync(client, "fan", TIMEOUT_MS, NULL), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fanq_queue_create_sync(client, queues[i], NULL, TIMEOUT_MS, NULL), 0);
        assert_int_equal(fanq_subscribe_sync(client, "fan", queues[i], TIMEOUT_MS, NULL), 0);
    }
    assert_int_equal(fanq_subscription_list_sync(client, "fan", NULL, TIMEOUT_MS, &list, NULL), 0);
    assert_int_equal(list->count, 2);
    assert_string_equal(list->names[1], "fan-b");
    fanq_name_list_free(client, list);

    assert_int_equal(fanq_publish_sync(client, "fan", &content, TIMEOUT_MS, NULL), 0);
    for (int i = 0; i < 2; i++) {
        struct fanq_batch *batch = receive_text(client, queues[i], "news");
        struct fanq_message *message = fanq_batch_message(batch, 0);
        assert_memory_equal(fanq_message_subject(message, &bytes), "subject", 7);
        assert_memory_equal(fanq_message_trace(message, &bytes), "00-trace", 8);
        assert_true(fanq_message_attribute(message, "kind", &seen));
        assert_int_equal(seen.value_bytes, 4);
        assert_int_equal(fanq_message_deliveries(message), 1);
        assert_int_equal(look(client, queues[i]).in_flight, 1);
        assert_int_equal(fanq_ack_sync(message, TIMEOUT_MS, NULL), 0);
        fanq_batch_unref(batch);
        assert_int_equal(look(client, queues[i]).in_flight, 0);
        assert_int_equal(look(client, queues[i]).deleted, 1);
    }
    assert_int_equal(fanq_topic_get_sync(client, "fan", TIMEOUT_MS, &topic, NULL), 0);
    assert_int_equal(topic.subscription_count, 2);
    assert_string_equal(topic.name, "fan");
    assert_int_equal(fanq_unsubscribe_sync(client, "fan", "fan-a", TIMEOUT_MS, NULL), 0);
    assert_int_equal(fanq_topic_delete_sync(client, "fan", TIMEOUT_MS, NULL), 0);
    assert_int_equal(fanq_topic_get_sync(client, "fan", TIMEOUT_MS, &topic, NULL), FANQ_ERR_TOPIC_NOT_FOUND);
    fanq_free(client);
}

TEST(queue_settings_are_kept_and_compared)
{
    struct fanq *client = connect_client();
    struct fanq_queue_settings settings = FANQ_QUEUE_SETTINGS_INIT;
    struct fanq_list_options options = FANQ_LIST_OPTIONS_INIT;
    struct fanq_name_list *list;
    struct fanq_error error;

    settings.visibility_ms = 1234;
    assert_int_equal(fanq_queue_create_sync(client, "set-1", &settings, TIMEOUT_MS, NULL), 0);
    assert_int_equal(fanq_queue_create_sync(client, "set-1", &settings, TIMEOUT_MS, NULL), 0);
    settings.visibility_ms = 99;
    assert_int_equal(fanq_queue_create_sync(client, "set-1", &settings, TIMEOUT_MS, &error), FANQ_ERR_EXISTS);
    assert_string_equal(error.name, "EXISTS");
    assert_int_equal(fanq_queue_set_sync(client, "set-1", &settings, TIMEOUT_MS, NULL), 0);
    assert_int_equal(look(client, "set-1").visibility_ms, 99);
    assert_false(look(client, "set-1").early_delivery);
    settings.early_delivery = 1;
    assert_int_equal(fanq_queue_set_sync(client, "set-1", &settings, TIMEOUT_MS, NULL), 0);
    assert_true(look(client, "set-1").early_delivery);
    settings.early_delivery = 0;
    assert_int_equal(fanq_queue_create_sync(client, "set-1", &settings, TIMEOUT_MS, NULL), FANQ_ERR_EXISTS);
    assert_int_equal(fanq_queue_create_sync(client, "set-2", NULL, TIMEOUT_MS, NULL), 0);
    options.prefix = "set-";
    options.limit = 1;
    assert_int_equal(fanq_queue_list_sync(client, &options, TIMEOUT_MS, &list, NULL), 0);
    assert_string_equal(list->names[0], "set-1");
    assert_true(list->more);
    fanq_name_list_free(client, list);
    options.after = "set-1";
    assert_int_equal(fanq_queue_list_sync(client, &options, TIMEOUT_MS, &list, NULL), 0);
    assert_string_equal(list->names[0], "set-2");
    assert_false(list->more);
    fanq_name_list_free(client, list);
    send_text(client, "set-1", "x");
    assert_int_equal(fanq_queue_purge_sync(client, "set-1", TIMEOUT_MS, NULL), 0);
    assert_int_equal(look(client, "set-1").visible, 0);
    assert_int_equal(fanq_queue_delete_sync(client, "set-1", TIMEOUT_MS, NULL), 0);
    assert_int_equal(fanq_queue_delete_sync(client, "set-1", TIMEOUT_MS, NULL), FANQ_ERR_QUEUE_NOT_FOUND);
    fanq_free(client);
}

struct producing {
    int answered;
    int failed;
    uint64_t next_seq;
};

static void on_sent(struct fanq *client, const struct fanq_sent *sent, void *user)
{
    struct producing *producing = user;

    (void)client;
    if (sent->error.code != 0 || (sent->has_id && sent->seq != producing->next_seq))
        producing->failed++;
    producing->next_seq++;
    producing->answered++;
}

static void send_many(struct fanq *client, const char *queue, int count, bool want_id,
                      struct producing *producing)
{
    for (int i = 0; i < count; i++) {
        char body[16];
        struct fanq_content content = {.body = body, .want_id = want_id};

        content.body_bytes = (size_t)snprintf(body, sizeof(body), "%d", i);
        assert_int_equal(fanq_send(client, queue, &content, on_sent, producing), 0);
    }
    assert_int_equal(fanq_flush_sync(client, TIMEOUT_MS, NULL), 0);
    assert_int_equal(producing->answered, count);
    assert_int_equal(producing->failed, 0);
}

/* Receives everything, in order, and acknowledges: singly every third, else the batch. */
static void receive_many(struct fanq *client, const char *queue, int count)
{
    struct fanq_receive_options how = FANQ_RECEIVE_OPTIONS_INIT;
    struct fanq_batch *batch;
    int next = 0;

    how.messages_max = 700;
    while (next < count) {
        struct fanq_view view = {0};

        assert_int_equal(fanq_receive_sync(client, queue, &how, TIMEOUT_MS, &batch, NULL), 0);
        assert_true(fanq_batch_count(batch) > 0);
        for (; fanq_batch_next(batch, &view); next++) {
            char body[16];
            int bytes = snprintf(body, sizeof(body), "%d", next);
            assert_int_equal(view.body_bytes, bytes);
            assert_memory_equal(view.body, body, bytes);
        }
        for (size_t i = 0; i < fanq_batch_count(batch); i += 3)
            assert_int_equal(fanq_ack(fanq_batch_message(batch, i), NULL, NULL), 0);
        assert_int_equal(fanq_ack_batch_sync(batch, TIMEOUT_MS, NULL), 0);
        fanq_batch_unref(batch);
    }
}

TEST(many_messages_go_through_gathered_and_one_by_one)
{
    for (int gather = 0; gather < 2; gather++) {
        struct fanq_options options = FANQ_OPTIONS_INIT;
        struct producing producing = {0};
        const char *queue = gather ? "many-gathered" : "many-single";
        struct fanq *client;

        options.gather = gather == 1;
        assert_int_equal(fanq_open(broker.url, &options, &client), 0);
        assert_int_equal(fanq_queue_create_sync(client, queue, NULL, TIMEOUT_MS, NULL), 0);
        send_many(client, queue, 20000, true, &producing);
        receive_many(client, queue, 20000);
        assert_int_equal(look(client, queue).visible + look(client, queue).in_flight, 0);
        assert_int_equal(look(client, queue).deleted, 20000);
        fanq_free(client);
    }
}

TEST(a_batch_is_sent_and_peeked_without_being_taken)
{
    struct fanq *client = connect_client();
    struct fanq_content contents[3] = {fanq_text("one"), fanq_text("two"), fanq_text("three")};
    struct fanq_peek_options how = FANQ_PEEK_OPTIONS_INIT;
    struct fanq_batch *held, *batch;
    size_t count, bytes;

    assert_int_equal(fanq_queue_create_sync(client, "peek", NULL, TIMEOUT_MS, NULL), 0);
    assert_int_equal(fanq_send_batch_sync(client, "peek", contents, 3, TIMEOUT_MS, &count, NULL), 0);
    assert_int_equal(count, 3);
    held = receive_text(client, "peek", "one");
    how.messages_max = 2;
    assert_int_equal(fanq_peek_sync(client, "peek", &how, TIMEOUT_MS, &batch, NULL), 0);
    assert_int_equal(fanq_batch_count(batch), 2);
    assert_int_equal(fanq_message_state(fanq_batch_message(batch, 0)), FANQ_MESSAGE_IN_FLIGHT);
    assert_true(fanq_message_due_ms(fanq_batch_message(batch, 0)) > 0);
    assert_memory_equal(fanq_message_body(fanq_batch_message(batch, 1), &bytes), "two", 3);
    how.after_valid = fanq_batch_peek_cursor(batch, &how.after_stream, &how.after_seq);
    assert_true(how.after_valid);
    fanq_batch_unref(batch);
    assert_int_equal(fanq_peek_sync(client, "peek", &how, TIMEOUT_MS, &batch, NULL), 0);
    assert_int_equal(fanq_batch_count(batch), 1);
    fanq_batch_unref(batch);
    assert_int_equal(fanq_nack_batch_sync(held, 0, TIMEOUT_MS, NULL), 0);
    fanq_batch_unref(held);
    assert_int_equal(look(client, "peek").visible, 3);
    fanq_free(client);
}

/* ---- holding ---- */

TEST(a_message_that_is_not_settled_in_time_comes_again)
{
    struct fanq *client = connect_client();
    struct fanq_queue_settings settings = FANQ_QUEUE_SETTINGS_INIT;
    struct fanq_batch *first, *again;
    struct fanq_error error;

    settings.visibility_ms = 50;
    assert_int_equal(fanq_queue_create_sync(client, "hold", &settings, TIMEOUT_MS, NULL), 0);
    send_text(client, "hold", "m");
    first = receive_text(client, "hold", "m");
    again = receive_text(client, "hold", "m"); /* waits for the visibility timeout */
    assert_int_equal(fanq_message_deliveries(fanq_batch_message(again, 0)), 2);
    assert_int_equal(fanq_extend_batch_sync(first, 60000, TIMEOUT_MS, &error), FANQ_ERR_RECEIPT_EXPIRED);
    assert_int_equal(fanq_extend_batch_sync(again, 60000, TIMEOUT_MS, &error), 0);
    assert_int_equal(fanq_nack_sync(fanq_batch_message(again, 0), 20, TIMEOUT_MS, &error), 0);
    assert_int_equal(look(client, "hold").in_flight, 0);
    fanq_batch_unref(first);
    fanq_batch_unref(again);
    again = receive_text(client, "hold", "m"); /* waits for the delay */
    assert_int_equal(fanq_message_deliveries(fanq_batch_message(again, 0)), 3);
    assert_int_equal(fanq_ack_batch_sync(again, TIMEOUT_MS, NULL), 0);
    fanq_batch_unref(again);
    fanq_free(client);
}

static void on_received(struct fanq *client, const struct fanq_error *error, struct fanq_batch *batch,
                        void *user)
{
    (void)client;
    assert_int_equal(error->code, 0);
    assert_int_equal(fanq_batch_count(batch), 1);
    assert_int_equal(fanq_ack_batch(batch, NULL, NULL), 0);
    ++*(int *)user;
}

TEST(a_long_poll_on_several_queues_wakes_when_one_gets_something)
{
    struct fanq *waiting = connect_client(), *sending = connect_client();
    static const char *const queues[] = {"wake-a", "wake-b", "wake-c"};
    struct fanq_receive_options how = FANQ_RECEIVE_OPTIONS_INIT;
    struct fanq_batch *batch;
    int received = 0;

    for (int i = 0; i < 3; i++)
        assert_int_equal(fanq_queue_create_sync(waiting, queues[i], NULL, TIMEOUT_MS, NULL), 0);
    how.wait_ms = 60000;
    assert_int_equal(fanq_receive_any(waiting, queues, 3, &how, on_received, &received), 0);
    while (look(sending, "wake-b").consumers == 0)
        assert_int_equal(fanq_run(waiting, 1), 0);
    assert_int_equal(received, 0);
    send_text(sending, "wake-b", "now");
    while (received == 0)
        assert_int_equal(fanq_run(waiting, 1), 0);
    assert_int_equal(fanq_flush_sync(waiting, TIMEOUT_MS, NULL), 0);
    assert_int_equal(look(sending, "wake-b").deleted, 1);
    how.wait_ms = 10; /* and one that nobody wakes is answered with nothing */
    assert_int_equal(fanq_receive_any_sync(waiting, queues, 3, &how, TIMEOUT_MS, &batch, NULL), 0);
    assert_int_equal(fanq_batch_count(batch), 0);
    fanq_batch_unref(batch);
    fanq_free(waiting);
    fanq_free(sending);
}

/* ---- pushes ---- */

struct consuming {
    int messages;
    int disorder;
    int ends;
    int end_code;
};

static void take_numbers(struct fanq_consumer *consumer, struct fanq_batch *batch, void *user)
{
    struct consuming *consuming = user;
    struct fanq_view view = {0};

    (void)consumer;
    for (; fanq_batch_next(batch, &view); consuming->messages++) {
        char body[16];
        int bytes = snprintf(body, sizeof(body), "%d", consuming->messages);
        if (view.body_bytes != (size_t)bytes || memcmp(view.body, body, (size_t)bytes) != 0)
            consuming->disorder++;
    }
    assert_int_equal(fanq_ack_batch(batch, NULL, NULL), 0);
}

static void on_end(struct fanq_consumer *consumer, const struct fanq_error *error, void *user)
{
    struct consuming *consuming = user;

    (void)consumer;
    consuming->ends++;
    consuming->end_code = error->code;
}

static void push_all(enum fanq_consume_mode mode, const char *queue)
{
    struct fanq *client = connect_client(), *sending = connect_client();
    struct fanq_consume_options how = FANQ_CONSUME_OPTIONS_INIT;
    struct consuming consuming = {0};
    struct producing producing = {0};
    struct fanq_consumer *consumer;

    assert_int_equal(fanq_queue_create_sync(client, queue, NULL, TIMEOUT_MS, NULL), 0);
    how.mode = mode;
    how.messages = 100;
    assert_int_equal(fanq_consume(client, queue, &how, take_numbers, on_end, &consuming, &consumer), 0);
    send_many(sending, queue, 10000, false, &producing);
    while (consuming.messages < 10000)
        assert_int_equal(fanq_run(client, 1), 0);
    assert_int_equal(consuming.disorder, 0);
    assert_int_equal(fanq_consumer_stop(consumer), 0);
    while (consuming.ends == 0)
        assert_int_equal(fanq_run(client, 1), 0);
    assert_int_equal(consuming.end_code, 0);
    assert_int_equal(fanq_close_sync(client, TIMEOUT_MS, NULL), 0);
    assert_int_equal(look(sending, queue).deleted, 10000);
    assert_int_equal(look(sending, queue).consumers, 0);
    fanq_free(client);
    fanq_free(sending);
}

TEST(a_push_in_mode_auto_brings_everything_in_order)
{
    push_all(FANQ_CONSUME_AUTO, "push-auto");
}

TEST(a_push_in_mode_ack_brings_everything_in_order)
{
    push_all(FANQ_CONSUME_ACK, "push-ack");
}

TEST(a_push_on_a_topic_gets_what_is_published_from_then_on)
{
    struct fanq *client = connect_client();
    struct fanq_consume_options how = FANQ_CONSUME_OPTIONS_INIT;
    struct consuming consuming = {0};
    struct fanq_content content = fanq_text("0");

    assert_int_equal(fanq_topic_create_sync(client, "push-topic", TIMEOUT_MS, NULL), 0);
    assert_int_equal(fanq_publish_sync(client, "push-topic", &content, TIMEOUT_MS, NULL), 0);
    how.mode = FANQ_CONSUME_AUTO;
    how.topic = true;
    assert_int_equal(fanq_consume(client, "push-topic", &how, take_numbers, on_end, &consuming, NULL), 0);
    assert_int_equal(fanq_publish_sync(client, "push-topic", &content, TIMEOUT_MS, NULL), 0);
    while (consuming.messages < 1)
        assert_int_equal(fanq_run(client, 1), 0);
    assert_int_equal(fanq_topic_delete_sync(client, "push-topic", TIMEOUT_MS, NULL), 0);
    while (consuming.ends == 0)
        assert_int_equal(fanq_run(client, 1), 0);
    assert_int_equal(consuming.messages, 1);
    assert_int_equal(consuming.end_code, FANQ_ERR_TOPIC_NOT_FOUND);
    fanq_free(client);
}

static void ignore(struct fanq_consumer *consumer, struct fanq_batch *batch, void *user)
{
    (void)consumer;
    (void)batch;
    (void)user;
}

TEST(what_a_push_did_not_settle_goes_back_when_its_client_ends)
{
    struct fanq *client = connect_client(), *other = connect_client();
    struct fanq_batch *batch;

    assert_int_equal(fanq_queue_create_sync(other, "push-lost", NULL, TIMEOUT_MS, NULL), 0);
    send_text(other, "push-lost", "x");
    assert_int_equal(fanq_consume(client, "push-lost", NULL, ignore, NULL, NULL, NULL), 0);
    while (look(other, "push-lost").in_flight == 0)
        assert_int_equal(fanq_run(client, 1), 0);
    fanq_free(client);
    batch = receive_text(other, "push-lost", "x");
    assert_int_equal(fanq_ack_batch_sync(batch, TIMEOUT_MS, NULL), 0);
    fanq_batch_unref(batch);
    fanq_free(other);
}

/* ---- lost connections ---- */

static void on_any_end(struct fanq *client, const struct fanq_sent *sent, void *user)
{
    (void)client;
    ((int *)user)[0]++;
    ((int *)user)[1] = sent->error.code;
}

TEST(a_client_finds_a_broker_that_was_started_again)
{
    struct fanq *client = connect_client();
    struct consuming consuming = {0};
    struct fanq_content content = fanq_text("0");
    struct fanq_batch *batch;
    struct fanq_error error;
    uint64_t epoch = fanq_broker_info(client)->epoch;
    int sent[2] = {0};

    assert_int_equal(fanq_queue_create_sync(client, "again", NULL, TIMEOUT_MS, NULL), 0);
    send_text(client, "again", "held");
    batch = receive_text(client, "again", "held");
    assert_int_equal(fanq_consume(client, "again", NULL, take_numbers, on_end, &consuming, NULL), 0);
    assert_int_equal(fanq_ping_sync(client, TIMEOUT_MS, NULL), 0);
    assert_int_equal(broker_process_stop(&broker), 0);
    while (fanq_state(client) == FANQ_CLIENT_READY)
        assert_int_equal(fanq_run(client, 1), 0);
    assert_int_equal(fanq_ping_sync(client, 30, &error), FANQ_ERR_TIMEOUT);
    assert_non_null(strstr(error.text, "refused"));
    assert_int_equal(fanq_send(client, "again", &content, on_any_end, sent),
                     0); /* waits for the next connection */

    broker_process_restart(&broker);
    while (sent[0] == 0 || consuming.messages == 0) /* memory only, so what comes is new: "0" */
        assert_int_equal(fanq_run(client, 1), 0);
    assert_int_equal(sent[1], 0);
    assert_int_equal(consuming.disorder, 0);
    assert_int_equal(consuming.ends, 0);
    assert_true(fanq_broker_info(client)->epoch > epoch);
    assert_int_equal(fanq_ack_batch(batch, NULL, NULL), FANQ_ERR_RECEIPT_EXPIRED);
    fanq_batch_unref(batch);
    fanq_free(client);
}

/* A broker that is killed with requests under way leaves each of them with one of the honest outcomes. */
TEST(a_killed_broker_leaves_no_request_without_an_outcome)
{
    struct fanq_options options = FANQ_OPTIONS_INIT;
    struct fanq_content content = fanq_text("x");
    struct fanq_error error;
    struct fanq *client;
    int outcome[2] = {0};
    int begun = 0;

    options.reconnect = false;
    options.gather = false;
    assert_int_equal(fanq_open(broker.url, &options, &client), 0);
    assert_int_equal(fanq_queue_create_sync(client, "killed", NULL, TIMEOUT_MS, NULL), 0);
    assert_int_equal(kill(broker.pid, SIGSTOP), 0); /* what is sent now stays unanswered */
    for (; begun < 100; begun++)
        assert_int_equal(fanq_send(client, "killed", &content, on_any_end, outcome), 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(fanq_process(client), 0);
    assert_int_equal(outcome[0], 0);
    broker_process_kill(&broker);
    while (outcome[0] < begun)
        (void)fanq_run(client, 1);
    assert_int_equal(outcome[1], FANQ_ERR_UNKNOWN);
    assert_int_equal(fanq_send_sync(client, "killed", &content, 100, &error), FANQ_ERR_NOT_CONNECTED);
    fanq_free(client);
    broker_process_restart(&broker);
}

TEST(statistics_name_what_they_count)
{
    struct fanq *client = connect_client();
    struct fanq_stat_list *list;
    bool found = false;

    assert_int_equal(fanq_stats_sync(client, TIMEOUT_MS, &list, NULL), 0);
    for (size_t i = 0; i < list->count; i++)
        found |= strcmp(list->entries[i].name, "connections") == 0 && list->entries[i].value > 0;
    assert_true(found);
    fanq_stat_list_free(client, list);
    fanq_free(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_topic_fans_out_to_two_queues),
        cmocka_unit_test(queue_settings_are_kept_and_compared),
        cmocka_unit_test(many_messages_go_through_gathered_and_one_by_one),
        cmocka_unit_test(a_batch_is_sent_and_peeked_without_being_taken),
        cmocka_unit_test(a_message_that_is_not_settled_in_time_comes_again),
        cmocka_unit_test(a_long_poll_on_several_queues_wakes_when_one_gets_something),
        cmocka_unit_test(a_push_in_mode_auto_brings_everything_in_order),
        cmocka_unit_test(a_push_in_mode_ack_brings_everything_in_order),
        cmocka_unit_test(a_push_on_a_topic_gets_what_is_published_from_then_on),
        cmocka_unit_test(what_a_push_did_not_settle_goes_back_when_its_client_ends),
        cmocka_unit_test(a_client_finds_a_broker_that_was_started_again),
        cmocka_unit_test(a_killed_broker_leaves_no_request_without_an_outcome),
        cmocka_unit_test(statistics_name_what_they_count),
    };
    return cmocka_run_group_tests(tests, start_broker, stop_broker);
}
