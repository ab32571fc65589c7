/* The connection: addresses tried in turn, the greeting, the loss, the pause before the next try.
 *
 *     NEW -> CONNECTING -> GREETING -> READY
 *               |  ^          |          |
 *               |  +----------+          |     next address, or next URL
 *               v                        |
 *             PAUSE <--------------------+     all URLs were tried, or a good connection was lost
 *               |
 *               +-> CONNECTING again, or CLOSED where the program does not want to reconnect
 *
 * Pauses are drawn from [0, min * 2^failures), so that many clients of one broker do not come back at
 * once. */
#include "client.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

void fanq_connection_want(struct fanq *client, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = client->socket};

    if (client->interest == events)
        return;
    /* A registered, open descriptor can be modified; the kernel needs no memory for it. */
    (void)epoll_ctl(client->epoll_fd, EPOLL_CTL_MOD, client->socket, &event);
    client->interest = events;
}

void fanq_connection_close(struct fanq *client)
{
    if (client->socket >= 0)
        (void)close(client->socket); /* leaves the epoll set by itself; nothing to be done about an error */
    client->socket = -1;
    client->interest = 0;
    client->blocked = false;
    fanq_input_reset(client);
}

static uint64_t random_next(struct fanq *client)
{
    uint64_t x = client->random; /* xorshift; only pauses depend on it */

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    client->random = x;
    return x;
}

static void pause_begin(struct fanq *client)
{
    uint32_t doublings = client->failures < 20 ? client->failures : 20;
    uint64_t range_ms = (uint64_t)client->options.reconnect_ms_min << doublings;

    if (range_ms > client->options.reconnect_ms_max)
        range_ms = client->options.reconnect_ms_max;
    client->failures++;
    client->retry_at_ms = client->now_ms + random_next(client) % (range_ms + 1);
    client->phase = PHASE_PAUSE;
    fanq_client_set_state(client, FANQ_CLIENT_LOST, &client->cause);
}

/* No connection now: wait for the next round over the URLs, or give up. */
static void give_up_for_now(struct fanq *client)
{
    if (client->options.reconnect) {
        pause_begin(client);
        return;
    }
    client->phase = PHASE_CLOSED;
    fanq_client_end_all(client, FANQ_ERR_NOT_CONNECTED);
    fanq_client_set_state(client, FANQ_CLIENT_CLOSED, &client->cause);
}

static void set_cause(struct fanq *client, int code, const char *why)
{
    fanq_error_set_text(&client->cause, code, "%s: %s", fanq_current_url(client), why);
}

