/* Fan-out: one publisher, N queues with a pushed subscriber each, beside the relay doing the same with the
 * same bytes.
 *
 * Both are set up once for a cell and then run in turn. The relay is tried with each write size first, and
 * goes on with the best. On a machine of two cores the consumer is often what limits both, and then the rates
 * say little about the broker; its CPU time for a byte, beside the relay's, does. */
#include <stdio.h>

#include "cases.h"
#include "ceiling.h"
#include "generator.h"
#include "proto/fanq_error.h"
#include "proto/frame.h"
#include "report.h"
#include "train.h"

enum { WARMUP_MS = 60, MEASURED_MS = 250, PROBE_MS = 80 };

struct cell {
    size_t size;
    uint32_t subscriber_count;
    uint32_t batch;
};

/* The two things compared, and the rounds' figures. */
struct fanout {
    const struct case_options *options;
    struct bench_error *error;
    struct cell cell;
    struct ceiling ceiling;
    struct generator *relay;
    struct generator *broker;
    uint32_t write_bytes; /* the relay's best */

    double delivered_per_s[ROUNDS_MAX];
    double bytes_per_s[ROUNDS_MAX];
    double ceiling_bytes_per_s[ROUNDS_MAX];
    double ratio[ROUNDS_MAX];
    double cpu_ratio[ROUNDS_MAX];
    double broker_cpu[ROUNDS_MAX]; /* of one core */
    double ceiling_cpu[ROUNDS_MAX];
    double consumer_cpu[ROUNDS_MAX]; /* while the broker is measured */
    double publisher_cpu[ROUNDS_MAX];
    uint64_t delivered;
    uint64_t bytes;
};

static int fanout_open(struct fanout *f)
{
    struct generator_options options = {
        .name = "bench-fanout", .size = f->cell.size, .subscriber_count = f->cell.subscriber_count};
    int err = ceiling_start_relay(&f->ceiling, f->cell.subscriber_count, f->error);

    if (err != 0)
        return err;
    options.url = f->ceiling.process.url;
    options.relay = true;
    options.batch = train_batch(f->cell.size, FANQ_DELIVERY_BYTES_MAX);
    err = generator_new(&options, f->error, &f->relay);
    if (err != 0)
        return err;
    options.url = f->options->url;
    options.relay = false;
    options.batch = f->cell.batch;
    return generator_new(&options, f->error, &f->broker);
}

static void fanout_close(struct fanout *f)
{
    generator_free(f->broker);
    generator_free(f->relay);
    ceiling_stop(&f->ceiling);
}

/* ---- rounds ---- */

static int run_relay(struct fanout *f, uint32_t measured_ms, struct generator_figures *ret_figures)
{
    struct generator_round round = {.warmup_ms = WARMUP_MS,
                                    .measured_ms = measured_ms,
                                    .has_peer_clock = true,
                                    .peer_clock = f->ceiling.process.cpu_clock};

    return generator_run(f->relay, &round, ret_figures);
}

static int run_broker(struct fanout *f, uint32_t measured_ms, struct generator_figures *ret_figures)
{
    struct generator_round round = {.warmup_ms = WARMUP_MS,
                                    .measured_ms = measured_ms,
                                    .has_peer_clock = true,
                                    .peer_clock = f->options->broker_clock};

    return generator_run(f->broker, &round, ret_figures);
}

static double byte_rate(const struct generator_figures *figures)
{
    return (double)figures->bytes / figures->seconds;
}

/* Twice round the sizes, for one short look is easily disturbed. */
static int choose_write_bytes(struct fanout *f)
{
    static const uint32_t choices[] = {16 * 1024, 64 * 1024, 256 * 1024};
    double best = 0;

    for (uint32_t i = 0; i < 6; i++) {
        struct generator_figures figures;
        uint32_t choice = choices[i % 3];
        int err;

        ceiling_set_write_bytes(&f->ceiling, choice);
        err = run_relay(f, PROBE_MS, &figures);
        if (err != 0)
            return err;
        if (byte_rate(&figures) > best) {
            best = byte_rate(&figures);
            f->write_bytes = choice;
        }
    }
    ceiling_set_write_bytes(&f->ceiling, f->write_bytes);
    return 0;
}

static void note_round(struct fanout *f, uint32_t i, const struct generator_figures *broker,
                       const struct generator_figures *relay)
{
    double broker_cpu_per_byte = broker->peer_seconds / (double)broker->bytes;
    double relay_cpu_per_byte = relay->peer_seconds / (double)relay->bytes;

    f->delivered_per_s[i] = (double)broker->delivered / broker->seconds;
    f->bytes_per_s[i] = byte_rate(broker);
    f->ceiling_bytes_per_s[i] = byte_rate(relay);
    f->ratio[i] = byte_rate(broker) / byte_rate(relay);
    f->cpu_ratio[i] = relay_cpu_per_byte / broker_cpu_per_byte;
    f->broker_cpu[i] = broker->peer_seconds / broker->seconds;
    f->ceiling_cpu[i] = relay->peer_seconds / relay->seconds;
    f->consumer_cpu[i] = broker->consumer_seconds / broker->seconds;
    f->publisher_cpu[i] = broker->publisher_seconds / broker->seconds;
    f->delivered += broker->round_delivered;
    f->bytes += broker->round_bytes;
}

