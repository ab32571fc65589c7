/* Counts calls of the allocator: see malloc_count.h. */
#include "malloc_count.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <uv.h>

/* The linker's names: __wrap_x is called for x, and __real_x is the x there was. */
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);

static _Atomic uint64_t calls;

static void count_call(void)
{
    atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed);
}

void *__wrap_malloc(size_t size)
{
    count_call();
    return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    count_call();
    return __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    count_call();
    return __real_realloc(memory, size);
}

void malloc_count_start(void)
{
    (void)uv_replace_allocator(__wrap_malloc, __wrap_realloc, __wrap_calloc, free); /* fails only on NULL */
}

uint64_t malloc_count(void)
{
    return atomic_load_explicit(&calls, memory_order_relaxed);
}
