/* Receiving: long polls, pushes with their credit, peeks.
 *
 * A push has a window of messages and bytes. What the broker may still send (granted) and what the program
 * has not settled or released (held) fill it together; what is missing is granted again once it is half of
 * the window, so that credit costs a frame per half window and the broker never waits for it. */
#include "client.h"

#include <assert.h>
#include <string.h>

/* ---- receive ---- */

/* FANQ_OWN or a duration within its bound, as the wire has it. */
static int take_duration(int64_t duration_ms, uint64_t max_ms, uint64_t *ret_ms)
{
    if (duration_ms == FANQ_OWN)
        *ret_ms = FANQ_QUEUE_DEFAULT;
    else if (duration_ms < 0 || (uint64_t)duration_ms > max_ms)
        return FANQ_ERR_INVALID;
    else
        *ret_ms = (uint64_t)duration_ms;
    return 0;
}

static int take_receive(const struct fanq_receive_options *options, struct fanq_receive *receive)
{
    int err = 0;

    if (options->size < sizeof(*options) || options->messages_max == 0)
        return FANQ_ERR_INVALID;
    receive->messages_max = options->messages_max;
    receive->bytes_max = options->bytes_max;
    receive->flags = options->auto_delete ? FANQ_RECEIVE_AUTO_DELETE : 0;
    err = take_duration(options->wait_ms, FANQ_WAIT_MS_MAX, &receive->wait_ms);
    if (err == 0)
        err = take_duration(options->visibility_ms, FANQ_VISIBILITY_MS_MAX, &receive->visibility_ms);
    return err;
}

static int take_queues(const char *const *queues, size_t count, struct fanq_receive *receive)
{
    if (count == 0 || count > FANQ_RECEIVE_QUEUES_MAX)
        return FANQ_ERR_INVALID;
    for (size_t i = 0; i < count; i++) {
        size_t length = queues[i] != NULL ? strlen(queues[i]) : 0;

        if (length == 0 || length > FANQ_NAME_BYTES_MAX)
            return FANQ_ERR_NAME_INVALID;
        receive->queues[i] = bytes_of(queues[i], length);
    }
    receive->queue_count = (uint32_t)count;
    return 0;
}

/* A blocking call's wait ends a little before its timeout, so that "nothing came" is an answer and no
 * timeout. */
static uint64_t sync_wait_ms(const struct fanq *client, uint64_t wait_ms)
{
    uint64_t timeout_ms = client->sync_timeout_ms;
    uint64_t spare_ms = timeout_ms / 4 < 250 ? timeout_ms / 4 : 250;

    return wait_ms < timeout_ms - spare_ms ? wait_ms : timeout_ms - spare_ms;
}

int fanq_receive_any(struct fanq *client, const char *const *queues, size_t queue_count,
                     const struct fanq_receive_options *options, fanq_received_cb cb, void *user)
{
    static const struct fanq_receive_options defaults = FANQ_RECEIVE_OPTIONS_INIT;
    struct fanq_request wire = {.op = FANQ_OP_RECEIVE};
    struct request like = {.kind = REQUEST_RECEIVE, .cb.received = cb, .user = user};
    uint64_t more_ms = 0;
    int err =
        cb != NULL ? take_receive(options != NULL ? options : &defaults, &wire.receive) : FANQ_ERR_INVALID;

    if (err == 0)
        err = take_queues(queues, queue_count, &wire.receive);
    if (err != 0)
        return err;
    bool own = wire.receive.wait_ms == FANQ_QUEUE_DEFAULT;
    if (client->sync_timeout_ms == 0)
        more_ms = own ? FANQ_WAIT_MS_MAX : wire.receive.wait_ms;
    else if (!own)
        wire.receive.wait_ms = sync_wait_ms(client, wire.receive.wait_ms);
    return fanq_request_submit(client, &wire, &like, more_ms);
}

int fanq_receive(struct fanq *client, const char *queue, const struct fanq_receive_options *options,
                 fanq_received_cb cb, void *user)
{
    return fanq_receive_any(client, &queue, 1, options, cb, user);
}

/* ---- peek ---- */

int fanq_peek(struct fanq *client, const char *queue, const struct fanq_peek_options *options,
              fanq_received_cb cb, void *user)
{
    static const struct fanq_peek_options defaults = FANQ_PEEK_OPTIONS_INIT;
    const struct fanq_peek_options *from = options != NULL ? options : &defaults;
    size_t length = queue != NULL ? strlen(queue) : 0;
    struct request like = {
        .kind = REQUEST_PEEK, .weight = 1, .repeatable = true, .cb.received = cb, .user = user};
    struct fanq_request wire = {.op = FANQ_OP_PEEK,
                                .peek = {.queue = bytes_of(queue, length),
                                         .messages_max = from->messages_max,
                                         .bytes_max = from->bytes_max,
                                         .states = from->states,
                                         .after_valid = from->after_valid,
                                         .after_stream = from->after_stream,
                                         .after_seq = from->after_seq}};

    if (length == 0 || length > FANQ_NAME_BYTES_MAX)
        return FANQ_ERR_NAME_INVALID;
    if (cb == NULL || from->size < sizeof(*from) || from->messages_max == 0 || from->states == 0 ||
        from->states > FANQ_STATE_ALL)
        return FANQ_ERR_INVALID;
    return fanq_request_submit(client, &wire, &like, 0);
}

