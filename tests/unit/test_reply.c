#include "proto/reply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <msgpack.h>

#include "tests/lib/guard.h"
#include "tests/lib/wire_samples.h"

enum { BUFFER_BYTES = 64 * 1024 };

static struct guard guard;
static uint8_t buffer[BUFFER_BYTES];
static uint8_t scratch[8 * BUFFER_BYTES];

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

static struct fanq_bytes payload_of(const struct fanq_writer *w)
{
    struct fanq_bytes payload = {NULL, 0};
    size_t need;

    assert_false(w->full);
    assert_int_equal(fanq_frame_next(w->start, fanq_writer_length(w), BUFFER_BYTES, &payload, &need), 1);
    assert_int_equal(payload.length + FANQ_FRAME_HEADER_BYTES, fanq_writer_length(w));
    return payload;
}

static struct fanq_bytes encode(const struct fanq_reply *reply)
{
    struct fanq_writer w = fanq_writer_over(buffer, sizeof(buffer));

    fanq_reply_encode(&w, reply);
    return payload_of(&w);
}

static int decode(struct fanq_bytes payload, struct fanq_reply *ret_reply)
{
    const uint8_t *data = guard_put(&guard, payload.data, payload.length);

    return fanq_reply_decode((struct fanq_bytes){data, payload.length}, scratch, 8 * payload.length,
                             ret_reply);
}

static void assert_legal_msgpack(struct fanq_bytes payload, const struct fanq_reply *reply)
{
    msgpack_unpacked unpacked;
    size_t offset = 0;

    msgpack_unpacked_init(&unpacked);
    assert_int_equal(msgpack_unpack_next(&unpacked, (const char *)payload.data, payload.length, &offset),
                     MSGPACK_UNPACK_SUCCESS);
    assert_int_equal(offset, payload.length);
    assert_int_equal(unpacked.data.type, MSGPACK_OBJECT_ARRAY);
    assert_true(unpacked.data.via.array.ptr[0].via.u64 == reply->op);
    assert_true(unpacked.data.via.array.ptr[1].via.u64 == reply->id);
    msgpack_unpacked_destroy(&unpacked);
}

static void check_round_trip(const struct fanq_reply *reply, void *context)
{
    unsigned *seen = (unsigned *)context;
    struct fanq_bytes payload = encode(reply);
    struct fanq_reply decoded;

    assert_int_equal(decode(payload, &decoded), 0);
    assert_true(replies_equal(reply, &decoded));
    assert_legal_msgpack(payload, reply);
    assert_string_not_equal(fanq_reply_name(reply->op), "UNKNOWN_REPLY");
    *seen |= 1u << (reply->op - FANQ_REPLY_HELLO);
}

static void every_reply_comes_back_equal(void **state)
{
    unsigned seen = 0;

    each_reply(check_round_trip, &seen);
    for (unsigned op = FANQ_REPLY_HELLO; op <= FANQ_REPLY_BACKUP; op++)
        if (strcmp(fanq_reply_name((enum fanq_reply_op)op), "UNKNOWN_REPLY") != 0)
            assert_true((seen & 1u << (op - FANQ_REPLY_HELLO)) != 0);
}

static void check_truncated(const struct fanq_reply *reply, void *context)
{
    struct fanq_bytes payload = encode(reply);
    struct fanq_reply decoded;
    struct fanq_slice slice;

    for (size_t length = 0; length < payload.length; length += length < 200 ? 1 : 7) {
        struct fanq_bytes cut = {payload.data, length};
        assert_int_equal(decode(cut, &decoded), FANQ_ERR_PROTOCOL);

        struct fanq_delivery_reader reader;
        cut.data = guard_put(&guard, payload.data, length);
        if (fanq_delivery_open(cut, &reader) != 0)
            continue;
        int more;
        do
            more = fanq_delivery_next(&reader, &slice);
        while (more == 1);
        assert_int_equal(more, FANQ_ERR_PROTOCOL);
        assert_int_equal(fanq_delivery_next(&reader, &slice), FANQ_ERR_PROTOCOL); /* it stays so */
    }
}

static void every_truncation_is_an_error(void **state)
{
    each_reply(check_truncated, NULL);
}

