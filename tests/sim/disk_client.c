/* What clients ask, what they are told, and what is true because of it. */
#include <stdlib.h>
#include <string.h>

#include "disk_world.h"
#include "proto/request.h"

enum { BATCH_MAX = 12, RANGE_MAX = 16, RECORD_BYTES_MIN = FANQ_RECORD_PLAIN_BYTES + 4, EARLY_PERCENT = 40 };

/* ---- records ---- */

uint32_t record_bytes(const struct disk_world *w, uint32_t uid)
{
    struct rng rng = {w->truth.salt ^ uid};

    return rng_skewed(&rng, RECORD_BYTES_MIN, w->options.record_bytes_max);
}

void record_write(const struct disk_world *w, uint32_t uid, uint8_t *at)
{
    uint32_t bytes = record_bytes(w, uid), body = bytes - FANQ_RECORD_HEADER_BYTES;
    struct rng rng = {w->truth.salt + uid};

    memset(at, 0, FANQ_RECORD_PLAIN_BYTES);
    at[0] = 0xc6;
    at[3] = (uint8_t)(body >> 8);
    at[4] = (uint8_t)body;
    memcpy(at + FANQ_RECORD_PLAIN_BYTES, &uid, sizeof(uid));
    for (uint32_t i = RECORD_BYTES_MIN; i < bytes; i += 8) {
        uint64_t word = rng_next(&rng);
        memcpy(at + i, &word, bytes - i < 8 ? bytes - i : 8);
    }
}

uint32_t record_read(const struct disk_world *w, const uint8_t *at)
{
    uint8_t right[UINT16_MAX];
    uint32_t uid;

    memcpy(&uid, at + FANQ_RECORD_PLAIN_BYTES, sizeof(uid));
    SIM_CHECK(uid < w->truth.next_uid, "message %u never was", uid);
    record_write(w, uid, right);
    SIM_CHECK(fanq_record_length(at) == record_bytes(w, uid) && memcmp(at, right, record_bytes(w, uid)) == 0,
              "message %u has changed", uid);
    return uid;
}

/* ---- what happens, as events ---- */

/* What happens now stands in the next commit. */
static void event_add(struct disk_world *w, struct crash_event e)
{
    e.commit = w->truth.appended + 1;
    crash_model_add(&w->truth.model, &e);
}

static struct crash_queue *queue_of(struct disk_world *w, uint32_t slot)
{
    return &w->truth.model.queues[slot];
}

static void message_gone(struct disk_world *w, uint32_t slot, uint32_t uid)
{
    if (queue_of(w, slot)->messages[uid].there)
        event_add(w, (struct crash_event){.kind = CRASH_GONE, .queue = slot, .uid = uid});
    w->batches[slot][uid] = w->delays[slot][uid] = 0;
}

static void message_counted(struct disk_world *w, uint32_t slot, uint32_t uid, uint64_t delay_ms)
{
    event_add(w, (struct crash_event){.kind = CRASH_COUNTED,
                                      .queue = slot,
                                      .uid = uid,
                                      .value = w->deliveries[slot][uid],
                                      .due_ms = delay_ms > 0 ? w->truth.wall_ms + delay_ms : 0});
    w->batches[slot][uid] = 0;
    w->delays[slot][uid] = delay_ms > 0 ? w->now_ms + delay_ms : 0;
}

static bool hold_current(const struct disk_world *w, const struct disk_hold *h)
{
    return h->incarnation == w->truth.incarnations[h->slot] && w->batches[h->slot][h->uid] == h->batch;
}

void clients_expire(struct disk_world *w)
{
    for (uint32_t i = 0; i < w->hold_count; i++) {
        const struct disk_hold *h = &w->holds[i];

        if (h->until_ms <= w->now_ms && hold_current(w, h))
            message_counted(w, h->slot, h->uid, 0);
    }
}

/* What clients got they may delete later: nobody tells them. */
void clients_forget(struct disk_world *w)
{
    w->ask_count = w->ask_open = 0;
    memset(w->batches, 0, sizeof(w->batches));
    memset(w->delays, 0, sizeof(w->delays));
}

/* ---- answers ---- */

