/* crash: a durable core whose broker dies again and again, from a seed.
 *
 *     crash --seeds 1-500 --ops 2000
 *
 * Clients ask for what is durable; commits are synced turns later; checkpoints are written in slices while traffic goes on.
 * Then the broker is no more: what was synced is kept, and of the rest any number of commits. A new core is made of a
 * checkpoint and the commits behind it, or of all commits, and everything in it is compared with what the kept commits
 * hold (crash_model.h): every message once, in the right queues, with a plausible delivery count. And no answer may
 * come before the commit that holds what it speaks of is synced, nor a message but from an early queue. The run goes on
 * with the new core. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crash_log.h"
#include "crash_model.h"
#include "proto/request.h"
#include "sim.h"

enum { ASKS_MAX = 40000, HOLDS_MAX = 4096, CHECKPOINTS_MAX = 4, RECORD_BYTES = 14, BATCH_MAX = 12 };
enum { CONNECTIONS = 5, CONNECTION_PUSH = 2, CONNECTION_AUTO = 3, CONNECTION_EPHEMERAL = 4 };

/* What was asked. */
struct ask {
    enum fanq_op op;
    uint32_t connection, slot;
    uint64_t incarnation; /* of the queue */
    uint64_t needs;       /* the commit that holds all that the answer speaks of */
    uint64_t due_commit;  /* answered at the latest when this one is synced */
    bool answered, refused, automatic;
    uint64_t visibility_ms;
};

/* A message in the hands of a client, or what a client still believes to have. */
struct hold {
    uint32_t slot, uid, connection;
    bool push;
    uint64_t incarnation, queue_id, batch, stream, seq, until_ms;
};

struct checkpoint {
    struct core_checkpoint facts;
    uint64_t begin, end; /* commits */
};

struct world {
    struct rng rng;
    struct core *core;
    struct core_options options;
    struct effects effects;
    struct crash_log log;
    struct crash_model model;
    struct arena requests;
    uint64_t now_ms, wall_ms, appended, synced;
    uint32_t next_uid, published_uid;
    struct ask *asks;
    uint64_t ask_count, asks_of_run, ask_open; /* asks_of_run: the first one that this core was asked */
    struct hold holds[HOLDS_MAX];
    uint32_t hold_count;
    uint64_t incarnations[CRASH_QUEUES];
    uint64_t batches[CRASH_QUEUES][CRASH_UIDS];    /* who holds it; 0: nobody */
    uint64_t delays[CRASH_QUEUES][CRASH_UIDS];     /* until when it may not be received, monotonic */
    uint32_t deliveries[CRASH_QUEUES][CRASH_UIDS]; /* as the core counts */
    uint32_t delivered[CRASH_QUEUES]
                      [CRASH_UIDS]; /* the most it ever counted: a checkpoint may know of more than facts */
    struct checkpoint checkpoints[CHECKPOINTS_MAX]; /* finished */
    uint32_t checkpoint_count;
    struct checkpoint current; /* in the making, if begin is not 0 */
    bool making;
    uint32_t sync_percent, slice_bytes_max, slice_percent, checkpoint_percent, damage_percent,
        churn_percent, /* of what is done: subscriptions come and go */
        early_percent; /* of the queues */
    uint64_t crashes, recovered_messages, checkpoint_crashes;
    uint64_t early_messages; /* were delivered before their sync */
};

static uint64_t current_seed;
static uint32_t current_ops;

static const char *const queue_names[CRASH_QUEUES] = {"a", "b", "c", "d"};
static const char *const topic_names[CRASH_TOPICS] = {"t", "u", "v"};

static struct fanq_bytes text_of(const char *text)
{
    return (struct fanq_bytes){(const uint8_t *)text, strlen(text)};
}

/* ---- what happens, as events ---- */

/* What happens now stands in the next commit. */
static void event_add(struct world *w, struct crash_event e)
{
    e.commit = w->appended + 1;
    crash_model_add(&w->model, &e);
}

static struct crash_message *message_of(struct world *w, uint32_t slot, uint32_t uid)
{
    return &w->model.queues[slot].messages[uid];
}

static void message_gone(struct world *w, uint32_t slot, uint32_t uid)
{
    if (message_of(w, slot, uid)->there)
        event_add(w, (struct crash_event){.kind = CRASH_GONE, .queue = slot, .uid = uid});
    w->batches[slot][uid] = w->delays[slot][uid] = 0;
}

static void message_counted(struct world *w, uint32_t slot, uint32_t uid, uint64_t delay_ms)
{
    event_add(w, (struct crash_event){.kind = CRASH_COUNTED,
                                      .queue = slot,
                                      .uid = uid,
                                      .value = w->deliveries[slot][uid],
                                      .due_ms = delay_ms > 0 ? w->wall_ms + delay_ms : 0});
    w->batches[slot][uid] = 0;
    w->delays[slot][uid] = delay_ms > 0 ? w->now_ms + delay_ms : 0;
}

static bool hold_current(const struct world *w, const struct hold *h)
{
    return h->incarnation == w->incarnations[h->slot] && w->batches[h->slot][h->uid] == h->batch;
}

static void holds_expire(struct world *w)
{
    for (uint32_t i = 0; i < w->hold_count; i++) {
        const struct hold *h = &w->holds[i];

        if (h->until_ms <= w->now_ms && hold_current(w, h))
            message_counted(w, h->slot, h->uid, 0);
    }
}

static void queue_ended(struct world *w, uint32_t slot)
{
    event_add(w, (struct crash_event){.kind = CRASH_QUEUE_ENDED, .queue = slot});
    w->incarnations[slot]++;
    memset(w->batches[slot], 0, sizeof(w->batches[slot]));
    memset(w->delays[slot], 0, sizeof(w->delays[slot]));
}

