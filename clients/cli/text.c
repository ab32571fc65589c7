#include "text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct unit {
    const char *name;
    uint64_t size;
};

static const struct unit duration_units[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000},
};

static const struct unit byte_units[] = {
    {"", 1},
    {"k", UINT64_C(1) << 10},
    {"K", UINT64_C(1) << 10},
    {"KiB", UINT64_C(1) << 10},
    {"M", UINT64_C(1) << 20},
    {"MiB", UINT64_C(1) << 20},
    {"G", UINT64_C(1) << 30},
    {"GiB", UINT64_C(1) << 30},
    {"B", 1},
};

static const struct unit *unit_find(const struct unit *units, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(units[i].name, name) == 0)
            return &units[i];
    return NULL;
}

/* Digits, perhaps a fraction, then a unit. Whole numbers are exact; fractions are rounded to the unit's
 * parts. */
static bool parse_quantity(const char *text, const struct unit *units, size_t unit_count, uint64_t *ret_value)
{
    size_t digit_count = strspn(text, "0123456789");
    size_t fraction_count = text[digit_count] == '.' ? strspn(text + digit_count + 1, "0123456789") : 0;
    const char *name = text + digit_count + (fraction_count > 0 ? fraction_count + 1 : 0);
    const struct unit *unit = unit_find(units, unit_count, name);
    uint64_t whole = 0, part;
    double fraction = 0, scale = 1;

    if (digit_count == 0 || unit == NULL)
        return false;
    for (size_t i = 0; i < digit_count; i++)
        if (__builtin_mul_overflow(whole, (uint64_t)10, &whole) ||
            __builtin_add_overflow(whole, (uint64_t)(text[i] - '0'), &whole))
            return false;
    for (size_t i = 0; i < fraction_count; i++)
        fraction += (text[digit_count + 1 + i] - '0') * (scale /= 10);
    part = (uint64_t)(fraction * (double)unit->size + 0.5);
    return !__builtin_mul_overflow(whole, unit->size, &whole) &&
           !__builtin_add_overflow(whole, part, ret_value);
}

bool text_parse_duration(const char *text, int64_t *ret_ms)
{
    uint64_t ms = 0;

    if (strcmp(text, "0") != 0 &&
        !parse_quantity(text, duration_units, sizeof(duration_units) / sizeof(*duration_units), &ms))
        return false;
    if (ms > INT64_MAX)
        return false;
    *ret_ms = (int64_t)ms;
    return true;
}

bool text_parse_bytes(const char *text, uint64_t *ret_bytes)
{
    uint64_t bytes;

    if (!parse_quantity(text, byte_units, sizeof(byte_units) / sizeof(*byte_units), &bytes))
        return false;
    *ret_bytes = bytes;
    return true;
}

bool text_parse_count(const char *text, uint64_t *ret_count)
{
    static const struct unit none[] = {{"", 1}};

    return strchr(text, '.') == NULL && parse_quantity(text, none, 1, ret_count);
}

const char *text_grouped(uint64_t number, char ret_text[TEXT_NUMBER_BYTES])
{
    char digits[TEXT_NUMBER_BYTES];
    int count = snprintf(digits, sizeof(digits), "%" PRIu64, number);
    char *out = ret_text;

    for (int i = 0; i < count; i++) {
        if (i > 0 && (count - i) % 3 == 0)
            *out++ = ',';
        *out++ = digits[i];
    }
    *out = '\0';
    return ret_text;
}

const char *text_age(uint64_t ms, char ret_text[TEXT_NUMBER_BYTES])
{
    static const struct unit steps[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}};

    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        if (ms < steps[i].size)
            continue;
        snprintf(ret_text, TEXT_NUMBER_BYTES, ms < 10 * steps[i].size ? "%.1f%s" : "%.0f%s",
                 (double)ms / (double)steps[i].size, steps[i].name);
        return ret_text;
    }
    snprintf(ret_text, TEXT_NUMBER_BYTES, ms == 0 ? "0" : "%" PRIu64 "ms", ms);
    return ret_text;
}

