/* Facts: every durable change of the core but messages themselves, in the bytes in which they stand in the log.
 *
 * A fact says what is, not what to add, so repeating it is harmless, and a state that is later than a fact takes it without
 * harm: replay may begin with a checkpoint whose parts are of different moments, as long as every fact since its beginning
 * follows.
 *
 * A fact is a kind byte and its fields; numbers are LEB128 varints, texts a varint length and bytes.
 *
 *     QUEUE         queue id, name, created, visibility, receive wait    made, or attributes set; an id is made once
 *     QUEUE_END     queue id                                             with all its feeds
 *     TOPIC         stream, name, created
 *     TOPIC_END     stream
 *     OWN           queue id, stream                                     messages sent to the queue come by this stream
 *     STREAM        stream, next seq                                     it exists, and numbers below are used up
 *     SUBSCRIBED    stream, queue id                                     (the topic's stream)
 *     UNSUBSCRIBED  stream, queue id
 *     UNREAD        stream, queue id, first, end or 0                    the feed takes [first, end); 0: from first on, open
 *     GONE          stream, queue id, first, end                         the queue does not need these (any more)
 *     HELD          stream, queue id, first, end, deliveries, first receive, due
 *                                                                        these were delivered so often; due: wall clock of
 *                                                                        the end of a delay, 0: none
 *     PUBLISHED     stream, count                                        a topic's total, for its statistics
 *     STREAM_NEXT   stream                                               streams made from now on have this number or a higher one
 *
 * Volatile by declaration: who holds what in flight, long polls, pushes and their ephemeral queues. */
#pragma once

enum fact_kind {
    FACT_QUEUE = 1,
    FACT_QUEUE_END = 2,
    FACT_TOPIC = 3,
    FACT_TOPIC_END = 4,
    FACT_OWN = 5,
    FACT_STREAM = 6,
    FACT_SUBSCRIBED = 7,
    FACT_UNSUBSCRIBED = 8,
    FACT_UNREAD = 9,
    FACT_GONE = 10,
    FACT_HELD = 11,
    FACT_PUBLISHED = 12,
    FACT_STREAM_NEXT = 13
};
