/* Requests by id: linear probing, at most half full.
 *
 * Entries stand in the order of their homes (an entry gives way to one that is farther from home), so
 * deletion moves entries back only as far as the first that is at home, and leaves no tombstones. Thousands
 * of consecutive ids are one cluster in which all are at home: everything takes one step. */
#include "client.h"

#include <assert.h>

enum { SLOTS_MIN = 64 };

/* How far the entry in slot `at` is from its home. */
static size_t distance(const struct slot *slots, size_t mask, size_t at)
{
    return (at - slots[at].id) & mask;
}

static void put(struct slot *slots, size_t mask, struct slot slot)
{
    size_t at = slot.id & mask;

    for (size_t far = 0; slots[at].request != NULL; far++, at = (at + 1) & mask) {
        size_t resident_far = distance(slots, mask, at);

        if (resident_far < far) {
            struct slot resident = slots[at];

            slots[at] = slot;
            slot = resident;
            far = resident_far;
        }
    }
    slots[at] = slot;
}

int fanq_table_reserve(const struct memory *memory, struct table *table)
{
    size_t slot_count = table->slots != NULL ? table->mask + 1 : 0;
    size_t new_count = slot_count > 0 ? slot_count * 2 : SLOTS_MIN;

    if ((table->count + 1) * 2 <= slot_count)
        return 0;
    struct slot *slots = fanq_memory_zeroed(memory, new_count * sizeof(*slots));
    if (slots == NULL)
        return FANQ_ERR_NOMEM;
    for (size_t i = 0; i < slot_count; i++)
        if (table->slots[i].request != NULL)
            put(slots, new_count - 1, table->slots[i]);
    memory_free(memory, table->slots);
    table->slots = slots;
    table->mask = new_count - 1;
    return 0;
}

void fanq_table_put(struct table *table, struct request *request)
{
    assert((table->count + 1) * 2 <= table->mask + 1);
    put(table->slots, table->mask, (struct slot){request->id, request});
    table->count++;
}

/* The slot of id, or SIZE_MAX. It would stand before the first entry that is nearer to its home. */
static size_t find(const struct table *table, uint64_t id)
{
    size_t at = id & table->mask;

    if (table->count == 0)
        return SIZE_MAX;
    for (size_t far = 0; table->slots[at].request != NULL; far++, at = (at + 1) & table->mask) {
        if (table->slots[at].id == id)
            return at;
        if (distance(table->slots, table->mask, at) < far)
            return SIZE_MAX;
    }
    return SIZE_MAX;
}

struct request *fanq_table_find(const struct table *table, uint64_t id)
{
    size_t at = find(table, id);

    return at != SIZE_MAX ? table->slots[at].request : NULL;
}

void fanq_table_remove(struct table *table, uint64_t id)
{
    size_t hole = find(table, id);

    if (hole == SIZE_MAX)
        return;
    table->count--;
    for (size_t at = (hole + 1) & table->mask;
         table->slots[at].request != NULL && distance(table->slots, table->mask, at) > 0;
         at = (at + 1) & table->mask) {
        table->slots[hole] = table->slots[at];
        hole = at;
    }
    table->slots[hole].request = NULL;
}
