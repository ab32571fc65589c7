/* Appending is two passes over a commit. The first reserves: an upper bound of its size, room in the index of
 * each stream, a place in memory. The second cannot fail: it copies the pieces, cuts them into blocks, and
 * enters the blocks into the index as it goes. Pieces are copied whole as long as they fit into the block;
 * record headers are read only where a piece must be cut. */
#include "tail.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/fanq_error.h"
#include "proto/record.h"
#include "tail_state.h"

int tail_new(const struct tail_options *options, struct tail **ret_tail)
{
    struct tail *t = calloc(1, sizeof *t);

    if (t == NULL)
        return FANQ_ERR_NOMEM;
    t->options = *options;
    if (options->log)
        t->arrival = options->epoch << BLOCK_EPOCH_SHIFT;
    index_init(&t->index);
    t->sweep_at = &t->index.all;
    pages_init(&t->pages, options->segment_bytes, options->memory_bytes_max);
    *ret_tail = t;
    return 0;
}

void tail_free(struct tail *t)
{
    if (t == NULL)
        return;
    index_close(&t->index);
    pages_close(&t->pages);
    residents_close(&t->appended);
    residents_close(&t->cached);
    segments_close(t);
    free(t->unwritten.items);
    free(t->targets);
    free(t);
}

/* ---- how long a commit gets ---- */

/* The most blocks that `count` records of `bytes` bytes make. A block ends for one of three reasons: it has
 * BLOCK_RECORDS_MAX records; or it and the first record of the next one have more than BLOCK_BYTES_MAX bytes
 * together, which happens less often than the bytes hold halves of that; or there are no more records. */
static uint64_t block_count_max(uint64_t count, uint64_t bytes)
{
    uint64_t blocks = count / BLOCK_RECORDS_MAX + bytes / (BLOCK_BYTES_MAX / 2) + 1;

    return blocks < count ? blocks : count;
}

enum { FRAME_BYTES = sizeof(struct commit_header) + sizeof(struct commit_trailer) };

static uint64_t commit_bytes_max(const struct commit *commit)
{
    uint64_t bytes = FRAME_BYTES + commit->fact_bytes;

    for (uint32_t i = 0; i < commit->stream_count; i++) {
        const struct commit_stream *s = &commit->streams[i];
        bytes += s->bytes + block_count_max(s->count, s->bytes) * sizeof(struct block_header);
    }
    return commit_bytes_aligned(bytes);
}

/* What tail_room() allows for beside records. Per record byte: a block ends at 256 records of at least six
 * bytes, or at an average of at least 32 KiB, and 56/1536 + 56/32768 < 1/25. Per stream: the block that ends
 * with its records. The streams that the turn begins are not known; one that begins more than this may exceed
 * the limit by their headers. */
enum { RECORD_BYTES_OF = 25, WITH_HEADERS = 26, STREAMS_NEW = 1024 };
enum {
    FULL_BLOCK_BYTES_MIN = BLOCK_RECORDS_MAX * FANQ_RECORD_PLAIN_BYTES,
    CUT_BLOCK_BYTES_MIN = BLOCK_BYTES_MAX / 2
};
_Static_assert((FULL_BLOCK_BYTES_MIN + CUT_BLOCK_BYTES_MIN) * sizeof(struct block_header) * RECORD_BYTES_OF <
                   (size_t)FULL_BLOCK_BYTES_MIN * CUT_BLOCK_BYTES_MIN,
               "1/1536 + 1/32768 headers a byte are less than a byte in 25");

/* When there is no memory for publishes, copies must find some: it is they that bring it back. */
enum { COPIES_OF = 32 };

static uint64_t space_for_appending(const struct tail *t)
{
    uint64_t space = pages_free_count(&t->pages) * TAIL_PAGE_BYTES;
    uint64_t copies = t->options.memory_bytes_max / COPIES_OF;
    uint64_t kept = t->index.ring_bytes + (copies > TAIL_PAGE_BYTES ? copies : TAIL_PAGE_BYTES);

    return space > kept ? space - kept : 0;
}

uint64_t tail_room(const struct tail *t)
{
    uint64_t space = t->options.log ? resident_space(t) : space_for_appending(t);
    uint64_t streams = index_count(&t->index) + STREAMS_NEW;
    uint64_t taken = FRAME_BYTES + COMMIT_ALIGNMENT + streams * sizeof(struct block_header);

    if (space > t->options.segment_bytes / 2)
        space = t->options.segment_bytes / 2;
    return space > taken ? (space - taken) / WITH_HEADERS * RECORD_BYTES_OF : 0;
}

/* ---- laying it out ---- */

/* A commit while it is written: the open block's header is left out until the block is closed. */
struct layout {
    struct tail *tail;
    struct stream_index *index;
    uint64_t lsn;
    uint8_t *start, *at;
    struct block block; /* records points to where its first one is; count 0: nothing in it yet */
    uint32_t block_count;
};

static void block_open(struct layout *l)
{
    l->block.first_seq += l->block.count;
    l->block.count = 0;
    l->block.bytes = 0;
    l->block.records = l->at + sizeof(struct block_header);
    l->at += sizeof(struct block_header);
}

