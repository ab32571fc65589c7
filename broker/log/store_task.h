/* One job of the store, in steps of some 1 MiB, so that others can go between them. The store thread's alone. */
#pragma once

#include "segment_index.h"
#include "store.h"
#include "store_files.h"

struct store_task {
    struct store_job job;
    bool begun;
    bool named; /* a name was made or changed: the directory is to be synced */
    int file;   /* of its own while it is at work, or lent; -1: none */
    uint64_t at, end;
    uint8_t *data; /* of a checkpoint's file */
    struct segment_scan scan;
};

/* Takes what the job hands over. */
void store_task_init(struct store_task *task, const struct store_job *job);

/* Does a step. When *ret_ended is set, which it always is with an error, nothing of the task is left but its job.
 * 0 or a negative errno. */
int store_task_step(struct store_task *task, struct store_files *files, bool *ret_ended);

/* Ends one that has not ended; what it has made on the disk may stay half made. */
void store_task_abandon(struct store_task *task, struct store_files *files);
