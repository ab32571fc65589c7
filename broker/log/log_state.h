/* The log's data, for those who look after it alone: log.c, segments.c, spares.c, upkeep.c, relocate.c, hold.c. */
#pragma once

#include "base/list.h"
#include "base/slab.h"
#include "base/worker.h"
#include "checkpoint.h"
#include "log.h"
#include "store.h"

enum {
    LOG_SPARES_WANTED = 2, /* with fewer, new ones are made */
    LOG_SPARES_KEPT = 5,   /* with fewer, dead segments are recycled rather than removed */

    LOG_SPARES_MAX = 8,
    LOG_CHORES_MAX = 16 /* jobs of the store but reads */,
    LOG_READ_AHEAD_BYTES = 256 * 1024
};

/* A block on its way into memory. */
struct fetch {
    struct list link; /* log->fetching, then log->came */
    struct tail_read read;
};

/* What was asked for but the cache had no room. */
struct fetch_wish {
    struct list link;
    uint64_t stream, first_seq, end;
};

enum segment_state {
    SEGMENT_FILLING, /* commits go there */
    SEGMENT_FULL,    /* to be indexed when it is synced */
    SEGMENT_SEALED,  /* indexed, or being so */
    SEGMENT_LEAVING  /* being removed, or made into a spare */
};

struct segment_entry {
    uint64_t number;
    bool cold;
    bool dead;   /* nothing in it was needed when the checkpoint under way began */
    bool unkept; /* the same, and that checkpoint is on the disk */
    bool stuck;  /* a block in it could not be read: it is not emptied */
    bool cut;    /* an earlier run's, with nothing in it that counts: it goes at once */
    enum segment_state state;
};

enum checkpoint_state { CHECKPOINT_NONE, CHECKPOINT_SLICES, CHECKPOINT_SYNC, CHECKPOINT_WRITE };

enum relocation_state {
    RELOCATION_RESTS,
    RELOCATION_GATHERS, /* blocks, some in each turn */
    RELOCATION_READS,   /* the store reads a block */
    RELOCATION_READ,    /* it has, or could not */
    RELOCATION_SYNC,    /* the commit is complete; what its copies lack is not surely on the disk */
    RELOCATION_WRITES,
    RELOCATION_FAILED
};

enum { RELOCATION_BLOCKS_MAX = 1024 };

struct moved_block {
    struct tail_read from;
    size_t offset; /* of the copy in the commit */
};

/* Blocks of a segment on their way to a cold one. */
struct relocation {
    enum relocation_state state;
    int error;         /* READ, FAILED: a negative errno */
    uint64_t retry_ms; /* monotonic */
    bool from_cold;    /* the segment that is being emptied */
    uint64_t from;
    bool from_stuck; /* some of it cannot be read */
    struct tail_read blocks[RELOCATION_BLOCKS_MAX];
    size_t block_count, at;
    uint8_t *block; /* READS, READ: its bytes */
    uint8_t *commit;
    size_t length, capacity;
    struct moved_block moved[RELOCATION_BLOCKS_MAX];
    size_t moved_count;
    uint64_t needs_lsn;    /* SYNC: it may be written when all below is synced */
    uint64_t cold, offset; /* where it goes; cold 0: nowhere yet */
    uint64_t number, hash; /* of the commit before it there */
};

struct log {
    struct log_options options;
    struct directory directory;
    struct tail *tail;
    struct writer *writer;
    struct store *store;
    struct worker *writer_thread, *store_thread;
    struct recovered recovered;
    int error; /* a negative errno: the log has ended */

    /* Commits. */
    uint64_t end_lsn;        /* behind the last one appended */
    uint64_t last_number;    /* of it */
    uint64_t last_commit_ms; /* when it was; monotonic */
    struct writer_done done;
    struct writer_job *waiting; /* a ring: what the writer's ring had no room for */
    size_t waiting_head, waiting_count, waiting_capacity;
    bool witnessed; /* the last commit is an empty one */

    /* Blocks that come back. */
    struct slab fetches, wishes;
    struct list came;   /* struct fetch */
    struct list wished; /* struct fetch_wish */
    uint64_t fetching_count;
    uint64_t read_blocks, read_bytes;

    /* Segments, those of the log by number, then cold ones. */
    struct segment_entry *segments;
    size_t segment_count, segment_capacity;
    uint64_t spares[LOG_SPARES_MAX];
    size_t spare_count;
    size_t preparing;
    size_t chores; /* segments that are being indexed, removed or recycled */
    uint64_t next_spare, next_cold;
    uint64_t let_go_ms; /* after one could not go: no other does before */
    bool disk_short;
    uint64_t retry_ms; /* when disk_short: when another spare is tried; 0: to be set */

    size_t holders; /* of log_hold() */

