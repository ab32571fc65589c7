#include "notes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- writing ---- */

static void print_take(FILE *out, const struct fanq_message *message)
{
    char id[NOTE_ID_BYTES];
    struct digest digest;

    fanq_message_id(message, id, sizeof(id));
    digest_message(&digest, message);
    fprintf(out, "take %s %" PRIu32 " %s %s\n", id, fanq_message_deliveries(message), digest.body,
            digest.attributes);
}

static void print_gone(FILE *out, const struct fanq_message *message)
{
    char id[NOTE_ID_BYTES];

    fanq_message_id(message, id, sizeof(id));
    fprintf(out, "gone %s\n", id);
}

/* A line for each message, all in one write(). */
static int write_lines(int fd, struct fanq_batch *batch, void (*print)(FILE *, const struct fanq_message *))
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    int err = -1;

    if (out == NULL)
        return -1;
    for (size_t i = 0; i < fanq_batch_count(batch); i++)
        print(out, fanq_batch_message(batch, i));
    if (fclose(out) == 0 && write(fd, text, bytes) == (ssize_t)bytes)
        err = 0;
    free(text);
    return err;
}

int notes_take(int fd, struct fanq_batch *batch)
{
    return write_lines(fd, batch, print_take);
}

int notes_send(int fd)
{
    return write(fd, "send\n", 5) == 5 ? 0 : -1;
}

int notes_gone(int fd, struct fanq_batch *batch)
{
    return write_lines(fd, batch, print_gone);
}

/* ---- reading ---- */

static int read_take(struct notes *notes, const char *line)
{
    struct note *grown = reallocarray(notes->notes, notes->count + 1, sizeof(*grown));
    struct note *note;

    if (grown == NULL)
        return -1;
    notes->notes = grown;
    note = &grown[notes->count];
    memset(note, 0, sizeof(*note));
    if (sscanf(line, "take %63s %" SCNu32 " %32s %32s", note->id, &note->deliveries, note->digest.body,
               note->digest.attributes) != 4)
        return -1;
    notes->count++;
    return 0;
}

/* The latest of this id that is not gone: the batch under way, so it is near the end. */
static int read_gone(struct notes *notes, const char *line)
{
    char id[NOTE_ID_BYTES];

    if (sscanf(line, "gone %63s", id) != 1)
        return -1;
    for (size_t i = notes->count; i-- > 0;) {
        if (strcmp(notes->notes[i].id, id) != 0 || notes->notes[i].gone)
            continue;
        notes->notes[i].gone = true;
        notes->gone_count++;
        return 0;
    }
    return -1;
}

static int read_line(struct notes *notes, const char *line)
{
    if (strchr(line, '\n') == NULL)
        return 0;
    if (strcmp(line, "send\n") == 0) {
        notes->sending = true;
        return 0;
    }
    if (strncmp(line, "take ", 5) != 0)
        return read_gone(notes, line);
    notes->sending = false;
    return read_take(notes, line);
}

int notes_load(struct notes *ret_notes, const char *path)
{
    struct notes notes = {0};
    FILE *in = fopen(path, "re");
    char line[256];
    int err = 0;

    if (in == NULL)
        return -1;
    while (err == 0 && fgets(line, sizeof(line), in) != NULL)
        err = read_line(&notes, line);
    if (err == 0 && ferror(in))
        err = -1;
    fclose(in);
    notes.sending = notes.sending && notes.gone_count < notes.count;
    if (err == 0)
        *ret_notes = notes;
    else
        notes_close(&notes);
    return err;
}

void notes_close(struct notes *notes)
{
    free(notes->notes);
    *notes = (struct notes){0};
}
