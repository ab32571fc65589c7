#include "client.h"

#include "trace.h"

/* ---- making requests ---- */

void client_request(struct workload *w, uint32_t connection, struct fanq_request *r)
{
    r->id = oracle_next_id(&w->oracle, connection);
    if (w->trace != NULL)
        trace_request(w->trace, w->sim, connection, r);
    oracle_ask(&w->oracle, connection, r);
    if (oracle_must_see(&w->oracle, r)) {
        sim_carry_out(w->sim);
        sim_request(w->sim, connection, r);
        sim_carry_out(w->sim);
    } else {
        sim_request(w->sim, connection, r);
    }
    oracle_asked(&w->oracle, connection, r);
}

void client_learn_ids(struct workload *w, uint32_t connection)
{
    for (uint32_t slot = 0; slot < ORACLE_QUEUES; slot++)
        if (w->oracle.queues[slot] != NULL && w->oracle.queues[slot]->id == 0)
            client_request(w, connection,
                           &(struct fanq_request){.op = FANQ_OP_QUEUE_GET, .name = oracle_queue_name(slot)});
}

static struct fanq_bytes some_queue(struct workload *w)
{
    return oracle_queue_name(rng_below(&w->rng, w->queue_count));
}

static struct fanq_bytes some_topic(struct workload *w)
{
    return oracle_topic_name(rng_below(&w->rng, w->topic_count));
}

static uint64_t some_visibility_ms(struct workload *w)
{
    return rng_chance(&w->rng, 30) ? FANQ_QUEUE_DEFAULT : rng_skewed(&w->rng, 0, w->visibility_ms_max);
}

static struct fanq_records some_records(struct workload *w)
{
    uint32_t count = 1 + rng_skewed(&w->rng, 0, w->batch_max - 1), sizes[256];
    struct fanq_records records = {.count = count};
    uint8_t *bytes;

    for (uint32_t i = 0; i < count; i++) {
        sizes[i] = rng_skewed(&w->rng, ORACLE_PIECE_BYTES, w->record_bytes_max);
        records.length += sizes[i];
    }
    bytes = sim_request_bytes(w->sim, records.length);
    records.data = bytes;
    for (uint32_t i = 0; i < count; i++) {
        oracle_record_write(bytes, w->oracle.next_uid++, sizes[i]);
        bytes += sizes[i];
    }
    return records;
}

void client_publish(struct workload *w, uint32_t connection, enum fanq_op op)
{
    struct fanq_request r = {.op = op,
                             .publish = {.target = op == FANQ_OP_SEND ? some_queue(w) : some_topic(w),
                                         .flags = rng_chance(&w->rng, 30) ? FANQ_PUBLISH_WANT_IDS : 0}};
    uint64_t backlog = w->oracle.published * 3 / 2 - w->oracle.deleted;

    if (backlog > w->backlog_max && w->oracle.published > w->oracle.deleted && rng_chance(&w->rng, 70))
        return;
    r.publish.records = some_records(w);
    client_request(w, connection, &r);
}

void client_receive(struct workload *w, uint32_t connection)
{
    struct fanq_request r = {.op = FANQ_OP_RECEIVE,
                             .receive = {.queue_count = rng_skewed(&w->rng, 1, 5),
                                         .messages_max = rng_skewed(&w->rng, 1, 300),
                                         .bytes_max = rng_skewed(&w->rng, 1, 100000),
                                         .visibility_ms = some_visibility_ms(w),
                                         .flags = rng_chance(&w->rng, 10) ? FANQ_RECEIVE_AUTO_DELETE : 0}};

    for (uint32_t i = 0; i < r.receive.queue_count; i++)
        r.receive.queues[i] = some_queue(w);
    if (rng_chance(&w->rng, 20))
        r.receive.wait_ms = FANQ_QUEUE_DEFAULT;
    else if (rng_chance(&w->rng, 60))
        r.receive.wait_ms = rng_skewed(&w->rng, 1, w->wait_ms_max);
    client_request(w, connection, &r);
}

