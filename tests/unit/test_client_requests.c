/* Requests of the client and what becomes of them, against a broker that follows a script. */
#include "tests/lib/unit.h"

#include <string.h>

#include "tests/lib/fake_broker.h"

/* What callbacks have told. */
struct told {
    int count;
    int codes[64];
    uint64_t seqs[64];
    bool has_id[64];
    char text[160];
};

static void on_done(struct fanq *client, const struct fanq_error *error, void *user)
{
    struct told *told = user;

    (void)client;
    strcpy(told->text, error->text);
    told->codes[told->count++] = error->code;
}

static void on_sent(struct fanq *client, const struct fanq_sent *sent, void *user)
{
    struct told *told = user;

    told->has_id[told->count] = sent->has_id;
    told->seqs[told->count] = sent->seq;
    on_done(client, &sent->error, user);
}

static void on_queue(struct fanq *client, const struct fanq_error *error, const struct fanq_queue_info *info,
                     void *user)
{
    struct told *told = user;

    told->seqs[told->count] = info != NULL ? info->visible : 0;
    on_done(client, error, user);
}

static void on_list(struct fanq *client, const struct fanq_error *error, const struct fanq_name_list *list,
                    void *user)
{
    struct told *told = user;

    if (list != NULL) {
        assert_int_equal(list->count, 2);
        assert_string_equal(list->names[0], "a");
        assert_string_equal(list->names[1], "bc");
        assert_true(list->more);
    }
    told->seqs[told->count] = 0;
    on_done(client, error, user);
}

static struct fanq *open_with(struct fake_broker *broker, const struct fanq_options *options)
{
    struct fanq *client;

    fake_broker_open(broker);
    assert_int_equal(fanq_open(broker->url, options, &client), 0);
    return client;
}

static struct fanq *open_greeted(struct fake_broker *broker, const struct fanq_options *options)
{
    struct fanq *client = open_with(broker, options);

    fake_broker_greet(broker, client);
    return client;
}

static void finish(struct fake_broker *broker, struct fanq *client)
{
    fanq_free(client);
    fake_broker_close(broker);
}

static void send_letter(struct fanq *client, const char *queue, const char *letter, struct told *told)
{
    struct fanq_content content = fanq_text(letter);

    assert_int_equal(fanq_send(client, queue, &content, on_sent, told), 0);
}

static struct fanq_queue_reply queue_reply(void)
{
    return (struct fanq_queue_reply){.name = FANQ_BYTES("q"), .visible = 42};
}

/* ---- answers ---- */

TEST(answers_find_their_requests_in_any_order_and_byte_by_byte)
{
    struct fake_broker broker;
    struct fanq *client = open_with(&broker, NULL);
    struct told created = {0}, got = {0}, listed = {0}, refused = {0};
    static const struct fanq_bytes names[] = {{(const uint8_t *)"a", 1}, {(const uint8_t *)"bc", 2}};

    broker.piece_bytes = 1;
    fake_broker_greet(&broker, client);
    assert_int_equal(fanq_broker_info(client)->epoch, 1);
    assert_string_equal(fanq_broker_info(client)->server, "fake");
    assert_int_equal(fanq_queue_create(client, "q", NULL, on_done, &created), 0);
    assert_int_equal(fanq_queue_get(client, "q", on_queue, &got), 0);
    assert_int_equal(fanq_queue_list(client, NULL, on_list, &listed), 0);
    assert_int_equal(fanq_topic_delete(client, "t", on_done, &refused), 0);
    for (uint64_t id = 1; id <= 4; id++)
        assert_int_equal(fake_broker_take(&broker, client).id, id);

    fake_broker_refuse(&broker, client, 4, FANQ_ERR_TOPIC_NOT_FOUND);
    drive_until(client, &refused.count, 1);
    assert_int_equal(refused.codes[0], FANQ_ERR_TOPIC_NOT_FOUND);
    assert_string_equal(refused.text, "as scripted");
    fake_broker_reply(&broker, client,
                      &(struct fanq_reply){.op = FANQ_REPLY_NAMES, .id = 3, .names = {names, 2, true}});
    drive_until(client, &listed.count, 1);
    fake_broker_reply(&broker, client,
                      &(struct fanq_reply){.op = FANQ_REPLY_QUEUE, .id = 2, .queue = queue_reply()});
    drive_until(client, &got.count, 1);
    assert_int_equal(got.seqs[0], 42);
    assert_int_equal(created.count, 0);
    assert_int_equal(fanq_pending_requests(client), 1);
    fake_broker_ok(&broker, client, 1);
    drive_until(client, &created.count, 1);
    assert_int_equal(created.codes[0] | got.codes[0] | listed.codes[0], 0);
    assert_int_equal(fanq_pending_requests(client), 0);
    finish(&broker, client);
}

