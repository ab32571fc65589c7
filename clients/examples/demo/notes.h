/* What a worker has done, line by line in a file, written so that a kill at any moment leaves the truth:
 *
 *   take ID DELIVERIES BODY ATTRIBUTES   it was received, before anything is done with it
 *   send                                 the deletes of all that is taken go out now
 *   gone ID                              its delete was acknowledged
 *
 * After a kill, what is gone is deleted for certain. What is taken and not gone is still in its queue for
 * certain, unless "send" was the last step: then the worker was killed between asking and telling, and nobody
 * but the broker knows. Whoever kills a worker and wants to know stops it and looks at its notes first. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "digest.h"

enum { NOTE_ID_BYTES = 64 };

struct note {
    char id[NOTE_ID_BYTES];
    uint32_t deliveries;
    struct digest digest;
    bool gone;
};

struct notes {
    struct note *notes;
    size_t count; /* of taken messages; one taken twice by this worker counts twice */
    size_t gone_count;
    bool sending; /* deletes were asked for, and the notes do not tell yet what became of all of them */
};

/* Writing, each by one write(). 0, or -1 with errno set. */
int notes_take(int fd, struct fanq_batch *batch);
int notes_send(int fd);
int notes_gone(int fd, struct fanq_batch *batch);

/* Reading. A kill may have cut the last line; it counts for nothing. 0, or -1: no such file, no memory, or a
 * line that no worker wrote. */
int notes_load(struct notes *ret_notes, const char *path);
void notes_close(struct notes *notes);
