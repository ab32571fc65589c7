#include "script.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the trace ---- */

static void put(struct script *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(struct script *s, const char *format, ...)
{
    va_list arguments;
    size_t left = sizeof(s->trace) - s->trace_length;
    int length;

    va_start(arguments, format);
    length = vsnprintf(s->trace + s->trace_length, left, format, arguments);
    va_end(arguments);
    SIM_CHECK(length >= 0 && (size_t)length < left, "the trace is too long");
    s->trace_length += (size_t)length;
}

static void put_time(struct script *s)
{
    put(s, "%3lu ", s->sim->now_ms - s->start_ms);
}

static const char *name_of(const struct script *s, uint64_t queue_id)
{
    for (uint32_t i = 0; i < s->queue_count; i++)
        if (s->queues[i].id == queue_id)
            return s->queues[i].name;
    return "?"; /* of a push on a topic */
}

static void queue_learn(struct script *s, const struct fanq_queue_reply *reply)
{
    struct script_queue *q = &s->queues[s->queue_count];

    if (strcmp(name_of(s, reply->queue_id), "?") != 0)
        return;
    SIM_CHECK(s->queue_count < SCRIPT_QUEUES_MAX, "too many queues");
    s->queue_count++;
    snprintf(q->name, sizeof(q->name), "%.*s", (int)reply->name.length, (const char *)reply->name.data);
    q->id = reply->queue_id;
}

static struct script_word *word_find(struct script *s, const char *word, uint64_t queue_id)
{
    for (uint32_t i = 0; i < s->word_count; i++)
        if (strcmp(s->words[i].word, word) == 0 && s->words[i].queue_id == queue_id)
            return &s->words[i];
    return NULL;
}

/* Copies the body of a record, and steps over it. */
static const uint8_t *word_read(const uint8_t *record, char *ret_word)
{
    size_t length = fanq_record_length(record), body = length - FANQ_RECORD_PLAIN_BYTES;

    if (body > sizeof(((struct script_word *)0)->word) - 1)
        body = sizeof(((struct script_word *)0)->word) - 1;
    memcpy(ret_word, record + FANQ_RECORD_PLAIN_BYTES, body);
    ret_word[body] = '\0';
    return record + length;
}

static void word_learn(struct script *s, const char *word, const struct fanq_delivery *d, uint64_t stream,
                       uint64_t seq)
{
    struct script_word *w = word_find(s, word, d->queue_id);

    if (w == NULL) {
        SIM_CHECK(s->word_count < SCRIPT_WORDS_MAX, "too many words");
        w = &s->words[s->word_count++];
        snprintf(w->word, sizeof(w->word), "%s", word);
        w->queue_id = d->queue_id;
    }
    w->batch = d->batch;
    w->stream = stream;
    w->seq = seq;
}

static void put_delivery(struct script *s, uint32_t connection, const struct fanq_delivery *d)
{
    char word[sizeof(((struct script_word *)0)->word)];

    put_time(s);
    if (d->slice_count == 0) {
        put(s, "empty to %u\n", connection);
        return;
    }
    put(s, "deliver %s:", name_of(s, d->queue_id));
    for (uint32_t i = 0; i < d->slice_count; i++) {
        const struct fanq_slice *slice = &d->slices[i];
        const uint8_t *at = slice->records.data;

        for (uint32_t n = 0; n < slice->records.count; n++) {
            at = word_read(at, word);
            word_learn(s, word, d, slice->stream, slice->first_seq + n);
            put(s, " %s", word);
            if (slice->deliveries > 1)
                put(s, "*%u", slice->deliveries);
        }
    }
    if (d->dropped > 0)
        put(s, " (%lu dropped)", d->dropped);
    put(s, " to %u\n", connection);
}

static void put_peeked(struct script *s, const struct fanq_peeked *p)
{
    char word[sizeof(((struct script_word *)0)->word)];

    put_time(s);
    put(s, "peek:");
    for (uint32_t i = 0; i < p->slice_count; i++) {
        const struct fanq_slice *slice = &p->slices[i].slice;
        const uint8_t *at = slice->records.data;

        for (uint32_t n = 0; n < slice->records.count; n++) {
            at = word_read(at, word);
            put(s, " %s", word);
            if (slice->deliveries > 0)
                put(s, "*%u", slice->deliveries);
            if (p->slices[i].state != FANQ_STATE_READY)
                put(s, "(%s %lu)", p->slices[i].state == FANQ_STATE_DELAYED ? "delayed" : "held",
                    p->slices[i].due_ms);
        }
    }
    put(s, p->more ? " more\n" : "\n");
}

static const char *asked(const struct script *s, uint64_t id)
{
    return fanq_op_name(s->ops[id % SCRIPT_REQUESTS_MAX]);
}

static void put_reply(struct script *s, uint32_t connection, const struct fanq_reply *r)
{
    switch (r->op) {
    case FANQ_REPLY_DELIVER:
        put_delivery(s, connection, &r->deliver);
        return;
    case FANQ_REPLY_PEEKED:
        put_peeked(s, &r->peeked);
        return;
    case FANQ_REPLY_QUEUE:
        queue_learn(s, &r->queue);
        if (s->ops[r->id % SCRIPT_REQUESTS_MAX] != FANQ_OP_QUEUE_GET)
            return;
        put_time(s);
        put(s, "%s: %lu visible, %lu in flight, %lu delayed\n", name_of(s, r->queue.queue_id),
            r->queue.visible, r->queue.in_flight, r->queue.delayed);
        return;
    case FANQ_REPLY_CHANGED:
        put_time(s);
        put(s, "changed %lu\n", r->changed);
        return;
    case FANQ_REPLY_ERROR:
        put_time(s);
        put(s, "refuse %s by %u: %s\n", asked(s, r->id), connection, fanq_error_name(r->error.err));
        return;
    case FANQ_REPLY_PUSH_END:
        put_time(s);
        put(s, "end push of %u: %s\n", connection, fanq_error_name(r->error.err));
        return;
    default:
        break;
    }
    if (!s->show_answers)
        return;
    put_time(s);
    if (r->op == FANQ_REPLY_PUBLISHED)
        put(s, "published %lu+%lu by %u\n", r->published.first_seq, r->published.count, connection);
    else
        put(s, "ok %lu %s by %u\n", r->op == FANQ_REPLY_OK_RANGE ? r->ok_range.count : 1, asked(s, r->id),
            connection);
}

static void on_effect(void *context, const struct effect *e)
{
    struct script *s = context;

    if (e->kind == EFFECT_REPLY || e->kind == EFFECT_DELIVER)
        put_reply(s, e->connection, &e->reply);
    if (e->kind == EFFECT_FETCH && s->show_fetches) {
        put_time(s);
        put(s, "fetch %lu+%lu\n", e->fetch.first_seq, e->fetch.count);
    }
    if ((e->kind == EFFECT_TRIM || e->kind == EFFECT_STREAM_END) && s->show_trims) {
        put_time(s);
        put(s, e->kind == EFFECT_TRIM ? "trim %lu\n" : "stream ends\n", e->trim.seq);
    }
}

void script_expect(struct script *s, const char *trace, const char *file, int line)
{
    SIM_CHECK(strcmp(s->trace, trace) == 0, "%s:%d: expected\n%sbut got\n%s", file, line, trace, s->trace);
    s->trace_length = 0;
    s->trace[0] = '\0';
}

/* ---- running ---- */

struct script *script_new(const struct sim_options *options)
{
    struct script *s = calloc(1, sizeof(*s));
    struct sim_options copy = options != NULL ? *options : sim_options_default(1);

    SIM_CHECK(s != NULL, "out of memory");
    copy.on_effect = on_effect;
    copy.context = s;
    s->sim = sim_new(&copy);
    s->start_ms = s->sim->now_ms;
    s->next_id = 1;
    return s;
}

void script_free(struct script *s)
{
    core_check(s->sim->core);
    sim_free(s->sim);
    free(s);
}

void script_begin(struct script *s)
{
    sim_turn(s->sim);
    s->turn_open = true;
}

void script_end(struct script *s)
{
    s->turn_open = false;
    sim_turn_end(s->sim);
    core_check(s->sim->core);
}

void script_advance_ms(struct script *s, uint64_t ms)
{
    sim_advance_ms(s->sim, ms);
    script_begin(s);
    script_end(s);
}

uint64_t script_request(struct script *s, uint32_t connection, struct fanq_request *r)
{
    bool alone = !s->turn_open;

    r->id = s->next_id++;
    s->ops[r->id % SCRIPT_REQUESTS_MAX] = r->op;
    if (alone)
        script_begin(s);
    sim_request(s->sim, connection, r);
    if (alone)
        script_end(s);
    return r->id;
}

static void connection_event(struct script *s, enum event_kind kind, uint32_t connection)
{
    bool alone = !s->turn_open;

    if (alone)
        script_begin(s);
    sim_connection_event(s->sim, kind, connection);
    if (alone)
        script_end(s);
}

void script_disconnect(struct script *s, uint32_t connection)
{
    connection_event(s, EVENT_DISCONNECT, connection);
}

void script_block(struct script *s, uint32_t connection)
{
    connection_event(s, EVENT_BLOCKED, connection);
}

void script_unblock(struct script *s, uint32_t connection)
{
    connection_event(s, EVENT_WRITABLE, connection);
}

void script_drain(struct script *s)
{
    script_begin(s);
    sim_drain(s->sim);
    script_end(s);
}

/* ---- requests ---- */

static struct fanq_bytes text(const char *string)
{
    return (struct fanq_bytes){(const uint8_t *)string, strlen(string)};
}

/* The next word of *at, which is moved behind it; empty at the end. */
static struct fanq_bytes word_next(const char **at)
{
    const char *word = *at + strspn(*at, " ");
    size_t length = strcspn(word, " ");

    *at = word + length;
    return (struct fanq_bytes){(const uint8_t *)word, length};
}

static uint64_t named(struct script *s, enum fanq_op op, const char *name)
{
    return script_request(s, 0, &(struct fanq_request){.op = op, .name = text(name)});
}

uint64_t script_queue(struct script *s, const char *name, uint64_t visibility_ms)
{
    return script_request(
        s, 0,
        &(struct fanq_request){
            .op = FANQ_OP_QUEUE_CREATE,
            .queue = {text(name), {.set = 1u << FANQ_QUEUE_VISIBILITY_MS, .visibility_ms = visibility_ms}}});
}

uint64_t script_queue_early(struct script *s, const char *name, bool early)
{
    return script_request(
        s, 0,
        &(struct fanq_request){
            .op = FANQ_OP_QUEUE_SET,
            .queue = {text(name), {.set = 1u << FANQ_QUEUE_EARLY_DELIVERY, .early_delivery = early}}});
}

uint64_t script_queue_delete(struct script *s, const char *name)
{
    return named(s, FANQ_OP_QUEUE_DELETE, name);
}

uint64_t script_purge(struct script *s, const char *name)
{
    return named(s, FANQ_OP_PURGE, name);
}

uint64_t script_count(struct script *s, const char *name)
{
    return named(s, FANQ_OP_QUEUE_GET, name);
}

uint64_t script_topic(struct script *s, const char *name)
{
    return named(s, FANQ_OP_TOPIC_CREATE, name);
}

uint64_t script_topic_delete(struct script *s, const char *name)
{
    return named(s, FANQ_OP_TOPIC_DELETE, name);
}

static uint64_t subscription(struct script *s, enum fanq_op op, const char *topic, const char *queue)
{
    return script_request(s, 0, &(struct fanq_request){.op = op, .subscription = {text(topic), text(queue)}});
}

uint64_t script_subscribe(struct script *s, const char *topic, const char *queue)
{
    return subscription(s, FANQ_OP_SUBSCRIBE, topic, queue);
}

uint64_t script_unsubscribe(struct script *s, const char *topic, const char *queue)
{
    return subscription(s, FANQ_OP_UNSUBSCRIBE, topic, queue);
}

static uint64_t publish(struct script *s, uint32_t connection, enum fanq_op op, const char *target,
                        const char *words)
{
    size_t size = strlen(words) * (1 + FANQ_RECORD_PLAIN_BYTES) + FANQ_RECORD_PLAIN_BYTES;
    struct fanq_request r = {.op = op, .publish = {.target = text(target)}};
    bool alone = !s->turn_open;
    struct fanq_writer writer;
    struct fanq_bytes word;
    uint64_t id;

    if (alone)
        script_begin(s);
    if (s->show_answers)
        r.publish.flags = FANQ_PUBLISH_WANT_IDS;
    writer = fanq_writer_over(sim_request_bytes(s->sim, size), size);
    while ((word = word_next(&words)).length > 0) {
        SIM_CHECK(fanq_record_write(&writer, &(struct fanq_record_parts){.body = word}) == 0, "a bad word");
        r.publish.records.count++;
    }
    r.publish.records.data = writer.start;
    r.publish.records.length = fanq_writer_length(&writer);
    id = script_request(s, connection, &r);
    if (alone)
        script_end(s);
    return id;
}

uint64_t script_send(struct script *s, uint32_t connection, const char *queue, const char *words)
{
    return publish(s, connection, FANQ_OP_SEND, queue, words);
}

uint64_t script_publish(struct script *s, uint32_t connection, const char *topic, const char *words)
{
    return publish(s, connection, FANQ_OP_PUBLISH, topic, words);
}

uint64_t script_peek(struct script *s, const char *queue, uint32_t messages_max)
{
    return script_request(s, 0,
                          &(struct fanq_request){.op = FANQ_OP_PEEK,
                                                 .peek = {.queue = text(queue),
                                                          .messages_max = messages_max,
                                                          .bytes_max = UINT32_MAX,
                                                          .states = FANQ_STATE_ALL}});
}

static uint64_t receive(struct script *s, uint32_t connection, const char *queues,
                        const struct fanq_receive *receive)
{
    struct fanq_request r = {.op = FANQ_OP_RECEIVE, .receive = *receive};
    struct fanq_bytes queue;

    r.receive.visibility_ms = FANQ_QUEUE_DEFAULT;
    while ((queue = word_next(&queues)).length > 0)
        r.receive.queues[r.receive.queue_count++] = queue;
    return script_request(s, connection, &r);
}

uint64_t script_receive(struct script *s, uint32_t connection, const char *queues, uint32_t messages_max,
                        uint64_t wait_ms)
{
    return receive(
        s, connection, queues,
        &(struct fanq_receive){.messages_max = messages_max, .bytes_max = UINT32_MAX, .wait_ms = wait_ms});
}

uint64_t script_receive_bytes(struct script *s, uint32_t connection, const char *queues,
                              uint32_t messages_max, uint32_t bytes_max)
{
    return receive(s, connection, queues,
                   &(struct fanq_receive){.messages_max = messages_max, .bytes_max = bytes_max});
}

static uint64_t push(struct script *s, uint32_t connection, const struct fanq_push *push)
{
    struct fanq_request r = {.op = FANQ_OP_PUSH, .push = *push};

    r.push.visibility_ms = FANQ_QUEUE_DEFAULT;
    return script_request(s, connection, &r);
}

uint64_t script_push(struct script *s, uint32_t connection, const char *queue, enum fanq_push_mode mode,
                     uint64_t messages)
{
    return push(
        s, connection,
        &(struct fanq_push){.target = text(queue), .mode = mode, .messages = messages, .bytes = UINT32_MAX});
}

uint64_t script_push_bytes(struct script *s, uint32_t connection, const char *queue, uint64_t bytes)
{
    return push(s, connection,
                &(struct fanq_push){.target = text(queue), .messages = UINT32_MAX, .bytes = bytes});
}

uint64_t script_push_topic(struct script *s, uint32_t connection, const char *topic, uint64_t messages)
{
    return push(s, connection,
                &(struct fanq_push){.target = text(topic),
                                    .target_kind = FANQ_PUSH_TOPIC,
                                    .messages = messages,
                                    .bytes = UINT32_MAX});
}

uint64_t script_push_stop(struct script *s, uint32_t connection, uint64_t id)
{
    return script_request(s, connection, &(struct fanq_request){.op = FANQ_OP_PUSH_STOP, .push_stop = id});
}

uint64_t script_credit(struct script *s, uint32_t connection, uint64_t id, uint64_t messages)
{
    return script_request(s, connection,
                          &(struct fanq_request){.op = FANQ_OP_CREDIT, .credit = {id, messages, 0}});
}

/* ---- settling ---- */

static uint64_t queue_id_of(const struct script *s, const char *name)
{
    for (uint32_t i = s->queue_count; i-- > 0;)
        if (strcmp(s->queues[i].name, name) == 0)
            return s->queues[i].id;
    sim_fail("there is no queue %s", name);
}

/* As the word was last delivered from a queue of this name, even if the queue was made anew since. */
static const struct script_word *word_of(struct script *s, const char *queue, struct fanq_bytes given)
{
    char word[sizeof(((struct script_word *)0)->word)];

    snprintf(word, sizeof(word), "%.*s", (int)given.length, (const char *)given.data);
    for (uint32_t i = s->queue_count; i-- > 0;) {
        const struct script_word *w =
            strcmp(s->queues[i].name, queue) == 0 ? word_find(s, word, s->queues[i].id) : NULL;

        if (w != NULL)
            return w;
    }
    sim_fail("%s was never delivered from %s (%lu)", word, queue, queue_id_of(s, queue));
}

static uint64_t change(struct script *s, uint32_t connection, enum fanq_op op, const char *queue,
                       const char *words, uint64_t time_ms)
{
    uint8_t packed[4096];
    struct fanq_writer writer = fanq_writer_over(packed, sizeof(packed));
    struct fanq_request r = {.op = op, .change = {.time_ms = time_ms}};
    struct fanq_bytes word;
    uint32_t count = 0;

    while ((word = word_next(&words)).length > 0) {
        const struct script_word *w = word_of(s, queue, word);

        r.change.queue_id = w->queue_id;
        r.change.batch = w->batch;
        fanq_write_uint(&writer, w->stream);
        fanq_write_uint(&writer, w->seq);
        fanq_write_uint(&writer, 1);
        count++;
    }
    r.change.ranges = fanq_ranges_over((struct fanq_bytes){packed, fanq_writer_length(&writer)}, count);
    return script_request(s, connection, &r);
}

uint64_t script_ack(struct script *s, uint32_t connection, const char *queue, const char *words)
{
    return change(s, connection, FANQ_OP_ACK, queue, words, 0);
}

uint64_t script_nack(struct script *s, uint32_t connection, const char *queue, const char *words,
                     uint64_t delay_ms)
{
    return change(s, connection, FANQ_OP_NACK, queue, words, delay_ms);
}

uint64_t script_extend(struct script *s, uint32_t connection, const char *queue, const char *words,
                       uint64_t visibility_ms)
{
    return change(s, connection, FANQ_OP_EXTEND, queue, words, visibility_ms);
}
