/* What the store thread does: all disk work but commits, in steps that do not hold the disk for long.
 *
 *     loop ── store_submit() ──> ring ──> store_work() ──> files ──> ring ──> store_done() ── loop
 *
 * Jobs are done in order of priority: reads first, then the preparation of segments, then the rest; a preparation or a move
 * is done in steps of 1 MiB, between which reads go first. Memory named in a job is handed over until its completion. */
#pragma once

#include "directory.h"

enum store_kind {
    STORE_READ,    /* a block into memory; checked */
    STORE_PREPARE, /* a segment ahead of its use: zero-filled, or made of one that is not needed any more */
    STORE_INDEX,   /* the index of a full segment */
    STORE_REMOVE,  /* a segment and its index */
    STORE_CHECKPOINT, /* put in place */
    STORE_MOVE,       /* blocks appended to a cold segment, synced */
    STORE_CLOSE       /* a file */
};

struct store_job {
    enum store_kind kind;
    void *owner; /* comes back with the completion */
    union {
        struct {
            int file;
            uint64_t offset;
            uint32_t bytes; /* header and records */
            uint8_t *data;
        } read;
        struct {
            uint64_t number; /* of the log segment to make */
            uint64_t
                recycle; /* the number of the one to make it of; UINT64_MAX: none, a new file is filled with zeros */
            bool fill; /* false: on a copy-on-write file system, or when there is no time */
        } prepare;
        struct {
            enum directory_kind segment_kind;
            uint64_t number;
        } segment; /* INDEX, REMOVE */
        struct {
            uint64_t number;
            uint8_t *data; /* malloc'd; the store frees it */
            size_t length;
        } checkpoint;
        struct {
            int file;        /* -1: the first of its segment: it is made */
            uint64_t number; /* of the cold segment */
            uint8_t *data;   /* a sealed commit with its padding */
            uint32_t bytes;
            uint64_t offset;
        } move;
        int file; /* CLOSE */
    };
};

struct store_done {
    struct store_job job; /* as submitted, */
    int error;            /* 0 or a negative errno; -EBADMSG: a block that was read is damaged */
    int file;             /* PREPARE, MOVE with -1: open for reading and writing */
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

/* ---- on the store thread ---- */

bool store_work(void *store); /* one step; false when there was nothing */
