/* The blocking twins: begin the request, go round until its callback has come.
 *
 * They stand on the public functions; all they know of the inside is that a request made while
 * sync_timeout_ms is set has that timeout, so that the callback comes in time whatever happens. */
#include "client.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

struct wait {
    bool done;
    struct fanq_error error;
};

static int wait_begin(struct fanq *client, int timeout_ms)
{
    if (client->depth > 0)
        return FANQ_ERR_INVALID; /* inside a callback nobody would go round */
    client->sync_timeout_ms = timeout_ms > 0 ? (uint32_t)timeout_ms : 1;
    return 0;
}

/* err: what the request function said. */
static int wait_end(struct fanq *client, int err, struct wait *wait, struct fanq_error *ret_error)
{
    client->sync_timeout_ms = 0;
    if (err != 0)
        fanq_error_set(&wait->error, err);
    while (err == 0 && !wait->done) {
        /* Closed, or freed by another's callback: then all callbacks have come, ours too. */
        int closed = fanq_client_round(client, -1);
        assert(closed == 0 || wait->done);
    }
    if (ret_error != NULL)
        *ret_error = wait->error;
    return wait->error.code;
}

static void on_done(struct fanq *client, const struct fanq_error *error, void *user)
{
    struct wait *wait = user;

    (void)client;
    wait->error = *error;
    wait->done = true;
}

/* `call` is the asynchronous one, with on_done and &wait. */
#define SYNC(client, timeout_ms, ret_error, call)                                                            \
    struct wait wait = {0};                                                                                  \
    int err = wait_begin(client, timeout_ms);                                                                \
    return wait_end(client, err != 0 ? err : (call), &wait, ret_error)

/* ---- topology ---- */

int fanq_queue_create_sync(struct fanq *client, const char *queue, const struct fanq_queue_settings *settings,
                           int timeout_ms, struct fanq_error *ret_error)
{
    SYNC(client, timeout_ms, ret_error, fanq_queue_create(client, queue, settings, on_done, &wait));
}

int fanq_queue_set_sync(struct fanq *client, const char *queue, const struct fanq_queue_settings *settings,
                        int timeout_ms, struct fanq_error *ret_error)
{
    SYNC(client, timeout_ms, ret_error, fanq_queue_set(client, queue, settings, on_done, &wait));
}

int fanq_queue_delete_sync(struct fanq *client, const char *queue, int timeout_ms,
                           struct fanq_error *ret_error)
{
    SYNC(client, timeout_ms, ret_error, fanq_queue_delete(client, queue, on_done, &wait));
}

int fanq_queue_purge_sync(struct fanq *client, const char *queue, int timeout_ms,
                          struct fanq_error *ret_error)
{
    SYNC(client, timeout_ms, ret_error, fanq_queue_purge(client, queue, on_done, &wait));
}

int fanq_topic_create_sync(struct fanq *client, const char *topic, int timeout_ms,
                           struct fanq_error *ret_error)
{
    SYNC(client, timeout_ms, ret_error, fanq_topic_create(client, topic, on_done, &wait));
}

int fanq_topic_delete_sync(struct fanq *client, const char *topic, int timeout_ms,
                           struct fanq_error *ret_error)
{
    SYNC(client, timeout_ms, ret_error, fanq_topic_delete(client, topic, on_done, &wait));
}

int fanq_subscribe_sync(struct fanq *client, const char *topic, const char *queue, int timeout_ms,
                        struct fanq_error *ret_error)
{
    SYNC(client, timeout_ms, ret_error, fanq_subscribe(client, topic, queue, on_done, &wait));
}

int fanq_unsubscribe_sync(struct fanq *client, const char *topic, const char *queue, int timeout_ms,
                          struct fanq_error *ret_error)
{
    SYNC(client, timeout_ms, ret_error, fanq_unsubscribe(client, topic, queue, on_done, &wait));
}

int fanq_ping_sync(struct fanq *client, int timeout_ms, struct fanq_error *ret_error)
{
    SYNC(client, timeout_ms, ret_error, fanq_ping(client, on_done, &wait));
}

struct queue_wait {
    struct wait wait;
    struct fanq_queue_info *info;
};

