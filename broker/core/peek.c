/* Looking without consuming: the messages of a queue by stream and seq, with their state.
 *
 * A page ends at its count or bytes, or before the first message that is not in memory; a page that would be
 * empty for that reason waits until it is. */
#include "state.h"

enum { PEEK_SLICES_MAX = 512 };

struct walk {
    struct core *core;
    const struct fanq_peek *peek;
    struct fanq_peeked_slice *slices;
    uint32_t slice_count;
    uint64_t messages, bytes;
    bool full;
    struct feed *absent; /* stopped here because the block at absent_seq is not in memory */
    uint64_t absent_seq, absent_end;
    uint64_t last_stream, last_seq; /* of the last message shown */
};

static bool walk_over(const struct walk *w)
{
    return w->full || w->absent != NULL;
}

/* How many of the block's messages from seq on, at most count, still fit; *ret_length their bytes. */
static uint32_t walk_fit(struct walk *w, const struct block *b, size_t offset, uint64_t count,
                         size_t *ret_length)
{
    uint32_t n = 0;
    size_t length = 0;

    while (n < count) {
        size_t next = fanq_record_length(b->records + offset + length);

        if (w->messages + n >= w->peek->messages_max ||
            (w->bytes + length + next > w->peek->bytes_max && w->messages + n > 0)) {
            w->full = true;
            break;
        }
        length += next;
        n++;
    }
    *ret_length = length;
    return n;
}

/* Shows the live messages [first, end), which lie in one block and share one history. */
static void walk_slice(struct walk *w, struct feed *f, const struct block *b, uint64_t first, uint64_t end,
                       const struct fanq_peeked_slice *like)
{
    size_t offset = block_offset(b, (uint32_t)(first - b->first_seq)), length;
    uint32_t n = walk_fit(w, b, offset, end - first, &length);
    struct fanq_peeked_slice *s = &w->slices[w->slice_count];

    if (n == 0)
        return;
    *s = *like;
    s->slice.stream = f->stream->number;
    s->slice.epoch = block_epoch(w->core, b);
    s->slice.first_seq = first;
    s->slice.time_ms = b->time_ms;
    s->slice.records = (struct fanq_records){b->records + offset, length, n};
    w->slice_count++;
    w->messages += n;
    w->bytes += length;
    w->last_stream = f->stream->number;
    w->last_seq = first + n - 1;
    if (w->slice_count == PEEK_SLICES_MAX)
        w->full = true;
}

/* Shows what is live of [first, end), all of it of one history. */
static void walk_span(struct walk *w, struct feed *f, uint64_t first, uint64_t end,
                      const struct fanq_peeked_slice *like)
{
    const struct view *view = &w->core->options.view;

    while (!walk_over(w) && (first = gone_next_live(&f->gone, first, end)) < end) {
        uint64_t stop = gone_next_gone(&f->gone, first, end);
        struct block b;
        bool found = view->block(view->context, f->stream->number, first, &b);

        assert(found && b.first_seq <= first);
        if (stop > b.first_seq + b.count)
            stop = b.first_seq + b.count;
        if (b.records == NULL) {
            w->absent = f;
            w->absent_seq = first;
            w->absent_end = stop;
            return;
        }
        walk_slice(w, f, &b, first, stop, like);
        first = stop;
    }
}

static uint32_t state_of(const struct holder *h)
{
    switch (h->kind) {
    case HOLDER_BATCH:
        return FANQ_STATE_IN_FLIGHT;
    case HOLDER_DELAY:
        return FANQ_STATE_DELAYED;
    case HOLDER_REDELIVERY:
    case HOLDER_ABSENT:
        break;
    }
    return FANQ_STATE_READY;
}

static void walk_held(struct walk *w, struct feed *f, uint64_t from)
{
    struct run *r = run_reaching(f, from);

    for (; r != NULL && !walk_over(w); r = run_next(r)) {
        uint32_t state = state_of(r->holder);
        struct fanq_peeked_slice like = {
            .slice = {.deliveries = r->deliveries, .first_receive_ms = r->first_receive_ms},
            .state = state,
            .due_ms = timer_running(&r->holder->timer) && r->holder->timer.due_ms > w->core->now_ms
                          ? r->holder->timer.due_ms - w->core->now_ms
                          : 0};

        if (w->peek->states & state)
            walk_span(w, f, r->node.key > from ? r->node.key : from, r->end, &like);
    }
}

static void walk_unread(struct walk *w, struct feed *f, uint64_t from)
{
    struct fanq_peeked_slice like = {.state = FANQ_STATE_READY};
    uint64_t limit = feed_limit(f);

    if (from < f->next)
        from = f->next;
    for (uint32_t i = 0; i < f->unread_count && !walk_over(w) && w->peek->states & FANQ_STATE_READY; i++) {
        uint64_t first = f->unread[i].first > from ? f->unread[i].first : from;
        uint64_t end = f->unread[i].end < limit ? f->unread[i].end : limit;

        if (first < end)
            walk_span(w, f, first, end, &like);
    }
}

