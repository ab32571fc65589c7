/* The client's life: greeting, garbage from the broker, the end inside callbacks, closing, other threads, no
 * memory. */
#include "tests/lib/unit.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/fake_broker.h"

struct told {
    int count;
    int code;
    int states;
    enum fanq_client_state state;
    int losses;
    struct fanq_error cause; /* of the last loss */
};

static void on_done(struct fanq *client, const struct fanq_error *error, void *user)
{
    struct told *told = user;

    (void)client;
    told->code = error->code;
    told->count++;
}

static void on_state(struct fanq *client, enum fanq_client_state state, const struct fanq_error *cause,
                     void *user)
{
    struct told *told = user;

    (void)client;
    told->state = state;
    told->states++;
    if (state == FANQ_CLIENT_LOST) {
        told->cause = *cause;
        told->losses++;
    }
}

static struct fanq *open_client(struct fake_broker *broker, struct told *told)
{
    struct fanq_options options = FANQ_OPTIONS_INIT;
    struct fanq *client;

    options.reconnect_ms_max = options.reconnect_ms_min = 1;
    fake_broker_open(broker);
    assert_int_equal(fanq_open(broker->url, &options, &client), 0);
    if (told != NULL)
        fanq_on_state(client, on_state, told);
    return client;
}

static void finish(struct fake_broker *broker, struct fanq *client)
{
    fanq_free(client);
    fake_broker_close(broker);
}

/* ---- URLs ---- */

TEST(urls_are_taken_or_refused_as_a_whole)
{
    static const char *const good[] = {
        "fanq://localhost",          "fanq://127.0.0.1:9320", "fanq://[::1]:1",
        "fanq://broker.example/",    "unix:/run/fanq.sock",   "unix:///run/fanq.sock",
        "fanq://a,fanq://b:2,unix:c"};
    static const char *const bad[] = {
        "http://x",  "fanq://", "fanq://:1", "fanq://a:0", "fanq://a:65536", "fanq://a:1x", "fanq://[::1",
        "fanq://a,", "unix:",   ",",         "127.0.0.1",  "fanq://u@host",  "fanq://a/b",  "fanq://[::1]1"};
    struct fanq *client;

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(fanq_open(good[i], NULL, &client), 0);
        fanq_free(client);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(fanq_open(bad[i], NULL, &client), FANQ_ERR_INVALID);
    setenv("FANQ_URL", "unix:/from/environment", 1);
    assert_int_equal(fanq_open(NULL, NULL, &client), 0);
    assert_string_equal(fanq_current_url(client), "unix:/from/environment");
    fanq_free(client);
    unsetenv("FANQ_URL");
    assert_int_equal(fanq_open(NULL, NULL, &client), 0);
    assert_string_equal(fanq_current_url(client), "fanq://127.0.0.1:9320");
    fanq_free(client);
    fanq_free(NULL);
}

TEST(options_of_an_older_program_are_completed)
{
    struct fanq_options options = FANQ_OPTIONS_INIT;
    struct fanq *client;

    options.size = offsetof(struct fanq_options, gather);
    options.gather_count_max = 0; /* not looked at */
    assert_int_equal(fanq_open("unix:x", &options, &client), 0);
    fanq_free(client);
    options.size = sizeof(options);
    assert_int_equal(fanq_open("unix:x", &options, &client), FANQ_ERR_INVALID);
    options.size = 0;
    assert_int_equal(fanq_open("unix:x", &options, &client), FANQ_ERR_INVALID);
}

TEST(the_next_url_is_tried_when_one_fails)
{
    struct fanq_options options = FANQ_OPTIONS_INIT;
    struct fake_broker broker;
    struct fanq *client;
    char urls[256];

    fake_broker_open(&broker);
    options.reconnect = false;
    strcpy(urls, "unix:/nonexistent/a,fanq://127.0.0.1:1,");
    strcat(urls, broker.url);
    assert_int_equal(fanq_open(urls, &options, &client), 0);
    fake_broker_greet(&broker, client);
    assert_string_equal(fanq_current_url(client), broker.url);
    finish(&broker, client);
}

/* ---- greeting and garbage ---- */

