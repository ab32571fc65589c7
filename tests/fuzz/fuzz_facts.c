/* Facts: what decodes is written again as it was; and whatever facts a core is told, it refuses them or comes to a state that
 * holds together, of which a checkpoint makes the same once more. */
#include "fuzz.h"

#include <string.h>

#include "core/core.h"
#include "core/fact.h"

enum { INPUT_BYTES_MAX = 1 << 16, SEQ_MAX = 1 << 20 }; /* higher ones would only take memory */

static bool no_block(void *context, uint64_t stream, uint64_t seq, struct block *ret_block)
{
    return false;
}

/* Written, read, and written once more, it is the same bytes. (What was read may not be: a number can be longer than it must.) */
static void check_written_again(const struct fact *fact)
{
    struct facts once = {0}, twice = {0};
    struct fact_cursor c;
    struct fact again;

    FUZZ_CHECK(facts_reserve(&once, 1) == 0 && facts_reserve(&twice, 1) == 0);
    facts_add(&once, fact);
    c = fact_cursor_over(once.data, once.length);
    FUZZ_CHECK(fact_next(&c, &again) == 1 && c.at == c.end);
    FUZZ_CHECK(again.kind == fact->kind && again.name_length == fact->name_length);
    facts_add(&twice, &again);
    FUZZ_CHECK(twice.length == once.length && memcmp(twice.data, once.data, once.length) == 0);
    free(once.data);
    free(twice.data);
}

/* Whether all of it is facts, and small enough to be told. */
static bool check_decodes(const uint8_t *data, size_t size)
{
    struct fact_cursor c = fact_cursor_over(data, size);
    struct fact fact;
    bool small = true;
    int found;

    memset(&fact, 0, sizeof(fact));
    while ((found = fact_next(&c, &fact)) == 1) {
        check_written_again(&fact);
        FUZZ_CHECK(c.at <= c.end && fact_name(fact.kind)[0] != '?');
        small = small && fact.seq <= SEQ_MAX && (fact.end <= SEQ_MAX || fact.end == UINT64_MAX) &&
                fact.first <= SEQ_MAX;
    }
    return found == 0 && small;
}

static struct core *make_core(const uint8_t *facts, uint64_t bytes, int *ret_err)
{
    struct core_options options = {.view = {NULL, no_block},
                                   .epoch = 7,
                                   .hash_seed = 1,
                                   .account = "000000000000",
                                   .region = "us-east-1",
                                   .durable = true,
                                   .connections_max = 1,
                                   .producers_max = 2,
                                   .producer_ms_max = 1000};
    struct effects effects;
    struct core *core;

    effects_init(&effects);
    FUZZ_CHECK(core_new(&options, &core) == 0);
    FUZZ_CHECK(core_step(core, &(struct event){.kind = EVENT_TURN, .turn = {1000, 50, 0}}, &effects) == 0);
    effects_close(&effects);
    *ret_err = core_replay(core, facts, bytes);
    if (*ret_err == 0) {
        FUZZ_CHECK(core_replay_end(core, 1) == 0);
        core_check(core);
    }
    return core;
}

static struct core_checkpoint checkpoint_of(const struct core *core)
{
    struct core_checkpoint checkpoint;
    bool ended = false;

    FUZZ_CHECK(core_checkpoint_begin(core, &checkpoint) == 0);
    while (!ended)
        FUZZ_CHECK(core_checkpoint_slice(core, &checkpoint, UINT64_MAX, &ended) == 0);
    return checkpoint;
}

static void check_checkpoint(const struct core *core)
{
    struct core_checkpoint first = checkpoint_of(core), second;
    struct core *again;
    int err;

    again = make_core(first.facts, first.bytes, &err);
    FUZZ_CHECK(err == 0);
    second = checkpoint_of(again);
    FUZZ_CHECK(first.bytes == second.bytes && memcmp(first.facts, second.facts, first.bytes) == 0);
    core_checkpoint_free(&first);
    core_checkpoint_free(&second);
    core_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct core *core;
    int err;

    if (size > INPUT_BYTES_MAX || !check_decodes(data, size))
        return 0;
    core = make_core(data, size, &err);
    FUZZ_CHECK(err == 0 || err == FANQ_ERR_INVALID);
    if (err == 0)
        check_checkpoint(core);
    core_free(core);
    return 0;
}

