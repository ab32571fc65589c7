#include "checkpoint_file.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROOM_PART = 64 /* of a segment: as much longer may a checkpoint become at least */ };

/* What the checkpoint that had the name of this one leaves. */
static void spare_name(char ret_name[DIRECTORY_NAME_BYTES_MAX], uint64_t number)
{
    int length = snprintf(ret_name, DIRECTORY_NAME_BYTES_MAX, "%s.spare", checkpoint_name(number));

    assert(length < DIRECTORY_NAME_BYTES_MAX);
    (void)length;
}

static int open_file(const struct directory *d, const char *name, bool make, int *ret_file,
                     uint64_t *ret_bytes)
{
    int file, err = d->io.open(d->io.context, name, make ? IO_WRITE | IO_CREATE : IO_WRITE, &file);

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
    char name[DIRECTORY_NAME_BYTES_MAX];
    uint64_t there;
    int file, err;

    spare_name(name, number - 1);
    err = open_file(d, name, true, &file, &there);
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

/* ---- room ---- */

/* Not by a little each time: every change is one of the file system's, and synced. A file that has a checkpoint's name may become
 * longer, which its checkpoint does not mind, but not shorter. */
static int fit(const struct directory *d, int file, uint64_t there, uint64_t bytes, bool may_shrink)
{
    uint64_t more = d->segment_bytes / ROOM_PART, wanted = bytes + bytes / 2 + more;
    int err;

    if (there < bytes + bytes / 4 + more / 2)
        err = d->io.allocate(d->io.context, file, wanted);
    else if (may_shrink && there > 2 * wanted)
        err = d->io.truncate(d->io.context, file, wanted);
    else
        return 0;
    return err == 0 ? d->io.sync(d->io.context, file) : err;
}

/* False: the file is not there. What else fails is no error, see the header. */
static bool make_room_in(const struct directory *d, const char *name, uint64_t bytes, bool spare)
{
    uint64_t there;
    int file, err = open_file(d, name, spare, &file, &there);

    if (err != 0)
        return err != -ENOENT;
    (void)fit(d, file, there, bytes, spare);
    d->io.close(d->io.context, file);
    return true;
}

/* The next one's comes first. Before there are two checkpoints, one of them has left no spare. */
void checkpoint_file_make_room(const struct directory *d, uint64_t number, uint64_t bytes)
{
    char name[DIRECTORY_NAME_BYTES_MAX];

    spare_name(name, number);
    (void)make_room_in(d, name, bytes, true); /* it is made if it is not there */
    for (uint64_t i = number; i <= number + 1; i++) {
        if (make_room_in(d, checkpoint_name(i), bytes, false))
            continue;
        spare_name(name, i);
        (void)make_room_in(d, name, bytes, true);
    }
}

/* ---- at once ---- */

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
