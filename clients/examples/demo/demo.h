/* The demo's parts and what they share. One thread; what fails has told why on stderr and gives false. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "fanq.h"
#include "stanza.h"

enum {
    QUEUE_COUNT = 3,
    WORKERS_MAX = QUEUE_COUNT + 1, /* one for each queue, and one that replaces a killed one */
    VICTIM = 1,                    /* the queue, and at first the worker, that is hit */
    STANZAS_MIN = 24,              /* so that there is a half-way */
    VISIBILITY_MS = 2000,          /* so long what a killed worker held stays hidden */
    ANSWER_MS = 10000,
    WORK_MS = 4000, /* how long a worker needs in all, so that there is time to interrupt it */
    PATH_BYTES = 4096
};

struct worker {
    int queue;
    pid_t pid; /* 0: not started, or ended */
};

struct demo {
    const char *fanqd_path;
    const char *worker_path;
    const char *status_path;
    char folder[64]; /* a temporary one: the port file, logs and notes */
    pid_t broker;    /* 0: not started, or ended */
    char url[64];
    struct fanq *client;
    struct stanza_list stanzas;
    struct worker workers[WORKERS_MAX];
    int worker_count;
    size_t held_count; /* taken and not deleted by the killed worker */
    double publish_s;  /* from the first publish to the last acknowledgement */
    double consume_s;  /* from the first publish until all queues were empty */
};

extern const char *const demo_topic;
extern const char *const demo_queues[QUEUE_COUNT];

/* Seconds by the monotonic clock. */
double demo_now(void);

/* Whether the user wants it to end (SIGINT, SIGTERM). */
bool demo_interrupted(void);

/* Says on stderr what went wrong; gives false, for a return. */
bool demo_fails(const char *format, ...) __attribute__((format(printf, 1, 2)));

void demo_path(const struct demo *demo, const char *name, char ret_path[PATH_BYTES]);
void demo_notes_path(const struct demo *demo, int worker, char ret_path[PATH_BYTES]);

/* play.c: what happens. */
bool play_publish(struct demo *demo);
bool play_worker(struct demo *demo, int queue);
bool play_kill_half_way(struct demo *demo);
bool play_until_empty(struct demo *demo);
bool play_workers_end(struct demo *demo);

/* proof.c: what must have happened. Prints a table. */
bool proof(const struct demo *demo);
