/* fanq bench pipe: how fast one client moves messages through a queue, from this machine.
 *
 * One producer and one consumer share one thread, so this is what a program with one client can expect, not
 * what the broker can do; `fanq bench fanout` shows that. Every message is received and deleted before the
 * end, and carries the time it was made, which gives the latency under this load. */
#include "bench.h"

#include "text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    DURATION_MS_DEFAULT = 3000,
    SIZE_DEFAULT = 128,
    BATCH_DEFAULT = 256,
    BATCH_MAX = 4096,
    BATCHES_UNDER_WAY = 4,
    DRAIN_MS = 10000,
    LATENCY_BUCKETS = 64 * 16 /* sixteen to each power of two of microseconds: within 6 % */
};

struct bench {
    struct cli *cli;
    char queue[64];
    uint64_t batch, size;
    char *bodies; /* batch * size, sent again and again with new times */
    struct fanq_content *contents;
    uint64_t sent, received, deleted, under_way;
    uint64_t start_ms, send_until_ms;
    struct fanq_error error;
    uint64_t latencies[LATENCY_BUCKETS];
    struct progress progress;
};

static uint64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* ---- latency ---- */

static size_t bucket_of(uint64_t us)
{
    unsigned power;

    if (us < 16)
        return us;
    power = 63 - (unsigned)__builtin_clzll(us);
    return (power - 3) * 16 + (us >> (power - 4) & 15);
}

static uint64_t bucket_us(size_t bucket)
{
    if (bucket < 16)
        return bucket;
    return (UINT64_C(16) + bucket % 16) << (bucket / 16 - 1);
}

static uint64_t quantile_us(const struct bench *bench, double share)
{
    uint64_t wanted = (uint64_t)((double)bench->received * share), seen = 0;
    size_t bucket = 0;

    while (bucket < LATENCY_BUCKETS - 1 && (seen += bench->latencies[bucket]) <= wanted)
        bucket++;
    return bucket_us(bucket);
}

/* ---- the load ---- */

static void keep_error(struct bench *bench, const struct fanq_error *error)
{
    if (error->code != 0 && bench->error.code == 0)
        bench->error = *error;
}

static void on_sent(struct fanq *client, const struct fanq_batch_sent *sent, void *user)
{
    struct bench *bench = user;

    bench->under_way--;
    bench->sent += sent->count;
    /* Without room the consumer is behind; it goes on, and so do we. */
    if (sent->error.code != FANQ_ERR_NO_ROOM)
        keep_error(bench, &sent->error);
}

static void on_deleted(struct fanq *client, const struct fanq_error *error, void *user)
{
    keep_error(user, error);
}

static void on_delivered(struct fanq_consumer *consumer, struct fanq_batch *batch, void *user)
{
    struct bench *bench = user;
    struct fanq_view view = {0};
    uint64_t now = now_us();
    int err;

    while (fanq_batch_next(batch, &view)) {
        uint64_t made_us = now;

        memcpy(&made_us, view.body, view.body_bytes < sizeof(made_us) ? view.body_bytes : sizeof(made_us));
        bench->latencies[bucket_of(now > made_us ? now - made_us : 0)]++;
        bench->received++;
    }
    err = fanq_ack_batch(batch, on_deleted, bench);
    keep_error(bench, &(struct fanq_error){.code = err});
}

static void on_end(struct fanq_consumer *consumer, const struct fanq_error *error, void *user)
{
    keep_error(user, error);
}

static void send_batch(struct bench *bench)
{
    uint64_t now = now_us();
    int err;

    for (uint64_t i = 0; i < bench->batch; i++)
        memcpy(bench->bodies + i * bench->size, &now, bench->size < sizeof(now) ? bench->size : sizeof(now));
    err = fanq_send_batch(bench->cli->client, bench->queue, bench->contents, bench->batch, on_sent, bench);
    if (err == 0)
        bench->under_way++;
    keep_error(bench, &(struct fanq_error){.code = err});
}

static bool goes_on(const struct bench *bench)
{
    uint64_t now_ms = cli_now_ms();

    if (cli_signal() != 0 || bench->error.code != 0)
        return false;
    return now_ms < bench->send_until_ms || ((bench->under_way > 0 || bench->received < bench->sent) &&
                                             now_ms < bench->send_until_ms + DRAIN_MS);
}

static int load(struct bench *bench)
{
    struct fanq_consume_options how = FANQ_CONSUME_OPTIONS_INIT;
    struct fanq_consumer *consumer;
    struct fanq *client = bench->cli->client;
    int err;

    how.messages = 4 * bench->batch > 1000 ? 4 * bench->batch : 1000;
    err = fanq_consume(client, bench->queue, &how, on_delivered, on_end, bench, &consumer);
    keep_error(bench, &(struct fanq_error){.code = err});
    while (err == 0 && goes_on(bench)) {
        while (bench->under_way < BATCHES_UNDER_WAY && cli_now_ms() < bench->send_until_ms &&
               bench->error.code == 0)
            send_batch(bench);
        (void)cli_turn(bench->cli, -1, 100);
        progress_show(&bench->progress, bench->received);
    }
    progress_end(&bench->progress);
    return err;
}

