#include "crash_log.h"

#include <stdlib.h>
#include <string.h>

#include "sim.h"

static void *grown(void *array, size_t *capacity, size_t need, size_t element_bytes)
{
    size_t before = *capacity;

    if (need <= before)
        return array;
    *capacity = need * 2 + 16;
    array = realloc(array, *capacity * element_bytes);
    SIM_CHECK(array != NULL, "out of memory");
    memset((uint8_t *)array + before * element_bytes, 0, (*capacity - before) * element_bytes);
    return array;
}

static uint8_t *copied(const void *bytes, size_t length)
{
    uint8_t *copy = malloc(length + 1);

    SIM_CHECK(copy != NULL, "out of memory");
    if (length > 0)
        memcpy(copy, bytes, length);
    return copy;
}

void crash_log_cut(struct crash_log *log, uint64_t number)
{
    while (log->commit_count > number) {
        struct crash_commit *commit = &log->commits[--log->commit_count];

        free(commit->facts);
        while (log->block_count > commit->first_block)
            free(log->blocks[--log->block_count].records);
    }
}

void crash_log_close(struct crash_log *log)
{
    crash_log_cut(log, 0);
    free(log->commits);
    free(log->blocks);
    free(log->trimmed);
}

static uint8_t *records_of(const struct commit_stream *cs)
{
    uint8_t *records = malloc(cs->bytes + 1), *at = records;

    SIM_CHECK(records != NULL, "out of memory");
    for (uint32_t i = 0; i < cs->piece_count; i++) {
        memcpy(at, cs->pieces[i].records.data, cs->pieces[i].records.length);
        at += cs->pieces[i].records.length;
    }
    SIM_CHECK(at == records + cs->bytes, "a commit's lengths are wrong");
    return records;
}

void crash_log_append(struct crash_log *log, const struct commit *commit)
{
    struct crash_commit *c;

    SIM_CHECK(commit->number == log->commit_count + 1, "commit %lu follows %zu", commit->number,
              log->commit_count);
    log->commits = grown(log->commits, &log->commit_capacity, log->commit_count + 1, sizeof(*log->commits));
    log->blocks = grown(log->blocks, &log->block_capacity, log->block_count + commit->stream_count,
                        sizeof(*log->blocks));
    c = &log->commits[log->commit_count++];
    *c = (struct crash_commit){commit->number, copied(commit->facts, commit->fact_bytes), commit->fact_bytes,
                               log->block_count, commit->stream_count};
    for (uint32_t i = 0; i < commit->stream_count; i++) {
        const struct commit_stream *cs = &commit->streams[i];
        struct crash_block *b = &log->blocks[log->block_count++];

        b->stream = cs->stream;
        b->records = records_of(cs);
        b->block = (struct block){.first_seq = cs->first_seq,
                                  .count = (uint32_t)cs->count,
                                  .bytes = (uint32_t)cs->bytes,
                                  .time_ms = commit->time_ms,
                                  .arrival = log->block_count,
                                  .records = b->records};
    }
}

void crash_log_trim(struct crash_log *log, uint64_t stream, uint64_t seq)
{
    log->trimmed = grown(log->trimmed, &log->stream_capacity, stream + 1, sizeof(*log->trimmed));
    if (log->trimmed[stream] < seq)
        log->trimmed[stream] = seq;
}

bool crash_log_block(void *context, uint64_t stream, uint64_t seq, struct block *ret_block)
{
    const struct crash_log *log = context;

    if (stream < log->stream_capacity && seq < log->trimmed[stream])
        seq = log->trimmed[stream];
    for (size_t i = 0; i < log->block_count; i++) {
        const struct crash_block *b = &log->blocks[i];

        if (b->lost || b->stream != stream || b->block.first_seq + b->block.count <= seq)
            continue;
        *ret_block = b->block;
        return true;
    }
    return false;
}

void crash_log_replay(const struct crash_log *log, uint64_t number, struct core *core)
{
    for (size_t i = number; i < log->commit_count; i++) {
        const struct crash_commit *c = &log->commits[i];

        for (size_t n = c->first_block; n < c->first_block + c->block_count; n++)
            SIM_CHECK(core_replay_block(core, log->blocks[n].stream, log->blocks[n].block.first_seq,
                                        log->blocks[n].block.count) == 0,
                      "a block is not taken");
        SIM_CHECK(core_replay(core, c->facts, c->fact_bytes) == 0, "the facts of commit %lu are not taken",
                  c->number);
    }
}
