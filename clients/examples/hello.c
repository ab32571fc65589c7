/* The smallest program: one message there and back, with blocking calls. */
#include <fanq.h>
#include <stdio.h>

int main(void)
{
    struct fanq *client;
    struct fanq_batch *batch;
    struct fanq_error error;
    struct fanq_content content = fanq_text("hello, world");
    size_t bytes = 0;

    if (fanq_open(NULL, NULL, &client) != 0) {
        fputs("hello: no client; is FANQ_URL the URL of a broker?\n", stderr);
        return 2;
    }
    if (fanq_send_sync(client, "hello", &content, 5000, &error) != 0 ||
        fanq_receive_sync(client, "hello", NULL, 5000, &batch, &error) != 0) {
        fprintf(stderr, "hello: %s\n", error.text);
        fanq_free(client);
        return 1;
    }
    if (fanq_batch_count(batch) > 0) {
        const char *body = fanq_message_body(fanq_batch_message(batch, 0), &bytes);
        printf("%.*s\n", (int)bytes, body);
        (void)fanq_ack_batch_sync(batch, 5000, &error); /* not acknowledged, it would only come again */
    }
    fanq_batch_unref(batch);
    fanq_free(client);
    return bytes > 0 ? 0 : 1;
}
