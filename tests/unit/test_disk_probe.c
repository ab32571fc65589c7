#include "disk_probe.h"

#include <sys/stat.h>

#include "link.h"
#include "scratch.h"
#include "tests/lib/unit.h"

static struct bench_error error;
static struct scratch scratch;

static void open_probe(struct disk_probe *probe, const char *name)
{
    char path[PATH_MAX];

    scratch_path(&scratch, name, path);
    assert_int_equal(disk_probe_open(probe, path, &error), 0);
}

/* Nothing that comes later makes the file longer, and all of it has blocks. */
TEST(the_file_is_whole_before_anything_is_measured)
{
    struct disk_probe probe;
    struct stat about;

    open_probe(&probe, "whole");
    assert_int_equal(fstat(probe.fd, &about), 0);
    assert_int_equal(about.st_size, DISK_PROBE_FILE_BYTES);
    assert_true(about.st_blocks * 512 >= DISK_PROBE_FILE_BYTES);
    for (int i = 0; i < 20; i++)
        assert_int_equal(disk_probe_write(&probe, DISK_PROBE_WRITE_BYTES_MAX - 64), 0);
    assert_int_equal(fstat(probe.fd, &about), 0);
    assert_int_equal(about.st_size, DISK_PROBE_FILE_BYTES);
    disk_probe_close(&probe);
}

TEST(writes_follow_each_other)
{
    struct disk_probe probe;

    open_probe(&probe, "row");
    for (uint64_t i = 0; i < 10; i++) {
        assert_int_equal(probe.offset, i * 320);
        assert_int_equal(disk_probe_write(&probe, 320), 0);
    }
    disk_probe_close(&probe);
}

TEST(a_run_takes_its_time_and_counts_its_bytes)
{
    uint64_t start_ns = clock_ns(), ns;
    struct disk_probe probe;
    double bytes_per_s = 0;

    open_probe(&probe, "run");
    start_ns = clock_ns();
    assert_int_equal(disk_probe_run(&probe, 64, 50, &error, &bytes_per_s), 0);
    ns = clock_ns() - start_ns;
    assert_true(ns >= 50000000);
    /* It began at the start of the file and has not come round: 50 ms are less than a million syncs. */
    assert_true(bytes_per_s <= (double)probe.offset * 1e9 / 50000000);
    assert_true(bytes_per_s >= (double)probe.offset * 1e9 / (double)ns);
    disk_probe_close(&probe);
}

static int open_scratch(void **state)
{
    return scratch_open(&scratch, 0, &error);
}

static int close_scratch(void **state)
{
    scratch_close(&scratch);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_file_is_whole_before_anything_is_measured),
        cmocka_unit_test(writes_follow_each_other),
        cmocka_unit_test(a_run_takes_its_time_and_counts_its_bytes),
    };

    return cmocka_run_group_tests(tests, open_scratch, close_scratch);
}
