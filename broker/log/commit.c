#include "commit.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <assert.h>
#include <string.h>

enum {
    FRAME_BYTES = sizeof(struct commit_header) + sizeof(struct commit_trailer),
    HEADER_HASHED_BYTES = offsetof(struct commit_header, header_hash),
    BLOCK_HASHED_BYTES = offsetof(struct block_header, hash)
};

/* ---- the hashes ---- */

static uint64_t header_hash(const struct commit_header *header, const struct log_secret *secret)
{
    return XXH3_64bits_withSeed(header, HEADER_HASHED_BYTES, secret->header_seed);
}

/* The header's hash is the seed of the records': each byte is read once, and both hashes are one number. */
static uint64_t block_hash(const struct block_header *block, const struct log_secret *secret)
{
    uint64_t seed = XXH3_64bits_withSeed(block, BLOCK_HASHED_BYTES, secret->block_seed);

    return XXH3_64bits_withSeed(block + 1, block->bytes, seed);
}

/* Over the header, the headers of the blocks, the facts: each one's hash is the next one's seed. */
static uint64_t trailer_hash(const struct commit_header *commit, const struct log_secret *secret)
{
    uint64_t hash = XXH3_64bits_withSeed(commit, sizeof(*commit), secret->commit_seed);

    for (const struct block_header *b = commit_next_block(commit, NULL); b != NULL;
         b = commit_next_block(commit, b))
        hash = XXH3_64bits_withSeed(b, sizeof(*b), hash);
    return XXH3_64bits_withSeed(commit_facts(commit), commit->fact_bytes, hash);
}

static uint8_t *trailer_at(const struct commit_header *commit)
{
    return (uint8_t *)commit + commit->bytes - sizeof(struct commit_trailer);
}

uint64_t commit_hash(const struct commit_header *commit)
{
    return ((const struct commit_trailer *)trailer_at(commit))->hash;
}

/* ---- the parts ---- */

const struct block_header *commit_next_block(const struct commit_header *commit,
                                             const struct block_header *previous)
{
    const uint8_t *next =
        previous != NULL ? (const uint8_t *)(previous + 1) + previous->bytes : (const uint8_t *)(commit + 1);

    return next < commit_facts(commit) ? (const struct block_header *)next : NULL;
}

const uint8_t *commit_facts(const struct commit_header *commit)
{
    return trailer_at(commit) - commit->fact_bytes;
}

/* ---- sealing and checking ---- */

uint64_t commit_seal(uint8_t *at, uint64_t synced_lsn, uint64_t previous_hash,
                     const struct log_secret *secret)
{
    struct commit_header *commit = (struct commit_header *)at;
    uint64_t hash;

    assert(commit->magic == COMMIT_MAGIC && commit->bytes >= FRAME_BYTES);
    commit->synced_lsn = synced_lsn;
    commit->previous_hash = previous_hash;
    commit->header_hash = header_hash(commit, secret);
    for (const struct block_header *b = commit_next_block(commit, NULL); b != NULL;
         b = commit_next_block(commit, b))
        ((struct block_header *)b)->hash = block_hash(b, secret);
    hash = trailer_hash(commit, secret);
    ((struct commit_trailer *)trailer_at(commit))->hash = hash;
    return hash;
}

bool commit_header_valid(const uint8_t *at, uint64_t length, uint64_t lsn, uint64_t segment_bytes,
                         const struct log_secret *secret)
{
    struct commit_header header;

    if (length < sizeof(header))
        return false;
    memcpy(&header, at, sizeof(header));
    return header.magic == COMMIT_MAGIC && header.version == COMMIT_VERSION && header.lsn == lsn &&
           header.header_hash == header_hash(&header, secret) && header.bytes >= FRAME_BYTES &&
           header.fact_bytes <= header.bytes - FRAME_BYTES &&
           header.bytes <= segment_bytes - lsn % segment_bytes;
}

/* Whether the blocks fill what is between the header and the facts, and each is as it was sealed. */
static bool blocks_valid(const struct commit_header *commit, const struct log_secret *secret)
{
    const uint8_t *at = (const uint8_t *)(commit + 1), *end = commit_facts(commit);
    uint32_t count = 0;

    while (at < end) {
        if (!block_valid(at, (uint64_t)(end - at), secret))
            return false;
        at += sizeof(struct block_header) + ((const struct block_header *)at)->bytes;
        count++;
    }
    return count == commit->block_count;
}

bool commit_valid(const uint8_t *at, uint64_t length, uint64_t lsn, uint64_t segment_bytes,
                  const struct log_secret *secret)
{
    const struct commit_header *commit = (const struct commit_header *)at;

    return commit_header_valid(at, length, lsn, segment_bytes, secret) && commit->bytes <= length &&
           blocks_valid(commit, secret) && commit_hash(commit) == trailer_hash(commit, secret);
}

bool block_valid(const uint8_t *at, uint64_t length, const struct log_secret *secret)
{
    const struct block_header *block = (const struct block_header *)at;

    return length >= sizeof(*block) && block->bytes <= length - sizeof(*block) && block->count > 0 &&
           block->hash == block_hash(block, secret);
}
