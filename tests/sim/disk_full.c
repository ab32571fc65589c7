/* disk_full: others have filled the disk, and what is no message goes on, from a seed.
 *
 *     disk_full --seeds 1-20
 *
 * Whatever the broker gives back somebody else has taken at once. So it must live on what it has: segments go round, which
 * they do only as long as checkpoints are written. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk_world.h"
#include "log/log_state.h"

enum {
    BEGIN_TURNS = 150,
    READY_TURNS_MAX = 200,
    READY_TURN_MS = 1000,
    FLOOD_TURNS = 6000,
    FLOOD_REQUESTS = 14,
    SETTLE_EVERY = 50,
    TURN_MS = 20,
    ROUNDS = 3,
    CHECKPOINTS_MIN = 6,
    SEGMENTS_MIN = 4,
    QUEUES = 400,
    QUEUES_A_TURN = 5,
    NAME_BYTES = 72,
    GROWN_TURNS = 400,
    GROWN_TURN_MS = 200 /* until a checkpoint is due */
};

static uint64_t current_seed;
static uint64_t checkpoints, segments;
static bool room_was_short;

static void check_alive(const struct disk_world *w)
{
    SIM_CHECK(w->error == 0, "the log has ended: %s (%s)", strerror(-w->error), w->report);
}

static void start(struct disk_world *w)
{
    int err = world_start(w);

    SIM_CHECK(err == 0, "the broker does not start: %s (%s)", w->error_text, w->report);
    SIM_CHECK(w->reports == 0, "something is said to be wrong: %s", w->report);
    world_look(w);
    check_alive(w);
}

/* With a checkpoint and all spares that are wanted: there was room before. */
static void until_it_is_ready(struct disk_world *w)
{
    for (int turns = 0; w->log->checkpoint_number == 0 || w->log->spare_count < LOG_SPARES_WANTED; turns++) {
        SIM_CHECK(turns < READY_TURNS_MAX, "there are no spares, or no checkpoint");
        world_turn(w, 1, READY_TURN_MS);
        check_alive(w);
    }
}

static void fill_disk(struct disk_world *w)
{
    sim_disk_set_capacity(w->disk, sim_disk_bytes(w->disk));
}

static bool knows(const struct log *l, const struct directory_segment *s)
{
    for (size_t i = 0; i < l->segment_count; i++)
        if (l->segments[i].number == s->number && l->segments[i].cold == (s->kind == DIRECTORY_COLD))
            return true;
    return false;
}

/* A segment that the log has forgotten would take room for ever. */
static void check_segments(struct disk_world *w)
{
    struct directory_segment *found;
    size_t count;

    SIM_CHECK(directory_segments(&w->log->directory, &found, &count) == 0, "the files cannot be listed");
    for (size_t i = 0; i < count; i++)
        SIM_CHECK(found[i].kind == DIRECTORY_SPARE || knows(w->log, &found[i]), "segment %lu is forgotten",
                  found[i].number);
    free(found);
}

static uint64_t segment_now(const struct disk_world *w)
{
    return log_segment_of(w->log, w->log->end_lsn);
}

static void flood(struct disk_world *w)
{
    uint64_t first = segment_now(w), written = w->log->checkpoints;

    w->options.churn_percent = 100;
    for (int turn = 0; turn < FLOOD_TURNS; turn++) {
        fill_disk(w);
        world_turn(w, FLOOD_REQUESTS, TURN_MS);
        check_alive(w);
        if (turn % SETTLE_EVERY == 0) /* the world counts those that wait, from the first one on */
            SIM_CHECK(world_settle(w), "the log has ended: %s (%s)", strerror(-w->error), w->report);
    }
    SIM_CHECK(w->log->checkpoints >= written + CHECKPOINTS_MIN, "there are only %lu checkpoints",
              w->log->checkpoints - written);
    SIM_CHECK(segment_now(w) >= first + SEGMENTS_MIN, "the log went on by %lu segments only",
              segment_now(w) - first);
    check_segments(w);
    checkpoints += w->log->checkpoints - written;
    segments += segment_now(w) - first;
}

static void drop(struct disk_world *w, const char *name)
{
    uint64_t length;

    if (sim_disk_content(w->disk, name, &length) != NULL)
        sim_disk_drop(w->disk, name);
}

/* In any way; a start needs some room. */
static void end_and_start(struct disk_world *w)
{
    uint32_t lot = rng_below(&w->rng, SIM_DISK_CRASHES + 2);

    if (lot < SIM_DISK_CRASHES) {
        world_crash(w, (enum sim_disk_crash)lot);
    } else if (lot == SIM_DISK_CRASHES) {
        world_kill(w);
    } else {
        SIM_CHECK(world_settle(w), "the log has ended: %s", strerror(-w->error));
        world_close(w);
    }
    sim_disk_set_capacity(w->disk, UINT64_MAX);
    if (rng_chance(&w->rng, 50)) { /* as in a copy that was restored */
        drop(w, "checkpoint-a.spare");
        drop(w, "checkpoint-b.spare");
    }
    start(w);
}

