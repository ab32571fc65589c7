/* How long a message is under way, at a rate that leaves room: publisher to subscriber through the broker,
 * beside the same through the relay.
 *
 * Messages are due at even times, and a message's time runs from when it was due, not from when it was sent:
 * so a broker that holds up its publisher is not spared the time of the messages that had
 * to wait for that. */
#include "cases.h"
#include "ceiling.h"
#include "generator.h"
#include "report.h"

enum { SIZE = 128, WARMUP_MS = 100, MEASURED_MS = 500 };

struct latency {
    const struct case_options *options;
    struct bench_error *error;
    struct generator_options load;
    struct ceiling ceiling;
    struct generator *relay;
    struct generator *broker;
    double delivered_per_s[ROUNDS_MAX];
};

static int latency_open(struct latency *l)
{
    int err = ceiling_start_relay(&l->ceiling, l->load.subscriber_count, l->error);

    if (err != 0)
        return err;
    l->load.url = l->ceiling.process.url;
    l->load.relay = true;
    err = generator_new(&l->load, l->error, &l->relay);
    if (err != 0)
        return err;
    l->load.url = l->options->url;
    l->load.relay = false;
    return generator_new(&l->load, l->error, &l->broker);
}

static int latency_rounds(struct latency *l)
{
    struct generator_round round = {.warmup_ms = WARMUP_MS, .measured_ms = MEASURED_MS};
    struct generator_figures broker, relay;
    int err = 0;

    if (l->options->seconds > 0)
        round.measured_ms = (uint32_t)(l->options->seconds * 1000);
    for (uint32_t i = 0; i < l->options->round_count && err == 0; i++) {
        report_progress("latency: %.0f messages/s: round %u of %u", l->load.rate, i + 1,
                        l->options->round_count);
        err = generator_run(l->broker, &round, &broker);
        if (err == 0)
            err = generator_run(l->relay, &round, &relay);
        if (err == 0)
            l->delivered_per_s[i] = (double)broker.delivered / broker.seconds;
    }
    return err;
}

static double quantile_us(struct generator *generator, double fraction)
{
    return (double)histogram_quantile(generator_latency(generator), fraction) / 1000;
}

static void latency_report(struct latency *l)
{
    uint32_t n = l->options->round_count;
    const struct figure row[] = {
        {"case", "case", FIGURE_TEXT, .text = "latency"},
        {"size", "bytes", FIGURE_COUNT, .value = (double)l->load.size},
        {"subscribers", "queues", FIGURE_COUNT, .value = l->load.subscriber_count},
        {"batch", "batch", FIGURE_COUNT, .value = l->load.batch},
        {"rate", "rate", FIGURE_RATE, .value = l->load.rate},
        {"delivered_per_s", "delivered/s", FIGURE_RATE, .value = median(l->delivered_per_s, n)},
        {"p50_us", "p50 us", FIGURE_RATIO, .value = quantile_us(l->broker, 0.5)},
        {"p99_us", "p99 us", FIGURE_RATIO, .value = quantile_us(l->broker, 0.99)},
        {"p999_us", "p99.9 us", FIGURE_RATIO, .value = quantile_us(l->broker, 0.999)},
        {"ceiling_p50_us", "relay p50", FIGURE_RATIO, .value = quantile_us(l->relay, 0.5)},
        {"ceiling_p99_us", "relay p99", FIGURE_RATIO, .value = quantile_us(l->relay, 0.99)},
        {"ceiling_p999_us", "relay p99.9", FIGURE_RATIO, .value = quantile_us(l->relay, 0.999)},
        {"rounds", NULL, FIGURE_COUNT, .value = n},
    };

    report_row(row, sizeof row / sizeof row[0]);
}

static int latency_at(const struct case_options *options, struct bench_error *error, double rate)
{
    struct latency l = {
        .options = options,
        .error = error,
        .load = {.name = "bench-latency",
                 .latency = true,
                 .subscriber_count = options->subscriber_count > 0 ? options->subscriber_count : 1,
                 .batch = options->batch > 0 ? options->batch : 1,
                 .size = options->has_size ? options->size : SIZE,
                 .rate = rate},
    };
    int err = latency_open(&l);

    if (err == 0)
        err = latency_rounds(&l);
    if (err == 0)
        latency_report(&l);
    generator_free(l.broker);
    generator_free(l.relay);
    ceiling_stop(&l.ceiling);
    return err;
}

int case_latency(const struct case_options *options, struct bench_error *error)
{
    static const double rates[] = {1000, 10000, 100000, 1000000};
    int err = 0;

    if (options->rate > 0)
        return latency_at(options, error, options->rate);
    for (size_t i = 0; i < sizeof rates / sizeof rates[0] && err == 0; i++)
        err = latency_at(options, error, rates[i]);
    return err;
}