static void check_small_buffers(const struct fanq_reply *reply, void *context)
{
    size_t whole = encode(reply).length + FANQ_FRAME_HEADER_BYTES;

    for (size_t size = 0; size < whole; size += size < 64 ? 1 : 61) {
        struct fanq_writer w = fanq_writer_over(guard_put(&guard, buffer, size), size);
        fanq_reply_encode(&w, reply);
        assert_true(w.full);
        assert_int_equal(fanq_writer_length(&w), 0);
    }
}

static void what_does_not_fit_leaves_nothing_behind(void **state)
{
    each_reply(check_small_buffers, NULL);
}

static void check_small_scratch(const struct fanq_reply *reply, void *context)
{
    struct fanq_bytes payload = encode(reply);
    struct fanq_reply decoded;
    bool fits = false;

    for (size_t size = 0; size <= 8 * payload.length && !fits; size += 8) {
        uint8_t *place =
            (uint8_t *)malloc(size + 1); /* at an odd address, with an end that the sanitizer watches */
        int err = fanq_reply_decode(payload, place + 1, size, &decoded);
        fits = err == 0;
        assert_true(fits || err == FANQ_ERR_NOMEM);
        if (fits)
            assert_true(replies_equal(reply, &decoded));
        free(place);
    }
    assert_true(fits);
}

static void scratch_that_is_too_small_is_told(void **state)
{
    each_reply(check_small_scratch, NULL);
}

static void check_with_more_fields(const struct fanq_reply *reply, void *context)
{
    static const uint8_t more[] = {0x82, 1, 0x93, 1, 2, 0xc0, 0xa1, 'k', 0xa0, 0xc0};
    struct fanq_bytes payload = encode(reply);
    uint8_t *data = buffer + FANQ_FRAME_HEADER_BYTES;
    struct fanq_reply decoded;

    if (reply->op == FANQ_REPLY_HELLO && !reply->hello.has_producer)
        return; /* its next field is one of this version */
    data[0] += 1;
    memcpy(data + payload.length, more, sizeof(more) - 1);
    payload.length += sizeof(more) - 1;
    assert_int_equal(decode(payload, &decoded), 0);
    assert_true(replies_equal(reply, &decoded));

    data[payload.length++] = 0xc0; /* behind the array */
    assert_int_equal(decode(payload, &decoded), FANQ_ERR_PROTOCOL);
}

static void fields_of_later_versions_are_skipped(void **state)
{
    each_reply(check_with_more_fields, NULL);
}

static void check_damaged(const struct fanq_reply *reply, void *context)
{
    struct fanq_bytes payload = encode(reply);
    uint32_t *random = (uint32_t *)context;

    for (int i = 0; i < 1000; i++) {
        struct fanq_reply decoded;
        struct fanq_delivery_reader reader;
        struct fanq_slice slice;
        uint8_t *data = guard_put(&guard, payload.data, payload.length);
        struct fanq_bytes damaged = {data, payload.length};

        *random = *random * 1664525 + 1013904223;
        data[(*random >> 8) % payload.length] ^= (uint8_t)(*random >> 24 | 1);
        /* Eight times the payload's length always suffices, whatever the counts say. */
        assert_int_not_equal(fanq_reply_decode(damaged, scratch, 8 * payload.length, &decoded),
                             FANQ_ERR_NOMEM);
        if (fanq_delivery_open(damaged, &reader) == 0)
            while (fanq_delivery_next(&reader, &slice) == 1)
                continue;
    }
}

static void damage_does_not_crash(void **state)
{
    uint32_t random = 1;

    each_reply(check_damaged, &random);
}

static int decode_literal(const void *data, size_t length)
{
    struct fanq_reply reply;

    return decode((struct fanq_bytes){(const uint8_t *)data, length}, &reply);
}

