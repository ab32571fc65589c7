/* libfanq: the C client of fanq.
 *
 * One non-blocking core, three faces:
 *   - your own loop:  fanq_fd(), fanq_events(), fanq_timeout_ms(), fanq_process(); no threads, no globals
 *   - libuv:          fanq-uv.h (library fanq-uv)
 *   - blocking calls: every request has a twin ending in _sync, with a timeout in milliseconds, always
 *
 * Threads:   a struct fanq, its consumers, batches and messages belong to one thread. Only fanq_wakeup()
 *            and fanq_post() may be called from others.
 * Requests:  a request function returns 0 or a negative FANQ_ERR_... If it fails, nothing was begun and no
 *            callback comes. Else the callback comes exactly once, from fanq_process() or fanq_free(),
 *            never from the request function itself. A NULL callback is allowed where the outcome is all
 *            it would tell. Its error code is 0, what the broker answered, or
 *              FANQ_ERR_TIMEOUT        no answer in time; whether the request was applied is open
 *              FANQ_ERR_CLOSED         it was not sent: the client was closed
 *              FANQ_ERR_NOT_CONNECTED  it was not sent: no connection, and options.reconnect is off
 *              FANQ_ERR_UNKNOWN        it was sent, and the connection ended before the answer; it may
 *                                      have been applied
 * Repeats:   when the connection ends, what does the same when it is done twice is sent again by the next one.
 *            So are sends and publishes: the broker remembers what it has of this client and takes each once.
 *            They end as UNKNOWN only if the next broker does not remember: another one, one that keeps
 *            nothing and was started again, or after a day. A message id that was wanted may then be missing.
 * Callbacks: may call anything, fanq_close() and fanq_free() included, but no _sync function
 *            (FANQ_ERR_INVALID).
 * Memory:    arguments are borrowed for the call and copied where needed. What a callback gets is lent until
 *            it returns; batches and messages can be kept with _ref(). Strings without a length are
 *            NUL-terminated.
 * Leases:    the visibility timeout of a message runs on while you do not call the library: extend what
 *            takes longer.
 *
 * C99; C++ may include it. */
#ifndef FANQ_H
#define FANQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fanq_error.h"

#ifndef FANQ_EXPORT
#if defined(__GNUC__)
#define FANQ_EXPORT __attribute__((visibility("default")))
#else
#define FANQ_EXPORT
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

struct fanq;          /* a client: one connection to one broker, kept up */
struct fanq_batch;    /* messages that came together */
struct fanq_message;  /* one of them */
struct fanq_consumer; /* a push: the broker sends messages as they come */

/* ---- errors ---- */

/* What went wrong, in full: part of every result. fanq_error.h has the codes, fanq_strerror() their texts. */
struct fanq_error {
    int code;         /* 0: nothing went wrong. Else FANQ_ERR_... */
    bool retryable;   /* the same request may succeed later */
    const char *name; /* "QUEUE_NOT_FOUND"; static; "OK" for 0 */
    char text[160];   /* for people: the broker's words, or ours */
};

/* ---- life ---- */

/* Memory by your own means: bytes 0 frees memory (and gives NULL), memory NULL allocates; else as
 * realloc(). */
typedef void *(*fanq_allocate_fn)(void *user, void *memory, size_t bytes);

/* Start from FANQ_OPTIONS_INIT and change what you need; fields are only ever added at the end. */
struct fanq_options {
    size_t size;      /* sizeof(struct fanq_options) */
    const char *name; /* of the program, for the broker's people; NULL: "libfanq" */
    bool reconnect;   /* try again for ever; else one round over the URLs, and a lost connection is the end */
    bool gather;      /* join single sends to one target into one frame per round of fanq_process() */
    uint32_t gather_count_max;     /* messages in such a frame */
    uint32_t gather_bytes_max;     /* bytes in such a frame; a longer message goes alone */
    uint32_t request_timeout_ms;   /* of requests; a receive has its wait on top */
    uint32_t connect_timeout_ms;   /* for one address, greeting included */
    uint32_t reconnect_ms_min;     /* the pause doubles from here, with full jitter ... */
    uint32_t reconnect_ms_max;     /* ... up to here */
    uint32_t ping_interval_ms;     /* silence after which the broker is asked for life; twice that is a lost
                                      connection; 0: never */
    size_t pending_bytes_max;      /* of requests waiting to be sent, and of messages waiting for their
                                      answer; beyond it FANQ_ERR_LIMIT */
    uint32_t pending_requests_max; /* without an answer; beyond it FANQ_ERR_LIMIT */
    size_t frame_bytes_max;        /* the longest answer that is accepted */
    fanq_allocate_fn allocate;     /* NULL: malloc and free */
    void *allocate_user;
};

