/* The sweep beside a model that knows of every message whether it is wanted. */
#include "log/tail.h"

#include <stdlib.h>
#include <string.h>

#include "log/commit.h"
#include "log/pages.h"
#include "tests/lib/draft.h"
#include "tests/lib/failing_malloc.h"
#include "tests/lib/random.h"
#include "tests/lib/unit.h"

enum { MIB = 1024 * 1024, STREAMS = 5, RECORDS_MAX = 300000, PINS_MAX = 6 };

struct model_record {
    uint64_t bytes_before;
    uint32_t body_bytes;
    bool wanted;
};

struct model_stream {
    uint64_t stream;
    uint32_t count, trimmed; /* records have the numbers from 1 on */
    struct model_record *records;
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
    uint64_t wanted_bytes; /* with a block header for each row of neighbours */
    struct model_pin pins[PINS_MAX];
    uint32_t pin_count;
    uint32_t refusals;
};

static struct tail_figures figures_of(const struct world *w)
{
    struct tail_figures figures;

    tail_figures(w->tail, &figures);
    return figures;
}

/* ---- the model ---- */

static struct model_stream *model_find(struct world *w, uint64_t stream)
{
    for (int i = 0; i < STREAMS; i++)
        if (w->streams[i].stream == stream)
            return &w->streams[i];
    fail_msg("stream %lu is not known", stream);
    return NULL;
}

static struct model_record *model_at(const struct model_stream *m, uint64_t seq)
{
    assert_in_range(seq, 1, m->count);
    return &m->records[seq - 1];
}

static void model_mark(void *context, uint64_t stream, uint64_t first, uint64_t end, uint64_t *bits)
{
    struct world *w = context;
    const struct model_stream *m = model_find(w, stream);

    assert_in_range(first, 1, m->count);
    assert_in_range(end, first + 1, first + TAIL_WANTED_MAX);
    assert_true(end <= (uint64_t)m->count + 1);
    for (uint64_t seq = first; seq < end; seq++)
        if (model_at(m, seq)->wanted)
            bits[(seq - first) / 64] |= (uint64_t)1 << (seq - first) % 64;
}

static bool sweep(struct world *w, uint32_t blocks_max)
{
    return tail_sweep(w->tail, &(struct tail_wanted){w, model_mark}, blocks_max);
}

static void sweep_rounds(struct world *w, int count)
{
    while (count > 0)
        count -= sweep(w, 64);
}

/* ---- what must hold ---- */

/* The block has what is wanted in it, byte for byte, and says the truth about itself. */
static void check_block(const struct model_stream *m, const struct block *b)
{
    static uint8_t expected[2 * MIB];
    const struct block_header *header = (const struct block_header *)b->records - 1;
    const uint8_t *at = b->records;

    assert_in_range(b->count, 1, BLOCK_RECORDS_MAX);
    assert_true(b->bytes_before <= model_at(m, b->first_seq)->bytes_before);
    assert_int_equal(header->stream, m->stream);
    assert_int_equal(header->first_seq, b->first_seq);
    assert_int_equal(header->count, b->count);
    assert_int_equal(header->bytes, b->bytes);
    assert_int_equal(header->arrival, b->arrival);
    assert_int_equal(header->time_ms, b->time_ms);
    assert_int_equal(header->bytes_before, b->bytes_before);
    for (uint64_t seq = b->first_seq; seq < b->first_seq + b->count; seq++) {
        const struct model_record *r = model_at(m, seq);
        size_t length = draft_write_record(expected, m->stream, seq, r->body_bytes);
        if (r->wanted || fanq_record_length(at) != 6)
            assert_memory_equal(at, expected, length);
        at += fanq_record_length(at);
    }
    assert_int_equal(at - b->records, b->bytes);
}

static void check_stream(struct world *w, const struct model_stream *m)
{
    uint64_t arrival = 0, time_ms = 0, end = 0, bytes = 0;
    struct block b = {0};

    for (uint64_t seq = 1; seq <= m->count; seq++) {
        if (!model_at(m, seq)->wanted || seq < end)
            continue;
        assert_true(tail_block(w->tail, m->stream, seq, &b));
        assert_true(b.first_seq <= seq && b.first_seq >= end);
        assert_true(b.arrival > arrival && b.time_ms >= time_ms);
        assert_true(b.bytes_before >= bytes);
        check_block(m, &b);
        bytes = b.bytes_before + b.bytes;
        end = b.first_seq + b.count;
        arrival = b.arrival;
        time_ms = b.time_ms;
    }
    assert_false(tail_block(w->tail, m->stream, m->count + 1, &b));
}

