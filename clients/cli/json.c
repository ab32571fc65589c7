#include "json.h"

#include "text.h"

#include <inttypes.h>
#include <string.h>

static const char *escape(unsigned char c, char ret_text[8])
{
    switch (c) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    default:
        snprintf(ret_text, 8, "\\u%04x", c);
        return ret_text;
    }
}

static void put_escaped(FILE *out, const char *text, size_t count)
{
    char escaped[8];
    size_t run = 0;

    for (size_t i = 0; i < count; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f)
            continue;
        fwrite_unlocked(text + run, 1, i - run, out);
        fputs_unlocked(escape(c, escaped), out);
        run = i + 1;
    }
    fwrite_unlocked(text + run, 1, count - run, out);
}

static void begin_item(struct json *json, const char *key, const char *key_suffix)
{
    if (json->follows)
        putc_unlocked(',', json->out);
    json->follows = true;
    if (key == NULL)
        return;
    putc_unlocked('"', json->out);
    put_escaped(json->out, key, strlen(key));
    fprintf(json->out, "%s\":", key_suffix);
}

static void begin_nest(struct json *json, const char *key, char bracket)
{
    begin_item(json, key, "");
    putc_unlocked(bracket, json->out);
    json->follows = false;
}

static void end_nest(struct json *json, char bracket)
{
    putc_unlocked(bracket, json->out);
    json->follows = true;
}

void json_object_begin(struct json *json, const char *key)
{
    begin_nest(json, key, '{');
}

void json_object_end(struct json *json)
{
    end_nest(json, '}');
}

void json_array_begin(struct json *json, const char *key)
{
    begin_nest(json, key, '[');
}

void json_array_end(struct json *json)
{
    end_nest(json, ']');
}

void json_text_bytes(struct json *json, const char *key, const char *text, size_t count)
{
    begin_item(json, key, "");
    putc_unlocked('"', json->out);
    put_escaped(json->out, text, count);
    putc_unlocked('"', json->out);
}

void json_text(struct json *json, const char *key, const char *text)
{
    json_text_bytes(json, key, text, strlen(text));
}

void json_number(struct json *json, const char *key, uint64_t number)
{
    begin_item(json, key, "");
    fprintf(json->out, "%" PRIu64, number);
}

void json_decimal(struct json *json, const char *key, double number)
{
    begin_item(json, key, "");
    fprintf(json->out, "%.6f", number);
}

void json_bool(struct json *json, const char *key, bool value)
{
    begin_item(json, key, "");
    fputs(value ? "true" : "false", json->out);
}

static void put_base64(FILE *out, const uint8_t *bytes, size_t count)
{
    enum { CHUNK_BYTES = 3 * 256 }; /* whole groups, so that only the last has padding */
    char text[CHUNK_BYTES / 3 * 4];

    putc_unlocked('"', out);
    for (size_t at = 0; at < count; at += CHUNK_BYTES) {
        size_t have = count - at < CHUNK_BYTES ? count - at : CHUNK_BYTES;

        text_base64(bytes + at, have, text);
        fwrite_unlocked(text, 1, text_base64_bytes(have), out);
    }
    putc_unlocked('"', out);
}

void json_body(struct json *json, const char *key, const void *bytes, size_t count)
{
    if (text_is_utf8(bytes, count)) {
        json_text_bytes(json, key, bytes, count);
        return;
    }
    begin_item(json, key, "_base64");
    put_base64(json->out, bytes, count);
}

void json_line_end(struct json *json)
{
    putc_unlocked('\n', json->out);
    json->follows = false;
}
