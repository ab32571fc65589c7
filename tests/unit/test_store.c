#include "log/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log/checkpoint_file.h"
#include "log/segment_index.h"
#include "tests/lib/random.h"
#include "tests/lib/sim_disk.h"
#include "tests/lib/unit.h"

enum { KIB = 1024, MIB = 1024 * 1024, SEGMENT_BYTES = 3 * MIB };

struct fixture {
    struct sim_disk *disk;
    struct directory directory;
    struct store *store;
    int notices;
};

static void take_notice(void *context)
{
    ((struct fixture *)context)->notices++;
}

static void fixture_open(struct fixture *f, struct sim_disk *disk)
{
    struct directory_options options = {
        .io = sim_disk_io(disk), .segment_bytes = SEGMENT_BYTES, .random = {1, 2, 3, 4}};
    char error[DIRECTORY_ERROR_BYTES];

    *f = (struct fixture){.disk = disk};
    assert_int_equal(directory_open(&options, &f->directory, error), 0);
    assert_int_equal(
        store_new(&(struct store_options){.directory = &f->directory, .notify = take_notice, .context = f},
                  &f->store),
        0);
}

static void fixture_close(struct fixture *f)
{
    store_free(f->store);
    assert_int_equal(sim_disk_open_files(f->disk), 0);
    sim_disk_free(f->disk);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    fixture_open(f, sim_disk_new(1));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture_close(*state);
    free(*state);
    return 0;
}

static void submit(struct fixture *f, const struct store_job *job)
{
    assert_true(store_submit(f->store, job));
}

/* Does all that there is; gives the error of the only job. */
static int finish(struct fixture *f)
{
    struct store_done done, more;

    while (store_work(f->store))
        ;
    assert_true(store_done(f->store, &done));
    assert_false(store_done(f->store, &more));
    return done.error;
}

static int run(struct fixture *f, const struct store_job *job)
{
    submit(f, job);
    return finish(f);
}

static const uint8_t *content(struct fixture *f, enum directory_kind kind, uint64_t number,
                              uint64_t *ret_length)
{
    char name[DIRECTORY_NAME_BYTES_MAX];

    directory_segment_name(name, kind, number);
    return sim_disk_content(f->disk, name, ret_length);
}

static bool has(struct fixture *f, const char *name)
{
    uint64_t length;

    return sim_disk_content(f->disk, name, &length) != NULL;
}

/* ---- commits ---- */

/* A segment in the making: commits one behind the other. */
struct draft_segment {
    const struct directory *directory;
    enum directory_kind kind;
    uint64_t number;
    uint8_t *data;
    uint64_t length;
    uint64_t last_number, last_hash;
};

static struct draft_segment draft_new(struct fixture *f, enum directory_kind kind, uint64_t number)
{
    return (struct draft_segment){.directory = &f->directory,
                                  .kind = kind,
                                  .number = number,
                                  .data = calloc(1, SEGMENT_BYTES),
                                  .last_number = 10 * number};
}

/* One more commit with blocks of this many bytes each. Gives its offset. */
static uint64_t draft_commit(struct draft_segment *s, uint32_t block_count, uint32_t block_bytes)
{
    uint8_t *at = s->data + s->length;
    struct commit_header *header = (struct commit_header *)at;
    uint64_t offset = s->length, lsn = s->number * SEGMENT_BYTES + offset;
    struct block_header *block = (struct block_header *)(header + 1);

    *header = (struct commit_header){
        .magic = COMMIT_MAGIC,
        .version = COMMIT_VERSION,
        .kind = s->kind == DIRECTORY_COLD ? COMMIT_MOVED : COMMIT_LOG,
        .epoch = 5,
        .number = ++s->last_number,
        .lsn = lsn,
        .previous_end = lsn,
        .block_count = block_count,
        .fact_bytes = 3,
        .fact_count = 1,
        .bytes = (uint32_t)(sizeof *header + block_count * (sizeof *block + block_bytes) + 3 +
                            sizeof(struct commit_trailer)),
    };
    for (uint32_t i = 0; i < block_count; i++) {
        *block = (struct block_header){
            .stream = i + 1, .first_seq = s->last_number, .count = 1, .bytes = block_bytes};
        memset(block + 1, (int)(i + s->last_number), block_bytes);
        block = (struct block_header *)((uint8_t *)(block + 1) + block_bytes);
    }
    memcpy(block, "fff", 3);
    s->last_hash = commit_seal(at, lsn, s->last_hash, &s->directory->secret);
    s->length += commit_bytes_aligned(header->bytes);
    assert_true(s->length <= SEGMENT_BYTES);
    return offset;
}

static void draft_put(struct fixture *f, struct draft_segment *s)
{
    char name[DIRECTORY_NAME_BYTES_MAX];

    directory_segment_name(name, s->kind, s->number);
    sim_disk_put(f->disk, name, s->data, s->length);
}

static struct store_job read_job(struct draft_segment *s, uint64_t offset, uint8_t *data, uint32_t bytes)
{
    return (struct store_job){
        .kind = STORE_READ,
        .read = {
            .segment_kind = s->kind, .number = s->number, .offset = offset, .bytes = bytes, .data = data}};
}

enum { BLOCK = 1000, BLOCK_WHOLE = sizeof(struct block_header) + BLOCK };

/* ---- reads ---- */

TEST(a_block_is_read_and_checked)
{
    struct fixture *f = *state;
    struct draft_segment s = draft_new(f, DIRECTORY_LOG, 3);
    uint64_t at = draft_commit(&s, 2, BLOCK) + sizeof(struct commit_header);
    uint8_t data[BLOCK_WHOLE];
    struct store_job job = read_job(&s, at + BLOCK_WHOLE, data, BLOCK_WHOLE);

    draft_put(f, &s);
    assert_int_equal(run(f, &job), 0);
    assert_memory_equal(data, s.data + at + BLOCK_WHOLE, BLOCK_WHOLE);
    assert_int_equal(f->notices, 1);
    /* Every byte counts, but those of others do not. */
    sim_disk_flip(f->disk, "log-0000000000000003", at + BLOCK_WHOLE - 1, 1);
    assert_int_equal(run(f, &job), 0);
    for (uint64_t i = 0; i < BLOCK_WHOLE; i++) {
        sim_disk_flip(f->disk, "log-0000000000000003", at + BLOCK_WHOLE + i, 0x10);
        assert_int_equal(run(f, &job), -EBADMSG);
        sim_disk_flip(f->disk, "log-0000000000000003", at + BLOCK_WHOLE + i, 0x10);
    }
    free(s.data);
}

