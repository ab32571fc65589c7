/* Where the messages of each stream are: from (stream, seq) to block.
 *
 * A stream has a ring of its blocks in seq order, oldest first; 48 bytes a block, shared by all queues. Rings
 * grow by doubling and shrink when they are almost empty, so steady work allocates nothing. The loop's thread
 * alone. */
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "base/slab.h"
#include "core/view.h"

struct stream_index {
    struct list link; /* in index.all */
    uint64_t stream;
    struct block *ring;
    uint64_t capacity;  /* a power of two, or 0 */
    uint64_t head;      /* blocks dropped so far: block number n is at ring[n & (capacity - 1)] */
    uint64_t tail;      /* blocks pushed so far */
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
uint64_t stream_index_push(struct stream_index *si, const struct block *block);

/* The oldest block, borrowed until the ring changes; NULL when there is none. */
const struct block *stream_index_first(const struct stream_index *si);

/* Drops the oldest block. */
void stream_index_pop(struct stream_index *si);

/* Gives back memory when far fewer blocks are left than there is room for. */
void index_shrink(struct index *ix, struct stream_index *si);

/* The block that holds seq, or else the next one above it, borrowed until the ring changes; NULL when there
 * is none. */
const struct block *stream_index_at(struct stream_index *si, uint64_t seq);
