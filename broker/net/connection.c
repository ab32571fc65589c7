/* One peer: see connection.h. */
#include "connection.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "config.h"
#include "native.h"
#include "notice.h"
#include "shell.h"

enum { KEEPALIVE_SECONDS = 60 };

static const bool legal_moves[CONNECTION_CLOSED + 1][CONNECTION_CLOSED + 1] = {
    [CONNECTION_GREETING] =
        {[CONNECTION_OPEN] = true, [CONNECTION_FINISHING] = true, [CONNECTION_CLOSED] = true},
    [CONNECTION_OPEN] = {[CONNECTION_FINISHING] = true, [CONNECTION_CLOSED] = true},
    [CONNECTION_FINISHING] = {[CONNECTION_LINGERING] = true, [CONNECTION_CLOSED] = true},
    [CONNECTION_LINGERING] = {[CONNECTION_CLOSED] = true},
};

static void move(struct connection *c, enum connection_state to)
{
    assert(legal_moves[c->state][to]);
    c->state = to;
}

void connection_news(struct connection *c)
{
    if (!list_linked(&c->news))
        list_append(&c->shell->news, &c->news);
}

/* ---- reading ---- */

static void on_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buffer)
{
    struct connection *c = handle->data;

    input_buffer(c->shell, c, ret_buffer);
}

static void on_end(struct connection *c)
{
    c->ended = true;
    uv_read_stop(&c->stream);
    connection_news(c);
    turn_hurry(c->shell);
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *buffer)
{
    struct connection *c = stream->data;

    if (length > 0)
        input_received(c->shell, c, (size_t)length);
    else if (length == UV_ENOBUFS)
        input_refused(c);
    else if (length < 0)
        on_end(c); /* a reset too: what came before it counts */
}

void connection_read(struct connection *c)
{
    if (c->state != CONNECTION_CLOSED && !c->ended)
        (void)uv_read_start(&c->stream, on_buffer, on_read); /* fails only on closing handles */
}

/* ---- the beginning ---- */

bool connection_possible(const struct shell *s)
{
    return s->free_number_count > 0;
}

static void on_close(uv_handle_t *handle)
{
    struct connection *c = handle->data;
    struct shell *s = c->shell;

    assert(c->state == CONNECTION_CLOSED && !c->core_knows && !list_linked(&c->news));
    native_close(s, c);
    input_close(s, &c->input);
    output_close(s, &c->output);
    s->connections[c->number] = NULL;
    s->free_numbers[s->free_number_count++] = c->number;
    free(c);
    if (s->drain != DRAIN_NO && s->free_number_count == s->connections_max)
        shell_stop(s);
}

static struct connection *connection_new(struct shell *s, uv_handle_type kind)
{
    struct connection *c = calloc(1, sizeof(*c));
    int err;

    if (c == NULL)
        return NULL;
    err = kind == UV_TCP ? uv_tcp_init(&s->loop, &c->tcp) : uv_pipe_init(&s->loop, &c->pipe, 0);
    if (err != 0) {
        free(c);
        return NULL;
    }
    c->handle.data = c;
    c->shell = s;
    c->number = s->free_numbers[--s->free_number_count];
    s->connections[c->number] = c;
    c->state = CONNECTION_GREETING;
    list_init(&c->deadline);
    list_init(&c->news);
    list_init(&c->refusals);
    input_init(&c->input);
    output_init(&c->output);
    return c;
}

/* A socket without these still works, so failures are passed over. */
static void set_socket_options(struct connection *c)
{
    int bytes = OUTPUT_SNDBUF_BYTES;

    (void)uv_send_buffer_size(&c->handle, &bytes);
    if (c->handle.type == UV_TCP) {
        (void)uv_tcp_nodelay(&c->tcp, 1);
        (void)uv_tcp_keepalive(&c->tcp, 1, KEEPALIVE_SECONDS);
    }
}

