/* The inside of libfanq: what its files share.
 *
 * Shape:    request functions write whole frames into the output and note a struct request; the rounds of
 *           client.c move bytes, match answers with requests and call back. Nothing else calls back.
 *
 *               topology.c produce.c consume.c settle.c   make requests
 *               request.c table.c                         numbers, deadlines; what is unsent, sent, ended
 *               answer.c batch.c                          take replies apart, end requests
 *               output.c input.c                          the bytes
 *               connection.c address.c                    socket, greeting, loss, the next try
 *               client.c                                  rounds, state, the calls of other threads
 *               sync.c                                    the blocking twins
 *
 * Lists:    a request is in exactly one of unsent, sent, ended by its `order` link, and in one of two
 *           deadline lists or none by its `timer` link. An ended one has left the table and waits for its
 *           callback.
 * Ends:     fanq_free() inside a callback only sets `freed`; what calls back looks at it after each call.
 * Loss:     what was not wholly written is kept and sent on the next connection with the same request id;
 *           what was written ends as UNKNOWN or, where repeating does no harm, is sent again.
 * Publishes: a broker that knows us as a producer applies one that comes again just once, so their frames stay
 *           in the output until they are answered, and all of them are sent again.
 * Names:    a static library shares its names with the program, so all that is not static is fanq_. */
#pragma once

#include <stdatomic.h>
#include <sys/socket.h>

#include "fanq.h"

#include "proto/reply.h"

enum {
    CHUNK_BYTES = 512 * 1024,       /* one read takes at most this */
    READS_PER_ROUND_MAX = 8,        /* so that sending and timers get their turn */
    DELIVERY_COPY_BYTES_MAX = 2048, /* shorter ones are copied: keeping one keeps no chunk */
    REQUEST_BYTES_MAX = 8192, /* any frame without records and ranges: 16 names of 336 bytes and change */
    REQUEST_BLOCK = 64,       /* requests are allocated so many at a time */
    FRAME_SHORT_BYTES = 80,   /* a repeatable frame up to here, as an ack of one range, needs no memory */
    URLS_MAX = 16,
    ADDRESSES_MAX = 8, /* of one host name */
    GATHER_BUCKETS = 64,
    GATHERS_KEPT_MAX = 256,
    TEXT_BYTES_MAX = 128,
    FRAME_BYTES_MAX_LEAST = 4096 /* a broker that accepts less could not even take a request */
};

/* ---- small tools ---- */

struct memory {
    fanq_allocate_fn allocate;
    void *user;
};

/* Frees with 0 bytes; the memory is not zeroed. */
static inline void *memory_resize(const struct memory *memory, void *old, size_t bytes)
{
    return memory->allocate(memory->user, old, bytes);
}

static inline void memory_free(const struct memory *memory, void *old)
{
    if (old != NULL)
        (void)memory->allocate(memory->user, old, 0);
}

void *fanq_memory_zeroed(const struct memory *memory, size_t bytes);

/* A circle of links with a head; an unlinked link is zero. */
struct link {
    struct link *prev;
    struct link *next;
};

#define CONTAINER_OF(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

static inline void list_init(struct link *head)
{
    head->prev = head->next = head;
}

static inline bool list_empty(const struct link *head)
{
    return head->next == head;
}

static inline void list_insert_before(struct link *place, struct link *item)
{
    item->prev = place->prev;
    item->next = place;
    place->prev->next = item;
    place->prev = item;
}

static inline void list_append(struct link *head, struct link *item)
{
    list_insert_before(head, item);
}

static inline void list_remove(struct link *item)
{
    if (item->next == NULL)
        return;
    item->prev->next = item->next;
    item->next->prev = item->prev;
    item->prev = item->next = NULL;
}

