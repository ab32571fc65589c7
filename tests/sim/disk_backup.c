/* disk_backup: copies of the log of a broker that goes on, from a seed.
 *
 *     disk_backup --seeds 1-100
 *
 * At some moment the log is held; when it is still, what is really on the disk of the files it names is copied, a part at a
 * time, between turns with requests. A broker that starts on the copy must show just what the commits up to that moment
 * say; and the original, afterwards, all of its own. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk_world.h"
#include "log/log_state.h"

enum {
    OPS_BEFORE_MAX = 1500,
    OPS_BEHIND = 150,
    OPS_HELD_MAX = 300,
    BACKUPS = 4,
    BUSY_TURNS_MAX = 500,
    STILL_TURNS_MAX = 5000,
    UNSEEN_EPOCHS_MIN = 500
};

static uint64_t current_seed;
static uint64_t copies, segments, turns_waited;

static void some_turns(struct disk_world *w, uint32_t ops)
{
    while (ops > 0) {
        uint32_t requests = rng_skewed(&w->rng, 0, 12);

        requests = requests < ops ? requests : ops;
        ops -= requests;
        world_turn(w, requests, rng_skewed(&w->rng, 0, 500));
        SIM_CHECK(w->error == 0, "the log has ended: %s", strerror(-w->error));
    }
}

/* ---- the copy ---- */

struct backup {
    struct disk_world *from;
    struct sim_disk *to;
    uint64_t end_lsn;
    bool compare; /* the second time */
};

/* Whether a file of the copy is still as in the original. */
static void compare_file(struct backup *b, const char *name, uint64_t bytes_max)
{
    uint64_t length, copied;
    const uint8_t *kept = sim_disk_kept(b->from->disk, name, &length);
    const uint8_t *copy = sim_disk_content(b->to, name, &copied);

    SIM_CHECK((kept != NULL) == (copy != NULL), "%s has come or gone", name);
    if (kept == NULL)
        return;
    length = length < bytes_max ? length : bytes_max;
    SIM_CHECK(length == copied && memcmp(kept, copy, length) == 0, "%s was changed", name);
}

/* Only what a power cut would leave. */
static void copy_file(struct backup *b, const char *name, uint64_t bytes_max)
{
    uint64_t length, half;
    const uint8_t *kept = sim_disk_kept(b->from->disk, name, &length);
    uint8_t *copy;

    if (b->compare) {
        compare_file(b, name, bytes_max);
        return;
    }
    if (kept == NULL)
        return;
    length = length < bytes_max ? length : bytes_max;
    half = rng_below(&b->from->rng, (uint32_t)length + 1);
    copy = malloc(length + 1);
    SIM_CHECK(copy != NULL, "out of memory");
    memcpy(copy, kept, half);
    some_turns(b->from, rng_below(&b->from->rng, 20));
    kept = sim_disk_kept(b->from->disk, name, &(uint64_t){0});
    SIM_CHECK(kept != NULL, "%s has gone", name);
    memcpy(copy + half, kept + half, length - half);
    SIM_CHECK(memcmp(copy, kept, length) == 0, "%s was changed", name);
    sim_disk_put(b->to, name, copy, length);
    free(copy);
}

static void copy_segments(struct backup *b, bool cold)
{
    const struct log *l = b->from->log;
    size_t count = log_needed_segments(l, cold, b->end_lsn, NULL);
    uint64_t *numbers = malloc((count + 1) * sizeof(*numbers));
    enum directory_kind kind = cold ? DIRECTORY_COLD : DIRECTORY_LOG;
    char name[DIRECTORY_NAME_BYTES_MAX];

    SIM_CHECK(numbers != NULL, "out of memory");
    (void)log_needed_segments(l, cold, b->end_lsn, numbers);
    for (size_t i = 0; i < count; i++) {
        uint64_t left = cold ? UINT64_MAX : b->end_lsn - numbers[i] * log_segment_bytes(l);
        directory_segment_name(name, kind, numbers[i]);
        SIM_CHECK(sim_disk_content(b->from->disk, name, &(uint64_t){0}) != NULL, "%s is not there", name);
        copy_file(b, name, left);
        directory_index_name(name, kind, numbers[i]);
        copy_file(b, name, UINT64_MAX);
    }
    segments += b->compare ? count : 0;
    free(numbers);
}

static void wait_until_still(struct backup *b)
{
    uint32_t turns = 0;

    for (; !log_is_still(b->from->log, b->end_lsn); turns++) {
        SIM_CHECK(turns < STILL_TURNS_MAX, "the log is never still");
        some_turns(b->from, 1);
    }
    turns_waited += turns;
}

static void copy_files(struct backup *b)
{
    copy_file(b, "checkpoint-a", UINT64_MAX);
    copy_file(b, "checkpoint-b", UINT64_MAX);
    copy_segments(b, false);
    copy_segments(b, true);
    copy_file(b, "identity", UINT64_MAX);
}

