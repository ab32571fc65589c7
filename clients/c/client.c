/* The client as a whole: opening, rounds, state, closing, freeing.
 *
 * A round is: send what has gathered; wait (only in blocking calls); read and answer; timers; callbacks of
 * what ended without an answer; send what the callbacks made. Callbacks run only inside a round, so `depth`
 * alone tells whether fanq_free() has to wait for its end. */
#include "client.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

static void *default_allocate(void *user, void *memory, size_t bytes)
{
    if (bytes > 0)
        return realloc(memory, bytes);
    free(memory);
    return NULL;
}

/* ---- opening ---- */

/* Takes as much of the program's options as it knows, which may be less than we do. */
static int options_take(struct fanq_options *to, const struct fanq_options *from)
{
    static const struct fanq_options defaults = FANQ_OPTIONS_INIT;

    *to = defaults;
    if (from == NULL)
        return 0;
    if (from->size < sizeof(size_t) || from->size > 4096)
        return FANQ_ERR_INVALID;
    memcpy(to, from, from->size < sizeof(*to) ? from->size : sizeof(*to));
    if (to->gather_count_max == 0 || to->request_timeout_ms == 0 || to->connect_timeout_ms == 0 ||
        to->pending_bytes_max == 0 || to->pending_requests_max == 0 || to->reconnect_ms_min == 0 ||
        to->reconnect_ms_max < to->reconnect_ms_min || to->frame_bytes_max < FRAME_BYTES_MAX_LEAST ||
        to->frame_bytes_max > UINT32_MAX)
        return FANQ_ERR_INVALID;
    if (to->name != NULL && strlen(to->name) > FANQ_CLIENT_NAME_BYTES_MAX)
        return FANQ_ERR_INVALID;
    return 0;
}

static void lists_init(struct fanq *client)
{
    list_init(&client->unsent);
    list_init(&client->sent);
    list_init(&client->ended);
    list_init(&client->kept);
    list_init(&client->timers_regular);
    list_init(&client->timers_other);
    list_init(&client->dirty_gathers);
    list_init(&client->consumers);
    list_init(&client->batches);
    list_init(&client->dirty_batches);
}

static int descriptors_open(struct fanq *client)
{
    struct epoll_event event = {.events = EPOLLIN};

    client->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    client->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (client->epoll_fd < 0 || client->wake_fd < 0)
        return FANQ_ERR_IO;
    event.data.fd = client->wake_fd;
    return epoll_ctl(client->epoll_fd, EPOLL_CTL_ADD, client->wake_fd, &event) == 0 ? 0 : FANQ_ERR_IO;
}

static uint64_t random_seed(void)
{
    uint64_t seed = 0;

    if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != (ssize_t)sizeof(seed))
        seed = fanq_clock_ms() ^ (uint64_t)getpid() << 32;
    return seed | 1; /* xorshift never leaves zero */
}

/* Gives back what the client has; accepts a half-made one. */
static void client_delete(struct fanq *client)
{
    struct memory memory = client->memory;

    fanq_gathers_free(client);
    fanq_buffer_close(&memory, &client->output.buffer);
    fanq_buffer_close(&memory, &client->scratch);
    fanq_buffer_close(&memory, &client->ranges);
    fanq_input_reset(client);
    memory_free(&memory, client->input.spare);
    memory_free(&memory, client->table.slots);
    for (size_t at = 0; at < client->request_blocks.length; at += sizeof(void *)) {
        void *block;
        memcpy(&block, client->request_blocks.data + at, sizeof(block));
        memory_free(&memory, block);
    }
    fanq_buffer_close(&memory, &client->request_blocks);
    for (size_t i = 0; i < client->endpoint_count; i++)
        memory_free(&memory, client->endpoints[i].url);
    if (client->wake_fd >= 0)
        (void)close(client->wake_fd);
    if (client->epoll_fd >= 0)
        (void)close(client->epoll_fd);
    memory_free(&memory, client);
}

