/* Coming back: the state made anew from facts.
 *
 * A fact is applied whatever the state: what it speaks of may be there already, or be gone (fact.h). While facts are
 * replayed nothing may be received and nothing is written. What a fact shows to have been given out, and no fact shows
 * to be gone, is put back as if it had been delivered never: a run in the queue's redelivery list whose count is 0. Its
 * gaps become bits as long as they are short, so that deletes out of order cost no more than they did before. */
#include "state.h"

/* ---- finding ---- */

static struct stream *stream_at(struct core *c, uint64_t number)
{
    struct stream *s = stream_find(c, number);

    return s != NULL ? s : stream_make(c, number);
}

static void stream_reaches(struct stream *s, uint64_t seq)
{
    if (s->next_seq < seq)
        s->next_seq = seq;
}

static struct feed *feed_of(const struct core *c, const struct fact *fact)
{
    struct queue *q = queue_by_id(c, fact->queue_id);

    return q == NULL ? NULL : feed_find(q, fact->stream);
}

/* The name as the core writes it: whole, and of good grammar. */
static bool name_take(const struct core *c, const struct fact *fact, enum name_kind kind,
                      struct full_name *ret_name)
{
    struct fanq_bytes text = {(const uint8_t *)fact->name, fact->name_length};

    return name_parse(c, text, kind, ret_name) == 0 && ret_name->length == fact->name_length;
}

/* ---- what there is ---- */

static int replay_queue(struct core *c, const struct fact *fact)
{
    struct queue *q = queue_by_id(c, fact->queue_id);
    struct full_name name;

    if (!name_take(c, fact, NAME_QUEUE, &name) || fact->early_delivery > 1)
        return FANQ_ERR_INVALID;
    if (q == NULL) {
        struct queue *other = queue_find(c, &name);

        if (other != NULL && other->id > fact->queue_id)
            return 0; /* made when this one was deleted */
        if (other != NULL)
            queue_free(c, other); /* the fact of its end was lost, and the loss accepted */
        q = queue_make(c, &name, fact->queue_id);
    }
    if (q == NULL)
        return FANQ_ERR_NOMEM;
    q->created_ms = fact->created_ms;
    q->visibility_ms = fact->visibility_ms;
    q->receive_wait_ms = fact->receive_wait_ms;
    queue_set_early(q, fact->early_delivery != 0);
    return 0;
}

static int replay_queue_end(struct core *c, const struct fact *fact)
{
    struct queue *q = queue_by_id(c, fact->queue_id);

    if (q != NULL)
        queue_free(c, q);
    return 0;
}

static int replay_topic(struct core *c, const struct fact *fact)
{
    struct stream *s = stream_at(c, fact->stream);
    struct full_name name;
    struct topic *t;

    if (s == NULL)
        return FANQ_ERR_NOMEM;
    if (!name_take(c, fact, NAME_TOPIC, &name))
        return FANQ_ERR_INVALID;
    if (s->topic != NULL)
        return 0;
    if (s->owned)
        return FANQ_ERR_INVALID;
    t = topic_find(c, &name);
    if (t != NULL && t->stream->number > fact->stream)
        return 0;
    if (t != NULL)
        topic_free(c, t); /* as with queues */
    t = topic_make(c, &name, s);
    if (t == NULL)
        return FANQ_ERR_NOMEM;
    t->created_ms = fact->created_ms;
    return 0;
}

static int replay_topic_end(struct core *c, const struct fact *fact)
{
    struct stream *s = stream_find(c, fact->stream);

    if (s == NULL || s->topic == NULL)
        return 0;
    stream_reaches(s, fact->seq);
    topic_free(c, s->topic);
    return 0;
}

static int replay_own(struct core *c, const struct fact *fact)
{
    struct queue *q = queue_by_id(c, fact->queue_id);
    struct stream *s;

    if (q == NULL)
        return 0;
    if (q->own != NULL)
        return q->own->number == fact->stream ? 0 : FANQ_ERR_INVALID;
    s = stream_at(c, fact->stream);
    if (s == NULL)
        return FANQ_ERR_NOMEM;
    if (s->owned)
        return FANQ_ERR_INVALID;
    if (feed_open(c, q, s, 0) == NULL)
        return FANQ_ERR_NOMEM;
    q->own = s;
    s->owned = true;
    return 0;
}

