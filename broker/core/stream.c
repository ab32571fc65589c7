/* Streams, and the way of a publish through a turn: staged, committed, synced.
 *
 *     stream_stage()   numbers the records, remembers where the producer's bytes are
 *     commit_step()    brings them together by stream: one EFFECT_COMMIT a turn
 *     synced_step()    they may be received, and the producers are answered
 *
 * A stream that no feed reads stores nothing: its messages are numbered and answered, but not appended. */
#include "state.h"

/* ---- life ---- */

struct stream *stream_new(struct core *c)
{
    struct stream *s = slab_take(&c->streams_slab);

    if (s == NULL)
        return NULL;
    s->number = c->next_stream++;
    s->owned = true;
    list_init(&s->feeds);
    list_init(&s->caught_up);
    list_init(&s->ephemerals);
    list_init(&s->link_dirty);
    list_init(&s->link_staged);
    tree_insert(&c->streams, &s->node, s->number);
    return s;
}

void stream_mark_dirty(struct core *c, struct stream *s)
{
    if (!list_linked(&s->link_dirty))
        list_append(&c->dirty_streams, &s->link_dirty);
}

void stream_disown(struct core *c, struct stream *s)
{
    s->owned = false;
    stream_mark_dirty(c, s);
}

static uint64_t least_floor(struct stream *s)
{
    uint64_t least = s->next_seq;

    s->feeds_at_trimmed = 0;
    list_for_each (link, &s->feeds) {
        uint64_t floor = container_of(link, struct feed, link_stream)->floor;

        if (floor < least) {
            least = floor;
            s->feeds_at_trimmed = 0;
        }
        if (floor == least)
            s->feeds_at_trimmed++;
    }
    return least;
}

void stream_settle(struct core *c, struct stream *s, struct effects *out)
{
    struct effect *e;

    list_remove(&s->link_dirty);
    if (list_linked(&s->link_staged) || s->marks > 0) {
        /* Something is on its way: look again when it has arrived (synced_step marks it dirty). */
        if (s->feed_count == 0)
            return;
    } else if (!s->owned && s->feed_count == 0) {
        effect_add(out, EFFECT_STREAM_END)->trim.stream = s->number;
        tree_remove(&c->streams, &s->node);
        slab_give(&c->streams_slab, s);
        return;
    }
    if (s->feeds_at_trimmed == 0) {
        uint64_t least = least_floor(s);

        if (least > s->trimmed) {
            s->trimmed = least;
            e = effect_add(out, EFFECT_TRIM);
            e->trim.stream = s->number;
            e->trim.seq = least;
        }
    }
}

/* ---- staging ---- */

static int pieces_reserve(struct core *c)
{
    uint32_t capacity = c->piece_capacity == 0 ? 1024 : c->piece_capacity * 2;
    struct piece *pieces;

    if (c->piece_count < c->piece_capacity)
        return 0;
    pieces = realloc(c->pieces, capacity * sizeof(*pieces));
    if (pieces == NULL)
        return FANQ_ERR_NOMEM;
    c->pieces = pieces;
    c->piece_capacity = capacity;
    return 0;
}

/* No feed wants what this turn brought so far, and no room was asked for it: it must not be stored for a feed
 * that comes later in the turn. */
void stream_forget_staged(struct stream *s)
{
    s->staged_first_seq = s->next_seq;
    s->staged_count = s->staged_bytes = 0;
    s->staged_pieces = 0;
}

int stream_stage(struct core *c, struct stream *s, const struct fanq_records *records)
{
    uint32_t index = c->piece_count;
    int err;

    if (s->feed_count > 0 && records->length > c->room_bytes)
        return FANQ_ERR_NO_ROOM;
    err = pieces_reserve(c);
    if (err != 0)
        return err;
    c->piece_count++;
    c->pieces[index] = (struct piece){*records, PIECE_NONE};
    if (!list_linked(&s->link_staged)) {
        list_append(&c->staged_streams, &s->link_staged);
        stream_forget_staged(s);
    }
    if (s->staged_pieces == 0)
        s->first_piece = index;
    else
        c->pieces[s->last_piece].next = index;
    s->last_piece = index;
    s->staged_pieces++;
    s->staged_count += records->count;
    s->staged_bytes += records->length;
    s->next_seq += records->count;
    if (s->feed_count > 0)
        c->room_bytes -= records->length;
    c->published += records->count;
    return 0;
}

/* ---- what waits for its commit ---- */

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

struct pending *pending_push(struct core *c)
{
    struct pending_ring *ring = &c->pending;
    struct pending *p = &ring->items[(ring->head + ring->count) & (ring->capacity - 1)];

    assert(ring->count < ring->capacity);
    ring->count++;
    memset(p, 0, sizeof(*p));
    p->commit = c->next_commit;
    return p;
}

/* ---- COMMIT ---- */

