/* Fan-out with everything on the disk before it is answered: one publisher, N queues with a pushed subscriber each.
 *
 * Beside three things, in turn: the disk with writes of the size that the broker's had in the same round (so what it
 * could write at best, as it gathers commits), the disk with writes of 256 KiB (so whether it gathers well), and the
 * same case in memory (so what the log costs where the disk is fast). */
#include <time.h>

#include "cases.h"
#include "control.h"
#include "disk_probe.h"
#include "generator.h"
#include "link.h"
#include "proto/fanq_error.h"
#include "report.h"
#include "scratch.h"
#include "train.h"

enum {
    SIZE = 128,
    QUEUES = 4,
    ANSWER_WINDOW_BYTES = 256 * 1024, /* under way to the disk: half is written while half is made */
    WINDOW_BYTES = 2048 * 1024,       /* under way to the subscribers */
    TRAIN_BYTES = 32 * 1024,
    READY_MS = 2000, /* uncounted, until the broker's files are written a second time */
    WARMUP_MS = 200,
    MEASURED_MS = 1000,
    SETTLE_MS = 200, /* what a broker does after the load is not to meet the probe */
    PROBE_MS = 500,
    LARGE_WRITE_BYTES = 256 * 1024,
    ALIGNMENT = 64
};

#define DISK_FREE_MIN (2ull * 1024 * 1024 * 1024)

/* The log's figures at one time. */
struct mark {
    uint64_t at_ns, bytes, syncs, sync_us;
};

struct durable {
    const struct case_options *options;
    struct bench_error *error;
    size_t size;
    uint32_t queue_count;
    struct scratch scratch;
    struct process broker;
    struct control control;
    struct disk_probe probe;
    struct generator *on_disk;
    struct generator *in_memory;
    struct mark marks[2]; /* of the round: its beginning and end */
    uint32_t mark_count;

    double published_per_s[ROUNDS_MAX];
    double delivered_per_s[ROUNDS_MAX];
    double memory_per_s[ROUNDS_MAX];
    double log_bytes_per_s[ROUNDS_MAX];
    double bytes_per_sync[ROUNDS_MAX];
    double ceiling_bytes_per_s[ROUNDS_MAX]; /* of writes as long as the broker's */
    double ceiling_256k_bytes_per_s[ROUNDS_MAX];
    double ratio[ROUNDS_MAX];
    double ratio_256k[ROUNDS_MAX];
    double ratio_memory[ROUNDS_MAX];
    double sync_share[ROUNDS_MAX]; /* of the time: the log thread was in fdatasync */
    double broker_cpu[ROUNDS_MAX]; /* of one core */
    uint64_t syncs;
};

/* ---- setting up ---- */

static int durable_open(struct durable *d)
{
    struct generator_options load = {
        .name = "bench-durable",
        .size = d->size,
        .subscriber_count = d->queue_count,
        .batch = d->options->batch > 0 ? d->options->batch : train_batch(d->size, TRAIN_BATCH_BYTES_MAX),
        .window_bytes = WINDOW_BYTES,
        .answer_window_bytes = ANSWER_WINDOW_BYTES,
        .train_bytes = TRAIN_BYTES};
    char directory[PATH_MAX], probe[PATH_MAX];
    int err = scratch_open(&d->scratch, DISK_FREE_MIN, d->error);

    if (err != 0)
        return err;
    scratch_path(&d->scratch, "data", directory);
    scratch_path(&d->scratch, "probe", probe);
    err = process_start_broker(
        &d->broker, &(struct process_broker){.fanqd = d->options->fanqd, .directory = directory}, d->error);
    if (err == 0)
        err = control_open(&d->control, d->broker.url, d->error);
    if (err == 0)
        err = disk_probe_open(&d->probe, probe, d->error);
    load.url = d->broker.url;
    if (err == 0)
        err = generator_new(&load, d->error, &d->on_disk);
    load.url = d->options->url;
    return err == 0 ? generator_new(&load, d->error, &d->in_memory) : err;
}

static void durable_close(struct durable *d)
{
    generator_free(d->in_memory);
    generator_free(d->on_disk);
    control_close(&d->control);
    disk_probe_close(&d->probe);
    process_stop(&d->broker);
    scratch_close(&d->scratch);
}

/* ---- rounds ---- */

