/* The door: events come in here, each goes to its file; time, sessions and the tables of the whole broker. */
#include "state.h"

/* ---- publish and send ---- */

static void answer_publish(struct core *c, uint32_t connection, const struct fanq_request *r,
                           const struct stream *s, uint64_t subscription_count)
{
    uint64_t count = r->publish.records.count;

    if (!(r->publish.flags & FANQ_PUBLISH_WANT_IDS)) {
        answer_ok_with_commit(c, connection, r->id);
        return;
    }
    answer_with_commit(c, PENDING_PUBLISHED, connection, r->id)->published =
        (struct fanq_published){.stream = s->number,
                                .epoch = c->options.epoch,
                                .first_seq = s->next_seq - count,
                                .count = count,
                                .subscription_count = subscription_count};
}

static int publish_new(struct core *c, uint32_t connection, const struct fanq_request *r)
{
    uint64_t subscription_count = 1;
    struct topic *t = NULL;
    struct queue *q = NULL;
    struct stream *s;
    int err = c->draining ? FANQ_ERR_DRAINING : pending_reserve(c, 1);

    if (err == 0)
        err = r->op == FANQ_OP_PUBLISH ? topic_resolve(c, r->publish.target, true, &t)
                                       : queue_resolve(c, r->publish.target, true, &q);
    if (err == 0 && q != NULL)
        err = queue_own_stream(c, q);
    if (err != 0)
        return err;
    s = t != NULL ? t->stream : q->own;
    err = stream_stage(c, s, &r->publish.records);
    if (err != 0)
        return err;
    if (t != NULL)
        subscription_count = t->subscriptions.count;
    answer_publish(c, connection, r, s, subscription_count);
    return 0;
}

/* It comes again: the answer is the first one's, but for the ids. */
static int publish_again(struct core *c, uint32_t connection, const struct fanq_request *r,
                         const struct producer *p, struct effects *out)
{
    int err = producer_outcome(p, r->id);
    const struct fanq_published published = {.epoch = c->options.epoch, .count = r->publish.records.count};

    if (err != 0)
        return err;
    if (r->publish.flags & FANQ_PUBLISH_WANT_IDS)
        answer_published(c, out, connection, r->id, &published);
    else
        answer_ok_range(c, out, connection, r->id);
    return 0;
}

static int publish_step(struct core *c, uint32_t connection, const struct fanq_request *r,
                        struct effects *out)
{
    struct session *s = session_of(c, connection);
    struct producer *p = s->producer;
    int err;

    if (s->fenced)
        return FANQ_ERR_NOT_CONNECTED;
    if (p == NULL)
        return publish_new(c, connection, r);
    if (r->id == 0)
        return FANQ_ERR_INVALID;
    if (r->id <= p->applied)
        return publish_again(c, connection, r, p, out);
    err = publish_new(c, connection, r);
    if (err == 0)
        producer_applied(c, p, r->id);
    else
        producer_refused(p, r->id, err);
    return err;
}

/* ---- requests ---- */

static int change_step(struct core *c, uint32_t connection, const struct fanq_request *r, struct effects *out)
{
    uint64_t changed = 0;
    int err;

    if (r->op == FANQ_OP_ACK) {
        err = ack_step(c, &r->change);
        if (err == 0)
            answer_ok_range(c, out, connection, r->id);
        return err;
    }
    err = r->op == FANQ_OP_NACK ? nack_step(c, &r->change, &changed) : extend_step(c, &r->change, &changed);
    if (err == 0)
        err = answer_when_safe(c, out, connection, r->id, FANQ_REPLY_CHANGED, changed);
    return err;
}

static int request_step(struct core *c, uint32_t connection, const struct fanq_request *r,
                        struct effects *out)
{
    int err;

    switch (r->op) {
    case FANQ_OP_PUBLISH:
    case FANQ_OP_SEND:
        return publish_step(c, connection, r, out);
    case FANQ_OP_RECEIVE:
        return receive_step(c, connection, r);
    case FANQ_OP_ACK:
    case FANQ_OP_NACK:
    case FANQ_OP_EXTEND:
        return change_step(c, connection, r, out);
    case FANQ_OP_PEEK:
        return peek_step(c, connection, r->id, &r->peek, out);
    case FANQ_OP_CREDIT:
        credit_step(c, connection, &r->credit);
        return 0;
    case FANQ_OP_PING:
        err = 0;
        break;
    case FANQ_OP_PUSH:
        err = push_step(c, connection, r);
        break;
    case FANQ_OP_PUSH_STOP:
        err = push_stop_step(c, connection, r->push_stop);
        break;
    default:
        return catalog_step(c, connection, r, out);
    }
    if (err == 0)
        reply_add(out, connection, FANQ_REPLY_OK, r->id);
    return err;
}

