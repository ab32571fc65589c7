/* What the threads of one measured flow share: how far it is, and how far it may go.
 *
 * One publisher thread, one or two consumer threads. Nothing is lost only as long as nobody drowns, so the
 * publisher stays within two windows: at most answer_window_messages may be unanswered, and at most
 * window_messages ahead of the slowest subscriber. Every field has one writer, said beside it; figures are read by
 * anyone at any time. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "histogram.h"

enum {
    FLOW_CONSUMERS_MAX = 2,
    FLOW_PATIENCE_MS = 10000 /* without any progress the measurement has failed */
};

#define FLOW_NEVER UINT64_MAX

/* One consumer thread's progress. */
struct flow_consumer {
    _Alignas(64) atomic_ullong least; /* how many messages its slowest subscriber has had */
    atomic_ullong messages;           /* by all its subscribers */
    atomic_ullong bytes;              /* read from their sockets */
};

struct flow {
    /* Fixed while threads run. */
    size_t size;
    uint32_t batch;
    uint32_t publisher_count;
    uint32_t consumer_count; /* threads; 0: nobody receives, only answers limit the publisher */
    uint64_t window_messages, answer_window_messages;
    int wake_fd; /* an eventfd: the publisher may go on */
    struct bench_error *error;

    /* Written by the thread that runs the round. */
    atomic_bool stop; /* publish no more */
    atomic_ullong
        target; /* how many messages each subscriber must have had at the end; FLOW_NEVER while publishing */

    /* Written by the publisher. */
    _Alignas(64) atomic_ullong published;
    atomic_ullong answered;
    atomic_ullong wake_at; /* wake it when the slowest subscriber is so far; FLOW_NEVER: it does not wait */

    struct flow_consumer consumers[FLOW_CONSUMERS_MAX];

    /* When message n of publisher p was sent, or was due: times_ns[(p << times_bits) + (n / batch mod
     * 2^times_bits)]. NULL: latency is not asked for. Written by the publisher before it sends. */
    atomic_ullong *times_ns;
    unsigned times_bits;
};

static inline uint64_t flow_get(const atomic_ullong *value)
{
    return atomic_load_explicit(value, memory_order_acquire);
}

static inline void flow_set(atomic_ullong *value, uint64_t to)
{
    atomic_store_explicit(value, to, memory_order_release);
}

static inline atomic_ullong *flow_time(const struct flow *flow, uint32_t publisher, uint64_t sequence)
{
    uint64_t slot = sequence / flow->batch & (((uint64_t)1 << flow->times_bits) - 1);

    return &flow->times_ns[((uint64_t)publisher << flow->times_bits) + slot];
}

int flow_init(struct flow *flow, bool latency);
void flow_close(struct flow *flow);

/* How far the slowest subscriber is; all that was published when nobody receives. */
uint64_t flow_least(const struct flow *flow);

/* By a consumer, after it has advanced: lets a waiting publisher go on if it may. */
void flow_advanced(struct flow *flow);

/* By anyone: makes the publisher look again. */
void flow_wake(struct flow *flow);
