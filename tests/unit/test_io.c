/* One contract, two disks: every test runs over the system's files and over the simulated disk. */
#include "log/io.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/sim_disk.h"
#include "tests/lib/unit.h"

struct fixture {
    bool simulated;
    struct io io;
    struct sim_disk *disk; /* simulated */
    char path[64];         /* posix */
};

static int setup_simulated(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    f->simulated = true;
    f->disk = sim_disk_new(1);
    f->io = sim_disk_io(f->disk);
    *state = f;
    return 0;
}

static int setup_posix(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    strcpy(f->path, "/tmp/fanq-test-io-XXXXXX");
    assert_non_null(mkdtemp(f->path));
    assert_int_equal(io_posix_new(f->path, &f->io), 0);
    *state = f;
    return 0;
}

static int remove_one(void *context, const char *name)
{
    struct fixture *f = context;

    return f->io.remove(f->io.context, name);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    if (!f->simulated) {
        assert_int_equal(f->io.list(f->io.context, remove_one, f), 0);
        assert_int_equal(rmdir(f->path), 0);
        io_posix_free(&f->io);
    }
    sim_disk_free(f->disk);
    free(f);
    return 0;
}

static int open_file(struct fixture *f, const char *name, unsigned how)
{
    int file = -1;

    assert_int_equal(f->io.open(f->io.context, name, how, &file), 0);
    return file;
}

static uint64_t size_of_file(struct fixture *f, int file)
{
    uint64_t bytes = 0;

    assert_int_equal(f->io.size(f->io.context, file, &bytes), 0);
    return bytes;
}

static void expect_bytes(struct fixture *f, int file, uint64_t offset, const void *bytes, size_t length)
{
    uint8_t data[64];
    size_t got = 0;

    assert_true(length <= sizeof data);
    assert_int_equal(io_read(&f->io, file, data, length, offset, &got), 0);
    assert_int_equal(got, length);
    assert_memory_equal(data, bytes, length);
}

/* ---- files ---- */

TEST(a_file_is_made_when_that_is_asked_for)
{
    struct fixture *f = *state;
    int file = -1;

    assert_int_equal(f->io.open(f->io.context, "a", IO_READ, &file), -ENOENT);
    assert_int_equal(f->io.open(f->io.context, "a", IO_READ | IO_WRITE, &file), -ENOENT);
    assert_int_equal(file, -1);
    file = open_file(f, "a", IO_WRITE | IO_CREATE);
    assert_int_equal(size_of_file(f, file), 0);
    f->io.close(f->io.context, file);
    f->io.close(f->io.context, open_file(f, "a", IO_READ));
}

TEST(what_was_written_is_read)
{
    struct fixture *f = *state;
    int file = open_file(f, "a", IO_READ | IO_WRITE | IO_CREATE);
    uint8_t data[16];
    size_t length = 99;

    assert_int_equal(io_write(&f->io, file, "hello world", 11, 0), 0);
    assert_int_equal(io_write(&f->io, file, "W", 1, 6), 0);
    expect_bytes(f, file, 0, "hello World", 11);
    assert_int_equal(io_read(&f->io, file, data, sizeof data, 6, &length), 0);
    assert_int_equal(length, 5);
    assert_int_equal(io_read(&f->io, file, data, sizeof data, 11, &length), 0);
    assert_int_equal(length, 0);
    assert_int_equal(io_read(&f->io, file, data, sizeof data, 1000, &length), 0);
    assert_int_equal(length, 0);
    assert_int_equal(f->io.sync(f->io.context, file), 0);
    assert_int_equal(f->io.sync_directory(f->io.context), 0);
    f->io.close(f->io.context, file);
}

TEST(what_lies_between_is_zeros)
{
    struct fixture *f = *state;
    int file = open_file(f, "a", IO_READ | IO_WRITE | IO_CREATE);

    assert_int_equal(io_write(&f->io, file, "x", 1, 4), 0);
    expect_bytes(f, file, 0, "\0\0\0\0x", 5);
    assert_int_equal(f->io.truncate(f->io.context, file, 2), 0);
    assert_int_equal(f->io.truncate(f->io.context, file, 6), 0);
    assert_int_equal(size_of_file(f, file), 6);
    expect_bytes(f, file, 0, "\0\0\0\0\0\0", 6);
    f->io.close(f->io.context, file);
}

