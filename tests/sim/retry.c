/* retry: producers whose connections are cut and whose broker crashes, from a seed.
 *
 *     retry --seeds 1-500 --ops 2000
 *
 * Clients publish by the rules of PROTOCOL.md: ids rise; on a new connection everything that was not answered is sent again,
 * in order, before anything new. Requests and answers are under way for some turns and are lost with their connection; an
 * older connection may still be talking when the next one has said HELLO; publishes are refused for good (no such queue) and
 * for now (no room); commits are synced turns later; the broker dies and comes back from a checkpoint or from its log; and in
 * some runs it forgets producers. In the log, every message then is: once, if its client was told so; never, if it was
 * refused; at most once, if that is open; and those of one client are in their order. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crash_log.h"
#include "proto/request.h"
#include "sim.h"

enum {
    CLIENTS = 3,
    CONNECTIONS = 16,
    PUBLISHES_MAX = 4000,
    UNDER_WAY_MAX = 512,
    RECORD_BYTES = FANQ_RECORD_PLAIN_BYTES + 4,
    BATCH_MAX = 4,
    FORGET_SOON_MS = 50,
    NOBODY = -1
};

enum outcome { WAITING, APPLIED, REFUSED, OPEN };

struct publish {
    uint64_t id;
    uint32_t first_message, message_count;
    enum outcome outcome;
    bool to_nowhere, wants_ids, was_sent;
};

struct answer {
    uint64_t first_id, count;
    int err;
};

struct client {
    uint8_t id[FANQ_PRODUCER_BYTES];
    int connection; /* or NOBODY */
    struct publish publishes[PUBLISHES_MAX];
    uint32_t publish_count, message_count;
    uint64_t next_id;
};

/* Between a client and the broker. */
struct wire {
    int client;                                      /* or NOBODY: free */
    bool cut;                                        /* the client is gone, and the broker has not noticed */
    bool closed;                                     /* by the broker */
    uint32_t requests[UNDER_WAY_MAX], request_count; /* indexes of publishes */
    struct answer answers[UNDER_WAY_MAX];
    uint32_t answer_count;
};

struct world {
    struct rng rng;
    struct core *core;
    struct core_options options;
    struct effects effects;
    struct crash_log log;
    struct arena records;
    struct core_checkpoint checkpoint;
    uint64_t checkpoint_begin; /* it holds all up to this commit; 0: there is none */
    uint64_t now_ms, wall_ms, appended, synced;
    struct client clients[CLIENTS];
    struct wire wires[CONNECTIONS];
    uint32_t cut_percent, crash_percent, refuse_percent, sync_percent;
    bool calm; /* nothing goes wrong any more */
    uint64_t crashes, cuts, repeats, open, refused, applied;
};

static uint64_t current_seed;
static uint32_t current_ops;

/* ---- the client ---- */

static struct publish *publish_of(struct client *c, uint64_t id)
{
    for (uint32_t i = c->publish_count; i-- > 0;)
        if (c->publishes[i].id == id)
            return &c->publishes[i];
    return NULL;
}

static void told(struct world *w, struct client *c, uint64_t id, int err)
{
    struct publish *p = publish_of(c, id);

    SIM_CHECK(p != NULL, "an answer to a request that was not made: %lu", id);
    if (p->outcome != WAITING)
        return; /* given up */
    p->outcome = err == 0 ? APPLIED : err == FANQ_ERR_UNKNOWN ? OPEN : REFUSED;
    SIM_CHECK(!p->to_nowhere || p->outcome != APPLIED, "request %lu is applied, but to no queue", id);
}

static void take_answers(struct world *w, struct wire *wire)
{
    uint32_t count = rng_below(&w->rng, wire->answer_count + 1);

    if (w->calm)
        count = wire->answer_count;
    for (uint32_t i = 0; i < count; i++)
        for (uint64_t n = 0; n < wire->answers[i].count; n++)
            told(w, &w->clients[wire->client], wire->answers[i].first_id + n, wire->answers[i].err);
    wire->answer_count -= count;
    memmove(wire->answers, wire->answers + count, wire->answer_count * sizeof(wire->answers[0]));
}

static bool put_on_wire(struct world *w, struct client *c, uint32_t index)
{
    struct wire *wire = &w->wires[c->connection];

    if (wire->request_count == UNDER_WAY_MAX)
        return false;
    wire->requests[wire->request_count++] = index;
    c->publishes[index].was_sent = true;
    return true;
}