/* Begins to connect to the address. 0 or FANQ_ERR_IO. */
static int address_connect(struct fanq *client, const struct address *address)
{
    int family = address->storage.ss_family;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT};
    int on = 1;

    client->socket = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->socket < 0)
        return FANQ_ERR_IO;
    if (family != AF_UNIX) {
        /* Without these it still works, only slower to send and slower to notice. */
        (void)setsockopt(client->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        (void)setsockopt(client->socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    }
    event.data.fd = client->socket;
    if (connect(client->socket, (const struct sockaddr *)&address->storage, address->length) != 0 &&
        errno != EINPROGRESS)
        return FANQ_ERR_IO;
    if (epoll_ctl(client->epoll_fd, EPOLL_CTL_ADD, client->socket, &event) != 0)
        return FANQ_ERR_IO;
    client->interest = event.events;
    client->phase = PHASE_CONNECTING;
    client->connect_deadline_ms = client->now_ms + client->options.connect_timeout_ms;
    return 0;
}

/* Takes the next URL and looks up its addresses. */
static void endpoint_next(struct fanq *client)
{
    if (client->endpoints_tried > 0)
        client->endpoint_index = (client->endpoint_index + 1) % client->endpoint_count;
    client->endpoints_tried++;
    client->address_index = client->address_count = 0;
    if (fanq_endpoint_resolve(&client->endpoints[client->endpoint_index], client->addresses,
                              &client->address_count) != 0)
        set_cause(client, FANQ_ERR_IO, "the host name has no address");
}

/* Goes on to the next address that can be tried at all. */
static void try_next(struct fanq *client)
{
    for (;;) {
        if (client->address_index < client->address_count) {
            if (address_connect(client, &client->addresses[client->address_index++]) == 0)
                return;
            set_cause(client, FANQ_ERR_IO, strerror(errno));
            fanq_connection_close(client);
        } else if (client->endpoints_tried < client->endpoint_count) {
            endpoint_next(client);
        } else {
            give_up_for_now(client);
            return;
        }
    }
}

void fanq_connection_begin(struct fanq *client)
{
    client->endpoints_tried = 0;
    client->address_index = client->address_count = 0;
    fanq_client_set_state(client, FANQ_CLIENT_CONNECTING, NULL);
    if (!client->freed)
        try_next(client);
}

void fanq_connection_lost(struct fanq *client, int code, const char *why)
{
    bool was_ready = client->phase == PHASE_READY;

    set_cause(client, code, why);
    client->farewell[0] = '\0';
    fanq_connection_close(client);
    if (!was_ready) {
        try_next(client);
        return;
    }
    fanq_requests_lost(client);
    give_up_for_now(client);
}

/* ---- greeting ---- */

static int connect_error(const struct fanq *client)
{
    int error = 0;
    socklen_t length = sizeof(error);

    return getsockopt(client->socket, SOL_SOCKET, SO_ERROR, &error, &length) == 0 ? error : errno;
}

static void greet(struct fanq *client)
{
    struct fanq_writer w = fanq_writer_over(client->greeting, sizeof(client->greeting));
    size_t producer_bytes = client->has_producer ? sizeof(client->producer) : 0;
    struct fanq_request hello = {.op = FANQ_OP_HELLO,
                                 .hello = {.version_min = FANQ_PROTOCOL_VERSION,
                                           .version_max = FANQ_PROTOCOL_VERSION,
                                           .client = bytes_of(client->name, strlen(client->name)),
                                           .producer = {client->producer, producer_bytes}}};

    fanq_request_encode(&w, &hello);
    assert(!w.full);
    client->greeting_bytes = fanq_writer_length(&w);
    client->greeting_written = 0;
    client->phase = PHASE_GREETING;
    fanq_connection_want(client, EPOLLIN);
}

static void take_text(char *to, size_t size, struct fanq_bytes from)
{
    size_t length = from.length < size - 1 ? from.length : size - 1;

    memcpy(to, from.data, length);
    to[length] = '\0';
}

int fanq_connection_greeted(struct fanq *client, const struct fanq_reply *reply)
{
    const struct fanq_hello_reply *hello = &reply->hello;

    if (reply->id != 0 || reply->op != FANQ_REPLY_HELLO)
        return FANQ_ERR_PROTOCOL;
    if (hello->version != FANQ_PROTOCOL_VERSION)
        return FANQ_ERR_VERSION;
    if (hello->frame_bytes_max < FRAME_BYTES_MAX_LEAST)
        return FANQ_ERR_PROTOCOL;
    take_text(client->broker_server, sizeof(client->broker_server), hello->server);
    take_text(client->broker_storage, sizeof(client->broker_storage), hello->storage);
    client->broker = (struct fanq_broker_info){.epoch = hello->epoch,
                                               .server = client->broker_server,
                                               .storage = client->broker_storage,
                                               .frame_bytes_max = hello->frame_bytes_max,
                                               .message_bytes_max = hello->message_bytes_max,
                                               .auto_create = hello->auto_create};
    client->remembered = hello->has_producer;
    if (!hello->has_producer || !hello->producer_known)
        fanq_requests_forgotten(client);
    if (fanq_requests_replay(client) != 0)
        return FANQ_ERR_NOMEM;
    client->phase = PHASE_READY;
    client->failures = 0;
    fanq_client_set_state(client, FANQ_CLIENT_READY, NULL);
    return 0;
}

/* ---- events and time ---- */

static void connected_or_not(struct fanq *client)
{
    int error = connect_error(client);

    if (error != 0)
        fanq_connection_lost(client, FANQ_ERR_IO, strerror(error));
    else
        greet(client);
}

static const char *loss_text(const struct fanq *client, int err)
{
    if (client->farewell[0] != '\0')
        return client->farewell;
    if (err == FANQ_ERR_UNKNOWN)
        return "the broker closed the connection";
    return err == FANQ_ERR_IO ? strerror(errno) : fanq_strerror(err);
}

void fanq_connection_step(struct fanq *client, uint32_t events)
{
    if (client->phase == PHASE_CONNECTING && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0)
        connected_or_not(client);
    if (client->phase != PHASE_GREETING && client->phase != PHASE_READY)
        return;
    if ((events & EPOLLOUT) != 0) {
        client->blocked = false;
        fanq_connection_want(client, EPOLLIN);
    }
    if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) == 0)
        return;
    int err = fanq_input_read(client);
    if (err != 0 && !client->freed)
        fanq_connection_lost(client, err == FANQ_ERR_UNKNOWN ? FANQ_ERR_NOT_CONNECTED : err,
                             loss_text(client, err));
}

static void ping(struct fanq *client)
{
    struct fanq_request wire = {.op = FANQ_OP_PING};
    struct request like = {.kind = REQUEST_PING};

    /* Without memory for a ping the next round tries again. */
    if (fanq_request_submit_own(client, &wire, &like, client->options.ping_interval_ms) == 0)
        client->pinging = true;
}

void fanq_connection_timers(struct fanq *client)
{
    uint64_t now_ms = client->now_ms;
    uint32_t interval_ms = client->options.ping_interval_ms;

    if (client->phase == PHASE_NEW || (client->phase == PHASE_PAUSE && now_ms >= client->retry_at_ms))
        fanq_connection_begin(client);
    else if ((client->phase == PHASE_CONNECTING || client->phase == PHASE_GREETING) &&
             now_ms >= client->connect_deadline_ms)
        fanq_connection_lost(client, FANQ_ERR_TIMEOUT, "no answer in time");
    else if (client->phase == PHASE_READY && interval_ms > 0 && !client->pinging &&
             now_ms >= client->received_at_ms + interval_ms)
        ping(client);
}

uint64_t fanq_connection_next_deadline_ms(const struct fanq *client)
{
    switch (client->phase) {
    case PHASE_NEW:
        return 0;
    case PHASE_CONNECTING:
    case PHASE_GREETING:
        return client->connect_deadline_ms;
    case PHASE_PAUSE:
        return client->retry_at_ms;
    case PHASE_READY:
        if (client->options.ping_interval_ms > 0 && !client->pinging)
            return client->received_at_ms + client->options.ping_interval_ms;
        return UINT64_MAX;
    case PHASE_CLOSED:
        break;
    }
    return UINT64_MAX;
}
