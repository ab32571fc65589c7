/* A consumer thread: reads the deliveries of its subscribers and checks every message.
 *
 * Each message must be the next of its publisher, and whole. One thread serves many sockets, since a machine
 * of two cores has none to spare: the broker and the publisher want to run too. */
#pragma once

#include <pthread.h>

#include "flow.h"
#include "inbox.h"

struct subscriber {
    struct inbox inbox;
    uint64_t received;
    uint64_t *next; /* by publisher: the sequence number that must come next */
    bool credited;  /* a push that has to be given credit again and again; else a relay's */
    uint64_t push;
    uint64_t spent_messages;
    uint64_t spent_bytes;
};

enum { SUBSCRIBER_CREDIT_MESSAGES = 1024 * 1024, SUBSCRIBER_CREDIT_BYTES = 64 * 1024 * 1024 };

struct consumer {
    struct flow *flow;
    struct flow_consumer *progress;
    struct subscriber *subscribers; /* its own */
    uint32_t subscriber_count;
    int epoll_fd;
    int stop_fd; /* an eventfd: flow->target has been set */
    pthread_t thread;
    struct histogram *latency; /* NULL: not asked for */
    uint64_t now_ns;           /* when the read ended that brought what is checked now; 0: not looked yet */
    uint64_t messages;
    uint64_t bytes;
    uint8_t shared[INBOX_SHARED_BYTES];
};

/* Borrows the flow and the subscribers, whose sockets are non-blocking. index: which
 * of the flow's consumers. */
int consumer_init(struct consumer *consumer, struct flow *flow, uint32_t index,
                  struct subscriber *subscribers, uint32_t subscriber_count);
void consumer_close(struct consumer *consumer);

/* Runs until every subscriber has had flow->target messages, or the flow has failed. */
int consumer_start(struct consumer *consumer);

/* Says that flow->target has been set. */
void consumer_target(struct consumer *consumer);
void consumer_join(struct consumer *consumer);