static int take_mark(void *context)
{
    struct durable *d = context;
    struct fanq_stats_reply stats;
    int err = control_stats(&d->control, &stats);

    if (err == 0)
        d->marks[d->mark_count++] = (struct mark){.at_ns = clock_ns(),
                                                  .bytes = stats_value(&stats, "log_bytes"),
                                                  .syncs = stats_value(&stats, "log_syncs"),
                                                  .sync_us = stats_value(&stats, "log_sync_us_total")};
    return err;
}

static int run_on_disk(struct durable *d, uint32_t measured_ms, struct generator_figures *ret_figures)
{
    struct generator_round round = {.warmup_ms = WARMUP_MS,
                                    .measured_ms = measured_ms,
                                    .has_peer_clock = true,
                                    .peer_clock = d->broker.cpu_clock,
                                    .mark = take_mark,
                                    .mark_context = d};
    struct timespec settle = {0, SETTLE_MS * 1000000};
    int err;

    d->mark_count = 0;
    err = generator_run(d->on_disk, &round, ret_figures);
    if (err == 0 && d->marks[1].syncs == d->marks[0].syncs)
        err = bench_fail(d->error, FANQ_ERR_IO, "the broker synced nothing in %u ms", measured_ms);
    nanosleep(&settle, NULL);
    return err;
}

static int run_in_memory(struct durable *d, uint32_t measured_ms, struct generator_figures *ret_figures)
{
    struct generator_round round = {.warmup_ms = WARMUP_MS, .measured_ms = measured_ms};

    return generator_run(d->in_memory, &round, ret_figures);
}

/* The broker's writes of the round, as long as they were on average. */
static uint32_t write_bytes(const struct durable *d)
{
    double bytes =
        (double)(d->marks[1].bytes - d->marks[0].bytes) / (double)(d->marks[1].syncs - d->marks[0].syncs);
    uint32_t rounded = ((uint32_t)bytes + ALIGNMENT / 2) / ALIGNMENT * ALIGNMENT;

    if (rounded > DISK_PROBE_WRITE_BYTES_MAX)
        return DISK_PROBE_WRITE_BYTES_MAX;
    return rounded > ALIGNMENT ? rounded : ALIGNMENT;
}

static void note_round(struct durable *d, uint32_t i, const struct generator_figures *on_disk,
                       const struct generator_figures *in_memory)
{
    double log_seconds = (double)(d->marks[1].at_ns - d->marks[0].at_ns) / 1e9;

    d->published_per_s[i] = (double)on_disk->published / on_disk->seconds;
    d->delivered_per_s[i] = (double)on_disk->delivered / on_disk->seconds;
    d->memory_per_s[i] = (double)in_memory->delivered / in_memory->seconds;
    d->log_bytes_per_s[i] = (double)(d->marks[1].bytes - d->marks[0].bytes) / log_seconds;
    d->bytes_per_sync[i] = write_bytes(d);
    d->ratio[i] = d->log_bytes_per_s[i] / d->ceiling_bytes_per_s[i];
    d->ratio_256k[i] = d->log_bytes_per_s[i] / d->ceiling_256k_bytes_per_s[i];
    d->ratio_memory[i] = d->delivered_per_s[i] / d->memory_per_s[i];
    d->sync_share[i] = (double)(d->marks[1].sync_us - d->marks[0].sync_us) / 1e6 / log_seconds;
    d->broker_cpu[i] = on_disk->peer_seconds / on_disk->seconds;
    d->syncs += d->marks[1].syncs - d->marks[0].syncs;
}

static int durable_round(struct durable *d, uint32_t i)
{
    uint32_t measured_ms = d->options->seconds > 0 ? (uint32_t)(d->options->seconds * 1000) : MEASURED_MS;
    struct generator_figures on_disk, in_memory;
    int err = run_on_disk(d, measured_ms, &on_disk);

    if (err == 0)
        err = disk_probe_run(&d->probe, write_bytes(d), PROBE_MS, d->error, &d->ceiling_bytes_per_s[i]);
    if (err == 0)
        err =
            disk_probe_run(&d->probe, LARGE_WRITE_BYTES, PROBE_MS, d->error, &d->ceiling_256k_bytes_per_s[i]);
    if (err == 0)
        err = run_in_memory(d, measured_ms / 2, &in_memory);
    if (err == 0 && (on_disk.delivered == 0 || in_memory.delivered == 0))
        err = bench_fail(d->error, FANQ_ERR_TIMEOUT, "nothing was delivered in %u ms", measured_ms);
    if (err == 0)
        note_round(d, i, &on_disk, &in_memory);
    return err;
}

