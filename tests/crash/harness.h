/* What the actors of the crash test share: one thread, one loop over their clients, one broker that comes and goes.
 *
 *     main.c       the options, when to kill, the end
 *     server.c     the broker's process
 *     publisher.c, consumer.c, purger.c, builder.c    the actors: each with a client of its own
 *
 * An actor is stepped after each round of the loop, and does then what it may. */
#pragma once

#include "account.h"
#include "fanq.h"
#include "tests/lib/random.h"

enum { CLIENTS_MAX = 64 };

struct actor {
    struct fanq *client;
    void (*step)(struct actor *actor);
    bool (*is_idle)(const struct actor *actor); /* nothing that it asked for is open */
    void (*free)(struct actor *actor);
    struct harness *harness;
    uint32_t ready_at; /* tick: when its connection was made */
};

struct harness {
    struct account *account;
    struct random random;
    const char *url;
    struct actor *actors[CLIENTS_MAX];
    uint32_t actor_count;
    uint64_t now_ms; /* of this round */
    bool stopping;   /* nothing new is published, made or purged */
    bool draining;   /* consumers take everything, at once */
    bool ready;      /* someone has been connected since the broker was started */

    uint64_t backlog_max;
    uint64_t
        lazy_ms; /* consumers pause so long between two receives, until all is drained, and do not push */
    uint64_t rate_max;  /* messages a second, of all publishers */
    uint64_t allowance; /* so many may be published now */
    uint32_t body_bytes_max;
};

/* Opens the client of an actor, and puts the actor into the loop. Ends the program when it cannot. */
void harness_add(struct harness *h, struct actor *actor, bool gather);
bool actor_is_ready(const struct actor *actor);

/* One round: waits at most timeout_ms for something to do, drives the clients, steps the actors. */
void harness_round(struct harness *h, int timeout_ms);
bool harness_is_idle(const struct harness *h);
void harness_free(struct harness *h);

/* Times in a hundred. */
bool harness_chance(struct harness *h, uint32_t percent);
void *harness_memory(size_t bytes); /* zeroed; never NULL */

/* ---- actors ---- */

struct publisher_options {
    uint32_t producer, target;
    uint32_t batch_count_max; /* 1: single messages, gathered by the library */
};
void publisher_add(struct harness *h, const struct account_target *targets,
                   const struct publisher_options *options);

/* A body for the message, in memory that is used again by the next call; gives its length. */
size_t publisher_body(struct harness *h, uint32_t producer, uint64_t counter, const uint8_t **ret_body);

struct consumer_options {
    uint32_t queue;
    const char *name;
    bool push; /* or one receive after the other */
    uint32_t messages_max;
};
void consumer_add(struct harness *h, const struct consumer_options *options);

void purger_add(struct harness *h, uint32_t queue, const char *name);

/* Makes queues, subscribes them, uses them, and deletes them again; each must be as it was answered. */
void builder_add(struct harness *h, uint32_t producer, const struct account_target *targets, uint32_t target);