void client_push(struct workload *w, uint32_t connection, enum fanq_push_target kind)
{
    bool topic = kind == FANQ_PUSH_TOPIC;
    struct fanq_request r = {
        .op = FANQ_OP_PUSH,
        .push = {.target = topic ? some_topic(w) : some_queue(w),
                 .target_kind = kind,
                 .mode = rng_chance(&w->rng, topic ? 95 : 40) ? FANQ_PUSH_AUTO : FANQ_PUSH_ACK,
                 .messages = rng_skewed(&w->rng, 0, 1000),
                 .bytes = rng_skewed(&w->rng, 0, 1000000),
                 .visibility_ms = some_visibility_ms(w)}};

    client_request(w, connection, &r);
}

/* A push of the connection, or an id that is none. */
static uint64_t some_push(struct workload *w, uint32_t connection)
{
    uint32_t skip = rng_below(&w->rng, 4);
    uint64_t id = oracle_next_id(&w->oracle, connection);

    for (uint32_t i = 0; i < w->oracle.waiter_count; i++) {
        const struct waiter *k = w->oracle.waiters[i];

        if (k->op != FANQ_OP_PUSH || k->connection != connection)
            continue;
        id = k->id;
        if (skip-- == 0)
            break;
    }
    return id;
}

static void do_credit(struct workload *w, uint32_t connection)
{
    struct fanq_request r = {
        .op = FANQ_OP_CREDIT,
        .credit = {some_push(w, connection), rng_skewed(&w->rng, 0, 500), rng_skewed(&w->rng, 0, 500000)}};

    client_request(w, connection, &r);
}

/* ---- settling what was received ---- */

enum { SETTLE_RANGES_MAX = 8 };

/* A part of a hold, mostly all of it; now and then much more: what others hold, what nobody has read. */
static struct fanq_range some_range(struct workload *w, const struct hold *h)
{
    uint64_t first = rng_chance(&w->rng, 60) ? 0 : rng_below(&w->rng, (uint32_t)h->count);
    uint64_t left = h->count - first;
    uint64_t count = rng_chance(&w->rng, 60) ? left : 1 + rng_below(&w->rng, (uint32_t)left);

    first += h->first;
    if (rng_chance(&w->rng, 3)) {
        uint64_t more = rng_skewed(&w->rng, 0, 500);

        first -= more < first ? more : first;
        count += 2 * more;
    }
    return (struct fanq_range){h->stream + (rng_chance(&w->rng, 1) ? 1000 : 0), first, count};
}

static void hold_forget(struct holds *holds, uint64_t index)
{
    holds->items[index] = holds->items[--holds->count];
}

/* Nack, extend and ack speak of one batch; who acks may be somebody else, late, or do it twice. */
static void do_settle(struct workload *w, uint32_t connection, enum fanq_op op)
{
    uint32_t holder = rng_chance(&w->rng, 90) ? connection : rng_below(&w->rng, w->connection_count);
    struct holds *holds = &w->oracle.connections[holder].given;
    struct fanq_request r = {.op = op};
    uint32_t range_count = 0, wanted = rng_skewed(&w->rng, 1, SETTLE_RANGES_MAX);
    struct fanq_writer writer;
    uint64_t index;

    if (holds->count == 0)
        return;
    index = rng_chance(&w->rng, 80) && holds->count > 16 ? holds->count - 1 - rng_below(&w->rng, 16)
                                                         : rng_below(&w->rng, (uint32_t)holds->count);
    writer = fanq_writer_over(sim_request_bytes(w->sim, SETTLE_RANGES_MAX * 27), SETTLE_RANGES_MAX * 27);
    r.change.queue_id = holds->items[index].queue_id;
    r.change.batch = holds->items[index].batch;
    while (range_count < wanted && index < holds->count && holds->items[index].batch == r.change.batch) {
        struct fanq_range range = some_range(w, &holds->items[index]);

        fanq_write_uint(&writer, range.stream);
        fanq_write_uint(&writer, range.first);
        fanq_write_uint(&writer, range.count);
        range_count++;
        if (rng_chance(&w->rng, 80) && op == FANQ_OP_ACK)
            hold_forget(holds, index); /* the one that takes its place may be of the same batch */
        else
            index++;
    }
    r.change.ranges =
        fanq_ranges_over((struct fanq_bytes){writer.start, fanq_writer_length(&writer)}, range_count);
    if (op != FANQ_OP_ACK && rng_chance(&w->rng, 70))
        r.change.time_ms = rng_skewed(&w->rng, 0, w->visibility_ms_max);
    client_request(w, connection, &r);
}