#define FANQ_OPTIONS_INIT                                                                                    \
    {                                                                                                        \
        sizeof(struct fanq_options), NULL, true, true, 1024, 128 * 1024, 30000, 5000, 100, 10000, 15000,     \
            64 * 1024 * 1024, 1024 * 1024, 16 * 1024 * 1024, NULL, NULL                                      \
    }

/* Gives a client that connects in the background; never blocks, does no I/O yet. The url is
 *   fanq://HOST[:9320]   unix:/PATH   or several of them with commas between, tried in turn;
 * NULL: the environment's FANQ_URL, else fanq://127.0.0.1:9320. options NULL: the defaults.
 * (Addresses and "localhost" resolve at once; any other host name is looked up by getaddrinfo(), which can
 * block fanq_process() while it connects.) FANQ_ERR_INVALID: a bad URL or option. FANQ_ERR_IO: no descriptors
 * left. */
FANQ_EXPORT int fanq_open(const char *url, const struct fanq_options *options, struct fanq **ret_client);

enum fanq_client_state {
    FANQ_CLIENT_CONNECTING = 1,
    FANQ_CLIENT_READY = 2,
    FANQ_CLIENT_LOST = 3,  /* pausing before the next try; the cause says why */
    FANQ_CLIENT_CLOSED = 4 /* for good: fanq_close(), or lost without options.reconnect */
};

/* cause: what ended the connection (LOST, CLOSED), else code 0. */
typedef void (*fanq_state_cb)(struct fanq *client, enum fanq_client_state state,
                              const struct fanq_error *cause, void *user);
FANQ_EXPORT void fanq_on_state(struct fanq *client, fanq_state_cb cb, void *user);
FANQ_EXPORT enum fanq_client_state fanq_state(const struct fanq *client);

/* Drives the client until it is ready. FANQ_ERR_NOT_CONNECTED, with the last cause in the text: not in
 * time. */
FANQ_EXPORT int fanq_wait_ready(struct fanq *client, int timeout_ms, struct fanq_error *ret_error);

typedef void (*fanq_done_cb)(struct fanq *client, const struct fanq_error *error, void *user);

/* Takes no new requests; stops the consumers, sends what is waiting and lets it be answered for at most
 * drain_ms, then says goodbye. Receives end at once. The callback comes when all is over: code 0, or
 * FANQ_ERR_TIMEOUT when something was cut off (its own callback told so). The client still wants
 * fanq_free(). */
FANQ_EXPORT int fanq_close(struct fanq *client, int drain_ms, fanq_done_cb cb, void *user);
FANQ_EXPORT int fanq_close_sync(struct fanq *client, int drain_ms, struct fanq_error *ret_error);

/* Ends everything now. Never blocks; requests and consumers still open get their callbacks (CLOSED or
 * UNKNOWN) before it returns, or, when called inside a callback, right behind that callback. Batches you hold
 * stay readable, acks of them fail with FANQ_ERR_CLOSED. Accepts NULL. */
FANQ_EXPORT void fanq_free(struct fanq *client);

/* Calls back once when the client is about to be freed, before its descriptor closes: for adapters to event
 * loops. */
FANQ_EXPORT void fanq_on_free(struct fanq *client, void (*cb)(void *user), void *user);

/* What the broker said of itself; zeroes before the first READY. Lent until the next connection. */
struct fanq_broker_info {
    uint64_t epoch; /* another one means: the broker was started again */
    const char *server;
    const char *storage;
    uint64_t frame_bytes_max;
    uint64_t message_bytes_max;
    bool auto_create; /* what you send to or receive from is created when missing */
};
FANQ_EXPORT const struct fanq_broker_info *fanq_broker_info(const struct fanq *client);

/* The URL in use, or tried last: one of those given to fanq_open(). */
FANQ_EXPORT const char *fanq_current_url(const struct fanq *client);

FANQ_EXPORT const char *fanq_version(void);

/* ---- driving ---- */

/* The descriptor to watch; the same one for the life of the client, whatever the connection does. */
FANQ_EXPORT int fanq_fd(const struct fanq *client);

/* The poll(2) events to watch it for. It is a set of descriptors with the real events inside, so this is
 * POLLIN always. */
FANQ_EXPORT int fanq_events(const struct fanq *client);

/* Call fanq_process() after this many milliseconds even if the descriptor is silent. 0: there is something to
 * send or to tell now. -1: only the descriptor matters. Ask again before every sleep: requests change it. */
FANQ_EXPORT int fanq_timeout_ms(const struct fanq *client);

/* One round: reads what has come and calls back, then sends what has gathered. Never waits.
 * 0, or FANQ_ERR_CLOSED once the client is closed. FANQ_ERR_INVALID inside a callback. */
FANQ_EXPORT int fanq_process(struct fanq *client);

