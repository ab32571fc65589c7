/* Deliveries: the right messages, of the right queue, to who is next, no more than was asked for and no
 *             less. */
#include "oracle.h"

enum { SLICE_BYTES_ASSUMED = 64, SLICES_MANY = 500 };

struct given {
    struct oracle *oracle;
    struct waiter *waiter;
    struct book_queue *queue;
    const struct fanq_delivery *delivery;
    uint64_t count, bytes;
    uint32_t last_bytes; /* of the last message */
    bool first_time;     /* one of the messages was not delivered before */
};

/* ---- nothing to give ---- */

static void ended_empty(struct oracle *o, const struct effect *e)
{
    struct waiter *w = oracle_waiter_find(o, e->connection, e->reply.id);
    struct ask *a = oracle_ask_of(o, e->connection, e->reply.id);

    SIM_CHECK(!a->answered && a->op == FANQ_OP_RECEIVE, "request %lx ends a second time", e->reply.id);
    a->answered = true;
    if (w == NULL) {
        SIM_CHECK(a->value == 1 && a->err == 0, "request %lx ends empty", e->reply.id); /* drained */
        o->connections[e->connection].open_asks--;
        return;
    }
    SIM_CHECK(w->due_ms <= o->sim->now_ms, "request %lx ends before its time", e->reply.id);
    for (uint32_t i = 0; i < w->queue_count && w->place != 0; i++) {
        const struct book_queue *q = w->queues[i];

        SIM_CHECK(q->counts[MESSAGE_READY] == 0 ||
                      book_queue_runs(q) >= o->sim->options.core.in_flight_per_queue_max,
                  "request %lx ends empty, queue %u has %lu messages ready", e->reply.id, q->slot,
                  q->counts[MESSAGE_READY]);
    }
    o->empty++;
    oracle_waiter_end(o, w);
}

/* ---- whose turn it is ---- */

static bool waits_on(const struct waiter *w, const struct book_queue *q)
{
    for (uint32_t i = 0; i < w->queue_count; i++)
        if (w->queues[i] == q)
            return true;
    return false;
}

static void turn_check(const struct oracle *o, const struct waiter *w, const struct book_queue *q)
{
    bool limited = book_queue_runs(q) >= o->sim->options.core.in_flight_per_queue_max;

    SIM_CHECK(oracle_waiter_eligible(o, w) && w->place != 0, "request %lx is not to be served now", w->id);
    for (uint32_t i = 0; i < o->waiter_count; i++) {
        const struct waiter *other = o->waiters[i];

        if (limited && !other->auto_delete)
            continue; /* who would hold messages has to wait, who does not goes past */
        SIM_CHECK(other->place == 0 || other->place >= w->place || !waits_on(other, q),
                  "request %lx is served, request %lx came before", w->id, other->id);
    }
}

/* The queue that the messages are from: known by id, or else by the stream of the first slice. */
static struct book_queue *queue_given(const struct waiter *w, const struct fanq_delivery *d)
{
    for (uint32_t i = 0; i < w->queue_count; i++)
        if (w->queues[i]->id == d->queue_id)
            return w->queues[i];
    SIM_CHECK(w->queues[0]->ephemeral && w->queues[0]->id == 0, "request %lx gets messages of queue %lu",
              w->id, d->queue_id);
    w->queues[0]->id = d->queue_id;
    return w->queues[0];
}

/* ---- messages ---- */

/* The backlog of an ephemeral subscription is bounded: the oldest were dropped. Gives how many. */
static uint64_t dropped_before(struct book_queue *q, struct book_feed *f, uint64_t seq)
{
    struct book_message *m;
    uint64_t unread, count = 0;

    while ((m = book_unread(f, &unread)) != NULL && unread < seq) {
        book_move(q, m, MESSAGE_GONE);
        count++;
    }
    return count;
}

static void first_delivery(struct given *g, struct book_feed *f, uint64_t seq, const struct book_body *body)
{
    uint64_t unread;

    SIM_CHECK(book_unread(f, &unread) != NULL && unread == seq,
              "message %lu of stream %lu is delivered, %lu comes before", seq, f->stream->number, unread);
    SIM_CHECK(body->arrival >= g->queue->arrival_last || g->oracle->absent_blocks,
              "message %lu of stream %lu is delivered behind one that came later", seq, f->stream->number);
    g->queue->arrival_last = body->arrival;
    g->first_time = true;
}

