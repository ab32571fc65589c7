/* The newest part of the log, in memory; in memory mode all there is. And the index of all of it: where each message is,
 * in memory, on the disk, or both.
 *
 * Place:     the loop's thread alone. The log thread reads, and fills hashes into, commits that it was handed: they are kept
 *            until tail_written().
 * Layout:    what a turn brings is one commit: header, blocks (each with a header of its own in front of its records), facts,
 *            at a multiple of 64 bytes (commit.h). Its place in the log is the next one, whole in one segment of it. Its place
 *            in memory is another matter: address space by the segment, held and given back by the page of 1 MiB (pages.h),
 *            and filled again as soon as nothing in it lives, so that what is short-lived stays in the processor's cache.
 * Index:     per stream, from seq to block: a row of entries in seq order, shared by all queues (index.h). With a log an
 *            entry stays when its block leaves memory, and says where it lies on the disk (place.h).
 * Freeing:   a page counts the blocks in it that some queue still needs, and the pins of deliveries under way.
 *            At zero it is given back, or kept warm for the next commits.
 * Moving:    a page with few needed blocks in it is emptied by copying what is needed of them to another place
 *            (tail_sweep()): one old message costs its own bytes, not its neighbours'. Copies and blocks that were read back
 *            from the disk are placed apart from what is appended, since they live longer, or shorter.
 * Residency: with a log, written blocks leave memory, oldest first, when the limit is reached, and come back by
 *            tail_fetch_begin() into a cache of bounded size.
 * Limits:    tail_room() tells what may be appended; the caller refuses publishes beyond it. An append within
 *            it succeeds unless the system refuses memory. */
#pragma once

#include "commit.h"
#include "core/core.h"
#include "place.h"

struct tail;

struct tail_options {
    uint64_t memory_bytes_max; /* pages held, and the index of their blocks */
    uint64_t segment_bytes;    /* a multiple of TAIL_PAGE_BYTES; the largest commit must fit in half of one */
    uint64_t epoch;            /* of this run; stands in every commit */
    bool log;                  /* commits are written to a log: they have places, and may leave memory */
    uint64_t cache_bytes_max;  /* with a log: of memory_bytes_max, for blocks that were read back */
};

/* A multiple of the system's pages; tests of small logs are built with a small one. */
#ifndef TAIL_PAGE_BYTES
#define TAIL_PAGE_BYTES (1024 * 1024)
#endif

int tail_new(const struct tail_options *options, struct tail **ret_tail);
void tail_free(struct tail *t); /* accepts NULL */

/* How many bytes of records, in any number of publishes, may be appended now without holding more than
 * memory_bytes_max. An estimate on the safe side: headers, alignment and page ends are allowed for. What is written may
 * leave memory, so it does not count. Facts are always taken. */
uint64_t tail_room(const struct tail *t);

/* A commit as it lies in memory, complete but for its hashes and synced_lsn. */
struct tail_commit {
    uint8_t *data;
    uint32_t bytes; /* padding included */
    uint64_t lsn;
};

/* Copies a commit in. 0 or FANQ_ERR_NOMEM (nothing changed). With a log, ret_commit (else NULL) says what to write; its
 * memory is kept until tail_written(). */
int tail_append(struct tail *t, const struct commit *commit, struct tail_commit *ret_commit);

/* All commits below lsn are written: their memory may go. */
void tail_written(struct tail *t, uint64_t lsn);

/* The view's block(): context is the tail. */
bool tail_block(void *tail, uint64_t stream, uint64_t seq, struct block *ret_block);

/* Messages of the stream below seq are not needed any more. */
void tail_trim(struct tail *t, uint64_t stream, uint64_t seq);
void tail_stream_end(struct tail *t, uint64_t stream);

/* Keeps the pages under [data, data + length) until the matching tail_unpin(). data points into a block that
 * lives now. */
void tail_pin(struct tail *t, const uint8_t *data, size_t length);
void tail_unpin(struct tail *t, const uint8_t *data, size_t length);

/* ---- moving what is left of a page ---- */

enum { TAIL_WANTED_MAX = 4096 }; /* messages that are asked about at once */

