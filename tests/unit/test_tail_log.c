/* The tail with a log, beside a model that knows every message, and a disk that is an array of bytes. */
#include "log/tail.h"

#include <stdlib.h>
#include <string.h>

#include "log/commit.h"
#include "log/pages.h"
#include "proto/fanq_error.h"
#include "tests/lib/draft.h"
#include "tests/lib/failing_malloc.h"
#include "tests/lib/random.h"
#include "tests/lib/unit.h"

enum {
    MIB = 1024 * 1024,
    SEGMENT_BYTES = 4 * MIB,
    SEGMENTS_MAX = 200,
    FIRST_SEGMENT = 3,
    STREAMS = 5,
    RECORDS_MAX = 200000,
    COMMITS_MAX = 20000,
    COLD_MAX = 20000,
    READS_MAX = 6,
    PINS_MAX = 4,
    FACTS_MAX = 3000
};

struct model_stream {
    uint64_t stream;
    uint32_t count, trimmed; /* records have the numbers from 1 on */
    uint32_t *body_bytes;
    bool *wanted;
};

struct world {
    struct tail *tail;
    struct tail_options options;
    struct draft draft;
    struct random random;
    struct model_stream streams[STREAMS];
    uint64_t stream_next;
    uint8_t facts[FACTS_MAX];

    uint8_t *disk[2][SEGMENTS_MAX]; /* of the log, and cold; NULL: not there (any more) */
    struct tail_commit commits[COMMITS_MAX];
    uint32_t commit_count, written_count;
    uint64_t cold_places[COLD_MAX];
    uint32_t cold_count;
    uint64_t cold_end; /* where the next cold block goes */
    uint64_t number, previous_end;

    struct tail_read reads[READS_MAX];
    uint32_t read_count;
    struct model_pin {
        const uint8_t *data;
        uint32_t length;
        uint64_t sum;
    } pins[PINS_MAX];
    uint32_t pin_count;
    uint64_t absent, moved, restored, refused; /* how often */
};

static struct tail_figures figures_of(const struct world *w)
{
    struct tail_figures figures;

    tail_figures(w->tail, &figures);
    return figures;
}

/* ---- the disk ---- */

static uint8_t *disk_at(struct world *w, uint64_t place)
{
    uint8_t **segment = &w->disk[place_is_cold(place)][place_lsn(place) / SEGMENT_BYTES];

    assert_true(place_lsn(place) / SEGMENT_BYTES < SEGMENTS_MAX);
    if (*segment == NULL)
        *segment = malloc(SEGMENT_BYTES);
    assert_non_null(*segment);
    return *segment + place_lsn(place) % SEGMENT_BYTES;
}

static bool disk_has(const struct world *w, uint64_t place)
{
    return w->disk[place_is_cold(place)][place_lsn(place) / SEGMENT_BYTES] != NULL;
}

/* A segment in which nothing is needed is not there any more. */
static void disk_drop_dead(struct world *w)
{
    for (int cold = 0; cold < 2; cold++) {
        for (uint64_t n = 0; n < SEGMENTS_MAX; n++) {
            uint64_t end = cold ? w->cold_end : w->previous_end;
            if (n >= end / SEGMENT_BYTES || tail_segment_live_bytes(w->tail, cold, n) > 0)
                continue;
            free(w->disk[cold][n]);
            w->disk[cold][n] = NULL;
        }
    }
}

static void write_some(struct world *w, uint32_t count)
{
    for (; count > 0 && w->written_count < w->commit_count; count--) {
        const struct tail_commit *c = &w->commits[w->written_count++];
        memcpy(disk_at(w, c->lsn), c->data, c->bytes);
        tail_written(w->tail, c->lsn + c->bytes);
    }
}

/* ---- what must hold ---- */

