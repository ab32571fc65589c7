/* From the files of a directory to a running broker: the newest valid checkpoint, then the commits behind it.
 *
 * A commit that is not valid is the torn end of what was never answered, unless something proves that it was on the disk:
 * a commit behind it whose synced_lsn lies beyond it, or a checkpoint. Then it is damage: reported, with what it affects,
 * and the broker does not serve until it is told to accept the loss. (That a valid commit follows is no proof: unsynced
 * writes reach the disk in any order, and so do the segments that they are in.) For this a run begins with synced_lsn at
 * the end that was recovered, and in a segment of a number that was never used.
 *
 * The next checkpoint says up to where loss was accepted; until there is one, it is found anew at each start.
 *
 * Used at start, and by fanq-dump and fanqd --check, on one thread. Reads and hashes; what it writes is only what
 * recovery_secure() says. */
#pragma once

#include "directory.h"

/* What recovery tells, in this order: facts of the checkpoint; then for each segment its blocks, and for each commit behind
 * the checkpoint its facts after its blocks. Functions give 0, or a negative FANQ_ERR_* that ends the recovery. */
struct recovery_sink {
    void *context;
    int (*facts)(void *context, const uint8_t *facts, uint64_t bytes, uint64_t count, bool of_checkpoint);
    /* place: of its header (place.h). behind_checkpoint: the core does not know of it from the checkpoint. */
    int (*block)(void *context, const struct block_header *block, uint64_t place, bool behind_checkpoint);
    /* Damage, one line each, as it is found: "log-…07, offset 4096: commit 17 is damaged; it had messages 3 to 9 of
     * stream 4, and 2 facts". */
    void (*report)(void *context, const char *text);
};

struct recovery_options {
    const struct directory *directory;
    struct recovery_sink sink;
    bool accept_loss; /* go on behind damage */
    bool verify;      /* check every block of every segment, not only what must be read */
};

struct recovered {
    bool loss;            /* damage was found whose loss had not been accepted before */
    bool damaged;         /* and accept_loss was not given: nothing else holds */
    uint64_t end_lsn;     /* behind the last valid commit; 0: there is none */
    uint64_t last_number; /* of that commit; 0: none */
    uint64_t last_hash;
    uint64_t last_epoch;
    uint64_t proven_lsn;                        /* all below is known to be on the disk */
    uint64_t checkpoint_lsn;                    /* 0: there was no checkpoint */
    uint64_t checkpoint_number;                 /* of the checkpoint used */
    uint64_t checkpoint_bytes;                  /* of it */
    uint64_t accepted_lsn, accepted_cold;       /* see checkpoint.h */
    uint64_t next_log_number, next_cold_number; /* of segments: none with this or a higher number was used */
    uint64_t commits, blocks, fact_count, bytes_read;
    uint64_t
        moves_cut; /* cold segments with an unfinished move at their end: what it copied is where it was */
};

/* 0; FANQ_ERR_NOMEM; FANQ_ERR_IO (with a report of which file and why); what a sink function gave. */
int recovery_run(const struct recovery_options *options, struct recovered *ret_recovered);

/* Writes the commits above proven_lsn once more, as they are, and syncs them: the system may hold in memory what the disk
 * never got. Comes before anything of them is used. 0 or FANQ_ERR_IO. */
int recovery_secure(const struct recovery_options *options, const struct recovered *recovered);
