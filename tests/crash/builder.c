/* Makes a queue, subscribes it, finds in it what it publishes, unsubscribes it, finds in it no more than it should,
 * deletes it, and goes on to the next, while the broker is killed at any moment: what was answered is so afterwards. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "payload.h"

enum {
    MESSAGES = 5,          /* of each publish: those of the second come when the queue is not subscribed */
    FIND_MS_MAX = 30000,   /* for what must come */
    PAUSE_MS = 60,         /* between two steps, at most */
    VISIBILITY_MS = 12345, /* so that the attributes are worth comparing */
    RECEIVE_MS = 300,
};

enum step {
    CREATE,
    LOOK,
    SUBSCRIBE,
    PUBLISH,
    FIND,
    UNSUBSCRIBE,
    PUBLISH_MORE,
    FIND_NONE,
    DELETE,
    MISS,
    STEPS
};

struct builder {
    struct actor actor;
    uint32_t producer, target;
    const char *topic;
    enum step step;
    uint32_t number;
    char queue[32];
    bool asking;
    bool in_doubt; /* the step was asked for before, and may have been done */
    uint64_t next_ms, find_until_ms;
    uint64_t counters[2][MESSAGES];
    bool published[2];
    uint32_t found; /* bits */
};

static void wrong(struct builder *b, const char *what, const struct fanq_error *error)
{
    account_wrong(b->actor.harness->account, "queue %s: %s: %s", b->queue, what,
                  error == NULL ? "it is not so" : error->text);
}

static void go_to(struct builder *b, enum step step)
{
    struct harness *h = b->actor.harness;

    b->step = step;
    b->in_doubt = false;
    b->next_ms = h->now_ms + random_below(&h->random, PAUSE_MS);
    b->find_until_ms = h->now_ms + FIND_MS_MAX;
}

static void next_queue(struct builder *b)
{
    snprintf(b->queue, sizeof(b->queue), "built-%u-%u", b->producer, ++b->number);
    b->found = 0;
    go_to(b, CREATE);
}

/* After an error that cannot be explained by a crash. */
static void begin_again(struct builder *b, const char *what, const struct fanq_error *error)
{
    wrong(b, what, error);
    next_queue(b);
}

/* What a step needs to succeed: code 0, or what an earlier try of it left. */
static void on_done(struct fanq *client, const struct fanq_error *error, void *user)
{
    static const int done_before[STEPS] = {
        [UNSUBSCRIBE] = FANQ_ERR_SUBSCRIPTION_NOT_FOUND, [DELETE] = FANQ_ERR_QUEUE_NOT_FOUND};
    static const char *const names[STEPS] = {
        [CREATE] = "create", [SUBSCRIBE] = "subscribe", [UNSUBSCRIBE] = "unsubscribe", [DELETE] = "delete"};
    struct builder *b = user;

    b->asking = false;
    if (error->code == 0 || (b->in_doubt && error->code == done_before[b->step]))
        go_to(b, b->step + 1);
    else if (error->retryable)
        b->in_doubt = true;
    else
        begin_again(b, names[b->step], error);
}

static void on_info(struct fanq *client, const struct fanq_error *error, const struct fanq_queue_info *info,
                    void *user)
{
    struct builder *b = user;

    b->asking = false;
    if (b->step == LOOK && error->code == 0 && info->visibility_ms == VISIBILITY_MS)
        go_to(b, SUBSCRIBE);
    else if (b->step == MISS && error->code == FANQ_ERR_QUEUE_NOT_FOUND)
        next_queue(b);
    else if (error->code == 0 || !error->retryable)
        begin_again(b, b->step == LOOK ? "is not as it was made" : "is there after its delete", error);
}

static void on_published(struct fanq *client, const struct fanq_batch_sent *sent, void *user)
{
    struct builder *b = user;
    uint32_t second = b->step == PUBLISH_MORE;
    enum outcome outcome = sent->error.code == 0 ? OUTCOME_TAKEN
                           : sent->error.code == FANQ_ERR_UNKNOWN || sent->error.code == FANQ_ERR_TIMEOUT
                               ? OUTCOME_UNKNOWN
                               : OUTCOME_REFUSED;

    b->asking = false;
    b->published[second] = outcome == OUTCOME_TAKEN;
    for (uint32_t i = 0; i < MESSAGES; i++)
        account_sent(b->actor.harness->account, b->producer, b->counters[second][i], outcome);
    go_to(b, b->step + 1);
}

