/* Chunks are cut into objects whole, when they come; from then on taking and giving are a push and a pop.
 *
 * A free object is poisoned behind its list link under the address sanitizer, so that its use is caught as if
 * it had been freed for good. */
#include "slab.h"

#include <assert.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/fanq_error.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SLAB_POISONS 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define SLAB_POISONS 1
#endif
#ifdef SLAB_POISONS
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(data, length) ((void)(data), (void)(length))
#define ASAN_UNPOISON_MEMORY_REGION(data, length) ((void)(data), (void)(length))
#endif

enum {
    ALIGNMENT = alignof(max_align_t),
    CHUNK_BYTES = 16 * 1024, /* unless that is fewer than CHUNK_OBJECTS_MIN */
    CHUNK_OBJECTS_MIN = 8
};

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

void slab_init(struct slab *s, size_t object_bytes)
{
    assert(object_bytes > 0);
    *s = (struct slab){.object_bytes = aligned(object_bytes)};
}

void slab_close(struct slab *s)
{
    while (s->chunks != NULL) {
        void *chunk = s->chunks;
        memcpy(&s->chunks, chunk, sizeof s->chunks);
        free(chunk);
    }
    slab_init(s, s->object_bytes);
}

static void push_free(struct slab *s, void *object)
{
    memcpy(object, &s->free, sizeof s->free);
    s->free = object;
    s->free_count++;
    ASAN_POISON_MEMORY_REGION((char *)object + sizeof(void *), s->object_bytes - sizeof(void *));
}

/* Adds a chunk of at least `count` objects. */
static int grow(struct slab *s, size_t count)
{
    size_t header_bytes = aligned(sizeof(void *));
    size_t usual = (CHUNK_BYTES - header_bytes) / s->object_bytes;

    if (usual < CHUNK_OBJECTS_MIN)
        usual = CHUNK_OBJECTS_MIN;
    if (count < usual)
        count = usual;
    if (count > (SIZE_MAX - header_bytes) / s->object_bytes)
        return FANQ_ERR_NOMEM;
    char *chunk = malloc(header_bytes + count * s->object_bytes);
    if (chunk == NULL)
        return FANQ_ERR_NOMEM;
    memcpy(chunk, &s->chunks, sizeof s->chunks);
    s->chunks = chunk;
    while (count-- > 0) /* backwards, so that objects are taken in the order of their addresses */
        push_free(s, chunk + header_bytes + count * s->object_bytes);
    return 0;
}

int slab_reserve(struct slab *s, size_t count)
{
    return count <= s->free_count ? 0 : grow(s, count - s->free_count);
}

void *slab_take(struct slab *s)
{
    void *object;

    if (s->free == NULL && grow(s, 1) != 0)
        return NULL;
    object = s->free;
    memcpy(&s->free, object, sizeof s->free);
    s->free_count--;
    s->live_count++;
    ASAN_UNPOISON_MEMORY_REGION(object, s->object_bytes);
    return memset(object, 0, s->object_bytes);
}

void slab_give(struct slab *s, void *object)
{
    assert(object != NULL && s->live_count > 0);
    s->live_count--;
    push_free(s, object);
}
