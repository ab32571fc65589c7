/* Frames to events, effects to frames: see native.h. */
#include "native.h"

#include <assert.h>
#include <string.h>

#include "backup.h"
#include "config.h"
#include "connection.h"
#include "shell.h"
#include "storage.h"
#include "stats.h"

/* Messages that were refused for their size, before the core saw the request they came in: added to its
 * answer. */
struct refused {
    struct list link; /* connection.refusals */
    size_t capacity;  /* of the pool's buffer */
    uint64_t request_id;
    uint32_t count; /* at most FANQ_REFUSALS_MAX are named */
    struct fanq_refusal refusals[FANQ_REFUSALS_MAX];
};

/* Header included, so that what is kept of an unfinished one fits in a buffer of that size. */
enum { HELLO_PAYLOAD_BYTES_MAX = FANQ_HELLO_BYTES_MAX - FANQ_FRAME_HEADER_BYTES };

size_t native_greeting_bytes_max(void)
{
    return FANQ_HELLO_BYTES_MAX;
}

/* ---- answers of the shell's own ---- */

static struct fanq_bytes bytes_of(const char *text)
{
    return (struct fanq_bytes){(const uint8_t *)text, strlen(text)};
}

struct fanq_reply *native_reply_new(struct shell *s, struct connection *c, enum fanq_reply_op op, uint64_t id)
{
    struct effect *e;

    if (effects_reserve(&s->effects, 1) != 0) {
        connection_lose(c, "out of memory");
        return NULL;
    }
    e = &s->effects.items[s->effects.count++];
    *e = (struct effect){.kind = EFFECT_REPLY, .connection = c->number, .reply = {.op = op, .id = id}};
    return &e->reply;
}

void native_refuse(struct shell *s, struct connection *c, uint64_t id, int err, const char *text)
{
    struct fanq_reply *reply = native_reply_new(s, c, FANQ_REPLY_ERROR, id);

    if (reply == NULL)
        return;
    reply->error.err = err;
    reply->error.text = bytes_of(text != NULL ? text : fanq_strerror(err));
}

static void refuse(struct shell *s, struct connection *c, uint64_t id, int err)
{
    native_refuse(s, c, id, err, NULL);
}

/* Says why, and ends the connection. */
static void expel(struct shell *s, struct connection *c, uint64_t id, int err)
{
    s->figures.protocol_errors++;
    refuse(s, c, id, err);
    if (c->state < CONNECTION_FINISHING)
        connection_finish(c);
}

void native_refuse_greeting(struct shell *s, struct connection *c, int err)
{
    assert(c->state == CONNECTION_GREETING);
    expel(s, c, 0, err);
}

/* Ends the older connection of a producer that has come again, with what it has sent and we have not looked at. */
static void close_older(struct shell *s, size_t first_effect)
{
    for (size_t i = first_effect; i < s->effects.count; i++)
        if (s->effects.items[i].kind == EFFECT_CLOSE)
            connection_lose(s->connections[s->effects.items[i].connection], "its producer has a newer one");
}

/* Tells the core. False: out of memory, and the connection was lost. */
static bool introduce_producer(struct shell *s, struct connection *c, const uint8_t *id)
{
    size_t first_effect = s->effects.count;

    if (core_step(s->core, &(struct event){.kind = EVENT_PRODUCER, .producer = {c->number, id}},
                  &s->effects) != 0) {
        connection_lose(c, "out of memory");
        return false;
    }
    c->core_knows = c->is_producer = true;
    close_older(s, first_effect);
    return true;
}

static void greet(struct shell *s, struct connection *c, const struct fanq_hello *hello, uint64_t id)
{
    bool has_producer = hello->producer.length > 0, known = false;
    struct fanq_reply *reply;

    if (hello->version_min > FANQ_PROTOCOL_VERSION || hello->version_max < FANQ_PROTOCOL_VERSION) {
        expel(s, c, id, FANQ_ERR_VERSION);
        return;
    }
    connection_open(c);
    if (has_producer) {
        known = core_producer_known(s->core, hello->producer.data);
        if (!introduce_producer(s, c, hello->producer.data))
            return;
    }
    reply = native_reply_new(s, c, FANQ_REPLY_HELLO, id);
    if (reply == NULL)
        return;
    reply->hello = (struct fanq_hello_reply){
        .version = FANQ_PROTOCOL_VERSION,
        .epoch = s->epoch,
        .server = bytes_of("fanq/" FANQ_VERSION),
        .storage = bytes_of(storage_mode(s)),
        .frame_bytes_max = s->config->frame_bytes_max,
        .message_bytes_max = s->config->message_bytes_max,
        .auto_create = s->auto_create,
        .has_producer = has_producer,
        .producer_known = known,
    };
}

