/* Queues against a model that is as simple as it can be: a list of messages for each state.
 *
 * Idea:    where all messages are in memory nothing is left to chance, so the model foretells each
 *          delivery to the message: which, in which order, how often delivered before; each count; each
 *          answer of nack and extend.
 * Model:   a queue is a list of what came back, a list of what is unread in order of arrival, and one
 *          list a batch in flight or delay. A message is in one of them or gone. A receive takes from
 *          the first two until the next message does not fit.
 * Order:   what was delivered before joins its predecessor in the new batch if that has the same
 *          history, else it goes to the end; so do messages that are moved or come back, all in order of
 *          their numbers within a range. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model_queue.h"
#include "sim.h"

enum {
    QUEUES = 4,
    ROUND_OPS = 50000, /* then everything begins anew, with an empty core */
    RECORD_BYTES = 14,
    RECORD_BYTES_MAX = 200,
    PENDING_MAX = 64,
    RANGES_MAX = 8
};

struct receive {
    uint64_t id, messages_max, bytes_max, visibility_ms;
    struct queue *queue;
    bool auto_delete;
};

/* Something a receive gave: what is acked, nacked, extended later. */
struct given {
    uint64_t queue_id, batch, stream, first, count;
    uint32_t queue_index, stream_index;
};

struct model {
    struct rng rng;
    struct sim *sim;
    uint32_t queue_count;
    struct queue *queues[QUEUES];
    uint64_t topic_seq[TOPICS];
    uint32_t staged[TOPICS + QUEUES], staged_count; /* what was published to in this turn, in order */
    struct receive receives[PENDING_MAX];           /* of this turn */
    uint32_t receive_count;
    struct given *given;
    uint64_t given_count, given_capacity;
    uint64_t next_id, next_uid;
    uint64_t answer; /* of the request under way: CHANGED */
    int answer_err;
    uint64_t ops;
};

/* ---- receiving ---- */

static void given_add(struct model *m, const struct given *given)
{
    if (m->given_count == m->given_capacity) {
        m->given_capacity = m->given_capacity * 2 + 256;
        m->given = realloc(m->given, m->given_capacity * sizeof(*m->given));
        SIM_CHECK(m->given != NULL, "out of memory");
    }
    m->given[m->given_count++] = *given;
}

static uint32_t index_of(const struct model *m, const struct queue *q)
{
    uint32_t i = 0;

    while (m->queues[i] != q)
        i++;
    return i;
}

/* Takes the messages of the slice from the model; they must be just these. */
static void slice_compare(struct model *m, struct receive *r, const struct fanq_delivery *d,
                          const struct fanq_slice *slice, struct place *batch)
{
    const uint8_t *at = slice->records.data;
    struct message *message = NULL;

    for (uint32_t i = 0; i < slice->records.count; i++) {
        uint64_t uid;

        message = model_next(r->queue);
        memcpy(&uid, at + FANQ_RECORD_PLAIN_BYTES, sizeof(uid));
        SIM_CHECK(message != NULL, "message %lu is delivered, the model has none", uid);
        SIM_CHECK(message->uid == uid && message->seq == slice->first_seq + i &&
                      message->deliveries + 1 == slice->deliveries &&
                      message->first_receive_ms == slice->first_receive_ms,
                  "message %lu (seq %lu, delivery %u) is delivered, the model has %lu (seq %lu, delivery %u)",
                  uid, slice->first_seq + i, slice->deliveries, message->uid, message->seq,
                  message->deliveries + 1);
        SIM_CHECK(r->messages_max > 0 && message->bytes <= r->bytes_max,
                  "more than was asked for is delivered");
        r->messages_max--;
        r->bytes_max -= message->bytes;
        model_take(r->queue, message, batch, m->sim->wall_ms);
        at += fanq_record_length(at);
    }
    if (batch != NULL)
        given_add(m, &(struct given){r->queue->id, d->batch, slice->stream, slice->first_seq,
                                     slice->records.count, index_of(m, r->queue), message->stream});
}

/* One message is given whatever its size. */
static void first_fits(struct receive *r)
{
    struct message *first = model_next(r->queue);

    if (first != NULL && r->bytes_max < first->bytes)
        r->bytes_max = first->bytes;
}

