/* Memory that ends at an unreadable page, so that reading one byte too many crashes the test. */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct guard {
    uint8_t *start;
    size_t length; /* readable bytes; the page behind them is not */
    size_t page_bytes;
};

static inline void guard_init(struct guard *guard, size_t bytes_max)
{
    guard->page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    guard->length = (bytes_max + guard->page_bytes - 1) / guard->page_bytes * guard->page_bytes;
    void *memory = mmap(NULL, guard->length + guard->page_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert(memory != MAP_FAILED);
    guard->start = (uint8_t *)memory;
    int err = mprotect(guard->start + guard->length, guard->page_bytes, PROT_NONE);
    assert(err == 0);
    (void)err;
}

static inline void guard_close(struct guard *guard)
{
    munmap(guard->start, guard->length + guard->page_bytes);
}

/* The last `length` bytes before the unreadable page, filled with data. Lent until the next call. */
static inline uint8_t *guard_put(struct guard *guard, const void *data, size_t length)
{
    assert(length <= guard->length);
    uint8_t *place = guard->start + guard->length - length;
    if (length > 0)
        memmove(place, data, length);
    return place;
}
