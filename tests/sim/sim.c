#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIM_SPOIL_BYTES = 64 * 1024 }; /* how much of a chunk of requests is spoilt at the end of a turn */

static bool sim_view_block(void *context, uint64_t stream, uint64_t seq, struct block *ret_block);

/* Both ways of asking say the same. */
static void sim_mark_wanted(void *core, uint64_t stream, uint64_t first, uint64_t end, uint64_t *bits)
{
    uint64_t row_first, row_end = first;

    core_mark_wanted(core, stream, first, end, bits);
    for (uint64_t seq = first; seq < end; seq++) {
        bool marked = (bits[(seq - first) / 64] >> ((seq - first) % 64) & 1) != 0;

        if (seq >= row_end && !core_wanted(core, stream, seq, end, &row_first, &row_end))
            row_first = row_end = end;
        SIM_CHECK(marked == (seq >= row_first && seq < row_end), "message %lu of stream %lu is %s wanted",
                  seq, stream, marked ? "suddenly" : "not");
    }
}

_Noreturn void sim_fail(const char *format, ...)
{
    va_list arguments;

    fflush(stdout);
    fputs("\nsim: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    abort();
}

struct sim_options sim_options_default(uint64_t seed)
{
    return (struct sim_options){
        .seed = seed,
        .tail_bytes_max = 64 * 1024 * 1024,
        .core = {.epoch = 1,
                 .hash_seed = seed,
                 .account = "000000000000",
                 .region = "us-east-1",
                 .connections_max = 16,
                 .queues_max = 1000,
                 .topics_max = 1000,
                 .subscriptions_max = 10000,
                 .producers_max = 1000,
                 .producer_ms_max = 1000 * 1000,
                 .waiters_per_connection_max = 1000,
                 .waits_max = 1000000,
                 .in_flight_per_queue_max = 120000,
                 .serve_bytes_max = 16 * 1024 * 1024,
                 .ephemeral_backlog_messages_max = 100000,
                 .ephemeral_backlog_bytes_max = 64 * 1024 * 1024},
    };
}

struct sim *sim_new(const struct sim_options *options)
{
    struct sim *s = calloc(1, sizeof(*s));
    struct tail_options tail = {.memory_bytes_max = options->tail_bytes_max,
                                .segment_bytes = 16 * 1024 * 1024,
                                .epoch = options->core.epoch};

    SIM_CHECK(s != NULL, "out of memory");
    s->options = *options;
    s->rng.state = options->seed ^ 0x5151;
    s->now_ms = 1000;
    s->wall_ms = 1700000000000;
    s->room_bytes_max = UINT64_MAX;
    s->options.core.view = (struct view){s, sim_view_block};
    effects_init(&s->effects);
    arena_init(&s->requests);
    SIM_CHECK(tail_new(&tail, &s->tail) == 0, "no tail");
    SIM_CHECK(core_new(&s->options.core, &s->core) == 0, "no core");
    return s;
}

void sim_free(struct sim *s)
{
    core_free(s->core);
    tail_free(s->tail);
    effects_close(&s->effects);
    arena_close(&s->requests);
    free(s);
}

/* ---- messages that are not in memory ---- */

/* A block leaves memory at an age of its own, or never. */
static bool block_left_memory(const struct sim *s, uint64_t stream, const struct block *block)
{
    uint64_t lot = rng_mix(s->options.seed ^ stream << 32 ^ block->first_seq);

    return lot % 100 < s->options.absent_percent &&
           block->time_ms + (lot >> 32) % (s->options.absent_age_ms_max + 1) <= s->wall_ms;
}

static bool block_is_cached(const struct sim *s, uint64_t stream, uint64_t first_seq)
{
    for (uint32_t i = 0; i < s->resident_count; i++)
        if (s->residents[i].stream == stream && s->residents[i].first_seq == first_seq)
            return true;
    return false;
}

static bool sim_view_block(void *context, uint64_t stream, uint64_t seq, struct block *ret_block)
{
    struct sim *s = context;

    if (!tail_block(s->tail, stream, seq, ret_block))
        return false;
    if (s->options.absent_percent > 0 && block_left_memory(s, stream, ret_block) &&
        !block_is_cached(s, stream, ret_block->first_seq))
        ret_block->records = NULL;
    return true;
}

bool sim_is_resident(struct sim *s, uint64_t stream, uint64_t seq)
{
    struct block block;

    SIM_CHECK(sim_view_block(s, stream, seq, &block) && block.first_seq <= seq,
              "the tail has no message %lu of stream %lu", seq, stream);
    return block.records != NULL;
}

bool sim_is_fetching(const struct sim *s, uint64_t stream, uint64_t seq)
{
    for (uint32_t i = 0; i < s->fetch_count; i++) {
        const struct sim_fetch *f = &s->fetches[i];

        if (f->stream == stream && f->first_seq <= seq && seq - f->first_seq < f->count)
            return true;
    }
    return false;
}

static void fetch_start(struct sim *s, uint64_t stream, uint64_t first_seq, uint64_t count)
{
    SIM_CHECK(count > 0, "a fetch of nothing");
    SIM_CHECK(s->fetch_count < SIM_FETCHES_MAX, "too many fetches");
    s->fetches[s->fetch_count++] = (struct sim_fetch){
        stream, first_seq, count, s->now_ms + rng_between(&s->rng, 0, s->options.fetch_delay_ms_max)};
}

static void resident_add(struct sim *s, uint64_t stream, uint64_t first_seq)
{
    SIM_CHECK(s->resident_count < SIM_RESIDENTS_MAX, "too many blocks fetched");
    s->residents[s->resident_count++] =
        (struct sim_resident){stream, first_seq, s->turn + rng_skewed(&s->rng, 0, 50)};
}

static void fetch_end(struct sim *s, const struct sim_fetch *fetch)
{
    uint64_t end = fetch->first_seq + fetch->count;
    struct event ev = {.kind = EVENT_RESIDENT, .resident = {fetch->stream, fetch->first_seq, fetch->count}};
    struct block block;

    for (uint64_t seq = fetch->first_seq; seq < end; seq = block.first_seq + block.count) {
        if (!tail_block(s->tail, fetch->stream, seq, &block) || block.first_seq >= end)
            break; /* nobody needs the rest any more */
        if (!block_is_cached(s, fetch->stream, block.first_seq))
            resident_add(s, fetch->stream, block.first_seq);
    }
    SIM_CHECK(core_step(s->core, &ev, &s->effects) == 0, "RESIDENT failed");
}

static void fetches_end_due(struct sim *s)
{
    for (uint32_t i = 0; i < s->fetch_count;) {
        struct sim_fetch fetch = s->fetches[i];

        if (fetch.due_ms > s->now_ms) {
            i++;
            continue;
        }
        s->fetches[i] = s->fetches[--s->fetch_count];
        fetch_end(s, &fetch);
    }
}

static void residents_leave(struct sim *s)
{
    for (uint32_t i = 0; i < s->resident_count;)
        if (s->residents[i].until_turn < s->turn)
            s->residents[i] = s->residents[--s->resident_count];
        else
            i++;
}

/* ---- deliveries under way ---- */

static uint64_t bytes_hash(const uint8_t *data, size_t length)
{
    uint64_t hash = length;

    for (size_t i = 0; i < length; i += 1 + length / 64)
        hash = rng_mix(hash ^ data[i]);
    return hash;
}

static void delivery_pin(struct sim *s, const struct fanq_delivery *delivery)
{
    for (uint32_t i = 0; i < delivery->slice_count && s->pin_count < SIM_PINS_MAX; i++) {
        const struct fanq_records *records = &delivery->slices[i].records;

        if (!rng_chance(&s->rng, s->options.slow_percent))
            continue;
        tail_pin(s->tail, records->data, records->length);
        s->pins[s->pin_count++] =
            (struct sim_pin){records->data, records->length, bytes_hash(records->data, records->length),
                             s->turn + rng_skewed(&s->rng, 1, 30)};
    }
}

static void pins_end_due(struct sim *s)
{
    for (uint32_t i = 0; i < s->pin_count;) {
        struct sim_pin pin = s->pins[i];

        if (pin.until_turn > s->turn) {
            i++;
            continue;
        }
        SIM_CHECK(bytes_hash(pin.data, pin.length) == pin.hash, "pinned bytes changed");
        tail_unpin(s->tail, pin.data, pin.length);
        s->pins[i] = s->pins[--s->pin_count];
    }
}

/* ---- effects ---- */

static void commit_append(struct sim *s, const struct commit *commit)
{
    SIM_CHECK(commit->number == s->appended + 1, "commit %lu follows %lu", commit->number, s->appended);
    SIM_CHECK(tail_append(s->tail, commit, NULL) == 0, "the tail refuses what it had room for");
    if (s->appended == s->synced)
        s->sync_turn = s->turn + rng_between(&s->rng, 0, s->options.sync_delay_turns_max);
    s->appended = commit->number;
}

static void effect_carry_out(struct sim *s, const struct effect *effect)
{
    switch (effect->kind) {
    case EFFECT_REPLY:
        break;
    case EFFECT_DELIVER:
        delivery_pin(s, &effect->reply.deliver);
        break;
    case EFFECT_COMMIT:
        commit_append(s, &effect->commit);
        break;
    case EFFECT_TRIM:
        tail_trim(s->tail, effect->trim.stream, effect->trim.seq);
        break;
    case EFFECT_STREAM_END:
        tail_stream_end(s->tail, effect->trim.stream);
        break;
    case EFFECT_FETCH:
        fetch_start(s, effect->fetch.stream, effect->fetch.first_seq, effect->fetch.count);
        break;
    case EFFECT_CLOSE:
        sim_fail("a connection is closed, but nobody is a producer");
    }
}

void sim_carry_out(struct sim *s)
{
    for (size_t i = 0; i < s->effects.count; i++) {
        s->options.on_effect(s->options.context, &s->effects.items[i]);
        effect_carry_out(s, &s->effects.items[i]);
    }
    effects_clear(&s->effects);
}

/* Steps an event while memory is short, which requests are spared: they would be refused. (And ends of
 * connections, of a durable core: what a push had may come back in the next turn then.) Whether it was
 * applied all the same; else it must be stepped again. */
static bool step_without_memory(struct sim *s, const struct event *ev)
{
    int err;

    if (ev->kind == EVENT_REQUEST || (ev->kind == EVENT_DISCONNECT && s->options.core.durable))
        return false;
    if (!rng_chance(&s->rng, s->options.nomem_percent))
        return false;
    s->options.fail_malloc_at(rng_between(&s->rng, 1, 4));
    err = core_step(s->core, ev, &s->effects);
    s->options.fail_malloc_at(0);
    SIM_CHECK(err == 0 || err == FANQ_ERR_NOMEM, "event %d failed: %d", (int)ev->kind, err);
    return err == 0;
}

static void step(struct sim *s, const struct event *ev)
{
    if (!step_without_memory(s, ev))
        SIM_CHECK(core_step(s->core, ev, &s->effects) == 0, "event %d failed", (int)ev->kind);
    if (!rng_chance(&s->rng, s->options.late_effects_percent))
        sim_carry_out(s);
}

/* ---- a turn ---- */

/* Some blocks are looked at; what nobody wants is forgotten, and what little is left of others moves. */
static void tail_swept(struct sim *s)
{
    const struct tail_wanted wanted = {s->core, sim_mark_wanted};

    if (rng_chance(&s->rng, s->options.sweep_percent))
        (void)tail_sweep(s->tail, &wanted, rng_skewed(&s->rng, 1, 200));
}

/* Where memory is to be short, effects begin without any. */
static void effects_shrink(struct sim *s)
{
    uint64_t generation;

    sim_carry_out(s);
    generation = s->effects.generation;
    effects_close(&s->effects);
    effects_init(&s->effects);
    s->effects.generation = generation + 1;
}

void sim_turn(struct sim *s)
{
    uint64_t room = tail_room(s->tail);

    s->turn++;
    if (rng_chance(&s->rng, s->options.nomem_percent))
        effects_shrink(s);
    s->room_bytes = room < s->room_bytes_max ? room : s->room_bytes_max;
    residents_leave(s);
    pins_end_due(s);
    step(s, &(struct event){.kind = EVENT_TURN, .turn = {s->now_ms, s->wall_ms, s->room_bytes}});
    fetches_end_due(s);
}

void sim_request(struct sim *s, uint32_t connection, const struct fanq_request *request)
{
    step(s, &(struct event){.kind = EVENT_REQUEST, .request = {connection, request}});
}

void sim_connection_event(struct sim *s, enum event_kind kind, uint32_t connection)
{
    sim_carry_out(s); /* what was said before stands before it */
    step(s, &(struct event){.kind = kind, .connection = connection});
}

void sim_drain(struct sim *s)
{
    step(s, &(struct event){.kind = EVENT_DRAIN});
}

/* The core may not look at the records of requests any more. */
static void requests_spoil(struct sim *s)
{
    for (struct arena_chunk *chunk = s->requests.first; chunk != NULL; chunk = chunk->next)
        memset((uint8_t *)(chunk + 1), 0xdb, chunk->used < SIM_SPOIL_BYTES ? chunk->used : SIM_SPOIL_BYTES);
    arena_reset(&s->requests);
}

static void sync_when_due(struct sim *s)
{
    if (s->appended == s->synced || s->turn < s->sync_turn || s->sync_stopped)
        return;
    /* What came while the sync ran is the next sync. */
    s->synced = s->options.sync_delay_turns_max == 0 || rng_chance(&s->rng, 50)
                    ? s->appended
                    : s->synced + 1 + rng_below(&s->rng, (uint32_t)(s->appended - s->synced));
    s->sync_turn = s->turn + rng_between(&s->rng, 0, s->options.sync_delay_turns_max);
    step(s, &(struct event){.kind = EVENT_SYNCED, .synced = s->synced});
}

void sim_turn_end(struct sim *s)
{
    step(s,
         &(struct event){.kind = EVENT_COMMIT, .always = s->options.core.durable && rng_chance(&s->rng, 2)});
    sim_carry_out(s);
    requests_spoil(s);
    sync_when_due(s);
    if (rng_chance(&s->rng, s->options.nomem_percent))
        effects_shrink(s);
    step(s, &(struct event){.kind = EVENT_SERVE});
    sim_carry_out(s);
    tail_swept(s);
}

uint8_t *sim_request_bytes(struct sim *s, size_t size)
{
    uint8_t *bytes = arena_take(&s->requests, size);

    SIM_CHECK(bytes != NULL, "out of memory");
    return bytes;
}

void sim_advance_ms(struct sim *s, uint64_t ms)
{
    s->now_ms += ms;
    s->wall_ms += ms;
}

void sim_faults_stop(struct sim *s)
{
    s->options.absent_percent = 0;
    s->options.sync_delay_turns_max = 0;
    s->options.late_effects_percent = 0;
    s->options.slow_percent = 0;
    s->options.nomem_percent = 0;
    s->options.fetch_delay_ms_max = 0;
    s->room_bytes_max = UINT64_MAX;
    s->sync_turn = 0;
    for (uint32_t i = 0; i < s->pin_count; i++)
        s->pins[i].until_turn = 0;
    for (uint32_t i = 0; i < s->fetch_count; i++)
        s->fetches[i].due_ms = 0;
}
