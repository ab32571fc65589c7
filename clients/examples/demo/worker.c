/* fanq-demo-worker: a worker as one would write it, with blocking calls. It takes messages in small batches
 * by long poll, works on them for a while, and deletes them; in between it keeps notes (see notes.h). On
 * SIGTERM it finishes the batch in hand and leaves with 0. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "fanq.h"
#include "notes.h"

enum { ANSWER_MS = 10000, WAIT_MS = 500, BATCH_MESSAGES = 8 };

static volatile sig_atomic_t stopping;

static void on_term(int number)
{
    stopping = number;
}

static void work(long pause_ms)
{
    struct timespec pause = {pause_ms / 1000, pause_ms % 1000 * 1000000};

    nanosleep(&pause, NULL); /* cut short by SIGTERM, and then that is what we want */
}

/* Notes on both sides of the delete, so that a kill at any moment leaves no lie behind. */
static int handle(struct fanq_batch *batch, int notes, long pause_ms, struct fanq_error *error)
{
    if (notes_take(notes, batch) < 0)
        return FANQ_ERR_IO;
    work(pause_ms);
    if (notes_send(notes) < 0)
        return FANQ_ERR_IO;
    if (fanq_ack_batch_sync(batch, ANSWER_MS, error) < 0)
        return error->code;
    return notes_gone(notes, batch) < 0 ? FANQ_ERR_IO : 0;
}

static int consume(struct fanq *client, const char *queue, int notes, long pause_ms, struct fanq_error *error)
{
    struct fanq_receive_options how = FANQ_RECEIVE_OPTIONS_INIT;
    int err = 0;

    how.messages_max = BATCH_MESSAGES;
    how.wait_ms = WAIT_MS; /* so that a stop is noticed when nothing comes */
    while (err == 0 && !stopping) {
        struct fanq_batch *batch = NULL;

        err = fanq_receive_sync(client, queue, &how, ANSWER_MS, &batch, error);
        if (err == 0 && fanq_batch_count(batch) > 0)
            err = handle(batch, notes, pause_ms, error);
        fanq_batch_unref(batch);
    }
    return err;
}

int main(int argc, char **argv)
{
    struct fanq_error error = {0};
    struct fanq *client = NULL;
    int notes, err;

    if (argc != 5) {
        fprintf(stderr, "usage: fanq-demo-worker URL QUEUE NOTES-FILE PAUSE-MS\n");
        return 2;
    }
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_term}, NULL);
    notes = open(argv[3], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (notes < 0) {
        perror(argv[3]);
        return 1;
    }
    err = fanq_open(argv[1], NULL, &client);
    if (err == 0)
        err = consume(client, argv[2], notes, atol(argv[4]), &error);
    if (err < 0)
        fprintf(stderr, "worker of %s: %s: %s\n", argv[2], fanq_strerror(err), error.text);
    fanq_free(client);
    close(notes);
    return err < 0 ? 1 : 0;
}