static void delivery_compare(struct model *m, struct receive *r, const struct fanq_delivery *d)
{
    struct place *batch = NULL;
    const struct message *next;
    uint64_t count = 0;

    first_fits(r);
    if (d->slice_count > 0 && !r->auto_delete)
        batch = model_timed_new(r->queue, d->batch, m->sim->now_ms + r->visibility_ms);
    for (uint32_t i = 0; i < d->slice_count; i++) {
        slice_compare(m, r, d, &d->slices[i], batch);
        count += d->slices[i].records.count;
    }
    next = model_next(r->queue);
    SIM_CHECK(next == NULL || r->messages_max == 0 || next->bytes > r->bytes_max,
              "receive %lu gets %lu messages, the model would give more", r->id, count);
    r->queue->delivered += count;
    r->queue->deleted += r->auto_delete ? count : 0;
}

static void receive_answered(struct model *m, const struct fanq_reply *reply)
{
    for (uint32_t i = 0; i < m->receive_count; i++) {
        struct receive *r = &m->receives[i];

        if (r->queue == NULL)
            continue;
        if (r->id == reply->id) {
            delivery_compare(m, r, &reply->deliver);
            r->queue = NULL;
            return;
        }
        /* One that stands before it in the same line was answered before. */
        for (uint32_t j = i + 1; j < m->receive_count; j++)
            SIM_CHECK(m->receives[j].id != reply->id || m->receives[j].queue != r->queue ||
                          reply->deliver.slice_count == 0,
                      "receive %lu is served before %lu", reply->id, r->id);
    }
    sim_fail("receive %lu is answered, but does not wait", reply->id);
}

static void queue_compare(struct model *m, const struct fanq_queue_reply *r)
{
    struct queue *q = m->queues[r->name.data[1] - '0'];
    uint64_t staged = 0;

    for (uint32_t i = 0; i < STREAMS; i++)
        staged += q->staged[i].count;
    SIM_CHECK(q->id == 0 || q->id == r->queue_id, "a queue has changed its id");
    q->id = r->queue_id;
    SIM_CHECK(r->visible == q->again.count + q->unread.count && r->in_flight == model_timed_count(q, true) &&
                  r->delayed == model_timed_count(q, false),
              "%lu visible, %lu in flight, %lu delayed; the model has %lu, %lu, %lu", r->visible,
              r->in_flight, r->delayed, q->again.count + q->unread.count, model_timed_count(q, true),
              model_timed_count(q, false));
    SIM_CHECK(r->sent == q->sent - staged && r->delivered == q->delivered && r->deleted == q->deleted,
              "%lu sent, %lu delivered, %lu deleted; the model has %lu, %lu, %lu", r->sent, r->delivered,
              r->deleted, q->sent - staged, q->delivered, q->deleted);
}

static void on_effect(void *context, const struct effect *e)
{
    struct model *m = context;

    if (e->kind != EFFECT_REPLY && e->kind != EFFECT_DELIVER)
        return;
    switch (e->reply.op) {
    case FANQ_REPLY_DELIVER:
        receive_answered(m, &e->reply);
        break;
    case FANQ_REPLY_QUEUE:
        queue_compare(m, &e->reply.queue);
        break;
    case FANQ_REPLY_CHANGED:
        m->answer = e->reply.changed;
        break;
    case FANQ_REPLY_ERROR:
        m->answer_err = e->reply.error.err;
        break;
    default:
        break;
    }
}

/* ---- operations ---- */

static struct fanq_bytes queue_name(uint32_t index)
{
    static const char names[] = "q0q1q2q3";

    return (struct fanq_bytes){(const uint8_t *)names + 2 * index, 2};
}

static struct fanq_bytes topic_name(uint32_t index)
{
    static const char names[] = "t0t1";

    return (struct fanq_bytes){(const uint8_t *)names + 2 * index, 2};
}

static void request(struct model *m, struct fanq_request *r)
{
    r->id = ++m->next_id;
    m->answer_err = 0;
    sim_request(m->sim, 0, r);
    SIM_CHECK(m->answer_err == 0, "%s is refused: %d", fanq_op_name(r->op), m->answer_err);
}

static void do_queue_create(struct model *m, uint32_t index)
{
    uint64_t visibility_ms = rng_between(&m->rng, 0, 100);

    m->queues[index] = model_queue_new(visibility_ms);
    request(m, &(struct fanq_request){
                   .op = FANQ_OP_QUEUE_CREATE,
                   .queue = {queue_name(index),
                             {.set = 1u << FANQ_QUEUE_VISIBILITY_MS, .visibility_ms = visibility_ms}}});
}

