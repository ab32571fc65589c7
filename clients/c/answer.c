/* From a frame of the broker to the callback of the request it answers.
 *
 * Whatever a hostile or broken broker sends is checked twice: proto/ checks its form, and here an answer must
 * fit the request that it names. An id that was never used, or an answer of the wrong kind, ends the
 * connection. An id that is no longer known is an answer that came too late: ignored, but messages are given
 * back. */
#include "client.h"

#include <assert.h>
#include <string.h>

/* ---- telling the program ---- */

/* Ends a request with an error, or a success that carries nothing. */
static void tell(struct fanq *client, struct request *request, const struct fanq_error *error)
{
    switch (request->kind) {
    case REQUEST_DONE:
        if (request->cb.done != NULL)
            request->cb.done(client, error, request->user);
        break;
    case REQUEST_QUEUE:
        request->cb.queue(client, error, NULL, request->user);
        break;
    case REQUEST_TOPIC:
        request->cb.topic(client, error, NULL, request->user);
        break;
    case REQUEST_LIST:
        request->cb.list(client, error, NULL, request->user);
        break;
    case REQUEST_STATS:
        request->cb.stats(client, error, NULL, request->user);
        break;
    case REQUEST_BACKUP:
        request->cb.backup(client, error, NULL, request->user);
        break;
    case REQUEST_RECEIVE:
    case REQUEST_PEEK:
        request->cb.received(client, error, NULL, request->user);
        break;
    case REQUEST_GATHER:
        fanq_gather_answer(client, request, error, NULL);
        break;
    case REQUEST_BATCH:
        fanq_batch_sent_answer(client, request, error, NULL);
        break;
    case REQUEST_ACK:
        fanq_waiters_call(client, request->waiters, error);
        break;
    case REQUEST_PUSH:
        fanq_consumer_end(client, request, error);
        break;
    case REQUEST_PUSH_STOP:
        fanq_consumer_stopped(client, request);
        break;
    case REQUEST_PING:
        break;
    }
}

/* The broker is silent only if nothing at all has come since we asked. */
static void ping_unanswered(struct fanq *client)
{
    client->pinging = false;
    if (client->phase == PHASE_READY &&
        client->now_ms >= client->received_at_ms + 2 * (uint64_t)client->options.ping_interval_ms)
        fanq_connection_lost(client, FANQ_ERR_TIMEOUT, "the broker is silent");
}

void fanq_answer_without_reply(struct fanq *client, struct request *request)
{
    struct fanq_error error;
    bool is_ping = request->kind == REQUEST_PING && request->code == FANQ_ERR_TIMEOUT;
    bool unconnected = client->phase != PHASE_READY && client->cause.code != 0;

    if (unconnected && (request->code == FANQ_ERR_TIMEOUT || request->code == FANQ_ERR_NOT_CONNECTED))
        fanq_error_set_text(&error, request->code, "no connection: %s", client->cause.text);
    else
        fanq_error_set(&error, request->code);
    client->pending_count -= request->weight;
    tell(client, request, &error);
    fanq_request_free(client, request);
    if (is_ping)
        ping_unanswered(client);
}

/* ---- answers that carry something ---- */

/* Terminated copies of the broker's names, and pointers to them, in one piece of memory. */
static int copy_names(struct fanq *client, const struct fanq_names *from, struct buffer *ret_memory)
{
    size_t bytes = from->count * sizeof(char *) + 1; /* no names are no NULL either */

    for (uint32_t i = 0; i < from->count; i++)
        bytes += from->names[i].length + 1;
    if (fanq_buffer_reserve(&client->memory, ret_memory, bytes) != 0)
        return FANQ_ERR_NOMEM;

    char **names = (char **)ret_memory->data;
    char *text = (char *)(names + from->count);
    for (uint32_t i = 0; i < from->count; i++) {
        names[i] = text;
        memcpy(text, from->names[i].data, from->names[i].length);
        text[from->names[i].length] = '\0';
        text += from->names[i].length + 1;
    }
    return 0;
}

static int tell_names(struct fanq *client, struct request *request, const struct fanq_reply *reply)
{
    struct buffer memory = {0};
    struct fanq_error ok;
    int err = copy_names(client, &reply->names, &memory);

    if (err != 0)
        return err;
    struct fanq_name_list list = {(const char *const *)memory.data, reply->names.count, reply->names.more};
    fanq_error_set(&ok, 0);
    request->cb.list(client, &ok, &list, request->user);
    fanq_buffer_close(&client->memory, &memory);
    return 0;
}

