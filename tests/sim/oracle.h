/* Our promises, checked after every step of a simulated run.
 *
 * Place:    between the workload and the simulated shell. The workload tells it each request before it
 *           is made (oracle_ask_...), the shell each effect before it is carried out, and after each
 *           turn it looks at the whole.
 * Promises: - each request is answered once, with what must be answered, and a publish no earlier and no
 *             later than with the sync of its commit; of a durable core, every change no later than that
 *             (that it is no earlier, crash.c sees)
 *           - what was accepted is appended whole, in order, and delivered to just the queues that had
 *             subscribed
 *           - bytes delivered are the bytes published; delivery counts and first receive times are exact
 *           - a message has at most one holder, and none again after it was deleted
 *           - of one stream, messages are first delivered in order and without gaps; streams are merged
 *             by arrival
 *           - a delivery keeps to count, bytes, credit and the limit on what is in flight, and leaves
 *             nothing out
 *           - those who wait are served in turn, at once, and told in time when there was nothing
 *           - figures and lists say what is so */
#pragma once

#include "book.h"
#include "sim.h"

enum { ORACLE_QUEUES = 10, ORACLE_TOPICS = 5, ORACLE_CONNECTIONS = 8, ORACLE_PIECE_BYTES = 14 };

/* A piece of what a consumer was given. */
struct hold {
    struct book_queue *queue;
    struct book_feed *feed; /* good while the queue is alive */
    uint64_t queue_id, batch, stream, first, count;
};

struct holds {
    struct hold *items;
    uint64_t count, capacity;
};

/* A long poll or a push. */
struct waiter {
    enum fanq_op op;
    uint32_t connection;
    uint64_t id;
    struct book_queue *queues[FANQ_RECEIVE_QUEUES_MAX];
    uint32_t queue_count;
    uint64_t place;  /* in line; 0: stands aside */
    uint64_t due_ms; /* UINT64_MAX: a push */
    uint64_t messages, bytes;
    bool auto_delete;
    uint64_t visibility_ms;     /* or FANQ_QUEUE_DEFAULT */
    struct topic_record *topic; /* push on a topic: queues[0] is ephemeral */
    struct holds holds;         /* push */
    uint64_t served_turn;       /* push */
};

struct ask {
    enum fanq_op op;
    bool answered;
    int err;     /* what it must be answered with */
    int end_err; /* a push that has ended: what its end must say */
    uint64_t value;
    bool parked;                /* a peek that waits for memory */
    bool held;                  /* until a commit is synced, which may be in a later turn */
    struct book_queue *queue;   /* of a peek; made or set */
    struct topic_record *topic; /* made */
};

/* A request that is answered when a commit is synced. */
struct held_ask {
    uint64_t index, commit;
};

struct connection {
    bool blocked;
    uint32_t incarnation;
    struct ask *asks; /* of this incarnation, by the low half of the request id */
    uint64_t ask_count, ask_capacity;
    uint64_t open_asks; /* to be answered by the end of the turn */
    uint32_t parked;    /* peeks that wait for memory */
    uint64_t turn_asks; /* the first one of this turn */
    struct held_ask *held;
    uint64_t held_count, held_capacity;
    struct holds given; /* for the workload: to ack, nack, extend */
};

struct topic_record {
    bool alive;
    uint32_t slot;
    struct book_stream *stream;
    struct book_queue **subscribers; /* ephemeral ones too */
    uint32_t subscriber_count, subscriber_capacity, named_count;
    uint64_t published;
    struct topic_record *next;
};

/* A publish or send that was accepted. */
struct accepted {
    uint32_t connection, incarnation;
    uint64_t id;
    bool want_ids;
    struct book_stream *stream;
    uint64_t first, count, commit, subscription_count;
    bool stored; /* somebody took it */
};

struct accepteds {
    struct accepted *items;
    uint64_t head, count, capacity; /* head: the first that is not answered */
    uint64_t committed;             /* the first that is in no commit */
};

