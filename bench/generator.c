#include "generator.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ceiling.h"
#include "consumer.h"
#include "control.h"
#include "link.h"
#include "payload.h"
#include "publisher.h"

enum { NAME_BYTES = 128 };

struct generator {
    struct generator_options options;
    struct flow flow;
    struct control control; /* of a broker; closed for a relay */
    struct publisher publisher;
    struct publisher_connection *publishers;
    struct subscriber *subscribers;
    uint32_t subscribers_open;
    uint32_t publishers_open;
    struct consumer consumers[FLOW_CONSUMERS_MAX];
    struct histogram *latencies; /* one a consumer, then one for their sum */
};

/* ---- setting up ---- */

static void queue_name(const struct generator *g, uint32_t index, char ret_name[NAME_BYTES])
{
    (void)snprintf(ret_name, NAME_BYTES, "%s-%u", g->options.name, index);
}

static int create_queues(struct generator *g)
{
    int err = control_topic_create(&g->control, g->options.name);

    for (uint32_t i = 0; i < g->options.queue_count && err == 0; i++) {
        char name[NAME_BYTES];

        queue_name(g, i, name);
        err = control_queue_create(&g->control, name);
        if (err == 0)
            err = control_subscribe(&g->control, g->options.name, name);
    }
    return err;
}

/* Connects, as a client of the broker or under a role of the relay. */
static int open_connection(struct generator *g, char role, int *ret_fd)
{
    struct control control;
    int err;

    if (g->options.relay) {
        err = link_connect(g->options.url, g->flow.error, ret_fd);
        if (err == 0 && link_write(*ret_fd, &role, 1) != 0)
            err = bench_fail(g->flow.error, FANQ_ERR_IO, "the relay does not answer");
        return err;
    }
    err = control_open(&control, g->options.url, g->flow.error);
    if (err == 0)
        *ret_fd = control_release(&control);
    return err;
}

static int subscriber_push(struct generator *g, struct subscriber *subscriber, int fd, uint32_t index)
{
    char name[NAME_BYTES];
    uint8_t buffer[256];
    struct fanq_writer w = fanq_writer_over(buffer, sizeof buffer);
    struct fanq_request request = {.op = FANQ_OP_PUSH,
                                   .id = 1000,
                                   .push = {.target_kind = FANQ_PUSH_QUEUE,
                                            .mode = FANQ_PUSH_AUTO,
                                            .messages = SUBSCRIBER_CREDIT_MESSAGES,
                                            .bytes = SUBSCRIBER_CREDIT_BYTES,
                                            .visibility_ms = FANQ_QUEUE_DEFAULT}};

    queue_name(g, index, name);
    request.push.target = (struct fanq_bytes){(const uint8_t *)name, strlen(name)};
    fanq_request_encode(&w, &request);
    subscriber->credited = true;
    subscriber->push = request.id;
    if (link_write(fd, buffer, fanq_writer_length(&w)) != 0)
        return bench_fail(g->flow.error, FANQ_ERR_IO, "the broker closed a subscriber's connection");
    return 0;
}

static int open_subscriber(struct generator *g, uint32_t index)
{
    struct subscriber *subscriber = &g->subscribers[index];
    int fd = -1;
    int err = open_connection(g, CEILING_ROLE_SUBSCRIBER, &fd);

    if (err != 0)
        return err;
    inbox_init(&subscriber->inbox, fd);
    g->subscribers_open = index + 1;
    subscriber->next = calloc(g->options.publisher_count, sizeof *subscriber->next);
    if (subscriber->next == NULL)
        return bench_fail(g->flow.error, FANQ_ERR_NOMEM, "out of memory");
    if (!g->options.relay)
        err = subscriber_push(g, subscriber, fd, index);
    return err != 0 ? err : link_unblock(fd, g->flow.error);
}

static int open_publisher(struct generator *g, uint32_t index)
{
    const struct generator_options *o = &g->options;
    struct publisher_connection *publisher = &g->publishers[index];
    int fd = -1;
    int err = open_connection(g, CEILING_ROLE_PUBLISHER, &fd);

    if (err != 0)
        return err;
    inbox_init(&publisher->inbox, fd);
    g->publishers_open = index + 1;
    publisher->request_id = 1000;
    err = o->relay
              ? train_init_deliver(&publisher->train, o->batch, o->size, o->train_bytes)
              : train_init(&publisher->train, FANQ_OP_PUBLISH, o->name, o->batch, o->size, o->train_bytes);
    if (err != 0)
        return bench_fail(g->flow.error, err, "cannot prepare messages: %s", fanq_strerror(err));
    return link_unblock(fd, g->flow.error);
}