TEST(many_parts_are_written_in_order)
{
    enum { PARTS = IOV_MAX * 2 + 7 };
    struct fixture *f = *state;
    int file = open_file(f, "a", IO_READ | IO_WRITE | IO_CREATE);
    static uint8_t bytes[2 * PARTS], got[2 * PARTS];
    static struct iovec parts[PARTS];
    size_t at = 0, length;

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 256);
    for (int i = 0; i < PARTS; i++) { /* some are empty, the first and the last too */
        parts[i] = (struct iovec){.iov_base = bytes + at, .iov_len = (size_t)(i % 3)};
        at += (size_t)(i % 3);
    }
    assert_int_equal(io_write_parts(&f->io, file, parts, PARTS, 5), 0);
    assert_int_equal(io_read(&f->io, file, got, at, 5, &length), 0);
    assert_int_equal(length, at);
    assert_memory_equal(got, bytes, at);
    assert_int_equal(size_of_file(f, file), 5 + at);
    f->io.close(f->io.context, file);
}

TEST(a_file_is_used_as_it_was_opened)
{
    struct fixture *f = *state;
    int writer = open_file(f, "a", IO_WRITE | IO_CREATE), reader = open_file(f, "a", IO_READ);
    uint8_t byte;
    size_t length;

    assert_int_equal(io_write(&f->io, reader, "x", 1, 0), -EBADF);
    assert_int_equal(io_read(&f->io, writer, &byte, 1, 0, &length), -EBADF);
    f->io.close(f->io.context, writer);
    f->io.close(f->io.context, reader);
}

/* ---- names ---- */

struct names {
    char text[256];
    int count;
};

static int take_name(void *context, const char *name)
{
    struct names *names = context;

    names->count++;
    strcat(strcat(names->text, name), " ");
    return 0;
}

static int stop_at_once(void *context, const char *name)
{
    ++*(int *)context;
    return -77;
}

TEST(names_are_listed_until_one_is_enough)
{
    struct fixture *f = *state;
    struct names names = {0};
    int calls = 0;

    assert_int_equal(f->io.list(f->io.context, take_name, &names), 0);
    assert_int_equal(names.count, 0);
    assert_int_equal(io_put(&f->io, "one", "1", 1), 0);
    assert_int_equal(io_put(&f->io, "two", "2", 1), 0);
    assert_int_equal(f->io.list(f->io.context, take_name, &names), 0);
    assert_int_equal(names.count, 2);
    assert_non_null(strstr(names.text, "one "));
    assert_non_null(strstr(names.text, "two "));
    assert_int_equal(f->io.list(f->io.context, stop_at_once, &calls), -77);
    assert_int_equal(calls, 1);
}

TEST(a_rename_replaces_and_a_remove_removes)
{
    struct fixture *f = *state;
    int old, file;

    assert_int_equal(f->io.rename(f->io.context, "a", "b"), -ENOENT);
    assert_int_equal(f->io.remove(f->io.context, "a"), -ENOENT);
    assert_int_equal(io_put(&f->io, "a", "new", 3), 0);
    assert_int_equal(io_put(&f->io, "b", "old", 3), 0);
    old = open_file(f, "b", IO_READ);
    assert_int_equal(f->io.rename(f->io.context, "a", "b"), 0);
    assert_int_equal(f->io.open(f->io.context, "a", IO_READ, &file), -ENOENT);
    file = open_file(f, "b", IO_READ);
    expect_bytes(f, file, 0, "new", 3);
    assert_int_equal(f->io.remove(f->io.context, "b"), 0);
    assert_int_equal(f->io.sync_directory(f->io.context), 0);
    /* Who has it open has it. */
    expect_bytes(f, file, 0, "new", 3);
    expect_bytes(f, old, 0, "old", 3);
    f->io.close(f->io.context, old);
    f->io.close(f->io.context, file);
}

TEST(only_one_has_the_lock)
{
    struct fixture *f = *state;
    struct io other;

    if (f->simulated)
        other = sim_disk_io(f->disk);
    else
        assert_int_equal(io_posix_new(f->path, &other), 0);
    assert_int_equal(f->io.lock(f->io.context, "lock"), 0);
    assert_int_equal(other.lock(other.context, "lock"), -EWOULDBLOCK);
    if (f->simulated) {
        sim_disk_kill(f->disk);
        assert_int_equal(other.lock(other.context, "lock"), 0);
    } else {
        io_posix_free(&f->io);
        assert_int_equal(other.lock(other.context, "lock"), 0);
        f->io = other;
    }
}