static void write_record(uint8_t *at, uint64_t uid, uint32_t bytes)
{
    memset(at, 0, bytes);
    at[0] = 0xc6;
    at[4] = (uint8_t)(bytes - FANQ_RECORD_HEADER_BYTES);
    memcpy(at + FANQ_RECORD_PLAIN_BYTES, &uid, sizeof(uid));
}

/* Topics first, then queues. */
static void stage(struct model *m, uint32_t target)
{
    for (uint32_t i = 0; i < m->staged_count; i++)
        if (m->staged[i] == target)
            return;
    m->staged[m->staged_count++] = target;
}

static void unstage(struct model *m, uint32_t target)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < m->staged_count; i++)
        if (m->staged[i] != target)
            m->staged[kept++] = m->staged[i];
    m->staged_count = kept;
}

static void do_publish(struct model *m, bool to_topic)
{
    uint32_t index = rng_below(&m->rng, to_topic ? TOPICS : m->queue_count),
             count = rng_skewed(&m->rng, 1, rng_chance(&m->rng, 3) ? 600 : 8);
    struct fanq_request r = {.op = to_topic ? FANQ_OP_PUBLISH : FANQ_OP_SEND,
                             .publish = {.target = to_topic ? topic_name(index) : queue_name(index)}};
    uint8_t *at = sim_request_bytes(m->sim, count * RECORD_BYTES_MAX);

    stage(m, to_topic ? index : TOPICS + index);
    r.publish.records = (struct fanq_records){.data = at, .count = count};
    for (uint32_t i = 0; i < count; i++) {
        uint32_t bytes = rng_skewed(&m->rng, RECORD_BYTES, RECORD_BYTES_MAX);
        uint64_t uid = ++m->next_uid, seq = to_topic ? m->topic_seq[index]++ : m->queues[index]->own_seq++;

        write_record(at, uid, bytes);
        at += bytes;
        for (uint32_t q = 0; q < m->queue_count; q++)
            if (to_topic ? m->queues[q]->feeds[index].open : q == index)
                model_queue_stage(m->queues[q], to_topic ? index : OWN, seq, uid, bytes);
    }
    r.publish.records.length = (size_t)(at - r.publish.records.data);
    request(m, &r);
}

static void do_receive(struct model *m)
{
    uint32_t index = rng_below(&m->rng, m->queue_count);
    struct queue *q = m->queues[index];
    struct fanq_request r = {
        .op = FANQ_OP_RECEIVE,
        .receive = {.queues = {queue_name(index)},
                    .queue_count = 1,
                    .messages_max = rng_skewed(&m->rng, 1, 1000), /* fit in one delivery */
                    .bytes_max = rng_skewed(&m->rng, 1, 50000),
                    .visibility_ms =
                        rng_chance(&m->rng, 50) ? FANQ_QUEUE_DEFAULT : rng_skewed(&m->rng, 0, 200),
                    .flags = rng_chance(&m->rng, 5) ? FANQ_RECEIVE_AUTO_DELETE : 0}};

    if (m->receive_count == PENDING_MAX)
        return;
    m->receives[m->receive_count++] = (struct receive){
        .id = m->next_id + 1,
        .messages_max = r.receive.messages_max,
        .bytes_max = r.receive.bytes_max,
        .visibility_ms =
            r.receive.visibility_ms == FANQ_QUEUE_DEFAULT ? q->visibility_ms : r.receive.visibility_ms,
        .queue = q,
        .auto_delete = r.receive.flags != 0};
    request(m, &r);
}

/* ---- settling ---- */

static uint64_t range_change(struct queue *q, const struct given *g, uint64_t first, uint64_t count,
                             struct place *to)
{
    uint64_t changed = 0;

    for (uint64_t seq = first; seq < first + count; seq++) {
        struct message *m = model_message(&q->feeds[g->stream_index], seq);

        if (m == NULL || m->place == NULL || m->place->batch != g->batch || m->place == to)
            continue;
        model_move(m, to);
        changed++;
    }
    return changed;
}

static void range_ack(struct queue *q, const struct given *g, uint64_t first, uint64_t count)
{
    for (uint64_t seq = first; seq < first + count; seq++) {
        struct message *m = model_message(&q->feeds[g->stream_index], seq);

        if (m == NULL || m->place == NULL || m->deliveries == 0)
            continue;
        model_leave(m);
        q->deleted++;
    }
}

