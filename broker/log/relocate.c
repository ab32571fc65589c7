/* Moving what is left of a segment, so that it can be used again: one message that stays costs its own bytes on the disk, too.
 *
 * When the segments hold much more than is wanted, the one with the least in it is emptied: its blocks are brought together
 * (from memory, or read back), cut to what is wanted of them, and appended, stream by stream, to a *cold* segment, whose blocks
 * are those that stay. When they are on the disk there, the index is told. The old segment goes as every segment does in
 * which nothing is needed; until then it has it all, so a crash at any moment costs nothing.
 *
 * What a copy lacks must be safe before the copy is: it waits for the log to be synced as far as it was when the copy was made.
 * Else a crash could bring a message back that a copy does not have, and the next run would move the block again; so two copies
 * would be left, and none of them right. In one whose loss is durable, each later copy has less than the one before.
 *
 * One commit of moved blocks is under way at a time, of a mebibyte or one larger block. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log_state.h"
#include "part.h"
#include "proto/fanq_error.h"

/* So many are not worth a move, beside twice what is wanted; tests of small logs are built with fewer. */
#ifndef RELOCATION_SLACK_SEGMENTS
#define RELOCATION_SLACK_SEGMENTS 8
#endif

enum {
    SLACK_SEGMENTS_TIGHT =
        RELOCATION_SLACK_SEGMENTS / 4, /* beside what is wanted, when the disk is almost full */
    WANTED_OF = 2, /* a segment of which no more than one byte in so many is wanted may be emptied */
    COMMIT_BYTES = TAIL_PAGE_BYTES,
    RETRY_MS = 5000,
    GATHER_NS =
        2000000,        /* a turn: of each block every queue of its stream is asked, which may be very many */
    SWEEP_GROWN_OF = 4, /* between two rounds of the sweep the log grows by one byte in so many ... */
    SWEEP_MS = 10 * 1000 /* ... or so much time passes */
};

void relocation_close(struct log *l)
{
    free(l->relocation.commit);
    free(l->relocation.block);
}

/* ---- whether, and which ---- */

static bool much_more_than_wanted(const struct log *l)
{
    bool tight = disk_is_tight(l);
    uint64_t slack = (tight ? SLACK_SEGMENTS_TIGHT : RELOCATION_SLACK_SEGMENTS) * l->directory.segment_bytes;
    struct tail_figures f;

    tail_figures(l->tail, &f);
    return l->segment_count * l->directory.segment_bytes >
           (tight ? 1 : 2) * (f.live_bytes - f.unwanted_bytes) + slack;
}

/* What is wanted only the sweep knows: it goes round when the log has grown by a part of what it holds, or after a while. */
bool log_wants_sweep(const struct log *l, uint64_t now_ms)
{
    uint64_t segment = l->directory.segment_bytes, used = l->segment_count * segment;
    uint64_t grown = disk_is_tight(l) ? segment / 2 : used / SWEEP_GROWN_OF;

    if (used <= RELOCATION_SLACK_SEGMENTS * segment && !disk_is_tight(l))
        return false;
    return l->end_lsn >= l->swept_lsn + grown ||
           (now_ms >= l->swept_ms + SWEEP_MS && l->end_lsn != l->swept_lsn);
}

void log_swept(struct log *l, uint64_t now_ms)
{
    l->swept_lsn = l->end_lsn;
    l->swept_ms = now_ms;
}

/* The full segment with the least in it, of those with anything; NULL: none has little enough. */
static const struct segment_entry *candidate(const struct log *l)
{
    uint64_t least = l->directory.segment_bytes / WANTED_OF;
    const struct segment_entry *found = NULL;

    for (size_t i = 0; i < l->segment_count; i++) {
        const struct segment_entry *s = &l->segments[i];
        uint64_t wanted = tail_segment_wanted_bytes(l->tail, s->cold, s->number);

        if (s->state != SEGMENT_SEALED || s->stuck || wanted >= least ||
            tail_segment_live_bytes(l->tail, s->cold, s->number) == 0)
            continue;
        least = wanted;
        found = s;
    }
    return found;
}

/* ---- a commit of moved blocks ---- */

