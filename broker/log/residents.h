/* Blocks in memory in the order in which they came: the oldest leave first.
 *
 * A block that is freed, or moved, stays in the row until it is the oldest or the row would grow: then those that
 * are not there any more are taken out. So blocks that live for a short time cost little more than putting
 * them in. The loop's thread alone. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct resident {
    uint64_t stream, seq;
    uint64_t lsn;
    const uint8_t *records;
};

struct residents {
    struct resident *items;
    size_t head, count, capacity; /* capacity is a power of two, or 0 */
};

/* Whether the block is where it was. */
typedef bool resident_is_there(void *context, const struct resident *r);

void residents_close(struct residents *r);

/* Makes room for `count` more. 0 or FANQ_ERR_NOMEM. */
int residents_reserve(struct residents *r, size_t count, resident_is_there *is_there, void *context);

void residents_push(struct residents *r, struct resident resident); /* room was reserved */

/* The oldest; NULL: there is none. */
const struct resident *residents_first(const struct residents *r);
void residents_pop(struct residents *r);