static void publish_new(struct world *w, struct client *c)
{
    struct publish *p = &c->publishes[c->publish_count];

    if (c->publish_count == PUBLISHES_MAX || w->wires[c->connection].request_count == UNDER_WAY_MAX)
        return;
    *p = (struct publish){.id = c->next_id,
                          .first_message = c->message_count,
                          .message_count = 1 + rng_below(&w->rng, BATCH_MAX),
                          .to_nowhere = rng_chance(&w->rng, w->refuse_percent),
                          .wants_ids = rng_chance(&w->rng, 20)};
    c->message_count += p->message_count;
    c->next_id += 1 + (rng_chance(&w->rng, 30) ? rng_below(&w->rng, 3) : 0); /* requests of other kinds */
    c->publish_count++;
    SIM_CHECK(put_on_wire(w, c, c->publish_count - 1), "no room on the wire");
}

static uint32_t waiting_count(const struct client *c)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < c->publish_count; i++)
        count += c->publishes[i].outcome == WAITING;
    return count;
}

static bool any_applied(const struct client *c)
{
    for (uint32_t i = 0; i < c->publish_count; i++)
        if (c->publishes[i].outcome == APPLIED)
            return true;
    return false;
}

static void send_again(struct world *w, struct client *c, bool known)
{
    SIM_CHECK(known || w->options.producer_ms_max == FORGET_SOON_MS || !any_applied(c),
              "a producer is forgotten");
    for (uint32_t i = 0; i < c->publish_count; i++) {
        struct publish *p = &c->publishes[i];

        if (p->outcome != WAITING)
            continue;
        if (p->was_sent && !known) {
            p->outcome = OPEN;
            continue;
        }
        w->repeats += p->was_sent;
        SIM_CHECK(put_on_wire(w, c, i), "no room on the wire");
    }
}

/* ---- the broker's side ---- */

static void step(struct world *w, const struct event *ev);

static void answer_add(struct world *w, uint32_t connection, const struct fanq_reply *reply)
{
    struct wire *wire = &w->wires[connection];
    struct answer answer = {reply->id, 1, 0};

    SIM_CHECK(wire->client != NOBODY, "an answer to nobody");
    if (wire->cut || wire->closed)
        return;
    if (reply->op == FANQ_REPLY_OK_RANGE)
        answer.count = reply->ok_range.count;
    else if (reply->op == FANQ_REPLY_ERROR)
        answer.err = reply->error.err;
    else
        SIM_CHECK(reply->op == FANQ_REPLY_PUBLISHED, "a strange answer");
    SIM_CHECK(wire->answer_count < UNDER_WAY_MAX, "too many answers");
    wire->answers[wire->answer_count++] = answer;
}

static void carry_out(struct world *w)
{
    for (size_t i = 0; i < w->effects.count; i++) {
        const struct effect *e = &w->effects.items[i];

        if (e->kind == EFFECT_REPLY) {
            answer_add(w, e->connection, &e->reply);
        } else if (e->kind == EFFECT_COMMIT) {
            crash_log_append(&w->log, &e->commit);
            w->appended = e->commit.number;
        } else {
            SIM_CHECK(e->kind == EFFECT_CLOSE, "effect %d", (int)e->kind);
            SIM_CHECK(w->wires[e->connection].cut, "a good connection is closed");
            w->wires[e->connection].closed = true;
        }
    }
    effects_clear(&w->effects);
}

static void step(struct world *w, const struct event *ev)
{
    SIM_CHECK(core_step(w->core, ev, &w->effects) == 0, "event %d failed", (int)ev->kind);
    carry_out(w);
}

static void request(struct world *w, uint32_t connection, const struct publish *p, uint32_t client)
{
    size_t bytes = (size_t)p->message_count * RECORD_BYTES;
    uint8_t *records = arena_take(&w->records, bytes);
    const char *target = p->to_nowhere ? "nowhere" : "jobs";
    struct fanq_request r = {.op = FANQ_OP_SEND,
                             .id = p->id,
                             .publish = {.target = {(const uint8_t *)target, strlen(target)},
                                         .flags = p->wants_ids ? FANQ_PUBLISH_WANT_IDS : 0,
                                         .records = {records, bytes, p->message_count}}};

    SIM_CHECK(records != NULL, "out of memory");
    memset(records, 0, bytes);
    for (uint32_t i = 0; i < p->message_count; i++) {
        uint32_t message = client << 24 | (p->first_message + i);

        records[i * RECORD_BYTES] = 0xc6;
        records[i * RECORD_BYTES + 4] = RECORD_BYTES - FANQ_RECORD_HEADER_BYTES;
        memcpy(records + i * RECORD_BYTES + FANQ_RECORD_PLAIN_BYTES, &message, sizeof(message));
    }
    step(w, &(struct event){.kind = EVENT_REQUEST, .request = {connection, &r}});
}

