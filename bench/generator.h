/* The load generator: publishers, queues and subscribers of one topic in a few threads, every message
 * checked.
 *
 * A generator is set up once (topic, queues, connections) and then run for any number of rounds, one after
 * the other. What it talks to is a broker, or the relay of ceiling.h, which is told apart only by who makes
 * the deliveries' frames. Used by one thread; it starts and ends its own threads within each call. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "error.h"
#include "histogram.h"

struct generator_options {
    const char *url;            /* as for link_connect() */
    const char *name;           /* of the topic; the queues are NAME-0, NAME-1, ... */
    bool relay;                 /* the url is a relay's */
    bool latency;               /* measure it */
    uint32_t publisher_count;   /* connections that publish; 0: one */
    uint32_t subscriber_count;  /* connections that receive, each by push from its own queue */
    uint32_t queue_count;       /* at least subscriber_count; those beyond have nobody who receives */
    uint32_t consumer_count;    /* threads that receive; 0: one */
    uint32_t batch;             /* messages in a publish */
    size_t size;                /* of a body, in bytes */
    size_t window_bytes;        /* how far publishers may be ahead; 0: GENERATOR_WINDOW_BYTES */
    size_t answer_window_bytes; /* how much of it may be unanswered; 0: all */
    size_t train_bytes; /* how much is written at once, if a frame is not longer; 0: GENERATOR_TRAIN_BYTES */
    double rate;        /* messages a second of all publishers; 0: as fast as it goes */
};

enum { GENERATOR_WINDOW_BYTES = 256 * 1024, GENERATOR_TRAIN_BYTES = 64 * 1024 };

/* What a round is: some time to get going, then the time that counts. */
struct generator_round {
    uint32_t warmup_ms;
    uint32_t measured_ms;
    bool has_peer_clock;
    clockid_t peer_clock; /* of the CPU time of what is measured */

    /* NULL, or called when the time that counts begins, and again when it ends. 0 or an error, which ends the round. */
    int (*mark)(void *context);
    void *mark_context;
};

struct generator_figures {
    /* In the time that counts. */
    double seconds;
    uint64_t published;       /* messages */
    uint64_t delivered;       /* messages, by all subscribers together */
    uint64_t bytes;           /* read from all subscribers' sockets */
    double peer_seconds;      /* CPU time */
    double publisher_seconds; /* CPU time of the generator's own threads */
    double consumer_seconds;

    /* In the whole round, which ends when all is delivered. */
    uint64_t round_delivered;
    uint64_t round_bytes;
};

struct generator;

/* Sets up; what is missing at the broker is created. Borrows error until generator_free(). */
int generator_new(const struct generator_options *options, struct bench_error *error,
                  struct generator **ret_generator);

/* Takes down what generator_new() set up, queues and topic included. Accepts NULL. */
void generator_free(struct generator *generator);

/* Publishes for a while, and waits until every subscriber had every message. */
int generator_run(struct generator *generator, const struct generator_round *round,
                  struct generator_figures *ret_figures);

/* Publishes so many messages, rounded up to whole batches, and tells how long it took until the last was
 * answered. For queues without subscribers, which generator_purge() then empties. */
int generator_burst(struct generator *generator, uint64_t messages, double *ret_seconds);
int generator_purge(struct generator *generator);

/* Latency of all rounds so far; NULL when it is not measured. Borrowed. */
const struct histogram *generator_latency(struct generator *generator);
