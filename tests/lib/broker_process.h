/* A real fanqd on a free port of this machine, for tests of programs that speak to one. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct broker_process {
    pid_t pid; /* 0: not running */
    uint16_t port;
    char directory[64]; /* for the port file and whatever the test wants; removed when empty at the end */
    char url[64];
};

/* Starts the program that the environment's FANQD names, in memory, and waits until it is ready. flags: more
 * flags, ended by NULL; may be NULL. Fails the test when it does not start. */
void broker_process_start(struct broker_process *broker, const char *const *flags);

/* SIGTERM, and gives the exit code (or 128 + the signal that ended it). */
int broker_process_stop(struct broker_process *broker);

/* SIGKILL: as if the power had gone. */
void broker_process_kill(struct broker_process *broker);

/* A new run on the same port, after a stop or a kill. */
void broker_process_restart(struct broker_process *broker);

/* Stops it if it runs, and removes the directory. */
void broker_process_close(struct broker_process *broker);
