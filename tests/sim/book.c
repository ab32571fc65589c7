#include "book.h"

#include <stdlib.h>
#include <string.h>

#include "sim.h"

/* Grows an array to hold `need` elements. */
static void *grown(void *array, uint64_t *capacity, uint64_t need, size_t element_bytes)
{
    uint64_t wanted = *capacity == 0 ? 16 : *capacity;

    if (need <= *capacity)
        return array;
    while (wanted < need)
        wanted *= 2;
    array = realloc(array, wanted * element_bytes);
    SIM_CHECK(array != NULL, "out of memory");
    *capacity = wanted;
    return array;
}

static void *zeroed(size_t size)
{
    void *memory = calloc(1, size);

    SIM_CHECK(memory != NULL, "out of memory");
    return memory;
}

void book_init(struct book *b)
{
    *b = (struct book){0};
}

static void queue_forget(struct book_queue *q)
{
    for (uint32_t i = 0; i < q->feed_count; i++) {
        free(q->feeds[i]->messages);
        free(q->feeds[i]);
    }
    free(q->feeds);
    q->feeds = NULL;
    q->feed_count = 0;
}

void book_close(struct book *b)
{
    for (uint32_t i = 0; i < b->queue_count; i++) {
        queue_forget(b->queues[i]);
        free(b->queues[i]);
    }
    for (struct book_stream *s = b->streams, *next; s != NULL; s = next) {
        next = s->next;
        free(s->bodies);
        free(s);
    }
    free(b->queues);
    free(b->timers);
}

/* ---- streams and queues ---- */

struct book_stream *book_stream_new(struct book *b)
{
    struct book_stream *s = zeroed(sizeof(*s));

    s->next = b->streams;
    b->streams = s;
    return s;
}

struct book_queue *book_queue_new(struct book *b)
{
    struct book_queue *q = zeroed(sizeof(*q));
    uint64_t capacity = b->queue_capacity;

    b->queues = grown(b->queues, &capacity, b->queue_count + 1, sizeof(struct book_queue *));
    b->queue_capacity = (uint32_t)capacity;
    b->queues[b->queue_count++] = q;
    q->alive = true;
    return q;
}

void book_queue_end(struct book_queue *q)
{
    q->alive = false;
    queue_forget(q);
}

void book_stream_append(struct book_stream *s, uint64_t uid, uint32_t bytes)
{
    s->bodies = grown(s->bodies, &s->capacity, s->next_seq + 1, sizeof(*s->bodies));
    s->bodies[s->next_seq++] = (struct book_body){.uid = uid, .bytes = bytes};
}

/* ---- feeds ---- */

struct book_feed *book_feed_find(const struct book_queue *q, const struct book_stream *s)
{
    for (uint32_t i = 0; i < q->feed_count; i++)
        if (q->feeds[i]->stream == s)
            return q->feeds[i];
    return NULL;
}

struct book_feed *book_feed_by_number(const struct book_queue *q, uint64_t stream)
{
    for (uint32_t i = 0; i < q->feed_count; i++)
        if (q->feeds[i]->stream->number == stream && stream != 0)
            return q->feeds[i];
    return NULL;
}

void book_feed_open(struct book_queue *q, struct book_stream *s)
{
    struct book_feed *f = book_feed_find(q, s);
    uint64_t capacity = q->feed_capacity;

    if (f == NULL) {
        f = zeroed(sizeof(*f));
        f->stream = s;
        f->first = f->unread_from = f->live_from = s->next_seq;
        q->feeds = grown(q->feeds, &capacity, q->feed_count + 1, sizeof(struct book_feed *));
        q->feed_capacity = (uint32_t)capacity;
        q->feeds[q->feed_count++] = f;
    }
    f->open = true;
}

void book_feed_close(struct book_queue *q, struct book_stream *s)
{
    struct book_feed *f = book_feed_find(q, s);

    SIM_CHECK(f != NULL && f->open, "the test closes a feed that is not open");
    f->open = false;
}

struct book_message *book_message(const struct book_feed *f, uint64_t seq)
{
    if (seq < f->first || seq - f->first >= f->count || f->messages[seq - f->first].state == MESSAGE_NONE)
        return NULL;
    return &f->messages[seq - f->first];
}

void book_queue_take(struct book_queue *q, struct book_stream *s, uint64_t first, uint64_t end)
{
    struct book_feed *f = book_feed_find(q, s);

    f->messages = grown(f->messages, &f->capacity, end - f->first, sizeof(*f->messages));
    memset(f->messages + f->count, 0, (end - f->first - f->count) * sizeof(*f->messages));
    for (uint64_t seq = first; seq < end; seq++)
        f->messages[seq - f->first].state = MESSAGE_PENDING;
    f->count = end - f->first;
    q->counts[MESSAGE_PENDING] += end - first;
}

/* ---- messages ---- */

void book_move(struct book_queue *q, struct book_message *m, enum message_state state)
{
    q->counts[m->state]--;
    if (m->state == MESSAGE_READY && m->deliveries > 0)
        q->ready_again--;
    m->state = (uint8_t)state;
    q->counts[state]++;
    if (state == MESSAGE_READY && m->deliveries > 0)
        q->ready_again++;
}

static void feed_arrives(struct book_queue *q, struct book_feed *f, uint64_t from, uint64_t end)
{
    for (uint64_t seq = from > f->first ? from : f->first; seq < end && seq - f->first < f->count; seq++) {
        struct book_message *m = &f->messages[seq - f->first];

        if (m->state == MESSAGE_PENDING)
            book_move(q, m, MESSAGE_READY);
    }
}