static void answer_stats(struct shell *s, struct connection *c, uint64_t id)
{
    struct fanq_stat *stats = arena_take(&s->effects.arena, STATS_COUNT_MAX * sizeof(*stats));
    struct fanq_reply *reply;

    if (stats == NULL) {
        refuse(s, c, id, FANQ_ERR_NOMEM);
        return;
    }
    reply = native_reply_new(s, c, FANQ_REPLY_STATS, id);
    if (reply != NULL)
        reply->stats = (struct fanq_stats_reply){stats, stats_collect(s, stats)};
}

/* ---- requests ---- */

/* Out of memory before the core has seen it. A producer's publish must not be refused without its knowledge; it comes
 * again by the next connection. */
static void not_stepped(struct shell *s, struct connection *c, const struct fanq_request *request)
{
    if (c->is_producer && (request->op == FANQ_OP_PUBLISH || request->op == FANQ_OP_SEND))
        connection_lose(c, "out of memory");
    else
        refuse(s, c, request->id, FANQ_ERR_NOMEM);
}

static void step_request(struct shell *s, struct connection *c, const struct fanq_request *request)
{
    const struct event event = {.kind = EVENT_REQUEST, .request = {c->number, request}};

    if (core_step(s->core, &event, &s->effects) == 0)
        c->core_knows = true;
    else
        not_stepped(s, c, request);
}

static void forget_refused(struct shell *s, struct refused *refused)
{
    list_remove(&refused->link);
    pool_give(&s->pool, refused, refused->capacity);
}

/* Drops the records that are too long and remembers which they were. */
static struct refused *sift(struct shell *s, struct fanq_request *request)
{
    uint32_t places[FANQ_REFUSALS_MAX];
    size_t capacity;
    struct refused *refused = pool_take(&s->pool, sizeof(*refused), &capacity);
    struct fanq_records *records = &request->publish.records;

    if (refused == NULL)
        return NULL;
    list_init(&refused->link);
    refused->capacity = capacity;
    refused->request_id = request->id;
    /* The bytes are ours, in the turn's buffer; only the request's view of them is const. */
    refused->count = fanq_records_sift((uint8_t *)(uintptr_t)records->data, records,
                                       s->config->message_bytes_max, places, FANQ_REFUSALS_MAX);
    if (refused->count > FANQ_REFUSALS_MAX)
        refused->count = FANQ_REFUSALS_MAX;
    for (uint32_t i = 0; i < refused->count; i++)
        refused->refusals[i] = (struct fanq_refusal){places[i], FANQ_ERR_MESSAGE_TOO_BIG};
    return refused;
}

/* A publish with messages that are too long: those are refused, the others go on. */
static void publish_sifted(struct shell *s, struct connection *c, struct fanq_request *request)
{
    struct refused *refused = sift(s, request);
    struct fanq_reply *reply;

    if (refused == NULL) {
        not_stepped(s, c, request);
        return;
    }
    list_append(&c->refusals, &refused->link);
    request->publish.flags |= FANQ_PUBLISH_WANT_IDS; /* the answer that can name refusals */
    request->publish.oversize_count = 0;
    if (request->publish.records.count > 0) {
        step_request(s, c, request); /* on error the refusal is the answer, and takes `refused` with it */
        return;
    }
    reply = native_reply_new(s, c, FANQ_REPLY_PUBLISHED, request->id);
    if (reply != NULL)
        reply->published = (struct fanq_published){.epoch = s->epoch};
}

static void handle_request(struct shell *s, struct connection *c, struct fanq_request *request)
{
    s->figures.requests++;
    switch (request->op) {
    case FANQ_OP_STATS:
        answer_stats(s, c, request->id);
        break;
    case FANQ_OP_BACKUP:
        backup_begin(s, c, request->id);
        break;
    case FANQ_OP_BACKUP_END:
        backup_end(s, c, request->id);
        break;
    case FANQ_OP_PUBLISH:
    case FANQ_OP_SEND:
        if (request->publish.oversize_count > 0) {
            publish_sifted(s, c, request);
            break;
        }
        /* fall through */
    default:
        step_request(s, c, request); /* answered either way */
    }
}

static void handle_greeting(struct shell *s, struct connection *c, const struct fanq_request *request,
                            int err)
{
    if (request->op != FANQ_OP_HELLO)
        expel(s, c, request->id, FANQ_ERR_HELLO_REQUIRED);
    else if (err != 0)
        expel(s, c, request->id, err);
    else
        greet(s, c, &request->hello, request->id);
}