static void take_requests(struct world *w, uint32_t connection)
{
    struct wire *wire = &w->wires[connection];
    uint32_t count = rng_below(&w->rng, wire->request_count + 1);

    if (w->calm)
        count = wire->request_count;
    for (uint32_t i = 0; i < count; i++)
        request(w, connection, &w->clients[wire->client].publishes[wire->requests[i]],
                (uint32_t)wire->client);
    wire->request_count -= count;
    memmove(wire->requests, wire->requests + count, wire->request_count * sizeof(wire->requests[0]));
}

static void notice_end(struct world *w, uint32_t connection)
{
    step(w, &(struct event){.kind = EVENT_DISCONNECT, .connection = connection});
    w->wires[connection] = (struct wire){.client = NOBODY};
}

/* ---- connections ---- */

static void cut(struct world *w, struct client *c)
{
    struct wire *wire = &w->wires[c->connection];

    wire->cut = true;
    wire->answer_count = 0;
    c->connection = NOBODY;
    w->cuts++;
}

static void connect_client(struct world *w, int index)
{
    struct client *c = &w->clients[index];
    bool known = core_producer_known(w->core, c->id);
    int connection = 0;

    while (connection < CONNECTIONS && w->wires[connection].client != NOBODY)
        connection++;
    if (connection == CONNECTIONS)
        return;
    w->wires[connection].client = index;
    c->connection = connection;
    step(w, &(struct event){.kind = EVENT_PRODUCER, .producer = {(uint32_t)connection, c->id}});
    send_again(w, c, known);
}

/* ---- turns ---- */

static void client_acts(struct world *w, int index)
{
    struct client *c = &w->clients[index];

    if (c->connection == NOBODY) {
        if (w->calm || rng_chance(&w->rng, 50))
            connect_client(w, index);
        return;
    }
    take_answers(w, &w->wires[c->connection]);
    if (w->calm)
        return;
    for (uint32_t n = rng_skewed(&w->rng, 0, 8); n > 0 && waiting_count(c) < UNDER_WAY_MAX / 2; n--)
        publish_new(w, c);
    if (c->publish_count > 0 && rng_chance(&w->rng, 1)) { /* one is given up */
        struct publish *p = &c->publishes[rng_below(&w->rng, c->publish_count)];

        if (p->outcome == WAITING)
            p->outcome = OPEN;
    }
    if (rng_chance(&w->rng, w->cut_percent))
        cut(w, c);
}

static void checkpoint(struct world *w)
{
    bool ended = false;

    if (w->synced < w->appended || !rng_chance(&w->rng, 5))
        return;
    core_checkpoint_free(&w->checkpoint);
    SIM_CHECK(core_checkpoint_begin(w->core, &w->checkpoint) == 0, "out of memory");
    while (!ended)
        SIM_CHECK(core_checkpoint_slice(w->core, &w->checkpoint, UINT64_MAX, &ended) == 0, "out of memory");
    w->checkpoint_begin = w->appended;
}

static void turn(struct world *w)
{
    uint64_t room = w->calm || rng_chance(&w->rng, 80) ? UINT64_MAX : rng_below(&w->rng, 100);
    uint64_t ms = rng_skewed(&w->rng, 0, 100);

    w->now_ms += ms;
    w->wall_ms += ms;
    step(w, &(struct event){.kind = EVENT_TURN, .turn = {w->now_ms, w->wall_ms, room}});
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        if (w->wires[i].client == NOBODY)
            continue;
        take_requests(w, i);
        if (w->wires[i].cut && rng_chance(&w->rng, 30))
            notice_end(w, i);
    }
    for (int i = 0; i < CLIENTS; i++)
        client_acts(w, i);
    step(w, &(struct event){.kind = EVENT_COMMIT});
    arena_reset(&w->records);
    checkpoint(w);
    if (w->synced < w->appended && (w->calm || rng_chance(&w->rng, w->sync_percent))) {
        w->synced += 1 + rng_below(&w->rng, (uint32_t)(w->appended - w->synced));
        step(w, &(struct event){.kind = EVENT_SYNCED, .synced = w->synced});
    }
    step(w, &(struct event){.kind = EVENT_SERVE});
    if (rng_chance(&w->rng, 5))
        core_check(w->core);
}