/* To moments at which a hold has something to wait for. */
static void wait_until_busy(struct disk_world *w)
{
    bool want_checkpoint = rng_chance(&w->rng, 50);

    for (int turns = 0; turns < BUSY_TURNS_MAX; turns++) {
        if (want_checkpoint ? w->log->checkpoint_state != CHECKPOINT_NONE : w->log->chores > 0)
            return;
        some_turns(w, 5);
    }
}

/* Gives a world in which a broker can be started on the copy. */
static struct disk_world *back_up(struct disk_world *w)
{
    struct backup b = {.from = w, .to = sim_disk_new(rng_next(&w->rng))};
    struct disk_world *copy;

    if (rng_chance(&w->rng, 50))
        wait_until_busy(w);
    b.end_lsn = log_hold(w->log);
    copy = world_fork(w, rng_next(&w->rng));
    copy->truth.floor = copy->truth.appended; /* all that was appended by now, */
    copy->truth.floor_is_all = true;          /* and nothing that came later */
    copy->truth.salt = w->truth.salt;
    wait_until_still(&b);
    copy_files(&b);
    some_turns(w, rng_below(&w->rng, OPS_HELD_MAX));
    b.compare = true;
    copy_files(&b);
    log_unhold(w->log);
    sim_disk_free(copy->disk);
    copy->disk = b.to;
    return copy;
}

static void try_copy(struct disk_world *copy, uint64_t epoch)
{
    int err = world_start(copy);

    SIM_CHECK(err == 0, "no broker starts on the copy: %s (%s)", copy->error_text, copy->report);
    SIM_CHECK(copy->reports == 0, "something is wrong with the copy: %s", copy->report);
    SIM_CHECK(log_epoch(copy->log) > epoch + UNSEEN_EPOCHS_MIN || log_recovered(copy->log)->commits == 0,
              "epoch %lu of the copy is too near to %lu", log_epoch(copy->log), epoch);
    world_look(copy);
    some_turns(copy, OPS_BEHIND);
    SIM_CHECK(world_settle(copy), "the log of the copy has ended");
    world_close(copy);
    SIM_CHECK(world_start(copy) == 0, "the broker does not start again on the copy: %s", copy->error_text);
    world_look(copy);
    copies++;
}

/* ---- a run ---- */

static void run(struct disk_world *w)
{
    SIM_CHECK(world_start(w) == 0, "the broker does not start: %s", w->error_text);
    for (int i = 0; i < BACKUPS; i++) {
        struct disk_world *copy;

        some_turns(w, rng_below(&w->rng, OPS_BEFORE_MAX));
        copy = back_up(w);
        try_copy(copy, log_epoch(w->log));
        world_free(copy);
        if (rng_chance(&w->rng, 50))
            world_close(w);
        else
            world_crash(w, rng_below(&w->rng, SIM_DISK_CRASHES));
        SIM_CHECK(world_start(w) == 0, "the broker does not start again: %s", w->error_text);
        world_look(w);
    }
}

static struct disk_options some_options(struct rng *rng)
{
    return (struct disk_options){.sync = (enum writer_sync)rng_below(rng, 3),
                                 .memory_bytes_max = rng_between(rng, 320, 800) * 1024,
                                 .cache_bytes_max = rng_between(rng, 16, 64) * 1024,
                                 .record_bytes_max = rng_chance(rng, 50) ? 4000 : 400,
                                 .writer_percent = rng_between(rng, 20, 95),
                                 .store_percent = rng_between(rng, 3, 95),
                                 .churn_percent = rng_between(rng, 3, 30),
                                 .drain_percent = rng_between(rng, 0, 70)};
}

static void on_abort(int signal_number)
{
    fprintf(stderr, "repeat with: build/tests/sim/disk_backup --seeds %lu-%lu\n", current_seed, current_seed);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"seeds", required_argument, NULL, 'S'}, {0}};
    unsigned long first = 1, last = 1;
    int choice;

    while ((choice = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (choice != 'S' || sscanf(optarg, "%lu-%lu", &first, &last) != 2 || first > last) {
            fputs("usage: disk_backup [--seeds FIRST-LAST]\n", stderr);
            return 2;
        }
    }
    signal(SIGABRT, on_abort);
    signal(SIGSEGV, on_abort);
    for (current_seed = first; current_seed <= last; current_seed++) {
        struct rng rng = {current_seed * 0x9e3779b97f4a7c15};
        struct disk_options some = some_options(&rng);
        struct disk_world *w = world_new(&some, sim_disk_new(current_seed), rng_next(&rng));

        run(w);
        world_free(w);
    }
    printf("%lu seeds: %lu copies of %lu segments, %lu turns until they were still\n", last - first + 1,
           copies, segments, turns_waited);
    return 0;
}
