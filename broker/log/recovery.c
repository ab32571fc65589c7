#include "recovery.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "place.h"
#include "proto/fanq_error.h"
#include "recovery_state.h"

enum { REPORT_BYTES = 512 };

/* ---- telling ---- */

void recovery_report(struct recovery *r, const char *format, ...)
{
    const struct recovery_sink *sink = &r->options->sink;
    char text[REPORT_BYTES];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    sink->report(sink->context, text);
}

/* A cold segment is accepted as a whole. */
static bool was_accepted(const struct recovery *r, enum directory_kind kind, uint64_t end)
{
    const struct checkpoint *c = r->checkpoint;

    if (c == NULL)
        return false;
    return kind == DIRECTORY_COLD ? end <= c->accepted_cold * r->directory->segment_bytes
                                  : end <= c->accepted_lsn;
}

void recovery_damaged(struct recovery *r, enum directory_kind kind, uint64_t end)
{
    if (was_accepted(r, kind, end)) {
        r->passed_over = true;
        return;
    }
    r->result.loss = true;
    if (!r->options->accept_loss)
        r->result.damaged = true;
}

int recovery_io_error(struct recovery *r, const char *what, int err)
{
    if (err == -ENOMEM)
        return FANQ_ERR_NOMEM;
    recovery_report(r, "cannot read %s: %s", what, strerror(-err));
    return FANQ_ERR_IO;
}

int recovery_tell_block(struct recovery *r, const struct block_header *block, uint64_t place, bool behind)
{
    const struct recovery_sink *sink = &r->options->sink;

    r->result.blocks++;
    return r->result.damaged ? 0 : sink->block(sink->context, block, place, behind);
}

static int tell_facts(struct recovery *r, const uint8_t *facts, uint64_t bytes, uint64_t count,
                      bool of_checkpoint)
{
    const struct recovery_sink *sink = &r->options->sink;

    r->result.fact_count += count;
    return bytes == 0 || r->result.damaged ? 0
                                           : sink->facts(sink->context, facts, bytes, count, of_checkpoint);
}

/* ---- walking ---- */

int recovery_load(struct recovery *r, enum directory_kind kind, uint64_t number)
{
    char name[DIRECTORY_NAME_BYTES_MAX];
    int err = scan_load(&r->scan, kind, number);

    if (err == 0)
        return 0;
    directory_segment_name(name, kind, number);
    return recovery_io_error(r, name, err);
}

/* Moved commits have a chain within their segment, which says no place. */
bool recovery_continues(const struct cursor *last, const struct commit_header *commit)
{
    if (last->anywhere)
        return true;
    return commit->number == last->number + 1 && commit->epoch >= last->epoch &&
           (commit->previous_end == last->end || commit->kind == COMMIT_MOVED) &&
           (commit->previous_hash == last->hash || !last->hash_known);
}

static int take(struct recovery *r, const struct commit_header *commit, bool behind)
{
    uint64_t place_bit = commit->kind == COMMIT_MOVED ? PLACE_COLD : 0;
    int err = 0;

    for (const struct block_header *b = commit_next_block(commit, NULL); b != NULL && err == 0;
         b = commit_next_block(commit, b)) {
        uint64_t offset = (uint64_t)((const uint8_t *)b - (const uint8_t *)commit);
        err = recovery_tell_block(r, b, place_bit | (commit->lsn + offset), behind);
    }
    if (err == 0 && behind)
        err = tell_facts(r, commit_facts(commit), commit->fact_bytes, commit->fact_count, false);
    if (err != 0)
        return err;
    r->result.commits++;
    if (commit->kind == COMMIT_LOG && commit->synced_lsn > r->result.proven_lsn)
        r->result.proven_lsn = commit->synced_lsn;
    r->last = (struct cursor){.hash_known = true,
                              .number = commit->number,
                              .end = commit_end(commit),
                              .hash = commit_hash(commit),
                              .epoch = commit->epoch};
    return 0;
}

int recovery_walk(struct recovery *r, uint64_t lsn, uint64_t end, bool behind)
{
    int err = 0;

    while (err == 0 && lsn < end && lsn < scan_end(&r->scan)) {
        const struct commit_header *commit = scan_commit(&r->scan, lsn);
        if (commit == NULL || !recovery_continues(&r->last, commit))
            break;
        err = take(r, commit, behind);
        lsn = commit_end(commit);
    }
    return err;
}