static void delivered_one(struct disk_world *w, const struct disk_ask *a, const struct fanq_delivery *d,
                          const struct fanq_slice *slice, uint64_t seq, uint32_t uid)
{
    uint32_t slot = a->slot;

    SIM_CHECK(a->incarnation == w->truth.incarnations[slot] && queue_of(w, slot)->messages[uid].there,
              "message %u is delivered, which queue %u does not have", uid, slot);
    SIM_CHECK(w->batches[slot][uid] == 0 && w->delays[slot][uid] <= w->now_ms,
              "message %u of queue %u is delivered, but somebody has it", uid, slot);
    SIM_CHECK(slice->deliveries == ++w->deliveries[slot][uid], "message %u has %u deliveries, not %u", uid,
              slice->deliveries, w->deliveries[slot][uid]);
    SIM_CHECK(slice->deliveries > 1 || crash_model_may_deliver(queue_of(w, slot), uid, w->truth.told),
              "message %u of queue %u is delivered with %lu synced", uid, slot, w->truth.told);
    if (w->truth.delivered[slot][uid] < slice->deliveries)
        w->truth.delivered[slot][uid] = slice->deliveries;
    if (a->automatic) {
        message_gone(w, slot, uid);
        return;
    }
    w->batches[slot][uid] = d->batch;
    SIM_CHECK(w->hold_count < DISK_HOLDS_MAX, "too many messages are held");
    w->holds[w->hold_count++] = (struct disk_hold){.slot = slot,
                                                   .uid = uid,
                                                   .incarnation = a->incarnation,
                                                   .queue_id = d->queue_id,
                                                   .batch = d->batch,
                                                   .stream = slice->stream,
                                                   .seq = seq,
                                                   .until_ms = w->now_ms + a->visibility_ms};
}

static void delivered(struct disk_world *w, struct disk_ask *a, const struct fanq_delivery *d)
{
    SIM_CHECK(a->op == FANQ_OP_RECEIVE && !a->answered, "a delivery that nobody waits for");
    a->answered = true;
    for (uint32_t i = 0; i < d->slice_count; i++) {
        const uint8_t *at = d->slices[i].records.data;

        for (uint32_t n = 0; n < d->slices[i].records.count; n++, at += fanq_record_length(at))
            delivered_one(w, a, d, &d->slices[i], d->slices[i].first_seq + n, record_read(w, at));
    }
}

static void answered(struct disk_world *w, uint64_t id, const struct fanq_reply *reply)
{
    struct disk_ask *a = &w->asks[id];

    SIM_CHECK(id < w->ask_count && !a->answered, "request %lu is answered again", id);
    a->answered = true;
    if (reply->op == FANQ_REPLY_ERROR) {
        SIM_CHECK(a->refused || reply->error.err == FANQ_ERR_QUEUE_NOT_FOUND ||
                      reply->error.err == FANQ_ERR_TOPIC_NOT_FOUND,
                  "request %lu (%s) is refused: %d", id, fanq_op_name(a->op), reply->error.err);
        return;
    }
    SIM_CHECK(!a->refused, "request %lu (%s) is not refused", id, fanq_op_name(a->op));
    SIM_CHECK(a->needs <= w->truth.told, "request %lu (%s) is answered with %lu synced, and stands in %lu",
              id, fanq_op_name(a->op), w->truth.told, a->needs);
}

void clients_reply(struct disk_world *w, const struct fanq_reply *reply)
{
    uint64_t count = reply->op == FANQ_REPLY_OK_RANGE ? reply->ok_range.count : 1;

    if (reply->op == FANQ_REPLY_DELIVER) {
        delivered(w, &w->asks[reply->id], &reply->deliver);
        return;
    }
    for (uint64_t i = 0; i < count; i++)
        answered(w, reply->id + i, reply);
}

/* ---- requests ---- */

/* Gives how it was refused at once, or 0. */
static int ask(struct disk_world *w, struct fanq_request *r, struct disk_ask asked)
{
    size_t first = w->effects.count;
    uint64_t id = w->ask_count;

    SIM_CHECK(w->ask_count < DISK_ASKS_MAX, "too many requests wait");
    asked.op = r->op;
    asked.due_commit = w->truth.appended + 1;
    r->id = id;
    w->asks[w->ask_count++] = asked;
    world_step(w, &(struct event){.kind = EVENT_REQUEST, .request = {0, r}});
    for (size_t i = first; i < w->effects.count; i++) {
        const struct effect *e = &w->effects.items[i];
        if (e->kind == EFFECT_REPLY && e->reply.op == FANQ_REPLY_ERROR && e->reply.id == id)
            return e->reply.error.err;
    }
    return 0;
}

