/* The bytes of facts. One table says which fields a kind has, for reading and for writing. */
#include "fact.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/fanq_error.h"
#include "proto/request.h"

enum {
    VARINT_BYTES_MAX = 9, /* of a number below 2^63 */
    FIELDS_MAX = 7,
    NAMELESS_BYTES_MAX = 1 + FIELDS_MAX * VARINT_BYTES_MAX,
    NAME_BYTES_MAX = VARINT_BYTES_MAX + FANQ_NAME_BYTES_MAX,
    KEPT_BYTES_MAX = 4 * 1024 * 1024
};

#define NUMBER_MAX ((UINT64_C(1) << 63) - 1)

/* ---- the table ---- */

enum field {
    NO_MORE,
    QUEUE_ID,
    STREAM,
    SEQ,
    FIRST,
    COUNT, /* of first to end */
    DELIVERIES,
    FIRST_RECEIVE,
    DUE,
    CREATED,
    VISIBILITY,
    RECEIVE_WAIT,
    EARLY_DELIVERY,
    ERROR,
    NAME,
    PRODUCER
};

static const uint8_t fields_of[FACT_KIND_END][FIELDS_MAX + 1] = {
    [FACT_QUEUE] = {QUEUE_ID, NAME, CREATED, VISIBILITY, RECEIVE_WAIT, EARLY_DELIVERY},
    [FACT_QUEUE_END] = {QUEUE_ID},
    [FACT_TOPIC] = {STREAM, NAME, CREATED},
    [FACT_TOPIC_END] = {STREAM, SEQ},
    [FACT_OWN] = {QUEUE_ID, STREAM},
    [FACT_STREAM] = {STREAM, SEQ},
    [FACT_SUBSCRIBED] = {STREAM, QUEUE_ID, SEQ},
    [FACT_UNSUBSCRIBED] = {STREAM, QUEUE_ID, SEQ},
    [FACT_UNREAD] = {STREAM, QUEUE_ID, FIRST, COUNT},
    [FACT_GONE] = {STREAM, QUEUE_ID, FIRST, COUNT},
    [FACT_HELD] = {STREAM, QUEUE_ID, FIRST, COUNT, DELIVERIES, FIRST_RECEIVE, DUE},
    [FACT_STREAM_NEXT] = {STREAM},
    [FACT_PRODUCER] = {PRODUCER, SEQ},
    [FACT_REFUSED] = {PRODUCER, FIRST, COUNT, ERROR},
};

/* Where those fields are that are numbers and stand as they are. */
static const size_t offset_of[NAME] = {
    [QUEUE_ID] = offsetof(struct fact, queue_id),
    [STREAM] = offsetof(struct fact, stream),
    [SEQ] = offsetof(struct fact, seq),
    [FIRST] = offsetof(struct fact, first),
    [DELIVERIES] = offsetof(struct fact, deliveries),
    [FIRST_RECEIVE] = offsetof(struct fact, first_receive_ms),
    [DUE] = offsetof(struct fact, due_ms),
    [CREATED] = offsetof(struct fact, created_ms),
    [VISIBILITY] = offsetof(struct fact, visibility_ms),
    [RECEIVE_WAIT] = offsetof(struct fact, receive_wait_ms),
    [EARLY_DELIVERY] = offsetof(struct fact, early_delivery),
    [ERROR] = offsetof(struct fact, error),
};

const char *fact_name(enum fact_kind kind)
{
    static const char *const names[FACT_KIND_END] = {
#define X(name, number) [FACT_##name] = #name,
        FACT_KINDS(X)
#undef X
    };

    return kind > 0 && kind < FACT_KIND_END ? names[kind] : "?";
}

/* ---- reading ---- */

static bool read_number(struct fact_cursor *c, uint64_t *ret_number)
{
    uint64_t number = 0;

    for (unsigned i = 0; i < VARINT_BYTES_MAX && c->at < c->end; i++) {
        uint8_t byte = *c->at++;

        number |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *ret_number = number;
            return true;
        }
    }
    return false;
}

static bool read_name(struct fact_cursor *c, struct fact *fact)
{
    if (!read_number(c, &fact->name_length) || fact->name_length > (uint64_t)(c->end - c->at) ||
        fact->name_length > FANQ_NAME_BYTES_MAX)
        return false;
    fact->name = (const char *)c->at;
    c->at += fact->name_length;
    return true;
}

static bool read_producer(struct fact_cursor *c, struct fact *fact)
{
    if (c->end - c->at < FANQ_PRODUCER_BYTES)
        return false;
    fact->producer = c->at;
    c->at += FANQ_PRODUCER_BYTES;
    return true;
}

