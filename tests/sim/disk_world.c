#include "disk_world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SETTLE_TURNS_MAX = 5000, SETTLE_MS = 250, SWEEP_BLOCKS = 16 };

const char *const world_queue_names[CRASH_QUEUES] = {"a", "b", "c", "d"};
const char *const world_topic_names[CRASH_TOPICS] = {"t", "u", "v"};

/* ---- life ---- */

struct disk_world *world_new(const struct disk_options *options, struct sim_disk *disk, uint64_t seed)
{
    struct disk_world *w = calloc(1, sizeof(*w));

    SIM_CHECK(w != NULL, "out of memory");
    w->options = *options;
    w->rng.state = seed;
    w->disk = disk;
    w->truth.wall_ms = 1700000000000;
    w->truth.salt = seed;
    w->now_ms = 1000;
    w->asks = malloc(DISK_ASKS_MAX * sizeof(*w->asks));
    SIM_CHECK(w->asks != NULL, "out of memory");
    effects_init(&w->effects);
    arena_init(&w->requests);
    return w;
}

static void broker_free(struct disk_world *w)
{
    core_free(w->core);
    log_free(w->log);
    w->core = NULL;
    w->log = NULL;
    effects_clear(&w->effects);
    arena_reset(&w->requests);
    w->effects_seen = 0;
    w->error = 0;
}

void world_free(struct disk_world *w)
{
    if (w == NULL)
        return;
    broker_free(w);
    effects_close(&w->effects);
    arena_close(&w->requests);
    crash_model_close(&w->truth.model);
    sim_disk_free(w->disk);
    free(w->asks);
    free(w);
}

struct disk_world *world_fork(const struct disk_world *w, uint64_t seed)
{
    struct disk_world *fork = world_new(&w->options, sim_disk_clone(w->disk, seed), seed);
    struct crash_model *model = &fork->truth.model;

    fork->truth = w->truth;
    model->capacity = model->count;
    model->events = malloc((model->count + 1) * sizeof(*model->events));
    SIM_CHECK(model->events != NULL, "out of memory");
    if (model->count > 0)
        memcpy(model->events, w->truth.model.events, model->count * sizeof(*model->events));
    return fork;
}

/* ---- what the log calls ---- */

static uint64_t now_ns(void *context)
{
    return ((struct disk_world *)context)->now_ms * 1000000;
}

static void notify(void *context)
{
}

static void report(void *context, const char *text)
{
    struct disk_world *w = context;

    w->reports++;
    snprintf(w->report, sizeof(w->report), "%s", text);
}

/* ---- start ---- */

static int open_log(struct disk_world *w)
{
    struct log_options options = {.io = sim_disk_io(w->disk),
                                  .segment_bytes = DISK_SEGMENT_BYTES,
                                  .memory_bytes_max = w->options.memory_bytes_max,
                                  .cache_bytes_max = w->options.cache_bytes_max,
                                  .disk_bytes_max = w->options.disk_bytes_max,
                                  .sync = w->options.sync,
                                  .sync_ms = 100,
                                  .random = {w->truth.salt, 2, 3, 4},
                                  .wall_ms = w->truth.wall_ms,
                                  .accept_loss = w->options.accept_loss,
                                  .now_ns = now_ns,
                                  .notify = notify,
                                  .report = report,
                                  .context = w};

    return log_open(&options, &w->log, w->error_text);
}

static int open_core(struct disk_world *w)
{
    struct core_options options = sim_options_default(w->truth.salt).core;

    options.view = (struct view){log_tail(w->log), tail_block};
    options.epoch = log_epoch(w->log);
    options.durable = true;
    options.serve_bytes_max = w->truth.salt % 3 == 0 ? 1000 : 256 * 1024;
    return core_new(&options, &w->core);
}

/* What clients hold they go on to believe to hold, also when it never was; but of queues that never were, or were never
 * deleted, they know too much. */
static void holds_cut(struct disk_world *w, uint64_t kept)
{
    const struct crash_model *m = &w->truth.model;
    bool other[CRASH_QUEUES] = {false};
    uint32_t count = 0;

    for (size_t i = m->count; i > 0 && m->events[i - 1].commit > kept; i--)
        if (m->events[i - 1].kind == CRASH_QUEUE_MADE || m->events[i - 1].kind == CRASH_QUEUE_ENDED)
            other[m->events[i - 1].queue] = true;
    for (uint32_t i = 0; i < w->hold_count; i++)
        if (!other[w->holds[i].slot] && !w->truth.lossy)
            w->holds[count++] = w->holds[i];
    w->hold_count = count;
}

