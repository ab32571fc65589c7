/* Random histories of a log: runs that end in a crash of one kind or another, each on what was recovered of the one before,
 * with checkpoints between them, and segments that are reused. What was synced is there after each crash, what was not is a
 * prefix of what was written, nothing is ever taken for damage; and damage never for a torn end. */
#include "log/recovery.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log/segment_index.h"
#include "tests/lib/log_told.h"
#include "tests/lib/unit.h"

#if defined(__SANITIZE_ADDRESS__)
enum { HISTORIES = 150 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
enum { HISTORIES = 150 };
#else
enum { HISTORIES = 1200 };
#endif
#else
enum { HISTORIES = 1200 };
#endif

enum { CRASHES_A_RUN = 5 };

static struct log_told told, again; /* large */
static struct log_expected expected;
static uint64_t crashes, torn, cut_commits; /* that the test tests something */

/* ---- after a crash ---- */

/* But for the names of segments in which there is nothing yet. */
static void expect_same(const struct log_told *a, const struct log_told *b, const char *what)
{
    const struct recovered *x = &a->recovered, *y = &b->recovered;

    if (x->damaged != y->damaged || x->end_lsn != y->end_lsn || x->last_number != y->last_number ||
        x->last_hash != y->last_hash || x->checkpoint_number != y->checkpoint_number ||
        a->fact_count != b->fact_count || a->block_count != b->block_count ||
        memcmp(a->facts, b->facts, a->fact_count * sizeof(a->facts[0])) != 0 ||
        memcmp(a->blocks, b->blocks, a->block_count * sizeof(a->blocks[0])) != 0)
        fail_msg("%s: a second recovery is another", what);
}

/* A copy of the disk crashes, and is recovered; made safe, it crashes once more. */
static void crash_copy(const struct log_draft *draft, uint64_t seed, uint64_t index, bool kill)
{
    struct log_draft copy = *draft;
    struct recovery_options options;
    char what[64];

    snprintf(what, sizeof(what), "history %d, crash %d", (int)seed, (int)index);
    copy.disk = sim_disk_clone(draft->disk, seed * 1000 + index);
    copy.directory.io = sim_disk_io(copy.disk);
    if (kill)
        sim_disk_kill(copy.disk);
    else
        sim_disk_crash(copy.disk, (enum sim_disk_crash)(index % SIM_DISK_CRASHES));
    log_expect(&copy, &expected);
    if (expected.damaged || expected.last < draft->synced_number)
        fail_msg("%s: the disk or the oracle is wrong", what);
    assert_int_equal(log_recover_draft(&told, &copy, false, false), 0);
    log_told_check(&told, &expected, false, what);
    if (told.reports > 0)
        fail_msg("%s: %s", what, told.report);
    assert_int_equal(log_recover_draft(&again, &copy, false, index % 2 == 0), 0);
    expect_same(&told, &again, what);

    options = log_told_options(&told, false, false);
    assert_int_equal(recovery_secure(&options, &told.recovered), 0);
    sim_disk_crash(copy.disk, SIM_DISK_LOSE);
    assert_int_equal(log_recover_draft(&again, &copy, false, false), 0);
    expect_same(&told, &again, what);
    crashes++;
    cut_commits += draft->count - expected.last;
    torn += expected.last < draft->count;
    sim_disk_free(copy.disk);
}

/* ---- a run ---- */

static bool is_used(const struct log_draft *d, uint64_t segment)
{
    for (uint64_t i = 0; i < d->count; i++)
        if (d->commits[i].lsn / d->directory.segment_bytes == segment)
            return true;
    return false;
}

static bool is_there(const struct log_draft *d, uint64_t segment)
{
    char name[DIRECTORY_NAME_BYTES_MAX];
    uint64_t length;

    directory_segment_name(name, DIRECTORY_LOG, segment);
    return sim_disk_content(d->disk, name, &length) != NULL;
}

/* A segment below both checkpoints; those without anything needed go first. 0: none. */
static uint64_t old_segment(struct log_draft *d, struct random *random)
{
    uint64_t lowest = d->older_lsn / d->directory.segment_bytes, found = 0, count = 0;

    for (uint64_t n = 1; n < lowest; n++) {
        if (!is_there(d, n))
            continue;
        if (!is_used(d, n))
            return n;
        if (random_below(random, ++count) == 0)
            found = n;
    }
    return found;
}

static void let_go(struct log_draft *d, struct random *random)
{
    const struct io *io = &d->directory.io;
    char name[DIRECTORY_NAME_BYTES_MAX];
    uint64_t n = old_segment(d, random);

    if (n == 0)
        return;
    directory_index_name(name, DIRECTORY_LOG, n);
    (void)io->remove(io->context, name); /* most have none */
    if (random_below(random, 2) == 0) {
        log_draft_recycle(d, n);
        return;
    }
    directory_segment_name(name, DIRECTORY_LOG, n);
    assert_int_equal(io->remove(io->context, name), 0);
    assert_int_equal(io->sync_directory(io->context), 0); /* else it may come back, with its blocks */
}

/* Makes the index of a segment to which nothing is appended any more. */
static void make_index(struct log_draft *d, struct random *random)
{
    uint64_t n = 1 + random_below(random, d->synced_lsn / d->directory.segment_bytes + 1);
    struct segment_index index;

    if ((n + 1) * d->directory.segment_bytes > d->synced_lsn || !is_there(d, n))
        return;
    assert_int_equal(segment_index_scan(&d->directory, DIRECTORY_LOG, n, &index), 0);
    assert_int_equal(segment_index_write(&d->directory, &index), 0);
    segment_index_free(&index);
}

static void run(struct log_draft *d, struct random *random, bool reuse)
{
    uint64_t steps = random_below(random, 40), sync_every = 1 + random_below(random, 12);

    while (steps-- > 0) {
        uint64_t what = random_below(random, 100);
        if (what < 4 && d->count > 0)
            log_draft_checkpoint(d);
        else if (what < 10 && reuse)
            let_go(d, random);
        else if (what < 12 && d->lsn % d->directory.segment_bytes != 0)
            log_draft_next_segment(d);
        else if (what < 16)
            make_index(d, random);
        else if (random_below(random, sync_every) == 0)
            log_draft_sync(d);
        else
            log_draft_commit(d, (uint32_t)random_below(random, 4), (uint32_t)random_below(random, 300));
    }
}

static void begin_history(struct log_draft *d, struct random *random, uint64_t seed)
{
    *random = (struct random){seed};
    log_draft_init(d, sim_disk_new(seed), 2048 << random_below(random, 3), seed);
}

static void end_history(struct log_draft *d)
{
    struct sim_disk *disk = d->disk;

    log_draft_close(d);
    sim_disk_free(disk);
}

/* The run ends, and the next one begins. */
static void crash_run(struct log_draft *d, struct random *random)
{
    struct recovery_options options;

    sim_disk_crash(d->disk, (enum sim_disk_crash)random_below(random, SIM_DISK_CRASHES));
    log_draft_crashed(d);
    assert_int_equal(log_recover_draft(&told, d, false, false), 0);
    assert_false(told.recovered.damaged);
    options = log_told_options(&told, false, false);
    assert_int_equal(recovery_secure(&options, &told.recovered), 0);
    log_draft_run(d, &told.recovered);
}

TEST(a_crash_loses_nothing_that_was_synced_and_is_no_damage)
{
    for (uint64_t seed = 1; seed <= HISTORIES; seed++) {
        struct log_draft d;
        struct random random;
        uint64_t crash = 0;

        begin_history(&d, &random, seed);
        for (uint64_t runs = 1 + random_below(&random, 6); runs > 0; runs--) {
            run(&d, &random, true);
            for (int i = 0; i < CRASHES_A_RUN; i++)
                crash_copy(&d, seed, ++crash, random_below(&random, 8) == 0);
            crash_run(&d, &random);
        }
        end_history(&d);
    }
    print_message("%d crashes, %d with a torn end, %d commits cut off\n", (int)crashes, (int)torn,
                  (int)cut_commits);
    assert_true(crashes > 10 * HISTORIES && torn > crashes / 4 && cut_commits > 2 * torn);
}

/* ---- damage ---- */

static void zero_sector(struct sim_disk *disk, const char *name, uint64_t offset)
{
    uint64_t length;

    offset -= offset % SIM_DISK_SECTOR_BYTES;
    for (uint64_t i = 0; i < SIM_DISK_SECTOR_BYTES; i++) {
        const uint8_t *content = sim_disk_content(disk, name, &length);
        if (offset + i < length && content[offset + i] != 0)
            sim_disk_flip(disk, name, offset + i, content[offset + i]);
    }
}

/* Damages the file of a commit, somewhere. */
static void damage(const struct log_draft *d, struct random *random)
{
    const struct log_drafted *c = &d->commits[random_below(random, d->count)];
    char name[DIRECTORY_NAME_BYTES_MAX];
    uint64_t length, offset;

    directory_segment_name(name, DIRECTORY_LOG, c->lsn / d->directory.segment_bytes);
    if (sim_disk_content(d->disk, name, &length) == NULL || length == 0)
        return; /* it is the second time */
    offset = random_below(random, length);
    switch (random_below(random, 8)) {
    case 0: /* below the checkpoint it would not be missed */
        if (c->end > d->checkpoint_lsn)
            sim_disk_drop(d->disk, name);
        break;
    case 1:
        sim_disk_cut(d->disk, name, offset);
        break;
    case 2:
    case 3:
        zero_sector(d->disk, name, offset);
        break;
    default:
        sim_disk_flip(d->disk, name, offset, (uint8_t)(1 << random_below(random, 8)));
        break;
    }
}

/* With segments that are reused one could not always tell; here all are kept. */
TEST(damage_is_told_from_a_torn_end)
{
    uint64_t damaged = 0, cases = 0;

    for (uint64_t seed = 1; seed <= HISTORIES; seed++) {
        struct log_draft d;
        struct random random;
        char what[64];

        begin_history(&d, &random, seed);
        for (uint64_t runs = 1 + random_below(&random, 4); runs > 0; runs--) {
            run(&d, &random, false);
            if (runs > 1)
                crash_run(&d, &random);
        }
        log_draft_sync(&d);
        for (int i = 0; i < 10 && d.count > 0; i++) {
            struct log_draft copy = d;
            copy.disk = sim_disk_clone(d.disk, seed);
            copy.directory.io = sim_disk_io(copy.disk);
            sim_disk_kill(copy.disk);
            for (uint64_t times = 1 + random_below(&random, 2); times > 0; times--)
                damage(&copy, &random);
            snprintf(what, sizeof(what), "history %d, damage %d", (int)seed, i);
            log_expect(&copy, &expected);
            assert_int_equal(log_recover_draft(&told, &copy, false, true), 0);
            log_told_check(&told, &expected, false, what);
            /* Blocks that an index tells of are checked when they are read. */
            assert_int_equal(log_recover_draft(&told, &copy, true, false), 0);
            assert_true(told.reports == 0 || expected.damaged);
            damaged += expected.damaged;
            cases++;
            sim_disk_free(copy.disk);
        }
        end_history(&d);
    }
    print_message("%d cases, %d damaged\n", (int)cases, (int)damaged);
    assert_true(damaged > cases / 3 && damaged < cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crash_loses_nothing_that_was_synced_and_is_no_damage),
        cmocka_unit_test(damage_is_told_from_a_torn_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