/* A part of what was given; now and then much more, to both sides. */
static struct fanq_range some_range(struct model *m, const struct given *g)
{
    uint64_t skip = rng_below(&m->rng, (uint32_t)g->count), left = g->count - skip;
    uint64_t take = rng_chance(&m->rng, 40) ? left : 1 + rng_below(&m->rng, (uint32_t)left);
    uint64_t first = g->first + skip, more = rng_chance(&m->rng, 3) ? rng_skewed(&m->rng, 0, 500) : 0;

    return (struct fanq_range){g->stream, more < first ? first - more : 0, take + 2 * more};
}

static void do_settle(struct model *m, enum fanq_op op)
{
    uint8_t packed[RANGES_MAX * 27];
    struct fanq_writer writer = fanq_writer_over(packed, sizeof(packed));
    struct fanq_request r = {.op = op};
    uint64_t index, changed = 0;
    struct queue *q;
    struct place *to = NULL;
    uint32_t count = 0;
    struct given g;

    if (m->given_count == 0)
        return;
    index = m->given_count - 1 - rng_skewed(&m->rng, 0, (uint32_t)m->given_count - 1);
    g = m->given[index];
    q = m->queues[g.queue_index];
    if (q->id != g.queue_id) {
        m->given[index] = m->given[--m->given_count]; /* of a queue that is no more */
        return;
    }
    r.change.queue_id = g.queue_id;
    r.change.batch = g.batch;
    r.change.time_ms = op == FANQ_OP_ACK || rng_chance(&m->rng, 30) ? 0 : rng_skewed(&m->rng, 1, 200);
    if (op != FANQ_OP_ACK)
        to = r.change.time_ms == 0
                 ? &q->again
                 : model_timed_new(q, op == FANQ_OP_EXTEND ? g.batch : 0, m->sim->now_ms + r.change.time_ms);
    for (uint32_t wanted = rng_skewed(&m->rng, 1, RANGES_MAX); count < wanted; count++) {
        struct fanq_range range = some_range(m, &g);

        fanq_write_uint(&writer, range.stream);
        fanq_write_uint(&writer, range.first);
        fanq_write_uint(&writer, range.count);
        if (op == FANQ_OP_ACK)
            range_ack(q, &g, range.first, range.count);
        else
            changed += range_change(q, &g, range.first, range.count, to);
    }
    model_timed_sweep(q);
    r.change.ranges = fanq_ranges_over((struct fanq_bytes){packed, fanq_writer_length(&writer)}, count);
    request(m, &r);
    SIM_CHECK(op == FANQ_OP_ACK || m->answer == changed, "%s changed %lu messages, in the model %lu",
              fanq_op_name(op), m->answer, changed);
    if (rng_chance(&m->rng, 30))
        m->given[index] = m->given[--m->given_count];
}

/* ---- the rest ---- */

static void do_subscription(struct model *m)
{
    uint32_t topic = rng_below(&m->rng, TOPICS), index = rng_below(&m->rng, m->queue_count);
    struct feed *f = &m->queues[index]->feeds[topic];

    f->open = !f->open;
    request(m, &(struct fanq_request){.op = f->open ? FANQ_OP_SUBSCRIBE : FANQ_OP_UNSUBSCRIBE,
                                      .subscription = {topic_name(topic), queue_name(index)}});
}

static bool is_awaited(const struct model *m, const struct queue *q)
{
    for (uint32_t i = 0; i < m->receive_count; i++)
        if (m->receives[i].queue == q)
            return true;
    return false;
}

static void do_queue_anew(struct model *m)
{
    uint32_t index = rng_below(&m->rng, m->queue_count);

    if (is_awaited(m, m->queues[index]))
        return;
    request(m, &(struct fanq_request){.op = FANQ_OP_QUEUE_DELETE, .name = queue_name(index)});
    model_queue_free(m->queues[index]);
    unstage(m, TOPICS + index);
    do_queue_create(m, index);
}

static void do_count(struct model *m)
{
    request(m, &(struct fanq_request){.op = FANQ_OP_QUEUE_GET,
                                      .name = queue_name(rng_below(&m->rng, m->queue_count))});
}

