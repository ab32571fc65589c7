/* The core's data, for the files of this folder alone.
 *
 *     topic --> stream <--- feed ---> queue ---> consumers (through struct wait)
 *                 ^          |          |
 *     queue ------+          +- unread  +- redelivery, absent, batches and delays (struct holder)
 *     (its own)              +- runs --------> holder
 *
 * Of a feed's messages, those at or above `next` are unread (or not this feed's); those below are gone or lie
 * in exactly one run, and each run belongs to exactly one holder: a batch in flight, a delay, or one of the
 * queue's two lists of messages that come again. */
#pragma once

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/map.h"
#include "base/slab.h"
#include "base/tree.h"
#include "base/wheel.h"
#include "core.h"
#include "fact.h"
#include "gone.h"

struct queue;
struct topic;
struct consumer;

enum timer_kind { TIMER_HOLDER, TIMER_CONSUMER };

/* A row of messages numbered without gaps: a topic's, or a queue's own. */
struct stream {
    struct tree_node node; /* core->streams, by number */
    uint64_t number;
    uint64_t next_seq;      /* the next message gets it */
    uint64_t committed;     /* messages below stand in a commit: early queues may receive them */
    uint64_t receivable;    /* messages below are synced, too: all queues may receive them */
    uint64_t trimmed;       /* messages below are not needed; the shell knows. It may pass `receivable` */
    struct list feeds;      /* struct feed, link_stream */
    struct list caught_up;  /* feeds with nothing unread below feed_limit() but an open run: when a commit is
                               synced, it moves just these */
    struct list early;      /* those of early queues, instead: a commit moves just these */
    struct list ephemerals; /* feeds of ephemeral queues: their backlog is bounded */
    size_t feed_count;
    size_t feeds_at_trimmed; /* feeds whose floor is at `trimmed`: when it drops to zero, trimmed may rise */
    struct list link_dirty;  /* core->dirty_streams: look at `trimmed`, or at the stream's end, in SERVE */
    bool owned;              /* a topic or queue may still append */
    struct topic *topic;     /* whose it is; NULL: a queue's own, or nobody's any more */

    /* What this turn brought, until COMMIT. */
    struct list link_staged; /* core->staged_streams */
    uint64_t staged_first_seq;
    uint64_t staged_count;
    uint64_t staged_bytes;
    uint32_t staged_pieces;
    uint32_t first_piece, last_piece; /* indexes into core->pieces */
    uint32_t marks;                   /* commits not yet synced that hold messages of it */
};

/* [first, end) of a stream that a feed has not read; end is SEQ_OPEN for the run that still grows. */
struct unread {
    uint64_t first, end;
};

#define SEQ_OPEN UINT64_MAX

struct feed {
    struct tree_node node; /* queue->feeds, by stream number */
    struct queue *queue;
    struct stream *stream;
    struct list link_stream;       /* stream->feeds */
    struct list link_caught_up;    /* stream->caught_up or stream->early */
    struct list link_ready;        /* queue->ready: has something unread below feed_limit() */
    struct tree_node arrival_node; /* queue->sorted, instead, when the queue has several of them */
    bool sorted;                   /* it lies there */
    struct list link_ephemeral;
    uint64_t floor; /* everything below is gone */
    uint64_t next;
    struct unread *unread; /* rising, not touching; the first is the one `next` is in or before */
    uint32_t unread_count, unread_capacity;
    struct unread *unread_memory; /* what `unread` lies in; its capacity is counted from here */
    struct tree runs;             /* struct run, by first */
    struct gone gone;
    uint64_t dropped;      /* by the bound of an ephemeral subscription, not yet told */
    uint64_t head_arrival; /* of the block `next` is in; 0: not looked up yet */
    bool fetching;         /* the block at fetch_seq is on its way into memory */
    uint64_t fetch_seq;
};

