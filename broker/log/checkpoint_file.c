#include "checkpoint_file.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROOM_BYTES = 16 * 1024 };

/* What the checkpoint that had the name of this one leaves. */
static void spare_name(char ret_name[DIRECTORY_NAME_BYTES_MAX], uint64_t number)
{
    int length = snprintf(ret_name, DIRECTORY_NAME_BYTES_MAX, "%s.spare", checkpoint_name(number));

    assert(length < DIRECTORY_NAME_BYTES_MAX);
    (void)length;
}

/* What the one before it left. */
static int open_spare(const struct directory *d, uint64_t number, int *ret_file, uint64_t *ret_bytes)
{
    char name[DIRECTORY_NAME_BYTES_MAX];
    int file, err;

    spare_name(name, number - 1);
    err = d->io.open(d->io.context, name, IO_WRITE | IO_CREATE, &file);
    if (err != 0)
        return err;
    err = d->io.size(d->io.context, file, ret_bytes);
    if (err == 0)
        *ret_file = file;
    else
        d->io.close(d->io.context, file);
    return err;
}

int checkpoint_file_open(const struct directory *d, uint64_t number, uint64_t bytes, int *ret_file)
{
    uint64_t there;
    int file, err = open_spare(d, number, &file, &there);

    if (err != 0)
        return err;
    if (there < bytes)
        err = d->io.allocate(d->io.context, file, bytes);
    if (err == 0)
        *ret_file = file;
    else
        d->io.close(d->io.context, file);
    return err;
}

int checkpoint_file_place(const struct directory *d, uint64_t number)
{
    const struct io *io = &d->io;
    const char *name = checkpoint_name(number);
    char replaced[DIRECTORY_NAME_BYTES_MAX], written[DIRECTORY_NAME_BYTES_MAX];
    int err, moved;

    spare_name(replaced, number);
    spare_name(written, number - 1);
    moved = io->rename(io->context, name, replaced);
    if (moved != 0 && moved != -ENOENT)
        return moved;
    err = io->rename(io->context, written, name);
    if (err == 0)
        return io->sync_directory(io->context);
    if (moved == 0)
        (void)io->rename(io->context, replaced, name); /* two are better than one; the error is told */
    return err;
}

/* Not by a little each time: every change is one of the file system's, and synced. */
static int fit(const struct io *io, int file, uint64_t there, uint64_t bytes)
{
    uint64_t wanted = bytes + bytes / 2 + ROOM_BYTES;
    int err;

    if (there >= bytes + bytes / 4 + ROOM_BYTES / 2 && there <= 2 * wanted)
        return 0;
    err = there < wanted ? io->allocate(io->context, file, wanted) : io->truncate(io->context, file, wanted);
    return err == 0 ? io->sync(io->context, file) : err;
}

static void make_room_for(const struct directory *d, uint64_t number, uint64_t bytes)
{
    uint64_t there;
    int file;

    if (open_spare(d, number, &file, &there) != 0)
        return;
    (void)fit(&d->io, file, there, bytes); /* see the header */
    d->io.close(d->io.context, file);
}

static bool is_missing(const struct directory *d, const char *name)
{
    int file, err = d->io.open(d->io.context, name, IO_READ, &file);

    if (err == 0)
        d->io.close(d->io.context, file);
    return err == -ENOENT;
}

/* The first one leaves nothing that the one after the next could be written into. */
void checkpoint_file_make_room(const struct directory *d, uint64_t number, uint64_t bytes)
{
    make_room_for(d, number + 1, bytes);
    if (is_missing(d, checkpoint_name(number + 1)))
        make_room_for(d, number + 2, bytes);
}

static int write_whole(const struct directory *d, uint64_t number, const uint8_t *data, size_t length)
{
    int file, err = checkpoint_file_open(d, number, length, &file);

    if (err != 0)
        return err;
    err = io_write(&d->io, file, data, length, 0);
    if (err == 0)
        err = d->io.sync(d->io.context, file);
    d->io.close(d->io.context, file);
    return err;
}

int checkpoint_file_put(const struct directory *d, const struct checkpoint *checkpoint)
{
    uint8_t *data;
    size_t length;
    int err;

    if (checkpoint_encode(d, checkpoint, &data, &length) != 0)
        return -ENOMEM;
    err = write_whole(d, checkpoint->number, data, length);
    free(data);
    if (err == 0)
        err = checkpoint_file_place(d, checkpoint->number);
    if (err == 0)
        checkpoint_file_make_room(d, checkpoint->number, length);
    return err;
}
