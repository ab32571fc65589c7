/* Requests: one small function per kind of body for each direction, chosen by one flat switch.
 *
 * A decoder reads all fields of its request and looks for trouble once, at the end. Two sorts of trouble are
 * kept apart: the cursor's error (the bytes are not what the protocol says; nothing behind them can be
 * trusted) and `invalid` (the bytes are in order, a value is not; just this request is refused). The first
 * outweighs the second. */
#include "request.h"

#include <assert.h>
#include <string.h>

#include "bytes.h"

/* Sequence and stream numbers, request ids and credit stay below 2^63, so that sums of two do not overflow
 * and languages without unsigned numbers can hold them. */
#define NUMBER_MAX ((uint64_t)INT64_MAX)

enum { OP_REPLIES_BEGIN = 64, RANGE_FIELDS = 3 };

static const struct fanq_bytes magic = {(const uint8_t *)"fanq", 4};

/* Operations: name, and how many fields stand behind [op, request_id. */
static const struct op {
    const char *name;
    uint32_t field_count;
} ops[] = {
    [FANQ_OP_HELLO] = {"HELLO", 4},
    [FANQ_OP_PING] = {"PING", 0},
    [FANQ_OP_PUBLISH] = {"PUBLISH", 3},
    [FANQ_OP_SEND] = {"SEND", 3},
    [FANQ_OP_RECEIVE] = {"RECEIVE", 6},
    [FANQ_OP_ACK] = {"ACK", 3},
    [FANQ_OP_NACK] = {"NACK", 4},
    [FANQ_OP_EXTEND] = {"EXTEND", 4},
    [FANQ_OP_PUSH] = {"PUSH", 6},
    [FANQ_OP_CREDIT] = {"CREDIT", 3},
    [FANQ_OP_PUSH_STOP] = {"PUSH_STOP", 1},
    [FANQ_OP_PEEK] = {"PEEK", 5},
    [FANQ_OP_PURGE] = {"PURGE", 1},
    [FANQ_OP_QUEUE_CREATE] = {"QUEUE_CREATE", 2},
    [FANQ_OP_QUEUE_SET] = {"QUEUE_SET", 2},
    [FANQ_OP_QUEUE_GET] = {"QUEUE_GET", 1},
    [FANQ_OP_QUEUE_DELETE] = {"QUEUE_DELETE", 1},
    [FANQ_OP_QUEUE_LIST] = {"QUEUE_LIST", 3},
    [FANQ_OP_TOPIC_CREATE] = {"TOPIC_CREATE", 1},
    [FANQ_OP_TOPIC_GET] = {"TOPIC_GET", 1},
    [FANQ_OP_TOPIC_DELETE] = {"TOPIC_DELETE", 1},
    [FANQ_OP_TOPIC_LIST] = {"TOPIC_LIST", 3},
    [FANQ_OP_SUBSCRIBE] = {"SUBSCRIBE", 2},
    [FANQ_OP_UNSUBSCRIBE] = {"UNSUBSCRIBE", 2},
    [FANQ_OP_SUBSCRIPTION_LIST] = {"SUBSCRIPTION_LIST", 3},
    [FANQ_OP_STATS] = {"STATS", 0},
    [FANQ_OP_BACKUP] = {"BACKUP", 0},
    [FANQ_OP_BACKUP_END] = {"BACKUP_END", 0},
};

enum { OP_COUNT = sizeof(ops) / sizeof(ops[0]) };

static bool op_known(uint64_t op)
{
    return op < OP_COUNT && ops[op].name != NULL;
}

const char *fanq_op_name(enum fanq_op op)
{
    return op_known(op) ? ops[op].name : "UNKNOWN_OP";
}

struct decoder {
    struct fanq_cursor at;
    bool invalid;
    size_t message_bytes_max;
};

/* A number that must lie in [min, max]. */
static uint64_t take_uint(struct decoder *d, uint64_t min, uint64_t max)
{
    uint64_t value = fanq_read_uint(&d->at, UINT64_MAX);

    d->invalid |= value < min || value > max;
    return value;
}

static uint64_t take_duration_or_default(struct decoder *d, uint64_t max)
{
    return fanq_read_nil(&d->at) ? FANQ_QUEUE_DEFAULT : take_uint(d, 0, max);
}

