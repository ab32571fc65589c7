/* Publishes messages, singly or in batches, as long as there is room, and sends some of those whose outcome it does not
 * know once more. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "payload.h"

enum {
    BATCH_COUNT_MAX = 64,
    OPEN_MAX = 256, /* messages without an answer */
    AGAIN_MAX = 64,
    PAUSE_MS = 20, /* after a refusal */
};

struct publisher {
    struct actor actor;
    struct publisher_options options;
    const struct account_target *target;
    uint32_t open;
    uint64_t again[AGAIN_MAX]; /* to be sent once more */
    uint32_t again_count;
    uint64_t pause_until_ms;
};

/* A frame under way. */
struct sending {
    struct publisher *publisher;
    uint32_t count;
    uint64_t counters[];
};

size_t publisher_body(struct harness *h, uint32_t producer, uint64_t counter, const uint8_t **ret_body)
{
    static uint8_t body[1024 * 1024];
    struct random random = {counter * 31 + producer}; /* the same when it is sent again */
    size_t more = random_below(&random, 50) == 0 ? h->body_bytes_max : h->body_bytes_max / 20;
    size_t bytes = PAYLOAD_BYTES_MIN + (more == 0 ? 0 : random_below(&random, more));

    payload_write(body, bytes, producer, counter);
    *ret_body = body;
    return bytes;
}

static enum outcome outcome_of(const struct fanq_error *error)
{
    switch (error->code) {
    case 0:
        return OUTCOME_TAKEN;
    case FANQ_ERR_UNKNOWN:
    case FANQ_ERR_TIMEOUT:
        return OUTCOME_UNKNOWN;
    default:
        return OUTCOME_REFUSED;
    }
}

static void settle(struct sending *sending, const struct fanq_error *error)
{
    struct publisher *p = sending->publisher;
    struct harness *h = p->actor.harness;
    enum outcome outcome = outcome_of(error);

    for (uint32_t i = 0; i < sending->count; i++) {
        account_sent(h->account, p->options.producer, sending->counters[i], outcome);
        if (outcome == OUTCOME_UNKNOWN && p->again_count < AGAIN_MAX && harness_chance(h, 30) &&
            account_sends(h->account, p->options.producer, sending->counters[i]) < ACCOUNT_COPIES_MAX)
            p->again[p->again_count++] = sending->counters[i];
    }
    if (outcome == OUTCOME_REFUSED) {
        p->pause_until_ms = h->now_ms + PAUSE_MS;
        if (!error->retryable && error->code != FANQ_ERR_CLOSED)
            account_wrong(h->account, "a publish to %s is refused: %s", p->target->name, error->text);
    }
    p->open -= sending->count;
    free(sending);
}

static void on_sent(struct fanq *client, const struct fanq_sent *sent, void *user)
{
    settle(user, &sent->error);
}

static void on_batch_sent(struct fanq *client, const struct fanq_batch_sent *sent, void *user)
{
    struct sending *sending = user;

    if (sent->error.code == 0 && sent->count != sending->count)
        account_wrong(sending->publisher->actor.harness->account, "a batch was taken in part");
    settle(sending, &sent->error);
}

static uint64_t next_counter(struct publisher *p)
{
    if (p->again_count > 0)
        return p->again[--p->again_count];
    return account_new_message(p->actor.harness->account, p->options.producer, (uint32_t)p->options.target);
}

static struct sending *begin(struct publisher *p, uint32_t count)
{
    struct sending *sending = harness_memory(sizeof(*sending) + count * sizeof(*sending->counters));

    sending->publisher = p;
    sending->count = count;
    p->open += count;
    for (uint32_t i = 0; i < count; i++) {
        sending->counters[i] = next_counter(p);
        account_sending(p->actor.harness->account, p->options.producer, sending->counters[i]);
    }
    return sending;
}

static int send_single(struct publisher *p, struct sending *sending)
{
    const uint8_t *body;
    size_t bytes = publisher_body(p->actor.harness, p->options.producer, sending->counters[0], &body);
    struct fanq_content content = {.body = body, .body_bytes = bytes};

    return p->target->topic ? fanq_publish(p->actor.client, p->target->name, &content, on_sent, sending)
                            : fanq_send(p->actor.client, p->target->name, &content, on_sent, sending);
}

static int send_batch(struct publisher *p, struct sending *sending)
{
    struct fanq_content contents[BATCH_COUNT_MAX] = {0};
    uint8_t *copies[BATCH_COUNT_MAX];
    int err;

    for (uint32_t i = 0; i < sending->count; i++) {
        const uint8_t *body;
        contents[i].body_bytes =
            publisher_body(p->actor.harness, p->options.producer, sending->counters[i], &body);
        contents[i].body = copies[i] = harness_memory(contents[i].body_bytes);
        memcpy(copies[i], body, contents[i].body_bytes);
    }
    err = p->target->topic ? fanq_publish_batch(p->actor.client, p->target->name, contents, sending->count,
                                                on_batch_sent, sending)
                           : fanq_send_batch(p->actor.client, p->target->name, contents, sending->count,
                                             on_batch_sent, sending);
    for (uint32_t i = 0; i < sending->count; i++)
        free(copies[i]);
    return err;
}

static void publisher_step(struct actor *actor)
{
    struct publisher *p = (struct publisher *)actor;
    struct harness *h = actor->harness;

    if (!actor_is_ready(actor) || h->stopping || h->now_ms < p->pause_until_ms ||
        account_waiting(h->account, p->options.target) >= h->backlog_max)
        return;
    while (p->open + p->options.batch_count_max <= OPEN_MAX && h->allowance >= p->options.batch_count_max) {
        uint32_t count = 1 + (uint32_t)random_below(&h->random, p->options.batch_count_max);
        struct sending *sending = begin(p, count);
        h->allowance -= count;
        int err = p->options.batch_count_max == 1 ? send_single(p, sending) : send_batch(p, sending);
        if (err != 0) { /* nothing was begun */
            settle(sending, &(struct fanq_error){.code = err, .retryable = err == FANQ_ERR_LIMIT});
            return;
        }
    }
}

static bool publisher_is_idle(const struct actor *actor)
{
    return ((const struct publisher *)actor)->open == 0;
}

static void publisher_free(struct actor *actor)
{
    free(actor);
}

void publisher_add(struct harness *h, const struct account_target *targets,
                   const struct publisher_options *options)
{
    struct publisher *p = harness_memory(sizeof(*p));

    *p = (struct publisher){
        .actor = {.step = publisher_step, .is_idle = publisher_is_idle, .free = publisher_free},
        .options = *options,
        .target = &targets[options->target]};
    harness_add(h, &p->actor, options->batch_count_max == 1);
}
