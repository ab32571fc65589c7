/* URLs and what they resolve to. */
#include "client.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#define DEFAULT_URL "fanq://127.0.0.1:9320"
#define DEFAULT_PORT "9320"

static bool port_valid(const char *port, size_t length)
{
    unsigned long number = 0;

    if (length == 0 || length > 5)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (port[i] < '0' || port[i] > '9')
            return false;
        number = number * 10 + (unsigned long)(port[i] - '0');
    }
    return number > 0 && number <= 65535;
}

static int take_text(char *to, size_t size, const char *from, size_t length)
{
    if (length == 0 || length >= size || memchr(from, '\0', length) != NULL)
        return FANQ_ERR_INVALID;
    memcpy(to, from, length);
    to[length] = '\0';
    return 0;
}

/* HOST, HOST:PORT, [IPV6] or [IPV6]:PORT, a slash behind allowed. */
static int parse_host(struct endpoint *endpoint, const char *text, size_t length)
{
    const char *host = text;
    size_t host_bytes;
    const char *rest;

    if (length > 0 && text[length - 1] == '/')
        length--;
    if (length > 0 && text[0] == '[') {
        const char *bracket = memchr(text, ']', length);
        if (bracket == NULL)
            return FANQ_ERR_INVALID;
        host = text + 1;
        host_bytes = (size_t)(bracket - host);
        rest = bracket + 1;
    } else {
        const char *colon = memchr(text, ':', length);
        host_bytes = colon != NULL ? (size_t)(colon - text) : length;
        rest = text + host_bytes;
    }

    size_t rest_bytes = length - (size_t)(rest - text);
    if (rest_bytes == 0) {
        strcpy(endpoint->port, DEFAULT_PORT);
    } else {
        if (rest[0] != ':' || !port_valid(rest + 1, rest_bytes - 1))
            return FANQ_ERR_INVALID;
        (void)take_text(endpoint->port, sizeof(endpoint->port), rest + 1, rest_bytes - 1); /* it is valid */
    }
    if (memchr(host, '@', host_bytes) != NULL || memchr(host, '/', host_bytes) != NULL)
        return FANQ_ERR_INVALID;
    return take_text(endpoint->host, sizeof(endpoint->host), host, host_bytes);
}

static int parse_endpoint(struct endpoint *endpoint, const char *url, size_t length)
{
    static const char tcp[] = "fanq://";
    static const char local[] = "unix:";

    if (length > sizeof(tcp) - 1 && memcmp(url, tcp, sizeof(tcp) - 1) == 0)
        return parse_host(endpoint, url + sizeof(tcp) - 1, length - (sizeof(tcp) - 1));
    if (length > sizeof(local) - 1 && memcmp(url, local, sizeof(local) - 1) == 0) {
        const char *path = url + sizeof(local) - 1;
        size_t path_bytes = length - (sizeof(local) - 1);

        if (path_bytes > 2 && path[0] == '/' && path[1] == '/') { /* unix:///path is unix:/path */
            path += 2;
            path_bytes -= 2;
        }
        endpoint->is_unix = true;
        if (path_bytes >= sizeof(((struct sockaddr_un *)0)->sun_path))
            return FANQ_ERR_INVALID;
        return take_text(endpoint->host, sizeof(endpoint->host), path, path_bytes);
    }
    return FANQ_ERR_INVALID;
}

static int add_endpoint(struct fanq *client, const char *url, size_t length)
{
    struct endpoint *endpoint = &client->endpoints[client->endpoint_count];

    if (client->endpoint_count == URLS_MAX || parse_endpoint(endpoint, url, length) != 0)
        return FANQ_ERR_INVALID;
    endpoint->url = memory_resize(&client->memory, NULL, length + 1);
    if (endpoint->url == NULL)
        return FANQ_ERR_NOMEM;
    memcpy(endpoint->url, url, length);
    endpoint->url[length] = '\0';
    client->endpoint_count++;
    return 0;
}

int fanq_endpoints_parse(struct fanq *client, const char *urls)
{
    if (urls == NULL)
        urls = getenv("FANQ_URL");
    if (urls == NULL || urls[0] == '\0')
        urls = DEFAULT_URL;
    for (;;) {
        size_t length = strcspn(urls, ",");
        int err = add_endpoint(client, urls, length);

        if (err != 0)
            return err;
        if (urls[length] == '\0')
            return 0;
        urls += length + 1;
    }
}

static void resolve_unix(const struct endpoint *endpoint, struct address *ret_address)
{
    struct sockaddr_un *address = (struct sockaddr_un *)&ret_address->storage;

    memset(ret_address, 0, sizeof(*ret_address));
    address->sun_family = AF_UNIX;
    strcpy(address->sun_path, endpoint->host); /* its length was checked with the URL */
    ret_address->length = sizeof(*address);
}

/* Both loopback addresses, without asking a name server. */
static void resolve_localhost(const char *port, struct address *ret_addresses, size_t *ret_count)
{
    uint16_t number = htons((uint16_t)strtoul(port, NULL, 10));
    struct sockaddr_in *v4 = (struct sockaddr_in *)&ret_addresses[0].storage;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&ret_addresses[1].storage;

    memset(ret_addresses, 0, 2 * sizeof(*ret_addresses));
    v4->sin_family = AF_INET;
    v4->sin_port = number;
    v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ret_addresses[0].length = sizeof(*v4);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = number;
    v6->sin6_addr = in6addr_loopback;
    ret_addresses[1].length = sizeof(*v6);
    *ret_count = 2;
}

int fanq_endpoint_resolve(const struct endpoint *endpoint, struct address *ret_addresses, size_t *ret_count)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found;
    size_t count = 0;

    if (endpoint->is_unix) {
        resolve_unix(endpoint, ret_addresses);
        *ret_count = 1;
        return 0;
    }
    if (strcmp(endpoint->host, "localhost") == 0) {
        resolve_localhost(endpoint->port, ret_addresses, ret_count);
        return 0;
    }
    if (getaddrinfo(endpoint->host, endpoint->port, &hints, &found) != 0)
        return FANQ_ERR_IO;
    for (struct addrinfo *at = found; at != NULL && count < ADDRESSES_MAX; at = at->ai_next) {
        if (at->ai_addrlen > sizeof(ret_addresses[count].storage))
            continue;
        memcpy(&ret_addresses[count].storage, at->ai_addr, at->ai_addrlen);
        ret_addresses[count].length = at->ai_addrlen;
        count++;
    }
    freeaddrinfo(found);
    *ret_count = count;
    return 0;
}
