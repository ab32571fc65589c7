/* The stanzas of a Debian control file, such as /var/lib/dpkg/status: "Field: value" lines, an empty line
 * between one package and the next. */
#pragma once

#include <stddef.h>

#include "fanq.h"

enum { STANZA_FIELDS_MAX = 3 }; /* Package, Section, Priority */

struct stanza {
    struct fanq_content content; /* the body is the stanza's bytes; the fields that it has are attributes */
    struct fanq_message_attribute fields[STANZA_FIELDS_MAX];
};

struct stanza_list {
    char *text; /* the file; the stanzas point into it */
    struct stanza *stanzas;
    size_t count;
    size_t bytes; /* of all bodies */
};

/* 0, or -1 with errno set. */
int stanza_list_read(struct stanza_list *ret_list, const char *path);
void stanza_list_close(struct stanza_list *list);
