/* The newest of what one thread tells another: an item that was not taken is replaced by the next one, so there is always
 * room, and whoever looks late has nothing to catch up with.
 *
 * Place:  mailbox_put() on one thread, mailbox_take() on one other, for the mailbox's whole life. Neither waits.
 * Memory: items are copied in and out; what the putter wrote before is seen by the taker after. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct mailbox;

struct mailbox *mailbox_new(size_t item_bytes); /* NULL: out of memory */
void mailbox_free(struct mailbox *m);           /* accepts NULL */

void mailbox_put(struct mailbox *m, const void *item);

/* The newest item; false: it was taken before, or there was none yet. */
bool mailbox_take(struct mailbox *m, void *ret_item);
