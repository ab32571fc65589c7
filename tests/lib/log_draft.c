#include "log_draft.h"

#include <stdlib.h>
#include <string.h>

#include "log/checkpoint.h"
#include "unit.h"

enum { COMMIT_BYTES_MAX = 128 * 1024 };

/* ---- life ---- */

void log_draft_init(struct log_draft *d, struct sim_disk *disk, uint64_t segment_bytes, uint64_t seed)
{
    *d = (struct log_draft){.disk = disk, .random = {seed}, .lsn = segment_bytes};
    d->directory = (struct directory){
        .io = sim_disk_io(disk),
        .secret = {random_next(&d->random), random_next(&d->random), random_next(&d->random)},
        .id = random_next(&d->random),
        .segment_bytes = segment_bytes,
        .epoch = 1};
}

static void strike_off(struct log_draft *d, uint64_t number)
{
    while (d->count > number) {
        d->cut = realloc(d->cut, (d->cut_count + 1) * sizeof(*d->cut));
        assert_non_null(d->cut);
        d->cut[d->cut_count++] = d->commits[--d->count];
    }
}

static void close_files(struct log_draft *d)
{
    for (int i = 0; i < d->dirty_count; i++)
        d->directory.io.close(d->directory.io.context, d->dirty[i].file);
    d->dirty_count = 0;
}

void log_draft_close(struct log_draft *d)
{
    close_files(d);
    strike_off(d, 0);
    for (uint64_t i = 0; i < d->cut_count; i++)
        free(d->cut[i].image);
    free(d->cut);
    free(d->commits);
}

void log_draft_crashed(struct log_draft *d)
{
    d->dirty_count = 0;
}

void log_draft_run(struct log_draft *d, const struct recovered *recovered)
{
    close_files(d);
    assert_true(recovered->last_number <= d->count);
    strike_off(d, recovered->last_number);
    d->directory.epoch++;
    d->lsn = recovered->next_log_number * d->directory.segment_bytes;
    d->synced_lsn = recovered->end_lsn;
    d->synced_number = recovered->last_number;
}

/* ---- files ---- */

/* The file of the segment, open until the next sync. */
static int open_segment(struct log_draft *d, uint64_t number)
{
    const struct io *io = &d->directory.io;
    char name[DIRECTORY_NAME_BYTES_MAX];
    int *file;

    if (d->dirty_count > 0 && d->dirty[d->dirty_count - 1].number == number)
        return d->dirty[d->dirty_count - 1].file;
    if (d->dirty_count == LOG_DRAFT_DIRTY_MAX)
        log_draft_sync(d);
    d->dirty[d->dirty_count].number = number;
    file = &d->dirty[d->dirty_count++].file;
    directory_segment_name(name, DIRECTORY_LOG, number);
    assert_int_equal(io->open(io->context, name, IO_READ | IO_WRITE | IO_CREATE, file), 0);
    return *file;
}

void log_draft_sync(struct log_draft *d)
{
    const struct io *io = &d->directory.io;

    for (int i = 0; i < d->dirty_count; i++)
        assert_int_equal(io->sync(io->context, d->dirty[i].file), 0);
    assert_int_equal(io->sync_directory(io->context), 0);
    close_files(d);
    if (d->count > 0) {
        d->synced_lsn = d->commits[d->count - 1].end;
        d->synced_number = d->count;
    }
}

void log_draft_next_segment(struct log_draft *d)
{
    d->lsn = (d->lsn / d->directory.segment_bytes + 1) * d->directory.segment_bytes;
}

void log_draft_recycle(struct log_draft *d, uint64_t number)
{
    const struct io *io = &d->directory.io;
    char from[DIRECTORY_NAME_BYTES_MAX], spare[DIRECTORY_NAME_BYTES_MAX], to[DIRECTORY_NAME_BYTES_MAX];

    if (d->lsn % d->directory.segment_bytes != 0)
        log_draft_next_segment(d);
    directory_segment_name(from, DIRECTORY_LOG, number);
    directory_segment_name(spare, DIRECTORY_SPARE, 1);
    directory_segment_name(to, DIRECTORY_LOG, d->lsn / d->directory.segment_bytes);
    assert_int_equal(io->rename(io->context, from, spare), 0);
    assert_int_equal(io->sync_directory(io->context), 0);
    assert_int_equal(io->rename(io->context, spare, to), 0);
}

