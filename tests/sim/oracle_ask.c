/* What is asked, what it changes, and how it must be answered. The book is changed when the request is
 * made, as the core changes its state then, however late the effects are looked at. */
#include "oracle.h"

#include <stdlib.h>
#include <string.h>

/* ---- requests ---- */

static int consumer_refusal(const struct oracle *o, uint32_t connection)
{
    if (o->draining)
        return FANQ_ERR_DRAINING;
    return oracle_waiters_of(o, connection) >= o->sim->options.core.waiters_per_connection_max
               ? FANQ_ERR_LIMIT
               : 0;
}

static void ask_receive(struct oracle *o, uint32_t connection, const struct fanq_request *r, struct ask *a)
{
    const struct fanq_receive *receive = &r->receive;
    struct book_queue *queues[FANQ_RECEIVE_QUEUES_MAX];
    struct waiter *w;
    uint64_t wait_ms = receive->wait_ms;

    a->err = consumer_refusal(o, connection);
    for (uint32_t i = 0; i < receive->queue_count && a->err == 0; i++) {
        queues[i] = oracle_queue_resolve(o, receive->queues[i], true);
        if (queues[i] == NULL)
            a->err = FANQ_ERR_QUEUE_NOT_FOUND;
    }
    if (a->err != 0)
        return;
    w = oracle_waiter_make(o, connection, r);
    memcpy(w->queues, queues, sizeof(queues));
    w->queue_count = receive->queue_count;
    if (wait_ms == FANQ_QUEUE_DEFAULT)
        wait_ms = queues[0]->receive_wait_ms;
    w->due_ms = o->book.now_ms + wait_ms;
    w->messages = receive->messages_max;
    w->bytes = receive->bytes_max;
    w->auto_delete = receive->flags & FANQ_RECEIVE_AUTO_DELETE;
    w->visibility_ms = receive->visibility_ms;
    oracle_line_up(o, w);
    oracle_ask_is_long(o, connection);
}

static int push_refusal(struct oracle *o, uint32_t connection, const struct fanq_request *r)
{
    int err = consumer_refusal(o, connection);

    if (err == 0 && r->push.target_kind == FANQ_PUSH_TOPIC && r->push.mode != FANQ_PUSH_AUTO)
        err = FANQ_ERR_INVALID;
    return err;
}

static void ask_push(struct oracle *o, uint32_t connection, const struct fanq_request *r, struct ask *a)
{
    const struct fanq_push *push = &r->push;
    struct topic_record *t = NULL;
    struct book_queue *q = NULL;
    struct waiter *w;

    a->err = push_refusal(o, connection, r);
    if (a->err != 0)
        return;
    if (push->target_kind == FANQ_PUSH_TOPIC)
        t = oracle_topic_resolve(o, push->target, true);
    else
        q = oracle_queue_resolve(o, push->target, true);
    if (t == NULL && q == NULL) {
        a->err = push->target_kind == FANQ_PUSH_TOPIC ? FANQ_ERR_TOPIC_NOT_FOUND : FANQ_ERR_QUEUE_NOT_FOUND;
        return;
    }
    w = oracle_waiter_make(o, connection, r);
    if (t != NULL) {
        q = book_queue_new(&o->book);
        q->ephemeral = true;
        oracle_subscribe(t, q);
        w->topic = t;
    }
    w->queues[0] = q;
    w->queue_count = 1;
    w->due_ms = UINT64_MAX;
    w->messages = push->messages;
    w->bytes = push->bytes;
    w->auto_delete = push->mode == FANQ_PUSH_AUTO;
    w->visibility_ms = push->visibility_ms;
    oracle_line_up(o, w);
}

static void ask_credit(struct oracle *o, uint32_t connection, const struct fanq_request *r, struct ask *a)
{
    struct waiter *w = oracle_waiter_find(o, connection, r->credit.push);
    bool waited = w != NULL && w->messages > 0 && w->bytes > 0;

    a->answered = true; /* it is never answered */
    oracle_ask_is_long(o, connection);
    if (w == NULL || w->op != FANQ_OP_PUSH)
        return;
    w->messages += r->credit.messages;
    w->bytes += r->credit.bytes;
    if (!waited)
        oracle_line_up(o, w);
}

static void ask_push_stop(struct oracle *o, uint32_t connection, const struct fanq_request *r, struct ask *a)
{
    struct waiter *w = oracle_waiter_find(o, connection, r->push_stop);

    if (w == NULL || w->op != FANQ_OP_PUSH)
        a->err = FANQ_ERR_INVALID;
    else
        oracle_waiter_end(o, w);
}