TEST(a_read_that_finds_too_little_or_another_length_is_damage)
{
    struct fixture *f = *state;
    struct draft_segment s = draft_new(f, DIRECTORY_LOG, 3);
    uint64_t at = draft_commit(&s, 2, BLOCK) + sizeof(struct commit_header);
    uint8_t data[BLOCK_WHOLE + 1];
    struct store_job job = read_job(&s, at, data, BLOCK_WHOLE + 1);

    draft_put(f, &s);
    assert_int_equal(run(f, &job), -EBADMSG);
    job.read.bytes = BLOCK_WHOLE - 1;
    assert_int_equal(run(f, &job), -EBADMSG);
    job.read.bytes = BLOCK_WHOLE;
    assert_int_equal(run(f, &job), 0);
    sim_disk_cut(f->disk, "log-0000000000000003", at + BLOCK_WHOLE);
    job.read.bytes = BLOCK_WHOLE + 1;
    assert_int_equal(run(f, &job), -EBADMSG);
    job.read.bytes = BLOCK_WHOLE;
    assert_int_equal(run(f, &job), 0);
    sim_disk_cut(f->disk, "log-0000000000000003", at + BLOCK_WHOLE - 1);
    assert_int_equal(run(f, &job), -EBADMSG);
    sim_disk_cut(f->disk, "log-0000000000000003", 0);
    assert_int_equal(run(f, &job), -EBADMSG);
    job.read.number = 4;
    assert_int_equal(run(f, &job), -ENOENT);
    free(s.data);
}

TEST(many_segments_are_read_with_few_files_open)
{
    enum { SEGMENTS = 100 };
    struct fixture *f = *state;
    struct random random = {1};
    struct draft_segment segments[SEGMENTS];
    uint8_t data[BLOCK_WHOLE];

    for (uint64_t i = 0; i < SEGMENTS; i++) {
        segments[i] = draft_new(f, i % 2 == 0 ? DIRECTORY_LOG : DIRECTORY_COLD, i);
        draft_commit(&segments[i], 1, BLOCK);
        draft_put(f, &segments[i]);
    }
    for (int i = 0; i < 2000; i++) {
        struct draft_segment *s = &segments[random_below(&random, SEGMENTS)];
        struct store_job job = read_job(s, sizeof(struct commit_header), data, BLOCK_WHOLE);
        assert_int_equal(run(f, &job), 0);
        assert_memory_equal(data, s->data + sizeof(struct commit_header), BLOCK_WHOLE);
        assert_true(sim_disk_open_files(f->disk) <= 32);
    }
    for (int i = 0; i < SEGMENTS; i++)
        free(segments[i].data);
}

/* ---- spares ---- */

static struct store_job prepare_job(uint64_t spare, uint64_t recycle)
{
    return (struct store_job){.kind = STORE_PREPARE, .prepare = {.spare = spare, .recycle = recycle}};
}

static void expect_zeros(const uint8_t *data, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i < to; i++)
        assert_int_equal(data[i], 0);
}

TEST(a_new_spare_is_zeros_to_its_end_and_on_the_disk)
{
    struct fixture *f = *state;
    struct store_job job = prepare_job(7, STORE_NO_SEGMENT);
    uint64_t length;
    const uint8_t *data;

    assert_int_equal(run(f, &job), 0);
    sim_disk_crash(f->disk, SIM_DISK_LOSE);
    data = content(f, DIRECTORY_SPARE, 7, &length);
    assert_non_null(data);
    assert_int_equal(length, SEGMENT_BYTES);
    expect_zeros(data, 0, length);
}

TEST(a_dead_segment_becomes_a_spare_without_an_index)
{
    struct fixture *f = *state;
    struct draft_segment s = draft_new(f, DIRECTORY_LOG, 3);
    struct store_job job = prepare_job(7, 3), read;
    uint8_t block[BLOCK_WHOLE];
    uint64_t length;
    const uint8_t *data;

    draft_commit(&s, 1, BLOCK);
    draft_put(f, &s); /* it was cut short: the rest is filled */
    sim_disk_put(f->disk, "log-0000000000000003.index", "x", 1);
    read = read_job(&s, sizeof(struct commit_header), block, sizeof block);
    assert_int_equal(run(f, &read), 0);

    assert_int_equal(run(f, &job), 0);
    assert_int_equal(run(f, &read), -ENOENT); /* and not what is in the spare's place by then */
    sim_disk_crash(f->disk, SIM_DISK_LOSE);
    assert_false(has(f, "log-0000000000000003"));
    assert_false(has(f, "log-0000000000000003.index"));
    data = content(f, DIRECTORY_SPARE, 7, &length);
    assert_non_null(data);
    assert_int_equal(length, SEGMENT_BYTES);
    assert_memory_equal(data, s.data, s.length);
    expect_zeros(data, s.length, length);
    free(s.data);
}

TEST(a_full_segment_is_recycled_without_a_write)
{
    struct fixture *f = *state;
    struct store_job job = prepare_job(7, STORE_NO_SEGMENT);

    assert_int_equal(run(f, &job), 0);
    assert_int_equal(f->directory.io.rename(f->disk, "spare-0000000000000007", "log-0000000000000003"), 0);
    uint64_t before = sim_disk_operations(f->disk);
    job = prepare_job(8, 3);
    assert_int_equal(run(f, &job), 0);
    for (uint64_t i = before + 1; i <= sim_disk_operations(f->disk); i++)
        assert_int_not_equal(sim_disk_operation(f->disk, i), SIM_DISK_WRITE);
}

TEST(a_recycling_that_failed_late_can_be_tried_again)
{
    struct fixture *f = *state;
    struct store_job job = prepare_job(7, 3);
    uint64_t length;

    sim_disk_put(f->disk, "log-0000000000000003", "stale", 5);
    sim_disk_fault(f->disk, &(struct sim_disk_fault){.at = 1,
                                                     .operations = SIM_DISK_SET(SIM_DISK_SYNC_DIRECTORY),
                                                     .sticky = true,
                                                     .error = EIO});
    assert_int_equal(run(f, &job), -EIO);
    sim_disk_fault(f->disk, &(struct sim_disk_fault){.at = 0});
    assert_int_equal(run(f, &job), 0);
    sim_disk_crash(f->disk, SIM_DISK_LOSE);
    assert_null(content(f, DIRECTORY_LOG, 3, &length));
    assert_memory_equal(content(f, DIRECTORY_SPARE, 7, &length), "stale\0\0", 7);
    assert_int_equal(length, SEGMENT_BYTES);
}

