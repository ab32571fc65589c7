/* The writer on a small disk that notes what is asked of it, and remembers what is synced. */
#include "log/writer.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/worker.h"
#include "proto/fanq_error.h"
#include "tests/lib/failing_malloc.h"
#include "tests/lib/unit.h"

enum {
    SEGMENT_BYTES = 16 * 1024 * 1024,
    SEGMENTS_MAX = 3,
    FILES_MAX = 8,
    TRACE_BYTES = 4096,
    COMMITS_MAX = 64
};

/* ---- the disk ---- */

struct disk_file {
    char name[DIRECTORY_NAME_BYTES_MAX];
    uint8_t *data, *synced; /* NULL: the test does not look at bytes */
    uint64_t length;
    bool open;
};

struct disk {
    struct disk_file files[FILES_MAX];
    int file_count;
    bool names_synced;
    char trace[TRACE_BYTES];
    int operations, fail_at; /* the n-th operation fails, counted from 1, */
    int error;               /* with this */
    int parts;               /* of the last write */
    void (*syncing)(void *context);
    void *context;
};

static void note(struct disk *d, const char *format, ...)
{
    size_t used = strlen(d->trace);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(d->trace + used, TRACE_BYTES - used, format, arguments);
    va_end(arguments);
}

static bool refused(struct disk *d)
{
    return ++d->operations == d->fail_at;
}

/* log-0000000000000007 is noted as log-7. */
static void note_name(struct disk *d, const char *name)
{
    const char *dash = strchr(name, '-');

    note(d, "%.*s%llx", (int)(dash + 1 - name), name, strtoull(dash + 1, NULL, 16));
}

static struct disk_file *disk_find(struct disk *d, const char *name)
{
    for (int i = 0; i < d->file_count; i++)
        if (strcmp(d->files[i].name, name) == 0)
            return &d->files[i];
    return NULL;
}

static struct disk_file *disk_add(struct disk *d, const char *name)
{
    struct disk_file *f = &d->files[d->file_count++];

    assert_true(d->file_count <= FILES_MAX);
    *f = (struct disk_file){.data = calloc(1, SEGMENT_BYTES), .synced = calloc(1, SEGMENT_BYTES)};
    snprintf(f->name, sizeof f->name, "%s", name);
    return f;
}

static int disk_open(void *context, const char *name, unsigned how, int *ret_file)
{
    struct disk *d = context;
    struct disk_file *f = disk_find(d, name);

    note(d, "open ");
    note_name(d, name);
    note(d, how & IO_CREATE ? " create\n" : "\n");
    if (refused(d))
        return d->error;
    assert_true(how & IO_WRITE);
    if (how & IO_CREATE) {
        assert_null(f);
        f = disk_add(d, name);
        d->names_synced = false;
    }
    assert_non_null(f);
    f->open = true;
    *ret_file = (int)(f - d->files) + 100;
    return 0;
}

static struct disk_file *disk_file(struct disk *d, int file)
{
    struct disk_file *f = &d->files[file - 100];

    assert_true(file >= 100 && file < 100 + d->file_count && f->open);
    return f;
}

static void disk_close(void *context, int file)
{
    note(context, "close\n");
    disk_file(context, file)->open = false;
}

static int64_t disk_write(void *context, int file, const struct iovec *parts, int part_count, uint64_t offset)
{
    struct disk *d = context;
    struct disk_file *f = disk_file(d, file);
    uint64_t at = offset;

    if (refused(d)) {
        note(d, "write refused\n");
        return d->error;
    }
    for (int i = 0; i < part_count; at += parts[i++].iov_len)
        memcpy(f->data + at, parts[i].iov_base, parts[i].iov_len);
    assert_true(at <= SEGMENT_BYTES);
    note(d, "write %llu to %llu\n", (unsigned long long)offset, (unsigned long long)at);
    f->length = at > f->length ? at : f->length;
    d->parts = part_count;
    return (int64_t)(at - offset);
}

static int disk_allocate(void *context, int file, uint64_t bytes)
{
    struct disk *d = context;

    (void)disk_file(d, file);
    assert_int_equal(bytes, SEGMENT_BYTES);
    note(d, "allocate\n");
    return refused(d) ? d->error : 0;
}

