/* Holding the files still, so that they can be copied while the broker goes on.
 *
 * Commits, spares and reads go on: they touch nothing below the end that was named. What would (checkpoints, indexes, moves,
 * and taking segments away) rests until the last holder is gone. What of it the store has in hand when a hold begins comes to
 * its end first. */
#include "log_state.h"

#include <assert.h>

uint64_t log_hold(struct log *l)
{
    l->holders++;
    relocation_stand_aside(l);
    return l->end_lsn;
}

void log_unhold(struct log *l)
{
    assert(l->holders > 0);
    l->holders--;
}

bool log_is_still(struct log *l, uint64_t end_lsn)
{
    assert(l->holders > 0);
    return log_sync_to(l, end_lsn) && l->chores == 0 && l->checkpoint_state != CHECKPOINT_WRITE &&
           relocation_is_still(l);
}

size_t log_needed_segments(const struct log *l, bool cold, uint64_t end_lsn, uint64_t *ret_numbers)
{
    size_t count = 0;

    for (size_t i = 0; i < l->segment_count; i++) {
        const struct segment_entry *s = &l->segments[i];
        bool begins_behind = !s->cold && s->number * l->directory.segment_bytes >= end_lsn;
        if (s->cold != cold || begins_behind || segment_may_go(l, s))
            continue;
        if (ret_numbers != NULL)
            ret_numbers[count] = s->number;
        count++;
    }
    return count;
}

uint64_t log_directory_id(const struct log *l)
{
    return l->directory.id;
}

uint64_t log_segment_bytes(const struct log *l)
{
    return l->directory.segment_bytes;
}

bool log_is_short(const struct log *l)
{
    return l->disk_short;
}
