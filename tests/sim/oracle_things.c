/* What there is: queues, topics, subscriptions, connections with their requests, and those who wait. */
#include "oracle.h"

#include <stdlib.h>
#include <string.h>

bool bytes_equal(struct fanq_bytes a, struct fanq_bytes b)
{
    return a.length == b.length && memcmp(a.data, b.data, a.length) == 0;
}

struct fanq_bytes oracle_queue_name(uint32_t slot)
{
    static const char names[] = "q0q1q2q3q4q5q6q7q8q9";

    return (struct fanq_bytes){(const uint8_t *)names + 2 * slot, 2};
}

struct fanq_bytes oracle_topic_name(uint32_t slot)
{
    static const char names[] = "t0t1t2t3t4";

    return (struct fanq_bytes){(const uint8_t *)names + 2 * slot, 2};
}

/* The slot of a name made by the functions above. */
uint32_t oracle_slot(struct fanq_bytes name)
{
    return (uint32_t)(name.data[1] - '0');
}

void holds_add(struct holds *h, const struct hold *hold)
{
    if (h->count == h->capacity) {
        h->capacity = h->capacity == 0 ? 16 : h->capacity * 2;
        h->items = realloc(h->items, h->capacity * sizeof(*h->items));
        SIM_CHECK(h->items != NULL, "out of memory");
    }
    h->items[h->count++] = *hold;
}

/* ---- what there is ---- */

struct book_queue *oracle_queue_make(struct oracle *o, uint32_t slot)
{
    struct book_queue *q = book_queue_new(&o->book);

    q->slot = slot;
    q->visibility_ms = FANQ_VISIBILITY_MS_DEFAULT;
    o->queues[slot] = q;
    return q;
}

struct book_queue *oracle_queue_resolve(struct oracle *o, struct fanq_bytes name, bool create)
{
    struct book_queue *q = o->queues[oracle_slot(name)];

    return q == NULL && create && o->auto_create ? oracle_queue_make(o, oracle_slot(name)) : q;
}

struct topic_record *oracle_topic_make(struct oracle *o, uint32_t slot)
{
    struct topic_record *t = calloc(1, sizeof(*t));

    SIM_CHECK(t != NULL, "out of memory");
    t->alive = true;
    t->slot = slot;
    t->stream = book_stream_new(&o->book);
    t->next = o->all_topics;
    o->all_topics = t;
    o->topics[slot] = t;
    return t;
}

struct topic_record *oracle_topic_resolve(struct oracle *o, struct fanq_bytes name, bool create)
{
    struct topic_record *t = o->topics[oracle_slot(name)];

    return t == NULL && create && o->auto_create ? oracle_topic_make(o, oracle_slot(name)) : t;
}

static uint32_t subscriber_index(const struct topic_record *t, const struct book_queue *q)
{
    uint32_t i = 0;

    while (i < t->subscriber_count && t->subscribers[i] != q)
        i++;
    return i;
}

void oracle_subscribe(struct topic_record *t, struct book_queue *q)
{
    if (subscriber_index(t, q) < t->subscriber_count)
        return;
    if (t->subscriber_count == t->subscriber_capacity) {
        t->subscriber_capacity = t->subscriber_capacity * 2 + 8;
        t->subscribers = realloc(t->subscribers, t->subscriber_capacity * sizeof(struct book_queue *));
        SIM_CHECK(t->subscribers != NULL, "out of memory");
    }
    t->subscribers[t->subscriber_count++] = q;
    t->named_count += !q->ephemeral;
    book_feed_open(q, t->stream);
}

bool oracle_unsubscribe(struct topic_record *t, struct book_queue *q)
{
    uint32_t i = subscriber_index(t, q);

    if (i == t->subscriber_count)
        return false;
    t->subscribers[i] = t->subscribers[--t->subscriber_count];
    t->named_count -= !q->ephemeral;
    book_feed_close(q, t->stream);
    return true;
}

static void queue_end(struct oracle *o, struct book_queue *q)
{
    for (struct topic_record *t = o->all_topics; t != NULL; t = t->next)
        if (t->alive)
            (void)oracle_unsubscribe(t, q); /* most are not */
    if (!q->ephemeral)
        o->queues[q->slot] = NULL;
    book_queue_end(q);
}

/* ---- those who wait ---- */

struct waiter *oracle_waiter_find(const struct oracle *o, uint32_t connection, uint64_t id)
{
    for (uint32_t i = 0; i < o->waiter_count; i++)
        if (o->waiters[i]->connection == connection && o->waiters[i]->id == id)
            return o->waiters[i];
    return NULL;
}

bool oracle_waiter_eligible(const struct oracle *o, const struct waiter *w)
{
    return !o->connections[w->connection].blocked &&
           (w->op == FANQ_OP_RECEIVE || (w->messages > 0 && w->bytes > 0));
}

void oracle_line_up(struct oracle *o, struct waiter *w)
{
    w->place = oracle_waiter_eligible(o, w) ? ++o->next_place : 0;
}

struct waiter *oracle_waiter_make(struct oracle *o, uint32_t connection, const struct fanq_request *r)
{
    struct waiter *w = calloc(1, sizeof(*w));

    if (o->waiter_count == o->waiter_capacity) {
        o->waiter_capacity = o->waiter_capacity * 2 + 16;
        o->waiters = realloc(o->waiters, o->waiter_capacity * sizeof(struct waiter *));
    }
    SIM_CHECK(w != NULL && o->waiters != NULL, "out of memory");
    o->waiters[o->waiter_count++] = w;
    w->op = r->op;
    w->connection = connection;
    w->id = r->id;
    return w;
}

