#include "workload.h"

#include <string.h>

#include "log/pages.h"
#include "oracle.h"
#include "trace.h"

enum op {
    OP_SEND,
    OP_PUBLISH,
    OP_RECEIVE,
    OP_PUSH,
    OP_PUSH_TOPIC,
    OP_CREDIT,
    OP_PUSH_STOP,
    OP_ACK,
    OP_NACK,
    OP_EXTEND,
    OP_PEEK,
    OP_PURGE,
    OP_QUEUE_CREATE,
    OP_QUEUE_SET,
    OP_QUEUE_GET,
    OP_QUEUE_DELETE,
    OP_TOPIC_CREATE,
    OP_TOPIC_GET,
    OP_TOPIC_DELETE,
    OP_SUBSCRIBE,
    OP_UNSUBSCRIBE,
    OP_LIST,
    OP_PING,
    OP_BLOCK,
    OP_WRITABLE,
    OP_DISCONNECT,
    OPS
};

/* What is common in a long life of a broker; each seed multiplies each of these with a factor of its
 * own. */
static const uint32_t usual_weights[OPS] = {
    [OP_SEND] = 120,       [OP_PUBLISH] = 120, [OP_RECEIVE] = 200,    [OP_PUSH] = 12,
    [OP_PUSH_TOPIC] = 6,   [OP_CREDIT] = 40,   [OP_PUSH_STOP] = 4,    [OP_ACK] = 220,
    [OP_NACK] = 40,        [OP_EXTEND] = 40,   [OP_PEEK] = 6,         [OP_PURGE] = 1,
    [OP_QUEUE_CREATE] = 8, [OP_QUEUE_SET] = 3, [OP_QUEUE_GET] = 12,   [OP_QUEUE_DELETE] = 1,
    [OP_TOPIC_CREATE] = 4, [OP_TOPIC_GET] = 3, [OP_TOPIC_DELETE] = 1, [OP_SUBSCRIBE] = 12,
    [OP_UNSUBSCRIBE] = 3,  [OP_LIST] = 2,      [OP_PING] = 1,         [OP_BLOCK] = 6,
    [OP_WRITABLE] = 12,    [OP_DISCONNECT] = 3};

/* What the tail may keep for the next commits when everything is deleted. */
enum { TAIL_WARM_BYTES_MAX = (PAGES_WARM_MAX + 1) * TAIL_PAGE_BYTES };

struct workload {
    struct rng rng;
    struct sim *sim;
    struct oracle oracle;
    FILE *trace;
    uint32_t weights[OPS], weight_sum;
    uint32_t queue_count, topic_count, connection_count;
    uint32_t batch_max, record_bytes_max;
    uint32_t visibility_ms_max, wait_ms_max, step_ms_max;
    uint32_t turn_ops_max;
    uint32_t backlog_max; /* above it, less is sent */
};

/* ---- making requests ---- */

static void make(struct workload *w, uint32_t connection, struct fanq_request *r)
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

/* A queue that a request made by the way is asked for its number, by which deliveries name it. */
static void learn_ids(struct workload *w, uint32_t connection)
{
    for (uint32_t slot = 0; slot < ORACLE_QUEUES; slot++)
        if (w->oracle.queues[slot] != NULL && w->oracle.queues[slot]->id == 0)
            make(w, connection,
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

static void do_publish(struct workload *w, uint32_t connection, enum fanq_op op)
{
    struct fanq_request r = {.op = op,
                             .publish = {.target = op == FANQ_OP_SEND ? some_queue(w) : some_topic(w),
                                         .flags = rng_chance(&w->rng, 30) ? FANQ_PUBLISH_WANT_IDS : 0}};
    uint64_t backlog = w->oracle.published * 3 / 2 - w->oracle.deleted;

    if (backlog > w->backlog_max && w->oracle.published > w->oracle.deleted && rng_chance(&w->rng, 70))
        return;
    r.publish.records = some_records(w);
    make(w, connection, &r);
}

static void do_receive(struct workload *w, uint32_t connection)
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
    make(w, connection, &r);
}

static void do_push(struct workload *w, uint32_t connection, enum fanq_push_target kind)
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

    make(w, connection, &r);
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

    make(w, connection, &r);
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
    make(w, connection, &r);
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
    make(w, connection, &r);
}

static void do_named(struct workload *w, uint32_t connection, enum fanq_op op, struct fanq_bytes name)
{
    make(w, connection, &(struct fanq_request){.op = op, .name = name});
}

