/* The newest part of the log, in memory; in memory mode all there is.
 *
 * Place:    the loop's thread alone (with a log file, the log thread will read below the mark it is told).
 * Layout:   a row of segment images. What a turn brings is one commit: header, blocks (each with a header of
 *           its own in front of its records), at a multiple of 64 bytes, whole in one segment (commit.h).
 *           Address space by the segment; memory is held and given back by the page of 1 MiB (pages.h).
 * Index:    per stream, from seq to block: a row of entries in seq order, shared by all queues (index.h).
 * Freeing:  a page counts the blocks in it that some queue still needs, and the pins of deliveries under way.
 *           At zero it is given back, or kept warm for the next commits. When nothing in a segment lives, it
 *           is filled from its beginning again, so that a broker whose consumers keep up runs in the
 *           processor's cache.
 * Limits:   tail_room() tells what may be appended; the caller refuses publishes beyond it. An append within
 *           it succeeds unless the system refuses memory. */
#pragma once

#include "core/core.h"

struct tail;

struct tail_options {
    uint64_t memory_bytes_max; /* pages held, and the index of their blocks */
    uint64_t segment_bytes;    /* a multiple of TAIL_PAGE_BYTES; the largest commit must fit in half of one */
    uint64_t epoch;            /* of this run; stands in every commit */
};

enum { TAIL_PAGE_BYTES = 1024 * 1024 };

int tail_new(const struct tail_options *options, struct tail **ret_tail);
void tail_free(struct tail *t); /* accepts NULL */

/* How many bytes of records, in any number of publishes, may be appended now without holding more than
 * memory_bytes_max. An estimate on the safe side: headers, alignment and page ends are allowed for. */
uint64_t tail_room(const struct tail *t);

/* Copies a commit in. 0 or FANQ_ERR_NOMEM (nothing changed). */
int tail_append(struct tail *t, const struct commit *commit);

/* The view's block(): context is the tail. */
bool tail_block(void *tail, uint64_t stream, uint64_t seq, struct block *ret_block);

/* Messages of the stream below seq are not needed any more. */
void tail_trim(struct tail *t, uint64_t stream, uint64_t seq);
void tail_stream_end(struct tail *t, uint64_t stream);

/* Keeps the pages under [data, data + length) until the matching tail_unpin(). data points into a block that
 * lives now. */
void tail_pin(struct tail *t, const uint8_t *data, size_t length);
void tail_unpin(struct tail *t, const uint8_t *data, size_t length);

struct tail_figures {
    uint64_t held_bytes; /* pages, also those few that are kept warm for the next commits */
    uint64_t live_blocks;
    uint64_t commits, commit_bytes; /* totals; headers included, padding between commits not */
};

void tail_figures(const struct tail *t, struct tail_figures *ret_figures);
