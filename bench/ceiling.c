#include "ceiling.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/net/output.h" /* only for the size of its socket buffers */
#include "link.h"
#include "proto/fanq_error.h"

int ceiling_accept(const struct ceiling_child *child)
{
    int bytes = OUTPUT_SNDBUF_BYTES;
    int fd = link_accept(child->listener);

    if (fd >= 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes); /* there, too, it may fail */
    return fd;
}

/* ---- the relay ---- */

/* Takes the subscribers' connections and gives the publisher's; -1 when one fails. */
static int relay_accept(const struct ceiling_child *child, uint32_t subscriber_count, int *subscribers)
{
    uint32_t count = 0;

    for (;;) {
        int fd = ceiling_accept(child);
        char role = 0;

        if (fd < 0 || link_read(fd, &role, 1) != 0)
            return -1;
        if (role == CEILING_ROLE_PUBLISHER)
            return count == subscriber_count ? fd : -1;
        if (count == subscriber_count)
            return -1;
        subscribers[count++] = fd;
    }
}

/* Sockets block, which costs the fewest calls. A full one holds up the rest for as long as the consumer,
 * which reads all of them in one thread, needs to come round to it. */
static void relay_run(const struct ceiling_child *child)
{
    uint32_t subscriber_count = *(const uint32_t *)child->context;
    int *subscribers = calloc(subscriber_count, sizeof *subscribers);
    uint8_t *buffer = aligned_alloc(4096, CEILING_WRITE_BYTES_MAX);
    int publisher =
        subscribers != NULL && buffer != NULL ? relay_accept(child, subscriber_count, subscribers) : -1;
    int err = publisher < 0 ? FANQ_ERR_IO : 0;

    while (err == 0) {
        ssize_t got = read(publisher, buffer, atomic_load_explicit(child->write_bytes, memory_order_relaxed));

        if (got <= 0)
            break;
        for (uint32_t i = 0; i < subscriber_count && err == 0; i++)
            err = link_write(subscribers[i], buffer, (size_t)got);
    }
    free(buffer);
    free(subscribers);
}

/* ---- the echo ---- */

/* Waits in epoll, as a broker does that has many connections. */
static void echo_run(const struct ceiling_child *child)
{
    int from = ceiling_accept(child), to = ceiling_accept(child);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    uint8_t buffer[4096];

    if (from < 0 || to < 0 || epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, from, &event) != 0)
        return;
    while (epoll_wait(epoll, &event, 1, -1) == 1) {
        ssize_t got = read(from, buffer, sizeof buffer);

        if (got <= 0 || link_write(to, buffer, (size_t)got) != 0)
            break;
    }
}

/* ---- starting and ending ---- */

struct ceiling_fork {
    struct ceiling_child child;
    ceiling_function *run;
};

static void ceiling_run(void *context)
{
    const struct ceiling_fork *forked = context;

    forked->run(&forked->child);
}

int ceiling_start(struct ceiling *ceiling, ceiling_function *run, const void *context,
                  struct bench_error *error)
{
    struct ceiling_fork forked = {.child.context = context, .run = run};
    uint16_t port = 0;
    void *page = mmap(NULL, sizeof(atomic_uint), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int err;

    *ceiling = (struct ceiling){.process.log_fd = -1};
    if (page == MAP_FAILED)
        return bench_fail(error, FANQ_ERR_NOMEM, "out of memory");
    ceiling->write_bytes = page;
    forked.child.write_bytes = page;
    ceiling_set_write_bytes(ceiling, CEILING_WRITE_BYTES_MAX);
    err = link_listen(error, &forked.child.listener, &port);
    if (err == 0) {
        err = process_fork(&ceiling->process, ceiling_run, &forked, error);
        close(forked.child.listener);
    }
    (void)snprintf(ceiling->process.url, sizeof ceiling->process.url, "fanq://127.0.0.1:%u", port);
    if (err != 0)
        ceiling_stop(ceiling);
    return err;
}

int ceiling_start_relay(struct ceiling *ceiling, uint32_t subscriber_count, struct bench_error *error)
{
    return ceiling_start(ceiling, relay_run, &subscriber_count, error);
}

int ceiling_start_echo(struct ceiling *ceiling, struct bench_error *error)
{
    return ceiling_start(ceiling, echo_run, NULL, error);
}

void ceiling_set_write_bytes(struct ceiling *ceiling, uint32_t bytes)
{
    atomic_store_explicit(ceiling->write_bytes, bytes, memory_order_relaxed);
}

void ceiling_stop(struct ceiling *ceiling)
{
    process_stop(&ceiling->process);
    if (ceiling->write_bytes != NULL)
        (void)munmap(ceiling->write_bytes, sizeof(atomic_uint)); /* of a mapping of ours */
    ceiling->write_bytes = NULL;
}
