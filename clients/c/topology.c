/* Queues, topics, subscriptions, ping and statistics: one small function a request. */
#include "client.h"

#include <string.h>

/* Gives the name as bytes; an empty or too long one is refused here, the broker judges the letters. */
static int take_name(const char *name, struct fanq_bytes *ret_name)
{
    size_t length = name != NULL ? strlen(name) : 0;

    if (length == 0 || length > FANQ_NAME_BYTES_MAX)
        return FANQ_ERR_NAME_INVALID;
    *ret_name = bytes_of(name, length);
    return 0;
}

static int named(struct fanq *client, enum fanq_op op, const char *name, const struct request *like)
{
    struct fanq_request wire = {.op = op};
    int err = take_name(name, &wire.name);

    return err == 0 ? fanq_request_submit(client, &wire, like, 0) : err;
}

static int named_done(struct fanq *client, enum fanq_op op, const char *name, fanq_done_cb cb, void *user)
{
    struct request like = {.kind = REQUEST_DONE, .weight = 1, .cb.done = cb, .user = user};

    return named(client, op, name, &like);
}

/* ---- queues ---- */

static int take_settings(const struct fanq_queue_settings *settings,
                         struct fanq_queue_attributes *ret_attributes)
{
    struct fanq_queue_attributes attributes = {0};

    if (settings != NULL && settings->size < sizeof(*settings))
        return FANQ_ERR_INVALID; /* the first version of it; later fields will be optional */
    if (settings != NULL && settings->visibility_ms != FANQ_OWN) {
        attributes.set |= 1u << FANQ_QUEUE_VISIBILITY_MS;
        attributes.visibility_ms = (uint64_t)settings->visibility_ms;
    }
    if (settings != NULL && settings->receive_wait_ms != FANQ_OWN) {
        attributes.set |= 1u << FANQ_QUEUE_RECEIVE_WAIT_MS;
        attributes.receive_wait_ms = (uint64_t)settings->receive_wait_ms;
    }
    if (settings != NULL && settings->early_delivery != FANQ_OWN) {
        attributes.set |= 1u << FANQ_QUEUE_EARLY_DELIVERY;
        attributes.early_delivery = settings->early_delivery == 1;
        if (settings->early_delivery != 0 && settings->early_delivery != 1)
            return FANQ_ERR_INVALID;
    }
    if (attributes.visibility_ms > FANQ_VISIBILITY_MS_MAX || attributes.receive_wait_ms > FANQ_WAIT_MS_MAX)
        return FANQ_ERR_INVALID;
    *ret_attributes = attributes;
    return 0;
}

static int with_settings(struct fanq *client, enum fanq_op op, const char *queue,
                         const struct fanq_queue_settings *settings, fanq_done_cb cb, void *user)
{
    struct fanq_request wire = {.op = op};
    struct request like = {.kind = REQUEST_DONE, .weight = 1, .cb.done = cb, .user = user};
    int err = take_name(queue, &wire.queue.name);

    if (err == 0)
        err = take_settings(settings, &wire.queue.attributes);
    return err == 0 ? fanq_request_submit(client, &wire, &like, 0) : err;
}

int fanq_queue_create(struct fanq *client, const char *queue, const struct fanq_queue_settings *settings,
                      fanq_done_cb cb, void *user)
{
    return with_settings(client, FANQ_OP_QUEUE_CREATE, queue, settings, cb, user);
}

int fanq_queue_set(struct fanq *client, const char *queue, const struct fanq_queue_settings *settings,
                   fanq_done_cb cb, void *user)
{
    return with_settings(client, FANQ_OP_QUEUE_SET, queue, settings, cb, user);
}

int fanq_queue_get(struct fanq *client, const char *queue, fanq_queue_cb cb, void *user)
{
    struct request like = {
        .kind = REQUEST_QUEUE, .weight = 1, .repeatable = true, .cb.queue = cb, .user = user};

    return cb != NULL ? named(client, FANQ_OP_QUEUE_GET, queue, &like) : FANQ_ERR_INVALID;
}

int fanq_queue_delete(struct fanq *client, const char *queue, fanq_done_cb cb, void *user)
{
    return named_done(client, FANQ_OP_QUEUE_DELETE, queue, cb, user);
}

int fanq_queue_purge(struct fanq *client, const char *queue, fanq_done_cb cb, void *user)
{
    return named_done(client, FANQ_OP_PURGE, queue, cb, user);
}

/* ---- lists ---- */

