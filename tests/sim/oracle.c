/* What is answered, delivered and left undone. */
#include "oracle.h"

#include <stdlib.h>
#include <string.h>

enum { PATTERN_BYTES = 1 << 20 };

static uint8_t pattern[PATTERN_BYTES];

void oracle_init(struct oracle *o, struct sim *sim)
{
    struct rng r = {7};

    *o = (struct oracle){.sim = sim,
                         .auto_create = sim->options.core.auto_create,
                         .durable = sim->options.core.durable,
                         .next_uid = 1};
    o->absent_blocks = sim->options.absent_percent > 0;
    book_init(&o->book);
    for (uint32_t i = 0; pattern[0] == 0 && i < PATTERN_BYTES; i++)
        pattern[i] = (uint8_t)(1 | rng_next(&r));
}

void oracle_close(struct oracle *o)
{
    for (uint32_t i = 0; i < ORACLE_CONNECTIONS; i++) {
        free(o->connections[i].asks);
        free(o->connections[i].held);
        free(o->connections[i].given.items);
    }
    for (uint32_t i = 0; i < o->waiter_count; i++) {
        free(o->waiters[i]->holds.items);
        free(o->waiters[i]);
    }
    for (struct topic_record *t = o->all_topics, *next; t != NULL; t = next) {
        next = t->next;
        free(t->subscribers);
        free(t);
    }
    free(o->waiters);
    free(o->accepteds.items);
    book_close(&o->book);
}

/* ---- records ---- */

/* The record of a uid is its header, the uid, and a part of the pattern that the uid chooses. */
static const uint8_t *pattern_of(uint64_t uid, uint32_t length)
{
    return pattern + rng_mix(uid) % (PATTERN_BYTES - length);
}

void oracle_record_write(uint8_t *at, uint64_t uid, uint32_t bytes)
{
    uint32_t payload = bytes - FANQ_RECORD_HEADER_BYTES, pad = bytes - ORACLE_PIECE_BYTES;

    at[0] = 0xc6;
    at[1] = (uint8_t)(payload >> 24);
    at[2] = (uint8_t)(payload >> 16);
    at[3] = (uint8_t)(payload >> 8);
    at[4] = (uint8_t)payload;
    at[5] = 0;
    memcpy(at + FANQ_RECORD_PLAIN_BYTES, &uid, sizeof(uid));
    memcpy(at + ORACLE_PIECE_BYTES, pattern_of(uid, pad), pad);
}

uint32_t oracle_record_check(const uint8_t *at, const struct book_body *body, const char *where)
{
    uint32_t pad = body->bytes - ORACLE_PIECE_BYTES;
    uint64_t uid;

    memcpy(&uid, at + FANQ_RECORD_PLAIN_BYTES, sizeof(uid));
    SIM_CHECK(fanq_record_length(at) == body->bytes && uid == body->uid &&
                  memcmp(at + ORACLE_PIECE_BYTES, pattern_of(uid, pad), pad) == 0,
              "%s: message %lu of %zu bytes stands where %lu of %u should", where, uid,
              fanq_record_length(at), body->uid, body->bytes);
    return body->bytes;
}

/* ---- answers ---- */

static bool answers_later(const struct ask *a)
{
    return a->op == FANQ_OP_PUBLISH || a->op == FANQ_OP_SEND;
}

/* What a durable core answers when it is safe. */
static bool changes_things(const struct ask *a)
{
    switch (a->op) {
    case FANQ_OP_ACK:
    case FANQ_OP_NACK:
    case FANQ_OP_EXTEND:
    case FANQ_OP_PURGE:
    case FANQ_OP_QUEUE_CREATE:
    case FANQ_OP_QUEUE_SET:
    case FANQ_OP_QUEUE_DELETE:
    case FANQ_OP_TOPIC_CREATE:
    case FANQ_OP_TOPIC_DELETE:
    case FANQ_OP_SUBSCRIBE:
    case FANQ_OP_UNSUBSCRIBE:
        return true;
    default:
        return false;
    }
}