/* ---- seeds ---- */

static void put(struct facts *facts, struct fact fact)
{
    FUZZ_CHECK(facts_reserve(facts, 1) == 0);
    if (fact.name != NULL)
        fact.name_length = strlen(fact.name);
    facts_add(facts, &fact);
}

static void put_catalogue(struct facts *f)
{
    put(f, (struct fact){.kind = FACT_STREAM_NEXT, .stream = 5});
    put(f, (struct fact){.kind = FACT_STREAM, .stream = 1, .seq = 100});
    put(f,
        (struct fact){.kind = FACT_TOPIC, .stream = 1, .name = "000000000000:us-east-1:t", .created_ms = 9});
    put(f, (struct fact){
               .kind = FACT_QUEUE, .queue_id = 3, .name = "000000000000:us-east-1:a", .visibility_ms = 300});
    put(f,
        (struct fact){
            .kind = FACT_QUEUE, .queue_id = 4, .name = "1:eu:b", .receive_wait_ms = 20, .early_delivery = 1});
    put(f, (struct fact){.kind = FACT_SUBSCRIBED, .stream = 1, .queue_id = 3, .seq = 10});
    put(f, (struct fact){.kind = FACT_OWN, .stream = 2, .queue_id = 3});
}

static void put_producers(struct facts *f)
{
    static const uint8_t ids[3][FANQ_PRODUCER_BYTES] = {"one", "another", "the third"};

    for (int i = 0; i < 3; i++)
        put(f, (struct fact){.kind = FACT_PRODUCER, .producer = ids[i], .seq = 100});
    for (uint64_t first = 5; first < 60; first += 5)
        put(f, (struct fact){.kind = FACT_REFUSED,
                             .producer = ids[2],
                             .first = first,
                             .end = first + 3,
                             .error = 15 + first % 2});
    put(f, (struct fact){.kind = FACT_PRODUCER, .producer = ids[1], .seq = 101});
}

static void put_changes(struct facts *f)
{
    put(f, (struct fact){.kind = FACT_GONE, .stream = 1, .queue_id = 3, .first = 12, .end = 20});
    put(f, (struct fact){.kind = FACT_HELD,
                         .stream = 1,
                         .queue_id = 3,
                         .first = 20,
                         .end = 30,
                         .deliveries = 2,
                         .first_receive_ms = 40,
                         .due_ms = 60});
    put(f, (struct fact){.kind = FACT_HELD,
                         .stream = 1,
                         .queue_id = 3,
                         .first = 15,
                         .end = 25,
                         .deliveries = 3,
                         .first_receive_ms = 40});
    put(f, (struct fact){.kind = FACT_GONE, .stream = 2, .queue_id = 3, .first = 5, .end = 6});
    put(f, (struct fact){.kind = FACT_GONE, .stream = 2, .queue_id = 3, .first = 7, .end = 5000});
    put(f, (struct fact){.kind = FACT_UNSUBSCRIBED, .stream = 1, .queue_id = 3, .seq = 120});
    put(f, (struct fact){.kind = FACT_SUBSCRIBED, .stream = 1, .queue_id = 3, .seq = 130});
}

static void put_ends(struct facts *f)
{
    put(f, (struct fact){.kind = FACT_TOPIC_END, .stream = 1, .seq = 140});
    put(f, (struct fact){.kind = FACT_UNREAD, .stream = 3, .queue_id = 4, .first = 7, .end = 9});
    put(f, (struct fact){.kind = FACT_UNREAD, .stream = 3, .queue_id = 4, .first = 11, .end = UINT64_MAX});
    put(f, (struct fact){.kind = FACT_QUEUE_END, .queue_id = 4});
}

void fuzz_seeds(fuzz_seed_add add)
{
    struct facts facts = {0};

    put_catalogue(&facts);
    add(facts.data, facts.length);
    put_producers(&facts);
    put_changes(&facts);
    add(facts.data, facts.length);
    put_ends(&facts);
    add(facts.data, facts.length);
    free(facts.data);
}