TEST(a_spare_that_finds_no_room_leaves_none_taken)
{
    struct fixture *f = *state;
    struct store_job job = prepare_job(7, STORE_NO_SEGMENT);

    sim_disk_set_capacity(f->disk, SEGMENT_BYTES / 2);
    assert_int_equal(run(f, &job), -ENOSPC);
    assert_false(has(f, "spare-0000000000000007"));
    sim_disk_set_capacity(f->disk, UINT64_MAX);
    assert_int_equal(run(f, &job), 0);
}

/* ---- indexes ---- */

static struct store_job segment_job(enum store_kind kind, enum directory_kind segment_kind, uint64_t number)
{
    return (struct store_job){.kind = kind, .segment = {.segment_kind = segment_kind, .number = number}};
}

static void expect_index_of(const struct draft_segment *s, const struct segment_index *index)
{
    uint64_t count = 0;

    for (uint64_t at = 0; at < index->header.end;) {
        const struct commit_header *commit = (const struct commit_header *)(s->data + at);
        for (const struct block_header *b = commit_next_block(commit, NULL); b != NULL;
             b = commit_next_block(commit, b)) {
            assert_true(count < index->header.entry_count);
            assert_int_equal(index->entries[count].offset, (uint64_t)((const uint8_t *)b - s->data));
            assert_memory_equal(&index->entries[count].block, b, sizeof *b);
            count++;
        }
        at += commit_bytes_aligned(commit->bytes);
    }
    assert_int_equal(count, index->header.entry_count);
}

static void index_is_made(struct fixture *f, enum directory_kind kind)
{
    struct draft_segment s = draft_new(f, kind, 3);
    struct store_job job = segment_job(STORE_INDEX, kind, 3);
    struct segment_index index;

    for (int i = 0; i < 50; i++)
        draft_commit(&s, (uint32_t)(i * 7 % 13), (uint32_t)(1 + i * 377 % 3000));
    draft_commit(&s, 3, 500 * KIB); /* longer than a step */
    draft_commit(&s, 0, 0);
    draft_put(f, &s);
    assert_int_equal(run(f, &job), 0);
    sim_disk_crash(f->disk, SIM_DISK_LOSE);
    assert_int_equal(segment_index_read(&f->directory, kind, 3, &index), 0);
    assert_int_equal(index.header.end, s.length);
    assert_int_equal(index.header.first_commit, 31);
    assert_int_equal(index.header.last_commit, s.last_number);
    assert_int_equal(index.header.last_hash, s.last_hash);
    expect_index_of(&s, &index);
    segment_index_free(&index);
    free(s.data);
}

TEST(an_index_has_every_block_of_a_segment)
{
    index_is_made(*state, DIRECTORY_LOG);
    index_is_made(*state, DIRECTORY_COLD);
}

/* What a recycled segment still has from its life before, and what does not continue the chain, is not its own. */
TEST(an_index_ends_with_the_chain)
{
    struct fixture *f = *state;
    struct draft_segment s = draft_new(f, DIRECTORY_LOG, 3), old = draft_new(f, DIRECTORY_LOG, 2);
    struct segment_index index;
    uint64_t end;

    for (int i = 0; i < 8; i++)
        draft_commit(&old, 2, BLOCK);
    draft_commit(&s, 2, BLOCK);
    end = s.length;
    memcpy(s.data + end, old.data + end, old.length - end);
    s.length = old.length;
    draft_put(f, &s);
    assert_int_equal(segment_index_scan(&f->directory, DIRECTORY_LOG, 3, &index), 0);
    assert_int_equal(index.header.end, end);
    assert_int_equal(index.header.entry_count, 2);
    segment_index_free(&index);

    /* Of the right place and number, but behind another commit. */
    s.length = end;
    s.last_hash++;
    draft_commit(&s, 2, BLOCK);
    draft_put(f, &s);
    assert_int_equal(segment_index_scan(&f->directory, DIRECTORY_LOG, 3, &index), 0);
    assert_int_equal(index.header.end, end);
    segment_index_free(&index);
    free(s.data);
    free(old.data);
}

/* Nothing but the chain says where a cold segment ends, so an index that ends early would hide what is behind. */
TEST(a_damaged_cold_segment_gets_no_index)
{
    struct fixture *f = *state;
    struct draft_segment s = draft_new(f, DIRECTORY_COLD, 3);
    struct store_job job = segment_job(STORE_INDEX, DIRECTORY_COLD, 3);
    struct segment_index index;
    uint64_t middle, last;

    draft_commit(&s, 2, BLOCK);
    middle = draft_commit(&s, 2, 900 * KIB);
    last = draft_commit(&s, 2, BLOCK);
    draft_put(f, &s);
    sim_disk_flip(f->disk, "cold-0000000000000003", middle + 1000, 1);
    assert_int_equal(run(f, &job), -EBADMSG);
    assert_false(has(f, "cold-0000000000000003.index"));
    sim_disk_flip(f->disk, "cold-0000000000000003", middle + 1000, 1);
    sim_disk_flip(f->disk, "cold-0000000000000003", middle, 1); /* its header */
    assert_int_equal(run(f, &job), -EBADMSG);
    sim_disk_flip(f->disk, "cold-0000000000000003", middle, 1);
    /* The last one may be what a crash tore. */
    sim_disk_flip(f->disk, "cold-0000000000000003", last + 1000, 1);
    assert_int_equal(run(f, &job), 0);
    assert_int_equal(segment_index_read(&f->directory, DIRECTORY_COLD, 3, &index), 0);
    assert_int_equal(index.header.end, last);
    segment_index_free(&index);
    free(s.data);
}