TEST(arguments_out_of_bounds_begin_nothing)
{
    struct fake_broker broker;
    struct fanq *client = open_greeted(&broker, NULL);
    struct fanq_queue_settings settings = FANQ_QUEUE_SETTINGS_INIT;
    struct fanq_list_options list = FANQ_LIST_OPTIONS_INIT;
    struct fanq_content content = fanq_text("x");
    char name[402] = {0};

    memset(name, 'n', 401);
    settings.visibility_ms = -2;
    list.limit = 1001;
    assert_int_equal(fanq_queue_create(client, "", NULL, NULL, NULL), FANQ_ERR_NAME_INVALID);
    assert_int_equal(fanq_queue_create(client, name, NULL, NULL, NULL), FANQ_ERR_NAME_INVALID);
    assert_int_equal(fanq_queue_create(client, "q", &settings, NULL, NULL), FANQ_ERR_INVALID);
    settings.visibility_ms = FANQ_OWN;
    settings.early_delivery = 2;
    assert_int_equal(fanq_queue_create(client, "q", &settings, NULL, NULL), FANQ_ERR_INVALID);
    assert_int_equal(fanq_queue_get(client, "q", NULL, NULL), FANQ_ERR_INVALID);
    assert_int_equal(fanq_queue_list(client, &list, on_list, NULL), FANQ_ERR_INVALID);
    assert_int_equal(fanq_subscribe(client, "t", NULL, NULL, NULL), FANQ_ERR_NAME_INVALID);
    content.subject = name;
    assert_int_equal(fanq_send(client, "q", &content, NULL, NULL), FANQ_ERR_INVALID);
    name[400] = '\0'; /* the longest subject */
    assert_int_equal(fanq_send(client, "q", &content, NULL, NULL), 0);
    content.subject = NULL;
    content.attribute_count = 65;
    assert_int_equal(fanq_send(client, "q", &content, NULL, NULL), FANQ_ERR_INVALID);
    assert_int_equal(fanq_send_batch(client, "q", &content, 0, NULL, NULL), FANQ_ERR_INVALID);
    content = (struct fanq_content){.body = broker.input, .body_bytes = FANQ_MESSAGE_BYTES_MAX_DEFAULT};
    assert_int_equal(fanq_send(client, "q", &content, NULL, NULL), FANQ_ERR_MESSAGE_TOO_BIG);
    assert_int_equal(fanq_pending_requests(client), 1); /* the one that fits */
    finish(&broker, client);
}

/* ---- producing ---- */