int fanq_open(const char *url, const struct fanq_options *options, struct fanq **ret_client)
{
    struct fanq_options known;
    int err = options_take(&known, options);

    if (err != 0)
        return err;
    struct memory memory = {known.allocate != NULL ? known.allocate : default_allocate, known.allocate_user};
    struct fanq *client = fanq_memory_zeroed(&memory, sizeof(*client));
    if (client == NULL)
        return FANQ_ERR_NOMEM;
    client->memory = memory;
    client->options = known;
    strcpy(client->name, known.name != NULL ? known.name : "libfanq " FANQ_VERSION);
    client->options.name = client->name;
    client->epoll_fd = client->wake_fd = client->socket = -1;
    client->next_id = 1;
    client->random = random_seed();
    client->has_producer = getrandom(client->producer, sizeof(client->producer), GRND_NONBLOCK) ==
                           (ssize_t)sizeof(client->producer);
    client->state = FANQ_CLIENT_CONNECTING;
    client->broker.server = client->broker_server;
    client->broker.storage = client->broker_storage;
    fanq_error_set(&client->cause, 0);
    lists_init(client);

    err = fanq_endpoints_parse(client, url);
    if (err == 0)
        err = descriptors_open(client);
    if (err == 0)
        *ret_client = client;
    else
        client_delete(client);
    return err;
}

/* ---- looking ---- */

enum fanq_client_state fanq_state(const struct fanq *client)
{
    return client->state;
}

void fanq_on_state(struct fanq *client, fanq_state_cb cb, void *user)
{
    client->state_cb = cb;
    client->state_user = user;
}

void fanq_on_free(struct fanq *client, void (*cb)(void *user), void *user)
{
    client->free_cb = cb;
    client->free_user = user;
}

void fanq_client_set_state(struct fanq *client, enum fanq_client_state state, const struct fanq_error *cause)
{
    struct fanq_error none;

    fanq_error_set(&none, 0);
    client->state = state;
    if (client->state_cb != NULL)
        client->state_cb(client, state, cause != NULL ? cause : &none, client->state_user);
}

const struct fanq_broker_info *fanq_broker_info(const struct fanq *client)
{
    return &client->broker;
}

const char *fanq_current_url(const struct fanq *client)
{
    return client->endpoints[client->endpoint_index].url;
}

const char *fanq_version(void)
{
    return FANQ_VERSION;
}

int fanq_fd(const struct fanq *client)
{
    return client->epoll_fd;
}

int fanq_events(const struct fanq *client)
{
    (void)client;
    return POLLIN;
}

size_t fanq_pending_bytes(const struct fanq *client)
{
    return (size_t)(output_end(&client->output) - client->output.written) + client->gathered_bytes;
}

size_t fanq_pending_requests(const struct fanq *client)
{
    return client->pending_count;
}

int fanq_client_accepts(const struct fanq *client)
{
    if (client->freed || client->closing)
        return FANQ_ERR_CLOSED;
    return client->phase == PHASE_CLOSED ? FANQ_ERR_NOT_CONNECTED : 0;
}

/* ---- rounds ---- */

static bool all_is_answered(const struct fanq *client)
{
    return client->pending_count == 0 && list_empty(&client->consumers) && list_empty(&client->dirty_batches);
}

/* Whether a round has something to do without anything happening. */
static bool has_work(const struct fanq *client)
{
    bool can_write = client->phase == PHASE_READY && !client->blocked;

    if (client->closing && client->phase != PHASE_CLOSED && all_is_answered(client))
        return true;
    return !list_empty(&client->ended) || !list_empty(&client->dirty_gathers) ||
           !list_empty(&client->dirty_batches) || (client->phase == PHASE_READY && client->credit_dirty) ||
           (can_write && client->output.written < output_end(&client->output));
}

static uint64_t next_deadline_ms(const struct fanq *client)
{
    uint64_t next_ms = fanq_requests_next_deadline_ms(client);
    uint64_t connection_ms = fanq_connection_next_deadline_ms(client);

    if (connection_ms < next_ms)
        next_ms = connection_ms;
    if (client->closing && client->phase != PHASE_CLOSED && client->close_deadline_ms < next_ms)
        next_ms = client->close_deadline_ms;
    return next_ms;
}

int fanq_timeout_ms(const struct fanq *client)
{
    uint64_t next_ms = next_deadline_ms(client);

    if (has_work(client))
        return 0;
    if (next_ms == UINT64_MAX)
        return -1;
    uint64_t now_ms = fanq_clock_ms();
    if (next_ms <= now_ms)
        return 0;
    return next_ms - now_ms < INT32_MAX ? (int)(next_ms - now_ms) : INT32_MAX;
}

/* Turns what was gathered in this round into frames, and writes. Without memory, messages fail and the rest
 * waits. */
static void send_round(struct fanq *client)
{
    if (fanq_gathers_flush(client) != 0)
        fanq_gathers_fail(client, FANQ_ERR_NOMEM);
    (void)fanq_acks_flush(client);      /* FANQ_ERR_NOMEM: they stay and the next round tries again */
    (void)fanq_consumers_flush(client); /* likewise */
    if (client->freed || fanq_output_write(client) == 0)
        return;
    fanq_connection_lost(client, FANQ_ERR_NOT_CONNECTED, strerror(errno));
}