static int disk_sync(void *context, int file)
{
    struct disk *d = context;
    struct disk_file *f = disk_file(d, file);

    note(d, "sync\n");
    if (d->syncing != NULL)
        d->syncing(d->context);
    if (refused(d))
        return d->error;
    memcpy(f->synced, f->data, f->length);
    return 0;
}

static int disk_sync_directory(void *context)
{
    struct disk *d = context;

    note(d, "sync directory\n");
    if (refused(d))
        return d->error;
    d->names_synced = true;
    return 0;
}

static int disk_rename(void *context, const char *from, const char *to)
{
    struct disk *d = context;
    struct disk_file *f = disk_find(d, from);

    note(d, "rename ");
    note_name(d, from);
    note(d, " ");
    note_name(d, to);
    note(d, "\n");
    if (refused(d))
        return d->error;
    assert_non_null(f);
    assert_null(disk_find(d, to));
    snprintf(f->name, sizeof f->name, "%s", to);
    d->names_synced = false;
    return 0;
}

/* ---- the writer under test, and who submits ---- */

struct setup {
    struct disk disk;
    struct directory directory;
    struct writer *writer;
    uint8_t *images[SEGMENTS_MAX]; /* of the segments, in memory */
    uint64_t lsn, number;          /* of the next commit */
    uint64_t begins[COMMITS_MAX];  /* where commits lie, by number */
    uint64_t ends[COMMITS_MAX];
    uint64_t now_ns;
    bool begin_segment; /* when the writer looks at the clock, the first commit of a segment is submitted */
    int notified;
    int gather; /* so many commits are submitted during the next sync */
    struct writer_done done;
    int reports;
};

static uint64_t setup_now_ns(void *context);

static void setup_notify(void *context)
{
    ((struct setup *)context)->notified++;
}

static int setup_new_writer(struct setup *s, enum writer_sync sync)
{
    const struct writer_options options = {.directory = &s->directory,
                                           .sync = sync,
                                           .sync_ms = 10,
                                           .now_ns = setup_now_ns,
                                           .notify = setup_notify,
                                           .context = s,
                                           .previous_number = 0,
                                           .previous_hash = 0x1234,
                                           .synced_lsn = 0};

    return writer_new(&options, &s->writer);
}

static struct setup *setup_new(enum writer_sync sync)
{
    struct setup *s = calloc(1, sizeof *s);

    s->directory = (struct directory){.io = {.context = &s->disk,
                                             .open = disk_open,
                                             .close = disk_close,
                                             .write_at = disk_write,
                                             .allocate = disk_allocate,
                                             .sync = disk_sync,
                                             .rename = disk_rename,
                                             .sync_directory = disk_sync_directory},
                                      .secret = {.header_seed = 11, .commit_seed = 22, .block_seed = 33},
                                      .segment_bytes = SEGMENT_BYTES};
    for (int i = 0; i < SEGMENTS_MAX; i++)
        s->images[i] = calloc(1, SEGMENT_BYTES);
    s->number = 1;
    s->done.synced_hash = 0x1234; /* as if told */
    s->disk.error = -EIO;
    assert_int_equal(setup_new_writer(s, sync), 0);
    return s;
}

static void setup_free(struct setup *s)
{
    writer_free(s->writer);
    for (int i = 0; i < s->disk.file_count; i++) {
        assert_false(s->disk.files[i].open);
        free(s->disk.files[i].data);
        free(s->disk.files[i].synced);
    }
    for (int i = 0; i < SEGMENTS_MAX; i++)
        free(s->images[i]);
    free(s);
}

/* Lays a commit of that many bytes of facts out at `at`; gives its length with padding. */
static uint32_t lay_commit(uint8_t *at, uint64_t number, uint64_t lsn, uint32_t fact_bytes)
{
    struct commit_header *commit = (struct commit_header *)at;

    *commit = (struct commit_header){.magic = COMMIT_MAGIC,
                                     .version = COMMIT_VERSION,
                                     .epoch = 1,
                                     .number = number,
                                     .lsn = lsn,
                                     .bytes = (uint32_t)(sizeof *commit + fact_bytes + sizeof(uint64_t)),
                                     .fact_bytes = fact_bytes,
                                     .fact_count = 1};
    memset(commit + 1, (int)number, fact_bytes);
    return (uint32_t)commit_bytes_aligned(commit->bytes);
}