TEST(states_are_told_with_their_cause)
{
    struct fake_broker broker;
    struct told told = {0};
    struct fanq *client = open_client(&broker, &told);

    assert_int_equal(fanq_state(client), FANQ_CLIENT_CONNECTING);
    fake_broker_greet(&broker, client);
    assert_int_equal(told.states, 2);
    assert_int_equal(told.state, FANQ_CLIENT_READY);
    fake_broker_reply(
        &broker, client,
        &(struct fanq_reply){.op = FANQ_REPLY_ERROR, .error = {FANQ_ERR_DRAINING, FANQ_BYTES("bye")}});
    drive_until(client, &told.losses, 1);
    assert_int_equal(told.cause.code, FANQ_ERR_DRAINING);
    assert_non_null(strstr(told.cause.text, "DRAINING: bye"));
    fake_broker_greet(&broker, client);
    assert_int_equal(told.states, 5);
    fake_broker_hang_up(&broker);
    drive_until(client, &told.losses, 2);
    assert_non_null(strstr(told.cause.text, "closed the connection"));
    finish(&broker, client);
}

TEST(a_greeting_that_does_not_fit_is_not_accepted)
{
    struct fake_broker broker;
    struct told told = {0};
    struct fanq *client = open_client(&broker, &told);
    struct fanq_hello_reply good = {.version = FANQ_PROTOCOL_VERSION, .frame_bytes_max = 1 << 20};
    struct fanq_reply bad[4] = {
        {.op = FANQ_REPLY_HELLO, .hello = good},
        {.op = FANQ_REPLY_HELLO, .hello = good, .id = 1},
        {.op = FANQ_REPLY_HELLO, .hello = good},
        {.op = FANQ_REPLY_OK},
    };
    static const int codes[] = {FANQ_ERR_VERSION, FANQ_ERR_PROTOCOL, FANQ_ERR_PROTOCOL, FANQ_ERR_PROTOCOL};

    bad[0].hello.version = 2;
    bad[2].hello.frame_bytes_max = 10;
    for (int i = 0; i < 4; i++) {
        fake_broker_accept(&broker, client);
        (void)fake_broker_take(&broker, client);
        fake_broker_reply(&broker, client, &bad[i]);
        drive_until(client, &told.losses, i + 1);
        assert_int_equal(told.cause.code, codes[i]);
        fake_broker_hang_up(&broker);
    }
    finish(&broker, client);
}

/* Each of these ends the connection, and the request under way is UNKNOWN, once. */
TEST(garbage_ends_the_connection_and_nothing_else)
{
    static const struct {
        const char *bytes;
        size_t length;
        int code;
    } garbage[] = {
        {"\xff\xff\xff\xff", 4, FANQ_ERR_FRAME_TOO_BIG},
        {"\0\0\0\1\x92", 5, FANQ_ERR_PROTOCOL},
        {"\0\0\0\3\x92\x02\x01", 7, FANQ_ERR_PROTOCOL},                    /* a request */
        {"\0\0\0\3\x92\x41\x7f", 7, FANQ_ERR_PROTOCOL},                    /* OK for an id never used */
        {"\0\0\0\4\x93\x43\x01\x7f", 8, FANQ_ERR_PROTOCOL},                /* OK for a range beyond */
        {"\0\0\0\4\x93\x43\x00\x01", 8, FANQ_ERR_PROTOCOL},                /* from 0 on */
        {"\0\0\0\x06\x96\x45\x01\x05\x06\x00", 10, FANQ_ERR_PROTOCOL},     /* a delivery that ends too soon */
        {"\0\0\0\x07\x96\x45\x01\x05\x06\x00\x90", 11, FANQ_ERR_PROTOCOL}, /* a delivery for a ping */
        {"\0\0\0\x0b\x96\x45\x01\x05\x06\x00\xdd\xff\xff\xff\xff", 15,
         FANQ_ERR_PROTOCOL},                                      /* of slices galore */
        {"\0\0\0\x05\x94\x49\x01\x90\xc2", 9, FANQ_ERR_PROTOCOL}, /* names for a ping */
        {"\0\0\0\x0f\x94\x4c\x01\x90\xc2\xde\xad\xbe\xef zzzzzz", 19, FANQ_ERR_PROTOCOL},
    };

    for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
        struct told told = {0}, states = {0};
        struct fake_broker broker;
        struct fanq *client = open_client(&broker, &states);

        fake_broker_greet(&broker, client);
        assert_int_equal(fanq_topic_create(client, "t", on_done, &told), 0);
        (void)fake_broker_take(&broker, client);
        fake_broker_write(&broker, client, garbage[i].bytes, garbage[i].length);
        drive_until(client, &told.count, 1);
        assert_int_equal(told.code, FANQ_ERR_UNKNOWN);
        assert_int_equal(states.cause.code, garbage[i].code);
        fake_broker_hang_up(&broker);
        fake_broker_greet(&broker, client); /* and it goes on */
        assert_int_equal(told.count, 1);
        finish(&broker, client);
    }
}

