/* Records: checked in rows when they enter, taken apart one by one where somebody wants to know what is
 * inside.
 *
 * There is one reader of properties (properties_read) and everybody uses it. It knows a key or steps over it;
 * whether strange keys are acceptable is the caller's question: the broker refuses them at the door, because
 * to take a message and silently ignore "deliver it tomorrow" would be a lie, while a reader of messages
 * lives with what a newer broker let in. */
#include "record.h"

#include <string.h>

#include "bytes.h"
#include "fanq_error.h"

enum {
    RECORD_TAG = 0xc6, /* msgpack's bin 32 */
    PROPERTY_KEY_MAX = 127
};

/* "String", "Number" and "Binary", alone or with a dot and more behind. */
static bool attribute_type_valid(struct fanq_bytes type)
{
    static const char names[3][7] = {"String", "Number", "Binary"};
    const size_t name_bytes = sizeof(names[0]) - 1;

    if (type.length < name_bytes || type.length > FANQ_ATTRIBUTE_NAME_BYTES_MAX)
        return false;
    if (type.length > name_bytes && type.data[name_bytes] != '.')
        return false;
    for (size_t i = 0; i < 3; i++)
        if (memcmp(type.data, names[i], name_bytes) == 0)
            return true;
    return false;
}

/* Values of Binary are bin, all others str. */
static bool attribute_type_binary(struct fanq_bytes type)
{
    return type.length > 0 && type.data[0] == 'B';
}

static void attribute_read(struct fanq_cursor *c, struct fanq_attribute *attribute)
{
    attribute->name = fanq_read_str(c, FANQ_ATTRIBUTE_NAME_BYTES_MAX);
    uint32_t parts = fanq_read_array(c);
    attribute->type = fanq_read_str(c, FANQ_ATTRIBUTE_NAME_BYTES_MAX);
    if (attribute->name.length == 0 || parts != 2 || !attribute_type_valid(attribute->type))
        fanq_cursor_fail(c, FANQ_ERR_BAD_RECORD);
    else if (attribute_type_binary(attribute->type))
        attribute->value = fanq_read_bin(c, SIZE_MAX);
    else
        attribute->value = fanq_read_str(c, SIZE_MAX);
}

/* Gives the whole map, header included. */
static struct fanq_bytes attributes_read(struct fanq_cursor *c)
{
    const uint8_t *start = c->at;
    uint32_t count = fanq_read_map(c);

    if (count > FANQ_RECORD_ATTRIBUTES_MAX)
        fanq_cursor_fail(c, FANQ_ERR_BAD_RECORD);
    for (uint32_t i = 0; i < count && c->err == 0; i++) {
        struct fanq_attribute attribute;
        attribute_read(c, &attribute);
    }
    return (struct fanq_bytes){start, (size_t)(c->at - start)};
}

/* Reads the properties map into record. Gives the count of keys that this version does not know. */
static uint32_t properties_read(struct fanq_cursor *c, struct fanq_record *record)
{
    uint32_t count = fanq_read_map(c);
    uint32_t strange_count = 0;
    uint64_t key_min = 0;

    for (uint32_t i = 0; i < count && c->err == 0; i++) {
        uint64_t key = fanq_read_uint(c, PROPERTY_KEY_MAX);

        if (key < key_min)
            fanq_cursor_fail(c, FANQ_ERR_BAD_RECORD);
        key_min = key + 1;
        switch (key) {
        case FANQ_PROPERTY_SUBJECT:
            record->subject = fanq_read_str(c, FANQ_SUBJECT_BYTES_MAX);
            break;
        case FANQ_PROPERTY_TRACE:
            record->trace = fanq_read_str(c, FANQ_TRACE_BYTES_MAX);
            break;
        case FANQ_PROPERTY_ATTRIBUTES:
            record->attributes = attributes_read(c);
            break;
        default:
            strange_count++;
            fanq_read_skip(c);
        }
    }
    return strange_count;
}

/* Takes apart what is behind the header. 0 or FANQ_ERR_BAD_RECORD. */
static int payload_read(const uint8_t *payload, size_t length, struct fanq_record *record,
                        uint32_t *strange_count)
{
    struct fanq_cursor c = fanq_cursor_over(payload + 1, length - 1);
    uint8_t flags = payload[0];

    if ((flags & ~FANQ_RECORD_HAS_PROPERTIES) != 0)
        return FANQ_ERR_BAD_RECORD;
    *record = (struct fanq_record){.length = FANQ_RECORD_HEADER_BYTES + length};
    *strange_count = (flags & FANQ_RECORD_HAS_PROPERTIES) != 0 ? properties_read(&c, record) : 0;
    if (c.err != 0)
        return FANQ_ERR_BAD_RECORD;
    record->body = (struct fanq_bytes){c.at, fanq_cursor_left(&c)};
    return 0;
}