/* What the wanted messages take when each row of them is a block. */
static uint64_t wanted_bytes(const struct world *w)
{
    uint64_t bytes = 0;

    for (int i = 0; i < STREAMS; i++) {
        const struct model_stream *m = &w->streams[i];
        for (uint64_t seq = 1; seq <= m->count; seq++) {
            if (!model_at(m, seq)->wanted)
                continue;
            bytes += model_at(m, seq)->body_bytes + 6;
            if (seq == 1 || !model_at(m, seq - 1)->wanted)
                bytes += sizeof(struct block_header);
        }
    }
    return bytes;
}

/* Two rounds make everything dense: half of a page at least is what its blocks have, and half of that is wanted. What
 * could not be copied for lack of memory finds some in the second. */
static void check_dead_memory_comes_back(struct world *w)
{
    sweep_rounds(w, 3);
    assert_true(figures_of(w).held_bytes <= 4 * wanted_bytes(w) + (uint64_t)(PAGES_WARM_MAX + 4) * MIB);
}

/* ---- what happens ---- */

static void append(struct world *w, struct model_stream *m, uint32_t count, uint32_t body_bytes)
{
    draft_begin(&w->draft);
    draft_plain(&w->draft, m->stream, m->count + 1, count, body_bytes);
    assert_int_equal(tail_append(w->tail, &w->draft.commit, NULL), 0);
    for (uint32_t i = 0; i < count; i++) {
        const struct model_record *before = m->count > 0 ? &m->records[m->count - 1] : NULL;
        assert_true(m->count < RECORDS_MAX);
        m->records[m->count++] = (struct model_record){
            before != NULL ? before->bytes_before + before->body_bytes + 6 : 0, body_bytes, true};
    }
}

static void append_at_random(struct world *w)
{
    struct random *r = &w->random;
    uint64_t kind = random_below(r, 100);
    uint32_t body_bytes = (uint32_t)random_below(r, kind == 0 ? MIB : kind < 10 ? 20000 : 300);
    uint32_t count = (uint32_t)random_below(r, body_bytes > 20000 ? 3 : kind < 50 ? 600 : 5) + 1;

    if (((uint64_t)body_bytes + 6) * count > tail_room(w->tail))
        w->refusals++;
    else if ((uint64_t)body_bytes * count < DRAFT_BUFFER_BYTES / 2)
        append(w, &w->streams[random_below(r, STREAMS)], count, body_bytes);
}

/* Deletes of a row most, or some, or all; and trims, as the core would. */
static void delete_at_random(struct world *w)
{
    struct random *r = &w->random;
    struct model_stream *m = &w->streams[random_below(r, STREAMS)];
    static const uint64_t stays[] = {0, 1, 2, 20, 60, 500};
    uint64_t of = stays[random_below(r, 6)], first, end;

    if (m->count == 0)
        return;
    first = 1 + random_below(r, m->count);
    end = first + random_below(r, m->count - first + 1) + 1;
    if (random_below(r, 2) == 0)
        first = m->trimmed + 1;
    for (uint64_t seq = first; seq < end; seq++)
        if (of == 0 || random_below(r, of) != 0)
            model_at(m, seq)->wanted = false;
    while (m->trimmed < m->count && !m->records[m->trimmed].wanted)
        m->trimmed++;
    if (random_below(r, 4) > 0)
        tail_trim(w->tail, m->stream, m->trimmed + 1);
}

static void begin_stream(struct world *w, struct model_stream *m)
{
    *m = (struct model_stream){.stream = ++w->stream_next, .records = m->records};
}

static uint64_t sum_of(const uint8_t *data, uint32_t length)
{
    uint64_t sum = length;

    for (uint32_t i = 0; i < length; i++)
        sum = sum * 31 + data[i];
    return sum;
}

