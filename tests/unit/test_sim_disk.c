#include "tests/lib/sim_disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/unit.h"

static int open_on(struct sim_disk *disk, const char *name)
{
    struct io io = sim_disk_io(disk);
    int file = -1;

    assert_int_equal(io.open(disk, name, IO_READ | IO_WRITE | IO_CREATE, &file), 0);
    return file;
}

static int64_t write_on(struct sim_disk *disk, int file, const void *data, size_t length, uint64_t offset)
{
    struct io io = sim_disk_io(disk);

    return io.write_at(disk, file, &(struct iovec){.iov_base = (void *)data, .iov_len = length}, 1, offset);
}

/* A disk with a file "a" of these bytes, all of it kept. */
static struct sim_disk *disk_with(uint64_t seed, const void *data, size_t length)
{
    struct sim_disk *disk = sim_disk_new(seed);
    struct io io = sim_disk_io(disk);

    assert_int_equal(io_put(&io, "a", data, length), 0);
    return disk;
}

static void expect_content(struct sim_disk *disk, const char *name, const void *data, uint64_t length)
{
    uint64_t got = 0;
    const uint8_t *content = sim_disk_content(disk, name, &got);

    assert_non_null(content);
    assert_int_equal(got, length);
    assert_memory_equal(content, data, length);
}

static bool has(struct sim_disk *disk, const char *name)
{
    uint64_t length;

    return sim_disk_content(disk, name, &length) != NULL;
}

/* ---- what a crash does ---- */

TEST(what_was_not_synced_is_lost_or_kept)
{
    struct sim_disk *disk = disk_with(1, "old", 3), *other;
    int file = open_on(disk, "a");

    assert_int_equal(write_on(disk, file, "new text", 8, 0), 8);
    expect_content(disk, "a", "new text", 8);
    other = sim_disk_clone(disk, 1);
    sim_disk_crash(disk, SIM_DISK_LOSE);
    expect_content(disk, "a", "old", 3);
    sim_disk_crash(other, SIM_DISK_KEEP);
    expect_content(other, "a", "new text", 8);
    sim_disk_free(disk);
    sim_disk_free(other);
}

TEST(what_was_synced_is_kept_by_every_crash)
{
    for (int i = 0; i < 20 * SIM_DISK_CRASHES; i++) {
        struct sim_disk *disk = disk_with((uint64_t)i, "old", 3);
        struct io io = sim_disk_io(disk);
        int file = open_on(disk, "a");
        assert_int_equal(write_on(disk, file, "xxxxxxxx", 8, 0), 8);
        assert_int_equal(io.truncate(disk, file, 2), 0);
        assert_int_equal(write_on(disk, file, "new", 3, 1), 3);
        assert_int_equal(io.sync(disk, file), 0);
        sim_disk_crash(disk, (enum sim_disk_crash)(i % SIM_DISK_CRASHES));
        expect_content(disk, "a", "xnew", 4);
        sim_disk_free(disk);
    }
}

/* A sync is of one file, and of no name. */
TEST(a_sync_keeps_no_more_than_its_own)
{
    struct sim_disk *disk = disk_with(1, "old", 3);
    struct io io = sim_disk_io(disk);
    int a = open_on(disk, "a"), b = open_on(disk, "b");

    assert_int_equal(write_on(disk, a, "new", 3, 0), 3);
    assert_int_equal(write_on(disk, b, "new", 3, 0), 3);
    assert_int_equal(io.sync(disk, b), 0);
    sim_disk_crash(disk, SIM_DISK_LOSE);
    expect_content(disk, "a", "old", 3);
    assert_false(has(disk, "b"));

    b = open_on(disk, "b");
    assert_int_equal(write_on(disk, b, "new", 3, 0), 3);
    assert_int_equal(io.sync_directory(disk), 0);
    sim_disk_crash(disk, SIM_DISK_LOSE);
    expect_content(disk, "b", "", 0);
    sim_disk_free(disk);
}