TEST(single_messages_of_a_round_share_a_frame_per_target)
{
    struct fake_broker broker;
    struct fanq *client = open_greeted(&broker, NULL);
    struct told told = {0};

    send_letter(client, "q", "a", &told);
    send_letter(client, "other", "x", &told);
    send_letter(client, "q", "b", &told);
    send_letter(client, "q", "c", &told);
    assert_int_equal(fanq_pending_requests(client), 4);
    struct fanq_request request = fake_broker_take(&broker, client);
    assert_int_equal(request.op, FANQ_OP_SEND);
    assert_int_equal(request.publish.records.count, 3);
    assert_int_equal(request.publish.flags, 0);
    assert_int_equal(request.publish.records.length, 3 * (FANQ_RECORD_PLAIN_BYTES + 1));
    assert_int_equal(request.publish.records.data[FANQ_RECORD_PLAIN_BYTES], 'a');
    request = fake_broker_take(&broker, client);
    assert_int_equal(request.publish.records.count, 1);
    assert_int_equal(told.count, 0);
    fake_broker_reply(&broker, client,
                      &(struct fanq_reply){.op = FANQ_REPLY_OK_RANGE, .id = 1, .ok_range = {2}});
    drive_until(client, &told.count, 4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(told.codes[i], 0);
    assert_int_equal(fanq_pending_requests(client), 0);
    assert_int_equal(fanq_pending_bytes(client), 0);
    finish(&broker, client);
}

TEST(without_gathering_every_message_has_its_frame_and_a_range_answers_many)
{
    struct fanq_options options = FANQ_OPTIONS_INIT;
    struct fake_broker broker;
    struct told told = {0};

    options.gather = false;
    struct fanq *client = open_greeted(&broker, &options);
    for (int i = 0; i < 10; i++)
        send_letter(client, "q", "x", &told);
    for (uint64_t id = 1; id <= 10; id++) {
        struct fanq_request request = fake_broker_take(&broker, client);
        assert_int_equal(request.id, id);
        assert_int_equal(request.publish.records.count, 1);
    }
    fake_broker_reply(&broker, client,
                      &(struct fanq_reply){.op = FANQ_REPLY_OK_RANGE, .id = 2, .ok_range = {9}});
    drive_until(client, &told.count, 9);
    fake_broker_refuse(&broker, client, 1, FANQ_ERR_NO_ROOM);
    drive_until(client, &told.count, 10);
    assert_int_equal(told.codes[9], FANQ_ERR_NO_ROOM);
    finish(&broker, client);
}

TEST(ids_and_refusals_reach_the_right_messages)
{
    struct fake_broker broker;
    struct fanq *client = open_greeted(&broker, NULL);
    struct told told = {0};
    struct fanq_content content = fanq_text("x");
    static const struct fanq_refusal refusals[] = {{1, FANQ_ERR_MESSAGE_TOO_BIG}, {3, FANQ_ERR_BAD_RECORD}};

    for (int i = 0; i < 5; i++) {
        content.want_id = i != 0;
        assert_int_equal(fanq_publish(client, "t", &content, on_sent, &told), 0);
    }
    struct fanq_request request = fake_broker_take(&broker, client);
    assert_int_equal(request.op, FANQ_OP_PUBLISH);
    assert_int_equal(request.publish.flags, FANQ_PUBLISH_WANT_IDS);
    fake_broker_reply(&broker, client,
                      &(struct fanq_reply){.op = FANQ_REPLY_PUBLISHED,
                                           .id = 1,
                                           .published = {.stream = 3,
                                                         .epoch = 1,
                                                         .first_seq = 100,
                                                         .count = 3,
                                                         .subscription_count = 2,
                                                         .refusals = refusals,
                                                         .refusal_count = 2}});
    drive_until(client, &told.count, 5);
    static const int codes[] = {0, FANQ_ERR_MESSAGE_TOO_BIG, 0, FANQ_ERR_BAD_RECORD, 0};
    static const uint64_t seqs[] = {100, 0, 101, 0, 102};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(told.codes[i], codes[i]);
        assert_int_equal(told.seqs[i], seqs[i]);
        assert_int_equal(told.has_id[i], i == 2 || i == 4);
    }
    finish(&broker, client);
}

static void on_batch_sent(struct fanq *client, const struct fanq_batch_sent *sent, void *user)
{
    if (sent->error.code == 0) {
        assert_int_equal(sent->count, 2);
        assert_int_equal(sent->refused_count, 1);
        assert_int_equal(sent->refused[0].index, 1);
        assert_int_equal(sent->first_seq, 9);
    }
    on_done(client, &sent->error, user);
}

