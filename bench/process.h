/* Processes that are measured: the broker, and the children that stand for the machine's limits.
 *
 * Each is a process of its own, so that its CPU time can be read from outside and nothing but sockets joins
 * it to the load generator. None outlives this program. Start them while it has no other threads. */
#pragma once

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

/* Starts the broker in memory mode on a free port and waits until it takes connections. */
int process_start_broker(struct process *process, const char *fanqd, struct bench_error *error);

/* Runs function(context) in a child, which ends with it. Url and log_fd are left to the caller. */
int process_fork(struct process *process, void (*function)(void *context), void *context,
                 struct bench_error *error);

/* Asks it to end and waits; after some seconds it is killed. Accepts one whose start failed. */
void process_stop(struct process *process);

/* The broker beside this program; the path lives in a static buffer. NULL: there is none. */
const char *process_find_broker(void);
