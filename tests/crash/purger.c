/* Purges one queue now and then: what was answered before the purge began does not come back. */
#include <stdlib.h>

#include "harness.h"

enum { PAUSE_MS = 150 };

struct purger {
    struct actor actor;
    uint32_t queue;
    const char *name;
    bool purging;
    uint64_t next_ms;
};

static void on_purged(struct fanq *client, const struct fanq_error *error, void *user)
{
    struct purger *p = user;
    struct harness *h = p->actor.harness;

    account_purged(h->account, p->queue, error->code == 0);
    p->purging = false;
    p->next_ms = h->now_ms + random_below(&h->random, 2 * PAUSE_MS);
}

static void purger_step(struct actor *actor)
{
    struct purger *p = (struct purger *)actor;
    struct harness *h = actor->harness;

    if (p->purging || h->stopping || h->now_ms < p->next_ms || !actor_is_ready(actor))
        return;
    account_purging(h->account, p->queue);
    p->purging = fanq_queue_purge(actor->client, p->name, on_purged, p) == 0;
}

static bool purger_is_idle(const struct actor *actor)
{
    return !((const struct purger *)actor)->purging;
}

static void purger_free(struct actor *actor)
{
    free(actor);
}

void purger_add(struct harness *h, uint32_t queue, const char *name)
{
    struct purger *p = harness_memory(sizeof(*p));

    *p = (struct purger){.actor = {.step = purger_step, .is_idle = purger_is_idle, .free = purger_free},
                         .queue = queue,
                         .name = name};
    harness_add(h, &p->actor, true);
}