#define DECODE(...) decode_literal((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void lies_are_refused(void **state)
{
    assert_int_equal(DECODE(0x92, 65, 1), 0);
    assert_int_equal(DECODE(0x92, 75, 1), FANQ_ERR_PROTOCOL); /* no such reply */
    assert_int_equal(DECODE(0x92, 78, 1), FANQ_ERR_PROTOCOL);
    assert_int_equal(DECODE(0x92, 0xcd, 1, 65, 1), FANQ_ERR_PROTOCOL);
    assert_int_equal(DECODE(0x91, 65), FANQ_ERR_PROTOCOL);
    assert_int_equal(DECODE(0x90), FANQ_ERR_PROTOCOL);
    assert_int_equal(DECODE(0x92, 67, 1), FANQ_ERR_PROTOCOL);          /* a field missing */
    assert_int_equal(DECODE(0x94, 66, 1, 0, 0xa0), FANQ_ERR_PROTOCOL); /* error number 0 */
    assert_int_equal(DECODE(0x94, 66, 1, 1, 0xa0), 0);
    assert_int_equal(DECODE(0x94, 73, 1, 0x91, 0xa0, 0xc2), FANQ_ERR_PROTOCOL);            /* an empty name */
    assert_int_equal(DECODE(0x94, 73, 1, 0xdc, 0, 3, 0xa1, 'x', 0xc2), FANQ_ERR_PROTOCOL); /* three names? */
    assert_int_equal(DECODE(0x98, 68, 1, 1, 1, 1, 1, 1, 0x91, 1), FANQ_ERR_PROTOCOL); /* half a refusal */
    assert_int_equal(
        DECODE(0x96, 69, 1, 1, 1, 0, 0x91, 0x97, 1, 1, 1, 1, 1, 1, 0x90, 0xc0, 0xc0, 0xc0, 0xc0, 0xc0),
        FANQ_ERR_PROTOCOL); /* a slice without records */
    assert_int_equal(DECODE(0x96, 69, 1, 1, 1, 0, 0x91, 0x97, 1, 1, 1, 1, 1, 1, 0x91, 0xc6, 0, 0, 0, 2, 0),
                     FANQ_ERR_PROTOCOL); /* a record longer than the frame */
    assert_int_equal(DECODE(0x96, 69, 1, 1, 1, 0, 0x91, 0x97, 1, 1, 1, 1, 1, 1, 0x91, 0xc6, 0, 0, 0, 1, 0),
                     0);
    assert_int_equal(DECODE(0x96, 69, 1, 1, 1, 0, 0xdd, 255, 255, 255, 255), FANQ_ERR_PROTOCOL);
}

static void decode_request_as_reply(const struct fanq_request *request, void *context)
{
    struct fanq_writer w = fanq_writer_over(buffer, sizeof(buffer));
    struct fanq_delivery_reader reader;
    struct fanq_reply reply;

    fanq_request_encode(&w, request);
    assert_int_equal(decode(payload_of(&w), &reply), FANQ_ERR_PROTOCOL);
    assert_int_equal(fanq_delivery_open(payload_of(&w), &reader), FANQ_ERR_PROTOCOL);
}

static void requests_are_no_replies(void **state)
{
    each_request(decode_request_as_reply, NULL);
}

/* What the shell sends by writev is what the simple encoder writes; the reader gives the same slices. */
static void check_delivery(const struct fanq_reply *reply, void *context)
{
    struct fanq_bytes payload = encode(reply);
    struct fanq_delivery_reader reader;
    struct fanq_slice slice;
    static uint8_t pieces[BUFFER_BYTES];
    struct fanq_writer w = fanq_writer_over(pieces, sizeof(pieces));

    if (reply->op != FANQ_REPLY_DELIVER) {
        assert_int_equal(fanq_delivery_open(payload, &reader), FANQ_ERR_PROTOCOL);
        return;
    }
    fanq_deliver_begin(&w, reply->id, &reply->deliver);
    assert_true(fanq_writer_length(&w) <= FANQ_DELIVER_HEADER_BYTES_MAX);
    for (uint32_t i = 0; i < reply->deliver.slice_count; i++) {
        size_t before = fanq_writer_length(&w);
        fanq_deliver_slice(&w, &reply->deliver.slices[i]);
        assert_true(fanq_writer_length(&w) - before <= FANQ_SLICE_HEADER_BYTES_MAX);
        fanq_write_raw(&w, reply->deliver.slices[i].records.data, reply->deliver.slices[i].records.length);
    }
    assert_int_equal(fanq_writer_length(&w), FANQ_FRAME_HEADER_BYTES + payload.length);
    assert_memory_equal(pieces, buffer, fanq_writer_length(&w));

    assert_int_equal(fanq_delivery_open(payload, &reader), 0);
    assert_true(reader.id == reply->id && reader.queue_id == reply->deliver.queue_id);
    assert_true(reader.batch == reply->deliver.batch && reader.dropped == reply->deliver.dropped);
    for (uint32_t i = 0; i < reply->deliver.slice_count; i++) {
        assert_int_equal(fanq_delivery_next(&reader, &slice), 1);
        assert_true(slices_equal(&slice, &reply->deliver.slices[i]));
    }
    assert_int_equal(fanq_delivery_next(&reader, &slice), 0);
    assert_int_equal(fanq_delivery_next(&reader, &slice), 0);
}