static int replay_stream(struct core *c, const struct fact *fact)
{
    struct stream *s = stream_at(c, fact->stream);

    if (s == NULL)
        return FANQ_ERR_NOMEM;
    stream_reaches(s, fact->seq);
    return 0;
}

static int replay_subscribed(struct core *c, const struct fact *fact)
{
    struct stream *s = stream_find(c, fact->stream);
    struct queue *q = queue_by_id(c, fact->queue_id);

    if (s == NULL || s->topic == NULL || q == NULL)
        return 0;
    stream_reaches(s, fact->seq);
    if (subscription_find(s->topic, q) != NULL)
        return 0;
    if (slab_reserve(&c->subscriptions_slab, 1) != 0 || feed_open(c, q, s, fact->seq) == NULL)
        return FANQ_ERR_NOMEM;
    subscription_new(c, s->topic, q);
    return 0;
}

static int replay_unsubscribed(struct core *c, const struct fact *fact)
{
    struct stream *s = stream_find(c, fact->stream);
    struct queue *q = queue_by_id(c, fact->queue_id);
    struct subscription *subscription;

    if (s == NULL || s->topic == NULL || q == NULL)
        return 0;
    stream_reaches(s, fact->seq);
    subscription = subscription_find(s->topic, q);
    if (subscription != NULL)
        subscription_free(c, subscription, fact->seq);
    return 0;
}

static int replay_unread(struct core *c, const struct fact *fact)
{
    struct queue *q = queue_by_id(c, fact->queue_id);
    struct stream *s = q == NULL ? NULL : stream_at(c, fact->stream);

    if (q == NULL)
        return 0;
    if (s == NULL)
        return FANQ_ERR_NOMEM;
    stream_reaches(s, fact->end == SEQ_OPEN ? fact->first : fact->end);
    return feed_add(c, q, s, fact->first, fact->end);
}

static int replay_stream_next(struct core *c, const struct fact *fact)
{
    if (c->next_stream < fact->stream)
        c->next_stream = fact->stream;
    return 0;
}

/* ---- producers ---- */

static int replay_producer(struct core *c, const struct fact *fact)
{
    struct producer *p = producer_find(c, fact->producer);

    if (p == NULL)
        p = producer_make(c, fact->producer);
    if (p == NULL)
        return FANQ_ERR_NOMEM;
    if (p->applied < fact->seq)
        p->applied = fact->seq;
    producer_rest(c, p); /* so that they lie in order of use */
    producers_forget(c);
    return 0;
}

static int replay_refused(struct core *c, const struct fact *fact)
{
    struct producer *p = producer_find(c, fact->producer);
    struct refused run = {
        .first = fact->first, .last = fact->end - 1, .err = -(int)fact->error, .written = true};

    if (fact->error == 0 || fact->error > INT32_MAX || run.first == 0)
        return FANQ_ERR_INVALID;
    if (p == NULL)
        return 0; /* forgotten */
    if (run.last >= p->applied)
        return FANQ_ERR_INVALID;
    if (p->refused_count == 0 || p->refused[p->refused_count - 1].last < run.last)
        producer_add_refused(p, &run);
    return 0;
}

/* ---- messages ---- */

/* [first, end) of f is gone. May free f. */
static int feed_lose(struct core *c, struct feed *f, uint64_t first, uint64_t end)
{
    uint64_t next = f->next, count;
    int err = 0;

    if (first < f->floor)
        first = f->floor;
    if (first >= end)
        return 0;
    if (end > next) {
        err = feed_give_out(c, f, first);
        if (err != 0)
            return err;
        f->next = end;
        feed_settle(c, f);
    }
    if (first < next)
        err = run_delete(c, f, first, end < next ? end : next, &count);
    if (err == 0)
        (void)feed_raise_floor(c, f);
    return err;
}