TEST(what_is_allocated_is_there_and_zero)
{
    struct fixture *f = *state;
    uint8_t data[16];
    uint64_t bytes = 0;
    size_t length;
    int file = open_file(f, "a", IO_READ | IO_WRITE | IO_CREATE);

    assert_int_equal(io_write(&f->io, file, "abc", 3, 0), 0);
    assert_int_equal(f->io.allocate(f->io.context, file, 10), 0);
    assert_int_equal(f->io.size(f->io.context, file, &bytes), 0);
    assert_int_equal(bytes, 10);
    assert_int_equal(io_read(&f->io, file, data, sizeof data, 0, &length), 0);
    assert_int_equal(length, 10);
    assert_memory_equal(data, "abc\0\0\0\0\0\0\0", 10);
    assert_int_equal(f->io.allocate(f->io.context, file, 5), 0); /* shorter it never becomes */
    assert_int_equal(f->io.size(f->io.context, file, &bytes), 0);
    assert_int_equal(bytes, 10);
    f->io.close(f->io.context, file);
}

/* ---- whole files ---- */

TEST(a_whole_file_is_put_and_got)
{
    struct fixture *f = *state;
    uint8_t *data = NULL;
    size_t length = 0;

    assert_int_equal(io_get(&f->io, "a", 100, &data, &length), -ENOENT);
    assert_int_equal(io_put(&f->io, "a", "a long text", 11), 0);
    assert_int_equal(io_put(&f->io, "a", "short", 5), 0);
    assert_int_equal(io_get(&f->io, "a", 4, &data, &length), -EFBIG);
    assert_null(data);
    assert_int_equal(io_get(&f->io, "a", 5, &data, &length), 0);
    assert_int_equal(length, 5);
    assert_memory_equal(data, "short", 5);
    free(data);
    assert_int_equal(io_put(&f->io, "a", NULL, 0), 0);
    assert_int_equal(io_get(&f->io, "a", 5, &data, &length), 0);
    assert_int_equal(length, 0);
    free(data);
}

TEST(what_an_earlier_put_left_is_no_hindrance)
{
    struct fixture *f = *state;
    int file = open_file(f, "a.new", IO_WRITE | IO_CREATE);
    uint8_t *data;
    size_t length;

    assert_int_equal(io_write(&f->io, file, "longer than what comes", 22, 0), 0);
    f->io.close(f->io.context, file);
    assert_int_equal(io_put(&f->io, "a", "text", 4), 0);
    assert_int_equal(io_get(&f->io, "a", 100, &data, &length), 0);
    assert_int_equal(length, 4);
    free(data);
    assert_int_equal(f->io.open(f->io.context, "a.new", IO_READ, &file), -ENOENT);
}

TEST(a_name_that_is_too_long_is_refused)
{
    struct fixture *f = *state;
    char name[300];
    int file;

    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_int_equal(io_put(&f->io, name, "", 0), -ENAMETOOLONG);
    assert_int_equal(f->io.open(f->io.context, name, IO_WRITE | IO_CREATE, &file), -ENAMETOOLONG);
}

/* ---- only posix ---- */

static mode_t mode_of(const char *path)
{
    struct stat status;

    assert_int_equal(stat(path, &status), 0);
    return status.st_mode & 07777;
}

TEST(a_missing_directory_is_made_for_its_owner_alone)
{
    struct fixture *f = *state;
    struct io io;
    char path[128];

    snprintf(path, sizeof path, "%s/one/../one//two/", f->path);
    assert_int_equal(io_posix_new(path, &io), 0);
    assert_int_equal(io_put(&io, "file", "x", 1), 0);
    assert_int_equal(mode_of(path), 0700);
    snprintf(path, sizeof path, "%s/one/two/file", f->path);
    assert_int_equal(mode_of(path), 0600);
    assert_int_equal(io.remove(io.context, "file"), 0);
    io_posix_free(&io);
    snprintf(path, sizeof path, "%s/one/two", f->path);
    assert_int_equal(rmdir(path), 0);
    snprintf(path, sizeof path, "%s/one", f->path);
    assert_int_equal(mode_of(path), 0700);
    assert_int_equal(rmdir(path), 0);
}