/* Whatever a broker sends, the client neither crashes nor calls back twice. */
TEST(random_bytes_do_no_harm)
{
    srand(7);
    for (int run = 0; run < 300; run++) {
        struct told told = {0};
        struct fake_broker broker;
        struct fanq *client = open_client(&broker, NULL);
        uint8_t bytes[64] = {0,
                             0,
                             0,
                             (uint8_t)(3 + rand() % 40),
                             (uint8_t)(0x92 + rand() % 8),
                             (uint8_t)(64 + rand() % 14),
                             (uint8_t)(rand() % 4)};

        for (size_t i = 7; i < sizeof(bytes); i++)
            bytes[i] = rand() % 3 == 0 ? (uint8_t)rand() : (uint8_t)(rand() % 4);
        fake_broker_greet(&broker, client);
        for (int i = 0; i < 3; i++)
            assert_int_equal(fanq_topic_create(client, "t", on_done, &told), 0);
        (void)fake_broker_take(&broker, client);
        fake_broker_write(&broker, client, bytes, sizeof(bytes));
        drive_some(client);
        finish(&broker, client);
        assert_int_equal(told.count, 3);
    }
}

TEST(a_silent_broker_is_asked_and_then_given_up)
{
    struct fanq_options options = FANQ_OPTIONS_INIT;
    struct told told = {0};
    struct fake_broker broker;
    struct fanq *client;

    options.ping_interval_ms = 20;
    fake_broker_open(&broker);
    assert_int_equal(fanq_open(broker.url, &options, &client), 0);
    fanq_on_state(client, on_state, &told);
    fake_broker_greet(&broker, client);
    struct fanq_request ping = fake_broker_take(&broker, client);
    assert_int_equal(ping.op, FANQ_OP_PING);
    fake_broker_ok(&broker, client, ping.id);
    ping = fake_broker_take(&broker, client);
    assert_int_equal(ping.op, FANQ_OP_PING);
    assert_int_equal(told.state, FANQ_CLIENT_READY);
    drive_until(client, &told.losses, 1);
    assert_int_equal(told.cause.code, FANQ_ERR_TIMEOUT);
    finish(&broker, client);
}

/* ---- the end inside callbacks ---- */

struct freeing {
    int calls;
    int codes[8];
    int freed;
};

static void free_now(struct fanq *client, const struct fanq_error *error, void *user)
{
    struct freeing *freeing = user;

    freeing->codes[freeing->calls++] = error->code;
    assert_int_equal(fanq_ping_sync(client, 10, NULL), FANQ_ERR_INVALID);
    assert_int_equal(fanq_process(client), FANQ_ERR_INVALID);
    fanq_free(client);
    assert_int_equal(fanq_ping(client, NULL, NULL), FANQ_ERR_CLOSED);
}

static void on_free(void *user)
{
    ((struct freeing *)user)->freed++;
}

static void free_in_state(struct fanq *client, enum fanq_client_state state, const struct fanq_error *cause,
                          void *user)
{
    (void)cause;
    if ((int)state == *(int *)user)
        fanq_free(client);
}

static void free_sent(struct fanq *client, const struct fanq_sent *sent, void *user)
{
    free_now(client, &sent->error, user);
}

static void free_delivered(struct fanq_consumer *consumer, struct fanq_batch *batch, void *user)
{
    struct fanq_error none = {0};

    assert_int_equal(fanq_ack_batch(batch, free_now, user), 0);
    free_now(fanq_consumer_client(consumer), &none, user);
}

static void free_end(struct fanq_consumer *consumer, const struct fanq_error *error, void *user)
{
    free_now(fanq_consumer_client(consumer), error, user);
}

/* One round; the client may be gone after it. */
static void round_of(struct fanq *client)
{
    struct pollfd fd = {.fd = fanq_fd(client), .events = POLLIN};

    poll(&fd, 1, 100);
    (void)fanq_process(client);
}

