#include "proto/mp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>
#include <msgpack.h>

#include "proto/fanq_error.h"
#include "tests/lib/guard.h"

static struct guard guard;

static int setup(void **state)
{
    guard_init(&guard, 128 * 1024);
    return 0;
}

static int teardown(void **state)
{
    guard_close(&guard);
    return 0;
}

/* A cursor over bytes that end at the unreadable page. */
static struct fanq_cursor cursor_over(const void *data, size_t length)
{
    return fanq_cursor_over(guard_put(&guard, data, length), length);
}

#define CURSOR(...) cursor_over((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void assert_failed(const struct fanq_cursor *c, const uint8_t *where)
{
    assert_int_equal(c->err, FANQ_ERR_PROTOCOL);
    assert_ptr_equal(c->at, where);
    assert_int_equal(fanq_cursor_left(c), 0);
}

static void numbers_travel_in_their_shortest_form(void **state)
{
    static const struct {
        uint64_t value;
        size_t length;
    } cases[] = {{0, 1},     {127, 1},   {128, 2},        {255, 2},        {256, 3},
                 {65535, 3}, {65536, 5}, {UINT32_MAX, 5}, {1ull << 32, 9}, {UINT64_MAX, 9}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t buffer[16];
        struct fanq_writer w = fanq_writer_over(buffer, sizeof(buffer));

        fanq_write_uint(&w, cases[i].value);
        assert_int_equal(fanq_writer_length(&w), cases[i].length);
        struct fanq_cursor c = cursor_over(buffer, cases[i].length);
        assert_true(fanq_read_uint(&c, UINT64_MAX) == cases[i].value);
        assert_int_equal(c.err, 0);
        assert_int_equal(fanq_cursor_left(&c), 0);

        for (size_t length = 0; length < cases[i].length; length++) {
            c = cursor_over(buffer, length);
            const uint8_t *start = c.at;
            assert_true(fanq_read_uint(&c, UINT64_MAX) == 0);
            assert_failed(&c, start);
        }
        if (cases[i].value > 0) {
            c = cursor_over(buffer, cases[i].length);
            const uint8_t *start = c.at;
            assert_true(fanq_read_uint(&c, cases[i].value - 1) == 0);
            assert_failed(&c, start);
        }
    }
}

static void numbers_are_read_in_every_form(void **state)
{
    struct fanq_cursor c;

    c = CURSOR(0xcf, 0, 0, 0, 0, 0, 0, 0, 5);
    assert_true(fanq_read_uint(&c, 5) == 5);
    c = CURSOR(0xd0, 0x7f);
    assert_true(fanq_read_uint(&c, 200) == 127);
    c = CURSOR(0xd1, 0x01, 0x00);
    assert_true(fanq_read_uint(&c, 256) == 256);
    c = CURSOR(0xd2, 0x7f, 0xff, 0xff, 0xff);
    assert_true(fanq_read_uint(&c, UINT64_MAX) == INT32_MAX);
    c = CURSOR(0xd3, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff);
    assert_true(fanq_read_uint(&c, UINT64_MAX) == INT64_MAX);
    assert_int_equal(c.err, 0);
}

static void negative_and_other_values_are_no_numbers(void **state)
{
    static const uint8_t cases[][9] = {{0xff},       {0xe0},       {0xd0, 0x80}, {0xd1, 0xff, 0xff},
                                       {0xd2, 0x80}, {0xd3, 0x80}, {0xc0},       {0xc3},
                                       {0xca},       {0xa1, 'x'},  {0x90},       {0x80},
                                       {0xc1}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fanq_cursor c = cursor_over(cases[i], sizeof(cases[i]));
        const uint8_t *start = c.at;

        assert_true(fanq_read_uint(&c, UINT64_MAX) == 0);
        assert_failed(&c, start);
    }
}