void book_synced(struct book *b, struct book_stream *s, uint64_t end)
{
    for (uint32_t i = 0; i < b->queue_count; i++) {
        struct book_queue *q = b->queues[i];
        struct book_feed *f = q->alive ? book_feed_find(q, s) : NULL;

        if (f != NULL)
            feed_arrives(q, f, s->synced_seq, end);
    }
    s->synced_seq = end;
}

void book_committed(struct book *b, struct book_stream *s)
{
    for (uint32_t i = 0; i < b->queue_count; i++) {
        struct book_queue *q = b->queues[i];
        struct book_feed *f = q->alive && q->early ? book_feed_find(q, s) : NULL;

        if (f != NULL)
            feed_arrives(q, f, s->synced_seq, s->committed_seq);
    }
}

/* What was not given out yet waits for its sync again. */
static void feed_waits(struct book_queue *q, struct book_feed *f)
{
    uint64_t seq = f->stream->synced_seq > f->first ? f->stream->synced_seq : f->first;

    for (; seq - f->first < f->count; seq++) {
        struct book_message *m = &f->messages[seq - f->first];

        if (m->state == MESSAGE_READY && m->deliveries == 0)
            book_move(q, m, MESSAGE_PENDING);
    }
}

void book_queue_set_early(struct book_queue *q, bool early)
{
    if (q->early == early)
        return;
    q->early = early;
    for (uint32_t i = 0; i < q->feed_count; i++) {
        struct book_feed *f = q->feeds[i];

        if (early)
            feed_arrives(q, f, f->stream->synced_seq, f->stream->committed_seq);
        else
            feed_waits(q, f);
    }
}

void book_purge(struct book_queue *q)
{
    for (uint32_t i = 0; i < q->feed_count; i++) {
        struct book_feed *f = q->feeds[i];

        for (uint64_t at = f->live_from - f->first; at < f->count; at++) {
            uint8_t state = f->messages[at].state;

            if (state != MESSAGE_NONE && state != MESSAGE_GONE)
                book_move(q, &f->messages[at], MESSAGE_GONE);
        }
        f->live_from = f->unread_from = f->first + f->count;
    }
}

struct book_message *book_unread(struct book_feed *f, uint64_t *ret_seq)
{
    for (; f->unread_from - f->first < f->count; f->unread_from++) {
        struct book_message *m = &f->messages[f->unread_from - f->first];

        if (m->state == MESSAGE_PENDING)
            return NULL;
        if (m->state == MESSAGE_READY && m->deliveries == 0) {
            *ret_seq = f->unread_from;
            return m;
        }
    }
    return NULL;
}

/* ---- timers ---- */

static void heap_swap(struct book_timer *a, struct book_timer *b)
{
    struct book_timer t = *a;

    *a = *b;
    *b = t;
}

void book_timer_add(struct book *b, struct book_queue *q, struct book_feed *f, uint64_t first, uint64_t count,
                    uint64_t due_ms)
{
    uint64_t capacity = b->timer_capacity;
    size_t at = b->timer_count++;

    b->timers = grown(b->timers, &capacity, b->timer_count, sizeof(*b->timers));
    b->timer_capacity = capacity;
    b->timers[at] = (struct book_timer){due_ms, q, f, first, count};
    for (; at > 0 && b->timers[(at - 1) / 2].due_ms > b->timers[at].due_ms; at = (at - 1) / 2)
        heap_swap(&b->timers[at], &b->timers[(at - 1) / 2]);
}

static void timer_pop(struct book *b)
{
    size_t at = 0;

    b->timers[0] = b->timers[--b->timer_count];
    for (;;) {
        size_t least = at, left = 2 * at + 1;

        for (size_t child = left; child <= left + 1 && child < b->timer_count; child++)
            if (b->timers[child].due_ms < b->timers[least].due_ms)
                least = child;
        if (least == at)
            return;
        heap_swap(&b->timers[at], &b->timers[least]);
        at = least;
    }
}

static bool waits_for(const struct book_message *m, uint64_t due_ms)
{
    return (m->state == MESSAGE_HELD || m->state == MESSAGE_DELAYED) && m->until_ms == due_ms;
}

static void timer_fire(const struct book_timer *t)
{
    for (uint64_t i = 0; i < t->count; i++) {
        struct book_message *m = &t->feed->messages[t->first + i - t->feed->first];

        if (waits_for(m, t->due_ms))
            book_move(t->queue, m, MESSAGE_READY);
    }
}

static bool timer_stale(const struct book_timer *t)
{
    if (!t->queue->alive)
        return true;
    for (uint64_t i = 0; i < t->count; i++)
        if (waits_for(&t->feed->messages[t->first + i - t->feed->first], t->due_ms))
            return false;
    return true;
}

void book_advance(struct book *b, uint64_t now_ms)
{
    b->now_ms = now_ms;
    while (b->timer_count > 0 && b->timers[0].due_ms <= now_ms) {
        if (b->timers[0].queue->alive)
            timer_fire(&b->timers[0]);
        timer_pop(b);
    }
}

uint64_t book_next_ms(struct book *b)
{
    while (b->timer_count > 0 && timer_stale(&b->timers[0]))
        timer_pop(b);
    return b->timer_count == 0 ? UINT64_MAX : b->timers[0].due_ms;
}