static int open_connections(struct generator *g)
{
    int err = 0;

    for (uint32_t i = 0; i < g->options.subscriber_count && err == 0; i++)
        err = open_subscriber(g, i);
    for (uint32_t i = 0; i < g->options.publisher_count && err == 0; i++)
        err = open_publisher(g, i);
    return err;
}

/* Deals the subscribers out to the threads. */
static int init_consumers(struct generator *g)
{
    uint32_t threads = g->flow.consumer_count, first = 0;
    int err = 0;

    for (uint32_t i = 0; i < threads && err == 0; i++) {
        uint32_t count = (g->options.subscriber_count - first) / (threads - i);

        err = consumer_init(&g->consumers[i], &g->flow, i, g->subscribers + first, count);
        if (g->options.latency)
            g->consumers[i].latency = &g->latencies[i];
        first += count;
    }
    return err;
}

static int check_options(struct generator_options *o, struct bench_error *error)
{
    size_t record_bytes = train_record_bytes(o->size);

    o->publisher_count = o->publisher_count == 0 ? 1 : o->publisher_count;
    o->consumer_count = o->consumer_count == 0 ? 1 : o->consumer_count;
    o->window_bytes = o->window_bytes == 0 ? GENERATOR_WINDOW_BYTES : o->window_bytes;
    o->answer_window_bytes = o->answer_window_bytes == 0 ? o->window_bytes : o->answer_window_bytes;
    o->train_bytes = o->train_bytes == 0 ? GENERATOR_TRAIN_BYTES : o->train_bytes;
    if (o->queue_count < o->subscriber_count)
        o->queue_count = o->subscriber_count;
    if (o->consumer_count > o->subscriber_count)
        o->consumer_count = o->subscriber_count;
    if (o->consumer_count > FLOW_CONSUMERS_MAX)
        return bench_fail(error, FANQ_ERR_INVALID, "at most %d threads can receive", FLOW_CONSUMERS_MAX);
    if (o->batch == 0 || o->batch * record_bytes + 1024 > FANQ_FRAME_BYTES_MAX_DEFAULT)
        return bench_fail(error, FANQ_ERR_INVALID, "%u messages of %zu bytes do not fit into one publish",
                          o->batch, o->size);
    if (o->size < PAYLOAD_TAG_BYTES && o->publisher_count > 1)
        return bench_fail(error, FANQ_ERR_INVALID, "several publishers need messages of %d bytes or more",
                          PAYLOAD_TAG_BYTES);
    if (strlen(o->name) + 12 > NAME_BYTES)
        return bench_fail(error, FANQ_ERR_INVALID, "the name is too long");
    return 0;
}

/* Two trains at least must fit, so that one can be made while the other is on its way. */
static uint64_t window_messages(const struct generator *g, size_t bytes)
{
    const struct train *train = &g->publishers[0].train;
    uint64_t window = bytes / train_record_bytes(g->options.size);
    uint64_t trains = 2 * (uint64_t)train->frame_count * train->batch * g->options.publisher_count;

    return window > trains ? window : trains;
}

static int generator_set_up(struct generator *g)
{
    const struct generator_options *o = &g->options;
    int err = 0;

    g->publishers = calloc(o->publisher_count, sizeof *g->publishers);
    g->subscribers = calloc(o->subscriber_count + 1, sizeof *g->subscribers);
    g->latencies = calloc(FLOW_CONSUMERS_MAX + 1, sizeof *g->latencies);
    if (g->publishers == NULL || g->subscribers == NULL || g->latencies == NULL)
        return bench_fail(g->flow.error, FANQ_ERR_NOMEM, "out of memory");
    for (uint32_t i = 0; i <= FLOW_CONSUMERS_MAX; i++)
        histogram_init(&g->latencies[i]);
    if (!o->relay)
        err = control_open(&g->control, o->url, g->flow.error);
    if (err == 0 && !o->relay)
        err = create_queues(g);
    if (err == 0)
        err = open_connections(g);
    if (err != 0)
        return err;
    g->flow.window_messages = window_messages(g, o->window_bytes);
    g->flow.answer_window_messages = window_messages(g, o->answer_window_bytes);
    err = flow_init(&g->flow, o->latency);
    if (err == 0)
        err = publisher_init(&g->publisher, &g->flow, g->publishers, o->publisher_count);
    g->publisher.is_answered = !o->relay;
    g->publisher.rate = o->rate;
    return err == 0 ? init_consumers(g) : err;
}

