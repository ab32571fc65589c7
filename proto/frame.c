/* Cutting frames out of a byte stream, and wrapping them. */
#include "frame.h"

#include "bytes.h"
#include "fanq_error.h"

int fanq_frame_next(const uint8_t *data, size_t length, size_t payload_bytes_max,
                    struct fanq_bytes *ret_payload, size_t *ret_need)
{
    if (length < FANQ_FRAME_HEADER_BYTES) {
        *ret_need = FANQ_FRAME_HEADER_BYTES;
        return 0;
    }

    size_t payload_length = fanq_load_32(data);
    if (payload_length > payload_bytes_max)
        return FANQ_ERR_FRAME_TOO_BIG;
    if (payload_length < FANQ_FRAME_PAYLOAD_BYTES_MIN)
        return FANQ_ERR_PROTOCOL;
    if (length - FANQ_FRAME_HEADER_BYTES < payload_length) {
        *ret_need = FANQ_FRAME_HEADER_BYTES + payload_length;
        return 0;
    }
    *ret_payload = (struct fanq_bytes){data + FANQ_FRAME_HEADER_BYTES, payload_length};
    return 1;
}

size_t fanq_frame_begin(struct fanq_writer *w)
{
    static const uint8_t room[FANQ_FRAME_HEADER_BYTES];
    size_t place = fanq_writer_length(w);

    fanq_write_raw(w, room, sizeof(room));
    return place;
}

void fanq_frame_end(struct fanq_writer *w, size_t place, size_t more_bytes)
{
    uint8_t *header = w->start + place;

    if (!w->full) {
        size_t written = (size_t)(w->at - header) - FANQ_FRAME_HEADER_BYTES;

        if (written > UINT32_MAX || more_bytes > UINT32_MAX - written) /* no frame can say this */
            w->full = true;
        else
            fanq_store_32(header, (uint32_t)(written + more_bytes));
    }
    if (w->full)
        w->at = header;
}
