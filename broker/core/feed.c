/* A queue's place in a stream: a cursor, and what of the stream the queue takes.
 *
 * A feed with an open run that has read all there is lies in stream->caught_up, and only there a publish
 * finds it; one that has something to give lies in queue->ready. So an idle queue with a backlog costs a
 * publish nothing. Those of early queues, for which there is more as soon as it is committed, have a list of
 * their own, so that they cost the others nothing. */
#include "state.h"

struct feed *feed_find(const struct queue *q, uint64_t stream)
{
    struct tree_node *node = tree_find(&q->feeds, stream);

    return node == NULL ? NULL : container_of(node, struct feed, node);
}

/* ---- what is unread ---- */

static bool unread_open(const struct feed *f)
{
    return f->unread_count > 0 && f->unread[f->unread_count - 1].end == SEQ_OPEN;
}

/* Room for one more run: behind the last one, or where runs were taken from the front once those are as many as
 * the ones that must move there. So a run is moved a few times at most, however many there are. */
static int unread_reserve(struct feed *f)
{
    uint32_t capacity = f->unread_capacity == 0 ? 2 : f->unread_capacity * 2;
    size_t taken = (size_t)(f->unread - f->unread_memory);
    struct unread *memory;

    if (taken + f->unread_count < f->unread_capacity)
        return 0;
    if (taken > f->unread_count) {
        memcpy(f->unread_memory, f->unread, f->unread_count * sizeof(*f->unread));
        f->unread = f->unread_memory;
        return 0;
    }
    memory = realloc(f->unread_memory, capacity * sizeof(*memory));
    if (memory == NULL)
        return FANQ_ERR_NOMEM;
    f->unread_memory = memory;
    f->unread = memory + taken;
    f->unread_capacity = capacity;
    return 0;
}

static void unread_pop(struct feed *f)
{
    f->unread_count--;
    f->unread = f->unread_count > 0 ? f->unread + 1 : f->unread_memory;
}

uint64_t feed_unread(const struct feed *f)
{
    uint64_t limit = feed_limit(f), count = 0;

    for (uint32_t i = 0; i < f->unread_count; i++) {
        uint64_t first = f->unread[i].first > f->next ? f->unread[i].first : f->next;
        uint64_t end = f->unread[i].end < limit ? f->unread[i].end : limit;

        if (first < end)
            count += end - first;
    }
    return count;
}

/* ---- ready, caught up, done ---- */

bool feed_ready(const struct feed *f)
{
    return f->sorted || list_linked(&f->link_ready);
}

void feed_not_ready(struct feed *f)
{
    if (f->sorted)
        tree_remove(&f->queue->sorted, &f->arrival_node);
    f->sorted = false;
    list_remove(&f->link_ready);
}

void feed_settle(struct core *c, struct feed *f)
{
    uint64_t before = f->next;

    while (f->unread_count > 0 && f->unread[0].end <= f->next)
        unread_pop(f);
    if (f->unread_count > 0 && f->next < f->unread[0].first)
        f->next = f->unread[0].first; /* what lies between runs was never this queue's */
    if (f->next != before)
        f->head_arrival = 0;

    feed_not_ready(f);
    list_remove(&f->link_caught_up);
    if (f->unread_count == 0)
        return;
    if (f->next < feed_limit(f)) {
        if (!f->fetching)
            list_append(&f->queue->ready, &f->link_ready);
        queue_kick(f->queue);
    } else {
        /* A closed run above the limit waits for its commit here, too. */
        list_append(f->queue->early_delivery ? &f->stream->early : &f->stream->caught_up, &f->link_caught_up);
    }
}

void feeds_limit_rose(struct core *c, struct list *caught_up)
{
    struct list moved;
    struct list *link;

    list_init(&moved);
    while ((link = list_first(caught_up)) != NULL) {
        list_remove(link);
        list_append(&moved, link);
    }
    while ((link = list_first(&moved)) != NULL)
        feed_settle(c, container_of(link, struct feed, link_caught_up));
}

/* ---- given out before this run ---- */

enum { GAP_MAX = GONE_PAGE_SEQS }; /* a gap within a run costs at most two pages of bits */

/* [first, end), which no run has and which lies above all that have, was given out. */
static int put_back(struct core *c, struct feed *f, uint64_t first, uint64_t end)
{
    struct tree_node *node = tree_at_most(&f->runs, first);
    struct run *r = node == NULL ? NULL : container_of(node, struct run, node);

    if (r == NULL || r->deliveries > 0 || r->holder->kind != HOLDER_REDELIVERY || first - r->end > GAP_MAX) {
        if (run_reserve(c) != 0)
            return FANQ_ERR_NOMEM;
        (void)run_new(c, f, first, end, &f->queue->redelivery);
        return 0;
    }
    if (first > r->end) {
        if (gone_reserve(&f->gone, &c->gone_pool, r->end, first) != 0)
            return FANQ_ERR_NOMEM;
        (void)gone_set(&f->gone, &c->gone_pool, r->end, first);
        r->end = first;
    }
    run_grow(c, r, end - first);
    return 0;
}

