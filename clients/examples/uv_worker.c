/* A worker inside a libuv program. It turns each message of one queue into capitals and sends it on to
 * another; a message is acknowledged only when its successor is safe.
 *
 * usage: uv_worker FROM TO */
#include <ctype.h>
#include <fanq-uv.h>
#include <stdio.h>
#include <string.h>

enum { BODY_BYTES_MAX = 4096 };

static const char *to;

static void on_sent(struct fanq *client, const struct fanq_sent *sent, void *user)
{
    struct fanq_message *message = user;

    (void)client;
    if (sent->error.code == 0)
        (void)fanq_ack(message, NULL, NULL); /* if it fails, the message comes again */
    else
        (void)fanq_nack(message, 1000, NULL, NULL); /* likewise, only later */
    fanq_message_unref(message);
}

static void forward(struct fanq *client, struct fanq_message *message)
{
    struct fanq_content content = {0};
    char capitals[BODY_BYTES_MAX];
    size_t bytes;
    const char *body = fanq_message_body(message, &bytes);

    if (bytes > sizeof(capitals))
        bytes = sizeof(capitals);
    for (size_t i = 0; i < bytes; i++)
        capitals[i] = (char)toupper((unsigned char)body[i]);
    content.body = capitals;
    content.body_bytes = bytes;
    if (fanq_send(client, to, &content, on_sent, fanq_message_ref(message)) != 0)
        fanq_message_unref(message); /* its visibility timeout brings it back */
}

static void on_delivered(struct fanq_consumer *consumer, struct fanq_batch *batch, void *user)
{
    (void)user;
    for (size_t i = 0; i < fanq_batch_count(batch); i++) {
        struct fanq_message *message = fanq_batch_message(batch, i);

        if (message != NULL)
            forward(fanq_consumer_client(consumer), message);
    }
}

static void on_closed(struct fanq *client, const struct fanq_error *error, void *user)
{
    (void)error;
    (void)user;
    fanq_free(client);
}

/* The adapter ends with the client, this handle by itself: then the loop has nothing left and returns. */
static void on_signal(uv_signal_t *handle, int number)
{
    (void)number;
    (void)fanq_close(handle->data, 5000, on_closed, NULL); /* a second signal finds it closing already */
    uv_close((uv_handle_t *)handle, NULL);
}

int main(int argc, char **argv)
{
    uv_loop_t *loop = uv_default_loop();
    uv_signal_t terminate;
    struct fanq *client;

    if (argc != 3 || fanq_open(NULL, NULL, &client) != 0) {
        fprintf(stderr, "usage: uv_worker FROM TO\n");
        return 2;
    }
    to = argv[2];
    if (fanq_consume(client, argv[1], NULL, on_delivered, NULL, NULL, NULL) != 0 ||
        fanq_uv_attach(loop, client, NULL) != 0)
        return 1;
    uv_signal_init(loop, &terminate);
    terminate.data = client;
    uv_signal_start(&terminate, on_signal, SIGTERM);
    uv_run(loop, UV_RUN_DEFAULT);
    return uv_loop_close(loop) == 0 ? 0 : 1;
}