static void on_queue(struct fanq *client, const struct fanq_error *error, const struct fanq_queue_info *info,
                     void *user)
{
    struct queue_wait *wait = user;

    if (info != NULL) {
        *wait->info = *info;
        wait->info->name = wait->info->name_text;
    }
    on_done(client, error, &wait->wait);
}

int fanq_queue_get_sync(struct fanq *client, const char *queue, int timeout_ms,
                        struct fanq_queue_info *ret_info, struct fanq_error *ret_error)
{
    struct queue_wait wait = {.info = ret_info};
    int err = wait_begin(client, timeout_ms);

    if (err == 0)
        err = fanq_queue_get(client, queue, on_queue, &wait);
    return wait_end(client, err, &wait.wait, ret_error);
}

struct topic_wait {
    struct wait wait;
    struct fanq_topic_info *info;
};

static void on_topic(struct fanq *client, const struct fanq_error *error, const struct fanq_topic_info *info,
                     void *user)
{
    struct topic_wait *wait = user;

    if (info != NULL) {
        *wait->info = *info;
        wait->info->name = wait->info->name_text;
    }
    on_done(client, error, &wait->wait);
}

int fanq_topic_get_sync(struct fanq *client, const char *topic, int timeout_ms,
                        struct fanq_topic_info *ret_info, struct fanq_error *ret_error)
{
    struct topic_wait wait = {.info = ret_info};
    int err = wait_begin(client, timeout_ms);

    if (err == 0)
        err = fanq_topic_get(client, topic, on_topic, &wait);
    return wait_end(client, err, &wait.wait, ret_error);
}

/* ---- lists ---- */

struct list_wait {
    struct wait wait;
    struct fanq_name_list *list;
};

/* List, pointers and texts in one piece of memory. */
static struct fanq_name_list *list_copy(const struct memory *memory, const struct fanq_name_list *from)
{
    size_t bytes = sizeof(*from) + from->count * sizeof(char *);

    for (size_t i = 0; i < from->count; i++)
        bytes += strlen(from->names[i]) + 1;
    struct fanq_name_list *list = memory_resize(memory, NULL, bytes);
    if (list == NULL)
        return NULL;

    const char **names = (const char **)(list + 1);
    char *text = (char *)(names + from->count);
    for (size_t i = 0; i < from->count; i++) {
        names[i] = text;
        text = stpcpy(text, from->names[i]) + 1;
    }
    *list = (struct fanq_name_list){names, from->count, from->more};
    return list;
}

static void on_list(struct fanq *client, const struct fanq_error *error, const struct fanq_name_list *list,
                    void *user)
{
    struct list_wait *wait = user;

    if (list != NULL)
        wait->list = list_copy(&client->memory, list);
    on_done(client, error, &wait->wait);
    if (list != NULL && wait->list == NULL)
        fanq_error_set(&wait->wait.error, FANQ_ERR_NOMEM);
}

static int list_end(struct fanq *client, int err, struct list_wait *wait, struct fanq_name_list **ret_list,
                    struct fanq_error *ret_error)
{
    err = wait_end(client, err, &wait->wait, ret_error);
    if (err == 0)
        *ret_list = wait->list;
    return err;
}

int fanq_queue_list_sync(struct fanq *client, const struct fanq_list_options *options, int timeout_ms,
                         struct fanq_name_list **ret_list, struct fanq_error *ret_error)
{
    struct list_wait wait = {0};
    int err = wait_begin(client, timeout_ms);

    if (err == 0)
        err = fanq_queue_list(client, options, on_list, &wait);
    return list_end(client, err, &wait, ret_list, ret_error);
}

int fanq_topic_list_sync(struct fanq *client, const struct fanq_list_options *options, int timeout_ms,
                         struct fanq_name_list **ret_list, struct fanq_error *ret_error)
{
    struct list_wait wait = {0};
    int err = wait_begin(client, timeout_ms);

    if (err == 0)
        err = fanq_topic_list(client, options, on_list, &wait);
    return list_end(client, err, &wait, ret_list, ret_error);
}

int fanq_subscription_list_sync(struct fanq *client, const char *topic,
                                const struct fanq_list_options *options, int timeout_ms,
                                struct fanq_name_list **ret_list, struct fanq_error *ret_error)
{
    struct list_wait wait = {0};
    int err = wait_begin(client, timeout_ms);