/* ---- what there is ---- */

size_t recovery_segment_at(const struct recovery *r, uint64_t lsn)
{
    size_t first = 0, end = r->segment_count;

    while (first < end) {
        size_t middle = first + (end - first) / 2;
        if (r->segments[middle].number < lsn / r->directory->segment_bytes)
            first = middle + 1;
        else
            end = middle;
    }
    return first;
}

/* Whether the segment is there in which the log had come to this end, and is one of that run. */
static bool ended_in_run(const struct recovery *r, uint64_t end, uint64_t epoch)
{
    size_t i = end > 0 ? recovery_segment_at(r, end - 1) : r->segment_count;
    const struct segment *s = &r->segments[i];

    return i < r->segment_count && recovery_segment_start(r, s) < end && s->has_header &&
           s->first_epoch == epoch;
}

/* Its own commits say so, a later run's that went on behind one of its segments, or the checkpoint. */
static uint64_t find_proven(const struct recovery *r, uint64_t epoch)
{
    uint64_t proven = 0;

    if (r->checkpoint != NULL && ended_in_run(r, r->checkpoint->lsn, epoch))
        proven = r->checkpoint->lsn;
    for (size_t i = 0; i < r->segment_count; i++) {
        const struct segment *s = &r->segments[i];
        const struct commit_header *first = &s->opening.header;

        if (s->has_header && s->first_epoch == epoch)
            proven = recovery_highest(proven, s->witnessed_lsn);
        if (s->opening.valid && first->epoch == epoch)
            proven = recovery_highest(proven, first->synced_lsn);
        if (s->opening.valid && first->epoch > epoch && ended_in_run(r, first->previous_end, epoch))
            proven = recovery_highest(proven, first->previous_end);
    }
    return proven;
}

uint64_t recovery_run_proven(struct recovery *r, uint64_t epoch)
{
    if (r->proven_epoch != epoch || r->proven_searched != r->searched) {
        r->proven_lsn = find_proven(r, epoch);
        r->proven_epoch = epoch;
        r->proven_searched = r->searched;
    }
    return r->proven_lsn;
}

/* Numbers are given in the order of the log, and a run goes on with the number that it finds. So what a run cut off has a
 * number that a later run's first commits had again, or passed. */
bool recovery_superseded(const struct recovery *r, const struct commit_header *commit)
{
    uint64_t number = commit->lsn / r->directory->segment_bytes;

    for (size_t i = r->segment_count; i-- > 0 && r->segments[i].number > number;) {
        const struct segment *s = &r->segments[i];
        if (s->has_header && s->first_epoch > commit->epoch && s->first_number <= commit->number)
            return true;
    }
    return false;
}

/* The same for the first commits of all segments, from the last one on. */
static void mark_superseded(struct recovery *r)
{
    uint64_t epoch = UINT64_MAX, number = UINT64_MAX; /* the least number of the epoch that is gone over */
    uint64_t later_number = UINT64_MAX;               /* and of all epochs after it */

    for (size_t i = r->segment_count; i-- > 0;) {
        struct segment *s = &r->segments[i];
        if (!s->has_header)
            continue;
        if (s->first_epoch < epoch) {
            later_number = number < later_number ? number : later_number;
            epoch = s->first_epoch;
            number = UINT64_MAX;
        }
        number = s->first_number < number ? s->first_number : number;
        s->superseded = later_number <= s->first_number;
    }
}

static int open_segment(struct recovery *r, struct segment *s)
{
    const struct commit_header *header = &s->opening.header;
    char name[DIRECTORY_NAME_BYTES_MAX];
    int err = scan_open(r->directory, DIRECTORY_LOG, s->number, &s->opening);

    directory_segment_name(name, DIRECTORY_LOG, s->number);
    if (err != 0)
        return recovery_io_error(r, name, err);
    if (!s->opening.valid) {
        err = recovery_load(r, DIRECTORY_LOG, s->number);
        if (err != 0)
            return err;
        header = scan_next_header(&r->scan, scan_start(&r->scan));
    }
    s->has_header = header != NULL;
    if (header != NULL) {
        s->first_epoch = header->epoch;
        s->first_number = header->number;
    }
    return 0;
}

