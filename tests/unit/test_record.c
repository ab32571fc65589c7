#include "proto/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <msgpack.h>

#include "proto/fanq_error.h"
#include "tests/lib/guard.h"
#include "tests/lib/wire_samples.h"

static struct guard guard;

static int setup(void **state)
{
    guard_init(&guard, 64 * 1024);
    return 0;
}

static int teardown(void **state)
{
    guard_close(&guard);
    return 0;
}

/* What the broker says to the bytes of one record: 0 or BAD_RECORD. */
static int check(const void *data, size_t length)
{
    struct fanq_cursor c = fanq_cursor_over(guard_put(&guard, data, length), length);
    uint32_t oversize_count = 99;
    struct fanq_records records = fanq_read_records(&c, 1, SIZE_MAX, &oversize_count);

    if (c.err != 0) {
        assert_int_equal(records.count, 0);
        assert_int_equal(oversize_count, 99);
        assert_int_equal(c.err, FANQ_ERR_BAD_RECORD);
    } else {
        assert_int_equal(records.length, length);
        assert_int_equal(oversize_count, 0);
    }
    return c.err;
}

#define CHECK(...) check((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void plain_records_cost_six_bytes(void **state)
{
    uint8_t buffer[64];
    struct fanq_writer w = fanq_writer_over(buffer, sizeof(buffer));
    struct fanq_record_parts parts = {.body = FANQ_BYTES("hello")};
    static const uint8_t expected[] = {0xc6, 0, 0, 0, 6, 0, 'h', 'e', 'l', 'l', 'o'};

    assert_int_equal(fanq_record_size(&parts), 11);
    assert_int_equal(fanq_record_write(&w, &parts), 0);
    assert_int_equal(fanq_writer_length(&w), 11);
    assert_memory_equal(buffer, expected, sizeof(expected));
    assert_int_equal(fanq_record_length(buffer), 11);
}

/* The record as a stranger's library sees it. */
static void assert_legal_msgpack(const uint8_t *data, size_t length, const struct fanq_record_parts *parts)
{
    msgpack_unpacked unpacked, properties;
    size_t offset = 0;

    msgpack_unpacked_init(&unpacked);
    msgpack_unpacked_init(&properties);
    assert_int_equal(msgpack_unpack_next(&unpacked, (const char *)data, length, &offset),
                     MSGPACK_UNPACK_SUCCESS);
    assert_int_equal(offset, length);
    assert_int_equal(unpacked.data.type, MSGPACK_OBJECT_BIN);

    const char *inside = unpacked.data.via.bin.ptr;
    size_t inside_bytes = unpacked.data.via.bin.size;
    offset = 1;
    if (inside[0] == FANQ_RECORD_HAS_PROPERTIES) {
        assert_int_equal(msgpack_unpack_next(&properties, inside, inside_bytes, &offset),
                         MSGPACK_UNPACK_SUCCESS);
        assert_int_equal(properties.data.type, MSGPACK_OBJECT_MAP);
    }
    assert_int_equal(inside_bytes - offset, parts->body.length);
    if (parts->body.length > 0)
        assert_memory_equal(inside + offset, parts->body.data, parts->body.length);
    msgpack_unpacked_destroy(&properties);
    msgpack_unpacked_destroy(&unpacked);
}

static void assert_same_parts(const struct fanq_record *record, const struct fanq_record_parts *parts)
{
    struct fanq_bytes rest = record->attributes;
    struct fanq_attribute attribute;
    uint32_t count = 0;

    assert_true(bytes_equal(record->body, parts->body));
    assert_true(bytes_equal(record->subject, parts->subject));
    assert_true(bytes_equal(record->trace, parts->trace));
    while (fanq_attribute_next(&rest, &attribute)) {
        assert_true(count < parts->attribute_count);
        assert_true(bytes_equal(attribute.name, parts->attributes[count].name));
        assert_true(bytes_equal(attribute.type, parts->attributes[count].type));
        assert_true(bytes_equal(attribute.value, parts->attributes[count].value));
        count++;
    }
    assert_int_equal(count, parts->attribute_count);
}

