/* The life of a request: made, noted with its frame, written, answered or ended; carried over to a new
 * connection. */
#include "client.h"

#include <assert.h>
#include <string.h>

static bool is_publish(const struct request *request)
{
    return request->kind == REQUEST_GATHER || request->kind == REQUEST_BATCH;
}

/* ---- memory ---- */

static int requests_grow(struct fanq *client)
{
    struct buffer *blocks = &client->request_blocks;
    struct request *block;

    if (fanq_buffer_reserve(&client->memory, blocks, sizeof(block)) != 0)
        return FANQ_ERR_NOMEM;
    block = memory_resize(&client->memory, NULL, REQUEST_BLOCK * sizeof(*block));
    if (block == NULL)
        return FANQ_ERR_NOMEM;
    memcpy(blocks->data + blocks->length, &block, sizeof(block));
    blocks->length += sizeof(block);
    for (size_t i = 0; i < REQUEST_BLOCK; i++) {
        block[i].order.next = (struct link *)client->requests_free;
        client->requests_free = &block[i];
    }
    return 0;
}

int fanq_request_new(struct fanq *client, const struct request *like, struct request **ret_request)
{
    if (fanq_table_reserve(&client->memory, &client->table) != 0)
        return FANQ_ERR_NOMEM;
    if (client->requests_free == NULL && requests_grow(client) != 0)
        return FANQ_ERR_NOMEM;

    struct request *request = client->requests_free;
    client->requests_free = (struct request *)request->order.next;
    *request = *like;
    request->order = request->timer = request->kept = (struct link){0};
    *ret_request = request;
    return 0;
}

void fanq_request_free(struct fanq *client, struct request *request)
{
    assert(request->order.next == NULL && request->timer.next == NULL);
    if (request->frame != request->frame_short)
        memory_free(&client->memory, request->frame);
    memory_free(&client->memory, request->gathered);
    request->order.next = (struct link *)client->requests_free;
    client->requests_free = request;
}

/* ---- deadlines ---- */

uint32_t fanq_request_timeout_ms(const struct fanq *client)
{
    return client->sync_timeout_ms > 0 ? client->sync_timeout_ms : client->options.request_timeout_ms;
}

/* Requests with one and the same timeout are in order by themselves; the others are few, and a new one
 * belongs near the end. */
static void timer_start(struct fanq *client, struct request *request, uint64_t timeout_ms)
{
    bool regular = timeout_ms == client->options.request_timeout_ms;
    struct link *head = regular ? &client->timers_regular : &client->timers_other;
    struct link *place = head;

    request->deadline_ms = fanq_clock_ms() + timeout_ms;
    while (place->prev != head &&
           CONTAINER_OF(place->prev, struct request, timer)->deadline_ms > request->deadline_ms)
        place = place->prev;
    list_insert_before(place, &request->timer);
}

static uint64_t list_deadline_ms(const struct link *head)
{
    return list_empty(head) ? UINT64_MAX : CONTAINER_OF(head->next, struct request, timer)->deadline_ms;
}

uint64_t fanq_requests_next_deadline_ms(const struct fanq *client)
{
    uint64_t regular_ms = list_deadline_ms(&client->timers_regular);
    uint64_t other_ms = list_deadline_ms(&client->timers_other);

    return regular_ms < other_ms ? regular_ms : other_ms;
}

static void timers_expire(struct fanq *client, struct link *head)
{
    while (list_deadline_ms(head) <= client->now_ms)
        fanq_request_end(client, CONTAINER_OF(head->next, struct request, timer), FANQ_ERR_TIMEOUT);
}

void fanq_requests_expire(struct fanq *client)
{
    timers_expire(client, &client->timers_regular);
    timers_expire(client, &client->timers_other);
    fanq_output_skip_dead(client);
}

/* ---- making ---- */

void fanq_request_note(struct fanq *client, struct request *request, const struct fanq_writer *w,
                       uint64_t timeout_ms)
{
    request->id = client->next_id++;
    request->frame_start = output_end(&client->output);
    fanq_output_added(client, w);
    request->frame_end = output_end(&client->output);
    fanq_table_put(&client->table, request);
    list_append(&client->unsent, &request->order);
    if (is_publish(request))
        list_append(&client->kept, &request->kept);
    client->pending_count += request->weight;
    if (timeout_ms != UINT64_MAX)
        timer_start(client, request, timeout_ms);
}

