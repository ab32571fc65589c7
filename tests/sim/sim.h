/* The shell of the broker on virtual time: what net/ and log/ are to the core in production.
 *
 * Place:   one real core over one real tail. It steps turns in the order that the core's header
 *          prescribes, carries out the effects, and hands each of them to one listener.
 * Faults:  commits are synced turns later and several at once; blocks leave memory, and come back some
 *          time after they were fetched, for a while; effects are carried out late within a turn; the
 *          memory of a request is spoilt as soon as the core may no longer look at it; deliveries stay
 *          pinned and are compared again later.
 * Repeats: everything random comes from the seed. */
#pragma once

#include "core/core.h"
#include "log/tail.h"
#include "rng.h"

struct sim_options {
    uint64_t seed;
    uint64_t tail_bytes_max;
    uint32_t sync_delay_turns_max; /* 0: SYNCED follows COMMIT at once */
    uint32_t sweep_percent;        /* of the turns end with a part of a sweep of the tail */
    uint32_t absent_percent;       /* of all blocks leave memory at some time */
    uint32_t absent_age_ms_max;    /* by this age at the latest */
    uint32_t fetch_delay_ms_max;
    uint32_t late_effects_percent;    /* of all steps leave their effects for a later one of the turn */
    uint32_t slow_percent;            /* of all slices are not taken by their socket at once */
    uint32_t nomem_percent;           /* of all steps but requests run out of memory, and are repeated */
    void (*fail_malloc_at)(size_t n); /* makes the n-th request for memory fail; 0: none */
    struct core_options core;         /* the view is filled in by sim_new() */

    /* Each effect, in order, right before the shell carries it out. */
    void (*on_effect)(void *context, const struct effect *effect);
    void *context;
};

struct sim_fetch {
    uint64_t stream, first_seq, count;
    uint64_t due_ms;
};

/* A block that is in memory again for a while. */
struct sim_resident {
    uint64_t stream, first_seq;
    uint64_t until_turn;
};

/* A delivery that its socket did not take yet. */
struct sim_pin {
    const uint8_t *data;
    size_t length;
    uint64_t hash;
    uint64_t until_turn;
};

enum { SIM_FETCHES_MAX = 4096, SIM_RESIDENTS_MAX = 8192, SIM_PINS_MAX = 64 };

struct sim {
    struct sim_options options;
    struct rng rng; /* of the faults: the workload has its own */
    struct core *core;
    struct tail *tail;
    struct effects effects;
    uint64_t now_ms, wall_ms;
    uint64_t turn;
    uint64_t room_bytes;     /* of this turn */
    uint64_t room_bytes_max; /* lowers it: UINT64_MAX for what the tail has */

    uint64_t appended, synced; /* commits */
    uint64_t sync_turn;        /* when the next SYNCED is due */
    bool sync_stopped;         /* until further notice there is none */

    struct arena requests; /* records of this turn */
    struct sim_fetch fetches[SIM_FETCHES_MAX];
    uint32_t fetch_count;
    struct sim_resident residents[SIM_RESIDENTS_MAX];
    uint32_t resident_count;
    struct sim_pin pins[SIM_PINS_MAX];
    uint32_t pin_count;
};

struct sim *sim_new(const struct sim_options *options);
void sim_free(struct sim *s);

/* What every run starts from: generous limits, no faults. */
struct sim_options sim_options_default(uint64_t seed);

/* One turn: sim_turn(), then any number of the following, then sim_turn_end(). */
void sim_turn(struct sim *s);
void sim_request(struct sim *s, uint32_t connection, const struct fanq_request *request);
void sim_connection_event(struct sim *s, enum event_kind kind, uint32_t connection);
void sim_drain(struct sim *s);
/* Carries out what late_effects_percent has left. */
void sim_carry_out(struct sim *s);
void sim_turn_end(struct sim *s);

/* Memory for the records of a request, good until this turn's COMMIT was carried out. */
uint8_t *sim_request_bytes(struct sim *s, size_t size);

void sim_advance_ms(struct sim *s, uint64_t ms);

/* No more faults: everything is in memory, synced at once, and nothing is pinned. */
void sim_faults_stop(struct sim *s);

/* Whether the core would see the bytes of this message now. */
bool sim_is_resident(struct sim *s, uint64_t stream, uint64_t seq);
/* Whether a fetch of this message is under way. */
bool sim_is_fetching(const struct sim *s, uint64_t stream, uint64_t seq);

/* Says what is wrong and how to repeat the run, then aborts. */
_Noreturn void sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define SIM_CHECK(condition, ...)                                                                            \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            sim_fail(__VA_ARGS__);                                                                           \
    } while (0)
