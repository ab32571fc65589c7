/* How the core sees messages: through a view that the shell gives it.
 *
 * The core knows messages by number. Where their bytes are, and whether they are in memory, the shell knows;
 * the core asks block by block. A block is a row of records of one stream that came in one turn: at most
 * BLOCK_RECORDS_MAX records or BLOCK_BYTES_MAX bytes, or one larger record. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BLOCK_RECORDS_MAX = 256, BLOCK_BYTES_MAX = 64 * 1024, BLOCK_EPOCH_SHIFT = 40 };

struct block {
    uint64_t first_seq;
    uint32_t count;
    uint32_t bytes;   /* of records */
    uint64_t time_ms; /* wall clock, when the broker took them */
    /* Grows over all blocks of all streams: the order in which they came. From bit BLOCK_EPOCH_SHIFT on it says in which
     * epoch; 0: in this one. */
    uint64_t arrival;
    uint64_t bytes_before;  /* of this stream's records before this block: grows with seq */
    const uint8_t *records; /* NULL: not in memory; all other fields hold all the same */
};

struct view {
    void *context;
    /* The block that holds seq, or, when seq was dropped (see EFFECT_TRIM) or never stored (a topic without
     * subscribers stores nothing), the next block above it. False when there is none at or above seq. */
    bool (*block)(void *context, uint64_t stream, uint64_t seq, struct block *ret_block);
};
