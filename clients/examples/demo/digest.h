/* Fingerprints of messages, by which what was deleted is compared with what was published: XXH3-128 of the
 * body, and another of the attributes with names, types, values and all their lengths, in their order. */
#pragma once

#include <stddef.h>

#include "fanq.h"

enum { DIGEST_TEXT_BYTES = 33 }; /* hex, with its NUL */

struct digest {
    char body[DIGEST_TEXT_BYTES];
    char attributes[DIGEST_TEXT_BYTES];
};

/* Of what is to be sent. Lengths must be given; a type of NULL counts as "String". */
void digest_content(struct digest *ret_digest, const struct fanq_content *content);

/* Of what was received. */
void digest_message(struct digest *ret_digest, const struct fanq_message *message);

/* An order for sorting: 0 when both parts are equal. */
int digest_compare(const struct digest *a, const struct digest *b);
