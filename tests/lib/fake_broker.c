#include "fake_broker.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { INPUT_BYTES = 16 * 1024 * 1024, PATIENCE_MS = 10000, FRAME_BYTES = 1024 * 1024 };

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void fail(const char *what)
{
    fprintf(stderr, "fake broker: %s\n", what);
    abort();
}

/* One round of the client, after waiting a moment for something to do. */
static void drive(struct fanq *client)
{
    struct pollfd fd = {.fd = fanq_fd(client), .events = (short)fanq_events(client)};
    int timeout_ms = fanq_timeout_ms(client);

    poll(&fd, 1, timeout_ms >= 0 && timeout_ms < 1 ? timeout_ms : 1);
    (void)fanq_process(client);
}

void drive_until(struct fanq *client, const int *flag, int value)
{
    uint64_t end_ms = now_ms() + PATIENCE_MS;

    while (*flag < value) {
        if (now_ms() > end_ms)
            fail("what the test waits for does not come");
        drive(client);
    }
}

void drive_some(struct fanq *client)
{
    for (int i = 0; i < 4; i++)
        drive(client);
}

void fake_broker_open(struct fake_broker *broker)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    *broker = (struct fake_broker){.socket = -1, .epoch = 1, .storage = "memory"};
    strcpy(broker->directory, "/tmp/fanq-fake-XXXXXX");
    if (mkdtemp(broker->directory) == NULL)
        fail("no directory");
    snprintf(broker->path, sizeof(broker->path), "%s/socket", broker->directory);
    snprintf(broker->url, sizeof(broker->url), "unix:%s", broker->path);
    strcpy(address.sun_path, broker->path);
    broker->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    broker->input = malloc(INPUT_BYTES);
    if (broker->listener < 0 || broker->input == NULL ||
        bind(broker->listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(broker->listener, 8) != 0)
        fail("cannot listen");
}

void fake_broker_close(struct fake_broker *broker)
{
    fake_broker_hang_up(broker);
    close(broker->listener);
    unlink(broker->path);
    rmdir(broker->directory);
    free(broker->input);
}

