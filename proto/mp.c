/* The cursor and the writer.
 *
 * Reading:  each function looks at one value, checks that all of it lies before `end`, and only then steps
 *           over it. A cursor that failed has its end drawn back to where it stands, so that every later read
 *           fails for want of bytes and none has to ask for the error first.
 * Writing:  msgpack-c's packer with a callback that appends to the buffer. A number reaches the callback in
 *           one piece; for str and bin the room for header and content is asked for beforehand, so that a
 *           write is whole or absent. */
#include "mp.h"

#include <string.h>

#include <msgpack/pack.h>

#include "bytes.h"
#include "fanq_error.h"

/* msgpack's tags, those that are not a range. */
enum {
    TAG_NIL = 0xc0,
    TAG_NONE = 0xc1, /* begins no value; stands for "no bytes left" */
    TAG_FALSE = 0xc2,
    TAG_TRUE = 0xc3,
    TAG_BIN_8 = 0xc4,
    TAG_BIN_16 = 0xc5,
    TAG_BIN_32 = 0xc6,
    TAG_EXT_8 = 0xc7,
    TAG_EXT_16 = 0xc8,
    TAG_EXT_32 = 0xc9,
    TAG_FLOAT_32 = 0xca,
    TAG_FLOAT_64 = 0xcb,
    TAG_UINT_8 = 0xcc,
    TAG_UINT_16 = 0xcd,
    TAG_UINT_32 = 0xce,
    TAG_UINT_64 = 0xcf,
    TAG_INT_8 = 0xd0,
    TAG_INT_16 = 0xd1,
    TAG_INT_32 = 0xd2,
    TAG_INT_64 = 0xd3,
    TAG_FIXEXT_1 = 0xd4,
    TAG_FIXEXT_16 = 0xd8,
    TAG_STR_8 = 0xd9,
    TAG_STR_16 = 0xda,
    TAG_STR_32 = 0xdb,
    TAG_ARRAY_16 = 0xdc,
    TAG_ARRAY_32 = 0xdd,
    TAG_MAP_16 = 0xde,
    TAG_MAP_32 = 0xdf,
    TAG_FIXSTR = 0xa0,
    TAG_FIXARRAY = 0x90,
    TAG_FIXMAP = 0x80,
    TAG_NEGATIVE = 0xe0
};

void fanq_cursor_fail(struct fanq_cursor *c, int err)
{
    if (c->err == 0)
        c->err = err;
    c->end = c->at;
}

static uint8_t tag_of(const struct fanq_cursor *c)
{
    return c->at < c->end ? *c->at : TAG_NONE;
}

/* The `width` bytes behind the tag as a number; they must be there, else the cursor fails. */
static inline uint64_t number_behind_tag(struct fanq_cursor *c, size_t width)
{
    size_t left = fanq_cursor_left(c);
    uint64_t value = 0;

    if (left > sizeof(value) && width > 0) /* the usual case, without asking how wide */
        return fanq_load_64(c->at + 1) >> (64 - 8 * width);
    if (left <= width) {
        fanq_cursor_fail(c, FANQ_ERR_PROTOCOL);
        return 0;
    }
    for (size_t i = 1; i <= width; i++)
        value = value << 8 | c->at[i];
    return value;
}

/* The width of the number behind an integer's tag; 0 when the value is in the tag or it is no integer. */
static inline size_t integer_width(uint8_t tag)
{
    return tag >= TAG_UINT_8 && tag <= TAG_INT_64 ? (size_t)1 << (tag & 3) : 0;
}

/* All but the low 7 bits of a fixint, or the sign of a negative number. */
static inline uint64_t bits_that_must_be_zero(uint8_t tag, size_t width)
{
    if (width == 0)
        return ~UINT64_C(0x7f);
    return tag >= TAG_INT_8 ? UINT64_C(1) << (8 * width - 1) : 0;
}

uint64_t fanq_read_uint_wide(struct fanq_cursor *c, uint64_t max)
{
    uint8_t tag = tag_of(c);
    size_t width = integer_width(tag);
    uint64_t value = width > 0 ? number_behind_tag(c, width) : tag;

    if (value > max || (value & bits_that_must_be_zero(tag, width)) != 0)
        fanq_cursor_fail(c, FANQ_ERR_PROTOCOL);
    if (c->err != 0)
        return 0;
    c->at += 1 + width;
    return value;
}

uint64_t fanq_read_uint_or_nil(struct fanq_cursor *c, uint64_t max, uint64_t nil_value)
{
    return fanq_read_nil(c) ? nil_value : fanq_read_uint(c, max);
}

bool fanq_read_bool(struct fanq_cursor *c)
{
    uint8_t tag = tag_of(c);

    if (tag != TAG_FALSE && tag != TAG_TRUE) {
        fanq_cursor_fail(c, FANQ_ERR_PROTOCOL);
        return false;
    }
    c->at++;
    return tag == TAG_TRUE;
}

