/* A small system of three services that know nothing of each other:
 *
 *     account_service --publishes--> topic "password-changed" --+--> queue "account-history" -->
 * history_service
 *                                                               +--> queue "account-email"   -->
 * email_service
 *
 * setup makes and removes the topic and the queues. The account service needs neither of the others to run:
 * their queues keep what they have not read. */
#pragma once

#include <fanq.h>
#include <stdio.h>
#include <stdlib.h>

#define TOPIC "password-changed"
#define HISTORY_QUEUE "account-history"
#define EMAIL_QUEUE "account-email"

enum { TIMEOUT_MS = 10000 };

/* Says what failed and why, and ends the program. */
static inline void fail(const char *what, const struct fanq_error *error)
{
    fprintf(stderr, "%s: %s\n", what, error->text);
    exit(1);
}

/* A connected client. */
static inline struct fanq *connect_or_fail(const char *name)
{
    struct fanq_options options = FANQ_OPTIONS_INIT;
    struct fanq_error error;
    struct fanq *client;
    int err;

    options.name = name;
    err = fanq_open(NULL, &options, &client);
    if (err != 0) {
        fprintf(stderr, "%s: %s\n", name, fanq_strerror(err));
        exit(2);
    }
    if (fanq_wait_ready(client, TIMEOUT_MS, &error) != 0)
        fail("cannot connect", &error);
    return client;
}