static bool read_count(struct fact_cursor *c, struct fact *fact)
{
    uint64_t count;

    if (!read_number(c, &count) || count > NUMBER_MAX - fact->first)
        return false;
    fact->end = fact->kind == FACT_UNREAD && count == 0 ? UINT64_MAX : fact->first + count;
    return fact->end > fact->first;
}

static bool read_field(struct fact_cursor *c, enum field field, struct fact *fact)
{
    if (field == NAME)
        return read_name(c, fact);
    if (field == PRODUCER)
        return read_producer(c, fact);
    if (field == COUNT)
        return read_count(c, fact);
    return read_number(c, (uint64_t *)((uint8_t *)fact + offset_of[field]));
}

int fact_next(struct fact_cursor *cursor, struct fact *ret_fact)
{
    struct fact_cursor c = *cursor;
    struct fact fact = {0};

    if (c.at == c.end)
        return 0;
    if (*c.at == 0 || *c.at >= FACT_KIND_END)
        return FANQ_ERR_INVALID;
    fact.kind = (enum fact_kind) * c.at++;
    for (const uint8_t *field = fields_of[fact.kind]; *field != NO_MORE; field++)
        if (!read_field(&c, (enum field) * field, &fact))
            return FANQ_ERR_INVALID;
    *cursor = c;
    *ret_fact = fact;
    return 1;
}

/* ---- writing ---- */

int facts_reserve(struct facts *facts, size_t count)
{
    size_t need = facts->length + (count + 1) * NAMELESS_BYTES_MAX + NAME_BYTES_MAX;
    size_t capacity = facts->capacity == 0 ? 1024 : facts->capacity;
    uint8_t *data;

    if (need <= facts->capacity)
        return 0;
    while (capacity < need)
        capacity *= 2;
    data = realloc(facts->data, capacity);
    if (data == NULL)
        return FANQ_ERR_NOMEM;
    facts->data = data;
    facts->capacity = capacity;
    return 0;
}

void facts_clear(struct facts *facts)
{
    facts->length = facts->last = 0;
    facts->count = 0;
    if (facts->capacity > KEPT_BYTES_MAX) {
        free(facts->data);
        facts->data = NULL;
        facts->capacity = 0;
    }
}

static void write_number(struct facts *facts, uint64_t number)
{
    assert(number <= NUMBER_MAX);
    for (; number >= 0x80; number >>= 7)
        facts->data[facts->length++] = (uint8_t)(number | 0x80);
    facts->data[facts->length++] = (uint8_t)number;
}

static void write_field(struct facts *facts, enum field field, const struct fact *fact)
{
    if (field == NAME) {
        write_number(facts, fact->name_length);
        memcpy(facts->data + facts->length, fact->name, fact->name_length);
        facts->length += fact->name_length;
    } else if (field == PRODUCER) {
        memcpy(facts->data + facts->length, fact->producer, FANQ_PRODUCER_BYTES);
        facts->length += FANQ_PRODUCER_BYTES;
    } else if (field == COUNT) {
        assert(fact->end > fact->first);
        write_number(facts, fact->end == UINT64_MAX ? 0 : fact->end - fact->first);
    } else {
        write_number(facts, *(const uint64_t *)((const uint8_t *)fact + offset_of[field]));
    }
}

static bool goes_on(const struct fact *last, const struct fact *fact)
{
    return last->kind == fact->kind && last->stream == fact->stream && last->queue_id == fact->queue_id &&
           last->end == fact->first && last->deliveries == fact->deliveries &&
           last->first_receive_ms == fact->first_receive_ms && last->due_ms == fact->due_ms;
}

/* Whether `fact` goes on where the last one ended: gives that one's first, and takes it away. */
static bool take_neighbour(struct facts *facts, const struct fact *fact, uint64_t *ret_first)
{
    struct fact_cursor c = fact_cursor_over(facts->data + facts->last, facts->length - facts->last);
    struct fact last;

    if ((fact->kind != FACT_GONE && fact->kind != FACT_HELD) || fact_next(&c, &last) != 1 ||
        !goes_on(&last, fact))
        return false;
    *ret_first = last.first;
    facts->length = facts->last;
    facts->count--;
    return true;
}

void facts_add(struct facts *facts, const struct fact *fact)
{
    struct fact whole = *fact;

    (void)take_neighbour(facts, fact, &whole.first);
    assert(facts->capacity - facts->length >= NAMELESS_BYTES_MAX + fact->name_length);
    facts->last = facts->length;
    facts->data[facts->length++] = (uint8_t)fact->kind;
    for (const uint8_t *field = fields_of[fact->kind]; *field != NO_MORE; field++)
        write_field(facts, (enum field) * field, &whole);
    facts->count++;
}
