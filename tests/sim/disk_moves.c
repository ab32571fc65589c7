/* disk_moves: what is left of segments on its way to others, and what gets in its way, from a seed.
 *
 *     disk_moves --seeds 1-20
 *
 * A broker runs until there is something to move; then one thing happens of which the other simulations see too little. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk_world.h"
#include "log/log_state.h"

enum { TURNS_MAX = 2000, IDLE_TURNS = 200, ROUNDS = 50, CRASHES = 5, REFUSALS_MAX = 3 };

#define NEVER_MS (UINT64_MAX - 1)

static uint64_t current_seed;
static uint64_t moved_bytes, stuck_count, refused_count;

static void check_alive(const struct disk_world *w)
{
    SIM_CHECK(w->error == 0, "the log has ended: %s", strerror(-w->error));
}

static uint64_t moved(const struct disk_world *w)
{
    struct log_figures figures;

    log_figures(w->log, &figures);
    return figures.moved_bytes;
}

/* Turns with requests until there is something to move, which is kept from beginning. False: the world has sent all its
 * messages before. */
static bool until_it_could_move(struct disk_world *w)
{
    w->log->relocation.retry_ms = NEVER_MS;
    for (int turns = 0; relocation_next_ms(w->log) != NEVER_MS; turns++) {
        if (turns == TURNS_MAX)
            return false;
        world_turn(w, 6, 20);
        check_alive(w);
    }
    return true;
}

/* While files are held still nothing moves, and the loop is not called to move it. */
static void hold(struct disk_world *w)
{
    uint64_t before;

    if (!until_it_could_move(w))
        return;
    (void)log_hold(w->log);
    w->log->relocation.retry_ms = 0;
    before = moved(w);
    for (int turns = 0; turns < IDLE_TURNS; turns++)
        world_turn(w, 0, 1);
    SIM_CHECK(w->log->relocation.state == RELOCATION_RESTS && moved(w) == before,
              "something is moved, though all is held still");
    SIM_CHECK(relocation_next_ms(w->log) == UINT64_MAX, "a move is due, though all is held still");
    log_unhold(w->log);
}

/* ---- a block that cannot be read ---- */

static uint64_t wanted(const struct disk_world *w, const struct segment_entry *s)
{
    return tail_segment_wanted_bytes(log_tail(w->log), s->cold, s->number);
}

/* The full segment with the least in it; NULL: there is none. */
static const struct segment_entry *least(const struct disk_world *w)
{
    const struct segment_entry *found = NULL;

    for (size_t i = 0; i < w->log->segment_count; i++) {
        const struct segment_entry *s = &w->log->segments[i];
        if (s->state == SEGMENT_SEALED && wanted(w, s) > 0 &&
            (found == NULL || wanted(w, s) < wanted(w, found)))
            found = s;
    }
    return found;
}

static void damage_all(struct disk_world *w, const struct segment_entry *s)
{
    struct tail_read blocks[RELOCATION_BLOCKS_MAX];
    size_t count = tail_segment_blocks(log_tail(w->log), s->cold, s->number, blocks, RELOCATION_BLOCKS_MAX);
    char name[DIRECTORY_NAME_BYTES_MAX];

    directory_segment_name(name, s->cold ? DIRECTORY_COLD : DIRECTORY_LOG, s->number);
    for (size_t i = 0; i < count; i++)
        sim_disk_flip(w->disk, name, place_lsn(blocks[i].place) % DISK_SEGMENT_BYTES, 1);
}

/* One segment that cannot be emptied does not keep others from it. */
static void damage(struct disk_world *w)
{
    const struct segment_entry *found;
    bool stuck = false;

    if (!until_it_could_move(w))
        return;
    world_kill(w); /* nothing is in memory any more */
    SIM_CHECK(world_start(w) == 0, "the broker does not start: %s", w->error_text);
    found = least(w);
    if (found == NULL)
        return;
    damage_all(w, found);
    w->log->relocation.retry_ms = 0;
    for (int turns = 0; turns < IDLE_TURNS; turns++) {
        world_turn(w, 0, 1);
        SIM_CHECK(strstr(w->report, "cannot move what is left") == NULL,
                  "a block that cannot be read stops all moves: %s", w->report);
    }
    for (size_t i = 0; i < w->log->segment_count; i++)
        stuck |= w->log->segments[i].stuck;
    stuck_count += stuck;
    SIM_CHECK(relocation_next_ms(w->log) > w->now_ms, "there is something to move, but nothing moves");
}

/* ---- segments that cannot go ---- */

