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

#include "proto/record.h"
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
    uint64_t row_first, row_end; /* the first row that is wanted at or above where the sweep is ... */
    uint64_t known_end;          /* ... or none below here */
};

/* Which records of a block are wanted: never none. */
struct part {
    uint64_t bits[BLOCK_RECORDS_MAX / 64];
    uint32_t first, end;  /* from the first one that is wanted to the last */
    uint32_t front_bytes; /* of the records before */
    uint32_t bytes;       /* of a copy's records */
};

/* ---- what is wanted ---- */

/* Sees to it that [row_first, row_end) is the first wanted row that ends above seq, as far as known_end. */
static void look_from(struct look *l, uint64_t seq)
{
    assert(seq < l->known_end);
    if (l->row_end > seq)
        return;
    if (!l->wanted->next(l->wanted->context, l->index->stream, seq, l->known_end, &l->row_first, &l->row_end))
        l->row_first = l->row_end = l->known_end;
}

static bool part_has(const struct part *p, uint32_t record)
{
    return (p->bits[record / 64] >> (record % 64) & 1) != 0;
}

/* Marks what is wanted of the block, and measures a copy. */
static void part_find(struct look *l, const struct block *b, struct part *ret_part)
{
    uint64_t end = b->first_seq + b->count;
    const uint8_t *at = b->records;
    struct part p = {.first = UINT32_MAX};

    for (look_from(l, b->first_seq); l->row_first < end; look_from(l, l->row_end)) {
        uint64_t from = l->row_first > b->first_seq ? l->row_first - b->first_seq : 0;
        uint64_t to = (l->row_end < end ? l->row_end : end) - b->first_seq;
        if (p.first == UINT32_MAX)
            p.first = (uint32_t)from;
        p.end = (uint32_t)to;
        for (uint64_t i = from; i < to; i++)
            p.bits[i / 64] |= (uint64_t)1 << (i % 64);
        if (l->row_end >= end)
            break;
    }
    assert(p.first < p.end);
    for (uint32_t i = 0; i < p.end; i++) {
        uint32_t length = (uint32_t)fanq_record_length(at);
        if (i < p.first)
            p.front_bytes += length;
        else
            p.bytes += part_has(&p, i) ? length : FANQ_RECORD_PLAIN_BYTES;
        at += length;
    }
    *ret_part = p;
}

/* ---- copying ---- */

static uint8_t *put_records(uint8_t *to, const struct block *b, const struct part *p)
{
    static const uint8_t nothing[FANQ_RECORD_PLAIN_BYTES] = {0xc6, 0, 0, 0, 1, 0};
    const uint8_t *at = b->records + p->front_bytes;

    for (uint32_t i = p->first; i < p->end; i++) {
        size_t length = fanq_record_length(at);
        bool wanted = part_has(p, i);
        memcpy(to, wanted ? at : nothing, wanted ? length : sizeof nothing);
        to += wanted ? length : sizeof nothing;
        at += length;
    }
    return to;
}

/* Copies that part of the block, which then is the block. Without memory for it, it stays as it is. */
static void block_move(struct tail *t, struct index_entry *e, const struct part *p)
{
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
    end = put_records(place + sizeof *header, b, p);
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

static void block_look(struct look *l, struct index_entry *e)
{
    struct tail *t = l->tail;
    uint64_t bytes = block_bytes(&e->block);
    bool whole = l->row_first <= e->block.first_seq && l->row_end >= entry_end(e);
    bool sparse;
    struct part p;

    if (t->options.log || bytes > COPY_BYTES_MAX)
        return;
    sparse = pages_sparse(&t->pages, block_start(&e->block), bytes);
    if (whole && !sparse)
        return;
    part_find(l, &e->block, &p);
    if (sparse || (sizeof(struct block_header) + p.bytes) * 2 <= bytes)
        block_move(t, e, &p);
}

/* ---- going round ---- */

/* Looks at the stream's blocks from sweep_seq on. Gives how many, blocks_max at most. */
static uint32_t look_at_stream(struct tail *t, const struct tail_wanted *wanted, struct stream_index *si,
                               uint32_t blocks_max)
{
    struct look l = {.tail = t, .wanted = wanted, .index = si};
    uint64_t number = stream_index_number(si, t->sweep_seq);
    uint64_t stop = si->tail - number < blocks_max ? si->tail : number + blocks_max;
    uint32_t looked = (uint32_t)(stop - number);

    if (looked > 0)
        l.known_end = entry_end(stream_index_entry(si, stop - 1));
    for (; number != stop; number++) {
        struct index_entry *e = stream_index_entry(si, number);
        if (entry_empty(e))
            continue;
        look_from(&l, e->block.first_seq);
        if (l.row_first < entry_end(e)) {
            block_look(&l, e);
            continue;
        }
        t->swept_bytes += block_bytes(&e->block);
        block_release(t, e);
        stream_index_forget(si, number);
    }
    t->sweep_seq = l.known_end;
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
