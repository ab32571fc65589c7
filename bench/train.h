/* Frames of messages, encoded once and sent over and over with fresh stamps.
 *
 * A train is some equal frames in one buffer, so that small frames go out many to a write. All that changes
 * from use to use is each frame's request id and each body's stamp and hash; ids therefore always take
 * msgpack's nine-byte form. Used by one thread. */
#pragma once

#include "proto/reply.h"

enum {
    TRAIN_BATCH_MAX = 256,
    TRAIN_BATCH_BYTES_MAX =
        256 * (1024 + FANQ_RECORD_PLAIN_BYTES) /* nobody gathers 4 MiB before publishing */
};

struct train {
    uint8_t *data;
    uint32_t frame_count;
    uint32_t batch; /* messages in a frame */
    size_t size;    /* of a body */
    size_t frame_bytes;
    size_t records_offset; /* of the first record in a frame */
};

/* PUBLISH frames for a topic, or SEND frames for a queue: as many as fit into train_bytes, at least one.
 * FANQ_ERR_NOMEM. */
int train_init(struct train *train, enum fanq_op op, const char *target, uint32_t batch, size_t size,
               size_t train_bytes);

/* DELIVER frames as a broker makes them from published messages; what a relay passes on. */
int train_init_deliver(struct train *train, uint32_t batch, size_t size, size_t train_bytes);

void train_close(struct train *train);

/* Makes the frame ready to carry messages sequence, sequence + 1, ... of the publisher. */
void train_stamp(struct train *train, uint32_t frame, uint64_t request_id, uint32_t publisher,
                 uint64_t sequence);

static inline size_t train_record_bytes(size_t size)
{
    return FANQ_RECORD_PLAIN_BYTES + size;
}

/* How many messages of that size a publish has: as many as fit into so many bytes, at least one, at most 256. */
static inline uint32_t train_batch(size_t size, size_t bytes)
{
    size_t fit = bytes / train_record_bytes(size);

    return fit == 0 ? 1 : fit > TRAIN_BATCH_MAX ? TRAIN_BATCH_MAX : (uint32_t)fit;
}
