/* What a client asks: one struct per operation, and its bytes. PROTOCOL.md describes the same for other
 * languages.
 *
 * Every request is one frame [op, request_id, fields...]. Fields are positional; elements behind the last
 * known one are skipped, so that fields can be added. Pure; any thread. */
#pragma once

#include "fanq_error.h"
#include "frame.h"
#include "record.h"

enum {
    FANQ_PROTOCOL_VERSION = 1,

    /* The most of each list in one request. */
    FANQ_RECEIVE_QUEUES_MAX = 16,
    FANQ_RANGES_MAX = 4096,
    FANQ_CHANGE_MESSAGES_MAX = 65536, /* in all ranges of a NACK or EXTEND: no batch holds more */
    FANQ_LIST_LIMIT_MAX = 1000,
    FANQ_NAME_BYTES_MAX = 336, /* "account:region:name" of at most 12, 64 and (a topic's) 256 characters */

    FANQ_CLIENT_NAME_BYTES_MAX = 128,
    FANQ_PRODUCER_BYTES = 16
};

enum fanq_op {
    FANQ_OP_HELLO = 1,
    FANQ_OP_PING = 2,
    FANQ_OP_PUBLISH = 3,
    FANQ_OP_SEND = 4,
    FANQ_OP_RECEIVE = 5,
    FANQ_OP_ACK = 6,
    FANQ_OP_NACK = 7,
    FANQ_OP_EXTEND = 8,
    FANQ_OP_PUSH = 9,
    FANQ_OP_CREDIT = 10,
    FANQ_OP_PUSH_STOP = 11,
    FANQ_OP_PEEK = 12,
    FANQ_OP_PURGE = 13,
    FANQ_OP_QUEUE_CREATE = 14,
    FANQ_OP_QUEUE_SET = 15,
    FANQ_OP_QUEUE_GET = 16,
    FANQ_OP_QUEUE_DELETE = 17,
    FANQ_OP_QUEUE_LIST = 18,
    FANQ_OP_TOPIC_CREATE = 19,
    FANQ_OP_TOPIC_GET = 20,
    FANQ_OP_TOPIC_DELETE = 21,
    FANQ_OP_TOPIC_LIST = 22,
    FANQ_OP_SUBSCRIBE = 23,
    FANQ_OP_UNSUBSCRIBE = 24,
    FANQ_OP_SUBSCRIPTION_LIST = 25,
    FANQ_OP_STATS = 26,
    FANQ_OP_BACKUP = 27,
    FANQ_OP_BACKUP_END = 28,
};

/* A duration that says "the queue's own setting"; nil on the wire. */
#define FANQ_QUEUE_DEFAULT UINT64_MAX

/* Durations have SQS's bounds. */
enum {
    FANQ_VISIBILITY_MS_MAX = 12 * 60 * 60 * 1000,
    FANQ_VISIBILITY_MS_DEFAULT = 30 * 1000,
    FANQ_WAIT_MS_MAX = 10 * 60 * 1000, /* SQS: 20 s; natively a long poll may last ten minutes */
    FANQ_DELAY_MS_MAX = FANQ_VISIBILITY_MS_MAX
};

/* Attributes of a queue. On the wire a map; only those present in `set` are meant. */
enum fanq_queue_attribute {
    FANQ_QUEUE_VISIBILITY_MS = 1,
    FANQ_QUEUE_RECEIVE_WAIT_MS = 2,
    FANQ_QUEUE_EARLY_DELIVERY = 3,
};

struct fanq_queue_attributes {
    uint32_t set; /* bit (1 << attribute) */
    uint64_t visibility_ms;
    uint64_t receive_wait_ms;
    bool early_delivery; /* with a log: messages may be received before they are on the disk */
};

/* seqs [first, first + count) of a stream. */
struct fanq_range {
    uint64_t stream;
    uint64_t first;
    uint64_t count;
};

/* Ranges as they stand on the wire, already checked; read them with fanq_range_next(). */
struct fanq_ranges {
    struct fanq_cursor at;
    uint32_t count;
};

struct fanq_hello {
    uint32_t version_min;
    uint32_t version_max;
    struct fanq_bytes client;   /* name and version, for people */
    struct fanq_bytes producer; /* FANQ_PRODUCER_BYTES, the client's for its life; or empty */
};

enum {
    FANQ_PUBLISH_WANT_IDS = 1 /* answer with stream, epoch and first seq, else with ranges of request ids */
};

/* PUBLISH to a topic, SEND to a queue. */
struct fanq_publish {
    struct fanq_bytes target;
    uint32_t flags;
    struct fanq_records records;
    uint32_t oversize_count; /* set by decode: records beyond message_bytes_max among them */
};

enum {
    FANQ_RECEIVE_AUTO_DELETE = 1 /* deleted as they are handed over; there is nothing to acknowledge */
};

struct fanq_receive {
    struct fanq_bytes queues[FANQ_RECEIVE_QUEUES_MAX];
    uint32_t queue_count;
    uint32_t messages_max;
    uint32_t bytes_max; /* of records; at least one message is given whatever its size */
    uint64_t wait_ms;   /* or FANQ_QUEUE_DEFAULT: the first queue's */
    uint64_t visibility_ms;
    uint32_t flags;
};

/* ACK, NACK (time_ms is the delay), EXTEND (time_ms is the new visibility timeout, from now). */
struct fanq_change {
    uint64_t queue_id;
    uint64_t batch;
    uint64_t time_ms;
    struct fanq_ranges ranges;
};

enum fanq_push_mode { FANQ_PUSH_AUTO = 0, FANQ_PUSH_ACK = 1 };
enum fanq_push_target { FANQ_PUSH_QUEUE = 0, FANQ_PUSH_TOPIC = 1 };

