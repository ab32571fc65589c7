#include "gone.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/fanq_error.h"

enum { WORDS = GONE_PAGE_SEQS / 64 };

/* A short list and a bitmap share their head; `is_bitmap` tells which it is. */
struct gone_page {
    uint16_t count;
    bool is_bitmap;
};

struct list_page {
    struct gone_page page;
    uint16_t offsets[GONE_LIST_MAX]; /* rising */
};

struct bitmap_page {
    struct gone_page page;
    uint64_t words[WORDS];
};

void gone_pool_init(struct gone_pool *pool)
{
    slab_init(&pool->lists, sizeof(struct list_page));
    slab_init(&pool->bitmaps, sizeof(struct bitmap_page));
}

void gone_pool_close(struct gone_pool *pool)
{
    slab_close(&pool->lists);
    slab_close(&pool->bitmaps);
}

void gone_init(struct gone *g)
{
    *g = (struct gone){0};
}

static void page_free(struct gone_page *page, struct gone_pool *pool)
{
    if (page != NULL)
        slab_give(page->is_bitmap ? &pool->bitmaps : &pool->lists, page);
}

void gone_close(struct gone *g, struct gone_pool *pool)
{
    for (size_t i = 0; i < g->page_count; i++)
        page_free(g->pages[i], pool);
    free(g->pages);
    gone_init(g);
}

static struct gone_page *page_of(const struct gone *g, uint64_t seq)
{
    uint64_t number = seq / GONE_PAGE_SEQS;

    if (number < g->base || number - g->base >= g->page_count)
        return NULL;
    return g->pages[number - g->base];
}

/* ---- marking ---- */

static int directory_reserve(struct gone *g, uint64_t first_page, uint64_t last_page)
{
    uint64_t base = g->page_count == 0 ? first_page : (first_page < g->base ? first_page : g->base);
    uint64_t end = g->page_count == 0 ? last_page + 1 : g->base + g->page_count;
    size_t shift = g->page_count == 0 ? 0 : (size_t)(g->base - base);
    size_t need;

    if (end < last_page + 1)
        end = last_page + 1;
    need = (size_t)(end - base);
    if (need > g->page_capacity) {
        size_t capacity = need < 8 ? 8 : need * 2;
        struct gone_page **pages = realloc(g->pages, capacity * sizeof(*pages));

        if (pages == NULL)
            return FANQ_ERR_NOMEM;
        g->pages = pages;
        g->page_capacity = capacity;
    }
    if (shift != 0) {
        memmove(g->pages + shift, g->pages, g->page_count * sizeof(*g->pages));
        memset(g->pages, 0, shift * sizeof(*g->pages));
    }
    memset(g->pages + g->page_count + shift, 0, (need - g->page_count - shift) * sizeof(*g->pages));
    g->base = base;
    g->page_count = need;
    return 0;
}

int gone_reserve(struct gone *g, struct gone_pool *pool, uint64_t first, uint64_t end)
{
    uint64_t first_page = first / GONE_PAGE_SEQS, last_page = (end - 1) / GONE_PAGE_SEQS;
    size_t pages = (size_t)(last_page - first_page + 1);
    int err;

    assert(first < end);
    err = slab_reserve(&pool->lists, pages);
    if (err == 0)
        err = slab_reserve(&pool->bitmaps, pages);
    if (err == 0)
        err = directory_reserve(g, first_page, last_page);
    return err;
}

static uint64_t mask_from_to(unsigned first, unsigned end) /* bits [first, end) of a word, end 1..64 */
{
    uint64_t below_end = end == 64 ? UINT64_MAX : ((uint64_t)1 << end) - 1;

    return below_end & ~(((uint64_t)1 << first) - 1);
}