static void check_records(const struct model_stream *m, uint64_t first_seq, uint32_t count, const uint8_t *at,
                          uint32_t bytes)
{
    static uint8_t expected[2 * MIB];
    const uint8_t *start = at;

    assert_true(count > 0 && first_seq + count <= (uint64_t)m->count + 1);
    for (uint64_t seq = first_seq; seq < first_seq + count; seq++) {
        size_t length = draft_write_record(expected, m->stream, seq, m->body_bytes[seq - 1]);
        if (m->wanted[seq - 1] || fanq_record_length(at) != 6)
            assert_memory_equal(at, expected, length);
        at += fanq_record_length(at);
    }
    assert_int_equal(at - start, bytes);
}

static void end_read(struct world *w, uint32_t n, bool came)
{
    struct tail_read read = w->reads[n];

    w->reads[n] = w->reads[--w->read_count];
    came = came && disk_has(w, read.place);
    if (came)
        memcpy(read.data, disk_at(w, read.place), read.bytes);
    else
        memset(read.data, 0xee, read.bytes);
    tail_fetch_end(w->tail, &read, came);
}

static void end_reads(struct world *w)
{
    while (w->read_count > 0)
        end_read(w, 0, true);
}

/* Sees to it that the message is in memory. */
static void bring(struct world *w, uint64_t stream, uint64_t seq, struct block *ret_block)
{
    assert_true(tail_block(w->tail, stream, seq, ret_block));
    assert_true(ret_block->first_seq <= seq);
    if (ret_block->records != NULL)
        return;
    w->absent++;
    end_reads(w); /* it may be among them */
    if (tail_fetch_begin(w->tail, stream, seq, &w->reads[0]) == 0) {
        w->read_count = 1;
        end_read(w, 0, true);
    }
    assert_true(tail_block(w->tail, stream, seq, ret_block));
    assert_non_null(ret_block->records);
}

static void check_stream(struct world *w, const struct model_stream *m)
{
    uint64_t end = 0, arrival = 0, bytes_before = 0;
    struct block b;

    for (uint64_t seq = 1; seq <= m->count; seq++) {
        if (!m->wanted[seq - 1] || seq < end)
            continue;
        bring(w, m->stream, seq, &b);
        assert_true(b.first_seq >= end && b.arrival > arrival && b.bytes_before >= bytes_before);
        check_records(m, b.first_seq, b.count, b.records, b.bytes);
        end = b.first_seq + b.count;
        arrival = b.arrival;
        bytes_before = b.bytes_before + b.bytes;
    }
}

static void check_all(struct world *w)
{
    for (int i = 0; i < STREAMS; i++)
        check_stream(w, &w->streams[i]);
}

static void check_live_bytes(const struct world *w)
{
    uint64_t bytes = 0;

    for (uint64_t n = 0; n < SEGMENTS_MAX; n++)
        bytes += tail_segment_live_bytes(w->tail, false, n) + tail_segment_live_bytes(w->tail, true, n);
    assert_int_equal(bytes, figures_of(w).live_bytes);
}

static void check_commit(struct world *w, const struct tail_commit *c)
{
    const struct commit_header *header = (const struct commit_header *)c->data;

    assert_int_equal(c->lsn % COMMIT_ALIGNMENT, 0);
    assert_int_equal((uintptr_t)c->data % COMMIT_ALIGNMENT, 0);
    assert_true(c->lsn >= w->previous_end || w->previous_end == 0);
    assert_true(c->lsn / SEGMENT_BYTES == (c->lsn + c->bytes - 1) / SEGMENT_BYTES);
    assert_int_equal(header->lsn, c->lsn);
    assert_int_equal(header->previous_end, w->previous_end);
    assert_int_equal(header->number, w->number);
    assert_int_equal(commit_bytes_aligned(header->bytes), c->bytes);
    assert_int_equal(header->fact_bytes, w->draft.commit.fact_bytes);
    assert_int_equal(header->fact_count, w->draft.commit.fact_count);
    if (header->fact_bytes > 0)
        assert_memory_equal(commit_facts(header), w->facts, header->fact_bytes);
    w->previous_end = c->lsn + c->bytes;
}

/* ---- what happens ---- */

