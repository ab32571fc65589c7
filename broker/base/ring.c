/* Both indexes count up for ever: tail, what was ever pushed; head, what was ever popped. Their difference is what the ring
 * holds, also when they have gone round, since the slots are a power of two.
 *
 *     pusher                               popper
 *     head (acquire, when it seems full)   tail (acquire, when it seems empty)
 *     copy into slots[tail]                copy out of slots[head]
 *     tail + 1 (release) ─────────────>    head + 1 (release)
 *            <─────────────────────────────────┘
 *
 * A slot belongs to the popper from the release of tail to the release of head, else to the pusher, so that the copies
 * themselves need not be atomic. An old value of the other's index is always safe: the ring seems fuller, or emptier, than
 * it is.
 *
 * What touches shared memory goes through three macros, which a test replaces in order to run all interleavings. */
#include "ring.h"

#include <assert.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#ifndef RING_LOAD
#define RING_LOAD(index, order) atomic_load_explicit(index, order)
#define RING_STORE(index, value, order) atomic_store_explicit(index, value, order)
#define RING_COPY(to, from, bytes) memcpy(to, from, bytes)
#endif

enum { LINE_BYTES = 128 }; /* two cache lines: processors fetch them in pairs */

struct ring {
    /* Never changed, and so in the cache of both. */
    size_t item_bytes, slot_count;
    uint8_t *slots;
    void *memory; /* malloc's */

    /* The pusher's. */
    alignas(LINE_BYTES) _Atomic size_t tail;
    size_t head_seen; /* the head when it was last looked at */

    /* The popper's. */
    alignas(LINE_BYTES) _Atomic size_t head;
    size_t tail_seen;
};

struct ring *ring_new(size_t item_bytes, size_t slots)
{
    struct ring *r;
    void *memory;

    assert(item_bytes > 0 && slots > 0 && (slots & (slots - 1)) == 0);
    if (slots > (SIZE_MAX - sizeof *r - LINE_BYTES) / item_bytes)
        return NULL;
    memory = malloc(sizeof *r + slots * item_bytes + LINE_BYTES);
    if (memory == NULL)
        return NULL;
    r = (struct ring *)(((uintptr_t)memory + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES);
    *r = (struct ring){
        .item_bytes = item_bytes, .slot_count = slots, .slots = (uint8_t *)(r + 1), .memory = memory};
    return r;
}

void ring_free(struct ring *r)
{
    if (r != NULL)
        free(r->memory);
}

static uint8_t *slot_at(const struct ring *r, size_t index)
{
    return r->slots + (index & (r->slot_count - 1)) * r->item_bytes;
}

bool ring_push(struct ring *r, const void *item)
{
    size_t tail = RING_LOAD(&r->tail, memory_order_relaxed); /* only we write it */

    if (tail - r->head_seen == r->slot_count) {
        /* Acquire: the popper has copied the slots below head out before we write over them. */
        r->head_seen = RING_LOAD(&r->head, memory_order_acquire);
        if (tail - r->head_seen == r->slot_count)
            return false;
    }
    RING_COPY(slot_at(r, tail), item, r->item_bytes);
    /* Release: who sees the new tail sees the item, and all that was written before the push. */
    RING_STORE(&r->tail, tail + 1, memory_order_release);
    return true;
}

/* Whether there is something at head; for the popper. */
static bool seen_any(struct ring *r, size_t head)
{
    if (r->tail_seen == head)
        /* Acquire: pairs with the release of a push, so that its item is there to be copied. */
        r->tail_seen = RING_LOAD(&r->tail, memory_order_acquire);
    return r->tail_seen != head;
}

bool ring_pop(struct ring *r, void *ret_item)
{
    size_t head = RING_LOAD(&r->head, memory_order_relaxed); /* only we write it */

    if (!seen_any(r, head))
        return false;
    RING_COPY(ret_item, slot_at(r, head), r->item_bytes);
    /* Release: our copy is done before the pusher can see that the slot is free. */
    RING_STORE(&r->head, head + 1, memory_order_release);
    return true;
}

bool ring_any(struct ring *r)
{
    return seen_any(r, RING_LOAD(&r->head, memory_order_relaxed)); /* only we write it */
}
