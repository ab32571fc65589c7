/* What there is: making, describing, listing and removing queues, topics and subscriptions. */
#include "state.h"

/* ---- describing ---- */

/* Copies text into the arena, so that an answer outlives what it speaks of. Empty when out of memory. */
static struct fanq_bytes keep(struct effects *out, struct fanq_bytes text)
{
    uint8_t *copy = arena_take(&out->arena, text.length);

    if (copy == NULL)
        return (struct fanq_bytes){0};
    memcpy(copy, text.data, text.length);
    return (struct fanq_bytes){copy, text.length};
}

static uint64_t oldest_age_ms(const struct core *c, const struct queue *q)
{
    const struct view *view = &c->options.view;
    uint64_t oldest = c->wall_ms;

    for (struct tree_node *node = tree_first(&q->feeds); node != NULL; node = tree_next(node)) {
        const struct feed *f = container_of(node, struct feed, node);
        bool any = f->runs.count > 0 || feed_unread(f) > 0;
        struct block b;

        if (any && view->block(view->context, f->stream->number, f->floor, &b) && b.time_ms < oldest)
            oldest = b.time_ms;
    }
    return c->wall_ms - oldest;
}

int reply_queue(struct core *c, uint32_t connection, uint64_t id, const struct queue *q, struct effects *out)
{
    struct fanq_bytes name = keep(out, name_shown(c, q->name, q->name_length));
    struct fanq_queue_reply *reply;

    if (name.length == 0)
        return FANQ_ERR_NOMEM;
    reply = &reply_add(out, connection, FANQ_REPLY_QUEUE, id)->queue;
    reply->name = name;
    reply->queue_id = q->id;
    reply->attributes.set =
        1u << FANQ_QUEUE_VISIBILITY_MS | 1u << FANQ_QUEUE_RECEIVE_WAIT_MS | 1u << FANQ_QUEUE_EARLY_DELIVERY;
    reply->attributes.visibility_ms = q->visibility_ms;
    reply->attributes.receive_wait_ms = q->receive_wait_ms;
    reply->attributes.early_delivery = q->early_delivery;
    reply->visible = queue_visible(q);
    reply->in_flight = q->in_flight;
    reply->delayed = q->delayed;
    reply->oldest_age_ms = oldest_age_ms(c, q);
    reply->created_ms = q->created_ms;
    reply->consumers = q->wait_count;
    reply->sent = reply->visible + q->in_flight + q->delayed + q->deleted + q->purged;
    reply->delivered = q->delivered;
    reply->deleted = q->deleted;
    return 0;
}

int reply_topic(struct core *c, uint32_t connection, uint64_t id, const struct topic *t, struct effects *out)
{
    struct fanq_bytes name = keep(out, name_shown(c, t->name, t->name_length));
    struct fanq_topic_reply *reply;

    if (name.length == 0)
        return FANQ_ERR_NOMEM;
    reply = &reply_add(out, connection, FANQ_REPLY_TOPIC, id)->topic;
    reply->name = name;
    reply->stream = t->stream->number;
    reply->subscription_count = t->subscriptions.count;
    reply->created_ms = t->created_ms;
    reply->published = t->stream->next_seq; /* all that ever came is numbered */
    return 0;
}

/* ---- listing ---- */

static bool has_prefix(const struct text_node *node, const struct full_name *prefix)
{
    return node->length >= prefix->length && memcmp(node->text, prefix->text, prefix->length) == 0;
}

/* The first name at or above prefix and above after. */
static struct text_node *list_start(const struct text_tree *names, const struct full_name *prefix,
                                    const struct full_name *after)
{
    struct text_node *exact = text_tree_find(names, prefix->text, prefix->length);

    if (after != NULL &&
        (after->length > prefix->length || memcmp(after->text, prefix->text, after->length) >= 0))
        return text_tree_after(names, after->text, after->length);
    return exact != NULL ? exact : text_tree_after(names, prefix->text, prefix->length);
}

static int reply_names(struct core *c, uint32_t connection, uint64_t id, struct text_node *node,
                       const struct full_name *prefix, uint32_t limit, struct effects *out)
{
    struct fanq_bytes *names = arena_take(&out->arena, limit * sizeof(*names));
    struct fanq_names *reply;
    uint32_t count = 0;

    if (names == NULL)
        return FANQ_ERR_NOMEM;
    for (; node != NULL && count < limit && (prefix == NULL || has_prefix(node, prefix));
         node = text_tree_next(node)) {
        names[count] = keep(out, name_shown(c, node->text, node->length));
        if (names[count].length == 0)
            return FANQ_ERR_NOMEM;
        count++;
    }
    reply = &reply_add(out, connection, FANQ_REPLY_NAMES, id)->names;
    *reply = (struct fanq_names){names, count, node != NULL && (prefix == NULL || has_prefix(node, prefix))};
    return 0;
}

static int list_names(struct core *c, uint32_t connection, const struct fanq_request *r, struct effects *out)
{
    const struct text_tree *names = r->op == FANQ_OP_QUEUE_LIST ? &c->queue_order : &c->topic_order;
    struct full_name prefix, after;
    int err = name_parse_prefix(c, r->list.prefix, &prefix);

    if (err == 0 && r->list.after.length > 0)
        err = name_parse_prefix(c, r->list.after, &after);
    if (err != 0)
        return err;
    return reply_names(c, connection, r->id,
                       list_start(names, &prefix, r->list.after.length > 0 ? &after : NULL), &prefix,
                       r->list.limit, out);
}

