#include "log/recovery.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log/checkpoint.h"
#include "log/place.h"
#include "log/segment_index.h"
#include "proto/fanq_error.h"
#include "tests/lib/log_told.h"
#include "tests/lib/unit.h"

#if defined(__SANITIZE_ADDRESS__)
enum { BITS_STEP = 19 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
enum { BITS_STEP = 19 };
#else
enum { BITS_STEP = 1 };
#endif
#else
enum { BITS_STEP = 1 };
#endif

enum { SEGMENT_BYTES = 4096 };

static struct log_told told; /* large */
static struct log_expected expected;

/* ---- logs ---- */

struct fixture {
    struct sim_disk *disk;
    struct log_draft draft;
};

static void fixture_new(struct fixture *f)
{
    f->disk = sim_disk_new(1);
    log_draft_init(&f->draft, f->disk, SEGMENT_BYTES, 1);
}

static void fixture_free(struct fixture *f)
{
    log_draft_close(&f->draft);
    sim_disk_free(f->disk);
}

static void crash(struct fixture *f, enum sim_disk_crash how)
{
    sim_disk_crash(f->disk, how);
    log_draft_crashed(&f->draft);
}

/* Recovers, with these expectations. */
static void expect_recovery(struct fixture *f, bool damaged, uint64_t last)
{
    log_expect(&f->draft, &expected);
    assert_int_equal(log_recover_draft(&told, &f->draft, false, false), 0);
    log_told_check(&told, &expected, false, "recovery");
    assert_int_equal(told.recovered.damaged, damaged);
    if (!damaged)
        assert_int_equal(told.recovered.last_number, last);
}

static void commits(struct fixture *f, int count)
{
    while (count-- > 0)
        log_draft_commit(&f->draft, 2, 200);
}

static void begin_run(struct fixture *f, uint64_t last)
{
    struct recovery_options options;

    expect_recovery(f, false, last);
    options = log_told_options(&told, false, false);
    assert_int_equal(recovery_secure(&options, &told.recovered), 0);
    log_draft_run(&f->draft, &told.recovered);
}

static void synced_commits(struct fixture *f, int count)
{
    while (count-- > 0) {
        commits(f, 1);
        log_draft_sync(&f->draft);
    }
}

/* Makes a commit as if its first sectors had not reached the disk. */
static void tear(struct fixture *f, const struct log_drafted *c)
{
    char name[DIRECTORY_NAME_BYTES_MAX];

    directory_segment_name(name, DIRECTORY_LOG, c->lsn / SEGMENT_BYTES);
    for (uint64_t i = 0; i < c->bytes / 2; i++)
        sim_disk_flip(f->disk, name, c->lsn % SEGMENT_BYTES + i, 0x55);
}

/* Two runs. The first one had 10 commits, and four that the disk got but for the first of them: behind the cut there is
 * whole, but cut off, what is left of segment 2, and segment 3. The second one has 8 commits in segments 4 and 5, the last
 * of which is synced, but nothing says so. A checkpoint behind commit `checkpoint`, or none: 0. */
static void two_runs(struct fixture *f, uint64_t checkpoint)
{
    fixture_new(f);
    for (int i = 0; i < 10; i++) {
        synced_commits(f, 1);
        if (f->draft.count == checkpoint)
            log_draft_checkpoint(&f->draft);
    }
    commits(f, 4);
    crash(f, SIM_DISK_KEEP);
    tear(f, &f->draft.commits[10]);
    begin_run(f, 10);
    for (int i = 0; i < 8; i++) {
        synced_commits(f, 1);
        if (f->draft.count == checkpoint)
            log_draft_checkpoint(&f->draft);
    }
}

static const uint64_t checkpoints[] = {0, 8, 10, 13, 16, 17, 18};
enum { CHECKPOINTS = sizeof(checkpoints) / sizeof(checkpoints[0]), SEGMENTS = 5 };

/* ---- what is well ---- */

TEST(an_empty_directory_has_nothing)
{
    struct fixture f;

    fixture_new(&f);
    expect_recovery(&f, false, 0);
    assert_int_equal(told.recovered.end_lsn, 0);
    assert_int_equal(told.recovered.next_log_number, 1);
    assert_int_equal(told.recovered.next_cold_number, 1);
    assert_int_equal(told.reports, 0);
    fixture_free(&f);
}

TEST(all_is_told_in_order)
{
    for (int i = 0; i < CHECKPOINTS; i++) {
        struct fixture f;

        two_runs(&f, checkpoints[i]);
        expect_recovery(&f, false, 18);
        assert_int_equal(told.reports, 0);
        assert_int_equal(told.checkpoint_number, checkpoints[i]);
        assert_int_equal(told.recovered.commits, 18);
        assert_int_equal(told.recovered.last_epoch, 2);
        assert_int_equal(told.recovered.last_hash,
                         commit_hash((const struct commit_header *)f.draft.commits[17].image));
        assert_int_equal(told.recovered.checkpoint_number, checkpoints[i] != 0);
        assert_int_equal(told.recovered.next_log_number, SEGMENTS + 1);
        assert_int_equal(told.recovered.proven_lsn, f.draft.commits[checkpoints[i] == 18 ? 17 : 16].end);
        assert_int_equal(log_recover_draft(&told, &f.draft, false, true), 0); /* verify */
        log_told_check(&told, &expected, false, "verify");
        fixture_free(&f);
    }
}

/* Files that are made ahead have other names, but a run may end before its first commit got to the disk. */
TEST(an_empty_segment_is_passed_over)
{
    struct fixture f;

    two_runs(&f, 13);
    sim_disk_put(f.disk, "log-0000000000000006", "", 0);
    expect_recovery(&f, false, 18);
    assert_int_equal(told.recovered.next_log_number, 7);
    log_draft_run(&f.draft, &told.recovered);
    synced_commits(&f, 3);
    expect_recovery(&f, false, 21);
    fixture_free(&f);
}

/* ---- the end, or damage ---- */

/* Recovers, and goes on behind the loss, if there is one. */
static void check_damage(struct fixture *f, bool verify, const char *what)
{
    log_expect(&f->draft, &expected);
    assert_int_equal(log_recover_draft(&told, &f->draft, false, verify), 0);
    log_told_check(&told, &expected, false, what);
    if (!expected.damaged)
        return;
    assert_int_equal(log_recover_draft(&told, &f->draft, true, verify), 0);
    log_told_check(&told, &expected, true, what);
}

/* Each bit of a log is turned: what is lost is one commit, and that is told, unless it is the last one. */
TEST(every_flipped_bit_is_found)
{
    for (int i = 0; i < CHECKPOINTS; i++) {
        uint64_t step = checkpoints[i] == 13 ? BITS_STEP : 19;
        char name[DIRECTORY_NAME_BYTES_MAX], what[128];
        struct fixture f;
        uint64_t length;

        two_runs(&f, checkpoints[i]);
        for (uint64_t n = 1; n <= SEGMENTS; n++) {
            directory_segment_name(name, DIRECTORY_LOG, n);
            assert_non_null(sim_disk_content(f.disk, name, &length));
            for (uint64_t at = 0; at < length * 8; at += step) {
                uint64_t offset = at / 8, bit = at % 8;
                snprintf(what, sizeof(what), "checkpoint behind %d, %s, byte %d, bit %d", (int)checkpoints[i],
                         name, (int)offset, (int)bit);
                sim_disk_flip(f.disk, name, offset, (uint8_t)(1 << bit));
                check_damage(&f, bit == 0, what);
                sim_disk_flip(f.disk, name, offset, (uint8_t)(1 << bit));
            }
            sim_disk_kill(f.disk);
        }
        fixture_free(&f);
    }
}

static void check_truncations(struct fixture *f, uint64_t segment, uint64_t checkpoint)
{
    char name[DIRECTORY_NAME_BYTES_MAX], what[128];
    uint8_t copy[SEGMENT_BYTES];
    uint64_t length, least = 0;
    const uint8_t *content;

    directory_segment_name(name, DIRECTORY_LOG, segment);
    content = sim_disk_content(f->disk, name, &length);
    memcpy(copy, content, length);
    /* When no header is left in the second run's first segment and a checkpoint is behind it, nothing tells that segment 3
     * was cut off. The damage is reported, and what accepting it gives is not ours to say. */
    if (segment == 4 && checkpoint > 10)
        least = sizeof(struct commit_header);
    for (uint64_t cut = length; cut-- > least;) {
        snprintf(what, sizeof(what), "checkpoint behind %d, %s cut to %d", (int)checkpoint, name, (int)cut);
        sim_disk_cut(f->disk, name, cut);
        check_damage(f, false, what);
    }
    if (least > 0) {
        sim_disk_cut(f->disk, name, 0);
        expect_recovery(f, true, 0);
    }
    sim_disk_put(f->disk, name, copy, length);
    sim_disk_kill(f->disk);
}

TEST(every_truncation_is_found)
{
    for (int i = 0; i < CHECKPOINTS; i++) {
        struct fixture f;

        two_runs(&f, checkpoints[i]);
        for (uint64_t n = 1; n <= SEGMENTS; n++)
            check_truncations(&f, n, checkpoints[i]);
        fixture_free(&f);
    }
}

TEST(a_file_of_a_strange_number_is_refused)
{
    static const char *const names[] = {"log-ffffffffffffffff", "log-0000010000000000",
                                        "cold-8000000000000000"};
    struct fixture f;

    for (int i = 0; i < 3; i++) {
        two_runs(&f, 0);
        sim_disk_put(f.disk, names[i], "", 0);
        assert_int_equal(log_recover_draft(&told, &f.draft, false, false), FANQ_ERR_IO);
        fixture_free(&f);
    }
}

/* Below a checkpoint it was reused. */
TEST(a_missing_segment_is_damage)
{
    for (int i = 0; i < CHECKPOINTS; i++) {
        for (uint64_t n = 1; n <= SEGMENTS; n++) {
            char name[DIRECTORY_NAME_BYTES_MAX], what[128];
            struct fixture f;

            two_runs(&f, checkpoints[i]);
            directory_segment_name(name, DIRECTORY_LOG, n);
            snprintf(what, sizeof(what), "checkpoint behind %d, %s is missing", (int)checkpoints[i], name);
            sim_disk_drop(f.disk, name);
            if (n == 4 && checkpoints[i] > 10) { /* as with truncations */
                assert_int_equal(log_recover_draft(&told, &f.draft, false, false), 0);
                assert_int_equal(told.recovered.damaged, checkpoints[i] <= 16);
            } else {
                check_damage(&f, false, what);
            }
            fixture_free(&f);
        }
    }
}

TEST(damage_is_told_with_what_it_affects)
{
    struct fixture f;

    two_runs(&f, 0);
    sim_disk_flip(f.disk, "log-0000000000000001", f.draft.commits[2].end % SEGMENT_BYTES + 300, 1);
    expect_recovery(&f, true, 0);
    assert_int_equal(told.reports, 1);
    assert_string_equal(told.report,
                        "log-0000000000000001, offset 1920: commit 4 is damaged; it had messages 32 to 39 of "
                        "stream 1, messages 32 to 39 of stream 2, in all 2 blocks, 2 facts");
    fixture_free(&f);

    two_runs(&f, 0);
    sim_disk_drop(f.disk, "log-0000000000000004");
    expect_recovery(&f, true, 0);
    assert_int_equal(told.reports, 2);
    assert_string_equal(
        told.report, "log-0000000000000002, offset 2560, to log-0000000000000005, offset 0: commits 11 to 16 "
                     "are damaged or missing; what was there cannot be read");
    fixture_free(&f);
}

/* What a run cut off is not told of, though its headers can be read. */
TEST(only_what_was_in_the_log_is_told_as_lost)
{
    struct fixture f;

    two_runs(&f, 0);
    sim_disk_flip(f.disk, "log-0000000000000002", f.draft.commits[9].lsn % SEGMENT_BYTES + 200, 1);
    tear(&f, &f.draft.cut[3]); /* its header is what it was again, but not all of it */
    sim_disk_flip(f.disk, "log-0000000000000002", f.draft.cut[3].lsn % SEGMENT_BYTES + 200, 1);
    expect_recovery(&f, true, 0);
    assert_int_equal(told.reports, 1);
    assert_non_null(strstr(told.report, "commit 10 is damaged"));
    fixture_free(&f);
}

/* Nothing tells where the commits of segment 1 end, but its run went on, so nothing in it was cut off. */
TEST(damage_beside_a_reused_segment_is_found)
{
    struct fixture f;

    fixture_new(&f);
    commits(&f, 14);
    synced_commits(&f, 4);
    log_draft_checkpoint(&f.draft);
    sim_disk_drop(f.disk, "log-0000000000000002");
    expect_recovery(&f, false, 18);
    sim_disk_flip(f.disk, "log-0000000000000001", f.draft.commits[4].lsn % SEGMENT_BYTES + 200, 1);
    expect_recovery(&f, true, 0);
    fixture_free(&f);
}

/* Only what was cut off can be read of segment 2. */
TEST(damage_before_what_was_cut_off_is_found)
{
    struct fixture f;

    two_runs(&f, 13);
    for (uint64_t i = 6; i < 10; i++)
        sim_disk_flip(f.disk, "log-0000000000000002", f.draft.commits[i].lsn % SEGMENT_BYTES, 1);
    expect_recovery(&f, true, 0);
    fixture_free(&f);
}

/* ---- indexes ---- */

static void make_index(struct fixture *f, uint64_t segment)
{
    struct segment_index index;

    assert_int_equal(segment_index_scan(&f->draft.directory, DIRECTORY_LOG, segment, &index), 0);
    assert_int_equal(segment_index_write(&f->draft.directory, &index), 0);
    segment_index_free(&index);
}

TEST(an_index_saves_reading_its_segment)
{
    struct fixture f;
    uint64_t bytes, length;

    two_runs(&f, 16);
    expect_recovery(&f, false, 18);
    bytes = told.recovered.bytes_read;
    make_index(&f, 1);
    make_index(&f, 2);
    expect_recovery(&f, false, 18); /* the same blocks */
    assert_true(told.recovered.bytes_read < bytes / 2);

    assert_non_null(sim_disk_content(f.disk, "log-0000000000000001.index", &length));
    for (uint64_t bit = 0; bit < length * 8; bit++) { /* only a shortcut */
        sim_disk_flip(f.disk, "log-0000000000000001.index", bit / 8, (uint8_t)(1 << bit % 8));
        expect_recovery(&f, false, 18);
        assert_int_equal(told.reports, 0);
        sim_disk_flip(f.disk, "log-0000000000000001.index", bit / 8, (uint8_t)(1 << bit % 8));
    }
    sim_disk_cut(f.disk, "log-0000000000000001", 1000); /* which it does not hide */
    expect_recovery(&f, true, 0);
    fixture_free(&f);
}

/* Made of a segment that was damaged already, it has only what was before. */
TEST(an_index_that_ends_early_is_not_used)
{
    struct fixture f;

    two_runs(&f, 16);
    sim_disk_flip(f.disk, "log-0000000000000001", f.draft.commits[3].lsn % SEGMENT_BYTES + 200, 1);
    make_index(&f, 1);
    expect_recovery(&f, true, 0);
    sim_disk_flip(f.disk, "log-0000000000000001", f.draft.commits[3].lsn % SEGMENT_BYTES + 200, 1);
    expect_recovery(&f, false, 18);
    fixture_free(&f);
}

/* ---- the chain ---- */

static void write_last(struct fixture *f, struct commit_header *last, uint64_t previous_hash)
{
    const struct log_drafted *c = &f->draft.commits[f->draft.count - 1];
    char name[DIRECTORY_NAME_BYTES_MAX];
    uint8_t segment[SEGMENT_BYTES];
    uint64_t length, offset = c->lsn % SEGMENT_BYTES;

    commit_seal((uint8_t *)last, c->synced_lsn, previous_hash, &f->draft.directory.secret);
    directory_segment_name(name, DIRECTORY_LOG, c->lsn / SEGMENT_BYTES);
    memcpy(segment, sim_disk_content(f->disk, name, &length), SEGMENT_BYTES / 2);
    memcpy(segment + offset, last, c->bytes);
    sim_disk_put(f->disk, name, segment, offset + commit_bytes_aligned(c->bytes));
}

/* A commit that is whole, and in its place, but made behind another one. */
TEST(only_what_continues_the_last_commit_is_taken)
{
    for (int what = 0; what <= 4; what++) {
        uint8_t copy[1024];
        struct commit_header *last = (struct commit_header *)copy;
        uint64_t previous_hash;
        struct fixture f;

        two_runs(&f, 0);
        synced_commits(&f, 1);
        memcpy(copy, f.draft.commits[18].image, f.draft.commits[18].bytes);
        previous_hash = last->previous_hash ^ (what == 1);
        last->number += what == 2;
        last->previous_end -= what == 3 ? 64 : 0;
        last->epoch -= what == 4;
        write_last(&f, last, previous_hash);
        assert_int_equal(log_recover_draft(&told, &f.draft, false, false), 0);
        assert_false(told.recovered.damaged);
        assert_int_equal(told.recovered.last_number, what == 0 ? 19 : 18);
        fixture_free(&f);
    }
}

/* ---- torn ends ---- */

/* The last commit's first bytes got to the disk, and behind them is what was there before: nothing, or a segment's life before. */
TEST(a_commit_torn_at_every_byte_is_cut)
{
    for (int stale = 0; stale <= 1; stale++) {
        struct fixture f;
        uint8_t segment[SEGMENT_BYTES], before[SEGMENT_BYTES] = {0};
        const struct log_drafted *last;
        uint64_t length;

        fixture_new(&f);
        synced_commits(&f, 6);
        memcpy(before, sim_disk_content(f.disk, "log-0000000000000001", &length),
               stale ? SEGMENT_BYTES / 2 : 0);
        synced_commits(&f, 2);
        last = &f.draft.commits[f.draft.count - 1];
        memcpy(segment, sim_disk_content(f.disk, "log-0000000000000002", &length), 1280);
        for (uint64_t cut = 0; cut < last->bytes; cut++) {
            uint64_t offset = last->lsn % SEGMENT_BYTES;
            memcpy(before, segment, offset);
            memcpy(before + offset, last->image, cut);
            sim_disk_put(f.disk, "log-0000000000000002", before, SEGMENT_BYTES);
            expect_recovery(&f, false, 7);
            assert_int_equal(told.reports, 0);
        }
        fixture_free(&f);
    }
}

/* A recycled segment is full of commits that were good in its life before. */
TEST(stale_commits_of_a_recycled_segment_are_not_taken)
{
    struct fixture f;

    fixture_new(&f);
    synced_commits(&f, 20); /* segments 1 to 4 */
    log_draft_checkpoint(&f.draft);
    log_draft_recycle(&f.draft, 1);
    expect_recovery(&f, false, 20);
    for (int i = 0; i < 8; i++) {
        synced_commits(&f, 1);
        expect_recovery(&f, false, 21 + (uint64_t)i);
        assert_int_equal(told.reports, 0);
    }
    log_draft_checkpoint(&f.draft); /* 1 is gone, and below it */
    expect_recovery(&f, false, 28);
    fixture_free(&f);
}

/* What is not in the file of its name is damage: two files that were taken for each other. */
TEST(swapped_segments_are_damage)
{
    struct fixture f;
    uint8_t a[SEGMENT_BYTES], b[SEGMENT_BYTES];
    uint64_t a_length, b_length;

    two_runs(&f, 0);
    memcpy(a, sim_disk_content(f.disk, "log-0000000000000001", &a_length), 3840);
    memcpy(b, sim_disk_content(f.disk, "log-0000000000000002", &b_length), 3840);
    sim_disk_put(f.disk, "log-0000000000000001", b, b_length);
    sim_disk_put(f.disk, "log-0000000000000002", a, a_length);
    expect_recovery(&f, true, 0);
    fixture_free(&f);
}

TEST(what_is_recovered_is_made_safe)
{
    struct fixture f;
    struct recovery_options options;

    fixture_new(&f);
    commits(&f, 20); /* four segments, nothing synced */
    sim_disk_kill(f.disk);
    log_draft_crashed(&f.draft);
    expect_recovery(&f, false, 20);
    options = log_told_options(&told, false, false);
    assert_int_equal(told.recovered.proven_lsn, 0);
    assert_int_equal(recovery_secure(&options, &told.recovered), 0);
    crash(&f, SIM_DISK_LOSE);
    expect_recovery(&f, false, 20);

    log_draft_run(&f.draft, &told.recovered);
    synced_commits(&f, 3);
    commits(&f, 1);
    sim_disk_kill(f.disk);
    log_draft_crashed(&f.draft);
    expect_recovery(&f, false, 24);
    assert_int_equal(told.recovered.proven_lsn, f.draft.commits[22].end);
    assert_int_equal(recovery_secure(&options, &told.recovered), 0);
    crash(&f, SIM_DISK_LOSE);
    expect_recovery(&f, false, 24);
    fixture_free(&f);
}

TEST(a_torn_padding_is_made_whole)
{
    struct recovery_options options;
    const struct log_drafted *last;
    struct fixture f;
    uint64_t length;

    fixture_new(&f);
    commits(&f, 2);
    last = &f.draft.commits[1];
    sim_disk_cut(f.disk, "log-0000000000000001", last->lsn - SEGMENT_BYTES + last->bytes);
    expect_recovery(&f, false, 2);
    options = log_told_options(&told, false, false);
    assert_int_equal(recovery_secure(&options, &told.recovered), 0);
    assert_non_null(sim_disk_content(f.disk, "log-0000000000000001", &length));
    assert_int_equal(length, last->end - SEGMENT_BYTES);
    fixture_free(&f);
}

/* ---- checkpoints ---- */

/* Facts of the whole log below, so that either checkpoint leads to the same. */
static void two_checkpoints(struct fixture *f)
{
    fixture_new(f);
    synced_commits(f, 4);
    log_draft_checkpoint(&f->draft);
    synced_commits(f, 5);
    log_draft_checkpoint(&f->draft);
    synced_commits(f, 3);
    expect_recovery(f, false, 12);
    assert_int_equal(told.checkpoint_number, 9);
    assert_int_equal(told.recovered.checkpoint_number, 2);
}

static void expect_from(struct fixture *f, uint64_t checkpoint, uint64_t lsn, size_t reports)
{
    f->draft.checkpoint_lsn = lsn;
    expect_recovery(f, false, 12);
    assert_int_equal(told.checkpoint_number, checkpoint);
    assert_int_equal(told.reports, reports);
}

TEST(a_damaged_checkpoint_is_reported_and_the_other_one_used)
{
    struct fixture f;
    uint64_t length, older;

    two_checkpoints(&f);
    older = f.draft.commits[3].end;
    assert_non_null(sim_disk_content(f.disk, "checkpoint-b", &length));
    for (uint64_t bit = 0; bit < length * 8; bit++) {
        sim_disk_flip(f.disk, "checkpoint-b", bit / 8, (uint8_t)(1 << bit % 8));
        expect_from(&f, 4, older, 1);
        assert_string_equal(told.report,
                            "checkpoint-b is damaged; the log is replayed from the other checkpoint");
        sim_disk_flip(f.disk, "checkpoint-b", bit / 8, (uint8_t)(1 << bit % 8));
    }
    for (uint64_t cut = length; cut-- > 0;) {
        sim_disk_cut(f.disk, "checkpoint-b", cut);
        expect_from(&f, 4, older, 1);
    }
    sim_disk_drop(f.disk, "checkpoint-b");
    expect_from(&f, 4, older, 0);
    sim_disk_flip(f.disk, "checkpoint-a", 20, 1);
    expect_from(&f, 0, 0, 1); /* the log is there from its beginning on */
    sim_disk_drop(f.disk, "checkpoint-a");
    sim_disk_drop(f.disk, "log-0000000000000001");
    expect_recovery(&f, true, 0);
    fixture_free(&f);
}

TEST(a_log_that_ends_before_its_checkpoint_is_damaged)
{
    struct fixture f;

    fixture_new(&f);
    synced_commits(&f, 8);
    log_draft_checkpoint(&f.draft);
    sim_disk_drop(f.disk, "log-0000000000000002");
    expect_recovery(&f, true, 0);
    assert_int_equal(log_recover_draft(&told, &f.draft, true, false), 0);
    assert_int_equal(told.recovered.last_number, 8); /* what the next run goes on from */
    assert_int_equal(told.recovered.end_lsn, f.draft.commits[7].end);
    assert_int_equal(told.recovered.next_log_number, 3);
    fixture_free(&f);
}

TEST(checkpoints_are_read_newest_first)
{
    struct fixture f;
    struct checkpoints c;
    struct directory other;

    two_checkpoints(&f);
    assert_int_equal(checkpoints_read(&f.draft.directory, &c), 0);
    assert_int_equal(c.count, 2);
    assert_int_equal(c.damaged_count, 0);
    assert_int_equal(c.items[0].number, 2);
    assert_int_equal(c.items[0].next_commit, 10);
    assert_int_equal(c.items[0].lsn, f.draft.commits[8].end);
    assert_int_equal(c.items[0].fact_count, 1);
    assert_int_equal(c.items[0].fact_bytes, 8);
    assert_int_equal(c.items[1].number, 1);
    checkpoints_free(&c);

    other = f.draft.directory;
    other.id++;
    assert_int_equal(checkpoints_read(&other, &c), 0);
    assert_int_equal(c.count, 0);
    assert_int_equal(c.damaged_count, 2);
    checkpoints_free(&c);
    fixture_free(&f);
}

/* ---- moved blocks ---- */

enum { MOVES = 3 };

static void cold_segment(struct fixture *f, uint64_t ret_ends[MOVES])
{
    uint64_t hash = 0, end = 0;

    fixture_new(f);
    synced_commits(f, 3);
    for (uint64_t i = 0; i < MOVES; i++)
        ret_ends[i] = end = log_draft_move(&f->draft, 1, 1 + i, end, hash, &hash);
}

static size_t cold_blocks(void)
{
    size_t count = 0;

    for (size_t i = 0; i < told.block_count; i++)
        count += place_is_cold(told.blocks[i].place);
    return count;
}

TEST(moved_blocks_are_told_first)
{
    struct fixture f;
    uint64_t ends[MOVES];

    cold_segment(&f, ends);
    expect_recovery(&f, false, 3);
    assert_int_equal(cold_blocks(), 2 * MOVES);
    assert_int_equal(told.blocks[0].place, PLACE_COLD | (SEGMENT_BYTES + sizeof(struct commit_header)));
    assert_false(told.blocks[0].behind);
    assert_int_equal(told.recovered.next_cold_number, 2);
    assert_int_equal(told.recovered.moves_cut, 0);
    fixture_free(&f);
}

/* They have the same places as the log. */
TEST(moved_commits_are_not_taken_for_the_log)
{
    struct fixture f;
    uint64_t ends[MOVES], length;
    uint8_t copy[SEGMENT_BYTES];

    cold_segment(&f, ends);
    memcpy(copy, sim_disk_content(f.disk, "cold-0000000000000001", &length), ends[MOVES - 1]);
    sim_disk_put(f.disk, "log-0000000000000001", copy, length);
    assert_int_equal(log_recover_draft(&told, &f.draft, false, false), 0);
    assert_int_equal(told.recovered.last_number, 0);
    fixture_free(&f);
}

/* A move that was not finished is no damage; one that was is, as the next one begins after it. */
TEST(only_the_last_move_may_be_torn)
{
    struct fixture f;
    uint64_t ends[MOVES];

    cold_segment(&f, ends);
    for (uint64_t offset = 0; offset < ends[MOVES - 1]; offset++) {
        bool last = offset >= ends[MOVES - 2];
        sim_disk_flip(f.disk, "cold-0000000000000001", offset, 4);
        assert_int_equal(log_recover_draft(&told, &f.draft, false, false), 0);
        if (!last && told.recovered.damaged) {
            assert_true(told.reports > 0);
            assert_int_equal(log_recover_draft(&told, &f.draft, true, false), 0);
            assert_int_equal(cold_blocks(), 2 * (MOVES - 1));
        } else if (!told.recovered.damaged && cold_blocks() != 2 * MOVES) {
            assert_true(last); /* else it was padding */
            assert_int_equal(cold_blocks(), 2 * (MOVES - 1));
            assert_int_equal(told.recovered.moves_cut, 1);
        }
        assert_int_equal(told.recovered.last_number, 3);
        sim_disk_flip(f.disk, "cold-0000000000000001", offset, 4);
    }
    for (uint64_t cut = ends[MOVES - 1]; cut-- > 0;) {
        sim_disk_cut(f.disk, "cold-0000000000000001", cut);
        expect_recovery(&f, false, 3);
    }
    fixture_free(&f);
}

/* ---- when it cannot be ---- */

TEST(an_error_of_the_sink_ends_it)
{
    struct fixture f;
    struct recovery_options options;
    struct recovered recovered;

    two_runs(&f, 13);
    for (int n = 1; n <= 1 + 36 + 5; n++) {
        memset(&told, 0, sizeof(told));
        told.draft = &f.draft;
        told.fail_at = n;
        options = log_told_options(&told, false, false);
        assert_int_equal(recovery_run(&options, &recovered), -99);
    }
    fixture_free(&f);
}

TEST(an_error_of_the_disk_is_told_and_not_taken_for_damage)
{
    struct fixture f;
    uint64_t operations;

    two_runs(&f, 13);
    sim_disk_kill(f.disk);
    expect_recovery(&f, false, 18);
    operations = sim_disk_operations(f.disk);
    for (uint64_t at = 1; at <= operations; at++) {
        for (int sticky = 0; sticky <= 1; sticky++) {
            sim_disk_kill(f.disk);
            sim_disk_fault(f.disk, &(struct sim_disk_fault){
                                       .at = at, .operations = SIM_DISK_ALL, .sticky = sticky, .error = EIO});
            assert_int_equal(log_recover_draft(&told, &f.draft, true, false), FANQ_ERR_IO);
            assert_true(told.reports > 0);
            assert_int_equal(sim_disk_open_files(f.disk), 0);
        }
        sim_disk_kill(f.disk);
        sim_disk_fault(f.disk, &(struct sim_disk_fault){.at = at, .operations = SIM_DISK_ALL, .error = 0});
        expect_recovery(&f, false, 18); /* short reads */
    }
    fixture_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_directory_has_nothing),
        cmocka_unit_test(all_is_told_in_order),
        cmocka_unit_test(an_empty_segment_is_passed_over),
        cmocka_unit_test(every_flipped_bit_is_found),
        cmocka_unit_test(every_truncation_is_found),
        cmocka_unit_test(a_file_of_a_strange_number_is_refused),
        cmocka_unit_test(a_missing_segment_is_damage),
        cmocka_unit_test(damage_is_told_with_what_it_affects),
        cmocka_unit_test(only_what_was_in_the_log_is_told_as_lost),
        cmocka_unit_test(damage_beside_a_reused_segment_is_found),
        cmocka_unit_test(damage_before_what_was_cut_off_is_found),
        cmocka_unit_test(an_index_saves_reading_its_segment),
        cmocka_unit_test(an_index_that_ends_early_is_not_used),
        cmocka_unit_test(only_what_continues_the_last_commit_is_taken),
        cmocka_unit_test(a_commit_torn_at_every_byte_is_cut),
        cmocka_unit_test(stale_commits_of_a_recycled_segment_are_not_taken),
        cmocka_unit_test(swapped_segments_are_damage),
        cmocka_unit_test(what_is_recovered_is_made_safe),
        cmocka_unit_test(a_torn_padding_is_made_whole),
        cmocka_unit_test(a_damaged_checkpoint_is_reported_and_the_other_one_used),
        cmocka_unit_test(a_log_that_ends_before_its_checkpoint_is_damaged),
        cmocka_unit_test(checkpoints_are_read_newest_first),
        cmocka_unit_test(moved_blocks_are_told_first),
        cmocka_unit_test(moved_commits_are_not_taken_for_the_log),
        cmocka_unit_test(only_the_last_move_may_be_torn),
        cmocka_unit_test(an_error_of_the_sink_ends_it),
        cmocka_unit_test(an_error_of_the_disk_is_told_and_not_taken_for_damage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
