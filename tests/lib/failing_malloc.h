/* An allocator for tests: it counts what lives, and can refuse the n-th request.
 *
 * The linker puts it between the code under test and the C library (-Wl,--wrap, see meson.build), so that
 * only objects linked into the test are watched, not cmocka and not the C library itself. mmap and munmap
 * count as well. One thread. */
#pragma once

#include <stddef.h>

/* Forgets everything counted so far and lets all requests succeed. */
void failing_malloc_reset(void);

/* The n-th request from now on fails, counted from 1, and all requests behind it succeed; 0: none fails. */
void failing_malloc_fail_at(size_t n);

/* Whether the request named in failing_malloc_fail_at() has come. */
int failing_malloc_failed(void);

size_t failing_malloc_requests(void); /* malloc, calloc, realloc, mmap since the reset */
long failing_malloc_live(void); /* pieces of memory and mappings given since the reset and not taken back */
