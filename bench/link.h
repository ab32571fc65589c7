/* Sockets of the load generator: how it finds the broker, and the options every one of its sockets has.
 *
 * Broker and ceiling are measured over sockets with the same options, so they are set
 * here and nowhere else. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "error.h"

enum { LINK_PORT_DEFAULT = 9320 };

/* Connects to fanq://HOST[:PORT] or unix:/PATH; of several URLs with commas between the first is taken. NULL:
 * the environment's FANQ_URL, else the loopback. Gives a blocking socket. */
int link_connect(const char *url, struct bench_error *error, int *ret_fd);

/* Gives a listening socket on a free port of the loopback. */
int link_listen(struct bench_error *error, int *ret_fd, uint16_t *ret_port);

/* Takes the next connection and gives it the options of link_connect(). -1: errno. */
int link_accept(int listener);

int link_unblock(int fd, struct bench_error *error);

/* Writes or reads all of it on a blocking socket. 0, FANQ_ERR_IO, or
 * FANQ_ERR_NOT_CONNECTED: the peer closed. */
int link_write(int fd, const void *data, size_t length);
int link_read(int fd, void *data, size_t length);

/* Monotonic time. */
uint64_t clock_ns(void);
