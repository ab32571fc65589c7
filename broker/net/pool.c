/* Buffers in sizes of powers of two: see pool.h. */
#include "pool.h"

#include <assert.h>
#include <stdlib.h>

enum { CLASS_SHIFT_MIN = 8 };

_Static_assert(POOL_BYTES_MIN == 1 << CLASS_SHIFT_MIN, "the smallest class");

/* The class whose buffers hold `bytes`; POOL_CLASS_COUNT: none does. */
static unsigned class_of(size_t bytes)
{
    if (bytes <= POOL_BYTES_MIN)
        return 0;
    unsigned bits = 64 - (unsigned)__builtin_clzll(bytes - 1);
    return bits - CLASS_SHIFT_MIN < POOL_CLASS_COUNT ? bits - CLASS_SHIFT_MIN : POOL_CLASS_COUNT;
}

void pool_init(struct pool *p)
{
    *p = (struct pool){0};
}

void pool_close(struct pool *p)
{
    assert(p->lent_bytes == 0);
    for (unsigned i = 0; i < POOL_CLASS_COUNT; i++) {
        while (p->spare[i] != NULL) {
            void **buffer = p->spare[i];
            p->spare[i] = *buffer;
            free(buffer);
        }
    }
    p->spare_bytes = 0;
}

void *pool_take(struct pool *p, size_t bytes, size_t *ret_capacity)
{
    unsigned class = class_of(bytes);
    size_t capacity = class < POOL_CLASS_COUNT ? (size_t)POOL_BYTES_MIN << class : bytes;
    void **buffer;

    if (class < POOL_CLASS_COUNT && p->spare[class] != NULL) {
        buffer = p->spare[class];
        p->spare[class] = *buffer;
        p->spare_bytes -= capacity;
    } else {
        buffer = malloc(capacity);
        if (buffer == NULL)
            return NULL;
    }
    p->lent_bytes += capacity;
    *ret_capacity = capacity;
    return buffer;
}

void pool_give(struct pool *p, void *buffer, size_t capacity)
{
    unsigned class = class_of(capacity);

    if (buffer == NULL)
        return;
    assert(p->lent_bytes >= capacity);
    p->lent_bytes -= capacity;
    if (class == POOL_CLASS_COUNT || p->spare_bytes + capacity > POOL_SPARE_BYTES_MAX) {
        free(buffer);
        return;
    }
    assert(capacity == (size_t)POOL_BYTES_MIN << class);
    *(void **)buffer = p->spare[class];
    p->spare[class] = buffer;
    p->spare_bytes += capacity;
}
