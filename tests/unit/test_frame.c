#include "proto/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "proto/fanq_error.h"
#include "tests/lib/guard.h"

static void a_frame_that_comes_byte_by_byte(void **state)
{
    static const uint8_t frame[] = {0, 0, 0, 3, 0x92, 2, 9};
    struct guard guard;
    struct fanq_bytes payload = {NULL, 0};
    size_t need = 0;

    guard_init(&guard, 64);
    for (size_t length = 0; length < sizeof(frame); length++) {
        const uint8_t *data = guard_put(&guard, frame, length);
        assert_int_equal(fanq_frame_next(data, length, 100, &payload, &need), 0);
        assert_int_equal(need, length < 4 ? 4 : sizeof(frame));
        assert_null(payload.data);
    }
    const uint8_t *data = guard_put(&guard, frame, sizeof(frame));
    assert_int_equal(fanq_frame_next(data, sizeof(frame), 100, &payload, &need), 1);
    assert_ptr_equal(payload.data, data + 4);
    assert_int_equal(payload.length, 3);
    guard_close(&guard);
}

static void lengths_are_judged_before_the_bytes_are_there(void **state)
{
    static const uint8_t huge[] = {0xff, 0xff, 0xff, 0xff}, just[] = {0, 0, 0, 100}, above[] = {0, 0, 0, 101};
    static const uint8_t empty[] = {0, 0, 0, 0}, tiny[] = {0, 0, 0, 2, 0x90, 0};
    struct fanq_bytes payload;
    size_t need;

    assert_int_equal(fanq_frame_next(huge, 4, 100, &payload, &need), FANQ_ERR_FRAME_TOO_BIG);
    assert_int_equal(fanq_frame_next(above, 4, 100, &payload, &need), FANQ_ERR_FRAME_TOO_BIG);
    assert_int_equal(fanq_frame_next(just, 4, 100, &payload, &need), 0);
    assert_int_equal(need, 104);
    assert_int_equal(fanq_frame_next(empty, 4, 100, &payload, &need), FANQ_ERR_PROTOCOL);
    assert_int_equal(fanq_frame_next(tiny, 6, 100, &payload, &need), FANQ_ERR_PROTOCOL);
}

static void frames_are_written_one_behind_the_other(void **state)
{
    uint8_t buffer[64];
    struct fanq_writer w = fanq_writer_over(buffer, sizeof(buffer));
    struct fanq_bytes payload;
    size_t need;

    size_t place = fanq_frame_begin(&w);
    fanq_write_raw(&w, "abc", 3);
    fanq_frame_end(&w, place, 0);
    place = fanq_frame_begin(&w);
    fanq_write_raw(&w, "defg", 4);
    fanq_frame_end(&w, place, 1000); /* the rest follows from elsewhere */

    assert_int_equal(fanq_writer_length(&w), 15);
    assert_int_equal(fanq_frame_next(buffer, 15, 2000, &payload, &need), 1);
    assert_memory_equal(payload.data, "abc", 3);
    assert_int_equal(fanq_frame_next(buffer + 7, 8, 2000, &payload, &need), 0);
    assert_int_equal(need, 4 + 1004);
}

static void a_frame_that_does_not_fit_is_taken_back(void **state)
{
    uint8_t buffer[10];
    struct fanq_writer w = fanq_writer_over(buffer, sizeof(buffer));
    size_t place = fanq_frame_begin(&w);

    fanq_write_raw(&w, "abc", 3);
    fanq_frame_end(&w, place, 0);
    place = fanq_frame_begin(&w); /* 3 bytes are left */
    fanq_frame_end(&w, place, 0);
    assert_true(w.full);
    assert_int_equal(fanq_writer_length(&w), 7);

    w = fanq_writer_over(buffer, sizeof(buffer));
    place = fanq_frame_begin(&w);
    fanq_write_raw(&w, "abc", 3);
    fanq_write_raw(&w, "abcdef", 6);
    fanq_frame_end(&w, place, 0);
    assert_true(w.full);
    assert_int_equal(fanq_writer_length(&w), 0);

    w = fanq_writer_over(buffer, sizeof(buffer)); /* longer than any header can say */
    place = fanq_frame_begin(&w);
    fanq_write_raw(&w, "abc", 3);
    fanq_frame_end(&w, place, UINT32_MAX);
    assert_true(w.full);
    assert_int_equal(fanq_writer_length(&w), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_that_comes_byte_by_byte),
        cmocka_unit_test(lengths_are_judged_before_the_bytes_are_there),
        cmocka_unit_test(frames_are_written_one_behind_the_other),
        cmocka_unit_test(a_frame_that_does_not_fit_is_taken_back),
    };

    return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
