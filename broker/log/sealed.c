/* Segments of which only the blocks are told: those below the checkpoint, and those of moved blocks.
 *
 * All in them is on the disk, as the checkpoint is behind it. So what is not as it was sealed is damage; but one has to know
 * where a segment's commits end, since behind a run's last commit there may be what was torn off. What tells it, the best
 * first: the first commit of the segment that came next (previous_end), if that was not cut off itself; the segment's
 * index; commits behind that speak of it, or that the same run wrote although it went on in later segments. */
#include "recovery_state.h"

#include <errno.h>
#include <inttypes.h>

#include "place.h"
#include "proto/fanq_error.h"
#include "segment_index.h"

#define END_UNKNOWN UINT64_MAX

struct sealed {
    enum directory_kind kind;
    uint64_t number;
    uint64_t start;
    uint64_t end;     /* behind its last commit, or END_UNKNOWN */
    bool run_went_on; /* its run surely wrote commits into later segments */
    bool must_scan;   /* though there may be an index */
};

/* ---- commit by commit ---- */

/* Whether commits stand behind the last one that was taken. */
static bool has_more(const struct recovery *r, const struct sealed *s)
{
    const struct cursor *last = &r->last;
    /* A move is synced before the next one of its segment begins, so only the last one can be torn. */
    uint64_t from = s->kind == DIRECTORY_COLD ? last->end + COMMIT_ALIGNMENT : last->end;

    if (s->end != END_UNKNOWN)
        return last->end < s->end;
    for (const struct commit_header *h = scan_next_header(&r->scan, from); h != NULL;
         h = scan_next_header(&r->scan, h->lsn + COMMIT_ALIGNMENT))
        if (h->number > last->number &&
            (s->kind == DIRECTORY_COLD || h->synced_lsn > last->end || s->run_went_on))
            return true;
    return false;
}

static int take_commits(struct recovery *r, const struct sealed *s)
{
    const struct commit_header *next;
    uint64_t lsn = s->start;
    int err;

    for (r->last = (struct cursor){.anywhere = true, .end = lsn};;
         r->last = (struct cursor){.anywhere = true, .end = lsn}) {
        err = recovery_walk(r, lsn, s->end, false);
        if (err != 0)
            return err;
        if (!has_more(r, s)) {
            if (s->kind == DIRECTORY_COLD && !scan_is_zero(&r->scan, r->last.end))
                r->result.moves_cut++;
            return 0;
        }
        recovery_lost_begin(r);
        next = recovery_lost_until_next(r, r->last.end, s->end);
        if (next == NULL)
            break;
        lsn = next->lsn;
    }
    if (s->end != END_UNKNOWN)
        recovery_lost_rest(r, s->end);
    return 0;
}

/* ---- by index ---- */

static int take_index(struct recovery *r, const struct sealed *s, const struct segment_index *index)
{
    uint64_t place_bit = s->kind == DIRECTORY_COLD ? PLACE_COLD : 0;
    int err = 0;

    for (uint64_t i = 0; err == 0 && i < index->header.entry_count; i++) {
        const struct segment_index_entry *e = &index->entries[i];
        err = recovery_tell_block(r, &e->block, place_bit | (s->start + e->offset), false);
    }
    return err;
}

static int take_segment(struct recovery *r, struct sealed *s, bool has_index, uint64_t file_bytes)
{
    struct segment_index index = {.entries = NULL};
    int err = has_index ? segment_index_read(r->directory, s->kind, s->number, &index) : -ENOENT;
    bool indexed = err == 0;

    if (err == -ENOMEM)
        return FANQ_ERR_NOMEM;
    if (indexed && s->end == END_UNKNOWN)
        s->end = s->start + index.header.end;
    if (indexed && !s->must_scan && s->end == s->start + index.header.end && index.header.end <= file_bytes) {
        err = take_index(r, s, &index);
    } else {
        err = recovery_load(r, s->kind, s->number);
        if (err == 0)
            err = take_commits(r, s);
    }
    segment_index_free(&index);
    return err;
}

/* ---- the kinds ---- */