int generator_new(const struct generator_options *options, struct bench_error *error,
                  struct generator **ret_generator)
{
    struct generator_options checked = *options;
    struct generator *g;
    int err = check_options(&checked, error);

    if (err != 0)
        return err;
    g = aligned_alloc(_Alignof(struct generator), sizeof *g);
    if (g == NULL)
        return bench_fail(error, FANQ_ERR_NOMEM, "out of memory");
    memset(g, 0, sizeof *g);
    g->options = checked;
    g->control.fd = -1;
    g->flow = (struct flow){.size = checked.size,
                            .batch = checked.batch,
                            .publisher_count = checked.publisher_count,
                            .consumer_count = checked.consumer_count,
                            .wake_fd = -1,
                            .error = error};
    for (uint32_t i = 0; i < FLOW_CONSUMERS_MAX; i++)
        g->consumers[i].epoll_fd = g->consumers[i].stop_fd = -1;
    err = generator_set_up(g);
    if (err == 0)
        *ret_generator = g;
    else
        generator_free(g);
    return err;
}

/* ---- taking down ---- */

/* Failures are left alone: either the measurement has failed already, or its figures are
 * good all the same. */
static void delete_queues(struct generator *g)
{
    struct bench_error ignored = {0};

    g->control.error = &ignored;
    for (uint32_t i = 0; i < g->options.queue_count; i++) {
        char name[NAME_BYTES];

        queue_name(g, i, name);
        (void)control_queue_delete(&g->control, name);
    }
    (void)control_topic_delete(&g->control, g->options.name);
}

void generator_free(struct generator *g)
{
    if (g == NULL)
        return;
    for (uint32_t i = 0; i < FLOW_CONSUMERS_MAX; i++)
        consumer_close(&g->consumers[i]);
    for (uint32_t i = 0; i < g->subscribers_open; i++) {
        close(g->subscribers[i].inbox.fd);
        inbox_close(&g->subscribers[i].inbox);
        free(g->subscribers[i].next);
    }
    for (uint32_t i = 0; i < g->publishers_open; i++) {
        close(g->publishers[i].inbox.fd);
        inbox_close(&g->publishers[i].inbox);
        train_close(&g->publishers[i].train);
    }
    if (g->control.fd >= 0)
        delete_queues(g);
    control_close(&g->control);
    publisher_close(&g->publisher);
    flow_close(&g->flow);
    free(g->subscribers);
    free(g->publishers);
    free(g->latencies);
    free(g);
}

/* ---- rounds ---- */

/* All figures at one time. */
struct sample {
    uint64_t at_ns;
    uint64_t published, delivered, bytes;
    uint64_t peer_ns, publisher_ns, consumer_ns;
};

