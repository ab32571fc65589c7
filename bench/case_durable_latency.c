/* How long one publisher waits for an answer that means "on the disk": send, wait, send the next.
 *
 * Beside it the same way without a broker (disk_path.h), with as many bytes to read, to write and to answer. They take
 * turns of a tenth of a second, because a disk's speed wanders. */
#include <stdlib.h>
#include <unistd.h>

#include "cases.h"
#include "control.h"
#include "disk_path.h"
#include "disk_probe.h"
#include "exchange.h"
#include "histogram.h"
#include "link.h"
#include "proto/fanq_error.h"
#include "report.h"
#include "scratch.h"

enum { SIZE = 128, WARMUP_SAMPLES = 20, TURNS = 8 /* of each, in a round */, TURN_MS = 100, ALIGNMENT = 64 };

#define DISK_FREE_MIN (1024ull * 1024 * 1024)

static const char queue[] = "bench-durable-latency";

struct durable_latency;

/* One of the two things compared. */
struct side {
    int (*exchange)(struct durable_latency *l); /* sends one message and waits for its answer */
    struct histogram round_ns;
    struct histogram all_ns;
};

struct durable_latency {
    const struct case_options *options;
    struct bench_error *error;
    struct scratch scratch;
    struct process broker;
    struct control control;
    struct control sender;
    struct ceiling path;
    int path_fd;
    struct exchange_frame send;
    struct exchange_frame answer; /* the broker's last */
    uint32_t write_bytes;         /* of the log, for one message */
    struct side with_broker;
    struct side without;
    double ratio[ROUNDS_MAX];
};

/* ---- one exchange ---- */

static int exchange_with_broker(struct durable_latency *l)
{
    if (link_write(l->sender.fd, l->send.data, l->send.bytes) != 0)
        return bench_fail(l->error, FANQ_ERR_NOT_CONNECTED, "the broker closed a connection");
    return exchange_read(l->sender.fd, l->error, &l->answer);
}

static int exchange_without(struct durable_latency *l)
{
    uint8_t answer[EXCHANGE_FRAME_BYTES_MAX];
    int err = link_write(l->path_fd, l->send.data, l->send.bytes);

    if (err == 0)
        err = link_read(l->path_fd, answer, l->answer.bytes);
    return err == 0 ? 0 : bench_fail(l->error, err, "the probe of the path to the disk has ended");
}

/* ---- turns and rounds ---- */

/* The first samples wake up what has fallen asleep, and do not count. */
static int take_turn(struct durable_latency *l, struct side *side)
{
    uint64_t until_ns = UINT64_MAX, start_ns;
    int err = 0;

    for (int i = 0; err == 0 && (start_ns = clock_ns()) < until_ns; i++) {
        if (i == WARMUP_SAMPLES)
            until_ns = start_ns + TURN_MS * 1000000ull;
        err = side->exchange(l);
        if (i >= WARMUP_SAMPLES)
            histogram_add(&side->round_ns, clock_ns() - start_ns, 1);
    }
    return err;
}

static double p50_of_round(struct side *side)
{
    double ns = (double)histogram_quantile(&side->round_ns, 0.5);

    histogram_merge(&side->all_ns, &side->round_ns);
    histogram_init(&side->round_ns);
    return ns;
}

static int latency_round(struct durable_latency *l, uint32_t i)
{
    int err = 0;

    for (int turn = 0; turn < TURNS && err == 0; turn++) {
        err = take_turn(l, &l->with_broker);
        if (err == 0)
            err = exchange_check_taken(&l->answer, l->error);
        if (err == 0)
            err = take_turn(l, &l->without);
    }
    if (err == 0)
        l->ratio[i] = p50_of_round(&l->with_broker) / p50_of_round(&l->without);
    return err == 0 ? control_purge(&l->control, queue) : err;
}

static int log_figures(struct durable_latency *l, uint64_t *ret_bytes, uint64_t *ret_syncs)
{
    struct fanq_stats_reply stats;
    int err = control_stats(&l->control, &stats);

    if (err == 0) {
        *ret_bytes = stats_value(&stats, "log_bytes");
        *ret_syncs = stats_value(&stats, "log_syncs");
    }
    return err;
}

/* What the broker writes for a message, from a turn that does not count; the other side writes as much from then on. */
static int learn_write_bytes(struct durable_latency *l)
{
    uint64_t bytes_before = 0, syncs_before = 0, bytes = 0, syncs = 0;
    int err = log_figures(l, &bytes_before, &syncs_before);

    if (err == 0)
        err = take_turn(l, &l->with_broker);
    if (err == 0)
        err = log_figures(l, &bytes, &syncs);
    if (err != 0)
        return err;
    if (syncs == syncs_before)
        return bench_fail(l->error, FANQ_ERR_IO, "the broker answered without a sync");
    bytes = (bytes - bytes_before) / (syncs - syncs_before);
    l->write_bytes = (uint32_t)(bytes + ALIGNMENT / 2) / ALIGNMENT * ALIGNMENT;
    if (l->write_bytes == 0 || l->write_bytes > DISK_PROBE_WRITE_BYTES_MAX)
        return bench_fail(l->error, FANQ_ERR_IO, "the broker wrote %u bytes for one message", l->write_bytes);
    histogram_init(&l->with_broker.round_ns);
    return 0;
}