static void do_purge(struct model *m)
{
    uint32_t index = rng_below(&m->rng, m->queue_count);

    model_queue_purge(m->queues[index]);
    request(m, &(struct fanq_request){.op = FANQ_OP_PURGE, .name = queue_name(index)});
}

static void some_op(struct model *m)
{
    uint32_t lot = rng_below(&m->rng, 10000);

    m->ops++;
    if (lot < 1500)
        do_publish(m, false);
    else if (lot < 2200)
        do_publish(m, true);
    else if (lot < 5000)
        do_receive(m);
    else if (lot < 7800)
        do_settle(m, FANQ_OP_ACK);
    else if (lot < 8700)
        do_settle(m, FANQ_OP_NACK);
    else if (lot < 9500)
        do_settle(m, FANQ_OP_EXTEND);
    else if (lot < 9960)
        do_count(m);
    else if (lot < 9985)
        do_subscription(m);
    else if (lot < 9995)
        do_purge(m);
    else
        do_queue_anew(m);
}

/* ---- turns and rounds ---- */

/* The turn's messages arrive stream by stream, in the order in which the streams were first published
 * to. */
static void arrivals(struct model *m)
{
    for (uint32_t i = 0; i < m->staged_count; i++) {
        if (m->staged[i] >= TOPICS)
            model_stream_arrives(m->queues[m->staged[i] - TOPICS], OWN);
        for (uint32_t q = 0; q < m->queue_count && m->staged[i] < TOPICS; q++)
            model_stream_arrives(m->queues[q], m->staged[i]);
    }
    m->staged_count = 0;
}

static void some_turn(struct model *m)
{
    sim_advance_ms(m->sim, rng_skewed(&m->rng, 0, 60));
    for (uint32_t i = 0; i < m->queue_count; i++)
        model_queue_advance(m->queues[i], m->sim->now_ms);
    sim_turn(m->sim);
    for (uint32_t ops = rng_skewed(&m->rng, 1, 20); ops > 0; ops--)
        some_op(m);
    arrivals(m);
    sim_turn_end(m->sim);
    for (uint32_t i = 0; i < m->receive_count; i++)
        SIM_CHECK(m->receives[i].queue == NULL, "receive %lu is not answered", m->receives[i].id);
    m->receive_count = 0;
}

static void round_begin(struct model *m)
{
    sim_turn(m->sim);
    for (uint32_t i = 0; i < TOPICS; i++)
        request(m, &(struct fanq_request){.op = FANQ_OP_TOPIC_CREATE, .name = topic_name(i)});
    for (uint32_t i = 0; i < m->queue_count; i++)
        do_queue_create(m, i);
    sim_turn_end(m->sim);
}

/* Gives how many operations it did, and adds to the messages delivered. */
static uint64_t round_run(uint64_t seed, uint64_t ops, uint64_t *delivered)
{
    struct core_figures figures;

    struct model m = {.rng = {seed}, .queue_count = seed % 2 == 0 ? 1 : QUEUES};
    struct sim_options options = sim_options_default(seed);

    options.on_effect = on_effect;
    options.context = &m;
    m.sim = sim_new(&options);
    round_begin(&m);
    while (m.ops < ops)
        some_turn(&m);
    core_check(m.sim->core);
    core_figures(m.sim->core, &figures);
    *delivered += figures.delivered;
    for (uint32_t i = 0; i < m.queue_count; i++)
        model_queue_free(m.queues[i]);
    free(m.given);
    sim_free(m.sim);
    return m.ops;
}

static uint64_t current_seed;

static void on_abort(int signal_number)
{
    fprintf(stderr, "repeat with: build/tests/sim/model --seed %lu --ops %d\n", current_seed, ROUND_OPS);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'}, {"ops", required_argument, NULL, 'o'}, {0}};
    uint64_t ops = 5000000, done = 0, delivered = 0;
    int choice;

    current_seed = 1;
    while ((choice = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (choice == 's')
            current_seed = strtoul(optarg, NULL, 0);
        else if (choice == 'o')
            ops = strtoul(optarg, NULL, 0);
        else
            return 2;
    }
    signal(SIGABRT, on_abort);
    signal(SIGSEGV, on_abort);
    for (; done < ops; current_seed++)
        done += round_run(current_seed, ops - done < ROUND_OPS ? ops - done : ROUND_OPS, &delivered);
    printf("%lu operations, %lu messages delivered as the model foretold\n", done, delivered);
    return 0;
}
