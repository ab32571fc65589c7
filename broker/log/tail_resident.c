/* With a log: what is written may leave memory, oldest first, and comes back into a cache when it is asked for.
 *
 * A block in memory is a use of its pages, and so is a commit that is not written, a read under way, and a pin. Leaving
 * memory ends the block's use and makes its entry absent; what others use of the same pages is not touched, and a page goes
 * when nothing uses it.
 *
 * The cache is blocks in pages of their own, in the order in which they came. A block that came is there at least until the
 * next read begins, which is after the turn in which it could be served. */
#include <assert.h>
#include <stdlib.h>

#include "proto/fanq_error.h"
#include "tail_state.h"

enum {
    UNWRITTEN_MIN = 64,
    EDGE_PAGES = 2, /* that commits use beside their bytes: they begin and end anywhere */
    TURN_OF = 4     /* a turn may bring one in so many bytes of memory */
};

/* ---- what is where ---- */

static struct index_entry *entry_of(struct tail *t, uint64_t stream, uint64_t seq)
{
    struct stream_index *si = index_find(&t->index, stream);

    return si != NULL ? stream_index_at(si, seq) : NULL;
}

static bool is_there(void *tail, const struct resident *r)
{
    const struct index_entry *e = entry_of(tail, r->stream, r->seq);

    return e != NULL && e->block.records == r->records;
}

/* ---- commits ---- */

static int unwritten_reserve(struct unwritten_ring *u)
{
    size_t capacity = u->capacity > 0 ? u->capacity * 2 : UNWRITTEN_MIN;
    struct unwritten *items;

    if (u->count < u->capacity)
        return 0;
    items = malloc(capacity * sizeof *items);
    if (items == NULL)
        return FANQ_ERR_NOMEM;
    for (size_t n = 0; n < u->count; n++)
        items[n] = u->items[(u->head + n) & (u->capacity - 1)];
    free(u->items);
    *u = (struct unwritten_ring){items, 0, u->count, capacity};
    return 0;
}

int resident_reserve(struct tail *t, uint64_t block_count)
{
    int err = unwritten_reserve(&t->unwritten);

    return err != 0 ? err : residents_reserve(&t->appended, block_count, is_there, t);
}

void resident_push(struct tail *t, const struct stream_index *si, const struct block *block, uint64_t lsn)
{
    residents_push(&t->appended, (struct resident){si->stream, block->first_seq, lsn, block->records});
}

void unwritten_push(struct tail *t, const struct tail_commit *commit)
{
    struct unwritten_ring *u = &t->unwritten;

    assert(u->count < u->capacity);
    pages_use(&t->pages, commit->data, commit->bytes);
    u->items[(u->head + u->count++) & (u->capacity - 1)] =
        (struct unwritten){commit->data, commit->bytes, commit->lsn + commit->bytes};
    t->unwritten_bytes += commit->bytes;
}

void tail_written(struct tail *t, uint64_t lsn)
{
    struct unwritten_ring *u = &t->unwritten;

    assert(t->options.log && lsn >= t->written_lsn);
    t->written_lsn = lsn;
    while (u->count > 0 && u->items[u->head].end_lsn <= lsn) {
        pages_unuse(&t->pages, u->items[u->head].data, u->items[u->head].bytes);
        t->unwritten_bytes -= u->items[u->head].bytes;
        u->head = (u->head + 1) & (u->capacity - 1);
        u->count--;
    }
}

/* ---- leaving ---- */

/* What the index takes beside the pages. */
static uint64_t index_bytes(const struct tail *t)
{
    return t->index.ring_bytes + (t->appended.capacity + t->cached.capacity) * sizeof(struct resident);
}

/* What is kept free for the next turn. */
static uint64_t turn_bytes(const struct tail *t)
{
    uint64_t half = t->options.segment_bytes / 2, part = t->options.memory_bytes_max / TURN_OF;

    return half < part ? half : part;
}

uint64_t resident_space(const struct tail *t)
{
    uint64_t taken = index_bytes(t) + t->options.cache_bytes_max + t->unwritten_bytes +
                     (uint64_t)EDGE_PAGES * TAIL_PAGE_BYTES;
    uint64_t space = taken < t->options.memory_bytes_max ? t->options.memory_bytes_max - taken : 0;

    return space < turn_bytes(t) ? space : turn_bytes(t);
}

