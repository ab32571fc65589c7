/* Takes messages of one queue, by receives or by a push; deletes most, gives some back, forgets some until their timeout
 * ends. */
#include <stdlib.h>

#include "harness.h"
#include "payload.h"

struct consumer {
    struct actor actor;
    struct consumer_options options;
    bool receiving; /* a receive, or the push, is open */
    struct fanq_consumer *push;
    uint32_t asked_at; /* tick of the receive */
    uint32_t settling; /* deletes and nacks without an answer */
    uint64_t next_ms;
};

struct settling {
    struct consumer *consumer;
    struct copy *copy;
    uint32_t deliveries;
    bool delete;
};

static void on_settled(struct fanq *client, const struct fanq_error *error, void *user)
{
    struct settling *settling = user;
    struct consumer *c = settling->consumer;
    struct account *account = c->actor.harness->account;

    if (error->code == 0 && settling->delete)
        account_deleted(account, c->options.queue, settling->copy);
    else if (error->code == 0)
        account_given_back(account, settling->copy, settling->deliveries);
    else if (settling->delete &&!error->retryable)
        account_wrong(account, "a delete in %s is refused: %s", c->options.name, error->text);
    c->settling--;
    free(settling);
}

static void settle(struct consumer *c, struct fanq_message *message, struct copy *copy, bool delete)
{
    struct harness *h = c->actor.harness;
    struct settling *settling = harness_memory(sizeof(*settling));
    int err;

    *settling = (struct settling){c, copy, fanq_message_deliveries(message), delete};
    if (delete)
        account_deleting(h->account, copy);
    c->settling++;
    err = delete ? fanq_ack(message, on_settled, settling)
                 : fanq_nack(message, random_below(&h->random, 3) * 20, on_settled, settling);
    if (err != 0) {
        c->settling--;
        free(settling);
        if (err != FANQ_ERR_LIMIT)
            account_wrong(h->account, "a message of %s cannot be settled: %s", c->options.name,
                          fanq_strerror(err));
    }
}

static void take(struct consumer *c, struct fanq_message *message)
{
    struct harness *h = c->actor.harness;
    struct arrival arrival = {.queue = c->options.queue,
                              .stream = fanq_message_stream(message),
                              .seq = fanq_message_seq(message),
                              .deliveries = fanq_message_deliveries(message),
                              .asked_at = c->options.push ? c->actor.ready_at : c->asked_at};
    struct copy *copy;
    size_t bytes;
    const void *body = fanq_message_body(message, &bytes);
    uint64_t what = random_below(&h->random, 100);

    if (!payload_read(body, bytes, &arrival.producer, &arrival.counter)) {
        account_wrong(h->account, "a message of %s has a body that nobody sent", c->options.name);
        return;
    }
    if (account_arrival(h->account, &arrival, &copy) != VERDICT_FINE)
        return;
    if (h->draining || what < 88)
        settle(c, message, copy, true);
    else if (what < 95)
        settle(c, message, copy, false);
}

static void take_batch(struct consumer *c, struct fanq_batch *batch)
{
    for (size_t i = 0; i < fanq_batch_count(batch); i++)
        take(c, fanq_batch_message(batch, i));
}

static void on_received(struct fanq *client, const struct fanq_error *error, struct fanq_batch *batch,
                        void *user)
{
    struct consumer *c = user;

    c->receiving = false;
    c->next_ms = c->actor.harness->now_ms + c->actor.harness->lazy_ms;
    if (batch != NULL)
        take_batch(c, batch);
    else if (!error->retryable && error->code != FANQ_ERR_CLOSED)
        account_wrong(c->actor.harness->account, "a receive from %s is refused: %s", c->options.name,
                      error->text);
}

static void on_delivered(struct fanq_consumer *consumer, struct fanq_batch *batch, void *user)
{
    take_batch(user, batch);
}

static void on_end(struct fanq_consumer *consumer, const struct fanq_error *error, void *user)
{
    struct consumer *c = user;

    c->receiving = false;
    c->push = NULL;
    if (error->code != 0 && !error->retryable && error->code != FANQ_ERR_CLOSED)
        account_wrong(c->actor.harness->account, "the push of %s ended: %s", c->options.name, error->text);
}

static int start_receive(struct consumer *c)
{
    struct fanq_receive_options options = FANQ_RECEIVE_OPTIONS_INIT;

    options.messages_max = 1 + (uint32_t)random_below(&c->actor.harness->random, c->options.messages_max);
    options.wait_ms = 50;
    c->asked_at = account_tick(c->actor.harness->account);
    return fanq_receive(c->actor.client, c->options.name, &options, on_received, c);
}

static int start_push(struct consumer *c)
{
    struct fanq_consume_options options = FANQ_CONSUME_OPTIONS_INIT;

    options.messages = c->options.messages_max;
    return fanq_consume(c->actor.client, c->options.name, &options, on_delivered, on_end, c, &c->push);
}

/* A push does not know when it asked for what it gets, so it cannot settle what is in doubt, and keeps it from others: at
 * the end there are receives alone. */
static void consumer_step(struct actor *actor)
{
    struct consumer *c = (struct consumer *)actor;
    struct harness *h = actor->harness;

    if (c->options.push && (h->draining || h->lazy_ms > 0)) {
        if (c->push != NULL)
            (void)fanq_consumer_stop(c->push); /* twice is once */
        return;
    }
    if (!c->receiving && actor_is_ready(actor) && (h->draining || h->now_ms >= c->next_ms))
        c->receiving = (c->options.push ? start_push(c) : start_receive(c)) == 0;
}

static bool consumer_is_idle(const struct actor *actor)
{
    return ((const struct consumer *)actor)->settling == 0;
}

static void consumer_free(struct actor *actor)
{
    free(actor);
}

void consumer_add(struct harness *h, const struct consumer_options *options)
{
    struct consumer *c = harness_memory(sizeof(*c));

    *c = (struct consumer){
        .actor = {.step = consumer_step, .is_idle = consumer_is_idle, .free = consumer_free},
        .options = *options};
    harness_add(h, &c->actor, true);
}