/* What the feed takes of the fact's messages. A queue's part of a checkpoint may speak of what it took by a later
 * subscription; the log repeats that behind the fact by which it did. */
static struct fact taken_of(const struct feed *f, const struct fact *fact)
{
    uint64_t end = f->unread_count > 0 ? f->unread[f->unread_count - 1].end : f->next;
    struct fact taken = *fact;

    if (taken.end > end)
        taken.end = end;
    return taken;
}

static int replay_gone(struct core *c, const struct fact *fact)
{
    struct feed *f = feed_of(c, fact);
    struct fact taken;

    if (f == NULL)
        return 0;
    stream_reaches(f->stream, fact->end);
    taken = taken_of(f, fact);
    return feed_lose(c, f, taken.first, taken.end);
}

/* The live part of the run within [first, end), which there is, has the fact's history. Gives the run behind it. */
static struct run *run_held(struct core *c, struct run *r, const struct fact *fact, struct holder *to)
{
    struct holder *from = r->holder;
    struct run *next;

    r = run_cut(c, r, fact->first, fact->end);
    if (r->deliveries <= fact->deliveries) {
        r->deliveries = (uint32_t)fact->deliveries;
        r->first_receive_ms = fact->first_receive_ms;
    }
    if (from != to)
        run_move(c, r, to, false);
    holder_release_if_empty(c, from);
    next = run_next(r);
    run_merge_back(c, r);
    return next;
}

static int runs_held(struct core *c, struct feed *f, const struct fact *fact, struct holder *to)
{
    struct run *r = run_reaching(f, fact->first);

    while (r != NULL && r->node.key < fact->end) {
        uint64_t from = fact->first > r->node.key ? fact->first : r->node.key;

        if (gone_next_live(&f->gone, from, r->end) >= (fact->end < r->end ? fact->end : r->end)) {
            r = run_next(r);
            continue;
        }
        if (run_reserve(c) != 0)
            return FANQ_ERR_NOMEM;
        r = run_held(c, r, fact, to);
    }
    return 0;
}

/* When a delay that the wall clock names is over. A clock that was far ahead then, or is far behind now, makes no delay longer
 * than one may be. */
static uint64_t due_on_our_clock(const struct core *c, uint64_t wall_due_ms)
{
    uint64_t left_ms = wall_due_ms - c->wall_ms;

    return c->now_ms + (left_ms < FANQ_DELAY_MS_MAX ? left_ms : FANQ_DELAY_MS_MAX);
}

static int replay_held(struct core *c, const struct fact *fact)
{
    struct feed *f = feed_of(c, fact);
    struct holder *to;
    struct fact taken;
    int err;

    if (fact->deliveries == 0 || fact->deliveries > UINT32_MAX)
        return FANQ_ERR_INVALID;
    if (f == NULL)
        return 0;
    stream_reaches(f->stream, fact->end);
    taken = taken_of(f, fact);
    if (taken.first >= taken.end)
        return 0;
    err = feed_give_out(c, f, taken.end);
    if (err != 0 || run_reserve(c) != 0)
        return FANQ_ERR_NOMEM;
    to = fact->due_ms > c->wall_ms ? holder_new(c, HOLDER_DELAY, f->queue, due_on_our_clock(c, fact->due_ms))
                                   : &f->queue->redelivery;
    err = runs_held(c, f, &taken, to);
    holder_release_if_empty(c, to);
    if (err == 0)
        (void)feed_raise_floor(c, f);
    return err;
}

/* ---- the door ---- */