/* What a push holds goes back to its queue at once. */
static void holds_give_back(struct waiter *w)
{
    for (uint64_t i = 0; i < w->holds.count; i++) {
        const struct hold *h = &w->holds.items[i];

        for (uint64_t seq = h->first; h->queue->alive && seq < h->first + h->count; seq++) {
            struct book_message *m = book_message(h->feed, seq);

            if (m->state == MESSAGE_HELD && m->batch == h->batch)
                book_move(h->queue, m, MESSAGE_READY);
        }
    }
}

void oracle_waiter_end(struct oracle *o, struct waiter *w)
{
    uint32_t i = 0;

    while (o->waiters[i] != w)
        i++;
    memmove(&o->waiters[i], &o->waiters[i + 1], (--o->waiter_count - i) * sizeof(struct waiter *));
    holds_give_back(w);
    if (w->topic != NULL)
        queue_end(o, w->queues[0]);
    free(w->holds.items);
    free(w);
}

uint32_t oracle_waiters_of(const struct oracle *o, uint32_t connection)
{
    uint32_t count = o->connections[connection].parked;

    for (uint32_t i = 0; i < o->waiter_count; i++)
        count += o->waiters[i]->connection == connection;
    return count;
}

/* ---- requests ---- */

uint64_t oracle_next_id(const struct oracle *o, uint32_t connection)
{
    const struct connection *k = &o->connections[connection];

    return (uint64_t)k->incarnation << 32 | k->ask_count;
}

struct ask *oracle_ask_of(struct oracle *o, uint32_t connection, uint64_t id)
{
    struct connection *k = &o->connections[connection];

    SIM_CHECK(id >> 32 == k->incarnation && (uint32_t)id < k->ask_count,
              "connection %u is answered for request %lx, which it did not make", connection, id);
    return &k->asks[(uint32_t)id];
}

struct ask *oracle_ask_add(struct oracle *o, uint32_t connection, const struct fanq_request *r)
{
    struct connection *k = &o->connections[connection];
    struct ask *a;

    if (k->ask_count == k->ask_capacity) {
        k->ask_capacity = k->ask_capacity * 2 + 64;
        k->asks = realloc(k->asks, k->ask_capacity * sizeof(*k->asks));
        SIM_CHECK(k->asks != NULL, "out of memory");
    }
    a = &k->asks[k->ask_count++];
    *a = (struct ask){.op = r->op};
    k->open_asks++;
    return a;
}

/* It is answered later than in this turn, or never. */
void oracle_ask_is_long(struct oracle *o, uint32_t connection)
{
    o->connections[connection].open_asks--;
}

/* ---- connections ---- */

void oracle_disconnect(struct oracle *o, uint32_t connection)
{
    struct connection *k = &o->connections[connection];

    for (uint32_t i = 0; i < o->waiter_count;)
        if (o->waiters[i]->connection == connection)
            oracle_waiter_end(o, o->waiters[i]);
        else
            i++;
    k->incarnation++;
    k->ask_count = k->open_asks = k->turn_asks = k->held_count = 0;
    k->parked = 0;
    k->blocked = false;
}

void oracle_block(struct oracle *o, uint32_t connection, bool blocked)
{
    struct connection *k = &o->connections[connection];

    if (k->blocked == blocked)
        return;
    k->blocked = blocked;
    for (uint32_t i = 0; i < o->waiter_count; i++)
        if (o->waiters[i]->connection == connection)
            oracle_line_up(o, o->waiters[i]);
}

/* ---- ends ---- */

/* It ends because of something else than its own time: it is told, in this turn. */
static void waiter_dismiss(struct oracle *o, struct waiter *w, int receive_err, int push_err)
{
    struct ask *a = oracle_ask_of(o, w->connection, w->id);

    if (w->op == FANQ_OP_PUSH)
        a->end_err = push_err;
    else
        a->err = receive_err;
    a->value = 1;
    o->connections[w->connection].open_asks++;
    oracle_waiter_end(o, w);
}

/* Long polls and pushes on a queue that is deleted end with it. */
static void waiters_dismiss(struct oracle *o, const struct book_queue *q)
{
    for (uint32_t i = 0; i < o->waiter_count;) {
        struct waiter *w = o->waiters[i];
        bool waits = false;

        for (uint32_t j = 0; j < w->queue_count; j++)
            waits |= w->queues[j] == q;
        if (waits)
            waiter_dismiss(o, w, FANQ_ERR_QUEUE_NOT_FOUND, FANQ_ERR_QUEUE_NOT_FOUND);
        else
            i++;
    }
}

void oracle_queue_end(struct oracle *o, struct book_queue *q)
{
    waiters_dismiss(o, q);
    queue_end(o, q);
}

static void pushes_dismiss(struct oracle *o, const struct topic_record *t)
{
    for (uint32_t i = 0; i < o->waiter_count;)
        if (o->waiters[i]->topic == t)
            waiter_dismiss(o, o->waiters[i], 0, FANQ_ERR_TOPIC_NOT_FOUND);
        else
            i++;
}

void oracle_topic_end(struct oracle *o, struct topic_record *t)
{
    pushes_dismiss(o, t);
    while (t->subscriber_count > 0)
        (void)oracle_unsubscribe(t, t->subscribers[0]);
    t->alive = false;
    o->topics[t->slot] = NULL;
}

void oracle_drain(struct oracle *o)
{
    o->draining = true;
    while (o->waiter_count > 0)
        waiter_dismiss(o, o->waiters[0], 0, FANQ_ERR_DRAINING);
}
