/* The pure broker: topics, queues, subscriptions, and who holds which message.
 *
 * Place:    one thread, the loop's; no clock, file, socket or random source. It is told what happened (an event,
 *           with the time on it) and answers what to do (effects), so equal histories give equal effects.
 * Idea:     a message is (stream, seq). The core never sees a message's bytes but through the view, block by block.
 * Turn:     one turn of the loop is one batch:
 *
 *               TURN        time, room left for messages; timers that came due
 *               REQUEST...  (PRODUCER, DISCONNECT, BLOCKED, WRITABLE, RESIDENT, SYNCED in any number and order)
 *               COMMIT      lays the turn's publishes out as blocks     -> EFFECT_COMMIT, if there were any: carried out
 *                                                                          before SERVE, as early queues may have it
 *               SYNCED      the commit is as safe as the mode promises  -> answers; all queues may have its messages
 *               SERVE       every queue that can give serves its waiters  -> EFFECT_DELIVER, EFFECT_TRIM
 *
 *           In memory mode SYNCED follows COMMIT at once; with a log it comes in a later turn.
 * Effects:  are carried out in order, after each step or after several. An effect never changes the core by itself;
 *           what comes of it (a connection that blocks) comes back as an event. */
#pragma once

#include "base/arena.h"
#include "proto/reply.h"
#include "view.h"

/* ---- what happened ---- */

enum event_kind {
    EVENT_TURN,
    EVENT_REQUEST,
    EVENT_DISCONNECT,
    EVENT_BLOCKED,
    EVENT_WRITABLE,
    EVENT_RESIDENT,
    EVENT_COMMIT,
    EVENT_SYNCED,
    EVENT_SERVE,
    EVENT_PRODUCER, /* a connection has said HELLO as a producer */
    EVENT_DRAIN, /* every long poll is answered empty, every push ends with DRAINING, new ones are refused */
};

struct event {
    enum event_kind kind;
    union {
        struct {
            uint64_t now_ms;     /* monotonic; never goes back */
            uint64_t wall_ms;    /* never goes back either: the shell sees to it */
            uint64_t room_bytes; /* of records that the turn may add; beyond it publishes get NO_ROOM */
        } turn;
        /* Any op but HELLO, which is the shell's. Records are borrowed until this turn's EFFECT_COMMIT is done. */
        struct {
            uint32_t connection; /* < core_options.connections_max */
            const struct fanq_request *request;
        } request;
        struct {
            uint32_t connection; /* that has made no request yet */
            const uint8_t *id;   /* FANQ_PRODUCER_BYTES */
        } producer;
        uint32_t connection; /* DISCONNECT, BLOCKED (its socket is full: give it no messages), WRITABLE */
        struct {
            uint64_t stream, first_seq, count;
        } resident;      /* these messages are in memory now, as an EFFECT_FETCH asked */
        uint64_t synced; /* SYNCED: the number of the commit, and of all before it */
        bool
            always; /* COMMIT: even when there is nothing to commit, as a witness that what came before is safe */
    };
};

/* ---- what to do ---- */

enum effect_kind {
    EFFECT_REPLY,      /* send reply to connection */
    EFFECT_DELIVER,    /* the same for a reply DELIVER with slices: record bytes go out by writev */
    EFFECT_COMMIT,     /* append these blocks */
    EFFECT_TRIM,       /* no queue needs messages of stream below seq any more */
    EFFECT_STREAM_END, /* nobody needs any message of stream, and there will be no more */
    EFFECT_FETCH,      /* bring messages into memory, then say RESIDENT */
    EFFECT_CLOSE,      /* end the connection: its producer has come by another one */
};

/* One piece of a block as it came from a producer. */
struct commit_piece {
    struct fanq_records records;
};

/* The records of one stream in this commit: laid out by the shell as blocks of at most BLOCK_RECORDS_MAX
 * records or BLOCK_BYTES_MAX bytes. */
struct commit_stream {
    uint64_t stream;
    uint64_t first_seq;
    uint64_t count;
    uint64_t bytes;
    const struct commit_piece *pieces;
    uint32_t piece_count;
};

struct commit {
    uint64_t number; /* 1, 2, 3... */
    uint64_t time_ms;
    const struct commit_stream *streams;
    uint32_t stream_count;
    const uint8_t *facts; /* fact.h; none unless durable */
    uint32_t fact_bytes;
    uint32_t fact_count;
};

struct effect {
    enum effect_kind kind;
    uint32_t connection; /* REPLY, DELIVER, CLOSE */
    union {
        struct fanq_reply reply; /* REPLY, DELIVER */
        struct commit commit;
        struct {
            uint64_t stream, seq;
        } trim; /* TRIM; STREAM_END */
        struct {
            uint64_t stream, first_seq, count;
        } fetch;
    };
};

/* The effects of some steps, in order. All that they point to lives until effects_clear(). */
struct effects {
    struct effect *items;
    size_t count;
    size_t capacity;
    uint64_t generation; /* how often it was cleared: tells whether an index into items still holds */
    struct arena arena;
};

void effects_init(struct effects *out);
void effects_close(struct effects *out);
void effects_clear(struct effects *out);

/* Makes room for `count` more items: for the shell, which puts answers of its own between the core's.
 * 0 or FANQ_ERR_NOMEM. */
int effects_reserve(struct effects *out, size_t count);

/* ---- the broker ---- */

struct core;