/* What it was made or set is told when it is safe, and may be no more by then. */
static bool ended_meanwhile(const struct oracle *o, const struct ask *a, int err)
{
    if (!o->durable || a->err != 0)
        return false;
    if (a->op == FANQ_OP_TOPIC_CREATE)
        return err == FANQ_ERR_TOPIC_NOT_FOUND && !a->topic->alive;
    return (a->op == FANQ_OP_QUEUE_CREATE || a->op == FANQ_OP_QUEUE_SET) && err == FANQ_ERR_QUEUE_NOT_FOUND &&
           !a->queue->alive;
}

/* The answer of a request. */
static struct ask *answer(struct oracle *o, uint32_t connection, uint64_t id, int err)
{
    struct ask *a = oracle_ask_of(o, connection, id);

    SIM_CHECK(!a->answered, "request %lx is answered twice", id);
    if (answers_later(a) && err == FANQ_ERR_NO_ROOM && a->err == 0) {
        a->err = FANQ_ERR_NO_ROOM; /* whether it is right is seen when the request was made */
        o->refused = true;
    }
    if (ended_meanwhile(o, a, err))
        a->err = err;
    SIM_CHECK(a->err == err, "request %lx (%s) is answered %d, not %d", id, fanq_op_name(a->op), err, a->err);
    a->answered = true;
    if (!a->held && (!answers_later(a) || (err != 0 && err != FANQ_ERR_NO_ROOM)))
        o->connections[connection].open_asks--;
    return a;
}

/* A push tells why it ends. */
static void push_ended(struct oracle *o, uint32_t connection, uint64_t id, int err)
{
    struct ask *a = oracle_ask_of(o, connection, id);

    SIM_CHECK(a->answered && a->end_err != 0 && a->end_err == err, "push %lx ends with %d, not %d", id, err,
              a->end_err);
    a->end_err = 0;
    o->connections[connection].open_asks--;
}

static struct accepted *accepted_of(struct oracle *o, uint32_t connection, uint64_t id)
{
    struct accepteds *all = &o->accepteds;

    for (uint64_t i = all->head; i < all->count; i++)
        if (all->items[i].connection == connection && all->items[i].id == id)
            return &all->items[i];
    sim_fail("request %lx is answered, but not waiting", id);
}

static struct accepted *publish_answer(struct oracle *o, uint32_t connection, uint64_t id, bool want_ids)
{
    struct accepted *a = accepted_of(o, connection, id);

    SIM_CHECK(a->commit != 0 && a->commit <= o->sim->synced, "publish %lx is answered before it is synced",
              id);
    SIM_CHECK(a->want_ids == want_ids, "publish %lx gets the wrong kind of answer", id);
    return a;
}

static void ok_range(struct oracle *o, uint32_t connection, const struct fanq_reply *reply)
{
    for (uint64_t id = reply->id; id < reply->id + reply->ok_range.count; id++) {
        struct ask *a = answer(o, connection, id, 0);

        SIM_CHECK(answers_later(a) || a->op == FANQ_OP_ACK, "%s is answered in a range", fanq_op_name(a->op));
        if (answers_later(a))
            (void)publish_answer(o, connection, id, false);
    }
}

static void published(struct oracle *o, uint32_t connection, const struct fanq_reply *reply)
{
    const struct fanq_published *p = &reply->published;
    struct accepted *a;

    (void)answer(o, connection, reply->id, 0);
    a = publish_answer(o, connection, reply->id, true);
    if (a->stream->number == 0)
        a->stream->number = p->stream; /* nothing of it was ever stored */
    SIM_CHECK(p->stream == a->stream->number && p->first_seq == a->first && p->count == a->count &&
                  p->epoch == o->sim->options.core.epoch && p->subscription_count == a->subscription_count,
              "publish %lx got wrong ids", reply->id);
}

static uint64_t oldest_age_ms(const struct oracle *o, struct book_queue *q)
{
    uint64_t oldest = o->sim->wall_ms;

    for (uint32_t i = 0; i < q->feed_count; i++) {
        struct book_feed *f = q->feeds[i];
        const struct book_message *m = NULL;

        for (; f->live_from < f->first + f->count; f->live_from++) {
            m = book_message(f, f->live_from);
            if (m != NULL && m->state != MESSAGE_GONE)
                break;
        }
        if (f->live_from < f->first + f->count && m->state != MESSAGE_PENDING &&
            f->stream->bodies[f->live_from].time_ms < oldest)
            oldest = f->stream->bodies[f->live_from].time_ms;
    }
    return o->sim->wall_ms - oldest;
}