TEST(a_batch_is_one_frame_behind_what_was_gathered_before)
{
    struct fake_broker broker;
    struct fanq *client = open_greeted(&broker, NULL);
    struct fanq_message_attribute attribute = {.name = "kind", .value = "v"};
    struct fanq_content contents[3] = {fanq_text("one"), fanq_text("two"), fanq_text("three")};
    static const struct fanq_refusal refusal = {1, FANQ_ERR_MESSAGE_TOO_BIG};
    struct told told = {0};

    contents[0].want_id = true;
    contents[1].attributes = &attribute;
    contents[1].attribute_count = 1;
    contents[1].subject = "greeting";
    send_letter(client, "q", "a", &told);
    assert_int_equal(fanq_send_batch(client, "q", contents, 3, on_batch_sent, &told), 0);
    assert_int_equal(fake_broker_take(&broker, client).publish.records.count, 1);
    struct fanq_request request = fake_broker_take(&broker, client);
    struct fanq_record record;
    const uint8_t *second = request.publish.records.data + fanq_record_length(request.publish.records.data);
    assert_int_equal(request.publish.records.count, 3);
    assert_int_equal(fanq_record_parse(second, fanq_record_length(second), &record), 0);
    assert_memory_equal(record.subject.data, "greeting", 8);
    assert_memory_equal(record.body.data, "two", 3);
    assert_true(record.attributes.length > 0);
    fake_broker_reply(
        &broker, client,
        &(struct fanq_reply){
            .op = FANQ_REPLY_PUBLISHED,
            .id = 2,
            .published = {.first_seq = 9, .count = 2, .refusals = &refusal, .refusal_count = 1}});
    drive_until(client, &told.count, 1);
    fake_broker_ok(&broker, client, 1);
    drive_until(client, &told.count, 2);
    finish(&broker, client);
}

TEST(pending_bytes_and_requests_are_bounded)
{
    struct fanq_options options = FANQ_OPTIONS_INIT;
    struct fanq_content content;
    struct fake_broker broker;
    static char body[4000];

    options.pending_bytes_max = 10000;
    options.pending_requests_max = 5;
    struct fanq *client = open_with(&broker, &options);
    content = (struct fanq_content){.body = body, .body_bytes = 4000};
    assert_int_equal(fanq_send(client, "q", &content, NULL, NULL), 0);
    assert_int_equal(fanq_send(client, "q", &content, NULL, NULL), 0);
    assert_int_equal(fanq_send(client, "q", &content, NULL, NULL), FANQ_ERR_LIMIT);
    content.body_bytes = 1;
    for (int i = 0; i < 3; i++)
        assert_int_equal(fanq_send(client, "q", &content, NULL, NULL), 0);
    assert_int_equal(fanq_send(client, "q", &content, NULL, NULL), FANQ_ERR_LIMIT);
    assert_int_equal(fanq_ping(client, NULL, NULL), FANQ_ERR_LIMIT);
    fake_broker_greet(&broker, client);
    assert_int_equal(fake_broker_take(&broker, client).publish.records.count, 5);
    fake_broker_ok(&broker, client, 1);
    while (fanq_pending_requests(client) > 0)
        drive_some(client);
    assert_int_equal(fanq_send(client, "q", &content, NULL, NULL), 0);
    finish(&broker, client);
}

/* ---- the end of a connection ---- */

