#include "scratch.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/unit.h"

enum { PATIENCE_MS = 5000 };

static struct bench_error error;

static void make_file(const struct scratch *scratch, const char *name)
{
    char path[PATH_MAX];
    int fd;

    scratch_path(scratch, name, path);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "x", 1), 1);
    close(fd);
}

static void make_files(const struct scratch *scratch)
{
    char path[PATH_MAX];

    make_file(scratch, "file");
    scratch_path(scratch, "directory", path);
    assert_int_equal(mkdir(path, 0700), 0);
    make_file(scratch, "directory/file");
}

TEST(all_is_gone_when_it_is_closed)
{
    struct scratch scratch;

    assert_int_equal(scratch_open(&scratch, 0, &error), 0);
    make_files(&scratch);
    scratch_close(&scratch);
    assert_int_not_equal(access(scratch.path, F_OK), 0);
    scratch_close(&scratch);
}

/* The killed program's part. */
static void make_and_die(int pipe_fd)
{
    struct scratch scratch;

    if (scratch_open(&scratch, 0, &error) != 0)
        _exit(1);
    make_files(&scratch);
    if (write(pipe_fd, &scratch, sizeof scratch) != (ssize_t)sizeof scratch)
        _exit(1);
    (void)raise(SIGKILL);
}

TEST(all_is_gone_when_the_program_is_killed)
{
    struct scratch scratch;
    int ends[2], status;
    pid_t child;

    assert_int_equal(pipe(ends), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0)
        make_and_die(ends[1]);
    assert_int_equal(read(ends[0], &scratch, sizeof scratch), sizeof scratch);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    for (int i = 0; i < PATIENCE_MS && access(scratch.path, F_OK) == 0; i++)
        usleep(1000);
    assert_int_not_equal(access(scratch.path, F_OK), 0);
    close(ends[0]);
    close(ends[1]);
}

TEST(a_file_system_in_memory_is_no_disk)
{
    const char *before = getenv("TMPDIR");
    struct scratch scratch;
    struct statfs about;

    if (statfs("/dev/shm", &about) != 0 || about.f_type != TMPFS_MAGIC)
        skip();
    assert_int_equal(setenv("TMPDIR", "/dev/shm", 1), 0);
    assert_int_equal(scratch_open(&scratch, 0, &error), 0);
    assert_true(strncmp(scratch.path, "/dev/shm", 8) != 0);
    assert_string_not_equal(scratch.file_system, "tmpfs");
    scratch_close(&scratch);
    if (before != NULL)
        assert_int_equal(setenv("TMPDIR", before, 1), 0);
    else
        assert_int_equal(unsetenv("TMPDIR"), 0);
}

TEST(a_disk_without_room_is_refused)
{
    struct bench_error refusal = {0};
    struct scratch scratch;

    assert_int_not_equal(scratch_open(&scratch, UINT64_MAX, &refusal), 0);
    assert_true(bench_error_get(&refusal) != 0);
    scratch_close(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_is_gone_when_it_is_closed),
        cmocka_unit_test(all_is_gone_when_the_program_is_killed),
        cmocka_unit_test(a_file_system_in_memory_is_no_disk),
        cmocka_unit_test(a_disk_without_room_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