static struct fanq_records some_records(struct disk_world *w, uint32_t *ret_first)
{
    uint32_t count = 1 + rng_below(&w->rng, BATCH_MAX), left = CRASH_UIDS - w->truth.next_uid;
    size_t length = 0, at = 0;
    uint8_t *bytes;

    if (count > left)
        count = left;
    *ret_first = w->truth.next_uid;
    for (uint32_t i = 0; i < count; i++)
        length += record_bytes(w, *ret_first + i);
    bytes = arena_take(&w->requests, length + 1);
    SIM_CHECK(bytes != NULL, "out of memory");
    for (uint32_t i = 0; i < count; i++) {
        record_write(w, w->truth.next_uid, bytes + at);
        at += record_bytes(w, w->truth.next_uid++);
    }
    return (struct fanq_records){bytes, length, count};
}

static void came(struct disk_world *w, uint32_t slot, uint32_t first, uint32_t count)
{
    for (uint32_t uid = first; uid < first + count; uid++) {
        w->deliveries[slot][uid] = 0;
        event_add(w, (struct crash_event){.kind = CRASH_CAME, .queue = slot, .uid = uid});
    }
}

static void ask_publish(struct disk_world *w, bool to_topic)
{
    uint32_t slot = rng_below(&w->rng, CRASH_QUEUES), topic = rng_below(&w->rng, CRASH_TOPICS), first;
    bool there = to_topic ? w->truth.model.topics[topic] : queue_of(w, slot)->alive;
    struct fanq_request r = {.op = to_topic ? FANQ_OP_PUBLISH : FANQ_OP_SEND};
    int refusal;

    if (w->truth.next_uid == CRASH_UIDS)
        return;
    r.publish.target = world_text(to_topic ? world_topic_names[topic] : world_queue_names[slot]);
    r.publish.records = some_records(w, &first);
    r.publish.flags = rng_chance(&w->rng, 30) ? FANQ_PUBLISH_WANT_IDS : 0;
    refusal = ask(w, &r, (struct disk_ask){.needs = w->truth.appended + 1, .refused = !there});
    SIM_CHECK(refusal == 0 || refusal == FANQ_ERR_NO_ROOM || !there, "a publish is refused: %d", refusal);
    SIM_CHECK(there || refusal != 0, "a publish to nobody is taken");
    w->refusals += refusal == FANQ_ERR_NO_ROOM;
    if (refusal != 0) {
        w->asks[w->ask_count - 1].refused = true;
        return;
    }
    for (uint32_t i = 0; i < CRASH_QUEUES; i++)
        if (to_topic ? queue_of(w, i)->subscribed[topic] : i == slot)
            came(w, i, first, r.publish.records.count);
}

static void ask_receive(struct disk_world *w, bool automatic)
{
    uint32_t slot = rng_below(&w->rng, CRASH_QUEUES);
    struct fanq_request r = {.op = FANQ_OP_RECEIVE,
                             .receive = {.queues = {world_text(world_queue_names[slot])},
                                         .queue_count = 1,
                                         .messages_max = 1 + rng_skewed(&w->rng, 0, 40),
                                         .bytes_max = 100000,
                                         .wait_ms = rng_chance(&w->rng, 30) ? 50 : 0,
                                         .visibility_ms = rng_skewed(&w->rng, 1, 3000),
                                         .flags = automatic ? FANQ_RECEIVE_AUTO_DELETE : 0}};

    if (w->hold_count + r.receive.messages_max * 16 > DISK_HOLDS_MAX)
        return;
    (void)ask(w, &r,
              (struct disk_ask){.slot = slot,
                                .incarnation = w->truth.incarnations[slot],
                                .automatic = automatic,
                                .visibility_ms = r.receive.visibility_ms,
                                .refused = !queue_of(w, slot)->alive});
}

/* ---- settling ---- */

/* A hold, and those behind it that are its neighbours in one batch. */
static uint32_t some_holds(struct disk_world *w, uint32_t *ret_first)
{
    uint32_t first = rng_below(&w->rng, w->hold_count), count = 1, wanted = 1 + rng_below(&w->rng, RANGE_MAX);

    while (count < wanted && first + count < w->hold_count) {
        const struct disk_hold *a = &w->holds[first], *b = &w->holds[first + count];

        if (b->queue_id != a->queue_id || b->batch != a->batch || b->stream != a->stream ||
            b->seq != a->seq + count)
            break;
        count++;
    }
    *ret_first = first;
    return count;
}

