/* Writing: every connection once a turn, straight from log memory where that pays, and what happens when a
 * peer does not read.
 *
 * Place:    the loop's thread, in the turn, after the core was stepped and before the tail is trimmed.
 * Gather:   what goes to one connection is a row of pieces: small things gathered in one scratch buffer,
 *           runs of records of OUTPUT_REFER_BYTES_MIN and more where they lie in the tail. One
 *           uv_try_write takes them all.
 * Full:     when the socket takes less, at most OUTPUT_FLIGHT_BYTES of the rest are copied and given to
 *           uv_write, which can neither be cancelled nor redirected; its end tells that the peer reads
 *           again. The rest beyond waits as chunks: copies, or references whose pages are pinned. Until
 *           it has gone the core serves the connection nothing; answers queue behind, and one more than
 *           output_bytes_max closes it.
 * Stalled:  pins of a peer that took nothing for OUTPUT_STALL_MS are turned into copies, so that a dead
 *           reader costs the tail nothing; beyond output_bytes_total_max of copies the longest stalled is
 *           closed. */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "base/list.h"
#include "proto/mp.h"

struct shell;
struct connection;

enum {
    OUTPUT_SCRATCH_BYTES = 256 * 1024,
    OUTPUT_PIECES_MAX = 1024,       /* IOV_MAX */
    OUTPUT_REFER_BYTES_MIN = 1024,  /* below it copying beats an iovec: by far to 256 bytes, equal at 2 KiB */
    OUTPUT_FLIGHT_BYTES = 4 * 1024, /* its end is a signal; the rest then goes without a copy */
    OUTPUT_STALL_MS = 250,
    OUTPUT_NO_EFFECT = -1,

    /* What the kernel may hold for a peer. Its own choice would be up to 4 MB for each that never reads. */
    OUTPUT_SNDBUF_BYTES = 512 * 1024,
};

enum piece_kind {
    PIECE_ANSWER,   /* counts for output_bytes_max when it has to wait */
    PIECE_DELIVERY, /* does not: the core stops delivering by itself */
    PIECE_TAIL,     /* of a delivery, in the tail: pinned instead of copied when it has to wait */
};

struct piece {
    const uint8_t *data;
    size_t length;
    enum piece_kind kind;
};

/* The shell's part: the pieces under way to one connection. */
struct writing {
    uint8_t *scratch;
    struct fanq_writer writer; /* over scratch */
    struct connection *to;
    bool delivering; /* what is written belongs to a delivery */
    struct piece pieces[OUTPUT_PIECES_MAX];
    unsigned piece_count;
    size_t held_bytes;   /* in copies, of all connections */
    struct list stalled; /* outputs that are full, the longest without progress first */
    struct list pinning; /* those of them that pin pages, in the same order */
};

/* A connection's part. */
struct output {
    uv_write_t flight;      /* the one uv_write, valid while flight_buffer is not NULL */
    uint8_t *flight_buffer; /* NULL: none */
    size_t flight_capacity;
    bool landed;         /* the flight ended; output_resume() will look */
    struct list rest;    /* chunks that wait */
    size_t held_bytes;   /* in copies of this connection, deliveries included */
    size_t rest_bytes;   /* that wait in chunks */
    size_t answer_bytes; /* at most so many of them are answers, and not deliveries */
    struct list stalled, pinning;
    uint64_t stalled_ms;               /* since when it made no progress */
    int32_t first_effect, last_effect; /* of this batch: turn.c's */
};

int writing_init(struct writing *w); /* 0 or FANQ_ERR_NOMEM */
void writing_close(struct writing *w);

void output_init(struct output *out);

/* Drops what waits; the connection is gone and its flight has ended. */
void output_close(struct shell *s, struct output *out);

/* Whether something waits for the peer to read. */
static inline bool output_full(const struct output *out)
{
    return out->flight_buffer != NULL || out->landed;
}

/* Everything written between output_begin() and output_end() goes to c, in order. */
void output_begin(struct shell *s, struct connection *c);

/* Whether what follows belongs to a delivery; an answer at first. */
void output_delivering(struct shell *s, bool delivering);
void output_end(struct shell *s);

/* A writer with room for `bytes` (at most OUTPUT_SCRATCH_BYTES); output_wrote() takes what was written. */
struct fanq_writer *output_room(struct shell *s, size_t bytes);
void output_wrote(struct shell *s, size_t bytes);

/* Bytes elsewhere: of a delivery, in the tail, until the turn's trims; or only until this returns. */
void output_refer(struct shell *s, const uint8_t *data, size_t length);
void output_copy(struct shell *s, const uint8_t *data, size_t length);

/* Goes on after a flight has landed. */
void output_resume(struct shell *s, struct connection *c);

/* Turns pins of stalled connections into copies, and closes the longest stalled above the limit. */
void writing_sweep(struct shell *s);

/* When writing_sweep() must run at the latest; UINT64_MAX: it need not. */
uint64_t writing_next_ms(const struct writing *w);
