/* The turn: what libuv's callbacks collected becomes events, the core's answers become writes.
 *
 * A turn is one or more batches. A batch is one commit: its size is bounded in bytes, so that the log thread gets
 * something to write while the next batch is made, and that it is still in the processor's cache when it is
 * delivered; and in requests and what answers them, for a flood of tiny requests would make many times its own
 * size of answers before the first one is written and its sender found not to read.
 *
 *     TURN -> requests -> news -> COMMIT, append -> SERVE -> write each connection once -> trim
 *
 * News are the ends of connections and sockets that became full or writable. Trims come last: until then
 * deliveries refer to bytes in the tail, and what could not be sent has been pinned. */
#include <assert.h>
#include <stdlib.h>
#include <time.h>

#include "backup.h"
#include "config.h"
#include "connection.h"
#include "log/tail.h"
#include "native.h"
#include "notice.h"
#include "shell.h"
#include "storage.h"
#include "upkeep.h"

enum {
    BATCH_BYTES_MAX = 128 * 1024, /* of requests; the last one may exceed it */
    BATCH_REQUESTS_MAX = 16 * 1024,
    BATCH_EFFECTS_MAX = 16 * 1024,
    BATCH_ANSWER_BYTES_MAX = 4 * 1024 * 1024, /* what answers refer to: names, slices */
};

bool shell_batch_full(const struct shell *s)
{
    return s->batch_bytes >= BATCH_BYTES_MAX || s->batch_requests >= BATCH_REQUESTS_MAX ||
           s->effects.count >= BATCH_EFFECTS_MAX || s->effects.arena.taken_bytes >= BATCH_ANSWER_BYTES_MAX;
}

static void on_idle(uv_idle_t *idle)
{
}

void turn_hurry(struct shell *s)
{
    s->urgent = true;
    if (!s->stopping)
        uv_idle_start(&s->idle, on_idle); /* with it the poll does not wait */
}

/* Steps an event that cannot be refused. */
static void step(struct shell *s, const struct event *event)
{
    if (core_step(s->core, event, &s->effects) != 0)
        shell_fail("out of memory");
}

/* ---- in ---- */

static void read_clocks(struct shell *s)
{
    struct timespec now;
    uint64_t wall_ms;

    s->now_ms = uv_now(&s->loop);
    clock_gettime(CLOCK_REALTIME, &now);
    wall_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    if (wall_ms > s->wall_ms)
        s->wall_ms = wall_ms; /* never back, whatever the clock was set to */
}

static void begin_batch(struct shell *s)
{
    s->batch_bytes = s->batch_requests = 0;
    s->urgent = false;
    step(s, &(struct event){.kind = EVENT_TURN, .turn = {s->now_ms, s->wall_ms, storage_room(s)}});
    storage_poll(s);
    backups_proceed(s);
    if (s->drain == DRAIN_ASKED) {
        step(s, &(struct event){.kind = EVENT_DRAIN});
        s->drain = DRAIN_STEPPED;
    }
    connections_expire(s);
}

static void parse(struct shell *s)
{
    struct reading *r = &s->reading;

    while (reading_unparsed(r)) {
        struct input *in = container_of(r->next, struct input, ready);
        if (!native_parse(s, container_of(in, struct connection, input)))
            return;
        r->next = r->next->next;
    }
}

/* What the core has to know about a connection before the batch is served. */
static void tell_core(struct shell *s, struct connection *c)
{
    if (c->state >= CONNECTION_FINISHING) {
        if (c->core_knows)
            step(s, &(struct event){.kind = EVENT_DISCONNECT, .connection = c->number});
        c->core_knows = c->core_told_full = false;
        return;
    }
    if (c->core_knows && output_full(&c->output) != c->core_told_full) {
        c->core_told_full = !c->core_told_full;
        step(s, &(struct event){.kind = c->core_told_full ? EVENT_BLOCKED : EVENT_WRITABLE,
                                .connection = c->number});
    }
}