/* The truth is what the commits say that were found. */
static void cut(struct disk_world *w)
{
    uint64_t kept = log_recovered(w->log)->last_number;

    SIM_CHECK(kept >= w->truth.floor, "commit %lu was promised, but the log ends with %lu", w->truth.floor,
              kept);
    SIM_CHECK(kept <= w->truth.appended, "commit %lu never was, the last one is %lu", kept,
              w->truth.appended);
    SIM_CHECK(!w->truth.floor_is_all || kept == w->truth.appended, "closed with commit %lu, opened with %lu",
              w->truth.appended, kept);
    if (kept < w->truth.appended)
        holds_cut(w, kept);
    crash_model_cut(&w->truth.model, kept);
    w->truth.appended = w->truth.told = w->truth.safe = w->truth.floor = kept;
    w->truth.floor_is_all = false;
}

int world_start(struct disk_world *w)
{
    int err;

    w->reports = 0;
    err = open_log(w);
    if (err == 0)
        err = open_core(w);
    if (err == 0)
        world_step(w, &(struct event){.kind = EVENT_TURN, .turn = {w->now_ms, w->truth.wall_ms, 0}});
    if (err == 0)
        err = log_recover(w->log, w->core, w->error_text);
    if (err != 0) {
        broker_free(w);
        return err;
    }
    cut(w);
    core_check(w->core);
    return 0;
}

/* ---- the end ---- */

void world_close(struct disk_world *w)
{
    uint64_t synced;

    log_stop(w->log);
    while (log_work_writer(w->log))
        continue;
    w->truth.floor_is_all = log_poll(w->log, &synced) == 0;
    log_rest(w->log, w->core, w->truth.wall_ms);
    w->truth.floor = w->truth.told;
    if (w->truth.floor_is_all)
        w->truth.floor = w->truth.safe = w->truth.appended;
    broker_free(w);
    sim_disk_kill(w->disk);
    clients_forget(w);
}

void world_kill(struct disk_world *w)
{
    if (w->log != NULL)
        w->truth.floor = w->truth.told;
    broker_free(w);
    sim_disk_kill(w->disk);
    clients_forget(w);
}

/* Without a sync before the answer, what was answered may be lost. */
void world_halt(struct disk_world *w)
{
    if (w->options.sync != WRITER_SYNC_GROUP)
        w->truth.floor = w->truth.safe;
    else if (w->log != NULL)
        w->truth.floor = w->truth.told;
    broker_free(w);
    clients_forget(w);
}

void world_crash(struct disk_world *w, enum sim_disk_crash crash)
{
    world_halt(w);
    sim_disk_crash(w->disk, crash);
}

/* ---- effects ---- */

static void append(struct disk_world *w)
{
    for (; w->effects_seen < w->effects.count; w->effects_seen++) {
        const struct effect *e = &w->effects.items[w->effects_seen];

        if (e->kind != EFFECT_COMMIT)
            continue;
        SIM_CHECK(e->commit.number == w->truth.appended + 1, "commit %lu follows %lu", e->commit.number,
                  w->truth.appended);
        SIM_CHECK(log_append(w->log, &e->commit) == 0, "out of memory");
        w->truth.appended = e->commit.number;
    }
}

/* Until the end of the turn answers grow together. */
static void reply(struct disk_world *w)
{
    for (size_t i = 0; i < w->effects.count; i++) {
        const struct effect *e = &w->effects.items[i];

        if (e->kind != EFFECT_REPLY && e->kind != EFFECT_DELIVER)
            continue;
        if (w->shown != NULL)
            look_reply(w, &e->reply);
        else
            clients_reply(w, &e->reply);
    }
}

void world_step(struct disk_world *w, const struct event *event)
{
    SIM_CHECK(core_step(w->core, event, &w->effects) == 0, "event %d failed", (int)event->kind);
    append(w);
}

/* Until here deliveries referred to what may go now. */
static void trim(struct disk_world *w)
{
    struct tail *tail = log_tail(w->log);

    for (size_t i = 0; i < w->effects.count; i++) {
        const struct effect *e = &w->effects.items[i];

        if (e->kind == EFFECT_TRIM) {
            tail_trim(tail, e->trim.stream, e->trim.seq);
        } else if (e->kind == EFFECT_STREAM_END) {
            tail_stream_end(tail, e->trim.stream);
        } else if (e->kind == EFFECT_FETCH) {
            log_fetch(w->log, e->fetch.stream, e->fetch.first_seq, e->fetch.count);
            w->fetches++;
        }
    }
    effects_clear(&w->effects);
    w->effects_seen = 0;
}

/* ---- turns ---- */

