/* The log's housekeeping: segments from spare to spare again, checkpoints, and what leaves memory.
 *
 *     spare ── first commit ──> filling ── the next one is opened ──> full ── synced ──> sealed (has an index)
 *       ^                                                                                   |
 *       +──────── leaving <── nothing in it is needed, and both checkpoints lie above it <──+
 *
 * A checkpoint is begun between two turns, written in slices, and put on the disk when the log is synced beyond everything in
 * it. A segment goes when nothing in it was needed when the newest checkpoint began, and replay from the older one
 * begins above it: so one damaged checkpoint is no loss. Deletes that are not synced cannot cost a message: the checkpoint
 * that lets the segment go waits for them. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log_state.h"
#include "proto/fanq_error.h"

enum {
    CHECKPOINT_MS = 30 * 1000,  /* as long as there is something new */
    CHECKPOINT_SHORT_MS = 1000, /* the same when the disk is short */
    CHECKPOINT_TIGHT_MS = 100,  /* at the least, when the disk is almost full */
    SLICE_BYTES = 64 * 1024,
    RETRY_MS = 1000,
    YOUNG_SEGMENTS = 3,
    TIGHT_SEGMENTS = 3 /* fewer can be made */
};

/* ---- the table ---- */

static int table_reserve(struct log *l)
{
    size_t capacity = l->segment_capacity > 0 ? l->segment_capacity * 2 : 64;
    struct segment_entry *segments;

    if (l->segment_count < l->segment_capacity)
        return 0;
    segments = realloc(l->segments, capacity * sizeof(*segments));
    if (segments == NULL)
        return FANQ_ERR_NOMEM;
    l->segments = segments;
    l->segment_capacity = capacity;
    return 0;
}

static int table_add(struct log *l, uint64_t number, bool cold, enum segment_state state)
{
    int err = table_reserve(l);

    if (err == 0)
        l->segments[l->segment_count++] =
            (struct segment_entry){.number = number, .cold = cold, .state = state};
    return err;
}

static struct segment_entry *table_find(struct log *l, bool cold, uint64_t number)
{
    for (size_t i = 0; i < l->segment_count; i++)
        if (l->segments[i].number == number && l->segments[i].cold == cold)
            return &l->segments[i];
    return NULL;
}

static void table_remove(struct log *l, struct segment_entry *s)
{
    size_t index = (size_t)(s - l->segments);

    l->segment_count--;
    memmove(s, s + 1, (l->segment_count - index) * sizeof(*s));
}

static uint64_t live_bytes(const struct log *l, const struct segment_entry *s)
{
    return tail_segment_live_bytes(l->tail, s->cold, s->number);
}

int segments_add_cold(struct log *l, uint64_t number)
{
    return table_add(l, number, true, SEGMENT_FILLING);
}

/* One of which a move failed gets no index: what is read of its end may never have reached the disk. */
void segments_cold_full(struct log *l, uint64_t number, bool whole)
{
    struct segment_entry *s = table_find(l, true, number);

    if (s != NULL)
        s->state = whole ? SEGMENT_FULL : SEGMENT_SEALED;
}

/* ---- spares ---- */

static void prepare(struct log *l, uint64_t recycle)
{
    log_submit(l,
               &(struct store_job){.kind = STORE_PREPARE,
                                   .prepare = {.spare = l->next_spare++, .recycle = recycle, .fill = true}});
    l->preparing++;
}

static bool spares_wanted(const struct log *l)
{
    return l->spare_count + l->preparing < LOG_SPARES_WANTED;
}

int segments_open(struct log *l, uint64_t number, uint64_t *ret_spare)
{
    int err = table_add(l, number, false, SEGMENT_FILLING);

    if (err != 0)
        return err;
    for (size_t i = 0; i + 1 < l->segment_count; i++)
        if (l->segments[i].state == SEGMENT_FILLING && !l->segments[i].cold)
            l->segments[i].state = SEGMENT_FULL;
    *ret_spare = l->spare_count > 0 ? l->spares[--l->spare_count] : WRITER_NO_SPARE;
    return 0;
}

