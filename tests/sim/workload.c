#include "workload.h"

#include "client.h"
#include "log/pages.h"
#include "tests/lib/failing_malloc.h"
#include "trace.h"

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

/* ---- turns ---- */

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

        client_do(w, client_some_op(w), connection);
        client_learn_ids(w, connection);
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
        client_disconnect(w, i);
    oracle_turn_end(&w->oracle);
}

static void receive_all(struct workload *w, uint32_t slot)
{
    client_request(w, 0,
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
        client_request(w, connection, &r);
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
        client_name(w, 0, FANQ_OP_QUEUE_DELETE, oracle_queue_name(i));
    for (uint32_t i = 0; i < ORACLE_TOPICS; i++)
        client_name(w, 0, FANQ_OP_TOPIC_DELETE, oracle_topic_name(i));
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
    client_push(w, 0, FANQ_PUSH_QUEUE);
    client_receive(w, 1 % w->connection_count);
    sim_carry_out(w->sim);
    oracle_drain(&w->oracle);
    sim_drain(w->sim);
    sim_carry_out(w->sim);
    client_receive(w, 0);
    client_publish(w, 0, FANQ_OP_SEND);
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
    options.core.durable = rng_chance(r, 50);
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
    options.nomem_percent = one_of(r, 0, 0, 5, 100);
    options.core.serve_bytes_max = one_of(r, 100, 10000, 256 * 1024, 16 * 1024 * 1024);
    options.fail_malloc_at = failing_malloc_fail_at;
    options.slow_percent = one_of(r, 0, 0, 5, 50);
    options.late_effects_percent = one_of(r, 0, 0, 50, 90);
    options.sweep_percent = one_of(r, 0, 5, 50, 100);
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
