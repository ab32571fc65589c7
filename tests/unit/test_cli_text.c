#include "text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void durations_have_units(void **state)
{
    static const struct {
        const char *text;
        int64_t ms; /* -1: refused */
    } cases[] = {
        {"0", 0},
        {"500ms", 500},
        {"30s", 30000},
        {"1.5s", 1500},
        {"5m", 300000},
        {"2h", 7200000},
        {"3d", 259200000},
        {"0.25s", 250},
        {"30", -1},
        {"", -1},
        {"s", -1},
        {"-1s", -1},
        {"1.s", -1},
        {"1 s", -1},
        {"1sec", -1},
        {"9223372036854775807ms", INT64_MAX},
        {"9223372036854775808ms", -1},
        {"99999999999999999999ms", -1},
        {"9223372036854775807s", -1},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        int64_t ms = -1;

        assert_int_equal(text_parse_duration(cases[i].text, &ms), cases[i].ms >= 0);
        assert_int_equal(ms, cases[i].ms);
    }
}

static void durations_are_read_as_they_are_written(void **state)
{
    static const uint64_t values[] = {0, 1, 999, 1000, 1500, 60000, 90000, 3600000, 86400000, 86400001};
    char text[TEXT_NUMBER_BYTES];

    for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
        int64_t ms;

        assert_true(text_parse_duration(text_duration(values[i], text), &ms));
        assert_int_equal(ms, values[i]);
    }
}

static void sizes_are_powers_of_1024(void **state)
{
    uint64_t bytes = 7;

    assert_true(text_parse_bytes("512", &bytes) && bytes == 512);
    assert_true(text_parse_bytes("64k", &bytes) && bytes == 65536);
    assert_true(text_parse_bytes("1.5M", &bytes) && bytes == 1572864);
    assert_true(text_parse_bytes("18446744073709551615", &bytes) && bytes == UINT64_MAX);
    bytes = 7;
    assert_false(text_parse_bytes("18446744073709551616", &bytes));
    assert_false(text_parse_bytes("17179869184G", &bytes));
    assert_false(text_parse_bytes("1x", &bytes));
    assert_false(text_parse_bytes("-1", &bytes));
    assert_int_equal(bytes, 7); /* untouched on failure */
}

static void numbers_are_grouped_by_three(void **state)
{
    char text[TEXT_NUMBER_BYTES];

    assert_string_equal(text_grouped(0, text), "0");
    assert_string_equal(text_grouped(999, text), "999");
    assert_string_equal(text_grouped(1000, text), "1,000");
    assert_string_equal(text_grouped(UINT64_MAX, text), "18,446,744,073,709,551,615");
}

static void ages_are_short(void **state)
{
    char text[TEXT_NUMBER_BYTES];

    assert_string_equal(text_age(0, text), "0");
    assert_string_equal(text_age(340, text), "340ms");
    assert_string_equal(text_age(1200, text), "1.2s");
    assert_string_equal(text_age(45000, text), "45s");
    assert_string_equal(text_age(9000000, text), "2.5h");
    assert_string_equal(text_age(86400000 * UINT64_C(40), text), "40d");
}

static void times_are_utc(void **state)
{
    char text[TEXT_TIME_BYTES];

    assert_string_equal(text_time(0, text), "1970-01-01T00:00:00.000Z");
    assert_string_equal(text_time(UINT64_C(1795259651123), text), "2026-11-21T11:14:11.123Z");
    assert_non_null(text_time(UINT64_MAX, text)); /* whatever it is, it fits */
}

static const char *nearest(const char *word, const char *const *candidates)
{
    struct text_nearest found = {.word = word};

    for (; *candidates != NULL; candidates++)
        text_nearest_offer(&found, *candidates);
    return found.best;
}

static void the_nearest_word_is_one_slip_away(void **state)
{
    static const char *const words[] = {"send", "recv", "pub", "purge", "visibility", "orders", NULL};

    assert_string_equal(nearest("snd", words), "send");   /* left out */
    assert_string_equal(nearest("sennd", words), "send"); /* doubled */
    assert_string_equal(nearest("rcev", words), "recv");  /* swapped */
    assert_string_equal(nearest("pib", words), "pub");    /* mistaken */
    assert_string_equal(nearest("visibilty", words), "visibility");
    assert_string_equal(nearest("vis", words), "visibility"); /* its beginning */
    assert_string_equal(nearest("orders", words), "orders");
    assert_null(nearest("xyz", words));
    assert_null(nearest("", words));
    assert_null(nearest(
        "a-word-much-longer-than-any-of-those-that-there-are-and-than-eighty-letters-at-all-indeed", words));
}

static void utf8_is_strict(void **state)
{
    static const char *const good[] = {
        "", "a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {
        "\x80",         "\xc3",      "\xc0\x80",         "\xc1\xbf",         "\xe0\x9f\xbf",
        "\xed\xa0\x80", "\xe2\x82",  "\xf0\x8f\xbf\xbf", "\xf5\x80\x80\x80", "\xf4\x90\x80\x80",
        "\xff",         "a\xe2(\xa1"};

    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
        assert_true(text_is_utf8(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        size_t bytes = strlen(bad[i]);
        char *copy = malloc(bytes); /* without its NUL: a sanitizer sees a byte too far */

        assert_non_null(copy);
        memcpy(copy, bad[i], bytes);
        assert_false(text_is_utf8(copy, bytes));
        free(copy);
    }
}

static void base64_is_padded(void **state)
{
    static const char *const cases[][2] = {
        {"", ""},        {"f", "Zg=="},        {"fo", "Zm8="},
        {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"\xff\xfe\xfd", "//79"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        size_t bytes = strlen(cases[i][0]);
        char text[16] = "";

        text_base64(cases[i][0], bytes, text);
        assert_int_equal(text_base64_bytes(bytes), strlen(cases[i][1]));
        assert_string_equal(text, cases[i][1]);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_have_units),
        cmocka_unit_test(durations_are_read_as_they_are_written),
        cmocka_unit_test(sizes_are_powers_of_1024),
        cmocka_unit_test(numbers_are_grouped_by_three),
        cmocka_unit_test(ages_are_short),
        cmocka_unit_test(times_are_utc),
        cmocka_unit_test(the_nearest_word_is_one_slip_away),
        cmocka_unit_test(utf8_is_strict),
        cmocka_unit_test(base64_is_padded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