TEST(an_index_that_is_not_as_it_was_written_is_refused)
{
    struct fixture *f = *state;
    struct draft_segment s = draft_new(f, DIRECTORY_LOG, 3);
    struct store_job job = segment_job(STORE_INDEX, DIRECTORY_LOG, 3);
    struct segment_index index;
    struct directory other;
    const uint8_t *data;
    uint64_t length;

    assert_int_equal(segment_index_read(&f->directory, DIRECTORY_LOG, 3, &index), -ENOENT);
    draft_commit(&s, 3, 10);
    draft_put(f, &s);
    assert_int_equal(run(f, &job), 0);
    data = sim_disk_content(f->disk, "log-0000000000000003.index", &length);
    /* Another segment's, another kind's, another directory's. */
    sim_disk_put(f->disk, "log-0000000000000004.index", data, length);
    data = sim_disk_content(f->disk, "log-0000000000000003.index", &length);
    sim_disk_put(f->disk, "cold-0000000000000003.index", data, length);
    assert_int_equal(segment_index_read(&f->directory, DIRECTORY_LOG, 4, &index), -EBADMSG);
    assert_int_equal(segment_index_read(&f->directory, DIRECTORY_COLD, 3, &index), -EBADMSG);
    other = f->directory;
    other.id++;
    assert_int_equal(segment_index_read(&other, DIRECTORY_LOG, 3, &index), -EBADMSG);
    for (uint64_t bit = 0; bit < 8 * length; bit++) {
        sim_disk_flip(f->disk, "log-0000000000000003.index", bit / 8, (uint8_t)(1 << bit % 8));
        assert_int_equal(segment_index_read(&f->directory, DIRECTORY_LOG, 3, &index), -EBADMSG);
        sim_disk_flip(f->disk, "log-0000000000000003.index", bit / 8, (uint8_t)(1 << bit % 8));
    }
    while (length-- > 0) {
        sim_disk_cut(f->disk, "log-0000000000000003.index", length);
        assert_int_equal(segment_index_read(&f->directory, DIRECTORY_LOG, 3, &index), -EBADMSG);
    }
    free(s.data);
}

/* ---- removing, checkpoints ---- */

TEST(a_segment_goes_with_its_index_and_twice_does_no_harm)
{
    struct fixture *f = *state;
    struct store_job job = segment_job(STORE_REMOVE, DIRECTORY_COLD, 3);

    sim_disk_put(f->disk, "cold-0000000000000003", "x", 1);
    sim_disk_put(f->disk, "cold-0000000000000003.index", "x", 1);
    sim_disk_put(f->disk, "log-0000000000000003", "x", 1);
    assert_int_equal(run(f, &job), 0);
    sim_disk_crash(f->disk, SIM_DISK_LOSE);
    assert_false(has(f, "cold-0000000000000003"));
    assert_false(has(f, "cold-0000000000000003.index"));
    assert_true(has(f, "log-0000000000000003"));
    assert_int_equal(run(f, &job), 0);
    job = segment_job(STORE_REMOVE, DIRECTORY_SPARE, 9);
    sim_disk_put(f->disk, "spare-0000000000000009", "x", 1);
    assert_int_equal(run(f, &job), 0);
    assert_false(has(f, "spare-0000000000000009"));
}

/* With so many bytes of facts. */
static struct store_job checkpoint_job(uint64_t number, size_t length)
{
    uint8_t *facts = malloc(length);

    memset(facts, (int)number, length);
    return (struct store_job){
        .kind = STORE_CHECKPOINT,
        .checkpoint = {.number = number, .lsn = 64, .facts = facts, .fact_bytes = length}};
}

static void expect_checkpoint(const struct checkpoint *c, uint64_t number, size_t length)
{
    assert_int_equal(c->number, number);
    assert_int_equal(c->lsn, 64);
    assert_int_equal(c->fact_bytes, length);
    for (size_t i = 0; i < length; i++)
        assert_int_equal(c->facts[i], (uint8_t)number);
}

static void expect_checkpoints(struct fixture *f, uint64_t newer, size_t newer_length, uint64_t older,
                               size_t older_length)
{
    struct checkpoints c;

    assert_int_equal(checkpoints_read(&f->directory, &c), 0);
    assert_int_equal(c.count, 2);
    expect_checkpoint(&c.items[0], newer, newer_length);
    expect_checkpoint(&c.items[1], older, older_length);
    checkpoints_free(&c);
}

TEST(a_checkpoint_is_sealed_and_put_in_place)
{
    struct fixture *f = *state;
    struct store_job job = checkpoint_job(1, 3 * MIB + 5);

    assert_int_equal(run(f, &job), 0);
    job = checkpoint_job(2, 7);
    assert_int_equal(run(f, &job), 0);
    sim_disk_crash(f->disk, SIM_DISK_LOSE);
    expect_checkpoints(f, 2, 7, 1, 3 * MIB + 5);
    job = checkpoint_job(3, 5); /* in place of the first */
    assert_int_equal(run(f, &job), 0);
    expect_checkpoints(f, 3, 5, 2, 7);
    assert_true(has(f, "checkpoint-a.spare")); /* the first one's, for the next */
    assert_false(has(f, "checkpoint-b.spare"));
}

/* ---- room for checkpoints ---- */

static void put_checkpoint(struct fixture *f, uint64_t number, size_t length)
{
    struct store_job job = checkpoint_job(number, length);

    assert_int_equal(run(f, &job), 0);
}

static uint64_t length_of(struct fixture *f, const char *name)
{
    uint64_t length = 0;

    sim_disk_content(f->disk, name, &length);
    return length;
}

/* Some longer, some shorter, none by more than there is room for. */
static size_t some_length(uint64_t number)
{
    return 100 * KIB + number * 7 % 5 * 8 * KIB;
}

TEST(checkpoints_go_on_when_the_disk_has_no_free_block)
{
    struct fixture *f = *state;

    for (uint64_t number = 1; number <= 3; number++)
        put_checkpoint(f, number, some_length(number));
    sim_disk_set_capacity(f->disk, 0);
    for (uint64_t number = 4; number < 100; number++) {
        put_checkpoint(f, number, some_length(number));
        expect_checkpoints(f, number, some_length(number), number - 1, some_length(number - 1));
        if (number % 10 == 0)
            sim_disk_crash(f->disk, SIM_DISK_LOSE);
    }
}