/* The length of the payload of the record at `at`, or 0 when there is no whole record before `end`. (A
 * payload has at least the flags byte, so 0 is never a length.) */
static inline size_t payload_length(const uint8_t *at, const uint8_t *end)
{
    size_t left = (size_t)(end - at);

    if (left < FANQ_RECORD_PLAIN_BYTES || at[0] != RECORD_TAG)
        return 0;
    size_t length = fanq_load_32(at + 1);
    return length <= left - FANQ_RECORD_HEADER_BYTES ? length : 0;
}

static bool payload_acceptable(const uint8_t *payload, size_t length)
{
    struct fanq_record record;
    uint32_t strange_count;

    return payload_read(payload, length, &record, &strange_count) == 0 && strange_count == 0;
}

struct fanq_records fanq_read_records(struct fanq_cursor *c, uint32_t count, size_t payload_bytes_max,
                                      uint32_t *ret_oversize_count)
{
    struct fanq_records records = {c->at, 0, 0};
    const uint8_t *at = c->at;
    const uint8_t *end = c->end;
    uint32_t oversize_count = 0;

    for (uint32_t i = 0; i < count; i++) {
        size_t length = payload_length(at, end);
        const uint8_t *payload = at + FANQ_RECORD_HEADER_BYTES;

        if (length == 0 || (payload[0] != 0 && !payload_acceptable(payload, length))) {
            fanq_cursor_fail(c, FANQ_ERR_BAD_RECORD);
            return records;
        }
        oversize_count += length > payload_bytes_max;
        at = payload + length;
    }
    c->at = at;
    records.length = (uint32_t)(at - records.data);
    records.count = count;
    *ret_oversize_count = oversize_count;
    return records;
}

struct fanq_records fanq_read_record_bounds(struct fanq_cursor *c, uint32_t count)
{
    struct fanq_records records = {c->at, 0, 0};
    const uint8_t *at = c->at;
    const uint8_t *end = c->end;

    for (uint32_t i = 0; i < count; i++) {
        size_t length = payload_length(at, end);

        if (length == 0) {
            fanq_cursor_fail(c, FANQ_ERR_BAD_RECORD);
            return records;
        }
        at += FANQ_RECORD_HEADER_BYTES + length;
    }
    c->at = at;
    records.length = (uint32_t)(at - records.data);
    records.count = count;
    return records;
}

int fanq_record_parse(const uint8_t *data, size_t length, struct fanq_record *ret_record)
{
    size_t payload_bytes = payload_length(data, data + length);
    struct fanq_record record;
    uint32_t strange_count; /* a newer broker may have let in what we do not know */

    if (payload_bytes == 0)
        return FANQ_ERR_BAD_RECORD;
    int err = payload_read(data + FANQ_RECORD_HEADER_BYTES, payload_bytes, &record, &strange_count);
    if (err == 0)
        *ret_record = record;
    return err;
}

bool fanq_attribute_next(struct fanq_bytes *rest, struct fanq_attribute *ret_attribute)
{
    struct fanq_cursor c = fanq_cursor_over(rest->data, rest->length);
    struct fanq_attribute attribute;

    if (rest->length == 0)
        return false;
    /* Only the first call sees the map's header: a name is a str, whose tag is never a map's. */
    if ((c.at[0] & 0xf0) == 0x80 || c.at[0] == 0xde || c.at[0] == 0xdf)
        (void)fanq_read_map(&c);
    if (fanq_cursor_left(&c) == 0) /* an empty map, or the end */
        return false;
    attribute_read(&c, &attribute);
    *rest = (struct fanq_bytes){c.at, fanq_cursor_left(&c)};
    if (c.err == 0)
        *ret_attribute = attribute;
    return c.err == 0;
}

uint32_t fanq_records_sift(uint8_t *data, struct fanq_records *records, size_t payload_bytes_max,
                           uint32_t *ret_refused, uint32_t refused_max)
{
    uint8_t *to = data;
    const uint8_t *from = data;
    uint32_t refused_count = 0;

    for (uint32_t i = 0; i < records->count; i++) {
        size_t length = fanq_record_length(from);

        if (length - FANQ_RECORD_HEADER_BYTES > payload_bytes_max) {
            if (refused_count < refused_max)
                ret_refused[refused_count] = i;
            refused_count++;
        } else {
            if (to != from)
                memmove(to, from, length);
            to += length;
        }
        from += length;
    }
    *records = (struct fanq_records){data, (size_t)(to - data), records->count - refused_count};
    return refused_count;
}

