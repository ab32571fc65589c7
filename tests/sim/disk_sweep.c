/* disk_sweep: harm at each operation of the disk, of each of the fixed workloads (disk_workload.h).
 *
 *     disk_sweep crash      the power goes at every operation; what was not synced is lost, kept, or some of it in any order
 *     disk_sweep again      it goes again while the broker starts, at every operation, and twice more
 *     disk_sweep torn       the last commit is torn at every byte, at several places
 *     disk_sweep fault      every operation fails, once or from then on
 *
 * --workload and --at name one case of them. */
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk_workload.h"
#include "log/commit.h"

enum {
    RANDOM_FORKS = 10,
    AGAIN_EVERY = 12,
    DEPTH = 3,
    TORN_LOGS = 3,
    TORN_PLACES = 5,
    TORN_BYTES_MIN = 2000,
    FAULT_OPERATIONS = 300
};

static struct {
    const char *sweep;
    uint32_t workload;
    uint64_t at, cases;
    uint32_t every;
    struct disk_world *world;
} current = {.every = 1};

static uint32_t only_workload = UINT32_MAX;
static uint64_t only_at;

/* A copy of what the power left, after what happened to what was not synced. */
static struct disk_world *crashed(const struct disk_world *w, enum sim_disk_crash crash, uint64_t seed)
{
    struct disk_world *fork = world_fork(w, seed);

    sim_disk_crash(fork->disk, crash);
    current.world = fork;
    current.cases++;
    return fork;
}

static void done(struct disk_world *w)
{
    current.world = NULL;
    world_free(w);
}

/* The workload until the power goes at this operation. */
static struct disk_world *halted_at(uint32_t workload, uint64_t at)
{
    struct disk_world *w = workload_new(workload);

    sim_disk_stop_at(w->disk, at);
    (void)workload_run(w, UINT64_MAX); /* the stop is an error to it */
    world_halt(w);
    return w;
}

/* ---- crash ---- */

static void crash_at(uint32_t workload, uint64_t at)
{
    static const enum sim_disk_crash crashes[] = {SIM_DISK_LOSE, SIM_DISK_KEEP, SIM_DISK_SECTORS,
                                                  SIM_DISK_SHUFFLE};
    struct disk_world *w = halted_at(workload, at), *fork;

    for (uint32_t i = 0; i < sizeof(crashes) / sizeof(crashes[0]); i++) {
        fork = crashed(w, crashes[i], at * 10 + i);
        workload_verify(fork);
        done(fork);
    }
    for (uint32_t i = 0; i < RANDOM_FORKS; i++) {
        fork = crashed(w, i % 2 == 0 ? SIM_DISK_SECTORS : SIM_DISK_TEAR, at * 1000 + i);
        workload_verify_content(fork);
        done(fork);
    }
    world_free(w);
}

/* ---- again, while it starts ---- */

/* Starts with the power going at this operation. False: the start has fewer. */
static bool start_until(struct disk_world *w, uint64_t at)
{
    sim_disk_stop_at(w->disk, at);
    if (world_start(w) == 0) {
        (void)world_work(w, 50, 50);
        if (!sim_disk_stopped(w->disk)) {
            sim_disk_stop_at(w->disk, 0);
            return false;
        }
    }
    return true;
}

static void crash_again(const struct disk_world *w, uint64_t at)
{
    struct rng rng = {at};

    for (uint64_t n = 1;; n++) {
        struct disk_world *fork = crashed(w, SIM_DISK_SECTORS, n);
        bool more = start_until(fork, n);

        world_crash(fork, rng_below(&rng, SIM_DISK_CRASHES));
        for (uint32_t depth = 1; more && depth < DEPTH; depth++) {
            (void)start_until(
                fork, 1 + rng_below(&rng, (uint32_t)n + 20)); /* or it starts, and the power goes then */
            world_crash(fork, rng_below(&rng, SIM_DISK_CRASHES));
        }
        workload_verify(fork);
        done(fork);
        if (!more)
            return;
    }
}

static void again_at(uint32_t workload, uint64_t at)
{
    struct disk_world *w = halted_at(workload, at);

    crash_again(w, at);
    world_free(w);
}

/* ---- torn ---- */

