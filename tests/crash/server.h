/* The broker that is killed: one process at a time, on one directory, with one Unix socket. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { SERVER_FLAGS_MAX = 32, SERVER_PATH_BYTES_MAX = 96 };

struct server {
    const char *program;
    char root[SERVER_PATH_BYTES_MAX / 2]; /* made, with log, socket and directory below */
    char directory[SERVER_PATH_BYTES_MAX], log[SERVER_PATH_BYTES_MAX], socket[SERVER_PATH_BYTES_MAX];
    char url[SERVER_PATH_BYTES_MAX + 8];
    const char *flags[SERVER_FLAGS_MAX]; /* more of them, ended by NULL */
    bool memory;                         /* with --memory instead of --dir */
    pid_t pid;                           /* 0: it does not run */
};

/* Makes the root below $TMPDIR. Ends the program when it cannot. */
void server_init(struct server *s, const char *program);

/* Starts it, without waiting for anything. fsync: of this run; NULL: as the flags say. */
void server_start(struct server *s, const char *fsync);

/* Whether it has ended by itself; then *ret_code is its exit code, or 128 + the signal. */
bool server_has_ended(struct server *s, int *ret_code);

void server_kill(struct server *s);      /* SIGKILL, and waits */
void server_terminate(struct server *s); /* SIGTERM, and does not wait */

/* fanqd --check: its exit code. */
int server_check(struct server *s);

/* What the last run said, for people. */
void server_tell_log(const struct server *s);
void server_remove(struct server *s);