static int list_subscriptions(struct core *c, uint32_t connection, const struct fanq_request *r,
                              struct effects *out)
{
    struct full_name after = {.length = 0};
    struct topic *t;
    int err = topic_resolve(c, r->subscription_list.topic, false, &t);

    if (err == 0 && r->subscription_list.after.length > 0)
        err = name_parse_prefix(c, r->subscription_list.after, &after);
    if (err != 0)
        return err;
    return reply_names(c, connection, r->id, text_tree_after(&t->subscriptions, after.text, after.length),
                       NULL, r->subscription_list.limit, out);
}

/* ---- queues ---- */

static int create_queue(struct core *c, uint32_t connection, const struct fanq_request *r,
                        struct effects *out)
{
    struct full_name name;
    struct queue *q;
    int err = name_parse(c, r->queue.name, NAME_QUEUE, &name);

    if (err == 0)
        err = queue_create(c, &name, &r->queue.attributes, &q);
    if (err == 0)
        err = answer_when_safe(c, out, connection, r->id, FANQ_REPLY_QUEUE, q->id);
    return err;
}

static int set_queue(struct core *c, uint32_t connection, const struct fanq_request *r, struct queue *q,
                     struct effects *out)
{
    if (journal_reserve(c, 1) != 0)
        return FANQ_ERR_NOMEM;
    queue_set(q, &r->queue.attributes);
    journal_queue(c, q);
    return answer_when_safe(c, out, connection, r->id, FANQ_REPLY_QUEUE, q->id);
}

static int queue_op(struct core *c, uint32_t connection, const struct fanq_request *r, struct effects *out)
{
    struct queue *q;
    int err = queue_resolve(c, r->op == FANQ_OP_QUEUE_SET ? r->queue.name : r->name, false, &q);

    if (err != 0)
        return err;
    switch (r->op) {
    case FANQ_OP_QUEUE_SET:
        return set_queue(c, connection, r, q, out);
    case FANQ_OP_QUEUE_GET:
        return reply_queue(c, connection, r->id, q, out);
    case FANQ_OP_PURGE:
        err = queue_purge(c, q);
        break;
    default:
        err = queue_delete(c, q, out);
        break;
    }
    if (err == 0)
        err = answer_when_safe(c, out, connection, r->id, FANQ_REPLY_OK, 0);
    return err;
}

/* ---- topics and subscriptions ---- */

static int create_topic(struct core *c, uint32_t connection, const struct fanq_request *r,
                        struct effects *out)
{
    struct full_name name;
    struct topic *t;
    int err = name_parse(c, r->name, NAME_TOPIC, &name);

    if (err == 0)
        err = topic_create(c, &name, &t);
    if (err == 0)
        err = answer_when_safe(c, out, connection, r->id, FANQ_REPLY_TOPIC, t->stream->number);
    return err;
}

static int topic_op(struct core *c, uint32_t connection, const struct fanq_request *r, struct effects *out)
{
    struct topic *t;
    int err = topic_resolve(c, r->name, false, &t);

    if (err == 0 && r->op == FANQ_OP_TOPIC_GET)
        return reply_topic(c, connection, r->id, t, out);
    if (err == 0)
        err = topic_delete(c, t, out);
    if (err == 0)
        err = answer_when_safe(c, out, connection, r->id, FANQ_REPLY_OK, 0);
    return err;
}

static int subscription_op(struct core *c, uint32_t connection, const struct fanq_request *r,
                           struct effects *out)
{
    struct topic *t;
    struct queue *q;
    int err = topic_resolve(c, r->subscription.topic, false, &t);

    if (err == 0)
        err = queue_resolve(c, r->subscription.queue, false, &q);
    if (err == 0)
        err = r->op == FANQ_OP_SUBSCRIBE ? subscribe(c, t, q) : unsubscribe(c, t, q);
    if (err == 0)
        err = answer_when_safe(c, out, connection, r->id, FANQ_REPLY_OK, 0);
    return err;
}

int catalog_step(struct core *c, uint32_t connection, const struct fanq_request *r, struct effects *out)
{
    switch (r->op) {
    case FANQ_OP_QUEUE_CREATE:
        return create_queue(c, connection, r, out);
    case FANQ_OP_QUEUE_SET:
    case FANQ_OP_QUEUE_GET:
    case FANQ_OP_PURGE:
    case FANQ_OP_QUEUE_DELETE:
        return queue_op(c, connection, r, out);
    case FANQ_OP_QUEUE_LIST:
    case FANQ_OP_TOPIC_LIST:
        return list_names(c, connection, r, out);
    case FANQ_OP_TOPIC_CREATE:
        return create_topic(c, connection, r, out);
    case FANQ_OP_TOPIC_GET:
    case FANQ_OP_TOPIC_DELETE:
        return topic_op(c, connection, r, out);
    case FANQ_OP_SUBSCRIBE:
    case FANQ_OP_UNSUBSCRIBE:
        return subscription_op(c, connection, r, out);
    case FANQ_OP_SUBSCRIPTION_LIST:
        return list_subscriptions(c, connection, r, out);
    default:
        return FANQ_ERR_UNSUPPORTED;
    }
}
