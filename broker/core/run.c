/* Who holds what: runs of neighbouring messages with one history, in order by seq within a feed, in order of
 * arrival within their holder.
 *
 * Invariants: the runs of a feed do not overlap and lie in [floor, next). The first and the last message of a
 * run are live; inside it, the feed's gone bits tell. run->live counts its live messages, holder->live those
 * of its runs, and the queue's counters those of its holders. */
#include "state.h"

static struct run *run_of(struct tree_node *node)
{
    return node == NULL ? NULL : container_of(node, struct run, node);
}

/* ---- holders ---- */

void holder_init(struct holder *h, enum holder_kind kind, struct queue *q)
{
    h->kind = kind;
    h->queue = q;
    h->live = 0;
    h->batch = 0;
    list_init(&h->runs);
    list_init(&h->link_consumer);
    timer_init(&h->timer, TIMER_HOLDER);
}

struct holder *holder_new(struct core *c, enum holder_kind kind, struct queue *q, uint64_t due_ms)
{
    struct holder *h = slab_take(&c->holders_slab);

    assert(h != NULL && (kind == HOLDER_BATCH || kind == HOLDER_DELAY));
    holder_init(h, kind, q);
    if (kind == HOLDER_BATCH)
        h->batch = c->next_batch++;
    wheel_set(&c->wheel, &h->timer, due_ms);
    return h;
}

void holder_release_if_empty(struct core *c, struct holder *h)
{
    if (!list_empty(&h->runs) || h->kind == HOLDER_REDELIVERY || h->kind == HOLDER_ABSENT)
        return;
    assert(h->live == 0);
    wheel_stop(&c->wheel, &h->timer);
    list_remove(&h->link_consumer);
    slab_give(&c->holders_slab, h);
}

static void holder_count(struct core *c, struct holder *h, uint64_t added, uint64_t taken)
{
    h->live += added - taken;
    if (h->kind == HOLDER_BATCH) {
        h->queue->in_flight += added - taken;
        c->in_flight += added - taken;
    } else if (h->kind == HOLDER_DELAY) {
        h->queue->delayed += added - taken;
    }
}

int holder_reserve(struct core *c, const struct holder *h)
{
    size_t count = 0;

    if (!c->journalling)
        return 0;
    list_for_each (link, &h->runs)
        count++;
    return journal_reserve(c, count);
}

void holder_make_ready(struct core *c, struct holder *h)
{
    struct queue *q = h->queue;
    struct list *link;

    /* The last move may free nothing but h's content; h itself goes below. */
    while ((link = list_first(&h->runs)) != NULL) {
        struct run *r = container_of(link, struct run, link);

        if (h->kind == HOLDER_BATCH)
            journal_held(c, r, 0); /* of a delay it was written when it began */
        run_move(c, r, &q->redelivery, false);
    }
    holder_release_if_empty(c, h);
    queue_kick(q);
}

/* ---- the run map ---- */

int run_reserve(struct core *c)
{
    int err = slab_reserve(&c->runs_slab, 2);

    return err != 0 ? err : slab_reserve(&c->holders_slab, 1);
}

struct run *run_new(struct core *c, struct feed *f, uint64_t first, uint64_t end, struct holder *h)
{
    struct run *r = slab_take(&c->runs_slab);

    assert(r != NULL && first < end);
    r->end = end;
    r->live = end - first;
    r->feed = f;
    r->holder = h;
    list_init(&r->link);
    list_append(&h->runs, &r->link);
    tree_insert(&f->runs, &r->node, first);
    holder_count(c, h, r->live, 0);
    return r;
}

void run_free(struct core *c, struct run *r)
{
    holder_count(c, r->holder, 0, r->live);
    list_remove(&r->link);
    tree_remove(&r->feed->runs, &r->node);
    slab_give(&c->runs_slab, r);
}

struct run *run_reaching(const struct feed *f, uint64_t seq)
{
    struct run *r = run_of(tree_at_most(&f->runs, seq));

    if (r != NULL && r->end > seq)
        return r;
    return run_of(tree_at_least(&f->runs, seq));
}

struct run *run_next(const struct run *r)
{
    return run_of(tree_next(&r->node));
}

/* Moves the edges of r inwards over gone messages; r has a live one. Changing the key in place keeps the
 * tree's order: the new first seq lies within the old run, and runs do not overlap. */
