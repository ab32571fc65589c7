/* Where a block lies on the disk: an LSN of its header, in a segment of the log or in a cold one. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { PLACE_LSN_BITS = 52 }; /* that the index keeps: 4 PiB of log */

#define PLACE_COLD (UINT64_C(1) << 63)
#define PLACE_NONE UINT64_MAX /* only in memory */

static inline bool place_is_cold(uint64_t place)
{
    return (place & PLACE_COLD) != 0;
}

static inline uint64_t place_lsn(uint64_t place)
{
    return place & ~PLACE_COLD;
}
