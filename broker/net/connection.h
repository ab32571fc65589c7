/* One peer: its socket, its state, and what it has under way.
 *
 *     GREETING --HELLO--> OPEN --error, end, drain--> FINISHING --all sent--> LINGERING --end, deadline--+
 *        |                 |                           |   |                                             |
 *        +----bad HELLO----|---------------------------+   |                                             v
 *        +-----------------+-------------------------------+----broken, too slow, deadline---------> CLOSED
 *
 * FINISHING: nothing more is parsed, what was to be said is being sent. LINGERING: our end of the stream is
 * closed and what still arrives is thrown away; closing at once would make the kernel send a reset, and the
 * peer might never read why. The core is told of the end (DISCONNECT) before the number is given to another
 * connection. Loop thread only. */
#pragma once

#include "input.h"
#include "output.h"

enum connection_state {
    CONNECTION_GREETING,
    CONNECTION_OPEN,
    CONNECTION_FINISHING,
    CONNECTION_LINGERING,
    CONNECTION_CLOSED,
};

enum {
    CONNECTION_FINISH_MS = 2000,     /* for FINISHING and LINGERING together */
    CONNECTION_DRAIN_LINGER_MS = 100 /* for LINGERING when the broker stops */
};

struct connection {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    };
    struct shell *shell;
    uint32_t number;
    enum connection_state state;
    bool ended;      /* the peer's end of the stream is closed */
    bool core_knows; /* the core has seen a request or a producer, and no DISCONNECT yet */
    bool is_producer;
    bool core_told_full;
    bool closing;         /* uv_close() was called */
    struct list deadline; /* in shell.greeting, or in shell.leaving from FINISHING on */
    uint64_t deadline_ms;
    struct list news;     /* in shell.news: see connection_news() */
    struct list refusals; /* native.c's */
    struct input input;
    struct output output;
};

/* Takes the connection that waits at the listening stream. When it cannot be had, it is gone and the reason
 * logged. False: there is no memory for one; it still waits. */
bool connection_accept(struct shell *s, uv_stream_t *listener);

/* Whether connections_max allows another one. */
bool connection_possible(const struct shell *s);

/* (Re)starts reading, unless the connection is closed. */
void connection_read(struct connection *c);

void connection_open(struct connection *c); /* GREETING to OPEN */

/* GREETING or OPEN to FINISHING: nothing more is parsed; what is said to it until the end of the batch is
 * still sent. */
void connection_finish(struct connection *c);

/* Makes the moves that wait for nothing any more: all was sent, or the peer ended too. */
void connection_proceed(struct connection *c);

/* Any state to CLOSED: broken, or not worth more. The reason is for the log. */
void connection_lose(struct connection *c, const char *reason);

/* Puts c on the shell's list of those of which the core or libuv must be told something in the next batch. */
void connection_news(struct connection *c);

/* CLOSED, and the core knows: gives the socket to libuv for closing, whose callback frees c. */
void connection_bury(struct connection *c);

/* Ends those whose deadline has passed. */
void connections_expire(struct shell *s);
uint64_t connections_next_ms(const struct shell *s);
