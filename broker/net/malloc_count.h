/* Counts what is asked of the allocator, so that "steady work allocates nothing" is a figure and not a hope.
 *
 * fanqd is linked with --wrap for malloc, calloc and realloc, which brings every call of our code here;
 * libuv's calls come by uv_replace_allocator(). Any thread. */
#pragma once

#include <stdint.h>

/* Brings libuv's allocations in; before its first use. */
void malloc_count_start(void);

uint64_t malloc_count(void); /* calls so far */
