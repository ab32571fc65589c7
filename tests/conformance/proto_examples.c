/* What the C codecs make of hex, for the test that keeps PROTOCOL.md honest.
 *
 *   proto_examples            reads lines "request HEX", "reply HEX" (whole frames) and "record HEX"; answers
 * each with what it says in words, and the hex of the same encoded again proto_examples --tables   the
 * errors, operations and limits of the headers, one a line */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proto/reply.h"
#include "proto/request.h"

enum { BYTES_MAX = 4096 };

/* ---- values ---- */

static void print_text(const char *name, struct fanq_bytes text)
{
    printf(" %s=\"%.*s\"", name, (int)text.length, text.length > 0 ? (const char *)text.data : "");
}

static void print_bytes(const char *name, struct fanq_bytes bytes)
{
    printf(" %s=", name);
    for (size_t i = 0; i < bytes.length; i++)
        printf("%02x", bytes.data[i]);
}

static void print_number(const char *name, uint64_t value)
{
    printf(" %s=%" PRIu64, name, value);
}

static void print_duration(const char *name, uint64_t value)
{
    if (value == FANQ_QUEUE_DEFAULT)
        printf(" %s=nil", name);
    else
        print_number(name, value);
}

static void print_attributes(const struct fanq_queue_attributes *attributes)
{
    if ((attributes->set & 1u << FANQ_QUEUE_VISIBILITY_MS) != 0)
        print_number("visibility_ms", attributes->visibility_ms);
    if ((attributes->set & 1u << FANQ_QUEUE_RECEIVE_WAIT_MS) != 0)
        print_number("receive_wait_ms", attributes->receive_wait_ms);
    if ((attributes->set & 1u << FANQ_QUEUE_EARLY_DELIVERY) != 0)
        printf(" early_delivery=%s", attributes->early_delivery ? "true" : "false");
}

static void print_record(const struct fanq_record *record)
{
    struct fanq_bytes rest = record->attributes;
    struct fanq_attribute attribute;

    printf(" {");
    print_text("body", record->body);
    if (record->subject.length > 0)
        print_text("subject", record->subject);
    if (record->trace.length > 0)
        print_text("trace", record->trace);
    while (fanq_attribute_next(&rest, &attribute)) {
        print_text("attribute", attribute.name);
        print_text("type", attribute.type);
        print_text("value", attribute.value);
    }
    printf(" }");
}

static void print_records(const struct fanq_records *records)
{
    const uint8_t *at = records->data;
    struct fanq_record record;

    for (uint32_t i = 0; i < records->count; i++) {
        if (fanq_record_parse(at, fanq_record_length(at), &record) == 0)
            print_record(&record);
        else
            printf(" {malformed}");
        at += fanq_record_length(at);
    }
}

/* ---- requests ---- */

static void print_change(const struct fanq_change *change, const char *time_name)
{
    struct fanq_ranges ranges = change->ranges;
    struct fanq_range range;

    print_number("queue_id", change->queue_id);
    print_number("batch", change->batch);
    while (fanq_range_next(&ranges, &range))
        printf(" [%" PRIu64 " %" PRIu64 " %" PRIu64 "]", range.stream, range.first, range.count);
    if (time_name != NULL)
        print_number(time_name, change->time_ms);
}

static void print_receive(const struct fanq_receive *receive)
{
    for (uint32_t i = 0; i < receive->queue_count; i++)
        print_text("queue", receive->queues[i]);
    print_number("messages_max", receive->messages_max);
    print_number("bytes_max", receive->bytes_max);
    print_duration("wait_ms", receive->wait_ms);
    print_duration("visibility_ms", receive->visibility_ms);
    print_number("flags", receive->flags);
}

static void print_push(const struct fanq_push *push)
{
    print_number("target_kind", push->target_kind);
    print_text("target", push->target);
    print_number("mode", push->mode);
    print_number("messages", push->messages);
    print_number("bytes", push->bytes);
    print_duration("visibility_ms", push->visibility_ms);
}

static void print_peek(const struct fanq_peek *peek)
{
    print_text("queue", peek->queue);
    print_number("messages_max", peek->messages_max);
    print_number("bytes_max", peek->bytes_max);
    print_number("states", peek->states);
    if (peek->after_valid)
        printf(" after=[%" PRIu64 " %" PRIu64 "]", peek->after_stream, peek->after_seq);
}