    if (err == 0)
        err = fanq_subscription_list(client, topic, options, on_list, &wait);
    return list_end(client, err, &wait, ret_list, ret_error);
}

void fanq_name_list_free(struct fanq *client, struct fanq_name_list *list)
{
    memory_free(&client->memory, list);
}

struct stats_wait {
    struct wait wait;
    struct fanq_stat_list *list;
};

static struct fanq_stat_list *stats_copy(const struct memory *memory, const struct fanq_stat_list *from)
{
    size_t bytes = sizeof(*from) + from->count * sizeof(*from->entries);

    for (size_t i = 0; i < from->count; i++)
        bytes += strlen(from->entries[i].name) + 1;
    struct fanq_stat_list *list = memory_resize(memory, NULL, bytes);
    if (list == NULL)
        return NULL;

    struct fanq_stat_entry *entries = (struct fanq_stat_entry *)(list + 1);
    char *text = (char *)(entries + from->count);
    for (size_t i = 0; i < from->count; i++) {
        entries[i] = (struct fanq_stat_entry){text, from->entries[i].value};
        text = stpcpy(text, from->entries[i].name) + 1;
    }
    *list = (struct fanq_stat_list){entries, from->count};
    return list;
}

static void on_stats(struct fanq *client, const struct fanq_error *error, const struct fanq_stat_list *list,
                     void *user)
{
    struct stats_wait *wait = user;

    if (list != NULL)
        wait->list = stats_copy(&client->memory, list);
    on_done(client, error, &wait->wait);
    if (list != NULL && wait->list == NULL)
        fanq_error_set(&wait->wait.error, FANQ_ERR_NOMEM);
}

int fanq_stats_sync(struct fanq *client, int timeout_ms, struct fanq_stat_list **ret_list,
                    struct fanq_error *ret_error)
{
    struct stats_wait wait = {0};
    int err = wait_begin(client, timeout_ms);

    if (err == 0)
        err = fanq_stats(client, on_stats, &wait);
    err = wait_end(client, err, &wait.wait, ret_error);
    if (err == 0)
        *ret_list = wait.list;
    return err;
}

void fanq_stat_list_free(struct fanq *client, struct fanq_stat_list *list)
{
    memory_free(&client->memory, list);
}

struct backup_wait {
    struct wait wait;
    struct fanq_backup *backup;
};

static void on_backup(struct fanq *client, const struct fanq_error *error, const struct fanq_backup *backup,
                      void *user)
{
    struct backup_wait *wait = user;

    if (backup != NULL)
        wait->backup = fanq_backup_copy(&client->memory, backup);
    on_done(client, error, &wait->wait);
    if (backup != NULL && wait->backup == NULL)
        fanq_error_set(&wait->wait.error, FANQ_ERR_NOMEM);
}

int fanq_backup_begin_sync(struct fanq *client, int timeout_ms, struct fanq_backup **ret_backup,
                           struct fanq_error *ret_error)
{
    struct backup_wait wait = {0};
    int err = wait_begin(client, timeout_ms);

    if (err == 0)
        err = fanq_backup_begin(client, on_backup, &wait);
    err = wait_end(client, err, &wait.wait, ret_error);
    if (err == 0)
        *ret_backup = wait.backup;
    return err;
}

int fanq_backup_end_sync(struct fanq *client, int timeout_ms, struct fanq_error *ret_error)
{
    SYNC(client, timeout_ms, ret_error, fanq_backup_end(client, on_done, &wait));
}

/* ---- producing ---- */

static void on_sent(struct fanq *client, const struct fanq_sent *sent, void *user)
{
    on_done(client, &sent->error, user);
}

int fanq_send_sync(struct fanq *client, const char *queue, const struct fanq_content *content, int timeout_ms,
                   struct fanq_error *ret_error)
{
    SYNC(client, timeout_ms, ret_error, fanq_send(client, queue, content, on_sent, &wait));
}

int fanq_publish_sync(struct fanq *client, const char *topic, const struct fanq_content *content,
                      int timeout_ms, struct fanq_error *ret_error)
{
    SYNC(client, timeout_ms, ret_error, fanq_publish(client, topic, content, on_sent, &wait));
}

