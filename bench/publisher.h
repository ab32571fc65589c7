/* The publisher thread: sends trains over one or several connections, as fast as the flow's window allows or
 * at a rate.
 *
 * At a rate, a message's time is when it was due. A publisher that the broker holds up so measures the delay
 * of what it could not send, too. */
#pragma once

#include <poll.h>
#include <pthread.h>

#include "flow.h"
#include "inbox.h"
#include "train.h"

struct publisher_connection {
    struct inbox inbox;  /* answers */
    struct train train;  /* owned */
    uint64_t sequence;   /* of the next message */
    uint64_t request_id; /* of the next frame */
    uint64_t answered;   /* frames */
    uint64_t sent;       /* frames, handed to the train */
    const uint8_t *out;  /* what of the train has to go yet */
    size_t out_bytes;
};

struct publisher {
    struct flow *flow;
    struct publisher_connection *connections;
    uint32_t connection_count;
    bool is_answered;      /* a broker answers publishes, a relay does not */
    uint64_t messages_max; /* stops by itself after so many in this round; 0: no such limit */
    uint64_t messages;     /* in this round */
    double rate;           /* messages a second; 0: as fast as it goes */
    uint64_t start_ns;
    uint64_t end_ns;       /* when the last answer came */
    struct pollfd *polled; /* connection_count + 1 */
    pthread_t thread;
    uint8_t shared[INBOX_SHARED_BYTES];
};

/* Borrows the flow and the connections, whose sockets are non-blocking and whose trains are ready. */
int publisher_init(struct publisher *publisher, struct flow *flow, struct publisher_connection *connections,
                   uint32_t connection_count);
void publisher_close(struct publisher *publisher);

/* Runs until flow->stop or messages_max, and until all is sent and answered. */
int publisher_start(struct publisher *publisher);
void publisher_join(struct publisher *publisher);