static struct fanq_bytes take_text(struct decoder *d, size_t length_min, size_t length_max)
{
    struct fanq_bytes text = fanq_read_str(&d->at, SIZE_MAX);

    d->invalid |= text.length < length_min || text.length > length_max;
    return text;
}

static struct fanq_bytes take_name(struct decoder *d)
{
    return take_text(d, 1, FANQ_NAME_BYTES_MAX);
}

static void take_hello(struct decoder *d, struct fanq_hello *hello)
{
    struct fanq_bytes word = fanq_read_str(&d->at, magic.length);

    if (word.length != magic.length || memcmp(word.data, magic.data, magic.length) != 0)
        fanq_cursor_fail(&d->at, FANQ_ERR_PROTOCOL);
    hello->version_min = (uint32_t)take_uint(d, 1, UINT32_MAX);
    hello->version_max = (uint32_t)take_uint(d, hello->version_min, UINT32_MAX);
    hello->client = take_text(d, 0, FANQ_CLIENT_NAME_BYTES_MAX);
    hello->producer = (struct fanq_bytes){0};
}

/* The optional last field of HELLO. */
static void take_producer(struct decoder *d, struct fanq_hello *hello)
{
    if (fanq_read_nil(&d->at))
        return;
    hello->producer = fanq_read_bin(&d->at, SIZE_MAX);
    d->invalid |= hello->producer.length != FANQ_PRODUCER_BYTES;
}

static void take_publish(struct decoder *d, struct fanq_publish *publish)
{
    publish->target = take_name(d);
    publish->flags = (uint32_t)take_uint(d, 0, FANQ_PUBLISH_WANT_IDS);
    publish->oversize_count = 0;

    uint32_t count = fanq_read_array(&d->at);
    d->invalid |= count == 0;
    publish->records = fanq_read_records(&d->at, count, d->message_bytes_max, &publish->oversize_count);
}

static void take_receive(struct decoder *d, struct fanq_receive *receive)
{
    uint32_t queue_count = fanq_read_array(&d->at);

    d->invalid |= queue_count == 0 || queue_count > FANQ_RECEIVE_QUEUES_MAX;
    receive->queue_count = queue_count <= FANQ_RECEIVE_QUEUES_MAX ? queue_count : FANQ_RECEIVE_QUEUES_MAX;
    for (uint32_t i = 0; i < receive->queue_count; i++)
        receive->queues[i] = take_name(d);
    fanq_read_skip_many(&d->at, queue_count - receive->queue_count);
    receive->messages_max = (uint32_t)take_uint(d, 1, UINT32_MAX);
    receive->bytes_max = (uint32_t)take_uint(d, 0, UINT32_MAX);
    receive->wait_ms = take_duration_or_default(d, FANQ_WAIT_MS_MAX);
    receive->visibility_ms = take_duration_or_default(d, FANQ_VISIBILITY_MS_MAX);
    receive->flags = (uint32_t)take_uint(d, 0, FANQ_RECEIVE_AUTO_DELETE);
}

/* Checks the triples and leaves them where they are. */
static void take_ranges(struct decoder *d, struct fanq_ranges *ranges)
{
    uint32_t number_count = fanq_read_array(&d->at);
    uint32_t count = number_count / RANGE_FIELDS;

    if (number_count % RANGE_FIELDS != 0)
        fanq_cursor_fail(&d->at, FANQ_ERR_PROTOCOL);
    d->invalid |= count == 0 || count > FANQ_RANGES_MAX;
    ranges->count = count;
    ranges->at = d->at;
    for (uint32_t i = 0; i < count && d->at.err == 0; i++) {
        (void)take_uint(d, 0, NUMBER_MAX); /* the stream */
        uint64_t first = take_uint(d, 0, NUMBER_MAX);
        (void)take_uint(d, 1, NUMBER_MAX - (first <= NUMBER_MAX ? first : 0));
    }
    ranges->at.end = d->at.at;
}

static void take_change(struct decoder *d, struct fanq_change *change)
{
    change->queue_id = fanq_read_uint(&d->at, UINT64_MAX);
    change->batch = fanq_read_uint(&d->at, UINT64_MAX);
    change->time_ms = 0;
    take_ranges(d, &change->ranges);
}

