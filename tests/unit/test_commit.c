#include "log/commit.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <string.h>

#include "tests/lib/guard.h"
#include "tests/lib/random.h"
#include "tests/lib/unit.h"

enum { SEGMENT_BYTES = 1024 * 1024, COMMIT_BYTES_MAX = 4096 };

static const struct log_secret secret = {
    .header_seed = 0x1111222233334444, .commit_seed = 0x5555666677778888, .block_seed = 0x9999aaaabbbbcccc};

static const uint64_t lsn = 5 * SEGMENT_BYTES + 640;

/* ---- making commits ---- */

struct draft {
    uint8_t bytes[COMMIT_BYTES_MAX];
    uint32_t used;
};

static struct commit_header *header(struct draft *d)
{
    return (struct commit_header *)d->bytes;
}

static void begin(struct draft *d)
{
    memset(d, 0, sizeof *d);
    *header(d) = (struct commit_header){.magic = COMMIT_MAGIC,
                                        .version = COMMIT_VERSION,
                                        .epoch = 7,
                                        .number = 1234,
                                        .lsn = lsn,
                                        .previous_end = lsn - 64,
                                        .time_ms = 1700000000000};
    d->used = sizeof(struct commit_header);
}

static void add_block(struct draft *d, uint32_t bytes)
{
    struct block_header block = {.stream = 3 + header(d)->block_count,
                                 .first_seq = 1000,
                                 .arrival = 99 + header(d)->block_count,
                                 .count = 2,
                                 .bytes = bytes};

    memcpy(d->bytes + d->used, &block, sizeof block);
    memset(d->bytes + d->used + sizeof block, (int)bytes, bytes);
    d->used += (uint32_t)sizeof block + bytes;
    header(d)->block_count++;
}

static void finish(struct draft *d, uint32_t fact_bytes)
{
    memset(d->bytes + d->used, 0xfa, fact_bytes);
    d->used += fact_bytes + (uint32_t)sizeof(struct commit_trailer);
    header(d)->fact_bytes = fact_bytes;
    header(d)->fact_count = fact_bytes / 4;
    header(d)->bytes = d->used;
}

/* Three blocks, one of them with a record longer than what a hash takes at once; and facts. */
static void make(struct draft *d)
{
    begin(d);
    add_block(d, 12);
    add_block(d, 300);
    add_block(d, 7);
    finish(d, 33);
}

static bool valid(const struct draft *d)
{
    return commit_valid(d->bytes, d->used, lsn, SEGMENT_BYTES, &secret);
}

/* ---- tests ---- */

TEST(a_sealed_commit_is_valid)
{
    struct draft d;
    uint64_t hash;

    make(&d);
    assert_false(valid(&d));
    hash = commit_seal(d.bytes, lsn - 640, 0xabcdef, &secret);
    assert_true(valid(&d));
    assert_true(commit_header_valid(d.bytes, d.used, lsn, SEGMENT_BYTES, &secret));
    assert_int_equal(commit_hash(header(&d)), hash);
    assert_int_equal(header(&d)->synced_lsn, lsn - 640);
    assert_int_equal(header(&d)->previous_hash, 0xabcdef);
}

TEST(commits_of_every_shape_are_valid_and_can_be_walked)
{
    static const uint32_t lengths[] = {1, 2, 3, 4, 8, 9, 16, 17, 128, 129, 240, 241, 600};
    struct draft d;

    for (uint32_t blocks = 0; blocks < 5; blocks++)
        for (uint32_t fact_bytes = 0; fact_bytes < 300; fact_bytes += 1 + fact_bytes / 8) {
            const struct block_header *b = NULL;

            begin(&d);
            for (uint32_t i = 0; i < blocks; i++)
                add_block(&d, lengths[(i * 5 + fact_bytes) % 13]);
            finish(&d, fact_bytes);
            (void)commit_seal(d.bytes, 0, 0, &secret); /* looked at below */
            assert_true(valid(&d));
            for (uint32_t i = 0; i < blocks; i++) {
                b = commit_next_block(header(&d), b);
                assert_int_equal(b->stream, 3 + i);
                assert_int_equal(b->bytes, lengths[(i * 5 + fact_bytes) % 13]);
                assert_true(block_valid((const uint8_t *)b, sizeof *b + b->bytes, &secret));
                assert_false(block_valid((const uint8_t *)b, sizeof *b + b->bytes - 1, &secret));
            }
            assert_null(commit_next_block(header(&d), b));
            for (uint32_t i = 0; i < fact_bytes; i++)
                assert_int_equal(commit_facts(header(&d))[i], 0xfa);
        }
}

