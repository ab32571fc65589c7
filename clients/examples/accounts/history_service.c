/* usage: history_service COUNT
 *
 * Writes one line of history for each of COUNT events: a plain loop of long polls with blocking calls. A
 * message is deleted when its line is written; should the program die in between, the message comes again. */
#include "accounts.h"

static void write_history(const struct fanq_message *message)
{
    struct fanq_message_attribute user;
    size_t bytes;
    const char *body = fanq_message_body(message, &bytes);

    if (fanq_message_attribute(message, "user", &user))
        printf("history: %.*s: %.*s\n", (int)user.value_bytes, (const char *)user.value, (int)bytes, body);
}

/* Receives some, at most `max`; gives how many. */
static unsigned long take_some(struct fanq *client, unsigned long max)
{
    struct fanq_receive_options how = FANQ_RECEIVE_OPTIONS_INIT;
    struct fanq_batch *batch;
    struct fanq_error error;

    how.wait_ms = 20000;
    how.messages_max = max < 10 ? (uint32_t)max : 10;
    if (fanq_receive_sync(client, HISTORY_QUEUE, &how, 25000, &batch, &error) != 0)
        fail("receive", &error);
    size_t count = fanq_batch_count(batch);
    for (size_t i = 0; i < count; i++) {
        struct fanq_message *message = fanq_batch_message(batch, i);

        if (message != NULL)
            write_history(message);
    }
    fflush(stdout);
    if (fanq_ack_batch_sync(batch, TIMEOUT_MS, &error) != 0)
        fail("ack", &error);
    fanq_batch_unref(batch);
    return count;
}

int main(int argc, char **argv)
{
    unsigned long left = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;

    if (left == 0) {
        fprintf(stderr, "usage: history_service COUNT\n");
        return 2;
    }
    struct fanq *client = connect_or_fail("history service");
    while (left > 0)
        left -= take_some(client, left);
    fanq_free(client);
    return 0;
}