static void append(struct world *w, uint32_t fact_bytes)
{
    struct tail_commit *c = &w->commits[w->commit_count++];

    assert_true(w->commit_count <= COMMITS_MAX);
    w->draft.commit.number = ++w->number;
    w->draft.commit.facts = w->facts;
    w->draft.commit.fact_bytes = fact_bytes;
    w->draft.commit.fact_count = fact_bytes / 3;
    assert_int_equal(tail_append(w->tail, &w->draft.commit, c), 0);
    check_commit(w, c);
    for (uint32_t i = 0; i < w->draft.commit.stream_count; i++) {
        const struct commit_stream *s = &w->draft.streams[i];
        struct model_stream *m = w->streams;
        const uint8_t *at = s->pieces[0].records.data;
        while (m->stream != s->stream)
            m++;
        for (uint64_t n = 0; n < s->count; n++) {
            assert_true(m->count < RECORDS_MAX);
            m->wanted[m->count] = true;
            m->body_bytes[m->count++] = (uint32_t)fanq_record_length(at) - 6;
            at += fanq_record_length(at);
        }
    }
}

static void append_at_random(struct world *w)
{
    struct random *r = &w->random;
    uint64_t bytes = 0;

    draft_begin(&w->draft);
    for (int i = 0; i < STREAMS; i++) {
        uint64_t kind = random_below(r, 100);
        uint32_t body_bytes = (uint32_t)random_below(r, kind == 0 ? MIB : kind < 10 ? 20000 : 300);
        uint32_t count = (uint32_t)random_below(r, body_bytes > 20000 ? 2 : kind < 40 ? 400 : 5) + 1;
        if (random_below(r, 3) > 0 || (uint64_t)body_bytes * count > MIB)
            continue;
        draft_plain(&w->draft, w->streams[i].stream, w->streams[i].count + 1, count, body_bytes);
    }
    for (uint32_t i = 0; i < w->draft.commit.stream_count; i++)
        bytes += w->draft.streams[i].bytes;
    if (bytes > tail_room(w->tail)) {
        w->refused++;
        write_some(w, UINT32_MAX);
        return;
    }
    append(w, random_below(r, 2) == 0 ? 0 : (uint32_t)random_below(r, FACTS_MAX));
}

static void delete_at_random(struct world *w)
{
    struct random *r = &w->random;
    struct model_stream *m = &w->streams[random_below(r, STREAMS)];
    static const uint64_t stays[] = {0, 0, 2, 60, 500};
    uint64_t of = stays[random_below(r, 5)], first, end;

    if (m->count == 0)
        return;
    first = 1 + random_below(r, m->count);
    end = first + random_below(r, m->count - first + 1) + 1;
    if (random_below(r, 3) > 0)
        first = m->trimmed + 1;
    for (uint64_t seq = first; seq < end; seq++)
        if (of == 0 || random_below(r, of) != 0)
            m->wanted[seq - 1] = false;
    while (m->trimmed < m->count && !m->wanted[m->trimmed])
        m->trimmed++;
    if (random_below(r, 4) > 0)
        tail_trim(w->tail, m->stream, m->trimmed + 1);
}

static void begin_stream(struct world *w, struct model_stream *m)
{
    *m = (struct model_stream){.stream = ++w->stream_next, .body_bytes = m->body_bytes, .wanted = m->wanted};
}

static void fetch_at_random(struct world *w)
{
    const struct model_stream *m = &w->streams[random_below(&w->random, STREAMS)];
    uint64_t seq = 1 + random_below(&w->random, m->count + 1);
    struct block b;
    int err;

    if (w->read_count == READS_MAX || !tail_block(w->tail, m->stream, seq, &b))
        return;
    err = tail_fetch_begin(w->tail, m->stream, seq, &w->reads[w->read_count]);
    if (b.records != NULL || b.first_seq > seq)
        assert_int_equal(err, FANQ_ERR_INVALID);
    if (err == 0)
        w->read_count++;
    else if (err == FANQ_ERR_NO_ROOM)
        assert_true(w->read_count > 0);
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
        !tail_block(w->tail, m->stream, 1 + random_below(&w->random, m->count + 1), &b) || b.records == NULL)
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

