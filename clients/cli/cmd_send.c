/* fanq send and fanq pub: one message; lines.c has many. */
#include "cli.h"
#include "content.h"
#include "lines.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { ID_BYTES = 3 * 16 + 3 };

struct outcome {
    bool done;
    struct fanq_sent sent;
};

static void on_sent(struct fanq *client, const struct fanq_sent *sent, void *user)
{
    struct outcome *outcome = user;

    outcome->sent = *sent;
    outcome->done = true;
}

/* As fanq_message_id() writes it at the other end. */
static const char *id_text(const struct fanq_sent *sent, char ret_text[ID_BYTES])
{
    snprintf(ret_text, ID_BYTES, "%" PRIx64 ".%" PRIx64 "-%" PRIx64, sent->stream, sent->epoch, sent->seq);
    return ret_text;
}

static void put_json(const struct content *content, const struct fanq_sent *sent, bool created)
{
    struct json json = {.out = stdout};
    char id[ID_BYTES];

    json_object_begin(&json, NULL);
    if (sent->has_id)
        json_text(&json, "id", id_text(sent, id));
    json_text(&json, content->topic ? "topic" : "queue", content->name);
    if (content->topic && sent->has_id)
        json_number(&json, "subscriptions", sent->subscription_count);
    json_bool(&json, "created", created);
    json_object_end(&json);
    json_line_end(&json);
}

static void say(const struct content *content, const struct fanq_sent *sent, bool created)
{
    char id[ID_BYTES];

    if (!sent->has_id) {
        cli_say("%s to %s; the connection was lost meanwhile, and its id with the first answer",
                content->topic ? "published" : "sent", content->name);
        return;
    }
    id_text(sent, id);
    if (!content->topic) {
        cli_say("sent %s to %s%s", id, content->name, created ? " (created)" : "");
        return;
    }
    cli_say("published %s to %s%s: %" PRIu64 " subscription%s", id, content->name,
            created ? " (created)" : "", sent->subscription_count, sent->subscription_count == 1 ? "" : "s");
    if (sent->subscription_count == 0)
        cli_hint("no queue got it; let one have the next:  fanq sub add %s QUEUE", content->name);
}

static int put_outcome(struct cli *cli, const struct content *content, const struct fanq_sent *sent,
                       bool created)
{
    char id[ID_BYTES];

    if (cli->options.json)
        put_json(content, sent, created);
    else if (cli->options.verbose && sent->has_id)
        puts(id_text(sent, id));
    say(content, sent, created);
    return cli_flush();
}

static int refused(struct cli *cli, const struct content *content, const struct fanq_error *error)
{
    return cli_report(cli, error, content->name, "cannot %s %s", content->topic ? "publish to" : "send to",
                      content->name);
}

static int send_body(struct cli *cli, const struct content *content, const char *body, size_t bytes)
{
    struct fanq_content one = content->like;
    struct outcome outcome = {.done = false};
    bool created = content_creates(content, cli);
    int err, signal_number;

    one.body = body;
    one.body_bytes = bytes;
    one.want_id = true;
    err = content->topic ? fanq_publish(cli->client, content->name, &one, on_sent, &outcome)
                         : fanq_send(cli->client, content->name, &one, on_sent, &outcome);
    if (err != 0) {
        struct fanq_error error = {.code = err};

        return refused(cli, content, &error);
    }
    cli_catch_signals(cli);
    signal_number = cli_wait_done(cli, &outcome.done);
    if (signal_number != 0) {
        fanq_free(cli->client); /* calls back while `outcome` is there */
        cli->client = NULL;
        return EXIT_SIGNAL + signal_number;
    }
    if (outcome.sent.error.code != 0)
        return refused(cli, content, &outcome.sent.error);
    return put_outcome(cli, content, &outcome.sent, created);
}

static int send_one(struct cli *cli, struct content *content)
{
    char *body = NULL;
    size_t bytes;
    int code = content_body(content, cli, &body, &bytes);

    if (code == 0)
        code = cli_connect(cli, CLI_CONNECT_ONCE);
    if (code == 0)
        code = send_body(cli, content, body, bytes);
    free(body);
    return code;
}

static int run(struct cli *cli, bool topic)
{
    struct content content;
    int code = content_init(&content, cli, topic);

    if (code == 0)
        code = cli->options.line || cli->options.null ? lines_send(cli, &content) : send_one(cli, &content);
    content_close(&content);
    return code;
}

int cmd_send(struct cli *cli)
{
    return run(cli, false);
}

int cmd_pub(struct cli *cli)
{
    return run(cli, true);
}
