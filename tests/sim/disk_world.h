/* The whole broker on a simulated disk: a core and the real log, whose threads' work is done step by step in an order that
 * a seed decides, clients, and what they were told.
 *
 * Small: pages of 4 KiB and segments of 128 KiB, so that blocks leave memory and come back, segments fill, and are used
 *        again, within some hundred requests.
 * Truth: the durable changes as events (crash_model.h), each with the number of the commit that holds it. What a start finds
 *        must be what the commits up to the last one that was kept say, all of it and nothing else; and that one must not be
 *        before what was promised. */
#pragma once

#include "crash_model.h"
#include "log/log.h"
#include "rng.h"
#include "sim.h"
#include "tests/lib/sim_disk.h"

enum { DISK_SEGMENT_BYTES = 128 * 1024, DISK_HOLDS_MAX = 2048, DISK_ASKS_MAX = 4096, DISK_PRINT = 40 };

struct disk_options {
    enum writer_sync sync;
    uint64_t memory_bytes_max, cache_bytes_max, disk_bytes_max;
    uint32_t record_bytes_max;
    uint32_t writer_percent,
        store_percent;      /* how likely a turn is followed by a step of each, and that by another */
    uint32_t churn_percent; /* of the requests are about queues, topics, subscriptions */
    uint32_t drain_percent; /* of them receive and delete: there is less to keep */
    bool accept_loss;
};

struct disk_ask {
    enum fanq_op op;
    uint32_t slot;
    uint64_t incarnation;
    uint64_t needs;      /* the commit that holds all that the answer speaks of */
    uint64_t due_commit; /* answered at the latest when this one is */
    uint64_t visibility_ms;
    bool answered, refused, automatic;
};

/* A message in the hands of a client. */
struct disk_hold {
    uint32_t slot, uid;
    uint64_t incarnation, queue_id, batch, stream, seq, until_ms;
};

/* What outlives the broker. */
struct disk_truth {
    struct crash_model model;
    uint64_t wall_ms;
    uint64_t appended; /* the newest commit that was made */
    uint64_t told;     /* all up to this one may have been answered */
    uint64_t safe;     /* all up to this one is on the disk, whatever happens */
    uint64_t floor;    /* what a start must find at least */
    bool floor_is_all; /* a clean end: and not less than all */
    uint32_t next_uid;
    uint64_t salt; /* of the contents */
    uint64_t incarnations[CRASH_QUEUES];
    uint32_t delivered[CRASH_QUEUES][CRASH_UIDS]; /* the highest count of deliveries ever seen */
    bool lossy;                                   /* loss was accepted: less than all may be there */
};

struct disk_shown;

struct disk_world {
    struct disk_options options;
    struct rng rng;
    struct sim_disk *disk;
    struct disk_truth truth;

    /* The broker, while it runs. */
    struct log *log;
    struct core *core;
    int error; /* the log has ended */
    struct effects effects;
    size_t effects_seen; /* of them no commit was left */
    struct arena requests;
    uint64_t now_ms;
    struct disk_ask *asks;
    uint64_t ask_count, ask_open;
    struct disk_hold holds[DISK_HOLDS_MAX];
    uint32_t hold_count;
    uint64_t batches[CRASH_QUEUES][CRASH_UIDS]; /* who holds it; 0: nobody */
    uint64_t delays[CRASH_QUEUES][CRASH_UIDS];  /* until when it may not be received */
    uint32_t deliveries[CRASH_QUEUES][CRASH_UIDS];
    struct disk_shown *shown;
    bool (*seen)[CRASH_UIDS]; /* what world_look() found, by queue; or NULL */

    char error_text[LOG_ERROR_BYTES];
    uint64_t reports; /* lines of this run */
    char report[LOG_ERROR_BYTES];
    bool purging;      /* all that clients ask is that all queues are purged */
    uint64_t refusals; /* for lack of room */
    uint64_t fetches;
};

/* Takes the disk. */
struct disk_world *world_new(const struct disk_options *options, struct sim_disk *disk, uint64_t seed);
void world_free(struct disk_world *w); /* with the disk; accepts NULL */

/* The same truth, and a copy of the disk; the broker is dead in it. */
struct disk_world *world_fork(const struct disk_world *w, uint64_t seed);

/* Opens and recovers. 0, and the truth is cut to what was found; or the broker's error, with error_text. */
int world_start(struct disk_world *w);

/* One turn with so many requests, at `ms` later; afterwards some work of the threads. Nothing once the log has ended. */
void world_turn(struct disk_world *w, uint32_t requests, uint64_t ms);

/* Turns without requests until everything is answered and durable as the mode promises. False: the log ended. */
bool world_settle(struct disk_world *w);

/* The broker is gone: in order, by kill -9, or with the power. */
void world_close(struct disk_world *w);
void world_kill(struct disk_world *w);
void world_crash(struct disk_world *w, enum sim_disk_crash crash);
/* The power goes, and what becomes of the disk is not decided yet: world_fork() and sim_disk_crash() do. */
void world_halt(struct disk_world *w);

/* Everything that the broker shows is as it must be; it runs on meanwhile. With a lossy truth only every byte of a message is
 * checked. Ends early when the log does. */
void world_look(struct disk_world *w);

/* What the core would write as one checkpoint; the caller frees. */
uint8_t *world_checkpoint(struct disk_world *w, uint64_t *ret_bytes);

/* ---- between the files of the simulation ---- */

extern const char *const world_queue_names[CRASH_QUEUES];
extern const char *const world_topic_names[CRASH_TOPICS];

static inline struct fanq_bytes world_text(const char *text)
{
    return (struct fanq_bytes){(const uint8_t *)text, __builtin_strlen(text)};
}

void world_step(struct disk_world *w, const struct event *event);
bool world_work(struct disk_world *w, uint32_t writer_percent, uint32_t store_percent);

/* disk_client.c */
void clients_ask(struct disk_world *w);
void clients_expire(struct disk_world *w);
void clients_reply(struct disk_world *w, const struct fanq_reply *reply);
void clients_forget(struct disk_world *w); /* the broker is gone: nothing is in flight any more */

/* The record of a message, a function of its number. */
uint32_t record_bytes(const struct disk_world *w, uint32_t uid);
void record_write(const struct disk_world *w, uint32_t uid, uint8_t *at);
/* Whose it is; every byte is compared. */
uint32_t record_read(const struct disk_world *w, const uint8_t *at);

/* disk_look.c */
void look_reply(struct disk_world *w, const struct fanq_reply *reply);
