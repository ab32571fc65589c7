/* A window of parcels. A parcel is what one read() brought, up to its last newline, and travels as one batch:
 * slow input goes out line by line, fast input by the thousand.
 *
 * Back-pressure: with all parcels under way the input is not read. A parcel that the broker has no room for
 * is kept and sent again after a pause, in order with the others that came back; nothing new is read
 * meanwhile. Only when nothing was taken for as long as --timeout says, the run ends and counts it as failed.
 *
 * A message refused for what it is, is counted and the others go on. Any other refusal would meet all that
 * follows too, so it ends the reading. */
#include "lines.h"

#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    PARCELS = 16,
    PARCEL_BYTES = 128 * 1024,
    PARCEL_MESSAGES_MAX = 4096,
    MESSAGE_EXTRA_BYTES = 64, /* around a body, at most, beside attributes and their like */
    FRAME_EXTRA_BYTES = 1024, /* around a batch, at most */
    ATTRIBUTE_EXTRA_BYTES = 16,
    RETRY_MS_MIN = 10,
    RETRY_MS_MAX = 500,
    DRAIN_TURN_MS = 50,
    DRAIN_MS = 1000 /* after a signal, for what is under way */
};

struct lines;

struct parcel {
    struct lines *lines;
    struct parcel *next; /* among the free, or those to be sent again */
    char *bytes;
    size_t size, used;
    size_t taken;                  /* of used: what `contents` and messages left out make up */
    struct fanq_content *contents; /* the messages; bodies point into bytes */
    size_t count;
};

struct lines {
    struct cli *cli;
    struct content *content;
    char end; /* of a message */
    size_t message_bytes_max, batch_bytes_max, message_extra_bytes;
    struct parcel parcels[PARCELS];
    struct parcel *free;
    struct parcel *again_first, **again_last;
    struct parcel *filling; /* the next to be sent; holds bytes of messages that did not go yet */
    uint32_t under_way;
    bool input_ended;
    bool stopped; /* an error that would meet every message */
    uint64_t sent, failed, unknown;
    struct fanq_error first_error;   /* of those that failed */
    struct fanq_error first_unknown; /* of those of which it is not known */
    uint64_t taken_ms;               /* when a message was last taken */
    uint64_t retry_at_ms;
    uint32_t retry_ms;
    struct progress progress;
};

static void parcel_release(struct parcel *parcel)
{
    struct lines *lines = parcel->lines;

    parcel->used = parcel->taken = parcel->count = 0;
    parcel->next = lines->free;
    lines->free = parcel;
}

/* ---- outcomes ---- */

static void count_failed(struct lines *lines, int code, const char *text, size_t count)
{
    bool unknown = code == FANQ_ERR_UNKNOWN || code == FANQ_ERR_TIMEOUT;
    struct fanq_error *first = unknown ? &lines->first_unknown : &lines->first_error;

    if (first->code == 0) {
        first->code = code;
        snprintf(first->text, sizeof(first->text), "%s",
                 text != NULL && text[0] != '\0' ? text : fanq_strerror(code));
    }
    *(unknown ? &lines->unknown : &lines->failed) += count;
}

static bool out_of_patience(const struct lines *lines)
{
    return cli_now_ms() - lines->taken_ms > (uint64_t)cli_timeout_ms(lines->cli);
}

static void keep_for_again(struct lines *lines, struct parcel *parcel)
{
    parcel->next = NULL;
    *lines->again_last = parcel;
    lines->again_last = &parcel->next;
    lines->retry_at_ms = cli_now_ms() + lines->retry_ms;
    lines->retry_ms = lines->retry_ms * 2 < RETRY_MS_MAX ? lines->retry_ms * 2 : RETRY_MS_MAX;
}

static void refuse_parcel(struct lines *lines, struct parcel *parcel, int code, const char *text)
{
    if ((code == FANQ_ERR_NO_ROOM || code == FANQ_ERR_LIMIT) && !lines->stopped && !out_of_patience(lines)) {
        keep_for_again(lines, parcel);
        return;
    }
    count_failed(lines, code, text, parcel->count);
    lines->stopped = true;
    parcel_release(parcel);
}

