/* A log written commit by commit onto a simulated disk, with a book of what is in it, for tests of those who read it.
 *
 * It writes as the broker does: a run begins a segment of its own, a commit that does not fit opens the next one, all
 * that is written is lost by a crash until log_draft_sync(), and every commit says what was synced when it was made. But
 * it is told what to do and when, it keeps segments small, and it may leave more unsynced than the broker would. What stands
 * in a commit follows from its number and its token. */
#pragma once

#include "log/directory.h"
#include "log/recovery.h"
#include "random.h"
#include "sim_disk.h"

enum { LOG_DRAFT_DIRTY_MAX = 16 };

/* A commit of the book. */
struct log_drafted {
    uint64_t number, epoch, lsn, end, synced_lsn;
    uint64_t token; /* stands in its facts, and as time in its blocks */
    uint32_t bytes, block_count;
    uint8_t *image;
};

struct log_draft {
    struct sim_disk *disk;
    struct directory directory;
    struct random random;
    struct log_drafted *commits; /* the chain, from number 1 on */
    uint64_t count, capacity;
    struct log_drafted *cut; /* what recoveries did not find; some of it may be on the disk */
    uint64_t cut_count;
    uint64_t lsn;           /* of the next commit */
    uint64_t synced_lsn;    /* what the next commit says */
    uint64_t synced_number; /* what was answered: must never be lost */
    uint64_t checkpoint_number, checkpoint_lsn, older_lsn;
    struct {
        int file;
        uint64_t number;
    } dirty[LOG_DRAFT_DIRTY_MAX]; /* files written since the last sync, the newest last */
    int dirty_count;
};

/* A new directory, and its first run. Borrows the disk. */
void log_draft_init(struct log_draft *d, struct sim_disk *disk, uint64_t segment_bytes, uint64_t seed);
void log_draft_close(struct log_draft *d);

/* The disk crashed, or was killed: nothing is open any more. */
void log_draft_crashed(struct log_draft *d);

/* A new run, on what recovery found; what it did not find is struck off the book. */
void log_draft_run(struct log_draft *d, const struct recovered *recovered);

/* Writes the next commit, of so many blocks, and bytes of records in each. */
void log_draft_commit(struct log_draft *d, uint32_t block_count, uint32_t block_bytes);
void log_draft_sync(struct log_draft *d);
/* Leaves what is left of the segment empty. */
void log_draft_next_segment(struct log_draft *d);
/* Makes the next segment's file of an old one, with all that is in it. */
void log_draft_recycle(struct log_draft *d, uint64_t number);
/* A checkpoint behind the newest commit, all being synced. Its one fact is that commit's number. */
void log_draft_checkpoint(struct log_draft *d);

/* Writes a commit of moved blocks, and syncs it. Gives its end. */
uint64_t log_draft_move(struct log_draft *d, uint64_t segment, uint64_t number, uint64_t offset,
                        uint64_t previous_hash, uint64_t *ret_hash);

/* ---- what a commit has ---- */

enum { LOG_DRAFT_FACTS = 2, LOG_DRAFT_FACT_BYTES = 16 };

/* Whether these are the facts of the commit, or the block its index-th. */
bool log_drafted_has_facts(const struct log_drafted *c, const uint8_t *facts, uint64_t bytes);
bool log_drafted_has_block(const struct log_drafted *c, uint32_t index, const struct block_header *block,
                           uint64_t place);