static int open_segments(struct recovery *r, const struct directory_segment *found, size_t count)
{
    int err = 0;

    r->segments = calloc(count > 0 ? count : 1, sizeof(*r->segments));
    if (r->segments == NULL)
        return FANQ_ERR_NOMEM;
    for (size_t i = 0; err == 0 && i < count; i++) {
        if (found[i].kind != DIRECTORY_LOG)
            continue;
        r->segments[r->segment_count] =
            (struct segment){.number = found[i].number, .has_index = found[i].has_index};
        err = open_segment(r, &r->segments[r->segment_count++]);
    }
    mark_superseded(r);
    return err;
}

static void note_numbers(struct recovery *r, const struct directory_segment *found, size_t count)
{
    struct recovered *result = &r->result;

    result->next_log_number = result->next_cold_number = 1;
    if (r->checkpoint != NULL && r->checkpoint->lsn > 0)
        result->next_log_number = (r->checkpoint->lsn - 1) / r->directory->segment_bytes + 1;
    for (size_t i = 0; i < count; i++) {
        uint64_t *next =
            found[i].kind == DIRECTORY_COLD ? &result->next_cold_number : &result->next_log_number;
        if (found[i].kind != DIRECTORY_SPARE && found[i].number >= *next)
            *next = found[i].number + 1;
    }
}

static int open_checkpoint(struct recovery *r)
{
    int err = checkpoints_read(r->directory, &r->checkpoints);

    if (err == FANQ_ERR_IO)
        recovery_report(r, "cannot read %s or %s", checkpoint_name(1), checkpoint_name(2));
    if (err != 0)
        return err;
    for (int i = 0; i < r->checkpoints.damaged_count; i++)
        recovery_report(r, "%s is damaged; the log is replayed from %s", r->checkpoints.damaged[i],
                        r->checkpoints.count > 0 ? "the other checkpoint" : "its beginning");
    if (r->checkpoints.count == 0)
        return 0;
    r->checkpoint = &r->checkpoints.items[0];
    r->result.checkpoint_lsn = r->result.proven_lsn = r->checkpoint->lsn;
    r->result.checkpoint_number = r->checkpoint->number;
    r->result.checkpoint_bytes = CHECKPOINT_FRAME_BYTES + r->checkpoint->fact_bytes;
    return 0;
}

/* ---- the order of things ---- */

static int recover_log(struct recovery *r)
{
    uint64_t segment_bytes = r->directory->segment_bytes;
    size_t i = 0;
    int err = 0;

    r->scan.kind = DIRECTORY_LOG; /* of it all is that is told from here on, even if nothing is loaded */
    r->scan.length = 0; /* what is loaded is a cold segment, which may have the number of one of the log */
    r->last = (struct cursor){.hash_known = true}; /* the first commit names number, end and hash zero */
    if (r->checkpoint != NULL && r->checkpoint->lsn > 0) {
        uint64_t number = (r->checkpoint->lsn - 1) / segment_bytes;
        for (; err == 0 && i < r->segment_count && r->segments[i].number < number; i++)
            err = recovery_sealed_segment(r, i);
        if (err == 0)
            err = recovery_reach_checkpoint(r, i);
    }
    return err != 0 ? err : recovery_replay(r);
}

/* A file that came here by mistake: behind its number the log would go on, at places that the index cannot name. */
static int refuse_strange_numbers(struct recovery *r, const struct directory_segment *found, size_t count)
{
    uint64_t numbers = (UINT64_C(1) << PLACE_LSN_BITS) / r->directory->segment_bytes;
    char name[DIRECTORY_NAME_BYTES_MAX];

    for (size_t i = 0; i < count; i++) {
        if (found[i].kind == DIRECTORY_SPARE || found[i].number < numbers / 2)
            continue;
        directory_segment_name(name, found[i].kind, found[i].number);
        recovery_report(r, "%s has a number that no log comes to; it is not of this one: take it away", name);
        return FANQ_ERR_IO;
    }
    return 0;
}

static int recover(struct recovery *r, const struct directory_segment *found, size_t count)
{
    int err = refuse_strange_numbers(r, found, count);

    if (err == 0)
        err = open_checkpoint(r);
    if (err == 0)
        err = open_segments(r, found, count);
    if (err != 0)
        return err;
    note_numbers(r, found, count);
    if (r->checkpoint != NULL)
        err = tell_facts(r, r->checkpoint->facts, r->checkpoint->fact_bytes, r->checkpoint->fact_count, true);
    for (size_t i = 0; err == 0 && i < count; i++)
        if (found[i].kind == DIRECTORY_COLD)
            err = recovery_cold_segment(r, &found[i]);
    return err != 0 ? err : recover_log(r);
}

