/* Records: what the broker accepts can be taken apart, and written again to say the same. */
#include "fuzz.h"

#include <string.h>

#include "proto/fanq_error.h"
#include "tests/lib/wire_samples.h"

enum { INPUT_BYTES_MAX = 1 << 16, PAYLOAD_BYTES_MAX = 100 };

/* Steps through both lists of attributes, which must hold the same. */
static void check_attributes(const struct fanq_record *a, const struct fanq_record *b)
{
    struct fanq_bytes a_rest = a->attributes, b_rest = b->attributes;
    struct fanq_attribute a_next, b_next;

    while (fanq_attribute_next(&a_rest, &a_next)) {
        FUZZ_CHECK(fanq_attribute_next(&b_rest, &b_next));
        FUZZ_CHECK(bytes_equal(a_next.name, b_next.name) && bytes_equal(a_next.type, b_next.type) &&
                   bytes_equal(a_next.value, b_next.value));
    }
    FUZZ_CHECK(a_rest.length == 0 || a->attributes.length == 1 || a->attributes.length == 3 ||
               a->attributes.length == 5); /* read to the end, or an empty map */
    FUZZ_CHECK(!fanq_attribute_next(&b_rest, &b_next));
}

static void check_written_again(const struct fanq_record *record)
{
    static uint8_t buffer[INPUT_BYTES_MAX];
    struct fanq_attribute attributes[FANQ_RECORD_ATTRIBUTES_MAX];
    struct fanq_record_parts parts = {record->body, record->subject, record->trace, attributes, 0};
    struct fanq_writer w = fanq_writer_over(buffer, sizeof(buffer));
    struct fanq_bytes rest = record->attributes;
    struct fanq_record again;

    while (fanq_attribute_next(&rest, &attributes[parts.attribute_count])) {
        parts.attribute_count++;
        if (parts.attribute_count == FANQ_RECORD_ATTRIBUTES_MAX)
            break;
    }
    FUZZ_CHECK(fanq_record_write(&w, &parts) == 0 && !w.full);
    FUZZ_CHECK(fanq_writer_length(&w) == fanq_record_size(&parts));
    FUZZ_CHECK(fanq_writer_length(&w) <= record->length);
    FUZZ_CHECK(fanq_record_parse(buffer, fanq_writer_length(&w), &again) == 0);
    FUZZ_CHECK(bytes_equal(record->body, again.body) && bytes_equal(record->subject, again.subject) &&
               bytes_equal(record->trace, again.trace));
    check_attributes(record, &again);
}

/* A sifted row is again a good row, with nothing in it that is too long. */
static void check_sifted(const struct fanq_records *records, uint32_t oversize_count)
{
    static uint8_t buffer[INPUT_BYTES_MAX];
    struct fanq_records sifted = {buffer, records->length, records->count};
    uint32_t refused[8], again_oversize;

    memcpy(buffer, records->data, records->length);
    FUZZ_CHECK(fanq_records_sift(buffer, &sifted, PAYLOAD_BYTES_MAX, refused, 8) == oversize_count);
    FUZZ_CHECK(sifted.count == records->count - oversize_count);
    struct fanq_cursor c = fanq_cursor_over(buffer, sifted.length);
    (void)fanq_read_records(&c, sifted.count, PAYLOAD_BYTES_MAX, &again_oversize);
    FUZZ_CHECK(c.err == 0 && fanq_cursor_left(&c) == 0 && again_oversize == 0);
}

/* The first byte is how many records to read from the rest. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fanq_record record;
    uint32_t oversize_count = 0;

    if (size == 0 || size > INPUT_BYTES_MAX)
        return 0;
    (void)fanq_record_parse(data + 1, size - 1, &record); /* alone it need not be acceptable to the broker */

    struct fanq_cursor c = fanq_cursor_over(data + 1, size - 1);
    struct fanq_records records = fanq_read_records(&c, data[0], PAYLOAD_BYTES_MAX, &oversize_count);
    if (c.err != 0) {
        FUZZ_CHECK(c.err == FANQ_ERR_BAD_RECORD);
        return 0;
    }
    const uint8_t *at = records.data;
    for (uint32_t i = 0; i < records.count; i++) {
        FUZZ_CHECK(fanq_record_parse(at, (size_t)(c.at - at), &record) == 0);
        check_written_again(&record);
        at += record.length;
    }
    FUZZ_CHECK(at == c.at);
    check_sifted(&records, oversize_count);
    return 0;
}

static void add_record(const struct fanq_record_parts *parts, void *context)
{
    static uint8_t buffer[INPUT_BYTES_MAX] = {1};
    struct fanq_writer w = fanq_writer_over(buffer + 1, sizeof(buffer) - 1);

    FUZZ_CHECK(fanq_record_write(&w, parts) == 0);
    (*(fuzz_seed_add *)context)(buffer, 1 + fanq_writer_length(&w));
}

void fuzz_seeds(fuzz_seed_add add)
{
    struct fanq_records records = sample_records();
    uint8_t row[8192];

    each_record(add_record, &add);
    row[0] = (uint8_t)records.count;
    memcpy(row + 1, records.data, records.length);
    add(row, 1 + records.length);
}