static void commit_collect(struct core *c, struct stream *s, struct commit_stream *entry,
                           struct commit_piece *pieces)
{
    uint32_t n = 0;

    for (uint32_t i = s->first_piece; i != PIECE_NONE; i = c->pieces[i].next)
        pieces[n++].records = c->pieces[i].records;
    assert(n == s->staged_pieces);
    *entry = (struct commit_stream){.stream = s->number,
                                    .first_seq = s->staged_first_seq,
                                    .count = s->staged_count,
                                    .bytes = s->staged_bytes,
                                    .pieces = pieces,
                                    .piece_count = n};
}

static void commit_mark(struct core *c, struct stream *s)
{
    struct pending *p = pending_push(c);

    p->kind = PENDING_MARK;
    p->stream = s;
    p->next_seq = s->next_seq;
    s->marks++;
    list_remove(&s->link_staged);
}

int commit_step(struct core *c, struct effects *out)
{
    uint32_t stream_count = 0, stored_count = 0;
    struct commit_stream *streams;
    struct commit_piece *pieces;
    struct effect *e;
    struct list *link;

    if (list_empty(&c->staged_streams))
        return 0; /* what is pending belongs to earlier commits */
    list_for_each (at, &c->staged_streams)
        stream_count++;
    streams = arena_take(&out->arena, (stream_count + 1) * sizeof(*streams));
    pieces = arena_take(&out->arena, (c->piece_count + 1) * sizeof(*pieces));
    if (streams == NULL || pieces == NULL || pending_reserve(c, stream_count) != 0 ||
        effects_reserve(out, 1) != 0)
        return FANQ_ERR_NOMEM;

    while ((link = list_first(&c->staged_streams)) != NULL) {
        struct stream *s = container_of(link, struct stream, link_staged);

        if (s->feed_count > 0 && s->staged_pieces > 0) {
            commit_collect(c, s, &streams[stored_count++], pieces);
            pieces += s->staged_pieces;
        }
        commit_mark(c, s);
    }
    c->piece_count = 0;
    c->staged_ok_open = false;
    e = effect_add(out, EFFECT_COMMIT);
    e->commit = (struct commit){
        .number = c->next_commit++, .time_ms = c->wall_ms, .streams = streams, .stream_count = stored_count};
    return 0;
}

/* ---- SYNCED ---- */

/* Keeps the backlog of ephemeral subscriptions under its bounds: the oldest are dropped, and counted. */
static void ephemeral_bound(struct core *c, struct feed *f)
{
    const struct core_options *o = &c->options;
    struct stream *s = f->stream;
    uint64_t before = f->next, newest_end;
    struct block newest, b;

    if (f->next >= s->receivable)
        return; /* it began behind what became receivable now */
    if (s->receivable - f->next > o->ephemeral_backlog_messages_max)
        f->next = s->receivable - o->ephemeral_backlog_messages_max;
    if (o->view.block(o->view.context, s->number, s->receivable - 1, &newest)) {
        newest_end = newest.bytes_before + newest.bytes;
        while (f->next < newest.first_seq && o->view.block(o->view.context, s->number, f->next, &b) &&
               newest_end - b.bytes_before > o->ephemeral_backlog_bytes_max)
            f->next = b.first_seq + b.count;
    }
    if (f->next != before) {
        f->dropped += f->next - before;
        f->queue->purged += f->next - before;
        f->head_arrival = 0;
        feed_settle(c, f);
        (void)feed_raise_floor(c, f); /* an ephemeral feed stays open: never freed here */
    }
}

static void mark_receivable(struct core *c, const struct pending *p)
{
    struct stream *s = p->stream;

    assert(p->next_seq >= s->receivable && s->marks > 0);
    s->marks--;
    s->receivable = p->next_seq;
    feed_receivable(c, s);
    list_for_each (link, &s->ephemerals)
        ephemeral_bound(c, container_of(link, struct feed, link_ephemeral));
    if (s->feed_count == 0)
        stream_mark_dirty(c, s);
}

static void answer(struct core *c, const struct pending *p, struct effects *out)
{
    if (session_of(c, p->connection)->serial != p->serial)
        return; /* the connection has ended */
    if (p->kind == PENDING_OK)
        reply_ok(c, out, p->connection, p->id, p->count);
    else
        reply_add(out, p->connection, FANQ_REPLY_PUBLISHED, p->id)->published = p->published;
}

int synced_step(struct core *c, uint64_t commit, struct effects *out)
{
    struct pending_ring *ring = &c->pending;

    while (ring->count > 0) {
        struct pending p = ring->items[ring->head];

        if (p.commit > commit || p.commit >= c->next_commit)
            break;
        if (effects_reserve(out, 1) != 0)
            return FANQ_ERR_NOMEM;
        ring->head = (ring->head + 1) & (ring->capacity - 1);
        ring->count--;
        if (p.kind == PENDING_MARK)
            mark_receivable(c, &p);
        else
            answer(c, &p, out);
    }
    return 0;
}