/* A simple loop around the above. Ends after timeout_ms (-1: never), when the client closes
 * (FANQ_ERR_CLOSED), or when fanq_wakeup() is called. */
FANQ_EXPORT int fanq_run(struct fanq *client, int timeout_ms);

/* Makes the descriptor readable, so that the owner comes round. From any thread, and from a signal
 * handler. */
FANQ_EXPORT int fanq_wakeup(struct fanq *client);

/* Runs fn in the owner's thread, in its next fanq_process(). From any thread, not from a signal handler.
 * What is still posted at fanq_free() is run then. FANQ_ERR_NOMEM. The caller sees to it that the client
 * is alive. */
typedef void (*fanq_post_fn)(struct fanq *client, void *user);
FANQ_EXPORT int fanq_post(struct fanq *client, fanq_post_fn fn, void *user);

/* For back-pressure: bytes not yet given to the system, and requests without an answer (messages waiting to
 * be gathered count one each; receives and consumers do not count). */
FANQ_EXPORT size_t fanq_pending_bytes(const struct fanq *client);
FANQ_EXPORT size_t fanq_pending_requests(const struct fanq *client);

/* Drives the client until no request is pending. The error is FANQ_ERR_TIMEOUT only; how each request ended,
 * its own callback told. */
FANQ_EXPORT int fanq_flush_sync(struct fanq *client, int timeout_ms, struct fanq_error *ret_error);

/* ---- topology ---- */

enum { FANQ_OWN = -1 }; /* for a duration: the queue's own setting */

/* Start from FANQ_QUEUE_SETTINGS_INIT: everything as the broker has it. */
struct fanq_queue_settings {
    size_t size;
    int64_t visibility_ms;   /* how long a message is hidden once received; FANQ_OWN: not set here */
    int64_t receive_wait_ms; /* how long a receive waits unless it says; FANQ_OWN: not set here */
    /* 1: messages may be received before they are on the disk, which is sooner by the time that takes. The publisher is not
     * answered before, so none that it knows to be safe is lost; but a consumer may have seen one that is gone after a power
     * cut, or that comes once more because the publisher sends it again. No matter for a broker that keeps messages in
     * memory. 0: not before (how queues are made); FANQ_OWN: not set here */
    int early_delivery;
};
#define FANQ_QUEUE_SETTINGS_INIT                                                                             \
    {                                                                                                        \
        sizeof(struct fanq_queue_settings), FANQ_OWN, FANQ_OWN, FANQ_OWN                                     \
    }

/* Figures about a queue, exact when taken. */
struct fanq_queue_info {
    const char *name;
    uint64_t queue_id;
    uint64_t visibility_ms;
    uint64_t receive_wait_ms;
    bool early_delivery;
    uint64_t visible;
    uint64_t in_flight;
    uint64_t delayed;
    uint64_t oldest_age_ms;
    uint64_t created_ms; /* wall clock */
    uint64_t consumers;  /* long polls and pushes waiting */
    uint64_t sent;
    uint64_t delivered;
    uint64_t deleted;
    char name_text[344]; /* where `name` points in the answers of _sync */
};

struct fanq_topic_info {
    const char *name;
    uint64_t stream;
    uint64_t subscription_count;
    uint64_t created_ms; /* wall clock */
    uint64_t published;
    char name_text[344];
};

/* Names, rising. more: ask again with `after` set to the last of them. */
struct fanq_name_list {
    const char *const *names;
    size_t count;
    bool more;
};

struct fanq_list_options {
    size_t size;
    const char *prefix; /* NULL: all; not used for subscriptions */
    const char *after;  /* NULL: from the first */
    uint32_t limit;     /* at most 1000 */
};
#define FANQ_LIST_OPTIONS_INIT                                                                               \
    {                                                                                                        \
        sizeof(struct fanq_list_options), NULL, NULL, 1000                                                   \
    }

/* info and list are NULL on error. */
typedef void (*fanq_queue_cb)(struct fanq *client, const struct fanq_error *error,
                              const struct fanq_queue_info *info, void *user);
typedef void (*fanq_topic_cb)(struct fanq *client, const struct fanq_error *error,
                              const struct fanq_topic_info *info, void *user);
typedef void (*fanq_list_cb)(struct fanq *client, const struct fanq_error *error,
                             const struct fanq_name_list *list, void *user);

/* Creating what exists with equal settings succeeds; with others it is FANQ_ERR_EXISTS. settings NULL: all
 * defaults. */
FANQ_EXPORT int fanq_queue_create(struct fanq *client, const char *queue,
                                  const struct fanq_queue_settings *settings, fanq_done_cb cb, void *user);
FANQ_EXPORT int fanq_queue_set(struct fanq *client, const char *queue,
                               const struct fanq_queue_settings *settings, fanq_done_cb cb, void *user);