static int replay_fact(struct core *c, const struct fact *fact)
{
    static int (*const replay_kind[FACT_KIND_END])(struct core *, const struct fact *) = {
        [FACT_QUEUE] = replay_queue,
        [FACT_QUEUE_END] = replay_queue_end,
        [FACT_TOPIC] = replay_topic,
        [FACT_TOPIC_END] = replay_topic_end,
        [FACT_OWN] = replay_own,
        [FACT_STREAM] = replay_stream,
        [FACT_SUBSCRIBED] = replay_subscribed,
        [FACT_UNSUBSCRIBED] = replay_unsubscribed,
        [FACT_UNREAD] = replay_unread,
        [FACT_GONE] = replay_gone,
        [FACT_HELD] = replay_held,
        [FACT_STREAM_NEXT] = replay_stream_next,
        [FACT_PRODUCER] = replay_producer,
        [FACT_REFUSED] = replay_refused};

    return replay_kind[fact->kind](c, fact);
}

int core_replay(struct core *c, const uint8_t *facts, uint64_t bytes)
{
    struct fact_cursor cursor = fact_cursor_over(facts, bytes);
    struct fact fact;
    int err;

    c->journalling = false;
    while ((err = fact_next(&cursor, &fact)) == 1) {
        err = replay_fact(c, &fact);
        if (err != 0)
            break;
    }
    return err;
}

int core_replay_block(struct core *c, uint64_t stream, uint64_t first_seq, uint64_t count)
{
    struct stream *s = stream_at(c, stream);

    c->journalling = false;
    if (s == NULL)
        return FANQ_ERR_NOMEM;
    stream_reaches(s, first_seq + count);
    return 0;
}

int core_replay_end(struct core *c, uint64_t next_commit)
{
    struct tree_node *node = tree_first(&c->streams), *next;

    for (; node != NULL; node = next) {
        next = tree_next(node);
        stream_recovered(c, container_of(node, struct stream, node));
    }
    assert(list_empty(&c->dirty_streams) && c->pending.count == 0);
    c->next_commit = next_commit;
    c->synced = next_commit - 1;
    c->journalling = c->options.durable;
    return 0;
}

bool core_stream_needed(const struct core *c, uint64_t stream, uint64_t *ret_floor)
{
    const struct stream *s = stream_find(c, stream);

    if (s == NULL)
        return false;
    *ret_floor = s->trimmed;
    return true;
}

/* ---- what is not stored ---- */

static uint64_t live_between(const struct feed *f, uint64_t first, uint64_t end)
{
    uint64_t count = 0;

    for (const struct run *r = run_reaching(f, first); r != NULL && r->node.key < end; r = run_next(r)) {
        uint64_t from = first > r->node.key ? first : r->node.key, to = end < r->end ? end : r->end;

        count += to - from - gone_count(&f->gone, from, to);
    }
    for (uint32_t i = 0; i < f->unread_count; i++) {
        uint64_t from = f->unread[i].first > f->next ? f->unread[i].first : f->next;
        uint64_t to = f->unread[i].end < end ? f->unread[i].end : end;

        if (from < first)
            from = first;
        count += from < to ? to - from : 0;
    }
    return count;
}

static int stream_lose(struct core *c, struct stream *s, uint64_t first, uint64_t end, uint64_t *count)
{
    struct list *link = s->feeds.next;
    int err = 0;

    while (err == 0 && link != &s->feeds) {
        struct feed *f = container_of(link, struct feed, link_stream);
        uint64_t lost = live_between(f, first, end);

        link = link->next;
        *count += lost;
        if (lost > 0)
            err = feed_lose(c, f, first, end);
    }
    return err;
}

int core_forget_missing(struct core *c, uint64_t *ret_count)
{
    const struct view *view = &c->options.view;
    uint64_t count = 0;
    int err = 0;

    c->journalling = false; /* the next start finds the same */
    for (struct tree_node *node = tree_first(&c->streams); node != NULL; node = tree_next(node)) {
        struct stream *s = container_of(node, struct stream, node);
        struct block b;

        for (uint64_t seq = s->trimmed; err == 0 && seq < s->next_seq; seq = b.first_seq + b.count) {
            if (!view->block(view->context, s->number, seq, &b))
                b = (struct block){.first_seq = s->next_seq};
            if (b.first_seq > seq)
                err = stream_lose(c, s, seq, b.first_seq, &count);
        }
    }
    c->journalling = c->options.durable;
    if (err == 0)
        *ret_count = count;
    return err;
}
