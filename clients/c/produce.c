/* Sending and publishing.
 *
 * Single messages for one target are written as records, one behind the other, and become one frame at the
 * end of the round: at full load a frame carries a thousand, at rest one goes at once, and no timer decides.
 * Who waits for which message is kept beside the records only if anybody waits. */
#include "client.h"

#include <assert.h>
#include <string.h>

enum { FRAME_HEAD_BYTES_MAX = FANQ_NAME_BYTES_MAX + 64 };

/* ---- contents ---- */

static size_t text_length(const char *text, size_t bytes)
{
    return text != NULL && bytes == 0 ? strlen(text) : bytes;
}

static int take_attributes(const struct fanq_content *content, struct fanq_attribute *to)
{
    if (content->attribute_count > FANQ_RECORD_ATTRIBUTES_MAX)
        return FANQ_ERR_INVALID;
    for (uint32_t i = 0; i < content->attribute_count; i++) {
        const struct fanq_message_attribute *from = &content->attributes[i];
        const char *type = from->type != NULL ? from->type : "String";
        size_t type_bytes = from->type != NULL ? from->type_bytes : 0;

        if (from->name == NULL)
            return FANQ_ERR_INVALID;
        to[i].name = bytes_of(from->name, text_length(from->name, from->name_bytes));
        to[i].type = bytes_of(type, text_length(type, type_bytes));
        to[i].value = bytes_of(from->value, text_length(from->value, from->value_bytes));
    }
    return 0;
}

/* The parts of the record; attributes go into `attributes`, which the parts then borrow. */
static int take_content(const struct fanq_content *content, struct fanq_attribute *attributes,
                        struct fanq_record_parts *ret_parts)
{
    struct fanq_record_parts parts = {.body = {content->body, content->body_bytes}};

    if (content->body == NULL && content->body_bytes > 0)
        return FANQ_ERR_INVALID;
    parts.subject = bytes_of(content->subject, text_length(content->subject, 0));
    parts.trace = bytes_of(content->trace, text_length(content->trace, 0));
    parts.attributes = attributes;
    parts.attribute_count = content->attribute_count;
    *ret_parts = parts;
    return content->attribute_count > 0 ? take_attributes(content, attributes) : 0;
}

static uint64_t message_bytes_max(const struct fanq *client)
{
    return client->broker.message_bytes_max > 0 ? client->broker.message_bytes_max
                                                : FANQ_MESSAGE_BYTES_MAX_DEFAULT;
}

static uint64_t frame_bytes_max(const struct fanq *client)
{
    return client->broker.frame_bytes_max > 0 ? client->broker.frame_bytes_max : FANQ_FRAME_BYTES_MAX_DEFAULT;
}

static int check_target(const char *target, size_t *ret_bytes)
{
    size_t bytes = target != NULL ? strlen(target) : 0;

    *ret_bytes = bytes;
    return bytes > 0 && bytes <= FANQ_NAME_BYTES_MAX ? 0 : FANQ_ERR_NAME_INVALID;
}

/* ---- frames ---- */

/* Notes a request whose frame stands in w. */
static int frame_note(struct fanq *client, const struct request *like, enum fanq_op op,
                      const struct fanq_writer *w, uint32_t timeout_ms)
{
    struct request *request;
    int err = fanq_request_new(client, like, &request);

    if (err != 0)
        return err;
    request->op = op;
    fanq_request_note(client, request, w, timeout_ms);
    return 0;
}

/* Makes a frame of the gathered records. Its request takes over who waits, and the count of what is
 * pending. */