static void block_close(struct layout *l)
{
    struct tail *t = l->tail;
    struct block_header *header = (struct block_header *)(l->at - l->block.bytes) - 1;

    assert(l->block.count > 0);
    l->block.arrival = ++t->arrival;
    *header = (struct block_header){
        .stream = l->index->stream,
        .first_seq = l->block.first_seq,
        .time_ms = l->block.time_ms,
        .arrival = l->block.arrival,
        .bytes_before =
            stream_index_push(l->index, &l->block, l->lsn + (uint64_t)((uint8_t *)header - l->start)),
        .count = l->block.count,
        .bytes = l->block.bytes,
    };
    pages_use_block(&t->pages, (uint8_t *)header, block_bytes(&l->block));
    t->live_blocks++;
    t->live_bytes += block_bytes(&l->block);
    l->block_count++;
    if (t->options.log) {
        segments_add(t, stream_index_entry(l->index, l->index->tail - 1));
        resident_push(t, l->index, &l->block, l->lsn);
    }
}

/* As many of the records as the open block takes; a record that is larger than a block, alone in one. */
static struct fanq_records fitting(const struct block *block, const struct fanq_records *records)
{
    uint32_t count_max = BLOCK_RECORDS_MAX - block->count;
    size_t bytes_max = block->bytes < BLOCK_BYTES_MAX ? BLOCK_BYTES_MAX - block->bytes : 0;
    struct fanq_records part = {.data = records->data};

    if (records->count <= count_max && records->length <= bytes_max)
        return *records;
    while (part.count < records->count && part.count < count_max) {
        size_t bytes = fanq_record_length(records->data + part.length);
        if (part.length + bytes > bytes_max && block->count + part.count > 0)
            break;
        part.length += bytes;
        part.count++;
    }
    return part;
}

static void put_piece(struct layout *l, struct fanq_records records)
{
    while (records.count > 0) {
        struct fanq_records part = fitting(&l->block, &records);
        if (part.count == 0) {
            block_close(l);
            block_open(l);
            continue;
        }
        memcpy(l->at, part.data, part.length);
        l->at += part.length;
        l->block.count += part.count;
        l->block.bytes += (uint32_t)part.length;
        records.data += part.length;
        records.length -= part.length;
        records.count -= part.count;
    }
    assert(records.length == 0);
}

static void put_stream(struct layout *l, const struct commit *commit, const struct commit_stream *stream)
{
    uint64_t bytes_before = l->index->bytes_end;

    if (stream->count == 0)
        return;
    l->block = (struct block){.first_seq = stream->first_seq, .time_ms = commit->time_ms};
    block_open(l);
    for (uint32_t i = 0; i < stream->piece_count; i++)
        put_piece(l, stream->pieces[i].records);
    block_close(l);
    assert(l->block.first_seq + l->block.count == stream->first_seq + stream->count);
    assert(l->index->bytes_end - bytes_before == stream->bytes);
}

/* Writes what stands around and behind the blocks. Gives the bytes of the commit without padding. The header field by
 * field: the compiler would clear it first, which takes a tenth of the time of a small commit. */
static uint32_t put_frame(struct layout *l, const struct commit *commit)
{
    struct commit_header *header = (struct commit_header *)l->start;
    uint32_t bytes;

    if (commit->fact_bytes > 0)
        memcpy(l->at, commit->facts, commit->fact_bytes);
    l->at += commit->fact_bytes;
    bytes = (uint32_t)(l->at - l->start) + (uint32_t)sizeof(struct commit_trailer);
    header->magic = COMMIT_MAGIC;
    header->version = COMMIT_VERSION;
    header->kind = COMMIT_LOG;
    header->epoch = l->tail->options.epoch;
    header->number = commit->number;
    header->lsn = l->lsn;
    header->previous_end = l->tail->previous_end;
    header->previous_hash = header->synced_lsn = header->header_hash = 0; /* commit_seal()'s */
    header->time_ms = commit->time_ms;
    header->bytes = bytes;
    header->block_count = l->block_count;
    header->fact_bytes = commit->fact_bytes;
    header->fact_count = commit->fact_count;
    memset(l->at, 0, commit_bytes_aligned(bytes) - (bytes - sizeof(struct commit_trailer)));
    return bytes;
}

/* ---- appending ---- */

static int reserve_targets(struct tail *t, uint32_t count)
{
    uint32_t capacity = t->target_capacity > 0 ? t->target_capacity : 64;
    struct stream_index **targets;

    if (count <= t->target_capacity)
        return 0;
    while (capacity < count)
        capacity *= 2;
    targets = realloc(t->targets, capacity * sizeof(struct stream_index *));
    if (targets == NULL)
        return FANQ_ERR_NOMEM;
    t->targets = targets;
    t->target_capacity = capacity;
    return 0;
}

/* Where a commit of up to so many bytes goes: no commit is in two segments of the log. */
static uint64_t place_commit(const struct tail *t, uint64_t bytes_max)
{
    uint64_t left;

    if (!t->options.log)
        return t->lsn;
    left = t->options.segment_bytes - t->lsn % t->options.segment_bytes;
    return bytes_max > left ? t->lsn + left : t->lsn;
}

