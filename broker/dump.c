/* fanq-dump: what is in the directory of a broker, in text, one line a thing. Reads only, and may run beside the broker.
 *
 * Segments are gone through one by one, from commit to commit, and on behind what is none: so also what a crash cut off is
 * shown, which the broker passes over. What the log is, all in all, says the verdict of --verify. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/fact.h"
#include "log/check_directory.h"
#include "log/checkpoint.h"
#include "log/scan.h"
#include "proto/request.h"

enum { EXIT_FINE = 0, EXIT_DAMAGED = 1, EXIT_USAGE = 2 };

enum what { DUMP_SEGMENTS = 1, DUMP_COMMITS = 2, DUMP_FACTS = 4, DUMP_BLOCKS = 8, DUMP_CHECKPOINTS = 16 };

struct dump {
    unsigned what; /* a set of enum what */
    struct directory directory;
    struct scan scan;
};

static const char usage[] =
    "usage: fanq-dump DIR [--segments] [--commits] [--facts] [--blocks] [--checkpoints] [--verify]\n"
    "\n"
    "  --segments     the files of the log: their commits and what they hold\n"
    "  --commits      commits, in the order of the log\n"
    "  --facts        what commits and checkpoints say of queues, topics, messages and producers\n"
    "  --blocks       where messages lie\n"
    "  --checkpoints  from where the broker would start (these and --segments when nothing is named)\n"
    "  --verify       check everything; exit status 1 when something is damaged\n";

/* ---- facts ---- */

enum field {
    FIELD_QUEUE = 1,
    FIELD_STREAM = 2,
    FIELD_NAME = 4,
    FIELD_SEQ = 8,
    FIELD_RANGE = 16,
    FIELD_CREATED = 32,
    FIELD_ATTRIBUTES = 64,
    FIELD_DELIVERIES = 128,
    FIELD_PRODUCER = 256,
    FIELD_ERROR = 512
};

static const unsigned fields[FACT_KIND_END] = {
    [FACT_QUEUE] = FIELD_QUEUE | FIELD_NAME | FIELD_CREATED | FIELD_ATTRIBUTES,
    [FACT_QUEUE_END] = FIELD_QUEUE,
    [FACT_TOPIC] = FIELD_STREAM | FIELD_NAME | FIELD_CREATED,
    [FACT_TOPIC_END] = FIELD_STREAM | FIELD_SEQ,
    [FACT_OWN] = FIELD_QUEUE | FIELD_STREAM,
    [FACT_STREAM] = FIELD_STREAM | FIELD_SEQ,
    [FACT_SUBSCRIBED] = FIELD_STREAM | FIELD_QUEUE | FIELD_SEQ,
    [FACT_UNSUBSCRIBED] = FIELD_STREAM | FIELD_QUEUE | FIELD_SEQ,
    [FACT_UNREAD] = FIELD_STREAM | FIELD_QUEUE | FIELD_RANGE,
    [FACT_GONE] = FIELD_STREAM | FIELD_QUEUE | FIELD_RANGE,
    [FACT_HELD] = FIELD_STREAM | FIELD_QUEUE | FIELD_RANGE | FIELD_DELIVERIES,
    [FACT_STREAM_NEXT] = FIELD_STREAM,
    [FACT_PRODUCER] = FIELD_PRODUCER | FIELD_SEQ,
    [FACT_REFUSED] = FIELD_PRODUCER | FIELD_RANGE | FIELD_ERROR,
};

static void print_range(const struct fact *f)
{
    const char *what = f->kind == FACT_REFUSED ? "requests" : "messages";

    if (f->end == UINT64_MAX)
        printf(" %s %" PRIu64 " on", what, f->first);
    else
        printf(" %s %" PRIu64 " to %" PRIu64, what, f->first, f->end - 1);
}

static void print_producer(const uint8_t *producer)
{
    printf(" producer ");
    for (int i = 0; i < FANQ_PRODUCER_BYTES; i++)
        printf("%02x", producer[i]);
}

static void print_fact(const struct fact *f, const char *where)
{
    unsigned has = f->kind < FACT_KIND_END ? fields[f->kind] : 0;

    printf("fact %s %s", where, fact_name(f->kind));
    if (has & FIELD_QUEUE)
        printf(" queue %" PRIu64, f->queue_id);
    if (has & FIELD_STREAM)
        printf(" stream %" PRIu64, f->stream);
    if (has & FIELD_NAME)
        printf(" name %.*s", (int)f->name_length, f->name);
    if (has & FIELD_PRODUCER)
        print_producer(f->producer);
    if (has & FIELD_SEQ)
        printf(" seq %" PRIu64, f->seq);
    if (has & FIELD_RANGE)
        print_range(f);
    if (has & FIELD_CREATED)
        printf(" created_ms %" PRIu64, f->created_ms);
    if (has & FIELD_ATTRIBUTES)
        printf(" visibility_ms %" PRIu64 " receive_wait_ms %" PRIu64 " early_delivery %" PRIu64,
               f->visibility_ms, f->receive_wait_ms, f->early_delivery);
    if (has & FIELD_DELIVERIES)
        printf(" deliveries %" PRIu64 " first_receive_ms %" PRIu64 " due_ms %" PRIu64, f->deliveries,
               f->first_receive_ms, f->due_ms);
    if (has & FIELD_ERROR)
        printf(" error %s", fanq_error_name((int)f->error));
    putchar('\n');
}

