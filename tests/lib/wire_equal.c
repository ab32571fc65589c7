/* When two requests, replies or records say the same: field by field, so that a codec which drops a field
 * both ways is found out. */
#include "wire_samples.h"

#include <string.h>

bool bytes_equal(struct fanq_bytes a, struct fanq_bytes b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}

static bool rows_equal(const struct fanq_records *a, const struct fanq_records *b)
{
    return a->count == b->count &&
           bytes_equal((struct fanq_bytes){a->data, a->length}, (struct fanq_bytes){b->data, b->length});
}

static bool attributes_equal(const struct fanq_queue_attributes *a, const struct fanq_queue_attributes *b)
{
    bool same = a->set == b->set;

    if ((a->set & 1u << FANQ_QUEUE_VISIBILITY_MS) != 0)
        same = same && a->visibility_ms == b->visibility_ms;
    if ((a->set & 1u << FANQ_QUEUE_RECEIVE_WAIT_MS) != 0)
        same = same && a->receive_wait_ms == b->receive_wait_ms;
    if ((a->set & 1u << FANQ_QUEUE_EARLY_DELIVERY) != 0)
        same = same && a->early_delivery == b->early_delivery;
    return same;
}

static bool publishes_equal(const struct fanq_publish *a, const struct fanq_publish *b)
{
    return bytes_equal(a->target, b->target) && a->flags == b->flags &&
           rows_equal(&a->records, &b->records) && a->oversize_count == b->oversize_count;
}

static bool receives_equal(const struct fanq_receive *a, const struct fanq_receive *b)
{
    bool same = a->queue_count == b->queue_count && a->messages_max == b->messages_max &&
                a->bytes_max == b->bytes_max && a->wait_ms == b->wait_ms &&
                a->visibility_ms == b->visibility_ms && a->flags == b->flags;

    for (uint32_t i = 0; same && i < a->queue_count; i++)
        same = bytes_equal(a->queues[i], b->queues[i]);
    return same;
}

static bool changes_equal(const struct fanq_change *a, const struct fanq_change *b)
{
    struct fanq_ranges a_ranges = a->ranges, b_ranges = b->ranges;
    struct fanq_range a_range, b_range;
    bool same = a->queue_id == b->queue_id && a->batch == b->batch && a->time_ms == b->time_ms &&
                a_ranges.count == b_ranges.count;

    while (same && fanq_range_next(&a_ranges, &a_range))
        same = fanq_range_next(&b_ranges, &b_range) && a_range.stream == b_range.stream &&
               a_range.first == b_range.first && a_range.count == b_range.count;
    return same && a_ranges.count == 0 && b_ranges.count == 0;
}

static bool pushes_equal(const struct fanq_push *a, const struct fanq_push *b)
{
    return bytes_equal(a->target, b->target) && a->target_kind == b->target_kind && a->mode == b->mode &&
           a->messages == b->messages && a->bytes == b->bytes && a->visibility_ms == b->visibility_ms;
}

static bool peeks_equal(const struct fanq_peek *a, const struct fanq_peek *b)
{
    return bytes_equal(a->queue, b->queue) && a->messages_max == b->messages_max &&
           a->bytes_max == b->bytes_max && a->states == b->states && a->after_valid == b->after_valid &&
           a->after_stream == b->after_stream && a->after_seq == b->after_seq;
}