/* ---- commits ---- */

static uint8_t *put(uint8_t *at, const void *data, size_t length)
{
    memcpy(at, data, length);
    return at + length;
}

static struct block_header block_of(uint64_t number, uint32_t index, uint64_t token, uint32_t bytes)
{
    return (struct block_header){.stream = 1 + index,
                                 .first_seq = number * 8,
                                 .time_ms = token,
                                 .arrival = number * 100 + index,
                                 .count = 8,
                                 .bytes = bytes};
}

static void facts_of(uint64_t number, uint64_t token, uint8_t ret_facts[LOG_DRAFT_FACT_BYTES])
{
    put(put(ret_facts, &number, sizeof(number)), &token, sizeof(token));
}

/* Bytes that look like a commit's, so that what searches for one finds many. */
static uint8_t *put_body(struct log_draft *d, uint8_t *at, uint32_t bytes)
{
    const uint32_t magic = COMMIT_MAGIC;

    for (uint32_t i = 0; i < bytes; i++)
        at[i] = i % 4 == 0 && random_below(&d->random, 2) == 0 ? ((const uint8_t *)&magic)[0]
                                                               : (uint8_t)random_next(&d->random);
    return at + bytes;
}

/* Lays it out behind its header; gives its length. */
static uint32_t lay_out(struct log_draft *d, uint8_t *data, struct commit_header *header, uint64_t token,
                        uint32_t block_bytes)
{
    uint8_t *at = data + sizeof(*header), facts[LOG_DRAFT_FACT_BYTES];

    for (uint32_t i = 0; i < header->block_count; i++) {
        struct block_header b = block_of(header->number, i, token, block_bytes);
        at = put_body(d, put(at, &b, sizeof(b)), block_bytes);
    }
    if (header->fact_bytes > 0) {
        facts_of(header->number, token, facts);
        at = put(at, facts, sizeof(facts));
    }
    header->bytes = (uint32_t)(at - data + (ptrdiff_t)sizeof(struct commit_trailer));
    put(data, header, sizeof(*header));
    return header->bytes;
}

static uint32_t length_of(uint32_t block_count, uint32_t block_bytes)
{
    return (uint32_t)(sizeof(struct commit_header) + sizeof(struct commit_trailer)) + LOG_DRAFT_FACT_BYTES +
           block_count * ((uint32_t)sizeof(struct block_header) + block_bytes);
}

static struct log_drafted *book(struct log_draft *d)
{
    if (d->count == d->capacity) {
        d->capacity = d->capacity > 0 ? 2 * d->capacity : 64;
        d->commits = realloc(d->commits, d->capacity * sizeof(*d->commits));
        assert_non_null(d->commits);
    }
    return &d->commits[d->count++];
}

static void write_commit(struct log_draft *d, const struct log_drafted *c)
{
    uint64_t segment = c->lsn / d->directory.segment_bytes;

    assert_int_equal(io_write(&d->directory.io, open_segment(d, segment), c->image,
                              commit_bytes_aligned(c->bytes), c->lsn % d->directory.segment_bytes),
                     0);
}

