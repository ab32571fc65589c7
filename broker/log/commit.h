/* A commit as it lies in the log: what one turn of the loop adds. The same bytes in memory and in a file.
 *
 *     commit_header | block_header records | block_header records | ... | facts | commit_trailer | zeros
 *     ^ a multiple of 64 bytes                                                       up to the next one ^
 *
 * Between header and padding all is packed: one more record in a block makes the commit longer by exactly the
 * record. Numbers are little-endian, records are as they travelled (proto/record.h), facts as core/fact.h says.
 *
 * Hashes: each byte is hashed once. A block's hash covers its header and its records, so that a block can be read
 *         and checked without its commit. header_hash covers the commit's header. The trailer's hash covers the
 *         commit's header, the headers of its blocks (with their hashes) and the facts. All are XXH3-64, seeded from
 *         the secret of the log's directory, so that no message body can pass for a commit. They are filled in by
 *         commit_seal() before a commit is written to a file; in memory mode, where nobody could ever read them, they
 *         stay zero, and there are no facts.
 * Chain:  a commit names the number, the end and the hash of the one before it, in this segment or an earlier one.
 *         What a crash tore off is not in the chain: the next run's first commit names where it went on from.
 * Place:  an LSN is segment number * segment bytes + offset in the segment. Commits do not cross segments. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "the log is little-endian and written as it lies in memory");

enum {
    COMMIT_MAGIC = 0x51434e46, /* "FNCQ" */
    COMMIT_VERSION = 1,
    COMMIT_ALIGNMENT = 64
};

enum commit_kind {
    COMMIT_LOG = 0, /* a turn */
    COMMIT_MOVED =
        1 /* copies of blocks that stood elsewhere, in a cold segment; no facts, and a chain of its own */
};

struct commit_header {
    uint32_t magic;
    uint16_t version;
    uint16_t kind;
    uint64_t epoch;         /* of the run of the broker that made it */
    uint64_t number;        /* 1, 2, 3... within the log */
    uint64_t lsn;           /* its place */
    uint64_t previous_end;  /* the LSN behind the commit before it, padding included; 0: it is the first */
    uint64_t previous_hash; /* of the trailer before */
    uint64_t
        synced_lsn; /* all commits below were known to be on the disk when it was written; 0 in memory mode */
    uint64_t time_ms; /* wall clock */
    uint32_t bytes;   /* header to trailer, both included, without padding */
    uint32_t block_count;
    uint32_t fact_bytes;
    uint32_t fact_count;
    uint64_t header_hash;
} __attribute__((packed));

/* A block can be moved without its commit, so it says all that is to be known about its records. */
struct block_header {
    uint64_t stream;
    uint64_t first_seq;
    uint64_t time_ms;
    uint64_t arrival;      /* grows with each block of the log: epoch << 40, and a number (core/view.h) */
    uint64_t bytes_before; /* of the stream's records in earlier blocks */
    uint32_t count;
    uint32_t bytes; /* of the records that follow */
    uint64_t hash;
} __attribute__((packed));

struct commit_trailer {
    uint64_t hash;
} __attribute__((packed));

_Static_assert(sizeof(struct commit_header) == 88, "the format is fixed");
_Static_assert(offsetof(struct commit_header, lsn) == 24, "the format is fixed");
_Static_assert(offsetof(struct commit_header, bytes) == 64, "the format is fixed");
_Static_assert(offsetof(struct commit_header, header_hash) == 80, "the hash covers all that is before it");
_Static_assert(sizeof(struct block_header) == 56, "the format is fixed");
_Static_assert(offsetof(struct block_header, hash) == 48, "the hash covers all that is before it");
_Static_assert(sizeof(struct commit_trailer) == 8, "the format is fixed");

/* The bytes of a commit with the padding behind it. */
static inline uint64_t commit_bytes_aligned(uint64_t bytes)
{
    return (bytes + COMMIT_ALIGNMENT - 1) / COMMIT_ALIGNMENT * COMMIT_ALIGNMENT;
}

/* ---- hashes ---- */

/* The secret of a log directory, random, made with it (log/directory.h). */
struct log_secret {
    uint64_t header_seed, commit_seed, block_seed;
};

/* Fills in all hashes of the commit at `at`, which is complete but for synced_lsn, previous_hash and hashes. Gives the
 * trailer's hash: the next commit's previous_hash. */
uint64_t commit_seal(uint8_t *at, uint64_t synced_lsn, uint64_t previous_hash,
                     const struct log_secret *secret);

/* Whether `length` bytes begin with a commit header that was made with this secret for this place. Reads no more than the
 * header; bytes is plausible when true: at least the frame, at most what a segment holds from here. */
bool commit_header_valid(const uint8_t *at, uint64_t length, uint64_t lsn, uint64_t segment_bytes,
                         const struct log_secret *secret);

/* Whether the whole commit at `at` (of which `length` bytes are there) is as it was sealed: hashes of header, blocks and
 * trailer, and lengths and counts that agree. Nothing else need be checked to walk it. */
bool commit_valid(const uint8_t *at, uint64_t length, uint64_t lsn, uint64_t segment_bytes,
                  const struct log_secret *secret);

/* Whether the block at `at`, header first, is as it was sealed. */
bool block_valid(const uint8_t *at, uint64_t length, const struct log_secret *secret);

/* Goes over the blocks of a valid commit: 0 gives the first, NULL comes behind the last. */
const struct block_header *commit_next_block(const struct commit_header *commit,
                                             const struct block_header *previous);
const uint8_t *commit_facts(const struct commit_header *commit);
uint64_t commit_hash(const struct commit_header *commit); /* the trailer's */