static void facts_go_on(struct disk_world *w)
{
    start(w);
    for (int turn = 0; turn < BEGIN_TURNS; turn++)
        world_turn(w, 6, TURN_MS);
    SIM_CHECK(world_settle(w), "the log has ended: %s", strerror(-w->error));
    for (int round = 0; round < ROUNDS; round++) {
        until_it_is_ready(w);
        flood(w);
        end_and_start(w);
    }
    world_kill(w);
}

/* ---- a checkpoint that outgrows what is kept for it ---- */

static void make_queue(struct disk_world *w, uint32_t number)
{
    char *name = arena_take(&w->requests, NAME_BYTES + 1);
    struct fanq_request r = {.op = FANQ_OP_QUEUE_CREATE, .id = w->ask_count};

    SIM_CHECK(name != NULL, "out of memory");
    snprintf(name, NAME_BYTES + 1, "%0*u", NAME_BYTES, number);
    r.queue.name = world_text(name);
    w->asks[w->ask_count++] =
        (struct disk_ask){.op = r.op, .needs = w->truth.appended + 1, .due_commit = w->truth.appended + 1};
    world_step(w, &(struct event){.kind = EVENT_REQUEST, .request = {0, &r}});
}

/* Of two spares none is needed soon. */
static void until_a_segment_begins(struct disk_world *w)
{
    uint64_t first = segment_now(w);

    w->options.churn_percent = 100;
    for (int turn = 0; segment_now(w) == first || turn % SETTLE_EVERY != 0; turn++) {
        SIM_CHECK(turn < FLOOD_TURNS, "there is no other segment");
        world_turn(w, FLOOD_REQUESTS, TURN_MS);
        check_alive(w);
        if (turn % SETTLE_EVERY == 0)
            SIM_CHECK(world_settle(w), "the log has ended: %s", strerror(-w->error));
    }
}

static void grow_turn(struct disk_world *w, uint32_t requests, uint64_t ms)
{
    world_turn(w, requests, ms);
    check_alive(w);
    room_was_short = room_was_short || w->log->checkpoint_needs_room;
}

/* What is removed is the broker's again: else a spare would be given up for nothing. */
static void state_grows(struct disk_world *w)
{
    uint64_t before_bytes, after_bytes, written;
    uint8_t *before, *after;

    start(w);
    room_was_short = false;
    until_a_segment_begins(w);
    until_it_is_ready(w);
    SIM_CHECK(world_settle(w), "the log has ended: %s", strerror(-w->error));
    written = w->log->checkpoints;
    fill_disk(w);
    for (uint32_t made = 0; made < QUEUES; made++) {
        make_queue(w, made);
        if (made % QUEUES_A_TURN == 0)
            grow_turn(w, 0, TURN_MS);
    }
    for (int turn = 0; turn < GROWN_TURNS; turn++)
        grow_turn(w, 1, GROWN_TURN_MS);
    SIM_CHECK(room_was_short, "the checkpoint that has grown found room");
    SIM_CHECK(w->log->checkpoints > written && !w->log->checkpoint_needs_room &&
                  w->log->checkpoint_bytes > QUEUES * NAME_BYTES,
              "the checkpoint that has grown is not written: %s", w->report);
    SIM_CHECK(world_settle(w), "the log has ended: %s", strerror(-w->error));
    check_segments(w);
    before = world_checkpoint(w, &before_bytes);
    if (w->options.sync == WRITER_SYNC_GROUP)
        world_crash(w, SIM_DISK_LOSE);
    else
        world_kill(w);
    sim_disk_set_capacity(w->disk, UINT64_MAX);
    start(w);
    after = world_checkpoint(w, &after_bytes);
    SIM_CHECK(before_bytes == after_bytes && memcmp(before, after, after_bytes) == 0,
              "after the crash the state is another");
    free(before);
    free(after);
    world_kill(w);
}

/* ---- the program ---- */

static void on_abort(int signal_number)
{
    fprintf(stderr, "repeat with: build/tests/sim/disk_full --seeds %lu-%lu\n", current_seed, current_seed);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void with_world(void (*run)(struct disk_world *w))
{
    const struct disk_options options = {.sync = current_seed % 2 == 0 ? WRITER_SYNC_GROUP : WRITER_SYNC_NONE,
                                         .memory_bytes_max = 400 * 1024,
                                         .cache_bytes_max = 32 * 1024,
                                         .record_bytes_max = 1000,
                                         .writer_percent = 90,
                                         .store_percent = 90,
                                         .churn_percent = 20,
                                         .drain_percent = 50};
    struct disk_world *w = world_new(&options, sim_disk_new(current_seed), current_seed);

    run(w);
    world_free(w);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"seeds", required_argument, NULL, 'S'}, {0}};
    unsigned long first = 1, last = 1;
    int choice;

    while ((choice = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (choice != 'S' || sscanf(optarg, "%lu-%lu", &first, &last) != 2 || first > last) {
            fputs("usage: disk_full [--seeds FIRST-LAST]\n", stderr);
            return 2;
        }
    }
    signal(SIGABRT, on_abort);
    signal(SIGSEGV, on_abort);
    for (current_seed = first; current_seed <= last; current_seed++) {
        with_world(facts_go_on);
        with_world(state_grows);
    }
    printf("%lu seeds: %lu checkpoints and %lu segments on a full disk\n", last - first + 1, checkpoints,
           segments);
    return 0;
}