TEST(a_lost_connection_makes_sent_requests_unknown_and_keeps_unsent_ones)
{
    struct fanq_options options = FANQ_OPTIONS_INIT;
    struct fake_broker broker;
    struct told sent = {0}, unsent = {0}, got = {0};

    options.reconnect_ms_max = options.reconnect_ms_min = 1;
    struct fanq *client = open_greeted(&broker, &options);
    send_letter(client, "q", "a", &sent);
    (void)fake_broker_take(&broker, client);
    assert_int_equal(fanq_queue_get(client, "q", on_queue, &got), 0);
    assert_int_equal(fake_broker_take(&broker, client).op, FANQ_OP_QUEUE_GET);
    fake_broker_hang_up(&broker);
    drive_until(client, &sent.count, 1);
    assert_int_equal(sent.codes[0], FANQ_ERR_UNKNOWN);
    assert_int_equal(fanq_queue_purge(client, "q", on_done, &unsent), 0);

    fake_broker_greet(&broker, client);
    struct fanq_request request = fake_broker_take(&broker, client);
    assert_int_equal(request.op, FANQ_OP_QUEUE_GET); /* asked again, under its old number */
    assert_int_equal(request.id, 2);
    request = fake_broker_take(&broker, client);
    assert_int_equal(request.op, FANQ_OP_PURGE);
    assert_int_equal(request.id, 3);
    fake_broker_reply(&broker, client,
                      &(struct fanq_reply){.op = FANQ_REPLY_QUEUE, .id = 2, .queue = queue_reply()});
    fake_broker_ok(&broker, client, 3);
    drive_until(client, &unsent.count, 1);
    assert_int_equal(unsent.codes[0], 0);
    assert_int_equal(got.codes[0], 0);
    assert_int_equal(got.seqs[0], 42);
    assert_int_equal(sent.count, 1);
    finish(&broker, client);
}

/* A frame of which the system took only a part cannot have been applied: it is sent again, from its start. */
TEST(a_torn_frame_is_sent_again_whole)
{
    enum { BODY_BYTES = 1000 * 1000, MESSAGES = 6 };
    static uint8_t body[BODY_BYTES];
    struct fanq_options options = FANQ_OPTIONS_INIT;
    struct fanq_content content = {.body = body, .body_bytes = BODY_BYTES};
    struct fake_broker broker;
    struct told told = {0};
    int unknown = 0;

    options.reconnect_ms_max = options.reconnect_ms_min = 1;
    struct fanq *client = open_greeted(&broker, &options);
    for (int i = 0; i < MESSAGES; i++) {
        memset(body, 'a' + i, sizeof(body));
        assert_int_equal(fanq_send(client, "q", &content, on_sent, &told), 0);
    }
    drive_some(client);
    assert_true(fanq_pending_bytes(client) > 0); /* the socket took a part of it */
    fake_broker_hang_up(&broker);
    fake_broker_greet(&broker, client);
    for (unknown = 0; unknown < told.count; unknown++)
        assert_int_equal(told.codes[unknown], FANQ_ERR_UNKNOWN);
    assert_true(unknown < MESSAGES);
    for (int i = unknown; i < MESSAGES; i++) {
        struct fanq_request request = fake_broker_take(&broker, client);
        assert_int_equal(request.id, i + 1);
        assert_int_equal(request.publish.records.length, FANQ_RECORD_PLAIN_BYTES + BODY_BYTES);
        assert_int_equal(request.publish.records.data[FANQ_RECORD_PLAIN_BYTES + BODY_BYTES - 1], 'a' + i);
        fake_broker_ok(&broker, client, request.id);
    }
    drive_until(client, &told.count, MESSAGES);
    finish(&broker, client);
}

TEST(without_reconnect_what_was_not_sent_ends_as_not_connected)
{
    struct fanq_options options = FANQ_OPTIONS_INIT;
    struct fake_broker broker;
    struct told told = {0};
    struct fanq_error error;
    struct fanq *client;

    options.reconnect = false;
    fake_broker_open(&broker);
    assert_int_equal(fanq_open("unix:/nonexistent/fanq", &options, &client), 0);
    assert_int_equal(fanq_ping(client, on_done, &told), 0);
    drive_until(client, &told.count, 1);
    assert_int_equal(told.codes[0], FANQ_ERR_NOT_CONNECTED);
    assert_non_null(strstr(told.text, "unix:/nonexistent/fanq"));
    assert_int_equal(fanq_state(client), FANQ_CLIENT_CLOSED);
    assert_int_equal(fanq_ping(client, on_done, &told), FANQ_ERR_NOT_CONNECTED);
    assert_int_equal(fanq_ping_sync(client, 100, &error), FANQ_ERR_NOT_CONNECTED);
    assert_int_equal(fanq_wait_ready(client, 100, &error), FANQ_ERR_NOT_CONNECTED);
    assert_non_null(strstr(error.text, "No such file"));
    finish(&broker, client);
}

