#include "log.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint_file.h"
#include "log_state.h"
#include "proto/fanq_error.h"

enum { REPORT_BYTES = 512 };

void log_report(struct log *l, const char *format, ...)
{
    char text[REPORT_BYTES];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    l->options.report(l->options.context, text);
}

void log_submit(struct log *l, const struct store_job *job)
{
    bool taken = store_submit(l->store, job);

    assert(taken); /* fetches and chores are fewer than it takes */
    if (l->store_thread != NULL)
        worker_wake(l->store_thread);
}

static void sync_soon(struct log *l)
{
    if (l->options.sync == WRITER_SYNC_GROUP)
        return; /* every write is synced */
    writer_sync_soon(l->writer);
    if (l->writer_thread != NULL)
        worker_wake(l->writer_thread);
}

/* To be asked again and again: what the writer's ring had no room for comes to it later. */
bool log_sync_to(struct log *l, uint64_t lsn)
{
    if (l->done.synced_lsn >= lsn)
        return true;
    sync_soon(l);
    return false;
}

/* ---- life ---- */

static void set_error(char error[LOG_ERROR_BYTES], const char *what, int err)
{
    snprintf(error, LOG_ERROR_BYTES, "%s: %s", what,
             err == FANQ_ERR_NOMEM ? "out of memory" : strerror(-err));
}

static struct log *log_new(const struct log_options *options)
{
    struct log *l = calloc(1, sizeof(*l));

    if (l == NULL)
        return NULL;
    l->options = *options;
    slab_init(&l->fetches, sizeof(struct fetch));
    slab_init(&l->wishes, sizeof(struct fetch_wish));
    list_init(&l->came);
    list_init(&l->wished);
    return l;
}

static int open_directory(struct log *l, char error[LOG_ERROR_BYTES])
{
    const struct log_options *o = &l->options;
    struct directory_options options = {
        .io = o->io, .segment_bytes = o->segment_bytes, .wall_ms = o->wall_ms};
    int err;

    memcpy(options.random, o->random, sizeof(options.random));
    err = directory_open(&options, &l->directory, error);
    if (err != 0)
        return FANQ_ERR_IO;
    if (l->directory.segment_bytes < o->segment_bytes) {
        snprintf(error, LOG_ERROR_BYTES,
                 "the directory's segments of %llu bytes are too small for frame_bytes_max as it is "
                 "configured: %llu are "
                 "needed. Make frame_bytes_max smaller, or begin with a new directory",
                 (unsigned long long)l->directory.segment_bytes, (unsigned long long)o->segment_bytes);
        return FANQ_ERR_INVALID;
    }
    err = directory_begin(&l->directory);
    if (err != 0) {
        set_error(error, "cannot begin a new run", err);
        return FANQ_ERR_IO;
    }
    return 0;
}

int log_open(const struct log_options *options, struct log **ret_log, char error[LOG_ERROR_BYTES])
{
    struct log *l = log_new(options);
    int err = l == NULL ? FANQ_ERR_NOMEM : open_directory(l, error);

    if (err == 0)
        err = tail_new(&(struct tail_options){.memory_bytes_max = options->memory_bytes_max,
                                              .cache_bytes_max = options->cache_bytes_max,
                                              .segment_bytes = l->directory.segment_bytes,
                                              .epoch = l->directory.epoch,
                                              .log = true},
                       &l->tail);
    if (err == FANQ_ERR_NOMEM)
        set_error(error, "cannot open the log", err);
    if (err == 0)
        *ret_log = l;
    else
        log_free(l);
    return err;
}

void log_stop(struct log *l)
{
    if (l->writer != NULL)
        sync_soon(l);
    if (l->store != NULL)
        store_stop(l->store); /* a slow disk may need minutes, and the next start does without */
    worker_stop(l->writer_thread);
    worker_stop(l->store_thread);
    l->writer_thread = l->store_thread = NULL;
}

void log_free(struct log *l)
{
    if (l == NULL)
        return;
    log_stop(l);
    writer_free(l->writer);
    store_free(l->store);
    tail_free(l->tail);
    slab_close(&l->fetches);
    slab_close(&l->wishes);
    core_checkpoint_free(&l->checkpoint);
    relocation_close(l);
    free(l->segments);
    free(l->waiting);
    free(l);
}

