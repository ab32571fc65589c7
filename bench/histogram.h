/* Counts of durations, to three significant digits, in fixed memory.
 *
 * Buckets are linear inside each power of two: 1,024 of them from 0 to 1,023, then 512 for every doubling, so
 * a value is known to within 1/512 of itself. Values are nanoseconds by habit, nothing here depends on it.
 *
 * A load that waits for each answer before it sends again hides slow answers: while one request is stuck,
 * those that should have been sent are not, and never counted ("coordinated omission"). There are two cures,
 * and both are here: stamp a message with the time at which it was due and not when it was sent (the
 * generator does that for a given rate), or let histogram_add_corrected() fill in the requests that were left
 * out. */
#pragma once

#include <stdint.h>

enum {
    HISTOGRAM_LINEAR = 1024,                /* exact below this */
    HISTOGRAM_STEPS = HISTOGRAM_LINEAR / 2, /* buckets in each doubling above */
    HISTOGRAM_DOUBLINGS = 30,               /* values up to 2^40 - 1: 18 minutes in nanoseconds */
    HISTOGRAM_BUCKETS = HISTOGRAM_LINEAR + HISTOGRAM_DOUBLINGS * HISTOGRAM_STEPS
};

struct histogram {
    uint64_t count;
    uint64_t max;
    uint64_t min;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_init(struct histogram *h);

/* Counts `value` `times` times; values beyond the last bucket are counted there. */
void histogram_add(struct histogram *h, uint64_t value, uint64_t times);

/* Counts a value of a closed loop that should have sent every `interval`: value, and value - interval, value
 * - 2 * interval, ... down to interval, for the requests that were not sent meanwhile. 0 as interval: only
 * value. */
void histogram_add_corrected(struct histogram *h, uint64_t value, uint64_t interval);

void histogram_merge(struct histogram *h, const struct histogram *other);

/* The smallest value that `fraction` (0 to 1) of the counted do not exceed, as the upper end of its bucket
 * but never above the largest counted. 0 when nothing was counted. */
uint64_t histogram_quantile(const struct histogram *h, double fraction);