static bool model_next(void *context, uint64_t stream, uint64_t first, uint64_t end, uint64_t *ret_first,
                       uint64_t *ret_end)
{
    struct world *w = context;
    const struct model_stream *m = w->streams;

    while (m->stream != stream)
        m++;
    while (first < end && !m->wanted[first - 1])
        first++;
    *ret_first = first;
    while (first < end && m->wanted[first - 1])
        first++;
    *ret_end = first;
    return *ret_first < *ret_end;
}

/* ---- moving ---- */

/* Copies a block from the disk to the end of the cold segments: without what is not wanted at its ends, and with short
 * records for what is not in between. Gives false when nothing is wanted of it. */
static bool make_copy(struct world *w, const struct model_stream *m, const struct tail_read *block,
                      uint64_t *ret_place)
{
    const struct block_header *old = (const struct block_header *)disk_at(w, block->place);
    uint64_t first = old->first_seq, end = old->first_seq + old->count;
    const uint8_t *from = (const uint8_t *)(old + 1);
    struct block_header *copy;
    uint8_t *to;

    assert_int_equal(old->stream, block->stream);
    assert_int_equal(old->first_seq, block->first_seq);
    assert_int_equal(old->count, block->count);
    assert_int_equal(old->bytes + sizeof *old, block->bytes);
    while (first < end && !m->wanted[first - 1])
        first++;
    while (first < end && !m->wanted[end - 2])
        end--;
    if (first == end)
        return false;
    if (w->cold_end % SEGMENT_BYTES + block->bytes > SEGMENT_BYTES)
        w->cold_end = (w->cold_end / SEGMENT_BYTES + 1) * SEGMENT_BYTES;
    *ret_place = PLACE_COLD | w->cold_end;
    copy = (struct block_header *)disk_at(w, *ret_place);
    *copy = *old;
    copy->first_seq = first;
    copy->count = (uint32_t)(end - first);
    to = (uint8_t *)(copy + 1);
    for (uint64_t seq = old->first_seq; seq < end; seq++) {
        size_t length = fanq_record_length(from);
        if (seq < first)
            copy->bytes_before += length;
        else if (m->wanted[seq - 1] || seq % 2 == 0)
            to = (uint8_t *)memcpy(to, from, length) + length;
        else
            to += draft_write_record(to, m->stream, seq, 0);
        from += length;
    }
    copy->bytes = (uint32_t)(to - (uint8_t *)(copy + 1));
    w->cold_end += sizeof *copy + copy->bytes;
    assert_true(w->cold_count < COLD_MAX);
    w->cold_places[w->cold_count++] = *ret_place;
    return true;
}

static void move_at_random(struct world *w)
{
    bool cold = random_below(&w->random, 4) == 0;
    uint64_t segment = random_below(&w->random, 1 + (cold ? w->cold_end : w->previous_end) / SEGMENT_BYTES);
    struct tail_read blocks[40];
    size_t count;
    uint64_t place;

    write_some(w, UINT32_MAX);
    count = tail_segment_blocks(w->tail, cold, segment, blocks, 1 + random_below(&w->random, 40));
    assert_true(count > 0 || tail_segment_live_bytes(w->tail, cold, segment) == 0);
    for (size_t i = 0; i < count; i++) {
        const struct model_stream *m = w->streams;
        while (m->stream != blocks[i].stream)
            m++;
        assert_int_equal(place_is_cold(blocks[i].place), cold);
        assert_int_equal(place_lsn(blocks[i].place) / SEGMENT_BYTES, segment);
        if (!make_copy(w, m, &blocks[i], &place))
            continue;
        if (random_below(&w->random, 30) == 0)
            tail_trim(w->tail, m->stream, m->trimmed + 1);
        if (tail_moved(w->tail, m->stream, blocks[i].first_seq, blocks[i].place, place,
                       (const struct block_header *)disk_at(w, place))) {
            w->moved++;
            assert_false(tail_moved(w->tail, m->stream, blocks[i].first_seq, blocks[i].place, place,
                                    (const struct block_header *)disk_at(w, place)));
        }
    }
}