/* ---- the catalogue ---- */

static void do_queue_attributes(struct workload *w, uint32_t connection, enum fanq_op op)
{
    struct fanq_request r = {.op = op, .queue = {.name = some_queue(w)}};

    if (rng_chance(&w->rng, 60)) {
        r.queue.attributes.set |= 1u << FANQ_QUEUE_VISIBILITY_MS;
        r.queue.attributes.visibility_ms = rng_skewed(&w->rng, 0, w->visibility_ms_max);
    }
    if (rng_chance(&w->rng, 30)) {
        r.queue.attributes.set |= 1u << FANQ_QUEUE_RECEIVE_WAIT_MS;
        r.queue.attributes.receive_wait_ms = rng_skewed(&w->rng, 0, w->wait_ms_max);
    }
    if (rng_chance(&w->rng, 40)) {
        r.queue.attributes.set |= 1u << FANQ_QUEUE_EARLY_DELIVERY;
        r.queue.attributes.early_delivery = rng_chance(&w->rng, 50);
    }
    client_request(w, connection, &r);
}

void client_name(struct workload *w, uint32_t connection, enum fanq_op op, struct fanq_bytes name)
{
    client_request(w, connection, &(struct fanq_request){.op = op, .name = name});
}

static void do_subscription(struct workload *w, uint32_t connection, enum fanq_op op)
{
    client_request(w, connection,
                   &(struct fanq_request){.op = op, .subscription = {some_topic(w), some_queue(w)}});
}

static void do_list(struct workload *w, uint32_t connection)
{
    static const enum fanq_op ops[] = {FANQ_OP_QUEUE_LIST, FANQ_OP_TOPIC_LIST, FANQ_OP_SUBSCRIPTION_LIST};
    struct fanq_request r = {.op = ops[rng_below(&w->rng, 3)]};

    if (r.op == FANQ_OP_SUBSCRIPTION_LIST)
        r.subscription_list = (struct fanq_subscription_list){.topic = some_topic(w), .limit = 100};
    else
        r.list = (struct fanq_list){.limit = 100};
    client_request(w, connection, &r);
}

static void do_peek(struct workload *w, uint32_t connection)
{
    client_request(w, connection,
                   &(struct fanq_request){.op = FANQ_OP_PEEK,
                                          .peek = {.queue = some_queue(w),
                                                   .messages_max = rng_skewed(&w->rng, 1, 1000),
                                                   .bytes_max = rng_skewed(&w->rng, 1, 1000000),
                                                   .states = FANQ_STATE_ALL}});
}

/* ---- connections ---- */

static void do_block(struct workload *w, uint32_t connection, bool blocked)
{
    enum event_kind kind = blocked ? EVENT_BLOCKED : EVENT_WRITABLE;

    if (w->trace != NULL)
        trace_connection(w->trace, w->sim, connection, kind);
    sim_carry_out(w->sim);
    oracle_block(&w->oracle, connection, blocked);
    sim_connection_event(w->sim, kind, connection);
}