static void on_batch_sent(struct fanq *client, const struct fanq_batch_sent *sent, void *user)
{
    struct parcel *parcel = user;
    struct lines *lines = parcel->lines;

    lines->under_way--;
    if (sent->error.code != 0) {
        refuse_parcel(lines, parcel, sent->error.code, sent->error.text);
        return;
    }
    lines->sent += sent->count;
    lines->taken_ms = cli_now_ms();
    lines->retry_ms = RETRY_MS_MIN;
    if (sent->count < parcel->count)
        count_failed(lines, sent->refused_count > 0 ? sent->refused[0].code : FANQ_ERR_INVALID, NULL,
                     parcel->count - sent->count);
    parcel_release(parcel);
}

static void send_parcel(struct lines *lines, struct parcel *parcel)
{
    const char *name = lines->content->name;
    struct fanq *client = lines->cli->client;
    int err = lines->content->topic
                  ? fanq_publish_batch(client, name, parcel->contents, parcel->count, on_batch_sent, parcel)
                  : fanq_send_batch(client, name, parcel->contents, parcel->count, on_batch_sent, parcel);

    if (err == 0)
        lines->under_way++;
    else
        refuse_parcel(lines, parcel, err, NULL);
}

/* ---- from bytes to messages ---- */

static void add_message(struct lines *lines, struct parcel *parcel, const char *body, size_t bytes)
{
    struct fanq_content *content = &parcel->contents[parcel->count];

    if (bytes > lines->message_bytes_max) {
        count_failed(lines, FANQ_ERR_MESSAGE_TOO_BIG, NULL, 1);
        return;
    }
    *content = lines->content->like;
    content->body = body;
    content->body_bytes = bytes;
    parcel->count++;
}

/* Takes complete messages out of the parcel's bytes while they fit a batch; at the end of the input what is
 * left over is one too. */
static void split(struct lines *lines, struct parcel *parcel)
{
    size_t batch_bytes = 0;

    while (parcel->taken < parcel->used && parcel->count < PARCEL_MESSAGES_MAX) {
        const char *body = parcel->bytes + parcel->taken;
        size_t left = parcel->used - parcel->taken;
        const char *end = memchr(body, lines->end, left);
        size_t bytes = end != NULL ? (size_t)(end - body) : left;

        if (end == NULL && !lines->input_ended)
            return;
        batch_bytes += bytes + lines->message_extra_bytes;
        if (batch_bytes > lines->batch_bytes_max && parcel->count > 0)
            return;
        add_message(lines, parcel, body, bytes);
        parcel->taken += bytes + (end != NULL);
    }
}

static int reserve(struct parcel *parcel, size_t size)
{
    char *bytes;

    if (size <= parcel->size)
        return 0;
    bytes = realloc(parcel->bytes, size);
    if (bytes == NULL)
        return FANQ_ERR_NOMEM;
    parcel->bytes = bytes;
    parcel->size = size;
    return 0;
}

/* Sends the messages of the filling parcel; what it holds beyond them begins the next one, so there must be a
 * free parcel. */
static int hand_on(struct lines *lines)
{
    struct parcel *full = lines->filling;
    struct parcel *next = lines->free;
    size_t left = full->used - full->taken;

    if (reserve(next, left) != 0)
        return FANQ_ERR_NOMEM;
    lines->free = next->next;
    memcpy(next->bytes, full->bytes + full->taken, left);
    next->used = left;
    lines->filling = next;
    send_parcel(lines, full);
    return 0;
}

/* Messages left out for their size are behind us; without others there is nothing to send. */
static void drop_taken(struct parcel *parcel)
{
    memmove(parcel->bytes, parcel->bytes + parcel->taken, parcel->used - parcel->taken);
    parcel->used -= parcel->taken;
    parcel->taken = 0;
}

static int send_filled(struct lines *lines)
{
    while (lines->free != NULL && lines->again_first == NULL && !lines->stopped) {
        split(lines, lines->filling);
        if (lines->filling->count == 0) {
            drop_taken(lines->filling);
            return 0;
        }
        if (hand_on(lines) != 0)
            return FANQ_ERR_NOMEM;
    }
    return 0;
}

