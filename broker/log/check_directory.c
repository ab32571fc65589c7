#include "check_directory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "core/core.h"
#include "core/fact.h"
#include "index.h"
#include "place.h"
#include "proto/fanq_error.h"
#include "recovery.h"

/* The state is made anew as at a start: only so the loss of a whole file shows of which no commit tells. */
struct check {
    FILE *out;
    struct core *core;
    struct index index; /* of all blocks */
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
    if (next == 0 && found == count) {
        int err = core_replay(c->core, facts, bytes);
        if (err != FANQ_ERR_INVALID)
            return err;
    }
    c->unreadable = true;
    fprintf(c->out, "%s has facts that this version does not know\n",
            of_checkpoint ? "the checkpoint" : "a commit");
    return 0;
}

static int count_block(void *context, const struct block_header *block, uint64_t place,
                       bool behind_checkpoint)
{
    struct check *c = context;
    struct stream_index *si;
    int err = index_reserve(&c->index, block->stream, 1, &si);

    c->records += block->count;
    if (err == 0)
        stream_index_put(si, &(struct block){.first_seq = block->first_seq, .count = block->count}, place);
    if (err == 0 && behind_checkpoint && !place_is_cold(place))
        err = core_replay_block(c->core, block->stream, block->first_seq, block->count);
    return err;
}

static void print_report(void *context, const char *text)
{
    struct check *c = context;

    c->reports++;
    fprintf(c->out, "%s\n", text);
}

/* The core's view. */
static bool find_block(void *context, uint64_t stream, uint64_t seq, struct block *ret_block)
{
    struct check *c = context;
    struct stream_index *si = index_find(&c->index, stream);
    const struct index_entry *e = si != NULL ? stream_index_at(si, seq) : NULL;

    if (e != NULL)
        *ret_block = e->block;
    return e != NULL;
}

/* Tells how many messages that queues have are in no file. */
static int find_missing(struct check *c, const struct recovered *r, uint64_t *ret_missing)
{
    int err;

    list_for_each (at, &c->index.all)
        stream_index_sort(container_of(at, struct stream_index, link));
    err = core_replay_end(c->core, r->last_number + 1);
    if (err == 0)
        err = core_forget_missing(c->core, ret_missing);
    if (err == 0 && *ret_missing > 0)
        fprintf(c->out, "%" PRIu64 " messages are in no file, counted for each queue that had them\n",
                *ret_missing);
    return err;
}

static enum check_result verdict(const struct check *c, const struct recovered *r, uint64_t missing)
{
    if (r->damaged || c->unreadable || missing > 0) {
        fprintf(c->out, "damaged\n");
        return CHECK_DAMAGED;
    }
    /* What was reported all the same can be done without: a checkpoint, the epoch. */
    fprintf(c->out, "%s: %" PRIu64 " commits, %" PRIu64 " blocks, %" PRIu64 " messages, %" PRIu64 " facts\n",
            c->reports > 0 ? "damaged, but nothing is lost" : "fine", r->commits, r->blocks, c->records,
            r->fact_count);
    return c->reports > 0 ? CHECK_DAMAGED : CHECK_FINE;
}

/* A broker does not start on a damaged one, though nothing is lost with it. */
static int check_epoch(struct check *c, const struct directory *directory)
{
    char error[DIRECTORY_ERROR_BYTES];
    int err = directory_check_epoch(directory, error);

    if (err != 0)
        print_report(c, error);
    return err == 0 || err == -EBADMSG ? 0 : FANQ_ERR_IO;
}

static int check_recovery(struct check *c, const struct directory *directory, struct recovered *r,
                          uint64_t *ret_missing)
{
    const struct recovery_options options = {
        .directory = directory, .sink = {c, check_facts, count_block, print_report}, .verify = true};
    int err = recovery_run(&options, r);

    *ret_missing = 0;
    return err == 0 && !r->damaged && !c->unreadable ? find_missing(c, r, ret_missing) : err;
}

static enum check_result check_log(const struct directory *directory, FILE *out)
{
    struct check c = {.out = out};
    const struct core_options options = {.view = {&c, find_block},
                                         .account = "000000000000",
                                         .region = "us-east-1",
                                         .durable = true,
                                         .connections_max = 1};
    enum check_result result = CHECK_FAILED;
    struct recovered r;
    uint64_t missing;
    int err = core_new(&options, &c.core);

    index_init(&c.index);
    if (err == 0)
        err = check_epoch(&c, directory);
    if (err == 0)
        err = check_recovery(&c, directory, &r, &missing);
    if (err == 0)
        result = verdict(&c, &r, missing);
    else
        fprintf(out, "cannot be checked: %s\n", fanq_strerror(err));
    core_free(c.core);
    index_close(&c.index);
    return result;
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
