/* Replies: the broker's half of the wire, and the consumer's fast path through deliveries.
 *
 * Unlike requests, replies come from a broker that checked everything, so every flaw is a PROTOCOL error.
 * Lists become arrays of structs in the caller's scratch memory; how many elements the remaining bytes can
 * hold is checked before any scratch is asked for, so that a lying count is told from scratch that is too
 * small. */
#include "reply.h"

#include <assert.h>
#include <stdalign.h>

#include "slice.h"

enum {
    PEEKED_SLICE_FIELDS = SLICE_FIELDS + 2,

    /* The least bytes that an element of a list takes: a slice has one record, names are not empty. */
    SLICE_BYTES_MIN = 1 + 6 + 1 + FANQ_RECORD_PLAIN_BYTES,
    PEEKED_SLICE_BYTES_MIN = SLICE_BYTES_MIN + 2,
    NAME_BYTES_MIN = 2,
    STAT_BYTES_MIN = NAME_BYTES_MIN + 1,
    REFUSAL_BYTES_MIN = 2,
    NUMBER_BYTES_MIN = 1
};

/* What reply.h promises: scratch of eight times the payload's length always suffices. */
_Static_assert(sizeof(struct fanq_slice) <= 8 * SLICE_BYTES_MIN, "slices need more scratch than promised");
_Static_assert(sizeof(struct fanq_peeked_slice) <= 8 * PEEKED_SLICE_BYTES_MIN,
               "peeked slices need more scratch");
_Static_assert(sizeof(struct fanq_bytes) <= 8 * NAME_BYTES_MIN, "names need more scratch than promised");
_Static_assert(sizeof(struct fanq_stat) <= 8 * STAT_BYTES_MIN, "stats need more scratch than promised");
_Static_assert(sizeof(struct fanq_refusal) <= 8 * REFUSAL_BYTES_MIN,
               "refusals need more scratch than promised");
_Static_assert(sizeof(uint64_t) <= 8 * NUMBER_BYTES_MIN, "numbers need more scratch than promised");

/* Replies: name, and how many fields stand behind [op, request_id. */
static const struct op {
    const char *name;
    uint32_t field_count;
} ops[] = {
    [FANQ_REPLY_HELLO] = {"HELLO", 7},         [FANQ_REPLY_OK] = {"OK", 0},
    [FANQ_REPLY_ERROR] = {"ERROR", 2},         [FANQ_REPLY_OK_RANGE] = {"OK_RANGE", 1},
    [FANQ_REPLY_PUBLISHED] = {"PUBLISHED", 6}, [FANQ_REPLY_DELIVER] = {"DELIVER", DELIVER_FIELDS},
    [FANQ_REPLY_PEEKED] = {"PEEKED", 2},       [FANQ_REPLY_CHANGED] = {"CHANGED", 1},
    [FANQ_REPLY_QUEUE] = {"QUEUE", 12},        [FANQ_REPLY_NAMES] = {"NAMES", 2},
    [FANQ_REPLY_TOPIC] = {"TOPIC", 5},         [FANQ_REPLY_STATS] = {"STATS", 1},
    [FANQ_REPLY_PUSH_END] = {"PUSH_END", 2},   [FANQ_REPLY_BACKUP] = {"BACKUP", 6},
};

enum { OP_COUNT = sizeof(ops) / sizeof(ops[0]) };

static bool op_known(uint64_t op)
{
    return op < OP_COUNT && ops[op].name != NULL;
}

const char *fanq_reply_name(enum fanq_reply_op op)
{
    return op_known(op) ? ops[op].name : "UNKNOWN_REPLY";
}

struct decoder {
    struct fanq_cursor at;
    uint8_t *scratch;
    size_t scratch_bytes;
};

/* An array for `count` elements of element_bytes in the scratch memory, each of which takes at least
 * wire_bytes_min of what is left of the payload; NULL when the cursor failed. */