static int read_input(struct lines *lines)
{
    struct parcel *parcel = lines->filling;
    ssize_t got;

    if (parcel->used == parcel->size && reserve(parcel, parcel->size * 2) != 0)
        return FANQ_ERR_NOMEM;
    got = read(lines->content->input_fd, parcel->bytes + parcel->used, parcel->size - parcel->used);
    if (got > 0)
        parcel->used += (size_t)got;
    else if (got == 0)
        lines->input_ended = true;
    else if (errno != EINTR && errno != EAGAIN)
        return FANQ_ERR_IO;
    return 0;
}

/* ---- the run ---- */

static bool may_read(const struct lines *lines)
{
    return !lines->input_ended && !lines->stopped && lines->free != NULL && lines->again_first == NULL;
}

static bool is_over(const struct lines *lines)
{
    return lines->under_way == 0 && (lines->stopped || (lines->input_ended && lines->filling->used == 0 &&
                                                        lines->again_first == NULL));
}

static void send_again(struct lines *lines)
{
    struct parcel *parcel = lines->again_first;

    lines->again_first = NULL;
    lines->again_last = &lines->again_first;
    while (parcel != NULL) {
        struct parcel *next = parcel->next;

        send_parcel(lines, parcel);
        parcel = next;
    }
}

static int64_t pause_ms(const struct lines *lines)
{
    uint64_t now_ms = cli_now_ms();

    if (lines->again_first == NULL)
        return -1;
    return lines->retry_at_ms > now_ms ? (int64_t)(lines->retry_at_ms - now_ms) : 0;
}

static int go(struct lines *lines)
{
    bool typed = isatty(lines->content->input_fd);
    int err = 0;

    while (err == 0 && !is_over(lines) && cli_signal() == 0) {
        bool reading = may_read(lines);
        bool input = cli_turn(lines->cli, reading ? lines->content->input_fd : -1, pause_ms(lines));

        if (reading && input)
            err = read_input(lines);
        if (lines->again_first != NULL && (lines->stopped || pause_ms(lines) == 0))
            send_again(lines);
        if (err == 0)
            err = send_filled(lines);
        if (!typed) /* the counter would fall upon what is typed */
            progress_show(&lines->progress, lines->sent);
    }
    progress_end(&lines->progress);
    return err;
}

/* What is under way when the run is cut short may still be answered. */
static void drain(struct lines *lines)
{
    uint64_t deadline_ms = cli_now_ms() + DRAIN_MS;

    lines->stopped = true;
    while (lines->under_way > 0 && cli_now_ms() < deadline_ms &&
           fanq_state(lines->cli->client) == FANQ_CLIENT_READY)
        (void)cli_turn(lines->cli, -1, DRAIN_TURN_MS);
    fanq_free(lines->cli->client); /* what is still open is told now, as UNKNOWN */
    lines->cli->client = NULL;
}

/* ---- before and behind it ---- */

static size_t extra_bytes(const struct fanq_content *like)
{
    size_t bytes = MESSAGE_EXTRA_BYTES;

    bytes += like->subject != NULL ? strlen(like->subject) : 0;
    bytes += like->trace != NULL ? strlen(like->trace) : 0;
    for (uint32_t i = 0; i < like->attribute_count; i++)
        bytes += like->attributes[i].name_bytes + like->attributes[i].type_bytes +
                 like->attributes[i].value_bytes + ATTRIBUTE_EXTRA_BYTES;
    return bytes;
}

