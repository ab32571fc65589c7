#include "wire_samples.h"

#include <assert.h>
#include <string.h>

/* Values on both sides of a change of msgpack's forms, and the largest. */
static const uint64_t numbers[] = {0, 1, 127, 128, 255, 256, 65535, 65536, UINT32_MAX, 1ull << 32, INT64_MAX};

enum { NUMBER_COUNT = sizeof(numbers) / sizeof(numbers[0]) };

static char long_text[1024];

static struct fanq_bytes text_of(size_t length)
{
    assert(length <= sizeof(long_text));
    memset(long_text, 'x', sizeof(long_text));
    return (struct fanq_bytes){(const uint8_t *)long_text, length};
}

/* ---- records ---- */

void each_record(record_visit visit, void *context)
{
    static const uint8_t binary[] = {0, 0xff, 0xc6, 0};
    const struct fanq_attribute attributes[] = {
        {FANQ_BYTES("Package"), FANQ_BYTES("String"), FANQ_BYTES("bash")},
        {FANQ_BYTES("Size"), FANQ_BYTES("Number.int"), FANQ_BYTES("6460")},
        {FANQ_BYTES("Digest"), FANQ_BYTES("Binary"), {binary, sizeof(binary)}},
        {FANQ_BYTES("Empty"), FANQ_BYTES("String"), FANQ_BYTES("")},
        {text_of(FANQ_ATTRIBUTE_NAME_BYTES_MAX), FANQ_BYTES("String.long"), text_of(300)},
    };
    const struct fanq_record_parts samples[] = {
        {.body = FANQ_BYTES("")},
        {.body = FANQ_BYTES("hello")},
        {.body = text_of(700)},
        {.body = {binary, sizeof(binary)}},
        {.body = FANQ_BYTES("b"), .subject = FANQ_BYTES("s")},
        {.body = FANQ_BYTES("b"), .trace = text_of(FANQ_TRACE_BYTES_MAX)},
        {.subject = text_of(FANQ_SUBJECT_BYTES_MAX), .trace = FANQ_BYTES("00-0af7651916cd43dd-b7ad6b71-01")},
        {.body = FANQ_BYTES("x"), .attributes = attributes, .attribute_count = 1},
        {.body = FANQ_BYTES("y"),
         .subject = FANQ_BYTES("all"),
         .attributes = attributes,
         .attribute_count = 5},
    };

    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++)
        visit(&samples[i], context);
}

struct row {
    struct fanq_writer w;
    uint32_t count;
};

static void row_add(const struct fanq_record_parts *parts, void *context)
{
    struct row *row = (struct row *)context;
    int err = fanq_record_write(&row->w, parts);

    assert(err == 0 && !row->w.full);
    (void)err;
    row->count++;
}

struct fanq_records sample_records(void)
{
    static uint8_t buffer[8192];
    struct row row = {fanq_writer_over(buffer, sizeof(buffer)), 0};

    each_record(row_add, &row);
    return (struct fanq_records){buffer, fanq_writer_length(&row.w), row.count};
}

/* ---- requests ---- */

static struct fanq_ranges sample_ranges(uint32_t count)
{
    static uint8_t buffer[FANQ_RANGES_MAX * 27];
    struct fanq_writer w = fanq_writer_over(buffer, sizeof(buffer));

    for (uint32_t i = 0; i < count; i++) {
        fanq_write_uint(&w, numbers[i % NUMBER_COUNT]);
        fanq_write_uint(&w, numbers[i % (NUMBER_COUNT - 1)]);
        fanq_write_uint(&w, i % 300 + 1);
    }
    return fanq_ranges_over((struct fanq_bytes){buffer, fanq_writer_length(&w)}, count);
}

