/* writer_work() does one step: it writes what has gathered, or it syncs.
 *
 *     submitted ── write ──> written ── sync ──> synced
 *
 * A write is a row of commits that lie one behind the other in one segment, so what is written and not synced is always in
 * one file: before the next segment is opened, the file is synced. In group mode each write is followed by its sync, and what
 * is submitted meanwhile is the next write.
 *
 * Reports say how far everything is, so the newest replaces those before it. */
#include "writer.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/mailbox.h"
#include "base/ring.h"
#include "proto/fanq_error.h"

enum {
    JOBS_MAX = 4096,                   /* submitted and not taken */
    WRITE_BYTES_MAX = 8 * 1024 * 1024, /* unless one commit is more: a sync is not to take for ever */
    WRITE_PARTS_MAX = 256
};

/* How far the log is: behind this commit. */
struct mark {
    uint64_t lsn, number, hash;
};

struct writer {
    struct writer_options options;
    const struct io *io;

    /* Between the threads. */
    struct ring *jobs;
    struct mailbox *reports;
    _Atomic uint64_t sync_wanted; /* the number of a commit that should be synced */
    _Atomic uint64_t commits, bytes, writes, syncs, sync_us_max, sync_us_total;

    /* The loop's. */
    uint64_t submitted_number;

    /* The log thread's. */
    int file;              /* of the newest segment; -1: none yet */
    bool file_named;       /* since the directory was synced */
    struct writer_job job; /* the next one, */
    bool has_job;          /* if there is one */
    struct mark sealed, written, synced;
    uint64_t unsynced_since_ns; /* when something is written and not synced */
    struct writer_done report;  /* the newest */
};

/* When all that is written is synced. */
static struct writer_done report_of_synced(const struct writer *w)
{
    return (struct writer_done){.number = w->synced.number,
                                .written_lsn = w->synced.lsn,
                                .synced_lsn = w->synced.lsn,
                                .synced_number = w->synced.number,
                                .synced_hash = w->synced.hash};
}

int writer_new(const struct writer_options *options, struct writer **ret_writer)
{
    struct writer *w = calloc(1, sizeof(*w));

    if (w == NULL)
        return FANQ_ERR_NOMEM;
    w->options = *options;
    w->io = &options->directory->io;
    w->file = -1;
    w->synced = (struct mark){
        .lsn = options->synced_lsn, .number = options->previous_number, .hash = options->previous_hash};
    w->sealed = w->written = w->synced;
    w->submitted_number = w->synced.number;
    w->report = report_of_synced(w);
    w->jobs = ring_new(sizeof(struct writer_job), JOBS_MAX);
    w->reports = mailbox_new(sizeof(struct writer_done));
    if (w->jobs == NULL || w->reports == NULL) {
        writer_free(w);
        return FANQ_ERR_NOMEM;
    }
    *ret_writer = w;
    return 0;
}

void writer_free(struct writer *w)
{
    if (w == NULL)
        return;
    if (w->file >= 0)
        w->io->close(w->io->context, w->file);
    ring_free(w->jobs);
    mailbox_free(w->reports);
    free(w);
}

/* ---- on the loop's thread ---- */

bool writer_submit(struct writer *w, const struct writer_job *job)
{
    assert(job->number > w->submitted_number && job->bytes > 0 && job->bytes % COMMIT_ALIGNMENT == 0);
    if (!ring_push(w->jobs, job))
        return false;
    w->submitted_number = job->number;
    return true;
}

void writer_sync_soon(struct writer *w)
{
    /* Relaxed: a number that comes alone. Whoever wakes the worker afterwards orders it with that. */
    atomic_store_explicit(&w->sync_wanted, w->submitted_number, memory_order_relaxed);
}

bool writer_done(struct writer *w, struct writer_done *ret_done)
{
    return mailbox_take(w->reports, ret_done);
}

/* Figures are read while they are written: each is whole, and they need not agree with each other. */
static uint64_t figure(const _Atomic uint64_t *figure)
{
    return atomic_load_explicit(figure, memory_order_relaxed);
}

static void figure_add(_Atomic uint64_t *figure, uint64_t more)
{
    (void)atomic_fetch_add_explicit(figure, more, memory_order_relaxed); /* what it was is of no interest */
}