static uint64_t consumers_of(const struct oracle *o, const struct book_queue *q)
{
    uint64_t count = 0;

    for (uint32_t i = 0; i < o->waiter_count; i++)
        for (uint32_t j = 0; j < o->waiters[i]->queue_count; j++)
            if (o->waiters[i]->queues[j] == q) {
                count++;
                break; /* named twice, it waits once */
            }
    return count;
}

static void queue_reply(struct oracle *o, uint32_t connection, const struct fanq_reply *reply)
{
    const struct fanq_queue_reply *r = &reply->queue;
    struct ask *a = answer(o, connection, reply->id, 0);
    struct book_queue *q = a->queue;

    SIM_CHECK(q->id == 0 || q->id == r->queue_id, "queue %u has changed its id", q->slot);
    q->id = r->queue_id;
    SIM_CHECK(bytes_equal(r->name, oracle_queue_name(q->slot)), "a queue has the wrong name");
    if (o->durable && changes_things(a))
        return; /* how things are when it is safe, in the middle of a step */
    SIM_CHECK(r->visible == q->counts[MESSAGE_READY] && r->in_flight == q->counts[MESSAGE_HELD] &&
                  r->delayed == q->counts[MESSAGE_DELAYED],
              "queue %u: %lu visible, %lu in flight, %lu delayed; should be %lu, %lu, %lu", q->slot,
              r->visible, r->in_flight, r->delayed, q->counts[MESSAGE_READY], q->counts[MESSAGE_HELD],
              q->counts[MESSAGE_DELAYED]);
    SIM_CHECK(r->sent == q->sent - q->counts[MESSAGE_PENDING] && r->delivered == q->delivered &&
                  r->deleted == q->deleted,
              "queue %u: %lu sent, %lu delivered, %lu deleted; should be %lu, %lu, %lu", q->slot, r->sent,
              r->delivered, r->deleted, q->sent - q->counts[MESSAGE_PENDING], q->delivered, q->deleted);
    SIM_CHECK(r->consumers == consumers_of(o, q), "queue %u: %lu consumers, not %lu", q->slot, r->consumers,
              consumers_of(o, q));
    SIM_CHECK(r->oldest_age_ms == oldest_age_ms(o, q), "queue %u: oldest age %lu, not %lu", q->slot,
              r->oldest_age_ms, oldest_age_ms(o, q));
    SIM_CHECK(r->attributes.visibility_ms == q->visibility_ms &&
                  r->attributes.receive_wait_ms == q->receive_wait_ms &&
                  r->attributes.early_delivery == q->early,
              "queue %u: wrong attributes", q->slot);
}

static void topic_reply(struct oracle *o, uint32_t connection, const struct fanq_reply *reply)
{
    const struct fanq_topic_reply *r = &reply->topic;
    struct ask *a = answer(o, connection, reply->id, 0);
    struct topic_record *t = a->topic;

    SIM_CHECK(bytes_equal(r->name, oracle_topic_name(t->slot)), "a topic has the wrong name");
    SIM_CHECK(t->stream->number == 0 || t->stream->number == r->stream, "a topic has changed its stream");
    SIM_CHECK((o->durable && changes_things(a)) ||
                  (r->published == t->published && r->subscription_count == t->named_count),
              "topic %u: %lu published, %lu subscriptions; should be %lu, %u", t->slot, r->published,
              r->subscription_count, t->published, t->named_count);
    t->stream->number = r->stream;
}

/* Lists are asked for whole. */
static void names_reply(struct oracle *o, uint32_t connection, const struct fanq_reply *reply)
{
    struct ask *a = answer(o, connection, reply->id, 0);
    uint32_t count = 0, slots = a->op == FANQ_OP_TOPIC_LIST ? ORACLE_TOPICS : ORACLE_QUEUES;

    for (uint32_t slot = 0; slot < slots; slot++) {
        struct fanq_bytes name =
            a->op == FANQ_OP_TOPIC_LIST ? oracle_topic_name(slot) : oracle_queue_name(slot);
        bool there = a->op == FANQ_OP_TOPIC_LIST ? o->topics[slot] != NULL : o->queues[slot] != NULL;

        if (there && a->op == FANQ_OP_SUBSCRIPTION_LIST) {
            struct book_feed *f = book_feed_find(o->queues[slot], o->topics[a->value]->stream);

            there = f != NULL && f->open;
        }
        if (!there)
            continue;
        SIM_CHECK(count < reply->names.count && bytes_equal(reply->names.names[count], name),
                  "%s leaves out %.2s", fanq_op_name(a->op), (const char *)name.data);
        count++;
    }
    SIM_CHECK(count == reply->names.count && !reply->names.more, "%s lists what is not there",
              fanq_op_name(a->op));
}

