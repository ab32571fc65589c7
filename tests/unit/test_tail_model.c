/* The tail beside a model that knows of every stream which records it holds. */
#include "log/tail.h"

#include <stdlib.h>

#include "log/pages.h"
#include "tests/lib/draft.h"
#include "tests/lib/failing_malloc.h"
#include "tests/lib/random.h"
#include "tests/lib/unit.h"

enum { MIB = 1024 * 1024, STREAMS = 6, RECORDS_MAX = 400000 };

static struct tail *new_tail(uint64_t memory_mib, uint64_t segment_mib)
{
    struct tail *t;

    assert_int_equal(tail_new(&(struct tail_options){.memory_bytes_max = memory_mib * MIB,
                                                     .segment_bytes = segment_mib * MIB,
                                                     .epoch = 77},
                              &t),
                     0);
    return t;
}

static struct tail_figures figures_of(const struct tail *t)
{
    struct tail_figures figures;

    tail_figures(t, &figures);
    return figures;
}

struct model_stream {
    uint64_t stream;
    uint64_t next_seq;
    uint64_t bytes;
    uint32_t count; /* of records ever appended */
    uint32_t live;  /* the first that was not trimmed */
    struct model_record {
        uint64_t seq;
        uint64_t bytes_before;
        uint32_t body_bytes;
    } * records;
};

struct model_pin {
    const uint8_t *data;
    uint32_t length;
    uint64_t sum;
};

struct world {
    struct tail *tail;
    struct draft draft;
    struct random random;
    struct model_stream streams[STREAMS];
    uint64_t stream_next;
    struct model_pin pins[8];
    uint32_t pin_count;
    uint64_t held_max;
    uint32_t refusals;
};

static uint64_t sum_of(const uint8_t *data, uint32_t length)
{
    uint64_t sum = length;

    for (uint32_t i = 0; i < length; i++)
        sum = sum * 31 + data[i];
    return sum;
}

static void check_block(const struct model_stream *m, uint32_t first, const struct block *block)
{
    static uint8_t expected[2 * MIB];
    const uint8_t *at = block->records;

    assert_true(block->count > 0 && first + block->count <= m->count);
    assert_true(block->count <= BLOCK_RECORDS_MAX);
    assert_true(block->bytes <= BLOCK_BYTES_MAX || block->count == 1);
    assert_int_equal(block->first_seq, m->records[first].seq);
    assert_int_equal(block->bytes_before, m->records[first].bytes_before);
    for (uint32_t i = first; i < first + block->count; i++) {
        assert_int_equal(m->records[i].seq, block->first_seq + (i - first));
        size_t length = draft_write_record(expected, m->stream, m->records[i].seq, m->records[i].body_bytes);
        assert_memory_equal(at, expected, length);
        at += length;
    }
    assert_int_equal(at - block->records, block->bytes);
}

/* The place of the record with the least seq >= seq. */
static uint32_t model_at(const struct model_stream *m, uint64_t seq)
{
    uint32_t i = m->live;

    while (i > 0 && m->records[i - 1].seq >= seq)
        i--;
    while (i < m->count && m->records[i].seq < seq)
        i++;
    return i;
}

/* Every live message is where tail_block() says, block behind block, with nothing between. */
static void check_stream(struct world *w, const struct model_stream *m)
{
    uint64_t arrival = 0;
    uint32_t at = m->live;
    struct block block;

    while (at < m->count) {
        assert_true(tail_block(w->tail, m->stream, m->records[at].seq, &block));
        assert_true(block.arrival > arrival);
        arrival = block.arrival;
        at = model_at(m, block.first_seq);
        check_block(m, at, &block);
        at += block.count;
    }
    assert_false(tail_block(w->tail, m->stream, m->next_seq, &block));
}

/* A seq that fell into a gap gives the block above it. */
static void check_probe(struct world *w, const struct model_stream *m)
{
    uint64_t low = m->live < m->count ? m->records[m->live].seq : m->next_seq;
    uint64_t seq = low + random_below(&w->random, m->next_seq - low + 1);
    uint32_t expected = model_at(m, seq);
    struct block block;

    if (!tail_block(w->tail, m->stream, seq, &block)) {
        assert_int_equal(expected, m->count);
        return;
    }
    assert_true(expected < m->count);
    assert_true(m->records[expected].seq >= block.first_seq);
    assert_true(m->records[expected].seq < block.first_seq + block.count);
}

/* ---- what happens in the random test ---- */

static uint32_t random_body_bytes(struct random *r)
{
    uint64_t kind = random_below(r, 1000);

    if (kind == 0)
        return (uint32_t)random_below(r, MIB);
    return (uint32_t)random_below(r, kind < 50 ? 20000 : kind < 600 ? 200 : 20);
}

static void draft_random_stream(struct world *w, struct model_stream *m)
{
    struct random *r = &w->random;
    uint64_t piece_count = 1 + random_below(r, random_below(r, 10) == 0 ? 100 : 4);

    if (random_below(r, 10) == 0)
        m->next_seq += random_below(r, 1000); /* published while nobody listened: never stored */
    struct commit_stream *s = draft_stream(&w->draft, m->stream, m->next_seq);
    while (piece_count-- > 0) {
        uint64_t record_count = 1 + random_below(r, random_below(r, 8) == 0 ? 600 : 4);
        draft_piece(&w->draft, s);
        while (record_count-- > 0 && w->draft.used < DRAFT_BUFFER_BYTES / 2)
            draft_record(&w->draft, s, random_body_bytes(r));
    }
}