enum { SECTORS = 8, LONG = SECTORS * SIM_DISK_SECTOR_BYTES };

/* Overwrites zeros by ones without a sync, and lets the power go. Gives the content, lent. */
static const uint8_t *torn(struct sim_disk *disk, enum sim_disk_crash crash, size_t write_bytes)
{
    int file = open_on(disk, "a");
    uint8_t ones[LONG];
    uint64_t length;
    const uint8_t *content;

    memset(ones, 1, sizeof ones);
    for (size_t at = 0; at < LONG; at += write_bytes)
        assert_int_equal(write_on(disk, file, ones, write_bytes, at), write_bytes);
    sim_disk_crash(disk, crash);
    content = sim_disk_content(disk, "a", &length);
    assert_int_equal(length, LONG);
    return content;
}

static uint8_t zeros[LONG];

TEST(sectors_are_kept_or_lost_each)
{
    unsigned patterns[1u << SECTORS] = {0}, seen = 0;

    for (uint64_t seed = 0; seed < 5000; seed++) {
        struct sim_disk *disk = disk_with(seed, zeros, LONG);
        const uint8_t *content = torn(disk, SIM_DISK_SECTORS, LONG);
        unsigned pattern = 0;
        for (unsigned i = 0; i < LONG; i++) {
            assert_int_equal(content[i], content[i / SIM_DISK_SECTOR_BYTES * SIM_DISK_SECTOR_BYTES]);
            if (i % SIM_DISK_SECTOR_BYTES == 0)
                pattern |= (unsigned)content[i] << i / SIM_DISK_SECTOR_BYTES;
        }
        seen += patterns[pattern]++ == 0;
        sim_disk_free(disk);
    }
    assert_int_equal(seen, 1u << SECTORS);
}

TEST(a_torn_write_keeps_its_first_part)
{
    bool none = false, all = false, within_a_sector = false;

    for (uint64_t seed = 0; seed < 20000; seed++) {
        struct sim_disk *disk = disk_with(seed, zeros, LONG);
        const uint8_t *content = torn(disk, SIM_DISK_TEAR, LONG);
        size_t kept = 0;
        while (kept < LONG && content[kept] == 1)
            kept++;
        for (size_t i = kept; i < LONG; i++)
            assert_int_equal(content[i], 0);
        none = none || kept == 0;
        all = all || kept == LONG;
        within_a_sector = within_a_sector || kept % SIM_DISK_SECTOR_BYTES != 0;
        sim_disk_free(disk);
    }
    assert_true(none && all && within_a_sector);
}

TEST(shuffled_writes_are_whole_and_later_ones_may_be_under_earlier_ones)
{
    bool first = false, second = false, neither = false;

    for (uint64_t seed = 0; seed < 200; seed++) {
        struct sim_disk *disk = disk_with(seed, "old", 3);
        struct io io = sim_disk_io(disk);
        int file = open_on(disk, "a");
        uint64_t length;
        uint8_t *data;
        assert_int_equal(write_on(disk, file, "one", 3, 0), 3);
        assert_int_equal(write_on(disk, file, "two", 3, 0), 3);
        sim_disk_crash(disk, SIM_DISK_SHUFFLE);
        assert_int_equal(io_get(&io, "a", 3, &data, &length), 0);
        first = first || memcmp(data, "one", 3) == 0;
        second = second || memcmp(data, "two", 3) == 0;
        neither = neither || memcmp(data, "old", 3) == 0;
        free(data);
        sim_disk_free(disk);
    }
    assert_true(first && second && neither);
}

TEST(names_reach_the_disk_in_order)
{
    int counts[4] = {0};

    for (uint64_t seed = 0; seed < 300; seed++) {
        struct sim_disk *disk = disk_with(seed, "old", 3);
        struct io io = sim_disk_io(disk);
        bool b, c;
        open_on(disk, "b");
        assert_int_equal(io.rename(disk, "a", "c"), 0);
        assert_int_equal(io.remove(disk, "b"), 0);
        sim_disk_crash(disk, SIM_DISK_SECTORS);
        b = has(disk, "b"), c = has(disk, "c");
        assert_true(c == !has(disk, "a"));
        counts[!b && !c ? 0 : b && !c ? 1 : b ? 2 : 3]++; /* so many of the three were kept */
        sim_disk_free(disk);
    }
    for (int i = 0; i < 4; i++)
        assert_true(counts[i] > 0);
}