static void nil_stands_for_a_number(void **state)
{
    struct fanq_cursor c = CURSOR(0xc0, 0x07, 0xc0);

    assert_true(fanq_read_uint_or_nil(&c, 10, UINT64_MAX) == UINT64_MAX);
    assert_true(fanq_read_uint_or_nil(&c, 10, UINT64_MAX) == 7);
    assert_true(fanq_read_nil(&c));
    assert_false(fanq_read_nil(&c)); /* the end is not nil, and asking is no error */
    assert_int_equal(c.err, 0);
}

static void booleans(void **state)
{
    struct fanq_cursor c = CURSOR(0xc3, 0xc2, 0x01);

    assert_true(fanq_read_bool(&c));
    assert_false(fanq_read_bool(&c));
    const uint8_t *where = c.at;
    assert_false(fanq_read_bool(&c));
    assert_failed(&c, where);
}

/* Every length at which the header changes, whole and cut short at every interesting place. */
static void strings_and_bins_of_all_lengths(void **state)
{
    static const size_t lengths[] = {0, 1, 31, 32, 255, 256, 65535, 65536};
    static uint8_t content[65536], buffer[65536 + 5];

    memset(content, 'z', sizeof(content));
    for (size_t i = 0; i < 2 * sizeof(lengths) / sizeof(lengths[0]); i++) {
        size_t length = lengths[i / 2];
        bool bin = i % 2 == 1;
        struct fanq_bytes (*read)(struct fanq_cursor *, size_t) = bin ? fanq_read_bin : fanq_read_str;
        struct fanq_writer w = fanq_writer_over(buffer, sizeof(buffer));

        (bin ? fanq_write_bin : fanq_write_str)(&w, (struct fanq_bytes){content, length});
        assert_false(w.full);
        size_t size = fanq_writer_length(&w);
        struct fanq_cursor c = cursor_over(buffer, size);
        struct fanq_bytes bytes = read(&c, length);
        assert_int_equal(bytes.length, length);
        assert_memory_equal(bytes.data, content, length);
        assert_int_equal(c.err, 0);
        assert_int_equal(fanq_cursor_left(&c), 0);

        for (size_t cut = 1; cut <= size && cut <= 6; cut++) {
            c = cursor_over(buffer, size - cut);
            const uint8_t *start = c.at;
            assert_int_equal(read(&c, SIZE_MAX).length, 0);
            assert_failed(&c, start);
        }
        if (length > 0) {
            c = cursor_over(buffer, size);
            (void)read(&c, length - 1);
            assert_int_equal(c.err, FANQ_ERR_PROTOCOL);
        }
        c = cursor_over(buffer, size); /* the other kind */
        (void)(bin ? fanq_read_str : fanq_read_bin)(&c, SIZE_MAX);
        assert_int_equal(c.err, FANQ_ERR_PROTOCOL);
    }
}

static void lying_lengths_are_refused(void **state)
{
    static const uint8_t cases[][9] = {{0xdb, 0xff, 0xff, 0xff, 0xff},
                                       {0xc6, 0xff, 0xff, 0xff, 0xff},
                                       {0xda, 0xff, 0xff},
                                       {0xc5, 0, 7},
                                       {0xd9, 8},
                                       {0xbf},
                                       {0xdd, 0xff, 0xff, 0xff, 0xff},
                                       {0xdd, 0, 0, 0, 5},
                                       {0xdf, 0xff, 0xff, 0xff, 0xff},
                                       {0xdf, 0, 0, 0, 3},
                                       {0xdc, 0, 7},
                                       {0x99},
                                       {0x85},
                                       {0xde, 0, 4},
                                       {0xc9, 0xff, 0xff, 0xff, 0xff},
                                       {0xd8}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fanq_cursor c = cursor_over(cases[i], sizeof(cases[i]));
        fanq_read_skip(&c);
        assert_int_equal(c.err, FANQ_ERR_PROTOCOL);

        c = cursor_over(cases[i], sizeof(cases[i]));
        assert_int_equal(fanq_read_array(&c), 0);
        assert_int_equal(c.err, FANQ_ERR_PROTOCOL);

        c = cursor_over(cases[i], sizeof(cases[i]));
        assert_int_equal(fanq_read_map(&c), 0);
        assert_int_equal(c.err, FANQ_ERR_PROTOCOL);
    }
}