/* A message that is gone already needs the commit in which it went. */
static uint64_t ack_holds(struct disk_world *w, const struct disk_hold *h, uint32_t count)
{
    uint64_t needs = 0;

    for (uint32_t i = 0; i < count; i++) {
        const struct crash_message *m = &queue_of(w, h[i].slot)->messages[h[i].uid];
        message_gone(w, h[i].slot, h[i].uid);
        needs = needs > m->commit ? needs : m->commit;
    }
    return needs;
}

static uint64_t nack_holds(struct disk_world *w, const struct disk_hold *h, uint32_t count, uint64_t delay_ms)
{
    uint64_t needs = 0;

    for (uint32_t i = 0; i < count; i++)
        if (hold_current(w, &h[i])) {
            message_counted(w, h[i].slot, h[i].uid, delay_ms);
            needs = w->truth.appended + 1;
        }
    return needs;
}

static void ask_settle(struct disk_world *w, enum fanq_op op)
{
    uint32_t first, count;
    struct fanq_request r = {.op = op};
    struct disk_ask asked = {0};
    struct disk_hold holds[RANGE_MAX];
    struct fanq_writer writer;

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
    if (holds[0].incarnation != w->truth.incarnations[holds[0].slot])
        asked.refused = true;
    else if (op == FANQ_OP_ACK)
        asked.needs = ack_holds(w, holds, count);
    else
        asked.needs = nack_holds(w, holds, count, r.change.time_ms);
    if (rng_chance(&w->rng, 90)) { /* else it is asked again some time */
        memmove(&w->holds[first], &w->holds[first + count],
                (w->hold_count - first - count) * sizeof(*w->holds));
        w->hold_count -= count;
    }
    (void)ask(w, &r, asked);
}

/* ---- the catalogue ---- */

static void ask_queue_create(struct disk_world *w)
{
    uint32_t slot = rng_below(&w->rng, CRASH_QUEUES);
    struct crash_queue *q = queue_of(w, slot);
    struct fanq_request r = {.op = FANQ_OP_QUEUE_CREATE,
                             .queue = {.name = world_text(world_queue_names[slot])}};

    if (!q->alive) {
        r.queue.attributes.set = 1u << FANQ_QUEUE_EARLY_DELIVERY;
        r.queue.attributes.early_delivery = rng_chance(&w->rng, EARLY_PERCENT);
        event_add(w, (struct crash_event){.kind = CRASH_QUEUE_MADE,
                                          .queue = slot,
                                          .value = FANQ_VISIBILITY_MS_DEFAULT,
                                          .early = r.queue.attributes.early_delivery});
    }
    (void)ask(w, &r, (struct disk_ask){.needs = q->commit});
}

static void ask_queue_set(struct disk_world *w)
{
    uint32_t slot = rng_below(&w->rng, CRASH_QUEUES);
    struct fanq_request r = {
        .op = FANQ_OP_QUEUE_SET,
        .queue = {.name = world_text(world_queue_names[slot]),
                  .attributes = {.set = 1u << FANQ_QUEUE_VISIBILITY_MS | 1u << FANQ_QUEUE_EARLY_DELIVERY,
                                 .visibility_ms = rng_skewed(&w->rng, 0, 100000),
                                 .early_delivery = rng_chance(&w->rng, EARLY_PERCENT)}}};

    if (!queue_of(w, slot)->alive)
        return;
    event_add(w, (struct crash_event){.kind = CRASH_QUEUE_MADE,
                                      .queue = slot,
                                      .value = r.queue.attributes.visibility_ms,
                                      .early = r.queue.attributes.early_delivery});
    (void)ask(w, &r, (struct disk_ask){.needs = w->truth.appended + 1});
}

static void ask_queue_delete(struct disk_world *w)
{
    uint32_t slot = rng_below(&w->rng, CRASH_QUEUES);
    struct crash_queue *q = queue_of(w, slot);
    struct fanq_request r = {.op = FANQ_OP_QUEUE_DELETE, .name = world_text(world_queue_names[slot])};
    bool there = q->alive;

    if (there) {
        event_add(w, (struct crash_event){.kind = CRASH_QUEUE_ENDED, .queue = slot});
        w->truth.incarnations[slot]++;
        memset(w->batches[slot], 0, sizeof(w->batches[slot]));
        memset(w->delays[slot], 0, sizeof(w->delays[slot]));
    }
    (void)ask(w, &r, (struct disk_ask){.refused = !there, .needs = q->commit});
}