static void take_push(struct decoder *d, struct fanq_push *push)
{
    push->target_kind = (enum fanq_push_target)take_uint(d, 0, FANQ_PUSH_TOPIC);
    push->target = take_name(d);
    push->mode = (enum fanq_push_mode)take_uint(d, 0, FANQ_PUSH_ACK);
    push->messages = take_uint(d, 0, NUMBER_MAX);
    push->bytes = take_uint(d, 0, NUMBER_MAX);
    push->visibility_ms = take_duration_or_default(d, FANQ_VISIBILITY_MS_MAX);
}

static void take_credit(struct decoder *d, struct fanq_credit *credit)
{
    credit->push = take_uint(d, 0, NUMBER_MAX);
    credit->messages = take_uint(d, 0, NUMBER_MAX);
    credit->bytes = take_uint(d, 0, NUMBER_MAX);
}

static void take_peek(struct decoder *d, struct fanq_peek *peek)
{
    peek->queue = take_name(d);
    peek->messages_max = (uint32_t)take_uint(d, 1, UINT32_MAX);
    uint64_t bytes_max = take_uint(d, 0, UINT32_MAX);
    peek->bytes_max = bytes_max < FANQ_DELIVERY_BYTES_MAX ? (uint32_t)bytes_max : FANQ_DELIVERY_BYTES_MAX;
    peek->states = (uint32_t)take_uint(d, 1, FANQ_STATE_ALL);
    peek->after_valid = !fanq_read_nil(&d->at);
    peek->after_stream = 0;
    peek->after_seq = 0;
    if (!peek->after_valid)
        return;
    if (fanq_read_array(&d->at) != 2)
        fanq_cursor_fail(&d->at, FANQ_ERR_PROTOCOL);
    peek->after_stream = take_uint(d, 0, NUMBER_MAX);
    peek->after_seq = take_uint(d, 0, NUMBER_MAX);
}

/* An attribute that we do not know, or see twice, is refused: it was meant to change the queue. */
static void take_attributes(struct decoder *d, struct fanq_queue_attributes *attributes)
{
    uint32_t count = fanq_read_map(&d->at);

    *attributes = (struct fanq_queue_attributes){0};
    for (uint32_t i = 0; i < count && d->at.err == 0; i++) {
        uint64_t key = fanq_read_uint(&d->at, UINT64_MAX);

        switch (key) {
        case FANQ_QUEUE_VISIBILITY_MS:
            attributes->visibility_ms = take_uint(d, 0, FANQ_VISIBILITY_MS_MAX);
            break;
        case FANQ_QUEUE_RECEIVE_WAIT_MS:
            attributes->receive_wait_ms = take_uint(d, 0, FANQ_WAIT_MS_MAX);
            break;
        case FANQ_QUEUE_EARLY_DELIVERY:
            attributes->early_delivery = fanq_read_bool(&d->at);
            break;
        default:
            d->invalid = true;
            fanq_read_skip(&d->at);
            continue;
        }
        d->invalid |= (attributes->set & 1u << key) != 0;
        attributes->set |= 1u << key;
    }
}

static void take_list(struct decoder *d, struct fanq_list *list)
{
    list->prefix = take_text(d, 0, FANQ_NAME_BYTES_MAX);
    list->after = take_text(d, 0, FANQ_NAME_BYTES_MAX);
    list->limit = (uint32_t)take_uint(d, 1, FANQ_LIST_LIMIT_MAX);
}

static void take_subscription(struct decoder *d, struct fanq_subscription *subscription)
{
    subscription->topic = take_name(d);
    subscription->queue = take_name(d);
}

static void take_subscription_list(struct decoder *d, struct fanq_subscription_list *list)
{
    list->topic = take_name(d);
    list->after = take_text(d, 0, FANQ_NAME_BYTES_MAX);
    list->limit = (uint32_t)take_uint(d, 1, FANQ_LIST_LIMIT_MAX);
}