TEST(freeing_in_the_callback_of_an_answer_ends_the_other_requests)
{
    struct freeing freeing = {0};
    struct fake_broker broker;
    struct fanq *client = open_client(&broker, NULL);
    struct fanq_content content = fanq_text("x");

    fake_broker_greet(&broker, client);
    fanq_on_free(client, on_free, &freeing);
    assert_int_equal(fanq_ping(client, free_now, &freeing), 0);
    assert_int_equal(fanq_topic_create(client, "t", free_now, &freeing), 0);
    assert_int_equal(fanq_send(client, "q", &content, free_sent, &freeing), 0);
    assert_int_equal(fanq_send(client, "q", &content, free_sent, &freeing), 0);
    uint64_t id = fake_broker_take(&broker, client).id;
    (void)fake_broker_take(&broker, client);
    fake_broker_reply(&broker, client,
                      &(struct fanq_reply){.op = FANQ_REPLY_OK_RANGE, .id = id, .ok_range = {3}});
    round_of(client);
    assert_int_equal(freeing.calls, 4);
    assert_int_equal(freeing.codes[0], 0);
    for (int i = 1; i < 4; i++)
        assert_int_equal(freeing.codes[i], FANQ_ERR_UNKNOWN);
    assert_int_equal(freeing.freed, 1);
    fake_broker_close(&broker);
}