/* Whether the first commit of a later segment tells where the log stood before it: it is not one that was cut off. */
static bool is_trusted(struct recovery *r, const struct segment *before, const struct commit_header *first)
{
    return (before->has_header && first->epoch > before->first_epoch) ||
           recovery_run_proven(r, first->epoch) >= first->previous_end;
}

static void look_behind(struct recovery *r, size_t index, struct sealed *s)
{
    const struct segment *segment = &r->segments[index];
    uint64_t segment_end = s->start + r->directory->segment_bytes;

    s->run_went_on = segment->has_header && recovery_run_proven(r, segment->first_epoch) > segment_end;
    for (size_t i = index + 1; i < r->segment_count; i++) {
        const struct segment *next = &r->segments[i];
        uint64_t end = next->opening.header.previous_end;

        if (next->superseded || !next->opening.valid)
            continue;
        if (end <= segment_end && is_trusted(r, segment, &next->opening.header))
            s->end = end > s->start ? end : s->start; /* all in it was cut off */
        return;
    }
}

int recovery_sealed_segment(struct recovery *r, size_t index)
{
    const struct segment *segment = &r->segments[index];
    struct sealed s = {.kind = DIRECTORY_LOG,
                       .number = segment->number,
                       .start = segment->number * r->directory->segment_bytes,
                       .end = END_UNKNOWN,
                       .must_scan = r->options->verify};

    if (segment->superseded && segment->opening.valid)
        return 0; /* from its beginning on; otherwise what was not cut off is damaged */
    look_behind(r, index, &s);
    return take_segment(r, &s, segment->has_index, segment->opening.file_bytes);
}

int recovery_cold_segment(struct recovery *r, const struct directory_segment *found)
{
    struct sealed s = {.kind = DIRECTORY_COLD,
                       .number = found->number,
                       .start = found->number * r->directory->segment_bytes,
                       .end = END_UNKNOWN,
                       .must_scan = r->options->verify};
    struct scan_opening opening;
    char name[DIRECTORY_NAME_BYTES_MAX];
    int err = scan_open(r->directory, DIRECTORY_COLD, found->number, &opening);

    if (err != 0) {
        directory_segment_name(name, DIRECTORY_COLD, found->number);
        return recovery_io_error(r, name, err);
    }
    return take_segment(r, &s, found->has_index, opening.file_bytes);
}

/* ---- up to the checkpoint ---- */

/* What the checkpoint says of the commit before its place. */
static void trust_checkpoint(struct recovery *r)
{
    r->last = (struct cursor){.number = r->checkpoint->next_commit - 1, .end = r->checkpoint->lsn};
}

/* It may have been reused when the checkpoint's place is right behind it. */
static void miss_segment(struct recovery *r)
{
    if (r->checkpoint->lsn % r->directory->segment_bytes != 0) {
        recovery_lost_begin(r);
        recovery_lost_rest(r, r->checkpoint->lsn);
    }
    trust_checkpoint(r);
}

static void compare_checkpoint(struct recovery *r)
{
    const struct checkpoint *c = r->checkpoint;
    bool reached = !r->last.anywhere && r->last.end == c->lsn;

    if (reached && r->last.number + 1 == c->next_commit)
        return;
    if (reached) {
        recovery_report(
            r, "%s does not fit to the log: it says that commit %" PRIu64 " comes next, but that is %" PRIu64,
            checkpoint_name(c->number), c->next_commit, r->last.number + 1);
        recovery_damaged(r, DIRECTORY_LOG, c->lsn);
    }
    trust_checkpoint(r);
}

int recovery_reach_checkpoint(struct recovery *r, size_t index)
{
    struct sealed s = {.kind = DIRECTORY_LOG,
                       .number = (r->checkpoint->lsn - 1) / r->directory->segment_bytes,
                       .end = r->checkpoint->lsn};
    int err;

    s.start = s.number * r->directory->segment_bytes;
    r->last = (struct cursor){.anywhere = true, .end = s.start};
    if (index == r->segment_count || r->segments[index].number != s.number) {
        miss_segment(r);
        return 0;
    }
    err = recovery_load(r, DIRECTORY_LOG, s.number);
    if (err == 0)
        err = take_commits(r, &s);
    if (err == 0)
        compare_checkpoint(r);
    return err;
}