    /* The checkpoint under way, and the newest two that are on the disk. */
    enum checkpoint_state checkpoint_state;
    struct core_checkpoint checkpoint;
    uint64_t checkpoint_number, checkpoint_lsn, checkpoint_commit, checkpoint_wall_ms;
    uint64_t checkpoint_needs_lsn; /* it holds when all below is synced */
    bool checkpoint_needs_room;    /* the last one found none: a spare is given up for it */
    uint64_t checkpoint_retry_ms;  /* after one that could not be written: no other begins before */
    uint64_t newest_lsn, older_lsn;
    uint64_t next_checkpoint_ms;
    bool checkpoint_at_once;              /* what was accepted is not to be told again */
    uint64_t accepted_lsn, accepted_cold; /* see checkpoint.h */
    uint64_t checkpoints, checkpoint_bytes;

    struct relocation relocation;
    uint64_t moved_bytes;
    uint64_t swept_lsn, swept_ms; /* the last round of the sweep */
};

static inline uint64_t log_segment_of(const struct log *l, uint64_t lsn)
{
    return lsn / l->directory.segment_bytes;
}

/* When all below is on the disk, so is all that the core has decided up to now. */
static inline uint64_t log_decided_lsn(const struct log *l, const struct core *core)
{
    return l->end_lsn + (core_fact_bytes(core) > 0); /* those are in the next commit */
}

/* ---- segments.c ---- */

/* The segment that a first commit opens becomes the one that is filled. Gives the spare for it, or WRITER_NO_SPARE. 0 or
 * FANQ_ERR_NOMEM. */
int segments_open(struct log *l, uint64_t number, uint64_t *ret_spare);
/* At start: what the directory has; there is a spare afterwards. 0, or an error with its text. */
int segments_restore(struct log *l, char error[LOG_ERROR_BYTES]);
void segments_seal(struct log *l);                    /* full ones get an index, one at a time */
void segments_let_go(struct log *l, uint64_t now_ms); /* those that nobody needs, one at a time */
bool segment_may_go(const struct log *l, const struct segment_entry *s); /* nobody needs it any more */
void segments_mark_dead(struct log *l);                                  /* a checkpoint begins */
bool segments_wait_for_checkpoint(const struct log *l); /* one more, wherever it begins, lets one go */
bool segments_wait_to_go(const struct log *l);          /* for the next checkpoint, or the one after it */
void segments_completed(struct log *l, const struct store_done *done); /* INDEX, REMOVE, also of a spare */
void segments_recycled(struct log *l, uint64_t number, bool done);     /* or it could not be */
int segments_add_cold(struct log *l, uint64_t number);                 /* 0 or FANQ_ERR_NOMEM */
void segments_stuck(struct log *l, bool cold, uint64_t number);
void segments_cold_full(struct log *l, uint64_t number, bool whole);

/* ---- spares.c ---- */

uint64_t spare_take(struct log *l); /* WRITER_NO_SPARE: there is none */
/* One that an earlier run left. */
void spare_restore(struct log *l, uint64_t number);
/* After those: so that there is one at least. 0, or FANQ_ERR_IO and why. */
int spares_begin(struct log *l, char error[LOG_ERROR_BYTES]);
bool spares_keep(const struct log *l); /* a dead segment may become one */
void spare_recycle(struct log *l, uint64_t segment);
void spare_prepared(struct log *l, const struct store_done *done);
void spares_proceed(struct log *l, uint64_t now_ms);
bool spares_can_give_up(const struct log *l);
/* Removes one, for what needs its room more; no other is made of it until l->checkpoint_needs_room is false again. */
void spare_give_up(struct log *l);
bool disk_is_tight(const struct log *l); /* there is not much more than what is used */
uint64_t log_disk_bytes(const struct log *l);

/* ---- upkeep.c ---- */

void checkpoint_completed(struct log *l, const struct store_done *done);

/* ---- relocate.c ---- */

/* A hold begins. */
void relocation_stand_aside(struct log *l);
bool relocation_is_still(const struct log *l); /* the store has nothing to do for it */
void relocation_proceed(struct log *l, struct core *core, uint64_t now_ms, uint64_t wall_ms);
void relocation_read(struct log *l, const struct store_done *done);
void relocation_written(struct log *l, const struct store_done *done);
uint64_t relocation_next_ms(const struct log *l);
void relocation_close(struct log *l);

/* ---- log.c ---- */

void log_submit(struct log *l, const struct store_job *job); /* wakes the store; the ring has room */
bool log_sync_to(struct log *l, uint64_t lsn); /* whether all below is synced; else it is, soon */
/* Whether what was read is the block that was asked for: a good one may be another. */
bool log_read_is_right(const struct tail_read *read, const uint8_t *data);
void log_grant_wishes(struct log *l);
void log_report(struct log *l, const char *format, ...) __attribute__((format(printf, 2, 3)));
