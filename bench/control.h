/* A blocking connection that asks one thing and waits for the answer: what sets a measurement up and cleans
 * it up.
 *
 * It is also how the connections that are measured begin: control_open() greets the broker, control_release()
 * gives the socket away. Used by one thread at a time. */
#pragma once

#include "error.h"
#include "proto/reply.h"

struct control {
    int fd;
    uint64_t id; /* of the last request */
    struct bench_error *error;
    uint8_t *buffer; /* a frame going out, then the one that answers */
    size_t buffer_bytes;
    uint8_t scratch[16 * 1024];
};

/* Connects and greets. Borrows error until control_close() or control_release(). */
int control_open(struct control *control, const char *url, struct bench_error *error);
void control_close(struct control *control);

/* Ends the control and gives its socket, on which nothing is under way. */
int control_release(struct control *control);

/* Sends the request under a fresh id and waits for its answer, which is lent until the next call. An answer
 * ERROR is an error with the broker's text. ret_reply may be NULL. */
int control_call(struct control *control, struct fanq_request *request, struct fanq_reply *ret_reply);

/* Sends the request and does not wait: for those without an answer (PUSH, CREDIT). Its id is control->id. */
int control_send(struct control *control, struct fanq_request *request);

/* The calls a measurement needs, by name. Creating what exists already succeeds. */
int control_topic_create(struct control *control, const char *topic);
int control_queue_create(struct control *control, const char *queue);
int control_subscribe(struct control *control, const char *topic, const char *queue);
int control_purge(struct control *control, const char *queue);
int control_topic_delete(struct control *control, const char *topic);
int control_queue_delete(struct control *control, const char *queue);

/* The broker's figures; lent as an answer is. */
int control_stats(struct control *control, struct fanq_stats_reply *ret_stats);

/* The figure of that name; 0 when this broker has none. */
uint64_t stats_value(const struct fanq_stats_reply *stats, const char *name);