static void pin_at_random(struct world *w)
{
    const struct model_stream *m = &w->streams[random_below(&w->random, STREAMS)];
    struct block b;

    if (w->pin_count == PINS_MAX ||
        !tail_block(w->tail, m->stream, 1 + random_below(&w->random, m->count + 1), &b))
        return;
    w->pins[w->pin_count++] = (struct model_pin){b.records, b.bytes, sum_of(b.records, b.bytes)};
    tail_pin(w->tail, b.records, b.bytes);
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

    switch (random_below(&w->random, 40)) {
    case 0:
        tail_stream_end(w->tail, m->stream);
        begin_stream(w, m);
        break;
    case 1:
        pin_at_random(w);
        break;
    case 2:
        if (w->pin_count > 0)
            unpin_newest(w);
        break;
    case 3:
    case 4:
    case 5:
    case 6:
    case 7:
    case 8:
        delete_at_random(w);
        break;
    case 9:
    case 10:
    case 11:
    case 12:
    case 13:
    case 14:
        (void)sweep(w, 1 + (uint32_t)random_below(&w->random, 100));
        break;
    default:
        append_at_random(w);
    }
}

/* ---- worlds ---- */

static struct world *new_world(uint64_t seed, uint64_t memory_mib)
{
    static struct world w;
    const struct tail_options options = {
        .memory_bytes_max = memory_mib * MIB, .segment_bytes = 8 * MIB, .epoch = 77};

    w = (struct world){.random = {seed}};
    assert_int_equal(tail_new(&options, &w.tail), 0);
    draft_init(&w.draft);
    for (int i = 0; i < STREAMS; i++) {
        w.streams[i].records = malloc(RECORDS_MAX * sizeof(struct model_record));
        assert_non_null(w.streams[i].records);
        begin_stream(&w, &w.streams[i]);
    }
    return &w;
}

static void free_world(struct world *w)
{
    while (w->pin_count > 0)
        unpin_newest(w);
    for (int i = 0; i < STREAMS; i++) {
        tail_stream_end(w->tail, w->streams[i].stream);
        free(w->streams[i].records);
    }
    assert_int_equal(figures_of(w).live_blocks, 0);
    assert_int_equal(figures_of(w).live_bytes, 0);
    assert_true(figures_of(w).held_bytes <= (uint64_t)PAGES_WARM_MAX * MIB);
    tail_free(w->tail);
    draft_close(&w->draft);
}

TEST(what_is_wanted_stays_and_what_is_not_comes_back)
{
    uint64_t moved = 0;
    uint32_t refusals = 0;

    failing_malloc_reset();
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct world *w = new_world(seed, seed % 2 == 0 ? 16 : 200);
        for (int step = 0; step < 2000; step++) {
            step_at_random(w);
            if (step % 100 == 0)
                check_stream(w, &w->streams[random_below(&w->random, STREAMS)]);
            assert_true(figures_of(w).held_bytes <= (uint64_t)(seed % 2 == 0 ? 16 : 200) * MIB);
        }
        while (w->pin_count > 0)
            unpin_newest(w);
        check_dead_memory_comes_back(w);
        for (int i = 0; i < STREAMS; i++)
            check_stream(w, &w->streams[i]);
        moved += figures_of(w).moved_blocks;
        refusals += w->refusals;
        free_world(w);
    }
    assert_true(moved > 1000 && refusals > 100);
    assert_int_equal(failing_malloc_live(), 0);
}

/* ---- one case each ---- */

TEST(a_stuck_message_at_the_head_pins_nothing_behind_it)
{
    struct world *w = new_world(1, 32);
    struct model_stream *m = &w->streams[0];

    append(w, m, 1, 10);
    for (int i = 0; i < 500; i++) {
        append(w, m, 10, 100000);
        for (int n = 0; n < 10; n++)
            m->records[m->count - 1 - n].wanted = false;
        if (tail_wants_sweep(w->tail))
            sweep_rounds(w, 1);
        assert_true(tail_room(w->tail) > 0);
    }
    sweep_rounds(w, 1);
    assert_int_equal(figures_of(w).live_blocks, 1);
    check_stream(w, m);
    free_world(w);
}