static struct commit_header *commit_of(struct relocation *r)
{
    return (struct commit_header *)r->commit;
}

static int commit_reserve(struct relocation *r, size_t bytes)
{
    uint8_t *commit;

    if (r->length + bytes <= r->capacity)
        return 0;
    commit = realloc(r->commit, r->length + bytes);
    if (commit == NULL)
        return FANQ_ERR_NOMEM;
    r->commit = commit;
    r->capacity = r->length + bytes;
    return 0;
}

/* What is wanted of the block at `from`; nothing, perhaps. */
static int commit_add(struct log *l, struct core *core, const struct tail_read *read, const uint8_t *from)
{
    struct relocation *r = &l->relocation;
    const struct block_header *source = (const struct block_header *)from;
    uint64_t bits[BLOCK_RECORDS_MAX / 64] = {0};
    struct block_header *copy;
    struct part part;
    uint8_t *end;
    int err = commit_reserve(r, read->bytes + sizeof(struct commit_trailer) + COMMIT_ALIGNMENT);

    if (err != 0)
        return err;
    core_mark_wanted(core, read->stream, read->first_seq, read->first_seq + read->count, bits);
    if ((bits[0] | bits[1] | bits[2] | bits[3]) == 0)
        return 0; /* the sweep will find it */
    part = part_find(from + sizeof(*source), source->count, bits, 0);
    copy = (struct block_header *)(r->commit + r->length);
    *copy = *source;
    copy->first_seq += part.first;
    copy->bytes_before += part.front_bytes;
    copy->count = part.end - part.first;
    copy->bytes = part.bytes;
    end = part_put((uint8_t *)(copy + 1), &part, from + sizeof(*source), bits, 0);
    r->moved[r->moved_count++] = (struct moved_block){*read, r->length};
    r->length = (size_t)(end - r->commit);
    commit_of(r)->block_count++;
    return 0;
}

static void commit_begin(struct log *l)
{
    struct relocation *r = &l->relocation;

    r->length = sizeof(struct commit_header);
    r->moved_count = 0;
    memset(r->commit, 0, r->length);
}

/* Where it goes: behind the one before it, or into a cold segment of its own. */
static void commit_place(struct log *l, uint64_t bytes)
{
    struct relocation *r = &l->relocation;

    if (r->cold != 0 && r->offset + bytes <= l->directory.segment_bytes)
        return;
    if (r->cold != 0)
        segments_cold_full(l, r->cold, true);
    r->cold = l->next_cold++;
    r->offset = 0;
    r->number = r->hash = 0;
}

/* The commit is written when all that its copies lack is known to be gone for good. */
static void commit_end(struct log *l, struct core *core, uint64_t wall_ms)
{
    commit_of(&l->relocation)->time_ms = wall_ms;
    l->relocation.needs_lsn = log_decided_lsn(l, core);
    l->relocation.state = RELOCATION_SYNC;
}

/* Closes it and hands it to the store. */
static void commit_write(struct log *l)
{
    struct relocation *r = &l->relocation;
    struct commit_header *commit = commit_of(r);
    uint64_t bytes = r->length + sizeof(struct commit_trailer), padded = commit_bytes_aligned(bytes);

    commit_place(l, padded);
    memset(r->commit + r->length, 0, padded - r->length);
    *commit = (struct commit_header){.magic = COMMIT_MAGIC,
                                     .version = COMMIT_VERSION,
                                     .kind = COMMIT_MOVED,
                                     .epoch = l->directory.epoch,
                                     .number = r->number + 1,
                                     .lsn = r->cold * l->directory.segment_bytes + r->offset,
                                     .previous_end =
                                         r->offset > 0 ? r->cold * l->directory.segment_bytes + r->offset : 0,
                                     .time_ms = commit->time_ms,
                                     .bytes = (uint32_t)bytes,
                                     .block_count = commit->block_count};
    r->hash = commit_seal(r->commit, 0, r->hash, &l->directory.secret);
    r->state = RELOCATION_WRITES;
    log_submit(
        l,
        &(struct store_job){
            .kind = STORE_MOVE,
            .move = {.number = r->cold, .data = r->commit, .bytes = (uint32_t)padded, .offset = r->offset}});
}

