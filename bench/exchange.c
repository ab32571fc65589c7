#include "exchange.h"

#include <string.h>
#include <unistd.h>

#include "proto/reply.h"

int exchange_prepare_send(const char *queue, size_t size, struct bench_error *error,
                          struct exchange_frame *ret_frame)
{
    uint8_t body[EXCHANGE_FRAME_BYTES_MAX], record[EXCHANGE_FRAME_BYTES_MAX];
    struct fanq_writer r = fanq_writer_over(record, sizeof record);
    struct fanq_writer w = fanq_writer_over(ret_frame->data, sizeof ret_frame->data);
    struct fanq_record_parts parts = {.body = {body, size}};
    struct fanq_request request = {
        .op = FANQ_OP_SEND, .id = 1 << 20, .publish.target = {(const uint8_t *)queue, strlen(queue)}};
    int err = FANQ_ERR_INVALID;

    if (size <= sizeof body) {
        memset(body, 'w', size);
        err = fanq_record_write(&r, &parts);
    }
    request.publish.records = (struct fanq_records){record, (uint32_t)fanq_writer_length(&r), 1};
    fanq_request_encode(&w, &request);
    ret_frame->bytes = fanq_writer_length(&w);
    if (err != 0 || r.full || w.full)
        return bench_fail(error, FANQ_ERR_INVALID, "a message of %zu bytes is too long here", size);
    return 0;
}

int exchange_read(int fd, struct bench_error *error, struct exchange_frame *ret_frame)
{
    struct fanq_bytes payload;
    size_t have = 0, need = FANQ_FRAME_HEADER_BYTES;
    int found = 0;

    while (found == 0) {
        ssize_t got = read(fd, ret_frame->data + have, sizeof ret_frame->data - have);

        if (got <= 0)
            return bench_fail(error, FANQ_ERR_NOT_CONNECTED, "the broker closed a connection");
        have += (size_t)got;
        found = fanq_frame_next(ret_frame->data, have, sizeof ret_frame->data - FANQ_FRAME_HEADER_BYTES,
                                &payload, &need);
    }
    if (found < 0 || payload.length + FANQ_FRAME_HEADER_BYTES != have)
        return bench_fail(error, FANQ_ERR_PROTOCOL, "something else than one frame came");
    ret_frame->bytes = have;
    return 0;
}

int exchange_check_taken(const struct exchange_frame *answer, struct bench_error *error)
{
    struct fanq_bytes payload = {answer->data + FANQ_FRAME_HEADER_BYTES,
                                 answer->bytes - FANQ_FRAME_HEADER_BYTES};
    struct fanq_reply reply;
    uint8_t scratch[1024];
    int err = fanq_reply_decode(payload, scratch, sizeof scratch, &reply);

    if (err == 0 && reply.op == FANQ_REPLY_ERROR)
        err = reply.error.err;
    else if (err == 0 && reply.op != FANQ_REPLY_OK && reply.op != FANQ_REPLY_OK_RANGE)
        err = FANQ_ERR_PROTOCOL;
    return err == 0 ? 0 : bench_fail(error, err, "the send failed: %s", fanq_strerror(err));
}
