/* Bounded msgpack: a cursor that reads, a writer that packs.
 *
 * Reading is ours because the bytes are hostile: msgpack-c's unpacker allocates from a header alone (five
 * bytes ask for hundreds of MiB), a cursor never allocates. Writing is msgpack-c's packer over a fixed
 * buffer. Both carry a sticky error, so that code reads as a flat list of fields and is checked once at the
 * end. Pure; any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A borrowed run of bytes; text is not terminated. */
struct fanq_bytes {
    const uint8_t *data;
    size_t length;
};

#define FANQ_BYTES(literal) ((struct fanq_bytes){(const uint8_t *)(literal), sizeof(literal) - 1})

enum {
    FANQ_DEPTH_MAX = 8 /* containers inside containers that fanq_read_skip() follows */
};

/* Reads forward from `at`, never at or past `end`. After the first error every read returns zero or an empty
 * value and leaves `at` where it is, which is also the new `end`. */
struct fanq_cursor {
    const uint8_t *at;
    const uint8_t *end;
    int err; /* 0, FANQ_ERR_PROTOCOL, or what fanq_cursor_fail() was given */
};

static inline struct fanq_cursor fanq_cursor_over(const void *data, size_t length)
{
    const uint8_t *start = (const uint8_t *)data;

    return (struct fanq_cursor){start, length > 0 ? start + length : start, 0}; /* nothing may be at NULL */
}

static inline size_t fanq_cursor_left(const struct fanq_cursor *c)
{
    return (size_t)(c->end - c->at);
}

/* Makes the cursor fail here; the first error stays. */
void fanq_cursor_fail(struct fanq_cursor *c, int err);

/* fanq_read_uint() for what is more than one byte on the wire, or wrong. */
uint64_t fanq_read_uint_wide(struct fanq_cursor *c, uint64_t max);

/* An unsigned integer in any of msgpack's forms; more than `max` is an error. */
static inline uint64_t fanq_read_uint(struct fanq_cursor *c, uint64_t max)
{
    if (c->at < c->end && *c->at < 0x80 && *c->at <= max)
        return *c->at++;
    return fanq_read_uint_wide(c, max);
}

/* Like fanq_read_uint(), but nil gives `nil_value`. */
uint64_t fanq_read_uint_or_nil(struct fanq_cursor *c, uint64_t max, uint64_t nil_value);

bool fanq_read_bool(struct fanq_cursor *c);

/* True and consumed when the next value is nil. */
bool fanq_read_nil(struct fanq_cursor *c);

/* A str, or a bin, of at most length_max bytes. Borrows from the input. */
struct fanq_bytes fanq_read_str(struct fanq_cursor *c, size_t length_max);
struct fanq_bytes fanq_read_bin(struct fanq_cursor *c, size_t length_max);

/* The count of an array or map header. A count that the remaining bytes cannot hold (one byte an element, two
 * an entry) is an error, so a count is always safe to loop over. */
uint32_t fanq_read_array(struct fanq_cursor *c);
uint32_t fanq_read_map(struct fanq_cursor *c);

/* Steps over one value of any kind, containers at most FANQ_DEPTH_MAX deep. */
void fanq_read_skip(struct fanq_cursor *c);

/* Steps over `count` values. */
void fanq_read_skip_many(struct fanq_cursor *c, uint32_t count);

/* Packs into a buffer that the caller owns. A write that does not fit writes nothing and sets `full`, as do
 * all after it. */
struct fanq_writer {
    uint8_t *start;
    uint8_t *at;
    uint8_t *end;
    bool full;
};

static inline struct fanq_writer fanq_writer_over(void *buffer, size_t size)
{
    return (struct fanq_writer){(uint8_t *)buffer, (uint8_t *)buffer, (uint8_t *)buffer + size, false};
}

static inline size_t fanq_writer_length(const struct fanq_writer *w)
{
    return (size_t)(w->at - w->start);
}

/* fanq_write_uint() for what is more than one byte on the wire, or does not fit. */
void fanq_write_uint_wide(struct fanq_writer *w, uint64_t value);

static inline void fanq_write_uint(struct fanq_writer *w, uint64_t value)
{
    if (value < 0x80 && w->at < w->end && !w->full)
        *w->at++ = (uint8_t)value;
    else
        fanq_write_uint_wide(w, value);
}

void fanq_write_bool(struct fanq_writer *w, bool value);
void fanq_write_nil(struct fanq_writer *w);
void fanq_write_str(struct fanq_writer *w, struct fanq_bytes text);
void fanq_write_bin(struct fanq_writer *w, struct fanq_bytes bytes);
void fanq_write_array(struct fanq_writer *w, uint32_t count);
void fanq_write_map(struct fanq_writer *w, uint32_t count);
/* Bytes that are msgpack already. */
void fanq_write_raw(struct fanq_writer *w, const void *data, size_t length);
