/* What to send, from the command line: where the bytes come from, and what goes with them. */
#pragma once

#include "cli.h"

struct content {
    bool topic;       /* `pub`; else `send` */
    const char *name; /* of the topic or queue */
    struct fanq_message_attribute attributes[OPTIONS_LIST_MAX];
    struct fanq_content like; /* everything but the body */
    int input_fd;             /* -1: the body is the argument */
};

/* Reads attributes and finds the input. 0, or the exit code of what was said. */
int content_init(struct content *content, struct cli *cli, bool topic);
void content_close(struct content *content);

/* All of the input, or the argument. Gives memory to be freed. 0, or the exit code of what was said. */
int content_body(struct content *content, struct cli *cli, char **ret_body, size_t *ret_bytes);

/* Whether a message will make the queue or topic, so that this can be told. */
bool content_creates(const struct content *content, struct cli *cli);