/* The push of the connection has ended. */
static void push_ended(struct world *w, uint32_t connection)
{
    for (uint32_t i = 0; i < w->hold_count; i++) {
        const struct hold *h = &w->holds[i];

        if (h->push && h->connection == connection && hold_current(w, h))
            message_counted(w, h->slot, h->uid, 0);
    }
}

/* ---- effects ---- */

static uint32_t uid_of(const uint8_t *record)
{
    uint32_t uid;

    memcpy(&uid, record + FANQ_RECORD_PLAIN_BYTES, sizeof(uid));
    SIM_CHECK(fanq_record_length(record) == RECORD_BYTES && uid < CRASH_UIDS, "a record is damaged");
    return uid;
}

static void delivered_one(struct world *w, const struct ask *a, const struct fanq_delivery *d,
                          const struct fanq_slice *slice, uint64_t seq, uint32_t uid)
{
    const struct crash_message *m = message_of(w, a->slot, uid);

    SIM_CHECK(a->incarnation == w->incarnations[a->slot] && m->there,
              "message %u is delivered, which queue %u does not have", uid, a->slot);
    SIM_CHECK(w->batches[a->slot][uid] == 0 && w->delays[a->slot][uid] <= w->now_ms,
              "message %u of queue %u is delivered, but somebody has it", uid, a->slot);
    SIM_CHECK(slice->deliveries == ++w->deliveries[a->slot][uid], "message %u has %u deliveries, not %u", uid,
              slice->deliveries, w->deliveries[a->slot][uid]);
    SIM_CHECK(slice->deliveries > 1 || crash_model_may_deliver(&w->model.queues[a->slot], uid, w->synced),
              "message %u of queue %u is delivered with %lu synced, and came in %lu", uid, a->slot, w->synced,
              m->came);
    w->early_messages += m->came > w->synced;
    if (w->delivered[a->slot][uid] < slice->deliveries)
        w->delivered[a->slot][uid] = slice->deliveries;
    if (a->automatic) {
        message_gone(w, a->slot, uid);
        return;
    }
    w->batches[a->slot][uid] = d->batch;
    if (w->hold_count == HOLDS_MAX) /* the oldest are forgotten, and time out */
        w->holds[rng_below(&w->rng, HOLDS_MAX)] = w->holds[--w->hold_count];
    w->holds[w->hold_count++] = (struct hold){.slot = a->slot,
                                              .uid = uid,
                                              .connection = a->connection,
                                              .push = a->op == FANQ_OP_PUSH,
                                              .incarnation = a->incarnation,
                                              .queue_id = d->queue_id,
                                              .batch = d->batch,
                                              .stream = slice->stream,
                                              .seq = seq,
                                              .until_ms = w->now_ms + a->visibility_ms};
}

static void delivered(struct world *w, struct ask *a, const struct fanq_delivery *d)
{
    if (a->op == FANQ_OP_RECEIVE) {
        SIM_CHECK(!a->answered, "a receive is answered twice");
        a->answered = true;
    }
    for (uint32_t i = 0; i < d->slice_count && a->connection != CONNECTION_EPHEMERAL; i++) {
        const uint8_t *at = d->slices[i].records.data;

        for (uint32_t n = 0; n < d->slices[i].records.count; n++, at += RECORD_BYTES)
            delivered_one(w, a, d, &d->slices[i], d->slices[i].first_seq + n, uid_of(at));
    }
}

static void answered(struct world *w, uint64_t id, const struct fanq_reply *reply)
{
    struct ask *a = &w->asks[id];

    SIM_CHECK(id >= w->asks_of_run && id < w->ask_count && !a->answered, "request %lu is answered again", id);
    a->answered = true;
    if (reply->op == FANQ_REPLY_ERROR) {
        bool meanwhile =
            reply->error.err == FANQ_ERR_QUEUE_NOT_FOUND || reply->error.err == FANQ_ERR_TOPIC_NOT_FOUND;

        SIM_CHECK(a->refused || (meanwhile && (a->op == FANQ_OP_QUEUE_CREATE || a->op == FANQ_OP_QUEUE_SET ||
                                               a->op == FANQ_OP_TOPIC_CREATE || a->op == FANQ_OP_RECEIVE)),
                  "request %lu (%s) is refused: %d", id, fanq_op_name(a->op), reply->error.err);
        return;
    }
    SIM_CHECK(!a->refused, "request %lu (%s) is not refused", id, fanq_op_name(a->op));
    SIM_CHECK(a->needs <= w->synced, "request %lu (%s) is answered with %lu synced, and stands in %lu", id,
              fanq_op_name(a->op), w->synced, a->needs);
}

static void replied(struct world *w, const struct fanq_reply *reply)
{
    uint64_t count = reply->op == FANQ_REPLY_OK_RANGE ? reply->ok_range.count : 1;

    if (reply->op == FANQ_REPLY_DELIVER) {
        delivered(w, &w->asks[reply->id], &reply->deliver);
        return;
    }
    if (reply->op == FANQ_REPLY_PUSH_END)
        return;
    for (uint64_t i = 0; i < count; i++)
        answered(w, reply->id + i, reply);
}

static void carry_out(struct world *w)
{
    for (size_t i = 0; i < w->effects.count; i++) {
        const struct effect *e = &w->effects.items[i];

        switch (e->kind) {
        case EFFECT_REPLY:
        case EFFECT_DELIVER:
            replied(w, &e->reply);
            break;
        case EFFECT_COMMIT:
            crash_log_append(&w->log, &e->commit);
            w->appended = e->commit.number;
            break;
        case EFFECT_TRIM:
            crash_log_trim(&w->log, e->trim.stream, e->trim.seq);
            break;
        case EFFECT_STREAM_END:
            crash_log_trim(&w->log, e->trim.stream, UINT64_MAX);
            break;
        case EFFECT_FETCH:
            sim_fail("a fetch, but everything is in memory");
        case EFFECT_CLOSE:
            sim_fail("a connection is closed, but nobody is a producer");
        }
    }
    effects_clear(&w->effects);
}