/* ---- the blocks of the segment ---- */

static int read_block(struct log *l, const struct tail_read *read)
{
    struct relocation *r = &l->relocation;
    uint64_t lsn = place_lsn(read->place);

    free(r->block);
    r->block = malloc(read->bytes);
    if (r->block == NULL)
        return FANQ_ERR_NOMEM;
    r->state = RELOCATION_READS;
    log_submit(l, &(struct store_job){
                      .kind = STORE_READ,
                      .owner = r,
                      .read = {.segment_kind = place_is_cold(read->place) ? DIRECTORY_COLD : DIRECTORY_LOG,
                               .number = log_segment_of(l, lsn),
                               .offset = lsn % l->directory.segment_bytes,
                               .bytes = read->bytes,
                               .data = r->block}});
    return 0;
}

/* From memory when it is there. 1: it is to be read first. */
static int take_block(struct log *l, struct core *core, const struct tail_read *read)
{
    struct block block;

    if (!tail_block(l->tail, read->stream, read->first_seq, &block) || block.first_seq != read->first_seq)
        return 0; /* not needed any more */
    if (block.records != NULL)
        return commit_add(l, core, read, block.records - sizeof(struct block_header));
    return 1;
}

/* What cannot be read stays, with its segment, and is in nobody's way: others are emptied. Whoever asks for the block will see. */
static int take_read(struct log *l, struct core *core)
{
    struct relocation *r = &l->relocation;
    const struct tail_read *read = &r->blocks[r->at];
    struct block block;

    if (r->error == 0)
        return commit_add(l, core, read, r->block);
    if (!tail_block(l->tail, read->stream, read->first_seq, &block) || block.first_seq != read->first_seq)
        return 0; /* not needed any more: its segment may be gone */
    log_report(l, "cannot move a block at place %llx of the log: %s", (unsigned long long)read->place,
               r->error == -EBADMSG ? "it is damaged (fanqd --check says what is affected)"
                                    : strerror(-r->error));
    segments_stuck(l, r->from_cold, r->from);
    r->from_stuck = true;
    return 0;
}

static bool commit_full(const struct relocation *r)
{
    return r->length >= COMMIT_BYTES || r->moved_count == RELOCATION_BLOCKS_MAX;
}

static void give_up(struct log *l, const char *why, uint64_t now_ms)
{
    log_report(l, "cannot move what is left of a segment: %s", why);
    l->relocation.state = RELOCATION_RESTS;
    if (l->relocation.cold != 0)
        segments_cold_full(l, l->relocation.cold, false);
    l->relocation.cold = 0; /* what failed is not appended to */
    l->relocation.retry_ms = now_ms + RETRY_MS;
}

/* The commit is full, or there is no more. */
static void gathered(struct log *l, struct core *core, uint64_t now_ms, uint64_t wall_ms)
{
    struct relocation *r = &l->relocation;

    if (r->moved_count > 0) {
        commit_end(l, core, wall_ms);
        return;
    }
    r->state = RELOCATION_RESTS;
    if (!r->from_stuck)
        r->retry_ms = now_ms + RETRY_MS; /* nothing of it is wanted: the sweep has not been there yet */
}

static void gather(struct log *l, struct core *core, uint64_t now_ms, uint64_t wall_ms)
{
    struct relocation *r = &l->relocation;
    uint64_t start_ns = l->options.now_ns(l->options.context);
    int err = 0;

    r->state = RELOCATION_GATHERS;
    while (err == 0 && r->at < r->block_count && !commit_full(r)) {
        if (l->options.now_ns(l->options.context) - start_ns > GATHER_NS)
            return; /* it goes on in the next turn */
        err = take_block(l, core, &r->blocks[r->at]);
        if (err == 1) {
            err = read_block(l, &r->blocks[r->at]);
            if (err == 0)
                return;
        }
        r->at++;
    }
    if (err != 0)
        give_up(l, "no memory", now_ms);
    else
        gathered(l, core, now_ms, wall_ms);
}