static void check_sample(const struct fanq_record_parts *parts, void *context)
{
    static uint8_t buffer[4096];
    struct fanq_writer w = fanq_writer_over(buffer, sizeof(buffer));
    struct fanq_record record;

    assert_int_equal(fanq_record_write(&w, parts), 0);
    assert_false(w.full);
    size_t length = fanq_writer_length(&w);
    assert_int_equal(length, fanq_record_size(parts));
    assert_int_equal(fanq_record_length(buffer), length);
    assert_int_equal(check(buffer, length), 0);
    assert_legal_msgpack(buffer, length, parts);

    assert_int_equal(fanq_record_parse(guard_put(&guard, buffer, length), length, &record), 0);
    assert_int_equal(record.length, length);
    assert_same_parts(&record, parts);

    for (size_t cut = 0; cut < length; cut++) {
        assert_int_equal(check(buffer, cut), FANQ_ERR_BAD_RECORD);
        assert_int_equal(fanq_record_parse(guard_put(&guard, buffer, cut), cut, &record),
                         FANQ_ERR_BAD_RECORD);
        w = fanq_writer_over(guard_put(&guard, buffer, cut), cut);
        assert_int_equal(fanq_record_write(&w, parts), 0);
        assert_true(w.full);
        assert_int_equal(fanq_writer_length(&w), 0);
    }
}

static void records_are_read_as_they_were_written(void **state)
{
    each_record(check_sample, NULL);
}

/* Cutting a record in the middle and mending its length: what is inside runs out instead. */
static void cut_sample_inside(const struct fanq_record_parts *parts, void *context)
{
    static uint8_t buffer[4096];
    struct fanq_writer w = fanq_writer_over(buffer, sizeof(buffer));

    assert_int_equal(fanq_record_write(&w, parts), 0);
    size_t properties_end = fanq_writer_length(&w) - parts->body.length;
    for (size_t cut = FANQ_RECORD_PLAIN_BYTES; cut < properties_end; cut++) {
        size_t inside = cut - FANQ_RECORD_HEADER_BYTES;
        buffer[1] = buffer[2] = 0;
        buffer[3] = (uint8_t)(inside >> 8);
        buffer[4] = (uint8_t)inside;
        assert_int_equal(check(buffer, cut), FANQ_ERR_BAD_RECORD);
    }
}

static void properties_that_run_out_are_refused(void **state)
{
    each_record(cut_sample_inside, NULL);
}

static void other_forms_are_no_records(void **state)
{
    assert_int_equal(CHECK(0xc6, 0, 0, 0, 1, 0), 0);                               /* empty body */
    assert_int_equal(CHECK(0xc4, 2, 0, 'x'), FANQ_ERR_BAD_RECORD);                 /* bin 8 */
    assert_int_equal(CHECK(0xc5, 0, 2, 0, 'x', 0), FANQ_ERR_BAD_RECORD);           /* bin 16 */
    assert_int_equal(CHECK(0xdb, 0, 0, 0, 1, 0), FANQ_ERR_BAD_RECORD);             /* str 32 */
    assert_int_equal(CHECK(0xc6, 0, 0, 0, 0), FANQ_ERR_BAD_RECORD);                /* no flags */
    assert_int_equal(CHECK(0xc6, 0, 0, 0, 0, 0), FANQ_ERR_BAD_RECORD);             /* flags outside */
    assert_int_equal(CHECK(0xc6, 0xff, 0xff, 0xff, 0xff, 0), FANQ_ERR_BAD_RECORD); /* lying length */
    assert_int_equal(CHECK(0xc6, 0, 0, 0, 2, 2, 'x'), FANQ_ERR_BAD_RECORD);        /* unknown flag */
    assert_int_equal(CHECK(0xc6, 0, 0, 0, 1, 1), FANQ_ERR_BAD_RECORD);             /* map missing */
    assert_int_equal(CHECK(0xc6, 0, 0, 0, 2, 1, 0x90), FANQ_ERR_BAD_RECORD);       /* not a map */
    assert_int_equal(CHECK(0xc6, 0, 0, 0, 2, 1, 0x80), 0);                         /* no properties */
    assert_int_equal(CHECK(0xc6, 0, 0, 0, 7, 1, 0xdf, 0xff, 0xff, 0xff, 0xff, 5), FANQ_ERR_BAD_RECORD);
}

