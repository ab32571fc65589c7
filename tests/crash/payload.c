#include "payload.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "tests/lib/random.h"

struct head {
    uint64_t hash; /* of all behind it */
    uint64_t counter;
    uint32_t producer;
    uint32_t bytes;
};

_Static_assert(sizeof(struct head) == PAYLOAD_BYTES_MIN, "a body is at least its head");

static uint64_t hash_of(const uint8_t *at, size_t bytes)
{
    return XXH3_64bits(at + sizeof(uint64_t), bytes - sizeof(uint64_t));
}

void payload_write(uint8_t *at, size_t bytes, uint32_t producer, uint64_t counter)
{
    struct head head = {.counter = counter, .producer = producer, .bytes = (uint32_t)bytes};
    struct random noise = {counter ^ (uint64_t)producer << 48};

    for (size_t i = sizeof(head); i < bytes; i += sizeof(uint64_t)) {
        uint64_t word = random_next(&noise);
        memcpy(at + i, &word, bytes - i < sizeof(word) ? bytes - i : sizeof(word));
    }
    memcpy(at, &head, sizeof(head));
    head.hash = hash_of(at, bytes);
    memcpy(at, &head, sizeof(head));
}

bool payload_read(const uint8_t *at, size_t bytes, uint32_t *ret_producer, uint64_t *ret_counter)
{
    struct head head;

    if (bytes < sizeof(head))
        return false;
    memcpy(&head, at, sizeof(head));
    if (head.bytes != bytes || head.hash != hash_of(at, bytes))
        return false;
    *ret_producer = head.producer;
    *ret_counter = head.counter;
    return true;
}