/* ---- around it ---- */

static void put_result(struct bench *bench)
{
    double seconds = (double)(cli_now_ms() - bench->start_ms) / 1000;
    double rate = seconds > 0 ? (double)bench->received / seconds : 0;
    struct json json = {.out = stdout};
    char grouped[2][TEXT_NUMBER_BYTES];

    if (!bench->cli->options.json) {
        printf("%s messages of %" PRIu64 " bytes sent, received and deleted in %.2f s: %s/s\n",
               text_grouped(bench->received, grouped[0]), bench->size, seconds,
               text_grouped((uint64_t)rate, grouped[1]));
        printf("from send to receive, with all the queue takes: p50 %.2f ms  p99 %.2f ms\n",
               (double)quantile_us(bench, 0.5) / 1000, (double)quantile_us(bench, 0.99) / 1000);
        printf("one producer and one consumer in one thread, batch %" PRIu64 "\n", bench->batch);
        return;
    }
    json_object_begin(&json, NULL);
    json_text(&json, "case", "pipe");
    json_number(&json, "size", bench->size);
    json_number(&json, "batch", bench->batch);
    json_number(&json, "messages", bench->received);
    json_decimal(&json, "seconds", seconds);
    json_decimal(&json, "messages_per_s", rate);
    json_number(&json, "p50_us", quantile_us(bench, 0.5));
    json_number(&json, "p99_us", quantile_us(bench, 0.99));
    json_object_end(&json);
    json_line_end(&json);
}

static int make_contents(struct bench *bench)
{
    bench->bodies = calloc(bench->batch, bench->size > 0 ? bench->size : 1);
    bench->contents = calloc(bench->batch, sizeof(*bench->contents));
    if (bench->bodies == NULL || bench->contents == NULL)
        return cli_fail(EXIT_FAILED, "out of memory");
    for (uint64_t i = 0; i < bench->batch; i++) {
        bench->contents[i].body = bench->bodies + i * bench->size;
        bench->contents[i].body_bytes = bench->size;
    }
    return 0;
}

static int run(struct bench *bench)
{
    struct cli *cli = bench->cli;
    struct fanq_error error, load_error;

    if (fanq_queue_create_sync(cli->client, bench->queue, NULL, cli_timeout_ms(cli), &error) != 0)
        return cli_report(cli, &error, NULL, "cannot make queue %s", bench->queue);
    cli_catch_signals(cli);
    bench->start_ms = cli_now_ms();
    bench->send_until_ms =
        bench->start_ms +
        (uint64_t)(cli->options.duration_ms >= 0 ? cli->options.duration_ms : DURATION_MS_DEFAULT);
    bench->progress.start_ms = bench->start_ms;
    (void)load(bench);
    load_error = bench->error; /* deleting the queue ends the consumer with another */
    if (load_error.code == 0 && cli_signal() == 0)
        put_result(bench);
    (void)fanq_queue_delete_sync(cli->client, bench->queue, cli_timeout_ms(cli), &error);
    if (load_error.code != 0)
        return cli_report(cli, &load_error, NULL, "the bench ended early");
    if (cli_signal() != 0)
        return EXIT_SIGNAL + cli_signal();
    if (bench->received != bench->sent)
        return cli_fail(EXIT_FAILED, "%" PRIu64 " messages sent, but %" PRIu64 " received", bench->sent,
                        bench->received);
    return cli_flush();
}

int bench_pipe(struct cli *cli)
{
    const struct options *options = &cli->options;
    struct bench *bench = calloc(1, sizeof(*bench));
    int code;

    if (bench == NULL)
        return cli_fail(EXIT_FAILED, "out of memory");
    bench->cli = cli;
    bench->size = options->size_bytes > 0 ? options->size_bytes : SIZE_DEFAULT;
    bench->batch = options->batch > 0 ? options->batch : BATCH_DEFAULT;
    bench->progress.verb = "moved";
    snprintf(bench->queue, sizeof(bench->queue), "fanq-bench-%ld", (long)getpid());
    code = bench->batch <= BATCH_MAX ? make_contents(bench)
                                     : cli_fail(EXIT_USAGE, "--batch: at most %d", BATCH_MAX);
    if (code == 0)
        code = cli_connect(cli, CLI_CONNECT_ONCE);
    if (code == 0)
        code = run(bench);
    fanq_free(cli->client); /* what is under way calls back while `bench` is there */
    cli->client = NULL;
    free(bench->bodies);
    free(bench->contents);
    free(bench);
    return code;
}