/* What a crash cut off must not come back when the segments behind it are gone, which say that it was cut. */
static int restore_segment(struct log *l, const struct directory_segment *found)
{
    bool cold = found->kind == DIRECTORY_COLD;
    bool cut =
        !cold && (l->recovered.end_lsn == 0 || found->number > log_segment_of(l, l->recovered.end_lsn - 1));
    /* A cold one without an index may have had a move that failed. */
    int err =
        table_add(l, found->number, cold, found->has_index || cut || cold ? SEGMENT_SEALED : SEGMENT_FULL);

    if (err == 0)
        l->segments[l->segment_count - 1].cut = cut;
    return err;
}

enum { WIPE_BYTES = 4096 };

/* The last run may have written its first commit to a spare, and the power went before the spare's new name was on the disk.
 * That commit was cut off; but it would be found again, at the place and in the chain where this run's first one belongs,
 * if that were torn. Behind it nothing can be in the chain. */
static int spare_wipe(struct log *l, uint64_t number)
{
    static const uint8_t zeros[WIPE_BYTES];
    const struct io *io = &l->directory.io;
    char name[DIRECTORY_NAME_BYTES_MAX];
    int file, err;

    directory_segment_name(name, DIRECTORY_SPARE, number);
    err = io->open(io->context, name, IO_WRITE, &file);
    if (err != 0)
        return err;
    err = io_write(io, file, zeros, sizeof(zeros), 0);
    if (err == 0)
        err = io->sync(io->context, file);
    io->close(io->context, file);
    return err;
}

/* One that cannot be wiped is not used. */
static void spare_restore(struct log *l, uint64_t number)
{
    int err = l->spare_count < LOG_SPARES_MAX ? spare_wipe(l, number) : -EMLINK;

    if (err == 0)
        l->spares[l->spare_count++] = number;
    else if (err != -EMLINK)
        log_report(l, "cannot use spare %llu: %s", (unsigned long long)number, strerror(-err));
    if (l->next_spare <= number)
        l->next_spare = number + 1;
}

int segments_restore(struct log *l)
{
    struct directory_segment *found;
    size_t count;
    int err = directory_segments(&l->directory, &found, &count);

    if (err != 0)
        return err == -ENOMEM ? FANQ_ERR_NOMEM : FANQ_ERR_IO;
    l->next_cold = l->recovered.next_cold_number;
    l->next_spare = 1;
    err = 0;
    for (size_t i = 0; err == 0 && i < count; i++) {
        if (found[i].kind == DIRECTORY_SPARE) {
            spare_restore(l, found[i].number);
        } else {
            err = restore_segment(l, &found[i]);
        }
    }
    free(found);
    l->newest_lsn = l->older_lsn = l->recovered.checkpoint_lsn;
    l->checkpoint_number = l->recovered.checkpoint_number;
    return err;
}

static void prepared(struct log *l, const struct store_done *done, uint64_t recycled)
{
    struct segment_entry *s = recycled == STORE_NO_SEGMENT ? NULL : table_find(l, false, recycled);

    l->preparing--;
    l->chores -= recycled != STORE_NO_SEGMENT;
    if (done->error == 0) {
        assert(l->spare_count < LOG_SPARES_MAX);
        l->spares[l->spare_count++] = done->job.prepare.spare;
        if (s != NULL)
            table_remove(l, s);
        l->disk_short = false;
        l->retry_ms = 0;
        return;
    }
    if (s != NULL)
        s->state = SEGMENT_SEALED; /* tried again with the next checkpoint */
    if (!l->disk_short)
        log_report(l, "cannot prepare a segment: %s", strerror(-done->error));
    l->disk_short = true;
    l->retry_ms = 1; /* log_upkeep() says when */
}

