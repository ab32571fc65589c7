/* Text that people type and read: durations, sizes, grouped numbers, ages, nearest matches, base64, UTF-8.
 *
 * Nothing here knows of brokers or of the command line; every function is pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TEXT_NUMBER_BYTES = 32, /* holds any number made here */
    TEXT_TIME_BYTES = 32    /* holds a time stamp */
};

/* "500ms", "30s", "5m", "2h", "3d", "1.5s" and "0". A bare number is refused: it could be seconds or
 * milliseconds. */
bool text_parse_duration(const char *text, int64_t *ret_ms);

/* "512", "64k", "1M", "2G": powers of 1024. False for anything else, and beyond 64 bits. */
bool text_parse_bytes(const char *text, uint64_t *ret_bytes);

/* Decimal digits only. */
bool text_parse_count(const char *text, uint64_t *ret_count);

/* "1,234,567" */
const char *text_grouped(uint64_t number, char ret_text[TEXT_NUMBER_BYTES]);

/* "0", "340ms", "1.2s", "5m", "2.5h", "3d": two figures or so, for tables. */
const char *text_age(uint64_t ms, char ret_text[TEXT_NUMBER_BYTES]);

/* The exact form that text_parse_duration() reads: "1500ms", "30s", "5m". */
const char *text_duration(uint64_t ms, char ret_text[TEXT_NUMBER_BYTES]);

/* "2026-11-21T11:14:11.123Z" */
const char *text_time(uint64_t wall_ms, char ret_text[TEXT_TIME_BYTES]);

/* What somebody may have meant: start from {.word = "snd"}, offer every candidate, read `best`, which is NULL
 * when nothing is near. Candidates are borrowed. */
struct text_nearest {
    const char *word;
    const char *best;
    unsigned distance; /* of best */
};
void text_nearest_offer(struct text_nearest *nearest, const char *candidate);

bool text_is_utf8(const void *bytes, size_t count);

/* Bytes of the base64 of so many bytes, without a NUL. */
static inline size_t text_base64_bytes(size_t count)
{
    return (count + 2) / 3 * 4;
}

/* Writes text_base64_bytes(count) characters. */
void text_base64(const void *bytes, size_t count, char *ret_text);
