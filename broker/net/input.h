/* Reading: how bytes come in, how many, and where they lie until they are understood.
 *
 * Place:    the loop's thread. libuv's read callbacks come here and only collect; the turn parses later.
 * Turn:     all connections read into one buffer, one behind the other, INPUT_TURN_BYTES a turn: so a
 *           turn's bytes are bounded, warm in the cache, and do not move before the turn is over, for the
 *           core borrows records from them.
 * Kept:     a connection holds memory of its own only for the beginning of an unfinished frame. At the
 *           end of a turn that goes into a buffer of the pool, and in front of the next bytes when they
 *           come. A frame longer than INPUT_SHARED_BYTES_MAX is read to its end in that buffer, which
 *           grows with what has arrived and not with what the frame claims to be.
 * Fairness: a connection reads at most INPUT_SHARE_BYTES a turn. When the buffer did not suffice for all,
 *           those that have read sit out until the others had their turn: a round.
 * Limit:    input_bytes_total_max for what is kept. Beyond it connections still read requests of up to
 *           INPUT_SMALL_BYTES (acks free memory); longer ones wait, and the oldest unfinished one is
 *           closed when it has had its time. */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "base/list.h"

struct shell;
struct connection;

enum {
    INPUT_TURN_BYTES = 4 * 1024 * 1024,
    INPUT_SHARE_BYTES = 256 * 1024,
    INPUT_SHARED_BYTES_MAX = 64 * 1024,
    INPUT_SMALL_BYTES = 4096,
    INPUT_UNFINISHED_MS_MAX = 5000, /* when others wait for the room */
};

/* The shell's part. */
struct reading {
    uint8_t *buffer;
    size_t used;
    uint64_t turn;            /* counts turns, for the share */
    uint64_t round;           /* counts rounds */
    bool refused;             /* somebody found no room in the buffer in this turn */
    size_t kept_bytes;        /* capacity of all kept buffers */
    struct list ready;        /* inputs with bytes to parse in this turn, in order of arrival */
    struct list *next;        /* the first of them that is not parsed to its end */
    struct list starved;      /* not read, for they need more than may be kept */
    struct list unfinished;   /* those that keep more than INPUT_SMALL_BYTES, oldest first */
    uint8_t waste[16 * 1024]; /* what comes from connections that are ending */
};

/* A connection's part. */
struct input {
    struct list ready, starved, unfinished;
    uint64_t round, turn;
    size_t turn_bytes; /* read in this turn */
    uint8_t *data;     /* the bytes to parse, in the turn's buffer or in kept */
    size_t length;
    size_t parsed;
    size_t need; /* of the unfinished frame, header included, when its header has come; else 0 */
    uint8_t *kept;
    size_t kept_length, kept_capacity;
    uint64_t unfinished_ms; /* since when it is in that list */
};

int reading_init(struct reading *r); /* 0 or FANQ_ERR_NOMEM */
void reading_close(struct reading *r);

void input_init(struct input *in);

/* Gives its memory back; the connection is gone. */
void input_close(struct shell *s, struct input *in);

/* Where the next bytes of c may go; length 0: not now, and input_refused() follows. */
void input_buffer(struct shell *s, struct connection *c, uv_buf_t *ret_buffer);
void input_refused(struct connection *c);

/* `length` bytes came into what input_buffer() gave. */
void input_received(struct shell *s, struct connection *c, size_t length);

/* Whether bytes of the turn are still to be parsed. */
static inline bool reading_unparsed(const struct reading *r)
{
    return r->next != &r->ready;
}

static inline bool input_unparsed(const struct input *in)
{
    return list_linked(&in->ready) && in->parsed < in->length;
}

/* Ends the turn: keeps unfinished frames, lets starved connections read again or refuses what stands in their
 * way. */
void reading_settle(struct shell *s);

/* When reading_settle() has to run again though nothing may arrive; UINT64_MAX: never. */
uint64_t reading_next_ms(const struct reading *r);
