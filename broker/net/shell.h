/* The shell around the core: the loop, the sockets, the clock. It carries bytes and time in, and effects out.
 *
 * Place:    the loop's thread, the only one there is.
 * Turn:     libuv's callbacks only collect: bytes (input.c), writes that ended (output.c), new
 *           connections, signals. After each poll, in one uv_check callback, the turn steps everything at
 *           once (turn.c), so batches form by themselves under load and a single message goes straight
 *           through when idle.
 * Parts:    shell.c: start, signals, stop; turn.c: the turn; listener.c, connection.c, input.c, output.c:
 *           the sockets; native.c: the protocol; backup.c: copies of the directory; pool.c: buffers.
 * Stopping: SIGTERM or SIGINT: no new connections, the core drains, answers go out, connections are
 *           closed; the loop ends when the last is gone, and the log's threads when all is on the disk. A second
 *           signal ends at once.
 *
 * The struct is open to the files of this folder alone. */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "base/list.h"
#include "core/core.h"
#include "log/io.h"
#include "input.h"
#include "listener.h"
#include "output.h"
#include "pool.h"
#include "upkeep.h"

struct config;
struct connection;
struct log;
struct tail;

struct shell_figures {
    uint64_t accepted, refused; /* connections */
    uint64_t protocol_errors;
    uint64_t requests;
    uint64_t input_bytes, output_bytes;
    uint64_t writes; /* calls of writev */
    uint64_t turns;
    uint64_t turn_us_max;     /* wall time of a turn */
    uint64_t turn_cpu_us_max; /* processor time of a round of the loop: a turn, and the callbacks before it */
    uint64_t cpu_us;          /* of the loop's thread, when the last turn ended */
};

struct shell {
    const struct config *config;
    bool auto_create;
    uint64_t epoch;
    uint64_t started_ms;
    int exit_code;

    uv_loop_t loop;
    uv_check_t check;
    uv_idle_t idle; /* runs while the next turn must not wait */
    uv_timer_t timer;
    uint64_t timer_due_ms;
    uv_signal_t terminate, interrupt;

    struct listener **listeners;
    size_t listener_count;
    struct refuser refuser;

    struct core *core;
    struct tail *tail;
    struct log *log; /* NULL: in memory only */
    struct io log_io;
    bool log_io_open;
    char *log_path;      /* of its directory, from the root */
    uv_async_t log_news; /* its threads have done something */
    bool log_has_news;
    bool log_was_short;  /* of disk, when it was last looked at */
    bool recovered;      /* the core has what the log had */
    uint64_t log_synced; /* the newest commit that the core was told of */
    struct effects effects;
    int32_t *next_effect; /* by effect: the next one of the same connection */
    size_t next_effect_capacity;

    struct pool pool;
    struct reading reading;
    struct writing writing;

    uint32_t connections_max;        /* as configured, or what descriptors suffice for */
    struct connection **connections; /* by number; NULL: free */
    uint32_t *free_numbers;
    size_t free_number_count;
    struct list greeting; /* connections that must say HELLO, by deadline */
    struct list leaving;  /* connections that end, by deadline */
    struct list news;     /* connections of which the core or libuv must be told something */

    /* The turn. */
    uint64_t now_ms, wall_ms;
    size_t batch_bytes, batch_requests;
    bool urgent; /* another turn must follow at once: turn_hurry() */
    enum { DRAIN_NO, DRAIN_ASKED, DRAIN_STEPPED } drain;
    uint64_t drain_deadline_ms;
    struct upkeep upkeep;
    struct list backups;         /* backup.c's */
    uint32_t backup_count;       /* of them not ended */
    uint32_t backup_holds;       /* of them hold the log */
    uint64_t backup_chain_ms;    /* since when it is held without a break */
    uint64_t backup_rest_end_ms; /* before that no new hold begins */
    bool running;
    bool stopping; /* the loop's own handles are closing */

    struct shell_figures figures;
};

/* Makes a shell that listens as configured, and gives it; NULL with a text in error. Borrows config. */
struct shell *shell_new(const struct config *config, char *error, size_t error_size);

/* Runs until told to stop by a signal. Gives the exit code. */
int shell_run(struct shell *s);

void shell_free(struct shell *s); /* accepts NULL and half-built */

/* Processor time of the calling thread, the loop's, in microseconds. */
uint64_t shell_cpu_us(void);

/* Ends the process: something that the broker cannot go on without is missing. */
_Noreturn void shell_fail(const char *what);

/* Closes the handles that keep the loop running; the last connection is gone. */
void shell_stop(struct shell *s);

/* ---- the turn (turn.c) ---- */

/* One turn, if there is anything to do. */
void turn_run(struct shell *s);

/* Sees to it that another turn follows at once; callable from any callback. */
void turn_hurry(struct shell *s);

/* Whether the batch has all it may have: what is left is for the next one, in the same turn. */
bool shell_batch_full(const struct shell *s);
