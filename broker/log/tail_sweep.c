/* Getting back what messages that stay keep from being freed: trimming frees a stream from its beginning only, and a page
 * only when nothing in it lives.
 *
 * The sweep asks of each block what of it is wanted. Nothing: it is forgotten, wherever it stands in its stream. No more
 * than half of its bytes, or it lies in a page of which blocks take half at most: it is copied, together with others
 * like it, to pages of their own. The copy begins with the first message that is wanted and ends with the last; of
 * those in between that are not, it has the shortest record there is, so that numbers stay what they are. (When it is cut
 * again, what it tells of the bytes before it lacks what they had: less than there were, and still rising.)
 *
 * So each byte that is copied brings a byte back at least, and a block is not copied twice unless it, or its page, has lost
 * half again. A record of more than half a page is never copied: it fills its pages well enough.
 *
 * With a log nothing is copied here, for what is written may leave memory; but blocks are forgotten, which is what lets
 * segments go. */
#include <assert.h>
#include <string.h>

#include "part.h"
#include "tail_state.h"

enum {
    COPY_BYTES_MAX = TAIL_PAGE_BYTES / 2, /* of a block */
    COPY_PAGES = 1,                       /* that it may need beside the one that is written */
    WANTS_FROM_PAGES = 32,                /* below, a sweep is not worth its time */
    WANTS_AT_FREE = 4                     /* one in so many pages */
};

/* What the sweep knows of the stream it is in. */
struct look {
    struct tail *tail;
    const struct tail_wanted *wanted;
    struct stream_index *index;
    uint64_t first, end; /* it was asked about these messages */
    uint64_t bits[TAIL_WANTED_MAX / 64];
};

/* ---- what is wanted ---- */

/* Asks about block `number` and as many of those behind it, up to `stop`, as can be asked about at once: a stream may have
 * very many feeds, and each time all of them are asked. */
static void look_from(struct look *l, uint64_t number, uint64_t stop)
{
    l->first = stream_index_entry(l->index, number)->block.first_seq;
    l->end = l->first;
    for (; number != stop; number++) {
        uint64_t end = entry_end(stream_index_entry(l->index, number));
        if (end - l->first > TAIL_WANTED_MAX)
            break;
        l->end = end;
    }
    memset(l->bits, 0, sizeof l->bits);
    l->wanted->mark(l->wanted->context, l->index->stream, l->first, l->end, l->bits);
}

static uint32_t count_wanted(const struct look *l, const struct block *b)
{
    uint64_t from = b->first_seq - l->first, end = from + b->count;
    uint32_t count = 0;

    for (uint64_t word = from / 64; word * 64 < end; word++) {
        uint64_t bits = l->bits[word];
        if (word * 64 < from)
            bits &= UINT64_MAX << (from % 64);
        if (end - word * 64 < 64)
            bits &= ~(UINT64_MAX << (end % 64));
        count += (uint32_t)__builtin_popcountll(bits);
    }
    return count;
}

/* ---- copying ---- */

/* Copies that part of the block, which then is the block. Without memory for it, it stays as it is. */
static void block_move(const struct look *l, struct index_entry *e, const struct part *p)
{
    struct tail *t = l->tail;
    struct block *b = &e->block;
    uint64_t before = block_bytes(b), bytes = sizeof(struct block_header) + p->bytes;
    struct block_header *header;
    uint8_t *place, *end;

    if (pages_free_count(&t->pages) < COPY_PAGES || pages_place(&t->pages, PAGES_OLD, bytes, &place) != 0)
        return;
    header = (struct block_header *)place;
    memcpy(header, block_start(b), sizeof *header);
    header->first_seq += p->first;
    header->bytes_before += p->front_bytes;
    header->count = p->end - p->first;
    header->bytes = p->bytes;
    end = part_put(place + sizeof *header, p, b->records, l->bits, b->first_seq - l->first);
    assert(end == place + bytes);
    pages_use_block(&t->pages, place, bytes);
    pages_take(&t->pages, PAGES_OLD, bytes);
    pages_unuse_block(&t->pages, block_start(b), before);
    b->first_seq = header->first_seq;
    b->bytes_before = header->bytes_before;
    b->count = header->count;
    b->bytes = header->bytes;
    b->records = place + sizeof *header;
    t->live_bytes -= before - bytes;
    t->swept_bytes += before - bytes;
    t->moved_blocks++;
    t->moved_bytes += bytes;
}