TEST(a_name_may_be_kept_without_what_was_written)
{
    struct sim_disk *disk = disk_with(1, "old", 3);
    struct io io = sim_disk_io(disk);
    int file = open_on(disk, "a.new");

    assert_int_equal(write_on(disk, file, "new", 3, 0), 3);
    assert_int_equal(io.rename(disk, "a.new", "a"), 0);
    assert_int_equal(io.sync_directory(disk), 0);
    expect_content(disk, "a", "new", 3);
    sim_disk_crash(disk, SIM_DISK_LOSE);
    expect_content(disk, "a", "", 0);
    sim_disk_free(disk);
}

TEST(equal_seeds_crash_equally)
{
    struct sim_disk *one = disk_with(7, zeros, LONG), *two = disk_with(7, zeros, LONG);
    const uint8_t *content = torn(one, SIM_DISK_SECTORS, SIM_DISK_SECTOR_BYTES);

    assert_memory_equal(content, torn(two, SIM_DISK_SECTORS, SIM_DISK_SECTOR_BYTES), LONG);
    sim_disk_free(one);
    sim_disk_free(two);
}

/* ---- a failed sync ---- */

TEST(what_a_failed_sync_gave_up_is_seen_and_never_kept)
{
    struct sim_disk *disk = disk_with(1, "old", 3);
    struct io io = sim_disk_io(disk);
    int file = open_on(disk, "a");

    assert_int_equal(write_on(disk, file, "new", 3, 0), 3);
    sim_disk_fault(disk, &(struct sim_disk_fault){.at = sim_disk_operations(disk) + 1,
                                                  .operations = SIM_DISK_SYNCS,
                                                  .error = EIO});
    assert_int_equal(io.sync(disk, file), -EIO);
    assert_int_equal(io.sync(disk, file), 0);
    expect_content(disk, "a", "new", 3);
    sim_disk_crash(disk, SIM_DISK_KEEP);
    expect_content(disk, "a", "old", 3);
    sim_disk_free(disk);
}

/* ---- the end of the program ---- */

TEST(a_kill_loses_nothing_and_syncs_nothing)
{
    struct sim_disk *disk = disk_with(1, "old", 3);
    struct io io = sim_disk_io(disk);
    int file = open_on(disk, "a");
    uint64_t size;

    assert_int_equal(io.lock(disk, "lock"), 0);
    assert_int_equal(write_on(disk, file, "new", 3, 0), 3);
    sim_disk_kill(disk);
    assert_int_equal(sim_disk_operations(disk), 0);
    assert_int_equal(io.size(disk, file, &size), -EBADF);
    assert_int_equal(io.lock(disk, "lock"), 0);
    expect_content(disk, "a", "new", 3);
    sim_disk_crash(disk, SIM_DISK_LOSE);
    expect_content(disk, "a", "old", 3);
    sim_disk_free(disk);
}

TEST(a_close_from_before_a_crash_closes_nothing_else)
{
    struct sim_disk *disk = disk_with(1, "old", 3);
    struct io io = sim_disk_io(disk);
    int before = open_on(disk, "a"), after;

    sim_disk_crash(disk, SIM_DISK_KEEP);
    after = open_on(disk, "a");
    io.close(disk, before);
    assert_int_equal(sim_disk_open_files(disk), 1);
    assert_int_equal(write_on(disk, after, "new", 3, 0), 3);
    sim_disk_free(disk);
}