static void *take_scratch(struct decoder *d, uint32_t count, size_t element_bytes, size_t wire_bytes_min)
{
    void *elements = d->scratch;

    if (count > fanq_cursor_left(&d->at) / wire_bytes_min)
        fanq_cursor_fail(&d->at, FANQ_ERR_PROTOCOL);
    else if (count > d->scratch_bytes / element_bytes)
        fanq_cursor_fail(&d->at, FANQ_ERR_NOMEM);
    if (d->at.err != 0)
        return NULL;
    return elements;
}

static struct fanq_bytes take_name(struct fanq_cursor *c)
{
    struct fanq_bytes name = fanq_read_str(c, FANQ_NAME_BYTES_MAX);

    if (name.length == 0)
        fanq_cursor_fail(c, FANQ_ERR_PROTOCOL);
    return name;
}

static int take_error_number(struct fanq_cursor *c)
{
    uint64_t number = fanq_read_uint(c, INT32_MAX);

    if (number == 0)
        fanq_cursor_fail(c, FANQ_ERR_PROTOCOL);
    return -(int)number;
}

static void take_hello(struct fanq_cursor *c, struct fanq_hello_reply *hello)
{
    hello->version = (uint32_t)fanq_read_uint(c, UINT32_MAX);
    hello->epoch = fanq_read_uint(c, UINT64_MAX);
    hello->server = fanq_read_str(c, SIZE_MAX);
    hello->storage = fanq_read_str(c, SIZE_MAX);
    hello->frame_bytes_max = fanq_read_number(c);
    hello->message_bytes_max = fanq_read_number(c);
    hello->auto_create = fanq_read_bool(c);
    hello->has_producer = hello->producer_known = false;
}

static void take_error(struct fanq_cursor *c, struct fanq_error_reply *error)
{
    error->err = take_error_number(c);
    error->text = fanq_read_str(c, SIZE_MAX);
}

static void take_published(struct decoder *d, struct fanq_published *published)
{
    struct fanq_cursor *c = &d->at;

    published->stream = fanq_read_number(c);
    published->epoch = fanq_read_uint(c, UINT64_MAX);
    published->first_seq = fanq_read_number(c);
    published->count = fanq_read_number(c);
    published->subscription_count = fanq_read_number(c);

    uint32_t number_count = fanq_read_array(c);
    if (number_count % 2 != 0)
        fanq_cursor_fail(c, FANQ_ERR_PROTOCOL);
    uint32_t count = number_count / 2;
    struct fanq_refusal *refusals = take_scratch(d, count, sizeof(*refusals), REFUSAL_BYTES_MIN);
    for (uint32_t i = 0; i < count && c->err == 0; i++) {
        refusals[i].index = (uint32_t)fanq_read_uint(c, UINT32_MAX);
        refusals[i].err = take_error_number(c);
    }
    published->refusals = refusals;
    published->refusal_count = count;
}

static void take_peeked_slice(struct fanq_cursor *c, struct fanq_peeked_slice *peeked)
{
    uint32_t field_count = fanq_read_array(c);

    if (field_count < PEEKED_SLICE_FIELDS)
        fanq_cursor_fail(c, FANQ_ERR_PROTOCOL);
    fanq_read_slice_fields(c, &peeked->slice);
    peeked->state = (uint32_t)fanq_read_uint(c, UINT32_MAX);
    peeked->due_ms = fanq_read_number(c);
    if (c->err == 0)
        fanq_read_skip_many(c, field_count - PEEKED_SLICE_FIELDS);
}

static void take_delivery(struct decoder *d, struct fanq_delivery *delivery)
{
    delivery->queue_id = fanq_read_uint(&d->at, UINT64_MAX);
    delivery->batch = fanq_read_uint(&d->at, UINT64_MAX);
    delivery->dropped = fanq_read_number(&d->at);

    uint32_t count = fanq_read_array(&d->at);
    struct fanq_slice *slices = take_scratch(d, count, sizeof(*slices), SLICE_BYTES_MIN);
    for (uint32_t i = 0; i < count && d->at.err == 0; i++)
        fanq_read_slice(&d->at, &slices[i]);
    delivery->slices = slices;
    delivery->slice_count = count;
}

