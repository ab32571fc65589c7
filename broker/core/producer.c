/* Producers: what a client has published, so that a publish that is repeated is applied once.
 *
 * The request ids of a producer's publishes rise. The core keeps the last one that it applied; what comes again with an
 * id up to that is answered as it was the first time. What was refused must not pass for applied when a later publish is,
 * so the refused ids below the last applied one are kept, too, as a few runs of neighbours with one error; when there
 * would be too many, the oldest become one run of which the outcome is not known any more. What was refused above the
 * last applied id is new to us when it comes again: a client that did not get the answer sends it before anything new.
 *
 * Nothing here can fail but the making of a producer, so a publish that was applied is also noted. In a durable core the
 * facts that say so stand in the commit of the publish itself. A producer without a connection is forgotten after a time,
 * or when there are too many, the longest unused first; only at the beginning of a turn, when all its facts are written. */
#include "state.h"

enum { FORGOTTEN_A_TURN_MAX = 1024 };

/* ---- life ---- */

struct producer *producer_find(const struct core *c, const uint8_t *id)
{
    return map_get(&c->producers, id, FANQ_PRODUCER_BYTES);
}

bool core_producer_known(const struct core *c, const uint8_t *id)
{
    return producer_find(c, id) != NULL;
}

struct producer *producer_make(struct core *c, const uint8_t *id)
{
    struct producer *p;

    if (map_reserve(&c->producers) != 0 || (p = slab_take(&c->producers_slab)) == NULL)
        return NULL;
    memcpy(p->id, id, FANQ_PRODUCER_BYTES);
    list_init(&p->link);
    list_init(&p->link_dirty);
    map_put(&c->producers, p->id, FANQ_PRODUCER_BYTES, p);
    producer_rest(c, p);
    return p;
}

/* Every connection may have one. */
static bool too_many(const struct core *c)
{
    size_t max = c->options.producers_max;

    return c->producers.count > (max > c->options.connections_max ? max : c->options.connections_max);
}

static void producer_forget(struct core *c, struct producer *p)
{
    assert(p->session == NULL && !list_linked(&p->link_dirty));
    list_remove(&p->link);
    map_remove(&c->producers, p->id, FANQ_PRODUCER_BYTES);
    slab_give(&c->producers_slab, p);
}

void producers_forget(struct core *c)
{
    for (int i = 0; i < FORGOTTEN_A_TURN_MAX && !list_empty(&c->producers_resting); i++) {
        struct producer *p = container_of(list_first(&c->producers_resting), struct producer, link);

        if (!too_many(c) && c->now_ms - p->rests_since_ms < c->options.producer_ms_max)
            return;
        producer_forget(c, p);
    }
}

/* ---- outcomes ---- */

static struct refused *newest(struct producer *p)
{
    return p->refused_count == 0 ? NULL : &p->refused[p->refused_count - 1];
}

/* Makes one run of the two oldest, whose outcome is not known any more. No run reaches from below `applied` above it. */
static void join_oldest(struct producer *p)
{
    uint32_t i = p->refused[0].first < p->applied && p->refused[1].first > p->applied ? 1 : 0;
    struct refused *run = &p->refused[i];

    run->last = run[1].last;
    run->err = FANQ_ERR_UNKNOWN;
    run->written &= run[1].written;
    p->refused_count--;
    memmove(run + 1, run + 2, (p->refused_count - i - 1) * sizeof(*run));
}

/* Nothing from id on was refused. */
static void forget_refused(struct producer *p, uint64_t id)
{
    struct refused *run;

    while ((run = newest(p)) != NULL && run->first >= id)
        p->refused_count--;
    if (run != NULL && run->last >= id)
        run->last = id - 1;
}

void producer_add_refused(struct producer *p, const struct refused *run)
{
    forget_refused(p, run->first); /* a fact may speak of what were several runs */
    if (p->refused_count == REFUSED_RUNS_MAX)
        join_oldest(p);
    p->refused[p->refused_count++] = *run;
}

void producer_applied(struct core *c, struct producer *p, uint64_t id)
{
    assert(id > p->applied);
    forget_refused(p, id);
    p->applied = id;
    if (c->journalling && !list_linked(&p->link_dirty))
        list_append(&c->producers_dirty, &p->link_dirty);
}

void producer_refused(struct producer *p, uint64_t id, int err)
{
    struct refused *run = newest(p);

    assert(id > p->applied);
    if (run != NULL && run->first > p->applied && run->err == err && id > run->last)
        run->last = id;
    else
        producer_add_refused(p, &(struct refused){.first = id, .last = id, .err = err});
}

int producer_outcome(const struct producer *p, uint64_t id)
{
    for (uint32_t i = 0; i < p->refused_count; i++)
        if (id >= p->refused[i].first && id <= p->refused[i].last)
            return p->refused[i].err;
    return 0;
}

/* ---- connections ---- */

void producer_rest(struct core *c, struct producer *p)
{
    p->session = NULL;
    p->rests_since_ms = c->now_ms;
    list_remove(&p->link);
    list_append(&c->producers_resting, &p->link);
}

/* A connection comes as a producer. The older one that did ends: what it has sent and we have not seen yet must not be
 * applied behind what is repeated now. */
int producer_step(struct core *c, uint32_t connection, const uint8_t *id, struct effects *out)
{
    struct session *s = session_of(c, connection);
    struct producer *p = producer_find(c, id);

    assert(s->producer == NULL && !s->fenced);
    if (effects_reserve(out, 1) != 0 || journal_reserve(c, 1) != 0)
        return FANQ_ERR_NOMEM;
    if (p == NULL) {
        p = producer_make(c, id);
        if (p == NULL)
            return FANQ_ERR_NOMEM;
        journal_producer(c, p);
    }
    if (p->session != NULL) {
        p->session->producer = NULL;
        p->session->fenced = true;
        effect_add(out, EFFECT_CLOSE)->connection = (uint32_t)(p->session - c->sessions);
    }
    p->session = s;
    s->producer = p;
    list_remove(&p->link);
    list_append(&c->producers_connected, &p->link);
    return 0;
}

/* ---- facts ---- */

size_t producers_facts_max(const struct core *c)
{
    size_t count = 0;

    list_for_each (link, &c->producers_dirty)
        count += 1 + REFUSED_RUNS_MAX;
    return count;
}

static void write_one(struct core *c, struct producer *p)
{
    journal_producer(c, p);
    for (uint32_t i = 0; i < p->refused_count; i++) {
        struct refused *run = &p->refused[i];

        if (run->written || run->first > p->applied)
            continue;
        run->written = true;
        journal_refused(c, p, run);
    }
}

void producers_journal(struct core *c)
{
    struct list *link;

    while ((link = list_first(&c->producers_dirty)) != NULL) {
        write_one(c, container_of(link, struct producer, link_dirty));
        list_remove(link);
    }
}