/* By the way that a clean end takes. */
TEST(room_that_was_made_at_a_start_is_enough_for_a_small_one)
{
    struct fixture *f = *state;
    uint8_t facts[KIB];
    const struct checkpoint c = {.number = 1, .lsn = 64, .facts = facts, .fact_bytes = sizeof(facts)};

    checkpoint_file_make_room(&f->directory, 0, 0);
    sim_disk_set_capacity(f->disk, 0);
    memset(facts, 1, sizeof(facts));
    assert_int_equal(checkpoint_file_put(&f->directory, &c), 0);
    sim_disk_crash(f->disk, SIM_DISK_LOSE);
    assert_true(has(f, "checkpoint-a"));
}

static int allocate_nothing(void *context, int file, uint64_t bytes)
{
    return 0;
}

/* What was written before is room all the same. */
TEST(checkpoints_go_on_where_the_file_system_cannot_allocate)
{
    struct fixture *f = *state;

    f->directory.io.allocate = allocate_nothing;
    for (uint64_t number = 1; number <= 3; number++)
        put_checkpoint(f, number, some_length(number));
    expect_checkpoints(f, 3, some_length(3), 2, some_length(2));
    sim_disk_set_capacity(f->disk, 0);
    for (uint64_t number = 4; number < 10; number++)
        put_checkpoint(f, number, 100 * KIB);
    expect_checkpoints(f, 9, 100 * KIB, 8, 100 * KIB);
}

TEST(a_checkpoint_that_finds_no_room_harms_no_other)
{
    struct fixture *f = *state;
    struct store_job job;

    put_checkpoint(f, 1, 10 * KIB);
    put_checkpoint(f, 2, 10 * KIB);
    put_checkpoint(f, 3, 10 * KIB);
    sim_disk_set_capacity(f->disk, 0);
    for (int i = 0; i < 3; i++) {
        job = checkpoint_job(4, MIB);
        assert_int_equal(run(f, &job), -ENOSPC);
        expect_checkpoints(f, 3, 10 * KIB, 2, 10 * KIB);
    }
    put_checkpoint(f, 4, 10 * KIB); /* a short one has what there is */
    sim_disk_set_capacity(f->disk, UINT64_MAX);
    put_checkpoint(f, 5, MIB);
    expect_checkpoints(f, 5, MIB, 4, 10 * KIB);
}

TEST(what_one_long_checkpoint_took_is_given_back)
{
    struct fixture *f = *state;

    put_checkpoint(f, 1, 10 * KIB);
    put_checkpoint(f, 2, 3 * MIB);
    assert_true(length_of(f, "checkpoint-b.spare") > 4 * MIB);
    for (uint64_t number = 3; number < 7; number++)
        put_checkpoint(f, number, 10 * KIB);
    expect_checkpoints(f, 6, 10 * KIB, 5, 10 * KIB);
    assert_true(length_of(f, "checkpoint-a") < 100 * KIB);
    assert_true(length_of(f, "checkpoint-b") < 100 * KIB);
    assert_true(length_of(f, "checkpoint-b.spare") < 100 * KIB);
}

/* Whatever the crash left, there is the newest or the one before, nothing is said to be damaged, and though the disk is full the
 * next ones can be written. Gives the newest one's number. */
static uint64_t expect_after_crash(struct fixture *f, uint64_t told)
{
    struct checkpoints c;
    uint64_t newest;

    assert_int_equal(checkpoints_read(&f->directory, &c), 0);
    assert_int_equal(c.damaged_count, 0);
    assert_true(c.count > 0);
    newest = c.items[0].number;
    for (int i = 0; i < c.count; i++) {
        expect_checkpoint(&c.items[i], newest - (uint64_t)i, some_length(newest - (uint64_t)i));
        assert_true(c.items[i].number <= told + 1);
    }
    assert_true(newest >= told);
    checkpoints_free(&c);
    return newest;
}

/* Gives the last one that was told to be done. */
static uint64_t checkpoints_until_stopped(struct fixture *f, uint64_t from, uint64_t to)
{
    while (from <= to) {
        struct store_job job = checkpoint_job(from, some_length(from));
        if (run(f, &job) != 0)
            break;
        from++;
    }
    return from - 1;
}

enum { FULL_FROM = 4, FULL_TO = 7, FULL_SEEDS = 5 };

static struct sim_disk *disk_with_checkpoints(void)
{
    struct fixture f;
    struct sim_disk *disk;

    fixture_open(&f, sim_disk_new(1));
    for (uint64_t number = 1; number < FULL_FROM; number++)
        put_checkpoint(&f, number, some_length(number));
    disk = sim_disk_clone(f.disk, 1);
    fixture_close(&f);
    return disk;
}

/* Gives whether it came so far. */
static bool crash_at(const struct sim_disk *disk, uint64_t at, enum sim_disk_crash crash, uint64_t seed)
{
    struct fixture f;
    uint64_t told, newest;
    bool stopped;

    fixture_open(&f, sim_disk_clone(disk, seed));
    sim_disk_set_capacity(f.disk, 0);
    sim_disk_stop_at(f.disk, sim_disk_operations(f.disk) + at);
    told = checkpoints_until_stopped(&f, FULL_FROM, FULL_TO);
    stopped = sim_disk_stopped(f.disk);
    store_free(f.store);
    sim_disk_crash(f.disk, crash);
    fixture_open(&f, f.disk);
    newest = expect_after_crash(&f, told);
    assert_int_equal(checkpoints_until_stopped(&f, newest + 1, newest + 4), newest + 4);
    expect_checkpoints(&f, newest + 4, some_length(newest + 4), newest + 3, some_length(newest + 3));
    fixture_close(&f);
    return stopped;
}

TEST(a_crash_anywhere_leaves_the_newest_checkpoint_or_the_one_before_and_the_room)
{
    struct sim_disk *disk = disk_with_checkpoints();
    bool stopped = true;
    uint64_t at = 0;

    while (stopped) {
        at++;
        for (int crash = 0; crash < SIM_DISK_CRASHES; crash++)
            for (uint64_t seed = 1; seed <= FULL_SEEDS; seed++)
                stopped = crash_at(disk, at, (enum sim_disk_crash)crash, at * FULL_SEEDS + seed);
    }
    assert_true(at > 4 * (FULL_TO - FULL_FROM));
    sim_disk_free(disk);
}

/* ---- moves ---- */

static struct store_job move_job(struct draft_segment *s, uint64_t offset)
{
    return (struct store_job){.kind = STORE_MOVE,
                              .move = {.number = s->number,
                                       .data = s->data + offset,
                                       .bytes = (uint32_t)(s->length - offset),
                                       .offset = offset}};
}

