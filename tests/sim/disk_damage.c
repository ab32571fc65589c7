/* disk_damage: every byte of a directory changes, every file ends early, every file is gone.
 *
 *     disk_damage --part 1/2 [--every N]
 *
 * No damage is silent: either the start or the first read refuses to go on, or what the broker has is all that it must have.
 * What is missing after the loss is accepted was in the damaged commit. One thing no log can know: that its end is
 * missing, as if the last commits had never been; then what is left must be right. */
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk_world.h"
#include "core/fact.h"
#include "log/commit.h"

enum {
    FILES_MAX = 32,
    LOG_BYTES = 256 * 1024,
    SMALL_FILE_BYTES = 8 * 1024,
    ZEROS_EVERY = 64,
    CUT_EVERY = 16,
    ACCEPT_EVERY = 7,
    CHECKPOINT_TURNS = 20,
    SMALL_MORE = 10
};

struct file {
    char name[SIM_DISK_NAME_BYTES_MAX];
    uint64_t length;
    uint64_t used;   /* behind it are zeros */
    uint64_t number; /* of a segment of the log, else 0 */
};

enum harm { HARM_FLIP, HARM_CUT, HARM_DROP };

static struct {
    enum harm harm;
    const struct file *file;
    uint64_t at;
    unsigned bit;
    uint64_t cases, refused, unread, harmless, accepted;
} current;

static struct file files[FILES_MAX];
static uint32_t file_count;
static struct disk_world *base;
static bool seen[CRASH_QUEUES][CRASH_UIDS];
static uint64_t came[CRASH_QUEUES][CRASH_UIDS]; /* the commit with which a message came */

/* ---- the directory ---- */

static int find_spare(void *context, const char *name)
{
    if (strncmp(name, "spare-", 6) != 0)
        return 0;
    snprintf(context, SIM_DISK_NAME_BYTES_MAX, "%s", name);
    return 1;
}

/* Spares are nothing. */
static void drop_spares(struct disk_world *w)
{
    char name[SIM_DISK_NAME_BYTES_MAX];
    struct io io = sim_disk_io(w->disk);

    while (io.list(io.context, find_spare, name) == 1)
        sim_disk_drop(w->disk, name);
    sim_disk_kill(w->disk);
}

static uint64_t last_event_commit(const struct disk_world *w)
{
    return w->truth.model.events[w->truth.model.count - 1].commit;
}

/* Segments enough, much of it needed, two checkpoints; at the end a commit of nothing, which says that all is safe. */
static struct disk_world *make(void)
{
    static const struct disk_options options = {.sync = WRITER_SYNC_GROUP,
                                                .memory_bytes_max = 320 * 1024,
                                                .cache_bytes_max = 32 * 1024,
                                                .record_bytes_max = 1500,
                                                .writer_percent = 80,
                                                .store_percent = 80,
                                                .churn_percent = 5,
                                                .drain_percent = 10};
    struct disk_world *w = world_new(&options, sim_disk_new(1), 1);
    struct log_figures figures = {0};

    SIM_CHECK(world_start(w) == 0, "no start: %s", w->error_text);
    while (figures.segments * DISK_SEGMENT_BYTES < LOG_BYTES + DISK_SEGMENT_BYTES ||
           figures.checkpoints < 2) {
        world_turn(w, 8, 20);
        SIM_CHECK(w->error == 0, "the log has ended");
        log_figures(w->log, &figures);
    }
    SIM_CHECK(world_settle(w), "the log has ended");
    for (uint32_t turns = 0; last_event_commit(w) == w->truth.appended; turns++) {
        SIM_CHECK(turns < 100, "no commit says that the last one is safe");
        world_turn(w, 0, 2 * LOG_WITNESS_MS); /* what is held may time out first */
        SIM_CHECK(world_settle(w), "the log has ended");
    }
    world_close(w);
    drop_spares(w);
    return w;
}

static int file_add(void *context, const char *name)
{
    struct file *f = &files[file_count];
    const uint8_t *content = sim_disk_content(base->disk, name, &f->length);

    SIM_CHECK(++file_count < FILES_MAX, "too many files");
    strncpy(f->name, name, sizeof(f->name) - 1);
    for (f->used = f->length; f->used > 0 && content[f->used - 1] == 0; f->used--)
        continue;
    if (strncmp(name, "log-", 4) == 0 && strstr(name, ".index") == NULL)
        f->number = strtoull(name + 4, NULL, 16);
    return 0;
}

