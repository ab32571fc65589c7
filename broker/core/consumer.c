/* Who waits for messages: long polls and pushes, in turn, and gone with their connection. */
#include "state.h"

/* ---- sessions ---- */

struct session *session_of(struct core *c, uint32_t connection)
{
    struct session *s = &c->sessions[connection];

    assert(connection < c->options.connections_max);
    if (!s->initialised) {
        s->initialised = true;
        s->ok_generation = UINT64_MAX;
        list_init(&s->consumers);
        tree_init(&s->pushes);
    }
    return s;
}

void session_end(struct core *c, uint32_t connection)
{
    struct session *s = session_of(c, connection);
    struct list *link;

    while ((link = list_first(&s->consumers)) != NULL)
        consumer_free(c, container_of(link, struct consumer, link_session));
    if (s->producer != NULL)
        producer_rest(c, s->producer);
    s->producer = NULL;
    s->fenced = false;
    s->serial++;
    s->blocked = false;
    s->ok_generation = UINT64_MAX;
}

void session_block(struct core *c, uint32_t connection, bool blocked)
{
    struct session *s = session_of(c, connection);

    if (s->blocked == blocked)
        return;
    s->blocked = blocked;
    list_for_each (link, &s->consumers) {
        struct consumer *k = container_of(link, struct consumer, link_session);

        if (blocked)
            consumer_step_back(k);
        else
            consumer_line_up(c, k);
    }
}

/* ---- life ---- */

struct consumer *consumer_new(struct core *c, enum consumer_kind kind, uint32_t connection, uint64_t id)
{
    struct consumer *k = slab_take(&c->consumers_slab);
    struct session *s = session_of(c, connection);

    if (k == NULL)
        return NULL;
    k->kind = kind;
    k->connection = connection;
    k->request_id = id;
    list_init(&k->link_session);
    list_init(&k->link_waiting);
    list_init(&k->link_topic);
    list_init(&k->waits);
    list_init(&k->batches);
    timer_init(&k->timer, TIMER_CONSUMER);
    list_append(&s->consumers, &k->link_session);
    if (kind == CONSUMER_PUSH)
        tree_insert(&s->pushes, &k->push_node, id);
    s->consumer_count++;
    c->waiters++;
    return k;
}

static void waits_free(struct core *c, struct consumer *k)
{
    struct list *link;

    while ((link = list_first(&k->waits)) != NULL) {
        struct wait *w = container_of(link, struct wait, link_consumer);

        list_remove(&w->link_consumer);
        list_remove(&w->link_queue);
        w->queue->wait_count--;
        slab_give(&c->waits_slab, w);
    }
}

/* What came of a push that ends goes back; in the next turn, when this one has facts enough or no memory for
 * them. */
static void batch_end(struct core *c, struct holder *h)
{
    if (!journal_full(c) && holder_reserve(c, h) == 0) {
        holder_make_ready(c, h);
        return;
    }
    list_remove(&h->link_consumer);
    wheel_set(&c->wheel, &h->timer, c->now_ms);
}

/* What a push has not acknowledged goes back to its queue at once; what a receive got stays until its
 * timeout. */
void consumer_free(struct core *c, struct consumer *k)
{
    struct list *link;

    waits_free(c, k);
    wheel_stop(&c->wheel, &k->timer);
    while ((link = list_first(&k->batches)) != NULL)
        batch_end(c, container_of(link, struct holder, link_consumer));
    if (k->ephemeral != NULL)
        queue_free(c, k->ephemeral);
    list_remove(&k->link_topic);
    list_remove(&k->link_waiting);
    list_remove(&k->link_session);
    if (k->kind == CONSUMER_PUSH)
        tree_remove(&session_of(c, k->connection)->pushes, &k->push_node);
    session_of(c, k->connection)->consumer_count--;
    c->waiters--;
    slab_give(&c->consumers_slab, k);
}

/* ---- waiting in line ---- */