static void handle_frame(struct shell *s, struct connection *c, struct fanq_bytes payload)
{
    struct fanq_request request;
    int err = fanq_request_decode(payload, s->config->message_bytes_max, &request);

    if (c->state == CONNECTION_GREETING)
        handle_greeting(s, c, &request, err);
    else if (err == FANQ_ERR_PROTOCOL)
        expel(s, c, 0, err);
    else if (err != 0)
        refuse(s, c, request.id, err);
    else if (request.op == FANQ_OP_HELLO)
        expel(s, c, request.id, FANQ_ERR_PROTOCOL); /* a second one */
    else
        handle_request(s, c, &request);
}

/* The header of a first frame that is too long is most likely another protocol's. */
static void handle_bad_frame(struct shell *s, struct connection *c, int err)
{
    expel(s, c, 0, c->state == CONNECTION_GREETING ? FANQ_ERR_HELLO_REQUIRED : err);
}

bool native_parse(struct shell *s, struct connection *c)
{
    struct input *in = &c->input;

    while (c->state < CONNECTION_FINISHING) {
        size_t limit = c->state == CONNECTION_GREETING ? HELLO_PAYLOAD_BYTES_MAX : s->config->frame_bytes_max;
        struct fanq_bytes payload;
        int found =
            fanq_frame_next(in->data + in->parsed, in->length - in->parsed, limit, &payload, &in->need);

        if (found == 0)
            return true;
        if (shell_batch_full(s))
            return false;
        if (found < 0) {
            handle_bad_frame(s, c, found);
            break;
        }
        in->parsed += FANQ_FRAME_HEADER_BYTES + payload.length;
        in->need = 0;
        s->batch_bytes += payload.length;
        s->batch_requests++;
        handle_frame(s, c, payload);
    }
    in->parsed = in->length; /* the rest is not looked at */
    return true;
}

/* ---- replies ---- */

static struct refused *find_refused(struct connection *c, uint64_t request_id)
{
    list_for_each (at, &c->refusals) {
        struct refused *refused = container_of(at, struct refused, link);
        if (refused->request_id == request_id)
            return refused;
    }
    return NULL;
}

void native_close(struct shell *s, struct connection *c)
{
    backup_close(s, c);
    while (!list_empty(&c->refusals))
        forget_refused(s, container_of(list_first(&c->refusals), struct refused, link));
}

static size_t names_bytes(const struct fanq_names *names)
{
    size_t bytes = 0;

    for (uint32_t i = 0; i < names->count; i++)
        bytes += 5 + names->names[i].length;
    return bytes;
}

static size_t peeked_bytes(const struct fanq_peeked *peeked)
{
    size_t bytes = 0;

    for (uint32_t i = 0; i < peeked->slice_count; i++)
        bytes += FANQ_SLICE_HEADER_BYTES_MAX + 2 * 9 + peeked->slices[i].slice.records.length;
    return bytes;
}

static size_t backup_bytes(const struct fanq_backup_reply *backup)
{
    return backup->directory.length + ((size_t)backup->segment_count + backup->cold_segment_count) * 9;
}

/* An upper bound of the whole frame. */
static size_t reply_bytes_max(const struct fanq_reply *reply)
{
    switch (reply->op) {
    case FANQ_REPLY_PEEKED:
        return FANQ_SMALL_REPLY_BYTES_MAX + peeked_bytes(&reply->peeked);
    case FANQ_REPLY_NAMES:
        return FANQ_SMALL_REPLY_BYTES_MAX + names_bytes(&reply->names);
    case FANQ_REPLY_STATS:
        return FANQ_SMALL_REPLY_BYTES_MAX + (size_t)reply->stats.count * STATS_ENTRY_BYTES_MAX;
    case FANQ_REPLY_PUBLISHED:
        return FANQ_SMALL_REPLY_BYTES_MAX + (size_t)reply->published.refusal_count * 2 * 5;
    case FANQ_REPLY_QUEUE:
        return FANQ_SMALL_REPLY_BYTES_MAX + reply->queue.name.length;
    case FANQ_REPLY_TOPIC:
        return FANQ_SMALL_REPLY_BYTES_MAX + reply->topic.name.length;
    case FANQ_REPLY_BACKUP:
        return FANQ_SMALL_REPLY_BYTES_MAX + backup_bytes(&reply->backup);
    default:
        return FANQ_SMALL_REPLY_BYTES_MAX;
    }
}

