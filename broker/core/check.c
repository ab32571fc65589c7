/* Asserts what must hold of the whole state. For tests: it takes time in proportion
 * to everything there is. */
#include "state.h"

static void check_holder(const struct holder *h, const struct queue *q, enum holder_kind kind)
{
    uint64_t live = 0;

    assert(h->queue == q && h->kind == kind);
    list_for_each (link, &h->runs) {
        const struct run *r = container_of(link, struct run, link);

        assert(r->holder == h && r->feed->queue == q);
        live += r->live;
    }
    assert(live == h->live);
}

struct held {
    uint64_t in_flight, delayed;
};

static void check_runs(const struct feed *f, struct held *held)
{
    uint64_t before = f->floor;

    for (struct tree_node *node = tree_first(&f->runs); node != NULL; node = tree_next(node)) {
        const struct run *r = container_of(node, struct run, node);
        uint64_t first = r->node.key;

        assert(r->feed == f && first >= before && first < r->end && r->end <= f->next);
        assert(r->live == r->end - first - gone_count(&f->gone, first, r->end));
        assert(gone_next_live(&f->gone, first, r->end) == first);
        assert(gone_last_live_end(&f->gone, first, r->end) == r->end);
        assert(r->deliveries > 0 || r->holder->kind == HOLDER_REDELIVERY || r->holder->kind == HOLDER_ABSENT);
        if (list_first(&r->holder->runs) == &r->link && /* once for each */
            (r->holder->kind == HOLDER_BATCH || r->holder->kind == HOLDER_DELAY))
            check_holder(r->holder, f->queue, r->holder->kind);
        if (r->holder->kind == HOLDER_BATCH)
            held->in_flight += r->live;
        if (r->holder->kind == HOLDER_DELAY)
            held->delayed += r->live;
        before = r->end;
    }
}

static void check_feed(const struct feed *f, struct held *held)
{
    const struct stream *s = f->stream;
    uint64_t before = f->next;

    assert(f->floor <= f->next && f->floor >= s->trimmed && f->next <= s->next_seq);
    assert(f->runs.count == 0 ? f->floor == f->next : f->floor == tree_first(&f->runs)->key);
    assert(f->runs.count > 0 || f->unread_count > 0);
    for (uint32_t i = 0; i < f->unread_count; i++) {
        assert((i == 0 ? f->unread[i].first <= f->next : f->unread[i].first > before) &&
               f->unread[i].end > f->unread[i].first && f->unread[i].end > f->next);
        assert(f->unread[i].end != SEQ_OPEN || i + 1 == f->unread_count);
        before = f->unread[i].end;
    }
    assert(feed_ready(f) == (feed_unread(f) > 0 && f->next < feed_limit(f) && !f->fetching));
    assert(list_linked(&f->link_caught_up) == (f->unread_count > 0 && f->next >= feed_limit(f)));
    check_runs(f, held);
}

static void check_queue(const struct queue *q)
{
    struct held held = {0};
    size_t fetching = 0, waits = 0;

    for (struct tree_node *node = tree_first(&q->feeds); node != NULL; node = tree_next(node)) {
        const struct feed *f = container_of(node, struct feed, node);

        assert(f->queue == q);
        check_feed(f, &held);
        fetching += f->fetching;
    }
    assert(held.in_flight == q->in_flight && held.delayed == q->delayed && fetching == q->fetching_feeds);
    check_holder(&q->redelivery, q, HOLDER_REDELIVERY);
    check_holder(&q->absent, q, HOLDER_ABSENT);
    list_for_each (link, &q->waits)
        waits++;
    list_for_each (link, &q->aside)
        waits++;
    assert(waits == q->wait_count);
}

static void check_caught_up(const struct stream *s, const struct list *caught_up, bool early)
{
    list_for_each (link, caught_up) {
        const struct feed *f = container_of(link, struct feed, link_caught_up);

        assert(f->stream == s && f->queue->early_delivery == early);
    }
}

static void check_stream(const struct stream *s)
{
    size_t feeds = 0, at_trimmed = 0;

    assert(s->trimmed <= s->next_seq && s->receivable <= s->committed && s->committed <= s->next_seq);
    check_caught_up(s, &s->caught_up, false);
    check_caught_up(s, &s->early, true);
    list_for_each (link, &s->feeds) {
        const struct feed *f = container_of(link, struct feed, link_stream);

        assert(f->stream == s);
        feeds++;
        at_trimmed += f->floor == s->trimmed;
    }
    assert(feeds == s->feed_count && at_trimmed == s->feeds_at_trimmed);
    assert(at_trimmed > 0 || feeds == 0 || list_linked(&s->link_dirty));
}

static void check_producer(const struct producer *p)
{
    uint64_t before = 0;

    for (uint32_t i = 0; i < p->refused_count; i++) {
        const struct refused *run = &p->refused[i];

        assert(run->first > before && run->last >= run->first && run->err < 0);
        assert(run->last < p->applied || run->first > p->applied);
        before = run->last;
    }
}

static void check_producers(const struct core *c)
{
    size_t count = 0;

    list_for_each (link, &c->producers_connected) {
        const struct producer *p = container_of(link, struct producer, link);

        assert(p->session->producer == p);
        check_producer(p);
        count++;
    }
    list_for_each (link, &c->producers_resting) {
        const struct producer *p = container_of(link, struct producer, link);

        assert(p->session == NULL);
        check_producer(p);
        count++;
    }
    assert(count == c->producers.count);
}

void core_check(const struct core *c)
{
    uint64_t in_flight = 0;

    check_producers(c);
    for (struct tree_node *node = tree_first(&c->queues_by_id); node != NULL; node = tree_next(node)) {
        const struct queue *q = container_of(node, struct queue, id_node);

        check_queue(q);
        in_flight += q->in_flight;
    }
    assert(in_flight == c->in_flight);
    for (struct tree_node *node = tree_first(&c->streams); node != NULL; node = tree_next(node))
        check_stream(container_of(node, struct stream, node));
    assert(c->queue_order.count == c->queue_names.count && c->topic_order.count == c->topic_names.count);
}
