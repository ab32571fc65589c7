/* Facts: each durable change is written down where it happens, to stand in the next commit.
 *
 * Room is reserved before the change, so a change that is made is written. A change that somebody waits for
 * makes this turn's commit; others (deliveries in auto mode, timeouts, pushes that end) go with the next one,
 * which comes soon. Nothing is written of ephemeral queues, nor while facts are replayed. */
#include "state.h"

enum {
    FACTS_TURN_BYTES_MAX = 1024 * 1024,

    /* For how long, and up to how many, facts that nobody waits for wait for a commit that comes anyway. Alone, these few bytes
     * would take the disk as long as a write of many messages does, and those that come meanwhile would have to wait. */
    FACTS_WAIT_MS = 5,
    FACTS_WAIT_BYTES_MAX = 64 * 1024
};

int journal_reserve(struct core *c, size_t count)
{
    return c->journalling ? facts_reserve(&c->facts, count) : 0;
}

bool journal_full(const struct core *c)
{
    return c->facts.length >= FACTS_TURN_BYTES_MAX;
}

uint64_t core_fact_bytes(const struct core *c)
{
    return c->facts.length;
}

bool journal_due(const struct core *c)
{
    return c->facts.count > 0 &&
           (c->draining || c->facts.length >= FACTS_WAIT_BYTES_MAX || c->now_ms >= c->facts_due_ms);
}

uint64_t journal_next_ms(const struct core *c)
{
    if (c->facts.count == 0)
        return UINT64_MAX;
    return journal_due(c) ? c->now_ms : c->facts_due_ms;
}

static void journal(struct core *c, const struct fact *fact)
{
    if (!c->journalling)
        return;
    if (c->facts.count == 0)
        c->facts_due_ms = c->now_ms + FACTS_WAIT_MS;
    facts_add(&c->facts, fact);
}

/* ---- what there is ---- */

struct fact fact_of_queue(const struct queue *q)
{
    return (struct fact){.kind = FACT_QUEUE,
                         .queue_id = q->id,
                         .name = q->name,
                         .name_length = q->name_length,
                         .created_ms = q->created_ms,
                         .visibility_ms = q->visibility_ms,
                         .receive_wait_ms = q->receive_wait_ms,
                         .early_delivery = q->early_delivery};
}

struct fact fact_of_topic(const struct topic *t)
{
    return (struct fact){.kind = FACT_TOPIC,
                         .stream = t->stream->number,
                         .name = t->name,
                         .name_length = t->name_length,
                         .created_ms = t->created_ms};
}

void journal_queue(struct core *c, const struct queue *q)
{
    struct fact fact = fact_of_queue(q);

    journal(c, &fact);
}

void journal_queue_end(struct core *c, struct queue *q)
{
    journal(c, &(struct fact){.kind = FACT_QUEUE_END, .queue_id = q->id});
    q->journalled = false;
}

void journal_topic(struct core *c, const struct topic *t)
{
    struct fact fact = fact_of_topic(t);

    journal(c, &fact);
}

void journal_topic_end(struct core *c, const struct topic *t)
{
    journal(c,
            &(struct fact){.kind = FACT_TOPIC_END, .stream = t->stream->number, .seq = t->stream->next_seq});
}

void journal_own(struct core *c, const struct queue *q)
{
    journal(c, &(struct fact){.kind = FACT_OWN, .queue_id = q->id, .stream = q->own->number});
}

void journal_stream(struct core *c, const struct stream *s)
{
    journal(c, &(struct fact){.kind = FACT_STREAM, .stream = s->number, .seq = s->next_seq});
}

static void journal_subscription(struct core *c, const struct subscription *s, enum fact_kind kind)
{
    const struct stream *stream = s->topic->stream;

    journal(c,
            &(struct fact){
                .kind = kind, .stream = stream->number, .queue_id = s->queue->id, .seq = stream->next_seq});
}

void journal_subscribed(struct core *c, const struct subscription *s)
{
    journal_subscription(c, s, FACT_SUBSCRIBED);
}

void journal_unsubscribed(struct core *c, const struct subscription *s)
{
    if (s->queue->journalled)
        journal_subscription(c, s, FACT_UNSUBSCRIBED);
}

/* ---- producers ---- */

struct fact fact_of_producer(const struct producer *p)
{
    return (struct fact){.kind = FACT_PRODUCER, .producer = p->id, .seq = p->applied};
}

struct fact fact_of_refused(const struct producer *p, const struct refused *run)
{
    return (struct fact){.kind = FACT_REFUSED,
                         .producer = p->id,
                         .first = run->first,
                         .end = run->last + 1,
                         .error = (uint64_t) - (int64_t)run->err};
}

void journal_producer(struct core *c, const struct producer *p)
{
    struct fact fact = fact_of_producer(p);

    journal(c, &fact);
}

void journal_refused(struct core *c, const struct producer *p, const struct refused *run)
{
    struct fact fact = fact_of_refused(p, run);

    journal(c, &fact);
}

/* ---- messages ---- */

struct fact fact_of_messages(enum fact_kind kind, const struct feed *f, uint64_t first, uint64_t end)
{
    return (struct fact){
        .kind = kind, .stream = f->stream->number, .queue_id = f->queue->id, .first = first, .end = end};
}

struct fact fact_of_run(const struct run *r, uint64_t due_ms)
{
    struct fact fact = fact_of_messages(FACT_HELD, r->feed, r->node.key, r->end);

    fact.deliveries = r->deliveries;
    fact.first_receive_ms = r->first_receive_ms;
    fact.due_ms = due_ms;
    return fact;
}

void journal_gone(struct core *c, const struct feed *f, uint64_t first, uint64_t end)
{
    struct fact fact = fact_of_messages(FACT_GONE, f, first, end);

    if (f->queue->journalled && first < end)
        journal(c, &fact);
}

void journal_held(struct core *c, const struct run *r, uint64_t due_ms)
{
    struct fact fact = fact_of_run(r, due_ms);

    if (r->feed->queue->journalled)
        journal(c, &fact);
}
