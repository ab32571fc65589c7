#include "check_directory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "core/fact.h"
#include "proto/fanq_error.h"
#include "recovery.h"

struct check {
    FILE *out;
    uint64_t reports, records;
    bool unreadable; /* some facts */
};

static int check_facts(void *context, const uint8_t *facts, uint64_t bytes, uint64_t count,
                       bool of_checkpoint)
{
    struct check *c = context;
    struct fact_cursor cursor = fact_cursor_over(facts, bytes);
    struct fact fact;
    uint64_t found = 0;
    int next;

    while ((next = fact_next(&cursor, &fact)) == 1)
        found++;
    if (next == 0 && found == count)
        return 0;
    c->unreadable = true;
    fprintf(c->out, "%s has facts that this version does not know\n",
            of_checkpoint ? "the checkpoint" : "a commit");
    return 0;
}

static int count_block(void *context, const struct block_header *block, uint64_t place,
                       bool behind_checkpoint)
{
    struct check *c = context;

    c->records += block->count;
    return 0;
}

static void print_report(void *context, const char *text)
{
    struct check *c = context;

    c->reports++;
    fprintf(c->out, "%s\n", text);
}

static enum check_result check_log(const struct directory *directory, FILE *out)
{
    struct check c = {.out = out};
    const struct recovery_options options = {
        .directory = directory, .sink = {&c, check_facts, count_block, print_report}, .verify = true};
    struct recovered r;
    int err = recovery_run(&options, &r);

    if (err != 0) {
        fprintf(out, "cannot be checked: %s\n", fanq_strerror(err));
        return CHECK_FAILED;
    }
    if (r.damaged || c.unreadable) {
        fprintf(out, "damaged\n");
        return CHECK_DAMAGED;
    }
    /* What was reported all the same is a checkpoint that can be done without. */
    fprintf(out, "%s: %" PRIu64 " commits, %" PRIu64 " blocks, %" PRIu64 " messages, %" PRIu64 " facts\n",
            c.reports > 0 ? "damaged, but nothing is lost" : "fine", r.commits, r.blocks, c.records,
            r.fact_count);
    return c.reports > 0 ? CHECK_DAMAGED : CHECK_FINE;
}

enum check_result check_directory(const char *path, FILE *out)
{
    struct directory_options options = {.read_only = true};
    struct directory directory;
    char error[DIRECTORY_ERROR_BYTES];
    enum check_result result;
    struct stat status;
    int err;

    /* Opening would make it. */
    err = stat(path, &status) == 0 ? io_posix_new(path, &options.io) : -errno;
    if (err != 0) {
        fprintf(out, "%s: %s\n", path, strerror(-err));
        return CHECK_FAILED;
    }
    err = directory_open(&options, &directory, error);
    if (err == 0) {
        result = check_log(&directory, out);
    } else {
        fprintf(out, "%s: %s\n", path, error);
        result = CHECK_FAILED;
    }
    io_posix_free(&options.io);
    return result;
}
