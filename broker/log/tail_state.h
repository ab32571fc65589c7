/* The tail's data, for tail*.c alone: tail.c appends and finds, tail_sweep.c moves what is left of pages. */
#pragma once

#include "commit.h"
#include "index.h"
#include "pages.h"
#include "tail.h"

struct tail {
    struct tail_options options;
    struct index index;
    struct pages pages;
    struct stream_index **targets; /* of the streams of the commit that is being appended */
    uint32_t target_capacity;
    uint64_t lsn;     /* where the next commit goes */
    uint64_t arrival; /* of the newest block */
    uint64_t live_blocks, live_bytes;
    uint64_t commits, commit_bytes;

    /* The sweep goes round: from this message of this stream (its link in the index) on. */
    struct list *sweep_at;
    uint64_t sweep_seq;
    uint64_t moved_blocks, moved_bytes, swept_bytes;
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

/* Gives back what a block has but its entry, which the caller drops. */
void block_release(struct tail *t, const struct index_entry *e);

/* ---- tail_sweep.c ---- */

/* The stream ends: the sweep goes on behind it. */
void sweep_pass(struct tail *t, const struct stream_index *si);