static bool any_cut(const struct disk_world *w)
{
    for (size_t i = 0; i < w->log->segment_count; i++)
        if (w->log->segments[i].cut)
            return true;
    return false;
}

/* What a crash cut off goes at once; if it cannot, it is not tried in every turn. */
static void refuse_removal(struct disk_world *w)
{
    const struct sim_disk_fault refusal = {
        .at = 1, .operations = SIM_DISK_SET(SIM_DISK_REMOVE), .sticky = true, .error = EACCES};

    for (int turns = 0; turns < ROUNDS; turns++)
        world_turn(w, 6, 20);
    check_alive(w);
    world_crash(w, SIM_DISK_SHUFFLE);
    SIM_CHECK(world_start(w) == 0, "the broker does not start: %s", w->error_text);
    if (any_cut(w)) {
        uint64_t before = sim_disk_strikes(w->disk);

        sim_disk_fault(w->disk, &refusal);
        for (int turns = 0; turns < IDLE_TURNS; turns++)
            world_turn(w, 0, 1);
        refused_count += sim_disk_strikes(w->disk) - before;
        SIM_CHECK(sim_disk_strikes(w->disk) - before <= REFUSALS_MAX, "in %d turns %lu removals are refused",
                  IDLE_TURNS, sim_disk_strikes(w->disk) - before);
        sim_disk_fault(w->disk, &(struct sim_disk_fault){0});
    }
    world_look(w);
}

/* ---- the whole ---- */

static void start(struct disk_world *w)
{
    SIM_CHECK(world_start(w) == 0, "the broker does not start: %s (%s)", w->error_text, w->report);
    world_look(w);
}

/* What a move lacks is on the disk before it is written. */
static void check_safe(const struct disk_world *w, enum relocation_state before)
{
    const struct log *l = w->log;

    if (l->relocation.state == RELOCATION_WRITES && before < RELOCATION_SYNC)
        SIM_CHECK(l->done.synced_lsn >= l->end_lsn, "a move is written before what was deleted is safe");
}

/* Each time blocks have been moved, the power goes: what had deleted some of their messages may be lost, so copies of several
 * runs must not contradict each other. */
static void crash(struct disk_world *w)
{
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t before = moved(w);

        for (int turns = 0; moved(w) == before && turns < TURNS_MAX / ROUNDS; turns++) {
            enum relocation_state state = w->log->relocation.state;
            world_turn(w, 6, 20);
            check_alive(w);
            check_safe(w, state);
        }
        moved_bytes += moved(w);
        world_crash(w, rng_below(&w->rng, SIM_DISK_CRASHES));
        start(w);
    }
}

static void run(struct disk_world *w)
{
    start(w);
    for (int round = 0; round < CRASHES; round++)
        refuse_removal(w);
    if (current_seed % 2 == 0) {
        damage(w);
    } else {
        crash(w);
        hold(w);
    }
    moved_bytes += moved(w);
    world_kill(w);
}

static void on_abort(int signal_number)
{
    fprintf(stderr, "repeat with: build/tests/sim/disk_moves --seeds %lu-%lu\n", current_seed, current_seed);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"seeds", required_argument, NULL, 'S'}, {0}};
    static const struct disk_options world = {.sync = WRITER_SYNC_NONE,
                                              .memory_bytes_max = 400 * 1024,
                                              .cache_bytes_max = 32 * 1024,
                                              .disk_bytes_max = 6 * DISK_SEGMENT_BYTES,
                                              .record_bytes_max = 4000,
                                              .writer_percent = 90,
                                              .store_percent = 90,
                                              .churn_percent = 3,
                                              .drain_percent = 10};
    unsigned long first = 1, last = 1;
    int choice;

    while ((choice = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (choice != 'S' || sscanf(optarg, "%lu-%lu", &first, &last) != 2 || first > last) {
            fputs("usage: disk_moves [--seeds FIRST-LAST]\n", stderr);
            return 2;
        }
    }
    signal(SIGABRT, on_abort);
    signal(SIGSEGV, on_abort);
    for (current_seed = first; current_seed <= last; current_seed++) {
        struct disk_world *w = world_new(&world, sim_disk_new(current_seed), current_seed);

        run(w);
        world_free(w);
    }
    SIM_CHECK(moved_bytes > 0, "nothing is ever moved");
    printf("%lu seeds: %lu bytes moved, %lu times there was a block that could not be read, %lu removals "
           "refused\n",
           last - first + 1, moved_bytes, stuck_count, refused_count);
    return 0;
}