FANQ_EXPORT int fanq_queue_get(struct fanq *client, const char *queue, fanq_queue_cb cb, void *user);
FANQ_EXPORT int fanq_queue_delete(struct fanq *client, const char *queue, fanq_done_cb cb, void *user);
FANQ_EXPORT int fanq_queue_purge(struct fanq *client, const char *queue, fanq_done_cb cb, void *user);
FANQ_EXPORT int fanq_queue_list(struct fanq *client, const struct fanq_list_options *options, fanq_list_cb cb,
                                void *user);
FANQ_EXPORT int fanq_topic_create(struct fanq *client, const char *topic, fanq_done_cb cb, void *user);
FANQ_EXPORT int fanq_topic_get(struct fanq *client, const char *topic, fanq_topic_cb cb, void *user);
FANQ_EXPORT int fanq_topic_delete(struct fanq *client, const char *topic, fanq_done_cb cb, void *user);
FANQ_EXPORT int fanq_topic_list(struct fanq *client, const struct fanq_list_options *options, fanq_list_cb cb,
                                void *user);
/* Subscribing twice is once. Messages published from now on go to the queue. */
FANQ_EXPORT int fanq_subscribe(struct fanq *client, const char *topic, const char *queue, fanq_done_cb cb,
                               void *user);
FANQ_EXPORT int fanq_unsubscribe(struct fanq *client, const char *topic, const char *queue, fanq_done_cb cb,
                                 void *user);
/* The names of the queues subscribed to the topic. */
FANQ_EXPORT int fanq_subscription_list(struct fanq *client, const char *topic,
                                       const struct fanq_list_options *options, fanq_list_cb cb, void *user);

/* The blocking twins: 0 or the error's code; *ret_error, which may be NULL, is set in either case. A list
 * given is freed with fanq_name_list_free(). */
FANQ_EXPORT int fanq_queue_create_sync(struct fanq *client, const char *queue,
                                       const struct fanq_queue_settings *settings, int timeout_ms,
                                       struct fanq_error *ret_error);
FANQ_EXPORT int fanq_queue_set_sync(struct fanq *client, const char *queue,
                                    const struct fanq_queue_settings *settings, int timeout_ms,
                                    struct fanq_error *ret_error);
FANQ_EXPORT int fanq_queue_get_sync(struct fanq *client, const char *queue, int timeout_ms,
                                    struct fanq_queue_info *ret_info, struct fanq_error *ret_error);
FANQ_EXPORT int fanq_queue_delete_sync(struct fanq *client, const char *queue, int timeout_ms,
                                       struct fanq_error *ret_error);
FANQ_EXPORT int fanq_queue_purge_sync(struct fanq *client, const char *queue, int timeout_ms,
                                      struct fanq_error *ret_error);
FANQ_EXPORT int fanq_queue_list_sync(struct fanq *client, const struct fanq_list_options *options,
                                     int timeout_ms, struct fanq_name_list **ret_list,
                                     struct fanq_error *ret_error);
FANQ_EXPORT int fanq_topic_create_sync(struct fanq *client, const char *topic, int timeout_ms,
                                       struct fanq_error *ret_error);
FANQ_EXPORT int fanq_topic_get_sync(struct fanq *client, const char *topic, int timeout_ms,
                                    struct fanq_topic_info *ret_info, struct fanq_error *ret_error);
FANQ_EXPORT int fanq_topic_delete_sync(struct fanq *client, const char *topic, int timeout_ms,
                                       struct fanq_error *ret_error);
FANQ_EXPORT int fanq_topic_list_sync(struct fanq *client, const struct fanq_list_options *options,
                                     int timeout_ms, struct fanq_name_list **ret_list,
                                     struct fanq_error *ret_error);
FANQ_EXPORT int fanq_subscribe_sync(struct fanq *client, const char *topic, const char *queue, int timeout_ms,
                                    struct fanq_error *ret_error);
FANQ_EXPORT int fanq_unsubscribe_sync(struct fanq *client, const char *topic, const char *queue,
                                      int timeout_ms, struct fanq_error *ret_error);
FANQ_EXPORT int fanq_subscription_list_sync(struct fanq *client, const char *topic,
                                            const struct fanq_list_options *options, int timeout_ms,
                                            struct fanq_name_list **ret_list, struct fanq_error *ret_error);
FANQ_EXPORT void fanq_name_list_free(struct fanq *client, struct fanq_name_list *list);

/* ---- producing ---- */

/* Name, type ("String", "Number", "Binary", or one of them with ".something" behind) and value. When you make
 * one, a length of 0 beside a pointer means: up to its NUL. Received ones are not terminated; go by the
 * lengths. */
struct fanq_message_attribute {
    const char *name;
    size_t name_bytes;
    const char *type; /* NULL: "String" */
    size_t type_bytes;
    const void *value;
    size_t value_bytes;
};