static int lines_init(struct lines *lines, struct cli *cli, struct content *content)
{
    const struct fanq_broker_info *info = fanq_broker_info(cli->client);

    *lines =
        (struct lines){.cli = cli,
                       .content = content,
                       .end = cli->options.null ? '\0' : '\n',
                       .message_bytes_max = info->message_bytes_max,
                       .batch_bytes_max = PARCEL_BYTES,
                       .message_extra_bytes = extra_bytes(&content->like),
                       .taken_ms = cli_now_ms(),
                       .retry_ms = RETRY_MS_MIN,
                       .progress = {.verb = content->topic ? "published" : "sent", .start_ms = cli_now_ms()}};
    if (info->frame_bytes_max < PARCEL_BYTES + FRAME_EXTRA_BYTES)
        lines->batch_bytes_max = info->frame_bytes_max - FRAME_EXTRA_BYTES;
    lines->again_last = &lines->again_first;
    for (int i = 0; i < PARCELS; i++) {
        struct parcel *parcel = &lines->parcels[i];

        *parcel = (struct parcel){.lines = lines, .size = PARCEL_BYTES, .bytes = malloc(PARCEL_BYTES)};
        parcel->contents = calloc(PARCEL_MESSAGES_MAX, sizeof(*parcel->contents));
        if (parcel->bytes == NULL || parcel->contents == NULL)
            return FANQ_ERR_NOMEM;
        parcel_release(parcel);
    }
    lines->filling = lines->free;
    lines->free = lines->filling->next;
    return 0;
}

static void lines_close(struct lines *lines)
{
    for (int i = 0; i < PARCELS; i++) {
        free(lines->parcels[i].bytes);
        free(lines->parcels[i].contents);
    }
}

static void put_json(const struct lines *lines, bool created)
{
    struct json json = {.out = stdout};

    json_object_begin(&json, NULL);
    json_text(&json, lines->content->topic ? "topic" : "queue", lines->content->name);
    json_number(&json, "sent", lines->sent);
    json_number(&json, "failed", lines->failed);
    json_number(&json, "unknown", lines->unknown);
    json_bool(&json, "created", created);
    json_decimal(&json, "seconds", (double)(cli_now_ms() - lines->progress.start_ms) / 1000);
    json_object_end(&json);
    json_line_end(&json);
}

static int put_outcome(struct lines *lines, bool created)
{
    char number[TEXT_NUMBER_BYTES], rate[80];
    bool topic = lines->content->topic;

    if (lines->cli->options.json)
        put_json(lines, created);
    cli_say("%s %s message%s to %s%s %s", topic ? "published" : "sent", text_grouped(lines->sent, number),
            lines->sent == 1 ? "" : "s", lines->content->name, created ? " (created)" : "",
            progress_rate(lines->sent, lines->progress.start_ms, rate, sizeof(rate)));
    if (lines->failed > 0)
        cli_fail(EXIT_FAILED, "%s not taken: %s", text_grouped(lines->failed, number),
                 lines->first_error.text);
    if (lines->unknown > 0)
        cli_fail(EXIT_FAILED, "%s may or may not have been taken: %s", text_grouped(lines->unknown, number),
                 lines->first_unknown.text);
    if (lines->stopped && !lines->input_ended)
        cli_hint("the rest of the input was not read");
    if (cli_signal() != 0)
        return EXIT_SIGNAL + cli_signal();
    if (lines->failed + lines->unknown == 0)
        return cli_flush();
    return lines->sent > 0
               ? EXIT_PARTIAL
               : (int)cli_exit_code(lines->failed > 0 ? &lines->first_error : &lines->first_unknown);
}

int lines_send(struct cli *cli, struct content *content)
{
    struct lines *lines = calloc(1, sizeof(*lines));
    int code = lines != NULL ? cli_connect(cli, CLI_CONNECT_AGAIN) : EXIT_FAILED;
    bool created = code == 0 && content_creates(content, cli);

    if (code != 0) {
        free(lines);
        return code;
    }
    if (lines_init(lines, cli, content) == 0) {
        int err;

        cli_catch_signals(cli);
        err = go(lines);
        drain(lines);
        if (err == FANQ_ERR_IO)
            cli_fail(EXIT_FAILED, "cannot read the input: %s", strerror(errno));
        code = put_outcome(lines, created && lines->sent > 0);
        if (err != 0)
            code = cli_fail(EXIT_FAILED, "stopped: %s", fanq_strerror(err));
    } else {
        code = cli_fail(EXIT_FAILED, "out of memory");
    }
    lines_close(lines);
    free(lines);
    return code;
}