TEST(where_it_stops_all_fails_and_the_last_change_may_be_there)
{
    struct sim_disk *disk = disk_with(1, "old", 3), *other;
    struct io io = sim_disk_io(disk);
    int file = open_on(disk, "a");

    sim_disk_stop_at(disk, sim_disk_operations(disk) + 2);
    assert_int_equal(write_on(disk, file, "one", 3, 0), 3);
    assert_false(sim_disk_stopped(disk));
    assert_int_equal(write_on(disk, file, "two", 3, 0), -EIO);
    assert_true(sim_disk_stopped(disk));
    assert_int_equal(write_on(disk, file, "three", 5, 0), -EIO);
    assert_int_equal(io.sync(disk, file), -EIO);
    assert_int_equal(io.remove(disk, "a"), -EIO);
    other = sim_disk_clone(disk, 1);
    sim_disk_crash(disk, SIM_DISK_KEEP);
    expect_content(disk, "a", "two", 3);
    sim_disk_crash(other, SIM_DISK_LOSE);
    expect_content(other, "a", "old", 3);
    /* And it goes on. */
    file = open_on(disk, "a");
    assert_int_equal(write_on(disk, file, "new", 3, 0), 3);
    sim_disk_free(disk);
    sim_disk_free(other);
}

/* ---- faults ---- */

TEST(a_fault_strikes_once_or_from_then_on)
{
    struct sim_disk *disk = disk_with(1, "old", 3);
    int file = open_on(disk, "a");
    uint64_t done = sim_disk_operations(disk);
    struct sim_disk_fault fault = {
        .at = done + 2, .operations = SIM_DISK_SET(SIM_DISK_WRITE), .error = ENOSPC};

    sim_disk_fault(disk, &fault);
    assert_int_equal(write_on(disk, file, "1", 1, 0), 1);
    assert_int_equal(write_on(disk, file, "2", 1, 0), -ENOSPC);
    assert_int_equal(write_on(disk, file, "3", 1, 0), 1);
    assert_int_equal(sim_disk_strikes(disk), 1);
    fault.sticky = true;
    fault.error = EDQUOT;
    sim_disk_fault(disk, &fault);
    assert_int_equal(write_on(disk, file, "4", 1, 0), -EDQUOT);
    assert_int_equal(open_on(disk, "b") >= 0, true); /* not of the set */
    assert_int_equal(write_on(disk, file, "5", 1, 0), -EDQUOT);
    assert_int_equal(sim_disk_strikes(disk), 2);
    expect_content(disk, "a", "3ld", 3);
    sim_disk_free(disk);
}

TEST(a_short_fault_halves)
{
    struct sim_disk *disk = disk_with(1, "text", 4);
    struct io io = sim_disk_io(disk);
    int file = open_on(disk, "a");
    char data[8];

    sim_disk_fault(disk, &(struct sim_disk_fault){.at = 1, .operations = SIM_DISK_ALL, .sticky = true});
    assert_int_equal(io.read_at(disk, file, data, 4, 0), 2);
    assert_int_equal(io.read_at(disk, file, data, 1, 0), 1);
    assert_int_equal(write_on(disk, file, "abcdef", 6, 0), 3);
    expect_content(disk, "a", "abct", 4);
    sim_disk_free(disk);
}

TEST(a_full_disk_takes_what_has_room_and_overwrites)
{
    struct sim_disk *disk = disk_with(1, "0123456789", 10);
    struct io io = sim_disk_io(disk);
    int file = open_on(disk, "a"), b = open_on(disk, "b");

    sim_disk_set_capacity(disk, 15);
    assert_int_equal(io.allocate(disk, b, 6), -ENOSPC);
    assert_int_equal(io.allocate(disk, b, 5), 0);
    assert_int_equal(write_on(disk, b, "abcdefgh", 8, 0), 5);
    assert_int_equal(write_on(disk, b, "fgh", 3, 5), -ENOSPC);
    assert_int_equal(write_on(disk, file, "ABCDEFGHIJ", 10, 0), 10);
    assert_int_equal(io_write(&io, file, "KL", 2, 9), -ENOSPC);
    assert_int_equal(io.remove(disk, "b"), 0);
    assert_int_equal(io_write(&io, file, "KL", 2, 9), 0);
    sim_disk_free(disk);
}

