/* Batches: what came in one delivery, as a view of the bytes that came.
 *
 * Form is checked when the batch is made: every slice, every record's boundary. Properties inside a record
 * are looked at when asked for; the broker checked them, and if it lied they read as absent. */
#include "client.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    SLICE_BYTES_MIN =
        14 /* no slice takes less on the wire: what a count may ask for is bounded by the payload */
};

/* ---- making ---- */

/* A batch whose bytes are those of `payload`, or a copy of them if it is short. *ret_payload: where they are
 * now. */
static struct fanq_batch *batch_new(struct fanq *client, struct fanq_bytes payload, uint32_t slice_count,
                                    struct fanq_bytes *ret_payload)
{
    size_t head_bytes = sizeof(struct fanq_batch) + slice_count * sizeof(struct slice);
    bool copies = payload.length <= DELIVERY_COPY_BYTES_MAX;
    struct fanq_batch *batch =
        memory_resize(&client->memory, NULL, head_bytes + (copies ? payload.length : 0));

    if (batch == NULL)
        return NULL;
    memset(batch, 0, sizeof(*batch));
    batch->references = 1;
    batch->memory = client->memory;
    batch->client = client;
    batch->epoch = client->broker.epoch;
    *ret_payload = payload;
    if (copies) {
        ret_payload->data = (uint8_t *)batch + head_bytes;
        memcpy((uint8_t *)batch + head_bytes, payload.data, payload.length);
    } else {
        batch->chunk = client->input.chunk;
        batch->chunk->references++;
    }
    list_append(&client->batches, &batch->order);
    return batch;
}

static void batch_add_slice(struct fanq_batch *batch, const struct fanq_slice *from)
{
    batch->slices[batch->slice_count++] = (struct slice){.stream = from->stream,
                                                         .epoch = from->epoch,
                                                         .first_seq = from->first_seq,
                                                         .time_ms = from->time_ms,
                                                         .first_receive_ms = from->first_receive_ms,
                                                         .records = from->records.data,
                                                         .records_bytes = from->records.length,
                                                         .count = from->records.count,
                                                         .first_index = batch->count,
                                                         .deliveries = from->deliveries};
    batch->count += from->records.count;
    batch->held_bytes += from->records.length;
}

int fanq_batch_from_delivery(struct fanq *client, struct fanq_bytes payload, struct fanq_batch **ret_batch)
{
    struct fanq_delivery_reader reader;
    struct fanq_slice slice;
    struct fanq_bytes bytes;
    int found = fanq_delivery_open(payload, &reader);

    if (found != 0 || reader.slices_left > payload.length / SLICE_BYTES_MIN)
        return FANQ_ERR_PROTOCOL;
    struct fanq_batch *batch = batch_new(client, payload, reader.slices_left, &bytes);
    if (batch == NULL)
        return FANQ_ERR_NOMEM;
    (void)fanq_delivery_open(bytes, &reader); /* the same bytes as above */
    batch->queue_id = reader.queue_id;
    batch->number = reader.batch;
    batch->dropped = reader.dropped;
    while ((found = fanq_delivery_next(&reader, &slice)) == 1)
        batch_add_slice(batch, &slice);
    if (found < 0) {
        fanq_batch_unref(batch);
        return FANQ_ERR_PROTOCOL;
    }
    batch->held_messages = batch->count;
    *ret_batch = batch;
    return 0;
}

int fanq_batch_from_peeked(struct fanq *client, struct fanq_bytes payload, const struct fanq_peeked *peeked,
                           struct fanq_batch **ret_batch)
{
    struct fanq_bytes bytes;
    struct fanq_batch *batch = batch_new(client, payload, peeked->slice_count, &bytes);

    if (batch == NULL)
        return FANQ_ERR_NOMEM;
    batch->peeked = true;
    batch->more = peeked->more;
    batch->next_stream = peeked->next_stream;
    batch->next_seq = peeked->next_seq;
    for (uint32_t i = 0; i < peeked->slice_count; i++) {
        struct fanq_slice slice = peeked->slices[i].slice;

        slice.records.data = bytes.data + (slice.records.data - payload.data);
        batch_add_slice(batch, &slice);
        batch->slices[i].state = peeked->slices[i].state;
        batch->slices[i].due_ms = peeked->slices[i].due_ms;
    }
    *ret_batch = batch;
    return 0;
}

