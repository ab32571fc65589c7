#include "inbox.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "proto/fanq_error.h"

/* Deliveries are as long as the broker likes, but not longer than the longest frame it takes. */
enum { FRAME_BYTES_MAX = FANQ_FRAME_BYTES_MAX_DEFAULT };

void inbox_init(struct inbox *inbox, int fd)
{
    *inbox = (struct inbox){.fd = fd};
}

void inbox_close(struct inbox *inbox)
{
    free(inbox->held);
    *inbox = (struct inbox){.fd = -1};
}

static int held_reserve(struct inbox *inbox, size_t bytes)
{
    uint8_t *grown;

    if (bytes <= inbox->held_capacity)
        return 0;
    bytes = bytes < INBOX_SHARED_BYTES ? INBOX_SHARED_BYTES : bytes;
    grown = realloc(inbox->held, bytes);
    if (grown == NULL)
        return FANQ_ERR_NOMEM;
    inbox->held = grown;
    inbox->held_capacity = bytes;
    return 0;
}

/* Moves to the held beginning what it lacks. *ret_whole: the frame is whole, in *ret_payload. */
static int held_fill(struct inbox *inbox, const uint8_t **at, const uint8_t *end, bool *ret_whole,
                     struct fanq_bytes *ret_payload)
{
    for (;;) {
        int found =
            fanq_frame_next(inbox->held, inbox->held_bytes, FRAME_BYTES_MAX, ret_payload, &inbox->held_need);
        size_t lacking, moved;
        int err;

        if (found < 0)
            return found;
        *ret_whole = found == 1;
        err = found == 1 ? 0 : held_reserve(inbox, inbox->held_need);
        if (found == 1 || err != 0 || *at == end)
            return err;
        lacking = inbox->held_need - inbox->held_bytes;
        moved = lacking < (size_t)(end - *at) ? lacking : (size_t)(end - *at);
        memcpy(inbox->held + inbox->held_bytes, *at, moved);
        inbox->held_bytes += moved;
        *at += moved;
    }
}

/* Hands over the held frame if it has become whole. */
static int held_hand_over(struct inbox *inbox, const uint8_t **at, const uint8_t *end,
                          inbox_frame_function *frame, void *context)
{
    struct fanq_bytes payload;
    bool whole = false;
    int err = held_fill(inbox, at, end, &whole, &payload);

    if (err != 0 || !whole)
        return err;
    inbox->held_bytes = 0;
    inbox->held_need = 0;
    return frame(context, payload);
}

/* Hands over the whole frames in [at, end) and keeps what is left. */
static int hand_over(struct inbox *inbox, const uint8_t *at, const uint8_t *end, inbox_frame_function *frame,
                     void *context)
{
    while (at < end) {
        struct fanq_bytes payload;
        size_t need;
        int found = fanq_frame_next(at, (size_t)(end - at), FRAME_BYTES_MAX, &payload, &need);
        int err = found < 0 ? found : 0;

        if (found == 0) {
            bool whole;

            err = held_reserve(inbox, need);
            return err != 0 ? err : held_fill(inbox, &at, end, &whole, &payload);
        }
        if (err == 0)
            err = frame(context, payload);
        if (err != 0)
            return err;
        at = payload.data + payload.length;
    }
    return 0;
}

int inbox_read(struct inbox *inbox, uint8_t *shared, inbox_frame_function *frame, void *context)
{
    size_t lacking = inbox->held_bytes > 0 ? inbox->held_need - inbox->held_bytes : 0;
    struct iovec parts[2] = {{lacking > 0 ? inbox->held + inbox->held_bytes : NULL, lacking},
                             {shared, INBOX_SHARED_BYTES}};
    ssize_t got = lacking > 0 ? readv(inbox->fd, parts, 2) : read(inbox->fd, shared, INBOX_SHARED_BYTES);
    const uint8_t *at = shared, *end = shared;
    int err = 0;

    if (got < 0)
        return errno == EAGAIN || errno == EINTR ? 0
               : errno == ECONNRESET             ? FANQ_ERR_NOT_CONNECTED
                                                 : FANQ_ERR_IO;
    if (got == 0)
        return FANQ_ERR_NOT_CONNECTED;
    inbox->bytes += (uint64_t)got;
    if ((size_t)got > lacking)
        end = shared + ((size_t)got - lacking);
    if (lacking > 0) {
        inbox->held_bytes += (size_t)got < lacking ? (size_t)got : lacking;
        err = held_hand_over(inbox, &at, end, frame, context);
    }
    if (err == 0 && inbox->held_bytes == 0)
        err = hand_over(inbox, at, end, frame, context);
    return err;
}
