#include "index.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/fanq_error.h"

enum {
    RING_BLOCKS_MIN = 8,
    RING_BLOCKS_KEPT = 4096,  /* a ring is not made smaller than this, however few blocks are in it ... */
    KEPT_BYTES_MAX = 1 << 20, /* ... as long as all rings together take no more than this */
    SHRINK_AT = 8             /* it is halved while it holds less than one in so many */
};

void index_init(struct index *ix)
{
    *ix = (struct index){0};
    map_init(&ix->streams,
             0); /* the broker gives the numbers of streams, so nobody can choose them to collide */
    slab_init(&ix->slab, sizeof(struct stream_index));
    list_init(&ix->all);
}

void index_close(struct index *ix)
{
    list_for_each (at, &ix->all)
        free(container_of(at, struct stream_index, link)->ring);
    map_close(&ix->streams);
    slab_close(&ix->slab);
    index_init(ix);
}

struct stream_index *index_find(struct index *ix, uint64_t stream)
{
    struct stream_index *si;

    if (ix->last != NULL && ix->last->stream == stream)
        return ix->last;
    si = map_get(&ix->streams, &stream, sizeof stream);
    if (si != NULL)
        ix->last = si;
    return si;
}

/* Moves the blocks to a ring of another size. */
static int resize(struct index *ix, struct stream_index *si, uint64_t capacity)
{
    struct index_entry *ring;

    assert(capacity >= si->tail - si->head);
    if (capacity > SIZE_MAX / sizeof *ring)
        return FANQ_ERR_NOMEM;
    ring = malloc(capacity * sizeof *ring);
    if (ring == NULL)
        return FANQ_ERR_NOMEM;
    for (uint64_t number = si->head; number != si->tail; number++)
        ring[number & (capacity - 1)] = si->ring[number & (si->capacity - 1)];
    free(si->ring);
    ix->ring_bytes += (capacity - si->capacity) * sizeof *ring;
    si->ring = ring;
    si->capacity = capacity;
    return 0;
}

static struct stream_index *add(struct index *ix, uint64_t stream)
{
    struct stream_index *si;

    if (map_reserve(&ix->streams) != 0)
        return NULL;
    si = slab_take(&ix->slab);
    if (si == NULL)
        return NULL;
    si->stream = stream;
    map_put(&ix->streams, &si->stream, sizeof si->stream, si);
    list_append(&ix->all, &si->link);
    return si;
}

int index_reserve(struct index *ix, uint64_t stream, uint64_t block_count, struct stream_index **ret_index)
{
    struct stream_index *si = index_find(ix, stream);
    uint64_t needed, capacity;

    if (si == NULL)
        si = add(ix, stream);
    if (si == NULL)
        return FANQ_ERR_NOMEM;
    needed = si->tail - si->head + block_count;
    capacity = si->capacity > 0 ? si->capacity : RING_BLOCKS_MIN;
    while (capacity < needed)
        capacity *= 2;
    if (capacity != si->capacity && resize(ix, si, capacity) != 0)
        return FANQ_ERR_NOMEM;
    *ret_index = si;
    return 0;
}

void index_remove(struct index *ix, struct stream_index *si)
{
    if (ix->last == si)
        ix->last = NULL;
    map_remove(&ix->streams, &si->stream, sizeof si->stream);
    list_remove(&si->link);
    ix->ring_bytes -= si->capacity * sizeof *si->ring;
    free(si->ring);
    slab_give(&ix->slab, si);
}

uint64_t stream_index_push(struct stream_index *si, const struct block *block, uint64_t place)
{
    struct index_entry *e = stream_index_entry(si, si->tail);

    assert(si->tail - si->head < si->capacity);
    assert(si->tail == si->head || entry_end(stream_index_entry(si, si->tail - 1)) <= block->first_seq);
    *e = (struct index_entry){
        .block = *block, .place_lsn = place_lsn(place), .place_cold = place_is_cold(place)};
    e->block.bytes_before = si->bytes_end;
    si->bytes_end += block->bytes;
    si->tail++;
    return e->block.bytes_before;
}

void stream_index_put(struct stream_index *si, const struct block *block, uint64_t place)
{
    struct index_entry *e = stream_index_entry(si, si->tail);

    assert(si->tail < si->capacity && si->head == 0 && si->empty == 0);
    *e = (struct index_entry){.block = *block};
    entry_set_place(e, place);
    if (block->bytes_before + block->bytes > si->bytes_end)
        si->bytes_end = block->bytes_before + block->bytes;
    si->tail++;
}

