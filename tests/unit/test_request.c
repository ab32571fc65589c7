#include "proto/request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>
#include <msgpack.h>

#include "proto/reply.h"
#include "tests/lib/guard.h"
#include "tests/lib/wire_samples.h"

enum { MESSAGE_BYTES_MAX = 4096, BUFFER_BYTES = 64 * 1024 };

static struct guard guard;
static uint8_t buffer[BUFFER_BYTES];

static int setup(void **state)
{
    guard_init(&guard, BUFFER_BYTES);
    return 0;
}

static int teardown(void **state)
{
    guard_close(&guard);
    return 0;
}

/* The payload of the frame that is all of w. */
static struct fanq_bytes payload_of(const struct fanq_writer *w)
{
    struct fanq_bytes payload = {NULL, 0};
    size_t need;

    assert_false(w->full);
    assert_int_equal(fanq_frame_next(w->start, fanq_writer_length(w), BUFFER_BYTES, &payload, &need), 1);
    assert_int_equal(payload.length + FANQ_FRAME_HEADER_BYTES, fanq_writer_length(w));
    return payload;
}

static struct fanq_bytes encode(const struct fanq_request *request)
{
    struct fanq_writer w = fanq_writer_over(buffer, sizeof(buffer));

    fanq_request_encode(&w, request);
    return payload_of(&w);
}

static int decode(struct fanq_bytes payload, struct fanq_request *ret_request)
{
    const uint8_t *data = guard_put(&guard, payload.data, payload.length);

    return fanq_request_decode((struct fanq_bytes){data, payload.length}, MESSAGE_BYTES_MAX, ret_request);
}

static void assert_legal_msgpack(struct fanq_bytes payload, const struct fanq_request *request)
{
    msgpack_unpacked unpacked;
    size_t offset = 0;

    msgpack_unpacked_init(&unpacked);
    assert_int_equal(msgpack_unpack_next(&unpacked, (const char *)payload.data, payload.length, &offset),
                     MSGPACK_UNPACK_SUCCESS);
    assert_int_equal(offset, payload.length);
    assert_int_equal(unpacked.data.type, MSGPACK_OBJECT_ARRAY);
    assert_true(unpacked.data.via.array.ptr[0].via.u64 == request->op);
    assert_true(unpacked.data.via.array.ptr[1].via.u64 == request->id);
    msgpack_unpacked_destroy(&unpacked);
}

static void check_round_trip(const struct fanq_request *request, void *context)
{
    unsigned *seen = (unsigned *)context;
    struct fanq_bytes payload = encode(request);
    struct fanq_request decoded;

    assert_int_equal(decode(payload, &decoded), 0);
    assert_true(requests_equal(request, &decoded));
    assert_legal_msgpack(payload, request);
    assert_string_not_equal(fanq_op_name(request->op), "UNKNOWN_OP");
    *seen |= 1u << request->op;
}

static void every_request_comes_back_equal(void **state)
{
    unsigned seen = 0;

    each_request(check_round_trip, &seen);
    for (unsigned op = FANQ_OP_HELLO; op <= FANQ_OP_BACKUP_END; op++)
        assert_true((seen & 1u << op) != 0);
}

static void check_truncated(const struct fanq_request *request, void *context)
{
    struct fanq_bytes payload = encode(request);
    struct fanq_request decoded;

    for (size_t length = 0; length < payload.length; length++) {
        int err = decode((struct fanq_bytes){payload.data, length}, &decoded);
        assert_true(err == FANQ_ERR_PROTOCOL || err == FANQ_ERR_BAD_RECORD);
    }
}

static void every_truncation_is_an_error(void **state)
{
    each_request(check_truncated, NULL);
}

static void check_small_buffers(const struct fanq_request *request, void *context)
{
    size_t whole = encode(request).length + FANQ_FRAME_HEADER_BYTES;

    for (size_t size = 0; size < whole; size += size < 64 ? 1 : 61) {
        struct fanq_writer w = fanq_writer_over(guard_put(&guard, buffer, size), size);
        fanq_request_encode(&w, request);
        assert_true(w.full);
        assert_int_equal(fanq_writer_length(&w), 0);
    }
}