void segments_completed(struct log *l, const struct store_done *done)
{
    struct segment_entry *s;

    if (done->job.kind == STORE_PREPARE) {
        prepared(l, done, done->job.prepare.recycle);
        return;
    }
    l->chores--;
    s = table_find(l, done->job.segment.segment_kind == DIRECTORY_COLD, done->job.segment.number);
    if (done->error != 0)
        log_report(l, "cannot %s segment %llu: %s", done->job.kind == STORE_REMOVE ? "remove" : "index",
                   (unsigned long long)done->job.segment.number, strerror(-done->error));
    if (done->job.kind != STORE_REMOVE || s == NULL)
        return; /* an index is a shortcut: recovery does without */
    if (done->error == 0)
        table_remove(l, s);
    else
        s->state = SEGMENT_SEALED;
}

/* ---- full segments get an index, dead ones go ---- */

/* An earlier run's; or the first commit of the segment behind it is synced. */
static bool is_synced(const struct log *l, const struct segment_entry *s)
{
    return s->cold || s->number < l->recovered.next_log_number ||
           l->done.synced_lsn > (s->number + 1) * l->directory.segment_bytes;
}

/* Most segments die young: those get no index, and go back to be spares. */
static bool is_young(const struct log *l, const struct segment_entry *s)
{
    return !s->cold && s->number + YOUNG_SEGMENTS > log_segment_of(l, l->end_lsn);
}

static void seal(struct log *l)
{
    for (size_t i = 0; i < l->segment_count; i++) {
        struct segment_entry *s = &l->segments[i];

        if (s->state != SEGMENT_FULL || !is_synced(l, s))
            continue;
        if (live_bytes(l, s) == 0) {
            s->state = SEGMENT_SEALED; /* it will go soon */
        } else if (l->chores == 0 && !is_young(l, s)) {
            s->state = SEGMENT_SEALED;
            l->chores++;
            log_submit(l,
                       &(struct store_job){.kind = STORE_INDEX,
                                           .segment = {s->cold ? DIRECTORY_COLD : DIRECTORY_LOG, s->number}});
        }
    }
}

static void let_go(struct log *l, struct segment_entry *s)
{
    l->chores++;
    s->state = SEGMENT_LEAVING;
    s->dead = s->unkept = false;
    if (!s->cold && l->spare_count + l->preparing < LOG_SPARES_KEPT)
        prepare(l, s->number);
    else
        log_submit(l, &(struct store_job){.kind = STORE_REMOVE,
                                          .segment = {s->cold ? DIRECTORY_COLD : DIRECTORY_LOG, s->number}});
}

bool segment_may_go(const struct log *l, const struct segment_entry *s)
{
    return s->state == SEGMENT_SEALED &&
           (s->cut || (s->unkept && (s->cold || s->number < log_segment_of(l, l->older_lsn))));
}

static void let_dead_go(struct log *l)
{
    for (size_t i = 0; i < l->segment_count; i++) {
        struct segment_entry *s = &l->segments[i];
        if (l->chores > 0)
            return; /* one at a time: removing files slows commits */
        if (segment_may_go(l, s))
            let_go(l, s);
    }
}

/* Whether the next checkpoint, or the one after it, lets a segment go. */
static bool any_waits_to_go(const struct log *l)
{
    for (size_t i = 0; i < l->segment_count; i++)
        if (l->segments[i].state == SEGMENT_SEALED && live_bytes(l, &l->segments[i]) == 0)
            return true;
    return false;
}

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
    for (size_t i = 0; i < l->segment_count; i++)
        l->segments[i].dead = l->segments[i].state == SEGMENT_SEALED && live_bytes(l, &l->segments[i]) == 0;
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
        l->checkpoint_needs_lsn = l->end_lsn + (core_fact_bytes(core) > 0); /* those are in the next commit */
    }
}

static void checkpoint_write(struct log *l)
{
    struct store_job job = {.kind = STORE_CHECKPOINT, .checkpoint = {.number = l->checkpoint_number + 1}};
    const struct checkpoint checkpoint = {.number = l->checkpoint_number + 1,
                                          .lsn = l->checkpoint_lsn,
                                          .next_commit = l->checkpoint_commit,
                                          .time_ms = l->checkpoint_wall_ms,
                                          .facts = l->checkpoint.facts,
                                          .fact_bytes = l->checkpoint.bytes,
                                          .fact_count = l->checkpoint.count};
    int err = checkpoint_encode(&l->directory, &checkpoint, &job.checkpoint.data, &job.checkpoint.length);

    if (err != 0) {
        log_report(l, "no memory for a checkpoint");
        checkpoint_give_up(l);
        return;
    }
    l->checkpoint_bytes = job.checkpoint.length;
    checkpoint_give_up(l); /* its facts are in the file's bytes now */
    l->checkpoint_state = CHECKPOINT_WRITE;
    log_submit(l, &job);
}

