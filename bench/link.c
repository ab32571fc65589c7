#include "link.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "proto/fanq_error.h"

uint64_t clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void tcp_options(int fd)
{
    int on = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* without it only slower */
}

static int connect_unix(const char *path, size_t length, struct bench_error *error, int *ret_fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd;

    if (length >= sizeof address.sun_path)
        return bench_fail(error, FANQ_ERR_INVALID, "the path of the socket is too long");
    memcpy(address.sun_path, path, length);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        bench_fail(error, FANQ_ERR_NOT_CONNECTED, "cannot connect to %s: %s", address.sun_path,
                   strerror(errno));
        if (fd >= 0)
            close(fd);
        return FANQ_ERR_NOT_CONNECTED;
    }
    *ret_fd = fd;
    return 0;
}

/* Tries the addresses in turn; -1 with errno of the last. */
static int connect_any(const struct addrinfo *addresses)
{
    int fd = -1;

    for (const struct addrinfo *a = addresses; a != NULL; a = a->ai_next) {
        fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            continue;
        tcp_options(fd);
        if (connect(fd, a->ai_addr, a->ai_addrlen) == 0)
            return fd;
        close(fd);
        fd = -1;
    }
    return fd;
}

static int connect_tcp(const char *host, const char *port, struct bench_error *error, int *ret_fd)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *addresses = NULL;
    int fault = getaddrinfo(host, port, &hints, &addresses);
    int fd;

    if (fault != 0)
        return bench_fail(error, FANQ_ERR_NOT_CONNECTED, "cannot find %s: %s", host, gai_strerror(fault));
    fd = connect_any(addresses);
    freeaddrinfo(addresses);
    if (fd < 0)
        return bench_fail(error, FANQ_ERR_NOT_CONNECTED, "cannot connect to %s port %s: %s", host, port,
                          strerror(errno));
    *ret_fd = fd;
    return 0;
}

/* Splits HOST[:PORT] or [ADDRESS][:PORT] in place; *ret_port is untouched when there is none. */
static char *host_split(char *host, char **ret_port)
{
    char *colon;

    if (host[0] == '[' && strchr(host, ']') != NULL) {
        char *bracket = strchr(host, ']');

        *bracket = '\0';
        if (bracket[1] == ':')
            *ret_port = bracket + 2;
        return host + 1;
    }
    colon = strrchr(host, ':');
    if (colon != NULL) {
        *colon = '\0';
        *ret_port = colon + 1;
    }
    return host;
}

int link_connect(const char *url, struct bench_error *error, int *ret_fd)
{
    char host[300], port_default[8];
    char *port = port_default, *name;
    size_t length;

    if (url == NULL)
        url = getenv("FANQ_URL");
    if (url == NULL)
        url = "fanq://127.0.0.1";
    length = strcspn(url, ",");
    if (strncmp(url, "unix:", 5) == 0)
        return connect_unix(url + 5, length - 5, error, ret_fd);
    if (strncmp(url, "fanq://", 7) != 0 || length - 7 >= sizeof host)
        return bench_fail(error, FANQ_ERR_INVALID, "a URL is fanq://HOST[:PORT] or unix:/PATH, not %s", url);
    (void)snprintf(port_default, sizeof port_default, "%d", LINK_PORT_DEFAULT);
    memcpy(host, url + 7, length - 7);
    host[length - 7] = '\0';
    name = host_split(host, &port);
    return connect_tcp(name, port, error, ret_fd);
}

int link_listen(struct bench_error *error, int *ret_fd, uint16_t *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, SOMAXCONN) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) != 0) {
        bench_fail(error, FANQ_ERR_IO, "cannot listen on the loopback: %s", strerror(errno));
        if (fd >= 0)
            close(fd);
        return FANQ_ERR_IO;
    }
    *ret_fd = fd;
    *ret_port = ntohs(address.sin_port);
    return 0;
}

int link_accept(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

    if (fd >= 0)
        tcp_options(fd);
    return fd;
}

int link_unblock(int fd, struct bench_error *error)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
        return bench_fail(error, FANQ_ERR_IO, "cannot make a socket non-blocking: %s", strerror(errno));
    return 0;
}

int link_write(int fd, const void *data, size_t length)
{
    const uint8_t *at = data;

    while (length > 0) {
        ssize_t written = send(fd, at, length, MSG_NOSIGNAL);

        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return errno == EPIPE || errno == ECONNRESET ? FANQ_ERR_NOT_CONNECTED : FANQ_ERR_IO;
        at += written;
        length -= (size_t)written;
    }
    return 0;
}

int link_read(int fd, void *data, size_t length)
{
    uint8_t *at = data;

    while (length > 0) {
        ssize_t got = read(fd, at, length);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return FANQ_ERR_IO;
        if (got == 0)
            return FANQ_ERR_NOT_CONNECTED;
        at += got;
        length -= (size_t)got;
    }
    return 0;
}
