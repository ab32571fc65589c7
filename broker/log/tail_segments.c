/* What of each segment is needed still: its bytes in a table by number, and the blocks themselves by looking for them.
 *
 * Along a stream arrivals rise, wherever blocks lie. A row of the table has the range of arrivals in its segment, so that
 * of each stream only blocks in that range are looked at; for a segment of the log, these are its own and moved ones. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/fanq_error.h"
#include "tail_state.h"

enum { ROWS_MIN = 64 };

void segments_close(struct tail *t)
{
    free(t->segments[false].rows);
    free(t->segments[true].rows);
}

static uint64_t number_of(const struct tail *t, uint64_t place)
{
    return place_lsn(place) / t->options.segment_bytes;
}

/* ---- the table ---- */

void segments_settle(struct tail *t)
{
    for (int cold = 0; cold < 2; cold++) {
        struct segment_table *table = &t->segments[cold];
        size_t dead = 0;
        while (dead < table->count && table->rows[dead].live_bytes == 0)
            dead++;
        if (dead == 0)
            continue;
        memmove(table->rows, table->rows + dead, (table->count - dead) * sizeof *table->rows);
        table->base += dead;
        table->count -= dead;
    }
}

static int rows_reserve(struct segment_table *table, size_t count)
{
    size_t capacity = table->capacity > 0 ? table->capacity : ROWS_MIN;
    struct segment_row *rows;

    if (count <= table->capacity)
        return 0;
    while (capacity < count)
        capacity *= 2;
    rows = realloc(table->rows, capacity * sizeof *rows);
    if (rows == NULL)
        return FANQ_ERR_NOMEM;
    table->rows = rows;
    table->capacity = capacity;
    return 0;
}

static void rows_begin(struct segment_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        rows[i] = (struct segment_row){.first_arrival = UINT64_MAX};
}

/* Makes rows from `number` on up to those there are. */
static int extend_down(struct segment_table *table, uint64_t number)
{
    size_t more = table->base - number;

    if (rows_reserve(table, table->count + more) != 0)
        return FANQ_ERR_NOMEM;
    memmove(table->rows + more, table->rows, table->count * sizeof *table->rows);
    rows_begin(table->rows, more);
    table->base = number;
    table->count += more;
    return 0;
}

static int extend_up(struct segment_table *table, uint64_t number)
{
    size_t more;

    if (table->count == 0)
        table->base = number;
    more = number + 1 - (table->base + table->count);
    if (rows_reserve(table, table->count + more) != 0)
        return FANQ_ERR_NOMEM;
    rows_begin(table->rows + table->count, more);
    table->count += more;
    return 0;
}

int segments_reserve(struct tail *t, uint64_t place)
{
    struct segment_table *table = &t->segments[place_is_cold(place)];
    uint64_t number = number_of(t, place);

    if (table->count > 0 && number < table->base)
        return extend_down(table, number);
    return table->count == 0 || number >= table->base + table->count ? extend_up(table, number) : 0;
}

/* NULL: nothing of it is needed. */
static struct segment_row *row_of(const struct tail *t, bool cold, uint64_t number)
{
    const struct segment_table *table = &t->segments[cold];

    return number >= table->base && number - table->base < table->count ? &table->rows[number - table->base]
                                                                        : NULL;
}

/* Records of a block are taken to be of one length. */
static uint64_t unwanted_bytes(const struct index_entry *e)
{
    return (uint64_t)e->block.bytes * e->unwanted / e->block.count;
}

void segments_add(struct tail *t, const struct index_entry *e)
{
    struct segment_row *row = row_of(t, e->place_cold, number_of(t, e->place_lsn));

    assert(row != NULL);
    row->live_bytes += block_bytes(&e->block);
    if (e->block.arrival < row->first_arrival)
        row->first_arrival = e->block.arrival;
    if (e->block.arrival > row->last_arrival)
        row->last_arrival = e->block.arrival;
}

void segments_subtract(struct tail *t, const struct index_entry *e)
{
    struct segment_row *row = row_of(t, e->place_cold, number_of(t, e->place_lsn));

    assert(row != NULL && row->live_bytes >= block_bytes(&e->block));
    row->live_bytes -= block_bytes(&e->block);
    row->unwanted_bytes -= unwanted_bytes(e);
    t->unwanted_bytes -= unwanted_bytes(e);
}