static void take_fields(struct decoder *d, struct fanq_request *request)
{
    switch (request->op) {
    case FANQ_OP_HELLO:
        take_hello(d, &request->hello);
        break;
    case FANQ_OP_PING:
    case FANQ_OP_STATS:
    case FANQ_OP_BACKUP:
    case FANQ_OP_BACKUP_END:
        break;
    case FANQ_OP_PUBLISH:
    case FANQ_OP_SEND:
        take_publish(d, &request->publish);
        break;
    case FANQ_OP_RECEIVE:
        take_receive(d, &request->receive);
        break;
    case FANQ_OP_ACK:
        take_change(d, &request->change);
        break;
    case FANQ_OP_NACK:
        take_change(d, &request->change);
        request->change.time_ms = take_uint(d, 0, FANQ_DELAY_MS_MAX);
        break;
    case FANQ_OP_EXTEND:
        take_change(d, &request->change);
        request->change.time_ms = take_uint(d, 0, FANQ_VISIBILITY_MS_MAX);
        break;
    case FANQ_OP_PUSH:
        take_push(d, &request->push);
        break;
    case FANQ_OP_CREDIT:
        take_credit(d, &request->credit);
        break;
    case FANQ_OP_PUSH_STOP:
        request->push_stop = take_uint(d, 0, NUMBER_MAX);
        break;
    case FANQ_OP_PEEK:
        take_peek(d, &request->peek);
        break;
    case FANQ_OP_PURGE:
    case FANQ_OP_QUEUE_GET:
    case FANQ_OP_QUEUE_DELETE:
    case FANQ_OP_TOPIC_CREATE:
    case FANQ_OP_TOPIC_GET:
    case FANQ_OP_TOPIC_DELETE:
        request->name = take_name(d);
        break;
    case FANQ_OP_QUEUE_CREATE:
    case FANQ_OP_QUEUE_SET:
        request->queue.name = take_name(d);
        take_attributes(d, &request->queue.attributes);
        break;
    case FANQ_OP_QUEUE_LIST:
    case FANQ_OP_TOPIC_LIST:
        take_list(d, &request->list);
        break;
    case FANQ_OP_SUBSCRIBE:
    case FANQ_OP_UNSUBSCRIBE:
        take_subscription(d, &request->subscription);
        break;
    case FANQ_OP_SUBSCRIPTION_LIST:
        take_subscription_list(d, &request->subscription_list);
        break;
    }
}

/* The frame holds this one array and nothing behind it. */
static int decoder_finish(struct decoder *d, uint32_t more_elements)
{
    fanq_read_skip_many(&d->at, more_elements);
    if (d->at.err == 0 && fanq_cursor_left(&d->at) > 0)
        fanq_cursor_fail(&d->at, FANQ_ERR_PROTOCOL);
    if (d->at.err != 0)
        return d->at.err;
    return d->invalid ? FANQ_ERR_INVALID : 0;
}

int fanq_request_decode(struct fanq_bytes payload, size_t message_bytes_max, struct fanq_request *ret_request)
{
    struct decoder d = {fanq_cursor_over(payload.data, payload.length), false, message_bytes_max};
    uint32_t element_count = fanq_read_array(&d.at);
    uint64_t op = fanq_read_uint(&d.at, OP_REPLIES_BEGIN - 1);

    ret_request->op = (enum fanq_op)op;
    ret_request->id = fanq_read_uint(&d.at, NUMBER_MAX);
    if (d.at.err != 0 || element_count < 2)
        return FANQ_ERR_PROTOCOL;
    if (!op_known(op)) {
        int err = decoder_finish(&d, element_count - 2);
        return err != 0 ? err : FANQ_ERR_UNSUPPORTED;
    }
    if (element_count - 2 < ops[op].field_count)
        return FANQ_ERR_PROTOCOL;
    take_fields(&d, ret_request);
    uint32_t more_elements = element_count - 2 - ops[op].field_count;
    if (op == FANQ_OP_HELLO && more_elements > 0) {
        take_producer(&d, &ret_request->hello);
        more_elements--;
    }
    return decoder_finish(&d, more_elements);
}

bool fanq_range_next(struct fanq_ranges *ranges, struct fanq_range *ret_range)
{
    if (ranges->count == 0)
        return false;
    ranges->count--;
    ret_range->stream = fanq_read_uint(&ranges->at, NUMBER_MAX);
    ret_range->first = fanq_read_uint(&ranges->at, NUMBER_MAX);
    ret_range->count = fanq_read_uint(&ranges->at, NUMBER_MAX);
    return ranges->at.err == 0;
}

