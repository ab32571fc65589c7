#include "crash_model.h"

#include <stdlib.h>
#include <string.h>

#include "sim.h"

void crash_model_close(struct crash_model *m)
{
    free(m->events);
}

bool crash_model_may_deliver(const struct crash_queue *q, uint32_t uid, uint64_t synced)
{
    return q->early || q->messages[uid].came <= synced;
}

static void queue_ended(struct crash_queue *q, uint64_t commit)
{
    q->alive = false;
    q->commit = commit;
    memset(q->subscribed, 0, sizeof(q->subscribed));
    for (uint32_t uid = 0; uid < CRASH_UIDS; uid++)
        if (q->messages[uid].there)
            q->messages[uid] = (struct crash_message){.commit = commit};
}

static void subscription_set(struct crash_queue *q, uint32_t topic, bool subscribed, uint64_t commit)
{
    q->subscribed[topic] = subscribed;
    q->subscription_commit[topic] = commit;
}

static void topic_set(struct crash_model *m, uint32_t topic, bool there, uint64_t commit)
{
    m->topics[topic] = there;
    m->topic_commits[topic] = commit;
    for (uint32_t i = 0; i < CRASH_QUEUES; i++)
        m->queues[i].subscribed[topic] = false;
}

static void apply(struct crash_model *m, const struct crash_event *e)
{
    struct crash_queue *q = &m->queues[e->queue];
    struct crash_message *message = &q->messages[e->uid];

    switch (e->kind) {
    case CRASH_QUEUE_MADE:
        q->alive = true;
        q->commit = e->commit;
        q->visibility_ms = e->value;
        q->early = e->early;
        break;
    case CRASH_QUEUE_ENDED:
        queue_ended(q, e->commit);
        break;
    case CRASH_TOPIC_MADE:
    case CRASH_TOPIC_ENDED:
        topic_set(m, e->topic, e->kind == CRASH_TOPIC_MADE, e->commit);
        break;
    case CRASH_SUBSCRIBED:
    case CRASH_UNSUBSCRIBED:
        subscription_set(q, e->topic, e->kind == CRASH_SUBSCRIBED, e->commit);
        break;
    case CRASH_CAME:
        *message = (struct crash_message){.there = true, .commit = e->commit, .came = e->commit};
        break;
    case CRASH_GONE:
        *message = (struct crash_message){.commit = e->commit};
        break;
    case CRASH_COUNTED:
        message->counted = (uint32_t)e->value;
        message->due_ms = e->due_ms;
        message->commit = e->commit;
        break;
    }
}

void crash_model_add(struct crash_model *m, const struct crash_event *event)
{
    if (m->count == m->capacity) {
        m->capacity = m->capacity * 2 + 1024;
        m->events = realloc(m->events, m->capacity * sizeof(*m->events));
        SIM_CHECK(m->events != NULL, "out of memory");
    }
    SIM_CHECK(m->count == 0 || m->events[m->count - 1].commit <= event->commit, "the test goes back");
    m->events[m->count++] = *event;
    apply(m, event);
}

void crash_model_cut(struct crash_model *m, uint64_t commit)
{
    memset(m->queues, 0, sizeof(m->queues));
    memset(m->topics, 0, sizeof(m->topics));
    memset(m->topic_commits, 0, sizeof(m->topic_commits));
    while (m->count > 0 && m->events[m->count - 1].commit > commit)
        m->count--;
    for (size_t i = 0; i < m->count; i++)
        apply(m, &m->events[i]);
}
