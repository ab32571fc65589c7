/* Where messages are kept: in memory only, or in a log too. The turn need not know which.
 *
 * In memory a commit is safe at once; with a log that comes in a later turn, when the log thread has written it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct commit;
struct shell;

/* Makes the tail and, with a directory, takes it; s->epoch is this run's then. 0 or FANQ_ERR_*, with a text. */
int storage_open(struct shell *s, char *error, size_t size);

/* Brings the new core to where the last run ended. 0 or FANQ_ERR_*, with a text. */
int storage_recover(struct shell *s, char *error, size_t size);

/* Ends the threads, when what must be on the disk is, and leaves a checkpoint; then frees all. Both accept what was not
 * opened. */
void storage_stop(struct shell *s);
void storage_close(struct shell *s);

/* Tells the core what has become safe, and what has come into memory. */
void storage_poll(struct shell *s);

void storage_append(struct shell *s, const struct commit *commit);
void storage_fetch(struct shell *s, uint64_t stream, uint64_t first_seq, uint64_t count);
uint64_t storage_room(const struct shell *s);

/* How many bytes are delivered before the next requests are looked at. */
uint64_t storage_serve_bytes(const struct shell *s);

/* Whether the next COMMIT is to be made in any case. */
bool storage_wants_commit(const struct shell *s);

/* Between batches: memory, segments, checkpoints. */
void storage_upkeep(struct shell *s);
uint64_t storage_next_ms(const struct shell *s);

/* Everything that was committed is as safe as it is going to be. */
bool storage_settled(const struct shell *s);

/* "memory", "fsync group", ...: for the banner and HELLO. */
const char *storage_mode(const struct shell *s);