static int compare(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int compare_entries(const void *left, const void *right)
{
    const struct index_entry *a = left, *b = right;
    int order = compare(a->block.first_seq, b->block.first_seq);

    if (order == 0)
        order = compare(b->block.count, a->block.count);
    if (order == 0)
        order = compare(a->place_cold, b->place_cold);
    if (order == 0)
        order = compare(b->block.bytes, a->block.bytes);
    return order != 0 ? order : compare(a->place_lsn, b->place_lsn);
}

static bool is_sorted(const struct stream_index *si)
{
    for (uint64_t n = 1; n < si->tail; n++) {
        if (compare_entries(&si->ring[n - 1], &si->ring[n]) > 0)
            return false;
    }
    return true;
}

/* A copy lacks what was deleted, at its ends: so the longest of those that overlap has what the others have. */
void stream_index_sort(struct stream_index *si)
{
    uint64_t to = 0;

    assert(si->head == 0 && si->empty == 0);
    if (!is_sorted(si))
        qsort(si->ring, si->tail, sizeof *si->ring, compare_entries);
    for (uint64_t n = 0; n != si->tail; n++) {
        if (to == 0 || si->ring[n].block.first_seq >= entry_end(&si->ring[to - 1]))
            si->ring[to++] = si->ring[n];
    }
    si->tail = to;
}

struct index_entry *stream_index_first(const struct stream_index *si)
{
    return si->head != si->tail ? stream_index_entry(si, si->head) : NULL;
}

void stream_index_pop(struct stream_index *si)
{
    assert(si->head != si->tail);
    si->head++;
    while (si->empty > 0 && entry_empty(stream_index_entry(si, si->head))) {
        si->head++;
        si->empty--;
    }
}

void stream_index_forget(struct stream_index *si, uint64_t n)
{
    struct index_entry *e = stream_index_entry(si, n);

    assert(n >= si->head && n < si->tail && !entry_empty(e));
    if (n == si->head) {
        stream_index_pop(si);
        return;
    }
    *e = (struct index_entry){.block = {.first_seq = entry_end(e)}};
    si->empty++;
}

void stream_index_settle(struct stream_index *si)
{
    uint64_t to = si->head;

    if (si->empty <= (si->tail - si->head) / 2)
        return;
    for (uint64_t n = si->head; n != si->tail; n++) {
        const struct index_entry *e = stream_index_entry(si, n);
        if (!entry_empty(e))
            *stream_index_entry(si, to++) = *e;
    }
    si->tail = to;
    si->empty = 0;
}

/* Between two such steps on one ring its blocks must grow or shrink by many times, so the copying is paid
 * for. When there is no memory for the smaller ring the larger one stays. */
void index_shrink(struct index *ix, struct stream_index *si)
{
    uint64_t least = ix->ring_bytes > KEPT_BYTES_MAX ? RING_BLOCKS_MIN : RING_BLOCKS_KEPT;
    uint64_t capacity = si->capacity;

    while (capacity > least && si->tail - si->head < capacity / SHRINK_AT)
        capacity /= 2;
    if (capacity < si->capacity)
        (void)resize(ix, si, capacity); /* a favour, not a need */
}

/* Whether block `number` is the first one that ends above seq. */
static bool is_at(const struct stream_index *si, uint64_t number, uint64_t seq)
{
    const struct block *block;

    if (number < si->head || number >= si->tail)
        return false;
    block = &stream_index_entry(si, number)->block;
    if (seq >= block->first_seq)
        return seq - block->first_seq < block->count;
    return number == si->head;
}

uint64_t stream_index_number(struct stream_index *si, uint64_t seq)
{
    uint64_t low = si->head, high = si->tail;

    if (is_at(si, si->found, seq))
        return si->found;
    if (is_at(si, si->found + 1, seq))
        return ++si->found;
    while (low < high) { /* the first entry that ends above seq is in [low, high] */
        uint64_t middle = low + (high - low) / 2;
        if (entry_end(stream_index_entry(si, middle)) > seq)
            high = middle;
        else
            low = middle + 1;
    }
    while (low < si->tail && entry_empty(stream_index_entry(si, low)))
        low++;
    si->found = low;
    return low;
}

struct index_entry *stream_index_at(struct stream_index *si, uint64_t seq)
{
    uint64_t number = stream_index_number(si, seq);

    return number != si->tail ? stream_index_entry(si, number) : NULL;
}
