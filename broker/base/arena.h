/* Memory that is given out piece by piece and taken back all at once, once a turn. Pieces never move; chunks are kept
 * for the next round, so steady work allocates nothing. What a round did not use beyond 4 MiB goes back to the system. */
#pragma once

#include <stddef.h>

struct arena_chunk {
    struct arena_chunk *next;
    size_t size;
    size_t used;
};

struct arena {
    struct arena_chunk *first;
    struct arena_chunk *current;
    size_t
        taken_bytes; /* since the last reset: whoever fills an arena for others can tell when it is enough */
};

void arena_init(struct arena *a);
void arena_close(struct arena *a);

/* size bytes, aligned for any object, not zeroed; NULL: out of memory. */
void *arena_take(struct arena *a, size_t size);

/* Shortens the piece that was taken last to `size` bytes, so that the rest can be taken again. */
void arena_trim(struct arena *a, void *piece, size_t size);

void arena_reset(struct arena *a); /* everything taken is void */