uint64_t log_epoch(const struct log *l)
{
    return l->directory.epoch;
}

struct tail *log_tail(const struct log *l)
{
    return l->tail;
}

const struct recovered *log_recovered(const struct log *l)
{
    return &l->recovered;
}

/* ---- recovery ---- */

struct restoring {
    struct log *log;
    struct core *core;
};

static int restore_facts(void *context, const uint8_t *facts, uint64_t bytes, uint64_t count,
                         bool of_checkpoint)
{
    struct restoring *r = context;

    return core_replay(r->core, facts, bytes);
}

static int restore_block(void *context, const struct block_header *block, uint64_t place,
                         bool behind_checkpoint)
{
    struct restoring *r = context;
    int err = tail_restore_block(r->log->tail, block, place);

    if (err == 0 && behind_checkpoint && !place_is_cold(place))
        err = core_replay_block(r->core, block->stream, block->first_seq, block->count);
    return err;
}

static void restore_report(void *context, const char *text)
{
    struct restoring *r = context;

    log_report(r->log, "%s", text);
}

/* Blocks that no queue needs are forgotten. */
static void forget_unneeded(void *context, uint64_t stream)
{
    struct restoring *r = context;
    uint64_t floor;

    if (core_stream_needed(r->core, stream, &floor))
        tail_trim(r->log->tail, stream, floor);
    else
        tail_stream_end(r->log->tail, stream);
}

static int make_workers(struct log *l)
{
    const struct log_options *o = &l->options;
    const struct writer_options writer = {.directory = &l->directory,
                                          .sync = o->sync,
                                          .sync_ms = o->sync_ms,
                                          .now_ns = o->now_ns,
                                          .notify = o->notify,
                                          .context = o->context,
                                          .previous_number = l->recovered.last_number,
                                          .previous_hash = l->recovered.last_hash,
                                          .synced_lsn = l->recovered.end_lsn};
    const struct store_options store = {
        .directory = &l->directory, .notify = o->notify, .context = o->context};
    int err = writer_new(&writer, &l->writer);

    return err == 0 ? store_new(&store, &l->store) : err;
}

static int start_threads(struct log *l)
{
    int err = 0;

    if (l->options.threads)
        err = worker_start(&(struct worker_options){.name = "fanq-log",
                                                    .work = writer_work,
                                                    .context = l->writer,
                                                    .spin_us = WRITER_SPIN_US,
                                                    .sleep_ms = writer_sleep_ms},
                           &l->writer_thread);
    if (err == 0 && l->options.threads)
        err = worker_start(
            &(struct worker_options){.name = "fanq-store", .work = store_work, .context = l->store},
            &l->store_thread);
    return err;
}

static int refuse_damage(char error[LOG_ERROR_BYTES])
{
    snprintf(error, LOG_ERROR_BYTES,
             "the log is damaged, as reported above. Restore a backup, or go on without what is lost: "
             "--accept-loss");
    return FANQ_ERR_IO;
}

static int replay(struct log *l, struct core *core, struct recovery_options *options,
                  char error[LOG_ERROR_BYTES])
{
    struct recovered *r = &l->recovered;
    int err = recovery_run(options, r);

    if (err != 0) {
        snprintf(error, LOG_ERROR_BYTES, "cannot read the log: %s",
                 err == FANQ_ERR_INVALID ? "it has facts that this version does not know"
                                         : fanq_strerror(err));
        return err;
    }
    if (r->damaged)
        return refuse_damage(error);
    err = recovery_secure(options, r);
    if (err != 0)
        snprintf(error, LOG_ERROR_BYTES, "cannot write to the log: %s", fanq_strerror(err));
    return err;
}

/* Queues must not wait for what is nowhere. Nothing but the loss of a whole file comes to light only here: a segment goes when a
 * checkpoint knows of everything in it that it is gone. */
static int forget_missing(struct log *l, struct core *core, char error[LOG_ERROR_BYTES])
{
    uint64_t count = 0;
    int err = core_forget_missing(core, &count);

    if (err != 0 || count == 0)
        return err;
    log_report(l, "%" PRIu64 " messages are lost, counted for each queue that had them", count);
    l->recovered.loss = true;
    return l->options.accept_loss ? 0 : refuse_damage(error);
}