static void submit_at(struct setup *s, uint8_t *at, uint32_t fact_bytes, uint64_t spare)
{
    struct writer_job job = {.data = at,
                             .bytes = lay_commit(at, s->number, s->lsn, fact_bytes),
                             .lsn = s->lsn,
                             .number = s->number,
                             .spare = spare};

    assert_true(s->number < COMMITS_MAX);
    assert_true(writer_submit(s->writer, &job));
    s->begins[s->number] = s->lsn;
    s->lsn += job.bytes;
    s->ends[s->number++] = s->lsn;
}

/* Where the next commit lies in memory. */
static uint8_t *image_at(const struct setup *s)
{
    return s->images[s->lsn / SEGMENT_BYTES] + s->lsn % SEGMENT_BYTES;
}

enum {
    SMALL = 32,
    SMALL_BYTES = 128,
    HALF = SEGMENT_BYTES / 2 - 96,
    QUARTER = SEGMENT_BYTES / 4 - 96 /* commits of half a segment, and less */
};

static void submit(struct setup *s, uint32_t fact_bytes)
{
    submit_at(s, image_at(s), fact_bytes, WRITER_NO_SPARE);
}

static void next_segment(struct setup *s)
{
    s->lsn = (s->lsn / SEGMENT_BYTES + 1) * SEGMENT_BYTES;
}

static uint64_t setup_now_ns(void *context)
{
    struct setup *s = context;

    if (s->begin_segment) {
        s->begin_segment = false;
        next_segment(s);
        submit(s, SMALL);
    }
    return s->now_ns;
}

static void take_report(struct setup *s)
{
    struct writer_done done;

    while (writer_done(s->writer, &done)) {
        assert_true(done.number >= s->done.number && done.written_lsn >= s->done.written_lsn &&
                    done.synced_lsn >= s->done.synced_lsn && done.synced_number >= s->done.synced_number);
        assert_int_equal(s->done.error, 0); /* it is the last one */
        s->done = done;
        s->reports++;
    }
}

/* Works until there is nothing to do, taking each report. */
static void work(struct setup *s)
{
    while (writer_work(s->writer))
        take_report(s);
    take_report(s);
}

#define EXPECT_TRACE(s, text)                                                                                \
    do {                                                                                                     \
        assert_string_equal((s)->disk.trace, text);                                                          \
        (s)->disk.trace[0] = '\0';                                                                           \
    } while (0)

static void expect_done(const struct setup *s, uint64_t number, uint64_t synced_number)
{
    assert_int_equal(s->done.error, 0);
    assert_int_equal(s->done.number, number);
    assert_int_equal(s->done.written_lsn, s->ends[number]);
    assert_int_equal(s->done.synced_number, synced_number);
    assert_int_equal(s->done.synced_lsn, s->ends[synced_number]);
}

/* ---- group commit ---- */

TEST(a_commit_is_written_synced_and_told)
{
    struct setup *s = setup_new(WRITER_SYNC_GROUP);

    work(s);
    assert_int_equal(s->reports, 0);
    submit(s, SMALL);
    work(s);
    EXPECT_TRACE(s, "open log-0 create\n"
                    "allocate\n"
                    "write 0 to 128\n"
                    "sync\n"
                    "sync directory\n");
    expect_done(s, 1, 1);
    assert_int_equal(s->done.synced_hash, commit_hash((struct commit_header *)s->images[0]));
    assert_int_equal(s->reports, 1);
    assert_int_equal(s->notified, 1);
    submit(s, SMALL);
    work(s);
    EXPECT_TRACE(s, "write 128 to 256\n"
                    "sync\n");
    expect_done(s, 2, 2);
    setup_free(s);
}

static void gather(void *context)
{
    struct setup *s = context;

    assert_true(s->done.number < s->number - 1); /* not told before it is synced */
    for (; s->gather > 0; s->gather--)
        submit(s, SMALL);
}

TEST(what_gathers_during_a_sync_is_one_write_and_one_sync)
{
    struct setup *s = setup_new(WRITER_SYNC_GROUP);
    struct writer_figures figures;

    s->disk.syncing = gather;
    s->disk.context = s;
    s->gather = 20;
    submit(s, SMALL);
    work(s);
    EXPECT_TRACE(s, "open log-0 create\n"
                    "allocate\n"
                    "write 0 to 128\n"
                    "sync\n"
                    "sync directory\n"
                    "write 128 to 2688\n"
                    "sync\n");
    expect_done(s, 21, 21);
    assert_int_equal(s->disk.parts, 1);
    assert_int_equal(s->reports, 2);
    writer_figures(s->writer, &figures);
    assert_int_equal(figures.commits, 21);
    assert_int_equal(figures.bytes, 21 * SMALL_BYTES);
    assert_int_equal(figures.writes, 2);
    assert_int_equal(figures.syncs, 2);
    setup_free(s);
}

