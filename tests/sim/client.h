/* Clients that ask for anything at all: one request, or one thing that happens to a connection, at a time. */
#pragma once

#include <stdio.h>

#include "oracle.h"

enum op {
    OP_SEND,
    OP_PUBLISH,
    OP_RECEIVE,
    OP_PUSH,
    OP_PUSH_TOPIC,
    OP_CREDIT,
    OP_PUSH_STOP,
    OP_ACK,
    OP_NACK,
    OP_EXTEND,
    OP_PEEK,
    OP_PURGE,
    OP_QUEUE_CREATE,
    OP_QUEUE_SET,
    OP_QUEUE_GET,
    OP_QUEUE_DELETE,
    OP_TOPIC_CREATE,
    OP_TOPIC_GET,
    OP_TOPIC_DELETE,
    OP_SUBSCRIBE,
    OP_UNSUBSCRIBE,
    OP_LIST,
    OP_PING,
    OP_BLOCK,
    OP_WRITABLE,
    OP_DISCONNECT,
    OPS
};

struct workload {
    struct rng rng;
    struct sim *sim;
    struct oracle oracle;
    FILE *trace;
    uint32_t weights[OPS], weight_sum;
    uint32_t queue_count, topic_count, connection_count;
    uint32_t batch_max, record_bytes_max;
    uint32_t visibility_ms_max, wait_ms_max, step_ms_max;
    uint32_t turn_ops_max;
    uint32_t backlog_max; /* above it, less is sent */
};

/* Makes a request, in front of the oracle's eyes; it gets its id here. */
void client_request(struct workload *w, uint32_t connection, struct fanq_request *r);
void client_name(struct workload *w, uint32_t connection, enum fanq_op op, struct fanq_bytes name);
void client_publish(struct workload *w, uint32_t connection, enum fanq_op op);
void client_receive(struct workload *w, uint32_t connection);
void client_push(struct workload *w, uint32_t connection, enum fanq_push_target kind);
void client_disconnect(struct workload *w, uint32_t connection);

/* A queue that a request made by the way is asked for its number, by which deliveries name it. */
void client_learn_ids(struct workload *w, uint32_t connection);

/* One of the operations, by weight; and doing it. */
enum op client_some_op(struct workload *w);
void client_do(struct workload *w, enum op op, uint32_t connection);