struct batch_wait {
    struct wait wait;
    size_t count;
};

static void on_batch_sent(struct fanq *client, const struct fanq_batch_sent *sent, void *user)
{
    struct batch_wait *wait = user;

    wait->count = sent->count;
    on_done(client, &sent->error, &wait->wait);
    if (sent->error.code == 0 && sent->refused_count > 0)
        fanq_error_set(&wait->wait.error, sent->refused[0].code);
}

static int batch_end(struct fanq *client, int err, struct batch_wait *wait, size_t *ret_count,
                     struct fanq_error *ret_error)
{
    err = wait_end(client, err, &wait->wait, ret_error);
    if (ret_count != NULL)
        *ret_count = wait->count;
    return err;
}

int fanq_send_batch_sync(struct fanq *client, const char *queue, const struct fanq_content *contents,
                         size_t count, int timeout_ms, size_t *ret_count, struct fanq_error *ret_error)
{
    struct batch_wait wait = {0};
    int err = wait_begin(client, timeout_ms);

    if (err == 0)
        err = fanq_send_batch(client, queue, contents, count, on_batch_sent, &wait);
    return batch_end(client, err, &wait, ret_count, ret_error);
}

int fanq_publish_batch_sync(struct fanq *client, const char *topic, const struct fanq_content *contents,
                            size_t count, int timeout_ms, size_t *ret_count, struct fanq_error *ret_error)
{
    struct batch_wait wait = {0};
    int err = wait_begin(client, timeout_ms);

    if (err == 0)
        err = fanq_publish_batch(client, topic, contents, count, on_batch_sent, &wait);
    return batch_end(client, err, &wait, ret_count, ret_error);
}

/* ---- consuming ---- */

struct receive_wait {
    struct wait wait;
    struct fanq_batch *batch;
};

static void on_received(struct fanq *client, const struct fanq_error *error, struct fanq_batch *batch,
                        void *user)
{
    struct receive_wait *wait = user;

    wait->batch = batch != NULL ? fanq_batch_ref(batch) : NULL;
    on_done(client, error, &wait->wait);
}

static int receive_end(struct fanq *client, int err, struct receive_wait *wait, struct fanq_batch **ret_batch,
                       struct fanq_error *ret_error)
{
    err = wait_end(client, err, &wait->wait, ret_error);
    if (err == 0)
        *ret_batch = wait->batch;
    return err;
}

int fanq_receive_any_sync(struct fanq *client, const char *const *queues, size_t queue_count,
                          const struct fanq_receive_options *options, int timeout_ms,
                          struct fanq_batch **ret_batch, struct fanq_error *ret_error)
{
    struct receive_wait wait = {0};
    int err = wait_begin(client, timeout_ms);

    if (err == 0)
        err = fanq_receive_any(client, queues, queue_count, options, on_received, &wait);
    return receive_end(client, err, &wait, ret_batch, ret_error);
}

int fanq_receive_sync(struct fanq *client, const char *queue, const struct fanq_receive_options *options,
                      int timeout_ms, struct fanq_batch **ret_batch, struct fanq_error *ret_error)
{
    return fanq_receive_any_sync(client, &queue, 1, options, timeout_ms, ret_batch, ret_error);
}

int fanq_peek_sync(struct fanq *client, const char *queue, const struct fanq_peek_options *options,
                   int timeout_ms, struct fanq_batch **ret_batch, struct fanq_error *ret_error)
{
    struct receive_wait wait = {0};
    int err = wait_begin(client, timeout_ms);

    if (err == 0)
        err = fanq_peek(client, queue, options, on_received, &wait);
    return receive_end(client, err, &wait, ret_batch, ret_error);
}

/* ---- settling ---- */

/* The client of a batch may be gone. */
#define SYNC_BATCH(batch, timeout_ms, ret_error, call)                                                       \
    struct fanq_batch *of = (batch);                                                                         \
    if (of->client == NULL)                                                                                  \
        return closed(ret_error);                                                                            \
    SYNC(of->client, timeout_ms, ret_error, call)

static int closed(struct fanq_error *ret_error)
{
    if (ret_error != NULL)
        fanq_error_set(ret_error, FANQ_ERR_CLOSED);
    return FANQ_ERR_CLOSED;
}