static struct book_queue *queue_of_id(const struct oracle *o, uint64_t id)
{
    for (uint32_t i = 0; i < o->book.queue_count; i++)
        if (o->book.queues[i]->alive && o->book.queues[i]->id == id)
            return o->book.queues[i];
    return NULL;
}

static void message_ack(struct oracle *o, struct book_queue *q, struct book_message *m)
{
    bool unread = m->state == MESSAGE_READY && m->deliveries == 0;

    if (m->state == MESSAGE_GONE || m->state == MESSAGE_PENDING || unread)
        return;
    book_move(q, m, MESSAGE_GONE);
    q->deleted++;
    o->deleted++;
}

/* Gives 1 when the batch held it. */
static uint64_t message_change(struct oracle *o, struct book_queue *q, struct book_message *m,
                               const struct fanq_request *r)
{
    if (m->state != MESSAGE_HELD || m->batch != r->change.batch || m->changed_by == o->next_change)
        return 0;
    m->changed_by = o->next_change;
    m->until_ms = o->book.now_ms + r->change.time_ms;
    if (r->change.time_ms == 0)
        book_move(q, m, MESSAGE_READY);
    else if (r->op == FANQ_OP_NACK)
        book_move(q, m, MESSAGE_DELAYED);
    return 1;
}

static void timer_start(struct oracle *o, struct book_queue *q, struct book_feed *f,
                        const struct fanq_range *range, uint64_t due_ms)
{
    uint64_t first = range->first > f->first ? range->first : f->first;
    uint64_t end = range->first + range->count;

    if (end > f->first + f->count)
        end = f->first + f->count;
    book_timer_add(&o->book, q, f, first, end - first, due_ms);
}

static void ask_change(struct oracle *o, const struct fanq_request *r, struct ask *a)
{
    struct book_queue *q = queue_of_id(o, r->change.queue_id);
    struct fanq_ranges ranges = r->change.ranges;
    struct fanq_range range;

    if (q == NULL) {
        a->err = FANQ_ERR_QUEUE_NOT_FOUND;
        return;
    }
    o->next_change++;
    while (fanq_range_next(&ranges, &range)) {
        struct book_feed *f = book_feed_by_number(q, range.stream);
        uint64_t changed = 0;

        for (uint64_t seq = range.first; f != NULL && seq < range.first + range.count; seq++) {
            struct book_message *m = book_message(f, seq);

            if (m != NULL && r->op == FANQ_OP_ACK)
                message_ack(o, q, m);
            else if (m != NULL)
                changed += message_change(o, q, m, r);
        }
        if (changed > 0 && r->change.time_ms > 0)
            timer_start(o, q, f, &range, o->book.now_ms + r->change.time_ms);
        a->value += changed;
    }
}

/* ---- publishing ---- */

static void accepted_add(struct oracle *o, const struct accepted *accepted)
{
    struct accepteds *all = &o->accepteds;

    if (all->count == all->capacity) {
        all->capacity = all->capacity * 2 + 256;
        all->items = realloc(all->items, all->capacity * sizeof(*all->items));
        SIM_CHECK(all->items != NULL, "out of memory");
    }
    all->items[all->count++] = *accepted;
}

static void stream_append(struct oracle *o, struct book_stream *s, const struct fanq_records *records)
{
    const uint8_t *at = records->data;

    for (uint32_t i = 0; i < records->count; i++) {
        uint32_t bytes = (uint32_t)fanq_record_length(at);
        uint64_t uid;

        memcpy(&uid, at + FANQ_RECORD_PLAIN_BYTES, sizeof(uid));
        book_stream_append(s, uid, bytes);
        at += bytes;
    }
}

static void publish_accept(struct oracle *o, uint32_t connection, const struct fanq_request *r)
{
    const struct fanq_records *records = &r->publish.records;
    struct topic_record *t = r->op == FANQ_OP_PUBLISH ? o->topics[oracle_slot(r->publish.target)] : NULL;
    struct book_queue *q = t == NULL ? o->queues[oracle_slot(r->publish.target)] : NULL;
    struct book_queue **takers = t != NULL ? t->subscribers : &q;
    uint32_t taker_count = t != NULL ? t->subscriber_count : 1;
    struct book_stream *s = t != NULL ? t->stream : q->own;
    uint64_t first = s->next_seq;

    stream_append(o, s, records);
    for (uint32_t i = 0; i < taker_count; i++) {
        book_queue_take(takers[i], s, first, s->next_seq);
        takers[i]->sent += records->count;
    }
    accepted_add(o, &(struct accepted){.connection = connection,
                                       .incarnation = o->connections[connection].incarnation,
                                       .id = r->id,
                                       .want_ids = r->publish.flags & FANQ_PUBLISH_WANT_IDS,
                                       .stream = s,
                                       .first = first,
                                       .count = records->count,
                                       .subscription_count = t != NULL ? t->named_count : 1,
                                       .stored = taker_count > 0});
    if (t != NULL)
        t->published += records->count;
    o->published += records->count;
    SIM_CHECK(taker_count == 0 || records->length <= o->room_most, "%u bytes are taken, the room is %lu",
              records->length, o->room_most);
    o->room_least -= records->length < o->room_least ? records->length : o->room_least;
    if (taker_count > 0)
        o->room_most -= records->length < o->room_most ? records->length : o->room_most;
}

