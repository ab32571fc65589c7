/* The native protocol's face: frames to events, effects to frames.
 *
 * HELLO, STATS and (backup.c) BACKUP are answered in this folder, as is everything that cannot reach the core because it is malformed; no
 * rule about queues or topics lives here. Loop thread only. */
#pragma once

#include <stdbool.h>

#include "core/core.h"

struct shell;
struct connection;

/* The longest that may be read before a valid HELLO. */
size_t native_greeting_bytes_max(void);

/* Parses what c has and steps its requests. False: the batch is full, go on in the next one. */
bool native_parse(struct shell *s, struct connection *c);

/* Ends a connection that has said no HELLO, telling it why. */
void native_refuse_greeting(struct shell *s, struct connection *c, int err);

/* Adds a reply to the batch's effects, so that it goes out in order with the core's. NULL: the connection was lost. */
struct fanq_reply *native_reply_new(struct shell *s, struct connection *c, enum fanq_reply_op op,
                                    uint64_t id);

/* Adds an ERROR; text, which is static, says more than the error's own (NULL). */
void native_refuse(struct shell *s, struct connection *c, uint64_t id, int err, const char *text);

/* Writes the reply to the connection for which output_begin() was called. */
void native_reply(struct shell *s, struct connection *c, const struct fanq_reply *reply);

/* Drops what is remembered about c's requests. */
void native_close(struct shell *s, struct connection *c);
