/* usage: account_service USER...
 *
 * Changes the password of each user (here: does nothing of the kind) and tells the world. */
#include "accounts.h"

static void publish_change(struct fanq *client, const char *user)
{
    struct fanq_message_attribute attributes[] = {{.name = "user", .value = user},
                                                  {.name = "attempts", .type = "Number", .value = "1"}};
    struct fanq_content content = fanq_text("password changed");
    struct fanq_error error;

    content.attributes = attributes;
    content.attribute_count = 2;
    /* When this returns 0 the event is the broker's care. */
    if (fanq_publish_sync(client, TOPIC, &content, TIMEOUT_MS, &error) != 0)
        fail(user, &error);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: account_service USER...\n");
        return 2;
    }
    struct fanq *client = connect_or_fail("account service");
    for (int i = 1; i < argc; i++)
        publish_change(client, argv[i]);
    fanq_free(client);
    return 0;
}
