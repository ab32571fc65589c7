/* A producer that is faster than its broker: it sends without waiting for answers, the library joins messages
 * into frames, and FANQ_ERR_LIMIT tells when to let the broker catch up.
 *
 * usage: producer QUEUE COUNT */
#include <fanq.h>
#include <stdio.h>
#include <stdlib.h>

struct tally {
    unsigned long sent;
    unsigned long failed;
};

static void on_sent(struct fanq *client, const struct fanq_sent *sent, void *user)
{
    struct tally *tally = user;

    (void)client;
    if (sent->error.code == 0)
        tally->sent++;
    else if (tally->failed++ == 0)
        fprintf(stderr, "producer: %s\n", sent->error.text);
}

/* Sends one message, waiting where too much is pending. */
static int send_number(struct fanq *client, const char *queue, unsigned long number, struct tally *tally)
{
    struct fanq_content content = {0};
    char body[32];
    int err;

    content.body = body;
    content.body_bytes = (size_t)snprintf(body, sizeof(body), "message %lu", number);
    while ((err = fanq_send(client, queue, &content, on_sent, tally)) == FANQ_ERR_LIMIT)
        if (fanq_run(client, 1) != 0)
            return FANQ_ERR_CLOSED;
    return err;
}

int main(int argc, char **argv)
{
    struct fanq_options options = FANQ_OPTIONS_INIT;
    struct fanq_error error;
    struct tally tally = {0};
    struct fanq *client;

    options.pending_requests_max = 10000; /* this much is under way at most */
    options.name = "example producer";
    if (argc != 3 || fanq_open(NULL, &options, &client) != 0) {
        fprintf(stderr, "usage: producer QUEUE COUNT\n");
        return 2;
    }
    unsigned long count = strtoul(argv[2], NULL, 10);
    int err = fanq_wait_ready(client, 5000, &error);
    for (unsigned long number = 0; err == 0 && number < count; number++)
        err = send_number(client, argv[1], number, &tally);
    if (err == 0)
        err = fanq_flush_sync(client, 30000, &error);
    if (err != 0)
        fprintf(stderr, "producer: %s\n", fanq_strerror(err));
    fanq_free(client); /* what is not answered by now is told to on_sent */
    printf("%lu sent, %lu failed\n", tally.sent, tally.failed);
    return err == 0 && tally.failed == 0 ? 0 : 1;
}
