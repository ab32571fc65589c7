/* A worker: the broker pushes messages as they come, each is acknowledged when its work is done, and SIGTERM
 * ends it after the message in hand.
 *
 * usage: worker QUEUE */
#include <fanq.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static struct fanq *client;
static volatile sig_atomic_t stopping;

static void on_signal(int number)
{
    (void)number;
    stopping = 1;
    (void)fanq_wakeup(client); /* one of the two functions that may be called from here: it always succeeds */
}

static void work(struct fanq_message *message)
{
    size_t bytes;
    const char *body = fanq_message_body(message, &bytes);

    printf("%.*s\n", (int)bytes, body);
    fflush(stdout);
}

static void on_delivered(struct fanq_consumer *consumer, struct fanq_batch *batch, void *user)
{
    (void)consumer;
    (void)user;
    for (size_t i = 0; i < fanq_batch_count(batch); i++) {
        struct fanq_message *message = fanq_batch_message(batch, i);

        if (message == NULL || stopping) {
            (void)fanq_nack_batch(batch, 0, NULL,
                                  NULL); /* the rest, at once, for others; else their time runs out */
            return;
        }
        work(message);
        if (fanq_ack(message, NULL, NULL) != 0)
            fprintf(stderr, "worker: a message will come again\n");
    }
}

static void on_end(struct fanq_consumer *consumer, const struct fanq_error *error, void *user)
{
    (void)consumer;
    if (error->code != 0 && error->code != FANQ_ERR_CLOSED)
        fprintf(stderr, "worker: %s\n", error->text);
    *(int *)user = error->code;
    stopping = 1;
}

int main(int argc, char **argv)
{
    struct fanq_consume_options how = FANQ_CONSUME_OPTIONS_INIT;
    struct sigaction action = {.sa_handler = on_signal};
    int end_code = 0;

    how.messages = 16; /* few, so that other workers get theirs */
    if (argc != 2 || fanq_open(NULL, NULL, &client) != 0 ||
        fanq_consume(client, argv[1], &how, on_delivered, on_end, &end_code, NULL) != 0) {
        fprintf(stderr, "usage: worker QUEUE\n");
        return 2;
    }
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    while (!stopping && fanq_run(client, -1) == 0)
        ;
    int err = fanq_close_sync(client, 5000, NULL); /* the acks get out */
    fanq_free(client);
    return err == 0 && (end_code == 0 || end_code == FANQ_ERR_CLOSED) ? 0 : 1;
}
