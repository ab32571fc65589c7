/* A frame: a 4-byte big-endian length, then that many bytes, which are one msgpack array [op, request_id,
 * ...].
 *
 * The length is checked against a limit before anything is done with it. Pure; any thread. */
#pragma once

#include "mp.h"

enum {
    FANQ_FRAME_HEADER_BYTES = 4,
    FANQ_FRAME_PAYLOAD_BYTES_MIN = 3, /* [op, request_id], both small */
    FANQ_HELLO_BYTES_MAX = 4096,      /* the first frame of a connection */
    FANQ_FRAME_BYTES_MAX_DEFAULT = 8 * 1024 * 1024,
    FANQ_DELIVERY_BYTES_MAX = 256 * 1024,        /* records in one delivery, unless one record is larger */
    FANQ_MESSAGE_BYTES_MAX_DEFAULT = 1024 * 1024 /* one record's payload; SQS allows 1 MiB a message */
};

/* Looks for a whole frame at the start of data.
 * 1: *ret_payload borrows the bytes behind the header. 0: more bytes are needed, *ret_need in all for this
 * frame (at least the header's four). FANQ_ERR_FRAME_TOO_BIG: longer than payload_bytes_max.
 * FANQ_ERR_PROTOCOL: shorter than the smallest array it has to hold. */
int fanq_frame_next(const uint8_t *data, size_t length, size_t payload_bytes_max,
                    struct fanq_bytes *ret_payload, size_t *ret_need);

/* Starts a frame in w: leaves room for the length. Gives the place for fanq_frame_end(). */
size_t fanq_frame_begin(struct fanq_writer *w);

/* Ends the frame begun at `place`; bytes that follow outside of w (records sent by writev) count in
 * more_bytes. If w is full, what was written of the frame is taken back, and w holds whole frames only. */
void fanq_frame_end(struct fanq_writer *w, size_t place, size_t more_bytes);
