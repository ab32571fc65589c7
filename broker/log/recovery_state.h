/* The data of a recovery under way, for recovery.c, sealed.c, replay.c and lost.c alone. */
#pragma once

#include "checkpoint.h"
#include "recovery.h"
#include "scan.h"

/* The last commit that was taken: what the next one must name. */
struct cursor {
    bool anywhere;   /* there is none, or it is not known: whatever stands at `end` is taken */
    bool hash_known; /* else the hash is not compared */
    uint64_t number, end, hash, epoch;
};

/* A segment of the log. */
struct segment {
    uint64_t number;
    bool has_index;
    bool superseded; /* its first header was cut off: a later run went on from a place before it */
    struct scan_opening opening;
    /* The first header in it that is valid: at its beginning, unless that is damaged, torn, or of another life. */
    bool has_header;
    uint64_t first_epoch, first_number;
    uint64_t
        witnessed_lsn; /* the highest synced_lsn of its headers behind the log's end, when that was searched */
};

struct recovery {
    const struct recovery_options *options;
    const struct directory *directory;
    struct recovered result;
    struct scan scan;
    struct checkpoints checkpoints;
    const struct checkpoint *checkpoint; /* the one used, or NULL */
    struct segment *segments;            /* by number */
    size_t segment_count;
    struct cursor last;
    bool passed_over; /* damage was found of which the loss was accepted before */

    /* The end of the log, or damage (replay.c). */
    bool searched;          /* all that lies behind was looked at: */
    uint64_t witnessed_lsn; /* the highest of all segments: all below was on the disk */

    /* The last answer of recovery_run_proven(), which looks at all segments and is asked for each of them. */
    uint64_t proven_epoch, proven_lsn;
    bool proven_searched; /* as `searched` was */

    /* The stretch of damage that is being told (lost.c). */
    uint64_t lost_lsn;    /* all below is told */
    uint64_t lost_number; /* so is this commit */
};

static inline uint64_t recovery_segment_start(const struct recovery *r, const struct segment *s)
{
    return s->number * r->directory->segment_bytes;
}

static inline uint64_t recovery_highest(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* ---- recovery.c ---- */

void recovery_report(struct recovery *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What is damaged in the segments of this kind goes on to `end`. From now on nothing is told to the sink but reports, unless
 * the loss is accepted, or was before. */
void recovery_damaged(struct recovery *r, enum directory_kind kind, uint64_t end);
/* 0, FANQ_ERR_NOMEM or FANQ_ERR_IO, with a report. */
int recovery_load(struct recovery *r, enum directory_kind kind, uint64_t number);
int recovery_io_error(struct recovery *r, const char *what, int err);
int recovery_tell_block(struct recovery *r, const struct block_header *block, uint64_t place, bool behind);
bool recovery_continues(const struct cursor *last, const struct commit_header *commit);
/* Takes commits of the loaded segment, from lsn on and below end, as long as each is whole and continues the last. */
int recovery_walk(struct recovery *r, uint64_t lsn, uint64_t end, bool behind);
/* The first segment that has something at or behind lsn; segment_count: there is none. */
size_t recovery_segment_at(const struct recovery *r, uint64_t lsn);
/* The end of what the log surely has of a run. What is whole beyond it may be what was torn and cut off. */
uint64_t recovery_run_proven(struct recovery *r, uint64_t epoch);
/* Whether a later run of the broker cut the log off before this commit. */
bool recovery_superseded(const struct recovery *r, const struct commit_header *commit);

/* ---- sealed.c: blocks below the checkpoint ---- */

int recovery_cold_segment(struct recovery *r, const struct directory_segment *s);
int recovery_sealed_segment(struct recovery *r, size_t index);
/* The segment in which the checkpoint's place is. Afterwards last is the commit before that place. */
int recovery_reach_checkpoint(struct recovery *r, size_t index);

/* ---- replay.c: commits behind the checkpoint ---- */

int recovery_replay(struct recovery *r);

/* ---- lost.c: what damage affects ---- */

void recovery_lost_begin(struct recovery *r);
/* Goes over the loaded segment from lsn on; gives the next commit that is whole and comes after the last one, and reports
 * what was before it. Passes over commits that were made when the log had come to end. NULL: there is none. */
const struct commit_header *recovery_lost_until_next(struct recovery *r, uint64_t lsn, uint64_t end);
/* No commit comes any more, though there were some below end. */
void recovery_lost_rest(struct recovery *r, uint64_t end);