TEST(one_of_a_thousand_that_stays_costs_its_own_bytes)
{
    struct world *w = new_world(1, 64);
    struct model_stream *m = &w->streams[0];

    for (int i = 0; i < 250; i++) {
        append(w, m, 1000, 1000);
        for (int n = 0; n < 1000; n++)
            m->records[m->count - 1 - n].wanted = n == 500;
        if (tail_wants_sweep(w->tail))
            sweep_rounds(w, 1);
        assert_true(tail_room(w->tail) > MIB);
    }
    sweep_rounds(w, 2);
    assert_int_equal(figures_of(w).live_blocks, 250);
    assert_int_equal(figures_of(w).live_bytes, 250 * (sizeof(struct block_header) + 1006));
    check_stream(w, m);
    free_world(w);
}

/* Whole blocks, one to a page, of many streams. */
TEST(blocks_alone_in_their_pages_come_together)
{
    struct world *w = new_world(1, 256);

    for (int i = 0; i < 100; i++) {
        append(w, &w->streams[0], 1, MIB - 1000);
        append(w, &w->streams[1 + i % 4], 3, 50);
        model_at(&w->streams[0], w->streams[0].count)->wanted = false;
    }
    tail_trim(w->tail, w->streams[0].stream, 101);
    assert_true(figures_of(w).held_bytes > 95 * MIB);
    assert_true(tail_wants_sweep(w->tail));
    sweep_rounds(w, 1);
    assert_true(figures_of(w).held_bytes <= (PAGES_WARM_MAX + 3) * MIB);
    assert_false(tail_wants_sweep(w->tail));
    assert_int_equal(figures_of(w).live_blocks, 100);
    uint64_t moved = figures_of(w).moved_blocks;
    sweep_rounds(w, 5);
    assert_int_equal(figures_of(w).moved_blocks, moved); /* once is enough */
    for (int i = 0; i < STREAMS; i++)
        check_stream(w, &w->streams[i]);
    free_world(w);
}

TEST(a_copy_begins_and_ends_with_what_is_wanted)
{
    struct world *w = new_world(1, 32);
    struct model_stream *m = &w->streams[0];
    struct block b;

    append(w, m, 200, 100);
    for (uint64_t seq = 1; seq <= 200; seq++)
        model_at(m, seq)->wanted = seq == 50 || seq == 60 || seq == 61;
    sweep_rounds(w, 1);
    assert_true(tail_block(w->tail, m->stream, 1, &b));
    assert_int_equal(b.first_seq, 50);
    assert_int_equal(b.count, 12);
    assert_int_equal(b.bytes, 3 * 106 + 9 * 6);
    assert_int_equal(b.bytes_before, 49 * 106);
    check_stream(w, m);
    assert_false(tail_block(w->tail, m->stream, 62, &b));
    append(w, m, 1, 7);
    assert_true(tail_block(w->tail, m->stream, 62, &b));
    assert_int_equal(b.first_seq, 201);
    assert_int_equal(b.bytes_before, 200 * 106);
    free_world(w);
}

TEST(empty_entries_between_blocks_take_no_memory_for_long)
{
    struct world *w = new_world(1, 16);
    struct model_stream *m = &w->streams[0];
    uint64_t room = tail_room(w->tail);
    struct block b;

    for (int i = 0; i < 50000; i++) {
        append(w, m, 1, 1);
        m->records[m->count - 1].wanted = i % 5000 == 0;
    }
    assert_true(tail_room(w->tail) + 500 * 1000 < room);
    sweep_rounds(w, 1);
    assert_int_equal(figures_of(w).live_blocks, 10);
    assert_true(tail_room(w->tail) + 1000 > room);
    for (uint64_t seq = 1; seq <= 45001; seq++) {
        assert_true(tail_block(w->tail, m->stream, seq, &b));
        assert_int_equal(b.first_seq, (seq + 4998) / 5000 * 5000 + 1);
    }
    free_world(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_wanted_stays_and_what_is_not_comes_back),
        cmocka_unit_test(a_stuck_message_at_the_head_pins_nothing_behind_it),
        cmocka_unit_test(one_of_a_thousand_that_stays_costs_its_own_bytes),
        cmocka_unit_test(blocks_alone_in_their_pages_come_together),
        cmocka_unit_test(a_copy_begins_and_ends_with_what_is_wanted),
        cmocka_unit_test(empty_entries_between_blocks_take_no_memory_for_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
