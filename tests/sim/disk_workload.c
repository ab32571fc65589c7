#include "disk_workload.h"

#include <stdlib.h>
#include <string.h>

enum { PAST_RUNS = 3, PAST_OPERATIONS = 240, TURNS_MAX = 20000, FURTHER_TURNS = 3, FURTHER_REQUESTS = 4 };

/* Much that waits for the disk; little memory; a log that is synced late; one that is not synced at all. */
static const struct disk_options workloads[WORKLOADS] = {
    {.sync = WRITER_SYNC_GROUP,
     .memory_bytes_max = 800 * 1024,
     .cache_bytes_max = 64 * 1024,
     .record_bytes_max = 1500,
     .writer_percent = 40,
     .store_percent = 50,
     .churn_percent = 30,
     .drain_percent = 20},
    {.sync = WRITER_SYNC_GROUP,
     .memory_bytes_max = 320 * 1024,
     .cache_bytes_max = 32 * 1024,
     .record_bytes_max = 4000,
     .writer_percent = 80,
     .store_percent = 80,
     .churn_percent = 5,
     .drain_percent = 60},
    {.sync = WRITER_SYNC_ASYNC,
     .memory_bytes_max = 400 * 1024,
     .cache_bytes_max = 32 * 1024,
     .record_bytes_max = 4000,
     .writer_percent = 70,
     .store_percent = 70,
     .churn_percent = 10,
     .drain_percent = 50},
    {.sync = WRITER_SYNC_NONE,
     .memory_bytes_max = 400 * 1024,
     .cache_bytes_max = 32 * 1024,
     .record_bytes_max = 4000,
     .writer_percent = 70,
     .store_percent = 70,
     .churn_percent = 10,
     .drain_percent = 40},
};

static void some_turn(struct disk_world *w)
{
    uint64_t ms = rng_chance(&w->rng, 3) ? rng_below(&w->rng, 40000) : rng_skewed(&w->rng, 0, 300);

    world_turn(w, rng_skewed(&w->rng, 0, 14), ms);
}

int workload_run(struct disk_world *w, uint64_t operations)
{
    int err = world_start(w);

    if (err == 0)
        world_look(w);
    for (uint32_t turns = 0;
         err == 0 && w->error == 0 && !sim_disk_stopped(w->disk) && sim_disk_operations(w->disk) < operations;
         turns++) {
        SIM_CHECK(turns < TURNS_MAX, "the workload does not come to its end");
        some_turn(w);
    }
    return err;
}

/* Some runs before the one that is harmed, so that there is a backlog in several segments, and checkpoints. */
static struct disk_world *past_of(uint32_t workload)
{
    struct disk_world *w = world_new(&workloads[workload], sim_disk_new(workload + 1), workload + 1);

    for (uint32_t i = 0; i < PAST_RUNS; i++) {
        SIM_CHECK(workload_run(w, PAST_OPERATIONS) == 0 && w->error == 0, "the workload fails: %s",
                  w->error_text);
        if (i == 0)
            world_close(w);
        else if (i == 1)
            world_crash(w, SIM_DISK_SHUFFLE);
        else
            world_kill(w);
    }
    return w;
}

struct disk_world *workload_new(uint32_t workload)
{
    static struct disk_world *pasts[WORKLOADS];

    if (pasts[workload] == NULL)
        pasts[workload] = past_of(workload);
    return world_fork(pasts[workload], workload + 1);
}

/* ---- afterwards ---- */

static void start(struct disk_world *w)
{
    int err = world_start(w);

    SIM_CHECK(err == 0, "the broker does not start: %s (%s)", w->error_text, w->report);
    SIM_CHECK(w->reports == 0, "something is said to be wrong: %s", w->report);
}

void workload_verify_content(struct disk_world *w)
{
    start(w);
    world_look(w);
}

void workload_verify(struct disk_world *w)
{
    uint64_t before_bytes, after_bytes;
    uint8_t *before, *after;

    workload_verify_content(w);
    for (uint32_t i = 0; i < FURTHER_TURNS; i++)
        world_turn(w, FURTHER_REQUESTS, 10);
    SIM_CHECK(world_settle(w), "the log has ended: %d", w->error);
    world_close(w); /* what clients hold is ready again */
    start(w);
    before = world_checkpoint(w, &before_bytes);
    world_kill(w);
    start(w);
    after = world_checkpoint(w, &after_bytes);
    SIM_CHECK(before_bytes == after_bytes && memcmp(before, after, after_bytes) == 0,
              "started twice, the state is another");
    free(before);
    free(after);
    world_look(w);
}