static void containers_that_fit_are_read(void **state)
{
    struct fanq_cursor c = CURSOR(0xdd, 0, 0, 0, 2, 1, 2);

    assert_int_equal(fanq_read_array(&c), 2);
    c = CURSOR(0xdf, 0, 0, 0, 1, 1, 2);
    assert_int_equal(fanq_read_map(&c), 1);
    c = CURSOR(0x80);
    assert_int_equal(fanq_read_map(&c), 0);
    assert_int_equal(c.err, 0);
    c = CURSOR(0x90);
    assert_int_equal(fanq_read_map(&c), 0);
    assert_int_equal(c.err, FANQ_ERR_PROTOCOL);
}

/* What msgpack-c packs, of every kind, is one value to the cursor; cut anywhere it is an error. */
static void any_value_can_be_skipped(void **state)
{
    msgpack_sbuffer buffer;
    msgpack_packer packer;
    static const char ext[300];

    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
    msgpack_pack_array(&packer, 16);
    msgpack_pack_int64(&packer, -5);
    msgpack_pack_int64(&packer, INT64_MIN);
    msgpack_pack_int32(&packer, -40000);
    msgpack_pack_int16(&packer, -300);
    msgpack_pack_int8(&packer, -100);
    msgpack_pack_uint64(&packer, UINT64_MAX);
    msgpack_pack_float(&packer, 1.5f);
    msgpack_pack_double(&packer, 2.5);
    msgpack_pack_nil(&packer);
    msgpack_pack_true(&packer);
    for (size_t length = 1; length <= 16; length *= 4) {
        msgpack_pack_ext(&packer, length, 3);
        msgpack_pack_ext_body(&packer, ext, length);
    }
    msgpack_pack_ext(&packer, 300, 3);
    msgpack_pack_ext_body(&packer, ext, 300);
    msgpack_pack_ext(&packer, 5, 3);
    msgpack_pack_ext_body(&packer, ext, 5);
    msgpack_pack_map(&packer, 1);
    msgpack_pack_str_with_body(&packer, "key", 3);
    msgpack_pack_array(&packer, 20);
    for (int i = 0; i < 20; i++)
        msgpack_pack_bin_with_body(&packer, ext, 2);

    struct fanq_cursor c = cursor_over(buffer.data, buffer.size);
    fanq_read_skip(&c);
    assert_int_equal(c.err, 0);
    assert_int_equal(fanq_cursor_left(&c), 0);
    for (size_t length = 0; length < buffer.size; length++) {
        c = cursor_over(buffer.data, length);
        fanq_read_skip(&c);
        assert_int_equal(c.err, FANQ_ERR_PROTOCOL);
    }
    msgpack_sbuffer_destroy(&buffer);
}

static void depth_is_bounded(void **state)
{
    uint8_t nested[FANQ_DEPTH_MAX + 2];

    memset(nested, 0x91, sizeof(nested));
    nested[FANQ_DEPTH_MAX] = 0x05; /* a number inside FANQ_DEPTH_MAX arrays */
    struct fanq_cursor c = cursor_over(nested, FANQ_DEPTH_MAX + 1);
    fanq_read_skip(&c);
    assert_int_equal(c.err, 0);
    assert_int_equal(fanq_cursor_left(&c), 0);

    nested[FANQ_DEPTH_MAX] = 0x91; /* one deeper */
    nested[FANQ_DEPTH_MAX + 1] = 0x05;
    c = cursor_over(nested, FANQ_DEPTH_MAX + 2);
    fanq_read_skip(&c);
    assert_int_equal(c.err, FANQ_ERR_PROTOCOL);
}

