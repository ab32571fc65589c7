/* Where connections come in: TCP addresses and a Unix socket.
 *
 * A connection beyond connections_max is accepted, told LIMIT and closed by the one refuser, one at a time;
 * while that is busy the next ones wait in the kernel's queue, so a flood is refused at the loop's own pace.
 * Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct shell;
struct config_listen;

struct listener {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    };
    struct shell *shell;
    int port;          /* -1: a Unix socket */
    bool loopback;     /* only this machine can reach it */
    bool waiting;      /* a connection was announced and not yet taken */
    char address[300]; /* as a URL says it: "127.0.0.1:9320", "[::1]:9320", a path */
};

/* Tells a connection beyond the limit that it is one. */
struct refuser {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    };
    struct shell *shell;
    bool busy;
};

/* Listen. 0, or -1 with a text in error that says what to do; the listener is then not in the loop. */
int listener_open_tcp(struct shell *s, struct listener *l, const struct config_listen *where, char *error,
                      size_t size);
int listener_open_unix(struct shell *s, struct listener *l, const char *path, char *error, size_t size);

/* Stops listening. A Unix socket's path is removed. */
void listener_close(struct listener *l);

/* Takes connections that were announced while there was no way to take them. */
void listeners_resume(struct shell *s);