static void block_copy_if_worth_it(const struct look *l, struct index_entry *e, bool whole)
{
    struct tail *t = l->tail;
    uint64_t bytes = block_bytes(&e->block);
    bool sparse;
    struct part p;

    if (bytes > COPY_BYTES_MAX)
        return;
    sparse = pages_sparse(&t->pages, block_start(&e->block), bytes);
    if (whole && !sparse)
        return;
    p = part_find(e->block.records, e->block.count, l->bits, e->block.first_seq - l->first);
    if (sparse || (sizeof(struct block_header) + p.bytes) * 2 <= bytes)
        block_move(l, e, &p);
}

static void block_look(const struct look *l, uint64_t number)
{
    struct tail *t = l->tail;
    struct index_entry *e = stream_index_entry(l->index, number);
    uint32_t wanted = count_wanted(l, &e->block);

    if (wanted > 0) {
        if (t->options.log)
            segments_unwanted(t, e, e->block.count - wanted);
        else
            block_copy_if_worth_it(l, e, wanted == e->block.count);
        return;
    }
    t->swept_bytes += block_bytes(&e->block);
    block_release(t, e);
    stream_index_forget(l->index, number);
}

/* ---- going round ---- */

/* Looks at the stream's blocks from sweep_seq on. Gives how many, blocks_max at most. */
static uint32_t look_at_stream(struct tail *t, const struct tail_wanted *wanted, struct stream_index *si,
                               uint32_t blocks_max)
{
    uint64_t number = stream_index_number(si, t->sweep_seq);
    uint64_t stop = si->tail - number < blocks_max ? si->tail : number + blocks_max;
    uint32_t looked = (uint32_t)(stop - number);
    struct look l;

    l.tail = t;
    l.wanted = wanted;
    l.index = si;
    l.end = 0;
    for (; number != stop; number++) {
        const struct index_entry *e = stream_index_entry(si, number);
        t->sweep_seq = entry_end(e);
        if (entry_empty(e))
            continue;
        if (t->sweep_seq > l.end)
            look_from(&l, number, stop);
        block_look(&l, number);
    }
    return looked;
}

void sweep_pass(struct tail *t, const struct stream_index *si)
{
    if (t->sweep_at == &si->link) {
        t->sweep_at = si->link.next;
        t->sweep_seq = 0;
    }
}

bool tail_sweep(struct tail *t, const struct tail_wanted *wanted, uint32_t blocks_max)
{
    if (t->sweep_at == &t->index.all) { /* a new round */
        t->sweep_at = t->index.all.next;
        t->sweep_seq = 0;
    }
    while (blocks_max > 0 && t->sweep_at != &t->index.all) {
        struct stream_index *si = container_of(t->sweep_at, struct stream_index, link);
        uint32_t looked = look_at_stream(t, wanted, si, blocks_max);
        if (looked == blocks_max)
            return false;
        blocks_max -= looked + 1; /* going on to another stream counts, too */
        stream_index_settle(si);
        index_shrink(&t->index, si);
        sweep_pass(t, si);
    }
    return t->sweep_at == &t->index.all;
}

bool tail_wants_sweep(const struct tail *t)
{
    uint64_t in_use = pages_in_use(&t->pages);
    uint64_t free_bytes = pages_free_count(&t->pages) * TAIL_PAGE_BYTES;

    if (t->options.log || t->live_blocks == 0)
        return false;
    return (in_use > WANTS_FROM_PAGES && in_use * TAIL_PAGE_BYTES > 2 * t->live_bytes) ||
           free_bytes < t->options.memory_bytes_max / WANTS_AT_FREE + t->index.ring_bytes;
}