void log_draft_commit(struct log_draft *d, uint32_t block_count, uint32_t block_bytes)
{
    uint64_t aligned = commit_bytes_aligned(length_of(block_count, block_bytes));
    const struct log_drafted *last = d->count > 0 ? &d->commits[d->count - 1] : NULL;
    uint8_t *image = calloc(1, aligned);
    struct commit_header header = {.magic = COMMIT_MAGIC,
                                   .version = COMMIT_VERSION,
                                   .kind = COMMIT_LOG,
                                   .epoch = d->directory.epoch,
                                   .number = d->count + 1,
                                   .previous_end = last != NULL ? last->end : 0,
                                   .block_count = block_count,
                                   .fact_bytes = LOG_DRAFT_FACT_BYTES,
                                   .fact_count = LOG_DRAFT_FACTS};
    uint64_t token = random_next(&d->random), hash = 0;
    struct log_drafted *c;

    assert_non_null(image);
    assert_true(aligned <= d->directory.segment_bytes && aligned <= COMMIT_BYTES_MAX);
    if (d->lsn % d->directory.segment_bytes + aligned > d->directory.segment_bytes)
        log_draft_next_segment(d);
    header.lsn = d->lsn;
    if (last != NULL)
        hash = commit_hash((const struct commit_header *)last->image);
    lay_out(d, image, &header, token, block_bytes);
    commit_seal(image, d->synced_lsn, hash, &d->directory.secret);
    c = book(d);
    *c = (struct log_drafted){.number = header.number,
                              .epoch = header.epoch,
                              .lsn = header.lsn,
                              .end = header.lsn + aligned,
                              .synced_lsn = d->synced_lsn,
                              .token = token,
                              .bytes = header.bytes,
                              .block_count = block_count,
                              .image = image};
    d->lsn = c->end;
    write_commit(d, c);
}

uint64_t log_draft_move(struct log_draft *d, uint64_t segment, uint64_t number, uint64_t offset,
                        uint64_t previous_hash, uint64_t *ret_hash)
{
    const struct io *io = &d->directory.io;
    char name[DIRECTORY_NAME_BYTES_MAX];
    uint8_t image[1024] = {0};
    struct commit_header header = {.magic = COMMIT_MAGIC,
                                   .version = COMMIT_VERSION,
                                   .kind = COMMIT_MOVED,
                                   .epoch = d->directory.epoch,
                                   .number = number,
                                   .lsn = segment * d->directory.segment_bytes + offset,
                                   .block_count = 2};
    uint64_t aligned = commit_bytes_aligned(lay_out(d, image, &header, number, 100));
    int file;

    *ret_hash = commit_seal(image, 0, previous_hash, &d->directory.secret);
    directory_segment_name(name, DIRECTORY_COLD, segment);
    assert_int_equal(io->open(io->context, name, IO_READ | IO_WRITE | IO_CREATE, &file), 0);
    assert_int_equal(io_write(io, file, image, aligned, offset), 0);
    assert_int_equal(io->sync(io->context, file), 0);
    io->close(io->context, file);
    assert_int_equal(io->sync_directory(io->context), 0);
    return offset + aligned;
}

void log_draft_checkpoint(struct log_draft *d)
{
    struct checkpoint c = {.number = ++d->checkpoint_number,
                           .lsn = d->commits[d->count - 1].end,
                           .next_commit = d->count + 1,
                           .fact_count = 1,
                           .facts = (const uint8_t *)&d->count,
                           .fact_bytes = sizeof(d->count)};
    uint8_t *data;
    size_t length;

    log_draft_sync(d);
    assert_int_equal(checkpoint_encode(&d->directory, &c, &data, &length), 0);
    assert_int_equal(io_put(&d->directory.io, checkpoint_name(c.number), data, length), 0);
    free(data);
    d->older_lsn = d->checkpoint_lsn;
    d->checkpoint_lsn = c.lsn;
}

/* ---- what a commit has ---- */

bool log_drafted_has_facts(const struct log_drafted *c, const uint8_t *facts, uint64_t bytes)
{
    uint8_t expected[LOG_DRAFT_FACT_BYTES];

    facts_of(c->number, c->token, expected);
    return bytes == sizeof(expected) && memcmp(facts, expected, sizeof(expected)) == 0;
}

bool log_drafted_has_block(const struct log_drafted *c, uint32_t index, const struct block_header *block,
                           uint64_t place)
{
    uint32_t bytes = block->bytes;
    struct block_header expected = block_of(c->number, index, c->token, bytes);
    uint64_t offset = sizeof(struct commit_header) + index * (sizeof(expected) + bytes);

    expected.hash = block->hash;
    return place == c->lsn + offset && memcmp(block, &expected, sizeof(expected)) == 0;
}