/* The next checkpoint, which comes at once, says that all was told that is damaged so far. */
static void note_accepted(struct log *l)
{
    const struct recovered *r = &l->recovered;

    l->accepted_lsn = r->accepted_lsn;
    l->accepted_cold = r->accepted_cold;
    if (!r->loss)
        return;
    l->accepted_lsn = r->next_log_number * l->directory.segment_bytes;
    l->accepted_cold = r->next_cold_number;
    l->checkpoint_at_once = true;
}

/* A run begins with a segment of its own: what the last one left behind its end is never appended to. */
int log_recover(struct log *l, struct core *core, char error[LOG_ERROR_BYTES])
{
    struct restoring r = {l, core};
    struct recovery_options options = {.directory = &l->directory,
                                       .sink = {&r, restore_facts, restore_block, restore_report},
                                       .accept_loss = l->options.accept_loss,
                                       .verify = l->options.accept_loss};
    int err;

    error[0] = '\0';
    err = replay(l, core, &options, error);
    if (err != 0)
        return err;
    err = core_replay_end(core, l->recovered.last_number + 1);
    if (err == 0)
        err = tail_restore_end(l->tail, l->recovered.next_log_number * l->directory.segment_bytes,
                               l->recovered.end_lsn);
    if (err == 0)
        err = forget_missing(l, core, error);
    if (err == 0) {
        tail_streams(l->tail, forget_unneeded, &r);
        l->end_lsn = l->done.written_lsn = l->done.synced_lsn = l->recovered.end_lsn;
        l->last_number = l->done.number = l->done.synced_number = l->recovered.last_number;
        l->witnessed = true;
        note_accepted(l);
        err = segments_restore(l, error);
    }
    if (err == 0) /* after the first spare, which a start cannot do without */
        checkpoint_file_make_room(&l->directory, l->checkpoint_number, l->recovered.checkpoint_bytes);
    if (err == 0)
        err = make_workers(l);
    if (err == 0)
        err = start_threads(l);
    if (err != 0 && error[0] == '\0')
        set_error(error, "cannot start the log", err == FANQ_ERR_IO ? -EIO : err);
    return err;
}

/* ---- commits ---- */

static int waiting_reserve(struct log *l)
{
    size_t capacity = l->waiting_capacity > 0 ? l->waiting_capacity * 2 : 64;
    struct writer_job *jobs;

    if (l->waiting_count < l->waiting_capacity)
        return 0;
    jobs = malloc(capacity * sizeof(*jobs));
    if (jobs == NULL)
        return FANQ_ERR_NOMEM;
    for (size_t i = 0; i < l->waiting_count; i++)
        jobs[i] = l->waiting[(l->waiting_head + i) & (l->waiting_capacity - 1)];
    free(l->waiting);
    l->waiting = jobs;
    l->waiting_head = 0;
    l->waiting_capacity = capacity;
    return 0;
}

static void pass_on(struct log *l)
{
    size_t before = l->waiting_count;

    while (l->waiting_count > 0 && writer_submit(l->writer, &l->waiting[l->waiting_head])) {
        l->waiting_head = (l->waiting_head + 1) & (l->waiting_capacity - 1);
        l->waiting_count--;
    }
    if (l->waiting_count < before && l->writer_thread != NULL)
        worker_wake(l->writer_thread);
}

/* What would lie behind the last place that the index can name is not written, and never answered. */
static bool is_used_up(struct log *l, uint64_t lsn)
{
    if (lsn + l->directory.segment_bytes <= UINT64_C(1) << PLACE_LSN_BITS)
        return false;
    log_report(l, "this directory has had all of the %llu PiB that it can: go on in a new one",
               (unsigned long long)(UINT64_C(1) << (PLACE_LSN_BITS - 50)));
    l->error = -EOVERFLOW;
    l->options.notify(l->options.context);
    return true;
}

int log_append(struct log *l, const struct commit *commit)
{
    struct writer_job job = {.number = commit->number, .spare = WRITER_NO_SPARE};
    struct tail_commit placed;
    int err = waiting_reserve(l);

    if (err == 0)
        err = tail_append(l->tail, commit, &placed);
    if (err != 0)
        return err;
    if (l->error != 0 || is_used_up(l, placed.lsn))
        return 0; /* the log has ended: nothing is written any more, nor answered */
    job.data = placed.data;
    job.bytes = placed.bytes;
    job.lsn = placed.lsn;
    if (placed.lsn % l->directory.segment_bytes == 0) {
        err = segments_open(l, log_segment_of(l, placed.lsn), &job.spare);
        if (err != 0)
            return err;
    }
    l->end_lsn = placed.lsn + placed.bytes;
    l->last_number = commit->number;
    l->witnessed = commit->stream_count == 0 && commit->fact_count == 0;
    l->last_commit_ms = l->options.now_ns(l->options.context) / 1000000;
    l->waiting[(l->waiting_head + l->waiting_count++) & (l->waiting_capacity - 1)] = job;
    pass_on(l);
    return 0;
}

