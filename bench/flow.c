#include "flow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "proto/fanq_error.h"

/* Twice the batches that can be under way, so that a slot is never reused before it was read. */
static unsigned times_bits_for(const struct flow *flow)
{
    unsigned bits = 1;

    while (((uint64_t)1 << bits) < 2 * (flow->window_messages / flow->batch + 2))
        bits++;
    return bits;
}

int flow_init(struct flow *flow, bool latency)
{
    flow_set(&flow->target, FLOW_NEVER);
    flow_set(&flow->wake_at, FLOW_NEVER);
    flow->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (flow->wake_fd < 0)
        return bench_fail(flow->error, FANQ_ERR_IO, "eventfd: %s", strerror(errno));
    if (latency) {
        flow->times_bits = times_bits_for(flow);
        flow->times_ns = calloc((size_t)flow->publisher_count << flow->times_bits, sizeof *flow->times_ns);
        if (flow->times_ns == NULL)
            return bench_fail(flow->error, FANQ_ERR_NOMEM, "out of memory");
    }
    return 0;
}

void flow_close(struct flow *flow)
{
    if (flow->wake_fd >= 0)
        close(flow->wake_fd);
    free(flow->times_ns);
    flow->wake_fd = -1;
    flow->times_ns = NULL;
}

uint64_t flow_least(const struct flow *flow)
{
    uint64_t least = flow->consumer_count > 0 ? UINT64_MAX : flow_get(&flow->published);

    for (uint32_t i = 0; i < flow->consumer_count; i++) {
        uint64_t mine = flow_get(&flow->consumers[i].least);

        if (mine < least)
            least = mine;
    }
    return least;
}

void flow_advanced(struct flow *flow)
{
    /* Sequentially consistent against the publisher, which sets wake_at and then looks at
     * `least` once more. */
    atomic_thread_fence(memory_order_seq_cst);
    if (flow_least(flow) >= atomic_load_explicit(&flow->wake_at, memory_order_relaxed))
        flow_wake(flow);
}

void flow_wake(struct flow *flow)
{
    uint64_t one = 1;

    atomic_store(&flow->wake_at, FLOW_NEVER);
    (void)!write(flow->wake_fd, &one,
                 sizeof one); /* fails only when it is signalled 2^64 times over: awake anyway */
}
