/* A hash map from bytes to pointers, for names. Open addressing, keyed XXH3 so that nobody can choose colliding names.
 * Never iterated: order is the tree's business. Keys are borrowed from the values' owners. Pure but for memory. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct map_slot {
    uint64_t hash;
    const void *key; /* NULL: free */
    uint32_t key_length;
    void *value;
};

struct map {
    struct map_slot *slots;
    size_t slot_count; /* a power of two, or 0 */
    size_t count;
    uint64_t seed;
    struct map_slot *last; /* found by map_get_again(); NULL: none, or slots moved since */
};

void map_init(struct map *m, uint64_t seed);
void map_close(struct map *m);

/* Makes room for one more entry. 0 or FANQ_ERR_NOMEM; map_put() cannot fail after it. */
int map_reserve(struct map *m);

/* Adds a key that is not in the map; map_reserve() came before. */
void map_put(struct map *m, const void *key, uint32_t key_length, void *value);
void *map_get(const struct map *m, const void *key, uint32_t key_length); /* NULL when absent */

/* The same for keys that come many times in a row: looks at the one found last before it hashes. */
void *map_get_again(struct map *m, const void *key, uint32_t key_length);
void map_remove(struct map *m, const void *key, uint32_t key_length);     /* backward shift, no tombstones */
