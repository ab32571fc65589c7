#include "log/tail.h"

#include <stdio.h>
#include <string.h>

#include "log/commit.h"
#include "log/pages.h"
#include "proto/fanq_error.h"
#include "tests/lib/draft.h"
#include "tests/lib/failing_malloc.h"
#include "tests/lib/random.h"
#include "tests/lib/unit.h"

enum { MIB = 1024 * 1024 };

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

static int append_plain(struct tail *t, struct draft *d, uint64_t stream, uint64_t first_seq, uint32_t count,
                        uint32_t body_bytes)
{
    draft_begin(d);
    draft_plain(d, stream, first_seq, count, body_bytes);
    return tail_append(t, &d->commit, NULL);
}

static uint64_t sum_of(const uint8_t *data, uint32_t length)
{
    uint64_t sum = length;

    for (uint32_t i = 0; i < length; i++)
        sum = sum * 31 + data[i];
    return sum;
}

/* ---- the format ---- */

static uint64_t commit_bytes_of(struct draft *d, uint32_t count, uint32_t body_bytes)
{
    struct tail *t = new_tail(16, 8);

    assert_int_equal(append_plain(t, d, 1, 1, count, body_bytes), 0);
    uint64_t bytes = figures_of(t).commit_bytes;
    tail_free(t);
    return bytes;
}

TEST(one_more_plain_message_costs_a_commit_six_bytes_and_its_body)
{
    struct draft d;

    draft_init(&d);
    for (uint32_t count = 1; count < BLOCK_RECORDS_MAX; count++)
        assert_int_equal(commit_bytes_of(&d, count + 1, 16) - commit_bytes_of(&d, count, 16), 6 + 16);
    for (uint32_t body_bytes = 0; body_bytes < 1000; body_bytes += 37)
        assert_int_equal(commit_bytes_of(&d, 8, body_bytes) - commit_bytes_of(&d, 7, body_bytes),
                         6 + body_bytes);
    /* Over many blocks their headers are shared out. */
    assert_true(commit_bytes_of(&d, 100000, 0) <= 100000 * (6 + 1));
    draft_close(&d);
}

TEST(a_commit_can_be_read_back_from_its_bytes)
{
    struct tail *t = new_tail(16, 8);
    struct block block;
    struct draft d;

    draft_init(&d);
    assert_int_equal(append_plain(t, &d, 5, 10, 1, 3), 0);
    draft_begin(&d);
    draft_plain(&d, 5, 11, 300, 20);
    draft_plain(&d, 6, 1, 1, 70000);
    assert_int_equal(tail_append(t, &d.commit, NULL), 0);

    assert_true(tail_block(t, 5, 11, &block));
    const struct commit_header *header =
        (const struct commit_header *)(block.records - sizeof(struct block_header) - sizeof *header);
    assert_int_equal((uintptr_t)header % COMMIT_ALIGNMENT, 0);
    assert_int_equal(header->magic, COMMIT_MAGIC);
    assert_int_equal(header->version, COMMIT_VERSION);
    assert_int_equal(header->epoch, 77);
    assert_int_equal(header->number, d.commit.number);
    assert_int_equal(header->lsn, commit_bytes_aligned(88 + 56 + 9 + 8));
    assert_int_equal(header->time_ms, d.commit.time_ms);
    assert_int_equal(header->bytes, 88 + 3 * 56 + 300 * 26 + 70006 + 8);
    assert_int_equal(header->block_count, 3);

    static const uint64_t streams[] = {5, 5, 6}, seqs[] = {11, 267, 1}, counts[] = {256, 44, 1},
                          before[] = {9, 6665, 0};
    const uint8_t *at = (const uint8_t *)header + sizeof(*header);
    for (int i = 0; i < 3; i++) {
        const struct block_header *b = (const struct block_header *)at;
        assert_int_equal(b->stream, streams[i]);
        assert_int_equal(b->first_seq, seqs[i]);
        assert_int_equal(b->count, counts[i]);
        assert_int_equal(b->bytes_before, before[i]);
        assert_int_equal(b->arrival, i + 2);
        assert_int_equal(b->time_ms, d.commit.time_ms);
        at += sizeof *b + b->bytes;
    }
    assert_int_equal(at + sizeof(struct commit_trailer) - (const uint8_t *)header, header->bytes);
    tail_free(t);
    draft_close(&d);
}

/* ---- cutting ---- */

