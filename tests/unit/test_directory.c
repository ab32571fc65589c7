#include "log/directory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/sim_disk.h"
#include "tests/lib/unit.h"

enum { SEGMENT_BYTES = 64 * 1024 };

struct fixture {
    struct sim_disk *disk;
    struct directory directory;
    char error[DIRECTORY_ERROR_BYTES];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    f->disk = sim_disk_new(1);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(sim_disk_open_files(f->disk), 0);
    sim_disk_free(f->disk);
    free(f);
    return 0;
}

static struct directory_options options_of(struct fixture *f)
{
    return (struct directory_options){.io = sim_disk_io(f->disk),
                                      .segment_bytes = SEGMENT_BYTES,
                                      .random = {11, 22, 33, 44},
                                      .wall_ms = 1000};
}

static int open_it(struct fixture *f)
{
    struct directory_options options = options_of(f);

    f->error[0] = '\0';
    return directory_open(&options, &f->directory, f->error);
}

static int open_read_only(struct fixture *f)
{
    struct directory_options options = options_of(f);

    options.read_only = true;
    f->error[0] = '\0';
    return directory_open(&options, &f->directory, f->error);
}

static void expect_refusal(struct fixture *f, int result, int err, const char *words)
{
    assert_int_equal(result, err);
    if (strstr(f->error, words) == NULL)
        fail_msg("'%s' is not in '%s'", words, f->error);
}

static bool has(struct fixture *f, const char *name)
{
    uint64_t length;

    return sim_disk_content(f->disk, name, &length) != NULL;
}

/* ---- who it is ---- */

TEST(a_new_directory_keeps_who_it_is)
{
    struct fixture *f = *state;
    struct directory_options other;

    assert_int_equal(open_it(f), 0);
    assert_int_equal(f->directory.id, 11);
    assert_int_equal(f->directory.segment_bytes, SEGMENT_BYTES);
    sim_disk_crash(f->disk, SIM_DISK_LOSE);

    other = options_of(f);
    other.segment_bytes = 2 * SEGMENT_BYTES;
    other.random[0] = other.random[1] = other.random[2] = other.random[3] = 99;
    other.wall_ms = 2000;
    f->directory = (struct directory){0};
    assert_int_equal(directory_open(&other, &f->directory, f->error), 0);
    assert_int_equal(f->directory.id, 11);
    assert_int_equal(f->directory.secret.header_seed, 22);
    assert_int_equal(f->directory.secret.commit_seed, 33);
    assert_int_equal(f->directory.secret.block_seed, 44);
    assert_int_equal(f->directory.segment_bytes, SEGMENT_BYTES);
    assert_int_equal(f->directory.made_ms, 1000);
}

TEST(a_second_broker_is_refused)
{
    struct fixture *f = *state;

    assert_int_equal(open_it(f), 0);
    expect_refusal(f, open_it(f), -EWOULDBLOCK, "in use by another broker");
    assert_int_equal(open_read_only(f), 0);
}

TEST(what_is_not_ours_is_left_alone)
{
    struct fixture *f = *state;

    sim_disk_put(f->disk, "letter.txt", "dear", 4);
    expect_refusal(f, open_it(f), -ENOTEMPTY, "letter.txt");
    expect_refusal(f, open_read_only(f), -ENOTEMPTY, "not a fanq directory");
    assert_false(has(f, "lock"));
    assert_false(has(f, "identity"));
    sim_disk_drop(f->disk, "letter.txt");
    sim_disk_put(f->disk, "lost+found", "", 0); /* the root of a file system */
    assert_int_equal(open_it(f), 0);
}

TEST(an_identity_that_was_lost_is_not_made_anew)
{
    struct fixture *f = *state;

    assert_int_equal(open_it(f), 0);
    assert_int_equal(directory_begin(&f->directory), 0);
    sim_disk_kill(f->disk);
    sim_disk_drop(f->disk, "identity");
    expect_refusal(f, open_it(f), -ENOTEMPTY, "identity");
}

static const uint8_t *identity_of(struct fixture *f, uint64_t *ret_length)
{
    const uint8_t *identity = sim_disk_content(f->disk, "identity", ret_length);

    assert_non_null(identity);
    return identity;
}

TEST(a_damaged_identity_is_told)
{
    struct fixture *f = *state;
    uint64_t length;

    assert_int_equal(open_it(f), 0);
    sim_disk_kill(f->disk);
    identity_of(f, &length);
    for (uint64_t bit = 0; bit < 8 * length; bit++) {
        sim_disk_flip(f->disk, "identity", bit / 8, (uint8_t)(1 << bit % 8));
        expect_refusal(f, open_read_only(f), -EBADMSG, "'identity' is damaged");
        sim_disk_flip(f->disk, "identity", bit / 8, (uint8_t)(1 << bit % 8));
    }
    assert_int_equal(open_read_only(f), 0);
    while (length-- > 0) {
        sim_disk_cut(f->disk, "identity", length);
        expect_refusal(f, open_it(f), -EBADMSG, "'identity' is damaged");
    }
}

