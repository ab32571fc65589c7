/* Who a directory is, and who has it. What its files are called is in directory_files.c.
 *
 * Both small files end with XXH3-64 of what is before it, in every format that will ever be: so one that is damaged is never
 * taken for a newer one, nor a newer one for a damaged one.
 *
 * Order of a start: look whether the directory is ours or empty before anything is made in it; take the lock; look again,
 * now that nobody else changes it; make the identity, or check it; remove what an earlier start left half made. */
#include "directory.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char IDENTITY[] = "identity", LOCK[] = "lock", EPOCH[] = "epoch";

struct identity {
    char magic[8];
    uint32_t format;
    uint32_t zero;
    uint64_t id;
    uint64_t segment_bytes;
    uint64_t made_ms;
    struct log_secret secret;
    uint64_t hash;
} __attribute__((packed));

struct epoch {
    uint64_t directory_id;
    uint64_t epoch;
    uint64_t hash;
} __attribute__((packed));

_Static_assert(sizeof(struct identity) == 72, "the format is fixed");
_Static_assert(sizeof(struct epoch) == 24, "the format is fixed");

static const char MAGIC[8] = "fanq-log";

enum { SMALL_FILE_BYTES_MAX = 4096, FILE_HASH_BYTES = sizeof(uint64_t), NAME_BYTES_MAX = 256 };

/* ---- small files ---- */

static uint64_t file_hash(const void *data, size_t length)
{
    return XXH3_64bits(data, length - FILE_HASH_BYTES);
}

static bool file_valid(const uint8_t *data, size_t length)
{
    uint64_t hash;

    if (length < FILE_HASH_BYTES)
        return false;
    memcpy(&hash, data + length - FILE_HASH_BYTES, sizeof(hash));
    return hash == file_hash(data, length);
}

/* Says what is wrong; gives err. */
__attribute__((format(printf, 3, 4))) static int fail(char error[DIRECTORY_ERROR_BYTES], int err,
                                                      const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(error, DIRECTORY_ERROR_BYTES, format, arguments); /* cut is better than none */
    va_end(arguments);
    return err;
}

static int fail_to(char error[DIRECTORY_ERROR_BYTES], int err, const char *what)
{
    if (err == -EACCES || err == -EPERM)
        return fail(error, err, "%s: this user may not (%s)", what, strerror(-err));
    if (err == -EROFS)
        return fail(error, err, "%s: the file system is mounted read-only", what);
    if (err == -ENOSPC || err == -EDQUOT)
        return fail(error, err, "%s: there is no space left (%s)", what, strerror(-err));
    return fail(error, err, "%s: %s", what, strerror(-err));
}

/* ---- the identity ---- */

static int identity_check(const uint8_t *data, size_t length, struct identity *ret_identity,
                          char error[DIRECTORY_ERROR_BYTES])
{
    static const char damaged[] =
        "its file 'identity' is damaged; without it no message can be read: restore it from a copy";
    uint32_t format;

    if (length < offsetof(struct identity, zero) + FILE_HASH_BYTES || !file_valid(data, length) ||
        memcmp(data, MAGIC, sizeof(MAGIC)) != 0)
        return fail(error, -EBADMSG, "%s", damaged);
    memcpy(&format, data + offsetof(struct identity, format), sizeof(format));
    if (format > DIRECTORY_FORMAT)
        return fail(error, -EPROTO, "it was made by a newer fanq (format %" PRIu32 "); this one knows %d",
                    format, DIRECTORY_FORMAT);
    if (format != DIRECTORY_FORMAT || length != sizeof(*ret_identity))
        return fail(error, -EBADMSG, "%s", damaged);
    memcpy(ret_identity, data, sizeof(*ret_identity));
    if (ret_identity->segment_bytes == 0 || ret_identity->segment_bytes % COMMIT_ALIGNMENT != 0)
        return fail(error, -EBADMSG, "%s", damaged);
    return 0;
}

static void identity_take(struct directory *d, const struct identity *identity)
{
    d->secret = identity->secret;
    d->id = identity->id;
    d->segment_bytes = identity->segment_bytes;
    d->made_ms = identity->made_ms;
}

