/* A checkpoint: the facts that make the broker's state as of a place in the log, so that replay starts there.
 *
 *     header | facts | XXH3-64 of both | what the file had before: room for longer ones, without a meaning
 *
 * There are two files, written in turn, so that one that is damaged is not the end: a log segment is reused only when it
 * lies below both. Size follows holes and queues, not the backlog. A checkpoint is put in place as a whole (checkpoint_file.h),
 * by the store thread, when the log is synced beyond everything in it. */
#pragma once

#include "directory.h"

enum { CHECKPOINT_FRAME_BYTES = 88 }; /* beside the facts */

struct checkpoint {
    uint64_t number;      /* 1, 2, 3... */
    uint64_t lsn;         /* replay begins here */
    uint64_t next_commit; /* the number of the commit that stands there */
    uint64_t time_ms;
    uint64_t fact_count;
    const uint8_t *facts;
    uint64_t fact_bytes;
    /* Damage below this place of the log, and in cold segments below this number, was told, and its loss accepted. */
    uint64_t accepted_lsn, accepted_cold;
};

/* Gives the bytes for the file, which the caller frees. 0 or FANQ_ERR_NOMEM. */
int checkpoint_encode(const struct directory *d, const struct checkpoint *checkpoint, uint8_t **ret_data,
                      size_t *ret_length);

/* "checkpoint-a" or "checkpoint-b". */
const char *checkpoint_name(uint64_t number);

/* Reads both files. Gives how many of them are valid (0 to 2), the newest first; facts point into memory that
 * checkpoints_free() gives back. damaged: names of files that are there but not valid, for a report. */
struct checkpoints {
    struct checkpoint items[2];
    uint8_t *data[2];
    int count;
    const char *damaged[2];
    int damaged_count;
};

int checkpoints_read(const struct directory *d,
                     struct checkpoints *ret_checkpoints); /* 0, FANQ_ERR_NOMEM, FANQ_ERR_IO */
void checkpoints_free(struct checkpoints *c);