static void walk_queue(struct walk *w, struct queue *q)
{
    const struct fanq_peek *peek = w->peek;
    struct tree_node *node = tree_at_least(&q->feeds, peek->after_valid ? peek->after_stream : 0);

    for (; node != NULL && !walk_over(w); node = tree_next(node)) {
        struct feed *f = container_of(node, struct feed, node);
        uint64_t from = f->floor;

        if (peek->after_valid && f->stream->number == peek->after_stream && from <= peek->after_seq)
            from = peek->after_seq + 1;
        walk_held(w, f, from);
        walk_unread(w, f, from);
    }
}

static int park(struct core *c, uint32_t connection, uint64_t id, const struct fanq_peek *peek,
                uint64_t queue_id, const struct walk *w, struct effects *out)
{
    struct consumer *k = consumer_new(c, CONSUMER_PEEK, connection, id);
    struct effect *e;

    if (k == NULL)
        return FANQ_ERR_NOMEM;
    k->messages = peek->messages_max;
    k->bytes = peek->bytes_max;
    k->peek.queue_id = queue_id;
    k->peek.states = peek->states;
    k->peek.after_valid = peek->after_valid;
    k->peek.after_stream = peek->after_stream;
    k->peek.after_seq = peek->after_seq;
    k->peek.absent_stream = w->absent->stream->number;
    k->peek.absent_seq = w->absent_seq;
    list_append(&c->peeks, &k->link_waiting);
    e = effect_add(out, EFFECT_FETCH);
    e->fetch.stream = w->absent->stream->number;
    e->fetch.first_seq = w->absent_seq;
    e->fetch.count = w->absent_end - w->absent_seq;
    return 0;
}

static int peek_queue(struct core *c, uint32_t connection, uint64_t id, const struct fanq_peek *peek,
                      struct queue *q, struct effects *out)
{
    struct walk w = {.core = c, .peek = peek};
    struct fanq_reply *reply;

    w.slices = arena_take(&out->arena, PEEK_SLICES_MAX * sizeof(*w.slices));
    if (w.slices == NULL || effects_reserve(out, 1) != 0)
        return FANQ_ERR_NOMEM;
    walk_queue(&w, q);
    arena_trim(&out->arena, w.slices, w.slice_count * sizeof(*w.slices));
    if (w.absent != NULL && w.slice_count == 0)
        return park(c, connection, id, peek, q->id, &w, out);
    reply = reply_add(out, connection, FANQ_REPLY_PEEKED, id);
    reply->peeked = (struct fanq_peeked){.more = walk_over(&w),
                                         .next_stream = w.last_stream,
                                         .next_seq = w.last_seq,
                                         .slices = w.slices,
                                         .slice_count = w.slice_count};
    return 0;
}

int peek_step(struct core *c, uint32_t connection, uint64_t id, const struct fanq_peek *peek,
              struct effects *out)
{
    struct queue *q;
    int err = c->draining ? FANQ_ERR_DRAINING : queue_resolve(c, peek->queue, false, &q);

    if (err == 0 && session_of(c, connection)->consumer_count >= c->options.waiters_per_connection_max)
        err = FANQ_ERR_LIMIT; /* it may have to wait */
    return err != 0 ? err : peek_queue(c, connection, id, peek, q, out);
}

/* Peeks whose messages are in memory now; what is absent still is asked for anew. */
int peek_again(struct core *c, struct effects *out)
{
    struct list *link = c->peeks.next;

    while (link != &c->peeks) {
        struct consumer *k = container_of(link, struct consumer, link_waiting);
        struct fanq_peek peek = {.messages_max = (uint32_t)k->messages,
                                 .bytes_max = (uint32_t)k->bytes,
                                 .states = k->peek.states,
                                 .after_valid = k->peek.after_valid,
                                 .after_stream = k->peek.after_stream,
                                 .after_seq = k->peek.after_seq};
        struct queue *q = queue_by_id(c, k->peek.queue_id);
        int err;

        link = link->next;
        if (q != NULL && !k->peek.resident)
            continue;
        if (effects_reserve(out, 1) != 0)
            return FANQ_ERR_NOMEM;
        err =
            q == NULL ? FANQ_ERR_QUEUE_NOT_FOUND : peek_queue(c, k->connection, k->request_id, &peek, q, out);
        if (err == FANQ_ERR_NOMEM)
            return err;
        if (err != 0)
            reply_error(out, k->connection, k->request_id, err);
        consumer_free(c, k);
    }
    return 0;
}

void peek_resident(struct core *c, uint64_t stream, uint64_t first_seq, uint64_t count)
{
    list_for_each (link, &c->peeks) {
        struct consumer *k = container_of(link, struct consumer, link_waiting);

        if (k->peek.absent_stream == stream && k->peek.absent_seq >= first_seq &&
            k->peek.absent_seq - first_seq < count)
            k->peek.resident = true;
    }
}
