/* One turn: what is answered is counted, what the window allows is stamped, what is stamped is written; and
 * when none of that was possible, the thread sleeps until a socket or a subscriber says that it is. */
#include "publisher.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "link.h"
#include "proto/reply.h"

struct publisher_at {
    struct publisher *publisher;
    struct publisher_connection *connection;
};

static uint64_t unanswered(const struct publisher_connection *connection)
{
    return connection->sent - connection->answered;
}

/* ---- answers ---- */

static int publisher_frame(void *context, struct fanq_bytes payload)
{
    struct publisher_at *at = context;
    struct flow *flow = at->publisher->flow;
    struct fanq_reply reply;
    uint8_t scratch[1024];
    uint64_t count;
    int err = fanq_reply_decode(payload, scratch, sizeof scratch, &reply);

    if (err != 0)
        return bench_fail(flow->error, err, "a malformed answer came to a publish");
    switch (reply.op) {
    case FANQ_REPLY_OK:
        count = 1;
        break;
    case FANQ_REPLY_OK_RANGE:
        count = reply.ok_range.count;
        break;
    case FANQ_REPLY_ERROR:
        return bench_fail(flow->error, reply.error.err, "a publish was refused: %.*s",
                          (int)reply.error.text.length, (const char *)reply.error.text.data);
    default:
        return bench_fail(flow->error, FANQ_ERR_PROTOCOL, "a publish was answered with %s",
                          fanq_reply_name(reply.op));
    }
    if (count > unanswered(at->connection))
        return bench_fail(flow->error, FANQ_ERR_PROTOCOL, "more publishes were answered than sent");
    at->connection->answered += count;
    flow_set(&flow->answered, flow_get(&flow->answered) + count * flow->batch);
    return 0;
}

static int connection_read(struct publisher *publisher, struct publisher_connection *connection)
{
    struct publisher_at at = {publisher, connection};
    int err = inbox_read(&connection->inbox, publisher->shared, publisher_frame, &at);

    return err == 0 ? 0
                    : bench_fail(publisher->flow->error, err, "the publisher's connection failed: %s",
                                 fanq_strerror(err));
}

/* ---- sending ---- */

static uint64_t window_less(uint64_t window, uint64_t used)
{
    return used < window ? window - used : 0;
}

/* How many messages may be sent now by the windows. */
static uint64_t window_left(const struct publisher *publisher)
{
    const struct flow *flow = publisher->flow;
    uint64_t published = flow_get(&flow->published);
    uint64_t left = window_less(flow->window_messages, published - flow_least(flow));
    uint64_t answers_left;

    if (!publisher->is_answered)
        return left;
    answers_left = window_less(flow->answer_window_messages, published - flow_get(&flow->answered));
    return answers_left < left ? answers_left : left;
}

/* How many messages are due by the rate and not sent yet. */
static uint64_t due_left(const struct publisher *publisher, uint64_t now_ns)
{
    double due = (double)(now_ns - publisher->start_ns) * publisher->rate / 1e9 + 1;

    return (uint64_t)due > publisher->messages ? (uint64_t)due - publisher->messages : 0;
}

/* When the how manyth message of this round is due. */
static uint64_t due_ns(const struct publisher *publisher, uint64_t messages)
{
    return publisher->start_ns + (uint64_t)((double)messages * 1e9 / publisher->rate);
}

static bool publisher_wants(const struct publisher *publisher)
{
    return !atomic_load_explicit(&publisher->flow->stop, memory_order_relaxed) &&
           (publisher->messages_max == 0 || publisher->messages < publisher->messages_max);
}

/* How many frames of the train to fill; none before half a train fits, lest writes become small. */
static uint32_t frames_allowed(const struct publisher *publisher, const struct train *train)
{
    uint64_t frames = window_left(publisher) / train->batch;
    uint64_t frames_min = (train->frame_count + 1) / 2;

    if (!publisher_wants(publisher))
        return 0;
    if (publisher->rate > 0) {
        uint64_t due_frames = (due_left(publisher, clock_ns()) + train->batch - 1) / train->batch;

        frames = due_frames < frames ? due_frames : frames;
        frames_min = 0;
    }
    if (frames < frames_min)
        return 0;
    return frames < train->frame_count ? (uint32_t)frames : train->frame_count;
}

/* Stamps `frames` frames and makes them what has to be written. */
static void connection_load(struct publisher *publisher, struct publisher_connection *connection,
                            uint32_t frames)
{
    struct flow *flow = publisher->flow;
    struct train *train = &connection->train;
    uint32_t index = (uint32_t)(connection - publisher->connections);

    for (uint32_t i = 0; i < frames; i++) {
        if (flow->times_ns != NULL)
            flow_set(flow_time(flow, index, connection->sequence),
                     publisher->rate > 0 ? due_ns(publisher, publisher->messages) : clock_ns());
        train_stamp(train, i, connection->request_id++, index, connection->sequence);
        connection->sequence += train->batch;
        publisher->messages += train->batch;
    }
    connection->sent += frames;
    connection->out = train->data;
    connection->out_bytes = frames * train->frame_bytes;
    flow_set(&flow->published, flow_get(&flow->published) + (uint64_t)frames * train->batch);
}