static void print_request(const struct fanq_request *request)
{
    printf("%s id=%" PRIu64, fanq_op_name(request->op), request->id);
    switch (request->op) {
    case FANQ_OP_HELLO:
        print_number("version_min", request->hello.version_min);
        print_number("version_max", request->hello.version_max);
        print_text("client", request->hello.client);
        if (request->hello.producer.length > 0)
            print_bytes("producer", request->hello.producer);
        break;
    case FANQ_OP_PING:
    case FANQ_OP_STATS:
    case FANQ_OP_BACKUP:
    case FANQ_OP_BACKUP_END:
        break;
    case FANQ_OP_PUBLISH:
    case FANQ_OP_SEND:
        print_text("target", request->publish.target);
        print_number("flags", request->publish.flags);
        print_records(&request->publish.records);
        break;
    case FANQ_OP_RECEIVE:
        print_receive(&request->receive);
        break;
    case FANQ_OP_ACK:
        print_change(&request->change, NULL);
        break;
    case FANQ_OP_NACK:
        print_change(&request->change, "delay_ms");
        break;
    case FANQ_OP_EXTEND:
        print_change(&request->change, "visibility_ms");
        break;
    case FANQ_OP_PUSH:
        print_push(&request->push);
        break;
    case FANQ_OP_CREDIT:
        print_number("push", request->credit.push);
        print_number("messages", request->credit.messages);
        print_number("bytes", request->credit.bytes);
        break;
    case FANQ_OP_PUSH_STOP:
        print_number("push", request->push_stop);
        break;
    case FANQ_OP_PEEK:
        print_peek(&request->peek);
        break;
    case FANQ_OP_PURGE:
    case FANQ_OP_QUEUE_GET:
    case FANQ_OP_QUEUE_DELETE:
    case FANQ_OP_TOPIC_CREATE:
    case FANQ_OP_TOPIC_GET:
    case FANQ_OP_TOPIC_DELETE:
        print_text("name", request->name);
        break;
    case FANQ_OP_QUEUE_CREATE:
    case FANQ_OP_QUEUE_SET:
        print_text("name", request->queue.name);
        print_attributes(&request->queue.attributes);
        break;
    case FANQ_OP_QUEUE_LIST:
    case FANQ_OP_TOPIC_LIST:
        print_text("prefix", request->list.prefix);
        print_text("after", request->list.after);
        print_number("limit", request->list.limit);
        break;
    case FANQ_OP_SUBSCRIBE:
    case FANQ_OP_UNSUBSCRIBE:
        print_text("topic", request->subscription.topic);
        print_text("queue", request->subscription.queue);
        break;
    case FANQ_OP_SUBSCRIPTION_LIST:
        print_text("topic", request->subscription_list.topic);
        print_text("after", request->subscription_list.after);
        print_number("limit", request->subscription_list.limit);
        break;
    }
}

/* ---- replies ---- */

static void print_hello(const struct fanq_hello_reply *hello)
{
    print_number("version", hello->version);
    print_number("epoch", hello->epoch);
    print_text("server", hello->server);
    print_text("storage", hello->storage);
    print_number("frame_bytes_max", hello->frame_bytes_max);
    print_number("message_bytes_max", hello->message_bytes_max);
    printf(" auto_create=%s", hello->auto_create ? "true" : "false");
    if (hello->has_producer)
        printf(" producer_known=%s", hello->producer_known ? "true" : "false");
}

static void print_published(const struct fanq_published *published)
{
    print_number("stream", published->stream);
    print_number("epoch", published->epoch);
    print_number("first_seq", published->first_seq);
    print_number("count", published->count);
    print_number("subscription_count", published->subscription_count);
    for (uint32_t i = 0; i < published->refusal_count; i++)
        printf(" refused=%" PRIu32 ":%s", published->refusals[i].index,
               fanq_error_name(published->refusals[i].err));
}

static void print_slice(const struct fanq_slice *slice)
{
    printf(" <");
    print_number("stream", slice->stream);
    print_number("epoch", slice->epoch);
    print_number("first_seq", slice->first_seq);
    print_number("time_ms", slice->time_ms);
    print_number("deliveries", slice->deliveries);
    print_number("first_receive_ms", slice->first_receive_ms);
    print_records(&slice->records);
}

static void print_delivery(const struct fanq_delivery *delivery)
{
    print_number("queue_id", delivery->queue_id);
    print_number("batch", delivery->batch);
    print_number("dropped", delivery->dropped);
    for (uint32_t i = 0; i < delivery->slice_count; i++) {
        print_slice(&delivery->slices[i]);
        printf(" >");
    }
}