void checkpoint_completed(struct log *l, const struct store_done *done)
{
    l->checkpoint_state = CHECKPOINT_NONE;
    if (done->error != 0) {
        log_report(l, "cannot write a checkpoint: %s", strerror(-done->error));
        return;
    }
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

    return l->next_checkpoint_ms > earlier ? l->next_checkpoint_ms - earlier : 0;
}

/* Every segment's worth of log, or after a while; less often when a checkpoint is large. When the disk is almost full each
 * one that lets a segment go is worth it. */
static bool checkpoint_due(const struct log *l, uint64_t now_ms)
{
    uint64_t since = l->end_lsn - l->newest_lsn;
    uint64_t enough = l->directory.segment_bytes;

    if (enough < 2 * l->checkpoint_bytes)
        enough = 2 * l->checkpoint_bytes;
    if (since >= enough || (since > 0 && now_ms >= checkpoint_at_ms(l)))
        return true;
    return since > 2 * l->checkpoint_bytes && disk_is_tight(l) &&
           now_ms + CHECKPOINT_MS >= l->next_checkpoint_ms + CHECKPOINT_TIGHT_MS && any_waits_to_go(l);
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
        if (l->done.synced_lsn < l->checkpoint_needs_lsn)
            log_sync_soon(l); /* again, for what the writer's ring had no room for */
        else if (l->holders == 0)
            checkpoint_write(l);
        break;
    case CHECKPOINT_WRITE:
        break;
    }
}

/* ---- the disk ---- */

static uint64_t disk_bytes(const struct log *l)
{
    return (l->segment_count + l->spare_count + l->preparing) * l->directory.segment_bytes;
}

static bool may_grow(const struct log *l)
{
    return l->options.disk_bytes_max == 0 ||
           disk_bytes(l) + l->directory.segment_bytes <= l->options.disk_bytes_max;
}

bool disk_is_tight(const struct log *l)
{
    return l->disk_short ||
           (l->options.disk_bytes_max > 0 &&
            disk_bytes(l) + TIGHT_SEGMENTS * l->directory.segment_bytes > l->options.disk_bytes_max);
}

static void keep_spares(struct log *l, uint64_t now_ms)
{
    if (l->retry_ms == 1)
        l->retry_ms = now_ms + RETRY_MS;
    if (l->disk_short && now_ms < l->retry_ms)
        return;
    if (l->disk_short)
        l->retry_ms = now_ms + RETRY_MS;
    while (spares_wanted(l)) {
        if (!may_grow(l)) {
            if (!l->disk_short)
                log_report(l, "disk_bytes_max is reached: publishes are refused until messages are deleted");
            l->disk_short = true;
            l->retry_ms = now_ms + RETRY_MS;
            return;
        }
        prepare(l, STORE_NO_SEGMENT);
    }
    if (l->preparing == 0)
        l->disk_short = false;
}

uint64_t log_room(const struct log *l)
{
    return l->disk_short || l->error != 0 ? 0 : tail_room(l->tail);
}

/* ---- the whole ---- */

void log_upkeep(struct log *l, struct core *core, uint64_t now_ms, uint64_t wall_ms)
{
    tail_evict(l->tail);
    log_grant_wishes(l);
    if (l->holders == 0) {
        let_dead_go(l);
        seal(l);
    }
    keep_spares(l, now_ms);
    checkpoint_proceed(l, core, now_ms, wall_ms);
    if (l->holders == 0 || l->relocation.state != RELOCATION_RESTS)
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
    if (l->checkpoint_state == CHECKPOINT_NONE && l->holders == 0 && l->end_lsn > l->newest_lsn)
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
                            .disk_bytes = disk_bytes(l),
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