int fanq_ack_sync(struct fanq_message *message, int timeout_ms, struct fanq_error *ret_error)
{
    SYNC_BATCH(message->batch, timeout_ms, ret_error, fanq_ack(message, on_done, &wait));
}

int fanq_ack_batch_sync(struct fanq_batch *batch, int timeout_ms, struct fanq_error *ret_error)
{
    SYNC_BATCH(batch, timeout_ms, ret_error, fanq_ack_batch(batch, on_done, &wait));
}

int fanq_nack_sync(struct fanq_message *message, uint64_t delay_ms, int timeout_ms,
                   struct fanq_error *ret_error)
{
    SYNC_BATCH(message->batch, timeout_ms, ret_error, fanq_nack(message, delay_ms, on_done, &wait));
}

int fanq_nack_batch_sync(struct fanq_batch *batch, uint64_t delay_ms, int timeout_ms,
                         struct fanq_error *ret_error)
{
    SYNC_BATCH(batch, timeout_ms, ret_error, fanq_nack_batch(batch, delay_ms, on_done, &wait));
}

int fanq_extend_sync(struct fanq_message *message, uint64_t visibility_ms, int timeout_ms,
                     struct fanq_error *ret_error)
{
    SYNC_BATCH(message->batch, timeout_ms, ret_error, fanq_extend(message, visibility_ms, on_done, &wait));
}

int fanq_extend_batch_sync(struct fanq_batch *batch, uint64_t visibility_ms, int timeout_ms,
                           struct fanq_error *ret_error)
{
    SYNC_BATCH(batch, timeout_ms, ret_error, fanq_extend_batch(batch, visibility_ms, on_done, &wait));
}

/* ---- the client ---- */

static int tell(struct fanq_error *ret_error, const struct fanq_error *error)
{
    if (ret_error != NULL)
        *ret_error = *error;
    return error->code;
}

/* One round, at most until then. */
static int round_until(struct fanq *client, uint64_t end_ms)
{
    uint64_t now_ms = fanq_clock_ms();

    return fanq_client_round(client, end_ms > now_ms ? (int)(end_ms - now_ms) : 0);
}

int fanq_wait_ready(struct fanq *client, int timeout_ms, struct fanq_error *ret_error)
{
    uint64_t end_ms = fanq_clock_ms() + (uint64_t)(timeout_ms > 0 ? timeout_ms : 0);
    struct fanq_error error;
    int err = client->depth > 0 ? FANQ_ERR_INVALID : 0;

    while (err == 0 && client->phase != PHASE_READY && fanq_clock_ms() < end_ms)
        err = round_until(client, end_ms);
    if (err == FANQ_ERR_INVALID)
        fanq_error_set(&error, err);
    else if (err != 0 && client->cause.code == 0)
        fanq_error_set(&error, err);
    else if (client->phase == PHASE_READY)
        fanq_error_set(&error, 0);
    else if (client->cause.code != 0)
        fanq_error_set_text(&error, FANQ_ERR_NOT_CONNECTED, "%s", client->cause.text);
    else
        fanq_error_set_text(&error, FANQ_ERR_NOT_CONNECTED, "%s: no answer in time",
                            fanq_current_url(client));
    return tell(ret_error, &error);
}

int fanq_flush_sync(struct fanq *client, int timeout_ms, struct fanq_error *ret_error)
{
    uint64_t end_ms = fanq_clock_ms() + (uint64_t)(timeout_ms > 0 ? timeout_ms : 0);
    struct fanq_error error;
    int err = client->depth > 0 ? FANQ_ERR_INVALID : 0;

    while (err == 0 && (client->pending_count > 0 || !list_empty(&client->dirty_batches)))
        err = fanq_clock_ms() < end_ms ? round_until(client, end_ms) : FANQ_ERR_TIMEOUT;
    /* A client that has closed has nothing pending any more. */
    fanq_error_set(&error, err == FANQ_ERR_CLOSED ? 0 : err);
    return tell(ret_error, &error);
}

int fanq_close_sync(struct fanq *client, int drain_ms, struct fanq_error *ret_error)
{
    SYNC(client, drain_ms, ret_error, fanq_close(client, drain_ms, on_done, &wait));
}