TEST(moved_blocks_are_appended_and_synced)
{
    struct fixture *f = *state;
    struct draft_segment s = draft_new(f, DIRECTORY_COLD, 3);
    uint64_t first = draft_commit(&s, 1, BLOCK), second, length;
    struct store_job job = move_job(&s, first), read;
    uint8_t block[BLOCK_WHOLE];

    assert_int_equal(run(f, &job), 0);
    read = read_job(&s, sizeof(struct commit_header), block, sizeof block);
    assert_int_equal(run(f, &read), 0);
    second = draft_commit(&s, 3, 800 * KIB);
    job = move_job(&s, second);
    assert_int_equal(run(f, &job), 0);
    sim_disk_crash(f->disk, SIM_DISK_LOSE);
    assert_memory_equal(content(f, DIRECTORY_COLD, 3, &length), s.data, s.length);
    assert_int_equal(length, s.length);
    free(s.data);
}

/* Tried again and again on a full disk, each with a segment of its own, they would keep it full. */
TEST(moves_that_find_the_disk_full_leave_nothing)
{
    struct fixture *f = *state;
    uint64_t length;

    sim_disk_set_capacity(f->disk, 64 * KIB);
    for (uint64_t number = 3; number < 6; number++) {
        struct draft_segment s = draft_new(f, DIRECTORY_COLD, number);
        struct store_job job = move_job(&s, draft_commit(&s, 2, 100 * KIB));
        assert_int_equal(run(f, &job), -ENOSPC);
        assert_null(content(f, DIRECTORY_COLD, number, &length));
        free(s.data);
    }
}

TEST(a_first_move_leaves_nothing_of_one_that_failed)
{
    struct fixture *f = *state;
    struct draft_segment longer = draft_new(f, DIRECTORY_COLD, 3), s = draft_new(f, DIRECTORY_COLD, 3);
    struct store_job job = move_job(&longer, draft_commit(&longer, 1, BLOCK));
    uint64_t length;

    sim_disk_fault(f->disk, &(struct sim_disk_fault){.at = 1,
                                                     .operations = SIM_DISK_SET(SIM_DISK_SYNC_DIRECTORY),
                                                     .sticky = true,
                                                     .error = EIO});
    assert_int_equal(run(f, &job), -EIO);
    assert_false(has(f, "cold-0000000000000003"));
    sim_disk_fault(f->disk, &(struct sim_disk_fault){.at = 0});
    draft_commit(&s, 1, 10);
    job = move_job(&s, 0);
    assert_int_equal(run(f, &job), 0);
    assert_memory_equal(content(f, DIRECTORY_COLD, 3, &length), s.data, s.length);
    assert_int_equal(length, s.length);
    free(longer.data);
    free(s.data);
}

/* ---- order ---- */

static int done_count(struct fixture *f, enum store_kind kind)
{
    struct store_done done;
    int count = 0;

    while (store_done(f->store, &done)) {
        assert_int_equal(done.error, 0);
        count += done.job.kind == kind;
    }
    return count;
}

TEST(a_read_goes_first_and_between_the_steps_of_others)
{
    struct fixture *f = *state;
    struct draft_segment s = draft_new(f, DIRECTORY_LOG, 3), cold = draft_new(f, DIRECTORY_COLD, 1);
    uint8_t block[BLOCK_WHOLE];
    struct store_job read, job;
    int steps = 0, reads = 0;

    draft_commit(&s, 1, BLOCK);
    draft_put(f, &s);
    draft_commit(&cold, 3, 900 * KIB);
    read = read_job(&s, sizeof(struct commit_header), block, sizeof block);

    job = move_job(&cold, 0);
    submit(f, &job);
    job = checkpoint_job(1, 3 * MIB);
    submit(f, &job);
    job = prepare_job(7, STORE_NO_SEGMENT);
    submit(f, &job);
    submit(f, &read);
    assert_true(store_work(f->store));
    assert_int_equal(done_count(f, STORE_READ), 1);
    /* Then the checkpoint, */
    while (done_count(f, STORE_CHECKPOINT) == 0) {
        assert_true(store_work(f->store));
        assert_false(has(f, "spare-0000000000000007"));
    }
    assert_true(has(f, checkpoint_name(1)));
    /* then the preparation: a read that comes in between is done at once, before it ends. */
    for (;; steps++) {
        submit(f, &read);
        assert_true(store_work(f->store));
        struct store_done done;
        assert_true(store_done(f->store, &done));
        assert_int_equal(done.job.kind, STORE_READ);
        reads++;
        assert_true(store_work(f->store));
        if (done_count(f, STORE_PREPARE) > 0)
            break;
        assert_false(has(f, "cold-0000000000000001"));
    }
    assert_int_equal(steps, 3); /* made, and three MiB */
    assert_int_equal(reads, steps + 1);
    while (store_work(f->store))
        ;
    assert_int_equal(done_count(f, STORE_READ), 0);
    assert_true(has(f, "cold-0000000000000001"));
    free(s.data);
    free(cold.data);
}

TEST(reads_without_end_do_not_keep_a_checkpoint_away)
{
    struct fixture *f = *state;
    struct draft_segment s = draft_new(f, DIRECTORY_LOG, 3);
    struct store_job job = checkpoint_job(1, 2 * MIB), read;
    uint8_t block[BLOCK_WHOLE];
    int steps = 0;

    draft_commit(&s, 1, BLOCK);
    draft_put(f, &s);
    read = read_job(&s, sizeof(struct commit_header), block, sizeof block);
    submit(f, &job);
    submit(f, &read);
    for (; done_count(f, STORE_CHECKPOINT) == 0; steps++) {
        submit(f, &read);
        submit(f, &read);
        assert_true(store_work(f->store));
        assert_true(steps < 100);
    }
    while (store_work(f->store))
        ;
    done_count(f, STORE_READ);
    free(s.data);
}

TEST(jobs_beyond_the_limit_are_refused_until_some_are_taken)
{
    struct fixture *f = *state;
    struct store_job job = segment_job(STORE_REMOVE, DIRECTORY_LOG, 1);
    struct store_done done;
    int count = 0;

    while (store_submit(f->store, &job))
        count++;
    assert_true(count >= 64);
    while (store_work(f->store))
        ;
    assert_int_equal(f->notices, count);
    assert_false(store_submit(f->store, &job)); /* completions need room as well */
    assert_true(store_done(f->store, &done));
    assert_true(store_submit(f->store, &job));
    assert_false(store_submit(f->store, &job));
}

