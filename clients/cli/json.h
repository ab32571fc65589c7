/* Writes JSON to a stream, on one line: keys in the order given, no spaces.
 *
 * Start from {.out = FILE}. A key comes before each value inside an object and not inside an array. Errors of
 * the stream stay with it (ferror). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct json {
    FILE *out;
    bool follows; /* the next item at this depth needs a comma */
};

/* key NULL: an element of an array, or the whole. */
void json_object_begin(struct json *json, const char *key);
void json_object_end(struct json *json);
void json_array_begin(struct json *json, const char *key);
void json_array_end(struct json *json);
void json_text(struct json *json, const char *key, const char *text);
void json_text_bytes(struct json *json, const char *key, const char *text, size_t count); /* valid UTF-8 */
void json_number(struct json *json, const char *key, uint64_t number);
void json_decimal(struct json *json, const char *key, double number); /* finite; six decimals at most */
void json_bool(struct json *json, const char *key, bool value);

/* Bytes as `key` when they are valid UTF-8, else in base64 as `key`_base64. */
void json_body(struct json *json, const char *key, const void *bytes, size_t count);

/* Ends the line behind a whole. */
void json_line_end(struct json *json);
