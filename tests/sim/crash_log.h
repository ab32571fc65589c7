/* What would be on the disk: every commit as the core made it, in order, with its facts and its blocks. Crashes cut it. */
#pragma once

#include "core/core.h"

struct crash_block {
    struct block block;
    uint64_t stream;
    uint8_t *records;
    bool lost; /* damaged, and the loss accepted */
};

struct crash_commit {
    uint64_t number;
    uint8_t *facts;
    uint64_t fact_bytes;
    size_t first_block, block_count; /* in the log's blocks */
};

struct crash_log {
    struct crash_commit *commits; /* commits[n - 1] is number n */
    size_t commit_count, commit_capacity;
    struct crash_block *blocks;
    size_t block_count, block_capacity;
    uint64_t *trimmed; /* by stream number: blocks wholly below are not there any more */
    size_t stream_capacity;
    bool damaged; /* some block is lost */
};

void crash_log_close(struct crash_log *log);
void crash_log_append(struct crash_log *log, const struct commit *commit);
/* The commits above `number` never were. */
void crash_log_cut(struct crash_log *log, uint64_t number);
void crash_log_trim(struct crash_log *log, uint64_t stream, uint64_t seq);

/* The view's block(); context is the log. */
bool crash_log_block(void *log, uint64_t stream, uint64_t seq, struct block *ret_block);

/* Tells a core all commits above `number`. */
void crash_log_replay(const struct crash_log *log, uint64_t number, struct core *core);