struct core_options {
    struct view view;
    uint64_t epoch;      /* of this run: larger than that of any run before */
    uint64_t hash_seed;  /* secret and random in production */
    const char *account; /* what a bare name means; "000000000000" */
    const char *region;  /* "us-east-1" */
    bool durable;        /* changes become facts, and are answered when their commit is synced */
    bool auto_create;    /* SEND, RECEIVE and PUSH create a missing queue, PUBLISH and PUSH a missing topic */
    uint32_t connections_max;
    uint32_t queues_max;
    uint32_t topics_max;
    uint32_t subscriptions_max;
    uint32_t producers_max;                  /* remembered; every connection may have one in any case */
    uint64_t producer_ms_max;                /* how long one without a connection is remembered */
    uint32_t waiters_per_connection_max;     /* long polls and pushes */
    uint32_t waits_max;                      /* of all connections, one for each queue they wait for */
    uint64_t in_flight_per_queue_max;        /* messages; SQS: 120,000 */
    uint64_t serve_bytes_max;                /* what one SERVE gives, but for its last delivery */
    uint64_t ephemeral_backlog_messages_max; /* of an ephemeral subscription, beyond which the oldest are
                                                dropped */
    uint64_t ephemeral_backlog_bytes_max;
};

/* Gives a core; 0 or FANQ_ERR_NOMEM. */
int core_new(const struct core_options *options, struct core **ret_core);
void core_free(struct core *c); /* accepts NULL */

/* Advances the broker by one event.
 *
 * Touches only c and out and reads no clock. Borrows ev. Effects are appended to out. Refusing a request is a
 * reply effect, not an error. FANQ_ERR_NOMEM: the event was not applied, or (SERVE, SYNCED) not wholly; the
 * same event may be stepped again. */
int core_step(struct core *c, const struct event *ev, struct effects *out);

/* When the next turn must come at the latest, in monotonic milliseconds; UINT64_MAX: only when something
 * happens. A time that has passed: at once (a queue has more to give than one turn may). */
uint64_t core_next_ms(const struct core *c);

/* Whether the core remembers the producer of that id, of FANQ_PRODUCER_BYTES. */
bool core_producer_known(const struct core *c, const uint8_t *id);

/* The bytes of facts that no commit holds yet: what they say is not on its way to the disk. */
uint64_t core_fact_bytes(const struct core *c);

/* Gives the first row of neighbouring messages within [first, end) of the stream that some queue needs, or may come to need
 * because they are not receivable yet (the next row may begin where it ends); false: none. */
bool core_wanted(const struct core *c, uint64_t stream, uint64_t first, uint64_t end, uint64_t *ret_first,
                 uint64_t *ret_end);

/* The same for all of [first, end) at once, which costs little more: sets the bits, bit 0 for first, of those needed. */
void core_mark_wanted(const struct core *c, uint64_t stream, uint64_t first, uint64_t end, uint64_t *bits);

/* ---- with a log: coming back, and going on from a checkpoint ----
 *
 *     core_new, TURN (the clocks), core_replay(facts of the checkpoint), then for each commit behind its beginning
 *     core_replay_block() for its blocks and core_replay() for its facts, core_replay_end(); then turns as ever. */

/* Takes facts, from a checkpoint or a commit. 0, FANQ_ERR_NOMEM, or FANQ_ERR_INVALID: they are not what this version
 * writes (their hashes were right, so this is a fault in a program); then the core can only be freed. */
int core_replay(struct core *c, const uint8_t *facts, uint64_t bytes);
int core_replay_block(struct core *c, uint64_t stream, uint64_t first_seq, uint64_t count);
/* next_commit: the number of the next one. Afterwards all that is stored may be received. */
int core_replay_end(struct core *c, uint64_t next_commit);
/* Then, when the view knows every block there is: messages that are not stored any more are gone. (Their loss was
 * accepted; or they were deleted, and forgotten, before the fact that says so was safe.) Gives how many that were, counted
 * for each queue. 0 or FANQ_ERR_NOMEM. */
int core_forget_missing(struct core *c, uint64_t *ret_count);
/* Whether messages of the stream are needed: those at or above *ret_floor. */
bool core_stream_needed(const struct core *c, uint64_t stream, uint64_t *ret_floor);

/* A checkpoint in the making: facts that make the state of the core anew. What there is (the catalogue) is written as of its
 * beginning; then queue by queue, in slices, each as of its slice. It holds once every commit so far is synced. */
struct core_checkpoint {
    uint8_t *facts; /* the caller's in the end: free() */
    uint64_t bytes, capacity;
    uint64_t count;
    uint64_t next_queue_id, next_stream, next_seq; /* where the next slice begins */
    bool histories; /* with the histories of that feed: what is gone is written */
};

/* Between turns. 0 or FANQ_ERR_NOMEM. */
int core_checkpoint_begin(const struct core *c, struct core_checkpoint *ret_checkpoint);
/* Goes on until some `budget_bytes` more facts are written. *ret_ended: nothing is left. 0 or FANQ_ERR_NOMEM. */
int core_checkpoint_slice(const struct core *c, struct core_checkpoint *checkpoint, uint64_t budget_bytes,
                          bool *ret_ended);
void core_checkpoint_free(struct core_checkpoint *checkpoint);

struct core_figures {
    uint64_t queues, topics, subscriptions, streams;
    uint64_t producers;
    uint64_t waiters;                       /* long polls and pushes */
    uint64_t in_flight;                     /* messages */
    uint64_t published, delivered, deleted; /* totals */
};

void core_figures(const struct core *c, struct core_figures *ret_figures);

/* ---- for tests ---- */

/* Asserts every invariant of the state (floors, runs, counts, lists); O(everything). */
void core_check(const struct core *c);