/* ---- references ---- */

struct fanq_batch *fanq_batch_ref(struct fanq_batch *batch)
{
    batch->references++;
    return batch;
}

void fanq_batch_unref(struct fanq_batch *batch)
{
    if (batch == NULL || --batch->references > 0)
        return;
    struct memory memory = batch->memory;
    assert(batch->waiters == NULL && batch->dirty.next == NULL); /* an ack on its way holds a reference */
    if (batch->consumer != NULL) {
        fanq_consumer_returned(batch->consumer, batch->held_messages, batch->held_bytes);
        fanq_consumer_unref(batch->consumer);
    }
    list_remove(&batch->order);
    fanq_chunk_unref(batch->client, &memory, batch->chunk);
    memory_free(&memory, batch->messages);
    memory_free(&memory, batch->settled);
    memory_free(&memory, batch);
}

void fanq_batch_forget_client(struct fanq_batch *batch)
{
    list_remove(&batch->order);
    batch->client = NULL;
}

/* ---- looking ---- */

size_t fanq_batch_count(const struct fanq_batch *batch)
{
    return batch->count;
}

uint64_t fanq_batch_dropped(const struct fanq_batch *batch)
{
    return batch->dropped;
}

uint64_t fanq_batch_queue_id(const struct fanq_batch *batch)
{
    return batch->queue_id;
}

bool fanq_batch_peek_cursor(const struct fanq_batch *batch, uint64_t *ret_stream, uint64_t *ret_seq)
{
    if (!batch->more)
        return false;
    *ret_stream = batch->next_stream;
    *ret_seq = batch->next_seq;
    return true;
}

static int messages_make(struct fanq_batch *batch)
{
    struct fanq_message *messages = memory_resize(&batch->memory, NULL, batch->count * sizeof(*messages));
    uint32_t index = 0;

    if (messages == NULL)
        return FANQ_ERR_NOMEM;
    for (uint32_t i = 0; i < batch->slice_count; i++) {
        const uint8_t *record = batch->slices[i].records;

        for (uint32_t k = 0; k < batch->slices[i].count; k++) {
            messages[index] = (struct fanq_message){batch, record, i, index};
            record += fanq_record_length(record);
            index++;
        }
    }
    batch->messages = messages;
    return 0;
}

struct fanq_message *fanq_batch_message(struct fanq_batch *batch, size_t index)
{
    if (index >= batch->count || (batch->messages == NULL && messages_make(batch) != 0))
        return NULL;
    return &batch->messages[index];
}

/* A plain record's body needs no parsing. */
static struct fanq_bytes record_body(const uint8_t *record, size_t length)
{
    struct fanq_record parts;

    if (record[FANQ_RECORD_HEADER_BYTES] == 0)
        return (struct fanq_bytes){record + FANQ_RECORD_PLAIN_BYTES, length - FANQ_RECORD_PLAIN_BYTES};
    return fanq_record_parse(record, length, &parts) == 0 ? parts.body : (struct fanq_bytes){0};
}

bool fanq_batch_next(const struct fanq_batch *batch, struct fanq_view *view)
{
    /* place: the next record, and how many of its slice were seen. */
    uint64_t *at = &view->place[0];
    uint64_t *seen = &view->place[1];

    if (*at != 0 && *seen == batch->slices[view->slice_index].count) {
        view->slice_index++;
        *at = *seen = 0;
    }
    if (view->slice_index >= batch->slice_count)
        return false;
    const struct slice *slice = &batch->slices[view->slice_index];
    const uint8_t *record = slice->records + *at;
    size_t length = fanq_record_length(record);
    struct fanq_bytes body = record_body(record, length);

    view->body = body.data;
    view->body_bytes = body.length;
    view->stream = slice->stream;
    view->seq = slice->first_seq + *seen;
    view->time_ms = slice->time_ms;
    view->record_bytes = (uint32_t)length;
    *at += length;
    *seen += 1;
    return true;
}

/* ---- messages ---- */