/* ---- starting again ---- */

static struct tail *new_tail(const struct tail_options *options)
{
    struct tail *t;

    assert_int_equal(tail_new(options, &t), 0);
    return t;
}

static void collect(struct world *w, uint64_t *places, size_t *count)
{
    for (uint32_t i = 0; i < w->written_count; i++) {
        const struct tail_commit *c = &w->commits[i];
        const struct commit_header *header;
        if (!disk_has(w, c->lsn))
            continue;
        header = (const struct commit_header *)disk_at(w, c->lsn);
        for (const struct block_header *b = NULL; (b = commit_next_block(header, b)) != NULL;)
            places[(*count)++] = c->lsn + (uint64_t)((const uint8_t *)b - (const uint8_t *)header);
    }
    for (uint32_t i = 0; i < w->cold_count; i++)
        if (disk_has(w, w->cold_places[i]))
            places[(*count)++] = w->cold_places[i];
}

static void end_unknown(void *context, uint64_t stream)
{
    struct world *w = context;

    for (int i = 0; i < STREAMS; i++)
        if (w->streams[i].stream == stream)
            return;
    tail_stream_end(w->tail, stream);
}

static void restart(struct world *w)
{
    static uint64_t places[COMMITS_MAX * 4 + COLD_MAX];
    bool shuffled = random_below(&w->random, 2) == 0;
    size_t count = 0;

    end_reads(w);
    while (w->pin_count > 0)
        unpin_newest(w);
    write_some(w, UINT32_MAX);
    tail_free(w->tail);
    w->tail = new_tail(&w->options);
    collect(w, places, &count);
    for (size_t i = 0; i < count; i++) {
        size_t other = i + random_below(&w->random, count - i);
        uint64_t place = places[shuffled ? other : i];
        places[shuffled ? other : i] = places[i];
        assert_int_equal(tail_restore_block(w->tail, (const struct block_header *)disk_at(w, place), place),
                         0);
    }
    w->restored += count;
    assert_int_equal(
        tail_restore_end(w->tail, (w->previous_end / SEGMENT_BYTES + 1) * SEGMENT_BYTES, w->previous_end), 0);
    check_live_bytes(w);
    tail_streams(w->tail, end_unknown, w);
    for (int i = 0; i < STREAMS; i++)
        tail_trim(w->tail, w->streams[i].stream, w->streams[i].trimmed + 1);
}

/* ---- worlds ---- */

static void step_at_random(struct world *w)
{
    struct random *r = &w->random;
    struct model_stream *m = &w->streams[random_below(r, STREAMS)];

    switch (random_below(r, 40)) {
    case 0:
        if (random_below(r, 4) == 0) {
            tail_stream_end(w->tail, m->stream);
            begin_stream(w, m);
        }
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
        delete_at_random(w);
        break;
    case 7:
        (void)tail_sweep(w->tail, &(struct tail_wanted){w, model_next}, 1 + (uint32_t)random_below(r, 300));
        break;
    case 8:
        move_at_random(w);
        break;
    case 9:
        disk_drop_dead(w);
        break;
    case 10:
        if (random_below(r, 10) == 0)
            restart(w);
        break;
    case 11:
        draft_begin(&w->draft); /* a witness, or facts only */
        append(w, random_below(r, 2) == 0 ? 0 : 100);
        break;
    case 12:
    case 13:
    case 14:
    case 15:
    case 16:
        fetch_at_random(w);
        break;
    case 17:
    case 18:
    case 19:
    case 20:
        if (w->read_count > 0)
            end_read(w, (uint32_t)random_below(r, w->read_count), random_below(r, 8) > 0);
        break;
    case 21:
    case 22:
    case 23:
    case 24:
        write_some(w, 1 + (uint32_t)random_below(r, 20));
        break;
    default:
        append_at_random(w);
    }
}

static struct world *new_world(uint64_t seed, uint64_t memory_mib, uint64_t cache_mib)
{
    static struct world w;

