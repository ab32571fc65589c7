/* The child: its main thread runs a loop with one connection and one async handle, the worker writes.
 *
 *     on_read ── requests ──> write_one ── answers ──> on_written
 */
#include "disk_path.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/base/ring.h"
#include "broker/base/worker.h"
#include "broker/log/writer.h"
#include "disk_probe.h"

enum {
    SLOTS = 64, /* many more than are under way */
    BUFFER_BYTES = 64 * 1024
};

struct disk_path {
    const struct ceiling_child *child;
    const struct disk_path_options *options;
    struct disk_probe probe;
    struct ring *requests; /* of the bytes to write */
    struct ring *answers;  /* the same, when they are on the disk */
    struct worker *worker;
    uv_loop_t loop;
    uv_tcp_t connection;
    uv_async_t written;
    size_t have_bytes; /* of the next request */
    uint8_t buffer[BUFFER_BYTES];
    uint8_t answer[BUFFER_BYTES];
};

static void give_up(const char *what)
{
    fprintf(stderr, "fanq-bench: the probe of the path to the disk: %s\n", what);
    exit(1);
}

/* ---- the thread that writes ---- */

static bool write_one(void *context)
{
    struct disk_path *p = context;
    uint32_t bytes;

    if (!ring_pop(p->requests, &bytes))
        return false;
    if (disk_probe_write(&p->probe, bytes) != 0)
        give_up(strerror(errno));
    if (!ring_push(p->answers, &bytes))
        give_up("too much is under way");
    (void)uv_async_send(&p->written); /* fails only for a handle that is none */
    return true;
}

/* ---- the loop ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buffer)
{
    struct disk_path *p = handle->data;

    *ret_buffer = uv_buf_init((char *)p->buffer, sizeof p->buffer);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buffer)
{
    struct disk_path *p = stream->data;
    uint32_t bytes = atomic_load_explicit(p->child->write_bytes, memory_order_relaxed);

    if (got < 0) {
        uv_stop(&p->loop);
        return;
    }
    for (p->have_bytes += (size_t)got; p->have_bytes >= p->options->request_bytes;
         p->have_bytes -= p->options->request_bytes) {
        if (!ring_push(p->requests, &bytes))
            give_up("too much is under way");
        worker_wake(p->worker);
    }
}

static void on_written(uv_async_t *async)
{
    struct disk_path *p = async->data;
    uv_buf_t answer = uv_buf_init((char *)p->answer, (unsigned)p->options->answer_bytes);
    uint32_t bytes;

    while (ring_pop(p->answers, &bytes))
        if (uv_try_write((uv_stream_t *)&p->connection, &answer, 1) != (int)answer.len)
            give_up("its answers are not read");
}

/* ---- from start to end ---- */

static void path_open(struct disk_path *p)
{
    struct bench_error error = {0};
    struct worker_options options = {
        .name = "disk path", .work = write_one, .context = p, .spin_us = WRITER_SPIN_US};

    if (disk_probe_open(&p->probe, p->options->path, &error) != 0)
        give_up(error.text);
    p->requests = ring_new(sizeof(uint32_t), SLOTS);
    p->answers = ring_new(sizeof(uint32_t), SLOTS);
    if (p->requests == NULL || p->answers == NULL || uv_loop_init(&p->loop) != 0 ||
        uv_async_init(&p->loop, &p->written, on_written) != 0 || uv_tcp_init(&p->loop, &p->connection) != 0)
        give_up("out of memory");
    p->written.data = p->connection.data = p;
    if (worker_start(&options, &p->worker) != 0)
        give_up("cannot start a thread");
}

static void path_run(const struct ceiling_child *child)
{
    static struct disk_path path; /* zero, and not on a stack */
    struct disk_path *p = &path;
    int fd;

    p->child = child;
    p->options = child->context;
    path_open(p);
    fd = ceiling_accept(child);
    if (fd < 0 || uv_tcp_open(&p->connection, fd) != 0 ||
        uv_read_start((uv_stream_t *)&p->connection, on_alloc, on_read) != 0)
        give_up("cannot take the connection");
    (void)uv_run(&p->loop, UV_RUN_DEFAULT); /* until it is stopped; the rest ends with the process */
    worker_stop(p->worker);
}

int disk_path_start(struct ceiling *ceiling, const struct disk_path_options *options,
                    struct bench_error *error)
{
    return ceiling_start(ceiling, path_run, options, error);
}
