/* What the broker answers: one struct per reply, and its bytes. Every reply is one frame [op, request_id,
 * fields...].
 *
 * Replies carry the id of their request and may come in any order; for a push, deliveries carry the push's
 * id. Ops of replies begin at 64, so a frame that goes the wrong way is recognised. Pure; any thread. */
#pragma once

#include "request.h"

enum fanq_reply_op {
    FANQ_REPLY_HELLO = 64,
    FANQ_REPLY_OK = 65,
    FANQ_REPLY_ERROR = 66,
    FANQ_REPLY_OK_RANGE = 67,
    FANQ_REPLY_PUBLISHED = 68,
    FANQ_REPLY_DELIVER = 69,
    FANQ_REPLY_PEEKED = 70,
    FANQ_REPLY_CHANGED = 71,
    FANQ_REPLY_QUEUE = 72,
    FANQ_REPLY_NAMES = 73,
    FANQ_REPLY_TOPIC = 74,
    FANQ_REPLY_STATS = 76,
    FANQ_REPLY_PUSH_END = 77,
    FANQ_REPLY_BACKUP = 78,
};

struct fanq_hello_reply {
    uint32_t version;
    uint64_t epoch; /* of this run of the broker */
    struct fanq_bytes server;
    struct fanq_bytes storage; /* "memory" */
    uint64_t frame_bytes_max;
    uint64_t message_bytes_max;
    bool auto_create;    /* clients may create what they miss */
    bool has_producer;   /* the HELLO named one */
    bool producer_known; /* and what it sent on earlier connections is remembered */
};

struct fanq_error_reply {
    int err; /* FANQ_ERR_..., negative; the wire has the positive number */
    struct fanq_bytes text;
};

/* Requests id, id + 1, ... id + count - 1 succeeded: publishes, sends, acks. */
struct fanq_ok_range {
    uint64_t count;
};

struct fanq_refusal {
    uint32_t index; /* among the records of the request */
    int err;
};

enum { FANQ_REFUSALS_MAX = 256 };

/* The answer to a publish that wanted ids or of which messages were refused. Taken messages count up from
 * first_seq, refused ones left out. */
struct fanq_published {
    uint64_t stream; /* 0: it was published before, and what ids it got is not known any more */
    uint64_t epoch;
    uint64_t first_seq;
    uint64_t count;
    uint64_t subscription_count; /* of the topic; 1 for a queue */
    const struct fanq_refusal *refusals;
    uint32_t refusal_count; /* at most FANQ_REFUSALS_MAX are named */
};

/* Neighbouring messages of one stream with a common history. */
struct fanq_slice {
    uint64_t stream;
    uint64_t epoch;
    uint64_t first_seq;
    uint64_t time_ms;          /* wall clock, when the broker took them */
    uint32_t deliveries;       /* this one included; in PEEKED: so far */
    uint64_t first_receive_ms; /* wall clock; 0: this is the first */
    struct fanq_records records;
};

/* Messages for a receive or a push. No slices: there was none within the wait. */
struct fanq_delivery {
    uint64_t queue_id; /* acks name it; never used for another queue */
    uint64_t batch;    /* 0 in auto mode: nothing to acknowledge */
    uint64_t dropped;  /* messages that an ephemeral subscription lost since the last delivery */
    const struct fanq_slice *slices;
    uint32_t slice_count;
};

struct fanq_peeked_slice {
    struct fanq_slice slice;
    uint32_t state;  /* FANQ_STATE_ */
    uint64_t due_ms; /* monotonic milliseconds from now until it may be received again; 0 when ready */
};

struct fanq_peeked {
    bool more; /* go on behind (next_stream, next_seq) */
    uint64_t next_stream;
    uint64_t next_seq;
    const struct fanq_peeked_slice *slices;
    uint32_t slice_count;
};

/* Figures about a queue. Approximate only in that they change; they are exact when taken. */
struct fanq_queue_reply {
    struct fanq_bytes name;
    uint64_t queue_id;
    struct fanq_queue_attributes attributes;
    uint64_t visible;
    uint64_t in_flight;
    uint64_t delayed;
    uint64_t oldest_age_ms; /* of the oldest message not deleted; 0 when empty */
    uint64_t created_ms;    /* wall clock */
    uint64_t consumers;     /* long polls and pushes waiting now */
    uint64_t sent;          /* totals since creation or start: sent to it or published to its topics */
    uint64_t delivered;
    uint64_t deleted;
};

struct fanq_topic_reply {
    struct fanq_bytes name;
    uint64_t stream;
    uint64_t subscription_count;
    uint64_t created_ms;
    uint64_t published;
};

struct fanq_names {
    const struct fanq_bytes *names;
    uint32_t count;
    bool more; /* ask again with `after` = the last of these */
};

/* Name and number, for people and programs: "connections": 3. */
struct fanq_stat {
    struct fanq_bytes name;
    uint64_t value;
};

struct fanq_stats_reply {
    const struct fanq_stat *stats;
    uint32_t count;
};

/* What to copy from the broker's directory: all that is below end_lsn stays as it is until the backup ends. */
struct fanq_backup_reply {
    struct fanq_bytes directory; /* its path, on the broker's machine */
    uint64_t directory_id;       /* stands in its file "identity" */
    uint64_t end_lsn;
    uint64_t segment_bytes;
    const uint64_t *segments; /* numbers of files log-... */
    uint32_t segment_count;
    const uint64_t *cold_segments; /* and of files cold-... */
    uint32_t cold_segment_count;
};

