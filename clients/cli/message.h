/* Messages on standard output. */
#pragma once

#include "cli.h"

enum message_form {
    MESSAGE_RAW,  /* the body and nothing else */
    MESSAGE_LINE, /* the body and a newline */
    MESSAGE_NULL, /* the body and a NUL byte */
    MESSAGE_JSON  /* an object a line */
};

struct message_style {
    enum message_form form;
    bool header;       /* a line before the body: id, time, deliveries, attributes */
    const char *queue; /* NULL: not named */
    const char *topic;
};

/* What --json, --line, --null and -v ask for; `otherwise` when they are silent. */
struct message_style message_style(const struct options *options, enum message_form otherwise);

/* Prints one message. After a peek its state is told too. */
void message_put(const struct fanq_message *message, const struct message_style *style, bool peeked);

/* "ready", "in-flight", "delayed" */
const char *message_state_text(uint32_t state);

/* Prints text from strangers: what a terminal could take for commands is shown as \xNN. At most `width`
 * columns, then "..."; 0: all of it. Gives
 * how many columns it took. */
size_t message_put_safely(const void *bytes, size_t count, size_t width);