static void print_peeked(const struct fanq_peeked *peeked)
{
    if (peeked->more)
        printf(" next=[%" PRIu64 " %" PRIu64 "]", peeked->next_stream, peeked->next_seq);
    for (uint32_t i = 0; i < peeked->slice_count; i++) {
        print_slice(&peeked->slices[i].slice);
        print_number("state", peeked->slices[i].state);
        print_number("due_ms", peeked->slices[i].due_ms);
        printf(" >");
    }
}

static void print_queue(const struct fanq_queue_reply *queue)
{
    print_text("name", queue->name);
    print_number("queue_id", queue->queue_id);
    print_attributes(&queue->attributes);
    print_number("visible", queue->visible);
    print_number("in_flight", queue->in_flight);
    print_number("delayed", queue->delayed);
    print_number("oldest_age_ms", queue->oldest_age_ms);
    print_number("created_ms", queue->created_ms);
    print_number("consumers", queue->consumers);
    print_number("sent", queue->sent);
    print_number("delivered", queue->delivered);
    print_number("deleted", queue->deleted);
}

static void print_topic(const struct fanq_topic_reply *topic)
{
    print_text("name", topic->name);
    print_number("stream", topic->stream);
    print_number("subscription_count", topic->subscription_count);
    print_number("created_ms", topic->created_ms);
    print_number("published", topic->published);
}

static void print_numbers(const uint64_t *numbers, uint32_t count)
{
    printf(" [");
    for (uint32_t i = 0; i < count; i++)
        printf("%s%" PRIu64, i > 0 ? " " : "", numbers[i]);
    printf("]");
}

static void print_backup(const struct fanq_backup_reply *backup)
{
    print_text("directory", backup->directory);
    print_number("directory_id", backup->directory_id);
    print_number("end_lsn", backup->end_lsn);
    print_number("segment_bytes", backup->segment_bytes);
    print_numbers(backup->segments, backup->segment_count);
    print_numbers(backup->cold_segments, backup->cold_segment_count);
}

static void print_reply(const struct fanq_reply *reply)
{
    printf("%s id=%" PRIu64, fanq_reply_name(reply->op), reply->id);
    switch (reply->op) {
    case FANQ_REPLY_HELLO:
        print_hello(&reply->hello);
        break;
    case FANQ_REPLY_OK:
        break;
    case FANQ_REPLY_ERROR:
    case FANQ_REPLY_PUSH_END:
        printf(" %s", fanq_error_name(reply->error.err));
        print_text("text", reply->error.text);
        break;
    case FANQ_REPLY_OK_RANGE:
        print_number("count", reply->ok_range.count);
        break;
    case FANQ_REPLY_PUBLISHED:
        print_published(&reply->published);
        break;
    case FANQ_REPLY_DELIVER:
        print_delivery(&reply->deliver);
        break;
    case FANQ_REPLY_PEEKED:
        print_peeked(&reply->peeked);
        break;
    case FANQ_REPLY_CHANGED:
        print_number("count", reply->changed);
        break;
    case FANQ_REPLY_QUEUE:
        print_queue(&reply->queue);
        break;
    case FANQ_REPLY_TOPIC:
        print_topic(&reply->topic);
        break;
    case FANQ_REPLY_NAMES:
        for (uint32_t i = 0; i < reply->names.count; i++)
            print_text("name", reply->names.names[i]);
        printf(" more=%s", reply->names.more ? "true" : "false");
        break;
    case FANQ_REPLY_STATS:
        for (uint32_t i = 0; i < reply->stats.count; i++)
            printf(" %.*s=%" PRIu64, (int)reply->stats.stats[i].name.length,
                   (const char *)reply->stats.stats[i].name.data, reply->stats.stats[i].value);
        break;
    case FANQ_REPLY_BACKUP:
        print_backup(&reply->backup);
        break;
    }
}

/* ---- lines ---- */

static size_t parse_hex(const char *text, uint8_t *bytes)
{
    size_t count = 0;
    unsigned value;

    while (count < BYTES_MAX && sscanf(text, "%2x", &value) == 1) {
        bytes[count++] = (uint8_t)value;
        text += 2;
    }
    return count;
}

static void print_hex(const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        printf("%02x", bytes[i]);
    printf("\n");
}

static int explain_record(const uint8_t *bytes, size_t count)
{
    struct fanq_cursor c = fanq_cursor_over(bytes, count);
    struct fanq_record record;
    struct fanq_attribute attributes[FANQ_RECORD_ATTRIBUTES_MAX];
    uint8_t again[BYTES_MAX];
    struct fanq_writer w = fanq_writer_over(again, sizeof(again));
    uint32_t oversize_count;

    (void)fanq_read_records(&c, 1, SIZE_MAX, &oversize_count);
    if (c.err != 0 || fanq_cursor_left(&c) > 0)
        return FANQ_ERR_BAD_RECORD;
    int err = fanq_record_parse(bytes, count, &record);
    if (err != 0)
        return err;
    printf("RECORD");
    print_record(&record);
    printf("\n");

    struct fanq_record_parts parts = {record.body, record.subject, record.trace, attributes, 0};
    while (fanq_attribute_next(&record.attributes, &attributes[parts.attribute_count]))
        parts.attribute_count++;
    err = fanq_record_write(&w, &parts);
    print_hex(again, fanq_writer_length(&w));
    return err;
}