/* ---- time and memory ---- */

static int holder_fire(struct core *c, struct holder *h)
{
    if (holder_reserve(c, h) != 0) {
        wheel_set(&c->wheel, &h->timer, h->timer.due_ms); /* it comes out again when the turn is repeated */
        return FANQ_ERR_NOMEM;
    }
    holder_make_ready(c, h);
    return 0;
}

/* A wait that is over ends in SERVE: what this turn brings, or brings back, still reaches it. */
static int timer_fire(struct core *c, struct timer *t)
{
    if (t->kind == TIMER_HOLDER)
        return holder_fire(c, container_of(t, struct holder, timer));
    list_append(&c->immediate, &container_of(t, struct consumer, timer)->link_waiting);
    return 0;
}

static int turn_step(struct core *c, const struct event *ev)
{
    struct timer *t;
    int err = 0;

    assert(ev->turn.now_ms >= c->now_ms && ev->turn.wall_ms >= c->wall_ms);
    c->now_ms = ev->turn.now_ms;
    c->wall_ms = ev->turn.wall_ms;
    c->room_bytes = ev->turn.room_bytes;
    c->turn++;
    producers_forget(c);
    while (err == 0 && !journal_full(c) && (t = wheel_take(&c->wheel, c->now_ms)) != NULL)
        err = timer_fire(c, t);
    return err;
}

static void feed_resident(struct core *c, struct feed *f, uint64_t first_seq, uint64_t end)
{
    struct run *r = run_reaching(f, first_seq);

    if (f->fetching && f->fetch_seq >= first_seq && f->fetch_seq < end) {
        f->fetching = false;
        f->queue->fetching_feeds--;
        feed_settle(c, f);
    }
    for (; r != NULL && r->node.key < end; r = run_next(r)) {
        if (r->holder->kind == HOLDER_ABSENT && r->node.key >= first_seq)
            run_move(c, r, &f->queue->redelivery, true);
    }
    queue_kick(f->queue);
}

static void resident_step(struct core *c, const struct event *ev)
{
    struct stream *s = stream_find(c, ev->resident.stream);
    uint64_t end = ev->resident.first_seq + ev->resident.count;

    peek_resident(c, ev->resident.stream, ev->resident.first_seq, ev->resident.count);
    if (s == NULL)
        return; /* no queue needs it any more; a peek that waited for it looks again all the same */
    list_for_each (link, &s->feeds)
        feed_resident(c, container_of(link, struct feed, link_stream), ev->resident.first_seq, end);
}

/* ---- the door ---- */

int core_step(struct core *c, const struct event *ev, struct effects *out)
{
    int err;

    switch (ev->kind) {
    case EVENT_TURN:
        return turn_step(c, ev);
    case EVENT_REQUEST:
        if (effects_reserve(out, 2) != 0 || (c->journalling && pending_reserve(c, 1) != 0))
            return FANQ_ERR_NOMEM;
        err = request_step(c, ev->request.connection, ev->request.request, out);
        if (err != 0)
            reply_error(out, ev->request.connection, ev->request.request->id, err);
        return 0;
    case EVENT_DISCONNECT:
        session_end(c, ev->connection);
        return 0;
    case EVENT_BLOCKED:
    case EVENT_WRITABLE:
        session_block(c, ev->connection, ev->kind == EVENT_BLOCKED);
        return 0;
    case EVENT_RESIDENT:
        resident_step(c, ev);
        return 0;
    case EVENT_COMMIT:
        return commit_step(c, ev->always, out);
    case EVENT_SYNCED:
        return synced_step(c, ev->synced, out);
    case EVENT_SERVE:
        return serve_step(c, out);
    case EVENT_PRODUCER:
        return producer_step(c, ev->producer.connection, ev->producer.id, out);
    case EVENT_DRAIN:
        return consumer_drain(c, out);
    }
    return 0;
}

uint64_t core_next_ms(const struct core *c)
{
    bool more = !list_empty(&c->later) || !list_empty(&c->kicked) ||
                (c->journalling && c->facts.count == 0 && !list_empty(&c->dirty_streams));
    uint64_t timer_ms = wheel_next_ms(&c->wheel), facts_ms = journal_next_ms(c);

    if (more)
        return c->now_ms;
    return timer_ms < facts_ms ? timer_ms : facts_ms;
}

/* ---- life ---- */

