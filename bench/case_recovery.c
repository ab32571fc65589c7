/* How long a broker that was killed takes to answer again, with messages waiting in its log.
 *
 * Time runs from before the program is started until its first PING is answered. The files are where the kill left
 * them, in the system's memory too, so this is the broker's own time and not the disk's. The second start of a round is
 * without checkpoints: it has to go through the whole log. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cases.h"
#include "control.h"
#include "filler.h"
#include "link.h"
#include "proto/fanq_error.h"
#include "report.h"
#include "scratch.h"

enum { SIZE = 100, BATCH = 256, POLL_US = 1000, READY_MS_MAX = 120 * 1000 };

/* The log, as much again for what is prepared, and some room. */
#define DISK_FREE_MIN(messages) (1024ull * 1024 * 1024 + 2 * (messages)*2 * SIZE)

struct cell {
    uint64_t messages;
    uint32_t queue_count;
    uint32_t batch;
    uint32_t round_count;
};

/* The figures of one way to start, of all rounds. */
struct starts {
    double seconds[ROUNDS_MAX];
    double resident_bytes[ROUNDS_MAX]; /* above an empty broker's */
    double peak_bytes[ROUNDS_MAX];
};

struct recovery {
    const struct case_options *options;
    struct bench_error *error;
    struct cell cell;
    uint64_t empty_bytes, empty_peak_bytes; /* memory of a broker that has nothing */
    struct scratch scratch;
    char directory[PATH_MAX];
    struct process broker;
    uint64_t log_bytes;
    uint64_t checkpoints; /* that were made while filling */
    double filled_per_s[ROUNDS_MAX];
    struct starts usual;
    struct starts replayed; /* without checkpoints */
};

/* ---- starting and waiting ---- */

static bool answers_ping(const char *url)
{
    struct bench_error refused = {0};
    struct fanq_request ping = {.op = FANQ_OP_PING};
    struct control control;
    bool answered = control_open(&control, url, &refused) == 0 && control_call(&control, &ping, NULL) == 0;

    control_close(&control);
    return answered;
}

static int start_and_wait(struct recovery *r, uint16_t port, double *ret_seconds)
{
    struct process_broker broker = {.fanqd = r->options->fanqd, .directory = r->directory, .port = port};
    uint64_t start_ns = clock_ns();
    int err = process_launch_broker(&r->broker, &broker, r->error);

    while (err == 0 && !answers_ping(r->broker.url)) {
        if (process_ended(&r->broker))
            err = bench_fail(r->error, FANQ_ERR_IO, "the broker ended before it took connections");
        else if (clock_ns() > start_ns + READY_MS_MAX * 1000000ull)
            err = bench_fail(r->error, FANQ_ERR_TIMEOUT, "the broker was not ready within %d s",
                             READY_MS_MAX / 1000);
        else
            usleep(POLL_US);
    }
    *ret_seconds = (double)(clock_ns() - start_ns) / 1e9;
    return err;
}

/* A broker on a new directory of that name. */
static int start_new(struct recovery *r, const char *name)
{
    scratch_path(&r->scratch, name, r->directory);
    return process_start_broker(
        &r->broker, &(struct process_broker){.fanqd = r->options->fanqd, .directory = r->directory},
        r->error);
}

/* What a broker needs that has nothing to keep, started on a directory that a kill left like the others. */
static int measure_empty(struct recovery *r)
{
    double seconds;
    uint16_t port;
    int err = start_new(r, "empty");

    if (err != 0)
        return err;
    port = process_port(&r->broker);
    process_kill(&r->broker);
    err = start_and_wait(r, port, &seconds);
    if (err == 0)
        err = process_memory(&r->broker, r->error, &r->empty_bytes, &r->empty_peak_bytes);
    process_stop(&r->broker);
    return err;
}

/* ---- a round ---- */

static int note_log(struct recovery *r)
{
    struct fanq_stats_reply stats;
    struct control control;
    int err = control_open(&control, r->broker.url, r->error);

    if (err == 0)
        err = control_stats(&control, &stats);
    if (err == 0) {
        r->log_bytes = stats_value(&stats, "log_bytes");
        r->checkpoints = stats_value(&stats, "checkpoints");
    }
    control_close(&control);
    return err;
}

/* Starts on what a killed broker left, measures, and looks whether all is there. */
static int measure_start(struct recovery *r, struct filler *filler, uint16_t port, struct starts *starts,
                         uint32_t i)
{
    uint64_t resident_bytes = 0, peak_bytes = 0;
    int err = start_and_wait(r, port, &starts->seconds[i]);

    if (err == 0)
        err = process_memory(&r->broker, r->error, &resident_bytes, &peak_bytes);
    starts->resident_bytes[i] = (double)resident_bytes - (double)r->empty_bytes;
    starts->peak_bytes[i] = (double)peak_bytes - (double)r->empty_peak_bytes;
    filler->url = r->broker.url;
    return err == 0 ? filler_check(filler, r->error) : err;
}