static void take_peeked(struct decoder *d, struct fanq_peeked *peeked)
{
    peeked->more = !fanq_read_nil(&d->at);
    peeked->next_stream = 0;
    peeked->next_seq = 0;
    if (peeked->more) {
        if (fanq_read_array(&d->at) != 2)
            fanq_cursor_fail(&d->at, FANQ_ERR_PROTOCOL);
        peeked->next_stream = fanq_read_number(&d->at);
        peeked->next_seq = fanq_read_number(&d->at);
    }

    uint32_t count = fanq_read_array(&d->at);
    struct fanq_peeked_slice *slices = take_scratch(d, count, sizeof(*slices), PEEKED_SLICE_BYTES_MIN);
    for (uint32_t i = 0; i < count && d->at.err == 0; i++)
        take_peeked_slice(&d->at, &slices[i]);
    peeked->slices = slices;
    peeked->slice_count = count;
}

/* A newer broker may tell of attributes that we do not know. */
static void take_attributes(struct fanq_cursor *c, struct fanq_queue_attributes *attributes)
{
    uint32_t count = fanq_read_map(c);

    *attributes = (struct fanq_queue_attributes){0};
    for (uint32_t i = 0; i < count && c->err == 0; i++) {
        uint64_t key = fanq_read_uint(c, UINT64_MAX);

        switch (key) {
        case FANQ_QUEUE_VISIBILITY_MS:
            attributes->visibility_ms = fanq_read_number(c);
            break;
        case FANQ_QUEUE_RECEIVE_WAIT_MS:
            attributes->receive_wait_ms = fanq_read_number(c);
            break;
        case FANQ_QUEUE_EARLY_DELIVERY:
            attributes->early_delivery = fanq_read_bool(c);
            break;
        default:
            fanq_read_skip(c);
            continue;
        }
        attributes->set |= 1u << key;
    }
}

static void take_queue(struct fanq_cursor *c, struct fanq_queue_reply *queue)
{
    queue->name = take_name(c);
    queue->queue_id = fanq_read_uint(c, UINT64_MAX);
    take_attributes(c, &queue->attributes);
    queue->visible = fanq_read_number(c);
    queue->in_flight = fanq_read_number(c);
    queue->delayed = fanq_read_number(c);
    queue->oldest_age_ms = fanq_read_number(c);
    queue->created_ms = fanq_read_number(c);
    queue->consumers = fanq_read_number(c);
    queue->sent = fanq_read_number(c);
    queue->delivered = fanq_read_number(c);
    queue->deleted = fanq_read_number(c);
}

static void take_topic(struct fanq_cursor *c, struct fanq_topic_reply *topic)
{
    topic->name = take_name(c);
    topic->stream = fanq_read_number(c);
    topic->subscription_count = fanq_read_number(c);
    topic->created_ms = fanq_read_number(c);
    topic->published = fanq_read_number(c);
}

static void take_names(struct decoder *d, struct fanq_names *names)
{
    uint32_t count = fanq_read_array(&d->at);
    struct fanq_bytes *list = take_scratch(d, count, sizeof(*list), NAME_BYTES_MIN);

    for (uint32_t i = 0; i < count && d->at.err == 0; i++)
        list[i] = take_name(&d->at);
    names->names = list;
    names->count = count;
    names->more = fanq_read_bool(&d->at);
}

static void take_stats(struct decoder *d, struct fanq_stats_reply *stats)
{
    uint32_t count = fanq_read_map(&d->at);
    struct fanq_stat *list = take_scratch(d, count, sizeof(*list), STAT_BYTES_MIN);

    for (uint32_t i = 0; i < count && d->at.err == 0; i++) {
        list[i].name = take_name(&d->at);
        list[i].value = fanq_read_uint(&d->at, UINT64_MAX);
    }
    stats->stats = list;
    stats->count = count;
}

