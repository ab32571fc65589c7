/* Random numbers that are the same on every machine: splitmix64. A run of the simulation is its seed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct rng {
    uint64_t state;
};

static inline uint64_t rng_mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static inline uint64_t rng_next(struct rng *r)
{
    return rng_mix(r->state += 0x9e3779b97f4a7c15u);
}

/* 0 to bound - 1. */
static inline uint32_t rng_below(struct rng *r, uint32_t bound)
{
    return (uint32_t)((rng_next(r) >> 32) * bound >> 32);
}

/* low to high, both included. */
static inline uint32_t rng_between(struct rng *r, uint32_t low, uint32_t high)
{
    return low + rng_below(r, high - low + 1);
}

static inline bool rng_chance(struct rng *r, uint32_t percent)
{
    return rng_below(r, 100) < percent;
}

/* Mostly small, now and then up to high: what clients ask for. */
static inline uint32_t rng_skewed(struct rng *r, uint32_t low, uint32_t high)
{
    uint32_t span = (high - low) >> rng_below(r, 12);

    return low + rng_below(r, span + 1);
}