static int fanout_rounds(struct fanout *f)
{
    uint32_t measured_ms = f->options->seconds > 0 ? (uint32_t)(f->options->seconds * 1000) : MEASURED_MS;

    for (uint32_t i = 0; i < f->options->round_count; i++) {
        struct generator_figures broker, relay;
        int err;

        report_progress("fanout: %zu bytes to %u subscribers, batches of %u: round %u of %u", f->cell.size,
                        f->cell.subscriber_count, f->cell.batch, i + 1, f->options->round_count);
        err = run_broker(f, measured_ms, &broker);
        if (err == 0)
            err = run_relay(f, measured_ms, &relay);
        if (err == 0 && (broker.bytes == 0 || relay.bytes == 0))
            err = bench_fail(f->error, FANQ_ERR_TIMEOUT, "nothing was delivered in %u ms", measured_ms);
        if (err != 0)
            return err;
        note_round(f, i, &broker, &relay);
    }
    return 0;
}

/* ---- the row ---- */

static void fanout_report(struct fanout *f)
{
    uint32_t n = f->options->round_count;
    double bodies = (double)f->delivered * (double)f->cell.size;
    const struct figure row[] = {
        {"case", "case", FIGURE_TEXT, .text = "fanout"},
        {"size", "bytes", FIGURE_COUNT, .value = (double)f->cell.size},
        {"subscribers", "queues", FIGURE_COUNT, .value = f->cell.subscriber_count},
        {"batch", "batch", FIGURE_COUNT, .value = f->cell.batch},
        {"delivered_per_s", "messages/s", FIGURE_RATE, .value = median(f->delivered_per_s, n)},
        {"bytes_per_s", "bytes/s", FIGURE_RATE, .value = median(f->bytes_per_s, n)},
        {"ceiling_bytes_per_s", "ceiling B/s", FIGURE_RATE, .value = median(f->ceiling_bytes_per_s, n)},
        {"ratio", "ratio", FIGURE_RATIO, .value = median(f->ratio, n)},
        {"cpu_ratio", "CPU ratio", FIGURE_RATIO, .value = median(f->cpu_ratio, n)},
        {"overhead_bytes_per_message", "overhead B", FIGURE_RATIO,
         .value = ((double)f->bytes - bodies) / (double)f->delivered},
        {"broker_cpu", "broker CPU", FIGURE_RATIO, .value = median(f->broker_cpu, n)},
        {"ceiling_cpu", "ceiling CPU", FIGURE_RATIO, .value = median(f->ceiling_cpu, n)},
        {"consumer_cpu", NULL, FIGURE_RATIO, .value = median(f->consumer_cpu, n)},
        {"publisher_cpu", NULL, FIGURE_RATIO, .value = median(f->publisher_cpu, n)},
        {"ceiling_write_bytes", NULL, FIGURE_COUNT, .value = f->write_bytes},
        {"rounds", NULL, FIGURE_COUNT, .value = n},
    };

    report_row(row, sizeof row / sizeof row[0]);
}

static int fanout_cell(const struct case_options *options, struct bench_error *error, struct cell cell)
{
    struct fanout f = {.options = options, .error = error, .cell = cell};
    int err = fanout_open(&f);

    if (err == 0)
        err = choose_write_bytes(&f);
    if (err == 0)
        err = fanout_rounds(&f);
    if (err == 0)
        fanout_report(&f);
    fanout_close(&f);
    return err;
}

/* ---- the cells ---- */

static const size_t sizes[] = {16, 128, 1024, 16384};
static const uint32_t subscriber_counts[] = {1, 4, 16, 64};

static struct cell cell_batched(size_t size, uint32_t subscriber_count)
{
    return (struct cell){size, subscriber_count, train_batch(size, TRAIN_BATCH_BYTES_MAX)};
}

static int usual_cells(const struct case_options *options, struct bench_error *error)
{
    const struct cell cells[] = {
        cell_batched(16, 16),    cell_batched(128, 16), cell_batched(1024, 16),
        cell_batched(16384, 16), cell_batched(128, 1),  cell_batched(128, 4),
        cell_batched(128, 64),   {16, 16, 1},           {128, 16, 1},
    };
    int err = 0;

    for (size_t i = 0; i < sizeof cells / sizeof cells[0] && err == 0; i++)
        err = fanout_cell(options, error, cells[i]);
    return err;
}

static int all_cells(const struct case_options *options, struct bench_error *error)
{
    int err = 0;

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (size_t j = 0; j < sizeof subscriber_counts / sizeof subscriber_counts[0]; j++) {
            struct cell one = {sizes[i], subscriber_counts[j], 1};

            if (err == 0)
                err = fanout_cell(options, error, cell_batched(sizes[i], subscriber_counts[j]));
            if (err == 0)
                err = fanout_cell(options, error, one);
        }
    return err;
}

int case_fanout(const struct case_options *options, struct bench_error *error)
{
    if (options->has_size || options->subscriber_count > 0 || options->batch > 0) {
        size_t size = options->has_size ? options->size : 128;
        uint32_t subscribers = options->subscriber_count > 0 ? options->subscriber_count : 16;
        struct cell cell = cell_batched(size, subscribers);

        if (options->batch > 0)
            cell.batch = options->batch;
        return fanout_cell(options, error, cell);
    }
    return options->full ? all_cells(options, error) : usual_cells(options, error);
}