static const uint64_t *take_numbers(struct decoder *d, uint32_t *ret_count)
{
    uint32_t count = fanq_read_array(&d->at);
    uint64_t *numbers = take_scratch(d, count, sizeof(*numbers), NUMBER_BYTES_MIN);

    for (uint32_t i = 0; i < count && d->at.err == 0; i++)
        numbers[i] = fanq_read_number(&d->at);
    *ret_count = count;
    return numbers;
}

static void take_backup(struct decoder *d, struct fanq_backup_reply *backup)
{
    backup->directory = fanq_read_str(&d->at, SIZE_MAX);
    backup->directory_id = fanq_read_uint(&d->at, UINT64_MAX);
    backup->end_lsn = fanq_read_number(&d->at);
    backup->segment_bytes = fanq_read_number(&d->at);
    backup->segments = take_numbers(d, &backup->segment_count);
    if (d->at.err != 0)
        return;
    if (backup->segment_count >
        0) { /* the second list stands behind the first; there may be no scratch at all */
        d->scratch += backup->segment_count * sizeof(uint64_t);
        d->scratch_bytes -= backup->segment_count * sizeof(uint64_t);
    }
    backup->cold_segments = take_numbers(d, &backup->cold_segment_count);
}

static void take_fields(struct decoder *d, struct fanq_reply *reply)
{
    switch (reply->op) {
    case FANQ_REPLY_HELLO:
        take_hello(&d->at, &reply->hello);
        break;
    case FANQ_REPLY_OK:
        break;
    case FANQ_REPLY_ERROR:
    case FANQ_REPLY_PUSH_END:
        take_error(&d->at, &reply->error);
        break;
    case FANQ_REPLY_OK_RANGE:
        reply->ok_range.count = fanq_read_number(&d->at);
        break;
    case FANQ_REPLY_PUBLISHED:
        take_published(d, &reply->published);
        break;
    case FANQ_REPLY_DELIVER:
        take_delivery(d, &reply->deliver);
        break;
    case FANQ_REPLY_PEEKED:
        take_peeked(d, &reply->peeked);
        break;
    case FANQ_REPLY_CHANGED:
        reply->changed = fanq_read_number(&d->at);
        break;
    case FANQ_REPLY_QUEUE:
        take_queue(&d->at, &reply->queue);
        break;
    case FANQ_REPLY_TOPIC:
        take_topic(&d->at, &reply->topic);
        break;
    case FANQ_REPLY_NAMES:
        take_names(d, &reply->names);
        break;
    case FANQ_REPLY_STATS:
        take_stats(d, &reply->stats);
        break;
    case FANQ_REPLY_BACKUP:
        take_backup(d, &reply->backup);
        break;
    }
}

/* Reads [op, request_id. Gives how many elements are left, or fails the cursor when there are too few of
 * them. */
static uint32_t take_head(struct fanq_cursor *c, uint64_t *ret_op, uint64_t *ret_id)
{
    uint32_t element_count = fanq_read_array(c);

    *ret_op = fanq_read_uint(c, OP_COUNT - 1);
    *ret_id = fanq_read_number(c);
    if (c->err == 0 && (!op_known(*ret_op) || element_count < 2 + ops[*ret_op].field_count))
        fanq_cursor_fail(c, FANQ_ERR_PROTOCOL);
    return element_count - 2;
}

int fanq_reply_decode(struct fanq_bytes payload, void *scratch, size_t scratch_bytes,
                      struct fanq_reply *ret_reply)
{
    size_t padding = -(uintptr_t)scratch % alignof(max_align_t);
    struct decoder d = {.at = fanq_cursor_over(payload.data, payload.length)};
    struct fanq_reply reply;
    uint64_t op;