static uint64_t cpu_ns(clockid_t clock)
{
    struct timespec used = {0};

    (void)clock_gettime(clock, &used); /* fails when the process or thread has ended: no time then */
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

static uint64_t thread_ns(pthread_t thread)
{
    clockid_t clock;

    return pthread_getcpuclockid(thread, &clock) == 0 ? cpu_ns(clock) : 0;
}

static void sample_counts(struct generator *g, struct sample *sample)
{
    sample->at_ns = clock_ns();
    sample->published = flow_get(&g->flow.published);
    for (uint32_t i = 0; i < g->flow.consumer_count; i++) {
        sample->delivered += flow_get(&g->flow.consumers[i].messages);
        sample->bytes += flow_get(&g->flow.consumers[i].bytes);
    }
}

/* While the threads run. */
static struct sample sample_take(struct generator *g, const struct generator_round *round)
{
    struct sample sample = {0};

    sample_counts(g, &sample);
    if (round->has_peer_clock)
        sample.peer_ns = cpu_ns(round->peer_clock);
    sample.publisher_ns = thread_ns(g->publisher.thread);
    for (uint32_t i = 0; i < g->flow.consumer_count; i++)
        sample.consumer_ns += thread_ns(g->consumers[i].thread);
    return sample;
}

static struct generator_figures figures_between(const struct sample *first, const struct sample *last)
{
    return (struct generator_figures){
        .seconds = (double)(last->at_ns - first->at_ns) / 1e9,
        .published = last->published - first->published,
        .delivered = last->delivered - first->delivered,
        .bytes = last->bytes - first->bytes,
        .peer_seconds = (double)(last->peer_ns - first->peer_ns) / 1e9,
        .publisher_seconds = (double)(last->publisher_ns - first->publisher_ns) / 1e9,
        .consumer_seconds = (double)(last->consumer_ns - first->consumer_ns) / 1e9,
    };
}

/* Sleeps in steps, so that a failure ends the round. */
static void sleep_ms(const struct generator *g, uint32_t ms)
{
    uint64_t until_ns = clock_ns() + (uint64_t)ms * 1000000;
    uint64_t now_ns;

    while ((now_ns = clock_ns()) < until_ns && bench_error_get(g->flow.error) == 0) {
        uint64_t step_ns = until_ns - now_ns < 50000000 ? until_ns - now_ns : 50000000;
        struct timespec step = {0, (long)step_ns};

        nanosleep(&step, NULL);
    }
}

/* Starts as many of the threads as it can; *ret_started is how many consumers. */
static int start_threads(struct generator *g, uint32_t *ret_started)
{
    int err = 0;

    flow_set(&g->flow.target, FLOW_NEVER);
    atomic_store(&g->flow.stop, false);
    *ret_started = 0;
    while (*ret_started < g->flow.consumer_count && err == 0) {
        err = consumer_start(&g->consumers[*ret_started]);
        if (err == 0)
            ++*ret_started;
    }
    return err == 0 ? publisher_start(&g->publisher) : err;
}

/* Lets the consumers read what is on its way, and end. */
static void drain(struct generator *g, uint32_t started)
{
    flow_set(&g->flow.target, flow_get(&g->flow.published));
    for (uint32_t i = 0; i < started; i++)
        consumer_target(&g->consumers[i]);
    for (uint32_t i = 0; i < started; i++)
        consumer_join(&g->consumers[i]);
}

/* Everything but the threads' start and end. */
static int measure(struct generator *g, const struct generator_round *round, struct sample *first,
                   struct sample *last)
{
    int err = 0;

    sleep_ms(g, round->warmup_ms);
    if (round->mark != NULL)
        err = round->mark(round->mark_context);
    *first = sample_take(g, round);
    if (err == 0)
        sleep_ms(g, round->measured_ms);
    *last = sample_take(g, round);
    if (err == 0 && round->mark != NULL)
        err = round->mark(round->mark_context);
    return err;
}

int generator_run(struct generator *g, const struct generator_round *round,
                  struct generator_figures *ret_figures)
{
    struct sample before = {0}, first = {0}, last = {0}, after = {0};
    uint32_t started;
    int err;

    sample_counts(g, &before);
    g->publisher.messages_max = 0;
    err = start_threads(g, &started);
    if (err == 0) {
        err = measure(g, round, &first, &last);
        atomic_store(&g->flow.stop, true);
        flow_wake(&g->flow);
        publisher_join(&g->publisher);
    }
    drain(g, started);
    if (err == 0)
        err = bench_error_get(g->flow.error);
    if (err != 0)
        return err;
    sample_counts(g, &after);
    *ret_figures = figures_between(&first, &last);
    ret_figures->round_delivered = after.delivered - before.delivered;
    ret_figures->round_bytes = after.bytes - before.bytes;
    return 0;
}

int generator_burst(struct generator *g, uint64_t messages, double *ret_seconds)
{
    uint32_t started;
    int err;

    g->publisher.messages_max = messages;
    err = start_threads(g, &started);
    if (err == 0)
        publisher_join(&g->publisher);
    drain(g, started);
    if (bench_error_get(g->flow.error) != 0)
        return bench_error_get(g->flow.error);
    *ret_seconds = (double)(g->publisher.end_ns - g->publisher.start_ns) / 1e9;
    return 0;
}

int generator_purge(struct generator *g)
{
    int err = 0;

    for (uint32_t i = 0; i < g->options.queue_count && err == 0; i++) {
        char name[NAME_BYTES];

        queue_name(g, i, name);
        err = control_purge(&g->control, name);
    }
    return err;
}

const struct histogram *generator_latency(struct generator *g)
{
    struct histogram *sum = &g->latencies[FLOW_CONSUMERS_MAX];

    if (!g->options.latency)
        return NULL;
    histogram_init(sum);
    for (uint32_t i = 0; i < g->flow.consumer_count; i++)
        histogram_merge(sum, &g->latencies[i]);
    return sum;
}