/* The oldest block leaves, if it is in the log already. */
static bool leave_oldest(struct tail *t, struct residents *r)
{
    const struct resident *first;

    while ((first = residents_first(r)) != NULL) {
        struct index_entry *e = entry_of(t, first->stream, first->seq);
        bool there = e != NULL && e->block.records == first->records;
        if (there && first->lsn >= t->written_lsn)
            return false;
        residents_pop(r);
        if (there) {
            block_leave(t, e);
            return true;
        }
    }
    return false;
}

static bool wants_eviction(const struct tail *t)
{
    uint64_t pages = pages_in_use(&t->pages) + EDGE_PAGES;

    return pages * TAIL_PAGE_BYTES + index_bytes(t) + turn_bytes(t) > t->options.memory_bytes_max;
}

void tail_evict(struct tail *t)
{
    assert(t->options.log);
    while (wants_eviction(t) && (leave_oldest(t, &t->appended) || leave_oldest(t, &t->cached)))
        continue;
}

/* ---- coming back ---- */

static bool cache_fits(const struct tail *t, uint64_t bytes)
{
    return t->cached_bytes + t->fetching_bytes + bytes <= t->options.cache_bytes_max;
}

/* Brings a place in the cache; one block may be larger than all of it. */
static int cache_place(struct tail *t, uint64_t bytes, uint8_t **ret_at)
{
    int err;

    while (!cache_fits(t, bytes) && leave_oldest(t, &t->cached))
        continue;
    if (!cache_fits(t, bytes) && t->fetching_count > 0)
        return FANQ_ERR_NO_ROOM;
    err = residents_reserve(&t->cached, t->fetching_count + 1, is_there, t);
    if (err == 0)
        err = pages_place(&t->pages, PAGES_OLD, bytes, ret_at);
    if (err != 0)
        return FANQ_ERR_NO_ROOM;
    pages_use(&t->pages, *ret_at, bytes);
    pages_take(&t->pages, PAGES_OLD, bytes);
    return 0;
}

int tail_fetch_begin(struct tail *t, uint64_t stream, uint64_t seq, struct tail_read *ret_read)
{
    struct index_entry *e = entry_of(t, stream, seq);
    uint64_t bytes;
    uint8_t *at;
    int err;

    if (e == NULL || e->block.first_seq > seq || e->block.records != NULL || e->fetching)
        return FANQ_ERR_INVALID;
    bytes = block_bytes(&e->block);
    err = cache_place(t, bytes, &at);
    if (err != 0)
        return err;
    e->fetching = true;
    t->fetching_count++;
    t->fetching_bytes += bytes;
    *ret_read = (struct tail_read){.stream = stream,
                                   .first_seq = e->block.first_seq,
                                   .count = e->block.count,
                                   .place = entry_place(e),
                                   .data = at,
                                   .bytes = (uint32_t)bytes};
    return 0;
}

/* The entry that waits for this read; NULL: it was trimmed, or moved with fewer records, meanwhile. */
static struct index_entry *entry_waiting(struct tail *t, const struct tail_read *read)
{
    struct index_entry *e = entry_of(t, read->stream, read->first_seq);

    return e != NULL && e->fetching && e->block.first_seq == read->first_seq &&
                   e->block.count == read->count && block_bytes(&e->block) == read->bytes
               ? e
               : NULL;
}

bool tail_fetch_end(struct tail *t, const struct tail_read *read, bool came)
{
    struct index_entry *e = entry_waiting(t, read);

    assert(t->fetching_count > 0 && t->fetching_bytes >= read->bytes);
    t->fetching_count--;
    t->fetching_bytes -= read->bytes;
    if (e != NULL)
        e->fetching = false;
    if (e != NULL && came) {
        e->block.records = read->data + sizeof(struct block_header);
        e->cached = true;
        t->cached_bytes += read->bytes;
        pages_use_block(&t->pages, read->data, read->bytes);
        residents_push(
            &t->cached,
            (struct resident){.stream = read->stream, .seq = read->first_seq, .records = e->block.records});
    }
    pages_unuse(&t->pages, read->data, read->bytes);
    return e != NULL && entry_place(e) == read->place;
}
