/* A sweep goes round over all blocks. It works some 2 ms a turn, so that nobody waits for it for long; without traffic the
 * turns follow one another until the round is over. A round that found little to forget is followed by a rest, which is
 * longer than the round, so that a broker full of messages that are all wanted does not spend its time on looking. */
#include "upkeep.h"

#include "log/log.h"
#include "shell.h"

enum {
    SWEEP_NS = 2 * 1000 * 1000, /* a turn */
    SWEEP_BLOCKS = 16,          /* between two looks at the clock */
    REST_MS_MIN = 250,
    REST_ROUNDS = 4, /* as long as so many rounds */
    WORTHWHILE = 8   /* a round that swept one in so many bytes was */
};

static void mark_wanted(void *core, uint64_t stream, uint64_t first, uint64_t end, uint64_t *bits)
{
    core_mark_wanted(core, stream, first, end, bits);
}

static void round_begin(struct upkeep *u)
{
    u->sweeping = true;
    u->spent_ns = 0;
}

static void round_end(struct shell *s)
{
    struct upkeep *u = &s->upkeep;
    struct tail_figures figures;
    uint64_t swept, rest_ms = u->spent_ns / 1000000 * REST_ROUNDS;

    tail_figures(s->tail, &figures);
    swept = figures.swept_bytes - u->swept_bytes;
    u->swept_bytes = figures.swept_bytes;
    u->sweeping = false;
    if (s->log != NULL)
        log_swept(s->log, s->now_ms);
    if (swept < figures.live_bytes / WORTHWHILE)
        u->rest_until_ms = s->now_ms + (rest_ms > REST_MS_MIN ? rest_ms : REST_MS_MIN);
}

static bool wants_sweep(const struct shell *s)
{
    return s->log != NULL ? log_wants_sweep(s->log, s->now_ms) : tail_wants_sweep(s->tail);
}

void upkeep_run(struct shell *s)
{
    const struct tail_wanted wanted = {s->core, mark_wanted};
    struct upkeep *u = &s->upkeep;
    uint64_t start_ns, spent_ns;
    bool ended;

    if (!u->sweeping && s->now_ms >= u->rest_until_ms && wants_sweep(s))
        round_begin(u);
    if (!u->sweeping)
        return;
    start_ns = uv_hrtime();
    do {
        ended = tail_sweep(s->tail, &wanted, SWEEP_BLOCKS);
        spent_ns = uv_hrtime() - start_ns;
    } while (!ended && spent_ns < SWEEP_NS);
    u->spent_ns += spent_ns;
    if (ended)
        round_end(s);
}

uint64_t upkeep_next_ms(const struct shell *s)
{
    if (s->upkeep.sweeping)
        return 0;
    return wants_sweep(s) ? s->upkeep.rest_until_ms : UINT64_MAX;
}