/* The counts of the blocks that pieces of a stream become, as "256 44". */
static void expect_blocks(struct tail *t, uint64_t stream, const char *expected)
{
    char text[200] = "";
    struct block block;

    for (uint64_t seq = 1; tail_block(t, stream, seq, &block); seq = block.first_seq + block.count)
        sprintf(text + strlen(text), "%s%u", text[0] ? " " : "", block.count);
    assert_string_equal(text, expected);
}

TEST(blocks_end_at_256_records_or_64_kib_or_hold_one_larger_record)
{
    struct tail *t = new_tail(64, 16);
    struct draft d;

    draft_init(&d);
    assert_int_equal(append_plain(t, &d, 1, 1, 256, 10), 0);
    expect_blocks(t, 1, "256");
    assert_int_equal(append_plain(t, &d, 2, 1, 600, 10), 0);
    expect_blocks(t, 2, "256 256 88");
    assert_int_equal(append_plain(t, &d, 3, 1, 130, 1018), 0); /* 64 records of 1,024 bytes are 64 KiB */
    expect_blocks(t, 3, "64 64 2");
    assert_int_equal(append_plain(t, &d, 4, 1, 3, BLOCK_BYTES_MAX - 5), 0);
    expect_blocks(t, 4, "1 1 1");

    draft_begin(&d);
    struct commit_stream *s = draft_stream(&d, 5, 1);
    for (int i = 0; i < 300; i++) { /* pieces of one record lie together */
        draft_piece(&d, s);
        draft_record(&d, s, 1);
    }
    draft_record(&d, s, 100000); /* in the last piece, behind a small one */
    draft_record(&d, s, 2);
    assert_int_equal(tail_append(t, &d.commit, NULL), 0);
    expect_blocks(t, 5, "256 44 1 1");
    tail_free(t);
    draft_close(&d);
}

/* ---- memory ---- */

TEST(an_append_without_memory_changes_nothing_and_may_be_repeated)
{
    struct draft d;
    struct block block;
    int failures = 0;

    draft_init(&d);
    for (size_t n = 1;; n++) {
        struct tail *t;
        failing_malloc_reset();
        failing_malloc_fail_at(n);
        const struct tail_options options = {
            .memory_bytes_max = 64 * MIB, .segment_bytes = 2 * MIB, .epoch = 1};
        if (tail_new(&options, &t) != 0)
            assert_int_equal(tail_new(&options, &t), 0);
        for (uint64_t commit = 0; commit < 60; commit++) {
            struct tail_figures before = figures_of(t);
            int err = append_plain(t, &d, commit % 20, 1 + commit / 20 * 10, 10, 10000);
            if (err != 0) {
                assert_int_equal(err, FANQ_ERR_NOMEM);
                struct tail_figures after = figures_of(t);
                assert_memory_equal(&before, &after, sizeof before);
                assert_false(tail_block(t, commit % 20, 1 + commit / 20 * 10, &block));
                assert_int_equal(tail_append(t, &d.commit, NULL), 0);
                failures++;
            }
        }
        for (uint64_t stream = 0; stream < 20; stream++)
            expect_blocks(t, stream, "6 4 6 4 6 4");
        tail_free(t);
        assert_int_equal(failing_malloc_live(), 0);
        if (!failing_malloc_failed())
            break;
    }
    assert_true(failures > 20);
    failing_malloc_reset();
    draft_close(&d);
}

TEST(steady_work_allocates_nothing_and_holds_little)
{
    struct tail *t = new_tail(1024, 64);
    size_t requests = 0;
    struct draft d;

    draft_init(&d);
    for (uint64_t commit = 0; commit < 4000; commit++) {
        assert_int_equal(append_plain(t, &d, 1, 1 + commit * 100, 100, 500), 0);
        if (commit >= 40)
            tail_trim(t, 1, (commit - 40) * 100); /* a backlog of 2 MiB */
        if (commit == 1000)
            requests = failing_malloc_requests();
    }
    assert_int_equal(failing_malloc_requests(), requests);
    assert_true(figures_of(t).held_bytes <= 8 * MIB);
    tail_free(t);
    draft_close(&d);
}