    w = (struct world){.random = {seed},
                       .options = {.memory_bytes_max = memory_mib * MIB,
                                   .segment_bytes = SEGMENT_BYTES,
                                   .epoch = 77,
                                   .log = true,
                                   .cache_bytes_max = cache_mib * MIB}};
    w.tail = new_tail(&w.options);
    assert_int_equal(tail_restore_end(w.tail, FIRST_SEGMENT * SEGMENT_BYTES, 0), 0);
    draft_init(&w.draft);
    for (int i = 0; i < FACTS_MAX; i++)
        w.facts[i] = (uint8_t)random_below(&w.random, 256);
    for (int i = 0; i < STREAMS; i++) {
        w.streams[i].body_bytes = malloc(RECORDS_MAX * sizeof(uint32_t));
        w.streams[i].wanted = malloc(RECORDS_MAX * sizeof(bool));
        assert_true(w.streams[i].body_bytes != NULL && w.streams[i].wanted != NULL);
        begin_stream(&w, &w.streams[i]);
    }
    return &w;
}

static void free_world(struct world *w)
{
    end_reads(w);
    write_some(w, UINT32_MAX);
    while (w->pin_count > 0)
        unpin_newest(w);
    for (int i = 0; i < STREAMS; i++) {
        tail_stream_end(w->tail, w->streams[i].stream);
        free(w->streams[i].body_bytes);
        free(w->streams[i].wanted);
    }
    assert_int_equal(figures_of(w).live_blocks, 0);
    assert_int_equal(figures_of(w).live_bytes, 0);
    assert_int_equal(figures_of(w).cached_bytes, 0);
    assert_true(figures_of(w).held_bytes <= (uint64_t)(PAGES_WARM_MAX + 2) * MIB);
    check_live_bytes(w);
    tail_free(w->tail);
    draft_close(&w->draft);
    for (int n = 0; n < SEGMENTS_MAX; n++) {
        free(w->disk[false][n]);
        free(w->disk[true][n]);
    }
}

TEST(what_is_wanted_is_found_wherever_it_lies)
{
    uint64_t absent = 0, moved = 0, restored = 0, refused = 0;

    failing_malloc_reset();
    for (uint64_t seed = 1; seed <= 30; seed++) {
        uint64_t memory_mib = seed % 2 == 0 ? 14 : 40;
        struct world *w = new_world(seed, memory_mib, 3);
        for (int step = 0; step < 3000; step++) {
            step_at_random(w);
            assert_true(figures_of(w).cached_bytes <= 3 * MIB);
            tail_evict(w->tail);
            /* Pins, and what is on its way beside what was just cached, are not to be moved. */
            if (w->pin_count == 0)
                assert_true(figures_of(w).held_bytes <= (memory_mib + 1) * MIB);
            if (step % 50 == 0) {
                check_live_bytes(w);
                check_stream(w, &w->streams[random_below(&w->random, STREAMS)]);
            }
        }
        check_all(w);
        restart(w);
        check_all(w);
        absent += w->absent;
        moved += w->moved;
        restored += w->restored;
        refused += w->refused;
        free_world(w);
    }
    assert_true(absent > 1000 && moved > 1000 && restored > 1000 && refused > 0);
    assert_int_equal(failing_malloc_live(), 0);
}

/* ---- one case each ---- */

static void append_plain(struct world *w, uint32_t count, uint32_t body_bytes)
{
    draft_begin(&w->draft);
    draft_plain(&w->draft, w->streams[0].stream, w->streams[0].count + 1, count, body_bytes);
    append(w, 0);
}

TEST(commits_are_kept_until_they_are_written_even_when_nothing_in_them_is_needed)
{
    struct world *w = new_world(1, 64, 1);
    uint64_t sum;

    append_plain(w, 20, 50000);
    sum = sum_of(w->commits[0].data, w->commits[0].bytes);
    tail_trim(w->tail, w->streams[0].stream, 21);
    for (int i = 0; i < 20; i++) {
        append_plain(w, 10, 100000);
        tail_trim(w->tail, w->streams[0].stream, w->streams[0].count + 1);
    }
    assert_true(figures_of(w).held_bytes >= 20 * MIB);
    tail_evict(w->tail);
    assert_true(sum_of(w->commits[0].data, w->commits[0].bytes) == sum);
    write_some(w, UINT32_MAX);
    tail_evict(w->tail);
    free_world(w);
}