static void run_posts(struct fanq *client)
{
    struct posted *posted = atomic_exchange(&client->posts, NULL);
    struct posted *in_order = NULL;

    while (posted != NULL) {
        struct posted *next = posted->next;
        posted->next = in_order;
        in_order = posted;
        posted = next;
    }
    while (in_order != NULL) {
        struct posted *next = in_order->next;
        in_order->fn(client, in_order->user);
        free(in_order);
        in_order = next;
    }
}

static void wake_step(struct fanq *client)
{
    uint64_t count;

    (void)!read(client->wake_fd, &count, sizeof(count)); /* empty already: nothing lost */
    if (atomic_exchange(&client->wake_wanted, false))
        client->woken = true;
    run_posts(client);
}

/* Waits for events and handles them. */
static void events_step(struct fanq *client, int wait_ms)
{
    struct epoll_event events[2];
    uint32_t socket_events = 0;
    int count = epoll_wait(client->epoll_fd, events, 2, wait_ms);

    client->now_ms = fanq_clock_ms();
    for (int i = 0; i < count; i++) {
        if (events[i].data.fd == client->wake_fd)
            wake_step(client);
        else
            socket_events = events[i].events;
    }
    if (socket_events != 0 && !client->freed && client->socket >= 0)
        fanq_connection_step(client, socket_events);
}

static void close_finish(struct fanq *client)
{
    struct fanq_error error;
    fanq_done_cb cb = client->close_cb;

    fanq_error_set(&error, all_is_answered(client) ? 0 : FANQ_ERR_TIMEOUT);
    fanq_connection_close(client);
    client->phase = PHASE_CLOSED;
    fanq_acks_fail(client, FANQ_ERR_CLOSED);
    fanq_client_end_all(client, FANQ_ERR_CLOSED);
    fanq_client_run_ended(client);
    client->close_cb = NULL;
    if (!client->freed)
        fanq_client_set_state(client, FANQ_CLIENT_CLOSED, NULL);
    if (cb != NULL)
        cb(client, &error, client->close_user);
}

static void timers_step(struct fanq *client)
{
    fanq_requests_expire(client);
    fanq_client_run_ended(client);
    if (!client->freed && client->phase != PHASE_CLOSED)
        fanq_connection_timers(client);
    if (!client->freed)
        fanq_client_run_ended(client);
}

static void client_destroy(struct fanq *client);

int fanq_client_round(struct fanq *client, int wait_ms)
{
    if (client->depth > 0)
        return FANQ_ERR_INVALID;
    client->depth++;
    client->now_ms = fanq_clock_ms();
    send_round(client);
    if (!client->freed)
        fanq_client_run_ended(client);
    if (!client->freed) {
        int timeout_ms = fanq_timeout_ms(client);
        bool sooner = timeout_ms >= 0 && (wait_ms < 0 || timeout_ms < wait_ms);
        events_step(client, sooner ? timeout_ms : wait_ms);
    }
    if (!client->freed)
        timers_step(client);
    if (!client->freed && client->phase != PHASE_CLOSED)
        send_round(client);
    if (!client->freed)
        fanq_client_run_ended(client);
    if (!client->freed && client->closing && client->phase != PHASE_CLOSED &&
        (all_is_answered(client) || client->now_ms >= client->close_deadline_ms))
        close_finish(client);
    client->depth--;
    if (client->freed) {
        client_destroy(client);
        return FANQ_ERR_CLOSED;
    }
    return client->phase == PHASE_CLOSED && list_empty(&client->ended) ? FANQ_ERR_CLOSED : 0;
}

int fanq_process(struct fanq *client)
{
    return fanq_client_round(client, 0);
}

int fanq_run(struct fanq *client, int timeout_ms)
{
    uint64_t end_ms = timeout_ms < 0 ? UINT64_MAX : fanq_clock_ms() + (uint64_t)timeout_ms;

    for (;;) {
        uint64_t now_ms = fanq_clock_ms();
        int wait_ms = end_ms == UINT64_MAX ? -1 : end_ms > now_ms ? (int)(end_ms - now_ms) : 0;
        int err = fanq_client_round(client, wait_ms);

        if (err != 0)
            return err; /* closed, perhaps freed: not to be touched any more */
        if (client->woken) {
            client->woken = false;
            return 0;
        }
        if (fanq_clock_ms() >= end_ms)
            return 0;
    }
}

/* ---- from elsewhere ---- */