/* Neighbouring messages of a feed with one history and one holder. Both edges are live; inside, gone bits are
 * skipped. */
struct run {
    struct tree_node node; /* feed->runs; node.key is the first seq */
    uint64_t end;
    uint64_t live;
    uint64_t first_receive_ms; /* wall clock */
    uint32_t deliveries;
    struct feed *feed;
    struct holder *holder;
    struct list link; /* holder->runs */
};

enum holder_kind {
    HOLDER_BATCH,      /* in flight; when its time comes the runs go to redelivery */
    HOLDER_DELAY,      /* waiting after a nack; likewise */
    HOLDER_REDELIVERY, /* may be received now, before anything unread */
    HOLDER_ABSENT      /* likewise, but being fetched into memory */
};

struct holder {
    enum holder_kind kind;
    struct queue *queue;
    struct list runs;
    uint64_t live; /* sum over the runs */
    struct timer timer;
    uint64_t batch;            /* its number */
    struct list link_consumer; /* consumer->batches: a push's batches end with it */
};

struct queue {
    struct text_node name_node; /* core->queue_order; absent for ephemeral ones */
    struct tree_node id_node;   /* core->queues_by_id */
    char *name;                 /* NULL: ephemeral */
    uint32_t name_length;
    uint64_t id;
    bool
        journalled; /* its changes become facts, in a durable core: it has a name, and is not being deleted */
    struct core *core;
    uint64_t visibility_ms, receive_wait_ms;
    bool early_delivery; /* what is committed may be received before it is synced */
    uint64_t created_ms;
    struct tree feeds;
    struct list ready;  /* feeds whose next message's arrival is not looked up */
    struct tree sorted; /* the other ready feeds, by that arrival */
    struct holder redelivery, absent;
    struct list waits; /* struct wait, link_queue: who wants messages, in turn */
    struct list aside; /* likewise, but with a blocked connection or without credit */
    struct list link_kicked;
    struct list subscriptions; /* struct subscription, link_queue */
    struct stream *own;        /* NULL until something is sent to it */
    size_t fetching_feeds;
    size_t wait_count;                   /* in both lists */
    uint64_t in_flight, delayed;         /* messages */
    uint64_t delivered, deleted, purged; /* totals; purged are not deleted */
};

struct topic {
    struct text_node name_node;
    char *name;
    uint32_t name_length;
    uint64_t created_ms;
    struct stream *stream;
    struct text_tree subscriptions; /* by queue name */
    struct list pushes;             /* struct consumer, link_topic: ephemeral subscriptions */
};

struct subscription {
    struct text_node node; /* topic->subscriptions */
    struct list link_queue;
    struct topic *topic;
    struct queue *queue;
};

enum consumer_kind { CONSUMER_RECEIVE, CONSUMER_PUSH, CONSUMER_PEEK };

/* Who waits for messages: a long poll, a push, or a peek that waits for memory. */
struct consumer {
    enum consumer_kind kind;
    uint32_t connection;
    uint64_t request_id;
    struct list link_session;
    struct tree_node push_node; /* push: session->pushes, by request id */
    struct list
        link_waiting; /* core->immediate: a receive whose time is over but for a fetch or for its turn;
                                 core->peeks */
    struct list link_topic;
    struct list waits;   /* struct wait, link_consumer: one a queue */
    struct list batches; /* push: holders */
    struct timer timer;
    bool auto_delete;
    bool own_visibility; /* visibility_ms was given; else the queue's */
    uint64_t visibility_ms;
    uint64_t messages, bytes; /* receive: the most to give; push: the credit left */
    uint64_t served_turn;     /* push: one delivery a turn */
    struct queue *ephemeral;  /* push on a topic: ends with it */
    struct {
        uint64_t queue_id;
        uint32_t states;
        bool after_valid;
        uint64_t after_stream, after_seq;
        uint64_t absent_stream, absent_seq; /* what it waits for */
        bool resident;                      /* it has come, or is not needed any more */
    } peek;
};

