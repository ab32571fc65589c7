/* A queue as simple as it can be: one list of messages for each state. See model.c. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
    TOPICS = 2,
    STREAMS = TOPICS + 1, /* that a queue takes from: the last is its own */
    OWN = TOPICS
};

struct message {
    struct message *next, *previous;
    struct place *place; /* NULL: gone */
    uint64_t uid, seq, first_receive_ms;
    uint32_t stream, bytes, deliveries;
};

/* A list of messages. */
struct place {
    struct place *next; /* batches and delays of the queue */
    struct message head;
    uint64_t batch; /* 0: a delay, or what is not in flight */
    uint64_t due_ms, order;
    uint64_t count;
};

struct feed {
    struct message **messages; /* by seq, from first on */
    uint64_t first, count, capacity;
    bool open;
};

struct queue {
    uint64_t id;
    uint64_t own_seq, visibility_ms;
    struct place again, unread, staged[STREAMS];
    struct place *timed; /* batches and delays */
    struct feed feeds[STREAMS];
    uint64_t sent, delivered, deleted;
    uint64_t next_order; /* of what is timed */
};

struct queue *model_queue_new(uint64_t visibility_ms);
void model_queue_free(struct queue *q);

/* The message of a seq, or NULL. */
struct message *model_message(const struct feed *f, uint64_t seq);
void model_leave(struct message *m);
void model_move(struct message *m, struct place *p); /* to its end */

/* A new batch in flight, or delay (batch 0); empty ones go with model_timed_sweep(). */
struct place *model_timed_new(struct queue *q, uint64_t batch, uint64_t due_ms);
void model_timed_sweep(struct queue *q);
uint64_t model_timed_count(const struct queue *q, bool batches);
/* What is over comes back, in order of time. */
void model_queue_advance(struct queue *q, uint64_t now_ms);

/* A message is published, and arrives at the end of the turn. */
void model_queue_stage(struct queue *q, uint32_t stream, uint64_t seq, uint64_t uid, uint32_t bytes);
void model_stream_arrives(struct queue *q, uint32_t stream);
void model_queue_purge(struct queue *q);

/* Which message a receive gets next; NULL: there is none. */
struct message *model_next(struct queue *q);
/* It goes to a batch, or is gone when batch is NULL. */
void model_take(struct queue *q, struct message *message, struct place *batch, uint64_t wall_ms);
