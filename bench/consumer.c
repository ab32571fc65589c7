#include "consumer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "link.h"
#include "payload.h"
#include "proto/reply.h"
#include "train.h"

enum { EVENTS_MAX = 64 };

/* What a frame's handler needs. */
struct consumer_at {
    struct consumer *consumer;
    struct subscriber *subscriber;
};

/* ---- checking ---- */

/* Counts how many messages at `body` follow `stamp` without a gap and whole. Inlined with a constant size
 * where it is one of the usual ones, which spares half of the hash's time. */
static inline __attribute__((always_inline)) uint32_t row_check(const uint8_t *body, uint32_t count,
                                                                size_t size, uint64_t stamp)
{
    uint32_t i = 0;

    while (i < count && payload_is(body, size, stamp + i)) {
        body += train_record_bytes(size);
        i++;
    }
    return i;
}

static uint32_t row_check_any(const uint8_t *body, uint32_t count, size_t size, uint64_t stamp)
{
    switch (size) {
    case 16:
        return row_check(body, count, 16, stamp);
    case 128:
        return row_check(body, count, 128, stamp);
    default:
        return row_check(body, count, size, stamp);
    }
}

static int bad_message(struct consumer *consumer, const uint8_t *body, uint32_t publisher, uint64_t expected)
{
    return bench_fail(consumer->flow->error, FANQ_ERR_PROTOCOL,
                      "message %llu of publisher %u was expected, but something else came (stamp %#llx)",
                      (unsigned long long)expected, publisher,
                      (unsigned long long)payload_stamp_read(body, consumer->flow->size));
}

/* Adds the time that the messages [sequence, sequence + count) were under way. */
static void row_latency(struct consumer *consumer, uint32_t publisher, uint64_t sequence, uint32_t count)
{
    const struct flow *flow = consumer->flow;

    while (count > 0) {
        uint32_t in_batch = flow->batch - (uint32_t)(sequence % flow->batch);
        uint64_t sent_ns = flow_get(flow_time(flow, publisher, sequence));

        if (in_batch > count)
            in_batch = count;
        histogram_add(consumer->latency, consumer->now_ns > sent_ns ? consumer->now_ns - sent_ns : 0,
                      in_batch);
        sequence += in_batch;
        count -= in_batch;
    }
}

/* Rows of several publishers follow each other in a slice, in an order that nobody promises: each row begins
 * where its stamp says. Bodies too short for a stamp come from one publisher. */
static int slice_check(struct consumer *consumer, struct subscriber *subscriber,
                       const struct fanq_records *records)
{
    const struct flow *flow = consumer->flow;
    const uint8_t *record = records->data;
    uint32_t left = records->count;

    if (records->length != left * train_record_bytes(flow->size))
        return bench_fail(flow->error, FANQ_ERR_PROTOCOL, "a delivery has messages of another length");
    while (left > 0) {
        const uint8_t *body = record + FANQ_RECORD_PLAIN_BYTES;
        uint64_t publisher = 0;
        uint32_t good;

        if (flow->publisher_count > 1)
            publisher = payload_stamp_read(body, flow->size) >> PAYLOAD_SEQUENCE_BITS;
        if (publisher >= flow->publisher_count)
            return bad_message(consumer, body, 0, subscriber->next[0]);
        good = row_check_any(body, left, flow->size,
                             payload_stamp_of((uint32_t)publisher, subscriber->next[publisher]));
        if (good == 0)
            return bad_message(consumer, body, (uint32_t)publisher, subscriber->next[publisher]);
        if (consumer->latency != NULL)
            row_latency(consumer, (uint32_t)publisher, subscriber->next[publisher], good);
        subscriber->next[publisher] += good;
        record += good * train_record_bytes(flow->size);
        left -= good;
    }
    return 0;
}

/* ---- frames ---- */

static int other_frame(struct consumer *consumer, struct fanq_bytes payload)
{
    struct fanq_reply reply;
    uint8_t scratch[256];
    int err = fanq_reply_decode(payload, scratch, sizeof scratch, &reply);

    if (err == 0 && reply.op == FANQ_REPLY_OK)
        return 0;
    if (err == 0 && (reply.op == FANQ_REPLY_ERROR || reply.op == FANQ_REPLY_PUSH_END))
        return bench_fail(consumer->flow->error, reply.error.err, "the push ended: %.*s",
                          (int)reply.error.text.length, (const char *)reply.error.text.data);
    return bench_fail(consumer->flow->error, FANQ_ERR_PROTOCOL, "something else than a delivery came");
}

static int consumer_frame(void *context, struct fanq_bytes payload)
{
    struct consumer_at *at = context;
    struct fanq_delivery_reader reader;
    struct fanq_slice slice;
    int found = fanq_delivery_open(payload, &reader);

    if (found != 0)
        return other_frame(at->consumer, payload);
    if (at->consumer->latency != NULL && at->consumer->now_ns == 0)
        at->consumer->now_ns = clock_ns();
    while ((found = fanq_delivery_next(&reader, &slice)) == 1) {
        int err = slice_check(at->consumer, at->subscriber, &slice.records);

        if (err != 0)
            return err;
        at->subscriber->received += slice.records.count;
        at->consumer->messages += slice.records.count;
        at->subscriber->spent_messages += slice.records.count;
        at->subscriber->spent_bytes += slice.records.length;
    }
    return found == 0 ? 0 : bench_fail(at->consumer->flow->error, found, "a malformed delivery came");
}