static int tell_stats(struct fanq *client, struct request *request, const struct fanq_reply *reply)
{
    size_t bytes = reply->stats.count * sizeof(struct fanq_stat_entry);
    struct buffer memory = {0};
    struct fanq_error ok;

    for (uint32_t i = 0; i < reply->stats.count; i++)
        bytes += reply->stats.stats[i].name.length + 1;
    if (fanq_buffer_reserve(&client->memory, &memory, bytes) != 0)
        return FANQ_ERR_NOMEM;

    struct fanq_stat_entry *entries = (struct fanq_stat_entry *)memory.data;
    char *text = (char *)(entries + reply->stats.count);
    for (uint32_t i = 0; i < reply->stats.count; i++) {
        struct fanq_bytes name = reply->stats.stats[i].name;

        entries[i] = (struct fanq_stat_entry){text, reply->stats.stats[i].value};
        memcpy(text, name.data, name.length);
        text[name.length] = '\0';
        text += name.length + 1;
    }
    struct fanq_stat_list list = {entries, reply->stats.count};
    fanq_error_set(&ok, 0);
    request->cb.stats(client, &ok, &list, request->user);
    fanq_buffer_close(&client->memory, &memory);
    return 0;
}

static void copy_name(char *to, size_t size, struct fanq_bytes from)
{
    assert(from.length < size); /* the decoder knows the bound of names */
    memcpy(to, from.data, from.length);
    to[from.length] = '\0';
}

static void tell_queue(struct fanq *client, struct request *request, const struct fanq_queue_reply *queue)
{
    struct fanq_error ok;
    struct fanq_queue_info info = {.queue_id = queue->queue_id,
                                   .visibility_ms = queue->attributes.visibility_ms,
                                   .receive_wait_ms = queue->attributes.receive_wait_ms,
                                   .early_delivery = queue->attributes.early_delivery,
                                   .visible = queue->visible,
                                   .in_flight = queue->in_flight,
                                   .delayed = queue->delayed,
                                   .oldest_age_ms = queue->oldest_age_ms,
                                   .created_ms = queue->created_ms,
                                   .consumers = queue->consumers,
                                   .sent = queue->sent,
                                   .delivered = queue->delivered,
                                   .deleted = queue->deleted};

    copy_name(info.name_text, sizeof(info.name_text), queue->name);
    info.name = info.name_text;
    fanq_error_set(&ok, 0);
    request->cb.queue(client, &ok, &info, request->user);
}

static void tell_topic(struct fanq *client, struct request *request, const struct fanq_topic_reply *topic)
{
    struct fanq_error ok;
    struct fanq_topic_info info = {.stream = topic->stream,
                                   .subscription_count = topic->subscription_count,
                                   .created_ms = topic->created_ms,
                                   .published = topic->published};

    copy_name(info.name_text, sizeof(info.name_text), topic->name);
    info.name = info.name_text;
    fanq_error_set(&ok, 0);
    request->cb.topic(client, &ok, &info, request->user);
}

static void tell_batch(struct fanq *client, struct request *request, struct fanq_batch *batch)
{
    struct fanq_error ok;

    fanq_error_set(&ok, 0);
    request->cb.received(client, &ok, batch, request->user);
    fanq_batch_unref(batch);
}

static int tell_peeked(struct fanq *client, struct request *request, struct fanq_bytes payload,
                       const struct fanq_reply *reply)
{
    struct fanq_batch *batch;
    int err = fanq_batch_from_peeked(client, payload, &reply->peeked, &batch);

    if (err == 0)
        tell_batch(client, request, batch);
    return err;
}

/* ---- matching ---- */

/* Ends the request with the broker's error, in the broker's words. */
static void refuse(struct fanq *client, struct request *request, const struct fanq_error_reply *reply)
{
    struct fanq_error error;
    struct fanq_bytes text = reply->text;

    if (text.length == 0)
        fanq_error_set(&error, reply->err);
    else
        fanq_error_set_text(&error, reply->err, "%.*s", (int)(text.length < 1024 ? text.length : 1024),
                            (const char *)text.data);
    fanq_request_take(client, request);
    tell(client, request, &error);
    fanq_request_free(client, request);
}

/* Ends the request with a plain success, if that is an answer to it. 0 or FANQ_ERR_PROTOCOL. */
static int succeed(struct fanq *client, struct request *request)
{
    struct fanq_error ok;

    fanq_error_set(&ok, 0);
    switch (request->kind) {
    case REQUEST_PUSH:
        return 0; /* it has begun; it ends with PUSH_END */
    case REQUEST_PING:
        client->pinging = false;
        break;
    case REQUEST_DONE:
    case REQUEST_ACK:
    case REQUEST_GATHER:
    case REQUEST_BATCH:
    case REQUEST_PUSH_STOP:
        break;
    default:
        return FANQ_ERR_PROTOCOL;
    }
    fanq_request_take(client, request);
    tell(client, request, &ok);
    fanq_request_free(client, request);
    return 0;
}

