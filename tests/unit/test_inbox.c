#include "inbox.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/fanq_error.h"
#include "tests/lib/unit.h"

enum { STREAM_BYTES_MAX = 512 * 1024 };

/* Frames of many lengths, shorter and longer than what is read at once; the payload tells its length and
 * number. */
static const size_t lengths[] = {3, 4, 5, 100, 1000, 65530, 65536, 70000};

enum { LENGTH_COUNT = sizeof lengths / sizeof lengths[0] };

static uint8_t stream[STREAM_BYTES_MAX];
static uint8_t shared[INBOX_SHARED_BYTES];

struct seen {
    uint32_t count;
    int answer; /* what the handler says */
};

static size_t put_frame(uint8_t *at, uint32_t number)
{
    size_t length = lengths[number % LENGTH_COUNT];

    at[0] = (uint8_t)(length >> 24);
    at[1] = (uint8_t)(length >> 16);
    at[2] = (uint8_t)(length >> 8);
    at[3] = (uint8_t)length;
    memset(at + 4, (int)number, length);
    return length + 4;
}

static int take_frame(void *context, struct fanq_bytes payload)
{
    struct seen *seen = context;

    assert_int_equal(payload.length, lengths[seen->count % LENGTH_COUNT]);
    for (size_t i = 0; i < payload.length; i++)
        if (payload.data[i] != (uint8_t)seen->count)
            fail_msg("frame %u is wrong at byte %zu", seen->count, i);
    seen->count++;
    return seen->answer;
}

/* Sends the frames in pieces of that size and reads after each. */
static void frames_in_pieces(size_t piece_bytes, uint32_t frame_count)
{
    struct seen seen = {0};
    struct inbox inbox;
    size_t length = 0;
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    inbox_init(&inbox, pair[0]);
    for (uint32_t i = 0; i < frame_count; i++)
        length += put_frame(stream + length, i);
    for (size_t at = 0; at < length; at += piece_bytes) {
        size_t piece = length - at < piece_bytes ? length - at : piece_bytes;

        assert_int_equal(write(pair[1], stream + at, piece), piece);
        assert_int_equal(inbox_read(&inbox, shared, take_frame, &seen), 0);
    }
    while (inbox.bytes < length)
        assert_int_equal(inbox_read(&inbox, shared, take_frame, &seen), 0);
    assert_int_equal(seen.count, frame_count);
    assert_int_equal(inbox.bytes, length);
    close(pair[1]);
    assert_int_equal(inbox_read(&inbox, shared, take_frame, &seen), FANQ_ERR_NOT_CONNECTED);
    inbox_close(&inbox);
    close(pair[0]);
}

TEST(frames_come_out_whole_however_they_arrive)
{
    static const size_t pieces[] = {2, 3, 7, 1000, 4096, 65536, 100000};

    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++)
        frames_in_pieces(pieces[i], 16);
    frames_in_pieces(1, 5);
}

TEST(a_frame_that_no_broker_sends_is_refused)
{
    static const uint8_t too_long[] = {0xff, 0xff, 0xff, 0xff, 0x00}, too_short[] = {0, 0, 0, 1, 0x90};
    struct seen seen = {0};
    struct inbox inbox;
    int pair[2];

    for (int i = 0; i < 2; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        inbox_init(&inbox, pair[0]);
        assert_int_equal(write(pair[1], i == 0 ? too_long : too_short, 5), 5);
        assert_int_equal(inbox_read(&inbox, shared, take_frame, &seen),
                         i == 0 ? FANQ_ERR_FRAME_TOO_BIG : FANQ_ERR_PROTOCOL);
        inbox_close(&inbox);
        close(pair[0]);
        close(pair[1]);
    }
    assert_int_equal(seen.count, 0);
}

TEST(the_handlers_error_ends_the_reading)
{
    struct seen seen = {.answer = FANQ_ERR_INVALID};
    struct inbox inbox;
    size_t length;
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    inbox_init(&inbox, pair[0]);
    length = put_frame(stream, 0);
    length += put_frame(stream + length, 1);
    assert_int_equal(write(pair[1], stream, length), length);
    assert_int_equal(inbox_read(&inbox, shared, take_frame, &seen), FANQ_ERR_INVALID);
    assert_int_equal(seen.count, 1);
    inbox_close(&inbox);
    close(pair[0]);
    close(pair[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_come_out_whole_however_they_arrive),
        cmocka_unit_test(a_frame_that_no_broker_sends_is_refused),
        cmocka_unit_test(the_handlers_error_ends_the_reading),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