static void step(struct world *w, const struct event *ev)
{
    SIM_CHECK(core_step(w->core, ev, &w->effects) == 0, "event %d failed", (int)ev->kind);
    carry_out(w);
}

/* ---- requests ---- */

static struct ask *request(struct world *w, uint32_t connection, struct fanq_request *r, struct ask ask)
{
    struct ask *a = &w->asks[w->ask_count];

    SIM_CHECK(w->ask_count < ASKS_MAX, "too many requests");
    *a = ask;
    a->op = r->op;
    a->connection = connection;
    a->due_commit = w->appended + 1;
    r->id = w->ask_count++;
    step(w, &(struct event){.kind = EVENT_REQUEST, .request = {connection, r}});
    return a;
}

static uint64_t most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Whether the queue is there, made now if it can be. */
static void queue_wanted(struct world *w, uint32_t slot)
{
    if (!w->model.queues[slot].alive)
        event_add(w, (struct crash_event){
                         .kind = CRASH_QUEUE_MADE, .queue = slot, .value = FANQ_VISIBILITY_MS_DEFAULT});
}

static struct fanq_records some_records(struct world *w, uint32_t *ret_first)
{
    uint32_t count = 1 + rng_below(&w->rng, BATCH_MAX), left = CRASH_UIDS - w->next_uid;
    uint8_t *bytes;

    if (count > left)
        count = left;
    bytes = arena_take(&w->requests, (size_t)count * RECORD_BYTES + 1);
    SIM_CHECK(bytes != NULL, "out of memory");
    *ret_first = w->next_uid;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *at = bytes + (size_t)i * RECORD_BYTES;
        uint32_t uid = w->next_uid++;

        memset(at, 0, RECORD_BYTES);
        at[0] = 0xc6;
        at[4] = RECORD_BYTES - FANQ_RECORD_HEADER_BYTES;
        memcpy(at + FANQ_RECORD_PLAIN_BYTES, &uid, sizeof(uid));
    }
    return (struct fanq_records){bytes, (size_t)count * RECORD_BYTES, count};
}

static void came(struct world *w, uint32_t slot, uint32_t first, uint32_t count)
{
    for (uint32_t uid = first; uid < first + count; uid++)
        event_add(w, (struct crash_event){.kind = CRASH_CAME, .queue = slot, .uid = uid});
}

static void do_send(struct world *w)
{
    uint32_t slot = rng_below(&w->rng, CRASH_QUEUES), first;
    struct fanq_request r = {.op = FANQ_OP_SEND, .publish = {.target = text_of(queue_names[slot])}};

    if (w->next_uid == CRASH_UIDS)
        return;
    r.publish.records = some_records(w, &first);
    r.publish.flags = rng_chance(&w->rng, 30) ? FANQ_PUBLISH_WANT_IDS : 0;
    queue_wanted(w, slot);
    came(w, slot, first, r.publish.records.count);
    (void)request(w, 0, &r, (struct ask){.needs = w->appended + 1});
}

static void do_publish(struct world *w)
{
    uint32_t topic = rng_below(&w->rng, CRASH_TOPICS), first;
    struct fanq_request r = {.op = FANQ_OP_PUBLISH, .publish = {.target = text_of(topic_names[topic])}};

    if (w->next_uid == CRASH_UIDS)
        return;
    r.publish.records = some_records(w, &first);
    if (!w->model.topics[topic])
        event_add(w, (struct crash_event){.kind = CRASH_TOPIC_MADE, .topic = topic});
    for (uint32_t slot = 0; slot < CRASH_QUEUES; slot++)
        if (w->model.queues[slot].subscribed[topic])
            came(w, slot, first, r.publish.records.count);
    (void)request(w, 0, &r, (struct ask){.needs = w->appended + 1});
}

static void do_receive(struct world *w, bool automatic)
{
    uint32_t slot = rng_below(&w->rng, CRASH_QUEUES);
    struct ask ask = {.slot = slot, .incarnation = w->incarnations[slot], .automatic = automatic};
    struct fanq_request r = {.op = FANQ_OP_RECEIVE,
                             .receive = {.queues = {text_of(queue_names[slot])},
                                         .queue_count = 1,
                                         .messages_max = 1 + rng_skewed(&w->rng, 0, 40),
                                         .bytes_max = 100000,
                                         .wait_ms = rng_chance(&w->rng, 30) ? 50 : 0,
                                         .visibility_ms = rng_skewed(&w->rng, 1, 3000),
                                         .flags = automatic ? FANQ_RECEIVE_AUTO_DELETE : 0}};

    queue_wanted(w, slot);
    ask.visibility_ms = r.receive.visibility_ms;
    (void)request(w, 1, &r, ask);
}

static void do_push(struct world *w, uint32_t connection)
{
    bool ephemeral = connection == CONNECTION_EPHEMERAL;
    uint32_t slot = rng_below(&w->rng, CRASH_QUEUES), topic = rng_below(&w->rng, CRASH_TOPICS);
    struct ask ask = {.slot = slot,
                      .incarnation = w->incarnations[slot],
                      .automatic = connection != CONNECTION_PUSH,
                      .visibility_ms = rng_skewed(&w->rng, 1, 5000)};
    struct fanq_request r = {.op = FANQ_OP_PUSH,
                             .push = {.target = text_of(ephemeral ? topic_names[topic] : queue_names[slot]),
                                      .target_kind = ephemeral ? FANQ_PUSH_TOPIC : FANQ_PUSH_QUEUE,
                                      .mode = ask.automatic ? FANQ_PUSH_AUTO : FANQ_PUSH_ACK,
                                      .messages = 20,
                                      .bytes = 100000,
                                      .visibility_ms = ask.visibility_ms}};

    if (!ephemeral)
        queue_wanted(w, slot);
    else if (!w->model.topics[topic])
        event_add(w, (struct crash_event){.kind = CRASH_TOPIC_MADE, .topic = topic});
    (void)request(w, connection, &r, ask);
}