/* Whether it is accepted is known when it was made: see publish_settle(). */
static void ask_publish(struct oracle *o, uint32_t connection, const struct fanq_request *r, struct ask *a)
{
    struct book_queue *q = NULL;

    o->refused = false;
    if (o->draining) {
        a->err = FANQ_ERR_DRAINING;
    } else if (r->op == FANQ_OP_PUBLISH) {
        if (oracle_topic_resolve(o, r->publish.target, true) == NULL)
            a->err = FANQ_ERR_TOPIC_NOT_FOUND;
    } else {
        q = oracle_queue_resolve(o, r->publish.target, true);
        if (q == NULL)
            a->err = FANQ_ERR_QUEUE_NOT_FOUND;
    }
    if (q != NULL && q->own == NULL) {
        q->own = book_stream_new(&o->book);
        book_feed_open(q, q->own);
    }
    if (a->err == 0)
        oracle_ask_is_long(o, connection);
}

static void publish_settle(struct oracle *o, uint32_t connection, const struct fanq_request *r)
{
    uint64_t length = r->publish.records.length;

    if (oracle_ask_of(o, connection, r->id)->err != 0)
        return;
    if (!o->refused) {
        publish_accept(o, connection, r);
        return;
    }
    SIM_CHECK(length > o->room_least, "NO_ROOM for %lu bytes, but there is room for %lu", length,
              o->room_least);
}

/* ---- the catalogue ---- */

static void attributes_apply(struct book_queue *q, const struct fanq_queue_attributes *a)
{
    if (a->set & 1u << FANQ_QUEUE_VISIBILITY_MS)
        q->visibility_ms = a->visibility_ms;
    if (a->set & 1u << FANQ_QUEUE_RECEIVE_WAIT_MS)
        q->receive_wait_ms = a->receive_wait_ms;
    if (a->set & 1u << FANQ_QUEUE_EARLY_DELIVERY)
        book_queue_set_early(q, a->early_delivery);
}

static bool attributes_agree(const struct book_queue *q, const struct fanq_queue_attributes *a)
{
    return (!(a->set & 1u << FANQ_QUEUE_VISIBILITY_MS) || a->visibility_ms == q->visibility_ms) &&
           (!(a->set & 1u << FANQ_QUEUE_RECEIVE_WAIT_MS) || a->receive_wait_ms == q->receive_wait_ms) &&
           (!(a->set & 1u << FANQ_QUEUE_EARLY_DELIVERY) || a->early_delivery == q->early);
}

static void ask_queue(struct oracle *o, const struct fanq_request *r, struct ask *a)
{
    bool attributes = r->op == FANQ_OP_QUEUE_CREATE || r->op == FANQ_OP_QUEUE_SET;
    uint32_t slot = oracle_slot(attributes ? r->queue.name : r->name);
    struct book_queue *q = o->queues[slot];

    a->value = slot;
    if (r->op == FANQ_OP_QUEUE_CREATE) {
        if (q == NULL)
            attributes_apply(oracle_queue_make(o, slot), &r->queue.attributes);
        else if (!attributes_agree(q, &r->queue.attributes))
            a->err = FANQ_ERR_EXISTS;
    } else if (q == NULL) {
        a->err = FANQ_ERR_QUEUE_NOT_FOUND;
    } else if (r->op == FANQ_OP_QUEUE_SET) {
        attributes_apply(q, &r->queue.attributes);
    } else if (r->op == FANQ_OP_PURGE) {
        q->sent -= q->counts[MESSAGE_PENDING]; /* they never were in it for anybody to see */
        book_purge(q);
    } else if (r->op == FANQ_OP_QUEUE_DELETE) {
        oracle_queue_end(o, q);
    }
    a->queue = o->queues[slot];
}

static void ask_topic(struct oracle *o, const struct fanq_request *r, struct ask *a)
{
    uint32_t slot = oracle_slot(r->name);

    a->value = slot;
    if (r->op == FANQ_OP_TOPIC_CREATE && o->topics[slot] == NULL)
        (void)oracle_topic_make(o, slot);
    if (o->topics[slot] == NULL)
        a->err = FANQ_ERR_TOPIC_NOT_FOUND;
    else if (r->op == FANQ_OP_TOPIC_DELETE)
        oracle_topic_end(o, o->topics[slot]);
    a->topic = o->topics[slot];
}

