/* A queue with one producer and one consumer: what deleting costs beside receiving.
 *
 * The producer sends batches, the consumer receives them by long poll; in every other round it deletes what
 * it got, in the others the broker deletes as it hands over. Each round has connections of its own and leaves
 * the queue empty. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cases.h"
#include "control.h"
#include "link.h"
#include "publisher.h"
#include "receiver.h"
#include "report.h"

enum { WARMUP_MS = 80, MEASURED_MS = 300, BATCH = 256, WINDOW_BYTES = 512 * 1024, TRAIN_BYTES = 64 * 1024 };

static const char queue[] = "bench-queue";

struct queue_case {
    const struct case_options *options;
    struct bench_error *error;
    size_t size;
    uint32_t batch;
    uint32_t measured_ms;
    double deleting_per_s[ROUNDS_MAX];
    double auto_delete_per_s[ROUNDS_MAX];
    double ratio[ROUNDS_MAX];
};

/* One round's moving parts. */
struct queue_round {
    struct flow flow;
    struct publisher publisher;
    struct publisher_connection connection;
    struct receiver receiver;
};

/* ---- one round ---- */

static void pause_ms(uint32_t ms)
{
    struct timespec step = {ms / 1000, ms % 1000 * 1000000L};

    nanosleep(&step, NULL);
}

static int greeted(const struct queue_case *q, int *ret_fd)
{
    struct control control;
    int err = control_open(&control, q->options->url, q->error);

    if (err == 0)
        *ret_fd = control_release(&control);
    return err;
}

/* Connects the producer and the consumer. */
static int round_open(const struct queue_case *q, struct queue_round *round, bool auto_delete)
{
    struct flow *flow = &round->flow;
    int fd = -1;
    int err;

    *flow = (struct flow){.size = q->size,
                          .batch = q->batch,
                          .publisher_count = 1,
                          .consumer_count = 1,
                          .wake_fd = -1,
                          .window_messages = WINDOW_BYTES / train_record_bytes(q->size),
                          .answer_window_messages = UINT64_MAX,
                          .error = q->error};
    inbox_init(&round->connection.inbox, -1);
    inbox_init(&round->receiver.inbox, -1);
    err = greeted(q, &fd);
    if (err != 0)
        return err;
    receiver_init(&round->receiver, flow, fd, queue, auto_delete, 0);
    err = greeted(q, &fd);
    if (err != 0)
        return err;
    inbox_init(&round->connection.inbox, fd);
    round->connection.request_id = 1000;
    err = train_init(&round->connection.train, FANQ_OP_SEND, queue, q->batch, q->size, TRAIN_BYTES);
    if (err != 0)
        return bench_fail(q->error, err, "cannot prepare messages: %s", fanq_strerror(err));
    if (flow->window_messages < 2u * round->connection.train.frame_count * q->batch)
        flow->window_messages = 2u * round->connection.train.frame_count * q->batch;
    err = link_unblock(fd, q->error);
    if (err == 0)
        err = flow_init(flow, false);
    if (err == 0)
        err = publisher_init(&round->publisher, flow, &round->connection, 1);
    round->publisher.is_answered = true;
    return err;
}

static void round_close(struct queue_round *round)
{
    receiver_close(&round->receiver);
    close(round->connection.inbox.fd);
    inbox_close(&round->connection.inbox);
    train_close(&round->connection.train);
    publisher_close(&round->publisher);
    flow_close(&round->flow);
}

/* Lets it flow, and measures messages received in the middle. */
static int round_flow(const struct queue_case *q, struct queue_round *round, double *ret_per_s)
{
    struct flow *flow = &round->flow;
    uint64_t first_ns, first, last_ns, last;
    int err = receiver_start(&round->receiver);

    if (err != 0)
        return err;
    err = publisher_start(&round->publisher);
    if (err != 0) {
        flow_set(&flow->target, 0);
        receiver_join(&round->receiver);
        return err;
    }
    pause_ms(WARMUP_MS);
    first_ns = clock_ns();
    first = flow_get(&flow->consumers[0].messages);
    pause_ms(q->measured_ms);
    last_ns = clock_ns();
    last = flow_get(&flow->consumers[0].messages);
    atomic_store(&flow->stop, true);
    flow_wake(flow);
    publisher_join(&round->publisher);
    flow_set(&flow->target, flow_get(&flow->published));
    receiver_join(&round->receiver);
    *ret_per_s = (double)(last - first) * 1e9 / (double)(last_ns - first_ns);
    return bench_error_get(q->error);
}

