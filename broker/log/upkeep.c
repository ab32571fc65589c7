/* The log's housekeeping: checkpoints, and what is done between two turns.
 *
 * A checkpoint is begun between two turns, written in slices, and put on the disk when the log is synced beyond everything in
 * it. */
#include <errno.h>
#include <string.h>

#include "checkpoint_file.h"
#include "log_state.h"

enum {
    CHECKPOINT_MS = 30 * 1000,  /* as long as there is something new */
    CHECKPOINT_SHORT_MS = 1000, /* the same when the disk is short */
    CHECKPOINT_TIGHT_MS = 100,  /* at the least, when the disk is almost full */
    CHECKPOINT_RETRY_MS = 1000, /* at the least, after one that could not be written */
    SLICE_BYTES = 64 * 1024
};

/* ---- checkpoints ---- */

static void checkpoint_begin(struct log *l, struct core *core, uint64_t now_ms, uint64_t wall_ms)
{
    l->next_checkpoint_ms = now_ms + CHECKPOINT_MS;
    if (core_checkpoint_begin(core, &l->checkpoint) != 0) {
        log_report(l, "no memory for a checkpoint");
        return;
    }
    l->checkpoint_state = CHECKPOINT_SLICES;
    l->checkpoint_lsn = l->end_lsn;
    l->checkpoint_commit = l->last_number + 1;
    l->checkpoint_wall_ms = wall_ms;
    segments_mark_dead(l);
}

static void checkpoint_give_up(struct log *l)
{
    core_checkpoint_free(&l->checkpoint);
    l->checkpoint_state = CHECKPOINT_NONE;
}

static void checkpoint_slice(struct log *l, struct core *core)
{
    bool ended;

    if (core_checkpoint_slice(core, &l->checkpoint, SLICE_BYTES, &ended) != 0) {
        log_report(l, "no memory for a checkpoint");
        checkpoint_give_up(l);
    } else if (ended) {
        l->checkpoint_state = CHECKPOINT_SYNC;
        l->checkpoint_needs_lsn = log_decided_lsn(l, core);
    }
}

/* The one that is complete. */
static struct checkpoint checkpoint_made(const struct log *l)
{
    return (struct checkpoint){.number = l->checkpoint_number + 1,
                               .lsn = l->checkpoint_lsn,
                               .next_commit = l->checkpoint_commit,
                               .time_ms = l->checkpoint_wall_ms,
                               .facts = l->checkpoint.facts,
                               .fact_bytes = l->checkpoint.bytes,
                               .fact_count = l->checkpoint.count,
                               .accepted_lsn = l->accepted_lsn,
                               .accepted_cold = l->accepted_cold};
}

static void checkpoint_write(struct log *l)
{
    if (l->checkpoint_needs_room && spares_can_give_up(l))
        spare_give_up(l); /* the store does one after the other */
    log_submit(l, &(struct store_job){.kind = STORE_CHECKPOINT, .checkpoint = checkpoint_made(l)});
    l->checkpoint_bytes = CHECKPOINT_FRAME_BYTES + l->checkpoint.bytes;
    l->checkpoint = (struct core_checkpoint){0}; /* its facts are the store's now */
    l->checkpoint_state = CHECKPOINT_WRITE;
}

/* When it is longer than what is kept for it, and others have filled the disk, another is made at once, with a spare's room. */
static void checkpoint_failed(struct log *l, int error)
{
    bool no_room = error == -ENOSPC || error == -EDQUOT;

    l->checkpoint_needs_room = no_room && spares_can_give_up(l);
    if (l->checkpoint_needs_room) {
        log_report(l, "a checkpoint finds no room on the disk: a spare segment is given up for it");
        l->next_checkpoint_ms = 0;
    } else {
        log_report(l, "cannot write a checkpoint: %s", strerror(-error));
        l->checkpoint_retry_ms = l->options.now_ns(l->options.context) / 1000000 + CHECKPOINT_RETRY_MS;
    }
}

void checkpoint_completed(struct log *l, const struct store_done *done)
{
    l->checkpoint_state = CHECKPOINT_NONE;
    if (done->error != 0) {
        checkpoint_failed(l, done->error);
        return;
    }
    l->checkpoint_needs_room = false;
    l->checkpoint_at_once = false;
    l->checkpoints++;
    l->checkpoint_number = done->job.checkpoint.number;
    l->older_lsn = l->newest_lsn;
    l->newest_lsn = l->checkpoint_lsn;
    for (size_t i = 0; i < l->segment_count; i++)
        l->segments[i].unkept = l->segments[i].dead;
}

/* Soon when the disk is short: with it go the segments in which nothing lives any more. */
static uint64_t checkpoint_at_ms(const struct log *l)
{
    uint64_t earlier = l->disk_short ? CHECKPOINT_MS - CHECKPOINT_SHORT_MS : 0;
    uint64_t at = l->next_checkpoint_ms > earlier ? l->next_checkpoint_ms - earlier : 0;

    return at > l->checkpoint_retry_ms ? at : l->checkpoint_retry_ms;
}