struct wait {
    struct list link_consumer;
    struct list link_queue; /* queue->waits or queue->aside */
    struct consumer *consumer;
    struct queue *queue;
};

struct session {
    bool initialised;
    bool blocked;
    bool fenced; /* its producer has a newer connection: nothing is published by this one any more */
    struct producer *producer; /* NULL: its publishes are not remembered */
    uint64_t serial;           /* counts disconnects: an answer for an earlier connection is dropped */
    struct list consumers;
    struct tree pushes; /* those of the consumers that are pushes: a credit is for one of up to a thousand */
    uint32_t consumer_count;
    /* The last OK_RANGE given to this connection, while it can still be lengthened. */
    uint64_t ok_generation;
    size_t ok_index;
};

enum { REFUSED_RUNS_MAX = 8 };

/* Publishes of a producer with ids from first to last that were refused; all others there were applied. */
struct refused {
    uint64_t first, last;
    int err;      /* FANQ_ERR_UNKNOWN: some were applied, perhaps */
    bool written; /* a fact says so */
};

struct producer {
    uint8_t id[FANQ_PRODUCER_BYTES];
    uint64_t applied;                         /* the greatest request id of a publish that was applied */
    struct refused refused[REFUSED_RUNS_MAX]; /* rising; one above `applied` may still be applied */
    uint32_t refused_count;
    struct session *session; /* its connection, or NULL */
    uint64_t rests_since_ms;
    struct list link;       /* core->producers_connected or producers_resting */
    struct list link_dirty; /* core->producers_dirty: COMMIT writes facts about it */
};

struct piece {
    struct fanq_records records;
    uint32_t next;
};

#define PIECE_NONE UINT32_MAX

enum pending_kind {
    PENDING_MARK, /* of stream, what is below seq may be received */
    PENDING_TRIM, /* of stream number, what is below seq is not needed; durable: the facts that say so are
                           safe then */
    PENDING_STREAM_END, /* likewise, all of it */
    PENDING_OK,         /* answers: requests [id, id + count) */
    PENDING_PUBLISHED,
    PENDING_REPLY /* durable: reply_op; how things are then */
};

/* What waits for a commit to be synced, in order of commits. */
struct pending {
    uint64_t commit;
    enum pending_kind kind;
    struct stream *stream; /* MARK */
    uint64_t number, seq;
    uint32_t connection; /* answers */
    uint64_t serial;
    uint64_t id, count;
    enum fanq_reply_op reply_op;
    uint64_t object; /* REPLY: the queue's id, the topic's stream, or how many were changed */
    struct fanq_published published;
};

struct pending_ring { /* a growing ring buffer */
    struct pending *items;
    size_t head, count, capacity; /* capacity is a power of two */
};

struct core {
    struct core_options options;
    char *account, *region;
    uint64_t now_ms, wall_ms, room_bytes;
    uint64_t turn;
    bool draining;
    struct wheel wheel;
    struct session *sessions;

    struct map queue_names, topic_names;
    struct text_tree queue_order, topic_order;
    struct tree queues_by_id;
    struct tree streams;
    uint64_t next_queue_id, next_batch, next_stream;
    uint64_t first_batch; /* of this run */

    struct map producers;
    struct list producers_connected;
    struct list producers_resting; /* the longest first */
    struct list producers_dirty;

    struct slab streams_slab, feeds_slab, runs_slab, holders_slab, queues_slab, topics_slab,
        subscriptions_slab, consumers_slab, waits_slab, producers_slab;
    struct gone_pool gone_pool;

    struct list staged_streams;
    struct piece *pieces;
    uint32_t piece_count, piece_capacity;
    uint64_t next_commit, synced;
    struct pending_ring pending;

    bool journalling;      /* durable, and not being recovered */
    struct facts facts;    /* that no commit holds yet */
    uint64_t facts_due_ms; /* if there are any: when they are committed at the latest */