static void each_publish_and_receive(request_visit visit, void *context)
{
    const struct fanq_records records = sample_records();
    struct fanq_request request = {.op = FANQ_OP_PUBLISH, .id = 5};

    request.publish = (struct fanq_publish){FANQ_BYTES("prices"), 0, records, 0};
    visit(&request, context);
    request.op = FANQ_OP_SEND;
    request.publish.target = text_of(FANQ_NAME_BYTES_MAX);
    request.publish.flags = FANQ_PUBLISH_WANT_IDS;
    visit(&request, context);

    request = (struct fanq_request){.op = FANQ_OP_RECEIVE, .id = 77};
    request.receive = (struct fanq_receive){.queues = {FANQ_BYTES("orders")},
                                            .queue_count = 1,
                                            .messages_max = 10,
                                            .bytes_max = 262144,
                                            .wait_ms = FANQ_QUEUE_DEFAULT,
                                            .visibility_ms = FANQ_QUEUE_DEFAULT};
    visit(&request, context);
    for (uint32_t i = 0; i < FANQ_RECEIVE_QUEUES_MAX; i++)
        request.receive.queues[i] = FANQ_BYTES("000000000000:us-east-1:orders");
    request.receive.queue_count = FANQ_RECEIVE_QUEUES_MAX;
    request.receive.messages_max = UINT32_MAX;
    request.receive.bytes_max = 0;
    request.receive.wait_ms = FANQ_WAIT_MS_MAX;
    request.receive.visibility_ms = FANQ_VISIBILITY_MS_MAX;
    request.receive.flags = FANQ_RECEIVE_AUTO_DELETE;
    visit(&request, context);
}

static void each_change(request_visit visit, void *context)
{
    static const enum fanq_op ops[] = {FANQ_OP_ACK, FANQ_OP_NACK, FANQ_OP_EXTEND};
    static const uint32_t counts[] = {1, 5, 300};

    for (size_t i = 0; i < 3; i++) {
        for (size_t j = 0; j < 3; j++) {
            struct fanq_request request = {.op = ops[i], .id = numbers[j]};

            request.change = (struct fanq_change){UINT64_MAX, UINT64_MAX - 1, 0, sample_ranges(counts[j])};
            request.change.time_ms = ops[i] == FANQ_OP_ACK ? 0 : FANQ_VISIBILITY_MS_MAX;
            visit(&request, context);
        }
    }
}

static void each_push(request_visit visit, void *context)
{
    struct fanq_request request = {.op = FANQ_OP_PUSH, .id = INT64_MAX};

    request.push = (struct fanq_push){FANQ_BYTES("q"), FANQ_PUSH_QUEUE, FANQ_PUSH_ACK, 256, 1 << 20, 30000};
    visit(&request, context);
    request.push = (struct fanq_push){FANQ_BYTES("t"), FANQ_PUSH_TOPIC, FANQ_PUSH_AUTO,
                                      INT64_MAX,       INT64_MAX,       FANQ_QUEUE_DEFAULT};
    visit(&request, context);
    request = (struct fanq_request){.op = FANQ_OP_CREDIT, .id = 3, .credit = {9, 100, INT64_MAX}};
    visit(&request, context);
    request = (struct fanq_request){.op = FANQ_OP_PUSH_STOP, .id = 4, .push_stop = 9};
    visit(&request, context);
}

static void each_management(request_visit visit, void *context)
{
    static const enum fanq_op name_ops[] = {FANQ_OP_PURGE,        FANQ_OP_QUEUE_GET, FANQ_OP_QUEUE_DELETE,
                                            FANQ_OP_TOPIC_CREATE, FANQ_OP_TOPIC_GET, FANQ_OP_TOPIC_DELETE};
    struct fanq_request request;

    for (size_t i = 0; i < sizeof(name_ops) / sizeof(name_ops[0]); i++) {
        request = (struct fanq_request){.op = name_ops[i], .id = 8, .name = FANQ_BYTES("a-name_1")};
        visit(&request, context);
    }
    for (uint32_t set = 0; set < 16; set += 2) {
        request = (struct fanq_request){.op = set < 8 ? FANQ_OP_QUEUE_CREATE : FANQ_OP_QUEUE_SET, .id = set};
        request.queue.name = text_of(80);
        request.queue.attributes.set = set;
        if ((set & 1u << FANQ_QUEUE_VISIBILITY_MS) != 0)
            request.queue.attributes.visibility_ms = FANQ_VISIBILITY_MS_MAX;
        if ((set & 1u << FANQ_QUEUE_RECEIVE_WAIT_MS) != 0)
            request.queue.attributes.receive_wait_ms = FANQ_WAIT_MS_MAX;
        request.queue.attributes.early_delivery = (set & 1u << FANQ_QUEUE_EARLY_DELIVERY) != 0;
        visit(&request, context);
    }
    request = (struct fanq_request){.op = FANQ_OP_QUEUE_LIST, .id = 1, .list = {{NULL, 0}, {NULL, 0}, 1}};
    visit(&request, context);
    request = (struct fanq_request){.op = FANQ_OP_TOPIC_LIST, .id = 1};
    request.list = (struct fanq_list){FANQ_BYTES("pre"), FANQ_BYTES("prefix"), FANQ_LIST_LIMIT_MAX};
    visit(&request, context);
    request.op = FANQ_OP_SUBSCRIPTION_LIST;
    request.subscription_list = (struct fanq_subscription_list){FANQ_BYTES("t"), FANQ_BYTES("q"), 50};
    visit(&request, context);
    request = (struct fanq_request){.op = FANQ_OP_SUBSCRIBE, .id = 1};
    request.subscription = (struct fanq_subscription){text_of(256), FANQ_BYTES("q")};
    visit(&request, context);
    request.op = FANQ_OP_UNSUBSCRIBE;
    visit(&request, context);
}

