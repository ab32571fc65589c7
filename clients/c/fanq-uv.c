/* Three handles: a poll for the descriptor, a timer for fanq_timeout_ms(), and a prepare that looks, before
 * each sleep of the loop, at what requests have been made meanwhile: it sends them and sets the timer. Only
 * the poll keeps the loop alive.
 *
 * A client that ends inside its own callback calls back client_gone() while fanq_process() is on the stack;
 * the adapter then only marks itself, and its memory goes when libuv has closed the last handle. */
#include "fanq-uv.h"

#include <stdlib.h>

struct fanq_uv {
    struct fanq *client; /* NULL: over */
    uv_poll_t poll;
    uv_timer_t timer;
    uv_prepare_t prepare;
    int handles_open;
};

static void on_handle_closed(uv_handle_t *handle)
{
    struct fanq_uv *adapter = handle->data;

    if (--adapter->handles_open == 0)
        free(adapter);
}

static void adapter_stop(struct fanq_uv *adapter)
{
    if (adapter->client == NULL)
        return;
    adapter->client = NULL;
    uv_close((uv_handle_t *)&adapter->poll, on_handle_closed);
    uv_close((uv_handle_t *)&adapter->timer, on_handle_closed);
    uv_close((uv_handle_t *)&adapter->prepare, on_handle_closed);
}

static void client_gone(void *user)
{
    adapter_stop(user);
}

static void adapter_process(struct fanq_uv *adapter)
{
    struct fanq *client = adapter->client;

    if (fanq_process(client) == 0 || adapter->client == NULL)
        return;                       /* in the second case the client may be gone */
    fanq_on_free(client, NULL, NULL); /* closed: nothing will happen any more */
    adapter_stop(adapter);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status; /* an error shows in what fanq_process() finds */
    (void)events;
    adapter_process(poll->data);
}

static void on_timer(uv_timer_t *timer)
{
    adapter_process(timer->data);
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct fanq_uv *adapter = prepare->data;
    int timeout_ms = fanq_timeout_ms(adapter->client);

    if (timeout_ms == 0) {
        adapter_process(adapter);
        if (adapter->client == NULL)
            return;
        timeout_ms = fanq_timeout_ms(adapter->client);
    }
    if (timeout_ms < 0)
        (void)uv_timer_stop(&adapter->timer); /* cannot fail */
    else
        (void)uv_timer_start(&adapter->timer, on_timer, (uint64_t)timeout_ms, 0); /* nor with a callback */
}

int fanq_uv_attach(uv_loop_t *loop, struct fanq *client, struct fanq_uv **ret_adapter)
{
    struct fanq_uv *adapter = calloc(1, sizeof(*adapter));

    if (adapter == NULL)
        return FANQ_ERR_NOMEM;
    if (uv_poll_init(loop, &adapter->poll, fanq_fd(client)) != 0) {
        free(adapter);
        return FANQ_ERR_IO;
    }
    (void)uv_timer_init(loop, &adapter->timer); /* these two cannot fail */
    (void)uv_prepare_init(loop, &adapter->prepare);
    adapter->handles_open = 3;
    adapter->poll.data = adapter->timer.data = adapter->prepare.data = adapter;
    adapter->client = client;
    uv_unref((uv_handle_t *)&adapter->timer);
    uv_unref((uv_handle_t *)&adapter->prepare);
    (void)uv_prepare_start(&adapter->prepare, on_prepare);
    if (uv_poll_start(&adapter->poll, UV_READABLE, on_poll) != 0) {
        adapter_stop(adapter);
        return FANQ_ERR_IO;
    }
    fanq_on_free(client, client_gone, adapter);
    if (ret_adapter != NULL)
        *ret_adapter = adapter;
    return 0;
}

void fanq_uv_detach(struct fanq_uv *adapter)
{
    fanq_on_free(adapter->client, NULL, NULL);
    adapter_stop(adapter);
}