/* ---- peek ---- */

static uint32_t shown_state(const struct book_message *m)
{
    switch (m->state) {
    case MESSAGE_READY:
        return FANQ_STATE_READY;
    case MESSAGE_HELD:
        return FANQ_STATE_IN_FLIGHT;
    case MESSAGE_DELAYED:
        return FANQ_STATE_DELAYED;
    default:
        return 0;
    }
}

static uint64_t peeked_slice(const struct oracle *o, const struct book_queue *q,
                             const struct fanq_peeked_slice *p)
{
    const struct fanq_slice *slice = &p->slice;
    struct book_feed *f = book_feed_by_number(q, slice->stream);
    const uint8_t *at = slice->records.data;

    for (uint32_t i = 0; i < slice->records.count; i++) {
        uint64_t seq = slice->first_seq + i;
        const struct book_message *m = f == NULL ? NULL : book_message(f, seq);

        SIM_CHECK(m != NULL && shown_state(m) == p->state && m->deliveries == slice->deliveries &&
                      m->first_receive_ms == slice->first_receive_ms,
                  "peek shows message %lu of stream %lu as it is not", seq, slice->stream);
        SIM_CHECK(p->due_ms == (p->state == FANQ_STATE_READY ? 0 : m->until_ms - o->book.now_ms),
                  "peek shows a wrong due time: %lu", p->due_ms);
        at += oracle_record_check(at, &f->stream->bodies[seq], "peek");
    }
    return slice->records.count;
}

static void peek_unpark(struct oracle *o, uint32_t connection, struct ask *a)
{
    if (!a->parked)
        return;
    a->parked = false;
    o->connections[connection].parked--;
    o->connections[connection].open_asks++;
}

static void peeked(struct oracle *o, uint32_t connection, const struct fanq_reply *reply)
{
    const struct fanq_peeked *p = &reply->peeked;
    struct ask *a = oracle_ask_of(o, connection, reply->id);
    const struct book_queue *q = a->queue;
    uint64_t shown = 0;

    peek_unpark(o, connection, a);
    (void)answer(o, connection, reply->id, 0);
    SIM_CHECK(q->alive, "a queue that is no more is shown");
    for (uint32_t i = 0; i < p->slice_count; i++)
        shown += peeked_slice(o, q, &p->slices[i]);
    /* The workload asks from the beginning, for all states. */
    SIM_CHECK(p->more
                  ? shown > 0
                  : shown == q->counts[MESSAGE_READY] + q->counts[MESSAGE_HELD] + q->counts[MESSAGE_DELAYED],
              "peek shows %lu messages and %s", shown, p->more ? "more" : "no more");
}

/* ---- effects ---- */

static void error_reply(struct oracle *o, uint32_t connection, const struct fanq_reply *reply)
{
    struct ask *a = oracle_ask_of(o, connection, reply->id);

    if (a->parked) {
        SIM_CHECK(!a->queue->alive, "a parked peek ends with %d", reply->error.err);
        a->err = FANQ_ERR_QUEUE_NOT_FOUND;
        peek_unpark(o, connection, a);
    }
    (void)answer(o, connection, reply->id, reply->error.err);
}

static void reply_check(struct oracle *o, uint32_t connection, const struct fanq_reply *reply)
{
    struct ask *a;

    switch (reply->op) {
    case FANQ_REPLY_OK:
        (void)answer(o, connection, reply->id, 0);
        break;
    case FANQ_REPLY_OK_RANGE:
        ok_range(o, connection, reply);
        break;
    case FANQ_REPLY_PUBLISHED:
        published(o, connection, reply);
        break;
    case FANQ_REPLY_CHANGED:
        a = answer(o, connection, reply->id, 0);
        SIM_CHECK(reply->changed == a->value, "%lu messages were changed, not %lu", reply->changed, a->value);
        break;
    case FANQ_REPLY_QUEUE:
        queue_reply(o, connection, reply);
        break;
    case FANQ_REPLY_TOPIC:
        topic_reply(o, connection, reply);
        break;
    case FANQ_REPLY_NAMES:
        names_reply(o, connection, reply);
        break;
    case FANQ_REPLY_PEEKED:
        peeked(o, connection, reply);
        break;
    case FANQ_REPLY_PUSH_END:
        push_ended(o, connection, reply->id, reply->error.err);
        break;
    case FANQ_REPLY_ERROR:
        error_reply(o, connection, reply);
        break;
    case FANQ_REPLY_STATS:
        (void)answer(o, connection, reply->id, 0);
        break;
    default:
        sim_fail("an answer of kind %d", (int)reply->op);
    }
}