static void print_facts(const uint8_t *facts, uint64_t bytes, const char *where)
{
    struct fact_cursor cursor = fact_cursor_over(facts, bytes);
    struct fact fact;
    int next;

    while ((next = fact_next(&cursor, &fact)) == 1)
        print_fact(&fact, where);
    if (next != 0)
        printf("fact %s: this version does not know the other %td bytes\n", where, cursor.end - cursor.at);
}

/* ---- checkpoints ---- */

static void print_checkpoint(const struct dump *d, const struct checkpoint *c)
{
    char where[64];

    if (d->what & DUMP_CHECKPOINTS)
        printf("checkpoint %" PRIu64 " file %s lsn %" PRIu64 " next_commit %" PRIu64 " time_ms %" PRIu64
               " facts %" PRIu64 " bytes %" PRIu64 "\n",
               c->number, checkpoint_name(c->number), c->lsn, c->next_commit, c->time_ms, c->fact_count,
               c->fact_bytes);
    snprintf(where, sizeof(where), "checkpoint %" PRIu64, c->number);
    if (d->what & DUMP_FACTS)
        print_facts(c->facts, c->fact_bytes, where);
}

static int dump_checkpoints(const struct dump *d)
{
    struct checkpoints c;
    int err = checkpoints_read(&d->directory, &c);

    if (err != 0) {
        fprintf(stderr, "fanq-dump: cannot read the checkpoints: %s\n", fanq_strerror(err));
        return EXIT_USAGE;
    }
    for (int i = c.count; i-- > 0;)
        print_checkpoint(d, &c.items[i]);
    for (int i = 0; i < c.damaged_count; i++)
        printf("damaged %s\n", c.damaged[i]);
    err = c.damaged_count > 0 ? EXIT_DAMAGED : EXIT_FINE;
    checkpoints_free(&c);
    return err;
}

/* ---- segments ---- */

struct totals {
    uint64_t first, last, epoch; /* of commits */
    uint64_t commits, blocks, records, facts, end;
};

static void print_block(const struct block_header *b, const char *name, uint64_t offset)
{
    printf("block stream %" PRIu64 " messages %" PRIu64 " to %" PRIu64 " bytes %" PRIu32 " time_ms %" PRIu64
           " arrival %" PRIu64 " in %s offset %" PRIu64 "\n",
           b->stream, b->first_seq, b->first_seq + b->count - 1, b->bytes, b->time_ms, b->arrival, name,
           offset);
}

static void print_commit(const struct dump *d, const struct commit_header *c, const char *name,
                         struct totals *totals)
{
    uint64_t offset = c->lsn % d->directory.segment_bytes;
    char where[64];

    if (d->what & DUMP_COMMITS)
        printf("commit %" PRIu64 " in %s offset %" PRIu64 " bytes %" PRIu32 " epoch %" PRIu64
               " time_ms %" PRIu64 " blocks %" PRIu32 " facts %" PRIu32 " lsn %" PRIu64 " synced_lsn %" PRIu64
               "\n",
               c->number, name, offset, c->bytes, c->epoch, c->time_ms, c->block_count, c->fact_count, c->lsn,
               c->synced_lsn);
    for (const struct block_header *b = commit_next_block(c, NULL); b != NULL; b = commit_next_block(c, b)) {
        totals->records += b->count;
        if (d->what & DUMP_BLOCKS)
            print_block(b, name, offset + (uint64_t)((const uint8_t *)b - (const uint8_t *)c));
    }
    snprintf(where, sizeof(where), "commit %" PRIu64, c->number);
    if (d->what & DUMP_FACTS)
        print_facts(commit_facts(c), c->fact_bytes, where);
}

static void count_commit(const struct commit_header *c, struct totals *totals)
{
    totals->first = totals->commits == 0 ? c->number : totals->first;
    totals->last = c->number;
    totals->epoch = c->epoch;
    totals->commits++;
    totals->blocks += c->block_count;
    totals->facts += c->fact_count;
    totals->end = commit_end(c);
}

static void print_segment(const struct dump *d, const char *name, const struct totals *t, bool has_index)
{
    if (t->commits == 0)
        printf("segment %s is empty\n", name);
    else
        printf("segment %s commits %" PRIu64 " to %" PRIu64 " epoch %" PRIu64 " blocks %" PRIu64
               " messages %" PRIu64 " facts %" PRIu64 " used %" PRIu64 " of %" PRIu64 "%s\n",
               name, t->first, t->last, t->epoch, t->blocks, t->records, t->facts,
               t->end - scan_start(&d->scan), d->scan.length, has_index ? " indexed" : "");
}

