#include "storage.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "config.h"
#include "log/io.h"
#include "log/log.h"
#include "notice.h"
#include "shell.h"

enum {
    SEGMENT_BYTES_MIN = 64 * 1024 * 1024,
    SEGMENTS_MIN = 5, /* with fewer, what is left of old segments may never be moved */
    COMMIT_OVERHEAD_BYTES_MAX = 8 * 1024 * 1024, /* block headers and facts of a batch */

    /* With a log what comes in is looked at often while much goes out: the disk rests until there is a commit. */
    LOG_SERVE_BYTES = 256 * 1024,
    MEMORY_SERVE_BYTES = 16 * 1024 * 1024
};

/* A segment of which half takes the largest commit. */
static uint64_t segment_bytes(const struct config *config)
{
    uint64_t half = INPUT_TURN_BYTES + config->frame_bytes_max + COMMIT_OVERHEAD_BYTES_MAX;
    uint64_t whole = 2 * half < SEGMENT_BYTES_MIN ? SEGMENT_BYTES_MIN : 2 * half;

    return (whole + TAIL_PAGE_BYTES - 1) / TAIL_PAGE_BYTES * TAIL_PAGE_BYTES;
}

/* ---- what the log calls ---- */

static uint64_t now_ns(void *context)
{
    return uv_hrtime();
}

/* On the log's threads. */
static void notify(void *context)
{
    struct shell *s = context;

    uv_async_send(&s->log_news);
}

/* Before the loop runs every line counts; later a disk in trouble must not fill the journal. */
static void report(void *context, const char *text)
{
    struct shell *s = context;

    if (s->running)
        NOTICE_ERROR("the log has trouble", "what=\"%s\"", text);
    else
        fprintf(stderr, "fanqd: %s\n", text);
}

static void on_log_news(uv_async_t *handle)
{
    struct shell *s = handle->data;

    s->log_has_news = true;
    turn_hurry(s);
}

/* ---- start and end ---- */

static int open_memory(struct shell *s, char *error, size_t size)
{
    const struct tail_options options = {.memory_bytes_max = s->config->memory_bytes_max,
                                         .segment_bytes = segment_bytes(s->config),
                                         .epoch = s->epoch};
    int err = tail_new(&options, &s->tail);

    if (err != 0)
        snprintf(error, size, "cannot start: out of memory");
    return err;
}

static int check_limit(const struct shell *s, char *error, size_t size)
{
    uint64_t least = SEGMENTS_MIN * log_segment_bytes(s->log);

    if (s->config->disk_bytes_max == 0 || s->config->disk_bytes_max >= least)
        return 0;
    snprintf(error, size,
             "disk_bytes_max (%" PRIu64 ") must be at least %" PRIu64
             ", which is %d segments of this log: raise --disk-bytes-max, or leave it out",
             s->config->disk_bytes_max, least, SEGMENTS_MIN);
    return FANQ_ERR_INVALID;
}

static int open_log(struct shell *s, char *error, size_t size)
{
    static const enum writer_sync syncs[] = {[CONFIG_FSYNC_GROUP] = WRITER_SYNC_GROUP,
                                             [CONFIG_FSYNC_ASYNC] = WRITER_SYNC_ASYNC,
                                             [CONFIG_FSYNC_NONE] = WRITER_SYNC_NONE};
    const struct config *config = s->config;
    struct log_options options = {
        .io = s->log_io,
        .segment_bytes = segment_bytes(config),
        .memory_bytes_max = config->memory_bytes_max,
        .cache_bytes_max = config->cache_bytes_max,
        .disk_bytes_max = config->disk_bytes_max,
        .sync = syncs[config->fsync],
        .sync_ms = config->fsync_ms,
        .wall_ms = s->wall_ms,
        .accept_loss = config->accept_loss,
        .threads = true,
        .now_ns = now_ns,
        .notify = notify,
        .report = report,
        .context = s,
    };
    char reason[LOG_ERROR_BYTES] = "";
    int err;

    if (getrandom(options.random, sizeof(options.random), 0) != (ssize_t)sizeof(options.random))
        shell_fail("the system gives no random numbers");
    err = log_open(&options, &s->log, reason);
    if (err != 0) {
        snprintf(error, size, "%s: %s", config->directory, reason);
        return err;
    }
    s->tail = log_tail(s->log);
    s->epoch = log_epoch(s->log);
    return check_limit(s, error, size);
}

int storage_open(struct shell *s, char *error, size_t size)
{
    int err;

    if (s->config->memory)
        return open_memory(s, error, size);
    err = uv_async_init(&s->loop, &s->log_news, on_log_news);
    if (err != 0) {
        snprintf(error, size, "cannot start: %s", uv_strerror(err));
        return FANQ_ERR_IO;
    }
    s->log_news.data = s;
    err = io_posix_new(s->config->directory, &s->log_io);
    if (err != 0) {
        snprintf(error, size, "cannot use the directory %s: %s. --dir names another, --memory keeps nothing",
                 s->config->directory, strerror(-err));
        return FANQ_ERR_IO;
    }
    s->log_io_open = true;
    s->log_path = realpath(s->config->directory, NULL);
    if (s->log_path == NULL) {
        snprintf(error, size, "cannot use the directory %s: %s", s->config->directory, strerror(errno));
        return FANQ_ERR_IO;
    }
    return open_log(s, error, size);
}