bool fanq_read_nil(struct fanq_cursor *c)
{
    if (tag_of(c) != TAG_NIL)
        return false;
    c->at++;
    return true;
}

/* Takes a header of `header_bytes` and the `length` bytes behind it. */
static struct fanq_bytes take_behind(struct fanq_cursor *c, size_t header_bytes, uint64_t length,
                                     size_t length_max)
{
    struct fanq_bytes bytes = {c->at, 0};

    if (c->err != 0)
        return bytes;
    if (length > length_max || length > fanq_cursor_left(c) - header_bytes) {
        fanq_cursor_fail(c, FANQ_ERR_PROTOCOL);
        return bytes;
    }
    bytes.data = c->at + header_bytes;
    bytes.length = (size_t)length;
    c->at = bytes.data + bytes.length;
    return bytes;
}

struct fanq_bytes fanq_read_str(struct fanq_cursor *c, size_t length_max)
{
    uint8_t tag = tag_of(c);
    size_t width = 0;

    if (tag >= TAG_FIXSTR && tag <= (TAG_FIXSTR | 31))
        return take_behind(c, 1, tag & 31, length_max);
    if (tag >= TAG_STR_8 && tag <= TAG_STR_32)
        width = (size_t)1 << (tag - TAG_STR_8);
    else
        fanq_cursor_fail(c, FANQ_ERR_PROTOCOL);
    return take_behind(c, 1 + width, number_behind_tag(c, width), length_max);
}

struct fanq_bytes fanq_read_bin(struct fanq_cursor *c, size_t length_max)
{
    uint8_t tag = tag_of(c);
    size_t width = 0;

    if (tag >= TAG_BIN_8 && tag <= TAG_BIN_32)
        width = (size_t)1 << (tag - TAG_BIN_8);
    else
        fanq_cursor_fail(c, FANQ_ERR_PROTOCOL);
    return take_behind(c, 1 + width, number_behind_tag(c, width), length_max);
}

/* Takes the header of a container whose every entry needs at least entry_bytes_min. `fix` is its short tag
 * with fix_count_max in it, `wide` its tag with a 16-bit count; the one with 32 bits is next to it. */
static uint32_t take_container(struct fanq_cursor *c, uint8_t fix, uint8_t wide, size_t entry_bytes_min)
{
    uint8_t tag = tag_of(c);
    size_t width = 0;
    uint64_t count = tag & 15;

    if (tag == wide)
        width = 2;
    else if (tag == wide + 1)
        width = 4;
    else if ((tag & 0xf0) != fix)
        fanq_cursor_fail(c, FANQ_ERR_PROTOCOL);
    if (width > 0)
        count = number_behind_tag(c, width);
    if (c->err == 0 && count > (fanq_cursor_left(c) - 1 - width) / entry_bytes_min)
        fanq_cursor_fail(c, FANQ_ERR_PROTOCOL);
    if (c->err != 0)
        return 0;
    c->at += 1 + width;
    return (uint32_t)count;
}

uint32_t fanq_read_array(struct fanq_cursor *c)
{
    return take_container(c, TAG_FIXARRAY, TAG_ARRAY_16, 1);
}

uint32_t fanq_read_map(struct fanq_cursor *c)
{
    return take_container(c, TAG_FIXMAP, TAG_MAP_16, 2);
}

/* Steps over `length` bytes of content behind a header of header_bytes. */
static void step(struct fanq_cursor *c, size_t header_bytes, uint64_t length)
{
    (void)take_behind(c, header_bytes, length, SIZE_MAX); /* a failure is in the cursor */
}

/* Steps over the header of an extension and its content: a type byte and data. */
static void skip_extension(struct fanq_cursor *c, uint8_t tag)
{
    size_t width = 0;
    uint64_t length;

    if (tag >= TAG_EXT_8 && tag <= TAG_EXT_32) {
        width = (size_t)1 << (tag - TAG_EXT_8);
        length = number_behind_tag(c, width);
    } else {
        length = (uint64_t)1 << (tag - TAG_FIXEXT_1);
    }
    step(c, 1 + width, length + 1);
}

/* Steps over a value without content behind it, or over a container's header; gives how many values that
 * holds. */