/* *ret_moved: something went out. */
static int connection_write(struct publisher *publisher, struct publisher_connection *connection,
                            bool *ret_moved)
{
    ssize_t written = send(connection->inbox.fd, connection->out, connection->out_bytes, MSG_NOSIGNAL);

    if (written < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (written < 0)
        return bench_fail(publisher->flow->error, FANQ_ERR_NOT_CONNECTED,
                          "the publisher's connection failed: %s", strerror(errno));
    connection->out += written;
    connection->out_bytes -= (size_t)written;
    *ret_moved = true;
    return 0;
}

static int connection_turn(struct publisher *publisher, struct publisher_connection *connection,
                           bool *ret_moved)
{
    uint32_t frames = connection->out_bytes == 0 ? frames_allowed(publisher, &connection->train) : 0;

    if (frames > 0)
        connection_load(publisher, connection, frames);
    return connection->out_bytes > 0 ? connection_write(publisher, connection, ret_moved) : 0;
}

/* ---- waiting ---- */

/* Asks the consumers to wake it when a full train fits into the window again. */
static void wake_set(struct publisher *publisher)
{
    struct flow *flow = publisher->flow;
    uint64_t published = flow_get(&flow->published);
    uint64_t train = (uint64_t)publisher->connections[0].train.frame_count * flow->batch;
    uint64_t wake_at =
        published + train > flow->window_messages ? published + train - flow->window_messages : 0;

    atomic_store(&flow->wake_at, wake_at < published ? wake_at : published);
    atomic_thread_fence(memory_order_seq_cst); /* pairs with that of flow_advanced() */
}

/* For how long to sleep at the most; zero or negative: not at all. */
static int64_t sleep_ns(const struct publisher *publisher)
{
    if (publisher->rate > 0 && publisher_wants(publisher) && window_left(publisher) >= publisher->flow->batch)
        return (int64_t)(due_ns(publisher, publisher->messages) - clock_ns());
    return (int64_t)FLOW_PATIENCE_MS * 1000000;
}

/* Sleeps until a socket is ready, a consumer wakes it or the time is over. */
static int publisher_poll(struct publisher *publisher, int64_t for_ns)
{
    struct pollfd *polled = publisher->polled;
    struct timespec timeout = {for_ns > 0 ? for_ns / 1000000000 : 0, for_ns > 0 ? for_ns % 1000000000 : 0};
    int count;

    polled[0] = (struct pollfd){.fd = publisher->flow->wake_fd, .events = POLLIN};
    for (uint32_t i = 0; i < publisher->connection_count; i++) {
        struct publisher_connection *connection = &publisher->connections[i];

        polled[i + 1] = (struct pollfd){.fd = connection->inbox.fd, .events = POLLIN};
        if (connection->out_bytes > 0)
            polled[i + 1].events |= POLLOUT;
    }
    count = ppoll(polled, publisher->connection_count + 1, &timeout, NULL);
    if (count < 0 && errno != EINTR)
        return bench_fail(publisher->flow->error, FANQ_ERR_IO, "poll: %s", strerror(errno));
    if (count == 0 && for_ns >= (int64_t)FLOW_PATIENCE_MS * 1000000)
        return bench_fail(publisher->flow->error, FANQ_ERR_TIMEOUT, "nothing was taken or answered for %d s",
                          FLOW_PATIENCE_MS / 1000);
    return 0;
}

static int publisher_sleep(struct publisher *publisher)
{
    uint64_t signals;
    int err = 0;

    wake_set(publisher);
    if (publisher_wants(publisher) && publisher->connections[0].out_bytes == 0 &&
        frames_allowed(publisher, &publisher->connections[0].train) > 0)
        return 0; /* a consumer advanced meanwhile */
    err = publisher_poll(publisher, sleep_ns(publisher));
    if (err == 0 && publisher->polled[0].revents != 0)
        (void)!read(publisher->flow->wake_fd, &signals, sizeof signals); /* only to clear it */
    for (uint32_t i = 0; i < publisher->connection_count && err == 0; i++)
        if (publisher->polled[i + 1].revents & (POLLIN | POLLERR | POLLHUP))
            err = connection_read(publisher, &publisher->connections[i]);
    return err;
}

/* ---- the thread ---- */

static bool publisher_done(const struct publisher *publisher)
{
    if (publisher_wants(publisher))
        return false;
    for (uint32_t i = 0; i < publisher->connection_count; i++)
        if (publisher->connections[i].out_bytes > 0 ||
            (publisher->is_answered && unanswered(&publisher->connections[i]) > 0))
            return false;
    return true;
}

static int publisher_turn(struct publisher *publisher)
{
    bool moved = false;

    for (uint32_t i = 0; i < publisher->connection_count; i++) {
        int err = connection_turn(publisher, &publisher->connections[i], &moved);

        if (err != 0)
            return err;
    }
    return moved || publisher_done(publisher) ? 0 : publisher_sleep(publisher);
}

static void *publisher_run(void *context)
{
    struct publisher *publisher = context;

    while (!publisher_done(publisher) && bench_error_get(publisher->flow->error) == 0)
        if (publisher_turn(publisher) != 0)
            break;
    publisher->end_ns = clock_ns();
    return NULL;
}

int publisher_init(struct publisher *publisher, struct flow *flow, struct publisher_connection *connections,
                   uint32_t connection_count)
{
    *publisher =
        (struct publisher){.flow = flow, .connections = connections, .connection_count = connection_count};
    publisher->polled = calloc(connection_count + 1, sizeof *publisher->polled);
    return publisher->polled != NULL ? 0 : bench_fail(flow->error, FANQ_ERR_NOMEM, "out of memory");
}

void publisher_close(struct publisher *publisher)
{
    free(publisher->polled);
    publisher->polled = NULL;
}

int publisher_start(struct publisher *publisher)
{
    publisher->messages = 0;
    publisher->start_ns = clock_ns();
    if (pthread_create(&publisher->thread, NULL, publisher_run, publisher) != 0)
        return bench_fail(publisher->flow->error, FANQ_ERR_NOMEM, "cannot start a thread");
    return 0;
}

void publisher_join(struct publisher *publisher)
{
    (void)pthread_join(publisher->thread, NULL); /* fails only for threads that are none */
}
