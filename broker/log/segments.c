/* The table of segments: from the one that commits go to, to the one that nobody needs any more.
 *
 *     spare ── first commit ──> filling ── the next one is opened ──> full ── synced ──> sealed (has an index)
 *       ^                                                                                   |
 *       +──────── leaving <── nothing in it is needed, and both checkpoints lie above it <──+
 *
 * A segment goes when nothing in it was needed when the newest checkpoint began, and replay from the older one begins above
 * it: so one damaged checkpoint is no loss. Deletes that are not synced cannot cost a message: the checkpoint that lets the
 * segment go waits for them. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log_state.h"
#include "proto/fanq_error.h"

enum { YOUNG_SEGMENTS = 3, RETRY_MS = 5000 };

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

void segments_stuck(struct log *l, bool cold, uint64_t number)
{
    struct segment_entry *s = table_find(l, cold, number);

    if (s != NULL)
        s->stuck = true;
}

/* One of which a move failed gets no index: what is read of its end may never have reached the disk. */
void segments_cold_full(struct log *l, uint64_t number, bool whole)
{
    struct segment_entry *s = table_find(l, true, number);

    if (s != NULL)
        s->state = whole ? SEGMENT_FULL : SEGMENT_SEALED;
}

/* ---- from run to run ---- */

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

/* Of a damaged segment an index has blocks that cannot be read, and a start would take them rather than copies that can. Which
 * segments those are nobody asks, where loss was accepted: the next starts read them all, until they have an index again. */
static int drop_indexes(struct log *l, struct directory_segment *found, size_t count)
{
    const struct io *io = &l->directory.io;
    char name[DIRECTORY_NAME_BYTES_MAX];
    int err = 0;

    for (size_t i = 0; err == 0 && i < count; i++) {
        if (!found[i].has_index)
            continue;
        directory_index_name(name, found[i].kind, found[i].number);
        err = io->remove(io->context, name);
        found[i].has_index = false;
    }
    return err == 0 ? io->sync_directory(io->context) : err;
}

int segments_restore(struct log *l, char error[LOG_ERROR_BYTES])
{
    struct directory_segment *found;
    size_t count;
    int err = directory_segments(&l->directory, &found, &count);

    if (err != 0)
        return err == -ENOMEM ? FANQ_ERR_NOMEM : FANQ_ERR_IO;
    l->next_cold = l->recovered.next_cold_number;
    l->next_spare = 1;
    if (l->recovered.loss && drop_indexes(l, found, count) != 0)
        err = FANQ_ERR_IO;
    for (size_t i = 0; err == 0 && i < count; i++) {
        if (found[i].kind == DIRECTORY_SPARE)
            spare_restore(l, found[i].number);
        else
            err = restore_segment(l, &found[i]);
    }
    free(found);
    l->newest_lsn = l->older_lsn = l->recovered.checkpoint_lsn;
    l->checkpoint_number = l->recovered.checkpoint_number;
    return err == 0 ? spares_begin(l, error) : err;
}

/* ---- the one that is filled ---- */

int segments_open(struct log *l, uint64_t number, uint64_t *ret_spare)
{
    int err = table_add(l, number, false, SEGMENT_FILLING);

    if (err != 0)
        return err;
    for (size_t i = 0; i + 1 < l->segment_count; i++)
        if (l->segments[i].state == SEGMENT_FILLING && !l->segments[i].cold)
            l->segments[i].state = SEGMENT_FULL;
    *ret_spare = spare_take(l);
    return 0;
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

void segments_seal(struct log *l)
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
    if (!s->cold && spares_keep(l))
        spare_recycle(l, s->number);
    else
        log_submit(l, &(struct store_job){.kind = STORE_REMOVE,
                                          .segment = {s->cold ? DIRECTORY_COLD : DIRECTORY_LOG, s->number}});
}

bool segment_may_go(const struct log *l, const struct segment_entry *s)
{
    return s->state == SEGMENT_SEALED &&
           (s->cut || (s->unkept && (s->cold || s->number < log_segment_of(l, l->older_lsn))));
}

void segments_let_go(struct log *l, uint64_t now_ms)
{
    if (now_ms < l->let_go_ms)
        return;
    for (size_t i = 0; i < l->segment_count; i++) {
        struct segment_entry *s = &l->segments[i];
        if (l->chores > 0)
            return; /* one at a time: removing files slows commits */
        if (segment_may_go(l, s))
            let_go(l, s);
    }
}

void segments_mark_dead(struct log *l)
{
    for (size_t i = 0; i < l->segment_count; i++)
        l->segments[i].dead = l->segments[i].state == SEGMENT_SEALED && live_bytes(l, &l->segments[i]) == 0;
}

bool segments_wait_for_checkpoint(const struct log *l)
{
    for (size_t i = 0; i < l->segment_count; i++) {
        const struct segment_entry *s = &l->segments[i];

        if (s->state == SEGMENT_SEALED && live_bytes(l, s) == 0 && !segment_may_go(l, s) &&
            (s->cold || s->number < log_segment_of(l, l->newest_lsn)))
            return true;
    }
    return false;
}

bool segments_wait_to_go(const struct log *l)
{
    for (size_t i = 0; i < l->segment_count; i++)
        if (l->segments[i].state == SEGMENT_SEALED && live_bytes(l, &l->segments[i]) == 0)
            return true;
    return false;
}

/* Not at once: what was cut off could go in every turn. */
static void could_not_go(struct log *l, struct segment_entry *s)
{
    s->state = SEGMENT_SEALED;
    l->let_go_ms = l->options.now_ns(l->options.context) / 1000000 + RETRY_MS;
}

void segments_recycled(struct log *l, uint64_t number, bool done)
{
    struct segment_entry *s = table_find(l, false, number);

    l->chores--;
    if (s != NULL && done)
        table_remove(l, s);
    else if (s != NULL)
        could_not_go(l, s);
}

void segments_completed(struct log *l, const struct store_done *done)
{
    bool spare = done->job.segment.segment_kind == DIRECTORY_SPARE;
    struct segment_entry *s = NULL;

    l->chores--;
    if (!spare)
        s = table_find(l, done->job.segment.segment_kind == DIRECTORY_COLD, done->job.segment.number);
    if (done->error != 0)
        log_report(l, "cannot %s %s %llu: %s", done->job.kind == STORE_REMOVE ? "remove" : "index",
                   spare ? "spare" : "segment", (unsigned long long)done->job.segment.number,
                   strerror(-done->error));
    if (done->job.kind != STORE_REMOVE || s == NULL)
        return; /* an index is a shortcut: recovery does without */
    if (done->error == 0)
        table_remove(l, s);
    else
        could_not_go(l, s);
}
