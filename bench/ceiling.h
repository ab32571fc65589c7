/* What the machine can do at best: processes that move bytes and do nothing else.
 *
 * The relay reads one publisher's socket and writes what it read to every subscriber's; the echo answers one
 * socket's bytes on another. Both have one thread and the broker's socket options, and hold nobody's
 * messages, look into none and keep no order but that of the bytes. A broker measured beside them, over the
 * same machine in the same second, is a fraction of them. */
#pragma once

#include "process.h"

enum {
    /* The first byte on a connection to the relay. Subscribers come first; the publisher starts it. */
    CEILING_ROLE_PUBLISHER = 'P',
    CEILING_ROLE_SUBSCRIBER = 'S',

    CEILING_WRITE_BYTES_MAX = 256 * 1024
};

struct ceiling {
    struct process process;
    atomic_uint *write_bytes; /* shared with the child: how much it reads and writes at once */
};

/* What the child has. */
struct ceiling_child {
    int listener;
    const atomic_uint *write_bytes;
    const void *context; /* of whoever started it */
};

typedef void ceiling_function(const struct ceiling_child *child);

/* Starts a child that does that and then ends. What context points to is copied with the process. */
int ceiling_start(struct ceiling *ceiling, ceiling_function *run, const void *context,
                  struct bench_error *error);

/* In the child: takes a connection as the broker does, with the same options. -1: it failed. */
int ceiling_accept(const struct ceiling_child *child);

/* Starts a relay for one publisher and so many subscribers; ends with its publisher's connection. */
int ceiling_start_relay(struct ceiling *ceiling, uint32_t subscriber_count, struct bench_error *error);

/* Starts an echo for two connections: what comes on the first goes out on the second. */
int ceiling_start_echo(struct ceiling *ceiling, struct bench_error *error);

/* From the next read on. */
void ceiling_set_write_bytes(struct ceiling *ceiling, uint32_t bytes);

void ceiling_stop(struct ceiling *ceiling); /* accepts one whose start failed */
