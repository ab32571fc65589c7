/* A record: a message in the bytes in which it travels, is stored and is delivered.
 *
 *     c6 LL LL LL LL   msgpack bin 32 header, length of the rest, big-endian; no other form is a record
 *     FF               flags: bit 0 = a properties map follows; all other bits zero
 *     [map]            msgpack map, keys small integers in rising order, each at most once
 *     body             the rest, raw
 *
 * So a plain body costs 6 bytes, and neighbouring records are one run of bytes. Records are checked once,
 * when they enter the broker; after that their headers are trusted. Pure; any thread. */
#pragma once

#include "mp.h"

enum {
    FANQ_RECORD_HEADER_BYTES = 5,
    FANQ_RECORD_PLAIN_BYTES = 6, /* header and flags: what a plain body costs */
    FANQ_RECORD_HAS_PROPERTIES = 1,

    /* Property keys. */
    FANQ_PROPERTY_SUBJECT = 5,    /* str, at most 100 characters in SNS */
    FANQ_PROPERTY_TRACE = 6,      /* str: a W3C traceparent */
    FANQ_PROPERTY_ATTRIBUTES = 7, /* map: name (str) -> [type (str), value (str or bin)] */

    FANQ_RECORD_ATTRIBUTES_MAX = 64,
    FANQ_ATTRIBUTE_NAME_BYTES_MAX = 256, /* as SQS and SNS */
    FANQ_SUBJECT_BYTES_MAX = 400,        /* 100 characters of up to 4 bytes */
    FANQ_TRACE_BYTES_MAX = 512
};

/* A row of neighbouring records. Two machine words, so that it is returned in registers: a publish of one message is
 * all overhead, and a struct through memory cost a tenth of it. */
struct fanq_records {
    const uint8_t *data;
    uint32_t length; /* bytes; frames are below 4 GiB */
    uint32_t count;
};

/* One record taken apart; all parts borrow from it. */
struct fanq_record {
    struct fanq_bytes body;
    struct fanq_bytes subject;
    struct fanq_bytes trace;
    struct fanq_bytes attributes; /* the msgpack map, for fanq_attribute_next(); empty: there is none */
    size_t length;                /* of the whole record, header included */
};

struct fanq_attribute {
    struct fanq_bytes name;
    struct fanq_bytes type; /* "String", "Number", "Binary", or one of them with ".custom" behind */
    struct fanq_bytes value;
};

/* The bytes of the record at data, header included. The record must have been checked. */
static inline size_t fanq_record_length(const uint8_t *data)
{
    return FANQ_RECORD_HEADER_BYTES +
           ((size_t)data[1] << 24 | (size_t)data[2] << 16 | (size_t)data[3] << 8 | (size_t)data[4]);
}

/* Reads `count` neighbouring records from c and checks every count and length in them. A malformed one sets
 * c->err to FANQ_ERR_BAD_RECORD. *ret_oversize_count is how many hold more than payload_bytes_max behind the
 * header: each is well formed, and whoever takes the records decides (fanq_records_sift). */
struct fanq_records fanq_read_records(struct fanq_cursor *c, uint32_t count, size_t payload_bytes_max,
                                      uint32_t *ret_oversize_count);

/* The same for records that were checked before, by the broker: headers and lengths only, not the inside. */
struct fanq_records fanq_read_record_bounds(struct fanq_cursor *c, uint32_t count);

/* Takes one record apart. Bytes behind the record are ignored. 0 or FANQ_ERR_BAD_RECORD. */
int fanq_record_parse(const uint8_t *data, size_t length, struct fanq_record *ret_record);

/* Steps through record->attributes: *rest starts as a copy of it. False at the end. */
bool fanq_attribute_next(struct fanq_bytes *rest, struct fanq_attribute *ret_attribute);

/* Moves the records that fit together, in place, and tells the places of those that do not.
 * ret_refused takes at most refused_max places (counted among the records as sent). Gives the count of all
 * refused. */
uint32_t fanq_records_sift(uint8_t *data, struct fanq_records *records, size_t payload_bytes_max,
                           uint32_t *ret_refused, uint32_t refused_max);

/* What a record is made of. Empty parts are left out. */
struct fanq_record_parts {
    struct fanq_bytes body;
    struct fanq_bytes subject;
    struct fanq_bytes trace;
    const struct fanq_attribute *attributes;
    uint32_t attribute_count;
};

/* The bytes that fanq_record_write() will write, header included. */
size_t fanq_record_size(const struct fanq_record_parts *parts);

/* Writes one record; w->full when it does not fit. The parts must obey the limits above, else
 * FANQ_ERR_INVALID. */
int fanq_record_write(struct fanq_writer *w, const struct fanq_record_parts *parts);