static int succeed_range(struct fanq *client, uint64_t first, uint64_t count)
{
    /* All of them waited at one time, so there cannot be more than the table has room for. */
    if (first == 0 || count > client->next_id - first || count > client->table.mask + 1)
        return FANQ_ERR_PROTOCOL;
    for (uint64_t id = first; id < first + count && !client->freed; id++) {
        struct request *request = fanq_table_find(&client->table, id);
        int err = request != NULL ? succeed(client, request) : 0;

        if (err != 0)
            return err;
    }
    return 0;
}

/* NACK and EXTEND ask for a count; where nothing was found, nothing was held any more. */
static int changed(struct fanq *client, struct request *request, uint64_t count)
{
    bool is_receipt = request->op == FANQ_OP_NACK || request->op == FANQ_OP_EXTEND;

    if (!is_receipt || count > 0)
        return succeed(client, request);
    refuse(client, request, &(struct fanq_error_reply){.err = FANQ_ERR_RECEIPT_EXPIRED});
    return 0;
}

static int published(struct fanq *client, struct request *request, const struct fanq_published *reply)
{
    struct fanq_error ok;
    bool fits =
        (request->kind == REQUEST_GATHER || request->kind == REQUEST_BATCH) && reply->count <= request->count;

    for (uint32_t i = 0; fits && i < reply->refusal_count; i++) /* rising places within the frame */
        fits = reply->refusals[i].index < request->count &&
               (i == 0 || reply->refusals[i].index > reply->refusals[i - 1].index);
    if (!fits || reply->refusal_count > request->count - reply->count)
        return FANQ_ERR_PROTOCOL;
    fanq_error_set(&ok, 0);
    fanq_request_take(client, request);
    if (request->kind == REQUEST_GATHER)
        fanq_gather_answer(client, request, &ok, reply);
    else
        fanq_batch_sent_answer(client, request, &ok, reply);
    fanq_request_free(client, request);
    return 0;
}

/* A push ends by the broker's will. One that is draining says so to every push just before it hangs up; the
 * push is then taken up again with the next connection, as after any other loss. */
static int push_ended(struct fanq *client, struct request *request, const struct fanq_error_reply *reply)
{
    if (request->kind != REQUEST_PUSH)
        return FANQ_ERR_PROTOCOL;
    if (reply->err == FANQ_ERR_DRAINING && client->options.reconnect && !client->closing &&
        !request->consumer->stopping)
        return 0;
    refuse(client, request, reply);
    return 0;
}

/* An answer with fields of its own, to a request that must want just this kind. */
static int answer_kind(struct fanq *client, struct request *request, enum request_kind kind,
                       struct fanq_bytes payload, const struct fanq_reply *reply)
{
    int err = 0;

    if (request->kind == REQUEST_DONE && (kind == REQUEST_QUEUE || kind == REQUEST_TOPIC))
        return succeed(client, request);
    if (request->kind != kind)
        return FANQ_ERR_PROTOCOL;
    fanq_request_take(client, request);
    switch (kind) {
    case REQUEST_QUEUE:
        tell_queue(client, request, &reply->queue);
        break;
    case REQUEST_TOPIC:
        tell_topic(client, request, &reply->topic);
        break;
    case REQUEST_LIST:
        err = tell_names(client, request, reply);
        break;
    case REQUEST_STATS:
        err = tell_stats(client, request, reply);
        break;
    case REQUEST_BACKUP:
        err = fanq_backup_tell(client, request, &reply->backup);
        break;
    default:
        err = tell_peeked(client, request, payload, reply);
        break;
    }
    if (err != 0) {
        struct fanq_error error;
        fanq_error_set(&error, err);
        tell(client, request, &error);
    }
    fanq_request_free(client, request);
    return err == FANQ_ERR_PROTOCOL ? err : 0;
}