/* 1: there is none. */
static int identity_read(struct directory *d, char error[DIRECTORY_ERROR_BYTES])
{
    struct identity identity;
    uint8_t *data = NULL;
    size_t length = 0;
    int err = io_get(&d->io, IDENTITY, SMALL_FILE_BYTES_MAX, &data, &length);

    if (err == -ENOENT)
        return 1;
    if (err != 0 && err != -EFBIG)
        return fail_to(error, err, "cannot read its file 'identity'");
    err = identity_check(data, length, &identity,
                         error); /* one that is too long is empty here, and so not valid */
    free(data);
    if (err == 0)
        identity_take(d, &identity);
    return err;
}

static int identity_make(struct directory *d, const struct directory_options *options,
                         char error[DIRECTORY_ERROR_BYTES])
{
    const uint64_t *random = options->random;
    struct identity identity = {.format = DIRECTORY_FORMAT,
                                .id = random[0],
                                .segment_bytes = options->segment_bytes,
                                .made_ms = options->wall_ms,
                                .secret = {random[1], random[2], random[3]}};
    int err;

    assert(options->segment_bytes > 0 && options->segment_bytes % COMMIT_ALIGNMENT == 0);
    memcpy(identity.magic, MAGIC, sizeof(MAGIC));
    identity.hash = file_hash(&identity, sizeof(identity));
    err = io_put(&d->io, IDENTITY, &identity, sizeof(identity));
    if (err != 0)
        return fail_to(error, err, "cannot write to it");
    identity_take(d, &identity);
    return 0;
}

/* ---- the epoch ---- */

/* -ENOENT: there is none; -EBADMSG: it is damaged. */
static int epoch_read(const struct directory *d, uint64_t *ret_epoch)
{
    struct epoch epoch;
    uint8_t *data;
    size_t length;
    int err = io_get(&d->io, EPOCH, SMALL_FILE_BYTES_MAX, &data, &length);

    if (err != 0)
        return err == -EFBIG ? -EBADMSG : err;
    if (length == sizeof(epoch) && file_valid(data, length))
        memcpy(&epoch, data, sizeof(epoch));
    else
        err = -EBADMSG;
    free(data);
    if (err == 0 && epoch.directory_id != d->id)
        err = -EBADMSG;
    if (err == 0)
        *ret_epoch = epoch.epoch;
    return err;
}

int directory_check_epoch(const struct directory *d, char error[DIRECTORY_ERROR_BYTES])
{
    uint64_t epoch;
    int err = epoch_read(d, &epoch);

    if (err == -EBADMSG)
        return fail(error, err,
                    "its file 'epoch' is damaged; remove it: a new one is begun above those in the log");
    return err == 0 || err == -ENOENT ? 0 : fail_to(error, err, "cannot read its file 'epoch'");
}

/* ---- opening ---- */

/* A name that is in the way of a new log: any but what a start before this one may have left, and what a file system has of
 * its own. */
static int find_foreign(void *context, const char *name)
{
    if (strcmp(name, LOCK) == 0 || strcmp(name, "identity.new") == 0 || strcmp(name, "lost+found") == 0)
        return 0;
    (void)snprintf(context, NAME_BYTES_MAX, "%s", name);
    return 1;
}

static int identity_missing(struct directory *d, bool read_only, char error[DIRECTORY_ERROR_BYTES])
{
    char name[NAME_BYTES_MAX];
    int found = d->io.list(d->io.context, find_foreign, name);

    if (found < 0)
        return fail_to(error, found, "cannot list its files");
    if (found > 0)
        return fail(
            error, -ENOTEMPTY,
            "it is not a fanq directory: there are files in it ('%s' for one), but no 'identity'; name "
            "an empty directory, or restore that file if this was one",
            name);
    return read_only ? fail(error, -ENOENT, "it is not a fanq directory: it is empty") : 0;
}

/* Whether it is ours, or empty: 1. */
static int look(struct directory *d, bool read_only, char error[DIRECTORY_ERROR_BYTES])
{
    int err = identity_read(d, error);

    if (err == 1) {
        err = identity_missing(d, read_only, error);
        return err == 0 ? 1 : err;
    }
    return err;
}