static void finish(struct recovery *r)
{
    struct recovered *result = &r->result;

    result->end_lsn = r->last.end;
    result->last_number = r->last.number;
    result->last_hash = r->last.hash;
    result->last_epoch = r->last.epoch;
    if (result->proven_lsn > result->end_lsn)
        result->proven_lsn = result->end_lsn;
    result->bytes_read = r->scan.bytes_read;
    if (r->checkpoint != NULL) {
        result->accepted_lsn = r->checkpoint->accepted_lsn;
        result->accepted_cold = r->checkpoint->accepted_cold;
    }
    if (r->passed_over)
        recovery_report(r,
                        "the loss of what lies before segment %" PRIu64 " was accepted at an earlier start",
                        result->accepted_lsn / r->directory->segment_bytes);
}

int recovery_run(const struct recovery_options *options, struct recovered *ret_recovered)
{
    struct recovery r = {.options = options, .directory = options->directory};
    struct directory_segment *found = NULL;
    size_t count = 0;
    int err = scan_init(&r.scan, options->directory);

    if (err == 0)
        err = directory_segments(options->directory, &found, &count);
    if (err != 0)
        err = recovery_io_error(&r, "the directory", err);
    if (err == 0)
        err = recover(&r, found, count);
    if (err == 0) {
        finish(&r);
        *ret_recovered = r.result;
    }
    free(found);
    free(r.segments);
    checkpoints_free(&r.checkpoints);
    scan_close(&r.scan);
    return err;
}

/* ---- making it safe ---- */

enum { SECURE_BYTES = 1024 * 1024 };

/* Reads and writes [from, end) of a file. What the system has in memory is what was recovered, and what is written now is
 * dirty again, so that the sync behind it means something. The padding of a last commit may be what was torn off: it is made
 * whole, so that everyone finds its end in the file. */
static int rewrite(const struct io *io, int file, uint64_t from, uint64_t end, uint8_t *buffer)
{
    size_t length = SECURE_BYTES;
    int err = 0;

    while (err == 0 && from < end && length > 0) {
        size_t wanted = end - from < SECURE_BYTES ? (size_t)(end - from) : SECURE_BYTES;
        size_t padded;
        err = io_read(io, file, buffer, wanted, from, &length);
        if (err != 0)
            break;
        padded = (size_t)(commit_bytes_aligned(from + length) - from);
        memset(buffer + length, 0, padded - length);
        err = io_write(io, file, buffer, padded, from);
        from += padded;
    }
    return err != 0 ? err : io->sync(io->context, file);
}

static int secure_segment(const struct directory *d, uint64_t number, uint64_t from, uint64_t end,
                          uint8_t *buffer)
{
    uint64_t start = number * d->segment_bytes;
    char name[DIRECTORY_NAME_BYTES_MAX];
    int file, err;

    from = from > start ? from - start : 0;
    end = end - start < d->segment_bytes ? end - start : d->segment_bytes;
    directory_segment_name(name, DIRECTORY_LOG, number);
    err = d->io.open(d->io.context, name, IO_READ | IO_WRITE, &file);
    if (err == -ENOENT)
        return 0; /* a run ended in the segment before: its commits are elsewhere */
    if (err != 0)
        return err;
    err = rewrite(&d->io, file, from, end, buffer);
    d->io.close(d->io.context, file);
    return err;
}

int recovery_secure(const struct recovery_options *options, const struct recovered *recovered)
{
    const struct directory *d = options->directory;
    uint64_t from = recovered->proven_lsn, end = recovered->end_lsn;
    uint8_t *buffer = from < end ? malloc(SECURE_BYTES) : NULL;
    int err = from < end && buffer == NULL ? -ENOMEM : 0;

    for (uint64_t n = from / d->segment_bytes; err == 0 && from < end && n <= (end - 1) / d->segment_bytes;
         n++)
        err = secure_segment(d, n, from, end, buffer);
    if (err == 0 && from < end)
        err = d->io.sync_directory(d->io.context); /* the names of the segments, too */
    free(buffer);
    if (err != 0)
        recovery_report(&(struct recovery){.options = options}, "cannot write the end of the log again: %s",
                        strerror(-err));
    return err == 0 ? 0 : FANQ_ERR_IO;
}