TEST(a_newer_format_is_told)
{
    /* As a later version may write it: longer, with another number, and a hash of all of it. XXH3 of the first 92 bytes. */
    struct fixture *f = *state;
    struct directory_options options = options_of(f);
    uint8_t identity[100] = "fanq-log\2";
    static const uint8_t hash[8] = {0x3b, 0x10, 0x1c, 0xb6, 0x41, 0x74, 0x6b, 0xa6};

    memcpy(identity + 92, hash, 8);
    sim_disk_put(f->disk, "identity", identity, sizeof identity);
    expect_refusal(f, directory_open(&options, &f->directory, f->error), -EPROTO,
                   "made by a newer fanq (format 2); this one knows 1");
    assert_false(has(f, "lock"));
}

/* ---- runs ---- */

TEST(each_run_has_a_higher_epoch)
{
    struct fixture *f = *state;

    for (uint64_t run = 1; run <= 5; run++) {
        assert_int_equal(open_it(f), 0);
        assert_int_equal(directory_begin(&f->directory), 0);
        assert_int_equal(f->directory.epoch, run);
        sim_disk_crash(f->disk, (enum sim_disk_crash)(run % SIM_DISK_CRASHES));
    }
}

TEST(no_crash_gives_an_epoch_twice)
{
    struct fixture *f = *state;
    uint64_t epoch = 0;

    for (uint64_t i = 0; i < 400; i++) {
        sim_disk_stop_at(f->disk, i % 40 + 1);
        if (open_it(f) == 0 && directory_begin(&f->directory) == 0) {
            assert_true(f->directory.epoch > epoch);
            epoch = f->directory.epoch;
        }
        sim_disk_crash(f->disk, (enum sim_disk_crash)(i / 40 % SIM_DISK_CRASHES));
    }
    assert_true(epoch > 100);
}

TEST(a_damaged_epoch_is_told_and_a_lost_one_is_begun_above_the_log)
{
    struct fixture *f = *state;
    struct commit_header header = {.magic = COMMIT_MAGIC,
                                   .version = COMMIT_VERSION,
                                   .epoch = 4100,
                                   .number = 7,
                                   .lsn = 3 * SEGMENT_BYTES,
                                   .bytes = sizeof(struct commit_header) + sizeof(struct commit_trailer)};
    uint8_t commit[96];
    uint64_t length;

    assert_int_equal(open_it(f), 0);
    assert_int_equal(directory_begin(&f->directory), 0);
    memcpy(commit, &header, sizeof header);
    commit_seal(commit, 0, 0, &f->directory.secret);
    sim_disk_put(f->disk, "log-0000000000000003", commit, sizeof commit);
    sim_disk_put(f->disk, "log-0000000000000004", "", 0);
    sim_disk_kill(f->disk);

    assert_non_null(sim_disk_content(f->disk, "epoch", &length));
    for (uint64_t bit = 0; bit < 8 * length; bit++) {
        sim_disk_flip(f->disk, "epoch", bit / 8, (uint8_t)(1 << bit % 8));
        expect_refusal(f, open_it(f), -EBADMSG, "'epoch' is damaged");
        sim_disk_flip(f->disk, "epoch", bit / 8, (uint8_t)(1 << bit % 8));
        sim_disk_kill(f->disk);
    }
    sim_disk_drop(f->disk, "epoch");
    assert_int_equal(open_it(f), 0);
    assert_int_equal(directory_begin(&f->directory), 0);
    assert_true(f->directory.epoch > 4100 + 100);
}

/* ---- errors of the disk ---- */

TEST(a_directory_that_cannot_be_written_is_told)
{
    struct fixture *f = *state;
    static const struct {
        int error;
        const char *words;
    } cases[] = {{EROFS, "read-only"},
                 {EACCES, "this user may not"},
                 {ENOSPC, "no space left"},
                 {EIO, "Input/output error"}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sim_disk_fault(f->disk, &(struct sim_disk_fault){.at = 1,
                                                         .operations = SIM_DISK_SET(SIM_DISK_LOCK),
                                                         .sticky = true,
                                                         .error = cases[i].error});
        expect_refusal(f, open_it(f), -cases[i].error, "cannot write");
        assert_non_null(strstr(f->error, cases[i].words));
    }
}

/* Every operation fails once: it is told, with words, and the next start goes well. */
TEST(whatever_fails_is_told_and_the_next_start_is_well)
{
    uint64_t count = UINT64_MAX;

    for (uint64_t at = 1; at <= count; at++) {
        struct fixture f = {.disk = sim_disk_new(at)};
        sim_disk_put(f.disk, "identity.new", "half", 4);
        sim_disk_fault(f.disk, &(struct sim_disk_fault){.at = at, .operations = SIM_DISK_ALL, .error = EIO});
        int err = open_it(&f);
        if (err != 0)
            assert_int_not_equal(f.error[0], '\0');
        else
            err = directory_begin(&f.directory);
        if (sim_disk_strikes(f.disk) == 0) { /* all of it went well: there are no more operations */
            assert_int_equal(err, 0);
            count = sim_disk_operations(f.disk);
        } else if (err != 0)
            assert_int_equal(err, -EIO);
        assert_int_equal(sim_disk_open_files(f.disk), 0);
        sim_disk_crash(f.disk, SIM_DISK_LOSE);
        assert_int_equal(open_it(&f), 0);
        assert_int_equal(directory_begin(&f.directory), 0);
        sim_disk_free(f.disk);
    }
    assert_true(count > 20 && count < 100);
}

