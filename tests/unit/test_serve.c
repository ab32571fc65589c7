/* Serving when memory is short: what could not be given now is given when the event is stepped again. */
#include <string.h>

#include "core/core.h"
#include "tests/lib/failing_malloc.h"
#include "tests/lib/unit.h"

enum { VISIBILITY_MS = 1000, FAILURES_MAX = 100 };

static const uint8_t record[] = {0xc6, 0, 0, 0, 2, 0, 'a'};

/* One message, in one block. */
static bool one_block(void *context, uint64_t stream, uint64_t seq, struct block *ret_block)
{
    (void)context;
    (void)stream;
    *ret_block = (struct block){
        .first_seq = 0, .count = 1, .bytes = sizeof(record), .time_ms = 1, .arrival = 1, .records = record};
    return seq == 0;
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

/* A broker with a message that may be received, and somebody who waits for it. */
static struct core *core_about_to_deliver(void)
{
    struct fanq_request receive = {.op = FANQ_OP_RECEIVE, .id = 1};
    struct fanq_request send = {.op = FANQ_OP_SEND, .id = 2};
    struct core *c;

    assert_int_equal(core_new(&(struct core_options){.view = {NULL, one_block},
                                                     .epoch = 1,
                                                     .account = "000000000000",
                                                     .region = "us-east-1",
                                                     .auto_create = true,
                                                     .connections_max = 2,
                                                     .queues_max = 2,
                                                     .waiters_per_connection_max = 2,
                                                     .in_flight_per_queue_max = 10},
                              &c),
                     0);
    step(c, &(struct event){.kind = EVENT_TURN, .turn = {1, 1, 1000}});
    receive.receive.queues[0] = bytes_of("jobs");
    receive.receive.queue_count = 1;
    receive.receive.messages_max = 1;
    receive.receive.bytes_max = 1000;
    receive.receive.wait_ms = receive.receive.visibility_ms = VISIBILITY_MS;
    ask(c, &receive);
    send.publish.target = bytes_of("jobs");
    send.publish.records = (struct fanq_records){record, sizeof(record), 1};
    ask(c, &send);
    step(c, &(struct event){.kind = EVENT_COMMIT});
    step(c, &(struct event){.kind = EVENT_SYNCED, .synced = 1});
    return c;
}

static size_t deliveries(const struct effects *out)
{
    size_t count = 0;

    for (size_t i = 0; i < out->count; i++)
        count += out->items[i].kind == EFFECT_DELIVER;
    return count;
}

TEST(nobody_is_forgotten_without_memory)
{
    const struct event serve = {.kind = EVENT_SERVE};
    size_t failures = 0;
    int err = FANQ_ERR_NOMEM;

    for (size_t n = 1; err != 0; n++) {
        struct core *c = core_about_to_deliver();
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
        assert_int_equal(deliveries(&out), 1);
        core_check(c);
        effects_close(&out);
        core_free(c);
    }
    assert_true(failures > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_is_forgotten_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