void writer_figures(struct writer *w, struct writer_figures *ret_figures)
{
    *ret_figures = (struct writer_figures){
        .commits = figure(&w->commits),
        .bytes = figure(&w->bytes),
        .writes = figure(&w->writes),
        .syncs = figure(&w->syncs),
        .sync_us_max = figure(&w->sync_us_max),
        .sync_us_total = figure(&w->sync_us_total),
    };
}

/* ---- on the log thread ---- */

static uint64_t now_ns(const struct writer *w)
{
    return w->options.now_ns(w->options.context);
}

static void tell(struct writer *w)
{
    mailbox_put(w->reports, &w->report);
    w->options.notify(w->options.context);
}

/* Everything but the error stays as it was told before: what was written by then may or may not be there. */
static void fail(struct writer *w, int err)
{
    w->report.error = err;
    tell(w);
}

/* Looks at the next job. */
static bool job_any(struct writer *w)
{
    w->has_job = w->has_job || ring_pop(w->jobs, &w->job);
    return w->has_job;
}

static uint64_t segment_of(const struct writer *w, uint64_t lsn)
{
    return lsn / w->options.directory->segment_bytes;
}

/* The offset in the segment. */
static uint64_t offset_of(const struct writer *w, uint64_t lsn)
{
    return lsn % w->options.directory->segment_bytes;
}

/* ---- segments ---- */

/* Gives the file of the segment its name, or makes it. */
static int segment_name(struct writer *w, const struct writer_job *first)
{
    char name[DIRECTORY_NAME_BYTES_MAX], spare[DIRECTORY_NAME_BYTES_MAX];
    unsigned how = IO_WRITE;
    int err = 0;

    directory_segment_name(name, DIRECTORY_LOG, segment_of(w, first->lsn));
    if (first->spare == WRITER_NO_SPARE) {
        how |= IO_CREATE;
    } else {
        directory_segment_name(spare, DIRECTORY_SPARE, first->spare);
        err = w->io->rename(w->io->context, spare, name);
    }
    w->file_named = true;
    if (err == 0)
        err = w->io->open(w->io->context, name, how, &w->file);
    if (err == 0 && first->spare == WRITER_NO_SPARE)
        err = w->io->allocate(w->io->context, w->file, w->options.directory->segment_bytes);
    return err;
}

/* Goes on to the segment that the job begins. The one before is synced. */
static int segment_open(struct writer *w, const struct writer_job *first)
{
    assert(w->written.lsn == w->synced.lsn);
    if (w->file >= 0)
        w->io->close(w->io->context, w->file);
    w->file = -1;
    return segment_name(w, first);
}

static bool begins_segment(const struct writer *w, const struct writer_job *job)
{
    return offset_of(w, job->lsn) == 0;
}

/* ---- writing ---- */

static void seal(struct writer *w, const struct writer_job *job)
{
    const struct commit_header *commit = (const struct commit_header *)job->data;

    assert(commit->number == job->number && commit->lsn == job->lsn);
    assert(commit_bytes_aligned(commit->bytes) == job->bytes);
    assert(job->lsn >= w->sealed.lsn &&
           offset_of(w, job->lsn) + job->bytes <= w->options.directory->segment_bytes);
    w->sealed.hash = commit_seal(job->data, w->synced.lsn, w->sealed.hash, &w->options.directory->secret);
    w->sealed.lsn = job->lsn + job->bytes;
    w->sealed.number = job->number;
}

/* Commits that are written together: parts of memory for one row of bytes in the file. */
struct batch {
    uint64_t lsn, bytes, commits;
    struct iovec parts[WRITE_PARTS_MAX];
    int part_count;
};

/* One part as long as memory goes on. */
static void batch_add(struct batch *b, const struct writer_job *job)
{
    struct iovec *last = b->part_count > 0 ? &b->parts[b->part_count - 1] : NULL;

    if (last != NULL && (uint8_t *)last->iov_base + last->iov_len == job->data)
        last->iov_len += job->bytes;
    else
        b->parts[b->part_count++] = (struct iovec){job->data, job->bytes};
    b->bytes += job->bytes;
    b->commits++;
}

/* Whether the job goes where the batch ends, and the batch may grow. */
static bool batch_goes_on(const struct writer *w, const struct batch *b, const struct writer_job *job)
{
    return job->lsn == b->lsn + b->bytes && !begins_segment(w, job) &&
           b->bytes + job->bytes <= WRITE_BYTES_MAX && b->part_count < WRITE_PARTS_MAX;
}

