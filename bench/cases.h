/* The measurements. Each prints its rows and ends by itself; each compares two things in turn, round by
 * round, because a machine's speed changes from second to second while the ratio of neighbours does not. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "process.h"

enum { ROUNDS_MIN = 5, ROUNDS_MAX = 101 };

struct case_options {
    const char *fanqd; /* for cases that start brokers of their own */
    const char *url;   /* of the broker under test, which keeps everything in memory */
    clockid_t broker_clock;
    bool full;
    uint32_t round_count;
    double seconds; /* that count, of each round; 0: the case's own choice */

    /* One cell instead of the usual ones; 0: not given. */
    bool has_size;
    size_t size;
    uint32_t subscriber_count;
    uint32_t batch;
    double rate; /* messages a second, where a case has one */
};

/* Publish to a topic, push to N queues' subscribers; against the relay. */
int case_fanout(const struct case_options *options, struct bench_error *error);

/* Receive in batches and delete; against the same with auto-delete. */
int case_queue(const struct case_options *options, struct bench_error *error);

/* 64 connections that send, receive and delete one message at a time. */
int case_queue_single(const struct case_options *options, struct bench_error *error);

/* From a send to the waking of an idle long poll; against the echo. */
int case_wake(const struct case_options *options, struct bench_error *error);

/* Publish to a topic with 1,000 idle queues; against a topic with one. */
int case_idle(const struct case_options *options, struct bench_error *error);

/* From publish to receipt at a given rate; against the relay. */
int case_latency(const struct case_options *options, struct bench_error *error);

/* Publish to a topic, push to the subscribers of N queues, with everything on the disk; against the disk, and
 * against the same in memory. */
int case_durable(const struct case_options *options, struct bench_error *error);

/* A publisher that waits for each answer; against the same way without a broker. */
int case_durable_latency(const struct case_options *options, struct bench_error *error);

/* From the start of a broker that was killed to its first answer. */
int case_recovery(const struct case_options *options, struct bench_error *error);

/* From thread to thread through the broker's ring; against a queue with a mutex. */
int case_ring(const struct case_options *options, struct bench_error *error);