TEST(when_nothing_lives_it_starts_again_at_the_same_place)
{
    struct tail *t = new_tail(64, 8);
    const uint8_t *place = NULL;
    struct block block;
    struct draft d;

    draft_init(&d);
    for (uint64_t commit = 0; commit < 100; commit++) {
        assert_int_equal(append_plain(t, &d, 1, 1 + commit * 100, 100, 10000), 0);
        assert_true(tail_block(t, 1, 1 + commit * 100, &block));
        assert_true(place == NULL || place == block.records);
        place = block.records;
        tail_trim(t, 1, 1 + commit * 100 + 100);
    }
    assert_int_equal(figures_of(t).held_bytes, MIB); /* a page is held for the next commit */
    assert_int_equal(figures_of(t).live_blocks, 0);
    tail_free(t);
    draft_close(&d);
}

TEST(a_straggler_costs_its_page_only)
{
    struct tail *t = new_tail(512, 8);
    struct draft d;

    draft_init(&d);
    for (uint64_t commit = 0; commit < 300; commit++) {
        draft_begin(&d);
        draft_plain(&d, 1, 1 + commit * 100, 100, 10000);
        if (commit % 100 == 0)
            draft_plain(&d, 2, 1 + commit, 1, 10);
        assert_int_equal(tail_append(t, &d.commit, NULL), 0);
    }
    assert_true(figures_of(t).held_bytes >= 285 * MIB);
    tail_trim(t, 1, UINT64_MAX);
    assert_true(figures_of(t).held_bytes <= (PAGES_WARM_MAX + 4) * MIB);
    assert_int_equal(figures_of(t).live_blocks, 3);
    tail_free(t);
    draft_close(&d);
}

TEST(a_pin_keeps_bytes_whose_block_is_gone)
{
    struct tail *t = new_tail(64, 4);
    struct block block;
    struct draft d;

    draft_init(&d);
    assert_int_equal(append_plain(t, &d, 1, 1, 50, 1000), 0);
    assert_true(tail_block(t, 1, 1, &block));
    uint64_t sum = sum_of(block.records, block.bytes);
    tail_pin(t, block.records, block.bytes);
    tail_trim(t, 1, 51);
    assert_int_equal(figures_of(t).live_blocks, 0);
    for (uint64_t commit = 0; commit < 40; commit++) {
        assert_int_equal(append_plain(t, &d, 2, 1 + commit, 1, 900000), 0);
        tail_trim(t, 2, 2 + commit);
    }
    assert_true(sum_of(block.records, block.bytes) == sum);
    tail_unpin(t, block.records, block.bytes);
    tail_free(t);
    draft_close(&d);
}

TEST(a_stream_that_ends_takes_its_messages_along_and_its_number_is_unknown)
{
    struct tail *t = new_tail(64, 4);
    struct block block;
    struct draft d;

    draft_init(&d);
    tail_stream_end(t, 9);
    tail_trim(t, 9, 5);
    assert_int_equal(append_plain(t, &d, 9, 1, 10, 10), 0);
    assert_int_equal(append_plain(t, &d, 10, 1, 10, 10), 0);
    tail_stream_end(t, 9);
    assert_false(tail_block(t, 9, 1, &block));
    assert_true(tail_block(t, 10, 1, &block));
    assert_int_equal(figures_of(t).live_blocks, 1);
    tail_free(t);
    draft_close(&d);
}

/* Rings of the index grow, go round, and shrink when a long backlog was drained. */
TEST(each_of_many_blocks_is_found_until_it_is_trimmed)
{
    enum { BLOCKS = 40000 };
    struct tail *t = new_tail(64, 16);
    struct random r = {1};
    struct block block;
    struct draft d;

    draft_init(&d);
    for (uint64_t seq = 1; seq <= BLOCKS; seq++) {
        assert_int_equal(append_plain(t, &d, 1, seq * 10, 1, 8), 0);
        if (seq % 4 == 0)
            tail_trim(t, 1, seq / 4 * 10 + 1);
    }
    for (uint64_t floor = BLOCKS / 4 + 1; floor <= BLOCKS; floor += 1 + (BLOCKS - floor) / 16) {
        tail_trim(t, 1, floor * 10);
        assert_int_equal(figures_of(t).live_blocks, BLOCKS - floor + 1);
        for (int probe = 0; probe < 200; probe++) {
            uint64_t seq = floor * 10 + random_below(&r, (BLOCKS - floor) * 10 + 1);
            assert_true(tail_block(t, 1, seq, &block));
            assert_int_equal(block.first_seq,
                             (seq + 9) / 10 * 10); /* the one that holds it or is next above */
            assert_int_equal(block.bytes_before, (block.first_seq / 10 - 1) * 14);
        }
        assert_true(tail_block(t, 1, 0, &block));
        assert_int_equal(block.first_seq, floor * 10);
    }
    tail_free(t);
    draft_close(&d);
}

