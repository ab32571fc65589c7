/* fanq tail: watch messages come.
 *
 * A topic is followed by an ephemeral subscription: the broker pushes copies, and tells how many it had to
 * drop because we were too slow.
 *
 * A queue is looked into again and again. Peek walks its streams in rising order, and within one the messages
 * in rising order, so what was shown of a stream is one number. When a walk meets a message that was shown,
 * it jumps behind the last one shown of that stream; an idle look costs a request per stream. */
#include "cli.h"
#include "message.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOOK_INTERVAL_MS = 200, LOOK_MESSAGES = 200, LOOK_BYTES = 512 * 1024 };

struct shown {
    uint64_t stream, seq; /* the last one shown */
};

struct tail {
    struct cli *cli;
    const char *name;
    struct message_style style;
    uint64_t left;
    uint64_t last_ms; /* when the last message came */
    int code;
    bool ended;
    /* a topic */
    struct fanq_consumer *consumer;
    /* a queue */
    struct shown *shown;
    size_t shown_count;
    bool answered;
    struct fanq_error error;
    struct fanq_batch *batch;
};

static void show(struct tail *tail, const struct fanq_message *message, bool peeked)
{
    message_put(message, &tail->style, peeked);
    tail->left--;
    tail->last_ms = cli_now_ms();
}

/* Until when to wait for the next message: -1: for ever. */
static int64_t patience_ms(const struct tail *tail)
{
    uint64_t gone_ms = cli_now_ms() - tail->last_ms;
    int64_t wait_ms = tail->cli->options.wait_ms;

    if (wait_ms < 0)
        return -1;
    return (uint64_t)wait_ms > gone_ms ? wait_ms - (int64_t)gone_ms : 0;
}

static bool is_over(const struct tail *tail)
{
    return tail->ended || tail->code != 0 || tail->left == 0 || cli_signal() != 0 || patience_ms(tail) == 0;
}

/* ---- a topic ---- */

static void on_delivered(struct fanq_consumer *consumer, struct fanq_batch *batch, void *user)
{
    struct tail *tail = user;
    uint64_t dropped = fanq_batch_dropped(batch);

    if (dropped > 0)
        cli_say("fanq: too slow: %llu messages were dropped", (unsigned long long)dropped);
    for (size_t i = 0; i < fanq_batch_count(batch) && tail->left > 0; i++)
        show(tail, fanq_batch_message(batch, i), false);
    if (tail->code == 0)
        tail->code = cli_flush();
}

static void on_end(struct fanq_consumer *consumer, const struct fanq_error *error, void *user)
{
    struct tail *tail = user;

    tail->ended = true;
    tail->error = *error;
}

/* Requests are carried out in order, so a ping that is answered says that the push before it stands. */
static void on_following(struct fanq *client, const struct fanq_error *error, void *user)
{
    struct tail *tail = user;

    if (error->code == 0 && !tail->ended)
        cli_say("following topic %s: copies of what is published from now on; Ctrl-C ends it", tail->name);
}

static int tail_topic(struct tail *tail)
{
    struct fanq_consume_options how = FANQ_CONSUME_OPTIONS_INIT;
    struct cli *cli = tail->cli;
    int err;

    how.mode = FANQ_CONSUME_AUTO;
    how.topic = true;
    tail->style.topic = tail->name;
    err = fanq_consume(cli->client, tail->name, &how, on_delivered, on_end, tail, &tail->consumer);
    if (err != 0)
        return cli_fail(EXIT_FAILED, "cannot follow %s: %s", tail->name, fanq_strerror(err));
    (void)fanq_ping(cli->client, on_following, tail); /* without it only the line is missing */
    while (!is_over(tail))
        (void)cli_turn(cli, -1, patience_ms(tail));
    if (tail->ended && tail->error.code != 0)
        return cli_report(cli, &tail->error, tail->name, "cannot follow %s", tail->name);
    return tail->code;
}

/* ---- a queue ---- */

static struct shown *shown_find(struct tail *tail, uint64_t stream)
{
    for (size_t i = 0; i < tail->shown_count; i++)
        if (tail->shown[i].stream == stream)
            return &tail->shown[i];
    return NULL;
}

static struct shown *shown_add(struct tail *tail, uint64_t stream)
{
    struct shown *shown = realloc(tail->shown, (tail->shown_count + 1) * sizeof(*shown));

    if (shown == NULL)
        return NULL;
    tail->shown = shown;
    shown[tail->shown_count] = (struct shown){.stream = stream};
    return &shown[tail->shown_count++];
}

static void on_looked(struct fanq *client, const struct fanq_error *error, struct fanq_batch *batch,
                      void *user)
{
    struct tail *tail = user;

    tail->answered = true;
    tail->error = *error;
    tail->batch = batch != NULL ? fanq_batch_ref(batch) : NULL;
}

