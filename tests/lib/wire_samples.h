/* One or more of every request and reply, with small, large and absent values; and when two of them are the
 * same.
 *
 * For tests of the codecs and as seeds of the fuzzers. Samples are lent for the duration of the visit. */
#pragma once

#include "proto/reply.h"
#include "proto/request.h"

typedef void (*request_visit)(const struct fanq_request *request, void *context);
typedef void (*reply_visit)(const struct fanq_reply *reply, void *context);
typedef void (*record_visit)(const struct fanq_record_parts *parts, void *context);

void each_request(request_visit visit, void *context);
void each_reply(reply_visit visit, void *context);
void each_record(record_visit visit, void *context);

/* All sample records as one row. Static. */
struct fanq_records sample_records(void);

bool bytes_equal(struct fanq_bytes a, struct fanq_bytes b);
bool requests_equal(const struct fanq_request *a, const struct fanq_request *b);
bool slices_equal(const struct fanq_slice *a, const struct fanq_slice *b);
bool replies_equal(const struct fanq_reply *a, const struct fanq_reply *b);
bool records_equal(const struct fanq_record *a, const struct fanq_record *b);