int consumer_wait_on(struct core *c, struct consumer *k, struct queue *q)
{
    struct wait *w;

    list_for_each (link, &k->waits) {
        if (container_of(link, struct wait, link_consumer)->queue == q)
            return 0; /* named twice */
    }
    w = slab_take(&c->waits_slab);
    if (w == NULL)
        return FANQ_ERR_NOMEM;
    w->consumer = k;
    w->queue = q;
    list_init(&w->link_consumer);
    list_init(&w->link_queue);
    list_append(&k->waits, &w->link_consumer);
    list_append(&q->aside, &w->link_queue);
    q->wait_count++;
    return 0;
}

static bool consumer_may_be_served(struct core *c, const struct consumer *k)
{
    if (session_of(c, k->connection)->blocked)
        return false;
    return k->kind == CONSUMER_RECEIVE || (k->messages > 0 && k->bytes > 0);
}

void consumer_step_back(struct consumer *k)
{
    list_for_each (link, &k->waits) {
        struct wait *w = container_of(link, struct wait, link_consumer);

        list_remove(&w->link_queue);
        list_append(&w->queue->aside, &w->link_queue);
    }
}

void consumer_line_up(struct core *c, struct consumer *k)
{
    if (!consumer_may_be_served(c, k))
        return;
    list_for_each (link, &k->waits) {
        struct wait *w = container_of(link, struct wait, link_consumer);

        list_remove(&w->link_queue);
        list_append(&w->queue->waits, &w->link_queue);
        queue_kick(w->queue);
    }
}

bool consumer_fetching(const struct consumer *k)
{
    list_for_each (link, &k->waits) {
        if (queue_fetching(container_of(link, struct wait, link_consumer)->queue))
            return true;
    }
    return false;
}

/* ---- the end ---- */

/* err 0: there was nothing within the wait. */
void consumer_end(struct core *c, struct consumer *k, struct effects *out, int err)
{
    if (err == 0) {
        assert(k->kind == CONSUMER_RECEIVE);
        reply_add(out, k->connection, FANQ_REPLY_DELIVER, k->request_id);
    } else {
        reply_error(out, k->connection, k->request_id, err);
        if (k->kind == CONSUMER_PUSH)
            out->items[out->count - 1].reply.op = FANQ_REPLY_PUSH_END;
    }
    consumer_free(c, k);
}

static int session_drain(struct core *c, struct session *s, struct effects *out)
{
    struct list *link;

    if (!s->initialised || s->consumer_count == 0)
        return 0;
    if (effects_reserve(out, s->consumer_count) != 0)
        return FANQ_ERR_NOMEM;
    while ((link = list_first(&s->consumers)) != NULL) {
        struct consumer *k = container_of(link, struct consumer, link_session);

        consumer_end(c, k, out, k->kind == CONSUMER_RECEIVE ? 0 : FANQ_ERR_DRAINING);
    }
    return 0;
}

int consumer_drain(struct core *c, struct effects *out)
{
    int err = 0;

    c->draining = true;
    for (uint32_t i = 0; err == 0 && i < c->options.connections_max; i++)
        err = session_drain(c, &c->sessions[i], out);
    return err;
}

/* ---- requests ---- */

static int consumer_allowed(struct core *c, uint32_t connection, uint32_t queue_count)
{
    if (c->draining)
        return FANQ_ERR_DRAINING;
    if (session_of(c, connection)->consumer_count >= c->options.waiters_per_connection_max ||
        c->waits_slab.live_count + queue_count > c->options.waits_max)
        return FANQ_ERR_LIMIT;
    return 0;
}

static int receive_queues(struct core *c, const struct fanq_receive *receive, struct queue **ret_queues)
{
    int err = 0;

    for (uint32_t i = 0; err == 0 && i < receive->queue_count; i++)
        err = queue_resolve(c, receive->queues[i], true, &ret_queues[i]);
    return err;
}