bool connection_accept(struct shell *s, uv_stream_t *listener)
{
    struct connection *c = connection_new(s, listener->type);
    int err;

    if (c == NULL) {
        NOTICE_ERROR("cannot accept a connection", "error=\"out of memory\"");
        return false;
    }
    err = uv_accept(listener, &c->stream);
    if (err != 0) {
        connection_lose(c, uv_strerror(err));
        return true;
    }
    set_socket_options(c);
    s->figures.accepted++;
    c->deadline_ms = uv_now(&s->loop) + s->config->hello_ms_max;
    list_append(&s->greeting, &c->deadline);
    connection_read(c);
    return true;
}

/* ---- state ---- */

void connection_open(struct connection *c)
{
    move(c, CONNECTION_OPEN);
    list_remove(&c->deadline);
}

void connection_finish(struct connection *c)
{
    move(c, CONNECTION_FINISHING);
    list_remove(&c->deadline);
    c->deadline_ms = c->shell->now_ms + CONNECTION_FINISH_MS;
    list_append(&c->shell->leaving, &c->deadline);
    connection_news(c);
}

/* Our end is closed; the peer's should follow. A broker that stops has less patience: a client that sleeps is not there
 * to close its end, and what it was told lies in its socket already. */
static void linger(struct connection *c)
{
    move(c, CONNECTION_LINGERING);
    if (c->shell->drain == DRAIN_NO)
        return;
    list_remove(&c->deadline);
    c->deadline_ms = c->shell->now_ms + CONNECTION_DRAIN_LINGER_MS;
    list_prepend(&c->shell->leaving, &c->deadline); /* before those that still have to send */
}

void connection_proceed(struct connection *c)
{
    uv_os_fd_t fd;

    if (c->state == CONNECTION_FINISHING && !output_full(&c->output)) {
        if (uv_fileno(&c->handle, &fd) == 0 && shutdown(fd, SHUT_WR) == 0)
            linger(c);
        else
            connection_lose(c, NULL); /* the peer was faster */
    }
    if (c->state == CONNECTION_LINGERING && c->ended)
        connection_lose(c, NULL);
}

void connection_lose(struct connection *c, const char *reason)
{
    if (c->state == CONNECTION_CLOSED)
        return;
    if (reason != NULL && !c->ended)
        NOTICE_INFO("connection closed", "connection=%u reason=\"%s\"", c->number, reason);
    move(c, CONNECTION_CLOSED);
    list_remove(&c->deadline);
    uv_read_stop(&c->stream);
    connection_news(c);
    turn_hurry(c->shell);
}

void connection_bury(struct connection *c)
{
    assert(c->state == CONNECTION_CLOSED && !c->core_knows);
    list_remove(&c->news);
    if (!c->closing)
        uv_close(&c->handle, on_close);
    c->closing = true;
}

/* ---- deadlines ---- */

static struct connection *first_of(const struct list *deadlines)
{
    return list_empty(deadlines) ? NULL : container_of(deadlines->next, struct connection, deadline);
}

/* Both lists have one duration for all, so they are in order of deadline. */
uint64_t connections_next_ms(const struct shell *s)
{
    const struct connection *greeting = first_of(&s->greeting);
    const struct connection *leaving = first_of(&s->leaving);
    uint64_t next_ms = greeting != NULL ? greeting->deadline_ms : UINT64_MAX;

    return leaving != NULL && leaving->deadline_ms < next_ms ? leaving->deadline_ms : next_ms;
}

void connections_expire(struct shell *s)
{
    struct connection *c;

    while ((c = first_of(&s->greeting)) != NULL && c->deadline_ms <= s->now_ms)
        native_refuse_greeting(s, c, FANQ_ERR_HELLO_TIMEOUT);
    while ((c = first_of(&s->leaving)) != NULL && c->deadline_ms <= s->now_ms)
        connection_lose(c, NULL);
}