TEST(commits_apart_in_memory_are_still_one_write)
{
    struct setup *s = setup_new(WRITER_SYNC_GROUP);
    uint8_t *apart = calloc(1, 1024);

    submit(s, SMALL);
    submit(s, SMALL);
    submit_at(s, apart, SMALL, WRITER_NO_SPARE);
    submit_at(s, apart + SMALL_BYTES, SMALL, WRITER_NO_SPARE);
    submit(s, SMALL);
    work(s);
    EXPECT_TRACE(s, "open log-0 create\n"
                    "allocate\n"
                    "write 0 to 640\n"
                    "sync\n"
                    "sync directory\n");
    assert_int_equal(s->disk.parts, 3);
    expect_done(s, 5, 5);
    setup_free(s);
    free(apart);
}

TEST(a_write_has_a_bound)
{
    struct setup *s = setup_new(WRITER_SYNC_GROUP);

    for (int i = 0; i < 10; i++)
        submit(s, 1024 * 1024 - 96);
    work(s);
    EXPECT_TRACE(s, "open log-0 create\n"
                    "allocate\n"
                    "write 0 to 8388608\n"
                    "sync\n"
                    "sync directory\n"
                    "write 8388608 to 10485760\n"
                    "sync\n");
    expect_done(s, 10, 10);
    setup_free(s);
}

TEST(a_newer_report_replaces_one_that_was_not_taken)
{
    struct setup *s = setup_new(WRITER_SYNC_GROUP);

    for (int i = 0; i < 3; i++) {
        submit(s, SMALL);
        while (writer_work(s->writer))
            ;
    }
    take_report(s);
    assert_int_equal(s->notified, 3);
    assert_int_equal(s->reports, 1);
    expect_done(s, 3, 3);
    setup_free(s);
}

/* ---- sealing ---- */

/* Reads the commits from what is synced, as a start would. Segment n is file n. */
static void expect_chain(const struct setup *s, uint64_t count)
{
    uint64_t previous_hash = 0x1234;

    for (uint64_t number = 1; number <= count; number++) {
        uint64_t lsn = s->begins[number];
        const uint8_t *at = s->disk.files[lsn / SEGMENT_BYTES].synced + lsn % SEGMENT_BYTES;
        const struct commit_header *commit = (const struct commit_header *)at;

        assert_true(
            commit_valid(at, SEGMENT_BYTES - lsn % SEGMENT_BYTES, lsn, SEGMENT_BYTES, &s->directory.secret));
        assert_int_equal(commit->number, number);
        assert_int_equal(commit->previous_hash, previous_hash);
        previous_hash = commit_hash(commit);
    }
}

TEST(commits_are_sealed_as_a_chain_across_segments)
{
    struct setup *s = setup_new(WRITER_SYNC_GROUP);
    const struct commit_header *second = (struct commit_header *)(s->images[0] + SMALL_BYTES);
    const struct commit_header *third = (struct commit_header *)(s->images[0] + 2 * SMALL_BYTES);

    submit(s, SMALL);
    submit(s, SMALL);
    work(s);
    assert_int_equal(second->synced_lsn, 0); /* nothing was, when both were written */
    submit(s, SMALL);
    work(s);
    assert_int_equal(third->synced_lsn, 2 * SMALL_BYTES);
    next_segment(s);
    submit(s, 1000);
    submit(s, 0);
    work(s);
    expect_done(s, 5, 5);
    expect_chain(s, 5);
    setup_free(s);
}

/* ---- segments ---- */

