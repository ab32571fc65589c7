/* A commit as it lies in the log: what one turn of the loop adds. The same bytes in memory and in a file.
 *
 *     commit_header | block_header records | block_header records | ... | facts | commit_trailer | zeros
 *     ^ a multiple of 64 bytes                                                       up to the next one ^
 *
 * Between header and padding all is packed: one more record in a block makes the commit longer by exactly the
 * record. Numbers are little-endian, records are as they travelled (proto/record.h).
 *
 * Hashes: header_hash covers the header before it; previous_hash is the trailer's hash of the commit before,
 * so that commits form a chain; the trailer's is XXH3-64 over everything before it. All are seeded from a
 * secret of the log directory, so that no message body can pass for a commit. They are filled in when a
 * commit is written to a file; in memory mode, where nobody could ever read them, they stay zero, and there
 * are no facts. */
#pragma once

#include <stddef.h>
#include <stdint.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "the log is little-endian and written as it lies in memory");

enum {
    COMMIT_MAGIC = 0x51434e46, /* "FNCQ" */
    COMMIT_VERSION = 1,
    COMMIT_ALIGNMENT = 64
};

struct commit_header {
    uint32_t magic;
    uint16_t version;
    uint16_t header_bytes;
    uint64_t epoch;      /* of the run of the broker that made it */
    uint64_t number;     /* 1, 2, 3... within the log */
    uint64_t lsn;        /* its place in the log: the bytes of all commits before it, padding included */
    uint64_t synced_lsn; /* what was known to be safe when it was made; 0 in memory mode */
    uint64_t time_ms;    /* wall clock */
    uint32_t bytes;      /* header to trailer, both included, without padding */
    uint32_t block_count;
    uint32_t fact_bytes;
    uint32_t fact_count;
    uint64_t previous_hash;
    uint64_t header_hash;
} __attribute__((packed));

/* A block can be moved without its commit, so it says all that is to be known about its records. */
struct block_header {
    uint64_t stream;
    uint64_t first_seq;
    uint64_t time_ms;
    uint64_t arrival;      /* grows by one with each block of the log */
    uint64_t bytes_before; /* of the stream's records in earlier blocks */
    uint32_t count;
    uint32_t bytes; /* of the records that follow */
} __attribute__((packed));

struct commit_trailer {
    uint64_t hash;
} __attribute__((packed));

_Static_assert(sizeof(struct commit_header) == 80, "the format is fixed");
_Static_assert(offsetof(struct commit_header, lsn) == 24, "the format is fixed");
_Static_assert(offsetof(struct commit_header, bytes) == 48, "the format is fixed");
_Static_assert(offsetof(struct commit_header, header_hash) == 72, "the hash covers all that is before it");
_Static_assert(sizeof(struct block_header) == 48, "the format is fixed");
_Static_assert(offsetof(struct block_header, count) == 40, "the format is fixed");
_Static_assert(sizeof(struct commit_trailer) == 8, "the format is fixed");

/* The bytes of a commit with the padding behind it. */
static inline uint64_t commit_bytes_aligned(uint64_t bytes)
{
    return (bytes + COMMIT_ALIGNMENT - 1) / COMMIT_ALIGNMENT * COMMIT_ALIGNMENT;
}
