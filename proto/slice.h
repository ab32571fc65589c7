/* Slices on the wire: what DELIVER and PEEKED have in common. Private to proto/. Pure; any thread.
 *
 * Inline, because the broker writes and a consumer reads millions of them a second. */
#pragma once

#include "bytes.h"
#include "reply.h"

enum {
    DELIVER_FIELDS = 4, /* behind [op, request_id */
    SLICE_FIELDS = 7
};

/* Numbers stay below 2^63, as in requests. */
static inline uint64_t fanq_read_number(struct fanq_cursor *c)
{
    return fanq_read_uint(c, INT64_MAX);
}

/* The fields that a slice in a DELIVER and one in PEEKED have in common. */
static inline void fanq_read_slice_fields(struct fanq_cursor *c, struct fanq_slice *slice)
{
    slice->stream = fanq_read_number(c);
    slice->epoch = fanq_read_uint(c, UINT64_MAX);
    slice->first_seq = fanq_read_number(c);
    slice->time_ms = fanq_read_number(c);
    slice->deliveries = (uint32_t)fanq_read_uint(c, UINT32_MAX);
    slice->first_receive_ms = fanq_read_number(c);

    uint32_t count = fanq_read_array(c);
    if (count == 0)
        fanq_cursor_fail(c, FANQ_ERR_PROTOCOL);
    slice->records = fanq_read_record_bounds(c, count);
}

static inline void fanq_read_slice(struct fanq_cursor *c, struct fanq_slice *slice)
{
    uint32_t field_count = fanq_read_array(c);

    if (field_count < SLICE_FIELDS)
        fanq_cursor_fail(c, FANQ_ERR_PROTOCOL);
    fanq_read_slice_fields(c, slice);
    if (field_count > SLICE_FIELDS)
        fanq_read_skip_many(c, field_count - SLICE_FIELDS);
}

/* A slice's fields as they stand on the wire, up to where its records begin. */
static inline void fanq_write_slice_fields(struct fanq_writer *w, const struct fanq_slice *slice,
                                           uint32_t field_count)
{
    fanq_write_array(w, field_count);
    fanq_write_uint(w, slice->stream);
    fanq_write_uint(w, slice->epoch);
    fanq_write_uint(w, slice->first_seq);
    fanq_write_uint(w, slice->time_ms);
    fanq_write_uint(w, slice->deliveries);
    fanq_write_uint(w, slice->first_receive_ms);
    fanq_write_array(w, slice->records.count);
}

/* Exactly what fanq_write_slice_fields() writes, and the records behind it. */
static inline size_t fanq_slice_bytes(const struct fanq_slice *slice)
{
    return 1 + fanq_uint_bytes(slice->stream) + fanq_uint_bytes(slice->epoch) +
           fanq_uint_bytes(slice->first_seq) + fanq_uint_bytes(slice->time_ms) +
           fanq_uint_bytes(slice->deliveries) + fanq_uint_bytes(slice->first_receive_ms) +
           fanq_array_header_bytes(slice->records.count) + slice->records.length;
}
