/* The broker's figures by name, as STATS answers them. Loop thread only. */
#pragma once

#include "proto/reply.h"

struct shell;

enum {
    STATS_COUNT_MAX = 64,
    STATS_ENTRY_BYTES_MAX = 64 /* name and value, packed */
};

/* Fills stats (of STATS_COUNT_MAX) and gives how many there are. Names are static. */
uint32_t stats_collect(const struct shell *s, struct fanq_stat *ret_stats);