static void message_given(struct given *g, struct book_feed *f, uint64_t seq, const struct fanq_slice *slice)
{
    struct oracle *o = g->oracle;
    struct book_message *m = book_message(f, seq);

    SIM_CHECK(m != NULL && m->state == MESSAGE_READY, "message %lu of stream %lu is delivered in state %d",
              seq, slice->stream, m == NULL ? -1 : m->state);
    SIM_CHECK(m->deliveries + 1 == slice->deliveries && m->first_receive_ms == slice->first_receive_ms,
              "message %lu of stream %lu: delivery %u since %lu, not %u since %lu", seq, slice->stream,
              slice->deliveries, slice->first_receive_ms, m->deliveries + 1, m->first_receive_ms);
    SIM_CHECK(m->deliveries == 0 || !g->first_time,
              "message %lu of stream %lu comes again, but behind new ones", seq, slice->stream);
    if (m->deliveries == 0)
        first_delivery(g, f, seq, &f->stream->bodies[seq]);
    book_move(g->queue, m, g->waiter->auto_delete ? MESSAGE_GONE : MESSAGE_HELD);
    if (m->deliveries++ == 0)
        m->first_receive_ms = o->sim->wall_ms;
    m->batch = g->delivery->batch;
}

static void slice_bytes_check(const struct given *g, const struct book_feed *f,
                              const struct fanq_slice *slice)
{
    const uint8_t *at = slice->records.data;

    for (uint32_t i = 0; i < slice->records.count; i++) {
        const struct book_body *body = &f->stream->bodies[slice->first_seq + i];

        SIM_CHECK(slice->time_ms == body->time_ms, "a message has a wrong time");
        at += oracle_record_check(at, body, "delivery");
    }
    SIM_CHECK(at == slice->records.data + slice->records.length, "a slice has a wrong length (queue %u)",
              g->queue->slot);
}

static void slice_hold(struct given *g, struct book_feed *f, const struct fanq_slice *slice)
{
    struct oracle *o = g->oracle;
    struct waiter *w = g->waiter;
    uint64_t until_ms = o->book.now_ms +
                        (w->visibility_ms == FANQ_QUEUE_DEFAULT ? g->queue->visibility_ms : w->visibility_ms);
    struct hold hold = {g->queue,
                        f,
                        g->delivery->queue_id,
                        g->delivery->batch,
                        slice->stream,
                        slice->first_seq,
                        slice->records.count};

    for (uint32_t i = 0; i < slice->records.count; i++)
        book_message(f, slice->first_seq + i)->until_ms = until_ms;
    book_timer_add(&o->book, g->queue, f, slice->first_seq, slice->records.count, until_ms);
    holds_add(&o->connections[w->connection].given, &hold);
    if (w->op == FANQ_OP_PUSH)
        holds_add(&w->holds, &hold);
}

static void slice_given(struct given *g, const struct fanq_slice *slice)
{
    struct book_feed *f = book_feed_by_number(g->queue, slice->stream);
    uint64_t before = g->count;

    SIM_CHECK(f != NULL && slice->records.count > 0, "queue %u does not take from stream %lu", g->queue->slot,
              slice->stream);
    SIM_CHECK(slice->epoch == g->oracle->sim->options.core.epoch, "a slice has a wrong epoch");
    if (g->queue->ephemeral && g->count == 0)
        SIM_CHECK(dropped_before(g->queue, f, slice->first_seq) == g->delivery->dropped,
                  "wrong count of dropped");
    for (uint32_t i = 0; i < slice->records.count; i++)
        message_given(g, f, slice->first_seq + i, slice);
    slice_bytes_check(g, f, slice);
    if (!g->waiter->auto_delete)
        slice_hold(g, f, slice);
    g->count = before + slice->records.count;
    g->bytes += slice->records.length;
    g->last_bytes = f->stream->bodies[slice->first_seq + slice->records.count - 1].bytes;
}

