/* The pure broker: topics, queues, subscriptions, and who holds which message.
 *
 * Place:    one thread, the loop's; no clock, file, socket or random source. It is told what happened (an event,
 *           with the time on it) and answers what to do (effects), so equal histories give equal effects.
 * Idea:     a message is (stream, seq). The core never sees a message's bytes but through the view, block by block.
 * Turn:     one turn of the loop is one batch:
 *
 *               TURN        time, room left for messages; timers that came due
 *               REQUEST...  (DISCONNECT, BLOCKED, WRITABLE, RESIDENT, SYNCED in any number and order)
 *               COMMIT      lays the turn's publishes out as blocks     -> EFFECT_COMMIT, if there were any
 *               SYNCED      the commit is as safe as the mode promises  -> answers; its messages may be received
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
        uint32_t connection; /* DISCONNECT, BLOCKED (its socket is full: give it no messages), WRITABLE */
        struct {
            uint64_t stream, first_seq, count;
        } resident;      /* these messages are in memory now, as an EFFECT_FETCH asked */
        uint64_t synced; /* SYNCED: the number of the commit, and of all before it */
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
};

struct effect {
    enum effect_kind kind;
    uint32_t connection; /* REPLY, DELIVER */
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
    bool auto_create;    /* SEND, RECEIVE and PUSH create a missing queue, PUBLISH and PUSH a missing topic */
    uint32_t connections_max;
    uint32_t queues_max;
    uint32_t topics_max;
    uint32_t subscriptions_max;
    uint32_t waiters_per_connection_max;     /* long polls and pushes */
    uint32_t waits_max;                      /* of all connections, one for each queue they wait for */
    uint64_t in_flight_per_queue_max;        /* messages; SQS: 120,000 */
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

struct core_figures {
    uint64_t queues, topics, subscriptions, streams;
    uint64_t waiters;                       /* long polls and pushes */
    uint64_t in_flight;                     /* messages */
    uint64_t published, delivered, deleted; /* totals */
};

void core_figures(const struct core *c, struct core_figures *ret_figures);

/* ---- for tests ---- */

/* Asserts every invariant of the state (floors, runs, counts, lists); O(everything). */
void core_check(const struct core *c);