int fanq_wakeup(struct fanq *client)
{
    uint64_t one = 1;
    int saved_errno = errno; /* a signal handler must leave it alone */

    atomic_store(&client->wake_wanted, true);
    (void)!write(client->wake_fd, &one, sizeof(one)); /* full: it is readable already */
    errno = saved_errno;
    return 0;
}

int fanq_post(struct fanq *client, fanq_post_fn fn, void *user)
{
    /* Not by the program's allocator, which may belong to the owner's thread. */
    struct posted *posted = malloc(sizeof(*posted));
    uint64_t one = 1;

    if (posted == NULL)
        return FANQ_ERR_NOMEM;
    *posted = (struct posted){atomic_load(&client->posts), fn, user};
    while (!atomic_compare_exchange_weak(&client->posts, &posted->next, posted))
        ;
    (void)!write(client->wake_fd, &one, sizeof(one)); /* full: it is readable already */
    return 0;
}

/* ---- the end ---- */

void fanq_client_end_all(struct fanq *client, int code_unsent)
{
    while (!list_empty(&client->sent)) {
        struct request *request = CONTAINER_OF(client->sent.next, struct request, order);
        fanq_request_end(client, request, request->kind == REQUEST_PUSH ? code_unsent : FANQ_ERR_UNKNOWN);
    }
    while (!list_empty(&client->unsent)) {
        struct request *request = CONTAINER_OF(client->unsent.next, struct request, order);
        bool open = request->was_sent && request->kind != REQUEST_PUSH; /* before it came to be sent again */
        fanq_request_end(client, request, open ? FANQ_ERR_UNKNOWN : code_unsent);
    }
}

void fanq_client_run_ended(struct fanq *client)
{
    while (!list_empty(&client->ended)) {
        struct request *request = CONTAINER_OF(client->ended.next, struct request, order);

        list_remove(&request->order);
        fanq_answer_without_reply(client, request);
    }
}

/* Receives end at once: who closes does not wait for messages. */
static void end_receives(struct fanq *client, struct link *head, int code)
{
    struct link *next;

    for (struct link *at = head->next; at != head; at = next) {
        struct request *request = CONTAINER_OF(at, struct request, order);

        next = at->next;
        if (request->kind == REQUEST_RECEIVE)
            fanq_request_end(client, request, code);
    }
}

int fanq_close(struct fanq *client, int drain_ms, fanq_done_cb cb, void *user)
{
    struct link *next;

    if (client->freed || client->closing)
        return FANQ_ERR_CLOSED;
    for (struct link *at = client->consumers.next; at != &client->consumers; at = next) {
        next = at->next;
        (void)fanq_consumer_stop(CONTAINER_OF(at, struct fanq_consumer, order)); /* else it ends with us */
    }
    end_receives(client, &client->sent, FANQ_ERR_UNKNOWN);
    end_receives(client, &client->unsent, FANQ_ERR_CLOSED);
    client->closing = true;
    client->close_deadline_ms = fanq_clock_ms() + (uint64_t)(drain_ms > 0 ? drain_ms : 0);
    client->close_cb = cb;
    client->close_user = user;
    if (client->phase == PHASE_CLOSED) { /* lost for good; one more round tells of the close */
        client->phase = PHASE_PAUSE;
        client->retry_at_ms = UINT64_MAX;
    }
    return 0;
}

/* Outside of rounds, or behind the last one. */
static void client_destroy(struct fanq *client)
{
    struct fanq_error closed;
    struct link *next;

    client->depth++; /* whatever a callback does now, it cannot come back here */
    client->freed = true;
    client->phase = PHASE_CLOSED;
    fanq_connection_close(client);
    fanq_gathers_fail(client, FANQ_ERR_CLOSED);
    fanq_acks_fail(client, FANQ_ERR_CLOSED);
    fanq_client_end_all(client, FANQ_ERR_CLOSED);
    fanq_client_run_ended(client);
    run_posts(client);
    fanq_error_set(&closed, FANQ_ERR_CLOSED);
    if (client->close_cb != NULL)
        client->close_cb(client, &closed, client->close_user);
    if (client->free_cb != NULL)
        client->free_cb(client->free_user);
    for (struct link *at = client->batches.next; at != &client->batches; at = next) {
        next = at->next;
        fanq_batch_forget_client(CONTAINER_OF(at, struct fanq_batch, order));
    }
    client_delete(client);
}

void fanq_free(struct fanq *client)
{
    if (client == NULL)
        return;
    client->freed = true;
    if (client->depth == 0)
        client_destroy(client);
}
