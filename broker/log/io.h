/* What the log asks of a disk: one small table, with two implementations. posix (io_posix.c), and a simulated disk for tests
 * that loses, tears, reorders, flips and refuses (tests/lib/sim_disk.h).
 *
 * Names:  all files lie in one directory, and are named without a path.
 * Errors: 0 or a negative errno, in this file only. Calls are raw, as the system's: reads and writes may be short, and may
 *         fail with -EINTR. The functions below the table deal with that; nobody calls read_at and write_at but they.
 * Thread: the table is read-only. Calls for different files may be made on different threads at once. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum io_open {
    IO_READ = 1,
    IO_WRITE = 2,
    IO_CREATE = 4 /* if it is not there */
};

struct io {
    void *context;
    int (*open)(void *context, const char *name, unsigned how, int *ret_file);
    void (*close)(void *context, int file);
    /* Gives how many bytes were read; 0 at the end of the file. */
    int64_t (*read_at)(void *context, int file, void *data, size_t length, uint64_t offset);
    int64_t (*write_at)(void *context, int file, const struct iovec *parts, int part_count, uint64_t offset);
    int (*sync)(void *context, int file); /* fdatasync */
    int (*size)(void *context, int file, uint64_t *ret_bytes);
    int (*truncate)(void *context, int file, uint64_t bytes);
    /* Makes the file at least so long, of zeros, and takes the room on the disk for it: -ENOSPC when there is not that much. On
     * a file system that cannot do that it does nothing. */
    int (*allocate)(void *context, int file, uint64_t bytes);
    int (*rename)(void *context, const char *from, const char *to); /* replaces */
    int (*remove)(void *context, const char *name);
    int (*sync_directory)(void *context);
    /* Calls each with every name, in no order, until it gives non-zero, which is then given. */
    int (*list)(void *context, int (*each)(void *context, const char *name), void *each_context);
    /* Takes the directory for this process until it ends: -EWOULDBLOCK when another has it. */
    int (*lock)(void *context, const char *name);
};

/* ---- whole reads and writes, over short ones and -EINTR ---- */

/* *ret_length: less than asked for only at the end of the file. */
int io_read(const struct io *io, int file, void *data, size_t length, uint64_t offset, size_t *ret_length);
int io_write(const struct io *io, int file, const void *data, size_t length, uint64_t offset);
/* The same for many parts; parts is used up. */
int io_write_parts(const struct io *io, int file, struct iovec *parts, int part_count, uint64_t offset);

/* Puts a file in place as a whole: writes NAME.new, syncs it, renames it, syncs the directory. After a crash there is
 * either what was before or all of it. */
int io_put(const struct io *io, const char *name, const void *data, size_t length);
/* Reads a whole file of at most bytes_max bytes into memory of its own: the caller frees. -EFBIG beyond it. */
int io_get(const struct io *io, const char *name, size_t bytes_max, uint8_t **ret_data, size_t *ret_length);

/* ---- posix ---- */

/* Opens the directory, making it (and its parents, mode 0700) if need be. 0 or a negative errno. */
int io_posix_new(const char *path, struct io *ret_io);
void io_posix_free(struct io *io);
