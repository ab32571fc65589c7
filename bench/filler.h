/* Fills queues with messages that nobody receives yet, as fast as they are taken, and looks afterwards whether they are
 * there. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "error.h"

struct filler {
    const char *url;
    const char *name; /* the queues are NAME-0, NAME-1, ... */
    uint32_t queue_count;
    uint32_t batch;    /* messages in a frame; frames go out pipelined, to the queues in turn */
    uint64_t messages; /* in all queues together */
    size_t size;       /* of a body */
};

/* Creates the queues and fills them; ends when all is answered. */
int filler_run(const struct filler *filler, struct bench_error *error, double *ret_seconds);

/* Whether the queues have all of it, visible, and give their first messages as they were sent (these are in flight
 * afterwards). What is not so is an error that says which queue. */
int filler_check(const struct filler *filler, struct bench_error *error);
