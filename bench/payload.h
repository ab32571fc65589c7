/* The body of a message that proves where it belongs and that it came whole.
 *
 *     stamp, 8 bytes    which publisher (16 bits) and its how manyth message (48 bits), in the machine's byte
 * order pattern           random bytes, others for each place in a publish frame hash, 8 bytes     XXH3-64 of
 * all before it
 *
 * A body shorter than 16 bytes has no room for all that: it holds the low bytes of the stamp, which still
 * shows lost and swapped messages. Sender and receiver are one process, so byte order is no matter. Pure; any
 * thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum {
    PAYLOAD_STAMP_BYTES = 8,
    PAYLOAD_HASH_BYTES = 8,
    PAYLOAD_TAG_BYTES = PAYLOAD_STAMP_BYTES, /* the least that names a publisher */
    PAYLOAD_HASHED_BYTES_MIN = PAYLOAD_STAMP_BYTES + PAYLOAD_HASH_BYTES,
    PAYLOAD_SEQUENCE_BITS = 48
};

static inline uint64_t payload_stamp_of(uint32_t publisher, uint64_t sequence)
{
    return (uint64_t)publisher << PAYLOAD_SEQUENCE_BITS | sequence;
}

/* Fills the body with the pattern number `seed`. */
static inline void payload_fill(uint8_t *body, size_t size, uint64_t seed)
{
    for (size_t i = 0; i < size; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        body[i] = (uint8_t)(seed >> 56);
    }
}

static inline void payload_stamp(uint8_t *body, size_t size, uint64_t stamp)
{
    uint64_t hash;

    memcpy(body, &stamp, size < PAYLOAD_STAMP_BYTES ? size : PAYLOAD_STAMP_BYTES);
    if (size < PAYLOAD_HASHED_BYTES_MIN)
        return;
    hash = XXH3_64bits(body, size - PAYLOAD_HASH_BYTES);
    memcpy(body + size - PAYLOAD_HASH_BYTES, &hash, PAYLOAD_HASH_BYTES);
}

/* The stamp a body carries, as far as it carries one. */
static inline uint64_t payload_stamp_read(const uint8_t *body, size_t size)
{
    uint64_t stamp = 0;

    memcpy(&stamp, body, size < PAYLOAD_STAMP_BYTES ? size : PAYLOAD_STAMP_BYTES);
    return stamp;
}

/* Whether the body is whole and the one that the stamp names. */
static inline bool payload_is(const uint8_t *body, size_t size, uint64_t stamp)
{
    uint64_t hash;

    if (size < PAYLOAD_HASHED_BYTES_MIN)
        return memcmp(body, &stamp, size < PAYLOAD_STAMP_BYTES ? size : PAYLOAD_STAMP_BYTES) == 0;
    memcpy(&hash, body + size - PAYLOAD_HASH_BYTES, PAYLOAD_HASH_BYTES);
    return memcmp(body, &stamp, PAYLOAD_STAMP_BYTES) == 0 &&
           XXH3_64bits(body, size - PAYLOAD_HASH_BYTES) == hash;
}
