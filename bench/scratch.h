/* A directory on a real disk for a measurement, gone afterwards.
 *
 * A file system in memory has no disk to measure, so one is never chosen. Who removes the directory is a child that
 * waits for the end of this program, so that it goes even when the program is interrupted or killed. */
#pragma once

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

#include "error.h"

struct scratch {
    char path[PATH_MAX / 2];
    const char *file_system; /* its name, as far as known */
    pid_t keeper;            /* 0: there is no directory */
    int keeper_fd;           /* it removes the directory when this is closed */
};

/* Makes a directory below the first of these that is on a disk with so many bytes free: $TMPDIR, the place of this
 * program, /var/tmp. Says on stderr when it is not $TMPDIR, though there is one. Start it while the program has no
 * other threads. */
int scratch_open(struct scratch *scratch, uint64_t bytes_free_min, struct bench_error *error);

/* Removes the directory with all that is in it. Processes that were started since must have ended: they hold the
 * other end too. Accepts one that was not opened, all zero. */
void scratch_close(struct scratch *scratch);

/* The path of something in it, in a buffer of PATH_MAX bytes. */
void scratch_path(const struct scratch *scratch, const char *name, char ret_path[PATH_MAX]);