/* ---- what is in the log ---- */

static const struct publish *publish_with(const struct client *c, uint32_t message)
{
    uint32_t low = 0, high = c->publish_count;

    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;

        if (c->publishes[middle].first_message <= message)
            low = middle;
        else
            high = middle;
    }
    return &c->publishes[low];
}

static void log_is_right(const struct world *w)
{
    static bool seen[CLIENTS][PUBLISHES_MAX * BATCH_MAX];
    uint32_t next[CLIENTS] = {0};

    memset(seen, 0, sizeof(seen));
    for (size_t i = 0; i < w->log.block_count; i++) {
        const uint8_t *at = w->log.blocks[i].records;

        for (uint32_t n = 0; n < w->log.blocks[i].block.count; n++, at += RECORD_BYTES) {
            uint32_t message, client;

            memcpy(&message, at + FANQ_RECORD_PLAIN_BYTES, sizeof(message));
            client = message >> 24;
            message &= 0xffffff;
            SIM_CHECK(!seen[client][message], "message %u of client %u is there twice", message, client);
            SIM_CHECK(message >= next[client], "message %u of client %u is behind message %u", message,
                      client, next[client] - 1);
            seen[client][message] = true;
            next[client] = message + 1;
            SIM_CHECK(publish_with(&w->clients[client], message)->outcome != REFUSED,
                      "message %u of client %u was refused, and is there", message, client);
        }
    }
    for (uint32_t client = 0; client < CLIENTS; client++)
        for (uint32_t message = 0; message < w->clients[client].message_count; message++)
            SIM_CHECK(seen[client][message] || publish_with(&w->clients[client], message)->outcome != APPLIED,
                      "message %u of client %u is lost", message, client);
}

/* ---- crashes ---- */

static struct core *core_begin(struct world *w)
{
    struct core *core;

    SIM_CHECK(core_new(&w->options, &core) == 0, "no core");
    SIM_CHECK(core_step(core,
                        &(struct event){.kind = EVENT_TURN, .turn = {w->now_ms, w->wall_ms, UINT64_MAX}},
                        &w->effects) == 0,
              "no turn");
    return core;
}

static void crash(struct world *w)
{
    uint64_t kept = w->synced + rng_below(&w->rng, (uint32_t)(w->appended - w->synced + 1)), begin = 0;

    core_free(w->core);
    effects_clear(&w->effects);
    crash_log_cut(&w->log, kept);
    w->appended = w->synced = kept;
    w->options.epoch++;
    for (int i = 0; i < CLIENTS; i++)
        w->clients[i].connection = NOBODY;
    for (int i = 0; i < CONNECTIONS; i++)
        w->wires[i] = (struct wire){.client = NOBODY};
    w->core = core_begin(w);
    if (w->checkpoint_begin > 0 && rng_chance(&w->rng, 80)) {
        SIM_CHECK(core_replay(w->core, w->checkpoint.facts, w->checkpoint.bytes) == 0,
                  "a checkpoint is not taken");
        begin = w->checkpoint_begin;
    }
    crash_log_replay(&w->log, begin, w->core);
    SIM_CHECK(core_replay_end(w->core, w->appended + 1) == 0, "no end of replay");
    core_check(w->core);
    log_is_right(w);
    w->crashes++;
}

/* ---- runs ---- */

static void make_queue(struct world *w)
{
    struct fanq_request r = {.op = FANQ_OP_QUEUE_CREATE, .queue = {.name = {(const uint8_t *)"jobs", 4}}};

    step(w, &(struct event){.kind = EVENT_REQUEST, .request = {0, &r}});
    step(w, &(struct event){.kind = EVENT_COMMIT});
    w->synced = w->appended;
    SIM_CHECK(core_step(w->core, &(struct event){.kind = EVENT_SYNCED, .synced = w->synced}, &w->effects) ==
                  0,
              "not synced");
    effects_clear(&w->effects);
}

