/* What fanqd can be told: flags, environment, and the one table of limits with unit, default and bounds.
 *
 * Precedence: flag, then environment (FANQD_ and the name in capitals), then default. A limit is added by
 * adding a row; its field, its flag, its variable and its line in --help come from there. Used at start,
 * before the loop runs. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CONFIG_KIB(n) (UINT64_C(1024) * (n))
#define CONFIG_MIB(n) (UINT64_C(1048576) * (n))

/* X(name, unit, default, least, most, help). A default of 0 outside the bounds means: worked out at start. */
#define CONFIG_LIMITS(X)                                                                                     \
    X(port, COUNT, 9320, 0, 65535, "TCP port; 0 takes any free one (see --port-file)")                       \
    X(connections_max, COUNT, 10000, 1, 1000000, "connections at a time")                                    \
    X(hello_ms_max, MS, 5000, 10, 600000, "a new connection must have said HELLO by then")                   \
    X(drain_ms, MS, 5000, 0, 600000, "on SIGTERM: how long answers may take to go out")                      \
    X(frame_bytes_max, BYTES, CONFIG_MIB(8), CONFIG_KIB(16), CONFIG_MIB(256), "the longest request")         \
    X(message_bytes_max, BYTES, CONFIG_MIB(1), 1, CONFIG_MIB(128), "the longest message")                    \
    X(memory_bytes_max, BYTES, 0, CONFIG_MIB(8), CONFIG_MIB(16777216),                                       \
      "messages held in memory; with --memory publishes are refused beyond it (default: a quarter of the "   \
      "machine's, at most 1G)")                                                                              \
    X(cache_bytes_max, BYTES, 0, CONFIG_KIB(32), CONFIG_MIB(1048576),                                        \
      "of that, messages read back from the disk; at least twice --frame-bytes-max (default: a quarter of "  \
      "--memory-bytes-max, at most 32M)")                                                                    \
    X(disk_bytes_max, BYTES, 0, 0, CONFIG_MIB(1073741824),                                                   \
      "files of the log, which are 64M each; beyond it publishes are refused. At least 192M, or nothing is " \
      "ever taken; 0: as much as the file system has")                                                       \
    X(backup_ms_max, MS, 3600000, 10, 604800000,                                                             \
      "how long a backup, with those that it overlaps, may keep the log from giving space back")             \
    X(input_bytes_total_max, BYTES, CONFIG_MIB(256), CONFIG_MIB(1), CONFIG_MIB(1048576),                     \
      "requests that have arrived in part, of all connections")                                              \
    X(output_bytes_max, BYTES, CONFIG_MIB(4), CONFIG_KIB(64), CONFIG_MIB(4096),                              \
      "answers that a connection has not read; beyond it it is closed")                                      \
    X(output_bytes_total_max, BYTES, CONFIG_MIB(256), CONFIG_MIB(1), CONFIG_MIB(1048576),                    \
      "the same of all connections; beyond it the longest stalled one is closed")                            \
    X(queues_max, COUNT, 100000, 1, 10000000, "queues")                                                      \
    X(topics_max, COUNT, 100000, 1, 10000000, "topics")                                                      \
    X(subscriptions_max, COUNT, 1000000, 1, 100000000, "subscriptions of queues to topics")                  \
    X(producers_max, COUNT, 100000, 1, 10000000,                                                             \
      "clients of which is known what they have published; every connection may be one in any case")         \
    X(producer_ms_max, MS, 86400000, 1000, 2592000000, "how long one that is gone is known")                 \
    X(waiters_per_connection_max, COUNT, 1024, 1, 1000000, "long polls and pushes of one connection")        \
    X(waits_max, COUNT, 200000, 1, 100000000, "the same of all connections, for each queue they name")       \
    X(in_flight_per_queue_max, COUNT, 120000, 1, 1000000000, "messages held or delayed by a nack")           \
    X(ephemeral_backlog_messages_max, COUNT, 65536, 1, 1000000000,                                           \
      "messages that a subscriber without a queue may lag; older ones are dropped")                          \
    X(ephemeral_backlog_bytes_max, BYTES, CONFIG_MIB(16), CONFIG_KIB(64), CONFIG_MIB(1048576),               \
      "the same in bytes")

enum {
    CONFIG_LISTENS_MAX = 8,
    CONFIG_HOST_BYTES_MAX = 256,
    CONFIG_ERROR_BYTES = 512,
    CONFIG_PATH_BYTES_MAX = 4096,
    CONFIG_FSYNC_MS = 100, /* of "async" without a time */

    /* Exit codes of fanqd beside 0. */
    CONFIG_EXIT_RUNTIME = 1,
    CONFIG_EXIT_USAGE = 2,
    CONFIG_EXIT_CONFIG = 78 /* EX_CONFIG, so that a supervisor need not try again */
};

enum config_action { CONFIG_RUN, CONFIG_HELP, CONFIG_VERSION, CONFIG_CHECK };

/* When a change is answered. */
enum config_fsync {
    CONFIG_FSYNC_GROUP, /* when it is on the disk */
    CONFIG_FSYNC_ASYNC, /* when it is written; the disk follows within fsync_ms */
    CONFIG_FSYNC_NONE   /* when it is written; the disk follows as the system likes */
};

enum config_auto_create { CONFIG_AUTO_CREATE_DEFAULT, CONFIG_AUTO_CREATE_ON, CONFIG_AUTO_CREATE_OFF };

/* An address to listen on. */
struct config_listen {
    char host[CONFIG_HOST_BYTES_MAX];
    int port; /* -1: the configured one */
};

struct config {
#define X(name, unit, value, least, most, help) uint64_t name;
    CONFIG_LIMITS(X)
#undef X
    enum config_action action;
    enum config_auto_create auto_create;
    struct config_listen listens[CONFIG_LISTENS_MAX];
    uint32_t listen_count;                 /* 0 with only a Unix socket: --listen none */
    const char *unix_path;                 /* NULL: none. Borrowed, as port_file, from argv or env */
    const char *port_file;                 /* NULL: none */
    bool memory;                           /* nothing is kept */
    char directory[CONFIG_PATH_BYTES_MAX]; /* where the log is, or (CONFIG_CHECK) what to check */
    enum config_fsync fsync;
    uint64_t fsync_ms;
    bool accept_loss;
};

/* Reads flags and environment (NULL-terminated, "NAME=value").
 *
 * 0, CONFIG_EXIT_USAGE (a flag is wrong) or CONFIG_EXIT_CONFIG (the environment, or values that contradict
 * each other); then error says what is wrong and what to type instead. Permutes nothing and borrows argv and
 * env. */
int config_read(struct config *ret_config, int argc, char *const argv[], char *const env[],
                char error[CONFIG_ERROR_BYTES]);

/* What --help prints: the flags, and the table with units and defaults. */
void config_help(FILE *out);

/* Values as people write them: "64k", "8M", "1G" (powers of 1024); "500ms", "30s", "5m", "2h", "3d". A bare
 * number is bytes or milliseconds. False when text is anything else, or too large for 64 bits. */
bool config_parse_bytes(const char *text, uint64_t *ret_bytes);
bool config_parse_ms(const char *text, uint64_t *ret_ms);

/* "ADDRESS", "ADDRESS:PORT", "[IPv6]:PORT", or a bare IPv6 address. */
bool config_parse_listen(const char *text, struct config_listen *ret_listen);