/* The push's id is the id of this request; deliveries carry it. A topic as target is an ephemeral
 * subscription: it ends with the push, and its backlog is bounded (the oldest are dropped and the next
 * delivery says how many). */
struct fanq_push {
    struct fanq_bytes target;
    enum fanq_push_target target_kind;
    enum fanq_push_mode mode;
    uint64_t messages; /* credit: how many may be delivered */
    uint64_t bytes;    /* credit in bytes of records; the last delivery may exceed it by one message */
    uint64_t visibility_ms;
};

/* Adds to the credit. Not answered: a push that has just ended does not miss it. */
struct fanq_credit {
    uint64_t push;
    uint64_t messages;
    uint64_t bytes;
};

enum { FANQ_STATE_READY = 1, FANQ_STATE_IN_FLIGHT = 2, FANQ_STATE_DELAYED = 4, FANQ_STATE_ALL = 7 };

struct fanq_peek {
    struct fanq_bytes queue;
    uint32_t messages_max;
    uint32_t bytes_max; /* decode makes more than FANQ_DELIVERY_BYTES_MAX that */
    uint32_t states;    /* FANQ_STATE_ bits to show */
    bool after_valid;
    uint64_t after_stream; /* go on behind this message: the cursor of the previous answer */
    uint64_t after_seq;
};

struct fanq_list {
    struct fanq_bytes prefix;
    struct fanq_bytes after; /* names greater than this one */
    uint32_t limit;
};

/* SUBSCRIBE, UNSUBSCRIBE. */
struct fanq_subscription {
    struct fanq_bytes topic;
    struct fanq_bytes queue;
};

struct fanq_subscription_list {
    struct fanq_bytes topic;
    struct fanq_bytes after; /* queue names greater than this one */
    uint32_t limit;
};

struct fanq_request {
    enum fanq_op op;
    uint64_t id;
    union {
        struct fanq_hello hello;
        struct fanq_publish publish; /* PUBLISH, SEND */
        struct fanq_receive receive;
        struct fanq_change change; /* ACK, NACK, EXTEND */
        struct fanq_push push;
        struct fanq_credit credit;
        uint64_t push_stop; /* the push's id */
        struct fanq_peek peek;
        struct fanq_bytes name; /* PURGE, QUEUE_GET, QUEUE_DELETE, TOPIC_CREATE, TOPIC_GET, TOPIC_DELETE */
        struct {
            struct fanq_bytes name;
            struct fanq_queue_attributes attributes;
        } queue;               /* QUEUE_CREATE, QUEUE_SET */
        struct fanq_list list; /* QUEUE_LIST, TOPIC_LIST */
        struct fanq_subscription subscription;
        struct fanq_subscription_list subscription_list;
    };
};

/* The wire, field by field behind [op, request_id:
 *   HELLO             "fanq", version_min, version_max, client [, producer]
 *   PING, STATS, BACKUP, BACKUP_END    -
 *   PUBLISH, SEND     target, flags, [record...]
 *   RECEIVE           [queue...], messages_max, bytes_max, wait_ms|nil, visibility_ms|nil, flags
 *   ACK               queue_id, batch, [stream, first, count, stream, first, count...]
 *   NACK, EXTEND      queue_id, batch, [as ACK], time_ms
 *   PUSH              target_kind, target, mode, messages, bytes, visibility_ms|nil
 *   CREDIT            push, messages, bytes
 *   PUSH_STOP         push
 *   PEEK              queue, messages_max, bytes_max, states, nil | [stream, seq]
 *   PURGE, QUEUE_GET, QUEUE_DELETE, TOPIC_CREATE, TOPIC_GET, TOPIC_DELETE    name
 *   QUEUE_CREATE, QUEUE_SET    name, {attribute: value}
 *   QUEUE_LIST, TOPIC_LIST     prefix, after, limit
 *   SUBSCRIBE, UNSUBSCRIBE     topic, queue
 *   SUBSCRIPTION_LIST          topic, after, limit */

/* Takes a frame's payload apart. The request borrows from it. Checks everything that can be checked without
 * knowing the broker's state: types, bounds, counts, records. On error *ret_request holds op and id as far as
 * they could be read (0 otherwise), so that the refusal can name the request. 0, FANQ_ERR_PROTOCOL (not a
 * request of this protocol: the connection is lost), or an error that refuses just this request:
 * FANQ_ERR_INVALID (a value outside its bounds), FANQ_ERR_BAD_RECORD, FANQ_ERR_UNSUPPORTED (unknown op). */
int fanq_request_decode(struct fanq_bytes payload, size_t message_bytes_max,
                        struct fanq_request *ret_request);

/* Writes the whole frame; w->full when it does not fit. */
void fanq_request_encode(struct fanq_writer *w, const struct fanq_request *request);

/* The beginning of a PUBLISH or SEND frame whose records (of `length` bytes) the caller sends behind it by
 * writev. */
void fanq_publish_begin(struct fanq_writer *w, enum fanq_op op, uint64_t id, struct fanq_bytes target,
                        uint32_t flags, uint32_t record_count, size_t length);

/* The map of a queue's attributes, as it also stands in the QUEUE reply. */
void fanq_write_queue_attributes(struct fanq_writer *w, const struct fanq_queue_attributes *attributes);

/* Takes the next of the ranges; false at the end. */
bool fanq_range_next(struct fanq_ranges *ranges, struct fanq_range *ret_range);

/* Ranges over packed triples that the caller wrote with fanq_write_uint(): for encoding requests. */
struct fanq_ranges fanq_ranges_over(struct fanq_bytes packed, uint32_t count);

const char *fanq_op_name(enum fanq_op op);