/* One that does not fit in the scratch buffer. */
static void write_long_reply(struct shell *s, struct connection *c, const struct fanq_reply *reply,
                             size_t bytes)
{
    size_t capacity;
    uint8_t *buffer = pool_take(&s->pool, bytes, &capacity);
    struct fanq_writer w;

    if (buffer == NULL) {
        connection_lose(c, "out of memory");
        return;
    }
    w = fanq_writer_over(buffer, capacity);
    fanq_reply_encode(&w, reply);
    assert(!w.full);
    output_copy(s, buffer, fanq_writer_length(&w));
    pool_give(&s->pool, buffer, capacity);
}

static void write_reply(struct shell *s, struct connection *c, const struct fanq_reply *reply)
{
    size_t bytes = reply_bytes_max(reply);
    struct fanq_writer *w;
    const uint8_t *start;

    if (bytes > OUTPUT_SCRATCH_BYTES) {
        write_long_reply(s, c, reply, bytes);
        return;
    }
    w = output_room(s, bytes);
    start = w->at;
    fanq_reply_encode(w, reply);
    output_wrote(s, (size_t)(w->at - start));
}

/* Whether `next` goes on where `slice` ends, so that on the wire both are one. */
static bool slice_goes_on(const struct fanq_slice *slice, const struct fanq_slice *next)
{
    return next->stream == slice->stream && next->first_seq == slice->first_seq + slice->records.count &&
           next->epoch == slice->epoch && next->time_ms == slice->time_ms &&
           next->deliveries == slice->deliveries && next->first_receive_ms == slice->first_receive_ms;
}

/* The slices as they go out: the core gives one a block, neighbours are joined. Their records' count and
 * length are the sums; the bytes stay where they are. NULL: out of memory. */
static struct fanq_slice *join_slices(struct shell *s, const struct fanq_delivery *delivery,
                                      uint32_t *ret_count)
{
    struct fanq_slice *joined = arena_take(&s->effects.arena, delivery->slice_count * sizeof(*joined));
    uint32_t count = 0;

    for (uint32_t i = 0; joined != NULL && i < delivery->slice_count; i++) {
        const struct fanq_slice *slice = &delivery->slices[i];
        if (count > 0 && slice_goes_on(&joined[count - 1], slice)) {
            joined[count - 1].records.count += slice->records.count;
            joined[count - 1].records.length += slice->records.length;
        } else {
            joined[count++] = *slice;
        }
    }
    *ret_count = count;
    return joined;
}

static void write_slice_fields(struct shell *s, const struct fanq_slice *slice)
{
    struct fanq_writer *w = output_room(s, FANQ_SLICE_HEADER_BYTES_MAX);
    const uint8_t *start = w->at;

    fanq_deliver_slice(w, slice);
    output_wrote(s, (size_t)(w->at - start));
}

static void write_delivery(struct shell *s, struct connection *c, const struct fanq_reply *reply)
{
    struct fanq_delivery delivery = reply->deliver;
    const struct fanq_slice *part = delivery.slices;
    struct fanq_writer *w;
    const uint8_t *start;

    delivery.slices = join_slices(s, &reply->deliver, &delivery.slice_count);
    if (delivery.slices == NULL) {
        connection_lose(c, "out of memory");
        return;
    }
    output_delivering(s, true);
    w = output_room(s, FANQ_DELIVER_HEADER_BYTES_MAX);
    start = w->at;
    fanq_deliver_begin(w, reply->id, &delivery);
    output_wrote(s, (size_t)(w->at - start));
    for (uint32_t i = 0; i < delivery.slice_count; i++) {
        write_slice_fields(s, &delivery.slices[i]);
        for (uint32_t sent = 0; sent < delivery.slices[i].records.count; part++) {
            output_refer(s, part->records.data, part->records.length);
            sent += part->records.count;
        }
    }
    output_delivering(s, false);
}

/* The answer to a publish of which the shell had refused messages. */
static void write_sifted(struct shell *s, struct connection *c, const struct fanq_reply *reply,
                         struct refused *refused)
{
    struct fanq_reply whole = *reply;

    if (reply->op == FANQ_REPLY_PUBLISHED) {
        assert(reply->published.refusal_count == 0); /* the core refuses a publish whole or not at all */
        whole.published.refusals = refused->refusals;
        whole.published.refusal_count = refused->count;
    }
    write_reply(s, c, &whole);
    forget_refused(s, refused);
}

void native_reply(struct shell *s, struct connection *c, const struct fanq_reply *reply)
{
    struct refused *refused = NULL;

    if (!list_empty(&c->refusals) && (reply->op == FANQ_REPLY_PUBLISHED || reply->op == FANQ_REPLY_ERROR))
        refused = find_refused(c, reply->id);
    if (refused != NULL)
        write_sifted(s, c, reply, refused);
    else if (reply->op == FANQ_REPLY_DELIVER)
        write_delivery(s, c, reply);
    else
        write_reply(s, c, reply);
}