/* What to send. Zero all you do not use: (struct fanq_content){.body = "hi", .body_bytes = 2}. */
struct fanq_content {
    const void *body;
    size_t body_bytes;
    const char *subject;
    const char *trace; /* a W3C traceparent */
    const struct fanq_message_attribute *attributes;
    uint32_t attribute_count;
    bool want_id; /* have stream, epoch and seq in the result */
    uint64_t reserved[6];
};

/* Content of a plain text. */
static inline struct fanq_content fanq_text(const char *text)
{
    struct fanq_content content = {text, 0, NULL, NULL, NULL, 0, false, {0, 0, 0, 0, 0, 0}};

    while (text[content.body_bytes] != '\0')
        content.body_bytes++;
    return content;
}

/* What became of a message. */
struct fanq_sent {
    struct fanq_error error;
    bool has_id; /* the rest is set: it was wanted, there is no error, and it was not sent again */
    uint64_t stream;
    uint64_t epoch;
    uint64_t seq;
    uint64_t subscription_count; /* of the topic; 1 for a queue */
};
typedef void (*fanq_sent_cb)(struct fanq *client, const struct fanq_sent *sent, void *user);

/* Sends one message to a queue, or publishes one to a topic. Messages to one target stay in order; they are
 * gathered into common frames (options.gather), and one callback tells of each. FANQ_ERR_LIMIT: too much is
 * pending; let fanq_process() run, then go on. FANQ_ERR_MESSAGE_TOO_BIG, FANQ_ERR_INVALID (subject, trace or
 * attributes out of bounds), FANQ_ERR_NAME_INVALID. */
FANQ_EXPORT int fanq_send(struct fanq *client, const char *queue, const struct fanq_content *content,
                          fanq_sent_cb cb, void *user);
FANQ_EXPORT int fanq_publish(struct fanq *client, const char *topic, const struct fanq_content *content,
                             fanq_sent_cb cb, void *user);
FANQ_EXPORT int fanq_send_sync(struct fanq *client, const char *queue, const struct fanq_content *content,
                               int timeout_ms, struct fanq_error *ret_error);
FANQ_EXPORT int fanq_publish_sync(struct fanq *client, const char *topic, const struct fanq_content *content,
                                  int timeout_ms, struct fanq_error *ret_error);

/* A message of a batch that was not taken. */
struct fanq_refused {
    uint32_t index; /* among the contents */
    int code;       /* FANQ_ERR_... */
};

/* What became of a batch sent in one frame: error tells of the frame; without one, all but the refused were
 * taken. */
struct fanq_batch_sent {
    struct fanq_error error;
    size_t count; /* how many were taken */
    bool
        has_id; /* the ids below are set: the first content wanted it, and it was not sent again. Taken messages count up from
                     first_seq. */
    uint64_t stream;
    uint64_t epoch;
    uint64_t first_seq;
    uint64_t subscription_count;
    const struct fanq_refused *refused;
    size_t refused_count; /* at most 256 are named */
};
typedef void (*fanq_batch_sent_cb)(struct fanq *client, const struct fanq_batch_sent *sent, void *user);

/* Many messages in one frame, which must hold them all (FANQ_ERR_FRAME_TOO_BIG, FANQ_ERR_INVALID for none).
 * They go behind what was gathered for the target before. */
FANQ_EXPORT int fanq_send_batch(struct fanq *client, const char *queue, const struct fanq_content *contents,
                                size_t count, fanq_batch_sent_cb cb, void *user);
FANQ_EXPORT int fanq_publish_batch(struct fanq *client, const char *topic,
                                   const struct fanq_content *contents, size_t count, fanq_batch_sent_cb cb,
                                   void *user);
/* ret_count, which may be NULL: how many were taken; when that is not all, the error is the first
 * refusal's. */
FANQ_EXPORT int fanq_send_batch_sync(struct fanq *client, const char *queue,
                                     const struct fanq_content *contents, size_t count, int timeout_ms,
                                     size_t *ret_count, struct fanq_error *ret_error);
FANQ_EXPORT int fanq_publish_batch_sync(struct fanq *client, const char *topic,
                                        const struct fanq_content *contents, size_t count, int timeout_ms,
                                        size_t *ret_count, struct fanq_error *ret_error);

/* ---- consuming ---- */

struct fanq_receive_options {
    size_t size;
    uint32_t messages_max;
    uint32_t bytes_max; /* of all; one message comes whatever its size */
    int64_t wait_ms;    /* a long poll: how long to wait for the first message. FANQ_OWN: as the queue says */
    int64_t visibility_ms; /* FANQ_OWN: as the queue says */
    bool auto_delete;      /* deleted as they are handed over: nothing to acknowledge, lost when you crash */
};
#define FANQ_RECEIVE_OPTIONS_INIT                                                                            \
    {                                                                                                        \
        sizeof(struct fanq_receive_options), 10, 256 * 1024, FANQ_OWN, FANQ_OWN, false                       \
    }

