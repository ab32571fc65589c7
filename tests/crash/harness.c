#include "harness.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint64_t clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void *harness_memory(size_t bytes)
{
    void *memory = calloc(1, bytes);

    if (memory == NULL) {
        fprintf(stderr, "crash: out of memory\n");
        exit(2);
    }
    return memory;
}

bool harness_chance(struct harness *h, uint32_t percent)
{
    return random_below(&h->random, 100) < percent;
}

static void on_state(struct fanq *client, enum fanq_client_state state, const struct fanq_error *cause,
                     void *user)
{
    struct actor *actor = user;

    if (state == FANQ_CLIENT_READY) {
        actor->ready_at = account_tick(actor->harness->account);
        actor->harness->ready = true;
    }
}

void harness_add(struct harness *h, struct actor *actor, bool gather)
{
    struct fanq_options options = FANQ_OPTIONS_INIT;
    int err;

    options.name = "crash";
    options.gather = gather;
    options.reconnect_ms_min = 4;
    options.reconnect_ms_max = 20;
    err = h->actor_count < CLIENTS_MAX ? fanq_open(h->url, &options, &actor->client) : FANQ_ERR_LIMIT;
    if (err != 0) {
        fprintf(stderr, "crash: %s: %s\n", h->url, fanq_strerror(err));
        exit(2);
    }
    actor->harness = h;
    fanq_on_state(actor->client, on_state, actor);
    h->actors[h->actor_count++] = actor;
}

bool actor_is_ready(const struct actor *actor)
{
    return fanq_state(actor->client) == FANQ_CLIENT_READY;
}

/* What was not used for a tenth of a second is forgotten. */
static void advance(struct harness *h)
{
    uint64_t now_ms = clock_ms(), allowance = h->allowance + (now_ms - h->now_ms) * h->rate_max / 1000;

    h->allowance = allowance < h->rate_max / 10 ? allowance : h->rate_max / 10;
    h->now_ms = now_ms;
}

void harness_round(struct harness *h, int timeout_ms)
{
    struct pollfd polled[CLIENTS_MAX];

    for (uint32_t i = 0; i < h->actor_count; i++) {
        int own_ms = fanq_timeout_ms(h->actors[i]->client);
        if (own_ms >= 0 && own_ms < timeout_ms)
            timeout_ms = own_ms;
        polled[i] = (struct pollfd){.fd = fanq_fd(h->actors[i]->client), .events = POLLIN};
    }
    (void)poll(polled, h->actor_count,
               timeout_ms); /* interrupted or not: what there is to do is seen below */
    advance(h);
    for (uint32_t i = 0; i < h->actor_count; i++)
        (void)fanq_process(h->actors[i]->client); /* it is never closed */
    for (uint32_t i = 0; i < h->actor_count; i++)
        h->actors[i]->step(h->actors[i]);
}

bool harness_is_idle(const struct harness *h)
{
    for (uint32_t i = 0; i < h->actor_count; i++)
        if (!h->actors[i]->is_idle(h->actors[i]))
            return false;
    return true;
}

void harness_free(struct harness *h)
{
    for (uint32_t i = 0; i < h->actor_count; i++) {
        fanq_free(h->actors[i]->client);
        h->actors[i]->free(h->actors[i]);
    }
    h->actor_count = 0;
}
