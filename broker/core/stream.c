/* Streams, and the way of a publish through a turn: staged, committed, synced.
 *
 *     stream_stage()   numbers the records, remembers where the producer's bytes are
 *     commit_step()    brings them together by stream, with all facts so far: at most one EFFECT_COMMIT a batch;
 *                      early queues may give them out from now on
 *     synced_step()    they may be received, and the producers are answered
 *
 * A stream that no feed reads stores nothing: its messages are numbered and answered, but not appended. */
#include "state.h"

/* ---- life ---- */

struct stream *stream_find(const struct core *c, uint64_t number)
{
    struct tree_node *node = tree_find(&c->streams, number);

    return node == NULL ? NULL : container_of(node, struct stream, node);
}

/* A stream of that number, which there is not yet, and nobody's. NULL: out of memory. */
struct stream *stream_make(struct core *c, uint64_t number)
{
    struct stream *s = slab_take(&c->streams_slab);

    if (s == NULL)
        return NULL;
    s->number = number;
    if (c->next_stream <= number)
        c->next_stream = number + 1;
    list_init(&s->feeds);
    list_init(&s->caught_up);
    list_init(&s->early);
    list_init(&s->ephemerals);
    list_init(&s->link_dirty);
    list_init(&s->link_staged);
    tree_insert(&c->streams, &s->node, s->number);
    return s;
}

struct stream *stream_new(struct core *c)
{
    struct stream *s = stream_make(c, c->next_stream);