bool requests_equal(const struct fanq_request *a, const struct fanq_request *b)
{
    if (a->op != b->op || a->id != b->id)
        return false;
    switch (a->op) {
    case FANQ_OP_HELLO:
        return a->hello.version_min == b->hello.version_min && a->hello.version_max == b->hello.version_max &&
               bytes_equal(a->hello.client, b->hello.client) &&
               bytes_equal(a->hello.producer, b->hello.producer);
    case FANQ_OP_PING:
    case FANQ_OP_STATS:
    case FANQ_OP_BACKUP:
    case FANQ_OP_BACKUP_END:
        return true;
    case FANQ_OP_PUBLISH:
    case FANQ_OP_SEND:
        return publishes_equal(&a->publish, &b->publish);
    case FANQ_OP_RECEIVE:
        return receives_equal(&a->receive, &b->receive);
    case FANQ_OP_ACK:
    case FANQ_OP_NACK:
    case FANQ_OP_EXTEND:
        return changes_equal(&a->change, &b->change);
    case FANQ_OP_PUSH:
        return pushes_equal(&a->push, &b->push);
    case FANQ_OP_CREDIT:
        return a->credit.push == b->credit.push && a->credit.messages == b->credit.messages &&
               a->credit.bytes == b->credit.bytes;
    case FANQ_OP_PUSH_STOP:
        return a->push_stop == b->push_stop;
    case FANQ_OP_PEEK:
        return peeks_equal(&a->peek, &b->peek);
    case FANQ_OP_PURGE:
    case FANQ_OP_QUEUE_GET:
    case FANQ_OP_QUEUE_DELETE:
    case FANQ_OP_TOPIC_CREATE:
    case FANQ_OP_TOPIC_GET:
    case FANQ_OP_TOPIC_DELETE:
        return bytes_equal(a->name, b->name);
    case FANQ_OP_QUEUE_CREATE:
    case FANQ_OP_QUEUE_SET:
        return bytes_equal(a->queue.name, b->queue.name) &&
               attributes_equal(&a->queue.attributes, &b->queue.attributes);
    case FANQ_OP_QUEUE_LIST:
    case FANQ_OP_TOPIC_LIST:
        return bytes_equal(a->list.prefix, b->list.prefix) && bytes_equal(a->list.after, b->list.after) &&
               a->list.limit == b->list.limit;
    case FANQ_OP_SUBSCRIBE:
    case FANQ_OP_UNSUBSCRIBE:
        return bytes_equal(a->subscription.topic, b->subscription.topic) &&
               bytes_equal(a->subscription.queue, b->subscription.queue);
    case FANQ_OP_SUBSCRIPTION_LIST:
        return bytes_equal(a->subscription_list.topic, b->subscription_list.topic) &&
               bytes_equal(a->subscription_list.after, b->subscription_list.after) &&
               a->subscription_list.limit == b->subscription_list.limit;
    }
    return false;
}

bool slices_equal(const struct fanq_slice *a, const struct fanq_slice *b)
{
    return a->stream == b->stream && a->epoch == b->epoch && a->first_seq == b->first_seq &&
           a->time_ms == b->time_ms && a->deliveries == b->deliveries &&
           a->first_receive_ms == b->first_receive_ms && rows_equal(&a->records, &b->records);
}

static bool hellos_equal(const struct fanq_hello_reply *a, const struct fanq_hello_reply *b)
{
    return a->version == b->version && a->epoch == b->epoch && bytes_equal(a->server, b->server) &&
           bytes_equal(a->storage, b->storage) && a->frame_bytes_max == b->frame_bytes_max &&
           a->message_bytes_max == b->message_bytes_max && a->auto_create == b->auto_create &&
           a->has_producer == b->has_producer && a->producer_known == b->producer_known;
}

static bool published_equal(const struct fanq_published *a, const struct fanq_published *b)
{
    bool same = a->stream == b->stream && a->epoch == b->epoch && a->first_seq == b->first_seq &&
                a->count == b->count && a->subscription_count == b->subscription_count &&
                a->refusal_count == b->refusal_count;

    for (uint32_t i = 0; same && i < a->refusal_count; i++)
        same = a->refusals[i].index == b->refusals[i].index && a->refusals[i].err == b->refusals[i].err;
    return same;
}

static bool deliveries_equal(const struct fanq_delivery *a, const struct fanq_delivery *b)
{
    bool same = a->queue_id == b->queue_id && a->batch == b->batch && a->dropped == b->dropped &&
                a->slice_count == b->slice_count;

    for (uint32_t i = 0; same && i < a->slice_count; i++)
        same = slices_equal(&a->slices[i], &b->slices[i]);
    return same;
}

static bool peeked_equal(const struct fanq_peeked *a, const struct fanq_peeked *b)
{
    bool same = a->more == b->more && a->next_stream == b->next_stream && a->next_seq == b->next_seq &&
                a->slice_count == b->slice_count;

    for (uint32_t i = 0; same && i < a->slice_count; i++)
        same = slices_equal(&a->slices[i].slice, &b->slices[i].slice) &&
               a->slices[i].state == b->slices[i].state && a->slices[i].due_ms == b->slices[i].due_ms;
    return same;
}

