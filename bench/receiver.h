/* A consumer thread that asks: long-poll receives in batches from one queue, each batch deleted with the next
 * request.
 *
 * Two receives are always under way, so that neither side waits for the other's round trip. The delete of a
 * batch and the receive that follows it leave in one write. Advances the flow as consumer 0. */
#pragma once

#include <pthread.h>

#include "flow.h"
#include "inbox.h"
#include "proto/request.h"

enum { RECEIVER_BATCH_MAX = 1000, RECEIVER_DEPTH = 2 };

struct receiver {
    struct flow *flow;
    struct inbox inbox;
    const char *queue;
    bool auto_delete; /* the broker deletes what it hands over; else it is acknowledged */
    uint64_t id;      /* of the last request */
    uint64_t next;    /* the sequence number that must come next */
    uint64_t messages;
    uint64_t acks_open; /* sent and not answered */
    pthread_t thread;
    uint8_t out[64 * 1024];
    uint8_t shared[INBOX_SHARED_BYTES];
};

/* Takes fd, blocking and greeted; borrows the rest. `next` is the first sequence number to come. */
void receiver_init(struct receiver *receiver, struct flow *flow, int fd, const char *queue, bool auto_delete,
                   uint64_t next);
void receiver_close(struct receiver *receiver);

/* Runs until flow->target messages have come and all deletes are answered, or the flow has failed. */
int receiver_start(struct receiver *receiver);
void receiver_join(struct receiver *receiver);