/* The store is freed at any time: with jobs that wait and one that is half done. */
TEST(what_was_not_done_is_given_back)
{
    for (int steps = 0; steps < 30; steps++) {
        struct fixture f;
        struct draft_segment s;
        struct store_job job;

        fixture_open(&f, sim_disk_new(1));
        s = draft_new(&f, DIRECTORY_LOG, 3);
        draft_commit(&s, 1, BLOCK);
        draft_commit(&s, 3, 900 * KIB);
        draft_put(&f, &s);
        for (uint64_t i = 0; i < 3; i++) {
            job = segment_job(STORE_INDEX, DIRECTORY_LOG, 3);
            submit(&f, &job);
            job = checkpoint_job(i, 2 * MIB);
            submit(&f, &job);
            job = prepare_job(i, STORE_NO_SEGMENT);
            submit(&f, &job);
        }
        for (int i = 0; i < steps; i++)
            store_work(f.store);
        store_stop(f.store);
        assert_false(store_work(f.store));
        free(s.data);
        fixture_close(&f);
    }
}

/* ---- faults ---- */

/* One of each kind, up to the given one. Gives the error of each. */
static void do_some(struct fixture *f, struct draft_segment *s, struct draft_segment *cold, int count,
                    int errors[7])
{
    uint8_t block[BLOCK_WHOLE];
    struct store_job jobs[] = {
        read_job(s, sizeof(struct commit_header), block, sizeof block),
        prepare_job(7, STORE_NO_SEGMENT),
        segment_job(STORE_INDEX, DIRECTORY_LOG, 3),
        checkpoint_job(1, MIB + 7),
        move_job(cold, 0),
        prepare_job(8, 2),
        segment_job(STORE_REMOVE, DIRECTORY_LOG, 1),
    };

    for (int i = 0; i < 7; i++) {
        if (i < count)
            errors[i] = run(f, &jobs[i]);
        else if (jobs[i].kind == STORE_CHECKPOINT)
            free((void *)jobs[i].checkpoint.facts);
    }
}

static void do_one_of_each(struct fixture *f, struct draft_segment *s, struct draft_segment *cold,
                           int errors[7])
{
    do_some(f, s, cold, 7, errors);
}

/* After the checkpoint is in place, room is made for the next: the first and last of these operations. That they fail nobody is
 * told. */
static void room_operations(struct sim_disk *disk, struct draft_segment *s, struct draft_segment *cold,
                            uint64_t *ret_first, uint64_t *ret_last)
{
    struct fixture f;
    uint64_t begin, at;
    int errors[7];

    fixture_open(&f, sim_disk_clone(disk, 1));
    begin = sim_disk_operations(f.disk);
    do_some(&f, s, cold, 4, errors);
    at = sim_disk_operations(f.disk);
    *ret_last = at - begin;
    while (sim_disk_operation(f.disk, at) != SIM_DISK_SYNC_DIRECTORY)
        at--;
    *ret_first = at + 1 - begin;
    assert_true(*ret_first < *ret_last);
    fixture_close(&f);
}

static struct sim_disk *disk_for_each(struct draft_segment *s, struct draft_segment *cold)
{
    struct fixture f;
    struct sim_disk *disk;

    fixture_open(&f, sim_disk_new(1));
    *s = draft_new(&f, DIRECTORY_LOG, 3);
    draft_commit(s, 1, BLOCK);
    draft_commit(s, 3, 500 * KIB);
    draft_put(&f, s);
    *cold = draft_new(&f, DIRECTORY_COLD, 1);
    draft_commit(cold, 3, 400 * KIB);
    sim_disk_put(f.disk, "log-0000000000000001", "x", 1);
    sim_disk_put(f.disk, "log-0000000000000001.index", "x", 1);
    sim_disk_put(f.disk, "log-0000000000000002", s->data, SEGMENT_BYTES / 2);
    sim_disk_put(f.disk, checkpoint_name(1), "old", 3);
    disk = sim_disk_clone(f.disk, 1);
    fixture_close(&f);
    return disk;
}

/* The old one is not valid, but it was there: between two renames it is there under its other name. */
static void expect_checkpoint_or_old(struct fixture *f, int error)
{
    struct checkpoints c;
    const uint8_t *data;
    uint64_t length;

    assert_int_equal(checkpoints_read(&f->directory, &c), 0);
    if (c.count == 1) {
        expect_checkpoint(&c.items[0], 1, MIB + 7);
        checkpoints_free(&c);
        return;
    }
    assert_int_not_equal(error, 0);
    data = sim_disk_content(f->disk, has(f, "checkpoint-a") ? "checkpoint-a" : "checkpoint-a.spare", &length);
    assert_non_null(data);
    assert_int_equal(length, 3);
}

/* Whatever was reported as done is on the disk after a crash; of the rest nothing looks as if it were. */
static void expect_done(struct sim_disk *disk, const struct draft_segment *s,
                        const struct draft_segment *cold, const int errors[7])
{
    struct fixture f;
    struct segment_index index;
    uint64_t length;
    const uint8_t *data;
    int err;

    fixture_open(&f, disk);
    data = content(&f, DIRECTORY_SPARE, 7, &length);
    assert_true(errors[1] != 0 || (data != NULL && length == SEGMENT_BYTES));
    err = segment_index_read(&f.directory, DIRECTORY_LOG, 3, &index);
    assert_true(err == 0 || (err == -ENOENT && errors[2] != 0));
    if (err == 0) {
        assert_int_equal(index.header.end, s->length);
        segment_index_free(&index);
    }
    expect_checkpoint_or_old(&f, errors[3]);
    data = content(&f, DIRECTORY_COLD, 1, &length);
    assert_true(errors[4] != 0 ||
                (data != NULL && length == cold->length && memcmp(data, cold->data, length) == 0));
    assert_true(errors[5] != 0 || (content(&f, DIRECTORY_SPARE, 8, &length) != NULL &&
                                   content(&f, DIRECTORY_LOG, 2, &length) == NULL));
    assert_true(errors[6] != 0 || !has(&f, "log-0000000000000001"));
    assert_true(has(&f, "log-0000000000000001") || !has(&f, "log-0000000000000001.index"));
    data = content(&f, DIRECTORY_LOG, 3, &length);
    assert_memory_equal(data, s->data, s->length);
    store_free(f.store);
}

