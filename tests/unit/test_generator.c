/* The load generator over the relay of the ceiling: no broker is needed to see that it counts and checks
 * rightly. */
#include "generator.h"

#include "ceiling.h"
#include "payload.h"
#include "proto/fanq_error.h"
#include "tests/lib/unit.h"

enum { SUBSCRIBERS = 3 };

static struct bench_error error;

/* Counts, and fails at the call that it is told to. */
struct marks {
    int count;
    int fails_at;
};

static int mark(void *context)
{
    struct marks *marks = context;

    return ++marks->count == marks->fails_at ? FANQ_ERR_IO : 0;
}

static void run_over_relay(size_t size, uint32_t batch, uint32_t write_bytes, uint32_t consumer_count)
{
    struct generator_options options = {.name = "t",
                                        .relay = true,
                                        .latency = true,
                                        .subscriber_count = SUBSCRIBERS,
                                        .consumer_count = consumer_count,
                                        .batch = batch,
                                        .size = size};
    struct generator_round round = {.warmup_ms = 5, .measured_ms = 20};
    struct generator_figures figures;
    struct generator *generator;
    struct ceiling ceiling;
    double overhead;

    assert_int_equal(ceiling_start_relay(&ceiling, SUBSCRIBERS, &error), 0);
    ceiling_set_write_bytes(&ceiling, write_bytes);
    options.url = ceiling.process.url;
    assert_int_equal(generator_new(&options, &error, &generator), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(generator_run(generator, &round, &figures), 0);
        assert_true(figures.round_delivered > 0);
        assert_int_equal(figures.round_delivered % (SUBSCRIBERS * batch), 0);
        overhead =
            (double)(figures.round_bytes - figures.round_delivered * size) / (double)figures.round_delivered;
        assert_true(overhead > 6 && overhead < 6 + 80.0 / batch);
    }
    assert_true(histogram_quantile(generator_latency(generator), 0.5) > 0);
    generator_free(generator);
    ceiling_stop(&ceiling);
}

TEST(every_message_is_counted_once)
{
    run_over_relay(16, 256, 64 * 1024, 1);
    run_over_relay(128, 10, 1000, 2);
    run_over_relay(5, 1, 64 * 1024, 1);
    run_over_relay(100000, 2, 256 * 1024, 2);
}

TEST(the_time_that_counts_is_marked)
{
    struct generator_options options = {
        .name = "t", .relay = true, .subscriber_count = 1, .batch = 10, .size = 32};
    struct marks marks = {0};
    struct generator_round round = {.measured_ms = 5, .mark = mark, .mark_context = &marks};
    struct generator_figures figures;
    struct generator *generator;
    struct ceiling ceiling;

    assert_int_equal(ceiling_start_relay(&ceiling, 1, &error), 0);
    options.url = ceiling.process.url;
    assert_int_equal(generator_new(&options, &error, &generator), 0);
    assert_int_equal(generator_run(generator, &round, &figures), 0);
    assert_int_equal(marks.count, 2);
    for (int fails_at = 1; fails_at <= 2; fails_at++) {
        marks = (struct marks){.fails_at = fails_at};
        assert_int_equal(generator_run(generator, &round, &figures), FANQ_ERR_IO);
    }
    generator_free(generator);
    ceiling_stop(&ceiling);
}

TEST(a_burst_ends_by_itself)
{
    struct generator_options options = {
        .name = "t", .relay = true, .subscriber_count = 1, .batch = 10, .size = 32};
    struct generator *generator;
    struct ceiling ceiling;
    double seconds = 0;

    assert_int_equal(ceiling_start_relay(&ceiling, 1, &error), 0);
    options.url = ceiling.process.url;
    assert_int_equal(generator_new(&options, &error, &generator), 0);
    assert_int_equal(generator_burst(generator, 100000, &seconds), 0);
    assert_true(seconds > 0);
    generator_free(generator);
    ceiling_stop(&ceiling);
}

TEST(a_relay_that_dies_fails_the_round)
{
    struct generator_options options = {
        .name = "t", .relay = true, .subscriber_count = 1, .batch = 10, .size = 32};
    struct generator_round round = {.warmup_ms = 5, .measured_ms = 10};
    struct generator_figures figures;
    struct generator *generator;
    struct ceiling ceiling;

    assert_int_equal(ceiling_start_relay(&ceiling, 1, &error), 0);
    options.url = ceiling.process.url;
    assert_int_equal(generator_new(&options, &error, &generator), 0);
    ceiling_stop(&ceiling);
    assert_int_not_equal(generator_run(generator, &round, &figures), 0);
    assert_int_not_equal(error.text[0], '\0');
    generator_free(generator);
}

/* One flipped bit anywhere, or another place in the row, is seen. */
TEST(a_body_is_itself_only_when_whole_and_in_place)
{
    static const size_t sizes[] = {16, 17, 128, 1000};
    uint8_t body[1000];

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t size = sizes[i];

        payload_fill(body, size, 7);
        payload_stamp(body, size, payload_stamp_of(2, 99));
        assert_true(payload_is(body, size, payload_stamp_of(2, 99)));
        assert_false(payload_is(body, size, payload_stamp_of(2, 100)));
        assert_false(payload_is(body, size, payload_stamp_of(1, 99)));
        for (size_t bit = 0; bit < 8 * size; bit++) {
            body[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_false(payload_is(body, size, payload_stamp_of(2, 99)));
            body[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
    payload_stamp(body, 2, 0x1234567);
    assert_true(payload_is(body, 2, 0x7654567));
    assert_false(payload_is(body, 2, 0x1234568));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_is_counted_once),
        cmocka_unit_test(the_time_that_counts_is_marked),
        cmocka_unit_test(a_burst_ends_by_itself),
        cmocka_unit_test(a_body_is_itself_only_when_whole_and_in_place),
        cmocka_unit_test(a_relay_that_dies_fails_the_round), /* last: the error stays */
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
