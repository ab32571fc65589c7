/* The log as the shell sees it: the directory that the broker's state comes from and goes to.
 *
 *     log_open      takes the directory, begins a run, makes the tail
 *     log_recover   brings the core to where the last run ended
 *     turns         log_poll -> SYNCED, RESIDENT;  log_append, log_fetch;  log_upkeep
 *     log_close     when everything is synced
 *
 * Place:   the loop's thread. Two more threads are behind it: the log thread writes and syncs commits (writer.h), the store
 *          thread does all other disk work (store.h). The loop never waits for a disk, but at start.
 * Parts:   log.c: this; segments.c, spares.c: the files, from one use to the next; upkeep.c: checkpoints, and what is done between two
 *          turns; relocate.c: moving what is left of a segment; hold.c: holding still.
 * Failure: the first error of a commit ends the log: log_poll() gives it, and the broker must end without answering what was
 *          not synced. Other errors (a checkpoint that cannot be written, a disk that is full) are reported and tried again. */
#pragma once

#include "core/core.h"
#include "recovery.h"
#include "tail.h"
#include "writer.h"

struct log;

struct log_options {
    struct io io;           /* taken: its context lives until log_free() */
    uint64_t segment_bytes; /* for a new directory */
    uint64_t memory_bytes_max, cache_bytes_max;
    uint64_t disk_bytes_max; /* of segments; 0: what the file system gives */
    enum writer_sync sync;
    uint64_t sync_ms;
    uint64_t random[4];
    uint64_t wall_ms;
    bool accept_loss;
    bool threads;                      /* false: log_work() does what the threads would */
    uint64_t (*now_ns)(void *context); /* monotonic; called on any of the threads */
    void (*notify)(void *context);     /* log_poll() has something; called on any of the threads */
    void (*report)(void *context,
                   const char *text); /* damage, and what does not work; on the loop's thread */
    void *context;
};

enum { LOG_ERROR_BYTES = DIRECTORY_ERROR_BYTES };

/* 0 or FANQ_ERR_*, with a text in error. */
int log_open(const struct log_options *options, struct log **ret_log, char error[LOG_ERROR_BYTES]);

/* Ends the threads when all that was appended is written and synced, unless the log has failed. */
void log_stop(struct log *l);

/* Comes after log_stop(): when all is on the disk, writes a checkpoint of the core at the log's end. The next start has nothing to
 * replay, and sees it when something has been cut off from the log meanwhile. */
void log_rest(struct log *l, struct core *core, uint64_t wall_ms);
void log_free(struct log *l); /* accepts NULL */

/* For core_options and the view. */
uint64_t log_epoch(const struct log *l);
struct tail *log_tail(const struct log *l);

/* Replays into a new core whose clocks are set (TURN). Afterwards the log takes commits. 0 or FANQ_ERR_*, with a text. */
int log_recover(struct log *l, struct core *core, char error[LOG_ERROR_BYTES]);
const struct recovered *log_recovered(const struct log *l);

/* ---- turns ---- */

/* What the threads have done. *ret_synced: the number of the newest commit that may be answered. 0, or a negative errno of
 * the log's end. */
int log_poll(struct log *l, uint64_t *ret_synced);
/* The next messages that have come into memory since log_poll(); false: no more. */
bool log_resident(struct log *l, uint64_t *ret_stream, uint64_t *ret_first_seq, uint64_t *ret_count);

/* 0 or FANQ_ERR_NOMEM. */
int log_append(struct log *l, const struct commit *commit);
void log_fetch(struct log *l, uint64_t stream, uint64_t first_seq, uint64_t count);

/* How many bytes of records a turn may bring, as memory and disk allow. */
uint64_t log_room(const struct log *l);

/* Whether a round of tail_sweep() is worth its time: the log holds more than is known to be wanted; and that one has ended. */
bool log_wants_sweep(const struct log *l, uint64_t now_ms);
void log_swept(struct log *l, uint64_t now_ms);

/* Does some of what there is to do: memory, segments, checkpoints; at most some milliseconds. Between turns. */
void log_upkeep(struct log *l, struct core *core, uint64_t now_ms, uint64_t wall_ms);

/* When the next log_upkeep() must come at the latest, in monotonic milliseconds. */
uint64_t log_next_ms(const struct log *l);

/* Everything appended may be answered, as the mode promises; is synced. */
bool log_is_answered(const struct log *l);
bool log_is_synced(const struct log *l);

/* The last commit has stood for LOG_WITNESS_MS without one behind it that says it is on the disk: make an empty one. */
enum { LOG_WITNESS_MS = 100 };
bool log_wants_witness(const struct log *l, uint64_t now_ms);

/* ---- holding still, for a copy (hold.c) ---- */

/* Until log_unhold(), which must follow, no segment is taken away and no checkpoint is written. Holds add up. Gives the end of
 * the log: from log_is_still() on the files of the directory stay as they are below it, and all below it is on the disk. */
uint64_t log_hold(struct log *l);
void log_unhold(struct log *l);
bool log_is_still(struct log *l, uint64_t end_lsn); /* to be asked after each log_poll(), until it is */

/* Gives how many segments of the log that begin below end_lsn (cold: of moved blocks) hold anything that is needed, and their
 * numbers (NULL: only how many). */
size_t log_needed_segments(const struct log *l, bool cold, uint64_t end_lsn, uint64_t *ret_numbers);

uint64_t log_directory_id(const struct log *l);
uint64_t log_segment_bytes(const struct log *l);
bool log_is_short(const struct log *l); /* of disk: publishes are refused */

/* Without threads: one step of the log thread's work, or the store's. False: there was none. */
bool log_work_writer(struct log *l);
bool log_work_store(struct log *l);

struct log_figures {
    struct writer_figures writer;
    uint64_t segments, cold_segments, spares;
    uint64_t checkpoints, checkpoint_bytes; /* written; the last one's length */
    uint64_t read_blocks, read_bytes;       /* back into memory */
    uint64_t moved_bytes;
    uint64_t disk_bytes; /* of segments */
    bool disk_short;     /* publishes are refused for lack of disk */
};

void log_figures(const struct log *l, struct log_figures *ret_figures);