/* The newest commit in the files. */
static const struct commit_header *
newest_commit(struct disk_world *w, char ret_name[DIRECTORY_NAME_BYTES_MAX], uint64_t *ret_offset)
{
    for (uint64_t number = 1; number < 1000; number++) {
        uint64_t length;
        const uint8_t *content;

        directory_segment_name(ret_name, DIRECTORY_LOG, number);
        content = sim_disk_content(w->disk, ret_name, &length);
        for (uint64_t at = 0; content != NULL && at + sizeof(struct commit_header) <= length;
             at += COMMIT_ALIGNMENT) {
            const struct commit_header *header = (const struct commit_header *)(content + at);
            if (header->magic == COMMIT_MAGIC && header->number == w->truth.appended &&
                header->lsn == number * DISK_SEGMENT_BYTES + at) {
                *ret_offset = at;
                return header;
            }
        }
    }
    sim_fail("commit %lu is nowhere", w->truth.appended);
}

/* A commit of many bytes at the end, some way into the workload, which nobody was told of. */
static struct disk_world *long_commit(uint32_t workload, uint32_t place, char name[DIRECTORY_NAME_BYTES_MAX],
                                      uint64_t *ret_offset, uint64_t *ret_bytes)
{
    struct disk_world *w = workload_new(workload);
    uint32_t turns = 0;

    SIM_CHECK(workload_run(w, WORKLOAD_OPERATIONS * (place + 1) / (TORN_PLACES + 1)) == 0 && world_settle(w),
              "the workload fails");
    do {
        uint64_t told = w->truth.told;
        SIM_CHECK(turns++ < 1000, "there is no long commit");
        world_turn(w, 12, 1);
        while (world_work(w, 100, 100))
            continue;
        *ret_bytes = newest_commit(w, name, ret_offset)->bytes;
        w->truth.told = *ret_bytes < TORN_BYTES_MIN ? w->truth.told : told;
    } while (*ret_bytes < TORN_BYTES_MIN);
    world_halt(w);
    w->truth.floor = w->truth.appended - 1;
    sim_disk_crash(w->disk, SIM_DISK_KEEP);
    return w;
}

/* Behind the tear there is nothing; or what the segment had in its life before; or the file ends there. */
enum torn_rest { TORN_ZEROS, TORN_STALE, TORN_END, TORN_RESTS };

static void tear(uint8_t *content, const uint8_t *whole, uint64_t offset, uint64_t kept, enum torn_rest rest)
{
    uint64_t at = offset + kept, moved = at + COMMIT_ALIGNMENT;

    memcpy(content, whole, at);
    memset(content + at, 0, DISK_SEGMENT_BYTES - at);
    if (rest == TORN_STALE && moved < DISK_SEGMENT_BYTES) /* commits, but at other places */
        memcpy(content + at, whole + moved, DISK_SEGMENT_BYTES - moved);
}

static void torn(uint32_t workload, uint32_t place)
{
    char name[DIRECTORY_NAME_BYTES_MAX];
    uint64_t offset, bytes, length, first, end;
    struct disk_world *w = long_commit(workload, place, name, &offset, &bytes);
    uint8_t *content = malloc(DISK_SEGMENT_BYTES);
    const uint8_t *whole = sim_disk_content(w->disk, name, &length);

    SIM_CHECK(content != NULL, "out of memory");
    first = only_at != 0 ? only_at : 0;
    end = only_at != 0 ? only_at + 1 : bytes;
    for (uint64_t kept = first; kept < end; kept += current.every) {
        for (enum torn_rest rest = 0; rest < TORN_RESTS; rest++) {
            struct disk_world *fork = crashed(w, SIM_DISK_KEEP, kept);

            current.at = kept;
            tear(content, whole, offset, kept, rest);
            sim_disk_put(fork->disk, name, content, rest == TORN_END ? offset + kept : length);
            workload_verify_content(fork);
            SIM_CHECK(fork->truth.appended == w->truth.appended - 1 || kept == bytes,
                      "a torn commit is taken");
            done(fork);
        }
    }
    free(content);
    world_free(w);
}

/* ---- fault ---- */

struct trouble {
    int error;
    bool sticky;
};

