#include "scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/fanq_error.h"

enum { WALK_FILES = 16, REMOVE_TRIES = 50, REMOVE_PAUSE_US = 100 * 1000 };

#define ZFS_SUPER_MAGIC 0x2fc12fc1 /* not among the kernel's own */

/* ---- where ---- */

struct file_system {
    unsigned long magic;
    const char *name;
    bool in_memory;
};

static const struct file_system file_systems[] = {
    {TMPFS_MAGIC, "tmpfs", true},        {RAMFS_MAGIC, "ramfs", true},
    {EXT4_SUPER_MAGIC, "ext4", false},   {XFS_SUPER_MAGIC, "xfs", false},
    {BTRFS_SUPER_MAGIC, "btrfs", false}, {ZFS_SUPER_MAGIC, "zfs", false},
    {F2FS_SUPER_MAGIC, "f2fs", false},   {OVERLAYFS_SUPER_MAGIC, "overlayfs", false},
    {NFS_SUPER_MAGIC, "nfs", false},
};

static const struct file_system unknown = {0, "a file system unknown to it", false};

static const struct file_system *file_system_of(const struct statfs *about)
{
    for (size_t i = 0; i < sizeof file_systems / sizeof file_systems[0]; i++)
        if (file_systems[i].magic == (unsigned long)about->f_type)
            return &file_systems[i];
    return &unknown;
}

/* Whether a directory there would lie on a disk with room. Why not goes to why. */
static bool is_suitable(const char *place, uint64_t bytes_free_min, const char **ret_file_system,
                        char why[128])
{
    struct statfs about;

    if (statfs(place, &about) != 0) {
        (void)snprintf(why, 128, "%s", strerror(errno));
        return false;
    }
    *ret_file_system = file_system_of(&about)->name;
    if (file_system_of(&about)->in_memory) {
        (void)snprintf(why, 128, "it is in memory (%s)", *ret_file_system);
        return false;
    }
    if ((uint64_t)about.f_bavail * (uint64_t)about.f_bsize < bytes_free_min) {
        (void)snprintf(why, 128, "less than %llu MiB are free",
                       (unsigned long long)(bytes_free_min / (1024 * 1024)));
        return false;
    }
    if (access(place, W_OK) != 0) {
        (void)snprintf(why, 128, "%s", strerror(errno));
        return false;
    }
    return true;
}

/* The directory of this program, in a static buffer; NULL: unknown. */
static const char *own_directory(void)
{
    static char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);

    if (length < 0)
        return NULL;
    self[length] = '\0';
    return dirname(self);
}

static const char *choose_place(struct scratch *scratch, uint64_t bytes_free_min, struct bench_error *error)
{
    const char *const places[] = {getenv("TMPDIR"), own_directory(), "/var/tmp"};
    char why[128] = "";

    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        if (places[i] == NULL)
            continue;
        if (is_suitable(places[i], bytes_free_min, &scratch->file_system, why))
            return places[i];
        fprintf(stderr, "fanq-bench: not measuring in %s: %s\n", places[i], why);
    }
    (void)bench_fail(error, FANQ_ERR_IO, "there is no disk to measure: set TMPDIR to a directory on one");
    return NULL;
}

/* ---- the directory ---- */

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *where)
{
    (void)remove(path); /* what is left makes the removal of its directory fail, and that is tried again */
    return 0;
}

/* Brokers that end at the same moment may still make files. */
static void remove_all(const char *path)
{
    for (int i = 0; i < REMOVE_TRIES && access(path, F_OK) == 0; i++) {
        if (i > 0)
            usleep(REMOVE_PAUSE_US);
        (void)nftw(path, remove_one, WALK_FILES, FTW_DEPTH | FTW_PHYS); /* whether it is gone tells */
    }
}

/* The keeper: waits until nobody has the other end of the pipe. */
static void keeper_run(const char *path, int pipe_fd)
{
    char byte;

    for (int number = 1; number < NSIG; number++)
        (void)signal(number, SIG_IGN);        /* fails for SIGKILL and the like */
    (void)prctl(PR_SET_NAME, "bench-keeper"); /* for ps: no harm without */
    while (read(pipe_fd, &byte, 1) < 0 && errno == EINTR)
        continue;
    remove_all(path);
    _exit(0);
}

static int start_keeper(struct scratch *scratch, struct bench_error *error)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return bench_fail(error, FANQ_ERR_IO, "pipe: %s", strerror(errno));
    scratch->keeper = fork();
    if (scratch->keeper == 0) {
        close(ends[1]);
        keeper_run(scratch->path, ends[0]);
    }
    close(ends[0]);
    scratch->keeper_fd = ends[1];
    if (scratch->keeper > 0)
        return 0;
    close(ends[1]);
    scratch->keeper = 0;
    return bench_fail(error, FANQ_ERR_NOMEM, "fork: %s", strerror(errno));
}

int scratch_open(struct scratch *scratch, uint64_t bytes_free_min, struct bench_error *error)
{
    const char *place;
    int err;

    *scratch = (struct scratch){.keeper_fd = -1};
    place = choose_place(scratch, bytes_free_min, error);
    if (place == NULL)
        return FANQ_ERR_IO;
    if (snprintf(scratch->path, sizeof scratch->path, "%s/fanq-bench-XXXXXX", place) >=
        (int)sizeof scratch->path)
        return bench_fail(error, FANQ_ERR_INVALID, "the path of %s is too long", place);
    if (mkdtemp(scratch->path) == NULL)
        return bench_fail(error, FANQ_ERR_IO, "cannot make a directory in %s: %s", place, strerror(errno));
    err = start_keeper(scratch, error);
    if (err != 0)
        (void)rmdir(scratch->path); /* it is empty */
    return err;
}

void scratch_close(struct scratch *scratch)
{
    if (scratch->keeper == 0)
        return;
    close(scratch->keeper_fd);
    (void)waitpid(scratch->keeper, NULL, 0); /* of a child of ours */
    scratch->keeper = 0;
}

void scratch_path(const struct scratch *scratch, const char *name, char ret_path[PATH_MAX])
{
    (void)snprintf(ret_path, PATH_MAX, "%s/%s", scratch->path, name);
}
