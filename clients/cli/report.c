/* What fanq says to people: errors with a way out, and the exit code that goes with them. */
#include "cli.h"

#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void say(const char *before, const char *format, va_list arguments)
{
    char text[1024];

    vsnprintf(text, sizeof(text), format, arguments);
    fprintf(stderr, "%s%s\n", before, text);
}

int cli_fail(enum exit_code code, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    say("fanq: ", format, arguments);
    va_end(arguments);
    return (int)code;
}

void cli_hint(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    say("  ", format, arguments);
    va_end(arguments);
}

void cli_say(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    say("", format, arguments);
    va_end(arguments);
}

enum exit_code cli_exit_code(const struct fanq_error *error)
{
    switch (error->code) {
    case 0:
        return EXIT_DONE;
    case FANQ_ERR_QUEUE_NOT_FOUND:
    case FANQ_ERR_TOPIC_NOT_FOUND:
    case FANQ_ERR_SUBSCRIPTION_NOT_FOUND:
        return EXIT_NOT_FOUND;
    case FANQ_ERR_NOT_CONNECTED:
    case FANQ_ERR_CLOSED:
    case FANQ_ERR_UNKNOWN:
        return EXIT_CONNECTION;
    default:
        return EXIT_FAILED;
    }
}

/* Looks through one page of names, which is a thousand: a typo beyond that has to be found by eye. */
static void hint_nearest(struct cli *cli, const char *name, bool topic)
{
    struct fanq_list_options options = FANQ_LIST_OPTIONS_INIT;
    struct text_nearest nearest = {.word = name};
    struct fanq_name_list *list = NULL;
    const char *noun = topic ? "topic" : "queue";
    int err = topic ? fanq_topic_list_sync(cli->client, &options, cli_timeout_ms(cli), &list, NULL)
                    : fanq_queue_list_sync(cli->client, &options, cli_timeout_ms(cli), &list, NULL);

    if (err != 0)
        return;
    for (size_t i = 0; i < list->count; i++)
        text_nearest_offer(&nearest, list->names[i]);
    if (nearest.best != NULL)
        cli_hint("did you mean \"%s\"?", nearest.best);
    else if (list->count == 0)
        cli_hint("there are no %ss yet; make one:  fanq %s create %s", noun, noun, name);
    else
        cli_hint("list them:  fanq %s ls        make it:  fanq %s create %s", noun, noun, name);
    fanq_name_list_free(cli->client, list);
}

/* Such names are reserved, which the broker answers with UNSUPPORTED. */
static bool is_fifo(const char *name)
{
    size_t bytes = name != NULL ? strlen(name) : 0;

    return bytes > 5 && strcmp(name + bytes - 5, ".fifo") == 0;
}

static void hint(struct cli *cli, const struct fanq_error *error, const char *name)
{
    char number[TEXT_NUMBER_BYTES];

    switch (error->code) {
    case FANQ_ERR_QUEUE_NOT_FOUND:
    case FANQ_ERR_TOPIC_NOT_FOUND:
        if (name != NULL)
            hint_nearest(cli, name, error->code == FANQ_ERR_TOPIC_NOT_FOUND);
        break;
    case FANQ_ERR_EXISTS:
        cli_hint("see what it has:  fanq queue info %s        change it:  fanq queue set %s", name, name);
        break;
    case FANQ_ERR_MESSAGE_TOO_BIG:
        cli_hint(
            "that is %s bytes; a broker takes longer ones when started so:  fanqd --message-bytes-max SIZE",
            text_grouped(fanq_broker_info(cli->client)->message_bytes_max, number));
        break;
    case FANQ_ERR_UNSUPPORTED:
        if (is_fifo(name))
            cli_hint("names that end in .fifo are kept for queues in strict order, which are not there yet");
        break;
    case FANQ_ERR_UNKNOWN:
        cli_hint("it may have been done; look before you repeat it");
        break;
    default:
        break;
    }
}

void cli_hint_unused(struct cli *cli, const char *queue)
{
    struct fanq_list_options options = FANQ_LIST_OPTIONS_INIT;
    struct text_nearest nearest = {.word = queue};
    struct fanq_name_list *list = NULL;
    struct fanq_queue_info info;

    if (fanq_queue_get_sync(cli->client, queue, cli_timeout_ms(cli), &info, NULL) != 0 || info.sent > 0)
        return;
    if (fanq_queue_list_sync(cli->client, &options, cli_timeout_ms(cli), &list, NULL) != 0)
        return;
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->names[i], queue) != 0)
            text_nearest_offer(&nearest, list->names[i]);
    if (nearest.best != NULL)
        cli_hint("queue %s never had a message; did you mean \"%s\"?", queue, nearest.best);
    else
        cli_hint("queue %s never had a message", queue);
    fanq_name_list_free(cli->client, list);
}

int cli_report(struct cli *cli, const struct fanq_error *error, const char *name, const char *format, ...)
{
    char what[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(what, sizeof(what), format, arguments);
    va_end(arguments);
    cli_fail(EXIT_FAILED, "%s: %s", what, error->text[0] != '\0' ? error->text : fanq_strerror(error->code));
    hint(cli, error, name);
    return (int)cli_exit_code(error);
}
