/* What a holder says of messages it got: delete (ack), later (nack), not yet (extend).
 *
 * An ack deletes by number, whoever holds the message now: on a standard queue that is what the sender of the
 * ack did the work for. Nack and extend speak of a hold, so they touch only what that batch still holds. */
#include "proto/record.h"
#include "state.h"

static void count_deleted(struct core *c, struct queue *q, uint64_t deleted)
{
    q->deleted += deleted;
    c->deleted += deleted;
    if (deleted > 0)
        queue_kick(q); /* the limit on messages in flight may have let go */
}

/* Where in [first, end) begins what was published after the epoch. Along a stream epochs rise. */
static uint64_t end_of_epoch(const struct core *c, const struct feed *f, uint64_t epoch, uint64_t first,
                             uint64_t end)
{
    const struct view *view = &c->options.view;

    while (first < end) {
        uint64_t middle = first + (end - first) / 2;
        struct block b;

        if (view->block(view->context, f->stream->number, middle, &b) && block_epoch(c, &b) <= epoch)
            first = middle + 1;
        else
            end = middle;
    }
    return first;
}

/* What an earlier run handed out may be unread in this one: its ack comes late, but the work is done. */
static int reach(struct core *c, struct feed *f, uint64_t end)
{
    if (end <= f->next)
        return 0;
    queue_kick(f->queue);
    return feed_give_out(c, f, end);
}

static int ack_range(struct core *c, struct queue *q, uint64_t batch, const struct fanq_range *range)
{
    struct feed *f = feed_find(q, range->stream);
    uint64_t first = range->first, end = range->first + range->count, count;
    int err;

    if (f == NULL)
        return 0; /* all of that stream was deleted before */
    if (first < f->floor)
        first = f->floor;
    if (c->options.durable && batch < c->first_batch) {
        /* It cannot have held what is younger: a crash took the messages that it held (they were handed out before they
         * were on the disk), and these have their numbers now. */
        if (end > f->stream->receivable)
            end = f->stream->receivable; /* all of earlier runs is below */
        end = end_of_epoch(c, f, batch >> BLOCK_EPOCH_SHIFT, first, end);
        err = first < end ? reach(c, f, end) : 0;
        if (err != 0)
            return err;
    }
    if (end > f->next)
        end = f->next;
    if (first >= end)
        return 0;
    err = journal_reserve(c, 2);
    if (err == 0)
        err = run_delete(c, f, first, end, &count);
    if (err != 0)
        return err;
    if (count > 0)
        journal_gone(c, f, first, end);
    (void)feed_raise_floor(c, f); /* may free it */
    count_deleted(c, q, count);
    return 0;
}

int ack_step(struct core *c, const struct fanq_change *change)
{
    struct queue *q = queue_by_id(c, change->queue_id);
    struct fanq_ranges ranges = change->ranges;
    struct fanq_range range;
    int err = 0;

    if (q == NULL)
        return FANQ_ERR_QUEUE_NOT_FOUND;
    while (err == 0 && fanq_range_next(&ranges, &range))
        err = ack_range(c, q, change->batch, &range);
    return err; /* what was deleted before an error stays so: acks may be repeated */
}

/* A batch holds no more than one delivery. Without this bound a request could name all that a queue has, and
 * that 4096 times over; each range is a walk over the runs in it, whoever holds them. */
_Static_assert(FANQ_DELIVERY_BYTES_MAX / FANQ_RECORD_PLAIN_BYTES <= FANQ_CHANGE_MESSAGES_MAX,
               "the messages of any batch fit in one request");

static bool batch_could_hold(struct fanq_ranges ranges)
{
    uint64_t left = FANQ_CHANGE_MESSAGES_MAX;
    struct fanq_range range;

    while (fanq_range_next(&ranges, &range)) {
        if (range.count > left)
            return false;
        left -= range.count;
    }
    return true;
}

/* Moves what `batch` holds of the range to another holder. */
static int move_range(struct core *c, struct queue *q, uint64_t batch, const struct fanq_range *range,
                      struct holder *to, uint64_t *changed)
{
    uint64_t due_ms = to->kind == HOLDER_DELAY ? c->wall_ms + (to->timer.due_ms - c->now_ms) : 0;
    struct feed *f = feed_find(q, range->stream);
    uint64_t end = range->first + range->count;
    struct run *r = f == NULL ? NULL : run_reaching(f, range->first);

    while (r != NULL && r->node.key < end) {
        struct holder *from = r->holder;

        if (from->kind == HOLDER_BATCH && from->batch == batch && from != to) {
            uint64_t first =
                gone_next_live(&f->gone, range->first > r->node.key ? range->first : r->node.key, r->end);

            if (first < end) {
                if (run_reserve(c) != 0 || journal_reserve(c, 1) != 0)
                    return FANQ_ERR_NOMEM;
                if (to->kind == HOLDER_BATCH && !list_linked(&to->link_consumer) &&
                    list_linked(&from->link_consumer))
                    list_insert_before(&from->link_consumer, &to->link_consumer);
                r = run_cut(c, r, first, end);
                run_move(c, r, to, false);
                if (to->kind != HOLDER_BATCH)
                    journal_held(c, r, due_ms);
                *changed += r->live;
                holder_release_if_empty(c, from);
            }
        }
        r = run_next(r);
    }
    return 0;
}

static int move_ranges(struct core *c, struct queue *q, const struct fanq_change *change, struct holder *to,
                       uint64_t *changed)
{
    struct fanq_ranges ranges = change->ranges;
    struct fanq_range range;
    int err = 0;

    while (err == 0 && fanq_range_next(&ranges, &range))
        err = move_range(c, q, change->batch, &range, to, changed);
    return err;
}

int nack_step(struct core *c, const struct fanq_change *change, uint64_t *ret_changed)
{
    struct queue *q = queue_by_id(c, change->queue_id);
    struct holder *delay;
    int err;

    *ret_changed = 0;
    if (q == NULL)
        return FANQ_ERR_QUEUE_NOT_FOUND;
    if (!batch_could_hold(change->ranges))
        return FANQ_ERR_INVALID;
    if (change->time_ms == 0) {
        err = move_ranges(c, q, change, &q->redelivery, ret_changed);
    } else {
        if (run_reserve(c) != 0)
            return FANQ_ERR_NOMEM;
        delay = holder_new(c, HOLDER_DELAY, q, c->now_ms + change->time_ms);
        err = move_ranges(c, q, change, delay, ret_changed);
        holder_release_if_empty(c, delay);
    }
    queue_kick(q);
    return err;
}

/* The messages of an extend leave their batch for one with the same number and a deadline of its own, so that
 * their holder can go on speaking of them; a push's stay the push's. */
int extend_step(struct core *c, const struct fanq_change *change, uint64_t *ret_changed)
{
    struct queue *q = queue_by_id(c, change->queue_id);
    struct holder *batch;
    int err;

    *ret_changed = 0;
    if (q == NULL)
        return FANQ_ERR_QUEUE_NOT_FOUND;
    if (!batch_could_hold(change->ranges))
        return FANQ_ERR_INVALID;
    if (change->time_ms == 0)
        return nack_step(c, change, ret_changed);
    if (run_reserve(c) != 0)
        return FANQ_ERR_NOMEM;
    batch = holder_new(c, HOLDER_BATCH, q, c->now_ms + change->time_ms);
    batch->batch = change->batch;
    err = move_ranges(c, q, change, batch, ret_changed);
    holder_release_if_empty(c, batch);
    return err;
}