static void look_around(void)
{
    struct io io = sim_disk_io(base->disk);
    const struct crash_model *m = &base->truth.model;

    SIM_CHECK(io.list(io.context, file_add, NULL) == 0, "no list");
    for (size_t i = 0; i < m->count; i++)
        if (m->events[i].kind == CRASH_CAME)
            came[m->events[i].queue][m->events[i].uid] = m->events[i].commit;
}

static bool is_last(const struct file *f)
{
    for (uint32_t i = 0; i < file_count; i++)
        if (files[i].number > f->number)
            return false;
    return f->number > 0;
}

/* The commit whose bytes, padding included, an offset of a segment lies in; NULL: none. */
static const struct commit_header *commit_at(const struct file *f, uint64_t offset)
{
    uint64_t length, at = 0;
    const uint8_t *content = sim_disk_content(base->disk, f->name, &length);

    while (f->number > 0 && at + sizeof(struct commit_header) <= length) {
        const struct commit_header *header = (const struct commit_header *)(content + at);
        if (header->magic != COMMIT_MAGIC)
            return NULL;
        at += commit_bytes_aligned(header->bytes);
        if (offset < at)
            return header;
    }
    return NULL;
}

/* Whether it says what queues, topics and subscriptions there are: with it goes all that follows from it. */
static bool is_about_catalogue(const struct commit_header *commit)
{
    struct fact_cursor cursor = fact_cursor_over(commit_facts(commit), commit->fact_bytes);
    struct fact fact;

    while (fact_next(&cursor, &fact) == 1)
        if (fact.kind != FACT_GONE && fact.kind != FACT_HELD)
            return true;
    return false;
}

/* ---- damage ---- */

static struct disk_world *harmed(bool accept_loss)
{
    struct disk_world *w = world_fork(base, current.at);

    if (current.harm == HARM_FLIP)
        sim_disk_flip(w->disk, current.file->name, current.at, (uint8_t)(1u << current.bit));
    else if (current.harm == HARM_CUT)
        sim_disk_cut(w->disk, current.file->name, current.at);
    else
        sim_disk_drop(w->disk, current.file->name);
    w->options.accept_loss = accept_loss;
    w->options.disk_bytes_max = 1; /* no spares: they would only take time */
    w->truth.floor_is_all = false;
    /* The commit of nothing at the end may go; and an end that is missing is as if it had never been. */
    w->truth.floor = base->truth.appended - 1;
    if (accept_loss || (current.harm != HARM_FLIP && is_last(current.file)))
        w->truth.floor = 0;
    return w;
}

/* What was in the damaged commit may be missing, or be as it was before; everything else is as ever. */
static void check_loss(const struct disk_world *w, uint64_t damaged)
{
    const struct crash_model *m = &w->truth.model;

    for (uint32_t slot = 0; slot < CRASH_QUEUES; slot++)
        for (uint32_t uid = 0; uid < w->truth.next_uid; uid++)
            SIM_CHECK(seen[slot][uid] == m->queues[slot].messages[uid].there ||
                          m->queues[slot].messages[uid].commit == damaged || came[slot][uid] == damaged,
                      "commit %lu is damaged, but message %u of queue %u, of commit %lu, is %s", damaged, uid,
                      slot, came[slot][uid], seen[slot][uid] ? "there again" : "lost");
}

/* Nobody has to accept it twice. */
static void start_again(struct disk_world *w)
{
    bool(*first)[CRASH_UIDS] = malloc(sizeof(seen));

    SIM_CHECK(world_settle(w), "with the loss accepted it ends: %s", w->report);
    for (int turn = 0; turn < CHECKPOINT_TURNS; turn++) {
        world_turn(w, 0, 1);
        while (world_work(w, 100, 100))
            continue;
    }
    world_kill(w);
    w->options.accept_loss = false;
    memcpy(first, seen, sizeof(seen));
    memset(seen, 0, sizeof(seen));
    SIM_CHECK(world_start(w) == 0, "the loss was accepted, and does not start again: %s (%s)", w->error_text,
              w->report);
    world_look(w);
    SIM_CHECK(w->error == 0, "the loss was accepted, and later it ends: %s", w->report);
    SIM_CHECK(memcmp(first, seen, sizeof(seen)) == 0,
              "after the start with the loss accepted, other messages are there");
    free(first);
}