static int reserve_log(struct tail *t, uint64_t lsn, uint64_t block_count)
{
    int err = resident_reserve(t, block_count);

    if (lsn % t->options.segment_bytes == 0)
        segments_settle(t);
    return err != 0 ? err : segments_reserve(t, lsn);
}

static int reserve(struct tail *t, const struct commit *commit, uint64_t lsn)
{
    int err = reserve_targets(t, commit->stream_count);
    uint64_t block_count = 0;

    for (uint32_t i = 0; err == 0 && i < commit->stream_count; i++) {
        const struct commit_stream *s = &commit->streams[i];
        uint64_t count_max = block_count_max(s->count, s->bytes);
        err = index_reserve(&t->index, s->stream, count_max, &t->targets[i]);
        block_count += count_max;
    }
    return err == 0 && t->options.log ? reserve_log(t, lsn, block_count) : err;
}

int tail_append(struct tail *t, const struct commit *commit, struct tail_commit *ret_commit)
{
    uint64_t bytes_max = commit_bytes_max(commit);
    struct tail_commit placed;
    struct layout l;
    uint32_t bytes;
    int err;

    l.lsn = place_commit(t, bytes_max);
    err = reserve(t, commit, l.lsn);
    if (err == 0)
        err = pages_place(&t->pages, PAGES_NEW, bytes_max, &l.start);
    if (err != 0)
        return err;
    l.tail = t;
    l.block_count = 0;
    l.at = l.start + sizeof(struct commit_header);
    for (uint32_t i = 0; i < commit->stream_count; i++) {
        l.index = t->targets[i];
        put_stream(&l, commit, &commit->streams[i]);
    }
    bytes = put_frame(&l, commit);
    placed = (struct tail_commit){l.start, (uint32_t)commit_bytes_aligned(bytes), l.lsn};
    if (t->options.log)
        unwritten_push(t, &placed);
    pages_take(&t->pages, PAGES_NEW, placed.bytes);
    t->lsn = t->previous_end = placed.lsn + placed.bytes;
    t->commits++;
    t->commit_bytes += bytes;
    if (ret_commit != NULL)
        *ret_commit = placed;
    return 0;
}

/* ---- reading and freeing ---- */

bool tail_block(void *tail, uint64_t stream, uint64_t seq, struct block *ret_block)
{
    struct tail *t = tail;
    struct stream_index *si = index_find(&t->index, stream);
    const struct index_entry *e = si != NULL ? stream_index_at(si, seq) : NULL;

    if (e == NULL)
        return false;
    *ret_block = e->block;
    return true;
}

void block_leave(struct tail *t, struct index_entry *e)
{
    pages_unuse_block(&t->pages, block_start(&e->block), block_bytes(&e->block));
    if (e->cached)
        t->cached_bytes -= block_bytes(&e->block);
    e->cached = false;
    e->block.records = NULL;
}

void block_release(struct tail *t, struct index_entry *e)
{
    uint64_t bytes = block_bytes(&e->block);

    assert(t->live_blocks > 0 && t->live_bytes >= bytes);
    if (e->block.records != NULL)
        block_leave(t, e);
    if (t->options.log)
        segments_subtract(t, e);
    t->live_blocks--;
    t->live_bytes -= bytes;
}

/* Drops the stream's blocks that end at or below seq. */
static void drop_below(struct tail *t, struct stream_index *si, uint64_t seq)
{
    struct index_entry *e;

    while ((e = stream_index_first(si)) != NULL && entry_end(e) <= seq) {
        block_release(t, e);
        stream_index_pop(si);
    }
}

void tail_trim(struct tail *t, uint64_t stream, uint64_t seq)
{
    struct stream_index *si = index_find(&t->index, stream);

    if (si == NULL)
        return; /* nothing of it was ever stored */
    drop_below(t, si, seq);
    index_shrink(&t->index, si);
}

void tail_stream_end(struct tail *t, uint64_t stream)
{
    struct stream_index *si = index_find(&t->index, stream);

    if (si == NULL)
        return;
    drop_below(t, si, UINT64_MAX);
    sweep_pass(t, si);
    index_remove(&t->index, si);
}

void tail_pin(struct tail *t, const uint8_t *data, size_t length)
{
    pages_use(&t->pages, data, length);
}

void tail_unpin(struct tail *t, const uint8_t *data, size_t length)
{
    pages_unuse(&t->pages, data, length);
}

void tail_figures(const struct tail *t, struct tail_figures *ret_figures)
{
    *ret_figures = (struct tail_figures){
        .held_bytes = t->pages.held * TAIL_PAGE_BYTES,
        .live_blocks = t->live_blocks,
        .live_bytes = t->live_bytes,
        .cached_bytes = t->cached_bytes,
        .commits = t->commits,
        .commit_bytes = t->commit_bytes,
        .moved_blocks = t->moved_blocks,
        .moved_bytes = t->moved_bytes,
        .swept_bytes = t->swept_bytes,
        .unwanted_bytes = t->unwanted_bytes,
    };
}
