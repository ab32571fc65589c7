#include "control.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "link.h"

enum { BUFFER_BYTES = 64 * 1024 };

static struct fanq_bytes bytes_of(const char *text)
{
    return (struct fanq_bytes){(const uint8_t *)text, strlen(text)};
}

static int control_greet(struct control *control)
{
    struct fanq_request hello = {.op = FANQ_OP_HELLO,
                                 .hello = {.version_min = FANQ_PROTOCOL_VERSION,
                                           .version_max = FANQ_PROTOCOL_VERSION,
                                           .client = FANQ_BYTES("fanq-bench " FANQ_VERSION)}};

    return control_call(control, &hello, NULL);
}

int control_open(struct control *control, const char *url, struct bench_error *error)
{
    int err;

    *control = (struct control){.fd = -1, .error = error, .buffer_bytes = BUFFER_BYTES};
    control->buffer = malloc(BUFFER_BYTES);
    err = control->buffer != NULL ? link_connect(url, error, &control->fd)
                                  : bench_fail(error, FANQ_ERR_NOMEM, "out of memory");
    if (err == 0)
        err = control_greet(control);
    if (err != 0)
        control_close(control);
    return err;
}

void control_close(struct control *control)
{
    if (control->fd >= 0)
        close(control->fd);
    free(control->buffer);
    control->fd = -1;
    control->buffer = NULL;
}

int control_release(struct control *control)
{
    int fd = control->fd;

    control->fd = -1;
    control_close(control);
    return fd;
}

int control_send(struct control *control, struct fanq_request *request)
{
    struct fanq_writer w = fanq_writer_over(control->buffer, control->buffer_bytes);
    int err;

    request->id = ++control->id;
    fanq_request_encode(&w, request);
    if (w.full)
        return bench_fail(control->error, FANQ_ERR_INVALID, "%s: the request is too long",
                          fanq_op_name(request->op));
    err = link_write(control->fd, w.start, fanq_writer_length(&w));
    if (err != 0)
        return bench_fail(control->error, err, "%s: the broker closed the connection",
                          fanq_op_name(request->op));
    return 0;
}

/* Reads one frame into the buffer. */
static int control_receive(struct control *control, struct fanq_bytes *ret_payload)
{
    size_t need = FANQ_FRAME_HEADER_BYTES, have = 0;

    for (;;) {
        int err = link_read(control->fd, control->buffer + have, need - have);
        int found;

        if (err != 0)
            return err;
        have = need;
        found = fanq_frame_next(control->buffer, have, control->buffer_bytes - FANQ_FRAME_HEADER_BYTES,
                                ret_payload, &need);
        if (found != 0)
            return found < 0 ? found : 0;
    }
}

int control_call(struct control *control, struct fanq_request *request, struct fanq_reply *ret_reply)
{
    const char *what = fanq_op_name(request->op);
    struct fanq_bytes payload;
    struct fanq_reply reply;
    int err = control_send(control, request);

    if (err != 0)
        return err;
    err = control_receive(control, &payload);
    if (err == 0)
        err = fanq_reply_decode(payload, control->scratch, sizeof control->scratch, &reply);
    if (err != 0)
        return bench_fail(control->error, err, "%s: no answer: %s", what, fanq_strerror(err));
    if (reply.op == FANQ_REPLY_ERROR)
        return bench_fail(control->error, reply.error.err, "%s: %.*s", what, (int)reply.error.text.length,
                          (const char *)reply.error.text.data);
    if (reply.id != request->id)
        return bench_fail(control->error, FANQ_ERR_PROTOCOL, "%s: an answer to something else", what);
    if (ret_reply != NULL)
        *ret_reply = reply;
    return 0;
}

static int call_with_name(struct control *control, enum fanq_op op, const char *name)
{
    struct fanq_request request = {.op = op, .name = bytes_of(name)};

    return control_call(control, &request, NULL);
}

int control_topic_create(struct control *control, const char *topic)
{
    return call_with_name(control, FANQ_OP_TOPIC_CREATE, topic);
}

int control_queue_create(struct control *control, const char *queue)
{
    struct fanq_request request = {.op = FANQ_OP_QUEUE_CREATE, .queue.name = bytes_of(queue)};

    return control_call(control, &request, NULL);
}

int control_subscribe(struct control *control, const char *topic, const char *queue)
{
    struct fanq_request request = {.op = FANQ_OP_SUBSCRIBE,
                                   .subscription = {.topic = bytes_of(topic), .queue = bytes_of(queue)}};

    return control_call(control, &request, NULL);
}

int control_purge(struct control *control, const char *queue)
{
    return call_with_name(control, FANQ_OP_PURGE, queue);
}

int control_topic_delete(struct control *control, const char *topic)
{
    return call_with_name(control, FANQ_OP_TOPIC_DELETE, topic);
}

int control_queue_delete(struct control *control, const char *queue)
{
    return call_with_name(control, FANQ_OP_QUEUE_DELETE, queue);
}

int control_stats(struct control *control, struct fanq_stats_reply *ret_stats)
{
    struct fanq_request request = {.op = FANQ_OP_STATS};
    struct fanq_reply reply;
    int err = control_call(control, &request, &reply);

    if (err != 0)
        return err;
    if (reply.op != FANQ_REPLY_STATS)
        return bench_fail(control->error, FANQ_ERR_PROTOCOL, "STATS was answered with %s",
                          fanq_reply_name(reply.op));
    *ret_stats = reply.stats;
    return 0;
}

uint64_t stats_value(const struct fanq_stats_reply *stats, const char *name)
{
    for (uint32_t i = 0; i < stats->count; i++)
        if (stats->stats[i].name.length == strlen(name) &&
            memcmp(stats->stats[i].name.data, name, strlen(name)) == 0)
            return stats->stats[i].value;
    return 0;
}
