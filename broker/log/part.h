/* A part of a block: from the first record that is wanted to the last. In a copy, those in between that are not wanted have
 * the shortest record there is, so that numbers stay what they are. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct part {
    uint32_t first, end;
    uint32_t front_bytes; /* of the records before */
    uint32_t bytes;       /* of a copy's records */
};

/* Bit `shift` + i of bits says whether record i is wanted; at least one is. */
struct part part_find(const uint8_t *records, uint32_t count, const uint64_t *bits, uint64_t shift);

/* Puts the copy of the records; gives its end. */
uint8_t *part_put(uint8_t *to, const struct part *part, const uint8_t *records, const uint64_t *bits,
                  uint64_t shift);
