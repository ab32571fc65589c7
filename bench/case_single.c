/* One message at a time: 64 connections on one queue, each of which sends one, receives one and deletes it,
 * and asks the next only when the last is answered. Counts requests.
 *
 * A connection gets anybody's message. There is always one for it: it has just sent one itself. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "cases.h"
#include "control.h"
#include "histogram.h"
#include "inbox.h"
#include "link.h"
#include "payload.h"
#include "report.h"
#include "train.h"

enum {
    CONNECTIONS = 64,
    SIZE = 128,
    WARMUP_MS = 100,
    MEASURED_MS = 600,
    WAIT_MS = 10000,
    MESSAGES_MAX = 1 << 26 /* how many can be told apart; at a million a second enough for a minute */
};

static const char queue[] = "bench-single";

/* What a connection waits for. */
enum single_state { SINGLE_SENDS, SINGLE_RECEIVES, SINGLE_DELETES };

struct single_connection {
    struct single *single;
    struct inbox inbox;
    enum single_state state;
    uint64_t asked_ns;
    uint64_t id;
};

struct single {
    const struct case_options *options;
    struct bench_error *error;
    size_t size;
    int epoll_fd;
    struct single_connection connections[CONNECTIONS];
    uint32_t open;
    uint64_t sequence; /* of the next message sent */
    uint64_t requests; /* answered */
    bool stop;         /* whoever has deleted does not send again */
    uint32_t resting;
    uint8_t *seen; /* a bit for each message that was received */
    struct histogram latency;
    uint8_t *body;
    uint8_t shared[INBOX_SHARED_BYTES];
};

/* ---- asking ---- */

static int single_ask(struct single_connection *connection, struct fanq_request *request)
{
    struct single *single = connection->single;
    uint8_t stack[1024];
    size_t capacity = single->size + 512;
    uint8_t *buffer = capacity <= sizeof stack ? stack : malloc(capacity);
    struct fanq_writer w = fanq_writer_over(buffer, capacity);
    int err;

    if (buffer == NULL)
        return bench_fail(single->error, FANQ_ERR_NOMEM, "out of memory");
    request->id = ++connection->id;
    fanq_request_encode(&w, request);
    connection->asked_ns = clock_ns();
    err = w.full ? FANQ_ERR_INVALID : link_write(connection->inbox.fd, buffer, fanq_writer_length(&w));
    if (buffer != stack)
        free(buffer);
    return err == 0 ? 0 : bench_fail(single->error, err, "the broker closed a connection");
}

static int ask_send(struct single_connection *connection)
{
    struct single *single = connection->single;
    size_t length = train_record_bytes(single->size);
    uint8_t *record = malloc(length);
    struct fanq_writer w = fanq_writer_over(record, length);
    struct fanq_record_parts parts = {.body = {single->body, single->size}};
    struct fanq_request request = {
        .op = FANQ_OP_SEND,
        .publish = {.target = FANQ_BYTES("bench-single"), .records = {record, length, 1}}};
    int err;

    if (record == NULL)
        return bench_fail(single->error, FANQ_ERR_NOMEM, "out of memory");
    payload_stamp(single->body, single->size, single->sequence++);
    err = fanq_record_write(&w, &parts);
    connection->state = SINGLE_SENDS;
    if (err == 0)
        err = single_ask(connection, &request);
    free(record);
    return err;
}

static int ask_receive(struct single_connection *connection)
{
    struct fanq_request request = {.op = FANQ_OP_RECEIVE,
                                   .receive = {.queues = {FANQ_BYTES("bench-single")},
                                               .queue_count = 1,
                                               .messages_max = 1,
                                               .bytes_max = 1024 * 1024,
                                               .wait_ms = WAIT_MS,
                                               .visibility_ms = FANQ_QUEUE_DEFAULT}};

    connection->state = SINGLE_RECEIVES;
    return single_ask(connection, &request);
}

static int ask_delete(struct single_connection *connection, uint64_t queue_id, uint64_t batch,
                      const struct fanq_slice *slice)
{
    uint8_t triple[32];
    struct fanq_writer w = fanq_writer_over(triple, sizeof triple);
    struct fanq_request request = {.op = FANQ_OP_ACK, .change = {.queue_id = queue_id, .batch = batch}};

    fanq_write_uint(&w, slice->stream);
    fanq_write_uint(&w, slice->first_seq);
    fanq_write_uint(&w, 1);
    request.change.ranges = fanq_ranges_over((struct fanq_bytes){triple, fanq_writer_length(&w)}, 1);
    connection->state = SINGLE_DELETES;
    return single_ask(connection, &request);
}