static int gather_send(struct fanq *client, struct gather *gather)
{
    struct request like = {.kind = REQUEST_GATHER, .weight = gather->count, .count = gather->count};
    size_t records_bytes = gather->records.length;
    uint32_t flags = gather->want_id ? FANQ_PUBLISH_WANT_IDS : 0;
    struct fanq_writer w;
    int err = fanq_output_room(client, FRAME_HEAD_BYTES_MAX + records_bytes, &w);

    if (err != 0)
        return err;
    fanq_publish_begin(&w, gather->op, client->next_id, bytes_of(gather->target, gather->target_bytes), flags,
                       gather->count, records_bytes);
    fanq_write_raw(&w, gather->records.data, records_bytes);
    assert(!w.full);
    like.gathered = (struct gathered *)gather->entries.data;
    err = frame_note(client, &like, gather->op, &w, gather->timeout_ms);
    if (err != 0)
        return err;
    client->pending_count -= gather->count; /* they count in the request now */
    client->gathered_bytes -= records_bytes;
    gather->records.length = 0;
    gather->entries = (struct buffer){0};
    gather->count = 0;
    gather->want_id = false;
    list_remove(&gather->order);
    return 0;
}

/* ---- gathers ---- */

static uint32_t target_hash(enum fanq_op op, const char *target, size_t bytes)
{
    uint32_t hash = 2166136261u ^ (uint32_t)op; /* FNV-1a */

    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ (uint8_t)target[i]) * 16777619u;
    return hash;
}

static bool gather_is(const struct gather *gather, enum fanq_op op, const char *target, size_t bytes)
{
    return gather->op == op && gather->target_bytes == bytes && memcmp(gather->target, target, bytes) == 0;
}

static struct gather *gather_new(struct fanq *client, enum fanq_op op, const char *target, size_t bytes,
                                 uint32_t hash)
{
    struct gather *gather = fanq_memory_zeroed(&client->memory, sizeof(*gather) + bytes + 1);

    if (gather == NULL)
        return NULL;
    gather->op = op;
    gather->hash = hash;
    gather->target_bytes = bytes;
    memcpy(gather->target, target, bytes);
    gather->next_in_bucket = client->gathers[hash % GATHER_BUCKETS];
    client->gathers[hash % GATHER_BUCKETS] = gather;
    client->gather_count++;
    return gather;
}

static struct gather *gather_find(struct fanq *client, enum fanq_op op, const char *target, size_t bytes)
{
    struct gather *gather = client->gather_last;

    if (gather != NULL && gather_is(gather, op, target, bytes))
        return gather;
    uint32_t hash = target_hash(op, target, bytes);
    for (gather = client->gathers[hash % GATHER_BUCKETS]; gather != NULL; gather = gather->next_in_bucket)
        if (gather->hash == hash && gather_is(gather, op, target, bytes))
            break;
    if (gather == NULL)
        gather = gather_new(client, op, target, bytes, hash);
    client->gather_last = gather;
    return gather;
}

static void gather_delete(struct fanq *client, struct gather *gather)
{
    list_remove(&gather->order);
    fanq_buffer_close(&client->memory, &gather->records);
    fanq_buffer_close(&client->memory, &gather->entries);
    memory_free(&client->memory, gather);
    client->gather_count--;
}

/* Forgets targets; those with messages stay unless all are asked for. */
static void gathers_forget(struct fanq *client, bool all)
{
    client->gather_last = NULL;
    for (size_t i = 0; i < GATHER_BUCKETS; i++) {
        struct gather **place = &client->gathers[i];

        while (*place != NULL) {
            struct gather *gather = *place;

            if (!all && gather->count > 0) {
                place = &gather->next_in_bucket;
                continue;
            }
            *place = gather->next_in_bucket;
            gather_delete(client, gather);
        }
    }
}

void fanq_gathers_free(struct fanq *client)
{
    gathers_forget(client, true);
}

int fanq_gathers_flush(struct fanq *client)
{
    while (!list_empty(&client->dirty_gathers)) {
        int err = gather_send(client, CONTAINER_OF(client->dirty_gathers.next, struct gather, order));
        if (err != 0)
            return err;
    }
    if (client->gather_count > GATHERS_KEPT_MAX)
        gathers_forget(client, false);
    return 0;
}

