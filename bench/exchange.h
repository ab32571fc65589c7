/* One message there, one frame back: for connections that block and on which one thing at a time is under way. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "error.h"

enum { EXCHANGE_FRAME_BYTES_MAX = 4096 };

struct exchange_frame {
    uint8_t data[EXCHANGE_FRAME_BYTES_MAX]; /* length and payload */
    size_t bytes;
};

/* Makes the frame that sends one message of so many bytes to the queue. It may be sent many times. */
int exchange_prepare_send(const char *queue, size_t size, struct bench_error *error,
                          struct exchange_frame *ret_frame);

/* Reads one frame, behind which nothing else may come. */
int exchange_read(int fd, struct bench_error *error, struct exchange_frame *ret_frame);

/* Whether the frame says that the message was taken. 0 or an error. */
int exchange_check_taken(const struct exchange_frame *answer, struct bench_error *error);
