/* disk: the whole broker on a disk that loses, tears, fills and fails, from a seed.
 *
 *     disk --seeds 1-1000 --ops 2000
 *
 * Turns, commits and the store's work come in any order, so that several commits are under way when the broker dies: with
 * its system, or alone. Each time everything is compared with what the kept commits say (disk_world.h). The disk fills and
 * has room again, and has errors; after them the broker either goes on rightly, or its log ends and what was answered is
 * there at the next start. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk_world.h"

enum { STALL_TURNS_MAX = 100, DRAIN_TURNS = 64, DRAIN_TURN_MS = 10 * 1000, SEGMENTS_LEFT_MAX = 4 };

struct totals {
    uint64_t powers, kills, closes, failures, starts_failed, checkpoints, recovered_from_checkpoint, fetches,
        refusals, moved_bytes;
};

static uint64_t current_seed;
static uint32_t current_ops;
static struct disk_world *current;
static struct totals totals;
static bool tracing;

/* With --trace: what happens to the broker, before what fails. */
static void trace(const struct disk_world *w, const char *what, uint64_t number)
{
    if (tracing)
        fprintf(stderr, "%s %lu: commits %lu, answered %lu, safe %lu; log error %d, %lu operations\n", what,
                number, w->truth.appended, w->truth.told, w->truth.safe, w->error,
                sim_disk_operations(w->disk));
}

static struct disk_options some_options(struct rng *rng)
{
    static const enum writer_sync syncs[] = {WRITER_SYNC_GROUP, WRITER_SYNC_GROUP, WRITER_SYNC_ASYNC,
                                             WRITER_SYNC_NONE};

    return (struct disk_options){
        .sync = syncs[rng_below(rng, 4)],
        .memory_bytes_max = rng_between(rng, 320, 800) * 1024,
        .cache_bytes_max = rng_between(rng, 16, 64) * 1024,
        .disk_bytes_max = rng_chance(rng, 20) ? rng_between(rng, 6, 12) * (uint64_t)DISK_SEGMENT_BYTES : 0,
        .record_bytes_max = rng_chance(rng, 50) ? 4000 : 400,
        .writer_percent = rng_between(rng, 20, 95),
        .store_percent = rng_between(rng, 20, 95),
        .churn_percent = rng_between(rng, 3, 30),
        .drain_percent = rng_between(rng, 0, 70)};
}

/* ---- faults ---- */

static void some_fault(struct disk_world *w)
{
    static const int errors[] = {EIO, ENOSPC, EDQUOT, EINTR, 0};
    static const uint32_t sets[] = {SIM_DISK_SYNCS, SIM_DISK_SET(SIM_DISK_WRITE), SIM_DISK_CHANGES,
                                    SIM_DISK_ALL};

    struct sim_disk_fault fault = {.at = sim_disk_operations(w->disk) + 1 + rng_skewed(&w->rng, 0, 60),
                                   .operations = sets[rng_below(&w->rng, 4)],
                                   .sticky = rng_chance(&w->rng, 30),
                                   .error = errors[rng_below(&w->rng, 5)]};

    sim_disk_fault(w->disk, &fault);
    if (tracing)
        fprintf(stderr, "fault %d at %lu, of %x%s\n", fault.error, fault.at, fault.operations,
                fault.sticky ? ", sticky" : "");
}

static void no_faults(struct disk_world *w)
{
    sim_disk_fault(w->disk, &(struct sim_disk_fault){0});
    sim_disk_set_capacity(w->disk, UINT64_MAX);
}

/* ---- starts and ends ---- */

/* Until it starts: with a fault on the way it may have to be tried again. */
static void start(struct disk_world *w, uint32_t fault_percent)
{
    int err;

    w->now_ms = 1000 + rng_below(&w->rng, 1000);
    w->truth.wall_ms += rng_skewed(&w->rng, 0, 10000);
    if (rng_chance(&w->rng, fault_percent))
        some_fault(w);
    while ((err = world_start(w)) != 0) {
        SIM_CHECK(sim_disk_strikes(w->disk) > 0 || sim_disk_stopped(w->disk),
                  "the broker does not start: %s (%s)", w->error_text, w->report);
        totals.starts_failed++;
        no_faults(w);
        world_kill(w);
    }
    trace(w, "start", log_recovered(w->log)->checkpoint_number);
    SIM_CHECK(w->reports == 0 || sim_disk_strikes(w->disk) > 0, "something is said to be wrong: %s",
              w->report);
    no_faults(w);
    totals.recovered_from_checkpoint += log_recovered(w->log)->checkpoint_number > 0;
}

static void look(struct disk_world *w)
{
    uint8_t *before, *after;
    uint64_t before_bytes, after_bytes;

    world_look(w);
    before = world_checkpoint(w, &before_bytes);
    if (rng_chance(&w->rng, 30)) {
        world_close(w);
        SIM_CHECK(world_start(w) == 0, "the broker does not start again: %s", w->error_text);
        after = world_checkpoint(w, &after_bytes);
        SIM_CHECK(after_bytes == before_bytes && memcmp(before, after, after_bytes) == 0,
                  "started twice, the state is another");
        free(after);
        world_look(w);
    }
    free(before);
}

static void count(struct disk_world *w)
{
    struct log_figures figures;

    log_figures(w->log, &figures);
    totals.checkpoints += figures.checkpoints;
    totals.moved_bytes += figures.moved_bytes;
}

