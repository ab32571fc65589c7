/* Giving messages to those who wait: what came back first, then what is unread, in order of arrival.
 *
 * A delivery is a row of slices, each a part of one block. It is cut exactly by count and bytes, and holds at
 * least one message whatever its size. In ack mode its messages become runs of a new batch; in auto mode they
 * are gone. */
#include "state.h"

enum {
    SLICES_MAX = 1024,    /* in one delivery */
    SLICE_COST_BYTES = 48 /* of a slice's fields, counted against FANQ_DELIVERY_BYTES_MAX */
};

struct plan {
    struct queue *queue;
    struct consumer *consumer;
    struct holder *batch; /* NULL: auto mode */
    struct run *last_run; /* of unread messages in this batch: grows while it can */
    struct fanq_slice *slices;
    uint32_t slice_count;
    uint64_t messages_left;
    uint64_t bytes_left; /* that the consumer wants */
    uint64_t frame_left; /* of FANQ_DELIVERY_BYTES_MAX */
    uint64_t messages, bytes;
    uint64_t dropped;
};

/* ---- cutting by count and bytes ---- */

size_t block_offset(const struct block *b, uint32_t n)
{
    size_t offset = 0;

    while (n-- > 0)
        offset += fanq_record_length(b->records + offset);
    return offset;
}

uint64_t block_epoch(const struct core *c, const struct block *b)
{
    uint64_t epoch = b->arrival >> BLOCK_EPOCH_SHIFT;

    return epoch != 0 ? epoch : c->options.epoch;
}

static bool plan_full(const struct plan *p)
{
    return p->messages_left == 0 || p->slice_count == SLICES_MAX ||
           (p->slice_count > 0 && (p->bytes_left == 0 || p->frame_left <= SLICE_COST_BYTES));
}

static bool plan_fits(const struct plan *p, size_t length)
{
    return length <= p->bytes_left && length + SLICE_COST_BYTES <= p->frame_left;
}

