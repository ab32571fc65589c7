/* Whole reads and writes over the table's raw ones.
 *
 * A call that moved less than asked for is asked again for the rest, and so is one that a signal interrupted. One that
 * moves nothing without an error would be asked forever: a write that takes nothing is an error of its own. */
#include "io.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int io_read(const struct io *io, int file, void *data, size_t length, uint64_t offset, size_t *ret_length)
{
    size_t done = 0;

    while (done < length) {
        int64_t n = io->read_at(io->context, file, (uint8_t *)data + done, length - done, offset + done);
        if (n == 0)
            break;
        if (n < 0 && n != -EINTR)
            return (int)n;
        if (n > 0)
            done += (size_t)n;
    }
    *ret_length = done;
    return 0;
}

int io_write(const struct io *io, int file, const void *data, size_t length, uint64_t offset)
{
    struct iovec part = {.iov_base = (void *)data, .iov_len = length};

    return io_write_parts(io, file, &part, 1, offset);
}

/* Takes `length` bytes off the front of the parts; gives how many of them are used up. */
static int parts_advance(struct iovec *parts, int part_count, size_t length)
{
    int i = 0;

    while (i < part_count && parts[i].iov_len <= length)
        length -= parts[i++].iov_len;
    if (i < part_count) {
        parts[i].iov_base = (uint8_t *)parts[i].iov_base + length;
        parts[i].iov_len -= length;
    }
    return i;
}

int io_write_parts(const struct io *io, int file, struct iovec *parts, int part_count, uint64_t offset)
{
    int used = parts_advance(parts, part_count, 0);

    while (used < part_count) {
        int64_t n = io->write_at(io->context, file, parts + used, part_count - used, offset);
        if (n == 0)
            return -EIO;
        if (n < 0 && n != -EINTR)
            return (int)n;
        if (n > 0) {
            offset += (uint64_t)n;
            used += parts_advance(parts + used, part_count - used, (size_t)n);
        }
    }
    return 0;
}

/* ---- whole files ---- */

static int write_new(const struct io *io, const char *name, const void *data, size_t length)
{
    int file, err = io->open(io->context, name, IO_WRITE | IO_CREATE, &file);

    if (err != 0)
        return err;
    err = io->truncate(io->context, file, 0); /* one may have been left */
    if (err == 0)
        err = io_write(io, file, data, length, 0);
    if (err == 0)
        err = io->sync(io->context, file);
    io->close(io->context, file);
    return err;
}

int io_put(const struct io *io, const char *name, const void *data, size_t length)
{
    char new_name[256];
    int err;

    if ((size_t)snprintf(new_name, sizeof(new_name), "%s.new", name) >= sizeof(new_name))
        return -ENAMETOOLONG;
    err = write_new(io, new_name, data, length);
    if (err == 0)
        err = io->rename(io->context, new_name, name);
    if (err == 0)
        return io->sync_directory(io->context);
    (void)io->remove(io->context,
                     new_name); /* what is left of it is only in the way; a start removes it too */
    return err;
}

static int read_whole(const struct io *io, int file, size_t bytes_max, uint8_t **ret_data, size_t *ret_length)
{
    uint64_t bytes;
    uint8_t *data;
    int err = io->size(io->context, file, &bytes);

    if (err != 0)
        return err;
    if (bytes > bytes_max)
        return -EFBIG;
    data = malloc(bytes > 0 ? (size_t)bytes : 1);
    if (data == NULL)
        return -ENOMEM;
    err = io_read(io, file, data, (size_t)bytes, 0, ret_length);
    if (err == 0)
        *ret_data = data;
    else
        free(data);
    return err;
}

int io_get(const struct io *io, const char *name, size_t bytes_max, uint8_t **ret_data, size_t *ret_length)
{
    int file, err = io->open(io->context, name, IO_READ, &file);

    if (err != 0)
        return err;
    err = read_whole(io, file, bytes_max, ret_data, ret_length);
    io->close(io->context, file);
    return err;
}