static void slabs_init(struct core *c)
{
    slab_init(&c->streams_slab, sizeof(struct stream));
    slab_init(&c->feeds_slab, sizeof(struct feed));
    slab_init(&c->runs_slab, sizeof(struct run));
    slab_init(&c->holders_slab, sizeof(struct holder));
    slab_init(&c->queues_slab, sizeof(struct queue));
    slab_init(&c->topics_slab, sizeof(struct topic));
    slab_init(&c->subscriptions_slab, sizeof(struct subscription));
    slab_init(&c->consumers_slab, sizeof(struct consumer));
    slab_init(&c->waits_slab, sizeof(struct wait));
    slab_init(&c->producers_slab, sizeof(struct producer));
    gone_pool_init(&c->gone_pool);
}

static void slabs_close(struct core *c)
{
    slab_close(&c->streams_slab);
    slab_close(&c->feeds_slab);
    slab_close(&c->runs_slab);
    slab_close(&c->holders_slab);
    slab_close(&c->queues_slab);
    slab_close(&c->topics_slab);
    slab_close(&c->subscriptions_slab);
    slab_close(&c->consumers_slab);
    slab_close(&c->waits_slab);
    slab_close(&c->producers_slab);
    gone_pool_close(&c->gone_pool);
}

static char *text_copy(const char *text)
{
    size_t length = strlen(text) + 1;
    char *copy = malloc(length);

    return copy == NULL ? NULL : memcpy(copy, text, length);
}

static void core_init(struct core *c, const struct core_options *options)
{
    c->options = *options;
    wheel_init(&c->wheel, 0);
    map_init(&c->queue_names, options->hash_seed);
    map_init(&c->topic_names, options->hash_seed);
    map_init(&c->producers, options->hash_seed);
    text_tree_init(&c->queue_order, options->hash_seed);
    text_tree_init(&c->topic_order, options->hash_seed);
    tree_init(&c->queues_by_id);
    tree_init(&c->streams);
    slabs_init(c);
    list_init(&c->staged_streams);
    list_init(&c->dirty_streams);
    list_init(&c->kicked);
    list_init(&c->later);
    list_init(&c->immediate);
    list_init(&c->peeks);
    list_init(&c->producers_connected);
    list_init(&c->producers_resting);
    list_init(&c->producers_dirty);
    /* Numbers that clients hold on to differ from run to run: a late ack cannot hit what bears its number
     * now. With a log, runs are counted; without one, an epoch is the time at which it began. */
    c->next_queue_id = c->next_batch = (options->epoch << (options->durable ? BLOCK_EPOCH_SHIFT : 20)) + 1;
    c->first_batch = c->next_batch;
    c->next_stream = 1;
    c->next_commit = 1;
    c->journalling = options->durable;
}

int core_new(const struct core_options *options, struct core **ret_core)
{
    struct core *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return FANQ_ERR_NOMEM;
    core_init(c, options);
    c->account = text_copy(options->account);
    c->region = text_copy(options->region);
    c->sessions = calloc(options->connections_max, sizeof(*c->sessions));
    if (c->account == NULL || c->region == NULL || c->sessions == NULL) {
        core_free(c);
        return FANQ_ERR_NOMEM;
    }
    *ret_core = c;
    return 0;
}

void core_free(struct core *c)
{
    struct text_node *node;

    if (c == NULL)
        return;
    c->journalling = false;
    for (uint32_t i = 0; c->sessions != NULL && i < c->options.connections_max; i++)
        if (c->sessions[i].initialised)
            session_end(c, i);
    while ((node = text_tree_after(&c->topic_order, "", 0)) != NULL)
        topic_free(c, container_of(node, struct topic, name_node));
    while ((node = text_tree_after(&c->queue_order, "", 0)) != NULL)
        queue_free(c, container_of(node, struct queue, name_node));
    map_close(&c->queue_names);
    map_close(&c->topic_names);
    map_close(&c->producers);
    slabs_close(c);
    free(c->pieces);
    free(c->pending.items);
    free(c->facts.data);
    free(c->sessions);
    free(c->account);
    free(c->region);
    free(c);
}

void core_figures(const struct core *c, struct core_figures *ret_figures)
{
    *ret_figures = (struct core_figures){.queues = c->queue_names.count,
                                         .topics = c->topic_names.count,
                                         .subscriptions = c->subscriptions_slab.live_count,
                                         .streams = c->streams.count,
                                         .producers = c->producers.count,
                                         .waiters = c->waiters,
                                         .in_flight = c->in_flight,
                                         .published = c->published,
                                         .delivered = c->delivered,
                                         .deleted = c->deleted};
}