static void what_does_not_fit_leaves_nothing_behind(void **state)
{
    each_request(check_small_buffers, NULL);
}

static void check_with_more_fields(const struct fanq_request *request, void *context)
{
    static const uint8_t more[] = {0x82, 1, 0x93, 1, 2, 0xc0, 0xa1, 'k', 0xcb, 0, 0, 0, 0, 0, 0, 0, 0, 0xc0};
    struct fanq_bytes payload = encode(request);
    uint8_t *data = buffer + FANQ_FRAME_HEADER_BYTES;
    struct fanq_request decoded;

    if (request->op == FANQ_OP_HELLO && request->hello.producer.length == 0)
        return; /* its next field is one of this version */
    data[0] += 2; /* a fixarray of at most eight elements */
    memcpy(data + payload.length, more, sizeof(more));
    payload.length += sizeof(more);
    assert_int_equal(decode(payload, &decoded), 0);
    assert_true(requests_equal(request, &decoded));

    data[payload.length++] = 0xc0; /* behind the array */
    assert_int_equal(decode(payload, &decoded), FANQ_ERR_PROTOCOL);
}

static void fields_of_later_versions_are_skipped(void **state)
{
    each_request(check_with_more_fields, NULL);
}

/* Random damage may be anything but must not crash, and op and id are never invented. */
static void check_damaged(const struct fanq_request *request, void *context)
{
    struct fanq_bytes payload = encode(request);
    struct fanq_request decoded;
    uint32_t *random = (uint32_t *)context;

    for (int i = 0; i < 2000; i++) {
        uint8_t *data = guard_put(&guard, payload.data, payload.length);
        *random = *random * 1664525 + 1013904223;
        data[(*random >> 8) % payload.length] ^= (uint8_t)(*random >> 24 | 1);
        (void)fanq_request_decode((struct fanq_bytes){data, payload.length}, MESSAGE_BYTES_MAX, &decoded);
    }
}

static void damage_does_not_crash(void **state)
{
    uint32_t random = 1;

    each_request(check_damaged, &random);
}

/* Decodes [op, 7, fields...] from literal bytes. */
static int decode_literal(uint8_t op, uint8_t field_count, const void *fields, size_t length)
{
    uint8_t data[1024] = {(uint8_t)(0x92 + field_count), op, 7};
    struct fanq_request request;

    assert_true(length + 3 <= sizeof(data));
    if (length > 0)
        memcpy(data + 3, fields, length);
    int err = decode((struct fanq_bytes){data, length + 3}, &request);
    assert_int_equal(request.op, op < 64 ? op : 0);
    assert_int_equal(request.id, op < 64 ? 7 : 0);
    return err;
}

