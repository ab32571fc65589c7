/* A checkpoint in the making: facts that make the state of the core anew, together with those that follow.
 *
 * The catalogue is written at once: what there is, and for each feed what lies at or above its floor. Which of that is
 * gone, and what was delivered how often, follows queue by queue, each as of its slice. Where a queue has gone on since
 * the beginning, the facts of the log repeat it; and a feed that has ended meanwhile left a fact behind that all it had
 * is gone (feed_raise_floor). */
#include "state.h"

static int checkpoint_add(struct facts *facts, const struct fact *fact)
{
    if (facts_reserve(facts, 1) != 0)
        return FANQ_ERR_NOMEM;
    facts_add(facts, fact);
    return 0;
}

/* ---- the catalogue ---- */

static bool stream_is_durable(const struct stream *s)
{
    if (s->owned)
        return true;
    list_for_each (link, &s->feeds) {
        if (container_of(link, struct feed, link_stream)->queue->name != NULL)
            return true;
    }
    return false;
}

static int write_streams(const struct core *c, struct facts *facts)
{
    int err = checkpoint_add(facts, &(struct fact){.kind = FACT_STREAM_NEXT, .stream = c->next_stream});

    for (struct tree_node *node = tree_first(&c->streams); err == 0 && node != NULL; node = tree_next(node)) {
        const struct stream *s = container_of(node, struct stream, node);

        if (stream_is_durable(s))
            err = checkpoint_add(
                facts, &(struct fact){.kind = FACT_STREAM, .stream = s->number, .seq = s->next_seq});
    }
    return err;
}

static int write_topics(const struct core *c, struct facts *facts)
{
    struct text_node *node = text_tree_after(&c->topic_order, "", 0);
    int err = 0;

    for (; err == 0 && node != NULL; node = text_tree_next(node)) {
        struct fact fact = fact_of_topic(container_of(node, struct topic, name_node));

        err = checkpoint_add(facts, &fact);
    }
    return err;
}

static int write_unread(struct facts *facts, const struct feed *f, uint64_t first, uint64_t end)
{
    struct fact fact = fact_of_messages(FACT_UNREAD, f, first, end);

    return first < end ? checkpoint_add(facts, &fact) : 0;
}

/* What the feed takes at or above its floor: what lies below `next`, and what is unread. */
static int write_feed(struct facts *facts, const struct feed *f)
{
    uint64_t first = f->floor, end = f->next;
    int err = 0;

    for (uint32_t i = 0; err == 0 && i < f->unread_count; i++) {
        const struct unread *unread = &f->unread[i];

        if (unread->first > end) {
            err = write_unread(facts, f, first, end);
            first = unread->first;
        }
        end = unread->end;
    }
    return err == 0 ? write_unread(facts, f, first, end) : err;
}

static int write_subscription(struct facts *facts, const struct subscription *s)
{
    const struct stream *stream = s->topic->stream;

    return checkpoint_add(facts, &(struct fact){.kind = FACT_SUBSCRIBED,
                                                .stream = stream->number,
                                                .queue_id = s->queue->id,
                                                .seq = stream->next_seq});
}

static int write_queue(struct facts *facts, const struct queue *q)
{
    struct fact fact = fact_of_queue(q);
    int err = checkpoint_add(facts, &fact);

    for (struct tree_node *node = tree_first(&q->feeds); err == 0 && node != NULL; node = tree_next(node))
        err = write_feed(facts, container_of(node, struct feed, node));
    if (err == 0 && q->own != NULL)
        err = checkpoint_add(facts,
                             &(struct fact){.kind = FACT_OWN, .queue_id = q->id, .stream = q->own->number});
    return err;
}

/* In order of names, which is the same in every run. */
static int write_subscriptions(const struct core *c, struct facts *facts)
{
    struct text_node *topic = text_tree_after(&c->topic_order, "", 0);
    int err = 0;

    for (; err == 0 && topic != NULL; topic = text_tree_next(topic)) {
        const struct topic *t = container_of(topic, struct topic, name_node);
        struct text_node *node = text_tree_after(&t->subscriptions, "", 0);

        for (; err == 0 && node != NULL; node = text_tree_next(node))
            err = write_subscription(facts, container_of(node, struct subscription, node));
    }
    return err;
}

static int write_producer(struct facts *facts, const struct producer *p)
{
    struct fact fact = fact_of_producer(p);
    int err = checkpoint_add(facts, &fact);

    for (uint32_t i = 0; err == 0 && i < p->refused_count && p->refused[i].first <= p->applied; i++) {
        fact = fact_of_refused(p, &p->refused[i]);
        err = checkpoint_add(facts, &fact);
    }
    return err;
}

/* In order of use. */
static int write_producers(const struct core *c, struct facts *facts)
{
    int err = 0;

    list_for_each (link, &c->producers_resting) {
        if (err == 0)
            err = write_producer(facts, container_of(link, struct producer, link));
    }
    list_for_each (link, &c->producers_connected) {
        if (err == 0)
            err = write_producer(facts, container_of(link, struct producer, link));
    }
    return err;
}

static int write_catalogue(const struct core *c, struct facts *facts)
{
    int err = write_streams(c, facts);

    if (err == 0)
        err = write_producers(c, facts);

    if (err == 0)
        err = write_topics(c, facts);
    for (struct tree_node *node = tree_first(&c->queues_by_id); err == 0 && node != NULL;
         node = tree_next(node)) {
        const struct queue *q = container_of(node, struct queue, id_node);

        if (q->name != NULL)
            err = write_queue(facts, q);
    }
    return err == 0 ? write_subscriptions(c, facts) : err;
}

