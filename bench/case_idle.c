/* What idle queues cost a publisher: a topic with 1,000 queues that nobody reads, beside a topic with one.
 *
 * A round publishes a fixed number of messages to each and then empties the queues, so that memory stays
 * bounded and the queues are idle again. The rate is that of answered publishes. */
#include <time.h>

#include "cases.h"
#include "generator.h"
#include "proto/record.h"
#include "report.h"

enum {
    QUEUES = 1000,
    SIZE = 128,
    BATCH = 256,
    BURSTS = 8, /* in a round, in turn with the other topic's */
    BURST_BYTES = 48 * 1024 * 1024
};

struct idle {
    const struct case_options *options;
    struct bench_error *error;
    size_t size;
    uint32_t batch;
    uint64_t messages; /* in a burst */
    struct generator *many;
    struct generator *one;
    double many_per_s[ROUNDS_MAX];
    double one_per_s[ROUNDS_MAX];
    double ratio[ROUNDS_MAX];
    double cpu_ratio[ROUNDS_MAX]; /* CPU time of the broker, one queue's over a thousand's */
};

static int idle_open(struct idle *idle)
{
    struct generator_options options = {.url = idle->options->url,
                                        .name = "bench-idle-many",
                                        .queue_count = QUEUES,
                                        .batch = idle->batch,
                                        .size = idle->size};
    int err = generator_new(&options, idle->error, &idle->many);

    if (err != 0)
        return err;
    options.name = "bench-idle-one";
    options.queue_count = 1;
    return generator_new(&options, idle->error, &idle->one);
}

/* What some bursts took. */
struct burst_sum {
    double seconds;
    double cpu_seconds; /* of the broker */
};

static double broker_cpu_seconds(const struct idle *idle)
{
    struct timespec used = {0};

    (void)clock_gettime(idle->options->broker_clock,
                        &used); /* fails when the broker has died: the burst tells */
    return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

/* Publishes, and empties the queues again; only the former counts. */
static int idle_burst(const struct idle *idle, struct generator *generator, struct burst_sum *sum)
{
    double seconds = 0, cpu_seconds = broker_cpu_seconds(idle);
    int err = generator_burst(generator, idle->messages, &seconds);

    sum->seconds += seconds;
    sum->cpu_seconds += broker_cpu_seconds(idle) - cpu_seconds;
    return err == 0 ? generator_purge(generator) : err;
}

static int idle_round(struct idle *idle, uint32_t i)
{
    double messages = (double)idle->messages * BURSTS;
    struct burst_sum many = {0}, one = {0};
    int err = 0;

    for (int burst = 0; burst < BURSTS && err == 0; burst++) {
        err = idle_burst(idle, idle->many, &many);
        if (err == 0)
            err = idle_burst(idle, idle->one, &one);
    }
    if (err != 0)
        return err;
    idle->many_per_s[i] = messages / many.seconds;
    idle->one_per_s[i] = messages / one.seconds;
    idle->ratio[i] = one.seconds / many.seconds;
    idle->cpu_ratio[i] = one.cpu_seconds / many.cpu_seconds;
    return 0;
}

/* Round 0 warms up and is overwritten. */
static int idle_rounds(struct idle *idle)
{
    int err = 0;

    for (uint32_t round = 0; round <= idle->options->round_count && err == 0; round++) {
        uint32_t i = round == 0 ? 0 : round - 1;

        report_progress("idle: batches of %u: round %u of %u", idle->batch, i + 1,
                        idle->options->round_count);
        err = idle_round(idle, i);
    }
    return err;
}

static void idle_report(struct idle *idle)
{
    uint32_t n = idle->options->round_count;
    const struct figure row[] = {
        {"case", "case", FIGURE_TEXT, .text = "idle"},
        {"queues", "queues", FIGURE_COUNT, .value = QUEUES},
        {"size", "bytes", FIGURE_COUNT, .value = (double)idle->size},
        {"batch", "batch", FIGURE_COUNT, .value = idle->batch},
        {"published_per_s", "published/s", FIGURE_RATE, .value = median(idle->many_per_s, n)},
        {"one_queue_per_s", "one queue/s", FIGURE_RATE, .value = median(idle->one_per_s, n)},
        {"ratio", "ratio", FIGURE_RATIO, .value = median(idle->ratio, n)},
        {"cpu_ratio", "CPU ratio", FIGURE_RATIO, .value = median(idle->cpu_ratio, n)},
        {"rounds", NULL, FIGURE_COUNT, .value = n},
    };

    report_row(row, sizeof row / sizeof row[0]);
}

static int idle_batch(const struct case_options *options, struct bench_error *error, uint32_t batch)
{
    struct idle idle = {.options = options, .error = error, .batch = batch};
    uint64_t fit;
    int err;

    idle.size = options->has_size ? options->size : SIZE;
    fit = BURST_BYTES / (idle.size + FANQ_RECORD_PLAIN_BYTES);
    idle.messages = (fit + batch - 1) / batch * batch;
    err = idle_open(&idle);
    if (err == 0)
        err = idle_rounds(&idle);
    if (err == 0)
        idle_report(&idle);
    generator_free(idle.one);
    generator_free(idle.many);
    return err;
}

int case_idle(const struct case_options *options, struct bench_error *error)
{
    int err;

    if (options->batch > 0)
        return idle_batch(options, error, options->batch);
    err = idle_batch(options, error, BATCH);
    return err == 0 ? idle_batch(options, error, 1) : err;
}