/* ---- pushes: the wire ---- */

static struct fanq_request push_wire(const struct fanq_consumer *consumer)
{
    const struct fanq_consume_options *options = &consumer->options;

    return (struct fanq_request){
        .op = FANQ_OP_PUSH,
        .push = {.target = bytes_of(consumer->target, consumer->target_bytes),
                 .target_kind = options->topic ? FANQ_PUSH_TOPIC : FANQ_PUSH_QUEUE,
                 .mode = options->mode == FANQ_CONSUME_AUTO ? FANQ_PUSH_AUTO : FANQ_PUSH_ACK,
                 .messages = consumer->granted_messages,
                 .bytes = consumer->granted_bytes,
                 .visibility_ms = options->visibility_ms == FANQ_OWN ? FANQ_QUEUE_DEFAULT
                                                                     : (uint64_t)options->visibility_ms}};
}

static uint64_t minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

void fanq_consumer_replay(struct fanq *client, struct request *push)
{
    struct fanq_consumer *consumer = push->consumer;
    struct fanq_writer w;

    if (!consumer->options.manual_credit) {
        consumer->granted_messages = minus(consumer->options.messages, consumer->held_messages);
        consumer->granted_bytes = minus(consumer->options.bytes, consumer->held_bytes);
    }
    struct fanq_request wire = push_wire(consumer);
    wire.id = push->id;
    int err = fanq_output_room(client, REQUEST_BYTES_MAX, &w);
    assert(err == 0); /* reserved by the caller */
    fanq_request_encode(&w, &wire);
    assert(!w.full);
    push->frame_start = output_end(&client->output);
    fanq_output_added(client, &w);
    push->frame_end = output_end(&client->output);
}

/* ---- pushes: life ---- */

static int consume_allowed(const char *target, const struct fanq_consume_options *options,
                           fanq_delivered_cb on_delivered)
{
    size_t length = target != NULL ? strlen(target) : 0;
    uint64_t visibility_ms;

    if (length == 0 || length > FANQ_NAME_BYTES_MAX)
        return FANQ_ERR_NAME_INVALID;
    if (on_delivered == NULL || options->size < sizeof(*options) || options->messages > INT64_MAX ||
        options->bytes > INT64_MAX || (options->messages == 0 && !options->manual_credit) ||
        (options->bytes == 0 && !options->manual_credit))
        return FANQ_ERR_INVALID;
    if (options->topic && options->mode != FANQ_CONSUME_AUTO)
        return FANQ_ERR_INVALID; /* what an ephemeral subscription hands over, it does not keep */
    return take_duration(options->visibility_ms, FANQ_VISIBILITY_MS_MAX, &visibility_ms);
}

static struct fanq_consumer *consumer_new(struct fanq *client, const char *target,
                                          const struct fanq_consume_options *options)
{
    size_t target_bytes = strlen(target);
    struct fanq_consumer *consumer =
        fanq_memory_zeroed(&client->memory, sizeof(*consumer) + target_bytes + 1);

    if (consumer == NULL)
        return NULL;
    consumer->references = 1;
    consumer->memory = client->memory;
    consumer->client = client;
    consumer->options = *options;
    consumer->granted_messages = options->messages;
    consumer->granted_bytes = options->bytes;
    consumer->target_bytes = target_bytes;
    memcpy(consumer->target, target, target_bytes);
    return consumer;
}

int fanq_consume(struct fanq *client, const char *target, const struct fanq_consume_options *options,
                 fanq_delivered_cb on_delivered, fanq_consumer_end_cb on_end, void *user,
                 struct fanq_consumer **ret_consumer)
{
    static const struct fanq_consume_options defaults = FANQ_CONSUME_OPTIONS_INIT;
    const struct fanq_consume_options *from = options != NULL ? options : &defaults;
    int err = consume_allowed(target, from, on_delivered);

    if (err != 0)
        return err;
    struct fanq_consumer *consumer = consumer_new(client, target, from);
    if (consumer == NULL)
        return FANQ_ERR_NOMEM;
    struct fanq_request wire = push_wire(consumer);
    struct request like = {.kind = REQUEST_PUSH, .consumer = consumer};
    err = fanq_request_submit(client, &wire, &like, 0);
    if (err != 0) {
        fanq_consumer_unref(consumer);
        return err;
    }
    consumer->push = fanq_table_find(&client->table, wire.id);
    consumer->on_delivered = on_delivered;
    consumer->on_end = on_end;
    consumer->user = user;
    list_append(&client->consumers, &consumer->order);
    if (ret_consumer != NULL)
        *ret_consumer = consumer;
    return 0;
}

void fanq_consumer_unref(struct fanq_consumer *consumer)
{
    if (--consumer->references > 0)
        return;
    struct memory memory = consumer->memory;
    memory_free(&memory, consumer);
}