static void tell_news(struct shell *s)
{
    list_for_each (at, &s->news) {
        struct connection *c = container_of(at, struct connection, news);
        if (c->output.landed && c->state != CONNECTION_CLOSED)
            output_resume(s, c);
        if (c->ended && c->state <= CONNECTION_OPEN && !input_unparsed(&c->input))
            connection_finish(c);
        tell_core(s, c);
    }
}

/* ---- commit ---- */

/* Carries out the commit among the effects since `first`, if there is one. */
static void append_commit(struct shell *s, size_t first)
{
    for (size_t i = first; i < s->effects.count; i++) {
        if (s->effects.items[i].kind == EFFECT_COMMIT) {
            storage_append(s, &s->effects.items[i].commit);
            return; /* a batch has one */
        }
    }
}

static void commit_and_serve(struct shell *s)
{
    size_t first = s->effects.count;

    step(s, &(struct event){.kind = EVENT_COMMIT, .always = storage_wants_commit(s)});
    append_commit(s, first);
    step(s, &(struct event){.kind = EVENT_SERVE});
}

/* ---- out ---- */

static void reserve_next_effects(struct shell *s)
{
    int32_t *next;

    if (s->next_effect_capacity >= s->effects.count)
        return;
    next = realloc(s->next_effect, s->effects.capacity * sizeof(*next));
    if (next == NULL)
        shell_fail("out of memory");
    s->next_effect = next;
    s->next_effect_capacity = s->effects.capacity;
}

static bool is_reply(const struct effect *e)
{
    return e->kind == EFFECT_REPLY || e->kind == EFFECT_DELIVER;
}

/* Links the effects of each connection in a row, in their order. */
static void group_effects(struct shell *s)
{
    for (int32_t i = 0; i < (int32_t)s->effects.count; i++) {
        const struct effect *e = &s->effects.items[i];
        struct connection *c = is_reply(e) ? s->connections[e->connection] : NULL;
        if (c == NULL)
            continue;
        s->next_effect[i] = OUTPUT_NO_EFFECT;
        if (c->output.first_effect == OUTPUT_NO_EFFECT)
            c->output.first_effect = i;
        else
            s->next_effect[c->output.last_effect] = i;
        c->output.last_effect = i;
    }
}

static void write_connection(struct shell *s, struct connection *c)
{
    int32_t i = c->output.first_effect;

    c->output.first_effect = OUTPUT_NO_EFFECT;
    output_begin(s, c);
    while (i != OUTPUT_NO_EFFECT && c->state < CONNECTION_LINGERING) {
        native_reply(s, c, &s->effects.items[i].reply);
        i = s->next_effect[i];
    }
    output_end(s);
    connection_proceed(c);
}

static void write_connections(struct shell *s)
{
    reserve_next_effects(s);
    group_effects(s);
    for (size_t i = 0; i < s->effects.count; i++) {
        const struct effect *e = &s->effects.items[i];
        struct connection *c = is_reply(e) ? s->connections[e->connection] : NULL;
        if (c != NULL && c->output.first_effect != OUTPUT_NO_EFFECT)
            write_connection(s, c);
    }
}

static void trim(struct shell *s)
{
    for (size_t i = 0; i < s->effects.count; i++) {
        const struct effect *e = &s->effects.items[i];
        if (e->kind == EFFECT_TRIM)
            tail_trim(s->tail, e->trim.stream, e->trim.seq);
        else if (e->kind == EFFECT_STREAM_END)
            tail_stream_end(s->tail, e->trim.stream);
        else if (e->kind == EFFECT_FETCH)
            storage_fetch(s, e->fetch.stream, e->fetch.first_seq, e->fetch.count);
    }
}

/* Connections whose end the core knows leave; what came up while writing stays for the next batch. */
static void settle_news(struct shell *s)
{
    struct list *at, *next;

    for (at = s->news.next; at != &s->news; at = next) {
        struct connection *c = container_of(at, struct connection, news);
        next = at->next;
        connection_proceed(c);
        if (c->state == CONNECTION_CLOSED && !c->core_knows)
            connection_bury(c);
        else if (c->state >= CONNECTION_FINISHING && !c->core_knows)
            list_remove(at);
        else if (c->state < CONNECTION_FINISHING && !c->ended && output_full(&c->output) == c->core_told_full)
            list_remove(at);
    }
}