static int durable_rounds(struct durable *d)
{
    struct generator_figures ignored;
    int err;

    report_progress("durable: %zu bytes to %u queues: making ready", d->size, d->queue_count);
    err = run_on_disk(d, READY_MS, &ignored);
    for (uint32_t i = 0; i < d->options->round_count && err == 0; i++) {
        report_progress("durable: %zu bytes to %u queues: round %u of %u", d->size, d->queue_count, i + 1,
                        d->options->round_count);
        err = durable_round(d, i);
    }
    return err;
}

/* ---- the row ---- */

static int durable_report(struct durable *d)
{
    uint32_t n = d->options->round_count;
    struct fanq_stats_reply stats = {0};
    int err = control_stats(&d->control, &stats);
    const struct figure row[] = {
        {"case", "case", FIGURE_TEXT, .text = "durable"},
        {"size", "bytes", FIGURE_COUNT, .value = (double)d->size},
        {"queues", "queues", FIGURE_COUNT, .value = d->queue_count},
        {"published_per_s", "published/s", FIGURE_RATE, .value = median(d->published_per_s, n)},
        {"delivered_per_s", "delivered/s", FIGURE_RATE, .value = median(d->delivered_per_s, n)},
        {"fsyncs", "fsyncs", FIGURE_COUNT, .value = (double)d->syncs},
        {"bytes_per_sync", "bytes/sync", FIGURE_RATE, .value = median(d->bytes_per_sync, n)},
        {"log_bytes_per_s", "log B/s", FIGURE_RATE, .value = median(d->log_bytes_per_s, n)},
        {"disk_ceiling_bytes_per_s", "disk B/s", FIGURE_RATE, .value = median(d->ceiling_bytes_per_s, n)},
        {"disk_ceiling_256k_bytes_per_s", "256k B/s", FIGURE_RATE,
         .value = median(d->ceiling_256k_bytes_per_s, n)},
        {"memory_delivered_per_s", "in memory/s", FIGURE_RATE, .value = median(d->memory_per_s, n)},
        {"ratio", "ratio", FIGURE_RATIO, .value = median(d->ratio, n)},
        {"ratio_256k", "to 256k", FIGURE_RATIO, .value = median(d->ratio_256k, n)},
        {"ratio_memory", "to memory", FIGURE_RATIO, .value = median(d->ratio_memory, n)},
        {"sync_share", "in sync", FIGURE_RATIO, .value = median(d->sync_share, n)},
        {"broker_cpu", "broker CPU", FIGURE_RATIO, .value = median(d->broker_cpu, n)},
        {"sync_us_max", NULL, FIGURE_COUNT, .value = (double)stats_value(&stats, "log_sync_us_max")},
        {"turn_us_max", NULL, FIGURE_COUNT, .value = (double)stats_value(&stats, "turn_us_max")},
        {"turn_cpu_us_max", NULL, FIGURE_COUNT, .value = (double)stats_value(&stats, "turn_cpu_us_max")},
        {"file_system", NULL, FIGURE_TEXT, .text = d->scratch.file_system},
        {"rounds", NULL, FIGURE_COUNT, .value = n},
    };

    if (err == 0)
        report_row(row, sizeof row / sizeof row[0]);
    return err;
}

static int durable_cell(const struct case_options *options, struct bench_error *error, size_t size,
                        uint32_t queue_count)
{
    struct durable d = {.options = options,
                        .error = error,
                        .size = size,
                        .queue_count = queue_count,
                        .broker.log_fd = -1,
                        .control.fd = -1,
                        .probe.fd = -1};
    int err = durable_open(&d);

    if (err == 0)
        err = durable_rounds(&d);
    if (err == 0)
        err = durable_report(&d);
    durable_close(&d);
    return err;
}

int case_durable(const struct case_options *options, struct bench_error *error)
{
    static const size_t sizes[] = {16, 128, 1024, 16384};
    uint32_t queue_count = options->subscriber_count > 0 ? options->subscriber_count : QUEUES;
    int err = 0;

    if (!options->full || options->has_size)
        return durable_cell(options, error, options->has_size ? options->size : SIZE, queue_count);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0] && err == 0; i++)
        err = durable_cell(options, error, sizes[i], queue_count);
    return err;
}
