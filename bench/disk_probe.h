/* What the disk can do at best: writes and syncs one after the other, in a file whose blocks were written before, and
 * nothing else.
 *
 * A broker that answers when a commit is on the disk cannot be faster than that loop with writes of the size of its
 * commits, in the same directory, in the same second. */
#pragma once

#include <stdint.h>

#include "error.h"

enum {
    DISK_PROBE_FILE_BYTES = 64 * 1024 * 1024,
    DISK_PROBE_WRITE_BYTES_MAX = 8 * 1024 * 1024 /* the broker writes no more at once either */
};

struct disk_probe {
    int fd;
    uint8_t *data;   /* what is written, of random bytes */
    uint64_t offset; /* where the next write goes; round and round */
};

/* Makes the file, full of zeros that are on the disk, which takes some tenths of a second. */
int disk_probe_open(struct disk_probe *probe, const char *path, struct bench_error *error);
void disk_probe_close(struct disk_probe *probe); /* accepts one whose opening failed */

/* One write of so many bytes, behind the one before, and fdatasync. 0 or FANQ_ERR_IO. */
int disk_probe_write(struct disk_probe *probe, uint32_t bytes);

/* Writes for that long, and tells how many bytes a second it was. */
int disk_probe_run(struct disk_probe *probe, uint32_t write_bytes, uint32_t ms, struct bench_error *error,
                   double *ret_bytes_per_s);
