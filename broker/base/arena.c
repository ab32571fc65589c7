/* Pieces come from the current chunk; those before it in the list are full, those behind it empty. A new
 * chunk is twice as large as the one before it, up to a limit, so that a few chunks serve any turn. */
#include "arena.h"

#include <assert.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>

enum {
    ALIGNMENT = alignof(max_align_t),
    CHUNK_BYTES_MIN = 16 * 1024,
    CHUNK_BYTES_MAX = 1024 * 1024, /* unless one piece needs more */
    SPARE_BYTES_MAX = 4 * 1024 * 1024
};

/* Where a chunk's bytes begin. */
enum { HEADER_BYTES = (sizeof(struct arena_chunk) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT };

void arena_init(struct arena *a)
{
    *a = (struct arena){0};
}

static void free_chunks(struct arena_chunk *chunk)
{
    while (chunk != NULL) {
        struct arena_chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
}

void arena_close(struct arena *a)
{
    free_chunks(a->first);
    arena_init(a);
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static struct arena_chunk *new_chunk(const struct arena *a, size_t size)
{
    size_t chunk_bytes = CHUNK_BYTES_MIN;
    struct arena_chunk *chunk;

    if (size > SIZE_MAX / 2)
        return NULL;
    if (a->current != NULL && a->current->size < CHUNK_BYTES_MAX)
        chunk_bytes = larger(CHUNK_BYTES_MIN, a->current->size * 2);
    else if (a->current != NULL)
        chunk_bytes = CHUNK_BYTES_MAX;
    chunk_bytes = larger(chunk_bytes, size);
    chunk = malloc(HEADER_BYTES + chunk_bytes);
    if (chunk != NULL)
        *chunk = (struct arena_chunk){.size = chunk_bytes};
    return chunk;
}

/* Takes a kept chunk with room for size out of those behind the current one; NULL when there is none. */
static struct arena_chunk *kept_chunk(struct arena *a, size_t size)
{
    struct arena_chunk **at = a->current != NULL ? &a->current->next : &a->first;

    for (; *at != NULL; at = &(*at)->next) {
        struct arena_chunk *chunk = *at;
        if (chunk->size >= size) {
            *at = chunk->next;
            return chunk;
        }
    }
    return NULL;
}

static void make_current(struct arena *a, struct arena_chunk *chunk)
{
    struct arena_chunk **place = a->current != NULL ? &a->current->next : &a->first;

    chunk->next = *place;
    chunk->used = 0;
    *place = chunk;
    a->current = chunk;
}

void *arena_take(struct arena *a, size_t size)
{
    struct arena_chunk *chunk = a->current;
    char *piece;

    if (size > SIZE_MAX - ALIGNMENT)
        return NULL;
    size = (larger(size, 1) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (chunk == NULL || chunk->size - chunk->used < size) {
        chunk = kept_chunk(a, size);
        if (chunk == NULL)
            chunk = new_chunk(a, size);
        if (chunk == NULL)
            return NULL;
        make_current(a, chunk);
    }
    piece = (char *)chunk + HEADER_BYTES + chunk->used;
    chunk->used += size;
    a->taken_bytes += size;
    return piece;
}

void arena_trim(struct arena *a, void *piece, size_t size)
{
    struct arena_chunk *chunk = a->current;
    size_t used = (size_t)((char *)piece - ((char *)chunk + HEADER_BYTES));

    used += (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    assert(used <= chunk->used);
    a->taken_bytes -= chunk->used - used;
    chunk->used = used;
}

/* Of the chunks that the round did not reach, keeps what may lie idle: a burst is not paid for for ever. */
static void free_spares(struct arena *a)
{
    struct arena_chunk *last = a->current;
    size_t spare_bytes = 0;

    while (last->next != NULL && spare_bytes + last->next->size <= SPARE_BYTES_MAX) {
        last = last->next;
        spare_bytes += last->size;
    }
    free_chunks(last->next);
    last->next = NULL;
}

void arena_reset(struct arena *a)
{
    if (a->current != NULL)
        free_spares(a);
    a->taken_bytes = 0;
    a->current = a->first;
    if (a->current != NULL)
        a->current->used = 0; /* those behind it are emptied when they become current */
}