/* Nothing of the log may have been reused: all of it is needed now. */
static int remove_checkpoints(struct recovery *r)
{
    static const char *const names[] = {"checkpoint-a", "checkpoint-b"};
    char path[PATH_MAX + 64];

    (void)snprintf(path, sizeof path, "%s/log-0000000000000001", r->directory);
    if (access(path, F_OK) != 0)
        return bench_fail(r->error, FANQ_ERR_IO,
                          "the broker reused the beginning of its log: %s is not there", path);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", r->directory, names[i]);
        (void)unlink(path); /* there may be none yet */
    }
    return 0;
}

static int recovery_round(struct recovery *r, uint32_t i)
{
    struct filler filler = {.name = "bench-recovery",
                            .queue_count = r->cell.queue_count,
                            .batch = r->cell.batch,
                            .messages = r->cell.messages,
                            .size = r->options->has_size ? r->options->size : SIZE};
    double seconds = 0;
    uint16_t port;
    int err = start_new(r, "data");

    if (err != 0)
        return err;
    port = process_port(&r->broker);
    filler.url = r->broker.url;
    err = filler_run(&filler, r->error, &seconds);
    r->filled_per_s[i] = (double)r->cell.messages / seconds;
    if (err == 0)
        err = note_log(r);
    process_kill(&r->broker);
    if (err == 0)
        err = measure_start(r, &filler, port, &r->usual, i);
    process_kill(&r->broker);
    if (err == 0)
        err = remove_checkpoints(r);
    if (err == 0)
        err = measure_start(r, &filler, port, &r->replayed, i);
    process_stop(&r->broker);
    return err;
}

/* Each round has a directory of its own: what the one before left is not to be kept until the end. */
static int recovery_rounds(struct recovery *r)
{
    int err = 0;

    for (uint32_t i = 0; i < r->cell.round_count && err == 0; i++) {
        report_progress("recovery: %llu messages in %u queues: round %u of %u",
                        (unsigned long long)r->cell.messages, r->cell.queue_count, i + 1,
                        r->cell.round_count);
        err = scratch_open(&r->scratch, DISK_FREE_MIN(r->cell.messages), r->error);
        if (err == 0 && i == 0)
            err = measure_empty(r);
        if (err == 0)
            err = recovery_round(r, i);
        process_kill(&r->broker); /* after a failure */
        scratch_close(&r->scratch);
    }
    return err;
}

/* ---- the rows ---- */

static void recovery_report(struct recovery *r, struct starts *starts, bool checkpoint)
{
    uint32_t n = r->cell.round_count;
    double seconds = median(starts->seconds, n);
    const struct figure row[] = {
        {"case", "case", FIGURE_TEXT, .text = "recovery"},
        {"messages", "messages", FIGURE_COUNT, .value = (double)r->cell.messages},
        {"queues", "queues", FIGURE_COUNT, .value = r->cell.queue_count},
        {"batch", "batch", FIGURE_COUNT, .value = r->cell.batch},
        {"checkpoint", "checkpoint", FIGURE_FLAG, .value = checkpoint},
        {"seconds_to_ready", "s to ready", FIGURE_RATIO, .value = seconds},
        {"rss_above_empty_bytes", "memory B", FIGURE_RATE, .value = median(starts->resident_bytes, n)},
        {"peak_above_empty_bytes", "peak B", FIGURE_RATE, .value = median(starts->peak_bytes, n)},
        {"log_bytes", "log B", FIGURE_RATE, .value = (double)r->log_bytes},
        {"seconds_per_gb", "s per GB", FIGURE_RATIO, .value = seconds * 1e9 / (double)r->log_bytes},
        {"filled_per_s", "filled/s", FIGURE_RATE, .value = median(r->filled_per_s, n)},
        {"checkpoints", NULL, FIGURE_COUNT, .value = (double)r->checkpoints},
        {"rounds", NULL, FIGURE_COUNT, .value = n},
    };

    report_row(row, sizeof row / sizeof row[0]);
}

static int recovery_cell(const struct case_options *options, struct bench_error *error, struct cell cell)
{
    struct recovery r = {.options = options, .error = error, .cell = cell, .broker.log_fd = -1};
    int err = recovery_rounds(&r);

    if (err == 0) {
        recovery_report(&r, &r.usual, true);
        recovery_report(&r, &r.replayed, false);
    }
    return err;
}

int case_recovery(const struct case_options *options, struct bench_error *error)
{
    const struct cell cells[] = {
        {1000000, 1, BATCH, options->round_count},
        {1000000, 10, BATCH, options->round_count},
        {1000000, 1, 1, 1},
        {10000000, 1, BATCH, 1},
        {10000000, 10, BATCH, 1},
    };
    size_t count = options->full ? sizeof cells / sizeof cells[0] : 2;
    int err = 0;

    for (size_t i = 0; i < count && err == 0; i++)
        err = recovery_cell(options, error, cells[i]);
    return err;
}
