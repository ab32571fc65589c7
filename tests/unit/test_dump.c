/* check_directory(), and fanq-dump as a program: on a small log on the real disk. argv[1]: fanq-dump. */
#include "log/check_directory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/fact.h"
#include "log/checkpoint.h"
#include "tests/lib/unit.h"

enum { OUTPUT_BYTES = 16 * 1024, SEGMENT_BYTES = 4096, BODY_BYTES = 100, COMMITS = 3, MESSAGES = 5 };

#define QUEUE_NAME "000000000000:us-east-1:orders"

static const char *dump_program;

struct fixture {
    char path[64];
    struct directory directory;
    uint64_t ends[COMMITS];
    char output[OUTPUT_BYTES];
};

/* ---- a log ---- */

static uint8_t *put(uint8_t *at, const void *data, size_t length)
{
    memcpy(at, data, length);
    return at + length;
}

static void some_facts(struct facts *facts, uint64_t number)
{
    *facts = (struct facts){.data = NULL};
    assert_int_equal(facts_reserve(facts, 3), 0);
    facts_add(facts, &(struct fact){.kind = FACT_QUEUE,
                                    .queue_id = 7,
                                    .name = QUEUE_NAME,
                                    .name_length = sizeof(QUEUE_NAME) - 1,
                                    .created_ms = 100,
                                    .visibility_ms = 30000});
    facts_add(facts, &(struct fact){
                         .kind = FACT_GONE, .stream = 3, .queue_id = 7, .first = number, .end = number + 4});
}

/* Writes a commit of one block and two facts at the offset in segment 1; gives the offset behind it. */
static uint64_t write_commit(struct fixture *f, int file, uint64_t number, uint64_t offset, uint64_t *hash)
{
    struct commit_header header = {.magic = COMMIT_MAGIC,
                                   .version = COMMIT_VERSION,
                                   .epoch = 1,
                                   .number = number,
                                   .lsn = SEGMENT_BYTES + offset,
                                   .previous_end = offset > 0 ? SEGMENT_BYTES + offset : 0,
                                   .time_ms = 1000 + number,
                                   .block_count = 1};
    struct block_header block = {.stream = 3,
                                 .first_seq = number * MESSAGES,
                                 .time_ms = 1000 + number,
                                 .arrival = number,
                                 .count = MESSAGES,
                                 .bytes = BODY_BYTES};
    uint8_t image[1024] = {0}, body[BODY_BYTES], *at = image + sizeof(header);
    struct facts facts;

    memset(body, (int)number, sizeof(body));
    some_facts(&facts, number);
    at = put(put(put(at, &block, sizeof(block)), body, sizeof(body)), facts.data, facts.length);
    header.fact_bytes = (uint32_t)facts.length;
    header.fact_count = facts.count;
    header.bytes = (uint32_t)(at - image) + (uint32_t)sizeof(struct commit_trailer);
    put(image, &header, sizeof(header));
    *hash = commit_seal(image, header.previous_end, *hash, &f->directory.secret);
    assert_int_equal(io_write(&f->directory.io, file, image, commit_bytes_aligned(header.bytes), offset), 0);
    free(facts.data);
    return offset + commit_bytes_aligned(header.bytes);
}

/* Behind the second commit. */
static void write_checkpoint(struct fixture *f, uint64_t number, const struct facts *facts)
{
    const struct checkpoint checkpoint = {.number = number,
                                          .lsn = SEGMENT_BYTES + f->ends[1],
                                          .next_commit = COMMITS,
                                          .facts = facts->data,
                                          .fact_bytes = facts->length,
                                          .fact_count = facts->count};
    uint8_t *data;
    size_t length;

    assert_int_equal(checkpoint_encode(&f->directory, &checkpoint, &data, &length), 0);
    assert_int_equal(io_put(&f->directory.io, checkpoint_name(number), data, length), 0);
    free(data);
}

/* Three commits, and a checkpoint. */
static void write_log(struct fixture *f)
{
    const struct io *io = &f->directory.io;
    char name[DIRECTORY_NAME_BYTES_MAX];
    uint64_t offset = 0, hash = 0;
    struct facts facts;
    int file;

    directory_segment_name(name, DIRECTORY_LOG, 1);
    assert_int_equal(io->open(io->context, name, IO_WRITE | IO_CREATE, &file), 0);
    for (uint64_t n = 0; n < COMMITS; n++)
        f->ends[n] = offset = write_commit(f, file, n + 1, offset, &hash);
    io->close(io->context, file);

    some_facts(&facts, 1);
    write_checkpoint(f, 1, &facts);
    free(facts.data);
}

