/* Acks, nacks and extensions.
 *
 * A batch remembers by a bit a message what has been settled, so a message is settled once. Acks of a round
 * gather as bits in their batch and leave as ranges, one frame a batch; a batch acked whole needs no bits at
 * all. A batch with acks to send is on the list of the dirty and holds a reference. */
#include "client.h"

#include <assert.h>
#include <string.h>

enum { RANGE_BYTES_MAX = 3 * 9 };

/* ---- bits ---- */

static size_t words(const struct fanq_batch *batch)
{
    return (batch->count + 63) / 64;
}

/* Makes the bits; what was settled as a whole stays so. */
static int bits_make(struct fanq_batch *batch)
{
    if (batch->settled != NULL)
        return 0;
    batch->settled = fanq_memory_zeroed(&batch->memory, 2 * words(batch) * sizeof(uint64_t));
    if (batch->settled == NULL)
        return FANQ_ERR_NOMEM;
    batch->acked = batch->settled + words(batch);
    return 0;
}

static bool bit(const uint64_t *bits, uint32_t index)
{
    return (bits[index / 64] >> (index % 64) & 1) != 0;
}

static void bit_set(uint64_t *bits, uint32_t index)
{
    bits[index / 64] |= (uint64_t)1 << (index % 64);
}

static bool is_settled(const struct fanq_batch *batch, uint32_t index)
{
    return batch->settled_all || (batch->settled != NULL && bit(batch->settled, index));
}

/* ---- ranges ---- */

/* Ranges of (stream, first, count) as they go on the wire. */
struct packer {
    struct fanq_writer w;
    uint32_t count;
};

static void pack(struct packer *p, const struct slice *slice, uint32_t from, uint32_t to)
{
    fanq_write_uint(&p->w, slice->stream);
    fanq_write_uint(&p->w, slice->first_seq + from);
    fanq_write_uint(&p->w, to - from);
    p->count++;
}

/* Where a walk over the ranges of a batch has got to. */
struct walk {
    const struct fanq_batch *batch;
    const uint64_t *bits; /* NULL: all messages */
    bool value;           /* else those whose bits equal this */
    uint32_t slice_index;
    uint32_t at;   /* in the slice */
    uint32_t from; /* of the range found */
    uint32_t to;
};

static bool wanted(const struct walk *walk, const struct slice *slice, uint32_t at)
{
    return walk->bits == NULL || bit(walk->bits, slice->first_index + at) == walk->value;
}

/* The next range, in walk->slice_index, from, to; false at the end. */
static bool walk_next(struct walk *walk)
{
    for (; walk->slice_index < walk->batch->slice_count; walk->slice_index++, walk->at = 0) {
        const struct slice *slice = &walk->batch->slices[walk->slice_index];

        while (walk->at < slice->count && !wanted(walk, slice, walk->at))
            walk->at++;
        if (walk->at == slice->count)
            continue;
        walk->from = walk->at;
        while (walk->at < slice->count && wanted(walk, slice, walk->at))
            walk->at++;
        walk->to = walk->at;
        return true;
    }
    return false;
}

/* Sends requests for the messages that the walk finds, which must be some. What `last` says goes with the
 * last of the requests; those before it, if there are very many ranges, are like it but nobody waits for
 * them. */
static int submit_ranges(struct fanq_batch *batch, struct fanq_request *wire, struct walk walk,
                         const struct request *last)
{
    struct fanq *client = batch->client;
    struct request silent = {
        .kind = last->kind, .weight = 1, .repeatable = last->repeatable, .epoch = last->epoch};
    uint32_t count = batch->count < FANQ_RANGES_MAX ? batch->count : FANQ_RANGES_MAX;
    struct buffer *ranges = &client->ranges;
    bool found = walk_next(&walk);
    int err = fanq_buffer_reserve(&client->memory, ranges, (size_t)count * RANGE_BYTES_MAX);

    assert(found);
    wire->change.queue_id = batch->queue_id;
    wire->change.batch = batch->number;
    while (err == 0 && found) {
        struct packer p = {fanq_writer_over(ranges->data, ranges->capacity), 0};

        do {
            pack(&p, &batch->slices[walk.slice_index], walk.from, walk.to);
            found = walk_next(&walk);
        } while (found && p.count < FANQ_RANGES_MAX);
        assert(!p.w.full);
        wire->change.ranges =
            fanq_ranges_over((struct fanq_bytes){ranges->data, fanq_writer_length(&p.w)}, p.count);
        err = fanq_request_submit_own(client, wire, found ? &silent : last, fanq_request_timeout_ms(client));
    }
    return err;
}

