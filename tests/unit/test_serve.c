/* Serving in parts: what could not be given now, for want of memory or because it was enough for one turn, is
 * given the next time. */
#include <string.h>

#include "core/core.h"
#include "tests/lib/failing_malloc.h"
#include "tests/lib/unit.h"

enum { VISIBILITY_MS = 1000, FAILURES_MAX = 100, LARGE_BYTES = 256 * 1024, LARGE_COUNT = 100 };

static const uint8_t small[] = {0xc6, 0, 0, 0, 2, 0, 'a'};
static const uint8_t large[LARGE_BYTES] = {0xc6, 0, 3, 0xff, 0xfb};

/* One record a block, all alike: context is that record's struct fanq_records. */
static bool same_block(void *context, uint64_t stream, uint64_t seq, struct block *ret_block)
{
    const struct fanq_records *record = context;

    (void)stream;
    *ret_block = (struct block){.first_seq = seq,
                                .count = 1,
                                .bytes = record->length,
                                .time_ms = 1,
                                .arrival = seq + 1,
                                .records = record->data};
    return true;
}

static struct fanq_bytes bytes_of(const char *text)
{
    return (struct fanq_bytes){(const uint8_t *)text, strlen(text)};
}

static void step(struct core *c, const struct event *ev)
{
    struct effects out;

    effects_init(&out);
    assert_int_equal(core_step(c, ev, &out), 0);
    effects_close(&out);
}

static void ask(struct core *c, const struct fanq_request *r)
{
    step(c, &(struct event){.kind = EVENT_REQUEST, .request = {1, r}});
}

/* A broker with `count` messages that may be received, and as many long polls for one each. */
static struct core *core_about_to_deliver(struct fanq_records *record, uint64_t count)
{
    struct fanq_request receive = {.op = FANQ_OP_RECEIVE, .id = 1};
    struct fanq_request send = {.op = FANQ_OP_SEND, .id = 2};
    struct core *c;

    assert_int_equal(core_new(&(struct core_options){.view = {record, same_block},
                                                     .epoch = 1,
                                                     .account = "000000000000",
                                                     .region = "us-east-1",
                                                     .auto_create = true,
                                                     .connections_max = 2,
                                                     .queues_max = 2,
                                                     .waiters_per_connection_max = LARGE_COUNT,
                                                     .waits_max = LARGE_COUNT,
                                                     .in_flight_per_queue_max = LARGE_COUNT,
                                                     .serve_bytes_max = 16 * 1024 * 1024},
                              &c),
                     0);
    step(c, &(struct event){.kind = EVENT_TURN, .turn = {1, 1, UINT64_MAX}});
    receive.receive.queues[0] = bytes_of("jobs");
    receive.receive.queue_count = 1;
    receive.receive.messages_max = 1;
    receive.receive.bytes_max = LARGE_BYTES;
    receive.receive.wait_ms = 0; /* ends with SERVE, whatever came of it */
    receive.receive.visibility_ms = VISIBILITY_MS;
    send.publish.target = bytes_of("jobs");
    send.publish.records = *record;
    for (uint64_t i = 0; i < count; i++) {
        ask(c, &receive);
        ask(c, &send);
    }
    step(c, &(struct event){.kind = EVENT_COMMIT});
    step(c, &(struct event){.kind = EVENT_SYNCED, .synced = 1});
    return c;
}

static size_t count_kind(const struct effects *out, enum effect_kind kind)
{
    size_t count = 0;

    for (size_t i = 0; i < out->count; i++)
        count += out->items[i].kind == kind;
    return count;
}

TEST(nobody_is_forgotten_without_memory)
{
    const struct event serve = {.kind = EVENT_SERVE};
    struct fanq_records record = {small, sizeof(small), 1};
    size_t failures = 0;
    int err = FANQ_ERR_NOMEM;

    for (size_t n = 1; err != 0; n++) {
        struct core *c = core_about_to_deliver(&record, 1);
        struct effects out;

        assert_true(n < FAILURES_MAX);
        effects_init(&out);
        failing_malloc_fail_at(n);
        err = core_step(c, &serve, &out);
        failing_malloc_fail_at(0);
        if (err != 0) {
            failures++;
            assert_int_equal(err, FANQ_ERR_NOMEM);
            assert_int_equal(core_step(c, &serve, &out), 0);
        }
        assert_int_equal(count_kind(&out, EFFECT_DELIVER), 1);
        core_check(c);
        effects_close(&out);
        core_free(c);
    }
    assert_true(failures > 0);
}

/* Copying and sending all that a thousand long polls may get would hold up everybody else. */
TEST(a_turn_gives_only_so_much)
{
    struct fanq_records record = {large, sizeof(large), 1};
    struct core *c = core_about_to_deliver(&record, LARGE_COUNT);
    size_t given = 0, turns = 0;

    while (given < LARGE_COUNT) {
        struct effects out;

        effects_init(&out);
        turns++;
        step(c, &(struct event){.kind = EVENT_TURN, .turn = {turns, turns, 0}});
        assert_int_equal(core_step(c, &(struct event){.kind = EVENT_SERVE}, &out), 0);
        assert_int_equal(count_kind(&out, EFFECT_REPLY), 0); /* nobody is told that there was nothing */
        assert_in_range(count_kind(&out, EFFECT_DELIVER), 1, 64);
        given += count_kind(&out, EFFECT_DELIVER);
        if (given < LARGE_COUNT)
            assert_int_equal(core_next_ms(c), turns); /* at once */
        core_check(c);
        effects_close(&out);
    }
    assert_int_equal(given, LARGE_COUNT);
    assert_true(turns < 4);
    core_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_is_forgotten_without_memory),
        cmocka_unit_test(a_turn_gives_only_so_much),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
