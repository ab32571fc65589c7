/* A ring between two threads: one puts items in, the other takes them out, without a lock.
 *
 * Place:  ring_push() on one thread, ring_pop() on one other, for the ring's whole life. Neither waits.
 * Memory: items are copied in and out. A push releases, a pop acquires: what the pusher wrote before is seen by the popper
 *         after, and what the popper did before a slot came back, by the pusher. Head and tail lie in cache lines of their
 *         own, and each side keeps a copy of the other's, so that it looks only when it seems full or empty. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ring;

/* slots: a power of two. NULL: out of memory. */
struct ring *ring_new(size_t item_bytes, size_t slots);
void ring_free(struct ring *r); /* accepts NULL */

/* False: full. */
bool ring_push(struct ring *r, const void *item);

/* False: empty. */
bool ring_pop(struct ring *r, void *ret_item);

/* Whether there is something to pop; for the popper. */
bool ring_any(struct ring *r);