void each_request(request_visit visit, void *context)
{
    struct fanq_request request = {.op = FANQ_OP_HELLO, .id = 0, .hello = {1, 1, FANQ_BYTES("test/1"), {0}}};

    visit(&request, context);
    request.hello = (struct fanq_hello){1, UINT32_MAX, text_of(FANQ_CLIENT_NAME_BYTES_MAX), {0}};
    visit(&request, context);
    request.hello.producer = text_of(FANQ_PRODUCER_BYTES);
    visit(&request, context);
    for (size_t i = 0; i < NUMBER_COUNT; i++) {
        request = (struct fanq_request){.op = FANQ_OP_PING, .id = numbers[i]};
        visit(&request, context);
    }
    for (enum fanq_op op = FANQ_OP_STATS; op <= FANQ_OP_BACKUP_END; op++) {
        request = (struct fanq_request){.op = op, .id = 2};
        visit(&request, context);
    }
    each_publish_and_receive(visit, context);
    each_change(visit, context);
    each_push(visit, context);
    request = (struct fanq_request){.op = FANQ_OP_PEEK, .id = 6};
    request.peek = (struct fanq_peek){FANQ_BYTES("q"), 1, 0, FANQ_STATE_READY, false, 0, 0};
    visit(&request, context);
    request.peek = (struct fanq_peek){FANQ_BYTES("q"), 500, 65536, FANQ_STATE_ALL, true, 3, INT64_MAX};
    visit(&request, context);
    each_management(visit, context);
}

/* ---- replies ---- */

static struct fanq_slice sample_slice(uint64_t number, struct fanq_records records)
{
    return (struct fanq_slice){.stream = number,
                               .epoch = number == INT64_MAX ? UINT64_MAX : number,
                               .first_seq = number,
                               .time_ms = number,
                               .deliveries = (uint32_t)number,
                               .first_receive_ms = number,
                               .records = records};
}

static void each_delivery(reply_visit visit, void *context)
{
    struct fanq_slice slices[NUMBER_COUNT];
    struct fanq_peeked_slice peeked[NUMBER_COUNT];
    struct fanq_reply reply;

    for (size_t i = 0; i < NUMBER_COUNT; i++) {
        slices[i] = sample_slice(numbers[i], sample_records());
        peeked[i] = (struct fanq_peeked_slice){slices[i], FANQ_STATE_IN_FLIGHT, numbers[i]};
    }
    for (uint32_t count = 0; count <= NUMBER_COUNT; count += NUMBER_COUNT) {
        reply = (struct fanq_reply){.op = FANQ_REPLY_DELIVER, .id = numbers[count % 9]};
        reply.deliver = (struct fanq_delivery){UINT64_MAX, UINT64_MAX - 5, 12, slices, count};
        visit(&reply, context);
        reply = (struct fanq_reply){.op = FANQ_REPLY_PEEKED, .id = 300};
        reply.peeked =
            (struct fanq_peeked){count > 0, count > 0 ? 4 : 0, count > 0 ? INT64_MAX : 0, peeked, count};
        visit(&reply, context);
    }
}

static void each_description(reply_visit visit, void *context)
{
    struct fanq_reply reply = {.op = FANQ_REPLY_QUEUE, .id = 70};

    reply.queue = (struct fanq_queue_reply){
        FANQ_BYTES("orders"), 3, {14, 30000, 20000, true}, 1, 128, 256, 65536, 1ull << 41, 1, 1ull << 33,
        1ull << 32,           9};
    visit(&reply, context);
    reply.queue.attributes = (struct fanq_queue_attributes){1u << FANQ_QUEUE_EARLY_DELIVERY, 0, 0, false};
    visit(&reply, context);
    reply = (struct fanq_reply){.op = FANQ_REPLY_TOPIC, .id = 71};
    reply.topic = (struct fanq_topic_reply){FANQ_BYTES("prices"), 2, 1000, 1ull << 41, INT64_MAX};
    visit(&reply, context);
}

