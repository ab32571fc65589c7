/* Which messages inside a row of held ones are gone: one bit a seq, in pages of 4,096.
 *
 * Only deletes out of order need a bit: a feed's runs (run.c) shrink at their edges instead, and what lies in
 * no run is gone anyway. A page without a set bit takes no memory but its slot of 8 bytes; up to 64 set bits
 * are a short list, more are a bitmap. Pages wholly below the feed's floor are given back. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slab.h"

enum { GONE_PAGE_SEQS = 4096, GONE_LIST_MAX = 64 };

/* The memory of all pages of a core. */
struct gone_pool {
    struct slab lists;
    struct slab bitmaps;
};

struct gone_page;

struct gone {
    struct gone_page **pages; /* page (base + i) is pages[i]; NULL: nothing is gone in it */
    size_t page_count;
    size_t page_capacity;
    uint64_t base;
};

void gone_pool_init(struct gone_pool *pool);
void gone_pool_close(struct gone_pool *pool);

void gone_init(struct gone *g);
void gone_close(struct gone *g, struct gone_pool *pool);

/* Makes sure that gone_set() of this range cannot fail. 0 or FANQ_ERR_NOMEM. */
int gone_reserve(struct gone *g, struct gone_pool *pool, uint64_t first, uint64_t end);

/* Marks [first, end); gives how many were not marked before. gone_reserve() came before. */
uint64_t gone_set(struct gone *g, struct gone_pool *pool, uint64_t first, uint64_t end);

/* How many of [first, end) are marked. */
uint64_t gone_count(const struct gone *g, uint64_t first, uint64_t end);

/* The first seq of [seq, end) that is not marked, or that is marked; `end` when there is none. */
uint64_t gone_next_live(const struct gone *g, uint64_t seq, uint64_t end);
uint64_t gone_next_gone(const struct gone *g, uint64_t seq, uint64_t end);

/* The end (exclusive) of the last live seq of [first, end); `first` when there is none. */
uint64_t gone_last_live_end(const struct gone *g, uint64_t first, uint64_t end);

/* Forgets all pages wholly below floor. */
void gone_trim(struct gone *g, struct gone_pool *pool, uint64_t floor);