/* ---- acks ---- */

void fanq_waiters_call(struct fanq *client, struct waiter *waiters, const struct fanq_error *error)
{
    while (waiters != NULL) {
        struct waiter *next = waiters->next;

        waiters->cb(client, error, waiters->user);
        memory_free(&client->memory, waiters);
        waiters = next;
    }
}

static int waiter_add(struct fanq_batch *batch, fanq_done_cb cb, void *user)
{
    struct waiter **end = &batch->waiters;

    if (cb == NULL)
        return 0;
    struct waiter *waiter = memory_resize(&batch->memory, NULL, sizeof(*waiter));
    if (waiter == NULL)
        return FANQ_ERR_NOMEM;
    *waiter = (struct waiter){NULL, cb, user};
    while (*end != NULL)
        end = &(*end)->next;
    *end = waiter;
    batch->client->pending_count++;
    return 0;
}

static uint32_t waiters_count(const struct waiter *waiters)
{
    uint32_t count = 0;

    for (; waiters != NULL; waiters = waiters->next)
        count++;
    return count;
}

/* The batch has nothing more to send. */
static void ack_done(struct fanq_batch *batch)
{
    list_remove(&batch->dirty);
    batch->ack_all = false;
    if (batch->acked != NULL)
        for (size_t i = 0; i < words(batch); i++)
            batch->acked[i] = 0;
    fanq_batch_unref(batch);
}

static int ack_flush(struct fanq_batch *batch)
{
    struct fanq *client = batch->client;
    struct fanq_request wire = {.op = FANQ_OP_ACK};
    uint32_t waiting = waiters_count(batch->waiters);
    struct request like = {.kind = REQUEST_ACK,
                           .weight = waiting > 0 ? waiting : 1,
                           .repeatable = true,
                           .epoch = batch->epoch,
                           .waiters = batch->waiters};
    struct walk walk = {.batch = batch, .bits = batch->ack_all ? NULL : batch->acked, .value = true};
    int err = submit_ranges(batch, &wire, walk, &like);

    if (err != 0)
        return err;
    client->pending_count -= waiting; /* they count in the request now */
    batch->waiters = NULL;
    ack_done(batch);
    return 0;
}

int fanq_acks_flush(struct fanq *client)
{
    int err = 0;

    while (err == 0 && !list_empty(&client->dirty_batches))
        err = ack_flush(CONTAINER_OF(client->dirty_batches.next, struct fanq_batch, dirty));
    return err;
}

void fanq_acks_fail(struct fanq *client, int code)
{
    struct fanq_error error;

    fanq_error_set(&error, code);
    while (!list_empty(&client->dirty_batches)) {
        struct fanq_batch *batch = CONTAINER_OF(client->dirty_batches.next, struct fanq_batch, dirty);
        struct waiter *waiters = batch->waiters;

        client->pending_count -= waiters_count(waiters);
        batch->waiters = NULL;
        ack_done(batch);
        fanq_waiters_call(client, waiters, &error);
    }
}

/* What every settling asks first: 0, or why it cannot be. *ret_moot: there is nothing to settle, which is
 * success. */
static int may_settle(const struct fanq_batch *batch, bool *ret_moot)
{
    const struct fanq *client = batch->client;

    *ret_moot = batch->number == 0;
    if (batch->peeked)
        return FANQ_ERR_INVALID;
    if (client == NULL)
        return FANQ_ERR_CLOSED;
    /* Acks go through while the client is closing: that is what a drain is for. */
    if (client->freed || client->phase == PHASE_CLOSED)
        return FANQ_ERR_CLOSED;
    if (!*ret_moot && batch->epoch != client->broker.epoch && strcmp(client->broker.storage, "memory") == 0)
        return FANQ_ERR_RECEIPT_EXPIRED;
    return 0;
}