static unsigned bitmap_set(struct bitmap_page *bitmap, unsigned first, unsigned end)
{
    unsigned added = 0;

    for (unsigned word = first / 64; word * 64 < end; word++) {
        unsigned low = word * 64 < first ? first - word * 64 : 0;
        unsigned high = end - word * 64 < 64 ? end - word * 64 : 64;
        uint64_t fresh = mask_from_to(low, high) & ~bitmap->words[word];

        bitmap->words[word] |= fresh;
        added += (unsigned)__builtin_popcountll(fresh);
    }
    bitmap->page.count = (uint16_t)(bitmap->page.count + added);
    return added;
}

/* How many offsets of the list are below `offset`. */
static unsigned list_rank(const struct list_page *list, unsigned offset)
{
    unsigned low = 0, high = list->page.count;

    while (low < high) {
        unsigned middle = (low + high) / 2;

        if (list->offsets[middle] < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct gone_page *list_to_bitmap(struct list_page *list, struct gone_pool *pool)
{
    struct bitmap_page *bitmap = slab_take(&pool->bitmaps);

    assert(bitmap != NULL);
    bitmap->page.is_bitmap = true;
    for (unsigned i = 0; i < list->page.count; i++)
        (void)bitmap_set(bitmap, list->offsets[i], list->offsets[i] + 1u); /* counts itself */
    slab_give(&pool->lists, list);
    return &bitmap->page;
}

/* Marks [first, end) in a list that has room for them. */
static unsigned list_set(struct list_page *list, unsigned first, unsigned end)
{
    unsigned low = list_rank(list, first), high = list_rank(list, end), count = list->page.count;
    unsigned added = (end - first) - (high - low);

    memmove(list->offsets + low + (end - first), list->offsets + high, (count - high) * sizeof(uint16_t));
    for (unsigned i = 0; i < end - first; i++)
        list->offsets[low + i] = (uint16_t)(first + i);
    list->page.count = (uint16_t)(count + added);
    return added;
}

static unsigned page_set(struct gone_page **slot, struct gone_pool *pool, unsigned first, unsigned end)
{
    if (*slot == NULL) {
        *slot = slab_take(&pool->lists);
        assert(*slot != NULL);
    }
    if (!(*slot)->is_bitmap && (*slot)->count + (end - first) > GONE_LIST_MAX)
        *slot = list_to_bitmap((struct list_page *)*slot, pool);
    return (*slot)->is_bitmap ? bitmap_set((struct bitmap_page *)*slot, first, end)
                              : list_set((struct list_page *)*slot, first, end);
}

uint64_t gone_set(struct gone *g, struct gone_pool *pool, uint64_t first, uint64_t end)
{
    uint64_t added = 0;

    while (first < end) {
        uint64_t number = first / GONE_PAGE_SEQS;
        uint64_t page_end = (number + 1) * GONE_PAGE_SEQS;
        uint64_t stop = end < page_end ? end : page_end;

        assert(number >= g->base && number - g->base < g->page_count);
        added += page_set(&g->pages[number - g->base], pool, (unsigned)(first % GONE_PAGE_SEQS),
                          (unsigned)(stop - number * GONE_PAGE_SEQS));
        first = stop;
    }
    return added;
}

/* ---- asking ---- */

static unsigned page_count_in(const struct gone_page *page, unsigned first, unsigned end)
{
    const struct bitmap_page *bitmap = (const struct bitmap_page *)page;
    const struct list_page *list = (const struct list_page *)page;
    unsigned count = 0;

    if (!page->is_bitmap)
        return list_rank(list, end) - list_rank(list, first);
    for (unsigned word = first / 64; word * 64 < end; word++) {
        unsigned low = word * 64 < first ? first - word * 64 : 0;
        unsigned high = end - word * 64 < 64 ? end - word * 64 : 64;

        count += (unsigned)__builtin_popcountll(bitmap->words[word] & mask_from_to(low, high));
    }
    return count;
}

uint64_t gone_count(const struct gone *g, uint64_t first, uint64_t end)
{
    uint64_t count = 0;

    while (first < end) {
        uint64_t page_start = first - first % GONE_PAGE_SEQS;
        uint64_t stop = end < page_start + GONE_PAGE_SEQS ? end : page_start + GONE_PAGE_SEQS;
        const struct gone_page *page = page_of(g, first);

        if (page != NULL)
            count += page_count_in(page, (unsigned)(first - page_start), (unsigned)(stop - page_start));
        first = stop;
    }
    return count;
}

static bool page_has(const struct gone_page *page, unsigned offset)
{
    const struct bitmap_page *bitmap = (const struct bitmap_page *)page;
    const struct list_page *list = (const struct list_page *)page;
    unsigned rank;

    if (page->is_bitmap)
        return (bitmap->words[offset / 64] >> (offset % 64) & 1) != 0;
    rank = list_rank(list, offset);
    return rank < list->page.count && list->offsets[rank] == offset;
}

/* The first offset at or above `offset` that is marked (wanted) or not marked; GONE_PAGE_SEQS when there is
 * none. */
static unsigned page_next(const struct gone_page *page, unsigned offset, bool wanted)
{
    const struct bitmap_page *bitmap = (const struct bitmap_page *)page;
    const struct list_page *list = (const struct list_page *)page;

    if (page->is_bitmap) {
        for (unsigned word = offset / 64; word < WORDS; word++) {
            uint64_t bits = wanted ? bitmap->words[word] : ~bitmap->words[word];

            if (word == offset / 64)
                bits &= ~(((uint64_t)1 << (offset % 64)) - 1);
            if (bits != 0)
                return word * 64 + (unsigned)__builtin_ctzll(bits);
        }
        return GONE_PAGE_SEQS;
    }
    for (unsigned rank = list_rank(list, offset); rank < list->page.count; rank++) {
        if (wanted)
            return list->offsets[rank];
        if (list->offsets[rank] != offset)
            return offset;
        offset++;
    }
    return wanted ? GONE_PAGE_SEQS : offset;
}

static uint64_t gone_next(const struct gone *g, uint64_t seq, uint64_t end, bool wanted)
{
    while (seq < end) {
        uint64_t page_start = seq - seq % GONE_PAGE_SEQS;
        const struct gone_page *page = page_of(g, seq);
        unsigned offset;

        if (page == NULL && !wanted)
            return seq;
        offset = page == NULL ? GONE_PAGE_SEQS : page_next(page, (unsigned)(seq - page_start), wanted);
        seq = page_start + offset;
        if (offset < GONE_PAGE_SEQS)
            break;
    }
    return seq < end ? seq : end;
}

uint64_t gone_next_live(const struct gone *g, uint64_t seq, uint64_t end)
{
    return gone_next(g, seq, end, false);
}

uint64_t gone_next_gone(const struct gone *g, uint64_t seq, uint64_t end)
{
    if (g->page_count == 0)
        return end;
    return gone_next(g, seq, end, true);
}

uint64_t gone_last_live_end(const struct gone *g, uint64_t first, uint64_t end)
{
    while (end > first) {
        const struct gone_page *page = page_of(g, end - 1);

        if (page == NULL || !page_has(page, (unsigned)((end - 1) % GONE_PAGE_SEQS)))
            break;
        end--;
    }
    return end;
}

void gone_trim(struct gone *g, struct gone_pool *pool, uint64_t floor)
{
    uint64_t page = floor / GONE_PAGE_SEQS;
    size_t drop;

    if (g->page_count == 0 || page <= g->base)
        return;
    drop = page - g->base < g->page_count ? (size_t)(page - g->base) : g->page_count;
    for (size_t i = 0; i < drop; i++)
        page_free(g->pages[i], pool);
    memmove(g->pages, g->pages + drop, (g->page_count - drop) * sizeof(*g->pages));
    g->page_count -= drop;
    g->base += drop;
}
