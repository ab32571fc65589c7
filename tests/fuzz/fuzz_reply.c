/* Replies and the delivery reader: what decodes re-encodes to something that decodes equal; the two ways to
 * read a delivery agree; scratch of eight times the payload always suffices. */
#include "fuzz.h"

#include "tests/lib/wire_samples.h"

enum { INPUT_BYTES_MAX = 1 << 16, SCRATCH_BYTES = 8 * INPUT_BYTES_MAX };

/* What a consumer does with a delivery: take every record apart. */
static void read_slice(const struct fanq_slice *slice)
{
    const uint8_t *at = slice->records.data;
    const uint8_t *end = at + slice->records.length;

    for (uint32_t i = 0; i < slice->records.count; i++) {
        struct fanq_record record;
        struct fanq_attribute attribute;

        FUZZ_CHECK(at + fanq_record_length(at) <= end);
        if (fanq_record_parse(at, (size_t)(end - at), &record) == 0) {
            FUZZ_CHECK(record.length == fanq_record_length(at));
            while (fanq_attribute_next(&record.attributes, &attribute))
                FUZZ_CHECK(attribute.name.length > 0);
        }
        at += fanq_record_length(at);
    }
    FUZZ_CHECK(at == end);
}

static void check_reader(struct fanq_bytes payload, const struct fanq_delivery *delivery)
{
    struct fanq_delivery_reader reader;
    struct fanq_slice slice;
    uint32_t count = 0;
    int more;

    if (fanq_delivery_open(payload, &reader) != 0) {
        FUZZ_CHECK(delivery == NULL);
        return;
    }
    while ((more = fanq_delivery_next(&reader, &slice)) == 1) {
        read_slice(&slice);
        if (delivery != NULL)
            FUZZ_CHECK(count < delivery->slice_count && slices_equal(&slice, &delivery->slices[count]));
        count++;
    }
    if (delivery != NULL)
        FUZZ_CHECK(more == 0 && count == delivery->slice_count && reader.queue_id == delivery->queue_id &&
                   reader.batch == delivery->batch && reader.dropped == delivery->dropped);
}

static void check_payload(struct fanq_bytes payload)
{
    static uint8_t buffer[FANQ_FRAME_HEADER_BYTES + INPUT_BYTES_MAX], scratch[2][SCRATCH_BYTES];
    struct fanq_writer w = fanq_writer_over(buffer, sizeof(buffer));
    struct fanq_reply reply, again;
    struct fanq_bytes encoded;
    size_t need;

    int err = fanq_reply_decode(payload, scratch[0], 8 * payload.length, &reply);
    if (err != 0) {
        FUZZ_CHECK(err == FANQ_ERR_PROTOCOL);
        check_reader(payload, NULL);
        return;
    }
    check_reader(payload, reply.op == FANQ_REPLY_DELIVER ? &reply.deliver : NULL);
    fanq_reply_encode(&w, &reply);
    FUZZ_CHECK(!w.full);
    FUZZ_CHECK(fanq_frame_next(buffer, fanq_writer_length(&w), INPUT_BYTES_MAX, &encoded, &need) == 1);
    FUZZ_CHECK(encoded.length <= payload.length);
    FUZZ_CHECK(fanq_reply_decode(encoded, scratch[1], SCRATCH_BYTES, &again) == 0);
    FUZZ_CHECK(replies_equal(&reply, &again));
}

/* The input is one payload behind four bytes that do not matter. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > FANQ_FRAME_HEADER_BYTES && size <= INPUT_BYTES_MAX)
        check_payload((struct fanq_bytes){data + FANQ_FRAME_HEADER_BYTES, size - FANQ_FRAME_HEADER_BYTES});
    return 0;
}

static void add_reply(const struct fanq_reply *reply, void *context)
{
    static uint8_t buffer[INPUT_BYTES_MAX];
    struct fanq_writer w = fanq_writer_over(buffer, sizeof(buffer));

    fanq_reply_encode(&w, reply);
    (*(fuzz_seed_add *)context)(buffer, fanq_writer_length(&w));
}

void fuzz_seeds(fuzz_seed_add add)
{
    each_reply(add_reply, &add);
}