void fanq_gathers_fail(struct fanq *client, int code)
{
    struct fanq_error error;

    fanq_error_set(&error, code);
    while (!list_empty(&client->dirty_gathers)) {
        struct gather *gather = CONTAINER_OF(client->dirty_gathers.next, struct gather, order);
        struct request like = {.count = gather->count, .gathered = (struct gathered *)gather->entries.data};

        client->pending_count -= gather->count;
        client->gathered_bytes -= gather->records.length;
        gather->records.length = 0;
        gather->entries = (struct buffer){0};
        gather->count = 0;
        gather->want_id = false;
        list_remove(&gather->order);
        fanq_gather_answer(client, &like, &error, NULL);
        memory_free(&client->memory, like.gathered);
    }
}

/* Notes who waits for the message that comes next. As long as nobody waited, there are no entries; then the
 * earlier messages get empty ones. */
static int gather_add_waiter(struct fanq *client, struct gather *gather, struct gathered waiter)
{
    size_t bytes = (gather->count + 1) * sizeof(waiter);
    struct buffer *entries = &gather->entries;

    if (waiter.cb == NULL && entries->length == 0)
        return 0;
    if (fanq_buffer_reserve(&client->memory, entries, bytes - entries->length) != 0)
        return FANQ_ERR_NOMEM;
    memset(entries->data + entries->length, 0, bytes - entries->length);
    memcpy(entries->data + gather->count * sizeof(waiter), &waiter, sizeof(waiter));
    entries->length = bytes;
    return 0;
}

static int gather_add(struct fanq *client, struct gather *gather, const struct fanq_record_parts *parts,
                      size_t bytes, struct gathered waiter)
{
    uint32_t timeout_ms = fanq_request_timeout_ms(client);
    struct fanq_writer w;

    if (fanq_buffer_reserve(&client->memory, &gather->records, bytes) != 0)
        return FANQ_ERR_NOMEM;
    w = fanq_writer_over(gather->records.data + gather->records.length, bytes);
    int err = fanq_record_write(&w, parts);
    if (err == 0)
        err = gather_add_waiter(client, gather, waiter);
    if (err != 0)
        return err;
    assert(!w.full);
    if (gather->count == 0) {
        list_append(&client->dirty_gathers, &gather->order);
        gather->timeout_ms = timeout_ms;
    }
    if (timeout_ms < gather->timeout_ms)
        gather->timeout_ms = timeout_ms;
    gather->records.length += fanq_writer_length(&w);
    gather->want_id |= waiter.want_id;
    gather->count++;
    client->gathered_bytes += fanq_writer_length(&w);
    client->pending_count++;
    return 0;
}

/* A frame is full by count or by bytes, or when messages shall not be joined. */
static bool gather_full(const struct fanq *client, const struct gather *gather)
{
    return !client->options.gather || gather->count >= client->options.gather_count_max ||
           gather->records.length >= client->options.gather_bytes_max;
}

static int send_one(struct fanq *client, enum fanq_op op, const char *target,
                    const struct fanq_content *content, fanq_sent_cb cb, void *user)
{
    struct fanq_attribute attributes[FANQ_RECORD_ATTRIBUTES_MAX];
    struct gathered waiter = {cb, user, content->want_id && cb != NULL};
    struct fanq_record_parts parts;
    size_t target_bytes;
    int err = fanq_client_accepts(client);

    if (err == 0)
        err = check_target(target, &target_bytes);
    if (err == 0)
        err = take_content(content, attributes, &parts);
    if (err != 0)
        return err;
    size_t bytes = fanq_record_size(&parts);
    if (bytes - FANQ_RECORD_HEADER_BYTES > message_bytes_max(client))
        return FANQ_ERR_MESSAGE_TOO_BIG;
    err = fanq_request_check_limits(client, 1, bytes);
    if (err != 0)
        return err;
    struct gather *gather = gather_find(client, op, target, target_bytes);
    if (gather == NULL)
        return FANQ_ERR_NOMEM;
    if (gather->count > 0 && gather->records.length + bytes > client->options.gather_bytes_max)
        err = gather_send(client, gather);
    if (err == 0)
        err = gather_add(client, gather, &parts, bytes, waiter);
    if (err == 0 && gather_full(client, gather))
        (void)gather_send(client, gather); /* FANQ_ERR_NOMEM: it stays gathered, and the round sends it */
    return err;
}