struct fanq *fanq_consumer_client(const struct fanq_consumer *consumer)
{
    return consumer->client;
}

void fanq_consumer_end(struct fanq *client, struct request *push, const struct fanq_error *error)
{
    struct fanq_consumer *consumer = push->consumer;

    (void)client;
    consumer->push = NULL;
    list_remove(&consumer->order);
    if (consumer->on_end != NULL)
        consumer->on_end(consumer, error, consumer->user);
    fanq_consumer_unref(consumer);
}

void fanq_consumer_stopped(struct fanq *client, struct request *stop)
{
    struct fanq_consumer *consumer = stop->consumer;
    struct request *push = consumer->push;
    struct fanq_error ok;

    fanq_error_set(&ok, 0);
    if (push != NULL) {
        fanq_request_take(client, push);
        fanq_consumer_end(client, push, &ok);
        fanq_request_free(client, push);
    }
    fanq_consumer_unref(consumer);
}

int fanq_consumer_stop(struct fanq_consumer *consumer)
{
    struct fanq *client = consumer->client;
    struct fanq_request wire = {.op = FANQ_OP_PUSH_STOP};
    struct request like = {.kind = REQUEST_PUSH_STOP, .consumer = consumer};

    if (consumer->push == NULL || consumer->stopping || client->freed)
        return 0;
    if (client->phase != PHASE_READY) { /* the broker does not know of it, or will forget it */
        consumer->stopping = true;
        fanq_request_end(client, consumer->push, 0);
        return 0;
    }
    wire.push_stop = consumer->push->id;
    int err = fanq_request_submit_own(client, &wire, &like, fanq_request_timeout_ms(client));
    if (err != 0)
        return err;
    consumer->stopping = true;
    consumer->references++;
    return 0;
}

/* ---- pushes: messages and credit ---- */

void fanq_consumer_delivered(struct fanq *client, struct request *push, struct fanq_batch *batch)
{
    struct fanq_consumer *consumer = push->consumer;

    (void)client;
    consumer->granted_messages = minus(consumer->granted_messages, batch->held_messages);
    consumer->granted_bytes = minus(consumer->granted_bytes, batch->held_bytes);
    consumer->held_messages += batch->held_messages;
    consumer->held_bytes += batch->held_bytes;
    consumer->references++;
    batch->consumer = consumer;
    consumer->on_delivered(consumer, batch, consumer->user);
    fanq_batch_unref(batch);
}

void fanq_consumer_returned(struct fanq_consumer *consumer, uint64_t messages, uint64_t bytes)
{
    consumer->held_messages -= messages;
    consumer->held_bytes -= bytes;
    if (consumer->push != NULL)
        consumer->client->credit_dirty = true;
}

/* CREDIT is not answered, so it is no request; a connection that is lost takes it along, and the push that is
 * replayed has it in its window. */
static int credit_send(struct fanq *client, struct fanq_consumer *consumer, uint64_t messages, uint64_t bytes)
{
    struct fanq_request wire = {
        .op = FANQ_OP_CREDIT, .id = client->next_id, .credit = {consumer->push->id, messages, bytes}};
    struct fanq_writer w;

    if (fanq_output_room(client, REQUEST_BYTES_MAX, &w) != 0)
        return FANQ_ERR_NOMEM;
    fanq_request_encode(&w, &wire);
    assert(!w.full);
    client->next_id++;
    fanq_output_added(client, &w);
    consumer->granted_messages += messages;
    consumer->granted_bytes += bytes;
    return 0;
}

static int consumer_refill(struct fanq *client, struct fanq_consumer *consumer)
{
    const struct fanq_consume_options *window = &consumer->options;
    uint64_t messages = minus(window->messages, consumer->held_messages + consumer->granted_messages);
    uint64_t bytes = minus(window->bytes, consumer->held_bytes + consumer->granted_bytes);

    if (window->manual_credit || consumer->push == NULL || consumer->stopping)
        return 0;
    if (messages * 2 < window->messages && bytes * 2 < window->bytes)
        return 0;
    return credit_send(client, consumer, messages, bytes);
}

int fanq_consumers_flush(struct fanq *client)
{
    if (!client->credit_dirty || client->phase != PHASE_READY)
        return 0;
    for (struct link *at = client->consumers.next; at != &client->consumers; at = at->next)
        if (consumer_refill(client, CONTAINER_OF(at, struct fanq_consumer, order)) != 0)
            return FANQ_ERR_NOMEM;
    client->credit_dirty = false;
    return 0;
}

int fanq_consumer_credit(struct fanq_consumer *consumer, uint64_t messages, uint64_t bytes)
{
    struct fanq *client = consumer->client;

    if (!consumer->options.manual_credit || messages > INT64_MAX || bytes > INT64_MAX)
        return FANQ_ERR_INVALID;
    if (consumer->push == NULL || client->freed)
        return FANQ_ERR_CLOSED;
    if (client->phase == PHASE_READY)
        return credit_send(client, consumer, messages, bytes);
    consumer->granted_messages += messages; /* goes along when the push is replayed */
    consumer->granted_bytes += bytes;
    return 0;
}
