/* A broker that does what a test's script says, on a Unix socket in the same thread: the test reads what the
 * client asks, frame by frame, and answers with whatever it likes. Every wait drives the client and fails the
 * test after some seconds. */
#pragma once

#include <fanq.h>

#include "proto/reply.h"

struct fake_broker {
    char directory[64];
    char path[96];
    char url[104];
    int listener;
    int socket;
    uint64_t epoch; /* what the greeting says; a test changes it to play a restart */
    const char *storage;
    bool keeps_producers; /* what it answers to a HELLO with a producer */
    bool knows_producer;
    uint8_t producer[FANQ_PRODUCER_BYTES]; /* of the last HELLO that it took itself; zeroes: none */
    size_t piece_bytes; /* answers are written in pieces of so many bytes, with a round of the client between
                           them; 0: whole */
    uint8_t *input;
    size_t input_bytes;
    size_t taken_bytes; /* of the frame that the last request borrows from */
};

void fake_broker_open(struct fake_broker *broker);
void fake_broker_close(struct fake_broker *broker);

/* Waits for the client's connection. */
void fake_broker_accept(struct fake_broker *broker, struct fanq *client);
/* Accepts, takes the HELLO, answers it, and waits until the client is ready. */
void fake_broker_greet(struct fake_broker *broker, struct fanq *client);
/* The next request; borrows from the broker until the next call. */
struct fanq_request fake_broker_take(struct fake_broker *broker, struct fanq *client);
/* One round of the client; takes a new connection if there is one, and a request if there is one. */
bool fake_broker_poll(struct fake_broker *broker, struct fanq *client, struct fanq_request *ret_request);
/* Whether nothing comes while the client goes round some times. */
bool fake_broker_is_idle(struct fake_broker *broker, struct fanq *client);

void fake_broker_reply(struct fake_broker *broker, struct fanq *client, const struct fanq_reply *reply);
/* The answer to a HELLO. */
void fake_broker_hello(struct fake_broker *broker, struct fanq *client);
void fake_broker_ok(struct fake_broker *broker, struct fanq *client, uint64_t id);
void fake_broker_refuse(struct fake_broker *broker, struct fanq *client, uint64_t id, int err);
void fake_broker_write(struct fake_broker *broker, struct fanq *client, const void *data, size_t bytes);
/* A delivery of `count` plain one-letter messages from stream 7, `first_seq` on: 'a', 'b', ... */
void fake_broker_deliver(struct fake_broker *broker, struct fanq *client, uint64_t id, uint64_t batch,
                         uint64_t first_seq, uint32_t count);
void fake_broker_hang_up(struct fake_broker *broker);

/* Lets the client go round until *flag is not less than `value`. */
void drive_until(struct fanq *client, const int *flag, int value);
/* A few rounds, for what should not happen. */
void drive_some(struct fanq *client);