/* batch: NULL on error; its count is 0 when nothing came within the wait. */
typedef void (*fanq_received_cb)(struct fanq *client, const struct fanq_error *error,
                                 struct fanq_batch *batch, void *user);

/* Receives from a queue, or from the first of several (at most 16) that has something. options NULL: the
 * defaults. */
FANQ_EXPORT int fanq_receive(struct fanq *client, const char *queue,
                             const struct fanq_receive_options *options, fanq_received_cb cb, void *user);
FANQ_EXPORT int fanq_receive_any(struct fanq *client, const char *const *queues, size_t queue_count,
                                 const struct fanq_receive_options *options, fanq_received_cb cb, void *user);
/* Give a batch to be released with fanq_batch_unref(). The wait is cut to fit the timeout. */
FANQ_EXPORT int fanq_receive_sync(struct fanq *client, const char *queue,
                                  const struct fanq_receive_options *options, int timeout_ms,
                                  struct fanq_batch **ret_batch, struct fanq_error *ret_error);
FANQ_EXPORT int fanq_receive_any_sync(struct fanq *client, const char *const *queues, size_t queue_count,
                                      const struct fanq_receive_options *options, int timeout_ms,
                                      struct fanq_batch **ret_batch, struct fanq_error *ret_error);

enum fanq_consume_mode {
    FANQ_CONSUME_AUTO = 0, /* deleted as the broker sends them: lost with the connection */
    FANQ_CONSUME_ACK = 1   /* yours to acknowledge within the visibility timeout */
};

struct fanq_consume_options {
    size_t size;
    enum fanq_consume_mode mode;
    bool topic;            /* the target is a topic, subscribed to until the consumer ends; mode AUTO only */
    uint64_t messages;     /* the window: so many may be in your hands or under way */
    uint64_t bytes;        /* the same in bytes; one delivery may exceed it by one message */
    int64_t visibility_ms; /* FANQ_OWN: as the queue says */
    bool manual_credit; /* the window is not refilled as messages are acknowledged or released: you do it */
};
#define FANQ_CONSUME_OPTIONS_INIT                                                                            \
    {                                                                                                        \
        sizeof(struct fanq_consume_options), FANQ_CONSUME_ACK, false, 1000, 4 * 1024 * 1024, FANQ_OWN, false \
    }

typedef void (*fanq_delivered_cb)(struct fanq_consumer *consumer, struct fanq_batch *batch, void *user);
/* The consumer has ended and is freed behind this call: code 0 after fanq_consumer_stop(), what the broker
 * said, or FANQ_ERR_CLOSED. Comes exactly once. A lost connection does not end a consumer: it is started
 * again. */
typedef void (*fanq_consumer_end_cb)(struct fanq_consumer *consumer, const struct fanq_error *error,
                                     void *user);

/* Starts a push. ret_consumer may be NULL. */
FANQ_EXPORT int fanq_consume(struct fanq *client, const char *target,
                             const struct fanq_consume_options *options, fanq_delivered_cb on_delivered,
                             fanq_consumer_end_cb on_end, void *user, struct fanq_consumer **ret_consumer);
/* Deliveries under way still come until on_end does. Stopping twice is once. */
FANQ_EXPORT int fanq_consumer_stop(struct fanq_consumer *consumer);
/* With manual_credit: lets the broker send so many more. */
FANQ_EXPORT int fanq_consumer_credit(struct fanq_consumer *consumer, uint64_t messages, uint64_t bytes);
FANQ_EXPORT struct fanq *fanq_consumer_client(const struct fanq_consumer *consumer);

enum fanq_message_state { /* bits */
                          FANQ_MESSAGE_READY = 1,
                          FANQ_MESSAGE_IN_FLIGHT = 2,
                          FANQ_MESSAGE_DELAYED = 4,
                          FANQ_MESSAGE_ANY = 7
};

struct fanq_peek_options {
    size_t size;
    uint32_t messages_max;
    uint32_t bytes_max;
    uint32_t states; /* FANQ_MESSAGE_ bits to show */
    bool after_valid;
    uint64_t after_stream; /* go on where fanq_batch_peek_cursor() says */
    uint64_t after_seq;
};
#define FANQ_PEEK_OPTIONS_INIT                                                                               \
    {                                                                                                        \
        sizeof(struct fanq_peek_options), 10, 256 * 1024, FANQ_MESSAGE_ANY, false, 0, 0                      \
    }

/* Looks at messages without taking them; they cannot be acknowledged. */
FANQ_EXPORT int fanq_peek(struct fanq *client, const char *queue, const struct fanq_peek_options *options,
                          fanq_received_cb cb, void *user);
