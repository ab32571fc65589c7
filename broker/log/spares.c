/* Spares: segments that are made, and have their place on the disk, before they are needed.
 *
 * A write to one cannot find the disk full, and syncs it without telling the file system anything new. When none can be made
 * publishes are refused, while two are left for the deletes that will make room. One of them goes when a checkpoint finds no room
 * otherwise: without a checkpoint no segment would ever become a spare. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "log_state.h"
#include "proto/fanq_error.h"

enum {
    RETRY_MS = 1000,
    TIGHT_SEGMENTS = 3 /* fewer can be made */
};

uint64_t spare_take(struct log *l)
{
    return l->spare_count > 0 ? l->spares[--l->spare_count] : WRITER_NO_SPARE;
}

/* ---- from run to run ---- */

enum { WIPE_BYTES = 4096 };

/* Makes it, or makes it whole and wipes it: the last run may have written its first commit to a spare, and the power went before
 * the spare's new name was on the disk. That commit was cut off; but it would be found again, at the place and in the chain
 * where this run's first one belongs, if that were torn. Behind it nothing can be in the chain. */
static int spare_begin(struct log *l, uint64_t number)
{
    static const uint8_t zeros[WIPE_BYTES];
    const struct io *io = &l->directory.io;
    char name[DIRECTORY_NAME_BYTES_MAX];
    int file, err;

    directory_segment_name(name, DIRECTORY_SPARE, number);
    err = io->open(io->context, name, IO_WRITE | IO_CREATE, &file);
    if (err != 0)
        return err;
    err = io->allocate(io->context, file, l->directory.segment_bytes);
    if (err == 0)
        err = io_write(io, file, zeros, sizeof(zeros), 0);
    if (err == 0)
        err = io->sync(io->context, file);
    io->close(io->context, file);
    return err;
}

/* One that cannot be wiped is not used. */
void spare_restore(struct log *l, uint64_t number)
{
    int err = l->spare_count < LOG_SPARES_MAX ? spare_begin(l, number) : -EMLINK;

    if (err == 0)
        l->spares[l->spare_count++] = number;
    else if (err != -EMLINK)
        log_report(l, "cannot use spare %llu: %s", (unsigned long long)number, strerror(-err));
    if (l->next_spare <= number)
        l->next_spare = number + 1;
}

int spares_begin(struct log *l, char error[LOG_ERROR_BYTES])
{
    int err;

    if (l->spare_count > 0)
        return 0;
    err = spare_begin(l, l->next_spare);
    if (err == 0)
        err = l->directory.io.sync_directory(l->directory.io.context);
    if (err != 0) {
        snprintf(error, LOG_ERROR_BYTES, "cannot make a segment of %llu bytes for the log to begin with: %s",
                 (unsigned long long)l->directory.segment_bytes, strerror(-err));
        return FANQ_ERR_IO;
    }
    l->spares[l->spare_count++] = l->next_spare++;
    return 0;
}

/* ---- making more ---- */

static void prepare(struct log *l, uint64_t recycle)
{
    log_submit(l, &(struct store_job){.kind = STORE_PREPARE,
                                      .prepare = {.spare = l->next_spare++, .recycle = recycle}});
    l->preparing++;
}

void spare_recycle(struct log *l, uint64_t segment)
{
    prepare(l, segment);
}

bool spares_keep(const struct log *l)
{
    return l->spare_count + l->preparing < LOG_SPARES_KEPT;
}

static bool spares_wanted(const struct log *l)
{
    return l->spare_count + l->preparing < LOG_SPARES_WANTED;
}

/* When it is tried again spares_proceed() says, which knows the time. */
static void disk_falls_short(struct log *l)
{
    l->disk_short = true;
    l->retry_ms = 0;
}

void spare_prepared(struct log *l, const struct store_done *done)
{
    uint64_t recycled = done->job.prepare.recycle;

    l->preparing--;
    if (recycled != STORE_NO_SEGMENT)
        segments_recycled(l, recycled, done->error == 0);
    if (done->error == 0) {
        assert(l->spare_count < LOG_SPARES_MAX);
        l->spares[l->spare_count++] = done->job.prepare.spare;
        l->disk_short = false;
        return;
    }
    if (!l->disk_short)
        log_report(l, "cannot prepare a segment: %s", strerror(-done->error));
    disk_falls_short(l);
}

uint64_t log_disk_bytes(const struct log *l)
{
    return (l->segment_count + l->spare_count + l->preparing) * l->directory.segment_bytes;
}

static bool may_grow(const struct log *l)
{
    return l->options.disk_bytes_max == 0 ||
           log_disk_bytes(l) + l->directory.segment_bytes <= l->options.disk_bytes_max;
}

bool disk_is_tight(const struct log *l)
{
    return l->disk_short ||
           (l->options.disk_bytes_max > 0 &&
            log_disk_bytes(l) + TIGHT_SEGMENTS * l->directory.segment_bytes > l->options.disk_bytes_max);
}

void spares_proceed(struct log *l, uint64_t now_ms)
{
    if (l->disk_short && l->retry_ms == 0)
        l->retry_ms = now_ms + RETRY_MS;
    if (l->disk_short && now_ms < l->retry_ms)
        return;
    l->retry_ms = now_ms + RETRY_MS; /* of what is begun here, and fails */
    if (l->checkpoint_needs_room && l->checkpoint_state == CHECKPOINT_WRITE)
        return; /* one would take what was given up for the checkpoint */
    while (spares_wanted(l)) {
        if (!may_grow(l)) {
            if (!l->disk_short)
                log_report(l,
                           "--disk-bytes-max is reached: publishes are refused until messages are deleted");
            l->disk_short = true;
            return;
        }
        prepare(l, STORE_NO_SEGMENT);
    }
    if (l->preparing == 0)
        l->disk_short = false;
}

/* ---- giving them up ---- */

/* The last one only when the checkpoint makes another of a segment in which nothing lives, and the log does not need it soon. */
bool spares_can_give_up(const struct log *l)
{
    bool soon_full = l->end_lsn % l->directory.segment_bytes > l->directory.segment_bytes / 2;

    return l->spare_count >= 2 || (l->spare_count == 1 && !soon_full && segments_wait_to_go(l));
}

void spare_give_up(struct log *l)
{
    assert(spares_can_give_up(l));
    l->chores++;
    log_submit(l, &(struct store_job){.kind = STORE_REMOVE, .segment = {DIRECTORY_SPARE, spare_take(l)}});
    disk_falls_short(l);
}