/* Keeps the frame for the case that the connection is lost. */
static int frame_copy(struct fanq *client, struct request *request, const struct fanq_writer *w)
{
    size_t bytes = fanq_writer_length(w);

    request->frame = request->frame_short;
    if (bytes > sizeof(request->frame_short))
        request->frame = memory_resize(&client->memory, NULL, bytes);
    if (request->frame == NULL)
        return FANQ_ERR_NOMEM;
    memcpy(request->frame, w->start, bytes);
    request->frame_bytes = (uint32_t)bytes;
    return 0;
}

int fanq_request_submit_own(struct fanq *client, struct fanq_request *wire, const struct request *like,
                            uint64_t timeout_ms)
{
    bool has_ranges = wire->op == FANQ_OP_ACK || wire->op == FANQ_OP_NACK || wire->op == FANQ_OP_EXTEND;
    size_t ranges_bytes = has_ranges ? fanq_cursor_left(&wire->change.ranges.at) : 0;
    struct fanq_writer w;
    struct request *request;

    int err = fanq_output_room(client, REQUEST_BYTES_MAX + ranges_bytes, &w);
    if (err != 0)
        return err;
    wire->id = client->next_id;
    fanq_request_encode(&w, wire);
    assert(!w.full);
    err = fanq_request_new(client, like, &request);
    if (err != 0)
        return err;
    request->op = wire->op;
    if (request->repeatable && frame_copy(client, request, &w) != 0) {
        fanq_request_free(client, request);
        return FANQ_ERR_NOMEM;
    }
    fanq_request_note(client, request, &w, timeout_ms);
    return 0;
}

int fanq_request_check_limits(const struct fanq *client, size_t count, size_t bytes)
{
    size_t pending_max = client->options.pending_requests_max;

    if (client->pending_count > pending_max || count > pending_max - client->pending_count ||
        client->table.count >= pending_max)
        return FANQ_ERR_LIMIT;
    if (fanq_output_held_bytes(client) + client->gathered_bytes + bytes > client->options.pending_bytes_max)
        return FANQ_ERR_LIMIT;
    return 0;
}

int fanq_request_submit(struct fanq *client, struct fanq_request *wire, const struct request *like,
                        uint64_t more_ms)
{
    bool endless = like->kind == REQUEST_PUSH;
    int err = fanq_client_accepts(client);

    if (err == 0)
        err = fanq_request_check_limits(client, like->weight, 0);
    if (err == 0)
        err = fanq_gathers_flush(client);
    if (err == 0)
        err = fanq_request_submit_own(client, wire, like,
                                      endless ? UINT64_MAX : fanq_request_timeout_ms(client) + more_ms);
    return err;
}

int fanq_request_end_locally(struct fanq *client, const struct request *like, int code)
{
    struct request *request;
    int err = fanq_client_accepts(client);

    if (err == 0)
        err = fanq_request_new(client, like, &request);
    if (err != 0)
        return err;
    request->code = code;
    client->pending_count += request->weight;
    list_append(&client->ended, &request->order);
    return 0;
}

/* ---- ending ---- */

void fanq_request_take(struct fanq *client, struct request *request)
{
    fanq_table_remove(&client->table, request->id);
    list_remove(&request->order);
    list_remove(&request->timer);
    list_remove(&request->kept);
    client->pending_count -= request->weight;
    request->weight = 0;
}

void fanq_request_end(struct fanq *client, struct request *request, int code)
{
    uint32_t weight = request->weight;

    fanq_request_take(client, request);
    /* It counts until its callback has run, so that a flush waits for that. */
    request->weight = weight;
    client->pending_count += weight;
    request->code = code;
    list_append(&client->ended, &request->order);
}

/* ---- from one connection to the next ---- */

void fanq_requests_written(struct fanq *client)
{
    while (!list_empty(&client->unsent)) {
        struct request *request = CONTAINER_OF(client->unsent.next, struct request, order);

        if (request->frame_end > client->output.written)
            return;
        request->was_sent = true;
        list_remove(&request->order);
        list_append(&client->sent, &request->order);
    }
}

/* What has no meaning without the connection on which it was asked. */
static bool ends_with_connection(const struct request *request)
{
    return request->kind == REQUEST_PING || request->kind == REQUEST_PUSH_STOP ||
           (request->kind == REQUEST_PUSH && request->consumer->stopping);
}