FANQ_EXPORT int fanq_peek_sync(struct fanq *client, const char *queue,
                               const struct fanq_peek_options *options, int timeout_ms,
                               struct fanq_batch **ret_batch, struct fanq_error *ret_error);

/* ---- batches and messages ---- */

/* A batch is a view of the bytes as they came, counted by reference; its messages live as long as it does.
 * Keeping a message keeps its whole batch, and up to a megabyte of neighbours: copy the body to keep it for
 * long. */
FANQ_EXPORT struct fanq_batch *fanq_batch_ref(struct fanq_batch *batch);
FANQ_EXPORT void fanq_batch_unref(struct fanq_batch *batch); /* accepts NULL */
FANQ_EXPORT size_t fanq_batch_count(const struct fanq_batch *batch);
/* The index-th; NULL beyond the last, or (FANQ_ERR_NOMEM) when there is no memory for the index of the
 * batch. */
FANQ_EXPORT struct fanq_message *fanq_batch_message(struct fanq_batch *batch, size_t index);
/* How many messages an ephemeral subscription lost before this batch, because they were not taken in time. */
FANQ_EXPORT uint64_t fanq_batch_dropped(const struct fanq_batch *batch);
/* The queue they came from, by number; 0 after a peek. */
FANQ_EXPORT uint64_t fanq_batch_queue_id(const struct fanq_batch *batch);
/* After a peek: whether there is more, and where to go on. */
FANQ_EXPORT bool fanq_batch_peek_cursor(const struct fanq_batch *batch, uint64_t *ret_stream,
                                        uint64_t *ret_seq);

/* The fast way through a batch, without an object for each message: start from {0}, call until false. */
struct fanq_view {
    const void *body;
    size_t body_bytes;
    uint64_t stream;
    uint64_t seq;
    uint64_t time_ms;      /* wall clock, when the broker took it */
    uint32_t record_bytes; /* on the wire */
    uint32_t slice_index;  /* ours */
    uint64_t place[3];     /* ours */
};
FANQ_EXPORT bool fanq_batch_next(const struct fanq_batch *batch, struct fanq_view *view);

/* These count the batch's references. */
FANQ_EXPORT struct fanq_message *fanq_message_ref(struct fanq_message *message);
FANQ_EXPORT void fanq_message_unref(struct fanq_message *message); /* accepts NULL */

FANQ_EXPORT const void *fanq_message_body(const struct fanq_message *message, size_t *ret_bytes);
/* Not terminated; NULL when there is none. */
FANQ_EXPORT const char *fanq_message_subject(const struct fanq_message *message, size_t *ret_bytes);
FANQ_EXPORT const char *fanq_message_trace(const struct fanq_message *message, size_t *ret_bytes);
/* Start with *place 0; false at the end. */
FANQ_EXPORT bool fanq_message_attribute_next(const struct fanq_message *message, size_t *place,
                                             struct fanq_message_attribute *ret_attribute);
/* False when there is no attribute of this name. */
FANQ_EXPORT bool fanq_message_attribute(const struct fanq_message *message, const char *name,
                                        struct fanq_message_attribute *ret_attribute);
FANQ_EXPORT uint64_t fanq_message_stream(const struct fanq_message *message);
FANQ_EXPORT uint64_t fanq_message_seq(const struct fanq_message *message);
FANQ_EXPORT uint64_t fanq_message_epoch(const struct fanq_message *message);
/* "stream.epoch-seq" in hex: unique and stable, the same in every queue. Gives the length; size 52 always
 * suffices. */
FANQ_EXPORT size_t fanq_message_id(const struct fanq_message *message, char *ret_text, size_t size);
FANQ_EXPORT uint64_t
fanq_message_time_ms(const struct fanq_message *message); /* wall clock: when it was sent */
FANQ_EXPORT uint32_t fanq_message_deliveries(const struct fanq_message *message); /* this one included */
FANQ_EXPORT uint64_t
fanq_message_first_receive_ms(const struct fanq_message *message); /* 0: this is the first */
/* After a peek: FANQ_MESSAGE_ bit, and milliseconds until it may be received again. */
FANQ_EXPORT uint32_t fanq_message_state(const struct fanq_message *message);
FANQ_EXPORT uint64_t fanq_message_due_ms(const struct fanq_message *message);
FANQ_EXPORT struct fanq_batch *fanq_message_batch(const struct fanq_message *message);

/* ---- settling ---- */

/* Deletes a message, or all of a batch that were not settled yet. Acks are joined into ranges and sent once
 * per round. Acking what is settled already, by an ack, a nack or auto-deletion, succeeds at once and sends
 * nothing: what was given back comes again. FANQ_ERR_INVALID: a peeked message. FANQ_ERR_RECEIPT_EXPIRED: the
 * broker has been restarted since and forgot the message. An ack whose connection is lost is repeated on the
 * next one: deleting twice does no harm. */
