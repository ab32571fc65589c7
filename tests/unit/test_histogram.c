#include "histogram.h"

#include "tests/lib/unit.h"

static struct histogram histogram;

TEST(nothing_counted_has_no_quantiles)
{
    histogram_init(&histogram);
    assert_int_equal(histogram_quantile(&histogram, 0.5), 0);
    assert_int_equal(histogram_quantile(&histogram, 1), 0);
}

TEST(small_values_are_exact)
{
    histogram_init(&histogram);
    for (uint64_t value = 1; value <= 1000; value++)
        histogram_add(&histogram, value, 1);
    assert_int_equal(histogram_quantile(&histogram, 0.001), 1);
    assert_int_equal(histogram_quantile(&histogram, 0.5), 500);
    assert_int_equal(histogram_quantile(&histogram, 0.99), 990);
    assert_int_equal(histogram_quantile(&histogram, 1), 1000);
    assert_int_equal(histogram.min, 1);
}

/* At every power of two and its neighbours, where buckets change their width. */
TEST(large_values_are_known_to_three_digits)
{
    for (unsigned bits = 10; bits < 40; bits++)
        for (int beside = -1; beside <= 1; beside++) {
            uint64_t value = (UINT64_C(1) << bits) + (uint64_t)(int64_t)beside;
            uint64_t told;

            histogram_init(&histogram);
            histogram_add(&histogram, value, 1);
            histogram_add(&histogram, UINT64_MAX,
                          1); /* so that the largest counted does not cut the bucket */
            told = histogram_quantile(&histogram, 0.25);
            assert_in_range(told, value, value + value / 512);
        }
}

TEST(values_beyond_the_last_bucket_are_counted_there)
{
    histogram_init(&histogram);
    histogram_add(&histogram, UINT64_MAX, 3);
    assert_int_equal(histogram.count, 3);
    assert_int_equal(histogram.buckets[HISTOGRAM_BUCKETS - 1], 3);
    assert_true(histogram.max == UINT64_MAX);
}

/* A loop that sends every 10 and was stuck for 100 has left out the requests that would have taken 90, 80,
 * ... 10. */
TEST(correction_fills_in_what_was_not_sent)
{
    histogram_init(&histogram);
    histogram_add_corrected(&histogram, 100, 10);
    assert_int_equal(histogram.count, 10);
    for (unsigned value = 10; value <= 100; value += 10)
        assert_int_equal(histogram.buckets[value], 1);
    histogram_add_corrected(&histogram, 5, 10);
    histogram_add_corrected(&histogram, 7, 0);
    assert_int_equal(histogram.count, 12);
}

TEST(merging_is_as_if_all_were_counted_in_one)
{
    static struct histogram parts[2], whole;

    histogram_init(&parts[0]);
    histogram_init(&parts[1]);
    histogram_init(&whole);
    for (uint64_t i = 0; i < 10000; i++) {
        uint64_t value = i * i * i;

        histogram_add(&parts[i % 2], value, i % 3 + 1);
        histogram_add(&whole, value, i % 3 + 1);
    }
    histogram_merge(&parts[0], &parts[1]);
    assert_memory_equal(&parts[0], &whole, sizeof whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_counted_has_no_quantiles),
        cmocka_unit_test(small_values_are_exact),
        cmocka_unit_test(large_values_are_known_to_three_digits),
        cmocka_unit_test(values_beyond_the_last_bucket_are_counted_there),
        cmocka_unit_test(correction_fills_in_what_was_not_sent),
        cmocka_unit_test(merging_is_as_if_all_were_counted_in_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