int storage_recover(struct shell *s, char *error, size_t size)
{
    char reason[LOG_ERROR_BYTES] = "";
    const struct event turn = {.kind = EVENT_TURN, .turn = {s->now_ms, s->wall_ms, 0}};
    int err = 0;

    if (s->log != NULL)
        err = core_step(s->core, &turn, &s->effects);
    if (s->log != NULL && err == 0)
        err = log_recover(s->log, s->core, reason);
    if (err != 0)
        snprintf(error, size, "%s: %s", s->config->directory,
                 reason[0] != '\0' ? reason : fanq_strerror(err));
    s->recovered = err == 0;
    return err;
}

void storage_stop(struct shell *s)
{
    if (s->log == NULL)
        return;
    if (s->recovered && s->now_ms >= s->drain_deadline_ms && !log_is_answered(s->log))
        NOTICE_WARNING("the disk is slow: what was not answered is still being written",
                       "hint=\"another signal ends at once\"");
    log_stop(s->log);
    if (s->recovered)
        log_rest(s->log, s->core, s->wall_ms);
}

void storage_close(struct shell *s)
{
    if (s->log != NULL)
        log_free(s->log); /* with the tail */
    else
        tail_free(s->tail);
    if (s->log_io_open)
        io_posix_free(&s->log_io);
    free(s->log_path);
}

/* ---- turns ---- */

static void step(struct shell *s, const struct event *event)
{
    if (core_step(s->core, event, &s->effects) != 0)
        shell_fail("out of memory");
}

void storage_poll(struct shell *s)
{
    struct event resident = {.kind = EVENT_RESIDENT};
    uint64_t synced;
    int err;

    if (s->log == NULL || !s->log_has_news)
        return;
    s->log_has_news = false;
    err = log_poll(s->log, &synced);
    if (err != 0) {
        NOTICE_ERROR("the log has failed: what was not answered may be lost", "reason=\"%s\"",
                     strerror(-err));
        shell_fail("the log cannot be written or read; start again when the disk is well");
    }
    if (synced > s->log_synced) {
        s->log_synced = synced;
        step(s, &(struct event){.kind = EVENT_SYNCED, .synced = synced});
    }
    while (log_resident(s->log, &resident.resident.stream, &resident.resident.first_seq,
                        &resident.resident.count))
        step(s, &resident);
}

void storage_append(struct shell *s, const struct commit *commit)
{
    int err = s->log != NULL ? log_append(s->log, commit) : tail_append(s->tail, commit, NULL);

    if (err != 0)
        shell_fail("the system gives no memory for messages");
    if (s->log == NULL)
        step(s, &(struct event){.kind = EVENT_SYNCED, .synced = commit->number});
}

void storage_fetch(struct shell *s, uint64_t stream, uint64_t first_seq, uint64_t count)
{
    assert(s->log != NULL); /* in memory mode everything is in memory */
    log_fetch(s->log, stream, first_seq, count);
    s->log_has_news = true; /* some may be there already */
}

uint64_t storage_room(const struct shell *s)
{
    return s->log != NULL ? log_room(s->log) : tail_room(s->tail);
}

uint64_t storage_serve_bytes(const struct shell *s)
{
    return s->log != NULL ? LOG_SERVE_BYTES : MEMORY_SERVE_BYTES;
}

bool storage_wants_commit(const struct shell *s)
{
    return s->log != NULL && log_wants_witness(s->log, s->now_ms);
}

/* That the disk gets short the log reports itself. */
static void tell_room(struct shell *s)
{
    bool is_short = log_is_short(s->log);

    if (s->log_was_short && !is_short)
        NOTICE_INFO("the disk has room again", "what=\"publishes are taken\"");
    s->log_was_short = is_short;
}

void storage_upkeep(struct shell *s)
{
    if (s->log == NULL)
        return;
    log_upkeep(s->log, s->core, s->now_ms, s->wall_ms);
    tell_room(s);
}

uint64_t storage_next_ms(const struct shell *s)
{
    return s->log == NULL ? UINT64_MAX : s->log_has_news ? 0 : log_next_ms(s->log);
}

bool storage_settled(const struct shell *s)
{
    return s->log == NULL || (core_fact_bytes(s->core) == 0 && log_is_answered(s->log));
}

const char *storage_mode(const struct shell *s)
{
    static const char *const names[] = {[CONFIG_FSYNC_GROUP] = "fsync group",
                                        [CONFIG_FSYNC_ASYNC] = "fsync async",
                                        [CONFIG_FSYNC_NONE] = "fsync none"};

    return s->config->memory ? "memory" : names[s->config->fsync];
}