void segments_unwanted(struct tail *t, struct index_entry *e, uint32_t count)
{
    struct segment_row *row = row_of(t, e->place_cold, number_of(t, e->place_lsn));
    uint64_t before = unwanted_bytes(e);

    assert(row != NULL && count < e->block.count);
    e->unwanted = count;
    row->unwanted_bytes += unwanted_bytes(e) - before;
    t->unwanted_bytes += unwanted_bytes(e) - before;
}

uint64_t tail_segment_wanted_bytes(const struct tail *t, bool cold, uint64_t segment)
{
    const struct segment_row *row = row_of(t, cold, segment);

    return row != NULL ? row->live_bytes - row->unwanted_bytes : 0;
}

uint64_t tail_segment_live_bytes(const struct tail *t, bool cold, uint64_t segment)
{
    const struct segment_row *row = row_of(t, cold, segment);

    return row != NULL ? row->live_bytes : 0;
}

/* ---- which blocks ---- */

/* The number of the stream's first block that arrived at or after `arrival`. An empty entry counts as what is before it. */
static uint64_t first_arrived(const struct stream_index *si, uint64_t arrival)
{
    uint64_t low = si->head, high = si->tail;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2, at = middle;
        while (at > low && entry_empty(stream_index_entry(si, at)))
            at--;
        if (entry_empty(stream_index_entry(si, at)) || stream_index_entry(si, at)->block.arrival < arrival)
            low = middle + 1;
        else
            high = at;
    }
    return low;
}

size_t tail_segment_blocks(const struct tail *t, bool cold, uint64_t segment, struct tail_read *ret_blocks,
                           size_t count_max)
{
    const struct segment_row *row = row_of(t, cold, segment);
    size_t count = 0;

    if (row == NULL || row->live_bytes == 0)
        return 0;
    list_for_each (at, &t->index.all) {
        const struct stream_index *si = container_of(at, struct stream_index, link);
        if (count == count_max)
            break;
        for (uint64_t n = first_arrived(si, row->first_arrival); n != si->tail && count < count_max; n++) {
            const struct index_entry *e = stream_index_entry(si, n);
            if (e->block.arrival > row->last_arrival)
                break;
            if (entry_empty(e) || e->place_cold != cold || number_of(t, e->place_lsn) != segment)
                continue;
            ret_blocks[count++] = (struct tail_read){.stream = si->stream,
                                                     .first_seq = e->block.first_seq,
                                                     .count = e->block.count,
                                                     .place = entry_place(e),
                                                     .bytes = (uint32_t)block_bytes(&e->block)};
        }
    }
    return count;
}

bool tail_moved(struct tail *t, uint64_t stream, uint64_t first_seq, uint64_t old_place, uint64_t new_place,
                const struct block_header *copy)
{
    struct stream_index *si = index_find(&t->index, stream);
    struct index_entry *e = si != NULL ? stream_index_at(si, first_seq) : NULL;

    if (e == NULL || e->block.first_seq != first_seq || entry_place(e) != old_place ||
        segments_reserve(t, new_place) != 0)
        return false;
    assert(copy->first_seq >= first_seq && copy->count > 0 && copy->first_seq + copy->count <= entry_end(e));
    assert(copy->bytes <= e->block.bytes);
    segments_subtract(t, e);
    if (copy->bytes != e->block.bytes) {
        /* What is in memory, or on its way, is not what lies there now. */
        if (e->block.records != NULL)
            block_leave(t, e);
        e->fetching = false;
    }
    t->live_bytes -= e->block.bytes - copy->bytes;
    e->unwanted = 0;
    e->block.first_seq = copy->first_seq;
    e->block.count = copy->count;
    e->block.bytes = copy->bytes;
    e->block.bytes_before = copy->bytes_before;
    entry_set_place(e, new_place);
    segments_add(t, e);
    t->moved_blocks++;
    t->moved_bytes += block_bytes(&e->block);
    return true;
}