TEST(a_segment_is_synced_and_closed_before_the_next_one_is_opened)
{
    struct setup *s = setup_new(WRITER_SYNC_GROUP);
    char spare[DIRECTORY_NAME_BYTES_MAX];

    directory_segment_name(spare, DIRECTORY_SPARE, 9);
    disk_add(&s->disk, spare); /* file 0 */
    submit(s, HALF);
    submit(s, HALF); /* to its very end */
    submit_at(s, image_at(s), SMALL, 9);
    next_segment(s);
    submit(s, SMALL);
    work(s);
    EXPECT_TRACE(s, "open log-0 create\n"
                    "allocate\n"
                    "write 0 to 8388608\n"
                    "sync\n"
                    "sync directory\n"
                    "write 8388608 to 16777216\n"
                    "sync\n"
                    "close\n"
                    "rename spare-9 log-1\n"
                    "open log-1\n"
                    "write 0 to 128\n"
                    "sync\n"
                    "sync directory\n"
                    "close\n"
                    "open log-2 create\n"
                    "allocate\n"
                    "write 0 to 128\n"
                    "sync\n"
                    "sync directory\n");
    expect_done(s, 4, 4);
    setup_free(s);
}

TEST(a_write_ends_where_its_segment_does)
{
    struct setup *s = setup_new(WRITER_SYNC_GROUP);

    submit(s, HALF);
    submit(s, QUARTER);
    work(s);
    s->disk.trace[0] = '\0';
    submit(s, QUARTER);
    submit(s, SMALL);
    work(s);
    EXPECT_TRACE(s, "write 12582912 to 16777216\n"
                    "sync\n"
                    "close\n"
                    "open log-1 create\n"
                    "allocate\n"
                    "write 0 to 128\n"
                    "sync\n"
                    "sync directory\n");
    expect_done(s, 4, 4);
    expect_chain(s, 4);
    setup_free(s);
}

TEST(commits_apart_in_the_file_are_written_apart)
{
    struct setup *s = setup_new(WRITER_SYNC_NONE);

    submit(s, SMALL);
    s->lsn += 256;
    submit(s, SMALL);
    work(s);
    EXPECT_TRACE(s, "open log-0 create\n"
                    "allocate\n"
                    "write 0 to 128\n"
                    "write 384 to 512\n");
    expect_done(s, 2, 0);
    setup_free(s);
}

TEST(in_each_mode_a_full_segment_is_synced)
{
    struct setup *s = setup_new(WRITER_SYNC_NONE);

    submit(s, SMALL);
    next_segment(s);
    submit(s, SMALL);
    submit(s, SMALL);
    work(s);
    EXPECT_TRACE(s, "open log-0 create\n"
                    "allocate\n"
                    "write 0 to 128\n"
                    "sync\n"
                    "sync directory\n"
                    "close\n"
                    "open log-1 create\n"
                    "allocate\n"
                    "write 0 to 256\n");
    expect_done(s, 3, 1);
    setup_free(s);
}

/* Between the look at what is due and the look for jobs, a job may come. */
TEST(a_segment_that_begins_at_an_awkward_moment_waits_for_the_sync)
{
    struct setup *s = setup_new(WRITER_SYNC_ASYNC);

    submit(s, SMALL);
    work(s);
    s->begin_segment = true;
    (void)writer_work(s->writer); /* may find the job now, or at the next call */
    assert_false(s->begin_segment);
    work(s);
    EXPECT_TRACE(s, "open log-0 create\n"
                    "allocate\n"
                    "write 0 to 128\n"
                    "sync\n"
                    "sync directory\n"
                    "close\n"
                    "open log-1 create\n"
                    "allocate\n"
                    "write 0 to 128\n");
    expect_done(s, 2, 1);
    setup_free(s);
}

/* ---- modes ---- */

TEST(async_answers_what_is_written_and_syncs_in_time)
{
    struct setup *s = setup_new(WRITER_SYNC_ASYNC);

    assert_int_equal(writer_sleep_ms(s->writer), UINT32_MAX);
    submit(s, SMALL);
    work(s);
    EXPECT_TRACE(s, "open log-0 create\n"
                    "allocate\n"
                    "write 0 to 128\n");
    expect_done(s, 1, 0);
    assert_int_equal(writer_sleep_ms(s->writer), 10);
    s->now_ns += 6500000;
    submit(s, SMALL);
    work(s);
    EXPECT_TRACE(s, "write 128 to 256\n");
    expect_done(s, 2, 0);
    assert_int_equal(writer_sleep_ms(s->writer), 4); /* counted from the oldest */
    s->now_ns += 3499999;
    assert_false(writer_work(s->writer));
    assert_int_equal(writer_sleep_ms(s->writer), 1);
    s->now_ns += 1;
    assert_int_equal(writer_sleep_ms(s->writer), 0);
    submit(s, SMALL); /* behind the sync that is due */
    work(s);
    EXPECT_TRACE(s, "sync\n"
                    "sync directory\n"
                    "write 256 to 384\n");
    expect_done(s, 3, 2);
    assert_int_equal(writer_sleep_ms(s->writer), 10);
    setup_free(s);
}