static void do_disconnect(struct world *w)
{
    uint32_t connection = 1 + rng_below(&w->rng, CONNECTIONS - 1);

    push_ended(w, connection);
    step(w, &(struct event){.kind = EVENT_DISCONNECT, .connection = connection});
    for (uint64_t i = w->asks_of_run; i < w->ask_count; i++)
        if (w->asks[i].connection == connection)
            w->asks[i].answered = true; /* or never */
}

/* ---- settling ---- */

enum { RANGE_MAX = 16 };

/* A hold, and those behind it that are its neighbours in one batch. */
static uint32_t some_holds(struct world *w, uint32_t *ret_first)
{
    uint32_t first = rng_below(&w->rng, w->hold_count), count = 1, wanted = 1 + rng_below(&w->rng, RANGE_MAX);

    while (count < wanted && first + count < w->hold_count) {
        const struct hold *a = &w->holds[first], *b = &w->holds[first + count];

        if (b->queue_id != a->queue_id || b->batch != a->batch || b->stream != a->stream ||
            b->seq != a->seq + count)
            break;
        count++;
    }
    *ret_first = first;
    return count;
}

static uint64_t ack_holds(struct world *w, const struct hold *h, uint32_t count)
{
    uint64_t needs = 0;

    for (uint32_t i = 0; i < count; i++) {
        message_gone(w, h[i].slot, h[i].uid);
        needs = most(needs, message_of(w, h[i].slot, h[i].uid)->commit);
    }
    return needs;
}

static uint64_t nack_holds(struct world *w, const struct hold *h, uint32_t count, uint64_t delay_ms)
{
    uint64_t needs = 0;

    for (uint32_t i = 0; i < count; i++)
        if (hold_current(w, &h[i])) {
            message_counted(w, h[i].slot, h[i].uid, delay_ms);
            needs = w->appended + 1;
        }
    return needs;
}

static void do_settle(struct world *w, enum fanq_op op)
{
    uint32_t first, count;
    struct fanq_request r = {.op = op};
    struct ask ask = {0};
    struct fanq_writer writer;
    struct hold holds[RANGE_MAX];

    if (w->hold_count == 0)
        return;
    count = some_holds(w, &first);
    memcpy(holds, &w->holds[first], count * sizeof(*holds));
    writer = fanq_writer_over(arena_take(&w->requests, 32), 32);
    fanq_write_uint(&writer, holds[0].stream);
    fanq_write_uint(&writer, holds[0].seq);
    fanq_write_uint(&writer, count);
    r.change.queue_id = holds[0].queue_id;
    r.change.batch = holds[0].batch;
    r.change.ranges = fanq_ranges_over((struct fanq_bytes){writer.start, fanq_writer_length(&writer)}, 1);
    if (op == FANQ_OP_NACK && rng_chance(&w->rng, 60))
        r.change.time_ms = rng_skewed(&w->rng, 1, 20000);
    if (holds[0].incarnation != w->incarnations[holds[0].slot])
        ask.refused = true;
    else
        ask.needs =
            op == FANQ_OP_ACK ? ack_holds(w, holds, count) : nack_holds(w, holds, count, r.change.time_ms);
    if (rng_chance(&w->rng, 80)) {
        memmove(&w->holds[first], &w->holds[first + count],
                (w->hold_count - first - count) * sizeof(*w->holds));
        w->hold_count -= count;
    }
    (void)request(w, 1, &r, ask);
}

/* ---- the catalogue ---- */

static void do_queue_create(struct world *w)
{
    uint32_t slot = rng_below(&w->rng, CRASH_QUEUES);
    struct fanq_request r = {.op = FANQ_OP_QUEUE_CREATE, .queue = {.name = text_of(queue_names[slot])}};
    bool early = rng_chance(&w->rng, w->early_percent);

    if (!w->model.queues[slot].alive && early) {
        r.queue.attributes =
            (struct fanq_queue_attributes){.set = 1u << FANQ_QUEUE_EARLY_DELIVERY, .early_delivery = true};
        event_add(w, (struct crash_event){.kind = CRASH_QUEUE_MADE,
                                          .queue = slot,
                                          .value = FANQ_VISIBILITY_MS_DEFAULT,
                                          .early = true});
    }
    queue_wanted(w, slot);
    (void)request(w, 0, &r, (struct ask){.needs = w->model.queues[slot].commit});
}

static void do_queue_set(struct world *w)
{
    uint32_t slot = rng_below(&w->rng, CRASH_QUEUES);
    const struct crash_queue *q = &w->model.queues[slot];
    struct fanq_request r = {.op = FANQ_OP_QUEUE_SET,
                             .queue = {.name = text_of(queue_names[slot]),
                                       .attributes = {.set = 1u << FANQ_QUEUE_VISIBILITY_MS,
                                                      .visibility_ms = rng_skewed(&w->rng, 0, 100000),
                                                      .early_delivery = q->early}}};

    if (!q->alive)
        return;
    if (rng_chance(&w->rng, 70)) {
        r.queue.attributes.set |= 1u << FANQ_QUEUE_EARLY_DELIVERY;
        r.queue.attributes.early_delivery = rng_chance(&w->rng, w->early_percent);
    }
    event_add(w, (struct crash_event){.kind = CRASH_QUEUE_MADE,
                                      .queue = slot,
                                      .value = r.queue.attributes.visibility_ms,
                                      .early = r.queue.attributes.early_delivery});
    (void)request(w, 0, &r, (struct ask){.needs = w->appended + 1});
}