static void world_begin(struct world *w)
{
    w->rng.state = current_seed;
    w->options = sim_options_default(current_seed).core;
    w->options.durable = true;
    w->options.auto_create = false;
    w->options.view = (struct view){&w->log, crash_log_block};
    w->options.connections_max = CONNECTIONS;
    w->options.producer_ms_max = rng_chance(&w->rng, 20) ? FORGET_SOON_MS : 1000000000;
    w->now_ms = 1000;
    w->wall_ms = 1700000000000;
    w->cut_percent = rng_between(&w->rng, 1, 20);
    w->crash_percent = rng_between(&w->rng, 0, 3);
    w->refuse_percent = rng_chance(&w->rng, 50) ? rng_between(&w->rng, 1, 60) : 0;
    w->sync_percent = rng_between(&w->rng, 10, 100);
    for (int i = 0; i < CONNECTIONS; i++)
        w->wires[i].client = NOBODY;
    for (int i = 0; i < CLIENTS; i++) {
        w->clients[i].connection = NOBODY;
        w->clients[i].next_id = 1;
        memset(w->clients[i].id, 'a' + i, FANQ_PRODUCER_BYTES);
    }
    w->core = core_begin(w);
    make_queue(w);
}

static bool anybody_waits(const struct world *w)
{
    for (int i = 0; i < CLIENTS; i++)
        if (waiting_count(&w->clients[i]) > 0)
            return true;
    return false;
}

static void count_outcomes(struct world *w)
{
    for (int i = 0; i < CLIENTS; i++) {
        for (uint32_t n = 0; n < w->clients[i].publish_count; n++) {
            w->applied += w->clients[i].publishes[n].outcome == APPLIED;
            w->refused += w->clients[i].publishes[n].outcome == REFUSED;
            w->open += w->clients[i].publishes[n].outcome == OPEN;
        }
    }
}

static void run(struct world *w)
{
    world_begin(w);
    for (uint32_t i = 0; i < current_ops; i++) {
        turn(w);
        if (rng_chance(&w->rng, w->crash_percent))
            crash(w);
    }
    w->calm = true;
    for (uint32_t turns = 0; anybody_waits(w); turns++) {
        SIM_CHECK(turns < 1000, "an answer never comes");
        turn(w);
    }
    log_is_right(w);
    crash(w);
    count_outcomes(w);
}

static struct world *world_new(void)
{
    struct world *w = calloc(1, sizeof(*w));

    SIM_CHECK(w != NULL, "out of memory");
    effects_init(&w->effects);
    arena_init(&w->records);
    return w;
}

static void world_free(struct world *w)
{
    core_free(w->core);
    effects_close(&w->effects);
    arena_close(&w->records);
    crash_log_close(&w->log);
    core_checkpoint_free(&w->checkpoint);
    free(w);
}

static void on_abort(int signal_number)
{
    fprintf(stderr, "repeat with: build/tests/sim/retry --seeds %lu-%lu --ops %u\n", current_seed,
            current_seed, current_ops);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"seeds", required_argument, NULL, 'S'}, {"ops", required_argument, NULL, 'o'}, {0}};
    unsigned long first = 1, last = 1;
    struct world total = {0};
    int choice;

    current_ops = 300;
    while ((choice = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (choice == 'S' && sscanf(optarg, "%lu-%lu", &first, &last) == 2 && first <= last)
            continue;
        if (choice != 'o') {
            fputs("usage: retry [--seeds FIRST-LAST] [--ops TURNS]\n", stderr);
            return 2;
        }
        current_ops = (uint32_t)strtoul(optarg, NULL, 0);
    }
    signal(SIGABRT, on_abort);
    signal(SIGSEGV, on_abort);
    for (current_seed = first; current_seed <= last; current_seed++) {
        struct world *w = world_new();

        run(w);
        total.crashes += w->crashes;
        total.cuts += w->cuts;
        total.repeats += w->repeats;
        total.applied += w->applied;
        total.refused += w->refused;
        total.open += w->open;
        world_free(w);
    }
    printf("%lu seeds of %u turns: %lu connections cut, %lu crashes; %lu publishes repeated, %lu applied, "
           "%lu refused, %lu open\n",
           last - first + 1, current_ops, total.cuts, total.crashes, total.repeats, total.applied,
           total.refused, total.open);
    return 0;
}
