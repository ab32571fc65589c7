/* Deliveries, the hot half of the wire: the broker writes them around records that it does not copy, a
 * consumer reads them slice by slice without memory of its own. reply.c has the plain way for both. */
#include "slice.h"

void fanq_deliver_begin(struct fanq_writer *w, uint64_t id, const struct fanq_delivery *delivery)
{
    size_t place = fanq_frame_begin(w);
    size_t slices_bytes = 0;

    for (uint32_t i = 0; i < delivery->slice_count; i++)
        slices_bytes += fanq_slice_bytes(&delivery->slices[i]);
    fanq_write_array(w, 2 + DELIVER_FIELDS);
    fanq_write_uint(w, FANQ_REPLY_DELIVER);
    fanq_write_uint(w, id);
    fanq_write_uint(w, delivery->queue_id);
    fanq_write_uint(w, delivery->batch);
    fanq_write_uint(w, delivery->dropped);
    fanq_write_array(w, delivery->slice_count);
    fanq_frame_end(w, place, slices_bytes);
}

void fanq_deliver_slice(struct fanq_writer *w, const struct fanq_slice *slice)
{
    fanq_write_slice_fields(w, slice, SLICE_FIELDS);
}

int fanq_delivery_open(struct fanq_bytes payload, struct fanq_delivery_reader *ret_reader)
{
    struct fanq_delivery_reader reader = {.at = fanq_cursor_over(payload.data, payload.length)};
    uint32_t element_count = fanq_read_array(&reader.at);

    if (element_count < 2 + DELIVER_FIELDS || fanq_read_uint(&reader.at, INT32_MAX) != FANQ_REPLY_DELIVER)
        return FANQ_ERR_PROTOCOL;
    reader.id = fanq_read_number(&reader.at);
    reader.queue_id = fanq_read_uint(&reader.at, UINT64_MAX);
    reader.batch = fanq_read_uint(&reader.at, UINT64_MAX);
    reader.dropped = fanq_read_number(&reader.at);
    reader.slices_left = fanq_read_array(&reader.at);
    if (reader.at.err != 0)
        return FANQ_ERR_PROTOCOL;
    *ret_reader = reader;
    return 0;
}

int fanq_delivery_next(struct fanq_delivery_reader *reader, struct fanq_slice *ret_slice)
{
    struct fanq_slice slice;

    if (reader->at.err != 0)
        return FANQ_ERR_PROTOCOL;
    if (reader->slices_left == 0)
        return 0;
    fanq_read_slice(&reader->at, &slice);
    if (reader->at.err != 0)
        return FANQ_ERR_PROTOCOL;
    reader->slices_left--;
    *ret_slice = slice;
    return 1;
}