static void do_subscription(struct workload *w, uint32_t connection, enum fanq_op op)
{
    make(w, connection, &(struct fanq_request){.op = op, .subscription = {some_topic(w), some_queue(w)}});
}

static void do_list(struct workload *w, uint32_t connection)
{
    static const enum fanq_op ops[] = {FANQ_OP_QUEUE_LIST, FANQ_OP_TOPIC_LIST, FANQ_OP_SUBSCRIPTION_LIST};
    struct fanq_request r = {.op = ops[rng_below(&w->rng, 3)]};

    if (r.op == FANQ_OP_SUBSCRIPTION_LIST)
        r.subscription_list = (struct fanq_subscription_list){.topic = some_topic(w), .limit = 100};
    else
        r.list = (struct fanq_list){.limit = 100};
    make(w, connection, &r);
}

static void do_peek(struct workload *w, uint32_t connection)
{
    make(w, connection,
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

static void do_disconnect(struct workload *w, uint32_t connection)
{
    if (w->trace != NULL)
        trace_connection(w->trace, w->sim, connection, EVENT_DISCONNECT);
    sim_carry_out(w->sim);
    oracle_disconnect(&w->oracle, connection);
    sim_connection_event(w->sim, EVENT_DISCONNECT, connection);
}

/* ---- choosing ---- */

static void do_op(struct workload *w, enum op op, uint32_t connection)
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
        do_publish(w, connection, requests[op]);
        break;
    case OP_RECEIVE:
        do_receive(w, connection);
        break;
    case OP_PUSH:
        do_push(w, connection, FANQ_PUSH_QUEUE);
        break;
    case OP_PUSH_TOPIC:
        do_push(w, connection, FANQ_PUSH_TOPIC);
        break;
    case OP_CREDIT:
        do_credit(w, connection);
        break;
    case OP_PUSH_STOP:
        make(w, connection,
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
        do_named(w, connection, requests[op], some_queue(w));
        break;
    case OP_TOPIC_CREATE:
    case OP_TOPIC_GET:
    case OP_TOPIC_DELETE:
        do_named(w, connection, requests[op], some_topic(w));
        break;
    case OP_SUBSCRIBE:
    case OP_UNSUBSCRIBE:
        do_subscription(w, connection, requests[op]);
        break;
    case OP_LIST:
        do_list(w, connection);
        break;
    case OP_PING:
        make(w, connection, &(struct fanq_request){.op = FANQ_OP_PING});
        break;
    case OP_BLOCK:
        do_block(w, connection, true);
        break;
    case OP_WRITABLE:
        do_block(w, connection, false);
        break;
    case OP_DISCONNECT:
        do_disconnect(w, connection);
        break;
    case OPS:
        break;
    }
}

static enum op some_op(struct workload *w)
{
    uint32_t lot = rng_below(&w->rng, w->weight_sum);
    uint32_t op = 0;

    while (lot >= w->weights[op])
        lot -= w->weights[op++];
    return (enum op)op;
}

/* Mostly the shell wakes when the core asked it to, or before; now and then it is late. */
static void time_pass(struct workload *w)
{
    uint64_t next_ms = core_next_ms(w->sim->core);
    uint32_t step_ms = rng_skewed(&w->rng, 0, w->step_ms_max);

    if (rng_chance(&w->rng, 85) && next_ms < w->sim->now_ms + step_ms)
        step_ms = next_ms > w->sim->now_ms ? (uint32_t)(next_ms - w->sim->now_ms) : 0;
    sim_advance_ms(w->sim, step_ms);
}

static void some_turn(struct workload *w, uint32_t *ops_left)
{
    uint32_t ops = rng_chance(&w->rng, 15) ? 0 : rng_skewed(&w->rng, 1, w->turn_ops_max);

    if (ops > *ops_left)
        ops = *ops_left;
    *ops_left -= ops;
    time_pass(w);
    oracle_turn(&w->oracle);
    for (uint32_t i = 0; i < ops; i++) {
        uint32_t connection = rng_below(&w->rng, w->connection_count);

        do_op(w, some_op(w), connection);
        learn_ids(w, connection);
    }
    oracle_turn_end(&w->oracle);
}

/* ---- the end: faults stop, everything left is delivered and deleted ---- */

static void quiet_turn(struct workload *w)
{
    uint64_t next_ms = core_next_ms(w->sim->core);

    if (next_ms != UINT64_MAX && next_ms > w->sim->now_ms)
        sim_advance_ms(w->sim, next_ms - w->sim->now_ms);
    oracle_turn(&w->oracle);
}

static void faults_stop(struct workload *w)
{
    oracle_turn(&w->oracle);
    sim_faults_stop(w->sim);
    for (uint32_t i = 0; i < ORACLE_CONNECTIONS; i++)
        do_disconnect(w, i);
    oracle_turn_end(&w->oracle);
}

static void receive_all(struct workload *w, uint32_t slot)
{
    make(w, 0,
         &(struct fanq_request){.op = FANQ_OP_RECEIVE,
                                .receive = {.queues = {oracle_queue_name(slot)},
                                            .queue_count = 1,
                                            .messages_max = UINT32_MAX,
                                            .bytes_max = UINT32_MAX,
                                            .visibility_ms = FANQ_QUEUE_DEFAULT}});
}

static void ack_all(struct workload *w, uint32_t connection)
{
    struct holds *holds = &w->oracle.connections[connection].given;

    while (holds->count > 0) {
        const struct hold *h = &holds->items[--holds->count];
        struct fanq_request r = {.op = FANQ_OP_ACK, .change = {.queue_id = h->queue_id, .batch = h->batch}};
        struct fanq_writer writer = fanq_writer_over(sim_request_bytes(w->sim, 27), 27);

        fanq_write_uint(&writer, h->stream);
        fanq_write_uint(&writer, h->first);
        fanq_write_uint(&writer, h->count);
        r.change.ranges = fanq_ranges_over((struct fanq_bytes){writer.start, fanq_writer_length(&writer)}, 1);
        make(w, connection, &r);
    }
}

static uint64_t left_in(const struct book_queue *q)
{
    return q->counts[MESSAGE_PENDING] + q->counts[MESSAGE_READY] + q->counts[MESSAGE_HELD] +
           q->counts[MESSAGE_DELAYED];
}

static void queue_empty(struct workload *w, uint32_t slot)
{
    for (uint32_t turns = 0; left_in(w->oracle.queues[slot]) > 0; turns++) {
        SIM_CHECK(turns < 200000, "queue %u does not get empty", slot);
        quiet_turn(w);
        ack_all(w, 0);
        receive_all(w, slot);
        oracle_turn_end(&w->oracle);
    }
}

static void tail_is_empty(const struct workload *w)
{
    struct tail_figures figures;

    tail_figures(w->sim->tail, &figures);
    SIM_CHECK(figures.live_blocks == 0 && figures.held_bytes <= TAIL_WARM_BYTES_MAX,
              "everything is deleted, the tail holds %lu blocks and %lu bytes", figures.live_blocks,
              figures.held_bytes);
}

static void everything_goes(struct workload *w)
{
    struct core_figures figures;

    quiet_turn(w);
    for (uint32_t i = 0; i < ORACLE_QUEUES; i++)
        do_named(w, 0, FANQ_OP_QUEUE_DELETE, oracle_queue_name(i));
    for (uint32_t i = 0; i < ORACLE_TOPICS; i++)
        do_named(w, 0, FANQ_OP_TOPIC_DELETE, oracle_topic_name(i));
    oracle_turn_end(&w->oracle);
    core_figures(w->sim->core, &figures);
    SIM_CHECK(figures.queues == 0 && figures.topics == 0 && figures.subscriptions == 0 &&
                  figures.streams == 0 && figures.waiters == 0 && figures.in_flight == 0,
              "something is left of %lu streams, %lu waiters, %lu in flight", figures.streams,
              figures.waiters, figures.in_flight);
}

static void drain(struct workload *w)
{
    quiet_turn(w);
    do_push(w, 0, FANQ_PUSH_QUEUE);
    do_receive(w, 1 % w->connection_count);
    sim_carry_out(w->sim);
    oracle_drain(&w->oracle);
    sim_drain(w->sim);
    sim_carry_out(w->sim);
    do_receive(w, 0);
    do_publish(w, 0, FANQ_OP_SEND);
    oracle_turn_end(&w->oracle);
}

static void wind_up(struct workload *w)
{
    faults_stop(w);
    for (uint32_t slot = 0; slot < ORACLE_QUEUES; slot++)
        if (w->oracle.queues[slot] != NULL)
            queue_empty(w, slot);
    quiet_turn(w);
    oracle_turn_end(&w->oracle);
    core_check(w->sim->core);
    tail_is_empty(w);
    if (rng_chance(&w->rng, 50))
        drain(w);
    everything_goes(w);
    core_check(w->sim->core);
}

/* ---- tempers ---- */

static uint32_t one_of(struct rng *r, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    uint32_t of[] = {a, b, c, d};

    return of[rng_below(r, 4)];
}

static void weights_choose(struct workload *w)
{
    for (uint32_t op = 0; op < OPS; op++) {
        uint32_t factor = one_of(&w->rng, 1, 2, 4, 8);

        if (rng_chance(&w->rng, 15) && op != OP_SEND && op != OP_RECEIVE && op != OP_QUEUE_CREATE &&
            op != OP_WRITABLE)
            factor = 0;
        w->weights[op] = usual_weights[op] * factor;
        w->weight_sum += w->weights[op];
    }
}

static void temper_choose(struct workload *w)
{
    struct rng *r = &w->rng;

    w->queue_count = rng_skewed(r, 1, ORACLE_QUEUES);
    w->topic_count = rng_skewed(r, 1, ORACLE_TOPICS);
    w->connection_count = rng_between(r, 1, ORACLE_CONNECTIONS);
    w->batch_max = one_of(r, 1, 4, 16, 64);
    w->record_bytes_max = one_of(r, 40, 200, 2000, 90000);
    w->visibility_ms_max = one_of(r, 20, 300, 5000, 60000);
    w->wait_ms_max = one_of(r, 10, 200, 2000, 30000);
    w->step_ms_max = one_of(r, 2, 20, 200, 5000);
    w->turn_ops_max = one_of(r, 1, 10, 30, 100);
    w->backlog_max = one_of(r, 20, 200, 1000, 5000);
    weights_choose(w);
}

static struct sim_options faults_choose(struct rng *r, uint64_t seed)
{
    struct sim_options options = sim_options_default(seed);

    options.core.epoch = rng_between(r, 1, 1000);
    options.core.connections_max = ORACLE_CONNECTIONS;
    options.core.auto_create = rng_chance(r, 40);
    options.core.waiters_per_connection_max = one_of(r, 3, 1000, 1000, 1000);
    options.core.in_flight_per_queue_max = one_of(r, 7, 120000, 120000, 300);
    options.core.ephemeral_backlog_messages_max = one_of(r, 1, 50, 1000, 100000);
    options.core.ephemeral_backlog_bytes_max = one_of(r, 1000, 100000, 1000000, 100000000);
    options.tail_bytes_max = one_of(r, 4, 16, 64, 64) << 20;
    options.sync_delay_turns_max = one_of(r, 0, 0, 1, 6);
    options.absent_percent = one_of(r, 0, 0, 30, 100);
    options.absent_age_ms_max = one_of(r, 0, 100, 1000, 10000);
    options.fetch_delay_ms_max = one_of(r, 0, 5, 50, 1000);
    options.slow_percent = one_of(r, 0, 0, 5, 50);
    options.late_effects_percent = one_of(r, 0, 0, 50, 90);
    return options;
}

/* In some seeds memory is short from time to time. */
static void memory_change(struct workload *w, bool short_of_memory)
{
    if (short_of_memory && rng_chance(&w->rng, 10))
        w->sim->room_bytes_max = rng_chance(&w->rng, 50) ? UINT64_MAX : rng_skewed(&w->rng, 0, 5000);
}

static void on_effect(void *context, const struct effect *effect)
{
    struct workload *w = context;

    if (w->trace != NULL)
        trace_effect(w->trace, w->sim, effect);
    oracle_effect(&w->oracle, effect);
}

void workload_run(const struct workload_options *options, struct workload_result *ret_result)
{
    struct workload w = {.rng = {options->seed}, .trace = options->trace};
    struct sim_options sim = faults_choose(&w.rng, options->seed);
    uint32_t ops_left = options->ops, check_below = ops_left;
    bool short_of_memory = rng_chance(&w.rng, 30);

    sim.on_effect = on_effect;
    sim.context = &w;
    temper_choose(&w);
    w.sim = sim_new(&sim);
    oracle_init(&w.oracle, w.sim);
    while (ops_left > 0) {
        memory_change(&w, short_of_memory);
        some_turn(&w, &ops_left);
        if (ops_left < check_below) {
            core_check(w.sim->core);
            check_below = ops_left < 500 ? 0 : ops_left - 500;
        }
    }
    wind_up(&w);
    *ret_result = (struct workload_result){w.sim->turn, w.oracle.published, w.oracle.delivered,
                                           w.oracle.deleted, w.sim->now_ms};
    oracle_close(&w.oracle);
    sim_free(w.sim);
}