static uint64_t subtract_down_to_zero(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* Takes up to `count` messages of the block from `seq` on into a new slice; gives how many fitted. */
static uint32_t plan_take(struct core *c, struct plan *p, uint64_t stream, const struct block *b,
                          uint64_t seq, uint64_t count)
{
    struct fanq_slice *slice = &p->slices[p->slice_count];
    size_t offset = 0, length = 0;
    uint32_t n = 0;

    if (count > p->messages_left)
        count = p->messages_left;
    if (count == b->count && plan_fits(p, b->bytes)) {
        length = b->bytes;
        n = b->count;
    } else {
        offset = block_offset(b, (uint32_t)(seq - b->first_seq));
        while (n < count) {
            size_t next = fanq_record_length(b->records + offset + length);

            if (p->messages + n > 0 && !plan_fits(p, length + next))
                break;
            length += next;
            n++;
        }
    }
    if (n == 0)
        return 0;
    *slice = (struct fanq_slice){.stream = stream,
                                 .epoch = block_epoch(c, b),
                                 .first_seq = seq,
                                 .time_ms = b->time_ms,
                                 .deliveries = 1,
                                 .records = {b->records + offset, length, n}};
    p->slice_count++;
    p->messages += n;
    p->bytes += length;
    p->messages_left -= n;
    p->bytes_left = subtract_down_to_zero(p->bytes_left, length);
    p->frame_left = subtract_down_to_zero(p->frame_left, length + SLICE_COST_BYTES);
    return n;
}

static bool block_at(const struct core *c, const struct feed *f, uint64_t seq, struct block *ret_block)
{
    return c->options.view.block(c->options.view.context, f->stream->number, seq, ret_block);
}

static void ask_for(struct effects *out, const struct feed *f, uint64_t first_seq, uint64_t end)
{
    struct effect *e = effect_add(out, EFFECT_FETCH);

    e->fetch.stream = f->stream->number;
    e->fetch.first_seq = first_seq;
    e->fetch.count = end - first_seq;
}

/* ---- what came back ---- */

static void redelivery_take(struct core *c, struct plan *p, struct run *r)
{
    struct fanq_slice *slice = &p->slices[p->slice_count - 1];
    struct feed *f = r->feed;

    slice->deliveries = r->deliveries + 1;
    slice->first_receive_ms = r->first_receive_ms;
    if (p->batch == NULL) {
        p->queue->deleted += r->live;
        c->deleted += r->live;
        journal_gone(c, f, r->node.key, r->end);
        run_free(c, r);
        (void)feed_raise_floor(c, f); /* may free it */
        return;
    }
    if (r->deliveries++ == 0)
        r->first_receive_ms =
            c->wall_ms; /* it came back because the broker ended, and nobody knows of more */
    run_move(c, r, p->batch, false);
    run_merge_back(c, r);
}

static int plan_redelivery(struct core *c, struct plan *p, struct effects *out)
{
    struct list *link;

    while (!plan_full(p) && (link = list_first(&p->queue->redelivery.runs)) != NULL) {
        struct run *r = container_of(link, struct run, link);
        struct feed *f = r->feed;
        uint64_t seq = r->node.key, end;
        struct block b;
        bool found = block_at(c, f, seq, &b);
        uint32_t n;

        assert(found && b.first_seq <= seq); /* held messages are not trimmed */
        if (run_reserve(c) != 0 || journal_reserve(c, 2) != 0 || effects_reserve(out, 2) != 0)
            return FANQ_ERR_NOMEM;
        end = r->end < b.first_seq + b.count ? r->end : b.first_seq + b.count;
        if (b.records == NULL) {
            ask_for(out, f, seq, end);
            run_move(c, run_cut(c, r, seq, end), &p->queue->absent, false);
            continue;
        }
        n = plan_take(c, p, f->stream->number, &b, seq, gone_next_gone(&f->gone, seq, end) - seq);
        if (n == 0) {
            p->messages_left = 0; /* nothing smaller that is new may overtake it */
            break;
        }
        redelivery_take(c, p, run_cut(c, r, seq, seq + n));
    }
    return 0;
}

/* ---- what is unread ---- */

static void sort_feed(struct core *c, struct queue *q, struct feed *f)
{
    struct block b;

    if (f->head_arrival == 0) {
        bool found = block_at(c, f, f->next, &b);

        assert(found);
        f->head_arrival = b.arrival;
    }
    list_remove(&f->link_ready);
    tree_insert(&q->sorted, &f->arrival_node, f->head_arrival);
    f->sorted = true;
}

/* The ready feed whose next message came first. Most queues have one ready feed at most, and it needs no look-up;
 * of many, each is looked up once a block. */
static struct feed *next_feed(struct core *c, struct queue *q)
{
    struct list *link = list_first(&q->ready);

    if (q->sorted.count == 0 && (link == NULL || link->next == &q->ready))
        return link == NULL ? NULL : container_of(link, struct feed, link_ready);
    for (; link != NULL; link = list_first(&q->ready))
        sort_feed(c, q, container_of(link, struct feed, link_ready));
    return container_of(tree_first(&q->sorted), struct feed, arrival_node);
}

/* Its next message is another block's. */
static void feed_head_moved(struct feed *f)
{
    f->head_arrival = 0;
    if (f->sorted) {
        feed_not_ready(f);
        list_append(&f->queue->ready, &f->link_ready);
    }
}

static void feed_fetch(struct feed *f, const struct block *b, struct effects *out)
{
    ask_for(out, f, f->next, b->first_seq + b->count);
    f->fetching = true;
    f->fetch_seq = f->next;
    f->queue->fetching_feeds++;
    feed_not_ready(f);
}

static void unread_take(struct core *c, struct plan *p, struct feed *f, uint32_t n, const struct block *b)
{
    uint64_t first = f->next;

    f->next += n;
    if (p->batch == NULL) {
        p->queue->deleted += n;
        c->deleted += n;
        journal_gone(c, f, first, first + n);
    } else if (p->last_run != NULL && p->last_run->feed == f && p->last_run->end == first) {
        run_grow(c, p->last_run, n);
    } else {
        p->last_run = run_new(c, f, first, first + n, p->batch);
        p->last_run->deliveries = 1;
        p->last_run->first_receive_ms = c->wall_ms;
    }
    if (f->next == b->first_seq + b->count)
        feed_head_moved(f);
    if (f->next >= f->unread[0].end || f->next >= feed_limit(f))
        feed_settle(c, f);
    (void)feed_raise_floor(c, f); /* may free it */
}

static int plan_unread(struct core *c, struct plan *p, struct effects *out)
{
    struct feed *f;

    while (!plan_full(p) && (f = next_feed(c, p->queue)) != NULL) {
        struct block b;
        bool found = block_at(c, f, f->next, &b);
        uint64_t end;
        uint32_t n;

        assert(found && b.first_seq <= f->next); /* what a feed has not read is stored */
        if (run_reserve(c) != 0 || journal_reserve(c, 2) != 0 || effects_reserve(out, 2) != 0)
            return FANQ_ERR_NOMEM;
        if (b.records == NULL) {
            feed_fetch(f, &b, out);
            continue;
        }
        end = f->unread[0].end < feed_limit(f) ? f->unread[0].end : feed_limit(f);
        if (end > b.first_seq + b.count)
            end = b.first_seq + b.count;
        n = plan_take(c, p, f->stream->number, &b, f->next, end - f->next);
        if (n == 0)
            break;
        p->dropped += f->dropped;
        f->dropped = 0;
        unread_take(c, p, f, n, &b);
    }
    return 0;
}

/* ---- one delivery ---- */

static bool queue_has_any(const struct queue *q)
{
    return !list_empty(&q->redelivery.runs) || !list_empty(&q->ready) || q->sorted.count > 0;
}

static void plan_give(struct core *c, struct plan *p, struct effects *out)
{
    struct consumer *k = p->consumer;
    struct effect *e = effect_add(out, EFFECT_DELIVER);

    e->connection = k->connection;
    e->reply.op = FANQ_REPLY_DELIVER;
    e->reply.id = k->request_id;
    e->reply.deliver = (struct fanq_delivery){.queue_id = p->queue->id,
                                              .batch = p->batch == NULL ? 0 : p->batch->batch,
                                              .dropped = p->dropped,
                                              .slices = p->slices,
                                              .slice_count = p->slice_count};
    p->queue->delivered += p->messages;
    c->delivered += p->messages;
    c->served_bytes += p->bytes + (uint64_t)p->slice_count * SLICE_COST_BYTES;
    if (k->kind == CONSUMER_RECEIVE) {
        consumer_free(c, k);
        return;
    }
    if (p->batch != NULL)
        list_append(&k->batches, &p->batch->link_consumer);
    k->served_turn = c->turn;
    k->messages -= p->messages;
    k->bytes = subtract_down_to_zero(k->bytes, p->bytes);
    consumer_step_back(k);
    consumer_line_up(c, k); /* behind the others, or aside without credit */
}

static int plan_init(struct core *c, struct plan *p, struct queue *q, struct consumer *k, struct effects *out)
{
    uint64_t allowed = c->options.in_flight_per_queue_max - q->in_flight - q->delayed;

    *p = (struct plan){.queue = q,
                       .consumer = k,
                       .messages_left = k->messages,
                       .bytes_left = k->bytes,
                       .frame_left = FANQ_DELIVERY_BYTES_MAX};
    if (!k->auto_delete && p->messages_left > allowed)
        p->messages_left = allowed;
    p->slices = arena_take(&out->arena, SLICES_MAX * sizeof(*p->slices));
    if (p->slices == NULL || run_reserve(c) != 0 || effects_reserve(out, 2) != 0)
        return FANQ_ERR_NOMEM;
    if (!k->auto_delete)
        p->batch = holder_new(c, HOLDER_BATCH, q,
                              c->now_ms + (k->own_visibility ? k->visibility_ms : q->visibility_ms));
    return 0;
}

/* *ret_given: false when there was nothing that could be given. */
static int deliver(struct core *c, struct queue *q, struct consumer *k, struct effects *out, bool *ret_given)
{
    struct plan p;
    int err = plan_init(c, &p, q, k, out);

    if (err == 0)
        err = plan_redelivery(c, &p, out);
    if (err == 0)
        err = plan_unread(c, &p, out);
    if (p.slices != NULL)
        arena_trim(&out->arena, p.slices, p.slice_count * sizeof(*p.slices));
    if (p.slice_count > 0)
        plan_give(c, &p, out); /* its effect was reserved with the last slice */
    else if (p.batch != NULL)
        holder_release_if_empty(c, p.batch);
    *ret_given = p.slice_count > 0;
    return err;
}

/* ---- SERVE ---- */

/* Who is served next. What is delayed counts like what is in flight: both are runs, and the limit bounds them. Beyond
 * it only those go on that hold nothing. */
static struct consumer *next_in_line(const struct core *c, const struct queue *q)
{
    bool limited = q->in_flight + q->delayed >= c->options.in_flight_per_queue_max;

    list_for_each (link, &q->waits) {
        struct consumer *k = container_of(link, struct wait, link_queue)->consumer;

        if (!limited || k->auto_delete)
            return k;
    }
    return NULL;
}

/* The rest waits for the next turn, which comes at once: a thousand long polls that find a backlog must not hold up
 * everybody else while it is sent, nor fill the memory with what their sockets do not take. */
static bool served_enough(const struct core *c)
{
    return c->served_bytes >= c->options.serve_bytes_max;
}

static int queue_serve(struct core *c, struct queue *q, struct effects *out)
{
    struct consumer *k;
    bool given = true;
    int err = 0;

    while (err == 0 && given && queue_has_any(q) && (k = next_in_line(c, q)) != NULL) {
        if (served_enough(c) || (k->kind == CONSUMER_PUSH && k->served_turn == c->turn)) {
            list_remove(&q->link_kicked);
            list_append(&c->later, &q->link_kicked);
            break;
        }
        err = deliver(c, q, k, out, &given);
    }
    return err;
}

/* There may be something for k, which this SERVE did not come to. */
static bool consumer_in_line(struct core *c, const struct consumer *k)
{
    if (!served_enough(c) || session_of(c, k->connection)->blocked)
        return false;
    list_for_each (link, &k->waits) {
        const struct queue *q = container_of(link, struct wait, link_consumer)->queue;

        if (list_linked(&q->link_kicked) && queue_has_any(q))
            return true;
    }
    return false;
}

/* Receives whose time is over: unless there is about to be something for them, they end empty. */
static int answer_immediate(struct core *c, struct effects *out)
{
    struct list *link = c->immediate.next;

    while (link != &c->immediate) {
        struct consumer *k = container_of(link, struct consumer, link_waiting);

        link = link->next;
        if (consumer_fetching(k) || consumer_in_line(c, k))
            continue;
        if (effects_reserve(out, 1) != 0)
            return FANQ_ERR_NOMEM;
        consumer_end(c, k, out, 0);
    }
    return 0;
}

int serve_step(struct core *c, struct effects *out)
{
    struct list *link;
    int err = 0;

    c->served_bytes = 0;
    while ((link = list_first(&c->later)) != NULL) {
        list_remove(link);
        list_append(&c->kicked, link);
    }
    while (err == 0 && !served_enough(c) && (link = list_first(&c->kicked)) != NULL) {
        struct queue *q = container_of(link, struct queue, link_kicked);

        list_remove(link);
        err = queue_serve(c, q, out);
        if (err != 0)
            queue_kick(q); /* it goes on when SERVE is stepped again */
    }
    if (err == 0)
        err = peek_again(c, out);
    if (err == 0)
        err = answer_immediate(c, out);
    if (err == 0 && !c->journalling)
        err = settle_streams(c, out); /* else with the commit whose facts say so */
    return err;
}