static const struct slice *slice_of(const struct fanq_message *message)
{
    return &message->batch->slices[message->slice_index];
}

struct fanq_message *fanq_message_ref(struct fanq_message *message)
{
    (void)fanq_batch_ref(message->batch);
    return message;
}

void fanq_message_unref(struct fanq_message *message)
{
    if (message != NULL)
        fanq_batch_unref(message->batch);
}

struct fanq_batch *fanq_message_batch(const struct fanq_message *message)
{
    return message->batch;
}

/* Takes the record apart; all parts are empty if it is malformed. */
static struct fanq_record parse(const struct fanq_message *message)
{
    struct fanq_record record = {0};

    (void)fanq_record_parse(message->record, fanq_record_length(message->record), &record);
    return record;
}

const void *fanq_message_body(const struct fanq_message *message, size_t *ret_bytes)
{
    struct fanq_bytes body = record_body(message->record, fanq_record_length(message->record));

    *ret_bytes = body.length;
    return body.data;
}

static const char *text_or_null(struct fanq_bytes text, size_t *ret_bytes)
{
    *ret_bytes = text.length;
    return text.length > 0 ? (const char *)text.data : NULL;
}

const char *fanq_message_subject(const struct fanq_message *message, size_t *ret_bytes)
{
    return text_or_null(parse(message).subject, ret_bytes);
}

const char *fanq_message_trace(const struct fanq_message *message, size_t *ret_bytes)
{
    return text_or_null(parse(message).trace, ret_bytes);
}

bool fanq_message_attribute_next(const struct fanq_message *message, size_t *place,
                                 struct fanq_message_attribute *ret_attribute)
{
    struct fanq_bytes attributes = parse(message).attributes;
    struct fanq_attribute attribute;

    if (*place >= attributes.length)
        return false;
    struct fanq_bytes rest = {attributes.data + *place, attributes.length - *place};
    if (!fanq_attribute_next(&rest, &attribute))
        return false;
    *place = attributes.length - rest.length;
    *ret_attribute = (struct fanq_message_attribute){
        .name = (const char *)attribute.name.data,
        .name_bytes = attribute.name.length,
        .type = (const char *)attribute.type.data,
        .type_bytes = attribute.type.length,
        .value = attribute.value.data,
        .value_bytes = attribute.value.length,
    };
    return true;
}

bool fanq_message_attribute(const struct fanq_message *message, const char *name,
                            struct fanq_message_attribute *ret_attribute)
{
    struct fanq_message_attribute attribute;
    size_t name_bytes = strlen(name);
    size_t place = 0;

    while (fanq_message_attribute_next(message, &place, &attribute)) {
        if (attribute.name_bytes != name_bytes || memcmp(attribute.name, name, name_bytes) != 0)
            continue;
        *ret_attribute = attribute;
        return true;
    }
    return false;
}

uint64_t fanq_message_stream(const struct fanq_message *message)
{
    return slice_of(message)->stream;
}

uint64_t fanq_message_seq(const struct fanq_message *message)
{
    return slice_of(message)->first_seq + (message->index - slice_of(message)->first_index);
}

uint64_t fanq_message_epoch(const struct fanq_message *message)
{
    return slice_of(message)->epoch;
}

size_t fanq_message_id(const struct fanq_message *message, char *ret_text, size_t size)
{
    int length = snprintf(ret_text, size, "%" PRIx64 ".%" PRIx64 "-%" PRIx64, fanq_message_stream(message),
                          fanq_message_epoch(message), fanq_message_seq(message));

    return length > 0 ? (size_t)length : 0;
}

uint64_t fanq_message_time_ms(const struct fanq_message *message)
{
    return slice_of(message)->time_ms;
}

uint32_t fanq_message_deliveries(const struct fanq_message *message)
{
    return slice_of(message)->deliveries;
}

uint64_t fanq_message_first_receive_ms(const struct fanq_message *message)
{
    return slice_of(message)->first_receive_ms;
}

uint32_t fanq_message_state(const struct fanq_message *message)
{
    return slice_of(message)->state;
}

uint64_t fanq_message_due_ms(const struct fanq_message *message)
{
    return slice_of(message)->due_ms;
}