/* The core's core_mark_wanted(), or a test's. */
struct tail_wanted {
    void *context;
    /* Sets the bits, bit 0 for first, of those of [first, end) of the stream that some queue needs. */
    void (*mark)(void *context, uint64_t stream, uint64_t first, uint64_t end, uint64_t *bits);
};

/* Looks at some blocks, going round; forgets those of which nothing is wanted, and in memory mode copies what is wanted of
 * blocks in pages of which little lives. At most blocks_max blocks are looked at. Gives whether a whole round has ended
 * with this call. To be called when memory is short, or half of it is held by little that lives. */
bool tail_sweep(struct tail *t, const struct tail_wanted *wanted, uint32_t blocks_max);

/* Whether a sweep is worth its time: much more is held than lives. */
bool tail_wants_sweep(const struct tail *t);

/* ---- with a log: leaving memory, and coming back ---- */

/* Lets written blocks go, oldest first, until what is held is below memory_bytes_max with room for another turn. */
void tail_evict(struct tail *t);

/* A block on its way into memory. */
struct tail_read {
    uint64_t stream, first_seq, count;
    uint64_t place;
    uint8_t *data;  /* of the header: the block is to be put here, and is kept */
    uint32_t bytes; /* header and records */
};

/* Makes ready to read the block of the stream that holds seq. 0; FANQ_ERR_INVALID: nothing of it is absent (it is in
 * memory, on its way, or not needed); FANQ_ERR_NO_ROOM: the cache is full of what is on its way. */
int tail_fetch_begin(struct tail *t, uint64_t stream, uint64_t seq, struct tail_read *ret_read);

/* It has come, and is checked; or it has not. Afterwards it may leave again whenever there is need. False: meanwhile it is not
 * needed any more, or is needed from another place, so that not to have it harms nobody. */
bool tail_fetch_end(struct tail *t, const struct tail_read *read, bool came);

/* ---- with a log: segments ---- */

/* The bytes, headers included, of blocks in the segment of the log (or of moved blocks: cold) that are needed still. */
uint64_t tail_segment_live_bytes(const struct tail *t, bool cold, uint64_t segment);

/* The same without what the last sweep found to be unwanted inside of blocks: an estimate. */
uint64_t tail_segment_wanted_bytes(const struct tail *t, bool cold, uint64_t segment);

/* Gives up to count_max blocks of which the newest copy lies in that segment, in any order, for moving them. */
size_t tail_segment_blocks(const struct tail *t, bool cold, uint64_t segment, struct tail_read *ret_blocks,
                           size_t count_max);

/* The block lies at another place now (sealed and synced there): with fewer records, perhaps, at its ends. False: it is not
 * needed any more, or was moved. */
bool tail_moved(struct tail *t, uint64_t stream, uint64_t first_seq, uint64_t old_place, uint64_t new_place,
                const struct block_header *copy);

/* ---- with a log: at start ---- */

/* A block that lies in the log: in any order, copies of one another included (of those that overlap, what lies in the log
 * itself is taken rather than a moved copy, which may lack what was deleted but not yet safely so). 0 or FANQ_ERR_NOMEM. */
int tail_restore_block(struct tail *t, const struct block_header *block, uint64_t place);

/* All blocks were told. Appending begins in the segment of next_lsn (the first place of a segment); previous_end: of the
 * last commit that was recovered, 0: none. */
int tail_restore_end(struct tail *t, uint64_t next_lsn, uint64_t previous_end);

/* Calls each with the number of every stream that has blocks. */
void tail_streams(const struct tail *t, void (*each)(void *context, uint64_t stream), void *context);

struct tail_figures {
    uint64_t unwanted_bytes; /* with a log: inside of live blocks, as the last sweep found */
    uint64_t held_bytes;     /* pages, also those few that are kept warm for the next commits */
    uint64_t live_blocks;
    uint64_t live_bytes;                /* of blocks, headers included, in memory or not */
    uint64_t cached_bytes;              /* of blocks that were read back */
    uint64_t commits, commit_bytes;     /* totals; headers included, padding between commits not */
    uint64_t moved_blocks, moved_bytes; /* totals */
    uint64_t swept_bytes;               /* total: of blocks, or parts of them, that the sweep forgot */
};

void tail_figures(const struct tail *t, struct tail_figures *ret_figures);
