/* Putting a checkpoint in place without asking the disk for room: when others have filled it, checkpoints are what lets segments
 * go.
 *
 *                                                checkpoint-a   checkpoint-b   checkpoint-a.spare   checkpoint-b.spare
 *     N is written and synced                    N-2            N-1                                 N
 *     checkpoint-a is renamed to its spare                      N-1            N-2                  N
 *     checkpoint-b.spare to checkpoint-a         N              N-1            N-2
 *
 * Room:  what a checkpoint replaces is the spare that the next one is written into: over what is there, so that no block is given
 *        back and asked for again. A file keeps its length when its checkpoint is shorter; the rest means nothing. Each of the
 *        three has some for a longer one to come, taken beforehand.
 * Crash: a name has a whole checkpoint or none: N-1 is there at any time, N from the last rename on. A start does not read
 *        spares; its first checkpoint has the number of the one that was not put in place, and is written over it. */
#pragma once

#include "checkpoint.h"

/* Opens the spare that this checkpoint is to be written into, from its beginning, and sees to it that so many bytes have room.
 * 0 or a negative errno; then the checkpoint may be tried again. */
int checkpoint_file_open(const struct directory *d, uint64_t number, uint64_t bytes, int *ret_file);

/* It is written and synced: gives it its name. 0 or a negative errno. */
int checkpoint_file_place(const struct directory *d, uint64_t number);

/* Behind the last checkpoint, which had so many bytes: sees to it that the next ones have room, half more than that and a bit. No
 * error when there is none: they have what is there, and tell. */
void checkpoint_file_make_room(const struct directory *d, uint64_t number, uint64_t bytes);

/* All of it at once. 0 or a negative errno. */
int checkpoint_file_put(const struct directory *d, const struct checkpoint *checkpoint);