static void do_purge(struct world *w)
{
    uint32_t slot = rng_below(&w->rng, CRASH_QUEUES);
    struct fanq_request r = {.op = FANQ_OP_PURGE, .name = text_of(queue_names[slot])};
    struct ask ask = {0};

    if (!w->model.queues[slot].alive)
        return;
    for (uint32_t uid = 0; uid < w->next_uid; uid++) {
        message_gone(w, slot, uid);
        ask.needs = most(ask.needs, message_of(w, slot, uid)->commit);
    }
    (void)request(w, 0, &r, ask);
}

static void do_queue_delete(struct world *w)
{
    uint32_t slot = rng_below(&w->rng, CRASH_QUEUES);
    struct fanq_request r = {.op = FANQ_OP_QUEUE_DELETE, .name = text_of(queue_names[slot])};
    bool there = w->model.queues[slot].alive;

    if (there)
        queue_ended(w, slot);
    (void)request(w, 0, &r, (struct ask){.refused = !there, .needs = w->model.queues[slot].commit});
}

static void do_topic(struct world *w, enum fanq_op op)
{
    uint32_t topic = rng_below(&w->rng, CRASH_TOPICS);
    struct fanq_request r = {.op = op, .name = text_of(topic_names[topic])};
    bool there = w->model.topics[topic], make = op == FANQ_OP_TOPIC_CREATE;

    if (there != make)
        event_add(w,
                  (struct crash_event){.kind = make ? CRASH_TOPIC_MADE : CRASH_TOPIC_ENDED, .topic = topic});
    (void)request(w, 0, &r, (struct ask){.refused = !make && !there, .needs = w->model.topic_commits[topic]});
}

static void do_subscription(struct world *w, enum fanq_op op)
{
    uint32_t slot = rng_below(&w->rng, CRASH_QUEUES), topic = rng_below(&w->rng, CRASH_TOPICS);
    struct crash_queue *q = &w->model.queues[slot];
    struct fanq_request r = {.op = op,
                             .subscription = {text_of(topic_names[topic]), text_of(queue_names[slot])}};
    bool possible = q->alive && w->model.topics[topic], make = op == FANQ_OP_SUBSCRIBE;

    if (!make)
        possible = possible && q->subscribed[topic];
    if (possible && q->subscribed[topic] != make)
        event_add(w, (struct crash_event){.kind = make ? CRASH_SUBSCRIBED : CRASH_UNSUBSCRIBED,
                                          .queue = slot,
                                          .topic = topic});
    (void)request(w, 0, &r,
                  (struct ask){.refused = !possible, .needs = possible ? q->subscription_commit[topic] : 0});
}

static void do_something(struct world *w)
{
    uint32_t lot =
        rng_chance(&w->rng, w->churn_percent) ? rng_between(&w->rng, 88, 98) : rng_below(&w->rng, 100);

    if (lot < 20)
        do_send(w);
    else if (lot < 32)
        do_publish(w);
    else if (lot < 50)
        do_receive(w, false);
    else if (lot < 53)
        do_receive(w, true);
    else if (lot < 70)
        do_settle(w, FANQ_OP_ACK);
    else if (lot < 77)
        do_settle(w, FANQ_OP_NACK);
    else if (lot < 82)
        do_push(w, CONNECTION_PUSH + rng_below(&w->rng, 3));
    else if (lot < 84)
        do_disconnect(w);
    else if (lot < 86)
        do_queue_create(w);
    else if (lot < 87)
        do_queue_set(w);
    else if (lot < 88)
        rng_chance(&w->rng, 50) ? do_queue_delete(w) : do_purge(w);
    else if (lot < 90)
        do_topic(w, rng_chance(&w->rng, 80) ? FANQ_OP_TOPIC_CREATE : FANQ_OP_TOPIC_DELETE);
    else if (lot < 96)
        do_subscription(w, FANQ_OP_SUBSCRIBE);
    else if (lot < 99)
        do_subscription(w, FANQ_OP_UNSUBSCRIBE);
    else
        do_queue_set(w);
}

/* ---- checkpoints ---- */

static void checkpoint_end(struct world *w)
{
    w->current.end = w->appended + (core_fact_bytes(w->core) > 0); /* those are in the next commit */
    w->making = false;
    if (w->checkpoint_count == CHECKPOINTS_MAX) {
        core_checkpoint_free(&w->checkpoints[0].facts);
        memmove(&w->checkpoints[0], &w->checkpoints[1], (CHECKPOINTS_MAX - 1) * sizeof(w->checkpoints[0]));
        w->checkpoint_count--;
    }
    w->checkpoints[w->checkpoint_count++] = w->current;
}

static void checkpoint_go_on(struct world *w)
{
    bool ended;

    if (!w->making && rng_chance(&w->rng, w->checkpoint_percent)) {
        SIM_CHECK(core_checkpoint_begin(w->core, &w->current.facts) == 0, "out of memory");
        w->current.begin = w->appended;
        w->making = true;
    } else if (w->making && rng_chance(&w->rng, w->slice_percent)) {
        SIM_CHECK(core_checkpoint_slice(w->core, &w->current.facts,
                                        rng_skewed(&w->rng, 1, w->slice_bytes_max), &ended) == 0,
                  "out of memory");
        if (ended)
            checkpoint_end(w);
    }
}

/* ---- turns ---- */

static void answers_complete(struct world *w)
{
    for (uint64_t i = w->ask_open; i < w->ask_count; i++) {
        const struct ask *a = &w->asks[i];

        if (a->op == FANQ_OP_RECEIVE && !a->answered)
            continue; /* a long poll */
        SIM_CHECK(a->answered || a->due_commit > w->synced, "request %lu (%s) is not answered", i,
                  fanq_op_name(a->op));
    }
    while (w->ask_open < w->ask_count && w->asks[w->ask_open].answered)
        w->ask_open++;
}