static void properties_obey_their_rules(void **state)
{
    assert_int_equal(CHECK(0xc6, 0, 0, 0, 5, 1, 0x81, 5, 0xa1, 's'), 0);
    assert_int_equal(CHECK(0xc6, 0, 0, 0, 8, 1, 0x82, 5, 0xa1, 's', 6, 0xa1, 't'), 0);
    assert_int_equal(CHECK(0xc6, 0, 0, 0, 8, 1, 0x82, 6, 0xa1, 't', 5, 0xa1, 's'),
                     FANQ_ERR_BAD_RECORD); /* order */
    assert_int_equal(CHECK(0xc6, 0, 0, 0, 8, 1, 0x82, 5, 0xa1, 't', 5, 0xa1, 's'),
                     FANQ_ERR_BAD_RECORD);                                                 /* twice */
    assert_int_equal(CHECK(0xc6, 0, 0, 0, 5, 1, 0x81, 5, 0xc4, 0), FANQ_ERR_BAD_RECORD);   /* type */
    assert_int_equal(CHECK(0xc6, 0, 0, 0, 5, 1, 0x81, 0xa1, 's', 1), FANQ_ERR_BAD_RECORD); /* key */
    assert_int_equal(CHECK(0xc6, 0, 0, 0, 3, 1, 0x81, 0xcc), FANQ_ERR_BAD_RECORD);
}

/* The broker does not take what it would have to ignore; a reader lives with it. */
static void strange_properties_are_refused_at_the_door_only(void **state)
{
    static const uint8_t strange[] = {0xc6, 0, 0, 0, 6, 1, 0x81, 99, 0x91, 7, 'b'};
    struct fanq_record record;

    assert_int_equal(check(strange, sizeof(strange)), FANQ_ERR_BAD_RECORD);
    assert_int_equal(fanq_record_parse(strange, sizeof(strange), &record), 0);
    assert_int_equal(record.body.length, 1);
}

static void attributes_obey_their_rules(void **state)
{
    /* {7: {"a": [type, value]}} */
#define ATTRIBUTE(...)                                                                                       \
    CHECK(0xc6, 0, 0, 0, 6 + sizeof((char[]){__VA_ARGS__}), 1, 0x81, 7, 0x81, 0xa1, 'a', __VA_ARGS__)
    assert_int_equal(ATTRIBUTE(0x92, 0xa6, 'S', 't', 'r', 'i', 'n', 'g', 0xa1, 'v'), 0);
    assert_int_equal(ATTRIBUTE(0x92, 0xa6, 'N', 'u', 'm', 'b', 'e', 'r', 0xa1, '1'), 0);
    assert_int_equal(ATTRIBUTE(0x92, 0xa6, 'B', 'i', 'n', 'a', 'r', 'y', 0xc4, 1, 'v'), 0);
    assert_int_equal(ATTRIBUTE(0x92, 0xa8, 'S', 't', 'r', 'i', 'n', 'g', '.', 'x', 0xa0), 0);
    assert_int_equal(ATTRIBUTE(0x92, 0xa6, 'B', 'i', 'n', 'a', 'r', 'y', 0xa1, 'v'), FANQ_ERR_BAD_RECORD);
    assert_int_equal(ATTRIBUTE(0x92, 0xa6, 'S', 't', 'r', 'i', 'n', 'g', 0xc4, 1, 'v'), FANQ_ERR_BAD_RECORD);
    assert_int_equal(ATTRIBUTE(0x92, 0xa7, 'S', 't', 'r', 'i', 'n', 'g', 's', 0xa1, 'v'),
                     FANQ_ERR_BAD_RECORD);
    assert_int_equal(ATTRIBUTE(0x92, 0xa3, 'S', 't', 'r', 0xa1, 'v'), FANQ_ERR_BAD_RECORD);
    assert_int_equal(ATTRIBUTE(0x92, 0xa0, 0xa1, 'v'), FANQ_ERR_BAD_RECORD);
    assert_int_equal(ATTRIBUTE(0x91, 0xa6, 'S', 't', 'r', 'i', 'n', 'g'), FANQ_ERR_BAD_RECORD);
    assert_int_equal(ATTRIBUTE(0x93, 0xa6, 'S', 't', 'r', 'i', 'n', 'g', 0xa0, 0xa0), FANQ_ERR_BAD_RECORD);
#undef ATTRIBUTE
    /* an empty name; an empty map is fine */
    assert_int_equal(
        CHECK(0xc6, 0, 0, 0, 14, 1, 0x81, 7, 0x81, 0xa0, 0x92, 0xa6, 'S', 't', 'r', 'i', 'n', 'g', 0xa0),
        FANQ_ERR_BAD_RECORD);
    assert_int_equal(CHECK(0xc6, 0, 0, 0, 4, 1, 0x81, 7, 0x80), 0);
}