/* After a round nothing may be left: what was received was deleted. */
static int check_empty(const struct queue_case *q)
{
    struct fanq_request request = {.op = FANQ_OP_QUEUE_GET, .name = FANQ_BYTES("bench-queue")};
    struct fanq_reply reply;
    struct control control;
    int err = control_open(&control, q->options->url, q->error);

    if (err != 0)
        return err;
    err = control_call(&control, &request, &reply);
    if (err == 0 && (reply.op != FANQ_REPLY_QUEUE || reply.queue.visible != 0 || reply.queue.in_flight != 0))
        err = bench_fail(q->error, FANQ_ERR_PROTOCOL,
                         "the queue is not empty after all was received and deleted");
    control_close(&control);
    return err;
}

static int queue_round(const struct queue_case *q, bool auto_delete, double *ret_per_s)
{
    struct queue_round *round = aligned_alloc(_Alignof(struct queue_round), sizeof *round);
    int err;

    if (round == NULL)
        return bench_fail(q->error, FANQ_ERR_NOMEM, "out of memory");
    memset(round, 0, sizeof *round);
    err = round_open(q, round, auto_delete);
    if (err == 0)
        err = round_flow(q, round, ret_per_s);
    round_close(round);
    free(round);
    return err == 0 ? check_empty(q) : err;
}

/* ---- all rounds ---- */

static int queue_rounds(struct queue_case *q)
{
    int err = 0;

    for (uint32_t i = 0; i < q->options->round_count && err == 0; i++) {
        report_progress("queue: %zu bytes: round %u of %u", q->size, i + 1, q->options->round_count);
        err = queue_round(q, false, &q->deleting_per_s[i]);
        if (err == 0)
            err = queue_round(q, true, &q->auto_delete_per_s[i]);
        if (err == 0 && q->auto_delete_per_s[i] == 0)
            err = bench_fail(q->error, FANQ_ERR_TIMEOUT, "nothing was delivered in %u ms", q->measured_ms);
        q->ratio[i] = err == 0 ? q->deleting_per_s[i] / q->auto_delete_per_s[i] : 0;
    }
    return err;
}

static void queue_report(struct queue_case *q)
{
    uint32_t n = q->options->round_count;
    const struct figure row[] = {
        {"case", "case", FIGURE_TEXT, .text = "queue"},
        {"size", "bytes", FIGURE_COUNT, .value = (double)q->size},
        {"batch", "batch", FIGURE_COUNT, .value = q->batch},
        {"receive_max", "receive max", FIGURE_COUNT, .value = RECEIVER_BATCH_MAX},
        {"received_per_s", "received/s", FIGURE_RATE, .value = median(q->deleting_per_s, n)},
        {"auto_delete_per_s", "auto-delete/s", FIGURE_RATE, .value = median(q->auto_delete_per_s, n)},
        {"ack_tax", "ack tax", FIGURE_RATIO, .value = median(q->ratio, n)},
        {"rounds", NULL, FIGURE_COUNT, .value = n},
    };

    report_row(row, sizeof row / sizeof row[0]);
}

static int queue_size(const struct case_options *options, struct bench_error *error, size_t size)
{
    struct queue_case q = {.options = options, .error = error, .size = size};
    struct control control;
    int err = control_open(&control, options->url, error);

    if (err != 0)
        return err;
    q.batch = options->batch > 0 ? options->batch : BATCH;
    if (q.batch * train_record_bytes(size) > WINDOW_BYTES)
        q.batch = (uint32_t)(WINDOW_BYTES / train_record_bytes(size)) + 1;
    q.measured_ms = options->seconds > 0 ? (uint32_t)(options->seconds * 1000) : MEASURED_MS;
    err = control_queue_create(&control, queue);
    if (err == 0)
        err = queue_rounds(&q);
    if (err == 0)
        err = control_queue_delete(&control, queue);
    if (err == 0)
        queue_report(&q);
    control_close(&control);
    return err;
}

int case_queue(const struct case_options *options, struct bench_error *error)
{
    static const size_t all[] = {16, 128, 1024, 16384};
    int err = 0;

    if (!options->full || options->has_size)
        return queue_size(options, error, options->has_size ? options->size : 128);
    for (size_t i = 0; i < sizeof all / sizeof all[0] && err == 0; i++)
        err = queue_size(options, error, all[i]);
    return err;
}