static bool comes_again(const struct fanq *client, const struct request *request)
{
    return request->repeatable || request->kind == REQUEST_PUSH ||
           (client->remembered && is_publish(request));
}

static void end_each(struct fanq *client, struct link *head, bool was_sent)
{
    struct link *next;

    for (struct link *at = head->next; at != head; at = next) {
        struct request *request = CONTAINER_OF(at, struct request, order);

        next = at->next;
        if (ends_with_connection(request))
            fanq_request_end(client, request, 0);
        else if (was_sent && !comes_again(client, request))
            fanq_request_end(client, request, FANQ_ERR_UNKNOWN);
    }
}

void fanq_requests_lost(struct fanq *client)
{
    end_each(client, &client->sent, true);
    end_each(client, &client->unsent, false);
    client->pinging = false;
}

void fanq_requests_forgotten(struct fanq *client)
{
    struct link *next;

    for (struct link *at = client->kept.next; at != &client->kept; at = next) {
        struct request *request = CONTAINER_OF(at, struct request, kept);

        next = at->next;
        if (request->was_sent)
            fanq_request_end(client, request, FANQ_ERR_UNKNOWN);
    }
}

/* A broker that keeps nothing has forgotten, with its run, all deliveries; numbers may mean other messages
 * now. */
static bool receipt_expired(const struct fanq *client, const struct request *request)
{
    bool is_receipt =
        request->op == FANQ_OP_ACK || request->op == FANQ_OP_NACK || request->op == FANQ_OP_EXTEND;

    return is_receipt && request->epoch != client->broker.epoch &&
           strcmp(client->broker.storage, "memory") == 0;
}

static size_t replay_bytes_max(const struct fanq *client, const struct link *again)
{
    size_t bytes = client->output.buffer.length;

    for (const struct link *at = again->next; at != again; at = at->next) {
        const struct request *request = CONTAINER_OF(at, struct request, order);

        bytes += request->kind == REQUEST_PUSH ? REQUEST_BYTES_MAX : request->frame_bytes;
    }
    return bytes;
}

/* Writes one request's frame at the end of the new output. */
static void replay_one(struct fanq *client, struct request *request, const struct output *old)
{
    size_t bytes = request->frame_bytes;
    const uint8_t *frame = request->frame;
    struct fanq_writer w;

    if (frame == NULL) {
        assert(request->frame_start >= old->start);
        frame = old->buffer.data + (request->frame_start - old->start);
        bytes = request->frame_end - request->frame_start;
    }
    int err = fanq_output_room(client, bytes, &w);
    assert(err == 0); /* reserved */
    fanq_write_raw(&w, frame, bytes);
    request->frame_start = output_end(&client->output);
    fanq_output_added(client, &w);
    request->frame_end = output_end(&client->output);
}

static void replay_kind(struct fanq *client, struct link *again, const struct output *old, bool pushes)
{
    struct link *next;

    for (struct link *at = again->next; at != again; at = next) {
        struct request *request = CONTAINER_OF(at, struct request, order);

        next = at->next;
        if ((request->kind == REQUEST_PUSH) != pushes)
            continue;
        if (receipt_expired(client, request)) {
            fanq_request_end(client, request, FANQ_ERR_RECEIPT_EXPIRED);
            continue;
        }
        if (pushes)
            fanq_consumer_replay(client, request);
        else
            replay_one(client, request, old);
        list_remove(&request->order);
        list_append(&client->unsent, &request->order);
    }
}

int fanq_requests_replay(struct fanq *client)
{
    struct output old = client->output;
    struct buffer fresh = {0};
    struct link again;

    list_init(&again);
    list_move_all(&client->sent, &again);
    list_move_all(&client->unsent, &again);
    if (fanq_buffer_reserve(&client->memory, &fresh, replay_bytes_max(client, &again)) != 0) {
        list_move_all(&again, &client->unsent); /* nothing of it was sent on this connection */
        return FANQ_ERR_NOMEM;
    }
    client->output = (struct output){fresh, output_end(&old), output_end(&old)};
    replay_kind(client, &again, &old, true);
    replay_kind(client, &again, &old, false);
    fanq_buffer_close(&client->memory, &old.buffer);
    return 0;
}