    struct list dirty_streams;
    struct list kicked;    /* queues that may have something to give */
    struct list later;     /* queues that have, but gave all that one turn may: the next turn comes at once */
    struct list immediate; /* receives to answer at the end of this SERVE, messages or not */
    struct list peeks;     /* that wait for memory */
    uint64_t served_bytes; /* by this SERVE */

    uint64_t waiters, in_flight, published, delivered, deleted;
};

/* ---- effects.c ---- */

struct effect *effect_add(struct effects *out, enum effect_kind kind); /* reserved before; zeroed */
void reply_ok(struct core *c, struct effects *out, uint32_t connection, uint64_t id, uint64_t count);
void reply_error(struct effects *out, uint32_t connection, uint64_t id, int err);
struct fanq_reply *reply_add(struct effects *out, uint32_t connection, enum fanq_reply_op op, uint64_t id);

/* ---- name.c ---- */

struct full_name {
    char text[FANQ_NAME_BYTES_MAX + 1];
    uint32_t length;
};

enum name_kind { NAME_QUEUE, NAME_TOPIC };

/* "orders" or "account:region:orders" -> the full name. 0, FANQ_ERR_NAME_INVALID, FANQ_ERR_UNSUPPORTED
 * (FIFO). */
int name_parse(const struct core *c, struct fanq_bytes given, enum name_kind kind,
               struct full_name *ret_name);
/* The same for the beginning of names; nothing is checked but the length. */
int name_parse_prefix(const struct core *c, struct fanq_bytes given, struct full_name *ret_name);
/* What a client calls it: bare when account and region are the configured ones. Borrows from text. */
struct fanq_bytes name_shown(const struct core *c, const char *text, uint32_t length);

/* ---- stream.c ---- */

struct stream *stream_new(struct core *c); /* NULL: out of memory */
struct stream *stream_make(struct core *c, uint64_t number);
struct stream *stream_find(const struct core *c, uint64_t number);
void stream_recovered(struct core *c, struct stream *s); /* may free s */
void stream_disown(struct core *c, struct stream *s);    /* its topic or queue is gone */
void stream_mark_dirty(struct core *c, struct stream *s);
/* Numbers the records and keeps them for COMMIT. 0, FANQ_ERR_NOMEM, FANQ_ERR_NO_ROOM. */
int stream_stage(struct core *c, struct stream *s, const struct fanq_records *records);
void stream_forget_staged(struct stream *s);
int commit_step(struct core *c, bool always, struct effects *out);
int synced_step(struct core *c, uint64_t commit, struct effects *out);
int settle_streams(struct core *c, struct effects *out);

/* ---- pending.c ---- */

int pending_reserve(struct core *c, size_t count);
struct pending *pending_push(struct core *c, enum pending_kind kind, uint64_t commit); /* reserved before */
/* Something does: for that commit, or one behind it. */
bool pending_waits_for(const struct core *c, uint64_t commit);
/* Answers when the turn's commit is synced; neighbouring requests of a connection share an entry. Reserved before. */
void answer_ok_with_commit(struct core *c, uint32_t connection, uint64_t id);
struct pending *answer_with_commit(struct core *c, enum pending_kind kind, uint32_t connection, uint64_t id);
/* Answers at once, or, in a durable core, as soon as everything so far is synced. Both were reserved for before. */
void answer_ok_range(struct core *c, struct effects *out, uint32_t connection, uint64_t id);
int answer_when_safe(struct core *c, struct effects *out, uint32_t connection, uint64_t id,
                     enum fanq_reply_op op, uint64_t object);
void answer_published(struct core *c, struct effects *out, uint32_t connection, uint64_t id,
                      const struct fanq_published *published);
int pending_answer(struct core *c, const struct pending *p, struct effects *out); /* 0 or FANQ_ERR_NOMEM */

/* ---- journal.c ---- */