int receive_step(struct core *c, uint32_t connection, const struct fanq_request *r)
{
    const struct fanq_receive *receive = &r->receive;
    struct queue *queues[FANQ_RECEIVE_QUEUES_MAX];
    uint64_t wait_ms = receive->wait_ms;
    struct consumer *k;
    int err = consumer_allowed(c, connection, receive->queue_count);

    if (err == 0)
        err = receive_queues(c, receive, queues);
    if (err == 0)
        err = slab_reserve(&c->waits_slab, receive->queue_count);
    if (err != 0)
        return err;
    k = consumer_new(c, CONSUMER_RECEIVE, connection, r->id);
    if (k == NULL)
        return FANQ_ERR_NOMEM;
    for (uint32_t i = 0; i < receive->queue_count; i++) {
        err = consumer_wait_on(c, k, queues[i]);
        assert(err == 0);
    }
    if (wait_ms == FANQ_QUEUE_DEFAULT)
        wait_ms = queues[0]->receive_wait_ms;
    k->messages = receive->messages_max;
    k->bytes = receive->bytes_max;
    k->own_visibility = receive->visibility_ms != FANQ_QUEUE_DEFAULT;
    k->visibility_ms = receive->visibility_ms;
    k->auto_delete = (receive->flags & FANQ_RECEIVE_AUTO_DELETE) != 0;
    if (wait_ms == 0)
        list_append(&c->immediate, &k->link_waiting);
    else
        wheel_set(&c->wheel, &k->timer, c->now_ms + wait_ms);
    consumer_line_up(c, k);
    return 0;
}

struct consumer *push_find(struct core *c, uint32_t connection, uint64_t id)
{
    struct tree_node *node = tree_find(&session_of(c, connection)->pushes, id);

    return node == NULL ? NULL : container_of(node, struct consumer, push_node);
}

/* A topic is pushed by way of a queue without a name, whose backlog is bounded and which
 * ends with the push. */
static int push_on_topic(struct core *c, struct topic *t, struct consumer *k)
{
    struct queue *q = queue_new_ephemeral(c);
    struct feed *f = q == NULL ? NULL : feed_open(c, q, t->stream, t->stream->next_seq);

    if (f == NULL || consumer_wait_on(c, k, q) != 0) {
        if (q != NULL)
            queue_free(c, q);
        return FANQ_ERR_NOMEM;
    }
    list_append(&t->stream->ephemerals, &f->link_ephemeral);
    list_append(&t->pushes, &k->link_topic);
    k->ephemeral = q;
    return 0;
}

int push_step(struct core *c, uint32_t connection, const struct fanq_request *r)
{
    const struct fanq_push *push = &r->push;
    struct topic *t = NULL;
    struct queue *q = NULL;
    struct consumer *k;
    int err = consumer_allowed(c, connection, 1);

    if (err == 0 && push_find(c, connection, r->id) != NULL)
        err = FANQ_ERR_PUSH_EXISTS;
    if (err == 0 && push->target_kind == FANQ_PUSH_TOPIC && push->mode != FANQ_PUSH_AUTO)
        err = FANQ_ERR_INVALID; /* an ephemeral subscription keeps nothing for a second try */
    if (err == 0)
        err = push->target_kind == FANQ_PUSH_TOPIC ? topic_resolve(c, push->target, true, &t)
                                                   : queue_resolve(c, push->target, true, &q);
    if (err != 0)
        return err;
    k = consumer_new(c, CONSUMER_PUSH, connection, r->id);
    if (k == NULL)
        return FANQ_ERR_NOMEM;
    err = t != NULL ? push_on_topic(c, t, k) : consumer_wait_on(c, k, q);
    if (err != 0) {
        consumer_free(c, k);
        return err;
    }
    k->messages = push->messages;
    k->bytes = push->bytes;
    k->auto_delete = push->mode == FANQ_PUSH_AUTO;
    k->own_visibility = push->visibility_ms != FANQ_QUEUE_DEFAULT;
    k->visibility_ms = push->visibility_ms;
    consumer_line_up(c, k);
    return 0;
}

static uint64_t add_saturating(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

void credit_step(struct core *c, uint32_t connection, const struct fanq_credit *credit)
{
    struct consumer *k = push_find(c, connection, credit->push);
    bool waited;

    if (k == NULL)
        return;
    waited = k->messages > 0 && k->bytes > 0;
    k->messages = add_saturating(k->messages, credit->messages);
    k->bytes = add_saturating(k->bytes, credit->bytes);
    if (!waited)
        consumer_line_up(c, k);
}

int push_stop_step(struct core *c, uint32_t connection, uint64_t id)
{
    struct consumer *k = push_find(c, connection, id);

    if (k == NULL)
        return FANQ_ERR_INVALID;
    consumer_free(c, k);
    return 0;
}
