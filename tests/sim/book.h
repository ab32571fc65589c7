/* What the broker should know, kept the naive way: one entry a message and queue.
 *
 * Place:  beside the core, told the same things. It decides nothing about order and choice; it knows
 *         which message is in which state, so that whatever the core does can be checked against it
 *         (oracle.h).
 * States: PENDING -> READY (-> PENDING when a queue ceases to be early) -> HELD -> READY (timeout, nack) | DELAYED -> READY | GONE; READY -> GONE in
 *         auto mode, by purge or by drop-oldest. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum message_state {
    MESSAGE_NONE,    /* this seq was never the queue's */
    MESSAGE_PENDING, /* accepted, not synced yet (of an early queue: not committed yet) */
    MESSAGE_READY,
    MESSAGE_HELD,
    MESSAGE_DELAYED,
    MESSAGE_GONE
};

enum { MESSAGE_STATES = MESSAGE_GONE + 1 };

struct book_message {
    uint8_t state;
    uint32_t deliveries;
    uint64_t batch;
    uint64_t until_ms; /* HELD, DELAYED */
    uint64_t first_receive_ms;
    uint64_t changed_by; /* the last nack or extend: its ranges may overlap, each message counts once */
};

/* What stands at a seq of a stream. */
struct book_body {
    uint64_t uid;
    uint32_t bytes;            /* of the record */
    uint64_t arrival, time_ms; /* known once committed */
};

struct book_stream {
    uint64_t number;          /* 0: not known yet */
    struct book_body *bodies; /* by seq */
    uint64_t next_seq, capacity;
    uint64_t committed_seq, synced_seq;
    struct book_stream *next;
};

struct book_feed {
    struct book_stream *stream;
    uint64_t first; /* messages[i] is seq first + i */
    struct book_message *messages;
    uint64_t count, capacity;
    bool open;
    uint64_t unread_from; /* no message below is READY and was never delivered */
    uint64_t live_from;   /* no message below is anything but GONE or NONE */
};

struct book_queue {
    bool alive;
    bool ephemeral;
    uint32_t slot; /* whose name it has */
    uint64_t id;   /* 0: not known yet */
    uint64_t visibility_ms, receive_wait_ms;
    bool early; /* what is committed is READY */
    struct book_stream *own;
    struct book_feed **feeds;
    uint32_t feed_count, feed_capacity;
    uint64_t counts[MESSAGE_STATES];
    uint64_t ready_again; /* of the READY: were delivered before */
    uint64_t sent, delivered, deleted;
    uint64_t arrival_last; /* of first deliveries */
    uint64_t absent_turn;  /* when it was last seen to have only absent messages */
};

/* What the limit on messages in flight counts: those held and those that wait after a nack. */
static inline uint64_t book_queue_runs(const struct book_queue *q)
{
    return q->counts[MESSAGE_HELD] + q->counts[MESSAGE_DELAYED];
}

struct book_timer {
    uint64_t due_ms;
    struct book_queue *queue;
    struct book_feed *feed;
    uint64_t first, count;
};

struct book {
    uint64_t now_ms;
    struct book_queue **queues; /* all that ever were */
    uint32_t queue_count, queue_capacity;
    struct book_stream *streams; /* likewise */
    struct book_timer *timers;   /* a heap by due_ms; entries may be stale */
    size_t timer_count, timer_capacity;
};

void book_init(struct book *b);
void book_close(struct book *b);

struct book_stream *book_stream_new(struct book *b);
struct book_queue *book_queue_new(struct book *b);
void book_queue_end(struct book_queue *q);

struct book_feed *book_feed_find(const struct book_queue *q, const struct book_stream *s);
struct book_feed *book_feed_by_number(const struct book_queue *q, uint64_t stream);
void book_feed_open(struct book_queue *q, struct book_stream *s);
void book_feed_close(struct book_queue *q, struct book_stream *s);

/* The message, or NULL when seq was never the queue's. */
struct book_message *book_message(const struct book_feed *f, uint64_t seq);

/* The next seq of the stream holds this record. */
void book_stream_append(struct book_stream *s, uint64_t uid, uint32_t bytes);
/* The queue takes [first, end), which were just appended. */
void book_queue_take(struct book_queue *q, struct book_stream *s, uint64_t first, uint64_t end);

/* Every change of a message's state goes by here, and the counts with it. */
void book_move(struct book_queue *q, struct book_message *m, enum message_state state);

/* [.., end) of the stream may be received: by all, or by early queues. */
void book_synced(struct book *b, struct book_stream *s, uint64_t end);
void book_committed(struct book *b, struct book_stream *s);
void book_queue_set_early(struct book_queue *q, bool early);

/* [first, first + count) are HELD or DELAYED; those that still are at due_ms come back then. */
void book_timer_add(struct book *b, struct book_queue *q, struct book_feed *f, uint64_t first, uint64_t count,
                    uint64_t due_ms);
void book_advance(struct book *b, uint64_t now_ms);
/* When the next message comes back; UINT64_MAX: none. */
uint64_t book_next_ms(struct book *b);

void book_purge(struct book_queue *q);

/* The unread READY message that comes next; NULL: none. */
struct book_message *book_unread(struct book_feed *f, uint64_t *ret_seq);
