/* A thread that works through what a ring brings.
 *
 * The work is a function that does some of what there is and says whether it did anything; the thread calls it over and
 * over, spins for a moment when there was nothing, and then sleeps until it is woken. A simulation calls the same function
 * without a thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct worker;

struct worker_options {
    const char *name; /* of the thread, 15 characters at most; borrowed */
    bool (*work)(void *context);
    void *context;
    uint32_t spin_us; /* after work, before it sleeps */

    /* NULL, or: how long it may sleep at most, in milliseconds, before it works by itself; UINT32_MAX: until it is woken.
     * Called on the thread before it sleeps. */
    uint32_t (*sleep_ms)(void *context);
};

/* 0 or FANQ_ERR_NOMEM. Signals are blocked on the thread. */
int worker_start(const struct worker_options *options, struct worker **ret_worker);

/* Something was pushed: callable from one thread, the loop's; cheap when the thread is awake. */
void worker_wake(struct worker *w);

/* Waits until work() finds nothing more to do, ends the thread, and frees w; accepts NULL. */
void worker_stop(struct worker *w);