static int dump_segment(struct dump *d, const struct directory_segment *s)
{
    char name[DIRECTORY_NAME_BYTES_MAX];
    struct totals totals = {.commits = 0};
    const struct commit_header *c;
    int err = scan_load(&d->scan, s->kind, s->number);

    directory_segment_name(name, s->kind, s->number);
    if (err != 0) {
        fprintf(stderr, "fanq-dump: cannot read %s: %s\n", name, strerror(-err));
        return EXIT_USAGE;
    }
    for (uint64_t lsn = scan_start(&d->scan); (c = scan_next_header(&d->scan, lsn)) != NULL;) {
        bool whole = scan_commit(&d->scan, c->lsn) != NULL;
        if (c->lsn > lsn || !whole)
            printf("not a commit in %s offset %" PRIu64 "\n", name, lsn % d->directory.segment_bytes);
        lsn = whole ? commit_end(c) : c->lsn + COMMIT_ALIGNMENT;
        if (!whole)
            continue;
        print_commit(d, c, name, &totals);
        count_commit(c, &totals);
    }
    if (d->what & DUMP_SEGMENTS)
        print_segment(d, name, &totals, s->has_index);
    return EXIT_FINE;
}

static int dump_segments(struct dump *d)
{
    struct directory_segment *segments;
    size_t count;
    int result = EXIT_FINE;
    int err = directory_segments(&d->directory, &segments, &count);

    if (err != 0) {
        fprintf(stderr, "fanq-dump: cannot list the segments: %s\n", strerror(-err));
        return EXIT_USAGE;
    }
    for (size_t i = 0; i < count && result == EXIT_FINE; i++)
        if (segments[i].kind != DIRECTORY_SPARE)
            result = dump_segment(d, &segments[i]);
    free(segments);
    return result;
}

/* ---- the whole ---- */

static int dump(struct dump *d)
{
    int result = EXIT_FINE, segments = EXIT_FINE;

    if (d->what & DUMP_SEGMENTS)
        printf("directory %016" PRIx64 " made_ms %" PRIu64 " segment_bytes %" PRIu64 "\n", d->directory.id,
               d->directory.made_ms, d->directory.segment_bytes);
    if (d->what & (DUMP_CHECKPOINTS | DUMP_FACTS))
        result = dump_checkpoints(d);
    if (d->what & ~(unsigned)DUMP_CHECKPOINTS)
        segments = dump_segments(d);
    return segments > result ? segments : result;
}

static int dump_directory(const char *path, unsigned what)
{
    struct directory_options options = {.read_only = true};
    struct dump d = {.what = what};
    char error[DIRECTORY_ERROR_BYTES];
    struct stat status;
    int result = EXIT_USAGE;
    int err = stat(path, &status) == 0 ? io_posix_new(path, &options.io) : -errno; /* opening would make it */

    if (err != 0) {
        fprintf(stderr, "fanq-dump: %s: %s\n", path, strerror(-err));
        return EXIT_USAGE;
    }
    if (directory_open(&options, &d.directory, error) != 0)
        fprintf(stderr, "fanq-dump: %s: %s\n", path, error);
    else if (scan_init(&d.scan, &d.directory) != 0)
        fprintf(stderr, "fanq-dump: out of memory\n");
    else
        result = dump(&d);
    scan_close(&d.scan);
    io_posix_free(&options.io);
    return result;
}

static const struct option options[] = {
    {"segments", no_argument, NULL, DUMP_SEGMENTS},
    {"commits", no_argument, NULL, DUMP_COMMITS},
    {"facts", no_argument, NULL, DUMP_FACTS},
    {"blocks", no_argument, NULL, DUMP_BLOCKS},
    {"checkpoints", no_argument, NULL, DUMP_CHECKPOINTS},
    {"verify", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

int main(int argc, char **argv)
{
    unsigned what = 0;
    bool verify = false;
    int option, result = EXIT_FINE, verdict = EXIT_FINE;

    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == '?') {
            fputs(usage, stderr);
            return EXIT_USAGE;
        }
        if (option == 'h') {
            fputs(usage, stdout);
            return EXIT_FINE;
        }
        if (option == 'v')
            verify = true;
        else
            what |= (unsigned)option;
    }
    if (optind + 1 != argc) {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    if (what != 0 || !verify)
        result = dump_directory(argv[optind], what != 0 ? what : DUMP_SEGMENTS | DUMP_CHECKPOINTS);
    if (verify && result != EXIT_USAGE)
        verdict = (int)check_directory(argv[optind], stdout);
    return verdict > result ? verdict : result;
}