void oracle_effect(void *oracle, const struct effect *effect)
{
    struct oracle *o = oracle;

    oracle_note_synced(o);
    switch (effect->kind) {
    case EFFECT_REPLY:
    case EFFECT_DELIVER:
        if (effect->reply.op == FANQ_REPLY_DELIVER)
            oracle_deliver(o, effect);
        else
            reply_check(o, effect->connection, &effect->reply);
        break;
    case EFFECT_COMMIT:
        oracle_commit(o, &effect->commit);
        break;
    default:
        break;
    }
}

/* ---- a turn ---- */

void oracle_turn(struct oracle *o)
{
    book_advance(&o->book, o->sim->now_ms);
    sim_turn(o->sim);
    o->room_least = o->room_most = o->sim->room_bytes;
    for (uint32_t i = 0; i < ORACLE_CONNECTIONS; i++)
        o->connections[i].turn_asks = o->connections[i].ask_count;
}

static void held_add(struct connection *k, uint64_t index, uint64_t commit)
{
    if (k->held_count == k->held_capacity) {
        k->held_capacity = k->held_capacity * 2 + 64;
        k->held = realloc(k->held, k->held_capacity * sizeof(*k->held));
        SIM_CHECK(k->held != NULL, "out of memory");
    }
    k->held[k->held_count++] = (struct held_ask){index, commit};
    k->asks[index].held = true;
    k->open_asks--;
}

/* What a durable core has not answered in this turn it answers when the last commit so far is synced. */
static void asks_held(struct oracle *o, struct connection *k)
{
    uint64_t left = 0;

    for (uint64_t i = k->turn_asks; i < k->ask_count; i++)
        if (!k->asks[i].answered && changes_things(&k->asks[i]))
            held_add(k, i, o->sim->appended);
    for (uint64_t i = 0; i < k->held_count; i++) {
        const struct held_ask *h = &k->held[i];

        if (k->asks[h->index].answered)
            continue;
        SIM_CHECK(h->commit > o->sim->synced, "%s is synced and not answered",
                  fanq_op_name(k->asks[h->index].op));
        k->held[left++] = *h;
    }
    k->held_count = left;
}

static void answers_complete(struct oracle *o)
{
    struct accepteds *all = &o->accepteds;

    for (uint32_t i = 0; i < ORACLE_CONNECTIONS && o->durable; i++)
        asks_held(o, &o->connections[i]);
    for (uint32_t i = 0; i < ORACLE_CONNECTIONS; i++)
        SIM_CHECK(o->connections[i].open_asks == 0,
                  "%lu requests of connection %u were not answered in their turn",
                  o->connections[i].open_asks, i);
    SIM_CHECK(all->committed == all->count, "what was published is in no commit");
    for (; all->head < all->count && all->items[all->head].commit <= o->sim->synced; all->head++) {
        struct accepted *a = &all->items[all->head];

        SIM_CHECK(o->connections[a->connection].incarnation != a->incarnation ||
                      oracle_ask_of(o, a->connection, a->id)->answered,
                  "publish %lx is synced and not answered", a->id);
    }
}

static bool limit_reached(const struct oracle *o, const struct book_queue *q)
{
    return book_queue_runs(q) >= o->sim->options.core.in_flight_per_queue_max;
}

/* Which of an ephemeral queue's messages were dropped it says with the next delivery: any may be the
 * head. */
static bool any_fetching(const struct oracle *o, const struct book_feed *f)
{
    for (uint64_t seq = f->unread_from; seq < f->first + f->count; seq++)
        if (sim_is_fetching(o->sim, f->stream->number, seq))
            return true;
    return false;
}