int fanq_send(struct fanq *client, const char *queue, const struct fanq_content *content, fanq_sent_cb cb,
              void *user)
{
    return send_one(client, FANQ_OP_SEND, queue, content, cb, user);
}

int fanq_publish(struct fanq *client, const char *topic, const struct fanq_content *content, fanq_sent_cb cb,
                 void *user)
{
    return send_one(client, FANQ_OP_PUBLISH, topic, content, cb, user);
}

/* ---- answers ---- */

/* The outcome of message `index`. Refusals are in rising order; *next_refusal walks along them. */
static int outcome(const struct fanq_published *published, uint32_t index, uint32_t *next_refusal)
{
    if (published == NULL || *next_refusal >= published->refusal_count ||
        published->refusals[*next_refusal].index != index)
        return 0;
    return published->refusals[(*next_refusal)++].err;
}

/* Not all of the refused are named when there are very many; then nobody knows which of the rest were
 * taken. */
static bool all_named(const struct fanq_published *published, size_t count)
{
    return published == NULL || published->count + published->refusal_count == count;
}

void fanq_gather_answer(struct fanq *client, struct request *request, const struct fanq_error *error,
                        const struct fanq_published *published)
{
    struct fanq_sent sent = {.error = *error};
    bool certain = all_named(published, request->count);
    uint32_t next_refusal = 0;
    uint64_t taken = 0;

    if (request->gathered == NULL)
        return;
    if (published != NULL) {
        sent.stream = published->stream;
        sent.epoch = published->epoch;
        sent.subscription_count = published->subscription_count;
    }
    for (uint32_t i = 0; i < request->count; i++) {
        const struct gathered *waiter = &request->gathered[i];
        int refused = outcome(published, i, &next_refusal);

        if (refused == 0 && !certain)
            refused = FANQ_ERR_UNKNOWN;
        sent.seq = published != NULL && refused == 0 ? published->first_seq + taken++ : 0;
        sent.has_id = waiter->want_id && published != NULL && published->stream > 0 && refused == 0;
        if (refused != 0 || sent.error.code != error->code)
            fanq_error_set(&sent.error, refused != 0 ? refused : error->code);
        if (waiter->cb != NULL)
            waiter->cb(client, &sent, waiter->user);
    }
}

void fanq_batch_sent_answer(struct fanq *client, struct request *request, const struct fanq_error *error,
                            const struct fanq_published *published)
{
    struct fanq_refused refused[FANQ_REFUSALS_MAX];
    struct fanq_batch_sent sent = {.error = *error, .refused = refused};

    if (request->cb.batch_sent == NULL)
        return;
    if (error->code == 0)
        sent.count = published != NULL ? published->count : request->count;
    if (published != NULL) {
        sent.has_id = request->want_id && published->stream > 0; /* 0: repeated, and not known any more */
        sent.stream = published->stream;
        sent.epoch = published->epoch;
        sent.first_seq = published->first_seq;
        sent.subscription_count = published->subscription_count;
        for (uint32_t i = 0; i < published->refusal_count && i < FANQ_REFUSALS_MAX; i++)
            refused[sent.refused_count++] =
                (struct fanq_refused){published->refusals[i].index, published->refusals[i].err};
    }
    request->cb.batch_sent(client, &sent, request->user);
}

/* ---- batches ---- */

