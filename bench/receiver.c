#include "receiver.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "link.h"
#include "payload.h"
#include "proto/reply.h"
#include "train.h"

enum { RECEIVE_BYTES_MAX = 256 * 1024, LOOK_MS = 20 };

void receiver_init(struct receiver *receiver, struct flow *flow, int fd, const char *queue, bool auto_delete,
                   uint64_t next)
{
    *receiver = (struct receiver){.flow = flow, .queue = queue, .auto_delete = auto_delete, .next = next};
    inbox_init(&receiver->inbox, fd);
}

void receiver_close(struct receiver *receiver)
{
    close(receiver->inbox.fd);
    inbox_close(&receiver->inbox);
}

/* ---- asking ---- */

static void write_receive(struct receiver *receiver, struct fanq_writer *w)
{
    struct fanq_request request = {
        .op = FANQ_OP_RECEIVE,
        .id = ++receiver->id,
        .receive = {.queue_count = 1,
                    .messages_max = RECEIVER_BATCH_MAX,
                    .bytes_max = RECEIVE_BYTES_MAX,
                    .wait_ms = FLOW_PATIENCE_MS,
                    .visibility_ms = FANQ_QUEUE_DEFAULT,
                    .flags = receiver->auto_delete ? FANQ_RECEIVE_AUTO_DELETE : 0}};

    request.receive.queues[0] =
        (struct fanq_bytes){(const uint8_t *)receiver->queue, strlen(receiver->queue)};
    fanq_request_encode(w, &request);
}

static int receiver_write(struct receiver *receiver, const struct fanq_writer *w)
{
    if (w->full)
        return bench_fail(receiver->flow->error, FANQ_ERR_INVALID, "a delivery has too many slices");
    if (link_write(receiver->inbox.fd, w->start, fanq_writer_length(w)) != 0)
        return bench_fail(receiver->flow->error, FANQ_ERR_NOT_CONNECTED,
                          "the broker closed the receiver's connection");
    return 0;
}

/* ---- taking ---- */

static int slice_take(struct receiver *receiver, const struct fanq_slice *slice)
{
    size_t size = receiver->flow->size;
    const uint8_t *record = slice->records.data;

    if (slice->records.length != slice->records.count * train_record_bytes(size))
        return bench_fail(receiver->flow->error, FANQ_ERR_PROTOCOL,
                          "a delivery has messages of another length");
    for (uint32_t i = 0; i < slice->records.count; i++) {
        if (!payload_is(record + FANQ_RECORD_PLAIN_BYTES, size, payload_stamp_of(0, receiver->next)))
            return bench_fail(receiver->flow->error, FANQ_ERR_PROTOCOL,
                              "message %llu was expected, but something else came",
                              (unsigned long long)receiver->next);
        record += train_record_bytes(size);
        receiver->next++;
    }
    receiver->messages += slice->records.count;
    return 0;
}

/* Checks the messages, and writes what deletes them. */
static int delivery_take(struct receiver *receiver, struct fanq_delivery_reader *reader,
                         struct fanq_writer *w)
{
    uint8_t triples[16 * 1024];
    struct fanq_writer ranges = fanq_writer_over(triples, sizeof triples);
    struct fanq_request ack = {.op = FANQ_OP_ACK,
                               .change = {.queue_id = reader->queue_id, .batch = reader->batch}};
    struct fanq_slice slice;
    uint32_t count = 0;
    int found;

    while ((found = fanq_delivery_next(reader, &slice)) == 1) {
        int err = slice_take(receiver, &slice);

        if (err != 0)
            return err;
        fanq_write_uint(&ranges, slice.stream);
        fanq_write_uint(&ranges, slice.first_seq);
        fanq_write_uint(&ranges, slice.records.count);
        count++;
    }
    if (found < 0 || ranges.full)
        return bench_fail(receiver->flow->error, FANQ_ERR_PROTOCOL, "a malformed delivery came");
    if (count == 0 || receiver->auto_delete)
        return 0;
    ack.id = ++receiver->id;
    ack.change.ranges = fanq_ranges_over((struct fanq_bytes){triples, fanq_writer_length(&ranges)}, count);
    fanq_request_encode(w, &ack);
    receiver->acks_open++;
    return 0;
}