static int take_list(const struct fanq_list_options *options, struct fanq_list *ret_list)
{
    static const struct fanq_list_options defaults = FANQ_LIST_OPTIONS_INIT;
    const struct fanq_list_options *from = options != NULL ? options : &defaults;
    struct fanq_list list = {.limit = from->limit};

    if (from->size < sizeof(*from) || list.limit == 0 || list.limit > FANQ_LIST_LIMIT_MAX)
        return FANQ_ERR_INVALID;
    if (from->prefix != NULL)
        list.prefix = bytes_of(from->prefix, strlen(from->prefix));
    if (from->after != NULL)
        list.after = bytes_of(from->after, strlen(from->after));
    if (list.prefix.length > FANQ_NAME_BYTES_MAX || list.after.length > FANQ_NAME_BYTES_MAX)
        return FANQ_ERR_NAME_INVALID;
    *ret_list = list;
    return 0;
}

static struct request list_request(fanq_list_cb cb, void *user)
{
    return (struct request){
        .kind = REQUEST_LIST, .weight = 1, .repeatable = true, .cb.list = cb, .user = user};
}

static int names(struct fanq *client, enum fanq_op op, const struct fanq_list_options *options,
                 fanq_list_cb cb, void *user)
{
    struct fanq_request wire = {.op = op};
    struct request like = list_request(cb, user);
    int err = cb != NULL ? take_list(options, &wire.list) : FANQ_ERR_INVALID;

    return err == 0 ? fanq_request_submit(client, &wire, &like, 0) : err;
}

int fanq_queue_list(struct fanq *client, const struct fanq_list_options *options, fanq_list_cb cb, void *user)
{
    return names(client, FANQ_OP_QUEUE_LIST, options, cb, user);
}

int fanq_topic_list(struct fanq *client, const struct fanq_list_options *options, fanq_list_cb cb, void *user)
{
    return names(client, FANQ_OP_TOPIC_LIST, options, cb, user);
}

int fanq_subscription_list(struct fanq *client, const char *topic, const struct fanq_list_options *options,
                           fanq_list_cb cb, void *user)
{
    struct fanq_request wire = {.op = FANQ_OP_SUBSCRIPTION_LIST};
    struct request like = list_request(cb, user);
    struct fanq_list list;
    int err = cb != NULL ? take_list(options, &list) : FANQ_ERR_INVALID;

    if (err == 0)
        err = take_name(topic, &wire.subscription_list.topic);
    if (err != 0)
        return err;
    wire.subscription_list.after = list.after;
    wire.subscription_list.limit = list.limit;
    return fanq_request_submit(client, &wire, &like, 0);
}

/* ---- topics ---- */

int fanq_topic_create(struct fanq *client, const char *topic, fanq_done_cb cb, void *user)
{
    return named_done(client, FANQ_OP_TOPIC_CREATE, topic, cb, user);
}

int fanq_topic_get(struct fanq *client, const char *topic, fanq_topic_cb cb, void *user)
{
    struct request like = {
        .kind = REQUEST_TOPIC, .weight = 1, .repeatable = true, .cb.topic = cb, .user = user};

    return cb != NULL ? named(client, FANQ_OP_TOPIC_GET, topic, &like) : FANQ_ERR_INVALID;
}

int fanq_topic_delete(struct fanq *client, const char *topic, fanq_done_cb cb, void *user)
{
    return named_done(client, FANQ_OP_TOPIC_DELETE, topic, cb, user);
}

static int subscription(struct fanq *client, enum fanq_op op, const char *topic, const char *queue,
                        fanq_done_cb cb, void *user)
{
    struct fanq_request wire = {.op = op};
    struct request like = {.kind = REQUEST_DONE, .weight = 1, .cb.done = cb, .user = user};
    int err = take_name(topic, &wire.subscription.topic);

    if (err == 0)
        err = take_name(queue, &wire.subscription.queue);
    return err == 0 ? fanq_request_submit(client, &wire, &like, 0) : err;
}

int fanq_subscribe(struct fanq *client, const char *topic, const char *queue, fanq_done_cb cb, void *user)
{
    return subscription(client, FANQ_OP_SUBSCRIBE, topic, queue, cb, user);
}

int fanq_unsubscribe(struct fanq *client, const char *topic, const char *queue, fanq_done_cb cb, void *user)
{
    return subscription(client, FANQ_OP_UNSUBSCRIBE, topic, queue, cb, user);
}

/* ---- the broker ---- */

int fanq_ping(struct fanq *client, fanq_done_cb cb, void *user)
{
    struct fanq_request wire = {.op = FANQ_OP_PING};
    struct request like = {
        .kind = REQUEST_DONE, .weight = 1, .repeatable = true, .cb.done = cb, .user = user};

    return fanq_request_submit(client, &wire, &like, 0);
}

int fanq_stats(struct fanq *client, fanq_stats_cb cb, void *user)
{
    struct fanq_request wire = {.op = FANQ_OP_STATS};
    struct request like = {
        .kind = REQUEST_STATS, .weight = 1, .repeatable = true, .cb.stats = cb, .user = user};

    return cb != NULL ? fanq_request_submit(client, &wire, &like, 0) : FANQ_ERR_INVALID;
}
