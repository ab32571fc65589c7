/* Processes that are measured: the broker, and the children that stand for the machine's limits.
 *
 * Each is a process of its own, so that its CPU time can be read from outside and nothing but sockets joins
 * it to the load generator. None outlives this program. Start them while it has no other threads. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "error.h"

struct process {
    pid_t pid; /* 0: none */
    clockid_t cpu_clock;
    int log_fd; /* what the broker says on stderr, shown if it ends badly; -1: nothing is kept */
    char url[64];
};

struct process_broker {
    const char *fanqd;
    const char *directory; /* where it keeps everything; NULL: in memory only */
    uint16_t port;         /* 0: a free one */
};

/* Starts the broker and waits until it takes connections. */
int process_start_broker(struct process *process, const struct process_broker *broker,
                         struct bench_error *error);

/* Starts it and does not wait: for measuring how long that takes. The port must be given. */
int process_launch_broker(struct process *process, const struct process_broker *broker,
                          struct bench_error *error);

/* Whether it has ended by itself. What a broker said that ended badly is then on stderr. */
bool process_ended(struct process *process);

/* Runs function(context) in a child, which ends with it. Url and log_fd are left to the caller. */
int process_fork(struct process *process, void (*function)(void *context), void *context,
                 struct bench_error *error);

/* The port in its url. */
uint16_t process_port(const struct process *process);

/* Memory of the process in bytes: what is resident now, and the most that ever was. */
int process_memory(const struct process *process, struct bench_error *error, uint64_t *ret_resident_bytes,
                   uint64_t *ret_peak_bytes);

/* Ends it as a crash does, and waits. */
void process_kill(struct process *process);

/* Asks it to end and waits; after some seconds it is killed. Accepts one whose start failed. */
void process_stop(struct process *process);

/* The broker beside this program; the path lives in a static buffer. NULL: there is none. */
const char *process_find_broker(void);