static void ask_purge(struct disk_world *w, uint32_t slot)
{
    struct fanq_request r = {.op = FANQ_OP_PURGE, .name = world_text(world_queue_names[slot])};
    uint64_t needs = 0;

    if (!queue_of(w, slot)->alive)
        return;
    for (uint32_t uid = 0; uid < w->truth.next_uid; uid++) {
        const struct crash_message *m = &queue_of(w, slot)->messages[uid];
        message_gone(w, slot, uid);
        needs = needs > m->commit ? needs : m->commit;
    }
    (void)ask(w, &r, (struct disk_ask){.needs = needs});
}

static void ask_topic(struct disk_world *w, enum fanq_op op)
{
    uint32_t topic = rng_below(&w->rng, CRASH_TOPICS);
    struct crash_model *m = &w->truth.model;
    struct fanq_request r = {.op = op, .name = world_text(world_topic_names[topic])};
    bool there = m->topics[topic], make = op == FANQ_OP_TOPIC_CREATE;

    if (there != make)
        event_add(w,
                  (struct crash_event){.kind = make ? CRASH_TOPIC_MADE : CRASH_TOPIC_ENDED, .topic = topic});
    (void)ask(w, &r, (struct disk_ask){.refused = !make && !there, .needs = m->topic_commits[topic]});
}

static void ask_subscription(struct disk_world *w, enum fanq_op op)
{
    uint32_t slot = rng_below(&w->rng, CRASH_QUEUES), topic = rng_below(&w->rng, CRASH_TOPICS);
    struct crash_queue *q = queue_of(w, slot);
    struct fanq_request r = {
        .op = op,
        .subscription = {world_text(world_topic_names[topic]), world_text(world_queue_names[slot])}};
    bool make = op == FANQ_OP_SUBSCRIBE;
    bool possible = q->alive && w->truth.model.topics[topic] && (make || q->subscribed[topic]);

    if (possible && q->subscribed[topic] != make)
        event_add(w, (struct crash_event){.kind = make ? CRASH_SUBSCRIBED : CRASH_UNSUBSCRIBED,
                                          .queue = slot,
                                          .topic = topic});
    (void)ask(w, &r,
              (struct disk_ask){.refused = !possible, .needs = possible ? q->subscription_commit[topic] : 0});
}

static void ask_about_catalogue(struct disk_world *w)
{
    uint32_t lot = rng_below(&w->rng, 100);

    if (lot < 30)
        ask_queue_create(w);
    else if (lot < 40)
        ask_queue_set(w);
    else if (lot < 44)
        ask_queue_delete(w);
    else if (lot < 48)
        ask_purge(w, rng_below(&w->rng, CRASH_QUEUES));
    else if (lot < 64)
        ask_topic(w, FANQ_OP_TOPIC_CREATE);
    else if (lot < 67)
        ask_topic(w, FANQ_OP_TOPIC_DELETE);
    else if (lot < 92)
        ask_subscription(w, FANQ_OP_SUBSCRIBE);
    else
        ask_subscription(w, FANQ_OP_UNSUBSCRIBE);
}

static void ask_purge_all(struct disk_world *w)
{
    for (uint32_t slot = 0; slot < CRASH_QUEUES; slot++)
        ask_purge(w, slot);
}

void clients_ask(struct disk_world *w)
{
    uint32_t lot = rng_below(&w->rng, 100);

    if (w->purging)
        ask_purge_all(w);
    else if (rng_chance(&w->rng, w->options.churn_percent))
        ask_about_catalogue(w);
    else if (rng_chance(&w->rng, w->options.drain_percent))
        lot < 40 ? ask_receive(w, lot < 10) : ask_settle(w, FANQ_OP_ACK);
    else if (lot < 40)
        ask_publish(w, lot < 20);
    else if (lot < 65)
        ask_receive(w, lot < 45);
    else if (lot < 90)
        ask_settle(w, FANQ_OP_ACK);
    else
        ask_settle(w, FANQ_OP_NACK);
}