static int publish(struct builder *b)
{
    struct harness *h = b->actor.harness;
    uint64_t *counters = b->counters[b->step == PUBLISH_MORE];
    uint8_t bodies[MESSAGES][PAYLOAD_BYTES_MIN];
    struct fanq_content contents[MESSAGES] = {0};

    for (uint32_t i = 0; i < MESSAGES; i++) {
        counters[i] = account_new_message(h->account, b->producer, b->target);
        account_sending(h->account, b->producer, counters[i]);
        payload_write(bodies[i], PAYLOAD_BYTES_MIN, b->producer, counters[i]);
        contents[i].body = bodies[i];
        contents[i].body_bytes = PAYLOAD_BYTES_MIN;
    }
    return fanq_publish_batch(b->actor.client, b->topic, contents, MESSAGES, on_published, b);
}

static void take(struct builder *b, const struct fanq_view *view)
{
    uint32_t producer;
    uint64_t counter;

    if (!payload_read(view->body, view->body_bytes, &producer, &counter))
        wrong(b, "a message that nobody sent", NULL);
    else if (producer == b->producer) {
        for (uint32_t i = 0; i < MESSAGES; i++) {
            if (counter == b->counters[0][i])
                b->found |= 1u << i;
            if (b->step == FIND_NONE && counter == b->counters[1][i])
                wrong(b, "has a message that was published after it was unsubscribed", NULL);
        }
    }
}

static bool has_all(const struct builder *b)
{
    return !b->published[0] || b->found == (1u << MESSAGES) - 1;
}

static void on_received(struct fanq *client, const struct fanq_error *error, struct fanq_batch *batch,
                        void *user)
{
    struct builder *b = user;
    struct fanq_view view = {0};
    bool empty = batch != NULL && fanq_batch_count(batch) == 0;

    b->asking = false;
    if (batch == NULL && !error->retryable) {
        begin_again(b, "receive", error);
        return;
    }
    while (batch != NULL && fanq_batch_next(batch, &view))
        take(b, &view);
    if (batch != NULL && !empty)
        (void)fanq_ack_batch(batch, NULL, NULL); /* what is not deleted comes again, and does no harm here */
    if (b->step == FIND ? has_all(b) : empty)
        go_to(b, b->step + 1);
    else if (b->actor.harness->now_ms > b->find_until_ms)
        begin_again(b, "lacks messages that were published while it was subscribed", NULL);
}

static int receive(struct builder *b)
{
    struct fanq_receive_options options = FANQ_RECEIVE_OPTIONS_INIT;

    options.messages_max = 1000;
    options.visibility_ms = RECEIVE_MS;
    options.wait_ms = 2;
    return fanq_receive(b->actor.client, b->queue, &options, on_received, b);
}

static int ask(struct builder *b)
{
    struct fanq *client = b->actor.client;
    struct fanq_queue_settings settings = FANQ_QUEUE_SETTINGS_INIT;

    switch (b->step) {
    case CREATE:
        settings.visibility_ms = VISIBILITY_MS;
        return fanq_queue_create(client, b->queue, &settings, on_done, b);
    case LOOK:
    case MISS:
        return fanq_queue_get(client, b->queue, on_info, b);
    case SUBSCRIBE:
        return fanq_subscribe(client, b->topic, b->queue, on_done, b);
    case UNSUBSCRIBE:
        return fanq_unsubscribe(client, b->topic, b->queue, on_done, b);
    case PUBLISH:
    case PUBLISH_MORE:
        return publish(b);
    case FIND:
    case FIND_NONE:
        return receive(b);
    default:
        return fanq_queue_delete(client, b->queue, on_done, b);
    }
}

static bool builder_is_idle(const struct actor *actor)
{
    const struct builder *b = (const struct builder *)actor;

    return !b->asking && b->step == CREATE && !b->in_doubt;
}

/* When all stops, it goes on to the end of its queue. */
static void builder_step(struct actor *actor)
{
    struct builder *b = (struct builder *)actor;
    struct harness *h = actor->harness;

    if (b->asking || h->now_ms < b->next_ms || !actor_is_ready(actor))
        return;
    if (h->stopping && builder_is_idle(actor))
        return;
    b->asking = ask(b) == 0;
}

static void builder_free(struct actor *actor)
{
    free(actor);
}

void builder_add(struct harness *h, uint32_t producer, const struct account_target *targets, uint32_t target)
{
    struct builder *b = harness_memory(sizeof(*b));

    *b = (struct builder){.actor = {.step = builder_step, .is_idle = builder_is_idle, .free = builder_free},
                          .producer = producer,
                          .target = target,
                          .topic = targets[target].name};
    harness_add(h, &b->actor, true);
    next_queue(b);
}
