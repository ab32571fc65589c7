#include "part.h"

#include <string.h>

#include "proto/record.h"

static bool is_wanted(const uint64_t *bits, uint64_t bit)
{
    return (bits[bit / 64] >> (bit % 64) & 1) != 0;
}

struct part part_find(const uint8_t *records, uint32_t count, const uint64_t *bits, uint64_t shift)
{
    struct part p = {.end = count};
    const uint8_t *at = records;

    while (!is_wanted(bits, shift + p.first))
        p.first++;
    while (!is_wanted(bits, shift + p.end - 1))
        p.end--;
    for (uint32_t i = 0; i < p.end; i++) {
        uint32_t length = (uint32_t)fanq_record_length(at);
        if (i < p.first)
            p.front_bytes += length;
        else
            p.bytes += is_wanted(bits, shift + i) ? length : FANQ_RECORD_PLAIN_BYTES;
        at += length;
    }
    return p;
}

uint8_t *part_put(uint8_t *to, const struct part *part, const uint8_t *records, const uint64_t *bits,
                  uint64_t shift)
{
    static const uint8_t nothing[FANQ_RECORD_PLAIN_BYTES] = {0xc6, 0, 0, 0, 1, 0};
    const uint8_t *at = records + part->front_bytes;

    for (uint32_t i = part->first; i < part->end; i++) {
        size_t length = fanq_record_length(at);
        bool wanted = is_wanted(bits, shift + i);
        memcpy(to, wanted ? at : nothing, wanted ? length : sizeof nothing);
        to += wanted ? length : sizeof nothing;
        at += length;
    }
    return to;
}