TEST(what_was_left_half_made_is_removed)
{
    struct fixture *f = *state;

    assert_int_equal(open_it(f), 0);
    sim_disk_kill(f->disk);
    sim_disk_put(f->disk, "checkpoint-a.new", "x", 1);
    sim_disk_put(f->disk, "log-0000000000000001.index.new", "x", 1);
    assert_int_equal(open_read_only(f), 0);
    assert_true(has(f, "checkpoint-a.new"));
    assert_int_equal(open_it(f), 0);
    assert_false(has(f, "checkpoint-a.new"));
    assert_false(has(f, "log-0000000000000001.index.new"));
    assert_true(has(f, "identity"));
}

TEST(looking_makes_nothing)
{
    struct fixture *f = *state;
    uint64_t before;

    expect_refusal(f, open_read_only(f), -ENOENT, "empty");
    assert_int_equal(open_it(f), 0);
    sim_disk_kill(f->disk);
    assert_int_equal(open_read_only(f), 0);
    before = sim_disk_operations(f->disk);
    for (uint64_t i = 1; i <= before; i++)
        assert_int_equal(SIM_DISK_SET(sim_disk_operation(f->disk, i)) &
                             (SIM_DISK_CHANGES | SIM_DISK_SET(SIM_DISK_LOCK)) & ~SIM_DISK_SET(SIM_DISK_OPEN),
                         0);
}

/* ---- files ---- */

TEST(segments_are_listed_by_kind_and_number)
{
    static const char *const names[] = {
        "log-0000000000000010",        "spare-0000000000000002",       "log-0000000000000009.index",
        "cold-ffffffffffffffff",       "log-0000000000000009",         "cold-0000000000000001.index",
        "log-000000000000000a",        "spare-0000000000000002.index", "log-0000000000000007.index",
        "log-00000000000000010",       "log-000000000000001",          "log-000000000000000A",
        "log-0000000000000009.index2", "cold-0000000000000001",        "old-0000000000000001",
    };
    static const struct directory_segment expected[] = {
        {DIRECTORY_COLD, 1, true},  {DIRECTORY_COLD, UINT64_MAX, false}, {DIRECTORY_LOG, 9, true},
        {DIRECTORY_LOG, 10, false}, {DIRECTORY_LOG, 16, false},          {DIRECTORY_SPARE, 2, false},
    };
    struct fixture *f = *state;
    struct directory_segment *segments;
    size_t count;

    assert_int_equal(open_it(f), 0);
    assert_int_equal(directory_segments(&f->directory, &segments, &count), 0);
    assert_int_equal(count, 0);
    free(segments);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        sim_disk_put(f->disk, names[i], "", 0);
    assert_int_equal(directory_segments(&f->directory, &segments, &count), 0);
    assert_int_equal(count, sizeof expected / sizeof expected[0]);
    for (size_t i = 0; i < count; i++) {
        char name[DIRECTORY_NAME_BYTES_MAX];
        assert_int_equal(segments[i].kind, expected[i].kind);
        assert_int_equal(segments[i].number, expected[i].number);
        assert_int_equal(segments[i].has_index, expected[i].has_index);
        directory_segment_name(name, segments[i].kind, segments[i].number);
        assert_true(has(f, name));
        if (segments[i].has_index) {
            directory_index_name(name, segments[i].kind, segments[i].number);
            assert_true(has(f, name));
        }
    }
    free(segments);
}

#define WITH_DISK(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_DISK(a_new_directory_keeps_who_it_is),
        WITH_DISK(a_second_broker_is_refused),
        WITH_DISK(what_is_not_ours_is_left_alone),
        WITH_DISK(an_identity_that_was_lost_is_not_made_anew),
        WITH_DISK(a_damaged_identity_is_told),
        WITH_DISK(a_newer_format_is_told),
        WITH_DISK(each_run_has_a_higher_epoch),
        WITH_DISK(no_crash_gives_an_epoch_twice),
        WITH_DISK(a_damaged_epoch_is_told_and_a_lost_one_is_begun_above_the_log),
        WITH_DISK(a_directory_that_cannot_be_written_is_told),
        cmocka_unit_test(whatever_fails_is_told_and_the_next_start_is_well),
        WITH_DISK(what_was_left_half_made_is_removed),
        WITH_DISK(looking_makes_nothing),
        WITH_DISK(segments_are_listed_by_kind_and_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