TEST(whatever_fails_once_is_told_and_harms_nothing_else)
{
    static const int faults[] = {EIO, ENOSPC, EDQUOT};
    struct draft_segment s, cold;
    struct sim_disk *disk = disk_for_each(&s, &cold);
    uint64_t count = UINT64_MAX, room_first, room_last;

    room_operations(disk, &s, &cold, &room_first, &room_last);
    for (uint64_t at = 1; at <= count; at++) {
        struct fixture f;
        int errors[7], failed = 0;
        uint64_t begin;

        fixture_open(&f, sim_disk_clone(disk, at));
        begin = sim_disk_operations(f.disk);
        sim_disk_fault(f.disk, &(struct sim_disk_fault){
                                   .at = begin + at, .operations = SIM_DISK_ALL, .error = faults[at % 3]});
        do_one_of_each(&f, &s, &cold, errors);
        for (int i = 0; i < 7; i++) {
            failed += errors[i] != 0;
            assert_true(errors[i] == 0 || errors[i] == -faults[at % 3]);
        }
        assert_int_equal(failed, at >= room_first && at <= room_last ? 0 : sim_disk_strikes(f.disk));
        if (sim_disk_strikes(f.disk) == 0)
            count = 0; /* there are no more operations */
        store_free(f.store);
        assert_int_equal(sim_disk_open_files(f.disk), 0);
        sim_disk_crash(f.disk, (enum sim_disk_crash)(at % SIM_DISK_CRASHES));
        expect_done(f.disk, &s, &cold, errors);
        sim_disk_free(f.disk);
    }
    free(s.data);
    free(cold.data);
    sim_disk_free(disk);
}

TEST(what_was_told_as_done_survives_a_crash_anywhere)
{
    struct draft_segment s, cold;
    struct sim_disk *disk = disk_for_each(&s, &cold);
    bool stopped = true;

    for (uint64_t at = 1; stopped; at++) {
        for (int crash = (int)(at % 2); crash < SIM_DISK_CRASHES; crash += 2) {
            struct fixture f;
            int errors[7];
            fixture_open(&f, sim_disk_clone(disk, at));
            sim_disk_stop_at(f.disk, sim_disk_operations(f.disk) + at);
            do_one_of_each(&f, &s, &cold, errors);
            stopped = sim_disk_stopped(f.disk);
            store_free(f.store);
            sim_disk_crash(f.disk, (enum sim_disk_crash)crash);
            expect_done(f.disk, &s, &cold, errors);
            sim_disk_free(f.disk);
        }
    }
    free(s.data);
    free(cold.data);
    sim_disk_free(disk);
}

TEST(short_and_interrupted_transfers_change_nothing)
{
    struct draft_segment s, cold;
    struct sim_disk *disk = disk_for_each(&s, &cold);

    for (int i = 0; i < 2; i++) {
        struct fixture f;
        int errors[7];
        fixture_open(&f, sim_disk_clone(disk, 1));
        sim_disk_fault(f.disk, &(struct sim_disk_fault){.at = 1,
                                                        .operations = SIM_DISK_SET(SIM_DISK_READ) |
                                                                      SIM_DISK_SET(SIM_DISK_WRITE),
                                                        .sticky = true,
                                                        .error = i == 0 ? 0 : EINTR});
        do_one_of_each(&f, &s, &cold, errors);
        for (int j = 0; j < 7; j++)
            assert_int_equal(errors[j], 0);
        assert_true(sim_disk_strikes(f.disk) > 10);
        store_free(f.store);
        sim_disk_crash(f.disk, SIM_DISK_LOSE);
        expect_done(f.disk, &s, &cold, errors);
        sim_disk_free(f.disk);
    }
    free(s.data);
    free(cold.data);
    sim_disk_free(disk);
}

#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_STORE(a_block_is_read_and_checked),
        WITH_STORE(a_read_that_finds_too_little_or_another_length_is_damage),
        WITH_STORE(many_segments_are_read_with_few_files_open),
        WITH_STORE(a_new_spare_is_zeros_to_its_end_and_on_the_disk),
        WITH_STORE(a_dead_segment_becomes_a_spare_without_an_index),
        WITH_STORE(a_full_segment_is_recycled_without_a_write),
        WITH_STORE(a_recycling_that_failed_late_can_be_tried_again),
        WITH_STORE(a_spare_that_finds_no_room_leaves_none_taken),
        WITH_STORE(an_index_has_every_block_of_a_segment),
        WITH_STORE(an_index_ends_with_the_chain),
        WITH_STORE(a_damaged_cold_segment_gets_no_index),
        WITH_STORE(an_index_that_is_not_as_it_was_written_is_refused),
        WITH_STORE(a_segment_goes_with_its_index_and_twice_does_no_harm),
        WITH_STORE(a_checkpoint_is_sealed_and_put_in_place),
        WITH_STORE(checkpoints_go_on_when_the_disk_has_no_free_block),
        WITH_STORE(room_that_was_made_at_a_start_is_enough_for_a_small_one),
        WITH_STORE(checkpoints_go_on_where_the_file_system_cannot_allocate),
        WITH_STORE(a_checkpoint_that_finds_no_room_harms_no_other),
        WITH_STORE(what_one_long_checkpoint_took_is_given_back),
        cmocka_unit_test(a_crash_anywhere_leaves_the_newest_checkpoint_or_the_one_before_and_the_room),
        WITH_STORE(moved_blocks_are_appended_and_synced),
        WITH_STORE(moves_that_find_the_disk_full_leave_nothing),
        WITH_STORE(a_first_move_leaves_nothing_of_one_that_failed),
        WITH_STORE(a_read_goes_first_and_between_the_steps_of_others),
        WITH_STORE(reads_without_end_do_not_keep_a_checkpoint_away),
        WITH_STORE(jobs_beyond_the_limit_are_refused_until_some_are_taken),
        cmocka_unit_test(what_was_not_done_is_given_back),
        cmocka_unit_test(whatever_fails_once_is_told_and_harms_nothing_else),
        cmocka_unit_test(what_was_told_as_done_survives_a_crash_anywhere),
        cmocka_unit_test(short_and_interrupted_transfers_change_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