    if (scratch_bytes > padding) {
        d.scratch = (uint8_t *)scratch + padding;
        d.scratch_bytes = scratch_bytes - padding;
    }
    uint32_t element_count = take_head(&d.at, &op, &reply.id);
    if (d.at.err != 0)
        return FANQ_ERR_PROTOCOL;
    reply.op = (enum fanq_reply_op)op;
    take_fields(&d, &reply);
    uint32_t more_elements = element_count - ops[op].field_count;
    if (op == FANQ_REPLY_HELLO && more_elements > 0) {
        reply.hello.has_producer = true;
        reply.hello.producer_known = fanq_read_bool(&d.at);
        more_elements--;
    }
    fanq_read_skip_many(&d.at, more_elements);
    if (d.at.err == FANQ_ERR_NOMEM)
        return FANQ_ERR_NOMEM;
    if (d.at.err != 0 || fanq_cursor_left(&d.at) > 0)
        return FANQ_ERR_PROTOCOL;
    *ret_reply = reply;
    return 0;
}

static void put_hello(struct fanq_writer *w, const struct fanq_hello_reply *hello)
{
    fanq_write_uint(w, hello->version);
    fanq_write_uint(w, hello->epoch);
    fanq_write_str(w, hello->server);
    fanq_write_str(w, hello->storage);
    fanq_write_uint(w, hello->frame_bytes_max);
    fanq_write_uint(w, hello->message_bytes_max);
    fanq_write_bool(w, hello->auto_create);
    if (hello->has_producer)
        fanq_write_bool(w, hello->producer_known);
}

static void put_error_number(struct fanq_writer *w, int err)
{
    assert(err < 0);
    fanq_write_uint(w, (uint64_t) - (int64_t)err);
}

static void put_published(struct fanq_writer *w, const struct fanq_published *published)
{
    fanq_write_uint(w, published->stream);
    fanq_write_uint(w, published->epoch);
    fanq_write_uint(w, published->first_seq);
    fanq_write_uint(w, published->count);
    fanq_write_uint(w, published->subscription_count);
    fanq_write_array(w, 2 * published->refusal_count);
    for (uint32_t i = 0; i < published->refusal_count; i++) {
        fanq_write_uint(w, published->refusals[i].index);
        put_error_number(w, published->refusals[i].err);
    }
}

static void put_delivery(struct fanq_writer *w, uint64_t id, const struct fanq_delivery *delivery)
{
    uint8_t *start = w->at;

    fanq_deliver_begin(w, id, delivery);
    for (uint32_t i = 0; i < delivery->slice_count; i++) {
        fanq_deliver_slice(w, &delivery->slices[i]);
        fanq_write_raw(w, delivery->slices[i].records.data, delivery->slices[i].records.length);
    }
    if (w->full) /* as fanq_frame_end() does */
        w->at = start;
}

static void put_peeked(struct fanq_writer *w, const struct fanq_peeked *peeked)
{
    if (peeked->more) {
        fanq_write_array(w, 2);
        fanq_write_uint(w, peeked->next_stream);
        fanq_write_uint(w, peeked->next_seq);
    } else {
        fanq_write_nil(w);
    }
    fanq_write_array(w, peeked->slice_count);
    for (uint32_t i = 0; i < peeked->slice_count; i++) {
        const struct fanq_slice *slice = &peeked->slices[i].slice;

        fanq_write_slice_fields(w, slice, PEEKED_SLICE_FIELDS);
        fanq_write_raw(w, slice->records.data, slice->records.length);
        fanq_write_uint(w, peeked->slices[i].state);
        fanq_write_uint(w, peeked->slices[i].due_ms);
    }
}

static void put_queue(struct fanq_writer *w, const struct fanq_queue_reply *queue)
{
    fanq_write_str(w, queue->name);
    fanq_write_uint(w, queue->queue_id);
    fanq_write_queue_attributes(w, &queue->attributes);
    fanq_write_uint(w, queue->visible);
    fanq_write_uint(w, queue->in_flight);
    fanq_write_uint(w, queue->delayed);
    fanq_write_uint(w, queue->oldest_age_ms);
    fanq_write_uint(w, queue->created_ms);
    fanq_write_uint(w, queue->consumers);
    fanq_write_uint(w, queue->sent);
    fanq_write_uint(w, queue->delivered);
    fanq_write_uint(w, queue->deleted);
}