static int explain_frame(bool reply_wanted, const uint8_t *bytes, size_t count)
{
    static uint64_t scratch[BYTES_MAX];
    struct fanq_bytes payload;
    struct fanq_request request;
    struct fanq_reply reply;
    uint8_t again[BYTES_MAX];
    struct fanq_writer w = fanq_writer_over(again, sizeof(again));
    size_t need;

    int found = fanq_frame_next(bytes, count, BYTES_MAX, &payload, &need);
    if (found != 1 || payload.length + FANQ_FRAME_HEADER_BYTES != count)
        return found < 0 ? found : FANQ_ERR_PROTOCOL;
    int err = reply_wanted ? fanq_reply_decode(payload, scratch, sizeof(scratch), &reply)
                           : fanq_request_decode(payload, BYTES_MAX, &request);
    if (err != 0)
        return err;
    if (reply_wanted) {
        print_reply(&reply);
        fanq_reply_encode(&w, &reply);
    } else {
        print_request(&request);
        fanq_request_encode(&w, &request);
    }
    printf("\n");
    print_hex(again, fanq_writer_length(&w));
    return 0;
}

static int explain(const char *kind, const char *hex)
{
    uint8_t bytes[BYTES_MAX];
    size_t count = parse_hex(hex, bytes);

    if (strcmp(kind, "record") == 0)
        return explain_record(bytes, count);
    return explain_frame(strcmp(kind, "reply") == 0, bytes, count);
}

/* ---- tables ---- */

static void print_tables(void)
{
#define X(name, number, retryable, text)                                                                     \
    printf("error %d %s %s %s\n", number, #name, (retryable) ? "yes" : "no", text);
    FANQ_ERROR_LIST(X)
#undef X
    for (int op = 0; op < 64; op++)
        if (strcmp(fanq_op_name((enum fanq_op)op), "UNKNOWN_OP") != 0)
            printf("request %d %s\n", op, fanq_op_name((enum fanq_op)op));
    for (int op = 64; op < 128; op++)
        if (strcmp(fanq_reply_name((enum fanq_reply_op)op), "UNKNOWN_REPLY") != 0)
            printf("reply %d %s\n", op, fanq_reply_name((enum fanq_reply_op)op));
#define LIMIT(name) printf("limit %s %lld\n", #name, (long long)FANQ_##name)
    LIMIT(HELLO_BYTES_MAX);
    LIMIT(FRAME_BYTES_MAX_DEFAULT);
    LIMIT(MESSAGE_BYTES_MAX_DEFAULT);
    LIMIT(DELIVERY_BYTES_MAX);
    LIMIT(NAME_BYTES_MAX);
    LIMIT(CLIENT_NAME_BYTES_MAX);
    LIMIT(PRODUCER_BYTES);
    LIMIT(RECEIVE_QUEUES_MAX);
    LIMIT(RANGES_MAX);
    LIMIT(CHANGE_MESSAGES_MAX);
    LIMIT(LIST_LIMIT_MAX);
    LIMIT(REFUSALS_MAX);
    LIMIT(VISIBILITY_MS_MAX);
    LIMIT(VISIBILITY_MS_DEFAULT);
    LIMIT(DELAY_MS_MAX);
    LIMIT(WAIT_MS_MAX);
    LIMIT(DEPTH_MAX);
    LIMIT(RECORD_ATTRIBUTES_MAX);
    LIMIT(ATTRIBUTE_NAME_BYTES_MAX);
    LIMIT(SUBJECT_BYTES_MAX);
    LIMIT(TRACE_BYTES_MAX);
#undef LIMIT
}

int main(int argc, char **argv)
{
    char kind[16], hex[2 * BYTES_MAX + 1];

    if (argc == 2 && strcmp(argv[1], "--tables") == 0) {
        print_tables();
        return 0;
    }
    while (scanf("%15s %8192s", kind, hex) == 2) {
        int err = explain(kind, hex);
        if (err != 0)
            printf("%s\n\n", fanq_error_name(err)); /* an empty line where the hex would be */
    }
    return 0;
}