/* A backlog of many times the memory, read from its beginning to its end. */
TEST(a_long_backlog_takes_no_more_memory_than_there_is)
{
    struct world *w = new_world(1, 20, 4);

    while (w->previous_end < (FIRST_SEGMENT + 40) * (uint64_t)SEGMENT_BYTES) {
        assert_true(tail_room(w->tail) > 1000 * 1000);
        append_plain(w, 900, 1000);
        write_some(w, UINT32_MAX);
        tail_evict(w->tail);
        assert_true(figures_of(w).held_bytes <= 20 * MIB);
    }
    check_all(w);
    assert_true(figures_of(w).held_bytes <= 20 * MIB && figures_of(w).cached_bytes <= 4 * MIB);
    assert_true(w->absent > 2000);
    free_world(w);
}

TEST(what_is_not_written_never_leaves_and_room_ends)
{
    struct world *w = new_world(1, 20, 4);
    struct block b;

    while (tail_room(w->tail) > 100 * 1006)
        append_plain(w, 100, 1000);
    tail_evict(w->tail);
    assert_true(figures_of(w).held_bytes <= 20 * MIB);
    for (int i = 0; i < 100; i++)
        append_plain(w, 100, 1000); /* as if there were room */
    tail_evict(w->tail);
    for (uint64_t seq = 1; seq <= w->streams[0].count; seq++) {
        assert_true(tail_block(w->tail, w->streams[0].stream, seq, &b));
        assert_non_null(b.records);
    }
    assert_true(w->streams[0].count > 10000);
    write_some(w, UINT32_MAX);
    assert_true(tail_room(w->tail) > 1000 * 1000);
    free_world(w);
}

/* A read that was under way when the block moved brings what the block was. */
TEST(what_comes_for_a_block_that_has_become_shorter_is_not_taken)
{
    struct world *w = new_world(1, 20, 4);
    struct model_stream *m = &w->streams[0];
    struct tail_read early, late, block;
    struct block b;
    uint64_t place;

    append_plain(w, 10, 100);
    while (tail_block(w->tail, m->stream, 1, &b) && b.records != NULL) {
        append_plain(w, 100, 10000);
        write_some(w, UINT32_MAX);
        tail_evict(w->tail);
    }
    assert_int_equal(tail_fetch_begin(w->tail, m->stream, 5, &early), 0);
    assert_int_equal(tail_fetch_begin(w->tail, m->stream, 5, &late), FANQ_ERR_INVALID);
    m->wanted[4] = false;
    assert_int_equal(tail_segment_blocks(w->tail, false, FIRST_SEGMENT, &block, 1), 1);
    assert_true(make_copy(w, m, &block, &place));
    assert_true(
        tail_moved(w->tail, m->stream, 1, block.place, place, (struct block_header *)disk_at(w, place)));
    assert_int_equal(tail_fetch_begin(w->tail, m->stream, 5, &late), 0);
    assert_int_equal(early.count, late.count);
    assert_int_equal(late.place, place);
    tail_fetch_end(w->tail, &early, true);
    assert_true(tail_block(w->tail, m->stream, 1, &b));
    assert_null(b.records);
    memcpy(late.data, disk_at(w, late.place), late.bytes);
    tail_fetch_end(w->tail, &late, true);
    check_stream(w, m);
    free_world(w);
}

static void restore(struct world *w, uint64_t first_seq, uint32_t count, uint32_t bytes, uint64_t place)
{
    const struct block_header block = {.stream = w->streams[0].stream,
                                       .first_seq = first_seq,
                                       .count = count,
                                       .bytes = bytes,
                                       .arrival = 1 + first_seq};

    assert_int_equal(tail_restore_block(w->tail, &block, place), 0);
}

