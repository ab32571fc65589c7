/* Where connections come in: see listener.h. */
#include "listener.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "config.h"
#include "connection.h"
#include "notice.h"
#include "proto/reply.h"
#include "shell.h"

enum { BACKLOG = 4096 };

/* ---- connections ---- */

static void on_refuser_close(uv_handle_t *handle)
{
    struct refuser *r = handle->data;

    r->busy = false;
    listeners_resume(r->shell);
}

static void write_refusal(struct refuser *r)
{
    const char *text = "the broker has as many connections as it may";
    struct fanq_reply reply = {.op = FANQ_REPLY_ERROR};
    uint8_t bytes[FANQ_SMALL_REPLY_BYTES_MAX];
    struct fanq_writer w = fanq_writer_over(bytes, sizeof(bytes));
    uv_buf_t buffer;

    reply.error.err = FANQ_ERR_LIMIT;
    reply.error.text = (struct fanq_bytes){(const uint8_t *)text, strlen(text)};
    fanq_reply_encode(&w, &reply);
    buffer = uv_buf_init((char *)bytes, (unsigned)fanq_writer_length(&w));
    (void)uv_try_write(&r->stream, &buffer, 1); /* the peer may be gone: nothing depends on it */
}

static void refuse(struct shell *s, struct listener *l)
{
    struct refuser *r = &s->refuser;
    int err = l->handle.type == UV_TCP ? uv_tcp_init(&s->loop, &r->tcp) : uv_pipe_init(&s->loop, &r->pipe, 0);

    if (err != 0)
        return;
    r->handle.data = r;
    r->shell = s;
    r->busy = true;
    if (uv_accept(&l->stream, &r->stream) == 0)
        write_refusal(r);
    uv_close(&r->handle, on_refuser_close);
    s->figures.refused++;
    NOTICE_WARNING("connection refused", "reason=\"connections_max\" connections=%u",
                   (unsigned)s->connections_max);
}

static void take(struct listener *l)
{
    struct shell *s = l->shell;

    if (connection_possible(s) && connection_accept(s, &l->stream))
        return;
    if (!s->refuser.busy)
        refuse(s, l);
    else
        l->waiting = true; /* libuv announces no other one until this one is taken */
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct listener *l = stream->data;

    if (status == 0)
        take(l);
    else /* out of descriptors: libuv has already closed what it could not hand over */
        NOTICE_WARNING("cannot accept a connection", "error=\"%s\" listen=\"%s\"", uv_strerror(status),
                       l->address);
}

void listeners_resume(struct shell *s)
{
    for (size_t i = 0; i < s->listener_count; i++) {
        struct listener *l = s->listeners[i];
        if (!l->waiting || uv_is_closing(&l->handle))
            continue;
        l->waiting = false;
        take(l);
    }
}

/* ---- TCP ---- */

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr) >> 24 == 127;
    return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr);
}

/* The port that was taken and the address as a URL says it. */
static void describe(struct listener *l)
{
    struct sockaddr_storage bound;
    int length = sizeof(bound);
    char host[INET6_ADDRSTRLEN] = "?";

    if (uv_tcp_getsockname(&l->tcp, (struct sockaddr *)&bound, &length) != 0)
        return;
    if (bound.ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)&bound;
        uv_ip4_name(v4, host, sizeof(host));
        l->port = ntohs(v4->sin_port);
        snprintf(l->address, sizeof(l->address), "%s:%d", host, l->port);
    } else {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&bound;
        uv_ip6_name(v6, host, sizeof(host));
        l->port = ntohs(v6->sin6_port);
        snprintf(l->address, sizeof(l->address), "[%s]:%d", host, l->port);
    }
}