struct fanq_ranges fanq_ranges_over(struct fanq_bytes packed, uint32_t count)
{
    return (struct fanq_ranges){fanq_cursor_over(packed.data, packed.length), count};
}

static void put_duration(struct fanq_writer *w, uint64_t duration_ms)
{
    if (duration_ms == FANQ_QUEUE_DEFAULT)
        fanq_write_nil(w);
    else
        fanq_write_uint(w, duration_ms);
}

static void put_hello(struct fanq_writer *w, const struct fanq_hello *hello)
{
    fanq_write_str(w, magic);
    fanq_write_uint(w, hello->version_min);
    fanq_write_uint(w, hello->version_max);
    fanq_write_str(w, hello->client);
    if (hello->producer.length > 0)
        fanq_write_bin(w, hello->producer);
}

static void put_publish_head(struct fanq_writer *w, struct fanq_bytes target, uint32_t flags,
                             uint32_t record_count)
{
    fanq_write_str(w, target);
    fanq_write_uint(w, flags);
    fanq_write_array(w, record_count);
}

static void put_publish(struct fanq_writer *w, const struct fanq_publish *publish)
{
    put_publish_head(w, publish->target, publish->flags, publish->records.count);
    fanq_write_raw(w, publish->records.data, publish->records.length);
}

static void put_receive(struct fanq_writer *w, const struct fanq_receive *receive)
{
    fanq_write_array(w, receive->queue_count);
    for (uint32_t i = 0; i < receive->queue_count; i++)
        fanq_write_str(w, receive->queues[i]);
    fanq_write_uint(w, receive->messages_max);
    fanq_write_uint(w, receive->bytes_max);
    put_duration(w, receive->wait_ms);
    put_duration(w, receive->visibility_ms);
    fanq_write_uint(w, receive->flags);
}

static void put_change(struct fanq_writer *w, const struct fanq_change *change)
{
    fanq_write_uint(w, change->queue_id);
    fanq_write_uint(w, change->batch);
    fanq_write_array(w, change->ranges.count * RANGE_FIELDS);
    fanq_write_raw(w, change->ranges.at.at, fanq_cursor_left(&change->ranges.at));
}

static void put_push(struct fanq_writer *w, const struct fanq_push *push)
{
    fanq_write_uint(w, push->target_kind);
    fanq_write_str(w, push->target);
    fanq_write_uint(w, push->mode);
    fanq_write_uint(w, push->messages);
    fanq_write_uint(w, push->bytes);
    put_duration(w, push->visibility_ms);
}

static void put_credit(struct fanq_writer *w, const struct fanq_credit *credit)
{
    fanq_write_uint(w, credit->push);
    fanq_write_uint(w, credit->messages);
    fanq_write_uint(w, credit->bytes);
}

static void put_peek(struct fanq_writer *w, const struct fanq_peek *peek)
{
    fanq_write_str(w, peek->queue);
    fanq_write_uint(w, peek->messages_max);
    fanq_write_uint(w, peek->bytes_max);
    fanq_write_uint(w, peek->states);
    if (!peek->after_valid) {
        fanq_write_nil(w);
        return;
    }
    fanq_write_array(w, 2);
    fanq_write_uint(w, peek->after_stream);
    fanq_write_uint(w, peek->after_seq);
}

static void put_list(struct fanq_writer *w, struct fanq_bytes first, struct fanq_bytes after, uint32_t limit)
{
    fanq_write_str(w, first);
    fanq_write_str(w, after);
    fanq_write_uint(w, limit);
}

