#include "histogram.h"

#include <string.h>

void histogram_init(struct histogram *h)
{
    memset(h, 0, sizeof *h);
    h->min = UINT64_MAX;
}

/* How often the value must be halved to lie in [STEPS, LINEAR). */
static unsigned doublings_of(uint64_t value)
{
    unsigned bits = 64 - (unsigned)__builtin_clzll(value | 1);
    unsigned linear_bits = 10;

    _Static_assert(HISTOGRAM_LINEAR == 1 << 10, "linear_bits");
    return bits > linear_bits ? bits - linear_bits : 0;
}

static unsigned bucket_of(uint64_t value)
{
    unsigned doublings = doublings_of(value);

    if (doublings == 0)
        return (unsigned)value;
    if (doublings > HISTOGRAM_DOUBLINGS)
        return HISTOGRAM_BUCKETS - 1;
    return HISTOGRAM_LINEAR + (doublings - 1) * HISTOGRAM_STEPS + (unsigned)(value >> doublings) -
           HISTOGRAM_STEPS;
}

/* The largest value that falls into the bucket. */
static uint64_t bucket_top(unsigned bucket)
{
    unsigned doublings, step;

    if (bucket < HISTOGRAM_LINEAR)
        return bucket;
    doublings = (bucket - HISTOGRAM_LINEAR) / HISTOGRAM_STEPS + 1;
    step = (bucket - HISTOGRAM_LINEAR) % HISTOGRAM_STEPS + HISTOGRAM_STEPS;
    return ((uint64_t)(step + 1) << doublings) - 1;
}

void histogram_add(struct histogram *h, uint64_t value, uint64_t times)
{
    h->count += times;
    h->buckets[bucket_of(value)] += times;
    if (value > h->max)
        h->max = value;
    if (value < h->min)
        h->min = value;
}

void histogram_add_corrected(struct histogram *h, uint64_t value, uint64_t interval)
{
    histogram_add(h, value, 1);
    while (interval > 0 && value >= 2 * interval) {
        value -= interval;
        histogram_add(h, value, 1);
    }
}

void histogram_merge(struct histogram *h, const struct histogram *other)
{
    h->count += other->count;
    if (other->max > h->max)
        h->max = other->max;
    if (other->min < h->min)
        h->min = other->min;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        h->buckets[i] += other->buckets[i];
}

uint64_t histogram_quantile(const struct histogram *h, double fraction)
{
    uint64_t wanted = (uint64_t)(fraction * (double)h->count + 0.5);
    uint64_t seen = 0;

    if (h->count == 0)
        return 0;
    if (wanted == 0)
        wanted = 1;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen >= wanted)
            return bucket_top(i) < h->max ? bucket_top(i) : h->max;
    }
    return h->max;
}
