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

static void hint(struct cli *cli, const struct fanq_error *error, const char *name)
{
    switch (error->code) {
    case FANQ_ERR_QUEUE_NOT_FOUND:
    case FANQ_ERR_TOPIC_NOT_FOUND:
        if (name != NULL)
            hint_nearest(cli, name, error->code == FANQ_ERR_TOPIC_NOT_FOUND);
        break;
    case FANQ_ERR_EXISTS:
        cli_hint("see what it has:  fanq queue info %s        change it:  fanq queue set %s", name, name);
        break;
    case FANQ_ERR_UNKNOWN:
        cli_hint("it may have been done; look before you repeat it");
        break;
    default:
        break;
    }
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
