/* fanq recv: receive messages, print them, and only then delete them.
 *
 * One receive at a time, asked for again until the count is reached or nothing came for the wait, which may
 * be longer than a broker lets a receive wait. When the reader of our output has gone, what it did not read
 * is given back. */
#include "cli.h"
#include "message.h"

#include "text.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

enum {
    BATCH_MESSAGES_MAX = 1000,
    BATCH_BYTES_MAX = 1024 * 1024,
    BROKER_WAIT_MS_MAX = 20000,
    DRAIN_TURN_MS = 50
};

struct receiver {
    struct cli *cli;
    struct message_style style;
    uint64_t count_max, count;
    uint64_t deadline_ms; /* for the next message */
    uint64_t queue_ids[16];
    bool queue_ids_known;
    bool done; /* the receive under way has ended */
    struct fanq_error error;
    struct fanq_batch *batch;
    uint32_t settling; /* acks and nacks under way */
    struct fanq_error settle_error;
    struct progress progress;
};

static void on_received(struct fanq *client, const struct fanq_error *error, struct fanq_batch *batch,
                        void *user)
{
    struct receiver *receiver = user;

    receiver->done = true;
    receiver->error = *error;
    receiver->batch = batch != NULL ? fanq_batch_ref(batch) : NULL;
}

static void on_settled(struct fanq *client, const struct fanq_error *error, void *user)
{
    struct receiver *receiver = user;

    receiver->settling--;
    if (error->code != 0 && receiver->settle_error.code == 0)
        receiver->settle_error = *error;
}

/* A batch names its queue by number; several queues are told apart by asking for theirs, once. */
static const char *queue_name(struct receiver *receiver)
{
    struct cli *cli = receiver->cli;
    uint64_t id = fanq_batch_queue_id(receiver->batch);

    if (cli->argument_count == 1)
        return cli->arguments[0];
    for (int i = 0; i < cli->argument_count && !receiver->queue_ids_known; i++) {
        struct fanq_queue_info info;

        if (fanq_queue_get_sync(cli->client, cli->arguments[i], cli_timeout_ms(cli), &info, NULL) == 0)
            receiver->queue_ids[i] = info.queue_id;
    }
    receiver->queue_ids_known = true;
    for (int i = 0; i < cli->argument_count; i++)
        if (receiver->queue_ids[i] == id)
            return cli->arguments[i];
    return NULL;
}

static struct fanq_receive_options receive_options(const struct receiver *receiver)
{
    const struct options *options = &receiver->cli->options;
    struct fanq_receive_options how = FANQ_RECEIVE_OPTIONS_INIT;
    uint64_t left = receiver->count_max - receiver->count;
    uint64_t now_ms = cli_now_ms();

    how.messages_max = left < BATCH_MESSAGES_MAX ? (uint32_t)left : BATCH_MESSAGES_MAX;
    how.bytes_max = BATCH_BYTES_MAX;
    if (options->visibility_ms >= 0)
        how.visibility_ms = options->visibility_ms;
    if (options->wait_ms >= 0) {
        how.wait_ms = receiver->deadline_ms > now_ms ? (int64_t)(receiver->deadline_ms - now_ms) : 0;
        if (how.wait_ms > BROKER_WAIT_MS_MAX)
            how.wait_ms = BROKER_WAIT_MS_MAX;
    }
    return how;
}

/* 0, or the signal that ended it. */
static int receive_once(struct receiver *receiver)
{
    struct cli *cli = receiver->cli;
    struct fanq_receive_options how = receive_options(receiver);
    int err = fanq_receive_any(cli->client, cli->arguments, (size_t)cli->argument_count, &how, on_received,
                               receiver);

    receiver->done = err != 0;
    receiver->error = (struct fanq_error){.code = err};
    receiver->batch = NULL;
    return cli_wait_done(cli, &receiver->done);
}

static void put_batch(struct receiver *receiver)
{
    size_t count = fanq_batch_count(receiver->batch);

    if (receiver->style.header || receiver->style.form == MESSAGE_JSON)
        receiver->style.queue = queue_name(receiver);
    for (size_t i = 0; i < count; i++)
        message_put(fanq_batch_message(receiver->batch, i), &receiver->style, false);
    receiver->count += count;
    progress_show(&receiver->progress, receiver->count);
}

