/* What a broker that is killed again and again has promised, and whether it kept it.
 *
 * Messages: are known by producer and counter, which stand in their bodies (payload.h). A message goes to a target, and by
 *           way of it to each of the target's queues. Sending it once more after an unknown outcome may leave two of it.
 * Copies:   a message in a queue is told from its twin by its place, (stream, seq). A copy that comes twice is a redelivery;
 *           more copies than sends are a duplicate.
 * Time:     is counted in ticks, one for each thing that the harness does or hears of. What was asked for only after a delete
 *           had been answered cannot contain what was deleted: then it is resurrected. What was asked for earlier may, and
 *           is in doubt: the consumer leaves it alone, and if it is there still, it comes again. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { ACCOUNT_QUEUES_MAX = 3 /* of a target */, ACCOUNT_COPIES_MAX = 2, ACCOUNT_PRODUCERS_MAX = 16 };

struct account_target {
    const char *name;
    bool topic;
    uint32_t queue_count;
    uint32_t queues[ACCOUNT_QUEUES_MAX];
};

/* A message in a queue. */
struct copy {
    uint64_t place;      /* 0: not seen yet */
    uint32_t settled_at; /* when its delete, or giving it back, was answered */
    uint8_t deliveries;  /* at least so many were logged then */
    bool deleting;       /* a delete was sent: it may be gone */
    bool deleted;        /* and was answered */
};

enum outcome { OUTCOME_TAKEN, OUTCOME_UNKNOWN, OUTCOME_REFUSED };

enum verdict {
    VERDICT_FINE,
    VERDICT_DOUBTFUL, /* leave it alone */
    VERDICT_WRONG     /* counted and told */
};

struct account;

/* Borrows targets. Ends the program when there is no memory, as all that follows. */
struct account *account_new(const struct account_target *targets, uint32_t queue_count,
                            const char *const *queue_names);
void account_free(struct account *a);

/* Which run of the broker it is, for what is told. */
void account_run(struct account *a, uint32_t run);

/* The time; each call is later than the one before. */
uint32_t account_tick(struct account *a);

/* ---- publishing ---- */

/* Gives the counter of a new message. */
uint64_t account_new_message(struct account *a, uint32_t producer, uint32_t target);
void account_sending(struct account *a, uint32_t producer, uint64_t counter);
void account_sent(struct account *a, uint32_t producer, uint64_t counter, enum outcome outcome);

/* How often it was sent, and not refused: at most ACCOUNT_COPIES_MAX times. */
uint32_t account_sends(const struct account *a, uint32_t producer, uint64_t counter);

/* Messages taken for the fullest queue of the target, and not deleted. */
uint64_t account_waiting(const struct account *a, uint32_t target);

/* ---- consuming ---- */

struct arrival {
    uint32_t queue;
    uint32_t producer;
    uint64_t counter;
    uint64_t stream, seq;
    uint32_t deliveries;
    uint32_t asked_at; /* tick */
};

enum verdict account_arrival(struct account *a, const struct arrival *arrival, struct copy **ret_copy);
void account_deleting(struct account *a, struct copy *copy);
void account_deleted(struct account *a, uint32_t queue, struct copy *copy);
void account_given_back(struct account *a, struct copy *copy, uint32_t deliveries);

/* One purge of a queue at a time. */
void account_purging(struct account *a, uint32_t queue);
void account_purged(struct account *a, uint32_t queue, bool known);

/* Something else that is wrong. */
void account_wrong(struct account *a, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- the end ---- */

struct account_sum {
    uint64_t acknowledged, unknown, refused;
    uint64_t arrivals, deleted, lost, duplicated, resurrected, phantoms, wrong;
};

/* How much is wrong so far. */
uint64_t account_findings(const struct account *a);

/* drained: all queues are empty, and nothing is open; else what did not come is not called lost. */
void account_close(struct account *a, bool drained, struct account_sum *ret_sum);