    if (s != NULL)
        s->owned = true;
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

static void trim_add(const struct pending *p, struct effects *out)
{
    struct effect *e = effect_add(out, p->kind == PENDING_TRIM ? EFFECT_TRIM : EFFECT_STREAM_END);

    e->trim.stream = p->number;
    e->trim.seq = p->seq;
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

/* Tells the shell what is not needed any more. In a durable core it is told when the facts that say so are safe:
 * it may forget then what they speak of. */
static void tell(struct core *c, struct stream *s, enum pending_kind kind, uint64_t seq, struct effects *out)
{
    uint64_t last_commit = c->next_commit - 1;
    struct pending p = {.commit = last_commit, .kind = kind, .number = s->number, .seq = seq};

    if (c->journalling && c->synced < last_commit)
        *pending_push(c, kind, last_commit) = p;
    else
        trim_add(&p, out);
}

static void stream_settle(struct core *c, struct stream *s, struct effects *out)
{
    list_remove(&s->link_dirty);
    if (list_linked(&s->link_staged) || s->marks > 0) {
        /* Something is on its way: look again when it has arrived (synced_step marks it dirty). */
        if (s->feed_count == 0)
            return;
    } else if (!s->owned && s->feed_count == 0) {
        tell(c, s, PENDING_STREAM_END, s->next_seq, out);
        tree_remove(&c->streams, &s->node);
        slab_give(&c->streams_slab, s);
        return;
    }
    if (s->feeds_at_trimmed == 0) {
        uint64_t least = least_floor(s);

        if (least > s->trimmed) {
            s->trimmed = least;
            tell(c, s, PENDING_TRIM, least, out);
        }
    }
}

/* All that is stored may be received; what nobody needs, the shell asks for itself. */
void stream_recovered(struct core *c, struct stream *s)
{
    s->receivable = s->committed = s->next_seq;
    feeds_limit_rose(c, &s->caught_up);
    feeds_limit_rose(c, &s->early);
    list_remove(&s->link_dirty);
    if (!s->owned && s->feed_count == 0) {
        tree_remove(&c->streams, &s->node);
        slab_give(&c->streams_slab, s);
    } else {
        s->trimmed = least_floor(s);
    }
}

int settle_streams(struct core *c, struct effects *out)
{
    struct list *link;

    while ((link = list_first(&c->dirty_streams)) != NULL) {
        if (effects_reserve(out, 1) != 0 || pending_reserve(c, 1) != 0)
            return FANQ_ERR_NOMEM;
        stream_settle(c, container_of(link, struct stream, link_dirty), out);
    }
    return 0;
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
    struct pending *p = pending_push(c, PENDING_MARK, c->next_commit);

    p->stream = s;
    p->seq = s->next_seq;
    s->marks++;
    list_remove(&s->link_staged);
    s->committed = s->next_seq;
    feeds_limit_rose(c, &s->early);
}

/* Lays out what is stored of the staged streams; gives how many those are. What is not stored has used up its
 * numbers all the same. */
static uint32_t commit_streams(struct core *c, struct commit_stream *streams, struct commit_piece *pieces)
{
    uint32_t stored_count = 0;
    struct list *link;

    while ((link = list_first(&c->staged_streams)) != NULL) {
        struct stream *s = container_of(link, struct stream, link_staged);

        if (s->feed_count > 0 && s->staged_pieces > 0) {
            commit_collect(c, s, &streams[stored_count++], pieces);
            pieces += s->staged_pieces;
        } else if (s->owned) {
            journal_stream(c, s);
        }
        commit_mark(c, s);
    }
    c->piece_count = 0;
    return stored_count;
}

static int commit_make(struct core *c, struct effects *out)
{
    uint32_t stream_count = 0;
    struct commit_stream *streams;
    struct commit_piece *pieces;
    struct commit commit;
    uint8_t *facts;

    list_for_each (at, &c->staged_streams)
        stream_count++;
    if (journal_reserve(c, stream_count + producers_facts_max(c)) != 0)
        return FANQ_ERR_NOMEM;
    streams = arena_take(&out->arena, (stream_count + 1) * sizeof(*streams));
    pieces = arena_take(&out->arena, (c->piece_count + 1) * sizeof(*pieces));
    facts = arena_take(&out->arena, c->facts.capacity + 1);
    if (streams == NULL || pieces == NULL || facts == NULL || pending_reserve(c, stream_count) != 0 ||
        effects_reserve(out, 1) != 0)
        return FANQ_ERR_NOMEM;
    commit = (struct commit){.time_ms = c->wall_ms, .streams = streams, .facts = facts};
    commit.stream_count = commit_streams(c, streams, pieces);
    producers_journal(c);
    commit.number = c->next_commit++;
    commit.fact_bytes = (uint32_t)c->facts.length;
    commit.fact_count = c->facts.count;
    if (c->facts.length > 0)
        memcpy(facts, c->facts.data, c->facts.length);
    arena_trim(&out->arena, facts, c->facts.length);
    facts_clear(&c->facts);
    effect_add(out, EFFECT_COMMIT)->commit = commit;
    return 0;
}

int commit_step(struct core *c, bool always, struct effects *out)
{
    int err = 0;

    if (always || !list_empty(&c->staged_streams) || pending_waits_for(c, c->next_commit) || journal_due(c))
        err = commit_make(c, out);
    /* With facts left it must wait: what is told here is safe with the last commit made. */
    if (err == 0 && c->journalling && c->facts.count == 0)
        err = settle_streams(c, out);
    return err;
}

/* ---- SYNCED ---- */

/* Keeps the backlog of ephemeral subscriptions under its bounds: the oldest are dropped, and counted. */
static void ephemeral_bound(struct core *c, struct feed *f)
{
    const struct core_options *o = &c->options;
    struct stream *s = f->stream;
    uint64_t before = f->next, limit = feed_limit(f), newest_end;
    struct block newest, b;

    if (f->next >= limit)
        return; /* it began behind what became receivable now */
    if (limit - f->next > o->ephemeral_backlog_messages_max)
        f->next = limit - o->ephemeral_backlog_messages_max;
    if (o->view.block(o->view.context, s->number, limit - 1, &newest)) {
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

    assert(p->seq >= s->receivable && s->marks > 0);
    s->marks--;
    s->receivable = p->seq;
    feeds_limit_rose(c, &s->caught_up);
    list_for_each (link, &s->ephemerals)
        ephemeral_bound(c, container_of(link, struct feed, link_ephemeral));
    if (s->feed_count == 0)
        stream_mark_dirty(c, s);
}

static int pending_end(struct core *c, const struct pending *p, struct effects *out)
{
    switch (p->kind) {
    case PENDING_MARK:
        mark_receivable(c, p);
        break;
    case PENDING_TRIM:
    case PENDING_STREAM_END:
        trim_add(p, out);
        break;
    case PENDING_OK:
    case PENDING_PUBLISHED:
    case PENDING_REPLY:
        return pending_answer(c, p, out);
    }
    return 0;
}

int synced_step(struct core *c, uint64_t commit, struct effects *out)
{
    struct pending_ring *ring = &c->pending;

    if (commit >= c->next_commit)
        commit = c->next_commit - 1;
    while (ring->count > 0) {
        struct pending p = ring->items[ring->head];

        if (p.commit > commit)
            break;
        if (effects_reserve(out, 1) != 0 || pending_end(c, &p, out) != 0)
            return FANQ_ERR_NOMEM;
        ring->head = (ring->head + 1) & (ring->capacity - 1);
        ring->count--;
    }
    if (commit > c->synced)
        c->synced = commit;
    return 0;
}