static void ask_subscription(struct oracle *o, const struct fanq_request *r, struct ask *a)
{
    struct topic_record *t = o->topics[oracle_slot(r->subscription.topic)];
    struct book_queue *q = o->queues[oracle_slot(r->subscription.queue)];

    if (t == NULL)
        a->err = FANQ_ERR_TOPIC_NOT_FOUND;
    else if (q == NULL)
        a->err = FANQ_ERR_QUEUE_NOT_FOUND;
    else if (r->op == FANQ_OP_SUBSCRIBE)
        oracle_subscribe(t, q);
    else if (!oracle_unsubscribe(t, q))
        a->err = FANQ_ERR_SUBSCRIPTION_NOT_FOUND;
}

static void ask_peek(struct oracle *o, uint32_t connection, const struct fanq_request *r, struct ask *a)
{
    a->queue = o->queues[oracle_slot(r->peek.queue)];
    if (o->draining)
        a->err = FANQ_ERR_DRAINING;
    else if (a->queue == NULL)
        a->err = FANQ_ERR_QUEUE_NOT_FOUND;
    else if (oracle_waiters_of(o, connection) >= o->sim->options.core.waiters_per_connection_max)
        a->err = FANQ_ERR_LIMIT;
}

void oracle_ask(struct oracle *o, uint32_t connection, const struct fanq_request *r)
{
    struct ask *a = oracle_ask_add(o, connection, r);

    switch (r->op) {
    case FANQ_OP_PUBLISH:
    case FANQ_OP_SEND:
        ask_publish(o, connection, r, a);
        break;
    case FANQ_OP_RECEIVE:
        ask_receive(o, connection, r, a);
        break;
    case FANQ_OP_ACK:
    case FANQ_OP_NACK:
    case FANQ_OP_EXTEND:
        ask_change(o, r, a);
        break;
    case FANQ_OP_PUSH:
        ask_push(o, connection, r, a);
        break;
    case FANQ_OP_CREDIT:
        ask_credit(o, connection, r, a);
        break;
    case FANQ_OP_PUSH_STOP:
        ask_push_stop(o, connection, r, a);
        break;
    case FANQ_OP_PEEK:
        ask_peek(o, connection, r, a);
        break;
    case FANQ_OP_TOPIC_CREATE:
    case FANQ_OP_TOPIC_GET:
    case FANQ_OP_TOPIC_DELETE:
        ask_topic(o, r, a);
        break;
    case FANQ_OP_SUBSCRIBE:
    case FANQ_OP_UNSUBSCRIBE:
        ask_subscription(o, r, a);
        break;
    case FANQ_OP_PING:
    case FANQ_OP_STATS:
    case FANQ_OP_QUEUE_LIST:
    case FANQ_OP_TOPIC_LIST:
        break;
    case FANQ_OP_SUBSCRIPTION_LIST:
        a->value = oracle_slot(r->subscription_list.topic);
        a->err = o->topics[a->value] == NULL ? FANQ_ERR_TOPIC_NOT_FOUND : 0;
        break;
    default:
        ask_queue(o, r, a);
        break;
    }
}

/* Answers that tell how things are must be compared before things change; a publish that may not fit
 * must be known to have been taken or refused. */
bool oracle_must_see(const struct oracle *o, const struct fanq_request *r)
{
    switch (r->op) {
    case FANQ_OP_PUBLISH:
    case FANQ_OP_SEND:
        return r->publish.records.length > o->room_least;
    case FANQ_OP_PEEK:
    case FANQ_OP_QUEUE_CREATE:
    case FANQ_OP_QUEUE_GET:
    case FANQ_OP_QUEUE_SET:
    case FANQ_OP_TOPIC_CREATE:
    case FANQ_OP_TOPIC_GET:
    case FANQ_OP_QUEUE_LIST:
    case FANQ_OP_TOPIC_LIST:
    case FANQ_OP_SUBSCRIPTION_LIST:
        return true;
    default:
        return false;
    }
}

void oracle_asked(struct oracle *o, uint32_t connection, const struct fanq_request *r)
{
    struct ask *a = oracle_ask_of(o, connection, r->id);

    if (r->op == FANQ_OP_PUBLISH || r->op == FANQ_OP_SEND)
        publish_settle(o, connection, r);
    if (r->op == FANQ_OP_PEEK && !a->answered) {
        a->parked = true;
        o->connections[connection].parked++;
        oracle_ask_is_long(o, connection);
    }
}
