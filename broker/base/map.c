/* Linear probing over a power of two of slots, at most three quarters full. The whole hash stands in the
 * slot: a probe compares keys only when it is very likely right, and growing never reads a key. */
#include "map.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "proto/fanq_error.h"

enum { SLOT_COUNT_MIN = 16 };

void map_init(struct map *m, uint64_t seed)
{
    *m = (struct map){.seed = seed};
}

void map_close(struct map *m)
{
    free(m->slots);
    map_init(m, m->seed);
}

static uint64_t hash_of(const struct map *m, const void *key, uint32_t key_length)
{
    return XXH3_64bits_withSeed(key, key_length, m->seed);
}

static size_t next_slot(const struct map *m, size_t at)
{
    return (at + 1) & (m->slot_count - 1);
}

/* Where the search for a hash begins. */
static size_t home_slot(const struct map *m, uint64_t hash)
{
    return hash & (m->slot_count - 1);
}

static void put_slot(struct map *m, const struct map_slot *slot)
{
    size_t at = home_slot(m, slot->hash);

    while (m->slots[at].key != NULL)
        at = next_slot(m, at);
    m->slots[at] = *slot;
}

int map_reserve(struct map *m)
{
    struct map grown = {.count = m->count, .seed = m->seed};

    if (m->count < m->slot_count / 4 * 3)
        return 0;
    grown.slot_count = m->slot_count > 0 ? m->slot_count * 2 : SLOT_COUNT_MIN;
    grown.slots = calloc(grown.slot_count, sizeof *grown.slots);
    if (grown.slots == NULL)
        return FANQ_ERR_NOMEM;
    for (size_t i = 0; i < m->slot_count; i++) {
        if (m->slots[i].key != NULL)
            put_slot(&grown, &m->slots[i]);
    }
    free(m->slots);
    *m = grown;
    return 0;
}

void map_put(struct map *m, const void *key, uint32_t key_length, void *value)
{
    assert(key != NULL);
    assert(m->count < m->slot_count / 4 * 3);
    put_slot(m, &(struct map_slot){hash_of(m, key, key_length), key, key_length, value});
    m->count++;
}

static bool slot_holds(const struct map_slot *slot, uint64_t hash, const void *key, uint32_t key_length)
{
    return slot->hash == hash && slot->key_length == key_length && memcmp(slot->key, key, key_length) == 0;
}

/* The slot of a key, or NULL. A free slot always ends the search: the map is never full. */
static struct map_slot *find(const struct map *m, const void *key, uint32_t key_length)
{
    uint64_t hash = hash_of(m, key, key_length);

    if (m->slot_count == 0)
        return NULL;
    for (size_t at = home_slot(m, hash); m->slots[at].key != NULL; at = next_slot(m, at)) {
        if (slot_holds(&m->slots[at], hash, key, key_length))
            return &m->slots[at];
    }
    return NULL;
}

void *map_get(const struct map *m, const void *key, uint32_t key_length)
{
    struct map_slot *slot = find(m, key, key_length);

    return slot != NULL ? slot->value : NULL;
}

void *map_get_again(struct map *m, const void *key, uint32_t key_length)
{
    if (m->last == NULL || m->last->key_length != key_length || memcmp(m->last->key, key, key_length) != 0)
        m->last = find(m, key, key_length);
    return m->last != NULL ? m->last->value : NULL;
}

/* Fills the hole by moving back whatever would not be found behind it any more: an entry may move to the hole
 * if the hole lies between its home and where it is. */
void map_remove(struct map *m, const void *key, uint32_t key_length)
{
    struct map_slot *slot = find(m, key, key_length);
    size_t mask = m->slot_count - 1;

    if (slot == NULL)
        return;
    m->last = NULL; /* slots move */
    size_t hole = (size_t)(slot - m->slots);
    for (size_t at = next_slot(m, hole); m->slots[at].key != NULL; at = next_slot(m, at)) {
        size_t from_home = (at - home_slot(m, m->slots[at].hash)) & mask;
        size_t from_hole = (at - hole) & mask;
        if (from_home >= from_hole) {
            m->slots[hole] = m->slots[at];
            hole = at;
        }
    }
    m->slots[hole] = (struct map_slot){0};
    m->count--;
}