/* Something is new in the log; or a segment could go, which publishes wait for that make nothing new before. */
static bool checkpoint_worth_it(const struct log *l)
{
    return l->end_lsn > l->newest_lsn || l->checkpoint_at_once ||
           (disk_is_tight(l) && segments_wait_for_checkpoint(l));
}

/* Every segment's worth of log, or after a while; less often when a checkpoint is large. When the disk is almost full each
 * one that lets a segment go is worth it. */
static bool checkpoint_due(const struct log *l, uint64_t now_ms)
{
    uint64_t since = l->end_lsn - l->newest_lsn;
    uint64_t enough = l->directory.segment_bytes;

    if (now_ms < l->checkpoint_retry_ms)
        return false;
    if (enough < 2 * l->checkpoint_bytes)
        enough = 2 * l->checkpoint_bytes;
    if (since >= enough || (now_ms >= checkpoint_at_ms(l) && checkpoint_worth_it(l)))
        return true;
    return since > 2 * l->checkpoint_bytes && disk_is_tight(l) &&
           now_ms + CHECKPOINT_MS >= l->next_checkpoint_ms + CHECKPOINT_TIGHT_MS && segments_wait_to_go(l);
}

/* A spare that is being made would take what is given up. */
static bool room_is_in_use(const struct log *l)
{
    return l->checkpoint_needs_room && l->preparing > 0;
}

static void checkpoint_proceed(struct log *l, struct core *core, uint64_t now_ms, uint64_t wall_ms)
{
    switch (l->checkpoint_state) {
    case CHECKPOINT_NONE:
        if (l->holders == 0 && checkpoint_due(l, now_ms))
            checkpoint_begin(l, core, now_ms, wall_ms);
        break;
    case CHECKPOINT_SLICES:
        checkpoint_slice(l, core);
        break;
    case CHECKPOINT_SYNC:
        if (log_sync_to(l, l->checkpoint_needs_lsn) && l->holders == 0 && !room_is_in_use(l))
            checkpoint_write(l);
        break;
    case CHECKPOINT_WRITE:
        break;
    }
}

/* ---- the end ---- */

static void checkpoint_put(struct log *l)
{
    const struct checkpoint checkpoint = checkpoint_made(l);
    int err = checkpoint_file_put(&l->directory, &checkpoint);

    if (err != 0)
        log_report(l, "cannot write the last checkpoint: %s", strerror(-err));
}

void log_rest(struct log *l, struct core *core, uint64_t wall_ms)
{
    uint64_t synced;

    if (log_poll(l, &synced) != 0 || !log_is_synced(l) || l->holders > 0)
        return;
    if (l->checkpoint_state != CHECKPOINT_NONE)
        checkpoint_give_up(l);
    if (l->end_lsn == l->newest_lsn && !l->checkpoint_at_once)
        return;
    checkpoint_begin(l, core, 0, wall_ms);
    while (l->checkpoint_state == CHECKPOINT_SLICES)
        checkpoint_slice(l, core);
    if (l->checkpoint_state == CHECKPOINT_SYNC && l->checkpoint_needs_lsn <= l->end_lsn)
        checkpoint_put(l);
    checkpoint_give_up(l);
}

/* ---- the whole ---- */

uint64_t log_room(const struct log *l)
{
    return l->disk_short || l->error != 0 ? 0 : tail_room(l->tail);
}

void log_upkeep(struct log *l, struct core *core, uint64_t now_ms, uint64_t wall_ms)
{
    tail_evict(l->tail);
    log_grant_wishes(l);
    if (l->holders == 0) {
        segments_let_go(l, now_ms);
        segments_seal(l);
    }
    spares_proceed(l, now_ms);
    checkpoint_proceed(l, core, now_ms, wall_ms);
    relocation_proceed(l, core, now_ms, wall_ms);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t log_next_ms(const struct log *l)
{
    uint64_t next = UINT64_MAX;

    if (l->checkpoint_state == CHECKPOINT_SLICES)
        return 0;
    if (l->checkpoint_state == CHECKPOINT_NONE && l->holders == 0 && checkpoint_worth_it(l))
        next = checkpoint_at_ms(l);
    if (!l->witnessed && log_is_synced(l))
        next = least(next, l->last_commit_ms + LOG_WITNESS_MS);
    if (l->disk_short)
        next = least(next, l->retry_ms);
    next = least(next, relocation_next_ms(l));
    return next;
}

void log_figures(const struct log *l, struct log_figures *ret_figures)
{
    struct log_figures f = {.checkpoints = l->checkpoints,
                            .checkpoint_bytes = l->checkpoint_bytes,
                            .read_blocks = l->read_blocks,
                            .read_bytes = l->read_bytes,
                            .moved_bytes = l->moved_bytes,
                            .spares = l->spare_count,
                            .disk_bytes = log_disk_bytes(l),
                            .disk_short = l->disk_short};

    writer_figures(l->writer, &f.writer);
    for (size_t i = 0; i < l->segment_count; i++) {
        if (l->segments[i].cold)
            f.cold_segments++;
        else
            f.segments++;
    }
    *ret_figures = f;
}