static void relocation_begin(struct log *l, struct core *core, uint64_t now_ms, uint64_t wall_ms)
{
    struct relocation *r = &l->relocation;
    const struct segment_entry *s;

    if (l->holders > 0 || now_ms < r->retry_ms || !much_more_than_wanted(l) || (s = candidate(l)) == NULL)
        return;
    if (r->commit == NULL && commit_reserve(r, COMMIT_BYTES) != 0) {
        give_up(l, "no memory", now_ms);
        return;
    }
    commit_begin(l);
    r->at = 0;
    r->from_cold = s->cold;
    r->from_stuck = false;
    r->from = s->number;
    r->block_count = tail_segment_blocks(l->tail, s->cold, s->number, r->blocks, RELOCATION_BLOCKS_MAX);
    gather(l, core, now_ms, wall_ms);
}

/* What is not written yet is not: a copy of the files ends where the log ended when the hold began, perhaps before what the moved
 * blocks lack. */
void relocation_stand_aside(struct log *l)
{
    struct relocation *r = &l->relocation;

    if (r->state == RELOCATION_GATHERS || r->state == RELOCATION_READ || r->state == RELOCATION_SYNC)
        r->state = RELOCATION_RESTS;
}

bool relocation_is_still(const struct log *l)
{
    return l->relocation.state == RELOCATION_RESTS || l->relocation.state == RELOCATION_FAILED;
}

void relocation_proceed(struct log *l, struct core *core, uint64_t now_ms, uint64_t wall_ms)
{
    struct relocation *r = &l->relocation;

    switch (r->state) {
    case RELOCATION_RESTS:
        relocation_begin(l, core, now_ms, wall_ms);
        break;
    case RELOCATION_READ:
        if (take_read(l, core) != 0) {
            give_up(l, "no memory", now_ms);
            break;
        }
        r->at++;
        gather(l, core, now_ms, wall_ms);
        break;
    case RELOCATION_GATHERS:
        gather(l, core, now_ms, wall_ms);
        break;
    case RELOCATION_FAILED:
        give_up(l, strerror(-r->error), now_ms);
        break;
    case RELOCATION_SYNC:
        if (log_sync_to(l, r->needs_lsn))
            commit_write(l);
        break;
    case RELOCATION_READS:
    case RELOCATION_WRITES:
        break;
    }
}

/* ---- what the store has done ---- */

void relocation_read(struct log *l, const struct store_done *done)
{
    struct relocation *r = &l->relocation;

    r->error = done->error;
    if (r->error == 0 && !log_read_is_right(&r->blocks[r->at], r->block))
        r->error = -EBADMSG;
    r->state = RELOCATION_READ;
    if (l->holders > 0)
        relocation_stand_aside(l);
}

void relocation_written(struct log *l, const struct store_done *done)
{
    struct relocation *r = &l->relocation;
    uint64_t base = PLACE_COLD | (r->cold * l->directory.segment_bytes + r->offset);

    r->error = done->error;
    if (r->error == 0 && r->offset == 0 && segments_add_cold(l, r->cold) != 0)
        r->error = -ENOMEM;
    r->state = r->error == 0 ? RELOCATION_RESTS : RELOCATION_FAILED;
    if (r->error != 0)
        return;
    for (size_t i = 0; i < r->moved_count; i++) {
        const struct moved_block *m = &r->moved[i];
        (void)tail_moved(
            l->tail, m->from.stream, m->from.first_seq, m->from.place, base + m->offset,
            (const struct block_header *)(r->commit + m->offset)); /* false: not needed any more */
    }
    l->moved_bytes += done->job.move.bytes;
    r->offset += done->job.move.bytes;
    r->number++;
}

uint64_t relocation_next_ms(const struct log *l)
{
    const struct relocation *r = &l->relocation;

    if (r->state == RELOCATION_GATHERS || r->state == RELOCATION_READ || r->state == RELOCATION_FAILED)
        return 0;
    if (r->state != RELOCATION_RESTS || l->holders > 0) /* the store will tell; nothing begins */
        return UINT64_MAX;
    return much_more_than_wanted(l) && candidate(l) != NULL ? r->retry_ms : UINT64_MAX;
}
