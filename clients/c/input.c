/* The input: bytes are read into counted chunks, and frames are handled where they lie.
 *
 * Batches look into a chunk and count it; as long as one does, the bytes it may look at stay where they are,
 * and what is read next goes behind them or into another chunk. The length in front of a frame is checked
 * before room is made. */
#include "client.h"

#include <errno.h>
#include <string.h>

enum { ROOM_BYTES_MIN = 16 * 1024 /* a shorter read is not worth the call */ };

static struct chunk *chunk_new(struct fanq *client, size_t size)
{
    struct chunk *chunk = client->input.spare;

    if (chunk != NULL && chunk->size >= size) {
        client->input.spare = NULL;
    } else {
        chunk = memory_resize(&client->memory, NULL, sizeof(*chunk) + size);
        if (chunk == NULL)
            return NULL;
        chunk->size = size;
    }
    chunk->references = 1;
    return chunk;
}

void fanq_chunk_unref(struct fanq *client, const struct memory *memory, struct chunk *chunk)
{
    if (chunk == NULL || --chunk->references > 0)
        return;
    if (client != NULL && client->input.spare == NULL && chunk->size == CHUNK_BYTES)
        client->input.spare = chunk;
    else
        memory_free(memory, chunk);
}

void fanq_input_reset(struct fanq *client)
{
    fanq_chunk_unref(client, &client->memory, client->input.chunk);
    client->input.chunk = NULL;
    client->input.start = client->input.end = 0;
}

/* Carries the frame that has begun over to a chunk that can hold it. */
static int input_renew(struct fanq *client, size_t need)
{
    struct input *input = &client->input;
    size_t left = input->end - input->start;
    struct chunk *chunk = chunk_new(client, need > CHUNK_BYTES ? need : CHUNK_BYTES);

    if (chunk == NULL)
        return FANQ_ERR_NOMEM;
    if (left > 0)
        memcpy(chunk->data, input->chunk->data + input->start, left);
    fanq_chunk_unref(client, &client->memory, input->chunk);
    *input = (struct input){chunk, input->spare, 0, left};
    return 0;
}

/* Makes room behind what is there, for a frame of `need` bytes in all. */
static int input_make_room(struct fanq *client, size_t need)
{
    struct input *input = &client->input;
    size_t left = input->end - input->start;
    bool alone = input->chunk != NULL && input->chunk->references == 1;

    if (alone && left == 0) {
        input->start = input->end = 0;
        if (input->chunk->size > CHUNK_BYTES && need <= CHUNK_BYTES)
            fanq_input_reset(client); /* it was for one long frame */
    }
    if (input->chunk == NULL || need > input->chunk->size)
        return input_renew(client, need);
    if (input->start + need <= input->chunk->size && input->chunk->size - input->end >= ROOM_BYTES_MIN)
        return 0;
    if (input->start == 0)
        return 0; /* a frame that just fits */
    if (!alone)
        return input_renew(client, need);
    memmove(input->chunk->data, input->chunk->data + input->start, left);
    input->start = 0;
    input->end = left;
    return 0;
}

/* Handles the whole frames. 0: *ret_need bytes make the next one whole. Else what ends the connection. */
static int input_parse(struct fanq *client, size_t *ret_need)
{
    struct input *input = &client->input;
    struct fanq_bytes payload;
    int found;

    *ret_need = FANQ_FRAME_HEADER_BYTES;
    while (!client->freed &&
           (found = fanq_frame_next(input->chunk->data + input->start, input->end - input->start,
                                    client->options.frame_bytes_max, &payload, ret_need)) != 0) {
        if (found < 0)
            return found;
        input->start += FANQ_FRAME_HEADER_BYTES + payload.length;
        int err = fanq_answer_frame(client, payload);
        if (err != 0)
            return err;
    }
    return 0;
}

/* Bytes read, 0 when there are none now, FANQ_ERR_UNKNOWN at the end of the stream, FANQ_ERR_IO. */
static ssize_t read_some(struct fanq *client, size_t room)
{
    struct input *input = &client->input;
    ssize_t got;

    do {
        got = recv(client->socket, input->chunk->data + input->end, room, MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    if (got > 0)
        return got;
    if (got == 0)
        return FANQ_ERR_UNKNOWN;
    return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : FANQ_ERR_IO;
}

int fanq_input_read(struct fanq *client)
{
    struct input *input = &client->input;
    size_t need = FANQ_FRAME_HEADER_BYTES;

    if (input->end > input->start) {
        int err = input_parse(client, &need); /* only to learn what the frame begun needs */
        if (err != 0 || client->freed)
            return err;
    }
    for (int i = 0; i < READS_PER_ROUND_MAX; i++) {
        int err = input_make_room(client, need);
        if (err != 0)
            return err;
        size_t room = input->chunk->size - input->end;
        ssize_t got = read_some(client, room);
        if (got <= 0)
            return (int)got;
        input->end += (size_t)got;
        client->received_at_ms = client->now_ms;
        err = input_parse(client, &need);
        if (err != 0 || client->freed || (size_t)got < room)
            return err;
    }
    return 0;
}
