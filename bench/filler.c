#include "filler.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control.h"
#include "inbox.h"
#include "link.h"
#include "payload.h"
#include "train.h"

enum {
    NAME_BYTES = 128,
    WINDOW_BYTES = 4 * 1024 * 1024, /* may be unanswered */
    TRAIN_BYTES = 64 * 1024,
    CHECKED_MESSAGES = 10
};

struct filling {
    const struct filler *filler;
    struct bench_error *error;
    struct train *trains; /* one a queue */
    uint64_t *sequences;  /* of the next message of each queue */
    uint64_t request_id;
    uint64_t sent, answered; /* frames */
    uint64_t left;           /* messages */
    struct inbox inbox;
    uint8_t shared[INBOX_SHARED_BYTES];
};

static void queue_name(const struct filler *filler, uint32_t index, char ret_name[NAME_BYTES])
{
    (void)snprintf(ret_name, NAME_BYTES, "%s-%u", filler->name, index);
}

/* ---- filling ---- */

static int on_answer(void *context, struct fanq_bytes payload)
{
    struct filling *f = context;
    struct fanq_reply reply;
    uint8_t scratch[1024];
    int err = fanq_reply_decode(payload, scratch, sizeof scratch, &reply);

    if (err == 0 && reply.op == FANQ_REPLY_ERROR)
        return bench_fail(f->error, reply.error.err, "a send was refused: %.*s", (int)reply.error.text.length,
                          (const char *)reply.error.text.data);
    if (err == 0 && reply.op != FANQ_REPLY_OK && reply.op != FANQ_REPLY_OK_RANGE)
        err = FANQ_ERR_PROTOCOL;
    if (err != 0)
        return bench_fail(f->error, err, "a send was answered with something else");
    f->answered += reply.op == FANQ_REPLY_OK ? 1 : reply.ok_range.count;
    return 0;
}

/* Reads answers until no more than so many frames are without one. */
static int await_answers(struct filling *f, uint64_t frames_open)
{
    int err = 0;

    while (err == 0 && f->sent - f->answered > frames_open) {
        err = inbox_read(&f->inbox, f->shared, on_answer, f);
        if (err != 0)
            (void)bench_fail(f->error, err, "the connection failed: %s", fanq_strerror(err));
    }
    return err;
}

/* One write to one queue: a train, or what is left of whole frames. */
static int send_frames(struct filling *f, uint32_t queue, struct train *train)
{
    uint64_t window = WINDOW_BYTES / train->frame_bytes;
    uint64_t frames =
        f->left / train->batch < train->frame_count ? f->left / train->batch : train->frame_count;

    for (uint32_t i = 0; i < frames; i++) {
        train_stamp(train, i, f->request_id++, queue, f->sequences[queue]);
        f->sequences[queue] += train->batch;
    }
    f->sent += frames;
    f->left -= frames * train->batch;
    if (link_write(f->inbox.fd, train->data, frames * train->frame_bytes) != 0)
        return bench_fail(f->error, FANQ_ERR_NOT_CONNECTED, "the broker closed the connection");
    return await_answers(f, window > 1 ? window : 1);
}

/* The last messages of a number that is no multiple of the batch. */
static int send_rest(struct filling *f, uint32_t queue)
{
    struct train train;
    char name[NAME_BYTES];
    int err;

    queue_name(f->filler, queue, name);
    err = train_init(&train, FANQ_OP_SEND, name, (uint32_t)f->left, f->filler->size, 0);
    if (err != 0)
        return bench_fail(f->error, err, "cannot prepare messages: %s", fanq_strerror(err));
    err = send_frames(f, queue, &train);
    train_close(&train);
    return err;
}

static int send_all(struct filling *f)
{
    uint32_t queue = 0;
    int err = 0;

    while (err == 0 && f->left >= f->filler->batch) {
        err = send_frames(f, queue, &f->trains[queue]);
        queue = (queue + 1) % f->filler->queue_count;
    }
    if (err == 0 && f->left > 0)
        err = send_rest(f, queue);
    return err == 0 ? await_answers(f, 0) : err;
}

static int filling_open(struct filling *f)
{
    const struct filler *filler = f->filler;
    struct control control;
    int err = 0;

    f->trains = calloc(filler->queue_count, sizeof *f->trains);
    f->sequences = calloc(filler->queue_count, sizeof *f->sequences);
    if (f->trains == NULL || f->sequences == NULL)
        return bench_fail(f->error, FANQ_ERR_NOMEM, "out of memory");
    err = control_open(&control, filler->url, f->error);
    if (err != 0)
        return err;
    for (uint32_t i = 0; i < filler->queue_count && err == 0; i++) {
        char name[NAME_BYTES];

        queue_name(filler, i, name);
        err = control_queue_create(&control, name);
        if (err == 0)
            err = train_init(&f->trains[i], FANQ_OP_SEND, name, filler->batch, filler->size,
                             filler->queue_count == 1 ? TRAIN_BYTES : 0);
    }
    inbox_init(&f->inbox, control_release(&control));
    f->request_id = 1000;
    return err == 0 ? 0 : bench_fail(f->error, err, "cannot prepare messages: %s", fanq_strerror(err));
}

