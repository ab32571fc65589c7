/* Buffers that connections hold for a while: the rest of a request, the rest of an answer.
 *
 * Sizes are powers of two from 256 bytes to 8 MiB; larger buffers are made to measure. Buffers given back are
 * kept for the next taker as long as those kept are few bytes in all, so steady work allocates nothing, and
 * what an attack made the broker take goes back to the system when it is over. Loop thread only. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
    POOL_CLASS_COUNT = 16,
    POOL_BYTES_MIN = 256,
    POOL_SPARE_BYTES_MAX = 8 * 1024 * 1024 /* kept for the next taker */
};

struct pool {
    void *spare[POOL_CLASS_COUNT]; /* lists through the first word of each buffer */
    size_t spare_bytes;
    size_t lent_bytes;
};

void pool_init(struct pool *p);
void pool_close(struct pool *p); /* everything was given back */

/* At least `bytes`, not zeroed; *ret_capacity says how many, and goes back with the buffer. NULL: out of
 * memory. */
void *pool_take(struct pool *p, size_t bytes, size_t *ret_capacity);
void pool_give(struct pool *p, void *buffer, size_t capacity); /* accepts NULL */