/* ---- the limit ---- */

/* Appends all that fits, in commits of whatever room there is up to a size, until there is none for one more
 * message. */
static uint64_t fill(struct tail *t, struct draft *d, uint64_t *seq, uint32_t body_bytes,
                     uint64_t commit_bytes_max)
{
    uint64_t filled = 0, room;

    while ((room = tail_room(t)) >= body_bytes + 6) {
        uint64_t bytes = room < commit_bytes_max ? room : commit_bytes_max;
        uint32_t count = (uint32_t)(bytes / (body_bytes + 6));
        assert_int_equal(append_plain(t, d, 1, *seq, count, body_bytes), 0);
        *seq += count;
        filled += (uint64_t)count * (body_bytes + 6);
    }
    return filled;
}

TEST(what_tail_room_allows_stays_within_the_limit)
{
    static const uint32_t body_bytes[] = {0, 16, 1000, 40000, 600000};
    struct draft d;

    draft_init(&d);
    for (int i = 0; i < 5; i++) {
        struct tail *t = new_tail(32, 8);
        uint64_t seq = 1;
        for (int round = 0; round < 3; round++) {
            uint64_t filled = fill(t, &d, &seq, body_bytes[i], i % 2 == 0 ? 4 * MIB : 700000);
            assert_true(figures_of(t).held_bytes <= 32 * MIB);
            assert_true(filled > (body_bytes[i] >= 16 && body_bytes[i] <= 1000 ? 24 : 15) * MIB);
            tail_trim(t, 1, seq);
            assert_int_equal(figures_of(t).live_blocks, 0);
        }
        tail_free(t);
    }
    draft_close(&d);
}

TEST(a_commit_of_many_streams_stays_within_the_limit)
{
    struct tail *t = new_tail(8, 4);
    struct draft d;

    draft_init(&d);
    for (uint64_t round = 0; tail_room(t) >= 500 * 6; round++) {
        draft_begin(&d);
        for (uint64_t stream = 0; stream < 500; stream++)
            draft_plain(&d, stream, 1 + round, 1, 0);
        assert_int_equal(tail_append(t, &d.commit, NULL), 0);
    }
    assert_true(figures_of(t).held_bytes <= 8 * MIB);
    assert_true(figures_of(t).live_blocks > 30000);
    for (uint64_t stream = 0; stream < 500; stream++)
        tail_stream_end(t, stream);
    assert_int_equal(figures_of(t).live_blocks, 0);
    tail_free(t);
    draft_close(&d);
}

/* A thousand queues whose consumers were away for a while: what their index took must come back, too. */
TEST(backlogs_that_are_gone_leave_the_room_they_had)
{
    enum { STREAMS = 100, BLOCKS = 3000 };
    struct tail *t = new_tail(24, 16);
    uint64_t room = tail_room(t);
    struct draft d;

    draft_init(&d);
    for (uint64_t stream = 1; stream <= STREAMS; stream++) {
        for (uint64_t seq = 0; seq < BLOCKS; seq++)
            assert_int_equal(append_plain(t, &d, stream, seq, 1, 1), 0);
        tail_trim(t, stream, BLOCKS);
    }
    assert_int_equal(figures_of(t).live_blocks, 0);
    assert_true(tail_room(t) > room * 7 / 8);
    draft_close(&d);
    tail_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_more_plain_message_costs_a_commit_six_bytes_and_its_body),
        cmocka_unit_test(a_commit_can_be_read_back_from_its_bytes),
        cmocka_unit_test(blocks_end_at_256_records_or_64_kib_or_hold_one_larger_record),
        cmocka_unit_test(an_append_without_memory_changes_nothing_and_may_be_repeated),
        cmocka_unit_test(steady_work_allocates_nothing_and_holds_little),
        cmocka_unit_test(when_nothing_lives_it_starts_again_at_the_same_place),
        cmocka_unit_test(a_straggler_costs_its_page_only),
        cmocka_unit_test(a_pin_keeps_bytes_whose_block_is_gone),
        cmocka_unit_test(a_stream_that_ends_takes_its_messages_along_and_its_number_is_unknown),
        cmocka_unit_test(each_of_many_blocks_is_found_until_it_is_trimmed),
        cmocka_unit_test(backlogs_that_are_gone_leave_the_room_they_had),
        cmocka_unit_test(what_tail_room_allows_stays_within_the_limit),
        cmocka_unit_test(a_commit_of_many_streams_stays_within_the_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