static void put_fields(struct fanq_writer *w, const struct fanq_request *request)
{
    switch (request->op) {
    case FANQ_OP_HELLO:
        put_hello(w, &request->hello);
        break;
    case FANQ_OP_PING:
    case FANQ_OP_STATS:
    case FANQ_OP_BACKUP:
    case FANQ_OP_BACKUP_END:
        break;
    case FANQ_OP_PUBLISH:
    case FANQ_OP_SEND:
        put_publish(w, &request->publish);
        break;
    case FANQ_OP_RECEIVE:
        put_receive(w, &request->receive);
        break;
    case FANQ_OP_ACK:
        put_change(w, &request->change);
        break;
    case FANQ_OP_NACK:
    case FANQ_OP_EXTEND:
        put_change(w, &request->change);
        fanq_write_uint(w, request->change.time_ms);
        break;
    case FANQ_OP_PUSH:
        put_push(w, &request->push);
        break;
    case FANQ_OP_CREDIT:
        put_credit(w, &request->credit);
        break;
    case FANQ_OP_PUSH_STOP:
        fanq_write_uint(w, request->push_stop);
        break;
    case FANQ_OP_PEEK:
        put_peek(w, &request->peek);
        break;
    case FANQ_OP_PURGE:
    case FANQ_OP_QUEUE_GET:
    case FANQ_OP_QUEUE_DELETE:
    case FANQ_OP_TOPIC_CREATE:
    case FANQ_OP_TOPIC_GET:
    case FANQ_OP_TOPIC_DELETE:
        fanq_write_str(w, request->name);
        break;
    case FANQ_OP_QUEUE_CREATE:
    case FANQ_OP_QUEUE_SET:
        fanq_write_str(w, request->queue.name);
        fanq_write_queue_attributes(w, &request->queue.attributes);
        break;
    case FANQ_OP_QUEUE_LIST:
    case FANQ_OP_TOPIC_LIST:
        put_list(w, request->list.prefix, request->list.after, request->list.limit);
        break;
    case FANQ_OP_SUBSCRIBE:
    case FANQ_OP_UNSUBSCRIBE:
        fanq_write_str(w, request->subscription.topic);
        fanq_write_str(w, request->subscription.queue);
        break;
    case FANQ_OP_SUBSCRIPTION_LIST:
        put_list(w, request->subscription_list.topic, request->subscription_list.after,
                 request->subscription_list.limit);
        break;
    }
}

void fanq_write_queue_attributes(struct fanq_writer *w, const struct fanq_queue_attributes *attributes)
{
    bool has_visibility = (attributes->set & 1u << FANQ_QUEUE_VISIBILITY_MS) != 0;
    bool has_receive_wait = (attributes->set & 1u << FANQ_QUEUE_RECEIVE_WAIT_MS) != 0;
    bool has_early_delivery = (attributes->set & 1u << FANQ_QUEUE_EARLY_DELIVERY) != 0;

    fanq_write_map(w, (uint32_t)has_visibility + has_receive_wait + has_early_delivery);
    if (has_visibility) {
        fanq_write_uint(w, FANQ_QUEUE_VISIBILITY_MS);
        fanq_write_uint(w, attributes->visibility_ms);
    }
    if (has_receive_wait) {
        fanq_write_uint(w, FANQ_QUEUE_RECEIVE_WAIT_MS);
        fanq_write_uint(w, attributes->receive_wait_ms);
    }
    if (has_early_delivery) {
        fanq_write_uint(w, FANQ_QUEUE_EARLY_DELIVERY);
        fanq_write_bool(w, attributes->early_delivery);
    }
}

static size_t request_begin(struct fanq_writer *w, enum fanq_op op, uint64_t id, uint32_t more_fields)
{
    size_t place = fanq_frame_begin(w);

    assert(op_known(op));
    fanq_write_array(w, 2 + ops[op].field_count + more_fields);
    fanq_write_uint(w, op);
    fanq_write_uint(w, id);
    return place;
}

void fanq_request_encode(struct fanq_writer *w, const struct fanq_request *request)
{
    bool has_producer = request->op == FANQ_OP_HELLO && request->hello.producer.length > 0;
    size_t place = request_begin(w, request->op, request->id, has_producer);

    put_fields(w, request);
    fanq_frame_end(w, place, 0);
}

void fanq_publish_begin(struct fanq_writer *w, enum fanq_op op, uint64_t id, struct fanq_bytes target,
                        uint32_t flags, uint32_t record_count, size_t length)
{
    assert(op == FANQ_OP_PUBLISH || op == FANQ_OP_SEND);
    size_t place = request_begin(w, op, id, 0);

    put_publish_head(w, target, flags, record_count);
    fanq_frame_end(w, place, length);
}