struct oracle {
    struct sim *sim;
    bool auto_create, durable;
    bool absent_blocks; /* at some time: messages that came later may overtake */
    bool draining;
    struct book book;
    struct book_queue *queues[ORACLE_QUEUES]; /* by name; NULL: there is none */
    struct topic_record *topics[ORACLE_TOPICS];
    struct topic_record *all_topics;
    struct connection connections[ORACLE_CONNECTIONS];
    struct waiter **waiters; /* in order of arrival */
    uint32_t waiter_count, waiter_capacity;
    uint64_t next_place, next_change;
    uint64_t next_uid, next_arrival;
    struct accepteds accepteds;
    /* What the core has left in this turn: if all that is sent counts, and if only what is stored does. */
    uint64_t room_least, room_most;
    bool refused; /* the publish under way got NO_ROOM */
    uint64_t delivered, deleted, published, empty;
};

void oracle_init(struct oracle *o, struct sim *sim);
void oracle_close(struct oracle *o);
/* struct sim_options.on_effect */
void oracle_effect(void *oracle, const struct effect *effect);

/* The simulated shell's turn, with the oracle looking on. */
void oracle_turn(struct oracle *o);
void oracle_turn_end(struct oracle *o);

/* The next request id of a connection. */
uint64_t oracle_next_id(const struct oracle *o, uint32_t connection);

/* Before a request is made; r->id is oracle_next_id(). Names are those of slots (oracle_queue_name). */
void oracle_ask(struct oracle *o, uint32_t connection, const struct fanq_request *r);
/* After it was made: its effects must have been carried out if oracle_must_see() says so. */
bool oracle_must_see(const struct oracle *o, const struct fanq_request *r);
void oracle_asked(struct oracle *o, uint32_t connection, const struct fanq_request *r);

void oracle_disconnect(struct oracle *o, uint32_t connection);
void oracle_block(struct oracle *o, uint32_t connection, bool blocked);
void oracle_drain(struct oracle *o);

struct fanq_bytes oracle_queue_name(uint32_t slot);
struct fanq_bytes oracle_topic_name(uint32_t slot);

/* Fills a record of `bytes` bytes, at least ORACLE_PIECE_BYTES, that nobody else publishes. */
void oracle_record_write(uint8_t *at, uint64_t uid, uint32_t bytes);

/* ---- between the files of the oracle ---- */

uint32_t oracle_slot(struct fanq_bytes name); /* of a name made by the functions above */
struct book_queue *oracle_queue_make(struct oracle *o, uint32_t slot);
struct book_queue *oracle_queue_resolve(struct oracle *o, struct fanq_bytes name, bool create);
void oracle_queue_end(struct oracle *o, struct book_queue *q); /* and of all who wait for it */
struct topic_record *oracle_topic_make(struct oracle *o, uint32_t slot);
struct topic_record *oracle_topic_resolve(struct oracle *o, struct fanq_bytes name, bool create);
void oracle_topic_end(struct oracle *o, struct topic_record *t);
void oracle_subscribe(struct topic_record *t, struct book_queue *q);
bool oracle_unsubscribe(struct topic_record *t, struct book_queue *q); /* false: it was not */
struct waiter *oracle_waiter_make(struct oracle *o, uint32_t connection, const struct fanq_request *r);
uint32_t oracle_waiters_of(const struct oracle *o, uint32_t connection);
struct ask *oracle_ask_add(struct oracle *o, uint32_t connection, const struct fanq_request *r);
void oracle_ask_is_long(struct oracle *o, uint32_t connection); /* it is answered later than in this turn */
struct waiter *oracle_waiter_find(const struct oracle *o, uint32_t connection, uint64_t id);
bool oracle_waiter_eligible(const struct oracle *o, const struct waiter *w);
void oracle_waiter_end(struct oracle *o, struct waiter *w);
void oracle_line_up(struct oracle *o, struct waiter *w);
struct ask *oracle_ask_of(struct oracle *o, uint32_t connection, uint64_t id);
void oracle_deliver(struct oracle *o, const struct effect *effect);
void oracle_commit(struct oracle *o, const struct commit *commit);
void oracle_note_synced(struct oracle *o); /* what the shell has said to be synced */
/* Checks a record against what was published; gives its length. */
uint32_t oracle_record_check(const uint8_t *at, const struct book_body *body, const char *where);
void holds_add(struct holds *h, const struct hold *hold);
bool bytes_equal(struct fanq_bytes a, struct fanq_bytes b);