static void filling_close(struct filling *f)
{
    for (uint32_t i = 0; i < f->filler->queue_count && f->trains != NULL; i++)
        train_close(&f->trains[i]);
    if (f->inbox.fd >= 0)
        close(f->inbox.fd);
    inbox_close(&f->inbox);
    free(f->trains);
    free(f->sequences);
    free(f);
}

int filler_run(const struct filler *filler, struct bench_error *error, double *ret_seconds)
{
    struct filling *f = calloc(1, sizeof *f);
    uint64_t start_ns;
    int err;

    if (f == NULL)
        return bench_fail(error, FANQ_ERR_NOMEM, "out of memory");
    f->filler = filler;
    f->error = error;
    f->left = filler->messages;
    inbox_init(&f->inbox, -1);
    err = filling_open(f);
    start_ns = clock_ns();
    if (err == 0)
        err = send_all(f);
    *ret_seconds = (double)(clock_ns() - start_ns) / 1e9;
    filling_close(f);
    return err;
}

/* ---- looking ---- */

/* How many messages the queue was sent. */
static uint64_t share(const struct filler *filler, uint32_t queue)
{
    uint64_t frames = filler->messages / filler->batch, rest = filler->messages % filler->batch;
    uint64_t last = frames % filler->queue_count; /* the queue that got the rest */

    return (frames / filler->queue_count + (queue < last)) * filler->batch + (queue == last ? rest : 0);
}

static int check_count(const struct filler *filler, struct control *control, uint32_t queue, const char *name)
{
    struct fanq_request request = {.op = FANQ_OP_QUEUE_GET, .name = {(const uint8_t *)name, strlen(name)}};
    struct fanq_reply reply;
    int err = control_call(control, &request, &reply);

    if (err == 0 && (reply.op != FANQ_REPLY_QUEUE || reply.queue.visible != share(filler, queue)))
        err = bench_fail(control->error, FANQ_ERR_PROTOCOL, "queue %s has %llu visible messages, not %llu",
                         name, (unsigned long long)reply.queue.visible,
                         (unsigned long long)share(filler, queue));
    return err;
}

/* Whether the records are the queue's messages from sequence number *next on. */
static bool are_next(const struct filler *filler, uint32_t queue, const struct fanq_records *records,
                     uint64_t *next)
{
    const uint8_t *at = records->data;

    for (uint32_t i = 0; i < records->count; i++, at += fanq_record_length(at)) {
        if (fanq_record_length(at) != train_record_bytes(filler->size) ||
            !payload_is(at + FANQ_RECORD_PLAIN_BYTES, filler->size, payload_stamp_of(queue, *next)))
            return false;
        ++*next;
    }
    return true;
}

static int check_first(const struct filler *filler, struct control *control, uint32_t queue, const char *name)
{
    struct fanq_request request = {.op = FANQ_OP_RECEIVE,
                                   .receive = {.queues = {{(const uint8_t *)name, strlen(name)}},
                                               .queue_count = 1,
                                               .messages_max = CHECKED_MESSAGES,
                                               .bytes_max = 32 * 1024,
                                               .visibility_ms = FANQ_QUEUE_DEFAULT}};
    uint64_t wanted = share(filler, queue) < CHECKED_MESSAGES ? share(filler, queue) : CHECKED_MESSAGES;
    struct fanq_reply reply;
    uint64_t next = 0;
    bool good;
    int err = control_call(control, &request, &reply);

    if (err != 0)
        return err;
    good = reply.op == FANQ_REPLY_DELIVER;
    for (uint32_t i = 0; good && i < reply.deliver.slice_count; i++)
        good = are_next(filler, queue, &reply.deliver.slices[i].records, &next);
    if (!good || next < wanted)
        err = bench_fail(control->error, FANQ_ERR_PROTOCOL,
                         "queue %s does not give its first %llu messages as sent", name,
                         (unsigned long long)wanted);
    return err;
}

int filler_check(const struct filler *filler, struct bench_error *error)
{
    struct control control;
    int err = control_open(&control, filler->url, error);

    if (err != 0)
        return err;
    for (uint32_t i = 0; i < filler->queue_count && err == 0; i++) {
        char name[NAME_BYTES];

        queue_name(filler, i, name);
        err = check_count(filler, &control, i, name);
        if (err == 0)
            err = check_first(filler, &control, i, name);
    }
    control_close(&control);
    return err;
}
