/* The commits behind the checkpoint: along the chain, to where it ends.
 *
 *     last ──> at its end in the same segment, or at the beginning of a later one (a run begins a segment of its own,
 *              and a full one ends early), the commit that continues it
 *          ──> none: the end of the log, if nothing behind proves that there was more
 *
 * What proves it: a commit says with synced_lsn what was on the disk when it was written. A header is enough: it has a
 * hash of its own, and what it says is true whether or not the rest of the commit got to the disk. False alarms there are
 * none: what an earlier run left behind its torn end knew only of what lies before that end, which later runs passed; and
 * what a recycled segment has of its life before names another place. That a later commit names an end beyond the last one
 * (previous_end) proves nothing: segments are written, renamed and synced in groups. */
#include "recovery_state.h"

/* Loads the segment at whose beginning the chain goes on; *ret_lsn: UINT64_MAX when there is none. */
static int find_next(struct recovery *r, uint64_t *ret_lsn)
{
    *ret_lsn = UINT64_MAX;
    for (size_t i = recovery_segment_at(r, r->last.end); i < r->segment_count; i++) {
        const struct segment *s = &r->segments[i];
        int err;

        if (recovery_segment_start(r, s) < r->last.end || !s->opening.valid ||
            !recovery_continues(&r->last, &s->opening.header))
            continue;
        err = recovery_load(r, DIRECTORY_LOG, s->number);
        if (err != 0)
            return err;
        if (scan_commit(&r->scan, recovery_segment_start(r, s)) != NULL) {
            *ret_lsn = recovery_segment_start(r, s);
            return 0;
        }
    }
    return 0;
}

/* ---- the end, or damage ---- */

static uint64_t search_from(const struct recovery *r, const struct segment *s)
{
    uint64_t start = recovery_segment_start(r, s);

    return start > r->last.end ? start : r->last.end;
}

/* Looks once at all that lies behind. */
static int find_witnesses(struct recovery *r)
{
    const struct commit_header *h;

    for (size_t i = recovery_segment_at(r, r->last.end); !r->searched && i < r->segment_count; i++) {
        struct segment *s = &r->segments[i];
        int err = recovery_load(r, DIRECTORY_LOG, s->number);

        if (err != 0)
            return err;
        for (uint64_t lsn = search_from(r, s); (h = scan_next_header(&r->scan, lsn)) != NULL;
             lsn = h->lsn + COMMIT_ALIGNMENT)
            s->witnessed_lsn = recovery_highest(s->witnessed_lsn, h->synced_lsn);
        r->witnessed_lsn = recovery_highest(r->witnessed_lsn, s->witnessed_lsn);
    }
    r->searched = true;
    return 0;
}

/* Finds the commit behind damage with which to go on: one that is on the disk, or the one right behind those that were. */
static int skip_damage(struct recovery *r, uint64_t *ret_lsn)
{
    *ret_lsn = UINT64_MAX;
    recovery_lost_begin(r);
    for (size_t i = recovery_segment_at(r, r->last.end); i < r->segment_count; i++) {
        const struct segment *s = &r->segments[i];
        const struct commit_header *next;
        int err = recovery_load(r, DIRECTORY_LOG, s->number);

        if (err != 0)
            return err;
        next = recovery_lost_until_next(r, search_from(r, s), recovery_run_proven(r, s->first_epoch) + 1);
        if (next != NULL) {
            r->last = (struct cursor){.anywhere = true, .end = next->lsn};
            *ret_lsn = next->lsn;
            return 0;
        }
    }
    recovery_lost_rest(r, r->witnessed_lsn);
    return 0;
}

static int find_behind_damage(struct recovery *r, uint64_t *ret_lsn)
{
    int err = find_witnesses(r);

    *ret_lsn = UINT64_MAX;
    return err == 0 && r->witnessed_lsn > r->last.end ? skip_damage(r, ret_lsn) : err;
}

/* ---- along the chain ---- */

/* The first commit of all may stand at the beginning of any segment; else the segment of the last one is loaded, if it
 * is there. */
int recovery_replay(struct recovery *r)
{
    uint64_t lsn = r->last.end;
    bool loaded = r->scan.length > 0 && lsn >= scan_start(&r->scan) && r->scan.kind == DIRECTORY_LOG;
    int err = loaded ? recovery_walk(r, lsn, UINT64_MAX, true) : 0;

    while (err == 0) {
        err = find_next(r, &lsn);
        if (err == 0 && lsn == UINT64_MAX)
            err = find_behind_damage(r, &lsn);
        if (err != 0 || lsn == UINT64_MAX)
            break;
        err = recovery_walk(r, lsn, UINT64_MAX, true);
    }
    return err;
}
