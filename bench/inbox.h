/* Cuts the frames out of what a socket brings.
 *
 * Many sockets of one thread read into one shared buffer, which so stays in the processor's cache; only the
 * beginning of a frame whose rest has not come is kept with its socket, and the next read fills that first. A
 * byte is copied at most once on its way. */
#pragma once

#include "proto/frame.h"

enum { INBOX_SHARED_BYTES = 64 * 1024 };

struct inbox {
    int fd;
    uint64_t bytes; /* read so far */
    uint8_t *held;  /* the beginning of a frame */
    size_t held_bytes;
    size_t held_capacity;
    size_t held_need; /* the whole frame's length, as far as known; 0 when nothing is held */
};

/* Borrows fd, which may be blocking or not. */
void inbox_init(struct inbox *inbox, int fd);
void inbox_close(struct inbox *inbox);

/* What is done with a frame's payload, which is lent for the call. 0 or an error, which ends the reading. */
typedef int inbox_frame_function(void *context, struct fanq_bytes payload);

/* Reads once, using shared[INBOX_SHARED_BYTES], and hands over each frame that is whole.
 * 0 also when a non-blocking socket had nothing. FANQ_ERR_NOT_CONNECTED: the peer closed. FANQ_ERR_IO,
 * FANQ_ERR_NOMEM, FANQ_ERR_FRAME_TOO_BIG, FANQ_ERR_PROTOCOL, or what the function said. */
int inbox_read(struct inbox *inbox, uint8_t *shared, inbox_frame_function *frame, void *context);