static uint64_t skip_one(struct fanq_cursor *c)
{
    uint8_t tag = tag_of(c);

    if (tag <= 0x7f || tag >= TAG_NEGATIVE || tag == TAG_NIL || tag == TAG_FALSE || tag == TAG_TRUE)
        step(c, 1, 0);
    else if ((tag & 0xf0) == TAG_FIXARRAY || tag == TAG_ARRAY_16 || tag == TAG_ARRAY_32)
        return fanq_read_array(c);
    else if ((tag & 0xf0) == TAG_FIXMAP || tag == TAG_MAP_16 || tag == TAG_MAP_32)
        return 2 * (uint64_t)fanq_read_map(c);
    else if ((tag & 0xe0) == TAG_FIXSTR || (tag >= TAG_STR_8 && tag <= TAG_STR_32))
        (void)fanq_read_str(c, SIZE_MAX);
    else if (tag >= TAG_BIN_8 && tag <= TAG_BIN_32)
        (void)fanq_read_bin(c, SIZE_MAX);
    else if ((tag >= TAG_EXT_8 && tag <= TAG_EXT_32) || (tag >= TAG_FIXEXT_1 && tag <= TAG_FIXEXT_16))
        skip_extension(c, tag);
    else if (tag == TAG_FLOAT_32 || tag == TAG_FLOAT_64)
        step(c, 1, tag == TAG_FLOAT_32 ? 4 : 8);
    else if (integer_width(tag) > 0)
        step(c, 1, integer_width(tag));
    else
        fanq_cursor_fail(c, FANQ_ERR_PROTOCOL);
    return 0;
}

void fanq_read_skip(struct fanq_cursor *c)
{
    uint64_t left[FANQ_DEPTH_MAX + 1] = {1}; /* values still to skip at each depth */
    unsigned depth = 0;

    for (;;) {
        while (left[depth] == 0) {
            if (depth == 0)
                return;
            depth--;
        }
        left[depth]--;
        uint64_t inside = skip_one(c);
        if (inside > 0 && depth == FANQ_DEPTH_MAX)
            fanq_cursor_fail(c, FANQ_ERR_PROTOCOL);
        if (c->err != 0)
            return;
        if (inside > 0)
            left[++depth] = inside;
    }
}

void fanq_read_skip_many(struct fanq_cursor *c, uint32_t count)
{
    for (uint32_t i = 0; i < count && c->err == 0; i++)
        fanq_read_skip(c);
}

/* Whether `bytes` more fit; if not, nothing does from now on. */
static bool has_room(struct fanq_writer *w, size_t bytes)
{
    if (w->full || bytes > (size_t)(w->end - w->at))
        w->full = true;
    return !w->full;
}

/* msgpack-c's write callback. */
static int append(void *writer, const char *data, size_t length)
{
    struct fanq_writer *w = (struct fanq_writer *)writer;

    if (!has_room(w, length))
        return -1;
    memcpy(w->at, data, length);
    w->at += length;
    return 0;
}

/* The packer's return values are not looked at: a failure is sticky in the writer. */
static msgpack_packer packer_over(struct fanq_writer *w)
{
    msgpack_packer packer;

    msgpack_packer_init(&packer, w, append);
    return packer;
}

void fanq_write_uint_wide(struct fanq_writer *w, uint64_t value)
{
    msgpack_packer packer = packer_over(w);

    (void)msgpack_pack_uint64(&packer, value);
}

void fanq_write_bool(struct fanq_writer *w, bool value)
{
    msgpack_packer packer = packer_over(w);

    (void)(value ? msgpack_pack_true(&packer) : msgpack_pack_false(&packer));
}

void fanq_write_nil(struct fanq_writer *w)
{
    msgpack_packer packer = packer_over(w);

    (void)msgpack_pack_nil(&packer);
}

/* Lengths have at most 32 bits; the largest header is five bytes. */
static bool content_fits(struct fanq_writer *w, size_t header_bytes, size_t length)
{
    if (length > UINT32_MAX)
        w->full = true;
    return has_room(w, header_bytes) && has_room(w, header_bytes + length);
}

void fanq_write_str(struct fanq_writer *w, struct fanq_bytes text)
{
    msgpack_packer packer = packer_over(w);

    if (!content_fits(w, fanq_str_header_bytes(text.length), text.length))
        return;
    (void)msgpack_pack_str(&packer, text.length);
    if (text.length > 0)
        (void)msgpack_pack_str_body(&packer, text.data, text.length);
}

void fanq_write_bin(struct fanq_writer *w, struct fanq_bytes bytes)
{
    msgpack_packer packer = packer_over(w);

    if (!content_fits(w, fanq_bin_header_bytes(bytes.length), bytes.length))
        return;
    (void)msgpack_pack_bin(&packer, bytes.length);
    if (bytes.length > 0)
        (void)msgpack_pack_bin_body(&packer, bytes.data, bytes.length);
}

void fanq_write_array(struct fanq_writer *w, uint32_t count)
{
    msgpack_packer packer = packer_over(w);

    (void)msgpack_pack_array(&packer, count);
}

void fanq_write_map(struct fanq_writer *w, uint32_t count)
{
    msgpack_packer packer = packer_over(w);

    (void)msgpack_pack_map(&packer, count);
}

void fanq_write_raw(struct fanq_writer *w, const void *data, size_t length)
{
    if (length > 0 && has_room(w, length)) {
        memcpy(w->at, data, length);
        w->at += length;
    }
}