static void too_many_attributes_are_refused(void **state)
{
    struct fanq_attribute attributes[FANQ_RECORD_ATTRIBUTES_MAX + 1];
    struct fanq_record_parts parts = {.attributes = attributes,
                                      .attribute_count = FANQ_RECORD_ATTRIBUTES_MAX};
    uint8_t buffer[4096];
    struct fanq_writer w = fanq_writer_over(buffer, sizeof(buffer));

    for (size_t i = 0; i < FANQ_RECORD_ATTRIBUTES_MAX + 1; i++)
        attributes[i] = (struct fanq_attribute){FANQ_BYTES("n"), FANQ_BYTES("String"), FANQ_BYTES("")};
    assert_int_equal(fanq_record_write(&w, &parts), 0);
    assert_int_equal(check(buffer, fanq_writer_length(&w)), 0);
    parts.attribute_count++;
    assert_int_equal(fanq_record_write(&w, &parts), FANQ_ERR_INVALID);
    assert_false(w.full);

    /* map 16 with 65 entries, by hand: behind the 3 header bytes of the map its count is at 10 */
    size_t length = fanq_writer_length(&w);
    assert_int_equal(buffer[8], 0xde);
    buffer[10] = FANQ_RECORD_ATTRIBUTES_MAX + 1;
    assert_int_equal(check(buffer, length), FANQ_ERR_BAD_RECORD);
}

static void parts_outside_the_limits_are_not_written(void **state)
{
    uint8_t buffer[2048];
    struct fanq_bytes longer = {buffer, FANQ_TRACE_BYTES_MAX + 1};
    struct fanq_writer w = fanq_writer_over(buffer, sizeof(buffer));
    struct fanq_attribute attribute = {FANQ_BYTES("n"), FANQ_BYTES("String"), FANQ_BYTES("")};
    struct fanq_record_parts parts = {.subject = longer};

    assert_int_equal(fanq_record_write(&w, &parts), FANQ_ERR_INVALID);
    parts = (struct fanq_record_parts){.trace = longer};
    assert_int_equal(fanq_record_write(&w, &parts), FANQ_ERR_INVALID);
    parts = (struct fanq_record_parts){.attributes = &attribute, .attribute_count = 1};
    attribute.name = (struct fanq_bytes){buffer, 0};
    assert_int_equal(fanq_record_write(&w, &parts), FANQ_ERR_INVALID);
    attribute.name = (struct fanq_bytes){buffer, FANQ_ATTRIBUTE_NAME_BYTES_MAX + 1};
    assert_int_equal(fanq_record_write(&w, &parts), FANQ_ERR_INVALID);
    attribute.name = FANQ_BYTES("n");
    attribute.type = (struct fanq_bytes){NULL, 0};
    assert_true(fanq_record_size(&parts) > 0); /* may be asked before the parts are judged */
    assert_int_equal(fanq_record_write(&w, &parts), FANQ_ERR_INVALID);
    assert_int_equal(fanq_writer_length(&w), 0);
}