TEST(what_is_no_directory_is_not_taken_for_one)
{
    struct fixture *f = *state;
    struct io io;
    char path[400];

    assert_int_equal(io_put(&f->io, "file", "x", 1), 0);
    snprintf(path, sizeof path, "%s/file", f->path);
    assert_int_equal(io_posix_new(path, &io), -ENOTDIR);
    snprintf(path, sizeof path, "%s/file/below", f->path);
    assert_int_equal(io_posix_new(path, &io), -ENOTDIR);
    snprintf(path, sizeof path, "%s/%0300d/below", f->path, 0);
    assert_int_equal(io_posix_new(path, &io), -ENAMETOOLONG);
}

/* A program that changes its own directory finds its files all the same. */
/* Opening one to read would wait until somebody opens it to write. */
TEST(a_pipe_is_not_waited_for)
{
    struct fixture *f = *state;
    char path[80];
    uint8_t byte;
    size_t length;
    int file;

    snprintf(path, sizeof path, "%s/identity", f->path);
    assert_int_equal(mkfifo(path, 0600), 0);
    file = open_file(f, "identity", IO_READ);
    assert_int_equal(io_read(&f->io, file, &byte, 1, 0, &length), -ESPIPE);
    f->io.close(f->io.context, file);
    assert_int_equal(f->io.open(f->io.context, "identity", IO_WRITE, &file), -ENXIO);
}

TEST(a_relative_path_is_looked_at_once)
{
    struct fixture *f = *state;
    char before[PATH_MAX];
    struct io io;

    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(f->path), 0);
    assert_int_equal(io_posix_new("below", &io), 0);
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(io_put(&io, "file", "x", 1), 0);
    assert_int_equal(io.remove(io.context, "file"), 0);
    io_posix_free(&io);
    assert_int_equal(chdir(f->path), 0);
    assert_int_equal(rmdir("below"), 0);
    assert_int_equal(chdir(before), 0);
}

/* ---- only simulated: raw calls that do half, or nothing ---- */

static void write_and_read_under(struct fixture *f, const struct sim_disk_fault *fault)
{
    int file = open_file(f, "a", IO_READ | IO_WRITE | IO_CREATE);
    struct iovec parts[] = {{"hel", 3}, {"", 0}, {"lo", 2}};

    sim_disk_fault(f->disk, fault);
    assert_int_equal(io_write_parts(&f->io, file, parts, 3, 1), 0);
    expect_bytes(f, file, 1, "hello", 5);
    assert_true(sim_disk_strikes(f->disk) > 1);
    f->io.close(f->io.context, file);
}

TEST(short_transfers_are_gone_on_with)
{
    write_and_read_under(*state,
                         &(struct sim_disk_fault){.at = 1, .operations = SIM_DISK_ALL, .sticky = true});
}

TEST(interrupted_transfers_are_tried_again)
{
    write_and_read_under(*state, &(struct sim_disk_fault){.at = 1,
                                                          .operations = SIM_DISK_SET(SIM_DISK_READ) |
                                                                        SIM_DISK_SET(SIM_DISK_WRITE),
                                                          .sticky = true,
                                                          .error = EINTR});
}

static int64_t write_nothing(void *context, int file, const struct iovec *parts, int part_count,
                             uint64_t offset)
{
    return 0;
}

TEST(a_disk_that_takes_nothing_is_not_asked_for_ever)
{
    struct io io = {.write_at = write_nothing};

    assert_int_equal(io_write(&io, 1, "x", 1, 0), -EIO);
}

/* Whatever fails: the old file or the new one is there, whole, and the error is told. */
TEST(a_put_that_fails_leaves_a_whole_file)
{
    struct fixture *f = *state;
    uint64_t count;

    assert_int_equal(io_put(&f->io, "a", "old", 3), 0);
    count = sim_disk_operations(f->disk);
    for (uint64_t at = 1; at <= count; at++) {
        struct sim_disk *disk = sim_disk_clone(f->disk, at);
        struct io io = sim_disk_io(disk);
        uint64_t length;
        sim_disk_fault(disk, &(struct sim_disk_fault){.at = at, .operations = SIM_DISK_ALL, .error = EIO});
        assert_int_equal(io_put(&io, "a", "newer", 5), -EIO);
        sim_disk_crash(disk, (enum sim_disk_crash)(at % SIM_DISK_CRASHES));
        const uint8_t *content = sim_disk_content(disk, "a", &length);
        assert_non_null(content);
        assert_true((length == 3 && memcmp(content, "old", 3) == 0) ||
                    (length == 5 && memcmp(content, "newer", 5) == 0));
        assert_int_equal(sim_disk_open_files(disk), 0);
        sim_disk_free(disk);
    }
}