TEST(without_sync_a_sync_can_be_asked_for)
{
    struct setup *s = setup_new(WRITER_SYNC_NONE);

    writer_sync_soon(s->writer);
    work(s);
    EXPECT_TRACE(s, "");
    submit(s, SMALL);
    s->now_ns += UINT64_C(3600000000000);
    work(s);
    assert_int_equal(writer_sleep_ms(s->writer), UINT32_MAX);
    expect_done(s, 1, 0);
    writer_sync_soon(s->writer);
    work(s);
    expect_done(s, 1, 1);
    submit(s, SMALL);
    submit(s, SMALL);
    writer_sync_soon(s->writer); /* before they are written */
    work(s);
    expect_done(s, 3, 3);
    submit(s, SMALL);
    work(s);
    submit(s, SMALL);
    writer_sync_soon(s->writer); /* one sync for what is written and what is not yet */
    work(s);
    expect_done(s, 5, 5);
    submit(s, SMALL);
    work(s);
    EXPECT_TRACE(s, "open log-0 create\n"
                    "allocate\n"
                    "write 0 to 128\n"
                    "sync\n"
                    "sync directory\n"
                    "write 128 to 384\n"
                    "sync\n"
                    "write 384 to 512\n"
                    "write 512 to 640\n"
                    "sync\n"
                    "write 640 to 768\n");
    expect_done(s, 6, 5);
    assert_int_equal(((struct commit_header *)(s->images[0] + 512))->synced_lsn, 384);
    setup_free(s);
}

/* ---- failures ---- */

/* What was told must be so: commits up to done.number are in the files; up to synced_number, safe, and so are their names. */
static void expect_told_is_true(const struct setup *s, enum writer_sync sync)
{
    uint64_t safe = sync == WRITER_SYNC_GROUP ? s->done.number : s->done.synced_number;

    assert_true(s->done.synced_number <= s->done.number);
    assert_int_equal(s->done.written_lsn, s->ends[s->done.number]);
    assert_int_equal(s->done.synced_lsn, s->ends[s->done.synced_number]);
    if (sync == WRITER_SYNC_GROUP)
        assert_int_equal(s->done.synced_number, s->done.number);
    expect_chain(s, safe);
}

/* Eight commits in two segments, in several writes. */
static void submit_some(struct setup *s, int step)
{
    if (step == 2)
        next_segment(s);
    submit(s, SMALL);
    submit(s, 500);
    if (step == 3)
        writer_sync_soon(s->writer);
}

/* Gives whether the disk was asked that often at all. */
static bool fail_at(enum writer_sync sync, int at)
{
    struct setup *s = setup_new(sync);
    struct writer_done before;
    int operations;

    s->disk.fail_at = at;
    for (int step = 0; step < 4 && s->done.error == 0; step++) {
        submit_some(s, step);
        while (writer_work(s->writer)) {
            before = s->done;
            take_report(s);
            if (s->done.error != 0)
                break;
            expect_told_is_true(s, sync);
        }
    }
    if (s->done.error == 0) {
        assert_true(s->disk.operations < at);
        assert_int_equal(s->done.synced_number, 8);
        setup_free(s);
        return false;
    }
    /* Nothing but the error has changed, and nothing more happens. */
    assert_int_equal(s->done.error, -EIO);
    assert_int_equal(s->disk.operations, at);
    assert_int_equal(s->done.number, before.number);
    assert_int_equal(s->done.written_lsn, before.written_lsn);
    assert_int_equal(s->done.synced_lsn, before.synced_lsn);
    assert_int_equal(s->done.synced_number, before.synced_number);
    assert_int_equal(s->done.synced_hash, before.synced_hash);
    expect_told_is_true(s, sync);
    operations = s->disk.operations;
    next_segment(s);
    submit(s, SMALL);
    submit(s, SMALL);
    writer_sync_soon(s->writer);
    s->now_ns += 1000000000;
    work(s);
    assert_false(writer_work(s->writer));
    assert_int_equal(writer_sleep_ms(s->writer), UINT32_MAX);
    assert_int_equal(s->disk.operations, operations);
    assert_int_equal(s->notified, s->reports);
    setup_free(s);
    return true;
}