static void deliveries_in_pieces_are_the_same_frame(void **state)
{
    each_reply(check_delivery, NULL);
}

static size_t delivery_length(uint32_t record_count, size_t body_bytes)
{
    struct fanq_writer w = fanq_writer_over(scratch, sizeof(scratch));
    static const uint8_t body[256];
    struct fanq_record_parts parts = {.body = {body, body_bytes}};

    for (uint32_t i = 0; i < record_count; i++)
        assert_int_equal(fanq_record_write(&w, &parts), 0);
    struct fanq_slice slice = {.stream = 3,
                               .epoch = 1,
                               .first_seq = 1000,
                               .time_ms = 1800000000000,
                               .deliveries = 1,
                               .records = {scratch, fanq_writer_length(&w), record_count}};
    struct fanq_reply reply = {.op = FANQ_REPLY_DELIVER, .id = 5};
    reply.deliver = (struct fanq_delivery){2, 77, 0, &slice, 1};
    return encode(&reply).length;
}

static void one_more_plain_message_costs_six_bytes_and_its_body(void **state)
{
    for (size_t body_bytes = 0; body_bytes <= 256; body_bytes += 64) {
        assert_int_equal(delivery_length(2, body_bytes) - delivery_length(1, body_bytes), 6 + body_bytes);
        assert_int_equal(delivery_length(101, body_bytes) - delivery_length(100, body_bytes), 6 + body_bytes);
    }
}

static void small_replies_fit_where_they_are_said_to(void **state)
{
    struct fanq_writer w = fanq_writer_over(scratch, FANQ_SMALL_REPLY_BYTES_MAX);
    struct fanq_reply reply = {.op = FANQ_REPLY_HELLO, .id = INT64_MAX};
    uint8_t server[300] = {'s'};

    reply.hello = (struct fanq_hello_reply){
        UINT32_MAX, UINT64_MAX, {server, 300}, FANQ_BYTES("memory"), INT64_MAX, INT64_MAX, true, true, true};
    fanq_reply_encode(&w, &reply);
    assert_false(w.full);
    w = fanq_writer_over(scratch, FANQ_SMALL_REPLY_BYTES_MAX);
    reply = (struct fanq_reply){.op = FANQ_REPLY_PUBLISHED, .id = INT64_MAX};
    reply.published =
        (struct fanq_published){INT64_MAX, UINT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, NULL, 0};
    fanq_reply_encode(&w, &reply);
    assert_false(w.full);
}

static void names_of_replies(void **state)
{
    assert_string_equal(fanq_reply_name(FANQ_REPLY_DELIVER), "DELIVER");
    assert_string_equal(fanq_reply_name((enum fanq_reply_op)75), "UNKNOWN_REPLY");
    assert_string_equal(fanq_reply_name((enum fanq_reply_op)0), "UNKNOWN_REPLY");
    assert_string_equal(fanq_reply_name((enum fanq_reply_op)9999), "UNKNOWN_REPLY");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_reply_comes_back_equal),
        cmocka_unit_test(every_truncation_is_an_error),
        cmocka_unit_test(what_does_not_fit_leaves_nothing_behind),
        cmocka_unit_test(scratch_that_is_too_small_is_told),
        cmocka_unit_test(fields_of_later_versions_are_skipped),
        cmocka_unit_test(damage_does_not_crash),
        cmocka_unit_test(lies_are_refused),
        cmocka_unit_test(requests_are_no_replies),
        cmocka_unit_test(deliveries_in_pieces_are_the_same_frame),
        cmocka_unit_test(one_more_plain_message_costs_six_bytes_and_its_body),
        cmocka_unit_test(small_replies_fit_where_they_are_said_to),
        cmocka_unit_test(names_of_replies),
    };

    return cmocka_run_group_tests_name("reply", tests, setup, teardown);
}