TEST(every_flipped_bit_is_found)
{
    struct draft d;

    make(&d);
    (void)commit_seal(d.bytes, 0, 77, &secret); /* looked at below */
    for (uint32_t bit = 0; bit < d.used * 8; bit++) {
        d.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(valid(&d));
        assert_int_equal(commit_header_valid(d.bytes, d.used, lsn, SEGMENT_BYTES, &secret),
                         bit / 8 >= sizeof(struct commit_header));
        d.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_true(valid(&d));
}

/* A block is read back without its commit. */
TEST(every_flipped_bit_of_a_block_is_found_by_the_block_alone)
{
    enum { BYTES = sizeof(struct block_header) + 300 };
    struct draft d;
    uint8_t *block;

    begin(&d);
    add_block(&d, 300);
    finish(&d, 0);
    (void)commit_seal(d.bytes, 0, 77, &secret); /* looked at below */
    block = d.bytes + sizeof(struct commit_header);
    for (uint32_t bit = 0; bit < BYTES * 8; bit++) {
        block[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(block_valid(block, BYTES, &secret));
        block[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_true(block_valid(block, BYTES, &secret));
}

/* Also where the header's own hash is put right afterwards, as if somebody had the seed: nothing else may slip through. */
TEST(each_header_byte_is_covered_by_the_trailer_too)
{
    struct draft d, other;

    make(&d);
    (void)commit_seal(d.bytes, 0, 77, &secret); /* looked at below */
    for (uint32_t i = offsetof(struct commit_header, epoch); i < offsetof(struct commit_header, header_hash);
         i++) {
        other = d;
        other.bytes[i] ^= 1;
        if (header(&other)->bytes != header(&d)->bytes || header(&other)->lsn != lsn ||
            header(&other)->fact_bytes != header(&d)->fact_bytes)
            continue; /* sealing looks for the trailer and the blocks elsewhere */
        (void)commit_seal(other.bytes, header(&other)->synced_lsn, header(&other)->previous_hash, &secret);
        assert_int_not_equal(commit_hash(header(&other)), commit_hash(header(&d)));
    }
}

TEST(records_that_lie_in_another_order_are_found)
{
    struct draft d;
    struct block_header *first, *second;
    uint8_t records[300];

    begin(&d);
    add_block(&d, 300);
    add_block(&d, 300);
    finish(&d, 0);
    first = (struct block_header *)(d.bytes + sizeof(struct commit_header));
    second = (struct block_header *)((uint8_t *)(first + 1) + 300);
    memset(second + 1, 9, 300);
    (void)commit_seal(d.bytes, 0, 77, &secret); /* looked at below */
    assert_true(valid(&d));
    memcpy(records, first + 1, 300);
    memcpy(first + 1, second + 1, 300);
    memcpy(second + 1, records, 300);
    assert_false(valid(&d));
}

TEST(two_blocks_that_change_places_are_found)
{
    struct draft d;
    uint8_t *first, block[sizeof(struct block_header) + 50];

    begin(&d);
    add_block(&d, 50);
    add_block(&d, 50);
    finish(&d, 0);
    (void)commit_seal(d.bytes, 0, 77, &secret); /* looked at below */
    first = d.bytes + sizeof(struct commit_header);
    memcpy(block, first, sizeof block);
    memcpy(first, first + sizeof block, sizeof block);
    memcpy(first + sizeof block, block, sizeof block);
    assert_true(block_valid(first, sizeof block, &secret)); /* each is whole */
    assert_false(valid(&d));
}

TEST(every_truncation_is_found_without_reading_over_the_end)
{
    struct guard guard;
    struct draft d;

    guard_init(&guard, COMMIT_BYTES_MAX);
    make(&d);
    (void)commit_seal(d.bytes, 0, 77, &secret); /* looked at below */
    for (uint32_t length = 0; length <= d.used; length++) {
        const uint8_t *at = guard_put(&guard, d.bytes, length);

        assert_int_equal(commit_header_valid(at, length, lsn, SEGMENT_BYTES, &secret),
                         length >= sizeof(struct commit_header));
        assert_int_equal(commit_valid(at, length, lsn, SEGMENT_BYTES, &secret), length == d.used);
    }
    guard_close(&guard);
}

/* Whoever knew the secret could lie in every number; then nothing is read that is not there. */
TEST(lies_in_the_lengths_do_not_lead_out_of_the_commit)
{
    static const uint32_t lies[] = {0,  1,  7,          55,         56,         95,
                                    96, 97, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff};
    struct random r = {.state = 42};
    struct guard guard;
    struct draft d;

    guard_init(&guard, COMMIT_BYTES_MAX);
    for (int round = 0; round < 20000; round++) {
        struct commit_header *commit;
        struct block_header *block;
        uint32_t lie = lies[random_below(&r, sizeof lies / sizeof lies[0])];

        make(&d);
        (void)commit_seal(d.bytes, 0, 77, &secret); /* it is spoilt below */
        commit = (struct commit_header *)guard_put(&guard, d.bytes, d.used);
        block = (struct block_header *)(commit + 1);
        commit->block_count = round % 2 == 0 ? 3 : 0;
        switch (random_below(&r, 4)) {
        case 0:
            block->bytes = lie;
            break;
        case 1:
            commit->bytes = lie;
            break;
        case 2:
            commit->fact_bytes = lie;
            break;
        default:
            commit->bytes = d.used - (uint32_t)random_below(&r, d.used);
            commit->fact_bytes = (uint32_t)random_below(&r, d.used);
            break;
        }
        commit->header_hash =
            XXH3_64bits_withSeed(commit, offsetof(struct commit_header, header_hash), secret.header_seed);
        if (commit->block_count != 3 || commit->bytes != d.used ||
            commit->fact_bytes != header(&d)->fact_bytes || block->bytes != 12)
            assert_false(commit_valid((const uint8_t *)commit, d.used, lsn, SEGMENT_BYTES, &secret));
    }
    guard_close(&guard);
}

TEST(a_commit_of_another_place_or_log_is_refused)
{
    struct draft d;
    struct log_secret other;

    make(&d);
    (void)commit_seal(d.bytes, 0, 77, &secret);                                    /* looked at below */
    assert_false(commit_valid(d.bytes, d.used, lsn + 64, SEGMENT_BYTES, &secret)); /* misdirected */
    assert_false(commit_valid(d.bytes, d.used, lsn + SEGMENT_BYTES, SEGMENT_BYTES,
                              &secret)); /* stale, in a segment that is used again */
    for (int i = 0; i < 3; i++) {
        other = secret;
        (i == 0 ? &other.header_seed : i == 1 ? &other.commit_seed : &other.block_seed)[0] ^= 1;
        assert_false(commit_valid(d.bytes, d.used, lsn, SEGMENT_BYTES, &other));
    }
}

TEST(a_commit_that_would_cross_its_segment_is_refused)
{
    struct draft d;
    uint64_t near_end = 6 * (uint64_t)SEGMENT_BYTES - 512;

    make(&d);
    assert_true(d.used < 1024 && d.used > 512);
    header(&d)->lsn = near_end;
    (void)commit_seal(d.bytes, 0, 77, &secret); /* looked at below */
    assert_false(commit_header_valid(d.bytes, d.used, near_end, SEGMENT_BYTES, &secret));
    header(&d)->lsn = near_end - 512;
    (void)commit_seal(d.bytes, 0, 77, &secret); /* looked at below */
    assert_true(commit_valid(d.bytes, d.used, near_end - 512, SEGMENT_BYTES, &secret));
}

TEST(zeros_and_noise_are_no_commits)
{
    struct random r = {.state = 7};
    uint8_t noise[512] = {0};

    assert_false(commit_valid(noise, sizeof noise, 0, SEGMENT_BYTES, &secret));
    assert_false(block_valid(noise, sizeof noise, &secret));
    for (int round = 0; round < 1000; round++) {
        for (size_t i = 0; i < sizeof noise; i++)
            noise[i] = (uint8_t)random_next(&r);
        assert_false(commit_valid(noise, sizeof noise, 0, SEGMENT_BYTES, &secret));
        assert_false(block_valid(noise, sizeof noise, &secret));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sealed_commit_is_valid),
        cmocka_unit_test(commits_of_every_shape_are_valid_and_can_be_walked),
        cmocka_unit_test(every_flipped_bit_is_found),
        cmocka_unit_test(every_flipped_bit_of_a_block_is_found_by_the_block_alone),
        cmocka_unit_test(each_header_byte_is_covered_by_the_trailer_too),
        cmocka_unit_test(records_that_lie_in_another_order_are_found),
        cmocka_unit_test(two_blocks_that_change_places_are_found),
        cmocka_unit_test(every_truncation_is_found_without_reading_over_the_end),
        cmocka_unit_test(lies_in_the_lengths_do_not_lead_out_of_the_commit),
        cmocka_unit_test(a_commit_of_another_place_or_log_is_refused),
        cmocka_unit_test(a_commit_that_would_cross_its_segment_is_refused),
        cmocka_unit_test(zeros_and_noise_are_no_commits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