int feed_give_out(struct core *c, struct feed *f, uint64_t end)
{
    int err = 0;

    for (uint32_t i = 0; err == 0 && i < f->unread_count; i++) {
        uint64_t from = f->unread[i].first > f->next ? f->unread[i].first : f->next;
        uint64_t to = f->unread[i].end < end ? f->unread[i].end : end;

        if (from >= to)
            continue;
        err = put_back(c, f, from, to);
        if (err == 0)
            f->next = to; /* no run is ever above it, also when memory ends here */
    }
    if (err == 0 && f->next < end)
        f->next = end;
    f->head_arrival = 0;
    feed_settle(c, f);
    return err;
}

/* ---- the floor ---- */

static void feed_set_floor(struct core *c, struct feed *f, uint64_t floor)
{
    struct stream *s = f->stream;

    assert(floor > f->floor);
    if (f->floor == s->trimmed && --s->feeds_at_trimmed == 0)
        stream_mark_dirty(c, s);
    f->floor = floor;
    gone_trim(&f->gone, &c->gone_pool, floor);
}

bool feed_raise_floor(struct core *c, struct feed *f)
{
    struct tree_node *first = tree_first(&f->runs);
    uint64_t floor = first != NULL ? first->key : f->next;

    if (floor > f->floor)
        feed_set_floor(c, f, floor);
    if (first == NULL && f->unread_count == 0) {
        journal_gone(c, f, 0, f->next); /* a checkpoint under way may not come to it any more */
        feed_free(c, f);
        return true;
    }
    return false;
}

/* ---- life ---- */

static struct feed *feed_new(struct core *c, struct queue *q, struct stream *s, uint64_t first)
{
    struct feed *f = slab_take(&c->feeds_slab);

    if (f == NULL)
        return NULL;
    if (unread_reserve(f) != 0) {
        slab_give(&c->feeds_slab, f);
        return NULL;
    }
    f->queue = q;
    f->stream = s;
    f->floor = f->next = first;
    list_init(&f->link_stream);
    list_init(&f->link_caught_up);
    list_init(&f->link_ready);
    list_init(&f->link_ephemeral);
    tree_init(&f->runs);
    gone_init(&f->gone);
    tree_insert(&q->feeds, &f->node, s->number);
    if (s->feed_count == 0)
        stream_forget_staged(s);
    list_append(&s->feeds, &f->link_stream);
    s->feed_count++;
    if (f->floor == s->trimmed)
        s->feeds_at_trimmed++;
    else if (s->feeds_at_trimmed == 0)
        stream_mark_dirty(c, s); /* what came before the first feed is needed by nobody */
    return f;
}

int feed_add(struct core *c, struct queue *q, struct stream *s, uint64_t first, uint64_t end)
{
    struct feed *f = feed_find(q, s->number);
    struct unread *last;

    if (f == NULL)
        f = feed_new(c, q, s, first);
    if (f == NULL || unread_reserve(f) != 0)
        return FANQ_ERR_NOMEM;
    last = f->unread_count > 0 ? &f->unread[f->unread_count - 1] : NULL;
    if (last == NULL || last->end < first)
        f->unread[f->unread_count++] = (struct unread){first, end};
    else if (last->end < end)
        last->end = end; /* nothing came in between */
    feed_settle(c, f);
    return 0;
}

struct feed *feed_open(struct core *c, struct queue *q, struct stream *s, uint64_t first)
{
    struct feed *f = feed_find(q, s->number);

    if (f != NULL && unread_open(f))
        return f;
    return feed_add(c, q, s, first, SEQ_OPEN) == 0 ? feed_find(q, s->number) : NULL;
}

void feed_close(struct core *c, struct feed *f, uint64_t end)
{
    assert(unread_open(f));
    if (f->unread[f->unread_count - 1].first >= end)
        f->unread_count--; /* nothing came */
    else
        f->unread[f->unread_count - 1].end = end;
    feed_settle(c, f);
    (void)feed_raise_floor(c, f); /* may free it */
}

static void feed_drop_runs(struct core *c, struct feed *f)
{
    struct tree_node *node;

    while ((node = tree_first(&f->runs)) != NULL) {
        struct run *r = container_of(node, struct run, node);
        struct holder *h = r->holder;

        run_free(c, r);
        holder_release_if_empty(c, h);
    }
}

static void feed_stop_fetching(struct feed *f)
{
    if (f->fetching)
        f->queue->fetching_feeds--;
    f->fetching = false;
}

void feed_free(struct core *c, struct feed *f)
{
    struct stream *s = f->stream;

    feed_drop_runs(c, f);
    feed_stop_fetching(f);
    list_remove(&f->link_stream);
    list_remove(&f->link_caught_up);
    feed_not_ready(f);
    list_remove(&f->link_ephemeral);
    tree_remove(&f->queue->feeds, &f->node);
    s->feed_count--;
    if (f->floor == s->trimmed)
        s->feeds_at_trimmed--;
    stream_mark_dirty(c, s);
    gone_close(&f->gone, &c->gone_pool);
    free(f->unread_memory);
    slab_give(&c->feeds_slab, f);
}

void feed_purge(struct core *c, struct feed *f)
{
    bool open = unread_open(f);

    journal_gone(c, f, 0, f->stream->next_seq);
    feed_drop_runs(c, f);
    feed_stop_fetching(f);
    f->unread_count = 0;
    f->unread = f->unread_memory;
    f->next = f->stream->next_seq;
    f->head_arrival = 0;
    if (open)
        f->unread[f->unread_count++] = (struct unread){f->next, SEQ_OPEN};
    feed_settle(c, f);
    (void)feed_raise_floor(c, f); /* may free it */
}