static void fixture_new(struct fixture *f)
{
    struct directory_options options = {.segment_bytes = SEGMENT_BYTES, .random = {1, 2, 3, 4}, .wall_ms = 5};
    char error[DIRECTORY_ERROR_BYTES];

    strcpy(f->path, "/tmp/fanq-test-dump-XXXXXX");
    assert_non_null(mkdtemp(f->path));
    assert_int_equal(io_posix_new(f->path, &options.io), 0);
    assert_int_equal(directory_open(&options, &f->directory, error), 0);
    assert_int_equal(directory_begin(&f->directory), 0);
    write_log(f);
}

static int collect(void *context, const char *name)
{
    strcpy(context, name);
    return 1;
}

static void fixture_free(struct fixture *f)
{
    const struct io *io = &f->directory.io;
    char name[256];

    while (io->list(io->context, collect, name) == 1)
        assert_int_equal(io->remove(io->context, name), 0);
    io_posix_free(&f->directory.io);
    assert_int_equal(rmdir(f->path), 0);
}

static void flip(struct fixture *f, const char *name, uint64_t offset)
{
    const struct io *io = &f->directory.io;
    uint8_t byte;
    size_t length;
    int file;

    assert_int_equal(io->open(io->context, name, IO_READ | IO_WRITE, &file), 0);
    assert_int_equal(io_read(io, file, &byte, 1, offset, &length), 0);
    byte ^= 1;
    assert_int_equal(io_write(io, file, &byte, 1, offset), 0);
    io->close(io->context, file);
}

static enum check_result check(struct fixture *f)
{
    FILE *out = fmemopen(f->output, sizeof(f->output), "w");
    enum check_result result = check_directory(f->path, out);

    fclose(out);
    return result;
}

static int dump(struct fixture *f, const char *options)
{
    char command[512];
    size_t length;
    FILE *pipe;

    snprintf(command, sizeof(command), "'%s' %s %s 2>&1", dump_program, f->path, options);
    pipe = popen(command, "r");
    assert_non_null(pipe);
    length = fread(f->output, 1, sizeof(f->output) - 1, pipe);
    f->output[length] = '\0';
    return WEXITSTATUS(pclose(pipe));
}

static void expect(const struct fixture *f, const char *text)
{
    if (strstr(f->output, text) == NULL)
        fail_msg("'%s' is not in this:\n%s", text, f->output);
}

/* ---- checking ---- */

TEST(a_good_directory_is_fine)
{
    struct fixture f;

    fixture_new(&f);
    assert_int_equal(check(&f), CHECK_FINE);
    assert_string_equal(f.output, "fine: 3 commits, 3 blocks, 15 messages, 4 facts\n");
    fixture_free(&f);
}

TEST(damage_is_told_and_not_fine)
{
    struct fixture f;

    fixture_new(&f);
    flip(&f, "log-0000000000000001", f.ends[0] + 160);
    assert_int_equal(check(&f), CHECK_DAMAGED);
    assert_string_equal(
        f.output,
        "log-0000000000000001, offset 320: commit 2 is damaged; it had messages 10 to 14 of stream 3, "
        "in all 1 blocks, 2 facts\n"
        "damaged\n");
    fixture_free(&f);
}

TEST(a_checkpoint_that_is_not_needed_may_be_damaged)
{
    struct fixture f;

    fixture_new(&f);
    flip(&f, "checkpoint-a", 70);
    assert_int_equal(check(&f), CHECK_DAMAGED);
    expect(&f, "checkpoint-a is damaged; the log is replayed from its beginning\n");
    expect(&f, "damaged, but nothing is lost: 3 commits, 3 blocks, 15 messages, 6 facts\n");
    fixture_free(&f);
}

