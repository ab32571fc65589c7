/* At the start of a broker with a log: the index is made of what the files have. Blocks are put as they are found, and
 * sorted when all are there. */
#include <assert.h>

#include "proto/fanq_error.h"
#include "tail_state.h"

int tail_restore_block(struct tail *t, const struct block_header *block, uint64_t place)
{
    struct stream_index *si;
    int err = segments_reserve(t, place);

    assert(t->options.log && block->count > 0);
    if (err == 0)
        err = index_reserve(&t->index, block->stream, 1, &si);
    if (err != 0)
        return err;
    stream_index_put(si,
                     &(struct block){.first_seq = block->first_seq,
                                     .count = block->count,
                                     .bytes = block->bytes,
                                     .time_ms = block->time_ms,
                                     .arrival = block->arrival,
                                     .bytes_before = block->bytes_before},
                     place);
    if (block->arrival > t->arrival)
        t->arrival = block->arrival;
    return 0;
}

int tail_restore_end(struct tail *t, uint64_t next_lsn, uint64_t previous_end)
{
    assert(t->options.log && next_lsn % t->options.segment_bytes == 0 && t->commits == 0);
    list_for_each (at, &t->index.all) {
        struct stream_index *si = container_of(at, struct stream_index, link);
        stream_index_sort(si);
        for (uint64_t n = si->head; n != si->tail; n++) {
            const struct index_entry *e = stream_index_entry(si, n);
            segments_add(t, e);
            t->live_blocks++;
            t->live_bytes += block_bytes(&e->block);
        }
    }
    t->lsn = t->written_lsn = next_lsn;
    t->previous_end = previous_end;
    return 0;
}

void tail_streams(const struct tail *t, void (*each)(void *context, uint64_t stream), void *context)
{
    struct list *next;

    for (struct list *at = t->index.all.next; at != &t->index.all; at = next) {
        next = at->next; /* the stream may end now */
        each(context, container_of(at, struct stream_index, link)->stream);
    }
}