#define DECODE(op, field_count, ...)                                                                         \
    decode_literal(op, field_count, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void wrong_types_break_the_protocol(void **state)
{
    assert_int_equal(decode_literal(FANQ_OP_PING, 0, NULL, 0), 0);
    assert_int_equal(decode_literal(FANQ_OP_PUBLISH, 0, NULL, 0), FANQ_ERR_PROTOCOL); /* too few fields */
    assert_int_equal(DECODE(FANQ_OP_QUEUE_GET, 1, 5), FANQ_ERR_PROTOCOL);
    assert_int_equal(DECODE(FANQ_OP_QUEUE_GET, 1, 0xc4, 1, 'q'), FANQ_ERR_PROTOCOL);
    assert_int_equal(DECODE(FANQ_OP_PUSH_STOP, 1, 0xa1, 'q'), FANQ_ERR_PROTOCOL);
    assert_int_equal(DECODE(FANQ_OP_PUSH_STOP, 1, 0xff), FANQ_ERR_PROTOCOL); /* negative */
    assert_int_equal(DECODE(FANQ_OP_QUEUE_CREATE, 2, 0xa1, 'q', 0x90), FANQ_ERR_PROTOCOL);
    assert_int_equal(DECODE(FANQ_OP_HELLO, 4, 0xa4, 'f', 'a', 'n', 'k', 1, 1, 0xa0), FANQ_ERR_PROTOCOL);
    assert_int_equal(DECODE(FANQ_OP_HELLO, 4, 0xa5, 'f', 'a', 'n', 'q', '!', 1, 1, 0xa0), FANQ_ERR_PROTOCOL);
    assert_int_equal(DECODE(FANQ_OP_HELLO, 4, 0xa0, 1, 1, 0xa0), FANQ_ERR_PROTOCOL);
    assert_int_equal(DECODE(FANQ_OP_ACK, 3, 1, 1, 0x92, 1, 1), FANQ_ERR_PROTOCOL); /* not triples */
    assert_int_equal(DECODE(FANQ_OP_PEEK, 5, 0xa1, 'q', 1, 1, 1, 0x91, 1), FANQ_ERR_PROTOCOL);
}

static void values_outside_their_bounds_are_invalid(void **state)
{
    assert_int_equal(DECODE(FANQ_OP_QUEUE_GET, 1, 0xa1, 'q'), 0);
    assert_int_equal(DECODE(FANQ_OP_QUEUE_GET, 1, 0xa0), FANQ_ERR_INVALID);
    assert_int_equal(DECODE(FANQ_OP_HELLO, 4, 0xa4, 'f', 'a', 'n', 'q', 2, 1, 0xa0), FANQ_ERR_INVALID);
    assert_int_equal(DECODE(FANQ_OP_HELLO, 4, 0xa4, 'f', 'a', 'n', 'q', 0, 1, 0xa0), FANQ_ERR_INVALID);
    assert_int_equal(DECODE(FANQ_OP_HELLO, 5, 0xa4, 'f', 'a', 'n', 'q', 1, 1, 0xa0, 0xc0), 0);
    assert_int_equal(DECODE(FANQ_OP_HELLO, 5, 0xa4, 'f', 'a', 'n', 'q', 1, 1, 0xa0, 0xc4, 1, 7),
                     FANQ_ERR_INVALID); /* a producer is 16 bytes */
    assert_int_equal(DECODE(FANQ_OP_HELLO, 5, 0xa4, 'f', 'a', 'n', 'q', 1, 1, 0xa0, 0xc4, 0),
                     FANQ_ERR_INVALID);
    assert_int_equal(DECODE(FANQ_OP_HELLO, 5, 0xa4, 'f', 'a', 'n', 'q', 1, 1, 0xa0, 7), FANQ_ERR_PROTOCOL);
    assert_int_equal(DECODE(FANQ_OP_PUBLISH, 3, 0xa1, 't', 2, 0x91, 0xc6, 0, 0, 0, 1, 0), FANQ_ERR_INVALID);
    assert_int_equal(DECODE(FANQ_OP_PUBLISH, 3, 0xa1, 't', 0, 0x90), FANQ_ERR_INVALID);
    assert_int_equal(DECODE(FANQ_OP_RECEIVE, 6, 0x91, 0xa1, 'q', 1, 1, 0, 0, 0), 0);
    assert_int_equal(DECODE(FANQ_OP_RECEIVE, 6, 0x90, 1, 1, 0, 0, 0), FANQ_ERR_INVALID);
    assert_int_equal(DECODE(FANQ_OP_RECEIVE, 6, 0x91, 0xa1, 'q', 0, 1, 0, 0, 0), FANQ_ERR_INVALID);
    assert_int_equal(DECODE(FANQ_OP_RECEIVE, 6, 0x91, 0xa1, 'q', 1, 1, 0, 0, 2), FANQ_ERR_INVALID);
    /* 600,001 ms of wait; 43,200,001 ms of visibility */
    assert_int_equal(DECODE(FANQ_OP_RECEIVE, 6, 0x91, 0xa1, 'q', 1, 1, 0xce, 0, 0x09, 0x27, 0xc1, 0, 0),
                     FANQ_ERR_INVALID);
    assert_int_equal(DECODE(FANQ_OP_RECEIVE, 6, 0x91, 0xa1, 'q', 1, 1, 0, 0xce, 2, 0x93, 0x2e, 0x01, 0),
                     FANQ_ERR_INVALID);
    assert_int_equal(DECODE(FANQ_OP_NACK, 4, 1, 1, 0x93, 1, 1, 1, 0xce, 2, 0x93, 0x2e, 0x01),
                     FANQ_ERR_INVALID);
    assert_int_equal(DECODE(FANQ_OP_EXTEND, 4, 1, 1, 0x93, 1, 1, 1, 0xce, 2, 0x93, 0x2e, 0x01),
                     FANQ_ERR_INVALID);
    assert_int_equal(DECODE(FANQ_OP_PUSH, 6, 2, 0xa1, 'q', 0, 1, 1, 0xc0), FANQ_ERR_INVALID);
    assert_int_equal(DECODE(FANQ_OP_PUSH, 6, 0, 0xa1, 'q', 2, 1, 1, 0xc0), FANQ_ERR_INVALID);
    assert_int_equal(DECODE(FANQ_OP_CREDIT, 3, 1, 0xcf, 0x80, 0, 0, 0, 0, 0, 0, 0, 1), FANQ_ERR_INVALID);
    assert_int_equal(DECODE(FANQ_OP_PEEK, 5, 0xa1, 'q', 1, 1, 0, 0xc0), FANQ_ERR_INVALID);
    assert_int_equal(DECODE(FANQ_OP_PEEK, 5, 0xa1, 'q', 1, 1, 8, 0xc0), FANQ_ERR_INVALID);
    assert_int_equal(DECODE(FANQ_OP_QUEUE_LIST, 3, 0xa0, 0xa0, 0), FANQ_ERR_INVALID);
    assert_int_equal(DECODE(FANQ_OP_QUEUE_LIST, 3, 0xa0, 0xa0, 0xcd, 0x03, 0xe9), FANQ_ERR_INVALID);
    assert_int_equal(DECODE(FANQ_OP_QUEUE_SET, 2, 0xa1, 'q', 0x81, 4, 1), FANQ_ERR_INVALID); /* strange */
    assert_int_equal(DECODE(FANQ_OP_QUEUE_SET, 2, 0xa1, 'q', 0x81, 3, 0xc3), 0);
    assert_int_equal(DECODE(FANQ_OP_QUEUE_SET, 2, 0xa1, 'q', 0x81, 3, 1), FANQ_ERR_PROTOCOL); /* no bool */
    assert_int_equal(DECODE(FANQ_OP_QUEUE_SET, 2, 0xa1, 'q', 0x82, 1, 5, 1, 5), FANQ_ERR_INVALID); /* twice */
    assert_int_equal(DECODE(FANQ_OP_QUEUE_SET, 2, 0xa1, 'q', 0x81, 0xcc, 65, 1), FANQ_ERR_INVALID);
}

static void ranges_are_checked(void **state)
{
    assert_int_equal(DECODE(FANQ_OP_ACK, 3, 1, 1, 0x93, 1, 1, 1), 0);
    assert_int_equal(DECODE(FANQ_OP_ACK, 3, 1, 1, 0x90), FANQ_ERR_INVALID);
    assert_int_equal(DECODE(FANQ_OP_ACK, 3, 1, 1, 0x93, 1, 1, 0), FANQ_ERR_INVALID);
    /* first + count = 2^63 - 1 is the most */
    assert_int_equal(DECODE(FANQ_OP_ACK, 3, 1, 1, 0x93, 1, 0xcf, 0x7f, 255, 255, 255, 255, 255, 255, 254, 1),
                     0);
    assert_int_equal(DECODE(FANQ_OP_ACK, 3, 1, 1, 0x93, 1, 0xcf, 0x7f, 255, 255, 255, 255, 255, 255, 254, 2),
                     FANQ_ERR_INVALID);
    assert_int_equal(DECODE(FANQ_OP_ACK, 3, 1, 1, 0x93, 1, 0xcf, 255, 255, 255, 255, 255, 255, 255, 255, 1),
                     FANQ_ERR_INVALID);
    assert_int_equal(DECODE(FANQ_OP_ACK, 3, 1, 1, 0x93, 0xcf, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 1),
                     FANQ_ERR_INVALID);
}

/* Packs `count` ranges [0, 1) and sends them as an ack. */
static int decode_ranges(uint32_t count)
{
    static uint8_t packed[3 * (FANQ_RANGES_MAX + 1)];
    struct fanq_request request = {.op = FANQ_OP_ACK, .id = 1}, decoded;

    for (uint32_t i = 0; i < count; i++)
        memcpy(packed + 3 * (size_t)i, "\x00\x00\x01", 3);
    request.change = (struct fanq_change){
        .queue_id = 1, .ranges = fanq_ranges_over((struct fanq_bytes){packed, 3 * (size_t)count}, count)};
    return decode(encode(&request), &decoded);
}

static void lists_have_an_end(void **state)
{
    struct fanq_request request = {.op = FANQ_OP_QUEUE_GET, .id = 1}, decoded;
    uint8_t queues[64] = {0x98, FANQ_OP_RECEIVE, 7, 0xdc, 0, FANQ_RECEIVE_QUEUES_MAX + 1};
    size_t length = 6;

    assert_int_equal(decode_ranges(FANQ_RANGES_MAX), 0);
    assert_int_equal(decode_ranges(FANQ_RANGES_MAX + 1), FANQ_ERR_INVALID);

    request.name = (struct fanq_bytes){sample_records().data, FANQ_NAME_BYTES_MAX + 1};
    assert_int_equal(decode(encode(&request), &decoded), FANQ_ERR_INVALID);

    for (int i = 0; i < FANQ_RECEIVE_QUEUES_MAX + 1; i++, length += 2)
        memcpy(queues + length, "\xa1q", 2);
    memcpy(queues + length, "\x01\x01\x00\x00\x00", 5);
    assert_int_equal(decode((struct fanq_bytes){queues, length + 5}, &decoded), FANQ_ERR_INVALID);
    assert_int_equal(decoded.id, 7);
}

/* One request must not make the broker gather all its memory into one answer. */
static void a_peek_is_no_longer_than_a_delivery(void **state)
{
    struct fanq_request request = {.op = FANQ_OP_PEEK, .id = 1}, decoded;

    request.peek = (struct fanq_peek){FANQ_BYTES("q"), UINT32_MAX, UINT32_MAX, FANQ_STATE_ALL, false, 0, 0};
    assert_int_equal(decode(encode(&request), &decoded), 0);
    assert_int_equal(decoded.peek.bytes_max, FANQ_DELIVERY_BYTES_MAX);
}

static void records_are_checked(void **state)
{
    struct fanq_request request = {.op = FANQ_OP_SEND, .id = 9}, decoded;
    struct fanq_records records = sample_records();

    assert_int_equal(DECODE(FANQ_OP_SEND, 3, 0xa1, 'q', 0, 0x91, 0xc4, 1, 0), FANQ_ERR_BAD_RECORD);
    assert_int_equal(DECODE(FANQ_OP_SEND, 3, 0xa1, 'q', 0, 0x91, 0xc6, 0, 0, 0, 9, 0), FANQ_ERR_BAD_RECORD);
    assert_int_equal(DECODE(FANQ_OP_SEND, 3, 0xa1, 'q', 0, 0xdd, 255, 255, 255, 255, 0xc6),
                     FANQ_ERR_PROTOCOL);

    request.publish = (struct fanq_publish){FANQ_BYTES("q"), 0, records, 0};
    struct fanq_bytes payload = encode(&request);
    assert_int_equal(fanq_request_decode(payload, 600, &decoded), 0);
    assert_int_equal(decoded.publish.oversize_count, 2);
    assert_int_equal(decoded.publish.records.count, records.count);
}

static void unknown_operations_are_told_from_garbage(void **state)
{
    static const uint8_t not_a_request[][4] = {
        {0x91, 2}, {0x90}, {0x80}, {0xa1, 'x'}, {2}, {0x92, 0xff, 1}, {0x92, 2, 0xa1, 'x'}};
    struct fanq_request request;

    assert_int_equal(DECODE(0, 1, 1), FANQ_ERR_UNSUPPORTED);
    assert_int_equal(DECODE(FANQ_OP_BACKUP_END + 1, 2, 1, 0x91, 5), FANQ_ERR_UNSUPPORTED);
    assert_int_equal(DECODE(63, 1, 1), FANQ_ERR_UNSUPPORTED);
    assert_int_equal(DECODE(63, 1, 0xc1), FANQ_ERR_PROTOCOL);
    for (size_t i = 0; i < sizeof(not_a_request) / sizeof(not_a_request[0]); i++)
        assert_int_equal(decode((struct fanq_bytes){not_a_request[i], 4}, &request), FANQ_ERR_PROTOCOL);
}

static void decode_reply_as_request(const struct fanq_reply *reply, void *context)
{
    struct fanq_writer w = fanq_writer_over(buffer, sizeof(buffer));
    struct fanq_request request;

    fanq_reply_encode(&w, reply);
    assert_int_equal(decode(payload_of(&w), &request), FANQ_ERR_PROTOCOL);
}

static void replies_are_no_requests(void **state)
{
    each_reply(decode_reply_as_request, NULL);
}

static void a_publish_in_two_pieces_is_the_same_frame(void **state)
{
    struct fanq_request request = {.op = FANQ_OP_PUBLISH, .id = 70000};
    struct fanq_records records = sample_records();
    uint8_t pieces[BUFFER_BYTES];
    struct fanq_writer w = fanq_writer_over(pieces, sizeof(pieces));

    request.publish = (struct fanq_publish){FANQ_BYTES("prices"), FANQ_PUBLISH_WANT_IDS, records, 0};
    struct fanq_bytes payload = encode(&request);
    fanq_publish_begin(&w, FANQ_OP_PUBLISH, 70000, FANQ_BYTES("prices"), FANQ_PUBLISH_WANT_IDS, records.count,
                       records.length);
    fanq_write_raw(&w, records.data, records.length);
    assert_int_equal(fanq_writer_length(&w), FANQ_FRAME_HEADER_BYTES + payload.length);
    assert_memory_equal(pieces, buffer, fanq_writer_length(&w));
}

static void names_of_operations(void **state)
{
    assert_string_equal(fanq_op_name(FANQ_OP_HELLO), "HELLO");
    assert_string_equal(fanq_op_name(FANQ_OP_SUBSCRIPTION_LIST), "SUBSCRIPTION_LIST");
    assert_string_equal(fanq_op_name((enum fanq_op)0), "UNKNOWN_OP");
    assert_string_equal(fanq_op_name((enum fanq_op)9999), "UNKNOWN_OP");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_request_comes_back_equal),
        cmocka_unit_test(every_truncation_is_an_error),
        cmocka_unit_test(what_does_not_fit_leaves_nothing_behind),
        cmocka_unit_test(fields_of_later_versions_are_skipped),
        cmocka_unit_test(damage_does_not_crash),
        cmocka_unit_test(wrong_types_break_the_protocol),
        cmocka_unit_test(values_outside_their_bounds_are_invalid),
        cmocka_unit_test(ranges_are_checked),
        cmocka_unit_test(lists_have_an_end),
        cmocka_unit_test(a_peek_is_no_longer_than_a_delivery),
        cmocka_unit_test(records_are_checked),
        cmocka_unit_test(unknown_operations_are_told_from_garbage),
        cmocka_unit_test(replies_are_no_requests),
        cmocka_unit_test(a_publish_in_two_pieces_is_the_same_frame),
        cmocka_unit_test(names_of_operations),
    };

    return cmocka_run_group_tests_name("request", tests, setup, teardown);
}
