/* Queues: their life, their attributes, and the one door by which messages become deliverable. */
#include "state.h"

/* ---- finding ---- */

/* The map's keys are names as clients say them, so that the usual look-up takes the name as it came. */
struct queue *queue_find(const struct core *c, const struct full_name *name)
{
    struct fanq_bytes shown = name_shown(c, name->text, name->length);

    return map_get(&c->queue_names, shown.data, (uint32_t)shown.length);
}

struct queue *queue_by_id(const struct core *c, uint64_t id)
{
    struct tree_node *node = tree_find(&c->queues_by_id, id);

    return node == NULL ? NULL : container_of(node, struct queue, id_node);
}

int queue_resolve(struct core *c, struct fanq_bytes given, bool create, struct queue **ret_queue)
{
    struct queue *q = map_get_again(&c->queue_names, given.data, (uint32_t)given.length);
    struct full_name name;
    int err = 0;

    if (q == NULL) {
        err = name_parse(c, given, NAME_QUEUE, &name);
        q = err == 0 ? queue_find(c, &name) : NULL;
    }
    if (err == 0 && q == NULL && create && c->options.auto_create)
        return queue_create(c, &name, &(struct fanq_queue_attributes){0}, ret_queue);
    if (err == 0 && q == NULL)
        err = FANQ_ERR_QUEUE_NOT_FOUND;
    if (err == 0)
        *ret_queue = q;
    return err;
}

/* ---- life ---- */

static struct queue *queue_new(struct core *c, uint64_t id)
{
    struct queue *q = slab_take(&c->queues_slab);

    if (q == NULL)
        return NULL;
    q->core = c;
    q->id = id;
    if (c->next_queue_id <= id)
        c->next_queue_id = id + 1;
    q->visibility_ms = FANQ_VISIBILITY_MS_DEFAULT;
    q->created_ms = c->wall_ms;
    tree_init(&q->feeds);
    list_init(&q->ready);
    tree_init(&q->sorted);
    list_init(&q->waits);
    list_init(&q->aside);
    list_init(&q->link_kicked);
    list_init(&q->subscriptions);
    holder_init(&q->redelivery, HOLDER_REDELIVERY, q);
    holder_init(&q->absent, HOLDER_ABSENT, q);
    tree_insert(&c->queues_by_id, &q->id_node, q->id);
    return q;
}

struct queue *queue_new_ephemeral(struct core *c)
{
    return queue_new(c, c->next_queue_id);
}

void queue_set(struct queue *q, const struct fanq_queue_attributes *a)
{
    if (a->set & 1u << FANQ_QUEUE_VISIBILITY_MS)
        q->visibility_ms = a->visibility_ms;
    if (a->set & 1u << FANQ_QUEUE_RECEIVE_WAIT_MS)
        q->receive_wait_ms = a->receive_wait_ms;
    if (a->set & 1u << FANQ_QUEUE_EARLY_DELIVERY)
        queue_set_early(q, a->early_delivery);
}

/* What is committed and not synced yet may be received from now on; or it waits again, but for what was given out. */
void queue_set_early(struct queue *q, bool early)
{
    struct tree_node *node;

    if (q->early_delivery == early)
        return;
    q->early_delivery = early;
    for (node = tree_first(&q->feeds); node != NULL; node = tree_next(node))
        feed_settle(q->core, container_of(node, struct feed, node));
}

/* Creating what exists is harmless unless it asks for something else; attributes left out ask for nothing. */
static bool attributes_agree(const struct queue *q, const struct fanq_queue_attributes *a)
{
    return (!(a->set & 1u << FANQ_QUEUE_VISIBILITY_MS) || a->visibility_ms == q->visibility_ms) &&
           (!(a->set & 1u << FANQ_QUEUE_RECEIVE_WAIT_MS) || a->receive_wait_ms == q->receive_wait_ms) &&
           (!(a->set & 1u << FANQ_QUEUE_EARLY_DELIVERY) || a->early_delivery == q->early_delivery);
}

struct queue *queue_make(struct core *c, const struct full_name *name, uint64_t id)
{
    char *text = malloc(name->length + 1);
    struct fanq_bytes shown;
    struct queue *q = NULL;

    if (text == NULL || map_reserve(&c->queue_names) != 0 || (q = queue_new(c, id)) == NULL) {
        free(text);
        return NULL;
    }
    memcpy(text, name->text, name->length + 1);
    q->name = text;
    q->name_length = name->length;
    q->journalled = true;
    shown = name_shown(c, q->name, q->name_length);
    map_put(&c->queue_names, shown.data, (uint32_t)shown.length, q);
    text_tree_insert(&c->queue_order, &q->name_node, q->name, q->name_length);
    return q;
}

