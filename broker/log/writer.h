/* What the log thread does: seals commits, writes them, syncs them, and says so. Nothing else, so that nothing else can be in
 * front of a commit.
 *
 *     loop ── writer_submit() ──> ring ──> writer_work() ──> pwritev, fdatasync ──> mailbox ──> writer_done() ── loop
 *
 * Segments: with the first commit of a segment the writer puts its file in place: a prepared spare gets the segment's
 * name, or without one a new file is made; the directory is synced before that commit is reported synced. The file before
 * it is closed, once it is synced.
 * Group commit: whatever was submitted while the previous sync ran is written by one pwritev and synced by one fdatasync.
 * There is no timer. Failure: after the first error of a write or a sync nothing is written any more, and everything
 * submitted later fails too; a second sync could succeed without the data. */
#pragma once

#include "directory.h"

/* How long its thread looks for more before it sleeps. Longer, it takes from a small machine what those need it waits for. */
enum { WRITER_SPIN_US = 20 };

enum writer_sync {
    WRITER_SYNC_GROUP, /* a commit is reported when it is synced */
    WRITER_SYNC_ASYNC, /* when it is written; it is synced every sync_ms at the latest */
    WRITER_SYNC_NONE   /* when it is written; the system syncs as it likes, but for writer_sync_soon() */
};

struct writer_options {
    const struct directory *directory; /* io, secret, names; borrowed */
    enum writer_sync sync;
    uint64_t sync_ms;
    uint64_t (*now_ns)(void *context); /* monotonic; for sync_ms and figures */
    void (*notify)(void *context);     /* something is there for writer_done(): called by writer_work() */
    void *context;                     /* of both */
    uint64_t previous_number;          /* of the last commit before, or 0 */
    uint64_t previous_hash;            /* of its trailer, or 0 */
    uint64_t synced_lsn;               /* what is known to be on the disk at the start */
};

/* One commit, in memory that neither moves nor changes until it is reported. Commits come in order. */
struct writer_job {
    uint8_t *data;  /* a commit with its padding; the writer fills in its hashes */
    uint32_t bytes; /* padding included */
    uint64_t lsn;   /* its place, which says the segment and the offset in it */
    uint64_t number;
    uint64_t
        spare; /* the first commit of a segment (offset 0): the spare to make it of, or WRITER_NO_SPARE */
};

#define WRITER_NO_SPARE UINT64_MAX

struct writer_done {
    uint64_t number;      /* this commit and all before it may be answered, as the mode promises */
    uint64_t written_lsn; /* all below is written: its memory may go */
    uint64_t synced_lsn;  /* all below is on the disk */
    uint64_t synced_number;
    uint64_t synced_hash; /* of the trailer of that commit */
    int error;            /* a negative errno: the log has ended; the other fields are as before */
};

struct writer;

/* 0 or FANQ_ERR_NOMEM. */
int writer_new(const struct writer_options *options, struct writer **ret_writer);
/* Closes the file, and syncs nothing: before a stop, writer_sync_soon() and let writer_work() do it. Accepts NULL. */
void writer_free(struct writer *w);

/* ---- on the loop's thread ---- */

/* False: the ring is full (some thousands of commits): try again when something is done. The caller wakes the worker. */
bool writer_submit(struct writer *w, const struct writer_job *job);

/* Asks that what was submitted up to now is synced as soon as it is written, in any mode: reclaiming and checkpoints wait for
 * synced. The caller wakes the worker. */
void writer_sync_soon(struct writer *w);

/* The newest report, if there is one that was not taken before. */
bool writer_done(struct writer *w, struct writer_done *ret_done);

struct writer_figures {
    uint64_t commits, bytes, writes, syncs;
    uint64_t sync_us_max, sync_us_total;
};
void writer_figures(struct writer *w, struct writer_figures *ret_figures);

/* ---- on the log thread ---- */

/* Does what there is; false when there was nothing. */
bool writer_work(void *writer);

/* How long the thread may sleep: in async mode until the sync is due, else UINT32_MAX. For worker_options.sleep_ms. */
uint32_t writer_sleep_ms(void *writer);