const char *text_duration(uint64_t ms, char ret_text[TEXT_NUMBER_BYTES])
{
    static const struct unit steps[] = {
        {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
    size_t i = 0;

    if (ms == 0)
        return strcpy(ret_text, "0s");
    while (ms % steps[i].size != 0)
        i++;
    snprintf(ret_text, TEXT_NUMBER_BYTES, "%" PRIu64 "%s", ms / steps[i].size, steps[i].name);
    return ret_text;
}

const char *text_time(uint64_t wall_ms, char ret_text[TEXT_TIME_BYTES])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;

    if (gmtime_r(&seconds, &tm) == NULL ||
        strftime(ret_text, TEXT_TIME_BYTES - 5, "%Y-%m-%dT%H:%M:%S", &tm) == 0)
        return strcpy(ret_text, "?"); /* a year with more digits than fit: a clock gone mad */
    snprintf(ret_text + strlen(ret_text), 6, ".%03uZ", (unsigned)(wall_ms % 1000));
    return ret_text;
}

enum { WORD_BYTES_MAX = 80 };

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* How many letters must be added, taken away, changed or swapped with their neighbour. */
static unsigned edit_distance(const char *a, const char *b)
{
    size_t a_bytes = strlen(a), b_bytes = strlen(b);
    unsigned rows[3][WORD_BYTES_MAX + 1];
    unsigned *before = rows[0], *above = rows[1], *row = rows[2];

    if (a_bytes > WORD_BYTES_MAX || b_bytes > WORD_BYTES_MAX)
        return UINT32_MAX;
    for (size_t j = 0; j <= b_bytes; j++)
        above[j] = (unsigned)j;
    for (size_t i = 1; i <= a_bytes; i++) {
        unsigned *free_row = before;

        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_bytes; j++) {
            row[j] = least(least(row[j - 1], above[j]) + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], before[j - 2] + 1);
        }
        before = above;
        above = row;
        row = free_row;
    }
    return above[b_bytes];
}

void text_nearest_offer(struct text_nearest *nearest, const char *candidate)
{
    size_t word_bytes = strlen(nearest->word);
    unsigned distance = edit_distance(nearest->word, candidate);
    unsigned distance_max = 1 + (unsigned)(word_bytes / 4);

    /* The beginning of a word is as good as one slip. */
    if (distance > 1 && word_bytes >= 2 && strncmp(nearest->word, candidate, word_bytes) == 0)
        distance = 1;
    /* Two words without a letter in common are not near each other, however short. */
    if (distance > distance_max || distance >= strlen(candidate) ||
        (nearest->best != NULL && distance >= nearest->distance))
        return;
    nearest->best = candidate;
    nearest->distance = distance;
}

/* Length of the character that starts here, or 0: overlong, a surrogate, beyond U+10FFFF or cut off. */
static size_t utf8_character(const uint8_t *p, size_t left)
{
    uint8_t low = 0x80, high = 0xbf; /* of the second byte */
    size_t bytes;

    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    bytes = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (p[0] == 0xe0)
        low = 0xa0;
    else if (p[0] == 0xed)
        high = 0x9f;
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f;
    if (bytes > left || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < bytes; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return bytes;
}

bool text_is_utf8(const void *bytes, size_t count)
{
    const uint8_t *p = bytes;
    size_t character;

    for (size_t at = 0; at < count; at += character) {
        character = utf8_character(p + at, count - at);
        if (character == 0)
            return false;
    }
    return true;
}

void text_base64(const void *bytes, size_t count, char *ret_text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *p = bytes;
    char *out = ret_text;

    for (size_t at = 0; at < count; at += 3) {
        size_t have = count - at < 3 ? count - at : 3;
        uint32_t group = (uint32_t)p[at] << 16;

        group |= have > 1 ? (uint32_t)p[at + 1] << 8 : 0;
        group |= have > 2 ? p[at + 2] : 0;
        *out++ = digits[group >> 18];
        *out++ = digits[group >> 12 & 63];
        *out++ = have > 1 ? digits[group >> 6 & 63] : '=';
        *out++ = have > 2 ? digits[group & 63] : '=';
    }
}