static void run_trim_edges(struct run *r)
{
    r->node.key = gone_next_live(&r->feed->gone, r->node.key, r->end);
    r->end = gone_last_live_end(&r->feed->gone, r->node.key, r->end);
    assert(r->node.key < r->end);
}

/* Cuts r in two before seq; gives the upper part, right behind r in its holder's list. */
static struct run *run_split(struct core *c, struct run *r, uint64_t seq)
{
    struct run *upper = slab_take(&c->runs_slab);

    assert(upper != NULL && r->node.key < seq && seq < r->end);
    upper->end = r->end;
    upper->live = (r->end - seq) - gone_count(&r->feed->gone, seq, r->end);
    upper->first_receive_ms = r->first_receive_ms;
    upper->deliveries = r->deliveries;
    upper->feed = r->feed;
    upper->holder = r->holder;
    list_init(&upper->link);
    list_insert_before(r->link.next, &upper->link);
    tree_insert(&r->feed->runs, &upper->node, seq);
    r->end = seq;
    r->live -= upper->live;
    run_trim_edges(r);
    run_trim_edges(upper);
    return upper;
}

struct run *run_cut(struct core *c, struct run *r, uint64_t first, uint64_t end)
{
    uint64_t live_first = gone_next_live(&r->feed->gone, first > r->node.key ? first : r->node.key, r->end);

    assert(live_first < end && live_first < r->end);
    if (live_first > r->node.key)
        r = run_split(c, r, live_first);
    if (end < r->end)
        (void)run_split(c, r, gone_next_live(&r->feed->gone, end, r->end));
    return r;
}

void run_move(struct core *c, struct run *r, struct holder *to, bool to_front)
{
    holder_count(c, r->holder, 0, r->live);
    list_remove(&r->link);
    r->holder = to;
    if (to_front)
        list_prepend(&to->runs, &r->link);
    else
        list_append(&to->runs, &r->link);
    holder_count(c, to, r->live, 0);
}

void run_grow(struct core *c, struct run *r, uint64_t count)
{
    r->end += count;
    r->live += count;
    holder_count(c, r->holder, count, 0);
}

void run_merge_back(struct core *c, struct run *r)
{
    struct run *before = r->node.key == 0 ? NULL : run_of(tree_at_most(&r->feed->runs, r->node.key - 1));

    if (before == NULL || before->end != r->node.key || before->holder != r->holder ||
        before->deliveries != r->deliveries || before->first_receive_ms != r->first_receive_ms)
        return;
    before->end = r->end;
    before->live += r->live;
    list_remove(&r->link); /* the holder's count stays */
    tree_remove(&r->feed->runs, &r->node);
    slab_give(&c->runs_slab, r);
}

/* ---- deleting ---- */

/* Deletes [first, end) of r, which lies inside it. Gives how many messages that were. */
static uint64_t run_delete_part(struct core *c, struct run *r, uint64_t first, uint64_t end)
{
    struct gone *gone = &r->feed->gone;
    struct holder *h = r->holder;
    uint64_t count;

    if (first == r->node.key && end == r->end) {
        count = r->live;
        run_free(c, r);
        holder_release_if_empty(c, h);
        return count;
    }
    if (first == r->node.key || end == r->end) {
        /* An edge needs no bits: what lies in no run is gone. */
        count = (end - first) - gone_count(gone, first, end);
        if (first == r->node.key)
            r->node.key = end;
        else
            r->end = first;
    } else {
        count = gone_set(gone, &c->gone_pool, first, end);
    }
    holder_count(c, h, 0, count);
    r->live -= count;
    run_trim_edges(r);
    return count;
}

int run_delete(struct core *c, struct feed *f, uint64_t first, uint64_t end, uint64_t *ret_count)
{
    struct run *r = run_reaching(f, first);
    uint64_t count = 0;

    /* At most the first and the last run are cut inside, and only a cut on both sides sets
     * bits: in one run. */
    if (r != NULL && r->node.key < first && end < r->end &&
        gone_reserve(&f->gone, &c->gone_pool, first, end) != 0)
        return FANQ_ERR_NOMEM;
    while (r != NULL && r->node.key < end) {
        struct run *next = run_next(r);
        uint64_t from = first > r->node.key ? first : r->node.key;

        count += run_delete_part(c, r, from, end < r->end ? end : r->end);
        r = next;
    }
    *ret_count = count;
    return 0;
}
