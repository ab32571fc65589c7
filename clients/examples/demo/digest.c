#include "digest.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static void print_hash(char ret_text[DIGEST_TEXT_BYTES], XXH128_hash_t hash)
{
    snprintf(ret_text, DIGEST_TEXT_BYTES, "%016" PRIx64 "%016" PRIx64, hash.high64, hash.low64);
}

static void add_bytes(XXH3_state_t *state, const void *bytes, size_t count)
{
    uint64_t length = count; /* without it "ab","c" and "a","bc" would be equal */

    XXH3_128bits_update(state, &length, sizeof(length));
    if (count > 0)
        XXH3_128bits_update(state, bytes, count);
}

static void add_attribute(XXH3_state_t *state, const struct fanq_message_attribute *attribute)
{
    const char *type = attribute->type != NULL ? attribute->type : "String";
    size_t type_bytes = attribute->type != NULL ? attribute->type_bytes : strlen(type);

    add_bytes(state, attribute->name, attribute->name_bytes);
    add_bytes(state, type, type_bytes);
    add_bytes(state, attribute->value, attribute->value_bytes);
}

static XXH3_state_t *state_new(void)
{
    XXH3_state_t *state = XXH3_createState();

    assert(state != NULL);
    XXH3_128bits_reset(state);
    return state;
}

void digest_content(struct digest *ret_digest, const struct fanq_content *content)
{
    XXH3_state_t *state = state_new();

    for (uint32_t i = 0; i < content->attribute_count; i++)
        add_attribute(state, &content->attributes[i]);
    print_hash(ret_digest->attributes, XXH3_128bits_digest(state));
    XXH3_freeState(state);
    print_hash(ret_digest->body, XXH3_128bits(content->body, content->body_bytes));
}

void digest_message(struct digest *ret_digest, const struct fanq_message *message)
{
    XXH3_state_t *state = state_new();
    struct fanq_message_attribute attribute;
    size_t place = 0, body_bytes;
    const void *body = fanq_message_body(message, &body_bytes);

    while (fanq_message_attribute_next(message, &place, &attribute))
        add_attribute(state, &attribute);
    print_hash(ret_digest->attributes, XXH3_128bits_digest(state));
    XXH3_freeState(state);
    print_hash(ret_digest->body, XXH3_128bits(body, body_bytes));
}

int digest_compare(const struct digest *a, const struct digest *b)
{
    int order = strcmp(a->body, b->body);

    return order != 0 ? order : strcmp(a->attributes, b->attributes);
}