static int take_lock(struct directory *d, char error[DIRECTORY_ERROR_BYTES])
{
    int err = d->io.lock(d->io.context, LOCK);

    if (err == -EWOULDBLOCK)
        return fail(error, err, "it is in use by another broker; stop that one, or name another directory");
    return err == 0 ? 0 : fail_to(error, err, "cannot write to it");
}

static int find_half_made(void *context, const char *name)
{
    size_t length = strlen(name);

    if (length < 4 || strcmp(name + length - 4, ".new") != 0)
        return 0;
    (void)snprintf(context, NAME_BYTES_MAX, "%s", name);
    return 1;
}

/* One at a time, since a list of names may not change while it is gone over. */
static int remove_half_made(struct directory *d, char error[DIRECTORY_ERROR_BYTES])
{
    char name[NAME_BYTES_MAX];
    bool any = false;
    int err;

    while ((err = d->io.list(d->io.context, find_half_made, name)) == 1) {
        err = d->io.remove(d->io.context, name);
        if (err != 0)
            return fail_to(error, err, "cannot remove a file that was left half made");
        any = true;
    }
    if (err == 0 && any)
        err = d->io.sync_directory(d->io.context);
    return err == 0 ? 0 : fail_to(error, err, "cannot remove files that were left half made");
}

static int open_to_write(struct directory *d, const struct directory_options *options,
                         char error[DIRECTORY_ERROR_BYTES])
{
    int err = take_lock(d, error);

    if (err == 0)
        err = look(d, false, error);
    if (err == 1)
        err = identity_make(d, options, error);
    if (err == 0)
        err = remove_half_made(d, error);
    return err == 0 ? directory_check_epoch(d, error) : err;
}

int directory_open(const struct directory_options *options, struct directory *ret_directory,
                   char error[DIRECTORY_ERROR_BYTES])
{
    struct directory d = {.io = options->io};
    int err = look(&d, options->read_only, error);

    if (err >= 0 && !options->read_only)
        err = open_to_write(&d, options, error);
    if (err == 0)
        *ret_directory = d;
    return err;
}

/* ---- a new run ---- */

/* The epoch in which a segment was begun; 0: nothing is in it that could tell. */
static int segment_epoch(const struct directory *d, const struct directory_segment *segment,
                         uint64_t *ret_epoch)
{
    char name[DIRECTORY_NAME_BYTES_MAX];
    struct commit_header header;
    size_t length = 0;
    int file, err;

    directory_segment_name(name, segment->kind, segment->number);
    err = d->io.open(d->io.context, name, IO_READ, &file);
    if (err != 0)
        return err;
    err = io_read(&d->io, file, &header, sizeof(header), 0, &length);
    d->io.close(d->io.context, file);
    if (err != 0)
        return err;
    *ret_epoch = commit_header_valid((const uint8_t *)&header, length, segment->number * d->segment_bytes,
                                     d->segment_bytes, &d->secret)
                     ? header.epoch
                     : 0;
    return 0;
}

/* Runs that left no commit also had epochs, which nobody must get again. They are few: a thousand is far above them. */
enum { UNSEEN_EPOCHS = 1000 };

/* What to go on from when the file was lost. */
static int epoch_guess(const struct directory *d, uint64_t *ret_epoch)
{
    struct directory_segment *segments;
    uint64_t epoch, newest = 0;
    size_t count;
    int err = directory_segments(d, &segments, &count);

    if (err != 0)
        return err;
    for (size_t i = 0; err == 0 && i < count; i++) {
        epoch = 0;
        if (segments[i].kind == DIRECTORY_LOG)
            err = segment_epoch(d, &segments[i], &epoch);
        if (epoch > newest)
            newest = epoch;
    }
    if (err == 0)
        *ret_epoch = count > 0 ? newest + UNSEEN_EPOCHS : 0;
    free(segments);
    return err;
}

int directory_begin(struct directory *d)
{
    struct epoch epoch = {.directory_id = d->id};
    uint64_t last = 0;
    int err = epoch_read(d, &last);

    if (err == -ENOENT)
        err = epoch_guess(d, &last);
    if (err != 0)
        return err;
    epoch.epoch = last + 1;
    epoch.hash = file_hash(&epoch, sizeof(epoch));
    err = io_put(&d->io, EPOCH, &epoch, sizeof(epoch));
    if (err == 0)
        d->epoch = last + 1;
    return err;
}