/* ---- what is gone, and what was delivered ---- */

/* The first row of gone messages of f at or above seq, below what is unread: what lies in no run, or is marked in one. */
static bool gone_from(const struct feed *f, uint64_t seq, uint64_t *ret_first, uint64_t *ret_end)
{
    const struct run *r = run_reaching(f, seq);

    for (; r != NULL && r->node.key <= seq; r = run_next(r)) {
        uint64_t first = gone_next_gone(&f->gone, seq, r->end);

        if (first < r->end) {
            *ret_first = first;
            *ret_end = gone_next_live(&f->gone, first, r->end);
            return true;
        }
        seq = r->end;
    }
    *ret_first = seq;
    *ret_end = r != NULL ? r->node.key : f->next;
    return *ret_first < *ret_end;
}

/* Until `full` bytes are written. */
static int write_gone(struct facts *facts, const struct feed *f, struct core_checkpoint *at, size_t full)
{
    uint64_t first, end;
    int err = 0;

    while (err == 0 && facts->length < full && gone_from(f, at->next_seq, &first, &end)) {
        struct fact fact = fact_of_messages(FACT_GONE, f, first, end);

        err = checkpoint_add(facts, &fact);
        if (err == 0)
            at->next_seq = end;
    }
    if (err == 0 && facts->length < full) {
        at->histories = true;
        at->next_seq = 0;
    }
    return err;
}

static int write_history(const struct core *c, struct facts *facts, const struct run *r)
{
    bool delayed = r->holder->kind == HOLDER_DELAY;
    struct fact fact = fact_of_run(r, delayed ? c->wall_ms + (r->holder->timer.due_ms - c->now_ms) : 0);

    return r->deliveries > 0 ? checkpoint_add(facts, &fact) : 0;
}

static int write_histories(const struct core *c, struct facts *facts, const struct feed *f,
                           struct core_checkpoint *at, size_t full)
{
    const struct run *r = run_reaching(f, at->next_seq);
    int err = 0;

    for (; err == 0 && facts->length < full && r != NULL; r = run_next(r)) {
        err = write_history(c, facts, r);
        if (err == 0)
            at->next_seq = r->end;
    }
    if (err == 0 && r == NULL) {
        at->next_stream = f->stream->number + 1;
        at->next_seq = 0;
        at->histories = false;
    }
    return err;
}

/* ---- the steps ---- */

static struct facts facts_of(const struct core_checkpoint *checkpoint)
{
    return (struct facts){.data = checkpoint->facts,
                          .length = checkpoint->bytes,
                          .capacity = checkpoint->capacity,
                          .count = (uint32_t)checkpoint->count,
                          .last = checkpoint->bytes}; /* nothing is joined across slices */
}

static void keep_facts(struct core_checkpoint *checkpoint, const struct facts *facts)
{
    checkpoint->facts = facts->data;
    checkpoint->bytes = facts->length;
    checkpoint->capacity = facts->capacity;
    checkpoint->count = facts->count;
}

int core_checkpoint_begin(const struct core *c, struct core_checkpoint *ret_checkpoint)
{
    struct core_checkpoint checkpoint = {0};
    struct facts facts = {0};
    int err = write_catalogue(c, &facts);

    keep_facts(&checkpoint, &facts);
    if (err == 0)
        *ret_checkpoint = checkpoint;
    else
        core_checkpoint_free(&checkpoint);
    return err;
}

static void begin_queue(struct core_checkpoint *at, uint64_t id)
{
    at->next_queue_id = id;
    at->next_stream = at->next_seq = 0;
    at->histories = false;
}

/* The feed to go on with: the one that was left half way, if it is still there. NULL: that was all. */
static const struct feed *next_feed(const struct core *c, struct core_checkpoint *at)
{
    struct tree_node *node = tree_at_least(&c->queues_by_id, at->next_queue_id);

    for (; node != NULL; node = tree_next(node)) {
        const struct queue *q = container_of(node, struct queue, id_node);
        const struct tree_node *feed;

        if (q->id != at->next_queue_id)
            begin_queue(at, q->id);
        feed = q->name != NULL ? tree_at_least(&q->feeds, at->next_stream) : NULL;
        if (feed == NULL)
            continue;
        if (feed->key != at->next_stream) {
            begin_queue(at, q->id);
            at->next_stream = feed->key;
        }
        return container_of(feed, struct feed, node);
    }
    return NULL;
}

/* A queue may be written at several moments: what was gone stays so, and all that has come since is in the log. */
int core_checkpoint_slice(const struct core *c, struct core_checkpoint *checkpoint, uint64_t budget_bytes,
                          bool *ret_ended)
{
    struct facts facts = facts_of(checkpoint);
    size_t full = budget_bytes < SIZE_MAX - facts.length ? facts.length + budget_bytes : SIZE_MAX;
    const struct feed *f;
    int err = 0;

    while (err == 0 && facts.length < full && (f = next_feed(c, checkpoint)) != NULL) {
        if (!checkpoint->histories)
            err = write_gone(&facts, f, checkpoint, full);
        if (err == 0 && checkpoint->histories)
            err = write_histories(c, &facts, f, checkpoint, full);
    }
    keep_facts(checkpoint, &facts);
    if (err == 0)
        *ret_ended = facts.length < full;
    return err;
}

void core_checkpoint_free(struct core_checkpoint *checkpoint)
{
    free(checkpoint->facts);
    *checkpoint = (struct core_checkpoint){0};
}
