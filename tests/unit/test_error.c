#include "proto/fanq_error.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct entry {
    int number;
    const char *name;
    const char *text;
    bool retryable;
} entries[] = {
#define X(name, number, retryable, text) {number, #name, text, retryable},
    FANQ_ERROR_LIST(X)
#undef X
};

enum { ENTRY_COUNT = sizeof(entries) / sizeof(entries[0]) };

static void numbers_and_names_are_unique(void **state)
{
    for (int i = 0; i < ENTRY_COUNT; i++) {
        assert_int_equal(entries[i].number, i + 1); /* appended, never renumbered, no gaps */
        for (int j = 0; j < i; j++)
            assert_string_not_equal(entries[i].name, entries[j].name);
    }
}

static void either_sign_is_understood(void **state)
{
    for (int i = 0; i < ENTRY_COUNT; i++) {
        for (int sign = -1; sign <= 1; sign += 2) {
            int err = sign * entries[i].number;

            assert_string_equal(fanq_error_name(err), entries[i].name);
            assert_string_equal(fanq_strerror(err), entries[i].text);
            assert_int_equal(fanq_error_retryable(err), entries[i].retryable);
        }
    }
    assert_int_equal(FANQ_ERR_INVALID, -1);
    assert_int_equal(FANQ_ERR_HELLO_TIMEOUT, -25);
    assert_int_equal(FANQ_ERR_BACKUP_ENDED, -26);
}

static void strange_numbers_have_a_text_too(void **state)
{
    const int strange[] = {0, 9999, -9999, INT_MAX, INT_MIN};

    for (size_t i = 0; i < sizeof(strange) / sizeof(strange[0]); i++) {
        assert_string_equal(fanq_strerror(strange[i]), "unknown error");
        assert_string_equal(fanq_error_name(strange[i]), "UNKNOWN_ERROR");
        assert_false(fanq_error_retryable(strange[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_and_names_are_unique),
        cmocka_unit_test(either_sign_is_understood),
        cmocka_unit_test(strange_numbers_have_a_text_too),
    };

    return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
