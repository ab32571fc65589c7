/* fanq bench fanout: what the broker delivers to many subscribers.
 *
 * The load generator of bench/ does the work, in threads of its own and over its own sockets. It runs in
 * short rounds, so that there is progress to show and a signal is heeded, and its topic and queues are
 * always deleted. */
#include "bench.h"

#include "text.h"

#include "generator.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum {
    SIZE_DEFAULT = 128,
    BATCH_DEFAULT = 256,
    BATCH_MAX = 4096,
    SUBSCRIBERS_DEFAULT = 16,
    SUBSCRIBERS_MAX = 1000,
    DURATION_MS_DEFAULT = 3000,
    ROUND_MS = 500,
    WARMUP_MS = 100 /* of each round: its threads start, its queues fill */
};

/* The sum of all rounds. */
struct sum {
    double seconds;
    uint64_t published, delivered, bytes;
    uint64_t round_delivered, round_bytes;
    double p50_us, p99_us;
};

static void sum_add(struct sum *sum, const struct generator_figures *figures)
{
    sum->seconds += figures->seconds;
    sum->published += figures->published;
    sum->delivered += figures->delivered;
    sum->bytes += figures->bytes;
    sum->round_delivered += figures->round_delivered;
    sum->round_bytes += figures->round_bytes;
}

static double each_second(const struct sum *sum, uint64_t count)
{
    return sum->seconds > 0 ? (double)count / sum->seconds : 0;
}

/* Bytes on the wire beside the body, for each message. */
static double overhead_bytes(const struct sum *sum, size_t size)
{
    uint64_t bodies = sum->round_delivered * size;

    return sum->round_delivered > 0 ? (double)(sum->round_bytes - bodies) / (double)sum->round_delivered : 0;
}

static void put_json(const struct generator_options *options, const struct sum *sum)
{
    struct json json = {.out = stdout};

    json_object_begin(&json, NULL);
    json_text(&json, "case", "fanout");
    json_number(&json, "size", options->size);
    json_number(&json, "subscribers", options->subscriber_count);
    json_number(&json, "batch", options->batch);
    json_number(&json, "delivered", sum->round_delivered);
    json_decimal(&json, "published_per_s", each_second(sum, sum->published));
    json_decimal(&json, "delivered_per_s", each_second(sum, sum->delivered));
    json_decimal(&json, "bytes_per_s", each_second(sum, sum->bytes));
    json_decimal(&json, "overhead_bytes_per_message", overhead_bytes(sum, options->size));
    json_decimal(&json, "p50_us", sum->p50_us);
    json_decimal(&json, "p99_us", sum->p99_us);
    json_object_end(&json);
    json_line_end(&json);
}

static void put_text(const struct generator_options *options, const struct sum *sum)
{
    char published[TEXT_NUMBER_BYTES], delivered[TEXT_NUMBER_BYTES];

    printf("%s/s published, %s/s delivered to %" PRIu32 " subscribers: %.0f MB/s\n",
           text_grouped((uint64_t)each_second(sum, sum->published), published),
           text_grouped((uint64_t)each_second(sum, sum->delivered), delivered), options->subscriber_count,
           each_second(sum, sum->bytes) / 1e6);
    printf("from publish to receipt, as fast as it goes: p50 %.2f ms  p99 %.2f ms\n", sum->p50_us / 1000,
           sum->p99_us / 1000);
    printf("bodies of %zu bytes, %.1f bytes beside each, batch %" PRIu32 "\n", options->size,
           overhead_bytes(sum, options->size), options->batch);
}

/* The generator's system calls must not be interrupted, or its queues would stay behind; so signals are held
 * back and looked for between the rounds. Its threads inherit the mask. */
static void signals_hold(bool hold)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(hold ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

static bool signal_held(void)
{
    sigset_t set;

    return sigpending(&set) == 0 && (sigismember(&set, SIGINT) == 1 || sigismember(&set, SIGTERM) == 1);
}

/* Rounds until the time is over or a signal came. 0 or the generator's error. */
static int run_rounds(struct generator *generator, const struct cli *cli, struct sum *sum)
{
    int64_t duration_ms = cli->options.duration_ms > 0 ? cli->options.duration_ms : DURATION_MS_DEFAULT;
    uint64_t end_ms = cli_now_ms() + (uint64_t)duration_ms;
    struct progress progress = {.verb = "delivered", .start_ms = cli_now_ms()};
    int err = 0;

    do {
        struct generator_round round = {
            .warmup_ms = WARMUP_MS, .measured_ms = duration_ms < ROUND_MS ? (uint32_t)duration_ms : ROUND_MS};
        struct generator_figures figures;

        err = generator_run(generator, &round, &figures);
        if (err == 0)
            sum_add(sum, &figures);
        progress_show(&progress, sum->round_delivered);
    } while (err == 0 && cli_now_ms() < end_ms && !signal_held());
    progress_end(&progress);
    return err;
}

static int run(struct cli *cli, const struct generator_options *options)
{
    struct bench_error error = {.err = 0};
    struct sum sum = {.seconds = 0};
    struct generator *generator = NULL;
    const struct histogram *latency;
    int err;

    cli_catch_signals(cli);
    signals_hold(true);
    err = generator_new(options, &error, &generator);
    if (err == 0)
        err = run_rounds(generator, cli, &sum);
    latency = err == 0 ? generator_latency(generator) : NULL;
    if (latency != NULL) {
        sum.p50_us = (double)histogram_quantile(latency, 0.5) / 1000;
        sum.p99_us = (double)histogram_quantile(latency, 0.99) / 1000;
    }
    generator_free(generator);
    signals_hold(false);
    if (err != 0)
        return cli_fail(EXIT_FAILED, "the bench ended early: %s", error.text);
    if (cli_signal() != 0)
        return EXIT_SIGNAL + cli_signal();
    if (cli->options.json)
        put_json(options, &sum);
    else
        put_text(options, &sum);
    return cli_flush();
}

int bench_fan(struct cli *cli)
{
    const struct options *given = &cli->options;
    char name[64];
    struct generator_options options = {
        .name = name,
        .latency = true,
        .subscriber_count = given->subscribers > 0 ? (uint32_t)given->subscribers : SUBSCRIBERS_DEFAULT,
        .batch = given->batch > 0 ? (uint32_t)given->batch : BATCH_DEFAULT,
        .size = given->size_bytes > 0 ? given->size_bytes : SIZE_DEFAULT,
    };
    int code;

    if (given->subscribers > SUBSCRIBERS_MAX || given->batch > BATCH_MAX)
        return cli_fail(EXIT_USAGE, "at most %d subscribers and batches of %d", SUBSCRIBERS_MAX, BATCH_MAX);
    snprintf(name, sizeof(name), "fanq-bench-%ld", (long)getpid());
    options.queue_count = options.subscriber_count;
    code = cli_connect(cli, CLI_CONNECT_ONCE); /* for the errors that people know from everywhere else */
    if (code != 0)
        return code;
    options.url = fanq_current_url(cli->client);
    return run(cli, &options);
}