bool log_is_answered(const struct log *l)
{
    return l->done.number == l->last_number;
}

bool log_is_synced(const struct log *l)
{
    return l->done.synced_number == l->last_number;
}

bool log_wants_witness(const struct log *l, uint64_t now_ms)
{
    return !l->witnessed && log_is_synced(l) && now_ms >= l->last_commit_ms + LOG_WITNESS_MS;
}

/* ---- blocks that come back ---- */

static void submit_read(struct log *l, const struct fetch *f)
{
    uint64_t lsn = place_lsn(f->read.place);

    log_submit(l, &(struct store_job){
                      .kind = STORE_READ,
                      .owner = (void *)f,
                      .read = {.segment_kind = place_is_cold(f->read.place) ? DIRECTORY_COLD : DIRECTORY_LOG,
                               .number = log_segment_of(l, lsn),
                               .offset = lsn % l->directory.segment_bytes,
                               .bytes = f->read.bytes,
                               .data = f->read.data}});
    l->fetching_count++;
}

static struct fetch *fetch_at_once(struct log *l, uint64_t stream, uint64_t first_seq, uint64_t count)
{
    struct fetch *f = slab_take(&l->fetches);

    if (f == NULL)
        return NULL;
    f->read = (struct tail_read){.stream = stream, .first_seq = first_seq, .count = count};
    list_init(&f->link);
    list_append(&l->came, &f->link);
    return f;
}

enum fetch_result {
    FETCH_PENDING,
    FETCH_STARTED,
    FETCH_IN_MEMORY,
    FETCH_UNNEEDED, /* it has been forgotten since it was asked for */
    FETCH_NO_ROOM
};

enum { FETCHES_MAX = 128 };

_Static_assert(FETCHES_MAX + LOG_CHORES_MAX < STORE_JOBS_MAX, "the store takes what it is given");

/* Begins to read the block at seq, and moves seq behind it. */
static enum fetch_result fetch_block(struct log *l, uint64_t stream, uint64_t *seq, uint64_t *bytes)
{
    struct fetch *f = l->fetching_count < FETCHES_MAX ? slab_take(&l->fetches) : NULL;
    struct block block;
    int err;

    if (f == NULL)
        return FETCH_NO_ROOM;
    err = tail_fetch_begin(l->tail, stream, *seq, &f->read);
    if (err == 0) {
        list_init(&f->link);
        *seq = f->read.first_seq + f->read.count;
        *bytes += f->read.bytes;
        submit_read(l, f);
        return FETCH_STARTED;
    }
    slab_give(&l->fetches, f);
    if (err != FANQ_ERR_INVALID)
        return FETCH_NO_ROOM;
    if (!tail_block(l->tail, stream, *seq, &block)) {
        *seq = UINT64_MAX;
        return FETCH_UNNEEDED;
    }
    if (block.first_seq > *seq) {
        *seq = block.first_seq;
        return FETCH_UNNEEDED;
    }
    *seq = block.first_seq + block.count;
    return block.records != NULL ? FETCH_IN_MEMORY : FETCH_PENDING;
}

/* Reads [first, end), and what lies behind it as long as that is little. Gives the seq from which there was no room. */
static uint64_t fetch_range(struct log *l, uint64_t stream, uint64_t first, uint64_t end)
{
    uint64_t bytes = 0, seq = first;

    while (seq < end || (bytes > 0 && bytes < LOG_READ_AHEAD_BYTES)) {
        uint64_t from = seq;
        enum fetch_result result = fetch_block(l, stream, &seq, &bytes);
        if (result == FETCH_NO_ROOM)
            return from < end ? from : end;
        if (from >= end && result != FETCH_STARTED)
            break; /* reading ahead ends where something is in memory */
        if ((result == FETCH_IN_MEMORY || result == FETCH_UNNEEDED) &&
            fetch_at_once(l, stream, from, seq - from) == NULL)
            return from;
    }
    return end;
}

