/* usage: setup create|remove
 *
 * Creating twice is creating once, so every deployment may run it. */
#include "accounts.h"

#include <string.h>

static void create(struct fanq *client)
{
    struct fanq_queue_settings settings = FANQ_QUEUE_SETTINGS_INIT;
    struct fanq_error error;

    settings.visibility_ms = 60000; /* a mail server may be slow */
    if (fanq_topic_create_sync(client, TOPIC, TIMEOUT_MS, &error) != 0 ||
        fanq_queue_create_sync(client, HISTORY_QUEUE, NULL, TIMEOUT_MS, &error) != 0 ||
        fanq_queue_create_sync(client, EMAIL_QUEUE, &settings, TIMEOUT_MS, &error) != 0 ||
        fanq_subscribe_sync(client, TOPIC, HISTORY_QUEUE, TIMEOUT_MS, &error) != 0 ||
        fanq_subscribe_sync(client, TOPIC, EMAIL_QUEUE, TIMEOUT_MS, &error) != 0)
        fail("setup", &error);
}

/* What is gone already is as good as removed. */
static void remove_all(struct fanq *client)
{
    struct fanq_error error;
    int err = fanq_topic_delete_sync(client, TOPIC, TIMEOUT_MS, &error);

    if (err != 0 && err != FANQ_ERR_TOPIC_NOT_FOUND)
        fail(TOPIC, &error);
    err = fanq_queue_delete_sync(client, HISTORY_QUEUE, TIMEOUT_MS, &error);
    if (err != 0 && err != FANQ_ERR_QUEUE_NOT_FOUND)
        fail(HISTORY_QUEUE, &error);
    err = fanq_queue_delete_sync(client, EMAIL_QUEUE, TIMEOUT_MS, &error);
    if (err != 0 && err != FANQ_ERR_QUEUE_NOT_FOUND)
        fail(EMAIL_QUEUE, &error);
}

int main(int argc, char **argv)
{
    bool creates = argc == 2 && strcmp(argv[1], "create") == 0;

    if (!creates && (argc != 2 || strcmp(argv[1], "remove") != 0)) {
        fprintf(stderr, "usage: setup create|remove\n");
        return 2;
    }
    struct fanq *client = connect_or_fail("setup");
    if (creates)
        create(client);
    else
        remove_all(client);
    fanq_free(client);
    return 0;
}