struct fanq_reply {
    enum fanq_reply_op op;
    uint64_t id;
    union {
        struct fanq_hello_reply hello;
        struct fanq_error_reply error; /* ERROR, PUSH_END */
        struct fanq_ok_range ok_range;
        struct fanq_published published;
        struct fanq_delivery deliver;
        struct fanq_peeked peeked;
        uint64_t changed; /* how many messages the nack or extend found held by that batch */
        struct fanq_queue_reply queue;
        struct fanq_topic_reply topic;
        struct fanq_names names; /* QUEUE_LIST, TOPIC_LIST, SUBSCRIPTION_LIST */
        struct fanq_stats_reply stats;
        struct fanq_backup_reply backup;
    };
};

/* Which reply answers what. ERROR may answer anything but CREDIT.
 *   HELLO                                      HELLO
 *   PUBLISH, SEND                              OK_RANGE; PUBLISHED when ids were wanted or messages refused
 *   RECEIVE                                    DELIVER, without slices when there was nothing within the wait
 *   ACK                                        OK_RANGE
 *   NACK, EXTEND                               CHANGED
 *   PUSH                                       OK, then DELIVERs, at last PUSH_END if the broker ends it
 *   CREDIT                                     nothing
 *   PEEK                                       PEEKED
 *   QUEUE_CREATE, QUEUE_SET, QUEUE_GET         QUEUE
 *   TOPIC_CREATE, TOPIC_GET                    TOPIC
 *   QUEUE_LIST, TOPIC_LIST, SUBSCRIPTION_LIST  NAMES
 *   STATS                                      STATS
 *   BACKUP                                     BACKUP
 *   PING, PUSH_STOP, PURGE, QUEUE_DELETE, TOPIC_DELETE, SUBSCRIBE, UNSUBSCRIBE, BACKUP_END   OK */

/* The wire, field by field behind [op, request_id:
 *   HELLO      version, epoch, server, storage, frame_bytes_max, message_bytes_max, auto_create (bool)
 *              [, producer_known (bool)]
 *   OK         -
 *   ERROR, PUSH_END   number, text
 *   OK_RANGE   count
 *   PUBLISHED  stream, epoch, first_seq, count, subscription_count, [index, number, index, number...]
 *   DELIVER    queue_id, batch, dropped, [slice...]
 *              slice = [stream, epoch, first_seq, time_ms, deliveries, first_receive_ms, [record...]]
 *   PEEKED     nil | [stream, seq], [[slice fields..., state, due_ms]...]
 *   CHANGED    count
 *   QUEUE      name, queue_id, {attribute: value}, visible, in_flight, delayed, oldest_age_ms,
 *              created_ms, consumers, sent, delivered, deleted
 *   TOPIC      name, stream, subscription_count, created_ms, published
 *   NAMES      [name...], more (bool)
 *   STATS      {name: value}
 *   BACKUP     directory, directory_id, end_lsn, segment_bytes, [number...], [number...] */

/* The bytes of a slice's fields and of a delivery's, without records: what to reserve. */
enum {
    FANQ_SLICE_HEADER_BYTES_MAX = 1 + 6 * 9 + 5,
    FANQ_DELIVER_HEADER_BYTES_MAX = 4 + 1 + 2 + 4 * 9 + 5,

    /* Every reply but DELIVER, PEEKED, NAMES, STATS, QUEUE, TOPIC, BACKUP, and PUBLISHED with refusals. */
    FANQ_SMALL_REPLY_BYTES_MAX = 512
};

/* Takes a frame's payload apart. Lists (slices, names, refusals, stats) are put into scratch, which the reply
 * then borrows with the payload; FANQ_ERR_NOMEM when it is too small (the caller may retry with more: eight
 * times the payload's length always suffices). Record
 * boundaries inside slices are checked (count and lengths), property maps are not: fanq_record_parse() does
 * that. FANQ_ERR_PROTOCOL for anything that is not a reply. */
int fanq_reply_decode(struct fanq_bytes payload, void *scratch, size_t scratch_bytes,
                      struct fanq_reply *ret_reply);

/* Writes a whole frame, records included; w->full when it does not fit. */
void fanq_reply_encode(struct fanq_writer *w, const struct fanq_reply *reply);

/* A delivery in pieces, for writev: the header, then per slice its fields, behind which the caller sends the
 * records. The frame's length, records included, is written here, so every slice must follow. */
void fanq_deliver_begin(struct fanq_writer *w, uint64_t id, const struct fanq_delivery *delivery);
void fanq_deliver_slice(struct fanq_writer *w, const struct fanq_slice *slice);

/* Reads a DELIVER frame's slices one by one without scratch: the fast path of consumers. */
struct fanq_delivery_reader {
    uint64_t id, queue_id, batch, dropped;
    uint32_t slices_left;
    struct fanq_cursor at;
};

/* 0, or FANQ_ERR_PROTOCOL when the payload is not a DELIVER. */
int fanq_delivery_open(struct fanq_bytes payload, struct fanq_delivery_reader *ret_reader);
/* 1: *ret_slice is the next one, its record boundaries checked. 0: no more. FANQ_ERR_PROTOCOL: malformed. */
int fanq_delivery_next(struct fanq_delivery_reader *reader, struct fanq_slice *ret_slice);

const char *fanq_reply_name(enum fanq_reply_op op);
