/* usage: email_service COUNT
 *
 * Mails the user of each of COUNT events: the broker pushes, a window of one keeps mails in order, and a mail
 * that cannot be sent is tried again five seconds later. */
#include "accounts.h"

#include <string.h>

/* The mail server of this example is standard output, and it does not know "nobody". */
static bool send_mail(const char *user, size_t user_bytes)
{
    if (user_bytes == strlen("nobody") && memcmp(user, "nobody", user_bytes) == 0)
        return false;
    printf("mail to %.*s: your password was changed\n", (int)user_bytes, user);
    fflush(stdout);
    return true;
}

static void on_acked(struct fanq *client, const struct fanq_error *error, void *user)
{
    unsigned long *left = user;

    if (error->code != 0)
        fail("ack", error);
    if (--*left == 0)
        (void)fanq_wakeup(client); /* main() goes on; it always succeeds */
}

static void on_delivered(struct fanq_consumer *consumer, struct fanq_batch *batch, void *user)
{
    struct fanq_message *message =
        fanq_batch_message(batch, 0); /* the window lets through no more than one */
    struct fanq_message_attribute account;

    (void)consumer;
    if (message == NULL || !fanq_message_attribute(message, "user", &account))
        return; /* not acknowledged, it comes again */
    if (send_mail(account.value, account.value_bytes))
        (void)fanq_ack(message, on_acked, user);
    else
        (void)fanq_nack(message, 5000, NULL, NULL);
}

int main(int argc, char **argv)
{
    struct fanq_consume_options how = FANQ_CONSUME_OPTIONS_INIT;
    unsigned long left = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;

    if (left == 0) {
        fprintf(stderr, "usage: email_service COUNT\n");
        return 2;
    }
    struct fanq *client = connect_or_fail("e-mail service");
    how.messages = 1;
    if (fanq_consume(client, EMAIL_QUEUE, &how, on_delivered, NULL, &left, NULL) != 0)
        return 1;
    while (left > 0 && fanq_run(client, -1) == 0)
        ;
    int err = fanq_close_sync(client, TIMEOUT_MS, NULL);
    fanq_free(client);
    return err == 0 ? 0 : 1;
}