TEST(after_any_failure_nothing_more_is_done_or_told)
{
    for (enum writer_sync sync = WRITER_SYNC_GROUP; sync <= WRITER_SYNC_NONE; sync++) {
        int at = 1;

        while (fail_at(sync, at))
            at++;
        assert_true(at > 8);
    }
}

TEST(what_was_told_at_the_start_stays_when_the_first_write_fails)
{
    struct setup *s = setup_new(WRITER_SYNC_GROUP);
    const struct writer_options options = {.directory = &s->directory,
                                           .now_ns = setup_now_ns,
                                           .notify = setup_notify,
                                           .context = s,
                                           .previous_number = 41,
                                           .previous_hash = 4242,
                                           .synced_lsn = 640};

    writer_free(s->writer);
    assert_int_equal(writer_new(&options, &s->writer), 0);
    s->number = 42;
    next_segment(s);
    submit(s, SMALL);
    s->disk.fail_at = 2;
    s->disk.error = -ENOSPC;
    work(s);
    assert_int_equal(s->done.error, -ENOSPC);
    assert_int_equal(s->done.number, 41);
    assert_int_equal(s->done.written_lsn, 640);
    assert_int_equal(s->done.synced_lsn, 640);
    assert_int_equal(s->done.synced_number, 41);
    assert_int_equal(s->done.synced_hash, 4242);
    setup_free(s);
}

TEST(a_full_ring_refuses)
{
    struct setup *s = setup_new(WRITER_SYNC_GROUP);
    uint32_t count = 0;
    struct writer_job job = {.data = s->images[0], .spare = WRITER_NO_SPARE};

    for (;; count++, job.data += job.bytes, job.lsn += job.bytes) {
        job.number = count + 1;
        job.bytes = lay_commit(job.data, job.number, job.lsn, SMALL);
        if (!writer_submit(s->writer, &job))
            break;
    }
    assert_true(count >= 1000);
    assert_true(writer_work(s->writer));
    assert_true(writer_submit(s->writer, &job));
    work(s);
    assert_int_equal(s->done.number, count + 1);
    assert_int_equal(s->done.synced_lsn, job.lsn + job.bytes);
    setup_free(s);
}

TEST(without_memory_there_is_no_writer)
{
    struct setup *s = setup_new(WRITER_SYNC_GROUP);
    size_t requests;
    int err;

    writer_free(s->writer);
    failing_malloc_reset();
    assert_int_equal(setup_new_writer(s, WRITER_SYNC_GROUP), 0);
    requests = failing_malloc_requests();
    writer_free(s->writer);
    for (size_t n = 1; n <= requests; n++) {
        s->writer = NULL;
        failing_malloc_fail_at(n);
        err = setup_new_writer(s, WRITER_SYNC_GROUP);
        assert_int_equal(err, FANQ_ERR_NOMEM);
        assert_null(s->writer);
    }
    failing_malloc_fail_at(0);
    assert_int_equal(failing_malloc_live(), 0);
    setup_free(s);
}

/* ---- with threads ---- */

enum { STRESS_COMMITS = 60000, STRESS_BYTES = 64 * 1024, STRESS_SEGMENT_BYTES = 16 * STRESS_BYTES };

static uint64_t wall_now_ns(void *context)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void count_notice(void *context)
{
    atomic_fetch_add((atomic_int *)context, 1);
}

static int ignore_open(void *context, const char *name, unsigned how, int *ret_file)
{
    *ret_file = 7;
    return 0;
}

static void ignore_close(void *context, int file)
{
}

/* Reads it all, so that a byte that changed meanwhile is a race. */
static int64_t look_at_write(void *context, int file, const struct iovec *parts, int part_count,
                             uint64_t offset)
{
    int64_t bytes = 0;
    uint64_t sum = 0;

    for (int i = 0; i < part_count; i++) {
        const uint8_t *data = parts[i].iov_base;

        for (size_t j = 0; j < parts[i].iov_len; j++)
            sum += data[j];
        bytes += (int64_t)parts[i].iov_len;
    }
    *(uint64_t *)context += sum;
    return bytes;
}

static int ignore_sync(void *context, int file)
{
    sched_yield();
    return 0;
}

static int ignore_allocate(void *context, int file, uint64_t bytes)
{
    return 0;
}

