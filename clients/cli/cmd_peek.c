/* fanq peek: look at messages without taking them. */
#include "cli.h"
#include "message.h"

#include "text.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    PAGE_MESSAGES = 500,
    PAGE_BYTES = 1024 * 1024,
    COUNT_DEFAULT = 10,
    PREVIEW_COLUMNS = 60,
    ATTRIBUTE_COLUMNS = 10
};

static const struct {
    const char *name;
    uint32_t state;
} states[] = {
    {"ready", FANQ_MESSAGE_READY},
    {"in-flight", FANQ_MESSAGE_IN_FLIGHT},
    {"delayed", FANQ_MESSAGE_DELAYED},
};

/* "ready,in-flight" */
static int parse_states(const char *text, uint32_t *ret_states)
{
    uint32_t wanted = 0;

    while (*text != '\0') {
        size_t bytes = strcspn(text, ","), i = 0;

        while (i < 3 && (strlen(states[i].name) != bytes || memcmp(states[i].name, text, bytes) != 0))
            i++;
        if (i == 3)
            return cli_fail(EXIT_USAGE,
                            "--state %.40s: must be of ready, in-flight and delayed, with commas between",
                            text);
        wanted |= states[i].state;
        text += bytes + (text[bytes] == ',');
    }
    *ret_states = wanted != 0 ? wanted : FANQ_MESSAGE_ANY;
    return 0;
}

static uint64_t wall_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void put_row_attributes(const struct fanq_message *message)
{
    struct fanq_message_attribute attribute;
    size_t column = 0;

    for (size_t place = 0; fanq_message_attribute_next(message, &place, &attribute);) {
        if (column > 0)
            column += (size_t)(putchar(',') != EOF);
        column += message_put_safely(attribute.name, attribute.name_bytes, 0);
        column += (size_t)(putchar('=') != EOF);
        column += message_put_safely(attribute.value, attribute.value_bytes, PREVIEW_COLUMNS / 2);
    }
    if (column == 0)
        column += (size_t)(putchar('-') != EOF);
    printf("%*s  ", column < ATTRIBUTE_COLUMNS ? (int)(ATTRIBUTE_COLUMNS - column) : 0, "");
}

static void put_row(const struct fanq_message *message)
{
    uint64_t now_ms = wall_ms(), time_ms = fanq_message_time_ms(message);
    char id[64], age[TEXT_NUMBER_BYTES];
    size_t bytes;
    const char *body = fanq_message_body(message, &bytes);

    fanq_message_id(message, id, sizeof(id));
    printf("%-9s  %6s  %5u  %-24s  ", message_state_text(fanq_message_state(message)),
           text_age(now_ms > time_ms ? now_ms - time_ms : 0, age), fanq_message_deliveries(message), id);
    put_row_attributes(message);
    (void)message_put_safely(body, bytes, PREVIEW_COLUMNS);
    putchar('\n');
}

struct peeker {
    struct cli *cli;
    struct message_style style;
    bool table;
    bool header_put;
    struct fanq_peek_options options;
    uint64_t left;
};

static void put_page(struct peeker *peeker, struct fanq_batch *batch)
{
    if (peeker->table && !peeker->header_put)
        printf("%-9s  %6s  %5s  %-24s  %s  %s\n", "STATE", "AGE", "TRIES", "ID", "ATTRIBUTES", "BODY");
    peeker->header_put = true;
    for (size_t i = 0; i < fanq_batch_count(batch); i++) {
        const struct fanq_message *message = fanq_batch_message(batch, i);

        if (peeker->table)
            put_row(message);
        else
            message_put(message, &peeker->style, true);
        peeker->left--;
    }
}

static int peek_pages(struct peeker *peeker)
{
    struct cli *cli = peeker->cli;
    const char *queue = cli->arguments[0];
    int code = 0;

    do {
        struct fanq_batch *batch;
        struct fanq_error error;

        peeker->options.messages_max = peeker->left < PAGE_MESSAGES ? (uint32_t)peeker->left : PAGE_MESSAGES;
        if (fanq_peek_sync(cli->client, queue, &peeker->options, cli_timeout_ms(cli), &batch, &error) != 0)
            return cli_report(cli, &error, queue, "cannot look into %s", queue);
        put_page(peeker, batch);
        peeker->options.after_valid =
            fanq_batch_peek_cursor(batch, &peeker->options.after_stream, &peeker->options.after_seq);
        fanq_batch_unref(batch);
        code = cli_flush();
    } while (code == 0 && peeker->left > 0 && peeker->options.after_valid);
    return code;
}

int cmd_peek(struct cli *cli)
{
    const struct options *options = &cli->options;
    struct peeker peeker = {.cli = cli,
                            .style = message_style(options, MESSAGE_RAW),
                            .table = !options->json && !options->line && !options->null && !options->verbose,
                            .options = FANQ_PEEK_OPTIONS_INIT,
                            .left = options->all         ? UINT64_MAX
                                    : options->count > 0 ? options->count
                                                         : COUNT_DEFAULT};
    int code = options->state != NULL ? parse_states(options->state, &peeker.options.states) : 0;

    peeker.options.bytes_max = PAGE_BYTES;
    peeker.style.queue = cli->arguments[0];
    if (code == 0)
        code = cli_connect(cli, CLI_CONNECT_ONCE);
    return code == 0 ? peek_pages(&peeker) : code;
}