/* Room for `count` facts without names and one with. 0 or FANQ_ERR_NOMEM; nothing to do unless facts are written. */
int journal_reserve(struct core *c, size_t count);
bool journal_full(const struct core *c); /* the turn has facts enough: what can wait goes to the next one */
bool journal_due(const struct core *c);  /* there are facts that waited long enough, or are many */
uint64_t journal_next_ms(const struct core *c); /* when that will be; UINT64_MAX: there are none */
void journal_queue(struct core *c, const struct queue *q);
void journal_queue_end(struct core *c, struct queue *q); /* nothing more is written of it */
void journal_topic(struct core *c, const struct topic *t);
void journal_topic_end(struct core *c, const struct topic *t);
void journal_own(struct core *c, const struct queue *q);
void journal_stream(struct core *c, const struct stream *s);
void journal_subscribed(struct core *c, const struct subscription *s);
void journal_unsubscribed(struct core *c, const struct subscription *s);
void journal_gone(struct core *c, const struct feed *f, uint64_t first, uint64_t end);
void journal_held(struct core *c, const struct run *r, uint64_t due_ms); /* due_ms: wall clock; 0: none */
void journal_producer(struct core *c, const struct producer *p);
void journal_refused(struct core *c, const struct producer *p, const struct refused *run);
struct fact fact_of_producer(const struct producer *p);
struct fact fact_of_refused(const struct producer *p, const struct refused *run);
struct fact fact_of_queue(const struct queue *q);
struct fact fact_of_topic(const struct topic *t);
struct fact fact_of_messages(enum fact_kind kind, const struct feed *f, uint64_t first, uint64_t end);
struct fact fact_of_run(const struct run *r, uint64_t due_ms);

/* ---- feed.c ---- */

/* f may read what lies below: what is synced or, for an early queue, what is committed. It falls when a queue ceases to be
 * early: then f->next may be above it. */
static inline uint64_t feed_limit(const struct feed *f)
{
    return f->queue->early_delivery ? f->stream->committed : f->stream->receivable;
}

struct feed *feed_find(const struct queue *q, uint64_t stream);
/* The queue's feed of the stream with an open run from first on: made, reopened, or as it is. NULL: out of
 * memory. */
struct feed *feed_open(struct core *c, struct queue *q, struct stream *s, uint64_t first);
/* Takes no more from end on; what was published before stays. May free f. */
void feed_close(struct core *c, struct feed *f, uint64_t end);
/* Takes [first, end), too, in rising order; end may be SEQ_OPEN. FANQ_ERR_NOMEM. */
int feed_add(struct core *c, struct queue *q, struct stream *s, uint64_t first, uint64_t end);
void feed_free(struct core *c, struct feed *f); /* with all it holds */
uint64_t feed_unread(const struct feed *f);     /* how many messages may be received but were not yet */
void feed_settle(struct core *c,
                 struct feed *f); /* after `next` moved: passes gaps, moves between ready and caught up */
bool feed_ready(const struct feed *f); /* has something to give, as far as it is in memory */
void feed_not_ready(struct feed *f);
/* After runs or next changed: raises the floor. Frees f, and gives true, when it was closed
 * and is empty now. */
bool feed_raise_floor(struct core *c, struct feed *f);
/* The limit rose of the feeds that are caught up in this list: a stream's caught_up or early. */
void feeds_limit_rose(struct core *c, struct list *caught_up);
/* What f has not read below `end`, which is synced, was given out by an earlier run: f reads on from there, and it is
 * put back as if it had been delivered never. FANQ_ERR_NOMEM: only some of it. */
int feed_give_out(struct core *c, struct feed *f, uint64_t end);
/* Drops everything up to the end of the stream. */
void feed_purge(struct core *c, struct feed *f);

/* ---- run.c ---- */