/* Checks all contents, so that writing them cannot fail; gives their bytes. */
static int measure(const struct fanq *client, const struct fanq_content *contents, size_t count,
                   size_t *ret_bytes)
{
    struct fanq_attribute attributes[FANQ_RECORD_ATTRIBUTES_MAX];
    struct fanq_record_parts parts;
    size_t bytes = 0;

    if (count == 0)
        return FANQ_ERR_INVALID;
    for (size_t i = 0; i < count; i++) {
        int err = take_content(&contents[i], attributes, &parts);
        if (err != 0)
            return err;
        size_t record_bytes = fanq_record_size(&parts);
        if (record_bytes - FANQ_RECORD_HEADER_BYTES > message_bytes_max(client))
            return FANQ_ERR_MESSAGE_TOO_BIG;
        bytes += record_bytes;
        if (bytes + FRAME_HEAD_BYTES_MAX > frame_bytes_max(client))
            return FANQ_ERR_FRAME_TOO_BIG;
    }
    *ret_bytes = bytes;
    return 0;
}

static int write_batch(struct fanq_writer *w, const struct fanq_content *contents, size_t count)
{
    struct fanq_attribute attributes[FANQ_RECORD_ATTRIBUTES_MAX];
    struct fanq_record_parts parts;
    int err = 0;

    for (size_t i = 0; err == 0 && i < count; i++) {
        err = take_content(&contents[i], attributes, &parts);
        if (err == 0)
            err = fanq_record_write(w, &parts);
    }
    return err;
}

/* What a batch needs besides its contents, which have been measured. */
static int batch_allowed(struct fanq *client, size_t count, size_t bytes)
{
    int err = fanq_request_check_limits(client, count, bytes);

    return err == 0 ? fanq_gathers_flush(client) : err;
}

static int send_batch(struct fanq *client, enum fanq_op op, const char *target,
                      const struct fanq_content *contents, size_t count, fanq_batch_sent_cb cb, void *user)
{
    struct request like = {.kind = REQUEST_BATCH, .count = count, .cb.batch_sent = cb, .user = user};
    size_t target_bytes, bytes;
    struct fanq_writer w;
    int err = fanq_client_accepts(client);

    if (err == 0)
        err = check_target(target, &target_bytes);
    if (err == 0)
        err = measure(client, contents, count, &bytes);
    if (err == 0)
        err = batch_allowed(client, count, bytes);
    if (err == 0)
        err = fanq_output_room(client, FRAME_HEAD_BYTES_MAX + bytes, &w);
    if (err != 0)
        return err;
    like.want_id = contents[0].want_id;
    like.weight = (uint32_t)count;
    struct fanq_writer records = fanq_writer_over(w.at + FRAME_HEAD_BYTES_MAX, bytes);
    err = write_batch(&records, contents, count);
    if (err != 0)
        return err;
    /* The sizes were upper bounds, and the head must know the true one: the records move up behind it. */
    fanq_publish_begin(&w, op, client->next_id, bytes_of(target, target_bytes),
                       like.want_id ? FANQ_PUBLISH_WANT_IDS : 0, (uint32_t)count,
                       fanq_writer_length(&records));
    memmove(w.at, records.start, fanq_writer_length(&records));
    w.at += fanq_writer_length(&records);
    return frame_note(client, &like, op, &w, fanq_request_timeout_ms(client));
}

int fanq_send_batch(struct fanq *client, const char *queue, const struct fanq_content *contents, size_t count,
                    fanq_batch_sent_cb cb, void *user)
{
    return send_batch(client, FANQ_OP_SEND, queue, contents, count, cb, user);
}

int fanq_publish_batch(struct fanq *client, const char *topic, const struct fanq_content *contents,
                       size_t count, fanq_batch_sent_cb cb, void *user)
{
    return send_batch(client, FANQ_OP_PUBLISH, topic, contents, count, cb, user);
}
