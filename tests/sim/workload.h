/* Clients that do anything at all, from a seed.
 *
 * Each seed has its own temper: how many queues, topics and connections there are, how large messages
 * are, which requests are common, rare or missing, how time passes, which faults happen. So rare
 * combinations come together in some seed, which they would not if every run did a bit of everything. */
#pragma once

#include <stdint.h>
#include <stdio.h>

struct workload_options {
    uint64_t seed;
    uint32_t ops; /* requests, and what happens to connections */
    FILE *trace;  /* NULL: none */
};

struct workload_result {
    uint64_t turns, published, delivered, deleted, virtual_ms;
};

/* Runs one seed to the end; aborts with a message when a promise is broken. */
void workload_run(const struct workload_options *options, struct workload_result *ret_result);