/* ---- draining ---- */

/* After the batch in which the core drained: everyone may have what was said to him, and no more. What waits for the
 * disk is said first. */
static void drain(struct shell *s)
{
    if (!storage_settled(s) && s->now_ms < s->drain_deadline_ms)
        return;
    for (uint32_t i = 0; i < s->connections_max; i++) {
        struct connection *c = s->connections[i];
        if (c == NULL)
            continue;
        if (c->state < CONNECTION_FINISHING)
            connection_finish(c);
        connection_proceed(c);
        if (s->now_ms >= s->drain_deadline_ms)
            connection_lose(c, "the broker stops");
    }
    if (s->free_number_count == s->connections_max)
        shell_stop(s);
}

/* ---- the whole ---- */

static void run_batch(struct shell *s)
{
    begin_batch(s);
    parse(s);
    tell_news(s);
    commit_and_serve(s);
    write_connections(s);
    trim(s);
    effects_clear(&s->effects);
    settle_news(s);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t next_ms(const struct shell *s)
{
    uint64_t next = least(core_next_ms(s->core), connections_next_ms(s));

    next = least(next, least(reading_next_ms(&s->reading), writing_next_ms(&s->writing)));
    next = least(next, upkeep_next_ms(s));
    next = least(next, storage_next_ms(s));
    next = least(next, backups_next_ms(s));
    return s->drain == DRAIN_NO ? next : least(next, s->drain_deadline_ms);
}

/* It ends a poll, which is all that is wanted of it. When it is due before the poll begins, that poll must not wait at all: there
 * is no other timer. */
static void on_timer(uv_timer_t *timer)
{
    struct shell *s = timer->data;

    s->timer_due_ms = UINT64_MAX;
    uv_idle_start(&s->idle, on_idle);
}

/* Sees to it that the poll ends in time for the next turn. */
static void schedule(struct shell *s)
{
    uint64_t next = next_ms(s);

    if (s->urgent || next <= s->now_ms) {
        uv_idle_start(&s->idle, on_idle);
        return;
    }
    uv_idle_stop(&s->idle);
    if (next == s->timer_due_ms)
        return;
    s->timer_due_ms = next;
    if (next == UINT64_MAX)
        uv_timer_stop(&s->timer);
    else
        uv_timer_start(&s->timer, on_timer, next - s->now_ms, 0);
}

static bool anything_to_do(const struct shell *s)
{
    return s->urgent || reading_unparsed(&s->reading) || !list_empty(&s->news) || next_ms(s) <= s->now_ms ||
           s->drain != DRAIN_NO || s->reading.refused || !list_empty(&s->reading.starved);
}

/* What the round cost: where there are more threads than cores wall time says little. */
static void count_cpu(struct shell *s)
{
    struct shell_figures *f = &s->figures;
    uint64_t before = f->cpu_us;

    f->cpu_us = shell_cpu_us();
    if (before > 0 && f->cpu_us - before > f->turn_cpu_us_max)
        f->turn_cpu_us_max = f->cpu_us - before;
}

void turn_run(struct shell *s)
{
    uint64_t start_ns = uv_hrtime(), spent_us;

    if (s->stopping)
        return;
    read_clocks(s);
    if (!anything_to_do(s)) {
        reading_settle(s); /* long frames came a part further */
        schedule(s);       /* and new connections have deadlines */
        return;
    }
    do
        run_batch(s);
    while (reading_unparsed(&s->reading));
    reading_settle(s);
    writing_sweep(s);
    upkeep_run(s);
    storage_upkeep(s);
    if (s->drain == DRAIN_STEPPED)
        drain(s);
    if (!s->stopping)
        schedule(s);
    s->figures.turns++;
    spent_us = (uv_hrtime() - start_ns) / 1000;
    if (spent_us > s->figures.turn_us_max)
        s->figures.turn_us_max = spent_us;
    count_cpu(s);
}