/* What was deleted when a copy was made may not have been deleted safely. */
TEST(of_copies_that_overlap_the_one_with_the_most_messages_is_taken)
{
    static const struct {
        uint64_t first_seq, place;
        uint32_t count, bytes;
    } files[] = {
        {3, PLACE_COLD | 3000, 3, 100},    {1, PLACE_COLD | 1000, 6, 500},   {10, 20000, 10, 900},
        {10, PLACE_COLD | 20000, 10, 900}, {12, PLACE_COLD | 30000, 2, 100}, {20, PLACE_COLD | 50000, 5, 100},
        {20, PLACE_COLD | 60000, 5, 300},  {1, PLACE_COLD | 9000, 4, 300}};
    static const uint64_t expected[] = {PLACE_COLD | 1000, 20000, PLACE_COLD | 60000};
    struct tail_read blocks[9];

    for (int turn = 0; turn < 8; turn++) {
        struct world *w = new_world(1, 20, 4);
        tail_free(w->tail);
        w->tail = new_tail(&w->options);
        for (int i = 0; i < 8; i++) {
            int n = (i + turn) % 8;
            restore(w, files[n].first_seq, files[n].count, files[n].bytes, files[n].place);
        }
        assert_int_equal(tail_restore_end(w->tail, FIRST_SEGMENT * SEGMENT_BYTES, 0), 0);
        assert_int_equal(figures_of(w).live_blocks, 3);
        size_t count = tail_segment_blocks(w->tail, true, 0, blocks, 9);
        assert_int_equal(count, 2);
        count += tail_segment_blocks(w->tail, false, 0, blocks + count, 7);
        assert_int_equal(count, 3);
        assert_int_equal(blocks[0].place, expected[0]);
        assert_int_equal(blocks[2].place, expected[1]);
        assert_int_equal(blocks[1].place, expected[2]);
        check_live_bytes(w);
        free_world(w);
    }
}

TEST(an_append_without_memory_changes_nothing_and_may_be_repeated)
{
    int failures = 0;

    for (size_t n = 1;; n++) {
        struct world *w = new_world(1, 64, 1);
        failing_malloc_reset();
        failing_malloc_fail_at(n);
        for (uint64_t commit = 0; commit < 40; commit++) {
            struct tail_figures before = figures_of(w), after;
            struct tail_commit placed;
            draft_begin(&w->draft);
            for (uint64_t stream = 0; stream < 4; stream++)
                draft_plain(&w->draft, 100 + commit % 5 * 4 + stream, 1 + commit / 5 * 10, 10, 20000);
            if (tail_append(w->tail, &w->draft.commit, &placed) != 0) {
                after = figures_of(w);
                assert_memory_equal(&before, &after, sizeof before);
                assert_int_equal(tail_append(w->tail, &w->draft.commit, &placed), 0);
                failures++;
            }
            tail_written(w->tail, placed.lsn + placed.bytes / 2); /* not this one yet */
        }
        check_live_bytes(w);
        for (uint64_t stream = 100; stream < 120; stream++)
            tail_stream_end(w->tail, stream);
        tail_written(w->tail, 100 * (uint64_t)SEGMENT_BYTES);
        bool failed = failing_malloc_failed();
        failing_malloc_fail_at(0);
        free_world(w);
        if (!failed)
            break;
    }
    assert_true(failures > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_wanted_is_found_wherever_it_lies),
        cmocka_unit_test(commits_are_kept_until_they_are_written_even_when_nothing_in_them_is_needed),
        cmocka_unit_test(a_long_backlog_takes_no_more_memory_than_there_is),
        cmocka_unit_test(what_is_not_written_never_leaves_and_room_ends),
        cmocka_unit_test(what_comes_for_a_block_that_has_become_shorter_is_not_taken),
        cmocka_unit_test(of_copies_that_overlap_the_one_with_the_most_messages_is_taken),
        cmocka_unit_test(an_append_without_memory_changes_nothing_and_may_be_repeated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