static int resolve(const struct config_listen *where, int port, struct sockaddr_storage *ret_address,
                   char *error, size_t size)
{
    const struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    char service[16];
    int err;

    snprintf(service, sizeof(service), "%d", port);
    err = getaddrinfo(where->host, service, &hints, &found);
    if (err != 0) {
        snprintf(
            error, size,
            "cannot find the address '%s': %s. Give --listen an address of this machine, such as 127.0.0.1",
            where->host, gai_strerror(err));
        return -1;
    }
    memcpy(ret_address, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return 0;
}

static void explain_tcp(const struct config_listen *where, int port, int err, char *error, size_t size)
{
    if (err == UV_EADDRINUSE)
        snprintf(error, size,
                 "port %d of %s is in use, perhaps by another fanqd. Choose one with --port N, or --port 0 "
                 "for any free one",
                 port, where->host);
    else if (err == UV_EADDRNOTAVAIL)
        snprintf(error, size,
                 "%s is not an address of this machine; `ip address` shows them. --listen 0.0.0.0 takes all",
                 where->host);
    else if (err == UV_EACCES)
        snprintf(error, size, "port %d needs privileges; choose one above 1023 with --port N", port);
    else
        snprintf(error, size, "cannot listen on %s port %d: %s", where->host, port, uv_strerror(err));
}

static void start_listener(struct shell *s, struct listener *l)
{
    l->handle.data = l;
    l->shell = s;
    l->waiting = false;
}

/* For one that failed to start: nobody waits for the callback. */
static void discard(struct shell *s, struct listener *l)
{
    uv_close(&l->handle, NULL);
    uv_run(&s->loop, UV_RUN_NOWAIT);
}

int listener_open_tcp(struct shell *s, struct listener *l, const struct config_listen *where, char *error,
                      size_t size)
{
    int port = where->port >= 0 ? where->port : (int)s->config->port;
    struct sockaddr_storage address = {0};
    int err;

    if (resolve(where, port, &address, error, size) != 0)
        return -1;
    err = uv_tcp_init(&s->loop, &l->tcp);
    if (err != 0) {
        explain_tcp(where, port, err, error, size);
        return -1;
    }
    start_listener(s, l);
    err = uv_tcp_bind(&l->tcp, (struct sockaddr *)&address, 0);
    if (err == 0)
        err = uv_listen(&l->stream, BACKLOG, on_connection);
    if (err != 0) {
        explain_tcp(where, port, err, error, size);
        discard(s, l);
        return -1;
    }
    l->loopback = is_loopback((struct sockaddr *)&address);
    describe(l);
    return 0;
}

/* ---- Unix socket ---- */

/* Whether path is a socket that a process left behind when it ended. Anything else is not ours to remove. */
static bool left_behind(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat status;
    bool refused;
    int fd;

    if (lstat(path, &status) != 0 || !S_ISSOCK(status.st_mode))
        return false;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    memcpy(address.sun_path, path, strlen(path));
    refused = connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0 && errno == ECONNREFUSED;
    close(fd);
    return refused;
}

int listener_open_unix(struct shell *s, struct listener *l, const char *path, char *error, size_t size)
{
    int err;

    if (strlen(path) == 0 || strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
        snprintf(error, size, "the path of a Unix socket has 1 to %zu characters: choose another --unix PATH",
                 sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
        return -1;
    }
    err = uv_pipe_init(&s->loop, &l->pipe, 0);
    if (err != 0) {
        snprintf(error, size, "cannot listen on %s: %s", path, uv_strerror(err));
        return -1;
    }
    start_listener(s, l);
    err = uv_pipe_bind(&l->pipe, path);
    if (err == UV_EADDRINUSE && left_behind(path) && unlink(path) == 0)
        err = uv_pipe_bind(&l->pipe, path);
    if (err == 0)
        err = uv_listen(&l->stream, BACKLOG, on_connection);
    if (err != 0) {
        if (err == UV_EADDRINUSE)
            snprintf(error, size,
                     "%s is in use by another process, or is no socket: choose another --unix PATH", path);
        else
            snprintf(error, size,
                     "cannot listen on %s: %s; does its directory exist, and may you write there?", path,
                     uv_strerror(err));
        discard(s, l);
        return -1;
    }
    l->port = -1;
    l->loopback = true;
    snprintf(l->address, sizeof(l->address), "%s", path);
    return 0;
}

void listener_close(struct listener *l)
{
    if (!uv_is_closing(&l->handle))
        uv_close(&l->handle, NULL); /* libuv unlinks the path of a pipe */
}