/* An answer that waits for no commit of its own turn waits for the last one. */
static void asks_settle(struct world *w, uint64_t from)
{
    for (uint64_t i = from; i < w->ask_count; i++)
        if (w->asks[i].due_commit > w->appended)
            w->asks[i].due_commit = w->appended;
}

static void turn_begin(struct world *w)
{
    holds_expire(w);
    step(w, &(struct event){.kind = EVENT_TURN, .turn = {w->now_ms, w->wall_ms, UINT64_MAX}});
}

static void turn_end(struct world *w, uint64_t first_ask)
{
    step(w, &(struct event){.kind = EVENT_COMMIT, .always = rng_chance(&w->rng, 2)});
    arena_reset(&w->requests);
    asks_settle(w, first_ask);
    checkpoint_go_on(w);
    if (w->synced < w->appended && rng_chance(&w->rng, w->sync_percent)) {
        w->synced += 1 + rng_below(&w->rng, (uint32_t)(w->appended - w->synced));
        step(w, &(struct event){.kind = EVENT_SYNCED, .synced = w->synced});
    }
    step(w, &(struct event){.kind = EVENT_SERVE});
    answers_complete(w);
}

static void some_turn(struct world *w, uint32_t *ops_left)
{
    uint32_t ops = rng_skewed(&w->rng, 0, 12);
    uint64_t first_ask = w->ask_count, ms = rng_skewed(&w->rng, 0, 500);

    if (ops > *ops_left)
        ops = *ops_left;
    *ops_left -= ops;
    w->now_ms += ms;
    w->wall_ms += ms;
    turn_begin(w);
    for (uint32_t i = 0; i < ops; i++)
        do_something(w);
    turn_end(w, first_ask);
    if (rng_chance(&w->rng, 5))
        core_check(w->core);
}

/* ---- what a core shows ---- */

struct shown {
    struct world *world;
    uint32_t slot;
    bool seen[CRASH_UIDS];
    struct fanq_peek peek;
    bool more;
};

static void shown_one(struct shown *s, const struct fanq_peeked_slice *p, uint32_t uid)
{
    struct world *w = s->world;
    const struct crash_message *m = message_of(w, s->slot, uid);
    uint64_t due_ms = m->due_ms > w->wall_ms ? m->due_ms - w->wall_ms : 0;

    SIM_CHECK(!s->seen[uid], "queue %u has message %u twice", s->slot, uid);
    s->seen[uid] = true;
    SIM_CHECK(m->there, "queue %u has message %u, which it should not", s->slot, uid);
    SIM_CHECK(p->slice.deliveries >= m->counted && p->slice.deliveries <= w->delivered[s->slot][uid],
              "message %u of queue %u has %u deliveries, should be %u to %u", uid, s->slot,
              p->slice.deliveries, m->counted, w->delivered[s->slot][uid]);
    SIM_CHECK(p->due_ms == due_ms && p->state == (due_ms > 0 ? FANQ_STATE_DELAYED : FANQ_STATE_READY),
              "message %u of queue %u is due in %lu, not in %lu", uid, s->slot, p->due_ms, due_ms);
    w->deliveries[s->slot][uid] = p->slice.deliveries;
    w->delays[s->slot][uid] = due_ms > 0 ? w->now_ms + due_ms : 0;
    w->recovered_messages++;
}

static void shown_page(struct shown *s, const struct fanq_peeked *peeked)
{
    for (uint32_t i = 0; i < peeked->slice_count; i++) {
        const uint8_t *at = peeked->slices[i].slice.records.data;

        for (uint32_t n = 0; n < peeked->slices[i].slice.records.count; n++, at += RECORD_BYTES)
            shown_one(s, &peeked->slices[i], uid_of(at));
    }
    s->more = peeked->more;
    s->peek.after_valid = true;
    s->peek.after_stream = peeked->next_stream;
    s->peek.after_seq = peeked->next_seq;
}

static void queue_shows(struct world *w, uint32_t slot)
{
    struct shown s = {.world = w,
                      .slot = slot,
                      .more = true,
                      .peek = {.queue = text_of(queue_names[slot]),
                               .messages_max = UINT32_MAX,
                               .bytes_max = UINT32_MAX,
                               .states = FANQ_STATE_ALL}};

    while (s.more) {
        struct fanq_request r = {.op = FANQ_OP_PEEK, .peek = s.peek};

        SIM_CHECK(core_step(w->core, &(struct event){.kind = EVENT_REQUEST, .request = {0, &r}},
                            &w->effects) == 0 &&
                      w->effects.count == 1,
                  "a peek is not answered");
        if (w->effects.items[0].reply.op == FANQ_REPLY_ERROR) {
            SIM_CHECK(!w->model.queues[slot].alive, "queue %u is lost", slot);
            s.more = false;
        } else {
            SIM_CHECK(w->model.queues[slot].alive, "queue %u is there again", slot);
            shown_page(&s, &w->effects.items[0].reply.peeked);
        }
        effects_clear(&w->effects);
    }
    for (uint32_t uid = 0; uid < CRASH_UIDS; uid++)
        SIM_CHECK(s.seen[uid] || !message_of(w, slot, uid)->there, "queue %u has lost message %u", slot, uid);
}

/* Gives the answer, good until effects_clear(). */
static const struct fanq_reply *asked(struct world *w, struct fanq_request r)
{
    SIM_CHECK(core_step(w->core, &(struct event){.kind = EVENT_REQUEST, .request = {0, &r}}, &w->effects) ==
                      0 &&
                  w->effects.count == 1,
              "%s is not answered", fanq_op_name(r.op));
    return &w->effects.items[0].reply;
}