static void model_commit(struct world *w)
{
    for (uint32_t i = 0; i < w->draft.commit.stream_count; i++) {
        const struct commit_stream *s = &w->draft.streams[i];
        const uint8_t *at =
            s->pieces[0].records.data; /* the pieces of a stream are neighbours in the draft */
        struct model_stream *m = w->streams;
        while (m->stream != s->stream)
            m++;
        for (uint64_t n = 0; n < s->count; n++) {
            size_t length = fanq_record_length(at);
            assert_true(m->count < RECORDS_MAX);
            m->records[m->count++] = (struct model_record){s->first_seq + n, m->bytes, (uint32_t)length - 6};
            m->bytes += length;
            at += length;
        }
        m->next_seq = s->first_seq + s->count;
    }
}

static void append_at_random(struct world *w)
{
    uint64_t bytes = 0;

    draft_begin(&w->draft);
    for (int i = 0; i < STREAMS; i++) {
        if (random_below(&w->random, 3) == 0)
            draft_random_stream(w, &w->streams[i]);
    }
    for (uint32_t i = 0; i < w->draft.commit.stream_count; i++)
        bytes += w->draft.streams[i].bytes;
    if (bytes > tail_room(w->tail)) {
        w->refusals++;
        return;
    }
    assert_int_equal(tail_append(w->tail, &w->draft.commit, NULL), 0);
    model_commit(w);
}

static void trim_at_random(struct world *w, struct model_stream *m)
{
    uint32_t live = m->live + (uint32_t)random_below(&w->random, m->count - m->live + 1);

    if (random_below(&w->random, 2) == 0)
        live = m->count;
    m->live = live;
    tail_trim(w->tail, m->stream, live < m->count ? m->records[live].seq : m->next_seq);
}

static void begin_stream(struct world *w, struct model_stream *m)
{
    *m = (struct model_stream){.stream = ++w->stream_next, .next_seq = 1, .records = m->records};
}

static void pin_at_random(struct world *w)
{
    const struct model_stream *m = &w->streams[random_below(&w->random, STREAMS)];
    struct block block;

    if (w->pin_count == 8 || m->live == m->count)
        return;
    assert_true(tail_block(w->tail, m->stream, m->records[m->live].seq, &block));
    w->pins[w->pin_count++] =
        (struct model_pin){block.records, block.bytes, sum_of(block.records, block.bytes)};
    tail_pin(w->tail, block.records, block.bytes);
}

static void unpin_newest(struct world *w)
{
    const struct model_pin *pin = &w->pins[--w->pin_count];

    assert_true(sum_of(pin->data, pin->length) == pin->sum);
    tail_unpin(w->tail, pin->data, pin->length);
}

static void step_at_random(struct world *w)
{
    struct model_stream *m = &w->streams[random_below(&w->random, STREAMS)];

    switch (random_below(&w->random, 20)) {
    case 0:
        tail_stream_end(w->tail, m->stream);
        begin_stream(w, m);
        break;
    case 1:
    case 2:
        pin_at_random(w);
        break;
    case 3:
        if (w->pin_count > 0)
            unpin_newest(w);
        break;
    case 4:
    case 5:
    case 6:
    case 7:
    case 8:
    case 9:
        trim_at_random(w, m);
        break;
    default:
        append_at_random(w);
    }
    check_probe(w, m);
    assert_true(figures_of(w->tail).held_bytes <= w->held_max);
}

static void end_world(struct world *w)
{
    while (w->pin_count > 0)
        unpin_newest(w);
    for (int i = 0; i < STREAMS; i++) {
        check_stream(w, &w->streams[i]);
        tail_trim(w->tail, w->streams[i].stream, w->streams[i].next_seq);
        free(w->streams[i].records);
    }
    assert_int_equal(figures_of(w->tail).live_blocks, 0);
    assert_true(figures_of(w->tail).held_bytes <= (uint64_t)PAGES_WARM_MAX * MIB);
    tail_free(w->tail);
    draft_close(&w->draft);
}

static uint32_t run_world(uint64_t seed, uint64_t memory_mib, uint64_t segment_mib)
{
    static struct world w;

    w = (struct world){
        .tail = new_tail(memory_mib, segment_mib), .random = {seed}, .held_max = memory_mib * MIB};
    draft_init(&w.draft);
    for (int i = 0; i < STREAMS; i++) {
        w.streams[i].records = malloc(RECORDS_MAX * sizeof(struct model_record));
        assert_non_null(w.streams[i].records);
        begin_stream(&w, &w.streams[i]);
    }
    for (int step = 0; step < 400; step++) {
        step_at_random(&w);
        if (step % 20 == 0)
            check_stream(&w, &w.streams[random_below(&w.random, STREAMS)]);
    }
    end_world(&w);
    return w.refusals;
}

TEST(the_tail_holds_what_the_model_holds)
{
    uint32_t refusals = 0;

    failing_malloc_reset();
    for (uint64_t seed = 1; seed <= 6; seed++) {
        run_world(seed, 256, 16);
        refusals += run_world(seed, 24, 8); /* the limit is reached */
    }
    assert_true(refusals > 0);
    assert_int_equal(failing_malloc_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tail_holds_what_the_model_holds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
