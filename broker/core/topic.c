/* Topics and subscriptions. A topic is a stream with a name; a subscription is a queue's feed of it. */
#include "state.h"

/* The map's keys are names as clients say them, so that the usual look-up takes the name as it came. */
struct topic *topic_find(const struct core *c, const struct full_name *name)
{
    struct fanq_bytes shown = name_shown(c, name->text, name->length);

    return map_get(&c->topic_names, shown.data, (uint32_t)shown.length);
}

int topic_resolve(struct core *c, struct fanq_bytes given, bool create, struct topic **ret_topic)
{
    struct topic *t = map_get_again(&c->topic_names, given.data, (uint32_t)given.length);
    struct full_name name;
    int err = 0;

    if (t == NULL) {
        err = name_parse(c, given, NAME_TOPIC, &name);
        t = err == 0 ? topic_find(c, &name) : NULL;
    }
    if (err == 0 && t == NULL && create && c->options.auto_create)
        return topic_create(c, &name, ret_topic);
    if (err == 0 && t == NULL)
        err = FANQ_ERR_TOPIC_NOT_FOUND;
    if (err == 0)
        *ret_topic = t;
    return err;
}

struct topic *topic_make(struct core *c, const struct full_name *name, struct stream *s)
{
    char *text = malloc(name->length + 1);
    struct fanq_bytes shown;
    struct topic *t;

    if (text == NULL || map_reserve(&c->topic_names) != 0 || slab_reserve(&c->topics_slab, 1) != 0 ||
        (s == NULL && (s = stream_new(c)) == NULL)) {
        free(text);
        return NULL;
    }
    t = slab_take(&c->topics_slab);
    memcpy(text, name->text, name->length + 1);
    t->name = text;
    t->name_length = name->length;
    t->created_ms = c->wall_ms;
    t->stream = s;
    s->topic = t;
    s->owned = true;
    text_tree_init(&t->subscriptions, c->options.hash_seed);
    list_init(&t->pushes);
    shown = name_shown(c, t->name, t->name_length);
    map_put(&c->topic_names, shown.data, (uint32_t)shown.length, t);
    text_tree_insert(&c->topic_order, &t->name_node, t->name, t->name_length);
    return t;
}

int topic_create(struct core *c, const struct full_name *name, struct topic **ret_topic)
{
    struct topic *t = topic_find(c, name);

    if (t != NULL) {
        *ret_topic = t;
        return 0;
    }
    if (c->topic_names.count >= c->options.topics_max)
        return FANQ_ERR_LIMIT;
    t = journal_reserve(c, 1) == 0 ? topic_make(c, name, NULL) : NULL;
    if (t == NULL)
        return FANQ_ERR_NOMEM;
    journal_topic(c, t);
    *ret_topic = t;
    return 0;
}

void topic_free(struct core *c, struct topic *t)
{
    struct fanq_bytes shown = name_shown(c, t->name, t->name_length);
    struct text_node *node;

    assert(list_empty(&t->pushes));
    while ((node = text_tree_after(&t->subscriptions, "", 0)) != NULL)
        subscription_free(c, container_of(node, struct subscription, node), t->stream->next_seq);
    t->stream->topic = NULL;
    stream_disown(c, t->stream);
    map_remove(&c->topic_names, shown.data, (uint32_t)shown.length);
    text_tree_remove(&c->topic_order, &t->name_node);
    free(t->name);
    slab_give(&c->topics_slab, t);
}

int topic_delete(struct core *c, struct topic *t, struct effects *out)
{
    size_t pushes = 0;
    struct list *link;

    list_for_each (at, &t->pushes)
        pushes++;
    if (effects_reserve(out, pushes + 1) != 0 || journal_reserve(c, 1 + t->subscriptions.count) != 0)
        return FANQ_ERR_NOMEM;
    journal_topic_end(c, t); /* and what subscriptions end with it */
    while ((link = list_first(&t->pushes)) != NULL)
        consumer_end(c, container_of(link, struct consumer, link_topic), out, FANQ_ERR_TOPIC_NOT_FOUND);
    topic_free(c, t);
    return 0;
}

/* ---- subscriptions ---- */

struct subscription *subscription_find(const struct topic *t, const struct queue *q)
{
    struct text_node *node = text_tree_find(&t->subscriptions, q->name, q->name_length);

    return node == NULL ? NULL : container_of(node, struct subscription, node);
}

/* Its feed is open. Reserved before. */
void subscription_new(struct core *c, struct topic *t, struct queue *q)
{
    struct subscription *s = slab_take(&c->subscriptions_slab);

    s->topic = t;
    s->queue = q;
    list_init(&s->link_queue);
    list_append(&q->subscriptions, &s->link_queue);
    text_tree_insert(&t->subscriptions, &s->node, q->name, q->name_length);
    journal_subscribed(c, s);
}

/* Subscribing twice is harmless. */
int subscribe(struct core *c, struct topic *t, struct queue *q)
{
    if (subscription_find(t, q) != NULL)
        return 0;
    if (c->subscriptions_slab.live_count >= c->options.subscriptions_max)
        return FANQ_ERR_LIMIT;
    if (slab_reserve(&c->subscriptions_slab, 1) != 0 || journal_reserve(c, 1) != 0 ||
        feed_open(c, q, t->stream, t->stream->next_seq) == NULL)
        return FANQ_ERR_NOMEM;
    subscription_new(c, t, q);
    return 0;
}

int unsubscribe(struct core *c, struct topic *t, struct queue *q)
{
    struct subscription *s = subscription_find(t, q);

    if (s == NULL)
        return FANQ_ERR_SUBSCRIPTION_NOT_FOUND;
    if (journal_reserve(c, 2) != 0)
        return FANQ_ERR_NOMEM;
    journal_unsubscribed(c, s);
    subscription_free(c, s, t->stream->next_seq);
    return 0;
}

/* What was published before stays in the queue. */
void subscription_free(struct core *c, struct subscription *s, uint64_t end)
{
    feed_close(c, feed_find(s->queue, s->topic->stream->number), end);
    list_remove(&s->link_queue);
    text_tree_remove(&s->topic->subscriptions, &s->node);
    slab_give(&c->subscriptions_slab, s);
}