TEST(a_put_during_which_the_power_goes_leaves_a_whole_file)
{
    struct fixture *f = *state;
    uint64_t count;

    assert_int_equal(io_put(&f->io, "a", "old", 3), 0);
    count = sim_disk_operations(f->disk);
    for (uint64_t i = 0; i < 100 * count; i++) {
        struct sim_disk *disk = sim_disk_clone(f->disk, i);
        struct io io = sim_disk_io(disk);
        uint64_t length, at = i % count + 1;
        sim_disk_stop_at(disk, at);
        assert_int_equal(io_put(&io, "a", "newer", 5), -EIO);
        assert_true(sim_disk_stopped(disk));
        sim_disk_crash(disk, (enum sim_disk_crash)(i / count % SIM_DISK_CRASHES));
        const uint8_t *content = sim_disk_content(disk, "a", &length);
        assert_non_null(content);
        assert_true((length == 3 && memcmp(content, "old", 3) == 0) ||
                    (length == 5 && memcmp(content, "newer", 5) == 0));
        sim_disk_free(disk);
    }
}

TEST(a_put_that_is_done_survives_every_crash)
{
    for (int i = 0; i < 20 * SIM_DISK_CRASHES; i++) {
        struct sim_disk *disk = sim_disk_new((uint64_t)i);
        struct io io = sim_disk_io(disk);
        uint64_t length;
        assert_int_equal(io_put(&io, "a", "old", 3), 0);
        assert_int_equal(io_put(&io, "a", "newer", 5), 0);
        sim_disk_crash(disk, (enum sim_disk_crash)(i % SIM_DISK_CRASHES));
        assert_memory_equal(sim_disk_content(disk, "a", &length), "newer", 5);
        assert_int_equal(length, 5);
        sim_disk_free(disk);
    }
}

#define ON_BOTH(test)                                                                                        \
    {#test " (posix)", test, setup_posix, teardown, NULL},                                                   \
    {                                                                                                        \
#test " (simulated)", test, setup_simulated, teardown, NULL                                          \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_file_is_made_when_that_is_asked_for),
        ON_BOTH(what_was_written_is_read),
        ON_BOTH(what_lies_between_is_zeros),
        ON_BOTH(many_parts_are_written_in_order),
        ON_BOTH(a_file_is_used_as_it_was_opened),
        ON_BOTH(names_are_listed_until_one_is_enough),
        ON_BOTH(a_rename_replaces_and_a_remove_removes),
        ON_BOTH(only_one_has_the_lock),
        ON_BOTH(what_is_allocated_is_there_and_zero),
        ON_BOTH(a_whole_file_is_put_and_got),
        ON_BOTH(what_an_earlier_put_left_is_no_hindrance),
        ON_BOTH(a_name_that_is_too_long_is_refused),
        cmocka_unit_test_setup_teardown(a_missing_directory_is_made_for_its_owner_alone, setup_posix,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_is_no_directory_is_not_taken_for_one, setup_posix, teardown),
        cmocka_unit_test_setup_teardown(a_pipe_is_not_waited_for, setup_posix, teardown),
        cmocka_unit_test_setup_teardown(a_relative_path_is_looked_at_once, setup_posix, teardown),
        cmocka_unit_test_setup_teardown(short_transfers_are_gone_on_with, setup_simulated, teardown),
        cmocka_unit_test_setup_teardown(interrupted_transfers_are_tried_again, setup_simulated, teardown),
        cmocka_unit_test(a_disk_that_takes_nothing_is_not_asked_for_ever),
        cmocka_unit_test_setup_teardown(a_put_that_fails_leaves_a_whole_file, setup_simulated, teardown),
        cmocka_unit_test_setup_teardown(a_put_during_which_the_power_goes_leaves_a_whole_file,
                                        setup_simulated, teardown),
        cmocka_unit_test(a_put_that_is_done_survives_every_crash),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