void client_disconnect(struct workload *w, uint32_t connection)
{
    if (w->trace != NULL)
        trace_connection(w->trace, w->sim, connection, EVENT_DISCONNECT);
    sim_carry_out(w->sim);
    oracle_disconnect(&w->oracle, connection);
    sim_connection_event(w->sim, EVENT_DISCONNECT, connection);
}

/* ---- choosing ---- */

void client_do(struct workload *w, enum op op, uint32_t connection)
{
    static const enum fanq_op requests[OPS] = {
        [OP_SEND] = FANQ_OP_SEND,
        [OP_PUBLISH] = FANQ_OP_PUBLISH,
        [OP_ACK] = FANQ_OP_ACK,
        [OP_NACK] = FANQ_OP_NACK,
        [OP_EXTEND] = FANQ_OP_EXTEND,
        [OP_PURGE] = FANQ_OP_PURGE,
        [OP_QUEUE_CREATE] = FANQ_OP_QUEUE_CREATE,
        [OP_QUEUE_SET] = FANQ_OP_QUEUE_SET,
        [OP_QUEUE_GET] = FANQ_OP_QUEUE_GET,
        [OP_QUEUE_DELETE] = FANQ_OP_QUEUE_DELETE,
        [OP_TOPIC_CREATE] = FANQ_OP_TOPIC_CREATE,
        [OP_TOPIC_GET] = FANQ_OP_TOPIC_GET,
        [OP_TOPIC_DELETE] = FANQ_OP_TOPIC_DELETE,
        [OP_SUBSCRIBE] = FANQ_OP_SUBSCRIBE,
        [OP_UNSUBSCRIBE] = FANQ_OP_UNSUBSCRIBE,
        [OP_PING] = FANQ_OP_PING,
    };

    switch (op) {
    case OP_SEND:
    case OP_PUBLISH:
        client_publish(w, connection, requests[op]);
        break;
    case OP_RECEIVE:
        client_receive(w, connection);
        break;
    case OP_PUSH:
        client_push(w, connection, FANQ_PUSH_QUEUE);
        break;
    case OP_PUSH_TOPIC:
        client_push(w, connection, FANQ_PUSH_TOPIC);
        break;
    case OP_CREDIT:
        do_credit(w, connection);
        break;
    case OP_PUSH_STOP:
        client_request(
            w, connection,
            &(struct fanq_request){.op = FANQ_OP_PUSH_STOP, .push_stop = some_push(w, connection)});
        break;
    case OP_ACK:
    case OP_NACK:
    case OP_EXTEND:
        do_settle(w, connection, requests[op]);
        break;
    case OP_PEEK:
        do_peek(w, connection);
        break;
    case OP_QUEUE_CREATE:
    case OP_QUEUE_SET:
        do_queue_attributes(w, connection, requests[op]);
        break;
    case OP_PURGE:
    case OP_QUEUE_GET:
    case OP_QUEUE_DELETE:
        client_name(w, connection, requests[op], some_queue(w));
        break;
    case OP_TOPIC_CREATE:
    case OP_TOPIC_GET:
    case OP_TOPIC_DELETE:
        client_name(w, connection, requests[op], some_topic(w));
        break;
    case OP_SUBSCRIBE:
    case OP_UNSUBSCRIBE:
        do_subscription(w, connection, requests[op]);
        break;
    case OP_LIST:
        do_list(w, connection);
        break;
    case OP_PING:
        client_request(w, connection, &(struct fanq_request){.op = FANQ_OP_PING});
        break;
    case OP_BLOCK:
        do_block(w, connection, true);
        break;
    case OP_WRITABLE:
        do_block(w, connection, false);
        break;
    case OP_DISCONNECT:
        client_disconnect(w, connection);
        break;
    case OPS:
        break;
    }
}

enum op client_some_op(struct workload *w)
{
    uint32_t lot = rng_below(&w->rng, w->weight_sum);
    uint32_t op = 0;

    while (lot >= w->weights[op])
        lot -= w->weights[op++];
    return (enum op)op;
}