static void put_topic(struct fanq_writer *w, const struct fanq_topic_reply *topic)
{
    fanq_write_str(w, topic->name);
    fanq_write_uint(w, topic->stream);
    fanq_write_uint(w, topic->subscription_count);
    fanq_write_uint(w, topic->created_ms);
    fanq_write_uint(w, topic->published);
}

static void put_names(struct fanq_writer *w, const struct fanq_names *names)
{
    fanq_write_array(w, names->count);
    for (uint32_t i = 0; i < names->count; i++)
        fanq_write_str(w, names->names[i]);
    fanq_write_bool(w, names->more);
}

static void put_stats(struct fanq_writer *w, const struct fanq_stats_reply *stats)
{
    fanq_write_map(w, stats->count);
    for (uint32_t i = 0; i < stats->count; i++) {
        fanq_write_str(w, stats->stats[i].name);
        fanq_write_uint(w, stats->stats[i].value);
    }
}

static void put_numbers(struct fanq_writer *w, const uint64_t *numbers, uint32_t count)
{
    fanq_write_array(w, count);
    for (uint32_t i = 0; i < count; i++)
        fanq_write_uint(w, numbers[i]);
}

static void put_backup(struct fanq_writer *w, const struct fanq_backup_reply *backup)
{
    fanq_write_str(w, backup->directory);
    fanq_write_uint(w, backup->directory_id);
    fanq_write_uint(w, backup->end_lsn);
    fanq_write_uint(w, backup->segment_bytes);
    put_numbers(w, backup->segments, backup->segment_count);
    put_numbers(w, backup->cold_segments, backup->cold_segment_count);
}

static void put_fields(struct fanq_writer *w, const struct fanq_reply *reply)
{
    switch (reply->op) {
    case FANQ_REPLY_HELLO:
        put_hello(w, &reply->hello);
        break;
    case FANQ_REPLY_OK:
    case FANQ_REPLY_DELIVER: /* has its own way: put_delivery() */
        break;
    case FANQ_REPLY_ERROR:
    case FANQ_REPLY_PUSH_END:
        put_error_number(w, reply->error.err);
        fanq_write_str(w, reply->error.text);
        break;
    case FANQ_REPLY_OK_RANGE:
        fanq_write_uint(w, reply->ok_range.count);
        break;
    case FANQ_REPLY_PUBLISHED:
        put_published(w, &reply->published);
        break;
    case FANQ_REPLY_PEEKED:
        put_peeked(w, &reply->peeked);
        break;
    case FANQ_REPLY_CHANGED:
        fanq_write_uint(w, reply->changed);
        break;
    case FANQ_REPLY_QUEUE:
        put_queue(w, &reply->queue);
        break;
    case FANQ_REPLY_TOPIC:
        put_topic(w, &reply->topic);
        break;
    case FANQ_REPLY_NAMES:
        put_names(w, &reply->names);
        break;
    case FANQ_REPLY_STATS:
        put_stats(w, &reply->stats);
        break;
    case FANQ_REPLY_BACKUP:
        put_backup(w, &reply->backup);
        break;
    }
}

void fanq_reply_encode(struct fanq_writer *w, const struct fanq_reply *reply)
{
    assert(op_known(reply->op));
    if (reply->op == FANQ_REPLY_DELIVER) {
        put_delivery(w, reply->id, &reply->deliver);
        return;
    }

    bool has_producer = reply->op == FANQ_REPLY_HELLO && reply->hello.has_producer;
    size_t place = fanq_frame_begin(w);
    fanq_write_array(w, 2 + ops[reply->op].field_count + has_producer);
    fanq_write_uint(w, reply->op);
    fanq_write_uint(w, reply->id);
    put_fields(w, reply);
    fanq_frame_end(w, place, 0);
}
