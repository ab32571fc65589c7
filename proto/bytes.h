/* Big-endian numbers at any address, and how many bytes msgpack's headers take. Private to proto/. Pure; any
 * thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t fanq_load_16(const uint8_t *at)
{
    return (uint16_t)((unsigned)at[0] << 8 | at[1]);
}

static inline uint32_t fanq_load_32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* In one expression, which compilers know to be one load. */
static inline uint64_t fanq_load_64(const uint8_t *at)
{
    return (uint64_t)at[0] << 56 | (uint64_t)at[1] << 48 | (uint64_t)at[2] << 40 | (uint64_t)at[3] << 32 |
           (uint64_t)at[4] << 24 | (uint64_t)at[5] << 16 | (uint64_t)at[6] << 8 | at[7];
}

static inline void fanq_store_32(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 24);
    at[1] = (uint8_t)(value >> 16);
    at[2] = (uint8_t)(value >> 8);
    at[3] = (uint8_t)value;
}

static inline size_t fanq_uint_bytes(uint64_t value)
{
    if (value < 0x80)
        return 1;
    if (value <= UINT8_MAX)
        return 2;
    if (value <= UINT16_MAX)
        return 3;
    return value <= UINT32_MAX ? 5 : 9;
}

/* An array's header; a map's is as long. */
static inline size_t fanq_array_header_bytes(uint32_t count)
{
    if (count < 16)
        return 1;
    return count <= UINT16_MAX ? 3 : 5;
}

static inline size_t fanq_str_header_bytes(size_t length)
{
    if (length < 32)
        return 1;
    if (length <= UINT8_MAX)
        return 2;
    return length <= UINT16_MAX ? 3 : 5;
}

static inline size_t fanq_bin_header_bytes(size_t length)
{
    if (length <= UINT8_MAX)
        return 2;
    return length <= UINT16_MAX ? 3 : 5;
}
