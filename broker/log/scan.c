#include "scan.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { READ_BYTES = 1024 * 1024 };

int scan_init(struct scan *s, const struct directory *directory)
{
    *s = (struct scan){.directory = directory, .data = malloc(directory->segment_bytes)};
    return s->data != NULL ? 0 : -ENOMEM;
}

void scan_close(struct scan *s)
{
    free(s->data);
    s->data = NULL;
}

/* ---- reading ---- */

/* In steps, so that the system reads ahead while we copy; a file that is too long is read up to a segment's end. */
static int read_file(struct scan *s, int file)
{
    uint64_t room = s->directory->segment_bytes;
    size_t length = 1;

    while (s->length < room && length > 0) {
        uint64_t rest = room - s->length;
        size_t wanted = rest < READ_BYTES ? (size_t)rest : READ_BYTES;
        int err = io_read(&s->directory->io, file, s->data + s->length, wanted, s->length, &length);
        if (err != 0)
            return err;
        s->length += length;
    }
    return 0;
}

int scan_load(struct scan *s, enum directory_kind kind, uint64_t number)
{
    const struct io *io = &s->directory->io;
    char name[DIRECTORY_NAME_BYTES_MAX];
    int file, err;

    if (s->length > 0 && s->kind == kind && s->number == number)
        return 0;
    s->kind = kind;
    s->number = number;
    s->length = 0;
    directory_segment_name(name, kind, number);
    err = io->open(io->context, name, IO_READ, &file);
    if (err != 0)
        return err;
    err = read_file(s, file);
    io->close(io->context, file);
    s->bytes_read += s->length;
    if (err != 0)
        s->length = 0;
    return err;
}

static bool header_fits(const struct commit_header *header, enum directory_kind kind)
{
    return header->kind == (kind == DIRECTORY_COLD ? COMMIT_MOVED : COMMIT_LOG);
}

static int read_opening(const struct directory *d, int file, enum directory_kind kind, uint64_t number,
                        struct scan_opening *o)
{
    size_t length;
    int err = d->io.size(d->io.context, file, &o->file_bytes);

    if (err == 0)
        err = io_read(&d->io, file, &o->header, sizeof(o->header), 0, &length);
    if (err == 0)
        o->valid = commit_header_valid((const uint8_t *)&o->header, length, number * d->segment_bytes,
                                       d->segment_bytes, &d->secret) &&
                   header_fits(&o->header, kind);
    return err;
}

int scan_open(const struct directory *d, enum directory_kind kind, uint64_t number,
              struct scan_opening *ret_opening)
{
    char name[DIRECTORY_NAME_BYTES_MAX];
    int file, err;

    directory_segment_name(name, kind, number);
    err = d->io.open(d->io.context, name, IO_READ, &file);
    if (err != 0)
        return err;
    err = read_opening(d, file, kind, number, ret_opening);
    d->io.close(d->io.context, file);
    return err;
}

/* ---- what is there ---- */

uint64_t scan_start(const struct scan *s)
{
    return s->number * s->directory->segment_bytes;
}

uint64_t scan_end(const struct scan *s)
{
    return scan_start(s) + s->length;
}

const struct commit_header *scan_header(const struct scan *s, uint64_t lsn)
{
    const struct directory *d = s->directory;
    uint64_t offset = lsn - scan_start(s);
    const struct commit_header *header = (const struct commit_header *)(s->data + offset);

    assert(lsn >= scan_start(s) && lsn % COMMIT_ALIGNMENT == 0);
    if (offset >= s->length ||
        !commit_header_valid(s->data + offset, s->length - offset, lsn, d->segment_bytes, &d->secret))
        return NULL;
    return header_fits(header, s->kind) ? header : NULL;
}

const struct commit_header *scan_commit(const struct scan *s, uint64_t lsn)
{
    const struct directory *d = s->directory;
    const struct commit_header *header = scan_header(s, lsn);
    uint64_t offset = lsn - scan_start(s);

    if (header == NULL ||
        !commit_valid(s->data + offset, s->length - offset, lsn, d->segment_bytes, &d->secret))
        return NULL;
    return header;
}

const struct commit_header *scan_next_header(const struct scan *s, uint64_t lsn)
{
    const uint32_t magic = COMMIT_MAGIC;

    for (; lsn + sizeof(struct commit_header) <= scan_end(s); lsn += COMMIT_ALIGNMENT) {
        const struct commit_header *header = NULL;
        if (memcmp(s->data + (lsn - scan_start(s)), &magic, sizeof(magic)) == 0)
            header = scan_header(s, lsn);
        if (header != NULL)
            return header;
    }
    return NULL;
}

bool scan_is_zero(const struct scan *s, uint64_t lsn)
{
    for (uint64_t offset = lsn - scan_start(s); offset < s->length; offset++)
        if (s->data[offset] != 0)
            return false;
    return true;
}
