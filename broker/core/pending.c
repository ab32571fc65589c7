/* What waits for a commit to be synced: answers, messages that may be received then, and what the log may forget.
 *
 * A ring in order of commits. In a durable core an answer means that what it speaks of survives: it is given when the
 * turn's commit is synced, or, for what changed nothing, the last commit on its way. */
#include "state.h"

int pending_reserve(struct core *c, size_t count)
{
    struct pending_ring *ring = &c->pending;
    size_t capacity = ring->capacity == 0 ? 256 : ring->capacity;
    struct pending *items;

    if (ring->count + count <= ring->capacity)
        return 0;
    while (capacity < ring->count + count)
        capacity *= 2;
    items = malloc(capacity * sizeof(*items));
    if (items == NULL)
        return FANQ_ERR_NOMEM;
    for (size_t i = 0; i < ring->count; i++)
        items[i] = ring->items[(ring->head + i) & (ring->capacity - 1)];
    free(ring->items);
    *ring = (struct pending_ring){items, 0, ring->count, capacity};
    return 0;
}

static struct pending *last_pending(const struct core *c)
{
    const struct pending_ring *ring = &c->pending;

    return ring->count == 0 ? NULL : &ring->items[(ring->head + ring->count - 1) & (ring->capacity - 1)];
}

struct pending *pending_push(struct core *c, enum pending_kind kind, uint64_t commit)
{
    struct pending_ring *ring = &c->pending;
    struct pending *p = &ring->items[(ring->head + ring->count) & (ring->capacity - 1)];

    assert(ring->count < ring->capacity);
    assert(ring->count == 0 || last_pending(c)->commit <= commit);
    ring->count++;
    memset(p, 0, sizeof(*p));
    p->kind = kind;
    p->commit = commit;
    return p;
}

bool pending_waits_for(const struct core *c, uint64_t commit)
{
    return c->pending.count > 0 && last_pending(c)->commit >= commit;
}

/* ---- answers ---- */

/* The commit with which everything so far is safe: this turn's, if it has anything to commit, or the last one. */
static uint64_t commit_so_far(const struct core *c)
{
    return c->facts.count > 0 || !list_empty(&c->staged_streams) ? c->next_commit : c->next_commit - 1;
}

static bool answers_wait(const struct core *c)
{
    return c->journalling && commit_so_far(c) > c->synced;
}

struct pending *answer_with_commit(struct core *c, enum pending_kind kind, uint32_t connection, uint64_t id)
{
    struct pending *p = pending_push(c, kind, commit_so_far(c));

    p->connection = connection;
    p->serial = session_of(c, connection)->serial;
    p->id = id;
    return p;
}

void answer_ok_with_commit(struct core *c, uint32_t connection, uint64_t id)
{
    struct pending *last = last_pending(c);

    if (last != NULL && last->kind == PENDING_OK && last->commit == commit_so_far(c) &&
        last->connection == connection && last->serial == session_of(c, connection)->serial &&
        last->id + last->count == id)
        last->count++;
    else
        answer_with_commit(c, PENDING_OK, connection, id)->count = 1;
}

void answer_ok_range(struct core *c, struct effects *out, uint32_t connection, uint64_t id)
{
    if (answers_wait(c))
        answer_ok_with_commit(c, connection, id);
    else
        reply_ok(c, out, connection, id, 1);
}

void answer_published(struct core *c, struct effects *out, uint32_t connection, uint64_t id,
                      const struct fanq_published *published)
{
    if (answers_wait(c))
        answer_with_commit(c, PENDING_PUBLISHED, connection, id)->published = *published;
    else
        reply_add(out, connection, FANQ_REPLY_PUBLISHED, id)->published = *published;
}

static int reply_object(struct core *c, struct effects *out, const struct pending *p)
{
    const struct stream *s;
    const struct queue *q;

    switch (p->reply_op) {
    case FANQ_REPLY_QUEUE:
        q = queue_by_id(c, p->object);
        if (q != NULL)
            return reply_queue(c, p->connection, p->id, q, out);
        reply_error(out, p->connection, p->id, FANQ_ERR_QUEUE_NOT_FOUND); /* deleted meanwhile */
        return 0;
    case FANQ_REPLY_TOPIC:
        s = stream_find(c, p->object);
        if (s != NULL && s->topic != NULL)
            return reply_topic(c, p->connection, p->id, s->topic, out);
        reply_error(out, p->connection, p->id, FANQ_ERR_TOPIC_NOT_FOUND);
        return 0;
    default:
        reply_add(out, p->connection, p->reply_op, p->id)->changed = p->object;
        return 0;
    }
}

int answer_when_safe(struct core *c, struct effects *out, uint32_t connection, uint64_t id,
                     enum fanq_reply_op op, uint64_t object)
{
    struct pending now = {.connection = connection, .id = id, .reply_op = op, .object = object};
    struct pending *p;

    if (!answers_wait(c))
        return reply_object(c, out, &now);
    p = answer_with_commit(c, PENDING_REPLY, connection, id);
    p->reply_op = op;
    p->object = object;
    return 0;
}

int pending_answer(struct core *c, const struct pending *p, struct effects *out)
{
    if (session_of(c, p->connection)->serial != p->serial)
        return 0; /* the connection has ended */
    if (p->kind == PENDING_REPLY)
        return reply_object(c, out, p);
    if (p->kind == PENDING_OK)
        reply_ok(c, out, p->connection, p->id, p->count);
    else
        reply_add(out, p->connection, FANQ_REPLY_PUBLISHED, p->id)->published = p->published;
    return 0;
}