/* Success without asking the broker. */
static int nothing_to_do(struct fanq *client, fanq_done_cb cb, void *user)
{
    struct request like = {.kind = REQUEST_DONE, .weight = 1, .cb.done = cb, .user = user};

    return cb != NULL ? fanq_request_end_locally(client, &like, 0) : 0;
}

static void batch_make_dirty(struct fanq_batch *batch)
{
    if (batch->dirty.next != NULL)
        return;
    list_append(&batch->client->dirty_batches, &batch->dirty);
    (void)fanq_batch_ref(batch);
}

/* Gives credit back for messages that are settled. */
static void return_credit(struct fanq_batch *batch, uint64_t messages, uint64_t bytes)
{
    if (batch->consumer == NULL)
        return;
    if (messages > batch->held_messages)
        messages = batch->held_messages;
    if (bytes > batch->held_bytes)
        bytes = batch->held_bytes;
    batch->held_messages -= messages;
    batch->held_bytes -= bytes;
    fanq_consumer_returned(batch->consumer, messages, bytes);
}

static void settle_one(struct fanq_message *message)
{
    bit_set(message->batch->settled, message->index);
    return_credit(message->batch, 1, fanq_record_length(message->record));
}

int fanq_ack(struct fanq_message *message, fanq_done_cb cb, void *user)
{
    struct fanq_batch *batch = message->batch;
    bool moot;
    int err = may_settle(batch, &moot);

    if (err != 0)
        return err;
    if (moot || is_settled(batch, message->index))
        return nothing_to_do(batch->client, cb, user);
    err = bits_make(batch);
    if (err == 0)
        err = waiter_add(batch, cb, user);
    if (err != 0)
        return err;
    settle_one(message);
    bit_set(batch->acked, message->index);
    batch_make_dirty(batch);
    return 0;
}

static bool nothing_left(const struct fanq_batch *batch)
{
    bool any = batch->count > 0 && !batch->settled_all;

    if (!any || batch->settled == NULL)
        return !any;
    for (uint32_t i = 0; i < batch->count; i++)
        if (!bit(batch->settled, i))
            return false;
    return true;
}

/* Marks all that were not settled, and their acks. */
static void settle_rest(struct fanq_batch *batch)
{
    for (size_t i = 0; i < words(batch); i++)
        batch->acked[i] |= ~batch->settled[i]; /* bits beyond the last message are never looked at */
}

int fanq_ack_batch(struct fanq_batch *batch, fanq_done_cb cb, void *user)
{
    bool moot;
    int err = may_settle(batch, &moot);

    if (err != 0)
        return err;
    if (moot || nothing_left(batch))
        return nothing_to_do(batch->client, cb, user);
    err = waiter_add(batch, cb, user);
    if (err != 0)
        return err;
    if (batch->settled == NULL)
        batch->ack_all = true;
    else
        settle_rest(batch);
    batch->settled_all = true;
    return_credit(batch, batch->held_messages, batch->held_bytes);
    batch_make_dirty(batch);
    return 0;
}

void fanq_batch_give_back(struct fanq_batch *batch)
{
    struct fanq_request wire = {.op = FANQ_OP_NACK};
    struct request like = {.kind = REQUEST_DONE, .epoch = batch->epoch};

    if (batch->number != 0 && batch->count > 0 && !batch->client->freed)
        (void)submit_ranges(batch, &wire, (struct walk){.batch = batch},
                            &like); /* else the visibility timeout gives them back */
}

/* ---- nack and extend ---- */