/* ---- clones, hands, words ---- */

TEST(a_clone_goes_its_own_way)
{
    struct sim_disk *disk = disk_with(1, "old", 3), *other;
    int file = open_on(disk, "a");

    assert_int_equal(write_on(disk, file, "one", 3, 0), 3);
    other = sim_disk_clone(disk, 1);
    assert_int_equal(sim_disk_operations(other), 0);
    file = open_on(other, "a");
    assert_int_equal(write_on(other, file, "two", 3, 0), 3);
    expect_content(disk, "a", "one", 3);
    expect_content(other, "a", "two", 3);
    sim_disk_crash(other, SIM_DISK_LOSE);
    expect_content(other, "a", "old", 3);
    sim_disk_crash(disk, SIM_DISK_KEEP);
    expect_content(disk, "a", "one", 3);
    sim_disk_free(disk);
    sim_disk_free(other);
}

TEST(what_is_done_by_hand_outlives_a_crash)
{
    struct sim_disk *disk = disk_with(1, "abc", 3);
    uint64_t length;

    sim_disk_flip(disk, "a", 1, 0x20);
    sim_disk_put(disk, "b", "bbb", 3);
    sim_disk_put(disk, "c", "ccc", 3);
    sim_disk_cut(disk, "b", 1);
    sim_disk_drop(disk, "c");
    sim_disk_crash(disk, SIM_DISK_LOSE);
    expect_content(disk, "a", "aBc", 3);
    expect_content(disk, "b", "b", 1);
    assert_false(has(disk, "c"));
    assert_memory_equal(sim_disk_kept(disk, "b", &length), "b", 1);
    assert_int_equal(length, 1);
    sim_disk_free(disk);
}

TEST(what_happened_can_be_read)
{
    struct sim_disk *disk = sim_disk_new(1);
    struct io io = sim_disk_io(disk);
    char text[256] = "";
    FILE *out = fmemopen(text, sizeof text, "w");

    assert_int_equal(io_put(&io, "a", "abc", 3), 0);
    assert_int_equal(sim_disk_operations(disk), 6);
    assert_int_equal(sim_disk_operation(disk, 3), SIM_DISK_WRITE);
    sim_disk_print(disk, out, 4);
    fclose(out);
    assert_string_equal(text, "3 write a.new 0 3: 3\n"
                              "4 sync a.new 0 0: 0\n"
                              "5 rename a.new 0 0: 0\n"
                              "6 sync-directory  0 0: 0\n");
    sim_disk_free(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_not_synced_is_lost_or_kept),
        cmocka_unit_test(what_was_synced_is_kept_by_every_crash),
        cmocka_unit_test(a_sync_keeps_no_more_than_its_own),
        cmocka_unit_test(sectors_are_kept_or_lost_each),
        cmocka_unit_test(a_torn_write_keeps_its_first_part),
        cmocka_unit_test(shuffled_writes_are_whole_and_later_ones_may_be_under_earlier_ones),
        cmocka_unit_test(names_reach_the_disk_in_order),
        cmocka_unit_test(a_name_may_be_kept_without_what_was_written),
        cmocka_unit_test(equal_seeds_crash_equally),
        cmocka_unit_test(what_a_failed_sync_gave_up_is_seen_and_never_kept),
        cmocka_unit_test(a_kill_loses_nothing_and_syncs_nothing),
        cmocka_unit_test(a_close_from_before_a_crash_closes_nothing_else),
        cmocka_unit_test(where_it_stops_all_fails_and_the_last_change_may_be_there),
        cmocka_unit_test(a_fault_strikes_once_or_from_then_on),
        cmocka_unit_test(a_short_fault_halves),
        cmocka_unit_test(a_full_disk_takes_what_has_room_and_overwrites),
        cmocka_unit_test(a_clone_goes_its_own_way),
        cmocka_unit_test(what_is_done_by_hand_outlives_a_crash),
        cmocka_unit_test(what_happened_can_be_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