int queue_create(struct core *c, const struct full_name *name, const struct fanq_queue_attributes *attributes,
                 struct queue **ret_queue)
{
    struct queue *q = queue_find(c, name);

    if (q != NULL) {
        *ret_queue = q;
        return attributes_agree(q, attributes) ? 0 : FANQ_ERR_EXISTS;
    }
    if (c->queue_names.count >= c->options.queues_max)
        return FANQ_ERR_LIMIT;
    q = journal_reserve(c, 1) == 0 ? queue_make(c, name, c->next_queue_id) : NULL;
    if (q == NULL)
        return FANQ_ERR_NOMEM;
    queue_set(q, attributes);
    journal_queue(c, q);
    *ret_queue = q;
    return 0;
}

static void feeds_free(struct core *c, struct queue *q)
{
    struct tree_node *node;

    while ((node = tree_first(&q->feeds)) != NULL)
        feed_free(c, container_of(node, struct feed, node));
}

void queue_free(struct core *c, struct queue *q)
{
    struct list *link;

    assert(list_empty(&q->waits) && list_empty(&q->aside) && q->wait_count == 0);
    while ((link = list_first(&q->subscriptions)) != NULL) {
        struct subscription *s = container_of(link, struct subscription, link_queue);

        subscription_free(c, s, s->topic->stream->next_seq);
    }
    feeds_free(c, q);
    assert(q->in_flight == 0 && q->delayed == 0 && q->fetching_feeds == 0);
    if (q->own != NULL)
        stream_disown(c, q->own);
    if (q->name != NULL) {
        struct fanq_bytes shown = name_shown(c, q->name, q->name_length);

        map_remove(&c->queue_names, shown.data, (uint32_t)shown.length);
        text_tree_remove(&c->queue_order, &q->name_node);
        free(q->name);
    }
    tree_remove(&c->queues_by_id, &q->id_node);
    list_remove(&q->link_kicked);
    slab_give(&c->queues_slab, q);
}

/* Everybody who waits for q, those that stand aside too. */
static void queue_dismiss(struct core *c, struct queue *q, struct effects *out)
{
    struct list *link;

    while ((link = list_first(&q->waits)) != NULL || (link = list_first(&q->aside)) != NULL)
        consumer_end(c, container_of(link, struct wait, link_queue)->consumer, out, FANQ_ERR_QUEUE_NOT_FOUND);
    assert(q->wait_count == 0);
}

int queue_delete(struct core *c, struct queue *q, struct effects *out)
{
    if (effects_reserve(out, q->wait_count + 1) != 0 || journal_reserve(c, 1) != 0)
        return FANQ_ERR_NOMEM;
    journal_queue_end(c, q);
    queue_dismiss(c, q, out);
    queue_free(c, q);
    return 0;
}

/* Messages that are sent come by a stream of the queue's own, made when the first one comes. */
int queue_own_stream(struct core *c, struct queue *q)
{
    struct stream *s = q->own;

    if (s != NULL)
        return 0;
    s = journal_reserve(c, 1) == 0 ? stream_new(c) : NULL;
    if (s == NULL)
        return FANQ_ERR_NOMEM;
    if (feed_open(c, q, s, s->next_seq) == NULL) {
        stream_disown(c, s);
        return FANQ_ERR_NOMEM;
    }
    q->own = s;
    journal_own(c, q);
    return 0;
}

/* ---- messages ---- */

uint64_t queue_visible(const struct queue *q)
{
    uint64_t count = q->redelivery.live + q->absent.live;

    for (struct tree_node *node = tree_first(&q->feeds); node != NULL; node = tree_next(node))
        count += feed_unread(container_of(node, struct feed, node));
    return count;
}

int queue_purge(struct core *c, struct queue *q)
{
    struct tree_node *node = tree_first(&q->feeds);

    if (journal_reserve(c, 2 * q->feeds.count) != 0)
        return FANQ_ERR_NOMEM;
    q->purged += queue_visible(q) + q->in_flight + q->delayed;
    while (node != NULL) {
        struct tree_node *next = tree_next(node);

        feed_purge(c, container_of(node, struct feed, node));
        node = next;
    }
    assert(q->in_flight == 0 && q->delayed == 0 && q->redelivery.live == 0 && q->absent.live == 0);
    return 0;
}

void queue_kick(struct queue *q)
{
    if (!list_linked(&q->link_kicked))
        list_append(&q->core->kicked, &q->link_kicked);
}

bool queue_fetching(const struct queue *q)
{
    return q->fetching_feeds > 0 || q->absent.live > 0;
}
