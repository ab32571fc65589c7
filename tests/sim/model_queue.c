#include "model_queue.h"

#include <stdlib.h>

#include "sim.h"

/* ---- lists ---- */

static void place_init(struct place *p)
{
    *p = (struct place){0};
    p->head.next = p->head.previous = &p->head;
}

void model_leave(struct message *m)
{
    m->previous->next = m->next;
    m->next->previous = m->previous;
    m->place->count--;
    m->place = NULL;
}

static void message_enter(struct message *m, struct place *p, struct message *behind)
{
    m->previous = behind;
    m->next = behind->next;
    behind->next->previous = m;
    behind->next = m;
    m->place = p;
    p->count++;
}

void model_move(struct message *m, struct place *p)
{
    model_leave(m);
    message_enter(m, p, p->head.previous);
}

static struct message *place_first(struct place *p)
{
    return p->count == 0 ? NULL : p->head.next;
}

static void place_empty(struct place *p)
{
    while (p->count > 0)
        model_leave(p->head.next);
}

struct message *model_message(const struct feed *f, uint64_t seq)
{
    return seq < f->first || seq - f->first >= f->count ? NULL : f->messages[seq - f->first];
}

static void feed_append(struct feed *f, uint64_t seq, struct message *m)
{
    if (f->count == 0)
        f->first = seq;
    while (f->first + f->count <= seq) {
        if (f->count == f->capacity) {
            f->capacity = f->capacity * 2 + 64;
            f->messages = realloc(f->messages, f->capacity * sizeof(struct message *));
            SIM_CHECK(f->messages != NULL, "out of memory");
        }
        f->messages[f->count++] = NULL; /* what the queue was not subscribed to */
    }
    f->messages[seq - f->first] = m;
}

/* ---- queues ---- */

struct queue *model_queue_new(uint64_t visibility_ms)
{
    struct queue *q = calloc(1, sizeof(*q));

    SIM_CHECK(q != NULL, "out of memory");
    q->visibility_ms = visibility_ms;
    place_init(&q->again);
    place_init(&q->unread);
    for (uint32_t i = 0; i < STREAMS; i++)
        place_init(&q->staged[i]);
    q->feeds[OWN].open = true;
    return q;
}

static void timed_free(struct place **at)
{
    struct place *p = *at;

    *at = p->next;
    free(p);
}

void model_queue_free(struct queue *q)
{
    while (q->timed != NULL)
        timed_free(&q->timed);
    for (uint32_t i = 0; i < STREAMS; i++) {
        for (uint64_t n = 0; n < q->feeds[i].count; n++)
            free(q->feeds[i].messages[n]);
        free(q->feeds[i].messages);
    }
    free(q);
}

struct place *model_timed_new(struct queue *q, uint64_t batch, uint64_t due_ms)
{
    struct place *p = malloc(sizeof(*p));

    SIM_CHECK(p != NULL, "out of memory");
    place_init(p);
    p->batch = batch;
    p->due_ms = due_ms;
    p->order = ++q->next_order;
    p->next = q->timed;
    q->timed = p;
    return p;
}

void model_timed_sweep(struct queue *q)
{
    for (struct place **at = &q->timed; *at != NULL;)
        if ((*at)->count == 0)
            timed_free(at);
        else
            at = &(*at)->next;
}

/* The batch or delay that is over, and was before the others. */
static struct place *timed_due(const struct queue *q, uint64_t now_ms)
{
    struct place *first = NULL;

    for (struct place *p = q->timed; p != NULL; p = p->next)
        if (p->count > 0 && p->due_ms <= now_ms &&
            (first == NULL || p->due_ms < first->due_ms ||
             (p->due_ms == first->due_ms && p->order < first->order)))
            first = p;
    return first;
}

void model_queue_advance(struct queue *q, uint64_t now_ms)
{
    struct place *p;

    while ((p = timed_due(q, now_ms)) != NULL)
        while (p->count > 0)
            model_move(place_first(p), &q->again);
    model_timed_sweep(q);
}

void model_queue_stage(struct queue *q, uint32_t stream, uint64_t seq, uint64_t uid, uint32_t bytes)
{
    struct message *message = calloc(1, sizeof(*message));

    SIM_CHECK(message != NULL, "out of memory");
    message->uid = uid;
    message->seq = seq;
    message->stream = stream;
    message->bytes = bytes;
    feed_append(&q->feeds[stream], seq, message);
    message_enter(message, &q->staged[stream], q->staged[stream].head.previous);
    q->sent++;
}

/* The turn's messages arrive stream by stream, in the order in which the streams were first sent to. */
void model_stream_arrives(struct queue *q, uint32_t stream)
{
    while (q->staged[stream].count > 0)
        model_move(place_first(&q->staged[stream]), &q->unread);
}

void model_queue_purge(struct queue *q)
{
    place_empty(&q->again);
    place_empty(&q->unread);
    for (uint32_t i = 0; i < STREAMS; i++) {
        q->sent -= q->staged[i].count; /* nobody has seen them */
        place_empty(&q->staged[i]);
    }
    for (struct place *p = q->timed; p != NULL; p = p->next)
        place_empty(p);
    model_timed_sweep(q);
}

/* ---- receiving ---- */

struct message *model_next(struct queue *q)
{
    struct message *m = place_first(&q->again);

    return m != NULL ? m : place_first(&q->unread);
}

void model_take(struct queue *q, struct message *message, struct place *batch, uint64_t wall_ms)
{
    struct message *before =
        message->seq == 0 ? NULL : model_message(&q->feeds[message->stream], message->seq - 1);
    bool again = message->deliveries > 0;

    model_leave(message);
    message->deliveries++;
    if (!again)
        message->first_receive_ms = wall_ms;
    if (batch == NULL)
        return;
    if (again && before != NULL && before->place == batch && before->deliveries == message->deliveries &&
        before->first_receive_ms == message->first_receive_ms)
        message_enter(message, batch, before);
    else
        message_enter(message, batch, batch->head.previous);
}

uint64_t model_timed_count(const struct queue *q, bool batches)
{
    uint64_t count = 0;

    for (const struct place *p = q->timed; p != NULL; p = p->next)
        count += (p->batch != 0) == batches ? p->count : 0;
    return count;
}