TEST(freeing_tells_what_was_not_sent)
{
    struct freeing freeing = {0};
    struct fake_broker broker;
    struct fanq *client = open_client(&broker, NULL);
    struct fanq_content content = fanq_text("x");

    assert_int_equal(fanq_ping(client, free_now, &freeing), 0);
    assert_int_equal(fanq_send(client, "q", &content, free_sent, &freeing), 0);
    assert_int_equal(fanq_consume(client, "q", NULL, free_delivered, free_end, &freeing, NULL), 0);
    fanq_free(client);
    assert_int_equal(freeing.calls, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(freeing.codes[i], FANQ_ERR_CLOSED);
    fake_broker_close(&broker);
}

TEST(freeing_in_every_state)
{
    for (int when = FANQ_CLIENT_CONNECTING; when <= FANQ_CLIENT_LOST; when++) {
        struct freeing freeing = {0};
        struct fake_broker broker;
        struct fanq *client = open_client(&broker, NULL);

        fanq_on_free(client, on_free, &freeing);
        if (when > FANQ_CLIENT_CONNECTING) {
            fake_broker_accept(&broker, client);
            (void)fake_broker_take(&broker, client);
        }
        fanq_on_state(client, free_in_state, &when);
        assert_int_equal(fanq_ping(client, free_now, &freeing), 0);
        if (when == FANQ_CLIENT_READY) {
            struct fanq_reply hello = {
                .op = FANQ_REPLY_HELLO,
                .hello = {.version = 1, .frame_bytes_max = 1 << 20, .message_bytes_max = 99}};
            fake_broker_reply(&broker, client, &hello);
        } else if (when == FANQ_CLIENT_LOST) {
            unlink(broker.path);
            fake_broker_hang_up(&broker);
        }
        for (int i = 0; i < 5 && freeing.freed == 0; i++)
            round_of(client);
        assert_int_equal(freeing.freed, 1);
        assert_int_equal(freeing.calls, 1);
        fake_broker_close(&broker);
    }
}

TEST(freeing_in_a_delivery)
{
    struct freeing freeing = {0};
    struct fake_broker broker;
    struct fanq *client = open_client(&broker, NULL);

    fake_broker_greet(&broker, client);
    assert_int_equal(fanq_consume(client, "q", NULL, free_delivered, free_end, &freeing, NULL), 0);
    fake_broker_deliver(&broker, client, fake_broker_take(&broker, client).id, 3, 1, 5);
    fake_broker_deliver(&broker, client, 1, 4, 6, 5);
    round_of(client);
    assert_int_equal(freeing.calls, 3); /* the delivery, its ack, the consumer */
    assert_int_equal(freeing.codes[1], FANQ_ERR_CLOSED);
    assert_int_equal(freeing.codes[2], FANQ_ERR_CLOSED);
    fake_broker_close(&broker);
}

/* ---- closing ---- */

TEST(closing_lets_what_was_begun_be_answered)
{
    struct fake_broker broker;
    struct told told = {0}, closed = {0}, received = {0};
    struct fanq *client = open_client(&broker, &told);
    struct fanq_content content = fanq_text("x");

    fake_broker_greet(&broker, client);
    assert_int_equal(fanq_ping(client, on_done, &received), 0);
    assert_int_equal(fanq_send(client, "q", &content, NULL, NULL), 0);
    assert_int_equal(fanq_consume(client, "q", NULL, free_delivered, NULL, NULL, NULL), 0);
    assert_int_equal(fanq_close(client, 5000, on_done, &closed), 0);
    assert_int_equal(fanq_close(client, 5000, on_done, &closed), FANQ_ERR_CLOSED);
    assert_int_equal(fanq_send(client, "q", &content, NULL, NULL), FANQ_ERR_CLOSED);
    for (int i = 0; i < 4; i++) { /* ping, send, push, stop */
        struct fanq_request request = fake_broker_take(&broker, client);
        assert_int_equal(closed.count, 0);
        fake_broker_ok(&broker, client, request.id);
    }
    drive_until(client, &closed.count, 1);
    assert_int_equal(closed.code, 0);
    assert_int_equal(received.code, 0);
    assert_int_equal(told.state, FANQ_CLIENT_CLOSED);
    assert_int_equal(fanq_process(client), FANQ_ERR_CLOSED);
    finish(&broker, client);
}

TEST(closing_an_idle_client_does_not_wait)
{
    struct fake_broker broker;
    struct told told = {0};
    struct fanq *client = open_client(&broker, &told);
    struct fanq_error error;

    fake_broker_greet(&broker, client);
    drive_some(client);
    assert_int_equal(fanq_close(client, 3600 * 1000, NULL, NULL), 0);
    assert_int_equal(fanq_timeout_ms(client), 0);
    assert_int_equal(fanq_process(client), FANQ_ERR_CLOSED);
    assert_int_equal(told.state, FANQ_CLIENT_CLOSED);
    finish(&broker, client);
    client = open_client(&broker, NULL);
    fake_broker_greet(&broker, client);
    assert_int_equal(fanq_close_sync(client, 3600 * 1000, &error), 0);
    finish(&broker, client);
}

TEST(closing_cuts_off_what_takes_too_long)
{
    struct fake_broker broker;
    struct told closed = {0}, pinged = {0};
    struct fanq *client = open_client(&broker, NULL);
    struct fanq_error error;

    fake_broker_greet(&broker, client);
    assert_int_equal(fanq_ping(client, on_done, &pinged), 0);
    (void)fake_broker_take(&broker, client);
    assert_int_equal(fanq_close(client, 20, on_done, &closed), 0);
    drive_until(client, &closed.count, 1);
    assert_int_equal(closed.code, FANQ_ERR_TIMEOUT);
    assert_int_equal(pinged.code, FANQ_ERR_UNKNOWN);
    assert_int_equal(fanq_close_sync(client, 20, &error), FANQ_ERR_CLOSED);
    finish(&broker, client);

    client = open_client(&broker, NULL);
    fake_broker_close(&broker);
    assert_int_equal(fanq_close_sync(client, 5000, &error), 0); /* nothing was begun */
    fanq_free(client);
}

/* ---- other threads ---- */

static void count_post(struct fanq *client, void *user)
{
    (void)client;
    ++*(int *)user;
}

struct poster {
    struct fanq *client;
    int *count;
};

static void *post_many(void *user)
{
    struct poster *poster = user;

    for (int i = 0; i < 1000; i++)
        assert_int_equal(fanq_post(poster->client, count_post, poster->count), 0);
    (void)fanq_wakeup(poster->client);
    return NULL;
}

TEST(other_threads_post_and_wake)
{
    struct fake_broker broker;
    struct fanq *client = open_client(&broker, NULL);
    int count = 0;
    struct poster poster = {client, &count};
    pthread_t threads[2];

    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, post_many, &poster);
    assert_int_equal(fanq_run(client, 10000), 0); /* until somebody wakes it */
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    while (count < 2000)
        (void)fanq_process(client);
    assert_int_equal(fanq_post(client, count_post, &count), 0);
    finish(&broker, client); /* what is posted is run */
    assert_int_equal(count, 2001);
}

TEST(a_loop_ends_after_its_time)
{
    struct fake_broker broker;
    struct fanq *client = open_client(&broker, NULL);

    assert_int_equal(fanq_run(client, 0), 0);
    assert_int_equal(fanq_run(client, 10), 0);
    assert_int_equal(fanq_wakeup(client), 0);
    assert_int_equal(fanq_run(client, 10000), 0);
    assert_int_equal(fanq_wait_ready(client, 5, NULL), FANQ_ERR_NOT_CONNECTED);
    finish(&broker, client);
}

/* ---- no memory ---- */

struct budget {
    int left; /* allocations until one fails; negative: never */
    int alive;
    bool failed;
};