static bool queues_equal(const struct fanq_queue_reply *a, const struct fanq_queue_reply *b)
{
    return bytes_equal(a->name, b->name) && a->queue_id == b->queue_id &&
           attributes_equal(&a->attributes, &b->attributes) && a->visible == b->visible &&
           a->in_flight == b->in_flight && a->delayed == b->delayed && a->oldest_age_ms == b->oldest_age_ms &&
           a->created_ms == b->created_ms && a->consumers == b->consumers && a->sent == b->sent &&
           a->delivered == b->delivered && a->deleted == b->deleted;
}

static bool topics_equal(const struct fanq_topic_reply *a, const struct fanq_topic_reply *b)
{
    return bytes_equal(a->name, b->name) && a->stream == b->stream &&
           a->subscription_count == b->subscription_count && a->created_ms == b->created_ms &&
           a->published == b->published;
}

static bool names_equal(const struct fanq_names *a, const struct fanq_names *b)
{
    bool same = a->count == b->count && a->more == b->more;

    for (uint32_t i = 0; same && i < a->count; i++)
        same = bytes_equal(a->names[i], b->names[i]);
    return same;
}

static bool stats_equal(const struct fanq_stats_reply *a, const struct fanq_stats_reply *b)
{
    bool same = a->count == b->count;

    for (uint32_t i = 0; same && i < a->count; i++)
        same = bytes_equal(a->stats[i].name, b->stats[i].name) && a->stats[i].value == b->stats[i].value;
    return same;
}

static bool numbers_equal(const uint64_t *a, const uint64_t *b, uint32_t count)
{
    return count == 0 || memcmp(a, b, count * sizeof(*a)) == 0;
}

static bool backups_equal(const struct fanq_backup_reply *a, const struct fanq_backup_reply *b)
{
    return bytes_equal(a->directory, b->directory) && a->directory_id == b->directory_id &&
           a->end_lsn == b->end_lsn && a->segment_bytes == b->segment_bytes &&
           a->segment_count == b->segment_count && a->cold_segment_count == b->cold_segment_count &&
           numbers_equal(a->segments, b->segments, a->segment_count) &&
           numbers_equal(a->cold_segments, b->cold_segments, a->cold_segment_count);
}

bool replies_equal(const struct fanq_reply *a, const struct fanq_reply *b)
{
    if (a->op != b->op || a->id != b->id)
        return false;
    switch (a->op) {
    case FANQ_REPLY_HELLO:
        return hellos_equal(&a->hello, &b->hello);
    case FANQ_REPLY_OK:
        return true;
    case FANQ_REPLY_ERROR:
    case FANQ_REPLY_PUSH_END:
        return a->error.err == b->error.err && bytes_equal(a->error.text, b->error.text);
    case FANQ_REPLY_OK_RANGE:
        return a->ok_range.count == b->ok_range.count;
    case FANQ_REPLY_PUBLISHED:
        return published_equal(&a->published, &b->published);
    case FANQ_REPLY_DELIVER:
        return deliveries_equal(&a->deliver, &b->deliver);
    case FANQ_REPLY_PEEKED:
        return peeked_equal(&a->peeked, &b->peeked);
    case FANQ_REPLY_CHANGED:
        return a->changed == b->changed;
    case FANQ_REPLY_QUEUE:
        return queues_equal(&a->queue, &b->queue);
    case FANQ_REPLY_TOPIC:
        return topics_equal(&a->topic, &b->topic);
    case FANQ_REPLY_NAMES:
        return names_equal(&a->names, &b->names);
    case FANQ_REPLY_STATS:
        return stats_equal(&a->stats, &b->stats);
    case FANQ_REPLY_BACKUP:
        return backups_equal(&a->backup, &b->backup);
    }
    return false;
}

bool records_equal(const struct fanq_record *a, const struct fanq_record *b)
{
    return a->length == b->length && bytes_equal(a->body, b->body) && bytes_equal(a->subject, b->subject) &&
           bytes_equal(a->trace, b->trace) && bytes_equal(a->attributes, b->attributes);
}
