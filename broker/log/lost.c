#include "recovery_state.h"

#include <inttypes.h>
#include <stdio.h>

enum { CONTENT_BYTES = 256, COMMITS_BYTES = 64, BLOCKS_TOLD_MAX = 4 };

struct where {
    char segment[DIRECTORY_NAME_BYTES_MAX];
    uint64_t offset;
};

/* LSN 0, before the first commit of all, is where the first segment begins, number 1. */
static struct where where_is(const struct recovery *r, uint64_t lsn)
{
    struct where w = {.offset = lsn % r->directory->segment_bytes};
    uint64_t number = lsn / r->directory->segment_bytes;

    directory_segment_name(w.segment, r->scan.kind, r->scan.kind == DIRECTORY_LOG && lsn == 0 ? 1 : number);
    return w;
}

/* ---- one commit of which the header can be read ---- */

/* Says which messages a commit had, as far as the headers of its blocks lead from one to the next. */
static void describe_blocks(const struct recovery *r, const struct commit_header *commit, char *text,
                            size_t size)
{
    uint64_t at = commit->lsn + sizeof(*commit),
             end = commit->lsn + commit->bytes - commit->fact_bytes - sizeof(struct commit_trailer);
    struct block_header b;
    size_t used = 0;

    text[0] = '\0';
    for (uint32_t i = 0; i < commit->block_count && at + sizeof(b) <= end && end <= scan_end(&r->scan); i++) {
        b = *(const struct block_header *)(r->scan.data + (at - scan_start(&r->scan)));
        if (b.count == 0 || b.bytes > end - at - sizeof(b))
            break;
        if (i < BLOCKS_TOLD_MAX && used < size)
            used += (size_t)snprintf(text + used, size - used,
                                     "messages %" PRIu64 " to %" PRIu64 " of stream %" PRIu64 ", ",
                                     b.first_seq, b.first_seq + b.count - 1, b.stream);
        at += sizeof(b) + b.bytes;
    }
}

static void tell_commit(struct recovery *r, const struct commit_header *commit)
{
    struct where w = where_is(r, commit->lsn);
    char blocks[CONTENT_BYTES];

    describe_blocks(r, commit, blocks, sizeof(blocks));
    recovery_report(r,
                    "%s, offset %" PRIu64 ": commit %" PRIu64 " is damaged; it had %s%s%u blocks, %u facts",
                    w.segment, w.offset, commit->number, blocks, blocks[0] != '\0' ? "in all " : "",
                    commit->block_count, commit->fact_count);
}

/* ---- stretches without a header ---- */

static bool is_there(const struct recovery *r, uint64_t number)
{
    for (size_t i = 0; i < r->segment_count; i++)
        if (r->segments[i].number == number)
            return true;
    return false;
}

/* Names the first segments between here and there that have no file; most often there is one, or none. */
static void tell_missing(struct recovery *r, uint64_t end)
{
    uint64_t from = r->lost_lsn / r->directory->segment_bytes, last = end / r->directory->segment_bytes;
    char name[DIRECTORY_NAME_BYTES_MAX];

    for (uint64_t n = from, told = 0; n < last && told < BLOCKS_TOLD_MAX; n++) {
        if (r->scan.kind == DIRECTORY_COLD || n == 0 || is_there(r, n))
            continue;
        directory_segment_name(name, DIRECTORY_LOG, n);
        recovery_report(r, "there is no %s", name);
        told++;
    }
}

/* "commits 18 to 20 are", "commit 18 is"; when it is not known what came before, "commits before 21 are". */
static void name_commits(const struct recovery *r, uint64_t last, char *text, size_t size)
{
    if (r->lost_number == 0 && r->last.anywhere)
        snprintf(text, size, "commits before %" PRIu64 " are", last + 1);
    else if (last == r->lost_number + 1)
        snprintf(text, size, "commit %" PRIu64 " is", last);
    else
        snprintf(text, size, "commits %" PRIu64 " to %" PRIu64 " are", r->lost_number + 1, last);
}

static void tell_stretch(struct recovery *r, const struct commit_header *next)
{
    struct where from = where_is(r, r->lost_lsn), to = where_is(r, next->lsn);
    char commits[COMMITS_BYTES];

    if (next->lsn == r->lost_lsn || next->number <= r->lost_number + 1)
        return;
    name_commits(r, next->number - 1, commits, sizeof(commits));
    tell_missing(r, next->lsn);
    recovery_report(r,
                    "%s, offset %" PRIu64 ", to %s, offset %" PRIu64
                    ": %s damaged or missing; what was there cannot be read",
                    from.segment, from.offset, to.segment, to.offset, commits);
}

/* ---- going over it ---- */

void recovery_lost_begin(struct recovery *r)
{
    recovery_damaged(r, r->scan.kind, r->last.end);
    r->lost_lsn = r->last.end;
    r->lost_number = r->last.number;
}

/* What has been told of, what an earlier run left in the segment's life before, and what a later run cut off. */
static bool is_other(const struct recovery *r, const struct commit_header *header)
{
    return header->epoch < r->last.epoch ||
           (header->epoch == r->last.epoch && header->number <= r->lost_number) ||
           (header->kind == COMMIT_LOG && recovery_superseded(r, header));
}

/* Where the log stood when the commit was made. */
static uint64_t made_at(const struct commit_header *header)
{
    return header->kind == COMMIT_LOG ? header->previous_end : header->lsn;
}

const struct commit_header *recovery_lost_until_next(struct recovery *r, uint64_t lsn, uint64_t end)
{
    const struct commit_header *h;

    while ((h = scan_next_header(&r->scan, lsn)) != NULL) {
        lsn = h->lsn + COMMIT_ALIGNMENT;
        if (is_other(r, h) || made_at(h) >= end)
            continue;
        recovery_damaged(r, r->scan.kind, h->lsn);
        tell_stretch(r, h);
        if (scan_commit(&r->scan, h->lsn) != NULL)
            return h;
        tell_commit(r, h);
        r->lost_lsn = lsn = commit_end(h);
        r->lost_number = h->number;
    }
    return NULL;
}

void recovery_lost_rest(struct recovery *r, uint64_t end)
{
    struct where from = where_is(r, r->lost_lsn), to = where_is(r, end);
    char commits[COMMITS_BYTES] = "the first commits";

    if (r->lost_lsn >= end)
        return;
    if (r->lost_number > 0)
        snprintf(commits, sizeof(commits), "the commits behind commit %" PRIu64, r->lost_number);
    recovery_damaged(r, r->scan.kind, end);
    tell_missing(r, end);
    recovery_report(r,
                    "%s, offset %" PRIu64 ", to %s, offset %" PRIu64
                    ": %s are damaged or missing; what was there cannot be read",
                    from.segment, from.offset, to.segment, to.offset, commits);
}