/* ---- answers ---- */

/* One message, whole, that nobody had before. */
static int message_check(struct single *single, const struct fanq_slice *slice)
{
    const uint8_t *body = slice->records.data + FANQ_RECORD_PLAIN_BYTES;
    uint64_t sequence;

    if (slice->records.count != 1 || slice->records.length != train_record_bytes(single->size))
        return bench_fail(single->error, FANQ_ERR_PROTOCOL,
                          "one message was asked for, and something else came");
    sequence = payload_stamp_read(body, single->size);
    if (sequence >= single->sequence || !payload_is(body, single->size, sequence))
        return bench_fail(single->error, FANQ_ERR_PROTOCOL, "a damaged message came");
    if (single->seen[sequence / 8] & 1u << sequence % 8)
        return bench_fail(single->error, FANQ_ERR_PROTOCOL, "message %llu came twice",
                          (unsigned long long)sequence);
    single->seen[sequence / 8] |= (uint8_t)(1u << sequence % 8);
    return 0;
}

static int take_delivery(struct single_connection *connection, struct fanq_bytes payload)
{
    struct single *single = connection->single;
    struct fanq_delivery_reader reader;
    struct fanq_slice slice;
    int err;

    if (fanq_delivery_open(payload, &reader) != 0 || fanq_delivery_next(&reader, &slice) != 1)
        return bench_fail(single->error, FANQ_ERR_PROTOCOL, "a receive was not answered with a message");
    err = message_check(single, &slice);
    return err == 0 ? ask_delete(connection, reader.queue_id, reader.batch, &slice) : err;
}

static int take_ok(struct single_connection *connection, struct fanq_bytes payload)
{
    struct single *single = connection->single;
    struct fanq_reply reply;
    uint8_t scratch[1024];
    int err = fanq_reply_decode(payload, scratch, sizeof scratch, &reply);

    if (err == 0 && reply.op == FANQ_REPLY_ERROR)
        return bench_fail(single->error, reply.error.err, "a request was refused: %.*s",
                          (int)reply.error.text.length, (const char *)reply.error.text.data);
    if (err != 0 || (reply.op != FANQ_REPLY_OK && reply.op != FANQ_REPLY_OK_RANGE))
        return bench_fail(single->error, FANQ_ERR_PROTOCOL, "a strange answer came");
    if (connection->state == SINGLE_SENDS)
        return ask_receive(connection);
    if (!single->stop)
        return ask_send(connection);
    single->resting++;
    return 0;
}

static int single_frame(void *context, struct fanq_bytes payload)
{
    struct single_connection *connection = context;
    struct single *single = connection->single;

    single->requests++;
    histogram_add(&single->latency, clock_ns() - connection->asked_ns, 1);
    return connection->state == SINGLE_RECEIVES ? take_delivery(connection, payload)
                                                : take_ok(connection, payload);
}

/* ---- rounds ---- */

static int single_turn(struct single *single)
{
    struct epoll_event events[CONNECTIONS];
    int count = epoll_wait(single->epoll_fd, events, CONNECTIONS, WAIT_MS);
    int err = 0;

    if (count == 0)
        return bench_fail(single->error, FANQ_ERR_TIMEOUT, "no answer came for %d s", WAIT_MS / 1000);
    for (int i = 0; i < count && err == 0; i++) {
        struct single_connection *connection = events[i].data.ptr;

        err = inbox_read(&connection->inbox, single->shared, single_frame, connection);
        if (err != 0)
            bench_fail(single->error, err, "a connection failed: %s", fanq_strerror(err));
    }
    return err;
}

static int single_run_until(struct single *single, uint64_t until_ns)
{
    int err = 0;

    while (err == 0 && clock_ns() < until_ns)
        err = single->sequence + CONNECTIONS < MESSAGES_MAX
                  ? single_turn(single)
                  : bench_fail(single->error, FANQ_ERR_LIMIT, "too many messages to tell apart");
    return err;
}

