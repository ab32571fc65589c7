/* The tail's data, for tail*.c alone.
 *
 * Parts: tail.c appends, finds and frees; tail_sweep.c moves what is left of pages. With a log: tail_resident.c lets blocks
 * leave memory and come back, tail_segments.c knows what of each segment is needed, tail_restore.c begins with what the
 * files have. */
#pragma once

#include "commit.h"
#include "index.h"
#include "pages.h"
#include "residents.h"
#include "tail.h"

/* A commit whose memory is kept until it is written. */
struct unwritten {
    uint8_t *data;
    uint64_t bytes, end_lsn;
};

struct unwritten_ring {
    struct unwritten *items;
    size_t head, count, capacity; /* capacity is a power of two, or 0 */
};

/* What is needed of one segment, and which blocks are in it, by their arrivals. */
struct segment_row {
    uint64_t live_bytes;
    uint64_t unwanted_bytes;              /* of these, by and large, as the last sweep found */
    uint64_t first_arrival, last_arrival; /* none: first > last */
};

struct segment_table {
    struct segment_row *rows; /* of the segments from base on */
    uint64_t base;
    size_t count, capacity;
};

struct tail {
    struct tail_options options;
    struct index index;
    struct pages pages;
    struct stream_index **targets; /* of the streams of the commit that is being appended */
    uint32_t target_capacity;
    uint64_t lsn;          /* where the next commit goes */
    uint64_t previous_end; /* of the commit before, padding included; 0: there is none */
    uint64_t arrival;      /* of the newest block */
    uint64_t live_blocks, live_bytes;
    uint64_t commits, commit_bytes;

    /* The sweep goes round: from this message of this stream (its link in the index) on. */
    struct list *sweep_at;
    uint64_t sweep_seq;
    uint64_t moved_blocks, moved_bytes, swept_bytes;

    /* With a log. */
    uint64_t written_lsn; /* all commits below are written */
    struct unwritten_ring unwritten;
    uint64_t unwritten_bytes;
    struct residents appended, cached; /* blocks in memory: as they were appended, or were read back */
    uint64_t cached_bytes, fetching_bytes;
    size_t fetching_count;
    uint64_t unwanted_bytes;          /* the sum over all segments */
    struct segment_table segments[2]; /* of the log; cold ones */
};

/* The bytes of a block with its header. */
static inline uint64_t block_bytes(const struct block *block)
{
    return sizeof(struct block_header) + block->bytes;
}

static inline uint8_t *block_start(const struct block *block)
{
    return (uint8_t *)block->records - sizeof(struct block_header);
}

/* ---- tail.c ---- */

/* A block that is in memory is not any more. */
void block_leave(struct tail *t, struct index_entry *e);
/* Gives back what a block has but its entry, which the caller drops. */
void block_release(struct tail *t, struct index_entry *e);

/* ---- tail_resident.c ---- */

/* Room for a commit of so many blocks. 0 or FANQ_ERR_NOMEM. */
int resident_reserve(struct tail *t, uint64_t block_count);
void resident_push(struct tail *t, const struct stream_index *si, const struct block *block, uint64_t lsn);
void unwritten_push(struct tail *t, const struct tail_commit *commit);
/* Of memory_bytes_max, what a turn may use: the rest is taken and cannot leave. */
uint64_t resident_space(const struct tail *t);

/* ---- tail_segments.c ---- */

/* Makes a row for the segment of a place. 0 or FANQ_ERR_NOMEM. */
int segments_reserve(struct tail *t, uint64_t place);
void segments_add(struct tail *t, const struct index_entry *e); /* reserved */
/* So many of the block's records are not wanted. */
void segments_unwanted(struct tail *t, struct index_entry *e, uint32_t count);
void segments_subtract(struct tail *t, const struct index_entry *e);
/* Segments before the first of which something is needed have no row any more. */
void segments_settle(struct tail *t);
void segments_close(struct tail *t);

/* ---- tail_sweep.c ---- */

/* The stream ends: the sweep goes on behind it. */
void sweep_pass(struct tail *t, const struct stream_index *si);