static bool poll(struct disk_world *w)
{
    struct event resident = {.kind = EVENT_RESIDENT};
    uint64_t synced;

    w->error = log_poll(w->log, &synced);
    if (w->error != 0)
        return false;
    SIM_CHECK(synced >= w->truth.told && synced <= w->truth.appended, "%lu is synced, of %lu", synced,
              w->truth.appended);
    if (synced > w->truth.told) {
        w->truth.told = synced;
        world_step(w, &(struct event){.kind = EVENT_SYNCED, .synced = synced});
    }
    if (log_is_synced(w->log))
        w->truth.safe = w->truth.appended;
    while (log_resident(w->log, &resident.resident.stream, &resident.resident.first_seq,
                        &resident.resident.count))
        world_step(w, &resident);
    return true;
}

static void mark_wanted(void *core, uint64_t stream, uint64_t first, uint64_t end, uint64_t *bits)
{
    core_mark_wanted(core, stream, first, end, bits);
}

static void upkeep(struct disk_world *w)
{
    const struct tail_wanted wanted = {w->core, mark_wanted};

    log_upkeep(w->log, w->core, w->now_ms, w->truth.wall_ms);
    if (tail_wants_sweep(log_tail(w->log)) || rng_chance(&w->rng, 10))
        (void)tail_sweep(log_tail(w->log), &wanted, SWEEP_BLOCKS); /* the round goes on with the next turn */
}

/* Whether there was any. */
bool world_work(struct disk_world *w, uint32_t writer_percent, uint32_t store_percent)
{
    bool any = false;

    while (rng_chance(&w->rng, writer_percent) && log_work_writer(w->log))
        any = true;
    while (rng_chance(&w->rng, store_percent) && log_work_store(w->log))
        any = true;
    return any;
}

static void answers_complete(struct disk_world *w)
{
    for (uint64_t i = w->ask_open; i < w->ask_count; i++) {
        struct disk_ask *a = &w->asks[i];

        if (a->due_commit > w->truth.appended)
            a->due_commit = w->truth.appended; /* there was nothing to commit */
        SIM_CHECK(a->answered || a->op == FANQ_OP_RECEIVE || a->due_commit > w->truth.told,
                  "request %lu (%s) is not answered: due with %lu, told %lu, appended %lu", i,
                  fanq_op_name(a->op), a->due_commit, w->truth.told, w->truth.appended);
    }
    while (w->ask_open < w->ask_count && w->asks[w->ask_open].answered)
        w->ask_open++;
    if (w->ask_open == w->ask_count)
        w->ask_open = w->ask_count = 0;
}

void world_turn(struct disk_world *w, uint32_t requests, uint64_t ms)
{
    if (w->error != 0)
        return;
    w->now_ms += ms;
    w->truth.wall_ms += ms;
    clients_expire(w);
    world_step(w,
               &(struct event){.kind = EVENT_TURN, .turn = {w->now_ms, w->truth.wall_ms, log_room(w->log)}});
    if (!poll(w))
        return;
    for (uint32_t i = 0; i < requests; i++)
        clients_ask(w);
    world_step(w, &(struct event){.kind = EVENT_COMMIT, .always = log_wants_witness(w->log, w->now_ms)});
    world_step(w, &(struct event){.kind = EVENT_SERVE});
    arena_reset(&w->requests);
    reply(w);
    answers_complete(w);
    trim(w);
    upkeep(w);
    (void)world_work(w, w->options.writer_percent, w->options.store_percent);
}

bool world_settle(struct disk_world *w)
{
    for (uint32_t turns = 0;; turns++) {
        while (world_work(w, 100, 100))
            continue;
        world_turn(w, 0, turns == 0 ? 0 : SETTLE_MS);
        if (w->error != 0)
            return false;
        if (w->ask_count == 0 && log_is_answered(w->log) &&
            (w->options.sync != WRITER_SYNC_GROUP || log_is_synced(w->log)))
            return true;
        SIM_CHECK(turns < SETTLE_TURNS_MAX, "%lu requests are never answered, the first is %lu (%s)",
                  w->ask_count - w->ask_open, w->ask_open, fanq_op_name(w->asks[w->ask_open].op));
    }
}

/* ---- the state in bytes ---- */

uint8_t *world_checkpoint(struct disk_world *w, uint64_t *ret_bytes)
{
    struct core_checkpoint checkpoint;
    bool ended = false;

    SIM_CHECK(core_checkpoint_begin(w->core, &checkpoint) == 0, "out of memory");
    while (!ended)
        SIM_CHECK(core_checkpoint_slice(w->core, &checkpoint, UINT64_MAX, &ended) == 0, "out of memory");
    *ret_bytes = checkpoint.bytes;
    return checkpoint.facts;
}
