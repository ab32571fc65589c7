/* Three slots: the putter fills one, the taker reads one, and one lies between them. To put is to fill a slot and exchange it
 * for the one between; to take, the same from the other side. So each slot belongs to one thread at a time, or lies
 * between, and nobody waits. */
#include "mailbox.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 3, SLOT_MASK = 3, FRESH = 4 /* the slot between was put and not taken */ };

struct mailbox {
    size_t item_bytes;
    atomic_uint between; /* the number of a slot, perhaps FRESH */
    unsigned putting;    /* the putter's */
    unsigned taking;     /* the taker's */
    uint8_t slots[];
};

struct mailbox *mailbox_new(size_t item_bytes)
{
    struct mailbox *m;

    assert(item_bytes > 0 && item_bytes < SIZE_MAX / 2 / SLOTS);
    m = malloc(sizeof(*m) + SLOTS * item_bytes);
    if (m == NULL)
        return NULL;
    m->item_bytes = item_bytes;
    m->putting = 0;
    atomic_init(&m->between, 1);
    m->taking = 2;
    return m;
}

void mailbox_free(struct mailbox *m)
{
    free(m);
}

void mailbox_put(struct mailbox *m, const void *item)
{
    memcpy(m->slots + m->putting * m->item_bytes, item, m->item_bytes);
    /* Release: who takes the slot finds it filled. Acquire: the taker was done with the one that comes back. */
    m->putting = atomic_exchange_explicit(&m->between, m->putting | FRESH, memory_order_acq_rel) & SLOT_MASK;
}

bool mailbox_take(struct mailbox *m, void *ret_item)
{
    /* Relaxed: only the exchange that may follow hands anything over. */
    if (!(atomic_load_explicit(&m->between, memory_order_relaxed) & FRESH))
        return false;
    /* Acquire and release as in mailbox_put(), with the sides swapped. It is FRESH still: nobody else takes. */
    m->taking = atomic_exchange_explicit(&m->between, m->taking, memory_order_acq_rel) & SLOT_MASK;
    memcpy(ret_item, m->slots + m->taking * m->item_bytes, m->item_bytes);
    return true;
}