static void queue_is_right(struct world *w, uint32_t slot)
{
    const struct fanq_reply *reply =
        asked(w, (struct fanq_request){.op = FANQ_OP_QUEUE_GET, .name = text_of(queue_names[slot])});

    SIM_CHECK(reply->op == FANQ_REPLY_ERROR ||
                  (reply->queue.attributes.visibility_ms == w->model.queues[slot].visibility_ms &&
                   reply->queue.attributes.early_delivery == w->model.queues[slot].early),
              "queue %u has the wrong attributes", slot);
    effects_clear(&w->effects);
    queue_shows(w, slot);
}

static void topic_is_right(struct world *w, uint32_t topic)
{
    const struct fanq_reply *reply =
        asked(w, (struct fanq_request){
                     .op = FANQ_OP_SUBSCRIPTION_LIST,
                     .subscription_list = {.topic = text_of(topic_names[topic]), .limit = CRASH_QUEUES}});
    uint32_t count = 0;

    SIM_CHECK((reply->op == FANQ_REPLY_NAMES) == w->model.topics[topic], "topic %u is %s", topic,
              w->model.topics[topic] ? "lost" : "there again");
    for (uint32_t slot = 0; slot < CRASH_QUEUES && w->model.topics[topic]; slot++) {
        if (!w->model.queues[slot].subscribed[topic])
            continue;
        SIM_CHECK(count < reply->names.count &&
                      memcmp(reply->names.names[count].data, queue_names[slot], 1) == 0,
                  "queue %u has lost its subscription of topic %u", slot, topic);
        count++;
    }
    SIM_CHECK(reply->op != FANQ_REPLY_NAMES || count == reply->names.count, "topic %u has too many queues",
              topic);
    effects_clear(&w->effects);
}

/* ---- crashes ---- */

static struct core *core_begin(struct world *w)
{
    struct core *core;

    SIM_CHECK(core_new(&w->options, &core) == 0, "no core");
    SIM_CHECK(core_step(core,
                        &(struct event){.kind = EVENT_TURN, .turn = {w->now_ms, w->wall_ms, UINT64_MAX}},
                        &w->effects) == 0,
              "no turn");
    return core;
}

static void core_complete(struct world *w, struct core *core)
{
    uint64_t missing;

    SIM_CHECK(core_replay_end(core, w->appended + 1) == 0, "no end of replay");
    core_check(core);
    SIM_CHECK(core_forget_missing(core, &missing) == 0 && (missing == 0 || w->log.damaged),
              "%lu messages are not stored", missing);
    core_check(core);
}

static void recover(struct world *w)
{
    const struct checkpoint *from = NULL;
    uint64_t begin = 0;

    if (w->checkpoint_count > 0 && rng_chance(&w->rng, 80)) {
        from = &w->checkpoints[rng_below(&w->rng, w->checkpoint_count)];
        if (from->end > w->synced)
            from = NULL;
    }
    w->core = core_begin(w);
    if (from != NULL) {
        SIM_CHECK(core_replay(w->core, from->facts.facts, from->facts.bytes) == 0,
                  "a checkpoint is not taken");
        begin = from->begin;
        w->checkpoint_crashes++;
        if (rng_chance(&w->rng, 20)) /* facts may be repeated, if all that follow are */
            begin -= rng_below(&w->rng, (uint32_t)(begin < 30 ? begin + 1 : 30));
    }
    crash_log_replay(&w->log, begin, w->core);
    core_complete(w, w->core);
}

static struct core_checkpoint whole_checkpoint(const struct core *core)
{
    struct core_checkpoint checkpoint;
    bool ended = false;

    SIM_CHECK(core_checkpoint_begin(core, &checkpoint) == 0, "out of memory");
    while (!ended)
        SIM_CHECK(core_checkpoint_slice(core, &checkpoint, UINT64_MAX, &ended) == 0, "out of memory");
    return checkpoint;
}

/* A core that is made of a checkpoint of another gives the same checkpoint. */
static void checkpoint_is_whole(struct world *w)
{
    struct core_checkpoint first = whole_checkpoint(w->core), second;
    struct core *core = core_begin(w);

    SIM_CHECK(core_replay(core, first.facts, first.bytes) == 0, "a checkpoint is not taken");
    core_complete(w, core);
    second = whole_checkpoint(core);
    SIM_CHECK(first.bytes == second.bytes && memcmp(first.facts, second.facts, first.bytes) == 0,
              "a core made of a checkpoint of %lu facts gives one of %lu", first.count, second.count);
    core_checkpoint_free(&first);
    core_checkpoint_free(&second);
    core_free(core);
}

static void forget_what_was_volatile(struct world *w)
{
    w->hold_count = 0;
    memset(w->batches, 0, sizeof(w->batches));
    memset(w->delays, 0, sizeof(w->delays));
    w->asks_of_run = w->ask_open = w->ask_count;
    for (uint32_t slot = 0; slot < CRASH_QUEUES; slot++)
        w->incarnations[slot]++;
    if (w->making)
        core_checkpoint_free(&w->current.facts);
    w->making = false;
    while (w->checkpoint_count > 0 && w->checkpoints[w->checkpoint_count - 1].end > w->appended)
        core_checkpoint_free(&w->checkpoints[--w->checkpoint_count].facts);
}

/* Some block is damaged: what was in it is gone, and nothing else. */
static void damage(struct world *w)
{
    struct crash_block *b = &w->log.blocks[rng_below(&w->rng, (uint32_t)w->log.block_count)];
    const uint8_t *at = b->records;

    b->lost = w->log.damaged = true;
    for (uint32_t n = 0; n < b->block.count; n++, at += RECORD_BYTES)
        for (uint32_t slot = 0; slot < CRASH_QUEUES; slot++)
            if (message_of(w, slot, uid_of(at))->there)
                crash_model_add(&w->model, &(struct crash_event){.commit = w->appended,
                                                                 .kind = CRASH_GONE,
                                                                 .queue = slot,
                                                                 .uid = uid_of(at)});
}