static int ignore_sync_directory(void *context)
{
    return 0;
}

/* A loop that goes on appending into a memory that is used again as soon as it is written. */
static void stress(enum writer_sync sync)
{
    static _Alignas(64) uint8_t memory[STRESS_BYTES];
    atomic_int notices = 0;
    uint64_t sum = 0, lsn = 0, number = 0;
    struct directory directory = {.io = {.context = &sum,
                                         .open = ignore_open,
                                         .close = ignore_close,
                                         .write_at = look_at_write,
                                         .allocate = ignore_allocate,
                                         .sync = ignore_sync,
                                         .sync_directory = ignore_sync_directory},
                                  .segment_bytes = STRESS_SEGMENT_BYTES};
    const struct writer_options options = {.directory = &directory,
                                           .sync = sync,
                                           .sync_ms = 1,
                                           .now_ns = wall_now_ns,
                                           .notify = count_notice,
                                           .context = &notices};
    struct writer_done done = {0}, newer;
    struct writer_figures figures;
    struct writer *writer;
    struct worker *worker;

    assert_int_equal(writer_new(&options, &writer), 0);
    assert_int_equal(worker_start(&(struct worker_options){.name = "test-log",
                                                           .work = writer_work,
                                                           .context = writer,
                                                           .spin_us = 20,
                                                           .sleep_ms = writer_sleep_ms},
                                  &worker),
                     0);
    while (done.synced_number < STRESS_COMMITS) {
        struct writer_job job = {.data = memory + lsn % STRESS_BYTES, .lsn = lsn, .spare = WRITER_NO_SPARE};

        if (number < STRESS_COMMITS && lsn + SMALL_BYTES - done.written_lsn <= STRESS_BYTES) {
            job.number = ++number;
            job.bytes = lay_commit(job.data, number, lsn, SMALL);
            assert_true(writer_submit(writer, &job));
            lsn += job.bytes;
            if (number == STRESS_COMMITS)
                writer_sync_soon(writer);
            worker_wake(worker);
        }
        if (writer_done(writer, &newer)) {
            assert_true(newer.number >= done.number && newer.written_lsn >= done.written_lsn &&
                        newer.synced_number >= done.synced_number && newer.number <= number);
            assert_int_equal(newer.error, 0);
            done = newer;
        }
        writer_figures(writer, &figures);
        assert_true(figures.commits <= number);
    }
    worker_stop(worker);
    writer_figures(writer, &figures);
    assert_int_equal(figures.commits, STRESS_COMMITS);
    assert_int_equal(done.number, STRESS_COMMITS);
    assert_int_equal(done.synced_lsn, lsn);
    assert_true(atomic_load(&notices) > 0);
    writer_free(writer);
}

TEST(a_loop_and_a_log_thread)
{
    stress(WRITER_SYNC_GROUP);
    stress(WRITER_SYNC_ASYNC);
    stress(WRITER_SYNC_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_commit_is_written_synced_and_told),
        cmocka_unit_test(what_gathers_during_a_sync_is_one_write_and_one_sync),
        cmocka_unit_test(commits_apart_in_memory_are_still_one_write),
        cmocka_unit_test(a_write_has_a_bound),
        cmocka_unit_test(a_newer_report_replaces_one_that_was_not_taken),
        cmocka_unit_test(commits_are_sealed_as_a_chain_across_segments),
        cmocka_unit_test(a_segment_is_synced_and_closed_before_the_next_one_is_opened),
        cmocka_unit_test(a_write_ends_where_its_segment_does),
        cmocka_unit_test(commits_apart_in_the_file_are_written_apart),
        cmocka_unit_test(in_each_mode_a_full_segment_is_synced),
        cmocka_unit_test(a_segment_that_begins_at_an_awkward_moment_waits_for_the_sync),
        cmocka_unit_test(async_answers_what_is_written_and_syncs_in_time),
        cmocka_unit_test(without_sync_a_sync_can_be_asked_for),
        cmocka_unit_test(after_any_failure_nothing_more_is_done_or_told),
        cmocka_unit_test(what_was_told_at_the_start_stays_when_the_first_write_fails),
        cmocka_unit_test(a_full_ring_refuses),
        cmocka_unit_test(without_memory_there_is_no_writer),
        cmocka_unit_test(a_loop_and_a_log_thread),
    };

    alarm(120);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