/* It either goes on, or ends and has at the next start what it was said to have. */
static void fault(uint32_t workload, uint64_t at, const struct trouble *trouble)
{
    struct disk_world *w = workload_new(workload);
    bool harmless = trouble->error == EINTR || trouble->error == 0; /* of reads and writes */
    int err;

    current.world = w;
    current.cases++;
    sim_disk_fault(w->disk, &(struct sim_disk_fault){.at = at,
                                                     .operations = harmless ? SIM_DISK_SET(SIM_DISK_READ) |
                                                                                  SIM_DISK_SET(SIM_DISK_WRITE)
                                                                            : SIM_DISK_ALL,
                                                     .sticky = trouble->sticky,
                                                     .error = trouble->error});
    err = workload_run(w, FAULT_OPERATIONS);
    SIM_CHECK(!harmless || (err == 0 && w->error == 0), "it takes error %d for an end: %s", trouble->error,
              w->error_text);
    sim_disk_fault(w->disk, &(struct sim_disk_fault){0});
    if (err == 0 && w->error == 0 && !world_settle(w))
        SIM_CHECK(w->error != 0, "it does not go on"); /* the log may hear of the error only now */
    if (at % 2 == 0)
        world_kill(w);
    else
        world_crash(w, at % 4 == 1 ? SIM_DISK_LOSE : SIM_DISK_TEAR);
    workload_verify(w);
    done(w);
}

static void fault_at(uint32_t workload, uint64_t at)
{
    static const struct trouble troubles[] = {
        {EIO, false},   {EIO, true}, {ENOSPC, false}, {ENOSPC, true}, {EDQUOT, false},
        {EDQUOT, true}, {0, false},  {0, true},       {EINTR, false}, {EINTR, true}};

    for (uint32_t i = 0; i < sizeof(troubles) / sizeof(troubles[0]); i++)
        fault(workload, at, &troubles[i]);
}

/* ---- the program ---- */

static void sweep(void (*harm)(uint32_t workload, uint64_t at), uint64_t operations, uint32_t every,
                  uint32_t count)
{
    for (current.workload = 0; current.workload < count; current.workload++) {
        if (only_workload != UINT32_MAX && current.workload != only_workload)
            continue;
        for (current.at = only_at != 0 ? only_at : 1; current.at <= (only_at != 0 ? only_at : operations);
             current.at += every)
            harm(current.workload, current.at);
    }
}

static void on_abort(int signal_number)
{
    if (current.world != NULL)
        sim_disk_print(current.world->disk, stderr, DISK_PRINT);
    fprintf(stderr, "repeat with: build/tests/sim/disk_sweep %s --workload %u --at %lu\n", current.sweep,
            current.workload, current.at);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static int usage(void)
{
    fputs("usage: disk_sweep crash|again|torn|fault [--workload N] [--at N] [--every N]\n", stderr);
    return 2;
}

static bool run(const char *name)
{
    current.sweep = name;
    if (strcmp(name, "crash") == 0) {
        sweep(crash_at, WORKLOAD_OPERATIONS, current.every, WORKLOADS);
    } else if (strcmp(name, "again") == 0) {
        sweep(again_at, WORKLOAD_OPERATIONS, AGAIN_EVERY * current.every, WORKLOADS);
    } else if (strcmp(name, "fault") == 0) {
        sweep(fault_at, FAULT_OPERATIONS, current.every, 2);
    } else if (strcmp(name, "torn") == 0) {
        for (uint32_t n = 0; n < TORN_LOGS * TORN_PLACES; n++) {
            current.workload = n / TORN_PLACES;
            if (only_workload == UINT32_MAX || current.workload == only_workload)
                torn(current.workload, n % TORN_PLACES);
        }
    } else {
        return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"workload", required_argument, NULL, 'w'},
                                            {"at", required_argument, NULL, 'a'},
                                            {"every", required_argument, NULL, 'e'},
                                            {0}};
    int choice;

    /* The same memory for each case. */
    (void)mallopt(M_MMAP_THRESHOLD, 64 * 1024 * 1024);
    (void)mallopt(M_TRIM_THRESHOLD, 256 * 1024 * 1024);
    while ((choice = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (choice == '?')
            return usage();
        if (choice == 'w')
            only_workload = (uint32_t)strtoul(optarg, NULL, 0);
        else if (choice == 'a')
            only_at = strtoul(optarg, NULL, 0);
        else
            current.every = (uint32_t)strtoul(optarg, NULL, 0);
    }
    signal(SIGABRT, on_abort);
    signal(SIGSEGV, on_abort);
    if (optind + 1 != argc || current.every == 0 || !run(argv[optind]))
        return usage();
    printf("%s: %lu cases\n", current.sweep, current.cases);
    return 0;
}
