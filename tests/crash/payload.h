/* The body of a message of the harness: who sent it, which one it is, and a hash over all of it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PAYLOAD_BYTES_MIN = 24 };

/* Writes a body of `bytes`, at least PAYLOAD_BYTES_MIN. */
void payload_write(uint8_t *at, size_t bytes, uint32_t producer, uint64_t counter);

/* False when it is not whole, or was never a body of ours. */
bool payload_read(const uint8_t *at, size_t bytes, uint32_t *ret_producer, uint64_t *ret_counter);
