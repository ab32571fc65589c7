/* What the shell does beside its turns, a little each time: the tail is swept when much more is held than lives, or
 * memory is short (tail_sweep()). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct shell;

struct upkeep {
    bool sweeping;
    uint64_t rest_until_ms; /* no new round before */
    uint64_t spent_ns;      /* by this round */
    uint64_t swept_bytes;   /* by all rounds before this one */
};

/* Between batches, when nothing refers to bytes in the tail but pins. Some 2 ms at most. */
void upkeep_run(struct shell *s);

/* When it wants to go on, in monotonic milliseconds; UINT64_MAX: not before something happens. */
uint64_t upkeep_next_ms(const struct shell *s);