/* Seals and takes all that can be written together; there is a job. */
static void batch_take(struct writer *w, struct batch *b)
{
    b->lsn = w->job.lsn;
    b->bytes = b->commits = 0;
    b->part_count = 0;
    do {
        seal(w, &w->job);
        batch_add(b, &w->job);
        w->has_job = false;
    } while (job_any(w) && batch_goes_on(w, b, &w->job));
}

static int write_batch(struct writer *w)
{
    struct batch b;
    int err;

    batch_take(w, &b);
    assert(w->file >= 0);
    err = io_write_parts(w->io, w->file, b.parts, b.part_count, offset_of(w, b.lsn));
    if (err != 0)
        return err;
    if (w->written.lsn == w->synced.lsn)
        w->unsynced_since_ns = now_ns(w);
    w->written = w->sealed;
    figure_add(&w->commits, b.commits);
    figure_add(&w->bytes, b.bytes);
    figure_add(&w->writes, 1);
    return 0;
}

static void write_step(struct writer *w)
{
    int err = begins_segment(w, &w->job) ? segment_open(w, &w->job) : 0;

    if (err == 0)
        err = write_batch(w);
    if (err != 0) {
        fail(w, err);
    } else if (w->options.sync != WRITER_SYNC_GROUP) { /* there it is told when the sync is done */
        w->report.number = w->written.number;
        w->report.written_lsn = w->written.lsn;
        tell(w);
    }
}

/* ---- syncing ---- */

static bool unsynced(const struct writer *w)
{
    return w->written.lsn != w->synced.lsn;
}

static uint64_t unsynced_ns(const struct writer *w)
{
    return now_ns(w) - w->unsynced_since_ns;
}

/* Whether what is written must be synced before anything else, also the next job, is written. */
static bool sync_due(const struct writer *w)
{
    uint64_t wanted =
        atomic_load_explicit(&w->sync_wanted, memory_order_relaxed); /* see writer_sync_soon() */

    if (!unsynced(w))
        return false;
    if (w->options.sync == WRITER_SYNC_GROUP || (wanted > w->synced.number && wanted <= w->written.number))
        return true;
    if (w->has_job && begins_segment(w, &w->job))
        return true;
    return w->options.sync == WRITER_SYNC_ASYNC && unsynced_ns(w) >= w->options.sync_ms * 1000000;
}

/* The file, and its name if that is new. */
static int sync_file(struct writer *w)
{
    int err = w->io->sync(w->io->context, w->file);

    if (err == 0 && w->file_named)
        err = w->io->sync_directory(w->io->context);
    if (err == 0)
        w->file_named = false;
    return err;
}

static void sync_step(struct writer *w)
{
    uint64_t begin_ns = now_ns(w), us;
    int err = sync_file(w);

    if (err != 0) {
        fail(w, err);
        return;
    }
    us = (now_ns(w) - begin_ns) / 1000;
    figure_add(&w->syncs, 1);
    figure_add(&w->sync_us_total, us);
    if (us > figure(&w->sync_us_max))
        atomic_store_explicit(&w->sync_us_max, us, memory_order_relaxed);
    w->synced = w->written;
    w->report = report_of_synced(w);
    tell(w);
}

/* ---- the door ---- */

/* After an error: what comes is taken, so that it does not look as if there were work, and that is all. */
static bool drop_jobs(struct writer *w)
{
    bool any = false;

    for (; job_any(w); any = true)
        w->has_job = false;
    return any;
}

bool writer_work(void *writer)
{
    struct writer *w = writer;
    bool any;

    if (w->report.error != 0)
        return drop_jobs(w);
    any = job_any(w); /* once: whether a sync is due depends on what the next job is */
    if (sync_due(w))
        sync_step(w);
    else if (any)
        write_step(w);
    else
        return false;
    return true;
}

uint32_t writer_sleep_ms(void *writer)
{
    const struct writer *w = writer;
    uint64_t sync_ns = w->options.sync_ms * 1000000, past_ns;

    if (w->options.sync != WRITER_SYNC_ASYNC || w->report.error != 0 || !unsynced(w))
        return UINT32_MAX;
    past_ns = unsynced_ns(w);
    return past_ns < sync_ns ? (uint32_t)((sync_ns - past_ns + 999999) / 1000000) : 0;
}