void log_fetch(struct log *l, uint64_t stream, uint64_t first_seq, uint64_t count)
{
    uint64_t end = first_seq + count;
    uint64_t from = list_empty(&l->wished) ? fetch_range(l, stream, first_seq, end) : first_seq;
    struct fetch_wish *wish;

    if (from >= end)
        return;
    wish = slab_take(&l->wishes);
    if (wish == NULL) {
        l->error = -ENOMEM; /* a queue would wait for ever */
        return;
    }
    *wish = (struct fetch_wish){.stream = stream, .first_seq = from, .end = end};
    list_init(&wish->link);
    list_append(&l->wished, &wish->link);
}

/* After the turn in which what came could be served: what is read now may take its place. */
void log_grant_wishes(struct log *l)
{
    struct list *link;

    while ((link = list_first(&l->wished)) != NULL) {
        struct fetch_wish *wish = container_of(link, struct fetch_wish, link);

        wish->first_seq = fetch_range(l, wish->stream, wish->first_seq, wish->end);
        if (wish->first_seq < wish->end)
            break;
        list_remove(link);
        slab_give(&l->wishes, wish);
    }
    if (!list_empty(&l->came))
        l->options.notify(l->options.context); /* some is in memory already */
}

bool log_read_is_right(const struct tail_read *read, const uint8_t *data)
{
    const struct block_header *block = (const struct block_header *)data;

    return block->stream == read->stream && block->first_seq == read->first_seq &&
           block->count == read->count && sizeof(*block) + block->bytes == read->bytes;
}

static void read_completed(struct log *l, const struct store_done *done)
{
    struct fetch *f = done->job.owner;
    int error = done->error;
    bool needed;

    if (error == 0 && !log_read_is_right(&f->read, f->read.data))
        error = -EBADMSG;
    l->fetching_count--;
    needed = tail_fetch_end(l->tail, &f->read, error == 0);
    if (error != 0 && needed) { /* else its segment may be gone, as it should be */
        log_report(l, "cannot read %u bytes at place %llx of the log: %s", f->read.bytes,
                   (unsigned long long)f->read.place,
                   error == -EBADMSG ? "they are damaged (fanqd --check says what is affected)"
                                     : strerror(-error));
        if (l->error == 0)
            l->error = error;
    }
    l->read_blocks++;
    l->read_bytes += f->read.bytes;
    list_append(&l->came, &f->link);
}

bool log_resident(struct log *l, uint64_t *ret_stream, uint64_t *ret_first_seq, uint64_t *ret_count)
{
    struct list *link = list_first(&l->came);
    struct fetch *f;

    if (link == NULL)
        return false;
    f = container_of(link, struct fetch, link);
    *ret_stream = f->read.stream;
    *ret_first_seq = f->read.first_seq;
    *ret_count = f->read.count;
    list_remove(link);
    slab_give(&l->fetches, f);
    return true;
}

/* ---- what the threads have done ---- */

static void take_store_completions(struct log *l)
{
    struct store_done done;

    while (store_done(l->store, &done)) {
        switch (done.job.kind) {
        case STORE_READ:
            if (done.job.owner == &l->relocation)
                relocation_read(l, &done);
            else
                read_completed(l, &done);
            break;
        case STORE_MOVE:
            relocation_written(l, &done);
            break;
        case STORE_CHECKPOINT:
            checkpoint_completed(l, &done);
            break;
        case STORE_PREPARE:
            spare_prepared(l, &done);
            break;
        case STORE_INDEX:
        case STORE_REMOVE:
            segments_completed(l, &done);
            break;
        }
    }
}

int log_poll(struct log *l, uint64_t *ret_synced)
{
    struct writer_done done;

    if (writer_done(l->writer, &done)) {
        l->done = done;
        if (done.error == 0)
            tail_written(l->tail, done.written_lsn);
        else if (l->error == 0)
            l->error = done.error;
    }
    take_store_completions(l);
    pass_on(l);
    *ret_synced = l->done.number;
    return l->error;
}

bool log_work_writer(struct log *l)
{
    return writer_work(l->writer);
}

bool log_work_store(struct log *l)
{
    return store_work(l->store);
}
