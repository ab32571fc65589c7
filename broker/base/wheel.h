/* A hierarchical timing wheel: any number of timers, one millisecond of resolution, O(1) to set and to stop.
 *
 * Eight levels of 64 slots, each 64 times as coarse as the one below: 2^48 ms. Timers come out in order of their due
 * time, and those of one millisecond in the order they were set: equal histories give equal orders. No allocation,
 * no clock: it is told the time. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "list.h"

enum { WHEEL_LEVELS = 8, WHEEL_SLOTS = 64 };

struct timer {
    struct list link;
    uint64_t due_ms;
    int kind; /* the owner's: tells what the timer is embedded in */
};

struct wheel {
    uint64_t now_ms;
    uint64_t occupied[WHEEL_LEVELS]; /* a bit a slot */
    struct list slots[WHEEL_LEVELS][WHEEL_SLOTS];
    struct list due; /* came due, not yet taken */
};

#define WHEEL_NEVER UINT64_MAX

void wheel_init(struct wheel *w, uint64_t now_ms);
void timer_init(struct timer *t, int kind);
static inline bool timer_running(const struct timer *t)
{
    return list_linked(&t->link);
}

/* Sets or resets t; a due time that has passed comes out at the next wheel_take(). */
void wheel_set(struct wheel *w, struct timer *t, uint64_t due_ms);
void wheel_stop(struct wheel *w, struct timer *t); /* harmless when it is not running */

/* Moves the time forward (never back) and gives, one a call, the timers due at or before now_ms; NULL when there are no
 * more. The timer given is stopped and may be set again at once; a timer set for now_ms or earlier while taking comes out in the same
 * round of calls. */
struct timer *wheel_take(struct wheel *w, uint64_t now_ms);

/* A time at or before which the next timer is due, never earlier than it must be by more than a level's slot: the
 * caller sleeps until then and asks again. WHEEL_NEVER without timers. */
uint64_t wheel_next_ms(const struct wheel *w);