/* ---- the whole delivery ---- */

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* No more than was asked for; a push's last delivery may exceed its bytes by one message. */
static void limits_check(const struct given *g)
{
    const struct waiter *w = g->waiter;
    const struct core_options *options = &g->oracle->sim->options.core;
    uint64_t bytes_max = least(w->bytes, FANQ_DELIVERY_BYTES_MAX);

    SIM_CHECK(g->count <= w->messages, "request %lx gets %lu messages, it asked for %lu", w->id, g->count,
              w->messages);
    SIM_CHECK(g->bytes <= bytes_max || g->count == 1 ||
                  (w->op == FANQ_OP_PUSH && g->bytes <= FANQ_DELIVERY_BYTES_MAX &&
                   g->bytes - g->last_bytes < w->bytes),
              "request %lx gets %lu bytes, it asked for %lu", w->id, g->bytes, w->bytes);
    SIM_CHECK(book_queue_runs(g->queue) <= options->in_flight_per_queue_max,
              "queue %u has %lu messages in flight or delayed", g->queue->slot, book_queue_runs(g->queue));
}

/* The bytes of the message that would have come next, when there is just one candidate. */
static uint32_t next_bytes(struct book_queue *q)
{
    uint32_t bytes = 0;

    if (q->ready_again > 0)
        return 0;
    for (uint32_t i = 0; i < q->feed_count; i++) {
        uint64_t seq;

        if (book_unread(q->feeds[i], &seq) == NULL)
            continue;
        if (bytes != 0)
            return 0;
        bytes = q->feeds[i]->stream->bodies[seq].bytes;
    }
    return bytes;
}

/* No less, either. */
static void nothing_left_out(const struct given *g)
{
    const struct waiter *w = g->waiter;
    struct book_queue *q = g->queue;
    bool limited =
        !w->auto_delete && book_queue_runs(q) >= g->oracle->sim->options.core.in_flight_per_queue_max;
    uint32_t slices = g->delivery->slice_count, next;

    if (g->oracle->sim->options.absent_percent > 0 || limited || g->count == w->messages ||
        q->counts[MESSAGE_READY] == 0 || slices > SLICES_MANY)
        return;
    SIM_CHECK(!g->first_time || q->ready_again == 0, "new messages are delivered, %lu that came back are not",
              q->ready_again);
    next = next_bytes(q);
    SIM_CHECK(next == 0 || g->bytes + next > w->bytes ||
                  g->bytes + next + (slices + 1) * SLICE_BYTES_ASSUMED > FANQ_DELIVERY_BYTES_MAX,
              "request %lx gets %lu messages of %lu bytes in %u slices, one more of %u would fit in %lu",
              w->id, g->count, g->bytes, slices, next, w->bytes);
}

static void waiter_served(struct oracle *o, struct given *g)
{
    struct waiter *w = g->waiter;

    if (w->op == FANQ_OP_RECEIVE) {
        oracle_ask_of(o, w->connection, w->id)->answered = true;
        oracle_waiter_end(o, w);
        return;
    }
    SIM_CHECK(oracle_ask_of(o, w->connection, w->id)->answered, "push %lx delivers before it is accepted",
              w->id);
    SIM_CHECK(w->served_turn != o->sim->turn, "push %lx delivers a second time in a turn", w->id);
    w->served_turn = o->sim->turn;
    w->messages -= g->count;
    w->bytes -= least(g->bytes, w->bytes);
    oracle_line_up(o, w);
}

void oracle_deliver(struct oracle *o, const struct effect *effect)
{
    const struct fanq_delivery *d = &effect->reply.deliver;
    struct waiter *w = oracle_waiter_find(o, effect->connection, effect->reply.id);
    struct given g;

    if (d->slice_count == 0) {
        ended_empty(o, effect);
        return;
    }
    SIM_CHECK(w != NULL, "request %lx gets messages, but does not wait", effect->reply.id);
    g = (struct given){.oracle = o, .waiter = w, .queue = queue_given(w, d), .delivery = d};
    turn_check(o, w, g.queue);
    SIM_CHECK((d->batch == 0) == w->auto_delete, "request %lx gets batch %lu", w->id, d->batch);
    for (uint32_t i = 0; i < d->slice_count; i++)
        slice_given(&g, &d->slices[i]);
    limits_check(&g);
    nothing_left_out(&g);
    g.queue->delivered += g.count;
    o->delivered += g.count;
    if (w->auto_delete) {
        g.queue->deleted += g.count;
        o->deleted += g.count;
    }
    waiter_served(o, &g);
}