static int change_one(struct fanq_message *message, enum fanq_op op, uint64_t time_ms, fanq_done_cb cb,
                      void *user)
{
    struct fanq_batch *batch = message->batch;
    const struct slice *slice = &batch->slices[message->slice_index];
    struct fanq_request wire = {.op = op, .change = {batch->queue_id, batch->number, time_ms, {{0}, 0}}};
    struct request like = {
        .kind = REQUEST_DONE, .weight = 1, .epoch = batch->epoch, .cb.done = cb, .user = user};
    uint8_t bytes[RANGE_BYTES_MAX];
    struct packer p = {fanq_writer_over(bytes, sizeof(bytes)), 0};
    uint32_t at = message->index - slice->first_index;

    pack(&p, slice, at, at + 1);
    wire.change.ranges = fanq_ranges_over((struct fanq_bytes){bytes, fanq_writer_length(&p.w)}, p.count);
    return fanq_request_submit(batch->client, &wire, &like, 0);
}

/* The messages that were not settled yet. */
static int change_rest(struct fanq_batch *batch, enum fanq_op op, uint64_t time_ms, fanq_done_cb cb,
                       void *user)
{
    struct fanq_request wire = {.op = op, .change.time_ms = time_ms};
    struct request like = {
        .kind = REQUEST_DONE, .weight = 1, .epoch = batch->epoch, .cb.done = cb, .user = user};
    int err = fanq_client_accepts(batch->client);

    if (err == 0)
        err = fanq_request_check_limits(batch->client, 1, 0);
    if (err == 0)
        err = fanq_gathers_flush(batch->client);
    return err == 0
               ? submit_ranges(batch, &wire, (struct walk){.batch = batch, .bits = batch->settled}, &like)
               : err;
}

/* A nack or extension of what has been auto-deleted or settled speaks of something that is gone. */
int fanq_nack(struct fanq_message *message, uint64_t delay_ms, fanq_done_cb cb, void *user)
{
    struct fanq_batch *batch = message->batch;
    bool moot;
    int err = may_settle(batch, &moot);

    if (err == 0 && delay_ms > FANQ_DELAY_MS_MAX)
        err = FANQ_ERR_INVALID;
    if (err == 0 && (moot || is_settled(batch, message->index)))
        err = FANQ_ERR_RECEIPT_EXPIRED;
    if (err == 0)
        err = bits_make(batch);
    if (err == 0)
        err = change_one(message, FANQ_OP_NACK, delay_ms, cb, user);
    if (err == 0)
        settle_one(message);
    return err;
}

int fanq_nack_batch(struct fanq_batch *batch, uint64_t delay_ms, fanq_done_cb cb, void *user)
{
    bool moot;
    int err = may_settle(batch, &moot);

    if (err == 0 && delay_ms > FANQ_DELAY_MS_MAX)
        err = FANQ_ERR_INVALID;
    if (err == 0 && (moot || nothing_left(batch)))
        err = FANQ_ERR_RECEIPT_EXPIRED;
    if (err == 0)
        err = change_rest(batch, FANQ_OP_NACK, delay_ms, cb, user);
    if (err != 0)
        return err;
    batch->settled_all = true;
    return_credit(batch, batch->held_messages, batch->held_bytes);
    return 0;
}

int fanq_extend(struct fanq_message *message, uint64_t visibility_ms, fanq_done_cb cb, void *user)
{
    struct fanq_batch *batch = message->batch;
    bool moot;
    int err = may_settle(batch, &moot);

    if (err == 0 && visibility_ms > FANQ_VISIBILITY_MS_MAX)
        err = FANQ_ERR_INVALID;
    if (err == 0 && (moot || is_settled(batch, message->index)))
        err = FANQ_ERR_RECEIPT_EXPIRED;
    return err == 0 ? change_one(message, FANQ_OP_EXTEND, visibility_ms, cb, user) : err;
}

int fanq_extend_batch(struct fanq_batch *batch, uint64_t visibility_ms, fanq_done_cb cb, void *user)
{
    bool moot;
    int err = may_settle(batch, &moot);

    if (err == 0 && visibility_ms > FANQ_VISIBILITY_MS_MAX)
        err = FANQ_ERR_INVALID;
    if (err == 0 && (moot || nothing_left(batch)))
        err = FANQ_ERR_RECEIPT_EXPIRED;
    return err == 0 ? change_rest(batch, FANQ_OP_EXTEND, visibility_ms, cb, user) : err;
}