static void accept_loss(void)
{
    const struct commit_header *damaged = commit_at(current.file, current.at);
    struct disk_world *w = harmed(true);
    int err;

    w->truth.lossy = true;
    memset(seen, 0, sizeof(seen));
    w->seen = seen;
    err = world_start(w);
    /* What makes the directory one is not a loss that can be accepted. */
    SIM_CHECK(err == 0 || current.file->number == 0, "with the loss accepted it does not start: %s",
              w->error_text);
    if (err == 0) {
        world_look(w);
        SIM_CHECK(w->error == 0, "with the loss accepted it ends: %s", w->report);
        if (current.harm == HARM_FLIP && damaged != NULL && !is_about_catalogue(damaged))
            check_loss(w, damaged->number);
        start_again(w);
        current.accepted++;
    }
    world_free(w);
}

static void try(void)
{
    struct disk_world *w = harmed(false);
    int err = world_start(w);

    if (err == 0)
        world_look(w); /* fails where anything is not as it must be */
    if (err != 0)
        current.refused++;
    else if (w->error != 0)
        current.unread++;
    else
        current.harmless++;
    SIM_CHECK(err == 0 || w->error_text[0] != '\0', "it does not start and does not say why");
    if ((err != 0 || w->error != 0) && current.cases % ACCEPT_EVERY == 0)
        accept_loss();
    current.cases++;
    world_free(w);
}

/* ---- all of it ---- */

static bool is_small(const struct file *f)
{
    return f->length <= SMALL_FILE_BYTES;
}

/* Of the small files, on which everything depends, more. */
static uint64_t step_of(const struct file *f, uint64_t parts, uint64_t every)
{
    return parts * (is_small(f) ? (every + SMALL_MORE - 1) / SMALL_MORE : every);
}

static void flip_all(const struct file *f, uint64_t part, uint64_t parts, uint64_t every)
{
    current.harm = HARM_FLIP;
    for (current.at = part - 1; current.at < f->length; current.at += step_of(f, parts, every)) {
        if (current.at >= f->used && current.at / parts % ZEROS_EVERY != 0)
            continue;
        for (unsigned n = 0; n < (is_small(f) && every <= SMALL_MORE ? 8 : 1); n++) {
            current.bit = (unsigned)(current.at / parts + n) % 8;
            try();
        }
    }
}

static void cut_all(const struct file *f, uint64_t part, uint64_t parts, uint64_t every)
{
    current.harm = HARM_CUT;
    every *= is_small(f) ? 1 : CUT_EVERY;
    for (current.at = part - 1; current.at < f->used; current.at += step_of(f, parts, every))
        try();
}

static void on_abort(int signal_number)
{
    static const char *const words[] = {"bit %u of byte %lu changed", "cut, at bit %u of byte %lu",
                                        "removed (%u, %lu)"};

    if (current.file != NULL) {
        fprintf(stderr, "%s: ", current.file->name);
        fprintf(stderr, words[current.harm], current.bit, current.at);
        fprintf(stderr, "\nrepeat with: build/tests/sim/disk_damage\n");
    }
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"part", required_argument, NULL, 'p'}, {"every", required_argument, NULL, 'e'}, {0}};
    unsigned long part = 1, parts = 1, every = 1;
    int choice;

    while ((choice = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (choice == 'p' && sscanf(optarg, "%lu/%lu", &part, &parts) == 2 && part >= 1 && part <= parts)
            continue;
        if (choice != 'e' || sscanf(optarg, "%lu", &every) != 1 || every == 0) {
            fputs("usage: disk_damage [--part N/M] [--every N]\n", stderr);
            return 2;
        }
    }
    signal(SIGABRT, on_abort);
    signal(SIGSEGV, on_abort);
    /* The same memory for each case. */
    (void)mallopt(M_MMAP_THRESHOLD, 64 * 1024 * 1024);
    (void)mallopt(M_TRIM_THRESHOLD, 256 * 1024 * 1024);
    base = make();
    look_around();
    for (uint32_t i = 0; i < file_count; i++) {
        current.file = &files[i];
        flip_all(&files[i], part, parts, every);
        cut_all(&files[i], part, parts, every);
        current.harm = HARM_DROP;
        try();
    }
    printf("%lu cases: %lu refused at the start, %lu when it was read, %lu harmless; %lu losses accepted\n",
           current.cases, current.refused, current.unread, current.harmless, current.accepted);
    world_free(base);
    return 0;
}
