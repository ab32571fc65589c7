#include "train.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "payload.h"

/* Where a frame's request id stands: behind the length, the array header and the op, and
 * its own first byte. */
enum { ID_OFFSET = FANQ_FRAME_HEADER_BYTES + 1 + 1 + 1, HEADER_BYTES_MAX = 1024 };

#define ID_IN_NINE_BYTES UINT64_MAX

/* Writes the records, each with a pattern of its own. */
static int write_records(struct fanq_writer *w, uint32_t batch, size_t size)
{
    uint8_t *body = malloc(size + 1); /* so that no size asks for nothing */
    int err = body != NULL ? 0 : FANQ_ERR_NOMEM;

    for (uint32_t i = 0; i < batch && err == 0; i++) {
        struct fanq_record_parts parts = {.body = {body, size}};

        payload_fill(body, size, i + 1);
        err = fanq_record_write(w, &parts);
    }
    free(body);
    return err;
}

/* Copies the first frame, of which the header is written, to all the places of the train. */
static int train_fill(struct train *train, const uint8_t *header, size_t header_bytes, size_t train_bytes)
{
    struct fanq_writer w;
    int err;

    train->records_offset = header_bytes;
    train->frame_bytes = header_bytes + train->batch * train_record_bytes(train->size);
    train->frame_count = (uint32_t)(train_bytes / train->frame_bytes);
    if (train->frame_count == 0)
        train->frame_count = 1;
    train->data = malloc(train->frame_count * train->frame_bytes);
    if (train->data == NULL)
        return FANQ_ERR_NOMEM;
    w = fanq_writer_over(train->data, train->frame_bytes);
    fanq_write_raw(&w, header, header_bytes);
    err = write_records(&w, train->batch, train->size);
    if (err != 0) {
        train_close(train);
        return err;
    }
    assert(!w.full && fanq_writer_length(&w) == train->frame_bytes);
    assert(train->data[ID_OFFSET - 1] == 0xcf); /* msgpack: an integer of eight bytes follows */
    for (uint32_t i = 1; i < train->frame_count; i++)
        memcpy(train->data + i * train->frame_bytes, train->data, train->frame_bytes);
    return 0;
}

int train_init(struct train *train, enum fanq_op op, const char *target, uint32_t batch, size_t size,
               size_t train_bytes)
{
    uint8_t header[HEADER_BYTES_MAX];
    struct fanq_writer w = fanq_writer_over(header, sizeof header);
    struct fanq_bytes name = {(const uint8_t *)target, strlen(target)};

    *train = (struct train){.batch = batch, .size = size};
    fanq_publish_begin(&w, op, ID_IN_NINE_BYTES, name, 0, batch, batch * train_record_bytes(size));
    return w.full ? FANQ_ERR_INVALID : train_fill(train, header, fanq_writer_length(&w), train_bytes);
}

int train_init_deliver(struct train *train, uint32_t batch, size_t size, size_t train_bytes)
{
    uint8_t header[HEADER_BYTES_MAX];
    struct fanq_writer w = fanq_writer_over(header, sizeof header);
    struct fanq_slice slice = {.stream = 1000,
                               .epoch = 1,
                               .first_seq = 1u << 30, /* five bytes, as after some millions of messages */
                               .time_ms = 1800000000000,
                               .deliveries = 1,
                               .records = {NULL, batch * train_record_bytes(size), batch}};
    struct fanq_delivery delivery = {.queue_id = 1000, .slices = &slice, .slice_count = 1};

    *train = (struct train){.batch = batch, .size = size};
    fanq_deliver_begin(&w, ID_IN_NINE_BYTES, &delivery);
    fanq_deliver_slice(&w, &slice);
    return w.full ? FANQ_ERR_INVALID : train_fill(train, header, fanq_writer_length(&w), train_bytes);
}

void train_close(struct train *train)
{
    free(train->data);
    train->data = NULL;
}

void train_stamp(struct train *train, uint32_t frame, uint64_t request_id, uint32_t publisher,
                 uint64_t sequence)
{
    uint8_t *start = train->data + frame * train->frame_bytes;
    uint8_t *body = start + train->records_offset + FANQ_RECORD_PLAIN_BYTES;
    uint64_t id = __builtin_bswap64(request_id);
    uint64_t stamp = payload_stamp_of(publisher, sequence);

    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the id is big-endian on the wire");
    memcpy(start + ID_OFFSET, &id, sizeof id);
    for (uint32_t i = 0; i < train->batch; i++) {
        payload_stamp(body, train->size, stamp + i);
        body += train_record_bytes(train->size);
    }
}