void holder_init(struct holder *h, enum holder_kind kind, struct queue *q);
struct holder *holder_new(struct core *c, enum holder_kind kind, struct queue *q, uint64_t due_ms);
void holder_release_if_empty(struct core *c, struct holder *h); /* batches and delays */
void holder_make_ready(struct core *c, struct holder *h);       /* all its runs to redelivery; h is freed */
int holder_reserve(struct core *c, const struct holder *h);     /* for the facts of that; FANQ_ERR_NOMEM */

int run_reserve(struct core *c); /* two runs and a holder; then cutting cannot fail */
struct run *run_new(struct core *c, struct feed *f, uint64_t first, uint64_t end, struct holder *h);
void run_free(struct core *c, struct run *r); /* its messages are gone; the holder's count falls */
/* Cuts r so that [first, end) of it, which must have live messages, is a run of its own with live edges. */
struct run *run_cut(struct core *c, struct run *r, uint64_t first, uint64_t end);
void run_move(struct core *c, struct run *r, struct holder *to, bool to_front);
/* Takes in the next `count` messages behind r, which no run has. */
void run_grow(struct core *c, struct run *r, uint64_t count);
/* Joins r to the run just before it when both have one history and one holder; r may be freed. */
void run_merge_back(struct core *c, struct run *r);
/* The first run of f that reaches beyond seq. */
struct run *run_reaching(const struct feed *f, uint64_t seq);
struct run *run_next(const struct run *r);
/* Deletes [first, end) of f wherever it is held. Gives how many messages that were. FANQ_ERR_NOMEM: none. */
int run_delete(struct core *c, struct feed *f, uint64_t first, uint64_t end, uint64_t *ret_count);

/* ---- queue.c ---- */

struct queue *queue_find(const struct core *c, const struct full_name *name);
struct queue *queue_by_id(const struct core *c, uint64_t id);
int queue_create(struct core *c, const struct full_name *name, const struct fanq_queue_attributes *attributes,
                 struct queue **ret_queue);
/* A queue of that name and id, with the attributes of every queue, which there is not yet. NULL: out of memory. */
struct queue *queue_make(struct core *c, const struct full_name *name, uint64_t id);
struct queue *queue_new_ephemeral(struct core *c); /* NULL: out of memory */
void queue_free(struct core *c, struct queue *q);  /* no consumer waits for it any more */
int queue_delete(struct core *c, struct queue *q, struct effects *out);
void queue_set(struct queue *q, const struct fanq_queue_attributes *attributes);
void queue_set_early(struct queue *q, bool early);
int queue_purge(struct core *c, struct queue *q); /* 0 or FANQ_ERR_NOMEM */
void queue_kick(struct queue *q); /* everything that can make a message deliverable comes by here */
bool queue_fetching(const struct queue *q);
uint64_t queue_visible(const struct queue *q);
/* Finds a queue by the name given, making it when auto_create allows. */
int queue_resolve(struct core *c, struct fanq_bytes given, bool create, struct queue **ret_queue);
int queue_own_stream(struct core *c, struct queue *q);

/* ---- topic.c ---- */

struct topic *topic_find(const struct core *c, const struct full_name *name);
int topic_resolve(struct core *c, struct fanq_bytes given, bool create, struct topic **ret_topic);
int topic_create(struct core *c, const struct full_name *name, struct topic **ret_topic);
/* A topic of that name over that stream; NULL (the usual way): one of its own. NULL: out of memory. */
struct topic *topic_make(struct core *c, const struct full_name *name, struct stream *s);
int topic_delete(struct core *c, struct topic *t, struct effects *out);
void topic_free(struct core *c, struct topic *t);
int subscribe(struct core *c, struct topic *t, struct queue *q);
void subscription_new(struct core *c, struct topic *t, struct queue *q);
int unsubscribe(struct core *c, struct topic *t, struct queue *q);
void subscription_free(struct core *c, struct subscription *s, uint64_t end); /* of what it takes */
struct subscription *subscription_find(const struct topic *t, const struct queue *q);