TEST(a_request_without_an_answer_times_out_once_and_a_late_answer_is_ignored)
{
    struct fanq_options options = FANQ_OPTIONS_INIT;
    struct fake_broker broker;
    struct told told = {0}, later = {0};

    options.request_timeout_ms = 20;
    struct fanq *client = open_greeted(&broker, &options);
    assert_int_equal(fanq_ping(client, on_done, &told), 0);
    (void)fake_broker_take(&broker, client);
    drive_until(client, &told.count, 1);
    assert_int_equal(told.codes[0], FANQ_ERR_TIMEOUT);
    fake_broker_ok(&broker, client, 1);
    assert_int_equal(fanq_ping(client, on_done, &later), 0);
    fake_broker_ok(&broker, client, fake_broker_take(&broker, client).id);
    drive_until(client, &later.count, 1);
    assert_int_equal(later.codes[0], 0);
    assert_int_equal(told.count, 1);
    finish(&broker, client);
}

/* Hours without a broker must not fill the room for pending bytes with what nobody waits for any more. */
TEST(requests_that_time_out_unsent_give_their_room_back)
{
    struct fanq_options options = FANQ_OPTIONS_INIT;
    struct told told = {0};
    struct fanq *client;
    static char body[4000];
    struct fanq_content content = {.body = body, .body_bytes = sizeof(body)};

    options.pending_bytes_max = 10000;
    options.request_timeout_ms = 5;
    assert_int_equal(fanq_open("unix:/nonexistent/fanq", &options, &client), 0);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(fanq_send(client, "q", &content, on_sent, &told), 0);
        drive_until(client, &told.count, i + 1);
        assert_int_equal(told.codes[i], FANQ_ERR_TIMEOUT);
        assert_int_equal(fanq_pending_bytes(client), 0);
    }
    fanq_free(client);
}

/* Deadlines are kept in order whatever the order in which requests with different timeouts are made. */
TEST(timeouts_of_all_lengths_are_kept)
{
    struct fanq_options options = FANQ_OPTIONS_INIT;
    struct fake_broker broker;
    struct told told = {0};
    struct fanq_error error;

    options.request_timeout_ms = 60;
    struct fanq *client = open_greeted(&broker, &options);
    assert_int_equal(fanq_ping(client, on_done, &told), 0);
    assert_int_equal(fanq_ping_sync(client, 30, &error), FANQ_ERR_TIMEOUT);
    assert_int_equal(told.count, 0);
    assert_int_equal(fanq_ping_sync(client, 10, &error), FANQ_ERR_TIMEOUT);
    assert_int_equal(fanq_ping_sync(client, 100, &error), FANQ_ERR_TIMEOUT);
    assert_int_equal(told.count, 1);
    finish(&broker, client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_find_their_requests_in_any_order_and_byte_by_byte),
        cmocka_unit_test(arguments_out_of_bounds_begin_nothing),
        cmocka_unit_test(single_messages_of_a_round_share_a_frame_per_target),
        cmocka_unit_test(without_gathering_every_message_has_its_frame_and_a_range_answers_many),
        cmocka_unit_test(ids_and_refusals_reach_the_right_messages),
        cmocka_unit_test(a_batch_is_one_frame_behind_what_was_gathered_before),
        cmocka_unit_test(pending_bytes_and_requests_are_bounded),
        cmocka_unit_test(a_lost_connection_makes_sent_requests_unknown_and_keeps_unsent_ones),
        cmocka_unit_test(a_torn_frame_is_sent_again_whole),
        cmocka_unit_test(without_reconnect_what_was_not_sent_ends_as_not_connected),
        cmocka_unit_test(a_request_without_an_answer_times_out_once_and_a_late_answer_is_ignored),
        cmocka_unit_test(requests_that_time_out_unsent_give_their_room_back),
        cmocka_unit_test(timeouts_of_all_lengths_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
