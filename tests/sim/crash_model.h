/* What must be there after a crash: the durable changes as events, each with the commit that holds it. The state that a
 * log up to some commit stands for is what its events make of nothing. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CRASH_QUEUES = 4, CRASH_TOPICS = 3, CRASH_UIDS = 4000 };

enum crash_event_kind {
    CRASH_QUEUE_MADE, /* or set; value: visibility */
    CRASH_QUEUE_ENDED,
    CRASH_TOPIC_MADE,
    CRASH_TOPIC_ENDED,
    CRASH_SUBSCRIBED,
    CRASH_UNSUBSCRIBED,
    CRASH_CAME,   /* the queue has message uid */
    CRASH_GONE,   /* no more */
    CRASH_COUNTED /* it was delivered `value` times; due: wall clock of the end of its delay, or 0 */
};

struct crash_event {
    uint64_t commit;
    enum crash_event_kind kind;
    uint32_t queue, topic, uid;
    uint64_t value, due_ms;
    bool early;
};

/* Each with the commit of its last change. */
struct crash_message {
    bool there;
    uint32_t counted;
    uint64_t due_ms;
    uint64_t commit;
    uint64_t came; /* the commit that brought it */
};

struct crash_queue {
    bool alive;
    uint64_t visibility_ms;
    bool early;
    uint64_t commit;
    bool subscribed[CRASH_TOPICS];
    uint64_t subscription_commit[CRASH_TOPICS];
    struct crash_message messages[CRASH_UIDS];
};

struct crash_model {
    struct crash_queue queues[CRASH_QUEUES];
    bool topics[CRASH_TOPICS];
    uint64_t topic_commits[CRASH_TOPICS];
    struct crash_event *events;
    size_t count, capacity;
};

void crash_model_close(struct crash_model *m);
/* Whether a first delivery of the message may come when what is up to that commit is synced. */
bool crash_model_may_deliver(const struct crash_queue *q, uint32_t uid, uint64_t synced);
void crash_model_add(struct crash_model *m, const struct crash_event *event);
/* Only what commits up to this one hold has happened. */
void crash_model_cut(struct crash_model *m, uint64_t commit);
