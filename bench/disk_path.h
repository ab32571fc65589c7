/* The way that a durable message goes, without a broker on it: socket, loop, hand-over to a thread that writes and
 * syncs, hand-over back, socket.
 *
 * The parts are the broker's own (base/ring.h, base/worker.h with its spinning, libuv), and a write has as many bytes as
 * one of its commits has. What it leaves out is all that a broker does with a message. */
#pragma once

#include "ceiling.h"

struct disk_path_options {
    const char *path; /* of the file to write; made by the child. Borrowed for the call */
    size_t request_bytes;
    size_t answer_bytes;
};

/* Starts it for one connection: every request_bytes that come are answered with answer_bytes when
 * ceiling_set_write_bytes() bytes are on the disk. Ends with the connection. */
int disk_path_start(struct ceiling *ceiling, const struct disk_path_options *options,
                    struct bench_error *error);
