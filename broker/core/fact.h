/* Facts: every durable change of the core but messages themselves, in the bytes in which they stand in the log.
 *
 * A fact says what is, not what to add, so repeating it is harmless, and a state that is later than a fact takes it without
 * harm: replay may begin with a checkpoint whose parts are of different moments, as long as every fact since its beginning
 * follows.
 *
 * A fact is a kind byte and its fields; numbers are LEB128 varints below 2^63, texts a varint length and bytes, a producer
 * its 16 bytes.
 *
 *     QUEUE         queue id, name, created, visibility, receive wait, early delivery (0 or 1)
 *                                                                        made, or attributes set; an id is made once
 *     QUEUE_END     queue id                                             with all its feeds
 *     TOPIC         stream, name, created
 *     TOPIC_END     stream, seq                                          its subscriptions end there, too
 *     OWN           queue id, stream                                     messages sent to the queue come by this stream
 *     STREAM        stream, seq                                          it exists, and numbers below seq are used up
 *     SUBSCRIBED    stream, queue id, seq                                the queue takes what the topic brings from seq on
 *     UNSUBSCRIBED  stream, queue id, seq                                and nothing from seq on
 *     UNREAD        stream, queue id, first, count or 0                  the queue takes these, too; 0: from first on
 *     GONE          stream, queue id, first, count                       the queue does not need these (any more)
 *     HELD          stream, queue id, first, count, deliveries, first receive, due
 *                                                                        these were delivered so often; due: wall clock of
 *                                                                        the end of a delay, 0: none
 *     STREAM_NEXT   stream                                               streams made from now on have this number or a higher one
 *     PRODUCER      producer, seq                                        its publishes with request ids up to seq were applied, but
 *     REFUSED       producer, first, count, error                        for these, which were refused
 *
 * UNREAD and STREAM_NEXT stand in checkpoints alone. What is GONE or HELD was given out, so everything the queue takes below
 * it was, too; what no fact says to be gone comes again.
 *
 * Volatile by declaration: who holds what in flight, long polls, pushes and their ephemeral queues. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FACT_KINDS(X)                                                                                        \
    X(QUEUE, 1)                                                                                              \
    X(QUEUE_END, 2)                                                                                          \
    X(TOPIC, 3)                                                                                              \
    X(TOPIC_END, 4)                                                                                          \
    X(OWN, 5)                                                                                                \
    X(STREAM, 6)                                                                                             \
    X(SUBSCRIBED, 7)                                                                                         \
    X(UNSUBSCRIBED, 8)                                                                                       \
    X(UNREAD, 9)                                                                                             \
    X(GONE, 10)                                                                                              \
    X(HELD, 11)                                                                                              \
    X(STREAM_NEXT, 12)                                                                                       \
    X(PRODUCER, 13)                                                                                          \
    X(REFUSED, 14)

enum fact_kind {
#define X(name, number) FACT_##name = number,
    FACT_KINDS(X)
#undef X
        FACT_KIND_END
};

/* What is not a field of its kind is 0. */
struct fact {
    enum fact_kind kind;
    uint64_t queue_id, stream;
    uint64_t seq;        /* STREAM, TOPIC_END, SUBSCRIBED, UNSUBSCRIBED, PRODUCER */
    uint64_t first, end; /* UNREAD, GONE, HELD, REFUSED; end is UINT64_MAX for an UNREAD that is open */
    uint64_t deliveries, first_receive_ms, due_ms;
    uint64_t created_ms, visibility_ms, receive_wait_ms;
    uint64_t early_delivery; /* 0 or 1 */
    const char *name;        /* "account:region:name", not terminated; borrowed */
    uint64_t name_length;
    const uint8_t *producer; /* FANQ_PRODUCER_BYTES; borrowed */
    uint64_t error;          /* its number, as on the wire */
};

const char *fact_name(enum fact_kind kind); /* "QUEUE_END" */

/* ---- reading ---- */

struct fact_cursor {
    const uint8_t *at, *end;
};

static inline struct fact_cursor fact_cursor_over(const uint8_t *facts, uint64_t bytes)
{
    return (struct fact_cursor){facts, bytes > 0 ? facts + bytes : facts};
}

/* Takes the next fact. 1: it is in *ret_fact; 0: there is none left; FANQ_ERR_INVALID: these bytes are no facts. Never reads
 * beyond the cursor's end, whatever they are. */
int fact_next(struct fact_cursor *cursor, struct fact *ret_fact);

/* ---- writing ---- */

/* A growing row of facts. */
struct facts {
    uint8_t *data; /* malloc'd: free() it */
    size_t length, capacity;
    uint32_t count;
    size_t last; /* where the last one begins */
};

/* Makes room for `count` facts without names and one with. 0 or FANQ_ERR_NOMEM; then facts_add() cannot fail. */
int facts_reserve(struct facts *facts, size_t count);

void facts_clear(struct facts *facts); /* keeps the memory, unless it is much */

/* A GONE or HELD that only goes on where the last fact ended makes that one longer. */
void facts_add(struct facts *facts, const struct fact *fact);