/* Gives back what was spent once it is half of the credit. */
static int subscriber_credit(struct consumer *consumer, struct subscriber *subscriber)
{
    uint8_t buffer[64];
    struct fanq_writer w = fanq_writer_over(buffer, sizeof buffer);
    struct fanq_request request = {.op = FANQ_OP_CREDIT,
                                   .credit = {.push = subscriber->push,
                                              .messages = subscriber->spent_messages,
                                              .bytes = subscriber->spent_bytes}};
    size_t length;

    if (!subscriber->credited || (subscriber->spent_messages < SUBSCRIBER_CREDIT_MESSAGES / 2 &&
                                  subscriber->spent_bytes < SUBSCRIBER_CREDIT_BYTES / 2))
        return 0;
    fanq_request_encode(&w, &request);
    length = fanq_writer_length(&w);
    if (send(subscriber->inbox.fd, buffer, length, MSG_NOSIGNAL) != (ssize_t)length)
        return bench_fail(consumer->flow->error, FANQ_ERR_IO,
                          "the broker does not read what subscribers send");
    subscriber->spent_messages = 0;
    subscriber->spent_bytes = 0;
    return 0;
}

static int subscriber_read(struct consumer *consumer, struct subscriber *subscriber)
{
    struct consumer_at at = {consumer, subscriber};
    uint64_t bytes_before = subscriber->inbox.bytes;
    int err;

    consumer->now_ns = 0;
    err = inbox_read(&subscriber->inbox, consumer->shared, consumer_frame, &at);
    if (err != 0)
        return bench_fail(consumer->flow->error, err, "a subscriber's connection failed: %s",
                          fanq_strerror(err));
    consumer->bytes += subscriber->inbox.bytes - bytes_before;
    return subscriber_credit(consumer, subscriber);
}

/* ---- the thread ---- */

/* Tells how far all its subscribers are. */
static uint64_t consumer_report(struct consumer *consumer)
{
    uint64_t least = UINT64_MAX;

    for (uint32_t i = 0; i < consumer->subscriber_count; i++)
        if (consumer->subscribers[i].received < least)
            least = consumer->subscribers[i].received;
    flow_set(&consumer->progress->messages, consumer->messages);
    flow_set(&consumer->progress->bytes, consumer->bytes);
    if (least != flow_get(&consumer->progress->least)) {
        flow_set(&consumer->progress->least, least);
        flow_advanced(consumer->flow);
    }
    return least;
}

static int consumer_turn(struct consumer *consumer)
{
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(consumer->epoll_fd, events, EVENTS_MAX, FLOW_PATIENCE_MS);
    int err = 0;

    if (count < 0)
        return errno == EINTR
                   ? 0
                   : bench_fail(consumer->flow->error, FANQ_ERR_IO, "epoll_wait: %s", strerror(errno));
    if (count == 0)
        return bench_fail(consumer->flow->error, FANQ_ERR_TIMEOUT,
                          "no message came for %d s; the slowest subscriber had %llu of %llu",
                          FLOW_PATIENCE_MS / 1000, (unsigned long long)flow_get(&consumer->progress->least),
                          (unsigned long long)flow_get(&consumer->flow->published));
    for (int i = 0; i < count && err == 0; i++) {
        uint64_t signals;

        if (events[i].data.ptr != NULL)
            err = subscriber_read(consumer, events[i].data.ptr);
        else
            (void)!read(consumer->stop_fd, &signals, sizeof signals); /* the target is read below */
    }
    return err;
}

static void *consumer_run(void *context)
{
    struct consumer *consumer = context;
    struct flow *flow = consumer->flow;
    uint64_t least = consumer_report(consumer);

    while (least < flow_get(&flow->target) && bench_error_get(flow->error) == 0) {
        if (consumer_turn(consumer) != 0)
            break;
        least = consumer_report(consumer);
    }
    if (bench_error_get(flow->error) != 0)
        flow_wake(flow);
    return NULL;
}

static int consumer_watch(struct consumer *consumer, int fd, void *what)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = what};

    if (fd < 0 || consumer->epoll_fd < 0 || epoll_ctl(consumer->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        return bench_fail(consumer->flow->error, FANQ_ERR_IO, "epoll: %s", strerror(errno));
    return 0;
}

int consumer_init(struct consumer *consumer, struct flow *flow, uint32_t index,
                  struct subscriber *subscribers, uint32_t subscriber_count)
{
    int err;

    *consumer = (struct consumer){.flow = flow,
                                  .progress = &flow->consumers[index],
                                  .subscribers = subscribers,
                                  .subscriber_count = subscriber_count};
    consumer->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    consumer->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    err = consumer_watch(consumer, consumer->stop_fd, NULL);
    for (uint32_t i = 0; i < subscriber_count && err == 0; i++)
        err = consumer_watch(consumer, subscribers[i].inbox.fd, &subscribers[i]);
    return err;
}

void consumer_close(struct consumer *consumer)
{
    if (consumer->epoll_fd >= 0)
        close(consumer->epoll_fd);
    if (consumer->stop_fd >= 0)
        close(consumer->stop_fd);
    consumer->epoll_fd = consumer->stop_fd = -1;
}

int consumer_start(struct consumer *consumer)
{
    if (pthread_create(&consumer->thread, NULL, consumer_run, consumer) != 0)
        return bench_fail(consumer->flow->error, FANQ_ERR_NOMEM, "cannot start a thread");
    return 0;
}

void consumer_target(struct consumer *consumer)
{
    uint64_t one = 1;

    (void)!write(consumer->stop_fd, &one, sizeof one); /* cannot fail: it is read before 2^64 signals */
}

void consumer_join(struct consumer *consumer)
{
    (void)pthread_join(consumer->thread, NULL); /* fails only for threads that are none */
}
