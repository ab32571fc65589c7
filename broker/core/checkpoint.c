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

static int write_catalogue(const struct core *c, struct facts *facts)
{
    int err = write_streams(c, facts);

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

static int write_gone(struct facts *facts, const struct feed *f, uint64_t first, uint64_t end)
{
    struct fact fact = fact_of_messages(FACT_GONE, f, first, end);

    return first < end ? checkpoint_add(facts, &fact) : 0;
}

static int write_history(const struct core *c, struct facts *facts, const struct run *r)
{
    bool delayed = r->holder->kind == HOLDER_DELAY;
    struct fact fact = fact_of_run(r, delayed ? c->wall_ms + (r->holder->timer.due_ms - c->now_ms) : 0);

    return r->deliveries > 0 ? checkpoint_add(facts, &fact) : 0;
}

static int write_holes(struct facts *facts, const struct run *r)
{
    const struct gone *gone = &r->feed->gone;
    uint64_t seq = gone_next_gone(gone, r->node.key, r->end);
    int err = 0;

    while (err == 0 && seq < r->end) {
        uint64_t end = gone_next_live(gone, seq, r->end);

        err = write_gone(facts, r->feed, seq, end);
        seq = gone_next_gone(gone, end, r->end);
    }
    return err;
}

/* What is gone comes first: so whatever way the rest was cut into runs, equal states give equal facts. */
static int write_messages(const struct core *c, struct facts *facts, const struct feed *f)
{
    struct tree_node *first = tree_first(&f->runs);
    uint64_t seq = 0;
    int err = 0;

    for (struct tree_node *node = first; err == 0 && node != NULL; node = tree_next(node)) {
        const struct run *r = container_of(node, struct run, node);

        err = write_gone(facts, f, seq, r->node.key);
        if (err == 0)
            err = write_holes(facts, r);
        seq = r->end;
    }
    if (err == 0)
        err = write_gone(facts, f, seq, f->next);
    for (struct tree_node *node = first; err == 0 && node != NULL; node = tree_next(node))
        err = write_history(c, facts, container_of(node, struct run, node));
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

int core_checkpoint_slice(const struct core *c, struct core_checkpoint *checkpoint, uint64_t budget_bytes,
                          bool *ret_ended)
{
    struct facts facts = facts_of(checkpoint);
    struct tree_node *node = tree_at_least(&c->queues_by_id, checkpoint->next_queue_id);
    int err = 0;

    for (; node != NULL && facts.length - checkpoint->bytes < budget_bytes; node = tree_next(node)) {
        const struct queue *q = container_of(node, struct queue, id_node);
        struct tree_node *feed = q->name != NULL ? tree_first(&q->feeds) : NULL;

        for (; err == 0 && feed != NULL; feed = tree_next(feed))
            err = write_messages(c, &facts, container_of(feed, struct feed, node));
        if (err != 0)
            break;
        checkpoint->next_queue_id = q->id + 1;
    }
    keep_facts(checkpoint, &facts); /* a queue that was left half way is written again */
    if (err == 0)
        *ret_ended = node == NULL;
    return err;
}

void core_checkpoint_free(struct core_checkpoint *checkpoint)
{
    free(checkpoint->facts);
    *checkpoint = (struct core_checkpoint){0};
}