static void each_list(reply_visit visit, void *context)
{
    const struct fanq_bytes names[] = {FANQ_BYTES("a"), FANQ_BYTES("b"), text_of(FANQ_NAME_BYTES_MAX)};
    const struct fanq_stat stats[] = {{FANQ_BYTES("connections"), 3}, {FANQ_BYTES("bytes"), UINT64_MAX}};
    struct fanq_reply reply;

    reply = (struct fanq_reply){.op = FANQ_REPLY_NAMES, .id = 1, .names = {names, 3, true}};
    visit(&reply, context);
    reply = (struct fanq_reply){.op = FANQ_REPLY_NAMES, .id = 1, .names = {names, 0, false}};
    visit(&reply, context);
    reply = (struct fanq_reply){.op = FANQ_REPLY_STATS, .id = 1, .stats = {stats, 2}};
    visit(&reply, context);
}

static void each_backup(reply_visit visit, void *context)
{
    static const uint64_t cold[] = {2, 65536};
    struct fanq_reply reply = {.op = FANQ_REPLY_BACKUP, .id = 19};

    reply.backup = (struct fanq_backup_reply){
        FANQ_BYTES("/var/lib/fanq"), UINT64_MAX, INT64_MAX, 64 << 20, numbers, NUMBER_COUNT, cold, 2};
    visit(&reply, context);
    reply.backup = (struct fanq_backup_reply){text_of(1000), 1, 0, 64, numbers, 0, cold, 2};
    visit(&reply, context);
    reply.backup.segment_count = 1;
    reply.backup.cold_segment_count = 0;
    visit(&reply, context);
}

void each_reply(reply_visit visit, void *context)
{
    struct fanq_refusal refusals[FANQ_REFUSALS_MAX];
    struct fanq_reply reply;

    reply = (struct fanq_reply){.op = FANQ_REPLY_HELLO, .id = 0};
    reply.hello = (struct fanq_hello_reply){
        1, UINT64_MAX, FANQ_BYTES("fanqd/0.1.0"), FANQ_BYTES("memory"), 8 << 20, 1 << 20, true, false, false};
    visit(&reply, context);
    reply.hello.has_producer = true;
    visit(&reply, context);
    reply.hello.producer_known = true;
    visit(&reply, context);
    for (size_t i = 0; i < NUMBER_COUNT; i++) {
        reply = (struct fanq_reply){.op = FANQ_REPLY_OK, .id = numbers[i]};
        visit(&reply, context);
        reply = (struct fanq_reply){.op = FANQ_REPLY_OK_RANGE, .id = 17, .ok_range = {numbers[i]}};
        visit(&reply, context);
        reply = (struct fanq_reply){.op = FANQ_REPLY_CHANGED, .id = 18, .changed = numbers[i]};
        visit(&reply, context);
    }
    reply = (struct fanq_reply){.op = FANQ_REPLY_ERROR, .id = 1};
    reply.error = (struct fanq_error_reply){FANQ_ERR_NO_ROOM, FANQ_BYTES("the memory limit is reached")};
    visit(&reply, context);
    reply = (struct fanq_reply){.op = FANQ_REPLY_PUSH_END, .id = 1};
    reply.error = (struct fanq_error_reply){FANQ_ERR_QUEUE_NOT_FOUND, FANQ_BYTES("")};
    visit(&reply, context);

    for (uint32_t i = 0; i < FANQ_REFUSALS_MAX; i++)
        refusals[i] = (struct fanq_refusal){i * 1000, i % 2 == 0 ? FANQ_ERR_MESSAGE_TOO_BIG : FANQ_ERR_LIMIT};
    for (uint32_t count = 0; count <= FANQ_REFUSALS_MAX; count += FANQ_REFUSALS_MAX / 2) {
        reply = (struct fanq_reply){.op = FANQ_REPLY_PUBLISHED, .id = 1};
        reply.published = (struct fanq_published){7, UINT64_MAX, INT64_MAX, 1000, 16, refusals, count};
        visit(&reply, context);
    }
    each_delivery(visit, context);
    each_description(visit, context);
    each_list(visit, context);
    each_backup(visit, context);
}