static int path_open(struct durable_latency *l)
{
    char path[PATH_MAX];
    struct disk_path_options options = {
        .path = path, .request_bytes = l->send.bytes, .answer_bytes = l->answer.bytes};
    int err;

    scratch_path(&l->scratch, "probe", path);
    err = disk_path_start(&l->path, &options, l->error);
    if (err != 0)
        return err;
    ceiling_set_write_bytes(&l->path, l->write_bytes);
    return link_connect(l->path.process.url, l->error, &l->path_fd);
}

static int latency_rounds(struct durable_latency *l)
{
    int err = control_queue_create(&l->control, queue);

    if (err == 0)
        err =
            exchange_prepare_send(queue, l->options->has_size ? l->options->size : SIZE, l->error, &l->send);
    if (err == 0)
        err = learn_write_bytes(l);
    if (err == 0)
        err = path_open(l);
    for (uint32_t i = 0; i < l->options->round_count && err == 0; i++) {
        report_progress("durable_latency: round %u of %u", i + 1, l->options->round_count);
        err = latency_round(l, i);
    }
    return err;
}

/* ---- the row ---- */

static double quantile_us(const struct side *side, double fraction)
{
    return (double)histogram_quantile(&side->all_ns, fraction) / 1000;
}

static void latency_report(struct durable_latency *l)
{
    const struct figure row[] = {
        {"case", "case", FIGURE_TEXT, .text = "durable_latency"},
        {"size", "bytes", FIGURE_COUNT, .value = (double)(l->options->has_size ? l->options->size : SIZE)},
        {"write_bytes", "written", FIGURE_COUNT, .value = l->write_bytes},
        {"p50_us", "p50 us", FIGURE_RATIO, .value = quantile_us(&l->with_broker, 0.5)},
        {"p99_us", "p99 us", FIGURE_RATIO, .value = quantile_us(&l->with_broker, 0.99)},
        {"p999_us", "p99.9 us", FIGURE_RATIO, .value = quantile_us(&l->with_broker, 0.999)},
        {"probe_p50_us", "probe p50", FIGURE_RATIO, .value = quantile_us(&l->without, 0.5)},
        {"probe_p99_us", "probe p99", FIGURE_RATIO, .value = quantile_us(&l->without, 0.99)},
        {"probe_p999_us", "probe p99.9", FIGURE_RATIO, .value = quantile_us(&l->without, 0.999)},
        {"ratio", "ratio", FIGURE_RATIO, .value = median(l->ratio, l->options->round_count)},
        {"samples", NULL, FIGURE_COUNT, .value = (double)l->with_broker.all_ns.count},
        {"file_system", NULL, FIGURE_TEXT, .text = l->scratch.file_system},
        {"rounds", NULL, FIGURE_COUNT, .value = l->options->round_count},
    };

    report_row(row, sizeof row / sizeof row[0]);
}

/* ---- from start to end ---- */

static int broker_open(struct durable_latency *l)
{
    char directory[PATH_MAX];
    int err = scratch_open(&l->scratch, DISK_FREE_MIN, l->error);

    if (err != 0)
        return err;
    scratch_path(&l->scratch, "data", directory);
    err = process_start_broker(
        &l->broker, &(struct process_broker){.fanqd = l->options->fanqd, .directory = directory}, l->error);
    if (err == 0)
        err = control_open(&l->control, l->broker.url, l->error);
    return err == 0 ? control_open(&l->sender, l->broker.url, l->error) : err;
}

static void latency_close(struct durable_latency *l)
{
    if (l->path_fd >= 0)
        close(l->path_fd);
    ceiling_stop(&l->path);
    control_close(&l->sender);
    control_close(&l->control);
    process_stop(&l->broker);
    scratch_close(&l->scratch);
}

int case_durable_latency(const struct case_options *options, struct bench_error *error)
{
    struct durable_latency *l = calloc(1, sizeof *l);
    int err;

    if (l == NULL)
        return bench_fail(error, FANQ_ERR_NOMEM, "out of memory");
    l->options = options;
    l->error = error;
    l->path_fd = l->control.fd = l->sender.fd = l->broker.log_fd = l->path.process.log_fd = -1;
    l->with_broker.exchange = exchange_with_broker;
    l->without.exchange = exchange_without;
    for (int i = 0; i < 2; i++) {
        struct side *side = i == 0 ? &l->with_broker : &l->without;

        histogram_init(&side->round_ns);
        histogram_init(&side->all_ns);
    }
    err = broker_open(l);
    if (err == 0)
        err = latency_rounds(l);
    if (err == 0)
        latency_report(l);
    latency_close(l);
    free(l);
    return err;
}