/* All commits there are lead from one to the next: that there was another file only the state tells. */
TEST(messages_that_are_in_no_file_are_told)
{
    struct facts facts;
    struct fixture f;

    fixture_new(&f);
    some_facts(&facts, 1);
    facts_add(&facts,
              &(struct fact){.kind = FACT_UNREAD, .stream = 4, .queue_id = 7, .first = 20, .end = 29});
    write_checkpoint(&f, 2, &facts);
    assert_int_equal(check(&f), CHECK_DAMAGED);
    assert_string_equal(f.output,
                        "9 messages are in no file, counted for each queue that had them\ndamaged\n");
    free(facts.data);
    fixture_free(&f);
}

TEST(what_is_no_directory_cannot_be_checked)
{
    struct fixture f = {.path = "/tmp/fanq-test-dump-is-not-there"};
    struct stat status;

    assert_int_equal(check(&f), CHECK_FAILED);
    expect(&f, "No such file or directory");
    assert_int_equal(stat(f.path, &status), -1); /* nor made */
    strcpy(f.path, "/tmp/fanq-test-dump-XXXXXX");
    assert_non_null(mkdtemp(f.path));
    assert_int_equal(check(&f), CHECK_FAILED);
    assert_int_equal(rmdir(f.path), 0);
}

/* ---- the program ---- */

TEST(everything_is_printed_a_line_each)
{
    struct fixture f;

    fixture_new(&f);
    assert_int_equal(dump(&f, "--commits --facts --blocks"), 0);
    expect(&f, "commit 1 in log-0000000000000001 offset 0 bytes 295 epoch 1 time_ms 1001 blocks 1 facts 2 "
               "lsn 4096 synced_lsn 0\n");
    expect(&f, "block stream 3 messages 15 to 19 bytes 100 time_ms 1003 arrival 3 in log-0000000000000001 "
               "offset 728\n");
    expect(&f, "fact checkpoint 1 QUEUE queue 7 name " QUEUE_NAME " created_ms 100 visibility_ms 30000 "
               "receive_wait_ms 0 early_delivery 0\n");
    expect(&f, "fact commit 2 GONE queue 7 stream 3 messages 2 to 5\n");
    fixture_free(&f);
}

TEST(without_options_there_is_a_survey)
{
    struct fixture f;

    fixture_new(&f);
    assert_int_equal(dump(&f, ""), 0);
    assert_string_equal(
        f.output,
        "directory 0000000000000001 made_ms 5 segment_bytes 4096\n"
        "checkpoint 1 file checkpoint-a lsn 4736 next_commit 3 time_ms 0 facts 2 bytes 43\n"
        "segment log-0000000000000001 commits 1 to 3 epoch 1 blocks 3 messages 15 facts 6 used 960 of "
        "960\n");
    fixture_free(&f);
}

TEST(what_is_behind_damage_is_printed_all_the_same)
{
    struct fixture f;

    fixture_new(&f);
    flip(&f, "log-0000000000000001", 160);
    assert_int_equal(dump(&f, "--commits --verify"), 1);
    expect(&f, "not a commit in log-0000000000000001 offset 0\n");
    expect(&f, "commit 2 in");
    expect(&f, "commit 3 in");
    expect(&f, "commit 1 is damaged");
    fixture_free(&f);
}

TEST(a_wrong_use_ends_with_2)
{
    struct fixture f;

    fixture_new(&f);
    assert_int_equal(dump(&f, "--nonsense"), 2);
    expect(&f, "usage: fanq-dump DIR");
    assert_int_equal(dump(&f, "another"), 2);
    assert_int_equal(dump(&f, "--verify"), 0);
    assert_int_equal(dump(&f, "--help"), 0);
    fixture_free(&f);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_directory_is_fine),
        cmocka_unit_test(damage_is_told_and_not_fine),
        cmocka_unit_test(a_checkpoint_that_is_not_needed_may_be_damaged),
        cmocka_unit_test(messages_that_are_in_no_file_are_told),
        cmocka_unit_test(what_is_no_directory_cannot_be_checked),
        cmocka_unit_test(everything_is_printed_a_line_each),
        cmocka_unit_test(without_options_there_is_a_survey),
        cmocka_unit_test(what_is_behind_damage_is_printed_all_the_same),
        cmocka_unit_test(a_wrong_use_ends_with_2),
    };

    dump_program = argc > 1 ? argv[1] : "fanq-dump";
    return cmocka_run_group_tests(tests, NULL, NULL);
}