/* Moves all items to the end of `to`. */
static inline void list_move_all(struct link *from, struct link *to)
{
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

/* Bytes that grow. */
struct buffer {
    uint8_t *data;
    size_t length;
    size_t capacity;
};

/* Room for `bytes` more. 0 or FANQ_ERR_NOMEM. */
int fanq_buffer_reserve(const struct memory *memory, struct buffer *buffer, size_t bytes);
void fanq_buffer_close(const struct memory *memory, struct buffer *buffer);

void fanq_error_set(struct fanq_error *error, int code); /* with the list's text */
void fanq_error_set_text(struct fanq_error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

uint64_t fanq_clock_ms(void);

static inline struct fanq_bytes bytes_of(const char *text, size_t length)
{
    return (struct fanq_bytes){(const uint8_t *)text, length};
}

/* ---- requests ---- */

enum request_kind {
    REQUEST_DONE, /* OK or an error; also NACK and EXTEND, which ask for CHANGED */
    REQUEST_QUEUE,
    REQUEST_TOPIC,
    REQUEST_LIST,
    REQUEST_STATS,
    REQUEST_RECEIVE,
    REQUEST_PEEK,
    REQUEST_GATHER, /* single messages in one frame */
    REQUEST_BATCH,  /* a batch of the program's */
    REQUEST_ACK,
    REQUEST_PUSH, /* lives as long as its consumer */
    REQUEST_PUSH_STOP,
    REQUEST_BACKUP,
    REQUEST_PING /* our own question whether the broker lives */
};

/* Who waits for an ack that was joined with others. */
struct waiter {
    struct waiter *next;
    fanq_done_cb cb;
    void *user;
};

/* Who waits for one of the gathered messages. */
struct gathered {
    fanq_sent_cb cb;
    void *user;
    bool want_id;
};

struct request {
    struct link order;
    struct link timer;
    struct link kept; /* GATHER, BATCH: in client->kept */
    uint64_t id;
    uint64_t deadline_ms;
    uint64_t frame_start; /* places in the stream of output */
    uint64_t frame_end;
    enum request_kind kind;
    enum fanq_op op;
    int code;        /* once ended without an answer */
    uint32_t weight; /* what it counts among the pending requests */
    bool was_sent;   /* wholly, by this connection or an earlier one */
    bool repeatable; /* doing it twice is as good as once: repeated when the connection is lost */
    uint64_t epoch;  /* ACK, NACK, EXTEND: of the broker that made the delivery */
    uint8_t *frame;  /* repeatable: a copy; frame_short or own memory */
    uint32_t frame_bytes;
    uint8_t frame_short[FRAME_SHORT_BYTES];
    union {
        fanq_done_cb done;
        fanq_queue_cb queue;
        fanq_topic_cb topic;
        fanq_list_cb list;
        fanq_stats_cb stats;
        fanq_backup_cb backup;
        fanq_received_cb received;
        fanq_batch_sent_cb batch_sent;
    } cb;
    void *user;
    size_t count;                   /* GATHER, BATCH: messages in the frame */
    bool want_id;                   /* BATCH */
    struct gathered *gathered;      /* GATHER: count of them, or NULL when nobody waits */
    struct waiter *waiters;         /* ACK */
    struct fanq_consumer *consumer; /* PUSH, PUSH_STOP */
};

struct slot {
    uint64_t id;
    struct request *request; /* NULL: free */
};

/* Requests by id. Ids are consecutive, so the low bits are a perfect hash as long as old ones go before the
 * table has been gone round; a long poll that stays merely displaces its neighbours by one. */
struct table {
    struct slot *slots;
    size_t mask; /* slots - 1 */
    size_t count;
};

int fanq_table_reserve(const struct memory *memory, struct table *table);
void fanq_table_put(struct table *table, struct request *request); /* after fanq_table_reserve() */
struct request *fanq_table_find(const struct table *table, uint64_t id);
void fanq_table_remove(struct table *table, uint64_t id);

/* ---- the client ---- */

struct chunk {
    size_t references; /* the input and the batches that look into it */
    size_t size;
    uint8_t data[];
};

struct input {
    struct chunk *chunk; /* NULL before the first read */
    struct chunk *spare;
    size_t start; /* of the bytes not yet taken */
    size_t end;
};

struct output {
    struct buffer buffer;
    uint64_t start;   /* place of buffer.data[0] in the stream of all output */
    uint64_t written; /* place up to which the system has it */
};

struct endpoint {
    char *url;
    bool is_unix;
    char host[256]; /* or the path of a Unix socket */
    char port[6];
};

struct address {
    struct sockaddr_storage storage;
    socklen_t length;
};

/* Messages for one target that wait for the end of the round. */
struct gather {
    struct link order; /* in dirty_gathers while it has any */
    struct gather *next_in_bucket;
    enum fanq_op op;
    uint32_t hash;
    struct buffer records;
    struct buffer entries; /* struct gathered each; empty as long as nobody waits */
    uint32_t count;
    uint32_t timeout_ms;
    bool want_id;
    size_t target_bytes;
    char target[]; /* terminated */
};

enum phase {
    PHASE_NEW, /* the first round begins to connect */
    PHASE_CONNECTING,
    PHASE_GREETING, /* connected, HELLO not answered */
    PHASE_READY,
    PHASE_PAUSE, /* until retry_at_ms */
    PHASE_CLOSED
};

struct posted {
    struct posted *next;
    fanq_post_fn fn;
    void *user;
};

struct fanq {
    struct fanq_options options;
    struct memory memory;
    char name[FANQ_CLIENT_NAME_BYTES_MAX + 1];

    /* Rounds. */
    uint32_t depth; /* inside a round: callbacks run */
    bool freed;
    bool woken;      /* fanq_wakeup() was called since fanq_run() looked */
    uint64_t now_ms; /* of the round */
    int epoll_fd;
    int wake_fd;
    _Atomic(struct posted *) posts;
    atomic_bool wake_wanted;

    /* Connection. */
    enum phase phase;
    struct endpoint endpoints[URLS_MAX];
    size_t endpoint_count;
    size_t endpoint_index;
    size_t endpoints_tried; /* in this round over them */
    struct address addresses[ADDRESSES_MAX];
    size_t address_count;
    size_t address_index;
    int socket;
    uint32_t interest; /* epoll events asked for */
    bool blocked;      /* the socket takes no more for now */
    uint64_t connect_deadline_ms;
    uint64_t retry_at_ms;
    uint32_t failures; /* rounds without a READY */
    uint64_t random;
    uint8_t producer[FANQ_PRODUCER_BYTES];
    bool has_producer; /* there was randomness for one */
    bool remembered;   /* the broker said that it remembers producers */
    uint8_t greeting[FANQ_CLIENT_NAME_BYTES_MAX + 64];
    size_t greeting_bytes;
    size_t greeting_written;
    uint64_t received_at_ms; /* when bytes came last */
    bool pinging;
    struct fanq_error cause;       /* of the last loss */
    char farewell[TEXT_BYTES_MAX]; /* what the broker said before it hangs up */
    struct fanq_broker_info broker;
    char broker_server[TEXT_BYTES_MAX];
    char broker_storage[TEXT_BYTES_MAX];
    enum fanq_client_state state; /* as told to the program */
    fanq_state_cb state_cb;
    void *state_user;
    void (*free_cb)(void *user);
    void *free_user;

    /* Bytes. */
    struct input input;
    struct output output;
    struct buffer scratch; /* for replies with lists */
    struct buffer ranges;  /* of acks, nacks, extensions, while they are encoded */

    /* Requests. */
    uint64_t next_id;
    struct table table;
    struct link unsent; /* by frame_start */
    struct link sent;
    struct link ended;
    struct link kept;           /* publishes without an answer, by frame_start */
    struct link timers_regular; /* with the client's own timeout: in order by themselves */
    struct link timers_other;   /* kept in order */
    struct request *requests_free;
    struct buffer request_blocks; /* struct request *, REQUEST_BLOCK each */
    size_t pending_count;         /* sum of weights, and of gathered messages */
    uint32_t sync_timeout_ms;     /* of the blocking call under way; 0: none */

    /* Producing. */
    struct gather *gathers[GATHER_BUCKETS];
    struct gather *gather_last;
    size_t gather_count;
    size_t gathered_bytes;
    struct link dirty_gathers;

    /* Consuming. */
    struct link consumers;
    bool credit_dirty;         /* some consumer's window has room */
    struct link batches;       /* all that live, so that they learn of our end */
    struct link dirty_batches; /* with acks to send */

    /* Closing. */
    bool closing;
    uint64_t close_deadline_ms;
    fanq_done_cb close_cb;
    void *close_user;
};

/* May new requests be made? 0 or FANQ_ERR_CLOSED. */
int fanq_client_accepts(const struct fanq *client);

/* One round, waiting up to wait_ms (-1: as long as it takes) for something to happen. As fanq_process(). */
int fanq_client_round(struct fanq *client, int wait_ms);

/* Tells the program of a change. */
void fanq_client_set_state(struct fanq *client, enum fanq_client_state state, const struct fanq_error *cause);

/* Every request ends, for good: with UNKNOWN what was sent, with code_unsent what was not. Callbacks come
 * from fanq_client_run_ended(). */
void fanq_client_end_all(struct fanq *client, int code_unsent);

/* Runs the callbacks of requests that ended without an answer. */
void fanq_client_run_ended(struct fanq *client);

/* ---- request.c ---- */

/* Writes the wire request into the output and notes it: kind, callback and so on are copied from `like`. The
 * timeout is the client's own or, inside a _sync call, that call's, plus more_ms; REQUEST_PUSH has none.
 * Gathered messages go first, so that requests are sent in the order in which they were made. */
int fanq_request_submit(struct fanq *client, struct fanq_request *wire, const struct request *like,
                        uint64_t more_ms);

/* The same for requests of our own: no limits, and also while closing. */
int fanq_request_submit_own(struct fanq *client, struct fanq_request *wire, const struct request *like,
                            uint64_t timeout_ms);

/* The same for a frame that the caller has encoded with id client->next_id into the writer that
 * fanq_output_room() gave, and for whose request fanq_request_new() made room. Cannot fail. */
void fanq_request_note(struct fanq *client, struct request *request, const struct fanq_writer *w,
                       uint64_t timeout_ms);

/* Makes a request and sees to it that the table has room. 0, FANQ_ERR_NOMEM. */
int fanq_request_new(struct fanq *client, const struct request *like, struct request **ret_request);
void fanq_request_free(struct fanq *client, struct request *request);

uint32_t fanq_request_timeout_ms(const struct fanq *client);

/* A request that never needs the wire: its callback comes with `code` in the next round. */
int fanq_request_end_locally(struct fanq *client, const struct request *like, int code);

/* 0 or FANQ_ERR_LIMIT: may `count` more requests, or messages, of `bytes` in all be pending? */
int fanq_request_check_limits(const struct fanq *client, size_t count, size_t bytes);

/* Out of the table and the timers, on the list of the ended. */
void fanq_request_end(struct fanq *client, struct request *request, int code);

/* Out of everything; the caller runs the callback and frees. */
void fanq_request_take(struct fanq *client, struct request *request);

void fanq_requests_expire(struct fanq *client);
uint64_t fanq_requests_next_deadline_ms(const struct fanq *client);
/* Moves what has been written wholly from unsent to sent. */
void fanq_requests_written(struct fanq *client);
/* The connection is gone: decides for each sent request whether it is repeated or ends. */
void fanq_requests_lost(struct fanq *client);
/* The broker of the new connection does not know what we published before. */
void fanq_requests_forgotten(struct fanq *client);
/* A new connection: the output begins again with pushes, what is repeated, what was never sent. 0 or
 * FANQ_ERR_NOMEM. */
int fanq_requests_replay(struct fanq *client);

/* ---- output.c, input.c, connection.c, address.c ---- */

int fanq_output_room(struct fanq *client, size_t bytes, struct fanq_writer *ret_writer);
void fanq_output_added(struct fanq *client, const struct fanq_writer *w);
/* What waits to be sent, and what is kept until it is answered. */
size_t fanq_output_held_bytes(const struct fanq *client);
/* Without a connection, requests that ended before they were sent take no room any more. */
void fanq_output_skip_dead(struct fanq *client);
static inline uint64_t output_end(const struct output *output)
{
    return output->start + output->buffer.length;
}
/* Writes what the socket takes. 0, or FANQ_ERR_IO: the connection is lost. */
int fanq_output_write(struct fanq *client);

/* Reads and handles whole frames. 0, or what ends the connection. */
int fanq_input_read(struct fanq *client);
void fanq_input_reset(struct fanq *client);
void fanq_chunk_unref(struct fanq *client, const struct memory *memory,
                      struct chunk *chunk); /* client may be NULL */

void fanq_connection_begin(struct fanq *client);
void fanq_connection_step(struct fanq *client, uint32_t events);
void fanq_connection_timers(struct fanq *client);
uint64_t fanq_connection_next_deadline_ms(const struct fanq *client);
/* The connection, or the attempt at one, is over for this reason. */
void fanq_connection_lost(struct fanq *client, int code, const char *why);
void fanq_connection_close(struct fanq *client);
void fanq_connection_want(struct fanq *client, uint32_t events);
/* The answer to our HELLO. 0, or what ends the connection. */
int fanq_connection_greeted(struct fanq *client, const struct fanq_reply *reply);

int fanq_endpoints_parse(struct fanq *client, const char *urls);
int fanq_endpoint_resolve(const struct endpoint *endpoint, struct address *ret_addresses, size_t *ret_count);

/* ---- answer.c ---- */

/* Handles one frame. 0, or what ends the connection. */
int fanq_answer_frame(struct fanq *client, struct fanq_bytes payload);

/* Calls back with an error that is not an answer, and frees the request. */
void fanq_answer_without_reply(struct fanq *client, struct request *request);

/* ---- backup.c ---- */

struct fanq_backup *fanq_backup_copy(const struct memory *memory, const struct fanq_backup *from);
int fanq_backup_tell(struct fanq *client, struct request *request, const struct fanq_backup_reply *reply);

/* ---- produce.c, settle.c, consume.c, batch.c ---- */

/* Makes requests of what was gathered. 0, or FANQ_ERR_NOMEM: some of it is still there. */
int fanq_gathers_flush(struct fanq *client);
/* Calls back for what is still gathered. */
void fanq_gathers_fail(struct fanq *client, int code);
void fanq_gathers_free(struct fanq *client);
void fanq_gather_answer(struct fanq *client, struct request *request, const struct fanq_error *error,
                        const struct fanq_published *published);
void fanq_batch_sent_answer(struct fanq *client, struct request *request, const struct fanq_error *error,
                            const struct fanq_published *published);

/* Sends the acks of the round. 0 or FANQ_ERR_NOMEM: the next round tries again. */
int fanq_acks_flush(struct fanq *client);
/* Calls back for acks that were not made a request. */
void fanq_acks_fail(struct fanq *client, int code);
void fanq_waiters_call(struct fanq *client, struct waiter *waiters, const struct fanq_error *error);
void fanq_batch_give_back(struct fanq_batch *batch); /* nobody waits for it any more */

struct slice {
    uint64_t stream;
    uint64_t epoch;
    uint64_t first_seq;
    uint64_t time_ms;
    uint64_t first_receive_ms;
    uint64_t due_ms; /* PEEKED */
    const uint8_t *records;
    size_t records_bytes;
    uint32_t count;
    uint32_t first_index; /* among the messages of the batch */
    uint32_t deliveries;
    uint32_t state; /* PEEKED */
};

struct fanq_message {
    struct fanq_batch *batch;
    const uint8_t *record;
    uint32_t slice_index;
    uint32_t index;
};

struct fanq_batch {
    struct link order; /* in client->batches */
    struct link dirty; /* in client->dirty_batches */
    size_t references;
    struct memory memory;
    struct fanq *client;            /* NULL once that is gone */
    struct fanq_consumer *consumer; /* whose window its messages take from, or NULL */
    struct chunk *chunk;            /* NULL: the bytes stand behind the slices */
    uint64_t queue_id;
    uint64_t number; /* the broker's; 0: nothing to acknowledge */
    uint64_t dropped;
    uint64_t epoch; /* of the broker */
    bool peeked;
    bool more;
    uint64_t next_stream;
    uint64_t next_seq;
    uint64_t held_messages; /* credit that comes back when they are settled or released */
    uint64_t held_bytes;
    struct fanq_message *messages; /* made when first asked for */
    uint64_t *settled;             /* bits; made with the first single settling */
    uint64_t *acked;               /* bits of acks that wait to be sent; behind `settled` */
    bool settled_all;
    bool ack_all; /* a whole batch waits to be sent, no bits needed */
    struct waiter *waiters;
    uint32_t count;
    uint32_t slice_count;
    struct slice slices[];
};

/* Make a batch of a DELIVER's or a PEEKED's payload, which lies in the input's chunk. 0, FANQ_ERR_NOMEM,
 * FANQ_ERR_PROTOCOL. */
int fanq_batch_from_delivery(struct fanq *client, struct fanq_bytes payload, struct fanq_batch **ret_batch);
int fanq_batch_from_peeked(struct fanq *client, struct fanq_bytes payload, const struct fanq_peeked *peeked,
                           struct fanq_batch **ret_batch);
void fanq_batch_forget_client(struct fanq_batch *batch);

struct fanq_consumer {
    struct link order; /* in client->consumers */
    size_t references; /* one until it ends, one for each batch, one for the request to stop */
    struct memory memory;
    struct fanq *client;
    struct request *push;
    struct fanq_consume_options options;
    fanq_delivered_cb on_delivered;
    fanq_consumer_end_cb on_end;
    void *user;
    /* Held and granted together are the window, unless credit is manual. */
    uint64_t granted_messages; /* the broker may still send */
    uint64_t granted_bytes;
    uint64_t held_messages; /* delivered, not yet settled or released */
    uint64_t held_bytes;
    bool stopping;
    size_t target_bytes;
    char target[];
};

void fanq_consumer_unref(struct fanq_consumer *consumer);
void fanq_consumer_delivered(struct fanq *client, struct request *push, struct fanq_batch *batch);
/* Gives credit back; batches call this. */
void fanq_consumer_returned(struct fanq_consumer *consumer, uint64_t messages, uint64_t bytes);
/* The last word to the program. */
void fanq_consumer_end(struct fanq *client, struct request *push, const struct fanq_error *error);
/* A request to stop is over, whatever the broker said: so is the push. */
void fanq_consumer_stopped(struct fanq *client, struct request *stop);
int fanq_consumers_flush(struct fanq *client);
/* Writes the PUSH frame anew, with what the window has left; the output has room for it. */
void fanq_consumer_replay(struct fanq *client, struct request *push);