/* Shows what is new on the page. True: it met what was shown, and *cursor is where to go on. */
static bool show_page(struct tail *tail, struct shown *cursor)
{
    for (size_t i = 0; i < fanq_batch_count(tail->batch) && tail->left > 0; i++) {
        const struct fanq_message *message = fanq_batch_message(tail->batch, i);
        uint64_t stream = fanq_message_stream(message), seq = fanq_message_seq(message);
        struct shown *shown = shown_find(tail, stream);

        if (shown != NULL && seq <= shown->seq) {
            *cursor = *shown;
            return true;
        }
        if (shown == NULL)
            shown = shown_add(tail, stream);
        if (shown == NULL) {
            tail->code = cli_fail(EXIT_FAILED, "out of memory");
            return false;
        }
        shown->seq = seq;
        show(tail, message, true);
    }
    return fanq_batch_peek_cursor(tail->batch, &cursor->stream, &cursor->seq);
}

/* Lost connections come back; anything else ends the tail. */
static bool look_failed(struct tail *tail)
{
    if (tail->error.code == 0)
        return false;
    if (tail->error.code != FANQ_ERR_UNKNOWN && tail->error.code != FANQ_ERR_TIMEOUT)
        tail->code = cli_report(tail->cli, &tail->error, tail->name, "cannot look into %s", tail->name);
    return true;
}

/* One walk through the queue. */
static void look(struct tail *tail)
{
    struct fanq_peek_options how = FANQ_PEEK_OPTIONS_INIT;
    struct shown cursor;

    how.messages_max = LOOK_MESSAGES;
    how.bytes_max = LOOK_BYTES;
    do {
        int err = fanq_peek(tail->cli->client, tail->name, &how, on_looked, tail);

        tail->answered = err != 0;
        tail->error = (struct fanq_error){.code = err};
        tail->batch = NULL;
        if (cli_wait_done(tail->cli, &tail->answered) != 0 || look_failed(tail))
            break;
        how.after_valid = show_page(tail, &cursor);
        how.after_stream = cursor.stream;
        how.after_seq = cursor.seq;
        fanq_batch_unref(tail->batch);
        tail->batch = NULL;
        if (tail->code == 0)
            tail->code = cli_flush();
    } while (how.after_valid && !is_over(tail));
}

static void rest(struct tail *tail)
{
    uint64_t until_ms = cli_now_ms() + LOOK_INTERVAL_MS;

    while (!is_over(tail) && cli_now_ms() < until_ms)
        (void)cli_turn(tail->cli, -1, (int64_t)(until_ms - cli_now_ms()));
}

static int tail_queue(struct tail *tail)
{
    tail->style.queue = tail->name;
    cli_say("following queue %s without taking from it; Ctrl-C ends it", tail->name);
    while (!is_over(tail)) {
        look(tail);
        rest(tail);
    }
    return tail->code;
}

/* ---- which of the two ---- */

/* 0: *ret_topic says what the name is. Else the exit code of what was said. */
static int find_kind(struct cli *cli, const char *name, bool *ret_topic)
{
    struct fanq_queue_info queue;
    struct fanq_topic_info topic;
    struct fanq_error queue_error, topic_error;
    bool is_queue, is_topic;

    *ret_topic = cli->options.topic;
    if (cli->options.topic || cli->options.queue)
        return 0;
    is_queue = fanq_queue_get_sync(cli->client, name, cli_timeout_ms(cli), &queue, &queue_error) == 0;
    is_topic = fanq_topic_get_sync(cli->client, name, cli_timeout_ms(cli), &topic, &topic_error) == 0;
    *ret_topic = is_topic;
    if (is_queue != is_topic)
        return 0;
    if (is_queue) {
        cli_fail(EXIT_USAGE, "%s is a queue and a topic", name);
        cli_hint("say which:  fanq tail --queue %s        fanq tail --topic %s", name, name);
        return EXIT_USAGE;
    }
    return cli_report(cli, cli_exit_code(&topic_error) == EXIT_NOT_FOUND ? &queue_error : &topic_error, name,
                      "neither queue nor topic %s", name);
}

static int run(struct tail *tail)
{
    struct cli *cli = tail->cli;
    uint64_t count_max = tail->left;
    bool topic;
    int code = find_kind(cli, tail->name, &topic);

    if (code != 0)
        return code;
    cli_catch_signals(cli);
    tail->last_ms = cli_now_ms();
    code = topic ? tail_topic(tail) : tail_queue(tail);
    if (code == 0 && cli_signal() != 0)
        code = EXIT_SIGNAL + cli_signal();
    if (code == 0 && tail->left == count_max)
        code = EXIT_NOTHING;
    return code;
}

int cmd_tail(struct cli *cli)
{
    struct tail tail = {.cli = cli,
                        .name = cli->arguments[0],
                        .style = message_style(&cli->options, MESSAGE_LINE),
                        .left = cli->options.count > 0 ? cli->options.count : UINT64_MAX};
    int code = cli_connect(cli, CLI_CONNECT_AGAIN);

    if (code == 0)
        code = run(&tail);
    fanq_free(cli->client); /* what is under way calls back while `tail` is there */
    cli->client = NULL;
    fanq_batch_unref(tail.batch);
    free(tail.shown);
    return code;
}