static void settle(struct receiver *receiver, int how)
{
    int64_t delay_ms = receiver->cli->options.delay_ms;
    int err = 0;

    if (how == SETTLE_NOT)
        return;
    receiver->settling++;
    err = how == SETTLE_ACK
              ? fanq_ack_batch(receiver->batch, on_settled, receiver)
              : fanq_nack_batch(receiver->batch, delay_ms > 0 ? (uint64_t)delay_ms : 0, on_settled, receiver);
    if (err != 0) {
        struct fanq_error error = {.code = err};

        on_settled(receiver->cli->client, &error, receiver);
    }
}

/* Until every ack and nack has its answer. */
static int settle_end(struct receiver *receiver)
{
    while (receiver->settling > 0 && fanq_state(receiver->cli->client) == FANQ_CLIENT_READY)
        (void)cli_turn(receiver->cli, -1, DRAIN_TURN_MS);
    if (receiver->settle_error.code == 0)
        return 0;
    cli_report(receiver->cli, &receiver->settle_error, NULL, "cannot %s what was printed",
               receiver->cli->options.settle == SETTLE_ACK ? "delete" : "give back");
    cli_hint("it will be received again when its visibility timeout is over");
    return (int)cli_exit_code(&receiver->settle_error);
}

static uint64_t next_deadline(const struct cli *cli)
{
    return cli_now_ms() + (uint64_t)(cli->options.wait_ms > 0 ? cli->options.wait_ms : 0);
}

static int connection_lost(const struct receiver *receiver)
{
    cli_fail(EXIT_CONNECTION, "the connection to %s was lost", fanq_current_url(receiver->cli->client));
    cli_hint("what was under way is received again after its visibility timeout, unless the broker ended");
    return EXIT_CONNECTION;
}

/* One batch from the receive to its settling. 0 to go on, else EXIT_NOTHING at the end
 * or another exit code. */
static int serve_batch(struct receiver *receiver)
{
    struct cli *cli = receiver->cli;
    int signal_number = receive_once(receiver);
    int code = 0;

    if (signal_number != 0)
        return EXIT_SIGNAL + signal_number;
    if (receiver->error.code == FANQ_ERR_UNKNOWN)
        return connection_lost(receiver);
    if (receiver->error.code != 0)
        return cli_report(cli, &receiver->error, cli->argument_count == 1 ? cli->arguments[0] : NULL,
                          "cannot receive from %s",
                          cli->argument_count == 1 ? cli->arguments[0] : "these queues");
    if (fanq_batch_count(receiver->batch) > 0) {
        put_batch(receiver);
        code = cli_flush();
        settle(receiver, code == 0 ? cli->options.settle : SETTLE_NACK);
        receiver->deadline_ms = next_deadline(cli);
    } else if (cli->options.wait_ms < 0 || cli_now_ms() >= receiver->deadline_ms) {
        code = EXIT_NOTHING;
    }
    fanq_batch_unref(receiver->batch);
    receiver->batch = NULL;
    return code;
}

static int run(struct receiver *receiver)
{
    int code = 0, settle_code;

    while (code == 0 && receiver->count < receiver->count_max)
        code = serve_batch(receiver);
    progress_end(&receiver->progress);
    settle_code = code < EXIT_SIGNAL || code == EXIT_SIGNAL + SIGPIPE ? settle_end(receiver) : 0;
    if (code == EXIT_NOTHING && receiver->count > 0)
        code = 0;
    return code != 0 ? code : settle_code;
}

static void say_nothing(struct cli *cli)
{
    cli_say("nothing to receive");
    if (cli->argument_count == 1)
        cli_hint_unused(cli, cli->arguments[0]);
}

int cmd_recv(struct cli *cli)
{
    const struct options *options = &cli->options;
    bool many = options->count > 1 || options->all;
    struct receiver receiver = {.cli = cli,
                                .style = message_style(options, many ? MESSAGE_LINE : MESSAGE_RAW),
                                .count_max = options->all         ? UINT64_MAX
                                             : options->count > 0 ? options->count
                                                                  : 1,
                                .progress = {.verb = "received"}};
    int code;

    if (options->delay_ms >= 0 && options->settle != SETTLE_NACK)
        return cli_fail(EXIT_USAGE, "--delay goes with --nack");
    code = cli_connect(cli, CLI_CONNECT_ONCE);
    if (code != 0)
        return code;
    cli_catch_signals(cli);
    receiver.deadline_ms = next_deadline(cli);
    code = run(&receiver);
    if (code >= EXIT_SIGNAL)
        (void)settle_end(&receiver);
    if (code == EXIT_NOTHING)
        say_nothing(cli);
    fanq_free(cli->client); /* a receive under way calls back while `receiver` is there */
    cli->client = NULL;
    fanq_batch_unref(receiver.batch);
    return code;
}