void fake_broker_accept(struct fake_broker *broker, struct fanq *client)
{
    uint64_t end_ms = now_ms() + PATIENCE_MS;

    do {
        if (now_ms() > end_ms)
            fail("the client does not connect");
        drive(client);
        broker->socket = accept4(broker->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    } while (broker->socket < 0);
    broker->input_bytes = broker->taken_bytes = 0;
}

void fake_broker_hang_up(struct fake_broker *broker)
{
    if (broker->socket >= 0)
        close(broker->socket);
    broker->socket = -1;
}

/* Reads what has come. */
static void read_some(struct fake_broker *broker)
{
    ssize_t got =
        recv(broker->socket, broker->input + broker->input_bytes, INPUT_BYTES - broker->input_bytes, 0);

    if (got > 0)
        broker->input_bytes += (size_t)got;
}

/* Looks for a whole request. */
static bool find(struct fake_broker *broker, struct fanq_request *ret_request)
{
    struct fanq_bytes payload;
    size_t need;
    int found;

    memmove(broker->input, broker->input + broker->taken_bytes, broker->input_bytes - broker->taken_bytes);
    broker->input_bytes -= broker->taken_bytes;
    broker->taken_bytes = 0;
    found =
        fanq_frame_next(broker->input, broker->input_bytes, FANQ_FRAME_BYTES_MAX_DEFAULT, &payload, &need);
    if (found < 0)
        fail("the client sent a bad frame");
    if (found == 0)
        return false;
    if (fanq_request_decode(payload, FANQ_MESSAGE_BYTES_MAX_DEFAULT, ret_request) != 0)
        fail("the client sent a bad request");
    broker->taken_bytes = FANQ_FRAME_HEADER_BYTES + payload.length;
    return true;
}

struct fanq_request fake_broker_take(struct fake_broker *broker, struct fanq *client)
{
    uint64_t end_ms = now_ms() + PATIENCE_MS;
    struct fanq_request request;

    while (!find(broker, &request)) {
        if (now_ms() > end_ms)
            fail("the client asks nothing");
        drive(client);
        read_some(broker);
    }
    return request;
}

bool fake_broker_is_idle(struct fake_broker *broker, struct fanq *client)
{
    struct fanq_request request;

    drive_some(client);
    read_some(broker);
    return !find(broker, &request);
}

bool fake_broker_poll(struct fake_broker *broker, struct fanq *client, struct fanq_request *ret_request)
{
    int socket;

    drive(client);
    socket = accept4(broker->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (socket >= 0) {
        fake_broker_hang_up(broker);
        broker->socket = socket;
        broker->input_bytes = broker->taken_bytes = 0;
    }
    if (broker->socket < 0)
        return false;
    read_some(broker);
    return find(broker, ret_request);
}

void fake_broker_write(struct fake_broker *broker, struct fanq *client, const void *data, size_t bytes)
{
    size_t piece = broker->piece_bytes > 0 ? broker->piece_bytes : bytes;

    for (size_t at = 0; at < bytes;) {
        ssize_t sent = send(broker->socket, (const uint8_t *)data + at,
                            at + piece < bytes ? piece : bytes - at, MSG_NOSIGNAL);
        if (sent > 0)
            at += (size_t)sent;
        else if (errno != EAGAIN)
            return; /* the client has hung up */
        if (at < bytes)
            drive(client);
    }
}

void fake_broker_reply(struct fake_broker *broker, struct fanq *client, const struct fanq_reply *reply)
{
    uint8_t *frame = malloc(FRAME_BYTES);
    struct fanq_writer w = fanq_writer_over(frame, FRAME_BYTES);

    fanq_reply_encode(&w, reply);
    assert(!w.full);
    fake_broker_write(broker, client, frame, fanq_writer_length(&w));
    free(frame);
}

void fake_broker_ok(struct fake_broker *broker, struct fanq *client, uint64_t id)
{
    fake_broker_reply(broker, client, &(struct fanq_reply){.op = FANQ_REPLY_OK, .id = id});
}

void fake_broker_refuse(struct fake_broker *broker, struct fanq *client, uint64_t id, int err)
{
    fake_broker_reply(
        broker, client,
        &(struct fanq_reply){.op = FANQ_REPLY_ERROR,
                             .id = id,
                             .error = {err, {(const uint8_t *)"as scripted", strlen("as scripted")}}});
}

void fake_broker_hello(struct fake_broker *broker, struct fanq *client)
{
    struct fanq_bytes storage = {(const uint8_t *)broker->storage, strlen(broker->storage)};

    fake_broker_reply(broker, client,
                      &(struct fanq_reply){.op = FANQ_REPLY_HELLO,
                                           .hello = {.version = FANQ_PROTOCOL_VERSION,
                                                     .epoch = broker->epoch,
                                                     .server = FANQ_BYTES("fake"),
                                                     .storage = storage,
                                                     .has_producer = broker->keeps_producers,
                                                     .producer_known = broker->knows_producer,
                                                     .frame_bytes_max = FANQ_FRAME_BYTES_MAX_DEFAULT,
                                                     .message_bytes_max = FANQ_MESSAGE_BYTES_MAX_DEFAULT}});
}

void fake_broker_greet(struct fake_broker *broker, struct fanq *client)
{
    uint64_t end_ms = now_ms() + PATIENCE_MS;

    fake_broker_accept(broker, client);
    struct fanq_request hello = fake_broker_take(broker, client);
    if (hello.op != FANQ_OP_HELLO || hello.id != 0)
        fail("the client does not greet");
    memset(broker->producer, 0, sizeof(broker->producer));
    if (hello.hello.producer.length > 0)
        memcpy(broker->producer, hello.hello.producer.data, sizeof(broker->producer));
    fake_broker_hello(broker, client);
    while (fanq_state(client) != FANQ_CLIENT_READY) {
        if (now_ms() > end_ms)
            fail("the client does not become ready");
        drive(client);
    }
}

void fake_broker_deliver(struct fake_broker *broker, struct fanq *client, uint64_t id, uint64_t batch,
                         uint64_t first_seq, uint32_t count)
{
    uint8_t records[4096];
    struct fanq_writer w = fanq_writer_over(records, sizeof(records));

    for (uint32_t i = 0; i < count; i++) {
        uint8_t letter = (uint8_t)('a' + i % 26);
        (void)fanq_record_write(&w, &(struct fanq_record_parts){.body = {&letter, 1}});
    }
    assert(!w.full);
    struct fanq_slice slice = {.stream = 7,
                               .epoch = broker->epoch,
                               .first_seq = first_seq,
                               .time_ms = 1000,
                               .deliveries = 1,
                               .records = {records, fanq_writer_length(&w), count}};
    fake_broker_reply(
        broker, client,
        &(struct fanq_reply){
            .op = FANQ_REPLY_DELIVER,
            .id = id,
            .deliver = {.queue_id = 5, .batch = batch, .slices = &slice, .slice_count = count > 0 ? 1 : 0}});
}