FANQ_EXPORT int fanq_ack(struct fanq_message *message, fanq_done_cb cb, void *user);
FANQ_EXPORT int fanq_ack_batch(struct fanq_batch *batch, fanq_done_cb cb, void *user);
FANQ_EXPORT int fanq_ack_sync(struct fanq_message *message, int timeout_ms, struct fanq_error *ret_error);
FANQ_EXPORT int fanq_ack_batch_sync(struct fanq_batch *batch, int timeout_ms, struct fanq_error *ret_error);

/* Gives back: it may be received again after delay_ms. Counts as settled. The callback's error is
 * FANQ_ERR_RECEIPT_EXPIRED when the broker found none of the messages still held. */
FANQ_EXPORT int fanq_nack(struct fanq_message *message, uint64_t delay_ms, fanq_done_cb cb, void *user);
FANQ_EXPORT int fanq_nack_batch(struct fanq_batch *batch, uint64_t delay_ms, fanq_done_cb cb, void *user);
FANQ_EXPORT int fanq_nack_sync(struct fanq_message *message, uint64_t delay_ms, int timeout_ms,
                               struct fanq_error *ret_error);
FANQ_EXPORT int fanq_nack_batch_sync(struct fanq_batch *batch, uint64_t delay_ms, int timeout_ms,
                                     struct fanq_error *ret_error);

/* Hides it for visibility_ms from now on. FANQ_ERR_RECEIPT_EXPIRED as above. */
FANQ_EXPORT int fanq_extend(struct fanq_message *message, uint64_t visibility_ms, fanq_done_cb cb,
                            void *user);
FANQ_EXPORT int fanq_extend_batch(struct fanq_batch *batch, uint64_t visibility_ms, fanq_done_cb cb,
                                  void *user);
FANQ_EXPORT int fanq_extend_sync(struct fanq_message *message, uint64_t visibility_ms, int timeout_ms,
                                 struct fanq_error *ret_error);
FANQ_EXPORT int fanq_extend_batch_sync(struct fanq_batch *batch, uint64_t visibility_ms, int timeout_ms,
                                       struct fanq_error *ret_error);

/* ---- the broker ---- */

struct fanq_stat_entry {
    const char *name;
    uint64_t value;
};
struct fanq_stat_list {
    const struct fanq_stat_entry *entries;
    size_t count;
};
/* list is NULL on error. */
typedef void (*fanq_stats_cb)(struct fanq *client, const struct fanq_error *error,
                              const struct fanq_stat_list *list, void *user);

FANQ_EXPORT int fanq_ping(struct fanq *client, fanq_done_cb cb, void *user);
FANQ_EXPORT int fanq_ping_sync(struct fanq *client, int timeout_ms, struct fanq_error *ret_error);
FANQ_EXPORT int fanq_stats(struct fanq *client, fanq_stats_cb cb, void *user);
FANQ_EXPORT int fanq_stats_sync(struct fanq *client, int timeout_ms, struct fanq_stat_list **ret_list,
                                struct fanq_error *ret_error);
FANQ_EXPORT void fanq_stat_list_free(struct fanq *client, struct fanq_stat_list *list);

/* ---- backup ---- */

/* What a program on the broker's machine copies, as its user: PROTOCOL.md, BACKUP, says what these are. */
struct fanq_backup {
    const char *directory;
    uint64_t directory_id;
    uint64_t end_lsn;
    uint64_t segment_bytes;
    const uint64_t *segments;
    size_t segment_count;
    const uint64_t *cold_segments;
    size_t cold_segment_count;
};
/* backup is NULL on error. */
typedef void (*fanq_backup_cb)(struct fanq *client, const struct fanq_error *error,
                               const struct fanq_backup *backup, void *user);

/* The broker leaves these files alone until fanq_backup_end(), or the end of the connection. */
FANQ_EXPORT int fanq_backup_begin(struct fanq *client, fanq_backup_cb cb, void *user);
FANQ_EXPORT int fanq_backup_begin_sync(struct fanq *client, int timeout_ms, struct fanq_backup **ret_backup,
                                       struct fanq_error *ret_error);
FANQ_EXPORT void fanq_backup_free(struct fanq *client, struct fanq_backup *backup);
/* Success says that nothing was touched meanwhile. Only then is the copy worth anything. */
FANQ_EXPORT int fanq_backup_end(struct fanq *client, fanq_done_cb cb, void *user);
FANQ_EXPORT int fanq_backup_end_sync(struct fanq *client, int timeout_ms, struct fanq_error *ret_error);

#ifdef __cplusplus
}
#endif
#endif