static void rows_are_counted_and_measured(void **state)
{
    struct fanq_records samples = sample_records();
    const uint8_t *data = guard_put(&guard, samples.data, samples.length);
    uint32_t oversize_count = 0;

    struct fanq_cursor c = fanq_cursor_over(data, samples.length);
    struct fanq_records records = fanq_read_records(&c, samples.count, 600, &oversize_count);
    assert_int_equal(c.err, 0);
    assert_int_equal(records.count, samples.count);
    assert_int_equal(records.length, samples.length);
    assert_ptr_equal(c.at, data + samples.length);
    assert_int_equal(oversize_count, 2); /* the body of 700 bytes, and the record of all attributes */

    c = fanq_cursor_over(data, samples.length);
    records = fanq_read_record_bounds(&c, samples.count);
    assert_int_equal(records.length, samples.length);
    c = fanq_cursor_over(data, samples.length);
    records = fanq_read_records(&c, samples.count + 1, 700, &oversize_count);
    assert_int_equal(c.err, FANQ_ERR_BAD_RECORD);
    c = fanq_cursor_over(data, samples.length);
    records = fanq_read_record_bounds(&c, samples.count + 1);
    assert_int_equal(c.err, FANQ_ERR_BAD_RECORD);
    assert_int_equal(records.count, 0);
}

/* Against the naive way: copy those that fit, one by one. */
static void sifting_keeps_what_fits_in_order(void **state)
{
    for (uint32_t seed = 1; seed <= 200; seed++) {
        uint8_t buffer[4096], expected[4096];
        uint32_t places[64], count = seed % 40, expected_refused = 0;
        struct fanq_writer w = fanq_writer_over(buffer, sizeof(buffer));
        struct fanq_writer e = fanq_writer_over(expected, sizeof(expected));
        uint32_t random = seed;

        for (uint32_t i = 0; i < count; i++) {
            uint8_t body[64];
            random = random * 1664525 + 1013904223;
            size_t length = random >> 26;
            memset(body, (int)i, sizeof(body));
            struct fanq_record_parts parts = {.body = {body, length}};
            assert_int_equal(fanq_record_write(&w, &parts), 0);
            if (length + 1 > 32)
                places[expected_refused++] = i;
            else
                assert_int_equal(fanq_record_write(&e, &parts), 0);
        }
        uint32_t refused[64];
        struct fanq_records records = {buffer, fanq_writer_length(&w), count};
        assert_int_equal(fanq_records_sift(buffer, &records, 32, refused, 5), expected_refused);
        assert_int_equal(records.count, count - expected_refused);
        assert_int_equal(records.length, fanq_writer_length(&e));
        assert_memory_equal(buffer, expected, records.length);
        for (uint32_t i = 0; i < expected_refused && i < 5; i++)
            assert_int_equal(refused[i], places[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_records_cost_six_bytes),
        cmocka_unit_test(records_are_read_as_they_were_written),
        cmocka_unit_test(properties_that_run_out_are_refused),
        cmocka_unit_test(other_forms_are_no_records),
        cmocka_unit_test(properties_obey_their_rules),
        cmocka_unit_test(strange_properties_are_refused_at_the_door_only),
        cmocka_unit_test(attributes_obey_their_rules),
        cmocka_unit_test(too_many_attributes_are_refused),
        cmocka_unit_test(parts_outside_the_limits_are_not_written),
        cmocka_unit_test(rows_are_counted_and_measured),
        cmocka_unit_test(sifting_keeps_what_fits_in_order),
    };

    return cmocka_run_group_tests_name("record", tests, setup, teardown);
}
