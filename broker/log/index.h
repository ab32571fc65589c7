/* Where the messages of each stream are: from (stream, seq) to block.
 *
 * A stream has a ring of its blocks in seq order, oldest first; 56 bytes a block, shared by all queues. Rings
 * grow by doubling and shrink when they are almost empty, so steady work allocates nothing. A block that is
 * forgotten between others leaves an empty entry; when there are more of these than of others, they are closed
 * up. The loop's thread alone. */
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "base/slab.h"
#include "core/view.h"
#include "place.h"

/* An empty one has neither count nor bytes, and its first_seq is where the block ended. */
struct index_entry {
    struct block block;
    /* With a log. */
    uint64_t place_lsn : PLACE_LSN_BITS; /* on the disk (place.h) */
    uint64_t unwanted : 9;               /* records that the last sweep found to be so */
    uint64_t place_cold : 1;
    uint64_t fetching : 1; /* on its way into memory */
    uint64_t cached : 1;   /* came back into memory */
};

_Static_assert(sizeof(struct index_entry) == 56, "what a block costs beside its bytes");

struct stream_index {
    struct list link; /* in index.all */
    uint64_t stream;
    struct index_entry *ring;
    uint64_t capacity;  /* a power of two, or 0 */
    uint64_t head;      /* entries dropped so far: number n is at ring[n & (capacity - 1)]; it is not empty */
    uint64_t tail;      /* entries pushed so far */
    uint64_t empty;     /* of those in between */
    uint64_t found;     /* the number of the block found last: look-ups go along a stream */
    uint64_t bytes_end; /* of all records ever pushed */
};

struct index {
    struct map streams;
    struct slab slab;
    struct list all;
    struct stream_index *last; /* the stream found last; NULL when unknown */
    uint64_t ring_bytes;       /* of memory, of all rings */
};

void index_init(struct index *ix);
void index_close(struct index *ix);

/* Gives the stream's index, which lives until index_remove(); NULL when there is none. */
struct stream_index *index_find(struct index *ix, uint64_t stream);

/* Gives the stream's index, a new one if need be, with room for block_count more
 * blocks. 0 or FANQ_ERR_NOMEM. */
int index_reserve(struct index *ix, uint64_t stream, uint64_t block_count, struct stream_index **ret_index);

void index_remove(struct index *ix, struct stream_index *si);

static inline uint64_t index_count(const struct index *ix)
{
    return ix->streams.count;
}

/* Adds a block behind the others; room was reserved. Fills in its bytes_before, and gives that. */
uint64_t stream_index_push(struct stream_index *si, const struct block *block, uint64_t place);

/* The same in any order, as the block is. stream_index_sort() must follow before anything else. */
void stream_index_put(struct stream_index *si, const struct block *block, uint64_t place);

/* Sorts what was put, and drops all but one of those that overlap: the longest, and of equal ones that which is
 * not cold. */
void stream_index_sort(struct stream_index *si);

static inline bool entry_empty(const struct index_entry *e)
{
    return e->block.count == 0;
}

static inline uint64_t entry_end(const struct index_entry *e)
{
    return e->block.first_seq + e->block.count;
}

static inline uint64_t entry_place(const struct index_entry *e)
{
    return e->place_lsn | (e->place_cold ? PLACE_COLD : 0);
}

static inline void entry_set_place(struct index_entry *e, uint64_t place)
{
    e->place_lsn = place_lsn(place);
    e->place_cold = place_is_cold(place);
}

/* Entry number n of [head, tail), borrowed until the ring changes. */
static inline struct index_entry *stream_index_entry(const struct stream_index *si, uint64_t n)
{
    return &si->ring[n & (si->capacity - 1)];
}

/* The oldest block, borrowed until the ring changes; NULL when there is none. */
struct index_entry *stream_index_first(const struct stream_index *si);

/* Drops the oldest block. */
void stream_index_pop(struct stream_index *si);

/* Forgets block number n, wherever it stands. */
void stream_index_forget(struct stream_index *si, uint64_t n);

/* Closes up empty entries when they are the most; entries get other numbers. */
void stream_index_settle(struct stream_index *si);

/* Gives back memory when far fewer blocks are left than there is room for. */
void index_shrink(struct index *ix, struct stream_index *si);

/* The number of the block that holds seq, or else of the next one above it; `tail` when there is none. */
uint64_t stream_index_number(struct stream_index *si, uint64_t seq);

/* The same block, borrowed until the ring changes; NULL when there is none. */
struct index_entry *stream_index_at(struct stream_index *si, uint64_t seq);
