/* The output: one stream of whole frames, of which a window is in memory.
 *
 * A place in the stream never changes, so a request knows by two numbers whether its frame has been written.
 * Bytes are dropped only up to the first frame that was not wholly written: a lost connection may have torn
 * it, and the next one gets it again from its start. Where the broker takes publishes again, they also stay
 * until they are answered. */
#include "client.h"

#include <errno.h>
#include <sys/epoll.h>
#include <string.h>

enum { OUTPUT_KEPT_BYTES_MAX = 4 * 1024 * 1024 /* an empty output keeps this much memory */ };

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The place from which on bytes may be needed again. */
static uint64_t keep_from(const struct fanq *client)
{
    const struct output *output = &client->output;
    uint64_t keep = output->written;

    if (!list_empty(&client->unsent))
        keep = least(keep, CONTAINER_OF(client->unsent.next, struct request, order)->frame_start);
    if (client->remembered && !list_empty(&client->kept))
        keep = least(keep, CONTAINER_OF(client->kept.next, struct request, kept)->frame_start);
    return keep > output->start ? keep : output->start;
}

size_t fanq_output_held_bytes(const struct fanq *client)
{
    return (size_t)(output_end(&client->output) - keep_from(client));
}

static void output_drop(struct fanq *client, uint64_t until)
{
    struct output *output = &client->output;
    size_t bytes = (size_t)(until - output->start);

    memmove(output->buffer.data, output->buffer.data + bytes, output->buffer.length - bytes);
    output->buffer.length -= bytes;
    output->start = until;
}

int fanq_output_room(struct fanq *client, size_t bytes, struct fanq_writer *ret_writer)
{
    struct output *output = &client->output;
    uint64_t keep = keep_from(client);

    /* Moving costs what is moved, so it waits until more than half would go. */
    if (output->buffer.capacity - output->buffer.length < bytes &&
        keep - output->start > output->buffer.length / 2)
        output_drop(client, keep);
    if (fanq_buffer_reserve(&client->memory, &output->buffer, bytes) != 0)
        return FANQ_ERR_NOMEM;
    *ret_writer = fanq_writer_over(output->buffer.data + output->buffer.length, bytes);
    return 0;
}

void fanq_output_skip_dead(struct fanq *client)
{
    struct output *output = &client->output;
    uint64_t alive = output_end(output);

    if (!list_empty(&client->unsent))
        alive = CONTAINER_OF(client->unsent.next, struct request, order)->frame_start;
    if (client->phase != PHASE_READY && alive > output->written)
        output->written = alive;
}

void fanq_output_added(struct fanq *client, const struct fanq_writer *w)
{
    client->output.buffer.length += fanq_writer_length(w);
}

static void output_empty(struct output *output, const struct memory *memory)
{
    output->start = output->written;
    output->buffer.length = 0;
    if (output->buffer.capacity > OUTPUT_KEPT_BYTES_MAX)
        fanq_buffer_close(memory, &output->buffer);
}

/* Sends once; gives how many bytes went, 0 when the socket is full, or FANQ_ERR_IO. */
static ssize_t send_some(struct fanq *client, const uint8_t *data, size_t bytes)
{
    ssize_t sent;

    do {
        sent = send(client->socket, data, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    if (sent >= 0)
        return sent;
    if (errno != EAGAIN && errno != EWOULDBLOCK)
        return FANQ_ERR_IO;
    client->blocked = true;
    fanq_connection_want(client, EPOLLIN | EPOLLOUT);
    return 0;
}

static int write_greeting(struct fanq *client)
{
    while (!client->blocked && client->greeting_written < client->greeting_bytes) {
        ssize_t sent = send_some(client, client->greeting + client->greeting_written,
                                 client->greeting_bytes - client->greeting_written);
        if (sent < 0)
            return (int)sent;
        client->greeting_written += (size_t)sent;
    }
    return 0;
}

int fanq_output_write(struct fanq *client)
{
    struct output *output = &client->output;

    if (client->phase == PHASE_GREETING)
        return write_greeting(client);
    if (client->phase != PHASE_READY)
        return 0;
    while (!client->blocked && output->written < output_end(output)) {
        ssize_t sent = send_some(client, output->buffer.data + (output->written - output->start),
                                 (size_t)(output_end(output) - output->written));
        if (sent < 0)
            return (int)sent;
        output->written += (uint64_t)sent;
        fanq_requests_written(client);
    }
    if (keep_from(client) == output_end(output))
        output_empty(output, &client->memory);
    return 0;
}