static void *allocate(void *user, void *memory, size_t bytes)
{
    struct budget *budget = user;

    if (bytes == 0) {
        budget->alive -= memory != NULL;
        free(memory);
        return NULL;
    }
    if (budget->left == 0) {
        budget->failed = true;
        budget->left = -1; /* only this one */
        return NULL;
    }
    if (budget->left > 0)
        budget->left--;
    budget->alive += memory == NULL;
    return realloc(memory, bytes);
}

static void take_batch(struct fanq *client, const struct fanq_error *error, struct fanq_batch *batch,
                       void *user)
{
    if (batch != NULL) {
        struct fanq_message *message = fanq_batch_message(batch, 0);
        if (message != NULL)
            (void)fanq_ack(message, NULL, NULL);
        (void)fanq_ack_batch(batch, on_done, user);
    }
    on_done(client, error, user);
}

static void take_sent(struct fanq *client, const struct fanq_sent *sent, void *user)
{
    on_done(client, &sent->error, user);
}

static void take_delivered(struct fanq_consumer *consumer, struct fanq_batch *batch, void *user)
{
    (void)consumer;
    (void)user;
    (void)fanq_nack_batch(batch, 5, NULL, NULL);
}

/* Plays a little of everything. Gives whether the client could be opened. */
static bool play(struct fake_broker *broker, struct budget *budget)
{
    struct fanq_options options = FANQ_OPTIONS_INIT;
    struct fanq_content content = fanq_text("x");
    struct told told = {0};
    int expected = 0;
    struct fanq *client;

    options.allocate = allocate;
    options.allocate_user = budget;
    options.reconnect_ms_max = options.reconnect_ms_min = 1;
    if (fanq_open(broker->url, &options, &client) != 0)
        return false;
    expected += fanq_send(client, "q", &content, take_sent, &told) == 0;
    expected += fanq_send(client, "q", &content, take_sent, &told) == 0;
    expected += fanq_receive(client, "q", NULL, take_batch, &told) == 0;
    (void)fanq_consume(client, "q", NULL, take_delivered, NULL, NULL, NULL);
    expected += fanq_queue_create(client, "q", NULL, on_done, &told) == 0;
    for (int i = 0; i < 30; i++) {
        struct fanq_request request;

        if (!fake_broker_poll(broker, client, &request))
            continue;
        if (request.op == FANQ_OP_HELLO)
            fake_broker_hello(broker, client);
        else if (request.op == FANQ_OP_RECEIVE || request.op == FANQ_OP_PUSH)
            fake_broker_deliver(broker, client, request.id, 11, 1, 5);
        else if (request.op != FANQ_OP_CREDIT)
            fake_broker_refuse(broker, client, request.id, FANQ_ERR_NO_ROOM);
    }
    fake_broker_hang_up(broker);
    fanq_free(client);
    assert_true(told.count >= expected);
    return true;
}

TEST(any_allocation_may_fail)
{
    struct fake_broker broker;
    int runs = 0;

    fake_broker_open(&broker);
    for (;; runs++) {
        struct budget budget = {.left = runs};

        (void)play(&broker, &budget);
        assert_int_equal(budget.alive, 0);
        if (!budget.failed)
            break;
    }
    assert_true(runs > 10);
    fake_broker_close(&broker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_taken_or_refused_as_a_whole),
        cmocka_unit_test(options_of_an_older_program_are_completed),
        cmocka_unit_test(the_next_url_is_tried_when_one_fails),
        cmocka_unit_test(states_are_told_with_their_cause),
        cmocka_unit_test(a_greeting_that_does_not_fit_is_not_accepted),
        cmocka_unit_test(garbage_ends_the_connection_and_nothing_else),
        cmocka_unit_test(random_bytes_do_no_harm),
        cmocka_unit_test(a_silent_broker_is_asked_and_then_given_up),
        cmocka_unit_test(freeing_in_the_callback_of_an_answer_ends_the_other_requests),
        cmocka_unit_test(freeing_tells_what_was_not_sent),
        cmocka_unit_test(freeing_in_every_state),
        cmocka_unit_test(freeing_in_a_delivery),
        cmocka_unit_test(closing_lets_what_was_begun_be_answered),
        cmocka_unit_test(closing_an_idle_client_does_not_wait),
        cmocka_unit_test(closing_cuts_off_what_takes_too_long),
        cmocka_unit_test(other_threads_post_and_wake),
        cmocka_unit_test(a_loop_ends_after_its_time),
        cmocka_unit_test(any_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
