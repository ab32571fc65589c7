/* What the store thread does: all disk work but commits, in steps that do not hold the disk for long.
 *
 *     loop ── store_submit() ──> ring ──> store_work() ──> files ──> ring ──> store_done() ── loop
 *
 * Jobs are done in order of priority: reads first, then the preparation of segments, then the rest; a preparation or a move
 * is done in steps of 1 MiB, between which reads go first. Memory named in a job is handed over until its completion.
 *
 * Failed: a job that failed harms no other, and may be tried again, but for a move: what was appended before it is safe, and
 *         the next move makes a segment with a number of its own. */
#pragma once

#include "checkpoint.h"

enum store_kind {
    STORE_READ, /* a block into memory; it is as it was sealed, and the caller looks whether it is the right one */
    STORE_PREPARE,    /* a spare: a segment ahead of its use; the writer gives it its name when it is taken */
    STORE_INDEX,      /* the index of a full segment */
    STORE_REMOVE,     /* a segment and its index; no error if they are gone */
    STORE_CHECKPOINT, /* sealed and put in place */
    STORE_MOVE        /* blocks appended to a cold segment, synced */
};

/* The loop has no files: segments are named, and the store keeps those it uses open. */
struct store_job {
    enum store_kind kind;
    void *owner; /* comes back with the completion */
    union {
        struct {
            enum directory_kind segment_kind;
            uint64_t number;
            uint64_t offset;
            uint32_t bytes; /* header and records */
            uint8_t *data;
        } read;
        struct {
            uint64_t spare; /* the number of the spare to make */
            uint64_t
                recycle; /* the log segment to make it of; STORE_NO_SEGMENT: none, a new file is filled with zeros */
        } prepare;
        struct {
            enum directory_kind segment_kind;
            uint64_t number;
        } segment;                    /* INDEX, REMOVE */
        struct checkpoint checkpoint; /* its facts are malloc'd, and the store frees them */
        struct {
            uint64_t number; /* of the cold segment; it is made with offset 0 */
            uint8_t *data;   /* a sealed commit with its padding */
            uint32_t bytes;
            uint64_t offset;
        } move;
    };
};

enum { STORE_JOBS_MAX = 1024 /* submitted, and their completions not taken; a power of two */ };

#define STORE_NO_SEGMENT UINT64_MAX

struct store_done {
    struct store_job job; /* as submitted */
    int error;            /* 0 or a negative errno; -EBADMSG: a block that was read is damaged */
};

struct store;

struct store_options {
    const struct directory *directory; /* borrowed */
    void (*notify)(void *context);
    void *context;
};

int store_new(const struct store_options *options, struct store **ret_store); /* 0 or FANQ_ERR_NOMEM */
void store_free(struct store *s);                                             /* accepts NULL */

/* ---- on the loop's thread ---- */

bool store_submit(struct store *s, const struct store_job *job); /* false: the ring is full */
bool store_done(struct store *s, struct store_done *ret_done);
/* From now on there is nothing to do: what is under way stays as a crash would leave it. */
void store_stop(struct store *s);

/* ---- on the store thread ---- */

bool store_work(void *store); /* one step; false when there was nothing */