static void errors_stick(void **state)
{
    struct fanq_cursor c = CURSOR(0xc3, 0x01, 0xa1, 'x', 0xc0);
    const uint8_t *where = c.at;

    (void)fanq_read_str(&c, 10);
    assert_failed(&c, where);
    assert_true(fanq_read_uint(&c, 5) == 0);
    assert_false(fanq_read_bool(&c));
    assert_false(fanq_read_nil(&c));
    assert_int_equal(fanq_read_str(&c, 5).length, 0);
    fanq_read_skip_many(&c, UINT32_MAX); /* returns at once */
    fanq_cursor_fail(&c, FANQ_ERR_INVALID);
    assert_failed(&c, where);
}

/* For every size that is too small: nothing of the value that did not fit is written,
 * and nothing after it. */
static void a_write_is_whole_or_absent(void **state)
{
    uint8_t text[40] = {0}, whole[64];
    struct fanq_writer w = fanq_writer_over(whole, sizeof(whole));

    fanq_write_str(&w, (struct fanq_bytes){text, sizeof(text)});
    size_t str_bytes = fanq_writer_length(&w);
    for (size_t size = 0; size < str_bytes; size++) {
        uint8_t *place = guard_put(&guard, whole, size);
        w = fanq_writer_over(place, size);
        fanq_write_str(&w, (struct fanq_bytes){text, sizeof(text)});
        assert_true(w.full);
        assert_int_equal(fanq_writer_length(&w), 0);
        fanq_write_nil(&w);
        fanq_write_uint(&w, 1);
        fanq_write_raw(&w, text, 1);
        assert_int_equal(fanq_writer_length(&w), 0);
    }
    for (size_t size = 0; size < 9; size++) {
        w = fanq_writer_over(guard_put(&guard, whole, size), size);
        fanq_write_uint(&w, UINT64_MAX);
        assert_true(w.full);
        assert_int_equal(fanq_writer_length(&w), 0);
    }
}

static void writers_speak_msgpack(void **state)
{
    uint8_t buffer[128];
    struct fanq_writer w = fanq_writer_over(buffer, sizeof(buffer));
    msgpack_unpacked unpacked;
    size_t offset = 0;

    fanq_write_map(&w, 1);
    fanq_write_str(&w, FANQ_BYTES("k"));
    fanq_write_array(&w, 5);
    fanq_write_uint(&w, 300);
    fanq_write_bool(&w, true);
    fanq_write_nil(&w);
    fanq_write_bin(&w, FANQ_BYTES("bin"));
    fanq_write_raw(&w, "\x07", 1);

    msgpack_unpacked_init(&unpacked);
    assert_int_equal(msgpack_unpack_next(&unpacked, (const char *)buffer, fanq_writer_length(&w), &offset),
                     MSGPACK_UNPACK_SUCCESS);
    assert_int_equal(offset, fanq_writer_length(&w));
    assert_int_equal(unpacked.data.type, MSGPACK_OBJECT_MAP);
    msgpack_object value = unpacked.data.via.map.ptr[0].val;
    assert_int_equal(value.via.array.size, 5);
    assert_true(value.via.array.ptr[0].via.u64 == 300);
    assert_int_equal(value.via.array.ptr[3].type, MSGPACK_OBJECT_BIN);
    assert_true(value.via.array.ptr[4].via.u64 == 7);
    msgpack_unpacked_destroy(&unpacked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_travel_in_their_shortest_form),
        cmocka_unit_test(numbers_are_read_in_every_form),
        cmocka_unit_test(negative_and_other_values_are_no_numbers),
        cmocka_unit_test(nil_stands_for_a_number),
        cmocka_unit_test(booleans),
        cmocka_unit_test(strings_and_bins_of_all_lengths),
        cmocka_unit_test(lying_lengths_are_refused),
        cmocka_unit_test(containers_that_fit_are_read),
        cmocka_unit_test(any_value_can_be_skipped),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(errors_stick),
        cmocka_unit_test(a_write_is_whole_or_absent),
        cmocka_unit_test(writers_speak_msgpack),
    };

    return cmocka_run_group_tests_name("mp", tests, setup, teardown);
}
