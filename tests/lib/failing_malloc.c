#include "failing_malloc.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/mman.h>

static size_t request_count;
static size_t fail_at;
static long live_count;
static bool failed;

/* The names that the linker gives to both ends of a wrapped function. The build makes off_t 64 bits wide, for
 * which the C library calls mmap mmap64. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void __real_free(void *piece);
void *__real_mmap64(void *address, size_t length, int protection, int flags, int file, off_t offset);
int __real_munmap(void *address, size_t length);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void __wrap_free(void *piece);
void *__wrap_mmap64(void *address, size_t length, int protection, int flags, int file, off_t offset);
int __wrap_munmap(void *address, size_t length);

void failing_malloc_reset(void)
{
    request_count = 0;
    fail_at = 0;
    live_count = 0;
    failed = false;
}

void failing_malloc_fail_at(size_t n)
{
    fail_at = n > 0 ? request_count + n : 0;
    failed = false;
}

int failing_malloc_failed(void)
{
    return failed;
}

size_t failing_malloc_requests(void)
{
    return request_count;
}

long failing_malloc_live(void)
{
    return live_count;
}

static bool refuses(void)
{
    if (++request_count != fail_at)
        return false;
    failed = true;
    errno = ENOMEM;
    return true;
}

static void *counted(void *piece)
{
    live_count += piece != NULL;
    return piece;
}

void *__wrap_malloc(size_t size)
{
    return refuses() ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return refuses() ? NULL : counted(__real_calloc(count, size));
}

void *__wrap_realloc(void *old, size_t size)
{
    void *piece;

    if (refuses())
        return NULL;
    piece = __real_realloc(old, size);
    if (old == NULL)
        counted(piece);
    return piece;
}

void __wrap_free(void *piece)
{
    live_count -= piece != NULL;
    __real_free(piece);
}

void *__wrap_mmap64(void *address, size_t length, int protection, int flags, int file, off_t offset)
{
    void *mapping = MAP_FAILED;

    if (!refuses())
        mapping = __real_mmap64(address, length, protection, flags, file, offset);
    live_count += mapping != MAP_FAILED;
    return mapping;
}

int __wrap_munmap(void *address, size_t length)
{
    live_count--;
    return __real_munmap(address, length);
}