static bool unread_absent(const struct oracle *o, const struct book_queue *q, struct book_feed *f)
{
    uint64_t unread;

    return book_unread(f, &unread) == NULL || sim_is_fetching(o->sim, f->stream->number, unread) ||
           (q->ephemeral && any_fetching(o, f));
}

/* Takes those of the feed that came again off *left. */
static bool again_absent(const struct oracle *o, const struct book_feed *f, uint64_t *left)
{
    for (uint64_t seq = f->live_from; *left > 0 && seq < f->first + f->count; seq++) {
        const struct book_message *m = &f->messages[seq - f->first];

        if (m->state != MESSAGE_READY || m->deliveries == 0)
            continue;
        if (!sim_is_fetching(o->sim, f->stream->number, seq))
            return false;
        --*left;
    }
    return true;
}

/* Whether all that the queue has must be fetched first, and is being fetched. */
static bool only_absent(const struct oracle *o, struct book_queue *q)
{
    uint64_t left = q->ready_again;

    if (o->sim->fetch_count == 0)
        return false;
    for (uint32_t i = 0; i < q->feed_count && q->absent_turn != o->sim->turn; i++)
        if (!unread_absent(o, q, q->feeds[i]) || !again_absent(o, q->feeds[i], &left))
            return false;
    q->absent_turn = o->sim->turn;
    return true;
}

/* One SERVE gave all it may: what there is for the waiter comes in the next turn, and that at once. */
static bool served_next(const struct oracle *o, const struct waiter *w, uint64_t next_ms)
{
    for (uint32_t i = 0; i < w->queue_count; i++)
        if (w->queues[i]->counts[MESSAGE_READY] > 0)
            return next_ms <= o->sim->now_ms;
    return false;
}

/* Nobody waits for what is there. */
static void nobody_waits(struct oracle *o)
{
    uint64_t next_ms = core_next_ms(o->sim->core);

    for (uint32_t i = 0; i < o->waiter_count; i++) {
        struct waiter *w = o->waiters[i];

        for (uint32_t j = 0; j < w->queue_count && oracle_waiter_eligible(o, w); j++) {
            struct book_queue *q = w->queues[j];

            SIM_CHECK(q->counts[MESSAGE_READY] == 0 || next_ms <= o->sim->now_ms || limit_reached(o, q) ||
                          only_absent(o, q),
                      "request %lx waits for queue %u, which has %lu messages ready", w->id, q->slot,
                      q->counts[MESSAGE_READY]);
        }
        SIM_CHECK(w->due_ms > o->sim->now_ms || o->sim->fetch_count > 0 || served_next(o, w, next_ms),
                  "the wait of request %lx was over at %lu", w->id, w->due_ms);
        SIM_CHECK(w->due_ms <= o->sim->now_ms || w->due_ms >= next_ms, "nothing ends the wait of request %lx",
                  w->id);
    }
    for (uint32_t i = 0; i < ORACLE_CONNECTIONS && o->sim->fetch_count == 0; i++)
        SIM_CHECK(o->connections[i].parked == 0, "a peek of connection %u waits for nothing", i);
    SIM_CHECK(book_next_ms(&o->book) >= next_ms, "nothing brings back the messages due at %lu",
              book_next_ms(&o->book));
}

static void figures_check(const struct oracle *o)
{
    struct core_figures figures;
    uint64_t in_flight = 0;

    core_figures(o->sim->core, &figures);
    for (uint32_t i = 0; i < o->book.queue_count; i++)
        if (o->book.queues[i]->alive)
            in_flight += o->book.queues[i]->counts[MESSAGE_HELD];
    SIM_CHECK(
        figures.in_flight == in_flight && figures.published == o->published &&
            figures.delivered == o->delivered && figures.deleted == o->deleted,
        "figures: %lu in flight, %lu published, %lu delivered, %lu deleted; should be %lu, %lu, %lu, %lu",
        figures.in_flight, figures.published, figures.delivered, figures.deleted, in_flight, o->published,
        o->delivered, o->deleted);
}

void oracle_turn_end(struct oracle *o)
{
    sim_turn_end(o->sim);
    oracle_note_synced(o);
    answers_complete(o);
    nobody_waits(o);
    if (o->sim->turn % 32 == 0)
        figures_check(o);
}
