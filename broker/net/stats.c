/* The broker's figures by name: see stats.h. */
#include "stats.h"

#include <assert.h>
#include <string.h>

#include "config.h"
#include "log/tail.h"
#include "malloc_count.h"
#include "shell.h"
#include "storage.h"
#include "log/log.h"

struct collector {
    struct fanq_stat *stats;
    uint32_t count;
};

static void add(struct collector *c, const char *name, uint64_t value)
{
    assert(c->count < STATS_COUNT_MAX && strlen(name) + 1 + 9 + 1 < STATS_ENTRY_BYTES_MAX);
    c->stats[c->count++] = (struct fanq_stat){{(const uint8_t *)name, strlen(name)}, value};
}

static void add_core(struct collector *c, const struct core *core)
{
    struct core_figures f;

    core_figures(core, &f);
    add(c, "queues", f.queues);
    add(c, "topics", f.topics);
    add(c, "subscriptions", f.subscriptions);
    add(c, "streams", f.streams);
    add(c, "producers", f.producers);
    add(c, "waiters", f.waiters);
    add(c, "in_flight", f.in_flight);
    add(c, "published", f.published);
    add(c, "delivered", f.delivered);
    add(c, "deleted", f.deleted);
}

static void add_memory(struct collector *c, const struct shell *s)
{
    struct tail_figures f;

    tail_figures(s->tail, &f);
    add(c, "memory_held_bytes", f.held_bytes);
    add(c, "memory_room_bytes", storage_room(s));
    add(c, "memory_bytes_max", s->config->memory_bytes_max);
    add(c, "live_blocks", f.live_blocks);
    add(c, "commits", f.commits);
    add(c, "commit_bytes", f.commit_bytes);
    add(c, "input_held_bytes", s->reading.kept_bytes);
    add(c, "output_held_bytes", s->writing.held_bytes);
    add(c, "malloc_calls", malloc_count());
}

static void add_log(struct collector *c, const struct shell *s)
{
    struct log_figures f;

    if (s->log == NULL)
        return;
    log_figures(s->log, &f);
    add(c, "log_commits", f.writer.commits);
    add(c, "log_bytes", f.writer.bytes);
    add(c, "log_writes", f.writer.writes);
    add(c, "log_syncs", f.writer.syncs);
    add(c, "log_sync_us_max", f.writer.sync_us_max);
    add(c, "log_sync_us_total", f.writer.sync_us_total);
    add(c, "disk_bytes", f.disk_bytes);
    add(c, "disk_short", f.disk_short);
    add(c, "backups", s->backup_count);
    add(c, "segments", f.segments);
    add(c, "segments_cold", f.cold_segments);
    add(c, "segments_spare", f.spares);
    add(c, "checkpoints", f.checkpoints);
    add(c, "checkpoint_bytes", f.checkpoint_bytes);
    add(c, "moved_bytes", f.moved_bytes);
    add(c, "read_blocks", f.read_blocks);
    add(c, "read_bytes", f.read_bytes);
}

static void add_loop(struct collector *c, const struct shell *s)
{
    const struct shell_figures *f = &s->figures;

    add(c, "connections", s->connections_max - s->free_number_count);
    add(c, "connections_max", s->connections_max);
    add(c, "connections_accepted", f->accepted);
    add(c, "connections_refused", f->refused);
    add(c, "protocol_errors", f->protocol_errors);
    add(c, "requests", f->requests);
    add(c, "input_bytes", f->input_bytes);
    add(c, "output_bytes", f->output_bytes);
    add(c, "writes", f->writes);
    add(c, "loop_turns", f->turns);
    add(c, "turn_us_max", f->turn_us_max);
    add(c, "turn_cpu_us_max", f->turn_cpu_us_max);
    add(c, "loop_cpu_us", shell_cpu_us());
    add(c, "uptime_ms", s->now_ms - s->started_ms);
    add(c, "epoch", s->epoch);
}

uint32_t stats_collect(const struct shell *s, struct fanq_stat *ret_stats)
{
    struct collector c = {ret_stats, 0};

    add_core(&c, s->core);
    add_memory(&c, s);
    add_log(&c, s);
    add_loop(&c, s);
    return c.count;
}