/* ---- consumer.c ---- */

struct session *session_of(struct core *c, uint32_t connection);
void session_end(struct core *c, uint32_t connection);
void session_block(struct core *c, uint32_t connection, bool blocked);
struct consumer *consumer_new(struct core *c, enum consumer_kind kind, uint32_t connection, uint64_t id);
void consumer_free(struct core *c, struct consumer *k);
int consumer_wait_on(struct core *c, struct consumer *k, struct queue *q); /* FANQ_ERR_NOMEM */
void consumer_line_up(struct core *c, struct consumer *k); /* behind the others, if it may be served */
void consumer_step_back(struct consumer *k);
bool consumer_fetching(const struct consumer *k); /* one of its queues waits for memory */
void consumer_end(struct core *c, struct consumer *k, struct effects *out,
                  int err); /* answers and frees it */
int consumer_drain(struct core *c, struct effects *out);
struct consumer *push_find(struct core *c, uint32_t connection, uint64_t id);
int receive_step(struct core *c, uint32_t connection, const struct fanq_request *r);
int push_step(struct core *c, uint32_t connection, const struct fanq_request *r);
void credit_step(struct core *c, uint32_t connection, const struct fanq_credit *credit);
int push_stop_step(struct core *c, uint32_t connection, uint64_t id);

/* ---- producer.c ---- */

struct producer *producer_find(const struct core *c, const uint8_t *id);
struct producer *producer_make(struct core *c,
                               const uint8_t *id); /* which there is not yet; NULL: out of memory */
/* The connection comes as that producer. 0 or FANQ_ERR_NOMEM. */
int producer_step(struct core *c, uint32_t connection, const uint8_t *id, struct effects *out);
/* It has no connection, from now on. */
void producer_rest(struct core *c, struct producer *p);
/* Its publish of that id, which is above p->applied, was applied, or refused. */
void producer_applied(struct core *c, struct producer *p, uint64_t id);
void producer_refused(struct producer *p, uint64_t id, int err);
/* How that of an id up to p->applied ended: 0, or the error with which it was refused. */
int producer_outcome(const struct producer *p, uint64_t id);
void producer_add_refused(struct producer *p, const struct refused *run);
/* The facts about all that were dirty; room for so many, without names, is reserved. */
void producers_journal(struct core *c);
size_t producers_facts_max(const struct core *c);
/* Forgets those that have rested too long, and what is too much. */
void producers_forget(struct core *c);

/* ---- serve.c ---- */

int serve_step(struct core *c, struct effects *out);
/* In which its messages were published: a part of their ids. */
uint64_t block_epoch(const struct core *c, const struct block *b);
/* The bytes of records of a resident block before its n-th. */
size_t block_offset(const struct block *b, uint32_t n);

/* ---- change.c ---- */

int ack_step(struct core *c, const struct fanq_change *change);
int nack_step(struct core *c, const struct fanq_change *change, uint64_t *ret_changed);
int extend_step(struct core *c, const struct fanq_change *change, uint64_t *ret_changed);

/* ---- peek.c ---- */

/* Answers, or parks the peek until memory holds what it wants to show. */
int peek_step(struct core *c, uint32_t connection, uint64_t id, const struct fanq_peek *peek,
              struct effects *out);
int peek_again(struct core *c, struct effects *out);
void peek_resident(struct core *c, uint64_t stream, uint64_t first_seq, uint64_t count);

/* ---- catalog.c ---- */

int catalog_step(struct core *c, uint32_t connection, const struct fanq_request *r, struct effects *out);
/* 0 or FANQ_ERR_NOMEM: nothing was added. */
int reply_queue(struct core *c, uint32_t connection, uint64_t id, const struct queue *q, struct effects *out);
int reply_topic(struct core *c, uint32_t connection, uint64_t id, const struct topic *t, struct effects *out);
