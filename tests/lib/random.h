/* Numbers for randomized tests: the same on every machine for a seed (splitmix64). */
#pragma once

#include <stdint.h>

struct random {
    uint64_t state;
};

static inline uint64_t random_next(struct random *r)
{
    uint64_t x = r->state += 0x9e3779b97f4a7c15u;

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* 0 to bound - 1. */
static inline uint64_t random_below(struct random *r, uint64_t bound)
{
    return random_next(r) % bound;
}