static int single_round(struct single *single, double *ret_per_s)
{
    uint32_t measured_ms =
        single->options->seconds > 0 ? (uint32_t)(single->options->seconds * 1000) : MEASURED_MS;
    uint64_t start_ns, requests;
    int err = 0;

    single->stop = false;
    single->resting = 0;
    for (uint32_t i = 0; i < CONNECTIONS && err == 0; i++)
        err = ask_send(&single->connections[i]);
    if (err == 0)
        err = single_run_until(single, clock_ns() + WARMUP_MS * 1000000ull);
    start_ns = clock_ns();
    requests = single->requests;
    if (err == 0)
        err = single_run_until(single, start_ns + measured_ms * 1000000ull);
    *ret_per_s = (double)(single->requests - requests) * 1e9 / (double)(clock_ns() - start_ns);
    single->stop = true;
    while (err == 0 && single->resting < CONNECTIONS)
        err = single_turn(single);
    return err;
}

/* ---- setting up ---- */

static int single_connect(struct single *single)
{
    struct single_connection *connection = &single->connections[single->open];
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    struct control control;
    int err = control_open(&control, single->options->url, single->error);

    if (err != 0)
        return err;
    connection->single = single;
    connection->id = control.id;
    inbox_init(&connection->inbox, control_release(&control));
    single->open++;
    if (epoll_ctl(single->epoll_fd, EPOLL_CTL_ADD, connection->inbox.fd, &event) != 0)
        return bench_fail(single->error, FANQ_ERR_IO, "epoll: %s", strerror(errno));
    return 0;
}

static int single_open(struct single *single)
{
    int err = 0;

    histogram_init(&single->latency);
    single->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    single->body = malloc(single->size + 1);
    single->seen = calloc(MESSAGES_MAX / 8, 1); /* untouched pages cost nothing */
    if (single->epoll_fd < 0 || single->body == NULL || single->seen == NULL)
        return bench_fail(single->error, FANQ_ERR_NOMEM, "out of memory");
    payload_fill(single->body, single->size, 1);
    while (single->open < CONNECTIONS && err == 0)
        err = single_connect(single);
    return err;
}

static void single_close(struct single *single)
{
    for (uint32_t i = 0; i < single->open; i++) {
        close(single->connections[i].inbox.fd);
        inbox_close(&single->connections[i].inbox);
    }
    if (single->epoll_fd >= 0)
        close(single->epoll_fd);
    free(single->body);
    free(single->seen);
}

static void single_report(struct single *single, double *per_s)
{
    const struct figure row[] = {
        {"case", "case", FIGURE_TEXT, .text = "queue_single"},
        {"size", "bytes", FIGURE_COUNT, .value = (double)single->size},
        {"connections", "connections", FIGURE_COUNT, .value = CONNECTIONS},
        {"ops_per_s", "requests/s", FIGURE_RATE, .value = median(per_s, single->options->round_count)},
        {"p50_us", "p50 us", FIGURE_COUNT, .value = (double)histogram_quantile(&single->latency, 0.5) / 1000},
        {"p99_us", "p99 us", FIGURE_COUNT,
         .value = (double)histogram_quantile(&single->latency, 0.99) / 1000},
        {"rounds", NULL, FIGURE_COUNT, .value = single->options->round_count},
    };

    report_row(row, sizeof row / sizeof row[0]);
}

static int single_measure(struct single *single, struct control *control)
{
    double per_s[ROUNDS_MAX];
    int err = control_queue_create(control, queue);

    if (err == 0)
        err = single_open(single);
    for (uint32_t i = 0; i < single->options->round_count && err == 0; i++) {
        report_progress("queue_single: round %u of %u", i + 1, single->options->round_count);
        err = single_round(single, &per_s[i]);
    }
    if (err == 0)
        err = control_queue_delete(control, queue);
    if (err == 0)
        single_report(single, per_s);
    return err;
}

int case_queue_single(const struct case_options *options, struct bench_error *error)
{
    struct single *single = calloc(1, sizeof *single);
    struct control control;
    int err;

    if (single == NULL)
        return bench_fail(error, FANQ_ERR_NOMEM, "out of memory");
    single->options = options;
    single->error = error;
    single->epoll_fd = -1;
    single->size = options->has_size && options->size >= PAYLOAD_STAMP_BYTES ? options->size : SIZE;
    err = control_open(&control, options->url, error);
    if (err == 0) {
        err = single_measure(single, &control);
        control_close(&control);
    }
    single_close(single);
    free(single);
    return err;
}