static void end_somehow(struct disk_world *w, uint32_t fault_percent)
{
    uint32_t lot = rng_below(&w->rng, 10);

    count(w);
    no_faults(w);
    if (lot < 6) {
        enum sim_disk_crash crash = rng_below(&w->rng, SIM_DISK_CRASHES);
        trace(w, "power", crash);
        world_crash(w, crash);
        totals.powers++;
    } else if (lot < 9 || w->error != 0) {
        trace(w, "kill", 0);
        world_kill(w);
        totals.kills++;
    } else {
        trace(w, "close", 0);
        world_close(w);
        totals.closes++;
    }
    start(w, fault_percent);
    look(w);
}

/* ---- a run ---- */

static void some_turn(struct disk_world *w, uint32_t *ops)
{
    uint32_t requests = rng_skewed(&w->rng, 0, 12);
    uint64_t ms = rng_chance(&w->rng, 2) ? rng_below(&w->rng, 40000) : rng_skewed(&w->rng, 0, 500);

    requests = requests < *ops ? requests : *ops;
    *ops -= requests;
    world_turn(w, requests, ms);
    if (w->error == 0 && rng_chance(&w->rng, 3))
        core_check(w->core);
}

/* The disk takes its time: what is not written stays in memory, and publishes are refused in the end. */
static void stall(struct disk_world *w, uint32_t *ops)
{
    uint32_t writer_percent = w->options.writer_percent, turns = rng_below(&w->rng, STALL_TURNS_MAX);

    w->options.writer_percent = 0;
    while (turns-- > 0 && w->error == 0)
        some_turn(w, ops);
    w->options.writer_percent = writer_percent;
}

static void some_trouble(struct disk_world *w, uint32_t fault_percent)
{
    if (!rng_chance(&w->rng, fault_percent))
        return;
    if (rng_chance(&w->rng, 50))
        some_fault(w);
    else if (rng_chance(&w->rng, 50))
        sim_disk_set_capacity(w->disk, rng_between(&w->rng, 4, 12) * (uint64_t)DISK_SEGMENT_BYTES);
    else
        no_faults(w);
}

/* When nothing is kept any more the disk is free again, but for what the two checkpoints need. */
static void drain(struct disk_world *w)
{
    struct log_figures figures;

    w->purging = true;
    for (uint32_t i = 0; i < DRAIN_TURNS; i++) {
        world_turn(w, 1, DRAIN_TURN_MS);
        SIM_CHECK(world_settle(w), "the log has ended: %s", strerror(-w->error));
    }
    w->purging = false;
    log_figures(w->log, &figures);
    SIM_CHECK(figures.segments <= SEGMENTS_LEFT_MAX && !figures.disk_short && log_room(w->log) > 0,
              "nothing is kept, but there are %lu segments, and room for %lu bytes", figures.segments,
              log_room(w->log));
}

static void run(struct disk_world *w, uint32_t ops)
{
    uint32_t crash_percent = rng_between(&w->rng, 1, 4), fault_percent = 0;

    if (rng_chance(&w->rng, 40))
        fault_percent = rng_between(&w->rng, 1, 5);
    start(w, 0);
    while (ops > 0) {
        some_turn(w, &ops);
        if (rng_chance(&w->rng, 1))
            stall(w, &ops);
        some_trouble(w, fault_percent);
        if (w->error != 0) {
            SIM_CHECK(sim_disk_strikes(w->disk) > 0 || fault_percent > 0, "the log has ended: %s",
                      strerror(-w->error));
            totals.failures++;
        }
        if (w->error != 0 || rng_chance(&w->rng, crash_percent))
            end_somehow(w, fault_percent * 4);
    }
    no_faults(w);
    if (!world_settle(w))
        end_somehow(w, 0);
    SIM_CHECK(world_settle(w), "the log has ended: %s", strerror(-w->error));
    drain(w);
    count(w);
    totals.fetches += w->fetches;
    totals.refusals += w->refusals;
    world_close(w);
    start(w, 0);
    look(w);
}

/* ---- the program ---- */

static void on_abort(int signal_number)
{
    if (current != NULL)
        sim_disk_print(current->disk, stderr, DISK_PRINT);
    fprintf(stderr, "repeat with: build/tests/sim/disk --seeds %lu-%lu --ops %u --trace\n", current_seed,
            current_seed, current_ops);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"seeds", required_argument, NULL, 'S'},
                                            {"ops", required_argument, NULL, 'o'},
                                            {"trace", no_argument, NULL, 't'},
                                            {0}};
    unsigned long first = 1, last = 1;
    int choice;

    current_ops = 2000;
    while ((choice = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (choice == 'S' && sscanf(optarg, "%lu-%lu", &first, &last) == 2 && first <= last)
            continue;
        if (choice == 't') {
            tracing = true;
            continue;
        }
        if (choice != 'o') {
            fputs("usage: disk [--seeds FIRST-LAST] [--ops N] [--trace]\n", stderr);
            return 2;
        }
        current_ops = (uint32_t)strtoul(optarg, NULL, 0);
    }
    signal(SIGABRT, on_abort);
    signal(SIGSEGV, on_abort);
    for (current_seed = first; current_seed <= last; current_seed++) {
        struct rng rng = {current_seed * 0x9e3779b97f4a7c15};
        struct disk_options some = some_options(&rng);

        current = world_new(&some, sim_disk_new(current_seed), rng_next(&rng));
        run(current, current_ops);
        world_free(current);
        current = NULL;
    }
    printf("%lu seeds of %u operations: %lu power cuts, %lu kills, %lu closes; %lu failed logs, %lu failed "
           "starts; "
           "%lu checkpoints, %lu starts from one; %lu fetches, %lu publishes refused, %lu bytes moved\n",
           last - first + 1, current_ops, totals.powers, totals.kills, totals.closes, totals.failures,
           totals.starts_failed, totals.checkpoints, totals.recovered_from_checkpoint, totals.fetches,
           totals.refusals, totals.moved_bytes);
    return 0;
}
