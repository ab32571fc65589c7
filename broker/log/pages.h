/* The memory of the tail: segments of address space, filled from their beginning, held by the page.
 *
 * States:   a page is cold (the system has its memory) or held. A held page is in use (blocks or pins count
 *           on it, or it is the one being written) or warm: dead, but kept for the next commits, since the
 *           system takes longer to bring in a page than a commit to fill it. At most PAGES_WARM_MAX are warm,
 *           and they go first when memory is short.
 * Segments: commits stand one behind the other in the current segment. Where a commit would go into a cold
 *           page while another segment is dead, it goes there instead, so that a broker with a short backlog
 *           walks back and forth over a few warm pages. When nothing in the current segment lives any more it is
 *           filled from its beginning again. Two dead segments are kept as spares, further ones are unmapped.
 * Heads:    what is appended and what is copied or read back go to segments of their own. Where a
 *           commit lies in the log's files has nothing to do with where it lies here.
 * Place:    the loop's thread alone. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

enum { PAGES_WARM_MAX = 32, PAGES_SPARES_MAX = 2 };

struct segment;

enum pages_head {
    PAGES_NEW, /* what is appended */
    PAGES_OLD, /* copies of what was, and what was read back: it lives longer, or shorter */
    PAGES_HEADS
};

struct pages_place {
    struct segment *segment; /* NULL before the first one */
    uint64_t used;           /* of it */
    uint64_t placed;         /* what pages_place() promised; 0 when pages_take() came */
};

struct pages {
    uint64_t segment_bytes;
    uint64_t held_max; /* in pages: warm ones are given back to stay below */
    uint64_t held;     /* in pages, warm ones included */
    struct list warm;  /* oldest first */
    uint64_t warm_count;
    struct segment **segments; /* all, by address */
    size_t segment_count, segment_capacity;
    struct pages_place heads[PAGES_HEADS];
    struct segment *spares[PAGES_SPARES_MAX];
    size_t spare_count;
    struct segment *found; /* the segment found last */
};

void pages_init(struct pages *p, uint64_t segment_bytes, uint64_t memory_bytes_max);
void pages_close(struct pages *p); /* unmaps everything, whatever still counts on it */

/* Gives a place for up to `bytes` bytes, at most a segment, in pages that are held from now on. pages_take()
 * must follow before anything but pages_use(). 0 or FANQ_ERR_NOMEM (nothing changed). */
int pages_place(struct pages *p, enum pages_head head, uint64_t bytes, uint8_t **ret_at);

/* Of the place given, `bytes` bytes are written, and what counts on them has called pages_use(). */
void pages_take(struct pages *p, enum pages_head head, uint64_t bytes);

/* Keeps the pages under [at, at + length) until the matching pages_unuse(). */
void pages_use(struct pages *p, const uint8_t *at, uint64_t length);
void pages_unuse(struct pages *p, const uint8_t *at, uint64_t length);

/* The same for a block, of which the pages also count the bytes. */
void pages_use_block(struct pages *p, const uint8_t *at, uint64_t length);
void pages_unuse_block(struct pages *p, const uint8_t *at, uint64_t length);

/* Whether blocks take half of the pages under [at, at + length) at most, and nothing will be added to them:
 * copying what they hold would bring memory back. */
bool pages_sparse(struct pages *p, const uint8_t *at, uint64_t length);

/* Pages that something counts on, or that are written. */
static inline uint64_t pages_in_use(const struct pages *p)
{
    return p->held - p->warm_count;
}

/* How many more pages may come into use. */
uint64_t pages_free_count(const struct pages *p);