static int answer_to(struct fanq *client, struct request *request, struct fanq_bytes payload,
                     const struct fanq_reply *reply)
{
    switch (reply->op) {
    case FANQ_REPLY_OK:
        return succeed(client, request);
    case FANQ_REPLY_ERROR:
        if (request->kind == REQUEST_PUSH)
            return push_ended(client, request, &reply->error);
        refuse(client, request, &reply->error);
        return 0;
    case FANQ_REPLY_PUSH_END:
        return push_ended(client, request, &reply->error);
    case FANQ_REPLY_CHANGED:
        return changed(client, request, reply->changed);
    case FANQ_REPLY_PUBLISHED:
        return published(client, request, &reply->published);
    case FANQ_REPLY_PEEKED:
        return answer_kind(client, request, REQUEST_PEEK, payload, reply);
    case FANQ_REPLY_QUEUE:
        return answer_kind(client, request, REQUEST_QUEUE, payload, reply);
    case FANQ_REPLY_TOPIC:
        return answer_kind(client, request, REQUEST_TOPIC, payload, reply);
    case FANQ_REPLY_NAMES:
        return answer_kind(client, request, REQUEST_LIST, payload, reply);
    case FANQ_REPLY_STATS:
        return answer_kind(client, request, REQUEST_STATS, payload, reply);
    case FANQ_REPLY_BACKUP:
        return answer_kind(client, request, REQUEST_BACKUP, payload, reply);
    case FANQ_REPLY_HELLO:
    case FANQ_REPLY_OK_RANGE:
    case FANQ_REPLY_DELIVER:
        break;
    }
    return FANQ_ERR_PROTOCOL;
}

/* ---- deliveries ---- */

static int delivered(struct fanq *client, uint64_t id, struct fanq_bytes payload)
{
    struct request *request = fanq_table_find(&client->table, id);
    struct fanq_batch *batch;

    if (id == 0 || id >= client->next_id ||
        (request != NULL && request->kind != REQUEST_RECEIVE && request->kind != REQUEST_PUSH))
        return FANQ_ERR_PROTOCOL;
    int err = fanq_batch_from_delivery(client, payload, &batch);
    if (err != 0)
        return err; /* FANQ_ERR_NOMEM too: messages must not vanish silently, so the broker gets them back by
                       our loss */
    if (request == NULL) {
        fanq_batch_give_back(batch);
        fanq_batch_unref(batch);
    } else if (request->kind == REQUEST_PUSH) {
        fanq_consumer_delivered(client, request, batch);
    } else {
        fanq_request_take(client, request);
        tell_batch(client, request, batch);
        fanq_request_free(client, request);
    }
    return 0;
}

/* ---- frames ---- */

/* Lists in a reply go into scratch memory, which grows to what proto/ says always suffices. */
static int decode(struct fanq *client, struct fanq_bytes payload, struct fanq_reply *ret_reply)
{
    struct buffer *scratch = &client->scratch;
    int err = fanq_reply_decode(payload, scratch->data, scratch->capacity, ret_reply);

    while (err == FANQ_ERR_NOMEM && scratch->capacity <= payload.length * 8 + 64) {
        if (fanq_buffer_reserve(&client->memory, scratch, scratch->capacity + 1024) != 0)
            return FANQ_ERR_NOMEM;
        err = fanq_reply_decode(payload, scratch->data, scratch->capacity, ret_reply);
    }
    return err;
}

/* An error that answers no request: the broker's last words. */
static int farewell(struct fanq *client, const struct fanq_error_reply *reply)
{
    const char *name = fanq_error_name(reply->err);
    size_t length = strlen(name);
    size_t room = sizeof(client->farewell) - length - 3;
    size_t text_bytes = reply->text.length < room ? reply->text.length : room;

    memcpy(client->farewell, name, length);
    memcpy(client->farewell + length, ": ", 2);
    memcpy(client->farewell + length + 2, reply->text.data, text_bytes);
    client->farewell[length + 2 + text_bytes] = '\0';
    return reply->err;
}

int fanq_answer_frame(struct fanq *client, struct fanq_bytes payload)
{
    struct fanq_delivery_reader delivery;
    struct fanq_reply reply;

    if (client->phase == PHASE_READY && fanq_delivery_open(payload, &delivery) == 0)
        return delivered(client, delivery.id, payload);
    int err = decode(client, payload, &reply);
    if (err != 0)
        return err;
    if (reply.op == FANQ_REPLY_ERROR && reply.id == 0)
        return farewell(client, &reply.error);
    if (client->phase == PHASE_GREETING)
        return fanq_connection_greeted(client, &reply);
    if (reply.op == FANQ_REPLY_OK_RANGE)
        return succeed_range(client, reply.id, reply.ok_range.count);
    if (reply.id == 0 || reply.id >= client->next_id)
        return FANQ_ERR_PROTOCOL;
    struct request *request = fanq_table_find(&client->table, reply.id);
    return request != NULL ? answer_to(client, request, payload, &reply) : 0; /* NULL: it came too late */
}
