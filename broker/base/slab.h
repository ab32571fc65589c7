/* Fixed-size objects from chunks, so that steady work allocates nothing. Freed objects are reused last in, first out;
 * chunks go back to the system only at slab_close(). Objects come zeroed. */
#pragma once

#include <stddef.h>

struct slab {
    size_t object_bytes;
    void *free;   /* a list through the first word of each free object */
    void *chunks; /* a list through the first word of each chunk */
    size_t live_count;
    size_t free_count;
};

void slab_init(struct slab *s, size_t object_bytes);
void slab_close(struct slab *s); /* frees all chunks, whatever still lives in them */

/* Makes sure that slab_take() succeeds `count` times. 0 or FANQ_ERR_NOMEM. */
int slab_reserve(struct slab *s, size_t count);

void *slab_take(struct slab *s); /* NULL: out of memory, only without a reservation */
void slab_give(struct slab *s, void *object);