static bool has_properties(const struct fanq_record_parts *parts)
{
    return parts->subject.length > 0 || parts->trace.length > 0 || parts->attribute_count > 0;
}

/* The bytes of the properties map, exactly. */
static size_t properties_size(const struct fanq_record_parts *parts)
{
    size_t size = 1; /* the map's header */

    if (parts->subject.length > 0)
        size += 1 + fanq_str_header_bytes(parts->subject.length) + parts->subject.length;
    if (parts->trace.length > 0)
        size += 1 + fanq_str_header_bytes(parts->trace.length) + parts->trace.length;
    if (parts->attribute_count > 0)
        size += 1 + fanq_array_header_bytes(parts->attribute_count);
    for (uint32_t i = 0; i < parts->attribute_count; i++) {
        const struct fanq_attribute *attribute = &parts->attributes[i];
        size_t value_bytes = attribute->value.length;

        size += fanq_str_header_bytes(attribute->name.length) + attribute->name.length;
        size += 1 + fanq_str_header_bytes(attribute->type.length) + attribute->type.length;
        size += attribute_type_binary(attribute->type) ? fanq_bin_header_bytes(value_bytes)
                                                       : fanq_str_header_bytes(value_bytes);
        size += value_bytes;
    }
    return size;
}

size_t fanq_record_size(const struct fanq_record_parts *parts)
{
    size_t size = FANQ_RECORD_PLAIN_BYTES + parts->body.length;

    return has_properties(parts) ? size + properties_size(parts) : size;
}

static void properties_write(struct fanq_writer *w, const struct fanq_record_parts *parts)
{
    uint32_t count = (parts->subject.length > 0) + (parts->trace.length > 0) + (parts->attribute_count > 0);

    fanq_write_map(w, count);
    if (parts->subject.length > 0) {
        fanq_write_uint(w, FANQ_PROPERTY_SUBJECT);
        fanq_write_str(w, parts->subject);
    }
    if (parts->trace.length > 0) {
        fanq_write_uint(w, FANQ_PROPERTY_TRACE);
        fanq_write_str(w, parts->trace);
    }
    if (parts->attribute_count > 0) {
        fanq_write_uint(w, FANQ_PROPERTY_ATTRIBUTES);
        fanq_write_map(w, parts->attribute_count);
    }
    for (uint32_t i = 0; i < parts->attribute_count; i++) {
        const struct fanq_attribute *attribute = &parts->attributes[i];

        fanq_write_str(w, attribute->name);
        fanq_write_array(w, 2);
        fanq_write_str(w, attribute->type);
        if (attribute_type_binary(attribute->type))
            fanq_write_bin(w, attribute->value);
        else
            fanq_write_str(w, attribute->value);
    }
}

static bool parts_valid(const struct fanq_record_parts *parts)
{
    if (parts->subject.length > FANQ_SUBJECT_BYTES_MAX || parts->trace.length > FANQ_TRACE_BYTES_MAX ||
        parts->attribute_count > FANQ_RECORD_ATTRIBUTES_MAX)
        return false;
    for (uint32_t i = 0; i < parts->attribute_count; i++) {
        size_t name_bytes = parts->attributes[i].name.length;

        if (name_bytes == 0 || name_bytes > FANQ_ATTRIBUTE_NAME_BYTES_MAX ||
            !attribute_type_valid(parts->attributes[i].type))
            return false;
    }
    return true;
}

int fanq_record_write(struct fanq_writer *w, const struct fanq_record_parts *parts)
{
    uint8_t head[FANQ_RECORD_PLAIN_BYTES] = {RECORD_TAG};

    if (!parts_valid(parts))
        return FANQ_ERR_INVALID;
    size_t size = fanq_record_size(parts);
    if (size - FANQ_RECORD_HEADER_BYTES > UINT32_MAX)
        return FANQ_ERR_INVALID;
    if (size > (size_t)(w->end - w->at))
        w->full = true;

    fanq_store_32(head + 1, (uint32_t)(size - FANQ_RECORD_HEADER_BYTES));
    head[FANQ_RECORD_HEADER_BYTES] = has_properties(parts) ? FANQ_RECORD_HAS_PROPERTIES : 0;
    fanq_write_raw(w, head, sizeof(head));
    if (has_properties(parts))
        properties_write(w, parts);
    fanq_write_raw(w, parts->body.data, parts->body.length);
    return 0;
}