/* An answer to deletes. */
static int other_take(struct receiver *receiver, struct fanq_bytes payload)
{
    struct flow *flow = receiver->flow;
    struct fanq_reply reply;
    uint8_t scratch[1024];
    uint64_t count = 0;
    int err = fanq_reply_decode(payload, scratch, sizeof scratch, &reply);

    if (err == 0 && reply.op == FANQ_REPLY_ERROR)
        return bench_fail(flow->error, reply.error.err, "a receive or delete was refused: %.*s",
                          (int)reply.error.text.length, (const char *)reply.error.text.data);
    if (err == 0)
        count = reply.op == FANQ_REPLY_OK ? 1 : reply.op == FANQ_REPLY_OK_RANGE ? reply.ok_range.count : 0;
    if (count == 0 || count > receiver->acks_open)
        return bench_fail(flow->error, FANQ_ERR_PROTOCOL, "an answer came that nobody asked for");
    receiver->acks_open -= count;
    return 0;
}

static int receiver_frame(void *context, struct fanq_bytes payload)
{
    struct receiver *receiver = context;
    struct fanq_writer w = fanq_writer_over(receiver->out, sizeof receiver->out);
    struct fanq_delivery_reader reader;
    int err;

    if (fanq_delivery_open(payload, &reader) != 0)
        return other_take(receiver, payload);
    err = delivery_take(receiver, &reader, &w);
    if (err != 0)
        return err;
    write_receive(receiver, &w);
    return receiver_write(receiver, &w);
}

/* ---- the thread ---- */

static bool receiver_done(const struct receiver *receiver)
{
    return receiver->messages >= flow_get(&receiver->flow->target) && receiver->acks_open == 0;
}

/* Waits in short steps, for the target is set while the last receives are still waiting. */
static int receiver_turn(struct receiver *receiver)
{
    struct flow *flow = receiver->flow;
    struct pollfd polled = {.fd = receiver->inbox.fd, .events = POLLIN};
    int err = 0;

    if (poll(&polled, 1, LOOK_MS) > 0)
        err = inbox_read(&receiver->inbox, receiver->shared, receiver_frame, receiver);
    if (err != 0)
        return bench_fail(flow->error, err, "the receiver's connection failed: %s", fanq_strerror(err));
    flow_set(&flow->consumers[0].messages, receiver->messages);
    flow_set(&flow->consumers[0].bytes, receiver->inbox.bytes);
    flow_set(&flow->consumers[0].least, receiver->messages);
    flow_advanced(flow);
    return 0;
}

static void *receiver_run(void *context)
{
    struct receiver *receiver = context;
    struct flow *flow = receiver->flow;
    struct fanq_writer w = fanq_writer_over(receiver->out, sizeof receiver->out);
    uint64_t moved_ns = clock_ns(), before;

    for (int i = 0; i < RECEIVER_DEPTH; i++)
        write_receive(receiver, &w);
    if (receiver_write(receiver, &w) != 0)
        return NULL;
    while (!receiver_done(receiver) && bench_error_get(flow->error) == 0) {
        before = receiver->inbox.bytes;
        if (receiver_turn(receiver) != 0)
            break;
        if (receiver->inbox.bytes != before)
            moved_ns = clock_ns();
        else if (clock_ns() - moved_ns > (uint64_t)FLOW_PATIENCE_MS * 1000000)
            bench_fail(flow->error, FANQ_ERR_TIMEOUT, "no message came for %d s", FLOW_PATIENCE_MS / 1000);
    }
    if (bench_error_get(flow->error) != 0)
        flow_wake(flow);
    return NULL;
}

int receiver_start(struct receiver *receiver)
{
    if (pthread_create(&receiver->thread, NULL, receiver_run, receiver) != 0)
        return bench_fail(receiver->flow->error, FANQ_ERR_NOMEM, "cannot start a thread");
    return 0;
}

void receiver_join(struct receiver *receiver)
{
    (void)pthread_join(receiver->thread, NULL); /* fails only for threads that are none */
}