static void crash(struct world *w)
{
    uint64_t kept = w->synced + rng_below(&w->rng, (uint32_t)(w->appended - w->synced + 1));

    core_free(w->core);
    effects_clear(&w->effects);
    crash_log_cut(&w->log, kept);
    crash_model_cut(&w->model, kept);
    w->appended = w->synced = kept;
    w->options.epoch++;
    w->now_ms = 1000 + rng_below(&w->rng, 1000);
    w->wall_ms += rng_skewed(&w->rng, 0, 10000);
    forget_what_was_volatile(w);
    if (w->log.block_count > 0 && rng_chance(&w->rng, w->damage_percent))
        damage(w);
    recover(w);
    for (uint32_t slot = 0; slot < CRASH_QUEUES; slot++)
        queue_is_right(w, slot);
    for (uint32_t topic = 0; topic < CRASH_TOPICS; topic++)
        topic_is_right(w, topic);
    checkpoint_is_whole(w);
    w->crashes++;
}

/* ---- the end ---- */

static uint32_t messages_left(const struct world *w)
{
    uint32_t count = 0;

    for (uint32_t slot = 0; slot < CRASH_QUEUES; slot++)
        for (uint32_t uid = 0; uid < w->next_uid; uid++)
            count += w->model.queues[slot].messages[uid].there;
    return count;
}

/* All that is there is delivered, and can be deleted. */
static void drain(struct world *w)
{
    for (uint32_t turns = 0; messages_left(w) > 0; turns++) {
        uint64_t first_ask = w->ask_count;

        SIM_CHECK(turns < 2000, "%u messages are never delivered", messages_left(w));
        w->now_ms += 1000;
        w->wall_ms += 1000;
        turn_begin(w);
        for (uint32_t i = 0; i < 20; i++)
            do_settle(w, FANQ_OP_ACK);
        do_receive(w, false);
        w->sync_percent = 100;
        turn_end(w, first_ask);
    }
}

static void run(uint64_t seed, uint32_t ops, struct world *w)
{
    uint32_t crash_percent;

    w->rng.state = seed;
    w->options = sim_options_default(seed).core;
    w->options.durable = true;
    w->options.auto_create = true;
    w->options.serve_bytes_max = seed % 3 == 0 ? 1000 : 256 * 1024;
    w->options.view = (struct view){&w->log, crash_log_block};
    w->now_ms = 1000;
    w->wall_ms = 1700000000000;
    w->sync_percent = rng_between(&w->rng, 10, 100);
    w->slice_bytes_max = rng_chance(&w->rng, 50) ? 1 : 2000;
    w->checkpoint_percent = rng_between(&w->rng, 1, 30);
    w->slice_percent = rng_chance(&w->rng, 50) ? 100 : rng_between(&w->rng, 5, 50);
    w->churn_percent = rng_chance(&w->rng, 30) ? 40 : 0;
    w->damage_percent = rng_chance(&w->rng, 15) ? 30 : 0;
    w->early_percent = rng_chance(&w->rng, 60) ? rng_between(&w->rng, 20, 80) : 0;
    crash_percent = rng_between(&w->rng, 1, 4);
    w->core = core_begin(w);
    while (ops > 0) {
        some_turn(w, &ops);
        if (rng_chance(&w->rng, crash_percent))
            crash(w);
    }
    crash(w);
    drain(w);
    crash(w);
}

static struct world *world_new(void)
{
    struct world *w = calloc(1, sizeof(*w));

    SIM_CHECK(w != NULL, "out of memory");
    w->asks = calloc(ASKS_MAX, sizeof(*w->asks));
    SIM_CHECK(w->asks != NULL, "out of memory");
    effects_init(&w->effects);
    arena_init(&w->requests);
    return w;
}

static void world_free(struct world *w)
{
    core_free(w->core);
    effects_close(&w->effects);
    arena_close(&w->requests);
    crash_log_close(&w->log);
    crash_model_close(&w->model);
    while (w->checkpoint_count > 0)
        core_checkpoint_free(&w->checkpoints[--w->checkpoint_count].facts);
    if (w->making)
        core_checkpoint_free(&w->current.facts);
    free(w->asks);
    free(w);
}

static void on_abort(int signal_number)
{
    fprintf(stderr, "repeat with: build/tests/sim/crash --seeds %lu-%lu --ops %u\n", current_seed,
            current_seed, current_ops);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"seeds", required_argument, NULL, 'S'}, {"ops", required_argument, NULL, 'o'}, {0}};
    uint64_t crashes = 0, messages = 0, checkpoint_crashes = 0, early = 0;
    unsigned long first = 1, last = 1;
    int choice;

    current_ops = 1500;
    while ((choice = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (choice == 'S' && sscanf(optarg, "%lu-%lu", &first, &last) == 2 && first <= last)
            continue;
        if (choice != 'o') {
            fputs("usage: crash [--seeds FIRST-LAST] [--ops N]\n", stderr);
            return 2;
        }
        current_ops = (uint32_t)strtoul(optarg, NULL, 0);
    }
    signal(SIGABRT, on_abort);
    signal(SIGSEGV, on_abort);
    for (current_seed = first; current_seed <= last; current_seed++) {
        struct world *w = world_new();

        run(current_seed, current_ops, w);
        crashes += w->crashes;
        messages += w->recovered_messages;
        checkpoint_crashes += w->checkpoint_crashes;
        early += w->early_messages;
        world_free(w);
    }
    printf("%lu seeds of %u operations: %lu crashes, %lu of them recovered from a checkpoint, %lu messages "
           "found "
           "again, %lu delivered early\n",
           last - first + 1, current_ops, crashes, checkpoint_crashes, messages, early);
    return 0;
}
